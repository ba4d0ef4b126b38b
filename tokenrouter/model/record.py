"""What happened to one request. Metrics, log line, ledger row and `GET /v1/requests/{id}` are views of it."""

from typing import Literal

import msgspec

from tokenrouter.model.usage import NO_USAGE, Usage

CacheStatus = Literal["hit", "coalesced", "miss", "bypass"]
"""Where the answer came from: a kept answer; a call already in flight; upstream; upstream, and it may not be shared at all."""

Settled = Literal["free", "exact", "estimated", "presumed", "void"]
"""How the money was booked: none moved; by reported usage; cut off, by what was seen; never told, so the whole hold; never sent."""

ROOMS = ("parse", "chunk", "canonicalize", "hash", "render")
"""Rooms whose time is kept, in the order in which a request passes them."""


class RequestRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One request, from its first byte to its settlement. Money in nano-USD, times in nanoseconds."""

    id: str
    time_ns: int
    key_id: str
    tenant: str
    dialect: str
    model_asked: str
    vendor: str = ""
    model: str = ""
    stream: bool = False
    sandbox: bool = False
    status: int = 0
    error: str = ""
    cache: CacheStatus = "bypass"
    settled: Settled = "free"
    usage: Usage = NO_USAGE
    cost: int = 0
    saved_prompt_cache: int = 0
    saved_exact: int = 0
    saved_dedup: int = 0
    edits: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    price_version: str = ""
    duration_ns: int = 0
    first_byte_ns: int = 0
    upstream_ns: int = 0
    shared_from: str = ""
    rooms_ns: tuple[int, ...] = ()

    @property
    def saved(self) -> int:
        """Everything that was saved, net of what cache writes cost extra."""
        return self.saved_prompt_cache + self.saved_exact + self.saved_dedup
