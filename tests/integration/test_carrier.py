"""Streams carried into Postgres: every entry to exactly one row, wherever a worker dies and whichever server is away."""

import asyncio
import itertools
import logging

import msgspec
import pytest
from ledgers import TENANT, database, empty, intended, presumption, rows, settlement
from rig import until

from tokenrouter.clock import ManualClock
from tokenrouter.errors import Unavailable
from tokenrouter.storage import redis_keys
from tokenrouter.storage.carrier import Carrier, fields_of
from tokenrouter.storage.ledger_entries import Entry, read_entry
from tokenrouter.storage.postgres_ledger import PostgresLedger
from tokenrouter.storage.redis_client import RedisClient


class Died(BaseException):
    """The worker is no more."""


class Faulty:
    """Everything that a carrier waits for; dies at one of these moments, before or after the thing is done."""

    def __init__(self, redis: RedisClient, ledger: PostgresLedger) -> None:
        self._redis, self._ledger = redis, ledger
        self.steps = 0
        self.dies: tuple[int, bool] | None = None
        self.problem = ""

    def __getattr__(self, name):
        return getattr(self._redis if name in ("run", "command") else self._ledger, name)

    async def _step(self, work):
        self.steps += 1
        at, after = self.dies or (0, False)
        if self.steps == at and not after:
            work.close()
            raise Died
        result = await work
        if self.steps == at:
            raise Died
        return result

    def run(self, *args, **more):
        return self._step(self._redis.run(*args, **more))

    def command(self, *args, **more):
        return self._step(self._redis.command(*args, **more))

    def write(self, *args):
        return self._step(self._ledger.write(*args))

    def set_aside(self, *args):
        return self._step(self._ledger.set_aside(*args))


@pytest.fixture
async def redis(shared_url):
    made = RedisClient(shared_url, timeout_s=5)
    yield made
    await made.aclose()


@pytest.fixture
async def ledger(postgres_url):
    db = database(postgres_url)
    yield PostgresLedger(db, ManualClock())
    await db.aclose()


async def append(redis: RedisClient, *entries: Entry, tenant: str = TENANT) -> None:
    key = redis_keys.ledger(tenant)
    for entry in entries:
        await redis.command(key, "XADD", key, "*", *fields_of(entry))


async def waiting(redis: RedisClient, tenant: str = TENANT) -> int:
    return await redis.command(redis_keys.ledger(tenant), "XLEN", redis_keys.ledger(tenant))


async def all_of(carrier: Carrier, tenant: str = TENANT, idle_ms: int | None = None) -> None:
    while await carrier.carry(tenant, idle_ms=idle_ms):
        pass


def some(count: int = 6, tenant: str = TENANT) -> list[Entry]:
    """Calls that were settled, one that is open, one that nobody settled in time, one that was settled late, one that was not made."""
    ids = [f"r{number}" for number in range(count)]
    entries = [intended(name) for name in ids] + [settlement(name) for name in ids]
    more = [intended("open"), intended("gone"), presumption("gone"), intended("late"), presumption("late"), settlement("late"), intended("void")]
    found = [*entries, *more, Entry("v", "void")]
    return [msgspec.structs.replace(entry, record=entry.record.replace(b'"acme"', f'"{tenant}"'.encode())) for entry in found]


def check(url: str, count: int = 6) -> None:
    settled = sorted((f"r{number}", "exact", 7) for number in range(count))
    assert rows(url, "ledger", "id", "settled", "cost") == [("gone", "presumed", 50), ("late", "exact", 7), *settled]
    assert rows(url, "intents", "id") == [("open",)]
    assert rows(url, "ledger_rejected") == []


async def test_entries_become_rows_and_leave_the_stream(redis, ledger, postgres_url):
    await append(redis, *some())
    carrier = Carrier(redis, ledger, ManualClock(), worker="a", at_once=4)
    assert await carrier.carry(TENANT) == 4
    assert carrier.backlog == await waiting(redis) == 16
    await all_of(carrier)
    assert carrier.backlog == await waiting(redis) == 0
    check(postgres_url)


