"""Anthropic Messages: caching where the client sets marks, signed thinking, and the strictness of the real service.

Sources: https://platform.claude.com/docs/en/api/messages, .../build-with-claude/prompt-caching, .../api/errors, .../api/rate-limits.
"""

from collections.abc import Callable
from urllib.parse import parse_qs

from tokenrouter.sandbox.answers import Scripted
from tokenrouter.sandbox.anthropic_diagnoses import Diagnoses
from tokenrouter.sandbox.anthropic_engine import Engine, Question, Read
from tokenrouter.sandbox.anthropic_models import MODELS, Model, find
from tokenrouter.sandbox.anthropic_reply import BROKEN, Reply, stream, whole
from tokenrouter.sandbox.anthropic_request import BINDING_BETA, VERSIONS, bad
from tokenrouter.sandbox.tiers import served
from tokenrouter.sandbox.wire import (
    JSON_HEADERS,
    SSE_HEADERS,
    Call,
    Frame,
    Headers,
    JsonObject,
    Prepared,
    Refusal,
    bearer,
    encode,
    parse_object,
)

Script = Callable[[str], Scripted | None]

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Anthropic:
    """The vendor behind /anthropic."""

    name = "anthropic"

    def __init__(self, seed: int, script: Script) -> None:
        self._script = script
        self._engine = Engine(seed)
        self._diagnoses = Diagnoses()

    def credential(self, headers: dict[str, str], query: str) -> str | None:  # noqa: ARG002
        """An API key or a bearer token."""
        return headers.get("x-api-key") or bearer(headers)

    def reset(self) -> None:
        """Forget every cache."""
        self._engine.clear()
        self._diagnoses.clear()

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:
        """Anthropic's error shape."""
        message = {401: "invalid x-api-key"}.get(refusal.status, refusal.message)
        kind = refusal.kind or _KINDS.get(refusal.status, "api_error")
        return encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})

    def headers(self, call: Call) -> Headers:
        """Request id and rate limits."""
        reset = b"2026-01-01T00:00:00Z"
        limits: list[tuple[bytes, bytes]] = []
        for name, limit in ((b"requests", b"4000"), (b"tokens", b"4000000"), (b"input-tokens", b"2000000"), (b"output-tokens", b"400000")):
            start = b"anthropic-ratelimit-" + name
            limits += [(start + b"-limit", limit), (start + b"-remaining", limit), (start + b"-reset", reset)]
        return ((b"request-id", call.request_id.encode()), (b"anthropic-organization-id", call.account.encode()), *limits)

    def prepare(self, call: Call) -> Prepared:
        """Answer a message, count tokens, or list the models."""
        version = call.headers.get("anthropic-version")
        if version is None:
            raise bad("anthropic-version: header is required")
        if version not in VERSIONS:
            raise bad(f'anthropic-version: "{version}" is not a valid version')
        if call.method == "GET" and call.path.startswith("/v1/models"):
            return _catalog(call.path.removeprefix("/v1/models").removeprefix("/"), call.query)
        if call.path not in ("/v1/messages", "/v1/messages/count_tokens") or call.method != "POST":
            raise Refusal(404, f"Not found: {call.method} {call.path}")
        fields = parse_object(call.body)
        counting = call.path.endswith("count_tokens")
        if counting:
            fields.setdefault("max_tokens", 1)
        name, model = _model(fields)
        question = Question(
            fields=fields,
            name=name,
            model=model,
            version=version,
            betas=betas_of(call),
            account=call.account,
            started_ns=call.started_ns,
        )
        read = self._engine.read(question)
        if counting:
            return Prepared(frames=(Frame(encode({"input_tokens": read.total})),))
        said = self._diagnoses.compare(call.account, fields, question.betas)
        prepared = reply_to(call, self._engine, read, lambda: self._script(self.name), diagnostics=said)
        self._diagnoses.keep(call.account, answer_id(call), fields, question.betas)
        return prepared


def answer_id(call: Call) -> str:
    """The id of the answer to a call."""
    return f"msg_{call.number:022x}"


def reply_to(call: Call, engine: Engine, read: Read, script: Callable[[], Scripted | None], *, diagnostics: JsonObject | None = None) -> Prepared:
    """A Messages answer, whole or as a stream."""
    said = engine.answer(read, script)
    request = read.request
    transformations: list[JsonObject] | None = None
    if BINDING_BETA in read.question.betas:
        transformations = [{"type": "thinking_dropped", "path": drop.path, "reason": drop.reason} for drop in read.dropped]
    reply = Reply(
        reply_id=answer_id(call),
        model=str(request.fields["model"]),
        said=said,
        call_ids=said.call_ids("toolu_", 24),
        shows=request.thinking.shown,
        omit_usage=call.omit_usage,
        empty=request.max_tokens == 0,
        transformations=transformations,
        diagnostics=diagnostics,
        tier=served(read.question.name, request.fields.get("speed")),
    )
    return Prepared(
        frames=stream(reply) if request.stream else (Frame(whole(reply), said.tokens.output),),
        streams=request.stream,
        model=read.question.name,
        charge=said.tokens,
        tier=reply.tier,
        headers=SSE_HEADERS if request.stream else JSON_HEADERS,
        on_start=said.store,
        broken=BROKEN,
    )


def betas_of(call: Call) -> frozenset[str]:
    """The betas of the header."""
    return frozenset(item.strip() for item in call.headers.get("anthropic-beta", "").split(",") if item.strip())


def _catalog(name: str, query: str) -> Prepared:
    """All models, in pages, or one of them."""
    if name:
        found = find(name)
        if found is None:
            raise Refusal(404, f"model: {name}")
        return Prepared(frames=(Frame(encode(_described(name, found[1]))),))
    fields = parse_qs(query)
    limit, after = fields.get("limit", ["20"])[0], fields.get("after_id", [""])[0]
    if not limit.isdigit() or not 1 <= int(limit) <= 1000:
        raise bad("limit: Input should be from 1 to 1000")
    names = list(MODELS)
    start = names.index(after) + 1 if after in names else 0
    page = names[start : start + int(limit)]
    document: JsonObject = {
        "data": [_described(item, MODELS[item]) for item in page],
        "has_more": start + len(page) < len(names),
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }
    return Prepared(frames=(Frame(encode(document)),))


def _described(name: str, model: Model) -> JsonObject:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": model.context,
        "max_tokens": model.most_output,
    }


def _model(fields: JsonObject) -> tuple[str, Model]:
    name = fields.get("model")
    if not isinstance(name, str):
        raise bad("model: Field required")
    found = find(name)
    if found is None:
        raise Refusal(404, f"model: {name}")
    return found
