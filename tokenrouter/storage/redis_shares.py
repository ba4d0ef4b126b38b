"""What spans tenants, in Redis: places and budgets that workers have a part of at hand, so that no request asks for them.

    tr:{global}:slots:NAME, :places:NAME        a limit of places: workers and when they lapse, and what each has
    tr:{global}:budget:NAME, :shares:NAME, :slices:NAME   a budget: its sums, workers and when they lapse, and what each has
    tr:{global}:budgets                         all budgets, and when each may be forgotten

Everything a worker says is in absolute numbers, so saying it again changes nothing: calls that failed are simply made again.
"""

import re
from typing import Final

from tokenrouter.clock import Clock
from tokenrouter.lua import read_script
from tokenrouter.model.admission import NeedsRebuild
from tokenrouter.model.rules import MOST_CAP
from tokenrouter.model.shares import Slice, Slots
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_keys import GLOBAL
from tokenrouter.storage.redis_link import Reply

_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_BUDGETS: Final = GLOBAL + b"budgets"
_KEPT_MS: Final = 86_400_000
"""A budget is kept for a day after its period: who began in it may settle late."""


class RedisShares:
    """Parts of global limits and budgets for this worker. `clock`: for tests only; otherwise the server's time counts."""

    def __init__(self, client: RedisClient, *, clock: Clock | None = None) -> None:
        self._client, self._clock = client, clock
        self._slots, self._slice, self._seed = read_script("slots"), read_script("slice"), read_script("slice_seed")

    async def take_slots(self, name: str, limit: int, worker: str, wanted: int, ttl_ms: int) -> Slots:
        """Have `wanted` places in all, or as many as are left of `limit`. Wanted 0: give all back.

        They are free for others `ttl_ms` after the last call, so a worker comes again well before. Where it is granted less than it
        uses (the limit was lowered, or it came too late), it lets nobody in until it uses no more than that.

        Raises Unavailable.
        """
        _check(name, limit, wanted)
        keys = (b"%bslots:%b" % (GLOBAL, name.encode()), b"%bplaces:%b" % (GLOBAL, name.encode()))
        granted, others, workers, _ = _integers(await self._client.run(self._slots, keys, (worker, wanted, limit, ttl_ms, self._now())))
        return Slots(granted, others, workers)

    async def take_slice(self, name: str, budget: int, worker: str, spent: int, wanted: int, ttl_ms: int) -> Slice:
        """Report what this worker has `spent` of a budget since it began, and have `wanted` more at hand, or what is left of it.

        `wanted` is at least what calls under way may still come to; 0: give the slice back. A slice that is not asked for again within
        `ttl_ms` is presumed spent, until its worker comes with the truth. So all workers together overshoot by no more than what
        calls cost beyond their own worst case, and undershoot by no more than what lies in slices.

        name    of the budget and its period ("usd:2026-11"): nothing is ever reset
        worker  a name that is never used again, as `spent` begins at 0 with it

        Raises Unavailable; NeedsRebuild: say what the ledger knows of it (`seed_slice`), then call again.
        """
        _check(name, budget, spent, wanted)
        keys, run_id = self._budget(name), self._client.run_id(_BUDGETS)
        told = _integers(await self._client.run(self._slice, keys, (worker, spent, wanted, budget, ttl_ms, run_id, self._now())))
        if not told[0]:
            raise NeedsRebuild(name)
        return Slice(*told[1:5])

    async def seed_slice(self, name: str, spent: int, presumed: int, ends_ms: int = 0) -> bool:
        """Begin a budget with the ledger's sums. False: somebody else was faster. `ends_ms`: of its period; 0: never. Raises Unavailable."""
        _check(name, spent, presumed)
        run_id = self._client.run_id(_BUDGETS)
        ends = str(ends_ms) if ends_ms else "+inf"
        return bool(await self._client.run(self._seed, (*self._budget(name), _BUDGETS), (str(spent), str(presumed), run_id, name, ends)))

    async def sweep_slices(self, now_ms: int) -> int:
        """Forget budgets whose period has been over for a day. Says how many. Raises Unavailable."""
        told = await self._client.command(_BUDGETS, "ZRANGEBYSCORE", _BUDGETS, "-inf", str(now_ms - _KEPT_MS), "LIMIT", 0, 100)
        names = [name for name in told if isinstance(name, bytes)] if isinstance(told, list) else []
        for name in names:
            await self._client.command(_BUDGETS, "DEL", *self._budget(name.decode()))
            await self._client.command(_BUDGETS, "ZREM", _BUDGETS, name)
        return len(names)

    def _budget(self, name: str) -> tuple[bytes, bytes, bytes]:
        encoded = name.encode()
        return b"%bbudget:%b" % (GLOBAL, encoded), b"%bshares:%b" % (GLOBAL, encoded), b"%bslices:%b" % (GLOBAL, encoded)

    def _now(self) -> str:
        return "" if self._clock is None else str(self._clock.time_ns() // 1_000_000)


def _check(name: str, *numbers: int) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a global limit or budget: letters, digits and . _ : - only")
    for number in numbers:
        if not 0 <= number <= MOST_CAP:
            raise ValueError(f"{number} can not be counted: it is below 0 or above {MOST_CAP}")


def _integers(told: Reply) -> list[int]:
    if not isinstance(told, list):
        raise TypeError(f"a script answered {type(told).__name__}, not a list")
    return [each for each in told if isinstance(each, int)]
