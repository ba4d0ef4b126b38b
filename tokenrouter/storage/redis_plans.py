"""What the counters' scripts are sent: the only place that knows the order of their keys and arguments. `redis_replies` reads the answers.

What is the same for every request of one caller is made once (`Plans`).
"""

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from tokenrouter.model.admission import (
    Ask,
    Bound,
    CountedCap,
    HeldCap,
    Hold,
    TakenTokens,
    Ticket,
    Worst,
)
from tokenrouter.model.period import ALWAYS, Span, span
from tokenrouter.model.rules import MOST_CAP, MOST_LIMIT, Cap, Limit
from tokenrouter.storage.redis_keys import prefix
from tokenrouter.storage.redis_link import Arg

_MS = 1_000_000
_DAY_MS = 86_400_000
_MOST_PLANS = 16_384

Keys = tuple[bytes, ...]
Args = tuple[Arg, ...]


class RedisHold(Hold):
    """A hold, its `name` in Redis (never used again, unlike a request's id), and what it was charged to. `unheard`: Redis never knew of it."""

    __slots__ = ("charged", "name", "unheard")

    charged: "Charged"
    name: str
    unheard: bool


class RedisTicket(Ticket, frozen=True):
    """A ticket and its name in Redis."""

    name: str = ""


class Rules(msgspec.Struct, frozen=True):
    """Keys and arguments of several rules of one kind."""

    count: int = 0
    keys: Keys = ()
    args: Args = ()


class Parts(msgspec.Struct, frozen=True):
    """What `admit` is told of rules: all keys, those behind the tenant's own, and arguments."""

    keys: Keys
    rest: Keys
    args: Args


class Charged(msgspec.Struct, frozen=True):
    """What a caller's caps come to in one period of each, and everything about them that scripts are told.

    during   when all of these periods hold
    held     caps that have a counter, its name, and when its period ends (ms; 0: never)
    admits   what `admit` is told: without places, and with them
    settles  what `settle` is told
    limits   of tokens, that are among it
    """

    rules: Rules
    during: Span
    held: tuple[tuple[Cap, str, int], ...]
    admits: tuple[Parts, Parts]
    settles: Parts
    limits: int


class Plan:
    """What binds one caller, as `admit` is told it."""

    __slots__ = ("_charged", "bare", "bound", "counters", "head", "places", "requests", "tokens")

    def __init__(self, bound: Bound) -> None:
        """Raises ValueError for a rule that Lua could not count exactly."""
        _check_rules(bound)
        start = prefix(bound.tenant)
        self.bound = bound
        self.head: Keys = tuple(start + name for name in (b"epoch", b"holds", b"hold", b"done", b"index", b"ledger"))
        self.requests = limits_of(start, [(counted.limit, counted.counter) for counted in bound.requests])
        self.tokens = limits_of(start, [(counted.limit, counted.counter) for counted in bound.tokens])
        self.counters = tuple(counted.counter for counted in bound.concurrency)
        self.places = Rules(
            len(bound.concurrency),
            tuple(start + place_name(counter) for counter in self.counters),
            tuple(counted.limit.amount for counted in bound.concurrency),
        )
        self.bare = self._admits(Rules())
        self._charged: dict[bool, Charged] = {}

    def charged(self, now_ms: int, *, sandbox: bool) -> Charged:
        """The caps, in the periods of this moment."""
        known = self._charged.get(sandbox)
        if known is None or not known.during.holds(now_ms):
            known = self._charged[sandbox] = self._charge(now_ms, sandbox=sandbox)
        return known

    def _charge(self, now_ms: int, *, sandbox: bool) -> Charged:
        keys: list[bytes] = []
        args: list[Arg] = []
        held: list[tuple[Cap, str, int]] = []
        starts_ms, ends_ms, start = 0, 0, prefix(self.bound.tenant)
        for counted in self.bound.caps:
            cap = counted.cap
            during = span(cap.period, self.bound.zone, now_ms * _MS)
            if cap.period != "request":
                name = cap_name(counted, during, sandbox=sandbox)
                keys.append(start + name.encode())
                held.append((cap, name, during.ends_ms))
            if during is not ALWAYS:
                starts_ms, ends_ms = max(starts_ms, during.starts_ms), min(ends_ms or during.ends_ms, during.ends_ms)
            ends = -1 if cap.period == "request" else during.ends_ms
            args += ("u" if cap.unit == "usd" else "t", cap.amount, "1" if cap.action == "warn" else "0", during.starts_ms, ends)
        rules = Rules(len(self.bound.caps), tuple(keys), tuple(args))
        settles = _settles(start, held, self.tokens)
        return Charged(rules, Span("", starts_ms, ends_ms), tuple(held), self._admits(rules), settles, self.tokens.count)

    def _admits(self, caps: Rules) -> tuple[Parts, Parts]:
        bare, placed = (self._parts(places, caps) for places in (Rules(), self.places))
        return bare, placed

    def _parts(self, places: Rules, caps: Rules) -> Parts:
        kinds = (self.requests, places, self.tokens, caps)
        rest = tuple(key for rules in kinds for key in rules.keys)
        counts = tuple(rules.count for rules in kinds)
        return Parts(self.head + rest, rest, (*counts, *(arg for rules in kinds for arg in rules.args)))


