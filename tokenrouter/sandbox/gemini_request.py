"""Reading a generateContent request, and turning a Chat Completions request into one.

Source: https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/thought-signatures,
https://ai.google.dev/gemini-api/docs/openai.
"""

from collections.abc import Callable

import msgspec

from tokenrouter.sandbox.answers import Ask, Tool
from tokenrouter.sandbox.chat_request import ChatRequest, content_text
from tokenrouter.sandbox.gemini_fields import (
    BLOB,
    CALL,
    CALLING,
    CONTENT,
    DATA,
    DECLARATION,
    FILE,
    GENERATION,
    PART,
    REQUEST,
    RESPONSE,
    THINKING,
    TOOL,
    TOOL_CONFIG,
    known,
    listed,
    message,
)
from tokenrouter.sandbox.prompt import END_OF_MESSAGE, Piece, header_piece, json_piece, media_piece, text_piece
from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal

SKIP_SIGNATURE = "skip_thought_signature_validator"
_INNER = {"inlineData": BLOB, "fileData": FILE, "functionCall": CALL, "functionResponse": RESPONSE}


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A validated request; nested names are in camel case. `thinking` is a part of `config`."""

    contents: list[JsonObject]
    system: list[JsonObject]
    functions: list[JsonObject]
    mode: str
    allowed: frozenset[str]
    config: JsonObject
    thinking: JsonObject
    tier: JsonValue = None


def bad(text: str) -> Refusal:
    """A 400."""
    return Refusal(400, text)


def read_generate(fields: JsonObject) -> GenerateRequest:
    """Check a native request."""
    fields = known(fields, REQUEST, "")
    if fields.get("cachedContent") is not None:
        raise Refusal(403, "CachedContent not found (or permission denied)")
    tool_config = message(fields.get("toolConfig"), TOOL_CONFIG, "tool_config")
    calling = message(tool_config.get("functionCallingConfig"), CALLING, "tool_config.function_calling_config")
    mode = str(calling.get("mode") or "AUTO").upper()
    if mode not in ("AUTO", "ANY", "NONE", "VALIDATED"):
        raise bad(f"Invalid value at 'tool_config.function_calling_config.mode': \"{mode}\"")
    functions = _functions(fields.get("tools"))
    allowed = frozenset(str(name) for name in listed(calling.get("allowedFunctionNames")))
    missing = sorted(allowed - {str(function["name"]) for function in functions})
    if missing:
        raise bad(f"Function calling config: allowed function `{missing[0]}` is not among the function declarations.")
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise bad("Function calling config: allowed_function_names may only be set when the function calling mode is ANY or VALIDATED.")
    system = message(fields.get("systemInstruction"), CONTENT, "system_instruction")
    config = message(fields.get("generationConfig"), GENERATION, "generation_config")
    _check_config(config)
    return GenerateRequest(
        contents=_contents(fields.get("contents")),
        system=read_parts(system.get("parts"), "system_instruction") if system else [],
        functions=functions,
        mode=mode,
        allowed=allowed,
        config=config,
        thinking=message(config.get("thinkingConfig"), THINKING, "generation_config.thinking_config"),
        tier=fields.get("serviceTier"),
    )


def read_count(fields: JsonObject, model: str) -> GenerateRequest:
    """What is to be counted: bare contents, a whole request inside, or (Vertex) the parts of one at the top."""
    fields = known(fields, REQUEST | {"generateContentRequest"}, "")
    inner = fields.pop("generateContentRequest", None)
    if inner is None:
        return read_generate(fields)
    if fields.get("contents") is not None:
        raise bad("* CountTokensRequest: only one of contents and generate_content_request can be set")
    if not isinstance(inner, dict) or inner.get("model") != f"models/{model}":
        raise bad(f"* CountTokensRequest.generate_content_request.model: must be models/{model}")
    return read_generate(inner)


def _check_config(config: JsonObject) -> None:
    for name, least, most in (("temperature", 0, 2), ("topP", 0, 1), ("maxOutputTokens", 1, 65_536)):
        value = config.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise bad(f"* GenerateContentRequest.generation_config.{name}: must be in the range [{least}, {most}].")
    if config.get("candidateCount") not in (None, 1):
        raise bad("Multiple candidates is not enabled for this model")
    if len(listed(config.get("stopSequences"))) > 5:
        raise bad("* GenerateContentRequest.generation_config.stop_sequences: at most 5 are allowed.")
    structured = config.get("responseSchema") is not None or config.get("responseJsonSchema") is not None
    if structured and config.get("responseMimeType") not in ("application/json", "text/x.enum"):
        raise bad("* GenerateContentRequest.generation_config.response_schema: only allowed when response_mime_type is application/json")


def _functions(value: JsonValue) -> list[JsonObject]:
    if value is None:
        return []
    functions: list[JsonObject] = []
    for index, tool in enumerate(value if isinstance(value, list) else [value]):
        for item in listed(message(tool, TOOL, f"tools[{index}]").get("functionDeclarations")):
            at = f"tools[{index}].function_declarations[{len(functions)}]"
            declaration = message(item, DECLARATION, at)
            if not isinstance(declaration.get("name"), str):
                raise bad(f"* GenerateContentRequest.{at}.name: Invalid function name.")
            if declaration["name"] in [function["name"] for function in functions]:
                raise bad(f"Duplicate function declaration found: {declaration['name']}")
            functions.append(declaration)
    return functions


def _contents(value: JsonValue) -> list[JsonObject]:
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise bad("* GenerateContentRequest.contents: contents is not specified")
    contents: list[JsonObject] = []
    expected = 0
    for index, content in enumerate(value):
        content = message(content, CONTENT, f"contents[{index}]")
        role = content.get("role", "user")
        if role not in ("user", "model", "function"):
            raise bad("Please use a valid role: user, model.")
        parts = read_parts(content.get("parts"), f"contents[{index}]")
        answers = sum("functionResponse" in part for part in parts)
        if answers != expected:
            if expected and answers:
                raise bad(
                    "Please ensure that the number of function response parts is equal to the number of "
                    "function call parts of the function call turn."
                )
            raise bad("Please ensure that function response turn comes immediately after a function call turn.")
        expected = sum("functionCall" in part for part in parts) if role == "model" else 0
        contents.append({"role": "model" if role == "model" else "user", "parts": [*parts]})
    return contents


def read_parts(value: JsonValue, at: str) -> list[JsonObject]:
    """The parts of a content, with the names of their messages in camel case."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise bad(f"* GenerateContentRequest.{at}.parts: contents.parts must not be empty.")
    parts: list[JsonObject] = []
    for index, part in enumerate(value):
        if not isinstance(part, dict):
            raise bad(f"Invalid value at '{at}.parts[{index}]': expected an object")
        part = known(part, PART, f"{at}.parts[{index}]")
        part |= {name: message(part[name], names, f"{at}.parts[{index}].{name}") for name, names in _INNER.items() if name in part}
        data = [name for name in DATA if name in part]
        if len(data) != 1 and not (not data and "thoughtSignature" in part):
            raise bad(f"* GenerateContentRequest.{at}.parts[{index}].data: required oneof field 'data' must have one initialized field")
        if "text" in part and not isinstance(part["text"], str):
            raise bad(f"Invalid value at '{at}.parts[{index}].text' (TYPE_STRING)")
        for name in ("functionCall", "functionResponse"):
            inner = part.get(name)
            if name in part and (not isinstance(inner, dict) or not isinstance(inner.get("name"), str)):
                raise bad(f"* GenerateContentRequest.{at}.parts[{index}].{name}.name: Name cannot be empty.")
        parts.append(part)
    return parts


