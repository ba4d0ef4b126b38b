"""The reader of Amazon's binary streams, against the sandbox's writer (which shares no code with it) and botocore's own parser."""

import struct
import zlib

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer

from tokenrouter.adapters.aws_eventstream import EventStreamReader
from tokenrouter.errors import UpstreamFailed
from tokenrouter.sandbox.bedrock_eventstream import event, exception, framed, message

STREAM = [
    event("messageStart", {"role": "assistant"}),
    event("contentBlockDelta", {"delta": {"text": "é東😀"}, "contentBlockIndex": 0}),
    framed("contentBlockStop", b""),
    exception("throttlingException", {"message": "slow"}),
    message({}, b"no headers"),
]
WHOLE = b"".join(STREAM)


def judged(data: bytes) -> list[tuple[dict[str, str], bytes]]:
    """What botocore reads."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(found.headers, found.payload) for found in buffer]


def read(*pieces: bytes) -> list[tuple[dict[str, str], bytes]]:
    reader = EventStreamReader()
    return [(dict(found.headers), found.payload) for piece in pieces for found in reader.feed(piece)]


def raw(headers: bytes, payload: bytes = b"{}", *, total: int | None = None, header_length: int | None = None) -> bytes:
    """A message with right checksums over whatever it says."""
    length = 16 + len(headers) + len(payload) if total is None else total
    prelude = struct.pack("!II", length, len(headers) if header_length is None else header_length)
    body = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack("!I", zlib.crc32(body))


def header(name: bytes, kind: int, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([kind]) + value


def test_messages_are_those_that_botocore_reads():
    assert read(WHOLE) == judged(WHOLE)
    assert len(read(WHOLE)) == len(STREAM)


@pytest.mark.parametrize("cut", range(len(WHOLE) + 1))
def test_a_stream_may_be_cut_anywhere(cut):
    assert read(WHOLE[:cut], WHOLE[cut:]) == judged(WHOLE)


def test_a_stream_may_come_byte_by_byte_and_a_message_is_told_with_its_last_one():
    reader = EventStreamReader()
    ends = [number for number in range(len(WHOLE)) if reader.feed(WHOLE[number : number + 1])]
    lengths = [len(part) for part in STREAM]
    assert ends == [sum(lengths[: number + 1]) - 1 for number in range(len(STREAM))]


@pytest.mark.parametrize("place", range(len(STREAM[0])))
@pytest.mark.parametrize("bit", [0, 7])
def test_no_flipped_bit_passes(place, bit):
    damaged = bytearray(STREAM[0])
    damaged[place] ^= 1 << bit
    with pytest.raises(ChecksumMismatch):
        judged(bytes(damaged))
    with pytest.raises(UpstreamFailed, match="checksum"):
        read(bytes(damaged))


def test_a_damaged_message_hides_behind_no_good_one():
    damaged = bytearray(STREAM[0])
    damaged[-1] ^= 1
    with pytest.raises(UpstreamFailed, match="damaged on its way"):
        read(STREAM[1] + bytes(damaged) + STREAM[2])


def test_a_giant_message_is_refused_with_its_first_twelve_bytes():
    giant = raw(b"", b"", total=(1 << 20) + 1)
    with pytest.raises(UpstreamFailed, match="longer than 1048576 bytes"):
        read(giant[:12])
    assert read(giant[:11]) == []


def test_a_message_may_be_as_long_as_the_limit():
    reader = EventStreamReader(limit=64)
    assert [found.payload for found in reader.feed(raw(b"", b"x" * 48))] == [b"x" * 48]
    with pytest.raises(UpstreamFailed, match="longer than 64 bytes"):
        reader.feed(raw(b"", b"x" * 49))


@pytest.mark.parametrize("wrong", [raw(b"", b"", total=15), raw(b"", b"", total=0), raw(b"", b"ab", header_length=3)])
def test_lengths_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(UpstreamFailed, match="contradict"):
        read(wrong)


def test_headers_of_every_type_are_passed_over_but_strings():
    block = b"".join(
        (
            header(b"true", 0, b""),
            header(b"false", 1, b""),
            header(b"byte", 2, b"\x01"),
            header(b"short", 3, b"\x00\x01"),
            header(b"integer", 4, bytes(4)),
            header(b"long", 5, bytes(8)),
            header(b"bytes", 6, b"\x00\x02\xff\xff"),
            header(b"string", 7, b"\x00\x03\xc3\xa9!"),
            header(b"time", 8, bytes(8)),
            header(b"uuid", 9, bytes(16)),
            header(b":event-type", 7, b"\x00\x01m"),
        )
    )
    assert set(judged(raw(block))[0][0]) >= {"bytes", "uuid", "string"}
    assert read(raw(block)) == [({"string": "é!", ":event-type": "m"}, b"{}")]


@pytest.mark.parametrize(
    "block",
    [
        b"\x05abc",
        b"\x01a",
        header(b"a", 10, b""),
        header(b"a", 7, b"\x00\x09abc"),
        header(b"a", 7, b"\x00\x02\xff\xff"),
        header(b"a", 7, b"\x00"),
        header(b"a", 5, b"\x00"),
        header(b"\xff", 7, b"\x00\x00"),
    ],
)
def test_headers_that_can_not_be_read_are_refused(block):
    with pytest.raises(UpstreamFailed, match="headers can not be read"):
        read(raw(block, b""))


def test_what_is_no_event_stream_at_all_is_refused():
    with pytest.raises(UpstreamFailed, match="no event stream"):
        read(b'data: {"text":"hello"}\n\n')
    with pytest.raises(UpstreamFailed, match="no event stream"):
        read(b"<html><body>Bad gateway")


def test_headers_that_repeat_are_remembered_only_so_far():
    reader = EventStreamReader()
    for number in range(500):
        found = reader.feed(framed(f"event{number}", b"{}"))[0]
        assert found.headers[":event-type"] == f"event{number}"
    assert len(reader._known) <= 64
