"""Gemini's native lane: nothing but the published edits goes up, one question has one identity, and streams cut anywhere are never whole."""

import json
from itertools import pairwise

import msgspec
import pytest
from chat_requests import deep_copy
from gemini_requests import Spelled, chunk_streams, contents, framed, functions, requests
from hypothesis import given
from hypothesis import strategies as st
from support import NO_EDITS, SEED, TENANT, as_body, catalog

from tokenrouter.adapters.inbound.gemini import GeminiGenerate
from tokenrouter.adapters.inbound.gemini_count import GeminiCount
from tokenrouter.adapters.inbound.gemini_embed import GeminiEmbed
from tokenrouter.adapters.known import known_wires
from tokenrouter.adapters.outbound.gemini_relay import GeminiRelay
from tokenrouter.adapters.wire.gemini import GeminiEventDecoder
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.cache_plan import NO_PLAN
from tokenrouter.model.edits import DEFAULT_EDITS, TOOLS_ORDER
from tokenrouter.pipeline.arranger import arrange
from tokenrouter.pipeline.canonicalizer import Memo, canonicalize
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.pipeline.hasher import answer_identity, prefix_chain

MODEL, EMBEDDER = "gemini-2.5-pro", "gemini-embedding-001"
DIALECTS = {
    **dict.fromkeys(("generateContent", "streamGenerateContent"), GeminiGenerate()),
    "countTokens": GeminiCount(),
    **dict.fromkeys(("embedContent", "batchEmbedContents"), GeminiEmbed()),
}
METHODS = [("generateContent", ""), ("streamGenerateContent", "alt=sse"), ("streamGenerateContent", "")]
FRAMINGS = ["", "array"]


class Asked:
    """One request through the pipeline to the wire of its own dialect."""

    def __init__(self, body: bytes, method: str = "generateContent", query: str = "", *, model: str = MODEL, edits=DEFAULT_EDITS) -> None:
        dialect = DIALECTS[method]
        self.target = catalog().resolve(model)
        outside = {":model": model, ":method": method, **({":query": query} if query else {})}
        self.envelope = dialect.parse(body, outside)
        chunks, self.params = chunk(self.envelope, Memo(seed=SEED), catalog().volatile)
        self.canonical = canonicalize(arrange(chunks, sort_tools=TOOLS_ORDER in edits), self.params, frozenset())
        self.wire = known_wires(catalog().volatile)[dialect.dialect]
        self.sent = self.wire.native.native_request(
            self.envelope, self.canonical, self.target.model, self.target.deployments[0], NO_PLAN, frozenset(edits)
        )

    @property
    def identity(self) -> bytes:
        return answer_identity(self.canonical, tenant=TENANT, model=MODEL, dialect=self.envelope.dialect)

    @property
    def chain(self) -> tuple[bytes, ...]:
        return prefix_chain(self.canonical, tenant=TENANT, model=MODEL, seed=SEED)


# requests


@pytest.mark.parametrize(("method", "query"), METHODS)
@given(request=requests(), random=st.randoms(use_true_random=False))
def test_with_all_edits_off_the_body_is_the_very_body_that_came(method, query, request, random):
    body = Spelled(random).write(request).encode()
    sent = Asked(body, method, query, edits=NO_EDITS).sent
    assert sent.body is body
    assert (sent.edits, sent.dropped) == ((), ())
    assert sent.path == f"/models/{MODEL}:{method}" + (f"?{query}" if query else "")


@given(requests(), st.randoms(use_true_random=False))
def test_a_prompt_to_be_counted_goes_up_as_it_came(request, random):
    body = Spelled(random).write({name: request[name] for name in ("contents", "tools") if name in request}).encode()
    whole = Spelled(random).write({"generateContentRequest": {**request, "model": f"models/{MODEL}"}, "u_x": 1.0}).encode()
    for one in (body, whole):
        asked = Asked(one, "countTokens")
        assert asked.sent.body == one
        assert asked.sent.path == f"/models/{MODEL}:countTokens"


