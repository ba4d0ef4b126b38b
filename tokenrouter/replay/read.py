"""Captured traffic, one JSON object per line. An importer is one function: fields of a line in, a request out.

Our own format has `at` (seconds, never backwards), `path`, `body`, and where they are known `headers` and `usage` (as the vendor reported it, or in
a later line of its own that begins with `{"usage_of":` and the request's `id`, as `serve --record` writes it). Bodies
are those of the APIs themselves, so Chat Completions, Responses, Messages and Gemini need no more than their paths.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tokenrouter.adapters.inbound.client_sessions import SESSION_HEADERS
from tokenrouter.adapters.known import known_dialects
from tokenrouter.api.routes import Routes
from tokenrouter.clock import LATEST_S
from tokenrouter.errors import ConfigError
from tokenrouter.replay.reasoning import without_signatures

Fields = Mapping[str, msgspec.Raw]
_T = TypeVar("_T")
_SKEW_S: Final = 5.0
"""Requests that run side by side are written down when they end, or begin: so far out of order, they count as at the same time."""
_USAGE: Final = b'{"usage_of":'
_LONGEST_S: Final = 4e9
"""Times that begin anywhere are counted from today, and have to end at one that stores can hold (`LATEST_S`)."""
_SORT: Final = "`LC_ALL=C sort` does for what serve --record wrote"
_MOST_TOKENS: Final = 1_000_000_000_000
NOTHING: Final[Mapping[str, str]] = {}


class NotARequest(ValueError):
    """A line that can not be replayed; says why."""


class Reported(msgspec.Struct, frozen=True):
    """Input tokens as the vendor counted them: all of them, and how many of those it read from its prompt cache."""

    total: int
    read: int


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    number   of its line, from 1
    id       by which a later line may name it; "": none does
    at_s     seconds; where they begin is the capture's business
    path     without the query, which stands in `query`
    headers  those that may be replayed, names in lower case: conversations, the user, feature flags of the API
    """

    at_s: float
    path: str
    body: bytes
    number: int = 0
    id: str = ""
    query: str = ""
    headers: Mapping[str, str] = {}
    usage: Reported | None = None


class Mistake(msgspec.Struct, frozen=True):
    """A line that is left out, and why."""

    number: int
    why: str


class _Told(msgspec.Struct, frozen=True):
    usage_of: str
    usage: msgspec.Raw


class Read(msgspec.Struct, frozen=True):
    """One line. `upto`: bytes of the file up to its end. None: a line that asks no model for anything, or is empty."""

    upto: int
    item: Captured | Mistake | None


def read(path: Path, instead: Mapping[str, str] = NOTHING) -> Iterator[Read]:
    """The lines of a file, one after the other. `instead`: models to ask in the place of others, by the name that the capture has.

    Raises:
        ConfigError: there is no such file, or time runs backwards.
    """
    routes, upto, last, before = Routes(known_dialects()), 0, -math.inf, 0
    begins: float | None = None
    later = _told_later(path)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                upto += len(line)
                item = _item(line, number, routes, instead, later)
                if isinstance(item, Captured) and begins is not None and item.at_s - begins > _LONGEST_S:
                    item = Mistake(number, f"{item.at_s:.15g} s is more than a century after the first request")
                if isinstance(item, Captured):
                    begins = item.at_s if begins is None else begins
                    if last - _SKEW_S <= item.at_s < last:
                        item = msgspec.structs.replace(item, at_s=last)
                    if item.at_s < last:
                        told = f"time runs backwards: {item.at_s:.15g} s after line {before} with {last:.15g} s; sort the file by time ({_SORT})"
                        raise ConfigError(f"{path}:{number}: {told}")
                    last, before = item.at_s, number
                yield Read(upto, item)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _told_later(path: Path) -> dict[str, Reported]:
    """What vendors reported of requests, by their ids, in lines of its own. Raises ConfigError."""
    found: dict[str, Reported] = {}
    try:
        with path.open("rb") as lines:
            for line in lines:
                if line.startswith(_USAGE):
                    with suppress(
                        msgspec.MsgspecError, UnicodeDecodeError, RecursionError, NotARequest
                    ):  # it is named as a mistake when its turn comes
                        told = msgspec.json.decode(line, type=_Told)
                        if (usage := reported(bytes(told.usage))) is not None:
                            found[told.usage_of] = usage
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return found


def _item(line: bytes, number: int, routes: Routes, instead: Mapping[str, str], later: Mapping[str, Reported]) -> Captured | Mistake | None:
    if not line.strip():
        return None
    try:
        line.decode()  # whoever reads a part of it later need not ask
        fields = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf"), type=dict[str, msgspec.Raw])
        found = next((importer for names, importer in IMPORTERS if names <= fields.keys()), None)
        if found is None:
            raise NotARequest("it has no `at`, `path` and `body`")
        made = found(fields)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Mistake(number, f"no JSON object ({str(error)[:200]})")
    except (NotARequest, RecursionError) as error:
        return Mistake(number, str(error) or "nested too deeply")
    if made is None:
        return None
    route = routes.find(made.path)
    if route is None or route.dialect.operation != "generate":
        return Mistake(number, f"no model is asked at {made.path[:100]!r}")
    if instead:
        made = _renamed(made, route.said.get(":model", ""), instead)
    allowed = {*SESSION_HEADERS, "x-customer-id", *(name for name in route.dialect.headers if not name.startswith(":"))}
    headers = {name.lower(): value for name, value in made.headers.items() if name.lower() in allowed and value.isascii() and value.isprintable()}
    usage = made.usage or later.get(made.id)
    return msgspec.structs.replace(made, number=number, headers=headers, body=without_signatures(made.body), usage=usage)


