"""The tap on a Responses stream that goes to a client of the same dialect: bytes pass unchanged, facts are read off the last event.

Only whole frames are passed on. The vendor's last event is held back as the closing frame, whatever it says: a failure that the vendor
reports in its own words is the end of the client's stream, and nothing of ours follows it.
"""

import re

import msgspec

from tokenrouter.adapters.base import Aftermath
from tokenrouter.adapters.wire.openai_responses import MAX_EVENT, failure_words
from tokenrouter.adapters.wire.openai_responses_tools import fees_in
from tokenrouter.adapters.wire.openai_responses_usage import usage_from_wire
from tokenrouter.adapters.wire.reading import members, text, words
from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.usage import NO_USAGE, Usage

_MATTERS = re.compile(rb"response\.(?:completed|incomplete|failed|cancelled)|web_search_call|error|^\s*[<{]|\r")
_FRAME = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_ONE_FRAME = re.compile(rb".+?(?:\r\n\r\n|\n\n|\r\r|\Z)", re.DOTALL)
_BEGUN = re.compile(rb"response\.(?:created|output_item\.done|completed|incomplete|failed|cancelled)")
_LINE = re.compile(rb"\r\n|\n|\r")
_ENDS = frozenset(("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"))


class _Last(msgspec.Struct):
    type: str = ""
    response: object = None
    item: object = None
    error: object = None
    message: object = None
    code: object = None


class _Body(msgspec.Struct):
    id: str = ""
    status: str = ""
    store: bool | None = None
    output: list[object] | None = None
    usage: object = None
    service_tier: object = None
    error: object = None


