"""Where a deployment keeps its state: in one folder (`embedded`), or in Redis and Postgres (`shared`). What both have in common."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

from tokenrouter.clock import Clock
from tokenrouter.errors import ConfigError
from tokenrouter.prefixes.memory import SharedLessons
from tokenrouter.prefixes.pins import Pins
from tokenrouter.quota.books import Books
from tokenrouter.quota.budgets import Budgets
from tokenrouter.quota.gates import GateLimits, Gates
from tokenrouter.recall.exact import AnswerStore
from tokenrouter.recall.idempotency import SharedFirsts
from tokenrouter.recall.items import SharedItems
from tokenrouter.recall.ownership import Ownership
from tokenrouter.settings import Settings
from tokenrouter.storage.database import Database
from tokenrouter.storage.deployment import shared_secret
from tokenrouter.storage.directory import Directory
from tokenrouter.storage.embedded import open_folder
from tokenrouter.storage.keyring import KeyRing
from tokenrouter.storage.sqlite_database import SqliteDatabase

Gauge = tuple[str, Callable[[], float]]
"""Help, and what reads it now."""


class Stores(Protocol):
    """The state of a deployment as one process reaches it.

    secret    of the deployment
    keys      who is who
    database  named statements of everything but answers
    """

    secret: bytes
    keys: Directory
    gates: Gates
    budgets: Budgets

    @property
    def database(self) -> Database:
        """See above."""
        ...

    @property
    def books(self) -> Books:
        """What is counted, and the ledger."""
        ...

    @property
    def answers(self) -> AnswerStore:
        """Kept answers."""
        ...

    @property
    def owned(self) -> Ownership:
        """Who created what providers keep."""
        ...

    @property
    def pins(self) -> Pins:
        """Forms of conversations whose reasoning is bound to the prompt."""
        ...

    @property
    def items(self) -> SharedItems | None:
        """Where items of translated answers are kept for other workers; None: there are no others."""
        ...

    @property
    def firsts(self) -> SharedFirsts | None:
        """Where idempotency keys are kept for other workers; None: there are no others."""
        ...

    @property
    def lessons(self) -> SharedLessons | None:
        """How other workers are told what is learned about prompts; None: there are no others."""
        ...

    @property
    def states(self) -> dict[str, str]:
        """Why each store does not do its work, by its name; "" where it does."""
        ...

    @property
    def problems(self) -> dict[str, str]:
        """What is off, by the store's name; empty when all is well."""
        ...

    @property
    def rebuilding(self) -> tuple[str, ...]:
        """Tenants whose counters are made again at the moment, as far as this process knows."""
        ...

    @property
    def ready(self) -> bool:
        """Requests can be served, whatever is off."""
        ...

    def gauges(self) -> Mapping[str, Gauge]:
        """What waits where, for metrics."""
        ...

    async def written(self) -> None:
        """Before people look at the ledger: let this process write what waits, for a moment at most."""
        ...

    def begin(self) -> None:
        """What has to run beside the requests runs from here on."""
        ...

    async def aclose(self) -> None:
        """Write what waits, then let go. No call is under way any more."""
        ...


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
        timeout_s=settings.db_timeout_ms / 1000,
    )


async def open_directory(settings: Settings, clock: Clock) -> Directory:
    """Who is who. Over the embedded database nothing in it ever suspends.

    Raises:
        ConfigError: a folder or an address can not be used, or the shared database is away and has never been asked from this folder.
    """
    database = open_database(settings, clock, "directory_queries.sql", "ledger_queries.sql")
    shared = bool(settings.database_url)
    try:
        secret = await shared_secret(database, settings.data_dir) if shared else open_folder(settings.data_dir)
    except ConfigError:
        await database.aclose()
        raise
    directory = Directory(database, KeyRing(derived(secret, "api keys"), old_ids=not shared), clock, ttl_s=settings.auth_cache_ttl)
    await directory.refresh()
    return directory


def gate_limits(settings: Settings) -> GateLimits:
    """The gates' limits."""
    return GateLimits(
        total=settings.global_concurrent_limit,
        streams=settings.stream_concurrent_limit,
        wholes=settings.non_stream_concurrent_limit,
        providers=settings.provider_concurrent_limit,
    )


def derived(secret: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, so that none tells about another."""
    return hashlib.blake2b(purpose.encode(), key=secret, digest_size=32).digest()
