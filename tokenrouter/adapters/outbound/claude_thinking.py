"""How Claude is asked to think, on whatever host it runs.

Source: Anthropic's documentation of extended and adaptive thinking and of effort; anthropic-python 2.11 `types/thinking_config_*_param.py`.
"""

from typing import Final, Literal

import msgspec

from tokenrouter.adapters.wire.anthropic_request import Thinking
from tokenrouter.errors import UnsupportedField
from tokenrouter.model.catalog import Model
from tokenrouter.model.conversation import Conversation

_LEAST_BUDGET = 1_024
_BUDGETS: Final = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 65_536}
"""Thinking tokens per word of effort. The vendor's documentation: at least 1,024; above 32k long waits are to be expected."""

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


class AskedThinking(msgspec.Struct, frozen=True):
    """What to send: the member `thinking`, and the word of effort where the model takes one. `dropped`: what of the wish could not be carried."""

    thinking: Thinking | None = None
    effort: str | None = None
    dropped: tuple[str, ...] = ()


def claude_thinking(conversation: Conversation, model: Model, *, max_tokens: int, forced: bool, unthought: bool) -> AskedThinking:
    """Translate the wish for reasoning, by what the model knows.

    forced     a tool must be called: that and thinking exclude each other, and the tool is what was asked for
    unthought  the model waits for tool results and its turn came back without its thinking: then thinking with a budget is a 400

    Raises UnsupportedField for a word that is none.
    """
    effort, tokens = conversation.effort, conversation.thinking_budget
    if effort is not None and effort != "none" and effort not in _EFFORTS:
        param = "reasoning_effort"
        raise UnsupportedField(f"{param}: {effort[:40]!r} is none of none, {', '.join(_EFFORTS)}", param=param)
    if effort == "none" or tokens == 0 or (effort is None and tokens is None):
        return AskedThinking()
    dropped = ("reasoning_effort",) if tokens is None else ("thinking_budget",)
    display = _display(conversation)
    match model.reasoning:
        case "none":
            return AskedThinking(dropped=dropped)
        case "budget":
            wanted = tokens if tokens is not None and tokens > 0 else _BUDGETS[effort or "medium"]
            budget = min(wanted, max_tokens - _LEAST_BUDGET)
            if forced or unthought or budget < _LEAST_BUDGET:
                return AskedThinking(dropped=dropped)
            return AskedThinking(Thinking("enabled", budget, display))
        case "adaptive" | "effort":
            thinking = Thinking("adaptive", None, display) if model.reasoning == "adaptive" and not forced else None
            return AskedThinking(thinking, _EFFORTS[effort or _word(tokens)], () if tokens is None else dropped)


def _display(conversation: Conversation) -> Literal["summarized", "omitted"] | None:
    if conversation.show_reasoning is None:
        return None
    return "summarized" if conversation.show_reasoning else "omitted"


def _word(tokens: int | None) -> str:
    """The least effort whose usual budget covers a number of tokens; a number below zero leaves it to the model."""
    if tokens is None or tokens < 0:
        return "medium"
    return next((word for word, budget in _BUDGETS.items() if tokens <= budget), "max")
