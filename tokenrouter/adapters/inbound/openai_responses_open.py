"""A Responses request, opened for the translation lane: everything that the client asked for, in the neutral words.

Source: openai-python 3.52 `types/responses/response_create_params.py`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.inbound.openai_chat_turns import array, decode, mapping, string
from tokenrouter.adapters.inbound.openai_responses_items import ItemReader
from tokenrouter.adapters.inbound.openai_responses_namespaces import flat_name
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.conversation import Conversation, OutputFormat, Text, ToolChoice, ToolSpec, Turn
from tokenrouter.model.envelope import Envelope

_READ = frozenset(
    (
        *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "stream"),
        *("max_output_tokens", "temperature", "top_p", "user", "safety_identifier", "service_tier", "prompt_cache_key"),
        *("previous_response_id", "include", "store"),
    )
)
_NO_MENTION = frozenset(("stream_options", "metadata", "client_metadata", "prompt_cache_options", "prompt_cache_retention", "cache_control"))
"""Bookkeeping and cache steering: the gateway itself acts on them, the model never sees them."""

_DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "background": (False,),
    "truncation": ("disabled",),
    "top_logprobs": (0,),
    "max_tool_calls": (),
}
"""Values that ask for what a request without the field gets anyway, per the API reference."""

_LEFTOVER_NAMES = {"top_logprobs": "logprobs"}
"""What renderers call it."""

_NULL = msgspec.Raw(b"null")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_MARKS = {"cache_control", "prompt_cache_breakpoint"}
_FUNCTION = {"type", "name", "description", "parameters", "strict"} | _MARKS
_CUSTOM = {"type", "name", "description", "format"} | _MARKS


def open_responses(envelope: Envelope, tool_order: Sequence[int] | None) -> Conversation:
    """Open a request.

    Raises:
        InvalidRequest: a value has the wrong type; `param` is its path, like "input[3].content[0].image_url".
        UnsupportedField: what refers to something that only another provider holds.
    """
    fields = envelope.fields
    values = {name: decode(raw, name) for name, raw in fields.items() if name in _READ and name not in ("input", "instructions", "tools")}
    if values.get("previous_response_id") is not None:
        param = "previous_response_id"
        raise UnsupportedField(f"{param}: this model's provider keeps no conversations; send the whole of it as input", param=param)
    leftover = _leftover(fields, values)
    reader = ItemReader()
    turns = [Turn("system", (Text(msgspec.json.decode(raw, type=str)),), index, path="instructions") for index, raw in enumerate(envelope.system)]
    turns += reader.read(envelope.messages, len(envelope.system))
    order = range(len(envelope.tools)) if tool_order is None else tool_order
    specs = tuple([spec for index in order for spec in _tools(envelope.tools[index], f"tools[{index}]", leftover)])
    text = mapping(values.get("text") or {}, "text")
    reasoning = mapping(values.get("reasoning") or {}, "reasoning")
    _note(text, "text", ("format", "verbosity"), leftover)
    _note(reasoning, "reasoning", ("effort", "summary", "generate_summary"), leftover)
    summary = reasoning.get("summary") or reasoning.get("generate_summary")
    return Conversation(
        turns=tuple(turns),
        tools=specs,
        tool_choice=_tool_choice(values.get("tool_choice"), leftover),
        parallel_calls=_flag(values, "parallel_tool_calls"),
        output=_output(fields.get("text", _NULL), leftover),
        stream=bool(_flag(values, "stream")),
        max_output=_whole(values, "max_output_tokens"),
        temperature=_number(values, "temperature"),
        top_p=_number(values, "top_p"),
        effort=_word(reasoning, "effort", "reasoning."),
        show_reasoning=True if summary is not None else None,
        verbosity=_word(text, "verbosity", "text."),
        user=_word(values, "safety_identifier") or _word(values, "user"),
        service_tier=_word(values, "service_tier"),
        affinity=_word(values, "prompt_cache_key"),
        leftover=(*leftover, *reader.leftover),
    )


def _leftover(fields: Mapping[str, msgspec.Raw], values: Mapping[str, object]) -> dict[str, None]:
    leftover: dict[str, None] = {}
    for name in fields:
        if name not in _READ and name not in _NO_MENTION:
            value = decode(fields[name], name)
            if value is not None and value not in _DEFAULTS.get(name, ()):
                leftover[_LEFTOVER_NAMES.get(name, name)] = None
    if values.get("store") is True:  # the default is to store, too; who says so relies on it
        leftover["store"] = None
    for place, wanted in enumerate(array(values.get("include") or [], "include")):
        if wanted == "message.output_text.logprobs":
            leftover["logprobs"] = None
        elif wanted != "reasoning.encrypted_content":
            leftover[f"include[{place}]"] = None
    return leftover


def _note(value: Mapping[str, object], name: str, known: Sequence[str], leftover: dict[str, None]) -> None:
    for key, inner in value.items():
        if key not in known and inner not in (None, "auto", "standard"):
            leftover[f"{name}.{key}"] = None


def _raw_object(raw: msgspec.Raw, path: str) -> dict[str, msgspec.Raw]:
    try:
        return _object.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} must be an object", param=path) from error


def _raw_list(raw: msgspec.Raw, path: str) -> list[msgspec.Raw]:
    try:
        return _list.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} must be an array", param=path) from error


def _schema(raw: msgspec.Raw, path: str) -> msgspec.Raw | None:
    """A JSON schema in the client's own spelling, looked at no deeper than that it is an object."""
    if raw == _NULL:
        return None
    if not bytes(raw).startswith(b"{"):
        raise InvalidRequest(f"{path} must be an object", param=path)
    return raw


