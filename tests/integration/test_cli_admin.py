"""`tokenrouter keys`, `usage` and `limits check` over the stores of this machine, without a server."""

import csv
import io
import json

import pytest
from ledgers import record

from tokenrouter.cli import main
from tokenrouter.clock import SystemClock
from tokenrouter.storage.embedded import EmbeddedLedger


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs a command: its status and what it printed."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TOKENROUTER_CONFIG", "/dev/null")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("TOKENROUTER_URL", raising=False)

    def command(*arguments: str) -> tuple[int, str]:
        status = main(list(arguments))
        told = capsys.readouterr()
        return status, told.out + told.err

    return command


def said(run, *arguments: str):
    status, out = run(*arguments, "--json")
    assert status == 0, out
    return json.loads(out)


def test_a_key_is_made_changed_rotated_rested_and_revoked(run):
    made = said(run, "keys", "create", "--tenant", "acme", "--name", "ci", "--quota-usd", "5", "--rpm", "9", "--expires", "2099-01-01T00:00:00Z")
    key = made["id"]
    assert (made["tenant"], made["quota_usd"], made["requests_per_minute"], made["expires_at"]) == ("acme", "5.00", 9, "2099-01-01T00:00:00Z")
    changed = said(run, "keys", "update", key, "--quota-usd", "none", "--model", "gpt-4.1", "--expires", "none", "--name", "cd")
    assert (changed["quota_usd"], changed["models"], changed["expires_at"], changed["name"]) == (None, ["gpt-4.1"], None, "cd")
    assert said(run, "keys", "update", key, "--model", "none")["models"] == []
    rotated = said(run, "keys", "rotate", key, "--overlap", "60")
    assert rotated["key"] not in (None, made["key"])
    assert rotated["old_secret_until"]
    assert said(run, "keys", "disable", key)["state"] == "disabled"
    assert said(run, "keys", "enable", key)["state"] == "valid"
    assert said(run, "keys", "show", key) == {**rotated, "key": None}
    assert said(run, "keys", "revoke", key)["revoked"]
    assert [row["state"] for row in said(run, "keys", "list", "--tenant", "acme")] == ["revoked"]
    assert said(run, "keys", "list", "--tenant", "other") == []
    status, out = run("keys", "enable", key)
    assert (status, "revoked" in out) == (1, True)


def test_tables_are_for_people_and_show_no_secret(run):
    status, key = run("keys", "create", "--name", "[red]ci")
    assert status == 0
    secret, key_id = key.strip(), key.split("-")[2]
    for command in (("list",), ("show", key_id), ("disable", key_id), ("enable", key_id)):
        status, out = run("keys", *command)
        assert status == 0
        assert secret not in out
        assert key_id in out
    assert "[red]ci" in run("keys", "list")[1]
    assert "unlimited" in run("keys", "list")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("keys", "show", "nobody"), "no key 'nobody'"),
        (("keys", "revoke", "nobody"), "no valid key"),
        (("keys", "update", "nobody", "--name", "x"), "no key 'nobody'"),
        (("keys", "update", "nobody"), "what is to be different"),
        (("keys", "create", "--expires", "tomorrow"), "expires_at"),
        (("usage", "--by", "nobody"), "by:"),
        (("usage", "--from", "yesterday"), "from:"),
        (("limits", "check"), "say who asks"),
        (("limits", "check", "--tenant", "nobody"), "no tenant 'nobody'"),
        (("keys", "list", "--url", "http://127.0.0.1:1"), "ADMIN_API_KEY is not set"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line(run, monkeypatch, arguments, says):
    monkeypatch.delenv("ADMIN_API_KEY", raising=False)
    status, out = run(*arguments)
    assert status == 1
    assert says in out
    assert len(out.strip().splitlines()) == 1


def test_a_gateway_that_is_not_there_is_named(run, monkeypatch):
    monkeypatch.setenv("ADMIN_API_KEY", "secret-of-mine")
    monkeypatch.setenv("TOKENROUTER_URL", "http://127.0.0.1:1")
    status, out = run("keys", "list")
    assert (status, "http://127.0.0.1:1 can not be reached" in out) == (1, True)
    assert "secret-of-mine" not in out


def test_usage_is_a_table_json_or_csv(run, tmp_path):
    key = said(run, "keys", "create", "--tenant", "acme")["id"]
    ledger = EmbeddedLedger(tmp_path / "data")
    now = SystemClock.time_ns()
    for number in range(5):
        ledger.settle(record(f"r{number}", key_id=key, customer=f"[b]c{number % 2}", cost=2_000_000, admitted_ns=now, sandbox=number == 4))
    ledger.close()
    view = said(run, "usage", "--by", "key", "--by", "customer", "--tenant", "acme")
    assert [(line["customer"], line["requests"], line["sandbox"]) for line in view["data"]] == [
        ("[b]c0", 2, False),
        ("[b]c1", 2, False),
        ("[b]c0", 1, True),
    ]
    status, out = run("usage", "--by", "key,customer,day", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (status, rows[0]["customer"], rows[0]["cost_usd"]) == (0, "[b]c0", "0.004")
    status, out = run("usage", "--by", "customer")
    assert status == 0
    assert "[b]c1" in out
    assert "real: 4 requests, 0.008 USD" in out
    assert "simulated: 1 requests" in out
    assert "not in the table: 3 requests" in run("usage", "--by", "customer", "--limit", "1")[1]
    shown = said(run, "keys", "show", key)
    assert (shown["spent_usd"], shown["sandbox_spent_usd"]) == ("0.008", "0.002")


def test_limits_are_checked_with_what_the_ledger_says(run, tmp_path):
    key = said(run, "keys", "create", "--tenant", "acme", "--quota-usd", "1", "--rpm", "9")["id"]
    ledger = EmbeddedLedger(tmp_path / "data")
    ledger.settle(record("r1", key_id=key, cost=600_000_000, admitted_ns=SystemClock.time_ns()))
    ledger.close()
    view = said(run, "limits", "check", "--key", key)
    assert (view["caps"][0]["spent"], view["caps"][0]["left"], view["passes"]) == ("0.60", "0.40", True)
    status, out = run("limits", "check", "--key", key, "--usd", "0.41")
    assert status == 3
    assert "it would be refused (429)" in out
    assert f"tightest: {key}.quota" in out
    assert run("limits", "check", "--tenant", "acme", "--json")[0] == 0


def test_changes_of_the_command_are_in_the_audit(run, tmp_path):
    import sqlite3

    said(run, "keys", "create")
    with sqlite3.connect(tmp_path / "data" / "state.db") as db:
        assert db.execute("SELECT actor, action FROM audit").fetchall() == [("command line", "create key")]
    db.close()
