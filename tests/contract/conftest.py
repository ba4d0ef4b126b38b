"""One gateway for each module of the contract suite, on a clock that stands still; nobody waits for ever."""

import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))

from counting import place as place
from rig import Rig, running

LONGEST_S = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--matrix-update`: write docs/matrix.json and docs/matrix.md from what is measured."""
    parser.addoption("--matrix-update", action="store_true", help="write the matrix from what is measured")


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A gateway with default settings for a whole module."""
    async with running(tmp_path_factory.mktemp("contract") / "data") as started:
        yield started
