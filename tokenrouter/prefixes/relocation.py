"""`volatile.relocate`: the value of an approved slot is said behind the stable part of a prompt, and a note stands in its place.

    texts, moved = relocate_texts(texts, approved)    # the opening system texts; `approved` as it is kept for the tenant
    said(moved)                                       # at the end of the prompt

"Today is 2026-11-21." becomes "Today is (see date-3fa85f below)." and, at the end of the prompt, "date-3fa85f: 2026-11-21". Nothing is
ever deleted: what can not be moved for sure (its surroundings are missing, or stand there twice; it is nothing that the scanners know as a
whole) stays as it is. Which conversations are left alone, `serving/relocating.py` says.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tokenrouter.model.breaks import Kind
from tokenrouter.model.volatile import Template
from tokenrouter.prefixes.scanners import outline, tokens

HEADING: Final = "Current values of what the instructions refer to:"
_MOVABLE: Final[Mapping[Kind, frozenset[str]]] = {
    "time": frozenset(("time", "date")),
    "date": frozenset(("date",)),
    "uuid": frozenset(("uuid",)),
    "hex": frozenset(("hex", "id", "number")),
    "id": frozenset(("id", "hex", "uuid")),
    "counter": frozenset(("number",)),
    "session": frozenset(("uuid", "hex", "id", "number")),
    "path": frozenset(("path",)),
    "url": frozenset(("url",)),
    "port": frozenset(("number",)),
}
"""Kinds that can be moved, and what the scanners may call a token of such a value."""

MOST_SLOTS: Final = 64
"""Approved by one tenant."""

MOST_AROUND: Final = 200
"""Characters on either side: more says nothing more, and changes sooner."""

_LONGEST = 256
_LEAST_AROUND = 8
_MOST_TRIES = 1_000  # values that stand between the same surroundings: a text with more of them is not clear
_GAP = 3
_ANCHOR = 48
_CONTEXT = 200
_UNSTEADY = frozenset(("time", "date", "uuid", "hex", "id", "path", "url"))
_ID = re.compile(r"[A-Za-z0-9_-]{6,64}")
_SLOT = re.compile(r"<([a-z]{2,8})>")
_SLOTS_ONLY = re.compile(r"(?:<[a-z]{2,8}>[ ,;:.()\[\]-]{0,3}){1,4}")


class Moved(msgspec.Struct, frozen=True):
    """A value that was moved."""

    template: Template
    value: str


def fault(template: Template, others: Sequence[Template] = ()) -> str:
    """Why a slot can not be approved beside `others`, in words; "" where it can."""
    if not _ID.fullmatch(template.id):
        return f"the id {template.id[:64]!r}: 6 to 64 letters, digits, - or _"
    if template.kind not in _MOVABLE:
        return f"{template.id}: a text of the kind {template.kind or 'unknown'!r} can not be moved; one of {', '.join(_MOVABLE)}"
    if len(template.left) + len(template.right) < _LEAST_AROUND or sum(map(str.isalnum, template.left + template.right)) < _LEAST_AROUND // 2:
        return f"{template.id}: too little stands around it to find it again; {_LEAST_AROUND} characters at least, and letters among them"
    if max(len(template.left), len(template.right)) > MOST_AROUND:
        return f"{template.id}: more than {MOST_AROUND} characters on one side of it"
    for other in others:
        if other.id == template.id:
            return f"{template.id}: said twice"
        if other.name == template.name:
            return f"{template.id}: the note in its place would be that of {other.id}"
        if (other.left, other.right) == (template.left, template.right):
            return f"{template.id}: the same text stands around {other.id}, so nobody could tell them apart"
    return ""


def settled(text: str, start: int, end: int, kind: Kind, low: int, high: int) -> tuple[int, int, int, int]:
    """Where a slot is to begin and end, and how far around it the text is steady: (low, start, end, high).

    A date right beside a clock goes with it, and what else changes from day to day or from user to user (dates, ids, folders) is left out
    of what the slot is found again by. As it was where so little is left that the place would not be clear.

    start, end  of what differed; low, high  where the neighbouring slots end and begin
    """
    plain = max(low, start - _ANCHOR), start, end, min(high, end + _ANCHOR)
    if kind not in _MOVABLE:
        return plain
    base, front = max(low, start - _CONTEXT), tokens(text[max(low, start - _CONTEXT) : start])
    back = tokens(text[end : min(high, end + _CONTEXT)])
    first, last = start, end
    for begin, stop, _ in reversed(front):
        if first - (base + stop) > _GAP or not _is_whole(text[base + begin : last], kind):
            break
        first = base + begin
    for begin, stop, _ in back:
        if end + begin - last > _GAP or not _is_whole(text[first : end + stop], kind):
            break
        last = end + stop
    before, after = max(low, first - _ANCHOR), min(high, last + _ANCHOR)
    for begin, stop, said in front:
        if base + begin < first and said in _UNSTEADY:
            before = max(before, base + stop)
    for begin, stop, said in back:
        if end + stop > last and said in _UNSTEADY:
            after = min(after, end + begin)
    found = Template(id="000000", kind=kind, left=text[before:first], right=text[last:after])
    return (before, first, last, after) if not fault(found) and _places(text, found) == [(first, last)] else plain


def relocate_texts(texts: Sequence[str], approved: Sequence[Template]) -> tuple[tuple[str, ...], tuple[Moved, ...]]:
    """Texts of one prompt with the values of approved slots taken out, and these. A slot that is not in them exactly once is left alone.

    One after the other: what stands around a slot may be the note of one that was approved before it.
    """
    now, moved = list(texts), list[Moved]()
    for template in approved:
        if fault(template) or any(template.note in text for text in now) or any(one.template.name == template.name for one in moved):
            continue
        places = [(at, start, end) for at, text in enumerate(now) for start, end in _places(text, template)]
        if len(places) == 1:
            at, start, end = places[0]
            moved.append(Moved(template, now[at][start:end]))
            now[at] = now[at][:start] + template.note + now[at][end:]
    return tuple(now), tuple(moved)


def said(moved: Sequence[Moved]) -> str:
    """The values, as they are said at the end of a prompt."""
    return "\n".join([HEADING, *[f"{one.template.name}: {one.value}" for one in moved]])


def _places(text: str, template: Template) -> list[tuple[int, int]]:
    """Where the slot stands with a value that is wholly of its kind. Two are enough to know that it is not clear."""
    left, right, found, tries = template.left, template.right, list[tuple[int, int]](), 0
    start, end = text.find(left), -1
    while start >= 0 and len(found) < 2:
        begin = start + len(left)
        if end < begin:
            end = text.find(right, begin) if right else len(text)
        if end < begin:
            break
        after = start + 1
        if end - begin > _LONGEST:
            after = max(after, end - _LONGEST - len(left))  # what begins in front of there reaches no further
        elif end > begin:
            tries += 1
            if tries > _MOST_TRIES:
                return []
            if _is_whole(text[begin:end], template.kind):
                found.append((begin, end))
        start = text.find(left, after) if left else -1
    return found


def _is_whole(value: str, kind: Kind) -> bool:
    """Nothing but tokens of the kind: no word of an instruction goes with it."""
    if value != value.strip() or "<" in value or "\n" in value:
        return False
    form = outline(value)
    return _SLOTS_ONLY.fullmatch(form) is not None and _MOVABLE[kind].issuperset(_SLOT.findall(form))
