"""A tenant's counters, made anew from the ledger where Redis does not have them: it never had, or it lost them.

Before the ledger is summed up, every worker that lives tells of what it holds and of what it had appended to the stream
(`storage.redis_rebuild`, `storage.carrier`), and the stream is carried. What nobody tells of is presumed spent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.admission import NeedsRebuild
from tokenrouter.model.rules import Cap
from tokenrouter.storage.carrier import Carrier
from tokenrouter.storage.database import Database
from tokenrouter.storage.postgres_ledger import PostgresLedger
from tokenrouter.storage.redis_rebuild import ASSERT_MS, Rebuild, RedisRebuilds, Sum
from tokenrouter.storage.register import Register

log = logging.getLogger("tokenrouter")

CapsOf = Callable[[str], Awaitable[tuple[list[Cap], str]]]
"""A tenant's caps, its keys' quotas among them, and its time zone. Raises Unavailable."""

Sleep = Callable[[float], Awaitable[object]]

_MS: Final = 1_000_000
_WAIT_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.1
_DRAIN_S: Final = 20.0
_PAGE: Final = 500


class Rebuilder:
    """One worker's part in it; of several workers one does it. For one event loop."""

    def __init__(
        self,
        redis: RedisRebuilds,
        carrier: Carrier,
        ledger: PostgresLedger,
        database: Database,
        caps_of: CapsOf,
        clock: Clock,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`database`: the ledger's, which says why it can not be asked."""
        self._redis, self._carrier, self._ledger, self._database = redis, carrier, ledger, database
        self._caps_of, self._clock, self._sleep = caps_of, clock, sleep
        self._under_way: dict[str, asyncio.Task[None]] = {}

    @property
    def under_way(self) -> tuple[str, ...]:
        """Tenants whose counters are made again, by this process or one that it waits for."""
        return tuple(sorted(self._under_way))

    async def ensure(self, tenant: str, wait_s: float = _WAIT_S) -> None:
        """Wait until the tenant's counters are there. Whoever leaves does not end it.

        Raises:
            Unavailable: the ledger can not be asked; nothing is admitted that a cap binds.
            NeedsRebuild: it takes longer than the caller can wait.
        """
        task = self.begin(tenant)
        await asyncio.wait({task}, timeout=wait_s)
        if not task.done():
            raise NeedsRebuild(tenant)
        task.result()

    def begin(self, tenant: str) -> "asyncio.Task[None]":
        """Begin, unless that has happened already."""
        task = self._under_way.get(tenant)
        if task is None:
            task = self._under_way[tenant] = asyncio.get_running_loop().create_task(self._rebuild(tenant))
            task.add_done_callback(lambda done: self._ended(tenant, done))
        return task

    async def aclose(self) -> None:
        """Leave it to others."""
        for task in list(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _ended(self, tenant: str, task: "asyncio.Task[None]") -> None:
        del self._under_way[tenant]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("the counters of %s could not be rebuilt: %s", tenant, self._database.problem or error)

    async def _rebuild(self, tenant: str) -> None:
        while not await self._redis.ready(tenant):
            rebuild = await self._redis.begin_rebuild(tenant)
            if rebuild is None or not await self._done(rebuild):
                await self._sleep(_LOOK_AGAIN_S)

    async def _done(self, rebuild: Rebuild) -> bool:
        tenant, began_ns = rebuild.tenant, self._clock.monotonic_ns()
        if await self._ledger.was_counted(tenant):
            await self._sleep(max(0, rebuild.since_ms + ASSERT_MS - rebuild.now_ms) / 1000)
            presumed = await self._presume(tenant)
            log.warning("the counters of %s were lost with Redis and are rebuilt from the ledger; %d open calls are presumed spent", tenant, presumed)
        else:
            await self._drained(tenant)
            await self._ledger.count(tenant)
        now_ns = rebuild.now_ms * _MS + self._clock.monotonic_ns() - began_ns
        caps, zone = await self._caps_of(tenant)
        held = await self._held(tenant)
        while True:
            account = await self._ledger.account(tenant, caps, zone, now_ns, held=sorted(held))
            before, held = held, await self._held(tenant)
            if held <= before:  # nobody told of a hold that the account does not know of
                break
        sums = {each.counter: Sum(each.state.spent, each.state.presumed, each.ends_ms) for each in account.sums}
        return await self._redis.seed(rebuild, sums, presumed=account.presumed, settled=account.settled)

    async def _held(self, tenant: str) -> frozenset[str]:
        """Calls that are held in Redis."""
        return frozenset(record.id for record in await self._redis.asserted(tenant))

    async def _presume(self, tenant: str) -> int:
        """Write down that calls of which nobody tells may have been billed. How many.

        Looked for twice: of a call that was settled in between, the settlement was in the stream before its hold was gone.
        """
        await self._drained(tenant)
        now_ns = 1 << 62
        opened = await self._ledger.open_intents(tenant, now_ns)
        held = await self._held(tenant)
        orphans = [name for name in opened if name not in held]
        if not orphans:
            return 0
        await self._drained(tenant)
        still = set(await self._ledger.open_intents(tenant, now_ns))
        return await self._ledger.presume(tenant, [name for name in orphans if name in still])

    async def _drained(self, tenant: str) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._carrier.drain(tenant)
        except TimeoutError:
            raise Unavailable("the ledger's stream is longer than can be carried at once; try again") from None


def caps_from(register: Register) -> CapsOf:
    """A tenant's caps as they are stored."""

    async def caps_of(tenant: str) -> tuple[list[Cap], str]:
        found: list[Cap] = []
        page = await register.rules(tenant, most=_PAGE)
        while page:
            found += [rule for rule in page if isinstance(rule, Cap)]
            page = await register.rules(tenant, page[-1].id, most=_PAGE)
        for key in await register.all(tenant):
            found += key.principal.rules.caps
        known = await register.tenant(tenant)
        return found, "UTC" if known is None else known.zone

    return caps_of
