import json

import httpx
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tokenrouter.adapters.wire.openai_chat import (
    ChatEventDecoder,
    ChatEventEncoder,
    decode_answer,
    encode_answer,
    error_message,
    usage_from_wire,
    usage_of,
)
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
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
from tokenrouter.model.usage import NO_USAGE, Usage

CLAUDE = "anthropic-claude-v1"


def chunk(delta=None, finish=None, *, index=0, **more):
    choices = [] if delta is None and finish is None else [{"index": index, "delta": delta or {}, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m", "choices": choices} | more


def stream(*chunks, done=True):
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks) + (b"data: [DONE]\n\n" if done else b"")


def events_of(data, *cuts):
    decoder = ChatEventDecoder()
    events = []
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        events += decoder.feed(data[start:end])
    return events + decoder.finish()


def encoded(answer, *, include_usage=True, metadata=None):
    encoder = ChatEventEncoder(include_usage=include_usage, created_s=1700000001)
    out = b"".join(encoder.encode(event) for event in unfold(answer))
    return out + (b"" if metadata is None else encoder.metadata(metadata)) + encoder.close()


def payloads(data):
    return [json.loads(frame[6:]) for frame in data.split(b"\n\n") if frame and frame != b"data: [DONE]"]


USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 1050,
    "prompt_tokens_details": {"cached_tokens": 800, "cache_write_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
BUCKETS = Usage(fresh_input=100, cache_read=800, cache_write=100, output=50, reasoning=20)

TRANSCRIPT = stream(
    chunk({"role": "assistant", "content": "", "refusal": None}),
    chunk({"reasoning_content": "hm "}),
    chunk({"content": "né "}),
    chunk({"content": "日本"}),
    chunk({"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x": '}}]}),
    chunk({"tool_calls": [{"index": 1, "id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{"}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"arguments": "}"}}]}),
    chunk({}, "tool_calls"),
    chunk(usage=USAGE),
)
ANSWER = Answer(
    "chatcmpl-1",
    "m",
    1700000000,
    (Choice((Reasoning("hm "), Spoken("né 日本"), ToolCall("call_a", "f", '{"x": 1}'), ToolCall("call_b", "g", "{}")), "tool_calls"),),
    BUCKETS,
)


# --- reading


def test_a_stream_folds_to_the_answer_that_was_said():
    assert fold(events_of(TRANSCRIPT)) == ANSWER


def test_every_cut_of_a_stream_gives_the_same_events():
    whole = events_of(TRANSCRIPT)
    for cut in range(len(TRANSCRIPT) + 1):
        assert events_of(TRANSCRIPT, cut) == whole
    assert events_of(TRANSCRIPT, *range(1, len(TRANSCRIPT))) == whole


def test_every_stream_that_stops_before_a_finish_reason_is_called_truncated():
    finish = TRANSCRIPT.index(b'"finish_reason": "tool_calls"')
    for cut in range(finish):
        with pytest.raises(UpstreamTruncated):
            events_of(TRANSCRIPT[:cut])


def test_a_stream_without_done_is_whole_when_a_finish_reason_was_seen():
    assert fold(events_of(stream(chunk({"content": "a"}), chunk({}, "stop"), done=False))).complete


def test_a_last_frame_without_its_blank_line_is_read():
    data = stream(chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=USAGE), done=False)[:-1]
    assert fold(events_of(data)).usage == BUCKETS


def test_an_error_in_the_stream_is_told_and_ends_it():
    data = stream(chunk({"content": "a"}), {"error": {"message": "overloaded", "code": 529}}, chunk({"content": "b"}), done=False)
    assert events_of(data)[1:] == [TextDelta("a"), Failed("overloaded", "529")]


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
def test_an_answer_that_the_provider_broke_off_is_no_answer(reason):
    assert isinstance(events_of(stream(chunk({"content": "a"}, reason)))[-1], Failed)
    with pytest.raises(UpstreamFailed):
        decode_answer(json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": reason}]}).encode())


def test_a_frame_that_is_no_json_breaks_the_protocol():
    with pytest.raises(UpstreamFailed, match="not JSON"):
        events_of(b"data: oops\n\n")


@pytest.mark.parametrize(
    "place",
    [
        {"usage": USAGE},
        {"x_groq": {"id": "r", "usage": USAGE}},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]},
    ],
)
def test_usage_is_found_wherever_a_vendor_puts_it(place):
    last = chunk({}, "stop") | place
    assert fold(events_of(stream(chunk({"content": "a"}), last))).usage == BUCKETS


