"""A Chat Completions request, opened for the translation lane: everything that the client asked for, in the neutral words.

Source: openai-python 3.52 `types/chat/completion_create_params.py`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.inbound.openai_chat_turns import TurnReader, array, decode, mapping, string
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.conversation import Conversation, OutputFormat, ToolChoice, ToolSpec

_CARRIED = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "stream",
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "top_p",
        "stop",
        "seed",
        "n",
        "user",
        "safety_identifier",
        "service_tier",
        "frequency_penalty",
        "presence_penalty",
        "top_k",
        "verbosity",
    }
)
_NO_MENTION = frozenset(("stream_options", "metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "cache_control"))
"""Bookkeeping and cache steering: the gateway itself acts on them, the model never sees them."""

_DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "modalities": (["text"],),
    "store": (False,),
    "functions": ([],),
    "function_call": ("auto", "none"),
}
"""Values that ask for what a request without the field gets anyway, per the API reference: treated as absent, so that SDKs and
frameworks which spell out defaults do not fill the list of dropped fields. `null` and `0.0` count likewise. `function_call` is such a
value only because `functions` themselves are refused. An empty `web_search_options` is no default: it turns the search on."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = msgspec.Raw(b"null")


def open_chat(fields: Mapping[str, msgspec.Raw], messages: Sequence[msgspec.Raw], tools: Sequence[msgspec.Raw]) -> Conversation:
    """Open a request. `tools` in the order in which they are to be sent; of `fields` neither these nor the messages are read.

    Raises:
        InvalidRequest: a value has the wrong type; `param` is its path, like "messages[3].content[0].image_url.url".
        UnsupportedField: tools that are neither functions nor custom; the `functions` that tools replaced, since a client that speaks the
            old form expects its answers in it.
    """
    values = {name: decode(raw, name) for name, raw in fields.items() if name in _CARRIED and name not in ("messages", "tools")}
    leftover: dict[str, None] = {}
    for name in fields:
        if name not in _CARRIED and name not in _NO_MENTION:
            value = decode(fields[name], name)
            if value is not None and value not in _DEFAULTS.get(name, ()):
                leftover[name] = None
    for name in ("functions", "function_call"):
        if name in leftover:
            raise UnsupportedField(f"{name} is the form that tools and tool_choice replaced; use those", param=name)
    reader = TurnReader()
    turns = tuple([reader.read(index, raw) for index, raw in enumerate(messages)])
    specs = tuple([_tool(raw, f"tools[{index}]", leftover) for index, raw in enumerate(tools)])
    output = _output(fields.get("response_format", _NULL), leftover)
    max_output = _whole(values, "max_completion_tokens", 1)
    return Conversation(
        turns=turns,
        tools=specs,
        tool_choice=_tool_choice(values.get("tool_choice")),
        parallel_calls=_flag(values, "parallel_tool_calls"),
        output=output,
        stream=bool(_flag(values, "stream")),
        max_output=_whole(values, "max_tokens", 1) if max_output is None else max_output,
        temperature=_number(values, "temperature"),
        top_p=_number(values, "top_p"),
        top_k=_whole(values, "top_k"),
        frequency_penalty=_number(values, "frequency_penalty") or None,  # 0 is what nobody asks for anyway
        presence_penalty=_number(values, "presence_penalty") or None,
        stop=_stop(values.get("stop")),
        seed=_whole(values, "seed"),
        choices=_whole(values, "n", 1) or 1,
        effort=_word(values, "reasoning_effort"),
        verbosity=None if values.get("verbosity") == "medium" else _word(values, "verbosity"),
        user=_word(values, "safety_identifier") or _word(values, "user"),
        service_tier=_word(values, "service_tier"),
        leftover=(*leftover, *reader.leftover),
    )


def _raw_object(raw: msgspec.Raw, path: str) -> dict[str, msgspec.Raw]:
    try:
        return _object.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} must be an object", param=path) from error


def _schema(raw: msgspec.Raw, path: str) -> msgspec.Raw | None:
    """A JSON schema in the client's own spelling, looked at no deeper than that it is an object."""
    if raw == _NULL:
        return None
    if not bytes(raw).startswith(b"{"):
        raise InvalidRequest(f"{path} must be an object", param=path)
    return raw


