"""Sets the output limit in a client's own body (edit `limits.fit`), in each dialect's own words."""

from collections.abc import Mapping
from typing import Final

import msgspec

from tokenrouter.adapters.json_body import read_fields

_WORDS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "openai-chat": (("max_completion_tokens",), ("max_tokens",)),
    "neutral-chat": (("max_tokens",),),
    "openai-responses": (("max_output_tokens",),),
    "anthropic-messages": (("max_tokens",),),
    "gemini-generate": (("generationConfig", "maxOutputTokens"), ("generation_config", "max_output_tokens")),
    "ollama-chat": (("options", "num_predict"),),
    "ollama-generate": (("options", "num_predict"),),
}
"""Where the limit stands; the first is written where none does."""

_LEAST: Final[Mapping[str, int]] = {"openai-responses": 16}
_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def with_output_limit(dialect: str, body: bytes, most: int) -> bytes | None:
    """The body with its output limit set to `most` tokens per choice, everything else as it was.

    None where that can not be: the dialect has no such word, takes no such small number, or reasoning was promised more than that.
    """
    words = _WORDS.get(dialect)
    if words is None or most < _LEAST.get(dialect, 1):
        return None
    fields = read_fields(body)
    if _promised(fields) >= most:
        return None
    standing = [path for path in words if path[0] in fields] or [words[0]]
    changed: dict[str, msgspec.Raw] = dict(fields)
    for path in standing:
        changed[path[0]] = msgspec.Raw(_set(fields.get(path[0]), path[1:], most))
    return _object(changed)


def _set(raw: msgspec.Raw | None, path: tuple[str, ...], most: int) -> bytes:
    if not path:
        return b"%d" % most
    try:
        inner = _members.decode(raw) if raw is not None else {}
    except msgspec.DecodeError:
        inner = {}  # null: as if it were not there
    inner[path[0]] = msgspec.Raw(_set(inner.get(path[0]), path[1:], most))
    return _object(inner)


def _object(fields: Mapping[str, msgspec.Raw]) -> bytes:
    return b"{" + b",".join(_encode(name) + b":" + bytes(raw) for name, raw in fields.items()) + b"}"


def _promised(fields: Mapping[str, msgspec.Raw]) -> int:
    """Tokens that the request lets its reasoning take out of the output limit; a vendor refuses a limit below them."""
    raw = fields.get("thinking")
    if raw is None:
        return 0
    thinking = msgspec.json.decode(raw)
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return budget if isinstance(budget, int) else 0
