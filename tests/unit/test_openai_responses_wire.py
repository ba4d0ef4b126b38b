"""Responses as they are read and written: whole answers and streams, and the way between the two."""

import json

import msgspec
import openai
import pydantic
import pytest
from openai.lib.streaming.responses._responses import ResponseStreamState

from tokenrouter.adapters.wire.foreign_reasoning import PREFIX, unseal
from tokenrouter.adapters.wire.openai_responses import ResponsesEventDecoder, decode_answer, error_message
from tokenrouter.adapters.wire.openai_responses_tools import fee_of, fees_in
from tokenrouter.adapters.wire.openai_responses_usage import usage_from_wire, usage_to_wire
from tokenrouter.adapters.wire.openai_responses_writer import ResponsesEventEncoder, encode_answer
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import (
    Answer,
    Choice,
    Declined,
    Failed,
    Finished,
    Reasoning,
    ReasoningDelta,
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
from tokenrouter.model.usage import NO_USAGE, Usage

RESPONSE = pydantic.TypeAdapter(openai.types.responses.Response)
EVENT = pydantic.TypeAdapter(openai.types.responses.ResponseStreamEvent)
OURS, CLAUDE = "openai-responses-v1", "anthropic-claude-v1"
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {
        "cached_tokens": 60,
        "cache_write_tokens": 30,
        "cache_write_tokens_details": {"ttl_30m_tokens": 10, "ttl_12h_tokens": 20},
    },
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 109,
}
READ = Usage(fresh_input=10, cache_read=60, cache_write=10, cache_write_1h=20, output=9, reasoning=4)

REASONING = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "One."}], "encrypted_content": "gAAA"}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hé 😀", "annotations": [], "logprobs": []}, {"type": "refusal", "refusal": "no"}],
}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at": 1.0}', "status": "completed"}
CUSTOM = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_2", "name": "shell", "input": "ls -l"}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}


def response(*output, status="completed", usage=USAGE, **more):
    fields = {"id": "resp_1", "object": "response", "created_at": 1700000000.5, "model": "m", "status": status, "error": None}
    return {**fields, "output": list(output), "usage": usage, **more}


def events(*items, deltas=True, end=None, done=True):
    """A stream of the vendor's, as far as items are concerned."""
    last = end or response(*items)
    found = [{"type": "response.created", "response": response(status="in_progress", usage=None)}, {"type": "response.in_progress", "response": {}}]
    for index, item in enumerate(items):
        at = {"output_index": index, "item_id": item["id"]}
        begun = {**item, "arguments": "", "input": "", "content": [], "summary": []}
        found.append({"type": "response.output_item.added", "output_index": index, "item": {k: v for k, v in begun.items() if k in item}})
        if deltas:
            found += [{**event, **at} for event in deltas_of(item)]
        if done:
            found.append({"type": "response.output_item.done", "output_index": index, "item": item})
    found.append({"type": f"response.{last['status']}", "response": last})
    return [{**event, "sequence_number": number} for number, event in enumerate(found)]


def deltas_of(item):
    match item["type"]:
        case "function_call":
            return [{"type": "response.function_call_arguments.delta", "delta": piece} for piece in pieces(item["arguments"])]
        case "custom_tool_call":
            return [{"type": "response.custom_tool_call_input.delta", "delta": piece} for piece in pieces(item["input"])]
        case "reasoning":
            return [
                {"type": "response.reasoning_summary_text.delta", "summary_index": place, "delta": piece}
                for place, part in enumerate(item["summary"])
                for piece in pieces(part["text"])
            ]
        case "message":
            kinds = {"output_text": ("response.output_text.delta", "text"), "refusal": ("response.refusal.delta", "refusal")}
            return [
                {"type": kinds[part["type"]][0], "content_index": place, "delta": piece}
                for place, part in enumerate(item["content"])
                for piece in pieces(part[kinds[part["type"]][1]])
            ]
    return []


def pieces(text):
    return [text[:3], text[3:]]


def frames(found, *, named=True):
    return b"".join((f"event: {event['type']}\n" if named else "").encode() + b"data: " + json.dumps(event).encode() + b"\n\n" for event in found)


