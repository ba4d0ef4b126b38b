"""Sending a prepared answer: through faults, watching whether the client is still there, and billing what became of it."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from tokenrouter.sandbox.barrier import Barrier
from tokenrouter.sandbox.bill import Bill, Status
from tokenrouter.sandbox.faults import LONG_LINE_BYTES, Fault, Faults
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.wire import JSON_HEADERS, Call, Frame, Headers, Prepared, Receive, Send

_HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_BAD_UTF8 = b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe\xc3("}}]}'
_BAD_JSON = b"{not json at all"
_WORTHLESS = frozenset({"html", "empty", "error_body"})


class ConnectionCut(Exception):
    """Raised out of the application to end a connection in the middle of an answer; servers close the socket on it."""


class Gone(Exception):
    """The client hung up."""


class Broken(Exception):
    """The answer ended with an error of the vendor; the connection itself is fine."""


class Client:
    """The other end of one request."""

    __slots__ = ("_receive", "_send", "_watch", "begun")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._watch: asyncio.Task[None] | None = None
        self.begun = False

    async def _hangup(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _watching(self) -> asyncio.Task[None]:
        if self._watch is None:
            self._watch = asyncio.create_task(self._hangup())
        return self._watch

    async def while_there(self, waiting: Awaitable[None]) -> None:
        """Wait for something, unless the client leaves first: then raise `Gone`."""
        watch = self._watching()
        other = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait((watch, other), return_when=asyncio.FIRST_COMPLETED)
            if not other.done():
                raise Gone
        finally:
            other.cancel()

    async def check(self) -> None:
        """Give the client's hang-up a chance to be noticed."""
        watch = self._watching()
        await asyncio.sleep(0)
        if watch.done():
            raise Gone

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the status line."""
        self.begun = True
        await self._put({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def body(self, data: bytes, *, more: bool) -> None:
        """Send a part of the body."""
        await self._put({"type": "http.response.body", "body": data, "more_body": more})

    async def _put(self, message: dict[str, object]) -> None:
        try:
            await self._send(message)
        except OSError as error:
            raise Gone from error

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that sending one answer needs."""

    vendor: str
    call: Call
    answer: Prepared
    client: Client
    bill: Bill
    faults: Faults
    fault: Fault | None
    sleep: Callable[[float], Awaitable[None]]
    barrier: Barrier
    extra_headers: Headers
    error_body: bytes
    first_byte_s: float
    frame_s: float


class _Progress:
    """How far an answer got. `worthless`: what was sent was no answer at all, nobody pays for it."""

    __slots__ = ("frames", "output", "size", "worthless")

    def __init__(self) -> None:
        self.frames = 0
        self.output = 0
        self.size = 0
        self.worthless = False


async def deliver(work: Delivery) -> None:
    """Send the answer and write its line on the bill, whatever happens."""
    sent = _Progress()
    status: Status = "failed"
    try:
        await _send(work, sent)
        status = "complete"
    except Broken:
        pass
    except (Gone, asyncio.CancelledError):
        status = "cancelled"
        raise
    finally:
        _charge(work, sent, status)


def _charge(work: Delivery, sent: _Progress, status: Status) -> None:
    answer = work.answer
    if answer.model is None:
        return
    tokens = answer.charge if status == "complete" else msgspec.structs.replace(answer.charge, output=sent.output)
    if answer.status >= 400 or sent.worthless:
        status, tokens = "failed", Tokens()
    work.bill.charge(
        vendor=work.vendor,
        account=work.call.account,
        model=answer.model,
        tier=answer.tier,
        request_id=work.call.request_id,
        status=status,
        http_status=answer.status if work.client.begun else 0,
        tokens=tokens,
        started_ns=work.call.started_ns,
    )


