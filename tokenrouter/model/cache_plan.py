"""Where a provider is told to cache: limits (catalog data) in, a vendor-neutral plan out."""

from typing import Literal

import msgspec

Origin = Literal["client", "gateway"]
Writing = Literal["", "implicit", "explicit"]


class PromptCacheLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one model's prompt cache accepts. Catalog data; every figure has its source there.

    style        "none": nothing to say; "automatic": caches by itself, no marks; "marks": caches where it is told, up to the mark;
                 "breakpoints": as marks, and the newest message is written by itself
    max_marks    marks per request, the client's included
    min_tokens   a shorter prefix is not cached
    lookback     how many blocks before a mark are searched for an earlier entry, the marked one included; 0: no search
    lifetimes_s  lifetimes that may be asked for, shortest first
    on_tools     a mark may sit on a tool definition
    on_results   a mark may sit in a message that holds tool results
    parts_alike  a string and one text part render to the same prompt, so that `content.parts` is allowed
    """

    style: Literal["none", "automatic", "marks", "breakpoints"] = "none"
    max_marks: int = 0
    min_tokens: int = 0
    lookback: int = 0
    lifetimes_s: tuple[int, ...] = ()
    on_tools: bool = False
    on_results: bool = True
    parts_alike: bool = False


class Breakpoint(msgspec.Struct, frozen=True, order=True):
    """End of a prefix worth caching, in the order in which providers render: tools before messages.

    section     "a_tools" or "b_messages": sorts as rendered
    index       which tool (as sent) or which message (as the client counts)
    part        which content part; -1 is the last one
    lifetime_s  0: the provider's own default
    """

    section: Literal["a_tools", "b_messages"]
    index: int
    part: int = -1
    lifetime_s: int = 0
    origin: Origin = "gateway"


class CachePlan(msgspec.Struct, frozen=True):
    """Breakpoints in rendering order, and the key that keeps requests with one root together (None: say nothing).

    writing  of style "breakpoints": "explicit" has the vendor write at breakpoints only, "implicit" at the newest message too; "": its default
    """

    breakpoints: tuple[Breakpoint, ...] = ()
    affinity: str | None = None
    writing: Writing = ""


NO_PLAN = CachePlan()
