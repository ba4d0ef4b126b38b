"""The OpenAI Chat Completions wire, toward OpenAI itself and every host that speaks it. Hosts differ by catalog data only.

Native lane: the request is the client's own bytes, changed only by the edits that are on. What is not touched is not re-encoded.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.chat_relay import ChatRelay, verdict
from tokenrouter.adapters.wire.openai_chat import error_message
from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical, Reading
from tokenrouter.model.edits import CONTENT_PARTS, EXTENSIONS, MARKS_PLAN, MODEL_NAME, TOOLS_ORDER, USAGE_ASK, VOLATILE_KNOWN
from tokenrouter.model.envelope import Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Volatile, without_lines

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_string = msgspec.json.Decoder(str)
_MARK_SPELLINGS = ("cache_control", "prompt_cache_breakpoint")
_CHAT_PATH = "/chat/completions"
_JSON = (("content-type", "application/json"),)


class OpenAIChatWire:
    """See `OutboundAdapter` and `NativeWire`. No dialect but its own is spoken inbound yet, so nothing is translated to it."""

    wire = "openai-chat"
    operation: Operation = "generate"
    dialect = "openai-chat"
    translated = None

    def __init__(self, volatile: tuple[Volatile, ...] = ()) -> None:
        """`volatile`: the known per-request lines that `volatile.known` may drop."""
        self._volatile = {line.id: line for line in volatile}

    @property
    def native(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """Splice the edits that are on into the client's own bytes. With none to make, the body is the very body that came."""
        splice = _Splice(envelope, canonical, model, deployment, plan, edits, self._volatile)
        body = splice.body()
        return Outgoing(path=_CHAT_PATH, headers=_JSON, body=body, edits=tuple(splice.applied))

    def relay(self, params: ParamWords, *, hide_usage: bool) -> ChatRelay:
        """A new tap on a stream of this wire, for a client that speaks it too."""
        return ChatRelay(hide_usage=hide_usage, choices=params.choices)

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        return verdict(body)

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return error_message(body)


