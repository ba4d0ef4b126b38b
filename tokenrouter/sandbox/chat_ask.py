"""From a Chat Completions request to the question that it puts to the model."""

from tokenrouter.sandbox.answers import Ask, Tool
from tokenrouter.sandbox.chat_request import ChatRequest, content_text, invalid
from tokenrouter.sandbox.wire import JsonObject, JsonValue


def ask_of(request: ChatRequest, seed: int, *, thinks: bool, refuses: bool = False) -> Ask:
    """What decides the answer, the prompt's fingerprint being `seed`."""
    tools = tuple(_tool(tool) for tool in request.tools)
    choice, allowed = _choice(request, {tool.name for tool in tools})
    if allowed is not None:
        tools = tuple(tool for tool in tools if tool.name in allowed)
    schema, json_mode = _format(request)
    last_user = next((message for message in reversed(request.messages) if message["role"] == "user"), None)
    return Ask(
        seed=seed,
        last_user=content_text(last_user) if last_user else "",
        after_tools=request.messages[-1]["role"] == "tool",
        tools=tools,
        choice=choice,
        parallel=request.fields.get("parallel_tool_calls") is not False,
        schema=schema,
        json_mode=json_mode,
        limit=request.limit,
        stops=request.stops,
        thinks=thinks,
        refuses=refuses,
    )


def custom_names(request: ChatRequest) -> frozenset[str]:
    """Tools that take free text."""
    return frozenset(str(_inner(tool)["name"]) for tool in request.tools if tool.get("type") == "custom")


def _inner(tool: JsonObject) -> JsonObject:
    inner = tool.get(str(tool["type"]))
    return inner if isinstance(inner, dict) else {}


def _tool(tool: JsonObject) -> Tool:
    inner = _inner(tool)
    if tool.get("type") == "custom":
        return Tool(str(inner["name"]), None)
    return Tool(str(inner["name"]), inner.get("parameters") or {"type": "object"})


def _choice(request: ChatRequest, names: set[str]) -> tuple[str, set[str] | None]:
    choice = request.fields.get("tool_choice")
    if choice is None:
        return "auto", None
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise invalid(f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'.", "tool_choice", "invalid_value")
        return choice, None
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            return _allowed(choice, names)
        inner = choice.get(str(choice.get("type")))
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str) and name in names:
            return name, None
        raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")
    raise invalid("Invalid type for 'tool_choice'.", "tool_choice", "invalid_type")


def _allowed(choice: JsonObject, names: set[str]) -> tuple[str, set[str]]:
    inner = choice.get("allowed_tools")
    listed: JsonValue = inner.get("tools") if isinstance(inner, dict) else None
    allowed: set[str] = set()
    for entry in listed if isinstance(listed, list) else ():
        function = entry.get(str(entry.get("type"))) if isinstance(entry, dict) else None
        if isinstance(function, dict):
            allowed.add(str(function.get("name")))
    if not allowed or not allowed <= names:
        raise invalid("Invalid 'tool_choice.allowed_tools': every tool must be in 'tools'.", "tool_choice")
    return ("required" if isinstance(inner, dict) and inner.get("mode") == "required" else "auto"), allowed


def _format(request: ChatRequest) -> tuple[JsonValue, bool]:
    wanted = request.fields.get("response_format")
    if wanted is None:
        return None, False
    if not isinstance(wanted, dict) or wanted.get("type") not in ("text", "json_object", "json_schema"):
        raise invalid(
            "Invalid value for 'response_format.type'. Supported values are: 'text', 'json_object', and 'json_schema'.",
            "response_format",
            "invalid_value",
        )
    if wanted["type"] == "json_schema":
        inner = wanted.get("json_schema")
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise invalid("Missing required parameter: 'response_format.json_schema'.", "response_format.json_schema", "missing_required_parameter")
        schema = inner.get("schema")
        if schema is not None and not isinstance(schema, dict):
            raise invalid("Invalid schema for response_format.", "response_format", "invalid_value")
        return schema or {"type": "object"}, False
    return None, wanted["type"] == "json_object"
