"""What hostile names, bodies and headers do to the admin API: they are data, or a refusal, and nothing else."""

import asyncio
import json
import logging
from urllib.parse import quote

import pytest
from admin_desk import Office
from rig import Rig, question, until

T, K = "/admin/tenants", "/admin/api-keys"
EVIL = [
    "'; DROP TABLE api_keys; --",
    "' OR '1'='1",
    '" OR ""="',
    "x') UNION SELECT digest FROM api_keys --",
    "%' AND 1=1 AND '%'='",
    ":name",
    "%(tenant)s",
    "$1; SELECT pg_sleep(10)",
    "{0}",
    "\\",
    "%",
    "_%",
    "*",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "\u202e",
    "😀",
    "a" * 256,
]


async def state(office: Office) -> str:
    return json.dumps([await office.all(path) for path in (T, K, f"{T}/acme/customers", f"{T}/acme/limits", f"{T}/acme/caps")])


@pytest.mark.parametrize("evil", EVIL)
async def test_names_are_data_wherever_they_are_allowed_and_refused_elsewhere(office: Office, evil: str):
    await office.made(T, {"name": "acme"})
    key = (await office.made(K, {"tenant": "acme", "name": evil[:200], "models": [evil]}))["id"]
    if evil != "*":
        made = await office.made(f"{T}/acme/customers", {"id": evil, "name": evil, "daily_usd": "1"})
        assert (made["id"], made["name"]) == (evil, evil)
        shown = await office.ask("GET", f"{T}/acme/customers/{evil}".replace("?", "%3F"))
        assert (shown.status, shown.json) == (200, made)
    limit = await office.made(f"{T}/acme/limits", {"metric": "requests", "amount": 1, "scope": {"customer": evil}})
    assert limit["scope"]["customer"] == evil
    shown = (await office.ask("GET", f"{K}/{key}")).json
    assert (shown["name"], shown["models"]) == (evil[:200], [evil])
    before = await state(office)
    safe = quote(evil, safe="")
    for method, path, body in (
        ("POST", T, {"name": evil}),
        ("PATCH", f"{T}/acme", {"zone": evil}),
        ("POST", K, {"tenant": evil}),
        ("POST", f"{T}/acme/limits", {"metric": "requests", "amount": 1, "scope": {"key": evil if evil != "*" else "x"}}),
        ("POST", f"{T}/acme/limits", {"metric": evil, "amount": 1}),
        ("POST", f"{T}/acme/caps", {"amount_usd": evil}),
        ("POST", f"{T}/acme/caps", {"amount_usd": "1", "action": "downgrade", "downgrade_to": evil}),
        ("GET", f"{K}/{evil}", None),
        ("DELETE", f"{K}/{evil}", None),
        ("POST", f"{K}/{evil}/rotate", {}),
        ("GET", f"{T}/acme/limits/{evil}", None),
        ("DELETE", f"{T}/acme/caps/{evil}", None),
        ("GET", f"{T}/{evil}", None),
        ("GET", f"/admin/ledger/{evil}", None),
        ("PUT", f"/admin/prices/{evil}", {"input": evil, "output": "1"}),
        ("DELETE", f"/admin/prices/{evil}", None),
        ("GET", f"{K}?cursor={safe}", None),
        ("GET", f"/admin/usage?by={safe}", None),
        ("GET", f"/admin/usage?zone={safe}", None),
        ("GET", f"/admin/ledger?settled={safe}", None),
    ):
        answer = await office.ask(method, path, body)
        assert 400 <= answer.status < 500, (method, path, answer.status, answer.body)
        assert answer.headers["content-type"] == "application/problem+json"
    for path in (f"{K}?tenant={safe}", f"/admin/audit?target={safe}", f"/admin/usage?tenant={safe}&customer={safe}&key={safe}&model={safe}"):
        answer = await office.ask("GET", path)
        assert answer.status in (200, 400), (path, answer.body)
        if answer.status == 200 and "data" in answer.json:
            assert answer.json["data"] == []
    assert await state(office) == before


