"""OpenAI's Responses: what passes as it is, what is read of a stream cut anywhere, and what strict clients make of what is written."""

import json
from functools import cache

import msgspec
import pydantic
from chat_requests import Respelled
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from responses_requests import requests
from support import NO_EDITS, SOL, see
from support import render as render_in
from test_answers import no_two_texts_side_by_side, usages

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.openai_responses import OpenAIResponses
from tokenrouter.adapters.outbound.openai_responses_relay import ResponsesRelay, aftermath, verdict
from tokenrouter.adapters.wire.openai_responses import REASONING_FORMAT, ResponsesEventDecoder, decode_answer
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import Answer, Choice, Declined, Reasoning, Spoken, TextDelta, ToolCall, ToolCallDelta, fold, unfold
from tokenrouter.model.conversation import Call, Refusal, Text, Thought
from tokenrouter.model.edits import DEFAULT_EDITS
from tokenrouter.model.usage import NO_USAGE

DIALECT = OpenAIResponses()
MARKS = ("cache_control", "prompt_cache_breakpoint")
words = st.text(min_size=1, max_size=12)
plain = st.text(st.sampled_from('ab {}"\\\n\r\u2028é😀'), min_size=1, max_size=12)
arguments = st.dictionaries(words, st.integers() | plain, max_size=2).map(json.dumps)


def render(request, model=SOL, **more):
    return render_in(request, model, dialect=DIALECT, **more)


# -- requests --------------------------------------------------------------------------------------------------------------------------


@given(requests(), st.randoms(use_true_random=False))
def test_with_all_edits_off_the_body_is_the_very_body_that_came(request, random):
    body = Respelled(random).write({**request, "model": SOL}).encode()
    sent = render(body, edits=NO_EDITS)
    assert sent.body is body
    assert (sent.edits, sent.dropped, sent.path) == ((), (), "/responses")


def as_prompt(raw):
    """What the vendor reads: a string is one part of input text, marks and the key are nothing, tools are in the order of their names."""
    request = json.loads(raw)
    request.pop("prompt_cache_key", None)
    if isinstance(request["input"], str):
        request["input"] = [request["input"]]
    request["input"] = [as_item(item) for item in request["input"]]
    if "tools" in request:
        request["tools"] = sorted(request["tools"], key=lambda tool: (tool.get("name", tool["type"]), json.dumps(tool)))
    return request


def as_item(item):
    if isinstance(item, str):
        item = {"role": "user", "content": item}
    for name in ("content", "output"):
        value = item.get(name)
        if isinstance(value, str) and item.get("role") != "assistant":
            item = {**item, name: [{"type": "input_text", "text": value}]}
        elif isinstance(value, list):
            item = {**item, name: [{key: inner for key, inner in part.items() if key not in MARKS} for part in value]}
    return {key: inner for key, inner in item.items() if key not in MARKS}


@given(requests(), st.sampled_from([SOL, "gpt-4.1"]), st.randoms(use_true_random=False))
def test_with_all_edits_on_the_vendor_reads_the_same_prompt(request, model, random):
    body = Respelled(random).write({**request, "model": model}).encode()
    sent = render(body, model)
    assert as_prompt(sent.body) == as_prompt(body)
    assert [name for name in json.loads(sent.body) if name != "prompt_cache_key"] == list(json.loads(body))
    assert bool(sent.edits) == (sent.body != body)
    assert sent.dropped == ()


@given(requests(), st.randoms(use_true_random=False))
def test_items_that_no_edit_touches_keep_their_bytes(request, random):
    body = Respelled(random).write({**request, "model": SOL, "x-ours": 1}).encode()
    sent = render(body, edits=DEFAULT_EDITS - {"content.parts", "marks.plan"})
    came, went = (msgspec.json.decode(data, type=dict[str, msgspec.Raw]) for data in (body, sent.body))
    assert {name: bytes(raw) for name, raw in came.items() if name not in ("tools", "x-ours")} == {
        name: bytes(raw) for name, raw in went.items() if name != "tools"
    }
    tools = [sorted(map(bytes, msgspec.json.decode(fields.get("tools", b"[]"), type=list[msgspec.Raw]))) for fields in (came, went)]
    assert tools[0] == tools[1]
    assert "extensions.strip" in sent.edits


