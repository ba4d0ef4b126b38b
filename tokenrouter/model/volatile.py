"""Per-request texts in prompts: known lines of clients (which ones is catalog data), and places that somebody has approved to be moved."""

from collections.abc import Iterable, Sequence

import msgspec

from tokenrouter.model.breaks import Kind


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A place in system texts whose value may be moved (`volatile.relocate`): what it is found again by.

    id           of the slot that it was approved as
    kind         what it holds
    left, right  the text around it
    """

    id: str
    kind: Kind
    left: str
    right: str

    @property
    def name(self) -> str:
        """How the note and the value refer to each other: the same in every request."""
        return f"{self.kind}-{self.id[:6]}"

    @property
    def note(self) -> str:
        """What stands in the place of the value."""
        return f"(see {self.name} below)"


class Behind(msgspec.Struct, frozen=True):
    """What is said behind a prompt that is in one piece otherwise: no breakpoint covers it, and the next request comes without it.

    as_system  in a system message of its own; else as a text of the user's
    """

    text: str
    as_system: bool


class Volatile(msgspec.Struct, frozen=True):
    """A text that starts with `prefix` has such a line at its head: up to the first line end, which goes with it."""

    id: str
    prefix: str


def without_lines(text: str, lines: Iterable[Volatile]) -> str:
    """`text` without known lines at its head."""
    for line in lines:
        if text.startswith(line.prefix):
            text = text.partition("\n")[2]
    return text


def piece_without_lines(value: object, lines: Sequence[Volatile]) -> object:
    """A decoded system text, message or text part without known lines at the head of its texts; parts that this leaves empty go."""
    if isinstance(value, str):
        return without_lines(value, lines)
    if not isinstance(value, dict):
        return value
    text, content = value.get("text"), value.get("content")
    if isinstance(text, str):
        return {**value, "text": without_lines(text, lines)}
    if isinstance(content, str):
        return {**value, "content": without_lines(content, lines)}
    if not isinstance(content, list):
        return value
    kept = []
    for part in content:
        rest = piece_without_lines(part, lines)
        if rest == part or (isinstance(rest, dict) and rest.get("text")):
            kept.append(rest)
    return {**value, "content": kept or ""}
