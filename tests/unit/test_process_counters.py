"""What only counters in one process do: begin with what the ledger says, share limits among workers, forget, follow changed rules."""

import pytest

from tokenrouter.clock import ManualClock
from tokenrouter.model.admission import Admitted, Ask, Bound, CapState, CountedCap, CountedLimit, Crossing, Refusal, Worst
from tokenrouter.model.rules import Cap, Limit
from tokenrouter.quota.books import Refused
from tokenrouter.quota.buckets import NEVER, Bucket, Meter, SlidingWindow, shared
from tokenrouter.quota.process_counters import ProcessCounters

START_NS = 1_700_000_000 * 1_000_000_000  # 2023-11-14 22:13:20 UTC
DAY_NS = 1_699_920_000 * 1_000_000_000
SMALL = Worst(1, 1, sandbox=False)


def of_limits(*limits: Limit, tenant: str = "acme") -> Bound:
    def measured(metric: str) -> tuple[CountedLimit, ...]:
        return tuple(CountedLimit(limit, f"l:{limit.id}") for limit in limits if limit.metric == metric)

    return Bound(tenant=tenant, requests=measured("requests"), tokens=measured("tokens"), concurrency=measured("concurrency"))


def of_caps(*caps: Cap, tenant: str = "acme", zone: str = "UTC") -> Bound:
    return Bound(tenant=tenant, caps=tuple(CountedCap(cap, f"c:{cap.id}") for cap in caps), zone=zone)


async def ask(counters: ProcessCounters, bound: Bound, *, worst: Worst | None = SMALL, lease: bool = False, name: str = "r") -> Admitted | Refusal:
    try:
        return await counters.admit(bound, Ask(id=name, worst=worst, lease=lease))
    except Refused as refused:
        return refused.refusal


async def passing(counters: ProcessCounters, bound: Bound, most: int = 1000) -> int:
    """How many of one unit pass until the first is refused."""
    for number in range(most):
        if isinstance(await ask(counters, bound, lease=True, name=f"r{number}"), Refusal):
            return number
    return most


async def test_a_counter_begins_with_what_the_ledger_says():
    asked: list[tuple[str, str, str, int]] = []

    def seed(cap: Cap, counter: str, tenant: str, starts_ns: int) -> CapState:
        asked.append((cap.id, counter, tenant, starts_ns))
        return CapState(spent=60, presumed=20)

    counters = ProcessCounters(ManualClock(START_NS), seed=seed)
    caps = (
        Cap(id="day", amount=100, period="day"),
        Cap(id="new", amount=100, period="day", starts_ns=START_NS - 5),
        Cap(id="all", amount=100, period="total"),
    )
    for cap in caps * 2:
        assert (await ask(counters, of_caps(cap), worst=Worst(21, 0, sandbox=False))).left == 20
    await ask(counters, of_caps(caps[2]), worst=Worst(20, 0, sandbox=True))
    assert asked == [
        ("day", "c:day:2023-11-14", "acme", DAY_NS),
        ("new", "c:new:2023-11-14", "acme", START_NS - 5),
        ("all", "c:all", "acme", 0),
        ("all", "sc:all", "acme", 0),
    ]
    assert await counters.cap_state("acme", "sc:all") == CapState(spent=60, held=20, presumed=20)


