"""The embedded stores: everything of one process in one folder.

state.db    keys and the ledger; committed with FULL synchronisation, in groups, by one thread
journal.db  intents: written before anything is sent; survives the process
answers.db  kept answers
owned.db    who created what a provider keeps; owned-*.jsonl is what it has not committed yet
secret      the deployment's secret, readable by its owner only
lock        held by the process that serves, so that no second one books against the same counters
"""

import fcntl
import os
import secrets
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

import msgspec

from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.model.admission import CapState
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.rules import Cap
from tokenrouter.money import NanoUSD
from tokenrouter.sql import read_queries
from tokenrouter.storage.database import at_once
from tokenrouter.storage.journal import Journal, leftovers
from tokenrouter.storage.ledger_row import presumed, read_record, row_of, sqlite_values
from tokenrouter.storage.sqlite import Row, Writer, open_state
from tokenrouter.storage.sqlite_database import SqliteDatabase
from tokenrouter.storage.sums import seed

_SECRET_BYTES = 32

_record = msgspec.json.Decoder(RequestRecord)
_encoder = msgspec.json.Encoder()


def open_folder(folder: Path) -> bytes:
    """Make the folder where it is missing, and give the deployment's secret (made on first use).

    Raises:
        ConfigError: the folder can not be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "secret"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            secret = path.read_bytes()
        else:
            secret = secrets.token_bytes(_SECRET_BYTES)
            with os.fdopen(handle, "wb") as file:
                file.write(secret)
    except OSError as error:
        raise ConfigError(f"DATA_DIR {folder}: {error}") from error
    if len(secret) != _SECRET_BYTES:
        raise ConfigError(f"{path}: not a deployment secret ({len(secret)} bytes instead of {_SECRET_BYTES})")
    return secret


def lock_folder(folder: Path) -> int:
    """Claim the folder for this process until it ends. Returns the descriptor that holds the lock. Raises ConfigError."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConfigError(f"DATA_DIR {folder} is in use by another tokenrouter; give this one a folder of its own") from error
    return handle


class EmbeddedLedger:
    """`Ledger` over the journal and state.db. For the event loop's thread."""

    def __init__(self, folder: Path) -> None:
        self._sql = read_queries("state_queries.sql")
        self._state = open_state(folder / "state.db", across_threads=True)
        self._reader = SqliteDatabase(folder / "state.db", "state_queries.sql", "ledger_queries.sql")
        self.recovered = self._recover(folder)
        self._journal = Journal(folder)
        self._open: dict[str, tuple[int, NanoUSD]] = {}
        self.writer = Writer(self._state)

    def _recover(self, folder: Path) -> int:
        """Book what a process that died left behind. Settlements are taken as written; an intent without one is presumed spent."""
        records: dict[str, RequestRecord] = {}
        held: dict[str, NanoUSD] = {}
        segments = list(leftovers(folder))
        for _, lines in segments:  # all segments first: a settlement may stand in a later one than its intent
            for line in lines:
                record = _record.decode(line.record)
                if line.kind == "i":
                    presumed(record, line.held, line.tokens, "process_died")
                    held[record.id] = line.held
                records[record.id] = record
        self._state.execute("BEGIN IMMEDIATE")
        rows = [_values(record, _encoder.encode(record), held.get(record.id, 0)) for record in records.values()]
        count = sum(self._state.execute(self._sql["insert_ledger"], row).rowcount for row in rows)
        self._state.execute("COMMIT")
        for path, _ in segments:
            path.unlink()
        return count

    def intend(self, record: RequestRecord, held: NanoUSD, tokens: int = 0) -> None:
        """Write down that up to `held`, and so many tokens, may be spent; survives the process from here on. Raises Unavailable."""
        self._open[record.id] = (self._journal.intend(_encoder.encode(record), held, tokens), held)

    def settle(self, record: RequestRecord) -> None:
        """Write down what became of it; survives a power failure a few milliseconds later.

        Where the journal fails, the writer still has it; a crash before it commits leaves the intent: presumed spent.
        """
        known, encoded, committed, held = self._open.pop(record.id, None), _encoder.encode(record), None, 0
        if known is not None:
            segment, held = known
            with suppress(Unavailable):
                self._journal.settle(encoded)
            committed = partial(self._journal.committed, segment)
        statement = "settle_late" if record.late else "insert_ledger"
        self.writer.put(self._sql[statement], partial(_values, record, encoded, held), committed)

    def note(self, record: RequestRecord) -> None:
        """Write down a request that cost nothing. May be lost with the machine's power."""
        self.writer.put(self._sql["insert_ledger"], partial(_noted, record), urgent=False)

    async def find(self, request_id: str, tenant: str) -> RequestRecord | None:
        """One request of a tenant. One indexed look-up in a local file."""
        rows = await self._reader.rows("find_ledger_row", {"id": request_id, "tenant": tenant})
        if not rows:
            return None
        record, settled, late, cost = cast("tuple[str, str, int, int]", rows[0])
        return read_record(record, settled, late=bool(late), cost=cost)

    def seed(self, cap: Cap, counter: str, tenant: str, since_ns: int) -> CapState:
        """What a counter stands at: see `storage.sums`."""
        return seed(self._reader, cap, counter, tenant, since_ns)

    def spent(self) -> dict[tuple[str, bool], NanoUSD]:
        """What every key has spent so far, by (key id, sandbox)."""
        rows = at_once(self._reader.rows("spent_by_key"))
        return {(key, bool(sandbox)): total for key, sandbox, total in cast("list[tuple[str, int, int]]", rows)}

    def close(self) -> None:
        """Write what waits and let go of the files. What could not be written stays in the journal."""
        self.writer.close()
        self._journal.close()
        at_once(self._reader.aclose())


def _noted(record: RequestRecord) -> Row:
    return _values(record, _encoder.encode(record), 0)


def _values(record: RequestRecord, encoded: bytes, held: NanoUSD) -> Row:
    return sqlite_values(row_of(record, encoded, held))
