"""The books of several processes: counters in Redis, the ledger in Postgres, a stream between them, and what is done while one is away.

Redis well     everything is counted there. The script that places a hold appends the intent to the tenant's stream, the one that settles it
               the settlement; the carrier brings both into Postgres.
Redis away     this worker counts for itself (`outage`, `allowances`). Intents go to Postgres before anything is sent, settlements after. The
               hold is also one of the shared counters', which look to it as if they had lost it: they hear of it, and of its end, once they
               are back.
Both away      503: nobody would know what was sent.
Redis lost     a tenant's counters are made again from the ledger before anything more is held on them (`rebuild`).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.admission import Admitted, Ask, Bound, CapState, Hold, Look, NeedsRebuild, Ticket
from tokenrouter.model.record import RequestRecord
from tokenrouter.quota.allowances import Allowances
from tokenrouter.quota.outage import Outage
from tokenrouter.quota.spool import Spool
from tokenrouter.storage.carrier import Carrier
from tokenrouter.storage.ledger_entries import Entry
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_counters import RedisCounters
from tokenrouter.storage.redis_keeper import RedisKeeper
from tokenrouter.storage.redis_link import RedisAway

log = logging.getLogger("tokenrouter")

BEAT_S: Final = 1.0
_WELL_S: Final = 5
"""So long after Redis is back, everybody who was cut off has renewed what it holds."""

_LOOK_EVERY: Final = 10
_TRIES: Final = 4
_MOST_AWAY: Final = 2
_MOST_TENANTS: Final = 10_000
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
        self._allowances = Allowances(clock, counters.cap_state)
        self._outage: Outage | None = None
        self._alone: dict[Hold, tuple[Outage, Hold]] = {}
        self._places: dict[str, Outage] = {}
        self._tenants: OrderedDict[str, None] = OrderedDict()
        self._well = 0
        self.keeper = RedisKeeper(counters, may_expire=lambda: self._well >= _WELL_S)
        self._task: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        redis.watch(self._changed)

    @property
    def problem(self) -> str:
        """What is off, for operators; "" while all is well."""
        found = (self._counters.problem, self._spool.problem, self._carrier.problem)
        return "; ".join(each for each in found if each)

    # -- counters

    async def admit(self, bound: Bound, ask: Ask) -> Admitted:
        """See `Books`."""
        self._use(bound.tenant)
        unsure = False
        try:
            failures = 0
            for _ in range(_TRIES):
                if self._redis.away or failures == _MOST_AWAY:
                    return await self._admit_alone(bound, ask)
                try:
                    admitted = await self._counters.admit(bound, ask, goes_on=True)
                except NeedsRebuild:
                    await self._rebuild(bound.tenant)
                except RedisAway as away:  # what may have been given is given back as soon as it can be
                    failures, unsure = failures + 1, unsure or away.may_have_run
                else:
                    self._given(ask, admitted)
                    return admitted
            raise Unavailable
        except BaseException:
            if unsure and ask.intent:
                self._counters.call_off(bound.tenant, ask)
            raise

    def _use(self, tenant: str) -> None:
        if tenant not in self._tenants:
            self._carrier.seen(tenant)
            if len(self._tenants) >= _MOST_TENANTS:
                self._tenants.popitem(last=False)
        self._tenants[tenant] = None
        self._tenants.move_to_end(tenant)

    def _given(self, ask: Ask, admitted: Admitted) -> None:
        hold = admitted.hold
        if hold is not None:
            self._allowances.used(hold.tenant, hold.caps)
            if ask.intent:
                self._carrier.appended(hold.tenant, _intent_of(hold))

    async def _admit_alone(self, bound: Bound, ask: Ask) -> Admitted:
        """Count here. The intent is in Postgres when this returns, or nothing was given."""
        if self._outage is None:
            self._outage = Outage(self._clock, self._allowances.of, workers=self._workers())
        outage = self._outage
        admitted = await outage.admit(bound, ask)
        local, ticket = admitted.hold, admitted.ticket
        if ticket is not None:
            self._places[ticket.id] = outage
        if local is None:
            return admitted
        try:
            hold = self._counters.prepare(bound, ask)
            await self._spool.write(bound.tenant, _intent_of(hold))
        except BaseException:
            outage.settle(local, 0, 0)
            if ticket is not None:
                self.leave(ticket)
            now_ns = self._clock.time_ns()
            self._spool.put(bound.tenant, Entry("v", ask.id, admitted_ns=now_ns), may_be_lost=True)  # it may have been written all the same
            raise
        self._counters.adopt(hold)
        self._allowances.used(hold.tenant, hold.caps)
        self._alone[hold] = (outage, local)
        return msgspec.structs.replace(admitted, hold=hold)

    def leave(self, ticket: Ticket) -> None:
        """See `Books`."""
        if not ticket.local:
            self._counters.leave(ticket)
        elif (outage := self._places.pop(ticket.id, None)) is not None:
            outage.leave(ticket)

    def grow(self, hold: Hold, usd: int, tokens: int) -> None:
        """See `Books`."""
        if (alone := self._alone.get(hold)) is not None:
            alone[0].grow(alone[1], usd, tokens)
        self._counters.grow(hold, usd, tokens)

    async def cap_state(self, tenant: str, counter: str) -> CapState:
        """See `Books`."""
        try:
            return await self._counters.cap_state(tenant, counter)
        except NeedsRebuild:
            await self._rebuild(tenant)
            return await self._counters.cap_state(tenant, counter)

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
        if hold.settled:
            return
        entry = Entry("v", hold.id, admitted_ns=hold.admitted_ns)
        self._settle_alone(hold, 0, 0, entry)
        self._counters.void(hold)
        self._carrier.appended(hold.tenant, entry)

    def intend(self, hold: Hold, record: RequestRecord) -> None:
        """See `Books`: it was written when the hold was placed."""

    def settle(self, hold: Hold, record: RequestRecord) -> None:
        """See `Books`."""
        if hold.settled:
            return
        presumed, body = record.settled == "presumed", _encode(record)
        entry = Entry("s", hold.id, body, hold.usd, hold.tokens, hold.admitted_ns)
        self._settle_alone(hold, record.cost, record.tokens, entry, presumed=presumed)
        self._counters.settle(hold, record.cost, record.tokens, presumed=presumed, entry=body)
        self._carrier.appended(hold.tenant, entry)

    def _settle_alone(self, hold: Hold, usd: int, tokens: int, entry: Entry, *, presumed: bool = False) -> None:
        """What was counted here ends here. While Redis is away the ledger hears of it at once; what it hears twice counts once."""
        alone = self._alone.pop(hold, None)
        if alone is not None:
            alone[0].settle(alone[1], usd, tokens, presumed=presumed)
        if alone is not None or self._redis.away:
            self._spool.put(hold.tenant, entry)

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
        self.keeper.begin()

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
            self._well = 0
            return
        self._well += 1
        await self._counters.beat()
        await self._carrier.tell_again()
        if self._outage is not None and not self._counters.backlog and await self._allowances.refresh():
            self._outage = None  # not before the allowances know what was spent of them
        await self._allowances.refresh(unknown_only=beats % _LOOK_EVERY != 0)

    def _changed(self, away: bool) -> None:  # what `watch` calls
        """Redis has gone, or is back: then it hears at once of what was held meanwhile."""
        if away:
            self._well = 0
        elif self._beating is None or self._beating.done():
            self._beating = asyncio.get_running_loop().create_task(self._counters.beat())

    async def drain(self, within_s: float) -> bool:
        """Wait until everything that was settled is where it survives this process. False: it is not."""
        drained = self._redis.away or await self._counters.drain(within_s)
        if not drained or self._redis.away:
            for tenant in self._carrier.told.tenants():
                for entry in self._carrier.unconfirmed(tenant):
                    self._spool.put(tenant, entry)
        return await self._spool.drain(within_s) and (drained or not self._counters.backlog)

    async def aclose(self) -> None:
        """Stop; `drain` comes before."""
        await self.keeper.aclose()
        for task in (self._task, self._beating):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await self._counters.aclose()


def _intent_of(hold: Hold) -> Entry:
    return Entry("i", hold.id, hold.intent, hold.usd, hold.tokens, hold.admitted_ns)
