"""Items of translated answers, by the ids under which their clients know them.

Clients of some dialects send back a reference instead of the item, trusting that the provider keeps it (AI SDK, by default). Where another
vendor answered nobody keeps it but this: the reference is written out before anything else reads the request.
Memory only, bounded, of one process: what is lost is refused by its place, and the client may send the item itself.
"""

from collections.abc import Callable, Mapping, Sequence

from tokenrouter.adapters.base import RecallingDialect
from tokenrouter.clock import Clock
from tokenrouter.model.envelope import Envelope
from tokenrouter.recall.bounded import BoundedMemory

_ROOM = 64 << 20
_MOST_PER_ITEM = 4 << 20
_LIFETIME_NS = 24 * 3600 * 1_000_000_000
_OVERHEAD = 256


class ItemMemory:
    """What was said, by tenant and id, for the dialects that refer to it."""

    def __init__(self, clock: Clock, dialects: Mapping[str, RecallingDialect], room: int = _ROOM) -> None:
        """`room`: bytes to keep at most."""
        self._dialects = dialects
        self._items: BoundedMemory[tuple[str, str], bytes] = BoundedMemory(clock, room=room, most=_MOST_PER_ITEM, lifetime_ns=_LIFETIME_NS)

    def written_out(self, tenant: str, envelope: Envelope) -> Envelope:
        """The request with what is known of the items that it names; the same one where there is none."""
        dialect = self._dialects.get(envelope.dialect)
        return envelope if dialect is None else dialect.recall(envelope, self._finder(tenant))

    def keep(self, tenant: str, items: Sequence[tuple[str, bytes]]) -> None:
        """Remember items as they were said, each under its id."""
        for name, item in items:
            self._items.put(((tenant, name),), item, len(item) + _OVERHEAD)

    def _finder(self, tenant: str) -> Callable[[str], bytes | None]:
        return lambda name: self._items.get((tenant, name))
