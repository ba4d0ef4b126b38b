"""Asking Anthropic why a prompt could not be reused, and hearing what it says. On both lanes, as it is about the vendor's own bytes.

The question names the answer to compare with, and is asked without a name in a conversation's first request, so that the vendor remembers
it. What is said stands in a whole answer, or in the first event of a stream; it is null where nothing differed, or nobody knows yet.
Source: https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics; anthropic-python 2.11 `types/diagnostics.py`.
"""

import re

import msgspec

from tokenrouter.adapters.base import Heard
from tokenrouter.adapters.outbound.splice import NULL, as_object, members
from tokenrouter.adapters.wire.reading import count

_FIELD = "diagnostics"
_START = b"message_start"
_FRAME = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")
_WORD = re.compile(r"[a-z_]{1,64}")
_NOTHING = Heard()


class _Reason(msgspec.Struct):
    type: str = ""
    cache_missed_input_tokens: object = None


class _Said(msgspec.Struct):
    cache_miss_reason: _Reason | None = None


class _Message(msgspec.Struct):
    id: str = ""
    diagnostics: _Said | None = None


class _Event(msgspec.Struct):
    type: str = ""
    message: msgspec.Raw = msgspec.Raw()


_message = msgspec.json.Decoder(_Message)
_event = msgspec.json.Decoder(_Event)


class AnthropicDiagnostics:
    """See `DiagnosingWire`."""

    def ask_why(self, body: bytes, previous: str) -> bytes | None:
        """See `DiagnosingWire`."""
        if b'"diagnostics"' in body and _FIELD in members(body):
            return None
        question = msgspec.json.encode({"previous_message_id": previous or None})
        return body.rstrip()[:-1] + b',"diagnostics":' + question + b"}"

    def hear_whole(self, body: bytes, *, hide: bool) -> tuple[Heard, bytes]:
        """See `DiagnosingWire`. What can not be read says nothing, and stays as it is."""
        try:
            heard = _heard(_message.decode(body))
        except (ValueError, RecursionError):
            return _NOTHING, body
        return heard, _hidden(body) if hide else body

    def hear_beginning(self, data: bytes, *, hide: bool) -> tuple[Heard, bytes] | None:
        """See `DiagnosingWire`: up to the first event that says anything."""
        start = 0
        for match in _FRAME.finditer(data):
            frame, end = data[start : match.start()], match.end()
            lines = [line[5:].removeprefix(b" ") for line in _LINE.split(frame) if line.startswith(b"data:")]
            if lines and b'"ping"' not in lines[0][:64]:
                heard, payload = _begun(b"\n".join(lines), hide=hide)
                if payload is None:
                    return heard, data
                return heard, data[:start] + b"event: message_start\ndata: " + payload + b"\n\n" + data[end:]
            start = end
        return None


def _begun(payload: bytes, *, hide: bool) -> tuple[Heard, bytes | None]:
    """What the first event says, and the event without it; None: it stays as it is."""
    try:
        event = _event.decode(payload)
        if event.type != _START.decode():
            return _NOTHING, None
        message = bytes(event.message)
        heard = _heard(_message.decode(message))
        hidden = _hidden(message) if hide else message
        return heard, None if hidden is message else as_object({**members(payload), "message": msgspec.Raw(hidden)})
    except (ValueError, RecursionError):
        return _NOTHING, None


def _heard(message: _Message) -> Heard:
    reason = message.diagnostics.cache_miss_reason if message.diagnostics is not None else None
    if reason is None or not _WORD.fullmatch(reason.type):
        return Heard(id=message.id)
    return Heard(id=message.id, reason=reason.type, missed=count(reason.cache_missed_input_tokens) or 0)


def _hidden(message: bytes) -> bytes:
    """A message as it is where nobody asked."""
    if b'"diagnostics"' not in message:
        return message
    fields = members(message)
    if fields.get(_FIELD, NULL) == NULL:
        return message
    return as_object({**fields, _FIELD: NULL})
