"""What every `Database` promises, over SQLite and over Postgres."""

import asyncio

import pytest
from directories import Opened

from tokenrouter.errors import Unavailable
from tokenrouter.sql import read_queries
from tokenrouter.storage.database import Database, Step, Taken, Unmet, at_once
from tokenrouter.storage.postgres import Postgres
from tokenrouter.storage.sqlite_database import SqliteDatabase

TENANT = {"name": "acme", "now_ns": 2**62}


def put(name: str, value: str) -> Step:
    return Step("write_meta", {"name": name, "value": value})


async def test_values_come_back_as_they_were_written(database: Database):
    odd = "ünï — 'quoted' \"twice\" %s %(x)s :name\n\t🦊"
    key = {"key_id": odd, "digest": bytes(range(256)), "tenant": "acme", "name": odd, "quota": 2**53 - 1, "rpm": 0, "options": "{}"}
    steps = [Step("ensure_tenant", TENANT), Step("insert_key", {**key, "created_ns": 2**62, "expires_ns": None})]
    assert await database.change(steps) == [1, 1]
    (row,) = await database.rows("find_key", {"key_id": odd})
    assert row[:9] == (odd, bytes(range(256)), None, 0, "acme", odd, 2**53 - 1, 0, "{}")
    assert row[9:11] == (2**62, None)


async def test_a_change_happens_wholly_or_not_at_all(database: Database):
    with pytest.raises(Unmet) as unmet:
        await database.change([put("a", "1"), Step("delete_price_override", {"name": "none"}, wants=1), put("b", "2")])
    assert unmet.value.changed == 0
    assert await database.rows("read_meta", {"name": "a"}) == []
    await database.change([put("a", "1")])
    with pytest.raises(Taken):
        await database.change([put("a", "2"), Step("insert_tenant", tenant()), Step("insert_tenant", tenant())])
    assert await database.rows("read_meta", {"name": "a"}) == [("1",)]
    assert await database.rows("find_tenant", {"name": "acme"}) == []


def tenant() -> dict[str, str | int]:
    return {"name": "acme", "zone": "UTC", "customer_field": 0, "disabled": 0, "created_ns": 1, "prompt_cache": "{}"}


async def test_a_change_tells_how_many_rows_each_step_changed(database: Database):
    steps = [Step("ensure_tenant", TENANT), Step("ensure_tenant", TENANT), Step("delete_price_override", {"name": "none"}), put("a", "1")]
    assert await database.change(steps) == [1, 0, 0, 1]


async def test_changes_at_the_same_time_do_not_lose_each_other(open_again: Opened):
    databases = [open_again() for _ in range(3)]
    await asyncio.gather(*(databases[number % 3].change([Step("bump_revision", {"name": "r"})]) for number in range(60)))
    assert await databases[0].rows("read_meta", {"name": "r"}) == [("60",)]


@pytest.mark.parametrize("value", ["\ud800", 2**63])
async def test_a_value_that_no_column_holds_is_a_mistake_of_the_caller(database: Database, value: str | int):
    with pytest.raises(ValueError):  # noqa: PT011
        await database.rows("list_customers", {"tenant": "acme", "after": "", "most": value})
    with pytest.raises(ValueError):  # noqa: PT011
        await database.change([Step("ensure_tenant", {"name": "acme", "now_ns": value})])
    assert await database.rows("find_tenant", {"name": "acme"}) == []
    assert database.problem == ""


async def test_slow_questions_are_answered_like_others(database: Database):
    await database.change([put("a", "1")])
    assert await database.rows("read_meta", {"name": "a"}, slow=True) == [("1",)]


async def test_every_statement_is_understood(database: Database):
    """Each is prepared by the database itself, so that one which nobody runs in a test can not be wrong."""
    for name, text in read_queries("directory_queries.sql").items():
        if isinstance(database, SqliteDatabase):
            names = {word for word in text.replace("(", " ").replace(",", " ").replace(")", " ").split() if word.startswith(":")}
            database._connection.execute(f"EXPLAIN {text}", {word[1:]: None for word in names}).fetchall()
        else:
            assert isinstance(database, Postgres)
            statement = database._statements[name]
            await database.run(lambda connection, said=statement, name=name: _prepare(connection, name, said))


async def _prepare(connection, name: str, statement: bytes) -> None:  # type: ignore[no-untyped-def]
    import re

    places: list[str] = []

    def number(found: re.Match[bytes]) -> bytes:
        places.append(found[1].decode())
        return f"${sorted(set(places), key=places.index).index(found[1].decode()) + 1}".encode()

    text = re.sub(rb"%\((\w+)\)s", number, statement).replace(b"%%", b"%")
    await connection.execute(f"PREPARE statement_{name} AS ".encode() + text)


async def test_over_sqlite_nothing_ever_waits_for_the_loop(tmp_path):
    database = SqliteDatabase(tmp_path / "state.db", "directory_queries.sql")
    assert database.inline
    assert at_once(database.change([put("a", "1")])) == [1]
    assert at_once(database.rows("read_meta", {"name": "a"})) == [("1",)]
    with pytest.raises(RuntimeError, match="loop"):
        at_once(database.rows("read_meta", {"name": "a"}, slow=True))
    await database.aclose()


async def test_a_sqlite_file_that_others_hold_is_a_503_and_comes_back(tmp_path):
    one, other = (SqliteDatabase(tmp_path / "state.db", "directory_queries.sql") for _ in range(2))
    other._connection.execute("PRAGMA busy_timeout = 1")
    one._connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as refused:
        await other.change([put("a", "1")])
    assert str(tmp_path) not in refused.value.message
    assert "locked" in other.problem
    one._connection.execute("ROLLBACK")
    await other.change([put("a", "1")])
    assert other.problem == ""
    await one.aclose()
    await other.aclose()