@given(requests(), st.sampled_from(sorted(DEFAULT_EDITS)))
def test_an_edit_that_is_off_is_never_applied(request, edit):
    assert edit not in render({**request, "model": SOL}, edits=DEFAULT_EDITS - {edit}).edits


# -- answers ---------------------------------------------------------------------------------------------------------------------------


own_thoughts = st.builds(Reasoning, plain | st.just(""), redacted=words, format=st.just(REASONING_FORMAT), id=st.uuids().map("rs_{}".format))
others_thoughts = st.builds(
    Reasoning, plain | st.just(""), words | st.just(""), words | st.just(""), st.sampled_from(["", "anthropic-claude-v1", "google-gemini-v1"]), words
)
calls = st.builds(ToolCall, words.map("call_{}".format), words, arguments, st.just(False)) | st.builds(
    ToolCall, words.map("ctc_{}".format), words, plain, st.just(True)
)
spoken, declined = st.builds(Spoken, plain), st.builds(Declined, plain)


def calls_last(blocks):
    """Texts and thoughts may stand in any order; calls run to the end of the answer, as vendors make them. No id is given twice."""
    known: set[str] = set()
    blocks = [block for block in blocks if not (name := getattr(block, "id", "")) or not (name in known or known.add(name))]
    first = no_two_texts_side_by_side([block for block in blocks if not isinstance(block, ToolCall)])
    return (*first, *(block for block in blocks if isinstance(block, ToolCall)))


choices = st.builds(
    Choice,
    st.lists(own_thoughts | others_thoughts | spoken | declined | calls, max_size=6).map(calls_last),
    st.sampled_from(["stop", "length", "content_filter"]),
)


def with_honest_ends(choice):
    """An answer with calls ends because of them."""
    called = any(isinstance(block, ToolCall) for block in choice.blocks)
    return msgspec.structs.replace(choice, stop="tool_calls" if called and choice.stop == "stop" else choice.stop)


whole_answers = st.builds(
    Answer,
    words.map("resp_{}".format),
    words,
    st.integers(1, 2**33),
    st.tuples(choices.map(with_honest_ends)),
    # Its types demand every detail: 0 is said, and a tier of service.
    usages().map(lambda usage: msgspec.structs.replace(usage, cache_reported=usage.reported, service_tier="default" if usage.reported else "")),
)


@st.composite
def played(draw, answer):
    """The answer as a vendor streams it: words cut anywhere, calls announced first and grown in turns."""
    events, late = [], []
    for event in unfold(answer):
        if isinstance(event, TextDelta) and len(event.text) > 1:
            cut = draw(st.integers(1, len(event.text) - 1))
            events += [TextDelta(event.text[:cut]), TextDelta(event.text[cut:])]
        elif isinstance(event, ToolCallDelta):
            cut = draw(st.integers(0, len(event.arguments)))
            events += [ToolCallDelta(event.index, event.arguments[:cut])]
            late += [ToolCallDelta(event.index, event.arguments[cut:])]
        else:
            if type(event).__name__ == "Finished":
                events += draw(st.permutations(late))
            events.append(event)
    return events


def written(events):
    encoder = DIALECT.encoder(Wanted(created_s=1))
    return b"".join(map(encoder.encode, events)) + encoder.close()


def events_of(data: bytes) -> list[dict]:
    return [json.loads(line[6:]) for line in data.decode().split("\n") if line.startswith("data: ")]


@given(whole_answers)
def test_a_whole_answer_is_read_back_as_it_was_written(answer):
    body = DIALECT.encode_answer(answer, Wanted())
    back = decode_answer(body)
    assert (back.id, back.model, back.created_s, back.usage) == (answer.id, answer.model, answer.created_s, answer.usage)
    assert told(back) == told(answer)
    assert verdict(body) == (answer.usage, answer.choices[0].stop in ("stop", "tool_calls"))


