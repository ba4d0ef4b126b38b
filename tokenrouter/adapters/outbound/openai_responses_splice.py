"""A Responses request on its native lane: the client's own bytes with the edits that are on spliced in.

Marks sit on input parts only: `instructions`, strings, the model's own words and tools can carry none.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.outbound.splice import (
    as_array,
    as_object,
    assemble,
    directive,
    is_text,
    items,
    marked,
    marks_in_place,
    members,
    part_without_lines,
    text,
    text_without_lines,
    without,
)
from tokenrouter.adapters.wire.foreign_reasoning import PREFIX
from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical, Reading
from tokenrouter.model.edits import CONTENT_PARTS, EXTENSIONS, MARKS_PLAN, MODEL_NAME, TOOLS_ORDER, VOLATILE_KNOWN
from tokenrouter.model.envelope import Envelope
from tokenrouter.model.volatile import Volatile

_OPTIONS = "prompt_cache_options"
_MARK_SPELLINGS = ("cache_control", "prompt_cache_breakpoint")
_LISTS = ("content", "output")
_SEALED = b'"' + PREFIX.encode()


class ResponsesSplice:
    """One request on its way up: which members are replaced, and by which edit. `applied`, `dropped`: as in `Outgoing`."""

    def __init__(
        self,
        envelope: Envelope,
        canonical: Canonical,
        model: Model,
        deployment: Deployment,
        plan: CachePlan,
        edits: frozenset[str],
        volatile: Mapping[str, Volatile],
    ) -> None:
        self._envelope, self._canonical, self._model, self._deployment = envelope, canonical, model, deployment
        self._plan, self._edits, self._volatile = plan, edits, volatile
        # OpenAI's models before 5.6 cache by themselves and refuse marks (prompt-caching guide).
        self._field = "" if model.cache.style == "automatic" else deployment.mark_field
        self._parts_alike = CONTENT_PARTS in edits and model.cache.parts_alike
        self._replaced: dict[str, bytes] = {}
        self.applied: dict[str, None] = {}
        self.dropped: dict[str, None] = {}

    def body(self) -> bytes:
        """The body to send."""
        if text(self._envelope.fields["model"]) != self._model.name:
            self._replaced["model"] = msgspec.json.encode(self._model.name)
            self.applied[MODEL_NAME] = None
        self._tools()
        self._instructions()
        self._input()
        self._affinity()
        self._writing()
        if self._envelope.extensions:
            self.applied[EXTENSIONS] = None
        return assemble(self._envelope, self._replaced)

    def _tools(self) -> None:
        tools, order, field = self._envelope.tools, self._canonical.tool_order, self._field
        in_order = order or range(len(tools))
        foreign = [
            sent
            for sent, reading in enumerate(self._canonical.tools)
            if MARKS_PLAN in self._edits and any(mark.spelling != field for mark in reading.marks)
        ]
        if order is None and not foreign:
            return
        slices = [bytes(tools[i]) for i in in_order]
        for sent in foreign:
            slices[sent] = without(slices[sent], _MARK_SPELLINGS)
            self.applied[MARKS_PLAN] = None
        if order is not None:
            self.applied[TOOLS_ORDER] = None
            slices = marks_in_place(slices, order, field)
        self._replaced["tools"] = as_array(slices)

    def _instructions(self) -> None:
        for raw, reading in zip(self._envelope.system, self._canonical.messages, strict=False):
            lines = self._lines(reading)
            rest = text_without_lines(bytes(raw), lines) if lines else b""
            if lines and rest != bytes(raw):
                self._replaced["instructions"] = rest
                self.applied[VOLATILE_KNOWN] = None

    def _input(self) -> None:
        ours: dict[int, list[Breakpoint]] = {}
        for mark in self._plan.breakpoints:
            if mark.section == "b_messages":
                ours.setdefault(mark.index, []).append(mark)
        first, opening, style = len(self._envelope.system), self._canonical.opening, self._model.cache.style
        # Once and for all turns: a mark that moves along with the conversation must not take the form of an item with it.
        in_parts = len(self._canonical.messages) if style == "marks" else opening if style == "breakpoints" else 0
        in_parts = in_parts if self._parts_alike else 0
        changed: dict[int, bytes] = {}
        for index, raw in enumerate(self._envelope.messages):
            place = first + index
            reading = self._canonical.messages[place]
            if place < max(opening, in_parts) or reading.marks or place in ours:
                came = bytes(raw)
                new = self._item(came, reading, ours.get(place, []), to_parts=place < in_parts, opening=place < opening)
                if new != came:
                    changed[index] = new
        foreign = self._foreign()
        if changed or foreign:
            slices = [changed.get(index) or bytes(raw) for index, raw in enumerate(self._envelope.messages) if index not in foreign]
            self._replaced["input"] = as_array(slices)

    def _foreign(self) -> set[int]:
        """Reasoning in an envelope of ours: another vendor's, who alone can check it."""
        if _SEALED not in self._envelope.body:
            return set()
        found = {index for index, raw in enumerate(self._envelope.messages) if _SEALED in bytes(raw) and _is_sealed(bytes(raw))}
        if found:
            self.applied[EXTENSIONS] = None
            self.dropped["input.reasoning"] = None
        return found

    def _item(self, raw: bytes, reading: Reading, marks: list[Breakpoint], *, to_parts: bool, opening: bool) -> bytes:
        field = self._field
        keep_own = bool(reading.marks) and all(mark.spelling == field for mark in reading.marks)
        if reading.marks and MARKS_PLAN in self._edits and not keep_own:
            raw = _unmarked(raw)
            self.applied[MARKS_PLAN] = None
        wanted = [mark for mark in marks if mark.origin == "gateway" or not keep_own] if field else []
        if to_parts or (wanted and self._parts_alike):
            as_parts = _in_parts(raw)
            if as_parts is not raw:
                raw = as_parts
                self.applied[CONTENT_PARTS] = None
        for mark in wanted:
            new = _marked_part(raw, mark, field)
            if new is not raw:
                raw = new
                self.applied[MARKS_PLAN] = None
        if opening and (lines := self._lines(reading)):  # last: marks count the parts that the client sent
            rest = _without_lines(raw, lines)
            if rest != raw:
                raw = rest
                self.applied[VOLATILE_KNOWN] = None
        return raw

    def _lines(self, reading: Reading) -> list[Volatile]:
        if not reading.volatile or VOLATILE_KNOWN not in self._edits:
            return []
        return [self._volatile[line] for line in reading.volatile if line not in self._deployment.keeps_volatile]

    def _affinity(self) -> None:
        field = self._deployment.affinity_field
        if field and self._plan.affinity and field not in self._envelope.fields:
            self._replaced[field] = msgspec.json.encode(self._plan.affinity)
            self.applied[MARKS_PLAN] = None

    def _writing(self) -> None:
        if self._plan.writing and self._field == "prompt_cache_breakpoint" and _OPTIONS not in self._envelope.fields:
            self._replaced[_OPTIONS] = msgspec.json.encode({"mode": self._plan.writing})
            self.applied[MARKS_PLAN] = None


