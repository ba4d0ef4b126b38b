"""Connections to Postgres: opened when they are wanted, so that a process starts while the server is away."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from psycopg import AsyncConnection, OperationalError
from psycopg.pq import ConnStatus, TransactionStatus

from tokenrouter.clock import Clock

Connection = AsyncConnection[tuple[object, ...]]
T = TypeVar("T")


class Pool:
    """At most `most` connections in use, at most `idle` kept for later, none used for longer than `lifetime_s` (0: for ever).

    A failure to connect is told at once to the one who wanted the connection, with its reason; nothing is tried in the background.
    """

    def __init__(self, parameters: Mapping[str, Any], clock: Clock, *, most: int, idle: int, lifetime_s: float) -> None:
        self._parameters, self._clock = parameters, clock
        self._most_idle, self._lifetime_ns = idle, round(lifetime_s * 1e9)
        self._room = asyncio.Semaphore(most)
        self._kept: list[tuple[Connection, int]] = []
        self._closed = False

    async def use(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something with a connection in autocommit mode. Raises what psycopg and `work` raise."""
        async with self._room:
            connection, born_ns = await self._take()
            try:
                return await work(connection)
            finally:
                await self._give(connection, born_ns)

    async def _take(self) -> tuple[Connection, int]:
        now = self._clock.monotonic_ns()
        while self._kept:
            connection, born_ns = self._kept.pop()
            if not self._worn(born_ns, now) and _alive(connection):
                return connection, born_ns
            await connection.close()
        return await AsyncConnection.connect(autocommit=True, prepare_threshold=None, **self._parameters), now

    async def _give(self, connection: Connection, born_ns: int) -> None:
        whole = not connection.closed and connection.pgconn.transaction_status == TransactionStatus.IDLE
        worn = self._worn(born_ns, self._clock.monotonic_ns())
        if whole and not worn and not self._closed and len(self._kept) < self._most_idle:
            self._kept.append((connection, born_ns))
        else:
            await connection.close()

    def _worn(self, born_ns: int, now_ns: int) -> bool:
        return bool(self._lifetime_ns) and now_ns - born_ns > self._lifetime_ns

    async def aclose(self) -> None:
        """Close what is kept; what is in use is closed when it is given back."""
        self._closed = True
        while self._kept:
            await self._kept.pop()[0].close()


def _alive(connection: Connection) -> bool:
    """Whether the server has left an idle connection alone. Nothing is sent: a server that went away has said so on the wire.

    Read twice: the first time may find the server's last words, and only the second one the end behind them.
    """
    try:
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except OperationalError:
        return False
    return not connection.closed and connection.pgconn.status == ConnStatus.OK