class _Stage(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = msgspec.Raw()
    item: object = None


_last = msgspec.json.Decoder(_Last)
_stage = msgspec.json.Decoder(_Stage)
_body = msgspec.json.Decoder(_Body)


def verdict(body: bytes) -> tuple[Usage, bool]:
    """Usage of a whole answer, and whether it may be given again: it came to its natural end.

    Raises:
        UpstreamFailed: a 200 with something that is no response. One whose status is "failed" is an answer: the client reads it there.
    """
    try:
        seen = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamFailed("the provider answered 200 with something that is not a response") from error
    if seen.output is None:
        raise UpstreamFailed(f"the provider answered 200 without output: {words(seen.error) or 'no reason given'}")
    usage = usage_from_wire(seen.usage, seen.service_tier)
    return msgspec.structs.replace(usage, fees=fees_in(seen.output)), seen.status == "completed" and seen.error is None


def aftermath(last: bytes) -> Aftermath:
    """What the vendor keeps of an answer: its own id first, then its items'.

    `last`: the whole body, a stream's last event, or everything that came of a stream that was cut: what it had begun may be kept too.
    Nothing is read from what can not be read. Whether it is kept, the vendor says when it is asked for; a failed answer may be as well.
    """
    if last.lstrip()[:1] == b"{":
        return _left(_read_body(last))
    seen = _Body()
    for match in _ONE_FRAME.finditer(last):
        frame = match.group()
        if _BEGUN.search(frame):
            kind, response, item = _stages(frame)
            if response.id:
                response.output = response.output or seen.output
                seen = response
            if kind == "response.output_item.done":
                seen.output = [*(seen.output or []), item]
    return _left(seen)


def _left(seen: _Body) -> Aftermath:
    items = seen.output or []
    if not seen.id or seen.store is False:
        return Aftermath()
    return Aftermath((seen.id, *(name for item in items if (name := text(members(item).get("id"))))))


def _read_body(body: bytes) -> _Body:
    try:
        return _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Body()


def _stages(frame: bytes) -> tuple[str, _Body, object]:
    """Kind of an event, the response in it, the item in it."""
    try:
        event = _stage.decode(_payload(frame) or b"")
        return event.type or _event_name(frame), _body.decode(event.response or b"{}"), event.item
    except (UpstreamFailed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", _Body(), None


class ResponsesRelay:
    """The `StreamTap` of this wire: frames pass as they came."""

    __slots__ = ("_tail", "end", "failure", "finished", "reusable", "usage")

    def __init__(self) -> None:
        self._tail = bytearray()
        self.usage: Usage = NO_USAGE
        self.finished = False
        self.reusable = False
        self.end = b""
        self.failure: str | None = None

    def feed(self, data: bytes) -> bytes:
        """The whole frames that `data` completes, as they came.

        Raises:
            UpstreamFailed: the bytes are no stream of a response.
        """
        tail = self._tail
        if tail:
            searched = max(0, len(tail) - 3)
            tail += data
            if len(tail) <= MAX_EVENT and _FRAME.search(tail, searched) is None:
                return b""  # one frame in many pieces: nothing is read twice
            data = bytes(tail)
        if not self.finished and len(data) <= MAX_EVENT and data.endswith(b"\n\n") and not _MATTERS.search(data):
            self._tail = bytearray()
            return data
        return self._take_apart(data)

    def close(self) -> bytes:
        """The vendor's bytes are at their end: what was left over, where it is a whole frame but for its blank line."""
        tail, self._tail = bytes(self._tail), bytearray()
        if not tail.strip() or not (self.finished or _is_whole(tail)):
            return b""  # half a frame: the stream was cut there
        return self._take_apart(tail + b"\n\n")

    def _take_apart(self, data: bytes) -> bytes:
        out: list[bytes] = []
        start = 0
        for match in _FRAME.finditer(data):
            frame = data[start : match.end()]
            start = match.end()
            if self.finished:
                self.end += frame  # behind the last event nothing is expected; whatever it is, it is the vendor's
            elif self._is_last(frame):
                self.finished, self.end = True, frame
            else:
                out.append(frame)
        self._tail = bytearray(data[start:])
        if len(self._tail) > MAX_EVENT:
            raise UpstreamFailed("the provider sent an endless line instead of an event stream")
        return b"".join(out)

    def _is_last(self, frame: bytes) -> bool:
        if not _MATTERS.search(frame):
            return False
        payload = _payload(frame)
        if payload is None or payload == b"[DONE]":
            return False
        try:
            seen = _last.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamFailed("the provider sent something that is not a stream of a response") from error
        kind = seen.type or _event_name(frame)
        if kind == "response.output_item.done":
            # Of a stream that is cut, at least what its searches cost is known.
            self.usage = msgspec.structs.replace(self.usage, fees=self.usage.fees + fees_in([seen.item]))
        if kind not in _ENDS:
            return False
        response = members(seen.response)
        usage = usage_from_wire(response.get("usage"), response.get("service_tier"))
        self.usage = msgspec.structs.replace(usage, fees=max(self.usage.fees, fees_in(response.get("output"))))
        self.reusable = kind == "response.completed" and text(response.get("status")) in ("", "completed")
        if kind not in ("response.completed", "response.incomplete"):
            said = {"response": seen.response, "error": seen.error, "message": seen.message, "code": seen.code}
            self.failure = failure_words(said)[0]
        return True


def _payload(frame: bytes) -> bytes | None:
    """The data of a frame; None where it has none (comments, keep-alives)."""
    lines = [line[5:].removeprefix(b" ") for line in _LINE.split(frame) if line.startswith(b"data:")]
    if not lines:
        if frame.lstrip()[:1] in (b"<", b"{"):
            raise UpstreamFailed("the provider answered a stream with something that is no event stream")
        return None
    return b"\n".join(lines).strip()


def _is_whole(frame: bytes) -> bool:
    payload = _payload(frame)
    try:
        return payload is not None and msgspec.json.decode(payload) is not None
    except (ValueError, RecursionError):
        return False


def _event_name(frame: bytes) -> str:
    names = [line[6:].strip() for line in _LINE.split(frame) if line.startswith(b"event:")]
    return names[-1].decode("latin-1") if names else ""
