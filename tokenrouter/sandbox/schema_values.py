"""Making up JSON that satisfies a JSON schema: deterministic, small, keys in schema order.

Covers the subset that structured outputs and tools use (type, enum, const, properties, required, items, bounds, formats, local $ref,
anyOf / oneOf / allOf). Source: https://json-schema.org/draft/2020-12/json-schema-validation.
"""

import random

from tokenrouter.sandbox.wire import JsonObject, JsonValue

_WORDS = ("river", "maple", "signal", "harbor", "ember", "cobalt", "meadow", "lantern", "quartz", "orbit")
_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "3f2b8c1e-5d4a-4b6f-9c7e-1a2b3c4d5e6f",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
    "duration": "P1D",
}
_DEEPEST = 8


def synthesise(schema: JsonValue, rng: random.Random, *, optional: bool, root: JsonValue = None, depth: int = 0) -> JsonValue:
    """A value for `schema`. `optional`: properties that are not required are filled in too."""
    root = schema if root is None else root
    if not isinstance(schema, dict):
        return None if schema is False else rng.choice(_WORDS)
    schema = _resolve(schema, root)
    if "const" in schema:
        return schema["const"]
    for name in ("enum", "examples"):
        choices = schema.get(name)
        if isinstance(choices, list) and choices:
            return choices[rng.randrange(len(choices))]
    if "default" in schema:
        return schema["default"]
    for name in ("anyOf", "oneOf"):
        options = schema.get(name)
        if isinstance(options, list) and options:
            if depth >= _DEEPEST and any(isinstance(option, dict) and option.get("type") == "null" for option in options):
                return None
            return synthesise(options[0], rng, optional=optional, root=root, depth=depth + 1)
    return _by_type(schema, rng, optional=optional, root=root, depth=depth)


def _resolve(schema: JsonObject, root: JsonValue) -> JsonObject:
    """Follow a local $ref and fold allOf in."""
    for _ in range(16):
        pointer = schema.get("$ref")
        if not isinstance(pointer, str) or not pointer.startswith("#"):
            break
        target: JsonValue = root
        for step in pointer.lstrip("#").strip("/").split("/"):
            if step and isinstance(target, dict):
                target = target.get(step.replace("~1", "/").replace("~0", "~"))
        schema = target if isinstance(target, dict) else {}
    parts = schema.get("allOf")
    if isinstance(parts, list):
        merged: JsonObject = {key: value for key, value in schema.items() if key != "allOf"}
        for part in parts:
            if isinstance(part, dict):
                _merge(merged, _resolve(part, root))
        return merged
    return schema


def _merge(into: JsonObject, part: JsonObject) -> None:
    for key, value in part.items():
        old = into.get(key)
        if key == "properties" and isinstance(old, dict) and isinstance(value, dict):
            into[key] = {**old, **value}
        elif key == "required" and isinstance(old, list) and isinstance(value, list):
            into[key] = [*old, *value]
        else:
            into.setdefault(key, value)


def _by_type(schema: JsonObject, rng: random.Random, *, optional: bool, root: JsonValue, depth: int) -> JsonValue:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "null" if depth >= _DEEPEST and "null" in kind else next((item for item in kind if item != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    match kind:
        case "object":
            return _object(schema, rng, optional=optional, root=root, depth=depth)
        case "array":
            return _array(schema, rng, optional=optional, root=root, depth=depth)
        case "integer" | "number":
            return _number(schema, rng, whole=kind == "integer")
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
        case _:
            return _string(schema, rng)


def _object(schema: JsonObject, rng: random.Random, *, optional: bool, root: JsonValue, depth: int) -> JsonValue:
    properties = schema.get("properties")
    required = schema.get("required")
    needed = {item for item in required if isinstance(item, str)} if isinstance(required, list) else set()
    result: JsonObject = {}
    if isinstance(properties, dict):
        for name, inner in properties.items():
            if name in needed or (optional and depth < _DEEPEST):
                result[name] = synthesise(inner, rng, optional=optional, root=root, depth=depth + 1)
    for name in sorted(needed - result.keys()):
        result[name] = rng.choice(_WORDS)
    return result


def _array(schema: JsonObject, rng: random.Random, *, optional: bool, root: JsonValue, depth: int) -> JsonValue:
    least = schema.get("minItems")
    most = schema.get("maxItems")
    fixed = schema.get("prefixItems")
    first = fixed if isinstance(fixed, list) else []
    result: list[JsonValue] = [synthesise(inner, rng, optional=optional, root=root, depth=depth + 1) for inner in first]
    wanted = max(least if isinstance(least, int) else 0, 0 if depth >= _DEEPEST else 1)
    if isinstance(most, int):
        wanted = min(wanted, most)
    while len(result) < wanted:
        result.append(synthesise(schema.get("items", True), rng, optional=optional, root=root, depth=depth + 1))
    return result


def _number(schema: JsonObject, rng: random.Random, *, whole: bool) -> JsonValue:
    def bound(name: str) -> float | None:
        value = schema.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    low, high = bound("minimum"), bound("maximum")
    above, below = bound("exclusiveMinimum"), bound("exclusiveMaximum")
    unit = 1 if whole else 0.5
    if low is None:
        low = above + unit if above is not None else None
    if high is None:
        high = below - unit if below is not None else None
    if low is None:
        low = high - 10 if high is not None else 1
    if high is None:
        high = low + 41
    step = bound("multipleOf")
    if step:
        return _tidy(-(-low // step) * step, whole=whole)
    value = low + rng.randrange(max(int(high - low), 0) + 1)
    return _tidy(min(value, high), whole=whole)


def _tidy(value: float, *, whole: bool) -> int | float:
    return int(value) if whole else float(value)


def _string(schema: JsonObject, rng: random.Random) -> str:
    form = schema.get("format")
    if isinstance(form, str) and form in _FORMATS:
        return _FORMATS[form]
    text = rng.choice(_WORDS)
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int):
        while len(text) < least:
            text += " " + rng.choice(_WORDS)
    return text[:most] if isinstance(most, int) else text


def required_first(schema: JsonValue) -> JsonValue:
    """The schema with required properties before optional ones, each in their order: how Claude writes structured output.

    Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs ("Property ordering").
    """
    if isinstance(schema, list):
        return [required_first(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: JsonObject = {key: required_first(value) for key, value in schema.items()}
    properties, required = result.get("properties"), result.get("required")
    if isinstance(properties, dict):
        needed = required if isinstance(required, list) else []
        ordered = sorted(properties, key=lambda name: name not in needed)
        result["properties"] = {name: properties[name] for name in ordered}
    return result
