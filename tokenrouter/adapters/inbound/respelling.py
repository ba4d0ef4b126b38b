"""Pieces of a request in other spellings: calls and their results under the ids and with the arguments that a vendor wrote, system texts in
two parts.

Source: the dialects' grammars beside this file. What is not named here keeps the client's own bytes.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from tokenrouter.adapters.wire.gemini_layout import raw_items, spelled, with_tools
from tokenrouter.model.envelope import Envelope

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_Fields = dict[str, msgspec.Raw]


Wanted = Mapping[int, tuple[str | None, str | None]]
"""By the place of a call among those of its message: its id and its arguments (JSON text); None where the client's stay."""
Names = Mapping[str, str]
"""Ids of calls in results, as the client has them and as they shall be."""


def respelled(dialect: str, raw: bytes, wanted: Wanted, names: Names) -> bytes:
    """A message with these of its calls written anew, and results under the names of their calls; the very same bytes where there are none."""
    made = _PIECES[dialect](raw, wanted, names)
    return raw if made is None else made


def speaks(dialect: str) -> bool:
    """Whether the calls of a dialect can be written anew."""
    return dialect in _PIECES


def with_pieces(envelope: Envelope, edit: str, *, tools: Sequence[bytes] | None = None, messages: Mapping[int, bytes] | None = None) -> Envelope:
    """The request with other tools, or with some other messages, by one edit."""
    fields, at_messages, at_tools = dict(envelope.fields), envelope.grammar.places[1], envelope.grammar.places[2]
    changes: dict[str, tuple[msgspec.Raw, ...]] = {}
    if tools is not None:
        changes["tools"] = tuple(map(msgspec.Raw, tools))
        fields[at_tools] = msgspec.Raw(with_tools(fields[at_tools], tools) if envelope.dialect == _GEMINI else _array(tools))
    if messages is not None:
        slices = [messages.get(index) or bytes(raw) for index, raw in enumerate(envelope.messages)]
        changes["messages"] = tuple(map(msgspec.Raw, slices))
        fields[at_messages] = msgspec.Raw(_array(slices))
    return msgspec.structs.replace(envelope, fields=fields, edited=(*envelope.edited, edit), **changes)


def system_text(envelope: Envelope, place: int) -> str | None:
    """The text of an opening system piece that can be split: a string, or one text part without anything beside its text and its mark.

    `place` counts pieces of a system prompt that stands apart, then messages.
    """
    kind = _SPLIT.get(envelope.dialect)
    holder = None if kind is None else _holder(envelope, place)
    if holder is None:
        return None
    if _is_string(holder):
        return _text(holder)
    part = _members.decode(holder)
    return _text(part.get("text")) if part.get("type") == _raw(kind) and part.keys() <= _SPLITTABLE else None


def with_split(envelope: Envelope, edit: str, place: int, chars: int) -> Envelope:
    """The request with that text in two parts; a mark that was on it stays at its end."""
    holder, kind = _holder(envelope, place), _SPLIT[envelope.dialect]
    if holder is None:
        return envelope
    part = {"type": _raw(kind)} if _is_string(holder) else _members.decode(holder)
    text = _text(holder) if _is_string(holder) else _text(part["text"])
    first = _encode({"type": _raw(kind), "text": text[:chars]})
    second = _encode({**part, "text": text[chars:]})
    before = len(envelope.system)
    if place >= before:
        fields = _members.decode(envelope.messages[place - before]) | {"content": msgspec.Raw(_array([first, second]))}
        return with_pieces(envelope, edit, messages={place - before: _encode(fields)})
    pieces = (*envelope.system[:place], msgspec.Raw(first), msgspec.Raw(second), *envelope.system[place + 1 :])
    at = envelope.grammar.places[0]
    new_fields = {**envelope.fields, at: msgspec.Raw(_array([bytes(piece) for piece in pieces]))}
    return msgspec.structs.replace(envelope, fields=new_fields, system=pieces, edited=(*envelope.edited, edit))


def without_affinity(envelope: Envelope, edit: str) -> Envelope:
    """The request without an affinity key of the client's own."""
    fields = {name: raw for name, raw in envelope.fields.items() if name != _AFFINITY}
    rest = tuple(name for name in envelope.rest if name != _AFFINITY)
    return msgspec.structs.replace(envelope, fields=fields, rest=rest, edited=(*envelope.edited, edit))


def affinity_of(envelope: Envelope) -> str:
    """The client's own affinity key; "" where it sets none."""
    return _text(envelope.fields.get(_AFFINITY))


def _holder(envelope: Envelope, place: int) -> bytes | None:
    """What holds the only text of a piece: a string or a part. None where there is not just one."""
    before = len(envelope.system)
    if place < before:
        return bytes(envelope.system[place]) if envelope.dialect == _ANTHROPIC else None
    raw = bytes(envelope.messages[place - before])
    if raw[:1] != b"{" or envelope.dialect == _ANTHROPIC:
        return None
    content = _members.decode(raw).get("content")
    if content is None or _is_string(content):
        return None if content is None else bytes(content)
    parts = _items.decode(content) if bytes(content)[:1] == b"[" else []
    return bytes(parts[0]) if len(parts) == 1 and bytes(parts[0])[:1] == b"{" else None


