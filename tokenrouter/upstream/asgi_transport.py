"""A `Transport` into an ASGI app in this process: how the sandbox stands behind the gateway without a port of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from tokenrouter.errors import UpstreamFailed, UpstreamTimedOut, UpstreamTruncated
from tokenrouter.upstream.transport import Timeouts, UpstreamResponse

Message = MutableMapping[str, Any]  # ASGI's own type: values of every kind
ASGIApp = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class AsgiTransport:
    """Calls `app` as a server would, streams included."""

    def __init__(self, app: ASGIApp, timeouts: Timeouts) -> None:
        self.app = app
        self._timeouts = timeouts

    async def send(self, url: str, headers: tuple[tuple[str, str], ...], body: bytes, method: str = "POST") -> UpstreamResponse:
        """See `Transport`."""
        host, _, rest = url.split("://", 1)[-1].partition("/")
        exchange = _Exchange(self.app, _scope(method, host, "/" + rest, headers), body, self._timeouts.idle)
        try:
            async with asyncio.timeout(self._timeouts.first_byte):
                await exchange.started()
        except TimeoutError as error:
            await exchange.aclose()
            raise UpstreamTimedOut(f"the provider did not begin to answer within {self._timeouts.first_byte:g} s") from error
        except asyncio.CancelledError:
            await exchange.aclose()
            raise
        return exchange

    async def aclose(self) -> None:
        """See `Transport`."""


def _scope(method: str, host: str, target: str, headers: tuple[tuple[str, str], ...]) -> Message:
    """What a server would make of the request line and headers; `host` among them, as signatures cover it."""
    raw_path, _, query = target.partition("?")
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": sent if any(name == b"host" for name, _ in sent) else [(b"host", host.encode()), *sent],
        "client": None,
        "server": None,
    }


class _Exchange:
    """One request to the app, running as a task of its own."""

    def __init__(self, app: ASGIApp, scope: Message, body: bytes, idle: float) -> None:
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self._body: bytes | None = body
        self._idle = idle
        self._came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._head = asyncio.Event()
        self._gone = asyncio.Event()
        self._ended = False
        self._task = asyncio.create_task(self._run(app, scope))

    async def _run(self, app: ASGIApp, scope: Message) -> None:
        try:
            await app(scope, self._receive, self._send)
        finally:
            self._head.set()
            self._came.put_nowait(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"])
            self._head.set()
        elif message["type"] == "http.response.body":
            if message.get("body"):
                self._came.put_nowait(message["body"])
            self._ended = not message.get("more_body", False)

    async def started(self) -> None:
        await self._head.wait()
        if not self.status:
            await self.aclose()
            raise UpstreamFailed("the provider broke the connection before it answered")

    async def read(self) -> bytes:
        return b"".join([part async for part in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            if not self._came.empty():
                data = self._came.get_nowait()
            else:
                data = await self._next()
            if data is None:
                if not self._ended:
                    raise UpstreamTruncated("the provider broke the connection in the middle of its answer")
                return
            yield data

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._idle):  # not `wait_for`: until Python 3.12 that one may swallow a cancellation
                return await self._came.get()
        except TimeoutError as error:
            raise UpstreamTimedOut(f"the provider fell silent for {self._idle:g} s in the middle of its answer") from error

    async def aclose(self) -> None:
        self._gone.set()
        if not self._task.done():
            await asyncio.wait([self._task], timeout=1)
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
