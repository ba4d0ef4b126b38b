"""The state of one process, in one folder."""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial

from tokenrouter.clock import Clock
from tokenrouter.model.admission import Crossing
from tokenrouter.model.period import Span
from tokenrouter.prefixes.memory import SharedLessons
from tokenrouter.quota.budgets import Budgets
from tokenrouter.quota.embedded_books import EmbeddedBooks
from tokenrouter.quota.gates import Gates
from tokenrouter.quota.process_counters import ProcessCounters
from tokenrouter.recall.idempotency import SharedFirsts
from tokenrouter.recall.items import SharedItems
from tokenrouter.settings import Settings
from tokenrouter.storage.database import Database, at_once
from tokenrouter.storage.directory import Directory
from tokenrouter.storage.embedded import EmbeddedLedger, lock_folder, open_folder
from tokenrouter.storage.embedded_answers import EmbeddedAnswers
from tokenrouter.storage.embedded_owned import EmbeddedOwned
from tokenrouter.storage.embedded_pins import EmbeddedPins
from tokenrouter.storage.keyring import KeyRing
from tokenrouter.storage.sums import all_spent
from tokenrouter.wiring.housekeeping import Housekeeping, retire_rows
from tokenrouter.wiring.stores import Gauge, derived, gate_limits, open_database

log = logging.getLogger("tokenrouter")

_MOMENT_S = 1.0
STATEMENTS = ("directory_queries.sql", "ledger_queries.sql")


class EmbeddedStores:
    """`Stores` of one process."""

    def __init__(self, settings: Settings, clock: Clock, crossed: Callable[[Crossing], None]) -> None:
        """Raises ConfigError: the folder is in use or can not be used."""
        self.secret = open_folder(settings.data_dir)
        self._lock = lock_folder(settings.data_dir)
        self.database = open_database(settings, clock, *STATEMENTS)
        self.keys = Directory(self.database, KeyRing(derived(self.secret, "api keys"), old_ids=True), clock, ttl_s=settings.auth_cache_ttl)
        at_once(self.keys.refresh())
        self.ledger = _open_ledger(settings)
        self.answers = EmbeddedAnswers(settings.data_dir, clock, settings.cache_max_mb << 20)
        self.owned = EmbeddedOwned(settings.data_dir, clock)
        self.pins = EmbeddedPins(settings.data_dir, clock)
        counters = ProcessCounters(clock, seed=self.ledger.seed, answers=self.answers.get, crossed=crossed)
        self.books = EmbeddedBooks(counters, self.ledger)
        self.gates = Gates(gate_limits(settings), queue=settings.concurrent_queue_size, wait_s=settings.concurrent_queue_wait_s)
        self.budgets = Budgets(
            clock, usd=settings.global_monthly_usd_budget, tokens=settings.global_monthly_token_budget, seed=partial(_month, self.database)
        )
        retire = partial(retire_rows, self.database, self.keys, clock, days=settings.ledger_retention_days, most=100)
        self._chores = Housekeeping({"retention": retire})
        self.items: SharedItems | None = None
        self.firsts: SharedFirsts | None = None
        self.lessons: SharedLessons | None = None

    @property
    def states(self) -> dict[str, str]:
        """See `Stores`."""
        return {"ledger": self.ledger.writer.failing, "answers": self.answers.writer.failing, "owned": self.owned.writer.failing}

    @property
    def problems(self) -> dict[str, str]:
        """See `Stores`."""
        return {name: problem for name, problem in self.states.items() if problem}

    @property
    def rebuilding(self) -> tuple[str, ...]:
        """See `Stores`: they live as long as the process does."""
        return ()

    @property
    def ready(self) -> bool:
        """See `Stores`: what can not be written down must not be served."""
        return not self.problems

    def gauges(self) -> Mapping[str, Gauge]:
        """See `Stores`."""
        return {"tokenrouter_ledger_backlog_rows": ("Ledger rows that wait for the disk.", lambda: float(self.ledger.writer.backlog))}

    async def written(self) -> None:
        """See `Stores`."""
        await asyncio.to_thread(self.ledger.writer.flush, _MOMENT_S)

    def begin(self) -> None:
        """See `Stores`."""
        self._chores.begin()

    async def aclose(self) -> None:
        """See `Stores`."""
        await self._chores.aclose()
        await asyncio.to_thread(self.answers.close)
        self.owned.close()
        self.pins.close()
        self.ledger.close()
        await self.keys.aclose()
        os.close(self._lock)


def _open_ledger(settings: Settings) -> EmbeddedLedger:
    ledger = EmbeddedLedger(settings.data_dir)
    if ledger.recovered:
        log.warning(
            "the last process died; %d calls of its journal were booked: settled ones as settled, open ones at what they could have cost",
            ledger.recovered,
        )
    return ledger


def _month(database: Database, during: Span, sandbox: bool) -> tuple[int, int]:  # the type that budgets ask for
    """What the ledger says was spent in a month: nano-USD and tokens."""
    usd, tokens = at_once(all_spent(database, during.starts_ms * 1_000_000, during.ends_ms * 1_000_000, sandbox=sandbox))
    return usd.total, tokens.total
