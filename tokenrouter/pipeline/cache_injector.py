"""CacheInjector: turns wishes into a plan that the vendor will accept. Pure; evaluated on the miss path, once the model is known.

Who wishes is a policy (`prefixes/policy.py`); the rules here hold for all of them: the client's own marks come first and stay,
the limit is never exceeded, long lifetimes stand before short ones, and nothing below the model's minimum is marked.
"""

from collections.abc import Sequence

from tokenrouter.errors import InvalidRequest
from tokenrouter.model.cache_plan import Breakpoint, CachePlan, PromptCacheLimits, Writing
from tokenrouter.model.chunk import Canonical, Reading

Position = tuple[str, int, int]


def plan_cache(
    canonical: Canonical,
    limits: PromptCacheLimits,
    wishes: Sequence[Breakpoint],
    affinity: str | None,
    *,
    judged_above: bool = False,
    writing: Writing = "",
) -> CachePlan:
    """Merge the client's marks with `wishes` (most wanted first).

    judged_above  the vendor itself reads the client's marks as they are: where they break the rules known here, nothing is added to them,
                  and the vendor says what it thinks of them

    writing       as in `CachePlan`

    Raises:
        InvalidRequest: the client's own marks break the rules, and would have to be translated.
    """
    if limits.style not in ("marks", "breakpoints"):
        return CachePlan((), affinity)
    kept = client_marks(canonical, limits)
    if limits.style != "breakpoints":
        writing = ""
    slots = limits.max_marks - (1 if limits.style == "breakpoints" and writing != "explicit" else 0)  # the vendor writes one by itself
    if limits.style == "marks":  # the other style limits what is written, not what is marked
        fault = _fault(kept, limits)
        if fault and judged_above:
            return CachePlan(tuple(kept), affinity)
        if fault:
            raise InvalidRequest(fault, param="cache_control")
    taken = {_position(canonical, mark) for mark in kept}
    before = _tokens_before(canonical)
    chosen = list(kept)
    slots -= _crowded(canonical, limits)
    for wish in wishes:
        place = _position(canonical, wish)
        if len(chosen) >= slots:
            break
        if place in taken or (place[2] < 0 and not _reading(canonical, wish).markable) or before[place[0], place[1]] < limits.min_tokens:
            continue
        if wish.section == "a_tools" and not limits.on_tools:
            continue
        taken.add(place)
        chosen.append(wish)
    return CachePlan(tuple(_long_first(sorted(chosen, key=_rendered), limits)), affinity, writing)


def client_marks(canonical: Canonical, limits: PromptCacheLimits) -> list[Breakpoint]:
    """The client's own marks in rendering order, one per place (the longest-lived), lifetimes fitted to what the vendor offers.

    Marks on tools are places in the list, not properties of a tool: after sorting, the mark on the last tool is still on the last.
    """
    marks: list[Breakpoint] = []
    if limits.on_tools and any(reading.marks for reading in canonical.tools):
        order = canonical.tool_order or tuple(range(len(canonical.tools)))
        as_sent = dict(zip(order, canonical.tools, strict=True))
        for index in range(len(as_sent)):
            marks += [Breakpoint("a_tools", index, -1, _fit(mark.lifetime_s, limits), "client") for mark in as_sent[index].marks]
    for index, reading in enumerate(canonical.messages):
        if reading.marks:
            marks += [Breakpoint("b_messages", index, mark.part, _fit(mark.lifetime_s, limits), "client") for mark in reading.marks]
    if canonical.auto_mark_s is not None and (last := _last_markable(canonical)) is not None:
        marks.append(Breakpoint("b_messages", last, -1, _fit(canonical.auto_mark_s, limits), "client"))
    if len(marks) < 2:
        return marks
    by_place: dict[Position, Breakpoint] = {}
    for mark in sorted(marks, key=_rendered):
        place = _position(canonical, mark)
        if place not in by_place or mark.lifetime_s > by_place[place].lifetime_s:
            by_place[place] = mark
    return list(by_place.values())


