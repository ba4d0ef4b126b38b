"""Pairs of requests that clients sent, and what a reader wrote beside each (`captured/labels.txt`)."""

from dataclasses import dataclass, replace
from pathlib import Path

from desk import Asked, Desk, Provider

STEP_S = 20
RENDERED = frozenset(("tool_choice", "parallel_tool_calls", "response_format", "text", "reasoning", "reasoning_effort", "verbosity", "thinking"))
"""Top-level fields that providers' guides name as part of what is cached."""
HERE = Path(__file__).parent / "captured"


@dataclass
class Label:
    """`causes`, `lines` and `kinds` that are accepted, and how the path begins."""

    name: str
    causes: tuple
    place: str
    lines: tuple
    kinds: tuple
    why: str


def labels():
    found = {}
    for line in (HERE / "labels.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, cause, place, lines, kind, why = (part.strip() for part in line.split("|", 5))
            assert name not in found
            found[name] = Label(name, tuple(cause.split("/")), place, tuple(map(int, lines.split("/"))), tuple(kind.split("/")), why)
    return found


def desk_of_clients():
    desk = Desk()
    desk.provider = Served()
    return desk


def asked(sent, at_s, **how):
    """A captured request, as the desk takes it."""
    return Asked(sent.dialect, sent.body, at_s, headers=sent.headers, **({"model": sent.model} | how))


class Served(Provider):
    """A provider as its documents describe it: what it does not put into the prompt changes nothing, and a text alone is one part."""

    def grain(self, asked):
        return 1 if asked.dialect == "anthropic-messages" else 128

    def front(self, asked):
        body = {name: value for name, value in asked.body.items() if name in RENDERED}
        made = asked.body.get("generationConfig") or {}
        body |= {name: value for name, value in made.items() if name.startswith(("thinking", "response"))}
        return super().front(replace(asked, body=body))

    def pieces(self, asked):
        body = dict(asked.body)
        if isinstance(body.get("input"), str):
            body["input"] = [{"role": "user", "content": body["input"]}]
        elif asked.dialect == "openai-responses":
            body["input"] = [{name: value for name, value in item.items() if name not in ("id", "status")} for item in body["input"]]
        if asked.dialect == "anthropic-messages":
            body["system"] = _blocks(body.get("system") or [])
            body["messages"] = [{**one, "content": _blocks(one["content"])} for one in body["messages"]]
        return super().pieces(replace(asked, body=body))


def _blocks(said):
    return [{"type": "text", "text": said}] if isinstance(said, str) else said


def judged(pair):
    """Breaks that were found in front of the labelled one, and that one."""
    desk, at_s, early = desk_of_clients(), 1000.0, []
    for sent in pair.before:
        early.append(desk.ask(asked(sent, at_s)))
        at_s += STEP_S
    how = dict(pair.how)
    return early, desk.ask(asked(pair.then, at_s + how.pop("gap_s", 0), **how))


def wrong(found, label):
    """What is wrong with a diagnosis; "" where it is right."""
    if found is None or not found.alarming:
        return f"nothing found ({found and found.cause})"
    said = f"{found.cause} at {found.path}, line {found.line}, {found.kind!r}"
    if found.cause not in label.causes:
        return f"{said}: another cause"
    if label.place and not _steps(found.path).startswith(_steps(label.place)):
        return f"{said}: another place"
    if (label.lines != (0,) and found.line not in label.lines) or found.kind not in label.kinds:
        return f"{said}: another line or kind"
    return ""


def _steps(path):
    return (path + ".").replace("[", ".[")
