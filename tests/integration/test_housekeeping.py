"""Chores beside the requests: old rows become sums of days, and nothing that a cap or a total counts is lost."""

import pytest
from rig import question, running

from tokenrouter.clock import ManualClock
from tokenrouter.wiring.housekeeping import Housekeeping

DAY_S = 86_400


@pytest.mark.parametrize(("days", "left"), [("35", 1), ("0", 2)])
async def test_rows_leave_after_their_time_and_the_quota_still_counts_them(tmp_path, days, left):
    clock = ManualClock()
    async with running(tmp_path / "data", clock=clock, LEDGER_RETENTION_DAYS=days) as rig:
        key = rig.new_key(quota=10**9)
        await rig.chat(question("old", max_tokens=20), key=key)
        old = rig.spent(key)
        clock.advance(40 * DAY_S)
        await rig.chat(question("young", max_tokens=20), key=key)
        spent = rig.spent(key)
        assert spent > old > 0
        assert len(rig.billed_rows()) == 2
        await rig.gateway.stores._chores.once()
        assert len(rig.billed_rows()) == left
    async with running(tmp_path / "data", clock=clock) as rig:
        state = rig.state(rig.key_id(key), f"c:{rig.key_id(key)}.quota")
        assert state.spent == spent


async def test_a_chore_that_fails_holds_up_no_other():
    done = []

    async def fails() -> None:
        raise RuntimeError("no")

    async def works() -> None:
        done.append(True)

    await Housekeeping({"first": fails, "second": works}).once()
    assert done == [True]
