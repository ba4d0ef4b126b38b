"""Entries that go straight into the ledger in Postgres: of calls made while Redis was away, and of requests that cost nothing."""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from itertools import groupby
from typing import Final, Protocol

from tokenrouter.errors import Unavailable
from tokenrouter.storage.ledger_entries import Batch, Entry

log = logging.getLogger("tokenrouter")

_AT_ONCE: Final = 500
_GATHER_S: Final = 0.1
_PAUSE_S: Final = 0.5


class EntryWriter(Protocol):
    """Writes entries of one tenant, all or none, as often as they come."""

    async def write(self, tenant: str, entries: list[Entry]) -> Batch:
        """Raises Unavailable: nobody knows whether they were written."""
        ...


class Spool:
    """One worker's. `begin` inside the loop, `drain` and `aclose` at its end."""

    def __init__(self, ledger: EntryWriter, *, most: int = 100_000) -> None:
        """`most`: entries that may wait. With more, those that may be lost are; the others still wait."""
        self._ledger, self._most = ledger, most
        self._waiting: deque[tuple[str, Entry]] = deque()
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.lost = 0
        self.problem = ""

    @property
    def backlog(self) -> int:
        """Entries that wait."""
        return len(self._waiting)

    async def write(self, tenant: str, entry: Entry) -> None:
        """Write one now. Raises Unavailable."""
        await self._ledger.write(tenant, [entry])

    def put(self, tenant: str, entry: Entry, *, may_be_lost: bool = False) -> None:
        """Write one soon, until it is written."""
        if may_be_lost and len(self._waiting) >= self._most:
            self.lost += 1
            return
        self._waiting.append((tenant, entry))
        self._idle.clear()
        self._wanted.set()

    def begin(self) -> None:
        """Write from here on."""
        self._task = asyncio.create_task(self._run())

    async def drain(self, within_s: float) -> bool:
        """Wait until nothing waits. False: not in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        return not self._waiting

    async def aclose(self) -> None:
        """Stop; `drain` comes before. What waits still is counted as lost, and logged."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._waiting:
            self.lost += len(self._waiting)
            log.error("%d entries could not be written into the ledger: Postgres is away", len(self._waiting))

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(_GATHER_S)
            self._wanted.clear()
            while self._waiting:
                try:
                    await self._write_some()
                except Unavailable as error:
                    self.problem = f"entries wait for Postgres: {error}"
                    await asyncio.sleep(_PAUSE_S)
                except Exception:
                    log.exception("entries could not be written into the ledger")
                    await asyncio.sleep(_PAUSE_S)
                else:
                    self.problem = ""
            self._idle.set()

    async def _write_some(self) -> None:
        some = [self._waiting[index] for index in range(min(_AT_ONCE, len(self._waiting)))]
        for tenant, group in groupby(some, key=lambda each: each[0]):
            entries = [entry for _, entry in group]
            await self._ledger.write(tenant, entries)
            for _ in entries:
                self._waiting.popleft()
