"""Calls of workers that died while Redis was away: Postgres has their intents, and in Redis nobody holds anything for them.

Everybody who lives tells Redis of what it holds as soon as it can (`redis_counters`), so what is missing there after a while has no owner.
Such calls may have been billed: they are presumed spent, in the ledger and by the counters.
"""

import asyncio
import logging
from typing import Final

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.storage.carrier import Carrier
from tokenrouter.storage.postgres_ledger import PostgresLedger
from tokenrouter.storage.rebuild import Rebuilder
from tokenrouter.storage.redis_rebuild import RedisRebuilds

log = logging.getLogger("tokenrouter")

OLD_S: Final = 180.0
"""Three leases: who has not told Redis by then can not, or is dead. If it was only cut off, the truth replaces the presumption."""

_DRAIN_S: Final = 20.0
_VOID_NS: Final = 86_400_000_000_000
_REBUILD_S: Final = 60.0


class Orphans:
    """One worker's look at all tenants. Several may look at the same time; presuming twice changes nothing."""

    def __init__(self, redis: RedisRebuilds, ledger: PostgresLedger, carrier: Carrier, rebuilder: Rebuilder, clock: Clock) -> None:
        self._redis, self._ledger, self._carrier, self._rebuilder, self._clock = redis, ledger, carrier, rebuilder, clock

    async def settle(self, old_s: float = OLD_S) -> int:
        """Presume spent what was admitted longer ago than `old_s` and is nobody's. How many calls. Raises Unavailable."""
        now_ns = self._clock.time_ns()
        before_ns = now_ns - round(old_s * 1e9)
        await self._ledger.forget_voided(now_ns - _VOID_NS)
        return sum([await self._settle(tenant, before_ns) for tenant in await self._ledger.unended(before_ns)])

    async def _settle(self, tenant: str, before_ns: int) -> int:
        opened = set(await self._ledger.open_intents(tenant, before_ns))
        opened -= {record.id for record in await self._redis.asserted(tenant)}
        if not opened:
            return 0
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._carrier.drain(tenant)
        except TimeoutError:
            raise Unavailable("the ledger's stream is longer than can be carried at once; try again") from None
        opened &= set(await self._ledger.open_intents(tenant, before_ns))
        if not opened:
            return 0
        log.warning("%d calls of %s have no owner any more and are presumed spent", len(opened), tenant)
        if await self._redis.ready(tenant):  # then their caps' counters are to know of it, and are made again
            await self._redis.forget(tenant)
            await self._rebuilder.ensure(tenant, _REBUILD_S)
        else:
            await self._ledger.presume(tenant, sorted(opened))
        return len(opened)
