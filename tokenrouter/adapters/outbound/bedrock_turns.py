"""A conversation as Converse's `system` and `messages`, and behind what cache points may stand in them.

Users and assistants take turns there, so neighbours of one role become one message; blocks keep their order. What is rendered depends on
nothing that comes later: a conversation that grows keeps the blocks of what was sent before.
Source: botocore 1.44, shapes `Message`, `ContentBlock`, `DocumentBlock`, `ToolResultBlock`; the service's own refusals as reported in
maximhq/bifrost#7003 (names of documents), strands-agents/harness-sdk#1435 (blank text).
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, assert_never

import msgspec

from tokenrouter.adapters.outbound.anthropic_turns import tool_input
from tokenrouter.adapters.outbound.call_ids import CallIds
from tokenrouter.adapters.wire import bedrock_request as wire
from tokenrouter.adapters.wire.anthropic import SIGNATURE_FORMAT
from tokenrouter.adapters.wire.bedrock import OPAQUE_FORMAT
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Refusal, Result, Text, Thought, Turn, Video

_TOOL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_IMAGES: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_LONGEST_NAME = 180
"""Bedrock takes 200 characters; the rest is for a number."""

Place = tuple[list[wire.Block], wire.Block]
"""A block, and the list in which it stands: a cache point goes behind it."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of one maker take beyond what all do.

    claude    Anthropic's fields, and reasoning that is sent back
    failures  a tool result may say that the tool failed
    top_k     where that number goes, from the outside in; () where there is no place for it
    """

    claude: bool = False
    failures: bool = False
    top_k: tuple[str, ...] = ()


_FAMILIES: Final[Mapping[str, Family]] = {
    "anthropic": Family(claude=True, failures=True, top_k=("top_k",)),
    "amazon": Family(failures=True, top_k=("inferenceConfig", "topK")),
    "mistral": Family(top_k=("top_k",)),
    "cohere": Family(top_k=("k",)),
}


def family_of(model: str) -> Family:
    """The family of a model id, an inference profile (`us.…`, `global.…`) or the ARN of either."""
    return next((_FAMILIES[part] for part in model.rpartition("/")[2].split(".") if part in _FAMILIES), Family())


class Rendered(msgspec.Struct):
    """The turns on the wire. `places`: per message of the client, its blocks that take a mark, each with the number of its content part."""

    system: list[wire.Block]
    messages: list[wire.Message]
    places: dict[int, list[tuple[int, Place]]]


def render_turns(turns: Sequence[Turn], family: Family, *, mid_system: bool, dropped: dict[str, None]) -> Rendered:
    """Render all turns. `mid_system`: the model takes system messages behind the opening ones. `dropped` collects what was left out.

    Blank text is left out: the service refuses it. An assistant or system message of which nothing remains is left out as a whole and
    reported; an empty user message is refused, since without it the conversation would end, or go on, in another role.
    """
    return _Renderer(family, dropped).render(turns, mid_system)


class _Renderer:
    """One conversation on its way to the wire."""

    def __init__(self, family: Family, dropped: dict[str, None]) -> None:
        self._family = family
        self._dropped = dropped
        self._ids = CallIds(_TOOL_ID, "tooluse_")
        self._names: set[str] = set()
        self._parts: dict[int, int] = {}
        self._out = Rendered([], [], {})

    def render(self, turns: Sequence[Turn], mid_system: bool) -> Rendered:
        out = self._out
        opening = next((number for number, turn in enumerate(turns) if turn.role != "system"), len(turns))
        for turn in turns[:opening]:
            self._fill(turn, out.system)
        for number, turn in enumerate(turns[opening:], opening):
            if turn.role == "system":
                _check_system(turns, number, mid_system)
            role: Literal["system", "user", "assistant"] = "user" if turn.role == "tool" else turn.role
            if not out.messages and role != "user":
                raise _unsupported(turn.place, "role", "a conversation with this model begins with a user message")
            begins = not out.messages or out.messages[-1].role != role
            content: list[wire.Block] = [] if begins else out.messages[-1].content
            before = len(content)
            self._fill(turn, content)
            if len(content) == before:
                self._empty(turn)
            elif begins:
                out.messages.append(wire.Message(role, content))
        if not out.messages:
            raise UnsupportedField("messages holds only system messages; this model needs one of a user", param="messages")
        return out

    def _empty(self, turn: Turn) -> None:
        if turn.role == "user":
            path = f"{turn.place}.content"
            raise InvalidRequest(f"{path} is empty; this model takes no empty user message", param=path)
        self._dropped["messages.content"] = None

    def _fill(self, turn: Turn, content: list[wire.Block]) -> None:
        """Put the blocks of a turn behind what is there already."""
        if turn.name:
            self._dropped["messages.name"] = None
        places = self._out.places.setdefault(turn.source, [])
        part = self._parts.get(turn.source, -1)  # several turns may come from one message of the client
        for block in turn.blocks:
            if isinstance(block, Thought):
                if (thought := self._thought(block.reasoning)) is not None:
                    content.append(wire.Block(reasoning_content=thought))
                continue
            part += 1
            made = self._block(block, turn, f"content[{part}]")
            if made is not None:
                content.append(made)
                places.append((part, (content, made)))
        self._parts[turn.source] = part

    def _block(self, block: Block, turn: Turn, part: str) -> wire.Block | None:
        if turn.role == "system" and not isinstance(block, Text):
            raise _unsupported(turn.place, "content", "a system message can only hold text")
        match block:
            case Text() | Refusal():
                if block.text.strip():
                    return wire.Block(text=block.text)
                if block.text:
                    self._dropped["messages.content"] = None
                return None
            case Image():
                return wire.Block(image=self._image(block, turn.place, part))
            case Document():
                return wire.Block(document=self._document(block, turn.place, part))
            case Call():
                return wire.Block(tool_use=wire.ToolUse(self._ids.of_call(block.call.id), block.call.name, _input(block, turn.place)))
            case Result():
                return wire.Block(tool_result=self._result(block, turn.place))
            case Audio():
                raise _unsupported(turn.place, "audio" if block.audio_id else part, "this model takes no audio")
            case Video():
                raise _unsupported(turn.place, part, "this model takes no video")
            case Thought():
                return None
            case _:
                assert_never(block)

    def _thought(self, reasoning: Reasoning) -> wire.Reasoning | None:
        """Reasoning that the model's maker can check; no other's ever validates."""
        made: wire.Reasoning | None = None
        if reasoning.format == OPAQUE_FORMAT and reasoning.redacted:
            made = wire.Reasoning(redacted_content=reasoning.redacted)
        elif self._family.claude and reasoning.format in ("", SIGNATURE_FORMAT):
            if reasoning.redacted:
                made = wire.Reasoning(redacted_content=base64.b64encode(reasoning.redacted.encode()).decode())
            elif reasoning.signature:
                made = wire.Reasoning(reasoning_text=wire.ReasoningText(reasoning.text, reasoning.signature))
        if made is None:
            self._dropped["messages.reasoning_details"] = None
        return made

    def _result(self, result: Result, message: str) -> wire.ToolResult:
        content: list[wire.ResultBlock] = []
        for place, piece in enumerate(result.content):
            part = f"content[{place}]"
            match piece:
                case Text():
                    content += [wire.ResultBlock(text=piece.text)] if piece.text else []
                case Image():
                    content.append(wire.ResultBlock(image=self._image(piece, message, part)))
                case Document():
                    content.append(wire.ResultBlock(document=self._document(piece, message, part)))
                case _:
                    assert_never(piece)
        if result.failed and not self._family.failures:
            self._dropped["messages.is_error"] = None
        status: Literal["error"] | None = "error" if result.failed and self._family.failures else None
        return wire.ToolResult(self._ids.of_result(result.call_id), content, status)

    def _image(self, image: Image, message: str, part: str) -> wire.Image:
        if image.detail not in (None, "auto"):
            self._dropped["messages.content.image_url.detail"] = None
        if image.data is None:
            raise _unsupported(message, f"{part}.image_url.url", "this provider fetches no URLs; send the image as a data URL")
        if image.media_type not in _IMAGES:
            why = f"this model takes no {image.media_type}, only {', '.join(_IMAGES.values())} images"
            raise _unsupported(message, f"{part}.image_url.url", why)
        return wire.Image(_IMAGES[image.media_type], wire.Source(image.data))

    def _document(self, document: Document, message: str, part: str) -> wire.Document:
        if document.text is not None:
            data, form = base64.b64encode(document.text.encode()).decode(), "txt"
        elif document.data is None:
            why = "a file that another provider keeps can not be read; send file_data"
            raise _unsupported(message, f"{part}.file.file_id", why if document.url is None else "this provider fetches no URLs; send file_data")
        elif document.media_type not in _DOCUMENTS:
            why = f"this model takes no {document.media_type}, only {', '.join(_DOCUMENTS.values())} files"
            raise _unsupported(message, f"{part}.file.file_data", why)
        else:
            data, form = document.data, _DOCUMENTS[document.media_type]
        return wire.Document(form, self._name(document.filename), wire.Source(data))

    def _name(self, filename: str | None) -> str:
        """A name as the service takes it: few characters, and none twice, however spelled. It depends on earlier documents only."""
        wanted = name = _NOT_IN_NAMES.sub(" ", _EXTENSION.sub("", filename or "")).strip()[:_LONGEST_NAME].strip() or "document"
        number = 1
        while name.lower() in self._names:
            number += 1
            name = f"{wanted} {number}"
        self._names.add(name.lower())
        return name


def _input(block: Call, message: str) -> msgspec.Raw:
    if block.call.custom:
        raise _unsupported(message, "tool_calls", f"the call {block.call.id[:80]!r} is one of a custom tool, which this model does not know")
    return tool_input(block.call, message)


def _check_system(turns: Sequence[Turn], number: int, mid_system: bool) -> None:
    """Claude takes such a message behind a user's and before the model's, or at the end, nowhere else."""
    message = turns[number].place
    if not mid_system:
        raise _unsupported(message, "role", "this model takes system messages only at the beginning of a conversation")
    follows = turns[number - 1].role in ("user", "tool")
    if not follows or (number + 1 < len(turns) and turns[number + 1].role != "assistant"):
        raise _unsupported(message, "role", "this model takes a later system message only after a user's and before its own")


def _unsupported(message: str, part: str, why: str) -> UnsupportedField:
    path = f"{message}.{part}"
    return UnsupportedField(f"{path}: {why}", param=path)
