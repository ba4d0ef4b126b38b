"""DeepSeek: Chat Completions with a cache of whole units and its own usage fields.

Sources: https://api-docs.deepseek.com/api/create-chat-completion, https://api-docs.deepseek.com/guides/kv_cache/ and
https://api-docs.deepseek.com/quick_start/error_codes.
"""

from collections.abc import Callable

import msgspec

from tokenrouter.sandbox.answers import Answer, Scripted, respond
from tokenrouter.sandbox.chat_ask import ask_of
from tokenrouter.sandbox.chat_reply import Reply, stream, whole
from tokenrouter.sandbox.chat_request import ChatRequest, call_pieces, invalid, read_chat, render_chat
from tokenrouter.sandbox.openai import call_ids
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import END_OF_MESSAGE, Piece, chain, fingerprint, header_piece, text_piece
from tokenrouter.sandbox.prompt_cache.units import STEP, UnitCache
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

MODELS = {"deepseek-chat": False, "deepseek-reasoner": True, "deepseek-v4-flash": False, "deepseek-v4-pro": True}
"""Model name: whether it thinks unless told otherwise."""
CONTEXT = 1_000_000
_KINDS = {401: "authentication_error", 402: "insufficient_balance", 429: "rate_limit_reached", 500: "server_error", 503: "server_error"}
Script = Callable[[str], Scripted | None]


class DeepSeek:
    """The vendor behind /deepseek."""

    name = "deepseek"

    def __init__(self, seed: int, script: Script) -> None:
        self._seed = seed
        self._script = script
        self._cache = UnitCache()

    def credential(self, headers: dict[str, str], query: str) -> str | None:  # noqa: ARG002
        """A bearer token."""
        return bearer(headers)

    def reset(self) -> None:
        """Forget every cache."""
        self._cache.clear()

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:  # noqa: ARG002
        """OpenAI's error shape with DeepSeek's types."""
        kind = refusal.kind or _KINDS.get(refusal.status, "invalid_request_error")
        return encode({"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code or "invalid_request_error"}})

    def headers(self, call: Call) -> Headers:
        """Only a trace id."""
        return ((b"x-ds-trace-id", call.request_id.encode()),)

    def prepare(self, call: Call) -> Prepared:
        """Answer a chat request or list the models."""
        path = call.path.removeprefix("/v1")
        if path == "/models" and call.method == "GET":
            models = [{"id": name, "object": "model", "owned_by": "deepseek"} for name in MODELS]
            return Prepared(frames=(Frame(encode({"object": "list", "data": models})),))
        if path != "/chat/completions" or call.method != "POST":
            raise Refusal(404, f"Not found: {call.method} {call.path}")
        request = read_chat(parse_object(call.body))
        if request.model not in MODELS:
            raise invalid("Model Not Exist")
        _check(request)
        user_id = request.fields.get("user_id")
        if user_id is not None and not isinstance(user_id, str):
            raise invalid("user_id: expected a string")
        scope = encode([call.account, request.model, user_id])
        pieces = render_chat(request).pieces
        prompt = chain(scope, pieces, STEP)
        if prompt.total > CONTEXT:
            raise invalid(f"This model's maximum context length is {CONTEXT} tokens. However, you requested {prompt.total} tokens.")
        hit = self._cache.look_up(prompt, call.started_ns)
        answer = self._speak(request, pieces)

        def on_start() -> None:
            self._cache.write_input(prompt, hit, call.started_ns)

        def on_end() -> None:
            for tail in _continuations(answer, call_ids(self._answer_seed(request, pieces), (answer,))[0]):
                self._cache.write_output(chain(scope, [*pieces, *tail]), call.started_ns)

        tokens = Tokens(input=prompt.total - hit, cache_read=hit, output=answer.output_tokens)
        return msgspec.structs.replace(self._reply(call, request, answer, tokens, pieces), on_start=on_start, on_end=on_end)

    def _answer_seed(self, request: ChatRequest, pieces: list[Piece]) -> int:
        return fingerprint(f"{self._seed}\x00{request.model}".encode(), pieces)

    def _speak(self, request: ChatRequest, pieces: list[Piece]) -> Answer:
        thinking = request.fields.get("thinking")
        thinks = MODELS[request.model]
        if isinstance(thinking, dict):
            thinks = thinking.get("type") == "enabled"
        return respond(ask_of(request, self._answer_seed(request, pieces), thinks=thinks), self._script(self.name))

    def _reply(self, call: Call, request: ChatRequest, answer: Answer, tokens: Tokens, pieces: list[Piece]) -> Prepared:
        reply = Reply(
            reply_id=f"{call.number:032x}",
            created=call.started_ns // 1_000_000_000,
            model=request.model,
            answers=(answer,),
            call_ids=call_ids(self._answer_seed(request, pieces), (answer,)),
            shows_thinking=True,
            usage=None if call.omit_usage else _usage(tokens, answer),
            usage_on_last=True,
            extras={"system_fingerprint": "fp_sandbox"},
        )
        return Prepared(
            frames=stream(reply) if request.stream else (Frame(whole(reply), tokens.output),),
            streams=request.stream,
            model=request.model,
            charge=tokens,
            headers=SSE_HEADERS if request.stream else JSON_HEADERS,
            broken=sse({"error": {"message": "The server is overloaded.", "type": "server_error", "param": None, "code": None}}),
        )


def _check(request: ChatRequest) -> None:
    """Text alone, and no schemas."""
    for index, message in enumerate(_listed(request.fields.get("messages"))):
        for part in _listed(message.get("content")) if isinstance(message, dict) else ():
            if isinstance(part, dict) and part.get("type") != "text":
                raise invalid(
                    f"Failed to deserialize the JSON body into the target type: messages[{index}]: "
                    f"unknown variant `{part.get('type')}`, expected `text`"
                )
    form = request.fields.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        raise invalid("This response_format type is unavailable now")


def _listed(value: JsonValue) -> list[JsonValue]:
    """A list, or nothing."""
    return value if isinstance(value, list) else []


def _continuations(answer: Answer, ids: tuple[str, ...]) -> list[list[Piece]]:
    """The answer as the next request will repeat it: without its thinking, or with it where the client replays that too."""
    said = [text_piece(answer.text)] if answer.text else []
    for call_id, call in zip(ids, answer.calls, strict=True):
        said.extend(call_pieces(call_id, call.name, call.arguments))
    plain = [header_piece("assistant"), *said, END_OF_MESSAGE]
    if not answer.thinking:
        return [plain]
    return [plain, [header_piece("assistant"), header_piece("reasoning"), text_piece(answer.thinking), *said, END_OF_MESSAGE]]


def _usage(tokens: Tokens, answer: Answer) -> JsonObject:
    usage: JsonObject = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.prompt + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
        "prompt_cache_hit_tokens": tokens.cache_read,
        "prompt_cache_miss_tokens": tokens.input,
    }
    if answer.thinking:
        usage["completion_tokens_details"] = {"reasoning_tokens": answer.reasoning_tokens}
    return usage