class _Splice:
    """One request on its way up: which members are replaced, and by which edit."""

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
        self.envelope, self.canonical, self.model, self.deployment = envelope, canonical, model, deployment
        self.plan, self.edits, self.volatile = plan, edits, volatile
        # OpenAI's models before 5.6 cache by themselves and refuse marks (prompt-caching guide).
        self.field = "" if model.cache.style == "automatic" else deployment.mark_field
        self.applied: dict[str, None] = {}
        self.replaced: dict[str, bytes] = {}

    def body(self) -> bytes:
        """The body to send."""
        self._model_name()
        self._tools()
        self._messages()
        self._affinity()
        self._usage()
        if self.envelope.extensions:
            self.applied[EXTENSIONS] = None
        if not self.replaced and not self.envelope.extensions:
            return self.envelope.body
        replaced = self.replaced
        members = [msgspec.json.encode(name) + b":" + (replaced.pop(name, b"") or bytes(raw)) for name, raw in self.envelope.fields.items()]
        members += [msgspec.json.encode(name) + b":" + value for name, value in replaced.items()]
        return b"{" + b",".join(members) + b"}"

    def _model_name(self) -> None:
        if _string.decode(self.envelope.fields["model"]) != self.model.name:
            self.replaced["model"] = msgspec.json.encode(self.model.name)
            self.applied[MODEL_NAME] = None

    def _tools(self) -> None:
        tools, order, field = self.envelope.tools, self.canonical.tool_order, self.field
        marked = [i for i, reading in enumerate(self.canonical.tools) if reading.marks and MARKS_PLAN in self.edits]
        foreign = [i for i in marked if any(mark.spelling != field for mark in self.canonical.tools[i].marks)]
        if order is None and not foreign:
            return
        slices = [bytes(tools[i]) for i in (order or range(len(tools)))]
        for index in foreign:
            slices[index] = _unmarked_tool(slices[index])
            self.applied[MARKS_PLAN] = None
        if order is not None:
            self.applied[TOOLS_ORDER] = None
            slices = _marks_in_place(slices, order, field)
        self.replaced["tools"] = b"[" + b",".join(slices) + b"]"

    def _messages(self) -> None:
        changed: dict[int, bytes] = {}
        ours: dict[int, list[Breakpoint]] = {}
        for mark in self.plan.breakpoints:
            if mark.section == "b_messages":
                ours.setdefault(mark.index, []).append(mark)
        opening, cache = self.canonical.opening, self.model.cache
        # Once and for all turns: a mark that moves along with the conversation must not take the form of a message with it.
        in_parts = len(self.canonical.messages) if cache.style == "marks" else opening if cache.style == "breakpoints" else 0
        if CONTENT_PARTS not in self.edits or not cache.parts_alike:
            in_parts = 0
        for index, reading in enumerate(self.canonical.messages):
            if index < max(opening, in_parts) or reading.marks or index in ours:
                raw = bytes(self.envelope.messages[index])
                new = self._message(raw, reading, ours.get(index, []), to_parts=index < in_parts, opening=index < opening)
                if new is not raw:
                    changed[index] = new
        if changed:
            slices = [changed.get(index) or bytes(raw) for index, raw in enumerate(self.envelope.messages)]
            self.replaced["messages"] = b"[" + b",".join(slices) + b"]"

    def _message(self, raw: bytes, reading: Reading, marks: list[Breakpoint], *, to_parts: bool, opening: bool) -> bytes:
        field = self.field
        keep_own = bool(reading.marks) and all(mark.spelling == field for mark in reading.marks)
        if reading.marks and MARKS_PLAN in self.edits and not keep_own:
            raw = _strip_marks(raw)
            self.applied[MARKS_PLAN] = None
        wanted = [mark for mark in marks if mark.origin == "gateway" or not keep_own] if field else []
        if to_parts:
            as_parts = _to_parts(raw)
            if as_parts is not raw:
                raw = as_parts
                self.applied[CONTENT_PARTS] = None
        for mark in wanted:
            marked = _mark_part(raw, mark, field)
            if marked is not raw:
                raw = marked
                self.applied[MARKS_PLAN] = None
        if opening and reading.volatile and VOLATILE_KNOWN in self.edits:  # last: marks count the parts that the client sent
            lines = [self.volatile[line] for line in reading.volatile if line not in self.deployment.keeps_volatile]
            dropped = _drop_lines(raw, lines)
            if dropped is not raw:
                raw = dropped
                self.applied[VOLATILE_KNOWN] = None
        return raw

    def _affinity(self) -> None:
        field = self.deployment.affinity_field
        if field and self.plan.affinity and field not in self.envelope.fields:
            self.replaced[field] = msgspec.json.encode(self.plan.affinity)
            self.applied[MARKS_PLAN] = None

    def _usage(self) -> None:
        fields = self.envelope.fields
        if USAGE_ASK not in self.edits or fields.get("stream") != _TRUE:
            return
        options = fields.get("stream_options")
        members = _fields.decode(options) if options is not None and options != _NULL else {}
        if members.get("include_usage") != _TRUE and "no_stream_options" not in self.deployment.quirks:
            members["include_usage"] = _TRUE
            self.replaced["stream_options"] = msgspec.json.encode(members)
            self.applied[USAGE_ASK] = None


_TRUE = msgspec.Raw(b"true")
_NULL = msgspec.Raw(b"null")


def _without(raw: bytes, names: tuple[str, ...]) -> bytes:
    members = _fields.decode(raw)
    return msgspec.json.encode({name: value for name, value in members.items() if name not in names})


