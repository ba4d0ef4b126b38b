"""Words of reasoning effort, for models that know only some of them."""

from collections.abc import Sequence
from typing import Final

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All words, weakest first."""

_BUDGETS: Final = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 65_536}
"""Thinking tokens that a word of effort stands for; the table toward Anthropic's budgets, read the other way."""


def nearest_word(wanted: str, words: Sequence[str]) -> str:
    """By strength; of two that are as near the weaker. What is to reason at all is never told not to."""
    fit = [word for word in words if word != "none"] if wanted != "none" else words
    place = EFFORTS.index(wanted)
    return min(sorted(fit, key=EFFORTS.index), key=lambda word: abs(EFFORTS.index(word) - place))


def word_of_budget(budget: int, words: Sequence[str]) -> str:
    """The word whose number of tokens is nearest; of two that are as near the weaker."""
    fit = sorted([word for word in words if word != "none"], key=EFFORTS.index)
    return min(fit, key=lambda word: abs(_BUDGETS[word] - budget))
