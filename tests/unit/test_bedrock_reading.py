"""Converse's answers: whole ones, binary streams, usage, and what goes wrong in them."""

import base64
import json

import pytest

from tokenrouter.adapters.wire.bedrock import ConverseEventDecoder, decode_answer, usage_from_wire
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import (
    Failed,
    Finished,
    Reasoning,
    Spoken,
    Started,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
    fold,
)
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.sandbox.bedrock_eventstream import event, exception, framed, message

CLAUDE = "anthropic-claude-v1"
USAGE = {"inputTokens": 5, "outputTokens": 7, "totalTokens": 12}


def whole(content, stop="end_turn", usage=USAGE, **more):
    return json.dumps({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, "usage": usage, **more}).encode()


def choice(content, **more):
    return decode_answer(whole(content, **more)).choices[0]


def start(index, **tool):
    return event("contentBlockStart", {"start": {"toolUse": tool}, "contentBlockIndex": index})


def delta(index, **what):
    return event("contentBlockDelta", {"delta": what, "contentBlockIndex": index})


def stop(index):
    return event("contentBlockStop", {"contentBlockIndex": index})


def events(*frames):
    decoder = ConverseEventDecoder()
    return [*decoder.feed(b"".join(frames)), *decoder.finish()]


BEGIN = event("messageStart", {"role": "assistant"})
END = event("messageStop", {"stopReason": "end_turn"}) + event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}})


def blob(data):
    return base64.b64encode(data).decode()


# --- whole answers


def test_blocks_keep_their_order_and_arguments_their_spelling():
    spelled = b'{"b" : 1.0, "big":12345678901234567890}'
    body = whole(
        [
            {"reasoningContent": {"reasoningText": {"text": "T", "signature": "s="}}},
            {"reasoningContent": {"redactedContent": blob(b"EmwK")}},
            {"text": "one "},
            {"citationsContent": {"content": [{"text": "two"}], "citations": []}},
            {"toolUse": {"toolUseId": "t1", "name": "f", "input": "HERE"}},
            {"text": "three"},
        ],
        stop="tool_use",
    ).replace(b'"HERE"', spelled)
    answer = decode_answer(body)
    assert answer.choices[0].blocks == (
        Reasoning("T", "s=", format=CLAUDE),
        Reasoning(redacted="EmwK", format=CLAUDE),
        Spoken("one two"),
        ToolCall("t1", "f", spelled.decode()),
        Spoken("three"),
    )
    assert (answer.choices[0].stop, answer.model, answer.usage.input_total) == ("tool_calls", "", 5)


def test_tools_that_the_provider_ran_itself_are_passed_over():
    ran = {"toolUse": {"toolUseId": "t", "name": "search", "input": {}, "type": "server_tool_use"}}
    assert choice([{"text": "a"}, ran, {"toolResult": {"toolUseId": "t", "content": []}}, {"text": "b"}]).blocks == (Spoken("ab"),)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("something new", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_tool_use", "content_filter"),
        ("malformed_model_output", "content_filter"),
        (None, None),
    ],
)
def test_why_the_model_stopped(reason, said):
    assert choice([{"text": "x"}], stop=reason).stop == said


def test_the_stop_string_that_was_met_is_told():
    assert choice([{"text": "x"}], additionalModelResponseFields={"stop_sequence": "END"}).stop_sequence == "END"
    assert choice([{"text": "x"}], additionalModelResponseFields={"stop_sequence": None}).stop_sequence is None


def test_every_answer_has_an_id_of_its_own():
    body = whole([{"text": "x"}])
    assert len({decode_answer(body).id for _ in range(5)}) == 5


def test_redacted_bytes_that_are_no_text_stay_as_they_are():
    assert choice([{"reasoningContent": {"redactedContent": "//79"}}]).blocks == (Reasoning(redacted="//79", format="amazon-bedrock-v1"),)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "an empty body"),
        (b"<html>", "an HTML page"),
        (b'{"message":"Internal failure"}', "Internal failure"),
        (b"{}", "another form"),
        (b'{"output":{"message":{"content":[{"text":1}]}}}', "another form"),
        (whole([{"reasoningContent": {"redactedContent": "***"}}]), "not base64"),
        (b"[" * 5000, "instead of a message"),
    ],
)
def test_what_is_no_answer_is_a_failure_of_the_provider(body, words):
    with pytest.raises(UpstreamFailed, match=words):
        decode_answer(body)


