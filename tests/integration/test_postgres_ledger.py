"""The ledger in Postgres: one row for every request, whatever is written twice, late, torn or refused."""

import asyncio

import msgspec
import pytest
from ledgers import NOW_NS, TENANT, database, encode, intended, presumption, record, rows, settlement

from tokenrouter.clock import ManualClock
from tokenrouter.model.admission import CapState
from tokenrouter.model.rules import Cap
from tokenrouter.model.usage import Usage
from tokenrouter.storage.ledger_entries import Entry, Malformed, fold, read_entry
from tokenrouter.storage.ledger_row import LedgerRow
from tokenrouter.storage.postgres_ledger import PostgresLedger


@pytest.fixture
async def ledger(postgres_url):
    db = database(postgres_url)
    yield PostgresLedger(db, ManualClock())
    await db.aclose()


async def test_a_settled_request_is_found_by_its_own_tenant_only(ledger):
    whole = record(customer="c1", labels=(("team", "search"),), chain=("openai", "azure"), edits=("tools.order",), admitted_ns=NOW_NS + 5)
    await ledger.write(TENANT, [intended(), Entry("s", "req_1", encode(whole))])
    assert await ledger.find("req_1", TENANT) == whole
    assert await ledger.find("req_1", "other") is None
    assert await ledger.find("req_2", TENANT) is None


async def test_every_column_says_what_the_record_says(ledger, postgres_url):
    whole = record(
        customer="c1",
        labels=(("team", "search"), ("team", "second")),
        similarity=990_000,
        usage=Usage(fresh_input=1, cache_read=2, cache_write=4, cache_write_1h=8, output=16),
        saved_prompt_cache=3,
        saved_exact=5,
        saved_dedup=6,
        price_version="v1",
        duration_ns=11,
        first_byte_ns=12,
        error="e",
        cache="miss",
        sandbox=True,
    )
    await ledger.write(TENANT, [Entry("s", "req_1", encode(whole), held=99)])
    columns = [name for name in LedgerRow.__struct_fields__ if name != "record"]
    row = dict(zip(columns, rows(postgres_url, "ledger", *columns)[0], strict=True))
    assert row == {
        **{name: getattr(whole, name) for name in columns if hasattr(whole, name)},
        "fresh_input": 1,
        "cache_read": 2,
        "cache_write": 4,
        "cache_write_1h": 8,
        "output": 16,
        "tokens": 31,
        "admitted_ns": NOW_NS,
        "sandbox": 1,
        "late": 0,
        "held": 99,
        "unreported_input": 0,
        "labels": {"team": "search"},
    }


async def test_what_a_settlement_does_not_say_of_its_hold_the_entry_says(ledger, postgres_url):
    silent = record("a", settled="presumed", cost=50, usage=Usage(reported=False))
    await ledger.write(TENANT, [Entry("s", "a", encode(silent), 50, 900, NOW_NS + 9), Entry("s", "b", encode(record("b")), 50, 900, NOW_NS + 9)])
    assert rows(postgres_url, "ledger", "id", "admitted_ns", "tokens", "held") == [("a", NOW_NS + 9, 900, 50), ("b", NOW_NS + 9, 123, 50)]
    assert (await ledger.find("a", TENANT)).tokens == 900


async def test_an_intent_waits_for_its_settlement_and_goes_with_it(ledger, postgres_url):
    await ledger.write(TENANT, [intended(held=50, tokens=900)])
    assert rows(postgres_url, "intents", "id", "tenant", "time_ns", "held", "held_tokens") == [("req_1", TENANT, NOW_NS + 1, 50, 900)]
    assert await ledger.open_intents(TENANT, NOW_NS + 2) == ["req_1"]
    assert await ledger.open_intents(TENANT, NOW_NS + 1) == []
    assert await ledger.open_intents("other", NOW_NS + 2) == []
    await ledger.write(TENANT, [settlement()])
    assert rows(postgres_url, "intents", "id") == []
    assert rows(postgres_url, "ledger", "id", "settled", "cost") == [("req_1", "exact", 7)]


async def test_an_intent_that_comes_behind_its_settlement_opens_nothing(ledger, postgres_url):
    await ledger.write(TENANT, [settlement()])
    await ledger.write(TENANT, [intended()])
    assert rows(postgres_url, "intents", "id") == []


async def test_what_is_written_again_changes_nothing(ledger, postgres_url):
    await ledger.write(TENANT, [settlement()])
    for _ in range(2):
        await ledger.write(TENANT, [intended(), settlement(cost=8), presumption()])
        await ledger.write(TENANT, [presumption()])
    assert rows(postgres_url, "ledger", "id", "cost", "settled", "late") == [("req_1", 7, "exact", 0)]


