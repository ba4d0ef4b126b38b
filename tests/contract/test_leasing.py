"""Slots and slices, wherever workers lease them: in one process, and in Redis, alone and as a cluster."""

from collections.abc import AsyncIterator

import leasing
import pytest

from tokenrouter.clock import ManualClock
from tokenrouter.quota.shares import ProcessShares
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_shares import RedisShares

Leaser = ProcessShares | RedisShares


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["process", "redis", "cluster"])
async def leaser(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[Leaser]:
    if request.param == "process":
        yield ProcessShares(clock)
        return
    client = RedisClient(request.getfixturevalue(f"{request.param}_url"), timeout_s=2)
    yield RedisShares(client, clock=clock)
    await client.aclose()


@pytest.mark.parametrize("question", leasing.SLOTS)
async def test_slots(leaser: Leaser, clock: ManualClock, question) -> None:
    await question(leaser, clock.advance)


@pytest.mark.parametrize("question", leasing.SLICES)
async def test_slices(leaser: Leaser, clock: ManualClock, question) -> None:
    await question(leaser, clock.advance)
