"""Requests that are repeated to the byte: recognised without being parsed, so that a hit costs little more than reading its body."""

from collections import OrderedDict
from collections.abc import Mapping

import msgspec
import xxhash

from tokenrouter.adapters.inbound.wishes import WISH_HEADERS
from tokenrouter.model.call import Call
from tokenrouter.serving.question import Known

_ROOM = 64 << 20
_MOST = 8192


_Key = tuple[str, str, str, bytes]


class _Seen(msgspec.Struct, frozen=True):
    body: bytes
    outside: Mapping[str, str]
    known: Known


class Recognition:
    """Remembers what was known of bodies whose answers were given again; per key, the least recently used go first.

    xxh3 finds the entry and the bytes themselves confirm it, so that no collision can hand anybody another request's answer.
    """

    def __init__(self, seed: int, room: int = _ROOM) -> None:
        """`seed`: of this process. `room`: bytes of bodies to keep at most."""
        self._seed, self._room = seed, room
        self._held = 0
        self._seen: OrderedDict[_Key, _Seen] = OrderedDict()

    def recognise(self, call: Call) -> Known | None:
        """What is known of this very body; None for one that says more in its headers, or was not repeated before."""
        if not self._seen:
            return None
        key = self._key(call)
        seen = self._seen.get(key)
        if seen is None or seen.body != call.body or seen.outside != call.outside or not WISH_HEADERS.isdisjoint(call.headers):
            return None
        self._seen.move_to_end(key)
        return seen.known

    def remember(self, call: Call, known: Known) -> None:
        """A kept answer was given for this body: it may come again."""
        if len(call.body) > self._room // 8 or not WISH_HEADERS.isdisjoint(call.headers):
            return
        alone = Known(**{field: getattr(known, field) for field in Known.__struct_fields__})  # lets go of what was parsed
        key = self._key(call)
        old = self._seen.pop(key, None)
        self._held += len(call.body) - (len(old.body) if old is not None else 0)
        self._seen[key] = _Seen(call.body, call.outside, alone)
        while self._held > self._room or len(self._seen) > _MOST:
            _, gone = self._seen.popitem(last=False)
            self._held -= len(gone.body)

    def _key(self, call: Call) -> _Key:
        return (call.principal.key_id, call.dialect, call.outside.get(":model", ""), xxhash.xxh3_128_digest(call.body, self._seed))
