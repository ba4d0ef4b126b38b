"""Bad input: every answer is below 500, in OpenAI's shape, and says what is wrong and where. The gateway goes on."""

import json
import resource
from typing import Any

import pytest
from rig import ADMIN_KEY, CHAT, Response, Rig, call, question

HI = '{"role":"user","content":"hi"}'


def body(messages: str = f"[{HI}]", **members: str) -> bytes:
    """A request whose members are JSON text as given."""
    fields = {"model": '"gpt-4.1"', "messages": messages, **members}
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode("utf-8", "surrogatepass")


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def user(content: str) -> str:
    return f'[{{"role":"user","content":{content}}}]'


TOOL = '{"type":"function","function":{"name":"f"}}'
BROKEN: dict[str, tuple[bytes, str | None]] = {
    # name: (body, where the error is said to be; None: nowhere in particular)
    "empty": (b"", None),
    "blank": (b"  \n", None),
    "null": (b"null", None),
    "array": (b"[]", None),
    "string": (b'"x"', None),
    "number": (b"1", None),
    "no closing brace": (body()[:-1], None),
    "trailing comma": (body()[:-1] + b",}", None),
    "trailing garbage": (body() + b"x", None),
    "two documents": (body() * 2, None),
    "comment": (b"/* hi */" + body(), None),
    "single quotes": (b"{'model': 'gpt-4.1'}", None),
    "byte order mark": (b"\xef\xbb\xbf" + body(), None),
    "UTF-16": (body().decode().encode("utf-16"), None),
    "not UTF-8, in a message": (body().replace(b"hi", b"\xff\xfe"), "messages[0]"),
    "not UTF-8, in a key": (body().replace(b'"role"', b'"r\xff"'), "messages[0]"),
    "overlong UTF-8": (body().replace(b"hi", b"\xc0\xaf"), "messages[0]"),
    "surrogate in UTF-8": (body(user('"\ud800"')), "messages[0]"),
    "lone surrogate": (body(user('"\\ud800"')), None),
    "lone low surrogate": (body(user('"a\\udc00b"')), None),
    "swapped surrogates": (body(user('"\\udc00\\ud800"')), None),
    "lone surrogate in the model": (body(model='"gpt-4.1\\ud800"'), None),
    "control character in a string": (body().replace(b"hi", b"h\x00i"), None),
    "NaN": (body(temperature="NaN"), None),
    "Infinity": (body(temperature="Infinity"), None),
    "leading zero": (body(max_tokens="01"), None),
    "hexadecimal": (body(max_tokens="0x10"), None),
    "duplicate key": (body()[:-1] + b',"model":"gpt-4.1-mini"}', "model"),
    "duplicate key, equal values": (body()[:-1] + b',"model":"gpt-4.1"}', "model"),
    "duplicate key, escaped": (body()[:-1] + b',"mod\\u0065l":"gpt-4.1-mini"}', "model"),
    "duplicate messages": (body()[:-1] + b',"messages":[]}', "messages"),
    "duplicate key in a message": (body('[{"role":"user","content":"a","content":"b"}]'), "messages[0]"),
    "duplicate key in a message, escaped": (body('[{"role":"user","content":"a","c\\u006fntent":"b"}]'), "messages[0]"),
    "duplicate key deep in a tool": (body(tools=f'[{TOOL[:-1]},"x":{{"a":{{"b":1,"b":2}}}}}}]'), "tools[0]"),
    "duplicate key in a parameter": (body(metadata='{"a":"1","a":"2"}'), "metadata"),
    "depth 65 in a message": (body(f'[{{"role":"user","content":"x","x":{nested(63)}}}]'), "messages[0]"),
    "depth 65 in a parameter": (body(metadata=nested(64)), "metadata"),
    "depth 100,000 in a message": (body(f'[{{"role":"user","content":{nested(100_000)}}}]'), None),
    "depth 100,000 at the top": (nested(100_000).encode(), None),
    "depth 100,000 of objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, None),
    "depth 100,000 in an extension": (body(**{"x-edits-off": nested(100_000)}), None),
    "no messages": (b'{"model":"gpt-4.1"}', "messages"),
    "messages null": (body("null"), "messages"),
    "messages an object": (body(HI), "messages"),
    "messages a string": (body('"hi"'), "messages"),
    "messages empty": (body("[]"), "messages"),
    "messages 100,000": (body("[" + ",".join([HI] * 100_000) + "]"), "messages"),
    "a message that is null": (body("[null]"), "messages[0]"),
    "a message that is a string": (body('["hi"]'), "messages[0]"),
    "a message that is a list": (body("[[]]"), "messages[0]"),
    "the second message": (body(f"[{HI},1]"), "messages[1]"),
    "no role": (body('[{"content":"hi"}]'), "messages[0].role"),
    "unknown role": (body('[{"role":"wizard","content":"hi"}]'), "messages[0].role"),
    "role a list": (body('[{"role":["user"],"content":"hi"}]'), "messages[0].role"),
    "role an object": (body('[{"role":{},"content":"hi"}]'), "messages[0].role"),
    "huge role": (body(f'[{{"role":"{"w" * 100_000}","content":"hi"}}]'), "messages[0].role"),
    "no content": (body('[{"role":"user"}]'), "messages[0].content"),
    "content a number": (body(user("1")), "messages[0].content"),
    "content an object": (body(user("{}")), "messages[0].content"),
    "content of strings": (body(user('["hi"]')), "messages[0].content[0]"),
    "a part without a type": (body(user('[{"text":"hi"}]')), "messages[0].content[0]"),
    "a part whose type is a number": (body(user('[{"type":1}]')), "messages[0].content[0]"),
    "tool calls an object": (body(f'[{HI},{{"role":"assistant","tool_calls":{{"a":1}}}}]'), "messages[1].tool_calls"),
    "tool calls of strings": (body(f'[{HI},{{"role":"assistant","tool_calls":["a"]}}]'), "messages[1].tool_calls"),
    "a mark that is a string": (body(user('[{"type":"text","text":"x","cache_control":"yes"}]')), "messages[0].content[0].cache_control"),
    "a mark with a lifetime of its own": (
        body(user('[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"9d"}}]')),
        "messages[0].content[0].cache_control.ttl",
    ),
    "a mark whose lifetime is a list": (
        body(user('[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":["5m"]}}]')),
        "messages[0].content[0].cache_control.ttl",
    ),
    "tools an object": (body(tools="{}"), "tools"),
    "tools a string": (body(tools='"f"'), "tools"),
    "a tool that is null": (body(tools="[null]"), "tools[0]"),
    "a tool without a function": (body(tools='[{"type":"function"}]'), "tools[0].function.name"),
    "a tool whose name is a number": (body(tools='[{"type":"function","function":{"name":1}}]'), "tools[0].function.name"),
    "a tool whose type is a list": (body(tools='[{"type":["function"]}]'), "tools[0].type"),
    "no model": (f'{{"messages":[{HI}]}}'.encode(), "model"),
    "model null": (body(model="null"), "model"),
    "model a number": (body(model="4"), "model"),
    "model empty": (body(model='""'), "model"),
    "model of 1 MB": (body(model='"' + "m" * (1 << 20) + '"'), "model"),
    "model unknown": (body(model='"nobody-knows-this"'), "model"),
    "model of an unknown vendor": (body(model='"nobody/knows"'), "model"),
    "model with a path": (body(model='"../../etc/passwd"'), "model"),
    "model with a line end": (body(model='"gpt-4.1\\r\\nx-evil: 1"'), "model"),
    "model without a price": (body(model='"openai/gpt-unpriced-42"'), "model"),
    "stream a string": (body(stream='"true"'), "stream"),
    "stream a number": (body(stream="1"), "stream"),
    "stream options a list": (body(stream="true", stream_options="[]"), "stream_options"),
    "include usage a string": (body(stream="true", stream_options='{"include_usage":"yes"}'), "stream_options.include_usage"),
    "temperature a string": (body(temperature='"0"'), "temperature"),
    "temperature a flag": (body(temperature="true"), "temperature"),
    "temperature a list": (body(temperature="[0]"), "temperature"),
    "n zero": (body(n="0"), "n"),
    "n a fraction": (body(n="1.5"), "n"),
    "n a flag": (body(n="true"), "n"),
    "max tokens negative": (body(max_tokens="-1"), "max_tokens"),
    "max tokens 2^63": (body(max_tokens=str(1 << 63)), "max_tokens"),
    "max tokens a string": (body(max_tokens='"10"'), "max_tokens"),
    "max completion tokens zero": (body(max_completion_tokens="0"), "max_completion_tokens"),
    "max tokens of 5,000 digits": (body(max_tokens="9" * 5000), "max_tokens"),
    "temperature of 5,000 digits": (body(temperature="9" * 5000), "temperature"),
    "temperature 1e400": (body(temperature="1e400"), None),  # the vendor refuses it
    "temperature -1e400": (body(temperature="-1e400"), None),  # the vendor refuses it
    "seed of 5,000 digits": (body(seed="9" * 5000), "seed"),
    "unknown cache mode": (body(**{"x-cache": '"sometimes"'}), "x-cache"),
    "cache mode a list": (body(**{"x-cache": "[]"}), "x-cache"),
    "unknown edit": (body(**{"x-edits-off": '"everything"'}), "x-edits-off"),
    "an edit that is an object": (body(**{"x-edits-off": '{"a":1}'}), "x-edits-off"),
    "metadata wish a number": (body(**{"x-metadata": "3"}), "x-metadata"),
}  # fmt: skip


