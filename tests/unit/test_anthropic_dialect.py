"""Anthropic Messages as a client's dialect: what requests mean, and errors."""

import json

import msgspec
import pytest

from tokenrouter.adapters.inbound.anthropic import AnthropicCountDialect, AnthropicMessagesDialect
from tokenrouter.adapters.inbound.anthropic_grammar import AnthropicGrammar
from tokenrouter.errors import (
    BodyTooLarge,
    BudgetExhausted,
    Forbidden,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UnsupportedField,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimedOut,
)
from tokenrouter.model.chunk import Mark

DIALECT, COUNT, GRAMMAR = AnthropicMessagesDialect(), AnthropicCountDialect(), AnthropicGrammar()
MARK, HOUR = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
HI = {"role": "user", "content": "hi"}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "sig"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}


def text(said="a", **more):
    return {"type": "text", "text": said, **more}


def result(content="ok", **more):
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **more}


def body(**fields):
    request = {"model": "claude-opus-4-8", "max_tokens": 9, "messages": [HI], **fields}
    return json.dumps({name: value for name, value in request.items() if value is not None}, ensure_ascii=False).encode()


def params(outside=None, **fields):
    return GRAMMAR.read_params({"model": "claude-opus-4-8", **fields, **(outside or {})})


def message(*blocks, role="user"):
    return GRAMMAR.read_message({"role": role, "content": list(blocks)})


# -- parsing ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "pieces"),
    [
        (None, []),
        ("be\u00e9", ['"be\u00e9"']),
        ("", ['""']),
        ([], []),
        ([text("a"), text("b", cache_control=MARK)], [json.dumps(text("a")), json.dumps(text("b", cache_control=MARK))]),
    ],
)
def test_a_system_prompt_is_its_blocks_or_one_string(system, pieces):
    assert [bytes(raw).decode() for raw in DIALECT.parse(body(system=system)).system] == pieces


def test_a_system_prompt_that_is_null_is_none():
    assert DIALECT.parse(b'{"model":"m","messages":[{}],"system":null,"tools":null}').system == ()


def test_the_parts_of_a_request_go_where_they_belong():
    envelope = DIALECT.parse(body(system="s", tools=[{"name": "f", "input_schema": {}}], **{"x-cache": "off"}), {"anthropic-beta": "b"})
    assert (len(envelope.messages), len(envelope.tools), dict(envelope.extensions)) == (1, 1, {"x-cache": "off"})
    assert set(envelope.rest) == {"model", "max_tokens"}
    assert dict(envelope.outside) == {"anthropic-beta": "b"}


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"model":"m"}', "messages"),
        (body(messages=[]), "messages"),
        (body(messages={}), "messages"),
        (body(system=7), "system"),
        (body(system={"type": "text"}), "system"),
        (body(tools={}), "tools"),
    ],
)
def test_a_broken_outside_is_refused_by_name(raw, param):
    with pytest.raises(InvalidRequest) as refused:
        DIALECT.parse(raw)
    assert refused.value.param == param


# -- what pieces mean ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "markable", "stateful", "named"),
    [
        (text(), True, False, False),
        (text(""), False, False, False),
        ({"type": "image", "source": PNG}, True, False, False),
        ({"type": "image", "source": {"type": "url", "url": "https://x"}}, True, True, False),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, True, True, True),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A"}}, True, False, False),
        ({"type": "document", "source": {"type": "url", "url": "https://x"}}, True, True, False),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, True, True, True),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": {"type": "file"}}]}}, True, True, True),
        ({"type": "search_result", "source": "s", "title": "t", "content": [text()]}, True, False, False),
        (THINKING, False, False, False),
        ({"type": "redacted_thinking", "data": "d"}, False, False, False),
        (USE, True, False, False),
        (result(), True, False, False),
        (result([{"type": "image", "source": {"type": "file", "file_id": "f"}}]), True, True, True),
        (result([{"type": "tool_reference", "tool_name": "f"}]), True, True, False),
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, True, True, False),
        ({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, True, True, False),
        ({"type": "mcp_tool_result", "tool_use_id": "s", "content": [text()]}, True, True, False),
        ({"type": "container_upload", "file_id": "f"}, True, True, True),
        ({"type": "compaction", "content": "c"}, True, True, False),
        ({"type": "fallback", "from": {}, "to": {}}, False, True, False),
        ({"type": "not_known_yet", "content": [7, "x", {"type": None}]}, False, True, False),
    ],
)
def test_what_a_block_at_the_end_means(block, markable, stateful, named):
    facts = message(text("first"), block)
    assert (facts.markable, facts.stateful, facts.object_id) == (markable, stateful, named)


