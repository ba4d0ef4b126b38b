"""What a memory of prefixes says about a request (`Look`), what an answer taught it (`Learned`), and what it tells others (`Lesson`)."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter

import msgspec

from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.prefix import CacheScope, Sight
from tokenrouter.prefixes.survival import SECOND, Key, Odds, Spell

NEAR = 0.25
"""Estimates within this share of a report, and `TELLING` tokens, may mean the same."""
TELLING = 64
LONGEST_HEAD_NS = 30 * SECOND
"""An answer that has not begun by then is not waited for."""
_first = itemgetter(0)
Mark = tuple[int, int]
"""A boundary (-1: before the first piece) and a lifetime in seconds; 0 is the vendor's default."""


class Visit:
    """One request on its way. Unix nanoseconds; `begun_ns`: when its answer began, 0 as long as it has not."""

    __slots__ = ("begun_ns", "started_ns")

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.begun_ns = 0


class Node:
    """One link. Times are nanoseconds since the epoch.

    count       requests that passed
    rounds      the same, requests that came before the answer to another one began counted as one
    tokens      exact tokens up to here where the vendor told, else 0
    lives       believed entries of the vendor's cache: lifetime in seconds to [written or last read, dies]
    gone_ns     entries written or read before this are believed gone
    generation  how many turns of one conversation led here
    notable     has entries, exact tokens, or several children
    visit       the request that the newest round began with; None: one of another process
    """

    __slots__ = (
        "children",
        "count",
        "first_ns",
        "generation",
        "gone_ns",
        "last_ns",
        "link",
        "lives",
        "notable",
        "parent",
        "rounds",
        "spell",
        "tokens",
        "visit",
    )

    def __init__(self, link: bytes, parent: "Node | None", now_ns: int, generation: int) -> None:
        self.link = link
        self.parent = parent
        self.count = 0
        self.rounds = 0
        self.first_ns = now_ns
        self.last_ns = 0
        self.children = 0
        self.tokens = 0
        self.generation = generation
        self.lives: dict[int, list[int]] | None = None
        self.gone_ns = 0
        self.spell: Spell | None = None
        self.notable = False
        self.visit: Visit | None = None

    def beside(self, now_ns: int, head_ns: int) -> bool:
        """Whether a request now comes before the answer to the last one began: it reads nothing of what that one writes, and is no return.

        head_ns  how long answers take to begin, for those of which it is not known: another process asked, or the clock stood still
        """
        visit = self.visit
        if visit is None:
            return now_ns - self.last_ns < head_ns
        if not visit.begun_ns:
            return now_ns - visit.started_ns < LONGEST_HEAD_NS
        return now_ns < visit.begun_ns or (visit.begun_ns == visit.started_ns and now_ns - visit.started_ns < head_ns)

    def alive(self, now_ns: int) -> tuple[int, int] | None:
        """The longest-lived entry that can be read now: (lifetime in seconds, when it dies); None without one."""
        best, dead = None, True
        for lifetime_s, (begun_ns, dies_ns) in (self.lives or {}).items():
            if now_ns < dies_ns:
                dead = False
                if begun_ns <= now_ns and (best is None or dies_ns > best[1]):
                    best = (lifetime_s, dies_ns)
        if dead:
            self.lives = None
        return best


class Live(msgspec.Struct, frozen=True):
    """An entry of the vendor's cache that is believed to be there."""

    boundary: int
    tokens: int
    lifetime_s: int
    dies_ns: int


class Place(msgspec.Struct, frozen=True):
    """A boundary worth a decision.

    tokens   cumulative, at the boundary
    role     "root": tools or opening system text; "end": the last one that takes a mark; "before": the one before it; "seen"; "new"
    keys     classes of its return time, narrowest first
    odds     when a later request is expected to pass here again
    then     the same for the return after that one
    """

    boundary: int
    tokens: int
    role: str
    keys: tuple[Key, ...]
    odds: Odds
    then: Odds


