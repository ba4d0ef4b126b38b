"""Gates: how many requests and calls may be under way at a time, whoever makes them.

A caller that has to be answered by a model passes the gates `GLOBAL_CONCURRENT_LIMIT` and one of `STREAM_CONCURRENT_LIMIT` and
`NON_STREAM_CONCURRENT_LIMIT`, a call to a vendor passes that vendor's `PROVIDER_CONCURRENT_LIMIT`: all of its gates, or none. With a queue,
who finds a gate shut waits in the order of arrival; nobody waits behind someone who needs another gate that is shut.

In one process a gate has as many slots as its limit, and every bound is exact. Several processes lease slots from each other:

    a slice is an eighth of a worker's even share, and at least one slot: max(1, limit // (8 * workers))
    a worker leases what it uses and one slice; what it leaves unused beyond that goes back within `TICK_S`. One that was not asked since the
    last tick gives its slice back too where the limit is small (less than 8 slots for each worker)
    overshoot    none, as long as leases live. A worker that was cut off from the others goes on with the slots it held; they count for the
                 others again, and may be used twice, from `LEASE_MS` after its last renewal until the calls in them have ended
    undershoot   somebody may be refused while other workers hold unused slots: at most (workers - 1) * slice, and what ended at the
                 others since their last tick
    a crash      takes its slots with it for `LEASE_MS`
"""

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from tokenrouter.errors import ConfigError, GatewayError, RateLimited, Unavailable, retry_after
from tokenrouter.quota.shares import SlotLeaser

log = logging.getLogger("tokenrouter")

TICK_S: Final = 2.0
LEASE_MS: Final = 30_000
_RETRY_MS: Final = 1_000

Later = Callable[[float, Callable[[], object]], asyncio.TimerHandle]
"""Calls something after that many seconds, unless the handle is cancelled before: `loop.call_later`."""


class GateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many at a time; 0: as many as come. `providers`: by vendor; "" stands for all that are not named, each for itself."""

    total: int = 0
    streams: int = 0
    wholes: int = 0
    providers: Mapping[str, int] = {}

    def check(self, vendors: Collection[str]) -> None:
        """Raises ConfigError for a vendor that nobody knows: its limit would never hold."""
        if unknown := sorted(set(self.providers) - {"", *vendors}):
            raise ConfigError(f"PROVIDER_CONCURRENT_LIMIT: no provider is called {unknown[0]!r} (known: {', '.join(sorted(vendors))})")


class Gate:
    """One limit as this process sees it. Its slots here: `held` are ours to use, `used` are in use; `waiting` callers want one.

    lately, active  somebody entered since the last tick; between the last two
    failing         the last exchange came to nothing
    workers         how many want slots of it, as the last exchange told
    """

    __slots__ = ("active", "failing", "growing", "held", "lately", "limit", "name", "setting", "used", "waiting", "workers")

    def __init__(self, name: str, setting: str, limit: int, held: int) -> None:
        self.name, self.setting, self.limit, self.held = name, setting, limit, held
        self.used = self.waiting = self.workers = 0
        self.active = self.lately = self.failing = False
        self.growing: asyncio.Task[None] | None = None


Way = tuple[Gate, ...]
"""The gates that somebody has to pass."""


class Pass:
    """A place behind each gate of a way, until it is left. Leaving again changes nothing."""

    __slots__ = ("_gates", "_way")

    def __init__(self, gates: "Gates", way: Way) -> None:
        self._gates, self._way = gates, way

    def leave(self) -> None:
        """Give the places back; whoever waits longest for them goes in."""
        way, self._way = self._way, ()
        if way:
            self._gates.left(way)


class Gates:
    """All gates of one process. `begin` and `aclose` where slots are leased."""

    def __init__(
        self,
        limits: GateLimits,
        *,
        queue: int = 0,
        wait_s: float = 0.0,
        leaser: SlotLeaser | None = None,
        worker: str = "",
        workers: int = 1,
        later: Later | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """All gates are open; `open` is the place behind none of them.

        queue    how many callers may wait for a place, all gates together; each for `wait_s` seconds at most
        leaser   where slots are leased; None: this process has all of them
        worker   a name that no other worker has or had; `workers`: how many there are, if more are not met
        later, sleep  timers, for tests
        """
        self._limits, self._size, self._wait_s = limits, queue, wait_s
        self._leaser, self._worker, self._workers = leaser, worker, max(1, workers)
        self._later, self._sleep = later, sleep
        self._gates: dict[str, Gate] = {}
        self._lines: dict[Way, OrderedDict[int, asyncio.Future[Pass]]] = {}
        self._arrivals = itertools.count()
        self._queued = 0
        self.open = Pass(self, ())
        self._task: asyncio.Task[None] | None = None
        everyone = self._made("global", "GLOBAL_CONCURRENT_LIMIT", limits.total)
        self._stream_way = everyone + self._made("stream", "STREAM_CONCURRENT_LIMIT", limits.streams)
        self._whole_way = everyone + self._made("non_stream", "NON_STREAM_CONCURRENT_LIMIT", limits.wholes)
        self._call_ways: dict[str, Way] = {}

    def caller(self, *, stream: bool) -> Way:
        """The gates of one who has to be answered by a model."""
        return self._stream_way if stream else self._whole_way

    def call(self, vendor: str) -> Way:
        """The gates of a call to a vendor. `vendor`: one of the catalog's."""
        way = self._call_ways.get(vendor)
        if way is None:
            limit = self._limits.providers.get(vendor, self._limits.providers.get("", 0))
            way = self._call_ways[vendor] = self._made(f"provider:{vendor}", "PROVIDER_CONCURRENT_LIMIT", limit)
        return way

    def try_enter(self, way: Way) -> Pass | None:
        """Pass all gates of a way now; None: one is shut, and nothing was taken."""
        if not way:
            return self.open
        for gate in way:
            if gate.used >= gate.held:
                return None
        for gate in way:
            gate.used += 1
            gate.lately = True
        return Pass(self, way)

    async def enter(self, way: Way) -> Pass:
        """Pass, if need be after leasing more slots or waiting in the queue.

        Raises RateLimited naming the gate that is shut; Unavailable where no slots can be leased and none are held.
        """
        passed = self.try_enter(way)
        if passed is not None:
            return passed
        for gate in way:
            gate.waiting += 1
        try:
            if self._queued < self._size and self._wait_s > 0:
                self._grow(way)
                return await self._queue(way)
            for _ in range(2):  # a lease under way may have been asked for before this caller came
                growing = self._grow(way)
                if not growing:
                    break
                await asyncio.wait(growing)
                if (passed := self.try_enter(way)) is not None:
                    return passed
            raise self._refusal(way)
        finally:
            for gate in way:
                gate.waiting -= 1

    def left(self, way: Way) -> None:
        """Places were given back: see `Pass.leave`."""
        for gate in way:
            gate.used -= 1
        if self._queued:
            self._let_in()

    def under_way(self) -> dict[tuple[str, ...], float]:
        """For metrics: how many are behind each gate, by (gate,)."""
        return {(name,): float(gate.used) for name, gate in self._gates.items()}

    @property
    def queued(self) -> int:
        """How many wait."""
        return self._queued

    def begin(self) -> None:
        """Lease, renew and trim from here on; in one process there is nothing to do. Inside a running loop."""
        if self._leaser is not None:
            self._task = asyncio.create_task(self._keep_leases())

    async def tick(self) -> None:
        """Renew all leases, and give back what is not needed."""
        leases: list[asyncio.Task[None]] = []
        for gate in self._gates.values():
            gate.active, gate.lately = gate.lately, False
            if self._leaser is not None:
                leases.append(self._lease(gate, self._leaser))
        if leases:
            await asyncio.wait(leases)

    async def aclose(self) -> None:
        """Give back what is not in use. Nobody enters any more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        leaser = self._leaser
        if leaser is None:
            return
        for gate in list(self._gates.values()):
            if gate.growing is not None:
                await asyncio.wait([gate.growing])
            gate.held = min(gate.held, gate.used)
            with suppress(Unavailable):  # they run out by themselves
                await leaser.take_slots(gate.name, gate.limit, self._worker, gate.used, LEASE_MS)

    def _made(self, name: str, setting: str, limit: int) -> Way:
        if not limit:
            return ()
        gate = self._gates[name] = Gate(name, setting, limit, 0 if self._leaser is not None else limit)
        return (gate,)

    # -- the queue

    async def _queue(self, way: Way) -> Pass:
        future: asyncio.Future[Pass] = asyncio.get_running_loop().create_future()
        line = self._lines.setdefault(way, OrderedDict())
        number = next(self._arrivals)
        line[number] = future
        self._queued += 1
        later = self._later or asyncio.get_running_loop().call_later
        timer = later(self._wait_s, lambda: None if future.done() else future.set_exception(self._refusal(way)))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().leave()  # it was let in and left at the same time
            raise
        finally:
            timer.cancel()
            if line.pop(number, None) is not None:
                self._queued -= 1

    def _let_in(self) -> None:
        """Whoever has waited longest of those who can go in, goes in; again, until nobody can."""
        while self._queued:
            able = [(next(iter(line)), way, line) for way, line in self._lines.items() if line and all(gate.used < gate.held for gate in way)]
            if not able:
                return
            number, way, line = min(able, key=_arrival)
            future = line.pop(number)
            self._queued -= 1
            if not future.done() and (passed := self.try_enter(way)) is not None:
                future.set_result(passed)

    def _refusal(self, way: Way) -> GatewayError:
        gate = next((gate for gate in way if gate.used >= gate.held), way[0])
        what = f"calls to {gate.name.partition(':')[2]}" if ":" in gate.name else {"stream": "streams"}.get(gate.name, "requests")
        if gate.failing and gate.held <= 0:
            return Unavailable(f"nobody can tell how many {what} are under way ({gate.setting}); try again", headers=retry_after(_RETRY_MS))
        return RateLimited(f"as many {what} are under way as {gate.setting} lets in at a time; try again", headers=retry_after(_RETRY_MS))

    # -- leases

    async def _keep_leases(self) -> None:
        while True:
            await self.tick()
            await self._sleep(TICK_S)

    def _grow(self, way: Way) -> list[asyncio.Task[None]]:
        """Lease more for every gate of a way that is shut."""
        return [] if self._leaser is None else [self._lease(gate, self._leaser) for gate in way if gate.used >= gate.held]

    def _lease(self, gate: Gate, leaser: SlotLeaser) -> asyncio.Task[None]:
        """Lease what a gate needs: one exchange at a time, and who asks in the meantime waits for the same one."""
        if gate.growing is None:
            gate.growing = asyncio.create_task(self._exchange(gate, leaser))
        return gate.growing

    def _wanted(self, gate: Gate) -> int:
        share = gate.limit // (8 * max(self._workers, gate.workers))
        spare = max(1, share) if gate.active or gate.lately or gate.waiting else share
        return min(gate.limit, gate.used + gate.waiting + spare)

    async def _exchange(self, gate: Gate, leaser: SlotLeaser) -> None:
        wanted = self._wanted(gate)
        gate.held = min(gate.held, wanted)  # at once: nobody here may enter on what is about to be another's
        try:
            found = await leaser.take_slots(gate.name, gate.limit, self._worker, wanted, LEASE_MS)
            gate.held, gate.workers, gate.failing = found.granted, found.workers, False
        except Unavailable as error:
            if not gate.failing:
                log.warning("slots of %s can not be leased (%s); going on with the %d that are held", gate.setting, error, gate.held)
            gate.failing = True
        except Exception:
            log.exception("slots of %s can not be leased", gate.setting)
            gate.failing = True
        finally:
            gate.growing = None
        if self._queued:
            self._let_in()


def _arrival(able: tuple[int, Way, object]) -> int:
    return able[0]
