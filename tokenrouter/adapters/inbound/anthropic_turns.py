"""The system prompt and the messages of a Messages request, opened to their last block.

Each tool result becomes a turn of its own, and what stands beside it in its message another one; all have the message's index as their
source. Members that this model has no place for are noted by dotted name, once, without positions: a longer conversation says no more
than a short one.

Source: anthropic-python 2.11 `types/*_block_param.py`.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from tokenrouter.adapters.inbound.openai_chat_turns import array, decode, mapping, string
from tokenrouter.adapters.wire.anthropic import SIGNATURE_FORMAT
from tokenrouter.adapters.wire.foreign_reasoning import PREFIX, unseal
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.conversation import Block, Call, Document, Image, Result, Text, Thought, Turn

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])

Role = Literal["system", "user", "assistant", "tool"]
_ROLES: Mapping[object, Role] = {"user": "user", "assistant": "assistant", "system": "system"}

_KNOWN: Mapping[str, frozenset[str]] = {
    "text": frozenset(("text",)),
    "image": frozenset(("source",)),
    "document": frozenset(("source", "title")),
    "tool_use": frozenset(("id", "name", "input")),
    "tool_result": frozenset(("tool_use_id", "content", "is_error")),
    "thinking": frozenset(("thinking", "signature")),
    "redacted_thinking": frozenset(("data",)),
}
_ALLOWED: Mapping[Role, frozenset[str]] = {
    "system": frozenset(("text",)),
    "user": frozenset(("text", "image", "document", "tool_result")),
    "assistant": frozenset(("text", "tool_use", "thinking", "redacted_thinking")),
    "tool": frozenset(("text", "image", "document")),
}


class TurnReader:
    """Reads pieces in their order. `leftover` collects what it could not place."""

    def __init__(self) -> None:
        self.leftover: dict[str, None] = {}

    def system(self, index: int, raw: msgspec.Raw) -> Turn:
        """One piece of the system prompt: a string, or a text block."""
        value = decode(raw, "system")
        if isinstance(value, str):
            return Turn("system", (Text(value),), index, path="system")
        path = f"system[{index}]"
        return Turn("system", (self._block(raw, path, "system"),), index, path=path)

    def message(self, index: int, source: int, raw: msgspec.Raw) -> list[Turn]:
        """The turns of one message; `source` counts the pieces of the system prompt as well."""
        path = f"messages[{index}]"
        try:
            fields = _members.decode(raw)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"{path} must be an object", param=path) from error
        said = decode(fields.get("role", _NULL), f"{path}.role")
        role = _ROLES.get(said) if isinstance(said, str) else None
        if role is None:
            raise InvalidRequest(f"{path}.role must be user, assistant or system", param=f"{path}.role")
        self._note([name for name in fields if name not in ("role", "content") and fields[name] != _NULL], "messages")
        content = fields.get("content", _NULL)
        if bytes(content)[:1] == b'"':
            return [Turn(role, (Text(string(decode(content, path), path)),), source, path=path)]
        turns: list[Turn] = []
        blocks: list[Block] = []
        for place, block in enumerate(_listed(content, f"{path}.content")):
            made = self._block(block, f"{path}.content[{place}]", role)
            if isinstance(made, Result):
                turns += [Turn(role, tuple(blocks), source, path=path)] if blocks else []
                turns.append(Turn("tool", (made,), source, path=path))
                blocks = []
            else:
                blocks.append(made)
        return [*turns, Turn(role, tuple(blocks), source, path=path)] if blocks or not turns else turns

    def _block(self, raw: msgspec.Raw, path: str, role: Role) -> Block:
        block = mapping(decode(raw, path), path)
        kind = string(block.get("type"), f"{path}.type")
        if kind not in _ALLOWED[role]:
            where = "a tool's result" if role == "tool" else f"a message of the role {role}"
            raise UnsupportedField(f"{path} is of type {kind[:40]!r}, which {where} can not carry to this model", param=f"{path}.type")
        known = _KNOWN[kind]
        self._note([name for name in block if name not in known and _says(name, block[name], path)], "messages.content")
        match kind:
            case "text":
                return Text(string(block.get("text"), f"{path}.text"))
            case "image":
                return _image(mapping(block.get("source"), f"{path}.source"), f"{path}.source")
            case "document":
                title = block.get("title")
                name = None if title is None else string(title, f"{path}.title")
                return _document(mapping(block.get("source"), f"{path}.source"), f"{path}.source", name)
            case "tool_use":
                arguments = bytes(_members.decode(raw).get("input", _NO_INPUT)).decode()
                return Call(ToolCall(string(block.get("id"), f"{path}.id"), string(block.get("name"), f"{path}.name"), arguments))
            case "tool_result":
                return self._result(block, _members.decode(raw), path)
            case "thinking":
                text, signature = (string(block.get(name), f"{path}.{name}") for name in ("thinking", "signature"))
                return Thought(_reasoning(text, signature))
            case _:
                return Thought(Reasoning(redacted=string(block.get("data"), f"{path}.data"), format=SIGNATURE_FORMAT))

    def _result(self, block: Mapping[str, object], fields: Mapping[str, msgspec.Raw], path: str) -> Result:
        content: tuple[Text | Image | Document, ...] = ()
        said = block.get("content")
        if isinstance(said, str):
            content = (Text(said),)
        elif said is not None:
            made = [self._block(raw, f"{path}.content[{place}]", "tool") for place, raw in enumerate(_listed(fields["content"], f"{path}.content"))]
            content = tuple([piece for piece in made if isinstance(piece, Text | Image | Document)])
        call_id = string(block.get("tool_use_id"), f"{path}.tool_use_id")
        return Result(call_id, content, failed=block.get("is_error") is True)

    def _note(self, names: list[str], at: str) -> None:
        self.leftover.update(dict.fromkeys(f"{at}.{name}" for name in names))


_NULL = msgspec.Raw(b"null")
_NO_INPUT = msgspec.Raw(b"{}")


def _listed(raw: msgspec.Raw, path: str) -> list[msgspec.Raw]:
    try:
        return _items.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} must be a string or an array of blocks", param=path) from error


def _says(name: str, value: object, path: str) -> bool:
    """Whether a member that has no place here says anything. Raises UnsupportedField for one that the answer depends on."""
    if name in ("type", "cache_control") or value is None or value in ([], {}):
        return False
    if name == "citations" and isinstance(value, dict):
        if value.get("enabled") is True:
            raise UnsupportedField(f"{path}.citations: this model can not cite its sources", param=f"{path}.citations")
        return False
    if name == "context":
        raise UnsupportedField(f"{path}.context has no place with this model; write it into a text block", param=f"{path}.context")
    return not (name == "caller" and value == {"type": "direct"})


def _reasoning(text: str, signature: str) -> Reasoning:
    """Claude's, or another vendor's in its envelope. An envelope that can not be read is nobody's signature."""
    if not signature.startswith(PREFIX):
        return Reasoning(text, signature, format=SIGNATURE_FORMAT)
    return unseal(signature, text) or Reasoning(text)


