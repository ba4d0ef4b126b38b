"""Limits, in every place that counts: buckets refill exactly, windows never hold more, a refusal takes nothing and says when to come back."""

import itertools
import random
from collections import Counter
from fractions import Fraction

import pytest
from counting import MODEL, Place, answer, bind, race
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenrouter.model.admission import Admitted, Bound, Refusal, Standing
from tokenrouter.model.rules import EACH, TICKS, WINDOW_MS, Limit, Scope

fresh_in_each = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
METERED = [(metric, kind) for metric in ("requests", "tokens") for kind in ("bucket", "sliding")]
SCOPES = [Scope(*parts) for parts in itertools.product(("", EACH, "k1"), ("", EACH, "c1"), ("", EACH, MODEL))]
CALLERS = list(itertools.product(("k1", "k2"), ("", "c1", "c2"), (MODEL, "openai/gpt-4o")))


async def use(place: Place, bound: Bound, amount: int = 1) -> Admitted | Refusal:
    """Take from whatever limits there are."""
    return await place.ask(bound, requests=bool(bound.requests), tokens=amount if bound.tokens else 0, lease=bool(bound.concurrency))


def shares_counter_with(scope: Scope, caller: tuple[str, str, str]) -> tuple[str, ...] | None:
    """Whose requests are counted together with this caller's; None: it is not bound. Written from the meaning of a scope."""
    shared = []
    for wanted, actual in zip((scope.key, scope.customer, scope.model), caller, strict=True):
        if wanted not in ("", EACH, actual) or (wanted == EACH and not actual):
            return None
        shared.append("" if wanted == "" else actual)
    return tuple(shared)


@pytest.mark.parametrize(("metric", "kind"), [*METERED, ("concurrency", "bucket")])
async def test_a_limit_counts_those_together_whom_its_scope_names(place: Place, metric: str, kind: str):
    for scope in SCOPES:
        tenant, limit = place.tenant(), Limit(id="one", scope=scope, metric=metric, amount=2, kind=kind)
        passed: Counter[tuple[str, ...]] = Counter()
        for key, customer, model in CALLERS * 3:
            bound = bind(tenant, limit, key=key, customer=customer, model=model)
            together = shares_counter_with(scope, (key, customer, model))
            got = await use(place, bound)
            if together is None:
                assert isinstance(got, Admitted), (scope, key, customer, model)
            elif isinstance(got, Admitted):
                passed[together] += 1
            else:
                assert (got.limit, passed[together]) == (limit, 2), "it is refused only once both are taken"
        assert set(passed.values()) <= {2}, scope
        assert set(passed) == {group for caller in CALLERS if (group := shares_counter_with(scope, caller)) is not None}


@pytest.mark.parametrize(("metric", "kind"), METERED)
@pytest.mark.parametrize("window", WINDOW_MS)
async def test_a_refusal_says_exactly_when_to_come_back(place: Place, metric: str, kind: str, window: str):
    bound = bind(place.tenant(), Limit(id="one", metric=metric, amount=7, window=window, kind=kind, refill=0 if kind == "sliding" else 5))
    rng = random.Random(1)
    waits = 0
    for _ in range(30):
        place.advance(rng.randrange(WINDOW_MS[window] // 4) / 1000)
        got = await use(place, bound)
        while isinstance(got, Admitted):
            got = await use(place, bound)
        assert (got.left, got.limit.id) == (0, "one")
        assert got.retry_ms > 0
        place.advance((got.retry_ms - 1) / 1000)
        early = await use(place, bound)
        assert isinstance(early, Refusal)
        assert early.retry_ms == 1
        place.advance(0.001)
        assert isinstance(await use(place, bound), Admitted)
        waits += 1
    assert waits == 30


@pytest.mark.parametrize("kind", ["bucket", "sliding"])
async def test_what_can_never_pass_is_told_so(place: Place, kind: str):
    bound = bind(place.tenant(), Limit(id="one", metric="tokens", amount=100, kind=kind))
    got = await use(place, bound, 101)
    assert (got.retry_ms, got.left) == (-1, 100)
    assert isinstance(await use(place, bound, 100), Admitted)


async def test_capacity_and_refill_are_two_things(place: Place):
    bound = bind(place.tenant(), Limit(id="one", metric="requests", amount=10, refill=60))
    burst = [await use(place, bound) for _ in range(11)]
    assert [type(got) for got in burst] == [Admitted] * 10 + [Refusal]
    place.advance(3)
    later = [await use(place, bound) for _ in range(4)]
    assert [type(got) for got in later] == [Admitted] * 3 + [Refusal], "one comes back each second"
    place.advance(3600)
    rested = [await use(place, bound) for _ in range(11)]
    assert [type(got) for got in rested] == [Admitted] * 10 + [Refusal], "never above the capacity"


ARRIVALS = st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 12)), min_size=1, max_size=60)


