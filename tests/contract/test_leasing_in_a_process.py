"""Slots and slices that are leased in one process."""

import leasing

from tokenrouter.clock import ManualClock
from tokenrouter.quota.slices import ProcessSlices
from tokenrouter.quota.slots import ProcessSlots


async def test_slots_are_shared_and_those_of_the_dead_are_free_again():
    for question in (leasing.slots_are_shared, leasing.slots_of_the_dead_are_free_again):
        clock = ManualClock()

        async def advance(ms: int, clock: ManualClock = clock) -> None:
            clock.advance(ms / 1000)

        await question(ProcessSlots(clock), advance)


async def test_slices_are_shared():
    for question in (leasing.slices_are_shared, leasing.slices_that_were_lost_begin_at_what_is_said, leasing.slices_are_exact_at_any_size):
        await question(ProcessSlices())
