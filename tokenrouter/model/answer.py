"""What comes back from a model: `Event`s while it streams, an `Answer` when it is whole, and the way between the two."""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from tokenrouter.model.usage import NO_USAGE, Usage

StopReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why the model stopped, in the neutral words: natural end or stop string, token limit, wants a tool, refused or filtered."""


class Started(msgspec.Struct, frozen=True, tag=True):
    """The answer began. `id` and `model` as the vendor names them; `created_s` is a Unix time in seconds."""

    id: str
    model: str
    created_s: int = 0


class TextDelta(msgspec.Struct, frozen=True, tag=True):
    """More visible text of one choice."""

    text: str
    choice: int = 0


class RefusalDelta(msgspec.Struct, frozen=True, tag=True):
    """More text of a refusal."""

    text: str
    choice: int = 0


class ReasoningDelta(msgspec.Struct, frozen=True, tag=True):
    """More reasoning. `block` numbers reasoning blocks from 0; text, signature and redacted data may come in pieces, the rest does not."""

    block: int
    text: str = ""
    signature: str = ""
    redacted: str = ""
    choice: int = 0
    format: str = ""
    id: str = ""


class ToolCallStarted(msgspec.Struct, frozen=True, tag=True):
    """The model begins its `index`-th tool call (from 0, per choice). `custom`: its input is free text, not JSON."""

    index: int
    id: str
    name: str
    choice: int = 0
    custom: bool = False


class ToolCallDelta(msgspec.Struct, frozen=True, tag=True):
    """More of the text of a call's arguments, byte for byte as the model wrote it."""

    index: int
    arguments: str
    choice: int = 0


class Finished(msgspec.Struct, frozen=True, tag=True):
    """One choice ended. `stop_sequence`: the stop string that was met, where the vendor tells."""

    reason: StopReason
    choice: int = 0
    stop_sequence: str | None = None


class UsageSeen(msgspec.Struct, frozen=True, tag=True):
    """What the vendor will bill so far; the last one seen is the truth."""

    usage: Usage


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The vendor reported an error inside a stream that had begun well."""

    message: str
    code: str = "upstream_error"


Event = Started | TextDelta | RefusalDelta | ReasoningDelta | ToolCallStarted | ToolCallDelta | Finished | UsageSeen | Failed


class Spoken(msgspec.Struct, frozen=True):
    """Visible text."""

    text: str


class Declined(msgspec.Struct, frozen=True):
    """The model's words when it refuses."""

    text: str


class ToolCall(msgspec.Struct, frozen=True):
    """One call that the model asks for. `arguments` is JSON text (free text where `custom`) exactly as the model wrote it."""

    id: str
    name: str
    arguments: str
    custom: bool = False


class Reasoning(msgspec.Struct, frozen=True):
    """One block of reasoning: readable text, the vendor's signature over it, or opaque redacted data.

    A block without text whose signature belongs to what follows it (some vendors sign a call or a text) stands right in front of that.

    format  who can check the signature, as the adapters name it; "" where nobody said
    id      of the block, where its vendor gives one; or of the call that the signature belongs to
    """

    text: str = ""
    signature: str = ""
    redacted: str = ""
    format: str = ""
    id: str = ""


Said = Spoken | Declined | Reasoning | ToolCall


