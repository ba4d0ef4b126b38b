"""What the identities ignore, and that they ignore nothing else: docs/canonical-form.md as properties."""

import contextlib
import json

import pytest
from chat_requests import Respelled, at, changed, deep_copy, is_protocol, json_values, leaves, requests, systems, texts, turns, users, words
from hypothesis import assume, given
from hypothesis import strategies as st
from support import DEFAULT_EDITS, NO_EDITS, SEED, as_body, see

from tokenrouter.adapters.inbound.openai_chat import OpenAIChatGrammar
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.edits import TOOLS_ORDER
from tokenrouter.pipeline.canonicalizer import Memo, canonical_bytes, parse_strict

GRAMMAR = OpenAIChatGrammar()
PLAIN = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "a"}]}
UNSORTED = DEFAULT_EDITS - {TOOLS_ORDER}
SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


def both(request):
    seen = see(request)
    return seen.answer(), seen.chain()


@given(requests())
def test_the_canonical_form_of_a_canonical_form_is_itself(request):
    for piece, shape in [(tool, GRAMMAR.tool_shape) for tool in request.get("tools", [])] + [
        (message, GRAMMAR.message_shape) for message in request["messages"]
    ]:
        once = canonical_bytes(parse_strict(as_body(piece)), shape)
        assert canonical_bytes(parse_strict(once), shape) == once


@given(requests(), st.randoms(use_true_random=False))
def test_white_space_escapes_and_protocol_key_order_change_neither_identity(request, random):
    assert both(Respelled(random).write(request).encode()) == both(request)


@given(requests(), st.randoms(use_true_random=False))
def test_a_memo_that_has_seen_other_requests_changes_no_identity(request, random):
    memo = Memo(seed=3, capacity=4)
    other = Respelled(random).write(request).encode()
    for body in (as_body(request), other, as_body(request)):
        seen = see(body, memo=memo)
        assert (seen.answer(), seen.chain()) == both(request)


@given(requests(), texts)
def test_a_string_and_one_text_part_are_one_question_but_not_one_prefix(request, text):
    as_string, as_part = deep_copy(request), deep_copy(request)
    as_string["messages"].append({"role": "user", "content": text})
    as_part["messages"].append({"role": "user", "content": [{"type": "text", "text": text}]})
    assert see(as_string).answer() == see(as_part).answer()
    assert see(as_string).chain()[-1] != see(as_part).chain()[-1]


DEFAULTS = {
    "temperature": (1, 1.0, None),
    "top_p": (1, 1.0, None),
    "n": (1, None),
    "presence_penalty": (0, 0.0, -0.0, None),
    "frequency_penalty": (0, 0.0, None),
    "logprobs": (False, None),
    "store": (False, None),
    "response_format": ({"type": "text"}, None),
    "modalities": (["text"], None),
    "seed": (None,),
    "stop": (None,),
    "tools": (None,),
}


SPELLED_OUT = [(name, value) for name, values in DEFAULTS.items() for value in values]


@given(requests(), st.lists(st.sampled_from(SPELLED_OUT), min_size=1))
def test_an_explicit_default_and_null_are_absent_for_the_answer(request, spelled_out):
    for name, _ in spelled_out:
        request.pop(name, None)
    assert see({**request, **dict(spelled_out)}).answer() == see(request).answer()


@pytest.mark.parametrize(("name", "value"), SPELLED_OUT)
def test_every_default_of_the_list_is_absent_for_the_answer(name, value):
    assert see({**PLAIN, name: value}).answer() == see(PLAIN).answer()


WRONG = [("top_p", True), ("presence_penalty", False), ("frequency_penalty", False), ("logprobs", 0), ("store", 0), ("logprobs", 0.0), ("store", 0.0)]


@pytest.mark.parametrize(("name", "value"), [*WRONG, ("top_p", "1"), ("modalities", "text")])
def test_a_value_of_the_wrong_type_is_never_taken_for_the_default(name, value):
    """The vendor refuses it: whoever sends the right one must not be handed that refusal."""
    try:
        wrong = see({**PLAIN, name: value}).answer()
    except InvalidRequest:
        return
    assert wrong != see(PLAIN).answer()


