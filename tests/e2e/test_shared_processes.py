"""`tokenrouter serve` with two workers over one Redis and one Postgres: what holds over both, and when one of them, or all, must end."""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
import pytest
from kills import Bill, a_minute_later, compare
from redis_servers import RedisServer
from served import ADMIN_KEY, Gateway, Sandbox, fetch, lines, wait_for

PATIENT = {"REDIS_TIMEOUT_MS": "5000", "DB_TIMEOUT_MS": "10000"}
CHAT = "/v1/chat/completions"
PATIENCE_S = 60


class Served:
    """A gateway of two workers, and what its stores say."""

    def __init__(self, folder: Path, sandbox: Sandbox, redis: RedisServer, postgres_url: str) -> None:
        self.folder, self.sandbox, self.redis, self.postgres_url = folder, sandbox, redis, postgres_url
        self.environ = {"DATABASE_URL": postgres_url, "REDIS_URL": redis.url, "WORKERS": "2", "ADMIN_API_KEY": ADMIN_KEY, **PATIENT}
        self.gateways: list[Gateway] = []
        self.pool = ThreadPoolExecutor(64)
        self._labels = iter(range(1_000_000))

    def start(self) -> Gateway:
        folder = self.folder / str(len(self.gateways))
        gateway = Gateway(folder, **self.environ, **self.sandbox.environ)
        self.gateways.append(gateway)
        return gateway

    def workers(self, gateway: Gateway) -> list[int]:
        """Pids of the processes that serve: those that have a connection to Redis."""
        return [pid for pid in gateway.children() if _talks_to(pid, self.redis.port)]

    def ask(self, gateway: Gateway, key: str, **more: Any) -> tuple[int, Any]:
        """One call, in the thread of the caller; (0, None) where the connection broke."""
        label = f"c{next(self._labels):05}"
        body = {"model": "gpt-4.1", "max_tokens": 60, "messages": [{"role": "user", "content": f"[{label}] Answer in 30 words."}], **more}
        try:
            return fetch(gateway.url + CHAT, body, key=key, X_TokenRouter_Call=label)
        except (OSError, HTTPException):
            return 0, None

    def asked(self, gateway: Gateway, key: str, **more: Any) -> "Future[tuple[int, Any]]":
        return self.pool.submit(self.ask, gateway, key, **more)

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres_url) as connection:
            return connection.execute(statement.encode()).fetchall()

    def rows(self) -> list[dict[str, Any]]:
        names = ("id", "key_id", "labels", "settled", "late", "cost", "held")
        found = self.select(f"SELECT {', '.join(names)} FROM ledger WHERE settled NOT IN ('free', 'void')")
        return [dict(zip(names, row, strict=True)) for row in found]

    def counter(self, key: str) -> dict[str, int]:
        """A quota's counter."""
        with self.redis.admin as admin:
            told = admin.hgetall(f"tr:{{default}}:c:{key.split('-')[2]}.quota")
        return {name: int(told.get(name.encode(), 0)) for name in ("spent", "held", "presumed")}

    def booked(self, key: str) -> dict[str, int]:
        """What the ledger says of it."""
        rows = [row for row in self.rows() if row["key_id"] == key.split("-")[2]]
        presumed = sum(row["cost"] for row in rows if row["settled"] == "presumed")
        return {"spent": sum(row["cost"] for row in rows) - presumed, "held": 0, "presumed": presumed}

    def settled(self, *keys: str) -> None:
        """Wait until nothing waits, and counters and ledger agree."""
        wait_for(lambda: not self.select("SELECT id FROM intents"), within_s=PATIENCE_S, what="the end of every intent")
        for key in keys:
            wait_for(lambda key=key: self.counter(key) == self.booked(key), within_s=PATIENCE_S, what="agreement")

    def close(self) -> None:
        for gateway in self.gateways:
            gateway.stop()
        self.pool.shutdown()


def _talks_to(pid: int, port: int) -> bool:
    """Whether a process has a connection to a port of this machine."""
    try:
        sockets = {os.readlink(handle)[8:-1] for handle in Path(f"/proc/{pid}/fd").iterdir() if os.readlink(handle).startswith("socket:")}
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    remote = f":{port:04X}"
    return any(fields[9] in sockets and fields[2].endswith(remote) and fields[3] == "01" for fields in (line.split() for line in table))


@pytest.fixture
def served(tmp_path: Path, own_redis: RedisServer, postgres_url: str) -> Iterator[Served]:
    sandbox = Sandbox(tmp_path / "sandbox")
    made = Served(tmp_path, sandbox, own_redis, postgres_url)
    yield made
    sandbox.control("release")
    made.close()
    sandbox.stop()


def admin(gateway: Gateway, path: str, body: Any) -> Any:
    status, said = fetch(gateway.url + path, body, key=ADMIN_KEY)
    assert status in (200, 201), said
    return said


def test_two_workers_are_one_gateway_and_one_of_them_may_be_killed_at_any_moment(served: Served):
    gateway = served.start()
    both(served, gateway)
    _limits_are_one(served, gateway)
    _caps_are_one(served, gateway)
    assert _makers(served) == 2, "both workers have served"
    _killed_workers_come_back(served, gateway)
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.err


def both(served: Served, gateway: Gateway) -> list[int]:
    """Wait for two workers."""
    wait_for(lambda: len(served.workers(gateway)) == 2, within_s=PATIENCE_S, what="two workers")
    return served.workers(gateway)