@fresh_in_each
@given(arrivals=ARRIVALS, capacity=st.integers(1, 20), refill=st.integers(0, 997), window=st.sampled_from(list(WINDOW_MS)))
async def test_a_bucket_refills_exactly(place: Place, arrivals: list[tuple[int, int]], capacity: int, refill: int, window: str):
    bound = bind(place.tenant(), Limit(id="one", metric="tokens", amount=capacity, refill=refill, window=window))
    tick_ms = WINDOW_MS[window] // TICKS
    level, tick = Fraction(capacity), place.now_ms // tick_ms
    for pause_ms, amount in arrivals:
        place.advance(pause_ms / 1000)
        later = place.now_ms // tick_ms
        level = min(Fraction(capacity), level + Fraction((later - tick) * (refill or capacity), TICKS))
        tick = later
        got = await use(place, bound, amount)
        assert isinstance(got, Admitted) == (level >= amount)
        if isinstance(got, Admitted):
            level -= amount
            assert got.tokens.remaining == level // 1
        else:
            assert got.left == level // 1


@fresh_in_each
@given(arrivals=ARRIVALS, most=st.integers(1, 20), window=st.sampled_from(list(WINDOW_MS)))
async def test_no_window_ever_holds_more_and_none_is_refused_that_fits(place: Place, arrivals: list[tuple[int, int]], most: int, window: str):
    bound = bind(place.tenant(), Limit(id="one", metric="tokens", amount=most, window=window, kind="sliding"))
    tick_ms = WINDOW_MS[window] // TICKS
    taken: list[tuple[int, int]] = []
    for pause_ms, amount in arrivals:
        place.advance(pause_ms * tick_ms / 1000)
        now = place.now_ms // tick_ms
        inside = sum(size for when, size in taken if when > now - TICKS)
        got = await use(place, bound, amount)
        assert isinstance(got, Admitted) == (inside + amount <= most)
        if isinstance(got, Admitted):
            taken.append((now, amount))
            assert got.tokens.remaining == most - inside - amount
    for first, _ in taken:
        assert sum(size for when, size in taken if first <= when < first + TICKS) <= most


@pytest.mark.parametrize("seed", range(5))
async def test_racers_across_the_edge_of_a_window_are_counted_once(place: Place, seed: int):
    bound, start_ms = bind(place.tenant(), Limit(id="one", metric="requests", amount=200, kind="sliding")), place.now_ms
    arrived: list[int] = []
    admitted: list[int] = []

    async def run(_: int) -> None:
        if len(arrived) in (120, 400, 700):
            place.advance({120: 29.999, 400: 30, 700: 0.001}[len(arrived)])
        when = place.now_ms - start_ms
        arrived.append(when)
        if isinstance(await use(place, bound), Admitted):
            admitted.append(when)

    await race([run(number) for number in range(1000)], seed)
    assert Counter(arrived) == {0: 120, 29_999: 280, 59_999: 300, 60_000: 300}
    assert Counter(admitted) == {0: 120, 29_999: 80, 60_000: 120}, "what was taken at 0 is back at 60 s, not one ms before"