@pytest.mark.parametrize("evil", [each for each in EVIL if each.isascii() and each.isprintable()])
async def test_headers_are_data(office: Office, evil: str):
    answer = await office.ask("POST", T, {"name": "acme"}, x_admin_actor=evil[:100], idempotency_key=evil.replace(" ", "_")[:255])
    assert answer.status == 201
    assert (await office.ask("POST", T, {"name": "acme"}, idempotency_key=evil.replace(" ", "_")[:255])).headers["idempotent-replayed"] == "true"
    assert await office.audited() == [(f"office ({evil[:100]})", "put tenant", "tenant:acme")]


async def test_a_price_of_an_evil_name_is_kept_and_found_as_it_is(office: Office):
    name = "openai/x'); DROP TABLE price_overrides; --"
    url = f"/admin/prices/{name}"
    assert (await office.ask("PUT", url, {"input": "1", "output": "2"})).status == 200
    assert (await office.ask("GET", url)).json["own"] == {"input": "1", "output": "2"}
    assert (await office.ask("DELETE", url)).status == 200


async def test_admin_calls_are_never_limited_or_budgeted(start):
    async with start(RATE_LIMIT_RPM="1", GLOBAL_CONCURRENT_LIMIT="1") as rig:
        await rig.admin("POST", T, {"name": "acme"})
        await rig.admin("POST", f"{T}/acme/caps", {"amount_usd": "0", "period": "month"})
        made = (await rig.admin("POST", K, {"tenant": "acme"})).json
        assert (await rig.chat(key=made["key"])).status in (402, 429)
        for _ in range(50):
            assert (await rig.admin("GET", f"{K}/{made['id']}")).status == 200


async def test_rules_prices_and_purges_hold_in_the_running_gateway(rig: Rig):
    key_id = rig.key_id()
    assert (await rig.chat()).cache == "miss"
    assert (await rig.chat()).cache == "hit"
    kept = (await rig.admin("GET", "/admin/cache")).json
    assert kept["answers"] == 1
    assert (await rig.admin("POST", "/admin/cache/purge", {"key_id": key_id})).json == {"thrown_away": 1}
    assert (await rig.chat()).cache == "miss"
    billed = rig.sandbox.bill.nano_usd
    view = (await rig.admin("GET", "/admin/usage?by=key,model,cache&sandbox=true&from=1970-01-01")).json
    assert view["total"]["sandbox"]["requests"] == 3
    assert round(float(view["total"]["sandbox"]["cost_usd"]) * 1e9) == billed
    assert (await rig.admin("GET", f"{K}/{key_id}")).json["sandbox_spent_usd"] == view["total"]["sandbox"]["cost_usd"]
    assert {row["cache"] for row in (await rig.admin("GET", "/admin/ledger?from=1970-01-01")).json["data"]} == {"hit", "miss"}
    limit = await rig.admin("POST", f"{T}/default/limits", {"metric": "requests", "amount": 1, "window": "hour"})
    await rig.gateway.keys.refresh()
    assert [(await rig.chat(question(str(number)))).status for number in range(2)] == [200, 429]
    check = (await rig.admin("POST", "/admin/check", {"key_id": key_id, "model": "gpt-4.1"})).json
    assert (check["passes"], check["refusal"]["rule"]) == (False, limit.json["id"])
    assert (await rig.admin("DELETE", f"{T}/default/limits/{limit.json['id']}")).status == 200
    await rig.gateway.keys.refresh()
    before = rig.sandbox.bill.nano_usd
    await rig.admin("PUT", "/admin/prices/openai/gpt-4.1", {"times": "2"})
    assert (await rig.chat(question("priced"))).status == 200
    shown = (await rig.admin("GET", "/admin/ledger?from=1970-01-01&limit=1")).json["data"][0]
    assert round(float(shown["cost_usd"]) * 1e9) == 2 * (rig.sandbox.bill.nano_usd - before)
    health = (await rig.admin("GET", "/admin/health")).json
    assert (health["status"], health["mode"], health["off"], health["flights"]) == ("ok", "embedded", [], 0)
    assert all(store["ok"] for store in health["stores"])
    assert (health["budgets"], health["rebuilding"]) == ([], [])