def told(answer):
    """What this wire says of an answer. Another vendor's thought becomes one of its own, with an envelope; other people's words stay."""
    (choice,) = answer.choices
    blocks = [("thought", block.text) if isinstance(block, Reasoning) else block for block in choice.blocks]
    return [*blocks, choice.stop]


IN_PARTS = Answer("resp_1", "m", 1, (Choice((Spoken("a"), Declined("b"), Spoken("c"), Reasoning("d"), Spoken("e")), "stop"),))


@settings(deadline=None)
@example((IN_PARTS, list(unfold(IN_PARTS))))
@given(whole_answers.flatmap(lambda answer: st.tuples(st.just(answer), played(answer))))
def test_strict_clients_read_what_is_streamed_to_its_end_and_get_what_they_get_whole(pair):
    answer, events = pair
    data = written(events)
    seen = events_of(data)
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in seen:
        state.handle_event(event_adapter().validate_python(event))
    check_order(seen)
    final = seen[-1]["response"]
    whole = json.loads(DIALECT.encode_answer(answer, Wanted()))
    assert {**final, "created_at": 0} == {**whole, "created_at": 0}
    response_adapter().validate_python(final)
    if final["status"] == "completed":
        kept = json.loads(state._completed_response.to_json())
        assert [item["type"] for item in kept["output"]] == [item["type"] for item in final["output"]]


def check_order(events):
    """Every item is announced in its place, grows only while it is open, and is done once; parts likewise."""
    opened, parts, words_of = {}, {}, {}
    done: dict[int, dict] = {}
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    for event in events[2:-1]:
        kind, index = event["type"], event["output_index"]
        if kind == "response.output_item.added":
            assert index == len(opened)
            opened[index] = event["item"]["id"]
            continue
        assert index in opened
        assert index not in done
        if kind == "response.output_item.done":
            assert opened[index] == event["item"]["id"]
            done[index] = event["item"]
            assert all(index != place for place, _ in parts)
            continue
        assert event["item_id"] == opened[index]
        place = (index, event.get("content_index", event.get("summary_index", 0)))
        if kind.endswith("part.added"):
            parts[place] = kind
        elif kind.endswith("part.done"):
            del parts[place]
        elif kind.endswith(".delta"):
            assert place in parts or "arguments" in kind or "custom" in kind
            words_of.setdefault(place, []).append(event["delta"])
        else:
            told_whole = next(event[name] for name in ("text", "refusal", "arguments", "input") if name in event)
            assert told_whole == "".join(words_of.get(place, ()))
    assert sorted(done) == sorted(opened)
    assert events[-1]["response"]["output"] == [done[index] for index in sorted(done)]


@cache
def event_adapter() -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(ResponseStreamEvent)


@cache
def response_adapter() -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(Response)


@given(whole_answers)
def test_what_a_client_sends_back_is_opened_as_it_was_said(answer):
    """Signed reasoning of any vendor, calls and words come back in their order, to the letter."""
    output = json.loads(DIALECT.encode_answer(answer, Wanted()))["output"]
    request = {"model": SOL, "input": [{"role": "user", "content": "hi"}, *output, {"role": "user", "content": "go on"}]}
    turns = DIALECT.open(see(request, dialect=DIALECT).envelope, None).turns
    said = turns[1].blocks if len(turns) == 3 else ()
    expected = []
    for block in answer.choices[0].blocks:
        match block:
            case Reasoning():
                expected.append(Thought(block))
            case ToolCall():
                expected.append(Call(block))
            case Spoken():
                expected.append(Text(block.text))
            case Declined():
                expected.append(Refusal(block.text))
    assert list(said) == expected


# -- streams ---------------------------------------------------------------------------------------------------------------------------


def tapped(*pieces: bytes):
    tap = ResponsesRelay()
    out = b"".join([tap.feed(piece) for piece in pieces]) + tap.close()
    return out, tap.end, tap.usage, tap.finished, tap.reusable, tap.failure


