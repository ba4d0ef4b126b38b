"""The tap on a Messages stream that goes to a client of the same dialect: bytes pass unchanged, facts are read off.

Only whole frames are passed on, so that an error can always follow as a frame of its own. Most network reads hold nothing but pieces
of a block; one regular expression tells, and only reads that may hold more are taken apart. Events that are not known here pass.
Source: Anthropic's documentation of streaming ("Error events", "Other events").
"""

import re

import msgspec

from tokenrouter.adapters.wire.anthropic import CumulativeUsage, usage_from_wire
from tokenrouter.adapters.wire.reading import members, text, words
from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.usage import NO_USAGE, Usage

MAX_FRAME = 32 << 20
"""Bytes of one frame; more without an end is no event stream. A document that the vendor fetched comes in one frame."""

_MATTERS = re.compile(
    rb'"type"\s*:\s*"(?:message_|error|content_block_start|citations_delta)|event:\s*(?:message_|error|content_block_start)|^\s*<|\r'
)
_FRAME = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_GOOD_ENDS = frozenset(("end_turn", "stop_sequence", "tool_use"))
_TRANSLATABLE = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))


class _Block(msgspec.Struct):
    type: str = ""
    citations: object = None


class _Delta(msgspec.Struct):
    type: str = ""
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    type: str = ""
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: object = None
    error: object = None


class _Frame(msgspec.Struct):
    type: str = ""
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: object = None
    error: object = None


_message = msgspec.json.Decoder(_Message)
_frame = msgspec.json.Decoder(_Frame)


def verdict(body: bytes) -> tuple[Usage, bool]:
    """Usage of a whole answer, and whether it may be given again: it came to a natural end, and holds nothing that would be lost where
    it is written in another form (citations, blocks of tools that the vendor ran).

    Raises:
        UpstreamFailed: a 200 with an error inside, or with something that is no message.
    """
    try:
        seen = _message.decode(body)
    except (ValueError, RecursionError) as error:
        raise UpstreamFailed("the provider answered 200 with something that is not a message") from error
    if seen.error is not None or seen.type == "error":
        raise UpstreamFailed(f"the provider answered 200 with an error: {words(seen.error) or 'it says no more'}")
    if seen.content is None:
        raise UpstreamFailed("the provider answered 200 without any content")
    return usage_from_wire(seen.usage), seen.stop_reason in _GOOD_ENDS and all(map(_is_plain, seen.content))


def _is_plain(block: _Block) -> bool:
    return block.type in _TRANSLATABLE and not block.citations


class MessagesRelay:
    """The `StreamTap` of this wire: frames pass as they came. `end` is the frame of `message_stop`."""

    __slots__ = ("_done", "_good_end", "_plain", "_tail", "_tally", "end", "failure", "finished", "reusable", "usage")

    def __init__(self) -> None:
        self._tail = bytearray()
        self._done = False
        self._good_end = False
        self._plain = True
        self._tally = CumulativeUsage()
        self.usage: Usage = NO_USAGE
        self.finished = False
        self.reusable = False
        self.end = b""
        self.failure: str | None = None

    def feed(self, data: bytes) -> bytes:
        """The whole frames that `data` completes, as they came. Raises UpstreamFailed: the bytes are no Messages stream."""
        if self._done:
            return b""
        tail = self._tail
        if tail:
            searched = max(0, len(tail) - 3)
            tail += data
            if len(tail) <= MAX_FRAME and _FRAME.search(tail, searched) is None:
                return b""  # one frame in many pieces: nothing is read twice
            data = bytes(tail)
        if len(data) <= MAX_FRAME and data.endswith(b"\n\n") and not _MATTERS.search(data):
            self._tail = bytearray()
            return data
        return self._take_apart(data)

    def close(self) -> bytes:
        """The vendor's bytes are at their end: what was left over, where it is a whole frame but for its blank line."""
        tail, self._tail = bytes(self._tail), bytearray()
        if b"data:" not in tail:
            return b""
        try:
            return self._take_apart(tail + b"\n\n")
        except UpstreamFailed:
            return b""  # half a frame: the stream was cut there, and `finished` says so

    def _take_apart(self, data: bytes) -> bytes:
        out: list[bytes] = []
        start = 0
        for match in _FRAME.finditer(data):
            frame = data[start : match.end()]
            start = match.end()
            if self._passes(frame):
                out.append(frame)
            if self._done:
                break
        self._tail = bytearray() if self._done else bytearray(data[start:])
        if len(self._tail) > MAX_FRAME:
            raise UpstreamFailed("the provider sent an endless line instead of an event stream")
        return b"".join(out)

    def _passes(self, frame: bytes) -> bool:
        name, payload = _read(frame)
        if payload is None:
            return True
        try:
            seen = _frame.decode(payload)
        except (ValueError, RecursionError) as error:
            raise UpstreamFailed("the provider sent something that is not a Messages stream") from error
        match seen.type or name:
            case "message_start":
                self._see(seen.message.usage if seen.message else None)
            case "content_block_start":
                self._plain = self._plain and seen.content_block is not None and _is_plain(seen.content_block)
            case "content_block_delta":
                self._plain = self._plain and not (seen.delta is not None and seen.delta.type == "citations_delta")
            case "message_delta":
                self._see(seen.usage)
                if seen.delta is not None and seen.delta.stop_reason is not None:
                    self._good_end = seen.delta.stop_reason in _GOOD_ENDS
            case "message_stop":
                self._done = self.finished = True
                self.reusable = self._good_end and self._plain
                self.end = frame
                return False
            case "error":
                self._done = True
                self.failure = failure(seen.error)
                return False
        return True

    def _see(self, usage: object) -> None:
        self.usage = self._tally.add(usage)


def failure(error: object) -> str:
    """An error's kind and words, as `type: message`: the client's dialect takes it apart again."""
    kind, said = text(members(error).get("type")), words(error) or "the provider reported an error"
    return f"{kind[:100]}: {said}" if kind else said


def _read(frame: bytes) -> tuple[str, bytes | None]:
    """Name and data of a frame; None where it has no data (comments, keep-alives)."""
    name, lines = "", []
    for line in re.split(rb"\r\n|\n|\r", frame):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
    if not lines:
        if frame.lstrip()[:1] in (b"<", b"{"):
            raise UpstreamFailed("the provider answered a stream with something that is no event stream")
        return name, None
    return name, b"\n".join(lines)