IGNORED = {
    "stream": st.booleans(),
    "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()}),
    "user": texts,
    "safety_identifier": texts,
    "metadata": st.dictionaries(words, texts, max_size=2),
    "prompt_cache_key": texts,
    "prompt_cache_options": st.just({"mode": "implicit"}),
    "prompt_cache_retention": st.just("24h"),
    "x-anything": json_values,
}


@given(requests(), st.fixed_dictionaries({}, optional=IGNORED))
def test_bookkeeping_changes_neither_identity(request, more):
    assert both({**request, **more}) == both(request)


@given(requests(), st.sampled_from(["name", "refusal", "tool_calls", "function_call", "audio", "annotations"]))
def test_nulls_that_sdks_echo_are_absent_for_the_answer(request, name):
    echoed = deep_copy(request)
    for message in echoed["messages"]:
        message.setdefault(name, None)
    assert see(echoed).answer() == see(request).answer()


MARK = st.sampled_from(
    [
        ("cache_control", {"type": "ephemeral"}),
        ("cache_control", {"type": "ephemeral", "ttl": "1h"}),
        ("prompt_cache_breakpoint", {"mode": "explicit"}),
    ]
)


@given(requests(), MARK, st.data())
def test_cache_marks_change_neither_identity(request, mark, data):
    marked = deep_copy(request)
    places = [*marked["messages"], *marked.get("tools", [])]
    places += [part for message in marked["messages"] if isinstance(message["content"], list) for part in message["content"]]
    for place in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        place[mark[0]] = mark[1]
    assert both(marked) == both(request)


def other(value, data):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return data.draw(st.sampled_from([value + 1, value + 0.5, -value - 1]))
    if isinstance(value, str):
        place = data.draw(st.integers(0, len(value)))
        return value[:place] + data.draw(st.sampled_from(["x", " ", "\u0301", "\n", "0"])) + value[place:]
    return data.draw(st.sampled_from([1, "x", {"k": None}])) if value is None else [None]


@given(requests(), st.data())
def test_changing_any_single_value_changes_the_answer_identity(request, data):
    path = data.draw(st.sampled_from(sorted(leaves(request), key=repr)))
    assume(path != ("model",))  # it enters as resolved: see below
    new = other(at(request, path), data)
    if path[0] in SAMPLING:
        new = at(request, path) + 0.25
    mutant = changed(request, path, new)
    assume(mutant != request)
    try:
        seen = see(mutant, edits=UNSORTED)
    except InvalidRequest:
        return
    assert seen.answer() != see(request, edits=UNSORTED).answer(), path


@given(requests(), st.data())
def test_dropping_or_adding_any_member_changes_the_answer_identity(request, data):
    inner = [path[:depth] for path in leaves(request) for depth in range(len(path))]
    place = data.draw(st.sampled_from(sorted({path for path in inner if isinstance(at(request, path), dict)}, key=repr)))
    mutant = deep_copy(request)
    members = at(mutant, place)
    if members and data.draw(st.booleans()):
        gone = data.draw(st.sampled_from(sorted(members)))
        assume(not (members[gone] is None and gone == "content"))  # an echoed null is nothing
        assume(not (not place and members[gone] in (None, [])))
        del members[gone]
    else:
        members["another"] = data.draw(st.sampled_from([0, "", [], {}, False]))
    try:
        seen = see(mutant, edits=UNSORTED)
    except InvalidRequest:
        return
    assert seen.answer() != see(request, edits=UNSORTED).answer(), place


@given(requests(), st.data())
def test_the_order_of_a_list_changes_the_answer_identity(request, data):
    inner = {path[:depth] for path in leaves(request) for depth in range(1, len(path))}
    lists = [path for path in inner if isinstance(at(request, path), list) and len(at(request, path)) > 1]
    assume(lists)
    place = data.draw(st.sampled_from(sorted(lists, key=repr)))
    mutant = deep_copy(request)
    items = at(mutant, place)
    items.reverse()
    assume(json.dumps(items) != json.dumps(at(request, place)))
    if place == ("messages",):  # two messages may be equal for the answer, as a string and one text part are
        digests = [reading.answer_digest for reading in see(request).canonical.messages]
        assume(digests != digests[::-1])
    assert see(mutant, edits=UNSORTED).answer() != see(request, edits=UNSORTED).answer(), place


