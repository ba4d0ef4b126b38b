"""Why a request did not read what it could have read: one main cause, its place, what it cost, and what to do.

    found = diagnose(sessions.before(now), now, Context(usage=usage, rates=rates, expected=..., lifetime_s=..., minimum=...))

To be called after the answer; `sessions.before(now)` before `sessions.keep(now, ...)`. None: nothing was lost, or nobody can tell.
The common case (the earlier request is repeated and was read) costs two comparisons. A `Break` of an innocent cause
(`Break.alarming` is False) explains a miss that cost nothing. `model.breaks.redacted` takes prompt text out of one;
`msgspec.json.encode` makes JSON of it.
"""

import msgspec

from tokenrouter.model.breaks import Break, Cause, Excerpt, Section
from tokenrouter.model.chunk import Shape
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.money import NanoUSD, Rates
from tokenrouter.prefixes.comparison import Change, common_tokens, compare
from tokenrouter.prefixes.differences import Difference, first_difference
from tokenrouter.prefixes.sessions import Past
from tokenrouter.prefixes.snapshots import Snapshot, reduced_parameters, tokens_of
from tokenrouter.prefixes.wording import advice, remedy, sentence

_SECOND = 1_000_000_000
_MILLION = 1_000_000
_NEARLY = 0.9
_GRAIN = 256  # vendors read in steps of up to 128 tokens, and count a few of their own


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the two requests.

    usage       what the provider reported
    rates       of the model; None: what was lost is told in tokens only
    expected    tokens that the memory of prefixes believed live on the request's own chain, by the provider's count; None: not known
    lifetime_s  for how long a prefix lives after it was used, as it was last asked for; 0: not known
    minimum     tokens that a prefix must have to be cached at all
    least       a smaller loss is none: sizes are estimates
    said        the provider's own diagnosis, where it gave one
    said_missed  tokens that were not read because of it, as the provider says
    """

    usage: Usage = NO_USAGE
    rates: Rates | None = None
    expected: int | None = None
    lifetime_s: int = 0
    minimum: int = 0
    least: int = 64
    said: str = ""
    said_missed: int = 0


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one request, in tokens by the provider's count where it is known.

    scale  the provider's tokens for each estimated one
    got    tokens read; None: not reported
    """

    scale: float
    got: int | None
    total: int


def diagnose(past: Past | None, now: Snapshot, context: Context) -> Break | None:
    """The main cause why `now` did not read what it could have read; None where it did, or where nobody can tell."""
    figures = _figures(now, context.usage)
    if past is None:
        return _unseen(now, context, figures)
    if _repeats(past, now):
        return _unread(past, now, context, figures)
    change = compare(past, now)
    common = common_tokens(past, now)
    retained = common + change.retained if change is not None else common
    ideal = _cached(past, round(retained * figures.scale))
    if (ideal if figures.got is None else ideal - figures.got) < context.least:
        return None
    if ideal < context.minimum:
        return _innocent("below_minimum", past, now, context, figures) if figures.got == 0 else None
    moved = _moved(past, now, context, figures, ideal, common)
    if moved is not None:
        return moved
    named = _parameter(past, now)
    if named is not None and past.relation == "app":
        return _unseen(now, context, figures)  # a variant of the app that has a prefix of its own
    if named is not None and (change is None or change.section == "messages"):
        return _break("parameters", past, now, context, figures, ideal, section="parameters", place=named.path, found=named, also=_also(change))
    if change is not None:
        lost = ideal - figures.got if figures.got is not None else round(change.retained * figures.scale)
        if lost < context.least:
            return None
        return _of_change(change, past, now, context, figures, ideal, () if named is None else (f"parameter {named.path}",))
    return _unread(past, now, context, figures)


def _figures(now: Snapshot, usage: Usage) -> _Figures:
    estimated = tokens_of(now.pieces)
    total = usage.input_total if usage.reported else 0
    got = usage.cache_read if usage.reported and usage.cache_reported else None
    return _Figures(scale=total / estimated if total and estimated else 1.0, got=got, total=total or estimated)


def _repeats(past: Past, now: Snapshot) -> bool:
    """The earlier request is the beginning of this one, for the same model, account and key."""
    shot = past.head.shot
    length = len(shot.links)
    same = shot.account == now.account and shot.affinity == now.affinity and past.relation == "conversation"
    return same and 0 < length <= len(now.links) and shot.links[-1] == now.links[length - 1]


def _unseen(now: Snapshot, context: Context, figures: _Figures) -> Break | None:
    if figures.got:
        return None
    return _innocent("below_minimum" if figures.total < context.minimum else "first_sight", None, now, context, figures)


def _unread(past: Past, now: Snapshot, context: Context, figures: _Figures) -> Break | None:
    """Nothing changed as far as the two go together. Was it read?"""
    got = figures.got
    said = f"the provider says: {context.said}" if context.said else ""
    if _told(past, now, context, figures):
        return _break("provider", past, now, context, figures, (got or 0) + context.said_missed, detail=said)
    if got is None:
        return None
    if not got and figures.total < context.minimum:
        return _innocent("below_minimum", past, now, context, figures)
    ideal = 0
    if _repeats(past, now) or past.head.shot.affinity != now.affinity:
        ideal = _cached(past, round(common_tokens(past, now) * figures.scale)) if past.head.cached >= 0 else 0
    expected = ideal if context.expected is None else context.expected
    if got >= expected * _NEARLY - _GRAIN and got >= ideal * _NEARLY - _GRAIN:
        return None
    idle_s = _idle_s(past, now)
    if max(expected, ideal) < context.minimum:
        return _innocent("below_minimum", past, now, context, figures) if not got else None
    if context.lifetime_s and idle_s > context.lifetime_s:
        return _break("expired", past, now, context, figures, max(expected, ideal), detail=_pause(idle_s, context))
    if past.head.shot.affinity != now.affinity:
        return _break("affinity", past, now, context, figures, max(expected, ideal))
    if expected - got < max(context.least, expected * (1 - _NEARLY)):
        return None  # the memory of prefixes did not believe that it was there either
    return _break("provider", past, now, context, figures, expected, detail=said)


