"""Limits and caps from the outside: what a caller meets when one is reached, and that nothing was taken then."""

import asyncio
import json
from decimal import Decimal

import pytest
from rig import Rig, question, running

from tokenrouter.model.rules import EACH, Cap, Limit, Scope
from tokenrouter.money import parse_usd

USD = 1_000_000_000
PREMIUM = "o3"


def plain(text: str = "hello", **more):
    """A question that nobody shares."""
    return question(text, temperature=None, **more)


async def test_a_cap_without_room_for_the_model_s_whole_output_sets_a_limit_that_fits(rig: Rig):
    key = rig.new_key(quota=parse_usd("0.01"))
    answer = await rig.chat(plain("Answer in 300 words"), key=key)
    assert answer.status == 200
    assert "limits.fit" in answer.headers["x-tokenrouter-edits"].split(",")
    limit = int(answer.headers["x-tokenrouter-output-limit"])
    sent = json.loads(rig.sandbox.requests.items[-1].body)
    assert sent["max_completion_tokens"] == limit
    assert rig.spent(key) == rig.sandbox.bill.nano_usd <= parse_usd("0.01")


async def test_half_of_what_is_left_is_for_others_while_that_is_roomy(rig: Rig):
    key = rig.new_key(quota=parse_usd("0.2"))
    rig.sandbox.hold()
    first = asyncio.create_task(rig.chat(plain("one"), key=key))
    await rig.sandbox.waiting(1)
    assert parse_usd("0.09") < rig.held(key) <= parse_usd("0.1")
    second = asyncio.create_task(rig.chat(plain("two"), key=key))
    await rig.sandbox.waiting(2)
    assert rig.held(key) <= parse_usd("0.15")
    rig.sandbox.release()
    assert [(await first).status, (await second).status] == [200, 200]


async def test_a_client_s_own_limit_is_never_lowered_by_a_cap_that_blocks(rig: Rig):
    key = rig.new_key(quota=parse_usd("0.01"))
    answer = await rig.chat(plain(max_tokens=20_000), key=key)
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert "max_completion_tokens" in answer.error["message"]
    assert rig.sandbox.requests.seen == 0
    assert rig.held(key) == rig.spent(key) == 0


async def test_a_cap_that_fits_lowers_a_client_s_own_limit(rig: Rig):
    rig.bind(Cap(id="fit", scope=Scope(key=EACH), amount=parse_usd("0.01"), period="total", action="fit"))
    answer = await rig.chat(plain(max_tokens=20_000))
    assert answer.status == 200
    sent = json.loads(rig.sandbox.requests.items[-1].body)
    assert sent["max_tokens"] == int(answer.headers["x-tokenrouter-output-limit"]) < 20_000
    assert "max_completion_tokens" not in sent


@pytest.mark.parametrize(
    ("path", "body", "read"),
    [
        ("/v1/responses", {"model": "gpt-4.1", "input": "hello"}, lambda sent: sent["max_output_tokens"]),
        (
            "/v1/messages",
            {"model": "claude-sonnet-4-5", "max_tokens": 60_000, "messages": [{"role": "user", "content": "hello"}]},
            lambda sent: sent["max_tokens"],
        ),
        (
            "/v1beta/models/gemini-2.5-flash:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
            lambda sent: sent["generationConfig"]["maxOutputTokens"],
        ),
        ("/v1/chat", {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]}, lambda sent: sent["max_output_tokens"]),
    ],
)
async def test_every_dialect_s_limit_can_be_fitted(rig: Rig, path, body, read):
    from rig import call

    rig.bind(Cap(id="fit", scope=Scope(key=EACH), amount=parse_usd("0.01"), period="total", action="fit"))
    answer = await call(rig.app, "POST", path, json.dumps(body).encode(), {"authorization": f"Bearer {rig.key}"})
    assert answer.status == 200, answer.body
    assert read(json.loads(rig.sandbox.requests.items[-1].body)) == int(answer.headers["x-tokenrouter-output-limit"])


