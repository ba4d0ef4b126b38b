"""Redis loses everything: counters come back from the ledger, from what workers remember, and from what they hold."""

import asyncio
import random

import msgspec
import pytest
from ledgers import TENANT, database, encode, record, rows

from tokenrouter.clock import SystemClock
from tokenrouter.errors import Unavailable
from tokenrouter.model.admission import Ask, Bound, CapState, CountedCap, Hold, NeedsRebuild, Refused, Worst
from tokenrouter.model.rules import EACH, Cap, Scope
from tokenrouter.storage.carrier import Carrier
from tokenrouter.storage.ledger_entries import Entry
from tokenrouter.storage.postgres_ledger import PostgresLedger
from tokenrouter.storage.rebuild import Rebuilder
from tokenrouter.storage.redis_alive import SURE_MS
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_counters import RedisCounters
from tokenrouter.storage.redis_rebuild import RedisRebuilds

USD = Cap(id="usd", amount=100_000, period="total")
TOKENS = Cap(id="tokens", amount=1_000_000, period="total", unit="tokens")
EACH_KEY = Cap(id="key", amount=60_000, period="total", scope=Scope(key=EACH))
CAPS = (USD, TOKENS, EACH_KEY)


class Worker:
    """One process: its counters, its part of carrying, and what it would do every second."""

    def __init__(self, name: str, redis_url: str, postgres_url: str) -> None:
        self.redis = RedisClient(redis_url, timeout_s=2)
        self.db = database(postgres_url)
        self.ledger = PostgresLedger(self.db, SystemClock())
        self.counters = RedisCounters(self.redis)
        self.carrier = Carrier(self.redis, self.ledger, SystemClock(), worker=name, gather_s=0.001)
        self.rebuilds = RedisRebuilds(self.redis)
        self.living: list[Worker] = [self]
        self.waits: list[float] = []
        self.rebuilder = Rebuilder(self.rebuilds, self.carrier, self.ledger, self.db, self._caps_of, SystemClock(), sleep=self._sleep)

    async def _caps_of(self, tenant: str) -> tuple[list[Cap], str]:
        return list(CAPS), "UTC"

    async def _sleep(self, seconds: float) -> None:
        """While one waits, all who live do what they do every second."""
        self.waits.append(seconds)
        for worker in self.living:
            await worker.counters.beat()
            await worker.carrier.tell_again()
        await asyncio.sleep(0.001)

    async def admit(self, name: str, usd: int, tokens: int = 10, key: str = "k1") -> Hold:
        caps = (CountedCap(USD, "c:usd"), CountedCap(TOKENS, "c:tokens"), CountedCap(EACH_KEY, f"c:key:k={key}"))
        intent = encode(record(name, cost=0, settled="free", key_id=key))
        ask = Ask(id=name, worst=Worst(usd, tokens, sandbox=False), intent=intent)
        try:
            admitted = await self.counters.admit(Bound(tenant=TENANT, caps=caps), ask)
        except NeedsRebuild:
            await self.rebuilder.ensure(TENANT, 30)
            admitted = await self.counters.admit(Bound(tenant=TENANT, caps=caps), ask)
        hold = admitted.hold
        assert hold is not None
        self.carrier.appended(TENANT, Entry("i", name, intent, usd, tokens, hold.admitted_ns))
        return hold

    async def settle(self, hold: Hold, cost: int, *, late: bool = False) -> None:
        key = msgspec.json.decode(hold.intent)["key_id"]
        whole = record(hold.id, cost=cost, admitted_ns=hold.admitted_ns, key_id=key, late=late)
        self.carrier.appended(TENANT, Entry("s", hold.id, encode(whole), hold.usd, hold.tokens))
        self.counters.settle(hold, cost, whole.tokens, entry=encode(whole))
        await self.counters.drain(10)

    async def state(self, counter: str = "c:usd") -> CapState:
        return await self.counters.cap_state(TENANT, counter)

    async def aclose(self) -> None:
        await self.rebuilder.aclose()
        await self.counters.aclose()
        await self.redis.aclose()
        await self.db.aclose()


@pytest.fixture
async def make(own_redis, postgres_url):
    made: list[Worker] = []

    def new(name: str) -> Worker:
        made.append(Worker(name, own_redis.url, postgres_url))
        return made[-1]

    yield new
    for worker in made:
        await worker.aclose()


