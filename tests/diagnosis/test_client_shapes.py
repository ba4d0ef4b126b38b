"""Breaks as named clients make them, labelled by hand after captures of their requests (2026-11): what changes, and where."""

import copy
import json
import random

import pytest
from desk import Asked, Desk
from talks import messages, paragraph, schema, system_text, talk

RULES = system_text(random.Random(77), 120)
MORE = system_text(random.Random(78), 60)


def claude_code(task, *, digits="06c", memory="/home/ann/.claude/projects/-work-a/memory", status=" M mul.py", month="November"):
    rng = random.Random(5)
    tools = [{"name": name, "description": paragraph(rng, 6), "input_schema": schema(rng)} for name in ("Bash", "Edit", "Glob", "Read", "Task")]
    search = f"Searches the web.\n\n- The current month is {month} 2026. You MUST use this year when searching."
    tools.append({"name": "WebSearch", "description": search, "input_schema": schema(rng)})
    return {
        "model": "claude-opus-4-8",
        "max_tokens": 32_000,
        "metadata": {"user_id": json.dumps({"device_id": "d", "session_id": f"session of {task}"})},
        "tools": tools,
        "system": [
            {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.197.{digits}; cc_entrypoint=sdk-cli;"},
            {"type": "text", "text": "You are a Claude agent, built on Anthropic's Claude Agent SDK.", "cache_control": {"type": "ephemeral"}},
            {
                "type": "text",
                "text": f"{RULES}\n# Memory\nYou have a memory at `{memory}/`. Use it.\n{MORE}\n\n"
                f"gitStatus: This is the git status at the start.\n\nStatus:\n{status}\n",
                "cache_control": {"type": "ephemeral"},
            },
        ],
        "messages": [{"role": "user", "content": [{"type": "text", "text": task, "cache_control": {"type": "ephemeral"}}]}],
    }


def resumed(request, *, turns=12):
    """The same with a history."""
    rng, out = random.Random(9), copy.deepcopy(request)
    for number in range(turns):
        role = "assistant" if number % 2 == 0 else "user"
        out["messages"].append({"role": role, "content": [{"type": "text", "text": paragraph(rng, 3)}]})
    return out


def opencode(task, *, folder="/srv/a", day="Fri Nov 20 2026"):
    env = f"<env>\n  Working directory: {folder}\n  Is directory a git repo: yes\n  Platform: linux\n  Today's date: {day}\n</env>"
    return {"model": "gpt-4.1", "messages": [{"role": "system", "content": f"{RULES}\n{env}\n{MORE}"}, {"role": "user", "content": task}]}


def codex(task, *, home="/home/ann", number=0):
    skills = f"# Skills\n- `r0` = `{home}/.codex/skills/.system`\n{RULES}"
    item = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": skills}], "id": f"msg_{number:032x}"}
    return {"model": "gpt-4.1", "instructions": MORE, "input": [item, {"role": "user", "content": task}], "store": False}


def cline(task, *, when="11/21/2026, 10:04:05 AM"):
    said = f"<task>\n{task}\n</task>\n\n<environment_details>\n# Current Time\n{when} (Europe/Berlin, UTC+1:00)\n{MORE}\n</environment_details>"
    return {"model": "gpt-4.1", "messages": [{"role": "system", "content": RULES}, {"role": "user", "content": said}]}


def history(request, turns=8):
    rng, out = random.Random(3), copy.deepcopy(request)
    for number in range(turns):
        out["messages"].append({"role": "assistant" if number % 2 == 0 else "user", "content": paragraph(rng, 3)})
    return out


CASES = {
    "claude code: the billing line follows the prompt": (
        "anthropic-messages",
        [claude_code("Write a sorter."), claude_code("Explain the parser.", digits="9f1")],
        ("volatile", "attribution", "system[0].text", 1),
    ),
    "claude code: the memory folder of another user": (
        "anthropic-messages",
        [claude_code("Write a sorter."), claude_code("Write it.", memory="/home/bob/.claude/projects/-tmp-b/memory")],
        ("volatile", "path", "system[2].text", RULES.count("\n") + 3),
    ),
    "claude code: the git status of a resumed session": (
        "anthropic-messages",
        [resumed(claude_code("Write a sorter.")), resumed(claude_code("Write a sorter.", status=" M mul.py\n?? test_mul.py"), turns=14)],
        ("volatile", "git", "system[2].text", None),
    ),
    "claude code: the month in a tool": (
        "anthropic-messages",
        [claude_code("Write a sorter."), claude_code("Write it.", month="December")],
        ("volatile", "date", "tools[5].description", 3),
    ),
    "opencode: the working directory": (
        "openai-chat",
        [opencode("Write a sorter."), opencode("Explain.", folder="/tmp/other/b")],
        ("volatile", "path", "messages[0].content", RULES.count("\n") + 3),
    ),
    "opencode: the date": (
        "openai-chat",
        [opencode("Write a sorter."), opencode("Explain.", day="Sat Nov 21 2026")],
        ("volatile", "date", "messages[0].content", RULES.count("\n") + 6),
    ),
    "codex: the skills folder in the developer message": (
        "openai-responses",
        [codex("Write a sorter."), codex("Explain.", home="/home/b")],
        ("volatile", "path", "input[0].content[0].text", 2),
    ),
    "cline: the clock in the first message is told again": (
        "openai-chat",
        [history(cline("Write a sorter.")), history(cline("Write a sorter.", when="11/21/2026, 10:09:11 AM"), turns=10)],
        ("volatile", "date", "messages[1].content", 7),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_client_changes_is_named(name):
    dialect, requests, (cause, kind, path, line) = CASES[name]
    desk = Desk()
    found = [desk.ask(Asked(dialect, request, 1000.0 + 30 * number)) for number, request in enumerate(requests)]
    assert not found[0].alarming
    said = found[1]
    assert (said.cause, said.path) == (cause, path)
    assert said.kind == kind or (kind == "date" and said.kind == "time")
    assert line is None or said.line == line
    assert said.tokens > 500


def test_a_list_of_blocks_that_becomes_a_string_when_the_mark_wanders_on_is_a_form():
    """mini-swe-agent: the content of a tool result is an array while it carries the mark, a string afterwards."""
    said = talk(5, rounds=6, tools=6)
    first = next(i for i in range(3, len(said.turns)) if said.turns[i][0] == "tool" and i > len(said.turns) // 2)
    one = messages(said, first + 1)
    block = one["messages"][-1]["content"][-1]
    block["content"] = [{"type": "text", "text": block["content"], "cache_control": {"type": "ephemeral"}}]
    desk = Desk()
    desk.ask(Asked("anthropic-messages", one, 1000.0, session="s"))
    found = desk.ask(Asked("anthropic-messages", messages(said, len(said.turns)), 1010.0, session="s"))
    assert found is None or found.cause == "form.flipped"


def test_the_same_work_in_the_same_folder_raises_no_alarm():
    desk = Desk()
    for number, request in enumerate([opencode("Write a sorter."), opencode("Explain the parser."), codex("Write."), codex("Explain.")]):
        found = desk.ask(Asked("openai-responses" if "input" in request else "openai-chat", request, 1000.0 + 30 * number))
        assert found is None or not found.alarming
