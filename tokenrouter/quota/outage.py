"""One stretch of time in which the shared counters can not be asked: this worker counts for itself, carefully.

Limits are divided by the number of workers that were there last. Caps are replaced by this worker's allowance of each. What was spent is
remembered, to be told to the counters when they are back.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable, retry_after
from tokenrouter.model.admission import Admitted, Ask, Bound, CountedCap, Hold, Refused, Ticket, Worst
from tokenrouter.model.period import span
from tokenrouter.model.rules import Cap, Unit
from tokenrouter.quota.process_counters import ProcessCounters

_RETRY_MS: Final = 1_000
Allowance = Callable[[str, str, Unit], int]
"""What may be spent of a tenant's counter: see `Allowances.of`."""


class QuotaUnavailable(Unavailable):
    """What is left of a cap can not be told at the moment; try again."""

    code = "quota_unavailable"


class Spent(msgspec.Struct, frozen=True):
    """What a call came to that the shared counters have not heard of."""

    bound: Bound
    hold: Hold
    usd: int
    tokens: int


class Outage:
    """See the module. `spent`: what the counters are to be told."""

    def __init__(self, clock: Clock, allowance: Allowance, *, workers: int) -> None:
        self._clock, self._allowance = clock, allowance
        self._counters = ProcessCounters(clock, share=max(1, workers))
        self._holds: dict[str, tuple[Bound, Hold]] = {}
        self.spent: list[Spent] = []

    async def admit(self, bound: Bound, ask: Ask) -> Admitted:
        """See `Counters`. Never finds a kept answer. Raises Refused, QuotaUnavailable."""
        narrow = self._narrow(bound, ask.worst)
        ask = msgspec.structs.replace(ask, answer=None, intent=b"")
        try:
            admitted = await self._counters.admit(narrow, ask)
        except Refused as refused:
            if refused.refusal.cap is not None and refused.refusal.cap.period != "request":
                raise QuotaUnavailable(headers=retry_after(_RETRY_MS)) from None
            raise
        hold, ticket = admitted.hold, admitted.ticket
        if hold is not None:
            hold.local = True
            self._holds[hold.id] = (bound, hold)
        if ticket is not None:
            ticket = msgspec.structs.replace(ticket, local=True)
        return msgspec.structs.replace(admitted, ticket=ticket)

    def leave(self, ticket: Ticket) -> None:
        """See `Counters`."""
        self._counters.leave(ticket)

    def grow(self, hold: Hold, usd: int, tokens: int) -> None:
        """See `Counters`."""
        self._counters.grow(hold, usd, tokens)

    def settle(self, hold: Hold, usd: int, tokens: int, *, presumed: bool = False) -> None:
        """See `Counters`."""
        if hold.settled:
            return
        self._counters.settle(hold, usd, tokens, presumed=presumed)
        bound, _ = self._holds.pop(hold.id, (None, hold))
        if bound is not None and (usd or tokens):
            self.spent.append(Spent(bound, hold, usd, tokens))

    @property
    def over(self) -> bool:
        """Nothing that was admitted here is under way."""
        return not self._holds

    def _narrow(self, bound: Bound, worst: Worst | None) -> Bound:
        """The same rules with allowances in the place of caps."""
        if worst is None or not bound.caps:
            return msgspec.structs.replace(bound, caps=())
        now_ns = self._clock.time_ns()
        return msgspec.structs.replace(bound, caps=tuple(self._allowed(bound, counted, worst, now_ns) for counted in bound.caps))

    def _allowed(self, bound: Bound, counted: CountedCap, worst: Worst, now_ns: int) -> CountedCap:
        cap: Cap = counted.cap
        if cap.period == "request" or cap.action == "warn":
            return counted
        name = full_name(counted, bound.zone, now_ns, sandbox=worst.sandbox)
        amount = self._allowance(bound.tenant, name, cap.unit)
        return CountedCap(msgspec.structs.replace(cap, amount=amount, period="total", action="block", alerts=()), f"{name}:alone")


def full_name(counted: CountedCap, zone: str, now_ns: int, *, sandbox: bool) -> str:
    """A cap's counter with its period, as every place that counts calls it."""
    name = counted.counter
    if counted.cap.period not in ("total", "request"):
        name = f"{name}:{span(counted.cap.period, zone, now_ns).name}"
    return f"s{name}" if sandbox else name


def as_spent(of: Spent) -> tuple[Bound, Ask]:
    """What to ask the counters for so that they hear of it: on the caps alone, none of which refuses what is spent already."""
    caps = tuple(CountedCap(msgspec.structs.replace(each.cap, action="warn"), each.counter) for each in of.bound.caps if each.cap.period != "request")
    bound = Bound(tenant=of.bound.tenant, caps=caps, zone=of.bound.zone)
    return bound, Ask(id=of.hold.id, requests=False, worst=Worst(of.usd, of.tokens, of.hold.sandbox))
