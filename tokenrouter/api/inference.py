"""The hot routes: what a dialect's path does, without a framework in between."""

import asyncio
import itertools
import logging
from contextlib import aclosing
from functools import partial
from os import urandom

from tokenrouter.adapters.base import Dialect
from tokenrouter.adapters.inbound.client_sessions import SESSION_HEADERS
from tokenrouter.adapters.known import known_dialects
from tokenrouter.adapters.limit_headers import limit_headers
from tokenrouter.api.asgi import ClientGone, Message, Receive, Scope, Send, read_body, send_whole
from tokenrouter.api.auth import authenticate
from tokenrouter.api.labels import read_customer, read_labels
from tokenrouter.api.routes import Route, outside
from tokenrouter.api.virtual_time import for_simulators, go_on
from tokenrouter.clock import Clock
from tokenrouter.errors import GatewayError, MethodNotAllowed, Unavailable
from tokenrouter.gateway import Flying, Kept, handle
from tokenrouter.model.admission import Admitted
from tokenrouter.model.call import Call
from tokenrouter.model.record import RequestRecord
from tokenrouter.observe.capture import Asked, Capture
from tokenrouter.serving.reply import Reply, follow, own_headers, replay
from tokenrouter.wiring import Gateway

_READ_HEADERS = {
    name.encode(): name
    for name in (
        *("authorization", "x-api-key", "x-goog-api-key", "api-key", "content-encoding", "cache-control", "idempotency-key"),
        *("x-cache", "x-dedup", "x-edits-off", "x-edits-on", "x-metadata", "x-customer-id"),
        *SESSION_HEADERS,
        *(name for dialect in known_dialects().values() for name in dialect.headers),
    )
}
_JSON = (b"content-type", b"application/json")
log = logging.getLogger("tokenrouter")


class RequestIds:
    """Ids that are unique and cost nothing: a random start per process, then a counter."""

    def __init__(self) -> None:
        self._start = urandom(8).hex()
        self._count = itertools.count(1)

    def next(self) -> str:
        """The next id."""
        return f"req_{self._start}{next(self._count):08x}"