@given(st.lists(st.text(max_size=9), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_texts_to_be_embedded_go_up_as_they_came(inputs, random):
    pieces = [{"content": {"parts": [{"text": text}]}, "taskType": "CLUSTERING", "u_x": {"a": [1.0]}} for text in inputs]
    for method, request in (("embedContent", pieces[0]), ("batchEmbedContents", {"requests": pieces, "u_y": 1e3})):
        body = Spelled(random).write(request).encode()
        sent = Asked(body, method, model=EMBEDDER).sent
        assert sent.body == body
        assert sent.path == f"/models/{EMBEDDER}:{method}"


NAMES = ("functionDeclarations", "function_declarations")


def plain(body: bytes) -> tuple[dict, list[str]]:
    """A request without its tools; and what these offer, in one order."""
    request = json.loads(body)
    offered: list[object] = []
    for entry in request.pop("tools", []):
        for name, inner in entry.items():
            offered += [{"function": one} for one in inner] if name in NAMES else [{name: inner}]
    return request, sorted(map(json.dumps, offered))


@given(requests(), st.randoms(use_true_random=False))
def test_with_all_edits_on_nothing_moves_but_tools_and_what_is_not_touched_keeps_its_bytes(request, random):
    body = Spelled(random).write({**request, "x-ours": {"a": 1}}).encode()
    asked = Asked(body)
    came, went = (msgspec.json.decode(data, type=dict[str, msgspec.Raw]) for data in (body, asked.sent.body))
    assert [name for name in came if name != "x-ours"] == list(went)
    assert {name: bytes(raw) for name, raw in went.items() if name != "tools"} == {
        name: bytes(raw) for name, raw in came.items() if name not in ("tools", "x-ours")
    }
    del came["x-ours"]
    assert plain(asked.sent.body) == plain(msgspec.json.encode(came))
    assert set(asked.sent.edits) <= {"tools.order", "extensions.strip"}
    assert "extensions.strip" in asked.sent.edits


@given(requests(), st.sampled_from([NO_EDITS, DEFAULT_EDITS]))
def test_a_changed_body_names_its_edits_and_an_unchanged_one_names_none(request, edits):
    body = as_body(request)
    sent = Asked(body, edits=edits).sent
    assert bool(sent.edits) == (sent.body != body)


@given(st.lists(functions, min_size=1, max_size=4, unique_by=lambda one: one["name"]), st.booleans(), st.randoms(use_true_random=False))
def test_one_order_of_functions_whatever_the_order_that_came(offered, snaky, random):
    name = "function_declarations" if snaky else "functionDeclarations"
    shuffled = list(offered)
    random.shuffle(shuffled)
    tools = [[{name: given}] for given in (offered, shuffled)]
    sent = [json.loads(Asked(as_body({"contents": [{"parts": [{"text": "a"}]}], "tools": one})).sent.body)["tools"] for one in tools]
    assert sent[0] == sent[1]


@given(requests(), st.randoms(use_true_random=False))
def test_every_spelling_is_the_same_question(request, random):
    one, other = (Asked(Spelled(random).write(deep_copy(request)).encode()) for _ in range(2))
    assert one.identity == other.identity
    assert one.params.answer_bytes == other.params.answer_bytes


@given(requests(), st.data())
def test_another_value_anywhere_is_another_question(request, data):
    """Labels are bookkeeping. All that a part, a function or a config says counts, known or not."""
    request.pop("labels", None)
    places = [("contents", place) for place in range(len(request["contents"]))]
    places += [(name, None) for name in ("systemInstruction", "generationConfig") if name in request]
    name, place = data.draw(st.sampled_from(places))
    changed = deep_copy(request)
    target = changed[name] if place is None else changed[name][place]
    target["u_another"] = "value"
    assert Asked(as_body(changed)).identity != Asked(as_body(request)).identity


@given(requests(), st.lists(contents, min_size=1, max_size=2))
def test_a_conversation_that_grows_keeps_the_beginning_of_its_chain_and_its_bytes(request, more):
    before = Asked(as_body(request))
    after = Asked(as_body({**request, "contents": [*request["contents"], *more]}))
    assert after.chain[: len(before.chain)] == before.chain
    sent = [msgspec.json.decode(one.sent.body, type=dict[str, msgspec.Raw])["contents"] for one in (before, after)]
    assert bytes(sent[1]).startswith(bytes(sent[0])[:-1])


# streams


def tapped(framing: str, choices: int, *pieces: bytes):
    tap = GeminiRelay(framing=framing, choices=choices)
    out = b"".join(map(tap.feed, pieces)) + tap.close()
    return out, tap.end, tap.usage, tap.finished, tap.reusable, tap.failure


def decoded(framing: str, *pieces: bytes):
    """Everything that was said, with pieces of text joined."""
    decoder = GeminiEventDecoder(framing)
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()


@pytest.mark.parametrize("framing", FRAMINGS)
@given(data=st.data())
def test_a_stream_cut_into_pieces_anywhere_is_the_same_stream(framing, data):
    choices = data.draw(st.integers(1, 2))
    stream, _ = data.draw(framed(data.draw(chunk_streams(choices)), framing))
    whole = tapped(framing, choices, stream)
    assert whole[0] + whole[1] == stream
    assert whole[2].reported
    assert (whole[3], whole[5]) == (True, None)
    assert whole[4] == (stream.count(b'"STOP"') == choices)
    events = decoded(framing, stream)
    for cut in range(len(stream) + 1):
        assert tapped(framing, choices, stream[:cut], stream[cut:]) == whole
    assert tapped(framing, choices, *[stream[at : at + 1] for at in range(len(stream))]) == whole
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4))), len(stream)]
    assert decoded(framing, *[stream[start:end] for start, end in pairwise(cuts)]) == events


