"""A conversation as the items of OpenAI's Responses, and where cache marks may sit in them.

Every block becomes an item, or a part of one, in the client's order: reasoning, words and calls of a turn stay as the model made them.
What is sent for a turn depends on nothing that comes later, so a conversation that grows keeps the bytes of what was sent before.
Three things are approximated: a text document becomes a text part, its file name in front; a result that failed begins with "Error: ",
unless its text says so already; ids that are too long become a hash.
"""

import base64
import binascii
import mimetypes
import re
from collections.abc import Sequence

import msgspec

from tokenrouter.adapters.outbound.call_ids import CallIds
from tokenrouter.adapters.wire.openai_responses import REASONING_FORMAT
from tokenrouter.adapters.wire.openai_responses_request import (
    Answering,
    Asking,
    CustomCall,
    CustomOutput,
    FunctionCall,
    FunctionOutput,
    InputFile,
    InputImage,
    InputPart,
    InputText,
    Item,
    OutputRefusal,
    OutputText,
    SummaryText,
    Thinking,
)
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Refusal, Result, Text, Thought, Turn

_CALL_ID = re.compile(r"[\s\S]{1,64}")
_SAYS_ERROR = re.compile(r"\W*(\w*_)?error", re.IGNORECASE)
_ERROR = "Error: "


class Rendered(msgspec.Struct):
    """The items. `places`: per message of the client, its parts that take a mark, each with the number of its content part."""

    items: list[Item]
    places: dict[int, list[tuple[int, InputPart]]]


def render_items(turns: Sequence[Turn], *, parts: bool, dropped: dict[str, None]) -> Rendered:
    """Render all turns. `parts`: a result of one text goes out as a part, so that a mark may sit in it now or later.

    `dropped` collects what was left out. Raises UnsupportedField, InvalidRequest.
    """
    renderer = _Renderer(parts, dropped)
    for turn in turns:
        renderer.add(turn)
    return renderer.out


class _Renderer:
    """One conversation on its way to the wire."""

    def __init__(self, parts: bool, dropped: dict[str, None]) -> None:
        self._parts, self._dropped = parts, dropped
        self._ids = CallIds(_CALL_ID, "call_")
        self._custom: set[str] = set()
        self._counted: dict[int, int] = {}
        self.out = Rendered([], {})

    def add(self, turn: Turn) -> None:
        """One more turn. Several turns may be of one message: their parts are counted on."""
        if turn.name:
            self._dropped["messages.name"] = None
        message: Asking | Answering | None = None
        number = self._counted.get(turn.source, 0)
        for block in turn.blocks:
            if isinstance(block, Thought):
                message = None if self._thought(block.reasoning) else message
                continue
            if isinstance(block, Call | Result):
                message = None
                self._exchange(block, turn, number)
            elif turn.role == "assistant":
                message = self._said(block, turn, message, number)
            else:
                message = self._asked(block, turn, message, number)
            number += 1
        self._counted[turn.source] = number
        if not turn.blocks and turn.role == "user":
            path = f"{turn.place}.content"
            raise InvalidRequest(f"{path} is empty; this model takes no empty user message", param=path)

    def _thought(self, reasoning: Reasoning) -> bool:
        """Reasoning that this vendor can check; no other vendor's ever validates."""
        if reasoning.format != REASONING_FORMAT or not reasoning.redacted:
            self._dropped["messages.reasoning"] = None
            return False
        summary = [SummaryText(reasoning.text)] if reasoning.text else []
        self.out.items.append(Thinking(summary, reasoning.redacted, reasoning.id or None))
        return True

    def _said(self, block: Block, turn: Turn, message: Asking | Answering | None, number: int) -> Answering | None:
        if not isinstance(block, Text | Refusal):
            where = "audio" if isinstance(block, Audio) else f"content[{number}]"
            raise _unsupported(turn.place, where, "the model's own turns can hold text and calls here")
        if not block.text:
            return message if isinstance(message, Answering) else None
        if not isinstance(message, Answering):
            message = Answering("assistant", [])
            self.out.items.append(message)
        message.content.append(OutputText(block.text) if isinstance(block, Text) else OutputRefusal(block.text))
        return message

    def _asked(self, block: Block, turn: Turn, message: Asking | Answering | None, number: int) -> Asking:
        if not isinstance(message, Asking):
            message = Asking("system" if turn.role == "system" else "user", [])
            self.out.items.append(message)
        part = _part(block, turn.place, f"content[{number}]")
        message.content.append(part)
        self._place(turn, number, part)
        return message

    def _exchange(self, block: Call | Result, turn: Turn, number: int) -> None:
        if isinstance(block, Call):
            call = block.call
            call_id = self._ids.of_call(call.id)
            if call.custom:
                self._custom.add(call_id)
                self.out.items.append(CustomCall(call_id, call.name, call.arguments))
            else:
                self.out.items.append(FunctionCall(call_id, call.name, call.arguments))
            return
        call_id = self._ids.of_result(block.call_id)
        content = [_part(piece, turn.place, f"content[{inner}]") for inner, piece in enumerate(block.content)]
        if block.failed:
            _say_failed(content)
        output = self._output(content)
        if isinstance(output, list):
            self._place(turn, number, output[-1])
        self.out.items.append(CustomOutput(call_id, output) if call_id in self._custom else FunctionOutput(call_id, output))

    def _output(self, content: list[InputPart]) -> str | list[InputPart]:
        """A string where the content is one text at most and no mark can ever sit in it."""
        first = content[0] if content else InputText("")
        if len(content) < 2 and isinstance(first, InputText) and not (self._parts and first.text):
            return first.text
        return content

    def _place(self, turn: Turn, number: int, part: InputPart) -> None:
        """A mark may sit on this part; never on an empty text."""
        if not isinstance(part, InputText) or part.text:
            self.out.places.setdefault(turn.source, []).append((number, part))


