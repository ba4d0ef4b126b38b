"""What a refusal says to the caller: which limit or cap, whose, how much is left, when to come again, and what would pass. Pure.

Statuses and what clients make of them:

    limits of requests, tokens, places   429 rate_limit_exceeded
    caps of a key or a customer          429 insufficient_quota
    caps of a tenant or of a model       402 budget_exceeded
    the most that one request may cost   402 request_too_costly, which no client repeats by itself

`retry-after` is the truth or not there. Official clients sleep for as long as they are told (Anthropic's for days) or, where it is too
long for them, come again at once; so whoever would have to wait for longer than `PATIENCE_MS` is told not to repeat (`x-should-retry`).
"""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from tokenrouter.errors import BudgetExhausted, GatewayError, QuotaExhausted, RateLimited, TooCostly, retry_after
from tokenrouter.model.admission import Bound, Refusal, Standing, Worst
from tokenrouter.model.rules import WINDOW_MS, Cap, Limit, Scope, Unit
from tokenrouter.money import format_usd

PATIENCE_MS: Final = 60_000
"""The longest wait after which a client should repeat a request by itself: a limit's shortest window."""

SOON_MS: Final = 1_000
"""When to come again where only calls under way stand in the way, and nobody knows when they end."""

NEVER: Final = -1

Headers = tuple[tuple[str, str], ...]
_NOBODY: Final = Scope()


class Thrift(msgspec.Struct, frozen=True, kw_only=True):
    """What a smaller output limit would change.

    floor   the worst case of the same request without any output
    output  the output limit that its worst case counts with
    field   what the client's dialect calls that limit
    """

    floor: Worst
    output: int
    field: str = "max_completion_tokens"


def refused(
    refusal: Refusal, bound: Bound, worst: Worst | None, now_ms: int, *, caller: Scope = _NOBODY, thrift: Thrift | None = None
) -> GatewayError:
    """The error for a caller to whom nothing was given.

    bound   what binds the caller; its time zone tells when a period ends
    worst   what the request could come to; None where only its arrival was refused
    now_ms  milliseconds since the epoch, by the clock of who counts
    caller  who asked (key, customer, model), so that rules for everyone name the one that they met
    thrift  None where the request has no output limit to make smaller

    Raises ValueError for a refusal without a limit or cap.
    """
    if refusal.limit is not None:
        return _limited(refusal, refusal.limit, worst, caller, thrift)
    if refusal.cap is None or worst is None:
        raise ValueError("a refusal names a limit, or a cap and what was asked of it")
    return _capped(refusal, refusal.cap, bound.zone, worst, now_ms, caller, thrift)


def fitting(unit: Unit, left: int, worst: Worst, thrift: Thrift) -> int:
    """The largest output limit whose worst case is no more than `left` (nano-USD or tokens); 0 where none is.

    The worst case grows with the output along a line, or along several that each are steeper than the one before (price tiers), so the
    straight line between its two ends lies nowhere below it; one nano-USD is spared for the rounding of both ends.
    """
    least, most = _amount(unit, thrift.floor), _amount(unit, worst)
    if most <= left:
        return thrift.output
    spare = left - least - (1 if unit == "usd" else 0)
    if spare < 0 or most <= least:
        return 0
    return spare * thrift.output // (most - least)


