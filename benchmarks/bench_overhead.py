"""How much does the gateway cost? CPU µs per request of its process tree, requests per second, and latency against the upstream alone.

The upstream is the echo provider in a process of its own; the client is a third. All share the machine, so figures are medians of
alternating rounds. `bare` is the least that could do the same in Python (benchmarks/bare_relay.py on the same server: an answer at once
for a hit, an aiohttp relay for the rest), measured in the same rounds: the ratio to it travels between machines, µs do not.
Linux only: CPU time comes from /proc.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.load import Result, run
from benchmarks.stores import free_port, postgres_server, redis_server

TICKS = os.sysconf("SC_CLK_TCK")
BUDGET_US = {"hit": 60, "miss": 150}  # docs/design: 1 KB body, one worker
CHUNK_BUDGET_US = 15
_WORDS = "a stable prefix is worth more than a clever suffix and nobody reads it twice "


@dataclass(frozen=True)
class Case:
    """One question: how large, and which way through the gateway."""

    size: int
    path: str

    @property
    def name(self) -> str:
        return f"{self.size // 1000} KB {self.path}"


def conversation(size: int) -> list[dict[str, str]]:
    """Messages of about `size` bytes together: a system text and turns of about 2 KB."""
    turn = (_WORDS * 30)[: min(2000, size // 2)]
    messages = [{"role": "system", "content": turn[: size // 4]}]
    while sum(len(m["content"]) + 40 for m in messages) < size - 300:
        role = "assistant" if messages[-1]["role"] == "user" else "user"
        left = size - 300 - sum(len(m["content"]) + 40 for m in messages)
        messages.append({"role": role, "content": f"{len(messages)} {turn}"[: max(40, left)]})
    if messages[-1]["role"] == "user":
        messages.append({"role": "assistant", "content": "yes"})
    return messages


def bodies(case: Case) -> Iterator[bytes]:
    """Endless request bodies. A hit repeats one body; a miss and a stream have a new last turn each time."""
    base = {"model": "echo", "temperature": 0, "max_tokens": 64, "messages": conversation(case.size)}
    if case.path == "stream":
        base["stream"] = True
    shell = json.dumps({**base, "messages": [*base["messages"], {"role": "user", "content": "NONCE " + _WORDS}]}, separators=(",", ":"))
    start = time.time_ns()
    for n in itertools.count():
        yield shell.replace("NONCE", "same" if case.path == "hit" else f"turn {start + n}").encode()


def requests(case: Case, host: str, path: str, key: str, count: int) -> Iterator[bytes]:
    """`count` whole HTTP requests."""
    for body in itertools.islice(bodies(case), count):
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        yield f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*"):
            todo += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds that a process tree has used."""
    total = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until something listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit("a server ended before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("a server did not start within 30 s")


class Servers:
    """The upstream and the gateway, for the time of a `with` block; over Redis and Postgres where it is `shared`."""

    def __init__(self, *, shared: bool = False, workers: int = 1) -> None:
        self._shared, self._workers = shared, workers
        self._stores = ExitStack()

    def _where(self) -> dict[str, str]:
        """Settings that say where state is kept; its servers are started."""
        if not self._shared:
            return {}
        urls = {"REDIS_URL": self._stores.enter_context(redis_server()), "DATABASE_URL": self._stores.enter_context(postgres_server())}
        return {**urls, "WORKERS": str(self._workers)}

    def __enter__(self) -> Self:
        self.folder = tempfile.TemporaryDirectory()
        self.upstream_port, self.port, self.bare_port = free_port(), free_port(), free_port()
        config = Path(self.folder.name) / "tokenrouter.toml"
        config.write_text(
            f'[providers.bench]\nbase_url = "http://127.0.0.1:{self.upstream_port}/echo/v1"\nkey_env = "BENCH_API_KEY"\n'
            'prices = "free"\nmodels = ["echo"]\n'
        )
        environment = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
        environment |= {
            "BENCH_API_KEY": "bench",
            "TOKENROUTER_CONFIG": str(config),
            "DATA_DIR": str(Path(self.folder.name) / "data"),
            "PORT": str(self.port),
            **self._where(),
        }
        command = [sys.executable, "-m", "tokenrouter"]
        self.upstream = subprocess.Popen([*command, "sandbox", "--port", str(self.upstream_port)], stdout=subprocess.DEVNULL)
        self.gateway = subprocess.Popen([*command, "serve"], env=environment, stdout=subprocess.DEVNULL)
        bare = {**os.environ, "BARE_UPSTREAM": f"http://127.0.0.1:{self.upstream_port}/echo/v1/chat/completions"}
        server = [sys.executable, "-m", "granian", "--interface", "asgi", "--loop", "uvloop", "--log-level", "warning"]
        self.bare = subprocess.Popen([*server, "--port", str(self.bare_port), "benchmarks.bare_relay:app"], env=bare)
        wait_for(self.bare_port, self.bare)
        wait_for(self.upstream_port, self.upstream)
        wait_for(self.port, self.gateway)
        made = subprocess.run([*command, "keys", "create"], env=environment, capture_output=True, text=True, check=True)
        self.key = made.stdout.strip()
        time.sleep(2.5)  # the gateway looks for new keys every two seconds
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.gateway, self.bare, self.upstream):
            process.send_signal(signal.SIGTERM)
        for process in (self.gateway, self.bare, self.upstream):
            process.wait(30)
        self._stores.close()
        self.folder.cleanup()


