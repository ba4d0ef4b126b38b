"""What this worker told the ledger's stream, until Postgres has it: if Redis forgets, it is told again."""

from collections.abc import Sequence

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.storage.ledger_entries import Entry

_MOST = 200_000


class Told(msgspec.Struct, frozen=True):
    """An entry, and when it was told (monotonic nanoseconds). `again`: it had been lost before."""

    entry: Entry
    at_ns: int
    again: bool = False


class Appended:
    """Entries by tenant and request; of one request the last that was told. Bounded: beyond `most` the oldest are trusted to Redis."""

    def __init__(self, clock: Clock, most: int = _MOST) -> None:
        self._clock, self._most = clock, most
        self._told: dict[str, dict[str, Told]] = {}
        self._count = 0
        self.trusted = 0

    def __len__(self) -> int:
        return self._count

    def add(self, tenant: str, entry: Entry, *, again: bool = False) -> None:
        """An entry stands in the stream."""
        told = self._told.setdefault(tenant, {})
        self._count += entry.id not in told
        told.pop(entry.id, None)  # a later entry goes to the end
        told[entry.id] = Told(entry, self._clock.monotonic_ns(), again)
        if self._count > self._most:
            self._trust_oldest()

    def written(self, tenant: str, told: Sequence[Told]) -> None:
        """These are in Postgres. One of whose request more was told since stays."""
        known = self._told.get(tenant, {})
        for each in told:
            if known.get(each.entry.id) is each:
                del known[each.entry.id]
                self._count -= 1
        if not known:
            self._told.pop(tenant, None)

    def tenants(self) -> list[str]:
        """Whose entries there are."""
        return list(self._told)

    def of(self, tenant: str, *, before_ns: int | None = None, most: int | None = None) -> list[Told]:
        """What is not known to be in Postgres, oldest first; told before a moment only, if one is given."""
        found: list[Told] = []
        for each in self._told.get(tenant, {}).values():
            if (before_ns is not None and each.at_ns >= before_ns) or (most is not None and len(found) >= most):
                break
            found.append(each)
        return found

    def _trust_oldest(self) -> None:
        tenant = min(self._told, key=lambda name: next(iter(self._told[name].values())).at_ns)
        told = self._told[tenant]
        del told[next(iter(told))]
        self._count -= 1
        self.trusted += 1
        if not told:
            del self._told[tenant]
