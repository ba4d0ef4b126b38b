"""What is said behind a prompt (`model/volatile.py`), in the translation lane: for all wires alike, before anything is rendered."""

import msgspec

from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.conversation import Conversation, Text, Thought, Turn
from tokenrouter.model.volatile import Behind


def say_behind(conversation: Conversation, plan: CachePlan, behind: Behind) -> tuple[Conversation, CachePlan]:
    """Both with the text behind the newest turn, and no breakpoint on it.

    A turn of its own has a `source` that no breakpoint points to. In the newest turn of the user's it is one more part, so breakpoints at
    the end of that message come to stand on the part that was the last one.
    """
    newest, said = conversation.turns[-1], Text(behind.text)
    if behind.as_system or newest.role != "user":
        turn = Turn("system" if behind.as_system else "user", (said,), max(turn.source for turn in conversation.turns) + 1)
        return msgspec.structs.replace(conversation, turns=(*conversation.turns, turn)), plan
    last = sum(not isinstance(block, Thought) for turn in conversation.turns if turn.source == newest.source for block in turn.blocks) - 1
    points = [
        msgspec.structs.replace(point, part=last) if (point.section, point.index, point.part) == ("b_messages", newest.source, -1) else point
        for point in plan.breakpoints
    ]
    grown = msgspec.structs.replace(newest, blocks=(*newest.blocks, said))
    return (
        msgspec.structs.replace(conversation, turns=(*conversation.turns[:-1], grown)),
        msgspec.structs.replace(plan, breakpoints=tuple(points)),
    )
