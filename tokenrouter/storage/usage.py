"""What was used and what it cost, out of the ledger: totals by any of several dimensions, and single requests page by page.

Over both databases. Requests that left the ledger by age are in the totals, by UTC day and without their labels; they are not found singly.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, cast

import msgspec

from tokenrouter.model.record import RequestRecord
from tokenrouter.storage.database import Database, Row, Value
from tokenrouter.storage.ledger_row import read_record

Dimension = Literal["tenant", "key", "customer", "model", "cache", "label"]
Grain = Literal["", "hour", "day", "month"]

MOST_LINES: Final = 100_000
MOST_RECORDS: Final = 1_000
_SECOND_NS: Final = 1_000_000_000
_STEPS: Final[dict[Grain, int]] = {"": 0, "hour": 3_600 * _SECOND_NS, "day": 86_400 * _SECOND_NS, "month": 86_400 * _SECOND_NS}
_FORMS: Final[dict[Grain, str]] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
_EVER_NS: Final = 1 << 62
_NAMES: Final = 7


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests are meant; "" and None let everything through.

    since_ns, until_ns  when they were admitted, the end excluded
    label, value        those with this value of this label
    """

    since_ns: int = 0
    until_ns: int = _EVER_NS
    tenant: str = ""
    key: str = ""
    customer: str = ""
    vendor: str = ""
    model: str = ""
    cache: str = ""
    label: str = ""
    value: str = ""
    sandbox: bool | None = None


class UsageLine(msgspec.Struct, kw_only=True):
    """Totals of one group. What is not asked for by name is "". Money in nano-USD.

    at             begin of the hour, day or month, in local time: "2026-11-21T14", "2026-11-21", "2026-11"
    errors         requests that ended with a status of 400 and more
    presumed_cost  how much of `cost` nobody has confirmed
    """

    tenant: str = ""
    key: str = ""
    customer: str = ""
    vendor: str = ""
    model: str = ""
    cache: str = ""
    label: str = ""
    at: str = ""
    requests: int = 0
    errors: int = 0
    fresh_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    tokens: int = 0
    cost: int = 0
    presumed_cost: int = 0
    saved_prompt_cache: int = 0
    saved_by_client: int = 0
    saved_by_gateway: int = 0
    saved_exact: int = 0
    saved_dedup: int = 0
    cache_break_cost: int = 0
    unreported_input: int = 0
    read_across_sessions: int = 0
    read_across_users: int = 0


class Found(msgspec.Struct, frozen=True):
    """A page of requests, the latest first. `next`: hand it to the next call; "": there are no more."""

    records: tuple[RequestRecord, ...]
    next: str


async def usage(
    database: Database, which: Filter, *, by: Sequence[Dimension] = (), label: str = "", grain: Grain = "", offset_s: int = 0
) -> list[UsageLine]:
    """Totals, ordered by time and then by name; `MOST_LINES` at most.

    by        what to tell apart; with "label": `label` says which one
    grain     how to divide time; `offset_s`: local time is so many seconds ahead of UTC

    Raises Unavailable.
    """
    offset_ns = offset_s * _SECOND_NS
    marks: dict[str, Value] = {f"by_{name}": int(name in by) for name in ("tenant", "key", "customer", "model", "cache")}
    marks |= {"by_label": label if "label" in by else "", "step": _STEPS[grain], "offset": offset_ns, "most": MOST_LINES}
    params = {**filter_params(which), **marks}
    rows = await database.rows("usage_rows", params, slow=True) + await database.rows("usage_days", params, slow=True)
    return _lines(rows, grain)


async def search(
    database: Database,
    which: Filter,
    *,
    settled: str = "",
    statuses: tuple[int, int] = (0, 999),
    after: str = "",
    most: int = 100,
) -> Found:
    """Single requests, the latest first. `after`: the `next` of the page before. `statuses`: from and to, both included.

    Raises Unavailable, ValueError for an `after` that is none.
    """
    until_ns, before = read_place(after) if after else (which.until_ns, "")
    more: dict[str, Value] = {"until": min(until_ns, which.until_ns), "before": before, "settled": settled}
    more |= {"status_from": statuses[0], "status_to": statuses[1], "most": min(most, MOST_RECORDS) + 1}
    rows = await database.rows("search_ledger", {**filter_params(which), **more}, slow=True)
    shown, rest = rows[: min(most, MOST_RECORDS)], rows[min(most, MOST_RECORDS) :]
    records = tuple(read_row(row) for row in shown)
    return Found(records, f"{shown[-1][0]}.{shown[-1][1]}" if rest else "")


async def find(database: Database, request_id: str) -> RequestRecord | None:
    """One request, whoever's it is. Raises Unavailable."""
    rows = await database.rows("find_request", {"id": request_id})
    return read_row(rows[0]) if rows else None


def filter_params(which: Filter) -> dict[str, Value]:
    """A filter as statements take it."""
    return {
        "since": which.since_ns,
        "until": which.until_ns,
        "tenant": which.tenant,
        "key": which.key,
        "customer": which.customer,
        "vendor": which.vendor,
        "model": which.model,
        "cache": which.cache,
        "label": which.label,
        "value": which.value if which.label else "",
        "sandbox": -1 if which.sandbox is None else int(which.sandbox),
    }


def _lines(rows: Iterable[Row], grain: Grain) -> list[UsageLine]:
    """Rows of both tables brought together; months are made of days."""
    totals: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        *names, bucket = cast("tuple[str, str, str, str, str, str, str, int]", row[: _NAMES + 1])
        name = (_local(bucket, grain), *names)
        amounts = cast("tuple[int, ...]", row[_NAMES + 1 :])
        known = totals.get(name)
        totals[name] = list(amounts) if known is None else [one + other for one, other in zip(known, amounts, strict=True)]
    fields = UsageLine.__struct_fields__
    return [
        UsageLine(**dict(zip(fields, (*name[1:], name[0], *amounts), strict=True)))  # type: ignore[arg-type]  # in the order of the fields
        for name, amounts in sorted(totals.items())
    ]


def _local(bucket: int, grain: Grain) -> str:
    """A bucket's begin in local time: buckets are counted in it already."""
    if not grain:
        return ""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=bucket * _STEPS[grain] // _SECOND_NS)).strftime(_FORMS[grain])


def read_row(row: Row) -> RequestRecord:
    """A row of those that are found singly."""
    _, _, encoded, settled, late, cost = cast("tuple[int, str, str, str, int, int]", row)
    return read_record(encoded, settled, late=bool(late), cost=cost)


def read_place(after: str) -> tuple[int, str]:
    """Where a page begins. Raises ValueError."""
    at_ns, _, name = after.partition(".")
    if not at_ns.isascii() or not at_ns.isdigit() or len(at_ns) > len(str(_EVER_NS)):
        raise ValueError("after: not the next of an earlier page")
    return int(at_ns), name
