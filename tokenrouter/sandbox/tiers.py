"""What the simulated vendors charge in their tiers of service, and which tier answers.

Values: OpenAI's pricing page (its Flex and Priority tables), Google's (Flex, Priority) and Anthropic's (fast mode), read by hand on
2026-11-21 and written down as multiples of the standard price. A model that is not sold in a tier answers in the standard one, as OpenAI says:
"the response value may be different from the value set in the parameter".
"""

from fractions import Fraction

from tokenrouter.sandbox.prices import PRICES, Price

_HALF, _DOUBLE = Fraction(1, 2), Fraction(2)
_MULTIPLES: dict[str, dict[str, Fraction]] = {
    "gpt-4.1": {"priority": Fraction(7, 4)},
    "gpt-4.1-mini": {"priority": Fraction(7, 4)},
    "gpt-5": {"flex": _HALF, "priority": _DOUBLE},
    "gpt-5-mini": {"flex": _HALF, "priority": Fraction(9, 5)},
    "gpt-5.1": {"flex": _HALF, "priority": _DOUBLE},
    "gpt-6-sol": {"flex": _HALF, "priority": _DOUBLE},
    "gpt-6.1-sol": {"flex": _HALF, "priority": _DOUBLE},
    "o3": {"flex": _HALF, "priority": Fraction(7, 4)},
    "claude-opus-5-5": {"fast": _DOUBLE},
    "claude-opus-5": {"fast": _DOUBLE},
    "gemini-3.6-flash": {"flex": _HALF},
    "gemini-4-argon": {"flex": _HALF, "priority": Fraction(9, 5)},
}


def served(model: str, asked: object) -> str:
    """The tier that answers; "" is the standard one."""
    word = asked.lower().removeprefix("service_tier_") if isinstance(asked, str) else ""
    tier = "priority" if word == "fast" and "fast" not in _MULTIPLES.get(model, {}) else word
    return tier if tier in _MULTIPLES.get(model, {}) else ""


def priced(model: str, tier: str) -> Price:
    """What a model costs in a tier that answered. KeyError where it is not sold in it."""
    price = PRICES[model]
    return price if not tier else _times(price, _MULTIPLES[model][tier])


def _times(price: Price, factor: Fraction) -> Price:
    return Price(
        input=_exact(price.input * factor),
        read=_exact(price.read * factor),
        write=_exact(price.write * factor),
        write_long=_exact(price.write_long * factor),
        output=_exact(price.output * factor),
        long_above=price.long_above,
        long=None if price.long is None else _times(price.long, factor),
    )


def _exact(rate: Fraction) -> int:
    if rate.denominator != 1:
        raise ValueError(f"{rate} nano-USD per million tokens is no whole number")
    return rate.numerator