async def lose(own_redis, *workers: Worker) -> None:
    """Redis dies and comes back with nothing; the workers have noticed that it is there again."""
    own_redis.kill()
    own_redis.start()
    for worker in workers:
        while True:
            try:
                await worker.redis.command(b"k", "PING")
                break
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_a_tenant_that_never_was_in_redis_begins_with_what_the_ledger_says_and_waits_for_nobody(make):
    worker = make("a")
    await worker.ledger.write(TENANT, [Entry("s", "old", encode(record("old", cost=400))), Entry("p", "gone", encode(record("gone")), 77, 5, 10**18)])
    hold = await worker.admit("new", 50)
    assert worker.waits == []
    assert await worker.state() == CapState(400, 50, 77)
    assert await worker.state("c:tokens") == CapState(123, 10, 5)
    await worker.settle(hold, 30)
    assert await worker.state() == CapState(430, 0, 77)


async def test_after_a_loss_every_call_counts_once_whoever_lives(make, own_redis, postgres_url):
    alive, dead = make("alive"), make("dead")
    holds = [await worker.admit(f"{name}{number}", 100 + number) for name, worker in (("a", alive), ("d", dead)) for number in range(6)]
    await alive.settle(holds[0], 40)
    await dead.settle(holds[6], 60)
    while await alive.carrier.carry(TENANT):
        pass
    await alive.settle(holds[1], 41)  # only Redis and `alive` know of it
    late = await alive.admit("a9", 500)  # not even the intent is carried
    await lose(own_redis, alive)
    hold = await alive.admit("next", 7)
    spent, held = 40 + 60 + 41, sum(each.usd for each in (*holds[2:6], late)) + 7
    presumed = sum(each.usd for each in holds[7:])
    assert await alive.state() == CapState(spent, held, presumed)
    assert alive.waits[0] <= 2.5
    assert {row[0]: row[1] for row in rows(postgres_url, "ledger", "id", "settled")} == {
        "a0": "exact",
        "a1": "exact",
        "d0": "exact",
        **{each.id: "presumed" for each in holds[7:]},
    }
    await alive.settle(holds[2], 3)
    await alive.settle(hold, 7)
    assert await alive.state() == CapState(spent + 10, held - holds[2].usd - 7, presumed)


async def test_an_owner_that_was_thought_dead_settles_late_and_replaces_the_presumption(make, own_redis, postgres_url):
    alive, slow = make("alive"), make("slow")
    first, second = await alive.admit("a", 100), await slow.admit("s", 200)
    while await alive.carrier.carry(TENANT):
        pass
    await lose(own_redis, alive, slow)
    await alive.settle(first, 10)
    await alive.admit("next", 7)
    assert await alive.state() == CapState(10, 7, 200)
    await slow.settle(second, 20)
    assert await alive.state() == CapState(30, 7, 0)
    while await alive.carrier.carry(TENANT):
        pass
    found = await alive.ledger.find("s", TENANT)
    assert (found.settled, found.cost, found.late) == ("exact", 20, True)
    assert rows(postgres_url, "intents", "id") == [("next",)]


async def test_two_workers_that_notice_together_rebuild_once_and_admit_no_more_than_the_cap(make, own_redis):
    workers = [make(name) for name in "ab"]
    for worker in workers:
        worker.living = workers
    holds = [await workers[number % 2].admit(f"r{number}", 1_000) for number in range(40)]
    for number, hold in enumerate(holds[:20]):
        await workers[number % 2].settle(hold, 900)
    await lose(own_redis, *workers)
    results = await asyncio.gather(
        *(workers[number % 2].admit(f"n{number}", 1_000, key=f"n{number}") for number in range(80)), return_exceptions=True
    )
    assert {type(result) for result in results} <= {Refused, type(holds[0])}
    state = await workers[0].state()
    given = sum(not isinstance(result, Exception) for result in results)
    assert (state.spent, state.presumed, state.held) == (18_000, 0, 20_000 + 1_000 * given)
    assert given == (USD.amount - 38_000) // 1_000