async def test_with_the_edit_off_nothing_is_fitted(rig: Rig):
    key = rig.new_key(quota=parse_usd("0.01"))
    answer = await rig.chat(plain(), key=key, headers={"x-edits-off": "limits.fit"})
    assert answer.status == 429
    assert rig.sandbox.requests.seen == 0


async def test_a_spent_cap_may_ask_a_cheaper_model_and_says_so(rig: Rig):
    rig.bind(
        Cap(id="cheap", scope=Scope(model="openai/gpt-4.1"), amount=1_000, period="month", action="downgrade", downgrade_to="openai/gpt-4.1-mini")
    )
    answer = await rig.chat(plain(max_tokens=100))
    assert answer.status == 200
    assert answer.headers["x-tokenrouter-downgraded-from"] == "openai%2Fgpt-4.1"
    assert answer.json["model"].startswith("gpt-4.1-mini")
    (row,) = rig.billed_rows()
    assert (row["model_asked"], row["model"]) == ("gpt-4.1", "gpt-4.1-mini")


async def test_a_downgrade_that_leads_to_another_spent_cap_is_refused(rig: Rig):
    rig.bind(
        Cap(id="cheap", amount=1_000, period="month", action="downgrade", downgrade_to="openai/gpt-4.1-mini"),
    )
    answer = await rig.chat(plain(max_tokens=100))
    assert (answer.status, answer.error["code"]) == (402, "budget_exceeded")
    assert rig.sandbox.requests.seen == 0


async def test_a_cap_that_warns_refuses_nothing_and_is_named(rig: Rig):
    rig.bind(Cap(id="soft", scope=Scope(key=EACH), amount=1_000, period="day", action="warn"))
    answer = await rig.chat(plain(max_tokens=100))
    assert answer.status == 200
    assert answer.headers["x-tokenrouter-warning"] == "soft"


async def test_a_tenant_s_monthly_cap_is_a_402_and_tells_when_it_ends(rig: Rig):
    rig.bind(Cap(id="tenant", amount=1_000, period="month"))
    answer = await rig.chat(plain(max_tokens=100))
    assert (answer.status, answer.error["code"]) == (402, "budget_exceeded")
    assert answer.headers["x-should-retry"] == "false"
    assert rig.sandbox.requests.seen == 0


async def test_kept_answers_are_given_although_the_cap_is_spent(rig: Rig):
    await rig.chat()
    rig.bind(Cap(id="tenant", amount=1_000, period="month"))
    assert (await rig.chat()).cache == "hit"
    assert (await rig.chat(plain(max_tokens=100))).status == 402


async def test_a_customer_s_cap_counts_each_customer_apart_from_its_first_request_on(rig: Rig):
    rig.bind(Cap(id="each", scope=Scope(customer=EACH), amount=parse_usd("0.012"), period="day"))
    burst = [rig.chat(plain(f"{n}", max_tokens=400), headers={"x-customer-id": "ann"}) for n in range(5)]
    statuses = sorted(answer.status for answer in await asyncio.gather(*burst))
    assert 200 in statuses
    assert 429 in statuses
    assert (await rig.chat(plain(max_tokens=400), headers={"x-customer-id": "bob"})).status == 200
    assert (await rig.chat(plain(max_tokens=400))).status == 200
    assert {row["customer"] for row in rig.billed_rows()} == {"ann", "bob", ""}


async def test_a_request_may_not_cost_more_than_its_maximum(rig: Rig):
    rig.bind(Cap(id="one", scope=Scope(customer=EACH), amount=parse_usd("0.01"), period="request"))
    answer = await rig.chat(plain(max_tokens=4_000), headers={"x-customer-id": "ann"})
    assert answer.status == 402
    assert answer.headers["x-should-retry"] == "false"
    assert (await rig.chat(plain(max_tokens=10), headers={"x-customer-id": "ann"})).status == 200


