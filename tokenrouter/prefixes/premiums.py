"""The gate of premiums: what marks may cost on top of never marking, at most, on any traffic.

Per tenant and model, the ledger sums what requests really cost above plain input (`led`, negative where reads paid back) and what they would
have cost without any mark (`never`). A request may carry marks whose writes cost a premium only if

    led + premiums in flight + its own worst premium <= share of never + allowance.

The worst premium takes every believed entry for gone. So the real cost never exceeds never-marking by more than the share and the allowance,
plus what estimated tokens of requests in flight fall short of those reported; early evictions and shorter lifetimes included. Reads only
lower `led`. A usage that was not reported is booked at its worst premium.

Amounts inside are tokens times rates (nano-USD per million tokens), so nothing is rounded; `NanoUSD` where people look.
"""

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from tokenrouter.model.usage import Usage
from tokenrouter.money import NanoUSD, Rates

_MILLION = 1_000_000
_MOST_BOOKS = 4096


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """How much never-marking may be exceeded.

    share_per_mille  of what never marking would have cost, in thousandths (5 is 0.5 %)
    tokens           and once the price of this many plain input tokens, per tenant and model
    """

    share_per_mille: int = 5
    tokens: int = 500_000


class Ticket:
    """A premium in flight. `worst`: tokens times rates."""

    __slots__ = ("closed", "share_of_reads", "worst")

    def __init__(self, worst: int, *, own: bool) -> None:
        self.worst = worst
        self.share_of_reads = own
        self.closed = False


class Book:
    """The ledger of one tenant and model."""

    __slots__ = ("in_flight", "led", "never")

    def __init__(self) -> None:
        self.led = 0
        self.never = 0
        self.in_flight = 0

    def room(self, rates: Rates, allowance: Allowance, *, reading: bool = False) -> int:
        """The worst premium that may be taken now, in tokens times rates; negative where the ledger is overdrawn.

        Half of the allowance is kept for marks that only read what was paid for already (`reading`): they are how the ledger recovers.
        """
        budget = self.never * allowance.share_per_mille // 1000 + allowance.tokens * rates.fresh_input
        return (budget if reading else budget // 2) - self.led - self.in_flight

    def open(self, worst: int, *, own: bool = True) -> Ticket:
        """A request leaves with this worst premium. `own`: it has no marks but ours, so that what it reads was written by us."""
        self.in_flight += worst
        return Ticket(worst, own=own)

    def close(self, ticket: Ticket, usage: Usage, rates: Rates) -> NanoUSD:
        """Book what a request really cost above plain input; what was booked, in nano-USD (negative: saved). A second close books nothing."""
        if ticket.closed:
            return 0
        ticket.closed = True
        self.in_flight -= ticket.worst
        if not (usage.reported and usage.cache_reported):
            booked = ticket.worst
        else:
            booked = excess(usage, rates)
            self.never += usage.input_total * rates.fresh_input
            if not ticket.share_of_reads:  # the client's own marks are its own affair: neither their premiums nor their reads are ours
                booked = ticket.worst
        self.led += booked
        return booked // _MILLION

    @property
    def figures(self) -> tuple[NanoUSD, NanoUSD, NanoUSD]:
        """(cost above never marking, cost of never marking, premiums in flight) in nano-USD."""
        return self.led // _MILLION, self.never // _MILLION, self.in_flight // _MILLION


class Books:
    """The books of one process; the least recently used of too many is forgotten (and starts again with its allowance)."""

    __slots__ = ("_books", "_most")

    def __init__(self, most: int = _MOST_BOOKS) -> None:
        self._books: OrderedDict[tuple[str, str], Book] = OrderedDict()
        self._most = most

    def of(self, tenant: str, model: str) -> Book:
        """The book of a tenant and a model."""
        key = (tenant, model)
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = Book()
            if len(self._books) > self._most:
                self._books.popitem(last=False)
        else:
            self._books.move_to_end(key)
        return book


def excess(usage: Usage, rates: Rates) -> int:
    """What an answer's input cost above plain input, in tokens times rates; negative where the cache paid."""
    return (
        usage.cache_read * (rates.cache_read - rates.fresh_input)
        + usage.cache_write * (rates.cache_write - rates.fresh_input)
        + usage.cache_write_1h * (rates.cache_write_1h - rates.fresh_input)
    )


def worst_premium(stretches: Sequence[tuple[int, bool]], rates: Rates) -> int:
    """The premium of writing everything up to the last mark, nothing of it being there, in tokens times rates.

    stretches: tokens up to each mark, ascending, and whether it is long-lived
    """
    worst = 0
    before = 0
    for tokens, long in stretches:
        rate = rates.cache_write_1h if long else rates.cache_write
        worst += max(0, tokens - before) * max(0, rate - rates.fresh_input)
        before = max(before, tokens)
    return worst