def _part(block: Block, message: str, part: str) -> InputPart:
    match block:
        case Text() | Refusal():
            return InputText(block.text)
        case Image():
            return _image(block, message, part)
        case Document():
            return _document(block, message, part)
        case Audio():
            raise _unsupported(message, part, "this provider's Responses take no audio")
        case _:
            raise _unsupported(message, part, "this can not be carried to this model")


def _image(image: Image, message: str, part: str) -> InputImage:
    detail = image.detail or "auto"
    if image.data is not None:
        return InputImage(f"data:{image.media_type};base64,{image.data}", detail)
    if image.url is None or not image.url.lower().startswith(("https://", "http://")):
        raise _unsupported(message, f"{part}.image_url.url", "an image must be a data, http or https URL")
    return InputImage(image.url, detail)


def _document(document: Document, message: str, part: str) -> InputPart:
    text, name = document.text, document.filename
    if text is None and document.data is not None and (document.media_type or "").startswith("text/"):
        text = _decoded(document.data, f"{message}.{part}.file.file_data")
    if text is not None:
        return InputText(f"{name}\n\n{text}" if name else text)
    if document.url is not None:
        return InputFile(name, file_url=document.url)
    if document.data is None:
        raise _unsupported(message, f"{part}.file.file_id", "a file that another provider keeps can not be read; send the file itself")
    media_type = document.media_type or "application/octet-stream"
    named = name or "document" + (mimetypes.guess_extension(media_type) or "")
    return InputFile(named, f"data:{media_type};base64,{document.data}")


def _decoded(data: str, path: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} is not the base64 of UTF-8 text", param=path) from error


def _say_failed(content: list[InputPart]) -> None:
    """There is no flag for it on the wire: the text has to say so."""
    if not content or not isinstance(content[0], InputText):
        content.insert(0, InputText(_ERROR.strip(": ")))
    elif not _SAYS_ERROR.match(content[0].text):
        content[0].text = _ERROR + content[0].text


def _unsupported(message: str, part: str, why: str) -> UnsupportedField:
    path = f"{message}.{part}"
    return UnsupportedField(f"{path}: {why}", param=path)
