"""`volatile.relocate`: the value of an approved slot is said behind the stable part of a prompt, and a note stands in its place.

    approved = (template_of(slot), ...)                        what somebody has approved, as it is kept in the configuration
    moved = relocate(conversation, approved, mid_system=model.mid_system, bound=model.bound_reasoning)

"Today is 2026-11-21." becomes "Today is (see date-3fa85f below)." and, at the end of the prompt, "date-3fa85f: 2026-11-21". Only opening
system text is touched. Nothing is ever deleted: what can not be moved for sure (its surroundings are missing, or stand there twice; it is
nothing that the scanners know as a whole) stays as it is. A conversation whose reasoning is bound to its prompt, or that brings signed
reasoning, is left alone; so are tool results, users' words, and reasoning.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tokenrouter.model.breaks import Kind
from tokenrouter.model.conversation import Conversation, Text, Thought, Turn
from tokenrouter.prefixes.scanners import outline
from tokenrouter.prefixes.volatile import Slot

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

_LONGEST = 256
_LEAST_AROUND = 8
_SLOT = re.compile(r"<([a-z]{2,8})>")
_SLOTS_ONLY = re.compile(r"(?:<[a-z]{2,8}>[ ,;:.()\[\]-]{0,3}){1,4}")


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """An approved slot: what it is found again by. See `Slot`."""

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


class Moved(msgspec.Struct, frozen=True):
    """A value that was moved."""

    template: Template
    value: str


def template_of(slot: Slot) -> Template:
    """What is to be kept of a slot that was approved."""
    return Template(id=slot.id, kind=slot.kind, left=slot.left, right=slot.right)


def relocate_text(text: str, approved: Sequence[Template]) -> tuple[str, tuple[Moved, ...]]:
    """A text with the values of approved slots taken out, and these. A slot that is not there exactly once is left alone."""
    moved: list[Moved] = []
    for template in approved:
        if template.kind not in _MOVABLE or len(template.left) + len(template.right) < _LEAST_AROUND:
            continue
        if template.note in text or any(one.template.name == template.name for one in moved):
            continue
        places = _places(text, template)
        if len(places) != 1:
            continue
        start, end = places[0]
        moved.append(Moved(template, text[start:end]))
        text = text[:start] + template.note + text[end:]
    return text, tuple(moved)


def restored(text: str, moved: Sequence[Moved]) -> str:
    """The text as it was: proof that nothing was lost."""
    for one in reversed(moved):
        text = text.replace(one.template.note, one.value, 1)
    return text


def said(moved: Sequence[Moved]) -> str:
    """The values, as they are said at the end of a prompt."""
    return "\n".join([HEADING, *[f"{one.template.name}: {one.value}" for one in moved]])


def relocate(conversation: Conversation, approved: Sequence[Template], *, mid_system: bool, bound: bool) -> Conversation | None:
    """The conversation with approved slots moved to its end; None where there is nothing to move, or it must not be touched.

    mid_system  the model takes a system message behind the newest turn; else the values stand as a text of the user's: in front of what
                the newest user turn says, or behind the newest tool results
    """
    if bound or not approved or _signed(conversation):
        return None
    turns = list(conversation.turns)
    moved: list[Moved] = []
    for index, turn in enumerate(turns):
        if turn.role != "system":
            break
        blocks = []
        for block in turn.blocks:
            if isinstance(block, Text):
                known = {one.template.name for one in moved}
                text, found = relocate_text(block.text, [template for template in approved if template.name not in known])
                moved += found
                block = msgspec.structs.replace(block, text=text) if found else block
            blocks.append(block)
        turns[index] = msgspec.structs.replace(turn, blocks=tuple(blocks))
    if not moved or turns[-1].role not in ("user", "tool"):
        return None
    newest, values = turns[-1], Text(said(moved))
    if mid_system:
        turns.append(Turn("system", (values,), newest.source))
    elif newest.role == "user":
        turns[-1] = msgspec.structs.replace(newest, blocks=(values, *newest.blocks))
    else:
        turns.append(Turn("user", (values,), newest.source))
    return msgspec.structs.replace(conversation, turns=tuple(turns))


def _places(text: str, template: Template) -> list[tuple[int, int]]:
    """Where the slot stands with a value that is wholly of its kind. Two are enough to know that it is not clear."""
    found: list[tuple[int, int]] = []
    start = text.find(template.left) if template.left else 0
    while start >= 0 and len(found) < 2:
        begin = start + len(template.left)
        end = text.find(template.right, begin, begin + _LONGEST + len(template.right)) if template.right else len(text)
        if end > begin and end - begin <= _LONGEST and _is_whole(text[begin:end], template.kind):
            found.append((begin, end))
        start = text.find(template.left, start + 1) if template.left else -1
    return found


def _is_whole(value: str, kind: Kind) -> bool:
    """Nothing but tokens of the kind: no word of an instruction goes with it."""
    if value != value.strip() or "<" in value or "\n" in value:
        return False
    form = outline(value)
    return _SLOTS_ONLY.fullmatch(form) is not None and _MOVABLE[kind].issuperset(_SLOT.findall(form))


def _signed(conversation: Conversation) -> bool:
    return any(
        isinstance(block, Thought) and bool(block.reasoning.signature or block.reasoning.redacted)
        for turn in conversation.turns
        for block in turn.blocks
    )