def wrong(answer: Response) -> dict[str, Any]:
    """The error, after checking its shape."""
    assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    assert answer.headers["content-type"].startswith("application/json")
    assert set(answer.json) == {"error"}
    error = answer.error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert len(error["message"]) < 3000
    assert error["code"] is None or isinstance(error["code"], str)
    return error


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_body_gets_an_error_that_names_the_place(rig: Rig, name: str):
    raw, where = BROKEN[name]
    error = wrong(await rig.chat(raw))
    assert (error["type"], error["param"]) == ("invalid_request_error", where)
    assert rig.spent() == rig.held() == 0
    assert (await rig.chat()).status == 200


async def test_broken_pieces_are_refused_again_when_they_were_seen_before(rig: Rig):
    """Pieces are remembered by their bytes; a refusal must not be."""
    for _ in range(2):
        for name in ("duplicate key in a message", "lone surrogate", "unknown role", "depth 65 in a message", "temperature a string"):
            wrong(await rig.chat(BROKEN[name][0]))


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 2, "top_p": None, "unknown_field": {"a": [1, 2.50]}},
        {"messages": [{"role": "user", "content": "a\u0000b \U0001f600 \u202e \u200b"}]},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": "x" * 1_000_000}]},
        {"messages": [{"role": "system", "content": "x-anthropic-billing-header: " + "a=b; " * 100_000}, {"role": "user", "content": "x"}]},
        {"seed": 2**53 + 1},
        {"stop": ["x"] * 4},
        {"metadata": {"a\r\nx-evil": "1\r\nset-cookie: a=b"}},
        {"user": "sk-live-abc\r\nx: y"},
    ],
)
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_odd_requests_are_answered_or_refused_by_the_vendor_never_broken(rig: Rig, model: str, fields: dict):
    answer = await rig.chat(question(**{"model": model, **fields}))
    if answer.status != 200:
        wrong(answer)
    for name, value in answer.raw_headers:
        assert not set(name + value) & set(b"\r\n\0"), name
    assert "x-evil" not in answer.headers


