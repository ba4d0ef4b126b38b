"""Pins: the form in which a conversation went up on its first turn, kept where a crash does not reach it.

Models whose reasoning is bound to the prompt refuse it, or drop it in silence, once tools or system text change by a byte. So there the
edits of those are made the same way in every turn: as they were made on the first one, whatever was learned, switched or upgraded since. A
conversation is found again by what its client can not shuffle away; one that brings signed reasoning and has no pin gets none of the edits.
"""

from hashlib import blake2b
from typing import Protocol

import msgspec

from tokenrouter.model.chunk import Chunks
from tokenrouter.model.pin import PinnedForm


def pin_key(chunks: Chunks, *, model: str) -> bytes:
    """What a conversation is found again by, in the client's own form: model, the tools in any order and spelling, the system text, the first
    message behind it.
    """
    tools = sorted((reading.name, reading.kin) for reading in chunks.tools)
    said = [reading.prefix_digest for reading in chunks.messages[: chunks.opening + 1]]
    return blake2b(msgspec.msgpack.encode((model, tools, chunks.opening, said)), digest_size=16).digest()


class Pins(Protocol):
    """Pinned forms by tenant and key. `find` is called on the way of a request and must wait for nothing but a local disk."""

    def find(self, tenant: str, key: bytes) -> PinnedForm | None:
        """The form of a conversation; None where it has none. Raises NotAtHand, Unavailable."""
        ...

    async def write(self, tenant: str, key: bytes, form: PinnedForm, *, replace: bool = False) -> PinnedForm:
        """Keep a form so that it outlives this process, and give the one that counts: an earlier one, unless it is to be replaced.

        Raises Unavailable: nobody knows whether it was kept, and nothing may be sent that depends on it.
        """
        ...
