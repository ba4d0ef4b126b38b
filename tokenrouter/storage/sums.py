"""What the ledger says of counters: how much of a cap is spent, and how much presumed spent. The same over SQLite and Postgres.

A row counts in the period in which it was admitted, for what it was settled at; one that nobody settled for what was set aside. What left
the ledger by age is in sums of days, which are divided where some cap begins to count (`storage.retention`), so nothing is lost.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

import msgspec

from tokenrouter.model.admission import CapState
from tokenrouter.model.period import Span, span
from tokenrouter.model.rules import EACH, Cap
from tokenrouter.storage.database import Database, Params, Row, Value, at_once

_MS = 1_000_000
_ALWAYS_NS = 1 << 62
_Names = tuple[str, str, str]  # key, customer, model
_Sums = dict[tuple[_Names, bool], tuple[int, int, int, int]]  # usd spent and presumed, tokens spent and presumed


class Reader(Protocol):
    """Where rows are read: a `Database`, or one moment of it."""

    @property
    def inline(self) -> bool:
        """See `Database`."""
        ...

    async def rows(self, name: str, params: Params = ..., *, slow: bool = False) -> list[Row]:
        """See `Database`."""
        ...


class CapSum(msgspec.Struct, frozen=True):
    """One counter, by its full name (with its period, and "s" in front of money of the sandbox). `ends_ms`: of its period; 0: never."""

    counter: str
    state: CapState
    ends_ms: int


class _Asked(msgspec.Struct, frozen=True):
    """One look into the ledger that serves several caps."""

    since_ns: int
    until_ns: int
    by: tuple[bool, bool, bool]
    days: bool


async def cap_sums(database: Reader, tenant: str, caps: Iterable[Cap], zone: str, now_ns: int) -> list[CapSum]:
    """What is spent of each cap of a tenant's in its present period: every counter that is not zero. Raises Unavailable."""
    looks: dict[_Asked, list[tuple[Cap, Span]]] = {}
    for cap in caps:
        if cap.period != "request":
            during = span(cap.period, zone, now_ns)
            looks.setdefault(_asked(cap, during), []).append((cap, during))
    found: list[CapSum] = []
    for asked, group in looks.items():
        sums = await _sums(database, tenant, asked)
        for cap, during in group:
            found += _of_cap(cap, during, sums)
    return found


def seed(database: Database, cap: Cap, counter: str, tenant: str, since_ns: int) -> CapState:
    """What is spent of one counter since a moment; for `quota.process_counters`, over an `inline` database. Raises Unavailable."""
    sandbox = counter.startswith("sc:")
    names = _names(cap, counter.removeprefix("s") if sandbox else counter)
    if _is_whole_key(cap):
        since_ns = 0  # sums of days are not divided at a key's creation
    params = _params(tenant, _Asked(since_ns, _ALWAYS_NS, (bool(names[0]), bool(names[1]), bool(names[2])), days=False))
    vendor, _, model = names[2].partition("/")
    statement = "sum_caps_of_key" if names[0] else "sum_caps_of_customer" if names[1] else "sum_caps_of_model" if names[2] else "sum_caps"
    sums: _Sums = {}
    _add(sums, at_once(database.rows(statement, {**params, "key": names[0], "customer": names[1], "vendor": vendor, "model": model})))
    if cap.period == "total":
        _add(sums, at_once(database.rows("sum_caps_days", {**params, "key": names[0], "customer": names[1]})))
    return _state(cap, sums.get((names, sandbox)))


async def all_spent(database: Database, since_ns: int, until_ns: int, *, sandbox: bool) -> tuple[CapState, CapState]:
    """What all tenants together have spent in a period: nano-USD, and tokens. Raises Unavailable."""
    for row in await database.rows("sum_all", {"since": since_ns, "until": until_ns}, slow=not database.inline):
        money, usd, usd_presumed, tokens, tokens_presumed = cast("tuple[int, int, int, int, int]", row)
        if bool(money) == sandbox:
            return CapState(usd, 0, usd_presumed), CapState(tokens, 0, tokens_presumed)
    return CapState(), CapState()


