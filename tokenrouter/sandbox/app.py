"""The sandbox as one ASGI application: every vendor under its own path prefix, and `/__sandbox/` to steer it from outside."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import cast
from urllib.parse import quote

from tokenrouter.clock import Clock, SystemClock, VirtualClock
from tokenrouter.sandbox.answers import Scripted
from tokenrouter.sandbox.anthropic import Anthropic
from tokenrouter.sandbox.barrier import Barrier
from tokenrouter.sandbox.bedrock import Bedrock
from tokenrouter.sandbox.bill import Bill
from tokenrouter.sandbox.control import control
from tokenrouter.sandbox.deepseek import DeepSeek
from tokenrouter.sandbox.echo import Echo
from tokenrouter.sandbox.faults import Fault, Faults
from tokenrouter.sandbox.gemini import Gemini
from tokenrouter.sandbox.gemini_vertex import Vertex
from tokenrouter.sandbox.ollama import Ollama
from tokenrouter.sandbox.ollama_compatible import OllamaCompatible
from tokenrouter.sandbox.openai import OpenAI
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.requests import Received, RequestLog
from tokenrouter.sandbox.serving import Client, ConnectionCut, Delivery, Gone, deliver
from tokenrouter.sandbox.wire import (
    JSON_HEADERS,
    MAX_BODY_BYTES,
    Call,
    Frame,
    Headers,
    Message,
    OwnErrors,
    Prepared,
    Receive,
    Refusal,
    Send,
    Vendor,
    encode,
)

Sleep = Callable[[float], Awaitable[None]]


class SandboxApp:
    """An ASGI callable. Attributes are for tests in the same process; `/__sandbox/` offers the same to others.

    bill      what every request cost
    requests  what was received
    faults    trouble to come
    barrier   holds requests back
    """

    def __init__(self, clock: Clock, *, seed: int, sleep: Sleep, first_byte_s: float, frame_s: float) -> None:
        self.clock = clock
        self.bill = Bill()
        self.requests = RequestLog()
        self.barrier = Barrier()
        self.faults = Faults(sleep)
        self._sleep = sleep
        self._first_byte_s = first_byte_s
        self._frame_s = frame_s
        self._scripted: deque[Scripted] = deque()
        self._number = 0
        ollama = Ollama(seed, self._next_script)
        vendors: tuple[Vendor, ...] = (
            OpenAI(seed, self._next_script),
            Anthropic(seed, self._next_script),
            DeepSeek(seed, self._next_script),
            Gemini(seed, self._next_script),
            Vertex(seed, self._next_script),
            Bedrock(seed, self._next_script),
            ollama,
            Echo(),
        )
        self._vendors = {vendor.name: vendor for vendor in vendors}
        self._compatible = {("ollama", "v1"): OllamaCompatible(ollama)}
        """Vendors whose second wire has errors of another shape, by the first two parts of the path."""

    # steering

    def script(self, *answers: Scripted) -> None:
        """Queue answers; each is given once, to the next request of its vendor."""
        self._scripted.extend(answers)

    def hold(self, vendor: str | None = None) -> None:
        """Let requests arrive and wait, until `release`."""
        self.barrier.hold(vendor)

    def release(self) -> None:
        """Let those who wait or stall go on."""
        self.barrier.release()
        self.faults.release()

    async def waiting(self, count: int) -> None:
        """Return once `count` requests wait at the barrier."""
        await self.barrier.crowd.at_least(count)

    async def stalling(self, count: int) -> None:
        """Return once `count` requests stall in a fault."""
        await self.faults.crowd.at_least(count)

    def fault(self, fault: Fault) -> None:
        """Queue trouble."""
        self.faults.add(fault)

    @property
    def vendors(self) -> tuple[str, ...]:
        """Names of all vendors, which are their path prefixes."""
        return tuple(self._vendors)

    @staticmethod
    def account(credential: str) -> str:
        """The account that a credential belongs to, as the bill names it. Every credential is an account of its own."""
        return f"acct_{hashlib.sha256(credential.encode()).hexdigest()[:16]}"

    def reset(self) -> None:
        """Forget caches, bill, log, faults and scripts, and let everyone go."""
        for vendor in self._vendors.values():
            vendor.reset()
        self.bill.clear()
        self.requests.clear()
        self.faults.clear()
        self._scripted.clear()
        self.barrier.release()

    def _next_script(self, vendor: str) -> Scripted | None:
        for answer in self._scripted:
            if answer.vendor in ("*", vendor):
                self._scripted.remove(answer)
                return answer
        return None

    # serving

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        path = str(scope["path"])
        _, prefix, rest = path.split("/", 2) if path.count("/") > 1 else ("", path.strip("/"), "")
        vendor = self._compatible.get((prefix, rest.partition("/")[0])) or self._vendors.get(prefix)
        if vendor is not None:
            await self._vendor(vendor, "/" + rest, scope, receive, send)
        elif prefix == "__sandbox":
            body = await _read(receive, MAX_BODY_BYTES) or b""
            status, data = await control(self, str(scope["method"]), rest, _text(scope["query_string"]), body)
            await _send_all(send, status, JSON_HEADERS, data)
        else:
            await _send_all(send, 404, JSON_HEADERS, b'{"error":{"message":"No simulated vendor lives here.","vendors":"see /__sandbox/health"}}')

    async def _vendor(self, vendor: Vendor, path: str, scope: Message, receive: Receive, send: Send) -> None:
        headers = _headers(scope["headers"])
        if isinstance(self.clock, VirtualClock) and "x-tokenrouter-now" in headers:
            try:
                self.clock.tell(headers["x-tokenrouter-now"])
            except ValueError as error:
                await _send_all(send, 400, JSON_HEADERS, encode({"error": {"message": f"x-tokenrouter-now: {error}"}}))
                return
        started_ns = self.clock.time_ns()
        self._number += 1
        number = self._number
        request_id = f"req_{number:024x}"
        method, query = str(scope["method"]), _text(scope["query_string"])
        try:
            body = await _read(receive, MAX_BODY_BYTES)
        except Gone:
            return
        self.requests.add(
            Received(vendor=vendor.name, method=method, path=path, query=query, headers=headers, body=body or b"", at_ns=started_ns),
        )
        credential = vendor.credential(headers, query) or ""
        fault = self.faults.take(vendor.name)
        call = Call(
            method=method,
            path=path,
            query=query,
            headers=headers,
            body=body or b"",
            account=self.account(credential),
            request_id=request_id,
            number=number,
            started_ns=started_ns,
            omit_usage=fault is not None and fault.kind == "no_usage",
            raw_path=_text(scope.get("raw_path") or quote(str(scope["path"]))).partition("?")[0],
        )
        answer = _prepare(vendor, call, credential, fault, too_large=body is None)
        await self._deliver(vendor, call, answer, fault, Client(receive, send))

    async def _deliver(self, vendor: Vendor, call: Call, answer: Prepared, fault: Fault | None, client: Client) -> None:
        work = Delivery(
            vendor=vendor.name,
            call=call,
            answer=answer,
            client=client,
            bill=self.bill,
            faults=self.faults,
            fault=fault,
            sleep=self._sleep,
            barrier=self.barrier,
            extra_headers=vendor.headers(call),
            error_body=vendor.render_refusal(Refusal(500, fault.message), call.request_id) if fault is not None else b"",
            first_byte_s=self._first_byte_s,
            frame_s=self._frame_s,
        )
        try:
            await deliver(work)
        except Gone:
            return
        finally:
            client.close()


def _prepare(vendor: Vendor, call: Call, credential: str, fault: Fault | None, *, too_large: bool) -> Prepared:
    try:
        if too_large:
            raise Refusal(413, f"Request exceeds the maximum size of {MAX_BODY_BYTES} bytes.")
        if not credential:
            raise Refusal(401, "You didn't provide an API key.")
        if "invalid" in credential:
            raise Refusal(401, "Incorrect API key provided.")
        if fault is not None and fault.kind == "status":
            raise Refusal(fault.status, fault.message)
        return vendor.prepare(call)
    except (Refusal, RecursionError) as error:
        refusal = error if isinstance(error, Refusal) else Refusal(400, "The request is nested too deeply.")
        headers = JSON_HEADERS
        if fault is not None and fault.retry_after is not None:
            headers = (*headers, (b"retry-after", fault.retry_after.encode()))
        status, more = vendor.error_head(refusal) if isinstance(vendor, OwnErrors) else (refusal.status, ())
        body = vendor.render_refusal(refusal, call.request_id)
        return Prepared(frames=(Frame(body),), status=status, headers=(*headers, *more), model="", charge=Tokens())


async def _read(receive: Receive, most: int) -> bytes | None:
    """The body; None when it is too large (the rest is read and dropped)."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    body = message.get("body", b"")
    assert isinstance(body, bytes)  # noqa: S101  (ASGI says so)
    if not message.get("more_body"):
        return body if len(body) <= most else None
    chunks, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunk = message.get("body", b"")
        assert isinstance(chunk, bytes)  # noqa: S101
        size += len(chunk)
        if size <= most:
            chunks.append(chunk)
    return b"".join(chunks) if size <= most else None


def _headers(raw: object) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in cast("Iterable[tuple[bytes, bytes]]", raw):
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


async def _send_all(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def create_app(
    clock: Clock | None = None, *, seed: int = 0, sleep: Sleep = asyncio.sleep, first_byte_s: float = 0.0, frame_s: float = 0.0
) -> SandboxApp:
    """A sandbox with empty caches.

    Args:
        clock: lifetimes are counted on it; the system's by default.
        seed: another seed gives other answers to the same prompts.
        sleep: how stalls and the two delays wait.
        first_byte_s: how long a model thinks before it answers, in seconds.
        frame_s: time between the events of a stream, in seconds.
    """
    return SandboxApp(clock or SystemClock(), seed=seed, sleep=sleep, first_byte_s=first_byte_s, frame_s=frame_s)


def create_virtual_app() -> SandboxApp:
    """A sandbox whose time goes by the header `x-tokenrouter-now` of each request, and stands still in between."""
    return create_app(VirtualClock())


__all__ = ["ConnectionCut", "SandboxApp", "create_app", "create_virtual_app"]
