"""Periods begin where their owner lives: any zone, any moment, whatever its clocks did."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.model.period import ALWAYS, Period, is_zone, span

NS = 1_000_000_000
CALENDAR: tuple[Period, ...] = ("day", "week", "month")
# Whole hours and not, both halves of the world, clocks that skip or repeat midnight, a day that never was.
ZONES = (
    "UTC", "Asia/Kathmandu", "America/Sao_Paulo", "America/St_Johns", "America/Havana", "America/Nuuk", "Africa/Cairo", "Asia/Beirut", "Asia/Gaza",
    "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Chatham", "Australia/Lord_Howe", "Antarctica/Casey", "Europe/Berlin", "America/New_York",
)  # fmt: skip
FIRST, LAST = int(datetime(1985, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2060, 1, 1, tzinfo=UTC).timestamp())


def ns(zone: str, *moment: int, fold: int = 0) -> int:
    return int(datetime(*moment, tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * NS


def local(zone: str, ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}"


def changes(zone: str) -> list[int]:
    """Seconds at which a zone's clocks are set, by looking."""

    def offset(second: int) -> timedelta | None:
        return datetime.fromtimestamp(second, ZoneInfo(zone)).utcoffset()

    found = []
    for day in range(FIRST, LAST, 86_400):
        if offset(day) != offset(day + 86_400):
            low, high = day, day + 86_400
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
            found.append(high)
    return found


def check(period: Period, zone: str, second: int) -> None:
    """The span holds its moment, and touches its neighbours."""
    found = span(period, zone, second * NS)
    assert found.holds(second * 1000), (zone, period, second)
    assert found.starts_ms < found.ends_ms
    after, before = span(period, zone, found.ends_ms * NS // 1000), span(period, zone, found.starts_ms * NS // 1000 - 1)
    assert (before.ends_ms, after.starts_ms) == (found.starts_ms, found.ends_ms), (zone, period, second)
    assert before.name < found.name < after.name
    assert span(period, zone, found.starts_ms * NS // 1000) == span(period, zone, found.ends_ms * NS // 1000 - 1) == found


@given(st.sampled_from(CALENDAR), st.sampled_from(ZONES), st.integers(FIRST, LAST))
def test_a_span_holds_its_moment_and_touches_the_next(period: Period, zone: str, second: int):
    check(period, zone, second)


@pytest.mark.parametrize("zone", ZONES)
def test_a_span_holds_its_moment_while_clocks_are_set(zone: str):
    for change in changes(zone):
        for seconds in (0, 1, 30, 59, 60, 1799, 1800, 3599, 3600, 3661, 7200):
            for period in CALENDAR:
                check(period, zone, change + seconds)
                check(period, zone, change - seconds)


@pytest.mark.slow
def test_a_span_holds_its_moment_in_every_zone_there_is():
    for zone in sorted(available_timezones()):
        for change in changes(zone):
            for seconds in (-3600, -1800, -1, 0, 1, 1800, 3600):
                for period in CALENDAR:
                    check(period, zone, change + seconds)


@pytest.mark.parametrize(
    ("period", "zone", "moment", "name", "starts", "ends"),
    [
        ("day", "Asia/Kathmandu", (2026, 11, 21, 0, 0), "2026-11-21", "2026-11-21 00:00:00", "2026-11-22 00:00:00"),
        ("month", "Asia/Kathmandu", (2026, 12, 31, 23, 59), "2026-12", "2026-12-01 00:00:00", "2027-01-01 00:00:00"),
        ("month", "UTC", (2028, 2, 29, 12, 0), "2028-02", "2028-02-01 00:00:00", "2028-03-01 00:00:00"),
        ("day", "America/Sao_Paulo", (2018, 11, 4, 12, 0), "2018-11-04", "2018-11-04 01:00:00", "2018-11-05 00:00:00"),
        ("day", "America/Sao_Paulo", (2018, 11, 3, 23, 59), "2018-11-03", "2018-11-03 00:00:00", "2018-11-04 01:00:00"),
        ("day", "Pacific/Apia", (2011, 12, 31, 5, 0), "2011-12-31", "2011-12-31 00:00:00", "2012-01-01 00:00:00"),
        ("day", "Pacific/Apia", (2011, 12, 29, 5, 0), "2011-12-29", "2011-12-29 00:00:00", "2011-12-31 00:00:00"),
        ("week", "Europe/Berlin", (2026, 12, 31, 12, 0), "2026-W53", "2026-12-28 00:00:00", "2027-01-04 00:00:00"),
        ("week", "Europe/Berlin", (2027, 1, 3, 23, 59), "2026-W53", "2026-12-28 00:00:00", "2027-01-04 00:00:00"),
        ("week", "Europe/Berlin", (2024, 12, 30, 0, 0), "2025-W01", "2024-12-30 00:00:00", "2025-01-06 00:00:00"),
        ("week", "Europe/Berlin", (2026, 1, 1, 0, 0), "2026-W01", "2025-12-29 00:00:00", "2026-01-05 00:00:00"),
    ],
)
def test_a_period_begins_at_midnight_of_its_owner(period: Period, zone: str, moment: tuple[int, ...], name: str, starts: str, ends: str):
    found = span(period, zone, ns(zone, *moment))
    assert (found.name, local(zone, found.starts_ms), local(zone, found.ends_ms)) == (name, starts, ends)


@pytest.mark.parametrize(("moment", "hours"), [((2027, 3, 14, 12), 23), ((2026, 11, 1, 12), 25), ((2026, 11, 2, 12), 24)])
def test_days_are_as_long_as_they_are(moment: tuple[int, ...], hours: int):
    found = span("day", "America/New_York", ns("America/New_York", *moment))
    assert found.ends_ms - found.starts_ms == hours * 3_600_000


def test_an_hour_that_comes_twice_belongs_to_one_day():
    """In Havana one o'clock becomes midnight: the day began at the first of the two."""
    first, second = (ns("America/Havana", 2026, 11, 1, 0, 30, fold=fold) for fold in (0, 1))
    assert second - first == 3600 * NS
    assert span("day", "America/Havana", first) == span("day", "America/Havana", second)
    assert span("day", "America/Havana", first).starts_ms == first // 1_000_000 - 1_800_000


def test_a_day_that_the_clocks_go_back_to_stays_over():
    """In Newfoundland 00:01 became 23:01 of the day before, whose counter was closed by then."""
    again = ns("America/St_Johns", 2010, 11, 6, 23, 30, fold=1)
    assert datetime.fromtimestamp(again // NS, ZoneInfo("America/St_Johns")).date() == date(2010, 11, 6)
    assert span("day", "America/St_Johns", again).name == "2010-11-07"
    assert span("day", "America/St_Johns", ns("America/St_Johns", 2010, 11, 6, 23, 30)).name == "2010-11-06"


@pytest.mark.parametrize("period", ["total", "request"])
def test_what_has_no_calendar_is_always(period: Period):
    assert span(period, "Asia/Kathmandu", 5) is ALWAYS
    assert ALWAYS.holds(0)
    assert ALWAYS.holds(1 << 60)


@pytest.mark.parametrize(
    ("name", "known"), [("Asia/Kathmandu", True), ("UTC", True), ("Mars/Olympus", False), ("", False), ("../etc/passwd", False), ("a\0b", False)]
)
def test_zones_are_known_or_not(name: str, known: bool):
    assert is_zone(name) is known
