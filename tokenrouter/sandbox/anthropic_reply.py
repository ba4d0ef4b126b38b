"""Writing a Messages answer, whole or as a stream of named events.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming.
"""

import msgspec

from tokenrouter.sandbox.answers import Answer, fragments, pieces
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import text_tokens
from tokenrouter.sandbox.wire import Frame, JsonObject, JsonValue, encode, named_sse

_STOP_REASONS = {"stop": "end_turn", "stop_sequence": "stop_sequence", "length": "max_tokens", "tool_calls": "tool_use"}
BROKEN = named_sse("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of one answer. `transformations` is None where nobody asked for them."""

    reply_id: str
    model: str
    answer: Answer
    signature: str
    redacted: bool
    call_ids: tuple[str, ...]
    inputs: tuple[JsonValue, ...]
    tokens: Tokens
    omit_usage: bool
    empty: bool
    transformations: list[JsonObject] | None


def _input_usage(reply: Reply) -> JsonObject:
    tokens = reply.tokens
    return {
        "input_tokens": tokens.input,
        "cache_creation_input_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.cache_write_5m, "ephemeral_1h_input_tokens": tokens.cache_write_1h},
    }


def _usage(reply: Reply, output: int) -> JsonObject:
    return {
        **_input_usage(reply),
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": reply.answer.reasoning_tokens if output > 1 else 0},
        "service_tier": "standard",
    }


def _message(reply: Reply, content: list[JsonValue], stop_reason: str | None, output: int) -> JsonObject:
    message: JsonObject = {
        "id": reply.reply_id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": reply.answer.stop_sequence if stop_reason else None,
    }
    if not reply.omit_usage:
        message["usage"] = _usage(reply, output)
    if reply.transformations is not None:
        message["input_transformations"] = [*reply.transformations]
    return message


def whole(reply: Reply) -> bytes:
    """The answer as one JSON document."""
    answer = reply.answer
    content: list[JsonValue] = []
    if answer.thinking and reply.redacted:
        content.append({"type": "redacted_thinking", "data": reply.signature})
    elif answer.thinking:
        content.append({"type": "thinking", "thinking": answer.thinking, "signature": reply.signature})
    if answer.text and not reply.empty:
        content.append({"type": "text", "text": answer.text})
    for index, call in enumerate(answer.calls):
        content.append({"type": "tool_use", "id": reply.call_ids[index], "name": call.name, "input": reply.inputs[index]})
    return encode(_message(reply, content, _STOP_REASONS[answer.finish], reply.tokens.output))


def stream(reply: Reply) -> tuple[Frame, ...]:
    """The answer as events, each with the tokens produced up to it."""
    return _Writer(reply).write()


class _Writer:
    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.frames: list[Frame] = []
        self.output = 0
        self.index = 0

    def event(self, name: str, **fields: JsonValue) -> None:
        self.frames.append(Frame(named_sse(name, {"type": name, **fields}), self.output))

    def write(self) -> tuple[Frame, ...]:
        reply, answer = self.reply, self.reply.answer
        self.output = 1
        self.event("message_start", message=_message(reply, [], None, 1))
        self._thinking()
        base = answer.reasoning_tokens
        if answer.text:
            said = ""
            self._start({"type": "text", "text": ""})
            for piece in pieces(answer.text):
                said += piece
                self.output = base + text_tokens(said)
                self._delta({"type": "text_delta", "text": piece})
            self._stop()
        self._calls(base + text_tokens(answer.text))
        self.output = reply.tokens.output
        delta: JsonObject = {"stop_reason": _STOP_REASONS[answer.finish], "stop_sequence": answer.stop_sequence}
        if reply.omit_usage:
            self.event("message_delta", delta=delta)
        else:
            self.event("message_delta", delta=delta, usage=_usage(reply, self.output))
        self.event("message_stop")
        return tuple(self.frames)

    def _thinking(self) -> None:
        answer = self.reply.answer
        if not answer.thinking:
            return
        if self.reply.redacted:
            self.output = max(1, answer.reasoning_tokens)
            self._start({"type": "redacted_thinking", "data": self.reply.signature})
            self._stop()
            return
        said = ""
        self._start({"type": "thinking", "thinking": "", "signature": ""})
        for piece in pieces(answer.thinking):
            said += piece
            self.output = max(1, text_tokens(said))
            self._delta({"type": "thinking_delta", "thinking": piece})
        self._delta({"type": "signature_delta", "signature": self.reply.signature})
        self._stop()

    def _calls(self, base: int) -> None:
        for number, call in enumerate(self.reply.answer.calls):
            base += text_tokens(call.name)
            self.output = base
            self._start({"type": "tool_use", "id": self.reply.call_ids[number], "name": call.name, "input": {}})
            said = ""
            self._delta({"type": "input_json_delta", "partial_json": ""})
            for fragment in fragments(call.arguments):
                said += fragment
                self.output = base + text_tokens(said)
                self._delta({"type": "input_json_delta", "partial_json": fragment})
            base += text_tokens(call.arguments)
            self._stop()

    def _start(self, block: JsonObject) -> None:
        self.event("content_block_start", index=self.index, content_block=block)
        if self.index == 0:
            self.event("ping")

    def _delta(self, delta: JsonObject) -> None:
        self.event("content_block_delta", index=self.index, delta=delta)

    def _stop(self) -> None:
        self.event("content_block_stop", index=self.index)
        self.index += 1
