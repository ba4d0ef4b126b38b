"""Entries that come to the ledger behind their own end, behind a loss, or not at all."""

import asyncio

import pytest
from ledgers import NOW_NS, TENANT, database, encode, intended, record, rows, settlement

from tokenrouter.clock import SystemClock
from tokenrouter.errors import Unavailable
from tokenrouter.quota.spool import Spool
from tokenrouter.storage import redis_keys
from tokenrouter.storage.carrier import Carrier
from tokenrouter.storage.ledger_entries import Entry
from tokenrouter.storage.postgres_ledger import PostgresLedger
from tokenrouter.storage.redis_client import RedisClient


@pytest.fixture
async def ledger(postgres_url):
    db = database(postgres_url)
    yield PostgresLedger(db, SystemClock())
    await db.aclose()


@pytest.fixture
async def redis(redis_url):
    client = RedisClient(redis_url, timeout_s=5)
    yield client
    await client.aclose()


async def test_an_intent_that_comes_behind_its_own_end_is_not_written(ledger, postgres_url):
    called_off = Entry("v", "req_1", admitted_ns=NOW_NS + 1)
    await ledger.write(TENANT, [called_off])
    await ledger.write(TENANT, [intended()])
    assert await ledger.open_intents(TENANT, 1 << 62) == []
    another = Entry("i", "req_1", intended().record, 50, 900, NOW_NS + 2)
    await ledger.write(TENANT, [another])
    assert await ledger.open_intents(TENANT, 1 << 62) == ["req_1"], "the same request may be tried once more"
    await ledger.forget_voided(NOW_NS + 2)
    assert rows(postgres_url, "called_off") == []


async def test_a_stream_that_was_lost_while_it_was_read_is_no_error(redis, ledger):
    carrier = Carrier(redis, ledger, SystemClock(), worker="a")
    key = redis_keys.ledger(TENANT)
    await redis.command(key, "XADD", key, "*", "k", "v", "id", "x")
    assert await carrier.carry(TENANT) == 1
    carrier._unsure.add(TENANT)  # the reply to the next look was lost
    await redis.command(key, "FLUSHALL")
    assert await carrier.carry(TENANT) == 0
    carrier.told.add(TENANT, settlement("after"))
    await carrier.append_again(TENANT)
    assert await carrier.carry(TENANT) == 1
    assert await ledger.find("after", TENANT) is not None


async def test_who_comes_too_late_for_a_rebuild_has_the_counters_made_once_more(redis, ledger):
    carrier = Carrier(redis, ledger, SystemClock(), worker="a")
    key = redis_keys.prefix(TENANT) + b"epoch"
    carrier.appended(TENANT, settlement("before"))
    await redis.command(key, "HSET", key, "id", "one", "state", "ready", "since", "1")
    await carrier.tell_again()
    assert await redis.command(key, "EXISTS", key), "an epoch that is seen for the first time says nothing"
    later_ms = 1_000 * int((await redis.command(key, "TIME"))[0]) + 60_000
    await redis.command(key, "HSET", key, "id", "two", "since", str(later_ms))
    await carrier.tell_again()
    assert not await redis.command(key, "EXISTS", key)
    assert await carrier.carry(TENANT) == 1
    await redis.command(key, "HSET", key, "id", "three", "state", "ready", "since", str(later_ms))
    await carrier.tell_again()
    assert await redis.command(key, "EXISTS", key), "Postgres has everything"


class Slow:
    """A ledger whose writes wait until they are let go."""

    def __init__(self) -> None:
        self.writes: list[list[str]] = []
        self.go = asyncio.Event()

    async def write(self, tenant, entries, *, timeout_s):
        from tokenrouter.storage.ledger_entries import fold

        self.writes.append([entry.id for entry in entries])
        await self.go.wait()
        return fold(tenant, entries)


async def test_intents_that_come_while_one_is_written_are_written_together():
    slow = Slow()
    spool = Spool(slow)
    writing = [asyncio.create_task(spool.write(TENANT, intended(f"r{number}"))) for number in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    more = [asyncio.create_task(spool.write(TENANT, intended(f"s{number}"))) for number in range(3)]
    slow.go.set()
    await asyncio.gather(*writing, *more)
    assert slow.writes == [[f"r{number}" for number in range(5)], [f"s{number}" for number in range(3)]]


async def test_nobody_waits_longer_than_the_time_out_for_an_intent():
    slow = Slow()
    spool = Spool(slow, timeout_s=0.01)
    with pytest.raises(Unavailable):
        await spool.write(TENANT, intended())
    slow.go.set()
    await spool.aclose()


async def test_an_intent_that_can_not_become_a_row_lets_nothing_be_sent(ledger):
    spool = Spool(ledger)
    with pytest.raises(Unavailable):
        await spool.write(TENANT, Entry("i", "req_1", encode(record("req_2")), 50, 900, NOW_NS))
    await spool.aclose()


async def test_entries_wait_for_the_ledger_and_are_written_once(ledger, postgres_url):
    failures = 2

    class Away:
        async def write(self, tenant, entries, *, timeout_s):
            nonlocal failures
            if failures:
                failures -= 1
                raise Unavailable("away")
            return await ledger.write(tenant, entries, timeout_s=timeout_s)

    spool = Spool(Away())
    spool.begin()
    for number in range(3):
        spool.put(TENANT if number < 2 else "other", settlement(f"r{number}", tenant=TENANT if number < 2 else "other"))
    assert await spool.drain(30)
    await spool.aclose()
    assert [row[0] for row in rows(postgres_url, "ledger", "id")] == ["r0", "r1", "r2"]
    assert (spool.lost, spool.problem, failures) == (0, "", 0)


def test_what_may_be_lost_is_lost_where_too_much_waits():
    spool = Spool(Slow(), most=1)
    spool.put(TENANT, settlement("a"))
    spool.put(TENANT, settlement("b"), may_be_lost=True)
    spool.put(TENANT, settlement("c"))
    assert (spool.backlog, spool.lost) == (2, 1)
