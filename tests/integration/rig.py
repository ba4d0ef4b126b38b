"""The whole gateway in this process, with its simulated providers within reach, and a client that speaks ASGI byte by byte."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import structs
from msgspec.structs import force_setattr

from tokenrouter.api.app import App
from tokenrouter.clock import Clock, ManualClock
from tokenrouter.model.admission import CapState, CountedCap
from tokenrouter.model.directory import KeyOptions
from tokenrouter.model.principal import ShareMode
from tokenrouter.model.rules import EACH, MOST_CAP, Cap, Limit, Rules, Scope
from tokenrouter.prefixes.memory import PromptMemory
from tokenrouter.quota.rules import Binder
from tokenrouter.sandbox import SandboxApp
from tokenrouter.settings import load_settings
from tokenrouter.storage.database import at_once
from tokenrouter.storage.embedded import EmbeddedLedger
from tokenrouter.upstream.asgi_transport import AsgiTransport
from tokenrouter.upstream.transport import Timeouts

CHAT = "/v1/chat/completions"
ADMIN_KEY = "admin-of-these-tests"
Pairs = list[tuple[bytes, bytes]]


class Response:
    """What came back. `hung_up`: the app was left before it had finished."""

    def __init__(self) -> None:
        self.status = 0
        self.raw_headers: Pairs = []
        self.frames: list[bytes] = []
        self.finished = False

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.raw_headers}

    @property
    def body(self) -> bytes:
        return b"".join(self.frames)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def cache(self) -> str:
        return self.headers["x-tokenrouter-cache"]

    @property
    def events(self) -> list[Any]:
        """Data of every server-sent event: parsed JSON, "[DONE]", or bytes that are neither."""
        found: list[Any] = []
        for block in self.body.replace(b"\r\n", b"\n").split(b"\n\n"):
            for line in block.split(b"\n"):
                if line.startswith(b"data:"):
                    data = line[5:].strip()
                    try:
                        found.append("[DONE]" if data == b"[DONE]" else json.loads(data))
                    except ValueError:
                        found.append(data)
        return found

    @property
    def text(self) -> str:
        """The visible text of a stream or of a whole answer."""
        if self.body.startswith(b"{"):
            return self.json["choices"][0]["message"]["content"]
        chunks = [event for event in self.events if isinstance(event, dict)]
        return "".join((choice["delta"].get("content") or "") for chunk in chunks for choice in chunk.get("choices", ()))


async def call(
    app: Callable[..., Awaitable[None]],
    method: str,
    path: str,
    body: bytes | list[bytes] = b"",
    headers: Mapping[str, str] | Pairs = (),  # type: ignore[assignment]
    *,
    gone: asyncio.Event | None = None,
    hang_up_after: int | None = None,
    pace: Callable[[], Awaitable[None]] | None = None,
    into: Response | None = None,
) -> Response:
    """One request. `gone`: set it to hang up; `hang_up_after`: frames after which the client leaves; `pace`: awaited before each frame."""
    response = into or Response()
    left = gone or asyncio.Event()
    parts = list(body) if isinstance(body, list) else [body]
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()] if isinstance(headers, Mapping) else list(headers)
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": pairs,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, Any]:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert not response.status, "two heads for one request"
            response.status, response.raw_headers = message["status"], list(message["headers"])
            return
        if pace is not None:
            await pace()
        if message.get("body"):
            response.frames.append(message["body"])
        response.finished = not message.get("more_body", False)
        if hang_up_after is not None and len(response.frames) >= hang_up_after:
            left.set()

    await app(scope, receive, send)
    return response


async def until(true: Callable[[], bool], *, within_s: float = 10) -> None:
    """Let the loop run until something is true."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError("it did not become true in time")
        await asyncio.sleep(0)


def question(text: str = "hello", *, model: str = "gpt-4.1", **more: Any) -> dict[str, Any]:
    """A request that may be shared and kept, unless told otherwise; a member that is None is left out."""
    fields = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **more}
    return {name: value for name, value in fields.items() if value is not None}


WATCH = Cap(id="watch", scope=Scope(key=EACH), amount=MOST_CAP, period="total", action="warn", alerts=())


class WatchingBinder(Binder):
    """Binds every key to a cap that refuses nothing, so that what it spends is counted, and to rules that a test adds."""

    extra = Rules()

    def bind(self, principal, customer, model, registered=None):
        rules = principal.rules
        if self.extra.limits or self.extra.caps:
            rules = Rules((*rules.limits, *self.extra.limits), (*rules.caps, *self.extra.caps), self.extra.zone)
        bound = self._bound(structs.replace(principal, rules=rules), customer, model, registered.rules if registered else Rules())
        return structs.replace(bound, caps=(*bound.caps, CountedCap(WATCH, f"c:watch:k={principal.key_id}")))