@pytest.mark.parametrize("steps", [12, pytest.param(60, marks=pytest.mark.slow)])
async def test_losses_again_and_again_leave_the_counters_equal_to_the_ledger(make, own_redis, postgres_url, steps):
    chance = random.Random(7)
    workers = [make(name) for name in "ab"]
    for worker in workers:
        worker.living = workers
    open_: list[tuple[Worker, Hold]] = []
    for number in range(steps):
        worker = chance.choice(workers)
        step = chance.random()
        if step < 0.1:
            await lose(own_redis, *workers)
        elif step < 0.55 or not open_:
            try:
                open_.append((worker, await worker.admit(f"r{number}", chance.randrange(1, 500), key=chance.choice(("k1", "k2")))))
            except Refused:
                continue
        elif step < 0.9:
            owner, hold = open_.pop(chance.randrange(len(open_)))
            await owner.settle(hold, chance.randrange(0, hold.usd + 50))
        else:
            await worker.carrier.carry(TENANT)
    for owner, hold in open_:
        await owner.settle(hold, 5)
    await workers[0].rebuilder.ensure(TENANT, 30)
    await workers[0].carrier.drain(TENANT, idle_ms=0)
    for key in ("k1", "k2"):
        told = rows(postgres_url, "ledger", "COALESCE(SUM(cost), 0)", where=f"settled = 'exact' AND key_id = '{key}'")[0][0]
        assert await workers[0].state(f"c:key:k={key}") == CapState(int(told))
    assert rows(postgres_url, "ledger", "id", where="settled <> 'exact'") == rows(postgres_url, "intents", "id") == []


async def test_without_postgres_nobody_is_admitted_whom_a_cap_binds(make, own_redis, postgres_server):
    worker = make("a")
    await worker.admit("r1", 100)
    await lose(own_redis, worker)
    postgres_server.stop()
    with pytest.raises(Unavailable):
        await worker.admit("r2", 100)
    postgres_server.start()


async def test_whoever_can_not_wait_is_told_to_come_again(make):
    worker = make("a")
    never = asyncio.Event()
    worker._caps_of = worker.rebuilder._caps_of = lambda _: never.wait()
    with pytest.raises(NeedsRebuild):
        await worker.rebuilder.ensure(TENANT, 0.01)


def age(hold: Hold, seconds: int) -> None:
    """It was admitted so much earlier."""
    hold.admitted_ns -= seconds * 1_000_000_000


async def forget(worker: Worker, *names: str) -> None:
    """So much time has passed that these were swept."""
    for name in names:
        await worker.redis.command(b"k", "DEL", f"tr:{{{TENANT}}}:{name}")


async def test_a_settlement_that_is_told_again_after_its_name_was_forgotten_is_booked_once(make, postgres_url):
    """Its reply was lost, and the server was out of reach for longer than it remembers names."""
    worker = make("a")
    first, other = await worker.admit("a", 100), await worker.admit("b", 50)
    await worker.settle(first, 40)
    await forget(worker, "done")
    age(first, 15 * 60)
    first.settled = False
    await worker.settle(first, 40)
    await worker.rebuilder.ensure(TENANT, 30)
    assert await worker.state() == CapState(40, 50, 0)
    first.settled = False
    await worker.settle(first, 40)
    assert await worker.rebuilds.ready(TENANT), "its name is known again"
    await worker.settle(other, 5)
    assert await worker.state() == CapState(45)
    await worker.carrier.drain(TENANT, idle_ms=0)
    assert rows(postgres_url, "ledger", "id", "cost", "late") == [("a", 40, 0), ("b", 5, 0)]


