"""The native lane of Anthropic's Messages API, and of hosts that speak it: the client's own bytes, changed only by the edits that are on.

Marks of the client's are never touched, whatever the host: they are words of the dialect. Texts become blocks only where a mark of ours
comes to sit, since the vendor documents a string as shorthand for one text block. Our marks never sit on thinking blocks or empty text.
Reasoning in an envelope of ours (`wire/foreign_reasoning.py`) is another vendor's; its blocks are left out, as no signature of
another vendor is taken here.
Source: Anthropic's documentation of prompt caching; anthropic-python 2.11 `types/`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.anthropic_relay import MessagesRelay, verdict
from tokenrouter.adapters.outbound.splice import (
    as_array,
    as_object,
    assemble,
    directive,
    in_parts,
    is_text,
    items,
    mark_part,
    marked,
    marks_in_place,
    members,
    message_without_lines,
    part_without_lines,
    text,
    text_block,
    text_without_lines,
)
from tokenrouter.adapters.wire.foreign_reasoning import PREFIX
from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.cache_plan import NO_PLAN, Breakpoint, CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical, Reading
from tokenrouter.model.edits import CONTENT_PARTS, EXTENSIONS, MARKS_PLAN, MODEL_NAME, TOOLS_ORDER, VOLATILE_KNOWN
from tokenrouter.model.envelope import Envelope, ParamWords
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Volatile

VERSION = "2023-06-01"
"""Of the API, where the client names none. Clients of this version send an API key as `x-api-key`, those of later ones as a bearer token
(anthropic-python 2.11 `_client.py`); the host is shown its credential the same way.
"""

MESSAGES_PATH = "/v1/messages"
COUNT_PATH = "/v1/messages/count_tokens"

_FIELD = "cache_control"
_THINKING = ("thinking", "redacted_thinking")
_ENVELOPE = PREFIX.encode()


class AnthropicNative:
    """See `NativeWire`: `POST /v1/messages`."""

    dialect = "anthropic-messages"

    def __init__(self, volatile: tuple[Volatile, ...]) -> None:
        """`volatile`: the known per-request lines that `volatile.known` may drop."""
        self._volatile = {line.id: line for line in volatile}

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """See `NativeWire`."""
        return _Splice(envelope, canonical, model, deployment, plan, edits, self._volatile).outgoing(MESSAGES_PATH)

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        return verdict(body)

    def relay(self, params: ParamWords, *, hide_usage: bool) -> MessagesRelay:
        """See `NativeWire`. Usage is always told here, so there is none to hide."""
        return MessagesRelay()


class AnthropicCountNative:
    """See `NativeWire`: `POST /v1/messages/count_tokens`. Marks and the order of tools change no count and stay as they came."""

    dialect = "anthropic-count"

    def __init__(self, volatile: tuple[Volatile, ...]) -> None:
        """See `AnthropicNative`."""
        self._volatile = {line.id: line for line in volatile}

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """See `NativeWire`."""
        as_it_came = msgspec.structs.replace(canonical, tool_order=None)
        return _Splice(envelope, as_it_came, model, deployment, NO_PLAN, edits, self._volatile).outgoing(COUNT_PATH)

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`. Counting costs nothing."""
        count_of(body)
        return Usage(), True

    def relay(self, params: ParamWords, *, hide_usage: bool) -> MessagesRelay:
        """See `NativeWire`. A count never streams."""
        return MessagesRelay()


class _Count(msgspec.Struct):
    input_tokens: int


_count = msgspec.json.Decoder(_Count)


def count_of(body: bytes) -> int:
    """The tokens in a count's answer. Raises UpstreamFailed where it is none."""
    try:
        return _count.decode(body).input_tokens
    except (ValueError, RecursionError) as error:
        raise UpstreamFailed("the provider answered 200 with something that is no count of tokens") from error