def test_a_mark_may_sit_on_a_string_that_says_something():
    assert GRAMMAR.read_message(HI).markable
    assert not GRAMMAR.read_message({"role": "user", "content": ""}).markable
    assert not message().markable
    assert GRAMMAR.read_system("s").markable
    assert not GRAMMAR.read_system("").markable


def test_marks_count_parts_without_thinking_and_look_into_results():
    marked = [
        THINKING,
        text(cache_control=MARK),
        text(),
        result([text(cache_control=HOUR), text()], cache_control={"type": "ephemeral", "ttl": "5m"}),
    ]
    facts = message(*marked, role="assistant")
    assert facts.marks == (Mark(0, 0, "cache_control"), Mark(2, 300, "cache_control"), Mark(2, 3600, "cache_control", inner=0))
    assert facts.blocks == 3
    assert message(text(cache_control=None)).marks == ()


@pytest.mark.parametrize("mark", ["yes", {"type": "persistent"}, {"type": "ephemeral", "ttl": "9d"}, {"type": "ephemeral", "ttl": ["5m"]}, []])
@pytest.mark.parametrize("inside", [False, True])
def test_a_mark_that_is_none_is_refused_at_its_place(mark, inside):
    block = result([text(), text(cache_control=mark)]) if inside else text(cache_control=mark)
    with pytest.raises(InvalidRequest) as refused:
        message(text(), block)
    place = "content[1].content[1]" if inside else "content[1]"
    assert refused.value.param in (f"{place}.cache_control", f"{place}.cache_control.ttl")


def test_pictures_are_counted_and_their_bytes_left_out():
    facts = message({"type": "image", "source": PNG}, result([{"type": "image", "source": PNG}, text()]), text())
    assert (facts.images, facts.opaque_bytes) == (2, 8)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a", [text("a")], True),
        ("a", [text("a", cache_control=MARK)], True),
        ("a", [text("a", citations=[{}])], False),
        ("a", [text("a"), text("")], False),
        ("a", [text("b")], False),
    ],
)
def test_a_string_and_one_text_block_are_the_same_question(one, other, same):
    found = [GRAMMAR.read_message({"role": "user", "content": content}).answer_value for content in (one, other)]
    assert (found[0] == found[1]) == same
    assert (GRAMMAR.read_system(one).answer_value == GRAMMAR.read_system(other[0]).answer_value) == (same or len(other) == 2)


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([], None),
        ({"content": "x"}, "role"),
        ({"role": "tool", "content": "x"}, "role"),
        ({"role": ["user"], "content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": None}, "content"),
        ({"role": "user", "content": {}}, "content"),
        ({"role": "user", "content": ["x"]}, "content[0]"),
        ({"role": "user", "content": [text(), {"text": "x"}]}, "content[1]"),
    ],
)
def test_only_what_the_gateway_relies_on_is_refused_of_a_message(value, param):
    with pytest.raises(InvalidRequest) as refused:
        GRAMMAR.read_message(value)
    assert refused.value.param == param


def test_system_messages_in_the_middle_are_taken_and_their_texts_known():
    assert GRAMMAR.read_message({"role": "system", "content": [text("a"), text("b")]}).texts == ("a", "b")
    assert GRAMMAR.read_message({"role": "system", "content": "a"}).texts == ("a",)
    assert GRAMMAR.read_message(HI).texts == ()


