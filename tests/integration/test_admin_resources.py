"""Tenants, keys, customers, limits, caps, prices and the audit through the admin API, over both databases."""

import json

import pytest
from admin_desk import Office

from tokenrouter.model.principal import PromptCacheOptions
from tokenrouter.model.volatile import Template

T, K = "/admin/tenants", "/admin/api-keys"


@pytest.fixture
async def acme(office: Office) -> str:
    await office.made(T, {"name": "acme", "zone": "Europe/Berlin"})
    return "/admin/tenants/acme"


async def test_a_tenant_is_made_shown_changed_and_listed(office: Office):
    made = await office.made(T, {"name": "acme", "zone": "Europe/Berlin", "customer_field": True})
    usual = {"mode": "", "hold_ms": 0, "slots": [], "diagnostics": False}
    said = {"name": "acme", "zone": "Europe/Berlin", "customer_field": True, "disabled": False, "created_at": "2023-11-14T22:13:20Z"}
    assert made == {**said, "prompt_cache": usual}
    assert (await office.ask("GET", f"{T}/acme")).json == made
    changed = await office.ask("PATCH", f"{T}/acme", {"disabled": True})
    assert changed.json == {**made, "disabled": True}
    assert await office.all(T) == [changed.json]
    again = await office.ask("POST", T, {"name": "acme"})
    assert (again.status, again.json["code"]) == (409, "conflict")
    assert (await office.ask("GET", f"{T}/acme")).json == changed.json
    assert await office.audited() == [("office", "put tenant", "tenant:acme")] * 2
    slot = {"id": "d47e00", "kind": "date", "left": "Today is ", "right": ". Keep"}
    observing = {"mode": "observe", "hold_ms": 0, "slots": [slot], "diagnostics": False}
    for said, prompt_cache in (({"mode": "observe", "slots": [slot]}, observing), ({"hold_ms": 50, "diagnostics": True}, None)):
        answer = await office.ask("PATCH", f"{T}/acme", {"prompt_cache": said})
        assert answer.json["prompt_cache"] == (prompt_cache or {**observing, "hold_ms": 50, "diagnostics": True}), "what was not said stays"
    key = (await office.made(K, {"tenant": "acme"}))["key"]
    await office.ask("PATCH", f"{T}/acme", {"disabled": False})
    assert (await office.directory.look_up(key)).prompt_cache == PromptCacheOptions("observe", 50, (Template(**slot),), diagnostics=True)


async def test_a_key_is_changed_disabled_and_revoked(office: Office):
    made = await office.made(K, {"tenant": "acme", "name": "ci", "quota_usd": 5, "models": ["gpt-4.1"], "expires_at": "2024-01-01T01:00:00+01:00"})
    assert made["key"].startswith(f"sk-tr-{made['id']}-")
    assert (made["state"], made["expires_at"], made["quota_usd"], made["spent_usd"]) == ("valid", "2024-01-01T00:00:00Z", "5.00", "0.00")
    url, hidden = f"{K}/{made['id']}", {**made, "key": None}
    assert (await office.ask("GET", url)).json == hidden
    assert (await office.ask("PATCH", url, {"name": "cd"})).json == {**hidden, "name": "cd"}
    changed = (await office.ask("PATCH", url, {"quota_usd": None, "expires_at": None, "requests_per_minute": 7, "dedup_mode": "off"})).json
    assert (changed["quota_usd"], changed["held_usd"], changed["expires_at"], changed["requests_per_minute"]) == (None, None, None, 7)
    assert (changed["models"], changed["dedup_mode"]) == (["gpt-4.1"], "off"), "what was not said stays"
    assert (await office.ask("PATCH", url, {"disabled": True})).json["state"] == "disabled"
    assert await office.directory.look_up(made["key"]) is None
    assert (await office.ask("PATCH", url, {"disabled": False})).json["state"] == "valid"
    assert (await office.directory.look_up(made["key"])).key_id == made["id"]
    gone = (await office.ask("DELETE", url)).json
    assert (gone["state"], gone["revoked"], gone["revoked_at"]) == ("revoked", True, "2023-11-14T22:13:20Z")
    assert await office.directory.look_up(made["key"]) is None
    for method, path in (("PATCH", url), ("POST", f"{url}/rotate")):
        answer = await office.ask(method, path, {})
        assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert (await office.ask("DELETE", url)).json == gone
    assert [action for _, action, target in await office.audited() if target == f"key:{made['id']}"] == [
        "revoke key",
        *["update key"] * 4,
        "create key",
    ]


