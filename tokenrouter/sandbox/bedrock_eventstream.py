"""Amazon's binary framing of streams, `application/vnd.amazon.eventstream`.

    total length   4 bytes    of the whole message, both checksums included
    header length  4 bytes
    prelude CRC    4 bytes    CRC-32 of the eight bytes before it
    headers        name length (1), name, type 7 (string), value length (2), value; any number of them
    payload
    message CRC    4 bytes    CRC-32 of everything before it

Numbers are big-endian. Source: https://smithy.io/2.0/aws/amazon-eventstream.html.
"""

import struct
import zlib

from tokenrouter.sandbox.wire import JsonObject, encode

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
_STRING = 7
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One framed message."""
    block = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 12 + len(block) + len(payload) + 4, len(block))
    body = prelude + _crc(prelude) + block + payload
    return body + _crc(body)


def event(kind: str, value: JsonObject) -> bytes:
    """An event with a JSON payload. `p` is padding against guessing content from lengths, as the service sends it; it means nothing."""
    size = sum(map(len, kind)) * 7 + len(value) * 3
    padded: JsonObject = {**value, "p": _PADDING[: size % len(_PADDING)]}
    return framed(kind, encode(padded))


def framed(kind: str, payload: bytes) -> bytes:
    """An event with any payload, for events that are not what they should be."""
    return message({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


def exception(kind: str, value: JsonObject) -> bytes:
    """A modelled exception in the middle of a stream. `kind` as the stream's member is called, e.g. `throttlingException`."""
    return message({":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}, encode(value))


def _header(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + bytes([_STRING]) + struct.pack("!H", len(value.encode())) + value.encode()


def _crc(data: bytes) -> bytes:
    return struct.pack("!I", zlib.crc32(data))