async def test_a_tenant_without_a_stream_gets_none(redis, ledger):
    assert await Carrier(redis, ledger, ManualClock(), worker="a").carry("nobody") == 0
    assert await redis.command(redis_keys.ledger("nobody"), "EXISTS", redis_keys.ledger("nobody")) == 0


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("restarts", [False, True])
async def test_a_worker_may_die_at_any_moment_and_again_at_the_next_one(redis_url, ledger, postgres_url, restarts, after):
    """Every await of a carrier is a place to die at, twice in a row; the same worker goes on, or another one takes over."""
    redis = RedisClient(redis_url, timeout_s=5)
    for point in itertools.count(1):
        tenant = f"t{point}"
        faulty = Faulty(redis, ledger)
        await append(redis, *some(2, tenant=tenant), tenant=tenant)
        carrier = Carrier(faulty, faulty, ManualClock(), worker="first", at_once=3)
        deaths = 0
        for at in (point, point + 1):
            faulty.dies = (at, after)
            try:
                await all_of(carrier, tenant, 0)
            except Died:
                deaths += 1
                if restarts:
                    carrier = Carrier(faulty, faulty, ManualClock(), worker=f"after {at}", at_once=3)
        faulty.dies = None
        await all_of(carrier, tenant, 0)
        await all_of(carrier, tenant, 0)
        check(postgres_url, 2)
        assert await waiting(redis, tenant) == 0
        empty(postgres_url)
        if not deaths:
            break
    await redis.aclose()
    assert point > 8


@pytest.mark.parametrize("at", [(2, True), (3, False), (3, True), (4, False), (4, True)])
async def test_a_worker_goes_on_at_once_with_what_it_had_read(redis, ledger, postgres_url, at):
    """Whatever was lost on the way, the reply of the read included; nobody has to take it over."""
    await append(redis, *some())
    faulty = Faulty(redis, ledger)
    carrier = Carrier(faulty, faulty, ManualClock(), worker="a", at_once=50)
    faulty.dies = at
    with pytest.raises(Died):
        await carrier.carry(TENANT)
    await all_of(carrier)
    check(postgres_url)
    assert await waiting(redis) == 0


async def test_two_carriers_at_once_carry_everything_once(redis, ledger, postgres_url):
    await append(redis, *some(100))
    carriers = [Carrier(redis, ledger, ManualClock(), worker=name, at_once=7) for name in "ab"]
    await asyncio.gather(*map(all_of, carriers))
    check(postgres_url, 100)
    assert await waiting(redis) == 0


async def test_what_a_dead_worker_read_is_carried_by_another_one_after_a_while(redis, ledger, postgres_url):
    await append(redis, *some())
    faulty = Faulty(redis, ledger)
    faulty.dies = (3, False)
    with pytest.raises(Died):
        await Carrier(faulty, faulty, ManualClock(), worker="a", at_once=50).carry(TENANT)
    other = Carrier(redis, ledger, ManualClock(), worker="b")
    assert await other.carry(TENANT, idle_ms=15_000) == 0
    assert await other.carry(TENANT, idle_ms=0) == len(some())
    check(postgres_url)


async def test_entries_that_mean_nothing_are_set_aside_and_hold_up_nobody(redis, ledger, postgres_url, caplog):
    key = redis_keys.ledger(TENANT)
    await redis.command(key, "XADD", key, "1-0", "nonsense", b"\xff\x00")
    await redis.command(key, "XADD", key, "2-0", "k", "s", "id", "req_x", "r", b"{not json")
    await append(redis, *some())
    with caplog.at_level(logging.ERROR):
        await all_of(Carrier(redis, ledger, ManualClock(), worker="a"))
    assert [row[0] for row in rows(postgres_url, "ledger_rejected", "entry")] == ["1-0", "2-0"]
    assert rows(postgres_url, "ledger_rejected", "fields", where="entry = '1-0'") == [(b"nonsense\n\xff\x00",)]
    assert len([entry for entry in caplog.records if "ledger_rejected" in entry.message]) == 2
    assert len(rows(postgres_url, "ledger", "id")) == 8
    assert await waiting(redis) == 0


