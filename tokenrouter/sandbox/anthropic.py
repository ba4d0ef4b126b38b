"""Anthropic Messages: caching where the client sets marks, signed thinking, and the strictness of the real service.

Sources: https://platform.claude.com/docs/en/api/messages, .../build-with-claude/prompt-caching, .../api/errors, .../api/rate-limits.
"""

from collections.abc import Callable

import msgspec
import xxhash

from tokenrouter.sandbox.answers import Answer, Ask, Scripted, Tool, respond
from tokenrouter.sandbox.anthropic_models import MODELS, Model, find
from tokenrouter.sandbox.anthropic_prompt import Rendered, cache_blocks, conversation_before, render
from tokenrouter.sandbox.anthropic_reply import BROKEN, Reply, stream, whole
from tokenrouter.sandbox.anthropic_request import BINDING_BETA, VERSIONS, MessagesRequest, bad, read_fields
from tokenrouter.sandbox.anthropic_thinking import NO_LINK, Dropped, Signer, check_thinking
from tokenrouter.sandbox.anthropic_turns import THINKING, Block, check_marks, read_turns
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import fingerprint
from tokenrouter.sandbox.prompt_cache.marks import MarkCache, Outcome
from tokenrouter.sandbox.schema_values import required_first
from tokenrouter.sandbox.wire import (
    JSON_HEADERS,
    SSE_HEADERS,
    Call,
    Frame,
    Headers,
    JsonObject,
    JsonValue,
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


class _Read(msgspec.Struct, frozen=True):
    """A request with everything known about it before the model speaks."""

    request: MessagesRequest
    blocks: list[Block]
    rendered: Rendered
    prefix: bytes
    dropped: list[Dropped]


class Anthropic:
    """The vendor behind /anthropic."""

    name = "anthropic"

    def __init__(self, seed: int, script: Script) -> None:
        self._seed = seed
        self._script = script
        self._cache = MarkCache()
        self._signer = Signer(seed)

    def credential(self, headers: dict[str, str], query: str) -> str | None:  # noqa: ARG002
        """An API key or a bearer token."""
        return headers.get("x-api-key") or bearer(headers)

    def reset(self) -> None:
        """Forget every cache."""
        self._cache.clear()

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
        if call.method == "GET" and call.path == "/v1/models":
            models = [{"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in MODELS]
            return Prepared(frames=(Frame(encode({"data": models, "has_more": False})),))
        if call.path not in ("/v1/messages", "/v1/messages/count_tokens") or call.method != "POST":
            raise Refusal(404, f"Not found: {call.method} {call.path}")
        fields = parse_object(call.body)
        counting = call.path.endswith("count_tokens")
        if counting:
            fields.setdefault("max_tokens", 1)
        name, model = _model(fields)
        read = self._read_request(call, fields, name, model, version)
        blocks, total = cache_blocks(read.rendered, encode([call.account, name, sorted(_betas(call))]), read.request.automatic_ttl)
        if counting:
            return Prepared(frames=(Frame(encode({"input_tokens": total})),))
        if total > model.context:
            raise bad(f"prompt is too long: {total} tokens > {model.context} maximum")
        outcome = self._cache.look_up(blocks, minimum=model.minimum, now_ns=call.started_ns)
        return self._answer(call, read, outcome, total, name)

    def _read_request(self, call: Call, fields: JsonObject, name: str, model: Model, version: str) -> _Read:
        request = read_fields(fields, name, model, version=version, betas=_betas(call))
        blocks = read_turns(request, model, version)
        prefixes = conversation_before(request, blocks)
        dropped = check_thinking(self._signer, blocks, prefixes, model=model, account=call.account, drops=request.thinking.drops)
        rendered = render(request, blocks, model, dropped)
        last = rendered.places[-1].ttl if rendered.places else None
        check_marks(rendered.marks, request.automatic_ttl, last)
        return _Read(request, blocks, rendered, prefixes[-1], dropped)

    def _answer(self, call: Call, read: _Read, outcome: Outcome, total: int, name: str) -> Prepared:
        request = read.request
        written = outcome.written_5m + outcome.written_1h
        seed = fingerprint(f"{self._seed}\x00{name}".encode(), read.rendered.pieces)
        prewarm = request.max_tokens == 0
        answer = Answer(finish="length") if prewarm else respond(_ask(request, read.blocks, seed), self._script(self.name))
        answer, inputs = _parsed(answer)
        tokens = Tokens(
            input=total - outcome.read - written,
            cache_read=outcome.read,
            cache_write_5m=outcome.written_5m,
            cache_write_1h=outcome.written_1h,
            output=0 if prewarm else answer.output_tokens,
        )
        transformations: list[JsonObject] | None = None
        if BINDING_BETA in _betas(call):
            transformations = [{"type": "thinking_dropped", "path": drop.path, "reason": drop.reason} for drop in read.dropped]
        reply = Reply(
            reply_id=f"msg_{call.number:022x}",
            model=str(request.fields["model"]),
            answer=answer,
            signature=self._sign(answer, read, call.account),
            call_ids=tuple(f"toolu_{xxhash.xxh3_128_hexdigest(f'{seed}/{number}'.encode())[:24]}" for number in range(len(answer.calls))),
            inputs=inputs,
            tokens=tokens,
            omit_usage=call.omit_usage,
            empty=prewarm,
            transformations=transformations,
        )

        def store() -> None:
            self._cache.write(outcome, call.started_ns)

        return Prepared(
            frames=stream(reply) if request.stream else (Frame(whole(reply), tokens.output),),
            streams=request.stream,
            model=name,
            charge=tokens,
            headers=SSE_HEADERS if request.stream else JSON_HEADERS,
            on_start=store,
            broken=BROKEN,
        )

    def _sign(self, answer: Answer, read: _Read, account: str) -> str:
        if not answer.thinking:
            return ""
        gone = {drop.path for drop in read.dropped}
        before = [block for block in read.blocks if block.kind in THINKING and block.path not in gone]
        link = self._signer.link(str(before[-1].value.get("signature", before[-1].value.get("data")))) if before else NO_LINK
        return self._signer.sign(answer.thinking, prefix=read.prefix, link=link, account=account)


def _betas(call: Call) -> frozenset[str]:
    return frozenset(item.strip() for item in call.headers.get("anthropic-beta", "").split(",") if item.strip())


def _model(fields: JsonObject) -> tuple[str, Model]:
    name = fields.get("model")
    if not isinstance(name, str):
        raise bad("model: Field required")
    found = find(name)
    if found is None:
        raise Refusal(404, f"model: {name}")
    return found


def _ask(request: MessagesRequest, blocks: list[Block], seed: int) -> Ask:
    turn = max((block.turn for block in blocks if block.role == "user"), default=-1)
    last = [block for block in blocks if block.turn == turn]
    text = "\n".join(str(block.value["text"]) for block in last if block.kind == "text")
    choice = "required" if request.choice == "any" else request.choice
    return Ask(
        seed=seed,
        last_user=text,
        after_tools=any(block.kind == "tool_result" for block in last),
        tools=tuple(Tool(str(tool["name"]), tool["input_schema"]) for tool in request.tools if isinstance(tool.get("input_schema"), dict)),
        choice=choice,
        parallel=request.parallel,
        schema=None if request.schema is None else required_first(request.schema),
        limit=request.max_tokens,
        stops=request.stops,
        thinks=request.thinking.kind != "disabled",
    )


def _parsed(answer: Answer) -> tuple[Answer, tuple[JsonValue, ...]]:
    """Inputs of tool calls are objects on this wire; arguments cut off by the limit become what could be read of them: nothing."""
    inputs: list[JsonValue] = []
    for call in answer.calls:
        try:
            inputs.append(msgspec.json.decode(call.arguments))
        except msgspec.DecodeError:
            inputs.append({})
    return answer, tuple(inputs)
