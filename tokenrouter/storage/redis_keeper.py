"""The background work of one worker for the counters in Redis: renew what it holds, look after what others left, forget what is over."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from tokenrouter.errors import Unavailable
from tokenrouter.storage.redis_counters import RedisCounters
from tokenrouter.storage.redis_records import HoldRecord

log = logging.getLogger(__name__)

WATCH_S: Final = 1.0
BEATS: Final = 20
"""Holds and places are renewed every so many rounds: a third of the time after which they lapse."""
SWEEPS: Final = 600


class RedisKeeper:
    """Every second: were counters lost? Every 20: renew, and presume lapsed holds of any tenant spent. Every 10 minutes: forget.

    All workers do all of it; doing it twice changes nothing. For one event loop.
    """

    def __init__(
        self,
        counters: RedisCounters,
        *,
        expired: Callable[[str, tuple[HoldRecord, ...]], None] = lambda *_: None,
        may_expire: Callable[[], bool] = lambda: True,
    ) -> None:
        """Over the counters of this worker.

        expired     told of holds of a tenant that are presumed spent from here on; the ledger's stream is told already
        may_expire  False: not at the moment, as others may not have been able to renew what they hold
        """
        self._counters, self._expired, self._may_expire = counters, expired, may_expire
        self._rounds = 0
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Work until `aclose`."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """Stop. What is held lapses unless it is settled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def round(self) -> None:
        """One round. Never fails: what could not be done is done in a later one."""
        self._rounds += 1
        await self._counters.watch()
        if self._rounds % BEATS == 0:
            await self._counters.beat()
            if self._may_expire():
                await self._for_all(self._expire)
        if self._rounds % SWEEPS == 0:
            await self._for_all(self._sweep)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self.round()
            except Exception:  # without this work everything held would lapse, so no mistake may end it
                log.exception("a round of the counters' background work failed")

    async def _for_all(self, work: Callable[[str], Awaitable[None]]) -> None:
        try:
            for tenant in await self._counters.known_tenants():
                await work(tenant)
        except Unavailable:
            return  # the counters' `problem` says so

    async def _expire(self, tenant: str) -> None:
        while expired := await self._counters.expire(tenant):
            self._expired(tenant, expired)

    async def _sweep(self, tenant: str) -> None:
        while await self._counters.sweep(tenant):
            pass
