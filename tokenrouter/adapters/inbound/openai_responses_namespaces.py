"""Tools in a namespace, for vendors that know none: the name becomes part of the tool's, and is taken off again in the answer.

A name is the same in every turn, and is undone by the request's own list of tools, never by guessing at underscores.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.wire.reading import members, text

_JOINT = "__"


def flat_name(space: str, name: str) -> str:
    """A tool's name with its namespace."""
    return f"{space}{_JOINT}{name}" if space else name


def spaces_of(tools: Sequence[msgspec.Raw]) -> Mapping[str, tuple[str, str]]:
    """(namespace, name) of every tool in a namespace, by the name under which it is sent."""
    found: dict[str, tuple[str, str]] = {}
    for raw in tools:
        if b'"namespace"' not in bytes(raw):
            continue
        tool = members(msgspec.json.decode(raw))
        inner = tool.get("tools")
        if text(tool.get("type")) == "namespace":
            space = text(tool.get("name"))
            for value in inner if isinstance(inner, list) else []:
                name = text(members(value).get("name"))
                found[flat_name(space, name)] = (space, name)
    return found
