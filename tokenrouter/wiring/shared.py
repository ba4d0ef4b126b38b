"""The state of many processes: Redis (or Valkey) and Postgres. Imported only where both are configured."""

import logging
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial

from tokenrouter.clock import Clock
from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.model.admission import Crossing
from tokenrouter.model.period import Span
from tokenrouter.quota.budgets import Budgets
from tokenrouter.quota.fleet import Fleet
from tokenrouter.quota.gates import Gates
from tokenrouter.quota.shared_books import SharedBooks
from tokenrouter.quota.spool import Spool
from tokenrouter.settings import Settings
from tokenrouter.storage.carrier import Carrier
from tokenrouter.storage.deployment import shared_secret
from tokenrouter.storage.directory import Directory
from tokenrouter.storage.keyring import KeyRing
from tokenrouter.storage.orphans import Orphans
from tokenrouter.storage.postgres import Postgres
from tokenrouter.storage.postgres_ledger import FILES, PostgresLedger
from tokenrouter.storage.rebuild import Rebuilder
from tokenrouter.storage.redis_answers import FILES as ANSWER_FILES
from tokenrouter.storage.redis_answers import SharedAnswers
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_counters import RedisCounters
from tokenrouter.storage.redis_lessons import RedisLessons
from tokenrouter.storage.redis_mirror import RedisMirror
from tokenrouter.storage.redis_rebuild import RedisRebuilds
from tokenrouter.storage.redis_recall import RedisFirsts, RedisItems
from tokenrouter.storage.redis_shares import RedisShares
from tokenrouter.storage.shared_owned import FILES as OWNED_FILES
from tokenrouter.storage.shared_owned import SharedOwned
from tokenrouter.storage.shared_pins import FILES as PIN_FILES
from tokenrouter.storage.shared_pins import SharedPins
from tokenrouter.storage.sums import all_spent
from tokenrouter.storage.tenant_caps import caps_from
from tokenrouter.wiring.housekeeping import Housekeeping, retire_rows
from tokenrouter.wiring.stores import Gauge, derived, gate_limits

log = logging.getLogger("tokenrouter")

STATEMENTS = ("directory_queries.sql", *FILES, *ANSWER_FILES, *OWNED_FILES, *PIN_FILES)
_DRAIN_S = 10.0
_CONNECTS = 3
_ORPHANS_S = 30.0
_MS = 1_000_000


