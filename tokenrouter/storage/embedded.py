"""The embedded stores: everything of one process in one folder.

state.db    keys and the ledger; committed with FULL synchronisation, in groups, by one thread
journal.db  intents: written before anything is sent; survives the process
answers.db  kept answers
secret      the deployment's secret, readable by its owner only
lock        held by the process that serves, so that no second one books against the same counters
"""

import fcntl
import os
import secrets
import sqlite3
from collections import deque
from pathlib import Path

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.model.record import RequestRecord
from tokenrouter.money import NanoUSD
from tokenrouter.sql import read_queries
from tokenrouter.storage.sqlite import Row, Writer, open_sqlite

_SECRET_BYTES = 32
_FORGET_AT = 256

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
    """`Ledger` over journal.db and state.db. The journal belongs to the event loop's thread."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._clock = clock
        self._sql = read_queries("state_queries.sql")
        self._journal_sql = read_queries("journal_queries.sql")
        self._journal = open_sqlite(folder / "journal.db", "journal_schema.sql", synchronous="OFF")
        self._state = open_sqlite(folder / "state.db", "state_schema.sql", synchronous="FULL", across_threads=True)
        self._reader = open_sqlite(folder / "state.db", "state_schema.sql", synchronous="FULL")
        self._open: dict[str, int] = {}
        self._booked: deque[int] = deque()
        self.recovered = self._recover()
        self.writer = Writer(self._state)

    def _recover(self) -> int:
        """Book what a process that died left behind. Settlements are taken as written; an intent without one is presumed spent."""
        rows = self._journal.execute(self._journal_sql["all_intents"]).fetchall()
        if not rows:
            return 0
        self._state.execute("BEGIN IMMEDIATE")
        for _, held, intent, settlement in rows:
            record = _record.decode(settlement or intent)
            if settlement is None:
                record.settled, record.cost, record.error = "presumed", held, "the process died before this was settled"
            self._state.execute(self._sql["insert_ledger"], _ledger_row(record))
        self._state.execute("COMMIT")
        self._journal.executemany(self._journal_sql["forget"], [(row[0],) for row in rows])
        return len(rows)

    def intend(self, record: RequestRecord, held: NanoUSD) -> None:
        """See `Ledger`."""
        if len(self._booked) >= _FORGET_AT:
            self._forget()
        try:
            row = self._journal.execute(self._journal_sql["intend"], (held, _encoder.encode(record)))
        except sqlite3.Error as error:
            raise Unavailable(f"the ledger can not be written ({error}); nothing was sent") from error
        self._open[record.id] = row.lastrowid or 0

    def settle(self, record: RequestRecord) -> None:
        """See `Ledger`."""
        number = self._open.pop(record.id, None)
        if number is not None:
            try:
                self._journal.execute(self._journal_sql["settle"], (_encoder.encode(record), number))
            except sqlite3.Error as error:  # the writer below still has it; a crash before it commits leaves the intent: presumed spent
                self.writer.failing = str(error)
        booked = self._booked
        committed = None if number is None else lambda: booked.append(number)
        self.writer.put(self._sql["insert_ledger"], lambda: _ledger_row(record), committed)

    def note(self, record: RequestRecord) -> None:
        """See `Ledger`."""
        self.writer.put(self._sql["insert_ledger"], lambda: _ledger_row(record))

    async def find(self, request_id: str, tenant: str) -> RequestRecord | None:
        """See `Ledger`. One indexed look-up in a local file."""
        row = self._reader.execute(self._sql["find_ledger"], (request_id, tenant)).fetchone()
        return _record.decode(row[0]) if row else None

    def spent(self) -> dict[tuple[str, bool], NanoUSD]:
        """What every key has spent so far, by (key id, sandbox)."""
        return {(key, bool(sandbox)): total for key, sandbox, total in self._reader.execute(self._sql["spent_by_key"])}

    def usage_of(self, key_id: str) -> list[Row]:
        """(sandbox, requests, cost, saved by prompt cache, by kept answers, by sharing) of one key."""
        return self._reader.execute(self._sql["usage_of_key"], (key_id,)).fetchall()

    def _forget(self) -> None:
        done = []
        while self._booked:
            done.append((self._booked.popleft(),))
        self._journal.execute("BEGIN")
        self._journal.executemany(self._journal_sql["forget"], done)
        self._journal.execute("COMMIT")

    def close(self) -> None:
        """Write what waits and let go of the files. What could not be written stays in the journal."""
        self.writer.close()
        self._forget()
        self._journal.close()
        self._reader.close()


def _ledger_row(record: RequestRecord) -> Row:
    usage = record.usage
    return (
        record.id,
        record.time_ns,
        record.key_id,
        record.tenant,
        record.vendor,
        record.model,
        record.sandbox,
        record.status,
        record.cache,
        record.settled,
        usage.fresh_input,
        usage.cache_read,
        usage.cache_write,
        usage.cache_write_1h,
        usage.output,
        record.cost,
        record.saved_prompt_cache,
        record.saved_exact,
        record.saved_dedup,
        record.price_version,
        _encoder.encode(record),
    )