def measure(servers: Servers, case: Case, count: int, connections: int, rounds: int) -> dict[str, Any]:
    """Alternate direct, bare and through the gateway; medians."""
    ways = {
        "direct": (servers.upstream_port, "/echo/v1/chat/completions", servers.upstream.pid),
        "bare": (servers.bare_port, "/answer" if case.path == "hit" else "/relay", servers.bare.pid),
        "gateway": (servers.port, "/v1/chat/completions", servers.gateway.pid),
    }
    results: dict[str, list[Result]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, (port, path, pid) in ways.items():
            work = requests(case, "127.0.0.1", path, servers.key, count if turn else count // 4)
            before = cpu_s(pid)
            result = asyncio.run(run("127.0.0.1", port, work, connections, lambda head: head.startswith(b"HTTP/1.1 200")))
            if result.errors:
                raise SystemExit(f"{case.name}: {result.errors} of {result.requests} requests failed ({way}): {result.first_error[:300]!r}")
            if turn:
                results[way].append(result)
                cpu[way].append((cpu_s(pid) - before) / result.requests * 1e6)
    direct, through = results["direct"], results["gateway"]
    added = statistics.median(t.quantile(0.5) - d.quantile(0.5) for t, d in zip(through, direct, strict=True))
    chunks = statistics.median(t.chunks / t.requests for t in through)
    return {
        "case": case.name,
        "cpu_us": statistics.median(cpu["gateway"]),
        "bare_cpu_us": statistics.median(cpu["bare"]),
        "rps": statistics.median(t.requests / t.seconds for t in through),
        "direct_rps": statistics.median(d.requests / d.seconds for d in direct),
        "added_p50_us": added * 1e6,
        "p99_ms": statistics.median(t.quantile(0.99) for t in through) * 1e3,
        "chunks": chunks,
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000, help="per round at 1 KB; larger bodies get fewer")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 20_000, 200_000], help="bytes of a request's body")
    parser.add_argument("--shared", action="store_true", help="over Redis and Postgres, whose own CPU is not counted")
    parser.add_argument("--workers", type=int, default=1, help="with --shared: processes of the gateway")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.workers > 1 and not arguments.shared:
        parser.error("several workers need --shared")
    rows = []
    with Servers(shared=arguments.shared, workers=arguments.workers) as servers:
        for size in arguments.sizes:
            for path in ("miss", "hit", "stream"):
                count = max(200, arguments.requests * 1000 // max(1000, size // 4))
                rows.append(measure(servers, Case(size, path), count, arguments.connections, arguments.rounds))
                if not arguments.json:
                    _print_row(rows[-1], header=len(rows) == 1)
    if arguments.json:
        print(json.dumps({"machine": platform.platform(), "cpus": os.cpu_count(), "rows": rows}))
    return 0


def _print_row(row: dict[str, Any], *, header: bool) -> None:
    if header:
        print(f"{platform.platform()}, {os.cpu_count()} CPUs shared by client, gateway and upstream; medians\n")
        names = f"{'case':14} {'CPU us/req':>10} {'budget':>7} {'bare':>6} {'ratio':>6} {'req/s':>7} {'direct':>7}"
        print(f"{names} {'added p50 us':>13} {'p99 ms':>7} {'us/chunk':>9}")
    size, path = row["case"].split(" KB ")
    budget = BUDGET_US.get(path) if size == "1" else BUDGET_US["miss"] + 150 if (size, path) == ("200", "miss") else None
    per_chunk = f"{row['cpu_us'] / row['chunks']:9.1f}" if path == "stream" and row["chunks"] else ""
    print(
        f"{row['case']:14} {row['cpu_us']:10.0f} {budget or '':>7} {row['bare_cpu_us']:6.0f} {row['cpu_us'] / row['bare_cpu_us']:6.1f} "
        f"{row['rps']:7.0f} {row['direct_rps']:7.0f} {row['added_p50_us']:13.0f} {row['p99_ms']:7.2f} {per_chunk:>9}",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
