"""Why a prompt prefix could not be reused, as Anthropic says it: a request is compared with the one that led to an earlier answer.

Only requests that ask for it are remembered, so a conversation's first one asks with `null`. Nothing is said where the earlier prompt is
the beginning of the later one.
Source: https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics; anthropic-python 2.11 `types/cache_miss_*.py`.
"""

from collections import OrderedDict

import msgspec

from tokenrouter.sandbox.anthropic_request import bad
from tokenrouter.sandbox.wire import JsonObject, JsonValue, encode

_MOST = 4_096
_BYTES_PER_TOKEN = 4
_OTHERS = ("tool_choice", "thinking", "output_config")


class _Prompt(msgspec.Struct, frozen=True):
    """What is remembered of a request. `others`: parameters that are prompt as well, feature flags among them."""

    model: bytes
    tools: bytes
    system: bytes
    messages: tuple[bytes, ...]
    others: bytes


class Diagnoses:
    """Prompts by account and answer."""

    __slots__ = ("_prompts",)

    def __init__(self) -> None:
        self._prompts: OrderedDict[tuple[str, str], _Prompt] = OrderedDict()

    def clear(self) -> None:
        """Forget every prompt."""
        self._prompts.clear()

    def keep(self, account: str, answer: str, fields: JsonObject, betas: frozenset[str]) -> None:
        """Remember the prompt that led to an answer, where it asked to be compared."""
        if isinstance(fields.get("diagnostics"), dict):
            self._prompts[account, answer] = _prompt(fields, betas)
            if len(self._prompts) > _MOST:
                self._prompts.popitem(last=False)

    def compare(self, account: str, fields: JsonObject, betas: frozenset[str]) -> JsonObject | None:
        """The `diagnostics` of an answer; None where nothing was asked, or nothing differs. Raises `Refusal`."""
        asked = fields.get("diagnostics")
        if asked is None:
            return None
        if not isinstance(asked, dict):
            raise bad("diagnostics: Input should be an object")
        for name in asked:
            if name != "previous_message_id":
                raise bad(f"diagnostics.{name}: Extra inputs are not permitted")
        previous = asked.get("previous_message_id")
        if previous is None:
            return None
        if not isinstance(previous, str):
            raise bad("diagnostics.previous_message_id: Input should be a valid string")
        before = self._prompts.get((account, previous))
        reason: JsonObject | None = {"type": "previous_message_not_found"}
        if before is not None:
            reason = _reason(before, _prompt(fields, betas))
        return None if reason is None else {"cache_miss_reason": reason}


def _prompt(fields: JsonObject, betas: frozenset[str]) -> _Prompt:
    messages, system = fields.get("messages"), fields.get("system") or []
    return _Prompt(
        model=encode([fields.get("model"), fields.get("speed")]),
        tools=encode(_bare(fields.get("tools") or [])),
        system=encode(_bare([{"type": "text", "text": system}] if isinstance(system, str) else system)),
        messages=tuple([encode(_bare(message)) for message in messages]) if isinstance(messages, list) else (),
        others=encode([[fields.get(name) for name in _OTHERS], sorted(betas)]),
    )


def _reason(before: _Prompt, after: _Prompt) -> JsonObject | None:
    sizes = [len(before.tools), len(before.system), sum(map(len, before.messages))]
    for kind, old, new, lost in (
        ("model", before.model, after.model, sum(sizes)),
        ("tools", before.tools, after.tools, sum(sizes)),
        ("system", before.system, after.system, sum(sizes[1:])),
    ):
        if old != new:
            return {"type": f"{kind}_changed", "cache_missed_input_tokens": lost // _BYTES_PER_TOKEN}
    if before.others != after.others:
        return {"type": "unavailable"}
    same = 0
    while same < min(len(before.messages), len(after.messages)) and before.messages[same] == after.messages[same]:
        same += 1
    if same == len(before.messages):
        return None
    return {"type": "messages_changed", "cache_missed_input_tokens": sum(map(len, before.messages[same:])) // _BYTES_PER_TOKEN}


def _bare(value: JsonValue) -> JsonValue:
    """Without marks; a text alone is one block."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    made: JsonObject = {name: _bare(inner) for name, inner in value.items() if name != "cache_control"}
    if isinstance(text := made.get("content"), str):
        made["content"] = [{"type": "text", "text": text}]
    return made
