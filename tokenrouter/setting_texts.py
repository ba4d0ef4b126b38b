"""How the text of a setting is read. Every reader raises ValueError with what the text must be, so that "NAME=text: must be ..." is a sentence."""

import re
from collections.abc import Callable
from pathlib import Path

from tokenrouter.model.catalog import Secret
from tokenrouter.model.edits import OPT_IN, SWITCHABLE
from tokenrouter.model.rules import MOST_CAP
from tokenrouter.money import format_usd, parse_usd

_LEAST_RETENTION = 35


def flag(text: str) -> bool:
    """true, false and their like."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False, "": False}
    if text.strip().lower() not in words:
        raise ValueError("true or false")
    return words[text.strip().lower()]


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text.strip()) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


def seconds(text: str) -> int:
    """A duration, in seconds."""
    match = re.fullmatch(r"([0-9]{1,9})\s*(s|m|h|d|)", text.strip())
    if match is None:
        raise ValueError("a duration like 90, 90s, 2m or 1h")
    return int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


def retention(text: str) -> int:
    """Days that the ledger keeps; 0 keeps everything."""
    days = whole(0, 36_500)(text)
    if 0 < days < _LEAST_RETENTION:
        raise ValueError(f"0, or at least {_LEAST_RETENTION}")
    return days


def one_word(*words: str) -> Callable[[str], str]:
    """A reader of one of some words."""

    def read(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError("one of " + ", ".join(words))
        return text.strip().lower()

    return read


def edits(text: str) -> tuple[str, ...]:
    """Ids of edits that can be switched."""
    ids = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [part for part in ids if part not in SWITCHABLE]:
        raise ValueError(f"ids of edits ({', '.join(sorted(SWITCHABLE))}), not {unknown[0]!r}")
    return ids


def opt_in(text: str) -> tuple[str, ...]:
    """Ids of edits that are off by default."""
    ids = edits(text)
    if known := [part for part in ids if part not in OPT_IN]:
        raise ValueError(f"ids of edits that are off by default ({', '.join(sorted(OPT_IN))}), not {known[0]!r}")
    return ids


def database(text: str) -> Secret:
    """Where Postgres is."""
    if text.strip() and not re.fullmatch(r"postgres(ql)?://\S+", text.strip()):
        raise ValueError("an address like postgresql://user:password@host:5432/database")
    return Secret(text.strip())


def redis(text: str) -> Secret:
    """Where Redis is."""
    text = text.strip()
    if text and not re.fullmatch(r"(rediss?|unix)://[^\s,]+|rediss?\+cluster://\S+", text):
        raise ValueError("an address like redis://:password@host:6379/0, rediss://… or redis+cluster://host:6379,host:6379")
    return Secret(text)


def usd(text: str) -> int:
    """Dollars, in nano-USD."""
    if not text.strip():
        return 0
    amount = parse_usd(text.strip())
    if amount > MOST_CAP:
        raise ValueError(f"at most {format_usd(MOST_CAP)} USD")
    return amount


def by_provider(text: str) -> dict[str, int]:
    """A number for all providers (under ""), and other ones for some."""
    limits: dict[str, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, number = part.rpartition("=")
        if not re.fullmatch(r"[0-9]{1,7}", number.strip()) or name.strip() in limits or ("=" in part and not name.strip()):
            raise ValueError("a whole number for all of them, and name=number for some, like 50 or openai=50,anthropic=20")
        limits[name.strip()] = int(number)
    return limits


def secret_web_url(text: str) -> Secret:
    """A web address that may have a password in it."""
    if text.strip() and not re.fullmatch(r"https?://\S+", text.strip()):
        raise ValueError("a URL that starts with http:// or https://")
    return Secret(text.strip())


def web_url(text: str) -> str:
    """A web address without its last slash."""
    if text and not re.fullmatch(r"https?://[^\s]+", text):
        raise ValueError("a URL that starts with http:// or https://")
    return text.rstrip("/")


def vendor(text: str) -> str:
    """The name of a provider, or * for any."""
    if text != "*" and not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text):
        raise ValueError("the name of a provider, like openrouter, or *")
    return text


def file_path(text: str) -> Path | None:
    """A path; None for none."""
    return Path(text) if text.strip() else None


def model(text: str) -> str:
    """The name of a model as clients say it."""
    if len(text) > 256 or text != text.strip():
        raise ValueError("the name of a model, like gpt-4.1 or openai/gpt-4.1")
    return text


def without_credentials(text: str) -> str:
    """An address, or what was meant to be one, as it may be shown: no user, no password, no query.

    >>> without_credentials("https://me:secret@host/models?key=secret")
    'https://…@host/models?…'
    """
    return re.sub(r"\?.*", "?…", re.sub(r"(^|//)[^@\s]*@", r"\1…@", text), flags=re.DOTALL)