async def test_a_field_name_never_breaks_a_header(rig: Rig):
    names = ["bad\r\nset-cookie: a=b", "täst", "nul\0", "a,b", "x" * 100_000, "\u2028"]
    answer = await rig.chat(question(model="claude-sonnet-4-5", **dict.fromkeys(names, 1)))
    if answer.status != 200:
        wrong(answer)
    for name, value in answer.raw_headers:
        assert not set(name + value) & set(b"\r\n\0"), name
        assert len(value) < 8_000


async def test_five_marks_of_the_client_toward_claude_are_said_or_made_to_fit(rig: Rig):
    mark = {"cache_control": {"type": "ephemeral"}}
    parts = [{"type": "text", "text": f"part {n} " + "word " * 3000, **mark} for n in range(6)]
    answer = await rig.chat(question(model="claude-sonnet-4-5", messages=[{"role": "user", "content": parts}]))
    if answer.status == 200:
        (sent,) = rig.sandbox.requests.items
        assert sent.body.count(b"cache_control") <= 4
        assert "marks.plan" in answer.headers["x-tokenrouter-edits"]
    else:
        assert "mark" in wrong(answer)["message"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("megabytes", [33, 64])
async def test_a_body_that_is_too_large_is_refused_without_being_kept(rig: Rig, megabytes: int, chunked: bool):
    piece = b"x" * (1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    raw = [piece] * megabytes if chunked else piece * megabytes
    error = wrong(await rig.chat(raw))
    assert (error["code"], "BODY_LIMIT_MB" in error["message"]) == ("request_too_large", True)
    if chunked:
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 80 << 10  # KB
    assert (await rig.chat()).status == 200


async def test_a_body_in_many_small_pieces_is_read(rig: Rig):
    raw = json.dumps(question()).encode()
    answer = await rig.chat([raw[at : at + 1] for at in range(len(raw))])
    assert answer.status == 200


async def test_the_body_limit_is_exact(start):
    async with start(BODY_LIMIT_MB="1") as rig:
        room = (1 << 20) - len(json.dumps(question("")).encode())
        assert (await rig.chat(question("x" * room))).status == 200
        assert wrong(await rig.chat(question("x" * (room + 1))))["code"] == "request_too_large"


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "GZIP, gzip", "x" * 5000])
async def test_a_coded_body_is_refused_by_its_coding(rig: Rig, coding: str):
    answer = await rig.chat(headers={"content-encoding": coding})
    assert (answer.status, wrong(answer)["code"]) == (415, "unsupported_media_type")
    assert (await rig.chat(headers={"content-encoding": "Identity"})).status == 200


