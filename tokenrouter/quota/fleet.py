"""How many workers share the counters, as far as is known."""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from tokenrouter.errors import Unavailable
from tokenrouter.quota.shares import SlotLeaser

log = logging.getLogger("tokenrouter")

_NAME: Final = "workers"
_MOST: Final = 1_000_000
_TTL_MS: Final = 15_000
_EVERY_S: Final = 2.0


class Fleet:
    """One worker's membership: a place in a limit that nobody reaches. `size`: how many there were when it was asked last, at least one."""

    def __init__(self, leaser: SlotLeaser, worker: str) -> None:
        self._leaser, self._worker = leaser, worker
        self._task: asyncio.Task[None] | None = None
        self.size = 1

    async def tick(self) -> None:
        """Say that this worker is there. Raises Unavailable."""
        slots = await self._leaser.take_slots(_NAME, _MOST, self._worker, 1, _TTL_MS)
        self.size = max(1, slots.workers)

    def begin(self) -> None:
        """Say so from here on."""
        self._task = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Leave."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(Unavailable):
            await self._leaser.take_slots(_NAME, _MOST, self._worker, 0, _TTL_MS)

    async def _keep(self) -> None:
        while True:
            with suppress(Unavailable):
                await self.tick()
            await asyncio.sleep(_EVERY_S)
