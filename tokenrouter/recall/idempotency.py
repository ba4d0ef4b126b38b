"""Idempotency keys: one key of one caller means one question."""

from collections import OrderedDict

from tokenrouter.clock import Clock
from tokenrouter.errors import IdempotencyMismatch

_MOST = 65_536


class IdempotencyKeys:
    """Remembers which question a caller's key stood for; bounded, oldest first."""

    def __init__(self, clock: Clock, ttl_s: int) -> None:
        self._clock = clock
        self._ttl_ns = ttl_s * 1_000_000_000
        self._seen: OrderedDict[tuple[str, str], tuple[int, bytes]] = OrderedDict()

    def check(self, key_id: str, idempotency: str, question: bytes) -> None:
        """Remember `question` under the caller's key. Raises IdempotencyMismatch where the key stood for another one."""
        now = self._clock.monotonic_ns()
        known = self._seen.get((key_id, idempotency))
        if known is not None and now - known[0] <= self._ttl_ns and known[1] != question:
            raise IdempotencyMismatch(f"the idempotency key {idempotency[:64]!r} was used with another request", param="idempotency-key")
        self._seen[key_id, idempotency] = (now, question)
        self._seen.move_to_end((key_id, idempotency))
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)