def standings(refusal: Refusal) -> tuple[Standing | None, Standing | None]:
    """What the headers of a refused request say of limits of requests and of tokens: the limit that refused it is the tightest one."""
    limit = refusal.limit
    if limit is None or limit.metric == "concurrency":
        return None, None
    missing = limit.amount - max(0, refusal.left)
    whole_ms = -(-missing * WINDOW_MS[limit.window] // limit.per_window) if limit.kind == "bucket" else WINDOW_MS[limit.window]
    standing = Standing(limit.amount, max(0, refusal.left), whole_ms if missing else 0)
    return (standing, None) if limit.metric == "requests" else (None, standing)


def waiting(wait_ms: int, *, retried: bool = True) -> Headers:
    """Headers that say when to come again. `NEVER`: it makes no sense. `retried`: clients repeat an error of this status by themselves."""
    if wait_ms == NEVER:
        return (("x-should-retry", "false"),)
    told = retry_after(max(1, wait_ms))
    if wait_ms > PATIENCE_MS:
        return (*told, ("x-should-retry", "false"))
    return told if retried else (*told, ("x-should-retry", "true"))


def _limited(refusal: Refusal, limit: Limit, worst: Worst | None, caller: Scope, thrift: Thrift | None) -> GatewayError:
    rule = f"limit {limit.id}: {_rule(limit)} for {_whom(limit.scope, caller)}"
    if limit.metric == "concurrency":
        wait_ms = refusal.retry_ms if refusal.retry_ms >= 0 else SOON_MS
        return RateLimited(f"{rule}; all places are taken, try again when a call has ended", headers=waiting(wait_ms))
    left = max(0, refusal.left)
    said = f"{rule}; {left} {'is' if left == 1 else 'are'} left"
    if limit.metric == "tokens" and worst is not None:
        said += f", and this request may use up to {worst.tokens}"
        if worst.tokens > limit.amount:
            return RateLimited(f"{said}, which never fits{_advice('tokens', limit.amount, worst, thrift)}", headers=waiting(NEVER))
        said += _advice("tokens", left, worst, thrift)
    if refusal.retry_ms < 0:
        return RateLimited(said, headers=waiting(NEVER))
    return RateLimited(f"{said}; try again in {_duration(refusal.retry_ms)}", headers=waiting(refusal.retry_ms))


def _rule(limit: Limit) -> str:
    if limit.metric == "concurrency":
        return f"{limit.amount} requests at a time"
    if limit.kind == "sliding":
        return f"never more than {limit.amount} {limit.metric} within one {limit.window}"
    refill = "" if limit.per_window == limit.amount else f" (up to {limit.amount} at once)"
    return f"{limit.per_window} {limit.metric} per {limit.window}{refill}"


def _capped(refusal: Refusal, cap: Cap, zone: str, worst: Worst, now_ms: int, caller: Scope, thrift: Thrift | None) -> GatewayError:
    unit, amount = cap.unit, _amount(cap.unit, worst)
    whom = _whom(cap.scope, caller)
    could = f"this request could come to {_said(unit, amount)}"
    if cap.period == "request":
        advice = _advice(unit, cap.amount, worst, thrift)
        message = f"cap {cap.id}: no single request of {whom} may come to more than {_said(unit, cap.amount)}, and {could}{advice}"
        return TooCostly(message, headers=waiting(NEVER))
    left = max(0, refusal.left)
    during = "in all" if cap.period == "total" else f"for this {cap.period}"
    message = f"cap {cap.id}: {whom} may spend {_said(unit, cap.amount)} {during}; {_said(unit, left)} left, and {could}"
    message += _advice(unit, left, worst, thrift)
    if refusal.held:
        message += f"; calls under way hold {_said(unit, refusal.held)}, of which some may come back"
    if refusal.resets_ms:
        ends = datetime.fromtimestamp(refusal.resets_ms / 1000, ZoneInfo(zone))
        message += f"; the {cap.period} ends at {ends.isoformat(timespec='seconds')}"
    wait_ms = _wait_ms(refusal, cap, amount, now_ms)
    if cap.scope.key or cap.scope.customer:
        return QuotaExhausted(message, headers=waiting(wait_ms))
    return BudgetExhausted(message, headers=waiting(wait_ms, retried=False))


def _wait_ms(refusal: Refusal, cap: Cap, amount: int, now_ms: int) -> int:
    """When the same request may pass: soon, if what is certainly spent leaves room for it; else when the period is over."""
    if amount > cap.amount:
        return NEVER
    if amount <= refusal.left + refusal.held:
        return SOON_MS
    return max(1, refusal.resets_ms - now_ms) if refusal.resets_ms else NEVER


def _advice(unit: Unit, left: int, worst: Worst, thrift: Thrift | None) -> str:
    if thrift is None:
        return ""
    most = fitting(unit, left, worst, thrift)
    return f"; it would pass with {thrift.field} of at most {most}" if most > 0 else ""


def _whom(scope: Scope, caller: Scope) -> str:
    """Whom a rule bound this time."""
    met = Scope(
        key=scope.key and (caller.key or scope.key),
        customer=scope.customer and (caller.customer or scope.customer),
        model=scope.model and (caller.model or scope.model),
    )
    return str(met)


def _amount(unit: Unit, worst: Worst) -> int:
    return worst.usd if unit == "usd" else worst.tokens


def _said(unit: Unit, amount: int) -> str:
    return f"{format_usd(amount)} USD" if unit == "usd" else f"{amount} tokens"


def _duration(wait_ms: int) -> str:
    return f"{wait_ms} ms" if wait_ms < 1000 else f"{-(-wait_ms // 1000)} s"
