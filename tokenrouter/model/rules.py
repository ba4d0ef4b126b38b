"""Rules of a tenant: what may come in (limits) and what may be spent (caps). Values only; who counts is `quota/` and `storage/`."""

import re
from typing import Literal

import msgspec

from tokenrouter.model.period import Period

Metric = Literal["requests", "tokens", "concurrency"]
Window = Literal["minute", "hour", "day"]
LimitKind = Literal["bucket", "sliding"]
Unit = Literal["usd", "tokens"]
CapAction = Literal["block", "fit", "downgrade", "warn"]

WINDOW_MS: dict[Window, int] = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
TICKS = 60_000
"""Every window is divided into this many ticks (1 ms, 60 ms, 1,440 ms), so that all counting stays in exact integers."""

MOST_LIMIT = 100_000_000_000
"""Largest capacity of a limit: times `TICKS` it is still below 2^53, where the numbers of Lua end to be exact."""

MOST_CAP = (1 << 53) - 1
"""Largest cap, in nano-USD (USD 9,007,199.25) or tokens, for the same reason."""

_MOST_ALERTS = 10

EACH = "*"
"""In a scope: everyone of that kind, each with a counter of its own."""


class Scope(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom a rule binds, inside one tenant. "" binds anyone together, `EACH` everyone apart, anything else that one only.

    key       a key's public id
    customer  as the request names them
    model     `vendor/model` as it is served
    """

    key: str = ""
    customer: str = ""
    model: str = ""

    def counter(self, key: str, customer: str, model: str) -> str | None:
        """What tells the counters of one rule apart ("" where it has one only); None where the rule does not bind this caller."""
        name = ""
        for mark, wanted, actual in (("k", self.key, key), ("c", self.customer, customer), ("m", self.model, model)):
            if wanted == "":
                continue
            if wanted == EACH:
                if not actual:
                    return None
                name += f":{mark}={actual.replace('%', '%25').replace(':', '%3A')}"
            elif wanted != actual:
                return None
        return name

    def __str__(self) -> str:
        said = [f"{name} {value}" for name, value in (("key", self.key), ("customer", self.customer), ("model", self.model)) if value]
        return ", ".join(said).replace(f" {EACH}", " (each)") or "the tenant"


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much may come in.

    amount  requests or tokens: of a bucket its capacity, which is also the burst; of a sliding window the most in any stretch of that
            length; of concurrency how many at a time
    refill  of a bucket: how much comes back, evenly, in one window; 0 means `amount`
    window  means nothing for concurrency
    """

    id: str
    scope: Scope = Scope()
    metric: Metric
    amount: int
    window: Window = "minute"
    kind: LimitKind = "bucket"
    refill: int = 0

    @property
    def per_window(self) -> int:
        """What a bucket gets back in one window."""
        return self.refill or self.amount

    @property
    def tick_ms(self) -> int:
        """Length of a tick."""
        return WINDOW_MS[self.window] // TICKS


class Cap(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much may be spent.

    amount        nano-USD or tokens (all input and output, cached tokens included)
    period        `total`: from its creation on, for ever; `request`: no single request may cost more
    action        on reaching it: `block`; `fit` the request's output limit into what is left; `downgrade` to a cheaper model; `warn` only.
                  Where a request sets no output limit, the one that fits is set before anybody blocks (edit `limits.fit`)
    downgrade_to  the cheaper model, `vendor/model`
    alerts        shares in percent at which to tell somebody
    starts_ns     nothing before this moment counts: its creation, so that a new cap on an old key begins at zero
    """

    id: str
    scope: Scope = Scope()
    unit: Unit = "usd"
    amount: int
    period: Period = "month"
    action: CapAction = "block"
    downgrade_to: str = ""
    alerts: tuple[int, ...] = (80, 95)
    starts_ns: int = 0


_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,256}")


def is_plain(name: str) -> bool:
    """Whether this can name something of a tenant's: 1 to 256 characters, no control characters, nothing that has no UTF-8."""
    return _PLAIN.fullmatch(name) is not None


def mistake(rule: Limit | Cap) -> str:
    """What is wrong with a rule, for the person who writes it; "" if nothing is."""
    scope = (rule.scope.key, rule.scope.customer, rule.scope.model)
    if not _NAME.fullmatch(rule.id):
        return "id: 1 to 64 letters, digits, dots, dashes and underscores"
    if any(each and not is_plain(each) for each in scope):
        return "scope: names of at most 256 characters, without control characters"
    return _limit_mistake(rule) if isinstance(rule, Limit) else _cap_mistake(rule)


def _limit_mistake(limit: Limit) -> str:
    if not 1 <= limit.amount <= MOST_LIMIT:
        return f"amount: a whole number from 1 to {MOST_LIMIT}"
    if not 0 <= limit.refill <= MOST_LIMIT:
        return f"refill: a whole number from 0 to {MOST_LIMIT}"
    if limit.refill and (limit.kind == "sliding" or limit.metric == "concurrency"):
        return "refill: only a bucket has one"
    return ""


def _cap_mistake(cap: Cap) -> str:
    if not 0 <= cap.amount <= MOST_CAP:
        return f"amount: a whole number from 0 to {MOST_CAP}"
    if (cap.action == "downgrade") != bool(cap.downgrade_to):
        return "downgrade_to: the cheaper model, and only for the action `downgrade`"
    if not all(1 <= share <= 100 for share in cap.alerts) or len(cap.alerts) > _MOST_ALERTS:
        return f"alerts: at most {_MOST_ALERTS} shares from 1 to 100 percent"
    return ""


class Rules(msgspec.Struct, frozen=True, omit_defaults=True):
    """What binds a caller. `zone`: the owner's time zone, in which days, weeks and months begin."""

    limits: tuple[Limit, ...] = ()
    caps: tuple[Cap, ...] = ()
    zone: str = "UTC"


NO_RULES = Rules()
