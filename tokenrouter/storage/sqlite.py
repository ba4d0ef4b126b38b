"""SQLite, opened the way each store needs it, its schema brought up to date, and the one thread that waits for the disk."""

import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

from tokenrouter.errors import ConfigError
from tokenrouter.sql import read_sql

log = logging.getLogger("tokenrouter")

Row = tuple[object, ...]
_PATIENCE = 20
_AT_ONCE = 64
_MIGRATION = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_PLAIN_INSERT = "INSERT OR IGNORE"  # nothing follows its values, so they can be repeated


Synchronous = Literal["FULL", "NORMAL", "OFF"]


def open_sqlite(path: Path, schema: str, *, synchronous: Synchronous, across_threads: bool = False) -> sqlite3.Connection:
    """Open (and create) a database in autocommit mode, WAL. `schema`: a file in `sql/` that makes what is missing.

    Raises:
        ConfigError: it can not be opened; says which file and why.
    """
    return _opened(path, synchronous, across_threads, lambda connection: connection.executescript(read_sql(schema)))


def open_state(path: Path, *, synchronous: Synchronous = "FULL", across_threads: bool = False) -> sqlite3.Connection:
    """Open (and create) state.db in autocommit mode, WAL, with its schema brought up to date.

    Raises:
        ConfigError: it can not be opened, or a newer version has written it.
    """
    return _opened(path, synchronous, across_threads, migrate_sqlite)


def open_bare(path: Path) -> sqlite3.Connection:
    """Open (and create) a database as it is, in autocommit mode, WAL. Raises ConfigError."""
    return _opened(path, "FULL", False, lambda _: None)


def _opened(path: Path, synchronous: Synchronous, across_threads: bool, prepare: Callable[[sqlite3.Connection], object]) -> sqlite3.Connection:
    connection = None
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=5, check_same_thread=not across_threads, cached_statements=64)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        prepare(connection)
    except (sqlite3.Error, ConfigError) as error:
        if connection is not None:
            connection.close()
        raise ConfigError(f"{path}: can not be used as a database: {error}") from error
    return connection


def sqlite_migrations() -> dict[int, tuple[str, str]]:
    """The steps of state.db's schema, by number: (name, statements). Files `sql/sqlite/migrations/NNNN_name.sql`."""
    found: dict[int, tuple[str, str]] = {}
    for file in resources.files("tokenrouter.sql").joinpath("sqlite", "migrations").iterdir():
        match = _MIGRATION.fullmatch(file.name)
        if match is None or int(match[1]) in found:
            raise ValueError(f"{file.name}: a migration is named NNNN_name.sql, each number once")
        found[int(match[1])] = (file.name.removesuffix(".sql"), file.read_text("utf-8"))
    return dict(sorted(found.items()))


