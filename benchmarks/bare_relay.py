"""The least that a Python gateway can be: raw ASGI that answers by itself, or relays with aiohttp and looks at nothing.

What `bench_overhead` compares with, on the same machine in the same run: budgets in µs mean little on another machine.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp

Message = MutableMapping[str, Any]


class BareRelay:
    """`/answer` replies at once; every other path is relayed to BARE_UPSTREAM."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        """See the ASGI specification."""
        if scope["type"] == "lifespan":
            await receive()
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._session.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["path"] == "/answer" or self._session is None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        headers = {"authorization": "Bearer bench", "content-type": "application/json"}
        async with self._session.post(os.environ["BARE_UPSTREAM"], data=body, headers=headers) as response:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


app = BareRelay()
