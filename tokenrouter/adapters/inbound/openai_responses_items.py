"""The items of a Responses request, opened to their last part and put together as turns.

A run of items of the model's is one assistant turn, its blocks in the order of the items; every output of a tool is a turn of its own.
An item that carries a cache mark begins a turn and ends it, so that the mark keeps its place.
Source: openai-python 3.52 `types/responses/response_input_item_param.py` and its neighbours.
Members that this model has no place for are noted by dotted name, once, without positions.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.inbound.openai_chat_turns import array, decode, mapping, string
from tokenrouter.adapters.inbound.openai_responses_grammar import DIRECTIVES, kind_of
from tokenrouter.adapters.inbound.openai_responses_namespaces import flat_name
from tokenrouter.adapters.wire.foreign_reasoning import unseal
from tokenrouter.adapters.wire.openai_responses import REASONING_FORMAT
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Refusal, Result, Text, Thought, Turn

_KNOWN: Mapping[str, frozenset[str]] = {
    "message": frozenset(("type", "role", "content", "id", "status")),
    "reasoning": frozenset(("type", "id", "summary", "content", "encrypted_content", "status")),
    "function_call": frozenset(("type", "id", "call_id", "name", "arguments", "status", "namespace")),
    "custom_tool_call": frozenset(("type", "id", "call_id", "name", "input", "status", "namespace")),
    "function_call_output": frozenset(("type", "id", "call_id", "output", "status")),
    "custom_tool_call_output": frozenset(("type", "id", "call_id", "output", "status")),
}
"""Items that can be carried, and their members that are read or are bookkeeping."""

_KNOWN_PART: Mapping[str, frozenset[str]] = {
    "input_text": frozenset(("type", "text")),
    "text": frozenset(("type", "text")),
    "output_text": frozenset(("type", "text", "logprobs")),
    "refusal": frozenset(("type", "refusal")),
    "input_image": frozenset(("type", "image_url", "detail", "file_id")),
    "input_file": frozenset(("type", "file_data", "file_url", "filename", "file_id")),
    "input_audio": frozenset(("type", "input_audio")),
}
_PDF_IN_BASE64 = "JVBERi"
_Item = Mapping[str, object]


class ItemReader:
    """Reads one request's items. `leftover` collects what it could not place."""

    def __init__(self) -> None:
        self.leftover: dict[str, None] = {}

    def read(self, items: Sequence[msgspec.Raw], first: int) -> list[Turn]:
        """The turns. `first`: how many system pieces stand before the items."""
        turns: list[Turn] = []
        blocks: list[Block] = []
        begun = 0
        for index, raw in enumerate(items):
            path = f"input[{index}]"
            value = decode(raw, path)
            item = {"role": "user", "content": value} if isinstance(value, str) else mapping(value, path)
            kind = kind_of(item)
            if kind not in _KNOWN:
                raise UnsupportedField(f"{path} is of type {kind[:40]!r}, which can not be carried to this model", param=f"{path}.type")
            self._note(item, kind)
            said = self._said(item, kind, path)
            if said is not None and not _is_marked(item):
                begun = begun if blocks else index
                blocks += said
                continue
            if blocks:
                turns.append(_assistant(blocks, first + begun, begun))
                blocks = []
            turns.append(_assistant(said, first + index, index) if said is not None else self._heard(item, kind, first + index, path))
        if blocks:
            turns.append(_assistant(blocks, first + begun, begun))
        return turns

    def _note(self, item: _Item, kind: str) -> None:
        for key, value in item.items():
            if key not in _KNOWN[kind] and key not in DIRECTIVES and value not in (None, [], {}, ""):
                self.leftover[f"messages.{key}"] = None

    def _said(self, item: _Item, kind: str, path: str) -> list[Block] | None:
        """What the model said; None for an item of the other side."""
        match kind:
            case "message" if item.get("role") == "assistant":
                return list(self._content(item.get("content"), f"{path}.content", "assistant"))
            case "reasoning":
                return self._thought(item, path)
            case "function_call" | "custom_tool_call":
                custom = kind == "custom_tool_call"
                names = ("call_id", "name", "input" if custom else "arguments")
                call_id, name, arguments = [string(item.get(member), f"{path}.{member}") for member in names]
                space = item.get("namespace")
                return [Call(ToolCall(call_id, flat_name(space, name) if isinstance(space, str) else name, arguments, custom))]
        return None

    def _heard(self, item: _Item, kind: str, source: int, path: str) -> Turn:
        """A message of the client's side, or an output."""
        if kind == "message":
            role = string(item.get("role"), f"{path}.role")
            if role not in ("user", "system", "developer"):
                raise InvalidRequest(f"{path}.role must be user, assistant, system or developer", param=f"{path}.role")
            blocks = self._content(item.get("content"), f"{path}.content", role)
            return Turn("user" if role == "user" else "system", blocks, source, path=path)
        content = self._content(item.get("output"), f"{path}.output", "tool")
        kept = tuple([block for block in content if isinstance(block, Text | Image | Document)])
        if len(kept) != len(content):
            raise UnsupportedField(f"{path}.output can hold text, images and files", param=f"{path}.output")
        return Turn("tool", (Result(string(item.get("call_id"), f"{path}.call_id"), kept),), source, path=path)

    def _thought(self, item: _Item, path: str) -> list[Block]:
        """Reasoning that its vendor can check. What has no content of its own is a reference, or only text: no vendor takes it."""
        parts = [*array(item.get("summary") or [], f"{path}.summary"), *array(item.get("content") or [], f"{path}.content")]
        texts = [string(mapping(part, f"{path}.summary").get("text"), f"{path}.summary") for part in parts]
        text, content = "\n\n".join([words for words in texts if words]), item.get("encrypted_content")
        if content is None:
            self.leftover["messages.reasoning"] = None
            return []
        sealed = string(content, f"{path}.encrypted_content")
        own_id = item.get("id")
        given = own_id if isinstance(own_id, str) else ""
        return [Thought(unseal(sealed, text) or Reasoning(text, redacted=sealed, format=REASONING_FORMAT, id=given))]

    def _content(self, content: object, path: str, role: str) -> tuple[Block, ...]:
        if isinstance(content, str):
            return (Text(content),)
        if not isinstance(content, list):
            raise InvalidRequest(f"{path} must be a string or an array of parts", param=path)
        return tuple([self._part(part, f"{path}[{place}]", role) for place, part in enumerate(content)])

    def _part(self, value: object, path: str, role: str) -> Block:
        part = mapping(value, path)
        kind = string(part.get("type"), f"{path}.type")
        for key in part:
            if key not in _KNOWN_PART.get(kind, ()) and key not in DIRECTIVES and part[key] not in (None, [], {}):
                self.leftover[f"messages.content.{key}"] = None
        match kind:
            case "input_text" | "output_text" | "text":
                return Text(string(part.get("text"), f"{path}.text"))
            case "refusal" if role == "assistant":
                return Refusal(string(part.get("refusal"), f"{path}.refusal"))
            case "input_image" if role != "assistant":
                return _image(part, path)
            case "input_file" if role != "assistant":
                return _file(part, path)
            case "input_audio" if role == "user":
                audio = mapping(part.get("input_audio"), f"{path}.input_audio")
                data = string(audio.get("data"), f"{path}.input_audio.data")
                return Audio(data, string(audio.get("format"), f"{path}.input_audio.format"))
        raise UnsupportedField(f"{path} is of type {kind[:40]!r}, which can not be carried to this model", param=f"{path}.type")


