"""Fixtures: a gateway on a clock that stands still, and a way to start more of them."""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
from admin_desk import office  # noqa: F401
from directories import another, database, directory, open_again  # noqa: F401
from rig import Rig, running

from tokenrouter.clock import ManualClock

LONGEST_S = 90


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """Whoever waits for what never comes fails, instead of holding the suite up."""

    def too_late(*_: object) -> None:
        raise TimeoutError(f"this test took longer than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


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
