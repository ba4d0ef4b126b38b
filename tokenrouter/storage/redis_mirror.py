"""Copies of who is who in Redis, for processes that start while Postgres is away. Only keyed hashes of keys are in them."""

from typing import Final

from tokenrouter.storage.redis_client import RedisClient

_KEPT_MS: Final = 7 * 86_400_000


class RedisMirror:
    """`storage.directory.Mirror`."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def get(self, key: str) -> bytes | None:
        """See `Mirror`."""
        name = _name(key)
        found = await self._client.command(name, "GET", name)
        return found if isinstance(found, bytes) and found else None

    async def put(self, key: str, document: bytes) -> None:
        """See `Mirror`. A copy is kept for a week after it was last written."""
        name = _name(key)
        if document:
            await self._client.command(name, "SET", name, document, "PX", _KEPT_MS)
        else:
            await self._client.command(name, "DEL", name)


def _name(key: str) -> bytes:
    return b"tr:who:" + key.encode("utf-8", "surrogatepass")