def test_usage_on_every_chunk_does_not_disturb_a_tool_call_and_the_last_one_counts():
    def call(arguments, **more):
        return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}} | more]}

    growing = [USAGE | {"completion_tokens": n} for n in (1, 2, 50)]
    data = stream(
        chunk(call("{", id="c", type="function") | {}, usage=growing[0]),
        chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '"a":'}}]}, usage=growing[1]),
        chunk(call("1}"), "tool_calls", usage=growing[2]),
    )
    answer = fold(events_of(data))
    assert answer.choices[0].tool_calls == (ToolCall("c", "f", '{"a":1}'),)
    assert answer.usage == BUCKETS


def calls_of(*deltas):
    return fold(events_of(stream(*[chunk({"tool_calls": delta}) for delta in deltas], chunk({}, "tool_calls")))).choices[0].tool_calls


def test_tool_call_pieces_without_an_index_go_to_the_call_that_is_open():
    assert calls_of(
        [{"id": "a", "function": {"name": "f", "arguments": "{"}}],
        [{"function": {"arguments": "}"}}],
        [{"id": "b", "function": {"name": "g", "arguments": "[1"}}],
        [{"function": {"arguments": "]"}}],
    ) == (ToolCall("a", "f", "{}"), ToolCall("b", "g", "[1]"))


def test_calls_that_all_claim_index_0_are_told_apart_by_their_ids():
    assert calls_of(
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}],
        [{"index": 0, "id": "b", "function": {"name": "f", "arguments": '{"x":1}'}}],
    ) == (ToolCall("a", "f", "{}"), ToolCall("b", "f", '{"x":1}'))


def test_a_new_id_on_every_piece_does_not_make_new_calls():
    assert calls_of(
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}],
        [{"index": 0, "id": "zz", "function": {"arguments": "}"}}],
    ) == (ToolCall("a", "f", "{}"),)


def test_a_call_without_an_id_gets_the_same_one_whenever_it_is_read():
    delta = [{"index": 0, "function": {"name": "f", "arguments": "{}"}}, {"index": 1, "function": {"name": "f", "arguments": "{}"}}]
    first, second = calls_of(delta), calls_of(delta)
    assert first == second
    assert len({call.id for call in first}) == 2
    assert all(call.id.startswith("call_") for call in first)


def test_arguments_sent_as_an_object_become_text():
    assert calls_of([{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}])[0].arguments == '{"x":1}'


def test_a_call_that_never_says_its_name_is_still_shown():
    assert calls_of([{"index": 0, "id": "a", "function": {"arguments": "{}"}}]) == (ToolCall("a", "", "{}"),)


def test_reasoning_is_read_in_every_spelling():
    for delta in ({"reasoning_content": "t"}, {"reasoning": "t"}, {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}]}):
        assert fold(events_of(stream(chunk(delta), chunk({}, "stop")))).choices[0].reasoning == (Reasoning("t"),)


def test_reasoning_details_carry_signatures_and_are_not_counted_twice():
    detail = {"type": "reasoning.text", "index": 0, "format": CLAUDE}
    data = stream(
        chunk({"reasoning": "a", "reasoning_details": [detail | {"text": "a"}]}),
        chunk({"reasoning": "b", "reasoning_details": [detail | {"text": "b"}]}),
        chunk({"reasoning_details": [detail | {"text": "", "signature": "sig"}]}),
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz", "index": 1, "format": CLAUDE}]}),
        chunk({}, "stop"),
    )
    assert fold(events_of(data)).choices[0].reasoning == (Reasoning("ab", "sig", format=CLAUDE), Reasoning(redacted="xyz", format=CLAUDE))


