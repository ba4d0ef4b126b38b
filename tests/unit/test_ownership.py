"""Who created what a provider keeps: told by tenant and id, over restarts, within bounds."""

import sqlite3

import msgspec
import pytest

from tokenrouter.clock import ManualClock
from tokenrouter.errors import ConfigError
from tokenrouter.model.owned import Owned
from tokenrouter.recall.ownership import MemoryOwnership
from tokenrouter.storage.embedded_owned import EmbeddedOwned
from tokenrouter.storage.owned_log import OwnedLine, OwnedLog, left_in
from tokenrouter.storage.sqlite import Writer

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path, clock):
    if request.param == "memory":
        yield MemoryOwnership(clock, most=3)
        return
    made = EmbeddedOwned(tmp_path, clock, in_memory=3)
    yield made
    made.close()


def owned(clock, tokens=1, deployment="openai"):
    return Owned(deployment, tokens, clock.time_ns() + HOUR_NS)


def test_only_its_creator_finds_an_object(store, clock):
    store.record("a", ("resp_1", "msg_1"), owned(clock))
    assert store.find("a", "resp_1") == store.find("a", "msg_1") == owned(clock)
    assert store.find("b", "resp_1") is None
    assert store.find("a", "resp_2") is None
    store.record("b", ("resp_1",), owned(clock, 2))
    assert (store.find("a", "resp_1").tokens, store.find("b", "resp_1").tokens) == (1, 2)


def test_what_was_deleted_is_gone_at_once_and_may_come_again(store, clock):
    store.record("a", ("resp_1",), owned(clock))
    store.forget("a", "resp_1")
    assert store.find("a", "resp_1") is None
    store.forget("a", "never")
    store.record("a", ("resp_1",), owned(clock))
    assert store.find("a", "resp_1") is not None


def test_what_the_provider_may_have_forgotten_is_not_known(store, clock):
    store.record("a", ("resp_1",), owned(clock))
    clock.advance(3_600)
    assert store.find("a", "resp_1") is None


def test_memory_is_bounded_and_forgets_what_was_used_longest_ago(clock):
    store = MemoryOwnership(clock, most=2)
    store.record("a", ("1", "2"), owned(clock))
    store.find("a", "1")
    store.record("a", ("3",), owned(clock))
    assert [store.find("a", name) is not None for name in "123"] == [True, False, True]


def test_the_disk_answers_for_what_memory_let_go_and_for_another_process(tmp_path, clock):
    store = EmbeddedOwned(tmp_path, clock, in_memory=1)
    store.record("a", ("1", "2", "3"), owned(clock, 7, "openai#2"))
    store.forget("a", "2")
    assert store.writer.flush()
    assert [store.find("a", name) for name in "123"] == [owned(clock, 7, "openai#2"), None, owned(clock, 7, "openai#2")]
    store.close()
    again = EmbeddedOwned(tmp_path, clock)
    assert [again.find("a", name) for name in "123"] == [owned(clock, 7, "openai#2"), None, owned(clock, 7, "openai#2")]
    again.close()


def test_a_restart_drops_what_is_over_and_what_is_too_much(tmp_path, clock):
    store = EmbeddedOwned(tmp_path, clock)
    for number in range(5):
        store.record("a", (f"r{number}",), Owned("openai", 1, clock.time_ns() + (number + 1) * HOUR_NS))
    store.close()
    clock.advance(3_600)
    again = EmbeddedOwned(tmp_path, clock, most=2)
    again.close()
    with sqlite3.connect(tmp_path / "owned.db") as db:
        assert sorted(row[0] for row in db.execute("SELECT object_id FROM owned")) == ["r3", "r4"]
    db.close()


def killed(store):
    """The process dies: nothing is written any more, nothing is tidied up."""
    store.writer._stop = True
    store._reader.close()


@pytest.fixture
def mute(monkeypatch):
    """The writer commits nothing."""
    monkeypatch.setattr(Writer, "_commit", lambda *_: False)


