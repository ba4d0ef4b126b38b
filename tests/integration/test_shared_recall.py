"""What one worker was told, another one knows: stored answers, items that clients refer to, idempotency keys."""

import asyncio
import json

import pytest
from ledgers import TENANT, database, rows
from rig import Rig, call, question, until

from tokenrouter.adapters.base import RecallingDialect
from tokenrouter.clock import ManualClock, SystemClock
from tokenrouter.errors import IdempotencyMismatch, Unavailable
from tokenrouter.model.at_hand import NotAtHand
from tokenrouter.model.owned import Owned
from tokenrouter.recall.idempotency import IdempotencyKeys
from tokenrouter.recall.items import ItemMemory
from tokenrouter.recall.ownership import find_all, find_now
from tokenrouter.storage import redis_keys
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_recall import RedisFirsts, RedisItems
from tokenrouter.storage.shared_owned import FILES, SharedOwned

HOUR_NS = 3_600_000_000_000


@pytest.fixture
async def redis(shared_url):
    made = RedisClient(shared_url, timeout_s=5)
    yield made
    await made.aclose()


@pytest.fixture
async def make(redis, postgres_url):
    """Makes workers' stores over the same servers."""
    made: list[SharedOwned] = []
    db = database(postgres_url, *FILES)

    def new(clock=None, redis=redis, **more) -> SharedOwned:
        made.append(SharedOwned(redis, db, clock or SystemClock(), **more))
        return made[-1]

    yield new
    for store in made:
        await store.aclose()
    await db.aclose()


