"""The OpenAI Chat Completions wire, toward OpenAI itself and every host that speaks it. Hosts differ by catalog data only.

Native lane: the request is the client's own bytes, changed only by the edits that are on. What is not touched is not re-encoded.
Translation lane: `openai_chat_render`.
"""

from collections.abc import Mapping
from typing import Self

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.chat_relay import ChatRelay, ThinChatRelay, verdict
from tokenrouter.adapters.outbound.openai_chat_render import CHAT_PATH, HEADERS, render
from tokenrouter.adapters.outbound.splice import (
    NULL,
    as_array,
    as_object,
    assemble,
    directive,
    in_parts,
    items,
    mark_part,
    marks_in_place,
    members,
    message_without_lines,
    text,
    without,
)
from tokenrouter.adapters.wire.openai_chat import ChatEventDecoder, decode_answer, error_message
from tokenrouter.model.answer import Answer
from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical, Reading
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.edits import (
    CHUNKS_EMPTY,
    CONTENT_PARTS,
    EXTENSIONS,
    LIMITS_NAME,
    MARKS_PLAN,
    MODEL_NAME,
    TOOLS_ORDER,
    USAGE_ASK,
    VOLATILE_KNOWN,
)
from tokenrouter.model.envelope import Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Volatile

_OPTIONS = "prompt_cache_options"
_MARK_SPELLINGS = ("cache_control", "prompt_cache_breakpoint")


