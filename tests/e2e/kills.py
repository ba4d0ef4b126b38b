"""A nursery of gateways that are killed, and what is compared afterwards: the vendor's bill, line by line, with the ledger."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from redis_servers import RedisServer
from served import ROOT, Sandbox, clean_environ, wait_for

from tokenrouter.clock import SystemClock
from tokenrouter.storage.carrier import Carrier
from tokenrouter.storage.postgres import Postgres
from tokenrouter.storage.postgres_ledger import FILES, PostgresLedger
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_counters import RedisCounters

CHILD = Path(__file__).with_name("kill_child.py")


class Nursery:
    """Starts gateways quickly: they are forked from a process that has imported everything."""

    def __init__(self, folder: Path) -> None:
        self._errors = (folder / "children-stderr").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=clean_environ(),
            cwd=ROOT,
            text=True,
            bufsize=1,
        )
        self.alive: set[int] = set()

    def start(self, name: str, environ: dict[str, str], key: str, *, asking: int = 4, calls: int = 0, within_s: float = 60) -> int:
        """The pid of a gateway that has answered its first call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = {"name": name, "environ": environ, "key": key, "asking": asking, "calls": calls}
        self._process.stdin.write(json.dumps(told) + "\n")
        readable, _, _ = select.select([self._process.stdout], [], [], within_s)
        assert readable, self.errors
        pid = int(self._process.stdout.readline() or 0)
        assert pid, self.errors
        self.alive.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.ended(pid)

    def ended(self, pid: int, within_s: float = 60) -> None:
        """Wait until a gateway is no more."""
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), within_s=within_s, what="the end of a child")
        self.alive.discard(pid)

    @property
    def errors(self) -> str:
        self._errors.flush()
        return Path(self._errors.name).read_text()[-4000:]

    def close(self) -> None:
        for pid in list(self.alive):
            self.kill(pid)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


class Bill:
    """What the sandbox says of every call that it saw, by the label in its prompt. It forgets, so it is asked again and again."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._labels: dict[int, str] = {}
        self.charged: dict[str, int] = {}

    def read(self) -> None:
        lines = self._sandbox.bill
        for each in self._sandbox.control("requests")["requests"]:
            found = re.search(r"\[([\w.]+)\] ", each["body"])
            if found:
                self._labels[each["at_ns"]] = found[1]
        for line in lines:
            self.charged[self._labels[line["started_ns"]]] = line["nano_usd"]

    def settle(self) -> None:
        """Wait until the sandbox has noticed that its callers are gone."""
        before = -1
        deadline = time.monotonic() + 30
        while before != len(self.charged):
            before = len(self.charged)
            time.sleep(0.3)
            self.read()
            assert time.monotonic() < deadline


def compare(bill: Bill, rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Every call that was billed has exactly one row, exact or at least as high; how many rows there are of each kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    kinds: dict[str, int] = {}
    for row in rows:
        labels = row["labels"] if isinstance(row["labels"], dict) else json.loads(row["labels"])
        found.setdefault(labels["call"], []).append(row)
        kinds[row["settled"]] = kinds.get(row["settled"], 0) + 1
    for label, nano_usd in bill.charged.items():
        mine = found.get(label, [])
        assert len(mine) == 1 or (not nano_usd and not mine), f"{label}: {mine}"
        for row in mine:
            if row["settled"] == "exact":
                assert row["cost"] == nano_usd, (label, row)
            else:
                assert row["settled"] in ("estimated", "presumed"), (label, row)
                assert row["cost"] >= nano_usd, (label, row)
    assert all(len(rows) == 1 for rows in found.values()), "two rows of one call"
    return kinds


class Stranger:
    """Another worker, as far as the stores can tell, that only looks after what others left."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.redis = RedisClient(environ["REDIS_URL"], timeout_s=10)
        self.db = Postgres(environ["DATABASE_URL"], *FILES, timeout_s=10)
        self.counters = RedisCounters(self.redis)
        self.carrier = Carrier(self.redis, PostgresLedger(self.db, SystemClock()), SystemClock(), worker="stranger")

    async def aclose(self) -> None:
        await self.counters.aclose()
        await self.redis.aclose()
        await self.db.aclose()


async def a_minute_later(environ: Mapping[str, str], server: RedisServer) -> None:
    """Nobody has renewed what the dead held: it is presumed spent, and carried."""
    stranger = Stranger(environ)
    with server.admin as admin:
        for name in admin.zrange("tr:{default}:holds", 0, -1):
            admin.zadd("tr:{default}:holds", {name: 1})
    while await stranger.counters.expire("default"):
        pass
    await stranger.carrier.drain("default", idle_ms=0)
    await stranger.aclose()


async def quota_state(environ: Mapping[str, str], key: str) -> Any:
    stranger = Stranger(environ)
    try:
        return await stranger.counters.cap_state("default", f"c:{key.split('-')[2]}.quota")
    finally:
        await stranger.aclose()
