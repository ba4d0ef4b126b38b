"""Gateways over Redis and Postgres: several act as one, and each goes on as far as it can while one of the two is away."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from backends import *  # noqa: F403  # fixtures
from rig import Rig, question, running, until

from tokenrouter.clock import SystemClock
from tokenrouter.model.rules import EACH, Cap, Limit, Scope
from tokenrouter.money import parse_usd
from tokenrouter.sandbox.faults import Fault

PATIENT = {"REDIS_TIMEOUT_MS": "5000", "DB_TIMEOUT_MS": "10000"}  # this machine may be busy


class Fleet:
    """Several gateways over the same two servers."""

    def __init__(self, rigs: list[Rig]) -> None:
        self.rigs = rigs
        self.key = ""

    async def new_key(self, **more: Any) -> str:
        return (await self.rigs[0].gateway.keys.create(tenant=more.pop("tenant", "default"), **more))[0]

    def bind(self, *rules: Limit | Cap) -> None:
        for rig in self.rigs:
            rig.bind(*rules)

    async def rows(self, count: int) -> list[dict[str, Any]]:
        """The ledger in Postgres, once it has so many rows of calls that could cost something."""
        names = ("id", "tenant", "customer", "model", "cache", "settled", "late", "cost", "tokens", "held")
        database = self.rigs[0].gateway.stores.database
        deadline = asyncio.get_running_loop().time() + 15
        while True:
            found = await database.run(_billed)
            if len(found) >= count:
                return [dict(zip(names, row, strict=True)) for row in found]
            assert asyncio.get_running_loop().time() < deadline, f"{len(found)} rows instead of {count}"
            await asyncio.sleep(0.02)

    @property
    def billed(self) -> int:
        return sum(rig.sandbox.bill.nano_usd for rig in self.rigs)


async def _billed(connection: Any) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(
        "SELECT id, tenant, customer, model, cache, settled, late, cost, tokens, held FROM ledger WHERE settled <> 'free' ORDER BY time_ns, id"
    )
    return await cursor.fetchall()


@pytest.fixture
async def fleet(tmp_path: Path, postgres_url: str, shared_url: str) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        rigs = []
        for number in range(2):
            rig = await stack.enter_async_context(
                running(tmp_path / str(number), clock=SystemClock(), make_key=False, DATABASE_URL=postgres_url, REDIS_URL=shared_url, **PATIENT)
            )
            rigs.append(rig)
        fleet = Fleet(rigs)
        fleet.key = await fleet.new_key()
        for rig in rigs:
            rig.key = fleet.key
        yield fleet


def plain(text: str = "hello", **more: Any) -> dict[str, Any]:
    """A question that nobody shares."""
    return question(text, temperature=None, **more)


async def test_a_call_is_in_postgres_once_and_costs_what_the_vendor_bills(fleet: Fleet):
    first, second = fleet.rigs
    assert (await first.chat(plain(max_tokens=20))).status == 200
    assert (await second.chat(plain(max_tokens=20, stream=True))).status == 200
    rows = await fleet.rows(2)
    assert [row["settled"] for row in rows] == ["exact", "exact"]
    assert sum(row["cost"] for row in rows) == fleet.billed > 0


async def test_an_answer_of_one_gateway_is_given_by_the_other(fleet: Fleet):
    first, second = fleet.rigs
    await first.chat()
    await until(lambda: not first.services.flights.under_way)
    again = await second.chat()
    assert again.cache == "hit"
    assert second.sandbox.requests.seen == 0


async def test_racers_at_two_gateways_on_room_for_fifty_are_fifty(fleet: Fleet):
    probe = await fleet.new_key(quota=parse_usd("5"))
    await fleet.rigs[0].chat(plain("000000", max_tokens=1000), key=probe)
    (row,) = await fleet.rows(1)
    worst = row["held"]
    key = await fleet.new_key(quota=50 * worst)
    for rig in fleet.rigs:
        rig.sandbox.hold()
    tasks = [asyncio.create_task(fleet.rigs[number % 2].chat(plain(f"{number:06}", max_tokens=1000), key=key)) for number in range(300)]
    await until(lambda: sum(rig.sandbox.barrier.waiting_now for rig in fleet.rigs) == 50, within_s=30)
    await until(lambda: sum(task.done() for task in tasks) == 250, within_s=30)
    for rig in fleet.rigs:
        rig.sandbox.release()
    answers = await asyncio.gather(*tasks)
    assert sorted(answer.status for answer in answers) == [200] * 50 + [429] * 250
    assert {answer.error["code"] for answer in answers if answer.status == 429} == {"insufficient_quota"}
    rows = await fleet.rows(51)
    assert sum(row["cost"] for row in rows) == fleet.billed


async def test_a_request_limit_is_one_for_both(fleet: Fleet):
    fleet.bind(Limit(id="rpm", scope=Scope(key=EACH), metric="requests", amount=10))
    answers = await asyncio.gather(*(fleet.rigs[number % 2].chat(plain(f"{number}", max_tokens=5)) for number in range(30)))
    assert sum(answer.status == 200 for answer in answers) == 10
    refused = next(answer for answer in answers if answer.status == 429)
    assert int(refused.headers["retry-after"]) > 0


async def test_a_key_that_is_revoked_at_one_is_refused_at_the_other(fleet: Fleet):
    first, second = fleet.rigs
    key = await fleet.new_key()
    assert (await second.chat(plain(max_tokens=5), key=key)).status == 200
    await first.gateway.keys.revoke(key.split("-")[2])
    await second.gateway.keys.refresh()
    assert (await second.chat(plain(max_tokens=5), key=key)).status == 401


async def test_a_stream_left_early_is_booked_by_what_was_said(fleet: Fleet):
    first, _ = fleet.rigs
    first.sandbox.fault(Fault(kind="stall", after=20))
    await first.chat(plain("Answer in 300 words", stream=True), hang_up_after=3)
    (row,) = await fleet.rows(1)
    assert row["settled"] == "estimated"
    assert row["cost"] > 0


async def test_the_ledger_knows_who_and_what_for(fleet: Fleet):
    await fleet.rigs[0].chat(plain(max_tokens=5), headers={"x-customer-id": "ann", "x-tokenrouter-team": "search"})
    (row,) = await fleet.rows(1)
    assert row["customer"] == "ann"


async def test_the_admin_api_and_readiness_answer(fleet: Fleet):
    first, _ = fleet.rigs
    ready = await first.get("/readyz")
    assert (ready.status, json.loads(ready.body)["status"]) == (200, "ok")
