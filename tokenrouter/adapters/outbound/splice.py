"""Splicing: pieces of a client's JSON are replaced, what is not touched keeps its spelling.

An object that is changed is written anew without white space around its members; their values stay the client's own bytes.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.model.envelope import NOTHING, Envelope
from tokenrouter.model.volatile import Volatile, without_lines

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_string = msgspec.json.Decoder(str)

NULL = msgspec.Raw(b"null")


def members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of an object, undecoded."""
    return _members.decode(raw)


def items(raw: bytes | msgspec.Raw) -> list[bytes]:
    """The items of an array, undecoded."""
    return [bytes(item) for item in _items.decode(raw)]


def text(raw: bytes | msgspec.Raw) -> str:
    """A string's value."""
    return _string.decode(raw)


def is_text(raw: bytes | msgspec.Raw | None) -> bool:
    """Whether `raw` is a string."""
    return raw is not None and bytes(raw)[:1] == b'"'


def as_object(fields: Mapping[str, msgspec.Raw]) -> bytes:
    """An object of undecoded members."""
    return msgspec.json.encode(fields)


def as_array(pieces: Sequence[bytes]) -> bytes:
    """An array of undecoded items."""
    return b"[" + b",".join(pieces) + b"]"


def assemble(envelope: Envelope, replaced: Mapping[str, bytes], renamed: Mapping[str, str] = NOTHING) -> bytes:
    """The body with some members replaced or renamed, and others added behind; the very body that came where there is nothing to do.

    Our own extension fields are no members of an envelope, so they are left out.
    """
    if not replaced and not renamed and not envelope.extensions and not envelope.edited:
        return envelope.body
    fields = envelope.fields
    parts = [msgspec.json.encode(renamed.get(name, name)) + b":" + (replaced.get(name) or bytes(raw)) for name, raw in fields.items()]
    parts += [msgspec.json.encode(name) + b":" + value for name, value in replaced.items() if name not in envelope.fields]
    return b"{" + b",".join(parts) + b"}"


def without(raw: bytes, names: Sequence[str]) -> bytes:
    """An object without some members."""
    return msgspec.json.encode({name: value for name, value in members(raw).items() if name not in names})


def marked(piece: bytes, field: str, directive: bytes) -> bytes:
    """An object with a cache mark as its last member; one that has a mark stays as it is (null is none)."""
    if f'"{field}"'.encode() not in piece or field not in (fields := members(piece)):
        return piece.rstrip()[:-1] + b',"' + field.encode() + b'":' + directive + b"}"
    if fields[field] != NULL:
        return piece
    return msgspec.json.encode({**fields, field: msgspec.Raw(directive)})


def directive(field: str, lifetime_s: int) -> bytes:
    """A cache mark, in the words of its spelling."""
    if field == "cache_control":
        return b'{"type":"ephemeral","ttl":"1h"}' if lifetime_s == 3600 else b'{"type":"ephemeral"}'
    return b'{"mode":"explicit","ttl":"12h"}' if lifetime_s == 43_200 else b'{"mode":"explicit"}'


def marks_in_place(tools: Sequence[bytes], order: Sequence[int], field: str) -> list[bytes]:
    """Sorted tools with the client's own marks where they stood in its list: a mark is a place, no property of a tool."""
    sorted_tools = list(tools)
    marks: dict[int, msgspec.Raw] = {}
    for sent, client_index in enumerate(order):
        if field and f'"{field}"'.encode() in sorted_tools[sent] and field in (fields := members(sorted_tools[sent])):
            marks[client_index] = fields.pop(field)
            sorted_tools[sent] = msgspec.json.encode(fields)
    for index, mark in marks.items():
        sorted_tools[index] = msgspec.json.encode({**members(sorted_tools[index]), field: mark})
    return sorted_tools


def text_block(raw: bytes | msgspec.Raw) -> bytes:
    """A string as a text part or block, in its own spelling."""
    return b'{"type":"text","text":' + bytes(raw) + b"}"


def in_parts(message: bytes) -> bytes:
    """A message whose content is a string, with one text part instead; any other stays as it is."""
    fields = members(message)
    content = fields.get("content")
    if content is None or not is_text(content) or bytes(content) == b'""':
        return message
    fields["content"] = msgspec.Raw(b"[" + text_block(content) + b"]")
    return msgspec.json.encode(fields)


def mark_part(message: bytes, part: int, field: str, mark: bytes) -> bytes:
    """Add a mark to a content part (-1: the last). Where there are no parts to carry it, nothing changes."""
    fields = members(message)
    content = fields.get("content")
    if content is None or bytes(content)[:1] != b"[":
        return message
    parts = items(content)
    index = part if part >= 0 else len(parts) - 1
    if not 0 <= index < len(parts):
        return message
    new = marked(parts[index], field, mark)
    if new is parts[index]:
        return message
    parts[index] = new
    fields["content"] = msgspec.Raw(as_array(parts))
    return msgspec.json.encode(fields)


def text_without_lines(raw: bytes, lines: Sequence[Volatile]) -> bytes:
    """A string without known per-request lines at its head; `raw` itself where there are none."""
    said = text(raw)
    rest = without_lines(said, lines)
    return raw if rest == said else msgspec.json.encode(rest)


def part_without_lines(part: bytes, lines: Sequence[Volatile]) -> bytes | None:
    """The same for a content part; None where nothing else was in it."""
    inner = members(part)
    said = inner.get("text")
    if said is None or not is_text(said):
        return part
    raw = bytes(said)
    rest = text_without_lines(raw, lines)
    if rest is raw:
        return part
    return None if rest == b'""' else msgspec.json.encode({**inner, "text": msgspec.Raw(rest)})


def message_without_lines(message: bytes, lines: Sequence[Volatile]) -> bytes:
    """The same for a message: a part that held nothing else goes with them."""
    if not lines:
        return message
    fields = members(message)
    content = bytes(fields["content"])
    if is_text(content):
        fields["content"] = msgspec.Raw(text_without_lines(content, lines))
        return msgspec.json.encode(fields)
    kept = [rest for part in items(content) if (rest := part_without_lines(part, lines)) is not None]
    fields["content"] = msgspec.Raw(as_array(kept) if kept else b'""')
    return msgspec.json.encode(fields)
