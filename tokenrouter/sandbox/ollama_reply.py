"""Writing Ollama's answers: one JSON object, or a stream of them, one a line.

A stream has lines with pieces of thinking, then of text, then whole tool calls, and a last line with `done` and the counts. Between them come
lines without anything but the role: the server parses what the model writes and sends a line even while it has nothing to tell yet.

Sources: https://docs.ollama.com/api/streaming; https://github.com/ollama/ollama `server/routes.go` (read 2026-11-21); for the empty lines
https://github.com/ollama/ollama/issues/12420.
"""

import msgspec
import xxhash

from tokenrouter.sandbox.answers import Answer, ToolCall, call_tokens, pieces
from tokenrouter.sandbox.ollama_models import timestamp
from tokenrouter.sandbox.prompt import BYTES_PER_TOKEN, text_tokens
from tokenrouter.sandbox.wire import Frame, Headers, JsonObject, JsonValue, encode

JSON_HEADERS: Headers = ((b"content-type", b"application/json; charset=utf-8"),)
LINE_HEADERS: Headers = ((b"content-type", b"application/x-ndjson"),)
TEXT_HEADERS: Headers = ((b"content-type", b"text/plain; charset=utf-8"),)
EMPTY_EVERY = 8
"""So many pieces of text, then a line without any."""
_VOCABULARY = 128_256
_LOAD_COLD_NS = 1_250_000_000
_LOAD_WARM_NS = 42_000_000
_PROMPT_TOKEN_NS = 800_000
_OUTPUT_TOKEN_NS = 9_000_000
_LINE_NS = 20_000_000


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What the last line tells about the work. Nothing in it says what a warm cache saved.

    prompt  tokens of the prompt that fitted into the context
    output  tokens produced, thinking included
    warm    the model was in memory already
    """

    prompt: int
    output: int
    warm: bool

    @property
    def load_ns(self) -> int:
        """Time to get the model into memory."""
        return _LOAD_WARM_NS if self.warm else _LOAD_COLD_NS

    def fields(self, *, omit_usage: bool) -> JsonObject:
        """As the wire names them, durations in nanoseconds."""
        prompt_ns, output_ns = self.prompt * _PROMPT_TOKEN_NS, self.output * _OUTPUT_TOKEN_NS
        times: JsonObject = {"total_duration": self.load_ns + prompt_ns + output_ns, "load_duration": self.load_ns}
        if omit_usage:
            return times
        return {
            **times,
            "prompt_eval_count": self.prompt,
            "prompt_eval_duration": prompt_ns,
            "eval_count": self.output,
            "eval_duration": output_ns,
        }


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a stream says: a piece of thinking or text, tool call number `number`, or nothing. `output`: tokens up to here."""

    content: str = ""
    thinking: str = ""
    call: JsonObject | None = None
    number: int = 0
    output: int = 0


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of one answer. `context` is what `/api/generate` hands out to go on from here; None for chats."""

    model: str
    created_ns: int
    answer: Answer
    calls: tuple[JsonObject, ...]
    counts: Counts
    generates: bool = False
    context: tuple[int, ...] | None = None
    omit_usage: bool = False


def go_json(value: object) -> bytes:
    r"""JSON as Go's encoder spells it: `<`, `>` and `&` become escapes. They occur only inside strings.

    >>> go_json({"a": "<b>"})
    b'{"a":"\\u003cb\\u003e"}'
    """
    return encode(value).replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def call_objects(answer: Answer, seed: int, *, with_ids: bool) -> tuple[JsonObject, ...]:
    """Tool calls with their arguments as objects. What is no object (cut off, or no JSON) is no call: the parser drops it."""
    found: list[JsonObject] = []
    for call in answer.calls:
        arguments = _arguments(call)
        if arguments is None:
            continue
        function: JsonObject = {"name": call.name, "arguments": arguments}
        if with_ids:
            index = len(found)
            call_id = f"call_{xxhash.xxh3_64_hexdigest(f'{seed}/{index}'.encode())[:8]}"
            found.append({"id": call_id, "function": {"index": index, **function}})
        else:
            found.append({"function": function})
    return tuple(found)


def _arguments(call: ToolCall) -> JsonObject | None:
    try:
        value: JsonValue = msgspec.json.decode(call.arguments or "{}")
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


def steps(answer: Answer, calls: tuple[JsonObject, ...]) -> tuple[Step, ...]:
    """All that a stream says before its last line, empty lines included."""
    found = [Step()]
    said = ""
    for piece in pieces(answer.thinking):
        said += piece
        found.append(Step(thinking=piece, output=text_tokens(said)))
    output = answer.reasoning_tokens
    if said:
        found.append(Step(output=output))
    said = ""
    for number, piece in enumerate(pieces(answer.text)):
        if number and number % EMPTY_EVERY == 0:
            found.append(Step(output=output + text_tokens(said)))
        said += piece
        found.append(Step(content=piece, output=output + text_tokens(said)))
    output += text_tokens(said)
    for number, (call, sent) in enumerate(zip(answer.calls, calls, strict=False)):
        output += call_tokens(call)
        found.append(Step(call=sent, number=number, output=output))
    return tuple(found)


def done_reason(answer: Answer) -> str:
    """Tool calls and stop sequences are plain ends."""
    return "length" if answer.finish == "length" else "stop"


def stream(reply: Reply) -> tuple[Frame, ...]:
    """The answer line by line."""
    said = steps(reply.answer, reply.calls)
    frames = [Frame(_line(reply, number, step, {"done": False}), step.output) for number, step in enumerate(said)]
    last = _line(reply, len(said), Step(), {"done": True, **_ending(reply)})
    return (*frames, Frame(last, reply.counts.output))


def whole(reply: Reply) -> bytes:
    """The answer as one object."""
    answer = reply.answer
    if reply.generates:
        said: JsonObject = {"response": answer.text, **({"thinking": answer.thinking} if answer.thinking else {})}
    else:
        said = {"message": _message(answer.text, answer.thinking, reply.calls)}
    return go_json({**_head(reply, 0), **said, "done": True, **_ending(reply)})


def nothing(model: str, created_ns: int, reason: str, *, generates: bool) -> bytes:
    """The answer to a request without a prompt, which only loads the model or unloads it."""
    said: JsonObject = {"response": ""} if generates else {"message": {"role": "assistant", "content": ""}}
    return go_json({"model": model, "created_at": timestamp(created_ns), **said, "done": True, "done_reason": reason})


def _head(reply: Reply, number: int) -> JsonObject:
    return {"model": reply.model, "created_at": timestamp(reply.created_ns + number * _LINE_NS)}


def _line(reply: Reply, number: int, step: Step, rest: JsonObject) -> bytes:
    if reply.generates:
        said: JsonObject = {"response": step.content, **({"thinking": step.thinking} if step.thinking else {})}
    else:
        said = {"message": _message(step.content, step.thinking, (step.call,) if step.call else ())}
    return go_json({**_head(reply, number), **said, **rest}) + b"\n"


def _message(content: str, thinking: str, calls: tuple[JsonObject, ...]) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": content}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = [*calls]
    return message


def _ending(reply: Reply) -> JsonObject:
    ending: JsonObject = {"done_reason": done_reason(reply.answer)}
    if reply.context is not None:
        ending["context"] = [*reply.context]
    return {**ending, **reply.counts.fields(omit_usage=reply.omit_usage)}


def token_ids(data: bytes) -> tuple[int, ...]:
    """Made-up token numbers of a text, one per four bytes: for the `context` of `/api/generate`."""
    return tuple(int.from_bytes(data[start : start + BYTES_PER_TOKEN], "big") % _VOCABULARY for start in range(0, len(data), BYTES_PER_TOKEN))
