"""Ollama: models on one's own machine, for free, by its own wire. Nothing reports what a slot's prompt cache saved.

Ollama asks for no credential; one that is sent makes an account of its own, as everywhere in the sandbox. Not simulated: pulling, creating,
copying and deleting models, web search, log probabilities.

Sources: https://docs.ollama.com/api; https://github.com/ollama/ollama `server/routes.go` (read 2026-11-21) for errors and their statuses.
"""

from collections.abc import Callable

import msgspec

from tokenrouter.sandbox.answers import Answer, Scripted, respond
from tokenrouter.sandbox.ollama_embed import EmbedRequest, embed, read_embed, vector
from tokenrouter.sandbox.ollama_fields import keep_alive_s, text
from tokenrouter.sandbox.ollama_models import MODELS, VERSION, Model, needed, running, show, tag
from tokenrouter.sandbox.ollama_reply import (
    JSON_HEADERS,
    LINE_HEADERS,
    TEXT_HEADERS,
    Counts,
    Reply,
    call_objects,
    go_json,
    nothing,
    stream,
    token_ids,
    whole,
)
from tokenrouter.sandbox.ollama_request import Request, ask_of, read_chat, read_generate, render
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import fingerprint
from tokenrouter.sandbox.wire import Call, Frame, Headers, JsonObject, Prepared, Refusal, bearer, parse_object