async def test_an_expired_key_says_so(office: Office):
    made = await office.made(K, {"expires_at": "2023-11-14T22:13:21Z"})
    office.clock.advance(1)
    assert (await office.ask("GET", f"{K}/{made['id']}")).json["state"] == "expired"


async def test_a_rotated_key_has_two_secrets_for_as_long_as_they_overlap(office: Office):
    made = await office.made(K, {"tenant": "acme"})
    url = f"{K}/{made['id']}/rotate"
    rotated = (await office.ask("POST", url, {"overlap_seconds": 60})).json
    assert rotated["id"] == made["id"]
    assert rotated["key"] not in (None, made["key"])
    assert rotated["old_secret_until"] == "2023-11-14T22:14:20Z"
    for key in (made["key"], rotated["key"]):
        assert await office.directory.look_up(key) is not None
    office.clock.advance(60)
    assert await office.directory.look_up(made["key"]) is None
    assert await office.directory.look_up(rotated["key"]) is not None
    assert (await office.ask("GET", f"{K}/{made['id']}")).json["old_secret_until"] is None
    at_once = (await office.ask("POST", url)).json
    assert await office.directory.look_up(rotated["key"]) is None
    assert await office.directory.look_up(at_once["key"]) is not None


async def test_a_key_under_a_capped_tenant_is_never_called_unlimited(office: Office, acme: str):
    mine, other = await office.made(K, {"tenant": "acme"}), await office.made(K, {"tenant": "other"})
    views = {key["id"]: key["unlimited"] for key in await office.all(K)}
    assert views == {mine["id"]: True, other["id"]: True}
    cap = await office.made(f"{acme}/caps", {"amount_usd": "50", "period": "month", "action": "warn"})
    assert (await office.ask("GET", f"{K}/{mine['id']}")).json["unlimited"], "a cap that only warns limits nothing"
    await office.ask("PUT", f"{acme}/caps/{cap['id']}", {"amount_usd": "50", "period": "month", "action": "block"})
    assert {key["id"]: key["unlimited"] for key in await office.all(K, 1)} == {mine["id"]: False, other["id"]: True}
    assert not (await office.ask("GET", f"{K}/{mine['id']}")).json["unlimited"]
    assert not (await office.ask("GET", f"{K}/{mine['id']}/limits")).json["unlimited"]


async def test_a_cap_of_another_key_leaves_this_one_unlimited(office: Office, acme: str):
    one, two = await office.made(K, {"tenant": "acme"}), await office.made(K, {"tenant": "acme"})
    await office.made(f"{acme}/caps", {"scope": {"key": one["id"]}, "amount_tokens": 5})
    assert {key["id"]: key["unlimited"] for key in await office.all(K)} == {one["id"]: False, two["id"]: True}


