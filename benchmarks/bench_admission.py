"""What does admission cost? CPU µs of this process for admitting and settling one request, in one process and with Redis.

Redis is a real server on loopback, 64 requests in flight; its own CPU is not counted, as it is another machine's in earnest. Figures are
medians of rounds. Budgets are of a whole request (docs/design: 1 KB body): a kept answer that is given, or a call and its answer.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks.stores import redis_server
from tokenrouter.clock import SystemClock
from tokenrouter.errors import Unavailable
from tokenrouter.model.admission import Admitted, Ask, Bound, CountedCap, CountedLimit, Worst
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.rules import EACH, Cap, Limit, Scope
from tokenrouter.model.usage import Usage
from tokenrouter.quota.books import Counters
from tokenrouter.quota.process_counters import ProcessCounters
from tokenrouter.storage import redis_keys
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_counters import RedisCounters
from tokenrouter.storage.redis_rebuild import Rebuild, RedisRebuilds

BUDGET_US = {("process", "hit"): 60, ("redis", "hit"): 80, ("process", "call"): 150, ("redis", "call"): 150}
IN_FLIGHT = 64
PLENTY = 10**11
KNOWN = b"\x01" * 16
_KEPT = KeptAnswer(
    dialect="openai-chat", form="whole", body=b"x" * 1000, end=b"", usage=Usage(), cost=1, vendor="openai", model="gpt-4.1", sandbox=False,
    request_id="r", kept_ns=0, expires_ns=1 << 62,
)  # fmt: skip


def limits(metric: Any, *windows: Any, kind: Any = "bucket") -> tuple[CountedLimit, ...]:
    """Wide limits, one per window, each counted per key."""
    made = [Limit(id=f"{metric}-{window}", scope=Scope(key=EACH), metric=metric, amount=PLENTY, window=window, kind=kind) for window in windows]
    return tuple(CountedLimit(limit, f"l:{limit.id}:k=k1") for limit in made)


def caps(*periods: Any) -> tuple[CountedCap, ...]:
    """Wide caps, one per period."""
    return tuple(CountedCap(Cap(id=period, amount=(1 << 53) - 1, period=period), f"c:{period}:k=k1") for period in periods)


PLAIN = Bound(tenant="bench", requests=limits("requests", "minute"), caps=caps("total"))
EVERYTHING = Bound(
    tenant="bench",
    requests=limits("requests", "minute", "hour", "day"),
    concurrency=limits("concurrency", "minute"),
    tokens=(*limits("tokens", "minute"), *limits("tokens", "hour", kind="sliding")),
    caps=caps("total", "month", "day", "request"),
    zone="Europe/Berlin",
)


@dataclass(frozen=True)
class Case:
    """One way through admission."""

    name: str
    path: str
    bound: Bound
    answer: bytes | None = None


CASES = (
    Case("kept answer, 1 limit", "hit", PLAIN, KNOWN),
    Case("1 limit, 1 cap", "call", PLAIN),
    Case("6 limits, 4 caps", "call", EVERYTHING),
)


async def one(counters: Counters, case: Case, number: int) -> None:
    """One request: admitted, settled with less than it held, and gone."""
    worst = Worst(usd=1_000_000, tokens=2000, sandbox=False)
    given: Admitted = await counters.admit(case.bound, Ask(id=f"req-{number}", lease=True, worst=worst, answer=case.answer))
    if given.hold is not None:
        counters.settle(given.hold, 400_000, 900)
    if given.ticket is not None:
        counters.leave(given.ticket)


async def measure(place: str, counters: Counters, case: Case, count: int, rounds: int) -> dict[str, Any]:
    """CPU µs per request, and requests per second."""
    cpu, rate = [], []
    number = time.time_ns()

    async def client() -> None:
        nonlocal number
        while number < last:
            number += 1
            await one(counters, case, number)

    for turn in range(rounds + 1):
        last = number + (count if turn else count // 4)
        began, used = time.perf_counter_ns(), time.process_time_ns()
        await asyncio.gather(*[client() for _ in range(IN_FLIGHT)])
        if turn:
            cpu.append((time.process_time_ns() - used) / count / 1000)
            rate.append(count / (time.perf_counter_ns() - began) * 1e9)
    return {
        "place": place,
        "case": case.name,
        "cpu_us": statistics.median(cpu),
        "rps": statistics.median(rate),
        "request_budget_us": BUDGET_US[place, case.path],
    }


@asynccontextmanager
async def in_process() -> AsyncIterator[Counters]:
    """Counters of this process."""
    yield ProcessCounters(SystemClock(), answers=lambda _, identity: _KEPT if identity == KNOWN else None)


@asynccontextmanager
async def in_redis() -> AsyncIterator[Counters]:
    """Counters of one worker on a server of its own."""
    with redis_server() as url:
        client = RedisClient(url, timeout_s=10)
        counters = RedisCounters(client)
        try:
            await begin(client)
            yield counters
        finally:
            await counters.aclose()
            await client.aclose()


async def begin(client: RedisClient) -> None:
    """Wait for the server; counters begin at zero, and one answer is kept."""
    deadline = time.monotonic() + 30
    rebuilds = RedisRebuilds(client)
    while (rebuild := await _begun(rebuilds)) is None:
        if time.monotonic() > deadline:
            raise SystemExit("the server did not start within 30 s")
        await asyncio.sleep(0.05)
    await rebuilds.seed(rebuild, {})
    key = redis_keys.answer("bench", KNOWN)
    await client.command(key, "SET", key, msgspec.msgpack.encode(_KEPT))


async def _begun(rebuilds: RedisRebuilds) -> Rebuild | None:
    try:
        return await rebuilds.begin_rebuild("bench")
    except Unavailable:
        return None


PLACES: dict[str, Callable[[], Any]] = {"process": in_process, "redis": in_redis}


async def bench(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every case in every place."""
    rows = []
    for place in arguments.places or PLACES:
        async with PLACES[place]() as counters:
            for case in CASES:
                rows.append(await measure(place, counters, case, arguments.requests, arguments.rounds))
                if not arguments.json:
                    _print_row(rows[-1], header=len(rows) == 1)
    return rows


def _print_row(row: dict[str, Any], *, header: bool) -> None:
    if header:
        print(f"{platform.platform()}, {os.cpu_count()} CPUs; {IN_FLIGHT} in flight, medians\n")
        print(f"{'place':8} {'case':22} {'CPU us':>7} {'budget of the request':>22} {'share':>6} {'req/s':>8}")
    share = row["cpu_us"] / row["request_budget_us"]
    print(f"{row['place']:8} {row['case']:22} {row['cpu_us']:7.1f} {row['request_budget_us']:22} {share:6.0%} {row['rps']:8.0f}", flush=True)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="per round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--places", nargs="*", choices=list(PLACES))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        rows = asyncio.run(bench(arguments))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rows = runner.run(bench(arguments))
    if arguments.json:
        print(json.dumps({"machine": platform.platform(), "cpus": os.cpu_count(), "rows": rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
