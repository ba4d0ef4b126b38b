"""`tokenrouter migrate` and `tokenrouter keys` over both stores."""

import asyncio
import json
import os

import pytest

from tokenrouter.cli import main
from tokenrouter.clock import SystemClock
from tokenrouter.settings import load_settings
from tokenrouter.storage.admin_records import AdminRecords
from tokenrouter.storage.postgres_migrations import known_migrations
from tokenrouter.storage.sqlite import sqlite_migrations
from tokenrouter.wiring.stores import open_database


@pytest.fixture
def in_shared_mode(monkeypatch, tmp_path, bare_postgres_url: str) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DATABASE_URL", bare_postgres_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")


def said(capsys, *arguments: str) -> object:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_migrate_says_what_it_did_to_the_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    names = [name for name, _ in sqlite_migrations().values()]
    assert said(capsys, "migrate") == {"store": str(tmp_path / "data" / "state.db"), "applied": names}
    assert said(capsys, "migrate")["applied"] == []  # type: ignore[index]
    assert main(["migrate"]) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.usefixtures("in_shared_mode")
def test_migrate_says_what_it_did_to_postgres(capsys):
    assert said(capsys, "migrate", "--pre") == {"store": "Postgres", "applied": [each.name for each in known_migrations() if each.stage == "pre"]}
    assert said(capsys, "migrate")["applied"] == [each.name for each in known_migrations() if each.stage == "post"]  # type: ignore[index]
    assert said(capsys, "migrate")["applied"] == []  # type: ignore[index]


@pytest.mark.usefixtures("in_shared_mode")
def test_keys_are_made_listed_and_revoked_in_postgres(capsys):
    assert main(["keys", "list"]) == 1
    assert "tokenrouter migrate" in capsys.readouterr().err
    said(capsys, "migrate")
    made = said(capsys, "keys", "create", "--tenant", "acme", "--rpm", "5")
    assert made["key"].startswith(f"sk-tr-{made['id']}-")  # type: ignore[index]
    said(capsys, "keys", "revoke", made["id"])  # type: ignore[index]
    rows = said(capsys, "keys", "list")
    assert [(row["id"], row["state"], row["requests_per_minute"]) for row in rows] == [(made["id"], "revoked", 5)]  # type: ignore[attr-defined, index]


def test_a_database_that_is_away_is_said_and_the_password_is_not(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@127.0.0.1:1/x")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    for command in (["migrate"], ["keys", "list"]):
        assert main(command) == 1
        told = capsys.readouterr()
        assert "database can not be" in told.err
        assert "hunter2" not in told.err + told.out


OWN = {"input": "3.00", "output": "7.50", "source": "contract 17"}


async def set_price(settings) -> None:
    """As a gateway of this deployment does on PUT /admin/prices/openai/gpt-5."""
    database = open_database(settings, SystemClock(), "directory_queries.sql")
    await AdminRecords(database, SystemClock()).put_price("openai/gpt-5", json.dumps(OWN))
    await database.aclose()


@pytest.mark.parametrize("store", ["folder", "postgres"])
def test_prices_are_those_that_the_deployment_uses(store: str, request, monkeypatch, tmp_path, capsys):
    if store == "postgres":
        request.getfixturevalue("in_shared_mode")
        said(capsys, "migrate")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SANDBOX", "1")
    assert said(capsys, "prices", "show", "gpt-5")["layers"][0]["layer"] == "data"  # type: ignore[index]
    asyncio.run(set_price(load_settings(os.environ)))
    shown = said(capsys, "prices", "show", "gpt-5")
    assert (shown["source"], shown["tiers"][0]["output"]) == ("contract 17", "7.50")  # type: ignore[index]
    assert [layer["layer"] for layer in shown["layers"]] == ["admin", "data"]  # type: ignore[index]
    assert main(["prices", "check"]) in (0, 1)
    assert capsys.readouterr().err == ""


def test_a_folder_without_a_deployment_stays_empty(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    said(capsys, "prices", "show", "gpt-5")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("store", ["folder", "postgres"])
def test_a_store_that_is_away_is_said_and_the_other_prices_are_shown(store: str, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    if store == "postgres":
        monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@127.0.0.1:1/x")
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    else:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "state.db").write_bytes(b"no database at all, but long enough to be looked at " * 100)
    assert main(["prices", "show", "gpt-5"]) == 0
    told = capsys.readouterr()
    assert "openai/gpt-5" in told.out
    assert "without prices that were set through the admin API" in told.err
    assert "hunter2" not in told.err + told.out