async def test_customers_are_registered_with_caps_that_are_rules(office: Office, acme: str):
    made = await office.made(f"{acme}/customers", {"id": "c/1 ü", "name": "One", "daily_usd": "1.50", "per_request_usd": 0.25})
    assert (made["daily_usd"], made["monthly_usd"], made["per_request_usd"], made["disabled"]) == ("1.50", None, "0.25", False)
    caps = await office.all(f"{acme}/caps")
    assert {(cap["period"], cap["amount_usd"], cap["scope"]["customer"]) for cap in caps} == {("day", "1.50", "c/1 ü"), ("request", "0.25", "c/1 ü")}
    assert sorted(made["rules"]) == sorted(cap["id"] for cap in caps)
    url = f"{acme}/customers/c%2F1 ü".replace("%2F", "/")
    day = next(cap["id"] for cap in caps if cap["period"] == "day")
    changed = (await office.ask("PATCH", url, {"daily_usd": "2", "monthly_usd": "30", "per_request_usd": None, "disabled": True})).json
    assert (changed["daily_usd"], changed["monthly_usd"], changed["per_request_usd"], changed["disabled"], changed["name"]) == (
        *("2.00", "30.00", None, True),
        "One",
    )
    assert day in changed["rules"], "a cap whose amount is changed goes on counting"
    assert (await office.ask("PATCH", url, {"name": ""})).json == {**changed, "name": ""}
    assert await office.all(f"{acme}/customers") == [{**changed, "name": ""}]
    assert (await office.ask("POST", f"{acme}/customers", {"id": "c/1 ü"})).status == 409
    assert (await office.ask("DELETE", url)).status == 200
    assert (await office.ask("GET", url)).status == 404
    assert await office.all(f"{acme}/caps") == []
    fresh = await office.made(f"{acme}/customers", {"id": "c/1 ü", "daily_usd": "2"})
    assert day not in fresh["rules"], "no counter is inherited"


async def test_rules_of_a_customer_that_nobody_registered_do_not_register_it(office: Office, acme: str):
    await office.made(f"{acme}/limits", {"scope": {"customer": "c1"}, "metric": "requests", "amount": 5})
    assert (await office.ask("GET", f"{acme}/customers/c1")).status == 404
    made = await office.made(f"{acme}/customers", {"id": "c1"})
    assert len(made["rules"]) == 1
    assert (await office.ask("DELETE", f"{acme}/customers/c1")).status == 200
    assert len(await office.all(f"{acme}/limits")) == 1


async def test_limits_are_made_shown_replaced_and_deleted(office: Office, acme: str):
    key = (await office.made(K, {"tenant": "acme"}))["id"]
    made = await office.made(
        f"{acme}/limits",
        {"scope": {"key": key, "customer": "*", "model": "gpt-4.1"}, "metric": "tokens", "amount": 1000, "window": "hour", "refill": 100},
    )
    assert made["scope"] == {"key": key, "customer": "*", "model": "openai/gpt-4.1"}
    assert (made["metric"], made["amount"], made["window"], made["kind"], made["refill"]) == ("tokens", 1000, "hour", "bucket", 100)
    url = f"{acme}/limits/{made['id']}"
    assert (await office.ask("GET", url)).json == made
    replaced = (await office.ask("PUT", url, {"metric": "tokens", "amount": 5, "kind": "sliding"})).json
    assert replaced == {
        "id": made["id"],
        "tenant": "acme",
        "scope": {"key": None, "customer": None, "model": None},
        "metric": "tokens",
        "amount": 5,
        "window": "minute",
        "kind": "sliding",
        "refill": None,
    }
    assert await office.all(f"{acme}/limits") == [replaced]
    assert await office.all(f"{acme}/caps") == []
    assert (await office.ask("GET", f"{acme}/caps/{made['id']}")).status == 404
    assert (await office.ask("PUT", f"{acme}/limits/nobody", {"metric": "tokens", "amount": 5})).status == 404
    assert (await office.ask("DELETE", url)).json == replaced
    assert (await office.ask("DELETE", url)).status == 404
    assert [(action, target) for _, action, target in await office.audited()][:3] == [
        ("delete rule", f"rule:acme/{made['id']}"),
        ("put rule", f"rule:acme/{made['id']}"),
        ("put rule", f"rule:acme/{made['id']}"),
    ]


async def test_a_places_limit_has_no_window(office: Office, acme: str):
    made = await office.made(f"{acme}/limits", {"metric": "concurrency", "amount": 3})
    assert (made["window"], made["kind"], made["refill"]) == (None, None, None)


