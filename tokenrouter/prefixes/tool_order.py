"""`tools.order` with a memory: an order that an app or a conversation has had is kept, and what comes later is appended.

A tool that is sorted in between others changes the prefix from there on, and with it everything that a provider has cached. At first sight
tools are sorted by name, so that nothing has to be remembered for clients that shuffle; losing the memory costs a miss and nothing else.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from tokenrouter.prefixes.remembered import Remembered

MOST_NAMES = 1_024
"""Names in one order; later ones are sorted behind them each time."""

_ROOM = 2 << 20
_PROCESS_ROOM = 32 << 20


class OrderSeen(msgspec.Struct, frozen=True, tag=True):
    """The order of an app's or a conversation's tools.

    host     the vendor whose accounts they are sent to
    key      digest of what tells the app, or the conversation, from others
    names    in the order in which they are sent; no name is ever taken out or moved
    seen_ns  when the order began, Unix nanoseconds: of two workers' the earlier one counts
    """

    tenant: str
    host: str
    key: bytes
    names: tuple[str, ...]
    seen_ns: int


class Orders(Protocol):
    """Orders of tools."""

    def find(self, tenant: str, host: str, key: bytes) -> OrderSeen | None:
        """The order under a key; None where none is known."""
        ...

    def remember(self, order: OrderSeen) -> bool:
        """Keep an order, with what was known behind it. Whether that changed anything."""
        ...


class ToolOrders:
    """`Orders` of one process, bounded for each tenant."""

    def __init__(self, room: int = _ROOM, process_room: int = _PROCESS_ROOM) -> None:
        """`room`: bytes for a tenant; `process_room`: for all of them."""
        self._kept: Remembered[tuple[str, bytes], OrderSeen] = Remembered(
            lambda order: 256 + sum(len(name) + 64 for name in order.names), room=room, process_room=process_room
        )

    def find(self, tenant: str, host: str, key: bytes) -> OrderSeen | None:
        """See `Orders`."""
        return self._kept.get(tenant, (host, key))

    def remember(self, order: OrderSeen) -> bool:
        """See `Orders`."""
        known = self.find(order.tenant, order.host, order.key)
        if known is not None:
            earlier, later = sorted((known, order), key=lambda one: (one.seen_ns, one.names))
            order = msgspec.structs.replace(earlier, names=merged(earlier.names, later.names))
            if order == known:
                return False
        self._kept.put(order.tenant, (order.host, order.key), order)
        return True


def merged(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """All names of both, the first ones in front, so many as an order may have."""
    return tuple(dict.fromkeys((*first, *second)))[:MOST_NAMES]
