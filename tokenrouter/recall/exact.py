"""Answers that were given before, found by answer identity inside one tenant."""

from typing import Protocol

from tokenrouter.model.kept import KeptAnswer


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
