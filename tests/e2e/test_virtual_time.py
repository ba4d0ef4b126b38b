"""`tokenrouter serve --virtual-time`: hours go by in as many milliseconds as requests need."""

import json
from pathlib import Path

from served import Sandbox

from tokenrouter.cli import main

LONG = "You weigh every matter from all of its sides before you speak. " * 400


def question(number: float) -> dict:
    marked = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    said = [{"role": "user", "content": f"Question {number}."}]
    return {"model": "claude-sonnet-4-5", "max_tokens": 20, "system": marked, "messages": said}


def test_hours_of_traffic_go_through_two_processes_at_once(start, tmp_path: Path):
    sandbox = Sandbox(tmp_path / "sandbox", "--virtual-time")
    try:
        file = tmp_path / "capture.jsonl"
        gateway = start("--virtual-time", "--record", str(file), "--record-text", "scramble", RATE_LIMIT_RPM="1", **sandbox.environ)
        assert "Time is virtual" in gateway.out
        assert f"recorded in {file}, with pseudo-words" in gateway.out

        def ask(now: float | str) -> tuple[int, dict]:
            return gateway.post("/v1/messages", question(now), **{"x-tokenrouter-now": str(now)})

        answers = [ask(now) for now in (0, 299, 299 + 301, 7200.5)]
        assert [said["usage"]["cache_read_input_tokens"] > 1024 for _, said in answers] == [False, True, False, False]
        assert [ask(now)[0] for now in (8000, 8059, 8061)] == [200, 429, 200]
        status, said = ask("soon")
        assert (status, said["type"]) == (400, "error")
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.err
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        asked = [line for line in lines if "at" in line]
        assert [round(line["at"] - asked[0]["at"], 3) for line in asked] == [0, 299, 600, 7200.5, 8000, 8061]
        assert {line["usage_of"] for line in lines if "at" not in line} == {line["id"] for line in asked}
        assert "weigh" not in file.read_text()
    finally:
        sandbox.stop()


def test_beside_a_real_key_it_does_not_start(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRTUAL_TIME", "0")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    assert main(["serve", "--virtual-time"]) == 1
    said = capsys.readouterr()
    assert "openai has a credential" in said.err
    assert "sk-real" not in said.err + said.out
    assert not list(tmp_path.iterdir())
