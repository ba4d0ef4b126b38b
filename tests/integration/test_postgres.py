"""Postgres as a store that may be slow, away or back again."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from rig import until

from tokenrouter.clock import ManualClock
from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.storage.postgres import Postgres, translated
from tokenrouter.storage.postgres_migrations import Migration, applied_migrations, known_migrations, migrate
from tokenrouter.storage.postgres_pool import Connection


async def one(connection: Connection) -> object:
    row = await (await connection.execute("SELECT 1")).fetchone()
    assert row is not None
    return row[0]


async def backend(connection: Connection) -> object:
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    assert row is not None
    return row[0]


async def sleep(connection: Connection) -> None:
    await connection.execute("SELECT pg_sleep(60)")


@asynccontextmanager
async def opened(url: str, **more: object) -> AsyncIterator[Postgres]:
    postgres = Postgres(url, **more)  # type: ignore[arg-type]
    try:
        yield postgres
    finally:
        await postgres.aclose()


class Wire:
    """Between client and server: passes bytes on until it is told to hold them back."""

    def __init__(self, url: str, folder: Path) -> None:
        self._target = parse_qs(urlsplit(url).query)["host"][0] + "/.s.PGSQL.5432"
        self._folder = folder
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.url = url.replace(parse_qs(urlsplit(url).query)["host"][0], str(folder))
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._meet, str(self._folder / ".s.PGSQL.5432"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_unix_connection(self._target)
        for source, sink in ((reader, behind[1]), (behind[0], writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(source, sink)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self.flowing.wait()
                sink.write(data)
        except ConnectionError:
            pass
        finally:
            sink.close()


def test_parameters_are_found_outside_of_texts_comments_and_casts():
    said = translated("SELECT a::text, ':no' -- not :this\nFROM t WHERE b = :b AND c % 2 = :c_2 AND d = 'it''s :e'")
    assert said == b"SELECT a::text, ':no' -- not :this\nFROM t WHERE b = %(b)s AND c %% 2 = %(c_2)s AND d = 'it''s :e'"


async def test_it_can_be_made_while_the_server_is_away_and_serves_once_it_is_there(tmp_path):
    async with opened(f"postgresql://nobody@/nothing?host={tmp_path}") as postgres:
        with pytest.raises(Unavailable) as refused:
            await postgres.run(one)
    assert refused.value.status == 503
    assert str(tmp_path) in postgres.problem
    assert str(tmp_path) not in refused.value.message


async def test_after_three_failures_nobody_tries_but_one_in_half_a_second(postgres_url, postgres_server):
    clock = ManualClock()
    async with opened(postgres_url, clock=clock) as postgres:
        assert await postgres.run(one) == 1
        postgres_server.stop()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await postgres.run(one)
        postgres_server.start()
        with pytest.raises(Unavailable):
            await postgres.run(one)
        assert postgres.problem
        clock.advance(0.5)
        assert await postgres.run(one) == 1
        assert postgres.problem == ""
        assert await postgres.run(one) == 1


async def test_while_it_is_open_only_one_probe_is_out_at_a_time(tmp_path):
    clock = ManualClock()
    async with opened(f"postgresql://nobody@/nothing?host={tmp_path}", clock=clock) as postgres:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await postgres.run(one)
        tried = 0

        async def counting(connection: Connection) -> None:
            raise AssertionError("there is no server")

        clock.advance(0.5)
        before = postgres._breaker._failures
        await asyncio.gather(*(postgres.run(counting) for _ in range(20)), return_exceptions=True)
        tried = postgres._breaker._failures - before
    assert tried == 1


async def test_a_restarted_server_costs_no_caller_an_error(postgres_url, postgres_server):
    async with opened(postgres_url) as postgres:
        assert await asyncio.gather(*(postgres.run(one) for _ in range(5))) == [1] * 5
        postgres_server.stop()
        postgres_server.start()
        assert await asyncio.gather(*(postgres.run(one) for _ in range(5))) == [1] * 5


async def test_a_statement_that_takes_too_long_is_stopped_on_the_server_too(postgres_url):
    async with opened(postgres_url, timeout_s=0.1, most=1) as postgres:
        with pytest.raises(Unavailable):
            await postgres.run(sleep)
        assert "in time" in postgres.problem
        assert await postgres.run(one, timeout_s=5) == 1
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            left = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
            ).fetchone()
    assert left == (0,)


async def test_a_deaf_server_keeps_nobody_beyond_the_limit_and_is_hung_up_on(postgres_url, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tokenrouter.storage.postgres._GRACE_S", 0.05)
    caplog.set_level(logging.CRITICAL, "psycopg")
    async with Wire(postgres_url, tmp_path) as wire, opened(wire.url, timeout_s=0.2) as postgres:
        assert await postgres.run(one, timeout_s=5) == 1
        wire.flowing.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(Unavailable):
            await postgres.run(one)
        assert loop.time() - began < 1
        await asyncio.wait(set(postgres._abandoned), timeout=3)
        assert not postgres._abandoned
        wire.flowing.set()
        assert await postgres.run(one, timeout_s=5) == 1


async def test_who_is_cancelled_leaves_at_once_and_leaves_no_connection_behind(postgres_url):
    async with opened(postgres_url, most=1) as postgres:
        task = asyncio.create_task(postgres.run(sleep, timeout_s=60))
        await until(postgres._pool._room.locked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await postgres.run(one, timeout_s=5) == 1
        assert postgres.problem == ""


async def test_connections_are_reused_bounded_and_replaced_when_they_are_old(postgres_url):
    clock = ManualClock()
    async with opened(postgres_url, most=3, idle=1) as postgres:
        await asyncio.gather(*(postgres.run(backend) for _ in range(30)))
        assert len(postgres._pool._kept) == 1
    async with opened(postgres_url, most=3, idle=3, lifetime_s=100, clock=clock) as postgres:
        pids = set(await asyncio.gather(*(postgres.run(backend) for _ in range(30))))
        assert len(pids) == 3
        assert await postgres.run(backend) in pids
        clock.advance(101)
        assert await postgres.run(backend) not in pids


async def test_an_error_in_what_was_asked_is_not_the_servers_fault(postgres_url):
    async def wrong(connection: Connection) -> None:
        await connection.execute("SELECT 1/0")

    async with opened(postgres_url) as postgres:
        for _ in range(5):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await postgres.run(wrong)
        assert postgres.problem == ""
        assert await postgres.run(one) == 1


async def test_a_schema_that_is_missing_is_a_503_that_says_what_to_do(bare_postgres_url):
    async def ask(connection: Connection) -> None:
        await connection.execute("SELECT * FROM tenants")

    async with opened(bare_postgres_url) as postgres:
        with pytest.raises(Unavailable):
            await postgres.run(ask)
        assert "tokenrouter migrate" in postgres.problem


async def test_the_password_is_in_no_error(tmp_path):
    url = f"postgresql://user:hunter2@/nothing?host={tmp_path}"
    async with opened(url) as postgres:
        with pytest.raises(Unavailable) as refused:
            await postgres.run(one)
        assert "hunter2" not in postgres.problem + repr(refused.value) + repr(postgres)
    with pytest.raises(ConfigError) as unread:
        Postgres("postgresql://user:hunter2@host:port:5/x?nonsense=1")
    assert "hunter2" not in str(unread.value)


async def test_eight_starters_migrate_once(bare_postgres_url):
    applied = await asyncio.gather(*(migrate(bare_postgres_url) for _ in range(8)))
    assert sorted(name for names in applied for name in names) == [each.name for each in known_migrations()]
    assert await migrate(bare_postgres_url) == []


async def test_a_migration_that_fails_is_named_and_leaves_nothing(bare_postgres_url):
    good = Migration("0001_pre_good", "pre", "CREATE TABLE good (a int)")
    bad = Migration("0002_pre_bad", "pre", "CREATE TABLE bad (a int); SELECT nothing FROM nowhere")
    with pytest.raises(ConfigError, match="0002_pre_bad"):
        await migrate(bare_postgres_url, migrations=(good, bad))
    async with await psycopg.AsyncConnection.connect(bare_postgres_url) as connection:
        assert await applied_migrations(connection) == {"0001_pre_good"}
        assert await (await connection.execute("SELECT to_regclass('good')::text, to_regclass('bad')::text")).fetchone() == ("good", None)


async def test_what_older_code_could_not_live_with_can_wait(bare_postgres_url):
    steps = (
        Migration("0001_pre_new", "pre", "CREATE TABLE new (a int)"),
        Migration("0002_post_old", "post", "DROP TABLE IF EXISTS old"),
        Migration("0003_pre_newer", "pre", "CREATE TABLE newer (a int)"),
    )
    assert await migrate(bare_postgres_url, post=False, migrations=steps) == ["0001_pre_new", "0003_pre_newer"]
    assert await migrate(bare_postgres_url, migrations=steps) == ["0002_post_old"]


_CATALOG = {
    "columns": """SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity, identity_generation, is_generated
                  FROM information_schema.columns WHERE table_schema = 'public'""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
                      WHERE connamespace = 'public'::regnamespace""",
    "others": """SELECT relname, relkind::text, reloptions::text FROM pg_class
                 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')""",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "triggers": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
}


def catalog(url: str) -> dict[str, list[str]]:
    with psycopg.connect(url) as connection:
        return {name: sorted(map(str, connection.execute(query.encode()).fetchall())) for name, query in _CATALOG.items()}


def test_the_schema_file_says_what_the_migrations_make(postgres_url, bare_postgres_url):
    from tokenrouter.sql import read_sql

    with psycopg.connect(bare_postgres_url, autocommit=True) as connection:
        connection.execute(read_sql("postgres/schema.sql").encode())
    made, said = catalog(postgres_url), catalog(bare_postgres_url)
    assert made["columns"]
    assert said == made
