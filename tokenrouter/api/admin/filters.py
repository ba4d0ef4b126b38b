"""Which requests somebody asks about: filters and stretches of time in queries."""

import re
from datetime import date, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from fastapi import Depends, Query

from tokenrouter.api.admin.desk import TheDesk
from tokenrouter.api.admin.values import read_moment
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.period import is_zone
from tokenrouter.model.rules import is_plain
from tokenrouter.storage.usage import Filter

DAY_NS = 86_400 * 1_000_000_000
_USUAL_DAYS = 30
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LATEST_NS = 1 << 61
LABEL = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_MOMENT = "like 2026-11-21T18:30:00Z, or a day like 2026-11-21, which begins in `zone`"


class Asked(msgspec.Struct, frozen=True):
    """What is asked about: `which` of the ledger, and the time zone in which it is read."""

    which: Filter
    zone: str


async def _asked(
    desk: TheDesk,
    since: Annotated[str, Query(alias="from", max_length=40, description=f"From this moment on, {_MOMENT}; left out: 30 days back.")] = "",
    until: Annotated[str, Query(alias="to", max_length=40, description=f"Up to this moment, itself not included, {_MOMENT}; left out: now.")] = "",
    zone: Annotated[str, Query(max_length=100, description="Time zone in which days begin, like Europe/Berlin.")] = "UTC",
    tenant: Annotated[str, Query(max_length=256)] = "",
    key: Annotated[str, Query(max_length=256, description="A key's public id.")] = "",
    customer: Annotated[str, Query(max_length=256)] = "",
    model: Annotated[str, Query(max_length=600, description="`vendor/model`, `vendor/`, or the bare name.")] = "",
    cache: Annotated[Literal["", "hit", "coalesced", "miss", "bypass"], Query(description="Where the answer came from.")] = "",
    label: Annotated[str, Query(max_length=400, description="`name:value`: requests with this value of this label.")] = "",
    sandbox: Annotated[bool | None, Query(description="Only real (false) or only simulated (true) requests.")] = None,
) -> Asked:
    if not is_zone(zone):
        raise InvalidRequest(f"zone: {zone[:80]!r} is not a time zone like Europe/Berlin", param="zone")
    for name, value in (("tenant", tenant), ("key", key), ("customer", customer), ("model", model), ("label", label)):
        if value and not is_plain(value):
            raise InvalidRequest(f"{name}: 1 to 256 characters, without control characters", param=name)
    now = desk.clock.time_ns()
    until_ns = _moment(until, zone, "to") if until else now + 1
    since_ns = _moment(since, zone, "from") if since else max(0, until_ns - _USUAL_DAYS * DAY_NS)
    if until_ns < since_ns:
        raise InvalidRequest("to: is before `from`", param="to")
    vendor, slash, name = model.partition("/")
    mark, colon, value = label.partition(":")
    if label and (not colon or not LABEL.fullmatch(mark)):
        raise InvalidRequest("label: name:value, such as team:search", param="label")
    which = Filter(
        since_ns=since_ns,
        until_ns=until_ns,
        tenant=tenant,
        key=key,
        customer=customer,
        vendor=vendor if slash else "",
        model=name if slash else vendor,
        cache=cache,
        label=mark,
        value=value,
        sandbox=sandbox,
    )
    await desk.written()
    return Asked(which, zone)


TheAsked = Annotated[Asked, Depends(_asked)]


def _moment(said: str, zone: str, param: str) -> int:
    """Raises InvalidRequest."""
    try:
        if _DATE.fullmatch(said):
            day = date.fromisoformat(said)
            found = int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000
        else:
            found = read_moment(said.replace(" ", "+"))  # a + that was not escaped in a query
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{param}: {_MOMENT}", param=param) from error
    if found > _LATEST_NS:
        raise InvalidRequest(f"{param}: before the year 2043", param=param)
    return max(0, found)