async def test_limits_are_told_in_headers_and_a_refusal_takes_nothing(rig: Rig):
    rig.bind(
        Limit(id="rpm", scope=Scope(key=EACH), metric="requests", amount=3),
        Limit(id="tpm", scope=Scope(key=EACH), metric="tokens", amount=10_000),
    )
    first = await rig.chat(plain(max_tokens=1_000))
    assert first.headers["x-ratelimit-limit-requests"] == "3"
    assert first.headers["x-ratelimit-remaining-requests"] == "2"
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 10_000
    never = await rig.chat(plain(max_tokens=9_999))
    assert (never.status, never.headers["x-should-retry"]) == (429, "false")
    rig.sandbox.hold()
    second = asyncio.create_task(rig.chat(plain(max_tokens=5_000)))
    await rig.sandbox.waiting(1)
    later = await rig.chat(plain(max_tokens=5_000))
    assert later.status == 429
    assert 0 < int(later.headers["retry-after"]) <= 60
    rig.sandbox.release()
    assert (await second).headers["x-ratelimit-remaining-requests"] == "1"  # the refused ones took none


async def test_concurrency_is_given_back_when_the_caller_leaves(rig: Rig):
    rig.bind(Limit(id="two", scope=Scope(key=EACH), metric="concurrency", amount=2))
    rig.sandbox.hold()
    tasks = [asyncio.create_task(rig.chat(plain(f"{n}"))) for n in range(2)]
    await rig.sandbox.waiting(2)
    assert (await rig.chat(plain("three"))).status == 429
    rig.sandbox.release()
    await asyncio.gather(*tasks)
    assert (await rig.chat(plain("four"))).status == 200


async def test_labels_and_customers_are_in_the_ledger(rig: Rig):
    await rig.chat(plain(max_tokens=10), headers={"x-tokenrouter-team": "search", "x-llm0-feature": "ask", "x-customer-id": "ann"})
    (row,) = rig.billed_rows()
    assert json.loads(row["labels"]) == {"feature": "ask", "team": "search"}
    assert row["customer"] == "ann"


@pytest.mark.parametrize("header", [{"x-customer-id": "x" * 129}, {"x-tokenrouter-" + "a" * 65: "x"}, {"x-tokenrouter-a": "x" * 257}])
async def test_customers_and_labels_have_bounds(rig: Rig, header):
    answer = await rig.chat(plain(max_tokens=10), headers=header)
    assert answer.status == 400
    assert rig.sandbox.requests.seen == 0


async def test_a_follower_s_place_is_its_own(rig: Rig):
    rig.bind(Limit(id="one", scope=Scope(key=EACH), metric="concurrency", amount=1))
    rig.sandbox.hold()
    leader = asyncio.create_task(rig.chat(question()))
    await rig.sandbox.waiting(1)
    assert (await rig.chat(question())).status == 429
    rig.sandbox.release()
    assert (await leader).status == 200


async def test_what_a_dollar_does_on_a_premium_model(rig: Rig):
    """Documented in docs/limits.md: the worst case is bounded by what is left, so a small cap is usable to its end and never overshot."""
    key = rig.new_key(quota=USD)
    answered = 0
    for number in range(500):
        answer = await rig.chat(plain(f"{number}: Answer in 300 words", model=PREMIUM), key=key)
        if answer.status != 200:
            break
        answered += 1
        assert Decimal(rig.spent(key)) <= USD
    assert answered > 10
    assert rig.spent(key) > USD * 9 // 10


async def test_a_refusal_tells_where_the_caller_stands(rig: Rig):
    rig.bind(Limit(id="rpm", scope=Scope(key=EACH), metric="requests", amount=1))
    await rig.chat(plain(max_tokens=5))
    refused = await rig.chat(plain(max_tokens=5))
    assert refused.status == 429
    assert (refused.headers["x-ratelimit-limit-requests"], refused.headers["x-ratelimit-remaining-requests"]) == ("1", "0")