class SharedStores:
    """`Stores` of one of several processes."""

    def __init__(
        self, settings: Settings, clock: Clock, secret: bytes, database: Postgres, redis: RedisClient, crossed: Callable[[Crossing], None]
    ) -> None:
        """Over connections that were made already. `crossed`: told when a cap's share is reached."""
        self.secret, self.database, self._redis = secret, database, redis
        self._worker = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
        ring = KeyRing(derived(secret, "api keys"), old_ids=False)
        self.keys = Directory(database, ring, clock, ttl_s=settings.auth_cache_ttl, mirror=RedisMirror(redis))
        self._ledger = PostgresLedger(database, clock)
        self._carrier = Carrier(redis, self._ledger, clock, worker=self._worker)
        self._spool = Spool(self._ledger, timeout_s=settings.db_timeout_ms / 1000)
        self._rebuilder = Rebuilder(RedisRebuilds(redis), self._carrier, self._ledger, database, caps_from(self.keys), clock)
        self._counters = RedisCounters(redis, crossed=crossed, needs_rebuild=self._begin_rebuild)
        self._shares = shares = RedisShares(redis)
        self._fleet = Fleet(shares, self._worker)
        self.books = SharedBooks(
            redis,
            self._counters,
            self._carrier,
            self._ledger,
            self._spool,
            clock,
            rebuild=self._rebuilder.ensure,
            workers=lambda: max(self._fleet.size, settings.workers),
        )
        self.answers = SharedAnswers(redis, database, clock)
        self.owned = SharedOwned(redis, database, clock)
        self.lessons = RedisLessons(redis, self._worker)
        self.pins = SharedPins(database, clock)
        self.items, self.firsts = RedisItems(redis), RedisFirsts(redis)
        self.gates = Gates(
            gate_limits(settings),
            queue=settings.concurrent_queue_size,
            wait_s=settings.concurrent_queue_wait_s,
            leaser=shares,
            worker=self._worker,
        )
        self.budgets = Budgets(
            clock,
            usd=settings.global_monthly_usd_budget,
            tokens=settings.global_monthly_token_budget,
            leaser=shares,
            base=self._month,
            worker=self._worker,
        )
        self._chores = self._housekeeping(settings, clock)
        self.orphans = Orphans(RedisRebuilds(redis), self._ledger, self._carrier, self._rebuilder, clock)
        self._watch = Housekeeping({"calls of workers that died while Redis was away": self.orphans.settle}, every_s=_ORPHANS_S)

    def _housekeeping(self, settings: Settings, clock: Clock) -> Housekeeping:
        return Housekeeping(
            {
                "retention": partial(retire_rows, self.database, self.keys, clock, days=settings.ledger_retention_days, most=1_000),
                "kept answers": self.answers.drop_expired,
                "stored answers' owners": self.owned.drop_expired,
                "pinned forms": self.pins.drop_expired,
                "budgets of past months": lambda: self._shares.sweep_slices(clock.time_ns() // _MS),
            }
        )

    def _begin_rebuild(self, tenant: str) -> None:
        self._rebuilder.begin(tenant)

    async def _month(self, during: Span, sandbox: bool) -> tuple[int, int]:  # the type that budgets ask for
        usd, tokens = await all_spent(self.database, during.starts_ms * _MS, during.ends_ms * _MS, sandbox=sandbox)
        return usd.total, tokens.total

    @property
    def states(self) -> dict[str, str]:
        """See `Stores`."""
        return {
            "redis": self._redis.problem,
            "postgres": self.database.problem,
            "keys": self.keys.problem,
            "settlements": self._counters.problem,
            "ledger stream": self._carrier.problem,
            "ledger": self._spool.problem,
        }

    @property
    def problems(self) -> dict[str, str]:
        """See `Stores`."""
        return {name: problem for name, problem in self.states.items() if problem}

    @property
    def rebuilding(self) -> tuple[str, ...]:
        """See `Stores`."""
        return self._rebuilder.under_way

    @property
    def ready(self) -> bool:
        """See `Stores`: with one of the two away, requests are served as far as the other goes."""
        return not (self._redis.away and self.database.problem)

    def gauges(self) -> Mapping[str, Gauge]:
        """See `Stores`."""
        return {
            "tokenrouter_ledger_stream_entries": ("Ledger entries that wait in Redis for Postgres.", lambda: float(self._carrier.backlog)),
            "tokenrouter_ledger_backlog_rows": ("Ledger entries that wait in this process for Postgres.", lambda: float(self._spool.backlog)),
            "tokenrouter_settlements_waiting": ("Settlements that wait in this process for Redis.", lambda: float(self._counters.backlog)),
            "tokenrouter_workers": ("Workers that share the counters.", lambda: float(self._fleet.size)),
        }

    async def written(self) -> None:
        """See `Stores`: other processes have their own, so nobody waits for this one's."""

    async def connect(self) -> None:
        """Open the connections to Redis before the first request waits for them. It may be away."""
        for _ in range(_CONNECTS):
            try:
                await self._fleet.tick()
            except Unavailable:
                continue
            return
        log.warning("starting without Redis: %s", self._redis.problem)

    def begin(self) -> None:
        """See `Stores`."""
        self._chores.begin()
        self._watch.begin()
        self._fleet.begin()
        self._carrier.begin()
        self.lessons.begin()
        self._spool.begin()
        self.books.begin()
        self.gates.begin()
        self.budgets.begin()

    async def aclose(self) -> None:
        """See `Stores`."""
        await self._chores.aclose()
        await self._watch.aclose()
        await self._fleet.aclose()
        if not await self.books.drain(_DRAIN_S):
            log.error("not everything that was settled could be handed over; what Redis has not heard of is presumed spent")
        await self.books.aclose()
        await self._rebuilder.aclose()
        await self._carrier.aclose()
        await self._spool.aclose()
        await self.answers.aclose()
        await self.owned.aclose()
        await self.items.aclose()
        await self.lessons.aclose()
        await self.keys.aclose()
        await self._redis.aclose()


async def open_shared(settings: Settings, clock: Clock, crossed: Callable[[Crossing], None]) -> SharedStores:
    """Connect. Postgres or Redis may be away; then this begins without.

    Raises:
        ConfigError: an address can not be read, or Postgres is away and was never asked from this folder.
    """
    redis = RedisClient(settings.redis_url.reveal(), timeout_s=settings.redis_timeout_ms / 1000)
    database = Postgres(
        settings.database_url.reveal(),
        *STATEMENTS,
        clock=clock,
        most=settings.db_max_open_conns,
        idle=settings.db_max_idle_conns,
        lifetime_s=settings.db_conn_max_lifetime,
        timeout_s=settings.db_timeout_ms / 1000,
    )
    try:
        secret = await shared_secret(database, settings.data_dir)
        stores = SharedStores(settings, clock, secret, database, redis, crossed)
        try:
            await stores.keys.refresh()
        except Unavailable as error:
            log.warning("starting without Postgres (%s): keys are those that Redis has copies of", database.problem or error)
        await stores.connect()
    except ConfigError:
        await redis.aclose()
        await database.aclose()
        raise
    return stores
