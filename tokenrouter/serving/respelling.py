"""The edits that need a memory, made before a request gets its identity: tools and calls in their first spelling, tools in their first order."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

import msgspec

from tokenrouter.adapters.inbound.respelling import respelled, speaks, system_text, with_pieces, with_split
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.answer import Answer
from tokenrouter.model.cache_plan import Breakpoint
from tokenrouter.model.catalog import Model
from tokenrouter.model.chunk import Chunks, Reading
from tokenrouter.model.edits import CALLS_SPELLING, SYSTEM_SPLIT, TOOLS_ORDER, TOOLS_SPELLING
from tokenrouter.model.envelope import CallSaid, Envelope
from tokenrouter.model.pin import PinnedForm
from tokenrouter.model.volatile import Volatile
from tokenrouter.pipeline.canonicalizer import Memo, read_call
from tokenrouter.pipeline.chunker import chunk, rechunk
from tokenrouter.prefixes.calls import CallSpoken, places_behind, respellings, sites
from tokenrouter.prefixes.edit_memory import EditMemory
from tokenrouter.prefixes.spellings import ToolSpelled
from tokenrouter.prefixes.splits import SplitSeen, cut, guess
from tokenrouter.prefixes.tool_order import OrderSeen, merged

_BYTES_PER_TOKEN = 4
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class SplitText(msgspec.Struct, frozen=True):
    """A system text that goes up in two parts.

    mark    a breakpoint behind the first part
    chars   that the first part holds
    root    digest of everything up to there: what conversations have in common whose texts differ behind it
    """

    mark: Breakpoint
    chars: int
    root: bytes


class Respelling(msgspec.Struct, frozen=True, kw_only=True):
    """What one request's respelling works with.

    host  the vendor that is asked
    seed  the deployment's secret
    """

    memory: EditMemory
    memo: Memo
    volatile: tuple[Volatile, ...]
    tenant: str
    host: str
    seed: int
    now_ns: int

    def tools(self, envelope: Envelope, chunks: Chunks) -> tuple[Envelope, Chunks]:
        """`tools.spelling`: every tool as it was first spelled. Raises InvalidRequest."""
        found = [self.memory.tools.find(self.tenant, self.host, reading.kin) for reading in chunks.tools]
        for raw, reading, first in zip(envelope.tools, chunks.tools, found, strict=True):
            bare = without_marks(envelope, bytes(raw), reading) if first is None else None
            if bare is not None:
                self.memory.learn(ToolSpelled(self.tenant, self.host, reading.kin, reading.prefix_digest, bare[0], self.now_ns))
        return self.spelled(envelope, chunks, [None if first is None else (first.digest, first.spelling) for first in found])

    def spelled(self, envelope: Envelope, chunks: Chunks, found: Sequence[tuple[bytes, bytes] | None]) -> tuple[Envelope, Chunks]:
        """Every tool in the spelling found for it: (as a provider prints it, JSON without marks); as they came where one says another thing."""
        changed: dict[int, bytes] = {}
        for index, (reading, known) in enumerate(zip(chunks.tools, found, strict=True)):
            if known is None or known[0] == reading.prefix_digest:
                continue
            bare = without_marks(envelope, bytes(envelope.tools[index]), reading)
            if bare is not None and (written := _with_marks(known[1], bare[1])) is not None:
                changed[index] = written
        if not changed:
            return envelope, chunks
        slices = [changed.get(index) or bytes(raw) for index, raw in enumerate(envelope.tools)]
        made = with_pieces(envelope, TOOLS_SPELLING, tools=slices)
        try:
            new = rechunk(made, chunks, self.memo, self.volatile, tools=changed, messages=())
        except InvalidRequest:
            return envelope, chunks
        return (made, new) if _say_the_same(chunks, new) else (envelope, chunks)

    def calls(self, envelope: Envelope, chunks: Chunks) -> tuple[Envelope, Chunks, bytes]:
        """`calls.spelling`: every call as it was first written; and the link behind which the answer's calls stand. Raises InvalidRequest."""
        opening, before = chunks.opening, len(envelope.system)
        found, link = sites(chunks.messages[opening:], self.seed)
        if not found:
            return envelope, chunks, link
        host = _spoken_host(self.host, envelope.dialect)
        known = [self.memory.calls.find(self.tenant, host, site.place, site.call.id) for site in found]
        for site, first in zip(found, known, strict=True):
            if first is None:
                self.memory.learn(CallSpoken(self.tenant, host, site.place, site.call.id, site.call.spelling, self.now_ns))
        wanted = respellings(found, known)
        if not wanted.calls:
            return envelope, chunks, link
        pieces: dict[int, dict[int, tuple[str | None, str | None]]] = {}
        for (message, at), call in wanted.calls.items():
            pieces.setdefault(opening + message - before, {})[at] = call
        for index, reading in enumerate(chunks.messages[before:]):
            if any(name in wanted.answers for name in reading.answers):
                pieces.setdefault(index, {})
        changed = {index: respelled(envelope.dialect, bytes(envelope.messages[index]), calls, wanted.answers) for index, calls in pieces.items()}
        made = with_pieces(envelope, CALLS_SPELLING, messages=changed)
        try:
            new = rechunk(made, chunks, self.memo, self.volatile, tools=(), messages=changed)
        except InvalidRequest:
            return envelope, chunks, link
        return (made, new, link) if _say_the_same(chunks, new) else (envelope, chunks, link)

    def split(self, envelope: Envelope, chunks: Chunks, model: Model) -> tuple[int, int] | None:
        """`system.split`: the first of the opening system texts that is cut, and how many of its characters go in front; None: none is.

        Pieces that hold a known per-request line are left alone: that line may yet be taken out.
        """
        before = sum(reading.tokens for reading in chunks.tools)
        for place, reading in enumerate(chunks.messages[: chunks.opening]):
            if reading.blocks == 1 and reading.markable and not reading.volatile and before + reading.tokens >= model.cache.min_tokens:
                least = _BYTES_PER_TOKEN * (model.cache.min_tokens - before)
                chars = self._chars(envelope, place, _parent(chunks, model, place), reading, least)
                if chars:
                    return place, chars
            before += reading.tokens
        return None

    def in_two(self, envelope: Envelope, chunks: Chunks, model: Model, place: int, chars: int) -> tuple[Envelope, Chunks, SplitText]:
        """The request with that system text in two parts. Raises InvalidRequest."""
        apart = place < len(envelope.system)
        mark = Breakpoint("b_messages", place, -1 if apart else 0)
        first = (system_text(envelope, place) or "")[:chars].encode("utf-8", "surrogatepass")
        root = blake2b(self.tenant.encode() + b"|" + _parent(chunks, model, place) + first, digest_size=16).digest()
        made = with_split(envelope, SYSTEM_SPLIT, place, chars)
        chunks, _ = chunk(made, self.memo, self.volatile)
        return made, chunks, SplitText(mark, chars, root)

    def _chars(self, envelope: Envelope, place: int, parent: bytes, reading: Reading, least: int) -> int:
        decided = self.memory.splits.find(self.tenant, parent, reading.prefix_digest)
        if decided is None:
            text = system_text(envelope, place)
            earlier = self.memory.splits.earlier(self.tenant, parent)
            chars = 0 if text is None else cut(text, earlier, least) or guess(text, least)
            decided = SplitSeen(self.tenant, parent, reading.prefix_digest, text or "", chars, self.now_ns)
            self.memory.learn(decided)
        return decided.chars

    def known_order(self, chunks: Chunks) -> tuple[str, ...]:
        """The order that this app's tools, and then this conversation's, have had so far."""
        orders = [self.memory.orders.find(self.tenant, self.host, key) for key in _order_keys(chunks)]
        return merged((), [name for order in orders if order is not None for name in order.names])

    def keep_order(self, chunks: Chunks, known: tuple[str, ...]) -> None:
        """Remember the order in which they are sent. `known`: `known_order`."""
        names = merged(known, sorted({tool.name for tool in chunks.tools}))
        for key in _order_keys(chunks):
            order = self.memory.orders.find(self.tenant, self.host, key)
            if order is None:
                self.memory.learn(OrderSeen(self.tenant, self.host, key, names, self.now_ns))
            elif any(tool.name not in order.names for tool in chunks.tools):
                self.memory.learn(msgspec.structs.replace(order, names=merged(order.names, names)))


