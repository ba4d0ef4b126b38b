"""What is kept of a request to compare the next one with: digests of its pieces, and their text, bounded.

On the miss path `take()` only gathers references to what the pipeline made anyway; nothing is parsed or copied. When the answer has come,
`Sessions.keep` copies the text of pieces that were not known yet (`clip`). Text stays in the memory of this process: it is in no
`repr`, is never written to Redis, logs or the ledger, and can be switched off (then places are told by digest alone).
"""

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
import xxhash

from tokenrouter.model.chunk import Canonical, Reading
from tokenrouter.model.envelope import Envelope, Grammar

WHOLE: Final = 64 << 10
"""Bytes of a piece up to which all of it is kept. Of a longer one, a window at either end and a digest of each line."""

_WINDOW = 16 << 10
_LINE = 512
_DIGEST = 4
_MOST_LINES = 16_384
_SMALL = 4_096  # bytes from which packing is worth its time
_SENTENCE = 400
_BOOKKEEPING = 160
_mark = xxhash.xxh32_intdigest


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it was sent, for as long as it is under way.

    session     see `prefixes.sessions.session_key`
    affinity    the key under which it was sent; "" for none
    at_ns       wall time at which it was sent
    links       the prefix chain, one link per piece
    pieces      tools in sending order, then messages, pieces of a separate system prompt first
    tools, opening, system   how many pieces are tools; how many behind them are opening system text; how many of those stand apart
    query       first piece of the newest turn
    tool_order  the client's index of each tool; None: as they came
    parameters  canonical bytes of the fields that a provider may render in front of the prompt
    tools_at    as in `Envelope`
    slices      the client's own bytes of each piece; () once it is only remembered
    """

    id: str
    tenant: str
    account: str
    model: str
    session: bytes
    at_ns: int
    links: tuple[bytes, ...]
    pieces: tuple[Reading, ...]
    tools: int
    opening: int
    system: int
    query: int
    tool_order: tuple[int, ...] | None
    parameters: bytes
    grammar: Grammar
    affinity: str = ""
    tools_at: str = ""
    slices: tuple[msgspec.Raw, ...] = ()

    @property
    def root(self) -> int:
        """Pieces that are tools or opening system text."""
        return self.tools + self.opening

    def tool_index(self, boundary: int) -> int:
        """The client's index of a tool."""
        return boundary if self.tool_order is None else self.tool_order[boundary]

    def place(self, boundary: int) -> str:
        """A piece in the client's words: `tools[3]`, `system[0]`, `messages[7]`."""
        system, messages, tools = self.grammar.places
        if boundary < self.tools:
            return f"{self.tools_at or tools}[{self.tool_index(boundary)}]"
        index = boundary - self.tools
        return f"{system}[{index}]" if index < self.system else f"{messages}[{index - self.system}]"


def take(
    envelope: Envelope,
    canonical: Canonical,
    links: tuple[bytes, ...],
    *,
    request_id: str,
    tenant: str,
    account: str,
    model: str,
    session: bytes,
    at_ns: int,
    affinity: str = "",
) -> Snapshot:
    """Gather what is known of a request that is about to be sent. `links` as `prefix_chain` made them of `canonical`."""
    tools = envelope.tools if canonical.tool_order is None else tuple([envelope.tools[i] for i in canonical.tool_order])
    return Snapshot(
        id=request_id,
        tenant=tenant,
        account=account,
        model=model,
        session=session,
        at_ns=at_ns,
        links=links,
        pieces=(*canonical.tools, *canonical.messages),
        tools=len(canonical.tools),
        opening=canonical.opening,
        system=len(envelope.system),
        query=len(canonical.tools) + canonical.query,
        tool_order=canonical.tool_order,
        parameters=canonical.prompt_bytes,
        grammar=envelope.grammar,
        affinity=affinity,
        tools_at=envelope.tools_at,
        slices=(*tools, *envelope.system, *envelope.messages),
    )


