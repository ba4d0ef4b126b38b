"""Gemini: generateContent with implicit caching, and the OpenAI-compatible endpoint over the same cache.

Sources: https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/caching, .../docs/thought-signatures.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from tokenrouter.sandbox.answers import Answer, Scripted, pieces, respond
from tokenrouter.sandbox.chat_ask import ask_of as chat_ask
from tokenrouter.sandbox.chat_reply import Reply
from tokenrouter.sandbox.chat_reply import stream as chat_stream
from tokenrouter.sandbox.chat_reply import whole as chat_whole
from tokenrouter.sandbox.chat_request import read_chat
from tokenrouter.sandbox.gemini_request import GenerateRequest, ask_of, bad, check_signatures, from_chat, read_generate, render
from tokenrouter.sandbox.openai import call_ids
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import chain, fingerprint, text_tokens
from tokenrouter.sandbox.prompt_cache.automatic import AutomaticCache
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
    sse,
)

STEP = 128
"""Tokens by which an implicit hit grows; not published."""
TTL_NS = 24 * 3600 * 1_000_000_000
CONTEXT = 1_048_576
MINIMUM = {"gemini-2.5": 2048}
NEWER_MINIMUM = 4096
MODELS = (
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-pro-preview",
    "gemini-3.1-pro-preview",
    "gemini-3.5-flash",
    "gemini-3.6-flash",
    "gemini-4-argon",
)
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
Script = Callable[[str], Scripted | None]


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """A request with what the cache said about it."""

    model: str
    tokens: Tokens
    seed: int
    store: Callable[[], None]
    signs: bool
    thinks: bool


class Gemini:
    """The vendor behind /gemini."""

    name = "gemini"

    def __init__(self, seed: int, script: Script) -> None:
        self._seed = seed
        self._script = script
        self._cache = AutomaticCache()
        self._key = hashlib.sha256(f"sandbox signatures {seed}".encode()).digest()

    def credential(self, headers: dict[str, str], query: str) -> str | None:
        """An API key in a header or the query, or a bearer token."""
        return headers.get("x-goog-api-key") or bearer(headers) or parse_qs(query).get("key", [None])[0]

    def reset(self) -> None:
        """Forget every cache."""
        self._cache.clear()

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:  # noqa: ARG002
        """Google's error shape."""
        status = refusal.kind or _STATUS.get(refusal.status, "UNKNOWN")
        return encode({"error": {"code": refusal.status, "message": refusal.message, "status": status, "details": []}})

    def headers(self, call: Call) -> Headers:
        """Server timing only."""
        return ((b"server-timing", b"gfet4t7; dur=12"), (b"x-request-id", call.request_id.encode()))

    def prepare(self, call: Call) -> Prepared:
        """Answer a native or an OpenAI-shaped request."""
        if call.path == "/v1beta/models" and call.method == "GET":
            models = [{"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": ["generateContent"]} for name in MODELS]
            return Prepared(frames=(Frame(encode({"models": models})),))
        if call.method != "POST":
            raise Refusal(404, f"Not found: {call.method} {call.path}")
        if call.path == "/v1beta/openai/chat/completions":
            return self._chat(call)
        model, _, action = call.path.removeprefix("/v1beta/models/").partition(":")
        if not call.path.startswith("/v1beta/models/") or action not in ("generateContent", "streamGenerateContent"):
            raise Refusal(404, f"Not found: {call.method} {call.path}")
        request = read_generate(parse_object(call.body))
        read = self._read(call, request, model)
        answer = respond(ask_of(request, read.seed, thinks=read.thinks), self._script(self.name))
        return self._native(call, request, read, answer, streams=action == "streamGenerateContent")

    def _read(self, call: Call, request: GenerateRequest, model: str) -> _Read:
        if model not in MODELS:
            raise Refusal(404, f"models/{model} is not found for API version v1beta, or is not supported for generateContent.")
        signs = not model.startswith("gemini-2")
        if signs:
            check_signatures(request, self._is_ours)
        prompt_pieces = render(request)
        prompt = chain(encode([call.account, model]), prompt_pieces, STEP)
        if prompt.total > CONTEXT:
            raise bad(f"The input token count ({prompt.total}) exceeds the maximum number of tokens allowed ({CONTEXT}).")
        minimum = MINIMUM.get(model[:10], NEWER_MINIMUM)
        hit = self._cache.read(prompt, minimum=minimum, now_ns=call.started_ns)

        def store() -> None:
            self._cache.write(prompt, now_ns=call.started_ns, ttl_ns=TTL_NS, longest_ns=TTL_NS)

        seed = fingerprint(f"{self._seed}\x00{model}".encode(), prompt_pieces)
        thinking = request.config.get("thinkingConfig")
        off = isinstance(thinking, dict) and thinking.get("thinkingBudget", thinking.get("thinking_budget")) == 0
        tokens = Tokens(input=prompt.total - hit, cache_read=hit)
        return _Read(model=model, tokens=tokens, seed=seed, store=store, signs=signs, thinks=not off and not model.endswith("lite"))

    def _sign(self, seed: int) -> str:
        payload = seed.to_bytes(8, "big")
        return base64.b64encode(payload + hmac.new(self._key, payload, "sha256").digest()[:16]).decode()

    def _is_ours(self, signature: str) -> bool:
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(raw[8:], hmac.new(self._key, raw[:8], "sha256").digest()[:16])

    def _native(self, call: Call, request: GenerateRequest, read: _Read, answer: Answer, *, streams: bool) -> Prepared:
        thinking = request.config.get("thinkingConfig")
        shows = isinstance(thinking, dict) and thinking.get("includeThoughts", thinking.get("include_thoughts")) is True
        tokens = msgspec.structs.replace(read.tokens, output=answer.output_tokens)
        signature = self._sign(read.seed) if read.signs else None
        steps = list(_steps(answer, call_ids(read.seed, (answer,))[0], signature, shows=shows))
        head: JsonObject = {"modelVersion": read.model, "responseId": f"sandbox-{call.number:016x}"}
        if not streams:
            parts: list[JsonValue] = [*_joined([part for part, _ in steps])]
            document = _document(head, parts, _FINISH[answer.finish], None if call.omit_usage else _usage(tokens, tokens.output, answer))
            frames: tuple[Frame, ...] = (Frame(encode(document), tokens.output),)
        else:
            as_sse = parse_qs(call.query).get("alt") == ["sse"]
            frames = _stream(head, steps, answer, tokens, omit_usage=call.omit_usage, as_sse=as_sse)
        return Prepared(
            frames=frames,
            streams=streams,
            model=read.model,
            charge=tokens,
            headers=SSE_HEADERS if streams and frames[0].data.startswith(b"data:") else JSON_HEADERS,
            on_start=read.store,
            broken=sse({"error": {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}}),
        )

    def _chat(self, call: Call) -> Prepared:
        request = read_chat(parse_object(call.body))
        read = self._read(call, from_chat(request), request.model.removeprefix("models/"))
        answer = respond(chat_ask(request, read.seed, thinks=read.thinks), self._script(self.name))
        tokens = msgspec.structs.replace(read.tokens, output=answer.output_tokens)
        usage: JsonObject = {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.prompt + tokens.output,
            "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
            "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        }
        reply = Reply(
            reply_id=f"sandbox-{call.number:016x}",
            created=call.started_ns // 1_000_000_000,
            model=request.model,
            answers=(answer,),
            call_ids=call_ids(read.seed, (answer,)),
            usage=None if call.omit_usage else usage,
            include_usage=request.include_usage,
            signature=self._sign(read.seed) if read.signs else None,
        )
        return Prepared(
            frames=chat_stream(reply) if request.stream else (Frame(chat_whole(reply), tokens.output),),
            streams=request.stream,
            model=read.model,
            charge=tokens,
            headers=SSE_HEADERS if request.stream else JSON_HEADERS,
            on_start=read.store,
            broken=sse({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}),
        )


_FINISH = {"stop": "STOP", "stop_sequence": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


def _steps(answer: Answer, ids: tuple[str, ...], signature: str | None, *, shows: bool) -> list[tuple[JsonObject, int]]:
    """The parts of an answer as a stream delivers them, each with the tokens produced up to it."""
    steps: list[tuple[JsonObject, int]] = []
    base = answer.reasoning_tokens
    if shows and answer.thinking:
        steps.append(({"text": answer.thinking, "thought": True}, base))
    said = ""
    for piece in pieces(answer.text):
        said += piece
        steps.append(({"text": piece}, base + text_tokens(said)))
    for number, call in enumerate(answer.calls):
        part: JsonObject = {"functionCall": {"name": call.name, "args": _arguments(call.arguments)}}
        if signature is not None:
            part = {"functionCall": {"id": ids[number], "name": call.name, "args": _arguments(call.arguments)}}
            if number == 0:
                part["thoughtSignature"] = signature
        steps.append((part, answer.output_tokens))
    if signature is not None and not answer.calls and answer.thinking:
        steps.append(({"text": "", "thoughtSignature": signature}, answer.output_tokens))
    return steps


def _arguments(text: str) -> JsonValue:
    try:
        value: JsonValue = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return value


def _joined(parts: list[JsonObject]) -> list[JsonObject]:
    """Neighbouring text parts as one, as a plain answer has them."""
    joined: list[JsonObject] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last is not None and part.keys() - {"thoughtSignature"} == {"text"} and last.keys() == {"text"}:
            joined[-1] = {**last, **part, "text": f"{last['text']}{part['text']}"}
        else:
            joined.append(part)
    return joined


def _document(head: JsonObject, parts: list[JsonValue], finish: str | None, usage: JsonObject | None) -> JsonObject:
    candidate: JsonObject = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    document: JsonObject = {"candidates": [candidate]}
    if usage is not None:
        document["usageMetadata"] = usage
    return {**document, **head}


def _usage(tokens: Tokens, produced: int, answer: Answer) -> JsonObject:
    thoughts = min(answer.reasoning_tokens, produced)
    usage: JsonObject = {
        "promptTokenCount": tokens.prompt,
        "candidatesTokenCount": produced - thoughts,
        "totalTokenCount": tokens.prompt + produced,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens.prompt}],
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if tokens.cache_read:
        usage["cachedContentTokenCount"] = tokens.cache_read
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens.cache_read}]
    return usage


def _stream(
    head: JsonObject, steps: list[tuple[JsonObject, int]], answer: Answer, tokens: Tokens, *, omit_usage: bool, as_sse: bool
) -> tuple[Frame, ...]:
    steps = steps or [({"text": ""}, tokens.output)]
    frames: list[Frame] = []
    for number, (part, produced) in enumerate(steps):
        last = number == len(steps) - 1
        produced = tokens.output if last else produced
        usage = None if omit_usage else _usage(tokens, produced, answer)
        data = encode(_document(head, [part], _FINISH[answer.finish] if last else None, usage))
        data = b"data: " + data + b"\r\n\r\n" if as_sse else (b"[" if number == 0 else b",\r\n") + data + (b"]" if last else b"\n")
        frames.append(Frame(data, produced))
    return tuple(frames)
