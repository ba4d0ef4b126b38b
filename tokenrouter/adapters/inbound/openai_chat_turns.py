"""The messages of a Chat Completions request, opened to their last part.

Source: openai-python 3.52 `types/chat/chat_completion_*_param.py`; OpenRouter's reference for `reasoning_details`.
Members that this model has no place for are noted by dotted name, once, without positions: a longer conversation says no more than a
short one.
"""

from collections.abc import Mapping
from typing import cast

import msgspec

from tokenrouter.adapters.wire.openai_chat_writer import GEMINI_FORMAT
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Refusal, Result, Text, Thought, Turn

_DIRECTIVES = frozenset(("cache_control", "prompt_cache_breakpoint"))
"""Cache marks: they reach the vendor through the cache plan."""

_KNOWN = {
    "system": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "tool": frozenset({"role", "content", "name", "tool_call_id"}),
    "assistant": frozenset(
        {"role", "content", "name", "refusal", "audio", "tool_calls", "function_call", "reasoning_content", "reasoning", "reasoning_details"}
    ),
}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
_PDF_IN_BASE64 = "JVBERi"


def string(value: object, path: str) -> str:
    """A decoded string. Raises InvalidRequest naming `path`."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{path} must be a string", param=path)
    return value


def mapping(value: object, path: str) -> Mapping[str, object]:
    """A decoded object. Raises InvalidRequest naming `path`."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"{path} must be an object", param=path)
    return cast("Mapping[str, object]", value)


def array(value: object, path: str) -> list[object]:
    """A decoded array. Raises InvalidRequest naming `path`."""
    if not isinstance(value, list):
        raise InvalidRequest(f"{path} must be an array", param=path)
    return value


def decode(raw: msgspec.Raw, path: str) -> object:
    """The value of a slice. Raises InvalidRequest naming `path` where it is no JSON, holds a lone surrogate or is too deep."""
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} can not be read: {error}", param=path) from error


class TurnReader:
    """Reads messages in their order. `leftover` collects what it could not place."""

    def __init__(self) -> None:
        self.leftover: dict[str, None] = {}
        self._open_calls: dict[str, str] = {}

    def read(self, index: int, raw: msgspec.Raw) -> Turn:
        """One message. Blocks: thoughts, then one per content part, then refusal, audio and calls."""
        path = f"messages[{index}]"
        message = mapping(decode(raw, path), path)
        said = string(message.get("role"), f"{path}.role")
        role = _ROLES.get(said)
        if role is None:
            raise InvalidRequest(f"{path}.role must be one of {', '.join(_ROLES)}", param=f"{path}.role")
        name = None if message.get("name") is None else string(message["name"], f"{path}.name")
        for key in message:
            if key not in _KNOWN[role] and key not in _DIRECTIVES and message[key] not in (None, [], {}, ""):
                self.leftover[f"messages.{key}"] = None
        if role == "assistant":
            return Turn("assistant", self._assistant(message, index, path), index, name)
        if message.get("content") is None:
            raise InvalidRequest(f"{path}.content is missing", param=f"{path}.content")
        blocks = self._content(message["content"], f"{path}.content", role)
        if role == "tool":
            return Turn("tool", (self._result(message, said, name, blocks, path),), index, None if said == "function" else name)
        return Turn("system" if role == "system" else "user", blocks, index, name)

    def _result(self, message: Mapping[str, object], said: str, name: str | None, blocks: tuple[Block, ...], path: str) -> Result:
        content = tuple([block for block in blocks if isinstance(block, Text | Image | Document)])
        if said == "tool":
            return Result(string(message.get("tool_call_id"), f"{path}.tool_call_id"), content)
        call_id = self._open_calls.pop(name or "", None)
        if call_id is None:
            raise InvalidRequest(f"{path} answers the function {name!r}, which no message before it calls", param=f"{path}.name")
        return Result(call_id, content)

    def _assistant(self, message: Mapping[str, object], index: int, path: str) -> tuple[Block, ...]:
        thoughts = self._thoughts(message, path)
        calls = [
            _call(call, f"{path}.tool_calls[{place}]") for place, call in enumerate(_array_or_none(message.get("tool_calls"), f"{path}.tool_calls"))
        ]
        ids = {call.call.id for call, _ in calls}
        blocks: list[Block] = [thought for thought in thoughts if thought.reasoning.id not in ids]
        if message.get("content") is not None:
            blocks += self._content(message["content"], f"{path}.content", "assistant")
        if message.get("refusal"):
            blocks.append(Refusal(string(message["refusal"], f"{path}.refusal")))
        if message.get("audio") is not None:
            audio = mapping(message["audio"], f"{path}.audio")
            blocks.append(Audio(audio_id=string(audio.get("id"), f"{path}.audio.id")))
        for call, signed in calls:
            own = [thought for thought in thoughts if thought.reasoning.id == call.call.id and call.call.id]
            blocks += own or ([signed] if signed is not None else [])
            blocks.append(call)
        if message.get("function_call") is not None:
            # The old form has no ids: one is made of the place, which a longer conversation does not change.
            call_id = f"call_message_{index}"
            made = _function(message["function_call"], f"{path}.function_call", call_id)
            self._open_calls[made.name] = call_id
            blocks.append(Call(made))
        return tuple(blocks)

    def _content(self, content: object, path: str, role: str) -> tuple[Block, ...]:
        if isinstance(content, str):
            return (Text(content),)
        if not isinstance(content, list):
            raise InvalidRequest(f"{path} must be a string, null or an array of parts", param=path)
        return tuple([self._part(part, f"{path}[{place}]", role) for place, part in enumerate(content)])

    def _part(self, value: object, path: str, role: str) -> Block:
        part = mapping(value, path)
        kind = string(part.get("type"), f"{path}.type")
        for key in part:
            if key not in ("type", kind) and key not in _DIRECTIVES and part[key] is not None:
                self.leftover[f"messages.content.{key}"] = None
        if kind == "text":
            return Text(string(part.get("text"), f"{path}.text"))
        if kind == "refusal" and role == "assistant":
            return Refusal(string(part.get("refusal"), f"{path}.refusal"))
        if kind == "image_url" and role in ("user", "tool"):
            return _image(part.get("image_url"), f"{path}.image_url")
        if kind == "file" and role in ("user", "tool"):
            return _file(mapping(part.get("file"), f"{path}.file"), f"{path}.file")
        if kind == "input_audio" and role == "user":
            audio = mapping(part.get("input_audio"), f"{path}.input_audio")
            data = string(audio.get("data"), f"{path}.input_audio.data")
            return Audio(data, string(audio.get("format"), f"{path}.input_audio.format"))
        raise UnsupportedField(f"{path} is of type {kind[:40]!r}, which a {role} message can not carry to this model", param=f"{path}.type")

    def _thoughts(self, message: Mapping[str, object], path: str) -> list[Thought]:
        """Signed or redacted reasoning. What has no signature is only text: no vendor takes another's."""
        details = message.get("reasoning_details")
        if not details:
            for key in ("reasoning_content", "reasoning"):
                if message.get(key):
                    self.leftover[f"messages.{key}"] = None
            return []
        blocks: list[Reasoning] = []
        last: tuple[object, object] = (None, None)
        for place, value in enumerate(array(details, f"{path}.reasoning_details")):
            here = f"{path}.reasoning_details[{place}]"
            detail = mapping(value, here)
            piece = _reasoning(detail, here)
            mark = (detail.get("type"), detail.get("index"))
            # Clients that only collect deltas send pieces; those of one block follow each other and share its index.
            if mark == last and mark[1] is not None:
                blocks[-1] = _joined(blocks[-1], piece)
            else:
                blocks.append(piece)
            last = mark
        if not all(block.signature or block.redacted for block in blocks):
            self.leftover["messages.reasoning_details"] = None
        return [Thought(block) for block in blocks if block.signature or block.redacted]


