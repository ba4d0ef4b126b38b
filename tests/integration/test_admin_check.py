"""The dry run: what it says is what admission does, and it takes nothing."""

import pytest
from admin_desk import Office
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenrouter.model.admission import Ask, Refused, Worst
from tokenrouter.quota.rules import Binder

T, K, C = "/admin/tenants", "/admin/api-keys", "/admin/check"
USD = 10**9


@pytest.fixture
async def key(office: Office) -> str:
    await office.made(T, {"name": "acme", "zone": "Europe/Berlin"})
    return (await office.made(K, {"tenant": "acme", "quota_usd": "3", "requests_per_minute": 10}))["id"]


async def checked(office: Office, **asked):
    answer = await office.ask("POST", C, asked)
    assert answer.status == 200, answer.body
    return answer.json


async def use(office: Office, key: str, usd: int, tokens: int, *, model: str = "openai/gpt-4.1", customer: str = "", sandbox: bool = True):
    """Hold something as a request would."""
    stored = await office.directory.get(key)
    registered = await office.directory.get_customer(stored.principal.tenant, customer) if customer else None
    bound = Binder().bind(stored.principal, customer, model, registered)
    return (await office.counters.admit(bound, Ask(id=f"r{office.clock.time_ns()}", worst=Worst(usd, tokens, sandbox)))).hold


