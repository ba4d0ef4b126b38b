"""Migrations of Postgres: files `sql/postgres/migrations/NNNN_{pre|post}_name.sql`, each applied once, in one transaction of its own.

`pre` runs before the code that needs it and leaves the code before it working; `post` takes away what only that one needed.
"""

import re
from importlib import resources
from typing import Literal, cast

import msgspec
import psycopg
from psycopg import sql

from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.storage.postgres import connection_parameters
from tokenrouter.storage.postgres_pool import Connection

_LOCK = 0x746F6B656E72  # any number, as long as it is always the same
_WAIT_S = 60
_FILE = re.compile(r"(\d{4})_(pre|post)_([a-z0-9_]+)\.sql")


class Migration(msgspec.Struct, frozen=True, order=True):
    """One step of the schema. `name` is its file's, without the ending; names are in the order in which they are applied."""

    name: str
    stage: Literal["pre", "post"]
    text: str


def known_migrations() -> tuple[Migration, ...]:
    """All of them, in order. Raises ValueError for a file that is not named as it must be, or a number that is used twice."""
    found: dict[str, Migration] = {}
    for file in resources.files("tokenrouter.sql").joinpath("postgres", "migrations").iterdir():
        match = _FILE.fullmatch(file.name)
        if match is None or match[1] in found:
            raise ValueError(f"{file.name}: a migration is named NNNN_pre_name.sql or NNNN_post_name.sql, each number once")
        found[match[1]] = Migration(file.name.removesuffix(".sql"), cast('Literal["pre", "post"]', match[2]), file.read_text("utf-8"))
    return tuple(found[number] for number in sorted(found))


async def migrate(url: str, *, post: bool = True, migrations: tuple[Migration, ...] | None = None) -> list[str]:
    """Bring the schema up to date; the names of what was applied. Any number of processes may do this at the same time.

    `post`: False leaves out those that older code, still running, could not live with.

    Raises:
        Unavailable: the server can not be reached, or somebody else holds the lock for a minute.
        ConfigError: a migration failed; the message names it, and nothing of it has happened.
    """
    wanted = [each for each in (known_migrations() if migrations is None else migrations) if post or each.stage == "pre"]
    applied: list[str] = []
    try:
        async with await psycopg.AsyncConnection.connect(autocommit=True, prepare_threshold=None, **connection_parameters(url)) as connection:
            if missing(wanted, await applied_migrations(connection)):
                for each in wanted:
                    applied += [each.name] if await _apply(connection, each) else []
    except (psycopg.OperationalError, OSError) as error:
        raise Unavailable(f"the database can not be reached: {type(error).__name__}") from error
    return applied


async def pending(url: str) -> tuple[list[str], bool]:
    """Names of what this version needs and the database lacks (`post` ones can wait), and whether it has nothing at all. Raises Unavailable."""
    wanted = [each for each in known_migrations() if each.stage == "pre"]
    try:
        async with await psycopg.AsyncConnection.connect(autocommit=True, prepare_threshold=None, **connection_parameters(url)) as connection:
            names = await applied_migrations(connection)
    except (psycopg.OperationalError, OSError) as error:
        raise Unavailable(f"the database can not be reached: {type(error).__name__}") from error
    return missing(wanted, names), not names


def missing(wanted: list[Migration], names: frozenset[str]) -> list[str]:
    """Names of those that are not among the applied ones."""
    return [each.name for each in wanted if each.name not in names]


async def applied_migrations(connection: Connection) -> frozenset[str]:
    """Names of what was applied before."""
    there = await (await connection.execute("SELECT to_regclass('migrations') IS NOT NULL")).fetchone()
    if there is None or not there[0]:
        return frozenset()
    return frozenset(cast("str", row[0]) for row in await (await connection.execute("SELECT name FROM migrations")).fetchall())


async def _apply(connection: Connection, migration: Migration) -> bool:
    """Apply it unless somebody has. One at a time, whoever does it: the lock is the transaction's, so it can not be left behind."""
    try:
        async with connection.transaction():
            await connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{_WAIT_S}s")))
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())")
            if (await connection.execute("INSERT INTO migrations (name) VALUES (%s) ON CONFLICT DO NOTHING", (migration.name,))).rowcount == 0:
                return False
            await connection.execute(migration.text.encode())
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise ConfigError(f"{migration.name}: {type(error).__name__}: {error}") from error
    return True
