"""`/__sandbox/`: steering the sandbox from another process.

GET  health              vendors and counters
GET  bill                lines and totals
GET  requests            what was received, bodies as text; ?last=N; credentials are masked
POST reset               forget everything
POST faults              one fault or a list of them; GET lists those that wait
POST script              one scripted answer or a list of them
POST clock               {"advance_s": 1.5}, for a clock that can be moved
POST hold                {"vendor": "openai"} or {}; GET tells who is held and how many wait
POST release             let everyone go, stalls included
"""

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from tokenrouter.clock import ManualClock
from tokenrouter.sandbox.answers import Scripted
from tokenrouter.sandbox.faults import Fault
from tokenrouter.sandbox.wire import encode

if TYPE_CHECKING:
    from tokenrouter.sandbox.app import SandboxApp

_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key", "x-amz-security-token"})


class _Hold(msgspec.Struct, forbid_unknown_fields=True):
    vendor: str | None = None


class _Advance(msgspec.Struct, forbid_unknown_fields=True):
    advance_s: float


async def control(app: "SandboxApp", method: str, path: str, query: str, body: bytes) -> tuple[int, bytes]:
    """Answer one control request with a status and a JSON body."""
    try:
        result = _get(app, path, query) if method == "GET" else _post(app, path, body) if method == "POST" else None
    except (msgspec.MsgspecError, ValueError) as error:
        return 400, encode({"error": str(error)})
    if result is None:
        return 404, encode({"error": f"no control endpoint {method} /__sandbox/{path}"})
    return 200, encode(result)


def _get(app: "SandboxApp", path: str, query: str) -> object:
    match path:
        case "health":
            return {"vendors": app.vendors, "requests": app.requests.seen, "now_ns": app.clock.time_ns()}
        case "bill":
            return {"lines": app.bill.lines, "totals": app.bill.totals, "nano_usd": app.bill.nano_usd}
        case "requests":
            last = int(parse_qs(query).get("last", ["1000"])[0])
            return {"seen": app.requests.seen, "requests": [_received(item) for item in app.requests.items[-last:]]}
        case "faults":
            return {"pending": app.faults.pending, "stalled": app.faults.stalled}
        case "hold":
            return {"held": app.barrier.held, "waiting": app.barrier.waiting_now}
        case _:
            return None


def _received(item: msgspec.Struct) -> dict[str, object]:
    fields: dict[str, object] = msgspec.structs.asdict(item)
    body, headers = fields["body"], fields["headers"]
    fields["body"] = body.decode(errors="replace") if isinstance(body, bytes) else ""
    if isinstance(headers, dict):
        fields["headers"] = {name: "***" if name in _SECRET_HEADERS else value for name, value in headers.items()}
    return fields


def _post(app: "SandboxApp", path: str, body: bytes) -> object:
    match path:
        case "reset":
            app.reset()
        case "faults":
            faults = msgspec.json.decode(body, type=Fault | list[Fault])
            for fault in faults if isinstance(faults, list) else [faults]:
                app.fault(fault)
        case "script":
            answers = msgspec.json.decode(body, type=Scripted | list[Scripted])
            app.script(*(answers if isinstance(answers, list) else [answers]))
        case "clock":
            if not isinstance(app.clock, ManualClock):
                raise ValueError("this sandbox runs on the system's clock, which nobody can move")  # noqa: TRY004
            app.clock.advance(msgspec.json.decode(body, type=_Advance).advance_s)
        case "hold":
            app.hold(msgspec.json.decode(body or b"{}", type=_Hold).vendor)
        case "release":
            app.release()
        case _:
            return None
    return {"ok": True}