async def test_a_kept_answer_needs_no_place_behind_a_gate(tmp_path, clock):
    async with running(tmp_path / "gated", clock=clock, GLOBAL_CONCURRENT_LIMIT="1") as rig:
        await rig.chat()
        rig.sandbox.hold()
        waiting = asyncio.create_task(rig.chat(plain("hold")))
        await rig.sandbox.waiting(1)
        assert (await rig.chat()).cache == "hit"
        same = {**question(), "user": "somebody else"}  # another body with the same answer: nothing is recognised by its bytes
        assert (await rig.chat(same)).cache == "hit"
        shut = await rig.chat(plain("more"))
        assert (shut.status, "GLOBAL_CONCURRENT_LIMIT" in shut.error["message"]) == (429, True)
        rig.sandbox.release()
        assert (await waiting).status == 200
        assert (await rig.chat(plain("more"))).status == 200


@pytest.mark.parametrize("setting", ["STREAM_CONCURRENT_LIMIT", "PROVIDER_CONCURRENT_LIMIT"])
async def test_streams_and_providers_have_gates_of_their_own(tmp_path, clock, setting):
    async with running(tmp_path / "gated", clock=clock, **{setting: "1"}) as rig:
        rig.sandbox.hold()
        waiting = asyncio.create_task(rig.chat(plain("hold", stream=True)))
        await rig.sandbox.waiting(1)
        shut = await rig.chat(plain("more", stream=True))
        assert (shut.status, setting in shut.error["message"]) == (429, True)
        assert rig.held() == 0 or setting == "STREAM_CONCURRENT_LIMIT" or rig.sandbox.barrier.waiting_now == 1
        rig.sandbox.release()
        assert (await waiting).status == 200
        assert (await rig.chat(plain("more", stream=True))).status == 200


async def test_the_deployment_s_budget_is_a_402_that_tells_no_amount(tmp_path, clock):
    async with running(tmp_path / "budget", clock=clock, GLOBAL_MONTHLY_USD_BUDGET="0.01") as rig:
        assert (await rig.chat(plain(max_tokens=500))).status == 200
        refused = await rig.chat(plain(max_tokens=20_000))
        assert (refused.status, refused.error["code"]) == (402, "budget_exceeded")
        assert "0.01" not in refused.error["message"]


async def test_a_provider_s_limit_for_an_unknown_name_is_a_mistake(tmp_path):
    with pytest.raises(AssertionError, match="no provider is called"):
        async with running(tmp_path / "typo", PROVIDER_CONCURRENT_LIMIT="opanai=5"):
            pass


@pytest.mark.parametrize("action", ["downgrade", "fit"])
async def test_an_idempotency_key_keeps_its_answer_whatever_a_cap_had_asked_instead(rig: Rig, action):
    scope = Scope(model="openai/gpt-4.1") if action == "downgrade" else Scope()
    amount = 1_000 if action == "downgrade" else parse_usd("0.01")
    rig.bind(Cap(id="cap", scope=scope, amount=amount, period="month", action=action, downgrade_to="openai/gpt-4.1-mini"))
    once = {"idempotency-key": "once"}
    first = await rig.chat(plain(), headers=once)
    assert first.status == 200, first.body
    again = await rig.chat(plain(), headers=once)
    assert (again.status, again.cache, again.text) == (200, "hit", first.text)
    assert rig.sandbox.requests.seen == 1
    other = await rig.chat(plain("something else"), headers=once)
    assert other.status == 422


async def test_a_cheaper_answer_is_not_given_for_the_dear_model_once_its_cap_allows_it_again(rig: Rig, clock):
    rig.bind(Cap(id="cap", scope=Scope(model="openai/gpt-4.1"), amount=1_000, period="day", action="downgrade", downgrade_to="openai/gpt-4.1-mini"))
    for _ in range(3):
        assert (await rig.chat()).json["model"].startswith("gpt-4.1-mini")
    rig.bind()
    answer = await rig.chat()
    assert not answer.json["model"].startswith("gpt-4.1-mini")
    assert "x-tokenrouter-downgraded-from" not in answer.headers