async def test_while_postgres_is_away_the_stream_waits_and_says_so(redis, ledger, postgres_server, postgres_url):
    carrier = Carrier(redis, ledger, ManualClock(), worker="a", gather_s=0.001)
    postgres_server.stop()
    await append(redis, *some())
    with pytest.raises(Unavailable):
        await carrier.carry(TENANT)
    assert await waiting(redis) == len(some())
    carrier.begin()
    carrier.seen(TENANT)
    await until(lambda: carrier.problem != "" and carrier.backlog == len(some()))
    postgres_server.start()
    await until(lambda: carrier.problem == "" and carrier.backlog == 0, within_s=20)
    await carrier.aclose()
    check(postgres_url)


async def test_it_carries_what_it_hears_of_until_it_is_closed(redis, ledger, postgres_url):
    carrier = Carrier(redis, ledger, ManualClock(), worker="a", gather_s=0.001)
    carrier.begin()
    await append(redis, *some(1)[:-4])
    carrier.seen(TENANT)
    await until(lambda: rows(postgres_url, "ledger", "id") == [("gone",), ("r0",)])
    await append(redis, settlement("open"))
    carrier.seen(TENANT)
    await carrier.aclose()
    assert rows(postgres_url, "ledger", "id") == [("gone",), ("open",), ("r0",)]


async def test_every_tenant_that_was_counted_is_looked_for(redis, ledger, postgres_url):
    await append(redis, settlement("req_1", tenant="quiet"), tenant="quiet")
    await ledger.count("quiet")
    carrier = Carrier(redis, ledger, ManualClock(), worker="a", gather_s=0.001)
    carrier.begin()
    await until(lambda: rows(postgres_url, "ledger", "id") == [("req_1",)])
    await carrier.aclose()


async def test_draining_ends_when_nothing_is_left_anywhere(redis, ledger, postgres_url):
    await append(redis, *some())
    faulty = Faulty(redis, ledger)
    faulty.dies = (3, False)
    with pytest.raises(Died):
        await Carrier(faulty, faulty, ManualClock(), worker="a", at_once=5).carry(TENANT)
    await Carrier(redis, ledger, ManualClock(), worker="b", gather_s=0.001).drain(TENANT, idle_ms=1)
    check(postgres_url)
    assert await waiting(redis) == 0


async def test_readers_that_are_gone_are_forgotten_but_never_with_something_in_hand(redis, ledger):
    await append(redis, *some())
    key = redis_keys.ledger(TENANT)
    await Carrier(redis, ledger, ManualClock(), worker="a").carry(TENANT)
    await append(redis, *some())
    faulty = Faulty(redis, ledger)
    faulty.dies = (3, False)
    with pytest.raises(Died):
        await Carrier(faulty, faulty, ManualClock(), worker="b").carry(TENANT)
    script = Carrier(redis, ledger, ManualClock(), worker="c")._open
    assert await redis.run(script, [key], [b"ledger", -1]) == len(some())
    told = await redis.command(key, "XINFO", "CONSUMERS", key, "ledger")
    assert [reader[1] for reader in told] == [b"b"]


