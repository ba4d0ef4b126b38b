"""Requests of Ollama's own API, opened for the translation lane: everything that the client asked for, in the neutral words.

Tool calls have no ids in this dialect (new servers give some, and clients may send them back), so ids are made of the place: message and
call, which a longer conversation does not change. Results belong to the first call of their tool that has none yet.
Source: https://github.com/ollama/ollama `api/types.go`, docs `modelfile` (options).
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.inbound.openai_chat_turns import array, decode, mapping, string
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.conversation import Block, Call, Conversation, Image, OutputFormat, Result, Text, Thought, ToolSpec, Turn
from tokenrouter.model.envelope import Envelope

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = msgspec.Raw(b"null")

_CARRIED = frozenset(("model", "messages", "tools", "stream", "format", "options", "think", "keep_alive", "prompt", "system", "images"))
_REFUSED: Mapping[str, str] = {
    "raw": "other vendors render the prompt themselves",
    "template": "other vendors render the prompt themselves",
    "suffix": "this model does not fill gaps",
    "context": "these are tokens of an Ollama model; send the conversation to /api/chat",
    "width": "this model makes no pictures",
    "height": "this model makes no pictures",
    "steps": "this model makes no pictures",
}
"""Without these the answer would be another. All other fields without a counterpart are hints, or refused by who can not do without."""

_MESSAGE = frozenset(("role", "content", "thinking", "images", "tool_calls", "tool_name", "name", "tool_call_id"))
_EMPTY: tuple[object, ...] = (None, "", [], {}, False, 0)
_MEDIA = (("iVBORw", "image/png"), ("/9j/", "image/jpeg"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))


def open_request(envelope: Envelope, tool_order: tuple[int, ...] | None, turns: tuple[Turn, ...], noted: Mapping[str, None]) -> Conversation:
    """What both endpoints share. `noted`: members of messages that there is no place for.

    Raises:
        InvalidRequest: a value has the wrong type; `param` is its path.
        UnsupportedField: what no other vendor has.
    """
    fields = envelope.fields
    leftover: dict[str, None] = {}
    for name, raw in fields.items():
        if name in _CARRIED or decode(raw, name) in _EMPTY:
            continue
        if name in _REFUSED:
            raise UnsupportedField(f"{name}: {_REFUSED[name]}", param=name)
        leftover[name] = None
    options = dict(mapping(decode(fields.get("options", _NULL), "options") or {}, "options"))
    limit, seed = _whole(options, "num_predict"), _whole(options, "seed")
    order = tool_order or range(len(envelope.tools))
    known = {
        "max_output": limit if limit is not None and limit > 0 else None,
        "seed": None if seed == -1 else seed,
        "temperature": _number(options, "temperature"),
        "top_p": _number(options, "top_p"),
        "top_k": _whole(options, "top_k"),
        "frequency_penalty": _number(options, "frequency_penalty"),
        "presence_penalty": _number(options, "presence_penalty"),
        "stop": _stops(options.pop("stop", None)),
    }
    leftover |= {f"options.{name}": None for name, value in options.items() if value is not None}
    effort, shown = _think(decode(fields.get("think", _NULL), "think"))
    stream = decode(fields.get("stream", _NULL), "stream")
    return Conversation(
        turns=turns,
        tools=tuple([_tool(envelope.tools[index], f"tools[{index}]", leftover) for index in order]),
        output=_format(fields.get("format", _NULL)),
        stream=stream is not False,
        effort=effort,
        show_reasoning=shown,
        leftover=(*leftover, *noted),
        **known,  # type: ignore[arg-type]  # each value was read as its field's type
    )


def _number(options: dict[str, object], name: str) -> float | None:
    value = options.pop(name, None)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidRequest(f"options.{name} must be a number", param=f"options.{name}")
    return value


def _whole(options: dict[str, object], name: str) -> int | None:
    value = _number(options, name)
    if value is not None and value != int(value):
        raise InvalidRequest(f"options.{name} must be a whole number", param=f"options.{name}")
    return None if value is None else int(value)


def _stops(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple([string(item, f"options.stop[{place}]") for place, item in enumerate(array(value, "options.stop")) if item != ""])


def _think(value: object) -> tuple[str | None, bool | None]:
    """Effort, and whether reasoning is to be shown."""
    if value is None:
        return None, None
    if isinstance(value, bool):
        return ("medium", True) if value else ("none", False)
    return string(value, "think"), True


def _format(raw: msgspec.Raw) -> OutputFormat:
    said = bytes(raw)
    if said in (b"null", b'""'):
        return OutputFormat("text")
    if said == b'"json"':
        return OutputFormat("json_object")
    if not said.startswith(b"{"):
        raise InvalidRequest('format must be "json" or a JSON schema', param="format")
    return OutputFormat("json_schema", schema=raw)


def _tool(raw: msgspec.Raw, path: str, leftover: dict[str, None]) -> ToolSpec:
    tool = _members(raw, path)
    function = _members(tool.get("function", _NULL), f"{path}.function")
    description = decode(function.get("description", _NULL), f"{path}.function.description")
    parameters = function.get("parameters", _NULL)
    if parameters != _NULL and not bytes(parameters).startswith(b"{"):
        raise InvalidRequest(f"{path}.function.parameters must be an object", param=f"{path}.function.parameters")
    unknown = [f"tools.{name}" for name in tool if name not in ("type", "function") and tool[name] != _NULL]
    known = ("name", "description", "parameters")
    unknown += [f"tools.function.{name}" for name in function if name not in known and function[name] != _NULL]
    leftover.update(dict.fromkeys(unknown))
    return ToolSpec(
        name=string(decode(function.get("name", _NULL), f"{path}.function.name"), f"{path}.function.name"),
        description=None if description is None else string(description, f"{path}.function.description"),
        parameters=None if parameters == _NULL else parameters,
    )


def _members(raw: msgspec.Raw, path: str) -> dict[str, msgspec.Raw]:
    try:
        return _object.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} must be an object", param=path) from error


def prompt_turns(envelope: Envelope) -> tuple[Turn, ...]:
    """The turns of a generation: what stands in `system`, then pictures and prompt as one message of the user."""
    turns = [Turn("system", (Text(string(decode(raw, "system"), "system")),), index, path="system") for index, raw in enumerate(envelope.system)]
    blocks: list[Block] = []
    for raw in envelope.messages:
        value = decode(raw, "prompt")
        blocks += [Text(value)] if isinstance(value, str) else _images(value, "images")
    if not blocks:
        raise UnsupportedField("prompt is empty: only Ollama has a model to load or unload", param="prompt")
    source = len(envelope.system) + len(envelope.messages) - 1
    return (*turns, Turn("user", tuple(blocks), source, path="prompt"))


class ChatTurns:
    """Reads messages in their order. `noted` collects what it could not place."""

    def __init__(self) -> None:
        self.noted: dict[str, None] = {}
        self._waiting: list[tuple[str, str]] = []
        """Calls without a result: tool and id."""

    def read(self, messages: Sequence[msgspec.Raw]) -> tuple[Turn, ...]:
        """All of them. Raises InvalidRequest, UnsupportedField."""
        if not messages:
            raise UnsupportedField("messages is empty: only Ollama has a model to load or unload", param="messages")
        return tuple([self._turn(index, raw) for index, raw in enumerate(messages)])

    def _turn(self, index: int, raw: msgspec.Raw) -> Turn:
        path = f"messages[{index}]"
        fields = _members(raw, path)
        message = {name: decode(inner, f"{path}.{name}") for name, inner in fields.items() if name != "tool_calls"}
        role = string(message.get("role"), f"{path}.role").lower()
        if role not in ("system", "user", "assistant", "tool"):
            raise InvalidRequest(f"{path}.role must be system, user, assistant or tool", param=f"{path}.role")
        self.noted |= {f"messages.{name}": None for name, value in message.items() if name not in _MESSAGE and value not in _EMPTY}
        content = "" if message.get("content") is None else string(message["content"], f"{path}.content")
        blocks: list[Block] = [*_images(message.get("images"), f"{path}.images")]
        if content or (role in ("system", "user") and not blocks):
            blocks.append(Text(content))
        if role == "tool":
            shown = tuple([block for block in blocks if isinstance(block, Text | Image)])
            return Turn("tool", (self._result(message, shown, path),), index)
        if role != "assistant":
            return Turn("system" if role == "system" else "user", tuple(blocks), index)
        if message.get("thinking"):
            blocks.insert(0, Thought(Reasoning(string(message["thinking"], f"{path}.thinking"))))
        self._waiting = []
        for place, call in enumerate(self._calls(fields.get("tool_calls", _NULL), f"{path}.tool_calls")):
            blocks.append(self._call(call, index, place, f"{path}.tool_calls[{place}]"))
        return Turn("assistant", tuple(blocks), index)

    def _calls(self, raw: msgspec.Raw, path: str) -> list[msgspec.Raw]:
        if raw == _NULL:
            return []
        try:
            return msgspec.json.decode(raw, type=list[msgspec.Raw])
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"{path} must be an array", param=path) from error

    def _call(self, raw: msgspec.Raw, index: int, place: int, path: str) -> Call:
        call = _members(raw, path)
        function = _members(call.get("function", _NULL), f"{path}.function")
        name = string(decode(function.get("name", _NULL), f"{path}.function.name"), f"{path}.function.name")
        arguments = function.get("arguments", _NULL)
        if arguments != _NULL and not bytes(arguments).startswith(b"{"):
            raise InvalidRequest(f"{path}.function.arguments must be an object", param=f"{path}.function.arguments")
        given = decode(call.get("id", _NULL), f"{path}.id")
        call_id = given if isinstance(given, str) and given else f"call_{index}_{place}"
        self._waiting.append((name, call_id))
        return Call(ToolCall(call_id, name, "{}" if arguments == _NULL else bytes(arguments).decode()))

    def _result(self, message: Mapping[str, object], content: tuple[Text | Image, ...], path: str) -> Result:
        name = message.get("tool_name") or message.get("name") or ""
        name, given = string(name, f"{path}.tool_name"), message.get("tool_call_id")
        for place, (tool, call_id) in enumerate(self._waiting):
            if call_id == given or (not given and name in ("", tool)):
                del self._waiting[place]
                return Result(call_id, content, tool)
        what = f"the tool {name[:64]!r}" if name else "a tool"
        raise InvalidRequest(f"{path} is a result of {what}, which the message before it does not call, or not so often", param=f"{path}.tool_name")


def _images(value: object, path: str) -> list[Image]:
    if value is None:
        return []
    images = [string(image, f"{path}[{place}]") for place, image in enumerate(array(value, path))]
    return [_image(image, f"{path}[{place}]") for place, image in enumerate(images)]


def _image(data: str, path: str) -> Image:
    """Nothing says what kind of picture it is, but its first bytes."""
    kind = next((kind for start, kind in _MEDIA if data.startswith(start)), None)
    if kind is None:
        raise InvalidRequest(f"{path} must be base64 of a PNG, JPEG, GIF or WebP picture", param=path)
    return Image(data=data, media_type=kind)
