"""OpenAI Chat Completions as it is written: whole answers and streams for clients that speak this dialect.

Reasoning goes out twice: readable as `reasoning_content`, and as `reasoning_details` in OpenRouter's shape, which carries signatures,
so that a client which echoes its messages returns them. In a stream a detail names its `format` only once, like a tool call its name:
the SDK's own accumulator joins strings.
Source: openai-python 3.52 `types/chat/` and `lib/streaming/_deltas.py`; OpenRouter, "Preserving reasoning".
"""

from collections.abc import Mapping
from typing import assert_never

import msgspec

from tokenrouter.adapters.sse import frame
from tokenrouter.adapters.wire.openai_chat_usage import usage_to_wire
from tokenrouter.model.answer import (
    Answer,
    Choice,
    Event,
    Failed,
    Finished,
    Reasoning,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
)
from tokenrouter.model.usage import NO_USAGE

_encode = msgspec.json.Encoder().encode
_UNKNOWN_FORMAT = "unknown"
GEMINI_FORMAT = "google-gemini-v1"
"""Who checks such a signature, in OpenRouter's words."""


def completion_id(vendor_id: str) -> str:
    """An id as this API's clients know it."""
    return vendor_id if vendor_id.startswith("chatcmpl") else f"chatcmpl-{vendor_id}"


def encode_answer(answer: Answer) -> bytes:
    """A `chat.completion`. A choice that was cut off has no finish reason."""
    body: dict[str, object] = {
        "id": completion_id(answer.id),
        "object": "chat.completion",
        "created": answer.created_s,
        "model": answer.model,
        "choices": [
            {"index": number, "message": message_to_wire(choice), "logprobs": None, "finish_reason": choice.stop}
            for number, choice in enumerate(answer.choices)
        ],
    }
    usage = usage_to_wire(answer.usage)
    if usage is not None:
        body["usage"] = usage
    return _encode(body)


def message_to_wire(choice: Choice) -> dict[str, object]:
    """The message of one choice, as clients echo it in their next request."""
    message: dict[str, object] = {"role": "assistant", "content": choice.text, "refusal": choice.refusal}
    if choice.reasoning:
        if shown := "".join(reasoning.text for reasoning in choice.reasoning):
            message["reasoning_content"] = shown
        details = [detail for reasoning in choice.reasoning for detail in _details(reasoning)]
        message["reasoning_details"] = [detail | {"index": index} for index, detail in enumerate(details)]
    if choice.tool_calls:
        signed = {block.id: block.signature for block in choice.reasoning if block.format == GEMINI_FORMAT and block.id and block.signature}
        message["tool_calls"] = [_call(call, signed.get(call.id)) for call in choice.tool_calls]
    return message


def _call(call: ToolCall, signature: str | None) -> dict[str, object]:
    """A call; a signature over it goes out in both places where clients look for one."""
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    entry: dict[str, object] = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return entry if signature is None else entry | {"extra_content": {"google": {"thought_signature": signature}}}


def _details(reasoning: Reasoning) -> list[dict[str, object]]:
    """The entries of one block: text with its signature, then what is only for the vendor's eyes."""
    form = reasoning.format or _UNKNOWN_FORMAT
    signature, hidden = _as_written(reasoning)
    entries: list[dict[str, object]] = []
    if reasoning.text or signature or not hidden:
        entry: dict[str, object] = {"type": "reasoning.text", "text": reasoning.text, "format": form}
        if signature:
            entry["signature"] = signature
        entries.append(entry)
    if hidden:
        entries.append({"type": "reasoning.encrypted", "data": hidden, "format": form})
    return [entry | {"id": reasoning.id} for entry in entries] if reasoning.id else entries


def _as_written(reasoning: Reasoning | ReasoningDelta) -> tuple[str, str]:
    """Signature and encrypted data. A signature over a call or a text is written as data, as OpenRouter does."""
    if reasoning.format == GEMINI_FORMAT:
        return "", reasoning.signature
    return reasoning.signature, reasoning.redacted


