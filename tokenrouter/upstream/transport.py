"""HTTP toward providers: a small protocol, and aiohttp behind it (docs/decisions/0002 has the measurements).

No redirects, no cookies, no compression (a coded body could not be relayed as it came and read at the same time), paths as
they are. Nothing is ever sent twice by this layer.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp
import msgspec
from yarl import URL

from tokenrouter.errors import UpstreamFailed, UpstreamTimedOut, UpstreamTruncated
from tokenrouter.upstream.discreet import Discreet

MAX_BODY = 64 << 20
"""Bytes of one whole answer at most."""


_URLS_MOST = 4096


class NeverSent(UpstreamFailed):
    """No connection to the provider could be made; nothing was sent, so nothing is billed."""


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: to connect, until the response begins, and of silence inside it."""

    connect: float = 10
    first_byte: float = 600
    idle: float = 120


class UpstreamResponse(Protocol):
    """A response whose head has come."""

    status: int
    headers: tuple[tuple[str, str], ...]

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamFailed, UpstreamTruncated, UpstreamTimedOut."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises the same."""
        ...

    async def aclose(self) -> None:
        """Let go; what was not read is not wanted."""
        ...


class Transport(Protocol):
    """Sends one request."""

    async def send(self, url: str, headers: tuple[tuple[str, str], ...], body: bytes, method: str = "POST") -> UpstreamResponse:
        """Send `body`. Raises NeverSent, UpstreamFailed, UpstreamTimedOut."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class AiohttpTransport:
    """`Transport` over the network. Make it inside a running loop."""

    def __init__(self, timeouts: Timeouts, connections: int) -> None:
        self._timeouts = timeouts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ttl_dns_cache=60, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            headers={"User-Agent": "tokenrouter", "Accept-Encoding": "identity"},
            read_bufsize=1 << 18,
            max_line_size=1 << 16,
            max_field_size=1 << 16,
        )
        self._urls: dict[str, URL] = {}

    async def send(self, url: str, headers: tuple[tuple[str, str], ...], body: bytes, method: str = "POST") -> UpstreamResponse:
        """See `Transport`."""
        parsed = self._urls.get(url)
        if parsed is None:
            if len(self._urls) >= _URLS_MOST:
                self._urls.clear()
            parsed = self._urls[url] = URL(url, encoded=True)  # one per deployment and path; some paths name a model
        try:
            async with asyncio.timeout(self._timeouts.first_byte):
                response = await self._session.request(method, parsed, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NeverSent(f"no connection to {parsed.host}: {_reason(error)}") from error
        except TimeoutError as error:
            raise UpstreamTimedOut(f"{parsed.host} did not begin to answer within {self._timeouts.first_byte:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFailed(f"{parsed.host} broke the connection before it answered: {_reason(error)}") from error
        return _AiohttpResponse(response, self._timeouts.idle, Discreet(headers))

    async def aclose(self) -> None:
        """See `Transport`."""
        await self._session.close()


class _AiohttpResponse:
    __slots__ = ("_discreet", "_idle", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, idle: float, discreet: Discreet) -> None:
        self._response = response
        self._idle = idle
        self._discreet = discreet
        self.status = response.status
        self.headers = tuple([(name, discreet.text(value)) for name, value in response.headers.items()])

    async def read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in self.chunks():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY:
                raise UpstreamFailed(f"the provider's answer is larger than {MAX_BODY >> 20} MB")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        coding = self._response.headers.get("content-encoding", "identity")
        if coding.lower() not in ("", "identity"):
            raise UpstreamFailed(f"the provider sent {coding[:40]!r} content although identity was asked for")
        content, loop = self._response.content, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._idle) as deadline:
                while True:
                    data = await content.readany()
                    if not data:
                        break
                    if passed := self._discreet.feed(data):
                        yield passed
                    deadline.reschedule(loop.time() + self._idle)
            if rest := self._discreet.rest():
                yield rest
        except TimeoutError as error:
            raise UpstreamTimedOut(f"the provider fell silent for {self._idle:g} s in the middle of its answer") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamTruncated(f"the provider broke the connection in the middle of its answer: {_reason(error)}") from error

    async def aclose(self) -> None:
        if not self._response.content.at_eof():
            self._response.close()
        self._response.release()


def _reason(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