def folded(*pieces: bytes):
    """The answer; None where the stream is cut."""
    decoder = ResponsesEventDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    try:
        return fold([*events, *decoder.finish()])
    except UpstreamTruncated:
        return None


@settings(max_examples=3, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))  # one example is thousands of streams
@given(whole_answers, st.sampled_from([b"\n", b"\r\n"]))
def test_a_stream_cut_at_any_byte_says_the_same_or_is_told_to_be_cut(answer, line_end):
    data = written(unfold(answer)).replace(b"\n", line_end)
    whole, read = tapped(data), folded(data)
    assert whole[0] + whole[1] == data
    assert whole[2:] == (answer.usage, True, answer.choices[0].stop in ("stop", "tool_calls"), None)
    assert read.usage == answer.usage
    last = data.rindex(b"event: ")
    end = data.rindex(b"}") + 1
    for cut in range(len(data) + 1):
        first = data[:cut]
        assert cut % 5 or tapped(first, data[cut:]) == whole
        out, held, usage, finished, reusable, failure = tapped(first)
        assert (finished, reusable, usage) == ((True, whole[4], answer.usage) if cut >= end else (False, False, NO_USAGE))
        assert failure is None
        assert data.replace(b"\r\n", b"\n").startswith(out.replace(b"\r\n", b"\n"))  # the blank line behind a whole frame is made up for
        assert cut >= end or (not held and len(out) <= last)
    for cut in range(0, len(data) + 1, 7):
        assert folded(data[:cut], data[cut:]) == read
        assert folded(data[:cut]) == (read if cut >= end else None)


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(whole_answers, st.integers(0, 20), st.sampled_from(["error", "response.failed"]))
def test_a_stream_that_fails_never_ends_well_wherever_it_is_cut(answer, after, kind):
    events = list(unfold(answer))
    encoder = DIALECT.encoder(Wanted(created_s=1))
    head = b"".join(encoder.encode(event) for event in events[: min(after, len(events) - 2)])
    told_error = {"code": "server_error", "message": "no more"}
    failed = {
        "type": kind,
        "sequence_number": 9,
        **(told_error if kind == "error" else {"response": {"id": answer.id, "error": told_error, "output": []}}),
    }
    data = head + b"event: " + kind.encode() + b"\ndata: " + json.dumps(failed).encode() + b"\n\n"
    out, end, _, finished, reusable, failure = tapped(data)
    assert (out + end, finished, reusable, failure) == (data, True, False, "no more")
    for cut in range(len(data)):
        _, _, _, finished, reusable, failure = tapped(data[:cut])
        assert not reusable
        assert not finished or failure == "no more"


@given(whole_answers, st.booleans())
def test_what_a_vendor_keeps_is_the_same_whole_and_streamed_and_no_more_where_it_is_cut(answer, stored):
    body = json.loads(DIALECT.encode_answer(answer, Wanted()))
    data = written(unfold(answer))
    said = b'"store":true' if stored else b'"store":false'
    whole, streamed = (one.replace(b'"store":false', said) for one in (json.dumps(body, separators=(",", ":")).encode(), data))
    kept = aftermath(whole)
    assert kept.objects == ((answer.id, *(item["id"] for item in body["output"])) if stored else ())
    last = streamed.rindex(b"event: ")
    assert aftermath(streamed[last:]) == aftermath(streamed) == kept
    for cut in range(0, last, 41):
        begun = aftermath(streamed[:cut])
        assert begun.objects == kept.objects[: len(begun.objects)] or set(begun.objects) <= set(kept.objects)


@given(st.binary(max_size=60) | st.dictionaries(words, st.none() | st.integers() | words, max_size=3).map(lambda value: json.dumps(value).encode()))
def test_nothing_that_a_server_may_send_breaks_a_reader_otherwise_than_by_its_own_error(data):
    for read in (decode_answer, verdict, lambda raw: tapped(raw), lambda raw: tapped(b"data: " + raw + b"\n\n"), lambda raw: folded(raw, b"\n\n")):
        try:
            read(data)
        except UpstreamFailed:
            continue
    assert isinstance(aftermath(data).objects, tuple)