LOCAL = "local"
"""The account of those who send no credential."""
_SECOND_NS = 1_000_000_000
_BROKEN = "an error was encountered while running the model: unexpected EOF"
_BLIND = "Failed to create new sequence: failed to process inputs: this model is missing data required for image input"
Script = Callable[[str], Scripted | None]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a model made of a request, before a wire writes it down. `start` brings the model into memory."""

    model: Model
    answer: Answer
    calls: tuple[JsonObject, ...]
    counts: Counts
    charge: Tokens
    context: tuple[int, ...]
    seed: int
    start: Callable[[], None]


class Ollama:
    """The vendor behind /ollama."""

    name = "ollama"

    def __init__(self, seed: int, script: Script) -> None:
        self._seed = seed
        self._script = script
        self._loaded: dict[str, tuple[int, int]] = {}
        """Per model: when it leaves the memory (ns), and the context it was loaded with (tokens)."""

    def credential(self, headers: dict[str, str], query: str) -> str | None:  # noqa: ARG002
        """A bearer token, or nothing at all."""
        return bearer(headers) or LOCAL

    def reset(self) -> None:
        """Empty the memory."""
        self._loaded.clear()

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:  # noqa: ARG002
        """One sentence."""
        return go_json({"error": refusal.message})

    def headers(self, call: Call) -> Headers:  # noqa: ARG002
        """Ollama adds none."""
        return ()

    def prepare(self, call: Call) -> Prepared:
        """Answer any of the endpoints."""
        get = call.method in ("GET", "HEAD")
        match call.path:
            case "/" if get:
                return _plain(call, 200, b"Ollama is running")
            case "/api/version" if get:
                return _json(call, {"version": VERSION})
            case "/api/tags" if get:
                return _json(call, {"models": [tag(model) for model in MODELS.values()]})
            case "/api/ps" if call.method == "GET":
                return _json(call, {"models": [*self._running(call.started_ns)]})
            case "/api/show" if call.method == "POST":
                return _json(call, _show(read_body(call)))
            case "/api/chat" if call.method == "POST":
                return self._talk(call, read_chat(read_body(call)))
            case "/api/generate" if call.method == "POST":
                return self._talk(call, read_generate(read_body(call)))
            case "/api/embed" if call.method == "POST":
                return self._embed(call, read_embed(read_body(call)))
            case "/api/embeddings" if call.method == "POST":
                return self._embed_one(call, read_body(call))
            case path if path in _PATHS:
                return _plain(call, 405, b"405 method not allowed")
            case _:
                return _plain(call, 404, b"404 page not found")

    # talking

    def _talk(self, call: Call, request: Request) -> Prepared:
        if not request.model and not request.generates:
            raise Refusal(400, "model is required")
        model = needed(request.model)
        if not request.messages:
            return self._idle(call, request, model)
        turn = self.turn(call, request)
        reply = Reply(
            model=request.model,
            created_ns=call.started_ns,
            answer=turn.answer,
            calls=turn.calls,
            counts=turn.counts,
            generates=request.generates,
            context=turn.context if request.generates and not request.raw else None,
            omit_usage=call.omit_usage,
        )
        return Prepared(
            frames=stream(reply) if request.stream else (Frame(whole(reply), turn.counts.output),),
            streams=request.stream,
            model=turn.model.name,
            charge=turn.charge,
            headers=LINE_HEADERS if request.stream else JSON_HEADERS,
            on_start=turn.start,
            broken=go_json({"error": _BROKEN}) + b"\n",
        )

    def _idle(self, call: Call, request: Request, model: Model) -> Prepared:
        """Without a prompt the model is only loaded, or with a `keep_alive` of 0 unloaded. The answer is one object, streamed or not."""
        unload = request.keep_alive_s == 0

        def start() -> None:
            if unload:
                self._loaded.pop(model.name, None)
            else:
                self._load(model, request.keep_alive_s, request.options.context, call.started_ns)

        body = nothing(request.model, call.started_ns, "unload" if unload else "load", generates=request.generates)
        return Prepared(frames=(Frame(body),), headers=JSON_HEADERS, on_start=start)

    def turn(self, call: Call, request: Request) -> Turn:
        """Let the model answer.

        Raises:
            Refusal: 404 for an unknown model, 400 for what it can not do, 500 for pictures that it can not see.
        """
        model = needed(request.model)
        _check(request, model)
        pieces = render(request)
        total = sum(piece.tokens for piece in pieces)
        context = min(request.options.context, model.context)
        if total > context and not request.truncate:
            raise Refusal(400, "the input length exceeds the context length")
        seed = fingerprint(f"{self._seed}\x00{model.name}\x00{request.options.seed}".encode(), pieces)
        thinks = model.can("thinking") and request.think is not False
        answer = respond(ask_of(request, seed, thinks=thinks), self._script(self.name))
        charge = Tokens(input=min(total, context), output=answer.output_tokens)

        def start() -> None:
            self._load(model, request.keep_alive_s, context, call.started_ns)

        return Turn(
            model=model,
            answer=answer,
            calls=call_objects(answer, seed, with_ids=model.call_ids),
            counts=Counts(prompt=charge.input, output=charge.output, warm=self._warm(model, call.started_ns)),
            charge=charge,
            context=(*request.context, *token_ids(b"".join(message.content.encode() for message in request.messages) + answer.text.encode())),
            seed=seed,
            start=start,
        )

    # memory

    def _warm(self, model: Model, now_ns: int) -> bool:
        return self._loaded.get(model.name, (0, 0))[0] > now_ns

    def _load(self, model: Model, seconds: float, context: int, now_ns: int) -> None:
        self._loaded[model.name] = (now_ns + int(seconds * _SECOND_NS), context)

    def _running(self, now_ns: int) -> list[JsonObject]:
        alive = [(expires_ns, name, context) for name, (expires_ns, context) in self._loaded.items() if expires_ns > now_ns]
        return [running(MODELS[name], expires_ns, context) for expires_ns, name, context in sorted(alive, reverse=True)]

    # embedding

    def _embed(self, call: Call, request: EmbedRequest) -> Prepared:
        vectors, charge, start = self.embeddings(call, request)
        document: JsonObject = {"model": request.model, "embeddings": [[*vector] for vector in vectors]}
        if vectors:
            counts = Counts(prompt=charge.input, output=0, warm=self._warm(needed(request.model), call.started_ns)).fields(omit_usage=call.omit_usage)
            document.update({key: value for key, value in counts.items() if key in ("total_duration", "load_duration", "prompt_eval_count")})
        return Prepared(frames=(Frame(go_json(document)),), model=needed(request.model).name, charge=charge, headers=JSON_HEADERS, on_start=start)

    def embeddings(self, call: Call, request: EmbedRequest) -> tuple[list[tuple[float, ...]], Tokens, Callable[[], None]]:
        """Vectors, what they cost, and what to do once the answer starts. Models that talk embed too."""
        model = needed(request.model)
        done = embed(request, model, self._seed)

        def start() -> None:
            self._load(model, request.keep_alive_s, min(request.context, model.context), call.started_ns)

        return [*done.vectors], Tokens(input=done.tokens), start

    def _embed_one(self, call: Call, fields: JsonObject) -> Prepared:
        """The deprecated endpoint: one text, one vector, no counts."""
        model = needed(text(fields, "model", "EmbeddingRequest"))
        prompt = text(fields, "prompt", "EmbeddingRequest")
        alive_s = keep_alive_s(fields)

        def start() -> None:
            self._load(model, alive_s, model.context, call.started_ns)

        body = go_json({"embedding": vector(model, prompt.encode(), self._seed) if prompt else ()})
        return Prepared(frames=(Frame(body),), headers=JSON_HEADERS, on_start=start)


_PATHS = frozenset({"/", "/api/version", "/api/tags", "/api/ps", "/api/show", "/api/chat", "/api/generate", "/api/embed", "/api/embeddings"})


def read_body(call: Call) -> JsonObject:
    """The fields of a request.

    Raises:
        Refusal: 400 for a body that is missing or no JSON object.
    """
    if not call.body:
        raise Refusal(400, "missing request body")
    return parse_object(call.body)


def _show(fields: JsonObject) -> JsonObject:
    asked = text(fields, "model", "ShowRequest") or text(fields, "name", "ShowRequest")
    if not asked:
        raise Refusal(400, "model is required")
    return show(needed(asked))


def _check(request: Request, model: Model) -> None:
    """Refuse what the model is not made for. Ollama names it as the client did, or in full, depending on who in the server finds out."""
    if request.think and not model.can("thinking"):
        raise Refusal(400, f'"{request.model}" does not support thinking')
    if not model.can("completion"):
        raise Refusal(400, f'"{request.model}" does not support {"generate" if request.generates else "chat"}')
    if request.tools and not model.can("tools"):
        raise Refusal(400, f"{model.full_name} does not support tools")
    if request.suffix and not model.can("insert"):
        raise Refusal(400, f"{model.full_name} does not support insert")
    if request.has_images and not model.can("vision"):
        raise Refusal(500, _BLIND)


def _json(call: Call, value: object) -> Prepared:
    return Prepared(frames=(Frame(b"" if call.method == "HEAD" else go_json(value)),), headers=JSON_HEADERS)


def _plain(call: Call, status: int, body: bytes) -> Prepared:
    return Prepared(frames=(Frame(b"" if call.method == "HEAD" else body),), status=status, headers=TEXT_HEADERS)
