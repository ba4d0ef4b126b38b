"""Redis as a place that counts: of tenants of whom the ledger knows nothing, so what is missing begins at zero."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.model.admission import Admitted, Ask, Bound, CapState, Crossing, Look, NeedsRebuild
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.storage import redis_keys
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_counters import RedisCounters
from tokenrouter.storage.redis_rebuild import RedisRebuilds

T = TypeVar("T")


class SharedCounters(RedisCounters):
    """Counters that seed themselves."""

    def __init__(self, client: RedisClient, *, crossed: Callable[[Crossing], None] = lambda _: None, clock: Clock | None = None) -> None:
        super().__init__(client, crossed=crossed, clock=clock)
        self.client, self.rebuilds = client, RedisRebuilds(client, clock=clock)

    async def admit(self, bound: Bound, ask: Ask) -> Admitted:
        admit = super().admit
        return await self.seeded(bound.tenant, lambda: admit(bound, ask))

    async def look(self, bound: Bound, *, sandbox: bool) -> Look:
        look = super().look
        return await self.seeded(bound.tenant, lambda: look(bound, sandbox=sandbox))

    async def cap_state(self, tenant: str, counter: str) -> CapState:
        cap_state = super().cap_state
        return await self.seeded(tenant, lambda: cap_state(tenant, counter))

    async def seeded(self, tenant: str, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except NeedsRebuild:
                rebuild = await self.rebuilds.begin_rebuild(tenant)
                if rebuild is not None:
                    await self.rebuilds.seed(rebuild, {})

    async def keep(self, tenant: str, identity: bytes, answer: KeptAnswer) -> None:
        key = redis_keys.answer(tenant, identity)
        await self.client.command(key, "SET", key, msgspec.msgpack.encode(answer))


@asynccontextmanager
async def shared_counters(
    url: str, *, crossed: Callable[[Crossing], None] = lambda _: None, clock: Clock | None = None, timeout_s: float = 5
) -> AsyncIterator[SharedCounters]:
    """Counters with a client of their own."""
    client = RedisClient(url, timeout_s=timeout_s)
    counters = SharedCounters(client, crossed=crossed, clock=clock)
    yield counters
    await counters.aclose()
    await client.aclose()
