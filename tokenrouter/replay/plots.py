"""Plots as inline SVG: bars and curves. Texts come in escaped (`html_of`), numbers are numbers; nothing refers to anything outside the page."""

import html
from collections.abc import Sequence
from typing import Final

import msgspec

from tokenrouter.replay.words import harmless

_WIDTH: Final = 720
_ROW: Final = 34
_LABEL: Final = 190
_VALUE: Final = 110
_HEIGHT: Final = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 14, 34


class Bar(msgspec.Struct, frozen=True):
    """One bar. `said` stands at its end; `color` is the name of a style."""

    label: str
    value: float
    said: str
    color: str = "one"


class Curve(msgspec.Struct, frozen=True):
    """One line through points, with its name at its end."""

    label: str
    points: Sequence[tuple[float, float]]
    color: str


def html_of(text: str, most: int = 400) -> str:
    """A text that means nothing to a browser, addresses included."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return html.escape(harmless(cut), quote=True).replace("://", ":&#47;&#47;")


def bars(rows: Sequence[Bar], title: str) -> str:
    """Horizontal bars from zero, the longest across the whole width."""
    most = max((row.value for row in rows), default=0.0) or 1.0
    room = _WIDTH - _LABEL - _VALUE
    drawn = []
    for index, row in enumerate(rows):
        top, width = index * _ROW, max(1.0, room * row.value / most) if row.value > 0 else 0.0
        drawn.append(
            f'<text class="label" x="{_LABEL - 10}" y="{top + 22}" text-anchor="end">{html_of(row.label, 28)}</text>'
            f'<rect class="{row.color}" x="{_LABEL}" y="{top + 7}" width="{width:.1f}" height="{_ROW - 14}" rx="3"/>'
            f'<text class="value" x="{_LABEL + width + 8:.1f}" y="{top + 22}">{html_of(row.said, 24)}</text>'
        )
    height = max(1, len(rows)) * _ROW
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{html_of(title)}">{"".join(drawn)}</svg>'


def curves(lines: Sequence[Curve], title: str, said_x: Sequence[str], said_y: Sequence[str]) -> str:
    """Lines over one another, from zero. `said_x`, `said_y`: what stands at the beginning, the middle and the end of each axis."""
    points = [point for line in lines for point in line.points]
    far, high = max((x for x, _ in points), default=0.0) or 1.0, max((y for _, y in points), default=0.0) or 1.0
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    drawn = []
    for index, said in enumerate(said_y):
        y = _TOP + tall - tall * index / max(1, len(said_y) - 1)
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + wide}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="axis" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{html_of(said)}</text>')
    for index, said in enumerate(said_x):
        x = _LEFT + wide * index / max(1, len(said_x) - 1)
        drawn.append(f'<text class="axis" x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{html_of(said)}</text>')
    ends: list[float] = []
    for line in sorted(lines, key=lambda one: -(one.points[-1][1] if one.points else 0)):
        places = [(_LEFT + wide * x / far, _TOP + tall - tall * y / high) for x, y in line.points]
        if not places:
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline class="line {line.color}" points="{path}"/>')
        named = max([places[-1][1], *[end + 17 for end in ends]])
        ends.append(named)
        drawn.append(f'<text class="value" x="{places[-1][0] + 8:.1f}" y="{named + 4:.1f}">{html_of(line.label, 24)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html_of(title)}">{"".join(drawn)}</svg>'
