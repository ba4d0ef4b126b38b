"""The edit `volatile.known` in the translation lane: for all wires alike, before anything is rendered.

The canonical form has these lines taken out already, so what is sent, what is cached upstream and what is kept here agree.
"""

from collections.abc import Sequence

import msgspec

from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.conversation import Conversation, Text, Turn
from tokenrouter.model.volatile import Volatile, without_lines


def drop_lines(conversation: Conversation, plan: CachePlan, lines: Sequence[Sequence[Volatile]]) -> tuple[Conversation, CachePlan] | None:
    """Both without the known lines at the head of the opening system texts. None where there are none.

    A part that held nothing else goes with its line, and a turn of which nothing remains goes too; marks move along with the parts that
    they stand on. `lines[i]`: what to take out of the message whose `source` is i.
    """
    turns: list[Turn] = []
    changed = False
    for turn in conversation.turns:
        known = lines[turn.source] if turn.role == "system" and turn.source < len(lines) else ()
        kept = [_without(block, known) if isinstance(block, Text) else block for block in turn.blocks] if known else turn.blocks
        if tuple(kept) == turn.blocks:
            turns.append(turn)
            continue
        changed = True
        gone = [part for part, (new, old) in enumerate(zip(kept, turn.blocks, strict=True)) if new != old and new == Text("")]
        plan = _moved(plan, turn.source, gone)
        blocks = tuple([block for part, block in enumerate(kept) if part not in gone])
        if blocks:
            turns.append(msgspec.structs.replace(turn, blocks=blocks))
    return (msgspec.structs.replace(conversation, turns=tuple(turns)), plan) if changed else None


def _without(block: Text, lines: Sequence[Volatile]) -> Text:
    text = without_lines(block.text, lines)
    return block if text == block.text else Text(text)


def _moved(plan: CachePlan, source: int, gone: Sequence[int]) -> CachePlan:
    """Marks on parts behind one that is gone move up; a mark on that part itself goes to the part before it, or nowhere."""
    if not gone:
        return plan
    points: list[Breakpoint] = []
    for point in plan.breakpoints:
        if point.section != "b_messages" or point.index != source or point.part < 0:
            points.append(point)
            continue
        part = point.part - sum(place <= point.part for place in gone)
        if part >= 0:
            points.append(msgspec.structs.replace(point, part=part))
    return msgspec.structs.replace(plan, breakpoints=tuple(points))