def _is_sealed(item: bytes) -> bool:
    content = members(item).get("encrypted_content") if item[:1] == b"{" else None
    return is_text(content) and bytes(content or b"").startswith(_SEALED)


def _unmarked(item: bytes) -> bytes:
    """The item without any cache mark, on itself and on its parts."""
    fields = members(without(item, _MARK_SPELLINGS))
    for name in _LISTS:
        value = fields.get(name)
        if value is not None and bytes(value)[:1] == b"[":
            fields[name] = msgspec.Raw(as_array([without(part, _MARK_SPELLINGS) for part in items(value)]))
    return as_object(fields)


def _in_parts(item: bytes) -> bytes:
    """The item with one part in the place of a string; a string that stands alone is a user's message. The model's words stay as they are."""
    if is_text(item):
        return b'{"role":"user","content":[' + _input_text(item) + b"]}" if item != b'""' else item
    fields = members(item)
    for name in _LISTS:
        value = fields.get(name)
        if value is None or not is_text(value) or bytes(value) == b'""':
            continue
        role = fields.get("role")
        if name == "content" and (role is None or text(role) == "assistant"):
            continue
        fields[name] = msgspec.Raw(b"[" + _input_text(bytes(value)) + b"]")
        return as_object(fields)
    return item


def _input_text(raw: bytes) -> bytes:
    return b'{"type":"input_text","text":' + raw + b"}"


def _marked_part(item: bytes, mark: Breakpoint, field: str) -> bytes:
    """Add a mark to an input part. Where there is none to carry it, nothing changes."""
    if is_text(item):
        return item
    fields = members(item)
    for name in _LISTS:
        value = fields.get(name)
        if value is None or bytes(value)[:1] != b"[":
            continue
        parts = items(value)
        index = mark.part if mark.part >= 0 else len(parts) - 1
        if not 0 <= index < len(parts) or not text(members(parts[index])["type"]).startswith("input_"):
            return item
        new = marked(parts[index], field, directive(field, mark.lifetime_s))
        if new is parts[index]:
            return item
        parts[index] = new
        fields[name] = msgspec.Raw(as_array(parts))
        return as_object(fields)
    return item


def _without_lines(item: bytes, lines: Sequence[Volatile]) -> bytes:
    """A message without known per-request lines; a part that held nothing else goes with them."""
    fields = members(item)
    content = fields.get("content")
    if content is None:
        return item
    if is_text(content):
        rest = text_without_lines(bytes(content), lines)
        if rest == bytes(content):
            return item
    else:
        parts = items(content)
        kept = [part for part in (part_without_lines(part, lines) for part in parts) if part is not None]
        if kept == parts:
            return item
        rest = as_array(kept) if kept else b'""'
    return as_object({**fields, "content": msgspec.Raw(rest)})
