"""Analytics and search over the ledger: the same totals as a recount, over both databases."""

from collections import defaultdict
from datetime import UTC, datetime

import msgspec
import psycopg
import pytest
from ledgers import NOW_NS, TENANT, record
from test_sums import Both, some

from tokenrouter.sql import read_queries
from tokenrouter.storage.postgres import translated
from tokenrouter.storage.retention import DAY_NS, retire
from tokenrouter.storage.usage import Filter, UsageLine, search, usage

SUMS = ("requests", "errors", "fresh_input", "cache_read", "output", "tokens", "cost", "presumed_cost", "saved_exact")


@pytest.fixture(params=["sqlite", "postgres"])
async def both(request, tmp_path):
    made = Both(request.param, tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    yield made
    await made.database.aclose()


def amounts(each) -> dict[str, int]:
    presumed = each.cost if each.settled == "presumed" else 0
    values = (
        1,
        int(each.status >= 400),
        each.usage.fresh_input,
        each.usage.cache_read,
        each.usage.output,
        each.tokens,
        each.cost,
        presumed,
        each.saved_exact,
    )
    return dict(zip(SUMS, values, strict=True))


def counted(records, name) -> dict[tuple[str, ...], dict[str, int]]:
    found: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for each in records:
        for field, value in amounts(each).items():
            found[name(each)][field] += value
    return dict(found)


def told(lines: list[UsageLine], *fields: str) -> dict[tuple[str, ...], dict[str, int]]:
    assert len({tuple(getattr(line, field) for field in fields) for line in lines}) == len(lines)
    return {tuple(getattr(line, field) for field in fields): {name: getattr(line, name) for name in SUMS} for line in lines}


def local(each, offset_s: int, form: str) -> str:
    return datetime.fromtimestamp(each.booked_ns // 1_000_000_000 + offset_s, UTC).strftime(form)


async def test_totals_by_every_dimension(both):
    records = some(300, 20)
    await both.write(records)
    everything = Filter()
    assert told(await usage(both.database, everything)) == counted(records, lambda _: ())
    by = await usage(both.database, everything, by=("tenant", "key", "customer"))
    assert told(by, "tenant", "key", "customer") == counted(records, lambda r: (r.tenant, r.key_id, r.customer))
    by = await usage(both.database, everything, by=("model", "cache"))
    assert told(by, "vendor", "model", "cache") == counted(records, lambda r: (r.vendor, r.model, r.cache))
    by = await usage(both.database, everything, by=("label",), label="team")
    assert told(by, "label") == counted(records, lambda r: (dict(r.labels).get("team", ""),))
    assert await usage(both.database, Filter(tenant="nobody")) == []


@pytest.mark.parametrize(("grain", "form"), [("hour", "%Y-%m-%dT%H"), ("day", "%Y-%m-%d"), ("month", "%Y-%m")])
@pytest.mark.parametrize("offset_s", [0, 19_800, -18_000])
async def test_totals_by_time_in_the_readers_zone(both, grain, form, offset_s):
    records = some(150, 60)
    await both.write(records)
    lines = await usage(both.database, Filter(), grain=grain, offset_s=offset_s)
    assert told(lines, "at") == counted(records, lambda r: (local(r, offset_s, form),))
    assert [line.at for line in lines] == sorted(line.at for line in lines)


@pytest.mark.parametrize(
    ("which", "holds"),
    [
        (Filter(tenant=TENANT), lambda r: r.tenant == TENANT),
        (Filter(key="k1", customer="c2"), lambda r: (r.key_id, r.customer) == ("k1", "c2")),
        (Filter(vendor="openai", model="o3"), lambda r: r.model == "o3"),
        (Filter(cache="hit"), lambda r: r.cache == "hit"),
        (Filter(sandbox=True), lambda r: r.sandbox),
        (Filter(sandbox=False), lambda r: not r.sandbox),
        (Filter(label="team", value="ads"), lambda r: dict(r.labels).get("team") == "ads"),
        (Filter(since_ns=NOW_NS - 5 * DAY_NS, until_ns=NOW_NS - DAY_NS), lambda r: NOW_NS - 5 * DAY_NS <= r.booked_ns < NOW_NS - DAY_NS),
    ],
)
async def test_filters_of_totals_and_of_the_search(both, which, holds):
    records = some(200, 10)
    await both.write(records)
    wanted = [each for each in records if holds(each)]
    assert 0 < len(wanted) < len(records)
    assert told(await usage(both.database, which)) == counted(wanted, lambda _: ())
    found = await search(both.database, which, most=500)
    assert [each.id for each in found.records] == [each.id for each in sorted(wanted, key=lambda r: (r.booked_ns, r.id), reverse=True)]
    assert found.next == ""


async def test_totals_keep_what_left_by_age(both):
    records = some(300, 100)
    await both.write(records)
    asked = [{}, {"by": ("tenant", "key", "customer", "model", "cache")}, {"grain": "day"}, {"grain": "month", "by": ("tenant",)}]
    before = [await usage(both.database, Filter(sandbox=False), **each) for each in asked]
    assert await retire(both.database, NOW_NS, days=40, cuts={TENANT: [NOW_NS - 70 * DAY_NS + 99]}) > 100
    assert [await usage(both.database, Filter(sandbox=False), **each) for each in asked] == before


async def test_requests_are_found_page_by_page_each_once(both):
    records = [record(f"r{number:02}", admitted_ns=NOW_NS + number // 3) for number in range(20)]
    await both.write(records)
    pages, after = [], ""
    while True:
        found = await search(both.database, Filter(), after=after, most=6)
        pages.append([each.id for each in found.records])
        after = found.next
        if not after:
            break
    assert [len(page) for page in pages] == [6, 6, 6, 2]
    assert [name for page in pages for name in page] == [each.id for each in reversed(records)]
    assert found.records[-1] == records[0]
    for wrong in ("x", "1e5.r", "²", "9" * 40):
        with pytest.raises(ValueError, match="after"):
            await search(both.database, Filter(), after=wrong)


async def test_requests_are_found_by_how_they_ended(both):
    records = [record("a", settled="presumed"), record("b", status=500), record("c", status=429), record("d")]
    await both.write(records)
    found = await search(both.database, Filter(), settled="presumed")
    assert [each.id for each in found.records] == ["a"]
    found = await search(both.database, Filter(), statuses=(400, 499))
    assert [each.id for each in found.records] == ["c"]


async def test_a_search_by_label_uses_the_index(postgres_url):
    statement = read_queries("postgres/ledger_queries.sql")["search_ledger"]
    params = {"since": 0, "until": 1 << 62, "before": "", "tenant": "", "key": "", "customer": "", "vendor": "", "model": "", "cache": ""}
    params |= {"settled": "", "sandbox": -1, "status_from": 0, "status_to": 999, "label": "team", "value": "rare", "most": 50}
    both = Both("postgres", None, postgres_url)
    await both.write([msgspec.structs.replace(each, labels=(("team", f"t{number}"),)) for number, each in enumerate(some(3000, 20))])
    await both.database.aclose()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ANALYZE ledger")
        plan = "\n".join(row[0] for row in connection.execute(b"EXPLAIN " + translated(statement), params))
    assert "ledger_by_label" in plan, plan


async def test_a_tenants_sums_do_not_read_the_whole_ledger(postgres_url):
    both = Both("postgres", None, postgres_url)
    await both.write([msgspec.structs.replace(each, tenant=f"t{number % 200}") for number, each in enumerate(some(4000, 20))])
    await both.database.aclose()
    params = {"tenant": "t5", "since": 0, "until": 1 << 62, "by_key": 0, "by_customer": 0, "by_model": 0}
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ANALYZE ledger")
        statement = translated(read_queries("ledger_queries.sql")["sum_caps"])
        plan = "\n".join(row[0] for row in connection.execute(b"EXPLAIN " + statement, params))
    assert "Index" in plan, plan