def _image(source: Mapping[str, object], path: str) -> Image:
    match source.get("type"):
        case "base64":
            return Image(data=string(source.get("data"), f"{path}.data"), media_type=string(source.get("media_type"), f"{path}.media_type"))
        case "url":
            return Image(url=string(source.get("url"), f"{path}.url"))
        case kind:
            raise _foreign(kind, path)


def _document(source: Mapping[str, object], path: str, title: str | None) -> Document:
    match source.get("type"):
        case "base64":
            data, media_type = string(source.get("data"), f"{path}.data"), string(source.get("media_type"), f"{path}.media_type")
            return Document(data, media_type, title)
        case "text":
            return Document(text=string(source.get("data"), f"{path}.data"), media_type="text/plain", filename=title)
        case "url":
            return Document(url=string(source.get("url"), f"{path}.url"), filename=title)
        case "content" if isinstance(source.get("content"), str):
            return Document(text=string(source["content"], f"{path}.content"), media_type="text/plain", filename=title)
        case "content":
            for place, piece in enumerate(array(source.get("content"), f"{path}.content")):
                mapping(piece, f"{path}.content[{place}]")
            raise UnsupportedField(f"{path}.content: a document in blocks can not be carried to this model; send its text", param=f"{path}.content")
        case kind:
            raise _foreign(kind, path)


def _foreign(kind: object, path: str) -> UnsupportedField:
    return UnsupportedField(f"{path} of the type {str(kind)[:40]!r} can not be carried to this model", param=f"{path}.type")
