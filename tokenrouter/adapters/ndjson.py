"""Streams of JSON, one value a line (`application/x-ndjson`), cut from bytes that may be cut anywhere."""

from tokenrouter.errors import UpstreamFailed

MAX_LINE = 8 << 20
"""Bytes. The last line of a generation may hold the whole conversation as token numbers; without a bound a broken upstream could fill
the memory."""


class LineReader:
    """Cuts one stream into lines, line ends left on."""

    __slots__ = ("_limit", "_searched", "_tail")

    def __init__(self, limit: int = MAX_LINE) -> None:
        """`limit`: the longest line that is accepted, in bytes."""
        self._tail = bytearray()
        self._searched = 0
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. Raises UpstreamFailed on one that is longer than the limit."""
        if not self._tail and len(data) <= self._limit and data.endswith(b"\n"):
            return _lines(data)
        tail = self._tail
        tail += data
        end = tail.rfind(b"\n", self._searched)
        self._searched = 0 if end >= 0 else len(tail)
        if end < 0:
            self._bound(len(tail))
            return []
        whole = bytes(tail[: end + 1])
        del tail[: end + 1]
        self._searched = len(tail)
        self._bound(len(tail))
        return _lines(whole)

    def tail(self) -> bytes:
        """What stands behind the last line end."""
        rest = bytes(self._tail)
        self._tail.clear()
        self._searched = 0
        return rest

    def _bound(self, length: int) -> None:
        if length > self._limit:
            raise UpstreamFailed(f"the provider sent a line longer than {self._limit} bytes")


def _lines(whole: bytes) -> list[bytes]:
    return [line + b"\n" for line in whole[:-1].split(b"\n")]
