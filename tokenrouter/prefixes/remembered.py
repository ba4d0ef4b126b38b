"""A memory with an end for each tenant and for all of them: by bytes, the least recently used first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by tenant and key. A tenant that fills its room forgets what is its own; a process that is full, what is the stalest tenant's."""

    def __init__(self, size: Callable[[V], int], *, room: int, process_room: int) -> None:
        """`size`: bytes of a value. `room`: of one tenant's values at most; a single larger one is not kept. `process_room`: of all."""
        self._size, self._room, self._process_room = size, room, process_room
        self._held = 0
        self._tenants: OrderedDict[str, tuple[OrderedDict[K, V], list[int]]] = OrderedDict()

    def get(self, tenant: str, key: K) -> V | None:
        """What is remembered; None where nothing is."""
        found = self._tenants.get(tenant)
        value = None if found is None else found[0].get(key)
        if found is not None and value is not None:
            found[0].move_to_end(key)
            self._tenants.move_to_end(tenant)
        return value

    def put(self, tenant: str, key: K, value: V) -> None:
        """Remember a value in the place of what was there."""
        size = self._size(value)
        if size > self._room:
            return
        kept, held = self._tenants.setdefault(tenant, (OrderedDict(), [0]))
        self._tenants.move_to_end(tenant)
        if key in kept:
            self._drop(kept, held, key)
        kept[key] = value
        held[0] += size
        self._held += size
        while held[0] > self._room:
            self._drop(kept, held, next(iter(kept)))
        while self._held > self._process_room:
            stalest, (its, its_held) = next(iter(self._tenants.items()))
            self._drop(its, its_held, next(iter(its)))
            if not its:
                del self._tenants[stalest]

    def _drop(self, kept: OrderedDict[K, V], held: list[int], key: K) -> None:
        size = self._size(kept.pop(key))
        held[0] -= size
        self._held -= size
