"""Usage and cost: totals by any mix of key, tenant, customer, model, label, cache and time, as JSON or CSV.

Every answer says the total of what was asked about and the residue, which is what the lines do not show of it. Real and simulated money
are never added up.
"""

import csv
import io
from typing import Annotated, Final, Literal, cast

import msgspec
from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import Desk, TheDesk
from tokenrouter.api.admin.filters import LABEL, Asked, TheAsked
from tokenrouter.api.admin.stretches import stretches
from tokenrouter.api.admin.values import said_moment
from tokenrouter.errors import InvalidRequest
from tokenrouter.money import format_usd
from tokenrouter.storage.usage import Dimension, Filter, Grain, UsageLine, usage

router = APIRouter(prefix="/admin/usage", tags=["usage"])

_MOST_LINES = 50_000
_NAMES: Final = ("tenant", "key", "customer", "model", "cache")
_GRAINS: Final = ("hour", "day", "month")
_COUNTS: Final = (
    *("requests", "errors", "fresh_input", "cache_read", "cache_write", "cache_write_1h", "output", "tokens"),
    *("unreported_input", "read_across_sessions", "read_across_users"),
)
_MONEY: Final = (
    *("cost", "presumed_cost", "saved_prompt_cache", "saved_by_client", "saved_by_gateway", "saved_exact", "saved_dedup", "cache_break_cost"),
)
_AMOUNTS: Final = (*_COUNTS, *_MONEY)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_CSV: Final = "text/csv"


class Amounts(BaseModel):
    """Sums. Tokens are divided as they are billed: `fresh_input`, `cache_read`, `cache_write`, `cache_write_1h` and `output` do not overlap."""

    requests: int
    errors: int = Field(description="Requests that ended with a status of 400 and more.")
    fresh_input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    tokens: int = Field(description="What counted against caps: all input and output; of what nobody knows, what was held.")
    unreported_input: int = Field(description="Input tokens of which the provider did not tell how many it read from its prompt cache.")
    read_across_sessions: int = Field(description="Of `cache_read`: what another conversation had written.")
    read_across_users: int = Field(description="Of `cache_read`: what another key had written.")
    cost_usd: str
    presumed_cost_usd: str = Field(description="How much of the cost nobody has confirmed.")
    saved_prompt_cache_usd: str = Field(description="Below zero where cache writes cost more than reads have saved.")
    saved_by_client_usd: str = Field(
        description="How much of it the clients' own breakpoints, or the provider's automatic cache, would have saved without the gateway."
    )
    saved_by_gateway_usd: str = Field(description="The rest of it: what the gateway's part comes to.")
    saved_exact_usd: str
    saved_dedup_usd: str
    cache_break_cost_usd: str = Field(description="What broken prefixes cost: prompts that should have been read from the prompt cache and were not.")


class Line(Amounts):
    """Sums of one group; null: not asked for by that name."""

    sandbox: bool = Field(description="Simulated: no real money.")
    at: str | None = Field(description="Begin of the hour, day or month, in `zone`.")
    tenant: str | None
    key: str | None
    customer: str | None = Field(description='"": no customer was named.')
    model: str | None
    cache: str | None
    label: str | None = Field(description='The value of the label; "": it has none.')


class Sums(BaseModel):
    """Totals, real and simulated apart."""

    real: Amounts
    sandbox: Amounts


class UsageView(BaseModel):
    """What was used."""

    since: str = Field(serialization_alias="from")
    until: str = Field(serialization_alias="to")
    zone: str
    by: list[str]
    data: list[Line]
    total: Sums = Field(description="Of everything that was asked about.")
    residue: Sums = Field(description="What the lines do not show of the total: lines beyond `limit`; of labels, what left the ledger by age.")


class _By(msgspec.Struct, frozen=True):
    """How to divide."""

    names: tuple[Dimension, ...]
    label: str
    grain: Grain
    said: tuple[str, ...]


