"""Anthropic Messages as it is read: whole answers, streams, usage and errors.

Source: anthropic-python 2.11 `types/`; Anthropic's documentation of streaming, stop reasons, prompt caching and errors.
"""

from typing import Final

import msgspec

from tokenrouter.adapters.sse import Frame, FrameReader
from tokenrouter.adapters.wire.anthropic_tools import fees_in
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

SIGNATURE_FORMAT = "anthropic-claude-v1"
"""Who checks the signatures, in OpenRouter's words. They are portable between Claude API, Bedrock and Vertex."""

_STOPS: Final[dict[str, StopReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""The rest (end_turn, stop_sequence, pause_turn, words to come) is a natural end."""

_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_OBJECTS = ("cache_creation", "output_tokens_details", "server_tool_use")
_WORDS = ("service_tier", "speed")


class _Block(msgspec.Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Message(msgspec.Struct):
    """What is cosmetic is typed loosely: a good answer must not fail on it."""

    type: str = ""
    id: object = None
    model: object = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: object = None
    error: object = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _StreamEvent(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: object = None
    error: object = None


_message = msgspec.json.Decoder(_Message)
_stream_event = msgspec.json.Decoder(_StreamEvent)


def usage_from_wire(value: object) -> Usage:
    """The buckets of a decoded `usage` object, which are disjoint already: `input_tokens` is only what follows the last mark.

    Writes come split by lifetime in `cache_creation`; what that leaves unsaid of `cache_creation_input_tokens` counts as short.
    What a compaction on the way took stands in `iterations` only, and is billed beside the rest (SDK: `beta_usage.py`).
    `NO_USAGE` where the totals are absent or no counts; any other figure that is no count is as good as absent.
    """
    usage = members(value)
    fresh, output = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if fresh is None or output is None:
        return NO_USAGE
    read, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    split = members(usage.get("cache_creation"))
    short, long = count(split.get("ephemeral_5m_input_tokens")), count(split.get("ephemeral_1h_input_tokens"))
    known = (short or 0) + (long or 0)
    thought = count(members(usage.get("output_tokens_details")).get("thinking_tokens")) or 0
    seen = Usage(
        fresh_input=fresh,
        cache_read=read or 0,
        cache_write=(short or 0) + max(0, (written or 0) - known),
        cache_write_1h=long or 0,
        output=output,
        reasoning=min(thought, output),
        fees=fees_in(usage),
        service_tier="fast" if usage.get("speed") == "fast" else served_tier(usage.get("service_tier")),
        cache_reported=not (read is None and written is None and short is None and long is None),
    )
    iterations = usage.get("iterations")
    return _with_compactions(seen, iterations) if isinstance(iterations, list) else seen


def _with_compactions(usage: Usage, iterations: list[object]) -> Usage:
    for iteration in iterations:
        if members(iteration).get("type") == "compaction":
            more = usage_from_wire({**members(iteration), "iterations": None})
            usage = msgspec.structs.replace(
                usage,
                fresh_input=usage.fresh_input + more.fresh_input,
                cache_read=usage.cache_read + more.cache_read,
                cache_write=usage.cache_write + more.cache_write,
                cache_write_1h=usage.cache_write_1h + more.cache_write_1h,
                output=usage.output + more.output,
            )
    return usage


class CumulativeUsage:
    """The usage of a stream: figures are totals so far; a later one replaces an earlier one, an absent or absurd one does not."""

    __slots__ = ("_figures",)

    def __init__(self) -> None:
        self._figures: dict[str, object] = {}

    def add(self, value: object) -> Usage:
        """What is known after one more decoded `usage` object."""
        usage = members(value)
        self._figures |= {name: usage[name] for name in _COUNTS if count(usage.get(name)) is not None}
        self._figures |= {name: usage[name] for name in _OBJECTS if members(usage.get(name))}
        self._figures |= {name: usage[name] for name in _WORDS if text(usage.get(name))}
        if isinstance(usage.get("iterations"), list):
            self._figures["iterations"] = usage["iterations"]
        return usage_from_wire(self._figures)


def usage_of(body: bytes) -> Usage:
    """Only the usage of a whole answer. `NO_USAGE` where `body` is no JSON or says nothing."""
    try:
        return usage_from_wire(_usage_only.decode(body).usage)
    except (ValueError, RecursionError):
        return NO_USAGE


class _UsageOnly(msgspec.Struct):
    usage: object = None


_usage_only = msgspec.json.Decoder(_UsageOnly)


def decode_answer(body: bytes) -> Answer:
    """A whole answer. Blocks of tools that the vendor ran itself are passed over.

    Raises:
        UpstreamFailed: `body` is not a message, or is an error that came with a good status.
    """
    try:
        message = _message.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, "a message", error) from error
    if message.error is not None or message.type == "error":
        raise UpstreamFailed(words(message.error) or "the provider answered with an error")
    if message.content is None:
        raise unreadable(body, "a message")
    choice = Choice(_blocks(message.content), _stop(message.stop_reason), message.stop_sequence)
    return Answer(text(message.id), text(message.model), 0, (choice,), usage_from_wire(message.usage))


def _blocks(content: list[_Block]) -> tuple[Said, ...]:
    said: list[Said] = []
    for block in content:
        if block.type == "text" and block.text:
            last = said[-1] if said else None
            if isinstance(last, Spoken):
                said[-1] = Spoken(last.text + block.text)  # cut by citations or by what was passed over
            else:
                said.append(Spoken(block.text))
        elif block.type in ("thinking", "redacted_thinking"):
            said.append(_thought(block))
        elif block.type == "tool_use":
            said.append(ToolCall(block.id or "", block.name or "", bytes(block.input).decode()))
    return tuple(said)


def error_message(body: bytes) -> str | None:
    """The vendor's own words in an error body; None where `body` is none."""
    try:
        message = _message.decode(body)
    except (ValueError, RecursionError):
        return None
    return words(message.error)


def _stop(reason: str | None) -> StopReason | None:
    return None if reason is None else _STOPS.get(reason, "stop")


def _thought(block: _Block) -> Reasoning:
    if block.type == "redacted_thinking":
        return Reasoning(redacted=block.data or "", format=SIGNATURE_FORMAT)
    return Reasoning(block.thinking or "", block.signature or "", format=SIGNATURE_FORMAT)


class MessageEventDecoder:
    """Reads one stream; see `EventDecoder`. Unknown events, blocks and deltas are passed over, as the vendor's documentation asks."""

    __slots__ = ("_calls", "_ended", "_frames", "_reasoning", "_spoken", "_usage", "_usage_now")

    def __init__(self) -> None:
        self._frames = FrameReader()
        self._calls: dict[int, int] = {}
        self._reasoning: dict[int, int] = {}
        self._spoken: dict[int, str] = {}
        self._usage = CumulativeUsage()
        self._usage_now = NO_USAGE
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """See `EventDecoder`. What comes after the end or after an error is not read."""
        events: list[Event] = []
        for frame in self._frames.feed(data):
            if not self._ended:
                events += self._frame(frame)
        return events

    def finish(self) -> list[Event]:
        """See `EventDecoder`."""
        events: list[Event] = []
        for frame in self._frames.tail():
            if self._ended:
                break
            try:
                events += self._frame(frame)
            except UpstreamFailed:
                break  # half a frame: the stream was cut there
        if not self._ended:
            raise UpstreamTruncated("the provider's stream ended without message_stop")
        return events

    def _frame(self, frame: Frame) -> list[Event]:
        try:
            event = _stream_event.decode(frame.data)
        except (ValueError, RecursionError) as error:
            raise unreadable(frame.data, "a stream event", error) from error
        match event.type or frame.event:
            case "content_block_delta":
                return self._delta(event)
            case "content_block_start":
                return self._block_start(event.index, event.content_block)
            case "content_block_stop":
                return self._block_stop(event.index)
            case "message_start":
                message = event.message or _Message()
                return [Started(text(message.id), text(message.model)), *self._usage_seen(message.usage)]
            case "message_delta":
                return [*self._stopped(event.delta), *self._usage_seen(event.usage)]
            case "message_stop":
                self._ended = True
            case "error":
                self._ended = True
                kind = members(event.error).get("type")
                return [Failed(words(event.error) or "the provider reported an error in its stream", text(kind)[:100] or "upstream_error")]
        return []

    def _block_start(self, index: int, block: _Block | None) -> list[Event]:
        match block:
            case _Block(type="text", text=str(shown)) if shown:
                return [TextDelta(shown)]
            case _Block(type="thinking" | "redacted_thinking"):
                number = self._reasoning[index] = len(self._reasoning)
                thought = _thought(block)
                return [ReasoningDelta(number, thought.text, thought.signature, thought.redacted, format=thought.format)]
            case _Block(type="tool_use"):
                number = self._calls[index] = len(self._calls)
                # What arrives whole is spoken at the block's end, unless pieces come: the start then only holds an empty object.
                self._spoken[index] = bytes(block.input).decode()
                return [ToolCallStarted(number, block.id or "", block.name or "")]
        return []

    def _delta(self, event: _StreamEvent) -> list[Event]:
        match event.delta:
            case _Delta(type="text_delta", text=str(shown)) if shown:
                return [TextDelta(shown)]
            case _Delta(type="input_json_delta", partial_json=str(piece)) if piece and event.index in self._calls:
                self._spoken.pop(event.index, None)
                return [ToolCallDelta(self._calls[event.index], piece)]
            case _Delta(type="thinking_delta", thinking=str(shown)) if shown and event.index in self._reasoning:
                return [ReasoningDelta(self._reasoning[event.index], shown)]
            case _Delta(type="signature_delta", signature=str(signature)) if signature and event.index in self._reasoning:
                return [ReasoningDelta(self._reasoning[event.index], signature=signature)]
        return []

    def _block_stop(self, index: int) -> list[Event]:
        arguments = self._spoken.pop(index, None)
        return [ToolCallDelta(self._calls[index], arguments or "{}")] if arguments is not None else []

    def _stopped(self, delta: _Delta | None) -> list[Event]:
        reason = _stop(delta.stop_reason) if delta else None
        if delta is None or reason is None:
            return []
        return [event for index in list(self._spoken) for event in self._block_stop(index)] + [Finished(reason, stop_sequence=delta.stop_sequence)]

    def _usage_seen(self, value: object) -> list[Event]:
        seen = self._usage.add(value)
        if not seen.reported or seen == self._usage_now:
            return []
        self._usage_now = seen
        return [UsageSeen(seen)]
