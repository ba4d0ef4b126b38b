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
_PATIENCE_S: Final = 15.0
_AWAY: Final = "nobody could say afterwards what was sent: the ledger can not be written at the moment; try again"

_Waiting = tuple[Entry, "asyncio.Future[None]"]


class EntryWriter(Protocol):
    """Writes entries of one tenant, all or none, as often as they come."""

    async def write(self, tenant: str, entries: list[Entry], *, timeout_s: float) -> Batch:
        """Raises Unavailable: nobody knows whether they were written."""
        ...


class Spool:
    """One worker's. `begin` inside the loop, `drain` and `aclose` at its end."""

    def __init__(self, ledger: EntryWriter, *, timeout_s: float = 2.0, most: int = 100_000) -> None:
        """Over the ledger.

        timeout_s  longest wait of who can not go on before an entry is written
        most       entries that may wait. With more, those that may be lost are; the others still wait
        """
        self._ledger, self._timeout_s, self._most = ledger, timeout_s, most
        self._urgent: dict[str, list[_Waiting]] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}
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
        """Write one now, together with those of its tenant that come while another write is under way.

        Raises Unavailable: it is not written, or nobody can say.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._urgent.setdefault(tenant, []).append((entry, future))
        if tenant not in self._writing:
            self._writing[tenant] = asyncio.create_task(self._write_urgent(tenant))
        try:
            async with asyncio.timeout(self._timeout_s):
                await future
        except TimeoutError:
            raise Unavailable(_AWAY, headers=(("retry-after", "1"),)) from None

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
        for task in [*([self._task] if self._task else []), *self._writing.values()]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._waiting:
            self.lost += len(self._waiting)
            log.error("%d entries could not be written into the ledger: Postgres is away", len(self._waiting))

    async def _write_urgent(self, tenant: str) -> None:
        try:
            while batch := [each for each in self._urgent.pop(tenant, ()) if not each[1].done()]:
                await self._write_batch(tenant, batch)
        finally:
            del self._writing[tenant]
            for _, future in self._urgent.pop(tenant, ()):
                future.cancel()

    async def _write_batch(self, tenant: str, batch: list[_Waiting]) -> None:
        error: Exception | None = None
        refused: set[str] = set()
        try:
            written = await self._ledger.write(tenant, [entry for entry, _ in batch], timeout_s=self._timeout_s)
            if written.rejected:
                refused = {entry.id for entry, _ in batch} - {intent.id for intent in written.intents} - set(written.ended)
        except Unavailable as failure:
            error = failure
        except Exception as failure:
            log.exception("an entry could not be written into the ledger")
            error = failure
        for entry, future in batch:
            if future.done():
                continue
            if error is None and entry.id not in refused:
                future.set_result(None)
            else:
                future.set_exception(Unavailable(_AWAY, headers=(("retry-after", "1"),)))

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(_GATHER_S)
            self._wanted.clear()
            while self._waiting:
                try:
                    await self._write_some()
                except Unavailable as error:
                    self.problem = f"entries wait for Postgres: {error.message}"
                    await asyncio.sleep(_PAUSE_S)
                except Exception as error:
                    log.exception("entries could not be written into the ledger")
                    self.problem = f"entries wait for Postgres: {type(error).__name__}"
                    await asyncio.sleep(_PAUSE_S)
                else:
                    self.problem = ""
            self._idle.set()

    async def _write_some(self) -> None:
        some = [self._waiting[index] for index in range(min(_AT_ONCE, len(self._waiting)))]
        for tenant, group in groupby(some, key=lambda each: each[0]):
            entries = [entry for _, entry in group]
            await self._ledger.write(tenant, entries, timeout_s=_PATIENCE_S)
            for _ in entries:
                self._waiting.popleft()
