"""The outside of a JSON request body: top-level members as raw slices, with the traps that parsers disagree on refused."""

import re

import msgspec

from tokenrouter.errors import InvalidJSON, InvalidRequest

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_string = msgspec.json.Decoder(str)
_SPACE = re.compile(rb"[ \t\r\n]*")
_LONE = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])", re.DOTALL)
_KEY = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def read_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of the body's object, in order, values undecoded.

    Raises:
        InvalidJSON: not a JSON object, or a key stands twice. What is inside the values is checked where it is first read.
    """
    try:
        fields = _object.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidJSON("the body must be a JSON object") from error
    except RecursionError as error:
        raise InvalidJSON("nested deeper than 64 levels") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJSON(f"the body is not valid JSON: {_reason(body, error)}") from error
    if not _lean(body, fields):
        _refuse_duplicates(body, fields)
    return fields


def read_list(raw: msgspec.Raw, name: str) -> tuple[msgspec.Raw, ...]:
    """The items of an array, undecoded. Raises InvalidRequest where `raw` is none."""
    try:
        return tuple(_list.decode(raw))
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{name} must be an array", param=name) from error


def read_extension(name: str, raw: msgspec.Raw) -> object:
    """Decode one of our own extension fields. Raises InvalidJSON."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJSON(f"{name}: {error}", param=name) from error


def _reason(body: bytes, error: Exception) -> str:
    if not body:
        return "it is empty"
    try:
        body.decode()
    except UnicodeDecodeError as bad:
        return f"invalid UTF-8 at byte {bad.start}"
    if body.startswith(b"\xef\xbb\xbf"):
        return "it starts with a byte order mark"
    if _LONE.search(body):
        return "a lone surrogate escape (\\ud800 to \\udfff without its partner) is not a character"
    return str(error).removeprefix("JSON is malformed: ")


def _lean(body: bytes, fields: dict[str, msgspec.Raw]) -> bool:
    """The body is exactly as long as its distinct members written without a space: there is no room for a second of any."""
    values = 0
    for raw in fields.values():
        values += memoryview(raw).nbytes
    return len(body) == values + sum(map(len, fields)) + 4 * len(fields) + 1


def _refuse_duplicates(body: bytes, fields: dict[str, msgspec.Raw]) -> None:
    """Walk the top level member by member. The last value of each key is known; where another one stands, the key is double."""
    seen: set[str] = set()
    at = _skip(body, body.index(b"{") + 1)
    while body[at : at + 1] != b"}":
        match = _KEY.match(body, at)
        if match is None:  # the decoder saw valid JSON, so a value that was skipped over was not the one that stands here
            raise InvalidJSON("a key stands twice in the body")
        key = _string.decode(match.group())
        value = bytes(fields[key])
        at = _skip(body, _skip(body, match.end()) + 1)
        end = _skip(body, at + len(value))
        if key in seen or body[at : at + len(value)] != value or body[end : end + 1] not in (b",", b"}"):
            raise InvalidJSON(f"the key {msgspec.json.encode(key).decode()} stands twice in the body", param=key)
        seen.add(key)
        at = _skip(body, end + 1) if body[end : end + 1] == b"," else end


def _skip(body: bytes, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match else at
