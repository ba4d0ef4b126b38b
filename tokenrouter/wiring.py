"""The only place that constructs. `build` makes the services of one process from its settings; `Gateway.aclose` ends them in order."""

import asyncio
import gc
import hashlib
import logging
import os
from contextlib import suppress
from secrets import randbits

from tokenrouter.adapters.base import RecallingDialect
from tokenrouter.adapters.known import known_dialects, known_listers, known_wires
from tokenrouter.catalog.loader import Catalog, load_catalog
from tokenrouter.catalog.price_corrections import load_corrections
from tokenrouter.catalog.prices import Layers, PriceBook, PriceOverride, Prices, parse_override
from tokenrouter.clock import Clock, SystemClock
from tokenrouter.errors import ConfigError, InvalidRequest
from tokenrouter.observe.metrics import Metrics
from tokenrouter.observe.recorder import Recorder
from tokenrouter.prefixes.policy import FixedPolicy
from tokenrouter.quota.budgets import Budgets
from tokenrouter.quota.embedded_books import EmbeddedBooks
from tokenrouter.quota.gates import GateLimits, Gates
from tokenrouter.quota.process_counters import ProcessCounters
from tokenrouter.quota.rules import Binder
from tokenrouter.recall.flights import Flights
from tokenrouter.recall.idempotency import IdempotencyKeys
from tokenrouter.recall.items import ItemMemory
from tokenrouter.recall.thoughts import ThoughtStore
from tokenrouter.sandbox import create_app as create_sandbox
from tokenrouter.serving.planning import Planner
from tokenrouter.serving.recognition import Recognition
from tokenrouter.serving.services import Memos, Services, Switches
from tokenrouter.settings import Settings
from tokenrouter.storage.database import Database
from tokenrouter.storage.deployment import shared_secret
from tokenrouter.storage.directory import Directory
from tokenrouter.storage.embedded import EmbeddedLedger, lock_folder, open_folder
from tokenrouter.storage.embedded_answers import EmbeddedAnswers
from tokenrouter.storage.embedded_owned import EmbeddedOwned
from tokenrouter.storage.keyring import KeyRing
from tokenrouter.storage.price_file import PriceFile
from tokenrouter.storage.sqlite_database import SqliteDatabase
from tokenrouter.upstream.asgi_transport import AsgiTransport
from tokenrouter.upstream.credentials import Credentials
from tokenrouter.upstream.discovery import Discovery
from tokenrouter.upstream.price_refresh import PriceRefresh, kept_table
from tokenrouter.upstream.transport import AiohttpTransport, Timeouts

log = logging.getLogger("tokenrouter")

_REFRESH_KEYS_S = 2.0
_DRAIN_S = 20.0


class Gateway:
    """The services of one process with what keeps them alive: stores to close, a task that looks for changed keys."""

    def __init__(
        self,
        settings: Settings,
        services: Services,
        keys: Directory,
        ledger: EmbeddedLedger,
        answers: EmbeddedAnswers,
        owned: EmbeddedOwned,
        refresh: PriceRefresh,
        lock: int,
    ) -> None:
        self.settings, self.services, self.keys, self.ledger = settings, services, keys, ledger
        self._answers, self._owned, self.price_refresh, self._lock = answers, owned, refresh, lock
        self.draining = False
        self._refresh = asyncio.create_task(self._refresh_keys())

    async def _refresh_keys(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_KEYS_S)
            try:
                await self.keys.refresh()
            except Exception:
                log.exception("the keys could not be read again; the ones known so far stay")

    @property
    def problems(self) -> list[str]:
        """What keeps the gateway from doing its work, in words; empty when it is ready."""
        found = ["shutting down"] if self.draining else []
        writers = (("ledger", self.ledger.writer), ("answers", self._answers.writer), ("owned", self._owned.writer))
        for name, writer in writers:
            if writer.failing:
                found.append(f"{name}: {writer.failing}")
        return found

    async def aclose(self) -> None:
        """Let calls under way end, then write what waits, then let go."""
        self.draining = True
        self._refresh.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self.services.flights.drain()
        await self.price_refresh.aclose()
        await self.services.discovery.aclose()
        await self.services.credentials.aclose()
        await self.services.transport.aclose()
        await asyncio.to_thread(self._answers.close)
        self._owned.close()
        self.ledger.close()
        await self.keys.aclose()
        os.close(self._lock)


