"""A request without its words: what people and programs wrote is replaced by pseudo-words, all that makes it a request stays.

What stays: the JSON with its spaces and its order, names of members, roles, types, models, names of tools, numbers, and words that are
parameters ("auto", "high"). Everything else that is a string goes, whether this module knows its member or not.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from tokenrouter.observe.pseudonyms import Words

Zone = Literal["plain", "schema", "free"]

_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],]', re.DOTALL)
_MEMO_FROM: Final = 64
_MEMO_ROOM: Final = 32 << 20

_STAYS: Final = frozenset(
    (
        *("type", "role", "model", "media_type", "mime_type", "mimeType", "responseMimeType", "response_mime_type", "ttl", "object", "tool_name"),
        *(
            "effort",
            "reasoning_effort",
            "service_tier",
            "truncation",
            "format",
            "syntax",
            "verbosity",
            "detail",
            "prompt_cache_retention",
            "keep_alive",
            "tool_choice",
        ),
        *("modalities", "responseModalities", "response_modalities", "include", "betas", "anthropic_beta", "anthropic_version", "status", "mode"),
        *("allowedFunctionNames", "allowed_function_names", "category", "threshold", "thinkingLevel", "thinking_level", "encoding_format"),
        *("name", "server_label", "x-cache", "x-dedup", "x-edits-off", "x-edits-on", "x-metadata"),
    )
)
_STAYS_IN_SCHEMA: Final = frozenset(
    ("type", "format", "pattern", "required", "propertyOrdering", "property_ordering", "$ref", "$schema", "$id", "$anchor", "$dynamicRef")
)
_PARAMETERS: Final = frozenset(
    (
        *("auto", "none", "any", "required", "ephemeral", "enabled", "disabled", "adaptive", "low", "medium", "high", "minimal", "xhigh", "max"),
        *("default", "concise", "detailed", "standard", "priority", "flex", "json", "in_memory", "24h", "5m", "1h", "30m", "implicit", "explicit"),
    )
)
_TEXTS: Final = frozenset(("text", "content", "input", "output", "prompt", "system", "instructions", "description", "thinking", "arguments", "user"))
_SCHEMAS: Final = frozenset(
    (
        *("input_schema", "parameters", "schema", "responseSchema", "response_schema", "responseJsonSchema", "response_json_schema"),
        *("parametersJsonSchema", "parameters_json_schema"),
    )
)
_FREE: Final = frozenset(("args", "metadata", "response", "labels", "variables", "attributes", "env", "headers", "chat_template_kwargs"))
_JSON_TEXTS: Final = frozenset(("arguments", "user_id"))
"""Texts that may be JSON, whose members keep their names."""
_FREE_WITHIN: Final = frozenset(("input", "arguments"))
_FREE_IN_SCHEMA: Final = frozenset(("enum", "const", "default", "examples", "example"))
_PEOPLE: Final = ("messages", "#")
_DEEP: Final = 4
_KEPT_QUERY: Final = frozenset(("alt", "beta", "api-version"))


class _Container:
    """One object or list on the way to where we are.

    key      of the member that is being read; of a list, the member that it is
    member   what it is itself: of an object, the member; "#" in a list
    path     the first members on the way to it
    names    a name comes next
    """

    __slots__ = ("is_object", "key", "member", "names", "path", "zone")

    def __init__(self, *, is_object: bool, key: str, member: str, path: tuple[str, ...], zone: Zone) -> None:
        self.is_object, self.key, self.member, self.path, self.zone = is_object, key, member, path, zone
        self.names = is_object


class Scrambler:
    """Scrambles requests of one file. For one thread. `known`: beginnings of texts by which clients' own lines are told; they stay."""

    def __init__(self, key: bytes = b"", *, known: Sequence[str] = ()) -> None:
        self._words = Words(key)
        self._known = tuple(known)
        self._memo: dict[tuple[bool, bool, str], str] = {}
        self._memo_size = 0

    def body(self, body: bytes) -> bytes:
        """A request's body. Raises UnicodeDecodeError for what is no JSON."""
        return self._json(body.decode(), "plain").encode()

    def headers(self, headers: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
        """Those in `names` name somebody or something; others are parameters."""
        return {name: self._words.identifier(value) if name in names else value for name, value in headers.items()}

    def query(self, query: str) -> str:
        """What is known to be a parameter; the rest is left out."""
        return "&".join(part for part in query.split("&") if part.partition("=")[0] in _KEPT_QUERY)

    def _json(self, text: str, zone: Zone) -> str:
        stack = [_Container(is_object=False, key="", member="", path=(), zone=zone)]

        def token(match: re.Match[str]) -> str:
            said, here = match[0], stack[-1]
            if said in "{[":
                stack.append(_inside(here, is_object=said == "{"))
            elif said in "}]":
                if len(stack) > 1:
                    stack.pop()
            elif said == ",":
                here.names = here.is_object
            elif here.names:
                here.key, here.names = said[1:-1], False
            else:
                return self._string(said, here)
            return said

        return _TOKEN.sub(token, text)

    def _string(self, said: str, here: _Container) -> str:
        if _stays(said[1:-1], here):
            return said
        identifies = here.zone == "plain" and (here.key == "id" or here.key.endswith(("_id", "Id")))
        kind = (identifies, here.key in _JSON_TEXTS, said)
        known = self._memo.get(kind) if len(said) >= _MEMO_FROM else None
        if known is not None:
            return known
        try:
            text = json.loads(said, strict=False)
        except ValueError:
            return '""'  # of JSON inside a text, which nobody has looked at
        made = json.dumps(self._said(text, identifies=identifies, key=here.key), ensure_ascii="\\u" in said)
        if len(said) >= _MEMO_FROM:
            self._memo_size += len(said) + len(made)
            if self._memo_size > _MEMO_ROOM:
                self._memo.clear()
                self._memo_size = len(said) + len(made)
            self._memo[kind] = made
        return made

    def _said(self, text: str, *, identifies: bool, key: str) -> str:
        if text[:1] in ("{", "[") and (identifies or key in _JSON_TEXTS):
            return self._json(text, "free")
        if identifies:
            return self._words.identifier(text)
        head = next((known for known in self._known if text.startswith(known)), "")
        return head + self._words.text(text[len(head) :])


def _inside(here: _Container, *, is_object: bool) -> _Container:
    member = here.key if here.is_object else "#"
    path = (*here.path, member) if len(here.path) < _DEEP else (*here.path[:-1], "")
    return _Container(is_object=is_object, key="" if is_object else here.key, member=member, path=path, zone=_zone(here))


def _zone(here: _Container) -> Zone:
    key = here.key
    if here.zone == "schema":
        return "free" if key in _FREE_IN_SCHEMA and here.member != "properties" else "schema"
    if here.zone == "free" or not here.is_object:
        return here.zone
    if key in _SCHEMAS or (key == "format" and len(here.path) == 1):
        return "schema"
    within = key in _FREE_WITHIN and len(here.path) > 1
    return "free" if key in _FREE or within else "plain"


def _stays(value: str, here: _Container) -> bool:
    """Whether a string is a part of what makes this a request."""
    key = here.key
    if here.zone == "free":
        return False
    if here.zone == "schema":
        return key in _STAYS_IN_SCHEMA
    if key == "name" and here.path[1:] == _PEOPLE:
        return False
    return key in _STAYS or (value in _PARAMETERS and key not in _TEXTS)
