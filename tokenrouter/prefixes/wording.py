"""Breaks in words for people: what, where, what to do. No prompt text: names of tools, members and models only."""

from collections.abc import Mapping
from typing import Final

from tokenrouter.model.breaks import Cause, Kind
from tokenrouter.model.edits import TOOLS_ORDER

_KINDS: Final[Mapping[Kind, str]] = {
    "time": "a time",
    "date": "a date",
    "uuid": "a UUID",
    "hex": "a hexadecimal id",
    "id": "an id",
    "counter": "a counter",
    "session": "a session id",
    "path": "a path",
    "url": "an address",
    "port": "a port",
    "git": "the state of a git repository",
    "listing": "a list of files",
    "attribution": "a per-request attribution line",
}

_WHAT: Final[Mapping[Cause, str]] = {
    "tools.reordered": "the tools came in another order",
    "tools.added": "a tool was added",
    "tools.removed": "a tool was removed",
    "tools.changed": "a tool was defined otherwise",
    "system.changed": "the system text changed",
    "volatile": "{kind} changed",
    "message.edited": "an earlier message was edited",
    "message.dropped": "earlier messages were left out",
    "message.inserted": "messages were inserted in front of earlier ones",
    "history.compacted": "earlier messages were replaced by fewer",
    "form.flipped": "the same content was spelled in another form",
    "parameters": "a parameter that belongs to the prompt changed",
    "model": "another model was asked",
    "account": "another account was asked",
    "affinity": "the key that keeps requests together changed",
    "expired": "the prefix had not been used for longer than it lives",
    "below_minimum": "the prompt is shorter than the provider caches",
    "first_sight": "nothing like this prompt was seen before",
    "provider": "nothing changed, and the provider did not read what it had written",
}

_ADVICE: Final[Mapping[Cause, str]] = {
    "tools.reordered": "send the tools in a fixed order, or leave the edit tools.order on",
    "tools.added": "define all tools from the first turn on and narrow them with tool_choice, or add later ones behind the others",
    "tools.removed": "keep the tool defined and forbid it with tool_choice instead of removing it",
    "tools.changed": "define each tool with the same bytes in every request: fixed descriptions, a fixed order of schema keys",
    "system.changed": "keep the system text fixed within a conversation and say what changes in the newest user message",
    "volatile": "move it behind everything that stays the same, for example into the newest user message",
    "message.edited": "append instead of editing what was sent before",
    "message.dropped": "drop messages seldom and many at once, at the end of a topic, instead of a few with each turn",
    "message.inserted": "append what is to be added behind the last message",
    "history.compacted": "compact seldom: each time, everything behind the summary is processed again",
    "form.flipped": "keep one form (string or parts, the same spelling of arguments) for a message through the whole conversation",
    "parameters": "keep it the same through a conversation",
    "model": "stay with one model through a conversation",
    "account": "keep a conversation at one account: let only one provider key serve this model, or leave the choice to the gateway",
    "affinity": "keep the key the same for all requests that share a prefix",
    "expired": "ask for a longer lifetime where pauses are usual, and see whether the longer one's price pays",
    "below_minimum": "nothing to do: short prompts are cheap",
    "first_sight": "nothing to do: the next one like it can read",
    "provider": "watch how often it happens: providers evict early under load",
}

REMEDIES: Final[Mapping[Cause, str]] = {
    "tools.reordered": TOOLS_ORDER,
    "tools.added": TOOLS_ORDER,
    "volatile": "volatile.relocate",
    "affinity": "affinity.replace",
}
"""Edits that help against a cause; where the manner of a change matters, `remedy` looks at it."""


def remedy(cause: Cause, section: str, manner: str) -> str:
    """The edit that would help; "" where none does."""
    if cause == "tools.changed":
        return "tools.spelling" if manner in ("order", "spelling") else ""
    if cause == "form.flipped":
        return "calls.spelling" if manner in ("order", "spelling") else ""
    if cause == "volatile":
        return {"system": "volatile.relocate", "messages": "calls.spelling"}.get(section, "")
    return REMEDIES.get(cause, "")


def advice(cause: Cause) -> str:
    """What the client's owner can do."""
    return _ADVICE[cause]


def sentence(cause: Cause, *, kind: Kind = "", place: str = "", line: int = 0, detail: str = "") -> str:
    """One sentence.

    >>> sentence("volatile", kind="time", place="system[0]", line=12)
    'a time changed at system[0], line 12: move it behind everything that stays the same, for example into the newest user message.'
    """
    what = _WHAT[cause].format(kind=_KINDS.get(kind, "volatile text"))
    said = f" ({detail})" if detail else ""
    where = f" at {place}" if place else ""
    where += f", line {line}" if line and place else ""
    return f"{what}{said}{where}: {_ADVICE[cause]}."
