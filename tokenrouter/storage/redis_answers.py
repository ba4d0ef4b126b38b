"""Kept answers of all workers: hot in Redis, where admission itself finds them, and warm in Postgres beneath.

An answer stands in Redis under its tenant's slot (`redis_keys.answer`), as msgpack, and goes when it expires or when Redis needs the
room. What is found in Postgres alone goes back to Redis, and still expires when it always would have. Losing either costs misses.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final, cast

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.kept import KeptAnswer, KeptTotals
from tokenrouter.storage import redis_keys
from tokenrouter.storage.batches import Batches
from tokenrouter.storage.database import Params
from tokenrouter.storage.postgres import Postgres
from tokenrouter.storage.postgres_pool import Connection
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_link import RedisRefused

log = logging.getLogger("tokenrouter")

FILES: Final = ("postgres/answers_queries.sql",)
"""Files of statements that the database must know."""

_LARGEST: Final = 4 << 20
_MS: Final = 1_000_000
_WARM_S: Final = 0.25
_SCAN: Final = 500
_SLOW_S: Final = 2.0
_TOGETHER: Final = 256
_kept = msgspec.msgpack.Decoder(KeptAnswer)

Kept = tuple[str, bytes, KeptAnswer, bytes]
"""Tenant, identity, answer, and the answer as msgpack."""


class SharedAnswers:
    """`recall.exact.AnswerStore` of several workers. For one event loop."""

    def __init__(self, redis: RedisClient, database: Postgres, clock: Clock, *, largest: int = _LARGEST, warm_s: float = _WARM_S) -> None:
        """`database`: one that knows the statements of `FILES`. `largest`: answers of more bytes are not kept.

        warm_s  how long a caller waits for Postgres before it asks the provider instead
        """
        self._redis, self._db, self._clock = redis, database, clock
        self._largest, self._warm_s = largest, warm_s
        self._sending: set[asyncio.Task[None]] = set()
        self.warm: Batches[Kept] = Batches(self._write, name="kept answers")

    def get(self, tenant: str, identity: bytes) -> KeptAnswer | None:  # noqa: ARG002
        """See `AnswerStore`. Nothing is at hand: admission looks into Redis in the same step in which it counts."""
        return None

    async def fetch(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """See `AnswerStore`: asked of Postgres, after admission found nothing in Redis. What takes too long is a miss."""
        params: Params = {"tenant": tenant, "identity": identity, "now": self._clock.time_ns()}
        try:
            async with asyncio.timeout(self._warm_s):
                rows = await self._db.rows("get_answer", params)
        except (Unavailable, TimeoutError):
            return None
        if not rows:
            return None
        encoded = cast("bytes", rows[0][0])
        try:
            answer = _kept.decode(encoded)
        except msgspec.MsgspecError:
            return None  # written by another version: a miss
        self._heat(tenant, identity, answer.expires_ns, encoded)
        return answer

    def put(self, tenant: str, identity: bytes, answer: KeptAnswer) -> None:
        """See `AnswerStore`. In Redis at once, in Postgres a little later."""
        if answer.size > self._largest:
            return
        encoded = msgspec.msgpack.encode(answer)
        self._heat(tenant, identity, answer.expires_ns, encoded)
        self.warm.put((tenant, identity, answer, encoded), len(encoded))

    async def purge(self, tenant: str, *, vendor: str = "", model: str = "", key_id: str = "") -> int:
        """Forget a tenant's answers, those of one model or of one key only if named. How many Postgres had. Raises Unavailable.

        Answers that are being kept at this moment may stay; purge again a little later where that matters.
        """
        await asyncio.gather(*self._sending)
        await self.warm.flush()
        wanted: Params = {"tenant": tenant, "vendor": vendor, "model": model, "key": key_id}
        gone = await self._db.run(partial(self._purge, wanted))
        await self._purge_hot(tenant, vendor, model, key_id)
        return gone

    async def totals(self, tenant: str = "") -> KeptTotals:
        """See `AnswerStore`: what Postgres has, which is everything but the last moments."""
        rows = await self._db.rows("count_answers", {"tenant": tenant, "now": self._clock.time_ns()}, slow=True)
        return KeptTotals(*cast("tuple[int, int]", rows[0]))

    async def drop_expired(self, most: int = 10_000) -> int:
        """Delete what has expired from Postgres, so many at most. How many. Raises Unavailable."""
        return await self._db.run(partial(self._drop_expired, most))

    async def aclose(self) -> None:
        """Write what waits."""
        await asyncio.gather(*self._sending)
        await self.warm.aclose()

    def _heat(self, tenant: str, identity: bytes, expires_ns: int, encoded: bytes) -> None:
        left_ms = (expires_ns - self._clock.time_ns()) // _MS
        if left_ms > 0:
            task = asyncio.get_running_loop().create_task(self._send(redis_keys.answer(tenant, identity), left_ms, encoded))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, key: bytes, left_ms: int, encoded: bytes) -> None:
        try:
            await self._redis.command(key, "SET", key, encoded, "PX", left_ms)
        except RedisRefused as error:
            log.warning("Redis keeps no answers: %s", error.said)
        except Unavailable:
            return  # a miss more; the breaker tells why

    async def _write(self, several: Sequence[Kept]) -> None:
        await self._db.run(partial(self._insert, several), timeout_s=10)

    async def _insert(self, several: Sequence[Kept], connection: Connection) -> None:
        params = {
            "tenants": [tenant for tenant, _, _, _ in several],
            "identities": [identity for _, identity, _, _ in several],
            "expiries": [answer.expires_ns for _, _, answer, _ in several],
            "keys": [answer.key_id for _, _, answer, _ in several],
            "vendors": [answer.vendor for _, _, answer, _ in several],
            "models": [answer.model for _, _, answer, _ in several],
            "answers": [encoded for _, _, _, encoded in several],
        }
        await self._db.execute(connection, "put_answers", params)  # type: ignore[arg-type]  # psycopg takes lists

    async def _purge(self, wanted: Params, connection: Connection) -> int:
        return (await self._db.execute(connection, "purge_answers", wanted)).rowcount

    async def _drop_expired(self, most: int, connection: Connection) -> int:
        found = await self._db.execute(connection, "drop_expired_answers", {"now": self._clock.time_ns(), "most": most})
        return found.rowcount

    async def _purge_hot(self, tenant: str, vendor: str, model: str, key_id: str) -> None:
        """All of a tenant's keys are on one node: that one is looked through."""
        prefix = redis_keys.prefix(tenant) + b"a:"
        cursor, pattern = b"0", _literal(prefix) + b"*"
        while True:
            told = await self._redis.command(prefix, "SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN, timeout_s=_SLOW_S)
            cursor, keys = cast("tuple[bytes, list[bytes]]", told)
            if vendor or model or key_id:
                values = await asyncio.gather(*(self._redis.command(key, "GET", key, timeout_s=_SLOW_S) for key in keys))
                keys = [key for key, value in zip(keys, values, strict=True) if _matches(cast("bytes | None", value), vendor, model, key_id)]
            for first in range(0, len(keys), _TOGETHER):
                await self._redis.command(prefix, "UNLINK", *keys[first : first + _TOGETHER], timeout_s=_SLOW_S)
            if cursor == b"0":
                return


def _matches(encoded: bytes | None, vendor: str, model: str, key_id: str) -> bool:
    if encoded is None:
        return False
    try:
        answer = _kept.decode(encoded)
    except msgspec.MsgspecError:
        return True  # nobody can read it
    return (not vendor or answer.vendor == vendor) and (not model or answer.model == model) and (not key_id or answer.key_id == key_id)


def _literal(prefix: bytes) -> bytes:
    """A prefix as a pattern that matches nothing else."""
    return b"".join(b"\\" + bytes((byte,)) if byte in b"*?[]\\^-" else bytes((byte,)) for byte in prefix)
