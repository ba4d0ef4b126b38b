"""What is asked of every place where workers lease slots and slices: the same questions for each of them."""

from collections.abc import Awaitable, Callable

from tokenrouter.quota.slices import Slice, SliceLeaser
from tokenrouter.quota.slots import SlotLeaser

Advance = Callable[[int], Awaitable[None]]
"""Let so many milliseconds pass for whoever counts."""

TTL_MS = 30_000


async def slots_are_shared(slots: SlotLeaser, advance: Advance) -> None:
    async def take(worker: str, wanted: int, *, name: str = "global", limit: int = 10) -> int:
        return await slots.take(name, limit, worker, wanted, TTL_MS)

    assert [await take("a", 4), await take("b", 4), await take("c", 4)] == [4, 4, 2]
    assert [await take("a", 4), await take("a", 9)] == [4, 4], "asking again takes nothing twice, and nobody gets more than there is"
    assert [await take("b", 1), await take("c", 9)] == [1, 5], "what one gives back another may have"
    assert [await take("a", 0), await take("a", 0), await take("c", 99)] == [0, 0, 9]
    assert await take("d", 3) == 0
    assert await take("d", 3, name="stream") == 3, "every gate has slots of its own"
    assert await take("b", 5, limit=4) == 0, "a limit that was made smaller is kept to"
    await take("c", 0)


async def slots_of_the_dead_are_free_again(slots: SlotLeaser, advance: Advance) -> None:
    async def take(worker: str, wanted: int) -> int:
        return await slots.take("global", 10, worker, wanted, TTL_MS)

    assert [await take("dead", 6), await take("alive", 4)] == [6, 4]
    await advance(TTL_MS - 1_000)
    assert await take("alive", 10) == 4
    await advance(1_000)
    assert await take("alive", 10) == 10
    assert await take("dead", 6) == 0, "who comes back too late has nothing any more"
    await advance(TTL_MS - 1_000)
    assert await take("alive", 10) == 10
    await advance(TTL_MS - 1_000)
    assert await take("dead", 6) == 0, "who renews keeps what he has"


async def slices_are_shared(slices: SliceLeaser) -> None:
    async def take(worker: str, spent: int, wanted: int, least: int = 0, base: int | None = None) -> Slice | None:
        return await slices.take_slice("usd:2026-11", 1000, worker, spent, wanted, least, base)

    assert await take("a", 0, 10) is None, "nobody has said what was spent before"
    assert await take("a", 0, 100, base=50) == Slice(100, 50, 850)
    assert await take("b", 0, 100, base=999) == Slice(100, 50, 750), "a book is begun once"
    assert await take("a", 30, 100) == Slice(100, 80, 720), "what was spent comes out of the lease, which is then made up"
    assert await take("a", 30, 100) == Slice(100, 80, 720), "telling the same again changes nothing"
    assert await take("a", 30, 20) == Slice(20, 80, 800), "what is not wanted goes back"
    assert await take("a", 80, 0) == Slice(0, 130, 770), "more was spent than was leased: it is booked all the same"
    assert await take("a", 40, 0) == Slice(0, 130, 770), "an old report that comes late takes nothing back"
    assert await take("a", 80, 0) == Slice(0, 130, 770)
    assert await take("c", 0, 900, least=800) == Slice(0, 130, 770), "what would be of no use is not given"
    assert await take("c", 0, 900, least=700) == Slice(770, 130, 0)
    assert await take("b", 0, 150, least=101) == Slice(100, 130, 0), "who has something keeps it"
    assert await take("b", 60, 500, least=500) == Slice(40, 190, 0), "but what was spent of it is gone"
    assert await take("b", 1500, 0) == Slice(0, 1630, -1400)
    assert await take("c", 0, 770) == Slice(770, 1630, -1400), "what was promised is not taken away"
    assert await take("c", 0, 900) == Slice(770, 1630, -1400)
    assert await slices.take_slice("usd:2026-12", 1000, "a", 80, 0, 0) is None, "every month has a book of its own"


async def slices_that_were_lost_begin_at_what_is_said(slices: SliceLeaser) -> None:
    assert await slices.take_slice("usd:2026-11", 1000, "a", 70, 10, 0, 200) == Slice(10, 200, 790), "what it had spent is in the base"
    assert await slices.take_slice("usd:2026-11", 1000, "a", 75, 5, 0) == Slice(5, 205, 790)
    assert await slices.take_slice("usd:2026-11", 1000, "b", 40, 0, 0) == Slice(0, 205, 790)


async def slices_are_exact_at_any_size(slices: SliceLeaser) -> None:
    most = (1 << 53) - 1
    assert await slices.take_slice("usd:big", most, "a", 0, most, 0, 0) == Slice(most, 0, 0)
    assert await slices.take_slice("usd:big", most, "a", most - 1, 1, 0) == Slice(1, most - 1, 0)