class Plans:
    """Plans of callers, made once for each (`Binder` makes one `Bound` for each too)."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, Plan] = OrderedDict()

    def of(self, bound: Bound) -> Plan:
        """The plan of a caller. Raises ValueError for a rule that can not be counted exactly."""
        known = self._known.get(id(bound))
        if known is not None and known.bound is bound:
            return known
        known = self._known[id(bound)] = Plan(bound)  # it keeps `bound`, so that nobody else gets its id
        self._known.move_to_end(id(bound))
        if len(self._known) > _MOST_PLANS:
            self._known.popitem(last=False)
        return known


def place_name(counter: str) -> bytes:
    """Where a concurrency limit's places are, behind the tenant's prefix."""
    return b"p:" + counter.encode()


def hold_name(hold: Hold) -> str:
    """What a hold is called in Redis."""
    return hold.name if isinstance(hold, RedisHold) else hold.id


def ticket_name(ticket: Ticket) -> str:
    """What a ticket is called in Redis."""
    return ticket.name if isinstance(ticket, RedisTicket) else ticket.id


def limits_of(start: bytes, limits: Sequence[tuple[Limit, str]]) -> Rules:
    """Limits of requests or tokens, by their counters: kind, most, refill, milliseconds of a tick."""
    keys: list[bytes] = []
    args: list[Arg] = []
    for limit, counter in limits:
        keys.append(start + counter.encode())
        if limit.kind == "sliding":
            keys.append(start + b"w:" + counter.encode())
        args += ("w" if limit.kind == "sliding" else "b", limit.amount, limit.per_window, limit.tick_ms)
    return Rules(len(limits), tuple(keys), tuple(args))


def _settles(start: bytes, held: Sequence[tuple[Cap, str, int]], limits: Rules) -> Parts:
    """What `settle` is told of caps and limits."""
    names = (b"epoch", b"holds", b"hold", b"done", b"index", b"ledger", b"presumed")
    rest = (*(start + name.encode() for _, name, _ in held), *limits.keys)
    args: list[Arg] = [len(held), limits.count]
    for cap, _, ends_ms in held:
        shares = shares_of(cap)
        args += ("u" if cap.unit == "usd" else "t", ends_ms, len(shares))
        for share in shares:
            args += (f"a{share}:{cap.amount}", -(-cap.amount * share // 100))
    return Parts((*(start + name for name in names), *rest), rest, (*args, *limits.args))


def shares_of(cap: Cap) -> tuple[int, ...]:
    """Shares of a cap that can be reached, in the order in which `settle` knows them."""
    return tuple(share for share in cap.alerts if 0 < -(-cap.amount * share // 100) <= MOST_CAP)


def cap_name(counted: CountedCap, during: Span, *, sandbox: bool) -> str:
    """A cap's counter in one period."""
    name = counted.counter if counted.cap.period == "total" else f"{counted.counter}:{during.name}"
    return f"s{name}" if sandbox else name


class Asked(msgspec.Struct, frozen=True):
    """One call of `admit`: its keys, and its arguments behind the name, the id, the moment and the server."""

    plan: Plan
    charged: Charged | None
    keys: Keys
    name: str
    args: Args

    def hold(self, ask: Ask, worst: Worst, now_ms: int, ticks: Sequence[int]) -> RedisHold:
        """The hold that was given. `ticks`: the entries in which its tokens stand."""
        bound, charged = self.plan.bound, self.charged or self.plan.charged(now_ms, sandbox=worst.sandbox)
        usd, tokens = worst.usd, worst.tokens
        caps = tuple([HeldCap(cap, name, usd if cap.unit == "usd" else tokens) for cap, name, _ in charged.held])
        takes = tuple([
            TakenTokens(counted.limit, counted.counter, tokens, tick if counted.limit.kind == "sliding" else 0, tokens)
            for counted, tick in zip(bound.tokens, ticks, strict=True)
        ])  # fmt: skip
        made = RedisHold(ask.id, bound.tenant, worst, caps=caps, takes=takes, admitted_ns=now_ms * _MS, intent=ask.intent)
        made.name, made.charged, made.unheard = self.name, charged, False
        return made

    def ticket(self, ask: Ask) -> RedisTicket:
        """The ticket that was given."""
        return RedisTicket(ask.id, self.plan.bound.tenant, self.plan.counters, name=self.name)


