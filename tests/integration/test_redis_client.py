"""The Redis client against real servers: batches, timeouts, the breaker, lost scripts, clusters that move."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import redis
from redis_servers import RedisCluster, RedisServer, until

from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.lua import check_header, make_script, read_script
from tokenrouter.storage.redis_client import RedisClient, read_address
from tokenrouter.storage.redis_link import RedisAway, RedisRefused

COUNT = make_script("count", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
CLIENT_S = 0.4


@pytest.fixture
async def client(shared_url: str) -> AsyncIterator[RedisClient]:
    made = RedisClient(shared_url, timeout_s=2)
    yield made
    await made.aclose()


async def well(client: RedisClient) -> None:
    """Until the breaker is closed."""
    closed = asyncio.Event()
    client.watch(lambda away: None if away else closed.set())
    if client.away:
        await closed.wait()


async def test_scripts_and_commands_go_to_the_node_of_their_key(client: RedisClient) -> None:
    keys = [b"tr:{tenant-%d}:n" % number for number in range(50)]
    assert await asyncio.gather(*(client.run(COUNT, [key], [number]) for number, key in enumerate(keys))) == list(range(50))
    assert await asyncio.gather(*(client.command(key, "GET", key) for key in keys)) == [b"%d" % number for number in range(50)]
    assert client.problem == ""


async def test_calls_of_one_step_leave_as_one_write(redis_url: str, redis_server: RedisServer) -> None:
    client = RedisClient(redis_url)
    await client.run(COUNT, [b"k"], [1])
    with redis_server.admin as admin:
        before = admin.info("stats")["total_reads_processed"]
        await asyncio.gather(*(client.run(COUNT, [b"k"], [1]) for _ in range(64)))
        reads = admin.info("stats")["total_reads_processed"] - before
    await client.aclose()
    assert reads <= 3, "64 commands came in one read, and one more asked for this number"


async def test_a_lost_script_is_sent_whole_and_no_caller_notices(redis_url: str, redis_server: RedisServer) -> None:
    client = RedisClient(redis_url, timeout_s=2)
    admin = redis_server.admin
    for _ in range(30):
        admin.script_flush()
        await asyncio.gather(*(client.run(COUNT, [b"k"], [1]) for _ in range(20)))
    assert await client.command(b"k", "GET", b"k") == b"600", "none was lost, none counted twice"
    admin.close()
    await client.aclose()


async def test_an_error_of_a_command_is_the_callers_and_opens_nothing(client: RedisClient) -> None:
    await client.command(b"k", "SADD", b"k", 1)
    for _ in range(5):
        with pytest.raises(RedisRefused) as refused:
            await client.run(COUNT, [b"k"], [1])
        assert "WRONGTYPE" in refused.value.said
        assert "WRONGTYPE" not in refused.value.message, "what Redis says is for operators"
    assert not client.away
    assert "WRONGTYPE" in client.problem


async def test_a_server_that_hangs_holds_nobody_and_the_breaker_opens(own_redis: RedisServer) -> None:
    client, changes = RedisClient(own_redis.url, timeout_s=CLIENT_S), []
    client.watch(changes.append)
    await client.run(COUNT, [b"k"], [1])
    own_redis.pause()
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(RedisAway) as away:
            await client.run(COUNT, [b"k"], [1])
        assert away.value.may_have_run, "it is in the server's buffer"
        assert time.monotonic() - began < 10 * CLIENT_S
    assert client.away
    assert changes == [True]
    began = time.monotonic()
    with pytest.raises(RedisAway) as away:
        await client.run(COUNT, [b"k"], [1])
    assert not away.value.may_have_run
    assert time.monotonic() - began < CLIENT_S / 2
    assert "no answer" in client.problem
    own_redis.resume()
    await well(client)
    assert changes == [True, False]
    assert client.problem == ""
    assert isinstance(await client.run(COUNT, [b"k"], [1]), int)
    await client.aclose()


async def test_a_reply_that_is_here_counts_though_this_process_was_held_up(redis_url: str) -> None:
    client = RedisClient(redis_url, timeout_s=CLIENT_S)
    for _ in range(5):
        await client.run(COUNT, [b"k"], [1])
        call = asyncio.ensure_future(client.run(COUNT, [b"k"], [1]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(2 * CLIENT_S)  # noqa: ASYNC251  # the event loop stands still
        await call
    assert client.problem == ""
    await client.aclose()


async def test_connecting_to_a_server_that_hangs_takes_no_longer_than_a_call(own_redis: RedisServer) -> None:
    own_redis.pause()
    client = RedisClient(own_redis.url, timeout_s=CLIENT_S)
    began = time.monotonic()
    with pytest.raises(RedisAway) as away:
        await client.run(COUNT, [b"k"], [1])
    assert time.monotonic() - began < 10 * CLIENT_S
    assert not away.value.may_have_run, "it never left"
    await client.aclose()


async def test_a_server_that_is_killed_fails_what_is_under_way_and_is_found_again(own_redis: RedisServer) -> None:
    client = RedisClient(own_redis.url, timeout_s=CLIENT_S)
    await client.run(COUNT, [b"k"], [1])
    first = client.run_id(b"k")
    own_redis.pause()
    waiting = asyncio.ensure_future(client.run(COUNT, [b"k"], [1], timeout_s=30))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    own_redis.kill()
    with pytest.raises(Unavailable):
        await waiting
    for _ in range(4):
        with pytest.raises(RedisAway):
            await client.run(COUNT, [b"k"], [1])
    assert client.away
    own_redis.start()
    await well(client)
    assert await client.run(COUNT, [b"k"], [1]) == 1, "it came back empty"
    assert client.run_id(b"k") not in ("", first)
    await client.aclose()


@pytest.mark.parametrize("sick", ["busy", "oom", "readonly"])
async def test_a_server_that_cannot_work_counts_as_away_until_a_script_runs(own_redis: RedisServer, sick: str) -> None:
    client = RedisClient(own_redis.url, timeout_s=1)
    await client.run(COUNT, [b"k"], [1])
    with own_redis.admin as admin, own_redis.admin as busy:
        if sick == "oom":
            admin.config_set("maxmemory", 1)
        elif sick == "readonly":
            admin.replicaof("127.0.0.1", 1)
        else:
            admin.config_set("lua-time-limit", 1)
            spinning = asyncio.get_running_loop().run_in_executor(None, lambda: _spin(busy))
            until(lambda: _is_busy(admin), "the server is not busy")
        for _ in range(3):
            with pytest.raises(RedisAway) as away:
                await client.run(COUNT, [b"k"], [1])
            assert not away.value.may_have_run
        assert client.away
        if sick == "oom":
            admin.config_set("maxmemory", 0)
        elif sick == "readonly":
            admin.replicaof("NO", "ONE")
        else:
            admin.script_kill()
            await spinning
    await well(client)
    assert isinstance(await client.run(COUNT, [b"k"], [1]), int)
    await client.aclose()


def _spin(admin: redis.Redis) -> None:
    with pytest.raises(redis.ResponseError, match="kill"):
        admin.eval("while true do end", 0)


def _is_busy(admin: redis.Redis) -> bool:
    try:
        admin.get("k")
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


async def test_what_waits_is_bounded(own_redis: RedisServer) -> None:
    client = RedisClient(own_redis.url, timeout_s=CLIENT_S, most_waiting=10)
    await client.run(COUNT, [b"k"], [1])
    own_redis.pause()
    results = await asyncio.gather(*(client.run(COUNT, [b"k"], [1]) for _ in range(30)), return_exceptions=True)
    assert all(isinstance(result, RedisAway) for result in results)
    assert sum(result.may_have_run for result in results if isinstance(result, RedisAway)) == 10
    await client.aclose()


async def test_who_gives_up_does_not_shift_the_replies_of_others(client: RedisClient) -> None:
    await client.run(COUNT, [b"{k}1"], [1])
    calls = [asyncio.ensure_future(client.run(COUNT, [b"{k}%d" % number], [number])) for number in range(10, 30)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert [each for each in done if isinstance(each, int)] == list(range(11, 30, 2))


async def test_slots_that_move_are_followed(cluster_url: str, redis_cluster: RedisCluster) -> None:
    client = RedisClient(cluster_url, timeout_s=5)
    key, other = b"tr:{moving}:n", b"tr:{moving}:other"
    admins = [node.admin for node in redis_cluster.nodes]
    names = [admin.execute_command("CLUSTER", "MYID").decode() for admin in admins]
    slot = admins[0].execute_command("CLUSTER", "KEYSLOT", key)
    source = min(slot // (16384 // len(admins)), len(admins) - 1)
    target = (source + 1) % len(admins)
    try:
        assert await client.run(COUNT, [key], [1]) == 1
        admins[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        admins[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        assert await client.run(COUNT, [other], [5]) == 5, "it is not there: the source says who to ask"
        assert admins[target].execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        admins[source].execute_command("MIGRATE", "127.0.0.1", redis_cluster.nodes[target].port, key, 0, 1000)
        assert await client.run(COUNT, [key], [1]) == 2, "the key is at its new place already"
        for admin in (admins[target], admins[source], *admins):
            admin.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
        assert await client.run(COUNT, [key], [1]) == 3
        assert client.problem == ""
    finally:
        redis_cluster.empty()
        for admin in (admins[source], admins[target], *admins):
            admin.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[source])
            admin.close()
        await client.aclose()


async def test_a_node_of_a_cluster_is_named_as_such(redis_cluster: RedisCluster) -> None:
    client = RedisClient(redis_cluster.nodes[0].url)
    with pytest.raises(RedisAway):  # its slot, 7629, is the second node's
        await client.command(b"k", "GET", b"k")
    assert "redis+cluster://" in client.problem
    await client.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://:S3CRET@h",
        "redis+sentinel://:S3CRET@h",
        "redis+cluster://",
        "redis+cluster://:S3CRET@h:1/3",
        "redis://:S3CRET@h:port",
        "unix+cluster:///s",
        "redis://:S3CRET@h?socket_timeout=x",
    ],
)
def test_an_address_that_means_nothing_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_address(url)
    assert "S3CRET" not in str(error.value)


def test_a_clusters_address_keeps_credentials_and_options_for_every_node() -> None:
    address = read_address("rediss+cluster://me:pa%40ss@h1:7000,h2:7001?ssl_ca_certs=/ca")
    assert address.cluster
    assert address.nodes == ("rediss://me:pa%40ss@h1:7000?ssl_ca_certs=/ca", "rediss://me:pa%40ss@h2:7001?ssl_ca_certs=/ca")


def test_a_script_without_a_whole_header_is_refused() -> None:
    header = "-- x: does\n-- KEYS  a\n-- ARGV  b\n-- RETURNS  c\n-- CLOCK  d\n-- WRITES  e\n-- COST  f\n-- CALLED BY  g\n\nreturn 1"
    check_header("x", header)
    for broken in (
        header.replace("-- x:", "-- y:"),
        header.replace("-- COST  f\n", ""),
        header.replace("-- KEYS  a\n-- ARGV  b", "-- ARGV  b\n-- KEYS  a"),
    ):
        with pytest.raises(ValueError, match=r"lua/x\.lua"):
            check_header("x", broken)
    assert read_script("probe").sha


async def test_a_command_names_the_server_process_that_gets_it(shared_url: str) -> None:
    """Also where the connection was made, or the right node found, after it was issued."""
    told = make_script("told", "return {KEYS[1], ARGV[1]}")
    client = RedisClient(shared_url, timeout_s=2)
    keys = [b"tr:{tenant-%d}:n" % number for number in range(20)]
    first = await asyncio.gather(*(client.run(told, [key], [client.run_id(key)]) for key in keys))
    then = await asyncio.gather(*(client.run(told, [key], [client.run_id(key)]) for key in keys))
    assert first == then
    assert [len(each[1]) for each in first if isinstance(each, list) and isinstance(each[1], bytes)] == [40] * 20
    await client.aclose()
