"""Limits, leases and caps counted in this process: for the embedded mode, and for limits while the shared counters are away.

Nothing here ever waits, so no two requests interleave: what is checked is still true when it is taken. A hold does not expire, as its
owner lives exactly as long as the counters do; what an earlier process left behind is in the seed of each counter.
"""

from collections import OrderedDict
from collections.abc import Callable

from tokenrouter.clock import Clock
from tokenrouter.model.admission import (
    Admitted,
    Ask,
    Bound,
    CapLook,
    CapState,
    CountedCap,
    CountedLimit,
    Crossing,
    HeldCap,
    Hold,
    LimitLook,
    Look,
    Refusal,
    Standing,
    TakenTokens,
    Ticket,
    Worst,
)
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.period import ALWAYS, Period, Span, span
from tokenrouter.model.rules import Cap
from tokenrouter.quota.books import Refused
from tokenrouter.quota.buckets import Meter, meter, shared

Seed = Callable[[Cap, str, str, int], CapState]
"""What the ledger says of a counter, before this process began: (cap, its counter with the period, tenant, nothing before: nanoseconds).

The counter's name says whose it is (`:k=`, `:c=`, `:m=` with % and : escaped) and begins with "s" for money of the sandbox."""

Answers = Callable[[str, bytes], KeptAnswer | None]
"""A kept answer that is at hand, by tenant and identity."""

_MS = 1_000_000
_Name = tuple[str, str]  # tenant, counter
_Turned = tuple[CountedLimit, Meter]  # brought up to this moment
_Charge = tuple[CountedCap, str, "_CapCounter", int]  # its counter's name, and how much to hold


class _CapCounter:
    """One period of one cap. `open`: holds that are not settled; `told`: shares that somebody was told of."""

    __slots__ = ("ends_ms", "held", "open", "presumed", "spent", "told")

    def __init__(self, state: CapState, cap: Cap, ends_ms: int) -> None:
        self.spent, self.held, self.presumed, self.open, self.ends_ms = state.spent, state.held, state.presumed, 0, ends_ms
        self.told = {share for share in cap.alerts if (self.spent + self.presumed) * 100 >= cap.amount * share}

    @property
    def total(self) -> int:
        """Everything that counts against the cap."""
        return self.spent + self.held + self.presumed

    def is_idle(self, now_ms: int) -> bool:
        """It may be forgotten: nobody will ask again, or the seed would say the same."""
        return not self.open and ((self.ends_ms and self.ends_ms <= now_ms) or not self.total)


