"""Reading a Converse request: shapes, rules, and its translation into the Messages request that the engine answers.

A cachePoint stands behind what it marks, where Messages has the mark on the block itself. Nothing of a request is lost on the way: what
would not survive is refused.
"""

import base64
from collections.abc import Callable

import msgspec

from tokenrouter.sandbox.bedrock_models import Hosted
from tokenrouter.sandbox.bedrock_shapes import check, constraint, extraneous, invalid
from tokenrouter.sandbox.bedrock_turns import check_turns, contents, inner, kind_of, objects, returned
from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal, encode

_OWN = ("model", "messages", "system", "tools", "max_tokens", "temperature", "top_p", "stop_sequences", "stream")
_TEXT_FORMATS = {"txt": "text/plain", "md": "text/plain", "html": "text/plain", "csv": "text/plain"}
_UNCACHED = "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more information."


class Converse(msgspec.Struct, frozen=True, kw_only=True):
    """A request in the engine's words. `paths`: what of the model's own answer the client wants to see."""

    fields: JsonObject
    betas: frozenset[str]
    paths: tuple[str, ...] = ()
    tier: JsonValue = None
    performance: JsonValue = None


def read_converse(body: JsonObject, name: str, hosted: Hosted) -> Converse:
    """Check a request and translate it. Raises `Refusal`."""
    request = check(body, "Request")
    assert isinstance(request, dict)  # noqa: S101  (the shape says so)
    if "guardrailConfig" in request:
        raise invalid("The guardrail identifier or version provided in the request does not exist.")
    if "promptVariables" in request:
        raise invalid("The promptVariables field can only be used with a prompt resource.")
    _check_marks(request, hosted)
    messages, tools = objects(request["messages"]), inner(request, "toolConfig")
    check_turns(messages, hosted, has_tools=bool(tools))
    fields: JsonObject = {"model": name, "messages": [_message(message, number) for number, message in enumerate(messages)]}
    if "system" in request:
        fields["system"] = [*_marked(objects(request["system"]), "system", _system_block)]
    if tools:
        fields["tools"] = [*_marked(objects(tools["tools"]), "toolConfig.tools", _tool)]
        fields.update(_choice(tools, fields["tools"]))
    fields.update(_inference(inner(request, "inferenceConfig"), hosted))
    fields.update(_output(inner(request, "outputConfig"), hosted))
    betas = _additional(request.get("additionalModelRequestFields"), fields, hosted)
    check_choice(fields)
    paths = request.get("additionalModelResponseFieldPaths")
    return Converse(
        fields=fields,
        betas=betas,
        paths=tuple(str(path) for path in paths) if isinstance(paths, list) else (),
        tier=request.get("serviceTier"),
        performance=request.get("performanceConfig"),
    )


def _check_marks(request: JsonObject, hosted: Hosted) -> None:
    """Whether this model caches at all, and in this place and for this long."""
    tools = objects(inner(request, "toolConfig").get("tools"))
    places = [(f"toolConfig.tools.{index}", "tools", item) for index, item in enumerate(tools)]
    places += [(f"system.{index}", "system", item) for index, item in enumerate(objects(request.get("system")))]
    for number, message in enumerate(objects(request["messages"])):
        places += [(f"messages.{number}.content.{index}", "messages", item) for index, item in enumerate(contents(message))]
    for at, where, item in places:
        if "cachePoint" not in item:
            continue
        if not hosted.ttls:
            raise Refusal(403, _UNCACHED, kind="AccessDeniedException")
        if where not in hosted.marks_in:
            raise invalid(returned(extraneous(at, "cachePoint").message))
        ttl = inner(item, "cachePoint").get("ttl")
        if ttl is not None and ttl not in hosted.ttls:
            raise invalid(f"The ttl {ttl} at {at}.cachePoint is not supported by this model.")


def _marked(items: list[JsonObject], at: str, convert: Callable[[JsonObject, str], JsonObject]) -> list[JsonObject]:
    """Blocks, with every cachePoint as a mark on the block before it."""
    blocks: list[JsonObject] = []
    for index, item in enumerate(items):
        here = f"{at}.{index}"
        if "cachePoint" not in item:
            blocks.append(convert(item, here))
            continue
        if not blocks or "cache_control" in blocks[-1] or str(blocks[-1].get("type")).endswith("thinking"):
            raise invalid(f"The cachePoint at {here} must follow the content that it marks.")
        ttl = inner(item, "cachePoint").get("ttl")
        blocks[-1]["cache_control"] = {"type": "ephemeral"} if ttl is None else {"type": "ephemeral", "ttl": ttl}
    return blocks


