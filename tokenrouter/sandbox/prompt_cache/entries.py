"""Cache entries with lifetimes, least recently used first out."""

from collections import OrderedDict

import msgspec


class Entry(msgspec.Struct):
    """One reusable prefix."""

    expires_ns: int
    ttl_ns: int
    dies_ns: int
    """Beyond this no reuse keeps it alive."""


class Entries:
    """A bounded map of live entries."""

    __slots__ = ("_capacity", "_entries")

    def __init__(self, capacity: int) -> None:
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._entries)

    def alive(self, key: bytes, now_ns: int) -> bool:
        """Whether a prefix could be read now."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        if entry.expires_ns <= now_ns:
            del self._entries[key]
            return False
        return True

    def touch(self, key: bytes, now_ns: int) -> None:
        """A read: the entry lives on for its own lifetime."""
        entry = self._entries[key]
        entry.expires_ns = max(entry.expires_ns, min(now_ns + entry.ttl_ns, entry.dies_ns))
        self._entries.move_to_end(key)

    def put(self, key: bytes, now_ns: int, ttl_ns: int, longest_ns: int | None = None) -> None:
        """A write. An entry that is there already never gets a shorter life by it."""
        dies_ns = now_ns + longest_ns if longest_ns is not None else (1 << 62)
        old = self._entries.get(key)
        if old is not None and old.expires_ns > now_ns:
            old.ttl_ns = max(old.ttl_ns, ttl_ns)
            old.expires_ns = max(old.expires_ns, min(now_ns + ttl_ns, old.dies_ns))
            self._entries.move_to_end(key)
            return
        self._entries[key] = Entry(now_ns + ttl_ns, ttl_ns, dies_ns)
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