def _assistant(blocks: list[Block], source: int, index: int) -> Turn:
    return Turn("assistant", tuple(blocks), source, path=f"input[{index}]")


def _is_marked(item: _Item) -> bool:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return any(piece.get(name) is not None for piece in (item, *parts) if isinstance(piece, dict) for name in DIRECTIVES)


def _image(part: _Item, path: str) -> Image:
    if part.get("image_url") is None:
        raise UnsupportedField(f"{path}.file_id: a file that one provider keeps can not be read by another", param=f"{path}.file_id")
    url = string(part["image_url"], f"{path}.image_url")
    detail = None if part.get("detail") is None else string(part["detail"], f"{path}.detail")
    if url[:5].lower() != "data:":
        return Image(url=url, detail=detail)
    media_type, data = _data_url(url, f"{path}.image_url")
    return Image(data=data, media_type=media_type, detail=detail)


def _file(part: _Item, path: str) -> Document:
    filename = None if part.get("filename") is None else string(part["filename"], f"{path}.filename")
    if part.get("file_url") is not None:
        return Document(filename=filename, url=string(part["file_url"], f"{path}.file_url"))
    if part.get("file_id") is not None:
        return Document(filename=filename, file_id=string(part["file_id"], f"{path}.file_id"))
    data = string(part.get("file_data"), f"{path}.file_data")
    if data[:5].lower() == "data:":
        media_type, data = _data_url(data, f"{path}.file_data")
        return Document(data, media_type, filename)
    if data.startswith(_PDF_IN_BASE64):  # bare base64 says no type; a PDF says it itself
        return Document(data, "application/pdf", filename)
    raise InvalidRequest(f'{path}.file_data must be a data URL like "data:application/pdf;base64,..."', param=f"{path}.file_data")


def _data_url(url: str, path: str) -> tuple[str, str]:
    """Media type and base64 text, which is not decoded."""
    head, comma, data = url.partition(",")
    kind, *attributes = head[5:].split(";")
    if not comma or not kind or "base64" not in [attribute.strip().lower() for attribute in attributes]:
        raise InvalidRequest(f'{path} must look like "data:<media type>;base64,<data>"', param=path)
    return kind.strip().lower(), data
