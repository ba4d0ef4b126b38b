"""One gateway per policy, in this process, over a temporary folder, with the simulated providers behind it and a clock that is moved by hand.

No provider key of the environment is looked at, and no configuration file: whatever is asked, only simulated providers can answer.
Kept and shared answers are off, as they depend on answers, which are the simulator's: this is about prompts.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from tokenrouter.api.app import App
from tokenrouter.clock import ManualClock
from tokenrouter.model.directory import Tenant
from tokenrouter.model.edits import CONTENT_PARTS, LIMITS_FIT, MARKS_PLAN, SWITCHABLE, USAGE_ASK
from tokenrouter.model.principal import PromptCacheOptions
from tokenrouter.model.record import RequestRecord
from tokenrouter.replay.read import Captured
from tokenrouter.sandbox import SandboxApp, Tokens
from tokenrouter.sandbox.bill import Line
from tokenrouter.sandbox.prices import Price
from tokenrouter.sandbox.tiers import priced
from tokenrouter.serving.services import Services
from tokenrouter.settings import Settings, load_settings
from tokenrouter.upstream.asgi_transport import AsgiTransport
from tokenrouter.wiring import Gateway

_MOST_OF_AN_ERROR: Final = 4_096
_LONGEST_WHY: Final = 300


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway may do to prompts. `edits_off`: edits that it may not make. `place`: of marks, too."""

    id: str
    label: str
    edits_off: frozenset[str] = frozenset()
    place: bool = True


AS_IT_CAME: Final = Policy(id="as_it_came", label="as it came", edits_off=SWITCHABLE - {USAGE_ASK, LIMITS_FIT}, place=False)
MARKS_ONLY: Final = Policy(id="marks_only", label="marks only, no edits", edits_off=SWITCHABLE - {USAGE_ASK, LIMITS_FIT, MARKS_PLAN, CONTENT_PARTS})
WITH_GATEWAY: Final = Policy(id="gateway", label="with the gateway")
POLICIES: Final = (AS_IT_CAME, MARKS_ONLY, WITH_GATEWAY)
MOVED: Final = Policy(id="moved", label="and texts moved")
"""As `WITH_GATEWAY`, once somebody has approved what was found. Only where there is something to approve."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request under one policy. nano-USD by the simulator's own bill.

    why    it was not answered; "": it was
    price  of its model, by the same bill; None where nothing was billed
    """

    record: RequestRecord
    tokens: Tokens = Tokens()
    input_nano: int = 0
    output_nano: int = 0
    price: Price | None = None
    why: str = ""


class Replayed:
    """A running gateway under one policy."""

    def __init__(self, app: App, gateway: Gateway, clock: ManualClock, key: str, tenant: str) -> None:
        self._app, self.gateway, self.clock, self._key, self._tenant = app, gateway, clock, key, tenant
        transport = gateway.services.sandbox_transport
        if not isinstance(transport, AsgiTransport) or not isinstance(transport.app, SandboxApp):
            raise TypeError("no simulated providers stand behind this gateway")
        self._sandbox = transport.app

    @property
    def services(self) -> Services:
        """What the gateway works with."""
        return self.gateway.services

    @property
    def sandbox(self) -> SandboxApp:
        """The simulated providers behind it."""
        return self._sandbox

    async def send(self, captured: Captured, at_ns: int) -> tuple[int, str, bytes]:
        """Send one request at its time: status, the request's id, and the beginning of the answer."""
        self.clock.advance((at_ns - self.clock.time_ns()) / 1_000_000_000)
        return await _post(self._app, captured, self._key)

    async def ask(self, captured: Captured, at_ns: int) -> Asked:
        """Send one request at its time, and wait until everything about it is booked and learned."""
        self._sandbox.bill.clear()
        self._sandbox.requests.clear()
        status, request_id, body = await self.send(captured, at_ns)
        await self.services.flights.drain()
        record = self.services.recorder.find(request_id, self._tenant) or RequestRecord(
            id=request_id, time_ns=at_ns, key_id="", tenant=self._tenant, dialect="", model_asked=""
        )
        lines = self._sandbox.bill.lines
        why = "" if status < 400 and not record.error else _why(status, record, body)
        return _billed(record, lines, why)


