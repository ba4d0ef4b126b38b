"""Idempotency keys: one key of one caller means one question."""

from collections import OrderedDict
from functools import partial
from typing import Protocol

from tokenrouter.clock import Clock
from tokenrouter.errors import IdempotencyMismatch, Unavailable
from tokenrouter.model.at_hand import NotAtHand

_MOST = 65_536


class SharedFirsts(Protocol):
    """Who said something first, among all workers."""

    async def first(self, key_id: str, name: str, said: bytes, ttl_ms: int) -> bytes:
        """What was said first under this name in the last `ttl_ms`: by now at least this. Raises Unavailable."""
        ...


class IdempotencyKeys:
    """Remembers which question a caller's key stood for; bounded, oldest first."""

    def __init__(self, clock: Clock, ttl_s: int, *, shared: SharedFirsts | None = None) -> None:
        """`shared`: what other workers were asked; None: there are none. Where it is away, this worker judges by what it knows itself."""
        self._clock, self._shared = clock, shared
        self._ttl_ns = ttl_s * 1_000_000_000
        self._seen: OrderedDict[tuple[str, str], tuple[int, bytes]] = OrderedDict()

    def check(self, key_id: str, idempotency: str, question: bytes) -> None:
        """Remember `question` under the caller's key.

        Raises IdempotencyMismatch where the key stood for another one, NotAtHand where other workers must be asked.
        """
        now = self._clock.monotonic_ns()
        known = self._seen.get((key_id, idempotency))
        if known is not None and now - known[0] > self._ttl_ns:
            known = None
        if known is None and self._shared is not None:
            raise NotAtHand(partial(self._fetch, self._shared, key_id, idempotency, question))
        if known is not None and known[1] != question:
            raise IdempotencyMismatch("this idempotency key was used with another request; take a fresh one", param="idempotency-key")
        self._remember(key_id, idempotency, question)

    async def _fetch(self, shared: SharedFirsts, key_id: str, idempotency: str, question: bytes) -> None:
        try:
            first = await shared.first(key_id, idempotency, question, self._ttl_ns // 1_000_000)
        except Unavailable:
            first = question
        self._remember(key_id, idempotency, first)

    def _remember(self, key_id: str, idempotency: str, question: bytes) -> None:
        now = self._clock.monotonic_ns()
        self._seen[key_id, idempotency] = (now, question)
        self._seen.move_to_end((key_id, idempotency))
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)
