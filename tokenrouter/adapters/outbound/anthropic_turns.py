"""A conversation as Anthropic's `system` and `messages`, and where cache marks may sit in them.

A message of the client becomes one message, in the same order and with its blocks in the same order; only a run of tool messages
becomes one user message, since all results of a turn must come first in the next. What is rendered depends on nothing that comes
later, so a conversation that grows keeps the bytes of what was sent before.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from typing import Literal, assert_never

import msgspec

from tokenrouter.adapters.outbound.call_ids import CallIds
from tokenrouter.adapters.wire.anthropic import SIGNATURE_FORMAT
from tokenrouter.adapters.wire.anthropic_request import (
    Base64Source,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MarkableBlock,
    Message,
    PlainTextSource,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Refusal, Result, Text, Thought, Turn, Video

_IMAGE_TYPES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Rendered(msgspec.Struct):
    """The turns on the wire. `places`: per message of the client, its blocks that take a mark, each with the number of its content part."""

    system: list[TextBlock]
    messages: list[Message]
    places: dict[int, list[tuple[int, MarkableBlock]]]


def render_turns(turns: Sequence[Turn], *, mid_system: bool, dropped: dict[str, None]) -> Rendered:
    """Render all turns. `mid_system`: the model takes system messages behind the opening ones. `dropped` collects what was left out.

    Text that is empty, or blank outside of tool results and the system prompt, is left out: the vendor refuses it. An assistant or
    system message of which nothing remains is left out as a whole and reported; an empty user message is refused, since without it the
    conversation would end, or go on, in another role.
    """
    return _Renderer(dropped).render(turns, mid_system)


class _Renderer:
    """One conversation on its way to the wire."""

    def __init__(self, dropped: dict[str, None]) -> None:
        self._dropped = dropped
        self._ids = CallIds(_TOOL_ID, "toolu_")
        self._out = Rendered([], [], {})
        self._parts: dict[int, int] = {}

    def render(self, turns: Sequence[Turn], mid_system: bool) -> Rendered:
        out = self._out
        opening = next((number for number, turn in enumerate(turns) if turn.role != "system"), len(turns))
        for turn in turns[:opening]:
            out.system += _texts(self._blocks(turn, opening=True), turn)
        previous: Turn | None = None
        for number, turn in enumerate(turns[opening:], opening):
            blocks = self._blocks(turn)
            if turn.role == "tool":
                if previous is None or previous.role != "tool":
                    out.messages.append(Message("user", []))
                out.messages[-1].content += blocks
            else:
                if turn.role == "system":
                    _check_system(turns, number, mid_system)
                self._append(turn, turn.role, blocks)
            previous = turn
        if not out.messages:
            raise UnsupportedField("messages holds only system messages; this model needs one of a user", param="messages")
        return out

    def _append(self, turn: Turn, role: Literal["system", "user", "assistant"], blocks: list[ContentBlock]) -> None:
        if blocks:
            self._out.messages.append(Message(role, blocks))
        elif role == "user":
            path = f"{turn.place}.content"
            raise InvalidRequest(f"{path} is empty; this model takes no empty user message", param=path)
        else:
            self._dropped["messages.content"] = None

    def _blocks(self, turn: Turn, *, opening: bool = False) -> list[ContentBlock]:
        if turn.name:
            self._dropped["messages.name"] = None
        blocks: list[ContentBlock] = []
        places = self._out.places.setdefault(turn.source, [])
        part = self._parts.get(turn.source, -1)  # several turns may come from one message of the client
        for block in turn.blocks:
            if isinstance(block, Thought):
                if (thought := _thought(block.reasoning)) is not None:
                    blocks.append(thought)
                else:
                    self._dropped["messages.reasoning_details"] = None
                continue
            part += 1
            if isinstance(block, Text | Refusal) and block.text and not opening and not block.text.strip():
                self._dropped["messages.content"] = None
                continue
            made = self._block(block, turn.place, f"content[{part}]")
            if made is not None:
                blocks.append(made)
                places.append((part, made))
        self._parts[turn.source] = part
        return blocks

    def _block(self, block: Block, message: str, part: str) -> MarkableBlock | None:
        match block:
            case Text() | Refusal():
                return TextBlock(block.text) if block.text else None
            case Image():
                if block.detail not in (None, "auto"):
                    self._dropped["messages.content.image_url.detail"] = None
                return _image(block, message, part)
            case Document():
                return _document(block, message, part)
            case Call():
                return ToolUseBlock(self._ids.of_call(block.call.id), block.call.name, tool_input(block.call, message))
            case Result():
                inner = [self._block(piece, message, f"content[{place}]") for place, piece in enumerate(block.content)]
                content = [piece for piece in inner if isinstance(piece, TextBlock | ImageBlock | DocumentBlock)]
                return ToolResultBlock(self._ids.of_result(block.call_id), content or None, block.failed)
            case Audio():
                raise _unsupported(message, "audio" if block.audio_id else part, "this model takes no audio")
            case Video():
                raise _unsupported(message, part, "this model takes no video")
            case Thought():
                return None
            case _:
                assert_never(block)


def _check_system(turns: Sequence[Turn], number: int, mid_system: bool) -> None:
    """The vendor takes such a message behind a user's and before the model's, or at the end, nowhere else."""
    message = turns[number].place
    if not mid_system:
        raise _unsupported(message, "role", "this model takes system messages only at the beginning of a conversation")
    follows = turns[number - 1].role in ("user", "tool")
    if not follows or (number + 1 < len(turns) and turns[number + 1].role != "assistant"):
        raise _unsupported(message, "role", "this model takes a later system message only after a user's and before its own")


def _texts(blocks: list[ContentBlock], turn: Turn) -> list[TextBlock]:
    texts = [block for block in blocks if isinstance(block, TextBlock)]
    if len(texts) != len(blocks):
        raise _unsupported(turn.place, "content", "a system message can only hold text")
    return texts


def _thought(reasoning: Reasoning) -> ThinkingBlock | RedactedThinkingBlock | None:
    """Reasoning that this vendor can check; no other vendor's ever validates."""
    if reasoning.format not in ("", SIGNATURE_FORMAT):
        return None
    if reasoning.redacted:
        return RedactedThinkingBlock(reasoning.redacted)
    return ThinkingBlock(reasoning.text, reasoning.signature) if reasoning.signature else None