async def test_caps_are_made_replaced_and_keep_what_they_counted(office: Office, acme: str):
    made = await office.made(f"{acme}/caps", {"amount_usd": "12.50", "action": "downgrade", "downgrade_to": "gpt-4.1-mini", "alerts": [95, 50, 50]})
    assert (made["amount_usd"], made["amount_tokens"], made["period"]) == ("12.50", None, "month")
    assert (made["action"], made["downgrade_to"], made["alerts"]) == ("downgrade", "openai/gpt-4.1-mini", [50, 95])
    assert made["counts_from"] == "2023-11-14T22:13:20Z"
    url = f"{acme}/caps/{made['id']}"
    office.clock.advance(3600)
    replaced = (await office.ask("PUT", url, {"amount_usd": "20", "period": "month"})).json
    assert (replaced["amount_usd"], replaced["action"], replaced["downgrade_to"]) == ("20.00", "block", None)
    assert replaced["counts_from"] == made["counts_from"]
    for change, where in (({"amount_tokens": 5}, "amount_tokens"), ({"amount_usd": "1", "scope": {"key": "*"}}, "scope")):
        answer = await office.ask("PUT", url, change)
        assert (answer.status, answer.json["param"]) == (400, where)
    assert (await office.ask("GET", url)).json == replaced


WRONG_LIMITS = [
    ({}, "metric"),
    ({"metric": "requests"}, "amount"),
    ({"metric": "requests", "amount": 0}, "amount"),
    ({"metric": "requests", "amount": 10**11 + 1}, "amount"),
    ({"metric": "requests", "amount": 1.5}, "amount"),
    ({"metric": "money", "amount": 1}, "metric"),
    ({"metric": "requests", "amount": 1, "window": "year"}, "window"),
    ({"metric": "requests", "amount": 1, "kind": "sliding", "refill": 1}, "refill"),
    ({"metric": "concurrency", "amount": 1, "refill": 1}, "refill"),
    ({"metric": "requests", "amount": 1, "refill": -1}, "refill"),
    ({"metric": "requests", "amount": 1, "scope": {"key": "nobody"}}, "scope.key"),
    ({"metric": "requests", "amount": 1, "scope": {"model": "no-such-model"}}, "scope.model"),
    ({"metric": "requests", "amount": 1, "scope": {"model": "nobody/gpt-4.1"}}, "scope.model"),
    ({"metric": "requests", "amount": 1, "scope": {"customer": ""}}, "scope.customer"),
    ({"metric": "requests", "amount": 1, "scope": {"customer": "a\nb"}}, "scope.customer"),
    ({"metric": "requests", "amount": 1, "scope": {"team": "x"}}, "scope.team"),
    ({"metric": "requests", "amount": 1, "id": "x"}, "id"),
]
WRONG_CAPS = [
    ({}, None),
    ({"amount_usd": "1", "amount_tokens": 1}, None),
    ({"amount_usd": "-1"}, "amount_usd"),
    ({"amount_usd": "9007199.254740992"}, "amount_usd"),
    ({"amount_tokens": 2**53}, "amount_tokens"),
    ({"amount_tokens": "lots"}, "amount_tokens"),
    ({"amount_usd": "1", "period": "year"}, "period"),
    ({"amount_usd": "1", "action": "downgrade"}, "downgrade_to"),
    ({"amount_usd": "1", "downgrade_to": "gpt-4.1"}, "downgrade_to"),
    ({"amount_usd": "1", "action": "downgrade", "downgrade_to": "no-such-model"}, "downgrade_to"),
    ({"amount_usd": "1", "action": "downgrade", "downgrade_to": "openai/a-model-without-a-price"}, "downgrade_to"),
    ({"amount_usd": "1", "alerts": [0]}, "alerts"),
    ({"amount_usd": "1", "alerts": [101]}, "alerts"),
    ({"amount_usd": "1", "alerts": list(range(1, 12))}, "alerts"),
    ({"amount_usd": "1", "alerts": ["80%"]}, "alerts.0"),
]


@pytest.mark.parametrize(("kind", "body", "where"), [*(("limits", *row) for row in WRONG_LIMITS), *(("caps", *row) for row in WRONG_CAPS)])
async def test_a_rule_that_makes_no_sense_is_refused_with_its_place(office: Office, acme: str, kind: str, body: dict[str, object], where: str | None):
    answer = await office.ask("POST", f"{acme}/{kind}", body)
    assert answer.status == 400, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json.get("param") == where
    assert answer.json["detail"]
    assert await office.all(f"{acme}/{kind}") == []