def asked(plan: Plan, ask: Ask, name: str, now_ms: int, *, lease_ms: int, hold_ms: int, requests: bool, answer: bytes | None) -> Asked:
    """`admit`, for one request. `answer`: the key of a kept answer that would do. Raises ValueError for a worst case that can not be counted."""
    worst = ask.worst
    if worst is None:
        charged, parts = None, plan.bare[ask.lease]
        wanted: Args = ("0", 0, 0)
    else:
        if not (0 <= worst.usd <= MOST_CAP and 0 <= worst.tokens <= MOST_CAP):
            raise ValueError(f"a worst case of {worst.usd} nano-USD and {worst.tokens} tokens is below 0 or above {MOST_CAP}")
        charged = plan.charged(now_ms, sandbox=worst.sandbox)
        parts, wanted = charged.admits[ask.lease], ("1", worst.usd, worst.tokens)
    keys = parts.keys if answer is None else (*plan.head, answer, *parts.rest)
    taken, found = "1" if requests else "0", "0" if answer is None else "1"
    return Asked(plan, charged, keys, name, (lease_ms, hold_ms, taken, found, *wanted, ask.intent, *parts.args))


def looking(plan: Plan, charged: Charged) -> tuple[Keys, Args]:
    """`look`, for one caller: keys, and arguments behind the moment and the server."""
    during: list[Arg] = []
    rules = charged.rules.args
    for first in range(0, len(rules), 5):
        if rules[first + 4] != -1:
            during += rules[first + 3 : first + 5]
    keys = (plan.head[0], plan.head[4], *plan.requests.keys, *plan.places.keys, *plan.tokens.keys, *charged.rules.keys)
    counts = (plan.requests.count, plan.places.count, plan.tokens.count, len(charged.held))
    return keys, (*counts, *plan.requests.args, *plan.tokens.args, *during)


def settling(hold: Hold, mode: str, usd: int, tokens: int, entry: bytes, *, done_ms: int) -> tuple[Keys, Args]:
    """`settle`, for one hold: keys, and arguments behind the name, the id, the moment, the server and the age. `mode`: as in settle.lua."""
    if isinstance(hold, RedisHold) and len(hold.takes) == hold.charged.limits:
        parts = hold.charged.settles
    else:
        start = prefix(hold.tenant)
        held = [(each.cap, each.counter, ends_ms) for each, ends_ms in zip(hold.caps, ends_of(hold), strict=True)]
        parts = _settles(start, held, limits_of(start, [(taken.limit, taken.counter) for taken in hold.takes]))
    known = (hold.usd, hold.tokens, hold.admitted_ns // _MS, hold.intent, done_ms)
    return parts.keys, (mode, min(usd, MOST_CAP), min(tokens, MOST_CAP), entry, *known, *parts.args)


def growing(hold: Hold, usd: int, tokens: int) -> tuple[Keys, Args]:
    """`grow`, for one hold: keys, and arguments behind the name, the moment and the server."""
    start = prefix(hold.tenant)
    limits = limits_of(start, [(taken.limit, taken.counter) for taken in hold.takes])
    keys = (start + b"epoch", start + b"hold", start + b"index", *(cap_key(start, held) for held in hold.caps), *limits.keys)
    units = ("u" if held.cap.unit == "usd" else "t" for held in hold.caps)
    return keys, (min(usd, MOST_CAP), min(tokens, MOST_CAP), len(hold.caps), limits.count, *units, *limits.args)


def asserting(hold: Hold, hold_ms: int) -> tuple[Keys, Args]:
    """`assert`, for one hold: keys, and arguments behind the name, the id, the moment and the server."""
    start = prefix(hold.tenant)
    names = (b"epoch", b"holds", b"hold", b"done", b"index", b"ledger")
    keys = (*(start + name for name in names), *(cap_key(start, held) for held in hold.caps))
    args: list[Arg] = [hold_ms, hold.admitted_ns // _MS, hold.usd, hold.tokens, hold.intent, len(hold.caps), len(hold.takes)]
    for held, ends_ms in zip(hold.caps, ends_of(hold), strict=True):
        args += (held.amount, ends_ms)
    for taken in hold.takes:
        args += (taken.counter, taken.amount, taken.entry)
    return keys, tuple(args)


def ends_of(hold: Hold) -> tuple[int, ...]:
    """When the period of each of its caps ends, Unix milliseconds; 0: never. Later than it does where its time zone is not known."""
    if isinstance(hold, RedisHold):
        return tuple(ends_ms for _, _, ends_ms in hold.charged.held)
    a_day_on = hold.admitted_ns + _DAY_MS * _MS
    return tuple(0 if held.cap.period == "total" else span(held.cap.period, "UTC", a_day_on).ends_ms + _DAY_MS for held in hold.caps)


def cap_key(start: bytes, held: HeldCap) -> bytes:
    """The key of a held cap's counter."""
    return start + held.counter.encode()


def _check_rules(bound: Bound) -> None:
    for counted in (*bound.requests, *bound.tokens, *bound.concurrency):
        if not (0 <= counted.limit.amount <= MOST_LIMIT and 0 <= counted.limit.per_window <= MOST_LIMIT):
            raise ValueError(f"limit {counted.limit.id}: its numbers are below 0 or above {MOST_LIMIT}")
    for charge in bound.caps:
        if not 0 <= charge.cap.amount <= MOST_CAP:
            raise ValueError(f"cap {charge.cap.id}: its amount is below 0 or above {MOST_CAP}")
