"""Signed reasoning in captured histories. Only its vendor can check it, and the simulated ones would refuse it, so it goes up unsigned.

Its text stays where it stood, as plain text, so that prompts keep their sizes; what nobody can read (redacted, encrypted) is left out. Every policy
is given the same, so that comparisons hold.
"""

from typing import Final

import msgspec

_HINTS: Final = (b'"signature"', b'"redacted_thinking"', b'"encrypted_content"', b'"thoughtSignature"', b'"thought_signature"')
_GEMINI_UNSIGNED: Final = "skip_thought_signature_validator"
"""Google's own word for calls that another model made: https://ai.google.dev/gemini-api/docs/thought-signatures."""


def without_signatures(body: bytes) -> bytes:
    """The same request; byte for byte where nothing in it is signed, or where it is no JSON."""
    if not any(hint in body for hint in _HINTS):
        return body
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body
    if not isinstance(value, dict):
        return body
    plain = dict(value)
    for name, each in (("messages", _message), ("input", _item), ("contents", _content)):
        if isinstance(plain.get(name), list):
            plain[name] = [said for piece in plain[name] if (said := each(piece)) is not None]
    return body if plain == value else msgspec.json.encode(plain)


def _message(message: object) -> object:
    """Of the Messages API, or of Chat Completions."""
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return message
    parts = [said for part in message["content"] if (said := _thinking(part)) is not None]
    return {**message, "content": parts} if parts else None


def _thinking(part: object) -> object:
    if not isinstance(part, dict) or part.get("type") not in ("thinking", "redacted_thinking"):
        return part
    text = part.get("thinking")
    return {"type": "text", "text": text} if isinstance(text, str) and text.strip() else None


def _item(item: object) -> object:
    """Of the Responses API."""
    return None if isinstance(item, dict) and item.get("type") == "reasoning" and item.get("encrypted_content") else item


def _content(content: object) -> object:
    """Of Gemini's API."""
    if not isinstance(content, dict) or not isinstance(content.get("parts"), list):
        return content
    return {**content, "parts": [_part(part) for part in content["parts"]]}


def _part(part: object) -> object:
    if not isinstance(part, dict):
        return part
    kept = {name: value for name, value in part.items() if name not in ("thoughtSignature", "thought_signature")}
    if len(kept) != len(part) and "functionCall" in kept:
        kept["thoughtSignature"] = _GEMINI_UNSIGNED
    return kept