def check_signatures(request: GenerateRequest, valid: Callable[[str], bool]) -> None:
    """From Gemini 3 on, the first call of each step since the last question must carry the signature that came with it."""
    question = max((index for index, content in enumerate(request.contents) if _is_question(content)), default=0)
    for index, content in enumerate(request.contents):
        calls = [part for part in listed(content["parts"]) if isinstance(part, dict) and "functionCall" in part]
        if content["role"] != "model" or not calls or index < question:
            continue
        signature = calls[0].get("thoughtSignature")
        call = calls[0]["functionCall"]
        name = call.get("name") if isinstance(call, dict) else ""
        if not isinstance(signature, str) or not signature:
            raise bad(
                f"Function call is missing a thought_signature in functionCall parts. Function call `{name}`, position {index}. "
                "See https://ai.google.dev/gemini-api/docs/thought-signatures"
            )
        if signature != SKIP_SIGNATURE and not valid(signature):
            raise bad("Corrupted thought signature.")


def _is_question(content: JsonObject) -> bool:
    return content["role"] == "user" and not any(isinstance(part, dict) and "functionResponse" in part for part in listed(content["parts"]))


def render(request: GenerateRequest) -> list[Piece]:
    """The prompt: system instruction and functions, then contents."""
    pieces: list[Piece] = []
    if request.system:
        pieces.append(header_piece("system"))
        pieces.extend(_part(part) for part in request.system)
    if request.functions:
        pieces.append(header_piece("tools"))
        pieces.extend(json_piece(function) for function in request.functions)
    for content in request.contents:
        pieces.append(header_piece(str(content["role"])))
        pieces.extend(_part(part) for part in listed(content["parts"]) if isinstance(part, dict))
        pieces.append(END_OF_MESSAGE)
    return pieces


