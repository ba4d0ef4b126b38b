"""What a refused body is told."""

import pytest
from support import DIALECT, see

from tokenrouter.errors import InvalidJSON, InvalidRequest
from tokenrouter.pipeline.canonicalizer import Memo

SPELLED = [
    (b"", "it is empty"),
    (b"   ", "truncated"),
    (b"[]", "must be a JSON object"),
    (b'"text"', "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b"\xef\xbb\xbf{}", "byte order mark"),
    (b'{"a":"\xff"', "invalid UTF-8 at byte 6"),
    (b'{"a":1', "truncated"),
    (b'{"a":1}}', "trailing characters"),
    (b'{"a":1,}', "byte 7"),
    (b"{'a':1}", "byte 1"),
    (b'{"a":1,"a":2}', 'the key "a" stands twice in the body'),
    (rb'{"\u00e9":1,"b":0,"\u00E9":1}', 'the key "é" stands twice in the body'),
]


@pytest.mark.parametrize(("body", "says"), SPELLED)
def test_a_body_that_can_not_be_read_is_told_why(body, says):
    with pytest.raises(InvalidJSON) as refused:
        see(body)
    assert says in refused.value.message
    assert b"invalid_json" in DIALECT.encode_error(refused.value)


ONE = {"role": "user", "content": "a"}
PLACED = [
    ({}, "messages", "missing"),
    ({"messages": "a"}, "messages", "array"),
    ({"messages": []}, "messages", "1 to"),
    ({"messages": [ONE] * 10_001}, "messages", "10001"),
    ({"messages": [ONE]}, "model", "string"),
    ({"messages": [ONE], "model": ""}, "model", "1 to 256"),
    ({"messages": [ONE], "model": 7}, "model", "string"),
    ({"messages": [ONE], "model": "m" * 257}, "model", "1 to 256"),
    ({"messages": [ONE, 3], "model": "m"}, "messages[1]", "object"),
    ({"messages": [{"content": "a"}], "model": "m"}, "messages[0].role", "unknown role null"),
    ({"messages": [{"role": "robot"}], "model": "m"}, "messages[0].role", "unknown role"),
    ({"messages": [{"role": ["user"]}], "model": "m"}, "messages[0].role", "unknown role"),
    ({"messages": [{"role": "user"}], "model": "m"}, "messages[0].content", "needs content"),
    ({"messages": [{"role": "user", "content": 5}], "model": "m"}, "messages[0].content", "string, null or an array"),
    ({"messages": [{"role": "user", "content": ["a"]}], "model": "m"}, "messages[0].content[0]", "object with a type"),
    ({"messages": [{"role": "assistant", "tool_calls": {}}], "model": "m"}, None, None),
    ({"messages": [{"role": "assistant", "tool_calls": "x"}], "model": "m"}, "messages[0].tool_calls", "array"),
    ({"messages": [{**ONE, "cache_control": "yes"}], "model": "m"}, "messages[0].cache_control", "ephemeral"),
    ({"messages": [{**ONE, "cache_control": {"type": "ephemeral", "ttl": "2h"}}], "model": "m"}, "messages[0].cache_control.ttl", "5m"),
    ({"messages": [{**ONE, "cache_control": {"type": "ephemeral", "ttl": ["1h"]}}], "model": "m"}, "messages[0].cache_control.ttl", "5m"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "prompt_cache_breakpoint": {}}]}], "model": "m"},
        "messages[0].content[0].prompt_cache_breakpoint",
        "explicit",
    ),
    ({"messages": [ONE], "model": "m", "tools": {}}, "tools", "array"),
    ({"messages": [ONE], "model": "m", "tools": [None]}, "tools[0]", "object"),
    ({"messages": [ONE], "model": "m", "tools": [{"type": "function"}]}, "tools[0].function.name", "needs function.name"),
    ({"messages": [ONE], "model": "m", "tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name", "needs"),
    ({"messages": [ONE], "model": "m", "temperature": "hot"}, "temperature", "number"),
    ({"messages": [ONE], "model": "m", "temperature": True}, "temperature", "number"),
    ({"messages": [ONE], "model": "m", "stream": 1}, "stream", "true or false"),
    ({"messages": [ONE], "model": "m", "stream_options": []}, "stream_options", "object"),
    ({"messages": [ONE], "model": "m", "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", "true or false"),
    ({"messages": [ONE], "model": "m", "n": 0}, "n", "above 0"),
    ({"messages": [ONE], "model": "m", "max_tokens": 1.5}, "max_tokens", "whole number"),
    ({"messages": [ONE], "model": "m", "max_tokens": 2**31}, "max_tokens", "whole number"),
]


@pytest.mark.parametrize(("request_", "param", "says"), PLACED)
def test_a_refusal_names_its_place_and_what_is_wrong_there(request_, param, says):
    if param is None:
        see(request_)
        return
    with pytest.raises(InvalidRequest) as refused:
        see(request_)
    assert refused.value.param == param
    assert says in refused.value.message


def test_an_extension_field_that_can_not_be_read_is_refused():
    with pytest.raises(InvalidJSON, match="surrogate"):
        see(b'{"model":"m","messages":[{"role":"user","content":"a"}],"x-cache":"\\ud800 "}')


def test_the_memo_is_bounded_and_forgets_the_oldest_first():
    memo = Memo(seed=1, capacity=100)
    for number in range(10_000):
        see({"model": "m", "messages": [{"role": "user", "content": f"{number}"}, {"role": "assistant", "content": "always"}]}, memo=memo)
        assert len(memo._young) + len(memo._old) <= 101
    young = list({**memo._old, **memo._young}.values())
    assert any(getattr(reading, "role", "") == "assistant" for reading in young), "a slice in use was forgotten"


def test_a_memo_keeps_messages_tools_and_fields_of_equal_bytes_apart():
    memo = Memo(seed=1)
    piece = {"role": "user", "content": "a", "type": "function", "function": {"name": "f"}}
    seen = see({"model": "m", "messages": [piece], "tools": [piece]}, memo=memo)
    again = see({"model": "m", "messages": [piece], "tools": [piece]}, memo=memo)
    assert seen.canonical == again.canonical
    assert (seen.canonical.tools[0].role, seen.canonical.messages[0].role) == ("tool definition", "user")
