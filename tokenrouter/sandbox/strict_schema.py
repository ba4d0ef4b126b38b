"""What `strict: true` demands of a JSON schema: every object closed, every property required.

Source: https://developers.openai.com/api/docs/guides/structured-outputs ("Supported schemas").
"""

from tokenrouter.sandbox.chat_request import invalid
from tokenrouter.sandbox.wire import JsonValue, Refusal

_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")


def check_strict(schema: JsonValue, owner: str, param: str, code: str) -> None:
    """Refuse a schema that is not strict. `owner` is how the message calls it: "function 'f'"."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        kind = schema.get("type") if isinstance(schema, dict) else None
        raise _bad(owner, (), f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'.", param, code)
    _walk(schema, (), owner, param, code)


def _walk(schema: JsonValue, path: tuple[str, ...], owner: str, param: str, code: str) -> None:
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        if schema.get("additionalProperties") is not False:
            raise _bad(owner, path, "'additionalProperties' is required to be supplied and to be false.", param, code)
        names = list(properties) if isinstance(properties, dict) else []
        required = schema.get("required")
        absent = [name for name in names if not isinstance(required, list) or name not in required]
        if absent:
            listed = "'required' is required to be supplied and to be an array including every key in properties."
            raise _bad(owner, path, f"{listed} Missing '{absent[0]}'.", param, code)
    for key in _MAPS:
        inner = schema.get(key)
        for name, value in inner.items() if isinstance(inner, dict) else ():
            _walk(value, (*path, key, name), owner, param, code)
    for key in _LISTS:
        options = schema.get(key)
        for index, value in enumerate(options if isinstance(options, list) else []):
            _walk(value, (*path, key, str(index)), owner, param, code)
    _walk(schema.get("items"), (*path, "items"), owner, param, code)


def _bad(owner: str, path: tuple[str, ...], why: str, param: str, code: str) -> Refusal:
    return invalid(f"Invalid schema for {owner}: In context={path!r}, {why}", param, code)
