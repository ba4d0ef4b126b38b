"""Starting, stopping, dying: what people and supervisors meet."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from served import ADMIN_KEY, Gateway, Process, Sandbox, clean_environ, fetch, free_port, lines, wait_for

ASK = {"model": "gpt-4.1", "temperature": 0, "messages": [{"role": "user", "content": "Answer in 200 words."}]}


def test_the_first_start_prints_keys_and_a_curl_that_works_and_the_second_prints_none(start, tmp_path: Path):
    gateway = start()
    assert "simulated providers answer" in gateway.out
    (admin,) = re.findall(r"admin key:  (sk-tr-admin-\S+)", gateway.out)
    (curl,) = re.findall(r"^curl .*$", gateway.out, re.MULTILINE)
    answers = [subprocess.run(["sh", "-c", curl], capture_output=True, check=True, text=True).stdout for _ in range(2)]
    assert ["x-tokenrouter-cache: " + cache in answer for cache, answer in zip(("miss", "hit"), answers, strict=True)] == [True, True]
    assert "x-tokenrouter-sandbox: true" in answers[0]
    assert gateway.get("/admin/api-keys", admin)[0] == 200
    assert gateway.stop() == 0
    again = start()
    assert not re.search(r"sk-tr-\w", again.out.replace("sk-tr-…", ""))
    status, _ = fetch(f"{again.url}/v1/chat/completions", ASK, key=gateway.key)
    assert status == 200
    kept = subprocess.run(["sh", "-c", curl.replace(str(gateway.port), str(again.port))], capture_output=True, check=True, text=True).stdout
    assert "x-tokenrouter-cache: hit" in kept
    assert again.get("/admin/api-keys", admin)[0] == 200


def test_without_print_keys_they_are_in_a_file_for_the_owner_only(tmp_path: Path):
    port, data = free_port(), tmp_path / "data"
    serving = Process(tmp_path, "serve", PORT=str(port), DATA_DIR=str(data))
    try:
        wait_for(lambda: _up(port), what="readiness")
        file = data / "first-keys.txt"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert str(file) in serving.out
        assert "sk-tr-" not in serving.out + serving.err
        (key,) = re.findall(r"client key: (\S+)", file.read_text())
        assert fetch(f"http://127.0.0.1:{port}/v1/models", key=key)[0] == 200
    finally:
        assert serving.stop() == 0


def _up(port: int) -> bool:
    try:
        return fetch(f"http://127.0.0.1:{port}/readyz")[0] == 200
    except OSError:
        return False


def test_a_taken_port_is_one_clear_line_and_nothing_is_made(start, tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        gateway = start(port=port, wait=False)
        assert gateway.ended() == 1
    assert gateway.err.strip() == f"port {port} is taken on 127.0.0.1; choose another: PORT={port + 1} make run"
    assert gateway.out == ""
    assert not gateway.data.exists()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"WORKERS": "2"}, "WORKERS=2: the embedded stores belong to one process"),
        ({"PORT": "eighty"}, "PORT='eighty': must be a whole number from 0 to 65535"),
        ({"PORT": "99999"}, "PORT='99999': must be a whole number from 0 to 65535"),
        ({"CACHE_MODE": "sometimes"}, "CACHE_MODE='sometimes': must be one of auto, all, off"),
        ({"DEDUP_TTL": "2 fortnights"}, "DEDUP_TTL='2 fortnights': must be a duration like"),
        ({"EDITS_OFF": "marks.plan,everything"}, "not 'everything'"),
        ({"REDIS_URL": "redis://localhost"}, "REDIS_URL is set and DATABASE_URL is not"),
        ({"OLLAMA_URL": "localhost:11434"}, "OLLAMA_URL='localhost:11434': must be a URL"),
        ({"TOKENROUTER_CONFIG": "nowhere.toml"}, "nowhere.toml: no such file"),
        ({"DATA_DIR": "/proc/nowhere"}, "DATA_DIR /proc/nowhere"),
        ({"HOST": "no.such.host.invalid"}, "HOST no.such.host.invalid"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_started(tmp_path: Path, environ: dict[str, str], says: str):
    done = _command(tmp_path, "serve", **environ)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "data").glob("*.db"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = 8080\nprot = 1\n", "tokenrouter.toml:2: unknown key 'prot'; did you mean 'port'?"),
        ("\n\nworkers = 'many'\n", "tokenrouter.toml:3: workers='many': must be a whole number"),
        ("port = \n", "tokenrouter.toml: Invalid value (at line 1"),
        ("[providers.myhost]\nbase_ulr = 'http://x'\n", "providers.myhost"),
        ("[providers.myhost]\nmodels = ['m']\n", "providers.myhost: base_url is missing"),
        ('[prices."openai/x"]\ninput = 0.5\noutput = "1"\n', '[prices."openai/x"]'),
        ("workers = 2\ncache_max_mb = 'x'\n", "tokenrouter.toml:2: cache_max_mb='x'"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, text: str, says: str):
    (tmp_path / "tokenrouter.toml").write_text(text)
    for command in (("config", "check"), ("serve",)):
        done = _command(tmp_path, *command)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert says in done.stderr


def test_a_right_configuration_is_said_to_be_right(tmp_path: Path):
    done = _command(tmp_path, "config", "check", OPENAI_API_KEY="sk-test-CANARY")
    assert done.returncode == 0, done.stderr
    assert "https://api.openai.com/v1" in done.stdout
    assert "the configuration is right" in done.stdout
    assert "CANARY" not in done.stdout + done.stderr


def _command(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    import sys

    defaults = {"PORT": str(free_port()), "DATA_DIR": str(folder / "data")}
    return subprocess.run(
        [sys.executable, "-m", "tokenrouter", *arguments],
        cwd=folder,
        env=clean_environ(**{**defaults, **environ}),
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_second_gateway_on_the_same_folder_is_refused(start):
    first = start()
    second = start(wait=False)
    assert second.ended() == 1
    assert "in use by another tokenrouter" in second.err
    assert first.answers()


def test_a_polite_stop_lets_a_stream_finish(start, sandbox: Sandbox):
    sandbox.control("reset")
    gateway = start(**sandbox.environ)
    sandbox.control("faults", {"kind": "stall", "after": 6})
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(lines(f"{gateway.url}/v1/chat/completions", {**ASK, "stream": True}, gateway.key)))
    reader.start()
    wait_for(lambda: sandbox.control("faults")["stalled"] == 1)
    wait_for(lambda: bool(got), what="the first frames")
    gateway.terminate()
    wait_for(lambda: not gateway.answers(), what="the end of new business")
    sandbox.control("release")
    reader.join(20)
    assert got[-2:] == [b"data: [DONE]\n", b"\n"]
    assert gateway.ended() == 0
    (line,) = sandbox.bill
    assert (line["status"], _spent(gateway)) == ("complete", line["nano_usd"])
    assert not list(gateway.data.glob("journal*"))


def test_a_worker_whose_main_process_was_killed_lets_a_stream_finish_and_ends(start, sandbox: Sandbox):
    sandbox.control("reset")
    gateway = start(**sandbox.environ)
    sandbox.control("faults", {"kind": "stall", "after": 6})
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(lines(f"{gateway.url}/v1/chat/completions", {**ASK, "stream": True}, gateway.key)))
    reader.start()
    wait_for(lambda: sandbox.control("faults")["stalled"] == 1)
    wait_for(lambda: bool(got), what="the first frames")
    workers = [pid for pid in gateway.children() if _is_there(pid)]
    gateway.process.kill()
    gateway.process.wait(10)
    try:
        wait_for(lambda: not gateway.answers(), what="the end of new business")
        assert any(_is_there(pid) for pid in workers), "its stream is under way"
        sandbox.control("release")
        reader.join(20)
        assert got[-2:] == [b"data: [DONE]\n", b"\n"]
        wait_for(lambda: not any(_is_there(pid) for pid in workers), what="the end of the workers")
    finally:
        for pid in filter(_is_there, workers):
            os.kill(pid, signal.SIGKILL)
    (line,) = sandbox.bill
    assert (line["status"], _spent(gateway)) == ("complete", line["nano_usd"])
    assert start().answers(), "and another one may begin at once in the same folder"


def _is_there(pid: int) -> bool:
    """Whether a process runs: one that has ended and that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _spent(gateway: Gateway) -> int:
    """What the ledger of a gateway that has ended says."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(gateway.data / "state.db")) as db:
        return int(db.execute("SELECT COALESCE(SUM(cost), 0) FROM ledger").fetchone()[0])


def test_an_idle_gateway_stops_within_seconds(start):
    gateway = start()
    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < 5


def test_a_killed_worker_comes_back_with_its_books(start, sandbox: Sandbox):
    sandbox.control("reset")
    gateway = start(ADMIN_API_KEY=ADMIN_KEY, **sandbox.environ)
    assert gateway.post("/v1/chat/completions", ASK)[0] == 200
    exact = sandbox.control("bill")["nano_usd"]
    sandbox.control("faults", {"kind": "stall_start"})
    lost: list[object] = []

    def ask() -> None:
        try:
            lost.append(gateway.post("/v1/chat/completions", {**ASK, "seed": 7}))
        except OSError as error:
            lost.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: sandbox.control("faults")["stalled"] == 1)
    worker = gateway.holder_of(gateway.data / "lock")
    assert worker is not None
    assert worker != gateway.process.pid
    os.kill(worker, signal.SIGKILL)
    asking.join(20)
    assert lost
    sandbox.control("release")
    wait_for(lambda: gateway.holder_of(gateway.data / "lock") not in (None, worker) and gateway.answers(), what="a new worker")
    (key,) = gateway.get("/admin/api-keys", ADMIN_KEY)[1]["data"]
    spent = round(float(key["spent_usd"]) * 1e9)
    assert spent > exact
    assert key["held_usd"] is None, "it has no quota to hold on"
    assert gateway.post("/v1/chat/completions", {**ASK, "seed": 8})[0] == 200
    assert gateway.stop() == 0


def test_keys_made_by_the_command_work_in_the_running_gateway(start, tmp_path: Path):
    gateway = start()
    made = _command(tmp_path, "keys", "create", "--tenant", "acme")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    wait_for(lambda: gateway.get("/v1/models", key)[0] == 200, what="the new key")
    assert _command(tmp_path, "keys", "revoke", key.split("-")[2]).returncode == 0
    wait_for(lambda: gateway.get("/v1/models", key)[0] == 401, what="the end of the key")


def test_a_provider_that_is_not_set_up_is_named_with_its_variable(gateway: Gateway):
    status, said = gateway.post("/v1/chat/completions", {**ASK, "model": "grok-4"})
    assert status == 404
    assert "XAI_API_KEY" in said["error"]["message"]


def test_commands_drive_a_running_gateway_over_http(start, tmp_path: Path):
    gateway = start(ADMIN_API_KEY=ADMIN_KEY)
    remote = {"TOKENROUTER_URL": gateway.url, "ADMIN_API_KEY": ADMIN_KEY, "DATA_DIR": str(tmp_path / "elsewhere")}
    made = _command(tmp_path, "keys", "create", "--tenant", "acme", "--quota-usd", "1", **remote)
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert gateway.get("/v1/models", key)[0] == 200, "at once: this process made it"
    assert gateway.post("/v1/chat/completions", ASK, key)[0] == 200
    listed = json.loads(_command(tmp_path, "keys", "list", "--tenant", "acme", "--json", **remote).stdout)
    assert [row["id"] for row in listed] == [key.split("-")[2]]
    used = _command(tmp_path, "usage", "--by", "key", "--tenant", "acme", "--csv", **remote)
    assert key.split("-")[2] in used.stdout, used.stderr
    checked = _command(tmp_path, "limits", "check", "--key", key.split("-")[2], "--usd", "2", **remote)
    assert (checked.returncode, "it would be refused (429)" in checked.stdout) == (3, True)
    wrong = _command(tmp_path, "keys", "list", **{**remote, "ADMIN_API_KEY": "wrong"})
    assert (wrong.returncode, "admin key" in wrong.stderr) == (1, True)
    assert not (tmp_path / "elsewhere").exists()
