"""Kept answers: memory over answers.db. What is on disk is known by an index in memory, so a miss never asks the disk.

An answer goes to disk when it leaves memory, or at the end of the process: what a crash loses are misses.
"""

import asyncio
import sqlite3
import sys
import threading
from collections import OrderedDict
from pathlib import Path

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.kept import KeptAnswer, KeptTotals
from tokenrouter.sql import read_queries
from tokenrouter.storage.memory_answers import MemoryAnswers
from tokenrouter.storage.sqlite import Writer, open_sqlite

_DISK_FACTOR = 4
_PATIENCE_S = 10.0
_kept = msgspec.msgpack.Decoder(KeptAnswer)


class _OnDisk:
    """What is known of an answer on disk."""

    __slots__ = ("expires_ns", "key_id", "model", "size", "vendor")

    def __init__(self, expires_ns: int, size: int, key_id: str, vendor: str, model: str) -> None:
        self.expires_ns, self.size = expires_ns, size
        self.key_id, self.vendor, self.model = sys.intern(key_id), sys.intern(vendor), sys.intern(model)


class EmbeddedAnswers:
    """`AnswerStore` that survives a restart."""

    def __init__(self, folder: Path, clock: Clock, max_bytes: int) -> None:
        self._clock = clock
        self._reading = threading.Lock()
        self._leaving: dict[tuple[str, bytes], KeptAnswer] = {}
        self._max_disk = max_bytes * _DISK_FACTOR
        self._memory = MemoryAnswers(clock, max_bytes, self._write)
        self._sql = read_queries("answers_queries.sql")
        self._reader = open_sqlite(folder / "answers.db", "answers_schema.sql", synchronous="OFF", across_threads=True)
        now = clock.time_ns()
        self._reader.execute(self._sql["drop_expired"], (now,))
        rows = self._reader.execute(self._sql["all_answers"], (now,))
        self._on_disk: OrderedDict[tuple[str, bytes], _OnDisk] = OrderedDict(
            ((tenant, identity), _OnDisk(*known)) for tenant, identity, *known in rows
        )
        self._disk_bytes = sum(known.size for known in self._on_disk.values())
        writer = open_sqlite(folder / "answers.db", "answers_schema.sql", synchronous="OFF", across_threads=True)
        self.writer = Writer(writer, delay_s=0.02)

    def get(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """See `AnswerStore`."""
        return self._memory.get(tenant, identity)

    async def fetch(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """See `AnswerStore`. A thread waits for the disk, and only where the answer is there."""
        known = self._on_disk.get((tenant, identity))
        if known is None or known.expires_ns <= self._clock.time_ns():
            return None
        answer = self._leaving.get((tenant, identity)) or await asyncio.to_thread(self._read, tenant, identity)
        if self._on_disk.get((tenant, identity)) is not known:  # thrown away in the meantime
            return None
        if answer is not None:
            self._memory.put(tenant, identity, answer)
        return answer

    def _read(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        try:
            with self._reading:  # two threads in one prepared statement could read each other's rows
                row = self._reader.execute(self._sql["get_answer"], (tenant, identity, self._clock.time_ns())).fetchone()
            return _kept.decode(row[0]) if row else None
        except (sqlite3.Error, msgspec.DecodeError):
            return None  # a kept answer that can not be read is a miss

    def put(self, tenant: str, identity: bytes, answer: KeptAnswer) -> None:
        """See `AnswerStore`."""
        self._memory.put(tenant, identity, answer)

    def _write(self, tenant: str, identity: bytes, answer: KeptAnswer) -> None:
        key = (tenant, identity)
        before = self._on_disk.get(key)
        if answer.size > self._max_disk // 8 or (before is not None and before.expires_ns == answer.expires_ns):
            return
        if before is not None:
            del self._on_disk[key]
            self._disk_bytes -= before.size
        whose = (answer.key_id, answer.vendor, answer.model)
        self._on_disk[key] = _OnDisk(answer.expires_ns, answer.size, *whose)
        self._disk_bytes += answer.size
        self._leaving[key] = answer
        self.writer.put(
            self._sql["put_answer"],
            lambda: (tenant, identity, answer.expires_ns, answer.size, *whose, msgspec.msgpack.encode(answer)),
            lambda: self._left(key, answer),
            urgent=False,
        )
        while self._disk_bytes > self._max_disk:
            oldest, known = self._on_disk.popitem(last=False)
            self._disk_bytes -= known.size
            self.writer.put(self._sql["drop_answer"], oldest, urgent=False)

    def _left(self, key: tuple[str, bytes], answer: KeptAnswer) -> None:
        """The writer has it on disk; a newer one may wait by now."""
        if self._leaving.get(key) is answer:
            self._leaving.pop(key, None)  # it may have been thrown away at this moment

    async def totals(self, tenant: str = "") -> KeptTotals:
        """See `AnswerStore`: what is in memory, and on disk without being there."""
        now, memory = self._clock.time_ns(), await self._memory.totals(tenant)
        held = self._memory.held
        sizes = [known.size for key, known in self._on_disk.items() if tenant in ("", key[0]) and known.expires_ns > now and key not in held]
        return KeptTotals(memory.answers + len(sizes), memory.size + sum(sizes))

    async def purge(self, tenant: str, *, vendor: str = "", model: str = "", key_id: str = "") -> int:
        """See `AnswerStore`. Also gone after a restart: this waits for the disk."""
        gone = set(self._memory.forget(tenant, vendor, model, key_id))
        for key, known in list(self._on_disk.items()):
            if key[0] == tenant and vendor in ("", known.vendor) and model in ("", known.model) and key_id in ("", known.key_id):
                del self._on_disk[key]
                self._disk_bytes -= known.size
                self._leaving.pop(key, None)
                gone.add(key[1])
        self.writer.put(self._sql["purge_answers"], (tenant, vendor, model, key_id))
        if not await asyncio.to_thread(self.writer.flush, _PATIENCE_S):
            raise Unavailable("the answers are not given any more, but they are still on the disk, which does not answer; try again")
        return len(gone)

    def close(self) -> None:
        """Write what is in memory and let go of the files."""
        self._memory.write_all()
        self.writer.close(60)
        self._reader.close()
