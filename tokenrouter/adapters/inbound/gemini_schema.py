"""Google's `Schema`, a part of OpenAPI 3.0 with types in capitals, as a JSON schema that other vendors read.

A schema that is a JSON schema already keeps its spelling. Member order is kept: models write their output in it.
Source: google-genai 3.4 `types.py` (Schema); https://spec.openapis.org/oas/v3.0.3#schema-object (nullable).
"""

import msgspec

_decoder = msgspec.json.Decoder(float_hook=lambda spelled: msgspec.Raw(spelled.encode()))
_TYPES = frozenset(("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"))
_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
_SCHEMAS = frozenset(("anyOf", "prefixItems"))
_SNAKE = {
    "any_of": "anyOf",
    "max_items": "maxItems",
    "min_items": "minItems",
    "max_length": "maxLength",
    "min_length": "minLength",
    "max_properties": "maxProperties",
    "min_properties": "minProperties",
    "property_ordering": "propertyOrdering",
    "additional_properties": "additionalProperties",
}


def json_schema(raw: msgspec.Raw | None) -> msgspec.Raw | None:
    """The same schema in the common words; `raw` itself where nothing had to change. None stays None."""
    if raw is None:
        return None
    try:
        value = _decoder.decode(raw)
    except (ValueError, RecursionError):
        return raw  # its piece was read before; whoever gets it says what is wrong
    plain = _schema(value)
    return raw if plain == value else msgspec.Raw(msgspec.json.encode(plain))


def _schema(value: object) -> object:
    if not isinstance(value, dict):
        return value
    plain: dict[str, object] = {}
    said: str
    for said, inner in value.items():
        name = _SNAKE.get(said, said)
        if name in ("nullable", "propertyOrdering") or (name == "type" and inner == "TYPE_UNSPECIFIED"):
            continue
        if name == "type" and isinstance(inner, str) and inner.upper() in _TYPES:
            plain[name] = inner.lower()
        elif name in _COUNTS and isinstance(inner, str) and inner.isdigit():
            plain[name] = int(inner)
        elif name == "properties" and isinstance(inner, dict):
            plain[name] = {key: _schema(inner[key]) for key in _ordered(inner, value)}
        elif name in ("items", "additionalProperties"):
            plain[name] = _schema(inner)
        elif name in _SCHEMAS and isinstance(inner, list):
            plain[name] = [_schema(item) for item in inner]
        else:
            plain[name] = inner
    return _nullable(plain) if value.get("nullable") is True else plain


def _ordered(properties: dict[str, object], schema: dict[str, object]) -> list[str]:
    """The properties in the order that the schema asks for."""
    wanted = schema.get("propertyOrdering", schema.get("property_ordering"))
    first = [name for name in wanted if isinstance(name, str) and name in properties] if isinstance(wanted, list) else []
    return [*dict.fromkeys(first), *[name for name in properties if name not in first]]


def _nullable(plain: dict[str, object]) -> dict[str, object]:
    kind = plain.get("type")
    if isinstance(kind, str):
        plain["type"] = [kind, "null"]
    elif isinstance(plain.get("anyOf"), list):
        plain["anyOf"] = [*plain["anyOf"], {"type": "null"}]  # type: ignore[misc]  # a list, as just seen
    if isinstance(values := plain.get("enum"), list) and None not in values:
        plain["enum"] = [*values, None]
    return plain
