"""References to items of earlier answers, written out: what an `item_reference`, or an item without its content, stands for.

Source: openai-python 3.52 `types/responses/response_input_item.py` (`ItemReference`), `response_completed_event.py`.
"""

from collections.abc import Callable, Mapping

import msgspec

from tokenrouter.adapters.inbound.openai_responses_grammar import kind_of, state_of
from tokenrouter.adapters.sse import FrameReader
from tokenrouter.errors import InvalidRequest, UpstreamFailed
from tokenrouter.model.envelope import Envelope

_ENDS = ("response.completed", "response.incomplete")
_LONGEST = 512
"""Bytes of a reference, or of an item that says nothing but its id; longer ones need no look."""
_FRAME_LIMIT = 64 << 20
_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, object])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Said(msgspec.Struct):
    output: list[msgspec.Raw] = []


class _Last(msgspec.Struct):
    response: _Said = msgspec.field(default_factory=_Said)


class _Named(msgspec.Struct):
    id: str = ""


def recall(envelope: Envelope, find: Callable[[str], bytes | None], parse: Callable[[bytes, Mapping[str, str]], Envelope]) -> Envelope:
    """See `RecallingDialect.recall`. The body is made anew around the items, which are the bytes that the client was once given."""
    items = [_written_out(raw, find) for raw in envelope.messages]
    if all(new is old for new, old in zip(items, envelope.messages, strict=True)):
        return envelope
    fields = _members.decode(envelope.body) | {"input": msgspec.Raw(b"[" + b",".join(map(bytes, items)) + b"]")}
    return parse(_encode(fields), envelope.outside)


def items_of(said: bytes) -> tuple[tuple[str, bytes], ...]:
    """See `RecallingDialect.items`."""
    try:
        output = _output(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UpstreamFailed):
        return ()  # not ours to judge: what can not be read is not kept
    named = [(msgspec.json.decode(item, type=_Named).id, bytes(item)) for item in output]
    return tuple([(name, item) for name, item in named if name])


def _output(said: bytes) -> list[msgspec.Raw]:
    if said[:1] == b"{":
        return msgspec.json.decode(said, type=_Said).output
    if not any(end.encode() in said for end in _ENDS):
        return []
    ends = [frame.data for frame in FrameReader(_FRAME_LIMIT).feed(said) if frame.event in _ENDS]
    return msgspec.json.decode(ends[-1], type=_Last).response.output if ends else []


def _written_out(raw: msgspec.Raw, find: Callable[[str], bytes | None]) -> msgspec.Raw:
    data = bytes(raw)
    if len(data) > _LONGEST or b'"id"' not in data or data[:1] != b"{":
        return raw
    try:
        item = _object.decode(data)
        name = state_of(kind_of(item), item)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidRequest):
        return raw  # whoever reads the request says what is wrong with it, and where
    found = find(name) if name else None
    return raw if found is None else msgspec.Raw(found)
