"""All scripts for Redis and Valkey, as files. Each begins with a header that says what it is given, what it answers and what it writes.

    -- name: what it does, in a line or more
    -- KEYS, ARGV, RETURNS, CLOCK, WRITES, COST, CALLED BY    all of them, in this order
    -- USES  pieces of other files (`part_*.lua`) that stand before it, by name; only where there are any

Integers only, every key declared, no command that Redis 6.2 lacks.
"""

import hashlib
import re
from importlib import resources

import msgspec

_HEAD = re.compile(r"\A-- ([a-z_]+): \S")
_PARTS = ("KEYS", "ARGV", "RETURNS", "CLOCK", "WRITES", "COST", "CALLED BY")
_USES = re.compile(r"^-- USES +(.+)$", re.MULTILINE)


class Script(msgspec.Struct, frozen=True):
    """A script: its text, and the hash by which a server knows it (hexadecimal SHA-1)."""

    name: str
    text: bytes
    sha: bytes


def make_script(name: str, text: str) -> Script:
    """A script of this text."""
    encoded = text.encode()
    return Script(name, encoded, hashlib.sha1(encoded, usedforsecurity=False).hexdigest().encode())


def read_script(name: str) -> Script:
    """One of this folder's scripts. Raises ValueError for one whose header is not whole."""
    text = _read(f"{name}.lua")
    check_header(name, text)
    uses = _USES.search(text)
    parts = [_read(f"part_{part}.lua") for part in uses[1].split()] if uses else []
    return make_script(name, "".join((*parts, text)))


def check_header(name: str, text: str) -> None:
    """Raises ValueError where the header lacks its name, one of its parts, or has them in another order."""
    head = text.split("\n\n", 1)[0]
    found = _HEAD.match(head)
    if found is None or found[1] != name:
        raise ValueError(f"lua/{name}.lua does not begin with '-- {name}: ' and what it does")
    places = [head.find(f"\n-- {part} ") for part in _PARTS]
    missing = [part for part, place in zip(_PARTS, places, strict=True) if place < 0]
    if missing:
        raise ValueError(f"the header of lua/{name}.lua does not say {', '.join(missing)}")
    if places != sorted(places):
        raise ValueError(f"the header of lua/{name}.lua has its parts in another order than {', '.join(_PARTS)}")


def _read(file: str) -> str:
    return resources.files(__name__).joinpath(file).read_text("utf-8")
