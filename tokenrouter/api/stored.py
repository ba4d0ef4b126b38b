"""Answers that a provider keeps, read again and deleted by the tenant that created them. Whoever else asks is told that there are none."""

from urllib.parse import parse_qsl, quote, urlencode

from fastapi import APIRouter, Request, Response

from tokenrouter.api.auth import authenticate
from tokenrouter.api.public import gateway_of, plain_headers
from tokenrouter.api.virtual_time import for_simulators
from tokenrouter.errors import NotFound, Unavailable, UpstreamFailed
from tokenrouter.model.catalog import Deployment
from tokenrouter.recall.ownership import find_now
from tokenrouter.serving.entrance import count
from tokenrouter.serving.services import Services

router = APIRouter()
_DIALECT, _PATH = "openai-responses", "/responses"
_CREDENTIAL_STATUSES = (401, 403, 407)
_KEPT_HEADERS = ("content-type", "x-request-id", "retry-after")


@router.api_route("/v1/responses/{response_id}", methods=["GET", "DELETE"])
async def stored_response(request: Request, response_id: str) -> Response:
    """The response as its provider keeps it; or its end there."""
    return await _relayed(request, response_id, "")


@router.get("/v1/responses/{response_id}/input_items")
async def stored_items(request: Request, response_id: str) -> Response:
    """What led to it, page by page."""
    return await _relayed(request, response_id, "/input_items")


@router.post("/v1/responses/{response_id}/cancel")
async def stored_cancel(request: Request, response_id: str) -> Response:
    """Answers that are made in the background can be stopped; others the provider refuses in its own words."""
    return await _relayed(request, response_id, "/cancel")


async def _relayed(request: Request, response_id: str, rest: str) -> Response:
    """Ask the account that holds the response. Raises NotFound in the same words for unknown ids and for another tenant's."""
    gateway = gateway_of(request)
    services = gateway.services
    if gateway.draining:
        raise Unavailable("shutting down; try again", headers=(("retry-after", "1"),))
    principal = await authenticate(plain_headers(request.headers), gateway.keys, request.url.query.encode())
    await count(principal, services)
    missing = NotFound(f"Response with id '{response_id[:100]}' not found.")
    owned = await find_now(services.owned, principal.tenant, response_id)
    holder = _holder(services, owned.deployment) if owned is not None else None
    if holder is None:
        raise missing
    deployment, base_url = holder
    query = urlencode([(name, value) for name, value in parse_qsl(request.url.query, keep_blank_values=True) if name != "key"])
    url = f"{base_url}{_PATH}/{quote(response_id, safe='')}{rest}" + (f"?{query}" if query else "")
    headers = await services.credentials.headers(deployment, url, (), b"")
    headers = (*headers, *for_simulators(services.clock, request.scope["headers"]))
    transport = services.sandbox_transport if deployment.sandbox and services.sandbox_transport is not None else services.transport
    response = await transport.send(url, headers, b"", request.method)
    try:
        body = await response.read()
    finally:
        await response.aclose()
    if response.status in _CREDENTIAL_STATUSES or 300 <= response.status < 400:
        raise UpstreamFailed(f"{deployment.name} refused the gateway ({response.status})")
    if request.method == "DELETE" and response.status == 200:
        services.owned.forget(principal.tenant, response_id)
    kept = {name.lower(): value for name, value in response.headers if name.lower() in _KEPT_HEADERS}
    return Response(body, status_code=response.status, headers=kept)


def _holder(services: Services, name: str) -> tuple[Deployment, str] | None:
    """The account of this name, and where it speaks the wire; None where it is no longer set up."""
    for deployments in services.catalog.deployments.values():
        for deployment in deployments:
            for endpoint in deployment.endpoints:
                native = services.outbound[endpoint.wire].native
                if deployment.name == name and native is not None and native.dialect == _DIALECT:
                    return deployment, endpoint.base_url
    return None