def test_a_whole_answer_reads_like_its_stream():
    message = {
        "role": "assistant",
        "content": "né 日本",
        "reasoning_content": "hm ",
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }
    body = {
        "id": "chatcmpl-1",
        "created": 1700000000,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": USAGE,
    }
    assert decode_answer(json.dumps(body).encode()) == ANSWER


def test_equal_ids_in_a_whole_answer_stay_two_calls():
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {"choices": [{"message": {"content": None, "tool_calls": [call, call]}, "finish_reason": "tool_calls"}]}
    assert len(decode_answer(json.dumps(body).encode()).choices[0].tool_calls) == 2


def test_cosmetic_nonsense_does_not_spoil_a_good_answer():
    body = {"id": 7, "created": "soon", "model": None, "choices": [{"message": {"content": "hi"}, "finish_reason": "eos"}], "usage": "many"}
    assert decode_answer(json.dumps(body).encode()) == Answer("", "", 0, (Choice((Spoken("hi"),), "stop"),), NO_USAGE)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty body"),
        (b"<html>secret</html>", "HTML"),
        (b"secret", "not JSON"),
        (b'{"choices":"secret"}', "another form"),
        (b'{"choices":[]}', "another form"),
        (b"{}", "another form"),
        (b'{"id":"\xff"}', "not UTF-8"),
        (b'{"choices":' + b"[" * 100_000, "instead of a chat completion"),
        (b'{"error":{"message":"no such model"}}', "no such model"),
        (b'{"error":"plain words"}', "plain words"),
    ],
)
def test_what_is_no_answer_is_refused_without_quoting_it(body, says):
    with pytest.raises(UpstreamFailed) as caught:
        decode_answer(body)
    assert says in caught.value.message
    assert "secret" not in caught.value.message


def test_error_bodies_are_read_in_the_usual_forms():
    assert error_message(b'{"error":{"message":"a","type":"t"}}') == "a"
    assert error_message(b'{"error":"b"}') == "b"
    assert error_message(b'{"message":"c"}') == "c"
    assert error_message(b'{"detail":"d"}') == "d"
    assert error_message(b'{"id":1}') is None
    assert error_message(b"<html>") is None
    assert len(error_message(b'{"error":"' + b"x" * 10_000 + b'"}')) == 500


# --- usage


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (USAGE, BUCKETS),
        ({"prompt_tokens": 10, "completion_tokens": 2}, Usage(fresh_input=10, output=2, cache_reported=False)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(cache_reported=False)),
        ({"prompt_tokens": 10, "total_tokens": 10}, Usage(fresh_input=10, cache_reported=False)),
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4},
            Usage(fresh_input=4, cache_read=6, output=2),
        ),
        ({"prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4, "completion_tokens": 2}, Usage(fresh_input=4, cache_read=6, output=2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 6}, Usage(fresh_input=4, cache_read=6, output=2)),
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}},
            Usage(fresh_input=10, output=2, cache_reported=True),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cache_creation_input_tokens": 7}},
            Usage(fresh_input=3, cache_write=7, output=2),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 17, "completion_tokens_details": {"reasoning_tokens": 5}},
            Usage(fresh_input=10, output=7, reasoning=5, cache_reported=False),
        ),
    ],
)
def test_every_vendors_figures_become_disjoint_buckets(wire, expected):
    assert usage_from_wire(wire) == expected


@pytest.mark.parametrize("bad", [-1, 1.5, "12", 2**63, 2**200, True, None, [], {}])
def test_a_total_that_is_no_count_makes_usage_unreported(bad):
    assert usage_from_wire({"prompt_tokens": bad, "completion_tokens": 1}) == NO_USAGE
    assert usage_from_wire({"prompt_tokens": 1, "completion_tokens": bad}) == NO_USAGE


@pytest.mark.parametrize("bad", [-1, 1.5, "12", 2**63, True, None, [], {}])
def test_a_detail_that_is_no_count_is_absent_and_one_too_large_is_clamped(bad):
    seen = usage_from_wire({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": bad}})
    assert seen == Usage(fresh_input=10, output=1, cache_reported=False)
    details = {"cached_tokens": 99, "cache_write_tokens": 99}
    wire = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": details, "completion_tokens_details": {"reasoning_tokens": 9}}
    assert usage_from_wire(wire) == Usage(fresh_input=0, cache_read=10, cache_write=0, output=1, reasoning=1)


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, {"prompt_tokens_details": 3}])
def test_usage_that_is_no_usage_is_not_reported(value):
    assert usage_from_wire(value) == NO_USAGE