def native_headers(envelope: Envelope) -> tuple[tuple[str, str], ...]:
    """The headers that go up with a client's request: its version of the API and its feature flags as they came."""
    said = envelope.outside
    headers = [("anthropic-version", said.get("anthropic-version", VERSION)), ("content-type", "application/json")]
    if "anthropic-beta" in said:
        headers.append(("anthropic-beta", said["anthropic-beta"]))
    return tuple(headers)


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
        self.edits, self.volatile = edits, volatile
        ours = [mark for mark in plan.breakpoints if mark.origin == "gateway"] if MARKS_PLAN in edits else []
        self.tool_marks = [mark for mark in ours if mark.section == "a_tools"]
        self.marks: dict[int, list[Breakpoint]] = {}
        for mark in ours:
            if mark.section == "b_messages":
                self.marks.setdefault(mark.index, []).append(mark)
        self.may_part = CONTENT_PARTS in edits and model.cache.parts_alike
        self.applied: dict[str, None] = {}
        self.dropped: dict[str, None] = {}
        self.replaced: dict[str, bytes] = {}

    def outgoing(self, path: str) -> Outgoing:
        """The request to send."""
        if text(self.envelope.fields["model"]) != self.model.name:
            self.replaced["model"] = msgspec.json.encode(self.model.name)
            self.applied[MODEL_NAME] = None
        self._tools()
        self._system()
        self._messages()
        if self.envelope.extensions:
            self.applied[EXTENSIONS] = None
        query = self.envelope.outside.get(":query", "")
        return Outgoing(
            path=f"{path}?{query}" if query else path,
            headers=native_headers(self.envelope),
            body=assemble(self.envelope, self.replaced),
            edits=tuple(self.applied),
            dropped=tuple(self.dropped),
            auth="bearer" if self.deployment.auth == "x-api-key" and self.envelope.outside.get("anthropic-version", VERSION) != VERSION else None,
        )

    def _tools(self) -> None:
        order = self.canonical.tool_order
        if order is None and not self.tool_marks:
            return
        tools = [bytes(raw) for raw in self.envelope.tools]
        if order is not None:
            self.applied[TOOLS_ORDER] = None
            tools = marks_in_place([tools[i] for i in order], order, _FIELD)
        for mark in self.tool_marks:
            tools[mark.index] = self._marked(tools[mark.index], mark)
        self.replaced["tools"] = as_array(tools)

    def _system(self) -> None:
        pieces = self.envelope.system
        if not pieces:
            return
        if is_text(self.envelope.fields["system"]):
            raw = bytes(pieces[0])
            new = text_without_lines(raw, lines) if (lines := self._lines(self.canonical.messages[0])) else raw
            if new is not raw:
                self.applied[VOLATILE_KNOWN] = None
            marks = self.marks.get(0, [])
            if marks and self.may_part and new != b'""':
                new = as_array([self._marked(text_block(new), mark) for mark in marks[:1]])
                self.applied[CONTENT_PARTS] = None
            if new is not raw:
                self.replaced["system"] = new
            return
        came = [bytes(raw) for raw in pieces]
        blocks = [self._system_block(index, block) for index, block in enumerate(came)]
        if any(new is not old for new, old in zip(blocks, came, strict=True)):
            self.replaced["system"] = as_array([block for block in blocks if block is not None])

    def _system_block(self, index: int, block: bytes) -> bytes | None:
        for mark in self.marks.get(index, ()):
            block = self._marked(block, mark)
        lines = self._lines(self.canonical.messages[index])
        rest = part_without_lines(block, lines) if lines else block
        if rest is not block:
            self.applied[VOLATILE_KNOWN] = None
        return rest

    def _messages(self) -> None:
        before = len(self.envelope.system)
        foreign = _ENVELOPE in self.envelope.body
        if not foreign and not self.marks and self.canonical.opening == before:
            return
        changed: dict[int, bytes | None] = {}
        for index, raw in enumerate(self.envelope.messages):
            marks = self.marks.get(before + index, ())
            lines = self._lines(self.canonical.messages[before + index]) if before + index < self.canonical.opening else []
            if marks or lines or foreign:
                message = bytes(raw)
                new = self._message(message, marks, lines)
                if new is not message:
                    changed[index] = new
        if changed:
            slices = [changed.get(index, bytes(raw)) for index, raw in enumerate(self.envelope.messages)]
            self.replaced["messages"] = as_array([piece for piece in slices if piece is not None])

    def _message(self, message: bytes, marks: Sequence[Breakpoint], lines: list[Volatile]) -> bytes | None:
        for mark in marks:
            message = self._message_marked(message, mark)
        if lines:  # behind the marks, which count the parts that the client sent
            message = message_without_lines(message, lines)
            self.applied[VOLATILE_KNOWN] = None
        return self._without_foreign(message) if _ENVELOPE in message else message

    def _lines(self, reading: Reading) -> list[Volatile]:
        """The known per-request lines in a piece that this upstream would read as prompt."""
        if not reading.volatile or VOLATILE_KNOWN not in self.edits:
            return []
        return [self.volatile[line] for line in reading.volatile if line not in self.deployment.keeps_volatile]

    def _marked(self, piece: bytes, mark: Breakpoint) -> bytes:
        new = marked(piece, _FIELD, directive(_FIELD, mark.lifetime_s))
        if new is not piece:
            self.applied[MARKS_PLAN] = None
        return new

    def _message_marked(self, message: bytes, mark: Breakpoint) -> bytes:
        content = members(message).get("content")
        if content is None:
            return message
        if is_text(content):
            if not self.may_part or mark.part > 0 or bytes(content) == b'""':
                return message
            parts, index = in_parts(message), 0
            self.applied[CONTENT_PARTS] = None
        else:
            parts, found = message, _block_of(items(content), mark.part)
            if found is None:
                return message
            index = found
        new = mark_part(parts, index, _FIELD, directive(_FIELD, mark.lifetime_s))
        if new is not message:
            self.applied[MARKS_PLAN] = None
        return new

    def _without_foreign(self, message: bytes) -> bytes | None:
        """The message without reasoning of other vendors; None where it held nothing else."""
        fields = members(message)
        content = fields.get("content")
        if content is None or bytes(content)[:1] != b"[":
            return message
        blocks = items(content)
        kept = [block for block in blocks if not _is_foreign(block)]
        if len(kept) == len(blocks):
            return message
        self.applied[EXTENSIONS] = None
        self.dropped["messages.content.thinking"] = None
        fields["content"] = msgspec.Raw(as_array(kept))
        return as_object(fields) if kept else None


def _block_of(blocks: list[bytes], part: int) -> int | None:
    """Where in a message a plan's part is: plans do not count thinking. None where a mark may not sit there."""
    countable = [index for index, block in enumerate(blocks) if _kind(block) not in _THINKING]
    if not countable or part >= len(countable):
        return None
    index = countable[part]
    if part < 0 and index != len(blocks) - 1:
        return None
    return None if members(blocks[index]).get("text") == _EMPTY else index


_EMPTY = msgspec.Raw(b'""')


def _kind(block: bytes) -> str:
    kind = members(block).get("type")
    return text(kind) if kind is not None and is_text(kind) else ""


def _is_foreign(block: bytes) -> bool:
    if _ENVELOPE not in block or _kind(block) != "thinking":
        return False
    signature = members(block).get("signature")
    return signature is not None and is_text(signature) and text(signature).startswith(PREFIX)
