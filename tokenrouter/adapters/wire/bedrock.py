"""Bedrock's Converse as it is read: whole answers, streams, usage and errors.

An answer names neither itself nor its model. Streams are binary (`adapters/aws_eventstream.py`); the last event of one is `metadata`,
which tells the usage and comes behind `messageStop`.
Source: botocore 1.44 `data/bedrock-runtime/2023-09-30/service-2.json`;
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final
from uuid import uuid4

import msgspec

from tokenrouter.adapters.aws_eventstream import EventStreamReader, Message
from tokenrouter.adapters.wire.anthropic import SIGNATURE_FORMAT
from tokenrouter.adapters.wire.reading import count, members, served_tier, text, unreadable, words
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import (
    Answer,
    Choice,
    Event,
    Failed,
    Finished,
    Reasoning,
    ReasoningDelta,
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

OPAQUE_FORMAT = "amazon-bedrock-v1"
"""Redacted reasoning that is no text: only Bedrock can read it. It is kept as the base64 that came."""

_STOPS: Final[dict[str, StopReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "content_filter",
    "malformed_tool_use": "content_filter",
}
"""The rest (end_turn, stop_sequence, words to come) is a natural end. What was malformed is withheld, as what was filtered is."""


class _ReasoningText(msgspec.Struct):
    text: str | None = None
    signature: str | None = None


class _Reasoning(msgspec.Struct, rename="camel"):
    """In a whole answer the text has an object of its own, in a stream it has not."""

    reasoning_text: _ReasoningText | None = None
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _ToolUse(msgspec.Struct, rename="camel"):
    """`type` names calls of tools that the vendor runs itself. `input`: an object in a whole answer, pieces of its text in a stream."""

    tool_use_id: str = ""
    name: str = ""
    type: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Texts(msgspec.Struct):
    text: str | None = None


class _Cited(msgspec.Struct):
    content: list[_Texts] | None = None


class _Block(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None
    citations_content: _Cited | None = None


class _Message(msgspec.Struct):
    content: list[_Block] | None = None


class _Output(msgspec.Struct):
    message: _Message | None = None


class _Answer(msgspec.Struct, rename="camel"):
    """What is cosmetic is typed loosely: a good answer must not fail on it."""

    output: _Output | None = None
    stop_reason: str | None = None
    usage: object = None
    service_tier: object = None
    additional_model_response_fields: object = None


class _Error(msgspec.Struct):
    message: object = None
    Message: object = None


class _BlockEvent(msgspec.Struct, rename="camel"):
    content_block_index: int = 0
    start: _Block | None = None
    delta: _Block | None = None


class _StopEvent(msgspec.Struct, rename="camel"):
    stop_reason: str | None = None
    additional_model_response_fields: object = None


class _MetadataEvent(msgspec.Struct, rename="camel"):
    usage: object = None
    service_tier: object = None


_answer = msgspec.json.Decoder(_Answer)
_error = msgspec.json.Decoder(_Error)
_block_event = msgspec.json.Decoder(_BlockEvent)
_stop_event = msgspec.json.Decoder(_StopEvent)
_metadata_event = msgspec.json.Decoder(_MetadataEvent)
_string = msgspec.json.Decoder(str)


def usage_from_wire(value: object, service_tier: object = None) -> Usage:
    """The buckets of a decoded `usage` object, which are disjoint already: `inputTokens` leaves out what was read from or written to a cache.

    Writes come split by lifetime in `cacheDetails`; what that leaves unsaid of `cacheWriteInputTokens` counts as short. `NO_USAGE` where
    the totals are absent or no counts; any other figure that is no count is as good as absent. `service_tier`: what stands beside it.
    """
    usage = members(value)
    fresh, output = count(usage.get("inputTokens")), count(usage.get("outputTokens"))
    if fresh is None or output is None:
        return NO_USAGE
    read, written = count(usage.get("cacheReadInputTokens")), count(usage.get("cacheWriteInputTokens"))
    details = usage.get("cacheDetails")
    split = {"5m": 0, "1h": 0}
    for detail in details if isinstance(details, list) else ():
        ttl, tokens = text(members(detail).get("ttl")), count(members(detail).get("inputTokens"))
        if ttl in split and tokens is not None:
            split[ttl] += tokens
    return Usage(
        fresh_input=fresh,
        cache_read=read or 0,
        cache_write=split["5m"] + max(0, (written or 0) - sum(split.values())),
        cache_write_1h=split["1h"],
        output=output,
        service_tier=served_tier(members(service_tier).get("type")),
        cache_reported=read is not None or written is not None or any(split.values()),
    )


def decode_answer(body: bytes) -> Answer:
    """A whole answer. Blocks of tools that the vendor ran itself are passed over.

    Raises:
        UpstreamFailed: `body` is not a message, or is an error that came with a good status.
    """
    try:
        answer = _answer.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, "a message", error) from error
    message = answer.output.message if answer.output else None
    if message is None or message.content is None:
        said = error_message(body)
        raise UpstreamFailed(said) if said else unreadable(body, "a message")
    choice = Choice(_blocks(message.content), _stop(answer.stop_reason), _stop_sequence(answer.additional_model_response_fields))
    return Answer(_new_id(), "", 0, (choice,), usage_from_wire(answer.usage, answer.service_tier))


def error_message(body: bytes) -> str | None:
    """The vendor's own words in an error body; None where `body` is none."""
    try:
        error = _error.decode(body)
    except (ValueError, RecursionError):
        return None
    return words(error.message) or words(error.Message)


