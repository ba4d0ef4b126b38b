"""Everything that a request works with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from tokenrouter.adapters.base import Dialect, OutboundAdapter
from tokenrouter.catalog.loader import Catalog
from tokenrouter.catalog.prices import Prices
from tokenrouter.clock import Clock
from tokenrouter.model.edits import DEFAULT_EDITS
from tokenrouter.observe.recorder import Recorder
from tokenrouter.pipeline.canonicalizer import Memo
from tokenrouter.prefixes.memory import PromptMemory
from tokenrouter.prefixes.pins import Pins
from tokenrouter.quota.books import Books
from tokenrouter.quota.budgets import Budgets
from tokenrouter.quota.gates import Gates
from tokenrouter.quota.rules import Binder
from tokenrouter.recall.exact import AnswerStore
from tokenrouter.recall.flights import Flights
from tokenrouter.recall.idempotency import IdempotencyKeys
from tokenrouter.recall.items import ItemMemory
from tokenrouter.recall.ownership import Ownership
from tokenrouter.recall.thoughts import ThoughtStore
from tokenrouter.serving.planning import Planner
from tokenrouter.storage.directory import Directory
from tokenrouter.upstream.credentials import Credentials
from tokenrouter.upstream.discovery import Discovery
from tokenrouter.upstream.transport import Transport

if TYPE_CHECKING:
    from tokenrouter.serving.cold_starts import ColdStarts
    from tokenrouter.serving.recognition import Recognition


class Switches(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say about sharing, keeping and editing.

    prompt_cache_mode  who decides where prompts are marked, for tenants that do not say
    keep_alive_s  silence on a translated stream after which its client hears a sign of life
    """

    edits: frozenset[str] = DEFAULT_EDITS
    dedup_mode: Literal["auto", "all", "off"] = "auto"
    cache_mode: Literal["auto", "all", "off"] = "auto"
    cache_ttl_s: int = 3600
    prompt_cache_mode: Literal["off", "observe", "on"] = "on"
    keep_alive_s: float = 15.0


class Memos:
    """One bounded memo per tenant, for a bounded number of tenants."""

    def __init__(self, seed: int, *, tenants: int = 256) -> None:
        self._seed, self._tenants = seed, tenants
        self._by_tenant: dict[str, Memo] = {}

    def of(self, tenant: str) -> Memo:
        """The memo of one tenant."""
        memo = self._by_tenant.get(tenant)
        if memo is None:
            if len(self._by_tenant) >= self._tenants:
                del self._by_tenant[next(iter(self._by_tenant))]
            memo = self._by_tenant[tenant] = Memo(self._seed)
        return memo


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The collaborators of one process. Made in one place (`wiring.build`), passed in, never looked up.

    sandbox_transport  reaches the simulated providers; None where none answer
    """

    clock: Clock
    switches: Switches
    catalog: Catalog
    prices: Prices
    inbound: Mapping[str, Dialect]
    outbound: Mapping[str, OutboundAdapter]
    transport: Transport
    credentials: Credentials
    discovery: Discovery
    sandbox_transport: Transport | None
    memos: Memos
    flights: Flights
    answers: AnswerStore
    idempotency: IdempotencyKeys
    thoughts: ThoughtStore
    prompts: PromptMemory
    cold_starts: "ColdStarts"
    pins: Pins
    items: ItemMemory
    owned: Ownership
    recognition: "Recognition"
    directory: Directory
    binder: Binder
    books: Books
    gates: Gates
    budgets: Budgets
    planner: Planner
    recorder: Recorder