@given(requests(), st.data())
def test_the_key_order_of_payload_objects_changes_both_identities(request, data):
    inner = {path[:depth] for path in leaves(request) for depth in range(1, len(path))}
    payload = [path for path in inner if isinstance(at(request, path), dict) and len(at(request, path)) > 1]
    payload = [path for path in payload if path[0] in ("messages", "tools", "response_format")]
    payload = [path for path in payload if not is_protocol(tuple(0 if isinstance(step, int) else step for step in path))]
    assume(payload)
    place = data.draw(st.sampled_from(sorted(payload, key=repr)))
    mutant = deep_copy(request)
    members = at(mutant, place)
    for key in reversed(list(members)):
        members[key] = members.pop(key)
    first, second = both(request), both(mutant)
    assert first[0] != second[0]
    assert first[1][-1] != second[1][-1]


NUMBERS = [
    ("1", "1.0"),
    ("100", "1e2"),
    ("1e2", "1E2"),
    ("1e2", "1e+2"),
    ("0.1", "0.10"),
    ("1e-7", "0.0000001"),
    ("0", "0.0"),
    ("-0.0", "0.0"),
    ("9007199254740993", "9007199254740992"),
    ("123456789012345678901234567890", "123456789012345678901234567891"),
    ("1.0", "1.00"),
]
SCHEMA = (
    '{"model":"gpt-4.1","messages":[{"role":"user","content":"a","u":[%s]}],'
    '"tools":[{"type":"function","function":{"name":"a","parameters":{"default":%s}}}],"u":%s}'
)


@pytest.mark.parametrize(("first", "second"), NUMBERS)
def test_the_spelling_of_a_number_separates_both_identities(first, second):
    mixes = [(first,) * 3, (first, first, second), (first, second, first), (second, first, first)]
    bodies = {(SCHEMA % mix).encode() for mix in mixes}
    assert len({see(body).answer() for body in bodies}) == 4
    assert len({see(body).chain()[-1] for body in bodies}) == 3  # the unknown field at the top enters the answer only


@pytest.mark.parametrize("name", SAMPLING)
def test_sampling_numbers_count_by_value(name):
    def answer(spelled):
        return see(b'{"model":"gpt-4.1","messages":[{"role":"user","content":"a"}],"%s":%s}' % (name.encode(), spelled)).answer()

    assert answer(b"0.5") == answer(b"5e-1") == answer(b"0.50") != answer(b"0.25")
    assert answer(b"2") == answer(b"2.0") == answer(b"0.2e1")
    assert len({answer(b"0"), answer(b"1"), answer(b"2"), answer(b"0.5")}) == 4


@given(requests(), st.lists(turns | users.map(lambda turn: [turn]), min_size=1, max_size=3))
def test_appending_turns_changes_no_earlier_link(request, more):
    longer, chain = deep_copy(request), see(request).chain()
    for piece in more:
        longer["messages"] += piece
        grown = see(longer).chain()
        assert grown[: len(chain)] == chain
        assert len(grown) == len(longer["messages"]) + len(longer.get("tools", []))
        assert len(set(grown)) == len(grown)
        chain = grown


@given(requests())
def test_the_root_is_the_link_behind_tools_and_system(request):
    seen = see(request)
    place = len(seen.canonical.tools) + seen.canonical.opening
    assert place == 0 or seen.chain()[place - 1] == seen.root()


@given(requests(), systems)
def test_tenants_models_seeds_and_scopes_never_share_an_identity(request, system):
    request["messages"].insert(0, system)
    seen = see(request)
    answers = [
        seen.answer(),
        seen.answer(tenant="b"),
        seen.answer(model="openai/gpt-4o"),
        seen.answer(scope=b"k"),
        seen.answer(tenant=""),
        seen.answer(tenant="tenant-aopenai/gpt-4.1", model=""),
        seen.answer(tenant="b", scope=b"k"),
    ]
    chains = [seen.chain(), seen.chain(tenant="b"), seen.chain(model="openai/gpt-4o"), seen.chain(seed=SEED + 1), seen.chain(tenant="")]
    assert len(set(answers)) == len(answers)
    links = [link for chain in chains for link in chain]
    assert len(set(links)) == len(links)
    assert len({chain[seen.canonical.opening + len(seen.canonical.tools) - 1] for chain in chains}) == len(chains)


