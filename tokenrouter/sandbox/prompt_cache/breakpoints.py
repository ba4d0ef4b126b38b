"""Breakpoint caching of gpt-5.6 and later: a prefix can be read only where some request wrote a mark exactly there.

- a request writes at most four marks: the implicit one at the newest eligible message end and the last three explicit ones, or, in
  explicit mode, the last four explicit ones
- it looks at its first two and newest fifty explicit marks; in implicit mode also at the implicit mark, at up to twenty earlier
  message ends and at the end of the opening developer block. (The guide's window; the SDK's text names a larger one, the newest
  eighty marks. A simulation has to take the smaller.)
- what lies between the longest hit and the last mark is written and billed; a mark inside what was read makes no entry (not
  documented; the other reading would make writes free)
- nothing below 1,024 tokens is written or read; a read extends an entry by its own lifetime, free of charge

Source: https://developers.openai.com/api/docs/guides/prompt-caching.
"""

import msgspec

from tokenrouter.sandbox.prompt import Chain, Point
from tokenrouter.sandbox.prompt_cache.entries import Entries

MINIMUM = 1024
MOST_WRITES = 4
FIRST_EXPLICIT, NEWEST_EXPLICIT, EARLIER_ENDS = 2, 50, 20
TTL_NS = {"30m": 1800 * 1_000_000_000, "12h": 12 * 3600 * 1_000_000_000}


class Explicit(msgspec.Struct, frozen=True):
    """A mark that the client set after piece number `piece`."""

    piece: int
    ttl: str


class Marked(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt with its marks. `ends`: eligible message ends, oldest first; `opening`: the end of the opening developer block."""

    chain: Chain
    explicit: tuple[Explicit, ...]
    implicit_ttl: str | None
    """None in explicit mode."""
    ends: tuple[int, ...] = ()
    opening: int | None = None


class Write(msgspec.Struct, frozen=True):
    """An entry to be made."""

    point: Point
    ttl: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache did for one request: tokens read and written, and the entries that appear when its answer starts."""

    read: int
    written_30m: int
    written_12h: int
    writes: tuple[Write, ...]


class BreakpointCache:
    """Marks, exact to the byte."""

    __slots__ = ("_entries",)

    def __init__(self, capacity: int = 100_000) -> None:
        self._entries = Entries(capacity)

    def look_up(self, prompt: Marked, now_ns: int) -> Outcome:
        """Read the longest live mark, and plan what to write."""
        ends = prompt.chain.ends
        read = 0
        for piece in sorted(_window(prompt), reverse=True):
            point = ends[piece]
            if point.tokens >= MINIMUM and self._entries.alive(point.digest, now_ns):
                if read == 0:
                    read = point.tokens
                self._entries.touch(point.digest, now_ns)
        writes = tuple(write for write in _writes(prompt) if write.point.tokens > read)
        done = read
        billed = {"30m": 0, "12h": 0}
        for write in writes:
            if write.point.tokens > done:
                billed[write.ttl] += write.point.tokens - done
                done = write.point.tokens
        return Outcome(read=read, written_30m=billed["30m"], written_12h=billed["12h"], writes=writes)

    def write(self, outcome: Outcome, now_ns: int) -> None:
        """Make the entries."""
        for write in outcome.writes:
            self._entries.put(write.point.digest, now_ns, TTL_NS[write.ttl])

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _window(prompt: Marked) -> set[int]:
    pieces = [mark.piece for mark in prompt.explicit]
    window = {*pieces[:FIRST_EXPLICIT], *pieces[-NEWEST_EXPLICIT:]}
    if prompt.implicit_ttl is not None:
        window.update(prompt.ends[-(EARLIER_ENDS + 1) :])
        if prompt.opening is not None:
            window.add(prompt.opening)
    return window


def _writes(prompt: Marked) -> tuple[Write, ...]:
    """In prompt order. Where an implicit and an explicit mark meet in one place, the explicit one names the lifetime."""
    chosen: dict[int, str] = {}
    room = MOST_WRITES
    if prompt.implicit_ttl is not None:
        room -= 1
        if prompt.ends:
            chosen[prompt.ends[-1]] = prompt.implicit_ttl
    for mark in prompt.explicit[-room:]:
        chosen[mark.piece] = mark.ttl
    ends = prompt.chain.ends
    return tuple(Write(ends[piece], chosen[piece]) for piece in sorted(chosen) if ends[piece].tokens >= MINIMUM)
