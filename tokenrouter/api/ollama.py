"""What Ollama's clients ask beside inference, so that they work here unchanged: which models there are, and what they can do.

Models of an Ollama server behind this gateway are described by that server; others are described as far as they are known. Models are
not pulled, made or removed here.
"""

from collections.abc import Mapping

import msgspec
from fastapi import APIRouter, Request, Response

from tokenrouter.adapters.json_body import read_extension, read_fields
from tokenrouter.adapters.outbound.ollama_models import OllamaModels
from tokenrouter.adapters.wire.ollama_models import VERSION, aliases, name_of, read_rows, renamed, write_models, write_show, write_tag
from tokenrouter.api.auth import authenticate
from tokenrouter.api.public import gateway_of, plain_headers
from tokenrouter.errors import InvalidRequest, ModelNotFound, NotFound, UpstreamFailed
from tokenrouter.model.catalog import Deployment, Target
from tokenrouter.model.principal import Principal
from tokenrouter.wiring import Gateway

router = APIRouter()
_JSON = "application/json; charset=utf-8"
_READ = ["GET", "HEAD"]


@router.api_route("/", methods=_READ)
async def alive(request: Request) -> Response:
    """What the command line asks for first, without a key. Only the status counts to it, and nothing tells a stranger what answers here."""
    if request.method == "GET":
        raise NotFound("there is nothing at GET /")
    return Response()


@router.api_route("/api/version", methods=_READ)
async def version(request: Request) -> Response:
    """Which server's API this is."""
    await _caller(request)
    return _json(msgspec.json.encode({"version": VERSION}))


@router.api_route("/api/tags", methods=_READ)
async def tags(request: Request) -> Response:
    """Every model that the caller may use, under a name that means just this one."""
    gateway, principal = gateway_of(request), await _caller(request)
    await gateway.services.discovery.refresh()
    catalog = gateway.services.catalog
    pulled = {(vendor, found.name): found.row for vendor in catalog.vendors for found in catalog.discovered(vendor)}
    rows = []
    for vendor, model in catalog.listed():
        name = _name(gateway, principal, vendor, model)
        if name:
            row = pulled.get((vendor, model))
            rows.append(write_tag(vendor, name) if row is None else renamed(row, name))
    return _json(write_models(rows))


@router.api_route("/api/ps", methods=["GET"])
async def running(request: Request) -> Response:
    """Models in the memory of the servers behind this gateway. A server that is away is an error, not an empty list."""
    gateway, principal = gateway_of(request), await _caller(request)
    rows = []
    for deployment, endpoint in gateway.services.discovery.hosts():
        status, body = await gateway.services.discovery.ask(deployment, endpoint, "/api/ps")
        if status != 200:
            raise UpstreamFailed(f"{deployment.name} answered /api/ps with status {status}")
        named = [(_name(gateway, principal, deployment.vendor, name_of(row)), row) for row in read_rows(body)]
        rows += [renamed(row, name) for name, row in named if name]
    return _json(write_models(rows))


@router.post("/api/show")
async def show(request: Request) -> Response:
    """One model: asked of its server where that is Ollama, else what is known here."""
    gateway, principal = gateway_of(request), await _caller(request)
    fields = read_fields(await request.body())
    asked, verbose = _text(fields, "model") or _text(fields, "name"), _value(fields, "verbose")
    if not isinstance(verbose, bool | None):
        raise InvalidRequest("verbose must be true or false", param="verbose")
    if not asked:
        raise InvalidRequest("model is required", param="model")
    target = await _resolved(gateway, asked)
    model = target.model
    if not _name(gateway, principal, model.vendor, model.name):
        raise ModelNotFound(f"model '{asked[:80]}' not found: this key may not use it; GET /api/tags lists what it may", param="model")
    for deployment, endpoint in gateway.services.discovery.hosts(model.vendor):
        body = msgspec.json.encode({"model": model.name, "verbose": bool(verbose)})
        status, said = await gateway.services.discovery.ask(deployment, endpoint, OllamaModels.show_path, body, "POST")
        return Response(said, status_code=status, media_type=_JSON)
    return _json(write_show(model.vendor, model.name, _capabilities(target)))


@router.api_route("/api/delete", methods=["DELETE"])
@router.post("/api/copy")
@router.post("/api/create")
@router.post("/api/pull")
@router.post("/api/push")
async def manage(request: Request) -> Response:
    """Nobody changes here what a server has."""
    await _caller(request)
    raise NotFound(f"{request.url.path} is not served here: models are pulled, made and removed at the Ollama server itself")


async def _resolved(gateway: Gateway, asked: str) -> Target:
    """A model by its name. Raises ModelNotFound."""
    services = gateway.services
    try:
        return services.catalog.resolve(asked)
    except ModelNotFound:
        if not await services.discovery.refresh():
            raise
    return services.catalog.resolve(asked)


def _name(gateway: Gateway, principal: Principal, vendor: str, model: str) -> str:
    """Under which name a caller may ask for a model; "" where it may not. Short where that means no other vendor's."""
    for name in (model, *aliases(model)):
        full = f"{vendor}/{name}"
        if not principal.models or name in principal.models or full in principal.models:
            return name if _vendor(gateway, name) == vendor else full
    return ""


def _vendor(gateway: Gateway, name: str) -> str:
    try:
        return gateway.services.catalog.resolve(name).model.vendor
    except ModelNotFound:
        return ""


def _capabilities(target: Target) -> list[str]:
    """In Ollama's words, as far as the catalog tells."""
    if "embed" in target.model.name:
        return ["embedding"]
    deployment: Deployment = target.deployments[0]
    sees = [] if "text_only" in deployment.quirks else ["vision"]
    thinks = [] if target.model.reasoning == "none" else ["thinking"]
    return ["completion", "tools", *sees, *thinks]


async def _caller(request: Request) -> Principal:
    return await authenticate(plain_headers(request.headers), gateway_of(request).keys, request.url.query.encode())


def _text(fields: Mapping[str, msgspec.Raw], name: str) -> str:
    value = _value(fields, name)
    if not isinstance(value, str | None):
        raise InvalidRequest(f"{name} must be a string", param=name)
    return value or ""


def _value(fields: Mapping[str, msgspec.Raw], name: str) -> object:
    return read_extension(name, fields[name]) if name in fields else None


def _json(body: bytes) -> Response:
    return Response(body, media_type=_JSON)
