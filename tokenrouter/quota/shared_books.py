"""The books of several processes: counters in Redis, the ledger in Postgres, a stream between them, and what is done while one is away.

Redis well     everything is counted there. The script that places a hold appends the intent to the tenant's stream, the one that settles it
               the settlement; the carrier brings both into Postgres.
Redis away     this worker counts for itself (`outage`, `allowances`). Intents go to Postgres before anything is sent, settlements after; once
               Redis is back its counters hear of them.
Both away      503: nobody would know what was sent.
Redis lost     a tenant's counters are made again from the ledger before anything more is held on them (`rebuild`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.admission import Admitted, Ask, Bound, CapState, Hold, Look, NeedsRebuild, Ticket
from tokenrouter.model.record import RequestRecord
from tokenrouter.quota.allowances import Allowances
from tokenrouter.quota.outage import Outage, as_spent
from tokenrouter.quota.spool import Spool
from tokenrouter.storage.carrier import Carrier
from tokenrouter.storage.ledger_entries import Entry
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_counters import RedisCounters
from tokenrouter.storage.redis_link import RedisAway

log = logging.getLogger("tokenrouter")

BEAT_S: Final = 1.0
_EXPIRE_EVERY: Final = 5
_LOOK_EVERY: Final = 10
_SWEEP_EVERY: Final = 60
_TRIES: Final = 2
_encode = msgspec.json.Encoder().encode


class Finder(Protocol):
    """Where rows of the ledger are found."""

    async def find(self, request_id: str, tenant: str) -> RequestRecord | None:
        """One request of a tenant. Raises Unavailable."""
        ...


class SharedBooks:
    """`Books` of one of several workers. `begin` once inside the loop, `aclose` at its end."""

    def __init__(
        self,
        redis: RedisClient,
        counters: RedisCounters,
        carrier: Carrier,
        ledger: Finder,
        spool: Spool,
        clock: Clock,
        *,
        rebuild: Callable[[str], Awaitable[None]],
        workers: Callable[[], int] = lambda: 1,
    ) -> None:
        """Books over what was made already.

        spool    writes straight into the ledger
        rebuild  makes a tenant's counters again; raises Unavailable where it can not, or not yet
        workers  how many there were when somebody last could say
        """
        self._redis, self._counters, self._carrier, self._ledger, self._spool, self._clock = redis, counters, carrier, ledger, spool, clock
        self._rebuild, self._workers = rebuild, workers
        self._allowances = Allowances(clock, self._cap_state)
        self._outage: Outage | None = None
        self._outages: list[Outage] = []
        self._given: dict[tuple[str, str], Outage] = {}
        self._tenants: dict[str, int] = {}
        self._epochs: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        redis.watch(self._changed)

    @property
    def problem(self) -> str:
        """What is off, for operators; "" while all is well."""
        found = (self._counters.problem, self._spool.problem, self._carrier.problem)
        return "; ".join(each for each in found if each)

    # -- counters

    async def admit(self, bound: Bound, ask: Ask) -> Admitted:
        """See `Books`."""
        tenant = bound.tenant
        if tenant not in self._tenants:
            self._tenants[tenant] = self._clock.monotonic_ns()
            self._carrier.seen(tenant)
        for _ in range(_TRIES):
            if self._redis.away:
                break
            try:
                admitted = await self._counters.admit(bound, ask)
            except NeedsRebuild:
                await self._rebuild(tenant)
                continue
            except RedisAway:
                continue  # what may have been given is given back as soon as it can be
            hold = admitted.hold
            if hold is not None:
                self._allowances.used(tenant, hold.caps)
                if ask.intent:
                    self._carrier.appended(tenant, Entry("i", hold.id, ask.intent, hold.usd, hold.tokens, hold.admitted_ns))
            return admitted
        return await self._alone(bound, ask)

    async def _alone(self, bound: Bound, ask: Ask) -> Admitted:
        """Count here. The intent is in Postgres when this returns, or nothing was given."""
        outage = self._outage
        if outage is None:
            outage = self._outage = Outage(self._clock, self._allowances.of, workers=self._workers())
            self._outages.append(outage)
        admitted = await outage.admit(bound, ask)
        hold, ticket = admitted.hold, admitted.ticket
        try:
            if hold is not None:
                entry = Entry("i", hold.id, ask.intent, hold.usd, hold.tokens, hold.admitted_ns)
                await self._spool.write(bound.tenant, entry)
        except BaseException:
            if hold is not None:
                outage.settle(hold, 0, 0)
            if ticket is not None:
                outage.leave(ticket)
            raise
        if hold is not None:
            self._given[hold.id, "hold"] = outage
        if ticket is not None:
            self._given[ticket.id, "ticket"] = outage
        return admitted

    def leave(self, ticket: Ticket) -> None:
        """See `Books`."""
        if not ticket.local:
            self._counters.leave(ticket)
        elif (outage := self._given.pop((ticket.id, "ticket"), None)) is not None:
            outage.leave(ticket)

    def grow(self, hold: Hold, usd: int, tokens: int) -> None:
        """See `Books`."""
        if not hold.local:
            self._counters.grow(hold, usd, tokens)
        elif (outage := self._given.get((hold.id, "hold"))) is not None:
            outage.grow(hold, usd, tokens)

    async def cap_state(self, tenant: str, counter: str) -> CapState:
        """See `Books`."""
        try:
            return await self._counters.cap_state(tenant, counter)
        except NeedsRebuild:
            await self._rebuild(tenant)
            return await self._counters.cap_state(tenant, counter)

    async def _cap_state(self, tenant: str, counter: str) -> CapState:
        try:
            return await self._counters.cap_state(tenant, counter)
        except NeedsRebuild as error:
            raise Unavailable("the counters are made again") from error

    async def look(self, bound: Bound, *, sandbox: bool) -> Look:
        """See `Books`."""
        try:
            return await self._counters.look(bound, sandbox=sandbox)
        except NeedsRebuild:
            await self._rebuild(bound.tenant)
            return await self._counters.look(bound, sandbox=sandbox)

    # -- the ledger

    def release(self, hold: Hold) -> None:
        """See `Books`."""
        if hold.local:
            self._settle_alone(hold, 0, 0, Entry("v", hold.id))
        else:
            self._counters.void(hold)
            self._carrier.appended(hold.tenant, Entry("v", hold.id))

    def intend(self, hold: Hold, record: RequestRecord) -> None:
        """See `Books`: it was written when the hold was placed."""

    def settle(self, hold: Hold, record: RequestRecord) -> None:
        """See `Books`."""
        if hold.settled:
            return
        presumed, body = record.settled == "presumed", _encode(record)
        entry = Entry("s", hold.id, body, hold.usd, hold.tokens, hold.admitted_ns)
        if hold.local:
            self._settle_alone(hold, record.cost, record.tokens, entry, presumed=presumed)
            return
        self._counters.settle(hold, record.cost, record.tokens, presumed=presumed, entry=body)
        self._carrier.appended(hold.tenant, entry)

    def _settle_alone(self, hold: Hold, usd: int, tokens: int, entry: Entry, *, presumed: bool = False) -> None:
        outage = self._given.pop((hold.id, "hold"), None)
        if outage is not None:
            outage.settle(hold, usd, tokens, presumed=presumed)
        self._spool.put(hold.tenant, entry)
        self._tell_soon()

    def note(self, record: RequestRecord) -> None:
        """See `Books`."""
        self._spool.put(record.tenant, Entry("s", record.id, _encode(record)), may_be_lost=True)

    async def find(self, request_id: str, tenant: str) -> RequestRecord | None:
        """See `Books`. What is on its way there is not found."""
        return await self._ledger.find(request_id, tenant)

    # -- keeping it alive

    def begin(self) -> None:
        """Renew what is held, and look for what others left, from here on."""
        self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(BEAT_S)
            beats += 1
            try:
                await self.tick(beats)
            except Unavailable as error:
                log.debug("the shared counters can not be asked: %s", error)
            except Exception:
                log.exception("the books could not be kept")

    async def tick(self, beats: int) -> None:
        """One beat. Raises Unavailable."""
        if self._redis.away:
            return
        self._outage = None
        await self._counters.beat()
        self._tell_soon()
        for tenant in list(self._tenants):
            if beats % _EXPIRE_EVERY == 0:
                pulse = await self._counters.pulse(tenant, ())
                self._epochs[tenant] = pulse.epoch
                await self._counters.expire(tenant)
            if beats % _SWEEP_EVERY == 0:
                await self._counters.sweep(tenant)
        if beats % _LOOK_EVERY == 0:
            await self._allowances.refresh()

    def _changed(self, away: bool) -> None:
        if not away:
            self._outage = None
            self._tell_soon()

    def _tell_soon(self) -> None:
        """Tell the counters what was spent without them, once they are there."""
        if self._outages and self._outage is None and not self._redis.away and (self._telling is None or self._telling.done()):
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        for outage in list(self._outages):
            while outage.spent:
                bound, ask = as_spent(outage.spent[0])
                before = self._epochs.get(bound.tenant)
                try:
                    pulse = await self._counters.pulse(bound.tenant, ())
                    if not before or pulse.epoch == before:
                        admitted = await self._counters.admit(bound, ask)
                        if admitted.hold is not None and ask.worst is not None:
                            self._counters.settle(admitted.hold, ask.worst.usd, ask.worst.tokens)
                except NeedsRebuild:
                    pass  # made again from the ledger, which has it
                except Unavailable:
                    return
                del outage.spent[0]
            if outage.over and outage is not self._outage:
                self._outages.remove(outage)

    async def drain(self, within_s: float) -> bool:
        """Wait until everything that was settled is where it survives this process. False: it is not."""
        drained = await self._counters.drain(within_s)
        return await self._spool.drain(within_s) and drained

    async def aclose(self) -> None:
        """Stop; `drain` comes before."""
        for task in (self._task, self._telling):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await self._counters.aclose()
