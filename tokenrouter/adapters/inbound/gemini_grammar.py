"""What the insides of a generateContent request mean to the pipeline; see `Grammar`.

Source: google-genai 3.4 `types.py`; https://ai.google.dev/api/generate-content; prices: https://ai.google.dev/gemini-api/docs/pricing.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from tokenrouter.adapters.inbound.gemini_params import read_params
from tokenrouter.adapters.inbound.gemini_parts import is_block, media_of, parts_of, plain_content, plain_part
from tokenrouter.adapters.wire.gemini_layout import camel, camel_members
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.chunk import Mark, Shape
from tokenrouter.model.envelope import CallSaid, ParamFacts, PieceFacts
from tokenrouter.model.volatile import Volatile, without_lines

MARK_SPELLINGS = ("cache_control", "cacheControl", "prompt_cache_breakpoint", "promptCacheBreakpoint")
"""Cache marks of other vendors. This one takes none: the translation lane carries them, the native one leaves them out."""

_DIRECTIVES = frozenset(MARK_SPELLINGS)
_LEAF = Shape()


def _both(children: Mapping[str, Shape]) -> dict[str, Shape]:
    """Children under both of their spellings."""
    return {**children, **{"".join([f"_{letter.lower()}" if letter.isupper() else letter for letter in name]): s for name, s in children.items()}}


_MEDIA = _both({"inlineData": _LEAF, "fileData": _LEAF, "videoMetadata": _LEAF, "mediaResolution": _LEAF})
_PART = Shape(
    children=_both(
        {
            **_MEDIA,
            "functionCall": _LEAF,
            "functionResponse": Shape(children={"parts": Shape(children=_MEDIA)}),
            "executableCode": _LEAF,
            "codeExecutionResult": _LEAF,
        }
    ),
    directives=_DIRECTIVES,
)
_CONTENT = Shape(children={"parts": _PART}, directives=_DIRECTIVES)
_SYSTEM = Shape(children={**_PART.children, "parts": _PART}, directives=_DIRECTIVES)
_FUNCTION = Shape(directives=_DIRECTIVES)
_TOOL = Shape(children=_both({"functionDeclarations": _FUNCTION}), directives=_DIRECTIVES)
_PARAMS = Shape(
    children={
        "generationConfig": Shape(children={"thinkingConfig": _LEAF}),
        "toolConfig": Shape(children={"functionCallingConfig": _LEAF}),
        "safetySettings": _LEAF,
    }
)

_ROLES = {"user": "user", "model": "assistant", "function": "tool"}
_LIFETIMES = {"5m": 300, "30m": 1800, "1h": 3600, "12h": 43_200}

# Tokens are all that these cost: functions and the computer are the client's own, and running code "is billed at the current rate of
# input and output tokens" (https://ai.google.dev/gemini-api/docs/code-execution). Searches, maps and file stores have prices of their
# own, and what is fetched from an address has a size that nobody here can bound.
_SERVED_TOOLS = frozenset(("functionDeclarations", "codeExecution", "computerUse"))


class GeminiGrammar:
    """See `Grammar`."""

    places = ("systemInstruction.parts", "contents", "tools")
    argument_text = False
    system_shape = _SYSTEM
    message_shape = _CONTENT
    tool_shape = _TOOL
    params_shape = _PARAMS

    def read_message(self, value: object) -> PieceFacts:
        """See `Grammar`. Only what the gateway relies on is checked; the rest is the vendor's to judge."""
        if not isinstance(value, dict):
            raise InvalidRequest("a content must be an object")
        content = plain_content(value)
        said = content.get("role")
        role = _ROLES.get(said) if isinstance(said, str) else "user" if said is None else None
        if role is None:
            shown = msgspec.json.encode(said).decode()[:80]
            raise InvalidRequest(f"unknown role {shown}; one of user, model", param="role")
        return _facts(role, content, parts_of(content), _marks_of(content, -1, ""))

    def read_system(self, value: object) -> PieceFacts:
        """See `Grammar`. A piece is a part, or the whole instruction where that is text or says more than its parts."""
        if isinstance(value, str):
            return PieceFacts(role="system", answer_value=value, texts=(value,))
        if not isinstance(value, dict):
            raise InvalidRequest("systemInstruction must be a content: an object with parts")
        if "parts" in value:
            content = plain_content(value)
            return _facts("system", content, parts_of(content), _marks_of(content, -1, ""))
        part = plain_part(value, "")
        return _facts("system", part, [part], [])

    def read_tool(self, value: object) -> PieceFacts:
        """See `Grammar`. Tools that the vendor runs itself make an answer depend on more than the request."""
        if not isinstance(value, dict):
            raise InvalidRequest("a tool must be an object")
        tool = camel_members(value)
        marks = tuple(_marks_of(tool, -1, ""))
        if "name" in tool:
            name = tool["name"]
            if not isinstance(name, str) or not name:
                raise InvalidRequest("a function needs a name", param="name")
            return PieceFacts(role="tool definition", answer_value=tool, name=name, marks=marks)
        kinds = [kind for kind, inner in tool.items() if inner is not None and kind not in _DIRECTIVES]
        for kind in kinds:
            if kind not in _SERVED_TOOLS:
                raise UnsupportedField(f"{kind[:80]} is not served here yet: what it costs is not known to the gateway", param=kind)
        functions = tool.get("functionDeclarations")
        listed = functions if isinstance(functions, list) else [functions] if isinstance(functions, dict) else []
        names = [name for function in listed if isinstance(function, dict) and isinstance(name := function.get("name"), str)]
        name = names[0] if names else kinds[0] if kinds else ""
        return PieceFacts(role="tool definition", answer_value=tool, name=name, marks=marks, stateful=kinds != ["functionDeclarations"])

    def without_lines(self, value: object, lines: Sequence[Volatile]) -> object:
        """See `Grammar`."""
        if isinstance(value, str):
            return without_lines(value, lines)
        if not isinstance(value, dict):
            return value
        if "parts" not in value:
            text = value.get("text")
            return {**value, "text": without_lines(text, lines)} if isinstance(text, str) else value
        inner = value["parts"]
        kept = [self.without_lines(part, lines) for part in (inner if isinstance(inner, list) else [inner])]
        return {**value, "parts": kept}

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`."""
        return read_params(fields)


def _facts(role: str, value: dict[str, object], parts: list[dict[str, object]], marks: list[Mark]) -> PieceFacts:
    """What a content says, or a system piece. `marks`: those on the content as a whole; a mark on a part counts the blocks before it."""
    blocks = 0
    for place, part in enumerate(parts):
        marks += _marks_of(part, blocks, "" if part is value else f"parts[{place}].")
        blocks += is_block(part)
    media = [found for part in parts for found in media_of(part)]
    files = [found.get("fileUri") for kind, found in media if kind == "fileData"]
    pictures = [found for _, found in media if str(found.get("mimeType", "")).lower().startswith("image/")]
    last = next((part for part in reversed(parts) if is_block(part)), None)
    answers = tuple([_string(response, "id") for part in parts if isinstance(response := part.get("functionResponse"), dict)])
    return PieceFacts(
        role=role,
        answer_value=value,
        blocks=max(1, blocks),
        images=len(pictures),
        opaque_bytes=sum(len(data) for found in pictures if isinstance(data := found.get("data"), str)),
        marks=tuple(marks),
        markable=last is not None and last.get("text") != "",
        stateful=bool(files) or any(map(_is_unknown, parts)),
        object_id=any(map(_is_object_id, files)),
        texts=tuple([text for part in parts if isinstance(text := part.get("text"), str)]) if role == "system" else (),
        calls=tuple([_call(call, part) for part in parts if isinstance(call := part.get("functionCall"), dict)]),
        answers=answers,
        bare={**value, "parts": [_without_id(part) for part in parts]} if any(answers) else None,
        signed=any(part.get("thoughtSignature") for part in parts),
    )


def _string(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _call(call: Mapping[str, object], part: Mapping[str, object]) -> CallSaid:
    arguments = msgspec.json.encode(call.get("args") or {}).decode()
    return CallSaid(_string(call, "id"), _string(call, "name"), arguments, sealed=bool(part.get("thoughtSignature")))


def _without_id(part: dict[str, object]) -> dict[str, object]:
    response = part.get("functionResponse")
    if not isinstance(response, dict):
        return part
    return {**part, "functionResponse": {name: inner for name, inner in response.items() if name != "id"}}


def _marks_of(piece: Mapping[str, object], part: int, path: str) -> list[Mark]:
    """The marks on a piece whose members have their names of the reference."""
    marks = []
    for name, kind, word in (("cache_control", "type", "ephemeral"), ("prompt_cache_breakpoint", "mode", "explicit")):
        value = piece.get(camel(name))
        if value is None:
            continue
        place = path + name  # the word of the API that it comes from; this one has none for it
        if not isinstance(value, dict) or value.get(kind) != word:
            raise InvalidRequest(f'a cache mark is {{"{kind}": "{word}"}}', param=place)
        ttl = value.get("ttl")
        if ttl is not None and not (isinstance(ttl, str) and ttl in _LIFETIMES):
            raise InvalidRequest(f"unknown lifetime; one of {', '.join(_LIFETIMES)}", param=f"{place}.ttl")
        marks.append(Mark(part, _LIFETIMES[ttl] if ttl else 0, name))
    return marks


_CONTAINED = frozenset(("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"))
_BESIDE = frozenset(("thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata", *map(camel, MARK_SPELLINGS)))


def _is_unknown(part: Mapping[str, object]) -> bool:
    """It may refer to something that only the provider holds. Files are looked at on their own."""
    return any(name not in _CONTAINED and name not in _BESIDE for name in part)


def _is_object_id(uri: object) -> bool:
    """An uploaded file or an object in a bucket, which the account may read; plain addresses on the web are nobody's."""
    if not isinstance(uri, str):
        return True
    try:
        parts = urlsplit(uri.strip())
    except ValueError:
        return True
    return parts.scheme.lower() not in ("http", "https") or "generativelanguage" in (parts.hostname or "")
