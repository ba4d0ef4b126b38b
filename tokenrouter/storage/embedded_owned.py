"""Who created what a provider keeps, in owned.db: memory over disk. One writer thread; a read of one row by its key waits for no lock.

What was recorded survives the process from the moment `record` returns (owned_log.py); a machine that loses power may lose the last
moments, and their answers are then refused as unknown. The table is bounded: beyond it what would expire first is forgotten first.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from tokenrouter.clock import Clock
from tokenrouter.errors import ConfigError
from tokenrouter.model.owned import Owned
from tokenrouter.sql import read_queries
from tokenrouter.storage.owned_log import OwnedLine, OwnedLog, left_in
from tokenrouter.storage.sqlite import Writer, open_sqlite

_MOST = 4_000_000  # rows of about 170 bytes
_IN_MEMORY = 65_536
_SWEEP_EVERY = 50_000


class EmbeddedOwned:
    """`Ownership` that survives a restart. What was recorded last is answered from memory, the rest by one look-up on the local disk."""

    def __init__(self, folder: Path, clock: Clock, *, most: int = _MOST, in_memory: int = _IN_MEMORY, sweep_every: int = _SWEEP_EVERY) -> None:
        """`most`: rows to keep. `in_memory`: rows of which the disk is not asked. `sweep_every`: rows between two looks for what is over.

        Raises ConfigError.
        """
        self._clock, self._most, self._in_memory, self._sweep_every = clock, most, in_memory, sweep_every
        self._sql = read_queries("owned_queries.sql")
        self._recent: OrderedDict[tuple[str, str], Owned | None] = OrderedDict()
        self._since_sweep = 0
        self._reader = open_sqlite(folder / "owned.db", "owned_schema.sql", synchronous="NORMAL")
        try:
            self._recover(folder)
            self._log = OwnedLog(folder)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{folder / 'owned.db'}: {error}") from error
        writer = open_sqlite(folder / "owned.db", "owned_schema.sql", synchronous="NORMAL", across_threads=True)
        self.writer = Writer(writer)

    def _recover(self, folder: Path) -> None:
        """Take over what a process that died had not committed, then drop what is over or too much."""
        segments = list(left_in(folder))
        self._reader.execute("BEGIN IMMEDIATE")
        for _, lines in segments:
            for line in lines:
                for object_id in line.object_ids:
                    if line.deployment:
                        self._reader.execute(self._sql["put_owned"], (line.tenant, object_id, line.deployment, line.tokens, line.expires_ns))
                    else:
                        self._reader.execute(self._sql["drop_owned"], (line.tenant, object_id))
        self._reader.execute(self._sql["drop_expired_owned"], (self._clock.time_ns(),))
        self._reader.execute(self._sql["drop_oldest_owned"], (self._most - 1,))
        self._reader.execute("COMMIT")
        for path, _ in segments:
            path.unlink()

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
        if not object_ids:
            return
        self._log.append(OwnedLine(tenant, tuple(object_ids), owned.deployment, owned.tokens, owned.expires_ns))
        last = len(object_ids) - 1
        for place, object_id in enumerate(object_ids):
            self._remember((tenant, object_id), owned)
            row = (tenant, object_id, owned.deployment, owned.tokens, owned.expires_ns)
            self.writer.put(self._sql["put_owned"], row, self._log.committed if place == last else None)
        self._since_sweep += len(object_ids)
        if self._since_sweep >= self._sweep_every:
            self._since_sweep = 0
            self.writer.put(self._sql["drop_expired_owned"], (self._clock.time_ns(),))
            self.writer.put(self._sql["drop_oldest_owned"], (self._most - 1,))

    def forget(self, tenant: str, object_id: str) -> None:
        """See `Ownership`. Known to be gone at once, whatever the disk still says."""
        self._log.append(OwnedLine(tenant, (object_id,)))
        self._remember((tenant, object_id), None)
        self.writer.put(self._sql["drop_owned"], (tenant, object_id), self._log.committed)

    def close(self) -> None:
        """Write what waits and let go of the files."""
        self.writer.close()
        self._log.close()
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