def _message(message: JsonObject, number: int) -> JsonObject:
    return {"role": message["role"], "content": [*_marked(contents(message), f"messages.{number}.content", _block)]}


def _system_block(item: JsonObject, at: str) -> JsonObject:
    if "guardContent" in item:
        return _guarded(inner(item, "guardContent"), at)
    if not str(item["text"]).strip():
        raise invalid(f"The text field in the SystemContentBlock object at {at} is blank. Add text to the text field, and try again.")
    return {"type": "text", "text": item["text"]}


def _guarded(value: JsonObject, at: str) -> JsonObject:
    if "text" not in value:
        return _image(inner(value, "image"), at)
    return {"type": "text", "text": inner(value, "text")["text"]}


def _tool(item: JsonObject, at: str) -> JsonObject:
    if "systemTool" in item:
        raise invalid(f"The systemTool at {at} is not supported by this model.")
    spec = inner(item, "toolSpec")
    schema = inner(spec, "inputSchema").get("json")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise invalid(f"The value at {at}.toolSpec.inputSchema.json.type must be one of the following: object.")
    tool: JsonObject = {"name": spec["name"], "input_schema": schema}
    return tool | {key: spec[key] for key in ("description", "strict") if key in spec}


def _choice(tools: JsonObject, defined: JsonValue) -> JsonObject:
    choice = inner(tools, "toolChoice")
    if not choice:
        return {}
    kind = kind_of(choice)
    if kind != "tool":
        return {"tool_choice": {"type": kind}}
    name = inner(choice, "tool")["name"]
    if name not in [tool.get("name") for tool in objects(defined)]:
        raise invalid(f"The toolChoice {name} is not one of the tools in toolConfig.tools.")
    return {"tool_choice": {"type": "tool", "name": name}}


def _inference(config: JsonObject, hosted: Hosted) -> JsonObject:
    most = config.get("maxTokens", hosted.model.most_output)
    if isinstance(most, int) and most > hosted.model.most_output:
        raise invalid(
            f"The maximum tokens you requested exceeds the model limit of {hosted.model.most_output}. "
            f"Try again with a maximum tokens value that is lower than {hosted.model.most_output}."
        )
    names = {"temperature": "temperature", "topP": "top_p", "stopSequences": "stop_sequences"}
    return {"max_tokens": most, **{names[key]: value for key, value in config.items() if key in names}}


def _output(config: JsonObject, hosted: Hosted) -> JsonObject:
    result: JsonObject = {}
    if "effort" in config and hosted.claude:
        result["effort"] = config["effort"]
    if "textFormat" in config:
        text = str(inner(inner(inner(config, "textFormat"), "structure"), "jsonSchema")["schema"])
        at = "outputConfig.textFormat.structure.jsonSchema.schema"
        try:
            schema: JsonValue = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise constraint(at, "Member must be a valid JSON document") from None
        if not isinstance(schema, dict):
            raise constraint(at, "Member must be a JSON schema")
        result["format"] = {"type": "json_schema", "schema": schema}
    return {"output_config": result} if result else {}


def _additional(value: JsonValue, fields: JsonObject, hosted: Hosted) -> frozenset[str]:
    """Merge what goes to the model as it is. Returns the betas that it names."""
    if value is None:
        return frozenset()
    if not isinstance(value, dict):
        raise constraint("additionalModelRequestFields", "Member must be a structure")
    betas: frozenset[str] = frozenset()
    for key, item in value.items():
        if key == "tool_choice" and hosted.claude:
            fields[key] = _own_choice(item, fields)
            continue
        if key in _OWN or key in fields:
            raise invalid(f"The additional field {key} conflicts with an existing field.")
        if not hosted.claude:
            if key != "inferenceConfig":
                raise invalid(returned(extraneous("", key).message))
        elif key == "anthropic_beta":
            if not isinstance(item, list):
                raise invalid(returned("anthropic_beta: Input should be a valid list"))
            betas = frozenset(str(name) for name in item)
        elif key != "anthropic_version":
            fields[key] = item
    return betas


