"""Carries the tenants' streams from Redis into Postgres: in batches, by all workers together, each entry to exactly one row.

A batch is one transaction; only then its entries leave the stream. Whatever breaks in between, it is carried again, and the ledger takes
nothing twice. While Postgres is away the streams wait. What a worker read and did not carry, because it died, others take over.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.lua import read_script
from tokenrouter.storage import redis_keys
from tokenrouter.storage.appended import Appended, Told
from tokenrouter.storage.ledger_entries import Entry, Malformed, Rejected, read_entry
from tokenrouter.storage.postgres_ledger import PostgresLedger
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_link import RedisRefused, Reply

log = logging.getLogger("tokenrouter")

GROUP: Final = b"ledger"
_READ_S: Final = 2.0  # a batch is larger than what others ask Redis for
_GONE_MS: Final = 3_600_000
_CLAIM_MS: Final = 15_000
_CLAIM_EVERY_S: Final = 5.0
_SWEEP_S: Final = 30.0
_CONFIRM_S: Final = 1.0
_LOST_NS: Final = 60_000_000_000
_LONGEST_PAUSE_S: Final = 2.0
_TOGETHER: Final = 4
_SWEPT_TOGETHER: Final = 100


def fields_of(entry: Entry) -> list[bytes | str | int]:
    """An entry as it stands in a stream: see `storage.ledger_entries`."""
    admitted_ms, late = entry.admitted_ns // 1_000_000, int(entry.late)
    return ["k", entry.kind, "id", entry.id, "h", entry.held, "t", entry.held_tokens, "a", admitted_ms, "l", late, "r", entry.record]


class Carrier:
    """One worker's part. `begin` starts it in a running loop; without that, `carry` does one batch.

    problem  why entries wait, for operators; "" while all is well
    told     what this worker appended and Postgres is not known to have
    """

    def __init__(self, redis: RedisClient, ledger: PostgresLedger, clock: Clock, *, worker: str, at_once: int = 500, gather_s: float = 0.1) -> None:
        """`worker`: its name among the readers, used by no other process, before or after. `at_once`: rows of a batch.

        gather_s  how long entries may gather before they are carried
        """
        self._redis, self._ledger, self._clock = redis, ledger, clock
        self._name, self._at_once, self._gather_s = worker.encode(), at_once, gather_s
        self._open, self._done = read_script("ledger_open"), read_script("ledger_carried")
        self._opened: set[str] = set()
        self._unsure: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._fresh: set[str] = set()
        self._again: dict[str, tuple[float, float]] = {}
        self._told_again: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.told = Appended(clock)
        self.problem = ""

    # -- what the books tell it

    def appended(self, tenant: str, entry: Entry) -> None:
        """A script has put this entry into the tenant's stream."""
        self.told.add(tenant, entry)
        self.seen(tenant)

    def seen(self, tenant: str) -> None:
        """Something may stand in the tenant's stream."""
        if tenant not in self._fresh:
            self._fresh.add(tenant)
            self._wake.set()

    def unconfirmed(self, tenant: str) -> list[Entry]:
        """What this worker appended and Postgres is not known to have: to be appended again where Redis lost the tenant."""
        return [each.entry for each in self.told.of(tenant)]

    async def append_again(self, tenant: str) -> int:
        """Put `unconfirmed` back into the stream; what stands there twice does no harm. How many. Raises Unavailable."""
        return await self._append(tenant, self.unconfirmed(tenant))

    async def tell_again(self) -> None:
        """Tell of everything `unconfirmed` where a tenant's counters are being rebuilt: once for each time that Redis lost them.

        Whoever rebuilds waits for it (`storage.rebuild`), so that the ledger's sums hold what only this worker remembers. Whoever comes too
        late for that has them made once more.

        Raises Unavailable.
        """
        for tenant in self.told.tenants():
            key = redis_keys.prefix(tenant) + b"epoch"
            found = await self._redis.command(key, "HMGET", key, "id", "state", "since")
            epoch, state, since = cast("list[bytes | None]", found)
            before = self._told_again.get(tenant)
            if epoch is None or before == epoch:
                continue
            if state == b"rebuilding":
                await self.append_again(tenant)
            elif before is not None and (missed := await self._missed(tenant, key, int(since or 0))):
                log.warning("%d entries of %s's ledger come after its counters were made again: they are made once more", len(missed), tenant)
                await self._append(tenant, missed)
                await self._redis.command(key, "DEL", key)
            self._told_again[tenant] = epoch

    async def _missed(self, tenant: str, key: bytes, since_ms: int) -> list[Entry]:
        """What was told before the loss was found at `since_ms`, by the server's clock, and Postgres does not have."""
        seconds, micros = (int(cast("bytes", each)) for each in cast("list[Reply]", await self._redis.command(key, "TIME")))
        age_ns = (seconds * 1_000 + micros // 1_000 - since_ms) * 1_000_000
        told = self.told.of(tenant, before_ns=self._clock.monotonic_ns() - age_ns)
        known = await self._ledger.known(tenant, [each.entry.id for each in told if each.entry.kind != "i"], [each.entry.id for each in told])
        return [each.entry for each in told if each.entry.id not in known]

    @property
    def backlog(self) -> int:
        """Entries that waited in the streams when they were looked at last."""
        return sum(self._waiting.values())

    # -- one tenant

    async def carry(self, tenant: str, *, idle_ms: int | None = None) -> int:
        """Carry one batch; how many entries it had. 0: nothing is there that is not another worker's.

        `idle_ms`: take over what another worker has read so long ago and not carried.

        Raises:
            Unavailable: Redis or Postgres is away. Nothing is lost; call again.
        """
        key = redis_keys.ledger(tenant)
        if tenant not in self._opened and not await self._open_stream(tenant):
            return 0
        entries = await self._own(tenant, key) if tenant in self._unsure else []
        again = bool(entries)
        if not again:
            self._unsure.add(tenant)  # if the reply is lost, the entries are ours all the same
            entries = await self._take(tenant, key, idle_ms)
        if entries:
            await self._into_postgres(tenant, entries)
            ids = [place for place, _ in entries]
            self._waiting[tenant] = cast("int", await self._redis.run(self._done, [key], [GROUP, *ids], timeout_s=_READ_S))
        if not again:
            self._unsure.discard(tenant)
        return len(entries)

    async def drain(self, tenant: str, *, idle_ms: int = 1_000) -> None:
        """Carry until the stream is empty, what other workers hold included. Raises Unavailable; waits for ever where another one hangs."""
        while True:
            while await self.carry(tenant, idle_ms=idle_ms):
                pass
            if not await self._open_stream(tenant):
                return
            await asyncio.sleep(self._gather_s)

    async def _open_stream(self, tenant: str) -> int:
        """Make the stream readable; how many entries wait in it, 0 where there is none."""
        waiting = cast("int", await self._redis.run(self._open, [redis_keys.ledger(tenant)], [GROUP, _GONE_MS]))
        self._waiting[tenant] = max(0, waiting)
        if waiting >= 0:
            self._opened.add(tenant)
        else:
            self._opened.discard(tenant)
        return max(0, waiting)

    async def _own(self, tenant: str, key: bytes) -> list[tuple[bytes, list[bytes] | None]]:
        """Entries that were read before and not carried."""
        return _entries(await self._read(tenant, key, b"0"))

    async def _take(self, tenant: str, key: bytes, idle_ms: int | None) -> list[tuple[bytes, list[bytes] | None]]:
        entries = _entries(await self._read(tenant, key, b">"))
        if entries or idle_ms is None or tenant not in self._opened:
            return entries
        told = await self._redis.command(key, "XAUTOCLAIM", key, GROUP, self._name, idle_ms, b"0-0", "COUNT", self._at_once, timeout_s=_READ_S)
        claimed = told[1] if isinstance(told, list) else None
        return [(place, fields) for place, fields in _pairs(claimed) if fields is not None]

    async def _read(self, tenant: str, key: bytes, start: bytes) -> Reply:
        try:
            return await self._redis.command(
                key, "XREADGROUP", "GROUP", GROUP, self._name, "COUNT", self._at_once, "STREAMS", key, start, timeout_s=_READ_S
            )
        except RedisRefused as error:
            if not error.said.startswith("NOGROUP"):
                raise
        self._opened.discard(tenant)  # Redis has lost it; whoever appends to it anew will be seen
        self._waiting[tenant] = 0
        return None

    async def _into_postgres(self, tenant: str, found: Sequence[tuple[bytes, list[bytes] | None]]) -> None:
        entries: list[Entry] = []
        rejected: list[Rejected] = []
        for place, fields in found:
            if fields is None:
                continue  # carried by another one, and still on our list
            try:
                entries.append(read_entry(place, dict(zip(fields[::2], fields[1::2], strict=False))))
            except Malformed as error:
                rejected.append(Rejected(place.decode(), str(error), b"\n".join(fields)))
        if rejected:
            await self._ledger.set_aside(tenant, rejected)
        if entries:
            rejected += (await self._ledger.write(tenant, entries)).rejected
        for each in rejected:
            log.error("entry %s of %s's ledger is set aside in ledger_rejected: %s", each.place, tenant, each.reason)

    async def _append(self, tenant: str, entries: Sequence[Entry]) -> int:
        key = redis_keys.ledger(tenant)
        for entry in entries:
            await self._redis.command(key, "XADD", key, "*", *fields_of(entry))
        if entries:
            self.seen(tenant)
        return len(entries)

    # -- what Postgres has

    async def confirm(self) -> None:
        """Forget what is written. What has vanished on its way, with neither Redis nor Postgres having it, is appended again."""
        before_ns = self._clock.monotonic_ns() - round(_CONFIRM_S * 1e9)
        for tenant in self.told.tenants():
            told = self.told.of(tenant, before_ns=before_ns, most=2_000)
            if told:
                await self._confirm(tenant, told)

    async def _confirm(self, tenant: str, told: Sequence[Told]) -> None:
        settled = [each.entry.id for each in told if each.entry.kind in ("s", "p")]
        intended = [each.entry.id for each in told if each.entry.kind == "i"]
        known = await self._ledger.known(tenant, settled, intended)
        old = self._clock.monotonic_ns() - _LOST_NS
        missing = [each for each in told if each.at_ns < old and each.entry.id not in known]
        lost = [each for each in missing if each.entry.kind != "v" and not each.again]
        self.told.written(tenant, [each for each in told if each.entry.id in known])
        if missing and not await self._open_stream(tenant):  # what still waits is not lost
            self.told.written(tenant, missing)  # of a call that was not made nothing is left to find; what was lost twice is refused
            await self._append(tenant, [each.entry for each in lost])
            for each in lost:
                log.warning("the entry of %s in %s's ledger was lost on its way and is appended again", each.entry.id, tenant)
                self.told.add(tenant, each.entry, again=True)

    # -- all tenants, all the time

    def begin(self) -> None:
        """Carry from here on, until `aclose`."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self, within_s: float = 10.0) -> None:
        """Stop, and carry what this worker knows of. What remains waits in Redis for another worker."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(within_s):
                for tenant in {*self._fresh, *self._again, *self._unsure, *self.told.tenants()}:
                    while await self.carry(tenant):
                        pass

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        sweep_at = confirm_at = loop.time()
        pause_s = self._gather_s
        while True:
            now = loop.time()
            until = min([sweep_at, confirm_at, *(at for at, _ in self._again.values())])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - now)):
                    await self._wake.wait()
            await asyncio.sleep(pause_s)
            well = await self._tried(self._round)
            now = loop.time()
            if now >= confirm_at:  # whether Postgres is there or not: whoever rebuilds may be able to ask it
                confirm_at = now + _CONFIRM_S
                well = await self._tried(self.tell_again) and well and await self._tried(self.confirm)
            if well and now >= sweep_at:
                sweep_at = now + _SWEEP_S
                well = await self._tried(self.sweep)
            if well:
                self.problem, pause_s = "", self._gather_s
            else:
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except Unavailable as error:
            self.problem = f"entries wait to be carried into the ledger: {self._redis.problem or self._ledger.problem or error.message}"
            return False
        except Exception as error:
            log.exception("the ledger's carrier failed; it goes on")
            self.problem = f"entries wait to be carried into the ledger: {type(error).__name__}"
            return False
        return True

    async def _round(self) -> None:
        """Carry everything that is due, a few tenants at a time."""
        now = asyncio.get_running_loop().time()
        due = dict.fromkeys(self._fresh, self._gather_s) | {tenant: pause for tenant, (at, pause) in self._again.items() if at <= now}
        self._fresh.clear()
        self._wake.clear()
        for tenant, pause in due.items():  # an entry may come behind the news of it; looked for again, ever more rarely
            self._again[tenant] = (now + pause, pause * 2)
        few = asyncio.Semaphore(_TOGETHER)

        async def carried(tenant: str, *, again: bool) -> None:
            async with few:
                while await self.carry(tenant, idle_ms=_CLAIM_MS if again else None) == self._at_once:
                    pass
                pause = self._again[tenant][1]
                if self._waiting.get(tenant):
                    self._again[tenant] = (now + min(pause, _CLAIM_EVERY_S), min(pause, _CLAIM_EVERY_S))
                elif pause > _SWEEP_S:
                    del self._again[tenant]

        results = await asyncio.gather(*(carried(tenant, again=pause > self._gather_s) for tenant, pause in due.items()), return_exceptions=True)
        failed = [(tenant, result) for tenant, result in zip(due, results, strict=True) if isinstance(result, BaseException)]
        self._fresh.update(tenant for tenant, _ in failed)
        if failed:
            raise failed[0][1]

    async def sweep(self) -> None:
        """Look for every tenant that may have a stream: another worker's may have died."""
        tenants = await self._ledger.counted()
        for first in range(0, len(tenants), _SWEPT_TOGETHER):
            some = tenants[first : first + _SWEPT_TOGETHER]
            for tenant, waiting in zip(some, await asyncio.gather(*map(self._open_stream, some)), strict=True):
                if waiting:
                    self._again.setdefault(tenant, (0.0, _CLAIM_EVERY_S))


def _entries(told: Reply) -> list[tuple[bytes, list[bytes] | None]]:
    """The entries of one stream in the reply to XREADGROUP. Fields are missing where the entry is gone from the stream."""
    if not isinstance(told, list) or not told:
        return []
    stream = cast("list[Reply]", told[0])
    return _pairs(stream[1])


def _pairs(told: Reply) -> list[tuple[bytes, list[bytes] | None]]:
    """Entries with their ids. Redis 6.2 says nothing at all of claimed entries that are gone; they stay on the reader's own list."""
    found = cast("list[list[object] | None]", told or [])
    return [cast("tuple[bytes, list[bytes] | None]", (entry[0], entry[1])) for entry in found if entry is not None]