@pytest.mark.parametrize(
    ("tool", "name", "stateful", "markable"),
    [
        ({"name": "f", "input_schema": {}}, "f", False, True),
        ({"type": "custom", "name": "f"}, "f", False, True),
        ({"name": "f", "defer_loading": True}, "f", False, False),
        ({"type": "bash_20250124", "name": "bash"}, "bash", False, True),
        ({"type": "text_editor_20250728", "name": "e"}, "e", False, True),
        ({"type": "computer_20251124", "name": "computer"}, "computer", False, True),
        ({"type": "memory_20250818", "name": "memory"}, "memory", False, True),
        ({"type": "browser_toolset_20260801"}, "browser_toolset_20260801", False, True),
        ({"type": "web_fetch_20260309", "name": "web_fetch"}, "web_fetch", True, True),
        ({"type": "tool_search_tool_bm25_20251119", "name": "t"}, "t", True, True),
        ({"type": "mcp_toolset", "mcp_server_name": "m"}, "m", True, True),
    ],
)
def test_tools_that_cost_nothing_but_tokens_pass(tool, name, stateful, markable):
    facts = GRAMMAR.read_tool(tool)
    assert (facts.name, facts.stateful, facts.markable, facts.fee) == (name, stateful, markable, 0)


def test_a_search_has_its_fee():
    facts = GRAMMAR.read_tool({"type": "web_search_20250305", "name": "web_search"})
    assert (facts.stateful, facts.fee) == (True, 10_000_000)


@pytest.mark.parametrize("kind", ["code_execution_20260521", "web_searching_20290101", "advisor_20260301", "not_known_yet_20280101"])
def test_tools_without_a_known_price_are_refused_by_name(kind):
    with pytest.raises(UnsupportedField, match=kind) as refused:
        GRAMMAR.read_tool({"type": kind, "name": "x"})
    assert refused.value.param == "type"


@pytest.mark.parametrize(("tool", "param"), [([], None), ({}, "name"), ({"name": ""}, "name"), ({"type": ["custom"], "name": "f"}, "type")])
def test_a_broken_tool_is_refused(tool, param):
    with pytest.raises(InvalidRequest) as refused:
        GRAMMAR.read_tool(tool)
    assert refused.value.param == param


# -- parameters ------------------------------------------------------------------------------------------------------------------------


def test_what_the_top_level_says():
    facts = params(stream=True, max_tokens=5, temperature=msgspec.Raw(b"0.0"), service_tier="standard_only", cache_control=HOUR)
    assert (facts.stream, facts.include_usage, facts.max_output, facts.choices) == (True, True, 5, 1)
    assert (facts.deterministic, facts.service_tier, facts.auto_mark_s) == (True, "default", 3600)
    plain = params()
    assert (plain.stream, plain.max_output, plain.deterministic, plain.service_tier, plain.auto_mark_s) == (False, None, False, "", None)


def test_no_output_at_all_may_be_asked_for():
    assert params(max_tokens=0).max_output is None


def test_feature_flags_are_part_of_question_and_prompt_and_the_person_is_not():
    outside = {"anthropic-beta": "a", "anthropic-version": "2023-06-01", ":query": "beta=true"}
    facts = params(outside, metadata={"user_id": "u"}, cache_control=MARK, stream=True, top_k=3, thinking={"type": "adaptive"})
    assert facts.prompt_value == {**outside, "thinking": {"type": "adaptive"}}
    assert facts.answer_value == {**outside, "thinking": {"type": "adaptive"}, "top_k": 3}
    assert facts.side_value == {"metadata": {"user_id": "u"}, "cache_control": MARK}


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 1), ("temperature", msgspec.Raw(b"1.0")), ("service_tier", "auto"), ("tool_choice", {"type": "auto"}), ("top_k", None)],
)
def test_a_documented_default_is_the_same_as_nothing(name, value):
    assert params(**{name: value}).answer_value == {}


@pytest.mark.parametrize("value", [True, 0, "1"])
def test_what_only_looks_like_a_default_is_none(value):
    if value == "1" or value is True:
        with pytest.raises(InvalidRequest):
            params(temperature=value)
    else:
        assert params(temperature=value).answer_value == {"temperature": 0}