def read(data, *cuts):
    decoder, seen = ResponsesEventDecoder(), []
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        seen += decoder.feed(data[start:end])
    return seen + decoder.finish()


ALL = (REASONING, MESSAGE, CALL, {**REASONING, "id": "rs_2", "encrypted_content": "gBBB"}, CUSTOM)
BLOCKS = (
    Reasoning("One.", "", "gAAA", OURS, "rs_1"),
    Spoken("Hé 😀"),
    Declined("no"),
    ToolCall("call_1", "look", '{"at": 1.0}'),
    Reasoning("One.", "", "gBBB", OURS, "rs_2"),
    ToolCall("call_2", "shell", "ls -l", custom=True),
)


def test_a_whole_answer_keeps_its_blocks_in_order():
    answer = decode_answer(json.dumps(response(*ALL)).encode())
    assert answer == Answer("resp_1", "m", 1700000000, (Choice(BLOCKS, "tool_calls"),), READ)


@pytest.mark.parametrize(("deltas", "done"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("named", [True, False])
def test_a_stream_says_what_the_whole_answer_says_with_or_without_deltas_and_item_ends(deltas, done, named):
    whole = decode_answer(json.dumps(response(*ALL)).encode())
    assert fold(read(frames(events(*ALL, deltas=deltas, done=done), named=named))) == whole


def test_a_stream_with_nothing_but_its_last_event_is_read():
    assert fold(read(frames([{"type": "response.completed", "response": response(*ALL)}]))).choices[0].blocks == BLOCKS


def test_deltas_become_events_as_they_come():
    assert [event.text for event in read(frames(events(MESSAGE))) if isinstance(event, TextDelta)] == ["Hé ", "😀"]
    assert [event.arguments for event in read(frames(events(CALL))) if isinstance(event, ToolCallDelta)] == ['{"a', 't": 1.0}']
    thoughts = [event for event in read(frames(events(REASONING))) if isinstance(event, ReasoningDelta)]
    assert [(event.text, event.id, event.redacted) for event in thoughts] == [("One", "rs_1", ""), (".", "", ""), ("", "rs_1", "gAAA")]


def test_the_type_of_an_event_may_stand_in_its_name_alone():
    found = events(MESSAGE)
    data = b"".join(f"event: {event.pop('type')}\ndata: {json.dumps(event)}\n\n".encode() for event in found)
    assert fold(read(data)).choices[0].blocks == BLOCKS[1:3]


def test_parts_of_a_summary_are_paragraphs_and_hosted_items_are_passed_over():
    several = {**REASONING, "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]}
    for found in (fold(read(frames(events(several, SEARCH, MESSAGE)))), decode_answer(json.dumps(response(several, SEARCH, MESSAGE)).encode())):
        assert found.choices[0].blocks[0].text == "One.\n\nTwo."
        assert found.choices[0].stop == "stop"
        assert len(found.choices[0].blocks) == 3


def test_open_models_show_their_reasoning_as_content():
    item = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    delta = {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "hm"}
    found = [*events(item, deltas=False)[:3], delta, *events(item, deltas=False)[3:]]
    assert fold(read(frames(found))).choices[0].blocks == (Reasoning("hm", format=OURS, id="rs_1"),)
    assert decode_answer(json.dumps(response(item)).encode()).choices[0].blocks == (Reasoning("hm", format=OURS, id="rs_1"),)


@pytest.mark.parametrize(
    ("status", "details", "stop"),
    [
        ("completed", None, "stop"),
        ("incomplete", {"reason": "max_output_tokens"}, "length"),
        ("incomplete", {"reason": "content_filter"}, "content_filter"),
        ("incomplete", {"reason": "max_messages"}, "length"),
        ("incomplete", None, "length"),
    ],
)
def test_why_an_answer_ended(status, details, stop):
    body = response(MESSAGE, status=status, incomplete_details=details)
    assert decode_answer(json.dumps(body).encode()).choices[0].stop == stop
    assert fold(read(frames(events(MESSAGE, end=body)))).choices[0].stop == stop


@pytest.mark.parametrize(
    ("event", "message", "code"),
    [
        ({"type": "error", "code": "server_error", "message": "boom", "param": None}, "boom", "server_error"),
        ({"type": "error", "error": {"type": "overloaded", "message": "boom"}}, "boom", "overloaded"),
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "boom"}}}, "boom", "server_error"),
        ({"type": "response.failed", "response": {}}, "the provider reported an error in its stream", "upstream_error"),
    ],
)
def test_a_failure_inside_a_stream_is_the_last_that_is_read(event, message, code):
    found = [*events(MESSAGE)[:-1], event, *events(CALL)]
    assert read(frames(found))[-1] == Failed(message, code)