def _crowded(canonical: Canonical, limits: PromptCacheLimits) -> int:
    """How many marks of the client's stand beside another one in the same place: vendors count them all.

    They are marks inside a tool result, and the one "at the end of the prompt" where the client marked that place as well.
    """
    if limits.style != "marks":
        return 0
    beside = 0
    for index, reading in enumerate(canonical.messages):
        if len(reading.marks) > 1:
            marks = [(_position(canonical, Breakpoint("b_messages", index, mark.part)), mark.inner) for mark in reading.marks]
            beside += len(set(marks)) - len({place for place, _ in marks})
    last = None if canonical.auto_mark_s is None else _last_markable(canonical)
    if last is not None:
        end = ("b_messages", last, -1)
        beside += any(_position(canonical, Breakpoint("b_messages", last, mark.part)) == end for mark in canonical.messages[last].marks)
    return beside


def _last_markable(canonical: Canonical) -> int | None:
    """Where a mark "at the end of the prompt" comes to stand."""
    return next((index for index in range(len(canonical.messages) - 1, -1, -1) if canonical.messages[index].markable), None)


def _fit(lifetime_s: int, limits: PromptCacheLimits) -> int:
    """The client's lifetime where the vendor has it, else the vendor's default: a longer one than asked for costs more."""
    return lifetime_s if lifetime_s in limits.lifetimes_s else 0


def _reading(canonical: Canonical, mark: Breakpoint) -> Reading:
    return canonical.tools[mark.index] if mark.section == "a_tools" else canonical.messages[mark.index]


def _position(canonical: Canonical, mark: Breakpoint) -> Position:
    """A mark on the last part and one on the whole piece are the same place."""
    whole = mark.section == "a_tools" or mark.part == -1 or mark.part == _reading(canonical, mark).blocks - 1
    return (mark.section, mark.index, -1 if whole else mark.part)


def _rendered(mark: Breakpoint) -> tuple[str, int, int]:
    return (mark.section, mark.index, mark.part if mark.part >= 0 else 1 << 30)


def _tokens_before(canonical: Canonical) -> dict[tuple[str, int], int]:
    """Estimated tokens of the prefix that ends with each piece."""
    sums: dict[tuple[str, int], int] = {}
    total = 0
    for section, readings in (("a_tools", canonical.tools), ("b_messages", canonical.messages)):
        for index, reading in enumerate(readings):
            total += reading.tokens
            sums[section, index] = total
    return sums


def _fault(marks: Sequence[Breakpoint], limits: PromptCacheLimits) -> str:
    """Which of the vendor's rules the client's marks break; "" for none."""
    if len(marks) > limits.max_marks:
        return f"{len(marks)} cache marks in one request; this model takes {limits.max_marks}"
    short = False
    for mark in sorted(marks, key=_rendered):
        if mark.lifetime_s >= 3600 and short:
            return "a cache mark with a long lifetime must stand before those with a short one"
        short = short or mark.lifetime_s < 3600
    return ""


def _long_first(marks: list[Breakpoint], limits: PromptCacheLimits) -> list[Breakpoint]:
    """Lift our marks in front of a long-lived one to the same lifetime, and shorten ours behind a short-lived one of the client's.

    A short lifetime in front of a long one is a 400, and the client's own are not ours to make dearer.
    """
    if limits.style != "marks":
        return marks
    short = next((i for i, mark in enumerate(marks) if mark.origin == "client" and mark.lifetime_s < 3600), len(marks))
    behind = [Breakpoint(mark.section, mark.index, mark.part, 0) if mark.lifetime_s >= 3600 else mark for mark in marks[short:]]
    longest, lifted = 0, []
    for mark in reversed(marks[:short] + behind):
        lifetime = max(mark.lifetime_s, longest)
        longest = lifetime if lifetime >= 3600 else longest
        lifted.append(mark if lifetime == mark.lifetime_s else Breakpoint(mark.section, mark.index, mark.part, lifetime, mark.origin))
    lifted.reverse()
    return lifted
