"""OpenAI Chat Completions as it is read: whole answers and streams, of OpenAI and of the many who speak its wire.

Clones differ in small things, all of them tolerated here: missing ids, `null` where a list belongs, usage in several places, three
spellings of reasoning, tool-call pieces without an index or with the same index for every call, a stream that ends without `[DONE]`.
Source: openai-python 3.52 `types/chat/`, OpenRouter's reference on `reasoning_details`, Mistral's on content parts.
"""

from typing import Final

import msgspec

from tokenrouter.adapters.sse import Frame, FrameReader
from tokenrouter.adapters.wire.openai_chat_calls import GEMINI_FORMAT, CallPiece, CallReader
from tokenrouter.adapters.wire.openai_chat_usage import usage_from_wire, usage_of
from tokenrouter.adapters.wire.openai_chat_writer import ChatEventEncoder, encode_answer
from tokenrouter.adapters.wire.reading import members, text, unreadable, words
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import (
    Answer,
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Started,
    StopReason,
    TextDelta,
    UsageSeen,
    fold,
)
from tokenrouter.model.usage import NO_USAGE

__all__ = (
    "ChatEventDecoder",
    "ChatEventEncoder",
    "decode_answer",
    "encode_answer",
    "error_message",
    "usage_from_wire",
    "usage_of",
)

_EXPECTED = "a chat completion"

_STOPS: Final[dict[str, StopReason]] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}
"""Words that clones use; any other word ("stop", "eos", "end_turn") is a natural end."""

_ONE_ITEM = frozenset(("openai-responses-v1", "xai-responses-v1"))
"""Formats whose readable and encrypted halves have one id between them."""

_BROKEN = frozenset(("error", "insufficient_system_resource"))
"""Finish reasons of OpenRouter and DeepSeek for an answer that their own side broke off."""


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: object = None


class _Detail(msgspec.Struct):
    type: str = ""
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    summary: str | None = None
    format: str | None = None
    id: str | None = None
    index: int | None = None


class _Said(msgspec.Struct):
    """A message, or a delta of one."""

    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[_Detail] | None = None
    tool_calls: list[CallPiece] | None = None


class _Choice(msgspec.Struct):
    index: int | None = None
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None
    usage: object = None
    error: object = None


class _Body(msgspec.Struct):
    """A whole answer or one chunk. What is cosmetic is typed loosely: a good answer must not fail on it."""

    id: object = None
    model: object = None
    created: object = None
    choices: list[_Choice] | None = None
    usage: object = None
    service_tier: object = None
    x_groq: object = None
    error: object = None


_body = msgspec.json.Decoder(_Body)


class _ChoiceReader:
    """What one choice has said so far, as far as the next piece needs it."""

    __slots__ = ("_blocks", "_calls", "_choice", "_signed", "finished")

    def __init__(self, origin: str, choice: int) -> None:
        self._choice = choice
        self._signed: set[str] = set()
        self._calls = CallReader(origin, choice)
        self._blocks: dict[tuple[str, int], int] = {}
        self.finished = False

    def read(self, choice: _Choice) -> list[Event]:
        events: list[Event] = []
        said = choice.delta or choice.message
        if said is not None:
            whole = choice.message is not None
            bound = self._reasoning(said, events, {piece.id for piece in said.tool_calls or () if piece.id} if whole else set())
            self._visible(said, events)
            for place, piece in enumerate(said.tool_calls or ()):
                if whole:
                    piece.index = place  # in a whole message every entry is a call of its own
                called = self._calls.read(piece)
                events += bound.pop(piece.id or "", [])
                if piece.signature and piece.id not in self._signed:
                    events.append(self._calls.signed(piece, self._block("call", len(self._blocks))))
                events += called
        if choice.error is not None or choice.finish_reason in _BROKEN:
            events.append(_failed(choice.error, "the provider broke off its answer"))
        elif choice.finish_reason and not self.finished:
            self.finished = True
            events += self._calls.flush()
            events.append(Finished(_STOPS.get(choice.finish_reason.lower(), "stop"), self._choice))
        return events

    def _visible(self, said: _Said, events: list[Event]) -> None:
        content = said.content
        if isinstance(content, str):
            if content:
                events.append(TextDelta(content, self._choice))
        elif content:
            for part in content:
                if part.text:
                    events.append(TextDelta(part.text, self._choice))
                elif part.thinking:
                    events.append(ReasoningDelta(self._block("text", 0), _thinking(part.thinking), choice=self._choice))
        if said.refusal:
            events.append(RefusalDelta(said.refusal, self._choice))

    def _reasoning(self, said: _Said, events: list[Event], calls: set[str]) -> dict[str, list[Event]]:
        """Reasoning of a piece. Signatures over one of `calls` are returned instead, by its id: they stand in front of their call."""
        bound: dict[str, list[Event]] = {}
        # OpenRouter says the same thing twice, as `reasoning` and as details; the details carry the signature.
        if said.reasoning_details:
            for place, detail in enumerate(said.reasoning_details):
                event = self._detail(detail, place)
                if event.format == GEMINI_FORMAT and event.id:
                    self._signed.add(event.id)
                if event.id and event.id in calls:
                    bound.setdefault(event.id, []).append(event)
                else:
                    events.append(event)
        elif plain := said.reasoning_content or said.reasoning:
            events.append(ReasoningDelta(self._block("text", 0), plain, choice=self._choice))
        return bound

    def _detail(self, detail: _Detail, place: int) -> ReasoningDelta:
        index = place if detail.index is None else detail.index
        form = detail.format if detail.format and detail.format != "unknown" else ""
        data, signature, own_id = detail.data or "", detail.signature or "", detail.id or ""
        if form == GEMINI_FORMAT and data and own_id:
            data, signature = "", data  # Google's signature, with the id of the call that it is over
        kind = "text" if detail.data is None else "data"
        if form in _ONE_ITEM and own_id:
            kind, index = f"item {own_id}", 0  # a summary and its encrypted content are one block of the vendor's
        block = self._block(kind, index)
        return ReasoningDelta(block, detail.text or detail.summary or "", signature, data, self._choice, form, own_id)

    def _block(self, kind: str, index: int) -> int:
        return self._blocks.setdefault((kind, index), len(self._blocks))


