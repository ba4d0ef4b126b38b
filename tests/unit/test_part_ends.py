"""Ends of content parts inside a message: boundaries that other requests may share."""

import json

import msgspec
import pytest

from tokenrouter.adapters.known import known_dialects
from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.chunk import Arranged
from tokenrouter.model.prefix import CacheScope, Sight
from tokenrouter.pipeline.canonicalizer import Memo, canonicalize
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.pipeline.hasher import prefix_chain
from tokenrouter.serving.sighting import sight_of

MARKS = PromptCacheLimits(style="marks", max_marks=4, min_tokens=1000, lookback=20, lifetimes_s=(300, 3600), on_tools=True)
DOCUMENT, OTHER = "A document about bridges. " * 40, "A document about harbors. " * 40
WORDS = {"anthropic-messages": ("text", "messages"), "openai-chat": ("text", "messages"), "openai-responses": ("input_text", "input")}


def body(dialect: str, *parts: object, role: str = "user") -> bytes:
    kind, place = WORDS[dialect]
    said = [part if isinstance(part, dict) else {"type": kind, "text": part} for part in parts]
    extra = {"type": "message"} if dialect == "openai-responses" else {}
    return json.dumps({"model": "m", "max_tokens": 9, place: [{**extra, "role": role, "content": said}]}).encode()


def sight(dialect: str, data: bytes, limits: PromptCacheLimits = MARKS) -> Sight:
    spoken = known_dialects()[dialect]
    chunks, params = chunk(spoken.parse(data, {}), Memo(1))
    canonical = canonicalize(Arranged(chunks, None), params, frozenset())
    chain = prefix_chain(canonical, tenant="acme", model="v/m", seed=3)
    return sight_of(canonical, limits, chain, CacheScope("acme", "account", "v/m"))


@pytest.mark.parametrize("dialect", WORDS)
def test_requests_that_share_the_first_part_of_a_message_share_a_boundary(dialect: str):
    one, two = (sight(dialect, body(dialect, DOCUMENT, question)) for question in ("How long?", "How high?"))
    assert len(one.links) == len(two.links) == 2
    assert one.links[0] == two.links[0]
    assert one.links[1] != two.links[1]
    assert sight(dialect, body(dialect, OTHER, "How long?")).links[0] != one.links[0]
    point = one.breakpoint(0, 300)
    assert (point.section, point.index, point.part, point.lifetime_s) == ("b_messages", 0, 0, 300)
    assert one.breakpoint(1).part == -1


@pytest.mark.parametrize("dialect", WORDS)
def test_marks_are_no_part_of_a_boundary_and_are_found_inside_of_messages(dialect: str):
    kind, _ = WORDS[dialect]
    spelling = {"cache_control": {"type": "ephemeral"}} if dialect == "anthropic-messages" else {"prompt_cache_breakpoint": {"mode": "explicit"}}
    plain = sight(dialect, body(dialect, DOCUMENT, OTHER, "How long?"))
    marked = sight(dialect, body(dialect, DOCUMENT, {"type": kind, "text": OTHER, **spelling}, "How long?"))
    assert marked.links == plain.links
    assert [boundary for boundary, _ in marked.marks] == [1]


def test_tokens_and_blocks_of_a_message_are_those_of_its_boundaries_together():
    whole = sight("anthropic-messages", body("anthropic-messages", DOCUMENT, OTHER, "How long?"), msgspec.structs.replace(MARKS, style="automatic"))
    cut = sight("anthropic-messages", body("anthropic-messages", DOCUMENT, OTHER, "How long?"))
    assert (len(whole.links), len(cut.links)) == (1, 3)
    assert (sum(cut.tokens), sum(cut.blocks)) == (whole.tokens[0], whole.blocks[0])
    assert cut.links[-1] == whole.links[-1]


def test_short_parts_go_with_their_neighbors_and_of_many_the_first_and_the_last_count():
    short = sight("anthropic-messages", body("anthropic-messages", "Hello.", DOCUMENT, "How long?"))
    assert [part for _, _, part in short.inner] == [1]
    many = sight("anthropic-messages", body("anthropic-messages", *[f"{number} {DOCUMENT}" for number in range(12)], "How long?"))
    assert [part for _, _, part in many.inner] == [0, 9, 10, 11]


def test_results_of_calls_and_what_the_model_said_have_no_boundaries_inside():
    result = {"type": "tool_result", "tool_use_id": "t", "content": DOCUMENT}
    assert not sight("anthropic-messages", body("anthropic-messages", result, DOCUMENT, "Go on.")).inner
    assert not sight("anthropic-messages", body("anthropic-messages", DOCUMENT, OTHER, role="assistant")).inner
