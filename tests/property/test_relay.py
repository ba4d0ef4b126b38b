"""Streams cut anywhere: the same bytes, the same usage, the same verdict."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import lane, see

from tokenrouter.adapters.outbound.chat_relay import ChatRelay
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 8}}


def chunk_frame(choices, usage=None, *, spaced=False, **more):
    fields = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    if usage is not None:
        fields["usage"] = usage
    return json.dumps(fields, separators=(", ", " : ") if spaced else (",", ":"), ensure_ascii=False)


@st.composite
def chat_streams(draw, choices=1):
    """A whole stream of a vendor, and whether it ends with the marker."""
    end = draw(st.sampled_from(["\n", "\r\n"])) * 2
    prefix = draw(st.sampled_from(["data: ", "data:"]))
    spaced = draw(st.booleans())
    frames = [": keep-alive"] * draw(st.integers(0, 1))
    text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6) | st.sampled_from(
        ['"usage":{', "[DONE]", '"finish_reason":"stop"', "data: [DONE]", "<html>"]
    )
    for words in draw(st.lists(text, max_size=4)):
        frames.append(prefix + chunk_frame([{"index": 0, "delta": {"content": words}, "finish_reason": None}], spaced=spaced))
        if draw(st.integers(0, 9)) == 0:
            frames.append(": ping")
    for index in range(choices):
        reason = draw(st.sampled_from(["stop", "length", "tool_calls"]))
        frames.append(prefix + chunk_frame([{"index": index, "delta": {}, "finish_reason": reason}], spaced=spaced))
    if draw(st.booleans()):
        frames.append(prefix + chunk_frame([], USAGE, spaced=spaced))
    frames.append(prefix + "[DONE]")
    return "".join(frame + end for frame in frames).encode()


def facts(tap):
    return tap.usage, tap.finished, tap.reusable, tap.failure


def run(tap, *pieces):
    out = b"".join([tap.feed(piece) for piece in pieces])
    out += tap.close()
    return out, tap.end, facts(tap)


@given(chat_streams(), st.booleans())
def test_a_native_stream_cut_at_any_byte_is_the_same_stream(stream, hide_usage):
    whole = run(ChatRelay(hide_usage=hide_usage), stream)
    for cut in range(len(stream) + 1):
        assert run(ChatRelay(hide_usage=hide_usage), stream[:cut], stream[cut:]) == whole
    assert run(ChatRelay(hide_usage=hide_usage), *[stream[i : i + 1] for i in range(len(stream))]) == whole
    frames = [piece + b"\n\n" for piece in stream.split(b"\n\n")[:-1]] if b"\r" not in stream else [stream]
    assert run(ChatRelay(hide_usage=hide_usage), *frames) == whole


@given(chat_streams(choices=2), st.lists(st.integers(0, 2000), max_size=5))
def test_with_nothing_to_hide_relayed_bytes_and_end_are_the_bytes_that_came(stream, cuts):
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    tap = ChatRelay(hide_usage=False, choices=2)
    out, end, (usage, finished, _, failure) = run(tap, *[stream[a:b] for a, b in pairwise(places)])
    assert out + end == stream
    assert (finished, failure) == (True, None)
    assert usage.reported == (b'"prompt_tokens"' in stream)


@given(chat_streams())
def test_hiding_usage_takes_out_its_frame_and_nothing_else(stream):
    shown, hidden = ChatRelay(hide_usage=False), ChatRelay(hide_usage=True)
    all_of_it, some = run(shown, stream), run(hidden, stream)
    assert some[2] == all_of_it[2]
    separator = b"\r\n\r\n" if b"\r" in stream else b"\n\n"
    kept = [frame for frame in (all_of_it[0] + all_of_it[1]).split(separator)[:-1] if b'"prompt_tokens"' not in frame]
    assert some[0] + some[1] == b"".join(frame + separator for frame in kept)


@given(chat_streams(choices=2), st.integers(1, 2))
def test_a_native_stream_cut_off_at_any_byte_is_finished_only_by_its_marker(stream, pieces):
    ends = [stream.rindex(b"finish_reason"), stream.rindex(b"[DONE]") + len(b"[DONE]")]
    for cut in range(len(stream)):
        tap = ChatRelay(hide_usage=False, choices=2)
        try:
            tap.feed(stream[: cut // pieces])
            tap.feed(stream[cut // pieces : cut])
            tap.close()
        except UpstreamFailed:
            assert cut < ends[1]
            continue
        said_all = stream[:cut].find(b"}", ends[0]) > 0
        assert tap.finished == (said_all or cut >= ends[1]), (cut, stream[:cut][-60:])


ERRORS = [
    b'data: {"error":{"message":"overloaded","type":"x"}}\n\n',
    b'data: {"error": "overloaded"}\n\n',
    b'data: {"error" : {"message" : "overloaded"}}\n\n',
    b'event: error\ndata: {"error":{"message":"overloaded"}}\n\n',
    b'data: {"id":"x","choices":[],"error":{"message":"overloaded"}}\n\n',
]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_inside_a_stream_is_noticed_however_it_is_cut(error):
    stream = b"data: " + chunk_frame([{"index": 0, "delta": {"content": "a"}}]).encode() + b"\n\n" + error
    for cut in range(len(stream) + 1):
        tap = ChatRelay(hide_usage=False)
        out = tap.feed(stream[:cut]) + tap.feed(stream[cut:]) + tap.close()
        assert "overloaded" in (tap.failure or "")
        assert not tap.finished
        assert out == stream[: -len(error)]


NO_STREAMS = [
    b"<html><body>502</body></html>",
    b'{"error":{"message":"nope"}}',
    b"data: {broken\n\n",
    b"data: [1]\n\n",
    b'data: "text"\n\n',
    b'{"id":"x","choices":[]}\n\n',
]


@pytest.mark.parametrize("data", NO_STREAMS)
def test_what_is_no_stream_fails_or_stays_unfinished_however_it_is_cut(data):
    for cut in range(len(data) + 1):
        tap = ChatRelay(hide_usage=False)
        try:
            tap.feed(data[:cut])
            tap.feed(data[cut:])
            tap.close()
        except UpstreamFailed:
            continue
        assert not tap.finished or tap.failure


@pytest.mark.parametrize("broken", [b"data: {broken\n\n", b"data: [1]\n\n", b'data: {"choices":7}\n\n'])
def test_a_broken_frame_is_noticed_whether_or_not_it_is_cut(broken):
    seen = set()
    for cut in range(len(broken) + 1):
        tap = ChatRelay(hide_usage=False)
        try:
            tap.feed(broken[:cut])
            tap.feed(broken[cut:])
            seen.add("read")
        except UpstreamFailed:
            seen.add("refused")
    assert len(seen) == 1


def frame(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n"


@st.composite
def message_streams(draw):
    """A stream of Anthropic's."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 0, "output_tokens": 1}
    out = [frame("message_start", message={"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": usage})]
    for index in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            out.append(frame("content_block_start", index=index, content_block={"type": "text", "text": ""}))
            words = draw(st.lists(st.text(max_size=5), max_size=3))
            out += [frame("content_block_delta", index=index, delta={"type": "text_delta", "text": word}) for word in words]
        else:
            out.append(
                frame("content_block_start", index=index, content_block={"type": "tool_use", "id": f"toolu_{index}", "name": "f", "input": {}})
            )
            out += [frame("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece}) for piece in ['{"a"', ":1}"]]
        out.append(frame("content_block_stop", index=index))
        if draw(st.booleans()):
            out.append(frame("ping"))
    reason = draw(st.sampled_from(["end_turn", "max_tokens", "tool_use", "stop_sequence"]))
    out.append(frame("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 9}))
    out.append(frame("message_stop"))
    return "".join(out).encode()


def translated(include_usage):
    request = {"model": "claude-opus-4-8", "messages": [{"role": "user", "content": "a"}], "stream": True}
    if include_usage:
        request["stream_options"] = {"include_usage": True}
    return lane(see(request), "claude-opus-4-8")


@given(message_streams(), st.booleans())
def test_a_translated_stream_cut_at_any_byte_is_the_same_stream(stream, include_usage):
    opened = translated(include_usage)
    whole = run(opened.stream(), stream)
    assert whole[2][1]
    assert (b'"usage"' in whole[0] + whole[1]) == include_usage
    for cut in range(0, len(stream) + 1, 3):
        assert run(opened.stream(), stream[:cut], stream[cut:]) == whole
    assert run(opened.stream(), *[stream[i : i + 1] for i in range(len(stream))]) == whole


@given(message_streams())
def test_a_translated_stream_cut_off_at_any_byte_is_finished_only_by_its_marker(stream):
    opened = translated(include_usage=False)
    marker = stream.rindex(b"event: message_stop")
    for cut in range(len(stream)):
        tap = opened.stream()
        try:
            out = tap.feed(stream[:cut])
            out += tap.close()
        except (UpstreamFailed, UpstreamTruncated):
            assert not tap.finished
            continue
        assert not tap.finished or cut > marker, stream[:cut][-60:]
        assert tap.finished or b"[DONE]" not in out + tap.end


@given(message_streams())
@example(b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n')
def test_an_error_at_any_frame_of_a_translated_stream_is_its_end(stream):
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    frames = stream.split(b"\n\n")[:-1]
    for place in range(len(frames) - 1):
        tap = translated(include_usage=False).stream()
        tap.feed(b"".join(one + b"\n\n" for one in frames[:place]) + error)
        tap.close()
        assert "Overloaded" in (tap.failure or "")
        assert not tap.finished
        assert tap.end == b""
