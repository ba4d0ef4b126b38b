"""Rendering a Messages request: tools, then system, then messages, with the parameters that each level of the cache depends on.

Which change breaks which level follows the table of https://platform.claude.com/docs/en/build-with-claude/prompt-caching
("What invalidates the cache"): the output format breaks everything, web search, citations and speed break system and messages, and
tool choice, images, thinking and effort break messages. Where that table says "model specific" the mildest reading is taken.
"""

import msgspec

from tokenrouter.sandbox.anthropic_citations import citing
from tokenrouter.sandbox.anthropic_models import Model
from tokenrouter.sandbox.anthropic_request import MessagesRequest, mark_ttl
from tokenrouter.sandbox.anthropic_thinking import Dropped
from tokenrouter.sandbox.anthropic_turns import THINKING, Block
from tokenrouter.sandbox.prompt import Piece, chain, header_piece, json_piece, media_piece, text_piece
from tokenrouter.sandbox.prompt_cache.marks import Block as CacheBlock
from tokenrouter.sandbox.wire import JsonObject, JsonValue, encode

DOCUMENT_TOKENS = 2048


class Place(msgspec.Struct, frozen=True):
    """The end of a block in the prompt, and its mark."""

    piece: int
    path: str
    ttl: str | None


class Rendered(msgspec.Struct, frozen=True):
    """A prompt with the ends of its blocks."""

    pieces: list[Piece]
    places: list[Place]
    markable_last: bool

    @property
    def marks(self) -> list[tuple[str, str]]:
        """Explicit marks in prompt order."""
        return [(place.path, place.ttl) for place in self.places if place.ttl is not None]


def _parameters(*values: object) -> Piece:
    """Parameters that are no text of the prompt, but change it."""
    return Piece(b"\xfe" + encode(values), 0, atomic=True)


def render(request: MessagesRequest, blocks: list[Block], model: Model, dropped: list[Dropped]) -> Rendered:
    """The prompt as the model reads it."""
    fields = request.fields
    pieces: list[Piece] = [_parameters("output_format", request.schema)]
    places: list[Place] = []
    tools = [tool for tool in request.tools if tool.get("defer_loading") is not True]
    if tools:
        pieces.append(header_piece("tools"))
    for index, tool in enumerate(tools):
        pieces.append(json_piece({key: value for key, value in tool.items() if key != "cache_control"}))
        places.append(Place(len(pieces) - 1, f"tools.{index}", mark_ttl(tool, f"tools.{index}.cache_control")))
    searches = any(str(tool.get("type", "")).startswith("web_search") for tool in request.tools)
    cites = any(citing(block.value) for block in blocks)
    pieces.append(_parameters("system", fields.get("speed") or "standard", searches, cites))
    if request.system:
        pieces.append(header_piece("system"))
    for index, block in enumerate(request.system):
        pieces.append(text_piece(str(block["text"])))
        places.append(Place(len(pieces) - 1, f"system.{index}", mark_ttl(block, f"system.{index}.cache_control")))
    images = any(_has_image(block.value) for block in blocks)
    pieces.append(_parameters("messages", request.choice, request.parallel, _thinking_key(request), request.effort, images))
    shown = _shown(blocks, model, {drop.path for drop in dropped})
    _render_blocks(shown, pieces, places)
    markable = not shown or shown[-1].kind not in THINKING
    return Rendered(pieces, places, markable)


def _thinking_key(request: MessagesRequest) -> JsonValue:
    value = request.fields.get("thinking")
    if isinstance(value, dict) and value.get("type") == "enabled":
        return ["enabled", value.get("budget_tokens")]
    return request.thinking.kind


def _shown(blocks: list[Block], model: Model, dropped: set[str]) -> list[Block]:
    """Without what was dropped, and on older models without the thinking of turns before the last question."""
    last_question = max((block.turn for block in blocks if block.role == "user" and block.kind != "tool_result"), default=-1)
    return [
        block
        for block in blocks
        if block.kind not in THINKING or (block.path not in dropped and (model.keeps_thinking or block.turn > last_question))
    ]


