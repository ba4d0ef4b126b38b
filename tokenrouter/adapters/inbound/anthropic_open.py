"""A Messages request, opened for the translation lane: everything that the client asked for, in the neutral words.

Source: anthropic-python 2.11 `types/message_create_params.py` and its `beta` counterpart; the documentation of thinking, effort and
structured outputs.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.inbound.anthropic_turns import TurnReader
from tokenrouter.adapters.inbound.openai_chat_turns import array, decode, mapping, string
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.conversation import Conversation, OutputFormat, ToolChoice, ToolSpec
from tokenrouter.model.envelope import Envelope

_OPENED = frozenset(
    (
        *("model", "messages", "system", "tools", "tool_choice", "stream", "max_tokens", "temperature", "top_p", "top_k"),
        *("stop_sequences", "metadata", "service_tier", "speed", "thinking", "output_config"),
    )
)
# The gateway itself acts on the first; the others can only be here with a value that asks for nothing.
_NO_MENTION = frozenset(("cache_control", "inference_geo", "billing_policy"))
# The answer would be another one without them.
_REFUSED = {
    "mcp_servers": "this model's provider calls no MCP servers",
    "compaction": "this model's provider compacts no conversations",
}
_TOOL_KNOWN = frozenset(("type", "name", "description", "input_schema", "strict", "cache_control"))
_SILENT: tuple[object, ...] = (None, False, [], {}, ["direct"])
_DEFAULT_EFFORT = "high"

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = msgspec.Raw(b"null")


def open_messages(envelope: Envelope, tools: Sequence[msgspec.Raw]) -> Conversation:
    """Open a request. `tools` in the order in which they are to be sent.

    Raises:
        InvalidRequest: a value has the wrong type; `param` is its path, like "messages[3].content[0].source.url".
        UnsupportedField: what only Anthropic has, where the answer depends on it: its own tools and their blocks, citations, MCP servers.
    """
    fields = envelope.fields
    leftover: dict[str, None] = {}
    for name, raw in fields.items():
        value = None if name in _OPENED or name in _NO_MENTION else decode(raw, name)
        if value is None or value in ([], {}):
            continue
        if name in _REFUSED:
            raise UnsupportedField(f"{name}: {_REFUSED[name]}", param=name)
        leftover[name] = None
    if "anthropic-beta" in envelope.outside:
        leftover["anthropic-beta"] = None
    values = {name: decode(fields[name], name) for name in _OPENED & fields.keys() if name not in ("messages", "system", "tools")}
    reader = TurnReader()
    turns = [reader.system(index, raw) for index, raw in enumerate(envelope.system)]
    for index, raw in enumerate(envelope.messages):
        turns += reader.message(index, len(envelope.system) + index, raw)
    choice, parallel = _tool_choice(values.get("tool_choice"))
    effort, budget, show = _thinking(values, leftover)
    return Conversation(
        turns=tuple(turns),
        tools=tuple([_tool(raw, f"tools[{index}]", leftover) for index, raw in enumerate(tools)]),
        tool_choice=choice,
        parallel_calls=parallel,
        output=_output(fields.get("output_config", _NULL)),
        stream=values.get("stream") is True,
        max_output=_limit(values),
        temperature=_number(values, "temperature"),
        top_p=_number(values, "top_p"),
        top_k=_whole(values, "top_k"),
        stop=tuple([string(item, f"stop_sequences[{place}]") for place, item in enumerate(_array(values, "stop_sequences"))]),
        effort=effort,
        thinking_budget=budget,
        show_reasoning=show,
        user=_user(values, leftover),
        service_tier=_tier(values),
        leftover=(*leftover, *reader.leftover),
    )


def _tier(values: Mapping[str, object]) -> str | None:
    if values.get("speed") == "fast":
        return "fast"
    return "default" if values.get("service_tier") == "standard_only" else _word(values, "service_tier")


def _members(raw: msgspec.Raw, path: str) -> dict[str, msgspec.Raw]:
    try:
        return _object.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} must be an object", param=path) from error


def _tool(raw: msgspec.Raw, path: str, leftover: dict[str, None]) -> ToolSpec:
    tool = _members(raw, path)
    kind = decode(tool.get("type", _NULL), f"{path}.type")
    if kind not in (None, "custom"):
        raise UnsupportedField(f"{path} is of type {str(kind)[:40]!r}, a tool that only Anthropic's own API has", param=f"{path}.type")
    for name in tool:
        if name not in _TOOL_KNOWN and decode(tool[name], f"{path}.{name}") not in _SILENT:
            leftover[f"tools.{name}"] = None
    description, strict = (decode(tool.get(name, _NULL), f"{path}.{name}") for name in ("description", "strict"))
    schema = tool.get("input_schema", _NULL)
    if schema != _NULL and not bytes(schema).startswith(b"{"):
        raise InvalidRequest(f"{path}.input_schema must be an object", param=f"{path}.input_schema")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{path}.strict must be true or false", param=f"{path}.strict")
    return ToolSpec(
        name=string(decode(tool.get("name", _NULL), f"{path}.name"), f"{path}.name"),
        description=None if description is None else string(description, f"{path}.description"),
        parameters=None if schema == _NULL else schema,
        strict=strict,
    )


def _tool_choice(value: object) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether calls may be parallel."""
    if value is None:
        return None, None
    choice = mapping(value, "tool_choice")
    alone = choice.get("disable_parallel_tool_use")
    if alone is not None and not isinstance(alone, bool):
        param = "tool_choice.disable_parallel_tool_use"
        raise InvalidRequest(f"{param} must be true or false", param=param)
    parallel = None if alone is None else not alone
    match choice.get("type"):
        case "auto":
            return ToolChoice("auto"), parallel
        case "any":
            return ToolChoice("required"), parallel
        case "none":
            return ToolChoice("none"), parallel
        case "tool":
            return ToolChoice("named", name=string(choice.get("name"), "tool_choice.name")), parallel
        case _:
            raise InvalidRequest("tool_choice.type must be auto, any, tool or none", param="tool_choice.type")


