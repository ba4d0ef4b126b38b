"""`RECORD_FILE`: what went through the gateway, replayed, costs what it cost; without its words it breaks where it broke."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from rig import ADMIN_KEY, CHAT, Rig, call, question, running

from tokenrouter.catalog.loader import load_catalog
from tokenrouter.cli import main
from tokenrouter.clock import VirtualClock
from tokenrouter.observe.capture import Asked
from tokenrouter.replay.read import Captured, read
from tokenrouter.settings import RECORD_KEY, load_settings
from tokenrouter.wiring.capture import capture_of

MESSAGES = "/v1/messages"
USER = "person-4711@example.com"
SYSTEM = "You are the support agent of a bookshop. " + "Be brief, be kind, and look things up before you promise anything. " * 60
NAMES = ("find_book", "check_stock", "order_status", "refund")


def tool(name: str) -> dict[str, Any]:
    words = {word: {"type": "string", "description": f"The {word} that the customer named, canary."} for word in ("title", "author", "order")}
    return {"name": name, "description": f"{name} for a canary. " * 5, "input_schema": {"type": "object", "properties": words, "required": ["title"]}}


def traffic(turns: int = 6) -> list[tuple[float, str, dict[str, Any]]]:
    """Two clients: one shuffles its tools and has a clock in its system text, the other speaks Chat Completions and edits its history."""
    chance, found = random.Random(3), []
    messages: list[dict[str, Any]] = []
    chat: list[dict[str, Any]] = [{"role": "system", "content": "A canary of another kind. " + SYSTEM}]
    for turn in range(turns):
        tools = [tool(name) for name in NAMES]
        chance.shuffle(tools)
        messages.append({"role": "user", "content": f"Question {turn}: canary, " + "do you have it, and where? " * 12})
        clock = f"\nThe time is 2025-10-0{1 + turn // 2} 1{turn % 10}:05:00.\n"
        said = {"model": "claude-opus-4-8", "max_tokens": 64, "system": SYSTEM + clock, "tools": tools, "messages": [*messages]}
        found.append((turn * 40.0, MESSAGES, {**said, "metadata": {"user_id": USER}, "stream": turn % 2 == 1}))
        call_id = f"toolu_{turn:04d}canary"
        messages.append(
            {"role": "assistant", "content": [{"type": "tool_use", "id": call_id, "name": "refund", "input": {"title": f"canary {turn}"}}]}
        )
        messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call_id, "content": "A canary was returned. " * 20}]})
        chat.append({"role": "user", "content": f"Say something of canary {turn}. " * 15})
        if turn == 3:
            chat[1] = {"role": "user", "content": "The canary was edited. " * 15}
        found.append((turn * 40.0 + 15, CHAT, {"model": "gpt-4.1", "messages": [*chat], "user": USER, "max_tokens": 32}))
        chat.append({"role": "assistant", "content": f"Nothing of canary {turn}. " * 8})
    return found


async def recorded(folder: Path, path: Path, **environ: str) -> Rig:
    """The file of all that traffic, through a gateway at virtual times."""
    async with running(folder, clock=VirtualClock(), VIRTUAL_TIME="1", RECORD_FILE=str(path), DEDUP_MODE="off", CACHE_MODE="off", **environ) as rig:
        for at_s, where, body in traffic():
            headers = {"authorization": f"Bearer {rig.key}", "x-tokenrouter-now": str(1_760_000_000 + at_s), "x-customer-id": USER}
            answer = await call(rig.app, "POST", where, json.dumps(body).encode(), headers)
            assert answer.status == 200, answer.body
            await rig.landed()
    return rig


def captured(path: Path) -> list[Captured]:
    items = [line.item for line in read(path)]
    assert all(item is None or isinstance(item, Captured) for item in items), items
    return [item for item in items if isinstance(item, Captured)]


@pytest.fixture
def report(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(path: Path) -> dict[str, Any]:
        assert main(["replay", str(path), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def costs(report: dict[str, Any]) -> dict[str, float]:
    return {policy["id"]: float(policy["input_usd"]) for policy in report["policies"]}


def causes(report: dict[str, Any]) -> list[tuple[str, int]]:
    return sorted((row["cause"], row["requests"]) for row in report["breaks"])


@pytest.fixture(scope="module")
def as_sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sent") / "sent.jsonl"
    rows = [{"at": 1_760_000_000 + at_s, "path": where, "body": body} for at_s, where, body in traffic()]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


async def test_a_recording_has_every_request_as_it_came_and_what_its_provider_counted(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    await recorded(tmp_path / "g", path)
    found = captured(path)
    assert [(item.at_s - 1_760_000_000, item.path, json.loads(item.body)) for item in found] == traffic()
    assert {item.headers["x-customer-id"] for item in found} == {USER}
    assert all(item.usage is not None and item.usage.total > 1_000 for item in found), "streams too"
    assert sum(item.usage.read for item in found if item.usage) > 10_000
    assert b"sk-tr-" not in path.read_bytes()


def test_a_recording_replays_as_what_was_sent_would(tmp_path: Path, as_sent: Path, report):
    kept, hidden = tmp_path / "kept.jsonl", tmp_path / "hidden.jsonl"
    asyncio.run(recorded(tmp_path / "g", kept))
    asyncio.run(recorded(tmp_path / "h", hidden, RECORD_TEXT="scramble"))
    sent, same, other = report(as_sent), report(kept), report(hidden)
    assert same["requests"] == other["requests"] == sent["requests"] == len(traffic())
    assert same["left_out"] == other["left_out"] == []
    assert costs(same) == costs(sent)
    for policy, usd in costs(sent).items():
        assert costs(other)[policy] == pytest.approx(usd, rel=0.05)
    assert causes(same) == causes(sent) != []
    assert causes(other) == causes(sent)
    text = hidden.read_bytes()
    for word in (b"canary", b"person", b"4711", b"example", b"bookshop", b"promise", b"Question", b"returned", b"sk-tr-"):
        assert word not in text, word
    for word in (b"refund", b"claude-opus-4-8", b"input_schema", b"2025-10-01 10:05:00"):
        assert word in text, word


async def test_only_admitted_requests_to_models_are_recorded(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    async with running(tmp_path / "g", RECORD_FILE=str(path), RATE_LIMIT_RPM="3") as rig:
        embedding = {"model": "text-embedding-3-small", "input": "hello"}
        hello = await call(rig.app, "POST", "/v1/embeddings", json.dumps(embedding).encode(), {"authorization": f"Bearer {rig.key}"})
        assert hello.status == 200
        refused = [
            await rig.chat(b"{"),
            await rig.chat(question(model="nobody-has-it")),
            await rig.chat(key="sk-tr-nobody-knows-me"),
        ]
        assert [answer.status for answer in refused] == [400, 404, 401]
        assert [(await rig.chat(question("kept"))).cache for _ in range(2)] == ["miss", "hit"]
        assert (await rig.chat(question("one too many"))).status == 429
        metrics = (await rig.get("/metrics", key=ADMIN_KEY)).body.decode()
        assert "tokenrouter_capture_lines" in metrics
    assert [json.loads(item.body)["messages"][0]["content"] for item in captured(path)] == ["kept", "kept"]
    assert [item.usage is not None for item in captured(path)] == [True, False]


def test_the_parts_of_one_gateway_s_workers_have_one_key(tmp_path: Path):
    said = {"DATA_DIR": str(tmp_path), "TOKENROUTER_CONFIG": "/dev/null", "RECORD_TEXT": "scramble"}
    asked = Asked(id="r", at_ns=0, path=CHAT, query="", headers={}, naming=(), body=b'{"messages":[{"role":"user","content":"a canary"}]}')

    def line(name: str, **more: str) -> bytes:
        settings = load_settings({**said, "RECORD_FILE": str(tmp_path / name), **more})
        capture = capture_of(settings, load_catalog(settings))
        assert capture is not None
        capture.request(asked, 0)
        capture.close()
        return (tmp_path / name).read_bytes()

    assert line("1", **{RECORD_KEY: "ab" * 32}) == line("2", **{RECORD_KEY: "ab" * 32})
    assert line("3") != line("4")


async def test_without_a_file_nothing_is_recorded(rig: Rig):
    assert (await rig.chat()).status == 200
    assert rig.gateway.capture is None
    assert "tokenrouter_capture_lines" not in (await rig.get("/metrics")).body.decode()


async def test_gemini_s_model_stands_in_the_path_and_a_key_in_its_query_stays_out(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    async with running(tmp_path / "g", RECORD_FILE=str(path)) as rig:
        where = f"/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse&key={rig.key}"
        body = {"contents": [{"role": "user", "parts": [{"text": "Hello."}]}]}
        assert (await call(rig.app, "POST", where, json.dumps(body).encode(), {"content-type": "application/json"})).status == 200
        await rig.landed()
        key = rig.key
    (found,) = captured(path)
    assert (found.path, found.query) == ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", "alt=sse")
    assert key.encode() not in path.read_bytes()
