"""OpenAI's models as the sandbox knows them. Source: https://developers.openai.com/api/docs/models."""

import re

import msgspec

_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `breakpoints`: the cache rules of gpt-5.6 and later; otherwise the automatic prefix cache in steps of `step` tokens."""

    context: int
    reasons: bool = False
    breakpoints: bool = False
    step: int = 128
    minimum: int = 1024
    stops: bool = True
    only_24h: bool = False


_BREAKPOINTS = Model(context=1_050_000, reasons=True, breakpoints=True, only_24h=True)
_GPT5 = Model(context=400_000, reasons=True)

MODELS: dict[str, Model] = {
    "gpt-4o": Model(context=128_000),
    "gpt-4o-mini": Model(context=128_000),
    "gpt-4.1": Model(context=1_047_576),
    "gpt-4.1-mini": Model(context=1_047_576),
    "gpt-4.1-nano": Model(context=1_047_576),
    "gpt-5": _GPT5,
    "gpt-5-mini": _GPT5,
    "gpt-5-nano": _GPT5,
    "gpt-5.1": _GPT5,
    "gpt-5.2": _GPT5,
    "gpt-5.4": Model(context=1_050_000, reasons=True),
    "gpt-5.4-mini": _GPT5,
    "gpt-5.5": Model(context=1_050_000, reasons=True, step=2048, minimum=2048, only_24h=True),
    "gpt-5.6-sol": _BREAKPOINTS,
    "gpt-5.6-terra": _BREAKPOINTS,
    "gpt-6-sol": _BREAKPOINTS,
    "gpt-6.1-sol": _BREAKPOINTS,
    "gpt-6.1-terra": _BREAKPOINTS,
    "o1": Model(context=200_000, reasons=True),
    "o3": Model(context=200_000, reasons=True, stops=False),
    "o3-mini": Model(context=200_000, reasons=True),
    "o4-mini": Model(context=200_000, reasons=True, stops=False),
}


def find(name: str) -> tuple[str, Model] | None:
    """The model behind a name, dated snapshots included."""
    base = _DATE.sub("", name)
    model = MODELS.get(base)
    return (base, model) if model is not None else None
