"""A Messages request, opened: every block in the neutral words, or refused by its place."""

import json

import msgspec
import pytest

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.anthropic import AnthropicMessagesDialect
from tokenrouter.adapters.wire.anthropic import SIGNATURE_FORMAT
from tokenrouter.errors import (
    InvalidRequest,
    UnsupportedField,
)
from tokenrouter.model.answer import Answer, Choice, Reasoning, ToolCall
from tokenrouter.model.conversation import Call, Document, Image, OutputFormat, Result, Text, Thought, ToolChoice

DIALECT = AnthropicMessagesDialect()
MARK = {"type": "ephemeral"}
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


def opened(outside=None, **fields):
    return DIALECT.open(DIALECT.parse(body(**fields), outside or {}), None)


def test_a_conversation_is_opened_turn_by_turn():
    conversation = opened(
        system=[text("s0"), text("s1")],
        messages=[
            {
                "role": "user",
                "content": [text("q"), {"type": "image", "source": PNG}, {"type": "image", "source": {"type": "url", "url": "https://x"}}],
            },
            {"role": "assistant", "content": [THINKING, text("a"), {**USE, "input": {"n": 1.50}}, {"type": "redacted_thinking", "data": "r"}]},
            {"role": "user", "content": [result(), result([text("b"), {"type": "image", "source": PNG}], is_error=True), text("go")]},
            {"role": "system", "content": "late"},
        ],
    )
    said = [(turn.role, turn.source, turn.place) for turn in conversation.turns]
    assert said == [
        ("system", 0, "system[0]"), ("system", 1, "system[1]"), ("user", 2, "messages[0]"), ("assistant", 3, "messages[1]"),
        ("tool", 4, "messages[2]"), ("tool", 4, "messages[2]"), ("user", 4, "messages[2]"), ("system", 5, "messages[3]"),
    ]  # fmt: skip
    assert conversation.turns[2].blocks == (Text("q"), Image(data="AAAA", media_type="image/png"), Image(url="https://x"))
    assert conversation.turns[3].blocks == (
        Thought(Reasoning("hm", "sig", format=SIGNATURE_FORMAT)),
        Text("a"),
        Call(ToolCall("toolu_1", "f", '{"n": 1.5}')),
        Thought(Reasoning(redacted="r", format=SIGNATURE_FORMAT)),
    )
    assert conversation.turns[4].blocks == (Result("toolu_1", (Text("ok"),)),)
    assert conversation.turns[5].blocks == (Result("toolu_1", (Text("b"), Image(data="AAAA", media_type="image/png")), failed=True),)
    assert conversation.leftover == ()


def test_the_spelling_of_arguments_and_schemas_is_the_clients():
    raw = b'{"model":"m","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input": {"b" : 1.50, "a":"\\u00e9"} }]}],'
    raw += b'"tools":[{"name":"f","input_schema":{"type" : "object"} }],"output_config":{"format":{"type":"json_schema","schema":{"x" : 1e2}}}}'
    conversation = DIALECT.open(DIALECT.parse(raw), None)
    assert conversation.turns[0].blocks[0].call.arguments == '{"b" : 1.50, "a":"\\u00e9"}'
    assert bytes(conversation.tools[0].parameters) == b'{"type" : "object"}'
    assert bytes(conversation.output.schema) == b'{"x" : 1e2}'


@pytest.mark.parametrize("index", range(3))
def test_reasoning_of_another_vendor_comes_back_as_it_went_out(index):
    foreign = [
        Reasoning("seen", "", "opaque==", "openai-responses-v1", "rs_1"),
        Reasoning("", "sig/+=", "", "google-gemini-v1", "call_1"),
        Reasoning("only text"),
    ][index]
    block = json.loads(DIALECT.encode_answer(Answer("m", "m", 0, (Choice((foreign,), "stop"),)), Wanted()))["content"][0]
    assert (block["type"], block["thinking"]) == ("thinking", foreign.text)
    back = opened(messages=[HI, {"role": "assistant", "content": [block]}]).turns[1].blocks
    assert back == (Thought(foreign),)


def test_an_envelope_that_can_not_be_read_is_nobodys_signature():
    block = {"type": "thinking", "thinking": "hm", "signature": "tr1.###"}
    assert opened(messages=[{"role": "assistant", "content": [block]}]).turns[0].blocks == (Thought(Reasoning("hm")),)


@pytest.mark.parametrize(
    ("source", "document"),
    [
        ({"type": "base64", "media_type": "application/pdf", "data": "A"}, Document("A", "application/pdf", "t")),
        ({"type": "text", "media_type": "text/plain", "data": "words"}, Document(text="words", media_type="text/plain", filename="t")),
        ({"type": "url", "url": "https://x"}, Document(url="https://x", filename="t")),
        ({"type": "content", "content": "words"}, Document(text="words", media_type="text/plain", filename="t")),
    ],
)
def test_documents_are_opened(source, document):
    block = {"type": "document", "source": source, "title": "t", "citations": {"enabled": False}, "context": None}
    conversation = opened(messages=[{"role": "user", "content": [block]}])
    assert (conversation.turns[0].blocks, conversation.leftover) == ((document,), ())


