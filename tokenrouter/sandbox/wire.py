"""What all simulated vendors share: the incoming call, the prepared answer, refusals, and strict JSON."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from tokenrouter.sandbox.prices import Tokens

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]
Message: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

MAX_BODY_BYTES = 32 * 1024 * 1024

JSON_HEADERS: Headers = ((b"content-type", b"application/json"),)
SSE_HEADERS: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))

encode = msgspec.json.Encoder().encode


class Refusal(Exception):
    """The vendor says no. `kind` is the vendor's own error type where the status does not decide it."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, kind: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.kind = kind


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it arrived. `path` is relative to the vendor's mount; header names are lower case.

    raw_path   the whole path as it was sent, percent signs and mount included: signatures are over this one
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    account: str
    request_id: str
    number: int
    started_ns: int
    omit_usage: bool = False
    raw_path: str = ""


class Frame(msgspec.Struct, frozen=True):
    """Bytes to send at once, and how many output tokens were produced when they are out."""

    data: bytes
    output: int = 0


def _nothing() -> None:
    return None


def _as_event(garbage: bytes) -> bytes:
    return b"data: " + garbage + b"\n\n"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, ready to be sent: one frame for a plain answer, many for a stream.

    charge     what the whole answer costs; a model of None is never charged
    tier       of service that answers; "" is the standard one
    on_start   runs when the answer begins, `on_end` when all of it is out: caches learn then
    broken     a frame that reports an error in the middle of this stream
    framed     garbage as one event of this stream, for faults
    """

    frames: tuple[Frame, ...]
    streams: bool = False
    model: str | None = None
    charge: Tokens = Tokens()
    tier: str = ""
    headers: Headers = JSON_HEADERS
    status: int = 200
    on_start: Callable[[], None] = _nothing
    on_end: Callable[[], None] = _nothing
    broken: bytes = b""
    framed: Callable[[bytes], bytes] = _as_event


class Vendor(Protocol):
    """A simulated provider behind one path prefix."""

    name: str

    def credential(self, headers: dict[str, str], query: str) -> str | None:
        """Who calls, or None."""
        ...

    def prepare(self, call: Call) -> Prepared:
        """Answer, or raise `Refusal`. Caches are read here, at the start of the request."""
        ...

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:
        """The error body in the vendor's shape."""
        ...

    def headers(self, call: Call) -> Headers:
        """What this vendor adds to every answer."""
        ...

    def reset(self) -> None:
        """Forget every cache."""
        ...


@runtime_checkable
class OwnErrors(Protocol):
    """A vendor whose refusals have a status or headers of their own."""

    def error_head(self, refusal: Refusal) -> tuple[int, Headers]:
        """Status and further headers."""
        ...


def bearer(headers: dict[str, str]) -> str | None:
    """The token of an Authorization header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class _Duplicate(Exception):
    pass


def _unique(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Duplicate
    return result


def parse_object(body: bytes) -> JsonObject:
    """A JSON object on which all parsers agree: valid UTF-8, no key twice, no endless nesting."""
    try:
        value: JsonValue = msgspec.json.decode(body)
        json.loads(body, object_pairs_hook=_unique)
    except _Duplicate:
        raise Refusal(400, "We could not parse the JSON body of your request: an object contains the same key twice.") from None
    except RecursionError:
        raise Refusal(400, "We could not parse the JSON body of your request: it is nested too deeply.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise Refusal(400, f"We could not parse the JSON body of your request. ({error})") from None
    if not isinstance(value, dict):
        raise Refusal(400, "The JSON body of your request must be an object.")
    return value


def sse(value: object) -> bytes:
    """A data-only server-sent event."""
    return b"data: " + encode(value) + b"\n\n"


def named_sse(name: str, value: object) -> bytes:
    """A server-sent event with a name."""
    return b"event: " + name.encode() + b"\ndata: " + encode(value) + b"\n\n"
