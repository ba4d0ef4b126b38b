"""Gateways that are killed without a warning, at moments that nobody chose: the vendor's own bill against the ledger, call by call."""

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from kills import Bill, Nursery, a_minute_later, compare, quota_state
from redis_servers import RedisServer
from served import Sandbox

from tokenrouter.clock import SystemClock
from tokenrouter.model.admission import CapState
from tokenrouter.money import parse_usd
from tokenrouter.settings import load_settings
from tokenrouter.wiring.stores import open_directory

QUOTA = parse_usd("1000")
PATIENT = {"REDIS_TIMEOUT_MS": "5000", "DB_TIMEOUT_MS": "10000"}


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    made = Nursery(tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    started = Sandbox(tmp_path / "sandbox")
    yield started
    started.stop()


def new_key(environ: dict[str, str]) -> str:
    async def make() -> str:
        directory = await open_directory(load_settings(environ), SystemClock())
        try:
            return (await directory.create(tenant="default", quota=QUOTA))[0]
        finally:
            await directory.aclose()

    return asyncio.run(make())


POINTS = [pytest.param(5, id="5"), pytest.param(200, id="200", marks=pytest.mark.slow)]


@pytest.mark.parametrize("points", POINTS)
def test_a_process_of_its_own_stores_is_killed_and_started_again_and_again(nursery: Nursery, own_sandbox: Sandbox, tmp_path: Path, points: int):
    environ = {"DATA_DIR": str(tmp_path / "data"), "TOKENROUTER_CONFIG": os.devnull, **own_sandbox.environ}
    key, bill, chance = new_key(environ), Bill(own_sandbox), random.Random(points)
    for number in range(points):
        pid = nursery.start(f"e{number}", environ, key)
        time.sleep(chance.random() * 0.25)  # any moment will do
        nursery.kill(pid)
        bill.read()
    bill.settle()
    nursery.ended(nursery.start("end", environ, key, asking=1, calls=2))
    bill.settle()
    with closing(sqlite3.connect(tmp_path / "data" / "state.db")) as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute("SELECT labels, settled, cost FROM ledger WHERE settled <> 'void'")]
    kinds = compare(bill, rows)
    assert kinds["exact"] > points, "killed under load"
    assert kinds.get("presumed", 0) > 0
    assert not list((tmp_path / "data").glob("journal*.jsonl"))


@pytest.mark.parametrize("points", POINTS)
def test_one_of_two_workers_is_killed_again_and_again(
    nursery: Nursery, own_sandbox: Sandbox, own_redis: RedisServer, postgres_url: str, tmp_path: Path, points: int
):
    environ = {
        "DATA_DIR": str(tmp_path / "data"),
        "TOKENROUTER_CONFIG": os.devnull,
        "DATABASE_URL": postgres_url,
        "REDIS_URL": own_redis.url,
        **PATIENT,
        **own_sandbox.environ,
    }
    key, bill, chance = new_key(environ), Bill(own_sandbox), random.Random(points)
    workers = [nursery.start(f"s{number}", environ, key) for number in range(2)]
    for number in range(points):
        time.sleep(chance.random() * 0.25)
        nursery.kill(workers.pop(0))
        bill.read()
        workers.append(nursery.start(f"s{number + 2}", environ, key))
    for pid in workers:
        nursery.kill(pid)
    bill.settle()
    asyncio.run(a_minute_later(environ, own_redis))
    nursery.ended(nursery.start("end", environ, key, asking=1, calls=2))
    bill.settle()
    with psycopg.connect(postgres_url) as db:
        found = db.execute("SELECT labels, settled, cost FROM ledger WHERE settled NOT IN ('void', 'free')").fetchall()
        assert db.execute("SELECT id FROM intents").fetchall() == []
    rows = [dict(zip(("labels", "settled", "cost"), row, strict=True)) for row in found]
    kinds = compare(bill, rows)
    assert kinds["exact"] > points
    assert kinds.get("presumed", 0) > 0
    state = asyncio.run(quota_state(environ, key))
    presumed = sum(row["cost"] for row in rows if row["settled"] == "presumed")
    assert state == CapState(sum(row["cost"] for row in rows) - presumed, 0, presumed)
