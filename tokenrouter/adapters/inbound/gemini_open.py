"""A generateContent request, opened for the translation lane: everything that the client asked for, in the neutral words.

Source: google-genai 3.4 `types.py`; https://ai.google.dev/api/generate-content.
"""

from collections.abc import Mapping

import msgspec

from tokenrouter.adapters.inbound.gemini_params import generation_config, number, positive, tier_word, whole
from tokenrouter.adapters.inbound.gemini_schema import json_schema
from tokenrouter.adapters.inbound.gemini_turns import TurnReader
from tokenrouter.adapters.wire.gemini_layout import NULL, camel_members, raw_items, raw_members, spelled
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.conversation import Conversation, OutputFormat, ToolChoice, ToolSpec, Turn
from tokenrouter.model.envelope import Envelope

_NO_MENTION = frozenset(("model", "labels", "store", "serviceTier", "generationConfig", "toolConfig"))
"""Bookkeeping, and what is read below."""

_CARRIED = frozenset(
    (
        *("temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "seed", "candidateCount", "presencePenalty", "frequencyPenalty"),
        *("responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig"),
    )
)
_IN_CHAT_WORDS = {"responseLogprobs": "logprobs", "logprobs": "top_logprobs"}
"""Renderers know by these names what they must refuse."""

_DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "responseLogprobs": (False,),
    "responseModalities": (["TEXT"], ["text"], []),
    "audioTimestamp": (False,),
    "enableEnhancedCivicAnswers": (False,),
    "mediaResolution": ("MEDIA_RESOLUTION_UNSPECIFIED",),
}
_CONFIG = "generationConfig"


def open_generate(envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
    """Open a request.

    Raises:
        InvalidRequest: a value has the wrong type; `param` is its path, like "contents[3].parts[0].inlineData".
        UnsupportedField: what no other vendor's model could be asked.
    """
    names = spelled(envelope.fields)
    values = {name: _decode(envelope.fields[said], said) for name, said in names.items() if said in envelope.rest}
    config = generation_config(values)
    leftover = dict.fromkeys([name for name, value in values.items() if value not in (None, [], {}) and name not in _NO_MENTION])
    for name, value in config.items():
        if name not in _CARRIED and value not in _DEFAULTS.get(name, ()):
            leftover[_IN_CHAT_WORDS.get(name, f"{_CONFIG}.{name}")] = None
    reader = TurnReader(leftover)
    system = [reader.system(index, raw) for index, raw in enumerate(envelope.system)]
    turns: list[Turn] = system + [reader.read(len(system) + index, index, raw) for index, raw in enumerate(envelope.messages)]
    order = range(len(envelope.tools)) if tool_order is None else tool_order
    tools = [spec for index in order for spec in _tools(envelope.tools[index], f"tools[{index}]", leftover)]
    thinking = config.get("thinkingConfig")
    thinking = thinking if isinstance(thinking, dict) else {}
    return Conversation(
        turns=tuple(turns),
        tools=tuple(tools),
        tool_choice=_tool_choice(values.get("toolConfig"), leftover),
        output=_output(config, envelope.fields.get(names.get(_CONFIG, ""), NULL)),
        stream=envelope.outside.get(":method") == "streamGenerateContent",
        max_output=positive(config, "maxOutputTokens"),
        temperature=number(config, "temperature"),
        top_p=number(config, "topP"),
        top_k=whole(config, "topK"),
        frequency_penalty=number(config, "frequencyPenalty"),
        presence_penalty=number(config, "presencePenalty"),
        stop=_stops(config.get("stopSequences")),
        seed=whole(config, "seed"),
        choices=positive(config, "candidateCount") or 1,
        effort=_effort(thinking.get("thinkingLevel")),
        thinking_budget=whole({"thinkingConfig.thinkingBudget": thinking.get("thinkingBudget")}, "thinkingConfig.thinkingBudget"),
        show_reasoning=_flag(thinking.get("includeThoughts"), f"{_CONFIG}.thinkingConfig.includeThoughts"),
        service_tier=tier_word(values.get("serviceTier")) or None,
        leftover=tuple(leftover),
    )


def _decode(raw: msgspec.Raw, path: str) -> object:
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} can not be read: {error}", param=path) from error


def _tools(raw: msgspec.Raw, path: str, leftover: dict[str, None]) -> list[ToolSpec]:
    """The functions of a piece, which is a function itself or an entry that holds some."""
    entry = raw_members(raw, path)
    names = spelled(entry)
    if "name" in names:
        return [_function(entry, names, path, leftover)]
    for name, said in names.items():
        if name != "functionDeclarations" and entry[said] != NULL:
            raise UnsupportedField(f"{path}.{said}: what Google runs itself can not be carried to this model", param=f"{path}.{said}")
    specs = []
    for place, inner in enumerate(raw_items(entry[names["functionDeclarations"]], path) if "functionDeclarations" in names else ()):
        function = raw_members(inner, f"{path}.functionDeclarations[{place}]")
        specs.append(_function(function, spelled(function), f"{path}.functionDeclarations[{place}]", leftover))
    return specs