async def test_a_key_of_another_tenant_is_as_unknown_as_one_that_never_was(office: Office, acme: str):
    theirs = (await office.made(K, {"tenant": "other"}))["id"]
    said = []
    for key in (theirs, "0" * len(theirs)):
        for path, body in (
            (f"{acme}/limits", {"metric": "requests", "amount": 1, "scope": {"key": key}}),
            ("/admin/check", {"tenant": "acme", "key_id": key}),
            ("/admin/cache/purge", {"tenant": "acme", "key_id": key}),
        ):
            answer = await office.ask("POST", path, body)
            assert answer.status == 400
            said.append(answer.body.replace(key.encode(), b"KEY"))
    assert said[:3] == said[3:]


async def test_rules_and_customers_of_another_tenant_are_not_found(office: Office, acme: str):
    await office.made(T, {"name": "other"})
    cap = await office.made(f"{acme}/caps", {"amount_usd": "1"})
    await office.made(f"{acme}/customers", {"id": "c1"})
    for method in ("GET", "PUT", "DELETE"):
        body = {"amount_usd": "2"} if method == "PUT" else None
        assert (await office.ask(method, f"{T}/other/caps/{cap['id']}", body)).status == 404
    for method in ("GET", "PATCH", "DELETE"):
        assert (await office.ask(method, f"{T}/other/customers/c1", {} if method == "PATCH" else None)).status == 404
    assert await office.all(f"{acme}/caps") == [cap]


@pytest.mark.parametrize("path", ["limits", "caps", "customers"])
async def test_a_tenant_that_is_not_there_has_nothing(office: Office, path: str):
    for method, body in (
        ("GET", None),
        ("POST", {"id": "c", "metric": "requests", "amount": 1} if path == "limits" else {"id": "c", "amount_usd": "1"}),
    ):
        answer = await office.ask(method, f"{T}/nobody/{path}", body)
        assert answer.status in (400, 404)
    assert await office.all(T) == []


async def test_prices_are_set_at_once_shown_with_their_source_and_taken_back(office: Office):
    url = "/admin/prices/openai/gpt-4.1"
    before = (await office.ask("GET", url)).json
    assert (before["layer"], before["own"], before["layers"][0]["layer"]) == ("data", None, "data")
    assert before["price"]["tiers"][0]["input"] == "2.00"
    put = await office.ask("PUT", url, {"input": 3, "output": "15.00", "source": "contract"})
    assert (put.status, put.json["layer"], put.json["price"]["source"]) == (200, "admin", "contract")
    assert put.json["price"]["tiers"] == [
        {"above_input_tokens": 0, "input": "3.00", "cache_read": "3.00", "cache_write": "3.00", "cache_write_1h": "3.00", "output": "15.00"}
    ]
    assert [layer["layer"] for layer in put.json["layers"]] == ["admin", "data"]
    assert put.json["own"] == {"input": "3", "output": "15.00", "source": "contract"}
    assert office.desk.prices.schedule("openai", "gpt-4.1").at(0).tiers[0].rates.fresh_input == 3_000_000_000
    assert next(row for row in await office.all("/admin/prices?vendor=openai") if row["model"] == "openai/gpt-4.1")["layer"] == "admin"
    gone = await office.ask("DELETE", url)
    assert (gone.json["layer"], gone.json["own"]) == ("data", None)
    assert (await office.ask("GET", url)).json == before
    assert (await office.ask("DELETE", url)).status == 404
    assert [row[1:] for row in await office.audited()] == [("delete price", "price:openai/gpt-4.1"), ("put price", "price:openai/gpt-4.1")]


async def test_prices_that_were_set_elsewhere_are_used_when_the_revision_moves(office: Office):
    await office.desk.own_prices.refresh()
    await office.desk.records.put_price("openai/gpt-4.1", json.dumps({"input": "7", "output": "8"}))
    assert office.desk.prices.schedule("openai", "gpt-4.1").at(0).tiers[0].rates.fresh_input == 2_000_000_000
    assert await office.desk.own_prices.refresh()
    assert office.desk.prices.schedule("openai", "gpt-4.1").at(0).tiers[0].rates.fresh_input == 7_000_000_000
    assert not await office.desk.own_prices.refresh()


