"""Anthropic Messages as it is written: whole answers and streams for clients that speak this dialect.

Blocks stand in the order in which the model made them. Reasoning of other vendors goes out as a thinking block, readable text and all,
whose signature is an envelope of ours (`wire/foreign_reasoning.py`): clients of this dialect send thinking blocks back as they came,
so it returns unharmed. But where such reasoning is a bare signature behind all that was said (Gemini signs at the end), it is left out, since
clients take the last block for the answer: the side store (`recall/thoughts.py`) puts it back. A refusal is text with the stop reason `refusal`.
Arguments that are no JSON object, which other vendors' models do write, can not be an `input`: there the whole text stands in it as
`unreadable_arguments`; a stream passes the pieces as they are.

Streams: usage is told by most vendors only at the end, so `message_start` says zero, and `message_delta` carries all figures, input
included; accumulators take each figure there as the total so far. A signature goes out in one piece behind its text, because the SDK's
accumulator keeps the last piece only. A piece of a call that comes after the next call began still carries its own index.

Source: anthropic-python 2.11 `types/` and `lib/streaming/_messages.py`; Anthropic's documentation of streaming and stop reasons.
"""

from collections.abc import Mapping, Sequence
from typing import Final, assert_never

import msgspec

from tokenrouter.adapters.sse import frame
from tokenrouter.adapters.wire.anthropic import SIGNATURE_FORMAT
from tokenrouter.adapters.wire.foreign_reasoning import seal
from tokenrouter.model.answer import (
    Answer,
    Choice,
    Declined,
    Event,
    Failed,
    Finished,
    Reasoning,
    ReasoningDelta,
    RefusalDelta,
    Said,
    Spoken,
    Started,
    StopReason,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
)
from tokenrouter.model.usage import NO_USAGE, Usage

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

PING: Final = frame(b'{"type":"ping"}', "ping")

_STOPS: Final[Mapping[StopReason, str]] = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def encode_answer(answer: Answer) -> bytes:
    """A whole `message`. Of several choices only the first has a place here."""
    choice = answer.choices[0] if answer.choices else Choice()
    message = _message(answer.id, answer.model) | {
        "content": [block for said in _without_last_signature(choice.blocks) for block in _blocks(said)],
        "stop_reason": _stop_reason(choice),
        "stop_sequence": choice.stop_sequence,
        "usage": usage_to_wire(answer.usage),
    }
    return _encode(message)