async def test_health_says_what_is_left_of_the_deployments_budgets(start):
    async with start(GLOBAL_MONTHLY_USD_BUDGET="2", GLOBAL_MONTHLY_TOKEN_BUDGET="100000") as rig:
        said = {(each["setting"], each["sandbox"]): each for each in (await rig.admin("GET", "/admin/health")).json["budgets"]}
        untouched = said["GLOBAL_MONTHLY_USD_BUDGET", False]
        assert (untouched["unit"], untouched["limit"], untouched["spent"], untouched["leased"], untouched["left"]) == (
            "usd",
            "2.00",
            "0.00",
            "0.00",
            "2.00",
        )
        assert (untouched["month"], untouched["resets_at"]) == ("2023-11", "2023-12-01T00:00:00Z")
        rig.sandbox.hold()
        asking = asyncio.create_task(rig.chat(question("under way", max_tokens=20)))
        await until(lambda: rig.sandbox.barrier.waiting_now == 1)
        said = {(each["setting"], each["sandbox"]): each for each in (await rig.admin("GET", "/admin/health")).json["budgets"]}
        tokens = said["GLOBAL_MONTHLY_TOKEN_BUDGET", True]
        assert (tokens["spent"], tokens["leased"] > 20, tokens["left"]) == (0, True, 100_000 - tokens["leased"])
        rig.sandbox.release()
        assert (await asking).status == 200
        said = {(each["setting"], each["sandbox"]): each for each in (await rig.admin("GET", "/admin/health")).json["budgets"]}
        usd, tokens = (said[f"GLOBAL_MONTHLY_{unit}_BUDGET", True] for unit in ("USD", "TOKEN"))
        assert (round(float(usd["spent"]) * 1e9), usd["leased"]) == (rig.sandbox.bill.nano_usd, "0.00")
        assert (tokens["spent"] > 0, tokens["left"]) == (True, 100_000 - tokens["spent"])
        assert said["GLOBAL_MONTHLY_USD_BUDGET", False] == untouched, "money of the sandbox is counted apart"


async def test_prices_that_were_set_hold_after_a_restart(start):
    async with start() as rig:
        await rig.admin("PUT", "/admin/prices/openai/gpt-4.1", {"input": "7", "output": "8"})
    async with start() as rig:
        assert (await rig.admin("GET", "/admin/prices/openai/gpt-4.1")).json["layer"] == "admin"


async def test_no_secret_is_in_any_reply_log_or_row(rig: Rig, caplog):
    caplog.set_level(logging.DEBUG)
    made = (await rig.admin("POST", K, {"name": "n", "tenant": "acme"})).json["key"]
    rotated = (await rig.admin("POST", f"{K}/{made.split('-')[2]}/rotate", {"overlap_seconds": 60})).json["key"]
    texts = [caplog.text]
    for path in (
        K,
        f"{K}/{made.split('-')[2]}",
        T,
        "/admin/audit",
        "/admin/health",
        "/admin/ledger",
        "/admin/usage",
        "/admin/openapi.json",
        f"{K}/{made}",
    ):
        texts.append(
            (await rig.admin("GET", path)).body.decode().replace(made, "") if path.endswith(made) else (await rig.admin("GET", path)).body.decode()
        )
    stored = await rig.gateway.keys.get(made.split("-")[2])
    secrets = [made, rotated, made.split("-", 3)[3], rotated.split("-", 3)[3], stored.digest.hex(), stored.old_digest.hex()]
    for text in texts:
        for secret in secrets:
            assert secret not in text
