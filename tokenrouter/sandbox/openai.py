"""OpenAI: Chat Completions, and the way to Responses and Embeddings. Prompt-cache rules are chosen by the model.

Sources: https://developers.openai.com/api/docs/guides/prompt-caching, https://developers.openai.com/api/reference/resources/chat and the
published `openai` SDK 3.52.0.
"""

from collections.abc import Callable

import msgspec
import xxhash

from tokenrouter.sandbox import embeddings, responses
from tokenrouter.sandbox.answers import Answer, Scripted, respond
from tokenrouter.sandbox.chat_ask import ask_of, custom_names
from tokenrouter.sandbox.chat_reply import Reply, stream, whole
from tokenrouter.sandbox.chat_request import ChatRequest, Rendered, invalid, read_chat, render_chat
from tokenrouter.sandbox.openai_cache import Parameters, Prompt, PromptCaches, Question
from tokenrouter.sandbox.openai_errors import render_refusal
from tokenrouter.sandbox.openai_fields import check_fields, request_ttl
from tokenrouter.sandbox.openai_models import MODELS, Model, find
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.responses import Responses
from tokenrouter.sandbox.tiers import served
from tokenrouter.sandbox.wire import JSON_HEADERS, SSE_HEADERS, Call, Frame, Headers, JsonObject, Prepared, Refusal, bearer, encode, parse_object, sse

Script = Callable[[str], Scripted | None]


class OpenAI:
    """The vendor behind /openai."""

    name = "openai"

    def __init__(self, seed: int, script: Script) -> None:
        self._script = script
        self._caches = PromptCaches(seed)
        self._responses = Responses(seed, self._caches, lambda: script(self.name))

    def credential(self, headers: dict[str, str], query: str) -> str | None:  # noqa: ARG002
        """A bearer token."""
        return bearer(headers)

    def reset(self) -> None:
        """Forget every cache and every stored answer."""
        self._caches.clear()
        self._responses.clear()

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
        """Answer a chat request, list the models, or hand on what belongs to another wire."""
        if call.path == "/v1/models" and call.method == "GET":
            names = (*MODELS, *embeddings.MODELS)
            models = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "openai"} for name in names]
            return Prepared(frames=(Frame(encode({"object": "list", "data": models})),))
        if call.path == responses.PATH or call.path.startswith(f"{responses.PATH}/"):
            return self._responses.prepare(call)
        if call.path == embeddings.PATH and call.method == "POST":
            return embeddings.prepare(call)
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

    def _read(self, call: Call, request: ChatRequest, name: str, model: Model, rendered: Rendered) -> Prompt:
        options = request.fields.get("prompt_cache_options")
        key = request.fields.get("prompt_cache_key")
        return self._caches.read(
            Question(
                account=call.account,
                name=name,
                model=model,
                rendered=rendered,
                parameters=_parameters(request.fields),
                key=key if isinstance(key, str) else None,
                ttl=request_ttl(request.fields),
                automatic=not (isinstance(options, dict) and options.get("mode") == "explicit"),
                short=request.fields.get("prompt_cache_retention") == "in_memory",
                now_ns=call.started_ns,
            )
        )

    def _answer(self, call: Call, request: ChatRequest, name: str, model: Model, prompt: Prompt) -> Prepared:
        effort = request.fields.get("reasoning_effort")
        thinks = model.reasons and effort != "none"
        script = self._script(self.name)
        answers = tuple(respond(ask_of(request, prompt.seed + index, thinks=thinks, refuses=True), script) for index in range(request.n))
        tier = served(name, request.fields.get("service_tier"))
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
            extras={"service_tier": tier or "default", "system_fingerprint": "fp_sandbox"},
        )
        frames = stream(reply) if request.stream else (Frame(whole(reply), charge.output),)
        return Prepared(
            frames=frames,
            streams=request.stream,
            model=name,
            charge=charge,
            tier=tier,
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


def _parameters(fields: JsonObject) -> Parameters:
    def given(name: str, default: str) -> str:
        value = fields.get(name)
        return value if isinstance(value, str) else default

    return Parameters(
        wire="chat",
        parallel=fields.get("parallel_tool_calls") is not False,
        effort=given("reasoning_effort", "medium"),
        verbosity=given("verbosity", "medium"),
        tier=given("service_tier", "auto"),
        key=given("prompt_cache_key", ""),
    )


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
