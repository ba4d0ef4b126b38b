"""When does a prefix come back? Return times by age, learned from observed sharing; prompts that nobody marked teach as much as marked ones.

A spell begins when a request passes a place worth marking and ends when a later request passes it again. Its age is cut into buckets; per
bucket a table counts how many spells ended there and how many outlived it, so that spells still open (and those forgotten) never count as
"does not return" beyond the age they reached: Kaplan and Meier's estimator. Each class of places leans on a broader one, and the broadest
on a shipped prior, by pseudo-counts.
"""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import sqrt

import msgspec

SECOND = 1_000_000_000
EDGES_S = (5, 20, 60, 150, 300, 600, 1200, 1800, 3600, 43200)
_EDGES_NS = tuple(edge * SECOND for edge in EDGES_S)
_BUCKETS = len(EDGES_S)
_LATE = EDGES_S.index(300) + 1
_LEANS = (24.0, 12.0, 12.0, 6.0)
_TRUSTS = (100.0, 50.0, 50.0, 50.0)
"""Pseudo-counts of what a class leans on, narrowest class first. The broadest leans on the prior."""
_FIRM = 2.0
_FULL = 400.0
_MOST_TABLES = 2048
_MOST_SPELLS = 20_000
_SURE = 0.97
_STALE = 1.1
"""Odds are worked out anew once what they rest on has grown by this factor."""
Key = tuple[object, ...]


@lru_cache(64)
def _position(lifetime_s: float) -> tuple[int, float]:
    """The bucket that a lifetime ends in, and the share of the bucket that it covers."""
    index = bisect_right(EDGES_S, lifetime_s)
    if index >= _BUCKETS:
        return _BUCKETS - 1, 1.0
    start = EDGES_S[index - 1] if index else 0
    return index, (lifetime_s - start) / (EDGES_S[index] - start)


class Odds(msgspec.Struct, frozen=True):
    """Chance of a return by the end of each bucket of `EDGES_S`.

    weight  how many spells it rests on, the prior's included
    late    how many spells that were still open after five minutes: what later returns rest on, the prior not included
    """

    by_edge: tuple[float, ...]
    weight: float = 6.0
    late: float = 0.0

    def within(self, lifetime_s: float) -> float:
        """Chance that the prefix comes back within a lifetime, in seconds; between two edges in proportion."""
        index, share = _position(lifetime_s)
        low = self.by_edge[index - 1] if index else 0.0
        return low + (self.by_edge[index] - low) * share

    def surely(self, lifetime_s: float, caution: float) -> float:
        """`within`, less some standard errors: of many places those that look best are too good."""
        chance = self.within(lifetime_s)
        return max(0.0, chance - caution * sqrt(chance * (1.0 - chance) / self.weight))

    def further(self, lifetime_s: float) -> float:
        """Expected number of returns before a gap longer than a lifetime, if every one is as likely as this one."""
        chance = min(self.within(lifetime_s), _SURE)
        return chance / (1.0 - chance)


class Table:
    """Counts of one class of places. Per bucket: spells that `entered` it, that `ended` in it, and what its chance is of (`weights`).

    Of those that entered a bucket half count as long as nothing more is known of them: half of the sum of entered, ended and outlived.
    """

    __slots__ = ("changes", "ended", "ends", "entered", "weights")

    def __init__(self) -> None:
        self.entered = [0.0] * _BUCKETS
        self.ended = [0.0] * _BUCKETS
        self.weights = [0.0] * _BUCKETS
        self.ends = 0.0
        self.changes = 0

    def enter(self, bucket: int, weight: float) -> None:
        """A spell reached this bucket."""
        self.entered[bucket] += weight
        self.weights[bucket] += 0.5 * weight
        if self.entered[bucket] > _FULL:
            self.ends -= 0.5 * self.ended[bucket]
            self.entered[bucket] *= 0.5
            self.ended[bucket] *= 0.5
            self.weights[bucket] *= 0.5

    def end(self, bucket: int, weight: float) -> None:
        """A spell ended in this bucket."""
        self.changes += 1
        self.ended[bucket] += weight
        self.ends += weight
        self.weights[bucket] += 0.5 * weight

    def outlive(self, bucket: int, weight: float) -> None:
        """A spell outlived this bucket."""
        self.changes += 1
        self.weights[bucket] += 0.5 * weight

    def off(self, expected: Sequence[float]) -> float:
        """By how much the whole class is off, from what is known of some buckets (a gamma prior on one common factor).

        So places that never come back early are not believed to come back late.
        """
        foreseen = 0.0
        for weight, chance in zip(self.weights, expected, strict=True):
            foreseen += weight * chance
        return (self.ends + _FIRM) / (foreseen + _FIRM)


class Spell:
    """One wait for a return. `tables`: the classes it teaches, narrowest first; `weight`: how much it counts."""

    __slots__ = ("began_ns", "over", "tables", "weight")

    def __init__(self, began_ns: int, tables: tuple[Table, ...], weight: float) -> None:
        self.began_ns = began_ns
        self.weight = weight
        self.tables = tables
        self.over = False


