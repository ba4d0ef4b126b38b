"""Usage and the ledger through the admin API: sums that add up, real and simulated money apart, files that no spreadsheet runs."""

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from admin_desk import Office
from directories import Watched
from ledgers import NOW_NS, TENANT, record
from test_sums import Both, some

from tokenrouter.clock import ManualClock
from tokenrouter.model.usage import Usage
from tokenrouter.money import parse_usd
from tokenrouter.storage.retention import DAY_NS, retire

SECOND = 10**9
EVER = "from=1970-01-01&to=2040-01-01"


@pytest.fixture(params=["sqlite", "postgres"])
async def both(request, tmp_path):
    made = Both(request.param, tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    yield made
    await made.database.aclose()


@pytest.fixture
def books(both) -> Office:
    return Office(Watched(both.database), ManualClock(NOW_NS))


def nano(text: str) -> int:
    return -parse_usd(text[1:]) if text.startswith("-") else parse_usd(text)


async def used(books: Office, query: str):
    answer = await books.ask("GET", f"/admin/usage?{query}")
    assert answer.status == 200, answer.body
    return answer.json


BYS = ["", "tenant", "key,customer", "model&by=cache", "label:team", "day", "hour&by=tenant", "month,tenant,key,customer,model,cache,label:team"]


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
async def test_lines_total_and_residue_add_up(books: Office, both: Both, by: str, zone: str):
    records = some(200, 120)
    await both.write(records)
    found = await used(books, f"{EVER}&by={by}&zone={zone}&limit=7")
    assert len(found["data"]) <= 7
    for sandbox, name in ((False, "real"), (True, "sandbox")):
        wanted = [each for each in records if each.sandbox == sandbox]
        total, residue = found["total"][name], found["residue"][name]
        assert total["requests"] == len(wanted)
        assert nano(total["cost_usd"]) == sum(each.cost for each in wanted) > 0
        lines = [line for line in found["data"] if line["sandbox"] == sandbox]
        for field in total:
            amount = nano if field.endswith("_usd") else int
            assert sum(amount(line[field]) for line in lines) + amount(residue[field]) == amount(total[field]), field
    whole = await used(books, f"{EVER}&by={by}&zone={zone}&limit=50000")
    assert {value for sums in whole["residue"].values() for value in sums.values()} == {0, "0.00"}


async def test_lines_are_those_of_a_recount(books: Office, both: Both):
    records = some(200, 100)
    await both.write(records)
    found = await used(books, f"{EVER}&by=tenant,customer,label:team,day&zone=America/New_York&limit=50000")
    told = {(line["sandbox"], line["tenant"], line["customer"], line["label"], line["at"]): line["requests"] for line in found["data"]}
    zone = ZoneInfo("America/New_York")
    counted = Counter(
        (
            each.sandbox,
            each.tenant,
            each.customer,
            dict(each.labels).get("team", ""),
            f"{datetime.fromtimestamp(each.booked_ns // SECOND, zone):%Y-%m-%d}",
        )
        for each in records
    )
    assert told == counted
    assert [line["at"] for line in found["data"] if not line["sandbox"]] == sorted(line["at"] for line in found["data"] if not line["sandbox"])
    assert {line["key"] for line in found["data"]} == {None}


async def test_the_hour_that_comes_twice_is_two_hours_and_its_day_is_one(books: Office, both: Both):
    first = int(datetime(2023, 10, 29, 0, 30, tzinfo=UTC).timestamp()) * SECOND  # 02:30 in Berlin, before clocks are set back
    await both.write(
        [record("r1", admitted_ns=first), record("r2", admitted_ns=first + 3600 * SECOND), record("r3", admitted_ns=first + 86_400 * SECOND)]
    )
    hours = await used(books, f"{EVER}&by=hour&zone=Europe/Berlin")
    assert [line["at"] for line in hours["data"]] == ["2023-10-29T02:00+01:00", "2023-10-29T02:00+02:00", "2023-10-30T01:00+01:00"]
    days = await used(books, f"{EVER}&by=day&zone=Europe/Berlin")
    assert [(line["at"], line["requests"]) for line in days["data"]] == [("2023-10-29", 2), ("2023-10-30", 1)]
    one = await used(books, "from=2023-10-29&to=2023-10-30&zone=Europe/Berlin")
    assert one["total"]["real"]["requests"] == 2
    assert (one["from"], one["to"]) == ("2023-10-28T22:00:00Z", "2023-10-29T23:00:00Z")


async def test_what_left_the_ledger_by_age_stays_in_the_totals(books: Office, both: Both):
    await both.write(some(200, 100))
    asked = [f"{EVER}&by=tenant,key,model,day&limit=50000", f"{EVER}&by=label:team"]
    before = [await used(books, each) for each in asked]
    assert await retire(both.database, NOW_NS, days=40, cuts={TENANT: []}) > 50
    after = [await used(books, each) for each in asked]
    assert after[0] == before[0]
    assert after[1]["total"] == before[1]["total"]
    assert after[1]["residue"] == before[1]["residue"]
    assert sum(line["requests"] for line in after[1]["data"] if line["label"]) < sum(line["requests"] for line in before[1]["data"] if line["label"])


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        (f"tenant={TENANT}", lambda r: r.tenant == TENANT),
        ("key=k1", lambda r: r.key_id == "k1"),
        ("customer=c:1%25", lambda r: r.customer == "c:1%"),
        ("model=o3", lambda r: r.model == "o3"),
        ("model=openai/o3", lambda r: r.model == "o3"),
        ("model=xai/", lambda r: False),
        ("cache=hit", lambda r: r.cache == "hit"),
        ("label=team:search", lambda r: dict(r.labels).get("team") == "search"),
        ("sandbox=true", lambda r: r.sandbox),
        ("sandbox=false", lambda r: not r.sandbox),
    ],
)
async def test_filters_hold_for_sums_and_for_the_search(books: Office, both: Both, query: str, holds):
    records = some(120, 20)
    await both.write(records)
    wanted = {each.id for each in records if holds(each)}
    found = await used(books, f"{EVER}&{query}")
    assert found["total"]["real"]["requests"] + found["total"]["sandbox"]["requests"] == len(wanted) < 120
    assert {row["id"] for row in await books.all(f"/admin/ledger?{EVER}&{query}", 50)} == wanted


