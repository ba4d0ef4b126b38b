"""`tokenrouter explain`: every room's work on one request, for people and for machines."""

import json
from pathlib import Path
from typing import Any

import pytest

from tokenrouter.cli import main

LONG = "The same instructions, word for word, every time. " * 200


def request_file(folder: Path, **fields: Any) -> str:
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}} for name in ("zeta", "alpha")]
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "more"}]
    body = {"model": "claude-opus-4-8", "tools": tools, "messages": [{"role": "system", "content": LONG}, *turns], **fields}
    path = folder / "request.json"
    path.write_text(json.dumps(body))
    return str(path)


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["explain", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TIKTOKEN_CACHE_DIR", "TOKENROUTER_CONFIG", "EDITS_OFF"):
        monkeypatch.delenv(name, raising=False)


def test_blocks_stand_in_their_order_with_stability_and_digests(tmp_path, capsys):
    rows = report(capsys, request_file(tmp_path))["chunks"]
    assert [row["kind"] for row in rows] == ["system", "tool", "tool", "history", "history", "query"]
    assert [row["stability"] for row in rows] == ["static", "static", "static", "session", "session", "volatile"]
    assert all(len(row["prefix_digest"]) == 32 and len(row["answer_digest"]) == 64 for row in rows)


def test_an_edit_is_shown_with_before_and_after(tmp_path, capsys):
    edits = {row["id"]: row for row in report(capsys, request_file(tmp_path))["edits"]}
    assert edits["tools.order"] == {"id": "tools.order", "made": True, "before": ["zeta", "alpha"], "after": ["alpha", "zeta"]}
    assert edits["usage.ask"] == {"id": "usage.ask", "made": False}


def test_the_plan_and_the_outbound_body_belong_to_the_chosen_vendor(tmp_path, capsys):
    path = request_file(tmp_path)
    own = report(capsys, path)
    other = report(capsys, path, "--vendor", "openai", "--model", "gpt-6-sol")
    assert [mark["after"] for mark in own["plan"]] == ["message 0", "message 3"]
    assert own["outbound_body"].count("cache_control") == 2
    assert [mark["after"] for mark in other["plan"]] == ["message 0"], "the vendor writes the newest message by itself"
    assert other["outbound_body"].count("prompt_cache_breakpoint") == 1
    assert "prompt_cache_options" not in other["outbound_body"]
    assert own["identities"]["answer"] != other["identities"]["answer"]


def test_a_warm_cache_is_the_cheapest_and_a_cold_one_the_dearest(tmp_path, capsys):
    cost = report(capsys, request_file(tmp_path))["cost"]
    assert float(cost["again_usd"]) < float(cost["uncached_usd"]) < float(cost["first_time_usd"])


def test_an_edit_that_is_switched_off_is_not_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("EDITS_OFF", "tools.order,marks.plan")
    seen = report(capsys, request_file(tmp_path))
    assert not any(row["made"] for row in seen["edits"])
    assert seen["plan"] == []


def test_without_a_vocabulary_tokens_are_estimated_and_it_says_so(tmp_path, capsys):
    assert report(capsys, request_file(tmp_path))["tokens"]["counted_by"] == "estimate: bytes / 4"


def test_people_get_tables_and_shortened_texts(tmp_path, capsys):
    assert main(["explain", request_file(tmp_path)]) == 0
    text = capsys.readouterr().out
    for title in ("Chunks", "Edits", "Cache plan", "answer identity", "input cost", "outbound body"):
        assert title in text
    assert f"({len(LONG)} characters)" in " ".join(text.split())


def test_a_broken_request_is_one_line_and_a_status(tmp_path, capsys):
    path = tmp_path / "request.json"
    path.write_text('{"model": "gpt-4.1", "messages": [{"role": "user", "content": "a", "content": "b"}]}')
    assert main(["explain", str(path)]) == 1
    assert capsys.readouterr().err == 'messages[0]: the key "content" stands twice in one object\n'


def test_square_brackets_are_text_not_markup(tmp_path, capsys):
    path = request_file(tmp_path, messages=[{"role": "user", "content": "[x] bold[/b] [red]no[/red]"}])
    assert main(["explain", path]) == 0
    assert "[x] bold[/b]" in " ".join(capsys.readouterr().out.split())


def test_the_affinity_key_is_in_the_body_that_is_shown(tmp_path, capsys):
    assert '"prompt_cache_key":"tr-' in report(capsys, request_file(tmp_path), "--vendor", "openai", "--model", "gpt-4.1")["outbound_body"]
