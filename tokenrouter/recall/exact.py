"""Answers that were given before, found by answer identity inside one tenant."""

from typing import Protocol

from tokenrouter.model.kept import KeptAnswer, KeptTotals


class AnswerStore(Protocol):
    """Where answers are kept. Keys are (tenant, answer identity): the tenant is never only hashed in."""

    def get(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """What is at hand without waiting."""
        ...

    async def fetch(self, tenant: str, identity: bytes) -> KeptAnswer | None:
        """What takes a moment to get: asked after `get` found nothing."""
        ...

    def put(self, tenant: str, identity: bytes, answer: KeptAnswer) -> None:
        """Keep one; an earlier one is replaced."""
        ...

    async def totals(self, tenant: str = "") -> KeptTotals:
        """What is kept, of one tenant or of all. For people: may take a while. Raises Unavailable."""
        ...

    async def purge(self, tenant: str, *, vendor: str = "", model: str = "", key_id: str = "") -> int:
        """Forget a tenant's answers, those of one model or of one key only if named. How many. Raises Unavailable.

        Nobody is given one of them once this returns, unless a call that was under way has kept it again.
        """
        ...
