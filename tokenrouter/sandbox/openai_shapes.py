"""Small checks that add up to the shape of a request, and refuse in OpenAI's words what does not fit.

A check takes a value and where it stands ("input[0].content"), and raises a 400 or returns. Messages and codes: as the service answers
(https://developers.openai.com/api/docs/guides/error-codes and errors quoted in public issue trackers, read 2026-11).
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from tokenrouter.sandbox.chat_request import invalid, wrong_type
from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal

Check: TypeAlias = Callable[[JsonValue, str], None]
Checks: TypeAlias = Mapping[str, Check]
_ID = re.compile(r"[A-Za-z0-9_-]+")
ID_LENGTH = 64


def anything(value: JsonValue, at: str) -> None:
    """No check: what is not read need not be understood."""


def boolean(value: JsonValue, at: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong_type(at, "a boolean", value)


def text(*, most: int | None = None, pattern: str | None = None) -> Check:
    """A string of at most `most` characters, all of it matching `pattern`."""

    def check(value: JsonValue, at: str) -> None:
        if not isinstance(value, str):
            raise wrong_type(at, "a string", value)
        if most is not None and len(value) > most:
            wanted = f"Expected a string with maximum length {most}, but got a string with length {len(value)} instead."
            raise invalid(f"Invalid '{at}': string too long. {wanted}", at, "string_above_max_length")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise invalid(
                f"Invalid '{at}': string does not match pattern. Expected a string that matches the pattern '^{pattern}$'.", at, "invalid_value"
            )

    return check


def identity(prefix: str) -> Check:
    """The id of an item, of which the service knows how it begins."""

    def check(value: JsonValue, at: str) -> None:
        text(most=ID_LENGTH)(value, at)
        if not _ID.fullmatch(str(value)):
            wanted = "Expected an ID that contains letters, numbers, underscores, or dashes, but this value contained additional characters."
            raise invalid(f"Invalid '{at}': '{value}'. {wanted}", at, "invalid_value")
        if not str(value).startswith(prefix):
            raise invalid(f"Invalid '{at}': '{value}'. Expected an ID that begins with '{prefix}'.", at, "invalid_value")

    return check


def whole(least: int = 0, most: int = 1 << 40) -> Check:
    """An integer within its range."""

    def check(value: JsonValue, at: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(at, "an integer", value)
        _within(value, at, least, most, "integer")

    return check


def number(least: float, most: float) -> Check:
    """A number within its range."""

    def check(value: JsonValue, at: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise wrong_type(at, "a decimal", value)
        _within(value, at, least, most, "decimal")

    return check


def _within(value: float, at: str, least: float, most: float, kind: str) -> None:
    if least <= value <= most:
        return
    word, bound = ("below minimum", f">= {least}") if value < least else ("above maximum", f"<= {most}")
    message = f"Invalid '{at}': {kind} {word} value. Expected a value {bound}, but got {value} instead."
    raise invalid(message, at, f"{kind}_{word.replace(' ', '_')}_value")


def choice(*values: str) -> Check:
    """One of a few words."""

    def check(value: JsonValue, at: str) -> None:
        if value not in values:
            raise unsupported(value, at, values)

    return check


def unsupported(value: JsonValue, at: str, values: tuple[str, ...]) -> Refusal:
    """A word that is none of `values`."""
    *most, last = [repr(item) for item in values]
    listed = f"{', '.join(most)}{',' if len(most) > 1 else ''} and {last}" if most else last
    return invalid(f"Invalid value: '{value}'. Supported values are: {listed}.", at, "invalid_value")


def maybe(check: Check) -> Check:
    """The value or null."""

    def checked(value: JsonValue, at: str) -> None:
        if value is not None:
            check(value, at)

    return checked


def rows(check: Check, *, least: int = 0, most: int = 1 << 30) -> Check:
    """An array, each element checked."""

    def checked(value: JsonValue, at: str) -> None:
        if not isinstance(value, list):
            raise wrong_type(at, "an array", value)
        if len(value) < least:
            wanted = f"Expected an array with minimum length {least}, but got an empty array instead."
            raise invalid(f"Invalid '{at}': empty array. {wanted}", at, "empty_array")
        if len(value) > most:
            wanted = f"Expected an array with maximum length {most}, but got an array with length {len(value)} instead."
            raise invalid(f"Invalid '{at}': array too long. {wanted}", at, "array_above_max_length")
        for index, item in enumerate(value):
            check(item, f"{at}[{index}]")

    return checked


def table(check: Check, *, most: int = 1 << 30, key_length: int = 1 << 30) -> Check:
    """An object with names of the client's own, each value checked."""

    def checked(value: JsonValue, at: str) -> None:
        fields = _object(value, at)
        if len(fields) > most:
            wanted = f"Expected an object with at most {most} properties, but got an object with {len(fields)} properties instead."
            raise invalid(f"Invalid '{at}': too many properties. {wanted}", at, "object_above_max_properties")
        for name, inner in fields.items():
            text(most=key_length)(name, f"{at}.{name}")
            check(inner, f"{at}.{name}")

    return checked


def record(required: Checks, optional: Checks) -> Check:
    """An object with these fields and no other."""

    def checked(value: JsonValue, at: str) -> None:
        fields = _object(value, at)
        for name in required:
            if name not in fields:
                raise missing(join(at, name))
        for name, inner in fields.items():
            check = required.get(name) or optional.get(name)
            if check is None:
                raise unknown(join(at, name))
            check(inner, join(at, name))

    return checked


def by_type(kinds: Checks) -> Check:
    """An object that says what it is; the check of its kind sees the rest."""

    def checked(value: JsonValue, at: str) -> None:
        fields = _object(value, at)
        if "type" not in fields:
            raise missing(join(at, "type"))
        kind = fields["type"]
        check = kinds.get(kind) if isinstance(kind, str) else None
        if check is None:
            raise unsupported(kind, join(at, "type"), tuple(kinds))
        check({name: inner for name, inner in fields.items() if name != "type"}, at)

    return checked


def words_or(check: Check, wanted: str = "one of a string or array of objects") -> Check:
    """A string, or what `check` takes."""

    def checked(value: JsonValue, at: str) -> None:
        if isinstance(value, str):
            return
        if not isinstance(value, list | dict):
            raise wrong_type(at, wanted, value)
        check(value, at)

    return checked


def _object(value: JsonValue, at: str) -> JsonObject:
    if not isinstance(value, dict):
        raise wrong_type(at, "an object", value)
    return value


def join(at: str, name: str) -> str:
    """Where a field of something stands."""
    return f"{at}.{name}" if at else name


def missing(param: str) -> Refusal:
    """A field that has to be there."""
    return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def unknown(param: str) -> Refusal:
    """A field that nobody knows."""
    return invalid(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
