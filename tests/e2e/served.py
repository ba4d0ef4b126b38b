"""Real processes: the gateway and the simulated providers behind granian, on free ports of this machine."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ADMIN_KEY = "admin-of-these-tests"
PROVIDER_KEY = "sk-test-nobody-bills-this"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(true: Callable[[], Any], *, within_s: float = 20, what: str = "it") -> Any:
    """Ask until something is true; gives what it was."""
    deadline = time.monotonic() + within_s
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {within_s} s")
        time.sleep(0.02)


def clean_environ(**more: str) -> dict[str, str]:
    """An environment without anything that a gateway would read, but for `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL")) and not name.startswith("TOKENROUTER")}
    for name in ("HOST", "PORT", "WORKERS", "DATA_DIR", "SANDBOX", "LOG_LEVEL"):
        kept.pop(name, None)
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


class Process:
    """`python -m tokenrouter …`, with what it says in files."""

    def __init__(self, folder: Path, *arguments: str, **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.out_file, self.err_file = folder / "stdout", folder / "stderr"
        with self.out_file.open("wb") as out, self.err_file.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tokenrouter", *arguments], cwd=folder, env=clean_environ(**environ), stdout=out, stderr=err
            )

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def err(self) -> str:
        return self.err_file.read_text()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self, within_s: float = 30) -> int:
        """Wait for its end; gives its status."""
        return self.process.wait(within_s)

    def stop(self) -> int:
        """End it, politely, then not."""
        if self.process.poll() is None:
            self.terminate()
            try:
                return self.ended()
            except subprocess.TimeoutExpired:
                for pid in self.children():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.process.kill()
                raise
        return self.process.returncode

    def children(self) -> list[int]:
        """Pids of the processes below it."""
        found: list[int] = []
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    below = [int(word) for word in (task / "children").read_text().split()]
                    found += below
                    waiting += below
        return found

    def holder_of(self, file: Path) -> int | None:
        """Pid of the child that has a file open."""
        for pid in self.children():
            with contextlib.suppress(OSError):
                for handle in Path(f"/proc/{pid}/fd").iterdir():
                    if handle.resolve() == file.resolve():
                        return pid
        return None


class Gateway(Process):
    """A gateway that is ready. `key`: a client key, where keys were printed."""

    def __init__(self, folder: Path, *arguments: str, port: int | None = None, wait: bool = True, **environ: str) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        super().__init__(folder, "serve", "--print-keys", *arguments, PORT=str(self.port), DATA_DIR=str(self.data), **environ)
        if wait:
            self.ready()
            found = re.search(r"client key: (\S+)", self.out)
            self.key = found[1] if found else ""

    def ready(self, within_s: float = 30) -> None:
        wait_for(lambda: self.process.poll() is not None or self.answers(), within_s=within_s, what="readiness")
        assert self.process.poll() is None, self.err

    def answers(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path: str, key: str = "") -> tuple[int, Any]:
        return fetch(self.url + path, key=key)

    def post(self, path: str, body: Any, key: str | None = None, **headers: str) -> tuple[int, Any]:
        return fetch(self.url + path, body, key=self.key if key is None else key, **headers)


class Sandbox(Process):
    """The simulated providers in a process of their own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(folder, "sandbox", "--port", str(self.port), *arguments)
        wait_for(self._up, what="the sandbox")

    def _up(self) -> bool:
        try:
            return fetch(self.url + "/__sandbox/health")[0] == 200
        except OSError:
            return False

    @property
    def environ(self) -> dict[str, str]:
        """What makes a gateway take it for the real providers."""
        vertex = "/vertex/v1/projects/sandbox/locations/global/publishers"
        bases = {
            "OPENAI": "/openai/v1",
            "ANTHROPIC": "/anthropic",
            "DEEPSEEK": "/deepseek",
            "GEMINI": "/gemini/v1beta",
            "BEDROCK": "/bedrock",
            "VERTEX": f"{vertex}/google",
            "VERTEX_ANTHROPIC": f"{vertex}/anthropic",
        }
        keys = [f"{vendor}_API_KEY" for vendor in ("OPENAI", "ANTHROPIC", "DEEPSEEK", "GEMINI")]
        return {
            **{f"{vendor}_BASE_URL": self.url + path for vendor, path in bases.items()},
            **dict.fromkeys((*keys, "AWS_BEARER_TOKEN_BEDROCK", "VERTEX_ACCESS_TOKEN"), PROVIDER_KEY),
            "OLLAMA_URL": f"{self.url}/ollama",
        }

    def control(self, path: str, body: Any = None) -> Any:
        status, said = fetch(f"{self.url}/__sandbox/{path}", {} if body is None and path in ("hold", "release", "reset") else body)
        assert status == 200, said
        return said

    @property
    def bill(self) -> list[dict[str, Any]]:
        return self.control("bill")["lines"]


def fetch(url: str, body: Any = None, *, key: str = "", **headers: str) -> tuple[int, Any]:
    """GET, or POST where there is a body. Gives the status and the parsed body."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **sent})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            status, raw = response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            status, raw = error.code, error.read()
    try:
        return status, json.loads(raw)
    except ValueError:
        return status, raw


def lines(url: str, body: Any, key: str) -> Iterator[bytes]:
    """The lines of a streamed answer as they come."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", "Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=120) as response:
        yield from response