async def test_without_from_and_to_the_last_thirty_days_are_told(books: Office, both: Both):
    moments = {"old": NOW_NS - 30 * DAY_NS, "edge": NOW_NS - 30 * DAY_NS + 1, "now": NOW_NS}
    await both.write([record(name, admitted_ns=moment) for name, moment in moments.items()])
    assert (await used(books, ""))["total"]["real"]["requests"] == 2
    assert {row["id"] for row in await books.all("/admin/ledger")} == {"edge", "now"}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("by=nobody", "by"),
        ("by=label", "by"),
        ("by=label:", "by"),
        ("by=label:A%20B", "by"),
        ("by=label:a,label:b", "by"),
        ("by=day,hour", "by"),
        ("zone=Mars/Base", "zone"),
        ("zone=../../etc/passwd", "zone"),
        ("from=yesterday", "from"),
        ("from=2023-02-30", "from"),
        ("from=2023-01-01T00:00:00", "from"),
        ("from=2023-01-02&to=2023-01-01", "to"),
        ("to=9999-12-31", "to"),
        ("label=team", "label"),
        ("label=Team:x", "label"),
        ("tenant=a%00b", "tenant"),
        ("customer=%0a", "customer"),
        ("sandbox=maybe", "sandbox"),
        ("cache=warm", "cache"),
        ("limit=0", "limit"),
        ("format=xml", "format"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_with_its_place(books: Office, query: str, param: str):
    answer = await books.ask("GET", f"/admin/usage?{query}")
    assert (answer.status, answer.json["param"]) == (400, param), answer.body


async def test_a_file_has_lines_totals_and_residues(books: Office, both: Both):
    await both.write(some(100, 10))
    for answer in (
        await books.ask("GET", f"/admin/usage?{EVER}&by=day,customer,label:team&format=csv&limit=5"),
        await books.ask("GET", f"/admin/usage?{EVER}&by=day,customer,label:team&limit=5", accept="text/csv, */*;q=0.1"),
    ):
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
        assert list(rows[0])[:5] == ["row", "sandbox", "at", "customer", "label:team"]
        assert [row["row"] for row in rows] == ["data"] * 5 + ["total"] * 2 + ["residue"] * 2
        view = await used(books, f"{EVER}&by=day,customer,label:team&limit=5")
        assert [row["cost_usd"] for row in rows[:5]] == [line["cost_usd"] for line in view["data"]]
        assert rows[5]["cost_usd"] == view["total"]["real"]["cost_usd"]
    assert (await books.ask("GET", f"/admin/usage?{EVER}&format=json", accept="text/csv")).headers["content-type"] == "application/json"


EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =cmd|' /C calc'!A0", '"=1"', "a,b\n=1", "=1,2"]


async def test_no_cell_of_a_file_is_a_formula(books: Office, both: Both):
    names = [name for name in EVIL if "\n" not in name and "\t" not in name]
    await both.write([record(f"r{number}", customer=name, labels=(("team", name),), model=name) for number, name in enumerate(names)])
    answer = await books.ask("GET", f"/admin/usage?{EVER}&by=customer,label:team,model&format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert sum(row["row"] == "data" for row in rows) == len(names)
    for row in rows:
        for name in ("customer", "label:team", "model"):
            assert not row[name].lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n")), row
    assert {row["customer"].removeprefix("'") for row in rows if row["row"] == "data"} == set(names)


def test_cells_with_signs_in_front_are_text():
    from tokenrouter.api.admin.usage import _cell

    for name in EVIL:
        assert _cell(name)[0] not in "=+-@\t\r\n "[:-1] or _cell(name).startswith("'")
    assert _cell("plain") == "plain"
    assert _cell("") == ""


async def test_savings_below_zero_stay_numbers(books: Office, both: Both):
    await both.write([record("r1", saved_prompt_cache=-1_500_000)])
    found = await used(books, EVER)
    assert found["total"]["real"]["saved_prompt_cache_usd"] == "-0.0015"
    text = (await books.ask("GET", f"/admin/usage?{EVER}&format=csv")).body.decode()
    assert next(csv.DictReader(io.StringIO(text)))["saved_prompt_cache_usd"] == "-0.0015"


async def test_one_request_is_shown_with_all_that_is_known(books: Office, both: Both):
    made = record(
        "req_x",
        customer="c1",
        labels=(("team", "search"),),
        stream=True,
        edits=("limits.fit",),
        cost=1_234_567,
        duration_ns=2_500_000,
        downgraded_from="openai/gpt-5",
        usage=Usage(fresh_input=100, cache_read=20, output=3),
        admitted_ns=NOW_NS,
    )
    await both.write([made])
    shown = (await books.ask("GET", "/admin/ledger/req_x")).json
    assert (shown["id"], shown["customer"], shown["labels"], shown["model"]) == ("req_x", "c1", {"team": "search"}, "openai/gpt-4.1")
    assert (shown["cost_usd"], shown["duration_ms"], shown["edits"], shown["booked_tokens"]) == ("0.001234567", 2.5, ["limits.fit"], 123)
    assert shown["tokens"] == {"fresh_input": 100, "cache_read": 20, "cache_write": 0, "cache_write_1h": 0, "output": 3, "reported": True}
    assert (shown["at"], shown["downgraded_from"], shown["error"]) == ("2023-11-14T22:13:20Z", "openai/gpt-5", None)
    assert (await books.all("/admin/ledger")) == [shown]
    for name in ("req_y", "' OR 1=1 --", "%00", "x" * 300):
        assert (await books.ask("GET", f"/admin/ledger/{name}")).status == 404


async def test_the_ledger_is_searched_by_how_it_ended(books: Office, both: Both):
    records = some(80, 10)
    await both.write(records)
    for query, holds in (
        ("settled=presumed", lambda r: r.settled == "presumed"),
        ("status_from=400", lambda r: r.status >= 400),
        ("status_from=200&status_to=299", lambda r: 200 <= r.status <= 299),
    ):
        assert {row["id"] for row in await books.all(f"/admin/ledger?{EVER}&{query}", 9)} == {each.id for each in records if holds(each)}


async def test_pages_of_the_ledger_do_not_move_when_requests_come_in(books: Office, both: Both):
    await both.write([record(f"r{number:02}", admitted_ns=NOW_NS - number * SECOND) for number in range(20)])
    first = (await books.ask("GET", f"/admin/ledger?{EVER}&limit=6")).json
    await both.write([record(f"n{number:02}", admitted_ns=NOW_NS + number) for number in range(5)])
    second = (await books.ask("GET", f"/admin/ledger?{EVER}&limit=6&cursor={first['next_cursor']}")).json
    assert [row["id"] for row in first["data"] + second["data"]] == [f"r{number:02}" for number in range(12)]
    assert json.dumps(first)


@pytest.mark.parametrize("cursor", ["x", "WyJ4Il0", "WzFd", "WyIxMjM0Il0"])
async def test_a_cursor_of_the_ledger_that_was_not_made_here_is_refused(books: Office, cursor: str):
    answer = await books.ask("GET", f"/admin/ledger?cursor={cursor}")
    assert answer.status == (200 if cursor == "WyIxMjM0Il0" else 400)
