"""What both ledgers promise: one row for every request, found by its own tenant, changed only by the truth that comes late."""

from pathlib import Path

import msgspec
import pytest
from ledgers import NOW_NS, TENANT, database, encode, record, rows

from tokenrouter.clock import ManualClock
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.usage import Usage
from tokenrouter.storage.embedded import EmbeddedLedger
from tokenrouter.storage.ledger_entries import Entry
from tokenrouter.storage.ledger_row import LedgerRow
from tokenrouter.storage.postgres_ledger import PostgresLedger
from tokenrouter.storage.sqlite import open_state

COLUMNS = tuple(name for name in LedgerRow.__struct_fields__ if name not in ("labels", "record"))


class OverSqlite:
    def __init__(self, folder: Path) -> None:
        self.folder, self.ledger = folder, EmbeddedLedger(folder)

    async def call(self, intent: RequestRecord, held: int, tokens: int, settled: RequestRecord) -> None:
        self.ledger.intend(intent, held, tokens)
        await self.settle(settled)

    async def settle(self, settled: RequestRecord) -> None:
        self.ledger.settle(settled)
        assert self.ledger.writer.flush()

    async def find(self, name: str, tenant: str = TENANT) -> RequestRecord | None:
        return await self.ledger.find(name, tenant)

    def rows(self) -> list[tuple[object, ...]]:
        state = open_state(self.folder / "state.db")
        try:
            return state.execute(f"SELECT {', '.join(COLUMNS)} FROM ledger ORDER BY id").fetchall()
        finally:
            state.close()

    async def aclose(self) -> None:
        self.ledger.close()


class OverPostgres:
    def __init__(self, url: str) -> None:
        self.url, self.db = url, database(url)
        self.ledger = PostgresLedger(self.db, ManualClock())

    async def call(self, intent: RequestRecord, held: int, tokens: int, settled: RequestRecord) -> None:
        await self.ledger.write(intent.tenant, [Entry("i", intent.id, encode(intent), held, tokens)])
        await self.ledger.write(intent.tenant, [Entry("s", settled.id, encode(settled), held, tokens)])

    async def settle(self, settled: RequestRecord) -> None:
        await self.ledger.write(settled.tenant, [Entry("s", settled.id, encode(settled))])

    async def find(self, name: str, tenant: str = TENANT) -> RequestRecord | None:
        return await self.ledger.find(name, tenant)

    def rows(self) -> list[tuple[object, ...]]:
        return rows(self.url, "ledger", *COLUMNS)

    async def aclose(self) -> None:
        await self.db.aclose()


@pytest.fixture(params=["sqlite", "postgres"])
async def ledger(request, tmp_path):
    made = OverSqlite(tmp_path) if request.param == "sqlite" else OverPostgres(request.getfixturevalue("postgres_url"))
    yield made
    await made.aclose()


def whole(name: str = "req_1", **more: object) -> RequestRecord:
    usage = Usage(fresh_input=1, cache_read=2, cache_write=4, cache_write_1h=8, output=16)
    fields = {"customer": "c1", "labels": (("team", "search"),), "chain": ("openai", "azure"), "admitted_ns": NOW_NS + 5, "usage": usage}
    fields |= {"saved_prompt_cache": 3, "saved_exact": 4, "saved_dedup": 5, "price_version": "v", "duration_ns": 6, "first_byte_ns": 7}
    return record(name, **{**fields, **more})


async def test_a_settled_call_is_one_row_that_says_everything(ledger):
    await ledger.call(whole(settled="free", cost=0), 99, 500, whole())
    assert await ledger.find("req_1") == whole()
    assert await ledger.find("req_1", "other") is None
    assert await ledger.find("req_2") is None
    row = dict(zip(COLUMNS, ledger.rows()[0], strict=True))
    told = whole()
    expected = {name: getattr(told, name) for name in COLUMNS if hasattr(told, name)}
    expected |= {
        "fresh_input": 1,
        "cache_read": 2,
        "cache_write": 4,
        "cache_write_1h": 8,
        "output": 16,
        "tokens": 31,
        "held": 99,
        "unreported_input": 0,
    }
    assert row == expected


async def test_a_request_is_settled_once(ledger):
    await ledger.settle(whole())
    await ledger.settle(whole(cost=8))
    await ledger.settle(whole(cost=9, late=True))
    await ledger.settle(whole(settled="presumed", cost=50, held_tokens=7, usage=Usage(reported=False)))
    assert (await ledger.find("req_1")).cost == 7


async def test_a_presumption_gives_way_to_the_truth_once(ledger):
    presumed = whole(settled="presumed", cost=50, held_tokens=700, usage=Usage(reported=False))
    await ledger.call(whole(settled="free", cost=0), 50, 700, presumed)
    assert await ledger.find("req_1") == presumed
    await ledger.settle(whole(late=True, cost=8))
    await ledger.settle(whole(late=True, cost=9))
    found = await ledger.find("req_1")
    assert found == whole(late=True, cost=8)
    row = dict(zip(COLUMNS, ledger.rows()[0], strict=True))
    assert (row["settled"], row["late"], row["cost"], row["tokens"], row["held"]) == ("exact", 1, 8, 31, 50)


async def test_another_tenants_request_changes_nothing(ledger):
    await ledger.settle(whole(settled="presumed", cost=50))
    await ledger.settle(whole(tenant="other", late=True))
    assert (await ledger.find("req_1")).settled == "presumed"
    assert await ledger.find("req_1", "other") is None


async def test_what_clients_write_is_kept_whatever_it_is(ledger):
    strange = whole(customer="a\0b", model_asked="x" * 5000 + "\0", labels=(("n\0", "v\0'\"\\\ud7ff\U0001f600"),))
    await ledger.settle(strange)
    assert await ledger.find("req_1") == strange
    assert msgspec.json.decode(msgspec.json.encode(await ledger.find("req_1"))) is not None