async def test_answers_tell_where_the_caller_stands_with_its_tightest_limit(place: Place):
    wide, tight = Limit(id="wide", metric="requests", amount=100), Limit(id="tight", metric="requests", amount=10, window="hour")
    roomy, small = Limit(id="roomy", metric="tokens", amount=9_000, kind="sliding"), Limit(id="small", metric="tokens", amount=600)
    others = [Limit(id=f"other {metric}", metric=metric, amount=5000, kind="sliding") for metric in ("requests", "tokens")]
    bound = bind(place.tenant(), wide, tight, roomy, small, *others)
    place.advance(0.040)  # to the beginning of a tick of an hour, which is 60 ms long
    first = await place.ask(bound, tokens=100)
    assert first.requests == Standing(10, 9, 360_000), "a tenth of an hour until it is whole"
    assert first.tokens == Standing(600, 500, 10_000)
    place.advance(1)
    second = await place.ask(bound, tokens=100)
    assert second.requests == Standing(10, 8, 719_000)
    assert second.tokens == Standing(600, 410, 19_000)


async def test_a_look_takes_nothing(place: Place):
    limits = [Limit(id=f"{metric}-{kind}", metric=metric, amount=5, kind=kind) for metric, kind in METERED]
    bound = bind(place.tenant(), *limits, Limit(id="places", metric="concurrency", amount=5))
    for _ in range(10):
        look = await place.ask(bound, requests=False)
        assert isinstance(look, Admitted)
        assert (look.hold, look.requests.remaining, look.tokens.remaining) == (None, 5, 5)
    assert await place.places(bound) == 5


@pytest.mark.parametrize("kind", ["bucket", "sliding"])
async def test_tokens_that_were_not_used_come_back(place: Place, kind: str):
    bound = bind(place.tenant(), Limit(id="one", metric="tokens", amount=1000, kind=kind))
    holds = [await place.hold(bound, 0, 400), await place.hold(bound, 0, 600)]
    place.advance(0.001)
    assert isinstance(await use(place, bound, 1), Refusal)
    place.counters.settle(holds[0], 0, 150)
    await place.settled()
    assert isinstance(await use(place, bound, 251), Refusal)
    assert isinstance(await use(place, bound, 250), Admitted)
    place.counters.settle(holds[0], 0, 0)
    place.counters.settle(holds[1], 0, 600)
    await place.settled()
    assert isinstance(await use(place, bound, 1), Refusal), "nothing comes back twice, and nothing where all was used"


@pytest.mark.parametrize("kind", ["bucket", "sliding"])
async def test_tokens_never_come_back_above_the_limit(place: Place, kind: str):
    bound = bind(place.tenant(), Limit(id="one", metric="tokens", amount=1000, kind=kind))
    hold = await place.hold(bound, 0, 800)
    place.advance(120)
    place.counters.settle(hold, 0, 10)
    await place.settled()
    assert (await place.ask(bound, requests=False)).tokens.remaining == 1000


@pytest.mark.parametrize("kind", ["bucket", "sliding"])
async def test_more_tokens_than_were_taken_are_taken_too(place: Place, kind: str):
    bound = bind(place.tenant(), Limit(id="one", metric="tokens", amount=1000, kind=kind))
    place.counters.settle(await place.hold(bound, 0, 400), 0, 1500)
    await place.settled()
    got = await use(place, bound, 1)
    assert (got.left, got.retry_ms) == (0, 30_060 if kind == "bucket" else 60_000), "the debt is paid first"
    place.advance(got.retry_ms / 1000)
    assert isinstance(await use(place, bound, 1), Admitted)


@pytest.mark.parametrize("kind", ["bucket", "sliding"])
async def test_nobody_knows_the_truth_so_no_tokens_come_back(place: Place, kind: str):
    bound = bind(place.tenant(), Limit(id="one", metric="tokens", amount=1000, kind=kind))
    place.counters.settle(await place.hold(bound, 0, 900), 0, 0, presumed=True)
    await place.settled()
    assert (await place.ask(bound, requests=False)).tokens.remaining == 100


@pytest.mark.parametrize("kind", ["bucket", "sliding"])
async def test_a_call_that_grows_takes_more_tokens(place: Place, kind: str):
    bound = bind(place.tenant(), Limit(id="one", metric="tokens", amount=1000, kind=kind))
    hold = await place.hold(bound, 0, 300)
    place.counters.grow(hold, 0, 700)
    place.counters.grow(hold, 0, 200)
    assert (hold.tokens, (await place.standings(bound))["l:one"]) == (700, 300)
    place.counters.settle(hold, 0, 650)
    assert (await place.standings(bound))["l:one"] == 350
    place.counters.grow(hold, 0, 900)
    assert (await place.standings(bound))["l:one"] == 350, "it is over"


