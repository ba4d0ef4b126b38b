"""Identical questions in flight share one upstream call, and nothing else is shared."""

import asyncio
import json
from typing import Any

import pytest
from rig import Response, Rig, question, until

from tokenrouter.errors import RateLimited
from tokenrouter.recall.flights import Flights
from tokenrouter.sandbox.faults import Fault

NO_STORE = {"cache-control": "no-store"}
LONG = "Answer in 300 words, please."


async def test_a_thousand_identical_questions_cost_one_call(rig: Rig):
    answers = await rig.together(1000, lambda _: rig.chat(headers=NO_STORE), calls=1)
    assert rig.sandbox.requests.seen == 1
    assert len({answer.body for answer in answers}) == 1
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.cache for answer in answers) == ["coalesced"] * 999 + ["miss"]
    assert rig.spent() == rig.sandbox.bill.nano_usd > 0
    assert rig.held() == 0


async def test_a_thousand_streams_cost_one_call_and_are_equal_to_the_byte(rig: Rig):
    body = question(LONG, stream=True)
    answers = await rig.together(1000, lambda _: rig.chat(body, headers=NO_STORE), calls=1)
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].events[-1] == "[DONE]"
    assert len(rig.billed_rows()) == 1


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_forms_of_an_answer_fly_apart(rig: Rig, model: str):
    forms = [{}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}]
    answers = await rig.together(15, lambda n: rig.chat(question(model=model, **forms[n % 3]), headers=NO_STORE), calls=3)
    groups = [{answer.body for answer in answers[form::3]} for form in range(3)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert answers[0].json["object"] == "chat.completion"
    assert not [event for event in answers[1].events if isinstance(event, dict) and event.get("usage")]
    assert [event for event in answers[2].events if isinstance(event, dict) and event.get("usage")]
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_caller_may_leave_and_the_others_still_get_it(rig: Rig, stream: bool):
    body = question(LONG, stream=stream)
    rig.sandbox.hold()
    gone = asyncio.Event()
    first = asyncio.create_task(rig.chat(body, headers=NO_STORE, gone=gone))
    await rig.sandbox.waiting(1)
    others = [asyncio.create_task(rig.chat(body, headers=NO_STORE)) for _ in range(5)]
    await until(lambda: rig.readers == 6)
    gone.set()
    left = await first
    assert left.status == 0
    rig.sandbox.release()
    answers = await asyncio.gather(*others)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert rig.sandbox.requests.seen == 1
    (row,) = rig.billed_rows()
    assert (row["settled"], row["cost"]) == ("exact", rig.sandbox.bill.nano_usd)
    assert len(rig.rows("settled = 'free' AND status = 200 AND cache = 'coalesced'")) == 5


async def test_the_first_caller_may_leave_in_the_middle_of_a_stream(rig: Rig):
    rig.sandbox.fault(Fault(kind="stall", after=4))
    body = question(LONG, stream=True)
    gone = asyncio.Event()
    first = asyncio.create_task(rig.chat(body, headers=NO_STORE, gone=gone))
    await rig.sandbox.stalling(1)
    late = asyncio.create_task(rig.chat(body, headers=NO_STORE))
    await until(lambda: rig.readers == 2)
    gone.set()
    cut = await first
    assert cut.frames
    assert not cut.finished
    rig.sandbox.release()
    whole = await late
    assert whole.body.startswith(cut.body)
    assert whole.events[-1] == "[DONE]"
    assert rig.rows("cache = 'coalesced' AND status = 200 AND settled = 'free'")


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_a_late_joiner_gets_the_whole_stream(rig: Rig, model: str):
    rig.sandbox.fault(Fault(kind="stall", after=6))
    body = question(LONG, stream=True, model=model)
    seen = Response()
    first = asyncio.create_task(rig.chat(body, headers=NO_STORE, into=seen))
    await rig.sandbox.stalling(1)
    await until(lambda: bool(seen.frames))
    late = asyncio.create_task(rig.chat(body, headers=NO_STORE))
    await until(lambda: rig.readers == 2)
    rig.sandbox.release()
    one, other = await asyncio.gather(first, late)
    assert one.body == other.body
    assert (one.cache, other.cache) == ("miss", "coalesced")


async def test_a_stream_that_everybody_left_is_cancelled_and_its_slot_is_free(rig: Rig):
    rig.sandbox.fault(Fault(kind="stall", after=8))
    body = question(LONG, stream=True)
    gone = asyncio.Event()
    readers = [asyncio.create_task(rig.chat(body, headers=NO_STORE, gone=gone)) for _ in range(3)]
    await rig.sandbox.stalling(1)
    await until(lambda: rig.readers == 3)
    gone.set()
    await asyncio.gather(*readers)
    again = await rig.chat(body, headers=NO_STORE)
    assert again.cache == "miss"
    assert again.events[-1] == "[DONE]"
    await rig.landed()
    assert [line.status for line in rig.sandbox.bill.lines] == ["cancelled", "complete"]
    cut, done = rig.billed_rows()
    assert (cut["settled"], done["settled"]) == ("estimated", "exact")
    assert cut["cost"] >= rig.sandbox.bill.lines[0].nano_usd > 0
    assert 2 * rig.sandbox.bill.lines[0].tokens.output >= cut["output"] >= rig.sandbox.bill.lines[0].tokens.output
    assert done["cost"] == rig.sandbox.bill.lines[1].nano_usd
    assert rig.spent() == cut["cost"] + done["cost"]
    assert rig.held() == 0


@pytest.mark.parametrize("vendor", ["gpt-4.1", "claude-sonnet-4-5"])
@pytest.mark.parametrize("when", ["before its head", "in the middle"])
async def test_a_whole_answer_that_everybody_left_is_drained_booked_and_kept(rig: Rig, vendor: str, when: str):
    rig.sandbox.fault(Fault(kind="stall_start" if when == "before its head" else "stall"))
    body, gone = question(LONG, model=vendor), asyncio.Event()
    readers = [asyncio.create_task(rig.chat(body, gone=gone)) for _ in range(3)]
    await rig.sandbox.stalling(1)
    await until(lambda: rig.readers == 3)
    gone.set()
    await asyncio.gather(*readers)
    assert rig.services.flights.under_way == 1
    rig.sandbox.release()
    await rig.landed()
    (row,) = rig.billed_rows()
    assert (row["settled"], row["cost"]) == ("exact", rig.sandbox.bill.nano_usd)
    assert rig.held() == 0
    again = await rig.chat(body)
    assert again.cache == "hit"
    assert rig.sandbox.requests.seen == 1


async def test_a_draining_answer_may_be_joined_again(rig: Rig):
    rig.sandbox.fault(Fault(kind="stall_start"))
    gone = asyncio.Event()
    first = asyncio.create_task(rig.chat(gone=gone, headers=NO_STORE))
    await rig.sandbox.stalling(1)
    gone.set()
    await first
    back = asyncio.create_task(rig.chat(headers=NO_STORE))
    await until(lambda: rig.readers == 1)
    rig.sandbox.release()
    assert (await back).cache == "coalesced"
    assert rig.sandbox.requests.seen == 1


class Gate:
    """Books that let nobody lead until they are opened, then ask the real ones."""

    def __init__(self, rig: Rig, refuse: frozenset[str] = frozenset()) -> None:
        self.real, self.open, self.refuse = rig.services.books, asyncio.Event(), refuse
        self.waiting = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def admit(self, bound, ask):
        if ask.worst is not None:
            self.waiting += 1
            await self.open.wait()
            if self.refuse & {part for counted in bound.caps for part in counted.counter.split(":")}:
                raise RateLimited("not you")
        return await self.real.admit(bound, ask)


async def test_a_refused_leader_hands_the_lead_on_and_alone_is_refused(rig: Rig):
    poor, rich = rig.new_key(quota=1), rig.new_key()
    gate = Gate(rig)
    rig.set(books=gate)
    leader = asyncio.create_task(rig.chat(key=poor, headers=NO_STORE))
    await until(lambda: gate.waiting == 1)
    others = [asyncio.create_task(rig.chat(key=rich, headers=NO_STORE)) for _ in range(4)]
    (flight,) = rig.services.flights._by_key.values()
    await until(lambda: flight.readers == 5)
    gate.open.set()
    refused = await leader
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
    answers = await asyncio.gather(*others)
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.cache for answer in answers) == ["coalesced"] * 3 + ["miss"]
    assert rig.sandbox.requests.seen == 1
    assert rig.spent(poor) == 0
    assert rig.spent(rich) == rig.sandbox.bill.nano_usd


