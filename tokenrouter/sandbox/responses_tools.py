"""Tools of a Responses request, all of them flat: functions and free-text tools that the simulated model can call, and the hosted kinds,
which are accepted and never called.

Source: the published `openai` SDK 3.52.0, types/responses/tool_param.py and its neighbours.
"""

import msgspec

from tokenrouter.sandbox.answers import Tool
from tokenrouter.sandbox.chat_request import invalid
from tokenrouter.sandbox.openai_shapes import Checks, anything, boolean, by_type, choice, maybe, number, record, rows, table, text, whole, words_or
from tokenrouter.sandbox.strict_schema import check_strict
from tokenrouter.sandbox.wire import JsonObject, JsonValue

NAME = text(most=64, pattern="[a-zA-Z0-9_-]+")
_CALLERS = maybe(rows(choice("direct", "programmatic")))
_FORMAT = by_type({"text": record({}, {}), "grammar": record({"definition": text(), "syntax": choice("lark", "regex")}, {})})
_PLACE = record({}, {name: maybe(text()) for name in ("city", "country", "region", "timezone")} | {"type": choice("approximate")})
_SIZE = choice("low", "medium", "high")
_NAMES = rows(text())
_FILTER = record({}, {"read_only": boolean, "tool_names": _NAMES})
_MCP_OPTIONAL: Checks = {
    "allowed_callers": _CALLERS,
    "allowed_tools": maybe(lambda value, at: _NAMES(value, at) if isinstance(value, list) else _FILTER(value, at)),
    "authorization": text(),
    "connector_id": text(),
    "defer_loading": boolean,
    "headers": maybe(table(text())),
    "require_approval": maybe(words_or(record({}, {"always": _FILTER, "never": _FILTER}), "one of a string or object")),
    "server_description": text(),
    "server_url": text(),
    "tunnel_id": text(),
}
_IMAGE_OPTIONAL: Checks = {
    "action": choice("generate", "edit", "auto"),
    "background": choice("transparent", "opaque", "auto"),
    "complexity": _SIZE,
    "frame_count": whole(),
    "frame_duration_ms": whole(),
    "input_fidelity": maybe(choice("high", "low")),
    "input_image_mask": record({}, {"file_id": text(), "image_url": text()}),
    "model": text(),
    "moderation": choice("auto", "low"),
    "output_compression": whole(0, 100),
    "output_format": choice("png", "webp", "jpeg", "gif", "svg"),
    "partial_images": whole(0, 3),
    "quality": choice("low", "medium", "high", "xhigh", "max", "auto"),
    "size": text(),
    "svg": anything,
}
_SEARCH: Checks = {
    "external_web_access": boolean,
    "filters": maybe(record({}, {"allowed_domains": maybe(_NAMES)})),
    "search_context_size": _SIZE,
    "user_location": maybe(_PLACE),
}
_PREVIEW: Checks = {"search_content_types": rows(choice("text", "image")), "search_context_size": _SIZE, "user_location": maybe(_PLACE)}
_RANKING = record(
    {},
    {
        "hybrid_search": record({"embedding_weight": number(0, 1e9), "text_weight": number(0, 1e9)}, {}),
        "ranker": choice("auto", "default-2024-11-15"),
        "score_threshold": number(0, 1),
    },
)
_SCREEN: Checks = {"display_height": whole(1), "display_width": whole(1), "environment": choice("windows", "mac", "linux", "ubuntu", "browser")}


def _parameters(value: JsonValue, at: str) -> None:
    table(anything)(value, at)
    if isinstance(value, dict) and value.get("type", "object") != "object":
        raise invalid(f"Invalid schema for '{at}': schema must be a JSON Schema of 'type: \"object\"'.", at, "invalid_function_parameters")


