"""Marks that are placed without a memory: what tests of placing, spelling and accepting marks plan with."""

from typing import Protocol

from tokenrouter.model.cache_plan import Breakpoint, PromptCacheLimits
from tokenrouter.model.chunk import Canonical


class Policy(Protocol):
    """Names the places worth marking; `pipeline.cache_injector.plan_cache` sees to it that the vendor accepts the outcome."""

    def wishes(self, canonical: Canonical, limits: PromptCacheLimits, split: Breakpoint | None = None) -> tuple[Breakpoint, ...]:
        """Breakpoints, most wanted first. May be empty: leaving it alone is a decision too.

        split  in front of what changes in the opening system text, where that was cut in two (`system.split`)
        """
        ...


class FixedPolicy:
    """The same layout for everybody, from the request alone.

    "marks": the newest turn; the end of the previous request, where its newest mark was, so that a turn of any size (twenty
    blocks of parallel results and more) is still read back; the end of the system text, or of what stays the same in it; the last tool that
    takes a mark.
    "breakpoints": the end of the opening system text, or of what stays the same in it, only. Such vendors write the newest message by
    themselves, and a prefix that several conversations share is never read unless somebody marked just its end.
    """

    __slots__ = ()

    def wishes(self, canonical: Canonical, limits: PromptCacheLimits, split: Breakpoint | None = None) -> tuple[Breakpoint, ...]:
        """See `Policy`."""
        opening = split or (Breakpoint("b_messages", canonical.opening - 1) if canonical.opening else None)
        if limits.style == "breakpoints":
            return (opening,) if opening else ()
        if limits.style != "marks":
            return ()
        newest = _markable_before(canonical, len(canonical.messages))
        previous = _markable_before(canonical, _previous_end(canonical))
        last = next((i for i in range(len(canonical.tools) - 1, -1, -1) if canonical.tools[i].markable), None)
        tools = Breakpoint("a_tools", last) if last is not None and limits.on_tools else None
        return tuple(wish for wish in (newest, previous, opening, tools) if wish is not None)


def _previous_end(canonical: Canonical) -> int:
    """How many messages the request before this one had: all before the model's newest turn."""
    index = canonical.query
    while index > canonical.opening and canonical.messages[index - 1].role == "assistant":
        index -= 1
    return index


def _markable_before(canonical: Canonical, end: int) -> Breakpoint | None:
    for index in range(end - 1, canonical.opening - 1, -1):
        if canonical.messages[index].markable:
            return Breakpoint("b_messages", index)
    return None
