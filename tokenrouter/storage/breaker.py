"""A breaker in front of a store that may be away: who asks gets an error at once instead of waiting for one more timeout."""

from tokenrouter.clock import Clock

_MOST_IN_A_ROW = 3
_PAUSE_S = 0.5


class Breaker:
    """Open after `most` failures in a row; then one call in `pause_s` may try, and its success closes it.

    problem  what went wrong last, for operators; "" while all is well
    """

    def __init__(self, clock: Clock, *, most: int = _MOST_IN_A_ROW, pause_s: float = _PAUSE_S) -> None:
        self._clock, self._most, self._pause_ns = clock, most, round(pause_s * 1e9)
        self._failures = 0
        self._next_ns = 0
        self.problem = ""

    @property
    def open(self) -> bool:
        """Whether calls are refused, one in `pause_s` excepted."""
        return self._failures >= self._most

    def allows(self) -> bool:
        """Whether this call may try. While open, saying yes takes the one chance of this pause."""
        if not self.open:
            return True
        now = self._clock.monotonic_ns()
        if now < self._next_ns:
            return False
        self._next_ns = now + self._pause_ns
        return True

    def succeeded(self) -> None:
        """The store answered."""
        self._failures, self.problem = 0, ""

    def failed(self, why: str) -> None:
        """It did not. `why`: for operators, without secrets."""
        self._failures += 1
        self.problem = why
        self._next_ns = self._clock.monotonic_ns() + self._pause_ns
