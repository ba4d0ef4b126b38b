"""state.db is brought up to date when it is opened, whoever wrote it before and however many open it."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from tokenrouter.errors import ConfigError
from tokenrouter.sql import read_sql
from tokenrouter.storage.sqlite import open_state, sqlite_migrations


def schema(connection: sqlite3.Connection) -> dict[str, object]:
    """Everything that the database says of its tables: columns whatever their order, indexes, and what SQLite says of both."""
    found: dict[str, object] = {}
    for kind, name, table, text in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"):
        if kind == "table":
            columns = sorted(row[1:] for row in connection.execute(f"PRAGMA table_xinfo({name})"))
            kept = connection.execute("SELECT wr, strict FROM pragma_table_list WHERE name = ?", (name,)).fetchone()
            found[name] = (columns, kept, "CHECK" in text, "AUTOINCREMENT" in text)
        else:
            found[name] = (kind, table, [row[2] for row in connection.execute(f"PRAGMA index_info({name})")])
    return found


def test_the_schema_file_says_what_the_migrations_make(tmp_path):
    said = sqlite3.connect(":memory:")
    said.executescript(read_sql("state_schema.sql"))
    made = open_state(tmp_path / "state.db")
    assert schema(said) == schema(made)
    assert made.execute("PRAGMA user_version").fetchone()[0] == max(sqlite_migrations())
    said.close()
    made.close()


def test_a_folder_from_before_versions_keeps_its_keys_and_gets_their_tenants(tmp_path):
    old = sqlite3.connect(tmp_path / "state.db")
    old.executescript(sqlite_migrations()[1][1])
    old.execute("INSERT INTO api_keys (key_id, digest, tenant, created_ns) VALUES ('k', x'00', 'acme', 5)")
    old.commit()
    old.close()
    state = open_state(tmp_path / "state.db")
    assert state.execute("SELECT key_id, tenant, disabled, expires_ns FROM api_keys").fetchall() == [("k", "acme", 0, None)]
    assert state.execute("SELECT name, zone, created_ns FROM tenants").fetchall() == [("acme", "UTC", 5)]
    state.close()


def test_a_newer_versions_folder_is_refused_and_left_alone(tmp_path):
    newer = sqlite3.connect(tmp_path / "state.db")
    newer.execute("PRAGMA user_version = 9999")
    newer.close()
    with pytest.raises(ConfigError, match="newer version"):
        open_state(tmp_path / "state.db")
    left = sqlite3.connect(tmp_path / "state.db")
    assert left.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    left.close()


def test_eight_that_open_it_at_once_find_one_schema(tmp_path):
    open_state(tmp_path / "state.db").close()
    emptied = sqlite3.connect(tmp_path / "state.db")
    for name in [row[0] for row in emptied.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]:
        emptied.execute(f"DROP TABLE {name}")
    emptied.execute("PRAGMA user_version = 0")
    emptied.commit()
    emptied.close()

    def opened(_: int) -> int:
        connection = open_state(tmp_path / "state.db")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.close()
        return int(version)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(opened, range(8))) == {max(sqlite_migrations())}
