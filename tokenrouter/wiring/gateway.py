"""The services of one process, and what keeps them alive."""

import asyncio
import gc
import logging
from contextlib import suppress
from secrets import randbits

from tokenrouter.adapters.base import RecallingDialect
from tokenrouter.adapters.known import known_dialects, known_listers, known_wires
from tokenrouter.catalog.loader import Catalog, load_catalog
from tokenrouter.catalog.prices import Prices
from tokenrouter.clock import Clock, SystemClock, VirtualClock
from tokenrouter.errors import Unavailable
from tokenrouter.observe.capture import Capture
from tokenrouter.observe.metrics import Metrics, Table
from tokenrouter.observe.recorder import Recorder
from tokenrouter.prefixes.affinity import Shards
from tokenrouter.prefixes.memory import PromptMemory
from tokenrouter.quota.alerts import Alerts
from tokenrouter.quota.rules import Binder
from tokenrouter.quota.webhook import WebhookPost
from tokenrouter.recall.flights import Flights
from tokenrouter.recall.idempotency import IdempotencyKeys
from tokenrouter.recall.items import ItemMemory
from tokenrouter.recall.thoughts import ThoughtStore
from tokenrouter.sandbox import create_app as create_sandbox
from tokenrouter.serving.cold_starts import ColdStarts
from tokenrouter.serving.planning import Planner
from tokenrouter.serving.recognition import Recognition
from tokenrouter.serving.services import Memos, Services, Switches
from tokenrouter.settings import Settings
from tokenrouter.storage.admin_records import AdminRecords
from tokenrouter.upstream.asgi_transport import AsgiTransport
from tokenrouter.upstream.credentials import Credentials
from tokenrouter.upstream.discovery import Discovery
from tokenrouter.upstream.own_prices import OwnPrices
from tokenrouter.upstream.price_refresh import PriceRefresh
from tokenrouter.upstream.transport import AiohttpTransport, Timeouts
from tokenrouter.wiring.capture import capture_of
from tokenrouter.wiring.embedded import EmbeddedStores
from tokenrouter.wiring.prices import load_prices, price_refresh
from tokenrouter.wiring.stores import Stores, derived, gate_limits
from tokenrouter.wiring.virtual_time import check_virtual_time, machine_clock

log = logging.getLogger("tokenrouter")

_REFRESH_KEYS_S = 2.0
_DRAIN_S = 20.0


class Gateway:
    """The services of one process with what keeps them alive: stores to close, a task that looks for changed keys."""

    def __init__(self, settings: Settings, services: Services, stores: Stores, prices: PriceRefresh, alerts: Alerts, capture: Capture | None) -> None:
        self.settings, self.services, self.stores, self.alerts, self.capture = settings, services, stores, alerts, capture
        self.keys = stores.keys
        self.price_refresh = prices
        self.records = AdminRecords(stores.database, services.clock)
        self.own_prices = OwnPrices(services.prices, self.records)
        self.draining = False
        self._refresh = asyncio.create_task(self._refresh_keys())

    async def _refresh_keys(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_KEYS_S)
            try:
                await self.keys.refresh()
                await self.own_prices.refresh()
            except Unavailable:
                log.debug("keys and prices could not be read again; the ones known so far stay")
            except Exception:
                log.exception("keys and prices could not be read again; the ones known so far stay")

    @property
    def ready(self) -> bool:
        """Requests can be served, whatever is off."""
        return not self.draining and self.stores.ready

    @property
    def problems(self) -> list[str]:
        """What is off, in words; empty when all is well."""
        found = ["shutting down"] if self.draining else []
        return [*found, *(f"{name}: {what}" for name, what in self.stores.problems.items())]

    async def aclose(self) -> None:
        """Let calls under way end, then write what waits, then let go."""
        self.draining = True
        self._refresh.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self.services.flights.drain()
        if self.capture is not None:
            await asyncio.to_thread(self.capture.close)
        services = self.services
        await self.price_refresh.aclose()
        await services.gates.aclose()
        await services.budgets.aclose()
        await services.discovery.aclose()
        await services.credentials.aclose()
        await services.transport.aclose()
        await self.stores.aclose()
        await self.alerts.aclose()


