"""`quota.books.Counters` in Redis, shared by all workers: limits, places and caps of one tenant are asked for in one script.

The server's clock counts. What is held is leased: its owner renews it (`pulse`), and what nobody renews is presumed spent (`expire`).
Settlements and the like are handed over and sent until there is a reply (`redis_outbox`); sent twice they change nothing.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.lua import read_script
from tokenrouter.model.admission import Admitted, Ask, Bound, CapState, Crossing, Hold, Look, NeedsRebuild, Refused, Ticket, Worst
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.storage import redis_keys
from tokenrouter.storage.redis_alive import DONE_MS, LEASE_MS, PRESUMED_MS, SURE_MS, Pulse, RedisAlive
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_holdings import AllHoldings
from tokenrouter.storage.redis_link import Arg, RedisAway, Reply
from tokenrouter.storage.redis_outbox import Job, Outbox
from tokenrouter.storage.redis_plans import (
    Asked,
    Plans,
    RedisHold,
    asked,
    growing,
    hold_name,
    looking,
    place_name,
    settling,
    shares_of,
    ticket_name,
)
from tokenrouter.storage.redis_records import HoldRecord
from tokenrouter.storage.redis_replies import listed, number, read_given, read_look, read_refusal, words

log = logging.getLogger(__name__)

_PERIODS: Final = 4
_CLOCKS: Final = "the period of a cap can not be told: the clocks disagree; try again"
_MS: Final = 1_000_000
_UNTOLD: Final = 4  # parts of a reply of `settle` before the shares that were reached
_TENANT_KEPT_MS: Final = 40 * 86_400_000
"""Who did not use the counters for so long holds nothing."""
_answer = msgspec.msgpack.Decoder(KeptAnswer)


class RedisCounters:
    """See the module. For one event loop, made inside it."""

    def __init__(
        self,
        client: RedisClient,
        *,
        crossed: Callable[[Crossing], None] = lambda _: None,
        needs_rebuild: Callable[[str], None] = lambda _: None,
        most_waiting: int = 100_000,
        clock: Clock | None = None,
    ) -> None:
        """Counters of this worker.

        crossed        told once when a cap's share is reached in a period
        needs_rebuild  told of a tenant whose counters are not there while a settlement waits for them; `admit` raises NeedsRebuild
        most_waiting   settlements and the like that may wait for the server; with more, nothing is admitted
        clock          for tests only: counts instead of the server's
        """
        self._client, self._crossed, self._needs_rebuild, self._clock = client, crossed, needs_rebuild, clock
        self._outbox = Outbox(client, most=most_waiting)
        self._plans = Plans()
        self._holdings = AllHoldings()
        self._tasks: set[asyncio.Task[None]] = set()
        self._nonce, self._names = os.urandom(4).hex(), 0
        self._ahead_ms = time.time_ns() // _MS - time.monotonic_ns() // _MS
        self._admit, self._settle, self._grow, self._leave = (read_script(name) for name in ("admit", "settle", "grow", "leave"))
        self._register = read_script("register")
        self._look = read_script("look")
        self._alive = RedisAlive(client, clock=clock)

    @property
    def problem(self) -> str:
        """What is wrong, for operators; "" while all is well."""
        return self._client.problem or self._outbox.problem

    @property
    def backlog(self) -> int:
        """Settlements and the like without a reply."""
        return self._outbox.backlog

    @property
    def tenants(self) -> tuple[str, ...]:
        """Whose holds or tickets this worker has."""
        return tuple(self._holdings.known)

    def now_ms(self) -> int:
        """The server's time, Unix milliseconds, as its last reply lets estimate it."""
        if self._clock is not None:
            return self._clock.time_ns() // _MS
        return self._ahead_ms + time.monotonic_ns() // _MS

    async def admit(self, bound: Bound, ask: Ask, *, goes_on: bool = False) -> Admitted:
        """See `Counters`. Raises Refused, NeedsRebuild, Unavailable; ValueError for numbers that can not be counted exactly.

        `goes_on`: where nobody knows whether it was given, the caller tries again, or elsewhere, and says `call_off` if it does not. Its
        intent, which may stand in the ledger's stream, is that of the request however it goes on.
        """
        if self._outbox.full:
            raise Unavailable("settlements wait for the shared counters; try again")
        answer = None if ask.answer is None else redis_keys.answer(bound.tenant, ask.answer)
        requests = ask.requests
        for _ in range(_PERIODS):
            asking = self._asked(bound, ask, requests=requests, answer=answer)
            told = await self._ask(asking, ask, goes_on=goes_on)
            match told[0]:
                case 0:
                    given = self._given(asking, ask, told)
                    if given is not None:
                        return given
                    requests, answer = False, None  # what was kept can not be read: its request is taken, go on without it
                case 1:
                    raise Refused(read_refusal(told, bound, asking.charged))
                case 3:
                    self._see_epoch(bound.tenant, words(told[2]))
                    raise NeedsRebuild(bound.tenant)
                case 4:
                    raise Unavailable("this request was given up")
                case _:
                    continue  # another period has begun: the reply said what time it is
        raise Unavailable(_CLOCKS)

    def leave(self, ticket: Ticket) -> None:
        """See `Counters`."""
        name = ticket_name(ticket)
        self._holdings.drop_ticket(ticket.tenant, name)
        if ticket.leases:
            start = redis_keys.prefix(ticket.tenant)
            keys = tuple(start + place_name(counter) for counter in ticket.leases)
            self._outbox.put(Job(self._leave, keys, lambda: (name, self._now()), lambda told: bool(self._seen(told))))

    def settle(self, hold: Hold, usd: int, tokens: int, *, presumed: bool = False, entry: bytes = b"") -> None:
        """See `Counters`. `entry`: the settled RequestRecord as JSON, which enters the ledger's stream in the same script."""
        if not hold.settled:
            self._resolve(hold, "p" if presumed else "s", usd, tokens, entry)

    def void(self, hold: Hold) -> None:
        """There was no call after all: everything goes back, and the ledger is told to forget its intent."""
        if not hold.settled:
            self._resolve(hold, "v", 0, 0, b"")

    def grow(self, hold: Hold, usd: int, tokens: int) -> None:
        """See `Counters`. A hold that is presumed spent by now stays as it is."""
        if hold.settled:
            return
        keys, args = growing(hold, usd, tokens)
        hold.caps = tuple(msgspec.structs.replace(held, amount=max(held.amount, usd if held.cap.unit == "usd" else tokens)) for held in hold.caps)
        hold.takes = tuple(msgspec.structs.replace(taken, amount=max(taken.amount, tokens)) for taken in hold.takes)
        hold.usd, hold.tokens = max(hold.usd, usd), max(hold.tokens, tokens)
        name, key = hold_name(hold), keys[0]
        self._outbox.put(
            Job(
                self._grow,
                keys,
                lambda: (name, self._now(), self._client.run_id(key), *args),
                lambda told: bool(self._seen(told)),
            )
        )

    async def cap_state(self, tenant: str, counter: str) -> CapState:
        """See `Counters`. Raises NeedsRebuild."""
        start = redis_keys.prefix(tenant)
        keys = (start + b"epoch", start + b"index", redis_keys.counter(tenant, counter))
        told = self._seen(await self._client.run(self._look, keys, (self._now(), self._client.run_id(keys[0]), 0, 0, 0, 1, 0, 0)))
        if told[0] == 3:
            raise NeedsRebuild(tenant)
        return CapState(*(number(each) for each in told[2:]))

    async def look(self, bound: Bound, *, sandbox: bool) -> Look:
        """See `Counters`. Raises NeedsRebuild."""
        plan = self._plans.of(bound)
        for _ in range(_PERIODS):
            charged = plan.charged(self.now_ms(), sandbox=sandbox)
            keys, args = looking(plan, charged)
            told = self._seen(await self._client.run(self._look, keys, (self._now(), self._client.run_id(keys[0]), *args)))
            if told[0] == 3:
                raise NeedsRebuild(bound.tenant)
            if told[0] == 0:
                return read_look(told, plan, charged)
        raise Unavailable(_CLOCKS)

    async def pulse(self, tenant: str, holds: Iterable[Hold], tickets: Iterable[Ticket] = ()) -> Pulse:
        """Renew this worker's holds and places of one tenant, and tell the server of those that it lost. Raises Unavailable."""
        found = await self._alive.pulse(tenant, holds, tickets)
        self._see(found.now_ms)
        self._holdings.see_epoch(tenant, found.epoch)
        return found

    async def beat(self) -> None:
        """Pulse for everything that this worker has. Never fails: whoever drives it comes again."""
        for tenant in self.tenants:
            await self._beat(tenant)

    async def watch(self) -> None:
        """See whether a tenant's counters were lost of whom this worker holds something: then its owner tells what it holds. Never fails."""
        await asyncio.gather(*(self._watch(tenant) for tenant, known in tuple(self._holdings.known.items()) if known.holds))

    async def known_tenants(self) -> tuple[str, ...]:
        """Every tenant that any worker may hold something of. Raises Unavailable."""
        oldest = str(self.now_ms() - _TENANT_KEPT_MS)
        await self._client.command(redis_keys.TENANTS, "ZREMRANGEBYSCORE", redis_keys.TENANTS, "-inf", oldest)
        told = listed(await self._client.command(redis_keys.TENANTS, "ZRANGE", redis_keys.TENANTS, 0, -1))
        return tuple(words(name) for name in told)

    async def expire(self, tenant: str, most: int = 100) -> tuple[HoldRecord, ...]:
        """Presume the holds spent whose owners did not renew them. Says which; the ledger is told in the same scripts. Raises Unavailable."""
        return await self._alive.expire(tenant, most)

    async def sweep(self, tenant: str) -> int:
        """Forget what is over: counters of past periods, places that lapsed, names of old holds. Says how many keys. Raises Unavailable."""
        return await self._alive.sweep(tenant, self.now_ms())

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until everything that was settled, grown or left has a reply. False: not within `timeout_s`."""
        return await self._outbox.drain(timeout_s)

    async def aclose(self) -> None:
        """Send nothing any more; `drain` comes before. The client stays open."""
        self._outbox.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Holds that are placed elsewhere while the server is away

    def prepare(self, bound: Bound, ask: Ask) -> RedisHold:
        """The hold of a request that is admitted elsewhere, on the caps that bind it; limits are kept there. Nobody knows of it yet.

        Raises ValueError for numbers that can not be counted exactly.
        """
        assert ask.worst is not None  # noqa: S101  # whoever holds nothing needs none
        asking = self._asked(bound, ask, requests=False, answer=None)
        hold = asking.hold(ask, ask.worst, self.now_ms(), (0,) * len(bound.tokens))
        hold.takes, hold.unheard = (), True
        return hold

    def adopt(self, hold: RedisHold) -> None:
        """From here on it is like a hold that the server has lost: it is told of it when it is back, and of its settlement."""
        if self._holdings.add(hold.tenant, hold):
            self._tell_of(hold.tenant)

    def call_off(self, tenant: str, ask: Ask) -> None:
        """Nobody goes on with a request that may have been admitted (`admit`): the ledger is told to forget its intent."""
        nothing = Hold(ask.id, tenant, Worst(0, 0, sandbox=False), admitted_ns=self.now_ms() * _MS, intent=ask.intent)
        self._resolve(nothing, "v", 0, 0, b"")

    # Asking

    def _asked(self, bound: Bound, ask: Ask, *, requests: bool, answer: bytes | None) -> Asked:
        self._names += 1
        name = f"{ask.id}.{self._nonce}{self._names:x}"
        plan = self._plans.of(bound)
        return asked(plan, ask, name, self.now_ms(), lease_ms=LEASE_MS, hold_ms=LEASE_MS, requests=requests, answer=answer)

    async def _ask(self, asking: Asked, ask: Ask, *, goes_on: bool) -> Sequence[Reply]:
        run_id = self._client.run_id(asking.keys[0])
        try:
            told = await self._client.run(self._admit, asking.keys, (asking.name, ask.id, self._now(), run_id, *asking.args))
        except RedisAway as away:
            if away.may_have_run:
                self._give_up(asking, msgspec.structs.replace(ask, intent=b"") if goes_on else ask)
            raise
        except asyncio.CancelledError:
            self._give_up(asking, ask)
            raise
        return self._seen(told)

    def _given(self, asking: Asked, ask: Ask, told: Sequence[Reply]) -> Admitted | None:
        """What was given, remembered as this worker's. None: the kept answer means nothing."""
        bound = asking.plan.bound
        given = read_given(told, asking.plan)
        if given.kept:
            try:
                kept = _answer.decode(given.kept)
            except msgspec.MsgspecError:
                log.warning("a kept answer of %s can not be read and is not given", bound.tenant)
                return None
            return Admitted(kept=kept, requests=given.requests, tokens=given.tokens)
        ticket = asking.ticket(ask) if ask.lease and bound.concurrency else None
        hold = None if ask.worst is None else asking.hold(ask, ask.worst, given.now_ms, given.ticks)
        if ticket is not None or hold is not None:
            if self._holdings.add(bound.tenant, hold, ticket):
                self._tell_of(bound.tenant)
            self._see_epoch(bound.tenant, given.epoch)
        warnings = tuple(bound.caps[which - 1].cap for which in given.warnings)
        return Admitted(ticket=ticket, hold=hold, requests=given.requests, tokens=given.tokens, warnings=warnings)

    def _give_up(self, asking: Asked, ask: Ask) -> None:
        """Nobody knows whether it was given: it is given back if it was, and refused if it is still on its way."""
        if ask.worst is None and not ask.lease:
            return
        worst = ask.worst or Worst(0, 0, sandbox=False)
        hold = asking.hold(ask, worst, self.now_ms(), (0,) * len(asking.plan.bound.tokens))
        self._resolve(hold, "u", 0, 0, b"")
        if ask.lease and asking.plan.bound.concurrency:
            self.leave(asking.ticket(ask))

    # Settling

    def _resolve(self, hold: Hold, mode: str, usd: int, tokens: int, entry: bytes) -> None:
        hold.settled = True
        keys, args = settling(hold, mode, usd, tokens, entry, done_ms=DONE_MS)
        name, key = hold_name(hold), keys[0]

        def said() -> tuple[Arg, ...]:
            if isinstance(hold, RedisHold) and hold.unheard and not job.issued:
                sure: Arg = ""
            else:  # what may never have been given may have been presumed, but not settled
                sure = PRESUMED_MS if mode == "u" else SURE_MS
            return name, hold.id, self._now(), self._client.run_id(key), sure, *args

        def done(told: Reply) -> bool:
            parts = self._seen(told)
            if parts[0] == 3:
                self._needs_rebuild(hold.tenant)
                return False
            if parts[0] == 4:
                self._needs_rebuild(hold.tenant)
            self._holdings.drop_hold(hold.tenant, name)
            if len(parts) > _UNTOLD:
                self._cross(hold, parts[_UNTOLD:])
            return True

        job = Job(self._settle, keys, said, done)
        self._outbox.put(job)

    def _cross(self, hold: Hold, told: Sequence[Reply]) -> None:
        """Tell of the shares that this settlement was the first to reach."""
        for which, share, booked in zip(told[::3], told[1::3], told[2::3], strict=True):
            held = hold.caps[number(which) - 1]
            self._crossed(Crossing(held.cap, held.counter, shares_of(held.cap)[number(share) - 1], number(booked), hold.tenant))

    # Holds that are alive, and those that are not

    async def _beat(self, tenant: str) -> None:
        known = self._holdings.known.get(tenant)
        if known is None:
            return
        try:
            await self.pulse(tenant, tuple(known.holds.values()), tuple(known.tickets.values()))
            self._tell_of(tenant)
        except Unavailable as away:
            log.warning("what is held for %s could not be renewed: %s", tenant, getattr(away, "said", away))

    async def _watch(self, tenant: str) -> None:
        key = redis_keys.prefix(tenant) + b"epoch"
        try:
            self._see_epoch(tenant, words(await self._client.command(key, "HGET", key, "id")))
        except Unavailable:
            return  # `problem` says so

    def _tell_of(self, tenant: str) -> None:
        """Others look after what this worker holds, should it die."""
        if self._holdings.is_unregistered(tenant, time.monotonic()):
            self._outbox.put(Job(self._register, (redis_keys.TENANTS,), lambda: (tenant, self._now()), lambda told: bool(self._seen(told))))

    def _see_epoch(self, tenant: str, epoch: str) -> None:
        """The server may have lost what it had: then tell it at once what this worker holds."""
        if self._holdings.see_epoch(tenant, epoch):
            task = asyncio.get_running_loop().create_task(self._beat(tenant))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # The server's clock

    def _now(self) -> str:
        return "" if self._clock is None else str(self.now_ms())

    def _see(self, now_ms: int) -> None:
        self._ahead_ms = now_ms - time.monotonic_ns() // _MS

    def _seen(self, told: Reply) -> Sequence[Reply]:
        """A reply whose second part is the server's time."""
        parts = listed(told)
        if isinstance(now_ms := parts[1], int):
            self._see(now_ms)
        return parts
