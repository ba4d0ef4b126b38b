"""What is asked of every place where workers lease slots and slices: the same questions for each of them."""

from collections.abc import Callable

import pytest

from tokenrouter.model.admission import NeedsRebuild
from tokenrouter.model.shares import Slice, Slots
from tokenrouter.quota.shares import SliceLeaser, SlotLeaser

Advance = Callable[[float], None]
"""Let so many seconds pass for whoever counts."""

TTL_MS = 30_000


async def slots_are_shared(slots: SlotLeaser, advance: Advance) -> None:
    async def take(worker: str, wanted: int, *, name: str = "global", limit: int = 10) -> Slots:
        return await slots.take_slots(name, limit, worker, wanted, TTL_MS)

    assert [await take("a", 4), await take("b", 4), await take("c", 4)] == [Slots(4, 0, 1), Slots(4, 4, 2), Slots(2, 8, 3)]
    assert [await take("a", 4), await take("a", 9)] == [Slots(4, 6, 3)] * 2, "asking again takes nothing twice; nobody gets more than there is"
    assert [await take("b", 1), await take("c", 9)] == [Slots(1, 6, 3), Slots(5, 5, 3)], "what one gives back another may have"
    assert [await take("a", 0), await take("a", 0), await take("c", 99)] == [Slots(0, 6, 2), Slots(0, 6, 2), Slots(9, 1, 2)]
    assert await take("d", 3) == Slots(0, 10, 3)
    assert await take("d", 3, name="stream") == Slots(3, 0, 1), "every gate has slots of its own"
    assert await take("b", 5, limit=4) == Slots(0, 9, 3), "a limit that was made smaller is kept to"


async def slots_of_the_dead_are_free_again(slots: SlotLeaser, advance: Advance) -> None:
    async def take(worker: str, wanted: int) -> int:
        return (await slots.take_slots("global", 10, worker, wanted, TTL_MS)).granted

    assert [await take("dead", 6), await take("alive", 4)] == [6, 4]
    advance(29)
    assert await take("alive", 10) == 4
    advance(1)
    assert await take("alive", 10) == 10
    assert await take("dead", 6) == 0, "who comes back too late has nothing any more"
    advance(29)
    assert await take("alive", 10) == 10
    advance(29)
    assert await take("dead", 6) == 0, "who renews keeps what he has"


async def slices_are_shared(slices: SliceLeaser, advance: Advance) -> None:
    async def take(worker: str, spent: int, wanted: int, name: str = "usd:2026-11") -> Slice:
        return await slices.take_slice(name, 1000, worker, spent, wanted, TTL_MS)

    with pytest.raises(NeedsRebuild):
        await take("a", 0, 10)
    assert await slices.seed_slice("usd:2026-11", 40, 10)
    assert not await slices.seed_slice("usd:2026-11", 999, 0), "a book is begun once"
    assert await take("a", 0, 100) == Slice(100, 40, 10, 0)
    assert await take("b", 0, 100) == Slice(100, 40, 10, 100)
    assert await take("a", 30, 100) == Slice(100, 70, 10, 100), "what was spent comes out of the slice, which is then made up"
    assert await take("a", 30, 100) == Slice(100, 70, 10, 100), "telling the same again changes nothing"
    assert await take("a", 30, 20) == Slice(20, 70, 10, 100), "what is not wanted goes back"
    assert await take("a", 80, 0) == Slice(0, 120, 10, 100), "more was spent than was at hand: it is booked all the same"
    assert await take("a", 40, 0) == Slice(0, 120, 10, 100), "an old report that comes late takes nothing back"
    assert await take("a", 80, 0) == Slice(0, 120, 10, 100)
    assert await take("c", 0, 900) == Slice(770, 120, 10, 100), "as much as there is"
    assert await take("b", 60, 500) == Slice(40, 180, 10, 770), "what was spent of a slice is gone from it"
    assert await take("b", 1500, 0) == Slice(0, 1620, 10, 770)
    assert await take("c", 0, 770) == Slice(0, 1620, 10, 0), "where too much was spent nobody has anything at hand"
    with pytest.raises(NeedsRebuild):
        await take("a", 80, 0, "usd:2026-12")


async def slices_of_the_dead_are_presumed_spent(slices: SliceLeaser, advance: Advance) -> None:
    async def take(worker: str, spent: int, wanted: int) -> Slice:
        return await slices.take_slice("tokens:2026-11", 1000, worker, spent, wanted, TTL_MS)

    await slices.seed_slice("tokens:2026-11", 0, 0)
    await take("dead", 0, 300)
    assert await take("dead", 100, 300) == Slice(300, 100, 0, 0)
    await take("alive", 0, 10)
    advance(29)
    await take("alive", 0, 10)
    advance(1)
    assert await take("alive", 0, 900) == Slice(600, 100, 300, 0)
    assert await take("alive", 0, 10) == Slice(10, 100, 300, 0)
    assert await take("dead", 250, 50) == Slice(50, 250, 0, 10), "the truth replaces what was presumed"


async def slices_that_were_lost_begin_at_what_is_said(slices: SliceLeaser, advance: Advance) -> None:
    async def take(worker: str, spent: int, wanted: int) -> Slice:
        return await slices.take_slice("usd:2026-11", 1000, worker, spent, wanted, TTL_MS)

    await slices.seed_slice("usd:2026-11", 200, 0)
    assert await take("a", 70, 10) == Slice(10, 200, 0, 0), "what it had spent is in the seed"
    assert await take("a", 75, 5) == Slice(5, 205, 0, 0)
    assert await take("b", 40, 0) == Slice(0, 205, 0, 5)


async def slices_are_exact_at_any_size(slices: SliceLeaser, advance: Advance) -> None:
    most = (1 << 53) - 1
    await slices.seed_slice("usd:big", 0, 0)
    assert await slices.take_slice("usd:big", most, "a", 0, most, TTL_MS) == Slice(most, 0, 0, 0)
    assert await slices.take_slice("usd:big", most, "a", most - 1, most, TTL_MS) == Slice(1, most - 1, 0, 0)


SLOTS = (slots_are_shared, slots_of_the_dead_are_free_again)
SLICES = (
    slices_are_shared,
    slices_of_the_dead_are_presumed_spent,
    slices_that_were_lost_begin_at_what_is_said,
    slices_are_exact_at_any_size,
)
