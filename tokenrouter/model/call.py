"""One call as it reaches the gateway, and what its caller wants beyond the dialect."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from tokenrouter.model.principal import Principal

ShareMode = Literal["auto", "all", "off"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated request.

    headers  names in lower case, only those that the gateway reads
    outside  what belongs to the question but stands outside the body: `:model` and `:stream` of a path, `:query`, feature headers
    customer whom the caller asks for, by its own header; "" where it does not say
    labels   (name, value) pairs that the caller wants in the ledger
    onward   headers that go on to whoever is asked; only where time is virtual, for simulators
    """

    id: str
    principal: Principal
    dialect: str
    body: bytes
    headers: Mapping[str, str]
    outside: Mapping[str, str] = {}
    customer: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    onward: tuple[tuple[str, str], ...] = ()


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What one request asks of the gateway itself, by header or extension field.

    cache_mode, dedup_mode  None: as the key or the settings say
    store       False: the answer must not be kept (`Cache-Control: no-store`)
    max_age_s   a kept answer may be this old at most; 0: none at all (`no-cache`)
    edits_off   edits to leave out for this request
    edits_on    edits to make in this request that are off by default
    metadata    wants the gateway's own figures in the body
    idempotency the caller's idempotency key
    """

    cache_mode: ShareMode | None = None
    dedup_mode: ShareMode | None = None
    store: bool = True
    max_age_s: int | None = None
    edits_off: frozenset[str] = frozenset()
    edits_on: frozenset[str] = frozenset()
    metadata: bool = False
    idempotency: str = ""


NO_WISHES = Wishes()
