"""A conversation as `systemInstruction` and `contents`.

A message of the client becomes one content, in the same order and with its parts in the same order; only a run of tool messages becomes
one content, since all results of a turn must come back together. What is rendered depends on nothing that comes later, so a
conversation that grows keeps the bytes of what was sent before. Approximated, and reported:

    later system messages   the API has no place for them: their text goes out as a user's, where it stood, because moving it into
                            the system instruction would change the beginning of the prompt
    media in results        models that take text alone there get them as parts right behind the result, in the same content
Signatures go back to the part that they came with. Where a turn has calls and the first of them has no signature of this vendor's,
models that check signatures get the documented word for "not signed here".
Source: https://ai.google.dev/gemini-api/docs/thought-signatures, .../function-calling, .../image-understanding; google-genai 3.4 `types.py`.
"""

import json
from collections.abc import Sequence
from typing import assert_never

import msgspec

from tokenrouter.adapters.wire.gemini import SIGNATURE_FORMAT, SKIP_SIGNATURE
from tokenrouter.adapters.wire.gemini_request import Blob, Content, FileData, FunctionCall, FunctionResponse, Part, ResponsePart
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import ToolCall
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Refusal, Result, Text, Thought, Turn, Video

_HIDDEN = "__thought__"
"""Some proxies put a signature behind a call's id, so that clients of the Chat dialect bring it back."""

_AUDIO_TYPES = {"mp3": "audio/mp3", "wav": "audio/wav"}
_RESULT_TYPES = ("image/", "application/pdf", "text/plain")


class Rendered(msgspec.Struct):
    """The turns on the wire."""

    system: list[Part]
    contents: list[Content]


def render_turns(turns: Sequence[Turn], *, signs: bool, dropped: dict[str, None]) -> Rendered:
    """Render all turns. `signs`: the model checks signatures of calls, and takes media in results. `dropped` collects what was left out.

    Raises UnsupportedField, InvalidRequest.
    """
    return _Renderer(signs, dropped).render(turns)


def real_id(call_id: str) -> tuple[str, str]:
    """A call's id, and the signature that was hidden in it."""
    own, _, signature = call_id.partition(_HIDDEN)
    return own, signature


class _Renderer:
    """One conversation on its way to the wire."""

    def __init__(self, signs: bool, dropped: dict[str, None]) -> None:
        self._signs, self._dropped = signs, dropped
        self._names: dict[str, str] = {}
        self._beside: list[Part] = []
        """Media of the result that is being rendered, where the model takes none in it."""
        self._out = Rendered([], [])

    def render(self, turns: Sequence[Turn]) -> Rendered:
        out = self._out
        opening = next((number for number, turn in enumerate(turns) if turn.role != "system"), len(turns))
        for turn in turns[:opening]:
            out.system += self._system(turn)
        answering = False
        for turn in turns[opening:]:
            if turn.name:
                self._dropped["messages.name"] = None
            if turn.role == "assistant":
                self._append(Content(self._model(turn), "model"), turn)
            elif turn.role == "system":
                self._dropped["messages.role"] = None
                self._append(Content(self._system(turn), "user"), turn)
            elif answering and turn.role == "tool":
                out.contents[-1].parts += self._user(turn)
            else:
                self._append(Content(self._user(turn), "user"), turn)
            answering = turn.role == "tool"
        if not out.contents:
            raise UnsupportedField("messages holds only system messages; this model needs one of a user", param="messages")
        return out

    def _append(self, content: Content, turn: Turn) -> None:
        if content.parts:
            self._out.contents.append(content)
        elif turn.role == "user":
            path = f"{turn.place}.content"
            raise InvalidRequest(f"{path} is empty; this model takes no empty user message", param=path)
        else:
            self._dropped["messages.content"] = None

    def _system(self, turn: Turn) -> list[Part]:
        parts: list[Part] = []
        for block in turn.blocks:
            if not isinstance(block, Text):
                raise _unsupported(turn.place, "content", "a system message can only hold text")
            if block.text:
                parts.append(Part(text=block.text))
        return parts

    def _user(self, turn: Turn) -> list[Part]:
        parts: list[Part] = []
        number = -1
        for block in turn.blocks:
            if isinstance(block, Thought):
                self._dropped["messages.reasoning"] = None
                continue
            number += 1
            part = self._part(block, turn, f"content[{number}]")
            if part is not None:
                parts += [part, *self._beside]
                self._beside = []
        return parts

    def _model(self, turn: Turn) -> list[Part]:
        signatures = _Signatures(turn, self._dropped)
        parts: list[Part] = []
        called = False
        number = -1
        for place, block in enumerate(turn.blocks):
            if isinstance(block, Thought):
                if signatures.alone(place):
                    parts.append(Part(text="", thought_signature=block.reasoning.signature))
                continue
            number += 1
            signature = signatures.of(place)
            part = self._part(block, turn, f"content[{number}]")
            if isinstance(block, Call):
                signature = signature or (SKIP_SIGNATURE if self._signs and not called else None)
                called = True
            if part is None and signature is not None:
                part = Part(text="")
            if part is not None:
                part.thought_signature = signature
                parts.append(part)
        return parts

    def _part(self, block: Block, turn: Turn, place: str) -> Part | None:
        message = turn.place
        match block:
            case Text() | Refusal():
                return Part(text=block.text) if block.text else None
            case Call():
                return self._call(block.call, turn)
            case Result():
                return Part(function_response=self._result(block, turn))
            case Image():
                if block.detail not in (None, "auto"):
                    self._dropped["messages.content.image_url.detail"] = None
                return _media(block.data, block.media_type, block.url, "image_url.url", message, place)
            case Document():
                return _document(block, message, place)
            case Audio():
                if block.data is None:
                    raise _unsupported(message, "audio", "audio that another provider keeps can not be heard")
                return Part(inline_data=Blob(_AUDIO_TYPES.get(block.format or "", f"audio/{block.format}"), block.data))
            case Video():
                return _media(block.data, block.media_type, block.url, "video", message, place)
            case Thought():
                return None
            case _:
                assert_never(block)

    def _call(self, call: ToolCall, turn: Turn) -> Part:
        if turn.role != "assistant":
            raise _unsupported(turn.place, "tool_calls", "only the model's own messages can hold a call")
        if call.custom:
            raise _unsupported(turn.place, "tool_calls", "this model knows no calls with free text")
        own, _ = real_id(call.id)
        self._names[own] = call.name
        return Part(function_call=FunctionCall(call.name, _arguments(call, turn.place), own or None))

    def _result(self, result: Result, turn: Turn) -> FunctionResponse:
        own, _ = real_id(result.call_id)
        name = self._names.get(own) or result.name
        if not name:
            path = f"{turn.place}.tool_call_id"
            raise InvalidRequest(f"{path}: {own[:80]!r} answers no call before it, so that nobody knows which function it was", param=path)
        texts, parts = [], []
        for number, block in enumerate(result.content):
            part = self._part(block, turn, f"content[{number}]")
            if isinstance(block, Text) or part is None:
                texts.append(block.text if isinstance(block, Text) else "")
            elif self._signs and part.inline_data is not None and part.inline_data.mime_type.startswith(_RESULT_TYPES):
                parts.append(ResponsePart(part.inline_data))
            else:
                self._beside.append(part)
        said = {"error" if result.failed else "output": "\n".join(texts)}
        return FunctionResponse(name, said, own or None, parts or None)


