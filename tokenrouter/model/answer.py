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
    """More reasoning. `block` numbers reasoning blocks from 0; text, signature and redacted data may come in pieces, `format` does not."""

    block: int
    text: str = ""
    signature: str = ""
    redacted: str = ""
    choice: int = 0
    format: str = ""


class ToolCallStarted(msgspec.Struct, frozen=True, tag=True):
    """The model begins its `index`-th tool call (from 0, per choice)."""

    index: int
    id: str
    name: str
    choice: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, tag=True):
    """More of the JSON text of a call's arguments, byte for byte as the model wrote it."""

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


class ToolCall(msgspec.Struct, frozen=True):
    """One call that the model asks for. `arguments` is JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


class Reasoning(msgspec.Struct, frozen=True):
    """One block of reasoning: readable text, the vendor's signature over it, or opaque redacted data.

    format  who can check the signature, as the adapters name it; "" where nobody said
    """

    text: str = ""
    signature: str = ""
    redacted: str = ""
    format: str = ""


class Choice(msgspec.Struct, frozen=True):
    """One alternative answer. `text` is None where the model said nothing visible."""

    text: str | None = None
    refusal: str | None = None
    reasoning: tuple[Reasoning, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    stop: StopReason | None = None
    stop_sequence: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """A whole answer. A choice whose `stop` is None was cut off."""

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
    """Collects the pieces of one choice."""

    def __init__(self) -> None:
        self.text: list[str] | None = None
        self.refusal: list[str] | None = None
        self.reasoning: dict[int, list[str]] = {}
        self.calls: dict[int, list[str]] = {}
        self.stop: StopReason | None = None
        self.stop_sequence: str | None = None

    def build(self) -> Choice:
        return Choice(
            text=None if self.text is None else "".join(self.text),
            refusal=None if self.refusal is None else "".join(self.refusal),
            reasoning=tuple(Reasoning(*parts) for _, parts in sorted(self.reasoning.items())),
            tool_calls=tuple(ToolCall(*parts) for _, parts in sorted(self.calls.items())),
            stop=self.stop,
            stop_sequence=self.stop_sequence,
        )


def fold(events: Iterable[Event]) -> Answer:
    """Put a stream together. `fold(unfold(answer)) == answer` for every answer.

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
            builder.text = [] if builder.text is None else builder.text
            builder.text.append(event.text)
        case RefusalDelta():
            builder.refusal = [] if builder.refusal is None else builder.refusal
            builder.refusal.append(event.text)
        case ReasoningDelta():
            parts = builder.reasoning.setdefault(event.block, ["", "", "", ""])
            parts[0] += event.text
            parts[1] += event.signature
            parts[2] += event.redacted
            parts[3] = parts[3] or event.format
        case ToolCallStarted():
            builder.calls.setdefault(event.index, [event.id, event.name, ""])
        case ToolCallDelta():
            builder.calls.setdefault(event.index, ["", "", ""])[2] += event.arguments
        case Finished():
            builder.stop = event.reason
            builder.stop_sequence = event.stop_sequence


def unfold(answer: Answer) -> Iterator[Event]:
    """Play a whole answer as the events of a stream: one delta per piece, usage last."""
    yield Started(answer.id, answer.model, answer.created_s)
    for number, choice in enumerate(answer.choices):
        for block, reasoning in enumerate(choice.reasoning):
            yield ReasoningDelta(block, reasoning.text, reasoning.signature, reasoning.redacted, number, reasoning.format)
        if choice.text is not None:
            yield TextDelta(choice.text, number)
        if choice.refusal is not None:
            yield RefusalDelta(choice.refusal, number)
        for index, call in enumerate(choice.tool_calls):
            yield ToolCallStarted(index, call.id, call.name, number)
            if call.arguments:
                yield ToolCallDelta(index, call.arguments, number)
        if choice.stop is not None:
            yield Finished(choice.stop, number, choice.stop_sequence)
    yield UsageSeen(answer.usage)
