"""Moving volatile text: 200 corruption cases, none of which may lose, change or invent anything but the value that moved."""

import random
import time

import msgspec
import pytest
from relocation_cases import FRAMES, SAFE, TRAPS, restored, template
from talks import paragraph, sentence, system_text
from test_volatile_slots import KINDS, watched

from tokenrouter.model.volatile import Template
from tokenrouter.prefixes.relocation import HEADING, fault, relocate_texts, said


def relocate_text(text, approved):
    (text,), moved = relocate_texts([text], approved)
    return text, moved


@pytest.mark.parametrize(("kind", "value", "frame"), SAFE)
def test_a_value_moves_and_everything_else_stays(kind, value, frame):
    rng = random.Random(f"{kind}{value}{frame}")
    head, tail = paragraph(rng, 4) + "\n", "\n" + paragraph(rng, 4)
    one = template(kind, frame)
    text, moved = relocate_text(head + frame[0] + value + frame[1] + tail, [one])
    assert text == head + frame[0] + f"(see {one.name} below)" + frame[1] + tail
    assert [found.value for found in moved] == [value]
    assert restored(text, moved) == head + frame[0] + value + frame[1] + tail
    assert said(moved) == f"{HEADING}\n{one.name}: {value}"


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("trap", TRAPS)
def test_what_is_not_sure_is_left_alone(trap, frame):
    text = sentence(random.Random(trap)) + TRAPS[trap]("2026-04-23", frame) + "Tail of the text."
    assert relocate_text(text, [template("date", frame)]) == (text, ())


def test_there_are_two_hundred_cases():
    assert len(SAFE) + len(TRAPS) * len(FRAMES) >= 200


def test_the_published_example_of_a_regex_that_loses_text():
    text = "The date is 2026-04-23. Request id 16."
    approved = [
        Template(id="aaaaaaaa", kind="date", left="The date is ", right=". Request id "),
        Template(id="bbbbbbbb", kind="counter", left=". Request id ", right="."),
    ]
    assert relocate_text(text, approved)[0] == "The date is (see date-aaaaaa below). Request id (see counter-bbbbbb below)."


@pytest.mark.parametrize("kind", ["", "git", "listing", "attribution"])
def test_blocks_and_what_is_not_known_never_move(kind):
    text = "The value is 2026-04-23. Keep it in mind. "
    assert relocate_text(text, [template(kind, FRAMES[0])]) == (text, ())


def test_slots_that_were_found_can_be_moved_and_make_texts_equal():
    texts = [f"You are careful.\n{line}\nAnd so on, for a while, with words that stay." for line in KINDS["time"]]
    approved = [Template(id="abcdef12", kind="time", left="You are careful.\nIt is ", right=" now, be exact.\nAnd so on")]
    assert len({relocate_text(text, approved)[0] for text in texts}) == 1
    (slot,) = watched([KINDS["path"]]).slots.report("tenant-a")
    assert fault(Template(id=slot.id, kind=slot.kind, left=slot.left, right=slot.right)) == "", "what is found can be approved"


DAYS = {
    "a date in front of the clock": "Now: 2026-11-{day} 10:3{n}:05",
    "a date behind it": "It is 10:3{n} on 2026-11-{day}, as the clock in the hall says.",
    "a weekday and a date further on": "Today is Sunday, 2026-11-{day}, and it is 10:3{n} in Berlin.",
    "a date in words": "Today is the {day} November 2026 and the time is 10:3{n}:44 exactly.",
    "a folder of somebody's": "Folder /home/u{day}/work, started at 10:3{n}, nothing else known.",
}


def approved_today(line):
    """What is found on one day, and the whole text of any day."""
    found = watched([[line.format(day=21, n=n) for n in range(10)]]).slots.report("tenant-a")
    head, rest = system_text(random.Random(1), 6), system_text(random.Random(2), 20)
    approved = [Template(id=slot.id, kind=slot.kind, left=slot.left, right=slot.right) for slot in found]
    return approved, lambda day, n: "\n".join([head, line.format(day=day, n=n), rest])


@pytest.mark.parametrize("line", DAYS.values(), ids=DAYS)
def test_what_was_approved_today_still_moves_tomorrow(line):
    approved, text_of = approved_today(line)
    for day, n in ((21, 7), (22, 3), (30, 9)):
        text, moved = relocate_text(text_of(day, n), approved)
        assert f"10:3{n}" in moved[0].value
        assert restored(text, moved) == text_of(day, n)


def test_a_date_beside_a_clock_moves_with_it():
    approved, text_of = approved_today(DAYS["a date in front of the clock"])
    assert len({relocate_text(text_of(day, n), approved)[0] for day in (21, 22, 30) for n in (3, 8)}) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"id": "a b c d"}, "letters, digits"),
        ({"kind": "git"}, "can not be moved; one of time, date"),
        ({"left": "is ", "right": "."}, "too little stands around it"),
        ({"left": "----------", "right": "----------"}, "letters among them"),
        ({"left": "x" * 201}, "more than 200 characters"),
        ({}, "said twice"),
        ({"id": "000000bbbbbb"}, "would be that of 000000aaaaaa"),
        ({"id": "cccccccccccc"}, "nobody could tell them apart"),
    ],
)
def test_what_could_not_be_found_again_for_sure_is_refused_with_words(changed, words):
    first = template("date", FRAMES[0])
    other = msgspec.structs.replace(first, **changed)
    assert words in fault(other, [first])
    assert fault(first) == ""


def test_what_stands_around_a_slot_may_be_the_note_of_another_one():
    one, other = (
        template("date", ("Today is ", ", at "), 1),
        Template(id="bbbbbbbb", kind="time", left=f"Today is {template('date', FRAMES[0], 1).note}, at ", right=" o'clock"),
    )
    text = "Today is 2026-11-21, at 10:05 o'clock."
    assert relocate_text(text, [one, other])[0] == f"Today is {one.note}, at {other.note} o'clock."
    assert relocate_text(text, [other]) == (text, ())


def test_a_slot_that_stands_in_two_texts_is_clear_in_neither():
    one, text = template("date", FRAMES[0]), "The value is 2026-04-23. Keep it in mind. "
    assert relocate_texts([text, text], [one]) == ((text, text), ())
    assert relocate_texts([text, "Be brief."], [one])[0][1] == "Be brief."


@pytest.mark.parametrize(("kind", "left", "text"), [("counter", "1", "1" * 2_000_000), ("time", "a", ("a" * 200 + " is now") * 5_000)])
def test_a_long_text_full_of_what_stands_in_front_of_a_slot_is_looked_through_at_once(kind, left, text):
    begun = time.perf_counter()
    template = Template(id="abcdef12", kind=kind, left=left, right=" is now")
    assert relocate_texts([text], [template]) == ((text,), ())
    assert time.perf_counter() - begun < 1.5
