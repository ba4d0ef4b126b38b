"""A chunk of a prompt: which block it belongs to, what is known about it, and the digests it is recognised by."""

from collections.abc import Mapping
from typing import Literal

import msgspec

BlockKind = Literal["system", "tool", "history", "query"]
Stability = Literal["static", "session", "volatile"]


class Shape(msgspec.Struct, frozen=True):
    """Which objects are protocol (key order means nothing there) and which are payload (it may).

    children    member name -> shape of the protocol object(s) below it; lists are looked through
    directives  members that steer caching and are no part of the prompt
    """

    children: Mapping[str, "Shape"] = {}
    directives: frozenset[str] = frozenset()


class Mark(msgspec.Struct, frozen=True):
    """A cache mark of the client's on content part `part` (-1: on the whole piece).

    lifetime_s  as the client asked; 0 is the provider's default
    spelling    the member that carried it
    inner       which of the pieces inside the part carries it, where one does (-1: the part itself)
    """

    part: int
    lifetime_s: int
    spelling: str
    inner: int = -1


class CallSeen(msgspec.Struct, frozen=True):
    """A call of the model's in a message.

    id        as the client sends it; "" where it sends none
    kin       SHA-256 of name and arguments by value: equal for all spellings of one call
    spelling  the arguments as a provider would print them
    sealed    a signature hangs on it: it must not be touched
    """

    id: str
    kin: bytes
    spelling: str
    sealed: bool = False


class PartEnd(msgspec.Struct, frozen=True):
    """The end of a content part inside a message: a breakpoint may sit there.

    part    which part
    digest  xxh3_128 of the canonical bytes of the message up to here
    tokens  estimate up to here
    """

    part: int
    digest: bytes
    tokens: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one slice of a request says: made once, remembered by its digest, shared by all requests that repeat it.

    role           of a message; "system" for a piece of a system prompt, "tool definition" for a tool
    name           of a tool, to sort by
    prefix_digest  xxh3_128 of the canonical bytes without known per-request lines: what a provider's prompt cache would see
    answer_digest  SHA-256 of the canonical bytes after the equivalences of the answer identity
    tokens         estimate
    text_bytes     upper bound of what can become text tokens (media left out)
    images         pictures in it, whose bytes say nothing about their tokens
    blocks         how many content blocks it becomes on a wire that counts them
    marks          the client's own cache marks
    markable       a cache mark could sit on its end
    stateful       refers to something that only the provider holds, or to a URL: its answer must not be reused
    volatile       ids of known volatile lines in it
    object_id      names an object in the provider's account, which tenants share
    state          the id of something that the provider keeps and that this piece stands for; "" where there is none
    fee            nano-USD for each use of a tool that the provider runs itself, beside tokens; -1: not known
    kin            of a tool: SHA-256 of what it says, whatever the order of keys, marks left out
    calls          the model's calls in it, in their order
    answers        ids of the calls whose results it brings
    bare           what `prefix_digest` would be if calls had no ids; b"": the same
    signed         it brings reasoning that its vendor has signed or sealed
    part_ends      of a message in several parts: ends of those that others may share, the last part's left out
    """

    role: str
    name: str
    prefix_digest: bytes
    answer_digest: bytes
    tokens: int
    text_bytes: int
    images: int
    blocks: int
    marks: tuple[Mark, ...]
    markable: bool
    stateful: bool
    volatile: tuple[str, ...]
    object_id: bool = False
    state: str = ""
    fee: int = 0
    kin: bytes = b""
    calls: tuple[CallSeen, ...] = ()
    answers: tuple[str, ...] = ()
    bare: bytes = b""
    signed: bool = False
    part_ends: tuple[PartEnd, ...] = ()


class Chunk(msgspec.Struct, frozen=True):
    """A reading in its place: `index` counts tools as the client sent them, or messages."""

    kind: BlockKind
    index: int
    reading: Reading

    @property
    def stability(self) -> Stability:
        """How long it is expected to stay: the app's lifetime, the conversation's, or only this request's."""
        if self.reading.volatile or self.kind == "query":
            return "volatile"
        return "session" if self.kind == "history" else "static"


class Chunks(msgspec.Struct, frozen=True, kw_only=True):
    """A request cut up: four blocks over two sequences that keep the client's order.

    tools     as the client sent them
    messages  `messages[:opening]` is the System block, `messages[opening:query]` the History, `messages[query:]` the Query
    stateful  a piece refers to something that only the provider holds, or to a URL
    """

    tools: tuple[Reading, ...]
    messages: tuple[Reading, ...]
    opening: int
    query: int
    stateful: bool


class Arranged(msgspec.Struct, frozen=True):
    """Chunks in the order in which they will be sent. `tool_order[i]` is the client's index of the i-th tool; None: as it came."""

    chunks: Chunks
    tool_order: tuple[int, ...] | None


class Canonical(msgspec.Struct, frozen=True, kw_only=True):
    """A request in canonical form: the only thing that can be hashed or planned. Made by `pipeline.canonicalizer.canonicalize`.

    tools         readings in sending order; `tool_order` as in `Arranged`
    prompt_bytes  canonical bytes of top-level fields that a provider may render in front of the prompt
    answer_bytes  canonical bytes of every top-level field that can change the answer
    auto_mark_s   as in `ParamWords`
    altered       ids of enabled edits that change what the model reads in this very request
    """

    tools: tuple[Reading, ...]
    tool_order: tuple[int, ...] | None
    messages: tuple[Reading, ...]
    opening: int
    query: int
    prompt_bytes: bytes
    answer_bytes: bytes
    auto_mark_s: int | None = None
    altered: tuple[str, ...] = ()

    def chunks(self) -> tuple[Chunk, ...]:
        """All chunks, System → Tool → History → Query."""
        order = self.tool_order or range(len(self.tools))
        system = [Chunk("system", i, self.messages[i]) for i in range(self.opening)]
        tools = [Chunk("tool", i, reading) for i, reading in zip(order, self.tools, strict=True)]
        history = [Chunk("history", i, self.messages[i]) for i in range(self.opening, self.query)]
        query = [Chunk("query", i, self.messages[i]) for i in range(self.query, len(self.messages))]
        return (*system, *tools, *history, *query)
