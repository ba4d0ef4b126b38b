"""Gemini's answers: read, written, and tapped while they pass."""

import base64
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.adapters.json_elements import ElementReader
from tokenrouter.adapters.outbound.gemini_relay import GeminiRelay, verdict
from tokenrouter.adapters.wire.foreign_reasoning import seal
from tokenrouter.adapters.wire.gemini import SKIP_SIGNATURE, GeminiEventDecoder, decode_answer, error_message, made_up_id
from tokenrouter.adapters.wire.gemini_usage import usage_from_wire, usage_to_wire
from tokenrouter.adapters.wire.gemini_writer import GeminiEventEncoder, encode_answer
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import Answer, Choice, Failed, Reasoning, Spoken, ToolCall, fold, unfold
from tokenrouter.model.usage import NO_USAGE, Usage

MINE = "google-gemini-v1"
USAGE = {"promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 7, "thoughtsTokenCount": 5, "totalTokenCount": 112}


def candidate(*parts, finish="STOP", index=0, **more):
    fields = {"content": {"parts": list(parts), "role": "model"}, "index": index, **more}
    return fields | ({"finishReason": finish} if finish else {})


def body(*candidates, **more):
    fields = {"candidates": list(candidates), "usageMetadata": USAGE, "modelVersion": "m-1", "responseId": "r-1"}
    return json.dumps({**fields, **more}, ensure_ascii=False, separators=(",", ":")).encode()


def blocks(*parts, **more):
    return decode_answer(body(candidate(*parts, **more))).choices[0].blocks


def test_a_whole_answer_is_read_with_its_names_and_its_usage():
    answer = decode_answer(body(candidate({"text": "hi"})))
    assert (answer.id, answer.model) == ("r-1", "m-1")
    assert answer.choices == (Choice((Spoken("hi"),), "stop"),)
    assert answer.usage == Usage(fresh_input=40, cache_read=60, output=12, reasoning=5)


def test_a_signature_stands_in_front_of_the_part_that_carries_it():
    call = {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"}
    assert blocks({"text": "thinking", "thought": True}, {"text": "a"}, call) == (
        Reasoning("thinking"),
        Spoken("a"),
        Reasoning(signature="c2ln", format=MINE, id="c1"),
        ToolCall("c1", "f", "{}"),
    )
    assert blocks({"text": "a"}, {"text": "", "thoughtSignature": "c2ln"}) == (Spoken("a"), Reasoning(signature="c2ln", format=MINE))
    assert blocks({"text": "a", "thoughtSignature": "c2ln"}) == (Reasoning(signature="c2ln", format=MINE), Spoken("a"))
    assert blocks({**call, "thoughtSignature": SKIP_SIGNATURE}) == (ToolCall("c1", "f", "{}"),)


def test_arguments_keep_their_spelling():
    raw = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"b" : 1.0,"a":[1e2, "\\u00e9"]}}}]},"finishReason":"STOP"}]}'
    (call,) = decode_answer(raw).choices[0].blocks
    assert call.arguments == '{"b" : 1.0,"a":[1e2, "\\u00e9"]}'


def test_a_call_without_an_id_gets_the_same_one_whenever_it_is_read():
    call = {"functionCall": {"name": "f", "args": {}}}
    first, second = blocks(call, call)
    assert (first.id, second.id) == (made_up_id("r-1", 0, 0), made_up_id("r-1", 0, 1))
    assert first.id != second.id
    assert blocks(call)[0].id == first.id


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("NEW_WORD", "content_filter"),
        (None, None),
    ],
)
def test_finish_reasons_in_the_neutral_words(reason, stop):
    assert decode_answer(body(candidate({"text": "x"}, finish=reason))).choices[0].stop == stop


def test_an_answer_with_calls_ends_in_calls_unless_it_was_cut():
    call = {"functionCall": {"name": "f", "args": {}}}
    assert decode_answer(body(candidate(call))).choices[0].stop == "tool_calls"
    assert decode_answer(body(candidate(call, finish="MAX_TOKENS"))).choices[0].stop == "length"


