"""What every wire needs when it reads a vendor's JSON: counts that can be trusted, loose members, and words for what went wrong."""

import re
from collections.abc import Mapping
from typing import cast

from tokenrouter.errors import UpstreamFailed

MOST_TOKENS = 1_000_000_000
"""No answer costs a billion tokens; a figure above it is a fault, and prices times it still fit a 64-bit column."""

_MOST_WORDS = 500
_TIER = re.compile(r"[a-z0-9_-]{1,40}")


def count(value: object) -> int | None:
    """`value` as a number of tokens: whole (12 or 12.0), not negative, not absurd. Anything else is as good as absent."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def members(value: object) -> Mapping[str, object]:
    """The members of a decoded JSON object; none where it is something else."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def text(value: object) -> str:
    """A decoded string; empty where it is something else."""
    return value if isinstance(value, str) else ""


def served_tier(value: object) -> str:
    """The tier of service that a vendor says it answered in, in its own word; "" where it says none ("auto" is what was asked for)."""
    said = text(value)[:60].lower().removeprefix("service_tier_")
    if said in ("", "auto", "unspecified"):
        return ""
    return said if _TIER.fullmatch(said) else "other"


def words(value: object) -> str | None:
    """A vendor's message about an error, whatever of the usual forms it has: text, or an object with `message`. Cut where it is long."""
    said = value if isinstance(value, str) else members(value).get("message")
    return said[:_MOST_WORDS] if isinstance(said, str) and said else None


def unreadable(body: bytes, expected: str, error: Exception | None = None) -> UpstreamFailed:
    """The error for a body that is not what this wire answers with. It tells the kind of body, never its content."""
    start = body[:64].lstrip()
    if not start:
        found = "an empty body"
    elif start.startswith(b"<"):
        found = "an HTML page"
    elif not start.startswith((b"{", b"[")):
        found = "a body that is not JSON"
    elif isinstance(error, RecursionError):
        found = "JSON that is nested too deeply"
    elif isinstance(error, UnicodeDecodeError):
        found = "a body that is not UTF-8"
    else:
        found = f"a body of another form ({error})" if error else "a body of another form"
    return UpstreamFailed(f"the provider answered with {found} instead of {expected}")