def prior(within: tuple[tuple[int, float], ...]) -> tuple[float, ...]:
    """Hazards per bucket from chances at some ages (seconds, ascending), spread evenly over the buckets between."""
    hazards = []
    alive = 1.0
    points = ((0, 0.0), *within)
    for (start, low), (stop, high) in pairwise(points):
        buckets = [edge for edge in EDGES_S if start < edge <= stop]
        if not buckets:
            continue
        step = (high - low) / len(buckets)
        for _ in buckets:
            hazards.append(step / alive if alive > 0 else 0.0)
            alive -= step
    hazards += [0.0] * (_BUCKETS - len(hazards))
    return tuple(hazards)


def _odds(chain: Sequence[Table | None], hazards: Sequence[float]) -> Odds:
    """Kaplan and Meier's estimator over classes that lean on each other, narrowest first, and in the end on `hazards`."""
    levels = []
    weight, late, factor = _LEANS[-1], 0.0, 1.0
    for table, lean, trust in zip(chain, _LEANS, _TRUSTS, strict=False):
        if table is not None:
            entered, later = table.entered[0], table.entered[_LATE]
            weight += entered if entered < trust else trust
            late += later if later < trust else trust
            if table.changes:
                levels.append((table.ended, table.weights, lean))
    broadest = chain[-1]
    if broadest is not None and broadest.changes:
        factor = broadest.off(hazards)
    expected = [factor * chance for chance in hazards]
    for ended, weights, lean in reversed(levels):
        expected = [
            (ends + lean * hazard) / ((counted if counted > ends else ends) + lean)
            for ends, counted, hazard in zip(ended, weights, expected, strict=True)
        ]
    alive = 1.0
    chances = []
    for hazard in expected:
        alive *= 1.0 - (hazard if hazard < _SURE else _SURE)
        chances.append(1.0 - alive)
    return Odds(tuple(chances), weight, late)


class Survival:
    """The tables of one scope and the spells still open."""

    __slots__ = ("_known", "_queues", "_tables", "_waiting")

    def __init__(self) -> None:
        self._tables: OrderedDict[Key, Table] = OrderedDict()
        self._queues: tuple[deque[Spell], ...] = tuple(deque() for _ in EDGES_S)
        self._waiting = 0
        self._known: dict[Key, tuple[int, Odds]] = {}

    def tables(self, keys: tuple[Key, ...]) -> tuple[Table, ...]:
        """The tables of a chain of classes, made where they are missing; the least recently used of too many are forgotten."""
        found = []
        tables = self._tables
        for key in keys:
            table = tables.get(key)
            if table is None:
                table = tables[key] = Table()
                if len(tables) > _MOST_TABLES:
                    tables.popitem(last=False)
            else:
                tables.move_to_end(key)
            found.append(table)
        return tuple(found)

    def odds(self, keys: tuple[Key, ...], hazards: tuple[float, ...]) -> Odds:
        """Chances for the first class of the chain, leaning on the next, and in the end on `hazards`."""
        get = self._tables.get
        chain = [get(key) for key in keys]
        stamp = 0
        for table in chain:
            if table is not None:
                stamp += table.changes
        known = self._known.get(keys[0])
        if known is not None and stamp <= known[0] * _STALE:
            return known[1]
        odds = _odds(chain, hazards)
        if len(self._known) >= _MOST_TABLES:
            self._known.clear()
        self._known[keys[0]] = (stamp, odds)
        return odds

    def begin(self, keys: tuple[Key, ...], now_ns: int, weight: float = 1.0) -> Spell:
        """Open a spell. `weight`: less than 1 where several of one request would teach the same."""
        spell = Spell(now_ns, self.tables(keys), weight)
        for table in spell.tables:
            table.enter(0, weight)
        self._queues[0].append(spell)
        self._waiting += 1
        while self._waiting > _MOST_SPELLS:
            oldest = next(queue for queue in reversed(self._queues) if queue)
            oldest.popleft()
            self._waiting -= 1
        return spell

    def end(self, spell: Spell, now_ns: int) -> None:
        """The prefix came back."""
        if spell.over:
            return
        spell.over = True
        bucket = bisect_right(_EDGES_NS, now_ns - spell.began_ns)
        if bucket < _BUCKETS:
            for table in spell.tables:
                table.end(bucket, spell.weight)

    def pass_time(self, now_ns: int) -> None:
        """Count the buckets that open spells have outlived by now."""
        for bucket, queue in enumerate(self._queues):
            edge = _EDGES_NS[bucket]
            while queue and queue[0].began_ns + edge <= now_ns:
                spell = queue.popleft()
                if not spell.over:
                    for table in spell.tables:
                        table.outlive(bucket, spell.weight)
                    if bucket + 1 < _BUCKETS:
                        for table in spell.tables:
                            table.enter(bucket + 1, spell.weight)
                        self._queues[bucket + 1].append(spell)
                        continue
                self._waiting -= 1
