"""The contents of a generateContent request, opened to their last part.

A call may come without an id: then one is made of its place, which a longer conversation does not change. A result belongs to the
open call of its id, else to the first open one of its name, else to the first open one.
Source: google-genai 3.4 `types.py` (Part and what is in it); https://ai.google.dev/gemini-api/docs/function-calling.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping

import msgspec

from tokenrouter.adapters.inbound.gemini_parts import parts_of, plain_content, plain_part
from tokenrouter.adapters.wire.gemini import SKIP_SIGNATURE, signed
from tokenrouter.adapters.wire.gemini_layout import NULL, camel, raw_items, raw_members, spelled
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Result, Text, Thought, Turn, Video

_DIRECTIVES = frozenset(("cacheControl", "promptCacheBreakpoint"))
_KINDS = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_STANDARD = str.maketrans("-_", "+/")
_AUDIO = {"mpeg": "mp3", "mp3": "mp3", "wav": "wav", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}


class TurnReader:
    """Reads contents in their order. `leftover` collects what it could not place."""

    def __init__(self, leftover: dict[str, None]) -> None:
        self._leftover = leftover
        self._open: list[ToolCall] = []

    def system(self, index: int, raw: msgspec.Raw) -> Turn:
        """One piece of the system instruction."""
        path = f"systemInstruction.parts[{index}]"
        value = _decoded(raw, path)
        if isinstance(value, str):
            return Turn("system", (Text(value),), index, path="systemInstruction")
        if not isinstance(value, dict):
            raise InvalidRequest("systemInstruction must be a content: an object with parts", param="systemInstruction")
        parts = parts_of(plain_content(value)) if "parts" in value else [plain_part(value, "")]
        blocks: list[Block] = []
        for part in parts:
            if not isinstance(part.get("text"), str):
                raise UnsupportedField(f"{path}: a system instruction can only hold text here", param=path)
            blocks.append(Text(str(part["text"])))
        return Turn("system", tuple(blocks), index, path=path)

    def read(self, source: int, index: int, raw: msgspec.Raw) -> Turn:
        """One content. `source` counts the pieces of the system instruction before it."""
        path = f"contents[{index}]"
        content = plain_content(_mapping(_decoded(raw, path), path))
        said = content.get("role")
        slices = _part_slices(raw, path)
        self._note(content, ("role", "parts"), "contents")
        if said == "model":
            return Turn("assistant", self._model(parts_of(content), slices, index, path), source, path=path)
        blocks = [self._user(part, slices[place], f"{path}.parts[{place}]") for place, part in enumerate(parts_of(content))]
        found = tuple([block for block in blocks if block is not None])
        only_results = bool(found) and all(isinstance(block, Result) for block in found)
        return Turn("tool" if only_results else "user", found, source, path=path)

    def _model(self, parts: list[dict[str, object]], slices: tuple[msgspec.Raw, ...], index: int, path: str) -> tuple[Block, ...]:
        blocks: list[Block] = []
        thinking = ""
        for place, part in enumerate(parts):
            here = f"{path}.parts[{place}]"
            signature = _string(part.get("thoughtSignature"), f"{here}.thoughtSignature")
            if part.get("thought"):
                thinking += _string(part.get("text"), f"{here}.text")
                if signature:
                    blocks.append(Thought(signed(signature, thinking)))
                    thinking = ""
                continue
            if thinking:
                blocks.append(Thought(Reasoning(thinking)))
                thinking = ""
            call = self._call(part, slices[place], f"{index}_{place}", here)
            if signature and signature != SKIP_SIGNATURE:
                blocks.append(Thought(signed(signature, belongs_to=call.id if call else "")))
            if call is not None:
                blocks.append(Call(call))
            elif not (part.get("text") == "" and signature) and (block := self._user(part, slices[place], here)) is not None:
                blocks.append(block)
        if thinking:
            blocks.append(Thought(Reasoning(thinking)))
        return tuple(blocks)

    def _call(self, part: Mapping[str, object], raw: msgspec.Raw, where: str, path: str) -> ToolCall | None:
        call = part.get("functionCall")
        if call is None:
            return None
        fields = _mapping(call, f"{path}.functionCall")
        name = _string(fields.get("name"), f"{path}.functionCall.name")
        if not name:
            raise InvalidRequest(f"{path}.functionCall needs a name", param=f"{path}.functionCall.name")
        call_id = _string(fields.get("id"), f"{path}.functionCall.id") or f"call_{where}"
        inner = raw_members(_member(raw, "functionCall", path), f"{path}.functionCall")
        arguments = inner.get(spelled(inner).get("args", ""), NULL)
        made = ToolCall(call_id, name, "{}" if arguments == NULL else bytes(arguments).decode())
        self._open.append(made)
        self._note(part, (*_KINDS, "thoughtSignature"), "contents.parts")
        return made

    def _user(self, part: Mapping[str, object], raw: msgspec.Raw, path: str) -> Block | None:
        kind = next((name for name in _KINDS if part.get(name) is not None), None)
        if kind is None:
            strange = next((name for name in part if name not in _DIRECTIVES and name not in ("thought", "thoughtSignature")), "")
            if not strange:
                return None
            raise UnsupportedField(f"{path}.{strange[:60]} can not be carried to this model", param=f"{path}.{strange[:60]}")
        self._note(part, (*_KINDS, "thoughtSignature", "thought"), "contents.parts")
        match kind:
            case "text":
                return Text(_string(part["text"], f"{path}.text"))
            case "inlineData":
                return _inline(_mapping(part["inlineData"], f"{path}.inlineData"), f"{path}.inlineData")
            case "fileData":
                return _address(_mapping(part["fileData"], f"{path}.fileData"), f"{path}.fileData")
            case "functionResponse":
                return self._result(part, raw, f"{path}.functionResponse")
            case _:
                raise InvalidRequest(f"{path}: only the model's contents can hold a functionCall", param=f"{path}.functionCall")

    def _result(self, part: Mapping[str, object], raw: msgspec.Raw, path: str) -> Result:
        fields = _mapping(part["functionResponse"], path)
        call_id, name = _string(fields.get("id"), f"{path}.id"), _string(fields.get("name"), f"{path}.name")
        call = self._answered(call_id, name)
        if call is None:
            raise InvalidRequest(f"{path} answers no functionCall before it", param=path)
        inner = raw_members(_member(raw, "functionResponse", path), path)
        response = inner.get(spelled(inner).get("response", ""), NULL)
        said, failed = _said(response)
        content: list[Text | Image | Document] = [Text(said)] if said is not None else []
        for place, extra in enumerate(parts_of(fields)):
            block = self._user(extra, raw, f"{path}.parts[{place}]")
            if not isinstance(block, Text | Image | Document):
                raise UnsupportedField(f"{path}.parts[{place}]: only pictures and files can be carried in a result", param=f"{path}.parts[{place}]")
            content.append(block)
        self._note(fields, ("id", "name", "response", "parts", "willContinue", "scheduling"), "contents.parts.functionResponse")
        return Result(call.id, tuple(content), name or call.name, failed)

    def _answered(self, call_id: str, name: str) -> ToolCall | None:
        """The open call that a result answers; it is open no longer."""
        waiting = self._open
        found = next((call for call in waiting if call_id and call.id == call_id), None)
        found = found or next((call for call in waiting if name and call.name == name), None)
        found = found or (waiting[0] if waiting and not name else None)
        if found is not None:
            waiting.remove(found)
        return found

    def _note(self, value: Mapping[str, object], known: tuple[str, ...], path: str) -> None:
        for name, inner in value.items():
            if name not in known and name not in _DIRECTIVES and inner not in (None, [], {}):
                self._leftover[f"{path}.{name}"] = None


def _decoded(raw: msgspec.Raw, path: str) -> object:
    """The value of a slice. Raises InvalidRequest where it holds what no reader takes, such as a number out of range."""
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} can not be read: {error}", param=path) from error


def _mapping(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{path} must be an object", param=path)
    return value


def _string(value: object, path: str) -> str:
    if not isinstance(value, str | None):
        raise InvalidRequest(f"{path} must be a string", param=path)
    return value or ""


def _part_slices(raw: msgspec.Raw, path: str) -> tuple[msgspec.Raw, ...]:
    members = raw_members(raw, path)
    parts = members.get(spelled(members).get("parts", ""), NULL)
    return () if parts == NULL else raw_items(parts, f"{path}.parts")


def _member(raw: msgspec.Raw, name: str, path: str) -> msgspec.Raw:
    members = raw_members(raw, path)
    return next(value for said, value in members.items() if camel(said) == name)


def _said(response: msgspec.Raw) -> tuple[str | None, bool]:
    """What a function answered, and whether it failed.

    `output` and `error` are the documented keys; without them the whole object is the output, in its own spelling.
    """
    if response == NULL:
        return None, False
    data = bytes(response)
    members = raw_members(response, "response") if data.startswith(b"{") else {}
    for key, failed in (("output", False), ("error", True)):
        if list(members) == [key]:
            inner = bytes(members[key])
            return (msgspec.json.decode(inner, type=str) if inner.startswith(b'"') else inner.decode()), failed
    return data.decode(), False


def _inline(blob: Mapping[str, object], path: str) -> Block:
    media_type = _string(blob.get("mimeType"), f"{path}.mimeType").strip().lower()
    data = _base64(_string(blob.get("data"), f"{path}.data"), f"{path}.data")
    kind, _, detail = media_type.partition("/")
    match kind:
        case "image":
            return Image(data=data, media_type=media_type)
        case "audio":
            return Audio(data, _AUDIO.get(detail, detail))
        case "video":
            return Video(data, media_type)
    filename = _string(blob.get("displayName"), f"{path}.displayName") or None
    return Document(data, media_type or None, filename)


def _base64(data: str, path: str) -> str:
    """In the common alphabet, with its padding: this API takes the other one too, and its own SDK writes that."""
    common = data.translate(_STANDARD).rstrip("=")
    padded = common + "=" * (-len(common) % 4)
    if len(common) % 4 == 1:
        raise InvalidRequest(f"{path} is no base64", param=path)
    try:
        b64decode(padded[-8:], validate=True)  # alphabet and length at its end; whoever gets it reads the rest
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest(f"{path} is no base64", param=path) from error
    return padded


def _address(file: Mapping[str, object], path: str) -> Block:
    media_type = _string(file.get("mimeType"), f"{path}.mimeType").strip().lower()
    uri = _string(file.get("fileUri"), f"{path}.fileUri")
    if not uri.lower().startswith(("https://", "http://")):
        raise UnsupportedField(f"{path}.fileUri: only addresses on the web can be carried to this model", param=f"{path}.fileUri")
    if media_type.startswith("image/"):
        return Image(url=uri)
    if media_type.startswith("video/") or not media_type:
        return Video(url=uri, media_type=media_type or None)
    if media_type.startswith("audio/"):
        raise UnsupportedField(f"{path}: sound can not be carried by its address; send it inline", param=path)
    return Document(media_type=media_type, url=uri, filename=_string(file.get("displayName"), f"{path}.displayName") or None)