def test_a_stream_without_its_last_event_is_truncated_at_every_byte():
    data = frames(events(REASONING, MESSAGE))
    last = data.rindex(b"event:")
    for cut in (*range(0, last, 7), last, last + 30, len(data) - 3):
        decoder = ResponsesEventDecoder()
        decoder.feed(data[:cut])
        with pytest.raises(UpstreamTruncated):
            decoder.finish()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{}", b'{"output":null}', b'"x"', b'{"object":"response","output":[],"status":"in_progress"}', b'{"error":{"message":"no"}}'],
)
def test_what_is_no_finished_response_is_refused(body):
    with pytest.raises(UpstreamFailed):
        decode_answer(body)
    failed = response(status="failed", error={"code": "server_error", "message": "it broke"})
    with pytest.raises(UpstreamFailed, match="it broke"):
        decode_answer(json.dumps(failed).encode())


def test_a_frame_that_is_no_event_is_refused():
    with pytest.raises(UpstreamFailed):
        read(b"data: {nonsense\n\n" + frames(events(MESSAGE)))


def test_usage_is_disjoint_and_survives_a_round_trip():
    assert usage_from_wire(USAGE) == READ
    assert usage_to_wire(READ) == USAGE
    assert READ.input_total == 100


@pytest.mark.parametrize(
    "value", [None, {}, [], {"input_tokens": -1, "output_tokens": 1}, {"input_tokens": 1}, {"input_tokens": "1", "output_tokens": 2}]
)
def test_figures_that_say_nothing_are_no_usage(value):
    assert usage_from_wire(value) == NO_USAGE
    assert usage_to_wire(NO_USAGE) is None


def test_details_never_exceed_their_totals():
    wild = {"input_tokens": 10, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 9}}
    usage = usage_from_wire({**wild, "output_tokens_details": {"reasoning_tokens": 7}})
    assert (usage.cache_read, usage.cache_write, usage.fresh_input, usage.reasoning) == (8, 2, 0, 2)


def test_error_words():
    assert error_message(b'{"error":{"message":"bad","type":"x"}}') == "bad"
    assert error_message(b"nope") is None


def test_fees_of_tools_that_the_vendor_runs():
    assert fee_of({"type": "web_search"}) == fees_in([SEARCH, MESSAGE]) == 10_000_000
    assert fees_in([{**SEARCH, "action": {"type": "open_page"}}]) == 0
    assert [fee_of({"type": kind}) for kind in ("function", "custom", "namespace", "local_shell", "apply_patch", "shell")] == [0] * 6
    assert fee_of({"type": "shell", "environment": {"type": "container_auto"}}) == -1
    assert [fee_of({"type": kind}) for kind in ("file_search", "code_interpreter", "image_generation", "computer", "mcp", "brand_new")] == [-1] * 6


# writing


