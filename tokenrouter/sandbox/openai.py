"""OpenAI Chat Completions: both sets of prompt-cache rules, chosen by the model.

Sources: https://developers.openai.com/api/docs/guides/prompt-caching, https://developers.openai.com/api/reference/resources/chat and the
published `openai` SDK 3.52.0.
"""

from collections.abc import Callable

import msgspec
import xxhash

from tokenrouter.sandbox.answers import Answer, Scripted, respond
from tokenrouter.sandbox.chat_ask import ask_of, custom_names
from tokenrouter.sandbox.chat_reply import Reply, stream, whole
from tokenrouter.sandbox.chat_request import ChatRequest, Rendered, invalid, read_chat, render_chat
from tokenrouter.sandbox.openai_errors import render_refusal
from tokenrouter.sandbox.openai_fields import check_fields, request_ttl
from tokenrouter.sandbox.openai_models import MODELS, Model, find
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import Chain, Piece, chain, fingerprint
from tokenrouter.sandbox.prompt_cache.automatic import AutomaticCache
from tokenrouter.sandbox.prompt_cache.breakpoints import BreakpointCache, Explicit, Marked
from tokenrouter.sandbox.wire import JSON_HEADERS, SSE_HEADERS, Call, Frame, Headers, JsonObject, Prepared, Refusal, bearer, encode, parse_object, sse

MACHINES = 16
ROUTING_TOKENS = 256
_DAY_NS = 24 * 3600 * 1_000_000_000
_MINUTE_NS = 60 * 1_000_000_000
Script = Callable[[str], Scripted | None]


class _Prompt(msgspec.Struct, frozen=True):
    """What the cache said about one prompt: token classes without the output, and what to store once the answer starts."""

    tokens: Tokens
    store: Callable[[], None]
    seed: int


class OpenAI:
    """The vendor behind /openai."""

    name = "openai"

    def __init__(self, seed: int, script: Script) -> None:
        self._seed = seed
        self._script = script
        self._automatic = AutomaticCache()
        self._breakpoints = BreakpointCache()

    def credential(self, headers: dict[str, str], query: str) -> str | None:  # noqa: ARG002
        """A bearer token."""
        return bearer(headers)

    def reset(self) -> None:
        """Forget every cache."""
        self._automatic.clear()
        self._breakpoints.clear()

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:  # noqa: ARG002
        """OpenAI's error shape."""
        return render_refusal(refusal)

    def headers(self, call: Call) -> Headers:
        """Request id, time and rate limits."""
        return (
            (b"x-request-id", call.request_id.encode()),
            (b"openai-processing-ms", b"12"),
            (b"openai-version", b"2020-10-01"),
            (b"x-ratelimit-limit-requests", b"10000"),
            (b"x-ratelimit-remaining-requests", b"9999"),
            (b"x-ratelimit-reset-requests", b"6ms"),
            (b"x-ratelimit-limit-tokens", b"2000000"),
            (b"x-ratelimit-remaining-tokens", b"1999000"),
            (b"x-ratelimit-reset-tokens", b"30ms"),
        )

    def prepare(self, call: Call) -> Prepared:
        """Answer a chat request or list the models."""
        if call.path == "/v1/models" and call.method == "GET":
            models = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "openai"} for name in MODELS]
            return Prepared(frames=(Frame(encode({"object": "list", "data": models})),))
        if call.path != "/v1/chat/completions":
            raise Refusal(404, f"Invalid URL ({call.method} {call.path})")
        if call.method != "POST":
            raise Refusal(405, f"Not allowed to {call.method} on /v1/chat/completions (HINT: Perhaps you meant to use a different HTTP method?)")
        fields = parse_object(call.body)
        request = read_chat(fields)
        found = find(request.model)
        if found is None:
            raise Refusal(404, f"The model `{request.model}` does not exist or you do not have access to it.", param=None, code="model_not_found")
        name, model = found
        check_fields(request, model)
        rendered = render_chat(request)
        prompt = self._read(call, request, name, model, rendered)
        if prompt.tokens.prompt + (request.limit or 0) > model.context and prompt.tokens.prompt > model.context:
            raise invalid(
                f"This model's maximum context length is {model.context} tokens. However, your messages resulted in "
                f"{prompt.tokens.prompt} tokens. Please reduce the length of the messages.",
                "messages",
                "context_length_exceeded",
            )
        return self._answer(call, request, name, model, prompt)

    def _read(self, call: Call, request: ChatRequest, name: str, model: Model, rendered: Rendered) -> _Prompt:
        if model.breakpoints:
            return self._read_marks(call, request, name, rendered)
        key = request.fields.get("prompt_cache_key")
        scope = f"{call.account}\x00{name}\x00"
        machine = _machine(scope, key if isinstance(key, str) else None, rendered.pieces)
        prompt = chain(f"{scope}{machine}".encode(), rendered.pieces, model.step)
        read = self._automatic.read(prompt, minimum=model.minimum, now_ns=call.started_ns)
        short = request.fields.get("prompt_cache_retention") == "in_memory"
        ttl_ns, longest_ns = (10 * _MINUTE_NS, 60 * _MINUTE_NS) if short else (_DAY_NS, _DAY_NS)

        def store() -> None:
            self._automatic.write(prompt, now_ns=call.started_ns, ttl_ns=ttl_ns, longest_ns=longest_ns)

        return _Prompt(Tokens(input=prompt.total - read, cache_read=read), store, self._answer_seed(name, rendered.pieces))

    def _read_marks(self, call: Call, request: ChatRequest, name: str, rendered: Rendered) -> _Prompt:
        prompt = chain(_parameters(call.account, name, request.fields), rendered.pieces)
        options = request.fields.get("prompt_cache_options")
        explicit_only = isinstance(options, dict) and options.get("mode") == "explicit"
        ttl = request_ttl(request.fields)
        opening = [end.piece for end in rendered.message_ends if end.opening]
        marked = Marked(
            chain=prompt,
            explicit=tuple(Explicit(mark.piece, mark.ttl or ttl) for mark in rendered.marks),
            implicit_ttl=None if explicit_only else ttl,
            ends=tuple(end.piece for end in rendered.message_ends),
            opening=opening[-1] if opening else None,
        )
        outcome = self._breakpoints.look_up(marked, call.started_ns)
        written = outcome.written_30m + outcome.written_12h
        tokens = Tokens(
            input=prompt.total - outcome.read - written,
            cache_read=outcome.read,
            cache_write_30m=outcome.written_30m,
            cache_write_1h=outcome.written_12h,
        )

        def store() -> None:
            self._breakpoints.write(outcome, call.started_ns)

        return _Prompt(tokens, store, self._answer_seed(name, rendered.pieces))

    def _answer_seed(self, name: str, pieces: list[Piece]) -> int:
        return fingerprint(f"{self._seed}\x00{name}".encode(), pieces)

    def _answer(self, call: Call, request: ChatRequest, name: str, model: Model, prompt: _Prompt) -> Prepared:
        effort = request.fields.get("reasoning_effort")
        thinks = model.reasons and effort != "none"
        script = self._script(self.name)
        answers = tuple(respond(ask_of(request, prompt.seed + index, thinks=thinks, refuses=True), script) for index in range(request.n))
        charge = msgspec.structs.replace(prompt.tokens, output=sum(answer.output_tokens for answer in answers))
        reply = Reply(
            reply_id=f"chatcmpl-{call.number:016x}",
            created=call.started_ns // 1_000_000_000,
            model=request.model,
            answers=answers,
            call_ids=call_ids(prompt.seed, answers),
            custom=custom_names(request),
            usage=None if call.omit_usage else _usage(charge, answers, model),
            include_usage=request.include_usage,
            extras={"service_tier": "default", "system_fingerprint": "fp_sandbox"},
        )
        frames = stream(reply) if request.stream else (Frame(whole(reply), charge.output),)
        return Prepared(
            frames=frames,
            streams=request.stream,
            model=name,
            charge=charge,
            headers=SSE_HEADERS if request.stream else JSON_HEADERS,
            on_start=prompt.store,
            broken=sse(
                {"error": {"message": "The server had an error while processing your request.", "type": "server_error", "param": None, "code": None}}
            ),
        )