class Pinning(msgspec.Struct, frozen=True):
    """The form of a conversation, on its way to where it outlives the process. `replaces`: whatever was kept before."""

    key: bytes
    form: PinnedForm
    replaces: bool = False


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """A request in the form in which it goes up.

    sorts  its tools are put in order, `order` first: names in the order that they are known to have had
    link   behind which the answer's calls will stand; b"": they are not remembered
    split  a system text in two parts; None where there is none
    pin    to be kept before anything is sent; None: nothing is
    """

    envelope: Envelope
    chunks: Chunks
    sorts: bool
    order: tuple[str, ...] = ()
    link: bytes = b""
    split: SplitText | None = None
    pin: Pinning | None = None


def remembered_form(envelope: Envelope, chunks: Chunks, edits: frozenset[str], model: Model, respelling: Respelling) -> Form:
    """The request with tools and calls in their first spelling, tools in their first order, and a system text in two parts.

    Raises InvalidRequest.
    """
    link, order, split = b"", tuple[str, ...](), None
    if TOOLS_SPELLING in edits and chunks.tools:
        envelope, chunks = respelling.tools(envelope, chunks)
    if CALLS_SPELLING in edits and speaks(envelope.dialect) and (chunks.tools or any(reading.calls for reading in chunks.messages)):
        envelope, chunks, link = respelling.calls(envelope, chunks)
    if TOOLS_ORDER in edits and chunks.tools:
        order = respelling.known_order(chunks)
        respelling.keep_order(chunks, order)
    if SYSTEM_SPLIT in edits and chunks.opening and model.cache.parts_alike and model.cache.style in ("marks", "breakpoints"):
        where = respelling.split(envelope, chunks, model)
        if where is not None:
            envelope, chunks, split = respelling.in_two(envelope, chunks, model, *where)
    return Form(envelope=envelope, chunks=chunks, sorts=TOOLS_ORDER in edits, order=order, link=link, split=split)