def _tools(raw: msgspec.Raw, path: str, leftover: dict[str, None]) -> list[ToolSpec]:
    """The tools of one definition: none for one that the vendor would run itself, several for a namespace."""
    tool = _raw_object(raw, path)
    kind = string(decode(tool.get("type", _NULL), f"{path}.type"), f"{path}.type")
    if kind in ("function", "custom"):
        return [_tool(tool, kind, path, leftover)]
    if kind != "namespace":
        leftover[f"tools.{kind}"] = None  # an offer, not a demand: the model does without
        return []
    space = string(decode(tool.get("name", _NULL), f"{path}.name"), f"{path}.name")
    leftover["tools.namespace.description"] = None
    specs: list[ToolSpec] = []
    for place, inner in enumerate(_raw_list(tool.get("tools", _NULL), f"{path}.tools")):
        at = f"{path}.tools[{place}]"
        member = _raw_object(inner, at)
        spec = _tool(member, string(decode(member.get("type", _NULL), f"{at}.type"), f"{at}.type"), at, leftover)
        specs.append(msgspec.structs.replace(spec, name=flat_name(space, spec.name)))
    return specs


def _tool(tool: Mapping[str, msgspec.Raw], kind: str, path: str, leftover: dict[str, None]) -> ToolSpec:
    if kind not in ("function", "custom"):
        raise UnsupportedField(f"{path} is of type {kind[:40]!r}, which can not be carried to this model", param=f"{path}.type")
    name = string(decode(tool.get("name", _NULL), f"{path}.name"), f"{path}.name")
    said = decode(tool.get("description", _NULL), f"{path}.description")
    description = None if said is None else string(said, f"{path}.description")
    known = _CUSTOM if kind == "custom" else _FUNCTION
    leftover.update(dict.fromkeys([f"tools.{key}" for key in tool if key not in known and tool[key] != _NULL]))
    if kind == "custom":
        return ToolSpec(name, description, custom=True, grammar=_schema(tool.get("format", _NULL), f"{path}.format"))
    strict = decode(tool.get("strict", _NULL), f"{path}.strict")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{path}.strict must be true or false", param=f"{path}.strict")
    return ToolSpec(name, description, _schema(tool.get("parameters", _NULL), f"{path}.parameters"), strict)


def _output(raw: msgspec.Raw, leftover: dict[str, None]) -> OutputFormat:
    text = {} if raw == _NULL else _raw_object(raw, "text")
    form = text.get("format", _NULL)
    if form == _NULL:
        return OutputFormat("text")
    fields, at = _raw_object(form, "text.format"), "text.format"
    kind = decode(fields.get("type", _NULL), f"{at}.type")
    if kind == "text":
        return OutputFormat("text")
    if kind == "json_object":
        return OutputFormat("json_object")
    if kind != "json_schema":
        raise InvalidRequest(f"{at}.type must be text, json_object or json_schema", param=f"{at}.type")
    strict, name = decode(fields.get("strict", _NULL), f"{at}.strict"), decode(fields.get("name", _NULL), f"{at}.name")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{at}.strict must be true or false", param=f"{at}.strict")
    if fields.get("description", _NULL) != _NULL:
        leftover["response_format.json_schema.description"] = None
    return OutputFormat(
        "json_schema", None if name is None else string(name, f"{at}.name"), _schema(fields.get("schema", _NULL), f"{at}.schema"), strict
    )


def _tool_choice(value: object, leftover: dict[str, None]) -> ToolChoice | None:
    match value:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case {"type": "function" | "custom"}:
            return ToolChoice("named", name=_named(value, "tool_choice"))
        case {"type": "allowed_tools"}:
            allowed = mapping(value, "tool_choice")
            mode = allowed.get("mode")
            if mode not in ("auto", "required"):
                raise InvalidRequest("tool_choice.mode must be auto or required", param="tool_choice.mode")
            listed = array(allowed.get("tools"), "tool_choice.tools")
            names = []
            for place, tool in enumerate(listed):
                if mapping(tool, f"tool_choice.tools[{place}]").get("type") in ("function", "custom"):
                    names.append(_named(tool, f"tool_choice.tools[{place}]"))
                else:
                    leftover["tool_choice.tools"] = None  # what the vendor would run itself is not among the tools that are sent
            return ToolChoice("subset", names=tuple(names), required=mode == "required")
        case {"type": str(kind)}:
            raise UnsupportedField(f"tool_choice: a tool of type {kind[:40]!r} can not be carried to this model", param="tool_choice.type")
        case _:
            raise InvalidRequest("tool_choice must be none, auto, required, a named tool or allowed_tools", param="tool_choice")


def _named(value: object, path: str) -> str:
    return string(mapping(value, path).get("name"), f"{path}.name")


def _word(values: Mapping[str, object], name: str, prefix: str = "") -> str | None:
    value = values.get(name)
    return None if value is None else string(value, prefix + name)


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


def _whole(values: Mapping[str, object], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidRequest(f"{name} must be a whole number above 0", param=name)
    return value
