"""Reading `/api/chat` and `/api/generate` into one kind of request, rendering its prompt, and asking the model."""

import msgspec

from tokenrouter.sandbox.answers import Ask, Tool
from tokenrouter.sandbox.ollama_fields import Options, answer_format, flag, images, items, keep_alive_s, nested, options, text, think, wrong_type
from tokenrouter.sandbox.prompt import END_OF_MESSAGE, Piece, header_piece, json_piece, media_piece, text_piece
from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal, encode

IMAGE_TOKENS = 256


class Called(msgspec.Struct, frozen=True):
    """A tool call of an earlier turn."""

    name: str
    arguments: JsonObject


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the history. Any role is accepted: the model's template makes of it what it can."""

    role: str
    content: str = ""
    thinking: str = ""
    images: tuple[str, ...] = ()
    calls: tuple[Called, ...] = ()
    tool_name: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a model, by either endpoint.

    model      the name as the client spelled it; answers repeat it
    generates  it came by `/api/generate`
    raw        the prompt is the text itself, without roles
    context    tokens of an earlier turn, as `/api/generate` gave them out
    truncate   the start of a prompt that is too long may be dropped
    """

    model: str
    generates: bool = False
    messages: tuple[Message, ...] = ()
    tools: tuple[JsonObject, ...] = ()
    stream: bool = True
    options: Options = Options()
    think: bool | str | None = None
    format: JsonValue = None
    keep_alive_s: float = 0.0
    raw: bool = False
    suffix: str = ""
    context: tuple[int, ...] = ()
    truncate: bool = True

    @property
    def has_images(self) -> bool:
        """Whether the model has to see."""
        return any(message.images for message in self.messages)


def read_chat(fields: JsonObject) -> Request:
    """Read the body of `/api/chat`.

    Raises:
        Refusal: 400 for wrong types; 500 for options and formats that only the model's runner would look at.
    """
    owner = "ChatRequest"
    return Request(
        model=text(fields, "model", owner),
        messages=tuple(_message(item) for item in items(fields, "messages", owner, "[]api.Message")),
        tools=tuple(_tool(item) for item in items(fields, "tools", owner, "api.Tools")),
        stream=flag(fields, "stream", owner, default=True),
        think=think(fields),
        keep_alive_s=keep_alive_s(fields),
        truncate=flag(fields, "truncate", owner, default=True),
        options=options(fields, owner),
        format=answer_format(fields),
    )


def read_generate(fields: JsonObject) -> Request:
    """Read the body of `/api/generate`; its errors are those of `read_chat`."""
    owner = "GenerateRequest"
    prompt, system, template = (text(fields, name, owner) for name in ("prompt", "system", "template"))
    raw = flag(fields, "raw", owner)
    context = tuple(_token(item) for item in items(fields, "context", owner, "[]int"))
    pictures = images(fields, owner)
    if raw and (template or system or context):
        raise Refusal(400, "raw mode does not support template, system, or context")
    messages: tuple[Message, ...] = (Message(role="user", content=prompt, images=pictures),) if prompt else ()
    if messages and (system or template):
        messages = (Message(role="system", content=template + system), *messages)
    return Request(
        model=text(fields, "model", owner),
        generates=True,
        messages=messages,
        stream=flag(fields, "stream", owner, default=True),
        think=think(fields),
        keep_alive_s=keep_alive_s(fields),
        raw=raw,
        suffix=text(fields, "suffix", owner),
        context=context,
        truncate=flag(fields, "truncate", owner, default=True),
        options=options(fields, owner),
        format=answer_format(fields),
    )


def _token(value: JsonValue) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type("GenerateRequest.context", "int", value)
    return value


def _message(item: JsonValue) -> Message:
    fields = nested(item, "ChatRequest.messages", "api.Message")
    owner = "ChatRequest.messages"
    return Message(
        role=text(fields, "role", owner).lower(),
        content=text(fields, "content", owner),
        thinking=text(fields, "thinking", owner),
        images=images(fields, owner),
        calls=tuple(_called(call) for call in items(fields, "tool_calls", owner, "[]api.ToolCall")),
        tool_name=text(fields, "tool_name", owner),
    )


def _called(item: JsonValue) -> Called:
    owner = "ToolCallFunction.messages.tool_calls.function"
    function = nested(nested(item, "ChatRequest.messages.tool_calls", "api.ToolCall").get("function"), owner, "api.ToolCallFunction")
    arguments = nested(function.get("arguments"), f"{owner}.arguments", "api.ToolCallFunctionArguments")
    return Called(text(function, "name", owner), arguments)


def _tool(item: JsonValue) -> JsonObject:
    fields = nested(item, "ChatRequest.tools", "api.Tool")
    function = nested(fields.get("function"), "ChatRequest.tools.function", "api.ToolFunction")
    text(function, "name", "ChatRequest.tools.function")
    parameters = nested(function.get("parameters"), "ChatRequest.tools.function.parameters", "api.ToolFunctionParameters")
    nested(parameters.get("properties"), "ChatRequest.tools.function.parameters.properties", "map[string]api.ToolProperty")
    return function


def render(request: Request) -> list[Piece]:
    """The prompt as the model's template writes it. The answer's format is a grammar beside the prompt, no part of it."""
    pieces: list[Piece] = []
    if request.context:
        pieces.append(Piece(encode(request.context), len(request.context), atomic=True))
    if request.tools:
        pieces.append(header_piece("tools"))
        pieces.extend(json_piece(tool) for tool in request.tools)
    for message in request.messages:
        pieces.extend(_rendered(message, raw=request.raw))
    if request.suffix:
        pieces.extend((header_piece("suffix"), text_piece(request.suffix)))
    return pieces


def _rendered(message: Message, *, raw: bool) -> list[Piece]:
    pictures = [media_piece("image", image, IMAGE_TOKENS) for image in message.images]
    if raw:
        return [*pictures, text_piece(message.content)]
    pieces = [header_piece(f"{message.role}\x00{message.tool_name}"), *pictures]
    if message.thinking:
        pieces.extend((header_piece("thinking"), text_piece(message.thinking)))
    if message.content:
        pieces.append(text_piece(message.content))
    for call in message.calls:
        pieces.extend((header_piece(f"call\x00{call.name}"), json_piece(call.arguments)))
    return [*pieces, END_OF_MESSAGE]


def ask_of(request: Request, seed: int, *, thinks: bool) -> Ask:
    """What decides the answer, the prompt's fingerprint being `seed`."""
    last_user = next((message for message in reversed(request.messages) if message.role == "user"), None)
    return Ask(
        seed=seed,
        last_user=last_user.content if last_user else "",
        after_tools=bool(request.messages) and request.messages[-1].role == "tool",
        tools=tuple(Tool(str(tool["name"]), tool.get("parameters") or {"type": "object"}) for tool in request.tools if tool.get("name")),
        schema=request.format if isinstance(request.format, dict) else None,
        json_mode=request.format == "json",
        limit=request.options.limit,
        stops=request.options.stops,
        thinks=thinks,
    )