@pytest.mark.parametrize("bare", [False, True])
async def test_a_presumption_counts_all_that_was_set_aside_and_gives_way_once(ledger, postgres_url, bare):
    await ledger.write(TENANT, [intended(held=50, tokens=900)])
    await ledger.write(TENANT, [presumption(bare=bare, tokens=0 if bare else 900)])
    columns = ("settled", "cost", "tokens", "held", "late", "error", "admitted_ns")
    assert rows(postgres_url, "ledger", *columns) == [("presumed", 50, 900, 50, 0, "hold_expired", NOW_NS + 1)]
    assert rows(postgres_url, "intents", "id") == []
    await ledger.write(TENANT, [settlement(cost=7, admitted_ns=NOW_NS + 1)])
    await ledger.write(TENANT, [settlement(cost=9)])
    await ledger.write(TENANT, [presumption()])
    assert rows(postgres_url, "ledger", *columns) == [("exact", 7, 123, 50, 1, "", NOW_NS + 1)]
    found = await ledger.find("req_1", TENANT)
    assert (found.late, found.settled, found.cost) == (True, "exact", 7)


async def test_a_presumption_and_the_truth_in_one_batch_are_a_late_truth_in_either_order(ledger, postgres_url):
    await ledger.write(TENANT, [presumption("a"), settlement("a"), settlement("b"), presumption("b")])
    assert rows(postgres_url, "ledger", "id", "settled", "late") == [("a", "exact", 1), ("b", "exact", 1)]
    assert (await ledger.find("a", TENANT)).late
    await ledger.write(TENANT, [msgspec.structs.replace(settlement("c"), late=True)])
    assert (await ledger.find("c", TENANT)).late


async def test_a_call_that_was_never_made_leaves_no_row_and_no_intent(ledger, postgres_url):
    await ledger.write(TENANT, [intended("a")])
    await ledger.write(TENANT, [Entry("v", "a"), intended("b"), Entry("v", "b")])
    assert rows(postgres_url, "intents", "id") == rows(postgres_url, "ledger", "id") == []
    await ledger.write(TENANT, [intended("c"), presumption("c")])
    await ledger.write(TENANT, [Entry("v", "c")])
    assert rows(postgres_url, "ledger", "id", "settled", "cost", "tokens", "late") == [("c", "void", 0, 0, 1)]


async def test_another_tenants_entry_changes_no_row(ledger, postgres_url):
    await ledger.write(TENANT, [presumption()])
    await ledger.write("other", [settlement(tenant="other"), settlement("req_2")])
    assert rows(postgres_url, "ledger", "id", "tenant", "settled") == [("req_1", TENANT, "presumed")]
    assert rows(postgres_url, "ledger_rejected", "tenant") == [("other",)]


async def test_an_entry_that_postgres_refuses_is_set_aside_alone(ledger, postgres_url):
    usage = Usage(fresh_input=(1 << 63) - 1, output=(1 << 63) - 1)
    batch = await ledger.write(TENANT, [settlement("a", place="1-0"), settlement("bad", place="1-1", usage=usage), settlement("b", place="1-2")])
    assert rows(postgres_url, "ledger", "id") == [("a",), ("b",)]
    assert [each.place for each in batch.rejected] == ["1-1"]
    kept = rows(postgres_url, "ledger_rejected", "entry", "reason", "fields")
    assert kept[0][0] == "1-1"
    assert "range" in kept[0][1]
    assert msgspec.json.decode(kept[0][2], type=Entry).id == "bad"


async def test_what_clients_write_is_stored_whatever_it_is(ledger, postgres_url):
    strange = record(customer="a\0b", model_asked="x" * 5000 + "\0", labels=(("n\0", "v\0'\"\\\ud7ff\U0001f600"),))
    await ledger.write(TENANT, [settlement("a"), Entry("s", "req_1", encode(strange))])
    assert await ledger.find("req_1", TENANT) == strange
    assert rows(postgres_url, "ledger", "customer", "length(model_asked)", where="id = 'req_1'") == [("a\ufffdb", 512)]
    assert rows(postgres_url, "ledger_rejected", "entry") == []