async def build(settings: Settings, clock: Clock | None = None) -> Gateway:
    """Construct everything. Inside a running loop.

    Raises:
        ConfigError: the folder is in use or unusable, or a price override makes no sense.
    """
    clock = clock or SystemClock()
    if settings.database_url:
        raise ConfigError("DATABASE_URL and REDIS_URL: the gateway does not serve from shared stores yet")
    catalog = load_catalog(settings)
    prices = Prices(load_prices(settings, catalog))
    secret = open_folder(settings.data_dir)
    lock = lock_folder(settings.data_dir)
    keys = await open_directory(settings, clock)
    ledger = _open_ledger(settings)
    answers = EmbeddedAnswers(settings.data_dir, clock, settings.cache_max_mb << 20)
    owned = EmbeddedOwned(settings.data_dir, clock)
    flights = Flights(clock, settings.dedup_ttl)
    timeouts = Timeouts(settings.upstream_connect_timeout_s, settings.upstream_first_byte_timeout_s, settings.upstream_idle_timeout_s)
    simulated = any(deployment.sandbox for row in catalog.deployments.values() for deployment in row)
    transport = AiohttpTransport(timeouts, settings.upstream_connections)
    sandbox_transport = AsgiTransport(create_sandbox(clock), timeouts) if simulated else None
    credentials = Credentials(clock)
    metrics = _metrics(catalog, flights, ledger)
    discovery = Discovery(
        catalog,
        known_listers(),
        credentials,
        lambda deployment: sandbox_transport if deployment.sandbox and sandbox_transport is not None else transport,
        clock,
        metrics.know,
    )
    inbound = known_dialects(settings.default_model)
    books = EmbeddedBooks(ProcessCounters(clock, seed=ledger.seed, answers=answers.get), ledger)
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
        answers=answers,
        idempotency=IdempotencyKeys(clock, settings.cache_ttl_seconds),
        thoughts=ThoughtStore(clock),
        items=ItemMemory(clock, {name: dialect for name, dialect in inbound.items() if isinstance(dialect, RecallingDialect)}),
        owned=owned,
        recognition=Recognition(randbits(62)),
        directory=keys,
        binder=Binder(rate_limits=settings.rate_limit_enabled, default_rpm=settings.rate_limit_rpm),
        books=books,
        gates=Gates(GateLimits()),
        budgets=Budgets(clock),
        planner=_planner(secret),
        recorder=Recorder(metrics, books.note),
    )
    _settle_memory()
    discovery.begin()
    refresh = price_refresh(settings, prices, clock)
    refresh.begin()
    return Gateway(settings, services, keys, ledger, answers, owned, refresh, lock)


def open_database(settings: Settings, clock: Clock, *files: str) -> Database:
    """The database of this deployment, with the statements of these files in `sql/`. Raises ConfigError."""
    if not settings.database_url:
        open_folder(settings.data_dir)
        return SqliteDatabase(settings.data_dir / "state.db", *files)
    try:
        from tokenrouter.storage.postgres import Postgres  # what it needs is there in the shared mode only
    except ImportError as error:
        raise ConfigError(f"DATABASE_URL is set, which needs more packages ({error}): pip install 'tokenrouter-gateway[shared]'") from error
    return Postgres(
        settings.database_url.reveal(),
        *files,
        clock=clock,
        most=settings.db_max_open_conns,
        idle=settings.db_max_idle_conns,
        lifetime_s=settings.db_conn_max_lifetime,
    )