@given(requests(), st.randoms(use_true_random=False))
def test_shuffled_tools_are_one_prefix_and_one_question_while_they_are_sorted(request, random):
    names = [tool["function"]["name"] for tool in request.get("tools", [])]
    assume(len(names) > 1)
    shuffled = deep_copy(request)
    order = list(range(len(names)))
    random.shuffle(order)
    shuffled["tools"] = [request["tools"][i] for i in order]
    if len(set(names)) == len(names):
        assert both(shuffled) == both(request)
    as_is = see(shuffled, edits=UNSORTED).canonical
    assert as_is.tool_order is None
    assert [tool.name for tool in as_is.tools] == [names[i] for i in order]


@given(requests())
def test_tools_of_one_name_keep_their_order_among_themselves(request):
    tools = request.get("tools", [])
    canonical = see(request).canonical
    order = canonical.tool_order or tuple(range(len(tools)))
    assert sorted(order) == list(range(len(tools)))
    assert list(order) == sorted(order, key=lambda i: (tools[i]["function"]["name"], i))


@pytest.mark.parametrize("name", [rb"u\u00001\u0000v", b"u1v", b"u:1,v", rb"u\u0001\u0031v", b"11v", rb"1:u1:1v"])
def test_members_can_not_be_folded_into_a_neighbours_name(name):
    """Names and values of fields are told apart also where a name holds what a separator would be."""
    memo = Memo(seed=1)
    first = b'{"messages":[{"role":"user","content":"a"}],"model":"gpt-4.1","u":1,"v":2}'
    second = b'{"messages":[{"role":"user","content":"a"}],"model":"gpt-4.1","%b":2}' % name
    assert see(first, memo=memo).answer() == see(first).answer()
    assert see(second, memo=memo).answer() == see(second).answer() != see(first).answer()


@given(requests())
def test_a_mode_of_the_gateway_that_alters_the_prompt_is_part_of_the_question(request):
    line = {"role": "system", "content": "x-anthropic-billing-header: cch=1;\nRules."}
    with_line = {**request, "messages": [line, *request["messages"]]}
    assert see(with_line).answer() != see(with_line, edits=NO_EDITS | {TOOLS_ORDER}).answer()
    assert see(request).answer() == see(request, edits=NO_EDITS | {TOOLS_ORDER}).answer()


RICH = {
    "model": "gpt-4.1",
    "messages": [
        {"role": "system", "content": "Rules.", "name": "boss"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}],
        },
        {
            "role": "assistant",
            "content": None,
            "refusal": "no",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "done"},
        {"role": "user", "content": [{"type": "file", "file": {"filename": "n", "file_data": "data:text/plain;base64,YQ=="}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}], "extra": {"deep": [1, {"er": 2}]}},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "d",
                "strict": True,
                "parameters": {"type": "object", "properties": {"p": {"enum": ["x", "y"], "maximum": 3}}, "required": ["p"]},
            },
        }
    ],
    "functions": [{"name": "g"}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": True,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}},
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "max_tokens": 7,
    "max_completion_tokens": 9,
    "n": 2,
    "seed": 3,
    "stop": ["s"],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "reasoning_effort": "low",
    "verbosity": "low",
    "service_tier": "flex",
    "store": True,
    "modalities": ["text", "audio"],
    "prediction": {"type": "content", "content": "x"},
    "top_k": 40,
    "future_field": {"a": None},
}
IN_PROMPT = ("response_format", "parallel_tool_calls", "reasoning_effort", "verbosity", "service_tier", "functions")


def tweaked(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    return 11 if value is None else value + 1 if isinstance(value, int) else value + 0.25


@pytest.mark.parametrize("path", [path for path in leaves(RICH) if path != ("model",)], ids=lambda path: ".".join(map(str, path)))
def test_no_field_of_a_rich_request_is_forgotten(path):
    first = see(RICH)
    mutant = changed(RICH, path, {"low": "high"}.get(at(RICH, path), tweaked(at(RICH, path))) if path[-1] != "role" else "developer")
    with contextlib.suppress(InvalidRequest):  # what the pipeline refuses has no identity
        second = see(mutant)
        assert first.answer() != second.answer()
        if path[0] in ("messages", "tools", *IN_PROMPT):
            assert first.chain()[-1] != second.chain()[-1]
        else:
            assert first.chain() == second.chain()


@pytest.mark.parametrize("name", [name for name in RICH if name not in ("model", "messages")])
def test_leaving_out_any_field_of_a_rich_request_is_another_question(name):
    assert see({key: value for key, value in RICH.items() if key != name}).answer() != see(RICH).answer()