async def test_the_lead_passes_along_a_chain_of_refused_callers(rig: Rig):
    keys = [rig.new_key(quota=1) for _ in range(5)] + [rig.new_key()]
    gate = Gate(rig)
    rig.set(books=gate)
    tasks = [asyncio.create_task(rig.chat(key=key, headers=NO_STORE)) for key in keys]
    await until(lambda: sum(f.readers for f in rig.services.flights._by_key.values()) == 6)
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert [answer.status for answer in answers] == [429] * 5 + [200]
    assert rig.sandbox.requests.seen == 1


async def test_everybody_refused_leaves_nothing_behind(rig: Rig):
    poor = rig.new_key(quota=1)
    gate = Gate(rig)
    rig.set(books=gate)
    tasks = [asyncio.create_task(rig.chat(key=poor, headers=NO_STORE)) for _ in range(4)]
    await until(lambda: sum(f.readers for f in rig.services.flights._by_key.values()) == 4)
    gate.open.set()
    assert {answer.status for answer in await asyncio.gather(*tasks)} == {429}
    assert not rig.services.flights._by_key
    assert rig.sandbox.requests.seen == 0


async def test_a_waiting_caller_that_is_cancelled_passes_the_lead_on():
    flights = Flights(FakeClock(), 60)
    flight, _ = flights.claim((b"q", "whole"))
    second, third = flights.claim((b"q", "whole"))[0], flights.claim((b"q", "whole"))[0]
    assert second is third is flight
    waits = [asyncio.create_task(flight.boarded()) for _ in range(2)]
    await asyncio.sleep(0)
    flight.abdicate()
    waits[0].cancel()
    assert await waits[1] is True
    with pytest.raises(asyncio.CancelledError):
        await waits[0]


