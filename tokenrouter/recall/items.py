"""Items of translated answers, by the ids under which their clients know them.

Clients of some dialects send back a reference instead of the item, trusting that the provider keeps it (AI SDK, by default). Where another
vendor answered nobody keeps it but this: the reference is written out before anything else reads the request.
Memory, bounded, of one process, and beyond it what workers share if there are several: what is lost is refused by its place, and the
client may send the item itself.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from tokenrouter.adapters.base import RecallingDialect
from tokenrouter.clock import Clock
from tokenrouter.model.at_hand import NotAtHand
from tokenrouter.model.envelope import Envelope
from tokenrouter.recall.bounded import BoundedMemory

_ROOM = 64 << 20
_MOST_PER_ITEM = 4 << 20
_LIFETIME_NS = 24 * 3600 * 1_000_000_000
_OVERHEAD = 256
_UNKNOWN_NS = 2_000_000_000


class SharedItems(Protocol):
    """Items of all workers."""

    def put(self, tenant: str, name: str, item: bytes) -> None:
        """Let the others know, a moment later."""
        ...

    async def get(self, tenant: str, name: str) -> bytes | None:
        """What any worker was told under this name. Raises Unavailable."""
        ...


class ItemMemory:
    """What was said, by tenant and id, for the dialects that refer to it."""

    def __init__(self, clock: Clock, dialects: Mapping[str, RecallingDialect], room: int = _ROOM, *, shared: SharedItems | None = None) -> None:
        """`room`: bytes to keep at most. `shared`: what other workers know; None: there are none."""
        self._dialects, self._shared = dialects, shared
        self._unknown: BoundedMemory[tuple[str, str], bool] = BoundedMemory(clock, room=1 << 20, most=_OVERHEAD, lifetime_ns=_UNKNOWN_NS)
        self._items: BoundedMemory[tuple[str, str], bytes] = BoundedMemory(clock, room=room, most=_MOST_PER_ITEM, lifetime_ns=_LIFETIME_NS)

    def written_out(self, tenant: str, envelope: Envelope) -> Envelope:
        """The request with what is known of the items that it names; the same one where there is none.

        Raises NotAtHand where other workers may know more.
        """
        dialect = self._dialects.get(envelope.dialect)
        if dialect is None:
            return envelope
        missing: list[str] = []
        written = dialect.recall(envelope, self._finder(tenant, missing))
        if missing:
            raise NotAtHand(partial(self._fetch, tenant, tuple(missing)))
        return written

    def keep(self, tenant: str, items: Sequence[tuple[str, bytes]]) -> None:
        """Remember items as they were said, each under its id."""
        for name, item in items:
            self._items.put(((tenant, name),), item, len(item) + _OVERHEAD)
            if self._shared is not None:
                self._shared.put(tenant, name, item)

    def _finder(self, tenant: str, missing: list[str]) -> Callable[[str], bytes | None]:
        """Finds an item; names of those that are to be asked for elsewhere are added to `missing`."""

        def find(name: str) -> bytes | None:
            item = self._items.get((tenant, name))
            if item is None and self._shared is not None and not self._unknown.get((tenant, name)):
                missing.append(name)
            return item

        return find

    async def _fetch(self, tenant: str, names: Sequence[str]) -> None:
        await asyncio.gather(*(self._fetch_one(tenant, name) for name in dict.fromkeys(names)))

    async def _fetch_one(self, tenant: str, name: str) -> None:
        item = None if self._shared is None else await self._shared.get(tenant, name)
        if item is None:
            self._unknown.put(((tenant, name),), True, len(name))
        else:
            self._items.put(((tenant, name),), item, len(item) + _OVERHEAD)
