"""Where parsers disagree, the gateway refuses; where they agree, it reads what they read."""

import contextlib
import json

import pytest
from chat_requests import Respelled, deep_copy, json_values, requests, words
from hypothesis import given
from hypothesis import strategies as st
from support import DIALECT, as_body, see

from tokenrouter.adapters.json_body import read_fields
from tokenrouter.errors import InvalidJSON, InvalidRequest
from tokenrouter.pipeline.canonicalizer import DEPTH_LIMIT, parse_strict


def plain(value):
    """Raw numbers as the oracle reads them."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value if isinstance(value, str | int | bool) or value is None else float(bytes(value))


@given(json_values, st.randoms(use_true_random=False))
def test_strict_reading_agrees_with_the_standard_library(value, random):
    spelled = Respelled(random).write(value).encode()
    assert plain(parse_strict(spelled)) == json.loads(spelled)


@given(st.text(st.sampled_from('{}[]",:\\u0012dDeE+-. \n\ttruefalsnl\x00é'), max_size=14))
def test_what_the_standard_library_refuses_is_refused_too(text):
    try:
        oracle = json.loads(text, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        with pytest.raises(InvalidJSON):
            parse_strict(text.encode())
        return
    try:
        found = parse_strict(text.encode())
    except InvalidJSON:
        pairs = []
        json.loads(text, object_pairs_hook=lambda items: pairs.append([key for key, _ in items]))
        assert any(len(set(keys)) < len(keys) for keys in pairs) or any("\ud800" <= c <= "\udfff" for c in str(oracle)), text
    else:
        assert plain(found) == oracle


@given(st.binary(max_size=12).map(lambda noise: b'{"a":"' + noise + b'"}') | st.binary(max_size=12))
def test_strict_reading_of_any_bytes_ends_in_a_value_or_in_invalid_json(data):
    try:
        value = parse_strict(data)
    except InvalidJSON:
        pass
    else:
        assert plain(value) == json.loads(data.decode())


def objects(value, path=()):
    if isinstance(value, dict):
        yield path
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from objects(inner, (*path, step))


class Doubled(Respelled):
    """Writes one member of one object twice."""

    def __init__(self, random, place, key, spelled):
        super().__init__(random)
        self.place, self.key, self.spelled = place, key, spelled

    def write(self, value, path=()):
        if not isinstance(value, dict) and not isinstance(value, list):
            return json.dumps(value)
        steps = value.items() if isinstance(value, dict) else enumerate(value)
        written = [(step, self.write(inner, (*path, step))) for step, inner in steps]
        if isinstance(value, list):
            return "[" + ",".join(text for _, text in written) + "]"
        members = [f"{json.dumps(key)}:{text}" for key, text in written]
        if path == self.place:
            again = next(text for key, text in written if key == self.key)
            extra = f"{self.spelled}:{self.random.choice([again, again, '1', 'null'])}"
            members.insert(self.random.randrange(len(members) + 1), extra)
        return "{" + self.random.choice([",", " , "]).join(members) + "}"


def spellings(key):
    escaped = '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in key) + '"'
    return [json.dumps(key, ensure_ascii=False), json.dumps(key), escaped, escaped.replace("\\u00", "\\u00").upper().replace("\\U", "\\u")]


@given(requests(), st.data(), st.randoms(use_true_random=False))
def test_a_key_that_stands_twice_is_refused_at_any_depth_and_in_any_spelling(request, data, random):
    request["x-ours"] = {"a": [{"b": 1}]}
    places = [path for path in objects(request) if path[:1] != ("x-ours",) and request_at(request, path)]
    place = data.draw(st.sampled_from(sorted(places, key=repr)))
    key = data.draw(st.sampled_from(sorted(request_at(request, place))))
    body = Doubled(random, place, key, data.draw(st.sampled_from(spellings(key)))).write(request).encode()
    pairs = []
    json.loads(body, object_pairs_hook=lambda items: pairs.append([name for name, _ in items]) or dict(items))
    assert any(len(set(names)) < len(names) for names in pairs)
    with pytest.raises(InvalidJSON, match="twice"):
        see(body)


def request_at(value, path):
    for step in path:
        value = value[step]
    return value


@given(requests(), st.randoms(use_true_random=False))
def test_a_body_without_any_double_key_is_never_refused_for_one(request, random):
    seen = see(Respelled(random).write(request).encode())
    assert len(seen.canonical.messages) == len(request["messages"])


@given(st.dictionaries(words, json_values, max_size=5), st.randoms(use_true_random=False))
def test_the_outside_of_any_object_is_read_member_by_member(value, random):
    body = Respelled(random).write(value)
    fields = read_fields((" \n" + body + "\t").encode())
    assert list(fields) == list(json.loads(body))
    assert {name: json.loads(bytes(raw)) for name, raw in fields.items()} == value


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":12,"a":1}',
        b'{"a":1,"a":12}',
        b'{"a":1.0,"a":1}',
        b'{"a":1,"b":{"x":1},"a":1}',
        rb'{"a":1,"\u0061":1}',
        b'{"b":2,"a":[1],"a":[1,2]}',
        b'{"":1,"":1}',
        b'{"a":"}","a":"}"}',
        b'{ "a" : {"a":1} , "a" : {"a":1} }',
        b'{"a":1 ,"a":1}',
        rb'{"\"":1,"\u0022":2}',
        '{"é":1,"e":2,"é":1}'.encode(),
        b'{"a":-1,"a":-1}',
        rb'{"\\":1,"\u005c":1}',
    ],
)
def test_a_key_twice_in_the_body_itself_is_refused(body):
    with pytest.raises(InvalidJSON, match="twice"):
        read_fields(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a":1}',
        b" { } ",
        b'{"a":{"a":1}}',
        rb'{"a":1,"\u0062":1}',
        b'{"a":"a\\",\\"a"}',
        '{"é":1,"e\u0301":2}'.encode(),
        b'{"":1}',
        b'{"a":1,"A":1}',
        rb'{"a\"b":1,"a":2}',
        b'{"a" : 1 , "b" : 12, "c":1}',
    ],
)
def test_keys_that_only_look_alike_are_fine(body):
    assert {name: json.loads(bytes(raw)) for name, raw in read_fields(body).items()} == json.loads(body)


def body_with(value: bytes, place: str) -> bytes:
    message, tool, field = {"message": (value, b"0", b"0"), "tool": (b"0", value, b"0"), "field": (b"0", b"0", value)}[place]
    return (
        b'{"model":"gpt-4.1","messages":[{"role":"user","content":"a","u":%b}],"tools":[{"type":"function","function":{"name":"a","parameters":%b}}],"u":%b}'
        % (message, tool, field)
    )


# Levels around the value: body, array, message (and the function around a tool's parameters).
AROUND = {"message": 3, "tool": 4, "field": 1}


@pytest.mark.parametrize("place", AROUND)
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_depth_is_refused_from_the_65th_level_on(place, opened, closed):
    levels = 2 if len(opened) == 6 and opened[:1] == b"[" else 1
    room = (DEPTH_LIMIT - AROUND[place]) // levels
    see(body_with(opened * room + b"1" + closed * room, place))
    for deeper in (room + 1, 200, 5_000, 100_000):
        with pytest.raises(InvalidJSON, match="deeper than 64 levels"):
            see(body_with(opened * deeper + b"1" + closed * deeper, place))


def test_depth_in_an_extension_field_never_ends_in_anything_but_a_refusal():
    base = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"a"}],"x-a":%b}'
    read = []
    for depth in (10, 60, *range(300, 1200, 7), 5_000, 100_000):
        try:
            see(base % (b"[" * depth + b"]" * depth))
        except InvalidRequest:
            continue
        read.append(depth)
    assert 10 in read
    assert 100_000 not in read


BAD_TEXT = [
    b"\xff",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    rb"\ud800",
    rb"\udc00",
    rb"\udc00\ud800",
    rb"\uD83D\u0041",
    rb"\ud83d",
]


@pytest.mark.parametrize("place", AROUND)
@pytest.mark.parametrize("bad", BAD_TEXT)
def test_what_is_no_text_is_refused_wherever_it_stands(bad, place):
    for value in (b'"%b"' % bad, b'{"%b":1}' % bad, b'[{"a":["x%b"]}]' % bad):
        with pytest.raises(InvalidJSON) as refused:
            see(body_with(value, place))
        assert "UTF-8" in refused.value.message or "surrogate" in refused.value.message
    with pytest.raises(InvalidJSON):
        see(body_with(b'0,"%b":1' % bad, "field"))


@given(requests(), st.data())
def test_a_byte_that_breaks_utf8_anywhere_is_refused(request, data):
    body = as_body(request)
    place = data.draw(st.integers(0, len(body)))
    with pytest.raises(InvalidJSON):
        see(body[:place] + data.draw(st.sampled_from([b"\xff", b"\xc3", b"\xed\xb0\x80"])) + body[place:])


@given(requests(), st.data())
def test_a_body_cut_short_anywhere_is_refused(request, data):
    body = as_body(request)
    with pytest.raises(InvalidJSON):
        see(body[: data.draw(st.integers(0, len(body) - 1))])


@given(requests(), st.data())
def test_a_body_with_one_byte_changed_is_read_or_refused_but_never_crashes(request, data):
    body = bytearray(as_body(request))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        see(bytes(body))
    except InvalidRequest as error:
        DIALECT.encode_error(error)
        return
    assert json.loads(body)


@given(requests(), st.data(), json_values)
def test_a_value_of_another_type_anywhere_is_read_or_refused_but_never_crashes(request, data, value):
    path = data.draw(st.sampled_from(sorted(paths(request), key=repr)))
    mutant = deep_copy(request)
    request_at(mutant, path[:-1])[path[-1]] = value
    refusal = b""
    try:
        seen = see(mutant)
    except InvalidRequest as error:
        refusal = DIALECT.encode_error(error)
    assert json.loads(refusal)["error"]["message"] if refusal else seen.canonical.messages


def paths(value, path=()):
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, step)
        yield from paths(inner, (*path, step))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"+1", b"0x1", b"1e", b"--1", b"1_000", b"9" * 5000])
@pytest.mark.parametrize("place", AROUND)
def test_numbers_that_json_does_not_know_are_refused(number, place):
    with pytest.raises(InvalidJSON):
        see(body_with(number, place))


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1e999999"])
def test_sampling_numbers_out_of_range_do_not_crash(number):
    body = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"a"}],"temperature":%b,"top_p":%b}' % (number, number)
    with contextlib.suppress(InvalidRequest):
        assert see(body).answer()