def owned(tokens: int = 1) -> Owned:
    return Owned("openai", tokens, SystemClock.time_ns() // HOUR_NS * HOUR_NS + 2 * HOUR_NS)


async def written(store: SharedOwned) -> None:
    await asyncio.gather(*store._sending)
    await store.rows.flush()


async def test_another_worker_fetches_what_one_was_told_from_redis_at_once_and_from_postgres_later(make, redis):
    one, other, third = make(), make(), make()
    one.record(TENANT, ("resp_1", "msg_1"), owned())
    assert one.find(TENANT, "resp_1") == owned()
    await asyncio.gather(*one._sending)
    with pytest.raises(NotAtHand):
        other.find(TENANT, "resp_1")
    assert await find_now(other, TENANT, "resp_1") == other.find(TENANT, "resp_1") == owned()
    await written(one)
    key = redis_keys.prefix(TENANT) + b"o:msg_1"
    await redis.command(key, "DEL", key)
    assert await find_now(third, TENANT, "msg_1") == owned()
    assert await find_now(third, "other", "msg_1") is None


async def test_what_nobody_knows_is_asked_for_once_in_a_while(make, redis):
    clock = ManualClock(SystemClock.time_ns())
    one, other = make(clock), make()
    assert await find_now(one, TENANT, "resp_1") is None
    other.record(TENANT, ("resp_1",), owned())
    await written(other)
    assert one.find(TENANT, "resp_1") is None
    clock.advance(3)
    assert await find_now(one, TENANT, "resp_1") == owned()


async def test_several_are_fetched_together(make):
    one, other = make(), make()
    one.record(TENANT, ("a", "b"), owned())
    await written(one)
    with pytest.raises(NotAtHand) as missing:
        find_all(other, TENANT, ["a", "x", "b"])
    await missing.value.fetch()
    assert find_all(other, TENANT, ["a", "x", "b"]) == [owned(), None, owned()]


async def test_what_was_deleted_is_gone_for_all_who_do_not_have_it_in_memory(make, redis, postgres_url):
    one, other = make(), make()
    one.record(TENANT, ("resp_1",), owned())
    one.forget(TENANT, "resp_1")
    assert one.find(TENANT, "resp_1") is None
    await written(one)
    assert await find_now(other, TENANT, "resp_1") is None
    key = redis_keys.prefix(TENANT) + b"o:resp_1"
    await redis.command(key, "DEL", key)
    assert await find_now(make(), TENANT, "resp_1") is None
    assert await one.drop_expired() == 1
    assert rows(postgres_url, "owned") == []


async def test_what_the_provider_may_have_forgotten_is_not_known(make):
    clock = ManualClock(SystemClock.time_ns())
    one = make(clock)
    one.record(TENANT, ("resp_1",), Owned("openai", 1, clock.time_ns() + HOUR_NS))
    await written(one)
    clock.advance(3600)
    assert one.find(TENANT, "resp_1") is None
    assert await find_now(make(clock), TENANT, "resp_1") is None


async def test_memory_is_bounded_and_what_left_it_is_fetched(make):
    one = make(in_memory=2)
    for name in "abc":
        one.record(TENANT, (name,), owned())
    await written(one)
    with pytest.raises(NotAtHand):
        one.find(TENANT, "a")
    assert await find_now(one, TENANT, "a") == owned()


async def test_with_postgres_away_what_redis_knows_is_known_and_the_rest_can_not_be_told(make, postgres_server, postgres_url):
    one, other = make(), make()
    postgres_server.stop()
    one.record(TENANT, ("resp_1",), owned())
    await asyncio.gather(*one._sending)
    assert await find_now(other, TENANT, "resp_1") == owned()
    with pytest.raises(Unavailable):
        await find_now(other, TENANT, "resp_2")
    postgres_server.start()
    await until(lambda: not len(one.rows), within_s=20)
    assert rows(postgres_url, "owned", "object_id") == [("resp_1",)]


async def test_with_redis_away_postgres_answers(make):
    nowhere = RedisClient("redis://127.0.0.1:1/0")
    one, other = make(redis=nowhere), make(redis=nowhere)
    one.record(TENANT, ("resp_1",), owned())
    await written(one)
    assert await find_now(other, TENANT, "resp_1") == owned()
    await nowhere.aclose()


async def test_items_are_found_by_another_worker_within_their_size_and_tenant(redis):
    items = RedisItems(redis)
    items.put(TENANT, "msg_1", b"said")
    items.put(TENANT, "msg_2", bytes(2 << 20))
    await items.aclose()
    assert await RedisItems(redis).get(TENANT, "msg_1") == b"said"
    assert await items.get(TENANT, "msg_2") is None
    assert await items.get("other", "msg_1") is None
    key = redis_keys.prefix(TENANT) + b"i:msg_1"
    assert 86_000_000 < await redis.command(key, "PTTL", key) <= 86_400_000


async def test_a_question_stands_for_an_idempotency_key_in_all_workers(redis):
    one, other = (IdempotencyKeys(SystemClock(), 60, shared=RedisFirsts(redis)) for _ in "ab")

    async def check(keys: IdempotencyKeys, key_id: str, said: bytes) -> None:
        try:
            keys.check(key_id, "order-66", said)
        except NotAtHand as missing:
            await missing.fetch()
            keys.check(key_id, "order-66", said)

    await check(one, "k1", b"question")
    await check(other, "k1", b"question")
    with pytest.raises(IdempotencyMismatch):
        await check(other, "k1", b"another")
    with pytest.raises(IdempotencyMismatch):
        await check(IdempotencyKeys(SystemClock(), 60, shared=RedisFirsts(redis)), "k1", b"another")
    await check(other, "k2", b"another")
    racers = [IdempotencyKeys(SystemClock(), 60, shared=RedisFirsts(redis)) for _ in range(20)]
    results = await asyncio.gather(*(check(keys, "k3", b"%d" % number) for number, keys in enumerate(racers)), return_exceptions=True)
    assert results.count(None) == 1


async def test_without_redis_a_worker_judges_idempotency_keys_by_what_it_knows():
    nowhere = RedisClient("redis://127.0.0.1:1/0")
    keys = IdempotencyKeys(SystemClock(), 60, shared=RedisFirsts(nowhere))
    with pytest.raises(NotAtHand) as missing:
        keys.check("k1", "order-66", b"question")
    await missing.value.fetch()
    keys.check("k1", "order-66", b"question")
    with pytest.raises(IdempotencyMismatch):
        keys.check("k1", "order-66", b"another")
    await nowhere.aclose()


def become_another_worker(rig: Rig, redis: RedisClient, owners: SharedOwned) -> None:
    """Everything that this process remembered is gone; the shared stores stay."""
    clock = SystemClock()
    dialects = {name: dialect for name, dialect in rig.services.inbound.items() if isinstance(dialect, RecallingDialect)}
    rig.set(
        owned=owners,
        items=ItemMemory(clock, dialects, shared=RedisItems(redis)),
        idempotency=IdempotencyKeys(clock, 3600, shared=RedisFirsts(redis)),
    )


async def respond(rig: Rig, body):
    return await call(rig.app, "POST", "/v1/responses", json.dumps(body).encode(), {"authorization": f"Bearer {rig.key}"})


async def test_a_conversation_goes_on_at_another_worker(rig, redis, make):
    become_another_worker(rig, redis, make(rig.clock))
    first = (await respond(rig, {"model": "gpt-5", "input": "hello"})).json
    await asyncio.gather(*rig.services.owned._sending)
    become_another_worker(rig, redis, make(rig.clock))
    second = await respond(rig, {"model": "gpt-5", "input": "go on", "previous_response_id": first["id"]})
    assert (second.status, second.json["previous_response_id"]) == (200, first["id"])
    become_another_worker(rig, redis, make(rig.clock))
    answer = await rig.get(f"/v1/responses/{first['id']}")
    assert (answer.status, answer.json["id"]) == (200, first["id"])
    unknown = await respond(rig, {"model": "gpt-5", "input": "go on", "previous_response_id": "resp_of_nobody"})
    assert (unknown.status, unknown.error["code"]) == (400, "previous_response_not_found")


async def test_references_are_written_out_by_another_worker(rig, redis, make):
    become_another_worker(rig, redis, make(rig.clock))
    asked = {"role": "user", "content": "hi"}
    (message,) = (await respond(rig, {"model": "claude-haiku-4-5", "input": [asked]})).json["output"]
    await rig.services.items._shared.aclose()
    become_another_worker(rig, redis, make(rig.clock))
    reference = {"type": "item_reference", "id": message["id"]}
    answer = await respond(rig, {"model": "claude-haiku-4-5", "input": [asked, reference, asked]})
    assert answer.status == 200, answer.body
    answer = await respond(rig, {"model": "claude-haiku-4-5", "input": [asked, {**reference, "id": "msg_of_nobody"}, asked]})
    assert (answer.status, answer.error["param"]) == (400, "input[1].type")


async def test_an_idempotency_key_is_one_question_at_every_worker(rig, redis, make):
    become_another_worker(rig, redis, make(rig.clock))
    headers = {"idempotency-key": "order-66"}
    assert (await rig.chat(question("one"), headers=headers)).status == 200
    become_another_worker(rig, redis, make(rig.clock))
    assert (await rig.chat(question("two"), headers=headers)).status == 422
    assert (await rig.chat(question("one"), headers=headers)).status == 200
