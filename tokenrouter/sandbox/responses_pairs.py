"""What items owe each other: a call its output, an output its call, an id its uniqueness, a stored item its thought.

Messages: as the service words them, from errors quoted in public issue trackers (read 2026-11).
"""

from collections.abc import Mapping

from tokenrouter.sandbox.chat_request import invalid
from tokenrouter.sandbox.wire import JsonObject

_OUTPUTS = {
    "function_call_output": ("function_call", "function call"),
    "custom_tool_call_output": ("custom_tool_call", "custom tool call"),
    "computer_call_output": ("computer_call", "computer call"),
    "shell_call_output": ("shell_call", "shell call"),
    "apply_patch_call_output": ("apply_patch_call", "apply patch call"),
}
_CALLS = dict(_OUTPUTS.values())


def check_pairs(items: tuple[JsonObject, ...]) -> None:
    """Every output answers one earlier call, and no call stays without one."""
    waiting: dict[tuple[str, str], None] = {}
    for item in items:
        kind, call_id = str(item["type"]), item.get("call_id")
        if kind in _CALLS:
            waiting[kind, str(call_id)] = None
        elif kind in _OUTPUTS:
            call, words = _OUTPUTS[kind]
            if call_id is None and item.get("name") is not None:
                continue
            if (call, str(call_id)) not in waiting:
                raise invalid(f"No tool call found for {words} output with call_id {call_id}.", "input")
            del waiting[call, str(call_id)]
    for call, call_id in waiting:
        raise invalid(f"No tool output found for {_CALLS[call]} {call_id}.", "input")


def check_unique(items: tuple[JsonObject, ...]) -> None:
    """No item twice: neither in the input, nor in the input and in what `previous_response_id` brings along."""
    seen: set[str] = set()
    for item in items:
        name = item.get("id")
        if isinstance(name, str):
            if name in seen:
                raise invalid(f"Duplicate item found with id {name}. Remove duplicate items from your input and try again.", "input")
            seen.add(name)


def check_thoughts(items: tuple[JsonObject, ...], thought_of: Mapping[str, str]) -> None:
    """An item that the service has stored as the fruit of a thought comes right after it. `thought_of`: such items, with their thoughts."""
    before: JsonObject = {}
    for item in items:
        thought = thought_of.get(str(item.get("id")))
        if thought is not None and before.get("id") != thought:
            raise invalid(
                f"Item '{item['id']}' of type '{item['type']}' was provided without its required 'reasoning' item: '{thought}'.",
                "input",
            )
        before = item
