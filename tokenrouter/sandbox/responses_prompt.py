"""From the items of a conversation to the prompt: tools and answer schema first, then instructions, then the items.

Ids of items leave no trace in it, and a thought counts with its hidden text, not with its summary.
"""

import msgspec

from tokenrouter.sandbox.chat_request import FILE_TOKENS, Mark, MessageEnd, Rendered, call_pieces
from tokenrouter.sandbox.prompt import END_OF_MESSAGE, Piece, fingerprint, header_piece, json_piece, media_piece, text_piece
from tokenrouter.sandbox.responses_reasoning import Sealer, Where, check_follower, removal, unverifiable, withheld
from tokenrouter.sandbox.responses_request import ResponsesRequest
from tokenrouter.sandbox.wire import JsonObject, JsonValue

_OPENING = ("developer", "system")
_PHASES = tuple(header_piece(f"phase\x00{phase}") for phase in ("commentary", "final_answer"))
_RESULTS = ("function_call_output", "custom_tool_call_output", "computer_call_output")


class Conversation(msgspec.Struct, frozen=True):
    """A rendered conversation. `prefix`: the fingerprint that thoughts to come are tied to; `removed`: thoughts that were withheld."""

    rendered: Rendered
    prefix: int
    removed: list[JsonValue]


def render(request: ResponsesRequest, items: tuple[JsonObject, ...], sealer: Sealer, where: Where) -> Conversation:
    """Write the prompt. Raises a 400 for thoughts that are damaged or stand alone."""
    writer = _Writer()
    writer.head(request)
    for index, item in enumerate(items):
        following = items[index + 1] if index + 1 < len(items) else None
        if item["type"] == "reasoning":
            sealed = sealer.open(item)
            check_follower(item, sealed, following)
            reason = withheld(sealed, where, index, writer.prefix())
            if reason is not None:
                writer.removed.append(removal(item, reason))
            else:
                writer.pieces.extend((header_piece("reasoning"), text_piece(sealed.text), END_OF_MESSAGE))
            continue
        if item["type"] == "compaction":
            raise unverifiable(str(item["encrypted_content"]))
        writer.item(item, following)
    return Conversation(Rendered(writer.pieces, tuple(writer.marks), tuple(writer.ends)), writer.prefix(), writer.removed)


class _Writer:
    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.said: list[Piece] = []
        self.marks: list[Mark] = []
        self.ends: list[MessageEnd] = []
        self.removed: list[JsonValue] = []
        self.opening = True

    def prefix(self) -> int:
        """Fingerprint of the items so far, thoughts and phases apart."""
        return fingerprint(b"", self.said)

    def head(self, request: ResponsesRequest) -> None:
        """What comes before the items. Instructions are a developer message."""
        if request.tools:
            self.pieces.append(header_piece("tools"))
            self.pieces.extend(json_piece(tool) for tool in request.tools)
        if request.format["type"] != "text":
            self.pieces.extend((header_piece("response_format"), json_piece(request.format)))
        instructions = request.fields.get("instructions")
        if isinstance(instructions, str):
            self.pieces.extend((header_piece("developer"), text_piece(instructions), END_OF_MESSAGE))
            first = request.items[0] if request.items else {}
            if first.get("role") not in _OPENING:
                self.ends.append(MessageEnd(len(self.pieces) - 1, opening=True))

    def item(self, item: JsonObject, following: JsonObject | None) -> None:
        """One item, and whether an implicit breakpoint may sit at its end."""
        start = len(self.pieces)
        role = item.get("role")
        if item["type"] == "message":
            self._message(item)
        else:
            self._other(item)
        self.pieces.append(END_OF_MESSAGE)
        self.said.extend(piece for piece in self.pieces[start:] if piece not in _PHASES)
        self.opening = self.opening and role in _OPENING
        after = following or {}
        last_of_opening = self.opening and after.get("role") not in _OPENING
        last_result = item["type"] in _RESULTS and after.get("type") not in _RESULTS
        if role == "user" or last_result or last_of_opening:
            self.ends.append(MessageEnd(len(self.pieces) - 1, self.opening))

    def _message(self, item: JsonObject) -> None:
        self.pieces.append(header_piece(str(item["role"])))
        self._content(item.get("content"))
        phase = item.get("phase")
        if isinstance(phase, str):
            self.pieces.append(header_piece(f"phase\x00{phase}"))

    def _other(self, item: JsonObject) -> None:
        kind = str(item["type"])
        if kind in ("function_call", "custom_tool_call"):
            written = str(item["arguments" if kind == "function_call" else "input"])
            self.pieces.extend(call_pieces(str(item["call_id"]), str(item["name"]), written))
        elif kind in _RESULTS:
            self.pieces.append(header_piece(f"result\x00{item.get('call_id')}"))
            self._content(item["output"])
        else:
            self.pieces.extend((header_piece(kind), json_piece({name: value for name, value in item.items() if name != "id"})))

    def _content(self, content: JsonValue) -> None:
        if isinstance(content, str):
            self.pieces.append(text_piece(content))
            return
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, dict):
                self.pieces.append(_part(part))
                mark = part.get("prompt_cache_breakpoint")
                if isinstance(mark, dict):
                    ttl = mark.get("ttl")
                    self.marks.append(Mark(len(self.pieces) - 1, ttl if isinstance(ttl, str) else None))


def _part(part: JsonObject) -> Piece:
    kind = str(part.get("type"))
    if kind in ("input_text", "output_text"):
        return text_piece(str(part["text"]))
    if kind == "refusal":
        return text_piece(str(part["refusal"]))
    seen = {name: value for name, value in part.items() if name != "prompt_cache_breakpoint"}
    return media_piece(kind, seen, FILE_TOKENS) if kind == "input_file" else media_piece(kind, seen)


def item_text(item: JsonObject) -> str:
    """The plain text of a message."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
