"""Ollama's own wire: bodies pass as they came, streams cut anywhere are the same stream, what is written is read again."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import NO_EDITS, settings

from tokenrouter.adapters.inbound.ollama import OllamaChat, OllamaEmbed, OllamaGenerate
from tokenrouter.adapters.outbound.ollama import OllamaChatWire, OllamaEmbedWire, OllamaGenerateWire
from tokenrouter.adapters.outbound.ollama_relay import OllamaRelay
from tokenrouter.adapters.wire.ollama import OllamaEventDecoder, decode_answer
from tokenrouter.adapters.wire.ollama_writer import OllamaEventEncoder, encode_answer
from tokenrouter.catalog.loader import load_catalog
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import Answer, Choice, Finished, Reasoning, Spoken, ToolCall, fold, unfold
from tokenrouter.model.cache_plan import NO_PLAN
from tokenrouter.model.edits import DEFAULT_EDITS, TOOLS_ORDER
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.pipeline.arranger import arrange
from tokenrouter.pipeline.canonicalizer import Memo, canonicalize
from tokenrouter.pipeline.chunker import chunk

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8) | st.sampled_from(
    ['"done":true', '"content":""', '{"error":1}', "\\"]
)
objects = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(-5, 5) | texts | st.lists(st.floats(-9, 9)), max_size=2)
names = st.text("abcdef", min_size=1, max_size=3)
calls = st.builds(
    lambda name, arguments, more: {"function": {"name": name, "arguments": arguments, **more}}, names, objects, st.just({}) | st.just({"index": 0})
)
messages = st.builds(
    lambda role, content, more: {"role": role, "content": content, **more},
    st.sampled_from(["system", "user", "assistant", "tool"]),
    texts,
    st.fixed_dictionaries(
        {},
        optional={"images": st.lists(st.just("iVBORw0="), max_size=2), "tool_calls": st.lists(calls, max_size=2), "thinking": texts, "odd": objects},
    ),
)
tools = st.builds(
    lambda name, parameters: {"type": "function", "function": {"name": name, "parameters": parameters}},
    names,
    objects.map(lambda p: {"properties": p}),
)
options = st.fixed_dictionaries(
    {}, optional={"temperature": st.floats(0, 2), "seed": st.integers(-1, 9), "num_ctx": st.integers(1, 9), "stop": st.lists(texts)}
)
shared = {
    "stream": st.booleans(),
    "options": options,
    "format": st.sampled_from(["json", "", {"type": "object"}]),
    "think": st.sampled_from([True, False, "low"]),
    "keep_alive": st.sampled_from([0, "5m"]),
}
strange = st.dictionaries(st.text("xyz_", min_size=1, max_size=4).map("new_".__add__), objects | texts | st.integers(-(2**70), 2**70), max_size=2)
"""Fields that a newer server may know."""


@st.composite
def with_strange(draw, bodies):
    """Bodies with unknown fields at the top and among the options, in any order."""
    body = {**draw(bodies), **draw(strange)}
    if "options" in body:
        body["options"] |= draw(strange)
    return dict(draw(st.permutations(list(body.items()))))


chats = st.fixed_dictionaries(
    {"model": st.just("llama3.2"), "messages": st.lists(messages, max_size=4)}, optional={**shared, "tools": st.lists(tools, max_size=3)}
)
generations = st.fixed_dictionaries(
    {"model": st.just("llama3.2"), "prompt": texts},
    optional={
        **shared,
        "system": texts,
        "images": st.lists(st.just("iVBORw0="), max_size=2),
        "suffix": texts,
        "context": st.lists(st.integers(0, 9)),
    },
)
embeddings = st.fixed_dictionaries(
    {"model": st.just("m"), "input": texts | st.lists(texts, max_size=3)}, optional={"truncate": st.booleans(), "options": options}
)
requests = (
    st.tuples(st.just((OllamaChat(), OllamaChatWire())), with_strange(chats))
    | st.tuples(st.just((OllamaGenerate(), OllamaGenerateWire())), with_strange(generations))
    | st.tuples(st.just((OllamaEmbed(), OllamaEmbedWire())), with_strange(embeddings))
)
OLLAMA = load_catalog(settings(OLLAMA_URL="http://box:11434")).deployments["ollama"][0]


def send(dialect, wire, body, edits, model=None):
    envelope = dialect.parse(body)
    chunks, params = chunk(envelope, Memo(seed=1))
    canonical = canonicalize(arrange(chunks, sort_tools=TOOLS_ORDER in edits), params, NO_EDITS)
    named = load_catalog(settings(OLLAMA_URL="http://box")).resolve("ollama/" + (model or json.loads(body)["model"])).model
    return wire.native_request(envelope, canonical, named, OLLAMA, NO_PLAN, edits)


@given(requests, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_with_every_edit_off_the_very_bytes_pass(asked, indent, ascii_only):
    (dialect, wire), request = asked
    body = json.dumps(request, indent=indent, ensure_ascii=ascii_only).encode()
    sent = send(dialect, wire, body, NO_EDITS)
    assert sent.body is body
    assert sent.edits == ()


@given(requests, st.booleans())
def test_with_edits_only_what_is_named_changes(asked, renamed):
    (dialect, wire), request = asked
    body = json.dumps(request).encode()
    sent = send(dialect, wire, body, DEFAULT_EDITS, "other" if renamed else None)
    came, went = (msgspec.json.decode(data, type=dict[str, msgspec.Raw]) for data in (body, sent.body))
    assert list(came) == list(went)
    changed = {name for name in came if bytes(came[name]) != bytes(went[name])}
    assert changed == {name for name, edit in (("model", "model.name"), ("tools", "tools.order")) if edit in sent.edits}
    assert ("model.name" in sent.edits) == renamed
    assert ("chunks.empty" in sent.edits) == (dialect.operation == "generate" and request.get("stream") is not False)
    if "tools" in changed:
        before, after = (msgspec.json.decode(fields["tools"], type=list[msgspec.Raw]) for fields in (came, went))
        assert sorted(map(bytes, before)) == sorted(map(bytes, after))
        assert [json.loads(bytes(tool))["function"]["name"] for tool in after] == sorted(tool["function"]["name"] for tool in request["tools"])


def line(said, **more):
    return {"model": "m", "created_at": "2026-01-01T00:00:00.5Z", **said, "done": False, **more}


@st.composite
def streams(draw):
    """A whole stream of a vendor, chat or generation, its last line with or without a line end."""
    chat = draw(st.booleans())
    spaced = draw(st.booleans())
    lines = []
    for text in draw(st.lists(texts, max_size=6)):
        said = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
        if draw(st.integers(0, 4)) == 0:
            (said["message"] if chat else said)["thinking"] = draw(texts)
        if chat and draw(st.integers(0, 4)) == 0:
            said["message"]["tool_calls"] = [draw(calls)]
        lines.append(line(said))
    counts = draw(st.sampled_from([{}, {"prompt_eval_count": 3, "eval_count": 4}, {"eval_count": 4}]))
    reason = draw(st.sampled_from(["stop", "length", "load"]))
    empty = {"message": {"role": "assistant", "content": ""}} if chat else {"response": "", "context": [1, 2]}
    lines.append({**line(empty), "done": True, "done_reason": reason, **counts})
    separators = (", ", " : ") if spaced else (",", ":")
    data = b"".join(json.dumps(one, separators=separators, ensure_ascii=False).encode() + b"\n" for one in lines)
    return data if draw(st.booleans()) else data[:-1]


def run(tap, *pieces):
    out = b"".join([tap.feed(piece) for piece in pieces])
    out += tap.close()
    return out, tap.end, (tap.usage, tap.finished, tap.reusable, tap.failure)


@given(streams(), st.booleans())
def test_a_stream_cut_at_any_byte_is_the_same_stream(stream, drop):
    whole = run(OllamaRelay(drop_empty=drop), stream)
    assert whole[2][1]
    for cut in range(len(stream) + 1):
        assert run(OllamaRelay(drop_empty=drop), stream[:cut], stream[cut:]) == whole
    assert run(OllamaRelay(drop_empty=drop), *[stream[i : i + 1] for i in range(len(stream))]) == whole


@given(streams(), st.lists(st.integers(0, 2000), max_size=4))
def test_without_the_edit_every_byte_passes_and_with_it_only_empty_lines_are_missing(stream, cuts):
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(places)]
    out, end, facts = run(OllamaRelay(drop_empty=False), *pieces)
    assert out + end == stream
    thin, end_too, facts_too = run(OllamaRelay(drop_empty=True), *pieces)
    assert (end_too, facts_too) == (end, facts)
    kept = [one for one in out.splitlines(keepends=True) if not says_nothing(json.loads(one))]
    assert thin == b"".join(kept)
    assert fold(read(out + end)) == fold(read(thin + end))


def says_nothing(one):
    return one.get("message") == {"role": "assistant", "content": ""} or (one.get("response") == "" and "thinking" not in one)


def read(stream, *cuts):
    decoder = OllamaEventDecoder()
    events = []
    for a, b in pairwise([0, *cuts, len(stream)]):
        events += decoder.feed(stream[a:b])
    return events + decoder.finish()


@given(streams())
def test_a_decoder_reads_the_same_wherever_the_bytes_are_cut(stream):
    whole = read(stream)
    for cut in range(len(stream) + 1):
        assert read(stream, cut) == whole


@given(streams(), st.data())
def test_a_stream_that_lacks_its_end_is_never_a_whole_one(stream, data):
    body = stream.rstrip(b"\n")
    cut = data.draw(st.integers(0, len(body) - 1))
    tap = OllamaRelay(drop_empty=True)
    out = tap.feed(body[:cut]) + tap.close()
    assert (tap.finished, tap.end, tap.failure) == (False, b"", None)
    assert not out or out.endswith(b"\n")
    with pytest.raises(UpstreamTruncated):
        read(body[:cut])


@given(st.lists(texts, max_size=3), texts.filter(bool), st.booleans())
def test_an_error_line_is_a_failure_in_the_vendors_words(said, words, native):
    stream = b"".join(json.dumps(line({"message": {"role": "assistant", "content": text}})).encode() + b"\n" for text in said)
    stream += json.dumps({"error": words}).encode() + b"\n"
    tap = OllamaRelay(drop_empty=False)
    tap.feed(stream)
    tap.close()
    assert (tap.failure, tap.finished) == (words, False)
    assert read(stream)[-1].message == words


@given(st.sampled_from([b"<html>", b"data: {}\n\n", b'"x"\n', b"[1]\n", b"nonsense\n"]))
def test_something_else_than_lines_of_objects_is_the_vendors_fault(data):
    with pytest.raises(UpstreamFailed):
        OllamaRelay(drop_empty=False).feed(data + b"\n")
    with pytest.raises(UpstreamFailed):
        OllamaEventDecoder().feed(data + b"\n")


arguments = objects.map(lambda value: json.dumps(value, ensure_ascii=False))
blocks = st.lists(
    st.builds(Spoken, texts.filter(bool))
    | st.builds(Reasoning, texts.filter(bool))
    | st.builds(ToolCall, names.map("call_".__add__), names, arguments),
    max_size=4,
)
usages = st.builds(lambda i, o: Usage(fresh_input=i, output=o, cache_reported=False), st.integers(0, 99), st.integers(0, 99)) | st.just(NO_USAGE)


@st.composite
def answers(draw):
    """What an Ollama model can say: in the order of this wire, thinking, text, calls."""
    drawn = draw(blocks)
    thought = "".join(block.text for block in drawn if isinstance(block, Reasoning))
    said = "".join(block.text for block in drawn if isinstance(block, Spoken))
    called = [block for block in drawn if isinstance(block, ToolCall)]
    made = (*([Reasoning(thought)] if thought else []), *([Spoken(said)] if said else []), *called)
    stop = draw(st.sampled_from(["length", "content_filter", "tool_calls" if called else "stop"]))
    return Answer("id", draw(names), draw(st.integers(1, 10**9)), (Choice(made, stop),), draw(usages))


def as_read(answer):
    return answer.model, answer.created_s, answer.choices, answer.usage


@given(answers())
def test_what_is_written_whole_is_read_again(answer):
    assert as_read(decode_answer(encode_answer(answer, "chat"))) == as_read(answer)


@given(answers(), st.data())
def test_what_is_streamed_is_read_again(answer, data):
    encoder = OllamaEventEncoder("chat", 5)
    stream = b"".join([encoder.encode(event) for event in unfold(answer)]) + encoder.close()
    assert as_read(fold(read(stream))) == as_read(answer)
    assert [json.loads(one)["done"] for one in stream.splitlines()] == [False] * (stream.count(b"\n") - 1) + [True]
    tap = OllamaRelay(drop_empty=True)
    assert tap.feed(stream) + tap.close() + tap.end == stream
    assert isinstance(read(stream)[-1] if not answer.usage.reported else read(stream)[-2], Finished)
