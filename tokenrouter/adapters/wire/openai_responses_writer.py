"""OpenAI Responses as it is written: whole answers, and streams whose every event strict clients check.

In a stream each item is announced, grows, and is said to be done; a message or a thought is done when another item begins, calls when the
answer ends, because some vendors send pieces of several calls in turns. There is no `[DONE]`: the last event holds the whole response.
Source: openai-python 3.52 `types/responses/*_event.py`, `lib/streaming/responses/_responses.py`.
"""

from collections.abc import Mapping
from typing import assert_never

import msgspec

from tokenrouter.adapters.sse import frame
from tokenrouter.adapters.wire.openai_responses_items import (
    Fields,
    ItemStatus,
    Spaces,
    call_item,
    call_item_id,
    document,
    ending,
    item_id,
    message_item,
    output_items,
    reasoning_id,
    reasoning_item,
    refusal_part,
    response_id,
    summary_part,
    text_part,
)
from tokenrouter.adapters.wire.openai_responses_usage import usage_to_wire
from tokenrouter.model.answer import (
    Answer,
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


def encode_answer(answer: Answer, echo: Mapping[str, object], spaces: Spaces) -> bytes:
    """A response object. `echo`: what it repeats of the request. This wire has one answer per response: the first."""
    name = response_id(answer.id, answer.model, answer.created_s)
    choice = answer.choices[0] if answer.choices else None
    status, details = ending(choice.stop if choice else None)
    output = output_items(name, choice, spaces) if choice else []
    more = {"output": output, "usage": usage_to_wire(answer.usage), "incomplete_details": details}
    return _encode(document(name, answer.model, answer.created_s, status, echo, **more))


def error_event(error: Mapping[str, object], number: int) -> bytes:
    """The event that ends a stream which went wrong: flat as the SDK types it, and as an object, which makes its plain reader raise.

    `error`: message, type, param and code as in an error body.
    """
    return frame(_encode({**error, "type": "error", "sequence_number": number, "error": error}), "error")


class _Message:
    """A message while it grows: `parts` are (is a refusal, words)."""

    def __init__(self, index: int, name: str) -> None:
        self.index, self.name = index, name
        self.parts: list[tuple[bool, list[str]]] = []

    def whole(self, status: ItemStatus) -> Fields:
        return message_item(self.name, [_part(refuses, "".join(words)) for refuses, words in self.parts], status)


class _Thought:
    """A reasoning block while it grows."""

    def __init__(self, index: int, name: str, block: int) -> None:
        self.index, self.name, self.block = index, name, block
        self.words: list[str] = []
        self.signature = self.redacted = self.format = self.id = ""

    def whole(self) -> Fields:
        return reasoning_item(self.name, Reasoning("".join(self.words), self.signature, self.redacted, self.format, self.id))


class _Call:
    """A call while it grows."""

    def __init__(self, index: int, name: str, call: ToolCall, spaces: Spaces) -> None:
        self.index, self.name, self.call, self.spaces = index, name, call, spaces
        self.words: list[str] = []
        self.done = False

    def whole(self, status: ItemStatus) -> Fields:
        return call_item(self.name, msgspec.structs.replace(self.call, arguments="".join(self.words)), status, self.spaces)


class ResponsesEventEncoder:
    """Writes one stream; see `EventEncoder`. Of several choices only the first is written."""

    __slots__ = ("_calls", "_created_s", "_echo", "_failed", "_model", "_name", "_number", "_open", "_output", "_spaces", "_stop", "_usage")

    def __init__(self, *, echo: Mapping[str, object], spaces: Spaces, created_s: int) -> None:
        """`echo`: what a response repeats of its request. `created_s`: used where the vendor named no time."""
        self._echo, self._spaces, self._created_s = echo, spaces, created_s
        self._name = self._model = ""
        self._number = 0
        self._output: list[Fields] = []
        self._open: _Message | _Thought | None = None
        self._calls: dict[int, _Call] = {}
        self._stop: str | None = None
        self._usage = NO_USAGE
        self._failed = False

    def encode(self, event: Event) -> bytes:
        """See `EventEncoder`."""
        if self._failed:
            return b""
        match event:
            case Started():
                return self._start(event)
            case UsageSeen():
                self._usage = event.usage
                return b""
            case Failed():
                self._failed = True
                return error_event({"message": event.message, "type": "api_error", "param": None, "code": event.code}, self._number)
            case TextDelta() | RefusalDelta() | ReasoningDelta() | ToolCallStarted() | ToolCallDelta() | Finished():
                return self._started() + self._said(event) if event.choice == 0 else b""
            case _:
                assert_never(event)

    def metadata(self, fields: Mapping[str, object]) -> bytes:
        """See `EventEncoder`: an event of its own, `x_tokenrouter`, before the last one."""
        if self._failed:
            return b""
        return frame(_encode({"type": "x_tokenrouter", "x_tokenrouter": fields}), "x_tokenrouter")

    def close(self) -> bytes:
        """See `EventEncoder`."""
        if self._failed:
            return b""
        head = self._started() + self._end_items()
        status, details = ending(self._stop)
        last = self._document(status, output=self._output, usage=usage_to_wire(self._usage), incomplete_details=details)
        return head + self._event(f"response.{status}", response=last)

    def _said(self, event: TextDelta | RefusalDelta | ReasoningDelta | ToolCallStarted | ToolCallDelta | Finished) -> bytes:
        match event:
            case TextDelta():
                return self._text(event.text, refuses=False)
            case RefusalDelta():
                return self._text(event.text, refuses=True)
            case ReasoningDelta():
                return self._reasoning(event)
            case ToolCallStarted():
                return self._end_open() + self._call(event)
            case ToolCallDelta():
                call = self._calls.get(event.index)
                return self._arguments(call, event.arguments) if call and not call.done else b""
            case Finished():
                self._stop = event.reason
                return self._end_items()

    def _start(self, event: Started) -> bytes:
        self._model = event.model
        self._created_s = event.created_s or self._created_s
        self._name = response_id(event.id, event.model, self._created_s)
        first = self._document("in_progress")
        return self._event("response.created", response=first) + self._event("response.in_progress", response=first)

    def _started(self) -> bytes:
        return b"" if self._name else self._start(Started("", ""))

    def _document(self, status: str, **more: object) -> Fields:
        return document(self._name, self._model, self._created_s, status, self._echo, **more)

    def _event(self, kind: str, **fields: object) -> bytes:
        number, self._number = self._number, self._number + 1
        return frame(_encode({"type": kind, "sequence_number": number, **fields}), kind)

    def _announce(self, item: Fields) -> bytes:
        """A new item in its place; its last form comes there later."""
        self._output.append(item)
        return self._event("response.output_item.added", output_index=len(self._output) - 1, item=item)

    def _done(self, index: int, item: Fields) -> bytes:
        self._output[index] = item
        return self._event("response.output_item.done", output_index=index, item=item)

    def _text(self, words: str, *, refuses: bool) -> bytes:
        out = b""
        message = self._open
        if not isinstance(message, _Message):
            out = self._end_open()
            message = self._open = _Message(len(self._output), item_id("msg", self._name, len(self._output)))
            out += self._announce(message.whole("in_progress"))
        if not message.parts or message.parts[-1][0] != refuses:
            out += self._end_part(message)
            message.parts.append((refuses, []))
            out += self._event("response.content_part.added", **_place(message), part=_part(refuses, ""))
        message.parts[-1][1].append(words)
        if refuses:
            return out + self._event("response.refusal.delta", **_place(message), delta=words)
        return out + self._event("response.output_text.delta", **_place(message), delta=words, logprobs=[])

    def _end_part(self, message: _Message) -> bytes:
        if not message.parts:
            return b""
        refuses, pieces = message.parts[-1]
        words = "".join(pieces)
        if refuses:
            out = self._event("response.refusal.done", **_place(message), refusal=words)
        else:
            out = self._event("response.output_text.done", **_place(message), text=words, logprobs=[])
        return out + self._event("response.content_part.done", **_place(message), part=_part(refuses, words))

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        out = b""
        thought = self._open
        if not isinstance(thought, _Thought) or thought.block != event.block:
            out = self._end_open()
            index = len(self._output)
            thought = self._open = _Thought(index, reasoning_id(event.id, self._name, index), event.block)
            out += self._announce({"id": thought.name, "type": "reasoning", "summary": []})
        thought.signature += event.signature
        thought.redacted += event.redacted
        thought.format, thought.id = thought.format or event.format, thought.id or event.id
        if not event.text:
            return out
        place = {"item_id": thought.name, "output_index": thought.index, "summary_index": 0}
        if not thought.words:
            out += self._event("response.reasoning_summary_part.added", **place, part=summary_part(""))
        thought.words.append(event.text)
        return out + self._event("response.reasoning_summary_text.delta", **place, delta=event.text)

    def _end_open(self, status: ItemStatus = "completed") -> bytes:
        """The message or thought that grows is done."""
        item, self._open = self._open, None
        match item:
            case None:
                return b""
            case _Message():
                return self._end_part(item) + self._done(item.index, item.whole(status))
            case _Thought():
                out, words = b"", "".join(item.words)
                if words:
                    place = {"item_id": item.name, "output_index": item.index, "summary_index": 0}
                    out += self._event("response.reasoning_summary_text.done", **place, text=words)
                    out += self._event("response.reasoning_summary_part.done", **place, part=summary_part(words))
                return out + self._done(item.index, item.whole())

    def _call(self, event: ToolCallStarted) -> bytes:
        known = ToolCall(event.id, event.name, "", event.custom)
        index = len(self._output)
        call = self._calls[event.index] = _Call(index, call_item_id(known, self._name, index), known, self._spaces)
        return self._announce(call.whole("in_progress"))

    def _arguments(self, call: _Call, words: str) -> bytes:
        call.words.append(words)
        kind = "custom_tool_call_input" if call.call.custom else "function_call_arguments"
        return self._event(f"response.{kind}.delta", item_id=call.name, output_index=call.index, delta=words)

    def _end_items(self) -> bytes:
        """Everything that is still open is done; the last item is incomplete where a limit cut it off."""
        cut = self._stop == "length"
        out = self._end_open("incomplete" if cut and self._open is not None and self._open.index == len(self._output) - 1 else "completed")
        for call in self._calls.values():
            if not call.done:
                out += self._end_call(call, "incomplete" if cut and call.index == len(self._output) - 1 else "completed")
        return out

    def _end_call(self, call: _Call, status: ItemStatus) -> bytes:
        call.done = True
        out = b""
        if not call.words and not call.call.custom:
            out = self._arguments(call, "{}")
        item = call.whole(status)
        place = {"item_id": call.name, "output_index": call.index}
        if call.call.custom:
            out += self._event("response.custom_tool_call_input.done", **place, input=item["input"])
        else:
            out += self._event("response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"])
        return out + self._done(call.index, item)


def _place(message: _Message) -> Fields:
    return {"item_id": message.name, "output_index": message.index, "content_index": len(message.parts) - 1}


def _part(refuses: bool, words: str) -> Fields:
    return refusal_part(words) if refuses else text_part(words)