def test_a_blocked_prompt_is_an_answer_without_words():
    answer = decode_answer(json.dumps({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USAGE}).encode())
    assert answer.choices == (Choice((), "content_filter"),)
    assert answer.usage.input_total == 100


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"])
def test_what_the_vendor_itself_could_not_use_is_no_answer(reason):
    broken = body(candidate(finish=reason, finishMessage="print(1"))
    with pytest.raises(UpstreamFailed, match=rf"{reason}.*print\(1"):
        decode_answer(broken)
    (failed,) = [event for event in GeminiEventDecoder().feed(b"data: " + broken + b"\r\n\r\n") if isinstance(event, Failed)]
    assert reason in failed.message


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b"{}", b'{"candidates":[]}', b'{"candidates":1}', b'{"error":{"message":"no"}}'])
def test_what_is_no_answer_fails(data):
    with pytest.raises(UpstreamFailed):
        decode_answer(data)
    with pytest.raises(UpstreamFailed):
        verdict(data)


def test_errors_are_read_in_both_framings_and_the_gateways_own_key_is_not_the_clients():
    error = {"error": {"code": 400, "message": "no good", "status": "INVALID_ARGUMENT"}}
    assert error_message(json.dumps(error).encode()) == error_message(json.dumps([error]).encode()) == "no good"
    assert error_message(b"<html>") is None
    error["error"]["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    with pytest.raises(UpstreamFailed, match="credential"):
        error_message(json.dumps(error).encode())


# usage


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        (USAGE, Usage(fresh_input=40, cache_read=60, output=12, reasoning=5)),
        ({"promptTokenCount": 10, "toolUsePromptTokenCount": 4, "candidatesTokenCount": 1}, Usage(fresh_input=14, output=1)),
        ({"promptTokenCount": 10}, Usage(fresh_input=10)),
        ({"promptTokenCount": 10, "totalTokenCount": 13, "thoughtsTokenCount": 3}, Usage(fresh_input=10, output=3, reasoning=3)),
        (
            {"promptTokenCount": 10, "candidatesTokenCount": 8, "thoughtsTokenCount": 3, "totalTokenCount": 18},
            Usage(fresh_input=10, output=8, reasoning=3),
        ),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 11, "candidatesTokenCount": 1}, Usage(cache_read=10, output=1)),
        ({"promptTokenCount": 10.0, "candidatesTokenCount": -1}, Usage(fresh_input=10)),
        ({"promptTokenCount": "10"}, NO_USAGE),
        ({"totalTokenCount": 5}, NO_USAGE),
        (None, NO_USAGE),
    ],
)
def test_usage_becomes_disjoint_buckets(wire, usage):
    assert usage_from_wire(wire) == usage


@given(*[st.integers(0, 10**9)] * 4)
def test_usage_survives_the_way_out_and_back(fresh, read, said, thought):
    usage = Usage(fresh_input=fresh, cache_read=read, output=said + thought, reasoning=thought)
    if usage.input_total <= 10**9:
        assert usage_from_wire(usage_to_wire(usage)) == usage


def test_writes_stand_in_the_prompt_and_nothing_reported_is_nothing_said():
    assert usage_to_wire(Usage(fresh_input=1, cache_read=2, cache_write=4, cache_write_1h=8, output=3))["promptTokenCount"] == 15
    assert usage_to_wire(NO_USAGE) is None
    assert "cachedContentTokenCount" not in usage_to_wire(Usage(cache_reported=False))


# written answers

ids = st.text("abcdefgh0123_", min_size=1, max_size=6)
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
signatures = st.binary(min_size=1, max_size=12).filter(lambda data: not data.startswith(b"tr1.")).map(lambda data: base64.b64encode(data).decode())
arguments = st.dictionaries(words, st.integers() | words, max_size=2).map(lambda value: json.dumps(value, ensure_ascii=False))


@st.composite
def said_blocks(draw):
    """Blocks as models make them: signatures in front of what they belong to, no two texts side by side, the first call signed."""
    found, called = [], 0
    for kind in draw(st.lists(st.sampled_from(["text", "call", "foreign", "signed text"]), max_size=5)):
        before = found[-1] if found else None
        if kind == "text" and not isinstance(before, Spoken):
            found.append(Spoken(draw(words)))
        elif kind == "signed text" and not isinstance(before, Spoken):
            found += [Reasoning(signature=draw(signatures), format=MINE), Spoken(draw(words))]
        elif kind == "foreign":
            found.append(Reasoning(draw(st.just("") | words), draw(words), draw(st.just("") | words), "anthropic-claude-v1", draw(st.just("") | ids)))
        elif kind == "call":
            call = ToolCall(f"call_{called}", draw(ids), draw(arguments))
            found += [Reasoning(signature=draw(signatures), format=MINE, id=call.id)] * (not called or draw(st.booleans()))
            found.append(call)
            called += 1
    if not called and draw(st.booleans()):
        found.append(Reasoning(signature=draw(signatures), format=MINE))
    return tuple(found)


