"""How many affinity keys one root has. Providers route by such a key, and one machine serves some fifteen requests of a key a minute before
the rest overflows to machines that know nothing of the prefix (OpenAI's guide to prompt caching). So a hot root gets several keys, and a
conversation stays with the one that it began with.
"""

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

MOST_PER_MINUTE: Final = 15
_MINUTE_NS: Final = 60_000_000_000
_MOST_SHARDS: Final = 64
_ROOTS: Final = 16_384
_SESSIONS: Final = 131_072


class Shards:
    """Which of its root's keys a conversation has. In this process only; losing it costs a miss."""

    def __init__(self, most_per_minute: int = MOST_PER_MINUTE) -> None:
        """`most_per_minute`: requests that one key is good for."""
        self._most = most_per_minute
        self._rates: OrderedDict[bytes, tuple[int, int, int]] = OrderedDict()  # minute, requests in it, requests in the one before
        self._of: OrderedDict[tuple[bytes, bytes], int] = OrderedDict()

    def shard(self, root: bytes, session: bytes, now_ns: int) -> int:
        """The number of the key, 0 for the first, for one more request of this conversation now."""
        wanted = min(_MOST_SHARDS, max(1, -(-self._count(root, now_ns) // self._most)))
        number = self._of.pop((root, session), None)
        if number is None:
            number = int.from_bytes(blake2b(root + session, digest_size=8).digest(), "big") % wanted
        self._of[root, session] = number
        while len(self._of) > _SESSIONS:
            self._of.popitem(last=False)
        return number

    def _count(self, root: bytes, now_ns: int) -> int:
        """Requests of the last minute, this one included, as if those of a whole minute were spread evenly over it."""
        minute, into = divmod(now_ns, _MINUTE_NS)
        at, count, before = self._rates.pop(root, (minute, 0, 0))
        if at != minute:
            count, before = 0, count if at == minute - 1 else 0
        self._rates[root] = (minute, count + 1, before)
        while len(self._rates) > _ROOTS:
            self._rates.popitem(last=False)
        return count + 1 + before * (_MINUTE_NS - into) // _MINUTE_NS
