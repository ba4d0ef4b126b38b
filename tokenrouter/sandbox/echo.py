"""`echo`: an OpenAI-shaped model that repeats the last user message. No cache, no validation beyond what it reads, and lean: benchmarks call it."""

import msgspec

from tokenrouter.sandbox.answers import Answer
from tokenrouter.sandbox.chat_reply import Reply, stream
from tokenrouter.sandbox.openai_errors import render_refusal
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import BYTES_PER_TOKEN, text_tokens
from tokenrouter.sandbox.wire import SSE_HEADERS, Call, Frame, Headers, JsonObject, Prepared, Refusal, bearer, encode

MODEL = "echo"


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Options(msgspec.Struct):
    include_usage: bool = False


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool = False
    stream_options: _Options | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None


class _Part(msgspec.Struct):
    text: str = ""


class Echo:
    """The vendor behind /echo."""

    name = "echo"

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Body).decode
        self._decode_content = msgspec.json.Decoder(str | list[_Part] | None).decode

    def credential(self, headers: dict[str, str], query: str) -> str | None:  # noqa: ARG002
        """A bearer token."""
        return bearer(headers)

    def reset(self) -> None:
        """There is nothing to forget."""

    def headers(self, call: Call) -> Headers:
        """Only the request id."""
        return ((b"x-request-id", call.request_id.encode()),)

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:  # noqa: ARG002
        """OpenAI's error shape."""
        return render_refusal(refusal)

    def prepare(self, call: Call) -> Prepared:
        """Repeat the last user message."""
        if call.path == "/v1/models" and call.method == "GET":
            return Prepared(
                frames=(Frame(encode({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "sandbox"}]})),)
            )
        if call.path != "/v1/chat/completions" or call.method != "POST":
            raise Refusal(404, f"Invalid URL ({call.method} {call.path})")
        try:
            body = self._decode(call.body)
            text = self._last_user(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal(400, f"We could not parse the JSON body of your request. ({error})") from None
        if body.model != MODEL:
            raise Refusal(404, f"The model `{body.model}` does not exist or you do not have access to it.", code="model_not_found")
        if not 1 <= (body.n or 1) <= 128:
            raise Refusal(400, "Invalid 'n': expected a value between 1 and 128.", param="n")
        limit = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
        if limit is not None and limit < 1:
            raise Refusal(400, "Invalid 'max_completion_tokens': expected a value >= 1.", param="max_completion_tokens")
        finish = "stop"
        if limit is not None and text_tokens(text) > limit:
            text, finish = text.encode()[: limit * BYTES_PER_TOKEN].decode(errors="ignore"), "length"
        prompt = sum((len(memoryview(message.content)) + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN for message in body.messages)
        return self._reply(call, body, text, finish, prompt)

    def _last_user(self, body: _Body) -> str:
        for message in reversed(body.messages):
            if message.role == "user":
                content = self._decode_content(message.content)
                return content if isinstance(content, str) else "\n".join(part.text for part in content or ())
        return ""

    def _reply(self, call: Call, body: _Body, text: str, finish: str, prompt: int) -> Prepared:
        count = body.n or 1
        output = max(1, text_tokens(text)) * count
        usage: JsonObject | None = None
        if not call.omit_usage:
            usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        charge = Tokens(input=prompt, output=output)
        reply_id, created = f"chatcmpl-{call.number:016x}", call.started_ns // 1_000_000_000
        if body.stream:
            reply = Reply(
                reply_id=reply_id,
                created=created,
                model=MODEL,
                answers=(Answer(text=text, finish=finish),) * count,
                call_ids=((),) * count,
                usage=usage,
                include_usage=body.stream_options is not None and body.stream_options.include_usage,
            )
            return Prepared(frames=stream(reply), streams=True, model=MODEL, charge=charge, headers=SSE_HEADERS)
        choices = [
            {"index": index, "message": {"role": "assistant", "content": text, "refusal": None}, "logprobs": None, "finish_reason": finish}
            for index in range(count)
        ]
        document = {"id": reply_id, "object": "chat.completion", "created": created, "model": MODEL, "choices": choices}
        if usage is not None:
            document["usage"] = usage
        return Prepared(frames=(Frame(encode(document), output),), model=MODEL, charge=charge)
