"""Postgres as a `Database`: named statements, transactions, a limit of time on every call, and a breaker.

Whatever keeps the server from answering becomes `Unavailable`, in words that say nothing about the deployment; `problem` has the details.
Works behind poolers that lend connections per transaction: no prepared statements, no state in the session.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import (
    CharacterNotInRepertoire,
    NumericValueOutOfRange,
    ReadOnlySqlTransaction,
    UndefinedColumn,
    UndefinedTable,
    UntranslatableCharacter,
)

from tokenrouter.clock import Clock, SystemClock
from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.sql import read_queries
from tokenrouter.storage.breaker import Breaker
from tokenrouter.storage.database import Params, Row, Step, Taken, Unmet
from tokenrouter.storage.postgres_pool import Connection, Pool

T = TypeVar("T")

_NOTHING: Params = {}
_UNHELD = (NumericValueOutOfRange, UntranslatableCharacter, CharacterNotInRepertoire)
_SLOW_S = 30.0
_GRACE_S = 1.0  # a statement that took too long is cancelled; a server that does not answer even that is hung up on
_PLACES = re.compile(r"'(?:[^']|'')*'|--[^\n]*|::|:([a-z_][a-z0-9_]*)|%")


def translated(statement: str) -> bytes:
    """A statement with `:name` parameters in the form that psycopg wants.

    >>> translated("SELECT a::text FROM t WHERE b = :b AND c LIKE '%:d'")
    b"SELECT a::text FROM t WHERE b = %(b)s AND c LIKE '%%:d'"
    """
    return _PLACES.sub(lambda found: f"%({found[1]})s" if found[1] else found[0].replace("%", "%%"), statement).encode()


def connection_parameters(url: str) -> dict[str, Any]:
    """How to connect. Raises ConfigError, which never shows the address: it may hold a password."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigError("DATABASE_URL can not be read; it looks like postgresql://user:password@host:5432/database") from None
    return {"connect_timeout": 2, "application_name": "tokenrouter", "keepalives_idle": 30, **given}


class Postgres:
    """`Database` over one Postgres. For one event loop. Opens nothing by itself."""

    inline = False

    def __init__(
        self,
        url: str,
        *files: str,
        clock: Clock | None = None,
        most: int = 20,
        idle: int = 5,
        lifetime_s: float = 1800,
        timeout_s: float = 2.0,
    ) -> None:
        """`files`: the files in `sql/` whose statements it knows.

        most, idle  connections at a time, and kept while nobody uses them
        lifetime_s  after which a connection is replaced; 0: never
        timeout_s   longest wait of a caller, for a connection and for the answer together

        Raises:
            ConfigError: the address can not be read.
        """
        parameters = connection_parameters(url)
        self._password = str(parameters.get("password") or "")
        self._clock = clock or SystemClock()
        self._timeout_s = timeout_s
        self._statements = {name: translated(text) for file in files for name, text in read_queries(file).items()}
        self._pool = Pool(parameters, self._clock, most=most, idle=idle, lifetime_s=lifetime_s)
        self._slow = asyncio.Semaphore(max(1, most // 4))
        self._breaker = Breaker(self._clock)
        self._abandoned: set[asyncio.Task[Any]] = set()

    @property
    def problem(self) -> str:
        """See `Database`."""
        return self._breaker.problem

    async def rows(self, name: str, params: Params = _NOTHING, *, slow: bool = False) -> list[Row]:
        """See `Database`."""
        work = partial(self._rows, self._statements[name], params)
        if not slow:
            return await self.run(work)
        async with self._slow:
            return await self.run(work, timeout_s=_SLOW_S)

    @staticmethod
    async def _rows(statement: bytes, params: Params, connection: Connection) -> list[Row]:
        return await (await connection.execute(statement, params)).fetchall()

    async def change(self, steps: Sequence[Step]) -> list[int]:
        """See `Database`."""
        return await self.run(partial(self._change, steps), transaction=True)

    async def _change(self, steps: Sequence[Step], connection: Connection) -> list[int]:
        counts = []
        for step in steps:
            changed = (await connection.execute(self._statements[step.name], step.params)).rowcount
            if step.wants is not None and changed != step.wants:
                raise Unmet(step, changed)
            counts.append(changed)
        return counts

    async def execute(self, connection: Connection, name: str, params: Params = _NOTHING) -> "psycopg.AsyncCursor[Row]":
        """Run a named statement inside `run`."""
        return await connection.execute(self._statements[name], params)

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, transaction: bool = False, timeout_s: float | None = None) -> T:
        """Do several things with one connection, e.g. COPY; in a transaction if wanted.

        Raises:
            Unavailable: the server can not be asked, or did not answer in time; whether it did what it was told is not known.
            Taken: a unique key is taken.
            ValueError: a value that no column can hold.
        """
        if not self._breaker.allows():
            raise _away()
        task = asyncio.ensure_future(self._pool.use(partial(_in_transaction, work) if transaction else work))
        try:
            await asyncio.wait({task}, timeout=timeout_s or self._timeout_s)
        finally:
            if not task.done():  # it took too long, or the caller was cancelled
                self._abandon(task)
        if not task.done() or task.cancelled():
            raise self._failed("no answer in time")
        return self._outcome(task)

    def _outcome(self, task: "asyncio.Task[T]") -> T:
        try:
            result = task.result()
        except psycopg.errors.UniqueViolation as error:
            self._breaker.succeeded()
            raise Taken(error.diag.constraint_name or "") from error
        except psycopg.DataError as error:
            self._breaker.succeeded()
            if error.sqlstate is None or isinstance(error, _UNHELD):  # without a state: psycopg would not even send it
                raise ValueError(_first_line(error)) from error
            raise
        except (UndefinedTable, UndefinedColumn) as error:
            raise self._failed(f"{_first_line(error)}; run `tokenrouter migrate`") from error
        except (psycopg.OperationalError, psycopg.InterfaceError, ReadOnlySqlTransaction, OSError) as error:
            raise self._failed(_first_line(error)) from None  # its words may name hosts and users; `problem` keeps them
        except Exception:
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return result

    def _failed(self, why: str) -> Unavailable:
        self._breaker.failed(why.replace(self._password, "…") if self._password else why)
        return _away()

    def _abandon(self, task: "asyncio.Task[Any]") -> None:
        """Nobody waits for it any more. Cancelled once, psycopg asks the server to stop and waits for that; cancelled twice, it hangs up."""
        task.cancel()
        self._abandoned.add(task)
        timer = asyncio.get_running_loop().call_later(_GRACE_S, task.cancel)
        task.add_done_callback(partial(self._ended, timer))

    def _ended(self, timer: asyncio.TimerHandle, task: "asyncio.Task[Any]") -> None:
        timer.cancel()
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: nobody else will

    async def aclose(self) -> None:
        """See `Database`."""
        for task in self._abandoned:
            task.cancel()
        if self._abandoned:
            await asyncio.wait(set(self._abandoned), timeout=self._timeout_s)
        await self._pool.aclose()


async def _in_transaction(work: Callable[[Connection], Awaitable[T]], connection: Connection) -> T:
    async with connection.transaction():
        return await work(connection)


def _away() -> Unavailable:
    return Unavailable("the database can not be asked at the moment; try again", headers=(("retry-after", "1"),))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0]}"