def learn_calls(answer: Answer, envelope: Envelope, link: bytes, memory: EditMemory, *, tenant: str, host: str, seed: int, now_ns: int) -> None:
    """Remember the calls of a complete answer as its client has read them. Of several choices nobody knows which one goes on."""
    if len(answer.choices) != 1 or not answer.complete:
        return
    as_text = envelope.grammar.argument_text
    calls = [read_call(CallSaid(call.id, call.name, call.arguments, call.custom), as_text=as_text) for call in answer.choices[0].tool_calls]
    for call, place in zip(calls, places_behind(link, [call.kin for call in calls], seed), strict=True):
        memory.learn(CallSpoken(tenant, _spoken_host(host, envelope.dialect), place, call.id, call.spelling, now_ns))


def _spoken_host(host: str, dialect: str) -> str:
    return f"{host} {dialect}"


def _order_keys(chunks: Chunks) -> Iterator[bytes]:
    """What tells an app from others: its opening system text. And a conversation: its first message behind that."""
    opening = chunks.opening
    if opening:
        yield blake2b(b"app" + b"".join([reading.prefix_digest for reading in chunks.messages[:opening]]), digest_size=16).digest()
    if opening < len(chunks.messages):
        yield blake2b(b"conversation" + chunks.messages[opening].prefix_digest, digest_size=16).digest()


def _parent(chunks: Chunks, model: Model, place: int) -> bytes:
    """What stands in front of an opening system text: the model, the tools in any order, and the system texts before it."""
    tools = sorted(reading.prefix_digest for reading in chunks.tools)
    texts = [reading.prefix_digest for reading in chunks.messages[:place]]
    return blake2b(b"".join([model.name.encode(), *tools, b"|", *texts]), digest_size=16).digest()


def without_marks(envelope: Envelope, tool: bytes, reading: Reading) -> tuple[bytes, Mapping[str, msgspec.Raw]] | None:
    """A tool without its cache marks, and these; None where they stand further inside."""
    directives = envelope.grammar.tool_shape.directives
    if not any(name.encode() in tool for name in directives):
        return tool, {}
    fields = _members.decode(tool)
    marks = {name: fields.pop(name) for name in list(fields) if name in directives}
    if reading.marks and not marks:
        return None
    return (msgspec.json.encode(fields) if marks else tool), marks


def _with_marks(spelling: bytes, marks: Mapping[str, msgspec.Raw]) -> bytes | None:
    """None where what is remembered is no tool."""
    try:
        return msgspec.json.encode({**_members.decode(spelling), **marks}) if marks else spelling
    except msgspec.DecodeError:
        return None


def _say_the_same(before: Chunks, after: Chunks) -> bool:
    """Whether tools and calls still mean what they did: what other processes tell of spellings is not taken at its word."""
    tools = all(old.kin == new.kin for old, new in zip(before.tools, after.tools, strict=True))
    return tools and all(
        old is new or [call.kin for call in old.calls] == [call.kin for call in new.calls]
        for old, new in zip(before.messages, after.messages, strict=True)
    )