async def test_caps_can_be_read_before_anybody_asks():
    counters = ProcessCounters(ManualClock(START_NS), seed=lambda cap, *_: CapState(spent=cap.amount // 2))
    bound = of_caps(Cap(id="day", amount=100, period="day"), Cap(id="all", amount=50, period="total"), Cap(id="one", amount=9, period="request"))
    assert await counters.cap_state("acme", "c:all") == CapState()
    names = counters.touch(bound)
    assert [(await counters.cap_state("acme", name)).spent for name in names] == [50, 25]
    assert counters.touch(bound, sandbox=True) == ("sc:day:2023-11-14", "sc:all")


async def test_shares_that_an_earlier_process_told_of_are_not_told_again():
    told: list[Crossing] = []
    counters = ProcessCounters(ManualClock(), seed=lambda *_: CapState(spent=81), crossed=told.append)
    bound = of_caps(Cap(id="one", amount=100, period="total"))
    given = await ask(counters, bound, worst=Worst(15, 0, sandbox=False))
    counters.settle(given.hold, 15, 0)
    assert [crossing.share for crossing in told] == [95]


@pytest.mark.parametrize("kind", ["bucket", "sliding", "places"])
@pytest.mark.parametrize(("amount", "share", "each"), [(10, 1, 10), (10, 3, 4), (2, 5, 1), (0, 4, 0)])
async def test_workers_share_a_limit(kind: str, amount: int, share: int, each: int):
    limit = Limit(id="one", metric="concurrency", amount=amount) if kind == "places" else Limit(id="one", metric="requests", amount=amount, kind=kind)
    clock = ManualClock()
    counters = ProcessCounters(clock, share=share)
    assert await passing(counters, of_limits(limit)) == each
    if kind == "bucket" and amount:
        clock.advance(60)
        assert await passing(counters, of_limits(limit)) == each


def counters_in(counters: ProcessCounters) -> tuple[int, int]:
    return len(counters._meters), len(counters._caps)


async def test_what_says_nothing_is_forgotten():
    clock = ManualClock(START_NS)
    counters = ProcessCounters(clock)
    for number in range(5000):
        limits = [Limit(id=f"{kind}{number}", metric="requests", amount=2, kind=kind) for kind in ("bucket", "sliding")]
        await ask(counters, of_limits(*limits), worst=None)
        given = await ask(
            counters, of_caps(Cap(id=f"day{number}", amount=100, period="day"), Cap(id=f"free{number}", amount=0, period="total"), tenant="t")
        )
        assert isinstance(given, Refusal)
        given = await ask(counters, of_caps(Cap(id=f"day{number}", amount=100, period="day"), tenant="t"))
        counters.settle(given.hold, 1, 0)
        clock.advance(60)
    meters, caps = counters_in(counters)
    assert meters < 20
    assert caps < 2 * 1440 * 2, "those of this day, and some of the last"


async def test_what_somebody_needs_is_not_forgotten():
    clock = ManualClock(START_NS)
    counters = ProcessCounters(clock)
    slow, spent = of_caps(Cap(id="slow", amount=100, period="day")), of_caps(Cap(id="spent", amount=100, period="total"))
    free = (await ask(counters, of_caps(Cap(id="free", amount=100, period="total")), worst=Worst(0, 0, sandbox=False))).hold
    hold = (await ask(counters, slow)).hold
    counters.settle((await ask(counters, spent)).hold, 7, 0)
    window = of_limits(Limit(id="slow", metric="requests", amount=1, window="day", kind="sliding"))
    await ask(counters, window, worst=None)
    for number in range(1000):
        clock.advance(60)
        await ask(counters, of_limits(Limit(id=f"r{number}", metric="requests", amount=2)), worst=None)
        await ask(counters, of_caps(Cap(id=f"c{number}", amount=0, period="day")))
    assert max(counters_in(counters)) < 50
    counters.settle(hold, 5, 0)
    counters.settle(free, 3, 0)
    assert await counters.cap_state("acme", "c:slow:2023-11-14") == CapState(spent=5)
    assert await counters.cap_state("acme", "c:free") == CapState(spent=3)
    assert await counters.cap_state("acme", "c:spent") == CapState(spent=7)
    assert isinstance(await ask(counters, window, worst=None), Refusal)


async def test_counters_that_are_made_together_are_kept_together():
    """Those that say nothing are forgotten between requests only: not while one is being admitted."""
    counters = ProcessCounters(ManualClock())
    for number in range(50):
        caps = of_caps(*[Cap(id=f"{number}-{each}", amount=5, period="total") for each in range(5)])
        limits = of_limits(*[Limit(id=f"{number}-{each}", metric="tokens", amount=5) for each in range(5)])
        bound = Bound(tenant="acme", tokens=limits.tokens, caps=caps.caps)
        for _ in range(2):
            given = await ask(counters, bound, worst=Worst(2, 2, sandbox=False))
            counters.settle(given.hold, 2, 2)
        refused = await ask(counters, bound, worst=Worst(2, 1, sandbox=False))
        assert (refused.cap.id, refused.left) == (f"{number}-0", 1)
        assert given.tokens.remaining == 1


async def test_places_leave_no_trace():
    counters = ProcessCounters(ManualClock())
    for number in range(100):
        given = await ask(counters, of_limits(Limit(id=f"c{number}", metric="concurrency", amount=1)), worst=None, lease=True)
        counters.leave(given.ticket)
        counters.leave(given.ticket)
    assert not counters._leases


@pytest.mark.parametrize("kind", ["bucket", "sliding"])
async def test_a_changed_limit_goes_on_where_it_stood(kind: str):
    counters = ProcessCounters(ManualClock())

    def sized(amount: int, window: str = "minute") -> Bound:
        return of_limits(Limit(id="one", metric="requests", amount=amount, window=window, kind=kind))

    for _ in range(6):
        await ask(counters, sized(10))
    smaller = await ask(counters, sized(4))
    assert isinstance(smaller, Refusal) == (kind == "sliding"), "a bucket has four left, a window has seen six"
    larger = await ask(counters, sized(100))
    assert larger.requests.limit == 100
    assert larger.requests.remaining == (2 if kind == "bucket" else 93)
    assert (await ask(counters, sized(10, "hour"))).requests.remaining == 9, "another window begins anew"


@pytest.mark.parametrize(("before", "after"), [("bucket", "sliding"), ("sliding", "bucket")])
async def test_a_limit_of_another_kind_begins_anew_and_settles_what_was_taken_before(before: str, after: str):
    counters = ProcessCounters(ManualClock())
    old, new = (of_limits(Limit(id="one", metric="tokens", amount=100, kind=kind)) for kind in (before, after))
    hold = (await ask(counters, old, worst=Worst(0, 90, sandbox=False))).hold
    assert (await ask(counters, new, worst=Worst(0, 100, sandbox=False))).tokens.remaining == 0
    counters.settle(hold, 0, 10)
    assert (await ask(counters, new, worst=None)).tokens.remaining == (0 if after == "sliding" else 80)


async def test_a_limit_without_refill_of_its_own_gets_its_amount_back():
    assert Limit(id="one", metric="requests", amount=30).per_window == 30
    assert Limit(id="one", metric="requests", amount=30, refill=7).per_window == 7
    assert shared(7, 2) == 4


@pytest.fixture
def empty() -> Bucket:
    return Bucket(Limit(id="none", metric="tokens", amount=0), 1, 0)


def test_a_limit_of_nothing_lets_nothing_through(empty: Bucket):
    empty.turn(10**9)
    assert (empty.left, empty.wait_ms(1, 10**9), empty.wait_ms(0, 10**9), empty.whole_ms(10**9)) == (0, NEVER, 0, 0)
    window = SlidingWindow(Limit(id="none", metric="tokens", amount=0, kind="sliding"), 1, 0)
    window.turn(5)
    assert (window.left, window.wait_ms(1, 5), window.whole_ms(5), window.is_whole()) == (0, NEVER, 0, True)


def test_a_debt_of_a_limit_of_nothing_is_never_paid(empty: Bucket):
    empty.take(5)
    empty.turn(10**9)
    assert (empty.left, empty.whole_ms(10**9)) == (-5, NEVER)


def left_at(meter: Meter, now_ms: int) -> int:
    meter.turn(now_ms)
    return meter.left


def test_time_that_stands_or_runs_back_refills_nothing():
    bucket = Bucket(Limit(id="one", metric="tokens", amount=100), 1, 60_000)
    bucket.take(100)
    assert [left_at(bucket, moment) for moment in (60_000, 0, 60_000, 60_600)] == [0, 0, 0, 1]
    window = SlidingWindow(Limit(id="one", metric="tokens", amount=100, kind="sliding"), 1, 60_000)
    window.take(100)
    assert [left_at(window, moment) for moment in (0, 119_999, 1, 120_000)] == [0, 0, 0, 100]


def test_a_window_remembers_one_entry_for_each_tick():
    window = SlidingWindow(Limit(id="one", metric="tokens", amount=10**9, kind="sliding"), 1, 0)
    for number in range(1000):
        window.turn(number // 100)
        assert window.take(3) == number // 100
    assert (len(window._entries), window.left) == (10, 10**9 - 3000)
    assert window.adjust(4, -300) == 4
    assert (len(window._entries), window.left) == (9, 10**9 - 2700)
    assert window.adjust(4, 5) == 9, "what is gone is taken at the last moment"
