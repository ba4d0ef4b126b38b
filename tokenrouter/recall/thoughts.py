"""Reasoning that a client's dialect can not carry: kept when a model answers, put back when that turn returns.

Vendors want signed reasoning back with the turn that it led to (a tool loop without it is refused, or thinks worse), but many clients
keep only text and calls. What was kept is found again in two ways:
    by the calls    ids that the vendor made up are nobody else's, so a turn with such calls is recognised wherever it stands
    by its place    the same visible turn behind the very same prompt; text alone ("OK") would fit other conversations too
A turn that brings signed reasoning of its own is left alone; readable text without its signature gives way to what was kept.
Memory only, bounded: what is lost makes a turn poorer, not wrong.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.model.answer import Answer, Declined, Reasoning, Spoken, ToolCall
from tokenrouter.model.conversation import Block, Call, Conversation, Refusal, Text, Thought, Turn
from tokenrouter.recall.bounded import BoundedMemory

_ROOM = 64 << 20
_MOST_PER_TURN = 4 << 20
_LIFETIME_NS = 24 * 3600 * 1_000_000_000
_canonical = msgspec.json.Encoder(order="deterministic").encode


class Placed(msgspec.Struct, frozen=True):
    """One block of reasoning and its place in the turn: behind how many calls, and whether behind any text.

    Texts are not counted, since clients join them.
    """

    calls: int
    spoken: bool
    reasoning: Reasoning


class ThoughtStore:
    """Reasoning by turn, of all tenants, each under keys of its own; the least recently used goes first."""

    def __init__(self, clock: Clock, room: int = _ROOM) -> None:
        """`room`: bytes of reasoning to keep at most."""
        self._kept: BoundedMemory[bytes, tuple[Placed, ...]] = BoundedMemory(clock, room=room, most=_MOST_PER_TURN, lifetime_ns=_LIFETIME_NS)

    def put(self, keys: Sequence[bytes], placed: tuple[Placed, ...]) -> None:
        """Keep the reasoning of one turn under each of `keys`."""
        size = sum(len(one.reasoning.text) + len(one.reasoning.signature) + len(one.reasoning.redacted) for one in placed) + 256
        self._kept.put(keys, placed, size)

    def get(self, key: bytes) -> tuple[Placed, ...]:
        """What was kept; () where nothing is."""
        return self._kept.get(key) or ()


class Thoughts(msgspec.Struct, frozen=True, kw_only=True):
    """The side store as one request sees it.

    scope  tenant and vendor: reasoning is put back only toward those who made it
    chain  the request's prefix chain; `tools` of its links belong to tool definitions
    """

    store: ThoughtStore
    scope: bytes
    chain: tuple[bytes, ...]
    tools: int

    def attach(self, conversation: Conversation) -> tuple[Conversation, bool]:
        """The conversation with reasoning put back; whether there was any."""
        turns = tuple([self._with_thoughts(turn) for turn in conversation.turns])
        if all(new is old for new, old in zip(turns, conversation.turns, strict=True)):
            return conversation, False
        return msgspec.structs.replace(conversation, turns=turns), True

    def keep(self, answer: Answer) -> None:
        """Remember what a complete answer's client may lose."""
        if len(answer.choices) != 1 or not answer.complete:
            return
        placed: list[Placed] = []
        texts: list[str] = []
        calls: list[ToolCall] = []
        for block in answer.choices[0].blocks:
            match block:
                case Reasoning():
                    placed.append(Placed(len(calls), bool(texts), block))
                case ToolCall():
                    calls.append(block)
                case Spoken() | Declined():
                    texts.append(block.text)
        if any(one.reasoning.signature or one.reasoning.redacted for one in placed):
            self.store.put(self._keys(texts, calls, self.chain[-1] if self.chain else b""), tuple(placed))

    def _with_thoughts(self, turn: Turn) -> Turn:
        if turn.role != "assistant" or any(isinstance(block, Thought) and _checked(block.reasoning) for block in turn.blocks):
            return turn
        texts = [block.text for block in turn.blocks if isinstance(block, Text | Refusal)]
        calls = [block.call for block in turn.blocks if isinstance(block, Call)]
        place = self.tools + turn.source
        for key in self._keys(texts, calls, self.chain[place - 1] if 0 < place <= len(self.chain) else b""):
            if placed := self.store.get(key):
                bare = msgspec.structs.replace(turn, blocks=tuple([block for block in turn.blocks if not isinstance(block, Thought)]))
                return msgspec.structs.replace(turn, blocks=_interleaved(bare, placed))
        return turn

    def _keys(self, texts: Sequence[str], calls: Sequence[ToolCall], link: bytes) -> list[bytes]:
        """By the calls, where there are any; by its place."""
        said = "".join(texts).strip()
        asked = [(call.name, _same(call.arguments)) for call in calls]
        keys = [self._key(b"calls", (said, asked, [call.id for call in calls]))] if calls else []
        return [*keys, self._key(b"place" + link, (said, asked))]

    def _key(self, kind: bytes, value: object) -> bytes:
        parts = (self.scope, kind, _canonical(value))
        return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).digest()


def _checked(reasoning: Reasoning) -> bool:
    """It holds what its vendor can check; readable text alone, which some dialects carry, does not count."""
    return bool(reasoning.signature or reasoning.redacted)


def _same(arguments: str) -> object:
    """Arguments by value: clients re-serialise them."""
    try:
        return msgspec.json.decode(arguments)
    except (ValueError, RecursionError):
        return arguments


def _interleaved(turn: Turn, placed: tuple[Placed, ...]) -> tuple[Block, ...]:
    """The turn's own blocks in their order, each thought in front of what it led to."""
    calls = [at for at, block in enumerate(turn.blocks) if isinstance(block, Call)]
    places: dict[int, list[Block]] = {}
    for one in placed:
        if not one.spoken and not one.calls:
            at = 0
        elif one.calls < len(calls):
            at = calls[one.calls]
        else:
            at = calls[-1] + 1 if calls else len(turn.blocks)
        places.setdefault(at, []).append(Thought(one.reasoning))
    out: list[Block] = []
    for at, block in enumerate(turn.blocks):
        out += places.pop(at, [])
        out.append(block)
    return (*out, *[thought for thoughts in places.values() for thought in thoughts])
