"""Ollama's OpenAI-compatible endpoint below /ollama/v1: a translation in front of `/api/chat`, with what is lost on the way.

- only the fields named in `_native` are read: `tool_choice`, `n`, `max_completion_tokens` and all others are ignored
- pictures must be data URLs
- every chunk has a role and a content, the first and some between them nothing else; a tool call comes whole, with an index and an id
- thinking is called `reasoning`
- a failure in the middle of a stream is lost: what arrives is an empty chunk and then nothing, not even [DONE]

Source: https://github.com/ollama/ollama `openai/openai.go`, `middleware/openai.go` (read 2026-11-21).
"""

import base64
import struct

import msgspec
import xxhash

from tokenrouter.sandbox.ollama import Ollama, Turn, read_body
from tokenrouter.sandbox.ollama_embed import read_embed
from tokenrouter.sandbox.ollama_fields import flag, items, nested, text
from tokenrouter.sandbox.ollama_models import MODELS, PULLED_NS, Model, needed
from tokenrouter.sandbox.ollama_reply import TEXT_HEADERS, Step, done_reason, go_json, steps
from tokenrouter.sandbox.ollama_request import read_chat
from tokenrouter.sandbox.wire import JSON_HEADERS, Call, Frame, Headers, JsonObject, JsonValue, Prepared, Refusal

EVENT_HEADERS: Headers = ((b"content-type", b"text/event-stream"),)
_KINDS = {400: "invalid_request_error", 404: "not_found_error"}
_EFFORTS = ("high", "medium", "low", "none")
_PICTURES = ("data:;base64,", *(f"data:image/{kind};base64," for kind in ("jpeg", "jpg", "png", "webp")))
_OWNER = "ChatCompletionRequest"


class OllamaCompatible:
    """What answers below /ollama/v1. Models, memory and scripts are those of `server`; only the wire is another."""

    name = "ollama"

    def __init__(self, server: Ollama) -> None:
        self._server = server
        self.credential = server.credential
        self.headers = server.headers

    def reset(self) -> None:
        """The server forgets, there is nothing here."""

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:  # noqa: ARG002
        """OpenAI's shape with Ollama's words."""
        kind = _KINDS.get(refusal.status, "api_error")
        return go_json({"error": {"message": refusal.message, "type": kind, "param": None, "code": None}})

    def prepare(self, call: Call) -> Prepared:
        """Answer a chat, embed, or list models."""
        if call.method == "POST" and call.path == "/v1/chat/completions":
            return self._chat(call, read_body(call))
        if call.method == "POST" and call.path == "/v1/embeddings":
            return self._embed(call, read_body(call))
        if call.method == "GET" and call.path == "/v1/models":
            return Prepared(frames=(Frame(go_json({"object": "list", "data": [_listed(model) for model in MODELS.values()]})),))
        if call.method == "GET" and call.path.startswith("/v1/models/"):
            return Prepared(frames=(Frame(go_json(_listed(needed(call.path.removeprefix("/v1/models/"))))),))
        return Prepared(frames=(Frame(b"404 page not found"),), status=404, headers=TEXT_HEADERS)

    def _chat(self, call: Call, fields: JsonObject) -> Prepared:
        request = read_chat(_native(fields))
        if not request.model:
            raise Refusal(400, "model is required")
        turn = self._server.turn(call, request)
        usage: JsonObject | None = None
        if not call.omit_usage:
            prompt, output = turn.counts.prompt, turn.counts.output
            usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        asked = nested(fields.get("stream_options"), f"{_OWNER}.stream_options", "openai.StreamOptions")
        head: JsonObject = {
            "id": f"chatcmpl-{call.number % 999}",
            "object": "chat.completion.chunk" if request.stream else "chat.completion",
            "created": call.started_ns // 1_000_000_000,
            "model": request.model,
            "system_fingerprint": "fp_ollama",
        }
        if request.stream:
            frames = _events(head, turn, usage if asked.get("include_usage") is True else None)
        else:
            frames = (Frame(_whole(head, turn, usage), turn.counts.output),)
        return Prepared(
            frames=frames,
            streams=request.stream,
            model=turn.model.name,
            charge=turn.charge,
            headers=EVENT_HEADERS if request.stream else JSON_HEADERS,
            on_start=turn.start,
            broken=_event(_chunk({**head, "model": ""}, turn, Step(), None)),
        )

    def _embed(self, call: Call, fields: JsonObject) -> Prepared:
        encoding = text(fields, "encoding_format", "EmbedRequest").lower()
        if encoding not in ("", "float", "base64"):
            raise Refusal(400, f"Invalid value for 'encoding_format' = {encoding}. Supported values: ['float', 'base64'].")
        given = fields.get("input")
        if given is None or given == []:
            raise Refusal(400, "invalid input")
        request = read_embed({key: fields.get(key) for key in ("model", "dimensions")} | {"input": [""] if given == "" else given})
        vectors, charge, start = self._server.embeddings(call, request)
        data: list[JsonValue] = [
            {"object": "embedding", "embedding": _packed(vector) if encoding == "base64" else [*vector], "index": index}
            for index, vector in enumerate(vectors)
        ]
        document: JsonObject = {"object": "list", "data": data, "model": request.model}
        if not call.omit_usage:
            document["usage"] = {"prompt_tokens": charge.input, "total_tokens": charge.input}
        return Prepared(frames=(Frame(go_json(document)),), model=needed(request.model).name, charge=charge, on_start=start)


