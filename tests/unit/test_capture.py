"""The file of recorded requests: bounded, private, whole lines, and never in the way."""

import json
import logging
import os
import stat
import threading
from pathlib import Path

import pytest

from tokenrouter.errors import ConfigError
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.observe.capture import Asked, Capture
from tokenrouter.replay.read import Captured, Mistake, Reported, read

MB = 1 << 20
BODY = b'{"model":"m","messages":[]}'


def asked(number: int = 1, at_s: float = 1.0, body: bytes = BODY, **headers: str) -> Asked:
    return Asked(id=f"req_{number}", at_ns=round(at_s * 10**9), path="/v1/messages", query="", headers=headers, naming=("x-customer-id",), body=body)


def record(number: int = 1, settled: str = "exact", usage: Usage | None = None) -> RequestRecord:
    told = usage or Usage(fresh_input=5, cache_read=90, cache_write=3, cache_write_1h=2, output=7)
    return RequestRecord(id=f"req_{number}", time_ns=0, key_id="k", tenant="t", dialect="d", model_asked="m", settled=settled, usage=told)  # type: ignore[arg-type]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_requests_are_lines_that_replay_reads_with_what_was_counted(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    capture = Capture(path, most=MB)
    assert capture.request(asked(1, 1.5, b'\xef\xbb\xbf {\r\n "model": "m",\n "n": 1.50}\n', **{"x-customer-id": "c"}), 0)
    assert capture.request(asked(2, 2.25), 0)
    capture.counted(record(1), 0)
    capture.counted(record(2, settled="presumed"), 0)
    capture.counted(record(2, usage=NO_USAGE), 0)
    capture.close()
    first, second = [item for item in (line.item for line in read(path)) if item is not None]
    assert isinstance(first, Captured)
    assert isinstance(second, Captured)
    assert (first.at_s, first.body, first.headers) == (1.5, b'{   "model": "m",  "n": 1.50}', {"x-customer-id": "c"})
    assert (first.usage, second.usage) == (Reported(total=100, read=90), None)
    assert capture.outcomes()["written",] == 3


