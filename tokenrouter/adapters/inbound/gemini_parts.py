"""The parts of a content, with protocol names as the reference spells them; arguments, results and schemas are left alone.

Source: google-genai 3.4 `types.py` (Content, Part, Blob, FileData, FunctionCall, FunctionResponse).
"""

from collections.abc import Mapping

from tokenrouter.adapters.wire.gemini_layout import camel_members
from tokenrouter.errors import InvalidRequest

_INNER = ("inlineData", "fileData", "functionCall", "functionResponse")


def plain_content(value: Mapping[str, object]) -> dict[str, object]:
    """A decoded content. Raises InvalidRequest, its `param` relative to the content."""
    content = camel_members(value)
    parts = content.get("parts")
    if isinstance(parts, dict):
        content["parts"] = plain_part(parts, "parts")
    elif isinstance(parts, list):
        content["parts"] = [plain_part(part, f"parts[{place}]") for place, part in enumerate(parts)]
    elif parts is not None:
        raise InvalidRequest("parts must be an array of parts", param="parts")
    return content


def plain_part(value: object, path: str) -> dict[str, object]:
    """A decoded part. `path`: where it stands. Raises InvalidRequest."""
    if not isinstance(value, dict):
        raise InvalidRequest("a part must be an object", param=path or None)
    try:
        part = camel_members(value)
        for name in _INNER:
            inner = part.get(name)
            if inner is None:
                continue
            if not isinstance(inner, dict):
                raise InvalidRequest(f"{name} must be an object", param=name)
            part[name] = plain = camel_members(inner)
            if name == "functionResponse" and plain.get("parts") is not None:
                plain["parts"] = _inside(plain["parts"])
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param=f"{path}.{error.param}" if path else error.param) from error
    return part


def _inside(parts: object) -> object:
    """The parts in what a function answered."""
    try:
        return plain_content({"parts": parts})["parts"]
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param=f"functionResponse.{error.param}") from error


def parts_of(content: Mapping[str, object]) -> list[dict[str, object]]:
    """The parts of a plain content; a single one stands for a list of one."""
    parts = content.get("parts")
    return parts if isinstance(parts, list) else [parts] if isinstance(parts, dict) else []


def is_block(part: Mapping[str, object]) -> bool:
    """Whether a part becomes a block that cache marks count: thoughts, and texts that only carry a signature, do not."""
    return not part.get("thought") and not (part.get("text") == "" and bool(part.get("thoughtSignature")))


def media_of(part: Mapping[str, object]) -> list[tuple[str, Mapping[str, object]]]:
    """(kind, object) of the media in a part, and in the result of a function."""
    found: list[tuple[str, Mapping[str, object]]] = []
    for name in ("inlineData", "fileData"):
        inner = part.get(name)
        if isinstance(inner, dict):
            found.append((name, inner))
    response = part.get("functionResponse")
    if isinstance(response, dict):
        found += [media for inner in parts_of(response) for media in media_of(inner)]
    return found