def _thinking(value: object) -> str:
    """Mistral's thinking part: text, or a list of text parts."""
    parts = value if isinstance(value, list) else [value]
    return "".join(part if isinstance(part, str) else text(members(part).get("text")) for part in parts)


def _failed(error: object, otherwise: str) -> Failed:
    code = members(error).get("code") or members(error).get("type")
    return Failed(words(error) or otherwise, str(code)[:100] if isinstance(code, str | int) else "upstream_error")


class _Reader:
    """What one answer has said so far."""

    __slots__ = ("_choices", "_origin", "_tier", "_usage", "failed")

    def __init__(self) -> None:
        self._choices: dict[int, _ChoiceReader] = {}
        self._origin: str | None = None
        self._tier: object = None
        self._usage = NO_USAGE
        self.failed = False

    @property
    def finished(self) -> bool:
        """A finish reason was seen."""
        return any(choice.finished for choice in self._choices.values())

    def read(self, body: _Body) -> list[Event]:
        """The events of a chunk, or of a whole answer."""
        events: list[Event] = []
        if self._origin is None:
            self._origin = text(body.id)
            events.append(Started(self._origin, text(body.model), _epoch(body.created)))
        usage = body.usage if body.usage is not None else members(body.x_groq).get("usage")
        self._tier = self._tier if body.service_tier is None else body.service_tier
        for choice in body.choices or ():
            number = choice.index or 0
            reader = self._choices.get(number)
            if reader is None:
                reader = self._choices[number] = _ChoiceReader(self._origin, number)
            events += reader.read(choice)
            usage = choice.usage if usage is None else usage
        if usage is not None and (seen := usage_from_wire(usage, self._tier)).reported and seen != self._usage:
            self._usage = seen
            events.append(UsageSeen(seen))
        self.failed = self.failed or any(isinstance(event, Failed) for event in events)
        return events


class ChatEventDecoder:
    """Reads one stream; see `EventDecoder`."""

    __slots__ = ("_ended", "_frames", "_reader")

    def __init__(self) -> None:
        self._frames = FrameReader()
        self._reader = _Reader()
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """See `EventDecoder`. What comes after `[DONE]` or after an error is not read."""
        events: list[Event] = []
        for frame in self._frames.feed(data):
            events += self._frame(frame)
        return events

    def finish(self) -> list[Event]:
        """See `EventDecoder`. A stream without `[DONE]` is whole when a finish reason was seen."""
        events: list[Event] = []
        for frame in self._frames.tail():
            try:
                events += self._frame(frame)
            except UpstreamFailed:
                break  # half a frame: the stream was cut there
        if not self._ended and not self._reader.finished:
            raise UpstreamTruncated("the provider's stream ended without a finish reason")
        return events

    def _frame(self, frame: Frame) -> list[Event]:
        if self._ended:
            return []
        if frame.data.strip() == b"[DONE]":
            self._ended = True
            return []
        try:
            body = _body.decode(frame.data)
        except (ValueError, RecursionError) as error:
            raise unreadable(frame.data, "a chat completion chunk", error) from error
        if body.error is not None or frame.event == "error":
            self._ended = True
            return [_failed(body.error, "the provider reported an error in its stream")]
        events = self._reader.read(body)
        self._ended = self._reader.failed
        return events


def decode_answer(body: bytes) -> Answer:
    """A whole answer. It is read as a stream of one chunk, so that both forms are understood alike.

    Raises:
        UpstreamFailed: `body` is not a chat completion, or is an error that came with a good status.
    """
    try:
        whole = _body.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, _EXPECTED, error) from error
    if whole.error is not None:
        raise UpstreamFailed(words(whole.error) or "the provider answered with an error")
    events = _Reader().read(whole)
    for event in events:
        if isinstance(event, Failed):
            raise UpstreamFailed(event.message)
    answer = fold(events)
    if not answer.choices:
        raise unreadable(body, _EXPECTED)
    return answer


def _epoch(value: object) -> int:
    """Unix seconds; some servers send them as a float, some send nonsense."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 40 else 0


class _ErrorBody(msgspec.Struct):
    error: object = None
    message: object = None
    detail: object = None


_error_body = msgspec.json.Decoder(_ErrorBody)


def error_message(body: bytes) -> str | None:
    """The vendor's own words in an error body: OpenAI's `error.message`, or the bare `error`, `message` or `detail` of clones."""
    try:
        found = _error_body.decode(body)
    except (ValueError, RecursionError):
        return None
    return words(found.error) or words(found.message) or words(found.detail)
