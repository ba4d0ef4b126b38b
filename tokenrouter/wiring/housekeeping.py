"""What is done once in a while, beside the requests: old rows leave the ledger, what is over is dropped."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.storage.database import Database
from tokenrouter.storage.directory import Directory
from tokenrouter.storage.retention import retire
from tokenrouter.storage.sums import cuts
from tokenrouter.storage.tenant_caps import caps_from

log = logging.getLogger("tokenrouter")

EVERY_S: Final = 3600.0
_PAGE: Final = 500


class Housekeeping:
    """Chores of one process, each on its own: one that fails holds up no other. Several processes may do the same ones."""

    def __init__(self, chores: Mapping[str, Callable[[], Awaitable[object]]], *, every_s: float = EVERY_S) -> None:
        self._chores, self._every_s = chores, every_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Do them from here on, the first time some time within the first period."""
        self._task = asyncio.create_task(self._run())

    async def once(self) -> None:
        """Do all of them."""
        for name, chore in self._chores.items():
            try:
                await chore()
            except Unavailable as error:
                log.info("%s waits: %s", name, error)
            except Exception:
                log.exception("%s failed", name)

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        await asyncio.sleep(self._every_s * random.random())  # not all processes at once
        while True:
            await self.once()
            await asyncio.sleep(self._every_s)


async def retire_rows(database: Database, keys: Directory, clock: Clock, *, days: int, most: int) -> int:
    """Let rows go that are older than `days`; 0: none. `most`: in one transaction. How many went. Raises Unavailable."""
    if not days:
        return 0
    caps_of = caps_from(keys)
    moments: dict[str, list[int]] = {}
    page = await keys.tenants(most=_PAGE)
    while page:
        for tenant in page:
            caps, _ = await caps_of(tenant.name)
            moments[tenant.name] = sorted(cuts(caps))
        page = await keys.tenants(page[-1].name, most=_PAGE)
    return await retire(database, clock.time_ns(), days=days, cuts=moments, most=most)