def _own_choice(item: JsonValue, fields: JsonObject) -> JsonValue:
    """Claude's `tool_choice` beside or instead of `toolConfig.toolChoice`: members of both are put together, and none may be in both.

    Sources: BerriAI/litellm#34347 (taken without toolChoice), BerriAI/litellm#36536 (the words of the conflict).
    """
    said = fields.get("tool_choice")
    if not isinstance(item, dict) or not isinstance(said, dict):
        return item
    for key in item:
        if key in said:
            kind = said.get("type")
            raise invalid(
                f"The additional field tool_choice/{key} conflicts with the existing field toolConfig.toolChoice.{kind}. "
                f"Remove tool_choice/{key} and try again."
            )
    return {**said, **item}


def check_choice(fields: JsonObject) -> None:
    """Claude as it is hosted here knows no `none`, by whatever operation it is asked. Source: boto/botocore#3458."""
    choice = fields.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "none":
        raise invalid(returned("tool_choice: Input tag 'none' found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool'"))


def _block(block: JsonObject, at: str) -> JsonObject:
    kind = kind_of(block)
    value = inner(block, kind)
    match kind:
        case "text":
            return {"type": "text", "text": block["text"]}
        case "image":
            return _image(value, at)
        case "video" | "audio":
            return {"type": "image", "source": {"type": kind, **value}}
        case "document":
            return _document(value)
        case "toolUse":
            return {"type": value.get("type", "tool_use"), "id": value["toolUseId"], "name": value["name"], "input": value["input"]}
        case "toolResult":
            return _result(value, at)
        case "guardContent":
            return _guarded(value, at)
        case "reasoningContent":
            return _reasoning(value, at)
        case "citationsContent":
            text = "".join(str(item["text"]) for item in objects(value.get("content")))
            return {"type": "text", "text": text, "citations": value.get("citations", [])}
        case "searchResult":
            return _search_result(value)
        case _:
            return {"type": "tool_addition" if kind == "toolAddition" else "tool_removal", **value}


def _image(value: JsonObject, at: str) -> JsonObject:
    source = inner(value, "source")
    if "bytes" not in source:
        raise invalid(f"The s3Location at {at} could not be read.")
    return {"type": "image", "source": {"type": "base64", "media_type": f"image/{value['format']}", "data": source["bytes"]}}


def _document(value: JsonObject) -> JsonObject:
    source, form = inner(value, "source"), str(value.get("format", "txt"))
    if "bytes" in source and form in _TEXT_FORMATS:
        text = base64.b64decode(str(source["bytes"])).decode(errors="replace")
        made: JsonObject = {"type": "text", "media_type": "text/plain", "data": text}
    elif "bytes" in source:
        made = {"type": "base64", "media_type": f"application/{form}", "data": source["bytes"]}
    elif "text" in source:
        made = {"type": "text", "media_type": "text/plain", "data": source["text"]}
    elif "content" in source:
        made = {"type": "content", "content": [{"type": "text", "text": item["text"]} for item in objects(source["content"])]}
    else:
        made = {"type": "url", "url": inner(source, "s3Location")["uri"]}
    return {"type": "document", "source": made, "title": value["name"], **{key: value[key] for key in ("context", "citations") if key in value}}


def _result(value: JsonObject, at: str) -> JsonObject:
    content: list[JsonValue] = []
    for item in objects(value.get("content")):
        kind = kind_of(item)
        if kind == "json":
            content.append({"type": "text", "text": encode(item["json"]).decode()})
        elif kind == "searchResult":
            content.append(_search_result(inner(item, kind)))
        else:
            content.append(_block(item, at))
    result: JsonObject = {"type": "tool_result", "tool_use_id": value["toolUseId"], "content": content}
    return result | {"is_error": True} if value.get("status") == "error" else result


def _search_result(value: JsonObject) -> JsonObject:
    texts: list[JsonValue] = [{"type": "text", "text": item["text"]} for item in objects(value["content"])]
    made: JsonObject = {"type": "search_result", "source": value["source"], "title": value["title"], "content": texts}
    return made | {"citations": value["citations"]} if "citations" in value else made


def _reasoning(value: JsonObject, at: str) -> JsonObject:
    if "redactedContent" in value:
        return {"type": "redacted_thinking", "data": base64.b64decode(str(value["redactedContent"])).decode(errors="replace")}
    text = inner(value, "reasoningText")
    if "signature" not in text:
        raise invalid(returned(f"{at}.thinking.signature: Field required"))
    return {"type": "thinking", "thinking": text["text"], "signature": text["signature"]}
