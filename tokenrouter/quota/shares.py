"""Limits and budgets of the whole deployment, of which workers have a part at hand: the interfaces, and parts that are given in one process."""

from typing import Protocol

from tokenrouter.clock import Clock
from tokenrouter.model.admission import NeedsRebuild
from tokenrouter.model.shares import Slice, Slots

_NS_PER_MS = 1_000_000


class SlotLeaser(Protocol):
    """Where workers lease places of a limit."""

    async def take_slots(self, name: str, limit: int, worker: str, wanted: int, ttl_ms: int) -> Slots:
        """Have `wanted` places in all for the next `ttl_ms`, or as many as the others leave of `limit`. 0 gives all back.

        Fewer than before are free for others at once; asking again changes nothing but the lease's end.

        Raises Unavailable: it may or may not have been done.
        """
        ...


class SliceLeaser(Protocol):
    """Where workers report what they spend of a budget, and lease what they are about to spend."""

    async def take_slice(self, name: str, budget: int, worker: str, spent: int, wanted: int, ttl_ms: int) -> Slice:
        """Report what a worker has `spent` since it began, and have `wanted` more at hand, or what the others leave. 0 gives it back.

        A slice that is not asked for again within `ttl_ms` is presumed spent, until its worker comes with the truth. What a worker had
        spent before its first report is taken to be known already.

        Raises NeedsRebuild: the budget has to be begun (`seed_slice`); Unavailable: it may or may not have been done.
        """
        ...

    async def seed_slice(self, name: str, spent: int, presumed: int, ends_ms: int = 0) -> bool:
        """Begin a budget at what the ledger says. False: it was there already. `ends_ms`: of its period. Raises Unavailable."""
        ...


class _Budget:
    """One budget: `slices` are (at hand, lapses) by worker, `mourned` what is presumed of those that lapsed."""

    __slots__ = ("mourned", "presumed", "reported", "slices", "spent")

    def __init__(self, spent: int, presumed: int) -> None:
        self.spent, self.presumed = spent, presumed
        self.reported: dict[str, int] = {}
        self.slices: dict[str, tuple[int, int]] = {}
        self.mourned: dict[str, int] = {}


class ProcessShares:
    """`SlotLeaser` and `SliceLeaser` in this process: for workers that live in one, and as the measure of the others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._places: dict[str, dict[str, tuple[int, int]]] = {}
        self._budgets: dict[str, _Budget] = {}

    async def take_slots(self, name: str, limit: int, worker: str, wanted: int, ttl_ms: int) -> Slots:
        """See `SlotLeaser`."""
        now = self._clock.monotonic_ns()
        places = self._places.setdefault(name, {})
        for other in [other for other, (_, lapses) in places.items() if lapses <= now or other == worker]:
            del places[other]
        others = sum(held for held, _ in places.values())
        granted = max(0, min(wanted, limit - others))
        if wanted:
            places[worker] = (granted, now + ttl_ms * _NS_PER_MS)
        return Slots(granted, others, len(places))

    async def take_slice(self, name: str, budget: int, worker: str, spent: int, wanted: int, ttl_ms: int) -> Slice:
        """See `SliceLeaser`."""
        found, now = self._budgets.get(name), self._clock.monotonic_ns()
        if found is None:
            raise NeedsRebuild(name)
        for other in [other for other, (_, lapses) in found.slices.items() if lapses <= now and other != worker]:
            lost, _ = found.slices.pop(other)
            found.mourned[other] = found.mourned.get(other, 0) + lost
            found.presumed += lost
        found.slices.pop(worker, None)
        found.presumed -= found.mourned.pop(worker, 0)
        reported = found.reported.get(worker, spent)
        found.spent += max(0, spent - reported)
        found.reported[worker] = max(spent, reported)
        others = sum(at_hand for at_hand, _ in found.slices.values())
        granted = max(0, min(wanted, budget - found.spent - found.presumed - others))
        if granted:
            found.slices[worker] = (granted, now + ttl_ms * _NS_PER_MS)
        return Slice(granted, found.spent, found.presumed, others)

    async def seed_slice(self, name: str, spent: int, presumed: int, ends_ms: int = 0) -> bool:  # noqa: ARG002
        """See `SliceLeaser`."""
        if name in self._budgets:
            return False
        self._budgets[name] = _Budget(spent, presumed)
        return True
