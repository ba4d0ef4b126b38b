"""Plans that a vendor accepts, whatever a policy wishes and whatever marks the client sent."""

import json

from chat_requests import deep_copy, plain_requests
from fixed_marks import FixedPolicy
from hypothesis import assume, given
from hypothesis import strategies as st
from support import GPT, HAIKU, OPUS, SOL, as_body, catalog, marks_in, render, see

from tokenrouter.errors import InvalidRequest
from tokenrouter.model.cache_plan import Breakpoint, PromptCacheLimits
from tokenrouter.pipeline.cache_injector import _position, _rendered, _tokens_before, client_marks, plan_cache

FILLER = "word " * 1_700
LIMITS = [
    PromptCacheLimits(style="marks", max_marks=4, min_tokens=1024, lookback=20, lifetimes_s=(300, 3600), on_tools=True, parts_alike=True),
    PromptCacheLimits(style="marks", max_marks=4, min_tokens=40, lookback=20, lifetimes_s=(300, 3600), on_tools=True, parts_alike=True),
    PromptCacheLimits(style="marks", max_marks=2, min_tokens=0, lifetimes_s=(300,)),
    PromptCacheLimits(style="breakpoints", max_marks=4, min_tokens=40, lookback=50, lifetimes_s=(1800, 43200), parts_alike=True),
    PromptCacheLimits(style="automatic", min_tokens=1024),
    PromptCacheLimits(),
]
MARKS = [
    ("cache_control", {"type": "ephemeral"}),
    ("cache_control", {"type": "ephemeral", "ttl": "1h"}),
    ("cache_control", {"type": "ephemeral", "ttl": "5m"}),
    ("prompt_cache_breakpoint", {"mode": "explicit"}),
    ("prompt_cache_breakpoint", {"mode": "explicit", "ttl": "12h"}),
]


