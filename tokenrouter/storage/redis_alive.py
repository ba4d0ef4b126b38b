"""Holds and places while their owners live, and after: renewed, told of again where the server lost them, presumed spent, forgotten."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.lua import read_script
from tokenrouter.model.admission import Hold, Ticket
from tokenrouter.storage import redis_keys
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_link import Arg, Reply
from tokenrouter.storage.redis_plans import (
    RedisHold,
    asserting,
    hold_name,
    place_name,
    ticket_name,
)
from tokenrouter.storage.redis_records import HoldRecord, read_hold
from tokenrouter.storage.redis_replies import listed, number, raw, words

LEASE_MS: Final = 60_000
"""Holds and places lapse when their owner has not renewed them for so long."""
DONE_MS: Final = 900_000
"""Names of settled holds are remembered for so long, so that a settlement that is sent again is not booked again."""
SURE_MS: Final = DONE_MS - 60_000
"""A hold that is not known and was admitted longer ago than this may have been settled, or presumed spent, and forgotten: a settlement is
sent until there is a reply, however long that takes. It is not booked, as that might be the second time: the ledger is told, which takes
nothing twice, and the tenant's counters are made again from it. The minute is for clocks that disagree."""
PRESUMED_MS: Final = 86_400_000
"""A presumed hold is remembered for so long, longer than `SURE_MS`."""
COUNTERS_MS: Final = 86_400_000
"""Caps' counters are kept for so long after their period."""

_CHUNK: Final = 500


class Pulse(msgspec.Struct, frozen=True):
    """What a pulse found.

    epoch     of the tenant's caps; "" where there are no counters
    ready     whether caps' counters are there
    asserted  holds that were lost and are there again
    now_ms    the server's time
    """

    epoch: str
    ready: bool
    asserted: int
    now_ms: int


class RedisAlive:
    """See the module. `clock`: for tests only."""

    def __init__(self, client: RedisClient, *, clock: Clock | None = None) -> None:
        self._client, self._clock = client, clock
        self._pulse, self._assert = read_script("pulse"), read_script("assert")
        self._due, self._expire, self._sweep = read_script("due"), read_script("expire"), read_script("sweep")

    async def pulse(self, tenant: str, holds: Iterable[Hold], tickets: Iterable[Ticket] = ()) -> Pulse:
        """Renew a worker's holds and places of one tenant, and tell the server of those that it lost. Raises Unavailable."""
        named = [hold for hold in holds if not hold.local]
        leased = [(ticket, counter) for ticket in tickets if not ticket.local for counter in ticket.leases]
        asserted = 0
        for first in range(0, max(len(named), len(leased), 1), _CHUNK):
            part, places = named[first : first + _CHUNK], leased[first : first + _CHUNK]
            told = await self._pulse_part(tenant, part, places)
            lost = [part[number(which) - 1] for which in told[5:]]
            sure_ms = max(number(told[0]) - SURE_MS, number(told[3]) if told[2] == b"ready" else 0)
            lost = [hold for hold in lost if not hold.settled or hold.admitted_ns >= sure_ms * 1_000_000]  # of the others the settlement tells
            asserted += sum(await asyncio.gather(*(self._tell(hold) for hold in lost)))
        run_id = self._client.run_id(redis_keys.prefix(tenant))
        ready = told[2] == b"ready" and (not run_id or words(told[4]) in ("", run_id))
        return Pulse(words(told[1]), ready, asserted, number(told[0]))

    async def _pulse_part(self, tenant: str, holds: Sequence[Hold], places: Sequence[tuple[Ticket, str]]) -> Sequence[Reply]:
        start = redis_keys.prefix(tenant)
        counters = {counter: which for which, counter in enumerate(dict.fromkeys(counter for _, counter in places), 1)}
        keys = [start + name for name in (b"epoch", b"holds", b"hold", b"done", b"index")]
        keys += [start + place_name(counter) for counter in counters]
        args: list[Arg] = [self._now(), LEASE_MS, LEASE_MS, len(holds), *(hold_name(hold) for hold in holds)]
        for ticket, counter in places:
            args += (ticket_name(ticket), counters[counter])
        return listed(await self._client.run(self._pulse, keys, args))

    async def _tell(self, hold: Hold) -> bool:
        keys, args = asserting(hold, LEASE_MS)
        if isinstance(hold, RedisHold):
            hold.unheard = False
        run_id = self._client.run_id(keys[0])
        told = listed(await self._client.run(self._assert, keys, (hold_name(hold), hold.id, self._now(), run_id, *args)))
        return told[0] == 0

    async def expire(self, tenant: str, most: int = 100) -> tuple[HoldRecord, ...]:
        """Presume the holds spent whose owners did not renew them. Says which; the ledger is told in the same scripts. Raises Unavailable."""
        start = redis_keys.prefix(tenant)
        told = listed(await self._client.run(self._due, (start + b"holds", start + b"hold"), (self._now(), most)))
        due = [(raw(name), read_hold(raw(record)) if record else None) for name, record in zip(told[1::2], told[2::2], strict=True)]
        expired = await asyncio.gather(*(self._expire_hold(start, name, record) for name, record in due))
        return tuple(record for (_, record), is_presumed in zip(due, expired, strict=True) if is_presumed and record is not None)

    async def _expire_hold(self, start: bytes, name: bytes, record: HoldRecord | None) -> bool:
        keys = [start + part for part in (b"epoch", b"holds", b"hold", b"presumed", b"ledger", b"index")]
        keys += [start + counter.encode() for counter, _, _ in (() if record is None else record.caps)]
        args: tuple[Arg, ...] = (name, self._now(), self._client.run_id(keys[0]))
        return listed(await self._client.run(self._expire, keys, args))[0] == 0

    async def sweep(self, tenant: str, now_ms: int, most: int = 200) -> int:
        """Forget what is over: counters of past periods, places that lapsed, names of old holds. Says how many keys. Raises Unavailable.

        `now_ms`: about the server's time; what is looked at depends on it, what is forgotten does not.
        """
        start = redis_keys.prefix(tenant)
        index = start + b"index"
        names = listed(await self._client.command(index, "ZRANGEBYSCORE", index, "-inf", str(now_ms), "LIMIT", 0, most))
        keys = [start + name for name in (b"epoch", b"index", b"done", b"presumed", b"hold")]
        keys += [start + raw(name) for name in names]
        return number(listed(await self._client.run(self._sweep, keys, (self._now(), COUNTERS_MS, DONE_MS, PRESUMED_MS)))[0])

    def _now(self) -> str:
        return "" if self._clock is None else str(self._clock.time_ns() // 1_000_000)