def _is_string(raw: bytes | msgspec.Raw) -> bool:
    return bytes(raw)[:1] == b'"'


def _raw(word: str | None) -> msgspec.Raw:
    return msgspec.Raw(_encode(word))


def _array(pieces: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(pieces) + b"]"


def _text(raw: bytes | msgspec.Raw | None) -> str:
    value = None if raw is None else msgspec.json.decode(raw)
    return value if isinstance(value, str) else ""


def _each(fields: _Fields, name: str, change: Callable[[_Fields], bool]) -> bool:
    """Change the objects of a list inside `fields`; whether any was."""
    raw = fields.get(name)
    if raw is None or bytes(raw)[:1] != b"[":
        return False
    pieces, changed = [bytes(item) for item in _items.decode(raw)], False
    for index, piece in enumerate(pieces):
        inner = _members.decode(piece) if piece[:1] == b"{" else {}
        if inner and change(inner):
            pieces[index], changed = _encode(inner), True
    if changed:
        fields[name] = msgspec.Raw(_array(pieces))
    return changed


def _name(fields: _Fields, name: str, names: Names) -> bool:
    """Give a result its call's id; whether that changed it."""
    new = names.get(_text(fields[name])) if name in fields else None
    if new is not None:
        fields[name] = msgspec.Raw(_encode(new))
    return new is not None


class _Calls:
    """Writes the calls of one message anew, in their order."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted, self._next = wanted, 0

    def write(self, fields: _Fields, name: str) -> tuple[bool, str | None]:
        """Give the next call its id. Whether it is to be written anew, and with which arguments."""
        new_id, arguments = self._wanted.get(self._next, (None, None))
        self._next += 1
        if new_id is not None:
            fields[name] = msgspec.Raw(_encode(new_id))
        return new_id is not None or arguments is not None, arguments


def _chat(raw: bytes, wanted: Wanted, names: Names) -> bytes | None:
    fields, calls = _members.decode(raw), _Calls(wanted)

    def call(one: _Fields) -> bool:
        changed, arguments = calls.write(one, "id")
        if arguments is not None and "function" in one:
            inner = _members.decode(one["function"]) | {"arguments": msgspec.Raw(_encode(arguments))}
            one["function"] = msgspec.Raw(_encode(inner))
        return changed

    changed = _each(fields, "tool_calls", call)
    changed = _name(fields, "tool_call_id", names) or changed
    return _encode(fields) if changed else None


def _responses(raw: bytes, wanted: Wanted, names: Names) -> bytes | None:
    if raw[:1] != b"{":
        return None
    fields = _members.decode(raw)
    if not _text(fields.get("type")).endswith("_call"):
        return _encode(fields) if _name(fields, "call_id", names) else None
    changed, arguments = _Calls(wanted).write(fields, "call_id")
    if arguments is not None and "arguments" in fields:
        fields["arguments"] = msgspec.Raw(_encode(arguments))
    return _encode(fields) if changed else None


def _anthropic(raw: bytes, wanted: Wanted, names: Names) -> bytes | None:
    fields, calls = _members.decode(raw), _Calls(wanted)

    def block(one: _Fields) -> bool:
        match _text(one.get("type")):
            case "tool_use":
                changed, arguments = calls.write(one, "id")
                if arguments is not None:
                    one["input"] = msgspec.Raw(arguments.encode())
                return changed
            case "tool_result":
                return _name(one, "tool_use_id", names)
            case _:
                return False

    return _encode(fields) if _each(fields, "content", block) else None


def _gemini(raw: bytes, wanted: Wanted, names: Names) -> bytes | None:
    fields, calls = _members.decode(raw), _Calls(wanted)
    name = spelled(fields).get("parts")
    if name is None or bytes(fields[name])[:1] not in (b"[", b"{"):
        return None
    parts, changed = [_members.decode(part) for part in raw_items(fields[name], "parts")], False
    for part in parts:
        own = spelled(part)
        for kind in ("functionCall", "functionResponse"):
            inner = part.get(own.get(kind, ""))
            if inner is None or bytes(inner)[:1] != b"{":
                continue
            one = _members.decode(inner)
            new, arguments = calls.write(one, "id") if kind == "functionCall" else (_name(one, "id", names), None)
            if arguments is not None:
                one["args"] = msgspec.Raw(arguments.encode())
            if new:
                part[own[kind]], changed = msgspec.Raw(_encode(one)), True
    if changed:
        fields[name] = msgspec.Raw(_array([_encode(part) for part in parts]))
    return _encode(fields) if changed else None


_GEMINI, _ANTHROPIC = "gemini-generate", "anthropic-messages"
_AFFINITY = "prompt_cache_key"
_SPLITTABLE = frozenset(("type", "text", "cache_control", "prompt_cache_breakpoint"))
_SPLIT: Mapping[str, str] = {"openai-chat": "text", "neutral-chat": "text", "openai-responses": "input_text", _ANTHROPIC: "text"}
"""What a text part is called, in dialects whose system texts can be in parts."""
_PIECES: Mapping[str, Callable[[bytes, Wanted, Names], bytes | None]] = {
    "openai-chat": _chat,
    "neutral-chat": _chat,
    "openai-responses": _responses,
    _ANTHROPIC: _anthropic,
    _GEMINI: _gemini,
}