def _tool(raw: msgspec.Raw, path: str, leftover: dict[str, None]) -> ToolSpec:
    tool = _raw_object(raw, path)
    kind = decode(tool.get("type", _NULL), f"{path}.type")
    if kind == "custom":
        return _custom_tool(tool, f"{path}.custom", leftover)
    if kind != "function":
        raise UnsupportedField(f"{path} is of type {str(kind)[:40]!r}; only function and custom tools can be carried", param=f"{path}.type")
    function = _raw_object(tool.get("function", _NULL), f"{path}.function")
    at = f"{path}.function"
    description = decode(function.get("description", _NULL), f"{at}.description")
    strict = decode(function.get("strict", _NULL), f"{at}.strict")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{at}.strict must be true or false", param=f"{at}.strict")
    marks = {"cache_control", "prompt_cache_breakpoint"}
    unknown = [f"tools.{key}" for key in tool if key not in {"type", "function"} | marks and tool[key] != _NULL]
    known = {"name", "description", "parameters", "strict"} | marks
    unknown += [f"tools.function.{key}" for key in function if key not in known and function[key] != _NULL]
    leftover.update(dict.fromkeys(unknown))
    return ToolSpec(
        name=string(decode(function.get("name", _NULL), f"{at}.name"), f"{at}.name"),
        description=None if description is None else string(description, f"{at}.description"),
        parameters=_schema(function.get("parameters", _NULL), f"{at}.parameters"),
        strict=strict,
    )


def _custom_tool(tool: Mapping[str, msgspec.Raw], at: str, leftover: dict[str, None]) -> ToolSpec:
    """A tool that takes free text; `format` is the grammar of that text, in the client's spelling."""
    custom = _raw_object(tool.get("custom", _NULL), at)
    description = decode(custom.get("description", _NULL), f"{at}.description")
    known = {"name", "description", "format", "cache_control", "prompt_cache_breakpoint"}
    leftover.update(dict.fromkeys([f"tools.custom.{key}" for key in custom if key not in known and custom[key] != _NULL]))
    return ToolSpec(
        name=string(decode(custom.get("name", _NULL), f"{at}.name"), f"{at}.name"),
        description=None if description is None else string(description, f"{at}.description"),
        custom=True,
        grammar=_schema(custom.get("format", _NULL), f"{at}.format"),
    )


def _output(raw: msgspec.Raw, leftover: dict[str, None]) -> OutputFormat:
    if raw == _NULL:
        return OutputFormat("text")
    fields = _raw_object(raw, "response_format")
    kind = decode(fields.get("type", _NULL), "response_format.type")
    if kind == "text":
        return OutputFormat("text")
    if kind == "json_object":
        return OutputFormat("json_object")
    if kind != "json_schema":
        raise InvalidRequest("response_format.type must be text, json_object or json_schema", param="response_format.type")
    at = "response_format.json_schema"
    inner = _raw_object(fields.get("json_schema", _NULL), at)
    strict = decode(inner.get("strict", _NULL), f"{at}.strict")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{at}.strict must be true or false", param=f"{at}.strict")
    if inner.get("description", _NULL) != _NULL:
        leftover[f"{at}.description"] = None
    name = decode(inner.get("name", _NULL), f"{at}.name")
    return OutputFormat(
        "json_schema",
        None if name is None else string(name, f"{at}.name"),
        _schema(inner.get("schema", _NULL), f"{at}.schema"),
        strict,
    )


def _tool_choice(value: object) -> ToolChoice | None:
    match value:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case {"type": "function"}:
            return ToolChoice("named", name=_named(value, "tool_choice"))
        case {"type": "allowed_tools"}:
            allowed = mapping(mapping(value, "tool_choice").get("allowed_tools"), "tool_choice.allowed_tools")
            mode = allowed.get("mode")
            if mode not in ("auto", "required"):
                raise InvalidRequest("tool_choice.allowed_tools.mode must be auto or required", param="tool_choice.allowed_tools.mode")
            path = "tool_choice.allowed_tools.tools"
            names = [_named(tool, f"{path}[{place}]") for place, tool in enumerate(array(allowed.get("tools"), path))]
            return ToolChoice("subset", names=tuple(names), required=mode == "required")
        case {"type": "custom"}:
            custom = mapping(mapping(value, "tool_choice").get("custom"), "tool_choice.custom")
            return ToolChoice("named", name=string(custom.get("name"), "tool_choice.custom.name"))
        case _:
            raise InvalidRequest("tool_choice must be none, auto, required, a named function or allowed_tools", param="tool_choice")


def _named(value: object, path: str) -> str:
    tool = mapping(value, path)
    kind = "custom" if tool.get("type") == "custom" else "function"
    return string(mapping(tool.get(kind), f"{path}.{kind}").get("name"), f"{path}.{kind}.name")


def _stop(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    return tuple([string(item, f"stop[{place}]") for place, item in enumerate(array(value, "stop"))])


def _word(values: Mapping[str, object], name: str) -> str | None:
    value = values.get(name)
    return None if value is None else string(value, name)


def _flag(values: Mapping[str, object], name: str) -> bool | None:
    value = values.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false", param=name)
    return value


def _number(values: Mapping[str, object], name: str) -> float | None:
    value = values.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidRequest(f"{name} must be a number", param=name)
    return value


def _whole(values: Mapping[str, object], name: str, least: int | None = None) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{name} must be a whole number", param=name)
    if least is not None and value < least:
        raise InvalidRequest(f"{name} must be {least} or more", param=name)
    return value