def _unmarked_tool(tool: bytes) -> bytes:
    """A tool definition without any cache mark, outside and inside its function."""
    members = _fields.decode(_without(tool, _MARK_SPELLINGS))
    for kind in ("function", "custom"):
        if kind in members:
            members[kind] = msgspec.Raw(_without(bytes(members[kind]), _MARK_SPELLINGS))
    return msgspec.json.encode(members)


def _marks_in_place(tools: list[bytes], order: Sequence[int], field: str) -> list[bytes]:
    """Sorted tools with the client's own marks where they stood in its list: a mark is a place, no property of a tool."""
    marks: dict[int, msgspec.Raw] = {}
    for sent, client_index in enumerate(order):
        if field and f'"{field}"'.encode() in tools[sent] and field in (members := _fields.decode(tools[sent])):
            marks[client_index] = members.pop(field)
            tools[sent] = msgspec.json.encode(members)
    for index, mark in marks.items():
        tools[index] = msgspec.json.encode({**_fields.decode(tools[index]), field: mark})
    return tools


def _strip_marks(message: bytes) -> bytes:
    """The message without any cache mark, at message and part level."""
    members = _fields.decode(_without(message, _MARK_SPELLINGS))
    content = members.get("content")
    if content is not None and bytes(content)[:1] == b"[":
        parts = b",".join(_without(bytes(part), _MARK_SPELLINGS) for part in _items.decode(content))
        members["content"] = msgspec.Raw(b"[" + parts + b"]")
    return msgspec.json.encode(members)


def _to_parts(message: bytes) -> bytes:
    """String content as one text part; anything else stays as it is."""
    members = _fields.decode(message)
    content = members.get("content")
    if content is None or bytes(content)[:1] != b'"' or bytes(content) == b'""':
        return message
    members["content"] = msgspec.Raw(b'[{"type":"text","text":' + bytes(content) + b"}]")
    return msgspec.json.encode(members)


def _mark_part(message: bytes, mark: Breakpoint, field: str) -> bytes:
    """Add a mark to a content part. Where there are no parts to carry it, nothing changes."""
    members = _fields.decode(message)
    content = members.get("content")
    if content is None or bytes(content)[:1] != b"[":
        return message
    parts = [bytes(part) for part in _items.decode(content)]
    index = mark.part if mark.part >= 0 else len(parts) - 1
    if not 0 <= index < len(parts) or field in _fields.decode(parts[index]):
        return message
    parts[index] = parts[index].rstrip()[:-1] + b',"' + field.encode() + b'":' + _directive(mark, field) + b"}"
    members["content"] = msgspec.Raw(b"[" + b",".join(parts) + b"]")
    return msgspec.json.encode(members)


def _directive(mark: Breakpoint, field: str) -> bytes:
    if field == "cache_control":
        return b'{"type":"ephemeral","ttl":"1h"}' if mark.lifetime_s == 3600 else b'{"type":"ephemeral"}'
    return b'{"mode":"explicit","ttl":"12h"}' if mark.lifetime_s == 43_200 else b'{"mode":"explicit"}'


def _drop_lines(message: bytes, lines: list[Volatile]) -> bytes:
    """The system message without known per-request lines; a part that held nothing else goes with them."""
    if not lines:
        return message
    members = _fields.decode(message)
    content = bytes(members["content"])
    if content[:1] == b'"':
        members["content"] = msgspec.Raw(msgspec.json.encode(without_lines(_string.decode(content), lines)))
        return msgspec.json.encode(members)
    kept: list[bytes] = []
    for part in _items.decode(content):
        inner = _fields.decode(part)
        text = _string.decode(inner["text"]) if "text" in inner and bytes(inner["text"])[:1] == b'"' else None
        rest = without_lines(text, lines) if text is not None else text
        if rest == text:
            kept.append(bytes(part))
        elif rest:
            kept.append(msgspec.json.encode({**inner, "text": rest}))
    members["content"] = msgspec.Raw(b"[" + b",".join(kept) + b"]" if kept else b'""')
    return msgspec.json.encode(members)
