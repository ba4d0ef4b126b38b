"""Reading fields as Ollama's Go server does: unknown ones are ignored, null is nothing, a wrong JSON type is a 400.

Source: https://github.com/ollama/ollama, `api/types.go` and `server/routes.go` (read 2026-11-21): which fields there are, their types, and
the wording of errors.
"""

import base64
import binascii
import re

import msgspec

from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal

DEFAULT_CONTEXT = 4096
"""`num_ctx` on a machine with less than 24 GB of graphics memory."""
DEFAULT_KEEP_ALIVE_S = 300.0
FOREVER_S = 100 * 365 * 24 * 3600.0
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))*|[-+]?0")
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_KINDS = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
_WHOLE = frozenset({"num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"})
_DECIMAL = frozenset({"top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"})
THINK_LEVELS = frozenset({"low", "medium", "high"})


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Runtime options that change the sandbox's answers.

    limit    output tokens, None for as many as the model likes
    context  tokens that fit into the model's memory: the start of a longer prompt is dropped in silence
    """

    limit: int | None = None
    stops: tuple[str, ...] = ()
    seed: int = 0
    context: int = DEFAULT_CONTEXT


def wrong_type(field: str, wanted: str, value: JsonValue) -> Refusal:
    """A field of the wrong JSON type, in the words of Go's decoder."""
    return Refusal(400, f"json: cannot unmarshal {_KINDS[type(value)]} into Go struct field {field} of type {wanted}")


def text(fields: JsonObject, name: str, owner: str) -> str:
    """A string; empty if it is absent."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong_type(f"{owner}.{name}", "string", value)
    return value


def flag(fields: JsonObject, name: str, owner: str, *, default: bool = False) -> bool:
    """A boolean."""
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong_type(f"{owner}.{name}", "bool", value)
    return value


def whole_number(fields: JsonObject, name: str, owner: str) -> int:
    """An integer; 0 if it is absent."""
    value = fields.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(f"{owner}.{name}", "int", value)
    return value


def items(fields: JsonObject, name: str, owner: str, wanted: str) -> list[JsonValue]:
    """An array; empty if it is absent."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(f"{owner}.{name}", wanted, value)
    return value


def nested(value: JsonValue, field: str, wanted: str) -> JsonObject:
    """An object; empty if it is absent."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong_type(field, wanted, value)
    return value


def images(fields: JsonObject, owner: str) -> tuple[str, ...]:
    """Pictures in base64, without a data URL around them."""
    found: list[str] = []
    for item in items(fields, "images", owner, "[]api.ImageData"):
        if item is None:
            continue
        if not isinstance(item, str):
            raise wrong_type(f"{owner}.images", "api.ImageData", item)
        try:
            base64.b64decode(item, validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(400, "illegal base64 data at input byte 0") from None
        found.append(item)
    return tuple(found)


def think(fields: JsonObject) -> bool | str | None:
    """Whether to think, and how much."""
    value = fields.get("think")
    if value is None or isinstance(value, bool) or (isinstance(value, str) and value in THINK_LEVELS):
        return value
    if isinstance(value, str):
        raise Refusal(400, f'invalid think value: "{value}" (must be "high", "medium", "low", true, or false)')
    raise Refusal(400, 'think must be a boolean or string ("high", "medium", "low", true, or false)')


def answer_format(fields: JsonObject) -> JsonValue:
    """None, "json", or a schema.

    Raises:
        Refusal: 500, not 400: Ollama looks at the format only after the model was loaded.
    """
    value = fields.get("format")
    if value in (None, ""):
        return None
    if value == "json" or isinstance(value, dict):
        return value
    raise Refusal(500, f'invalid format: {msgspec.json.encode(value).decode()!r}; expected "json" or a valid JSON Schema object')


def keep_alive_s(fields: JsonObject) -> float:
    """How long the model stays in memory after the answer, in seconds: a number, or a duration as "5m"; negative means forever."""
    value = fields.get("keep_alive")
    if value is None:
        return DEFAULT_KEEP_ALIVE_S
    if isinstance(value, int | float) and not isinstance(value, bool):
        return min(float(value), FOREVER_S) if value >= 0 else FOREVER_S
    if not isinstance(value, str):
        raise Refusal(400, f"unsupported duration type: '{type(value).__name__}'")
    if not _DURATION.fullmatch(value):
        raise Refusal(400, f'time: invalid duration "{value}"')
    if value.startswith("-"):
        return FOREVER_S
    return min(sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(value)), FOREVER_S)


def options(fields: JsonObject, owner: str) -> Options:
    """Runtime options; unknown ones are ignored.

    Raises:
        Refusal: 500 for an option of the wrong type, as Ollama answers.
    """
    given = nested(fields.get("options"), f"{owner}.options", "map[string]interface {}")
    for name, value in given.items():
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if (name in _WHOLE or name in _DECIMAL) and not number:
            raise Refusal(500, f'option "{name}" must be of type {"integer" if name in _WHOLE else "float32"}')
    stops = given.get("stop")
    if stops is not None and not isinstance(stops, list):
        raise Refusal(500, 'option "stop" must be of type array')
    limit, context = _number(given, "num_predict", -1), _number(given, "num_ctx", DEFAULT_CONTEXT)
    return Options(
        limit=limit if limit > 0 else None,
        stops=tuple(_stop(item) for item in stops or [] if item != ""),
        seed=_number(given, "seed", 0),
        context=context if context > 0 else DEFAULT_CONTEXT,
    )


def _number(given: JsonObject, name: str, default: int) -> int:
    value = given.get(name)
    return int(value) if isinstance(value, int | float) else default


def _stop(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise Refusal(500, 'option "stop" must be of an array of strings')
    return value
