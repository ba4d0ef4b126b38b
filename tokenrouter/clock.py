"""Time as an argument: whoever needs it takes a `Clock`, so that tests and simulations own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for records and lifetimes, monotonic time for durations. Both in integer nanoseconds."""

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never run backwards; the origin means nothing."""
        ...


class SystemClock:
    """The machine's own clocks: the very functions of the standard library, as they are called several times per request."""

    __slots__ = ()

    time_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


class ManualClock:
    """A clock that stands still until somebody moves it; both hands move together."""

    __slots__ = ("_now_ns",)

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns

    def time_ns(self) -> int:
        """See `Clock`."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """See `Clock`."""
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """Move both hands forward by `seconds` (>= 0)."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._now_ns += round(seconds * 1_000_000_000)