@st.composite
def marked_requests(draw, most=5):
    """Requests with marks of the client's at random places, some texts made long."""
    request = draw(plain_requests())
    messages = request["messages"]
    if draw(st.booleans()):
        place = draw(st.sampled_from(messages))
        if isinstance(place["content"], str):
            place["content"] += FILLER
    places = [*messages, *request.get("tools", [])]
    places += [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    for place in draw(st.lists(st.sampled_from(places), max_size=most)):
        name, mark = draw(st.sampled_from(MARKS))
        place[name] = mark
    return request


class Wishing:
    """A policy that wishes at random."""

    def __init__(self, wishes):
        self._wishes = wishes

    def wishes(self, canonical, limits):
        return self._wishes


@st.composite
def wishes_for(draw, canonical):
    made = []
    for _ in range(draw(st.integers(0, 8))):
        lifetime = draw(st.sampled_from([0, 0, 300, 3600]))
        if canonical.tools and draw(st.booleans()):
            made.append(Breakpoint("a_tools", draw(st.integers(0, len(canonical.tools) - 1)), -1, lifetime))
        else:
            made.append(Breakpoint("b_messages", draw(st.integers(0, len(canonical.messages) - 1)), -1, lifetime))
    return tuple(made)


@given(marked_requests(), st.sampled_from(LIMITS), st.booleans(), st.data())
def test_a_plan_keeps_every_rule_of_the_vendor_and_every_mark_of_the_client(request, limits, fixed, data):
    canonical = see(request).canonical
    wishes = FixedPolicy().wishes(canonical, limits) if fixed else data.draw(wishes_for(canonical))
    try:
        plan = plan_cache(canonical, limits, wishes, "key")
    except InvalidRequest:
        marks = client_marks(canonical, limits)
        long = [mark.lifetime_s >= 3600 for mark in sorted(marks, key=_rendered)]
        assert len(marks) > limits.max_marks or (long != sorted(long, reverse=True) and limits.style == "marks")
        return
    points = plan.breakpoints
    assert plan.affinity == "key"
    if limits.style not in ("marks", "breakpoints"):
        assert points == ()
        return
    most = limits.max_marks if limits.style == "marks" else max(limits.max_marks, len(client_marks(canonical, limits)))
    assert len(points) <= most, "that vendor limits what it writes, not what a client marks"
    assert list(points) == sorted(points, key=_rendered)
    assert len({_position(canonical, mark) for mark in points}) == len(points), "two marks at one place"
    own = [mark for mark in points if mark.origin == "client"]
    assert own == client_marks(canonical, limits), "a mark of the client's is gone, or lives longer than asked"
    before = _tokens_before(canonical)
    for mark in points:
        if mark.origin == "gateway":
            assert before[mark.section, mark.index] >= limits.min_tokens
            assert (canonical.tools if mark.section == "a_tools" else canonical.messages)[mark.index].markable
            assert mark.section == "b_messages" or limits.on_tools
    if limits.style == "marks":
        long = [mark.lifetime_s >= 3600 for mark in points]
        assert long == sorted(long, reverse=True), "a short lifetime before a long one"


@given(plain_requests(), st.sampled_from(LIMITS))
def test_without_a_wish_and_without_marks_there_is_nothing_to_mark(request, limits):
    assert plan_cache(see(request).canonical, limits, (), None).breakpoints == ()


@given(marked_requests(most=3), st.sampled_from([OPUS, HAIKU]), st.data())
def test_what_reaches_anthropic_has_four_marks_at_most_and_none_where_it_is_refused(request, model, data):
    seen = see(request)
    policy = Wishing(data.draw(wishes_for(seen.canonical))) if data.draw(st.booleans()) else FixedPolicy()
    try:
        sent = render(seen, model, policy=policy)
    except InvalidRequest:
        return
    body = json.loads(sent.body)
    marks = marks_in(body)
    assert len(marks) <= 4
    kept = client_marks(seen.canonical, catalog().resolve(model).model.cache)
    assert len(marks) >= len({mark.index if mark.section == "b_messages" else -1 - mark.index for mark in kept})
    for block, mark in marks:
        assert mark in ({"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"})
        assert block.get("type") not in ("thinking", "redacted_thinking")
        assert block.get("text") != ""
    ttls = [mark.get("ttl") == "1h" for part in ("tools", "system", "messages") for _, mark in marks_in(body.get(part))]
    assert ttls == sorted(ttls, reverse=True)
    assert ("marks.plan" in sent.edits) or len(marks) <= len(kept)


@given(marked_requests(most=4), st.sampled_from([GPT, SOL, "openrouter/anthropic/claude-x", "dashscope/qwen-max", "deepseek-chat"]))
def test_what_reaches_a_chat_wire_has_marks_in_its_own_words_and_none_where_it_knows_none(request, model):
    try:
        body = json.loads(render(request, model).body)
    except InvalidRequest:
        return
    spelled = {name for block, _ in marks_in(body) for name in ("cache_control", "prompt_cache_breakpoint") if name in block}
    field = {"openrouter": "cache_control", "dashscope": "cache_control", "deepseek-chat": ""}.get(model.split("/")[0], "prompt_cache_breakpoint")
    assert spelled <= {field}


@given(marked_requests(most=2), st.sampled_from([SOL, "openrouter/anthropic/claude-x"]))
def test_translated_marks_are_within_the_limit_of_a_chat_wire(request, model):
    try:
        sent = render(request, model)
    except InvalidRequest:
        return
    assert len(marks_in(json.loads(sent.body)["messages"])) <= 4


@given(plain_requests(), st.randoms(use_true_random=False), st.sampled_from([OPUS, "openrouter/anthropic/claude-x"]))
def test_a_clients_mark_on_the_last_tool_stays_on_the_last_tool(request, random, model):
    tools = request.get("tools", [])
    assume(len(tools) > 1)
    shuffled = deep_copy(request)
    random.shuffle(shuffled["tools"])
    shuffled["tools"][-1]["cache_control"] = {"type": "ephemeral"}
    sent = json.loads(render(as_body(shuffled), model).body)["tools"]
    assert [("cache_control" in tool) for tool in sent] == [False] * (len(tools) - 1) + [True]