class Look:
    """One request as the memory knows it.

    seen      deepest boundary that an earlier request had; -1 for none
    live      entries on its path, shallowest first
    places    boundaries to decide about, shallowest first
    count     requests that had passed the deepest boundary seen
    gap_s     seconds since the last of them; -1 for none, and where its answer has not begun
    head_ns   how long answers take to begin, as learned
    visit     itself, once it is on its way
    patient   it may wait until what another request writes can be read (`serving/cold_starts.py`), so that none is beside it
    ratio     exact tokens per estimated one, for what no request had before
    lost      share of entries that go before their time
    least     tokens below which nothing is cached, as learned
    """

    __slots__ = (
        "_anchors",
        "_raw",
        "blocks",
        "count",
        "gap_s",
        "generation",
        "head_ns",
        "least",
        "limits",
        "live",
        "lost",
        "now_ns",
        "patient",
        "places",
        "ratio",
        "seen",
        "sight",
        "visit",
    )

    def __init__(self, sight: Sight, limits: PromptCacheLimits, now_ns: int, *, ratio: float, lost: float, least: int, patient: bool = False) -> None:
        self.sight = sight
        self.limits = limits
        self.now_ns = now_ns
        self.ratio = ratio
        self.lost = lost
        self.least = least
        self.seen = -1
        self.count = 0
        self.gap_s = -1.0
        self.head_ns = 0
        self.generation = 0
        self.visit: Visit | None = None
        self.patient = patient
        self.live: tuple[Live, ...] = ()
        self.places: tuple[Place, ...] = ()
        self.blocks = list(accumulate(sight.blocks))
        self._raw = list(accumulate(sight.tokens))
        self._anchors: list[tuple[int, int]] = []

    def beside(self, node: Node) -> bool:
        """Whether it comes before the answer to the last request that passed a node began, and will not wait for it."""
        return not self.patient and node.beside(self.now_ns, self.head_ns)

    def anchor(self, anchors: list[tuple[int, int]]) -> None:
        """Exact tokens at boundaries, in order; one that is below an earlier one is left out."""
        kept: list[tuple[int, int]] = []
        for boundary, tokens in anchors:
            if not kept or tokens > kept[-1][1]:
                kept.append((boundary, tokens))
        self._anchors = kept

    def tokens_at(self, boundary: int) -> int:
        """Tokens of the prompt up to a boundary (-1: 0): exact, or from the nearest exact ones around it."""
        if boundary < 0:
            return 0
        raw, anchors = self._raw, self._anchors
        index = bisect_right(anchors, boundary, key=_first)
        low, low_tokens = anchors[index - 1] if index else (-1, 0)
        if low == boundary:
            return low_tokens
        start = raw[low] if low >= 0 else 0
        if index < len(anchors):
            high, high_tokens = anchors[index]
            span = raw[high] - start
            return low_tokens + (raw[boundary] - start) * (high_tokens - low_tokens) // span if span else high_tokens
        return low_tokens + int((raw[boundary] - start) * self.ratio)

    def raw_at(self, boundary: int) -> int:
        """Estimated tokens up to a boundary, from the request alone."""
        return self._raw[boundary] if boundary >= 0 else 0

    def exact_before(self, boundary: int) -> tuple[int, int]:
        """The nearest boundary in front whose tokens are exact, and these; (-1, 0) without one."""
        index = bisect_left(self._anchors, boundary, key=_first)
        return self._anchors[index - 1] if index else (-1, 0)

    def boundary_of(self, read: int, hits: Sequence[int]) -> int:
        """Where `read` tokens end: at one of `hits` (boundaries that were to be read) or else at the nearest place; -1 where none is near."""
        if not read:
            return -1
        places = [place.boundary for place in self.places]
        expected = hits or [live.boundary for live in self.live]
        for near, share in ((expected, NEAR), (places, NEAR / 5), (range(len(self._raw)), NEAR / 5)):
            best = min(near, key=lambda boundary: abs(self.tokens_at(boundary) - read), default=-1)
            if best >= 0 and abs(self.tokens_at(best) - read) <= TELLING + share * read:
                return best
        return -1

    @property
    def tokens(self) -> tuple[int, ...]:
        """Cumulative tokens of every boundary."""
        return tuple([self.tokens_at(boundary) for boundary in range(len(self._raw))])

    @property
    def total(self) -> int:
        """Tokens of the whole prompt."""
        return self.tokens_at(len(self._raw) - 1)

    def lifetime(self, wanted_s: int) -> int:
        """A lifetime in seconds; 0 becomes the vendor's default."""
        return wanted_s or (self.limits.lifetimes_s[0] if self.limits.lifetimes_s else 0)

    def reaches(self, mark: int, boundary: int) -> bool:
        """Whether a mark finds an entry at a boundary: within the vendor's lookback, or right on it."""
        if mark == boundary:
            return True
        return self.limits.style == "marks" and mark > boundary and self.blocks[mark] - self.blocks[boundary] < self.limits.lookback


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What was expected of one request and what came. Tokens; `boundary`: where what was read ends, -1 for none or not known.

    reported  False where the vendor does not tell: then nothing was corrected
    surprise  "": as expected; "lost": less was read than believed there; "found": more; "unwritten": a mark made no entry
    """

    reported: bool
    expected: int = 0
    read: int = 0
    boundary: int = -1
    surprise: str = ""


class Lesson(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What one request taught, for the memories of other processes. Nothing but digests, sizes and times.

    base        the deepest link that the teller had known before; b"" for none
    links       links behind it
    generation  of those
    lives       (link, lifetime in seconds, written or read at, dies at) in nanoseconds
    gone        links whose entries were found missing
    exact       (link, exact tokens)
    """

    scope: CacheScope
    at_ns: int
    base: bytes
    links: tuple[bytes, ...]
    generation: int = 0
    lives: tuple[tuple[bytes, int, int, int], ...] = ()
    gone: tuple[bytes, ...] = ()
    exact: tuple[tuple[bytes, int], ...] = ()
