"""Flights: one upstream call, many readers.

The flight owns the call; requests only read from it, so whoever came first may leave. A slot is claimed synchronously, before
anything is awaited, so two identical requests can not both miss each other. Until the leader has been admitted the flight is
boarding: a leader that is refused hands the lead to the next one waiting and alone sees its refusal.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Literal

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import GatewayError
from tokenrouter.model.record import RequestRecord

FlightKey = tuple[bytes, str, bytes]
"""Answer identity, the form of the answer (whole, stream, stream with usage: only equal forms share bytes), and the fields for which a
provider may refuse a call: a refusal is shared like an answer, so it must be everybody's own."""


_MOST_DRAINING = 64


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when the provider's response has begun.

    streams     frames follow one by one
    keep_alive  what may be put between them when nothing comes for long; empty where the provider's own bytes must stay alone
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    streams: bool
    keep_alive: bytes = b""


class Flight:
    """One upstream call.

    head, frames, end  what readers pass on; `end` is the dialect's closing frame, kept apart so that something may go before it
    error              why it failed, where it did
    record             the leader's record, complete when the flight is done
    drains             runs on when everybody has left: a provider bills a whole answer whether or not somebody waits for it
    """

    __slots__ = (
        "_boarding",
        "_cancelled",
        "_claims",
        "_key",
        "_landed",
        "_leaderless",
        "_table",
        "_task",
        "_waiting",
        "born_ns",
        "done",
        "drains",
        "end",
        "error",
        "frames",
        "head",
        "record",
    )

    def __init__(self, table: "Flights | None", key: FlightKey | None, born_ns: int) -> None:
        self._table = table
        self._key = key
        self._claims = 0
        self._leaderless = False
        self._boarding: deque[asyncio.Future[bool]] | None = deque()
        self._waiting: list[asyncio.Future[None]] = []
        self._landed: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self.born_ns = born_ns
        self.head: Head | None = None
        self.frames: list[bytes] = []
        self.end = b""
        self.done = False
        self.drains = False
        self.error: GatewayError | None = None
        self.record: RequestRecord | None = None

    @property
    def readers(self) -> int:
        """How many requests hold on to this flight."""
        return self._claims

    # Boarding

    def join(self) -> None:
        """Count one more who holds on."""
        self._claims += 1

    async def boarded(self) -> bool:
        """Wait until the call is under way. True: the lead has come to you; admit yourself, then `start` or `abdicate`."""
        if self._boarding is None:
            return False
        if self._leaderless:
            self._leaderless = False
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._boarding.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.abdicate()  # the lead came to somebody who has gone
            raise

    def abdicate(self) -> None:
        """The leader was refused (or needs no call): the next one waiting leads, or the slot is free again."""
        while self._boarding:
            turn = self._boarding.popleft()
            if not turn.done():
                turn.set_result(True)
                return
        self._leaderless = True
        self._vacate()

    def start(self, call: Coroutine[None, None, None]) -> None:
        """The leader was admitted: the call begins, as a task that belongs to the flight."""
        boarding, self._boarding = self._boarding or deque(), None
        self._task = asyncio.create_task(call)
        for turn in boarding:
            if not turn.done():
                turn.set_result(False)

    # The call's side

    def begin(self, head: Head) -> None:
        """The provider's response has begun."""
        self.head = head
        self._wake()

    def publish(self, frame: bytes) -> None:
        """More of the answer."""
        self.frames.append(frame)
        self._wake()

    def land(self, *, error: GatewayError | None = None, end: bytes = b"") -> None:
        """The call is over; nobody can join any more."""
        self.error, self.end, self.done = error, end, True
        self._vacate()
        self._wake()
        for then in self._landed:
            then()
        self._landed.clear()

    def when_landed(self, then: Callable[[], None]) -> None:
        """Call `then` once the call is over and settled: now, if it is."""
        if self.done:
            then()
        else:
            self._landed.append(then)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _vacate(self) -> None:
        if self._table is not None and self._key is not None:
            self._table.forget(self._key, self)

    # The readers' side

    async def changed(self) -> None:
        """Wait for the next thing to happen."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    async def begun(self) -> Head | None:
        """Wait for the response to begin; None where the call failed before."""
        while self.head is None and not self.done:
            await self.changed()
        return self.head

    async def whole(self) -> bytes:
        """Wait for the end; the body of an answer that does not stream."""
        while not self.done:
            await self.changed()
        return self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)

    async def read(self, silence_s: float | None = None) -> AsyncIterator[bytes]:
        """What has come since the last look, joined, until the end. Nothing (b"") whenever `silence_s` have passed without anything."""
        at = 0
        while True:
            frames = self.frames
            if at < len(frames):
                data = frames[at] if at == len(frames) - 1 else b"".join(frames[at:])
                at = len(frames)
                yield data
            elif self.done:
                return
            elif silence_s is None:
                await self.changed()
            else:
                try:
                    async with asyncio.timeout(silence_s):
                        await self.changed()
                except TimeoutError:
                    yield b""

    def leave(self) -> None:
        """Let go. With nobody left the call is cancelled, the slot freed first, so that no one joins a dying call.

        A call that `drains` goes on instead, and may be joined again, as long as few do.
        """
        self._claims -= 1
        if self._claims <= 0 and not self.done:
            if self.drains and self._table is not None and self._table.may_drain():
                return
            self._vacate()
            if self._task is not None and not self._cancelled:
                self._cancelled = True
                # Not at once: a task cancelled before its first step never runs, and what it holds would never be settled.
                asyncio.get_running_loop().call_soon(self._task.cancel)

    async def stopped(self) -> None:
        """Wait until the call's task has ended, whatever its outcome."""
        if self._task is not None:
            await asyncio.wait([self._task])


class Flights:
    """The calls of this worker that may be joined."""

    def __init__(self, clock: Clock, ttl_s: int) -> None:
        self._clock = clock
        self._ttl_ns = ttl_s * 1_000_000_000
        self._by_key: dict[FlightKey, Flight] = {}
        self._alive: set[Flight] = set()

    def claim(self, key: FlightKey | None) -> tuple[Flight, Literal["lead", "join"]]:
        """Join the flight for `key`, or open one and lead it. Without a key: always alone. Synchronous on purpose."""
        now = self._clock.monotonic_ns()
        if key is not None:
            flight = self._by_key.get(key)
            if flight is not None and now - flight.born_ns <= self._ttl_ns:
                flight.join()
                return flight, "join"
        flight = Flight(self, key, now)
        flight.join()
        if key is not None:
            self._by_key[key] = flight
        return flight, "lead"

    def forget(self, key: FlightKey, flight: Flight) -> None:
        """Free a slot, unless a later flight has it by now."""
        if self._by_key.get(key) is flight:
            del self._by_key[key]

    def track(self, flight: Flight) -> Callable[[], None]:
        """Remember a call under way until the returned function is called: shutdown waits for these."""
        self._alive.add(flight)
        return lambda: self._alive.discard(flight)

    def may_drain(self) -> bool:
        """Whether one more call may run on without readers."""
        return sum(flight.readers <= 0 for flight in self._alive) <= _MOST_DRAINING

    @property
    def under_way(self) -> int:
        """How many calls are under way."""
        return len(self._alive)

    async def drain(self) -> None:
        """Wait until every call under way has ended."""
        while self._alive:
            await asyncio.gather(*(flight.stopped() for flight in tuple(self._alive)))
