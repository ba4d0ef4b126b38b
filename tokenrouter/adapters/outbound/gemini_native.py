"""The native lane of generateContent: the client's own bytes, changed only by the edits that are on.

There are no cache marks on this wire (its cache works by itself), so marks of other vendors are taken out and none are put in. Thoughts
that another vendor signed and that this gateway sealed on their way out (`wire/foreign_reasoning.py`) are left out: no signature of
another vendor is taken here.
"""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.splice import as_array, as_object, assemble, is_text, items, members, part_without_lines, text, text_without_lines
from tokenrouter.adapters.wire.foreign_reasoning import PREFIX
from tokenrouter.adapters.wire.gemini_layout import camel, raw_items, spelled, system_pieces, with_system, with_tools
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical, Reading
from tokenrouter.model.edits import EXTENSIONS, MARKS_PLAN, MODEL_NAME, TOOLS_ORDER, VOLATILE_KNOWN
from tokenrouter.model.envelope import Envelope
from tokenrouter.model.volatile import Volatile

JSON = (("content-type", "application/json"),)
_MARKS = frozenset(("cacheControl", "promptCacheBreakpoint"))
_SEALED = base64.b64encode(PREFIX.encode() + b"{}")[:5]
"""What every sealed signature begins with: the bits that the prefix alone decides."""

_TRUE = msgspec.Raw(b"true")


def address(model: Model, method: str, query: str = "") -> str:
    """The path below the base URL."""
    path = f"/models/{quote(model.name, safe='/.-_~@')}:{method}"
    return f"{path}?{query}" if query else path