def _function(function: Mapping[str, msgspec.Raw], names: Mapping[str, str], path: str, leftover: dict[str, None]) -> ToolSpec:
    name = _decode(function.get(names.get("name", ""), NULL), f"{path}.name")
    description = _decode(function.get(names.get("description", ""), NULL), f"{path}.description")
    if not isinstance(name, str) or not isinstance(description, str | None):
        raise InvalidRequest(f"{path}: name and description must be strings", param=f"{path}.name")
    exact = function.get(names.get("parametersJsonSchema", ""), NULL)
    loose = function.get(names.get("parameters", ""), NULL)
    if exact != NULL and loose != NULL:
        raise InvalidRequest(f"{path}: parameters and parametersJsonSchema exclude each other", param=f"{path}.parameters")
    for said in names:
        if said not in ("name", "description", "parameters", "parametersJsonSchema", "cacheControl", "promptCacheBreakpoint"):
            leftover[f"tools.functionDeclarations.{said}"] = None
    parameters = _object(exact, f"{path}.parametersJsonSchema") or json_schema(_object(loose, f"{path}.parameters"))
    return ToolSpec(name, description, parameters)


def _object(raw: msgspec.Raw, path: str) -> msgspec.Raw | None:
    if raw == NULL:
        return None
    if not bytes(raw).startswith(b"{"):
        raise InvalidRequest(f"{path} must be an object", param=path)
    return raw


def _tool_choice(value: object, leftover: dict[str, None]) -> ToolChoice | None:
    path = "toolConfig.functionCallingConfig"
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidRequest("toolConfig must be an object", param="toolConfig")
    plain = camel_members(value)
    leftover.update(dict.fromkeys([f"toolConfig.{name}" for name, said in plain.items() if name != "functionCallingConfig" and said]))
    calling = plain.get("functionCallingConfig")
    if calling is None:
        return None
    if not isinstance(calling, dict):
        raise InvalidRequest(f"{path} must be an object", param=path)
    config = camel_members(calling)
    if config.get("streamFunctionCallArguments"):
        leftover[f"{path}.streamFunctionCallArguments"] = None
    names = config.get("allowedFunctionNames") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidRequest(f"{path}.allowedFunctionNames must be an array of strings", param=f"{path}.allowedFunctionNames")
    mode = str(config.get("mode") or "AUTO").upper()
    match mode:
        case "NONE":
            return ToolChoice("none")
        case "ANY" if len(names) == 1:
            return ToolChoice("named", name=names[0])
        case "ANY":
            return ToolChoice("subset", names=tuple(names), required=True) if names else ToolChoice("required")
        case "AUTO" | "VALIDATED" | "MODE_UNSPECIFIED":
            return ToolChoice("subset", names=tuple(names)) if names else ToolChoice("auto")
    raise InvalidRequest(f"{path}.mode must be one of AUTO, ANY, NONE, VALIDATED", param=f"{path}.mode")


def _output(config: Mapping[str, object], raw: msgspec.Raw) -> OutputFormat:
    kind = config.get("responseMimeType")
    if kind in (None, "", "text/plain"):
        return OutputFormat("text")
    if kind != "application/json":
        where = f"{_CONFIG}.responseMimeType"
        raise UnsupportedField(f"{where}: {str(kind)[:60]!r} can not be carried to this model, only text/plain and application/json", param=where)
    members = raw_members(raw, _CONFIG)
    names = spelled(members)
    exact = members.get(names.get("responseJsonSchema", ""), NULL)
    loose = members.get(names.get("responseSchema", ""), NULL)
    schema = _object(exact, f"{_CONFIG}.responseJsonSchema") or json_schema(_object(loose, f"{_CONFIG}.responseSchema"))
    return OutputFormat("json_schema", schema=schema) if schema is not None else OutputFormat("json_object")


def _stops(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(stop, str) for stop in value):
        raise InvalidRequest(f"{_CONFIG}.stopSequences must be an array of strings", param=f"{_CONFIG}.stopSequences")
    return tuple(value)


def _effort(value: object) -> str | None:
    if value is None or value == "THINKING_LEVEL_UNSPECIFIED":
        return None
    if not isinstance(value, str):
        raise InvalidRequest("thinkingLevel must be a word", param=f"{_CONFIG}.thinkingConfig.thinkingLevel")
    return value.lower()


def _flag(value: object, path: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{path} must be true or false", param=path)
    return value
