"""Kept answers: memory over answers.db. What is on disk is known by an index in memory, so a miss never asks the disk.

An answer goes to disk when it leaves memory, or at the end of the process: what a crash loses are misses.
"""

import asyncio
import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.sql import read_queries
from tokenrouter.storage.memory_answers import MemoryAnswers
from tokenrouter.storage.sqlite import Writer, open_sqlite

_DISK_FACTOR = 4
_kept = msgspec.msgpack.Decoder(KeptAnswer)


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
        self._on_disk: OrderedDict[tuple[str, bytes], tuple[int, int]] = OrderedDict(
            ((tenant, identity), (expires, size)) for tenant, identity, expires, size in rows
        )
        self._disk_bytes = sum(size for _, size in self._on_disk.values())
        writer = open_sqlite(folder / "answers.db", "answers_schema.sql", synchronous="OFF", across_threads=True)
        self.writer = Writer(writer, delay_s=0.02)

    def get(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """See `AnswerStore`."""
        return self._memory.get(tenant, identity)

    async def fetch(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """See `AnswerStore`. A thread waits for the disk, and only where the answer is there."""
        known = self._on_disk.get((tenant, identity))
        if known is None or known[0] <= self._clock.time_ns():
            return None
        answer = self._leaving.get((tenant, identity)) or await asyncio.to_thread(self._read, tenant, identity)
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
        if answer.size > self._max_disk // 8 or self._on_disk.get(key, (0, 0))[0] == answer.expires_ns:
            return
        self._disk_bytes += answer.size - self._on_disk.pop(key, (0, 0))[1]
        self._on_disk[key] = (answer.expires_ns, answer.size)
        self._leaving[key] = answer
        self.writer.put(
            self._sql["put_answer"],
            lambda: (tenant, identity, answer.expires_ns, answer.size, msgspec.msgpack.encode(answer)),
            lambda: self._left(key, answer),
            urgent=False,
        )
        while self._disk_bytes > self._max_disk:
            oldest, (_, size) = self._on_disk.popitem(last=False)
            self._disk_bytes -= size
            self.writer.put(self._sql["drop_answer"], oldest, urgent=False)

    def _left(self, key: tuple[str, bytes], answer: KeptAnswer) -> None:
        """The writer has it on disk; a newer one may wait by now."""
        if self._leaving.get(key) is answer:
            del self._leaving[key]

    def close(self) -> None:
        """Write what is in memory and let go of the files."""
        self._memory.write_all()
        self.writer.close(60)
        self._reader.close()
