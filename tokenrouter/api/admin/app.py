"""The admin API as one ASGI app: the gate, the resources behind it, their description, and a page that shows it."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable
from importlib import resources

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

from tokenrouter import __version__
from tokenrouter.api.admin import audit, cache, check, customers, health, keys, ledger, prices, problems, prompt_cache, rules, tenants, usage
from tokenrouter.api.admin.described import described
from tokenrouter.api.admin.desk import Desk
from tokenrouter.api.admin.gate import Gate, Guard
from tokenrouter.clock import Clock
from tokenrouter.errors import GatewayError, Unavailable
from tokenrouter.storage.admin_records import AdminRecords

RESOURCES = (tenants, keys, customers, rules, check, prices, usage, ledger, prompt_cache, cache, health, audit)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def create_admin(desk: Callable[[], Desk | None], guard: Guard, clock: Clock) -> Gate:
    """The admin API. `desk`: what it works with, None until that is there; `guard`: who asks, or an error."""
    app = FastAPI(
        title="TokenRouter admin API",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.desk = desk
    for each in RESOURCES:
        app.include_router(each.router)
    app.add_exception_handler(GatewayError, problems.gateway_error)
    app.add_exception_handler(Exception, problems.gateway_error)
    app.add_exception_handler(HTTPException, problems.http_error)
    app.add_exception_handler(RequestValidationError, problems.bad_request)
    _add_pages(app)

    def records() -> AdminRecords:
        found = desk()
        if found is None:
            raise Unavailable("starting")
        return found.records

    return Gate(app, guard, records, clock)


def _add_pages(app: FastAPI) -> None:
    page = resources.files("tokenrouter.api.admin").joinpath("docs.html").read_text("utf-8")
    script = _SCRIPT.search(page)
    digest = b64encode(hashlib.sha256(script[1].encode() if script else b"").digest()).decode()
    policy = (
        f"default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; frame-ancestors 'none'; base-uri 'none'"
    )
    schema = described(app)

    @app.get("/admin/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(schema(), media_type="application/json")

    @app.get("/admin/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers={"content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"})

    @app.get("/admin", include_in_schema=False)
    @app.get("/admin/", include_in_schema=False)
    async def home(_: Request) -> RedirectResponse:
        return RedirectResponse("/admin/docs")