class Rig:
    """A running gateway."""

    def __init__(self, app: App, folder: Path, clock: Clock, *, make_key: bool = True) -> None:
        assert app.gateway is not None
        self.app, self.folder, self.clock = app, folder, clock
        self.gateway = app.gateway
        self.services = app.gateway.services
        self.set(binder=WatchingBinder(rate_limits=app.gateway.settings.rate_limit_enabled, default_rpm=app.gateway.settings.rate_limit_rpm))
        transport = self.services.sandbox_transport
        self.sandbox: SandboxApp = transport.app if isinstance(transport, AsgiTransport) else None  # type: ignore[assignment]
        self.key = self.new_key() if make_key else ""

    def new_key(
        self,
        tenant: str = "default",
        *,
        quota: int | None = None,
        rpm: int = 0,
        models: tuple[str, ...] = (),
        dedup_mode: ShareMode | None = None,
        cache_mode: ShareMode | None = None,
        edits_off: tuple[str, ...] = (),
    ) -> str:
        options = KeyOptions(models, dedup_mode, cache_mode, edits_off)
        return at_once(self.gateway.keys.create(tenant=tenant, quota=quota, rpm=rpm, options=options))[0]

    def bind(self, *rules: Limit | Cap, zone: str = "UTC") -> None:
        """Rules for every tenant."""
        limits = tuple(rule for rule in rules if isinstance(rule, Limit))
        self.services.binder.extra = Rules(limits, tuple(rule for rule in rules if isinstance(rule, Cap)), zone)

    def set(self, **services: Any) -> None:
        """Put others in the place of some services."""
        for name, value in services.items():
            force_setattr(self.services, name, value)

    def reset(self) -> None:
        """The simulated vendors forget everything, and the gateway what it remembers of prompts."""
        self.sandbox.reset()
        catalog = self.services.catalog
        self.set(prompts=PromptMemory(lambda name: catalog.model(*name.split("/", 1)).cache))

    def timeouts(self, *, first_byte: float, idle: float) -> None:
        """Shorter waits than the settings allow."""
        self.set(sandbox_transport=AsgiTransport(self.sandbox, Timeouts(1, first_byte, idle)))

    async def chat(self, body: Any = None, *, key: str | None = None, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
        """Ask a question; `headers` beside the key, `more` for `call`."""
        raw = body if isinstance(body, bytes | list) else json.dumps(question() if body is None else body).encode()
        if isinstance(body, list) and body and isinstance(body[0], dict):
            raw = json.dumps(body).encode()
        return await call(self.app, "POST", CHAT, raw, {"authorization": f"Bearer {key or self.key}", **(headers or {})}, **more)

    async def admin(self, method: str, path: str, body: Any = None, *, key: str = ADMIN_KEY) -> Response:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await call(self.app, method, path, raw, {"authorization": f"Bearer {key}", "content-type": "application/json"})

    async def get(self, path: str, *, key: str | None = None) -> Response:
        return await call(self.app, "GET", path, b"", {"authorization": f"Bearer {key or self.key}"})

    async def together(self, count: int, make: Callable[[int], Awaitable[Response]], *, calls: int) -> list[Response]:
        """Ask `count` times while the providers are held, until everybody has joined `calls` upstream calls; then let them answer."""
        self.sandbox.hold()
        tasks = [asyncio.ensure_future(make(number)) for number in range(count)]
        await self.sandbox.waiting(calls)
        await until(lambda: self.readers == count, within_s=30)
        assert self.sandbox.barrier.waiting_now == calls
        self.sandbox.release()
        return await asyncio.gather(*tasks)

    @property
    def ledger(self) -> EmbeddedLedger:
        """The ledger behind the books."""
        ledger = self.gateway.stores.ledger
        assert isinstance(ledger, EmbeddedLedger)
        return ledger

    @property
    def readers(self) -> int:
        """Requests that hold on to a call under way."""
        return sum(flight.readers for flight in self.services.flights._alive)

    async def landed(self) -> None:
        """Wait until no call is under way."""
        await until(lambda: not self.services.flights.under_way)

    def rows(self, where: str = "1") -> list[dict[str, Any]]:
        """The ledger, written out and read by another connection, oldest first."""
        assert self.ledger.writer.flush()
        return ledger_rows(self.folder, where)

    def billed_rows(self) -> list[dict[str, Any]]:
        """Rows of requests that were sent somewhere."""
        return self.rows("settled != 'free'")

    def key_id(self, key: str | None = None) -> str:
        return (key or self.key).split("-")[2]

    def spent(self, key: str | None = None, *, sandbox: bool = True) -> int:
        """What was booked for a key, for certain or presumably."""
        state = self.state(self.key_id(key), f"c:watch:k={self.key_id(key)}", sandbox=sandbox)
        return state.spent + state.presumed

    def held(self, key: str | None = None, *, sandbox: bool = True) -> int:
        return self.state(self.key_id(key), f"c:watch:k={self.key_id(key)}", sandbox=sandbox).held

    def state(self, key_id: str, counter: str, *, sandbox: bool = True) -> CapState:
        """A cap's counter."""
        stored = at_once(self.gateway.keys.get(key_id))
        assert stored is not None
        self.services.books.touch(self.services.binder.bind(stored.principal, "", ""), sandbox=sandbox)
        return at_once(self.services.books.cap_state(stored.principal.tenant, f"s{counter}" if sandbox else counter))


def ledger_rows(folder: Path, where: str = "1") -> list[dict[str, Any]]:
    """The ledger in a folder."""
    with sqlite3.connect(folder / "state.db") as db:
        db.row_factory = sqlite3.Row
        found = [dict(row) for row in db.execute(f"SELECT * FROM ledger WHERE {where} ORDER BY time_ns, id")]
    db.close()
    return found


@asynccontextmanager
async def running(folder: Path, *, clock: Clock | None = None, make_key: bool = True, **environ: str) -> AsyncIterator[Rig]:
    """Start a gateway over `folder`, and end it as a server would."""
    clock = clock or ManualClock()
    settings = load_settings({"DATA_DIR": str(folder), "ADMIN_API_KEY": ADMIN_KEY, "TOKENROUTER_CONFIG": "/dev/null", **environ})
    app = App(settings, clock)
    wanted: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    lifespan = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, wanted.get, said.put))
    wanted.put_nowait({"type": "lifespan.startup"})
    begun = await said.get()
    assert begun["type"] == "lifespan.startup.complete", begun
    rig = Rig(app, folder, clock, make_key=make_key)
    try:
        yield rig
    finally:
        if rig.sandbox is not None:
            rig.sandbox.release()
        wanted.put_nowait({"type": "lifespan.shutdown"})
        await said.get()
        await lifespan
