"""A text behind an opened conversation: which turn holds it, and where breakpoints go."""

import pytest
from support import DIALECT, settings

from tokenrouter.adapters.inbound.anthropic import AnthropicMessagesDialect
from tokenrouter.adapters.known import known_wires
from tokenrouter.catalog.loader import load_catalog
from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.conversation import Call, Conversation, Result, Text, ToolCall, Turn
from tokenrouter.model.volatile import Behind
from tokenrouter.upstream.behind import say_behind
from tokenrouter.upstream.lanes import says_behind

SYSTEM = Turn("system", (Text("rules"),), 0)
USER = Turn("user", (Text("one"), Text("two")), 1)
CALLS = Turn("assistant", (Call(ToolCall(id="c", name="f", arguments="{}")),), 2)
RESULT = Turn("tool", (Result("c", (Text("3"),)),), 3)
BESIDE = Turn("user", (Text("and"),), 3)
PLAN = CachePlan((Breakpoint("a_tools", 1), Breakpoint("b_messages", 0), Breakpoint("b_messages", 1), Breakpoint("b_messages", 3)), "key", "explicit")


@pytest.mark.parametrize("turns", [(SYSTEM, USER), (SYSTEM, USER, CALLS, RESULT), (SYSTEM, USER, CALLS, RESULT, BESIDE)])
def test_a_system_message_is_a_turn_of_its_own_that_no_breakpoint_points_to(turns):
    made, plan = say_behind(Conversation(turns=turns), PLAN, Behind("now", as_system=True))
    assert made.turns[:-1] == turns
    assert (made.turns[-1].role, made.turns[-1].blocks) == ("system", (Text("now"),))
    assert made.turns[-1].source not in [point.index for point in plan.breakpoints]
    assert plan == PLAN


def test_behind_tool_results_it_is_a_message_of_the_users():
    made, plan = say_behind(Conversation(turns=(SYSTEM, USER, CALLS, RESULT)), PLAN, Behind("now", as_system=False))
    assert (made.turns[:-1], made.turns[-1]) == ((SYSTEM, USER, CALLS, RESULT), Turn("user", (Text("now"),), 4))
    assert plan == PLAN


@pytest.mark.parametrize(("turns", "source", "part"), [((SYSTEM, USER), 1, 1), ((SYSTEM, USER, CALLS, RESULT, BESIDE), 3, 1)])
def test_in_the_users_newest_message_it_is_the_last_part_and_breakpoints_stay_in_front_of_it(turns, source, part):
    made, plan = say_behind(Conversation(turns=turns), PLAN, Behind("now", as_system=False))
    assert made.turns[:-1] == turns[:-1]
    assert made.turns[-1].blocks == (*turns[-1].blocks, Text("now"))
    moved = [(was, point) for was, point in zip(PLAN.breakpoints, plan.breakpoints, strict=True) if was != point]
    assert moved == [(Breakpoint("b_messages", source), Breakpoint("b_messages", source, part))]
    assert (plan.affinity, plan.writing) == ("key", "explicit")


def test_a_host_that_refuses_users_behind_tool_results_gets_none_there():
    (host,) = load_catalog(settings(MISTRAL_API_KEY="k")).resolve("mistral/any").deployments
    for dialect in (DIALECT, AnthropicMessagesDialect()):
        assert says_behind(host, dialect, known_wires(()), results=False)
        assert not says_behind(host, dialect, known_wires(()), results=True)