async def test_what_has_left_a_window_is_not_given_back_at_the_expense_of_others(place: Place):
    bound = bind(place.tenant(), Limit(id="one", metric="tokens", amount=1000, kind="sliding"))
    early = await place.hold(bound, 0, 100)
    await place.renewed()
    place.advance(40)
    await place.renewed()
    place.advance(40)
    await place.hold(bound, 0, 70)
    place.counters.grow(early, 0, 150)
    assert (await place.standings(bound))["l:one"] == 1000 - 70 - 50
    place.counters.settle(early, 0, 0)
    assert (await place.standings(bound))["l:one"] == 1000 - 70


async def test_as_many_at_a_time_as_there_are_places(place: Place):
    bound = bind(place.tenant(), Limit(id="one", metric="concurrency", amount=3))
    tickets = [await place.lease(bound) for _ in range(3)]
    for _ in range(5):
        got = await place.ask(bound, lease=True)
        assert (got.limit.id, got.left, got.retry_ms) == ("one", 0, -1), "nobody knows how long the others take"
    place.counters.leave(tickets[1])
    await place.settled()
    await place.lease(bound)
    assert isinstance(await place.ask(bound, lease=True), Refusal)
    for _ in range(3):
        place.counters.leave(tickets[1])
    await place.settled()
    assert isinstance(await place.ask(bound, lease=True), Refusal), "who left twice has freed one place"
    for ticket in tickets:
        place.counters.leave(ticket)
    assert await place.places(bound) == 2


@pytest.mark.parametrize("seed", range(5))
async def test_racers_for_places_never_exceed_them(place: Place, seed: int):
    bound = bind(place.tenant(), Limit(id="one", metric="concurrency", amount=7), Limit(id="two", metric="concurrency", amount=9))
    got = await race([place.ask(bound, requests=False, lease=True) for _ in range(200)], seed)
    inside = [one for one in got if isinstance(one, Admitted)]
    assert len(inside) == 7
    for one in inside[:4]:
        place.counters.leave(one.ticket)
    await place.settled()
    again = await race([place.ask(bound, requests=False, lease=True) for _ in range(200)], seed)
    assert sum(isinstance(one, Admitted) for one in again) == 4


async def test_an_answer_that_is_found_takes_requests_only(place: Place):
    tenant = place.tenant()
    bound = bind(
        tenant,
        Limit(id="requests", metric="requests", amount=3),
        Limit(id="tokens", metric="tokens", amount=100),
        Limit(id="places", metric="concurrency", amount=1),
    )
    kept, identity = answer(place), b"\x01" * 16
    await place.keep(tenant, identity, kept)
    before = await place.standings(bound)
    await place.lease(bound)
    for left in (1, 0):
        got = await place.ask(bound, lease=True, tokens=100, answer=identity)
        assert (got.kept, got.hold, got.requests.remaining, got.tokens.remaining) == (kept, None, left, 100)
        assert got.ticket is None or not got.ticket.leases
    refused = await place.ask(bound, lease=True, tokens=100, answer=identity)
    assert refused.limit.id == "requests", "looking things up is not free of limits"
    after = await place.standings(bound)
    assert after["l:tokens"] == before["l:tokens"]
    unknown = await place.ask(bound, requests=False, tokens=60, answer=b"\x02" * 16)
    assert (unknown.kept, unknown.hold.tokens) == (None, 60)
    other = bind(place.tenant(), *[counted.limit for counted in bound.requests])
    assert (await place.ask(other, answer=identity)).kept is None, "an answer belongs to its tenant"


async def test_tenants_do_not_share_counters(place: Place):
    limits = [Limit(id=f"{metric}-{kind}", metric=metric, amount=1, kind=kind) for metric, kind in METERED]
    for tenant in (place.tenant(), place.tenant()):
        bound = bind(tenant, *limits, Limit(id="places", metric="concurrency", amount=1))
        assert isinstance(await use(place, bound), Admitted)
        assert isinstance(await use(place, bound), Refusal)
