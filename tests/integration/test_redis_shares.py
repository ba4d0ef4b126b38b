"""Places and budgets that workers share, against real servers."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tokenrouter.clock import ManualClock
from tokenrouter.errors import Unavailable
from tokenrouter.model.admission import NeedsRebuild
from tokenrouter.model.shares import Slice, Slots
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_shares import RedisShares

TTL_MS = 10_000


@pytest.fixture
async def client(shared_url: str) -> AsyncIterator[RedisClient]:
    made = RedisClient(shared_url, timeout_s=2)
    yield made
    await made.aclose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def shares(client: RedisClient, clock: ManualClock) -> RedisShares:
    return RedisShares(client, clock=clock)


async def test_places_are_given_until_none_are_left_and_come_back(shares: RedisShares) -> None:
    assert await shares.take_slots("all", 10, "a", 6, TTL_MS) == Slots(granted=6, others=0, workers=1)
    assert await shares.take_slots("all", 10, "b", 6, TTL_MS) == Slots(granted=4, others=6, workers=2)
    assert await shares.take_slots("all", 10, "b", 6, TTL_MS) == Slots(granted=4, others=6, workers=2), "asking again takes nothing"
    assert await shares.take_slots("all", 10, "a", 0, TTL_MS) == Slots(granted=0, others=4, workers=1)
    assert await shares.take_slots("all", 10, "b", 6, TTL_MS) == Slots(granted=6, others=0, workers=1)


async def test_places_of_a_worker_that_does_not_come_again_are_free(shares: RedisShares, clock: ManualClock) -> None:
    await shares.take_slots("all", 10, "a", 10, TTL_MS)
    clock.advance(TTL_MS / 1000 - 0.001)
    assert (await shares.take_slots("all", 10, "b", 5, TTL_MS)).granted == 0
    clock.advance(0.001)
    assert (await shares.take_slots("all", 10, "b", 5, TTL_MS)).granted == 5


async def test_a_lowered_limit_is_told_to_whoever_has_more(shares: RedisShares) -> None:
    await shares.take_slots("all", 10, "a", 10, TTL_MS)
    assert (await shares.take_slots("all", 4, "a", 10, TTL_MS)).granted == 4


async def test_a_budget_that_nobody_seeded_asks_for_it_and_writes_nothing(shares: RedisShares, client: RedisClient) -> None:
    with pytest.raises(NeedsRebuild) as needs:
        await shares.take_slice("usd:2026-11", 100, "a", 0, 10, TTL_MS)
    assert needs.value.name == "usd:2026-11"
    assert isinstance(needs.value, Unavailable), "whoever does not know better says 503"
    assert await client.command(b"tr:{global}:x", "EXISTS", "tr:{global}:budget:usd:2026-11", "tr:{global}:slices:usd:2026-11") == 0


async def test_a_slice_is_what_is_left_at_most(shares: RedisShares) -> None:
    assert await shares.seed_slice("usd", 50, 10)
    assert not await shares.seed_slice("usd", 0, 0), "somebody was faster"
    assert await shares.take_slice("usd", 100, "a", 0, 30, TTL_MS) == Slice(granted=30, spent=50, presumed=10, others=0)
    assert await shares.take_slice("usd", 100, "b", 0, 30, TTL_MS) == Slice(granted=10, spent=50, presumed=10, others=30)
    assert await shares.take_slice("usd", 100, "a", 25, 5, TTL_MS) == Slice(granted=5, spent=75, presumed=10, others=10)
    assert await shares.take_slice("usd", 100, "a", 25, 5, TTL_MS) == Slice(granted=5, spent=75, presumed=10, others=10), "said twice"
    assert await shares.take_slice("usd", 100, "b", 0, 0, TTL_MS) == Slice(granted=0, spent=75, presumed=10, others=5)
    assert await shares.take_slice("usd", 100, "a", 25, 90, TTL_MS) == Slice(granted=15, spent=75, presumed=10, others=0)


async def test_a_lost_slice_is_presumed_spent_until_its_worker_says_what_it_was(shares: RedisShares, clock: ManualClock) -> None:
    await shares.seed_slice("usd", 0, 0)
    await shares.take_slice("usd", 100, "a", 0, 60, TTL_MS)
    clock.advance(TTL_MS / 1000)
    assert await shares.take_slice("usd", 100, "b", 0, 60, TTL_MS) == Slice(granted=40, spent=0, presumed=60, others=0)
    clock.advance(1)
    assert await shares.take_slice("usd", 100, "a", 20, 10, TTL_MS) == Slice(granted=10, spent=20, presumed=0, others=40)


async def test_after_a_seed_a_worker_reports_only_what_it_spends_from_there_on(shares: RedisShares) -> None:
    """What it had spent before is in the ledger's sums."""
    await shares.seed_slice("usd", 70, 0)
    assert (await shares.take_slice("usd", 100, "old", 70, 10, TTL_MS)).spent == 70
    assert (await shares.take_slice("usd", 100, "old", 75, 10, TTL_MS)).spent == 75


