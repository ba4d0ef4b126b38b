"""JSON arrays that arrive in pieces: cut into their elements, wherever the network cut them."""

import re

from tokenrouter.errors import UpstreamFailed

MAX_ELEMENT = 8 << 20
"""Bytes. Without a bound a broken upstream could fill the memory."""

_IN_STRING = re.compile(rb'["\\]')
_OUTSIDE = re.compile(rb'["{}\[\]]')
_BETWEEN = re.compile(rb"[ \t\r\n,]*")
_SPACE = b" \t\r\n"
_MOST_TRAILING = 64


class ElementReader:
    """Cuts one array of objects into its elements.

    closed  the closing bracket was read
    end     that bracket with the white space around it
    """

    __slots__ = ("_at", "_buffer", "_depth", "_escaped", "_limit", "_open", "_start", "_string", "closed", "end")

    def __init__(self, limit: int = MAX_ELEMENT) -> None:
        """`limit`: the longest element that is accepted, in bytes."""
        self._buffer = bytearray()
        self._at = self._start = self._depth = 0
        self._string = self._escaped = self._open = False
        self._limit = limit
        self.closed = False
        self.end = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The elements that `data` completes, each as (what stands before it since the last one, the element itself).

        Raises UpstreamFailed for bytes that are no such array.
        """
        if self.closed:
            self.end += _trailing(data, len(self.end))
            return []
        self._buffer += data
        found: list[tuple[bytes, bytes]] = []
        while not self.closed and (element := self._next()) is not None:
            found.append(element)
        if len(self._buffer) > self._limit:
            raise UpstreamFailed(f"the provider sent an array element longer than {self._limit} bytes")
        return found

    def _next(self) -> tuple[bytes, bytes] | None:
        buffer = self._buffer
        if not self._depth and not self._begin():
            return None
        while self._depth:
            pattern = _IN_STRING if self._string else _OUTSIDE
            match = pattern.search(buffer, self._at + self._escaped)
            if match is None:
                self._escaped = self._escaped and self._at >= len(buffer)
                self._at = len(buffer)
                return None
            self._escaped = False
            self._at = match.end()
            self._step(match.group())
        before, element = bytes(buffer[: self._start]), bytes(buffer[self._start : self._at])
        del buffer[: self._at]
        self._at = self._start = 0
        return before, element

    def _step(self, found: bytes) -> None:
        if found == b"\\":
            self._escaped = True
        elif found == b'"':
            self._string = not self._string
        else:
            self._depth += 1 if found in b"{[" else -1

    def _begin(self) -> bool:
        """Find the start of the next element; False where it has not come yet, or the array is at its end."""
        buffer = self._buffer
        if not self._open:
            head = bytes(buffer).lstrip(_SPACE)
            if not head:
                return False
            if not head.startswith(b"["):
                raise UpstreamFailed("the provider answered a stream with something that is no JSON array")
            self._open = True
            self._at = len(buffer) - len(head) + 1
        match = _BETWEEN.match(buffer, self._at)
        self._at = match.end() if match else self._at
        if self._at >= len(buffer):
            return False
        if buffer[self._at : self._at + 1] == b"]":
            self.closed, self.end = True, bytes(buffer[: self._at + 1])
            self.end += _trailing(bytes(buffer[self._at + 1 :]), 0)
            buffer.clear()
            return False
        if buffer[self._at : self._at + 1] != b"{":
            raise UpstreamFailed("the provider sent an array of something that is no object")
        self._start, self._depth = self._at, 1
        self._at += 1
        return True


def _trailing(data: bytes, length: int) -> bytes:
    """White space behind the array, as much as belongs to a file's last line."""
    return data if data.isspace() and length + len(data) <= _MOST_TRAILING else b""
