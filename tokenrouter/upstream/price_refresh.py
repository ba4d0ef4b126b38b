"""Prices fetched from a host's list of models, at start and from time to time, and kept for the next start.

What comes is somebody else's: it has a deadline and a largest size, is not followed elsewhere, and is read with suspicion (`price_list`).
Where a fetch fails, the prices known so far stay.
"""

import asyncio
import logging
from typing import Protocol

import aiohttp
import msgspec
from yarl import URL

from tokenrouter.catalog.price_list import PriceTable, Reading, read_list
from tokenrouter.catalog.prices import Prices
from tokenrouter.clock import Clock
from tokenrouter.errors import UpstreamFailed, UpstreamTimedOut

log = logging.getLogger("tokenrouter")

MOST_BYTES = 8 << 20
DEADLINE_S = 30.0
_LOOK_S = 60
_AFTER_FAILURE_S = 900
_NAMED = 5

_table = msgspec.json.Decoder(PriceTable)


class PriceStore(Protocol):
    """Where the table of the last fetch is kept. Both may wait for a disk: not for the event loop."""

    def load(self) -> bytes | None:
        """What was kept; None where nothing was."""
        ...

    def save(self, table: bytes) -> None:
        """Keep it instead."""
        ...


def kept_table(store: PriceStore, url: str) -> PriceTable | None:
    """The table of the last fetch from `url`; None where there is none, and where it is of another address: nobody asks there any more."""
    if not url:
        return None
    try:
        kept = store.load()
        table = _table.decode(kept) if kept is not None else None
    except (OSError, ValueError) as error:
        log.warning("the prices that were fetched last cannot be read and are not used: %s", error)
        return None
    return table if table is not None and table.url == shown(url) else None


async def fetch(url: str, *, deadline_s: float = DEADLINE_S, most_bytes: int = MOST_BYTES) -> bytes:
    """The body of a list of models.

    Raises:
        UpstreamFailed, UpstreamTimedOut: saying which address and why.
    """
    timeout, name = aiohttp.ClientTimeout(total=deadline_s), shown(url)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "tokenrouter"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if 300 <= response.status < 400:
                raise UpstreamFailed(f"{name} answered with a redirect ({response.status}), which is not followed; set the address that it leads to")
            if response.status != 200:
                raise UpstreamFailed(f"{name} answered {response.status}")
            body = bytearray()
            async for data in response.content.iter_chunked(1 << 16):
                body += data
                if len(body) > most_bytes:
                    raise UpstreamFailed(f"{name} answered with more than {most_bytes >> 20} MB")
            return bytes(body)
    except TimeoutError as error:
        raise UpstreamTimedOut(f"{name} did not answer whole within {deadline_s:g} s") from error
    except (aiohttp.ClientError, ValueError, OSError) as error:
        raise UpstreamFailed(f"{name} could not be read: {type(error).__name__}") from error


class PriceRefresh:
    """Keeps the list fresh. One fetch at a time."""

    def __init__(
        self,
        prices: Prices,
        store: PriceStore,
        clock: Clock,
        *,
        url: str,
        vendor: str,
        interval_s: int,
    ) -> None:
        """`vendor`: whose models are listed; see `read_list`. `interval_s`: between two fetches; 0: only when asked for."""
        self._prices, self._store, self._clock = prices, store, clock
        self._url, self._vendor, self._interval_s = url, vendor, interval_s
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """From now on, fetch when it is due, and look every minute whether somebody else has."""
        if self._url:
            self._task = asyncio.create_task(self._forever())

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def refresh(self, *, force: bool = False) -> Reading:
        """Fetch, read, keep, use. `force`: take prices that moved far, too.

        Raises:
            UpstreamFailed, UpstreamTimedOut: nothing has changed then.
            OSError: it is in use, but could not be kept.
        """
        async with self._lock:
            body = await fetch(self._url)
            book, now = self._prices.book, self._clock.time_ns()
            reading = await asyncio.to_thread(
                read_list,
                body,
                url=shown(self._url),
                vendor=self._vendor,
                fetched_ns=now,
                now=lambda key: book.listed(key, now),
                old=book.layers.table,
                force=force,
            )
            self._prices.replace(self._prices.book.with_table(reading.table))
            await asyncio.to_thread(self._store.save, msgspec.json.encode(reading.table))
            return reading

    async def adopt(self) -> bool:
        """Use what somebody else has fetched since: another worker, or `tokenrouter prices refresh`. Whether there was something."""
        kept = await asyncio.to_thread(kept_table, self._store, self._url)
        async with self._lock:
            ours = self._prices.book.layers.table
            if kept is None or (ours is not None and kept.fetched_ns <= ours.fetched_ns):
                return False
            self._prices.replace(self._prices.book.with_table(kept))
            return True

    @property
    def due(self) -> bool:
        """Whether what is in use is older than the interval."""
        table = self._prices.book.layers.table
        return self._interval_s > 0 and (table is None or self._clock.time_ns() - table.fetched_ns >= self._interval_s * 1_000_000_000)

    async def _forever(self) -> None:
        pause_ns = 0
        while True:
            try:
                await self.adopt()
                if self.due and self._clock.monotonic_ns() >= pause_ns:
                    pause_ns = self._clock.monotonic_ns() + min(self._interval_s, _AFTER_FAILURE_S) * 1_000_000_000
                    said(await self.refresh())
            except (UpstreamFailed, UpstreamTimedOut, OSError) as error:
                log.warning("prices were not refreshed, those known so far stay: %s", error)
            except Exception:
                log.exception("prices were not refreshed, those known so far stay")
            await asyncio.sleep(_LOOK_S)


def shown(url: str) -> str:
    """An address without what may be secret in it: user, password, query."""
    return str(URL(url).with_user(None).with_query(None).with_fragment(None))


def said(reading: Reading) -> None:
    """Log what a fetch brought."""
    table, left_out = reading.table, reading.left_out
    log.info("%d prices from %s (%s), %d of them changed", len(table.prices), table.url, table.version, len(reading.moved))
    if left_out:
        some = "; ".join(f"{key}: {why}" for key, why in left_out[:_NAMED])
        log.warning("%d entries of %s were not taken: %s%s", len(left_out), table.url, some, "; ..." if len(left_out) > _NAMED else "")