class ChatEventEncoder:
    """Writes one stream; see `EventEncoder`. One chunk per event, a role chunk before the first of each choice."""

    __slots__ = ("_begun", "_created_s", "_custom", "_details", "_failed", "_head", "_include_usage", "_signed", "_tail", "_usage")

    def __init__(self, *, include_usage: bool, created_s: int) -> None:
        """`include_usage`: the client asked for the usage chunk. `created_s`: used where the vendor named no time."""
        self._include_usage = include_usage
        self._created_s = created_s
        # While usage is wanted, the SDK types and OpenAI's reference show `"usage": null` on every chunk but the last.
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._head = b""
        self._begun: set[int] = set()
        self._details: dict[tuple[int, int, str], int] = {}
        self._signed: dict[str, str] = {}
        self._custom: set[tuple[int, int]] = set()
        self._usage = NO_USAGE
        self._failed = False

    def encode(self, event: Event) -> bytes:
        """See `EventEncoder`."""
        if self._failed:
            return b""
        match event:
            case TextDelta():
                return self._chunk(event.choice, b'{"content":' + _encode(event.text) + b"}")
            case ToolCallDelta():
                custom = (event.choice, event.index) in self._custom
                piece = {"index": event.index, **({"custom": {"input": event.arguments}} if custom else {"function": {"arguments": event.arguments}})}
                return self._chunk(event.choice, b'{"tool_calls":[' + _encode(piece) + b"]}")
            case ToolCallStarted():
                return self._chunk(event.choice, b'{"tool_calls":[' + _encode(self._call(event)) + b"]}")
            case ReasoningDelta():
                return self._chunk(event.choice, _encode(self._reasoning(event)))
            case RefusalDelta():
                return self._chunk(event.choice, b'{"refusal":' + _encode(event.text) + b"}")
            case Finished():
                return self._chunk(event.choice, b"{}", _encode(event.reason))
            case Started():
                self._start(event)
                return self._opened(0)
            case UsageSeen():
                self._usage = event.usage
                return b""
            case Failed():
                self._failed = True
                error = {"message": event.message, "type": "api_error", "param": None, "code": event.code}
                return frame(_encode({"error": error}))
            case _:
                assert_never(event)

    def metadata(self, fields: Mapping[str, object]) -> bytes:
        """See `EventEncoder`: a chunk without choices whose member `x_tokenrouter` holds `fields`. The usage chunk goes before it."""
        if self._failed:
            return b""
        return self._usage_chunk() + self._bare() + b',"x_tokenrouter":' + _encode(fields) + self._tail

    def close(self) -> bytes:
        """See `EventEncoder`."""
        return b"" if self._failed else self._usage_chunk() + b"data: [DONE]\n\n"

    def _call(self, event: ToolCallStarted) -> dict[str, object]:
        if event.custom:
            self._custom.add((event.choice, event.index))
            return {"index": event.index, "id": event.id, "type": "custom", "custom": {"name": event.name, "input": ""}}
        call: dict[str, object] = {"index": event.index, "id": event.id, "type": "function", "function": {"name": event.name, "arguments": ""}}
        signature = self._signed.get(event.id)
        return call if signature is None else call | {"extra_content": {"google": {"thought_signature": signature}}}

    def _start(self, event: Started) -> None:
        start = {
            "id": completion_id(event.id),
            "object": "chat.completion.chunk",
            "created": event.created_s or self._created_s,
            "model": event.model,
        }
        self._head = b"data: " + _encode(start)[:-1]

    def _bare(self) -> bytes:
        if not self._head:
            self._start(Started("", ""))
        return self._head + b',"choices":[]'

    def _opened(self, choice: int) -> bytes:
        """The role chunk, once per choice."""
        if choice in self._begun:
            return b""
        if not self._head:
            self._start(Started("", ""))
        self._begun.add(choice)
        return self._write(choice, b'{"role":"assistant","content":null}', b"null")

    def _chunk(self, choice: int, delta: bytes, finish: bytes = b"null") -> bytes:
        return self._opened(choice) + self._write(choice, delta, finish)

    def _write(self, choice: int, delta: bytes, finish: bytes) -> bytes:
        choices = b',"choices":[{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}]' % (choice, delta, finish)
        return self._head + choices + self._tail

    def _reasoning(self, event: ReasoningDelta) -> dict[str, object]:
        details: list[dict[str, object]] = []
        if event.format == GEMINI_FORMAT and event.id and event.signature:
            self._signed[event.id] = event.signature  # such a signature is whole, and stands in front of its call
        signature, hidden = _as_written(event)
        if event.text or signature or not hidden:
            entry = self._detail(event, "reasoning.text")
            entry["text"] = event.text
            if signature:
                entry["signature"] = signature
            details.append(entry)
        if hidden:
            details.append(self._detail(event, "reasoning.encrypted") | {"data": hidden})
        delta: dict[str, object] = {"reasoning_content": event.text} if event.text else {}
        return delta | {"reasoning_details": details}

    def _detail(self, event: ReasoningDelta, kind: str) -> dict[str, object]:
        """The head of one entry. An index is one entry's own: accumulators merge entries that share it."""
        key = (event.choice, event.block, kind)
        index = self._details.get(key)
        if index is not None:
            return {"type": kind, "index": index}
        index = self._details[key] = sum(known[0] == event.choice for known in self._details)
        head: dict[str, object] = {"type": kind, "format": event.format or _UNKNOWN_FORMAT, "index": index}
        return head | {"id": event.id} if event.id else head

    def _usage_chunk(self) -> bytes:
        wire = usage_to_wire(self._usage) if self._include_usage else None
        self._include_usage = False
        return b"" if wire is None else self._bare() + b',"usage":' + _encode(wire) + b"}\n\n"
