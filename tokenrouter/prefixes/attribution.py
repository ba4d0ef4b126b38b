"""Who saved what: an answer's usage against what it would have been without the gateway.

A second memory per scope follows the same requests as their clients sent them, with the clients' own breakpoints and what the vendor writes
by itself. What it expects to be read is the client's part of the saving; the rest, which may be negative, is the gateway's. Where the gateway
changed nothing and the client's own entry was there, everything is the client's.
"""

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.prefix import Sight
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.money import NanoUSD, Rates
from tokenrouter.prefixes.forest import Forest
from tokenrouter.prefixes.looks import Look, Mark
from tokenrouter.prefixes.premiums import excess
from tokenrouter.prefixes.tree import Tree

_MILLION = 1_000_000
_HOUR_S = 3600
_IDLE_S = 300
"""How long a prefix that nobody marks is believed to live at vendors that say no lifetime: their guides speak of 5 to 10 minutes."""
_MOST_WRITERS = 50_000
_NEARLY = 0.9  # tokens between two exact counts are estimates


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. nano-USD against paying all input in full, and tokens of `cache_read`.

    by_client, by_gateway  what they sum up to is the whole saving; "client" is also what the vendor's automatic cache brought
    across_sessions        tokens that another conversation had written
    across_users           tokens that another key had written
    """

    by_client: NanoUSD = 0
    by_gateway: NanoUSD = 0
    across_sessions: int = 0
    across_users: int = 0


class Unaided(msgspec.Struct, frozen=True):
    """A request as it would have gone up.

    marks     the client's own, and the vendor's end where it writes that by itself
    implicit  the vendor does so, and looks for earlier ends
    """

    tree: Tree
    look: Look
    marks: tuple[Mark, ...]
    implicit: bool


class Attribution:
    """The second memory, and who wrote what. Bounded; what is forgotten is credited to nobody else."""

    __slots__ = ("_forest", "_writers")

    def __init__(self) -> None:
        self._forest = Forest(most_trees=32, most_nodes=20_000, decides=False)
        self._writers: OrderedDict[bytes, tuple[bytes, str]] = OrderedDict()

    def before(self, sight: Sight, limits: PromptCacheLimits, now_ns: int) -> Unaided:
        """What would be known of a request. `sight`: as its client sent it."""
        tree = self._forest.of(sight.scope, limits)
        return Unaided(tree, tree.look(sight, now_ns), (*sight.marks, *vendors_own(sight, limits)), bool(vendors_own(sight, limits)))

    def after(self, unaided: Unaided, usage: Usage, rates: Rates, saved: NanoUSD, *, touched: bool, started_ns: int, now_ns: int) -> Credit:
        """Divide what was saved, and follow on. `touched`: the gateway changed something about the request's prompt cache."""
        look, tree = unaided.look, unaided.tree
        if not (usage.reported and usage.cache_reported):
            tree.learn(look, unaided.marks, NO_USAGE, started_ns, now_ns, implicit=unaided.implicit)
            return Credit()
        alone = _alone(look, unaided.marks, max(expected_read(look, unaided.marks, implicit=unaided.implicit), automatic_read(look)), usage)
        tree.learn(look, unaided.marks, alone, started_ns, now_ns, implicit=unaided.implicit)
        if not touched and alone.cache_read >= usage.cache_read * _NEARLY:
            return Credit(by_client=saved)
        by_client = -excess(alone, rates) // _MILLION
        return Credit(by_client=by_client, by_gateway=saved - by_client)

    def writers(self, sight: Sight, key_id: str, boundary: int, read: int) -> tuple[int, int]:
        """Whose writing was read up to `boundary`: tokens of another conversation's, of another key's. New prefixes are this request's."""
        across = (0, 0)
        known = self._writers
        if boundary >= 0 and (writer := known.get(sight.links[boundary])) is not None:
            across = (read if writer[0] != sight.session else 0, read if writer[1] != key_id else 0)
        mine = (sight.session, key_id)
        for link in sight.links:
            if link not in known:
                known[link] = mine
        while len(known) > _MOST_WRITERS:
            known.popitem(last=False)
        return across


def vendors_own(sight: Sight, limits: PromptCacheLimits) -> Sequence[Mark]:
    """The newest message, where the vendor writes it by itself."""
    return ((len(sight.links) - 1, 0),) if limits.style == "breakpoints" and sight.auto_end else ()


def expected_read(look: Look, marks: Sequence[Mark], *, implicit: bool) -> int:
    """Tokens that breakpoints are expected to find written already."""
    most = look.live[-1].tokens if implicit and look.live else 0
    for mark, _ in marks:
        found = next((live for live in reversed(look.live) if live.boundary <= mark), None)
        if found is not None and look.reaches(mark, found.boundary):
            most = max(most, found.tokens)
    return most


def automatic_read(look: Look) -> int:
    """Tokens that a vendor who caches by itself is expected to read: all that an earlier request had, unless that is too long ago."""
    if look.limits.style != "automatic" or look.seen < 0:
        return 0
    lifetime_s = look.limits.lifetimes_s[0] if look.limits.lifetimes_s else _IDLE_S
    tokens = look.tokens_at(look.seen)
    return tokens if 0 <= look.gap_s <= lifetime_s and tokens >= look.least else 0


def _alone(look: Look, marks: Sequence[Mark], read: int, usage: Usage) -> Usage:
    """The usage of the same prompt with `read` tokens read, and the rest up to the last mark written."""
    total = usage.input_total
    scale = total / max(look.total, 1)
    read = min(total, round(read * scale))
    short = long = 0
    at = read
    for boundary, lifetime_s in sorted(marks):
        tokens = min(total, round(look.tokens_at(boundary) * scale))
        if tokens <= at or tokens < look.least:
            continue
        if look.lifetime(lifetime_s) >= _HOUR_S and look.limits.style == "marks":
            long += tokens - at
        else:
            short += tokens - at
        at = tokens
    return Usage(fresh_input=total - at, cache_read=read, cache_write=short, cache_write_1h=long)
