"""Slots of volatile text are found by evidence, named the same everywhere, counted, priced and ranked."""

import copy
import random

import pytest
from desk import LIFETIME_S, RATES, Asked, Desk
from injecting import set_system, system_place
from talks import DIALECTS, body, ends, system_text, talk

from tokenrouter.prefixes.diagnosis import Context, diagnose
from tokenrouter.prefixes.volatile import Slots

KINDS = {
    "time": [f"It is {hour}:4{hour % 10} now, {'be quick' if hour < 0 else 'be exact'}." for hour in range(10, 20)],
    "uuid": [f"Session: {number:08x}-1111-4222-8333-00000000{number:04x}" for number in range(10)],
    "counter": [f"This is turn {number} of many." for number in range(3, 13)],
    "path": [f"Working directory: /home/{name}/work" for name in "abcdefghij"],
}


class Watching(Desk):
    """Learns slots as the gateway does."""

    def __init__(self, **more):
        super().__init__(**more)
        self.slots = Slots()

    def answer(self, started):
        _asked, now, usage = started
        past = self.sessions.before(now)
        context = Context(usage=usage, rates=RATES, lifetime_s=LIFETIME_S, minimum=self.minimum)
        found = diagnose(past, now, context)
        self.slots.learn(past, now, found, context)
        self.sessions.keep(now, ready_ns=now.at_ns + 1, cached=usage.input_total, total=usage.input_total)
        return found


def watched(lines_of, *, dialect="openai-chat", conversations=10, tail=20, shared=0):
    """One app, whose system text has a line that `lines_of[i]` fills for the i-th conversation; two requests of each."""
    desk = Watching()
    head, rest = system_text(random.Random(1), 6), system_text(random.Random(2), tail)
    for number in range(conversations):
        said = talk(number, app=shared, tools=5, rounds=2)
        for step, upto in enumerate(ends(said)[:2]):
            request = copy.deepcopy(body(said, dialect, upto))
            set_system(request, "\n".join([head, *[line[number] for line in lines_of], rest]))
            desk.ask(Asked(dialect, request, 1000.0 + 40 * number + 10 * step, session=f"s{number}"))
    return desk


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_slot_is_found_named_and_priced(kind, dialect):
    desk = watched([KINDS[kind]], dialect=dialect)
    (slot,) = desk.slots.report("tenant-a")
    assert slot.kind in (kind, "session")
    assert (slot.count, slot.distinct) == (9, 10)
    assert slot.path == system_place(dialect)
    assert slot.line == 7
    assert slot.edit == "volatile.relocate"
    assert slot.tokens > 9 * slot.behind > 0
    assert slot.nano_usd == pytest.approx(slot.tokens * 2_700, rel=0.01)
    assert slot.left.endswith(KINDS[kind][0][:5]) or KINDS[kind][0][:5] in slot.left
    assert not any(value in slot.template for value in ("10:40", "/home/a/"))


def test_two_slots_of_one_text_are_told_apart_and_the_first_one_is_charged_with_the_break():
    desk = watched([KINDS["time"], KINDS["path"]])
    first, second = desk.slots.report("tenant-a")
    assert {first.kind, second.kind} == {"time", "path"}
    assert first.kind == "time"
    assert first.tokens > second.tokens == sum([second.behind] * 9)


def test_a_slot_is_the_same_whatever_stands_in_its_neighbour():
    one = watched([KINDS["time"], KINDS["path"]]).slots.report("tenant-a")
    other = watched([KINDS["time"][::-1], KINDS["path"]]).slots.report("tenant-a")
    assert {slot.id for slot in one} == {slot.id for slot in other}


def test_what_no_scanner_knows_is_told_once_it_had_several_values():
    names = [f"The customer is called {name}." for name in ("Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jon")]
    assert watched([names], conversations=2).slots.report("tenant-a") == ()
    (slot,) = watched([names]).slots.report("tenant-a")
    assert slot.kind == ""
    assert slot.template.count("<text>") == 1


def test_fixed_text_has_no_slots():
    assert watched([["Be exact."] * 10]).slots.report("tenant-a") == ()


def test_a_text_that_goes_another_way_is_no_slot():
    other = [f"Chapter {number}: " + system_text(random.Random(number), 12) for number in range(10)]
    assert watched([other], tail=1).slots.report("tenant-a") == ()


@pytest.mark.parametrize(("length", "found"), [(20, 0), (200, 1)])
def test_the_first_message_counts_where_enough_stands_behind_the_difference(length, found):
    """Another question is no volatile text; a clock in front of a long document is."""
    desk, document = Watching(), "The house has a rule about doors, and keeps it. " * length
    for number in range(6):
        request = body(talk(number, app=0, tools=4, rounds=1), "anthropic-messages", 1)
        request["messages"] = [{"role": "user", "content": f"It is 1{number}:30 now.\n{document}"}]
        desk.ask(Asked("anthropic-messages", request, 1000.0 + 40 * number))
    assert [slot.kind for slot in desk.slots.report("tenant-a")] == ["time"] * found


def test_a_tenant_sees_its_own_slots_only():
    assert watched([KINDS["time"]]).slots.report("tenant-b") == ()


def test_the_dearest_slot_comes_first():
    slots = watched([KINDS["path"], KINDS["counter"], KINDS["time"]]).slots.report("tenant-a")
    assert [slot.nano_usd for slot in slots] == sorted((slot.nano_usd for slot in slots), reverse=True)
    assert slots[0].kind == "path"


def test_tools_in_another_order_are_no_slots():
    desk = Watching()
    for number in range(4):
        request = body(talk(number, app=0, tools=4, rounds=1), "anthropic-messages", 1)
        request["tools"] = [
            {
                "name": f"list_{name}",
                "description": f"Lists all {name} of a project. " + "It takes its time. " * 40,
                "input_schema": {"type": "object"},
            }
            for name in ("users", "zones", "rooms", "roles")[number:] + ("users", "zones", "rooms", "roles")[:number]
        ]
        desk.ask(Asked("anthropic-messages", request, 1000.0 + 40 * number))
    assert desk.slots.report("tenant-a") == ()


def test_ids_of_items_are_no_slots():
    desk = Watching()
    for number in range(4):
        said = talk(number, app=0, tools=2, rounds=1)
        request = body(said, "openai-responses", 1)
        text = request.pop("instructions")
        item = {
            "type": "message",
            "id": f"msg_{number}{number}f3a9c0d0000000000",
            "role": "developer",
            "content": [{"type": "input_text", "text": text}],
        }
        request["input"].insert(0, item)
        desk.ask(Asked("openai-responses", request, 1000.0 + 40 * number))
    assert desk.slots.report("tenant-a") == ()
