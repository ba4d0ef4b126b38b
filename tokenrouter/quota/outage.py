"""One stretch of time in which the shared counters can not be asked: this worker counts for itself, carefully.

Limits are divided by the number of workers that were there last. Caps are replaced by this worker's allowance of each. The shared counters
hear of the calls themselves when they are back, as of calls that they lost (`RedisCounters.adopt`).
"""

from collections.abc import Callable
from typing import Final

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable, retry_after
from tokenrouter.model.admission import Admitted, Ask, Bound, CountedCap, Hold, Refused, Ticket, Worst
from tokenrouter.model.period import span
from tokenrouter.model.rules import Unit
from tokenrouter.quota.process_counters import ProcessCounters

_RETRY_MS: Final = 1_000
Allowance = Callable[[str, str, Unit], int]
"""What may be spent of a tenant's counter: see `Allowances.of`."""


class QuotaUnavailable(Unavailable):
    """What is left of a cap can not be told at the moment; try again."""

    code = "quota_unavailable"


class Outage:
    """See the module."""

    def __init__(self, clock: Clock, allowance: Allowance, *, workers: int) -> None:
        self._clock, self._allowance = clock, allowance
        self._counters = ProcessCounters(clock, share=max(1, workers))

    async def admit(self, bound: Bound, ask: Ask) -> Admitted:
        """See `Counters`. Never suspends, and never finds a kept answer. Raises Refused, QuotaUnavailable."""
        narrow = self._narrow(bound, ask.worst)
        try:
            admitted = await self._counters.admit(narrow, msgspec.structs.replace(ask, answer=None, intent=b""))
        except Refused as refused:
            if refused.refusal.cap is not None and refused.refusal.cap.period != "request":
                raise QuotaUnavailable(headers=retry_after(_RETRY_MS)) from None
            raise
        ticket = admitted.ticket
        return admitted if ticket is None else msgspec.structs.replace(admitted, ticket=msgspec.structs.replace(ticket, local=True))

    def leave(self, ticket: Ticket) -> None:
        """See `Counters`."""
        self._counters.leave(ticket)

    def grow(self, hold: Hold, usd: int, tokens: int) -> None:
        """See `Counters`."""
        self._counters.grow(hold, usd, tokens)

    def settle(self, hold: Hold, usd: int, tokens: int, *, presumed: bool = False) -> None:
        """See `Counters`."""
        self._counters.settle(hold, usd, tokens, presumed=presumed)

    def _narrow(self, bound: Bound, worst: Worst | None) -> Bound:
        """The same rules with allowances in the place of caps."""
        if worst is None or not bound.caps:
            return msgspec.structs.replace(bound, caps=()) if bound.caps else bound
        now_ns = self._clock.time_ns()
        return msgspec.structs.replace(bound, caps=tuple(self._allowed(bound, counted, worst, now_ns) for counted in bound.caps))

    def _allowed(self, bound: Bound, counted: CountedCap, worst: Worst, now_ns: int) -> CountedCap:
        cap = counted.cap
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
