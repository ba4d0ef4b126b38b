"""Answers and streams as clients of Anthropic read them; counts of tokens."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.anthropic import AnthropicCountDialect, AnthropicMessagesDialect
from tokenrouter.adapters.outbound.anthropic_count import AnthropicCount
from tokenrouter.adapters.wire.anthropic import SIGNATURE_FORMAT, usage_from_wire
from tokenrouter.adapters.wire.foreign_reasoning import seal, unseal
from tokenrouter.catalog.loader import load_catalog
from tokenrouter.errors import (
    UpstreamFailed,
)
from tokenrouter.model.answer import (
    Answer,
    Choice,
    Declined,
    Failed,
    Finished,
    Reasoning,
    ReasoningDelta,
    RefusalDelta,
    Spoken,
    Started,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
    fold,
    unfold,
)
from tokenrouter.model.cache_plan import NO_PLAN
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.settings import load_settings

DIALECT, COUNT = AnthropicMessagesDialect(), AnthropicCountDialect()
HI = {"role": "user", "content": "hi"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


def text(said="a", **more):
    return {"type": "text", "text": said, **more}


def body(**fields):
    request = {"model": "claude-opus-4-8", "max_tokens": 9, "messages": [HI], **fields}
    return json.dumps({name: value for name, value in request.items() if value is not None}, ensure_ascii=False).encode()


def opened(outside=None, **fields):
    return DIALECT.open(DIALECT.parse(body(**fields), outside or {}), None)


def test_a_whole_answer_keeps_the_order_of_its_blocks():
    said = (
        Reasoning("hm", "sig", format=SIGNATURE_FORMAT),
        Spoken("a"),
        ToolCall("t", "f", '{"n" : 1.50}'),
        Spoken("b"),
        Reasoning(redacted="r", format=SIGNATURE_FORMAT),
    )
    usage = Usage(fresh_input=1, cache_read=2, cache_write=3, cache_write_1h=4, output=5, reasoning=2)
    whole = DIALECT.encode_answer(Answer("msg_1", "m", 0, (Choice(said, "tool_calls"),), usage), Wanted())
    assert b'"input":{"n" : 1.50}' in whole
    answer = json.loads(whole)
    assert answer["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"}, text("a"), {**USE, "id": "t", "input": {"n": 1.5}}, text("b"),
        {"type": "redacted_thinking", "data": "r"},
    ]  # fmt: skip
    assert (answer["id"], answer["type"], answer["role"], answer["model"], answer["stop_reason"]) == (
        "msg_1",
        "message",
        "assistant",
        "m",
        "tool_use",
    )
    assert answer["usage"] == {
        "input_tokens": 1, "cache_creation_input_tokens": 7, "cache_read_input_tokens": 2, "output_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}, "output_tokens_details": {"thinking_tokens": 2},
    }  # fmt: skip
    assert usage_from_wire(answer["usage"]) == usage
    assert DIALECT.decode_answer(whole).choices[0].blocks == said


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (Choice((Spoken("a"),), "stop"), ("end_turn", None)),
        (Choice((Spoken("a"),), "stop", "###"), ("stop_sequence", "###")),
        (Choice((Spoken("a"),), "length"), ("max_tokens", None)),
        (Choice((Spoken("a"),), "content_filter"), ("refusal", None)),
        (Choice((Declined("no"),), "stop"), ("refusal", None)),
        (Choice((ToolCall("t", "f", "{}"),), "stop"), ("tool_use", None)),
        (Choice((ToolCall("t", "f", "{}"),), "length"), ("max_tokens", None)),
        (Choice((Spoken("a"),), None), (None, None)),
    ],
)
def test_stop_reasons_are_said_in_this_dialect(choice, reason):
    answer = json.loads(DIALECT.encode_answer(Answer("1", "m", 0, (choice,)), Wanted()))
    assert (answer["stop_reason"], answer["stop_sequence"]) == reason
    assert answer["id"] == "msg_1"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("", {}),
        (" ", {}),
        ("{}", {}),
        ('{"a": [', {"unreadable_arguments": '{"a": ['}),
        ("[1]", {"unreadable_arguments": "[1]"}),
        ("7", {"unreadable_arguments": "7"}),
    ],
)
def test_arguments_that_are_no_object_are_shown_as_they_are(arguments, found):
    answer = json.loads(DIALECT.encode_answer(Answer("1", "m", 0, (Choice((ToolCall("t", "f", arguments),), "tool_calls"),)), Wanted()))
    assert answer["content"][0]["input"] == found


def test_usage_that_nobody_told_is_zero_and_says_nothing_of_caches():
    answer = json.loads(DIALECT.encode_answer(Answer("1", "m", 0, (Choice((), "stop"),), NO_USAGE), Wanted()))
    assert answer["usage"] == {"input_tokens": 0, "output_tokens": 0}


def test_tokens_of_a_compaction_are_billed_beside_the_rest():
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 1}
    iterations = [{"type": "compaction", "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 7}, {"type": "message", **usage}]
    assert usage_from_wire({**usage, "iterations": iterations}) == Usage(fresh_input=110, cache_read=8, output=25)


def test_a_prompt_of_any_dialect_is_counted_in_the_fields_that_the_endpoint_takes():
    catalog = load_catalog(load_settings({"SANDBOX": "1"}))
    target = catalog.resolve("claude-opus-4-8")
    conversation = opened(system="s", stream=True, temperature=0, stop_sequences=["x"], tools=[{"name": "f", "input_schema": {"type": "object"}}])
    sent = AnthropicCount().translate(conversation, target.model, target.deployments[0], NO_PLAN)
    assert sent.path == "/v1/messages/count_tokens"
    assert set(json.loads(sent.body)) == {"model", "system", "messages", "tools"}
    assert COUNT.encode_count(12) == b'{"input_tokens":12}'
    assert AnthropicCount().decode_count(b'{"input_tokens": 12}') == 12
    for broken in (b"{}", b"[]", b"<html>", b'{"input_tokens":"12"}'):
        with pytest.raises(UpstreamFailed):
            AnthropicCount().decode_count(broken)


def test_our_envelope_keeps_everything_but_the_text():
    foreign = Reasoning("seen", "s", "r", "f", "i")
    block = json.loads(DIALECT.encode_answer(Answer("1", "m", 0, (Choice((foreign,), "stop"),)), Wanted()))["content"][0]
    assert block["signature"] == seal(foreign)


# -- streams ---------------------------------------------------------------------------------------------------------------------------


def frames(*events, close=True):
    encoder = DIALECT.encoder(Wanted())
    out = b"".join([encoder.encode(event) for event in events]) + (encoder.close() if close else b"")
    return read_frames(out)


def read_frames(data):
    """(name, data) of every frame; each is one `event:` and one `data:` line, and names its kind twice."""
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        name, said = block.split("\n")
        value = json.loads(said.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        found.append(value)
    return found


def short(found):
    """What a stream said, without its frame around it."""
    words = []
    for event in found:
        match event["type"]:
            case "content_block_start":
                words.append((event["index"], event["content_block"]))
            case "content_block_delta":
                words.append((event["index"], *event["delta"].values()))
            case "content_block_stop":
                words.append((event["index"], "stop"))
    return words


def test_a_stream_opens_and_closes_every_block_in_its_place():
    found = frames(
        Started("1", "m"),
        ReasoningDelta(0, "h", format=SIGNATURE_FORMAT),
        ReasoningDelta(0, "m", "si"),
        ReasoningDelta(0, "", "g"),
        ReasoningDelta(1, redacted="r", format=SIGNATURE_FORMAT),
        TextDelta("a"),
        TextDelta("b"),
        ToolCallStarted(0, "t0", "f"),
        ToolCallDelta(0, '{"a"'),
        ToolCallDelta(0, ":1}"),
        ToolCallStarted(1, "t1", "g"),
        TextDelta("c"),
        Finished("tool_calls"),
        UsageSeen(Usage(fresh_input=3, cache_read=4, output=5)),
    )
    assert short(found) == [
        (0, {"type": "thinking", "thinking": "", "signature": ""}),
        (0, "thinking_delta", "h"),
        (0, "thinking_delta", "m"),
        (0, "signature_delta", "sig"),
        (0, "stop"),
        (1, {"type": "redacted_thinking", "data": "r"}),
        (1, "stop"),
        (2, {"type": "text", "text": ""}),
        (2, "text_delta", "a"),
        (2, "text_delta", "b"),
        (2, "stop"),
        (3, {"type": "tool_use", "id": "t0", "name": "f", "input": {}}),
        (3, "input_json_delta", '{"a"'),
        (3, "input_json_delta", ":1}"),
        (3, "stop"),
        (4, {"type": "tool_use", "id": "t1", "name": "g", "input": {}}),
        (4, "stop"),
        (5, {"type": "text", "text": ""}),
        (5, "text_delta", "c"),
        (5, "stop"),
    ]
    assert [event["type"] for event in found[:2]] == ["message_start", "ping"]
    assert [event["type"] for event in found[-2:]] == ["message_delta", "message_stop"]


def test_a_stream_starts_with_an_empty_message_and_tells_all_usage_at_its_end():
    found = frames(Started("1", "m"), TextDelta("a"), Finished("stop", stop_sequence="##"), UsageSeen(Usage(fresh_input=3, cache_read=4, output=5)))
    start, delta = found[0]["message"], found[-2]
    assert (start["id"], start["model"], start["content"], start["stop_reason"], start["usage"]["input_tokens"]) == ("msg_1", "m", [], None, 0)
    assert delta["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "##"}
    assert usage_from_wire(delta["usage"]) == Usage(fresh_input=3, cache_read=4, output=5)


def test_a_piece_of_an_earlier_call_keeps_its_index():
    found = frames(ToolCallStarted(0, "a", "f"), ToolCallStarted(1, "b", "g"), ToolCallDelta(0, "{}"), ToolCallDelta(1, "{ }"), ToolCallDelta(9, "x"))
    assert [event for event in short(found) if event[1] == "input_json_delta"] == [(0, "input_json_delta", "{}"), (1, "input_json_delta", "{ }")]


@pytest.mark.parametrize(
    ("deltas", "block"),
    [
        ([ReasoningDelta(0, "hm", format="f"), ReasoningDelta(0, redacted="r", id="i")], Reasoning("hm", "", "r", "f", "i")),
        ([ReasoningDelta(0, signature="s", format="google-gemini-v1", id="call_1")], Reasoning("", "s", "", "google-gemini-v1", "call_1")),
        ([ReasoningDelta(0, "h"), ReasoningDelta(0, "m")], Reasoning("hm")),
        ([ReasoningDelta(0, "hm", "s", "r", format=SIGNATURE_FORMAT)], Reasoning("hm", "s", "r", SIGNATURE_FORMAT)),
    ],
)
def test_reasoning_of_another_vendor_is_signed_by_an_envelope_at_its_end(deltas, block):
    said = short(frames(*deltas, TextDelta("a")))
    thinking = "".join(event[2] for event in said if event[1] == "thinking_delta")
    signatures = [event[2] for event in said if event[1] == "signature_delta"]
    assert (thinking, [unseal(signature, thinking) for signature in signatures]) == (block.text, [block])
    assert said[0] == (0, {"type": "thinking", "thinking": "", "signature": ""})


def test_claudes_own_reasoning_without_a_signature_gets_none():
    said = short(frames(ReasoningDelta(0, "hm", format=SIGNATURE_FORMAT), TextDelta("a")))
    assert [event[1] for event in said if event[0] == 0] == [{"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "stop"]


def test_a_refusal_is_text_with_a_reason_of_its_own():
    found = frames(Started("1", "m"), RefusalDelta("I can"), RefusalDelta(" not"), Finished("stop"))
    assert [event[1:] for event in short(found)[1:3]] == [("text_delta", "I can"), ("text_delta", " not")]
    assert found[-2]["delta"]["stop_reason"] == "refusal"


def test_a_bare_signature_of_another_vendor_behind_all_that_was_said_is_no_block_of_its_own():
    answers = [
        Answer("1", "m", 0, (Choice((*said, Reasoning("", "sig", "", "google-gemini-v1")), "stop"),), Usage())
        for said in ((Spoken("done"),), (Reasoning("hm", "", "", "google-gemini-v1"), Spoken("done")))
    ]
    for answer in answers:
        whole = json.loads(DIALECT.encode_answer(answer, Wanted()))["content"]
        encoder = DIALECT.encoder(Wanted())
        streamed = read_frames(b"".join(map(encoder.encode, unfold(answer))) + encoder.close())
        starts = [event["content_block"]["type"] for event in streamed if event["type"] == "content_block_start"]
        assert [block["type"] for block in whole] == starts == (["thinking", "text"] if len(answer.choices[0].blocks) == 3 else ["text"])
        assert [event["type"] for event in streamed].count("content_block_stop") == len(starts)


def test_a_signature_in_front_of_a_call_or_all_alone_is_a_block():
    signature = Reasoning("", "sig", "", "google-gemini-v1")
    for blocks in ((signature,), (Spoken("look"), signature, ToolCall("t", "f", "{}"))):
        answer = Answer("1", "m", 0, (Choice(blocks, "stop"),), Usage())
        assert [block["type"] for block in json.loads(DIALECT.encode_answer(answer, Wanted()))["content"]].count("thinking") == 1
        encoder = DIALECT.encoder(Wanted())
        streamed = read_frames(b"".join(map(encoder.encode, unfold(answer))) + encoder.close())
        assert [event["content_block"]["type"] for event in streamed if event["type"] == "content_block_start"].count("thinking") == 1


def test_an_error_ends_a_stream_and_nothing_closes_it():
    encoder = DIALECT.encoder(Wanted())
    out = b"".join(encoder.encode(event) for event in (Started("1", "m"), TextDelta("a"), Failed("broken"), TextDelta("b"), Finished("stop")))
    assert read_frames(out)[-1] == {"type": "error", "error": {"type": "api_error", "message": "broken"}}
    assert encoder.close() == encoder.metadata({}) == b""


def test_a_stream_that_says_nothing_is_a_whole_message_all_the_same():
    assert [event["type"] for event in frames(Started("1", "m"), TextDelta(""), Finished("stop"))] == [
        "message_start",
        "ping",
        "message_delta",
        "message_stop",
    ]
    assert [event["type"] for event in frames()] == ["message_start", "ping", "message_delta", "message_stop"]


def test_other_choices_have_no_place():
    assert short(frames(Started("1", "m"), TextDelta("a"), TextDelta("b", 1), Finished("length", 1), Finished("stop")))[1:] == [
        (0, "text_delta", "a"),
        (0, "stop"),
    ]


def test_our_figures_travel_in_a_ping():
    assert read_frames(DIALECT.encoder(Wanted()).metadata({"cost_usd": "1"})) == [{"type": "ping", "x_tokenrouter": {"cost_usd": "1"}}]
    assert read_frames(DIALECT.keep_alive()) == [{"type": "ping"}]


said = st.one_of(
    st.builds(Spoken, st.text(min_size=1)),
    st.builds(ToolCall, st.just("t"), st.just("f"), st.sampled_from(["{}", '{"a" : 1.50}', '{"é":"\\u00e9"}'])),
    st.builds(Reasoning, st.text(), st.text(min_size=1), st.just(""), st.just(SIGNATURE_FORMAT)),
    st.builds(Reasoning, st.just(""), st.just(""), st.text(min_size=1), st.just(SIGNATURE_FORMAT)),
)


def _no_neighbours(blocks):
    return all(not (isinstance(a, Spoken) and isinstance(b, Spoken)) for a, b in pairwise(blocks))


@given(st.lists(said, max_size=5).filter(_no_neighbours), st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
def test_what_is_written_is_read_back_whole_or_streamed(blocks, stop):
    calls = any(isinstance(block, ToolCall) for block in blocks)
    answer = Answer(
        "msg_1", "m", 0, (Choice(tuple(blocks), "tool_calls" if calls and stop == "stop" else stop),), Usage(fresh_input=1, cache_read=2, output=3)
    )
    assert DIALECT.decode_answer(DIALECT.encode_answer(answer, Wanted())) == answer
    encoder, decoder = DIALECT.encoder(Wanted()), DIALECT.decoder()
    stream = b"".join(map(encoder.encode, unfold(answer))) + encoder.close()
    events = [*decoder.feed(stream), *decoder.finish()]
    assert fold(events) == (answer if blocks else msgspec.structs.replace(answer, choices=(Choice((), answer.choices[0].stop),)))
