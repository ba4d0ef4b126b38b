"""All caps of a tenant, as they are stored: for whoever counts again from the ledger."""

from collections.abc import Awaitable, Callable
from typing import Final

from tokenrouter.model.rules import Cap
from tokenrouter.storage.register import Register

CapsOf = Callable[[str], Awaitable[tuple[list[Cap], str]]]
"""A tenant's caps, its keys' quotas among them, and its time zone. Raises Unavailable."""

_PAGE: Final = 500


def caps_from(register: Register) -> CapsOf:
    """A tenant's caps as a directory has them."""

    async def caps_of(tenant: str) -> tuple[list[Cap], str]:
        found: list[Cap] = []
        page = await register.rules(tenant, most=_PAGE)
        while page:
            found += [rule for rule in page if isinstance(rule, Cap)]
            page = await register.rules(tenant, page[-1].id, most=_PAGE)
        for key in await register.all(tenant):
            found += key.principal.rules.caps
        known = await register.tenant(tenant)
        return found, "UTC" if known is None else known.zone

    return caps_of
