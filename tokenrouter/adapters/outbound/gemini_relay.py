"""The tap on a generateContent stream that goes to a client of the same dialect, in both framings: bytes pass unchanged, facts are read off.

Only whole events, or whole elements of the array, are passed on, so that an error can always follow as one of its own. The stream has no
marker at its end: it is whole when every candidate has a finish reason and the bytes are at their end (the array's bracket is closed).
"""

import re
from typing import Protocol

import msgspec

from tokenrouter.adapters.json_elements import MAX_ELEMENT, ElementReader
from tokenrouter.adapters.wire.gemini_usage import usage_from_wire
from tokenrouter.adapters.wire.reading import members, words
from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.usage import NO_USAGE, Usage

_FRAME = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_GOOD_ENDS = frozenset(("STOP",))
_NOT_ENDED = frozenset((None, "", "FINISH_REASON_UNSPECIFIED"))

# What a kept answer could not say again in another form: pictures, code that the vendor ran, sources, probabilities, calls in pieces.
_ONLY_ONCE = re.compile(
    rb'"(?:inlineData|fileData|executableCode|codeExecutionResult|toolCall|toolResponse|partialArgs|willContinue|logprobsResult'
    rb'|citationMetadata|groundingMetadata|urlContextMetadata)"\s*:'
)


class _Candidate(msgspec.Struct):
    index: int | None = None
    finishReason: str | None = None  # noqa: N815  # the wire's own names, here and below


class _Chunk(msgspec.Struct):
    candidates: list[_Candidate] | None = None
    promptFeedback: object = None  # noqa: N815
    usageMetadata: object = None  # noqa: N815
    error: object = None


_chunk = msgspec.json.Decoder(_Chunk)


class _Facts:
    """What the chunks of one answer say about it."""

    __slots__ = ("_ends", "_once", "blocked", "failure", "usage")

    def __init__(self) -> None:
        self._ends: dict[int, str | None] = {}
        self._once = False
        self.blocked = False
        self.failure: str | None = None
        self.usage: Usage = NO_USAGE

    def read(self, data: bytes) -> None:
        """One chunk, or a whole answer. Raises UpstreamFailed where it is neither."""
        try:
            seen = _chunk.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamFailed("the provider sent something that is no generateContent answer") from error
        if seen.error is not None:
            self.failure = words(seen.error) or "the provider reported an error"
            return
        for place, candidate in enumerate(seen.candidates or ()):
            number = place if candidate.index is None else candidate.index
            ended = candidate.finishReason not in _NOT_ENDED
            self._ends[number] = candidate.finishReason if ended else self._ends.get(number)
        self.blocked = self.blocked or (not self._ends and bool(members(seen.promptFeedback).get("blockReason")))
        self._once = self._once or _ONLY_ONCE.search(data) is not None
        if (usage := usage_from_wire(seen.usageMetadata)).reported:
            self.usage = usage

    def finished(self, choices: int) -> bool:
        """Every candidate that was asked for, and every one that came, is at its end."""
        return self.blocked or (len(self._ends) >= choices and all(end is not None for end in self._ends.values()))

    @property
    def reusable(self) -> bool:
        """Another caller would want it too, and it can be given in every form."""
        return bool(self._ends) and not self.blocked and not self._once and all(end in _GOOD_ENDS for end in self._ends.values())

    @property
    def empty(self) -> bool:
        """There is no candidate, and no word on why."""
        return not self._ends and not self.blocked


def verdict(body: bytes) -> tuple[Usage, bool]:
    """Usage of a whole answer, and whether it may be given again.

    Raises:
        UpstreamFailed: a 200 with an error inside, or with something that is no answer.
    """
    facts = _Facts()
    facts.read(body)
    if facts.failure is not None:
        raise UpstreamFailed(f"the provider answered 200 with an error: {facts.failure}")
    if facts.empty:
        raise UpstreamFailed("the provider answered 200 without any candidate")
    return facts.usage, facts.reusable


