"""What a worker may still spend of a cap while the shared counters can not be asked.

A hundredth of what was left when the counter was last looked at, one dollar (or a million tokens) at most. An allowance takes nothing from
anybody: as long as the counters can be asked, it means nothing. While they can not, it is the most that this worker spends of a cap, so
all workers together overspend a cap by no more than the sum of their allowances.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.admission import CapState, HeldCap, NeedsRebuild
from tokenrouter.model.rules import Cap, Unit

MOST: Final[dict[Unit, int]] = {"usd": 1_000_000_000, "tokens": 1_000_000}
GOOD_S: Final = 60
"""How long an allowance holds after its counter was looked at."""

_USED_S: Final = 60
_MOST_KNOWN: Final = 10_000
_SECOND_NS: Final = 1_000_000_000


class _Known(msgspec.Struct):
    cap: Cap
    used_ns: int
    looked_ns: int = 0
    left: int = 0


class Allowances:
    """The allowances of one worker, for caps that were used in the last minute."""

    def __init__(self, clock: Clock, look: Callable[[str, str], Awaitable[CapState]]) -> None:
        """`look`: the state of a tenant's counter, by its full name. Raises Unavailable; NeedsRebuild where there are no counters."""
        self._clock, self._look = clock, look
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def used(self, tenant: str, caps: tuple[HeldCap, ...]) -> None:
        """Something was held on these."""
        now = self._clock.monotonic_ns()
        for held in caps:
            name = (tenant, held.counter)
            known = self._known.get(name)
            if known is None:
                self._known[name] = _Known(held.cap, now)
            else:
                known.cap, known.used_ns = held.cap, now
                self._known.move_to_end(name)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    async def refresh(self, *, unknown_only: bool = False) -> bool:
        """Look at the counters again, and forget those that nobody uses. `unknown_only`: at those that were never looked at.

        False: they can not be asked; the allowances known so far run out by themselves.
        """
        for (tenant, counter), known in list(self._known.items()):
            now = self._clock.monotonic_ns()
            if now - known.used_ns > _USED_S * _SECOND_NS:
                self._known.pop((tenant, counter), None)
                continue
            if known.looked_ns and unknown_only:
                continue
            try:
                state = await self._look(tenant, counter)
            except NeedsRebuild:
                continue  # this tenant's alone
            except Unavailable:
                return False
            known.left, known.looked_ns = max(0, known.cap.amount - state.total), now
        return True

    def of(self, tenant: str, counter: str, unit: Unit) -> int:
        """What may be spent; 0 for a counter that was not looked at lately."""
        known = self._known.get((tenant, counter))
        if known is None or not known.looked_ns or self._clock.monotonic_ns() - known.looked_ns > GOOD_S * _SECOND_NS:
            return 0
        return min(known.left // 100, MOST[unit])