async def test_a_call_cancelled_before_its_first_step_still_runs_to_its_settlement():
    flights = Flights(FakeClock(), 60)
    flight, _ = flights.claim((b"q", "stream"))
    settled = []

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            settled.append(True)
            flight.land()

    flight.start(call())
    flight.leave()
    await flight.stopped()
    assert settled == [True]


class FakeClock:
    def time_ns(self) -> int:
        return 1

    def monotonic_ns(self) -> int:
        return 1


async def test_a_rate_limited_follower_alone_is_refused(rig: Rig):
    limited = rig.new_key(rpm=1)
    rig.sandbox.hold()
    leader = asyncio.create_task(rig.chat(key=limited, headers=NO_STORE))
    await rig.sandbox.waiting(1)
    refused = await rig.chat(key=limited, headers=NO_STORE)
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) == 60
    rig.sandbox.release()
    assert (await leader).status == 200


async def test_followers_pay_nothing_and_see_what_was_saved(rig: Rig):
    follower = rig.new_key(quota=1)  # could never pay for a call of its own
    rig.sandbox.hold()
    leader = asyncio.create_task(rig.chat(headers=NO_STORE))
    await rig.sandbox.waiting(1)
    follows = asyncio.create_task(rig.chat(key=follower, headers=NO_STORE))
    await until(lambda: rig.readers == 2)
    rig.sandbox.release()
    paid, free = await asyncio.gather(leader, follows)
    assert free.headers["x-tokenrouter-cost-usd"] == "0.00"
    assert free.headers["x-tokenrouter-saved-usd"] == paid.headers["x-tokenrouter-cost-usd"] != "0.00"
    assert rig.spent(follower) == 0
    record = (await rig.get(f"/v1/requests/{free.headers['x-tokenrouter-request-id']}")).json
    assert record["shared_from"] == paid.headers["x-tokenrouter-request-id"]


