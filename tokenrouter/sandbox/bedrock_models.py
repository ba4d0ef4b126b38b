"""Models of the simulated Bedrock: Claude under its Bedrock names, two Nova families and two Llamas.

An id is a model id, an inference profile (`us.…`, `global.…`) or the ARN of either. Regional ids and the plain model id are priced
alike, `global.` below them. The real service takes newer models through a profile only; here the plain id works too.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html (minimums, places, lifetimes),
.../userguide/inference-profiles-support.html. Where Nova refuses a mark: danny-avila/LibreChat#13838, robusta-dev/holmesgpt#2332.
"""

import re

import msgspec

from tokenrouter.sandbox.anthropic_models import MODELS as CLAUDE
from tokenrouter.sandbox.anthropic_models import Model

_PROFILES = "global|us-gov|us|eu|apac|jp|au|ca|sa|in"
_ID = re.compile(rf"(?:(?P<profile>{_PROFILES})\.)?(?P<maker>anthropic|amazon|meta)\.(?P<name>[a-z0-9-]+?)(?:-\d{{8}})?(?:-v\d+(?::\d+)?)?")


class Hosted(msgspec.Struct, frozen=True, kw_only=True):
    """A model as Bedrock hosts it.

    model       its limits and its minimum for caching
    claude      it thinks, takes mid-conversation system messages, and its tokens can be counted
    marks_in    where a cachePoint may stand
    ttls        lifetimes that a cachePoint may name; none: the model caches nothing
    """

    model: Model
    claude: bool = False
    marks_in: frozenset[str] = frozenset()
    ttls: tuple[str, ...] = ()


def _claude(name: str, model: Model) -> Hosted:
    minimum = 4096 if name == "claude-opus-4-7" else model.minimum
    ttls = ("5m",) if name == "claude-opus-4-1" else ("5m", "1h")
    return Hosted(model=msgspec.structs.replace(model, minimum=minimum), claude=True, marks_in=frozenset({"tools", "system", "messages"}), ttls=ttls)


def _other(context: int, most_output: int, *, caches: bool) -> Hosted:
    model = Model(minimum=1024, context=context, most_output=most_output, adaptive=False, keeps_thinking=False)
    return Hosted(model=model, marks_in=frozenset({"system", "messages"}) if caches else frozenset(), ttls=("5m",) if caches else ())


MODELS: dict[str, Hosted] = {
    **{name: _claude(name, model) for name, model in CLAUDE.items()},
    "nova-lite": _other(300_000, 10_000, caches=True),
    "nova-pro": _other(300_000, 10_000, caches=True),
    "llama3-3-70b-instruct": _other(128_000, 8192, caches=False),
    "llama4-maverick-17b-instruct": _other(1_000_000, 8192, caches=False),
}
_MAKERS = {"anthropic": "claude", "amazon": "nova", "meta": "llama"}


def find(model_id: str) -> tuple[str, Hosted] | None:
    """The name that the price list has for a model, and the model.

    >>> find("us.anthropic.claude-sonnet-4-5-20250929-v1:0")[0]
    'bedrock/claude-sonnet-4-5'
    >>> find("arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-opus-5")[0]
    'bedrock/global.claude-opus-5'
    """
    if model_id.startswith("arn:"):
        model_id = model_id.rpartition("/")[2]
    found = _ID.fullmatch(model_id)
    if found is None or not found["name"].startswith(_MAKERS[found["maker"]]):
        return None
    hosted = MODELS.get(found["name"])
    if hosted is None:
        return None
    wide = found["profile"] == "global" and hosted.claude and found["name"] not in _LIST_PRICE_EVERYWHERE
    return f"bedrock/{'global.' if wide else ''}{found['name']}", hosted


_LIST_PRICE_EVERYWHERE = frozenset({"claude-opus-4-1"})


def price_names() -> list[str]:
    """Every name that `find` can give."""
    wide = [f"bedrock/global.{name}" for name, hosted in MODELS.items() if hosted.claude and name not in _LIST_PRICE_EVERYWHERE]
    return [*(f"bedrock/{name}" for name in MODELS), *wide]
