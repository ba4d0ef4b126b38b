"""Fixtures: a gateway on a clock that stands still, and a way to start more of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
from rig import Rig, running

from tokenrouter.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def rig(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Rig]:
    """A gateway with default settings; the simulated providers share its clock."""
    async with running(tmp_path / "data", clock=clock) as started:
        yield started


@pytest.fixture
def start(tmp_path: Path, clock: ManualClock) -> Callable[..., AbstractAsyncContextManager[Rig]]:
    """`async with start(SETTING="value") as rig`: over the same folder each time."""
    return partial(running, tmp_path / "data", clock=clock)
