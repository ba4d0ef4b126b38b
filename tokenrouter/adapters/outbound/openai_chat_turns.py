"""A conversation as Chat Completions `messages`, and where cache marks may sit in them.

Every turn is rendered by itself, in the client's order: what is sent for it depends on nothing that comes later, so a conversation that
grows keeps the bytes of what was sent before. What this wire has no place for is refused by name; three things are approximated:

    results      a tool message holds text only: pictures and files of a result follow in a user message behind the run of tool messages,
                 each led in by a line that names its call. A result that failed begins with "Error: ", unless its text says so already.
    plain text   a text document becomes a text part, its file name in front.
    flat turns   a turn of the model's is one text and its calls: text behind a call moves in front of it, and that is reported.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import assert_never

import msgspec

from tokenrouter.adapters.outbound.openai_chat_thoughts import Thinker
from tokenrouter.adapters.wire.openai_chat_request import (
    AssistantMessage,
    AudioPart,
    CalledCustom,
    CalledFunction,
    CustomCall,
    FileData,
    FilePart,
    FunctionCall,
    ImagePart,
    ImageURL,
    InputAudio,
    Message,
    Part,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.conversation import Audio, Block, Call, Document, Image, Refusal, Result, Text, Thought, Turn, Video

_SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_AUDIO_FORMATS = ("wav", "mp3")
_ERROR = "Error: "
_ELSEWHERE = "The content of this result follows in the next user message."


class Rendered(msgspec.Struct):
    """The turns on the wire. `places`: per message of the client, its parts that take a mark, each with the number of its content part."""

    messages: list[Message]
    places: dict[int, list[tuple[int, Part]]]


class Takes(msgspec.Struct, frozen=True):
    """What a host takes in messages.

    quirks  as in `Deployment`
    parts   text goes out as parts, so that a mark may sit in it now or in a later turn
    thinker what becomes of reasoning
    """

    quirks: frozenset[str]
    parts: bool
    thinker: Thinker


def render_turns(turns: Sequence[Turn], takes: Takes, dropped: dict[str, None]) -> Rendered:
    """Render all turns. `dropped` collects what was left out. Raises UnsupportedField, InvalidRequest."""
    renderer = _Renderer(takes, dropped)
    for turn in turns:
        renderer.add(turn)
    renderer.flush()
    return renderer.out


class _Attached(msgspec.Struct):
    """Pictures and files of one result, on their way behind the run of tool messages. `part` and `source`: where a mark finds them."""

    source: int
    part: int
    parts: list[Part]


class _Renderer:
    """One conversation on its way to the wire."""

    def __init__(self, takes: Takes, dropped: dict[str, None]) -> None:
        self._takes, self._quirks, self._dropped = takes, takes.quirks, dropped
        self._attached: list[_Attached] = []
        self.out = Rendered([], {})

    def add(self, turn: Turn) -> None:
        """One more turn."""
        self.out.places.setdefault(turn.source, [])
        name = self._name(turn)
        if turn.role == "assistant":
            self.flush()
            self.out.messages.append(self._assistant(turn, name))
        elif turn.role == "system":
            self.flush()
            if turn.blocks:
                self.out.messages.append(SystemMessage(self._content(self._system(turn)), name))
        else:
            self._user(turn, name)

    def flush(self) -> None:
        """Pictures and files of results, in a message of their own."""
        if attached := self._take_attached():
            self.out.messages.append(UserMessage(attached))

    def _take_attached(self) -> list[Part]:
        parts: list[Part] = []
        for one in self._attached:
            parts += one.parts
            self.out.places[one.source].append((one.part, one.parts[-1]))
        self._attached = []
        return parts

    def _name(self, turn: Turn) -> str | None:
        if turn.name and ("no_names" in self._quirks or turn.role == "tool"):
            self._dropped["messages.name"] = None
            return None
        return turn.name

    def _system(self, turn: Turn) -> list[Part]:
        parts: list[Part] = []
        for number, block in enumerate(turn.blocks):
            if not isinstance(block, Text):
                raise _unsupported(turn.place, "content", "a system message can only hold text")
            self._place(turn, number, parts, TextPart(block.text))
        return parts

    def _user(self, turn: Turn, name: str | None) -> None:
        """Results become tool messages at once, since they must follow their calls; all else follows in one user message."""
        numbered = [(number, block) for number, block in enumerate(turn.blocks) if not isinstance(block, Thought)]
        results = [number for number, block in numbered if isinstance(block, Result)]
        rest = [(number, block) for number, block in numbered if not isinstance(block, Result)]
        if len(numbered) != len(turn.blocks):
            self._dropped["messages.reasoning"] = None
        if results and rest and rest[0][0] < results[-1]:
            self._dropped["messages.order"] = None
        if not results:
            self.flush()
        for number, block in numbered:
            if isinstance(block, Result):
                self._result(block, turn, number)
        if rest or not results:
            parts = self._take_attached()
            for number, block in rest:
                self._place(turn, number, parts, self._part(block, turn.place, f"content[{number}]"))
            self.out.messages.append(UserMessage(self._content(parts), name))

    def _result(self, result: Result, turn: Turn, number: int) -> None:
        texts: list[Part] = []
        media: list[Part] = []
        for inner, block in enumerate(result.content):
            part = self._part(block, turn.place, f"content[{inner}]")
            (texts if isinstance(part, TextPart) else media).append(part)
        if media:
            lead = f"Attached to the result of the tool call {result.call_id}:"
            self._attached.append(_Attached(turn.source, number, [TextPart(lead), *media]))
            texts = texts or [TextPart(_ELSEWHERE)]
        if result.failed:
            _say_failed(texts)
        if texts and _has_text(texts[-1]):
            self.out.places[turn.source].append((number, texts[-1]))
        self.out.messages.append(ToolMessage(self._call_id(result.call_id), self._content(texts)))

    def _assistant(self, turn: Turn, name: str | None) -> AssistantMessage:
        texts: list[Part] = []
        said, refused = "", ""
        calls: list[FunctionCall | CustomCall] = []
        thoughts = self._takes.thinker.read(turn, self._dropped)
        parted = False
        for number, block in enumerate([block for block in turn.blocks if not isinstance(block, Thought)]):
            match block:
                case Call():
                    calls.append(self._call(block, turn, thoughts.signatures.get(len(calls))))
                    parted = True
                case Refusal() if "openai" in self._quirks:
                    refused += block.text
                case Text() | Refusal():
                    if parted and block.text:
                        self._dropped["messages.order"] = None
                    said += f"\n{block.text}" if parted and said and block.text else block.text
                    parted = False if block.text else parted
                    self._place(turn, number, texts, TextPart(block.text))
                case _:
                    where = "audio" if isinstance(block, Audio) else f"content[{number}]"
                    raise _unsupported(turn.place, where, "an assistant message can only hold text and calls here")
        full = [part for part in texts if _has_text(part)]
        content: str | list[Part] | None = full if self._takes.parts and full else said
        if not said and (calls or refused):
            content = None
        return AssistantMessage(content, refused or None, thoughts.readable or None, list(thoughts.details) or None, calls or None, name)

    def _call(self, block: Call, turn: Turn, signature: str | None) -> FunctionCall | CustomCall:
        call = block.call
        call_id = self._call_id(call.id)
        if not call.custom:
            signed = {"google": {"thought_signature": signature}} if signature else None
            return FunctionCall(call_id, CalledFunction(call.name, call.arguments), signed)
        if "openai" not in self._quirks:
            raise _unsupported(turn.place, "tool_calls", "this provider knows no calls of custom tools")
        return CustomCall(call_id, CalledCustom(call.name, call.arguments))

    def _call_id(self, call_id: str) -> str:
        """The id as it is, but for hosts that take nine letters and digits only: there one made of its hash, the same in every turn."""
        if "short_ids" not in self._quirks or _SHORT_ID.fullmatch(call_id):
            return call_id
        number = int.from_bytes(blake2b(call_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        letters = ""
        for _ in range(9):
            number, rest = divmod(number, len(_DIGITS))
            letters += _DIGITS[rest]
        return letters

    def _part(self, block: Block, message: str, part: str) -> Part:
        """One block of a user's, or of a result."""
        match block:
            case Text() | Refusal():
                return TextPart(block.text)
            case Image():
                self._refuse_media(message, part, "images")
                return _image(block, message, part)
            case Document():
                return self._document(block, message, part)
            case Audio():
                self._refuse_media(message, part, "audio")
                return _audio(block, message, part)
            case Video():
                raise _unsupported(message, part, "this provider takes no video")
            case Call():
                raise _unsupported(message, part, "only an assistant message can hold a call")
            case Result() | Thought():
                raise _unsupported(message, part, "a result holds text, pictures and files only")
            case _:
                assert_never(block)

    def _refuse_media(self, message: str, part: str, what: str) -> None:
        if "text_only" in self._quirks:
            raise _unsupported(message, part, f"this provider takes text only, no {what}")

    def _document(self, document: Document, message: str, part: str) -> Part:
        text = document.text
        if text is None and document.data is not None and _is_text(document.media_type or ""):
            text = _decoded(document.data, f"{message}.{part}.file.file_data")
        if text is not None:
            return TextPart(f"{document.filename}\n\n{text}" if document.filename else text)
        if document.data is None and document.url is None:
            raise _unsupported(message, f"{part}.file.file_id", "a file that another provider keeps can not be read; send the file itself")
        if "files" not in self._quirks:
            kind = document.media_type or "files"
            raise _unsupported(message, f"{part}.file.file_data", f"this provider takes no {kind}, only plain text")
        if document.data is None:
            if "file_urls" not in self._quirks:
                raise _unsupported(message, f"{part}.file.file_data", "this provider fetches no files; send the file itself")
            return FilePart(file=FileData(document.url or "", document.filename or "document"))
        media_type = document.media_type or "application/octet-stream"
        named = document.filename or ("document.pdf" if media_type == "application/pdf" else "document")
        return FilePart(file=FileData(f"data:{media_type};base64,{document.data}", named))

    def _place(self, turn: Turn, number: int, parts: list[Part], part: Part) -> None:
        """Add a part, and note that a mark may sit on it; never on an empty text, which the vendors behind `cache_control` refuse."""
        parts.append(part)
        if _has_text(part):
            self.out.places[turn.source].append((number, part))

    def _content(self, parts: list[Part]) -> str | list[Part]:
        """A string where the content is exactly one text and no mark can ever sit in it; what is empty is always one."""
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        only_text = len(texts) == len(parts)
        if only_text and not any(texts):
            return ""
        if only_text and "strings" in self._quirks:
            return "\n".join(texts)  # as Anthropic's compatible endpoint joins system messages
        if self._takes.parts:
            return [part for part in parts if _has_text(part)]
        return texts[0] if only_text and len(texts) == 1 else parts