ECHO = {"instructions": None, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "metadata": {}, "temperature": 1.0, "top_p": 1.0}
SIGNED = Reasoning("Let me see", "c2lnbmF0dXJl", "", CLAUDE)
REDACTED = Reasoning("", "", "ZGF0YQ==", CLAUDE)
ANSWERS = {
    "text": Answer("msg_01", "claude", 5, (Choice((Spoken("Hi 😀"),), "stop"),), READ),
    "refusal": Answer("r", "m", 5, (Choice((Spoken("I"), Declined("won't")), "content_filter"),), READ),
    "nothing": Answer("r", "m", 5, (Choice((), "stop"),), NO_USAGE),
    "cut": Answer("r", "m", 5, (Choice((SIGNED, Spoken("ab")), "length"),), READ),
    "cut call": Answer("r", "m", 5, (Choice((Spoken("ab"), ToolCall("c", "f", '{"a')), "length"),), READ),
    "interleaved": Answer(
        "msg_02",
        "m",
        5,
        (
            Choice(
                (SIGNED, ToolCall("t1", "f", '{"x": 1}'), REDACTED, Spoken("so"), ToolCall("t2", "g", ""), ToolCall("t3", "sh", "ls", custom=True)),
                "tool_calls",
            ),
        ),
        READ,
    ),
    "ours": Answer("resp_9", "m", 5, (Choice(BLOCKS, "tool_calls"),), READ),
    "plain reasoning": Answer("r", "m", 5, (Choice((Reasoning("hm"), Spoken("ok")), "stop"),), READ),
}


def written(answer, echo=ECHO, spaces=None):
    """The events of an answer, checked by the SDK's own types and accumulator, and the response that it put together."""
    encoder = ResponsesEventEncoder(echo=echo, spaces=spaces or {}, created_s=77)
    data = b"".join(map(encoder.encode, unfold(answer))) + encoder.close()
    found = []
    for block in data.split(b"\n\n")[:-1]:
        name, payload = block.split(b"\n", 1)
        event = json.loads(payload.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    state = ResponseStreamState(input_tools=[], text_format=openai.omit)
    for event in found:
        state.handle_event(EVENT.validate_json(json.dumps(event)))
    return found, state


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stream_passes_the_sdk_and_ends_in_the_whole_answer(name):
    answer = ANSWERS[name]
    found, _ = written(answer)
    body = encode_answer(answer, ECHO, {})
    RESPONSE.validate_json(body)
    assert found[-1]["response"] == json.loads(body)
    done = {event["output_index"]: event["item"] for event in found if event["type"] == "response.output_item.done"}
    assert [done[index] for index in sorted(done)] == json.loads(body)["output"]


@pytest.mark.parametrize("name", ANSWERS)
def test_what_was_written_is_read_back(name):
    answer = ANSWERS[name]
    body = decode_answer(encode_answer(answer, ECHO, {}))
    encoder = ResponsesEventEncoder(echo=ECHO, spaces={}, created_s=5)
    stream = fold(read(b"".join(map(encoder.encode, unfold(answer))) + encoder.close()))
    assert stream == body
    assert body.usage == answer.usage
    texts = [(type(block), getattr(block, "text", getattr(block, "arguments", "")) or "{}") for block in answer.choices[0].blocks]
    back = [(type(block), getattr(block, "text", getattr(block, "arguments", "")) or "{}") for block in body.choices[0].blocks]
    assert back == [text for text in texts if text[1] != "{}" or text[0] is not Reasoning or name != "plain reasoning"]


def test_another_vendors_reasoning_comes_back_whole():
    for block in (SIGNED, REDACTED, Reasoning("hm"), Reasoning("", "c2ln", "", "google-gemini-v1", "call_1")):
        item = json.loads(encode_answer(Answer("r", "m", 5, (Choice((block,), "stop"),)), ECHO, {}))["output"][0]
        assert item["encrypted_content"].startswith(PREFIX)
        assert unseal(item["encrypted_content"], "".join(part["text"] for part in item["summary"])) == block


def test_our_own_encrypted_content_and_its_id_stay_as_they_are():
    item = json.loads(encode_answer(ANSWERS["ours"], ECHO, {}))["output"][0]
    assert item == REASONING
    shown = Answer("r", "m", 5, (Choice((Reasoning("hm", format=OURS, id="rs_1"),), "stop"),))
    item = json.loads(encode_answer(shown, ECHO, {}))["output"][0]
    assert item == {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}


def test_ids_are_made_of_the_answer_and_the_place():
    first, again = (json.loads(encode_answer(ANSWERS["interleaved"], ECHO, {})) for _ in range(2))
    other = json.loads(encode_answer(msgspec.structs.replace(ANSWERS["interleaved"], id="msg_03"), ECHO, {}))
    names = [item["id"] for item in first["output"]]
    assert first == again
    assert first["id"] == "resp_msg_02"
    assert [name.split("_")[0] for name in names] == ["rs", "fc", "rs", "msg", "fc", "ctc"]
    assert len(set(names)) == 6
    assert not set(names) & {item["id"] for item in other["output"]}
    assert all(len(name) <= 64 for name in names)


def test_an_answer_without_an_id_gets_one_of_what_it_tells():
    one, two = (json.loads(encode_answer(Answer("", "m", created, (Choice((), "stop"),)), ECHO, {}))["id"] for created in (1, 2))
    assert one.startswith("resp_")
    assert one != two


def test_status_and_details_follow_the_stop_reason():
    def ends(name):
        body = json.loads(encode_answer(ANSWERS[name], ECHO, {}))
        return body["status"], body["incomplete_details"], [item.get("status") for item in body["output"]]

    assert ends("text") == ("completed", None, ["completed"])
    assert ends("cut") == ("incomplete", {"reason": "max_output_tokens"}, [None, "incomplete"])
    assert ends("cut call") == ("incomplete", {"reason": "max_output_tokens"}, ["completed", "incomplete"])
    assert ends("refusal") == ("incomplete", {"reason": "content_filter"}, ["completed"])


def test_calls_of_several_tools_may_come_in_turns():
    encoder = ResponsesEventEncoder(echo=ECHO, spaces={}, created_s=5)
    said = [
        Started("r", "m"),
        ToolCallStarted(0, "a", "f"),
        ToolCallStarted(1, "b", "g"),
        ToolCallDelta(0, '{"x"'),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, ":1}"),
        Finished("tool_calls"),
        UsageSeen(READ),
    ]
    answer = fold(read(b"".join(map(encoder.encode, said)) + encoder.close()))
    assert answer.choices[0].blocks == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}"))