async def test_budgets_are_forgotten_a_day_after_their_period(shares: RedisShares) -> None:
    await shares.seed_slice("usd:1", 1, 0, ends_ms=1_000)
    await shares.seed_slice("usd", 1, 0)
    assert await shares.sweep_slices(1_000 + 86_399_999) == 0
    assert await shares.sweep_slices(1_000 + 86_400_000) == 1
    with pytest.raises(NeedsRebuild):
        await shares.take_slice("usd:1", 10, "a", 0, 1, TTL_MS)
    assert (await shares.take_slice("usd", 10, "a", 0, 1, TTL_MS)).spent == 1


@pytest.mark.parametrize("wrong", ["tr:{global}:budget:usd", "tr:{global}:slices:usd", "tr:{global}:shares:usd"])
async def test_a_key_of_another_kind_leaves_nothing_written(shares: RedisShares, client: RedisClient, wrong: str) -> None:
    await shares.seed_slice("usd", 0, 0)
    await shares.take_slice("usd", 100, "a", 0, 60, TTL_MS)
    await client.command(wrong.encode(), "DEL", wrong)
    await client.command(wrong.encode(), "SET", wrong, "x")
    keys = [f"tr:{{global}}:{kind}:usd" for kind in ("budget", "slices", "shares")]
    before = [await client.command(key.encode(), "DUMP", key) for key in keys]
    with pytest.raises(Unavailable):
        await shares.take_slice("usd", 100, "b", 0, 60, TTL_MS)
    assert [await client.command(key.encode(), "DUMP", key) for key in keys] == before


@pytest.mark.parametrize("number", [-1, 1 << 53])
async def test_numbers_that_lua_cannot_count_exactly_are_refused(shares: RedisShares, number: int) -> None:
    with pytest.raises(ValueError, match="counted"):
        await shares.take_slice("usd", number, "a", 0, 0, TTL_MS)
    with pytest.raises(ValueError, match="counted"):
        await shares.take_slots("all", 1, "a", number, TTL_MS)


@pytest.mark.parametrize("seed", range(5))
async def test_workers_that_spend_no_more_than_their_slices_never_pass_the_budget(shares: RedisShares, clock: ManualClock, seed: int) -> None:
    """Some die with a slice, some come back late; at every step spent + presumed + at hand stays within the budget."""
    rng, budget = random.Random(seed), 1_000
    await shares.seed_slice("usd", 0, 0)
    spent, hand = dict.fromkeys("abcde", 0), dict.fromkeys("abcde", 0)
    lapses = dict.fromkeys("abcde", 0)
    for _ in range(60):
        worker = rng.choice("abcde")
        now_ms = clock.time_ns() // 1_000_000
        if now_ms < lapses[worker] or not hand[worker]:
            spent[worker] += rng.randint(0, hand[worker])
        told = await shares.take_slice("usd", budget, worker, spent[worker], rng.randint(0, 200), TTL_MS)
        hand[worker], lapses[worker] = told.granted, now_ms + TTL_MS
        assert told.spent + told.presumed + told.others + told.granted <= budget
        assert told.spent == sum(spent.values()), "nobody's spending is lost, none is counted twice"
        clock.advance(rng.choice((0.1, 1, 6)))


async def test_places_are_never_given_twice_by_a_race(client: RedisClient) -> None:
    shares = RedisShares(client)
    told = await asyncio.gather(*(shares.take_slots("all", 50, f"w{number}", 3, TTL_MS) for number in range(100)))
    assert sum(each.granted for each in told) == 50