def usage_to_wire(usage: Usage) -> dict[str, object]:
    """The buckets, which are disjoint here as well. Figures that nobody reported are zero: clients insist on them."""
    wire: dict[str, object] = {"input_tokens": usage.fresh_input}
    if usage.cache_reported:
        wire["cache_creation_input_tokens"] = usage.cache_write + usage.cache_write_1h
        wire["cache_read_input_tokens"] = usage.cache_read
        wire["cache_creation"] = {"ephemeral_5m_input_tokens": usage.cache_write, "ephemeral_1h_input_tokens": usage.cache_write_1h}
    wire["output_tokens"] = usage.output
    if usage.reasoning:
        wire["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return wire


def _message(vendor_id: str, model: str) -> dict[str, object]:
    message_id = vendor_id if vendor_id.startswith("msg_") else f"msg_{vendor_id}"
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop_reason(choice: Choice) -> str | None:
    if choice.stop is None:
        return None
    calls = any(isinstance(block, ToolCall) for block in choice.blocks)
    return _reason(choice.stop, choice.stop_sequence, declined=choice.refusal is not None, calls=calls)


def _reason(stop: StopReason, stop_sequence: str | None, *, declined: bool, calls: bool) -> str:
    """The stop reason in this dialect. Clients run tools on `tool_use` only, so an end with calls is that, whatever the vendor called it."""
    if stop != "stop":
        return _STOPS[stop]
    if calls:
        return "tool_use"
    return "refusal" if declined else "end_turn" if stop_sequence is None else "stop_sequence"


def _blocks(said: Spoken | Declined | Reasoning | ToolCall) -> list[dict[str, object]]:
    match said:
        case Spoken() | Declined():
            return [{"type": "text", "text": said.text}] if said.text else []
        case Reasoning():
            return [_thinking(said)]
        case ToolCall():
            return [{"type": "tool_use", "id": said.id, "name": said.name, "input": _input(said)}]
        case _:
            assert_never(said)


def _without_last_signature(blocks: Sequence[Said]) -> Sequence[Said]:
    last = blocks[-1] if blocks else None
    bare = isinstance(last, Reasoning) and not last.text and not _is_claudes(last)
    return blocks[:-1] if bare and any(not isinstance(block, Reasoning) for block in blocks) else blocks


def _is_claudes(reasoning: Reasoning) -> bool:
    """Whether a block can go out in Anthropic's own form: a text with its signature, or redacted data."""
    return reasoning.format == SIGNATURE_FORMAT and not reasoning.id and not (reasoning.redacted and (reasoning.text or reasoning.signature))


def _thinking(reasoning: Reasoning) -> dict[str, object]:
    if not _is_claudes(reasoning):
        return {"type": "thinking", "thinking": reasoning.text, "signature": seal(reasoning)}
    if reasoning.redacted:
        return {"type": "redacted_thinking", "data": reasoning.redacted}
    return {"type": "thinking", "thinking": reasoning.text, "signature": reasoning.signature}


def _input(call: ToolCall) -> object:
    """The arguments as they were written, where they are an object."""
    if not call.arguments.strip():
        return {}
    if not call.custom:
        try:
            _object.decode(call.arguments)
        except (ValueError, RecursionError):
            return {"unreadable_arguments": call.arguments}
        return msgspec.Raw(call.arguments.encode())
    return {"input": call.arguments}


class _Block:
    """A block of the stream that is open. `text`: a text block; `call`: the number of a call; else reasoning, collected in `thought`."""

    __slots__ = ("call", "index", "number", "shown", "thought")

    def __init__(self, index: int, *, call: int | None = None, number: int | None = None) -> None:
        self.index = index
        self.call = call
        self.number = number
        self.shown = False
        self.thought = Reasoning()


class MessageEventEncoder:
    """Writes one stream; see `EventEncoder`."""

    __slots__ = ("_begun", "_calls", "_declined", "_failed", "_next", "_open", "_said", "_stop", "_stop_sequence", "_usage")

    def __init__(self) -> None:
        self._begun = self._failed = self._declined = self._said = False
        self._next = 0
        self._open: _Block | None = None
        self._calls: dict[int, int] = {}
        self._stop: StopReason | None = None
        self._stop_sequence: str | None = None
        self._usage = NO_USAGE

    def encode(self, event: Event) -> bytes:
        """See `EventEncoder`. Of several choices only the first has a place here."""
        if self._failed or (not isinstance(event, Started | UsageSeen | Failed) and event.choice != 0):
            return b""
        match event:
            case TextDelta():
                return self._text(event.text)
            case ToolCallDelta():
                return self._begin() + self._arguments(event)
            case ReasoningDelta():
                return self._begin() + self._reasoning(event)
            case ToolCallStarted():
                return self._begin() + self._call(event)
            case RefusalDelta():
                self._declined = True
                return self._text(event.text)
            case Finished():
                self._stop, self._stop_sequence = event.reason, event.stop_sequence
                return self._begin() + self._close_last()
            case Started():
                return self._begin(event)
            case UsageSeen():
                self._usage = event.usage
                return b""
            case Failed():
                self._failed = True
                return frame(_encode({"type": "error", "error": {"type": "api_error", "message": event.message}}), "error")
            case _:
                assert_never(event)

    def metadata(self, fields: Mapping[str, object]) -> bytes:
        """See `EventEncoder`: a `ping` with a member `x_tokenrouter`. Strict clients take no events that they do not know, all take pings."""
        return b"" if self._failed else frame(b'{"type":"ping","x_tokenrouter":' + _encode(fields) + b"}", "ping")

    def close(self) -> bytes:
        """See `EventEncoder`."""
        if self._failed:
            return b""
        reason = None
        if self._stop is not None:
            reason = _reason(self._stop, self._stop_sequence, declined=self._declined, calls=bool(self._calls))
        usage = usage_to_wire(self._usage)
        delta = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": self._stop_sequence}, "usage": usage}
        return self._begin() + self._close_last() + _event("message_delta", delta) + _event("message_stop", {"type": "message_stop"})

    def _begin(self, started: Started | None = None) -> bytes:
        """The start of the message, once, and a ping behind it as the vendor sends one."""
        if self._begun:
            return b""
        self._begun = True
        said = started or Started("", "")
        message = _message(said.id, said.model) | {"usage": usage_to_wire(Usage())}
        return _event("message_start", {"type": "message_start", "message": message}) + PING

    def _text(self, text: str) -> bytes:
        if not text:
            return self._begin()
        out = self._begin()
        block = self._open
        if block is None or block.call is not None or block.number is not None:
            out += self._close_block()
            block = self._new_block()
            out += _block_start(block.index, {"type": "text", "text": ""})
        return out + _block_delta(block.index, b'{"type":"text_delta","text":' + _encode(text) + b"}")

    def _call(self, event: ToolCallStarted) -> bytes:
        out = self._close_block()
        block = self._new_block(call=event.index)
        self._calls[event.index] = block.index
        return out + _block_start(block.index, {"type": "tool_use", "id": event.id, "name": event.name, "input": {}})

    def _arguments(self, event: ToolCallDelta) -> bytes:
        index = self._calls.get(event.index)
        if index is None or not event.arguments:
            return b""
        return _block_delta(index, b'{"type":"input_json_delta","partial_json":' + _encode(event.arguments) + b"}")

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        out = b""
        block = self._open
        if block is None or block.number != event.block:
            out = self._close_block()
            block = self._new_block(number=event.block)
        known = block.thought
        block.thought = Reasoning(
            known.text, known.signature + event.signature, known.redacted + event.redacted, known.format or event.format, known.id or event.id
        )
        if not event.text:
            return out
        if not block.shown:
            block.shown = True
            out += _block_start(block.index, {"type": "thinking", "thinking": "", "signature": ""})
        return out + _block_delta(block.index, b'{"type":"thinking_delta","thinking":' + _encode(event.text) + b"}")

    def _new_block(self, *, call: int | None = None, number: int | None = None) -> _Block:
        self._open = _Block(self._next, call=call, number=number)
        self._said = self._said or number is None
        self._next += 1
        return self._open

    def _close_last(self) -> bytes:
        """The block at the end of the message, but for a bare signature of another vendor behind what was said."""
        block = self._open
        if block is not None and block.number is not None and not block.shown and self._said and not _is_claudes(block.thought):
            self._open = None
            return b""
        return self._close_block()

    def _close_block(self) -> bytes:
        block, self._open = self._open, None
        if block is None:
            return b""
        stop = _event("content_block_stop", {"type": "content_block_stop", "index": block.index})
        return stop if block.number is None else self._signed(block) + stop

    def _signed(self, block: _Block) -> bytes:
        """What follows a block's text, which is known only at its end; its start as well, where there was no text."""
        said = msgspec.structs.replace(block.thought, text="text") if block.shown else block.thought  # whether there is one matters, not which
        if _is_claudes(said) and said.redacted:
            return _block_start(block.index, {"type": "redacted_thinking", "data": said.redacted})
        out = b"" if block.shown else _block_start(block.index, {"type": "thinking", "thinking": "", "signature": ""})
        signature = said.signature if _is_claudes(said) else seal(said)
        return out + _block_delta(block.index, b'{"type":"signature_delta","signature":' + _encode(signature) + b"}") if signature else out


def _event(name: str, fields: Mapping[str, object]) -> bytes:
    return frame(_encode(fields), name)


def _block_start(index: int, block: Mapping[str, object]) -> bytes:
    return _event("content_block_start", {"type": "content_block_start", "index": index, "content_block": block})


def _block_delta(index: int, delta: bytes) -> bytes:
    return frame(b'{"type":"content_block_delta","index":%d,"delta":%b}' % (index, delta), "content_block_delta")