async def test_a_flight_older_than_its_time_to_live_is_not_joined(start, clock):
    async with start(DEDUP_TTL="10s") as rig:
        rig.sandbox.hold()
        first = asyncio.create_task(rig.chat(headers=NO_STORE))
        await rig.sandbox.waiting(1)
        clock.advance(10)
        still = asyncio.create_task(rig.chat(headers=NO_STORE))
        await until(lambda: rig.readers == 2)
        clock.advance(0.001)
        late = asyncio.create_task(rig.chat(headers=NO_STORE))
        await rig.sandbox.waiting(2)
        rig.sandbox.release()
        assert [answer.cache for answer in await asyncio.gather(first, still, late)] == ["miss", "coalesced", "miss"]


async def test_a_newer_flight_keeps_its_slot_when_the_older_one_lands(start, clock):
    async with start(DEDUP_TTL="10s") as rig:
        rig.sandbox.fault(Fault(kind="stall_start", seconds=0))
        rig.sandbox.hold()
        first = asyncio.create_task(rig.chat(headers=NO_STORE))
        await rig.sandbox.waiting(1)
        clock.advance(11)
        rig.sandbox.release()
        rig.sandbox.fault(Fault(kind="stall_start"))
        second = asyncio.create_task(rig.chat(headers=NO_STORE))
        await rig.sandbox.stalling(1)
        await first
        third = asyncio.create_task(rig.chat(headers=NO_STORE))
        await until(lambda: rig.readers == 2)
        rig.sandbox.release()
        assert [answer.cache for answer in await asyncio.gather(second, third)] == ["miss", "coalesced"]


async def test_tenants_never_share_a_call(rig: Rig):
    keys = [rig.new_key("one"), rig.new_key("two"), rig.new_key("one"), rig.new_key("two")]
    answers = await rig.together(4, lambda n: rig.chat(key=keys[n], headers=NO_STORE), calls=2)
    assert answers[0].json["id"] == answers[2].json["id"] != answers[1].json["id"] == answers[3].json["id"]


SAMPLED = {"temperature": None}
LINKED = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.invalid/a"}}]}]


@pytest.mark.parametrize(
    ("settings", "fields", "headers", "options", "shares"),
    [
        ({}, {}, {}, {}, True),
        ({}, SAMPLED, {}, {}, False),
        ({}, {"temperature": 0.7}, {}, {}, False),
        ({}, {"temperature": 0.0}, {}, {}, True),
        ({}, {"temperature": None, "seed": 7}, {}, {}, True),
        ({}, SAMPLED, {"x-dedup": "all"}, {}, True),
        ({}, {**SAMPLED, "x-dedup": "all"}, {}, {}, True),
        ({}, SAMPLED, {"idempotency-key": "k"}, {}, True),
        ({}, {}, {"x-dedup": "off"}, {}, False),
        ({}, {"x-dedup": False}, {}, {}, False),
        ({}, SAMPLED, {}, {"dedup_mode": "all"}, True),
        ({}, {}, {}, {"dedup_mode": "off"}, False),
        ({}, {}, {"x-dedup": "auto"}, {"dedup_mode": "off"}, True),
        ({"DEDUP_MODE": "all"}, SAMPLED, {}, {}, True),
        ({"DEDUP_MODE": "all"}, SAMPLED, {}, {"dedup_mode": "auto"}, False),
        ({"DEDUP_MODE": "off"}, {}, {}, {}, False),
        ({"DEDUP_MODE": "off"}, {}, {"x-dedup": "all"}, {"dedup_mode": "all"}, False),
        ({"DEDUP_ENABLED": "false"}, {}, {"x-dedup": "all"}, {}, False),
        ({"DEDUP_MODE": "all"}, {"messages": LINKED}, {}, {}, False),
        ({"DEDUP_MODE": "all"}, {"store": True}, {}, {}, True),
    ],
)  # fmt: skip
async def test_who_shares_a_call(start, settings, fields, headers, options, shares):
    async with start(**settings, CACHE_MODE="off") as rig:
        key = rig.new_key(**options)
        answers = await rig.together(3, lambda _: rig.chat(question(**fields), key=key, headers=headers), calls=1 if shares else 3)
        assert len({answer.json["id"] for answer in answers}) == (1 if shares else 3)


