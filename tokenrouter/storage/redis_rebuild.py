"""Making a tenant's counters anew, from the ledger's sums and from what the owners of holds say: after Redis lost them, or never had them.

Whoever drives it, in this order:

    rebuild = await rebuilds.begin_rebuild(tenant)      None: somebody else is at it, or the counters are there; ask again a little later
    wait until `ASSERT_MS` after `rebuild.since_ms`     so that workers have told what they hold; needless for a tenant without open intents
    carry the tenant's stream into the ledger
    asserted = await rebuilds.asserted(tenant)          holds that are here: their intents are not to be presumed spent
    read the ledger's sums                              of intents that are not among `asserted`, the worst case, and their ids
    await rebuilds.seed(rebuild, sums, presumed=..., settled=...)      False: begin again

Every hold ends up in exactly one of held and presumed, whenever its owner told of it: what the ledger presumes (`presumed`) is not held.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.lua import read_script
from tokenrouter.model.rules import MOST_CAP
from tokenrouter.storage import redis_keys
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_link import Arg
from tokenrouter.storage.redis_records import HoldRecord, read_hold
from tokenrouter.storage.redis_replies import listed, number, raw, words

ASSERT_MS: Final = 2_500
"""After this long, every worker that can reach Redis has told of its holds (`redis_keeper` looks every second)."""

DRIVER_MS: Final = 30_000
"""Whoever began to rebuild has so long before somebody else may; beginning again renews it."""

_CHUNK: Final = 1_000
_TIMEOUT_S: Final = 5.0
_TRIES: Final = 5


class Rebuild(msgspec.Struct, frozen=True):
    """A rebuild that is this process's to do. `since_ms`: when the counters were found missing, by the server's clock."""

    tenant: str
    epoch: str
    driver: str
    since_ms: int
    now_ms: int


class Sum(msgspec.Struct, frozen=True):
    """What the ledger says of one counter. `ends_ms`: of its period; 0: never."""

    spent: int
    presumed: int
    ends_ms: int = 0


class RedisRebuilds:
    """See the module. `clock`: for tests only."""

    def __init__(self, client: RedisClient, *, clock: Clock | None = None) -> None:
        self._client, self._clock = client, clock
        self._driver = os.urandom(8).hex()
        self._rebuild, self._seed = read_script("rebuild"), read_script("seed")

    async def ready(self, tenant: str) -> bool:
        """Whether the tenant's counters are there. Raises Unavailable."""
        key = redis_keys.prefix(tenant) + b"epoch"
        state, run_id = listed(await self._client.command(key, "HMGET", key, "state", "run"))
        return state == b"ready" and raw(run_id).decode() in ("", self._client.run_id(key) or raw(run_id).decode())

    async def forget(self, tenant: str) -> None:
        """The tenant's counters are wrong: they are to be made again before anything more is held on them. Raises Unavailable."""
        key = redis_keys.prefix(tenant) + b"epoch"
        await self._client.command(key, "DEL", key)

    async def begin_rebuild(self, tenant: str) -> Rebuild | None:
        """Take it on. None: somebody else is at it, or the counters are there. Raises Unavailable."""
        key = redis_keys.prefix(tenant) + b"epoch"
        told = listed(await self._client.run(self._rebuild, (key,), (self._driver, self._now(), self._client.run_id(key), DRIVER_MS)))
        if told[0] != 0:
            return None
        return Rebuild(tenant, words(told[2]), self._driver, number(told[3]), number(told[1]))

    async def asserted(self, tenant: str) -> tuple[HoldRecord, ...]:
        """Holds that are here and held, by whoever owns them. Raises Unavailable."""
        key = redis_keys.prefix(tenant) + b"hold"
        records = [read_hold(raw(each)) for each in listed(await self._client.command(key, "HVALS", key, timeout_s=_TIMEOUT_S))]
        return tuple(record for record in records if record.state == "h")

    async def seed(self, rebuild: Rebuild, sums: Mapping[str, Sum], *, presumed: Iterable[str] = (), settled: Iterable[str] = ()) -> bool:
        """Write the counters, and let admission go on. False: this rebuild is over, or somebody else's; begin again.

        sums      of each counter, by its name with its period; nanos or tokens
        presumed  ids of the requests whose intents are counted as presumed in them
        settled   ids of the requests in the ledger that are asserted all the same: their settlement's reply was lost

        Raises Unavailable; ValueError for sums that Lua could not count exactly.
        """
        for counter, of in sums.items():
            if not (0 <= of.spent <= MOST_CAP and 0 <= of.presumed <= MOST_CAP):
                raise ValueError(f"{counter}: {of.spent} spent and {of.presumed} presumed are below 0 or above {MOST_CAP}")
        ids, over = tuple(presumed), tuple(settled)
        for _ in range(_TRIES):
            sums = {**sums, **await self._missing(rebuild.tenant, sums)}
            written = await self._write(rebuild, sums, ids, over)
            if written != 2:  # a hold that was told of in between has counters of its own: read again
                return written == 0
        raise Unavailable("holds are told of faster than they can be counted; try again")

    async def _missing(self, tenant: str, sums: Mapping[str, Sum]) -> dict[str, Sum]:
        """Counters of which the ledger says nothing: those that holds name, and those that are left over from before."""
        start = redis_keys.prefix(tenant)
        index = start + b"index"
        told = listed(await self._client.command(index, "ZRANGE", index, 0, -1, "WITHSCORES", timeout_s=_TIMEOUT_S))
        found = {raw(name).decode(): _ends_ms(raw(ends)) for name, ends in zip(told[::2], told[1::2], strict=True)}
        for record in await self.asserted(tenant):
            found.update({counter: ends_ms for counter, _, ends_ms in record.caps})
        return {name: Sum(0, 0, ends_ms) for name, ends_ms in found.items() if name not in sums and not name.startswith("p:")}

    async def _write(self, rebuild: Rebuild, sums: Mapping[str, Sum], presumed: Sequence[str], settled: Sequence[str]) -> int:
        names = list(sums)
        for first in range(0, len(names) - _CHUNK, _CHUNK):
            part = {name: sums[name] for name in names[first : first + _CHUNK]}
            told = await self._send(rebuild, {name: _args(of) for name, of in part.items()}, last=False)
            if told:
                return told
        rest = names[max(0, (len(names) - 1) // _CHUNK * _CHUNK) :]
        last: dict[str, tuple[Arg, ...]] = {name: ("", "", "") for record in await self.asserted(rebuild.tenant) for name, _, _ in record.caps}
        last.update({name: _args(sums[name]) for name in rest})
        return await self._send(rebuild, last, presumed, settled, last=True)

    async def _send(
        self,
        rebuild: Rebuild,
        counters: Mapping[str, tuple[Arg, ...]],
        presumed: Sequence[str] = (),
        settled: Sequence[str] = (),
        *,
        last: bool,
    ) -> int:
        start = redis_keys.prefix(rebuild.tenant)
        keys = [start + name for name in (b"epoch", b"holds", b"hold", b"done", b"index", b"presumed")]
        keys += [redis_keys.counter(rebuild.tenant, name) for name in counters]
        args: list[Arg] = [rebuild.driver, rebuild.epoch, self._now(), "1" if last else "0", len(presumed), len(settled)]
        for each in counters.values():
            args += each
        args += (*presumed, *settled)
        return number(listed(await self._client.run(self._seed, keys, args, timeout_s=_TIMEOUT_S))[0])

    def _now(self) -> str:
        return "" if self._clock is None else str(self._clock.time_ns() // 1_000_000)


def _args(of: Sum) -> tuple[Arg, ...]:
    return str(of.spent), str(of.presumed), of.ends_ms or "+inf"


def _ends_ms(score: bytes) -> int:
    return 0 if score in (b"inf", b"+inf") else int(float(score))
