"""A memory with an end: by bytes, by age, the least recently used first."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from tokenrouter.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedMemory(Generic[K, V]):
    """Values by key; immutable ones, since several keys may share one."""

    def __init__(self, clock: Clock, *, room: int, most: int, lifetime_ns: int) -> None:
        """`room`: bytes of all values at most; `most`: of one value, a larger one is not kept; `lifetime_ns`: its age at most."""
        self._clock, self._room, self._most, self._lifetime_ns = clock, room, most, lifetime_ns
        self._held = 0
        self._kept: OrderedDict[K, tuple[V, int, int]] = OrderedDict()

    def put(self, keys: Sequence[K], value: V, size: int) -> None:
        """Keep `value`, of `size` bytes, under each of `keys`."""
        if size > self._most:
            return
        until_ns = self._clock.monotonic_ns() + self._lifetime_ns
        for key in keys:
            self._drop(key)
            self._kept[key] = (value, size, until_ns)
            self._held += size
        while self._held > self._room:
            self._drop(next(iter(self._kept)))

    def get(self, key: K) -> V | None:
        """What was kept; None where nothing is."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        value, _, until_ns = kept
        if until_ns < self._clock.monotonic_ns():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return value

    def _drop(self, key: K) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._held -= gone[1]
