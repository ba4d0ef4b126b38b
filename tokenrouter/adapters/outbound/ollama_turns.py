"""A conversation as Ollama's messages. Calls have no ids there, so results stand in the order of their calls.

What is rendered depends on nothing that comes later, so a conversation that grows keeps the bytes of what was sent before.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final, assert_never

from tokenrouter.adapters.outbound.anthropic_turns import tool_input
from tokenrouter.adapters.wire.ollama_request import CalledFunction, CalledTool, Message
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Refusal, Result, Text, Thought, Turn, Video

_ERROR: Final = "Error: "


def render_turns(turns: Sequence[Turn], dropped: dict[str, None]) -> list[Message]:
    """All turns. `dropped` collects what was left out.

    Raises:
        UnsupportedField: what no model of Ollama's reads: files, sound, moving pictures, and pictures that it would have to fetch.
    """
    return _Renderer(dropped).render(turns)


class _Renderer:
    def __init__(self, dropped: dict[str, None]) -> None:
        self._dropped = dropped
        self._called: dict[str, tuple[int, str]] = {}
        """Per call id: its place among all calls, and the tool."""
        self._results: list[tuple[int, Message]] = []
        """Results that follow each other, each with the place of its call."""
        self._out: list[Message] = []

    def render(self, turns: Sequence[Turn]) -> list[Message]:
        for turn in turns:
            if turn.name:
                self._dropped["messages.name"] = None
            self._turn(turn)
        self._flush()
        return self._out

    def _turn(self, turn: Turn) -> None:
        message = Message(turn.role, "")
        texts: list[str] = []
        part = -1
        for block in turn.blocks:
            part += not isinstance(block, Thought)
            if isinstance(block, Result):
                self._results.append(self._result(block, turn))
            else:
                self._block(block, message, texts, turn, part)
        if turn.role == "tool" or (not texts and not message.images and not message.tool_calls and not message.thinking and turn.blocks):
            return  # nothing but results, or nothing that can be said
        self._flush()
        message.content = ("" if turn.role == "assistant" else "\n").join(texts)
        self._out.append(message)

    def _block(self, block: Block, message: Message, texts: list[str], turn: Turn, part: int) -> None:
        match block:
            case Text() | Refusal():
                texts.append(block.text)
            case Image():
                message.images.append(self._image(block, turn, f"content[{part}]"))
            case Document():
                texts.append(_document(block, turn, f"content[{part}]"))
            case Call():
                if block.call.custom:
                    raise _unsupported(turn, "tool_calls", "this provider takes calls of functions only")
                self._called[block.call.id] = (len(self._called), block.call.name)
                message.tool_calls.append(CalledTool(CalledFunction(block.call.name, tool_input(block.call, turn.place))))
            case Thought():
                if block.reasoning.signature or block.reasoning.redacted:
                    self._dropped["messages.reasoning_details"] = None
                else:
                    message.thinking += block.reasoning.text
            case Audio():
                raise _unsupported(turn, f"content[{part}]", "this provider takes no audio")
            case Video():
                raise _unsupported(turn, f"content[{part}]", "this provider takes no video")
            case Result():
                pass  # a message of its own
            case _:
                assert_never(block)

    def _result(self, result: Result, turn: Turn) -> tuple[int, Message]:
        place, tool = self._called.get(result.call_id, (len(self._called), result.name))
        message = Message("tool", "", tool_name=tool)
        texts: list[str] = []
        for number, block in enumerate(result.content):
            self._block(block, message, texts, turn, number)
        message.content = "\n".join(texts)
        if result.failed and not re.match(r"\W*(\w*_)?error", message.content, re.IGNORECASE):
            message.content = (_ERROR + message.content).rstrip(": ")  # there is no flag for it, so the text has to say it
        return place, message

    def _flush(self) -> None:
        """Results of one turn, in the order of their calls: nothing else tells two results of the same tool apart."""
        self._out += [message for _, message in sorted(self._results, key=lambda numbered: numbered[0])]
        self._results = []

    def _image(self, image: Image, turn: Turn, part: str) -> str:
        if image.detail not in (None, "auto"):
            self._dropped["messages.content.image_url.detail"] = None
        if image.data is None:
            raise _unsupported(turn, f"{part}.image_url.url", "this provider fetches no pictures; send them as a data URL")
        return image.data


def _document(document: Document, turn: Turn, part: str) -> str:
    """A plain-text file as text, its name in front."""
    text = document.text
    if text is None and document.data is not None and (document.media_type or "").startswith("text/"):
        text = _decoded(document.data, f"{turn.place}.{part}.file.file_data")
    if text is None:
        raise _unsupported(turn, part, "this provider takes no files, only text and pictures")
    return f"{document.filename}\n\n{text}" if document.filename else text


def _decoded(data: str, path: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} is not the base64 of UTF-8 text", param=path) from error


def _unsupported(turn: Turn, part: str, why: str) -> UnsupportedField:
    path = f"{turn.place}.{part}"
    return UnsupportedField(f"{path}: {why}", param=path)
