"""A value that expires and takes a wait to fetch: a token, a set of temporary keys."""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable

log = logging.getLogger("tokenrouter")

T = TypeVar("T")
LONGEST_FETCH_S = 30.0
_AFTER_FAILURE_NS = 10 * 1_000_000_000


class Fetched(NamedTuple, Generic[T]):
    """What was fetched: it may be used for `good_s` seconds and should be fetched again after `renew_s`."""

    value: T
    renew_s: float
    good_s: float


class Renewed(Generic[T]):
    """Fetches in a thread, one at a time, however many ask. While the old value is good nobody waits for the next one."""

    def __init__(self, name: str, fetch: Callable[[], Fetched[T]], clock: Clock) -> None:
        """`name`: of the account, for messages. `fetch`: may wait, and may raise anything."""
        self._name, self._fetch, self._clock = name, fetch, clock
        self._held: Fetched[T] | None = None
        self._renew_ns = self._end_ns = 0
        self._task: asyncio.Task[Fetched[T]] | None = None

    async def get(self) -> T:
        """The value. Raises Unavailable where there is none and none can be fetched."""
        now = self._clock.monotonic_ns()
        held = self._held if now < self._end_ns else None
        if held is not None and now < self._renew_ns:
            return held.value
        if self._task is None:
            self._task = asyncio.create_task(self._renew())
            self._task.add_done_callback(_look)
        if held is not None:
            return held.value
        return (await asyncio.shield(self._task)).value  # whoever leaves must not take it from the others

    async def aclose(self) -> None:
        """Let a fetch under way go."""
        if self._task is not None:
            self._task.cancel()

    async def _renew(self) -> Fetched[T]:
        try:
            async with asyncio.timeout(LONGEST_FETCH_S):
                fetched = await asyncio.to_thread(self._fetch)
        except Unavailable as error:
            self._failed(str(error))
            raise
        except Exception as error:  # noqa: BLE001  (libraries of others: their words may hold secrets, so only the kind is told)
            message = f"{self._name}: its credential could not be fetched ({type(error).__name__})"
            self._failed(message)
            raise Unavailable(message) from None
        finally:
            self._task = None
        now = self._clock.monotonic_ns()
        self._held = fetched
        self._renew_ns, self._end_ns = (now + _nanoseconds(seconds) for seconds in (fetched.renew_s, fetched.good_s))
        return fetched

    def _failed(self, message: str) -> None:
        log.warning("%s", message)
        self._renew_ns = self._clock.monotonic_ns() + _AFTER_FAILURE_NS


def _nanoseconds(seconds: float) -> int:
    return int(max(0.0, seconds) * 1_000_000_000)


def _look(task: asyncio.Task[Fetched[T]]) -> None:
    """A failure that nobody waited for has been logged; it is no surprise to the loop either."""
    if not task.cancelled():
        task.exception()