async def test_an_intent_is_never_left_behind_its_settlement_by_two_writers(ledger, postgres_url):
    """Two carriers hold one call's intent and its settlement; whoever writes first, nothing stays open."""
    pairs = [(intended(f"r{number}"), settlement(f"r{number}")) for number in range(40)]
    await asyncio.gather(*(ledger.write(TENANT, [one]) for pair in pairs for one in pair))
    assert rows(postgres_url, "intents", "id") == []
    assert len(rows(postgres_url, "ledger", "id")) == 40


async def test_intents_that_nobody_owns_are_presumed_spent(ledger, postgres_url):
    await ledger.write(TENANT, [intended("a", held=50), intended("b", held=60)])
    await ledger.write(TENANT, [settlement("b")])
    await ledger.presume(TENANT, ["a", "b", "never"])
    assert rows(postgres_url, "ledger", "id", "settled", "cost", "tokens") == [("a", "presumed", 50, 900), ("b", "exact", 7, 123)]


async def test_it_tells_which_of_a_workers_entries_are_written(ledger):
    await ledger.write(TENANT, [settlement("a"), intended("b"), presumption("c")])
    assert await ledger.known(TENANT, ["a", "b", "x"], ["b", "c", "y"]) == {"a", "b", "c"}
    assert await ledger.known(TENANT, ["b"]) == set()
    assert await ledger.known("other", ["a"]) == set()


async def test_an_account_is_of_one_moment(ledger, postgres_url):
    """A settlement that is written between two of its questions is in all of its answers or in none."""
    other = database(postgres_url)
    writer, execute = PostgresLedger(other, ManualClock()), ledger._db.execute
    asked = []

    async def interrupted(connection, name, params=None):
        asked.append(name)
        if len(asked) > 1:  # behind the first statement, in front of each of the others
            await writer.write(TENANT, [settlement(f"r{len(asked)}"), presumption(f"p{len(asked)}")])
        return await execute(connection, name, params or {})

    ledger._db.execute = interrupted
    caps = [Cap(id="usd", amount=1, period="total")]
    account = await ledger.account(TENANT, caps, "UTC", NOW_NS, held=["r2", "r3", "r4", "r5"])
    assert len(asked) == 5
    ledger._db.execute = execute
    spent, presumed = (account.sums[0].state.spent, account.sums[0].state.presumed) if account.sums else (0, 0)
    assert (spent, presumed) == (7 * len(account.settled), 50 * len(account.presumed))
    account = await ledger.account(TENANT, caps, "UTC", NOW_NS, held=["r2", "r3", "r4", "r5", "r6"])
    assert account.settled == ("r2", "r3", "r4", "r5")
    assert sorted(account.presumed) == ["p2", "p3", "p4", "p5"]
    assert account.sums[0].state == CapState(28, 0, 200)
    await other.aclose()


async def test_a_tenant_that_was_counted_in_redis_is_remembered(ledger):
    assert not await ledger.was_counted(TENANT)
    await ledger.count(TENANT)
    await ledger.count(TENANT)
    assert await ledger.was_counted(TENANT)
    assert await ledger.counted() == [TENANT]


def test_entries_are_read_as_the_scripts_write_them():
    fields = {b"k": b"i", b"id": b"req_1", b"h": b"50", b"t": b"9", b"r": b"{}"}
    assert read_entry(b"1700000000000-0", fields) == Entry("i", "req_1", b"{}", 50, 9, NOW_NS, "1700000000000-0")
    assert read_entry(b"5-0", {**fields, b"a": b"7"}).admitted_ns == 7_000_000
    assert read_entry(b"5-0", {b"k": b"s", b"id": b"x", b"r": b"{}"}) == Entry("s", "x", b"{}", place="5-0")


@pytest.mark.parametrize(
    "wrong",
    [{}, {b"k": b"s"}, {b"k": b"z", b"id": b"a"}, {b"k": b"s", b"id": b""}, {b"k": b"i", b"id": b"a", b"h": b"x"}, {b"k": b"\xff", b"id": b"a"}],
)
def test_an_entry_that_means_nothing_is_malformed(wrong):
    with pytest.raises(Malformed):
        read_entry(b"1-0", wrong)


@pytest.mark.parametrize("encoded", [b"", b"{", b"{}", encode(record("other")), encode(record(tenant="other"))])
def test_a_record_that_can_not_be_read_or_is_anothers_is_rejected_and_its_intent_stays(encoded):
    batch = fold(TENANT, [Entry("s", "req_1", encoded, place="1-0"), settlement("req_2")])
    assert [each.place for each in batch.rejected] == ["1-0"]
    assert [row.id for row in batch.rows] == list(batch.ended) == ["req_2"]
