"""Redis or Postgres hangs, dies, forgets: what callers meet meanwhile, and that afterwards everything was counted once."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from backends import PostgresServer
from fleets import PATIENCE_S, Fleet, eventually, plain
from redis_servers import RedisServer

from tokenrouter.errors import Unavailable
from tokenrouter.model.rules import EACH, Limit, Scope
from tokenrouter.money import parse_usd
from tokenrouter.wiring.gateway import _REFRESH_KEYS_S

BREAKABLE = {"REDIS_TIMEOUT_MS": "500", "DB_TIMEOUT_MS": "3000"}
"""What is broken here is noticed soon, and what is only slow is not taken for broken."""
HOURLY = Limit(id="hourly", scope=Scope(key=EACH), metric="requests", amount=10, window="day")


@pytest.fixture
async def fleet(tmp_path: Path, postgres_url: str, own_redis: RedisServer, postgres_server: PostgresServer) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, postgres_url, own_redis, **BREAKABLE)
    await fleet.start()
    await fleet.start()
    yield fleet
    own_redis.resume()
    postgres_server.start()
    await fleet.aclose()


async def gone(fleet: Fleet) -> None:
    """Everybody has noticed that Redis does not answer."""
    await eventually(lambda: all(rig.gateway.stores._redis.away for rig in fleet.rigs), "the breakers' opening")


async def back(fleet: Fleet) -> None:
    await eventually(lambda: not any(rig.gateway.stores._redis.away for rig in fleet.rigs), "the breakers' closing")


async def knows(fleet: Fleet, key: str) -> None:
    """Every gateway has spent on a key, and looked at what is left of it."""
    tenant, counter = await fleet.counter(key)
    for rig in fleet.rigs:
        assert (await rig.chat(plain(), key=key)).status == 200
        await eventually(lambda rig=rig: rig.services.books._allowances.of(tenant, counter, "usd"), "an allowance")


async def test_while_redis_hangs_keys_without_caps_go_on_and_their_intents_are_in_postgres_first(fleet: Fleet):
    key = await fleet.new_key()
    for rig in fleet.rigs:
        assert (await rig.chat(plain(), key=key)).status == 200
    fleet.redis.pause()
    began = time.monotonic()
    assert (await fleet.first.chat(plain(), key=key)).status == 200
    first_s = time.monotonic() - began
    await asyncio.gather(*(rig.chat(plain(), key=key) for rig in fleet.rigs for _ in range(3)))
    await gone(fleet)
    before = len(fleet.rows())
    fleet.hold()
    asking = [asyncio.create_task(rig.chat(plain(stream=True), key=key)) for rig in fleet.rigs]
    await eventually(lambda: fleet.under_way == 2, "two calls at the providers")
    assert len(fleet.intents()) >= 2, "an intent is written before anything is sent"
    fleet.release()
    assert [(await task).status for task in asking] == [200, 200]
    await eventually(lambda: len(fleet.rows()) >= before + 2, "rows without Redis")
    fleet.redis.resume()
    rows = await fleet.settled(rows=fleet.sent)
    assert {row["settled"] for row in rows} == {"exact"}
    assert sum(row["cost"] for row in rows) == fleet.billed
    assert first_s < 10, "two waits for Redis and one for Postgres, on a busy machine"


async def test_while_redis_hangs_each_worker_lets_its_share_of_a_limit_in(fleet: Fleet):
    await fleet.first.gateway.keys.put_rule("default", HOURLY)
    key = await fleet.new_key()
    await eventually(lambda: all(rig.services.books._workers() == 2 for rig in fleet.rigs), "the meeting of the workers")
    fleet.redis.pause()
    answers = await asyncio.gather(*(rig.chat(plain(), key=key) for rig in fleet.rigs for _ in range(12)))
    for mine in (answers[:12], answers[12:]):
        assert sorted(answer.status for answer in mine) == [200] * 5 + [429] * 7
    fleet.redis.resume()
    await fleet.settled(rows=10)


async def test_while_redis_hangs_a_capped_key_has_its_allowance_and_then_503(fleet: Fleet):
    probe = await fleet.new_key(quota=parse_usd("50"))
    await knows(fleet, probe)
    rows = await fleet.settled(rows=2, keys=(probe,))
    worst = max(row["held"] for row in rows)
    key = await fleet.new_key(quota=250 * worst + 2 * rows[0]["cost"])
    await knows(fleet, key)
    fleet.redis.pause()
    fleet.hold()
    tasks = [asyncio.create_task(rig.chat(plain(f"{number}"), key=key)) for rig in fleet.rigs for number in range(6)]
    await eventually(lambda: sum(task.done() for task in tasks) + fleet.under_way == 12, "an answer or a call for everybody")
    refused = [task.result() for task in tasks if task.done()]
    assert fleet.under_way == 4, "2.5 calls fit into a hundredth of what was left"
    assert {(answer.status, answer.error["code"]) for answer in refused} == {(503, "quota_unavailable")}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    fleet.release()
    answers = await asyncio.gather(*tasks)
    assert sorted(answer.status for answer in answers) == [200] * 4 + [503] * 8
    fleet.redis.resume()
    rows = await fleet.settled(rows=8, keys=(probe, key))
    assert sum(row["cost"] for row in rows) == fleet.billed


async def test_what_was_under_way_when_redis_hung_is_settled_once_when_it_is_back(fleet: Fleet):
    key = await fleet.new_key(quota=parse_usd("50"))
    await knows(fleet, key)
    fleet.hold()
    before = [asyncio.create_task(rig.chat(plain(stream=number % 2 == 1), key=key)) for rig in fleet.rigs for number in range(4)]
    await eventually(lambda: fleet.under_way == 8, "eight calls")
    fleet.redis.pause()
    during = [asyncio.create_task(rig.chat(plain(), key=key)) for rig in fleet.rigs for _ in range(2)]
    await eventually(lambda: fleet.under_way == 12, "twelve calls")
    for rig in fleet.rigs[:1]:
        rig.sandbox.release()
    await asyncio.gather(*before[:4], *during[:2])
    fleet.redis.resume()
    await back(fleet)
    await eventually(lambda: _held(fleet, key, 6), "the holds of what is under way")
    fleet.release()
    answers = await asyncio.gather(*before, *during)
    assert {answer.status for answer in answers} == {200}
    rows = await fleet.settled(rows=14, keys=(key,))
    assert {(row["settled"], row["late"]) for row in rows} == {("exact", 0)}
    assert sum(row["cost"] for row in rows) == fleet.billed


async def _held(fleet: Fleet, key: str, calls: int) -> bool:
    """Exactly so many calls hold something."""
    tenant, _ = await fleet.counter(key)
    admin = fleet.redis.admin
    with admin:
        return int(admin.zcard(f"tr:{{{tenant}}}:holds")) == calls


async def test_redis_that_comes_back_empty_under_load_is_filled_again_and_no_cap_is_exceeded(fleet: Fleet):
    probe = await fleet.new_key(quota=parse_usd("50"))
    await knows(fleet, probe)
    worst = max(row["held"] for row in await fleet.settled(rows=2, keys=(probe,)))
    quota = 200 * worst
    key = await fleet.new_key(quota=quota)
    await knows(fleet, key)
    spent = fleet.billed
    statuses: list[int] = []
    stop = asyncio.Event()

    async def load(number: int) -> None:
        while not stop.is_set():
            answer = await fleet.rigs[number % 2].chat(plain(stream=number % 3 == 0), key=key)
            statuses.append(answer.status)
            assert answer.status in (200, 429, 503), answer.body
            await asyncio.sleep(0 if answer.status == 200 else 0.05)

    loading = [asyncio.create_task(load(number)) for number in range(6)]
    await eventually(lambda: statuses.count(200) >= 12, "some load")
    fleet.redis.kill()
    await gone(fleet)
    fleet.hold()
    await eventually(lambda: fleet.under_way >= 2, "calls on allowances")
    fleet.redis.start()
    began = time.monotonic()
    await back(fleet)
    state = await eventually(lambda: _ready(fleet, key), "counters")
    recovered_s = time.monotonic() - began
    assert state.held > 0, "calls under way are held again"
    assert state.total <= quota + 2 * quota // 100
    fleet.release()
    good = statuses.count(200)
    await eventually(lambda: statuses.count(200) >= good + 12 or 429 in statuses, "more load")
    stop.set()
    await asyncio.gather(*loading)
    rows = await fleet.settled(rows=fleet.sent, keys=(probe, key))
    assert len({row["id"] for row in rows}) == fleet.sent
    assert sum(row["cost"] for row in rows) == fleet.billed
    assert fleet.billed - spent <= quota + 2 * quota // 100
    assert recovered_s < PATIENCE_S


async def _ready(fleet: Fleet, key: str):
    try:
        return await fleet.state(key)
    except Unavailable:
        return None


@pytest.mark.parametrize("lost", ["everything", "one counter"])
async def test_what_redis_forgets_under_way_is_made_again_from_the_ledger_and_from_what_is_held(fleet: Fleet, lost: str):
    probe = await fleet.new_key(quota=parse_usd("50"))
    await knows(fleet, probe)
    worst = max(row["held"] for row in await fleet.settled(rows=2, keys=(probe,)))
    key = await fleet.new_key(quota=12 * worst)
    for number in range(8):
        assert (await fleet.rigs[number % 2].chat(plain(), key=key)).status == 200
    await fleet.settled(rows=10, keys=(key,))
    left = 12 * worst - (await fleet.state(key)).spent
    fleet.hold()
    under_way = [asyncio.create_task(rig.chat(plain(stream=True), key=key)) for rig in fleet.rigs for _ in range(2)]
    await eventually(lambda: fleet.under_way == 4, "four calls")
    tenant, counter = await fleet.counter(key)
    with fleet.redis.admin as admin:
        admin.flushall() if lost == "everything" else admin.delete(f"tr:{{{tenant}}}:{counter}")
    racers = [asyncio.create_task(persistent(fleet, number, key)) for number in range(12)]
    room = left // worst - 4
    await eventually(lambda: fleet.under_way + sum(task.done() for task in racers) == 16, "an answer or a call for everybody")
    assert fleet.under_way == 4 + room, "not one more than the cap has room for"
    state = await fleet.state(key)
    assert (state.held, state.presumed) == ((4 + room) * worst, 0)
    fleet.release()
    answers = await asyncio.gather(*under_way, *racers)
    assert sorted(answer.status for answer in answers) == [200] * (4 + room) + [429] * (12 - room)
    rows = await fleet.settled(rows=14 + room, keys=(probe, key))
    assert {row["settled"] for row in rows} == {"exact"}
    assert sum(row["cost"] for row in rows) == fleet.billed


async def persistent(fleet: Fleet, number: int, key: str):
    """Ask until there is an answer other than "come again"."""
    while True:
        answer = await fleet.rigs[number % 2].chat(plain(), key=key)
        if answer.status != 503:
            return answer
        await asyncio.sleep(0.1)


async def test_scripts_that_are_forgotten_every_10_ms_are_no_client_s_business(fleet: Fleet):
    key = await fleet.new_key(quota=parse_usd("50"))
    stop = asyncio.Event()
    flushed = 0

    async def forget() -> None:
        nonlocal flushed
        with fleet.redis.admin as admin:
            while not stop.is_set():
                admin.script_flush()
                flushed += 1
                await asyncio.sleep(0.01)

    forgetting = asyncio.create_task(forget())
    answers = []
    for first in range(0, 60, 12):
        some = (fleet.rigs[number % 2].chat(plain(stream=number % 3 == 0), key=key) for number in range(first, first + 12))
        answers += await asyncio.gather(*some)
    stop.set()
    await forgetting
    assert flushed >= 5
    assert [answer.status for answer in answers] == [200] * 60
    rows = await fleet.settled(rows=60, keys=(key,))
    assert sum(row["cost"] for row in rows) == fleet.billed == (await fleet.state(key)).spent


async def test_while_postgres_is_away_known_keys_go_on_and_everything_is_carried_afterwards(fleet: Fleet, postgres_server: PostgresServer):
    key, other = await fleet.new_key(quota=parse_usd("50")), await fleet.new_key(tenant="other", quota=parse_usd("50"))
    for each in (key, other):
        assert (await fleet.first.chat(plain(), key=each)).status == 200
    await fleet.settled(rows=2, keys=(key, other))
    await asyncio.to_thread(postgres_server.stop)
    answers = await asyncio.gather(*(rig.chat(plain(stream=number > 1), key=key) for rig in fleet.rigs for number in range(4)))
    assert {answer.status for answer in answers} == {200}
    await eventually(lambda: _status(fleet, "degraded"), "notice")
    ready = await fleet.first.get("/readyz")
    assert ready.status == 200
    assert any(problem.startswith("postgres: ") for problem in json.loads(ready.body)["problems"])
    fresh = await fleet.start(folder="0")
    assert (await fresh.chat(plain(), key=other)).status == 200, "a copy of the key is in Redis"
    unknown = await fresh.chat(plain(), key="sk-tr-" + "0" * 16 + "-" + "1" * 43)
    assert unknown.status in (401, 503)
    made_up = key[:-4] + ("aaaa" if not key.endswith("aaaa") else "bbbb")
    assert (await fleet.first.chat(plain(), key=made_up)).status == 401, "known, and not with this secret"
    with fleet.redis.admin as admin:
        assert admin.xlen("tr:{default}:ledger") >= 16, "intents and settlements wait"
    began = time.monotonic()
    await asyncio.to_thread(postgres_server.start)
    rows = await fleet.settled(rows=fleet.sent, keys=(key, other))
    assert time.monotonic() - began < PATIENCE_S
    assert {row["settled"] for row in rows} == {"exact"}
    assert sum(row["cost"] for row in rows) == fleet.billed
    await eventually(lambda: _status(fleet, "ok"), "readiness")


async def _status(fleet: Fleet, wanted: str) -> bool:
    return all([json.loads((await rig.get("/readyz")).body)["status"] == wanted for rig in fleet.rigs])


async def test_with_both_away_nothing_is_sent(fleet: Fleet, postgres_server: PostgresServer):
    key = await fleet.new_key()
    for rig in fleet.rigs:
        assert (await rig.chat(plain(), key=key)).status == 200
    await fleet.settled(rows=2)
    await asyncio.to_thread(postgres_server.stop)
    fleet.redis.pause()
    answers = await asyncio.gather(*(rig.chat(plain(), key=key) for rig in fleet.rigs for _ in range(3)))
    assert {answer.status for answer in answers} == {503}
    assert fleet.sent == 2
    await gone(fleet)
    ready = await fleet.first.get("/readyz")
    assert (ready.status, json.loads(ready.body)["status"]) == (503, "unavailable")
    fleet.redis.resume()
    await asyncio.to_thread(postgres_server.start)
    await back(fleet)
    assert (await persistent(fleet, 0, key)).status == 200
    await fleet.settled(rows=3)


async def test_a_revoked_key_is_refused_by_everybody_within_two_looks(fleet: Fleet):
    first, second = fleet.rigs
    key = await fleet.new_key()
    assert (await second.chat(plain(), key=key)).status == 200
    looks, refresh = 0, second.gateway.keys.refresh

    async def counted() -> bool:
        nonlocal looks
        looks += 1
        return await refresh()

    second.gateway.keys.refresh = counted  # type: ignore[method-assign]
    await first.gateway.keys.revoke(key.split("-")[2])

    async def refused() -> bool:
        return (await second.chat(plain(), key=key)).status == 401

    await eventually(refused, "refusal")
    assert looks <= 2
    assert 2 * _REFRESH_KEYS_S < 5


async def test_what_a_dead_worker_held_is_presumed_spent_and_the_truth_replaces_it_if_it_was_only_slow(fleet: Fleet):
    key = await fleet.new_key(quota=parse_usd("50"))
    await knows(fleet, key)
    first = fleet.first
    fleet.hold()
    asking = [asyncio.create_task(rig.chat(plain(stream=number == 1), key=key)) for rig in fleet.rigs for number in range(2)]
    await eventually(lambda: fleet.under_way == 4, "four calls")
    fleet.freeze(1)
    await eventually(lambda: len(fleet.intents()) == 4, "the intents in Postgres")
    assert fleet.lapse(1) == 2
    await eventually(lambda: first.services.books._well >= 5, "some time with Redis")
    fleet.look_after_others(0)
    await eventually(lambda: _presumed(fleet) == 2, "two presumptions")
    state = await fleet.state(key)
    assert state.presumed == sum(row["held"] for row in fleet.rows("settled = 'presumed'")) > 0
    first.sandbox.release()
    await asyncio.gather(*asking[:2])
    rows = await fleet.settled(rows=6, keys=(key,))
    assert [row["settled"] for row in rows].count("presumed") == 2
    assert sum(row["cost"] for row in rows) > fleet.billed
    fleet.thaw(1)
    fleet.release()
    assert [(await task).status for task in asking] == [200] * 4
    await eventually(lambda: _presumed(fleet) == 0, "the truth")
    rows = await fleet.settled(rows=6, keys=(key,))
    assert sorted((row["settled"], row["late"]) for row in rows) == [("exact", 0)] * 4 + [("exact", 1)] * 2
    assert sum(row["cost"] for row in rows) == fleet.billed


def _presumed(fleet: Fleet) -> int:
    return len(fleet.rows("settled = 'presumed'"))


async def test_calls_of_a_worker_that_died_while_redis_was_away_are_presumed_spent(fleet: Fleet):
    """Nobody but Postgres knows of them: their owner never came to tell Redis."""
    key, free = await fleet.new_key(quota=parse_usd("50")), await fleet.new_key(tenant="free")
    await knows(fleet, key)
    assert (await fleet.rigs[1].chat(plain(), key=free)).status == 200
    fleet.redis.pause()
    await gone(fleet)
    fleet.hold()
    asking = [asyncio.create_task(fleet.rigs[number].chat(plain(stream=True), key=each)) for number, each in ((0, key), (1, key), (1, free))]
    await eventually(lambda: fleet.under_way == 3, "three calls")
    fleet.freeze(1)
    dead = fleet.rigs[1].gateway.stores
    dead.books._redis._watchers.clear()
    await dead._redis.aclose()
    fleet.redis.resume()
    orphans = fleet.first.gateway.stores.orphans
    await eventually(lambda: not fleet.first.gateway.stores._redis.away, "Redis")
    await eventually(lambda: _held(fleet, key, 1), "the living one's hold")
    assert await orphans.settle() == 0, "they may still be told of"
    assert await orphans.settle(0) == 2
    fleet.first.sandbox.release()
    assert (await asking[0]).status == 200
    rows = await fleet.settled(rows=6, keys=(key,))
    assert sorted(row["settled"] for row in rows) == ["exact"] * 4 + ["presumed"] * 2
    assert all(row["cost"] == row["held"] > 0 for row in rows if row["settled"] == "presumed")
    fleet.release()
    await asyncio.gather(*asking)