def test_a_name_in_a_namespace_is_told_apart_again():
    answer = Answer("r", "m", 5, (Choice((ToolCall("a", "agents__spawn", "{}"), ToolCall("b", "x__y", "{}")), "tool_calls"),))
    items = json.loads(encode_answer(answer, ECHO, {"agents__spawn": ("agents", "spawn")}))["output"]
    assert [(item.get("namespace"), item["name"]) for item in items] == [("agents", "spawn"), (None, "x__y")]
    found, _ = written(answer, spaces={"agents__spawn": ("agents", "spawn")})
    assert found[-1]["response"]["output"] == items
    done = [event for event in found if event["type"] == "response.function_call_arguments.done"]
    assert [event["name"] for event in done] == ["spawn", "x__y"]


def test_a_failure_is_an_error_event_and_nothing_closes_it():
    encoder = ResponsesEventEncoder(echo=ECHO, spaces={}, created_s=5)
    data = encoder.encode(Started("r", "m")) + encoder.encode(TextDelta("a")) + encoder.encode(Failed("boom", "overloaded"))
    event = json.loads(data.rsplit(b"data: ", 1)[1])
    EVENT.validate_python(event)
    assert (event["type"], event["message"], event["code"], event["error"]["message"]) == ("error", "boom", "overloaded", "boom")
    assert encoder.encode(TextDelta("b")) == encoder.close() == encoder.metadata({}) == b""


def test_metadata_is_an_event_of_its_own_before_the_last_one():
    encoder = ResponsesEventEncoder(echo=ECHO, spaces={}, created_s=5)
    data = b"".join(map(encoder.encode, unfold(ANSWERS["text"])))
    frame = encoder.metadata({"cost_usd": "0.1"})
    assert json.loads(frame.split(b"data: ")[1]) == {"type": "x_tokenrouter", "x_tokenrouter": {"cost_usd": "0.1"}}
    assert fold(read(data + frame + encoder.close())).choices[0].text == "Hi 😀"


def test_a_response_says_that_nothing_was_cut_off_only_when_it_ended():
    assert json.loads(encode_answer(Answer("r", "m", 5, (Choice((Spoken("a"),), None),)), ECHO, {}))["status"] == "incomplete"
