"""What the ledger says of caps, and what is left of it after rows went by age: the same as a recount, over both databases."""

import asyncio
import random
import sqlite3
from pathlib import Path

import msgspec
import psycopg
import pytest
from ledgers import NOW_NS, TENANT, database, encode, record

from tokenrouter.clock import ManualClock
from tokenrouter.model.admission import CapState
from tokenrouter.model.period import span
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.rules import EACH, Cap, Scope
from tokenrouter.model.usage import Usage
from tokenrouter.storage.embedded import EmbeddedLedger
from tokenrouter.storage.ledger_entries import Entry
from tokenrouter.storage.postgres_ledger import PostgresLedger
from tokenrouter.storage.retention import DAY_NS, retire
from tokenrouter.storage.sqlite import open_state, sqlite_migrations
from tokenrouter.storage.sqlite_database import SqliteDatabase
from tokenrouter.storage.sums import all_spent, cap_sums, cuts, seed

ZONE = "America/New_York"
CAPS = (
    Cap(id="tenant", amount=1),
    Cap(id="day", amount=1, period="day"),
    Cap(id="week", amount=1, period="week", unit="tokens"),
    Cap(id="total", amount=1, period="total"),
    Cap(id="late", amount=1, period="total", starts_ns=NOW_NS - 50 * DAY_NS - DAY_NS // 3),
    Cap(id="tokens", amount=1, period="total", unit="tokens", starts_ns=NOW_NS - 2 * DAY_NS - 5),
    Cap(id="k1.quota", amount=1, period="total", scope=Scope(key="k1"), starts_ns=NOW_NS - 300 * DAY_NS),
    Cap(id="each", amount=1, scope=Scope(customer=EACH)),
    Cap(id="mine", amount=1, scope=Scope(key="k2", customer="c:1%", model="openai/gpt-4.1")),
    Cap(id="models", amount=1, scope=Scope(model=EACH), period="total"),
    Cap(id="all", amount=1, scope=Scope(key=EACH, customer=EACH, model=EACH), unit="tokens"),
    Cap(id="single", amount=1, period="request"),
)
SETTLED = ("free", "exact", "exact", "estimated", "presumed", "void")


def some(count: int, days: int, seed_: int = 1) -> list[RequestRecord]:
    """Requests of the last days, some of another tenant's; `late` ones stand before the moment from which caps count."""
    chance = random.Random(seed_)
    found = []
    for number in range(count):
        settled = chance.choice(SETTLED)
        found.append(
            record(
                f"r{number:04}",
                tenant=chance.choice((TENANT, TENANT, TENANT, "other")),
                key_id=chance.choice(("k1", "k2")),
                customer=chance.choice(("", "c:1%", "c2")),
                model=chance.choice(("gpt-4.1", "o3")),
                sandbox=chance.random() < 0.2,
                settled=settled,
                cost=0 if settled in ("free", "void") else chance.randrange(1_000_000_000),
                usage=Usage(fresh_input=chance.randrange(1000), cache_read=chance.randrange(1000), output=chance.randrange(1000)),
                held_tokens=chance.randrange(1, 5000) if settled == "presumed" else 0,
                status=chance.choice((200, 200, 500)),
                cache=chance.choice(("hit", "miss")),
                saved_exact=chance.randrange(100),
                admitted_ns=NOW_NS - chance.randrange(days * DAY_NS),
                labels=chance.choice(((), (("team", "search"),), (("team", "ads"), ("env", "prod")))),
            )
        )
    return found


def recount(records: list[RequestRecord], cap: Cap, sandbox: bool) -> dict[str, CapState]:
    """A cap's counters, the plain way."""
    during = span(cap.period, ZONE, NOW_NS)
    found: dict[str, CapState] = {}
    for each in records:
        suffix = cap.scope.counter(each.key_id, each.customer, f"{each.vendor}/{each.model}")
        after = each.booked_ns >= max(cap.starts_ns, during.starts_ms * 1_000_000)
        if each.tenant != TENANT or each.sandbox != sandbox or suffix is None or not after or each.settled in ("free", "void"):
            continue
        name = f"{'s' if sandbox else ''}c:{cap.id}{suffix}" + (f":{during.name}" if during.name else "")
        amount = each.cost if cap.unit == "usd" else each.tokens
        known = found.get(name, CapState())
        spent, presumed = (0, amount) if each.settled == "presumed" else (amount, 0)
        found[name] = CapState(known.spent + spent, 0, known.presumed + presumed)
    return {name: state for name, state in found.items() if state.total}


def recounted(records: list[RequestRecord]) -> dict[str, CapState]:
    """Every counter of every cap that has one."""
    found = [recount(records, cap, sandbox) for cap in CAPS if cap.period != "request" for sandbox in (False, True)]
    return {name: state for states in found for name, state in states.items()}


class Both:
    """A ledger of either kind with records in it."""

    def __init__(self, kind: str, folder: Path, url: str) -> None:
        self.kind, self.folder, self.url = kind, folder, url
        files = ("ledger_queries.sql",) if kind == "sqlite" else ("ledger_queries.sql", "postgres/ledger_queries.sql")
        self.database = SqliteDatabase(folder / "state.db", *files) if kind == "sqlite" else database(url, *files)

    async def write(self, records: list[RequestRecord]) -> None:
        if self.kind == "sqlite":
            ledger = EmbeddedLedger(self.folder)
            for each in records:
                ledger.settle(each)
            ledger.close()
            return
        ledger = PostgresLedger(self.database, ManualClock())
        for tenant in {each.tenant for each in records}:
            await ledger.write(tenant, [Entry("s", each.id, encode(each)) for each in records if each.tenant == tenant])

    async def count(self, table: str) -> int:
        if self.kind == "sqlite":
            return self.database._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        with psycopg.connect(self.url) as connection:
            return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.fixture(params=["sqlite", "postgres"])
async def both(request, tmp_path):
    made = Both(request.param, tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    yield made
    await made.database.aclose()


async def sums_of(both: Both) -> dict[str, CapState]:
    return {each.counter: each.state for each in await cap_sums(both.database, TENANT, CAPS, ZONE, NOW_NS)}


async def test_sums_of_caps_are_those_of_a_recount(both):
    records = some(400, 45)
    await both.write(records)
    found = await cap_sums(both.database, TENANT, CAPS, ZONE, NOW_NS)
    expected = {
        name: state for cap in CAPS for sandbox in (False, True) for name, state in recount(records, cap, sandbox).items() if cap.id != "single"
    }
    assert {each.counter: each.state for each in found} == expected
    assert {each.ends_ms for each in found if each.counter.endswith("2023-11")} == {span("month", ZONE, NOW_NS).ends_ms}
    assert {each.ends_ms for each in found if each.counter.startswith("c:total")} == {0}
    assert len(found) == len(expected) > 20


async def test_the_seed_of_one_counter_is_its_sum(both):
    if both.kind != "sqlite":
        pytest.skip("counters of one process are over SQLite")
    records = some(400, 45)
    await both.write(records)
    for cap in CAPS:
        since_ns = max(cap.starts_ns, span(cap.period, ZONE, NOW_NS).starts_ms * 1_000_000)
        for sandbox in (False, True):
            for name, state in recount(records, cap, sandbox).items() if cap.id != "single" else ():
                assert seed(both.database, cap, name, TENANT, since_ns) == state, name
    assert seed(both.database, CAPS[0], "c:tenant:2023-11", "nobody", 0) == CapState()


async def test_what_leaves_by_age_stays_in_every_sum(both):
    records = some(600, 120)
    await both.write(records)
    before = await sums_of(both)
    gone = await retire(both.database, NOW_NS, days=40, cuts={TENANT: cuts(CAPS)}, most=37)
    old = [each for each in records if each.booked_ns < NOW_NS // DAY_NS * DAY_NS - 40 * DAY_NS]
    assert gone == len(old) > 200
    assert await both.count("ledger") == len(records) - len(old)
    assert await sums_of(both) == before
    expected = {
        name: state for cap in CAPS for sandbox in (False, True) for name, state in recount(records, cap, sandbox).items() if cap.id != "single"
    }
    assert before == expected
    if both.kind == "sqlite":
        for cap in CAPS[3:7]:
            for name, state in recount(records, cap, sandbox=False).items():
                assert seed(both.database, cap, name, TENANT, cap.starts_ns) == state, name
    assert await retire(both.database, NOW_NS, days=40, cuts={}) == 0


async def test_nothing_younger_than_the_longest_period_ever_leaves(both):
    await both.write(some(50, 35))
    assert await retire(both.database, NOW_NS, days=1, cuts={}) == 0
    assert await retire(both.database, NOW_NS + 400 * DAY_NS, days=0, cuts={}) == 0
    assert await both.count("ledger") == 50


async def test_two_workers_retire_together_and_count_nothing_twice(postgres_url):
    both = Both("postgres", Path(), postgres_url)
    records = some(500, 120)
    await both.write(records)
    before = await sums_of(both)
    await asyncio.gather(*(retire(both.database, NOW_NS, days=40, cuts={TENANT: cuts(CAPS)}, most=23) for _ in range(4)))
    assert await sums_of(both) == before
    await both.database.aclose()


async def test_all_tenants_together(both):
    records = some(200, 20)
    await both.write(records)
    since = NOW_NS - 10 * DAY_NS
    counted = [each for each in records if each.booked_ns >= since and not each.sandbox and each.settled in ("exact", "estimated", "presumed")]
    usd, tokens = await all_spent(both.database, since, NOW_NS, sandbox=False)
    assert usd.total == sum(each.cost for each in counted)
    assert usd.presumed == sum(each.cost for each in counted if each.settled == "presumed")
    assert tokens.total == sum(each.tokens for each in counted)
    assert await all_spent(both.database, NOW_NS, NOW_NS + 1, sandbox=True) == (CapState(), CapState())


async def test_an_old_folder_is_brought_up_to_date(tmp_path):
    """Rows from before these columns tell them from their records."""
    old = sqlite3.connect(tmp_path / "state.db")
    for number in (1, 2):
        old.executescript(sqlite_migrations()[number][1])
    old.execute("PRAGMA user_version = 2")
    whole = record(error="e", duration_ns=5, first_byte_ns=6)
    values = (
        whole.id,
        NOW_NS,
        "k1",
        TENANT,
        "openai",
        "gpt-4.1",
        0,
        200,
        "miss",
        "exact",
        1,
        2,
        3,
        4,
        5,
        7,
        0,
        0,
        0,
        "v",
        msgspec.json.encode(whole),
    )
    old.execute(f"INSERT INTO ledger VALUES ({', '.join('?' * 21)})", values)
    old.commit()
    old.close()
    state = open_state(tmp_path / "state.db")
    row = state.execute("SELECT admitted_ns, dialect, model_asked, error, tokens, duration_ns, first_byte_ns, labels, late FROM ledger").fetchone()
    assert row == (NOW_NS, "openai-chat", "gpt-4.1", "e", 15, 5, 6, "{}", 0)
    state.close()
    ledger = EmbeddedLedger(tmp_path)
    assert await ledger.find("req_1", TENANT) == whole
    ledger.close()
