"""Two texts side by side: where they first differ, and whether they come together again. Linear in what they hold."""

from collections.abc import Sequence
from typing import Final

import msgspec

REACH: Final = 64
"""Two texts that differ must be one again within so many characters, or what follows is another text."""

MOST_SPANS: Final = 64
"""Spans of one pair of texts that are looked at."""

_ANCHOR = 12
_STEP = 4_096
_EDGE = 64
_JOINED = frozenset("_-:./\\+~@%=")


class Span(msgspec.Struct, frozen=True):
    """`before[b_from:b_to]` stands where the other text has `after[a_from:a_to]`."""

    b_from: int
    b_to: int
    a_from: int
    a_to: int


class Alignment(msgspec.Struct, frozen=True):
    """What two texts have in common.

    spans  differences, in order; the last of them reaches to the ends of both where they do not come together again
    whole  they are one again at the end
    equal  characters of the later text that the earlier one has at the same place of the alignment
    """

    spans: tuple[Span, ...]
    whole: bool
    equal: int


def common_prefix(before: str, after: str, b: int = 0, a: int = 0) -> int:
    """How many characters are equal from `before[b]` and `after[a]` on."""
    most, start = min(len(before) - b, len(after) - a), 0
    while start < most:
        step = min(_STEP, most - start)
        if before[b + start : b + start + step] != after[a + start : a + start + step]:
            low, high = start, start + step  # equal up to low, not up to high
            while high - low > 1:
                middle = (low + high) // 2
                if before[b + low : b + middle] == after[a + low : a + middle]:
                    low = middle
                else:
                    high = middle
            return low
        start += step
    return most


def common_suffix(before: str, after: str, b: int = 0, a: int = 0) -> int:
    """How many characters are equal at the end, of what stands behind `before[b]` and `after[a]`."""
    most, end = min(len(before) - b, len(after) - a), 0
    bl, al = len(before), len(after)
    while end < most:
        step = min(_STEP, most - end)
        if before[bl - end - step : bl - end] != after[al - end - step : al - end]:
            low, high = end, end + step
            while high - low > 1:
                middle = (low + high) // 2
                if before[bl - middle : bl - low] == after[al - middle : al - low]:
                    low = middle
                else:
                    high = middle
            return low
        end += step
    return most


def align(before: str, after: str, reach: int = REACH) -> Alignment:
    """Find the differences that close again within `reach` characters, and the rest behind them."""
    spans: list[Span] = []
    b = a = equal = 0
    for _ in range(MOST_SPANS):
        same = common_prefix(before, after, b, a)
        b, a, equal = b + same, a + same, equal + same
        if b == len(before) and a == len(after):
            return Alignment(tuple(spans), True, equal)
        jump = _resync(before, after, b, a, reach)
        if jump is None:
            break
        spans.append(Span(b, b + jump[0], a, a + jump[1]))
        b, a = b + jump[0], a + jump[1]
        if b == len(before) and a == len(after):
            return Alignment(tuple(spans), True, equal)
    tail = common_suffix(before, after, b, a)
    spans.append(Span(b, len(before) - tail, a, len(after) - tail))
    return Alignment(tuple(spans), tail > 0, equal + tail)


def _resync(before: str, after: str, b: int, a: int, reach: int) -> tuple[int, int] | None:
    """The fewest characters to pass over on both sides until the next 12 are equal, or both ends are reached."""
    starts: dict[str, int] = {}
    for skip in range(min(reach, len(before) - b - _ANCHOR) + 1):
        starts.setdefault(before[b + skip : b + skip + _ANCHOR], skip)
    best: tuple[int, int] | None = None
    for skip in range(min(reach, len(after) - a - _ANCHOR) + 1):
        if best is not None and skip >= sum(best):
            break
        found = starts.get(after[a + skip : a + skip + _ANCHOR])
        if found is not None and (best is None or found + skip < sum(best)):
            best = (found, skip)
    if best is not None:
        return best
    tail = common_suffix(before, after, b, a)
    rest = (len(before) - b - tail, len(after) - a - tail)
    return rest if max(rest) <= reach and max(len(before) - b, len(after) - a) <= 2 * reach + _ANCHOR else None


def whole_tokens(before: str, after: str, spans: Sequence[Span]) -> list[Span]:
    """The spans, widened; those that cut one token between them are one."""
    found: list[Span] = []
    for span in spans:
        wide = widened(before, after, span)
        if found and (wide.b_from <= found[-1].b_to or wide.a_from <= found[-1].a_to):
            wide = Span(found[-1].b_from, wide.b_to, found[-1].a_from, wide.a_to)
            found.pop()
        found.append(wide)
    return found


def widened(before: str, after: str, span: Span) -> Span:
    """The span with the rest of the tokens that it cuts: a clock whose last digit differs is a clock."""
    b_from, a_from, b_to, a_to = span.b_from, span.a_from, span.b_to, span.a_to
    for _ in range(_EDGE):
        if b_from == 0 or a_from == 0 or before[b_from - 1] != after[a_from - 1] or not _in_token(before[b_from - 1]):
            break
        b_from, a_from = b_from - 1, a_from - 1
    for _ in range(_EDGE):
        if b_to >= len(before) or a_to >= len(after) or before[b_to] != after[a_to] or not _in_token(before[b_to]):
            break
        b_to, a_to = b_to + 1, a_to + 1
    while b_to > span.b_to and before[b_to - 1] in ".:":  # the end of a sentence is no part of its last word
        b_to, a_to = b_to - 1, a_to - 1
    return Span(b_from, b_to, a_from, a_to)


def _in_token(character: str) -> bool:
    return character.isalnum() or character in _JOINED


def line_of(text: str, offset: int) -> int:
    """The line in which a character stands, from 1."""
    return text.count("\n", 0, offset) + 1