def test_only_usage_is_read_from_a_body():
    assert usage_of(json.dumps({"choices": 7, "usage": USAGE}).encode()) == BUCKETS
    assert usage_of(json.dumps({"x_groq": {"usage": USAGE}}).encode()) == BUCKETS
    assert usage_of(b"<html>") == usage_of(b"{}") == usage_of(b"") == NO_USAGE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
figures = st.integers(-5, 20) | st.integers() | json_values
details = st.dictionaries(st.sampled_from(["cached_tokens", "cache_write_tokens", "cache_creation_input_tokens", "reasoning_tokens"]), figures)
usages = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens"], figures
    )
    | dict.fromkeys(["prompt_tokens_details", "completion_tokens_details"], details | json_values),
)


@given(usages)
def test_no_figures_whatever_give_a_negative_bucket_or_more_than_the_total(wire):
    seen = usage_from_wire(wire)
    assert min(seen.fresh_input, seen.cache_read, seen.cache_write, seen.cache_write_1h, seen.output, seen.reasoning) >= 0
    assert seen.reasoning <= seen.output
    if seen.reported and type(wire.get("prompt_tokens")) is int and wire["prompt_tokens"] >= 0:
        assert seen.input_total == wire["prompt_tokens"] or wire["prompt_tokens"] > 1_000_000_000


# --- writing

FULL = Answer(
    "msg_01",
    "claude",
    0,
    (
        Choice(
            (
                *(Reasoning("think", "sig", format=CLAUDE), Reasoning(redacted="blob", format=CLAUDE), Reasoning("more", "sig2", format=CLAUDE)),
                Spoken("Hello 日本\n"),
                *(ToolCall("toolu_1", "f", '{"a": 1}'), ToolCall("toolu_2", "g", "{}")),
            ),
            "tool_calls",
        ),
    ),
    Usage(fresh_input=3, cache_read=800, cache_write=90, cache_write_1h=10, output=50, reasoning=20),
)


def test_the_sdk_reads_a_whole_answer():
    completion = ChatCompletion.model_validate_json(encode_answer(FULL), strict=True)
    message = completion.choices[0].message
    assert completion.id == "chatcmpl-msg_01"
    assert message.content == "Hello 日本\n"
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("toolu_1", "f", '{"a": 1}'),
        ("toolu_2", "g", "{}"),
    ]
    assert completion.choices[0].finish_reason == "tool_calls"


def test_usage_goes_out_under_both_names_and_its_totals_add_up():
    usage = json.loads(encode_answer(FULL))["usage"]
    assert usage["prompt_tokens"] == 903
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] == 953
    assert usage["prompt_tokens_details"] == {"cached_tokens": 800, "cache_write_tokens": 100}
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (800, 100)
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 20}


def test_usage_that_nobody_reported_is_left_out_and_unknown_cache_figures_too():
    assert "usage" not in json.loads(encode_answer(msgspec.structs.replace(FULL, usage=NO_USAGE)))
    known = json.loads(encode_answer(msgspec.structs.replace(FULL, usage=Usage(fresh_input=3, output=1, cache_reported=False))))["usage"]
    assert set(known) == {"prompt_tokens", "completion_tokens", "total_tokens", "completion_tokens_details"}


def test_a_vendors_chat_id_is_kept():
    assert json.loads(encode_answer(ANSWER))["id"] == "chatcmpl-1"


def test_what_is_written_is_read_back_whole_and_streamed():
    expected = msgspec.structs.replace(FULL, id="chatcmpl-msg_01")
    assert decode_answer(encode_answer(FULL)) == expected
    assert fold(events_of(encoded(FULL))) == msgspec.structs.replace(expected, created_s=1700000001)


