"""OpenAI Responses as it is read: whole answers and streams.

Items become blocks in their order. What an item's last event says is the truth: whatever no delta brought is made up for there, so a
server that sends no deltas, or only a final response, is understood as well. Items of tools that the vendor runs itself are passed over.
Source: openai-python 3.52 `types/responses/`; https://developers.openai.com/api/reference/resources/responses/streaming-events.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from tokenrouter.adapters.sse import Frame, FrameReader
from tokenrouter.adapters.wire.openai_chat import error_message
from tokenrouter.adapters.wire.openai_responses_usage import usage_from_wire
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
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
    fold,
)

__all__ = ("MAX_EVENT", "REASONING_FORMAT", "ResponsesEventDecoder", "decode_answer", "error_message", "failure_words", "usage_from_wire")

REASONING_FORMAT: Final = "openai-responses-v1"
"""`Reasoning.format` of encrypted content that only this vendor can open."""

MAX_EVENT = 16 << 20
"""Bytes of one event. The last one repeats the whole answer, and the request's instructions and tools with it."""

_EXPECTED = "a response object"
_DELTAS: Final[Mapping[str, str]] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "summary",
    "response.reasoning_text.delta": "content",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "arguments",
}
"""What an event brings more of."""

_ITEM_OF: Final[Mapping[str, str]] = {"text": "message", "refusal": "message", "summary": "reasoning", "content": "reasoning"}
_CALL_TEXT: Final[Mapping[str, str]] = {"function_call": "arguments", "custom_tool_call": "input"}
_INCOMPLETE: Final[Mapping[str, StopReason]] = {"content_filter": "content_filter"}
"""Any other reason means that there would have been more: `max_output_tokens`, `max_messages`, `steered`."""


class _Event(msgspec.Struct):
    type: str = ""
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    item: object = None
    response: object = None
    message: object = None
    code: object = None
    error: object = None


_event = msgspec.json.Decoder(_Event)


class _Item:
    """One output item while it grows. `number`: of the reasoning block or call; `said`: what came of each part."""

    __slots__ = ("begun", "id", "last", "number", "said")

    def __init__(self, number: int) -> None:
        self.number = number
        self.id = ""
        self.begun = False
        self.last: tuple[str, int] | None = None
        self.said: dict[tuple[str, int], list[str]] = {}


class _Reader:
    """What one answer has said so far."""

    __slots__ = ("_calls", "_done", "_items", "_last", "_reasoning", "_started", "failed", "finished")

    def __init__(self) -> None:
        self._items: dict[int, _Item] = {}
        self._done: set[int] = set()
        self._last = 0
        self._calls = self._reasoning = 0
        self._started = False
        self.finished = self.failed = False

    def read(self, event: _Event) -> list[Event]:
        """The events of the model for one of the wire."""
        events: list[Event] = []
        kind = event.type
        if kind in _DELTAS:
            self._start({}, events)
            index = self._index(event)
            item = self._item(index, _ITEM_OF.get(_DELTAS[kind], ""))
            place = event.summary_index if _DELTAS[kind] == "summary" else event.content_index
            if event.delta:
                self._more(item, _DELTAS[kind], place or 0, event.delta, events)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._start({}, events)
            self._whole(self._index(event), members(event.item), events, ended=kind.endswith("done"))
        elif kind in ("response.completed", "response.incomplete"):
            self.end(members(event.response), events)
        elif kind in ("response.failed", "response.cancelled", "error"):
            self.failed = True
            events.append(_failed(event))
        elif event.response is not None:  # created, queued, in progress
            self._start(members(event.response), events)
        return events

    def end(self, response: Mapping[str, object], events: list[Event]) -> None:
        """The whole response: what is still missing of its items, its usage, and why it ended."""
        self._start(response, events)
        output = response.get("output")
        for index, item in enumerate(output if isinstance(output, list) else []):
            if index not in self._done:
                self._whole(index, members(item), events, ended=True)
        usage = usage_from_wire(response.get("usage"), response.get("service_tier"))
        if usage.reported:
            events.append(UsageSeen(usage))
        self.finished = True
        reason = text(members(response.get("incomplete_details")).get("reason"))
        incomplete = response.get("status") == "incomplete" or bool(reason)
        events.append(Finished(_INCOMPLETE.get(reason, "length") if incomplete else "tool_calls" if self._calls else "stop"))

    def _start(self, response: Mapping[str, object], events: list[Event]) -> None:
        if not self._started:
            self._started = True
            events.append(Started(text(response.get("id")), text(response.get("model")), _epoch(response.get("created_at"))))

    def _index(self, event: _Event) -> int:
        if event.output_index is not None:
            self._last = event.output_index
        return self._last

    def _item(self, index: int, kind: str) -> _Item:
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item(self._reasoning)
            self._reasoning += kind == "reasoning"
        return item

    def _whole(self, index: int, value: Mapping[str, object], events: list[Event], *, ended: bool) -> None:
        """An item as it is announced, or as it has become."""
        kind = text(value.get("type"))
        item = self._item(index, kind)
        if kind in _CALL_TEXT:
            self._call(item, value, kind, events, ended=ended)
        elif kind == "message" and ended:
            self._parts(item, value.get("content"), {"output_text": "text", "refusal": "refusal"}, events)
        elif kind == "reasoning" and not ended:
            item.id = text(value.get("id"))
        elif kind == "reasoning":
            item.id = text(value.get("id"))
            self._parts(item, value.get("summary"), {"summary_text": "summary"}, events)
            self._parts(item, value.get("content"), {"reasoning_text": "content"}, events)
            if sealed := text(value.get("encrypted_content")):
                events.append(ReasoningDelta(item.number, redacted=sealed, format=REASONING_FORMAT, id=text(value.get("id"))))
        if ended:
            self._done.add(index)
            item.said.clear()

    def _call(self, item: _Item, value: Mapping[str, object], kind: str, events: list[Event], *, ended: bool) -> None:
        if not item.begun:
            item.begun = True
            item.number = self._calls
            self._calls += 1
            call_id = text(value.get("call_id")) or text(value.get("id"))
            events.append(ToolCallStarted(item.number, call_id, text(value.get("name")), custom=kind == "custom_tool_call"))
        if ended:
            self._rest(item, "arguments", 0, text(value.get(_CALL_TEXT[kind])), events)

    def _parts(self, item: _Item, parts: object, kinds: Mapping[str, str], events: list[Event]) -> None:
        for place, value in enumerate(parts if isinstance(parts, list) else []):
            part = members(value)
            kind = kinds.get(text(part.get("type")))
            if kind is not None:
                self._rest(item, kind, place, text(part.get("refusal" if kind == "refusal" else "text")), events)

    def _rest(self, item: _Item, kind: str, place: int, whole: str, events: list[Event]) -> None:
        said = "".join(item.said.get((kind, place), ()))
        if len(whole) > len(said) and whole.startswith(said):
            self._more(item, kind, place, whole[len(said) :], events)

    def _more(self, item: _Item, kind: str, place: int, words: str, events: list[Event]) -> None:
        if kind == "arguments":
            if not item.begun:
                return  # a call that was never announced: its last event says everything
            events.append(ToolCallDelta(item.number, words))
        elif kind == "text":
            events.append(TextDelta(words))
        elif kind == "refusal":
            events.append(RefusalDelta(words))
        else:
            parted = item.last is not None and item.last != (kind, place)  # parts of a summary are paragraphs
            first = item.last is None
            shown = "\n\n" + words if parted else words
            events.append(ReasoningDelta(item.number, shown, format=REASONING_FORMAT if first else "", id=item.id if first else ""))
        item.last = (kind, place)
        item.said.setdefault((kind, place), []).append(words)


