"""Caps, in every place that counts: exact under races, all or nothing over everything that binds, and every amount booked once."""

import random
from collections import Counter
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from counting import USD, Place, answer, bind, race

from tokenrouter.model.admission import Admitted, CapState, Hold, Refusal
from tokenrouter.model.rules import EACH, Cap, Limit, Scope

DIME = USD // 10


def at(place: Place, zone: str, *moment: int) -> None:
    """Move the clock to a local time that is not over yet."""
    wanted = int(datetime(*moment, tzinfo=ZoneInfo(zone)).timestamp())
    place.advance(wanted - place.clock.time_ns() // USD)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.slow if seed > 1 else ()) for seed in range(20)])
async def test_a_thousand_racers_get_exactly_what_the_cap_allows(place: Place, seed: int):
    bound = bind(place.tenant(), Cap(id="five", amount=5 * USD, period="total"))
    got = await race([place.ask(bound, usd=DIME) for _ in range(1000)], seed)
    holds = [given.hold for given in got if isinstance(given, Admitted)]
    assert len(holds) == 50
    assert await place.state(bound, "c:five") == CapState(held=5 * USD)
    for hold in random.Random(seed).sample(holds, len(holds)):
        place.counters.settle(hold, DIME, 0)
    assert await place.state(bound, "c:five") == CapState(spent=5 * USD)
    assert isinstance(await place.ask(bound, usd=1), Refusal)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.slow if seed > 0 else ()) for seed in range(20)])
async def test_racers_under_caps_within_caps_hold_everywhere_or_nowhere(place: Place, seed: int):
    """Keys of $1, customers of $2, a tenant of $5: whoever is refused has left no trace in the other two."""
    rng, tenant = random.Random(seed), place.tenant()
    rules = [
        Cap(id="tenant", amount=5 * USD, period="month"),
        Cap(id="key", scope=Scope(key=EACH), amount=1 * USD, period="day"),
        Cap(id="customer", scope=Scope(customer=EACH), amount=2 * USD, period="total"),
        Limit(id="tokens", metric="tokens", amount=10**6, kind="sliding"),
    ]
    callers = [(f"k{rng.randrange(200)}", f"c{rng.randrange(5)}") for _ in range(1000)]
    bounds = [bind(tenant, *rules, key=key, customer=customer) for key, customer in callers]
    sizes = [rng.randrange(1, 4) * DIME for _ in callers]
    got = await race([place.ask(bound, usd=size, tokens=1) for bound, size in zip(bounds, sizes, strict=True)], seed)
    held: Counter[str] = Counter()
    for given in got:
        if isinstance(given, Admitted):
            held.update({each.counter: each.amount for each in given.hold.caps})
    most = {"tenant": 5 * USD, "key": 1 * USD, "customer": 2 * USD}
    assert sum(amount for name, amount in held.items() if name.startswith("c:tenant")) > 5 * USD - 3 * DIME
    for name, amount in held.items():
        assert await place.state(bounds[0], name) == CapState(held=amount)
        assert amount <= most[name.split(":")[1]]
    for bound in {bound.caps[1].counter: bound for bound in bounds}.values():
        for each in (await place.counters.look(bound, sandbox=False)).caps:
            assert each.state.held == held[each.counter], "who was refused left nothing"
    left = (await place.standings(bind(tenant, rules[-1])))["l:tokens"]
    assert left == 10**6 - sum(isinstance(given, Admitted) for given in got)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.slow if seed > 3 else ()) for seed in range(10)])
