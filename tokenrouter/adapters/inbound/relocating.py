"""Opening system texts with other words in them, by dialect. What is not named here keeps the client's own bytes.

Source: the dialects' grammars beside this file.
"""

from collections.abc import Callable, Mapping

import msgspec

from tokenrouter.adapters.inbound.respelling import with_pieces
from tokenrouter.adapters.wire.gemini_layout import spelled, with_system
from tokenrouter.model.envelope import Envelope

Change = Callable[[str], str]

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode

_ANTHROPIC, _RESPONSES, _GEMINI = "anthropic-messages", "openai-responses", "gemini-generate"
_SPOKEN = frozenset(("openai-chat", "neutral-chat", "ollama-chat", _RESPONSES, _ANTHROPIC, _GEMINI))
_HOLDERS = ("text", "content", "parts")
_WRITING = "prompt_cache_options"


def rewrites(dialect: str) -> bool:
    """Whether the system texts of a dialect can be rewritten."""
    return dialect in _SPOKEN


def says_writing(envelope: Envelope) -> bool:
    """Whether the client itself says how its prompt cache is to be written."""
    return _WRITING in envelope.fields


def with_texts(envelope: Envelope, edit: str, opening: int, change: Change) -> Envelope | None:
    """The request with every text of its first `opening` pieces (system pieces first, then messages) changed; None where nothing is."""
    before = len(envelope.system)
    system = [_changed(bytes(raw), change) for raw in envelope.system]
    messages = {}
    for index, raw in enumerate(envelope.messages[: max(0, opening - before)]):
        new = _changed(bytes(raw), change)
        if new is not None:
            messages[index] = new
    made = envelope
    if messages:
        made = with_pieces(made, edit, messages=messages)
    if any(piece is not None for piece in system):
        pieces = [bytes(raw) if piece is None else piece for piece, raw in zip(system, envelope.system, strict=True)]
        made = _with_system(made, pieces)
        made = made if messages else msgspec.structs.replace(made, edited=(*made.edited, edit))
    return None if made is envelope else made


def _with_system(envelope: Envelope, pieces: list[bytes]) -> Envelope:
    """The same with other pieces of the system prompt that stands apart."""
    at = envelope.grammar.places[0]
    if envelope.dialect == _GEMINI:
        at = spelled(envelope.fields)["systemInstruction"]
        value = with_system(envelope.fields[at], pieces)
    elif _is_string(envelope.fields[at]):
        value = pieces[0]
    else:
        value = b"[" + b",".join(pieces) + b"]"
    fields = {**envelope.fields, at: msgspec.Raw(value)}
    return msgspec.structs.replace(envelope, fields=fields, system=tuple(map(msgspec.Raw, pieces)))


def _changed(raw: bytes, change: Change) -> bytes | None:
    """One piece: a text, a part with a text, or what holds parts. None where nothing in it changes."""
    if _is_string(raw):
        return _text_changed(raw, change)
    fields = _members.decode(raw) if raw[:1] == b"{" else {}
    name = next((name for name in _HOLDERS if name in fields), None)
    return None if name is None else _member_changed(fields, name, change)


def _member_changed(fields: Mapping[str, msgspec.Raw], name: str, change: Change) -> bytes | None:
    value = bytes(fields[name]) if name in fields else b""
    new: bytes | None = None
    if _is_string(value):
        new = _text_changed(value, change)
    elif value[:1] == b"[" and name != "text":
        parts = [bytes(part) for part in _items.decode(value)]
        made = [_part_changed(part, change) for part in parts]
        if any(part is not None for part in made):
            new = b"[" + b",".join([old if part is None else part for part, old in zip(made, parts, strict=True)]) + b"]"
    return None if new is None else _encode({**fields, name: msgspec.Raw(new)})


def _part_changed(part: bytes, change: Change) -> bytes | None:
    return _member_changed(_members.decode(part), "text", change) if part[:1] == b"{" else None


def _text_changed(raw: bytes, change: Change) -> bytes | None:
    said = msgspec.json.decode(raw, type=str)
    new = change(said)
    return None if new == said else _encode(new)


def _is_string(raw: bytes | msgspec.Raw) -> bool:
    return bytes(raw)[:1] == b'"'