async def test_a_price_in_the_database_that_is_none_is_left_out(office: Office, caplog):
    await office.desk.records.put_price("openai/gpt-4.1", json.dumps({"input": "free"}))
    await office.desk.records.put_price("openai/gpt-5", json.dumps({"input": "7", "output": "8"}))
    assert await office.desk.own_prices.refresh()
    assert "gpt-4.1" in caplog.text
    assert office.desk.prices.schedule("openai", "gpt-4.1").at(0).tiers[0].rates.fresh_input == 2_000_000_000
    assert office.desk.prices.schedule("openai", "gpt-5").at(0).tiers[0].rates.fresh_input == 7_000_000_000


@pytest.mark.parametrize(
    ("model", "body", "where"),
    [
        ("gpt-4.1", {"input": "1", "output": "1"}, "model"),
        ("openai/gpt-4.1", {}, "input"),
        ("openai/gpt-4.1", {"input": "-1", "output": "1"}, "input"),
        ("openai/gpt-4.1", {"input": "1", "output": "1e5"}, "output"),
        ("openai/gpt-4.1", {"input": "1", "output": True}, "output"),
        ("openai/gpt-4.1", {"input": "1", "output": "1", "speed": "2"}, "speed"),
        ("openai/gpt-4.1", {"input": "1", "output": "1", "tiers": [{"above_input_tokens": 5, "input": "x", "output": "1"}]}, "tiers[0].input"),
    ],
)
async def test_a_price_that_is_none_is_refused_with_its_place(office: Office, model: str, body: dict[str, object], where: str):
    answer = await office.ask("PUT", f"/admin/prices/{model}", body)
    assert (answer.status, answer.json["param"]) == (400, where)
    assert await office.audited() == []


async def test_every_change_leaves_one_audit_row_with_its_before_and_after(office: Office, acme: str):
    await office.ask("PATCH", acme, {"zone": "UTC"}, x_admin_actor="alice@example.com")
    newest = (await office.ask("GET", "/admin/audit?limit=1")).json["data"][0]
    assert (newest["actor"], newest["action"], newest["target"]) == ("office (alice@example.com)", "put tenant", "tenant:acme")
    assert (newest["before"]["zone"], newest["after"].get("zone", "UTC")) == ("Europe/Berlin", "UTC")
    assert [row["target"] for row in await office.all("/admin/audit?target=tenant:acme")] == ["tenant:acme"] * 2
    assert await office.all("/admin/audit?target=tenant:other") == []


async def test_kept_answers_are_counted_and_purged_for_who_is_named(office: Office, acme: str):
    from test_purge import answer

    key = (await office.made(K, {"tenant": "acme"}))["id"]
    await office.made(T, {"name": "other"})

    def fill() -> None:
        for number, (tenant, model) in enumerate([("acme", "gpt-4.1"), ("acme", "gpt-5"), ("other", "gpt-4.1")]):
            office.answers.put(tenant, bytes([number]), answer(office.clock, key if tenant == "acme" else "k", model))

    for body, gone in (
        ({"tenant": "acme"}, 2),
        ({"key_id": key}, 2),
        ({"model": "gpt-4.1"}, 2),
        ({"tenant": "other", "model": "openai/gpt-4.1"}, 1),
        ({"all": True}, 3),
    ):
        fill()
        assert (await office.ask("GET", "/admin/cache")).json["answers"] == 3
        assert (await office.ask("GET", "/admin/cache?tenant=acme")).json["answers"] == 2
        assert (await office.ask("POST", "/admin/cache/purge", body)).json == {"thrown_away": gone}
        assert (await office.ask("GET", "/admin/cache")).json["answers"] == 3 - gone
        assert (await office.ask("GET", "/admin/audit?limit=1")).json["data"][0]["after"]["thrown_away"] == gone
    for body in ({}, {"all": False}, {"all": True, "tenant": "acme"}):
        assert (await office.ask("POST", "/admin/cache/purge", body)).status == 400
    assert (await office.ask("POST", "/admin/cache/purge", {"tenant": "nobody"})).status == 404
