"""Reading a Chat Completions request: validated as strictly as the real service does, then rendered into a prompt.

Source: https://developers.openai.com/api/reference/resources/chat (request body), the published `openai` SDK 3.52.0 for field names.
"""

import msgspec

from tokenrouter.sandbox.prompt import END_OF_MESSAGE, Piece, header_piece, json_piece, media_piece, text_piece
from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal

ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
PART_TYPES = {
    "developer": frozenset({"text"}),
    "system": frozenset({"text"}),
    "tool": frozenset({"text"}),
    "assistant": frozenset({"text", "refusal"}),
    "user": frozenset({"text", "image_url", "input_audio", "file"}),
}
MARKABLE_PARTS = frozenset({"text", "image_url", "input_audio", "file"})
AUDIO_TOKENS = 256
FILE_TOKENS = 2048


class Mark(msgspec.Struct, frozen=True):
    """An explicit breakpoint after piece number `piece`; no `ttl` means the request's."""

    piece: int
    ttl: str | None


class MessageEnd(msgspec.Struct, frozen=True):
    """Piece number `piece` is the end of a message at which an implicit breakpoint may sit."""

    piece: int
    opening: bool


class Rendered(msgspec.Struct, frozen=True):
    """A prompt with the places where a cache may hook in."""

    pieces: list[Piece]
    marks: tuple[Mark, ...]
    message_ends: tuple[MessageEnd, ...]


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a validated request asks for."""

    fields: JsonObject
    model: str
    messages: list[JsonObject]
    tools: list[JsonObject]
    stream: bool
    include_usage: bool
    n: int
    limit: int | None
    stops: tuple[str, ...]


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """A 400."""
    return Refusal(400, message, param=param, code=code)


def wrong_type(param: str, wanted: str, value: JsonValue) -> Refusal:
    """A field of the wrong JSON type."""
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array", dict: "an object", type(None): "null"}
    return invalid(f"Invalid type for '{param}': expected {wanted}, but got {names[type(value)]} instead.", param, "invalid_type")


def read_chat(fields: JsonObject) -> ChatRequest:
    """Check the parts that every server of this wire agrees on."""
    model = fields.get("model")
    if model is None:
        raise invalid("you must provide a model parameter")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    stream = _flag(fields, "stream")
    options = fields.get("stream_options")
    include_usage = False
    if options is not None:
        if not isinstance(options, dict):
            raise wrong_type("stream_options", "an object", options)
        if not stream:
            raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
        include_usage = options.get("include_usage") is True
    limit = _integer(fields, "max_completion_tokens", 1, 1 << 40)
    old_limit = _integer(fields, "max_tokens", 1, 1 << 40)
    return ChatRequest(
        fields=fields,
        model=model,
        messages=_messages(fields),
        tools=_tools(fields),
        stream=stream,
        include_usage=include_usage,
        n=_integer(fields, "n", 1, 128) or 1,
        limit=limit if limit is not None else old_limit,
        stops=_stops(fields),
    )


def _flag(fields: JsonObject, name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(name, "a boolean", value)
    return value is True


def _integer(fields: JsonObject, name: str, least: int, most: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(name, "an integer", value)
    if not least <= value <= most:
        word, bound = ("below minimum", f">= {least}") if value < least else ("above maximum", f"<= {most}")
        raise invalid(
            f"Invalid '{name}': integer {word} value. Expected a value {bound}, but got {value} instead.",
            name,
            f"integer_{word.replace(' ', '_')}_value",
        )
    return value


def check_number(fields: JsonObject, name: str, least: float, most: float) -> None:
    """A sampling parameter within its range."""
    value = fields.get(name)
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type(name, "a decimal", value)
    if not least <= value <= most:
        word, bound = ("below minimum", f">= {least}") if value < least else ("above maximum", f"<= {most}")
        raise invalid(
            f"Invalid '{name}': decimal {word} value. Expected a value {bound}, but got {value} instead.",
            name,
            f"decimal_{word.replace(' ', '_')}_value",
        )


def _stops(fields: JsonObject) -> tuple[str, ...]:
    value = fields.get("stop")
    if value is None:
        return ()
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise wrong_type("stop", "one of a string or array of strings", value)
    if len(values) > 4:
        raise invalid("Invalid 'stop': array too long. Expected an array with maximum length 4.", "stop", "array_above_max_length")
    return tuple(item for item in values if isinstance(item, str) and item)


def _tools(fields: JsonObject) -> list[JsonObject]:
    value = fields.get("tools")
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type("tools", "an array", value)
    if not value:
        raise invalid("Invalid 'tools': empty array. Expected an array with minimum length 1.", "tools", "empty_array")
    tools: list[JsonObject] = []
    for index, tool in enumerate(value):
        at = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise wrong_type(at, "an object", tool)
        kind = tool.get("type")
        if kind not in ("function", "custom"):
            raise invalid(f"Invalid value: '{kind}'. Supported values are: 'function' and 'custom'.", f"{at}.type", "invalid_value")
        inner = tool.get(str(kind))
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"]:
            raise invalid(f"Missing required parameter: '{at}.{kind}.name'.", f"{at}.{kind}.name", "missing_required_parameter")
        parameters = inner.get("parameters")
        if parameters is not None and (not isinstance(parameters, dict) or parameters.get("type", "object") != "object"):
            raise invalid(
                f"Invalid schema for function '{inner['name']}': schema must be of type 'object'.",
                f"{at}.function.parameters",
                "invalid_function_parameters",
            )
        tools.append(tool)
    return tools


def _messages(fields: JsonObject) -> list[JsonObject]:
    value = fields.get("messages")
    if value is None:
        raise invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(value, list):
        raise wrong_type("messages", "an array of objects", value)
    if not value:
        raise invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.", "messages", "empty_array"
        )
    messages: list[JsonObject] = []
    unanswered: dict[str, None] = {}
    for index, message in enumerate(value):
        at = f"messages[{index}]"
        if not isinstance(message, dict):
            raise wrong_type(at, "an object", message)
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise invalid(
                f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.",
                f"{at}.role",
                "invalid_value",
            )
        if role == "tool":
            _answers(message, at, unanswered)
        elif unanswered:
            raise _dangling(unanswered)
        _content(message, role, at)
        if role == "assistant":
            unanswered.update((call_id, None) for call_id in _calls(message, at))
        messages.append(message)
    if unanswered:
        raise _dangling(unanswered)
    return messages


def _dangling(unanswered: dict[str, None]) -> Refusal:
    return invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(unanswered)}",
        "messages",
    )


def _answers(message: JsonObject, at: str, unanswered: dict[str, None]) -> None:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str):
        raise invalid(f"Missing required parameter: '{at}.tool_call_id'.", f"{at}.tool_call_id", "missing_required_parameter")
    if call_id not in unanswered:
        raise invalid("Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.", f"{at}.role")
    del unanswered[call_id]


def _calls(message: JsonObject, at: str) -> list[str]:
    calls = message.get("tool_calls")
    if calls is None:
        return []
    if not isinstance(calls, list) or not calls:
        raise invalid(f"Invalid '{at}.tool_calls': expected an array with minimum length 1.", f"{at}.tool_calls")
    ids: list[str] = []
    for index, call in enumerate(calls):
        where = f"{at}.tool_calls[{index}]"
        if not isinstance(call, dict):
            raise wrong_type(where, "an object", call)
        call_id = call.get("id")
        inner = call.get("custom" if call.get("type") == "custom" else "function")
        if not isinstance(call_id, str):
            raise invalid(f"Missing required parameter: '{where}.id'.", f"{where}.id", "missing_required_parameter")
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise invalid(f"Missing required parameter: '{where}.function.name'.", f"{where}.function.name", "missing_required_parameter")
        if not isinstance(inner.get("arguments", inner.get("input")), str):
            raise wrong_type(f"{where}.function.arguments", "a string", inner.get("arguments"))
        ids.append(call_id)
    return ids


def _content(message: JsonObject, role: str, at: str) -> None:
    content = message.get("content")
    if isinstance(content, str):
        return
    if content is None:
        if role == "assistant" and (message.get("tool_calls") or message.get("function_call") or message.get("refusal") or message.get("audio")):
            return
        raise invalid(f"Invalid value for 'content': expected a string, got null. ({at})", f"{at}.content")
    if not isinstance(content, list):
        raise wrong_type(f"{at}.content", "one of a string or array of objects", content)
    if not content:
        raise invalid(f"Invalid '{at}.content': empty array. Expected an array with minimum length 1.", f"{at}.content", "empty_array")
    allowed = PART_TYPES.get(role, frozenset({"text"}))
    for index, part in enumerate(content):
        where = f"{at}.content[{index}]"
        if not isinstance(part, dict):
            raise wrong_type(where, "an object", part)
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in allowed:
            raise invalid(
                f"Invalid value: '{kind}'. Supported values are: {', '.join(repr(item) for item in sorted(allowed))}.",
                f"{where}.type",
                "invalid_value",
            )
        if kind in ("text", "refusal"):
            if not isinstance(part.get(kind), str):
                raise invalid(f"Missing required parameter: '{where}.{kind}'.", f"{where}.{kind}", "missing_required_parameter")
        elif not isinstance(part.get(kind), dict):
            raise invalid(f"Missing required parameter: '{where}.{kind}'.", f"{where}.{kind}", "missing_required_parameter")


def render_chat(request: ChatRequest) -> Rendered:
    """The prompt: tools and response schema first, then the messages, each in the order it was received."""
    pieces: list[Piece] = []
    marks: list[Mark] = []
    ends: list[MessageEnd] = []
    if request.tools:
        pieces.append(header_piece("tools"))
        pieces.extend(json_piece(tool) for tool in request.tools)
    schema = request.fields.get("response_format")
    if isinstance(schema, dict) and schema.get("type") != "text":
        pieces.append(header_piece("response_format"))
        pieces.append(json_piece(schema))
    opening = True
    for index, message in enumerate(request.messages):
        role = str(message["role"])
        opening = opening and role in ("developer", "system")
        _render_message(message, role, pieces, marks)
        following = request.messages[index + 1]["role"] if index + 1 < len(request.messages) else None
        last_of_opening = opening and following not in ("developer", "system")
        if role == "user" or (role == "tool" and following != "tool") or last_of_opening:
            ends.append(MessageEnd(len(pieces) - 1, opening))
    return Rendered(pieces, tuple(marks), tuple(ends))


def _render_message(message: JsonObject, role: str, pieces: list[Piece], marks: list[Mark]) -> None:
    name = message.get("name")
    label = role if not isinstance(name, str) else f"{role}\x00{name}"
    if role == "tool":
        label = f"{role}\x00{message.get('tool_call_id')}"
    pieces.append(header_piece(label))
    reasoning = message.get("reasoning_content")
    if isinstance(reasoning, str) and reasoning:
        pieces.extend((header_piece("reasoning"), text_piece(reasoning)))
    content = message.get("content")
    if isinstance(content, str):
        if content or role != "assistant":
            pieces.append(text_piece(content))
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                pieces.append(_part(part))
                mark = part.get("prompt_cache_breakpoint")
                if isinstance(mark, dict):
                    ttl = mark.get("ttl")
                    marks.append(Mark(len(pieces) - 1, ttl if isinstance(ttl, str) else None))
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        for call in calls:
            if isinstance(call, dict):
                pieces.extend(_call(call))
    pieces.append(END_OF_MESSAGE)


def call_pieces(call_id: str, name: str, arguments: str) -> tuple[Piece, Piece]:
    """A tool call as the model wrote it: its argument text counts, byte by byte."""
    return header_piece(f"call\x00{call_id}\x00{name}"), text_piece(arguments)


def _call(call: JsonObject) -> tuple[Piece, Piece]:
    inner = call.get("function", call.get("custom"))
    fields = inner if isinstance(inner, dict) else {}
    return call_pieces(str(call.get("id")), str(fields.get("name")), str(fields.get("arguments", fields.get("input"))))


def _part(part: JsonObject) -> Piece:
    kind = str(part.get("type"))
    value = part.get(kind)
    if kind in ("text", "refusal"):
        return text_piece(str(value))
    if kind == "input_audio":
        return media_piece(kind, value, AUDIO_TOKENS)
    if kind == "file":
        return media_piece(kind, value, FILE_TOKENS)
    return media_piece(kind, value)


def content_text(message: JsonObject) -> str:
    """The plain text of a message."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