async def test_it_shows_every_rule_that_binds_with_its_counter_and_which_is_tightest(office: Office, key: str):
    for body in ({"amount_usd": "10", "period": "month"}, {"amount_tokens": 1000, "period": "day", "scope": {"customer": "*"}, "action": "warn"}):
        await office.made(f"{T}/acme/caps", body)
    await office.made(f"{T}/acme/caps", {"amount_usd": "1", "period": "request", "scope": {"model": "gpt-5"}})
    await office.made(f"{T}/acme/limits", {"metric": "tokens", "amount": 5000, "window": "hour"})
    await office.made(f"{T}/acme/limits", {"metric": "concurrency", "amount": 2})
    hold = await use(office, key, 2 * USD, 700, customer="c1")
    office.counters.settle(hold, USD, 600)
    await use(office, key, USD // 2, 100, customer="c1")
    said = await checked(office, key_id=key, customer="c1", model="gpt-4.1", usd="1.25", tokens=10)
    assert (said["passes"], said["refusal"], said["unlimited"], said["sandbox"]) == (True, None, False, True)
    assert (said["tenant"], said["key_id"], said["customer"], said["model"]) == ("acme", key, "c1", "openai/gpt-4.1")
    caps = {(cap["unit"], cap["period"]): cap for cap in said["caps"]}
    assert set(caps) == {("usd", "total"), ("usd", "month"), ("tokens", "day")}
    quota = caps["usd", "total"]
    assert (quota["id"], quota["amount"], quota["spent"], quota["held"], quota["presumed"], quota["left"]) == (
        *(f"{key}.quota", "3.00", "1.00", "0.50"),
        *("0.00", "1.50"),
    )
    assert (quota["percent_left"], quota["resets_at"]) == (50, None)
    assert (caps["usd", "month"]["left"], caps["usd", "month"]["resets_at"]) == ("8.50", "2023-11-30T23:00:00Z")
    assert (caps["tokens", "day"]["spent"], caps["tokens", "day"]["left"], caps["tokens", "day"]["counter"].split(":")[-2]) == (600, 300, "c=c1")
    limits = {limit["metric"]: limit for limit in said["limits"]}
    assert (limits["requests"]["left"], limits["tokens"]["left"], limits["concurrency"]["left"]) == (8, 4300, 2)
    assert limits["requests"]["whole_at"] == "2023-11-14T22:13:32Z"
    assert limits["concurrency"]["whole_at"] is None
    assert said["tightest"] == quota["id"], "30 % of the cap that only warns do not count"


async def test_looking_takes_nothing(office: Office, key: str):
    first = await checked(office, key_id=key, usd="1", tokens=5)
    for _ in range(30):
        assert await checked(office, key_id=key, usd="1", tokens=5) == first
    assert await office.audited() == [("office", "create key", f"key:{key}"), ("office", "put tenant", "tenant:acme")]


async def test_a_refusal_names_the_rule_in_the_words_of_the_caller(office: Office, key: str):
    said = await checked(office, key_id=key, model="gpt-4.1", usd="3.01")
    assert (said["passes"], said["refusal"]["rule"], said["refusal"]["status"], said["refusal"]["code"]) == (
        *(False, f"{key}.quota", 429),
        "insufficient_quota",
    )
    assert "3.00 USD left" in said["refusal"]["message"]
    for _ in range(10):
        await use(office, key, 0, 0)
    said = await checked(office, key_id=key, model="gpt-4.1")
    assert (said["refusal"]["rule"], said["refusal"]["code"]) == (f"{key}.rpm", "rate_limit_exceeded")


async def test_a_tenants_spent_cap_is_a_402_and_admin_calls_go_on(office: Office, key: str):
    cap = await office.made(f"{T}/acme/caps", {"amount_usd": "1", "period": "month"})
    hold = await use(office, key, USD, 5)
    office.counters.settle(hold, USD, 5)
    said = await checked(office, key_id=key, model="gpt-4.1")
    assert (said["refusal"]["rule"], said["refusal"]["status"], said["tightest"]) == (cap["id"], 402, cap["id"])
    for path in (f"{K}/{key}", f"{K}/{key}/limits", f"{T}/acme", "/admin/audit", "/admin/health", "/admin/cache"):
        assert (await office.ask("GET", path)).status == 200
    assert (await office.ask("PUT", f"{T}/acme/caps/{cap['id']}", {"amount_usd": "2", "period": "month"})).status == 200
    assert (await checked(office, key_id=key, model="gpt-4.1"))["passes"]


async def test_a_cap_that_warns_is_listed_and_refuses_nothing(office: Office, key: str):
    cap = await office.made(f"{T}/acme/caps", {"amount_usd": "1", "period": "month", "action": "warn"})
    said = await checked(office, key_id=key, model="gpt-4.1", usd="2")
    assert (said["passes"], said["warnings"]) == (True, [cap["id"]])


async def test_what_stands_against_a_request_before_anything_is_counted(office: Office, key: str):
    async def why(**asked) -> tuple[bool, int, str]:
        said = await checked(office, **asked)
        return said["passes"], said["refusal"]["status"], said["refusal"]["rule"]

    assert await why(key_id=key, model="no-such-model") == (False, 404, None)
    assert await why(key_id=key, model="openai/without-a-price") == (False, 404, None)
    await office.ask("PATCH", f"{K}/{key}", {"models": ["gpt-5"]})
    assert await why(key_id=key, model="gpt-4.1") == (False, 403, None)
    assert (await checked(office, key_id=key, model="openai/gpt-5"))["passes"]
    await office.made(f"{T}/acme/customers", {"id": "c1", "disabled": True})
    assert await why(key_id=key, customer="c1", model="gpt-5") == (False, 403, None)
    await office.ask("PATCH", f"{T}/acme", {"disabled": True})
    assert await why(key_id=key, model="gpt-5") == (False, 401, None)
    await office.ask("DELETE", f"{K}/{key}")
    assert await why(key_id=key) == (False, 401, None)


async def test_a_tenant_is_looked_at_without_a_key(office: Office, key: str):
    await office.made(f"{T}/acme/caps", {"amount_usd": "7", "period": "month"})
    await office.made(f"{T}/acme/caps", {"amount_usd": "1", "scope": {"key": key}})
    await office.made(f"{T}/acme/caps", {"amount_usd": "2", "scope": {"key": "*"}})
    await office.made(f"{T}/acme/customers", {"id": "c1", "daily_usd": "3"})
    said = await checked(office, tenant="acme", customer="c1", model="gpt-4.1")
    assert (said["key_id"], sorted(cap["amount"] for cap in said["caps"]), said["limits"]) == (None, ["3.00", "7.00"], [])
    assert (await checked(office, tenant="acme", key_id=key))["key_id"] == key


async def test_rules_of_one_model_bind_where_that_model_is_named(office: Office, key: str):
    await office.made(f"{T}/acme/limits", {"metric": "tokens", "amount": 9, "scope": {"model": "gpt-4.1"}})
    for model, bound in (("gpt-4.1", 1), ("openai/gpt-4.1", 1), ("gpt-5", 0), (None, 0)):
        asked = {} if model is None else {"model": model}
        assert sum(limit["metric"] == "tokens" for limit in (await checked(office, key_id=key, **asked))["limits"]) == bound
    shown = (await office.ask("GET", f"{K}/{key}/limits?model=gpt-4.1&customer=c1")).json
    assert (shown["model"], shown["customer"], len(shown["limits"])) == ("openai/gpt-4.1", "c1", 2)


async def test_simulated_and_real_money_are_looked_at_apart(office: Office, key: str):
    await use(office, key, USD, 5, sandbox=True)
    for asked, held in (({"model": "gpt-4.1"}, "1.00"), ({}, "0.00"), ({"sandbox": True}, "1.00"), ({"model": "gpt-4.1", "sandbox": False}, "0.00")):
        assert (await checked(office, key_id=key, **asked))["caps"][0]["held"] == held


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "key_id"),
        ({"key_id": ""}, "key_id"),
        ({"tenant": "acme", "usd": "-1"}, "usd"),
        ({"tenant": "acme", "tokens": -1}, "tokens"),
        ({"tenant": "acme", "customer": "a\nb"}, "customer"),
        ({"tenant": "acme", "colour": "red"}, "colour"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_with_its_place(office: Office, key: str, body: dict[str, object], param: str):
    answer = await office.ask("POST", C, body)
    assert (answer.status, answer.json["param"]) == (400, param)


async def test_who_is_not_there_is_not_found(office: Office, key: str):
    assert (await office.ask("POST", C, {"key_id": "nobody"})).status == 404
    assert (await office.ask("POST", C, {"tenant": "nobody"})).status == 404
    assert (await office.ask("GET", f"{K}/nobody/limits")).status == 404


RULES = st.lists(
    st.one_of(
        st.builds(
            lambda metric, kind, amount, window: ("limits", {"metric": metric, "kind": kind, "amount": amount, "window": window}),
            st.sampled_from(("requests", "tokens")),
            st.sampled_from(("bucket", "sliding")),
            st.integers(1, 20),
            st.sampled_from(("minute", "hour")),
        ),
        st.builds(
            lambda unit, amount, period, action: ("caps", {f"amount_{unit}": amount, "period": period, "action": action}),
            st.sampled_from(("usd", "tokens")),
            st.integers(0, 20),
            st.sampled_from(("total", "day", "month", "request")),
            st.sampled_from(("block", "fit", "warn")),
        ),
    ),
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rules=RULES, asks=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6))
async def test_it_says_what_admission_does(office: Office, rules: list[tuple[str, dict[str, object]]], asks: list[tuple[int, int]]):
    tenant = f"t{len(await office.directory.tenants())}"
    await office.made(T, {"name": tenant})
    for kind, body in rules:
        await office.made(f"{T}/{tenant}/{kind}", body)
    key = (await office.made(K, {"tenant": tenant}))["id"]
    for usd, tokens in asks:
        said = await checked(office, key_id=key, model="gpt-4.1", usd=usd, tokens=tokens)
        try:
            await use(office, key, usd * USD, tokens)
            did = None
        except Refused as refused:
            did = (refused.refusal.limit or refused.refusal.cap).id
        assert (None if said["passes"] else said["refusal"]["rule"]) == did