def test_a_stream_is_written_in_openais_order():
    chunks = payloads(encoded(FULL, metadata={"cost_usd": "0.1"}))
    for one in chunks:
        ChatCompletionChunk.model_validate(one, strict=True)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    deltas = [one["choices"][0]["delta"] for one in chunks if one["choices"]]
    starts = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta and "id" in delta["tool_calls"][0]]
    assert [(call["index"], call["id"], call["function"]) for call in starts] == [
        (0, "toolu_1", {"name": "f", "arguments": ""}),
        (1, "toolu_2", {"name": "g", "arguments": ""}),
    ]
    assert chunks[-3]["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[-2]["choices"] == []
    assert chunks[-2]["usage"]["prompt_tokens"] == 903
    assert (chunks[-1]["choices"], chunks[-1]["x_tokenrouter"]) == ([], {"cost_usd": "0.1"})
    assert all(one["usage"] is None for one in chunks if one is not chunks[-2])
    assert encoded(FULL).endswith(b"data: [DONE]\n\n")


def test_no_usage_is_written_to_a_client_that_did_not_ask():
    assert all("usage" not in one for one in payloads(encoded(FULL, include_usage=False)))


def test_a_failed_stream_ends_with_an_error_and_without_done():
    encoder = ChatEventEncoder(include_usage=True, created_s=1)
    out = encoder.encode(Started("msg_1", "m")) + encoder.encode(TextDelta("a")) + encoder.encode(Failed("broken", "overloaded_error"))
    assert payloads(out)[-1] == {"error": {"message": "broken", "type": "api_error", "param": None, "code": "overloaded_error"}}
    assert encoder.metadata({}) == encoder.close() == encoder.encode(TextDelta("b")) == b""


def test_a_refusal_and_a_second_choice_are_written():
    answer = Answer("chatcmpl-2", "m", 5, (Choice((Spoken("a"),), "stop"), Choice((Declined("no"),), "stop")))
    assert fold(events_of(encoded(answer))) == answer
    assert [one["choices"][0]["index"] for one in payloads(encoded(answer)) if one["choices"][0]["delta"].get("role")] == [0, 1]


def sdk(body, content_type):
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body, headers={"content-type": content_type}))
    return openai.OpenAI(api_key="k", base_url="http://t/v1", http_client=httpx.Client(transport=transport), max_retries=0)


def test_the_sdks_own_accumulator_returns_text_calls_signatures_and_usage():
    client = sdk(encoded(FULL), "text/event-stream")
    with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "x"}]) as running:
        for _ in running:
            pass
        final = running.get_final_completion()
    message = final.choices[0].message
    assert message.content == "Hello 日本\n"
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("toolu_1", "f", '{"a": 1}'),
        ("toolu_2", "g", "{}"),
    ]
    assert message.model_extra["reasoning_details"] == json.loads(encode_answer(FULL))["choices"][0]["message"]["reasoning_details"]
    assert final.usage.prompt_tokens_details.cached_tokens == 800


def test_the_sdk_raises_on_an_error_in_the_stream():
    encoder = ChatEventEncoder(include_usage=False, created_s=1)
    body = encoder.encode(Started("msg_1", "m")) + encoder.encode(Failed("broken"))
    with pytest.raises(openai.APIError, match="broken"):
        list(sdk(body, "text/event-stream").chat.completions.create(model="m", messages=[], stream=True))


def test_events_without_a_start_are_still_written_as_chunks():
    encoder = ChatEventEncoder(include_usage=True, created_s=9)
    out = encoder.encode(RefusalDelta("no")) + encoder.encode(Finished("stop")) + encoder.encode(UsageSeen(BUCKETS)) + encoder.close()
    chunks = payloads(out)
    assert [one["created"] for one in chunks] == [9] * 4
    assert chunks[-1]["usage"]["prompt_tokens"] == 1000


def test_reasoning_events_keep_one_index_per_block():
    encoder = ChatEventEncoder(include_usage=False, created_s=1)
    pieces = [ReasoningDelta(0, "a", format=CLAUDE), ReasoningDelta(0, "b"), ReasoningDelta(0, signature="s"), ReasoningDelta(1, redacted="r")]
    details = [one["choices"][0]["delta"].get("reasoning_details", [{}])[0] for one in payloads(b"".join(map(encoder.encode, pieces)))][1:]
    assert [(detail["index"], detail.get("format")) for detail in details] == [(0, CLAUDE), (0, None), (0, None), (1, "unknown")]


