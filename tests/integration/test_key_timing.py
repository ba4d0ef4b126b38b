"""What the time of a refusal tells: nothing."""

import bisect
import gc
import math
import random
import time
from collections.abc import Sequence

import pytest
from rig import Rig, call

_SAMPLES = 3_000
_CHANCE = 1e-4


def distance(one: Sequence[int], other: Sequence[int]) -> float:
    """The statistic of Kolmogorov and Smirnov: how far two samples' distributions are apart at most, 0 to 1."""
    a, b = sorted(one), sorted(other)
    return max(abs(bisect.bisect_right(a, each) / len(a) - bisect.bisect_right(b, each) / len(b)) for each in (*a, *b))


def critical(count: int) -> float:
    """What chance exceeds once in 1 / `_CHANCE` times, for two samples of this size."""
    return math.sqrt(-math.log(_CHANCE / 2) / 2) * math.sqrt(2 / count)


async def refusals(rig: Rig, keys: dict[str, str]) -> dict[str, list[int]]:
    """How long whole refusals take inside the gateway, in nanoseconds; kinds take turns by chance."""
    order = [kind for kind in keys for _ in range(_SAMPLES)]
    random.Random(1).shuffle(order)
    times: dict[str, list[int]] = {kind: [] for kind in keys}
    for kind in order:
        headers = {"authorization": f"Bearer {keys[kind]}"}
        began = time.perf_counter_ns()
        answer = await call(rig.app, "POST", "/v1/chat/completions", b"{}", headers)
        times[kind].append(time.perf_counter_ns() - began)
        assert answer.status == 401
    return times


@pytest.mark.slow
async def test_an_unknown_key_is_refused_in_the_time_of_a_wrong_secret(rig: Rig):
    secret = "x" * 43
    keys = {"wrong secret": f"sk-tr-{rig.key_id()}-{secret}", "unknown": f"sk-tr-{'ab' * 10}-{secret}"}
    assert (await rig.chat()).status == 200
    await refusals(rig, keys)  # what is done for the first time takes longer
    gc.disable()
    try:
        found = [distance(*(await refusals(rig, keys)).values()) for _ in range(3)]
    finally:
        gc.enable()
    assert min(found) < critical(_SAMPLES), f"{found} apart, {critical(_SAMPLES):.3f} may be chance"