def _listed(model: Model) -> JsonObject:
    return {"id": model.name, "object": "model", "created": PULLED_NS // 1_000_000_000, "owned_by": "library"}


def _packed(vector: tuple[float, ...]) -> str:
    """Little-endian 32-bit floats in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


# reading


def _native(fields: JsonObject) -> JsonObject:
    """The body of `/api/chat` that a chat completion stands for."""
    given = items(fields, "messages", _OWNER, "[]openai.Message")
    if not given:
        raise Refusal(400, "[] is too short - 'messages'")
    messages = [nested(item, f"{_OWNER}.messages", "openai.Message") for item in given]
    names = _names(messages)
    stop = fields.get("stop")
    options: JsonObject = {
        "stop": [stop] if isinstance(stop, str) else [item for item in stop if isinstance(item, str)] if isinstance(stop, list) else None,
        "num_predict": fields.get("max_tokens"),
        **{name: fields.get(name) for name in ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty")},
    }
    return {
        "model": fields.get("model"),
        "messages": [part for message in messages for part in _parts(message, names)],
        "tools": fields.get("tools"),
        "stream": flag(fields, "stream", _OWNER),
        "options": options,
        "format": _format(fields),
        "think": _think(fields),
    }


def _names(messages: list[JsonObject]) -> dict[str, str]:
    """Names of called tools by the id of the call."""
    names: dict[str, str] = {}
    for message in messages:
        for item in items(message, "tool_calls", f"{_OWNER}.messages", "[]openai.ToolCall"):
            call = nested(item, f"{_OWNER}.messages.tool_calls", "openai.ToolCall")
            function = nested(call.get("function"), f"{_OWNER}.messages.tool_calls.function", "struct")
            names[text(call, "id", "ToolCall")] = text(function, "name", "ToolCall.function")
    return names


def _parts(message: JsonObject, names: dict[str, str]) -> list[JsonValue]:
    """One message for a text; one for every part of a list, as Ollama does it."""
    base: JsonObject = {"role": message.get("role"), "thinking": message.get("reasoning")}
    calls = [_call(item) for item in items(message, "tool_calls", f"{_OWNER}.messages", "[]openai.ToolCall")]
    if message.get("role") == "tool":
        base["tool_name"] = message.get("name") or names.get(text(message, "tool_call_id", f"{_OWNER}.messages"), "")
    content = message.get("content")
    if isinstance(content, str):
        return [{**base, "content": content, "tool_calls": [*calls]}]
    if isinstance(content, list):
        parts = [_part(message, part) for part in content]
        if parts and calls:
            parts[-1]["tool_calls"] = [*calls]
        return [*parts]
    if not calls:
        raise Refusal(400, "invalid message content type: <nil>")
    return [{**base, "tool_calls": [*calls]}]


def _part(message: JsonObject, part: JsonValue) -> JsonObject:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return {"role": message.get("role"), "content": part["text"]}
    if isinstance(part, dict) and part.get("type") == "image_url":
        holder = part.get("image_url")
        url = holder.get("url") if isinstance(holder, dict) else holder
        if isinstance(url, str):
            start = next((start for start in _PICTURES if url.startswith(start)), None)
            if start is None:
                raise Refusal(400, "invalid image input")
            return {"role": message.get("role"), "images": [url.removeprefix(start)]}
    raise Refusal(400, "invalid message format")


def _call(item: JsonValue) -> JsonObject:
    function = nested(nested(item, "tool_calls", "openai.ToolCall").get("function"), "tool_calls.function", "struct")
    try:
        arguments: JsonValue = msgspec.json.decode(text(function, "arguments", "ToolCall.function"))
    except (msgspec.DecodeError, RecursionError):
        raise Refusal(400, "invalid tool call arguments") from None
    if not isinstance(arguments, dict):
        raise Refusal(400, "invalid tool call arguments")
    return {"function": {"name": function.get("name"), "arguments": arguments}}


def _format(fields: JsonObject) -> JsonValue:
    wanted = nested(fields.get("response_format"), f"{_OWNER}.response_format", "openai.ResponseFormat")
    kind = text(wanted, "type", "ResponseFormat").strip().lower()
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        return None
    return nested(wanted.get("json_schema"), "ResponseFormat.json_schema", "openai.JsonSchema").get("schema")


def _think(fields: JsonObject) -> JsonValue:
    inner = nested(fields.get("reasoning"), f"{_OWNER}.reasoning", "openai.Reasoning")
    effort = text(inner, "effort", "Reasoning") if inner else text(fields, "reasoning_effort", _OWNER)
    if not effort:
        return None
    if effort not in _EFFORTS:
        raise Refusal(400, f'invalid reasoning value: \'{effort}\' (must be "high", "medium", "low", or "none")')
    return False if effort == "none" else effort


# writing


def _tool_call(call: JsonObject, turn: Turn, number: int) -> JsonObject:
    """A call as OpenAI spells it, arguments as text. Models that give no ids natively get them here."""
    function = nested(call["function"], "function", "api.ToolCallFunction")
    made = f"call_{xxhash.xxh3_64_hexdigest(f'{turn.seed}/{number}'.encode())[:8]}"
    arguments = go_json(function["arguments"]).decode()
    return {"id": call.get("id", made), "index": number, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _said(content: str, thinking: str, calls: list[JsonValue]) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": content}
    if thinking:
        message["reasoning"] = thinking
    if calls:
        message["tool_calls"] = calls
    return message


def _finish(turn: Turn) -> str:
    return "tool_calls" if turn.calls else done_reason(turn.answer)


def _whole(head: JsonObject, turn: Turn, usage: JsonObject | None) -> bytes:
    calls: list[JsonValue] = [_tool_call(call, turn, number) for number, call in enumerate(turn.calls)]
    choice: JsonObject = {"index": 0, "message": _said(turn.answer.text, turn.answer.thinking, calls), "finish_reason": _finish(turn)}
    return go_json({**head, "choices": [choice], **({"usage": usage} if usage is not None else {})}) + b"\n"


def _chunk(head: JsonObject, turn: Turn, step: Step, finish: str | None) -> JsonObject:
    calls: list[JsonValue] = [] if step.call is None else [_tool_call(step.call, turn, step.number)]
    return {**head, "choices": [{"index": 0, "delta": _said(step.content, step.thinking, calls), "finish_reason": finish}]}


def _event(value: JsonObject) -> bytes:
    return b"data: " + go_json(value) + b"\n\n"


def _events(head: JsonObject, turn: Turn, usage: JsonObject | None) -> tuple[Frame, ...]:
    total = turn.counts.output
    frames = [Frame(_event(_chunk(head, turn, step, None)), step.output) for step in steps(turn.answer, turn.calls)]
    frames.append(Frame(_event(_chunk(head, turn, Step(), _finish(turn))), total))
    if usage is not None:
        frames.append(Frame(_event({**head, "choices": [], "usage": usage}), total))
    return (*frames, Frame(b"data: [DONE]\n\n", total))
