"""Who created what a provider keeps, known to all workers: memory over Redis, where the next request may look at once, over Postgres.

What was deleted is a row that has expired, so that a late write can not bring it back in another order than it was told.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Final, cast

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.at_hand import NotAtHand
from tokenrouter.model.owned import Owned
from tokenrouter.storage import redis_keys
from tokenrouter.storage.batches import Batches
from tokenrouter.storage.postgres import Postgres
from tokenrouter.storage.postgres_pool import Connection
from tokenrouter.storage.redis_client import RedisClient

log = logging.getLogger("tokenrouter")

FILES: Final = ("postgres/owned_queries.sql",)
"""Files of statements that the database must know."""

_HOT_MS: Final = 3_600_000
_UNKNOWN_NS: Final = 2_000_000_000
_IN_MEMORY: Final = 65_536
_owned = msgspec.msgpack.Decoder(Owned)
_GONE: Final = Owned("", 0, 0)

Key = tuple[str, str]


class SharedOwned:
    """`recall.ownership.Ownership` of several workers. For one event loop.

    `find` raises NotAtHand for what is not in this worker's memory; `fetch` brings it there.
    """

    def __init__(self, redis: RedisClient, database: Postgres, clock: Clock, *, in_memory: int = _IN_MEMORY) -> None:
        """`database`: one that knows the statements of `FILES`. `in_memory`: objects for which nobody is asked."""
        self._redis, self._db, self._clock, self._most = redis, database, clock, in_memory
        self._known: OrderedDict[Key, Owned] = OrderedDict()
        self._unknown: OrderedDict[Key, int] = OrderedDict()
        self._sending: set[asyncio.Task[None]] = set()
        self.rows: Batches[tuple[str, str, Owned]] = Batches(self._write, name="stored answers' owners", most=200_000, pause_s=0.01)

    def find(self, tenant: str, object_id: str) -> Owned | None:
        """See `Ownership`. Raises NotAtHand."""
        key = (tenant, object_id)
        owned = self._known.get(key)
        if owned is None:
            if self._clock.monotonic_ns() - self._unknown.get(key, -_UNKNOWN_NS) < _UNKNOWN_NS:
                return None
            raise NotAtHand(partial(self.fetch, tenant, (object_id,)))
        self._known.move_to_end(key)
        return owned if owned.expires_ns > self._clock.time_ns() else None

    async def fetch(self, tenant: str, object_ids: Sequence[str]) -> None:
        """Learn whose these objects are, from Redis or else from Postgres. Raises Unavailable."""
        await asyncio.gather(*(self._fetch(tenant, object_id) for object_id in object_ids))

    def record(self, tenant: str, object_ids: Sequence[str], owned: Owned) -> None:
        """See `Ownership`. Every worker finds it a moment later."""
        for object_id in object_ids:
            self._tell(tenant, object_id, owned)

    def forget(self, tenant: str, object_id: str) -> None:
        """See `Ownership`. Another worker that has it in memory asks the provider once more, who says so."""
        self._tell(tenant, object_id, _GONE)

    async def drop_expired(self, most: int = 10_000) -> int:
        """Delete what is over from Postgres, so many at most. How many. Raises Unavailable."""
        return await self._db.run(partial(self._drop_expired, most))

    async def aclose(self) -> None:
        """Write what waits."""
        await asyncio.gather(*self._sending)
        await self.rows.aclose(10)

    async def _fetch(self, tenant: str, object_id: str) -> None:
        owned = await self._hot(tenant, object_id)
        if owned is None:
            found = await self._db.rows("get_owned", {"tenant": tenant, "id": object_id.replace("\0", ""), "now": self._clock.time_ns()})
            owned = Owned(*cast("tuple[str, int, int]", found[0])) if found else None
        if owned is not None:
            self._remember((tenant, object_id), owned)
            return
        self._unknown[tenant, object_id] = self._clock.monotonic_ns()
        self._unknown.move_to_end((tenant, object_id))
        while len(self._unknown) > self._most:
            self._unknown.popitem(last=False)

    async def _hot(self, tenant: str, object_id: str) -> Owned | None:
        key = _hot_key(tenant, object_id)
        try:
            found = await self._redis.command(key, "GET", key)
            return None if found is None else _owned.decode(cast("bytes", found))
        except (Unavailable, msgspec.MsgspecError):
            return None  # Postgres knows it too

    def _tell(self, tenant: str, object_id: str, owned: Owned) -> None:
        self._remember((tenant, object_id), owned)
        task = asyncio.get_running_loop().create_task(self._heat(_hot_key(tenant, object_id), owned))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        if not self.rows.put((tenant, object_id, owned)):
            log.warning("too many stored answers wait for Postgres; %s of %s will be unknown after an hour", object_id[:100], tenant)

    async def _heat(self, key: bytes, owned: Owned) -> None:
        try:
            await self._redis.command(key, "SET", key, msgspec.msgpack.encode(owned), "PX", _HOT_MS)
        except Unavailable:
            return  # Postgres has it a little later

    def _remember(self, key: Key, owned: Owned) -> None:
        self._unknown.pop(key, None)
        self._known[key] = owned
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    async def _write(self, several: Sequence[tuple[str, str, Owned]]) -> None:
        await self._db.run(partial(self._insert, several), timeout_s=10)

    async def _insert(self, several: Sequence[tuple[str, str, Owned]], connection: Connection) -> None:
        params = {
            "tenants": [tenant for tenant, _, _ in several],
            "ids": [object_id.replace("\0", "") for _, object_id, _ in several],
            "deployments": [owned.deployment for _, _, owned in several],
            "tokens": [owned.tokens for _, _, owned in several],
            "expiries": [owned.expires_ns for _, _, owned in several],
        }
        await self._db.execute(connection, "put_owned", params)  # type: ignore[arg-type]  # psycopg takes lists

    async def _drop_expired(self, most: int, connection: Connection) -> int:
        found = await self._db.execute(connection, "drop_expired_owned", {"now": self._clock.time_ns(), "most": most})
        return found.rowcount


def _hot_key(tenant: str, object_id: str) -> bytes:
    return redis_keys.prefix(tenant) + b"o:" + object_id.encode("utf-8", "surrogatepass")
