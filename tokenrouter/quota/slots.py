"""Slots of one deployment-wide limit that workers lease from each other: the interface, and the leases in one process."""

from typing import Protocol

from tokenrouter.clock import Clock

_NS_PER_MS = 1_000_000


class SlotLeaser(Protocol):
    """Where all workers lease slots of a limit, each for itself."""

    async def take(self, name: str, limit: int, worker: str, wanted: int, ttl_ms: int) -> int:
        """Make `wanted` the number of slots of `name` that `worker` holds during the next `ttl_ms`, or come as near to it as there are slots.

        Says how many it holds then: at most `limit` minus what the other workers hold whose leases have not run out. Fewer than before are
        given back at once, 0 gives all back, and asking again changes nothing but the lease's end.

        Raises Unavailable: it may or may not have been done.
        """
        ...


class ProcessSlots:
    """`SlotLeaser` in this process: for workers that live in one, and as the measure of the others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, dict[str, tuple[int, int]]] = {}

    async def take(self, name: str, limit: int, worker: str, wanted: int, ttl_ms: int) -> int:
        """See `SlotLeaser`."""
        now = self._clock.monotonic_ns()
        leases = self._leases.setdefault(name, {})
        for other in [other for other, (_, ends) in leases.items() if ends <= now or other == worker]:
            del leases[other]
        granted = max(0, min(wanted, limit - sum(held for held, _ in leases.values())))
        if granted:
            leases[worker] = (granted, now + ttl_ms * _NS_PER_MS)
        return granted