async def infer(scope: Scope, receive: Receive, send: Send, route: Route, gateway: Gateway, ids: RequestIds) -> None:
    """Answer one request on a dialect's path."""
    dialect = route.dialect
    services = gateway.services
    clock = services.clock
    started = clock.stopwatch_ns()
    record = RequestRecord(id=ids.next(), time_ns=clock.time_ns(), key_id="", tenant="", dialect=dialect.dialect, model_asked="")
    headers = {_READ_HEADERS[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _READ_HEADERS}
    flying: Flying | None = None
    hangup: asyncio.Task[None] | None = None
    begun = recorded = False
    try:
        call = await _call(scope, receive, headers, route, gateway, record)
        served = await handle(call, services, record)
        recorded = gateway.capture is not None and _put_down(gateway.capture, call, route, scope["path"], clock)
        if isinstance(served, Kept):
            limits = _limits(served.admitted, dialect, clock)
            reply = replay(served.known, served.answer, record, clock.time_ns(), limits)
        else:
            flying = served
            hangup = asyncio.create_task(_cancel_on_hangup(receive, asyncio.current_task()))
            limits = _limits(served.entrance.admitted, dialect, clock)
            reply = await follow(served.question, served.flight, services.switches.keep_alive_s, limits)
        begun = True
        await _send(send, reply)
    except GatewayError as error:
        record.error, record.status = error.code, error.status
        await _send_error(send, dialect, error, record)
    except ClientGone:
        record.error, record.status = "client_gone", 499
    except Exception:
        log.exception("request %s failed inside the gateway", record.id)
        record.error, record.status = GatewayError.code, GatewayError.status
        if begun:
            raise  # the server breaks the connection: an answer cut short must not look whole
        await _send_error(send, dialect, GatewayError(), record)
    except asyncio.CancelledError:
        record.error, record.status = "client_gone", 499
        if hangup is None or not hangup.done():
            raise
    finally:
        if hangup is not None:
            hangup.cancel()
        record.duration_ns = clock.stopwatch_ns() - started
        if flying is not None:
            flying.flight.leave()
            flying.entrance.leave()
        if flying is not None and flying.flight.record is record:
            flying.flight.when_landed(partial(services.recorder.finish, record))  # who led may leave early; the money is known later
            if recorded and gateway.capture is not None:
                flying.flight.when_landed(partial(gateway.capture.counted, record, clock.stopwatch_ns()))
        else:
            services.recorder.finish(record)


async def _call(scope: Scope, receive: Receive, headers: dict[str, str], route: Route, gateway: Gateway, record: RequestRecord) -> Call:
    """Read a request and who sends it. Fills `record` with who that is. Raises GatewayError, ClientGone."""
    body = await read_body(receive, headers, gateway.settings.body_limit_mb << 20)
    if scope["method"] != "POST":
        raise MethodNotAllowed(f"{scope['path']} takes POST", headers=(("allow", "POST"),))
    if gateway.draining:
        raise Unavailable("shutting down; try again", headers=(("retry-after", "1"),))
    query = scope.get("query_string", b"")
    principal = await authenticate(headers, gateway.keys, query)
    if go_on(gateway.services.clock, scope["headers"]):
        record.time_ns = gateway.services.clock.time_ns()
        principal = await authenticate(headers, gateway.keys, query)  # the key may have expired meanwhile
    record.key_id, record.tenant = principal.key_id, principal.tenant
    record.labels = read_labels(scope["headers"])
    return Call(
        id=record.id,
        principal=principal,
        dialect=route.dialect.dialect,
        body=body,
        headers=headers,
        outside=outside(route, headers, query),
        customer=read_customer(headers.get("x-customer-id", "")),
        labels=record.labels,
        onward=for_simulators(gateway.services.clock, scope["headers"]),
    )


def _put_down(capture: Capture, call: Call, route: Route, path: str, clock: Clock) -> bool:
    """Record an admitted request, if a model is asked; at the moment at which it goes on, which is when a prompt cache sees it."""
    if route.dialect.operation != "generate":
        return False
    naming = (*SESSION_HEADERS, "x-customer-id")
    wanted = {*naming, *(name for name in route.dialect.headers if not name.startswith(":"))}
    asked = Asked(
        id=call.id,
        at_ns=clock.time_ns(),
        path=path,
        query=call.outside.get(":query", ""),
        headers={name: value for name, value in call.headers.items() if name in wanted},
        naming=naming,
        body=call.body,
    )
    return capture.request(asked, clock.stopwatch_ns())


def _limits(admitted: Admitted, dialect: Dialect, clock: Clock) -> list[tuple[bytes, bytes]]:
    if admitted.requests is None and admitted.tokens is None:
        return []
    return limit_headers(dialect.dialect, admitted.requests, admitted.tokens, clock.time_ns() // 1_000_000)


async def _cancel_on_hangup(receive: Receive, task: "asyncio.Task[None] | None") -> None:
    """The body is read, so the next thing to come is the client hanging up."""
    message: Message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
    if task is not None:
        task.cancel()


async def _send(send: Send, reply: Reply) -> None:
    if reply.frames is None:
        await send_whole(send, reply.status, reply.headers, reply.body)
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    async with aclosing(reply.frames) as frames:  # type: ignore[type-var]  # an async generator behind a wider type
        async for data in frames:
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _send_error(send: Send, dialect: Dialect, error: GatewayError, record: RequestRecord) -> None:
    headers = [_JSON, *((name.encode(), value.encode("latin-1", "replace")) for name, value in error.headers)]
    await send_whole(send, error.status, [*headers, *own_headers(record, whole=False)], dialect.encode_error(error, record.id))