class OpenAIChatWire:
    """See `OutboundAdapter`, `NativeWire` and `TranslatedWire`."""

    wire = "openai-chat"
    operation: Operation = "generate"
    dialect = "openai-chat"

    def __init__(self, volatile: tuple[Volatile, ...] = ()) -> None:
        """`volatile`: the known per-request lines that `volatile.known` may drop."""
        self._volatile = {line.id: line for line in volatile}

    @property
    def native(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    @property
    def translated(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """Splice the edits that are on into the client's own bytes. With none to make, the body is the very body that came."""
        splice = _Splice(envelope, canonical, model, deployment, plan, edits, self._volatile)
        body = splice.body()
        return Outgoing(path=CHAT_PATH, headers=(*HEADERS, *splice.headers), body=body, edits=tuple(splice.applied))

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `TranslatedWire`."""
        return render(conversation, model, deployment, plan)

    def decode_answer(self, body: bytes) -> Answer:
        """See `TranslatedWire`."""
        return decode_answer(body)

    def decoder(self) -> ChatEventDecoder:
        """See `TranslatedWire`."""
        return ChatEventDecoder()

    def relay(self, params: ParamWords, *, hide_usage: bool, drop_empty: bool = False) -> ChatRelay:
        """A new tap on a stream of this wire, for a client that speaks it too; see `ThinningWire`."""
        return (ThinChatRelay if drop_empty else ChatRelay)(hide_usage=hide_usage, choices=params.choices)

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
        self.renamed: dict[str, str] = {}
        self.headers: tuple[tuple[str, str], ...] = ()

    def body(self) -> bytes:
        """The body to send."""
        self._model_name()
        self._tools()
        self._messages()
        self._affinity()
        self._writing()
        self._usage()
        self._limit()
        if "empty_chunks" in self.deployment.quirks and CHUNKS_EMPTY in self.edits and self.envelope.fields.get("stream") == _TRUE:
            self.applied[CHUNKS_EMPTY] = None
        if self.envelope.extensions:
            self.applied[EXTENSIONS] = None
        return assemble(self.envelope, self.replaced, self.renamed)

    def _model_name(self) -> None:
        if text(self.envelope.fields["model"]) != self.model.name:
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
            slices = marks_in_place(slices, order, field)
        self.replaced["tools"] = as_array(slices)

    def _messages(self) -> None:
        changed: dict[int, bytes] = {}
        ours: dict[int, list[Breakpoint]] = {}
        for mark in self.plan.breakpoints:
            if mark.section == "b_messages":
                ours.setdefault(mark.index, []).append(mark)
        opening, cache = self.canonical.opening, self.model.cache
        # Once and for all turns: a mark that moves along with the conversation must not take the form of a message with it.
        in_parts = len(self.canonical.messages) if cache.style == "marks" or self.plan.writing else opening if cache.style == "breakpoints" else 0
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
            self.replaced["messages"] = as_array(slices)

    def _message(self, raw: bytes, reading: Reading, marks: list[Breakpoint], *, to_parts: bool, opening: bool) -> bytes:
        field = self.field
        keep_own = bool(reading.marks) and all(mark.spelling == field for mark in reading.marks)
        if reading.marks and MARKS_PLAN in self.edits and not keep_own:
            raw = _strip_marks(raw)
            self.applied[MARKS_PLAN] = None
        wanted = [mark for mark in marks if mark.origin == "gateway" or not keep_own] if field else []
        whole = any(mark.origin == "client" and mark.part < 0 for mark in wanted)  # a mark on the message: only its parts can carry it
        if to_parts or (whole and CONTENT_PARTS in self.edits and self.model.cache.parts_alike):
            as_parts = in_parts(raw)
            if as_parts is not raw:
                raw = as_parts
                self.applied[CONTENT_PARTS] = None
        for mark in wanted:
            marked = mark_part(raw, mark.part, field, directive(field, mark.lifetime_s))
            if marked is not raw:
                raw = marked
                self.applied[MARKS_PLAN] = None
        if opening and reading.volatile and VOLATILE_KNOWN in self.edits:  # last: marks count the parts that the client sent
            lines = [self.volatile[line] for line in reading.volatile if line not in self.deployment.keeps_volatile]
            dropped = message_without_lines(raw, lines)
            if dropped is not raw:
                raw = dropped
                self.applied[VOLATILE_KNOWN] = None
        return raw

    def _affinity(self) -> None:
        field, header = self.deployment.affinity_field, self.deployment.affinity_header
        if header and self.plan.affinity:
            self.headers = ((header, self.plan.affinity),)
            self.applied[MARKS_PLAN] = None
        elif field and self.plan.affinity and field not in self.envelope.fields:
            self.replaced[field] = msgspec.json.encode(self.plan.affinity)
            self.applied[MARKS_PLAN] = None

    def _writing(self) -> None:
        if self.plan.writing and self.field == "prompt_cache_breakpoint" and _OPTIONS not in self.envelope.fields:
            self.replaced[_OPTIONS] = msgspec.json.encode({"mode": self.plan.writing})
            self.applied[MARKS_PLAN] = None

    def _usage(self) -> None:
        fields = self.envelope.fields
        if USAGE_ASK not in self.edits or fields.get("stream") != _TRUE:
            return
        options = fields.get("stream_options")
        asked = members(options) if options is not None and options != NULL else {}
        if asked.get("include_usage") != _TRUE and "no_stream_options" not in self.deployment.quirks:
            asked["include_usage"] = _TRUE
            self.replaced["stream_options"] = as_object(asked)
            self.applied[USAGE_ASK] = None

    def _limit(self) -> None:
        fields = self.envelope.fields
        if "max_tokens" in self.deployment.quirks and fields.get("max_completion_tokens", NULL) != NULL and "max_tokens" not in fields:
            self.renamed["max_completion_tokens"] = "max_tokens"
            self.applied[LIMITS_NAME] = None


_TRUE = msgspec.Raw(b"true")


def _unmarked_tool(tool: bytes) -> bytes:
    """A tool definition without any cache mark, outside and inside its function."""
    fields = members(without(tool, _MARK_SPELLINGS))
    for kind in ("function", "custom"):
        if kind in fields:
            fields[kind] = msgspec.Raw(without(bytes(fields[kind]), _MARK_SPELLINGS))
    return as_object(fields)


def _strip_marks(message: bytes) -> bytes:
    """The message without any cache mark, at message and part level."""
    fields = members(without(message, _MARK_SPELLINGS))
    content = fields.get("content")
    if content is not None and bytes(content)[:1] == b"[":
        fields["content"] = msgspec.Raw(as_array([without(part, _MARK_SPELLINGS) for part in items(content)]))
    return as_object(fields)
