"""`volatile.known` on translated requests: known per-request lines never reach an upstream that would read them as prompt."""

import json

import msgspec
import pytest
from support import DIALECT, OPUS, catalog, plan, resolve, see

from tokenrouter.adapters.known import known_wires
from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.conversation import Conversation, Text, Turn
from tokenrouter.model.edits import DEFAULT_EDITS, VOLATILE_KNOWN
from tokenrouter.model.volatile import Volatile
from tokenrouter.upstream.known_lines import drop_lines
from tokenrouter.upstream.lane import Asked
from tokenrouter.upstream.lanes import open_lane

LINE = "x-anthropic-billing-header: cch=%s;"
KNOWN = [Volatile("a", "x-a:")]


def sent(messages, *, keeps=(), edits=DEFAULT_EDITS):
    """What a translating wire sends to a host that keeps no such line (or `keeps` some)."""
    seen = see({"model": "m", "messages": messages}, edits=edits)
    target = resolve(OPUS)
    deployment = msgspec.structs.replace(target.deployments[0], keeps_volatile=keeps)
    asked = Asked(
        envelope=seen.envelope,
        canonical=seen.canonical,
        params=seen.params,
        model=target.model,
        deployment=deployment,
        plan=plan(seen, target),
        edits=edits,
        volatile=catalog().volatile,
    )
    return open_lane(asked, DIALECT, known_wires(catalog().volatile), created_s=0).outgoing


def messages(content):
    return [{"role": "system", "content": content}, {"role": "user", "content": "hi"}]


def system(outgoing):
    return [block["text"] for block in json.loads(outgoing.body)["system"]]


def test_a_known_line_is_dropped_and_the_edit_is_named():
    out = sent(messages(LINE % 1 + "\nBe kind."))
    assert system(out) == ["Be kind."]
    assert VOLATILE_KNOWN in out.edits


def test_a_part_that_held_nothing_else_goes_with_its_line():
    out = sent(messages([{"type": "text", "text": LINE % 1}, {"type": "text", "text": "Be kind."}]))
    assert system(out) == ["Be kind."]
    assert "system" not in json.loads(sent(messages(LINE % 1)).body)


@pytest.mark.parametrize("how", [{"keeps": ("claude-code.attribution",)}, {"edits": DEFAULT_EDITS - {VOLATILE_KNOWN}}])
def test_it_stays_where_the_upstream_handles_it_or_the_edit_is_off(how):
    out = sent(messages(LINE % 1 + "\nBe kind."), **how)
    assert system(out) == [LINE % 1 + "\nBe kind."]
    assert VOLATILE_KNOWN not in out.edits


def test_only_opening_system_messages_are_looked_at():
    late = [{"role": role, "content": LINE % number} for number, role in enumerate(("system", "assistant", "user"), 1)]
    out = sent([*messages("S"), *late])
    assert [LINE % number in out.body.decode() for number in (1, 2, 3)] == [True] * 3
    assert VOLATILE_KNOWN not in out.edits


def test_a_conversation_without_such_lines_is_left_alone():
    conversation = Conversation(turns=(Turn("system", (Text("S"),), 0), Turn("user", (Text("x-a: 1"),), 1)))
    assert drop_lines(conversation, CachePlan(), [KNOWN, KNOWN]) is None
    assert drop_lines(conversation, CachePlan(), [[], []]) is None


def test_marks_stay_on_the_parts_that_they_stood_on():
    turns = (Turn("system", (Text("x-a: 1"), Text("one"), Text("x-a: 2\ntwo")), 0), Turn("user", (Text("hi"),), 1))
    points = [Breakpoint("a_tools", 0, 2), *[Breakpoint("b_messages", 0, part) for part in (-1, 0, 1, 2)], Breakpoint("b_messages", 1, 2)]
    found = drop_lines(Conversation(turns=turns), CachePlan(tuple(points), "key"), [KNOWN, KNOWN])
    assert found is not None
    conversation, moved = found
    assert conversation.turns == (Turn("system", (Text("one"), Text("two")), 0), turns[1])
    assert moved.breakpoints == (
        Breakpoint("a_tools", 0, 2),
        Breakpoint("b_messages", 0, -1),
        Breakpoint("b_messages", 0, 0),
        Breakpoint("b_messages", 0, 1),
        Breakpoint("b_messages", 1, 2),
    )
    assert moved.affinity == "key"


def test_a_turn_of_nothing_else_goes_as_a_whole():
    found = drop_lines(Conversation(turns=(Turn("system", (Text("x-a: 1"),), 0), Turn("user", (Text("hi"),), 1))), CachePlan(), [KNOWN])
    assert found is not None
    assert [turn.source for turn in found[0].turns] == [1]