def migrate_sqlite(connection: sqlite3.Connection) -> list[str]:
    """Apply what is missing, each step in a transaction of its own; the names of those. Several processes may do this at once.

    `PRAGMA user_version` is the number of the last step.

    Raises:
        ConfigError: a newer version has been here, or a step failed; nothing of that step has happened.
    """
    applied = []
    known = sqlite_migrations()
    if _version(connection) > max(known):
        raise ConfigError("the data folder was used by a newer version of tokenrouter, which this one does not understand")
    for number, (name, text) in known.items():
        if _version(connection) >= number:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) < number:  # asked again under the lock
                for statement in _statements(text):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
                applied.append(name)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise ConfigError(f"{name}: {error}") from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    return applied


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(text: str) -> Iterator[str]:
    """One by one: `executescript` would commit before it begins."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


class Writer:
    """One thread that commits what it is handed, in groups: at most `delay_s` after the first row of a group, or at `most` rows.

    `put` never waits. A group that fails (a full disk) is kept and tried again; `failing` says so, and `backlog` how much waits.
    """

    def __init__(self, connection: sqlite3.Connection, *, delay_s: float = 0.005, most: int = 512, pause_s: float = 0.5) -> None:
        self._connection = connection
        self._delay_s, self._most, self._pause_s = delay_s, most, pause_s
        self._rows: list[tuple[str, Row | Callable[[], Row], Callable[[], None] | None]] = []
        self._wanted = threading.Event()
        self._urgent = False
        self._stop = False
        self.failing: str = ""
        self._thread = threading.Thread(target=self._run, name="tokenrouter-writer", daemon=True)
        self._thread.start()

    def put(self, statement: str, row: Row | Callable[[], Row], committed: Callable[[], None] | None = None, *, urgent: bool = True) -> None:
        """Hand over one row (or what makes it, called in the thread). `committed` is called in the thread once it is on disk.

        `urgent`: no money hangs on it where False; it may wait for company twenty times as long.
        """
        self._rows.append((statement, row, committed))
        if urgent:
            self._urgent = True
        if not self._wanted.is_set():
            self._wanted.set()

    @property
    def backlog(self) -> int:
        """Rows that wait."""
        return len(self._rows)

    def flush(self, timeout_s: float = 10) -> bool:
        """Wait until everything handed over so far is on disk. False: it is not, within `timeout_s`."""
        done = threading.Event()
        self.put("SELECT 1", (), done.set)
        return done.wait(timeout_s)

    def close(self, timeout_s: float = 10) -> bool:
        """Write what waits, then end the thread and close the connection."""
        flushed = self.flush(timeout_s)
        self._stop = self._urgent = True
        self._wanted.set()
        self._thread.join(timeout_s)
        self._connection.close()
        return flushed

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if self._stop and not self._rows:
                return
            self._gather()
            self._wanted.clear()
            self._urgent = False
            while self._rows:
                group = self._rows[: self._most]
                if not self._commit(group):
                    if self._stop:
                        return
                    time.sleep(self._pause_s)
                    self._wanted.set()
                    break
                del self._rows[: len(group)]
                for _, _, committed in group:
                    if committed is not None:
                        committed()
            if self._stop and not self._rows:  # asked for while the event was cleared above: nobody will set it again
                return

    def _gather(self) -> None:
        """Let a group come together; only this thread sleeps."""
        for _ in range(_PATIENCE):
            time.sleep(self._delay_s)
            if self._urgent or self._stop or len(self._rows) >= self._most:
                return

    def _commit(self, group: list[tuple[str, Row | Callable[[], Row], Callable[[], None] | None]]) -> bool:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in groupby(group, key=itemgetter(0)):
                made = [row() if callable(row) else row for _, row, _ in rows]
                while made:
                    several = 1 << (min(len(made), _AT_ONCE).bit_length() - 1) if statement.startswith(_PLAIN_INSERT) else 1
                    connection.execute(_for_several(statement, several), [value for row in made[:several] for value in row])
                    del made[:several]
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # whatever a row does, this thread must go on; `failing` tells
            self.failing = str(error) or type(error).__name__
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not isinstance(error, sqlite3.OperationalError):  # not the disk and not a lock: some row is at fault
                self._set_aside(group)
            return False
        self.failing = ""
        return True

    def _set_aside(self, group: list[tuple[str, Row | Callable[[], Row], Callable[[], None] | None]]) -> None:
        """Find rows that can never be written and take them out, so that they do not hold up the others; each is logged."""
        for entry in group:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute(entry[0], entry[1]() if callable(entry[1]) else entry[1])
            except sqlite3.OperationalError:
                return
            except Exception:
                log.exception("a row can not be written and is left out: %.200s", entry[0])
                self._rows.remove(entry)
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def _for_several(statement: str, rows: int) -> str:
    """An insert of one row as an insert of several: one step of SQLite, so the interpreter is let go and taken back once, not per row."""
    if rows == 1:
        return statement
    head, values = statement.split(" VALUES ")
    return f"{head} VALUES {', '.join([values] * rows)}"
