"""`serve --virtual-time`: requests say what time it is, in a header; the clock follows, answers show it, and simulators behind us hear it.

On any other clock none of it exists: the headers are not read, and never sent on.
"""

from collections.abc import Iterable
from typing import Final

from fastapi import Request

from tokenrouter.api.asgi import Message, Scope, Send
from tokenrouter.api.auth import authenticate
from tokenrouter.api.public import gateway_of, plain_headers
from tokenrouter.clock import Clock, VirtualClock
from tokenrouter.errors import InvalidRequest, Unauthenticated

NOW: Final = "x-tokenrouter-now"
_NOW_BYTES: Final = NOW.encode()
_SIMULATORS: Final = b"x-sim-"
_SHOWN: Final = b"x-tokenrouter-virtual-time"
_TIMELESS: Final = frozenset(("/metrics",))
_SECOND_NS: Final = 1_000_000_000
Pairs = Iterable[tuple[bytes, bytes]]


def go_on(clock: Clock, headers: Pairs) -> bool:
    """Let the clock follow a request whose sender is known; whether time has gone on by it.

    Raises InvalidRequest for a time that is none.
    """
    if not isinstance(clock, VirtualClock):
        return False
    said = [value for name, value in headers if name == _NOW_BYTES]
    if not said:
        return False
    if len(said) > 1:
        raise InvalidRequest(f"{NOW}: said {len(said)} times; whoever stands behind may take another one than we do", param=NOW)
    try:
        return clock.tell(said[0].decode("latin-1"))
    except ValueError as error:
        raise InvalidRequest(f"{NOW}: {error}", param=NOW) from None


def for_simulators(clock: Clock, headers: Pairs) -> tuple[tuple[str, str], ...]:
    """The headers of a request that go on to whoever is asked: the time as it was said, and those for simulators."""
    if not isinstance(clock, VirtualClock):
        return ()
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if name == _NOW_BYTES or name.startswith(_SIMULATORS))


def showing(clock: Clock, send: Send) -> Send:
    """`send`, with the time in every answer, so that nobody takes it for the world's."""
    if not isinstance(clock, VirtualClock):
        return send

    async def shown(message: Message) -> None:
        if message["type"] == "http.response.start":
            seconds, rest = divmod(clock.time_ns(), _SECOND_NS)
            said = f"{seconds}.{rest:09d}".rstrip("0").rstrip(".")
            message = {**message, "headers": [*message.get("headers", ()), (_SHOWN, said.encode())]}
        await send(message)

    return shown


async def follow_caller(request: Request) -> None:
    """`go_on` for what callers ask beside inference. Whoever has no valid key moves nothing, and is refused where that is asked for."""
    clock = gateway_of(request).services.clock
    if not isinstance(clock, VirtualClock) or request.url.path in _TIMELESS:
        return
    try:
        await authenticate(plain_headers(request.headers), gateway_of(request).keys, request.url.query.encode())
    except Unauthenticated:
        return
    go_on(clock, scope_headers(request.scope))


def scope_headers(scope: Message | Scope) -> list[tuple[bytes, bytes]]:
    """The headers of an ASGI request as they came, names in lower case."""
    return [(bytes(name), bytes(value)) for name, value in scope["headers"]]
