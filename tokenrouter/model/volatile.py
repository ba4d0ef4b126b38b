"""Known per-request lines that clients put into prompts. Which ones is catalog data."""

from collections.abc import Iterable

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