_FUNCTION_OPTIONAL: Checks = {
    "parameters": maybe(_parameters),
    "strict": maybe(boolean),
    "allowed_callers": _CALLERS,
    "defer_loading": boolean,
    "description": maybe(text()),
    "output_schema": maybe(table(anything)),
    "async": boolean,
}
_CUSTOM = record({"name": NAME}, {"allowed_callers": _CALLERS, "defer_loading": boolean, "description": text(), "format": _FORMAT, "async": boolean})
# The SDK's type wants `parameters` and `strict` spelled out; the service does without (https://developers.openai.com/api/docs/guides/function-calling)
_FUNCTION = record({"name": NAME}, _FUNCTION_OPTIONAL)
KINDS: Checks = {
    "function": _FUNCTION,
    "custom": _CUSTOM,
    "file_search": record(
        {"vector_store_ids": _NAMES}, {"filters": maybe(table(anything)), "max_num_results": whole(1, 50), "ranking_options": _RANKING}
    ),
    "computer": record({}, {}),
    "computer_use_preview": record(_SCREEN, {}),
    "web_search": record({}, _SEARCH),
    "web_search_2025_08_26": record({}, _SEARCH),
    "web_search_preview": record({}, _PREVIEW),
    "web_search_preview_2025_03_11": record({}, _PREVIEW),
    "mcp": record({"server_label": text()}, _MCP_OPTIONAL),
    "code_interpreter": record({"container": words_or(table(anything), "one of a string or object")}, {"allowed_callers": _CALLERS}),
    "programmatic_tool_calling": record({}, {}),
    "image_generation": record({}, _IMAGE_OPTIONAL),
    "local_shell": record({}, {}),
    "shell": record({}, {"allowed_callers": _CALLERS, "environment": maybe(table(anything))}),
    "namespace": record({"description": text(), "name": NAME, "tools": rows(by_type({"function": _FUNCTION, "custom": _CUSTOM}))}, {}),
    "tool_search": record({}, {"description": maybe(text()), "execution": choice("server", "client"), "parameters": anything}),
    "apply_patch": record({}, {"allowed_callers": _CALLERS}),
}
_ONE = by_type(KINDS)


def check_tools(value: JsonValue, at: str) -> None:
    """An array of tools; a function that asks for strictness has to have a schema that allows it."""
    rows(_ONE)(value, at)
    for index, tool in enumerate(value if isinstance(value, list) else []):
        if isinstance(tool, dict) and tool.get("type") == "function" and tool.get("strict") is True and isinstance(tool.get("parameters"), dict):
            check_strict(tool["parameters"], f"function '{tool['name']}'", f"{at}[{index}].parameters", "invalid_function_parameters")


_ALLOWED = record({"mode": choice("auto", "required"), "tools": rows(table(anything), least=1)}, {})
_HOSTED = (
    "file_search",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "web_search",
    "computer",
    "computer_use",
    "computer_use_preview",
    "image_generation",
    "code_interpreter",
    "programmatic_tool_calling",
    "apply_patch",
    "shell",
)
_CHOICE = by_type(
    {
        "function": record({"name": text()}, {}),
        "custom": record({"name": text()}, {}),
        "allowed_tools": _ALLOWED,
        "mcp": record({"server_label": text()}, {"name": maybe(text())}),
        **{kind: record({}, {}) for kind in _HOSTED},
    }
)


def check_choice(value: JsonValue, at: str) -> None:
    """A word, or an object that names tools."""
    if isinstance(value, str):
        choice("none", "auto", "required")(value, at)
    else:
        _CHOICE(value, at)


class Choice(msgspec.Struct, frozen=True):
    """What the request lets the model call: `word` is auto, none, required or a tool's name."""

    word: str
    tools: tuple[Tool, ...]


def callable_tools(tools: list[JsonObject]) -> tuple[Tool, ...]:
    """Functions and free-text tools; the rest runs elsewhere."""
    return tuple(
        Tool(str(tool["name"]), None if tool["type"] == "custom" else tool.get("parameters") or {"type": "object"})
        for tool in tools
        if tool["type"] in ("function", "custom")
    )


def choose(wanted: JsonValue, tools: list[JsonObject]) -> Choice:
    """Read `tool_choice`; a choice of what is not there is a 400."""
    able = callable_tools(tools)
    if wanted is None or isinstance(wanted, str):
        if wanted == "required" and not tools:
            raise invalid("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
        return Choice(wanted or "auto", able)
    chosen = wanted if isinstance(wanted, dict) else {}
    if chosen["type"] != "allowed_tools":
        _require(chosen, tools)
        return Choice(str(chosen["name"]) if chosen["type"] in ("function", "custom") else "none", able)
    listed = chosen["tools"]
    names: set[JsonValue] = set()
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict):
            _require(entry, tools)
            names.add(str(entry.get("name")))
    return Choice(str(chosen["mode"]), tuple(tool for tool in able if tool.name in names))


def _require(entry: JsonObject, tools: list[JsonObject]) -> None:
    """The entry has to name one of the tools: by its name, its server or its kind alone."""
    kind = str(entry.get("type"))
    key = {"function": "name", "custom": "name", "mcp": "server_label"}.get(kind)
    for tool in tools:
        if tool["type"] == kind and (key is None or tool.get(key) == entry.get(key)):
            return
    raise invalid(f"Tool choice '{entry.get(key) if key else kind}' not found in 'tools' parameter.", "tool_choice")
