"""Which places of a request are worth a decision, and to which classes of return times they belong."""

from tokenrouter.prefixes.looks import Look, Node, Place
from tokenrouter.prefixes.survival import Key, Odds, Survival, prior

_BRANCHES = 3
_AGES_S = (300, 1800, 3600, 43200)
_CHANCES = {
    # of a return within 5 minutes, 30 minutes, 1 hour: to what was seen once, twice, three or four times, more often
    "root": ((0.18, 0.26, 0.30), (0.45, 0.60, 0.66), (0.60, 0.75, 0.80), (0.80, 0.90, 0.93)),
    "end": ((0.20, 0.26, 0.29), (0.35, 0.45, 0.50), (0.45, 0.55, 0.60), (0.60, 0.70, 0.75)),
    "seen": ((0.40, 0.50, 0.55), (0.45, 0.55, 0.60), (0.55, 0.65, 0.70), (0.70, 0.80, 0.85)),
    "new": ((0.18, 0.23, 0.26), (0.35, 0.45, 0.50), (0.45, 0.55, 0.60), (0.60, 0.70, 0.75)),
    "stable": ((0.50, 0.54, 0.56), (0.55, 0.64, 0.68), (0.65, 0.76, 0.80), (0.80, 0.90, 0.93)),
    "varied": ((0.15, 0.20, 0.24), (0.35, 0.45, 0.50), (0.50, 0.60, 0.66), (0.65, 0.75, 0.80)),
}
_FIRST_CHANCES = {
    # of a return to what was never seen before, by what the request itself shows of its app
    "agent": {"root": (0.70, 0.71, 0.72), "end": (0.65, 0.66, 0.67), "new": (0.50, 0.51, 0.52)},
    "chat": {"root": (0.55, 0.62, 0.66), "end": (0.45, 0.55, 0.60), "new": (0.35, 0.42, 0.46)},
    "single": {"root": (0.45, 0.47, 0.48), "stable": (0.50, 0.54, 0.56)},
}
_AGENT_CHANCES = ((0.55, 0.60, 0.63), (0.75, 0.80, 0.82), (0.85, 0.88, 0.90))
_TURN_CHANCES = ((0.20, 0.26, 0.29), (0.60, 0.72, 0.78), (0.75, 0.85, 0.90))


def _shipped(chances: tuple[float, ...]) -> tuple[float, ...]:
    return prior(tuple(zip(_AGES_S, (*chances, min(chances[-1] + 0.03, 0.98)), strict=True)))


_PRIORS = {(role, visits): _shipped(chances) for role, by_visits in _CHANCES.items() for visits, chances in enumerate(by_visits)}
_FIRST = {(kind, role): _shipped(chances) for kind, roles in _FIRST_CHANCES.items() for role, chances in roles.items()}
_TURNS = (tuple([_shipped(chances) for chances in _TURN_CHANCES]), tuple([_shipped(chances) for chances in _AGENT_CHANCES]))
"""For the end of a conversation's first, second, and later request: without tools, and with tools, whose results usually come back."""


def places_of(look: Look, nodes: list[Node], branches: list[int], survival: Survival) -> tuple[Place, ...]:
    """The places of one request, shallowest first. `nodes`: those known, from the first boundary on; `branches`: which have several children."""
    sight = look.sight
    last = len(sight.links) - 1
    root = sight.root
    end = _markable(look, last)
    before = _markable(look, end - 1)
    wanted = {end, before, _markable(look, look.seen), _markable(look, sight.tools - 1), _markable(look, root - 1)}
    wanted.add(_markable(look, sight.stable))
    lives = [live.boundary for live in look.live]
    wanted.update(lives[-3:])
    wanted.update([boundary for boundary in lives[:-3] if nodes[boundary].children > 1 or boundary < root][-_BRANCHES:])
    wanted.update([index for index in branches if sight.markable[index]][-_BRANCHES:])
    start = max(look.seen, root - 1)
    if end - start > 2:
        wanted.add(_markable(look, start + 1))
        wanted.add(_markable(look, (start + end) // 2))
        if end - start > 8:
            wanted.add(_markable(look, start + (end - start) // 4))
            wanted.add(_markable(look, start + (end - start) * 3 // 4))
    opening = sight.links[root - 1][:8] if root else b""
    shape = (min(look.generation, 3), _gap(look.gap_s), max(0, min(look.total >> 9, 255)).bit_length())
    app = "agent" if sight.tools else "chat" if sight.query > root else "single"
    found = []
    returns: dict[Key, Odds] = {}
    for boundary in sorted(wanted):
        tokens = look.tokens_at(boundary)
        if boundary < 0 or tokens < look.least:
            continue
        node = nodes[boundary] if boundary < len(nodes) else None
        visits = _times_seen(node.rounds + (not look.beside(node)) if node else 1)
        if boundary < root:
            role, then = _root_role(boundary, sight.stable), "root"
        elif boundary == end:
            role, then = "end", "seen"
        elif boundary == before:
            role, then = "before", "seen"
        else:
            role, then = ("seen" if boundary <= look.seen else "new"), "seen"
        kind = (role, visits, app)
        keys: tuple[Key, ...] = ((opening, kind, shape), (opening, kind), (kind, shape), (kind,))
        after = min(visits + 1, 3)
        next_kind = (then, after, app)
        later = returns.get(next_kind)
        if later is None:
            later = returns[next_kind] = survival.odds(((opening, next_kind), (next_kind,)), _PRIORS[then, after])
        found.append(Place(boundary, tokens, role, keys, survival.odds(keys, _hazards(role, app, visits, look)), later))
    return tuple(found)


def _root_role(boundary: int, stable: int) -> str:
    """Of tools and opening text. "stable": in front of what is known to change; "varied": behind it."""
    if stable < 0 or boundary < stable:
        return "root"
    return "stable" if boundary == stable else "varied"


def _hazards(role: str, kind: str, visits: int, look: Look) -> tuple[float, ...]:
    if visits == 0 and look.generation == 0:
        first = _FIRST.get((kind, "new" if role == "before" else role))
        if first is not None:
            return first
    if role == "end" and visits == 0:
        return _TURNS[bool(look.sight.tools)][min(look.generation, 2)]
    return _PRIORS["new" if role == "before" else role, visits]


def _markable(look: Look, boundary: int) -> int:
    """The nearest boundary at or before one that takes a mark; -1 for none."""
    markable = look.sight.markable
    while boundary >= 0 and not markable[boundary]:
        boundary -= 1
    return boundary


def _times_seen(count: int) -> int:
    return 0 if count <= 1 else 1 if count == 2 else 2 if count <= 4 else 3


def _gap(gap_s: float) -> int:
    if gap_s < 0:
        return -1
    return 0 if gap_s < 8 else 1 if gap_s < 40 else 2 if gap_s < 120 else 3 if gap_s < 300 else 4 if gap_s < 1200 else 5