def test_what_the_writer_had_not_committed_is_known_after_a_kill(tmp_path, clock, mute, monkeypatch):
    store = EmbeddedOwned(tmp_path, clock)
    store.record("a", ("resp_1", "msg_1"), owned(clock, 7))
    store.record("b", ("resp_2",), owned(clock, 8))
    store.forget("b", "resp_2")
    killed(store)
    monkeypatch.undo()
    with sqlite3.connect(tmp_path / "owned.db") as db:
        assert db.execute("SELECT count(*) FROM owned").fetchone() == (0,)
    db.close()
    again = EmbeddedOwned(tmp_path, clock)
    assert again.find("a", "resp_1") == again.find("a", "msg_1") == owned(clock, 7)
    assert again.find("b", "resp_2") is again.find("b", "resp_1") is None
    again.close()
    assert list(tmp_path.glob("owned-*")) == []


def test_a_torn_line_costs_nothing_but_itself(tmp_path, clock):
    whole = msgspec.json.encode(OwnedLine("a", ("resp_1",), "openai", 1, clock.time_ns() + HOUR_NS))
    (tmp_path / "owned-00000003.jsonl").write_bytes(b"\n" + whole[:20] + b"\n" + whole)
    store = EmbeddedOwned(tmp_path, clock)
    assert store.find("a", "resp_1") == owned(clock)
    store.close()


def test_the_log_goes_on_in_a_new_segment_and_drops_those_that_are_committed(tmp_path):
    log = OwnedLog(tmp_path, segment_bytes=100)
    for number in range(40):
        log.append(OwnedLine("a", (f"resp_{number}",), "openai"))
    files = sorted(tmp_path.glob("owned-*"))
    assert len(files) > 5
    assert [line.object_ids[0] for _, lines in left_in(tmp_path) for line in lines] == [f"resp_{number}" for number in range(40)]
    for _ in range(39):
        log.committed()
    log.append(OwnedLine("a", ("resp_40",), "openai"))
    kept = [line.object_ids[0] for _, lines in left_in(tmp_path) for line in lines]
    assert len(kept) < 10
    assert kept[-2:] == ["resp_39", "resp_40"]
    log.close()
    assert list(tmp_path.glob("owned-*"))  # two lines are not committed
    log = OwnedLog(tmp_path)
    log.append(OwnedLine("a", ("x",)))
    log.committed()
    log.close()
    assert not (tmp_path / "owned-00000000.jsonl").exists()


def test_a_log_that_takes_nothing_is_told_and_the_database_has_it_all_the_same(tmp_path, clock, monkeypatch, caplog):
    store = EmbeddedOwned(tmp_path, clock)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tokenrouter.storage.owned_log.os.write", full)
    store.record("a", ("resp_1",), owned(clock))
    monkeypatch.undo()
    assert "No space left" in caplog.text
    store.close()
    again = EmbeddedOwned(tmp_path, clock)
    assert again.find("a", "resp_1") == owned(clock)
    again.close()


def test_the_table_is_bounded_while_the_process_runs(tmp_path, clock):
    store = EmbeddedOwned(tmp_path, clock, most=10, in_memory=1, sweep_every=25)
    for number in range(100):
        store.record("a", (f"r{number}",), Owned("openai", 1, clock.time_ns() + (number + 1) * HOUR_NS))
    assert store.writer.flush()
    with sqlite3.connect(tmp_path / "owned.db") as db:
        assert db.execute("SELECT count(*), min(object_id) FROM owned").fetchone() == (10, "r90")
    db.close()
    clock.advance(94 * 3_600)
    store.record("b", tuple(f"s{number}" for number in range(25)), owned(clock))
    assert store.writer.flush()
    with sqlite3.connect(tmp_path / "owned.db") as db:
        assert db.execute("SELECT count(*) FROM owned WHERE expires_ns <= ?", (clock.time_ns(),)).fetchone() == (0,)
    db.close()
    store.close()


def test_a_file_that_is_no_database_is_told_by_its_name(tmp_path, clock):
    (tmp_path / "owned.db").write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError, match=r"owned\.db"):
        EmbeddedOwned(tmp_path, clock)