class Choice(msgspec.Struct, frozen=True):
    """One alternative answer: its blocks in the order in which the model made them; no two texts side by side.

    A choice whose `stop` is None was cut off.
    """

    blocks: tuple[Said, ...] = ()
    stop: StopReason | None = None
    stop_sequence: str | None = None

    @property
    def text(self) -> str | None:
        """All visible text; None where there is none."""
        texts = [block.text for block in self.blocks if isinstance(block, Spoken)]
        return "".join(texts) if texts else None

    @property
    def refusal(self) -> str | None:
        """All words of refusal; None where there are none."""
        texts = [block.text for block in self.blocks if isinstance(block, Declined)]
        return "".join(texts) if texts else None

    @property
    def reasoning(self) -> tuple[Reasoning, ...]:
        """The reasoning blocks."""
        return tuple([block for block in self.blocks if isinstance(block, Reasoning)])

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls."""
        return tuple([block for block in self.blocks if isinstance(block, ToolCall)])


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    id: str
    model: str
    created_s: int
    choices: tuple[Choice, ...]
    usage: Usage = NO_USAGE

    @property
    def complete(self) -> bool:
        """Every choice reached its end."""
        return bool(self.choices) and all(choice.stop is not None for choice in self.choices)


class _Builder:
    """Collects the pieces of one choice, blocks in the order of their first piece."""

    def __init__(self) -> None:
        self.blocks: list[_Piece] = []
        self.reasoning: dict[int, _Piece] = {}
        self.calls: dict[int, _Piece] = {}
        self.stop: StopReason | None = None
        self.stop_sequence: str | None = None

    def text(self, kind: type["Spoken | Declined"], text: str) -> None:
        """Words go on where the last block is of their kind."""
        if not self.blocks or self.blocks[-1].kind is not kind:
            self.blocks.append(_Piece(kind))
        self.blocks[-1].words.append(text)

    def block(self, known: dict[int, "_Piece"], index: int, kind: type["Reasoning | ToolCall"]) -> "_Piece":
        """The block that a numbered piece belongs to."""
        piece = known.get(index)
        if piece is None:
            piece = known[index] = _Piece(kind)
            self.blocks.append(piece)
        return piece

    def build(self) -> Choice:
        return Choice(tuple([piece.build() for piece in self.blocks]), self.stop, self.stop_sequence)


class _Piece:
    """One block while it grows. `words`: text or arguments; the rest as in `Reasoning` and `ToolCall`."""

    def __init__(self, kind: type[Spoken | Declined | Reasoning | ToolCall]) -> None:
        self.kind = kind
        self.words: list[str] = []
        self.signature = self.redacted = self.format = self.id = self.name = ""
        self.custom = False

    def build(self) -> Said:
        words = "".join(self.words)
        if self.kind is Reasoning:
            return Reasoning(words, self.signature, self.redacted, self.format, self.id)
        if self.kind is ToolCall:
            return ToolCall(self.id, self.name, words, self.custom)
        return Declined(words) if self.kind is Declined else Spoken(words)


def fold(events: Iterable[Event]) -> Answer:
    """Put a stream together. `fold(unfold(answer)) == answer` for every answer, but for choices that say nothing at all.

    `Failed` events are the caller's business: an answer with one in it is not complete.
    """
    started = Started("", "", 0)
    usage = NO_USAGE
    builders: dict[int, _Builder] = {}
    failed = False
    for event in events:
        if isinstance(event, Started):
            started = event
        elif isinstance(event, UsageSeen):
            usage = event.usage
        elif isinstance(event, Failed):
            failed = True
        else:
            _collect(builders.setdefault(event.choice, _Builder()), event)
    choices = tuple(builder.build() for _, builder in sorted(builders.items()))
    if failed:
        choices = tuple(msgspec.structs.replace(choice, stop=None) for choice in choices)
    return Answer(started.id, started.model, started.created_s, choices, usage)


def _collect(builder: _Builder, event: TextDelta | RefusalDelta | ReasoningDelta | ToolCallStarted | ToolCallDelta | Finished) -> None:
    match event:
        case TextDelta():
            builder.text(Spoken, event.text)
        case RefusalDelta():
            builder.text(Declined, event.text)
        case ReasoningDelta():
            piece = builder.block(builder.reasoning, event.block, Reasoning)
            piece.words.append(event.text)
            piece.signature += event.signature
            piece.redacted += event.redacted
            piece.format = piece.format or event.format
            piece.id = piece.id or event.id
        case ToolCallStarted():
            piece = builder.block(builder.calls, event.index, ToolCall)
            piece.id, piece.name, piece.custom = event.id, event.name, event.custom
        case ToolCallDelta():
            builder.block(builder.calls, event.index, ToolCall).words.append(event.arguments)
        case Finished():
            builder.stop = event.reason
            builder.stop_sequence = event.stop_sequence


def unfold(answer: Answer) -> Iterator[Event]:
    """Play a whole answer as the events of a stream: one delta per piece, usage last."""
    yield Started(answer.id, answer.model, answer.created_s)
    for number, choice in enumerate(answer.choices):
        thoughts = calls = 0
        for block in choice.blocks:
            match block:
                case Spoken():
                    yield TextDelta(block.text, number)
                case Declined():
                    yield RefusalDelta(block.text, number)
                case Reasoning():
                    yield ReasoningDelta(thoughts, block.text, block.signature, block.redacted, number, block.format, block.id)
                    thoughts += 1
                case ToolCall():
                    yield ToolCallStarted(calls, block.id, block.name, number, block.custom)
                    if block.arguments:
                        yield ToolCallDelta(calls, block.arguments, number)
                    calls += 1
        if choice.stop is not None:
            yield Finished(choice.stop, number, choice.stop_sequence)
    yield UsageSeen(answer.usage)
