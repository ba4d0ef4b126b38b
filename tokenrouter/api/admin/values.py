"""Money and moments as the admin API reads and writes them."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, WithJsonSchema

from tokenrouter.model.rules import MOST_CAP, is_plain
from tokenrouter.money import NanoUSD, format_usd, parse_usd

_US = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

STRICT = ConfigDict(extra="forbid")
"""A field that nobody knows is a mistake, never ignored."""


def _usd(said: object) -> NanoUSD:
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        raise ValueError('an amount in USD is a decimal in quotes, such as "12.50"')  # noqa: TRY004  # what the framework makes a refusal of
    amount = parse_usd(str(said))
    if amount > MOST_CAP:
        raise ValueError(f"at most {format_usd(MOST_CAP)}, which is all that a counter can hold")
    return amount


def read_moment(said: object) -> int:
    """Nanoseconds since the epoch of a moment like 2026-11-21T18:30:00Z. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(said if isinstance(said, str) else "")
    except ValueError:
        raise ValueError("a moment is written like 2026-11-21T18:30:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("a moment needs its offset from UTC, like 2026-11-21T18:30:00Z or 2026-11-21T19:30:00+01:00")
    passed = moment - _EPOCH
    return ((passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds) * _US


def said_moment(time_ns: int) -> str:
    """A moment in UTC, like 2026-11-21T18:30:00Z; fractions of a second only where there are any."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest // _US:06d}Z" if rest // _US else f"{text}Z"


def _plain(said: object) -> str:
    if not isinstance(said, str) or not is_plain(said):
        raise ValueError("text of 1 to 256 characters, without control characters")
    return said


def _name(said: object) -> str:
    return "" if said == "" else _plain(said)


_USD_SCHEMA = {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?$", "examples": ["12.50"]}

Usd = Annotated[int, BeforeValidator(_usd), WithJsonSchema({**_USD_SCHEMA, "description": "USD as a decimal. A number is read as written."})]
"""Money that comes in: read as nano-USD."""

Moment = Annotated[int, BeforeValidator(read_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A moment that comes in: read as nanoseconds since the epoch."""

Plain = Annotated[str, BeforeValidator(_plain), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 256})]
"""Text that names something."""

Name = Annotated[str, BeforeValidator(_name), WithJsonSchema({"type": "string", "maxLength": 256})]
"""Text for people; may be empty."""