async def open_directory(settings: Settings, clock: Clock) -> Directory:
    """Who is who. Over the embedded database nothing in it ever suspends.

    Raises:
        ConfigError: a folder or an address can not be used, or the shared database is away and has never been asked from this folder.
    """
    database = open_database(settings, clock, "directory_queries.sql")
    shared = bool(settings.database_url)
    try:
        secret = await shared_secret(database, settings.data_dir) if shared else open_folder(settings.data_dir)
    except ConfigError:
        await database.aclose()
        raise
    directory = Directory(database, KeyRing(derived(secret, "api keys"), old_ids=not shared), clock, ttl_s=settings.auth_cache_ttl)
    await directory.refresh()
    return directory


def _open_ledger(settings: Settings) -> EmbeddedLedger:
    ledger = EmbeddedLedger(settings.data_dir)
    if ledger.recovered:
        log.warning(
            "the last process died; %d calls of its journal were booked: settled ones as settled, open ones at what they could have cost",
            ledger.recovered,
        )
    return ledger


def _metrics(catalog: Catalog, flights: Flights, ledger: EmbeddedLedger) -> Metrics:
    gauges = {
        "tokenrouter_calls_under_way": ("Upstream calls under way.", lambda: float(flights.under_way)),
        "tokenrouter_ledger_backlog_rows": ("Ledger rows that wait for the disk.", lambda: float(ledger.writer.backlog)),
    }
    return Metrics(catalog.listed(), gauges)


def _switches(settings: Settings) -> Switches:
    return Switches(
        edits=settings.edits,
        dedup_mode=settings.dedup_mode if settings.dedup_enabled else "off",
        cache_mode=settings.cache_mode if settings.cache_max_mb and settings.cache_ttl_seconds else "off",
        cache_ttl_s=settings.cache_ttl_seconds,
    )


def _planner(secret: bytes) -> Planner:
    return Planner(
        policy=FixedPolicy(),
        prefix_seed=int.from_bytes(derived(secret, "prefix identity")[:8], "big"),
        affinity_secret=derived(secret, "affinity"),
    )


def _settle_memory() -> None:
    """What was built at start stays (the price table alone is 10^5 objects): the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def price_refresh(settings: Settings, prices: Prices, clock: Clock) -> PriceRefresh:
    """What fetches prices anew. It does nothing where no address is set."""
    return PriceRefresh(
        prices,
        PriceFile(settings.data_dir),
        clock,
        url=settings.prices_refresh_url,
        vendor=settings.prices_refresh_vendor,
        interval_s=settings.prices_refresh_interval,
    )


def load_prices(settings: Settings, catalog: Catalog) -> PriceBook:
    """The price book: the operator's own prices, the list that was fetched last, our corrections, the installed data.

    Raises ConfigError naming the table.
    """
    overrides: dict[str, PriceOverride] = {}
    for key, table in settings.prices.items():
        try:
            overrides[key] = parse_override(table)
        except InvalidRequest as error:
            raise ConfigError(f'[prices."{key}"]: {error.message}') from error
    sources = {vendor: catalog.price_source(vendor) for vendor in catalog.vendors}
    layers = Layers(
        file=overrides,
        table=kept_table(PriceFile(settings.data_dir), settings.prices_refresh_url),
        corrections=load_corrections(),
        provider_ids={vendor: source for vendor, source in sources.items() if source not in ("", "free")},
        free=frozenset(vendor for vendor, source in sources.items() if source == "free"),
    )
    return PriceBook.made_of(layers)


def unpriced(settings: Settings) -> list[str]:
    """Listed models without a price, as `vendor/model`: they will be refused. Raises ConfigError."""
    catalog = load_catalog(settings)
    return [f"{vendor}/{model}" for vendor, model in load_prices(settings, catalog).unpriced(catalog.listed())]


def derived(secret: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, so that none tells about another."""
    return hashlib.blake2b(purpose.encode(), key=secret, digest_size=32).digest()
