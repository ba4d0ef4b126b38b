"""Who created what a provider keeps. Tenants share the provider's account, so nobody may name an object that is not his own."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from tokenrouter.clock import Clock
from tokenrouter.model.at_hand import NotAtHand
from tokenrouter.model.owned import Owned

KEPT_NS = 30 * 86_400 * 1_000_000_000
"""How long a stored answer is known here: as long as a provider promises to keep one (OpenAI: at least 30 days)."""


class Ownership(Protocol):
    """Objects by tenant and id. `find` is called on the way of a request and must not wait for anything but a local disk."""

    def find(self, tenant: str, object_id: str) -> Owned | None:
        """The tenant's object; None for one that is not known, no longer known, or another tenant's. Raises NotAtHand."""
        ...

    def record(self, tenant: str, object_ids: Sequence[str], owned: Owned) -> None:
        """Remember objects of the tenant's."""
        ...

    def forget(self, tenant: str, object_id: str) -> None:
        """The provider has deleted it."""
        ...


def find_all(owned: Ownership, tenant: str, object_ids: Sequence[str]) -> list[Owned | None]:
    """Several objects. Raises NotAtHand, once for all that have to be fetched."""
    found: list[Owned | None] = []
    missing: list[NotAtHand] = []
    for object_id in object_ids:
        try:
            found.append(owned.find(tenant, object_id))
        except NotAtHand as one:
            missing.append(one)
    if missing:
        raise NotAtHand.several(missing)
    return found


async def find_now(owned: Ownership, tenant: str, object_id: str) -> Owned | None:
    """One object, fetched where it is not at hand. Raises Unavailable."""
    try:
        return owned.find(tenant, object_id)
    except NotAtHand as missing:
        await missing.fetch()
    return owned.find(tenant, object_id)


class MemoryOwnership:
    """`Ownership` in this process; the least recently used go first."""

    def __init__(self, clock: Clock, most: int = 65_536) -> None:
        self._clock, self._most = clock, most
        self._objects: OrderedDict[tuple[str, str], Owned] = OrderedDict()

    def find(self, tenant: str, object_id: str) -> Owned | None:
        """See `Ownership`."""
        owned = self._objects.get((tenant, object_id))
        if owned is None or owned.expires_ns <= self._clock.time_ns():
            return None
        self._objects.move_to_end((tenant, object_id))
        return owned

    def record(self, tenant: str, object_ids: Sequence[str], owned: Owned) -> None:
        """See `Ownership`."""
        for object_id in object_ids:
            self._objects[tenant, object_id] = owned
            self._objects.move_to_end((tenant, object_id))
        while len(self._objects) > self._most:
            self._objects.popitem(last=False)

    def forget(self, tenant: str, object_id: str) -> None:
        """See `Ownership`."""
        self._objects.pop((tenant, object_id), None)