class Splice:
    """One request on its way up: which members are replaced, and by which edit."""

    def __init__(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, edits: frozenset[str], volatile: Mapping[str, Volatile]
    ) -> None:
        """`volatile`: the known per-request lines that `volatile.known` may drop, by id."""
        self.envelope, self.canonical, self.model, self.deployment = envelope, canonical, model, deployment
        self.edits, self.volatile = edits, volatile
        self.names = spelled(envelope.fields)
        self.applied: dict[str, None] = {}
        self.dropped: dict[str, None] = {}
        self.replaced: dict[str, bytes] = {}

    def outgoing(self, path: str) -> Outgoing:
        """The request to send. With nothing to change, its body is the very body that came."""
        self._model_name()
        self._tools()
        self._system()
        self._contents()
        if self.envelope.extensions:
            self.applied[EXTENSIONS] = None
        return Outgoing(path=path, headers=JSON, body=assemble(self.envelope, self.replaced), edits=tuple(self.applied), dropped=tuple(self.dropped))

    def _model_name(self) -> None:
        """The path carries the name; a body that repeats it follows."""
        if self.envelope.outside.get(":model", self.model.name) == self.model.name:
            return
        self.applied[MODEL_NAME] = None
        if "model" in self.names:
            self.replaced[self.names["model"]] = msgspec.json.encode(f"models/{self.model.name}")

    def _tools(self) -> None:
        order = self.canonical.tool_order
        pieces = [bytes(raw) for raw in self.envelope.tools]
        if MARKS_PLAN in self.edits:
            pieces = [self._tool(piece) for piece in pieces]
        if order is not None:
            pieces = [pieces[index] for index in order]
            self.applied[TOOLS_ORDER] = None
        if order is not None or any(new != bytes(raw) for new, raw in zip(pieces, self.envelope.tools, strict=True)):
            name = self.names["tools"]
            self.replaced[name] = with_tools(self.envelope.fields[name], pieces)

    def _tool(self, piece: bytes) -> bytes:
        """A function, or an entry with functions in it, without cache marks."""
        piece = self._unmarked(piece)
        if b"ache" not in piece:
            return piece
        fields = members(piece)
        name = spelled(fields).get("functionDeclarations")
        if name is None or bytes(fields[name])[:1] not in (b"[", b"{"):
            return piece
        before = [bytes(one) for one in raw_items(fields[name], "functionDeclarations")]
        after = [self._unmarked(one) for one in before]
        return piece if after == before else as_object({**fields, name: msgspec.Raw(as_array(after))})

    def _system(self) -> None:
        pieces = self.envelope.system
        if not pieces:
            return
        new = [self._system_piece(bytes(raw), self.canonical.messages[index]) for index, raw in enumerate(pieces)]
        if all(piece == bytes(raw) for piece, raw in zip(new, pieces, strict=True)):
            return
        name = self.names["systemInstruction"]
        kept = [piece for piece in new if piece is not None]
        if kept or system_pieces(self.envelope.fields[name]) == (self.envelope.fields[name],):
            self.replaced[name] = with_system(self.envelope.fields[name], kept or [b'""'])
        else:
            self.replaced[name] = b"null"  # nothing is left of it, and no content may be without parts

    def _system_piece(self, piece: bytes, reading: Reading) -> bytes | None:
        if reading.marks and MARKS_PLAN in self.edits:
            piece = self._content(piece) if "parts" in members(piece) else self._unmarked(piece)
        lines = self._lines(reading)
        if not lines:
            return piece
        if is_text(piece):
            rest: bytes | None = text_without_lines(piece, lines)
        elif "parts" in (fields := members(piece)):
            kept = [part for raw in raw_items(fields["parts"], "parts") if (part := part_without_lines(bytes(raw), lines)) is not None]
            rest = as_object({**fields, "parts": msgspec.Raw(as_array(kept))}) if kept else None
        else:
            rest = part_without_lines(piece, lines)
        if rest != piece:
            self.applied[VOLATILE_KNOWN] = None
        return rest

    def _lines(self, reading: Reading) -> list[Volatile]:
        """The known per-request lines in a piece that this upstream would read as prompt."""
        if not reading.volatile or VOLATILE_KNOWN not in self.edits:
            return []
        return [self.volatile[line] for line in reading.volatile if line not in self.deployment.keeps_volatile]

    def _contents(self) -> None:
        before = len(self.envelope.system)
        foreign = _SEALED in self.envelope.body
        changed: dict[int, bytes | None] = {}
        for index, raw in enumerate(self.envelope.messages):
            piece: bytes | None = bytes(raw)
            if self.canonical.messages[before + index].marks and MARKS_PLAN in self.edits:
                piece = self._content(bytes(raw))
            if foreign and piece is not None and _SEALED in piece:
                piece = self._without_foreign(piece)
            if piece != bytes(raw):
                changed[index] = piece
        if changed:
            kept = [changed.get(index, bytes(raw)) for index, raw in enumerate(self.envelope.messages)]
            self.replaced[self.names["contents"]] = as_array([piece for piece in kept if piece is not None])

    def _content(self, content: bytes) -> bytes:
        """A content without cache marks, on itself and on its parts."""
        fields = members(self._unmarked(content))
        name = spelled(fields).get("parts")
        if name is not None and bytes(fields[name])[:1] in (b"[", b"{"):
            parts = [self._unmarked(bytes(part)) for part in raw_items(fields[name], "parts")]
            fields[name] = msgspec.Raw(as_array(parts))
        return as_object(fields)

    def _unmarked(self, piece: bytes) -> bytes:
        if b"ache" not in piece or not piece.startswith(b"{"):
            return piece
        fields = members(piece)
        kept = {name: value for name, value in fields.items() if camel(name) not in _MARKS}
        if len(kept) == len(fields):
            return piece
        self.applied[MARKS_PLAN] = None
        return as_object(kept)

    def _without_foreign(self, content: bytes) -> bytes | None:
        """The content without reasoning of other vendors; None where it held nothing else."""
        fields = members(content)
        name = spelled(fields).get("parts")
        if name is None or bytes(fields[name])[:1] != b"[":
            return content
        parts = items(fields[name])
        kept = [part for raw in parts if (part := _without_envelope(raw)) is not None]
        if kept == parts:
            return content
        self.applied[EXTENSIONS] = None
        self.dropped["contents.parts.thoughtSignature"] = None
        fields[name] = msgspec.Raw(as_array(kept))
        return as_object(fields) if kept else None


def _without_envelope(part: bytes) -> bytes | None:
    """A part without a sealed signature; a thought goes with it, since it is the other model's."""
    if _SEALED not in part or not part.startswith(b"{"):
        return part
    fields = members(part)
    names = spelled(fields)
    signature = fields.get(names.get("thoughtSignature", ""))
    if signature is None or not is_text(signature) or not is_sealed(text(signature)):
        return part
    if fields.get(names.get("thought", "")) == _TRUE:
        return None
    return as_object({name: value for name, value in fields.items() if name != names["thoughtSignature"]})


def is_sealed(signature: str) -> bool:
    """Whether a signature is an envelope of this gateway's."""
    try:
        return base64.b64decode(signature.replace("-", "+").replace("_", "/") + "=" * (-len(signature) % 4)).startswith(PREFIX.encode())
    except (ValueError, binascii.Error):
        return False