async def test_the_body_is_json_whatever_its_content_type_says(rig: Rig):
    for kind in ("text/plain", "application/json; charset=latin-1", "multipart/form-data", ""):
        assert (await rig.chat(headers={"content-type": kind})).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_other_methods_are_refused_and_told_which_is_right(rig: Rig, method: str):
    answer = await call(rig.app, method, CHAT, b"", {"authorization": f"Bearer {rig.key}"})
    assert (answer.status, answer.headers["allow"], wrong(answer)["code"]) == (405, "POST", "method_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "//v1/chat/completions", 404),
        ("POST", "/v1/moderations", 404),
        ("GET", "/v1/" + "x" * 10_000, 404),
        ("GET", "/docs", 404),
        ("GET", "/v1/\r\nx: y", 404),
        ("POST", "/v1/models", 405),
        ("DELETE", "/metrics", 405),
    ],
)
async def test_unknown_places_are_refused_in_the_same_shape(rig: Rig, method: str, path: str, status: int):
    answer = await call(rig.app, method, path, b"{}", {"authorization": f"Bearer {rig.key}"})
    assert answer.status == status
    wrong(answer)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic c2stdHI6"},
        {"authorization": "Bearer sk-tr-"},
        {"authorization": "Bearer sk-tr-000000000000-" + "x" * 43},
        {"authorization": "Bearer sk-proj-somebody-elses"},
        {"authorization": "Bearer " + "k" * 1_000_000},
        {"authorization": "Bearer \xff\xfe\x00"},
        {"authorization": "Bearer sk-tr-' OR 1=1 --"},
        {"x-api-key": "sk-ant-nothing"},
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/requests/x"])
async def test_without_a_valid_key_nobody_gets_anything(rig: Rig, path: str, headers: dict):
    answer = await call(rig.app, "POST" if path == CHAT else "GET", path, json.dumps(question()).encode(), headers)
    error = wrong(answer)
    assert (answer.status, error["code"], error["type"]) == (401, "invalid_api_key", "authentication_error")
    assert "xxxx" not in error["message"]
    assert "kkkk" not in error["message"]
    assert rig.sandbox.requests.seen == 0


async def test_a_key_with_one_wrong_character_is_nobodys(rig: Rig):
    for at in (7, 12, 20, len(rig.key) - 1):
        forged = rig.key[:at] + ("A" if rig.key[at] != "A" else "B") + rig.key[at + 1 :]
        assert (await rig.chat(key=forged)).status == 401
    assert (await rig.chat(key=rig.key + "x")).status == 401
    assert (await rig.chat(key=ADMIN_KEY)).status == 401


async def test_both_ways_to_send_a_key_work(rig: Rig):
    for headers in ({"x-api-key": rig.key}, {"authorization": f"bearer {rig.key}"}, {"authorization": f"Bearer  {rig.key} "}):
        assert (await call(rig.app, "POST", CHAT, json.dumps(question()).encode(), headers)).status == 200


async def test_long_and_odd_headers_are_refused_or_passed_over(rig: Rig):
    assert wrong(await rig.chat(headers={"idempotency-key": "k" * 256}))["param"] == "idempotency-key"
    assert (await rig.chat(headers={"idempotency-key": "\xff" * 255})).status == 200
    assert wrong(await rig.chat(headers={"x-dedup": "maybe"}))["param"] == "x-dedup"
    assert wrong(await rig.chat(headers={"x-edits-off": "a" * 100_000}))["param"] == "x-edits-off"
    for control in ("max-age=" + "9" * 5000, "max-age=-1", "max-age=x", ",,,;;=", "no-store" * 1000):
        assert (await rig.chat(headers={"cache-control": control})).status == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(rig: Rig):
    messages = [{"type": "http.request", "body": b'{"model":', "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": CHAT, "query_string": b"", "headers": [(b"authorization", f"Bearer {rig.key}".encode())]}
    await rig.app(scope, receive, send)
    assert sent == []
    assert (await rig.chat()).status == 200


async def test_a_failure_of_our_own_is_a_500_in_the_same_shape_and_the_next_request_works(rig: Rig, caplog):
    memos = rig.services.memos
    rig.set(memos=None)
    answer = await rig.chat()
    assert (answer.status, answer.error["code"], answer.error["type"]) == (500, "internal_error", "api_error")
    assert "NoneType" not in answer.body.decode()
    rig.set(memos=memos)
    assert (await rig.chat()).status == 200


async def test_a_failure_inside_a_call_voids_it(rig: Rig):
    outbound = rig.services.outbound
    rig.set(outbound={})
    answer = await rig.chat()
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    rig.set(outbound=outbound)
    assert rig.held() == 0
    assert rig.spent() == 0
    assert (await rig.chat()).status == 200