class _Signatures:
    """Which part of a turn each signature belongs to.

    By the call that it names; without a name, to the text or unsigned call right behind it; else it stands alone. Calls also bring
    signatures in their ids.
    """

    def __init__(self, turn: Turn, dropped: dict[str, None]) -> None:
        self._of: dict[int, str] = {}
        self._alone: set[int] = set()
        blocks = turn.blocks
        calls = {block.call.id: place for place, block in reversed(list(enumerate(blocks))) if isinstance(block, Call)}
        for place, block in enumerate(blocks):
            if isinstance(block, Call) and (hidden := real_id(block.call.id)[1]):
                self._of[place] = hidden
        unnamed: list[int] = []
        for place, block in enumerate(blocks):
            if not isinstance(block, Thought):
                continue
            reasoning = block.reasoning
            if reasoning.format != SIGNATURE_FORMAT or not reasoning.signature:
                dropped["messages.reasoning"] = None
            elif reasoning.id in calls:
                self._of.setdefault(calls[reasoning.id], reasoning.signature)
            else:
                unnamed.append(place)
                if reasoning.text:
                    dropped["messages.reasoning"] = None
        for place in unnamed:
            self._unnamed(place, turn)

    def _unnamed(self, place: int, turn: Turn) -> None:
        thought, following = turn.blocks[place], place + 1
        block = turn.blocks[following] if following < len(turn.blocks) else None
        fits = (isinstance(block, Text | Refusal) and bool(block.text)) or isinstance(block, Call)
        if fits and following not in self._of and isinstance(thought, Thought):
            self._of[following] = thought.reasoning.signature
        else:
            self._alone.add(place)

    def of(self, place: int) -> str | None:
        """The signature of a block."""
        return self._of.get(place)

    def alone(self, place: int) -> bool:
        """Whether a thought's signature belongs to no other block."""
        return place in self._alone


def _arguments(call: ToolCall, message: str) -> msgspec.Raw:
    """The arguments in their own spelling, which is prompt text: re-serializing would change what the model reads and break its prompt cache."""
    if not call.arguments.strip():
        return msgspec.Raw(b"{}")
    try:
        msgspec.json.decode(call.arguments, type=dict)
        json.loads(call.arguments, object_pairs_hook=_distinct, parse_int=str, parse_float=str)
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


def _media(data: str | None, media_type: str | None, url: str | None, kind: str, message: str, part: str) -> Part:
    """Inline bytes, or an address on the web."""
    if data is not None:
        if not media_type:
            raise _unsupported(message, f"{part}.{kind}", "this model must be told the media type")
        return Part(inline_data=Blob(media_type, data))
    if url is None or not url.lower().startswith(("https://", "http://")):
        raise _unsupported(message, f"{part}.{kind}", "media must be sent as data, or by an http or https address")
    return Part(file_data=FileData(url, media_type))


def _document(document: Document, message: str, part: str) -> Part:
    if document.text is not None:
        return Part(text=f"{document.filename}\n\n{document.text}" if document.filename else document.text)
    if document.file_id is not None or (document.data is None and document.url is None):
        raise _unsupported(message, f"{part}.file.file_id", "a file that another provider keeps can not be read; send file_data")
    return _media(document.data, document.media_type or ("application/pdf" if document.url else None), document.url, "file", message, part)


def _unsupported(message: str, part: str, why: str) -> UnsupportedField:
    path = f"{message}.{part}"
    return UnsupportedField(f"{path}: {why}", param=path)
