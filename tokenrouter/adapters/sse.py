"""Event streams (`text/event-stream`), framed from bytes that may be cut anywhere, and written.

Source: WHATWG HTML, section 9.2 "Server-sent events". Two liberties are taken: data stays bytes (whether it is UTF-8 is for the
JSON decoder to say), and `tail()` lets a caller look at what stands behind the last blank line, which some servers forget.
"""

from typing import NamedTuple

from tokenrouter.errors import UpstreamFailed

MAX_FRAME = 1 << 20
"""Bytes. No vendor's frame comes near it; without a bound a broken upstream could fill the memory."""

_BOM = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One event: its name ("" where the stream gave none) and its data, lines joined by a newline."""

    event: str
    data: bytes


class FrameReader:
    """Cuts one stream into frames. Comments, ids, retry hints and frames without data are passed over."""

    __slots__ = ("_buffer", "_carriage_return", "_limit", "_searched", "_started")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """`limit`: the longest frame that is accepted, in bytes."""
        self._buffer = bytearray()
        self._searched = 0
        self._carriage_return = False
        self._started = False
        self._limit = limit

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. Raises UpstreamFailed on one that is longer than the limit."""
        if not data:
            return []
        if self._carriage_return or b"\r" in data:
            data = self._newlines(data)
        buffer = self._buffer
        buffer += data
        # A blank line may begin with the last byte that was searched before, never earlier.
        end = buffer.rfind(b"\n\n", max(0, self._searched - 1))
        if end < 0:
            self._searched = len(buffer)
            self._bound(len(buffer))
            return []
        whole = bytes(buffer[:end])
        del buffer[: end + 2]
        self._searched = len(buffer)
        self._bound(len(buffer))
        return self._frames(whole)

    def tail(self) -> list[Frame]:
        """What was not ended by a blank line, read as if it were. The standard throws it away; the caller must expect half a frame."""
        whole = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return self._frames(whole)

    def _newlines(self, data: bytes) -> bytes:
        """Every line end as one newline. The second half of a CRLF may come with the next piece."""
        if self._carriage_return and data.startswith(b"\n"):
            data = data[1:]
            self._carriage_return = False
        if data:
            self._carriage_return = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _frames(self, whole: bytes) -> list[Frame]:
        if not self._started and whole:
            self._started = True
            whole = whole.removeprefix(_BOM)
        frames = []
        for block in whole.split(b"\n\n"):
            self._bound(len(block))
            if block.startswith(b"data: ") and b"\n" not in block:
                frames.append(Frame("", block[6:]))
            elif (frame_ := _read_lines(block)) is not None:
                frames.append(frame_)
        return frames

    def _bound(self, length: int) -> None:
        if length > self._limit:
            raise UpstreamFailed(f"the provider sent a stream event longer than {self._limit} bytes")


def _read_lines(block: bytes) -> Frame | None:
    event = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            event = value.removeprefix(b" ")
    if not any(data):
        return None
    return Frame(event.decode(errors="replace"), b"\n".join(data))


def frame(data: bytes, event: str | None = None) -> bytes:
    """Write one event. JSON without spaces holds no line ends; other data gets one `data:` line each."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.splitlines())
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + data + b"\n\n"
