"""A captured request as its client sent it, and as the gateway's memory sees it: what `leaks` and `bound` work with."""

from typing import Final

import msgspec

from tokenrouter.adapters.inbound.client_sessions import header_session
from tokenrouter.adapters.known import known_dialects
from tokenrouter.api.routes import Routes, outside
from tokenrouter.errors import GatewayError
from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.edits import VOLATILE_KNOWN
from tokenrouter.pipeline.arranger import arrange
from tokenrouter.pipeline.cache_injector import client_marks
from tokenrouter.pipeline.canonicalizer import canonicalize
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.pipeline.hasher import prefix_chain
from tokenrouter.prefixes.sessions import session_key
from tokenrouter.prefixes.snapshots import Snapshot, take
from tokenrouter.replay.bound import Terms
from tokenrouter.replay.read import Captured
from tokenrouter.sandbox.prices import Price
from tokenrouter.serving.services import Services

_SEED: Final = 0
_SECRET: Final = b"replay"
_DAY_S: Final = 86_400
"""Vendors that cache by themselves say no lifetime; none keeps a prefix for longer than a day."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    shot    as its client sent it
    marks   its client's own breakpoints: the longest of their lifetimes, in seconds; 0: it set none
    links, tokens  identity up to the end of each piece, and estimated sizes, in the form in which the gateway would send it
    """

    shot: Snapshot
    limits: PromptCacheLimits
    marks: int
    links: tuple[bytes, ...]
    tokens: tuple[int, ...]


class Seer:
    """Looks at requests with a gateway's dialects and catalog."""

    def __init__(self, services: Services, tenant: str) -> None:
        self._services, self._tenant, self._routes = services, tenant, Routes(known_dialects())

    def see(self, captured: Captured, vendor: str, name: str, at_ns: int) -> Seen | None:
        """One request to a model that the gateway has resolved; None where nothing of its prompt is here."""
        route = self._routes.find(captured.path)
        if route is None:
            return None
        services, model = self._services, self._services.catalog.model(vendor, name)
        try:
            envelope = route.dialect.parse(captured.body, outside(route, captured.headers, captured.query.encode()))
            chunks, params = chunk(envelope, services.memos.of(self._tenant), services.catalog.volatile)
        except GatewayError:
            return None
        canonical = canonicalize(arrange(chunks, sort_tools=False), params, frozenset())
        ideal = canonicalize(arrange(chunks, sort_tools=True), params, frozenset((VOLATILE_KNOWN,)))
        full = f"{vendor}/{name}"
        chain = prefix_chain(canonical, tenant=self._tenant, model=full, seed=_SEED)
        if not chain or params.state:
            return None
        shot = take(
            envelope,
            canonical,
            chain,
            request_id=str(captured.number),
            tenant=self._tenant,
            account=vendor,
            model=full,
            session=session_key(_SECRET, self._tenant, header_session(captured.headers) or params.session, ideal),
            at_ns=at_ns,
        )
        return Seen(
            shot=shot,
            limits=model.cache,
            marks=_longest(canonical, model.cache),
            links=prefix_chain(ideal, tenant=self._tenant, model=full, seed=_SEED),
            tokens=tuple([piece.tokens for piece in (*ideal.tools, *ideal.messages)]),
        )


def _longest(canonical: Canonical, limits: PromptCacheLimits) -> int:
    if limits.style not in ("marks", "breakpoints"):
        return 0
    default = min(limits.lifetimes_s, default=0)
    return max([mark.lifetime_s or default for mark in client_marks(canonical, limits)], default=0)


def terms_of(price: Price, limits: PromptCacheLimits, prompt: int) -> Terms:
    """What a clairvoyant may do at one request. `prompt`: its size by the vendor's count."""
    if limits.style == "none" or prompt < limits.min_tokens:
        return Terms(price.input, price.read)
    if limits.style == "automatic":
        return Terms(price.input, price.read, ((_DAY_S, price.write),))
    prices = (price.write, price.write_long)
    return Terms(price.input, price.read, tuple(zip(sorted(limits.lifetimes_s)[:2], prices, strict=False)))
