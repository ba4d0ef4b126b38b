"""Gemini: generateContent with implicit caching, and the OpenAI-compatible endpoint over the same cache.

Sources: https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/caching, .../docs/thought-signatures.
"""

import re
from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from tokenrouter.sandbox.answers import Scripted, respond
from tokenrouter.sandbox.chat_ask import ask_of as chat_ask
from tokenrouter.sandbox.chat_reply import Reply
from tokenrouter.sandbox.chat_reply import stream as chat_stream
from tokenrouter.sandbox.chat_reply import whole as chat_whole
from tokenrouter.sandbox.chat_request import read_chat
from tokenrouter.sandbox.gemini_embeddings import EMBEDDERS, embed, embed_batch
from tokenrouter.sandbox.gemini_engine import CONTEXT, MODELS, MOST_OUTPUT, Engine
from tokenrouter.sandbox.gemini_reply import reply
from tokenrouter.sandbox.gemini_request import ask_of, bad, from_chat, read_count, read_generate
from tokenrouter.sandbox.openai import call_ids
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
    sse,
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
_PATH = re.compile(r"/v1(?:beta)?/models(?:/(?P<model>[^/:]+)(?::(?P<action>\w+))?)?")
"""`v1` has the same methods; the published SDK calls it unless told otherwise."""
_UNREGISTERED = (
    "Method doesn't allow unregistered callers (callers without established identity). "
    "Please use API Key or other form of API consumer identity to call this API."
)
_BAD_KEY = "API key not valid. Please pass a valid API key."
_BAD_KEY_DETAIL: JsonObject = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_INVALID",
    "domain": "googleapis.com",
    "metadata": {"service": "generativelanguage.googleapis.com"},
}


class Gemini:
    """The vendor behind /gemini."""

    name = "gemini"

    def __init__(self, seed: int, script: Script) -> None:
        self._script = script
        self._engine = Engine(seed)

    def credential(self, headers: dict[str, str], query: str) -> str | None:
        """An API key in a header or the query, or a bearer token."""
        return headers.get("x-goog-api-key") or bearer(headers) or parse_qs(query).get("key", [None])[0]

    def reset(self) -> None:
        """Forget every cache."""
        self._engine.clear()

    def error_head(self, refusal: Refusal) -> tuple[int, Headers]:
        """A wrong key is a 400 here, and a missing one a 403."""
        return _credential_status(refusal), ()

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:  # noqa: ARG002
        """Google's error shape."""
        code = _credential_status(refusal)
        message, details = refusal.message, list[JsonObject]()
        if code != refusal.status:
            message, details = (_UNREGISTERED, []) if code == 403 else (_BAD_KEY, [_BAD_KEY_DETAIL])
        return google_error(code, message, refusal.kind, details)

    def headers(self, call: Call) -> Headers:
        """Server timing only."""
        return ((b"server-timing", b"gfet4t7; dur=12"), (b"x-request-id", call.request_id.encode()))

    def prepare(self, call: Call) -> Prepared:
        """Answer a native or an OpenAI-shaped request."""
        found = _PATH.fullmatch(call.path)
        if call.path == "/v1beta/openai/chat/completions" and call.method == "POST":
            return self._chat(call)
        if found is None or (call.method == "GET" and found["action"]) or call.method not in ("GET", "POST"):
            raise not_found(call)
        model, action = found["model"] or "", found["action"] or ""
        if call.method == "GET":
            return _catalog(model, call.query)
        return answer_native(call, self._engine, model, action, lambda: self._script(self.name))

    def _chat(self, call: Call) -> Prepared:
        request = read_chat(parse_object(call.body))
        read = self._engine.read(from_chat(request), request.model.removeprefix("models/"), account=call.account, started_ns=call.started_ns)
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
            signature=self._engine.sign(read.seed) if read.signs else None,
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


def answer_native(call: Call, engine: Engine, model: str, action: str, script: Callable[[], Scripted | None]) -> Prepared:
    """One call of Google's own wire, wherever it is mounted."""
    match action:
        case "generateContent" | "streamGenerateContent":
            request = read_generate(parse_object(call.body))
            read = engine.read(request, model, account=call.account, started_ns=call.started_ns)
            answer = respond(ask_of(request, read.seed, thinks=read.thinks), script())
            as_sse = parse_qs(call.query).get("alt") == ["sse"]
            form = "whole" if action == "generateContent" else "sse" if as_sse else "array"
            return reply(call, request, read, answer, signature=engine.sign(read.seed) if read.signs else None, form=form)
        case "countTokens":
            total = engine.count(read_count(parse_object(call.body), model), model)
            return Prepared(frames=(Frame(encode({"totalTokens": total, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}]})),))
        case "embedContent":
            return embed(parse_object(call.body), model, usage=not call.omit_usage)
        case "batchEmbedContents":
            return embed_batch(parse_object(call.body), model, usage=not call.omit_usage)
        case _:
            raise not_found(call)


def not_found(call: Call) -> Refusal:
    """A 404 for an address that is none."""
    return Refusal(404, f"Not found: {call.method} {call.path}")


def google_error(code: int, message: str, kind: str | None, details: list[JsonObject]) -> bytes:
    """Google's error shape."""
    status = kind or _STATUS.get(code, "UNKNOWN")
    return encode({"error": {"code": code, "message": message, "status": status, "details": details}})


def _credential_status(refusal: Refusal) -> int:
    """What a 401 is here: the application says "You didn't provide" of a missing credential only."""
    if refusal.status != 401:
        return refusal.status
    return 403 if refusal.message.startswith("You didn't provide") else 400


def _catalog(name: str, query: str) -> Prepared:
    """All models, in pages, or one of them."""
    known = [*(_model(model) for model in MODELS), *(_embedder(model) for model in EMBEDDERS)]
    if name:
        found = [model for model in known if model["name"] == f"models/{name}"]
        if not found:
            raise Refusal(404, f"models/{name} is not found for API version v1beta, or is not supported for generateContent.")
        return Prepared(frames=(Frame(encode(found[0])),))
    fields = parse_qs(query)
    size, start = fields.get("pageSize", ["50"])[0], fields.get("pageToken", ["0"])[0]
    if not size.isdigit() or not start.isdigit() or int(size) < 1:
        raise bad("Invalid value at 'page_size' or 'page_token'")
    end = int(start) + min(int(size), 1000)
    page: JsonObject = {"models": [*known[int(start) : end]]}
    return Prepared(frames=(Frame(encode(page | ({"nextPageToken": str(end)} if end < len(known) else {}))),))


def _model(name: str) -> JsonObject:
    methods = ["generateContent", "streamGenerateContent", "countTokens"]
    return {
        "name": f"models/{name}",
        "baseModelId": name,
        "version": "001",
        "displayName": name,
        "inputTokenLimit": CONTEXT,
        "outputTokenLimit": MOST_OUTPUT,
        "supportedGenerationMethods": [*methods],
        "thinking": True,
    }


def _embedder(name: str) -> JsonObject:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 2048,
        "outputTokenLimit": 1,
        "supportedGenerationMethods": ["embedContent", "batchEmbedContents"],
    }
