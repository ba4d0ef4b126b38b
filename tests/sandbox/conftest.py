"""A sandbox on a clock that tests move, and a client that speaks to it in process, byte by byte."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from tokenrouter.clock import ManualClock
from tokenrouter.sandbox import SandboxApp, create_app


class Response:
    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.frames: list[bytes] = []
        self.finished = False

    @property
    def body(self) -> bytes:
        return b"".join(self.frames)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """Data of every server-sent event, parsed where it is JSON."""
        found: list[Any] = []
        for block in self.body.replace(b"\r\n", b"\n").split(b"\n\n"):
            for line in block.split(b"\n"):
                if line.startswith(b"data: "):
                    data = line[6:]
                    found.append(json.loads(data) if data != b"[DONE]" else "[DONE]")
        return found

    @property
    def message(self) -> str:
        return self.json["error"]["message"]


class Caller:
    """Calls the ASGI app. `hang_up_after`: frames after which the client leaves."""

    def __init__(self, app: SandboxApp) -> None:
        self.app = app

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        hang_up_after: int | None = None,
        left: asyncio.Event | None = None,
    ) -> Response:
        response = Response()
        gone = left or asyncio.Event()
        sent = False
        raw_path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        }

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                return
            if message["body"]:
                response.frames.append(message["body"])
            response.finished = not message["more_body"]
            if hang_up_after is not None and len(response.frames) >= hang_up_after:
                gone.set()

        await self.app(scope, receive, send)
        return response

    async def post(self, path: str, body: Any, key: str = "k", **more: Any) -> Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
        return await self.request("POST", path, raw, headers, **more)

    async def openai(self, body: Any, **more: Any) -> Response:
        return await self.post("/openai/v1/chat/completions", body, **more)

    async def claude(self, body: Any, beta: str | None = None, version: str = "2023-06-01", **more: Any) -> Response:
        headers = {"anthropic-version": version} | ({"anthropic-beta": beta} if beta else {})
        return await self.post("/anthropic/v1/messages", body, headers=headers, **more)

    async def deepseek(self, body: Any, **more: Any) -> Response:
        return await self.post("/deepseek/chat/completions", body, **more)

    async def gemini(self, model: str, body: Any, action: str = "generateContent", **more: Any) -> Response:
        return await self.post(f"/gemini/v1beta/models/{model}:{action}", body, **more)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def app(clock: ManualClock) -> SandboxApp:
    return create_app(clock)


@pytest.fixture
def call(app: SandboxApp) -> Caller:
    return Caller(app)


@pytest.fixture
def text() -> Callable[..., str]:
    """`text(n)`: a text of n tokens, of its own for every `tag`."""

    def make(tokens: int, tag: str = "a") -> str:
        return (f"{tag} lorem ipsum dolor sit amet " * (tokens // 5 + 2))[: tokens * 4]

    return make
