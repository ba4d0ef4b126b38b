"""A clock that requests set: it follows what it is told, never back, and measures work by the machine."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.clock import LATEST_S, UNIX_FROM_S, VirtualClock

SECOND = 10**9
START = 1_800_000_000 * SECOND


def test_it_begins_at_the_machine_s_time_and_stands_still():
    clock = VirtualClock()
    assert clock.time_ns() == clock.time_ns() > START - 200_000_000 * SECOND
    assert clock.monotonic_ns() == clock.monotonic_ns()


def test_small_values_count_from_the_start():
    clock = VirtualClock(START)
    assert not clock.tell("0")
    assert clock.time_ns() == START
    assert clock.tell("12.25")
    assert (clock.time_ns(), clock.monotonic_ns()) == (START + 12_250_000_000, 12_250_000_000)


def test_the_first_unix_time_sets_it_even_back_and_is_where_small_values_count_from():
    clock = VirtualClock(START)
    assert clock.tell("1600000000")
    assert (clock.time_ns(), clock.monotonic_ns()) == (1_600_000_000 * SECOND, 0)
    assert clock.tell("60")
    assert (clock.time_ns(), clock.monotonic_ns()) == (1_600_000_060 * SECOND, 60 * SECOND)


def test_an_earlier_value_leaves_it_where_it_is():
    clock = VirtualClock(START)
    clock.tell("100")
    assert not clock.tell("99.999999999")
    assert not clock.tell("100")
    assert not clock.tell("1600000000")
    assert clock.time_ns() == START + 100 * SECOND


def test_a_nanosecond_at_a_large_unix_time_is_not_lost():
    clock = VirtualClock(START)
    clock.tell("1812345678.123456789")
    assert clock.time_ns() == 1_812_345_678_123_456_789


@pytest.mark.parametrize(
    "said", ["", " ", "nan", "inf", "-Infinity", "-1", "-0.001", "1_000", "0x10", "1,5", "soon", "1e400", "1e99", "9000000001", "٣", "1" * 50]
)
def test_what_is_no_time_is_refused_and_moves_nothing(said):
    clock = VirtualClock(START)
    clock.tell("5")
    with pytest.raises(ValueError, match="seconds from 0"):
        clock.tell(said)
    assert clock.time_ns() == START + 5 * SECOND


@pytest.mark.parametrize(("said", "ns"), [("1e1", 10 * SECOND), ("+.5", SECOND // 2), ("5.", 5 * SECOND), (" 7 ", 7 * SECOND), ("-0.0", 0)])
def test_any_plain_spelling_of_a_number_will_do(said, ns):
    clock = VirtualClock(START)
    clock.tell(said)
    assert clock.time_ns() == START + ns


def test_the_stopwatch_is_the_machine_s():
    clock = VirtualClock(START)
    before = clock.stopwatch_ns()
    clock.tell("3600")
    assert 0 <= clock.stopwatch_ns() - before < 60 * SECOND
    while clock.stopwatch_ns() == before:
        pass


_TIMES = st.one_of(st.integers(0, UNIX_FROM_S - 1), st.integers(UNIX_FROM_S, LATEST_S))


@given(st.lists(_TIMES, max_size=20))
def test_the_hands_never_run_back_after_the_first_word_and_the_monotonic_one_never(told):
    clock = VirtualClock(START)
    before: int | None = None
    for value in told:
        ran, was = clock.monotonic_ns(), clock.time_ns()
        moved = clock.tell(str(value))
        assert moved == (clock.time_ns() != was)
        assert clock.monotonic_ns() >= ran
        if before is not None:
            assert clock.time_ns() >= before
            assert clock.monotonic_ns() - ran == clock.time_ns() - before
        before = clock.time_ns()
    if told:
        reached = max([value * SECOND + (0 if value >= UNIX_FROM_S else (told[0] * SECOND if told[0] >= UNIX_FROM_S else START)) for value in told])
        assert Fraction(clock.time_ns()) == reached
