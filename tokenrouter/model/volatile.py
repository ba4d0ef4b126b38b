"""Known per-request lines that clients put into prompts. Which ones is catalog data."""

from collections.abc import Iterable, Sequence

import msgspec


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
