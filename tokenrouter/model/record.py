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
    """One request, from its first byte to its settlement. Money in nano-USD, times in nanoseconds.

    customer         on whose behalf, as the tenant names them; "": nobody was named
    labels           what the caller wrote on it: pairs of name and value
    similarity       of the question whose answer was given to this one, in millionths; 0: not judged
    chain            accounts that were tried, in order
    late             the truth came after the hold had expired, and replaced a presumption
    admitted_ns      by the clock of who counts: the moment whose period it is booked in; 0: nothing was held, `time_ns` counts
    downgraded_from  the model that it would have been but for a cap, `vendor/model`
    held_tokens      of a presumed one: the tokens that were set aside, which count as spent
    session          which conversation, as far as can be told: a keyed digest in hex; "": it can not
    saved_by_client  how much of `saved_prompt_cache` the client's own breakpoints, or the vendor's automatic cache, would have saved alone
    saved_by_gateway the rest of it: what the gateway's part comes to; below zero where it cost more than it brought
    cache_break      why its prompt was not read from the prompt cache although it should have been: a cause's id; "": nothing broke
    cache_break_place   where: a path in the request
    cache_break_tokens, cache_break_cost  what that lost: tokens billed again, and nano-USD
    read_across_sessions, read_across_users  of `usage.cache_read`: tokens that another conversation, or another key, had written
    unbound          its reasoning was refused for its edited prompt, and the client's own form was sent instead
    output_limit     the output limit that a cap has set; 0: none did
    warnings         caps that are reached and only warn
    """

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
    customer: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    similarity: int = 0
    chain: tuple[str, ...] = ()
    late: bool = False
    admitted_ns: int = 0
    downgraded_from: str = ""
    held_tokens: int = 0
    output_limit: int = 0
    unbound: bool = False
    session: str = ""
    saved_by_client: int = 0
    saved_by_gateway: int = 0
    cache_break: str = ""
    cache_break_place: str = ""
    cache_break_tokens: int = 0
    cache_break_cost: int = 0
    read_across_sessions: int = 0
    read_across_users: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def booked_ns(self) -> int:
        """The moment whose period it belongs to."""
        return self.admitted_ns or self.time_ns

    @property
    def tokens(self) -> int:
        """What it counts against caps of tokens: all input, cached or not, and all output; where nobody knows, what was set aside."""
        return self.held_tokens or self.usage.input_total + self.usage.output

    @property
    def saved(self) -> int:
        """Everything that was saved, net of what cache writes cost extra."""
        return self.saved_prompt_cache + self.saved_exact + self.saved_dedup
