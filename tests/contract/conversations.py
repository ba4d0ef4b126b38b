"""Conversations as they happen: what the model is made to say, and what the client answers, turn by turn; in no dialect's words."""

from collections.abc import Mapping
from dataclasses import dataclass

from features import TOOL
from speaking import Json

from tokenrouter.sandbox.answers import Scripted, ToolCall

SYSTEM_TEXT = "You are a careful assistant. " + "These are the rules of the house, which nobody reads to their end. " * 420


@dataclass(frozen=True)
class Conversation:
    """`answers`: what the model says, turn by turn; its calls are answered, a text is followed by a question.

    opening   the row of the matrix whose request opens it ("" for a plain hello)
    thinks    reasoning is asked for, and comes back as far as the dialect carries it
    late      a system message follows the question of this turn
    role      which of a vendor's models
    """

    name: str
    answers: tuple[Scripted, ...]
    opening: str = ""
    thinks: bool = False
    late: int = -1
    role: str = "marks"


def calls(turn: int, count: int) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(TOOL, f'{{"zulu": {turn}.0,"alpha":"call {number}"}}') for number in range(count))


ALL = (
    Conversation("plain chat", tuple(Scripted(text=f"Answer {turn}. é") for turn in range(4))),
    Conversation(
        "tool loop with parallel results",
        (Scripted(text="Looking.", calls=calls(0, 2)), Scripted(calls=calls(1, 3)), Scripted(text="Done."), Scripted(text="Indeed.")),
    ),
    Conversation("images", (Scripted(text="A dot."), Scripted(text="Still a dot."), Scripted(text="Yes.")), opening="image", role="sees"),
    Conversation("long agent loop", (Scripted(calls=calls(0, 26)), Scripted(calls=calls(1, 27)), Scripted(text="Done."), Scripted(text="Yes."))),
    Conversation("late system message", tuple(Scripted(text=f"Answer {turn}.") for turn in range(4)), late=1, role="mid_system"),
    Conversation(
        "thinking",
        (
            Scripted(thinking="I must look.", calls=calls(0, 1)),
            Scripted(thinking="Once more.", text="Again.", calls=calls(1, 2)),
            Scripted(text="Done."),
            Scripted(text="Yes."),
        ),
        thinks=True,
        role="signs",
    ),
)


def with_late_system(fields: Mapping[str, Json], said: Mapping[str, Json]) -> Mapping[str, Json]:
    """The request with the late system message of the row `mid_system` at its end."""
    history = next(iter(name for name in said if isinstance(said[name], list)))
    return {**fields, history: [*fields[history], said[history][-1]]}
