import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.adapters.sse import MAX_FRAME, Frame, FrameReader, frame
from tokenrouter.errors import UpstreamFailed


def read(*pieces: bytes, limit: int = MAX_FRAME) -> list[Frame]:
    reader = FrameReader(limit)
    return [one for piece in pieces for one in reader.feed(piece)]


def test_a_data_line_and_a_blank_line_are_a_frame():
    assert read(b'data: {"a":1}\n\n') == [Frame("", b'{"a":1}')]


def test_names_comments_ids_and_retry_hints_are_told_apart():
    stream = b": hello\nevent: ping\nid: 7\nretry: 10\ndata: x\n\n: only a comment\n\nevent: nodata\n\ndata:y\n\n"
    assert read(stream) == [Frame("ping", b"x"), Frame("", b"y")]


def test_data_lines_are_joined_by_a_newline_and_lose_one_space_only():
    assert read(b"data: a\ndata:  b\ndata:c\n\n") == [Frame("", b"a\n b\nc")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_that_the_standard_knows_ends_a_line(end):
    stream = end.join([b"event: e", b"data: 1", b"", b"data: 2", b"data: 3", b"", b""])
    expected = [Frame("e", b"1"), Frame("", b"2\n3")]
    assert read(stream) == expected
    for cut in range(len(stream) + 1):
        assert read(stream[:cut], stream[cut:]) == expected
    assert read(*[stream[i : i + 1] for i in range(len(stream))]) == expected


def test_a_byte_order_mark_at_the_start_is_no_part_of_the_first_line():
    stream = b"\xef\xbb\xbfdata: 1\n\n"
    for cut in range(len(stream) + 1):
        assert read(stream[:cut], stream[cut:]) == [Frame("", b"1")]


def test_bytes_that_are_not_utf8_are_left_to_the_json_step():
    assert read(b"data: \xff\xfe\n\n") == [Frame("", b"\xff\xfe")]


def test_an_endless_frame_is_refused_wherever_it_is_cut():
    for size in (100, 1000, 5000):
        with pytest.raises(UpstreamFailed):
            read(*[b"x" * size] * (6000 // size), limit=1000)
    with pytest.raises(UpstreamFailed):
        FrameReader(limit=1000).feed(b"data: " + b"x" * 1000 + b"\n\n")


def test_many_frames_may_come_in_one_piece_that_is_longer_than_the_limit():
    assert len(FrameReader(limit=100).feed(b"data: 1\n\n" * 1000)) == 1000


def test_what_no_blank_line_ended_is_only_seen_by_asking():
    reader = FrameReader()
    assert reader.feed(b"data: 1\n\ndata: [DONE]\n") == [Frame("", b"1")]
    assert reader.tail() == [Frame("", b"[DONE]")]
    assert reader.tail() == []


@given(st.lists(st.tuples(st.sampled_from([None, "a", "message_start"]), st.text(min_size=1).map(str.encode)), max_size=5), st.data())
def test_what_is_written_is_read_back_however_it_is_cut(frames, data):
    frames = [(event, body.replace(b"\r", b"").strip(b"\n") or b"x") for event, body in frames]
    stream = b"".join(frame(body, event) for event, body in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*pieces) == [Frame(event or "", body) for event, body in frames]