def _reasoning(detail: Mapping[str, object], path: str) -> Reasoning:
    names = ("text", "summary", "signature", "data", "format", "id")
    text, summary, signature, data, form, own_id = ["" if detail.get(name) is None else string(detail[name], f"{path}.{name}") for name in names]
    if form == GEMINI_FORMAT and data:
        signature, data = data, ""  # such a signature is written as data, with the id of what it is over
    return Reasoning(text or summary, signature, data, "" if form == "unknown" else form, own_id)


def _joined(block: Reasoning, piece: Reasoning) -> Reasoning:
    return Reasoning(
        block.text + piece.text,
        block.signature + piece.signature,
        block.redacted + piece.redacted,
        block.format or piece.format,
        block.id or piece.id,
    )


def _array_or_none(value: object, path: str) -> list[object]:
    return [] if value is None else array(value, path)


def _call(value: object, path: str) -> tuple[Call, Thought | None]:
    """A call, and the signature that a client of Google's compatible endpoint keeps in its `extra_content`."""
    call = mapping(value, path)
    kind, call_id = call.get("type", "function"), string(call.get("id"), f"{path}.id")
    if kind == "custom":
        custom = mapping(call.get("custom"), f"{path}.custom")
        made = ToolCall(call_id, string(custom.get("name"), f"{path}.custom.name"), string(custom.get("input"), f"{path}.custom.input"), custom=True)
    elif kind == "function":
        made = _function(call.get("function"), f"{path}.function", call_id)
    else:
        raise UnsupportedField(f"{path} is a {str(kind)[:40]!r} call; only function and custom calls can be carried", param=f"{path}.type")
    match call.get("extra_content"):
        case {"google": {"thought_signature": str(signature)}}:
            return Call(made), Thought(Reasoning(signature=signature, format=GEMINI_FORMAT, id=call_id))
    return Call(made), None


def _function(value: object, path: str, call_id: str) -> ToolCall:
    function = mapping(value, path)
    name = string(function.get("name"), f"{path}.name")
    return ToolCall(call_id, name, string(function.get("arguments"), f"{path}.arguments"))


def _image(value: object, path: str) -> Image:
    image = {"url": value} if isinstance(value, str) else mapping(value, path)
    url = string(image.get("url"), f"{path}.url")
    detail = None if image.get("detail") is None else string(image["detail"], f"{path}.detail")
    if url[:5].lower() != "data:":
        return Image(url=url, detail=detail)
    media_type, data = _data_url(url, f"{path}.url")
    return Image(data=data, media_type=media_type, detail=detail)


def _file(file: Mapping[str, object], path: str) -> Document:
    filename = None if file.get("filename") is None else string(file["filename"], f"{path}.filename")
    if file.get("file_id") is not None:
        return Document(filename=filename, file_id=string(file["file_id"], f"{path}.file_id"))
    data = string(file.get("file_data"), f"{path}.file_data")
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