@st.composite
def answers(draw):
    choices = []
    for _ in range(draw(st.integers(1, 2))):
        said = draw(said_blocks())
        natural = "tool_calls" if any(isinstance(block, ToolCall) for block in said) else "stop"
        choices.append(Choice(said, draw(st.sampled_from([natural, "length", "content_filter"]))))
    usage = draw(st.just(NO_USAGE) | st.builds(Usage, fresh_input=st.integers(0, 99), cache_read=st.integers(0, 99), output=st.integers(0, 99)))
    return Answer(draw(words), draw(words), 0, tuple(choices), usage)


@given(answers())
def test_what_is_written_whole_is_read_as_it_was(answer):
    assert decode_answer(encode_answer(answer)) == answer


def read_stream(data: bytes, framing: str, *cuts: int) -> Answer:
    decoder = GeminiEventDecoder(framing)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    events = [event for start, end in pairwise(places) for event in decoder.feed(data[start:end])]
    return fold([*events, *decoder.finish()])


def write_stream(answer: Answer, framing: str) -> bytes:
    encoder = GeminiEventEncoder(framing)
    return b"".join(map(encoder.encode, unfold(answer))) + encoder.close()


@pytest.mark.parametrize("framing", ["", "array"])
@given(answers(), st.lists(st.integers(0, 3000), max_size=4))
def test_what_is_written_as_a_stream_is_read_as_it_was(framing, answer, cuts):
    assert read_stream(write_stream(answer, framing), framing, *cuts) == answer


