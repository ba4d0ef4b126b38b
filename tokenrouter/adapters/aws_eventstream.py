"""Amazon's binary event streams (`application/vnd.amazon.eventstream`), framed from bytes that may be cut anywhere.

    total length   4 bytes   of the whole message, both checksums included
    header length  4 bytes
    prelude CRC    4 bytes   CRC-32 of the eight bytes before it
    headers        name length (1), name, type (1), value; any number of them
    payload
    message CRC    4 bytes   CRC-32 of everything before it

Numbers are big-endian. Source: https://smithy.io/2.0/aws/amazon-eventstream.html; botocore 1.44 `eventstream.py` agrees.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from tokenrouter.adapters.sse import MAX_FRAME
from tokenrouter.errors import UpstreamFailed

_PRELUDE = struct.Struct("!II")
_CRC = struct.Struct("!I")
_PRELUDE_BYTES, _FRAMING_BYTES = 12, 16
_BYTES, _STRING = 6, 7
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Value types of a fixed size: true, false, byte, short, integer, long, timestamp, uuid. 6 (bytes) and 7 (string) say their own."""

_REMEMBERED = 64


class Message(NamedTuple):
    """One message: its headers that are strings, and its payload."""

    headers: Mapping[str, str]
    payload: bytes


class EventStreamReader:
    """Cuts one stream into messages and checks both of their checksums. Nothing is kept but the message that has begun."""

    __slots__ = ("_buffer", "_known", "_length", "_limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """`limit`: the longest message that is accepted, in bytes."""
        self._buffer = bytearray()
        self._length = 0
        self._limit = limit
        self._known: dict[bytes, Mapping[str, str]] = {}

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises UpstreamFailed on bytes that are no such stream, or on a message over the limit."""
        buffer = self._buffer
        buffer += data
        found: list[Message] = []
        at = 0
        while len(buffer) - at >= _PRELUDE_BYTES:
            if not self._length:
                self._length = self._read_prelude(at)
            if len(buffer) - at < self._length:
                break
            found.append(self._read_message(bytes(buffer[at : at + self._length])))
            at += self._length
            self._length = 0
        if at:
            del buffer[:at]
        return found

    def _read_prelude(self, at: int) -> int:
        """Total length of the message that begins there. Checked at once: a wrong length would make us wait for what never comes."""
        prelude = bytes(self._buffer[at : at + _PRELUDE_BYTES])
        total, headers = _PRELUDE.unpack_from(prelude)
        if zlib.crc32(prelude[:8]) != _CRC.unpack_from(prelude, 8)[0]:
            raise UpstreamFailed("the provider sent bytes that are no event stream, or that were damaged on their way (prelude checksum)")
        if total > self._limit:
            raise UpstreamFailed(f"the provider sent a stream event longer than {self._limit} bytes")
        if total < _FRAMING_BYTES + headers:
            raise UpstreamFailed("the provider sent a stream event whose lengths contradict each other")
        return int(total)

    def _read_message(self, message: bytes) -> Message:
        end = len(message) - _CRC.size
        if zlib.crc32(memoryview(message)[:end]) != _CRC.unpack_from(message, end)[0]:
            raise UpstreamFailed("the provider sent a stream event that was damaged on its way (message checksum)")
        headers_end = _PRELUDE_BYTES + _PRELUDE.unpack_from(message)[1]
        block = message[_PRELUDE_BYTES:headers_end]
        headers = self._known.get(block)
        if headers is None:  # every event of one kind has the same headers
            headers = _read_headers(block)
            if len(self._known) < _REMEMBERED:
                self._known[block] = headers
        return Message(headers, message[headers_end:end])


def _read_headers(block: bytes) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name, kind = block[at + 1 : name_end].decode(), block[name_end]
            at = name_end + 1
            if kind in _SIZES:
                at += _SIZES[kind]
                continue
            size = int.from_bytes(block[at : at + 2], "big")
            if kind not in (_BYTES, _STRING):
                raise UpstreamFailed("the provider sent a stream event whose headers can not be read")
            at += 2
            if kind == _STRING:
                headers[name] = block[at : at + size].decode()
            at += size
        if at != len(block):
            raise UpstreamFailed("the provider sent a stream event whose headers can not be read")
    except (IndexError, UnicodeDecodeError) as error:
        raise UpstreamFailed("the provider sent a stream event whose headers can not be read") from error
    return headers