@pytest.mark.parametrize(
    ("name", "value", "unserved"),
    [
        ("container", "c", True),
        ("container", {"skills": []}, True),
        ("thread", {"type": "create"}, True),
        ("fallbacks", "default", True),
        ("fallback_credit_token", "t", True),
        ("speed", "fast", False),
        ("speed", "faster", True),
        ("speed", "standard", False),
        ("inference_geo", "us", True),
        ("inference_geo", "global", False),
        ("billing_policy", {"type": "billing_policy", "bill_to": "user_profile"}, True),
        ("billing_policy", {"type": "billing_policy", "bill_to": "self"}, False),
        ("context_management", {"edits": []}, False),
        ("mcp_servers", [{"name": "m"}], False),
        ("not_known_yet", 1, False),
    ],
)
def test_what_has_no_known_price_or_owner_is_named(name, value, unserved):
    assert params(**{name: value}).unserved == (name if unserved else "")
    assert params(**{name: None}).unserved == ""


def test_what_others_hold_or_run_makes_a_request_stateful():
    assert params(mcp_servers=[{"name": "m"}]).stateful
    assert params(diagnostics={"previous_message_id": "msg_1"}).stateful
    assert not params(mcp_servers=[], diagnostics=None).stateful


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", None), ("model", 4), ("model", ""), ("model", "m" * 300), ("stream", "true"), ("stream", 1), ("temperature", "0"),
        ("temperature", True), ("temperature", [0]), ("max_tokens", -1), ("max_tokens", 1 << 63), ("max_tokens", "10"), ("max_tokens", True),
        ("service_tier", 5), ("cache_control", "yes"),
    ],
)  # fmt: skip
def test_broken_parameters_are_refused_by_name(name, value):
    with pytest.raises(InvalidRequest) as refused:
        params(**{name: value})
    assert refused.value.param == name


def test_a_count_never_streams_and_the_same_prompt_has_the_same_count():
    facts = COUNT.grammar.read_params({"model": "m", "stream": True})
    assert (facts.stream, facts.deterministic) == (False, True)


# -- errors ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("x"), "invalid_request_error"),
        (Unauthenticated("x"), "authentication_error"),
        (Forbidden("x"), "permission_error"),
        (ModelNotFound("x"), "not_found_error"),
        (BodyTooLarge("x"), "request_too_large"),
        (GatewayError("x"), "api_error"),
        (UpstreamFailed("x"), "api_error"),
        (Unavailable("x"), "overloaded_error"),
        (UpstreamTimedOut("x"), "timeout_error"),
        (UpstreamRefused("x", status=529), "overloaded_error"),
        (UpstreamRefused("x", status=402), "billing_error"),
        (UpstreamRefused("x", status=418), "invalid_request_error"),
    ],
)
def test_an_error_has_the_kind_that_belongs_to_its_status(error, kind):
    assert json.loads(DIALECT.encode_error(error, "req_1")) == {"type": "error", "error": {"type": kind, "message": "x"}, "request_id": "req_1"}
    assert DIALECT.encode_stream_error(error) == b'event: error\ndata: {"type":"error","error":{"type":"%b","message":"x"}}\n\n' % kind.encode()


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (RateLimited("x"), "rate_limit_error", "rate_limit_exceeded"),
        (QuotaExhausted("x"), "rate_limit_error", "insufficient_quota"),
        (BudgetExhausted("x"), "billing_error", "budget_exceeded"),
    ],
)
def test_limits_and_caps_name_their_cause_where_clients_look_for_it(error, kind, code):
    said = {"type": kind, "message": "x", "details": {"error_code": code}}
    assert json.loads(DIALECT.encode_error(error, "req_1")) == {"type": "error", "error": said, "request_id": "req_1"}


def test_an_error_says_its_place_once():
    said = [
        json.loads(DIALECT.encode_error(InvalidRequest(words, param="messages[0].role")))["error"]["message"]
        for words in ("no", "messages[0].role: no")
    ]
    assert said == ["messages[0].role: no", "messages[0].role: no"]


def test_what_a_provider_said_in_its_stream_keeps_its_kind():
    error = json.loads(DIALECT.encode_error(UpstreamFailed("overloaded_error: Overloaded")))["error"]
    assert error == {"type": "overloaded_error", "message": "Overloaded"}
    assert json.loads(DIALECT.encode_error(InvalidRequest("overloaded_error: Overloaded")))["error"]["type"] == "invalid_request_error"
