"""What was lost as it came, and why: each request is compared with the one that it goes on from, as if whatever could be cached had been.

Causes are those of the gateway's own diagnosis, and one more: `unmarked`, a prefix that came again and had never been marked.
"""

import re
from typing import Final

import msgspec

from tokenrouter.model.breaks import Break, Excerpt
from tokenrouter.model.edits import MARKS_PLAN
from tokenrouter.model.usage import Usage
from tokenrouter.money import Rates
from tokenrouter.prefixes.comparison import common_tokens
from tokenrouter.prefixes.diagnosis import Context, diagnose, price_of
from tokenrouter.prefixes.sessions import Past, Sessions
from tokenrouter.prefixes.volatile import Slot, Slots
from tokenrouter.replay.seen import Seen
from tokenrouter.sandbox.prices import Price, Tokens

UNMARKED: Final = "unmarked"
_IDLE_S: Final = 86_400
_GRAIN: Final = 256
_NEARLY: Final = 0.9
_MOST_KINDS: Final = 5_000
_INDEX: Final = re.compile(r"\[\d+\]")


_SET: Final = "set cache breakpoints there, or leave it to the gateway, which sets them where they pay"
_MOVE: Final = "say it in a message (system or developer) in place of a field of its own: at its end no breakpoint can stand"


class Leak(msgspec.Struct, kw_only=True):
    """Losses of one cause at one place of one model's prompts.

    line      of the capture, where it was dearest
    nano_usd  what was paid for the tokens beyond reading them; writing them would have taken a part of it
    """

    cause: str
    model: str
    place: str
    sentence: str
    remedy: str = ""
    advice: str = ""
    line: int = 0
    requests: int = 0
    tokens: int = 0
    nano_usd: int = 0
    excerpt: Excerpt = Excerpt()
    worst: int = -1


class Lost(msgspec.Struct, frozen=True):
    """One request's loss."""

    cause: str
    tokens: int
    nano_usd: int


class Leaks:
    """Takes requests in the order of time; remembers the last ones of conversations in the bounds of the gateway's own memory."""

    def __init__(self, tenant: str) -> None:
        self._tenant, self._sessions, self._slots = tenant, Sessions(), Slots()
        self._found: dict[tuple[str, str, str], Leak] = {}

    def add(self, seen: Seen, tokens: Tokens, price: Price, line: int) -> Lost | None:
        """One request, with what the vendor billed."""
        shot, marked = seen.shot, seen.limits.style in ("marks", "breakpoints")
        usage = _usage(tokens)
        past = self._sessions.before(shot)
        longest = seen.marks or max(seen.limits.lifetimes_s, default=_IDLE_S)
        context = Context(usage=usage, rates=_rates(price), lifetime_s=longest, minimum=seen.limits.min_tokens)
        found = diagnose(past, shot, context)
        self._slots.learn(past, shot, found, context)
        self._sessions.keep(shot, ready_ns=shot.at_ns, cached=usage.input_total, total=usage.input_total)
        if seen.limits.style == "none" or past is None:
            return None
        if marked and (found is None or found.cause == "provider"):
            return self._unmarked(seen, past, context, line, longest)
        if found is None or not found.alarming or (found.cause == "expired" and marked and not seen.marks):
            return None
        return self._count(found.cause, found, line)

    @property
    def leaks(self) -> list[Leak]:
        """The dearest first."""
        return sorted(self._found.values(), key=lambda leak: (-leak.nano_usd, -leak.tokens, leak.line))

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Texts that differ from request to request, the dearest first."""
        return self._slots.report(self._tenant)

    def _unmarked(self, seen: Seen, past: Past, context: Context, line: int, longest: int) -> Lost | None:
        """A repeated beginning that was not read, at a vendor that keeps only what is marked."""
        usage = context.usage
        sized = sum(piece.tokens for piece in seen.shot.pieces)
        common = round(common_tokens(past, seen.shot) * (usage.input_total / sized if sized else 1.0))
        idle_s = (seen.shot.at_ns - past.head.shot.at_ns) / 1_000_000_000
        if common < max(seen.limits.min_tokens, 1) or idle_s > longest or usage.cache_read >= common * _NEARLY - _GRAIN:
            return None
        lost = common - usage.cache_read
        root = past.relation == "app"
        where = "the tools and the system text of other conversations" if root else "the conversation so far"
        told = Break(
            cause="provider",
            sentence=f"{where} came again, and no breakpoint had been set at {'their' if root else 'its'} end, so it was paid in full.",
            model=seen.shot.model,
            path="root" if root else "history",
            tokens=lost,
            nano_usd=price_of(lost, context),
            remedy=MARKS_PLAN if _markable(seen, past) else "",
            advice=_SET if _markable(seen, past) else _MOVE,
        )
        return self._count(UNMARKED, told, line)

    def _count(self, cause: str, found: Break, line: int) -> Lost:
        place = _INDEX.sub("[]", found.path)
        key = (found.model, cause, place)
        leak = self._found.get(key)
        if leak is None:
            if len(self._found) >= _MOST_KINDS:
                key = (found.model, cause, "")
                place = ""
            leak = self._found.setdefault(key, Leak(cause=cause, model=found.model, place=place, sentence=found.sentence))
        leak.requests += 1
        leak.tokens += found.tokens
        leak.nano_usd += found.nano_usd
        if found.nano_usd > leak.worst:
            leak.worst, leak.line, leak.sentence, leak.excerpt = found.nano_usd, line, found.sentence, found.excerpt
            leak.remedy, leak.advice = found.remedy, found.advice
        return Lost(cause, found.tokens, found.nano_usd)


def _markable(seen: Seen, past: Past) -> bool:
    """A breakpoint may stand at the end of what both begin with, or far enough before it for the vendor's minimum."""
    shot, upto, found = seen.shot, 0, False
    for index, (piece, other) in enumerate(zip(shot.pieces, past.head.shot.pieces, strict=False)):
        if piece.prefix_digest != other.prefix_digest:
            break
        upto += piece.tokens
        found = found or (piece.markable and upto >= seen.limits.min_tokens and (index >= shot.tools or seen.limits.on_tools))
    return found


def _usage(tokens: Tokens) -> Usage:
    return Usage(
        fresh_input=tokens.input,
        cache_read=tokens.cache_read,
        cache_write=tokens.cache_write_5m + tokens.cache_write_30m,
        cache_write_1h=tokens.cache_write_1h,
        output=tokens.output,
    )


def _rates(price: Price) -> Rates:
    return Rates(fresh_input=price.input, cache_read=price.read, cache_write=price.write, cache_write_1h=price.write_long, output=price.output)