def _told(past: Past, now: Snapshot, context: Context, figures: _Figures) -> bool:
    """The provider says that tokens were missed, where nothing changed as far as can be seen from here, and they were not read."""
    if context.said_missed < context.least or not _repeats(past, now):
        return False
    return figures.got is None or figures.got + context.least <= common_tokens(past, now) * figures.scale


def _moved(past: Past, now: Snapshot, context: Context, figures: _Figures, ideal: int, common: int) -> Break | None:
    """Causes that no text is to blame for, and that take all of the prefix with them."""
    shot, got = past.head.shot, figures.got
    if past.relation == "conversation" and shot.model != now.model:
        return _break("model", past, now, context, figures, ideal, detail=f"{shot.model}, then {now.model}")
    if past.relation == "conversation" and shot.account != now.account:
        return _break("account", past, now, context, figures, ideal, detail=f"{shot.account}, then {now.account}")
    idle_s = _idle_s(past, now)
    missed = got is not None and got < max(1.0, common * figures.scale * _NEARLY - _GRAIN)
    if context.lifetime_s and idle_s > context.lifetime_s and missed:
        return _break("expired", past, now, context, figures, ideal, detail=_pause(idle_s, context))
    return None


def _parameter(past: Past, now: Snapshot) -> Difference | None:
    """The first parameter that differs; its path has no dot in front."""
    before, after = past.head.shot.parameters, now.parameters
    after = reduced_parameters(after) if past.head.reduced else after
    if before == after:
        return None
    found = first_difference(before, after, Shape())
    return found and msgspec.structs.replace(found, path=found.path.lstrip("."))


def _also(change: Change | None) -> tuple[str, ...]:
    return () if change is None else (f"{change.cause} at {change.path}",)


def _of_change(change: Change, past: Past, now: Snapshot, context: Context, figures: _Figures, ideal: int, also: tuple[str, ...]) -> Break:
    detail = change.excerpt.after or change.excerpt.before if change.cause in ("tools.added", "tools.removed", "tools.reordered") else ""
    if change.cause == "tools.changed":
        detail = now.pieces[change.boundary].name
    made = _break(
        change.cause, past, now, context, figures, ideal, section=change.section, place=change.path, detail=detail, also=(*change.also, *also)
    )
    return msgspec.structs.replace(
        made,
        kind=change.kind,
        boundary=change.boundary,
        line=change.line,
        offset=change.offset,
        excerpt=change.excerpt,
        sentence=sentence(change.cause, kind=change.kind, place=change.path, line=change.line, detail=detail),
        remedy=remedy(change.cause, change.section, change.manner),
    )


def _break(
    cause: Cause,
    past: Past | None,
    now: Snapshot,
    context: Context,
    figures: _Figures,
    ideal: int,
    *,
    section: Section = "request",
    place: str = "",
    found: Difference | None = None,
    detail: str = "",
    also: tuple[str, ...] = (),
) -> Break:
    lost = max(0, ideal - (figures.got or 0))
    return Break(
        cause=cause,
        sentence=sentence(cause, place=place, detail=detail),
        time_ns=now.at_ns,
        session=now.session.hex(),
        request_id=now.id,
        previous_id=past.head.shot.id if past is not None else "",
        account=now.account,
        model=now.model,
        section=section,
        path=place,
        excerpt=found.excerpt if found is not None else Excerpt(),
        also=also,
        tokens=lost,
        nano_usd=price_of(lost, context),
        expected=ideal,
        read=-1 if figures.got is None else figures.got,
        remedy=remedy(cause, section, ""),
        advice=advice(cause),
        said=context.said,
        idle_s=_idle_s(past, now) if past is not None else 0,
    )


def _innocent(cause: Cause, past: Past | None, now: Snapshot, context: Context, figures: _Figures) -> Break:
    made = _break(cause, past, now, context, figures, 0)
    return msgspec.structs.replace(made, tokens=0, nano_usd=0)


def price_of(tokens: int, context: Context) -> NanoUSD:
    """What `tokens` cost more than reading them: they were billed as the rest of the input was, plain or written."""
    rates, usage = context.rates, context.usage
    if rates is None:
        return 0
    unread = usage.fresh_input + usage.cache_write + usage.cache_write_1h
    billed = usage.fresh_input * rates.fresh_input + usage.cache_write * rates.cache_write + usage.cache_write_1h * rates.cache_write_1h
    rate = billed // unread if unread else rates.fresh_input
    return max(0, tokens * (rate - rates.cache_read) // _MILLION)


def _cached(past: Past, tokens: int) -> int:
    """No more can be read than was there."""
    return tokens if past.head.cached < 0 else min(tokens, past.head.cached)


def _idle_s(past: Past, now: Snapshot) -> int:
    return max(0, now.at_ns - past.head.shot.at_ns) // _SECOND


def _pause(idle_s: int, context: Context) -> str:
    return f"{idle_s} s, it lives {context.lifetime_s} s"