class ProcessCounters:
    """`quota.books.Counters` in one process."""

    def __init__(
        self,
        clock: Clock,
        *,
        seed: Seed = lambda *_: CapState(),
        answers: Answers = lambda *_: None,
        crossed: Callable[[Crossing], None] = lambda _: None,
        share: int = 1,
    ) -> None:
        """`crossed`: told once when a cap's share is reached in a period. `share`: limits are divided by this many workers, rounded up."""
        self._clock, self._seed, self._answers, self._crossed, self._share = clock, seed, answers, crossed, share
        self._meters: OrderedDict[_Name, Meter] = OrderedDict()
        self._caps: OrderedDict[_Name, _CapCounter] = OrderedDict()
        self._leases: dict[_Name, set[str]] = {}
        self._spans: dict[tuple[Period, str], Span] = {}
        self._made = 0

    async def admit(self, bound: Bound, ask: Ask) -> Admitted:
        """See `Counters`: everything is checked, then everything is taken."""
        now_ms, worst = self._clock.monotonic_ns() // _MS, ask.worst
        if self._made:
            self._forget(now_ms)
        requests = self._turned(bound.tenant, bound.requests, now_ms) if bound.requests else []
        tokens = self._turned(bound.tenant, bound.tokens, now_ms) if bound.tokens else []
        if ask.requests:
            _check(requests, 1, now_ms)
        if ask.answer is not None and (kept := self._answers(bound.tenant, ask.answer)) is not None:
            if ask.requests:
                _take(requests, 1)
            return Admitted(kept=kept, requests=_standing(requests, now_ms), tokens=_standing(tokens, now_ms))
        if ask.lease and bound.concurrency:
            self._check_leases(bound)
        charges: list[_Charge] = []
        warnings: tuple[Cap, ...] = ()
        wall_ns = 0
        if worst is not None:
            _check(tokens, worst.tokens, now_ms)
            wall_ns = self._clock.time_ns()
            if bound.caps:
                charges, warnings = self._check_caps(bound, worst, wall_ns)
        # From here on nothing is refused.
        if ask.requests:
            _take(requests, 1)
        ticket = self._lease(bound, ask.id) if ask.lease and bound.concurrency else None
        hold = None if worst is None else self._hold(bound, ask, worst, tokens, charges, wall_ns)
        return Admitted(ticket=ticket, hold=hold, requests=_standing(requests, now_ms), tokens=_standing(tokens, now_ms), warnings=warnings)

    def leave(self, ticket: Ticket) -> None:
        """See `Counters`."""
        for counter in ticket.leases:
            places = self._leases.get((ticket.tenant, counter))
            if places is not None:
                places.discard(ticket.id)
                if not places:
                    del self._leases[ticket.tenant, counter]

    def settle(self, hold: Hold, usd: int, tokens: int, *, presumed: bool = False) -> None:
        """See `Counters`. What is presumed is all that was held."""
        if hold.settled:
            return
        hold.settled = True
        for held in hold.caps:
            counter = self._caps[hold.tenant, held.counter]
            counter.open -= 1
            counter.held -= held.amount
            if presumed:
                counter.presumed += held.amount
            else:
                counter.spent += usd if held.cap.unit == "usd" else tokens
            if held.cap.alerts:
                self._tell(hold.tenant, held, counter)
        if hold.takes and not presumed:
            self._adjust(hold, tokens)

    def grow(self, hold: Hold, usd: int, tokens: int) -> None:
        """See `Counters`."""
        if hold.settled:
            return
        caps = []
        for held in hold.caps:
            more = max(0, (usd if held.cap.unit == "usd" else tokens) - held.amount)
            self._caps[hold.tenant, held.counter].held += more
            caps.append(HeldCap(held.cap, held.counter, held.amount + more) if more else held)
        hold.caps = tuple(caps)
        if hold.takes and tokens > hold.tokens:
            self._adjust(hold, tokens)
        hold.usd, hold.tokens = max(hold.usd, usd), max(hold.tokens, tokens)

    async def cap_state(self, tenant: str, counter: str) -> CapState:
        """See `Counters`. A counter that was not touched yet (see `touch`) says nothing."""
        known = self._caps.get((tenant, counter))
        return CapState() if known is None else CapState(known.spent, known.held, known.presumed)

    def touch(self, bound: Bound, *, sandbox: bool = False) -> tuple[str, ...]:
        """Names of the caps' counters of this moment, their seeds read: before people look at them."""
        wall_ns = self._clock.time_ns()
        return tuple(self._cap_counter(bound, counted, sandbox, wall_ns)[0] for counted in bound.caps if counted.cap.period != "request")

    async def look(self, bound: Bound, *, sandbox: bool) -> Look:
        """See `Counters`."""
        now_ms, wall_ns = self._clock.monotonic_ns() // _MS, self._clock.time_ns()
        requests, tokens = (self._turned(bound.tenant, limits, now_ms) for limits in (bound.requests, bound.tokens))
        places = []
        for counted in bound.concurrency:
            most = shared(counted.limit.amount, self._share)
            taken = len(self._leases.get((bound.tenant, counted.counter), ()))
            places.append(LimitLook(counted.limit, counted.counter, most, most - taken, -1))
        caps = []
        for capped in bound.caps:
            if capped.cap.period == "request":
                caps.append(CapLook(capped.cap, "", CapState()))
                continue
            name, counter = self._cap_counter(bound, capped, sandbox, wall_ns)
            caps.append(CapLook(capped.cap, name, CapState(counter.spent, counter.held, counter.presumed), counter.ends_ms))
        return Look(wall_ns // _MS, (*_looks(requests, now_ms), *places, *_looks(tokens, now_ms)), tuple(caps))

    def _turned(self, tenant: str, limits: tuple[CountedLimit, ...], now_ms: int) -> list[_Turned]:
        """Meters of limits, brought up to this moment."""
        turned = []
        for counted in limits:
            name = (tenant, counted.counter)
            known = self._meters.get(name)
            if known is None or known.limit is not counted.limit:
                known = self._meter(name, counted, known, now_ms)
            known.turn(now_ms)
            turned.append((counted, known))
        return turned

    def _meter(self, name: _Name, counted: CountedLimit, known: Meter | None, now_ms: int) -> Meter:
        if known is None:
            self._made += 1
            known = self._meters[name] = meter(counted.limit, self._share, now_ms)
        elif known.limit == counted.limit:
            known.limit = counted.limit
        else:
            known = self._meters[name] = meter(counted.limit, self._share, now_ms, known)
        return known

    def _check_leases(self, bound: Bound) -> None:
        for counted in bound.concurrency:
            if len(self._leases.get((bound.tenant, counted.counter), ())) >= shared(counted.limit.amount, self._share):
                raise Refused(Refusal(limit=counted.limit))

    def _lease(self, bound: Bound, request_id: str) -> Ticket:
        counters = tuple(counted.counter for counted in bound.concurrency)
        for counter in counters:
            self._leases.setdefault((bound.tenant, counter), set()).add(request_id)
        return Ticket(request_id, bound.tenant, counters)

    def _check_caps(self, bound: Bound, worst: Worst, wall_ns: int) -> tuple[list[_Charge], tuple[Cap, ...]]:
        """What is to be held where, and caps that only warn. Raises Refused."""
        charges: list[_Charge] = []
        warnings: tuple[Cap, ...] = ()
        for counted in bound.caps:
            cap = counted.cap
            amount = worst.usd if cap.unit == "usd" else worst.tokens
            total, held, ends_ms = 0, 0, 0
            if cap.period != "request":
                name, counter = self._cap_counter(bound, counted, worst.sandbox, wall_ns)
                charges.append((counted, name, counter, amount))
                total, held, ends_ms = counter.total, counter.held, counter.ends_ms
            if total + amount <= cap.amount:
                continue
            if cap.action != "warn":
                retry_ms = ends_ms - wall_ns // _MS if ends_ms and amount <= cap.amount else -1
                raise Refused(Refusal(cap=cap, retry_ms=retry_ms, left=max(0, cap.amount - total), held=held, resets_ms=ends_ms))
            warnings += (cap,)
        return charges, warnings

    def _cap_counter(self, bound: Bound, counted: CountedCap, sandbox: bool, wall_ns: int) -> tuple[str, _CapCounter]:
        """A cap's counter of this moment, and its name."""
        cap, now_ms = counted.cap, wall_ns // _MS
        name, during = counted.counter, ALWAYS
        if cap.period != "total":
            known_span = self._spans.get((cap.period, bound.zone))
            if known_span is None or not known_span.holds(now_ms):
                known_span = self._spans[cap.period, bound.zone] = span(cap.period, bound.zone, wall_ns)
            during, name = known_span, f"{name}:{known_span.name}"
        if sandbox:
            name = "s" + name
        known = self._caps.get((bound.tenant, name))
        if known is None:
            state = self._seed(cap, name, bound.tenant, max(cap.starts_ns, during.starts_ms * _MS))
            self._made += 1
            known = self._caps[bound.tenant, name] = _CapCounter(state, cap, during.ends_ms)
        else:
            known.ends_ms = during.ends_ms
        return name, known

    def _hold(self, bound: Bound, ask: Ask, worst: Worst, tokens: list[_Turned], charges: list[_Charge], wall_ns: int) -> Hold:
        caps = []
        for counted, name, counter, amount in charges:
            counter.held += amount
            counter.open += 1
            caps.append(HeldCap(counted.cap, name, amount))
        takes = tuple(TakenTokens(each.limit, each.counter, worst.tokens, known.take(worst.tokens), worst.tokens) for each, known in tokens)
        return Hold(ask.id, bound.tenant, worst, caps=tuple(caps), takes=takes, admitted_ns=wall_ns, intent=ask.intent)

    def _adjust(self, hold: Hold, tokens: int) -> None:
        """Make what was taken from the token limits `tokens`."""
        now_ms, takes = self._clock.monotonic_ns() // _MS, []
        for taken in hold.takes:
            known = self._meters.get((hold.tenant, taken.counter))
            if known is None:  # whole again since, and forgotten
                known = self._meters[hold.tenant, taken.counter] = meter(taken.limit, self._share, now_ms)
            known.turn(now_ms)
            more = max(tokens - taken.amount, -taken.inside)
            entry = known.adjust(taken.entry, more)
            takes.append(TakenTokens(taken.limit, taken.counter, tokens, entry, more if entry != taken.entry else taken.inside + more))
        hold.takes = tuple(takes)

    def _tell(self, tenant: str, held: HeldCap, counter: _CapCounter) -> None:
        """Tell of the shares that are reached for the first time in this period."""
        booked = counter.spent + counter.presumed
        for share in held.cap.alerts:
            if booked * 100 >= held.cap.amount * share and share not in counter.told:
                counter.told.add(share)
                self._crossed(Crossing(held.cap, held.counter, share, booked, tenant))

    def _forget(self, now_ms: int) -> None:
        """Look at the two oldest counters for each that was made: what says nothing goes, so the rest is at most twice what is needed.

        Only between requests: one that is made and not yet taken from says nothing either.
        """
        looks, self._made = 2 * self._made, 0
        for _ in range(min(looks, len(self._meters))):
            name, known = next(iter(self._meters.items()))
            known.turn(now_ms)
            if known.is_whole():
                del self._meters[name]
            else:
                self._meters.move_to_end(name)
        wall_ms = self._clock.time_ns() // _MS
        for _ in range(min(looks, len(self._caps))):
            full_name, counter = next(iter(self._caps.items()))
            if counter.is_idle(wall_ms):
                del self._caps[full_name]
            else:
                self._caps.move_to_end(full_name)


def _looks(meters: list[_Turned], now_ms: int) -> list[LimitLook]:
    return [LimitLook(counted.limit, counted.counter, known.most, known.left, known.whole_ms(now_ms)) for counted, known in meters]


def _check(meters: list[_Turned], amount: int, now_ms: int) -> None:
    """Raises Refused with the first limit that has too little."""
    for counted, known in meters:
        if known.left < amount:
            raise Refused(Refusal(limit=counted.limit, retry_ms=known.wait_ms(amount, now_ms), left=max(0, known.left)))


def _take(meters: list[_Turned], amount: int) -> None:
    for _, known in meters:
        known.take(amount)


def _standing(meters: list[_Turned], now_ms: int) -> Standing | None:
    """With the limit that has the least left: the first of several."""
    if not meters:
        return None
    tightest = meters[0][1]
    for _, known in meters:
        if known.left < tightest.left:
            tightest = known
    return Standing(tightest.most, max(0, tightest.left), tightest.whole_ms(now_ms))