def _part(part: JsonObject) -> Piece:
    if isinstance(part.get("text"), str):
        return text_piece(str(part["text"]))
    for name in ("inlineData", "fileData"):
        if name in part:
            return media_piece(name, part[name], 258)
    return json_piece({key: value for key, value in part.items() if key != "thoughtSignature"})


def ask_of(request: GenerateRequest, seed: int, *, thinks: bool) -> Ask:
    """What decides the answer."""
    config = request.config
    last = request.contents[-1]
    parts = [part for part in listed(last["parts"]) if isinstance(part, dict)]
    tools = tuple(
        Tool(str(item["name"]), _schema(item.get("parametersJsonSchema") or item.get("parameters") or {"type": "object"}))
        for item in request.functions
    )
    if request.allowed:
        tools = tuple(tool for tool in tools if tool.name in request.allowed)
    limit = config.get("maxOutputTokens")
    stops = listed(config.get("stopSequences"))
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    return Ask(
        seed=seed,
        last_user="\n".join(str(part["text"]) for part in parts if "text" in part),
        after_tools=any("functionResponse" in part for part in parts),
        tools=tools,
        choice={"ANY": "required", "NONE": "none"}.get(request.mode, "auto"),
        schema=_schema(schema) if schema else None,
        json_mode=config.get("responseMimeType") == "application/json",
        limit=limit if isinstance(limit, int) else None,
        stops=tuple(stop for stop in stops if isinstance(stop, str) and stop),
        thinks=thinks,
    )


def _schema(value: JsonValue) -> JsonValue:
    """An OpenAPI-style schema as a JSON schema: type names in lower case."""
    if isinstance(value, list):
        return [_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: inner.lower() if key == "type" and isinstance(inner, str) else _schema(inner) for key, inner in value.items()}


def from_chat(request: ChatRequest) -> GenerateRequest:
    """The native form of a Chat Completions request."""
    system: list[JsonObject] = []
    contents: list[JsonObject] = []
    names: dict[str, str] = {}
    for said in request.messages:
        role = said["role"]
        if role in ("system", "developer"):
            system.append({"text": content_text(said)})
        elif role == "assistant":
            contents.append({"role": "model", "parts": [*_model_parts(said, names)]})
        elif role == "tool":
            name = names.get(str(said.get("tool_call_id")), "")
            part: JsonObject = {"functionResponse": {"name": name, "response": {"result": content_text(said)}}}
            previous = contents[-1]
            parts = previous["parts"]
            if previous["role"] == "user" and isinstance(parts, list) and isinstance(parts[0], dict) and "functionResponse" in parts[0]:
                parts.append(part)
            else:
                contents.append({"role": "user", "parts": [part]})
        else:
            contents.append({"role": "user", "parts": [*_user_parts(said)]})
    if not contents:
        raise bad("* GenerateContentRequest.contents: contents is not specified")
    functions = [tool["function"] for tool in request.tools if isinstance(tool.get("function"), dict)]
    return GenerateRequest(
        contents=contents,
        system=system,
        functions=[function for function in functions if isinstance(function, dict)],
        mode="AUTO",
        allowed=frozenset(),
        config={},
        thinking={},
    )


def _model_parts(said: JsonObject, names: dict[str, str]) -> list[JsonObject]:
    parts: list[JsonObject] = []
    text = content_text(said)
    if text:
        parts.append({"text": text})
    for call in listed(said.get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            continue
        names[str(call.get("id"))] = str(function["name"])
        try:
            arguments = msgspec.json.decode(str(function["arguments"]) or "{}")
        except msgspec.DecodeError:
            raise bad("Invalid JSON in tool call arguments") from None
        part: JsonObject = {"functionCall": {"name": function["name"], "args": arguments}}
        extra = call.get("extra_content")
        google = extra.get("google") if isinstance(extra, dict) else None
        if isinstance(google, dict) and isinstance(google.get("thought_signature"), str):
            part["thoughtSignature"] = google["thought_signature"]
        parts.append(part)
    return parts or [{"text": ""}]


def _user_parts(said: JsonObject) -> list[JsonObject]:
    content = said.get("content")
    if not isinstance(content, list):
        return [{"text": content_text(said)}]
    return [{"text": part["text"]} if isinstance(part, dict) and "text" in part else {"inlineData": part} for part in content]
