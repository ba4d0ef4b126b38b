"""One ASGI callable: hot paths first, FastAPI for everything else, one lifespan for both."""

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from tokenrouter import __version__
from tokenrouter.adapters.known import known_dialects
from tokenrouter.api import ollama, public, stored
from tokenrouter.api.admin.app import create_admin
from tokenrouter.api.admin.desk import Desk
from tokenrouter.api.admin.running import desk_of, who_asks
from tokenrouter.api.asgi import Message, Receive, Scope, Send, bounded, send_whole
from tokenrouter.api.inference import RequestIds, infer
from tokenrouter.api.routes import Routes
from tokenrouter.api.virtual_time import follow_caller, showing
from tokenrouter.clock import Clock, SystemClock, VirtualClock
from tokenrouter.errors import GatewayError
from tokenrouter.observe.logging import set_up_logging
from tokenrouter.settings import Settings, load_settings
from tokenrouter.wiring import Gateway, build

_PROBES = frozenset(("/livez", "/readyz"))
_ADMIN = "/admin"
_BODY_LIMIT = 1 << 20
log = logging.getLogger("tokenrouter")


class App:
    """The gateway as an ASGI app. `gateway` is there once the lifespan has begun."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock: Clock = clock or (VirtualClock() if settings.virtual_time else SystemClock())
        self._ids = RequestIds()
        self._routes = Routes(known_dialects(settings.default_model))
        self.gateway: Gateway | None = None
        self._desk: Desk | None = None
        self._admin = create_admin(lambda: self._desk, self._who, self._clock)
        self._behind = FastAPI(
            title="TokenRouter", version=__version__, lifespan=self.lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
        )
        self._behind.state.app = self
        first = [Depends(follow_caller)] if isinstance(self._clock, VirtualClock) else []
        for each in (public.router, ollama.router, stored.router):
            self._behind.include_router(each, dependencies=first)
        self._behind.add_exception_handler(GatewayError, public.gateway_error)
        self._behind.add_exception_handler(Exception, public.gateway_error)
        self._behind.add_exception_handler(HTTPException, public.http_error)
        self._behind.add_exception_handler(RequestValidationError, public.bad_body)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI | None = None) -> AsyncIterator[None]:
        """Build the services, and end them. The server enters this; whoever runs the app in process enters it too."""
        self.gateway = await build(self._settings, self._clock)
        self._desk = desk_of(self.gateway)
        try:
            yield
        finally:
            await self.gateway.aclose()

    async def _who(self, headers: Mapping[str, str]) -> str:
        return who_asks(headers, self.gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification, 3.0."""
        path = scope["path"] if scope["type"] == "http" else ""
        send = showing(self._clock, send)
        if path and self.gateway is not None:
            route = self._routes.find(path)
            if route is not None:
                await infer(scope, receive, send, route, self.gateway, self._ids)
                return
            if path in _PROBES:
                await _probe(path, send, self.gateway)
                return
        if path == _ADMIN or path.startswith(f"{_ADMIN}/"):
            await _guarded(self._admin, scope, receive, send)
        elif path:
            await _guarded(self._behind, scope, bounded(receive, _BODY_LIMIT), send)
        else:
            await self._behind(scope, receive, send)


async def _guarded(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Errors that nobody expected are told in our log, which leaves out what does not belong there; the server would tell all.

    The framework has answered before it raises them; only where an answer was cut short the server has to break the connection.
    """
    whole = False

    async def watched(message: Message) -> None:
        nonlocal whole
        whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        await send(message)

    try:
        await app(scope, receive, watched)
    except Exception:
        log.exception("a call of %s failed inside the gateway", "the admin API" if scope["path"].startswith(_ADMIN) else "the API")
        if not whole:
            raise GatewayError from None


async def _probe(path: str, send: Send, gateway: Gateway) -> None:
    """/livez: the process answers. /readyz: it can do its work; what is off is told either way."""
    if path == "/livez":
        status, word, problems = 200, "ok", []
    else:
        problems = gateway.problems
        status = 200 if gateway.ready else 503
        word = "ok" if not problems else "degraded" if gateway.ready else "unavailable"
    said: dict[str, object] = {"status": word, **({"problems": problems} if problems else {})}
    await send_whole(send, status, [(b"content-type", b"application/json")], msgspec.json.encode(said))


def create_app() -> App:
    """What a server loads: settings from the environment, logging, the app."""
    settings = load_settings(os.environ)
    set_up_logging(settings.log_level)
    return App(settings)
