"""Kept answers of several workers: hot in Redis, warm in Postgres, and never older than they were meant to become."""

import asyncio

import msgspec
import psycopg
import pytest
from ledgers import TENANT, database, rows
from rig import until

from tokenrouter.clock import ManualClock, SystemClock
from tokenrouter.errors import Unavailable
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.usage import Usage
from tokenrouter.storage import redis_keys
from tokenrouter.storage.batches import Batches
from tokenrouter.storage.redis_answers import FILES, SharedAnswers
from tokenrouter.storage.redis_client import RedisClient

HOUR_NS = 3_600_000_000_000


@pytest.fixture
async def redis(shared_url):
    made = RedisClient(shared_url, timeout_s=5)
    yield made
    await made.aclose()


@pytest.fixture
async def make(redis, postgres_url):
    """Makes workers' stores over the same servers."""
    made: list[SharedAnswers] = []
    databases = []

    def new(clock=None, **more) -> SharedAnswers:
        databases.append(database(postgres_url, *FILES))
        made.append(SharedAnswers(redis, databases[-1], clock or SystemClock(), **{"warm_s": 10, **more}))
        return made[-1]

    yield new
    for store in made:
        await store.aclose()
    for db in databases:
        await db.aclose()


def kept(body: bytes = b"yes", *, expires_ns: int | None = None, **more) -> KeptAnswer:
    now = SystemClock.time_ns()
    fields = {"dialect": "openai-chat", "form": "whole", "end": b"", "usage": Usage(output=1), "cost": 5, "vendor": "openai", "model": "gpt-4.1"}
    fields |= {"sandbox": False, "request_id": "req_1", "kept_ns": now, "expires_ns": expires_ns or now + HOUR_NS, "key_id": "k1"}
    return KeptAnswer(body=body, **{**fields, **more})


async def hot(redis: RedisClient, identity: bytes = b"q", tenant: str = TENANT) -> KeptAnswer | None:
    key = redis_keys.answer(tenant, identity)
    found = await redis.command(key, "GET", key)
    return None if found is None else msgspec.msgpack.decode(found, type=KeptAnswer)


async def settled(store: SharedAnswers) -> None:
    await asyncio.gather(*store._sending)
    await store.warm.flush()


async def test_two_workers_share_answers(redis, make):
    one, other = make(), make()
    answer = kept()
    one.put(TENANT, b"q", answer)
    await settled(one)
    assert await hot(redis) == answer
    assert await other.fetch(TENANT, b"q") == answer
    assert other.get(TENANT, b"q") is None
    assert await other.fetch("other", b"q") is None
    assert await other.fetch(TENANT, b"p") is None


async def test_what_redis_lost_comes_back_and_expires_when_it_always_would_have(redis, make):
    store = make()
    answer = kept(expires_ns=SystemClock.time_ns() + 20 * 60 * 1_000_000_000)
    store.put(TENANT, b"q", answer)
    await settled(store)
    key = redis_keys.answer(TENANT, b"q")
    await redis.command(key, "DEL", key)
    assert await store.fetch(TENANT, b"q") == answer
    await settled(store)
    assert await hot(redis) == answer
    left_ms = await redis.command(key, "PTTL", key)
    assert 19 * 60_000 < left_ms <= 20 * 60_000


async def test_what_has_expired_is_not_given_and_goes(redis, make, postgres_url):
    clock = ManualClock()
    store = make(clock)
    store.put(TENANT, b"q", kept(expires_ns=clock.time_ns() + 1_000_000_000))
    store.put(TENANT, b"r", kept(expires_ns=clock.time_ns() + HOUR_NS))
    await settled(store)
    clock.advance(1)
    assert await store.fetch(TENANT, b"q") is None
    assert await store.drop_expired() == 1
    assert rows(postgres_url, "answers", "identity") == [(b"r",)]


async def test_a_later_answer_takes_the_place_of_an_earlier_one(make):
    store = make()
    store.put(TENANT, b"q", kept(b"one"))
    store.put(TENANT, b"q", kept(b"two"))
    await settled(store)
    assert (await store.fetch(TENANT, b"q")).body == b"two"
    store.put(TENANT, b"q", kept(b"three"))
    await settled(store)
    assert (await store.fetch(TENANT, b"q")).body == b"three"


async def test_an_answer_that_is_too_large_is_not_kept(redis, make, postgres_url):
    store = make(largest=1000)
    store.put(TENANT, b"q", kept(bytes(1000)))
    await settled(store)
    assert await hot(redis) is None
    assert rows(postgres_url, "answers", "identity") == []


