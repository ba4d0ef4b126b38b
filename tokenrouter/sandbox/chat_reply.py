"""Writing a Chat Completions answer, whole or as a stream.

Order of a stream: a chunk with the role, deltas, a chunk with the finish reason, a chunk with the usage if it was asked for, [DONE].
Source: https://developers.openai.com/api/reference/resources/chat (streaming events).
"""

import msgspec

from tokenrouter.sandbox.answers import Answer, call_tokens, fragments, pieces
from tokenrouter.sandbox.prompt import text_tokens
from tokenrouter.sandbox.wire import Frame, JsonObject, JsonValue, encode, sse

_FINISH = {"stop": "stop", "stop_sequence": "stop", "length": "length", "tool_calls": "tool_calls"}
DONE = b"data: [DONE]\n\n"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of one answer.

    custom         names of tools that take free text
    shows_thinking  the dialect has `reasoning_content`
    usage          None where it is left out
    signature      sent with the first tool call, as Google does in `extra_content`
    usage_on_last  the dialect puts the usage on the chunk with the finish reason
    """

    reply_id: str
    created: int
    model: str
    answers: tuple[Answer, ...]
    call_ids: tuple[tuple[str, ...], ...]
    custom: frozenset[str] = frozenset()
    shows_thinking: bool = False
    usage: JsonObject | None = None
    usage_on_last: bool = False
    include_usage: bool = False
    extras: JsonObject = {}
    signature: str | None = None


def whole(reply: Reply) -> bytes:
    """The answer as one JSON document."""
    choices: list[JsonValue] = [_choice(reply, index) for index in range(len(reply.answers))]
    document: JsonObject = {
        "id": reply.reply_id,
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.model,
        "choices": choices,
    }
    if reply.usage is not None:
        document["usage"] = reply.usage
    return encode({**document, **reply.extras})


def _choice(reply: Reply, index: int) -> JsonObject:
    answer = reply.answers[index]
    message: JsonObject = {"role": "assistant", "content": answer.text if answer.text or not (answer.calls or answer.refusal) else None}
    if reply.shows_thinking and answer.thinking:
        message["reasoning_content"] = answer.thinking
    if answer.calls:
        message["tool_calls"] = [_call(reply, index, number) for number in range(len(answer.calls))]
    message["refusal"] = answer.refusal or None
    return {"index": index, "message": message, "logprobs": None, "finish_reason": _FINISH[answer.finish]}


def _call(reply: Reply, index: int, number: int) -> JsonObject:
    call = reply.answers[index].calls[number]
    call_id = reply.call_ids[index][number]
    if call.name in reply.custom:
        return {"id": call_id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}, **_extra(reply, number)}


def _extra(reply: Reply, number: int) -> JsonObject:
    if reply.signature is None or number > 0:
        return {}
    return {"extra_content": {"google": {"thought_signature": reply.signature}}}


def stream(reply: Reply) -> tuple[Frame, ...]:
    """The answer as events, each with the tokens produced up to it."""
    writer = _Writer(reply)
    for index in range(len(reply.answers)):
        writer.choice(index)
    if reply.include_usage and reply.usage is not None and not reply.usage_on_last:
        writer.frames.append(Frame(sse({**writer.head, "choices": [], "usage": reply.usage}), writer.output))
    writer.frames.append(Frame(DONE, writer.output))
    return tuple(writer.frames)


class _Writer:
    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.frames: list[Frame] = []
        self.output = 0
        self.head: JsonObject = {
            "id": reply.reply_id,
            "object": "chat.completion.chunk",
            "created": reply.created,
            "model": reply.model,
            **reply.extras,
        }

    def chunk(self, index: int, delta: JsonObject, finish: str | None = None) -> None:
        choice: JsonObject = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        event: JsonObject = {**self.head, "choices": [choice]}
        if self.reply.usage_on_last:
            event["usage"] = self.reply.usage if finish is not None and index == len(self.reply.answers) - 1 else None
        elif self.reply.include_usage:
            event["usage"] = None
        self.frames.append(Frame(sse(event), self.output))

    def choice(self, index: int) -> None:
        answer = self.reply.answers[index]
        before = self.output
        self.chunk(index, {"role": "assistant", "content": None if answer.calls or answer.refusal else "", "refusal": None})
        said = ""
        if self.reply.shows_thinking:
            for piece in pieces(answer.thinking):
                said += piece
                self.output = before + text_tokens(said)
                self.chunk(index, {"reasoning_content": piece, "content": None})
        base = before + answer.reasoning_tokens
        said = ""
        for piece in pieces(answer.text):
            said += piece
            self.output = base + text_tokens(said)
            self.chunk(index, {"content": piece})
        base += text_tokens(answer.text)
        said = ""
        for piece in pieces(answer.refusal):
            said += piece
            self.output = base + text_tokens(said)
            self.chunk(index, {"refusal": piece})
        self._calls(index, base + text_tokens(answer.refusal))
        self.output = before + answer.output_tokens
        self.chunk(index, {}, _FINISH[answer.finish])

    def _calls(self, index: int, base: int) -> None:
        answer = self.reply.answers[index]
        for number, call in enumerate(answer.calls):
            kind, field = ("custom", "input") if call.name in self.reply.custom else ("function", "arguments")
            opening: JsonObject = {
                "index": number,
                "id": self.reply.call_ids[index][number],
                "type": kind,
                kind: {"name": call.name, field: ""},
                **_extra(self.reply, number),
            }
            self.output = base + text_tokens(call.name)
            self.chunk(index, {"tool_calls": [opening]})
            for fragment in fragments(call.arguments):
                self.chunk(index, {"tool_calls": [{"index": number, kind: {field: fragment}}]})
            base += call_tokens(call)
            self.output = base