class Clip:
    """The text of one piece. It prints its size only.

    size   bytes of the piece
    lines  digests of its lines where it was too long to keep whole
    """

    __slots__ = ("_head", "_packed", "_tail", "lines", "size")

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._packed = len(data) >= _SMALL
        self.lines, self._tail = b"", b""
        if len(data) > WHOLE:
            self.lines = b"".join([xxhash.xxh32_digest(line) for line in lines_of(data)])
            self._tail = zlib.compress(data[-_WINDOW:], 1)
            data = data[:_WINDOW]
        self._head = zlib.compress(data, 1) if self._packed else data

    def __repr__(self) -> str:
        return f"Clip({self.size} bytes)"

    @property
    def cost(self) -> int:
        """Bytes of memory."""
        return _BOOKKEEPING + len(self._head) + len(self._tail) + len(self.lines)

    def whole(self) -> bytes | None:
        """All of it; None where only windows were kept."""
        return None if self.lines else self.head()

    def head(self) -> bytes:
        """Its beginning."""
        return zlib.decompress(self._head) if self._packed else self._head

    def tail(self) -> bytes:
        """Its end, where only windows were kept."""
        return zlib.decompress(self._tail) if self._tail else b""


def clip_of(raw: msgspec.Raw, room: int) -> Clip | None:
    """The text of a piece, copied out of the body that it is part of; None where that takes more than `room` bytes."""
    clip = Clip(bytes(raw))
    return clip if clip.cost <= room else None


def lines_of(data: bytes) -> list[bytes]:
    """The lines of a text inside JSON, where a line end is an escape; of 512 bytes at most."""
    found: list[bytes] = []
    for line in data.split(b"\\n", _MOST_LINES):
        found += [line] if len(line) <= _LINE else [line[at : at + _LINE] for at in range(0, min(len(line), _LINE * _MOST_LINES), _LINE)]
        if len(found) >= _MOST_LINES:
            return found[:_MOST_LINES]
    return found


def first_line(clip: Clip, data: bytes) -> int:
    """The first line, from 1, in which `data` differs from a text that was too long to keep; 0 where none of those looked at does."""
    kept, lines = clip.lines, lines_of(data)
    most = min(len(kept) // _DIGEST, len(lines))
    for index in range(most):
        if kept[index * _DIGEST : (index + 1) * _DIGEST] != xxhash.xxh32_digest(lines[index]):
            return index + 1
    return most + 1 if len(kept) // _DIGEST != len(lines) else 0


def reduced_parameters(parameters: bytes) -> bytes:
    """A digest in the place of each value: which parameter differs can be told, and nothing else."""
    fields = msgspec.json.decode(parameters, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({name: xxhash.xxh64_hexdigest(value) for name, value in fields.items()})


def sketch(datas: Sequence[bytes]) -> frozenset[int]:
    """A few dozen digests of sentences: two texts that share many of them are editions of one text."""
    marks: set[int] = set()
    for data in datas:
        lines = data.replace(b"\\n", b"\n").replace(b". ", b"\n").replace(b"; ", b"\n").split(b"\n")
        marks.update([_mark(line) for line in lines if 12 <= len(line) <= _SENTENCE])
        for line in lines:
            if len(line) > _SENTENCE:
                words = line.split()
                marks.update([_mark(b" ".join(words[at : at + 12])) for at in range(0, len(words), 12)])
    return frozenset(sorted(marks)[:48])


def likeness(one: frozenset[int], other: frozenset[int]) -> float:
    """How much two sketches have in common, from 0 to 1: an estimate from the smallest digests of both."""
    if not one or not other:
        return 0.0
    least = sorted(one | other)[: max(len(one), len(other))]
    return sum(mark in one and mark in other for mark in least) / len(least)


def tokens_of(pieces: Sequence[Reading], start: int = 0, end: int | None = None) -> int:
    """Estimated tokens of some pieces."""
    return sum([reading.tokens for reading in pieces[start:end]])