async def _send(work: Delivery, sent: _Progress) -> None:
    answer, client, fault = work.answer, work.client, work.fault
    if work.barrier.holds(work.vendor):
        await client.while_there(work.barrier.wait())
    if work.first_byte_s:
        await client.while_there(work.sleep(work.first_byte_s))
    if fault is not None and fault.kind == "stall_start":
        await client.while_there(work.faults.stall(fault))
    if fault is not None and fault.kind in _WORTHLESS:
        sent.worthless = True
        await _worthless(work, fault)
        return
    answer.on_start()
    if answer.streams:
        await client.begin(answer.status, answer.headers + work.extra_headers)
        await _stream(work, sent)
    elif fault is None:
        data = answer.frames[0].data
        await client.begin(answer.status, (*answer.headers, *work.extra_headers, (b"content-length", str(len(data)).encode())))
        await client.body(data, more=False)
    else:
        await _faulty_whole(work, fault, sent)
    answer.on_end()


async def _stream(work: Delivery, sent: _Progress) -> None:
    fault = work.fault
    for frame in work.answer.frames:
        if fault is not None and sent.frames == fault.after:
            await _break(work, fault)
        await _one(work, frame, sent)
    if fault is not None and sent.frames <= fault.after:
        await _break(work, fault)
    await work.client.body(b"", more=False)


async def _one(work: Delivery, frame: Frame, sent: _Progress) -> None:
    fault = work.fault
    await work.client.check()
    if work.frame_s:
        await work.client.while_there(work.sleep(work.frame_s))
    if fault is not None and fault.kind == "truncate_bytes" and sent.size + len(frame.data) > fault.after:
        await work.client.body(frame.data[: fault.after - sent.size], more=True)
        raise ConnectionCut
    await work.client.body(frame.data, more=True)
    sent.size += len(frame.data)
    sent.frames += 1
    sent.output = max(sent.output, frame.output)


async def _break(work: Delivery, fault: Fault) -> None:
    """What happens after the frames that still went well."""
    client = work.client
    match fault.kind:
        case "stall":
            await client.while_there(work.faults.stall(fault))
        case "truncate":
            raise ConnectionCut
        case "bad_utf8":
            await client.body(work.answer.framed(_BAD_UTF8), more=True)
        case "bad_json":
            await client.body(work.answer.framed(_BAD_JSON), more=True)
        case "long_line":
            await client.body(work.answer.framed(b"x" * LONG_LINE_BYTES), more=True)
        case "error_event":
            await client.body(work.answer.broken, more=False)
            raise Broken
        case _:
            pass


async def _faulty_whole(work: Delivery, fault: Fault, sent: _Progress) -> None:
    """A plain answer in trouble. Cuts happen in the middle of the body, with the length of all of it announced."""
    client, data = work.client, work.answer.frames[0].data
    match fault.kind:
        case "bad_utf8":
            data = data[:-1] + b',"note":"\xff\xfe"}'
        case "bad_json":
            data = data[: len(data) // 2]
        case "long_line":
            data = b" " * LONG_LINE_BYTES + data
        case "error_event":
            data = work.error_body
            sent.worthless = True
        case _:
            pass
    length = (b"content-length", str(len(data)).encode())
    await client.begin(work.answer.status, (*work.answer.headers, *work.extra_headers, length))
    if fault.kind in ("truncate", "truncate_bytes"):
        cut = fault.after if fault.kind == "truncate_bytes" else len(data) // 2
        if cut < len(data):
            await client.body(data[:cut], more=True)
            raise ConnectionCut
    if fault.kind == "stall":
        await client.body(data[:1], more=True)
        await client.while_there(work.faults.stall(fault))
        data = data[1:]
    await client.body(data, more=False)


async def _worthless(work: Delivery, fault: Fault) -> None:
    """Status 200 without an answer in it."""
    headers: Headers
    if fault.kind == "html":
        body, headers = _HTML, ((b"content-type", b"text/html"),)
    else:
        body, headers = (b"" if fault.kind == "empty" else work.error_body), JSON_HEADERS
    await work.client.begin(200, (*headers, *work.extra_headers, (b"content-length", str(len(body)).encode())))
    await work.client.body(body, more=False)