def _new_id() -> str:
    """The vendor gives its answers no id in the body, and clients tell answers apart by theirs. No prompt ever holds it."""
    return f"msg_{uuid4().hex}"


def _stop(reason: str | None) -> StopReason | None:
    return None if reason is None else _STOPS.get(reason, "stop")


def _stop_sequence(fields: object) -> str | None:
    """Which stop string was met, where the request asked the model to tell."""
    return text(members(fields).get("stop_sequence")) or None


def _blocks(content: list[_Block]) -> tuple[Said, ...]:
    said: list[Said] = []
    for block in content:
        if (shown := _shown(block)) is not None:
            last = said[-1] if said else None
            if isinstance(last, Spoken):
                said[-1] = Spoken(last.text + shown)  # cut by citations or by what was passed over
            elif shown:
                said.append(Spoken(shown))
        elif block.reasoning_content is not None:
            said.append(_thought(block.reasoning_content))
        elif block.tool_use is not None and block.tool_use.type is None:
            call = block.tool_use
            said.append(ToolCall(call.tool_use_id, call.name, bytes(call.input).decode()))
    return tuple(said)


def _shown(block: _Block) -> str | None:
    if block.citations_content is not None:
        return "".join([piece.text or "" for piece in block.citations_content.content or ()])
    return block.text


def _thought(reasoning: _Reasoning) -> Reasoning:
    if reasoning.redacted_content is not None:
        return _redacted(_bytes(reasoning.redacted_content))
    shown = reasoning.reasoning_text or _ReasoningText()
    return Reasoning(shown.text or "", shown.signature or "", format=SIGNATURE_FORMAT)


def _redacted(content: bytes) -> Reasoning:
    """Claude's redacted data is text, the same that its own API shows; what is no text stays as it is."""
    try:
        return Reasoning(redacted=content.decode(), format=SIGNATURE_FORMAT)
    except UnicodeDecodeError:
        return Reasoning(redacted=base64.b64encode(content).decode(), format=OPAQUE_FORMAT)


def _bytes(blob: str) -> bytes:
    try:
        return base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UpstreamFailed("the provider sent redacted reasoning that is not base64") from error