def _image(image: Image, message: str, part: str) -> ImageBlock:
    if image.data is not None:
        if image.media_type not in _IMAGE_TYPES:
            raise _unsupported(message, f"{part}.image_url.url", f"this model takes no {image.media_type}, only jpeg, png, gif and webp images")
        return ImageBlock(Base64Source(image.media_type or "", image.data))
    if image.url is None or not image.url.lower().startswith(("https://", "http://")):
        raise _unsupported(message, f"{part}.image_url.url", "an image must be a data, http or https URL")
    return ImageBlock(UrlSource(image.url))


def _document(document: Document, message: str, part: str) -> DocumentBlock:
    if document.url is not None:
        return DocumentBlock(UrlSource(document.url), document.filename or None)
    if document.text is not None:
        return DocumentBlock(PlainTextSource("text/plain", document.text), document.filename or None)
    if document.file_id is not None or document.data is None:
        raise _unsupported(message, f"{part}.file.file_id", "a file that another provider keeps can not be read; send file_data")
    title = document.filename or None
    if document.media_type == "application/pdf":
        return DocumentBlock(Base64Source(document.media_type, document.data), title)
    if document.media_type == "text/plain":
        try:
            decoded = base64.b64decode(document.data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            path = f"{message}.{part}.file.file_data"
            raise InvalidRequest(f"{path} is not the base64 of UTF-8 text", param=path) from error
        return DocumentBlock(PlainTextSource(document.media_type, decoded), title)
    raise _unsupported(message, f"{part}.file.file_data", f"this model takes no {document.media_type}, only PDF and plain text")


def tool_input(call: ToolCall, message: str) -> msgspec.Raw:
    """The arguments in their own spelling, which is prompt text: re-serializing would change what the model reads and break its prompt cache."""
    if not call.arguments.strip():
        return msgspec.Raw(b"{}")
    try:
        msgspec.json.decode(call.arguments, type=dict)
        json.loads(call.arguments, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        path = f"{message}.tool_calls"
        why = "has a key twice" if isinstance(error, _DuplicateKey) else "is not a JSON object"
        raise InvalidRequest(f"{path}: the arguments of call {call.id[:80]!r} ({call.name[:64]}): the text {why}", param=path) from error
    return msgspec.Raw(call.arguments.encode())


class _DuplicateKey(ValueError):
    """Parsers disagree on which of two equal keys counts."""


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateKey
    return members


def _unsupported(message: str, part: str, why: str) -> UnsupportedField:
    path = f"{message}.{part}"
    return UnsupportedField(f"{path}: {why}", param=path)
