"""The fields of a generateContent request that are neither contents, system instruction nor tools; and what its path and query say.

Numbers may be written as strings and enumerations in any case, as JSON of protocol buffers allows.
Source: google-genai 3.4 `types.py` (GenerateContentConfig, GenerationConfig, ToolConfig); https://ai.google.dev/api/generate-content.
"""

from collections.abc import Mapping
from math import isfinite
from urllib.parse import parse_qsl, urlencode

import msgspec

from tokenrouter.adapters.wire.gemini_layout import camel_members
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.envelope import ParamFacts

_OUTSIDE = frozenset((":model", ":method", ":query"))
# They change neither prompt nor answer: bookkeeping, and what the vendor logs.
_SIDE = ("labels", "store")
_NOT_HASHED = frozenset(("model", *_SIDE))
# What a provider may render in front of the contents, or what may invalidate its prompt cache.
_IN_PROMPT = frozenset(
    (
        *("responseSchema", "responseJsonSchema", "responseMimeType", "responseModalities"),
        *("thinkingConfig", "mediaResolution"),
    )
)
# Names of objects in the provider's account, which tenants share; other models, speech and pictures, whose price nobody here knows.
_UNSERVED = ("cachedContent", "continuationToken")
_UNSERVED_CONFIG = (
    *("speechConfig", "imageConfig", "translationConfig", "routingConfig", "modelSelectionConfig", "modelConfig"),
    *("audioTranscriptionConfig", "enableAffectiveDialog", "responseFormat"),
)
_NUMBERS = frozenset(("temperature", "topP", "topK", "presencePenalty", "frequencyPenalty"))
_STANDARD_TIERS = frozenset(("", "unspecified", "standard"))
_INT32 = 1 << 31


def read_params(fields: Mapping[str, object]) -> ParamFacts:
    """See `Grammar`."""
    plain = camel_members({name: value for name, value in fields.items() if name not in _OUTSIDE})
    model, method = str(fields.get(":model", "")), str(fields.get(":method", ""))
    if not 0 < len(model) <= 256:
        raise InvalidRequest("the path must name a model of 1 to 256 characters", param="model")
    said = plain.get("model")
    if said is not None and str(said).rpartition("/")[2] != model.rpartition("/")[2]:
        raise InvalidRequest("model: the body names another model than the path", param="model")
    streams = method == "streamGenerateContent"
    as_events, query = _query(str(fields.get(":query", "")))
    if as_events and not streams:
        raise InvalidRequest("alt=sse goes with streamGenerateContent", param="alt")
    config = generation_config(plain)
    present = {name: value for name, value in plain.items() if value is not None and name not in _NOT_HASHED}
    present.pop("generationConfig", None)
    calling = _nested(present, "toolConfig")
    if calling:
        present["toolConfig"] = {**calling, "functionCallingConfig": _nested(calling, "functionCallingConfig", "toolConfig.")}
    kept = {name: _plain(name, value) for name, value in config.items() if not (name == "candidateCount" and value == 1)}
    return ParamFacts(
        model=model,
        stream=streams,
        include_usage=True,  # it is always told
        max_output=positive(config, "maxOutputTokens"),
        choices=positive(config, "candidateCount") or 1,
        deterministic=number(config, "temperature") == 0 or config.get("seed") is not None,
        stateful=False,
        own_affinity=False,
        service_tier=tier_word(plain.get("serviceTier")),
        unserved=_unserved(plain, config),
        framing="array" if streams and not as_events else "",
        prompt_value={
            **{name: value for name, value in present.items() if name == "toolConfig"},
            **{name: value for name, value in kept.items() if name in _IN_PROMPT},
        },
        answer_value={**present, **({"generationConfig": kept} if kept else {}), **({":query": query} if query else {})},
        side_value={name: plain[name] for name in _SIDE if plain.get(name) is not None},
    )


def generation_config(plain: Mapping[str, object]) -> dict[str, object]:
    """The generation config under the names of the reference, without what is null. Raises InvalidRequest."""
    config = _nested(plain, "generationConfig")
    if "thinkingConfig" in config:
        config["thinkingConfig"] = _nested(config, "thinkingConfig", "generationConfig.")
    return config


def _nested(plain: Mapping[str, object], name: str, path: str = "") -> dict[str, object]:
    value = plain.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{path}{name} must be an object", param=path + name)
    return {key: inner for key, inner in camel_members(value).items() if inner is not None}


def _query(said: str) -> tuple[bool, str]:
    """Whether events are asked for, and all else that the query says."""
    pairs = parse_qsl(said, keep_blank_values=True)
    alts = [value for name, value in pairs if name in ("alt", "$alt")]
    if any(alt not in ("sse", "json", "") for alt in alts) or len(alts) > 1:
        raise InvalidRequest("alt takes one of sse, json", param="alt")
    return alts == ["sse"], urlencode(sorted((name, value) for name, value in pairs if name not in ("alt", "$alt")))


def tier_word(value: object) -> str:
    """The tier of service that is asked for, in the word of prices; "" where none is."""
    word = value.lower().removeprefix("service_tier_") if isinstance(value, str) else "" if value is None else "?"
    return "default" if value is not None and word in _STANDARD_TIERS else word


def _unserved(plain: Mapping[str, object], config: Mapping[str, object]) -> str:
    """The first field whose cost or owner can not be answered for."""
    for name in _UNSERVED:
        if plain.get(name) is not None:
            return name
    for name in _UNSERVED_CONFIG:
        if config.get(name) is not None:
            return f"generationConfig.{name}"
    modalities = config.get("responseModalities") or []
    if not isinstance(modalities, list) or any(not isinstance(word, str) or word.upper() != "TEXT" for word in modalities):
        return "generationConfig.responseModalities"
    return ""


def _plain(name: str, value: object) -> object:
    """Sampling numbers by value: 0 and 0.0 ask for the same."""
    if name in _NUMBERS and isinstance(value, msgspec.Raw):
        figure = float(bytes(value))
        return int(figure) if figure.is_integer() else figure
    return value


def number(config: Mapping[str, object], name: str) -> float | None:
    """A number of the generation config, however it is written. Raises InvalidRequest where it is none."""
    value = config.get(name)
    if value is None:
        return None
    figure = _figure(value)
    if figure is None or not isfinite(figure):
        raise InvalidRequest(f"generationConfig.{name} must be a number", param=f"generationConfig.{name}")
    return figure


def _figure(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | msgspec.Raw):
        return None
    try:
        return float(bytes(value)) if isinstance(value, msgspec.Raw) else float(value)
    except (ValueError, OverflowError):
        return None


def whole(config: Mapping[str, object], name: str) -> int | None:
    """The same where only whole numbers make sense."""
    figure = number(config, name)
    if figure is None:
        return None
    if not figure.is_integer() or not -_INT32 <= figure < _INT32:
        raise InvalidRequest(f"generationConfig.{name} must be a whole number", param=f"generationConfig.{name}")
    return int(figure)


def positive(config: Mapping[str, object], name: str) -> int | None:
    """The same where it must be above 0."""
    figure = whole(config, name)
    if figure is not None and figure < 1:
        raise InvalidRequest(f"generationConfig.{name} must be a whole number above 0", param=f"generationConfig.{name}")
    return figure
