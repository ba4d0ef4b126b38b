"""SQLite as a `Database`: every call is answered in the caller's own step, the slow ones excepted."""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from tokenrouter.errors import Unavailable
from tokenrouter.sql import read_queries
from tokenrouter.storage.database import Params, Row, Step, Taken, Unmet
from tokenrouter.storage.sqlite import open_state

_NOTHING: Params = {}
_UNIQUE = frozenset((sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY))
_TROUBLE = frozenset(
    (
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT),
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOTADB),
    )
)
"""Result codes that tell of the disk, the file or another process; all others mean that the statement is wrong."""


class SqliteDatabase:
    """`Database` over state.db."""

    inline = True

    def __init__(self, path: Path, *files: str) -> None:
        """`files`: the files in `sql/` whose statements it knows. Raises ConfigError."""
        self._path = path
        self._statements = {name: text for file in files for name, text in read_queries(file).items()}
        self._connection = open_state(path, across_threads=True)
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self.problem = ""

    async def rows(self, name: str, params: Params = _NOTHING, *, slow: bool = False) -> list[Row]:
        """See `Database`."""
        if slow:
            return await asyncio.to_thread(self._slow_rows, name, params)
        with self._lock:
            try:
                found = self._connection.execute(self._statements[name], params).fetchall()
            except (sqlite3.Error, OverflowError) as error:
                raise self._failed(error) from error
        self.problem = ""
        return found

    def _slow_rows(self, name: str, params: Params) -> list[Row]:
        with self._reading:
            if self._reader is None:
                self._reader = open_state(self._path, across_threads=True)
            try:
                return self._reader.execute(self._statements[name], params).fetchall()
            except (sqlite3.Error, OverflowError) as error:
                raise self._failed(error) from error

    async def change(self, steps: Sequence[Step]) -> list[int]:
        """See `Database`."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                counts = [self._step(step) for step in steps]
                self._connection.execute("COMMIT")
            except (sqlite3.Error, OverflowError) as error:
                raise self._failed(error) from error
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        self.problem = ""
        return counts

    def _step(self, step: Step) -> int:
        cursor = self._connection.execute(self._statements[step.name], step.params)
        cursor.fetchall()  # rows of RETURNING count only once they were read
        if step.wants is not None and cursor.rowcount != step.wants:
            raise Unmet(step, cursor.rowcount)
        return cursor.rowcount

    def _failed(self, error: Exception) -> Exception:
        if isinstance(error, OverflowError):
            return ValueError(str(error))
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _UNIQUE:
            return Taken(str(error))
        if code & 0xFF not in _TROUBLE:
            return error
        self.problem = f"{self._path}: {error}"
        return Unavailable("the database can not be asked at the moment; try again", headers=(("retry-after", "1"),))

    async def aclose(self) -> None:
        """See `Database`."""
        with self._lock:
            self._connection.close()
        with self._reading:
            if self._reader is not None:
                self._reader.close()