@given(answers())
def test_an_array_is_one_json_document_with_the_chunks_of_the_events(answer):
    array = json.loads(write_stream(answer, "array"))
    events = [json.loads(block[6:]) for block in write_stream(answer, "").split(b"\r\n\r\n") if block]
    assert array[1:] == events
    assert array[0]["candidates"] == [{"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0}]


def test_usage_and_finish_reasons_stand_in_the_last_chunk():
    answer = Answer("r", "m", 0, (Choice((Spoken("a"),), "stop"), Choice((Spoken("b"),), "length")), Usage(fresh_input=3, output=2))
    *chunks, last = json.loads(write_stream(answer, "array"))
    assert not any("usageMetadata" in chunk or "finishReason" in chunk["candidates"][0] for chunk in chunks)
    assert [one["finishReason"] for one in last["candidates"]] == ["STOP", "MAX_TOKENS"]
    assert last["usageMetadata"]["promptTokenCount"] == 3


def test_a_call_is_one_part_however_its_arguments_came():
    encoder = GeminiEventEncoder("array")
    answer = Answer("r", "m", 0, (Choice((ToolCall("c", "f", '{"a": 1.0}'),), "tool_calls"),))
    events = list(unfold(answer))
    events[2:3] = [type(events[2])(0, piece) for piece in ('{"a"', ": 1", ".0}")]
    document = b"".join(map(encoder.encode, events)) + encoder.close()
    assert b'"args":{"a": 1.0}' in document
    parts = [part for chunk in json.loads(document) for one in chunk["candidates"] for part in one["content"]["parts"] if part != {"text": ""}]
    assert parts == [{"functionCall": {"id": "c", "name": "f", "args": {"a": 1.0}}, "thoughtSignature": SKIP_SIGNATURE}]


def test_another_vendors_reasoning_travels_in_valid_base64():
    block = Reasoning("hm", "sig+/=", "", "anthropic-claude-v1")
    (part,) = json.loads(encode_answer(Answer("r", "m", 0, (Choice((block,), "stop"),))))["candidates"][0]["content"]["parts"]
    assert part["thought"] is True
    assert base64.b64decode(part["thoughtSignature"], validate=True).decode() == seal(block)
    url_safe = base64.urlsafe_b64encode(base64.b64decode(part["thoughtSignature"])).decode()  # as the official client returns it
    assert blocks({**part, "thoughtSignature": url_safe}) == (block,)


def test_only_the_first_call_of_another_vendors_model_says_that_it_is_not_signed():
    calls = tuple([ToolCall(f"c{i}", "f", "{}") for i in range(2)])
    parts = json.loads(encode_answer(Answer("r", "m", 0, (Choice(calls, "tool_calls"),))))["candidates"][0]["content"]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [SKIP_SIGNATURE, None]
    mine = (Reasoning(signature="c2ln", format=MINE, id="c0"), *calls)
    parts = json.loads(encode_answer(Answer("r", "m", 0, (Choice(mine, "tool_calls"),))))["candidates"][0]["content"]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["c2ln", None]


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", "1"])
def test_a_call_whose_arguments_are_no_object_is_called_malformed(arguments):
    answer = Answer("r", "m", 0, (Choice((Spoken("x"), ToolCall("c", "f", arguments)), "tool_calls"),))
    for document in (json.loads(encode_answer(answer)), json.loads(write_stream(answer, "array"))[-1]):
        (one,) = document["candidates"]
        assert one["finishReason"] == "MALFORMED_FUNCTION_CALL"
        assert one["finishMessage"].endswith(f"f({arguments})")
        assert not any("functionCall" in part for part in one["content"]["parts"])
    cut = msgspec_replace(answer, "length")
    assert json.loads(encode_answer(cut))["candidates"][0]["finishReason"] == "MAX_TOKENS"


def msgspec_replace(answer: Answer, stop: str) -> Answer:
    return Answer(answer.id, answer.model, 0, tuple([Choice(choice.blocks, stop) for choice in answer.choices]), answer.usage)


def test_a_failed_stream_is_not_closed():
    for framing in ("", "array"):
        encoder = GeminiEventEncoder(framing)
        out = encoder.encode(Failed("went wrong"))
        assert b'{"error":{"code":' in out
        assert encoder.close() == encoder.metadata({"a": 1}) == b""


def test_own_figures_stand_between_the_chunks_and_the_end():
    for framing in ("", "array"):
        encoder = GeminiEventEncoder(framing)
        answer = Answer("r", "m", 0, (Choice((), "stop"),))
        sent, end = b"".join(map(encoder.encode, unfold(answer))), encoder.close()
        stream = sent + GeminiEventEncoder(framing).metadata({"a": 1}) + end
        documents = json.loads(stream) if framing else [json.loads(block[6:]) for block in stream.split(b"\r\n\r\n") if block]
        assert documents[-2] == {"x_tokenrouter": {"a": 1}}
        assert documents[-1]["candidates"][0]["finishReason"] == "STOP"


# streams that are cut

CHUNKS = [
    body(candidate({"text": 'Hé"}]{[ \\'}, finish=None)),
    body(candidate({"text": "", "thoughtSignature": "c2ln"}, finish=None), usageMetadata={"promptTokenCount": 1}),
    body(candidate({"text": 'data: {"error":1}\n\n,]'}, finish="STOP")),
]
EVENTS = b": hi\r\n\r\n" + b"".join(b"data: " + chunk + b"\r\n\r\n" for chunk in CHUNKS)
ARRAY = b" [" + b"\n,\r\n".join(CHUNKS) + b"\n]\n"


def tapped(tap, *pieces):
    out = b"".join([tap.feed(piece) for piece in pieces]) + tap.close()
    return out, tap.end, tap.usage, tap.finished, tap.reusable, tap.failure


@pytest.mark.parametrize(("framing", "stream"), [("", EVENTS), ("array", ARRAY), ("", EVENTS.replace(b"\r\n\r\n", b"\n\n"))])
def test_a_stream_cut_at_any_byte_is_the_same_stream(framing, stream):
    whole = tapped(GeminiRelay(framing=framing), stream)
    assert whole[0] + whole[1] == stream
    assert whole[2:] == (usage_from_wire(USAGE), True, True, None)
    answer = read_stream(stream, framing)
    for cut in range(len(stream) + 1):
        assert tapped(GeminiRelay(framing=framing), stream[:cut], stream[cut:]) == whole
        assert read_stream(stream, framing, cut) == answer
    assert tapped(GeminiRelay(framing=framing), *[stream[i : i + 1] for i in range(len(stream))]) == whole
    assert answer.choices[0].text == 'Hé"}]{[ \\data: {"error":1}\n\n,]'


@pytest.mark.parametrize(("framing", "stream"), [("", EVENTS), ("array", ARRAY)])
def test_a_stream_that_breaks_off_is_never_at_its_end_and_passes_whole_chunks_only(framing, stream):
    last = stream.rindex(b'"finishReason"')
    for cut in range(last):
        out, end, _, finished, _, failure = tapped(GeminiRelay(framing=framing), stream[:cut])
        assert (end, finished, failure) == (b"", False, None)
        assert stream.startswith(out)
        assert not out.strip() or out.rstrip().endswith(b"}") or out.endswith(b": hi\r\n\r\n")
        decoder = GeminiEventDecoder(framing)
        decoder.feed(stream[:cut])
        with pytest.raises(UpstreamTruncated):
            decoder.finish()


def test_an_array_whose_bracket_is_missing_is_not_at_its_end():
    stream = ARRAY.rstrip()[:-1]
    assert tapped(GeminiRelay(framing="array"), stream)[3] is False
    with pytest.raises(UpstreamTruncated):
        read_stream(stream, "array")


def test_a_stream_may_forget_its_last_blank_line():
    assert tapped(GeminiRelay(), EVENTS[:-4])[3] is True


@pytest.mark.parametrize("framing", ["", "array"])
def test_an_error_in_a_stream_is_told_and_does_not_pass(framing):
    error = b'{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}'
    stream = b"[" + CHUNKS[0] + b",\n" + error + b"]" if framing else b"data: " + CHUNKS[0] + b"\r\n\r\ndata: " + error + b"\r\n\r\n"
    out, end, _, finished, reusable, failure = tapped(GeminiRelay(framing=framing), stream)
    assert (failure, finished, reusable) == ("overloaded", False, False)
    assert b"error" not in out + end
    (failed,) = [event for event in GeminiEventDecoder(framing).feed(stream) if isinstance(event, Failed)]
    assert (failed.message, failed.code) == ("overloaded", "UNAVAILABLE")


def test_every_candidate_must_come_to_its_end():
    one, both = candidate({"text": "x"}), candidate({"text": "y"}, index=1)
    for choices, chunks, finished in (
        (1, [body(one)], True),
        (2, [body(one)], False),
        (2, [body(one), body(both)], True),
        (1, [body(one, candidate(finish=None, index=1))], False),
        (1, [body(candidate(finish="FINISH_REASON_UNSPECIFIED"))], False),
    ):
        stream = b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks)
        assert tapped(GeminiRelay(choices=choices), stream)[3] is finished


@pytest.mark.parametrize(
    ("chunk", "reusable"),
    [
        (body(candidate({"text": "x"})), True),
        (body(candidate({"functionCall": {"name": "f", "args": {}}})), True),
        (body(candidate({"text": "x"}, finish="MAX_TOKENS")), False),
        (body(candidate({"text": "x"}, finish="SAFETY")), False),
        (body(candidate({"text": "x"}, finish="MALFORMED_FUNCTION_CALL")), False),
        (body(candidate({"text": "x"}, citationMetadata={"citationSources": []})), False),
        (body(candidate({"inlineData": {"mimeType": "image/png", "data": ""}})), False),
        (body(candidate({"text": '\\"inlineData\\":'})), True),
        (json.dumps({"promptFeedback": {"blockReason": "OTHER"}}).encode(), False),
    ],
)
def test_only_what_can_be_said_again_in_every_form_may_be_given_again(chunk, reusable):
    assert verdict(chunk)[1] is reusable
    tap = GeminiRelay()
    tapped(tap, b"data: " + chunk + b"\n\n")
    assert (tap.finished, tap.reusable) == (True, reusable)


@pytest.mark.parametrize(
    ("framing", "data"),
    [
        ("", b"<html>\n\n"),
        ("", b'{"a":1}\n\n'),
        ("", b"data: {\n\n"),
        ("array", b"<"),
        ("array", b"{"),
        ("array", b"[1"),
        ("array", b'[{"candidates":1}'),
    ],
)
def test_bytes_that_are_no_such_stream_fail(framing, data):
    with pytest.raises(UpstreamFailed):
        GeminiRelay(framing=framing).feed(data)


def test_a_chunk_without_end_fails_instead_of_filling_the_memory():
    for reader, head in ((ElementReader(1000), b'[{"a":"'), (GeminiRelay(), b"data: ")):
        with pytest.raises(UpstreamFailed, match=r"longer|endless"):
            feed_all(reader, head + b"x" * 500_000, 20)


def feed_all(reader, data, times):
    for _ in range(times):
        reader.feed(data)


json_values = st.recursive(
    st.integers() | st.text(max_size=5) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=3), json_values, max_size=3), max_size=4),
    st.lists(st.integers(0, 400), max_size=6),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_an_array_in_pieces_is_cut_into_its_elements(elements, cuts, indent, ascii_only):
    data = json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = ElementReader()
    found = [piece for start, end in pairwise(places) for piece in reader.feed(data[start:end])]
    assert reader.closed
    assert b"".join(before + element for before, element in found) + reader.end == data
    assert [json.loads(element) for _, element in found] == elements
