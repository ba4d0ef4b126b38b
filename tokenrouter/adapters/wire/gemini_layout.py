"""Where the pieces of a generateContent request stand, and how a changed piece gets back to its place.

The API takes every protocol name in two spellings (`systemInstruction`, `system_instruction`), one object where a list belongs, and
functions in one entry of `tools` or in several. What a client wrote is found again as it was.
Source: https://ai.google.dev/api/generate-content, https://protobuf.dev/programming-guides/json (names, null, single values).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tokenrouter.adapters.json_body import read_fields
from tokenrouter.errors import InvalidJSON, InvalidRequest

_list = msgspec.json.Decoder(list[msgspec.Raw])
_SNAKE = re.compile(r"_([a-z])")
NULL = msgspec.Raw(b"null")
_SYSTEM_ROLES = ("user", "system")


def camel(name: str) -> str:
    """A protocol name in the spelling of the reference: `inline_data` is `inlineData`."""
    return _SNAKE.sub(lambda match: match[1].upper(), name) if "_" in name else name


def camel_members(value: Mapping[str, object]) -> dict[str, object]:
    """The members of a decoded protocol object under their names of the reference. Raises InvalidRequest for one that stands there twice."""
    plain = {camel(name): inner for name, inner in value.items()}
    if len(plain) != len(value):
        raise _twice(value)
    return plain


def spelled(fields: Iterable[str]) -> dict[str, str]:
    """How the client spells each member: name of the reference -> name in the request. Raises InvalidRequest for one in both spellings."""
    names = list(fields)
    found = {camel(name): name for name in names}
    if len(found) != len(names):
        raise _twice(names)
    return found


def no_pseudo_names(fields: Iterable[str]) -> None:
    """Names with a colon in front are what the path and the query say. Raises InvalidRequest for a member that is spelled like one."""
    for name in fields:
        if name.startswith(":"):
            raise InvalidRequest(f"{name[:60]} is no field of the body", param=name[:60])


def _twice(names: Iterable[str]) -> InvalidRequest:
    plain = [camel(name) for name in names]
    name = next(name for name in plain if plain.count(name) > 1)
    return InvalidRequest(f"{name} stands twice, in two spellings", param=name)


def raw_members(raw: msgspec.Raw | bytes, path: str) -> dict[str, msgspec.Raw]:
    """The members of an object as slices. Raises InvalidRequest where it is none, or says something twice."""
    data = bytes(raw)
    if not data.startswith(b"{"):
        raise InvalidRequest(f"{path} must be an object", param=path)
    try:
        return read_fields(data)
    except InvalidJSON as error:
        raise InvalidJSON(f"{path}: {error.message}", param=path) from error


def raw_items(raw: msgspec.Raw | bytes, path: str) -> tuple[msgspec.Raw, ...]:
    """The items of a list as slices; a single object stands for a list of one. Raises InvalidRequest for anything else."""
    data = bytes(raw)
    if data.startswith(b"{"):
        return (msgspec.Raw(data),)
    try:
        return tuple(_list.decode(data))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} must be an array", param=path) from error


def joined(items: Sequence[bytes]) -> bytes:
    """A JSON array of pieces that are JSON already."""
    return b"[" + b",".join(items) + b"]"


def written(members: Mapping[str, msgspec.Raw | bytes]) -> bytes:
    """A JSON object of members that are JSON already."""
    return b"{" + b",".join([msgspec.json.encode(name) + b":" + bytes(value) for name, value in members.items()]) + b"}"


def system_pieces(raw: msgspec.Raw) -> tuple[msgspec.Raw, ...]:
    """The parts of a system instruction. It is one piece itself where it is text, or says more than its parts."""
    if raw == NULL:
        return ()
    if not bytes(raw).startswith(b"{"):
        return (raw,)
    members = raw_members(raw, "systemInstruction")
    parts = members.get("parts")
    alone = parts is not None and all(name == "parts" or (name == "role" and _says_nothing(value)) for name, value in members.items())
    if parts is None or not alone:
        return (raw,)
    pieces = raw_items(parts, "systemInstruction.parts")
    for index, piece in enumerate(pieces):
        if not bytes(piece).startswith(b"{"):  # text would be taken for an instruction that is text
            where = f"systemInstruction.parts[{index}]"
            raise InvalidRequest(f"{where}: a part must be an object", param=where)
    return pieces


def _says_nothing(role: msgspec.Raw) -> bool:
    """Whether the role of a system instruction adds nothing to it, however it is escaped."""
    try:
        return msgspec.json.decode(role) in _SYSTEM_ROLES
    except (ValueError, RecursionError):
        return False  # its piece is read as a whole, and says what is wrong


def with_system(raw: msgspec.Raw, pieces: Sequence[bytes]) -> bytes:
    """The same system instruction with other pieces."""
    if system_pieces(raw) == (raw,):
        return pieces[0]
    members = raw_members(raw, "systemInstruction")
    return written({**members, "parts": joined(pieces)})


def tool_pieces(raw: msgspec.Raw) -> tuple[tuple[msgspec.Raw, ...], str]:
    """The functions, where the entries hold nothing else; otherwise the entries. And where the functions stand, if that is one list."""
    if raw == NULL:
        return (), ""
    entries = raw_items(raw, "tools")
    functions = _only_functions(entries)
    if functions is not None:
        return functions[1], f"tools[0].{functions[0]}" if len(entries) == 1 else ""
    for index, entry in enumerate(entries):
        if "name" in raw_members(entry, f"tools[{index}]"):  # or it would be taken for a function of the other form
            where = f"tools[{index}].name"
            raise InvalidRequest(f"{where}: the functions of a tool stand in its functionDeclarations", param=where)
    return entries, ""


def with_tools(raw: msgspec.Raw, pieces: Sequence[bytes]) -> bytes:
    """The same list with other pieces. Functions of several entries come together in one, which offers the same."""
    functions = _only_functions(raw_items(raw, "tools"))
    return joined(pieces) if functions is None else joined([written({functions[0]: joined(pieces)})])


def _only_functions(entries: Sequence[msgspec.Raw]) -> tuple[str, tuple[msgspec.Raw, ...]] | None:
    """How the first entry spells it, and the functions of all entries; None where an entry says anything else, or nothing."""
    spelling, functions = "", list[msgspec.Raw]()
    for index, entry in enumerate(entries):
        members = raw_members(entry, f"tools[{index}]")
        name = next(iter(members), "")
        if len(members) != 1 or camel(name) != "functionDeclarations" or members[name] == NULL:
            return None
        spelling = spelling or name
        functions += raw_items(members[name], f"tools[{index}].functionDeclarations")
    return (spelling, tuple(functions)) if spelling else None