@router.get(
    "",
    response_model=UsageView,
    responses={200: {"content": {_CSV: {"schema": {"type": "string"}}}, "description": "JSON, or CSV where `Accept` or `format` asks for it."}},
)
async def show_usage(
    desk: TheDesk,
    asked: TheAsked,
    by: Annotated[
        list[str] | None,
        Query(
            max_length=20,
            description="What to tell apart, several times or separated by commas: tenant, key, customer, model, cache, one `label:<name>`, "
            "and one of hour, day, month.",
        ),
    ] = None,
    size: Annotated[int, Query(alias="limit", ge=1, le=_MOST_LINES, description="Lines at most.")] = 1_000,
    form: Annotated[Literal["", "json", "csv"], Query(alias="format", description="Wins over `Accept`.")] = "",
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Totals of requests, tokens, cost and savings. Requests that left the ledger by age are in them, by UTC day and without labels."""
    divided = _divided(by or [])
    view = await _view(desk, asked, divided, size)
    if form == "csv" or (not form and _CSV in accept):
        headers = {"content-disposition": 'attachment; filename="usage.csv"'}
        return Response(_csv(view, divided), media_type=f"{_CSV}; charset=utf-8", headers=headers)
    return Response(view.model_dump_json(by_alias=True), media_type="application/json")


def _divided(said: list[str]) -> _By:
    """Raises InvalidRequest."""
    names: list[Dimension] = []
    labels: list[str] = []
    grains: list[Grain] = []
    words = [word.strip() for each in said for word in each.split(",") if word.strip()]
    for word in words:
        if word in _NAMES:
            names.append(cast("Dimension", word))
        elif word in _GRAINS:
            grains.append(cast("Grain", word))
        elif word.startswith("label:") and LABEL.fullmatch(word[6:]):
            labels.append(word[6:])
        else:
            raise InvalidRequest(f"by: {word[:80]!r} is none of {', '.join((*_NAMES, *_GRAINS))}, label:<name>", param="by")
    if len(set(labels)) > 1 or len(set(grains)) > 1:
        raise InvalidRequest("by: one label and one of hour, day, month at most", param="by")
    whole: tuple[Dimension, ...] = (*dict.fromkeys(names), *(("label",) if labels else ()))
    return _By(whole, labels[0] if labels else "", grains[0] if grains else "", tuple(dict.fromkeys(words)))


async def _view(desk: Desk, asked: Asked, by: _By, size: int) -> UsageView:
    lines: list[Line] = []
    totals: dict[bool, Amounts] = {}
    shown: dict[bool, UsageLine] = {}
    for sandbox in (False, True):
        shown[sandbox] = UsageLine()
        wanted = asked.which.sandbox in (None, sandbox)
        which = msgspec.structs.replace(asked.which, sandbox=sandbox)
        found = (await usage(desk.ledger, which)) if wanted else []
        totals[sandbox] = _amounts(_sum(found))
        groups = await _groups(desk, which, asked.zone, by) if found else []
        for line in groups[: max(0, size - len(lines))]:
            shown[sandbox] = _sum([shown[sandbox], line])
            lines.append(_line(line, by, sandbox=sandbox))
        shown[sandbox] = _less(_sum(found), shown[sandbox])
    return UsageView(
        since=said_moment(asked.which.since_ns),
        until=said_moment(asked.which.until_ns),
        zone=asked.zone,
        by=list(by.said),
        data=lines,
        total=Sums(real=totals[False], sandbox=totals[True]),
        residue=Sums(real=_amounts(shown[False]), sandbox=_amounts(shown[True])),
    )


async def _groups(desk: Desk, which: Filter, zone: str, by: _By) -> list[UsageLine]:
    """Totals by group. Where clocks are set, a stretch of time ends: the ledger is asked for each with its offset from UTC."""
    if not by.grain:
        return await usage(desk.ledger, which, by=by.names, label=by.label)
    found: dict[tuple[str, ...], UsageLine] = {}
    for each in stretches(zone, which.since_ns, which.until_ns):  # two a year at most
        part = msgspec.structs.replace(which, since_ns=each.since_ns, until_ns=each.until_ns)
        for line in await usage(desk.ledger, part, by=by.names, label=by.label, grain=by.grain, offset_s=each.offset_s):
            if by.grain == "hour":  # the hour that comes twice when clocks are set back is two hours
                line.at += f":00{each.offset}"
            name = _named(line)
            found[name] = _sum([found[name], line]) if name in found else line
    return [line for _, line in sorted(found.items())]


def _named(line: UsageLine) -> tuple[str, ...]:
    return (line.at, line.tenant, line.key, line.customer, line.vendor, line.model, line.cache, line.label)


def _sum(lines: list[UsageLine]) -> UsageLine:
    """All amounts added up, under the names of the first."""
    if not lines:
        return UsageLine()
    return msgspec.structs.replace(lines[0], **{name: sum(getattr(line, name) for line in lines) for name in _AMOUNTS})


def _less(one: UsageLine, other: UsageLine) -> UsageLine:
    return UsageLine(**{name: getattr(one, name) - getattr(other, name) for name in _AMOUNTS})


def _amounts(line: UsageLine) -> Amounts:
    counts: dict[str, object] = {name: getattr(line, name) for name in _COUNTS}
    return Amounts.model_validate(counts | {f"{name}_usd": format_usd(getattr(line, name)) for name in _MONEY})


def _line(line: UsageLine, by: _By, *, sandbox: bool) -> Line:
    model = f"{line.vendor}/{line.model}" if line.vendor or line.model else ""
    said = {"tenant": line.tenant, "key": line.key, "customer": line.customer, "model": model, "cache": line.cache, "label": line.label}
    names = {name: value if name in by.names else None for name, value in said.items()}
    return Line.model_validate({**_amounts(line).model_dump(), "sandbox": sandbox, "at": line.at if by.grain else None, **names})


def _csv(view: UsageView, by: _By) -> str:
    """Lines, then totals and residues: told apart by the first column."""
    names = [*(["at"] if by.grain else []), *by.names]
    columns = ["row", "sandbox", *names, *Amounts.model_fields]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([f"label:{by.label}" if name == "label" else name for name in columns])
    for line in view.data:
        fields = line.model_dump()
        writer.writerow(["data", str(line.sandbox).lower(), *(_cell(str(fields[name])) for name in names), *_figures(line)])
    for row, sums in (("total", view.total), ("residue", view.residue)):
        for sandbox, amounts in (("false", sums.real), ("true", sums.sandbox)):
            writer.writerow([row, sandbox, *("" for _ in names), *_figures(amounts)])
    return out.getvalue()


def _figures(amounts: Amounts) -> list[object]:
    fields = amounts.model_dump()
    return [fields[name] for name in Amounts.model_fields]


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula. What clients name (customers, labels) comes here."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
