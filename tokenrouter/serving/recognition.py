"""Requests that are repeated to the byte: recognised without being parsed, so that a hit costs a hash whatever its size."""

import hashlib

import msgspec
import xxhash

from tokenrouter.adapters.inbound.wishes import WISH_HEADERS
from tokenrouter.model.call import Call
from tokenrouter.serving.question import Known

_MOST = 8192


class _Seen(msgspec.Struct, frozen=True):
    sha256: bytes
    known: Known


class Recognition:
    """Remembers what was known of bodies whose answers were given again; per key, bounded, in two generations like the memo.

    xxh3 with a secret seed finds the entry, SHA-256 confirms it: nobody is handed another request's answer by a crafted collision.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._young: dict[tuple[str, bytes], _Seen] = {}
        self._old: dict[tuple[str, bytes], _Seen] = {}

    def recognise(self, call: Call) -> Known | None:
        """What is known of this very body; None for one that says more in its headers, or was not repeated before."""
        if not self._young and not self._old:
            return None
        key = (call.principal.key_id, xxhash.xxh3_128_digest(call.body, self._seed))
        seen = self._young.get(key)
        if seen is None:
            seen = self._old.get(key)
            if seen is None:
                return None
            self._put(key, seen)
        if not WISH_HEADERS.isdisjoint(call.headers) or hashlib.sha256(call.body).digest() != seen.sha256:
            return None
        return seen.known

    def remember(self, call: Call, known: Known) -> None:
        """A kept answer was given for this body: it may come again."""
        if WISH_HEADERS.isdisjoint(call.headers):
            key = (call.principal.key_id, xxhash.xxh3_128_digest(call.body, self._seed))
            alone = Known(**{field: getattr(known, field) for field in Known.__struct_fields__})  # lets go of the body
            self._put(key, _Seen(hashlib.sha256(call.body).digest(), alone))

    def _put(self, key: tuple[str, bytes], seen: _Seen) -> None:
        if len(self._young) >= _MOST // 2:
            self._old, self._young = self._young, {}
        self._young[key] = seen
