"""Calendar periods in their owner's time zone. A period is a part of its counter's name, so nothing ever has to be reset."""

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

Period = Literal["total", "day", "week", "month", "request"]

_SECOND_NS = 1_000_000_000


class Span(msgspec.Struct, frozen=True):
    """One period: its name ("2026-11", "2026-W47", "2026-11-21"; "" for `total`), and when it begins and ends.

    Milliseconds since the epoch, the end excluded; 0 and 0: always.
    """

    name: str
    starts_ms: int
    ends_ms: int

    def holds(self, now_ms: int) -> bool:
        """Whether the moment lies in it."""
        return self.ends_ms == 0 or self.starts_ms <= now_ms < self.ends_ms


ALWAYS = Span("", 0, 0)


@lru_cache(maxsize=4096)
def _span(period: Period, zone: str, day: date) -> Span:
    if period == "day":
        first, after, name = day, day + timedelta(days=1), day.isoformat()
    elif period == "week":
        first = day - timedelta(days=day.weekday())
        after, (year, week, _) = first + timedelta(days=7), day.isocalendar()
        name = f"{year}-W{week:02}"
    else:
        first = day.replace(day=1)
        after, name = (first + timedelta(days=32)).replace(day=1), f"{day:%Y-%m}"
    return Span(name, _midnight_ms(first, zone), _midnight_ms(after, zone))


def _midnight_ms(day: date, zone: str) -> int:
    """The first moment of a day. Where the clocks skip midnight, the moment at which they did; where it comes twice, the first time."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def span(period: Period, zone: str, now_ns: int) -> Span:
    """The period in which a moment (nanoseconds since the epoch) lies. `total` and `request` have no end.

    >>> span("month", "Asia/Kolkata", 1_700_000_000_000_000_000).name
    '2023-11'
    """
    if period in ("total", "request"):
        return ALWAYS
    seconds = now_ns // _SECOND_NS
    day = datetime.fromtimestamp(seconds, ZoneInfo(zone)).date()
    found = _span(period, zone, day)
    if found.holds(seconds * 1000):
        return found
    # Clocks were set across midnight (Newfoundland until 2011: from 00:01 to 23:01): a day begins once, when its midnight is first reached.
    return _span(period, zone, day + timedelta(days=1 if seconds * 1000 >= found.ends_ms else -1))


def is_zone(name: str) -> bool:
    """Whether this is a time zone that is known here."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
