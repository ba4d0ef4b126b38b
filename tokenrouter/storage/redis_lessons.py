"""What workers learned about prompts lately, told to all others through one capped stream in Redis.

A lesson is bytes to this module. It is told within a moment, heard once by every other worker, and by one that starts as far back as the
stream goes. Nothing waits for it: while Redis is away each worker knows what it has seen itself, and what it would have told is dropped.

    tr:{global}:lessons    stream    w: who tells, l: msgpack list of lessons
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from tokenrouter.errors import Unavailable
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_keys import GLOBAL
from tokenrouter.storage.redis_link import Reply

log = logging.getLogger("tokenrouter")

KEY: Final = GLOBAL + b"lessons"
_EVERY_S: Final = 0.25
_TIMEOUT_S: Final = 1.0
_AT_ONCE: Final = 100
_LARGEST: Final = 256 << 10
_MOST_WAITING: Final = 4 << 20
_KEPT_BYTES: Final = 32 << 20
_KEPT_ENTRIES: Final = 20_000
_BEGINNING: Final = b"0-0"

_lessons = msgspec.msgpack.Decoder(tuple[bytes, ...])


class RedisLessons:
    """One worker's end of the stream. For one event loop."""

    def __init__(
        self,
        redis: RedisClient,
        worker: str,
        *,
        kept_bytes: int = _KEPT_BYTES,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        """`kept_bytes`: about what the stream may take.

        `most_waiting`: bytes that may wait here to be told; more are dropped, as those of tellers without a listener are.
        """
        self._redis, self._worker = redis, worker.encode()
        self._hear: Callable[[bytes], None] = _nobody
        self._kept_bytes, self._most_waiting = kept_bytes, most_waiting
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._last = _BEGINNING
        self._mean_bytes = 1024.0
        self._was_away = False
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def listen(self, hear: Callable[[bytes], None]) -> None:
        """`hear`: given each lesson of another worker from here on, in the order of the stream."""
        self._hear = hear

    def tell(self, lesson: bytes) -> None:
        """Let the other workers know. Never fails."""
        if self._waiting_bytes + len(lesson) > self._most_waiting or len(lesson) > _LARGEST:
            self.dropped += 1
            return
        self._waiting.append(lesson)
        self._waiting_bytes += len(lesson)

    async def tick(self) -> None:
        """Tell what waits, and hear what others told. Raises Unavailable; nothing is told twice."""
        try:
            if self._was_away:
                await self._find_the_end()
            await self._send()
            while await self._read():
                pass
        except Unavailable:
            self._was_away = True
            raise
        self._was_away = False

    def begin(self) -> None:
        """Do so from here on."""
        self._task = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Tell what waits, and leave."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(Unavailable):
            await self._send()

    async def _keep(self) -> None:
        while True:
            try:
                await self.tick()
            except Unavailable:
                log.debug("what was learned about prompts can not be shared for now")
            except Exception:
                log.exception("what was learned about prompts could not be shared")
            await asyncio.sleep(_EVERY_S)

    async def _send(self) -> None:
        while self._waiting:
            told: list[bytes] = []
            size = 0
            for lesson in self._waiting:
                if told and size + len(lesson) > _LARGEST:
                    break
                told.append(lesson)
                size += len(lesson)
            del self._waiting[: len(told)]
            self._waiting_bytes -= size
            self._mean_bytes += 0.1 * (size - self._mean_bytes)
            most = min(_KEPT_ENTRIES, max(_AT_ONCE, int(self._kept_bytes / max(64.0, self._mean_bytes))))
            packed = msgspec.msgpack.encode(told)
            await self._redis.command(KEY, "XADD", KEY, "MAXLEN", "~", most, "*", "w", self._worker, "l", packed, timeout_s=_TIMEOUT_S)

    async def _read(self) -> bool:
        """Hear the next ones. Whether there may be more."""
        told = await self._redis.command(KEY, "XREAD", "COUNT", _AT_ONCE, "STREAMS", KEY, self._last, timeout_s=_TIMEOUT_S)
        entries = _entries(told)
        for name, teller, packed in entries:
            self._last = name
            if teller != self._worker:
                self._hear_all(packed)
            await asyncio.sleep(0)  # requests come first
        return len(entries) == _AT_ONCE

    def _hear_all(self, packed: bytes) -> None:
        """Each for itself: one that another version of the gateway told does not take its neighbours with it."""
        try:
            told = _lessons.decode(packed)
        except msgspec.MsgspecError:
            log.warning("lessons about prompts can not be read; another version of the gateway may have told them")
            return
        for lesson in told:
            try:
                self._hear(lesson)
            except msgspec.MsgspecError:
                log.warning("a lesson about prompts can not be read; another version of the gateway may have told it")
            except Exception:
                log.exception("a lesson about prompts can not be taken in")

    async def _find_the_end(self) -> None:
        """A server that was emptied counts anew, maybe from an earlier time: then its stream is heard from its beginning."""
        told = await self._redis.command(KEY, "XREVRANGE", KEY, "+", "-", "COUNT", 1, timeout_s=_TIMEOUT_S)
        newest = told[0] if isinstance(told, list) and told else None
        name = newest[0] if isinstance(newest, list) and isinstance(newest[0], bytes) else _BEGINNING
        if _order(name) < _order(self._last):
            self._last = _BEGINNING


def _nobody(lesson: bytes) -> None:
    """Nobody listens yet."""


def _order(name: bytes) -> tuple[int, int]:
    time_ms, _, number = name.partition(b"-")
    return int(time_ms), int(number)


def _entries(told: Reply) -> Sequence[tuple[bytes, bytes, bytes]]:
    """Read the reply to XREAD of one stream: (id, who told, packed lessons)."""
    found: list[tuple[bytes, bytes, bytes]] = []
    for stream in told if isinstance(told, list) else []:
        for entry in stream[1] if isinstance(stream, list) and isinstance(stream[1], list) else []:
            if not (isinstance(entry, list) and isinstance(entry[0], bytes)):
                continue
            fields = entry[1]
            match fields if isinstance(fields, list) else []:
                case [b"w", bytes(teller), b"l", bytes(packed)]:
                    found.append((entry[0], teller, packed))
                case _:
                    found.append((entry[0], b"", b""))
    return found
