"""Who created what a provider keeps: told by tenant and id, over restarts, within bounds."""

import sqlite3

import pytest

from tokenrouter.clock import ManualClock
from tokenrouter.model.owned import Owned
from tokenrouter.recall.ownership import MemoryOwnership
from tokenrouter.storage.embedded_owned import EmbeddedOwned

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
