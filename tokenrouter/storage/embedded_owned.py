"""Who created what a provider keeps, in owned.db: memory over disk. One writer thread; a read of one row by its key waits for no lock."""

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from tokenrouter.clock import Clock
from tokenrouter.model.owned import Owned
from tokenrouter.sql import read_queries
from tokenrouter.storage.sqlite import Writer, open_sqlite

_MOST = 1_000_000
_IN_MEMORY = 65_536


class EmbeddedOwned:
    """`Ownership` that survives a restart. What was recorded last is answered from memory, the rest by one look-up on the local disk."""

    def __init__(self, folder: Path, clock: Clock, *, most: int = _MOST, in_memory: int = _IN_MEMORY) -> None:
        """`most`: rows to keep over a restart. `in_memory`: rows of which the disk is not asked. Raises ConfigError."""
        self._clock, self._in_memory = clock, in_memory
        self._sql = read_queries("owned_queries.sql")
        self._reader = open_sqlite(folder / "owned.db", "owned_schema.sql", synchronous="OFF")
        self._reader.execute(self._sql["drop_expired_owned"], (clock.time_ns(),))
        self._reader.execute(self._sql["drop_oldest_owned"], (most - 1,))
        self._recent: OrderedDict[tuple[str, str], Owned | None] = OrderedDict()
        writer = open_sqlite(folder / "owned.db", "owned_schema.sql", synchronous="OFF", across_threads=True)
        self.writer = Writer(writer)

    def find(self, tenant: str, object_id: str) -> Owned | None:
        """See `Ownership`. A row that can not be read is not known."""
        key = (tenant, object_id)
        owned = self._recent[key] if key in self._recent else self._read(tenant, object_id)
        if owned is None or owned.expires_ns <= self._clock.time_ns():
            return None
        self._remember(key, owned)
        return owned

    def record(self, tenant: str, object_ids: Sequence[str], owned: Owned) -> None:
        """See `Ownership`."""
        for object_id in object_ids:
            self._remember((tenant, object_id), owned)
            self.writer.put(self._sql["put_owned"], (tenant, object_id, owned.deployment, owned.tokens, owned.expires_ns))

    def forget(self, tenant: str, object_id: str) -> None:
        """See `Ownership`. Known to be gone at once, whatever the disk still says."""
        self._remember((tenant, object_id), None)
        self.writer.put(self._sql["drop_owned"], (tenant, object_id))

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self.writer.close()
        self._reader.close()

    def _read(self, tenant: str, object_id: str) -> Owned | None:
        try:
            row = self._reader.execute(self._sql["get_owned"], (tenant, object_id)).fetchone()
        except sqlite3.Error:
            return None
        return Owned(*row) if row else None

    def _remember(self, key: tuple[str, str], owned: Owned | None) -> None:
        self._recent[key] = owned
        self._recent.move_to_end(key)
        while len(self._recent) > self._in_memory:
            self._recent.popitem(last=False)
