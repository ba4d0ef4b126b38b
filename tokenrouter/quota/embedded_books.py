"""The books of one process: counters in memory, the ledger in the journal and SQLite beside it."""

from tokenrouter.model.admission import Admitted, Ask, Bound, CapState, Hold, Look, Ticket
from tokenrouter.model.record import RequestRecord
from tokenrouter.quota.process_counters import ProcessCounters
from tokenrouter.storage.embedded import EmbeddedLedger


class EmbeddedBooks:
    """`Books` of one process."""

    def __init__(self, counters: ProcessCounters, ledger: EmbeddedLedger) -> None:
        self.counters, self.ledger = counters, ledger

    async def admit(self, bound: Bound, ask: Ask) -> Admitted:
        """See `Counters`."""
        return await self.counters.admit(bound, ask)

    def leave(self, ticket: Ticket) -> None:
        """See `Counters`."""
        self.counters.leave(ticket)

    def grow(self, hold: Hold, usd: int, tokens: int) -> None:
        """See `Counters`."""
        self.counters.grow(hold, usd, tokens)

    async def cap_state(self, tenant: str, counter: str) -> CapState:
        """See `Counters`."""
        return await self.counters.cap_state(tenant, counter)

    async def look(self, bound: Bound, *, sandbox: bool) -> Look:
        """See `Counters`."""
        return await self.counters.look(bound, sandbox=sandbox)

    def touch(self, bound: Bound, *, sandbox: bool = False) -> tuple[str, ...]:
        """See `ProcessCounters`."""
        return self.counters.touch(bound, sandbox=sandbox)

    def release(self, hold: Hold) -> None:
        """See `Books`."""
        self.counters.settle(hold, 0, 0)

    def intend(self, hold: Hold, record: RequestRecord) -> None:
        """See `Books`."""
        self.ledger.intend(record, hold.usd, hold.tokens)

    def settle(self, hold: Hold, record: RequestRecord) -> None:
        """See `Books`."""
        if hold.settled:
            return
        self.counters.settle(hold, record.cost, record.tokens, presumed=record.settled == "presumed")
        self.ledger.settle(record)

    def note(self, record: RequestRecord) -> None:
        """See `Books`."""
        self.ledger.note(record)

    async def find(self, request_id: str, tenant: str) -> RequestRecord | None:
        """See `Books`."""
        return await self.ledger.find(request_id, tenant)