def _makers(served: Served) -> int:
    """How many workers have placed holds."""
    with served.redis.admin as redis:
        return len({name.rpartition(b".")[2][:8] for name in redis.zrange("tr:{default}:done", 0, -1)})


def _limits_are_one(served: Served, gateway: Gateway) -> None:
    key = admin(gateway, "/admin/api-keys", {})["key"]
    limit = {"scope": {"key": key.split("-")[2]}, "metric": "requests", "amount": 15, "window": "day", "kind": "sliding"}
    admin(gateway, "/admin/tenants/default/limits", limit)
    answers = [asked.result() for asked in [served.asked(gateway, key) for _ in range(40)]]
    assert sorted(status for status, _ in answers) == [200] * 15 + [429] * 25


def _caps_are_one(served: Served, gateway: Gateway) -> None:
    probe = admin(gateway, "/admin/api-keys", {"quota_usd": "100"})["key"]
    assert served.ask(gateway, probe)[0] == 200
    served.settled(probe)
    worst = next(row["held"] for row in served.rows() if row["key_id"] == probe.split("-")[2])
    key = admin(gateway, "/admin/api-keys", {"quota_usd": f"{20 * worst / 1e9:.9f}"})["key"]
    served.sandbox.control("hold")
    asking = [served.asked(gateway, key) for _ in range(50)]
    wait_for(lambda: sum(asked.done() for asked in asking) == 30, within_s=PATIENCE_S, what="thirty refusals")
    wait_for(lambda: fetch(f"{served.sandbox.url}/__sandbox/hold")[1]["waiting"] == 20, within_s=PATIENCE_S, what="twenty at the provider")
    served.sandbox.control("release")
    assert sorted(asked.result()[0] for asked in asking) == [200] * 20 + [429] * 30
    served.settled(probe, key)


def _killed_workers_come_back(served: Served, gateway: Gateway) -> None:
    key = admin(gateway, "/admin/api-keys", {"quota_usd": "100"})["key"]
    bill, chance, stop = Bill(served.sandbox), random.Random(4), threading.Event()
    bill.read()
    earlier = set(bill.charged)
    answers: list[int] = []
    workers = both(served, gateway)

    def load(number: int) -> None:
        while not stop.is_set():
            answers.append(served.ask(gateway, key, stream=number % 2 == 0)[0])

    loading = [served.pool.submit(load, number) for number in range(6)]
    try:
        for _ in range(3):
            good = answers.count(200)
            wait_for(lambda good=good: answers.count(200) > good + 6, within_s=PATIENCE_S, what="load")
            time.sleep(chance.random() * 0.1)  # any moment will do
            oldest = workers.pop(0)  # one that dies twice within seconds would end its parent too
            os.kill(oldest, signal.SIGKILL)
            bill.read()
            wait_for(lambda: len(set(served.workers(gateway)) - {oldest}) == 2, within_s=PATIENCE_S, what="another worker")  # noqa: B023
            workers += set(served.workers(gateway)) - {oldest, *workers}
    finally:
        stop.set()
    for each in loading:
        each.result(PATIENCE_S)
    assert set(answers) <= {200, 0, 502, 503}, "nothing but broken connections"
    bill.settle()
    asyncio.run(a_minute_later(served.environ, served.redis))
    served.settled(key)
    mine = [row for row in served.rows() if row["key_id"] == key.split("-")[2]]
    bill.charged = {label: nano_usd for label, nano_usd in bill.charged.items() if label not in earlier}
    kinds = compare(bill, mine)
    assert sum(kinds.values()) >= answers.count(200)
    assert kinds["exact"] > 20, "all but the few whose worker died behind the last byte"


@pytest.mark.slow  # under load one of the eight stalled streams sometimes comes to its regular end before it is released: not understood
def test_a_polite_end_cuts_no_stream_and_others_go_on(served: Served):
    first, second = served.start(), served.start()
    for gateway in (first, second):
        both(served, gateway)
    key = admin(first, "/admin/api-keys", {"quota_usd": "100"})["key"]
    served.sandbox.control("faults", [{"kind": "stall", "after": 6}] * 8)
    streams: list[list[bytes]] = [[] for _ in range(8)]

    def read(number: int) -> None:
        body = {
            "model": "gpt-4.1",
            "stream": True,
            "max_tokens": 200,
            "messages": [{"role": "user", "content": f"[s{number:05}] Answer in 90 words."}],
        }
        streams[number].extend(lines(first.url + CHAT, body, key))

    reading = [served.pool.submit(read, number) for number in range(8)]
    wait_for(lambda: served.sandbox.control("faults")["stalled"] == 8, within_s=PATIENCE_S, what="eight streams")
    first.terminate()
    wait_for(lambda: not first.answers(), within_s=PATIENCE_S, what="the end of new business")
    assert served.ask(second, key)[0] == 200, "another one takes over"
    assert [stream[-3:] for each, stream in zip(reading, streams, strict=True) if each.done()] == [], "nobody is cut"
    served.sandbox.control("release")
    for each in reading:
        each.result(PATIENCE_S)
    assert {stream[-2] for stream in streams} == {b"data: [DONE]\n"}
    assert first.ended(PATIENCE_S) == 0
    served.settled(key)
    rows = served.rows()
    assert [(row["settled"], row["late"]) for row in rows] == [("exact", 0)] * 9
    assert sum(row["cost"] for row in rows) == served.sandbox.control("bill")["nano_usd"]
    assert "Traceback" not in first.err
