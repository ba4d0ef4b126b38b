"""What the vendors received: the newest requests, raw, for tests that ask what was really sent."""

from collections import deque

import msgspec


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came in."""

    vendor: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    at_ns: int


class RequestLog:
    """The newest requests, at most `most` of them and `most_bytes` of bodies."""

    __slots__ = ("_items", "_most", "_most_bytes", "_size", "seen")

    def __init__(self, most: int = 1000, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._items: deque[Received] = deque()
        self._most = most
        self._most_bytes = most_bytes
        self._size = 0
        self.seen = 0

    def add(self, item: Received) -> None:
        """Keep a request, drop the oldest that no longer fit."""
        self.seen += 1
        self._items.append(item)
        self._size += len(item.body)
        while len(self._items) > self._most or (self._size > self._most_bytes and len(self._items) > 1):
            self._size -= len(self._items.popleft().body)

    @property
    def items(self) -> tuple[Received, ...]:
        """Oldest first."""
        return tuple(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._size = 0
        self.seen = 0
