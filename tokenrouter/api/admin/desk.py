"""What the admin API works with: the services of a running gateway, or the stores alone where the command line opens them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Protocol, cast

import msgspec
from fastapi import Depends, Request

from tokenrouter.catalog.loader import Catalog
from tokenrouter.catalog.prices import Prices
from tokenrouter.clock import Clock
from tokenrouter.errors import InvalidRequest, NotFound, Unavailable
from tokenrouter.model.admission import Bound, Look
from tokenrouter.model.directory import StoredKey, Tenant
from tokenrouter.model.shares import BudgetLook
from tokenrouter.quota.rules import Binder
from tokenrouter.recall.exact import AnswerStore
from tokenrouter.storage.admin_records import AdminRecords
from tokenrouter.storage.database import Database
from tokenrouter.storage.directory import Directory
from tokenrouter.upstream.own_prices import OwnPrices


class Looks(Protocol):
    """Counters, as far as they can be looked at."""

    async def look(self, bound: Bound, *, sandbox: bool) -> Look:
        """See `quota.books.Counters`."""
        ...


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How this process does.

    mode      embedded or shared; `stores alone` where no gateway runs behind the admin API
    off       what does not work at the moment, in words
    stores    why each does not do its work; "" where it does
    waiting   what waits in each of the stores' queues, and the number of workers, by the metric's name
    flights   calls to providers under way
    gates     requests behind each gate; `queued`: requests that wait before one
    budgets   of the whole deployment, in this month
    rebuilding  tenants whose counters are made again from the ledger
    """

    mode: str
    draining: bool = False
    off: tuple[str, ...] = ()
    stores: dict[str, str] = {}
    waiting: dict[str, int] = {}
    flights: int = 0
    gates: dict[str, int] = {}
    queued: int = 0
    budgets: tuple[BudgetLook, ...] = ()
    rebuilding: tuple[str, ...] = ()


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """The collaborators of the admin API.

    ledger   knows the statements of `ledger_queries.sql`
    written  awaited before the ledger is looked at: what this process still has to write is written
    binder   its own, so that looking at rules leaves what the request path remembers alone
    answers  None where no gateway runs: there are no kept answers at hand then
    slots    texts of a tenant's prompts that differ from request to request, as far as this process has seen, the dearest first
    break_details  what this process remembers of a broken prefix, by its request's id; None: nothing
    """

    clock: Clock
    directory: Directory
    records: AdminRecords
    books: Looks
    binder: Binder
    catalog: Catalog
    prices: Prices
    own_prices: OwnPrices
    ledger: Database
    written: Callable[[], Awaitable[None]]
    answers: AnswerStore | None
    health: Callable[[], Health]
    slots: Callable[[str], Sequence[dict[str, object]]] = lambda _: ()
    break_details: Callable[[str], dict[str, object] | None] = lambda _: None


async def _desk(request: Request) -> Desk:
    found = cast("Callable[[], Desk | None]", request.app.state.desk)()
    if found is None:
        raise Unavailable("starting")
    return found


async def _actor(request: Request) -> str:
    return str(request.scope["state"]["actor"])


TheDesk = Annotated[Desk, Depends(_desk)]
Actor = Annotated[str, Depends(_actor)]
"""Who changes something, for the audit."""


def nothing_like(what: str, name: str) -> NotFound:
    """The refusal for what is not there, or not here: the same words for both."""
    return NotFound(f"there is no {what} {name[:64]!r} here")


async def known_tenant(desk: Desk, name: str) -> Tenant:
    """A tenant. Raises NotFound."""
    found = await desk.directory.tenant(name)
    if found is None:
        raise nothing_like("tenant", name)
    return found


async def known_key(desk: Desk, key_id: str) -> StoredKey:
    """A key with everything that binds it. Raises NotFound."""
    found = await desk.directory.get(key_id)
    if found is None:
        raise nothing_like("key", key_id)
    return found


async def key_of(desk: Desk, tenant: str, key_id: str, param: str) -> StoredKey:
    """A key that is named in a request about a tenant. Raises InvalidRequest, in the same words if it is another tenant's."""
    found = await desk.directory.get(key_id)
    if found is None or found.principal.tenant != tenant:
        raise InvalidRequest(f"{param}: the tenant {tenant!r} has no key {key_id[:64]!r}", param=param)
    return found