def test_tool_pieces_are_written_in_the_order_of_events():
    encoder = ChatEventEncoder(include_usage=False, created_s=1)
    events = [ToolCallStarted(0, "a", "f"), ToolCallStarted(1, "b", "g"), ToolCallDelta(0, "{}"), ToolCallDelta(1, "[]")]
    out = b"".join(map(encoder.encode, [Started("1", "m"), *events, Finished("tool_calls")])) + encoder.close()
    assert [event for event in events_of(out) if isinstance(event, ToolCallStarted | ToolCallDelta)] == events


# --- reasoning that belongs to something, and calls of custom tools

GEMINI, OPENAI_ITEM = "google-gemini-v1", "openai-responses-v1"
SIGNED_CALL = {
    "index": 0,
    "id": "c1",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
    "extra_content": {"google": {"thought_signature": "sig"}},
}
OVER_CALL = (Reasoning(signature="sig", format=GEMINI, id="c1"), ToolCall("c1", "f", "{}"))


def whole(message):
    return decode_answer(json.dumps({"id": "x", "choices": [{"message": message, "finish_reason": "stop"}]}).encode()).choices[0].blocks


def streamed(*deltas):
    return fold(events_of(stream(*[chunk(delta) for delta in deltas], chunk(finish="stop")))).choices[0].blocks


def test_a_signature_over_a_call_stands_in_front_of_it():
    other = {**SIGNED_CALL, "index": 1, "id": "c2", "extra_content": None}
    message = {"content": "t", "tool_calls": [SIGNED_CALL, other]}
    expected = (Spoken("t"), *OVER_CALL, ToolCall("c2", "f", "{}"))
    assert whole(message) == expected
    assert streamed({"content": "t"}, {"tool_calls": [SIGNED_CALL]}, {"tool_calls": [other]}) == expected


def test_a_signature_that_is_told_in_both_places_is_one():
    for detail in ({"type": "reasoning.encrypted", "data": "sig"}, {"type": "reasoning.text", "text": "", "signature": "sig"}):
        details = [{**detail, "id": "c1", "format": GEMINI, "index": 0}]
        assert whole({"content": "t", "reasoning_details": details, "tool_calls": [SIGNED_CALL]}) == (Spoken("t"), *OVER_CALL)
        assert streamed({"reasoning_details": details}, {"tool_calls": [SIGNED_CALL]}) == OVER_CALL


def test_a_signature_over_a_call_without_an_id_gets_the_one_made_up_for_it():
    reasoning, call = whole({"tool_calls": [{**SIGNED_CALL, "id": None}]})
    assert reasoning.id == call.id != ""


def test_both_halves_of_a_vendors_item_are_one_block_with_its_id():
    summary = {"type": "reasoning.summary", "summary": "s", "format": OPENAI_ITEM, "id": "rs_1", "index": 0}
    encrypted = {"type": "reasoning.encrypted", "data": "e", "format": OPENAI_ITEM, "id": "rs_1", "index": 1}
    second = {**encrypted, "id": "rs_2", "data": "f", "index": 2}
    expected = (Reasoning("s", redacted="e", format=OPENAI_ITEM, id="rs_1"), Reasoning(redacted="f", format=OPENAI_ITEM, id="rs_2"))
    assert whole({"reasoning_details": [summary, encrypted, second]}) == expected
    assert streamed(*[{"reasoning_details": [one]} for one in (summary, encrypted, second)]) == expected


def test_calls_of_custom_tools_are_read_alike_in_both_forms():
    call = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "f", "input": "free\ttext"}}
    rest = {"index": 0, "custom": {"input": "\ttext"}}
    assert whole({"tool_calls": [call]}) == (ToolCall("c1", "f", "free\ttext", custom=True),)
    first = {**call, "custom": {"name": "f", "input": "free"}}
    assert streamed({"tool_calls": [first]}, {"tool_calls": [rest]}) == (ToolCall("c1", "f", "free\ttext", custom=True),)
