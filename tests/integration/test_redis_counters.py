"""Counters in Redis: what only a server can do to them. What they promise everywhere is in tests/contract."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from counting_shared import SharedCounters, shared_counters
from redis_servers import RedisServer

from tokenrouter.clock import ManualClock
from tokenrouter.errors import Unavailable
from tokenrouter.model.admission import Admitted, Ask, Bound, CapState, Crossing, Hold, NeedsRebuild, Refused, Worst
from tokenrouter.model.principal import Principal
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.rules import MOST_CAP, Cap, Limit, Rules
from tokenrouter.quota.rules import Binder
from tokenrouter.storage import redis_keys
from tokenrouter.storage.ledger_entries import Entry, read_entry
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_counters import RedisCounters
from tokenrouter.storage.redis_keeper import BEATS, SWEEPS, RedisKeeper
from tokenrouter.storage.redis_link import RedisAway
from tokenrouter.storage.redis_rebuild import Sum

USD = 1_000_000_000
DIME = USD // 10


def bind(tenant: str, *rules: Limit | Cap) -> Bound:
    """What binds a caller of a tenant that has these rules."""
    limits = tuple(rule for rule in rules if isinstance(rule, Limit))
    made = Rules(limits=limits, caps=tuple(rule for rule in rules if isinstance(rule, Cap)))
    return Binder().bind(Principal(key_id="k1", tenant=tenant, rules=made), "", "openai/gpt-4.1")


async def eventually(true: Callable[[], Awaitable[object] | bool]) -> None:
    """Until what other tasks and servers do has come about."""
    for _ in range(3000):
        done = true()
        if done if isinstance(done, bool) else await done:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came about")


CAP = Cap(id="cap", amount=5 * USD, period="total")
BOUND = bind("acme", CAP)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def counters(redis_url: str, clock: ManualClock) -> AsyncIterator[SharedCounters]:
    async with shared_counters(redis_url, clock=clock) as made:
        yield made


def ask(request_id: str = "r", usd: int = DIME, tokens: int = 0, *, intent: bytes = b"", lease: bool = False, requests: bool = True) -> Ask:
    return Ask(id=request_id, requests=requests, lease=lease, worst=Worst(usd, tokens, sandbox=False), intent=intent)


def intent(request_id: str, tenant: str = "acme") -> bytes:
    record = RequestRecord(id=request_id, time_ns=1, key_id="k1", tenant=tenant, dialect="openai-chat", model_asked="m")
    return msgspec.json.encode(record)


async def hold(counters: RedisCounters, asked: Ask | None = None, bound: Bound = BOUND) -> Hold:
    given = await counters.admit(bound, asked or ask())
    assert given.hold is not None
    return given.hold


async def state(counters: RedisCounters, counter: str = "c:cap") -> CapState:
    assert await counters.drain(30)
    return await counters.cap_state("acme", counter)


async def ledger(client: RedisClient, tenant: str = "acme") -> list[Entry]:
    key = redis_keys.ledger(tenant)
    told = await client.command(key, "XRANGE", key, "-", "+")
    return [read_entry(place, dict(zip(fields[::2], fields[1::2], strict=True))) for place, fields in told]


async def everything(client: RedisClient, key: bytes = b"x") -> dict[bytes, object]:
    """All that one server holds."""
    found: dict[bytes, object] = {}
    for name in await client.command(key, "KEYS", "*"):
        found[name] = await client.command(name, "DUMP", name), await client.command(name, "PTTL", name)
    return found


async def answers(client: RedisClient) -> bool:
    """Whether the server is there."""
    try:
        await client.command(b"x", "PING")
    except RedisAway:
        return False
    return True


# Races and retries


@pytest.mark.parametrize("seed", range(20))
async def test_workers_that_race_get_exactly_what_the_cap_allows(redis_url: str, seed: int) -> None:
    """300 x $0.10 on a $5.00 cap, from two workers."""
    async with shared_counters(redis_url) as one, shared_counters(redis_url) as other:
        workers = [one, other] * 150
        random.Random(seed).shuffle(workers)
        got = await asyncio.gather(*(worker.admit(BOUND, ask(f"r{number}")) for number, worker in enumerate(workers)), return_exceptions=True)
        given = [each for each in got if isinstance(each, Admitted)]
        assert len(given) == 50
        assert all(isinstance(each, Refused) for each in got if not isinstance(each, Admitted))
        assert await state(one) == CapState(held=5 * USD)
        for number, each in enumerate(given):
            (one, other)[number % 2].settle(each.hold, DIME, 0)
        assert await other.drain(30)
        assert await state(one) == CapState(spent=5 * USD)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
async def test_a_thousand_racers_of_two_workers_get_exactly_what_the_cap_allows(redis_url: str, seed: int) -> None:
    async with shared_counters(redis_url) as one, shared_counters(redis_url) as other:
        workers = [one, other] * 500
        random.Random(seed).shuffle(workers)
        got = await asyncio.gather(*(worker.admit(BOUND, ask(f"r{number}")) for number, worker in enumerate(workers)), return_exceptions=True)
        assert sum(isinstance(each, Admitted) for each in got) == 50
        assert await state(one) == CapState(held=5 * USD)


async def test_lost_scripts_cost_no_error_and_counters_stay_exact(redis_url: str, redis_server: RedisServer) -> None:
    """SCRIPT FLUSH over and over, while 300 requests come and go."""
    bound = bind("acme", CAP, Limit(id="l", metric="tokens", amount=100_000, kind="sliding"), Limit(id="p", metric="concurrency", amount=300))
    async with shared_counters(redis_url) as counters:
        flushing = redis_server.admin
        running = asyncio.Event()

        async def flush() -> None:
            while not running.is_set():
                flushing.script_flush()
                await asyncio.sleep(0.01)

        flusher = asyncio.create_task(flush())

        async def run(number: int) -> None:
            given = await counters.admit(bound, ask(f"r{number}", 1000, 100, lease=True))
            await asyncio.sleep(0)
            counters.settle(given.hold, 7, 5)
            counters.leave(given.ticket)

        for _ in range(10):
            await asyncio.gather(*(run(number) for number in range(30)))
        running.set()
        await flusher
        flushing.close()
        assert await state(counters) == CapState(spent=300 * 7)
        look = await counters.look(bound, sandbox=False)
        assert [each.left for each in look.limits] == [300, 100_000 - 300 * 5]


async def test_a_settlement_whose_reply_was_lost_is_booked_once(own_redis: RedisServer) -> None:
    async with shared_counters(own_redis.url, timeout_s=0.1) as counters:
        first = await hold(counters, ask(intent=intent("r")))
        await counters.drain(5)
        own_redis.pause()
        counters.settle(first, 7, 0, entry=intent("r"))
        await eventually(lambda: counters.problem != "")
        own_redis.resume()
        assert await counters.drain(20)
        assert await counters.cap_state("acme", "c:cap") == CapState(spent=7)
        assert [entry.kind for entry in await ledger(counters.client)] == ["i", "s"], "and the ledger was told once"


async def test_an_admission_whose_reply_was_lost_is_given_back(own_redis: RedisServer) -> None:
    """The script may have run, or may run yet when the server wakes up: in either case nothing stays taken."""
    bound = bind("acme", CAP, Limit(id="p", metric="concurrency", amount=2), Limit(id="t", metric="tokens", amount=1000, kind="sliding"))
    async with shared_counters(own_redis.url, timeout_s=0.1) as counters:
        (await counters.admit(bound, ask("first", lease=True, tokens=10)))
        own_redis.pause()
        began = time.monotonic()
        with pytest.raises(RedisAway) as away:
            await counters.admit(bound, ask("second", lease=True, tokens=10, intent=intent("second")))
        assert away.value.may_have_run
        assert time.monotonic() - began < 2, "a hung server holds nobody"
        own_redis.resume()
        assert await counters.drain(20)
        look = await counters.look(bound, sandbox=False)
        assert {each.limit.id: each.left for each in look.limits} == {"p": 1, "t": 990}
        assert look.caps[0].state == CapState(held=DIME)
        kinds = [entry.kind for entry in await ledger(counters.client)]
        assert kinds in ([], ["i", "v"]), "an intent that was told is taken back"


async def test_an_admission_that_arrives_after_it_was_given_up_is_refused(counters: SharedCounters, clock: ManualClock) -> None:
    await hold(counters)
    asking = counters._asked(BOUND, ask("late"), requests=True, answer=None)
    counters._give_up(asking, ask("late"))
    await counters.drain(5)
    told = await counters.client.run(counters._admit, asking.keys, (asking.name, "late", str(counters.now_ms()), "", *asking.args))
    assert told[0] == 4
    assert await state(counters) == CapState(held=DIME)


async def test_a_caller_that_hangs_up_while_it_asks_holds_nothing(counters: SharedCounters) -> None:
    await hold(counters)
    asking = asyncio.create_task(counters.admit(BOUND, ask("gone")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await state(counters) == CapState(held=DIME)


async def test_a_request_may_ask_again_under_its_id_once_its_first_hold_is_over(counters: SharedCounters) -> None:
    first = await hold(counters)
    counters.void(first)
    second = await hold(counters)
    counters.settle(second, 5, 0)
    assert await state(counters) == CapState(spent=5)


async def test_too_much_that_waits_stops_admission(own_redis: RedisServer) -> None:
    client = RedisClient(own_redis.url, timeout_s=0.1)
    counters = RedisCounters(client, most_waiting=3)
    bound = bind("acme", Limit(id="p", metric="concurrency", amount=10))
    tickets = [(await counters.admit(bound, Ask(id=f"r{number}", lease=True))).ticket for number in range(5)]
    await counters.drain(5)
    own_redis.kill()
    for ticket in tickets:
        counters.leave(ticket)
    assert counters.backlog == 5
    await eventually(lambda: counters.problem != "")
    with pytest.raises(Unavailable, match="settlements wait"):
        await counters.admit(bound, Ask(id="more"))
    own_redis.start()
    assert await counters.drain(20), "nothing that waited was dropped"
    await counters.admit(bound, Ask(id="more"))
    await counters.aclose()
    await client.aclose()


# Nothing half-way


def _rules() -> Bound:
    return bind(
        "acme",
        CAP,
        Cap(id="day", amount=5 * USD, period="day"),
        Limit(id="b", metric="requests", amount=100),
        Limit(id="w", metric="tokens", amount=1000, kind="sliding"),
        Limit(id="tb", metric="tokens", amount=1000),
        Limit(id="p", metric="concurrency", amount=5),
    )


@pytest.mark.parametrize("what", ["admit", "settle", "grow", "leave", "pulse", "assert", "expire", "sweep", "seed"])
async def test_a_key_of_another_kind_leaves_nothing_written(redis_url: str, clock: ManualClock, what: str) -> None:
    """Every key that a script names is made wrong, one after the other: it fails before it has written anything."""
    found_wrong = 0
    for broken in range(25):
        async with shared_counters(redis_url, clock=clock) as counters:
            client, bound = counters.client, _rules()
            await client.command(b"x", "FLUSHALL")
            given = await counters.admit(bound, ask("held", tokens=10, lease=True, intent=intent("held")))
            await counters.drain(5)
            live = given.hold
            if what == "assert":
                await client.command(b"x", "HDEL", "tr:{acme}:hold", live.name)
                await client.command(b"x", "ZREM", "tr:{acme}:holds", live.name)
            if what in ("expire", "sweep"):
                clock.advance(2 * 86_400)
            rebuild = None
            if what == "seed":
                await client.command(b"x", "DEL", "tr:{acme}:epoch")
                rebuild = await counters.rebuilds.begin_rebuild("acme")
            keys = sorted(
                {*await client.command(b"x", "KEYS", "tr:{acme}:*"), *(redis_keys.prefix("acme") + name for name in (b"done", b"presumed"))}
            )
            if broken >= len(keys):
                break
            if keys[broken] != b"tr:{acme}:epoch" or what != "seed":
                await client.command(b"x", "DEL", keys[broken])
                await client.command(b"x", "SET", keys[broken], "x")
            before = await everything(client)
            try:
                if what == "admit":
                    await RedisCounters.admit(counters, bound, ask("more", tokens=10, lease=True, intent=intent("more")))
                elif what in ("settle", "grow", "leave"):
                    if what == "settle":
                        counters.settle(live, 5, 5, entry=intent("held"))
                    elif what == "grow":
                        counters.grow(live, 2 * DIME, 50)
                    else:
                        counters.leave(given.ticket)
                    if not await counters.drain(0.05):
                        raise Unavailable(counters.problem)
                elif what == "pulse":
                    clock.advance(1)
                    await counters.pulse("acme", [live], [given.ticket])
                elif what == "assert":
                    await counters.pulse("acme", [live])
                elif what == "expire":
                    await counters.expire("acme")
                elif what == "sweep":
                    await counters.sweep("acme")
                else:
                    await counters.rebuilds.seed(rebuild, {})
            except Unavailable:
                found_wrong += 1
                assert await everything(client) == before, keys[broken]
            await client.command(b"x", "DEL", keys[broken])
    assert found_wrong >= (1 if what == "leave" else 3), "the keys are where they are looked for"


@pytest.mark.parametrize("field", ["spent", "held", "presumed"])
@pytest.mark.parametrize("value", ["abc", "1.5", "9223372036854775807", ""])
async def test_a_counter_that_is_no_number_refuses_and_leaves_nothing_written(counters: SharedCounters, field: str, value: str) -> None:
    bound = bind("acme", Cap(id="first", amount=USD, period="total"), CAP)
    live = await hold(counters, ask("a"), bound)
    await counters.drain(5)
    await counters.client.command(b"x", "HSET", "tr:{acme}:c:cap", field, value)
    before = await everything(counters.client)
    with pytest.raises(Unavailable):
        await counters.admit(bound, ask("b"))
    counters.settle(live, 1, 0)
    assert not await counters.drain(0.05)
    assert "tr:{" not in str(await everything(counters.client)) or await everything(counters.client) == before
    await counters.client.command(b"x", "HSET", "tr:{acme}:c:cap", field, str(DIME) if field == "held" else "0")
    assert await counters.drain(20), "once it is mended, what waited is booked"
    assert await state(counters) == CapState(spent=1)


@pytest.mark.parametrize(("usd", "tokens"), [(1 << 53, 0), (0, 1 << 53), (-1, 0), (0, -1)])
async def test_numbers_that_lua_can_not_count_exactly_are_refused(counters: SharedCounters, usd: int, tokens: int) -> None:
    with pytest.raises(ValueError, match="below 0 or above"):
        await counters.admit(BOUND, ask("r", usd, tokens))
    for rule in (Cap(id="c", amount=1 << 53), Limit(id="l", metric="requests", amount=1 << 40), Limit(id="l", metric="requests", amount=-1)):
        with pytest.raises(ValueError, match="below 0 or above"):
            await counters.admit(bind("acme", rule), ask("r"))


async def test_the_largest_numbers_are_counted_exactly(counters: SharedCounters) -> None:
    largest = bind("acme", Cap(id="cap", amount=MOST_CAP, period="total"))
    first = await hold(counters, ask("a", MOST_CAP - 1), largest)
    with pytest.raises(Refused) as refused:
        await counters.admit(largest, ask("b", 2))
    assert refused.value.refusal.left == 1
    await hold(counters, ask("c", 1), largest)
    counters.settle(first, MOST_CAP - 2, 0)
    assert await state(counters) == CapState(spent=MOST_CAP - 2, held=1)


# Leases


async def test_a_hold_that_nobody_renews_is_presumed_spent_and_the_late_truth_replaces_it(counters: SharedCounters, clock: ManualClock) -> None:
    bound = bind("acme", CAP, Limit(id="t", metric="tokens", amount=1000, kind="sliding", window="hour"))
    live = await hold(counters, ask("r", tokens=100, intent=intent("r")), bound)
    clock.advance(59.999)
    assert await counters.expire("acme") == ()
    clock.advance(0.001)
    expired = await counters.expire("acme")
    assert [(each.id, each.usd, each.tokens, each.intent) for each in expired] == [("r", DIME, 100, intent("r").decode())]
    assert await counters.expire("acme") == (), "once"
    assert await state(counters) == CapState(presumed=DIME)
    assert [(entry.kind, entry.held, entry.held_tokens, entry.record) for entry in await ledger(counters.client)] == [
        ("i", DIME, 100, intent("r")),
        ("p", DIME, 100, intent("r")),
    ]
    counters.settle(live, 3, 40, entry=intent("r"))
    assert await state(counters) == CapState(spent=3)
    assert (await ledger(counters.client))[-1].late
    assert (await counters.look(bound, sandbox=False)).limits[0].left == 960, "and the tokens that it did not use are given back"


async def test_a_hold_that_its_owner_renews_does_not_lapse(counters: SharedCounters, clock: ManualClock) -> None:
    await hold(counters)
    for _ in range(10):
        clock.advance(20)
        await counters.beat()
        assert await counters.expire("acme") == ()
    assert await state(counters) == CapState(held=DIME)


async def test_a_presumed_hold_is_not_brought_back_by_a_pulse(counters: SharedCounters, clock: ManualClock) -> None:
    live = await hold(counters)
    clock.advance(60)
    await counters.expire("acme")
    found = await counters.pulse("acme", [live])
    assert found.asserted == 0
    assert await state(counters) == CapState(presumed=DIME)


async def test_places_that_nobody_renews_are_free_again(counters: SharedCounters, clock: ManualClock) -> None:
    bound = bind("acme", Limit(id="p", metric="concurrency", amount=1))
    given = await counters.admit(bound, Ask(id="a", lease=True))
    clock.advance(40)
    await counters.beat()
    clock.advance(59)
    with pytest.raises(Refused):
        await counters.admit(bound, Ask(id="b", lease=True))
    clock.advance(1)
    second = await counters.admit(bound, Ask(id="b", lease=True))
    counters.leave(given.ticket)
    await counters.drain(5)
    with pytest.raises(Refused):
        await counters.admit(bound, Ask(id="c", lease=True))
    counters.leave(second.ticket)


async def test_a_hold_that_grew_is_released_whole(counters: SharedCounters, clock: ManualClock) -> None:
    live = await hold(counters)
    counters.grow(live, 3 * DIME, 0)
    counters.grow(live, 2 * DIME, 0)
    assert await state(counters) == CapState(held=3 * DIME)
    clock.advance(60)
    assert [each.usd for each in await counters.expire("acme")] == [3 * DIME]
    counters.grow(live, 4 * DIME, 0)
    assert await state(counters) == CapState(presumed=3 * DIME), "too late"
    counters.settle(live, 1, 0)
    assert await state(counters) == CapState(spent=1)


async def test_the_keeper_renews_what_lives_and_presumes_what_is_left(redis_url: str, clock: ManualClock) -> None:
    told: list[str] = []
    async with shared_counters(redis_url, clock=clock) as dead, shared_counters(redis_url, clock=clock) as alive:
        await hold(dead, ask("lost"))
        await hold(alive, ask("kept"))
        await asyncio.gather(dead.drain(5), alive.drain(5))
        keeper = RedisKeeper(alive, expired=lambda tenant, records: told.extend(f"{tenant} {each.id}" for each in records))
        for _ in range(3 * BEATS):
            clock.advance(1)
            await keeper.round()
        assert told == ["acme lost"]
        assert await alive.cap_state("acme", "c:cap") == CapState(held=DIME, presumed=DIME)
        await keeper.aclose()


# Periods


async def test_a_worker_whose_clock_is_wrong_books_in_the_servers_period(redis_url: str, redis_server: RedisServer) -> None:
    bound = bind("acme", Cap(id="day", amount=USD, period="day"))
    with redis_server.admin as admin:
        seconds = int(admin.time()[0])
    async with shared_counters(redis_url) as counters:
        await counters.look(bound, sandbox=False)  # the counters are there, so that nothing but the period can be wrong
        counters._ahead_ms -= 40 * 86_400_000
        live = await hold(counters, ask(), bound)
        assert live.caps[0].counter in {f"c:day:{time.strftime('%Y-%m-%d', time.gmtime(seconds + more))}" for more in (0, 60)}
        assert abs(counters.now_ms() - seconds * 1000) < 60_000
        assert abs(live.admitted_ns // 10**9 - seconds) < 60


async def test_what_is_over_is_forgotten_and_what_is_held_is_not(counters: SharedCounters, clock: ManualClock) -> None:
    bound = bind("acme", Cap(id="day", amount=USD, period="day"), CAP, Limit(id="p", metric="concurrency", amount=5))
    done, live = await hold(counters, ask("done"), bound), await hold(counters, ask("live"), bound)
    await counters.admit(bound, Ask(id="placed", lease=True))
    day = done.caps[0].counter
    counters.settle(done, 5, 0)
    await counters.drain(5)
    clock.advance(2 * 86_400)
    await counters.sweep("acme")
    assert await state(counters, day) == CapState(spent=5, held=DIME), "a call that lasts for days still holds something on it"
    counters.settle(live, 7, 0)
    assert await state(counters, day) == CapState(spent=12)
    clock.advance(86_400)
    await counters.sweep("acme")
    assert await state(counters, day) == CapState()
    assert await state(counters) == CapState(spent=12), "a cap without a period is never over"
    left = {key.decode() for key in await counters.client.command(b"x", "KEYS", "tr:{acme}:*")}
    assert left == {"tr:{acme}:epoch", "tr:{acme}:index", "tr:{acme}:c:cap"}


async def test_a_counter_that_was_forgotten_and_is_settled_late_is_left_to_the_ledger(counters: SharedCounters, clock: ManualClock) -> None:
    bound = bind("acme", Cap(id="day", amount=USD, period="day"))
    live = await hold(counters, ask("live"), bound)
    day = live.caps[0].counter
    clock.advance(60)
    await counters.expire("acme")
    clock.advance(2 * 86_400)
    await counters.sweep("acme")
    counters.settle(live, 7, 0, entry=intent("live"))
    assert await counters.drain(5)
    assert [(entry.kind, entry.id) for entry in await ledger(counters.client)] == [("s", "live")]
    assert not await counters.rebuilds.ready("acme")
    assert await counters.client.command(b"x", "EXISTS", "tr:{acme}:" + day) == 0


@pytest.mark.parametrize(("minutes", "sure"), [(0, True), (14.9, True), (15, False), (3000, False)])
async def test_a_settlement_that_is_told_again_is_booked_once_however_late(
    counters: SharedCounters, clock: ManualClock, minutes: float, *, sure: bool
) -> None:
    """As long as names are remembered it is known to be booked; after that, the ledger is asked."""
    wanted: list[str] = []
    counters._needs_rebuild = wanted.append
    first, other = await hold(counters, ask("first")), await hold(counters, ask("other"))
    counters.settle(first, 7, 0, entry=intent("first"))
    clock.advance(minutes * 60)
    counters.settle(other, 5, 0)
    assert await state(counters) == CapState(spent=12)
    first.settled = False
    counters.settle(first, 7, 0, entry=intent("first"))
    assert await counters.drain(5)
    assert [entry.id for entry in await ledger(counters.client)] == ["first"] * (1 if sure else 2)
    assert (wanted, await counters.rebuilds.ready("acme")) == (([], True) if sure else (["acme"], False))
    assert await counters.client.command(b"x", "HGET", "tr:{acme}:c:cap", "spent") == b"12"


async def test_who_makes_counters_again_begins_anew_where_a_settlement_is_left_to_the_ledger_meanwhile(
    counters: SharedCounters, clock: ManualClock
) -> None:
    """The ledger may have been summed up before it was told."""
    live = await hold(counters)
    counters.settle(live, 7, 0, entry=intent("r"))
    await counters.drain(5)
    clock.advance(900)
    await counters.sweep("acme")
    await counters.rebuilds.forget("acme")
    rebuild = await counters.rebuilds.begin_rebuild("acme")
    live.settled = False
    counters.settle(live, 7, 0, entry=intent("r"))
    assert await counters.drain(5)
    assert not await counters.rebuilds.seed(rebuild, {"c:cap": Sum(0, 0)})
    assert await counters.rebuilds.begin_rebuild("acme") is not None


@pytest.mark.parametrize(("hours", "sure"), [(23, True), (24, False)])
async def test_what_may_have_been_given_and_presumed_is_given_up_however_late(
    counters: SharedCounters, clock: ManualClock, hours: int, *, sure: bool
) -> None:
    asking = counters._asked(BOUND, ask("r"), requests=True, answer=None)
    clock.advance(hours * 3600)
    await hold(counters, ask("other"))
    counters._resolve(asking.hold(ask("r"), Worst(DIME, 0, sandbox=False), counters.now_ms() - hours * 3_600_000, ()), "u", 0, 0, b"")
    assert await counters.drain(5)
    assert await counters.rebuilds.ready("acme") is sure


async def test_limits_are_forgotten_when_they_are_whole(redis_url: str) -> None:
    bound = bind("acme", Limit(id="b", metric="requests", amount=6), Limit(id="w", metric="requests", amount=5, kind="sliding"))
    async with shared_counters(redis_url) as counters:
        await counters.admit(bound, Ask(id="a"))
        ttls = {key: await counters.client.command(key, "PTTL", key) for key in await counters.client.command(b"x", "KEYS", "tr:{acme}:*")}
        assert set(ttls) == {b"tr:{acme}:l:b", b"tr:{acme}:l:w", b"tr:{acme}:w:l:w"}
        assert 9_000 < ttls[b"tr:{acme}:l:b"] <= 10_001
        assert all(59_000 < ttls[key] <= 60_002 for key in (b"tr:{acme}:l:w", b"tr:{acme}:w:l:w"))


async def test_money_and_places_are_never_evicted(counters: SharedCounters) -> None:
    """Only what may be lost has a time to live: kept answers and limits that fill up by themselves."""
    await counters.admit(_rules(), ask("a", tokens=10, lease=True, intent=intent("a")))
    await counters.drain(5)
    for key in await counters.client.command(b"x", "KEYS", "tr:{acme}:*"):
        assert await counters.client.command(key, "PTTL", key) == -1, key


# Kept answers


@pytest.mark.parametrize("kept", [b"\xc1", b""])
async def test_a_kept_answer_that_can_not_be_read_is_no_answer_and_costs_one_request(counters: SharedCounters, kept: bytes) -> None:
    bound = bind("acme", CAP, Limit(id="b", metric="requests", amount=10))
    key = redis_keys.answer("acme", b"\x01")
    await counters.client.command(key, "SET", key, kept)
    await counters.look(bound, sandbox=False)
    given = await counters.admit(bound, Ask(id="a", worst=Worst(5, 0, sandbox=False), answer=b"\x01"))
    assert given.kept is None
    assert given.hold is not None
    assert given.requests.remaining == 9


async def test_an_answers_key_of_another_kind_is_no_answer(counters: SharedCounters) -> None:
    key = redis_keys.answer("acme", b"\x01")
    await counters.client.command(key, "SADD", key, "x")
    given = await counters.admit(BOUND, Ask(id="a", worst=Worst(5, 0, sandbox=False), answer=b"\x01"))
    assert given.hold is not None


# The ledger


async def test_the_ledger_is_told_of_what_is_held_in_the_same_scripts(counters: SharedCounters) -> None:
    first = await hold(counters, ask("a", 5, 3, intent=intent("a")))
    second = await hold(counters, ask("b", 6, 4, intent=intent("b")))
    await hold(counters, ask("c", 7, 5))
    with pytest.raises(Refused):
        await counters.admit(BOUND, ask("d", 10 * USD, intent=intent("d")))
    counters.settle(first, 2, 1, entry=b'{"settled":1}')
    counters.void(second)
    counters.void(second)
    assert await counters.drain(5)
    at = counters.now_ms() * 1_000_000
    entries = [msgspec.structs.replace(entry, place="") for entry in await ledger(counters.client)]
    assert entries == [
        Entry("i", "a", intent("a"), 5, 3, at),
        Entry("i", "b", intent("b"), 6, 4, at),
        Entry("s", "a", b'{"settled":1}', 5, 3, at),
        Entry("v", "b", b"", 6, 4, at),
    ]


async def test_shares_are_told_once_by_whoever_reaches_them(redis_url: str, clock: ManualClock) -> None:
    told: list[Crossing] = []
    async with (
        shared_counters(redis_url, clock=clock, crossed=told.append) as one,
        shared_counters(redis_url, clock=clock, crossed=told.append) as other,
    ):
        holds = [await hold((one, other)[number % 2], ask(f"r{number}")) for number in range(50)]
        for number, each in enumerate(holds):
            (one, other)[number % 2].settle(each, DIME, 0)
        await asyncio.gather(one.drain(5), other.drain(5))
    assert sorted((each.share, each.tenant, each.counter) for each in told) == [(80, "acme", "c:cap"), (95, "acme", "c:cap")]
    assert all(each.spent >= each.share * 5 * USD // 100 for each in told)


# Lost counters


async def test_without_counters_nothing_that_has_caps_is_admitted_and_nothing_is_written(redis_url: str, clock: ManualClock) -> None:
    client = RedisClient(redis_url, timeout_s=2)
    counters = RedisCounters(client, clock=clock)
    with pytest.raises(NeedsRebuild) as needs:
        await counters.admit(_rules(), ask("a", tokens=10, lease=True, intent=intent("a")))
    assert needs.value.name == "acme"
    assert await client.command(b"x", "KEYS", "*") == [b"tr:{acme}:epoch"]
    epoch = await client.command(b"x", "HGET", "tr:{acme}:epoch", "id")
    clock.advance(1)
    with pytest.raises(NeedsRebuild):
        await counters.admit(BOUND, ask("b"))
    assert await client.command(b"x", "HGET", "tr:{acme}:epoch", "id") == epoch, "it is the same rebuild still"
    assert (await counters.admit(bind("acme", Limit(id="l", metric="requests", amount=1)), ask("c"))).hold is not None, "without caps it goes on"
    await counters.aclose()
    await client.aclose()


async def test_counters_come_back_with_the_ledgers_sums_and_every_hold_counts_once(counters: SharedCounters, clock: ManualClock) -> None:
    """Redis comes back empty. One owner tells at once, one after the ledger was read, one never."""
    client, rebuilds = counters.client, counters.rebuilds
    spent = await hold(counters, ask("spent"))
    counters.settle(spent, DIME, 0)
    early, late, never = [await hold(counters, ask(name, intent=intent(name))) for name in ("early", "late", "never")]
    await counters.drain(5)
    counters._holdings.known.clear()  # who owns them sees nothing by itself
    await client.command(b"x", "FLUSHALL")
    with pytest.raises(NeedsRebuild):
        await RedisCounters.admit(counters, BOUND, ask("next"))
    await counters.pulse("acme", [early])
    rebuild = await rebuilds.begin_rebuild("acme")
    assert [each.id for each in await rebuilds.asserted("acme")] == ["early"]
    await counters.pulse("acme", [late])
    from_ledger = {"c:cap": Sum(DIME, 2 * DIME)}
    assert await rebuilds.seed(rebuild, from_ledger, presumed=["late", "never"])
    assert await state(counters) == CapState(spent=DIME, held=DIME, presumed=2 * DIME)
    for number, each in enumerate((early, late, never), 1):
        counters.settle(each, number, 0, entry=intent(each.id))
    assert await state(counters) == CapState(spent=DIME + 6)
    kinds = [(entry.kind, entry.id, entry.late) for entry in await ledger(client)]
    assert kinds == [("i", "early", False), ("i", "late", False), ("s", "early", False), ("s", "late", True), ("s", "never", True)]


async def test_a_hold_that_was_told_of_after_the_counters_are_back_is_held_again(counters: SharedCounters) -> None:
    live = await hold(counters)
    await counters.client.command(b"x", "FLUSHALL")
    rebuild = await counters.rebuilds.begin_rebuild("acme")
    assert await counters.rebuilds.seed(rebuild, {})
    assert await state(counters) == CapState()
    assert (await counters.pulse("acme", [live])).asserted == 1
    assert (await counters.pulse("acme", [live])).asserted == 0
    assert await state(counters) == CapState(held=DIME)
    counters.settle(live, 1, 0)
    assert await state(counters) == CapState(spent=1)


async def test_a_settlement_that_meets_no_counters_waits_for_them(redis_url: str, clock: ManualClock) -> None:
    wanted: list[str] = []
    client = RedisClient(redis_url, timeout_s=2)
    counters = SharedCounters(client, clock=clock)
    counters._needs_rebuild = wanted.append
    live = await hold(counters)
    await client.command(b"x", "FLUSHALL")
    counters.settle(live, 7, 0, entry=intent("r"))
    assert not await counters.drain(0.05)
    assert set(wanted) == {"acme"}
    assert "rebuilt" in counters.problem
    assert (await counters.pulse("acme", [live])).asserted == 1, "until it is booked, its owner says that it is held"
    rebuild = await counters.rebuilds.begin_rebuild("acme")
    assert await counters.rebuilds.seed(rebuild, {"c:cap": Sum(100, 0)})
    assert await counters.drain(20)
    assert await counters.cap_state("acme", "c:cap") == CapState(spent=107)
    await counters.aclose()
    await client.aclose()


async def test_a_hold_that_the_ledger_knows_to_be_settled_is_not_held_again(counters: SharedCounters) -> None:
    live = await hold(counters)
    await counters.client.command(b"x", "FLUSHALL")
    await counters.pulse("acme", [live])
    rebuild = await counters.rebuilds.begin_rebuild("acme")
    assert await counters.rebuilds.seed(rebuild, {"c:cap": Sum(7, 0)}, settled=["r"])
    counters.settle(live, 7, 0)
    assert await state(counters) == CapState(spent=7), "not twice"


async def test_one_process_rebuilds_at_a_time_and_only_its_own_rebuild(redis_url: str, clock: ManualClock) -> None:
    async with shared_counters(redis_url, clock=clock) as one, shared_counters(redis_url, clock=clock) as other:
        first = await one.rebuilds.begin_rebuild("acme")
        assert await other.rebuilds.begin_rebuild("acme") is None
        assert await one.rebuilds.begin_rebuild("acme") == first
        clock.advance(30)
        second = await other.rebuilds.begin_rebuild("acme")
        assert second is not None, "the first one is gone"
        assert not await one.rebuilds.seed(first, {"c:cap": Sum(1, 0)})
        assert not await other.rebuilds.ready("acme")
        assert await other.rebuilds.seed(second, {"c:cap": Sum(2, 0)})
        assert await one.rebuilds.ready("acme")
        assert await one.rebuilds.begin_rebuild("acme") is None, "the counters are there"
        assert not await other.rebuilds.seed(second, {"c:cap": Sum(3, 0)}), "once"
        assert await one.cap_state("acme", "c:cap") == CapState(spent=2)


async def test_thousands_of_counters_are_seeded_in_parts(counters: SharedCounters) -> None:
    sums = {f"c:cap:c={number}": Sum(number, 1) for number in range(2_501)}
    live = await hold(counters, ask("a"), bind("acme", CAP))
    await counters.client.command(b"x", "DEL", "tr:{acme}:epoch")
    rebuild = await counters.rebuilds.begin_rebuild("acme")
    assert await counters.rebuilds.seed(rebuild, {**sums, "c:cap": Sum(5, 0)})
    for number in (0, 999, 1_000, 2_500):
        assert await counters.cap_state("acme", f"c:cap:c={number}") == CapState(spent=number, presumed=1)
    assert await counters.cap_state("acme", "c:cap") == CapState(spent=5, held=DIME)
    counters.settle(live, 1, 0)
    assert await state(counters) == CapState(spent=6)


async def test_what_is_left_from_before_is_not_counted_on_top(counters: SharedCounters) -> None:
    """Only the epoch was lost: counters and holds are there, and stale."""
    live = await hold(counters)
    gone = await hold(counters, ask("gone"), bind("acme", Cap(id="old", amount=USD, period="total")))
    counters.settle(gone, 9, 0)
    await counters.drain(5)
    await counters.client.command(b"x", "DEL", "tr:{acme}:epoch")
    rebuild = await counters.rebuilds.begin_rebuild("acme")
    assert await counters.rebuilds.seed(rebuild, {"c:cap": Sum(5, 0)})
    assert await state(counters) == CapState(spent=5, held=DIME)
    assert await state(counters, "c:old") == CapState()
    counters.settle(live, 1, 0)
    assert await state(counters) == CapState(spent=6)


async def test_shares_that_the_ledger_knows_of_are_not_told_again(redis_url: str, clock: ManualClock) -> None:
    told: list[Crossing] = []
    async with shared_counters(redis_url, clock=clock, crossed=told.append) as counters:
        rebuild = await counters.rebuilds.begin_rebuild("acme")
        assert await counters.rebuilds.seed(rebuild, {"c:cap": Sum(42 * DIME, 0)})
        for number in range(8):
            counters.settle(await hold(counters, ask(f"r{number}")), DIME, 0)
        await counters.drain(5)
    assert [each.share for each in told] == [95]


async def test_a_server_that_came_back_with_an_old_state_is_not_believed(own_redis: RedisServer) -> None:
    """Its snapshot says that the counters are there, and does not know what was spent since."""
    async with shared_counters(own_redis.url, timeout_s=1) as counters:
        counters.settle(await hold(counters, ask("a")), DIME, 0)
        await counters.drain(5)
        with own_redis.admin as admin:
            admin.save()
        counters.settle(await hold(counters, ask("b")), DIME, 0)
        await counters.drain(5)
        own_redis.kill()
        own_redis.start()
        await eventually(lambda: answers(counters.client))
        with pytest.raises(NeedsRebuild):
            await RedisCounters.admit(counters, BOUND, ask("c"))
        rebuild = await counters.rebuilds.begin_rebuild("acme")
        assert await counters.rebuilds.seed(rebuild, {"c:cap": Sum(2 * DIME, 0)})
        assert await counters.cap_state("acme", "c:cap") == CapState(spent=2 * DIME)
        await hold(counters, ask("d"))


async def test_owners_tell_what_they_hold_as_soon_as_they_see_that_it_was_lost(redis_url: str, clock: ManualClock) -> None:
    async with shared_counters(redis_url, clock=clock) as owner, shared_counters(redis_url, clock=clock) as driver:
        await hold(owner)
        await owner.drain(5)
        await driver.client.command(b"x", "FLUSHALL")
        rebuild = await driver.rebuilds.begin_rebuild("acme")
        keeper = RedisKeeper(owner)
        await keeper.round()
        await eventually(lambda: driver.rebuilds.asserted("acme"))
        assert await driver.rebuilds.seed(rebuild, {})
        assert await driver.cap_state("acme", "c:cap") == CapState(held=DIME)


async def test_names_of_settled_holds_are_forgotten_after_a_while(counters: SharedCounters, clock: ManualClock) -> None:
    keeper = RedisKeeper(counters)
    counters.settle(await hold(counters), 1, 0)
    await counters.drain(5)
    clock.advance(900)
    for _ in range(SWEEPS):
        await keeper.round()
    assert await counters.client.command(b"x", "EXISTS", "tr:{acme}:done") == 0