def cuts(caps: Iterable[Cap]) -> set[int]:
    """Moments at which sums of days must be divided: where caps without an end begin to count, in the middle of a day."""
    return {cap.starts_ns for cap in caps if cap.period == "total" and cap.starts_ns and not _is_whole_key(cap)}


def _is_whole_key(cap: Cap) -> bool:
    """A key's own quota counts from the key's creation on: nothing of that key is older."""
    return cap.id == f"{cap.scope.key}.quota"


def _asked(cap: Cap, during: Span) -> _Asked:
    scope = cap.scope
    since_ns = 0 if _is_whole_key(cap) else max(cap.starts_ns, during.starts_ms * _MS)
    by = (bool(scope.key), bool(scope.customer), bool(scope.model))
    return _Asked(since_ns, during.ends_ms * _MS or _ALWAYS_NS, by, days=cap.period == "total")


async def _sums(database: Reader, tenant: str, asked: _Asked) -> _Sums:
    sums: _Sums = {}
    params = _params(tenant, asked)
    _add(sums, await database.rows("sum_caps", params, slow=not database.inline))
    if asked.days:
        _add(sums, await database.rows("sum_caps_days", {**params, "key": "", "customer": ""}, slow=not database.inline))
    return sums


def _params(tenant: str, asked: _Asked) -> dict[str, Value]:
    by_key, by_customer, by_model = asked.by
    marks: dict[str, Value] = {"by_key": int(by_key), "by_customer": int(by_customer), "by_model": int(by_model)}
    return {"tenant": tenant, "since": asked.since_ns, "until": asked.until_ns, **marks}


def _add(sums: _Sums, rows: Sequence[Row]) -> None:
    for row in rows:
        key, customer, model, sandbox, *amounts = row
        name = ((cast("str", key), cast("str", customer), cast("str", model)), bool(sandbox))
        before = sums.get(name, (0, 0, 0, 0))
        usd, usd_presumed, tokens, tokens_presumed = cast("list[int]", amounts)
        sums[name] = (before[0] + usd, before[1] + usd_presumed, before[2] + tokens, before[3] + tokens_presumed)


def _of_cap(cap: Cap, during: Span, sums: _Sums) -> Iterable[CapSum]:
    scope = cap.scope
    wanted: Iterable[_Names] = {names for names, _ in sums}
    if EACH not in (scope.key, scope.customer, scope.model):
        wanted = [(scope.key, scope.customer, scope.model)]
    for names in wanted:
        suffix = scope.counter(*names)
        if suffix is None:
            continue
        name = f"c:{cap.id}{suffix}" + (f":{during.name}" if cap.period != "total" else "")
        for sandbox in (False, True):
            state = _state(cap, sums.get((names, sandbox)))
            if state.total:
                yield CapSum(f"s{name}" if sandbox else name, state, during.ends_ms)


def _state(cap: Cap, amounts: tuple[int, int, int, int] | None) -> CapState:
    usd, usd_presumed, tokens, tokens_presumed = amounts or (0, 0, 0, 0)
    return CapState(usd, 0, usd_presumed) if cap.unit == "usd" else CapState(tokens, 0, tokens_presumed)


def _names(cap: Cap, counter: str) -> _Names:
    """Whose counter it is: from its name, where the cap has one for each (see `Scope.counter`)."""
    said = dict(part.split("=", 1) for part in counter.removeprefix(f"c:{cap.id}").split(":") if "=" in part)
    unescape: Callable[[str], str] = lambda value: value.replace("%3A", ":").replace("%25", "%")  # noqa: E731
    return cast(
        "_Names",
        tuple(
            unescape(said.get(mark, "")) if wanted == EACH else wanted
            for mark, wanted in (("k", cap.scope.key), ("c", cap.scope.customer), ("m", cap.scope.model))
        ),
    )