class _Framing(Protocol):
    """Cuts bytes into chunks that pass as they came."""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """(bytes as they came, the chunk in them; empty where there is none)."""
        ...

    def close(self) -> list[tuple[bytes, bytes]]:
        """The same for what is left over."""
        ...

    @property
    def end(self) -> bytes | None:
        """What closes the stream; None where it was not closed."""
        ...


class _Events:
    end = b""

    def __init__(self) -> None:
        self._tail = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        searched = max(0, len(self._tail) - 3)
        self._tail += data
        if _FRAME.search(self._tail, searched) is None:
            self._bound()
            return []
        data, found, start = bytes(self._tail), [], 0
        for match in _FRAME.finditer(data):
            frame = data[start : match.end()]
            start = match.end()
            found.append((frame, _payload(frame)))
        self._tail = bytearray(data[start:])
        self._bound()
        return found

    def close(self) -> list[tuple[bytes, bytes]]:
        """Some servers forget the last blank line."""
        tail, self._tail = bytes(self._tail), bytearray()
        return [(tail.rstrip(b"\r\n") + b"\r\n\r\n", payload)] if tail.strip() and (payload := _payload(tail)) else []

    def _bound(self) -> None:
        if len(self._tail) > MAX_ELEMENT:
            raise UpstreamFailed("the provider sent an endless line instead of an event stream")


class _Elements:
    def __init__(self) -> None:
        self._reader = ElementReader()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        return [(before + element, element) for before, element in self._reader.feed(data)]

    def close(self) -> list[tuple[bytes, bytes]]:
        return []

    @property
    def end(self) -> bytes | None:
        return self._reader.end if self._reader.closed else None


class GeminiRelay:
    """The `StreamTap` of this wire: chunks pass as they came."""

    __slots__ = ("_choices", "_facts", "_framing", "end", "failure", "finished", "reusable", "usage")

    def __init__(self, *, framing: str = "", choices: int = 1) -> None:
        """`framing`: "" for server-sent events, "array" for one JSON array. `choices`: how many answers were asked for."""
        self._framing: _Framing = _Elements() if framing else _Events()
        self._facts = _Facts()
        self._choices = choices
        self.usage: Usage = NO_USAGE
        self.finished = self.reusable = False
        self.end = b""
        self.failure: str | None = None

    def feed(self, data: bytes) -> bytes:
        """See `StreamTap`."""
        out = self._take(self._framing.feed(data))
        if isinstance(self._framing, _Elements) and self._framing.end is not None:
            self._close()
        return out

    def close(self) -> bytes:
        """See `StreamTap`."""
        try:
            out = self._take(self._framing.close())
        except UpstreamFailed:
            return b""  # half an event: the stream was cut there, which `finished` says
        self._close()
        return out

    def _take(self, chunks: list[tuple[bytes, bytes]]) -> bytes:
        out: list[bytes] = []
        for raw, chunk in chunks:
            if self.failure is not None:
                break
            if chunk:
                self._facts.read(chunk)
                self.failure = self._facts.failure
            if self.failure is None:
                out.append(raw)
        self.usage, self.reusable = self._facts.usage, self._facts.reusable and self.failure is None
        return b"".join(out)

    def _close(self) -> None:
        end = self._framing.end
        self.finished = end is not None and self.failure is None and self._facts.finished(self._choices)
        self.end = end or b""


def _payload(frame: bytes) -> bytes:
    """The data of an event; empty where it has none (comments, keep-alives)."""
    lines = [line[5:].removeprefix(b" ") for line in re.split(rb"\r\n|\n|\r", frame) if line.startswith(b"data:")]
    if not lines and frame.lstrip()[:1] in (b"<", b"{", b"["):
        raise UpstreamFailed("the provider answered a stream with something that is no event stream")
    return b"\n".join(lines).strip()
