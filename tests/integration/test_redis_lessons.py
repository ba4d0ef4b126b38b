"""What workers teach each other, over a real server that may be away or emptied."""

from collections.abc import AsyncIterator, Callable

import pytest
from redis_servers import RedisServer

from tokenrouter.errors import Unavailable
from tokenrouter.storage.redis_client import RedisClient
from tokenrouter.storage.redis_lessons import KEY, RedisLessons

Make = Callable[..., tuple[RedisLessons, list[bytes]]]


@pytest.fixture
async def client(own_redis: RedisServer) -> AsyncIterator[RedisClient]:
    made = RedisClient(own_redis.url, timeout_s=2)
    yield made
    await made.aclose()


@pytest.fixture
def make(client: RedisClient) -> Make:
    def new(name: str, **more: int) -> tuple[RedisLessons, list[bytes]]:
        heard: list[bytes] = []
        made = RedisLessons(client, name, **more)
        made.listen(heard.append)
        return made, heard

    return new


async def test_every_other_worker_hears_each_lesson_once_and_in_order(make: Make) -> None:
    (one, heard_one), (two, heard_two), (three, heard_three) = make("one"), make("two"), make("three")
    for lesson in (b"a", b"b"):
        one.tell(lesson)
    await one.tick()
    two.tell(b"c")
    for worker in (two, three, one, two, three):
        await worker.tick()
    assert (heard_one, heard_two, heard_three) == ([b"c"], [b"a", b"b"], [b"a", b"b", b"c"])


async def test_a_worker_that_starts_later_hears_what_was_told_before(make: Make) -> None:
    one, _ = make("one")
    for number in range(250):
        one.tell(b"%d" % number)
        await one.tick()
    two, heard = make("two")
    await two.tick()
    assert heard == [b"%d" % number for number in range(250)]


async def test_the_stream_is_capped_by_its_bytes(make: Make, client: RedisClient) -> None:
    one, _ = make("one", kept_bytes=1 << 20)
    for _ in range(400):
        one.tell(bytes(20_000))
        await one.tick()
    length = await client.command(KEY, "XLEN", KEY)
    assert isinstance(length, int)
    assert 50 <= length <= 220, "whole blocks of the stream go"


async def test_what_can_not_be_told_is_dropped_and_nobody_waits(make: Make, own_redis: RedisServer) -> None:
    (one, heard_one), (two, heard_two) = make("one", most_waiting=1000), make("two")
    one.tell(b"before")
    await one.tick()
    await two.tick()
    own_redis.kill()
    for _ in range(3):
        one.tell(bytes(400))
    assert one.dropped == 1
    with pytest.raises(Unavailable):
        await one.tick()
    own_redis.start()
    one.tell(b"after")
    await _until_told(one)
    await _until_told(two)
    assert heard_two[0] == b"before"
    assert heard_two[-1] == b"after"
    assert heard_one == []


async def test_an_emptied_server_whose_clock_is_behind_is_heard_from_its_beginning(make: Make, client: RedisClient) -> None:
    two, heard = make("two")
    await client.command(KEY, "XADD", KEY, "99999999999999-1", "w", b"one", "l", b"\x91\xc4\x01x")
    await two.tick()
    await client.command(KEY, "DEL", KEY)
    two._was_away = True
    await client.command(KEY, "XADD", KEY, "5-1", "w", b"one", "l", b"\x91\xc4\x01y")
    await two.tick()
    assert heard == [b"x", b"y"]


async def test_what_can_not_be_read_is_passed_over(make: Make, client: RedisClient) -> None:
    two, heard = make("two")
    await client.command(KEY, "XADD", KEY, "*", "w", b"one", "l", b"\xff nonsense")
    await client.command(KEY, "XADD", KEY, "*", "other", b"fields")
    await client.command(KEY, "XADD", KEY, "*", "w", b"one", "l", b"\x91\xc4\x01y")
    await two.tick()
    assert heard == [b"y"]


async def test_a_lesson_that_can_not_be_taken_in_does_not_take_its_neighbours_with_it(make: Make) -> None:
    (one, _), (two, heard) = make("one"), make("two")

    def hear(lesson: bytes) -> None:
        if lesson == b"odd":
            raise KeyError(lesson)
        heard.append(lesson)

    two.listen(hear)
    for lesson in (b"a", b"odd", b"b"):
        one.tell(lesson)
    await one.tick()
    one.tell(b"c")
    await one.tick()
    await two.tick()
    assert heard == [b"a", b"b", b"c"]


async def _until_told(lessons: RedisLessons) -> None:
    for _ in range(50):
        try:
            await lessons.tick()
        except Unavailable:
            continue
        return
    raise AssertionError("the server did not come back")
