"""The tap on a Chat Completions stream that goes to a client of the same dialect: bytes pass unchanged, facts are read off.

Only whole frames are passed on, so that an error can always follow as a frame of its own. Most network reads hold nothing that
matters here; one regular expression tells, and only reads that may hold something are taken apart.
"""

import re

import msgspec

from tokenrouter.adapters.wire.openai_chat import usage_from_wire
from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.usage import NO_USAGE, Usage

MAX_FRAME = 1 << 20
"""Bytes of one frame; more without an end is no event stream."""

_MATTERS = re.compile(rb'"usage"\s*:\s*\{|"error"\s*:\s*[{"]|"finish_reason"\s*:\s*"|data:\s*\[DONE\]|^\s*<|\r')
_FRAME = re.compile(rb"\r\n\r\n|\n\n|\r\r")


_NULL = msgspec.Raw(b"null")  # as a default: a union of Raw and None takes nothing but null


class _Frame(msgspec.Struct):
    choices: list["_FrameChoice"] | None = None
    usage: object = None
    service_tier: object = None
    x_groq: "_Groq | None" = None
    error: msgspec.Raw = _NULL


class _FrameChoice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _Groq(msgspec.Struct):
    usage: object = None


class _ErrorFields(msgspec.Struct):
    message: str = ""


class _Body(msgspec.Struct):
    choices: list[_FrameChoice] | None = None
    usage: object = None
    service_tier: object = None
    x_groq: _Groq | None = None
    error: msgspec.Raw = _NULL


_GOOD_ENDS = frozenset(("stop", "tool_calls", "function_call"))
_body = msgspec.json.Decoder(_Body)
_frame = msgspec.json.Decoder(_Frame)
_error = msgspec.json.Decoder(_ErrorFields)


def verdict(body: bytes) -> tuple[Usage, bool]:
    """Usage of a whole answer, and whether it may be given again: every choice came to a natural end.

    Raises:
        UpstreamFailed: a 200 with an error inside, or with something that is no chat completion.
    """
    try:
        seen = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamFailed("the provider answered 200 with something that is not a chat completion") from error
    if seen.error != _NULL:
        raise UpstreamFailed(f"the provider answered 200 with an error: {_words(seen.error)}")
    if not seen.choices:
        raise UpstreamFailed("the provider answered 200 without any choice")
    usage = usage_from_wire(seen.usage if seen.usage is not None else seen.x_groq.usage if seen.x_groq else None, seen.service_tier)
    return usage, all(choice.finish_reason in _GOOD_ENDS for choice in seen.choices)


class ChatRelay:
    """The `StreamTap` of this wire: frames pass as they came."""

    _matters = _MATTERS
    __slots__ = ("_choices", "_done", "_ended", "_hide_usage", "_tail", "_tier", "end", "failure", "finished", "reusable", "usage")

    def __init__(self, *, hide_usage: bool, choices: int = 1) -> None:
        """`hide_usage`: keep the final usage frame from the client. `choices`: how many answers were asked for."""
        self._hide_usage = hide_usage
        self._choices = choices
        self._ended: set[int] = set()
        self._tail = bytearray()
        self._tier: object = None
        self._done = False
        self.usage: Usage = NO_USAGE
        self.finished = False
        self.reusable = True
        self.end = b""
        self.failure: str | None = None

    def feed(self, data: bytes) -> bytes:
        """The whole frames that `data` completes, as they came.

        Raises:
            UpstreamFailed: the bytes are no Chat Completions stream.
        """
        if self._done:
            return b""
        tail = self._tail
        if tail:
            searched = max(0, len(tail) - 3)
            tail += data
            if len(tail) <= MAX_FRAME and _FRAME.search(tail, searched) is None:
                return b""  # one frame in many pieces: nothing is read twice
            data = bytes(tail)
        if len(data) <= MAX_FRAME and data.endswith(b"\n\n") and not self._matters.search(data):
            self._tail = bytearray()
            return data
        return self._take_apart(data)

    def close(self) -> bytes:
        """The vendor's bytes are at their end: what was left over, where it is a whole frame but for its blank line."""
        tail, self._tail = bytes(self._tail), bytearray()
        return self._take_apart(tail + b"\n\n") if tail.strip() else b""

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
        payload = _payload(frame)
        if payload is None:
            return True
        if payload == b"[DONE]":
            self._done = self.finished = True
            self.end += frame
            return False
        try:
            seen = _frame.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamFailed("the provider sent something that is not a Chat Completions stream") from error
        if seen.error != _NULL:
            self._fail(seen.error)
            return False
        for choice in seen.choices or ():
            if choice.finish_reason:
                self._ended.add(choice.index)
                self.reusable = self.reusable and choice.finish_reason in _GOOD_ENDS
        self.finished = len(self._ended) >= self._choices
        self._tier = self._tier if seen.service_tier is None else seen.service_tier
        reported = seen.usage if seen.usage is not None else seen.x_groq.usage if seen.x_groq else None
        if reported is not None:
            self.usage = usage_from_wire(reported, self._tier)
            if seen.choices:
                return True
            if not self._hide_usage:
                self.end += frame  # with the closing frame: what is put before it must not follow the usage, which accumulators read last
            return False
        return True

    def _fail(self, error: msgspec.Raw) -> None:
        self.failure = _words(error)
        self._done = True


class ThinChatRelay(ChatRelay):
    """Keeps chunks from the client that have a role and an empty text and nothing else, but for the first of each choice."""

    _matters = re.compile(_MATTERS.pattern + rb'|"content"\s*:\s*""')
    __slots__ = ("_begun",)

    def __init__(self, *, hide_usage: bool, choices: int = 1) -> None:
        """See `ChatRelay`."""
        super().__init__(hide_usage=hide_usage, choices=choices)
        self._begun: set[int] = set()

    def _passes(self, frame: bytes) -> bool:
        return super()._passes(frame) and not self._says_nothing(_payload(frame))

    def _says_nothing(self, payload: bytes | None) -> bool:
        try:
            seen = _thin.decode(payload or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False  # of another form than what is looked for here
        if not seen.choices or seen.usage is not None:
            return False
        begun = {choice.index for choice in seen.choices} <= self._begun
        self._begun |= {choice.index for choice in seen.choices}
        return begun and all(choice.finish_reason is None and choice.delta == _NOTHING for choice in seen.choices)


class _ThinChoice(msgspec.Struct):
    index: int = 0
    delta: dict[str, object] = {}
    finish_reason: str | None = None


class _ThinFrame(msgspec.Struct):
    choices: list[_ThinChoice] = []
    usage: object = None


_thin = msgspec.json.Decoder(_ThinFrame)
_NOTHING = {"role": "assistant", "content": ""}


def _words(error: msgspec.Raw) -> str:
    try:
        return _error.decode(error).message or "the provider reported an error"
    except msgspec.DecodeError:
        return bytes(error)[:500].decode("utf-8", "replace")


def _payload(frame: bytes) -> bytes | None:
    """The data of a frame; None where it has none (comments, keep-alives)."""
    lines = [line[5:].removeprefix(b" ") for line in re.split(rb"\r\n|\n|\r", frame) if line.startswith(b"data:")]
    if not lines:
        if frame.lstrip()[:1] in (b"<", b"{"):
            raise UpstreamFailed("the provider answered a stream with something that is no event stream")
        return None
    return b"\n".join(lines).strip()