def _has_text(part: Part) -> bool:
    return not isinstance(part, TextPart) or bool(part.text)


def _say_failed(texts: list[Part]) -> None:
    """Say in the text that the tool reported an error: the wire has no flag for it. A text that says so already stays as it is."""
    if not texts:
        texts.append(TextPart(_ERROR.strip(": ")))
    first = texts[0]
    if isinstance(first, TextPart) and not re.match(r"\W*(\w*_)?error", first.text, re.IGNORECASE):
        first.text = _ERROR + first.text


def _image(image: Image, message: str, part: str) -> ImagePart:
    if image.data is not None:
        return ImagePart(image_url=ImageURL(f"data:{image.media_type};base64,{image.data}", image.detail))
    if image.url is None or not image.url.lower().startswith(("https://", "http://")):
        raise _unsupported(message, f"{part}.image_url.url", "an image must be a data, http or https URL")
    return ImagePart(image_url=ImageURL(image.url, image.detail))


def _audio(audio: Audio, message: str, part: str) -> AudioPart:
    if audio.data is None:
        raise _unsupported(message, "audio", "audio that another provider keeps can not be heard")
    if audio.format not in _AUDIO_FORMATS:
        raise _unsupported(message, f"{part}.input_audio.format", f"this provider takes {' and '.join(_AUDIO_FORMATS)}, not {audio.format}")
    return AudioPart(input_audio=InputAudio(audio.data, audio.format))


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in ("application/json", "application/xml")


def _decoded(data: str, path: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} is not the base64 of UTF-8 text", param=path) from error


def _unsupported(message: str, part: str, why: str) -> UnsupportedField:
    path = f"{message}.{part}"
    return UnsupportedField(f"{path}: {why}", param=path)