# --- usage


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        (USAGE, Usage(fresh_input=5, output=7, cache_reported=False)),
        (USAGE | {"cacheReadInputTokens": 0, "cacheWriteInputTokens": 0}, Usage(fresh_input=5, output=7)),
        (USAGE | {"cacheReadInputTokens": 3}, Usage(fresh_input=5, output=7, cache_read=3)),
        (USAGE | {"cacheWriteInputTokens": 9}, Usage(fresh_input=5, output=7, cache_write=9)),
        (
            USAGE | {"cacheWriteInputTokens": 9, "cacheDetails": [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 5}]},
            Usage(fresh_input=5, output=7, cache_write=5, cache_write_1h=4),
        ),
        (
            USAGE | {"cacheWriteInputTokens": 9, "cacheDetails": [{"ttl": "1h", "inputTokens": 4}]},
            Usage(fresh_input=5, output=7, cache_write=5, cache_write_1h=4),
        ),
        (
            USAGE | {"cacheWriteInputTokens": 9, "cacheDetails": [{"ttl": "3d", "inputTokens": 4}, {"ttl": ["5m"]}, 7]},
            Usage(fresh_input=5, output=7, cache_write=9),
        ),
        (USAGE | {"cacheDetails": [{"ttl": "5m", "inputTokens": 2}]}, Usage(fresh_input=5, output=7, cache_write=2)),
        (USAGE | {"cacheReadInputTokens": -1, "cacheDetails": "x"}, Usage(fresh_input=5, output=7, cache_reported=False)),
        ({"inputTokens": 5}, NO_USAGE),
        ({"inputTokens": 5, "outputTokens": "7"}, NO_USAGE),
        (None, NO_USAGE),
    ],
)
def test_buckets_are_disjoint_and_absurd_figures_count_as_absent(wire, usage):
    assert usage_from_wire(wire) == usage


# --- streams


def test_a_stream_in_its_order():
    found = events(
        BEGIN,
        delta(0, reasoningContent={"text": "T1"}),
        delta(0, reasoningContent={"text": "T2"}),
        delta(0, reasoningContent={"signature": "s="}),
        stop(0),
        delta(1, text="a"),
        delta(1, text=""),
        delta(1, text="b"),
        stop(1),
        start(2, toolUseId="t1", name="f"),
        delta(2, toolUse={"input": '{"x"'}),
        delta(2, toolUse={"input": ": 1.0}"}),
        stop(2),
        start(3, toolUseId="t2", name="g"),
        stop(3),
        event("messageStop", {"stopReason": "tool_use"}),
        event("metadata", {"usage": USAGE | {"cacheReadInputTokens": 2}}),
    )
    assert isinstance(found[0], Started)
    assert [type(one) for one in found[-2:]] == [Finished, UsageSeen]
    answer = fold(found)
    assert answer.choices[0].blocks == (
        Reasoning("T1T2", "s=", format=CLAUDE),
        Spoken("ab"),
        ToolCall("t1", "f", '{"x": 1.0}'),
        ToolCall("t2", "g", "{}"),
    )
    assert (answer.choices[0].stop, answer.usage.cache_read) == ("tool_calls", 2)


def test_text_and_arguments_are_passed_on_at_once():
    decoder = ConverseEventDecoder()
    assert decoder.feed(delta(0, text="a")) == [TextDelta("a")]
    assert decoder.feed(start(1, toolUseId="t", name="f")) == [ToolCallStarted(0, "t", "f")]
    assert decoder.feed(delta(1, toolUse={"input": "{"})) == [ToolCallDelta(0, "{")]


def test_pieces_of_redacted_content_are_joined_as_bytes():
    text = "é".encode()
    found = fold(
        events(
            BEGIN,
            delta(0, reasoningContent={"redactedContent": blob(text[:1])}),
            delta(0, reasoningContent={"redactedContent": blob(text[1:])}),
            stop(0),
            END,
        )
    )
    assert found.choices[0].blocks == (Reasoning(redacted="é", format=CLAUDE),)


