"""The books: one interface over everything that is counted and written down. Two implementations: in one process, and shared.

Every rule is kept all or nothing: a refusal has taken nothing anywhere. A hold is settled once, with the truth; one that nobody settles
in time is presumed spent, never given back, and the truth still replaces the presumption when it comes late.
"""

from typing import Protocol

from tokenrouter.model.admission import Admitted, Ask, Bound, CapState, Hold, Look, Ticket
from tokenrouter.model.admission import Refused as Refused
from tokenrouter.model.record import RequestRecord


class Counters(Protocol):
    """Limits, leases and caps: what is asked for every request. Times are those of the place that counts."""

    async def admit(self, bound: Bound, ask: Ask) -> Admitted:
        """Give everything that is asked for, or nothing. Raises Refused, Unavailable.

        Order of refusals: requests, concurrency, tokens, caps. An answer that is found is given even where the rest is spent.
        """
        ...

    def leave(self, ticket: Ticket) -> None:
        """Give a caller's places back. Again, or after they expired: nothing happens."""
        ...

    def settle(self, hold: Hold, usd: int, tokens: int, *, presumed: bool = False) -> None:
        """Replace a hold by the truth, once. `presumed`: nobody knows the truth, all of it may have been spent.

        More than was held is booked all the same. Tokens not used go back to the limits they came from.
        """
        ...

    def grow(self, hold: Hold, usd: int, tokens: int) -> None:
        """A call under way has come to more than is held: hold that. Never refused; the next one to ask will see it."""
        ...

    async def cap_state(self, tenant: str, counter: str) -> CapState:
        """One cap's counter (its name with the period), for people. Raises Unavailable."""
        ...

    async def look(self, bound: Bound, *, sandbox: bool) -> Look:
        """Where everything that binds a caller stands. Nothing is taken. Raises Unavailable."""
        ...


class Books(Protocol):
    """Counters and ledger together, as the request path sees them.

    The ledger is append-only. An intent without a settlement means: the worst case is presumed spent.
    """

    async def admit(self, bound: Bound, ask: Ask) -> Admitted:
        """See `Counters`. Where the books are shared, the hold's intent is in the ledger's stream when this returns."""
        ...

    def leave(self, ticket: Ticket) -> None:
        """See `Counters`."""
        ...

    def grow(self, hold: Hold, usd: int, tokens: int) -> None:
        """See `Counters`."""
        ...

    async def cap_state(self, tenant: str, counter: str) -> CapState:
        """See `Counters`."""
        ...

    async def look(self, bound: Bound, *, sandbox: bool) -> Look:
        """See `Counters`."""
        ...

    def release(self, hold: Hold) -> None:
        """No call is made after all: everything goes back, and the ledger keeps nothing of it."""
        ...

    def intend(self, hold: Hold, record: RequestRecord) -> None:
        """The last moment before the provider hears of it. Survives the process from here on. Raises Unavailable: nothing may be sent."""
        ...

    def settle(self, hold: Hold, record: RequestRecord) -> None:
        """Write down what became of a call, and settle its hold: `record.cost`, and the tokens of `record.usage`. Once."""
        ...

    def note(self, record: RequestRecord) -> None:
        """Write down a request that cost nothing. May be lost with the machine's power."""
        ...

    async def find(self, request_id: str, tenant: str) -> RequestRecord | None:
        """One request of a tenant."""
        ...