def test_it_is_for_its_owner_only_and_grows(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"cut off')
    path.chmod(0o644)
    for number in range(2):
        capture = Capture(path, most=MB)
        capture.request(asked(number), 0)
        capture.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [type(line.item) for line in read(path)] == [Mistake, Captured, Captured]


def test_times_never_run_backwards(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    capture = Capture(path, most=MB)
    for at_s in (100.0, 50.0, 101.0):
        capture.request(asked(at_s=at_s), 0)
    capture.close()
    assert [line["at"] for line in lines(path)] == [100.0, 100.0, 101.0]


class Slow:
    """Holds the writing thread."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Event()

    def body(self, body: bytes) -> bytes:
        self.begun.set()
        assert self.go.wait(20)
        if b"bad" in body:
            raise ValueError("bad")
        return body

    def headers(self, headers, names):
        return dict(headers)

    def query(self, query: str) -> str:
        return query


def test_a_full_queue_takes_no_more_counts_it_and_says_so_once_a_minute(tmp_path: Path, caplog):
    hider = Slow()
    capture = Capture(tmp_path / "c.jsonl", most=MB, hider=hider, room=5_000)
    with caplog.at_level(logging.WARNING):
        taken = [capture.request(asked(number), number * 10**9) for number in range(20)]
        minute = 100 * 10**9
        taken.append(capture.request(asked(21), minute))
    assert taken.count(True) == 5_000 // asked().size
    assert capture.outcomes()["dropped",] == taken.count(False)
    assert len([entry for entry in caplog.records if "left out" in entry.message]) == 2
    hider.go.set()
    capture.close()
    assert len(lines(tmp_path / "c.jsonl")) == taken.count(True)


def test_room_is_given_back_once_a_line_is_written(tmp_path: Path):
    hider = Slow()
    capture = Capture(tmp_path / "c.jsonl", most=MB, hider=hider, room=asked().size)
    assert capture.request(asked(1), 0)
    assert hider.begun.wait(20)
    assert not capture.request(asked(2), 0)
    hider.go.set()
    for _ in range(1_000_000):
        if capture.request(asked(3), 0):
            break
    capture.close()
    assert [line["id"] for line in lines(tmp_path / "c.jsonl")] == ["req_1", "req_3"]


def test_a_request_that_can_not_be_hidden_is_left_out_and_the_next_is_not(tmp_path: Path, caplog):
    hider = Slow()
    hider.go.set()
    capture = Capture(tmp_path / "c.jsonl", most=MB, hider=hider)
    capture.request(asked(1, body=b'{"bad":1}'), 0)
    capture.request(asked(2), 0)
    capture.close()
    assert [line["id"] for line in lines(tmp_path / "c.jsonl")] == ["req_2"]
    assert capture.outcomes()["failed",] == 1


def test_a_file_at_its_limit_ends_the_recording_with_one_warning(tmp_path: Path, caplog):
    path = tmp_path / "c.jsonl"
    capture = Capture(path, most=1_000)
    with caplog.at_level(logging.WARNING):
        for number in range(50):
            capture.request(asked(number), 0)
        capture.close()
    assert 900 <= path.stat().st_size <= 1_000
    assert path.read_bytes().endswith(b"}\n")
    assert ["RECORD_MAX_MB" in entry.message for entry in caplog.records] == [True]


def test_a_disk_that_takes_no_more_ends_the_recording_not_the_requests(tmp_path: Path, caplog, monkeypatch):
    capture = Capture(tmp_path / "c.jsonl", most=MB)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with caplog.at_level(logging.WARNING):
        capture.request(asked(1), 0)
        capture.close()
        assert not capture.request(asked(2), 0)
    assert [entry.message for entry in caplog.records] == [f"nothing more is recorded in {tmp_path / 'c.jsonl'}: No space left on device"]
    assert capture.outcomes()["ended",] == 2


@pytest.mark.parametrize("name", ["missing/c.jsonl", "."])
def test_a_file_that_can_not_be_written_is_a_mistake_of_the_configuration(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match="RECORD_FILE"):
        Capture(tmp_path / name, most=MB)


def test_credentials_do_not_enter_it(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    capture = Capture(path, most=MB, secrets=("sk-ant-REAL-credential", "short"))
    body = b'{"messages":[{"role":"user","content":"sk-ant-REAL-credential and sk-tr-abcd-EFGH_1 and short"}]}'
    capture.request(asked(body=body), 0)
    capture.close()
    (line,) = lines(path)
    assert line["body"]["messages"][0]["content"] == f"{'x' * 22} and sk-tr-{'x' * 11} and short"


def test_two_processes_parts_share_a_file_by_whole_lines(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    parts = [Capture(path, most=64 * MB) for _ in range(2)]
    body = b'{"messages":"' + b"x" * 50_000 + b'"}'
    threads = [threading.Thread(target=lambda part=part: [part.request(asked(body=body), 0) for _ in range(50)]) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part in parts:
        part.close()
    assert len(lines(path)) == 100


def test_parts_written_out_of_order_are_put_in_order_by_sorting_lines_as_replay_says(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    start_s = 1_760_000_000
    for part in range(2):
        capture = Capture(path, most=MB)
        for number in range(3):
            capture.request(asked(10 * part + number, start_s + 10 * number + part), 0)
            capture.counted(record(10 * part + number), 0)
        capture.close()
    with pytest.raises(ConfigError, match=r"LC_ALL=C sort"):
        list(read(path))
    path.write_bytes(b"".join(sorted(path.read_bytes().splitlines(keepends=True))))
    found = [line.item for line in read(path) if line.item is not None]
    assert [item.at_s - start_s for item in found] == [0, 1, 10, 11, 20, 21]
    assert all(item.usage == Reported(total=100, read=90) for item in found)


def test_lines_that_waited_when_the_recording_ended_are_counted(tmp_path: Path):
    begun, go_on = threading.Event(), threading.Event()

    class Waiting:
        def body(self, body: bytes) -> bytes:
            begun.set()
            go_on.wait(10)
            return body

        def headers(self, headers, names):
            return dict(headers)

        def query(self, query: str) -> str:
            return query

    capture = Capture(tmp_path / "c.jsonl", most=10, hider=Waiting())
    for number in range(5):
        assert capture.request(asked(number), 0)
        begun.wait(10)
    go_on.set()
    capture.close()
    assert capture.outcomes() == {("written",): 0, ("dropped",): 0, ("failed",): 0, ("ended",): 5}