class ConverseEventDecoder:
    """Reads one stream; see `EventDecoder`. Unknown events, blocks and deltas are passed over."""

    __slots__ = ("_calls", "_ended", "_frames", "_on", "_reasoning", "_redacted", "_silent", "_stopped")

    def __init__(self) -> None:
        self._frames = EventStreamReader()
        self._calls: dict[int, int] = {}
        self._silent: set[int] = set()
        self._reasoning: dict[int, int] = {}
        self._redacted: dict[int, bytes] = {}
        self._stopped = self._ended = False
        self._on: Mapping[str, Callable[[bytes], list[Event]]] = {
            "messageStart": self._start,
            "contentBlockStart": self._block_start,
            "contentBlockDelta": self._delta,
            "contentBlockStop": self._block_stop,
            "messageStop": self._stop,
            "metadata": self._metadata,
        }

    def feed(self, data: bytes) -> list[Event]:
        """See `EventDecoder`. What comes after the end or after an error is not read."""
        events: list[Event] = []
        for message in self._frames.feed(data):
            if not self._ended:
                events += self._read(message)
        return events

    def finish(self) -> list[Event]:
        """See `EventDecoder`."""
        if not self._ended:
            missing = "metadata" if self._stopped else "messageStop"
            raise UpstreamTruncated(f"the provider's stream ended without {missing}")
        return []

    def _read(self, message: Message) -> list[Event]:
        headers = message.headers
        if headers.get(":message-type", "event") != "event":
            self._ended = True
            return [_failed(headers, message.payload)]
        read = self._on.get(headers.get(":event-type", ""))
        if read is None:
            return []
        try:
            return read(message.payload)
        except (ValueError, RecursionError) as error:
            raise unreadable(message.payload, "a stream event", error) from error

    def _start(self, payload: bytes) -> list[Event]:
        return [Started(_new_id(), "")]

    def _block_start(self, payload: bytes) -> list[Event]:
        event = _block_event.decode(payload)
        call = event.start.tool_use if event.start else None
        if call is None or call.type is not None:
            return []
        number = self._calls[event.content_block_index] = len(self._calls)
        self._silent.add(event.content_block_index)
        return [ToolCallStarted(number, call.tool_use_id, call.name)]

    def _delta(self, payload: bytes) -> list[Event]:
        event = _block_event.decode(payload)
        index, delta = event.content_block_index, event.delta or _Block()
        if delta.text:
            return [TextDelta(delta.text)]
        if delta.tool_use is not None and index in self._calls:
            piece = _string.decode(delta.tool_use.input)
            self._silent -= {index} if piece else set()
            return [ToolCallDelta(self._calls[index], piece)] if piece else []
        if delta.reasoning_content is not None:
            return self._reasoned(index, delta.reasoning_content)
        return []

    def _reasoned(self, index: int, delta: _Reasoning) -> list[Event]:
        """Pieces of redacted content are each a blob of their own: they are joined before anybody looks at them."""
        number = self._reasoning.get(index)
        first = number is None
        if number is None:
            number = self._reasoning[index] = len(self._reasoning)
        if delta.redacted_content is not None:
            self._redacted[index] = self._redacted.get(index, b"") + _bytes(delta.redacted_content)
            return []
        form = SIGNATURE_FORMAT if first else ""
        return [ReasoningDelta(number, delta.text or "", delta.signature or "", format=form)] if delta.text or delta.signature or first else []

    def _block_stop(self, payload: bytes) -> list[Event]:
        return self._closed(_block_event.decode(payload).content_block_index)

    def _closed(self, index: int) -> list[Event]:
        events: list[Event] = []
        if index in self._silent:  # a call without arguments may come without a single piece of them
            self._silent.remove(index)
            events.append(ToolCallDelta(self._calls[index], "{}"))
        if (content := self._redacted.pop(index, None)) is not None:
            block = _redacted(content)
            events.append(ReasoningDelta(self._reasoning[index], redacted=block.redacted, format=block.format))
        return events

    def _stop(self, payload: bytes) -> list[Event]:
        event = _stop_event.decode(payload)
        self._stopped = True
        open_blocks = sorted(self._silent | set(self._redacted))
        events = [said for index in open_blocks for said in self._closed(index)]
        return [*events, Finished(_stop(event.stop_reason) or "stop", stop_sequence=_stop_sequence(event.additional_model_response_fields))]

    def _metadata(self, payload: bytes) -> list[Event]:
        self._ended = self._stopped
        event = _metadata_event.decode(payload)
        usage = usage_from_wire(event.usage, event.service_tier)
        return [UsageSeen(usage)] if usage.reported else []


def _failed(headers: Mapping[str, str], payload: bytes) -> Failed:
    """An exception that the service knows, or an error below it."""
    code = headers.get(":exception-type") or headers.get(":error-code") or "upstream_error"
    said = error_message(payload) or words(headers.get(":error-message"))
    return Failed(said or "the provider reported an error in its stream", code[:100])
