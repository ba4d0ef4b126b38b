"""Reads what a caller asks of the gateway itself: headers first, then extension fields of the body, which win."""

import re
from collections.abc import Mapping
from typing import TypeVar

from tokenrouter.errors import InvalidRequest
from tokenrouter.model.call import NO_WISHES, ShareMode, Wishes
from tokenrouter.model.edits import OPT_IN, SWITCHABLE

WISH_HEADERS = frozenset(("cache-control", "idempotency-key", "x-cache", "x-dedup", "x-edits-off", "x-edits-on", "x-metadata"))
"""Request headers that `read_wishes` looks at. Each `x-` one may also be a member of the body."""

_MODES: dict[object, ShareMode] = {"auto": "auto", "all": "all", "on": "all", "off": "off", True: "all", False: "off"}
_FLAGS: dict[object, bool] = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False, True: True, False: False}
_T = TypeVar("_T")
_MAX_AGE = re.compile(r"\bmax-age=(\d{1,9})\b")


def read_wishes(headers: Mapping[str, str], extensions: Mapping[str, object]) -> Wishes:
    """Put them together.

    Reserved members (`x-routing-strategy`, `x-prefer-provider`, any other `x-…`) are accepted and mean nothing yet.

    Raises:
        InvalidRequest: a value that means nothing.
    """
    if not extensions and not (headers.keys() & WISH_HEADERS):
        return NO_WISHES
    said: dict[str, object] = {name: value.strip().lower() for name, value in headers.items() if name in WISH_HEADERS}
    said.update({name: value.lower() if isinstance(value, str) else value for name, value in extensions.items()})
    control = str(said.get("cache-control", ""))
    age = _MAX_AGE.search(control)
    idempotency = headers.get("idempotency-key", "").strip()
    if len(idempotency) > 255:
        raise InvalidRequest("an idempotency key has 255 characters at most", param="idempotency-key")
    return Wishes(
        cache_mode=_one_of(said, "x-cache", _MODES),
        dedup_mode=_one_of(said, "x-dedup", _MODES),
        store="no-store" not in control,
        max_age_s=0 if "no-cache" in control or "no-store" in control else int(age[1]) if age else None,
        edits_off=_edits(said.get("x-edits-off")),
        edits_on=_opt_in(said.get("x-edits-on")),
        metadata=bool(_one_of(said, "x-metadata", _FLAGS)),
        idempotency=idempotency,
    )


def _one_of(said: Mapping[str, object], name: str, words: Mapping[object, _T]) -> _T | None:
    value = said.get(name)
    if value is None:
        return None
    if not isinstance(value, str | bool) or value not in words:
        raise InvalidRequest(f"{name} must be one of {', '.join(str(word) for word in words if isinstance(word, str))}", param=name)
    return words[value]


def _edits(value: object) -> frozenset[str]:
    if value is None:
        return frozenset()
    ids = value if isinstance(value, list) else str(value).split(",")
    wanted = frozenset(str(part).strip() for part in ids if str(part).strip())
    if "all" in wanted:
        return SWITCHABLE
    if unknown := wanted - SWITCHABLE:
        raise InvalidRequest(f"unknown edit {min(unknown)[:64]!r}; one of all, {', '.join(sorted(SWITCHABLE))}", param="x-edits-off")
    return wanted


def _opt_in(value: object) -> frozenset[str]:
    """Only what is off by default: what somebody has switched off stays off."""
    ids = value if isinstance(value, list) else str(value or "").split(",")
    wanted = frozenset(str(part).strip() for part in ids if str(part).strip())
    if unknown := wanted - OPT_IN:
        raise InvalidRequest(f"edit {min(unknown)[:64]!r} is none that is off by default; one of {', '.join(sorted(OPT_IN))}", param="x-edits-on")
    return wanted