def _render_blocks(blocks: list[Block], pieces: list[Piece], places: list[Place]) -> None:
    turn = -1
    for block in blocks:
        if block.turn != turn:
            turn = block.turn
            pieces.append(header_piece(block.role))
        _render_block(block, pieces, places)
        places.append(Place(len(pieces) - 1, block.path, block.ttl))


def _render_block(block: Block, pieces: list[Piece], places: list[Place]) -> None:
    value = block.value
    match block.kind:
        case "text":
            pieces.append(text_piece(str(value["text"])))
        case "thinking":
            pieces.extend((header_piece("thinking"), text_piece(str(value["thinking"]))))
        case "tool_use":
            pieces.append(header_piece(f"tool_use\x00{value['id']}\x00{value['name']}"))
            pieces.append(json_piece(value["input"]))
        case "tool_result":
            pieces.append(header_piece(f"tool_result\x00{value['tool_use_id']}\x00{value.get('is_error') is True}"))
            _render_result(value.get("content"), block.path, pieces, places)
        case "image":
            pieces.append(media_piece("image", value["source"]))
        case "document":
            pieces.append(_document(value))
        case kind:
            pieces.append(json_piece({"type": kind, **{key: inner for key, inner in value.items() if key not in ("type", "cache_control")}}))


def _render_result(content: JsonValue, path: str, pieces: list[Piece], places: list[Place]) -> None:
    if isinstance(content, str):
        pieces.append(text_piece(content))
        return
    for index, inner in enumerate(content if isinstance(content, list) else []):
        if not isinstance(inner, dict):
            continue
        if inner.get("type") == "text":
            pieces.append(text_piece(str(inner["text"])))
        elif inner.get("type") == "image":
            pieces.append(media_piece("image", inner.get("source")))
        else:
            pieces.append(_document(inner))
        ttl = mark_ttl(inner, path)
        if ttl is not None:
            places.append(Place(len(pieces) - 1, f"{path}.content.{index}", ttl))


def _document(value: JsonObject) -> Piece:
    source = value.get("source")
    if isinstance(source, dict) and source.get("type") == "text":
        return json_piece({key: inner for key, inner in value.items() if key != "cache_control"})
    return media_piece(str(value.get("type")), {key: inner for key, inner in value.items() if key != "cache_control"}, DOCUMENT_TOKENS)


def _has_image(value: JsonObject) -> bool:
    if value.get("type") == "image":
        return True
    content = value.get("content")
    return isinstance(content, list) and any(isinstance(inner, dict) and inner.get("type") == "image" for inner in content)


def cache_blocks(rendered: Rendered, scope: bytes, automatic_ttl: str | None) -> tuple[tuple[CacheBlock, ...], int]:
    """Block ends with fingerprints and marks, the automatic one included, and the tokens of the whole prompt."""
    fingerprints = chain(scope, rendered.pieces)
    blocks = [CacheBlock(fingerprints.ends[place.piece], place.ttl) for place in rendered.places]
    if automatic_ttl is not None:
        last = next((index for index in range(len(blocks) - 1, -1, -1) if index < len(blocks) - 1 or rendered.markable_last), None)
        if last is not None:
            blocks[last] = CacheBlock(blocks[last].point, blocks[last].ttl or automatic_ttl)
    return tuple(blocks), fingerprints.total


def conversation_before(request: MessagesRequest, blocks: list[Block]) -> list[bytes]:
    """For each block, and for what comes after the last: a fingerprint of system, tools and all earlier blocks but thinking."""
    head = [
        json_piece({key: value for key, value in tool.items() if key != "cache_control"})
        for tool in request.tools
        if tool.get("defer_loading") is not True
    ]
    pieces: list[Piece] = [header_piece("tools"), *head, header_piece("system"), *(text_piece(str(block["text"])) for block in request.system)]
    before: list[int] = []
    turn = -1
    for block in blocks:
        before.append(len(pieces) - 1)
        if block.kind in THINKING:
            continue
        if block.turn != turn:
            turn = block.turn
            pieces.append(header_piece(block.role))
        _render_block(block, pieces, [])
    before.append(len(pieces) - 1)
    ends = chain(b"binding", pieces).ends
    return [ends[index].digest for index in before]