async def build(settings: Settings, clock: Clock | None = None) -> Gateway:
    """Construct everything. Inside a running loop.

    Raises:
        ConfigError: the folder is in use or unusable, or a price override makes no sense.
    """
    clock = clock or (VirtualClock() if settings.virtual_time else SystemClock())
    outside = machine_clock(clock)
    catalog = load_catalog(settings)
    check_virtual_time(settings, catalog)
    gate_limits(settings).check(catalog.vendors)
    prices = Prices(load_prices(settings, catalog))
    alerts = Alerts(
        clock,
        post=WebhookPost(settings.alert_webhook_url) if settings.alert_webhook_url else None,
        secret=settings.alert_webhook_secret.reveal(),
    )
    stores = await open_stores(settings, clock, alerts)
    flights = Flights(clock, settings.dedup_ttl)
    timeouts = Timeouts(settings.upstream_connect_timeout_s, settings.upstream_first_byte_timeout_s, settings.upstream_idle_timeout_s)
    simulated = any(deployment.sandbox for row in catalog.deployments.values() for deployment in row)
    transport = AiohttpTransport(timeouts, settings.upstream_connections)
    sandbox_transport = AsgiTransport(create_sandbox(clock), timeouts) if simulated else None
    credentials = Credentials(outside)
    capture = capture_of(settings, catalog)
    metrics = _metrics(catalog, flights, stores, alerts, capture)
    discovery = Discovery(
        catalog,
        known_listers(),
        credentials,
        lambda deployment: sandbox_transport if deployment.sandbox and sandbox_transport is not None else transport,
        outside,
        metrics.know,
    )
    inbound = known_dialects(settings.default_model)
    prompts = PromptMemory(lambda name: catalog.model(*name.split("/", 1)).cache, shared=stores.lessons, keep_text=settings.prompt_cache_text)
    services = Services(
        clock=clock,
        switches=_switches(settings),
        catalog=catalog,
        prices=prices,
        inbound=inbound,
        outbound=known_wires(catalog.volatile),
        credentials=credentials,
        discovery=discovery,
        transport=transport,
        sandbox_transport=sandbox_transport,
        memos=Memos(randbits(62)),
        flights=flights,
        answers=stores.answers,
        idempotency=IdempotencyKeys(clock, settings.cache_ttl_seconds, shared=stores.firsts),
        thoughts=ThoughtStore(clock),
        prompts=prompts,
        cold_starts=ColdStarts(),
        pins=stores.pins,
        items=ItemMemory(clock, {name: dialect for name, dialect in inbound.items() if isinstance(dialect, RecallingDialect)}, shared=stores.items),
        owned=stores.owned,
        recognition=Recognition(randbits(62)),
        directory=stores.keys,
        binder=Binder(rate_limits=settings.rate_limit_enabled, default_rpm=settings.rate_limit_rpm),
        books=stores.books,
        gates=stores.gates,
        budgets=stores.budgets,
        planner=_planner(stores.secret),
        recorder=Recorder(metrics, stores.books.note),
    )
    _settle_memory()
    discovery.begin()
    refresh = price_refresh(settings, prices, outside)
    refresh.begin()
    stores.begin()
    alerts.begin()
    gateway = Gateway(settings, services, stores, refresh, alerts, capture)
    with suppress(Unavailable):  # they are read as soon as they can be
        await gateway.own_prices.refresh()
    return gateway


async def open_stores(settings: Settings, clock: Clock, alerts: Alerts) -> Stores:
    """The state of this deployment. Raises ConfigError."""
    if not settings.database_url:
        return EmbeddedStores(settings, clock, alerts.tell)
    from tokenrouter.wiring.shared import open_shared  # what it needs is there in the shared mode only

    return await open_shared(settings, clock, alerts.tell)


def _metrics(catalog: Catalog, flights: Flights, stores: Stores, alerts: Alerts, capture: Capture | None) -> Metrics:
    gauges = {"tokenrouter_calls_under_way": ("Upstream calls under way.", lambda: float(flights.under_way)), **stores.gauges()}
    tables = {
        "tokenrouter_cap_alerts": Table("counter", "Shares of caps that were reached.", ("scope", "share"), alerts.counts),
        "tokenrouter_alert_deliveries": Table("counter", "Messages to the webhook, by what became of them.", ("outcome",), alerts.outcomes),
        "tokenrouter_budget_used": Table("gauge", "Of the deployment's monthly budgets, in USD and tokens.", ("unit",), stores.budgets.used),
        "tokenrouter_gate_places": Table("gauge", "Requests and calls behind each gate.", ("gate",), stores.gates.under_way),
    }
    if capture is not None:
        tables["tokenrouter_capture_lines"] = Table("counter", "Lines of RECORD_FILE, by what became of them.", ("outcome",), capture.outcomes)
    return Metrics(catalog.listed(), gauges, tables)


def _switches(settings: Settings) -> Switches:
    return Switches(
        edits=settings.edits,
        dedup_mode=settings.dedup_mode if settings.dedup_enabled else "off",
        cache_mode=settings.cache_mode if settings.cache_max_mb and settings.cache_ttl_seconds else "off",
        cache_ttl_s=settings.cache_ttl_seconds,
        prompt_cache_mode=settings.prompt_cache_mode,
    )


def _planner(secret: bytes) -> Planner:
    return Planner(
        prefix_seed=int.from_bytes(derived(secret, "prefix identity")[:8], "big"),
        affinity_secret=derived(secret, "affinity"),
        shards=Shards(),
    )


def _settle_memory() -> None:
    """What was built at start stays (the price table alone is 10^5 objects): the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