@asynccontextmanager
async def gateway_for(policy: Policy, folder: Path, start_ns: int, tenant: str, options: PromptCacheOptions | None = None) -> AsyncIterator[Replayed]:
    """Start a gateway over an empty folder, and end it. `start_ns`: what its clock shows; `options`: how the tenant wants its prompts treated."""
    clock = ManualClock(start_ns)
    app = App(settings_for(policy, folder), clock)
    async with app.lifespan():
        gateway = app.gateway
        assert gateway is not None  # noqa: S101  (the lifespan has begun)
        if options is not None:
            await gateway.keys.change_tenant(tenant, lambda _: Tenant(name=tenant, prompt_cache=options), actor="replay")
        key, _ = await gateway.keys.create(tenant=tenant)
        yield Replayed(app, gateway, clock, key, tenant)


def settings_for(policy: Policy, folder: Path) -> Settings:
    """Settings from nothing but these: neither the environment nor a configuration file is read."""
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "tokenrouter.toml"
    empty.write_bytes(b"")
    said = {
        "DATA_DIR": str(folder),
        "SANDBOX": "1",
        "EDITS_OFF": ",".join(sorted(policy.edits_off)),
        "PROMPT_CACHE_MODE": "on" if policy.place else "off",
        "CACHE_MODE": "off",
        "DEDUP_MODE": "off",
        "RATE_LIMIT_ENABLED": "false",
        "BODY_LIMIT_MB": "512",
    }
    return load_settings(said, config=empty)


def _billed(record: RequestRecord, lines: tuple[Line, ...], why: str) -> Asked:
    """Input and output apart: the simulator's answers are not those that were captured."""
    tokens, total, paid, price = Tokens(), 0, 0, None
    for line in lines:
        tokens = _sum(tokens, line.tokens)
        total += line.nano_usd
        if line.tokens == Tokens():
            continue
        price = priced(line.model, line.tier)
        whole = price.long if price.long is not None and line.tokens.prompt > price.long_above else price
        paid += whole.cost(msgspec.structs.replace(line.tokens, output=0))
        price = whole
    return Asked(record=record, tokens=tokens, input_nano=paid, output_nano=total - paid, price=price, why=why)


def _sum(a: Tokens, b: Tokens) -> Tokens:
    return Tokens(**{name: getattr(a, name) + getattr(b, name) for name in Tokens.__struct_fields__})


async def _post(app: App, captured: Captured, key: str) -> tuple[int, str, bytes]:
    """Status, the request's id, and the beginning of the answer."""
    said: Mapping[str, str] = {**captured.headers, "content-type": "application/json", "authorization": f"Bearer {key}"}
    scope: MutableMapping[str, Any] = {  # ASGI's own type
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": captured.path,
        "raw_path": captured.path.encode(),
        "query_string": captured.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in said.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    parts = [captured.body]
    status, request_id, body = 0, "", b""

    async def receive() -> MutableMapping[str, Any]:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await asyncio.Event().wait() and {}  # nobody hangs up

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status, request_id, body
        if message["type"] == "http.response.start":
            status = message["status"]
            request_id = next((value.decode() for name, value in message["headers"] if name == b"x-tokenrouter-request-id"), "")
        elif len(body) < _MOST_OF_AN_ERROR:
            body += message.get("body", b"")

    await app(scope, receive, send)
    return status, request_id, body


def _why(status: int, record: RequestRecord, body: bytes) -> str:
    """Why a request was not answered, in a few words."""
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError:
        said = {}
    error = said.get("error") if isinstance(said, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return f"{status} {record.error}: {message}"[:_LONGEST_WHY] if isinstance(message, str) else f"{status} {record.error}"