def _renamed(made: Captured, in_path: str, instead: Mapping[str, str]) -> Captured:
    """The same for another model, where that is asked for; other members keep their bytes."""
    if in_path:
        other = instead.get(in_path)
        return msgspec.structs.replace(made, path=made.path.replace(f"/{in_path}:", f"/{other}:")) if other else made
    try:
        members = msgspec.json.decode(made.body, type=dict[str, msgspec.Raw])
        other = instead.get(msgspec.json.decode(members.get("model", b"null"), type=str))
    except msgspec.MsgspecError:
        return made  # the gateway says what is wrong with it
    if other is None:
        return made
    return msgspec.structs.replace(made, body=msgspec.json.encode({**members, "model": other}))


def own(fields: Fields) -> Captured:
    """Our own format. Raises NotARequest."""
    at_s = _seconds(fields, "at")
    path, _, query = _as(fields, "path", str, "a path such as /v1/messages").partition("?")
    body = bytes(fields["body"])
    if not body.startswith(b"{"):
        raise NotARequest("`body` must be a JSON object")
    headers = _as(fields, "headers", dict[str, str], "an object of texts") if "headers" in fields else {}
    named = _as(fields, "id", str, "a text") if "id" in fields else ""
    return Captured(at_s=at_s, path=path, id=named, query=query, body=body, headers=headers, usage=reported(bytes(fields.get("usage", b"null"))))


def later_usage(fields: Fields) -> None:
    """What a vendor reported of an earlier request: joined to that, and no request itself. Raises NotARequest."""
    _as(fields, "usage_of", str, "the id of a request")
    _as(fields, "usage", dict[str, msgspec.Raw], "an object")
    reported(bytes(fields["usage"]))


def wire_log(fields: Fields) -> Captured | None:
    """A log of a provider's own side: `ts` (seconds), `method`, `path`, `headers` as pairs, `body` as text. None: it asks no model."""
    if _as(fields, "method", str, "a method") != "POST":
        return None
    path, _, query = _as(fields, "path", str, "a path").partition("?")
    if path.endswith(("/count_tokens", ":countTokens", "/embeddings")) or path.startswith("/__"):
        return None
    body = _as(fields, "body", str, "a text").encode("utf-8", "surrogatepass")
    pairs = _as(fields, "headers", list[tuple[str, str]], "pairs of name and value")
    return Captured(at_s=_seconds(fields, "ts"), path=path, query=query, body=body, headers=dict(pairs))


IMPORTERS: Final[tuple[tuple[frozenset[str], Callable[[Fields], Captured | None]], ...]] = (
    (frozenset(("at", "path", "body")), own),
    (frozenset(("usage_of", "usage")), later_usage),
    (frozenset(("ts", "method", "path", "headers", "body")), wire_log),
)
"""Formats by the members that a line must have, and who reads them."""


def reported(raw: bytes) -> Reported | None:
    """What a vendor said of a prompt, in the words of whichever API; None where it said nothing. Raises NotARequest.

    >>> reported(b'{"input_tokens": 5, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 5}')
    Reported(total=100, read=90)
    """
    try:
        said = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        raise NotARequest("`usage` must be JSON, not deeply nested, with numbers that count tokens") from None
    if not isinstance(said, dict):
        return None
    if "promptTokenCount" in said:
        return _counts(said["promptTokenCount"], said.get("cachedContentTokenCount"))
    if "prompt_tokens" in said:
        return _counts(said["prompt_tokens"], _within(said, "prompt_tokens_details"))
    if "input_tokens_details" in said:
        return _counts(said.get("input_tokens"), _within(said, "input_tokens_details"))
    parts = [_count(said.get(name) or 0) for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")]
    known = [part for part in parts if part is not None]
    return Reported(sum(known), known[2]) if "input_tokens" in said and len(known) == len(parts) else None


def _within(said: Mapping[str, object], name: str) -> object:
    details = said.get(name)
    return details.get("cached_tokens") if isinstance(details, dict) else None


def _counts(total: object, read: object) -> Reported | None:
    every, some = _count(total), _count(read) or 0
    return Reported(every, some) if every is not None and some <= every else None


def _count(said: object) -> int | None:
    """A number of tokens; None for what can be none."""
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= _MOST_TOKENS else None


def _seconds(fields: Fields, name: str) -> float:
    """A time that the stores of a gateway can hold. Raises NotARequest."""
    at_s = _as(fields, name, float, "a number of seconds")
    if not abs(at_s) <= LATEST_S:
        raise NotARequest(f"`{name}` must be a number of seconds (not of milliseconds), {LATEST_S:,} at most")
    return at_s


def _as(fields: Fields, name: str, kind: type[_T], what: str) -> _T:
    try:
        return msgspec.json.decode(fields[name], type=kind)
    except msgspec.MsgspecError:
        raise NotARequest(f"`{name}` must be {what}") from None