async def test_one_idempotency_key_is_one_question(rig: Rig):
    sampled, key = question(temperature=None), {"idempotency-key": "order-66"}
    first, second = await rig.chat(sampled, headers=key), await rig.chat(sampled, headers=key)
    assert (first.cache, second.cache) == ("miss", "hit")
    assert first.body == second.body
    clash = await rig.chat(question("another", temperature=None), headers=key)
    assert (clash.status, clash.error["code"], clash.error["param"]) == (422, "idempotency_key_reused", "idempotency-key")
    assert rig.sandbox.requests.seen == 1


async def test_an_idempotency_key_belongs_to_its_api_key(rig: Rig):
    sampled, key, other = question(temperature=None), {"idempotency-key": "order-66"}, rig.new_key()
    mine, yours = await rig.chat(sampled, headers=key), await rig.chat(sampled, headers=key, key=other)
    assert mine.json["id"] != yours.json["id"]
    assert (await rig.chat(question("another"), headers=key, key=rig.new_key())).status == 200


async def test_a_hundred_racers_with_one_idempotency_key_are_one_charge(rig: Rig):
    body = question(temperature=None)
    answers = await rig.together(100, lambda _: rig.chat(body, headers={"idempotency-key": "one"}), calls=1)
    assert len({answer.body for answer in answers}) == 1
    assert rig.spent() == rig.sandbox.bill.nano_usd


async def test_an_idempotency_key_is_forgotten_in_time(start, clock):
    async with start(CACHE_TTL_SECONDS="60") as rig:
        key = {"idempotency-key": "k"}
        await rig.chat(question("one"), headers=key)
        clock.advance(61)
        assert (await rig.chat(question("two"), headers=key)).status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_call_fails_for_everybody_in_it_and_is_not_remembered(rig: Rig, stream: bool):
    rig.sandbox.fault(Fault(kind="status", status=500, vendor="openai"))
    body = question(stream=stream)
    answers = await rig.together(10, lambda _: rig.chat(body), calls=1)
    assert {answer.status for answer in answers} == {500}
    assert len({json.dumps(answer.error) for answer in answers}) == 1
    assert (await rig.chat(body)).status == 200


async def test_followers_of_a_stream_that_broke_all_see_the_error_and_claim_no_savings(rig: Rig):
    rig.sandbox.fault(Fault(kind="truncate", after=5))
    body = question(LONG, stream=True)
    answers = await rig.together(4, lambda _: rig.chat(body), calls=1)
    for answer in answers:
        assert answer.events[-1]["error"]["code"] == "upstream_truncated"
        record = (await rig.get(f"/v1/requests/{answer.headers['x-tokenrouter-request-id']}")).json
        assert record["saved_by_usd"]["dedup"] == "0.00"
    assert len(rig.billed_rows()) == 1


async def test_a_refusal_is_shared_only_by_those_who_would_earn_it_too(rig: Rig):
    """`metadata` changes no answer, but a provider may refuse it: a caller without it must not be handed that refusal."""
    bodies = [question(metadata={"team": "a"}), question()]
    answers = await rig.together(10, lambda n: rig.chat(bodies[n % 2], headers=NO_STORE), calls=2)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1, "it is the same question all the same"
