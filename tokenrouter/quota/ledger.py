"""The ledger's interface: what is written down before money can flow, and after it did."""

from typing import Protocol

from tokenrouter.model.record import RequestRecord
from tokenrouter.money import NanoUSD


class Ledger(Protocol):
    """Append-only. An intent without a settlement means: the worst case is presumed spent."""

    def intend(self, record: RequestRecord, held: NanoUSD) -> None:
        """Write down that up to `held` may be spent; survives the process from here on. Raises Unavailable."""
        ...

    def settle(self, record: RequestRecord) -> None:
        """Write down what became of it; survives a power failure a few milliseconds later."""
        ...

    def note(self, record: RequestRecord) -> None:
        """Write down a request that cost nothing. May be lost with the machine's power."""
        ...

    async def find(self, request_id: str, tenant: str) -> RequestRecord | None:
        """One request of a tenant."""
        ...
