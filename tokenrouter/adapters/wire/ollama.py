"""Ollama as it is read: whole answers and streams of `/api/chat` and `/api/generate`, vectors, errors.

A stream is one JSON object a line; the last one has `done` and the counts, an error in the middle is a line with `error`. Servers before
0.13 give tool calls no id and no index. What a prompt cache saved is not told; servers of 2024 leave `prompt_eval_count` out where the
whole prompt was cached.
Source: https://github.com/ollama/ollama `api/types.go`, `server/routes.go`; ollama-python 0.6 `_types.py`.
"""

import re
from datetime import datetime
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec

from tokenrouter.adapters.ndjson import LineReader
from tokenrouter.adapters.wire.reading import count, text, unreadable, words
from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import (
    Answer,
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    Started,
    StopReason,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
    fold,
)
from tokenrouter.model.embedding import Embeddings
from tokenrouter.model.usage import NO_USAGE, Usage

_EXPECTED: Final = "an answer of Ollama"
_STOPS: Final[dict[str, StopReason]] = {"length": "length", "content_filter": "content_filter"}
"""The rest (stop, load, unload, words to come, none at all) is a natural end. `content_filter` is our own word for other vendors' answers."""


class _Function(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Call(msgspec.Struct):
    function: _Function
    id: object = None


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class Line(msgspec.Struct):
    """A line of a stream, or a whole answer, of either endpoint. What is cosmetic is typed loosely: a good answer must not fail on it."""

    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    model: object = None
    created_at: object = None
    done: bool = False
    done_reason: object = None
    prompt_eval_count: object = None
    eval_count: object = None
    error: object = None


_line = msgspec.json.Decoder(Line)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


def read_line(data: bytes) -> Line:
    """Raises UpstreamFailed where `data` is no such object."""
    try:
        return _line.decode(data)
    except (ValueError, RecursionError) as error:
        raise unreadable(data, _EXPECTED, error) from error


def usage_of(line: Line) -> Usage:
    """What the last line tells; `NO_USAGE` where it tells nothing."""
    prompt, output = count(line.prompt_eval_count), count(line.eval_count)
    if prompt is None and output is None:
        return NO_USAGE
    return Usage(fresh_input=prompt or 0, output=output or 0, cache_reported=False)


def failure_of(line: Line) -> str:
    """The vendor's words in a line with an error."""
    return words(line.error) or "the provider reported an error"


def came_to_a_natural_end(line: Line) -> bool:
    """Whether another caller would want this end too. Loading a model is none: nobody who asks for that wants to be told of another's."""
    return line.done and line.done_reason in (None, "", "stop")


class _Reader:
    """What one answer has said so far."""

    __slots__ = ("_calls", "_origin", "_thinking", "_thoughts")

    def __init__(self) -> None:
        self._origin: str | None = None
        self._calls = 0
        self._thoughts = 0
        self._thinking = False

    def read(self, line: Line) -> list[Event]:
        """The events of one line, or of a whole answer."""
        events: list[Event] = []
        if self._origin is None:
            # There is no id on this wire; the time has nine decimals, so no two answers share it.
            said = f"{text(line.model)}\x00{text(line.created_at)}".encode("utf-8", "replace")
            self._origin = "ollama-" + blake2b(said, digest_size=12).hexdigest()
            events.append(Started(self._origin, text(line.model), _epoch(text(line.created_at))))
        message = line.message or _Message(line.response, line.thinking)
        if message.thinking:
            self._thoughts += not self._thinking
            events.append(ReasoningDelta(self._thoughts - 1, message.thinking))
        if message.content:
            events.append(TextDelta(message.content))
        self._thinking = bool(message.thinking or (self._thinking and not message.content)) and not message.tool_calls
        for call in message.tool_calls or ():
            name = call.function.name
            events.append(ToolCallStarted(self._calls, text(call.id) or self._made_up(self._calls), name))
            events.append(ToolCallDelta(self._calls, bytes(call.function.arguments).decode()))
            self._calls += 1
        if line.done:
            usual: StopReason = "tool_calls" if self._calls else "stop"
            events.append(Finished(_STOPS.get(text(line.done_reason), usual)))
            if (usage := usage_of(line)).reported:
                events.append(UsageSeen(usage))
        return events

    def _made_up(self, number: int) -> str:
        """An id for a call that came without: the same whenever the same answer is read."""
        return "call_" + blake2b(f"{self._origin}:{number}".encode(), digest_size=12).hexdigest()


def _epoch(spelled: str) -> int:
    """Unix seconds of a time as Go writes it; 0 where it is none."""
    match = _TIME.fullmatch(spelled)
    try:
        return int(datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")).timestamp()) if match else 0
    except ValueError:
        return 0


class OllamaEventDecoder:
    """Reads one stream; see `EventDecoder`."""

    __slots__ = ("_ended", "_lines", "_reader")

    def __init__(self) -> None:
        self._lines = LineReader()
        self._reader = _Reader()
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """See `EventDecoder`. What comes after the last line or after an error is not read."""
        events: list[Event] = []
        for line in self._lines.feed(data):
            events += self._read(line)
        return events

    def finish(self) -> list[Event]:
        """See `EventDecoder`. The last line may lack its line end."""
        rest = self._lines.tail()
        try:
            events = self._read(rest)
        except UpstreamFailed:
            events = []  # half a line: the stream was cut there
        if not self._ended:
            raise UpstreamTruncated("the provider's stream ended before its last line")
        return events

    def _read(self, data: bytes) -> list[Event]:
        if self._ended or not data.strip():
            return []
        line = read_line(data)
        self._ended = line.done or line.error is not None
        if line.error is not None:
            return [Failed(failure_of(line))]
        return self._reader.read(line)


def decode_answer(body: bytes) -> Answer:
    """A whole answer.

    Raises:
        UpstreamFailed: `body` is no answer, or an error that came with a good status.
    """
    return fold(_Reader().read(read_whole(body)))


def read_whole(body: bytes) -> Line:
    """A whole answer as it stands on the wire. Raises the same."""
    line = read_line(body)
    if line.error is not None:
        raise UpstreamFailed(failure_of(line))
    if not line.done or (line.message is None and line.response is None):
        raise unreadable(body, _EXPECTED)
    return line


class _Vectors(msgspec.Struct):
    embeddings: list[list[float]] | None = None
    model: object = None
    prompt_eval_count: object = None
    error: object = None


class _SeenVectors(msgspec.Struct):
    """As much of the same as tells that it is one; the vectors are not built."""

    embeddings: list[msgspec.Raw] | None = None
    prompt_eval_count: object = None
    error: object = None


_Rows = TypeVar("_Rows", _Vectors, _SeenVectors)
_vectors = msgspec.json.Decoder(_Vectors)
_seen_vectors = msgspec.json.Decoder(_SeenVectors)
_ROWS: Final = "embeddings of Ollama"


def decode_vectors(body: bytes) -> Embeddings:
    """The answer of `/api/embed`. Raises UpstreamFailed where it is none."""
    found = _checked(body, _vectors)
    return Embeddings(text(found.model), tuple([tuple(row) for row in found.embeddings or ()]), _vector_usage(found))


def vectors_verdict(body: bytes) -> Usage:
    """Usage in the answer of `/api/embed`. Raises UpstreamFailed where it is none."""
    return _vector_usage(_checked(body, _seen_vectors))


def _checked(body: bytes, decoder: msgspec.json.Decoder[_Rows]) -> _Rows:
    try:
        found = decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, _ROWS, error) from error
    if found.error is not None:
        raise UpstreamFailed(words(found.error) or "the provider answered with an error")
    if found.embeddings is None:
        raise unreadable(body, _ROWS)
    return found


def _vector_usage(found: _Vectors | _SeenVectors) -> Usage:
    tokens = count(found.prompt_eval_count)
    return NO_USAGE if tokens is None else Usage(fresh_input=tokens, cache_reported=False)


class _Error(msgspec.Struct):
    error: object = None


_error = msgspec.json.Decoder(_Error)


def error_message(body: bytes) -> str | None:
    """The vendor's own words in an error body."""
    try:
        return words(_error.decode(body).error)
    except (ValueError, RecursionError):
        return None