def call_ids(seed: int, answers: tuple[Answer, ...]) -> tuple[tuple[str, ...], ...]:
    """Ids of tool calls, the same for the same prompt."""
    return tuple(
        tuple(f"call_{xxhash.xxh3_128_hexdigest(f'{seed}/{index}/{number}'.encode())[:24]}" for number in range(len(answer.calls)))
        for index, answer in enumerate(answers)
    )


def _machine(scope: str, key: str | None, pieces: list[Piece]) -> int:
    """Which machine serves a request: by its key, or by about the first 256 tokens of the prompt. Each machine has its own cache."""
    if key is not None:
        return xxhash.xxh3_64_intdigest(f"{scope}key\x00{key}".encode()) % MACHINES
    opening: Chain = chain(scope.encode(), pieces, ROUTING_TOKENS)
    first = opening.steps[0] if opening.steps else opening.ends[-1]
    return int.from_bytes(first.digest[:8], "big") % MACHINES


_PARAMETER_DEFAULTS = {
    "parallel_tool_calls": True,
    "reasoning_effort": "medium",
    "verbosity": "medium",
    "service_tier": "auto",
    "prompt_cache_key": None,
}


def _parameters(account: str, name: str, fields: JsonObject) -> bytes:
    """Parameters that separate caches from gpt-5.6 on. `tool_choice` is not among them."""
    values = [fields[key] if fields.get(key) is not None else default for key, default in _PARAMETER_DEFAULTS.items()]
    return encode([account, name, *values])


def _usage(charge: Tokens, answers: tuple[Answer, ...], model: Model) -> JsonObject:
    details: JsonObject = {"cached_tokens": charge.cache_read, "audio_tokens": 0}
    if model.breakpoints:
        details["cache_write_tokens"] = charge.cache_write_30m + charge.cache_write_1h
    return {
        "prompt_tokens": charge.prompt,
        "completion_tokens": charge.output,
        "total_tokens": charge.prompt + charge.output,
        "prompt_tokens_details": details,
        "completion_tokens_details": {
            "reasoning_tokens": sum(answer.reasoning_tokens for answer in answers),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
