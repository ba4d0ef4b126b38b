"""Time as an argument: whoever needs it takes a `Clock`, so that tests and simulations own it."""

import re
import time
from decimal import Decimal
from typing import Final, Protocol

_SECOND_NS: Final = 1_000_000_000
_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})?")

UNIX_FROM_S: Final = 1_000_000_000
"""Seconds. Smaller values of a virtual clock count from its start, others are Unix time."""

LATEST_S: Final = 9_000_000_000
"""Seconds. What is kept after it would not fit into the stores' integers (nanoseconds in 63 bits)."""


class Clock(Protocol):
    """Three hands: wall time for records, monotonic time for lifetimes and limits, a stopwatch for durations. All in integer nanoseconds."""

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never run backwards; the origin means nothing. For what lasts, and for what may happen how often."""
        ...

    def stopwatch_ns(self) -> int:
        """Nanoseconds for measuring how long work takes: always the machine's own, whatever the other hands show."""
        ...


class SystemClock:
    """The machine's own clocks: the very functions of the standard library, as they are called several times per request."""

    __slots__ = ()

    time_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)
    stopwatch_ns = staticmethod(time.monotonic_ns)


class ManualClock:
    """A clock that stands still until somebody moves it; all hands move together."""

    __slots__ = ("_now_ns",)

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns

    def time_ns(self) -> int:
        """See `Clock`."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """See `Clock`."""
        return self._now_ns

    def stopwatch_ns(self) -> int:
        """See `Clock`."""
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """Move all hands forward by `seconds` (>= 0)."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._now_ns += round(seconds * 1_000_000_000)


class VirtualClock:
    """A clock that is told the time, and stands still in between. It begins at the machine's time.

    Whoever tells it first sets it, even back; from then on it never runs backwards. One clock serves everybody who asks at the same time.
    """

    stopwatch_ns = staticmethod(time.monotonic_ns)

    def __init__(self, start_ns: int | None = None) -> None:
        """`start_ns`: where it begins, Unix nanoseconds; None: now."""
        self._start_ns = self._now_ns = time.time_ns() if start_ns is None else start_ns
        self._ran_ns = 0
        self._told = False

    def time_ns(self) -> int:
        """See `Clock`."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """See `Clock`: what time went on by since the start."""
        return self._ran_ns

    def tell(self, seconds: str) -> bool:
        """Say what time it is, as a decimal number; whether that has moved the hands. Below `UNIX_FROM_S`: since the start, which is the
        first Unix time that it was told.

        Raises:
            ValueError: it is no finite number from 0 to `LATEST_S`.
        """
        value = Decimal(seconds.strip()) if _NUMBER.fullmatch(seconds.strip()) else Decimal(-1)
        if not 0 <= value <= LATEST_S:
            raise ValueError(f"seconds from 0 to {LATEST_S}, like 12.5: below {UNIX_FROM_S} since the start, else since 1970")
        since_start, now_ns = value < UNIX_FROM_S, int(value * _SECOND_NS)
        if since_start:
            now_ns += self._start_ns
        elif not self._told:
            self._start_ns = now_ns
        if self._told and now_ns <= self._now_ns:
            return False
        moved = now_ns != self._now_ns
        self._ran_ns += max(0, now_ns - self._now_ns)
        self._now_ns, self._told = now_ns, True
        return moved