async def test_what_was_held_and_settled_while_the_server_was_away_is_booked_once_however_old_it_is(make, postgres_url):
    """It never was there, so nothing can be forgotten: the counters need not be made again, unless it may have been told already."""
    worker = make("a")
    await worker.settle(await worker.admit("other", 50), 5)
    bound = Bound(tenant=TENANT, caps=(CountedCap(USD, "c:usd"), CountedCap(TOKENS, "c:tokens"), CountedCap(EACH_KEY, "c:key:k=k1")))
    intent = encode(record("a", cost=0, settled="free"))
    hold = worker.counters.prepare(bound, Ask(id="a", worst=Worst(100, 10, sandbox=False), intent=intent))
    age(hold, 3600)
    await worker.redis.command(b"k", "HSET", f"tr:{{{TENANT}}}:epoch", "since", hold.admitted_ns // 1_000_000)
    await worker.settle(hold, 40)
    assert await worker.state() == CapState(45)
    await forget(worker, "done")
    hold.settled, hold.unheard = False, False
    await worker.settle(hold, 40)
    await worker.rebuilder.ensure(TENANT, 30)
    assert await worker.state() == CapState(45)
    await worker.carrier.drain(TENANT, idle_ms=0)
    assert rows(postgres_url, "ledger", "id", "cost") == [("a", 40), ("other", 5)]


@pytest.mark.parametrize("first", ["pulse", "settlement"])
async def test_who_was_cut_off_while_the_counters_were_made_again_is_booked_once(make, own_redis, first):
    """What it settled meanwhile, Postgres knew: it is in the sums already."""
    away, alive = make("away"), make("alive")
    await alive.settle(await alive.admit("other", 50), 5)
    bound = Bound(tenant=TENANT, caps=(CountedCap(USD, "c:usd"), CountedCap(TOKENS, "c:tokens"), CountedCap(EACH_KEY, "c:key:k=k1")))
    hold = away.counters.prepare(bound, Ask(id="a", worst=Worst(100, 10, sandbox=False), intent=encode(record("a", cost=0, settled="free"))))
    await asyncio.sleep(0.002)  # by the server's clock, to the millisecond, it is older than the loss
    await lose(own_redis, away, alive)
    await away.ledger.write(TENANT, [Entry("s", "a", encode(record("a", cost=40)), 100, 10, hold.admitted_ns)])
    await alive.admit("next", 7)
    assert await alive.state() == CapState(45, 7)
    if first == "pulse":
        hold.settled = True
        assert (await away.counters.pulse(TENANT, [hold])).asserted == 0
        hold.settled = False
    await away.settle(hold, 40)
    await alive.rebuilder.ensure(TENANT, 30)
    assert await alive.state() == CapState(45, 7)


async def test_a_settlement_that_was_issued_may_have_been_booked(make):
    worker = make("a")
    await worker.settle(await worker.admit("other", 50), 5)
    bound = Bound(tenant=TENANT, caps=(CountedCap(USD, "c:usd"),))
    holds = [worker.counters.prepare(bound, Ask(id=name, worst=Worst(100, 10, sandbox=False))) for name in "ab"]
    for hold in holds:
        age(hold, 3600)
    jobs = []
    outbox = worker.counters._outbox
    put, outbox.put = outbox.put, jobs.append
    for hold in holds:
        worker.counters.settle(hold, 40, 0)
    first, again = jobs
    assert [job.args()[4] for job in jobs] == ["", ""]
    put(again)
    assert [job.args()[4] for job in jobs] == ["", SURE_MS]
    worker.counters.adopt(holds[0])
    await worker.counters.beat()
    assert first.args()[4] == "", "it is too old to be told of, and so it still never was there"
    holds[0].settled = False
    await worker.counters.beat()
    assert first.args()[4] == SURE_MS, "it was told of, and may have been presumed spent since"


async def test_the_truth_replaces_a_presumption_that_is_forgotten(make, postgres_url):
    owner, other = make("owner"), make("other")
    holds = [await owner.admit(name, 100) for name in ("told", "void")]
    await owner.redis.command(b"k", "ZADD", f"tr:{{{TENANT}}}:holds", 1, holds[0].name, 1, holds[1].name)
    assert len(await other.counters.expire(TENANT)) == 2
    await other.carrier.drain(TENANT, idle_ms=0)
    assert await owner.state() == CapState(presumed=200)
    await forget(owner, "hold", "presumed")
    for hold in holds:
        age(hold, 2 * 86_400)
    await owner.settle(holds[0], 20)
    owner.carrier.appended(TENANT, Entry("v", "void", admitted_ns=holds[1].admitted_ns))
    owner.counters.void(holds[1])
    assert await owner.counters.drain(10)
    await owner.rebuilder.ensure(TENANT, 30)
    assert await owner.state() == CapState(20)
    assert rows(postgres_url, "ledger", "id", "settled", "cost", "late") == [("told", "exact", 20, 1), ("void", "void", 0, 1)]


async def test_many_that_are_told_again_late_have_the_counters_made_again_few_times(make):
    worker = make("a")
    holds = [await worker.admit(f"r{number}", 100) for number in range(50)]
    for hold in holds:
        await worker.settle(hold, 40)
    await forget(worker, "done")
    worker.waits.clear()
    for hold in holds:
        age(hold, 15 * 60)
        hold.settled = False
        whole = record(hold.id, cost=40, admitted_ns=hold.admitted_ns)
        worker.counters.settle(hold, 40, whole.tokens, entry=encode(whole))
    assert await worker.counters.drain(10)
    await worker.rebuilder.ensure(TENANT, 30)
    assert await worker.state() == CapState(50 * 40)
    assert len(worker.waits) == 1


async def test_what_is_settled_and_too_old_to_be_sure_of_is_not_held_again(make):
    """The pulse of whoever is back comes before the settlement whose reply was lost."""
    worker = make("a")
    hold = await worker.admit("a", 100)
    await worker.settle(hold, 40)
    await forget(worker, "done")
    age(hold, 15 * 60)
    assert (await worker.counters.pulse(TENANT, [hold])).asserted == 0
    hold.settled = False
    assert (await worker.counters.pulse(TENANT, [hold])).asserted == 1, "a call that lasts long is"
