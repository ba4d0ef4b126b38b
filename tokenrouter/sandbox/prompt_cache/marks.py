"""Marked caching of Claude: entries are written only at marks, and found from a mark by looking back over at most twenty blocks.

- an entry covers everything before it: tools, then system, then messages
- a prompt shorter than the model's minimum at a mark is neither written nor read there, without an error
- an entry can be read once the answer of its writer has begun; its lifetime counts from the start of the request that wrote or last
  read it, and a read prolongs it for free
- what lies between the longest hit and the last mark is written: each stretch at the lifetime of the mark that ends it.
  A mark inside what was read makes no entry (not documented; the other reading would make writes free)

Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching.
"""

import msgspec

from tokenrouter.sandbox.prompt import Point
from tokenrouter.sandbox.prompt_cache.entries import Entries

LOOKBACK_BLOCKS = 20
TTL_NS = {"5m": 300 * 1_000_000_000, "1h": 3600 * 1_000_000_000}


class Block(msgspec.Struct, frozen=True):
    """The end of a block; `ttl` of None: not marked."""

    point: Point
    ttl: str | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens read and written by one request, and the entries that appear when its answer starts."""

    read: int
    written_5m: int
    written_1h: int
    writes: tuple[Block, ...]


class MarkCache:
    """Entries of all accounts and models: the chain's scope keeps them apart."""

    __slots__ = ("_entries",)

    def __init__(self, capacity: int = 100_000) -> None:
        self._entries = Entries(capacity)

    def look_up(self, blocks: tuple[Block, ...], *, minimum: int, now_ns: int) -> Outcome:
        """Find the longest hit of any mark, and plan what to write."""
        marked = [index for index, block in enumerate(blocks) if block.ttl is not None and block.point.tokens >= minimum]
        read = 0
        for mark in marked:
            for index in range(mark, max(mark - LOOKBACK_BLOCKS, -1), -1):
                point = blocks[index].point
                if point.tokens >= minimum and self._entries.alive(point.digest, now_ns):
                    self._entries.touch(point.digest, now_ns)
                    read = max(read, point.tokens)
                    break
        done = read
        billed = {"5m": 0, "1h": 0}
        writes: list[Block] = []
        for mark in marked:
            block = blocks[mark]
            if block.point.tokens > done and block.ttl is not None:
                billed[block.ttl] += block.point.tokens - done
                done = block.point.tokens
                writes.append(block)
        return Outcome(read=read, written_5m=billed["5m"], written_1h=billed["1h"], writes=tuple(writes))

    def write(self, outcome: Outcome, started_ns: int) -> None:
        """Make the entries of a request that started at `started_ns`."""
        for block in outcome.writes:
            if block.ttl is not None:
                self._entries.put(block.point.digest, started_ns, TTL_NS[block.ttl])

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
