"""What callers may ask beside inference: models, one of their own requests, metrics."""

from typing import TYPE_CHECKING, cast

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from tokenrouter.adapters.base import Dialect
from tokenrouter.adapters.inbound.anthropic import AnthropicMessagesDialect
from tokenrouter.adapters.inbound.gemini import GeminiGenerate
from tokenrouter.adapters.inbound.ollama import OllamaChat
from tokenrouter.adapters.inbound.openai_chat import OpenAIChat
from tokenrouter.api.auth import authenticate, is_admin
from tokenrouter.api.routes import GEMINI_METHODS
from tokenrouter.errors import (
    GatewayError,
    InvalidJSON,
    InvalidRequest,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from tokenrouter.model.principal import Principal
from tokenrouter.serving.reply import figures
from tokenrouter.wiring import Gateway

if TYPE_CHECKING:
    from tokenrouter.api.app import App

router = APIRouter()
_JSON = "application/json"
_dialect = OpenAIChat()
_anthropic = AnthropicMessagesDialect()
_gemini = GeminiGenerate()
_ollama = OllamaChat()
_ANTHROPIC = "anthropic-version"  # a header that clients of that API send with every request
_GOOGLE = ("x-goog-api-key", "x-goog-api-client")  # the same for Google's, whose clients call /v1 as well as /v1beta
_GOOGLE_ONLY = ("/v1beta/", "/v1alpha/")
_OLLAMA_ONLY = "/api/"
_MOST_PER_PAGE = 1_000


def gateway_of(request: Request) -> Gateway:
    """The gateway behind this request."""
    gateway = cast("App", request.app.state.app).gateway
    if gateway is None:
        raise Unavailable("starting")
    return gateway


def plain_headers(headers: Headers) -> dict[str, str]:
    """Headers as a plain mapping, names in lower case."""
    return dict(headers.items())


async def gateway_error(request: Request, error: Exception) -> Response:
    """Any of our errors, in the shape that most clients know, or in the one that the client's API has."""
    failure = error if isinstance(error, GatewayError) else GatewayError()
    body = _spoken(request).encode_error(failure)
    return Response(body, status_code=failure.status, media_type=_JSON, headers=dict(failure.headers))


def _spoken(request: Request) -> Dialect:
    if request.url.path.startswith(_OLLAMA_ONLY):
        return _ollama
    return _anthropic if _ANTHROPIC in request.headers else _gemini if _is_google(request) else _dialect


def _is_google(request: Request) -> bool:
    """Whether a client of Google's API asks: by the path, by a header, or by a key in the query, where no other API has it."""
    path, headers = request.url.path, request.headers
    if path.startswith(_GOOGLE_ONLY) or any(name in headers for name in _GOOGLE):
        return True
    return path.startswith("/v1/models") and "key" in request.query_params


async def http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses, in our shape: a path that nobody answers, a method that it does not take, a body that can not be read."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    failure = GatewayError()
    if isinstance(error.__cause__, GatewayError):
        failure = error.__cause__
    elif status == 404:
        failure = NotFound(f"there is nothing at {request.method} {request.url.path[:200]}")
    elif status == 405:
        failure = MethodNotAllowed(f"{request.url.path[:200]} does not take {request.method}")
    elif status < 500:
        failure = InvalidRequest("the body can not be read")
    return await gateway_error(request, failure)


async def bad_body(request: Request, error: Exception) -> Response:
    """A body of the admin API that is not what it should be: the first thing that is wrong, and where."""
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    if first.get("type") == "json_invalid":
        return await gateway_error(request, InvalidJSON("the body is not valid JSON"))
    param = ".".join(str(part) for part in first.get("loc", ())[1:])
    return await gateway_error(request, InvalidRequest(f"{param or 'the body'}: {first.get('msg', 'not understood')}", param=param or None))


@router.get("/v1/models")
@router.get("/v1beta/models")
@router.get("/v1alpha/models")
async def list_models(request: Request) -> Response:
    """The models that can be called, in OpenAI's shape, or in Anthropic's or Google's for their clients. A bare name works where it means
    one vendor; `vendor/model` always does.
    """
    gateway = gateway_of(request)
    principal = await _known_caller(request, gateway)
    listed = _listed(principal, gateway)
    if _ANTHROPIC in request.headers:
        return Response(msgspec.json.encode(_anthropic_list([model for _, model in listed])), media_type=_JSON)
    if _is_google(request):
        return Response(msgspec.json.encode(_gemini_page(request, gateway, listed)), media_type=_JSON)
    rows = [_openai_model(vendor, model) for vendor, model in listed]
    return Response(msgspec.json.encode({"object": "list", "data": rows}), media_type=_JSON)


@router.get("/v1/models/{name:path}")
@router.get("/v1beta/models/{name:path}")
@router.get("/v1alpha/models/{name:path}")
async def show_model(request: Request, name: str) -> Response:
    """One model in the same three shapes, by its name or as `vendor/model`; also one that is not listed, where it can be called."""
    gateway = gateway_of(request)
    principal = await _known_caller(request, gateway)
    vendor, model = _named(principal, gateway, name)
    if _ANTHROPIC in request.headers:
        shown = _anthropic_model(model)
    elif _is_google(request):
        shown = _gemini_model(gateway, vendor, model)
    else:
        shown = _openai_model(vendor, model)
    return Response(msgspec.json.encode(shown), media_type=_JSON)


@router.post("/v1/models/{name:path}")
@router.post("/v1beta/models/{name:path}")
@router.post("/v1alpha/models/{name:path}")
async def other_method(request: Request, name: str) -> Response:
    """Methods of Google's API that nobody answers; those that are answered never come here."""
    _, colon, method = name.rpartition(":")
    if not colon:
        raise MethodNotAllowed(f"{request.url.path[:200]} does not take POST", headers=(("allow", "GET"),))
    raise NotFound(f"there is no method {method[:60]!r} here; of a model's methods {', '.join(GEMINI_METHODS)} are served")


async def _known_caller(request: Request, gateway: Gateway) -> Principal:
    """The caller, once hosts that list their own models have been asked for them."""
    principal = await authenticate(plain_headers(request.headers), gateway.keys, request.url.query.encode())
    await gateway.services.discovery.refresh()
    return principal


def _listed(principal: Principal, gateway: Gateway) -> list[tuple[str, str]]:
    """(vendor, model) of what the caller may call."""
    return [(vendor, model) for vendor, model in gateway.services.catalog.listed() if _may_use(principal, vendor, model)]


def _named(principal: Principal, gateway: Gateway, name: str) -> tuple[str, str]:
    """(vendor, model) of a name. Raises ModelNotFound for one that could not be called, or not by this caller."""
    model = gateway.services.catalog.resolve(name).model
    priced = gateway.services.prices.schedule(model.vendor, model.name, vectors=True) is not None
    if not priced or not _may_use(principal, model.vendor, model.name):
        raise ModelNotFound(f"the model {name[:80]!r} can not be called here; GET /v1/models lists what can", param="model")
    return model.vendor, model.name


def _may_use(principal: Principal, vendor: str, model: str) -> bool:
    return not principal.models or model in principal.models or f"{vendor}/{model}" in principal.models


def _openai_model(vendor: str, name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": vendor}


def _gemini_page(request: Request, gateway: Gateway, listed: list[tuple[str, str]]) -> dict[str, object]:
    """One page of the list, in Google's shape: all there is, unless `pageSize` asks for less. A page's token is the place where it begins."""
    query = request.query_params
    size, start = _whole(query.get("pageSize"), "pageSize") or _MOST_PER_PAGE, _whole(query.get("pageToken"), "pageToken")
    end = start + min(size, _MOST_PER_PAGE)
    more = {"nextPageToken": str(end)} if end < len(listed) else {}
    return {"models": [_gemini_model(gateway, vendor, model) for vendor, model in listed[start:end]], **more}


def _whole(said: str | None, name: str) -> int:
    if not said:
        return 0
    if not (said.isascii() and said.isdigit() and len(said) < 10):
        raise InvalidRequest(f"{name} must be a whole number", param=name)
    return int(said)


def _gemini_model(gateway: Gateway, vendor: str, name: str) -> dict[str, object]:
    known = gateway.services.catalog.model(vendor, name)
    vectors = "embed" in name
    return {
        "name": f"models/{name}",
        "baseModelId": name,
        "version": "",
        "displayName": name,
        "description": f"served by {vendor}",
        "outputTokenLimit": 1 if vectors else known.max_output,
        "supportedGenerationMethods": (
            ["embedContent", "batchEmbedContents"] if vectors else ["generateContent", "streamGenerateContent", "countTokens"]
        ),
        "thinking": known.reasoning != "none",
    }


def _anthropic_list(models: list[str]) -> dict[str, object]:
    """One page with all models. Release dates are not known here, which that API writes as the epoch."""
    rows = [_anthropic_model(model) for model in models]
    return {"data": rows, "has_more": False, "first_id": models[0] if models else None, "last_id": models[-1] if models else None}


def _anthropic_model(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


@router.get("/v1/requests/{request_id}")
async def show_request(request: Request, request_id: str) -> Response:
    """What one of the caller's own requests cost and saved. Streams tell their figures here, as their headers left before these were known."""
    gateway = gateway_of(request)
    principal = await authenticate(plain_headers(request.headers), gateway.keys)
    record = gateway.services.recorder.find(request_id, principal.tenant)
    record = record or await gateway.services.books.find(request_id, principal.tenant)
    if record is None:
        raise NotFound(f"no request {request_id[:64]!r} of yours is known")
    rest = {
        "time_ns": record.time_ns,
        "stream": record.stream,
        "status": record.status,
        "error": record.error or None,
        "model_asked": record.model_asked,
        "key_id": record.key_id,
        "price_version": record.price_version,
        "duration_ms": record.duration_ns / 1e6,
        "upstream_ms": record.upstream_ns / 1e6,
        "shared_from": record.shared_from or None,
    }
    return Response(msgspec.json.encode({**figures(record), **rest}), media_type=_JSON)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus text. Open on a loopback address, else for the admin key (or everybody, with METRICS_PUBLIC)."""
    gateway = gateway_of(request)
    settings = gateway.settings
    is_open = settings.loopback or settings.metrics_public
    if not (is_open or is_admin(plain_headers(request.headers), gateway.keys, settings.admin_api_key.reveal())):
        raise Unauthenticated("metrics are for the admin key, as this gateway listens beyond this machine (or set METRICS_PUBLIC=true)")
    return Response(gateway.services.recorder.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
