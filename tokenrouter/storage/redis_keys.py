"""Names of keys in Redis. Everything of one tenant shares one hash tag, and so one slot of a cluster.

tr:{TENANT}:epoch     hash    id, state (ready, rebuilding), since (Unix ms), run: whether its caps' counters are there
tr:{TENANT}:holds     zset    hold id -> when its owner must have renewed it (ms); held ones only
tr:{TENANT}:hold      hash    hold id -> what it holds (msgpack, see part_hold.lua); held and presumed ones
tr:{TENANT}:presumed  zset    hold id -> since when it is presumed spent (ms)
tr:{TENANT}:done      zset    hold id -> when it was settled (ms); for a while, so that nothing is settled twice
tr:{TENANT}:index     zset    key without its prefix -> when it may be looked at for deletion (ms); caps' counters and places
tr:{TENANT}:ledger    stream  intents and settlements on their way to the ledger
tr:{TENANT}:a:HEX     string  a kept answer (msgpack); the only keys that are evicted
tr:{TENANT}:l:...     hash    a token bucket: level, rest, tick; or a sliding window: tick -> amount, and total
tr:{TENANT}:w:l:...   zset    ticks of a sliding window
tr:{TENANT}:p:l:...   zset    places of a concurrency limit: ticket -> when its owner must have renewed it (ms)
tr:{TENANT}:c:...     hash    a cap's counter: spent, held, presumed, seed, and a field for each share that was told; sc:... of the sandbox

tr:{global}:...       what spans tenants: see redis_shares.py; tr:{global}:lessons: see redis_lessons.py
"""

from functools import lru_cache


@lru_cache(maxsize=4096)
def prefix(tenant: str) -> bytes:
    """What all keys of a tenant begin with. A name never ends the tag early, and two names never share a prefix.

    >>> prefix("acme"), prefix("a}b"), prefix("")
    (b'tr:{acme}:', b'tr:{a%7Db}:', b'tr:{%}:')
    """
    escaped = tenant.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") or "%"
    return b"tr:{" + escaped.encode() + b"}:"


def ledger(tenant: str) -> bytes:
    """The stream of a tenant's intents and settlements."""
    return prefix(tenant) + b"ledger"


def answer(tenant: str, identity: bytes) -> bytes:
    """A kept answer."""
    return b"%ba:%b" % (prefix(tenant), identity.hex().encode())


def counter(tenant: str, name: str) -> bytes:
    """A limit's or a cap's counter, by its name inside the tenant."""
    return prefix(tenant) + name.encode()


GLOBAL = b"tr:{global}:"
"""What spans tenants. A tenant of this name shares the slot, and no key."""

TENANTS = GLOBAL + b"tenants"
"""Zset: every tenant that has used the counters -> when a worker said so last (ms)."""
