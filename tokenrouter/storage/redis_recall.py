"""What clients leave out or repeat, known to all workers through Redis: items of translated answers, and idempotency keys.

Both have an end and may be evicted; what is lost is refused by its place, or taken for new.
"""

import asyncio
import hashlib
import logging
from typing import Final, cast

from tokenrouter.errors import Unavailable
from tokenrouter.storage import redis_keys
from tokenrouter.storage.redis_client import RedisClient

log = logging.getLogger("tokenrouter")

_ITEM_MS: Final = 86_400_000
_LARGEST_ITEM: Final = 1 << 20
_READ_S: Final = 1.0


class RedisItems:
    """`recall.items.SharedItems`. For one event loop."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._sending: set[asyncio.Task[None]] = set()

    def put(self, tenant: str, name: str, item: bytes) -> None:
        """Let the other workers know. One that is too large stays with this worker."""
        if len(item) <= _LARGEST_ITEM:
            task = asyncio.get_running_loop().create_task(self._send(_item_key(tenant, name), item))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def get(self, tenant: str, name: str) -> bytes | None:
        """What any worker was told under this name. Raises Unavailable."""
        key = _item_key(tenant, name)
        return cast("bytes | None", await self._redis.command(key, "GET", key, timeout_s=_READ_S))

    async def aclose(self) -> None:
        """Wait until everything is sent."""
        await asyncio.gather(*self._sending)

    async def _send(self, key: bytes, item: bytes) -> None:
        try:
            await self._redis.command(key, "SET", key, item, "PX", _ITEM_MS, timeout_s=_READ_S)
        except Unavailable:
            return  # this worker still has it


class RedisFirsts:
    """`recall.idempotency.SharedFirsts`: who said something first."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def first(self, key_id: str, name: str, said: bytes, ttl_ms: int) -> bytes:
        """What was said first under this name in the last `ttl_ms`: by now at least this. Raises Unavailable."""
        key = redis_keys.prefix(f"key {key_id}") + b"first:" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest().encode()
        while True:
            if await self._redis.command(key, "SET", key, said, "PX", ttl_ms, "NX") is not None:
                return said
            found = cast("bytes | None", await self._redis.command(key, "GET", key))
            if found is not None:
                return found  # None: it ended between the two


def _item_key(tenant: str, name: str) -> bytes:
    return redis_keys.prefix(tenant) + b"i:" + name.encode("utf-8", "surrogatepass")
