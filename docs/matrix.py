"""docs/matrix.md out of docs/matrix.json, which the contract suite measures (`make matrix`)."""

import json
from collections.abc import Mapping
from pathlib import Path

DATA = Path(__file__).with_name("matrix.json")
PAGE = Path(__file__).with_name("matrix.md")
_INTRODUCTION = """# The matrix

Every dialect × provider × feature, as measured: `tests/contract` says each feature in the dialect's own words, sends it through the whole
gateway to the simulated provider, and looks for it there (for what an answer holds: in what the client got). Made by `make matrix`.

| word | means |
| --- | --- |
| carried | it arrived, whole |
| approximated | another form of it arrived; the footnote says which |
| dropped | left out, and listed in the answer's header `x-tokenrouter-dropped` |
| refused | a 400 in the dialect's own shape that names the field; with a footnote: the provider's own |
| – | the dialect has no word for it, or the provider does not have it |

What an answer holds is looked for in a whole answer and in a stream. Where a client's dialect is the provider's own, its bytes pass as they
are: then the provider refuses what it does not take. A translated request that the provider would refuse is refused by the gateway.

Other hosts of the catalog speak one of these wires, and are served as the column of that wire, within what their rows say.
"""

Cell = str | list[str]


def page(data: Mapping[str, Mapping]) -> str:
    """The whole page."""
    sections = [_section(dialect, columns, data["features"]) for dialect, columns in data["cells"].items()]
    return "\n".join([_INTRODUCTION, *sections, _operations(data["operations"])])


_OPERATIONS = """## Vectors and counts

Vectors are the provider's own, to 32 bits, in the order of the texts; carried: the length asked for too, where the dialect has a word for it. A
count is exact where it is what the provider bills for the same prompt.
"""


def _operations(operations: Mapping[str, Mapping[str, Cell]]) -> str:
    notes: dict[str, int] = {}
    vendors = list(next(iter(operations.values())))
    lines = [_OPERATIONS, f"| | {' | '.join(vendors)} |", f"| --- |{' --- |' * len(vendors)}"]
    for operation, columns in operations.items():
        lines.append(f"| {operation} | {' | '.join(_cell(columns[vendor], notes) for vendor in vendors)} |")
    return "\n".join([*lines, "", *_footnotes(notes), ""])


def _section(dialect: str, columns: Mapping[str, Mapping[str, Cell]], features: Mapping[str, str]) -> str:
    notes: dict[str, int] = {}
    lines = [f"## {dialect}", "", f"| | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for feature, title in features.items():
        cells = [_cell(column[feature], notes) for column in columns.values()]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    footnotes = _footnotes(notes)
    return "\n".join([*lines, "", *footnotes, ""] if footnotes else [*lines, ""])


def _cell(cell: Cell, notes: dict[str, int]) -> str:
    if isinstance(cell, str):
        return cell
    word, note = cell
    return f"{word} <sup>{notes.setdefault(note, len(notes) + 1)}</sup>"


def _footnotes(notes: Mapping[str, int]) -> list[str]:
    return [f"{number}. {_escaped(note)}" for note, number in notes.items()]


def _escaped(note: str) -> str:
    return note.replace("|", "\\|").replace("<", "&lt;")


def pages() -> dict[Path, str]:
    """The page by its path."""
    return {PAGE: page(json.loads(DATA.read_text("utf-8")))}
