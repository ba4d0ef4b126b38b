"""What the ledger says of prompt caches, through the admin API: over both databases, with real and simulated money apart."""

import pytest
from admin_desk import Office
from directories import Watched
from ledgers import NOW_NS, TENANT, record
from test_sums import Both

from tokenrouter.clock import ManualClock
from tokenrouter.model.usage import Usage

EVER = "from=1970-01-01&to=2040-01-01"
SECOND = 10**9


@pytest.fixture(params=["sqlite", "postgres"])
async def both(request, tmp_path):
    made = Both(request.param, tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    yield made
    await made.database.aclose()


@pytest.fixture
def books(both) -> Office:
    return Office(Watched(both.database), ManualClock(NOW_NS))


async def got(books: Office, path: str):
    answer = await books.ask("GET", f"/admin/prompt-cache/{path}")
    assert answer.status == 200, answer.body
    return answer.json


def turn(number: int, *, cause: str = "", lost: int = 0, **more):
    usage = more.pop("usage", Usage(fresh_input=10, cache_read=80, cache_write=10, output=5))
    return record(
        f"r{number}",
        usage=usage,
        cache=more.pop("cache", "miss"),
        admitted_ns=NOW_NS + number * SECOND,
        session=more.pop("session", "5e55"),
        cache_break=cause,
        cache_break_place="tools[3]" if cause else "",
        cache_break_tokens=lost // 10,
        cache_break_cost=lost,
        **more,
    )


async def test_the_summary_divides_what_was_saved_and_what_was_lost(books: Office, both: Both):
    saved = {"saved_prompt_cache": 300, "saved_by_client": 500, "saved_by_gateway": -200}
    silent = Usage(fresh_input=40, cache_reported=False)
    await both.write(
        [
            turn(1, **saved, read_across_sessions=80, read_across_users=30),
            turn(2, cause="tools.reordered", lost=70),
            turn(3, cause="tools.reordered", lost=50),
            turn(4, cause="expired", lost=900, sandbox=True),
            turn(5, usage=silent),
            turn(6, cache="hit", settled="free", usage=Usage(cache_read=1_000_000)),
            turn(7, tenant="other", cause="expired", lost=5),
        ]
    )
    found = await got(books, f"summary?{EVER}&tenant={TENANT}")
    real = found["real"]
    assert (real["requests"], real["fresh_input"], real["cache_read"], real["unreported_input"]) == (4, 70, 240, 40)
    assert real["read_share"] == 0.8, "of the tokens of which somebody told"
    assert (real["read_across_sessions"], real["read_across_users"]) == (80, 30)
    assert (real["saved_usd"], real["saved_by_client_usd"], real["saved_by_gateway_usd"]) == ("0.0000003", "0.0000005", "-0.0000002")
    assert real["breaks"] == [{"cause": "tools.reordered", "requests": 2, "cost_usd": "0.00000012"}]
    assert found["sandbox"]["breaks_usd"] == "0.0000009"
    assert (await got(books, f"summary?{EVER}&sandbox=false"))["sandbox"]["requests"] == 0
    assert (await got(books, f"summary?{EVER}&tenant=nobody"))["real"]["read_share"] is None


async def test_breaks_are_shown_page_by_page_with_what_is_still_remembered(books: Office, both: Both):
    await both.write([turn(number, cause="expired" if number % 2 else "tools.reordered", lost=number) for number in range(1, 8)] + [turn(9)])
    first = await got(books, f"breaks?{EVER}&limit=4")
    assert [each["id"] for each in first["data"]] == ["r7", "r6", "r5", "r4"]
    rest = await got(books, f"breaks?{EVER}&limit=4&cursor={first['next_cursor']}")
    assert [each["id"] for each in rest["data"]] == ["r3", "r2", "r1"]
    assert rest["next_cursor"] is None
    only = await got(books, f"breaks?{EVER}&cause=tools.reordered")
    assert [each["id"] for each in only["data"]] == ["r6", "r4", "r2"]
    assert only["data"][0] | {"at": ""} == {
        "id": "r6",
        "at": "",
        "tenant": TENANT,
        "key": "k1",
        "session": "5e55",
        "model": "openai/gpt-4.1",
        "sandbox": False,
        "cause": "tools.reordered",
        "place": "tools[3]",
        "tokens": 0,
        "cost_usd": "0.000000006",
        "vendor_reason": None,
        "details": None,
    }
    assert (await books.ask("GET", f"/admin/prompt-cache/breaks?{EVER}&cursor=nonsense")).status == 400


async def test_a_conversation_is_shown_in_its_order(books: Office, both: Both):
    await both.write([turn(3), turn(1), turn(2, cause="expired", lost=70), turn(4, session="0the"), turn(5, session="")])
    found = await got(books, "sessions/5e55?limit=2")
    assert [(each["id"], each["cause"], each["lost_usd"]) for each in found["data"]] == [("r1", None, "0.00"), ("r2", "expired", "0.00000007")]
    rest = await got(books, f"sessions/5e55?limit=2&cursor={found['next_cursor']}")
    assert [each["id"] for each in rest["data"]] == ["r3"]
    for unknown in ("sessions/abc", "sessions/5e55?tenant=other", "sessions/%20%01"):
        assert (await books.ask("GET", f"/admin/prompt-cache/{unknown}")).status == 404
