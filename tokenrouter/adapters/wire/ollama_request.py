"""Requests of Ollama's own API as they are written.

Source: https://github.com/ollama/ollama `api/types.go` (ChatRequest, Message, ToolCall, Options, EmbedRequest).
"""

import msgspec


class CalledFunction(msgspec.Struct):
    """`arguments` is an object, in the spelling in which it came."""

    name: str
    arguments: msgspec.Raw


class CalledTool(msgspec.Struct):
    """An entry of `tool_calls`."""

    function: CalledFunction


class Message(msgspec.Struct, omit_defaults=True):
    """One message; `tool_name` says whose result it is."""

    role: str
    content: str
    thinking: str = ""
    images: list[str] = []
    tool_calls: list[CalledTool] = []
    tool_name: str = ""


class Function(msgspec.Struct, omit_defaults=True):
    """A function that may be called."""

    name: str
    parameters: msgspec.Raw
    description: str | None = None


class Tool(msgspec.Struct):
    """An entry of `tools`."""

    function: Function
    type: str = "function"


class Options(msgspec.Struct, omit_defaults=True):
    """What other dialects say, too, of the runner's options."""

    num_ctx: int | None = None
    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


_NULL = msgspec.Raw(b"null")


class Chat(msgspec.Struct):
    """The body of `/api/chat`. Members that are not wanted are left out by `members`."""

    model: str
    messages: list[Message]
    stream: bool
    truncate: bool = False
    tools: list[Tool] | None = None
    options: Options | None = None
    format: msgspec.Raw = _NULL
    think: bool | str | None = None

    def members(self) -> dict[str, object]:
        """What is sent."""
        said = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in said.items() if value is not None and value != _NULL}


class Embed(msgspec.Struct, omit_defaults=True):
    """The body of `/api/embed`."""

    model: str
    input: tuple[str, ...]
    dimensions: int | None = None
    truncate: bool | None = None
