"""The tools of a Messages request: the client's own, and those of Anthropic, whose names are given.

Anthropic's tools are accepted and never called, unless a script says so. Source: the published `anthropic` SDK 2.11.0,
`types/tool_union_param.py` and `types/beta/beta_tool_union_param.py`.
"""

import re

from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NAMED = {
    "bash": "bash",
    "text_editor": "str_replace_based_edit_tool",
    "computer": "computer",
    "memory": "memory",
    "code_execution": "code_execution",
    "web_search": "web_search",
    "web_fetch": "web_fetch",
    "tool_search_tool_bm25": "tool_search_tool_bm25",
    "tool_search_tool_regex": "tool_search_tool_regex",
    "advisor": "advisor",
}
"""Families of types, dates apart, with the only name that each may have."""
_OLD_NAMES = {"text_editor_20241022": "str_replace_editor", "text_editor_20250124": "str_replace_editor"}
TOOLSETS = frozenset({"computer_toolset", "browser_toolset", "mcp_toolset"})
"""Types without a name of their own."""
SERVER_TOOLS = frozenset(
    {"web_search", "web_fetch", "code_execution", "tool_search_tool_bm25", "tool_search_tool_regex", "advisor"},
)
"""Names that run at Anthropic's side: calls come with their results."""
_DATE = re.compile(r"_\d{8}$")


def _bad(message: str) -> Refusal:
    return Refusal(400, message)


def read_tools(value: JsonValue) -> list[JsonObject]:
    """Check all definitions. Raises `Refusal`."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise _bad("tools: Input should be a valid list")
    tools: list[JsonObject] = []
    names: set[str] = set()
    for index, tool in enumerate(value):
        if not isinstance(tool, dict):
            raise _bad(f"tools.{index}: Input should be a valid dictionary")
        name = _check(tool, index)
        if name is not None and name in names:
            raise _bad("tools: Tool names must be unique.")
        names.update([name] if name is not None else [])
        tools.append(tool)
    return tools


def _check(tool: JsonObject, index: int) -> str | None:
    """The name of a tool, None for a toolset."""
    kind = tool.get("type") or "custom"
    if not isinstance(kind, str):
        raise _bad(f"tools.{index}.type: Input should be a valid string")
    family = _DATE.sub("", kind)
    if family in TOOLSETS:
        if family == "mcp_toolset" and not isinstance(tool.get("mcp_server_name"), str):
            raise _bad(f"tools.{index}.mcp_toolset.mcp_server_name: Field required")
        return None
    name = tool.get("name")
    if not isinstance(name, str):
        raise _bad(f"tools.{index}.{kind}.name: Field required")
    if kind == "custom":
        _check_custom(tool, name, index)
        return name
    if family not in NAMED:
        expected = ", ".join(repr(item) for item in ("custom", *NAMED, *sorted(TOOLSETS)))
        raise _bad(f"tools.{index}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {expected}")
    wanted = _OLD_NAMES.get(kind, NAMED[family])
    if name != wanted:
        raise _bad(f"tools.{index}.{kind}.name: Input should be '{wanted}'")
    return name


def _check_custom(tool: JsonObject, name: str, index: int) -> None:
    if not _NAME.fullmatch(name):
        raise _bad(f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise _bad(f"tools.{index}.custom.input_schema: Field required")
    if schema.get("type") != "object":
        raise _bad(f"tools.{index}.custom.input_schema.type: Field required")


def server_tools(tools: list[JsonObject]) -> frozenset[str]:
    """Names of the tools of a request that run at Anthropic's side."""
    return frozenset(str(tool["name"]) for tool in tools if tool.get("type", "custom") != "custom" and tool.get("name") in SERVER_TOOLS)