async def test_a_worker_remembers_what_it_appended_until_postgres_has_it(redis, ledger, postgres_url):
    clock = ManualClock()
    carrier = Carrier(redis, ledger, clock, worker="a")
    entries = [intended("a"), settlement("a"), intended("b"), intended("v"), Entry("v", "v")]
    for entry in entries:
        carrier.appended(TENANT, entry)
    assert carrier.unconfirmed(TENANT) == [settlement("a"), intended("b"), Entry("v", "v")]
    assert carrier.unconfirmed("other") == []
    clock.advance(2)
    await carrier.confirm()
    assert len(carrier.unconfirmed(TENANT)) == 3
    await append(redis, *entries)
    await all_of(carrier)
    await carrier.confirm()
    assert carrier.unconfirmed(TENANT) == [Entry("v", "v")]
    carrier.appended(TENANT, settlement("b"))
    clock.advance(100)
    await carrier.confirm()
    assert carrier.unconfirmed(TENANT) == [settlement("b")], "an intent in Postgres does not stand for its settlement"


async def test_what_redis_lost_is_appended_again_and_carried_once(redis, ledger, postgres_url):
    clock = ManualClock()
    carrier = Carrier(redis, ledger, clock, worker="a")
    await append(redis, settlement("kept"))
    for entry in (settlement("kept"), intended("lost"), settlement("lost"), intended("open")):
        carrier.appended(TENANT, entry)
    await all_of(carrier)
    assert await carrier.append_again(TENANT) == 3
    await all_of(carrier)
    await carrier.append_again(TENANT)
    await all_of(carrier)
    assert rows(postgres_url, "ledger", "id", "cost", "late") == [("kept", 7, 0), ("lost", 7, 0)]
    assert rows(postgres_url, "intents", "id") == [("open",)]


async def test_a_worker_tells_again_what_redis_may_have_lost_once_for_each_loss(redis, ledger):
    carrier = Carrier(redis, ledger, ManualClock(), worker="a")
    carrier.appended(TENANT, settlement())
    key = redis_keys.prefix(TENANT) + b"epoch"
    steps = [(b"1", b"ready", 0), (b"2", b"rebuilding", 1), (b"2", b"rebuilding", 1), (b"2", b"ready", 1), (b"3", b"rebuilding", 2)]
    for epoch, state, expected in steps:
        await redis.command(key, "HSET", key, "id", epoch, "state", state)
        await carrier.tell_again()
        assert await waiting(redis) == expected


async def test_an_entry_that_vanished_is_appended_again_once(redis, ledger, postgres_url):
    clock = ManualClock()
    carrier = Carrier(redis, ledger, clock, worker="a")
    carrier.appended(TENANT, settlement("lost"))
    carrier.appended(TENANT, Entry("s", "bad", b"{"))
    await append(redis, settlement("waits"))
    clock.advance(100)
    await carrier.confirm()
    assert await waiting(redis) == 1, "while the stream is not empty nothing is lost"
    await all_of(carrier)
    await carrier.confirm()
    assert await waiting(redis) == 2
    await all_of(carrier)
    await carrier.confirm()
    clock.advance(100)
    await carrier.confirm()
    assert (await waiting(redis), carrier.unconfirmed(TENANT)) == (0, [])
    assert rows(postgres_url, "ledger", "id") == [("lost",), ("waits",)]


async def test_the_memory_of_what_was_appended_is_bounded(redis, ledger):
    clock = ManualClock()
    carrier = Carrier(redis, ledger, clock, worker="a")
    carrier.told._most = 3
    for number in range(5):
        carrier.appended(f"t{number % 2}", settlement(f"r{number}"))
        clock.advance(1)
    assert len(carrier.told) == 3
    assert carrier.told.trusted == 2
    assert [entry.id for name in ("t0", "t1") for entry in carrier.unconfirmed(name)] == ["r2", "r4", "r3"]


def test_an_entry_is_read_as_it_was_written():
    entry = Entry("i", "req_1", b'{"id":"req_1"}', 5, 6, 7_000_000, "9-0", late=True)
    fields = [value if isinstance(value, bytes) else str(value).encode() for value in fields_of(entry)]
    assert read_entry(b"9-0", dict(zip(fields[::2], fields[1::2], strict=True))) == entry
