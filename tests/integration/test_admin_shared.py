"""The admin API of two gateways over Redis and Postgres: either shows and changes what both go by."""

import asyncio

import pytest
from backends import *  # noqa: F403  # fixtures
from rig import until
from test_gateway_shared import Fleet, fleet, plain  # noqa: F401

T, K = "/admin/tenants", "/admin/api-keys"
EVER = "from=1970-01-01&to=2040-01-01"


async def seen(fleet: Fleet) -> None:  # noqa: F811
    """What was changed is known everywhere, as it is within seconds."""
    for rig in fleet.rigs:
        await rig.gateway.keys.refresh()
        await rig.gateway.own_prices.refresh()


async def test_counters_of_one_gateway_are_shown_by_the_other(fleet: Fleet):  # noqa: F811
    first, second = fleet.rigs
    made = (await first.admin("POST", K, {"tenant": "acme", "quota_usd": "5", "requests_per_minute": 10})).json
    assert made["spent_usd"] in ("0.00", None)
    assert (await first.chat(plain(max_tokens=20), key=made["key"])).status == 200
    await fleet.rows(1)
    shown = (await second.admin("GET", f"{K}/{made['id']}")).json
    assert round(float(shown["sandbox_spent_usd"]) * 1e9) == fleet.billed > 0
    check = (await second.admin("POST", "/admin/check", {"key_id": made["id"], "model": "gpt-4.1"})).json
    assert (check["passes"], check["caps"][0]["spent"]) == (True, shown["sandbox_spent_usd"])
    assert [limit["left"] for limit in check["limits"]] == [9]
    usage = (await second.admin("GET", f"/admin/usage?{EVER}&by=tenant")).json
    assert [(line["tenant"], line["sandbox"], line["cost_usd"]) for line in usage["data"]] == [("acme", True, shown["sandbox_spent_usd"])]
    (row,) = (await first.admin("GET", f"/admin/ledger?{EVER}")).json["data"]
    assert (await second.admin("GET", f"/admin/ledger/{row['id']}")).json == row


async def test_rules_prices_and_revocations_of_one_gateway_hold_at_the_other(fleet: Fleet):  # noqa: F811
    first, second = fleet.rigs
    made = (await first.admin("POST", K, {"tenant": "acme"})).json
    assert (await second.chat(plain(max_tokens=5), key=made["key"])).status == 200
    await first.admin("POST", f"{T}/acme/limits", {"metric": "requests", "amount": 1, "window": "hour"})
    await first.admin("PUT", "/admin/prices/openai/gpt-4.1", {"input": "7", "output": "8"})
    await seen(fleet)
    assert (await second.admin("GET", "/admin/prices/openai/gpt-4.1")).json["layer"] == "admin"
    assert [(await second.chat(plain(max_tokens=5), key=made["key"])).status for _ in range(2)] == [200, 429]
    await first.admin("DELETE", f"{K}/{made['id']}")
    await seen(fleet)
    assert (await second.chat(plain(max_tokens=5), key=made["key"])).status == 401


async def test_an_idempotency_key_holds_at_both(fleet: Fleet):  # noqa: F811
    from rig import ADMIN_KEY, call

    headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json", "idempotency-key": "one"}
    first, second = [await call(rig.app, "POST", K, b'{"tenant": "acme"}', headers) for rig in fleet.rigs]
    assert (first.status, second.status) == (201, 201)
    assert second.json == {**first.json, "key": None}


async def test_answers_are_purged_for_both(fleet: Fleet):  # noqa: F811
    first, second = fleet.rigs
    await first.chat()
    await until(lambda: not first.services.flights.under_way)
    assert (await second.chat()).cache == "hit"
    await first.services.answers.warm.flush()  # what is on its way to Postgres at that moment may stay
    await second.admin("POST", "/admin/cache/purge", {"tenant": "default"})
    assert (await first.chat()).cache == "miss"


async def test_health_names_every_store(fleet: Fleet):  # noqa: F811
    first, _ = fleet.rigs
    health = (await first.admin("GET", "/admin/health")).json
    assert (health["status"], health["mode"]) == ("ok", "shared")
    assert {"redis", "postgres", "ledger"} <= {store["name"] for store in health["stores"]}
    assert health["waiting"]["workers"] >= 1


async def test_health_says_whose_counters_are_made_again(fleet: Fleet):  # noqa: F811
    stores, go_on = fleet.rigs[0].gateway.stores, asyncio.Event()
    caps_of = stores._rebuilder._caps_of

    async def waits(tenant: str) -> object:
        await go_on.wait()
        return await caps_of(tenant)

    stores._rebuilder._caps_of = waits
    task = stores._rebuilder.begin("acme")
    assert (await fleet.rigs[0].admin("GET", "/admin/health")).json["rebuilding"] == ["acme"]
    go_on.set()
    await task
    assert (await fleet.rigs[0].admin("GET", "/admin/health")).json["rebuilding"] == []


@pytest.mark.parametrize("path", [K, f"{K}/nobody", T, "/admin/audit", "/admin/usage", "/admin/ledger"])
async def test_without_postgres_the_admin_api_says_when_to_come_back(fleet: Fleet, postgres_server, path: str):  # noqa: F811
    postgres_server.stop()
    try:
        answer = await fleet.rigs[0].admin("GET", path)
        assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
        assert int(answer.headers["retry-after"]) > 0
        health = await fleet.rigs[0].admin("GET", "/admin/health")
        assert (health.status, health.json["status"]) == (200, "degraded")
        assert any(store["name"] == "postgres" and not store["ok"] for store in health.json["stores"])
    finally:
        postgres_server.start()
