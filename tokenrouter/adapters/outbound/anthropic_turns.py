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
from hashlib import blake2b
from typing import assert_never

import msgspec

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
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Refusal, Result, Text, Thought, Turn

_IMAGE_TYPES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Rendered(msgspec.Struct):
    """The turns on the wire. `places`: per message of the client, its blocks that take a mark, each with the number of its content part."""

    system: list[TextBlock]
    messages: list[Message]
    places: dict[int, list[tuple[int, MarkableBlock]]]


def render_turns(turns: Sequence[Turn], *, mid_system: bool, dropped: dict[str, None]) -> Rendered:
    """Render all turns. `mid_system`: the model takes system messages behind the opening ones. `dropped` collects what was left out.

    Empty text is left out, as the vendor refuses it. An assistant or system message of which nothing remains is left out as a whole and
    reported; an empty user message is refused, since without it the conversation would end, or go on, in another role.
    """
    opening = next((number for number, turn in enumerate(turns) if turn.role != "system"), len(turns))
    rendered = Rendered([], [], {})
    for turn in turns[:opening]:
        rendered.system += _texts(_render(turn, rendered, dropped), turn)
    run: Message | None = None
    for turn in turns[opening:]:
        blocks = _render(turn, rendered, dropped)
        if turn.role == "tool":
            if run is None:
                run = Message("user", [])
                rendered.messages.append(run)
            run.content += blocks
            continue
        run = None
        if turn.role == "system" and not mid_system:
            raise _unsupported(f"messages[{turn.source}]", "role", "this model takes system messages only at the beginning of a conversation")
        if blocks:
            rendered.messages.append(Message(turn.role, blocks))
        elif turn.role == "user":
            path = f"messages[{turn.source}].content"
            raise InvalidRequest(f"{path} is empty; this model takes no empty user message", param=path)
        else:
            dropped["messages.content"] = None
    if not rendered.messages:
        raise UnsupportedField("messages holds only system messages; this model needs one of a user", param="messages")
    return rendered


def _texts(blocks: list[ContentBlock], turn: Turn) -> list[TextBlock]:
    texts = [block for block in blocks if isinstance(block, TextBlock)]
    if len(texts) != len(blocks):
        raise _unsupported(f"messages[{turn.source}]", "content", "a system message can only hold text")
    return texts


def _render(turn: Turn, rendered: Rendered, dropped: dict[str, None]) -> list[ContentBlock]:
    if turn.name:
        dropped["messages.name"] = None
    blocks: list[ContentBlock] = []
    places = rendered.places.setdefault(turn.source, [])
    part = -1
    for block in turn.blocks:
        if isinstance(block, Thought):
            if (thought := _thought(block.reasoning)) is not None:
                blocks.append(thought)
            else:
                dropped["messages.reasoning_details"] = None
            continue
        part += 1
        made = _block(block, f"messages[{turn.source}]", f"content[{part}]", dropped)
        if made is not None:
            blocks.append(made)
            places.append((part, made))
    return blocks


def _thought(reasoning: Reasoning) -> ThinkingBlock | RedactedThinkingBlock | None:
    """Reasoning that this vendor can check; no other vendor's ever validates."""
    if reasoning.format not in ("", SIGNATURE_FORMAT):
        return None
    if reasoning.redacted:
        return RedactedThinkingBlock(reasoning.redacted)
    return ThinkingBlock(reasoning.text, reasoning.signature) if reasoning.signature else None


def _block(block: Block, message: str, part: str, dropped: dict[str, None]) -> MarkableBlock | None:
    match block:
        case Text() | Refusal():
            return TextBlock(block.text) if block.text else None
        case Image():
            return _image(block, message, part, dropped)
        case Document():
            return _document(block, message, part)
        case Call():
            return ToolUseBlock(tool_id(block.call.id), block.call.name, tool_input(block.call, message))
        case Result():
            inner = [_block(piece, message, f"content[{place}]", dropped) for place, piece in enumerate(block.content)]
            content = [piece for piece in inner if isinstance(piece, TextBlock | ImageBlock | DocumentBlock)]
            return ToolResultBlock(tool_id(block.call_id), content or None)
        case Audio():
            where = "audio" if block.audio_id else part
            raise _unsupported(message, where, "this model takes no audio")
        case Thought():
            return None
        case _:
            assert_never(block)


def _image(image: Image, message: str, part: str, dropped: dict[str, None]) -> ImageBlock:
    if image.detail not in (None, "auto"):
        dropped["messages.content.image_url.detail"] = None
    if image.data is not None:
        if image.media_type not in _IMAGE_TYPES:
            raise _unsupported(message, f"{part}.image_url.url", f"this model takes no {image.media_type}, only jpeg, png, gif and webp images")
        return ImageBlock(Base64Source(image.media_type or "", image.data))
    if image.url is None or not image.url.lower().startswith(("https://", "http://")):
        raise _unsupported(message, f"{part}.image_url.url", "an image must be a data, http or https URL")
    return ImageBlock(UrlSource(image.url))


def _document(document: Document, message: str, part: str) -> DocumentBlock:
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


def tool_id(call_id: str) -> str:
    """The id as it is where the vendor takes it; otherwise one made of its hash, so that call and result still agree, turn after turn."""
    if _TOOL_ID.fullmatch(call_id):
        return call_id
    return "toolu_" + blake2b(call_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


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