async def test_spent_held_and_presumed_never_exceed_the_cap(place: Place, seed: int):
    """Random sizes, failures, hang-ups, settlements late, doubled and out of order: what is booked is what was said, once."""
    rng = random.Random(seed)
    cap = Cap(id="five", amount=5 * USD, period="total")
    bound = bind(place.tenant(), cap, Cap(id="tokens", unit="tokens", amount=60_000, period="total"))
    open_, done = list[Hold](), list[Hold]()
    truth: Counter[str] = Counter()
    for _ in range(300):
        action = rng.random()
        if action < 0.5:
            usd, tokens = rng.randrange(USD // 3), rng.randrange(4000)
            given = await place.ask(bound, usd=usd, tokens=tokens)
            total = sum(truth.values()) - truth["tokens"]
            assert isinstance(given, Admitted) == (total + usd <= cap.amount and truth["tokens"] + tokens <= 60_000)
            if isinstance(given, Admitted):
                open_.append(given.hold)
                truth["held"] += usd
                truth["tokens"] += tokens
        elif action < 0.8 and open_:
            hold = open_.pop(rng.randrange(len(open_)))
            kind = rng.choice(["exact", "failed", "whole", "presumed"])
            share = {"exact": rng.random(), "failed": 0, "whole": 1, "presumed": 1}[kind]
            usd, tokens = int(hold.usd * share), int(hold.tokens * share)
            place.counters.settle(hold, usd, tokens, presumed=kind == "presumed")
            truth["held"] -= hold.usd
            truth["presumed" if kind == "presumed" else "spent"] += usd
            truth["tokens"] -= hold.tokens - tokens
            done.append(hold)
        elif done:
            place.counters.settle(rng.choice(done), rng.randrange(USD), rng.randrange(4000))
        place.advance(rng.randrange(5000) / 1000)
        state = await place.state(bound, "c:five")
        assert state == CapState(truth["spent"], truth["held"], truth["presumed"])
        assert 0 <= state.total <= cap.amount
    assert len(done) > 20
    assert (await place.state(bound, "c:tokens")).total == truth["tokens"]


async def test_more_than_was_held_is_booked_all_the_same(place: Place):
    bound = bind(place.tenant(), Cap(id="one", amount=100, period="total"))
    hold = await place.hold(bound, 60)
    place.counters.settle(hold, 150, 0)
    assert await place.state(bound, "c:one") == CapState(spent=150)
    got = await place.ask(bound, usd=0)
    assert (got.cap.id, got.left) == ("one", 0)


async def test_a_call_that_grows_is_seen_by_the_next_one(place: Place):
    bound = bind(place.tenant(), Cap(id="one", amount=100, period="total"), Cap(id="two", unit="tokens", amount=50, period="day"))
    hold = await place.hold(bound, 30, 10)
    place.counters.grow(hold, 90, 5)
    assert await place.state(bound, "c:one") == CapState(held=90)
    assert await place.state(bound, hold.caps[1].counter) == CapState(held=10), "it never shrinks"
    got = await place.ask(bound, usd=11, tokens=1)
    assert (got.cap.id, got.left, got.held) == ("one", 10, 90)
    place.counters.grow(hold, 120, 60)
    assert await place.state(bound, "c:one") == CapState(held=120), "growing is never refused"
    place.counters.settle(hold, 95, 55)
    place.counters.grow(hold, 500, 500)
    assert await place.state(bound, "c:one") == CapState(spent=95)
    assert await place.state(bound, hold.caps[1].counter) == CapState(spent=55)


async def test_the_truth_is_unknown_so_all_of_it_is_presumed(place: Place):
    bound = bind(place.tenant(), Cap(id="one", amount=100, period="total"))
    hold = await place.hold(bound, 30)
    place.counters.settle(hold, 30, 0, presumed=True)
    assert await place.state(bound, "c:one") == CapState(presumed=30)
    assert (await place.ask(bound, usd=71)).left == 70


async def test_a_cap_that_only_warns_never_refuses(place: Place):
    warn, block = Cap(id="warn", amount=100, action="warn"), Cap(id="block", amount=1000, action="block")
    bound = bind(place.tenant(), warn, block)
    quiet = await place.ask(bound, usd=100)
    assert quiet.warnings == ()
    loud = await place.ask(bound, usd=1)
    assert [cap.id for cap in loud.warnings] == ["warn"]
    assert [(each.cap.id, each.amount) for each in loud.hold.caps] == [("warn", 1), ("block", 1)]
    assert (await place.state(bound, loud.hold.caps[0].counter)).held == 101
    assert (await place.ask(bound, usd=900)).cap.id == "block"
    assert (await place.state(bound, loud.hold.caps[0].counter)).held == 101


async def test_a_cap_of_a_request_has_no_memory(place: Place):
    bound = bind(place.tenant(), Cap(id="each", amount=100, period="request"), Cap(id="soft", amount=40, period="request", action="warn"))
    for _ in range(5):
        given = await place.ask(bound, usd=100)
        assert ([cap.id for cap in given.warnings], given.hold.caps) == (["soft"], ())
        refused = await place.ask(bound, usd=101)
        assert (refused.cap.id, refused.left, refused.retry_ms, refused.resets_ms) == ("each", 100, -1, 0)


async def test_money_of_the_sandbox_is_counted_apart(place: Place):
    bound = bind(place.tenant(), Cap(id="one", amount=100, period="total"))
    real, play = await place.hold(bound, 100), await place.hold(bound, 100, sandbox=True)
    assert [hold.caps[0].counter for hold in (real, play)] == ["c:one", "sc:one"]
    assert isinstance(await place.ask(bound, usd=1), Refusal)
    assert isinstance(await place.ask(bound, usd=1, sandbox=True), Refusal)
    place.counters.settle(play, 40, 0)
    assert (await place.state(bound, "sc:one"), await place.state(bound, "c:one")) == (CapState(spent=40), CapState(held=100))


async def test_an_answer_that_is_found_is_given_though_the_cap_is_spent(place: Place):
    tenant = place.tenant()
    bound = bind(tenant, Cap(id="one", amount=100, period="total"), Limit(id="requests", metric="requests", amount=10))
    await place.hold(bound, 100)
    kept = answer(place)
    await place.keep(tenant, b"\x03" * 16, kept)
    assert (await place.ask(bound, usd=50)).cap.id == "one"
    given = await place.ask(bound, usd=50, answer=b"\x03" * 16)
    assert (given.kept, given.hold, given.requests.remaining) == (kept, None, 8)
    assert await place.state(bound, "c:one") == CapState(held=100)


EVERYTHING = (
    Limit(id="r-bucket", metric="requests", amount=50),
    Limit(id="r-sliding", metric="requests", amount=50, window="hour", kind="sliding"),
    Limit(id="places", metric="concurrency", amount=50),
    Limit(id="t-bucket", metric="tokens", amount=5000, window="day"),
    Limit(id="t-sliding", metric="tokens", amount=5000, kind="sliding"),
    Cap(id="usd", amount=5000, period="month"),
    Cap(id="all", unit="tokens", amount=5000, period="total"),
)
TIGHT = (
    Limit(id="tight", metric="requests", amount=1),
    Limit(id="tight", metric="requests", amount=1, kind="sliding"),
    Limit(id="tight", metric="concurrency", amount=1),
    Limit(id="tight", metric="tokens", amount=10),
    Limit(id="tight", metric="tokens", amount=10, kind="sliding"),
    Cap(id="tight", amount=10, period="week"),
    Cap(id="tight", unit="tokens", amount=10, period="total"),
    Cap(id="tight", amount=9, period="request"),
)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("tight", TIGHT, ids=lambda rule: f"{getattr(rule, 'metric', 'cap')}-{getattr(rule, 'kind', rule.id)}")
async def test_a_refusal_anywhere_leaves_everything_as_it_was(place: Place, tight: Limit | Cap, first: bool):
    tenant = place.tenant()
    bound = bind(tenant, *((tight, *EVERYTHING) if first else (*EVERYTHING, tight)))
    wide = bind(tenant, *EVERYTHING)
    given = await place.ask(wide, lease=True, usd=8, tokens=10)
    if not isinstance(tight, Cap) or tight.period != "request":
        await place.ask(bind(tenant, tight), lease=True, usd=8, tokens=10)
    names = [each.counter for each in given.hold.caps]

    async def everything() -> list[object]:
        return [await place.standings(wide), await place.standings(bind(tenant, tight)), *[await place.state(wide, name) for name in names]]

    before = await everything()
    for _ in range(3):
        refused = await place.ask(bound, lease=True, usd=10, tokens=10)
        assert (refused.limit or refused.cap).id == "tight"
    assert await everything() == before


async def test_refusals_come_in_order(place: Place):
    """Requests before places, places before tokens, tokens before caps; within a kind the first."""
    rules = [
        Cap(id="cap", amount=1, period="total"),
        Cap(id="second cap", amount=0, period="total"),
        Limit(id="tokens", metric="tokens", amount=1),
        Limit(id="places", metric="concurrency", amount=1),
        Limit(id="requests", metric="requests", amount=1),
    ]
    tenant = place.tenant()
    for most in range(len(rules), 0, -1):
        bound = bind(tenant, *rules[:most])
        if most == len(rules):
            await place.ask(bind(tenant, *rules[2:]), lease=True, tokens=1)
            await place.hold(bind(tenant, rules[0]), 1)
        got = await place.ask(bound, lease=True, usd=1, tokens=1)
        assert (got.limit or got.cap).id == (rules[most - 1].id if most > 2 else "cap")


@pytest.mark.parametrize(
    ("zone", "moment", "period", "name", "ends"),
    [
        ("Asia/Kathmandu", (2026, 12, 31, 23, 59, 59), "month", "2026-12", (2027, 1, 1)),
        ("Asia/Kathmandu", (2027, 1, 1, 0, 0, 0), "month", "2027-01", (2027, 2, 1)),
        ("Asia/Kathmandu", (2027, 1, 3, 23, 59, 59), "week", "2026-W53", (2027, 1, 4)),
        ("America/New_York", (2026, 11, 1, 1, 30), "day", "2026-11-01", (2026, 11, 2)),
        ("America/New_York", (2027, 3, 14, 3, 0), "day", "2027-03-14", (2027, 3, 15)),
        ("Africa/Cairo", (2026, 4, 24, 12, 0), "day", "2026-04-24", (2026, 4, 25)),
        ("Pacific/Kiritimati", (2026, 11, 30, 23, 59), "day", "2026-11-30", (2026, 12, 1)),
        ("UTC", (2026, 2, 28, 23, 59), "month", "2026-02", (2026, 3, 1)),
    ],
)
async def test_a_period_ends_where_its_owner_lives(place: Place, zone: str, moment: tuple[int, ...], period: str, name: str, ends: tuple[int, ...]):
    at(place, zone, *moment)
    bound = bind(place.tenant(), Cap(id="one", amount=100, period=period), zone=zone)
    hold = await place.hold(bound, 100)
    assert hold.caps[0].counter == f"c:one:{name}"
    refused = await place.ask(bound, usd=1)
    end_ms = int(datetime(*ends, tzinfo=ZoneInfo(zone)).timestamp()) * 1000
    assert (refused.resets_ms, refused.retry_ms) == (end_ms, end_ms - place.now_ms)
    place.advance((refused.retry_ms - 1) / 1000)
    assert isinstance(await place.ask(bound, usd=1), Refusal)
    place.advance(0.001)
    after = await place.hold(bound, 100)
    assert after.caps[0].counter != hold.caps[0].counter
    place.counters.settle(hold, 70, 0)
    assert (await place.state(bound, hold.caps[0].counter)).spent == 70, "what was admitted before midnight is booked before midnight"
    assert await place.state(bound, after.caps[0].counter) == CapState(held=100)


async def test_every_owner_has_days_of_their_own(place: Place):
    at(place, "UTC", 2026, 11, 30, 20)
    zones = {"UTC": "2026-11-30", "Asia/Kathmandu": "2026-12-01", "America/Sao_Paulo": "2026-11-30", "Pacific/Kiritimati": "2026-12-01"}
    bounds = {zone: bind(place.tenant(), Cap(id="one", amount=100, period="day"), zone=zone) for zone in zones}
    for _ in range(2):
        assert {zone: (await place.hold(bound, 1)).caps[0].counter for zone, bound in bounds.items()} == {
            zone: f"c:one:{day}" for zone, day in zones.items()
        }


async def test_what_no_period_can_hold_has_no_time_to_come_back(place: Place):
    bound = bind(place.tenant(), Cap(id="one", amount=100, period="day"))
    got = await place.ask(bound, usd=101)
    assert (got.left, got.retry_ms) == (100, -1)
    assert got.resets_ms > place.now_ms


@pytest.mark.parametrize("seed", range(5))
async def test_racers_across_midnight_are_counted_in_one_of_two_days(place: Place, seed: int):
    at(place, "America/Sao_Paulo", 2026, 12, 14, 23, 59, 59)
    bound = bind(place.tenant(), Cap(id="day", amount=50, period="day"), Cap(id="month", amount=70, period="month"), zone="America/Sao_Paulo")
    await place.counters.look(bound, sandbox=False)  # the counters are there before the race
    arrived: list[int] = []

    async def run() -> Admitted | Refusal:
        arrived.append(place.now_ms)
        if len(arrived) == 500:
            place.advance(1)
        return await place.ask(bound, usd=1)

    got = await race([run() for _ in range(1000)], seed)
    counted = Counter(each.counter for given in got if isinstance(given, Admitted) for each in given.hold.caps)
    assert counted == {"c:day:2026-12-14": 50, "c:day:2026-12-15": 20, "c:month:2026-12": 70}
    for name, held in counted.items():
        assert await place.state(bound, name) == CapState(held=held)


async def test_each_share_is_told_once_in_a_period(place: Place):
    at(place, "UTC", 2026, 11, 30, 12)
    cap = Cap(id="one", amount=100, period="day", alerts=(50, 80, 95))
    bound = bind(place.tenant(), cap, Cap(id="silent", amount=10**6, period="total", alerts=()))
    for size in (30, 19, 1, 0, 45, 5):
        place.counters.settle(await place.hold(bound, size), size, 0)
        await place.settled()
    assert [(each.cap.id, each.share, each.spent, each.tenant) for each in place.crossings] == [
        ("one", 50, 50, bound.tenant),
        ("one", 80, 95, bound.tenant),
        ("one", 95, 95, bound.tenant),
    ]
    assert {each.counter for each in place.crossings} == {"c:one:2026-11-30"}
    place.advance(86_400)
    place.counters.settle(await place.hold(bound, 60), 60, 0)
    await place.settled()
    assert [(each.share, each.counter) for each in place.crossings[3:]] == [(50, "c:one:2026-12-01")]


async def test_a_share_is_told_once_however_many_cross_it_together(place: Place):
    bound = bind(place.tenant(), Cap(id="one", amount=1000, period="total"))
    holds = [await place.hold(bound, 10) for _ in range(100)]
    for hold in holds:
        place.counters.settle(hold, 10, 0)
        place.counters.settle(hold, 10, 0)
    await place.settled()
    assert [(each.share, each.spent) for each in place.crossings] == [(80, 800), (95, 950)]