def failure_words(event: Mapping[str, object]) -> tuple[str, str]:
    """Message and code of a decoded `error` event or failed response, wherever they stand in it."""
    response = members(event.get("response"))
    for error in (response.get("error"), event.get("error"), event):
        if said := words(error):
            code = members(error).get("code") or members(error).get("type")
            return said, code[:100] if isinstance(code, str) else "upstream_error"
    return "the provider reported an error in its stream", "upstream_error"


def _failed(event: _Event) -> Failed:
    return Failed(*failure_words({"response": event.response, "error": event.error, "message": event.message, "code": event.code}))


class ResponsesEventDecoder:
    """Reads one stream; see `EventDecoder`."""

    __slots__ = ("_frames", "_reader")

    def __init__(self) -> None:
        self._frames = FrameReader(MAX_EVENT)
        self._reader = _Reader()

    def feed(self, data: bytes) -> list[Event]:
        """See `EventDecoder`. What comes after the last event or an error is not read."""
        events: list[Event] = []
        for frame in self._frames.feed(data):
            events += self._frame(frame)
        return events

    def finish(self) -> list[Event]:
        """See `EventDecoder`."""
        events: list[Event] = []
        for frame in self._frames.tail():
            try:
                events += self._frame(frame)
            except UpstreamFailed:
                break  # half a frame: the stream was cut there
        if not self._reader.finished and not self._reader.failed:
            raise UpstreamTruncated("the provider's stream ended without its last event")
        return events

    def _frame(self, frame: Frame) -> list[Event]:
        if self._reader.finished or self._reader.failed or frame.data.strip() == b"[DONE]":
            return []
        try:
            event = _event.decode(frame.data)
        except (ValueError, RecursionError) as error:
            raise unreadable(frame.data, "an event of a response", error) from error
        event.type = event.type or frame.event
        return self._reader.read(event)


def decode_answer(body: bytes) -> Answer:
    """A whole answer.

    Raises:
        UpstreamFailed: `body` is no finished response, or is an error that came with a good status.
    """
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, _EXPECTED, error) from error
    response = members(value)
    status = response.get("status")
    if response.get("error") is not None or status in ("failed", "cancelled"):
        raise UpstreamFailed(words(response.get("error")) or f"the provider's answer is {status or 'an error'}")
    if not isinstance(response.get("output"), list):
        raise unreadable(body, _EXPECTED)
    if status in ("queued", "in_progress"):
        raise UpstreamFailed(f"the provider's answer is {status}, not finished")
    events: list[Event] = []
    _Reader().end(response, events)
    return fold(events)


def _epoch(value: object) -> int:
    """Unix seconds, which this wire types as a number with a fraction."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 40 else 0