def test_blocks_that_never_stop_are_closed_by_the_end():
    found = fold(events(BEGIN, start(0, toolUseId="t", name="f"), delta(1, reasoningContent={"redactedContent": blob(b"r")}), END))
    assert found.choices[0].blocks == (ToolCall("t", "f", "{}"), Reasoning(redacted="r", format=CLAUDE))


def test_what_is_not_known_is_passed_over():
    found = events(
        event("initial-response", {}),
        BEGIN,
        event("novelty", {"x": 1}),
        message({":message-type": "event"}, b"not json"),
        start(0, toolUseId="t", name="s", type="server_tool_use"),
        delta(0, toolUse={"input": "{}"}),
        event("contentBlockStart", {"start": {"image": {"format": "png"}}, "contentBlockIndex": 1}),
        delta(1, image={"source": {"bytes": "AA=="}}),
        delta(2, citation={"title": "x"}),
        END,
    )
    assert [type(one) for one in found] == [Started, Finished, UsageSeen]


def test_usage_behind_the_end_is_waited_for():
    decoder = ConverseEventDecoder()
    decoder.feed(BEGIN + event("messageStop", {"stopReason": "end_turn"}))
    with pytest.raises(UpstreamTruncated, match="without metadata"):
        decoder.finish()
    assert [type(one) for one in decoder.feed(event("metadata", {"usage": USAGE}))] == [UsageSeen]
    assert decoder.finish() == []


def test_metadata_alone_is_no_end():
    decoder = ConverseEventDecoder()
    decoder.feed(BEGIN + delta(0, text="x") + event("metadata", {"usage": USAGE}))
    with pytest.raises(UpstreamTruncated, match="without messageStop"):
        decoder.finish()


def test_a_stream_may_end_without_figures():
    found = events(BEGIN, event("messageStop", {"stopReason": "end_turn"}), event("metadata", {"metrics": {"latencyMs": 1}}))
    assert [type(one) for one in found] == [Started, Finished]


@pytest.mark.parametrize(
    ("frame", "failed"),
    [
        (exception("throttlingException", {"message": "Too many tokens"}), Failed("Too many tokens", "throttlingException")),
        (exception("modelStreamErrorException", {}), Failed("the provider reported an error in its stream", "modelStreamErrorException")),
        (
            message({":message-type": "error", ":error-code": "InternalError", ":error-message": "it broke"}, b""),
            Failed("it broke", "InternalError"),
        ),
        (message({":message-type": "error"}, b"\xff"), Failed("the provider reported an error in its stream", "upstream_error")),
    ],
)
def test_exceptions_end_the_stream_as_failures(frame, failed):
    decoder = ConverseEventDecoder()
    assert decoder.feed(BEGIN + frame + delta(0, text="never read"))[1:] == [failed]
    assert decoder.feed(delta(0, text="nor this")) == []
    assert decoder.finish() == []


@pytest.mark.parametrize(
    "frame",
    [
        framed("contentBlockDelta", b"{"),
        framed("contentBlockDelta", b'{"delta":{"text":1}}'),
        framed("metadata", b"[]"),
        start(0, toolUseId="t", name="f") + delta(0, toolUse={"input": {"not": "text"}}),
        delta(0, reasoningContent={"redactedContent": "***"}),
    ],
)
def test_events_that_can_not_be_read_are_a_failure_of_the_provider(frame):
    with pytest.raises(UpstreamFailed):
        events(BEGIN, frame)


def test_the_tier_of_service_that_answered_is_told_with_the_usage():
    usage = {"inputTokens": 1, "outputTokens": 2}
    whole = {"output": {"message": {"content": [{"text": "hi"}]}}, "stopReason": "end_turn", "usage": usage, "serviceTier": {"type": "flex"}}
    assert decode_answer(json.dumps(whole).encode()).usage.service_tier == "flex"
    assert decode_answer(json.dumps({**whole, "serviceTier": "flex"}).encode()).usage.service_tier == ""