def _output(raw: msgspec.Raw) -> OutputFormat:
    """An answer that follows a schema. The vendor holds its model to it, so others are asked for the same."""
    wanted = _NULL if raw == _NULL else _members(raw, "output_config").get("format", _NULL)
    if wanted == _NULL:
        return OutputFormat("text")
    at = "output_config.format"
    fields = _members(wanted, at)
    if decode(fields.get("type", _NULL), f"{at}.type") != "json_schema":
        raise InvalidRequest(f"{at}.type must be json_schema", param=f"{at}.type")
    schema = fields.get("schema", _NULL)
    if not bytes(schema).startswith(b"{"):
        raise InvalidRequest(f"{at}.schema must be an object", param=f"{at}.schema")
    return OutputFormat("json_schema", None, schema, strict=True)


def _thinking(values: Mapping[str, object], leftover: dict[str, None]) -> tuple[str | None, int | None, bool | None]:
    """Effort, budget, and whether reasoning is to be shown. Adaptive thinking without a word of effort is the documented default."""
    config = mapping(values["output_config"], "output_config") if values.get("output_config") is not None else {}
    for name in config:
        if name not in ("effort", "format") and config[name] not in _SILENT:
            leftover[f"output_config.{name}"] = None
    said = config.get("effort")
    effort = None if said is None else string(said, "output_config.effort")
    if values.get("thinking") is None:
        return effort, None, None
    thinking = mapping(values["thinking"], "thinking")
    for name in thinking:
        if name not in ("type", "budget_tokens", "display") and thinking[name] not in _SILENT:
            leftover[f"thinking.{name}"] = None
    display = thinking.get("display")
    show = None if display is None else display != "omitted"
    match thinking.get("type"):
        case "disabled":
            if effort is not None:
                leftover["output_config.effort"] = None
            return None, 0, show
        case "enabled":
            budget = _whole(thinking, "budget_tokens", "thinking.")
            if budget is None:
                raise InvalidRequest("thinking.budget_tokens is missing", param="thinking.budget_tokens")
            return effort, budget, show
        case "adaptive":
            return effort or _DEFAULT_EFFORT, None, show
        case "between_tools":
            leftover["thinking.type"] = None
            return effort or _DEFAULT_EFFORT, None, show
        case _:
            raise InvalidRequest("thinking.type must be adaptive, between_tools, enabled or disabled", param="thinking.type")


def _limit(values: Mapping[str, object]) -> int | None:
    limit = _whole(values, "max_tokens")
    if limit == 0:
        raise UnsupportedField("max_tokens: 0 fills a prompt cache of Anthropic's; this model has to answer something", param="max_tokens")
    return limit


def _user(values: Mapping[str, object], leftover: dict[str, None]) -> str | None:
    if values.get("metadata") is None:
        return None
    metadata = mapping(values["metadata"], "metadata")
    leftover.update({f"metadata.{name}": None for name in metadata if name != "user_id" and metadata[name] is not None})
    user = metadata.get("user_id")
    return None if user is None else string(user, "metadata.user_id")


def _array(values: Mapping[str, object], name: str) -> list[object]:
    return [] if values.get(name) is None else array(values[name], name)


def _word(values: Mapping[str, object], name: str) -> str | None:
    return None if values.get(name) is None else string(values[name], name)


def _number(values: Mapping[str, object], name: str) -> float | None:
    value = values.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidRequest(f"{name} must be a number", param=name)
    return value


def _whole(values: Mapping[str, object], name: str, path: str = "") -> int | None:
    value = values.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidRequest(f"{path}{name} must be a whole number", param=path + name)
    return value