@pytest.mark.parametrize("framing", FRAMINGS)
@given(data=st.data())
def test_a_stream_that_is_cut_off_at_any_byte_is_never_at_its_end_and_its_usage_is_the_last_that_came(framing, data):
    choices = data.draw(st.integers(1, 2))
    chunks = data.draw(chunk_streams(choices))
    stream, complete = data.draw(framed(chunks, framing))
    end = complete[-1] if not framing else len(stream)
    told = [json.loads(one).get("usageMetadata", {}).get("promptTokenCount") for one in chunks]
    for cut in range(end):
        out, last, usage, finished, _, failure = tapped(framing, choices, stream[:cut])
        assert (finished, last, failure) == (False, b"", None), stream[:cut][-60:]
        assert stream.startswith(out) or (not framing and stream.startswith(out.rstrip()))
        seen = [tokens for tokens, place in zip(told, complete, strict=True) if place <= cut and tokens is not None]
        passed = [tokens for tokens, place in zip(told, complete, strict=True) if place < cut - 4 and tokens is not None]
        assert (usage.input_total if usage.reported else None) in ({*seen[-1:], *passed[-1:]} or {None})
        if choices == 1:  # translations ask for one
            with pytest.raises(UpstreamTruncated):
                decoded(framing, stream[:cut])


@pytest.mark.parametrize("framing", FRAMINGS)
@given(data=st.data())
def test_an_error_at_any_place_ends_the_stream_and_does_not_pass(framing, data):
    chunks = data.draw(chunk_streams())
    at = data.draw(st.integers(0, len(chunks)))
    stream, _ = data.draw(framed([*chunks[:at], '{"error":{"code":503,"message":"overloaded"}}', *chunks[at:]], framing))
    cut = data.draw(st.integers(0, len(stream)))
    out, last, _, finished, reusable, failure = tapped(framing, 1, stream[:cut], stream[cut:])
    assert (finished, reusable, failure) == (False, False, "overloaded")
    assert b"overloaded" not in out + last


@pytest.mark.parametrize("framing", FRAMINGS)
@given(st.binary(max_size=60) | st.text(alphabet='data:{}[]",\n candidatesfinishReason').map(str.encode), st.integers(0, 60))
def test_bytes_that_are_no_stream_fail_or_are_never_at_their_end(framing, data, cut):
    try:
        assert tapped(framing, 1, data[:cut], data[cut:])[3] is False
    except UpstreamFailed:
        return