@pytest.mark.parametrize("wanted", [{}, {"model": "o3"}, {"vendor": "openai", "model": "o3"}, {"key_id": "k2"}])
async def test_answers_are_purged_by_tenant_model_and_key(redis, make, postgres_url, wanted):
    store = make()
    several = {b"a": kept(), b"b": kept(model="o3"), b"c": kept(key_id="k2"), b"d": kept(model="o3", key_id="k2")}
    for identity, answer in several.items():
        store.put(TENANT, identity, answer)
        store.put("acme*", identity, answer)
    gone = {identity for identity, answer in several.items() if all(getattr(answer, name) == value for name, value in wanted.items())}
    assert await store.purge(TENANT, **wanted) == len(gone) > 1
    for identity in several:
        assert (await hot(redis, identity) is None) == (identity in gone)
        assert (await store.fetch(TENANT, identity) is None) == (identity in gone)
        assert await hot(redis, identity, "acme*") is not None
    assert await store.purge("acme*") == 4
    assert len(rows(postgres_url, "answers", "identity")) == 4 - len(gone)


async def test_totals_are_of_one_tenant_or_of_all_without_what_is_too_old(make):
    store = make()
    for identity in (b"a", b"b"):
        store.put(TENANT, identity, kept())
    store.put("other", b"c", kept())
    store.put("other", b"d", kept(expires_ns=1))
    await settled(store)
    mine, everything = await store.totals(TENANT), await store.totals()
    assert (mine.answers, everything.answers) == (2, 3)
    assert everything.size * 2 == mine.size * 3 > 0
    assert (await store.totals("nobody")).answers == 0


async def test_without_postgres_answers_are_still_shared_and_a_miss_costs_no_wait(redis, make, postgres_server):
    store = make(warm_s=0.05)
    postgres_server.stop()
    store.put(TENANT, b"q", kept())
    await asyncio.gather(*store._sending)
    assert await hot(redis) == kept(kept_ns=(await hot(redis)).kept_ns, expires_ns=(await hot(redis)).expires_ns)
    assert await store.fetch(TENANT, b"p") is None
    await until(lambda: store.warm.problem != "")
    assert len(store.warm) == 1
    postgres_server.start()
    await until(lambda: store.warm.problem == "" and not len(store.warm), within_s=20)


async def test_without_redis_answers_go_to_postgres(make, postgres_url):
    db = database(postgres_url, *FILES)
    nowhere = RedisClient("redis://127.0.0.1:1/0")
    store = SharedAnswers(nowhere, db, SystemClock(), warm_s=10)
    answer = kept()
    store.put(TENANT, b"q", answer)
    await settled(store)
    assert await store.fetch(TENANT, b"q") == answer
    await store.aclose()
    await nowhere.aclose()
    await db.aclose()


async def test_an_answer_that_can_not_be_read_is_a_miss(make, postgres_url):
    store = make()
    store.put(TENANT, b"q", kept())
    await settled(store)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE answers SET answer = 'x'")
    assert await store.fetch(TENANT, b"q") is None


async def test_a_queue_is_bounded_by_number_and_by_size_and_says_what_it_dropped():
    written = []

    async def write(items):
        written.extend(items)

    queue = Batches(write, name="things", most=3, most_bytes=100, at_once=2, pause_s=0.001)
    assert [queue.put(1, 60), queue.put(2, 60), queue.put(3, 10), queue.put(4), queue.put(5)] == [True, False, True, True, False]
    await until(lambda: not len(queue))
    assert (written, queue.dropped) == ([1, 3, 4], 2)
    assert queue.put(6, 100)
    await queue.aclose()
    assert written == [1, 3, 4, 6]


async def test_a_queue_tries_again_while_the_store_is_away_and_drops_what_can_never_be_written(caplog):
    written, away = [], [True, True, False, False]

    async def write(items):
        if items == ["bad"]:
            raise ValueError("never")
        if away.pop(0):
            raise Unavailable("away")
        written.extend(items)

    queue = Batches(write, name="things", at_once=1, pause_s=0.001)
    for item in ("a", "bad", "b"):
        queue.put(item)
    await until(lambda: queue.problem == "1 things wait to be written: away" or queue.problem.startswith("3 things"))
    await until(lambda: not len(queue))
    assert (written, queue.dropped, queue.problem) == (["a", "b"], 1, "")
    assert "can not be written" in caplog.text
