"""The edits that need a memory, made before a request gets its identity: tools and calls in their first spelling, tools in their first order."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

import msgspec

from tokenrouter.adapters.inbound.respelling import respelled, speaks, with_pieces
from tokenrouter.model.answer import Answer
from tokenrouter.model.chunk import Chunks, Reading
from tokenrouter.model.edits import CALLS_SPELLING, TOOLS_ORDER, TOOLS_SPELLING
from tokenrouter.model.envelope import CallSaid, Envelope
from tokenrouter.model.volatile import Volatile
from tokenrouter.pipeline.canonicalizer import Memo, read_call
from tokenrouter.pipeline.chunker import rechunk
from tokenrouter.prefixes.calls import CallSpoken, places_behind, respellings, sites
from tokenrouter.prefixes.edit_memory import EditMemory
from tokenrouter.prefixes.spellings import ToolSpelled
from tokenrouter.prefixes.tool_order import OrderSeen, merged

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


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
        changed: dict[int, bytes] = {}
        directives = envelope.grammar.tool_shape.directives
        for index, reading in enumerate(chunks.tools):
            first = self.memory.tools.find(self.tenant, self.host, reading.kin)
            if first is not None and first.digest == reading.prefix_digest:
                continue
            bare = _without_marks(bytes(envelope.tools[index]), reading, directives)
            if bare is None:
                continue
            if first is None:
                seen = ToolSpelled(self.tenant, self.host, reading.kin, reading.prefix_digest, bare[0], self.now_ns)
                self.memory.learn(seen)
            else:
                changed[index] = _with_marks(first.spelling, bare[1])
        if not changed:
            return envelope, chunks
        slices = [changed.get(index) or bytes(raw) for index, raw in enumerate(envelope.tools)]
        made = with_pieces(envelope, TOOLS_SPELLING, tools=slices)
        return made, rechunk(made, chunks, self.memo, self.volatile, tools=changed, messages=())

    def calls(self, envelope: Envelope, chunks: Chunks) -> tuple[Envelope, Chunks, bytes]:
        """`calls.spelling`: every call as it was first written; and the link behind which the answer's calls stand. Raises InvalidRequest."""
        opening, before = chunks.opening, len(envelope.system)
        found, link = sites(chunks.messages[opening:], self.seed)
        if not found:
            return envelope, chunks, link
        host = _spoken_host(self.host, envelope.dialect)
        known = [self.memory.calls.find(self.tenant, host, site.place) for site in found]
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
        return made, rechunk(made, chunks, self.memo, self.volatile, tools=(), messages=changed), link

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


def respelled_request(
    envelope: Envelope, chunks: Chunks, edits: frozenset[str], with_memory: Respelling
) -> tuple[Envelope, Chunks, tuple[str, ...], bytes]:
    """The request with its tools and calls in their first spelling, the known order of its tools, and the link of `Respelling.calls`.

    Raises InvalidRequest.
    """
    link, known = b"", tuple[str, ...]()
    if TOOLS_SPELLING in edits and chunks.tools:
        envelope, chunks = with_memory.tools(envelope, chunks)
    if CALLS_SPELLING in edits and speaks(envelope.dialect) and (chunks.tools or any(reading.calls for reading in chunks.messages)):
        envelope, chunks, link = with_memory.calls(envelope, chunks)
    if TOOLS_ORDER in edits and len(chunks.tools) > 1:
        known = with_memory.known_order(chunks)
    return envelope, chunks, known, link


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


def _without_marks(tool: bytes, reading: Reading, directives: frozenset[str]) -> tuple[bytes, Mapping[str, msgspec.Raw]] | None:
    """A tool without its cache marks, and these; None where they stand further inside."""
    if not any(name.encode() in tool for name in directives):
        return tool, {}
    fields = _members.decode(tool)
    marks = {name: fields.pop(name) for name in list(fields) if name in directives}
    if reading.marks and not marks:
        return None
    return (msgspec.json.encode(fields) if marks else tool), marks


def _with_marks(spelling: bytes, marks: Mapping[str, msgspec.Raw]) -> bytes:
    return msgspec.json.encode({**_members.decode(spelling), **marks}) if marks else spelling
