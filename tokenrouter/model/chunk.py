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
    """A cache mark of the client's on content part `part` (-1: on the whole piece); lifetime 0 is the provider's default."""

    part: int
    lifetime_s: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one slice of a request says: made once, remembered by its digest, shared by all requests that repeat it.

    prefix_digest  xxh3_128 of the canonical bytes: what a provider's prompt cache would see
    answer_digest  SHA-256 of the canonical bytes after the equivalences of the answer identity
    tokens         estimate
    text_bytes     upper bound of what can become text tokens (media left out)
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


class Chunk(msgspec.Struct, frozen=True):
    """A reading in its place: `index` counts tools as the client sent them, or messages."""

    kind: BlockKind
    index: int
    reading: Reading

    @property
    def stability(self) -> Stability:
        """How long it is expected to stay: the app's lifetime, the conversation's, or this request's."""
        if self.reading.volatile:
            return "volatile"
        return "static" if self.kind in ("system", "tool") else "session" if self.kind == "history" else "volatile"
