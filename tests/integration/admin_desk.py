"""The admin API over stores alone, without a gateway, over SQLite and over Postgres."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from directories import SECRET, Opened, Watched
from rig import Response, call

from tokenrouter.api.admin.app import create_admin
from tokenrouter.api.admin.desk import Desk, Health
from tokenrouter.catalog.loader import Catalog, load_catalog
from tokenrouter.catalog.prices import PriceBook, Prices
from tokenrouter.clock import ManualClock
from tokenrouter.errors import Unauthenticated
from tokenrouter.quota.process_counters import ProcessCounters
from tokenrouter.quota.rules import Binder
from tokenrouter.settings import load_settings
from tokenrouter.storage.admin_records import AdminRecords
from tokenrouter.storage.directory import Directory
from tokenrouter.storage.keyring import KeyRing
from tokenrouter.storage.memory_answers import MemoryAnswers
from tokenrouter.upstream.own_prices import OwnPrices
from tokenrouter.wiring import load_prices

KEY = "the-key-of-this-office"


@cache
def _known() -> tuple[Catalog, PriceBook]:
    settings = load_settings({"SANDBOX": "1", "TOKENROUTER_CONFIG": "/dev/null"})
    catalog = load_catalog(settings)
    return catalog, load_prices(settings, catalog)


class Office:
    """Somebody who runs the place. `database` may go away."""

    def __init__(self, database: Watched, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        catalog, book = _known()
        prices, records = Prices(book), AdminRecords(database, clock)
        self.counters = ProcessCounters(clock)
        self.answers = MemoryAnswers(clock, 1 << 20)
        self.directory = Directory(database, KeyRing(SECRET), clock)
        self.desk = Desk(
            clock=clock,
            directory=self.directory,
            records=records,
            books=self.counters,
            binder=Binder(default_rpm=0),
            catalog=catalog,
            prices=prices,
            own_prices=OwnPrices(prices, records),
            ledger=database,
            written=self._written,
            answers=self.answers,
            health=lambda: Health(mode="stores alone"),
        )
        self.app = create_admin(lambda: self.desk, self._guard, clock)

    async def _written(self) -> None:
        """Everything is, at once."""

    async def _guard(self, headers: Mapping[str, str]) -> str:
        if headers.get("authorization") != f"Bearer {KEY}":
            raise Unauthenticated("the admin API wants the admin key")
        return "office"

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        said = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        return await call(self.app, method, path, raw, said | {name.replace("_", "-"): value for name, value in headers.items()})

    async def made(self, path: str, body: Any) -> Any:
        """Something that has to be made."""
        answer = await self.ask("POST", path, body)
        assert answer.status == 201, answer.body
        return answer.json

    async def all(self, path: str, size: int = 500) -> list[Any]:
        """All items of a list, page by page."""
        found, cursor, mark = [], "", "&" if "?" in path else "?"
        while True:
            answer = await self.ask("GET", f"{path}{mark}limit={size}&cursor={cursor}")
            assert answer.status == 200, answer.body
            found += answer.json["data"]
            assert answer.json["has_more"] == (answer.json["next_cursor"] is not None)
            if not answer.json["has_more"]:
                return found
            cursor = answer.json["next_cursor"]

    async def audited(self) -> list[tuple[str, str, str]]:
        """What the audit says: (actor, action, target), the latest first."""
        return [(row["actor"], row["action"], row["target"]) for row in await self.all("/admin/audit")]


@pytest.fixture
def office(open_again: Opened, clock: ManualClock) -> Office:
    return Office(Watched(open_again()), clock)