@pytest.mark.parametrize(
    ("block", "param"),
    [
        ({"type": "search_result", "source": "s", "title": "t", "content": [text()]}, "messages[0].content[0].type"),
        ({"type": "server_tool_use", "id": "s", "name": "n", "input": {}}, "messages[0].content[0].type"),
        ({"type": "not_known_yet"}, "messages[0].content[0].type"),
        (THINKING, "messages[0].content[0].type"),
        ({"type": "document", "source": {"type": "text", "data": "x"}, "citations": {"enabled": True}}, "messages[0].content[0].citations"),
        ({"type": "document", "source": {"type": "text", "data": "x"}, "context": "c"}, "messages[0].content[0].context"),
        ({"type": "document", "source": {"type": "content", "content": [text()]}}, "messages[0].content[0].source.content"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "messages[0].content[0].source.type"),
        (result([{"type": "search_result"}]), "messages[0].content[0].content[0].type"),
    ],
)
def test_blocks_that_only_anthropic_has_are_refused_by_place(block, param):
    with pytest.raises(UnsupportedField) as refused:
        opened(messages=[{"role": "user", "content": [block]}])
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"mcp_servers": [{"name": "m"}]}, "mcp_servers"),
        ({"compaction": {"type": "x"}}, "compaction"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_fields_that_only_anthropic_has_are_refused_by_name(fields, param):
    with pytest.raises(UnsupportedField) as refused:
        opened(**fields)
    assert refused.value.param == param


def test_hints_without_a_place_are_reported():
    conversation = opened(
        {"anthropic-beta": "b", "anthropic-version": "v", ":query": "beta=true"},
        context_management={"edits": [{}]},
        diagnostics={"previous_message_id": None},
        brand_new=1,
        metadata={"user_id": "u", "team": "t"},
        tools=[{"name": "f", "defer_loading": True, "input_examples": [], "allowed_callers": ["direct"], "eager_input_streaming": False}],
        messages=[{"role": "assistant", "content": [text(citations=[{"cited_text": "x"}]), {**USE, "caller": {"type": "direct"}}], "id": "x"}],
        cache_control=MARK,
        speed="standard",
        container=None,
    )
    assert set(conversation.leftover) == {
        *("anthropic-beta", "context_management", "diagnostics", "brand_new", "metadata.team", "tools.defer_loading"),
        *("messages.content.citations", "messages.id"),
    }
    assert conversation.user == "u"


@pytest.mark.parametrize(
    ("choice", "mode", "parallel"),
    [
        (None, None, None),
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, ToolChoice("named", "f"), True),
        ({"type": "none"}, ToolChoice("none"), None),
    ],
)
def test_the_choice_of_tools_is_opened(choice, mode, parallel):
    conversation = opened(tool_choice=choice)
    assert (conversation.tool_choice, conversation.parallel_calls) == (mode, parallel)


@pytest.mark.parametrize(
    ("fields", "effort", "budget", "show"),
    [
        ({}, None, None, None),
        ({"output_config": {"effort": "low"}}, "low", None, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, None, 2000, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}}, None, 2000, False),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, "high", None, True),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max", None, None),
        ({"thinking": {"type": "disabled"}}, None, 0, None),
    ],
)
def test_thinking_is_opened(fields, effort, budget, show):
    conversation = opened(**fields)
    assert (conversation.effort, conversation.thinking_budget, conversation.show_reasoning) == (effort, budget, show)


def test_everything_else_is_opened():
    conversation = opened(
        max_tokens=7, stream=True, temperature=0.5, top_p=0.25, top_k=3, stop_sequences=["a", "b"], metadata={"user_id": "u"},
        service_tier="standard_only", tools=[{"name": "f", "description": "d", "input_schema": {}, "strict": True}],
        output_config={"format": {"type": "json_schema", "schema": {}}},
    )  # fmt: skip
    assert (conversation.max_output, conversation.stream, conversation.temperature, conversation.top_p, conversation.top_k) == (7, True, 0.5, 0.25, 3)
    assert (conversation.stop, conversation.user, conversation.service_tier) == (("a", "b"), "u", "default")
    spec = conversation.tools[0]
    assert (spec.name, spec.description, spec.strict, bytes(spec.parameters)) == ("f", "d", True, b"{}")
    assert conversation.output == OutputFormat("json_schema", None, msgspec.Raw(b"{}"), True)


def test_tools_are_opened_in_the_order_in_which_they_are_sent():
    envelope = DIALECT.parse(body(tools=[{"name": "b"}, {"name": "a"}]))
    assert [tool.name for tool in DIALECT.open(envelope, (1, 0)).tools] == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"top_k": "3"}, "top_k"),
        ({"metadata": {"user_id": 4}}, "metadata.user_id"),
        ({"tools": [{"name": "f", "input_schema": []}]}, "tools[0].input_schema"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{**result(), "tool_use_id": None}]}]}, "messages[0].content[0].tool_use_id"),
        ({"system": [{"type": "text", "text": 5}]}, "system[0].text"),
    ],
)
def test_what_can_not_be_opened_is_refused_by_place(fields, param):
    with pytest.raises(InvalidRequest) as refused:
        opened(**fields)
    assert refused.value.param == param
