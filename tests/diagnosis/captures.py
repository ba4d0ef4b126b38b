"""Captured requests of real clients, as `tests/diagnosis/make_captured.py` reads them: one JSON object per line, in the order of time."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path

WORDS = ("anthropic-beta", "x-claude-code-session-id", "session-id", "thread-id", "x-session-id", "x-session-affinity")
"""Headers that say something about the prompt or name the conversation."""

_PATHS = (
    ("/v1/chat/completions", "openai-chat"),
    ("/v1/responses", "openai-responses"),
    ("/v1/messages", "anthropic-messages"),
    ("enerateContent", "gemini-generate"),
)


@dataclass
class Sent:
    """One request. `number`: its line in the capture; `label`: which session of the client."""

    client: str
    number: int
    label: str
    dialect: str
    body: dict
    headers: dict = field(default_factory=dict)
    model: str = ""

    def other(self, change=None, **headers):
        """The same with a change."""
        made = copy.deepcopy(self)
        if change is not None:
            change(made.body)
        made.headers |= headers
        return made


def dialect_of(path):
    """ "" for what is no generation."""
    if "count" in path.lower().replace("generatecontent", ""):
        return ""
    return next((dialect for part, dialect in _PATHS if part in path), "")


def read(folder):
    """Requests that were answered, by client."""
    found = {}
    for file in sorted(Path(folder).glob("*.jsonl")):
        found[file.stem] = []
        for number, line in enumerate(file.read_text().splitlines()):
            entry = json.loads(line)
            dialect = dialect_of(entry["path"])
            if entry["method"] != "POST" or entry["status"] != 200 or not dialect:
                continue
            body, headers = json.loads(entry["body"]), {name.lower(): value for name, value in dict(entry["headers"]).items()}
            if body.get("previous_response_id"):
                continue  # it continues what only the provider has
            model = entry["path"].partition("models/")[2].partition(":")[0] or body["model"]
            kept = {name: headers[name] for name in WORDS if name in headers}
            found[file.stem].append(Sent(file.stem, number, entry["label"].partition("/")[2], dialect, body, kept, model))
    return found


def chain(sent, label, dialect=None):
    """The turns of a conversation with tools, in order; each repeats the one before it."""
    mine = [one for one in sent if one.label == label and one.body.get("tools") and dialect in (None, one.dialect)]
    out = []
    for one in mine:
        if not out or (one.model == out[-1].model and len(listed(one.body)) > len(listed(out[-1].body)) and _repeats(out[-1], one)):
            out.append(one)
    return out


def _repeats(before, after):
    old, new = plain(listed(before.body)), plain(listed(after.body))
    return new[: len(old)] == old


def plain(value):
    """Without marks and item ids."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if name not in ("cache_control", "id")}
    return value


def listed(body):
    """The messages, whatever they are called."""
    return next(body[name] for name in ("messages", "input", "contents") if isinstance(body.get(name), list))
