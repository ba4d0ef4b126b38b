"""The providers' prompt caches: what they saved and through whom, which prefixes broke and why, conversations request by request.

No prompt is in the ledger; what this process still remembers of the text around a break is shown beside it, unless that is switched off.
"""

from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import Desk, TheDesk, known_tenant, nothing_like
from tokenrouter.api.admin.filters import TheAsked
from tokenrouter.api.admin.pages import Cursor, Page, PageSize, page_behind, place_of
from tokenrouter.api.admin.values import said_moment
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.rules import is_plain
from tokenrouter.money import format_usd
from tokenrouter.storage.prompt_cache import BreakLine, breaks, causes, conversation
from tokenrouter.storage.usage import Found, UsageLine, usage

router = APIRouter(prefix="/admin/prompt-cache", tags=["prompt cache"])

T = TypeVar("T")
_CURSOR = "cursor: take `next_cursor` of the page before as it is"


class CauseLine(BaseModel):
    """Broken prefixes of one cause."""

    cause: str
    requests: int
    cost_usd: str = Field(description="What was billed again because of them.")


class CacheSums(BaseModel):
    """What the prompt caches did. Input tokens are divided as they are billed."""

    requests: int
    fresh_input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    unreported_input: int = Field(description="Of `fresh_input`: tokens of which the provider did not tell whether it had read them.")
    read_share: float | None = Field(description="Tokens read, of all input tokens of which the provider told; null: of none.")
    read_across_sessions: int = Field(description="Of `cache_read`: what another conversation had written.")
    read_across_users: int = Field(description="Of `cache_read`: what another key had written.")
    saved_usd: str = Field(description="Against paying every input token in full, net of what writes cost extra; below zero where they cost more.")
    saved_by_client_usd: str = Field(
        description="How much of it would have been saved without the gateway: by the client's own marks, or automatically."
    )
    saved_by_gateway_usd: str = Field(description="The rest of it.")
    breaks: list[CauseLine] = Field(description="The dearest first. Requests that left the ledger by age are not in it.")
    breaks_usd: str


class SummaryView(BaseModel):
    """The summary of a stretch of time; real and simulated money apart."""

    since: str = Field(serialization_alias="from")
    until: str = Field(serialization_alias="to")
    real: CacheSums
    sandbox: CacheSums


class BreakView(BaseModel):
    """A request whose prompt should have been read from the prompt cache, and was not."""

    id: str
    at: str
    tenant: str
    key: str
    session: str | None
    model: str
    sandbox: bool
    cause: str
    place: str | None = Field(description="Where the prefix broke: a path in the request.")
    tokens: int = Field(description="Tokens that were billed again.")
    cost_usd: str
    vendor_reason: str | None = Field(description="What the provider said of it, in its own word (`diagnostics.ask`), as far as `details` go.")
    details: dict[str, object] | None = Field(description="What differed, as far as the process that was asked remembers; null: nothing.")


class TurnView(BaseModel):
    """One request of a conversation."""

    id: str
    at: str
    model: str
    cache: str
    fresh_input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    cost_usd: str
    saved_usd: str
    saved_by_gateway_usd: str
    edits: list[str]
    cause: str | None = Field(description="Why its prefix broke; null: it did not.")
    place: str | None
    vendor_reason: str | None = Field(description="As in a break.")
    lost_usd: str


class SlotView(BaseModel):
    """A text in prompts that differs from request to request."""

    id: str
    place: str = Field(description="Where it was seen last: a path in the request.")
    line: int
    kind: str | None = Field(description="What it holds: a time, a date, an id, a path...; null: that is not known.")
    template: str = Field(description="The text around it, with the value taken out.")
    count: int = Field(description="How often it differed.")
    distinct: int = Field(description="How many values were seen; 64 means 64 or more.")
    tokens: int = Field(description="Tokens that were billed again because of it.")
    cost_usd: str
    edit: str | None = Field(description="The gateway's edit that would help; null: only the client can.")
    approved: bool = Field(description="Whether the tenant's `prompt_cache.slots` has it, so that it moves. What it cost before stays told.")
    advice: str


class VolatileView(BaseModel):
    """What was found, the dearest first."""

    data: list[SlotView]


@router.get("/summary", response_model_by_alias=True)
async def prompt_cache_summary(desk: TheDesk, asked: TheAsked) -> SummaryView:
    """What the providers' prompt caches read, wrote and saved, through whom, and what broken prefixes cost."""
    found = await causes(desk.ledger, asked.which)
    sums = {}
    for sandbox, name in ((False, "real"), (True, "sandbox")):
        which = msgspec.structs.replace(asked.which, sandbox=sandbox)
        lines = await usage(desk.ledger, which, by=("cache",)) if asked.which.sandbox in (None, sandbox) else []
        sums[name] = _sums(lines, [each for each in found if each.sandbox == sandbox])
    return SummaryView(since=said_moment(asked.which.since_ns), until=said_moment(asked.which.until_ns), **sums)


@router.get("/breaks")
async def prompt_cache_breaks(
    desk: TheDesk,
    asked: TheAsked,
    cause: Annotated[str, Query(max_length=64, description="Of this cause only.")] = "",
    size: PageSize = 100,
    cursor: Cursor = "",
) -> Page[BreakView]:
    """Requests whose prefix broke, the latest first."""
    place = place_of(cursor, str)
    try:
        found = await breaks(desk.ledger, asked.which, cause=cause, after=str(place[0]) if place else "", most=size)
    except ValueError as error:
        raise InvalidRequest(_CURSOR, param="cursor") from error
    return _page([_break(desk, each) for each in found.records], found)


@router.get("/volatile")
async def prompt_cache_volatile(desk: TheDesk, tenant: Annotated[str, Query(min_length=1, max_length=256)]) -> VolatileView:
    """Texts that differ from request to request where nothing else does: what they cost, and what would help. Of the process that is asked."""
    approved = {template.id for template in (await known_tenant(desk, tenant)).prompt_cache.movable}
    return VolatileView(data=[_slot(each, approved) for each in desk.slots(tenant)])


@router.get("/sessions/{session}")
async def prompt_cache_session(
    desk: TheDesk,
    session: Annotated[str, Path(max_length=64, description="As in a break, or in a request of the ledger.")],
    tenant: Annotated[str, Query(max_length=256)] = "",
    size: PageSize = 100,
    cursor: Cursor = "",
) -> Page[TurnView]:
    """A conversation, the earliest request first."""
    place = place_of(cursor, str)
    await desk.written()
    if not is_plain(session) or (tenant and not is_plain(tenant)):
        raise nothing_like("session", session)
    try:
        found = await conversation(desk.ledger, session, tenant=tenant, after=str(place[0]) if place else "", most=size)
    except ValueError as error:
        raise InvalidRequest(_CURSOR, param="cursor") from error
    if not found.records and not cursor:
        raise nothing_like("session", session)
    return _page([_turn(desk, each) for each in found.records], found)


def _page(data: list[T], found: Found) -> Page[T]:
    return page_behind(data, (found.next,) if found.next else None)


def _sums(lines: list[UsageLine], found: list[BreakLine]) -> CacheSums:
    """Of requests that a provider answered: kept answers carry the tokens of those that they repeat."""
    asked = [line for line in lines if line.cache in ("miss", "bypass")]

    def total(name: str) -> int:
        return sum(int(getattr(line, name)) for line in asked)

    buckets = {name: total(name) for name in ("fresh_input", "cache_read", "cache_write", "cache_write_1h")}
    told = sum(buckets.values()) - total("unreported_input")
    return CacheSums(
        requests=total("requests"),
        **buckets,
        unreported_input=total("unreported_input"),
        read_share=round(buckets["cache_read"] / told, 6) if told else None,
        read_across_sessions=total("read_across_sessions"),
        read_across_users=total("read_across_users"),
        saved_usd=format_usd(total("saved_prompt_cache")),
        saved_by_client_usd=format_usd(total("saved_by_client")),
        saved_by_gateway_usd=format_usd(total("saved_by_gateway")),
        breaks=[CauseLine(cause=each.cause, requests=each.requests, cost_usd=format_usd(each.cost)) for each in found],
        breaks_usd=format_usd(total("cache_break_cost")),
    )


def _slot(slot: dict[str, object], approved: set[str]) -> SlotView:
    return SlotView(
        id=str(slot["id"]),
        place=str(slot["path"]),
        line=int(str(slot["line"])),
        kind=str(slot["kind"]) or None,
        template=str(slot["template"]),
        count=int(str(slot.get("count", 0))),
        distinct=int(str(slot.get("distinct", 0))),
        tokens=int(str(slot.get("tokens", 0))),
        cost_usd=format_usd(int(str(slot.get("nano_usd", 0)))),
        edit=str(slot.get("edit", "")) or None,
        approved=slot["id"] in approved,
        advice=str(slot.get("advice", "")),
    )


def _vendor_reason(details: dict[str, object] | None) -> str | None:
    return str(details.get("said", "")) or None if details is not None else None


def _break(desk: Desk, record: RequestRecord) -> BreakView:
    details = desk.break_details(record.id)
    return BreakView(
        id=record.id,
        at=said_moment(record.booked_ns),
        tenant=record.tenant,
        key=record.key_id,
        session=record.session or None,
        model=f"{record.vendor}/{record.model}",
        sandbox=record.sandbox,
        cause=record.cache_break,
        place=record.cache_break_place or None,
        tokens=record.cache_break_tokens,
        cost_usd=format_usd(record.cache_break_cost),
        vendor_reason=_vendor_reason(details),
        details=details,
    )


def _turn(desk: Desk, record: RequestRecord) -> TurnView:
    usage = record.usage
    return TurnView(
        id=record.id,
        at=said_moment(record.booked_ns),
        model=f"{record.vendor}/{record.model}",
        cache=record.cache,
        fresh_input=usage.fresh_input,
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        cache_write_1h=usage.cache_write_1h,
        output=usage.output,
        cost_usd=format_usd(record.cost),
        saved_usd=format_usd(record.saved_prompt_cache),
        saved_by_gateway_usd=format_usd(record.saved_by_gateway),
        edits=list(record.edits),
        cause=record.cache_break or None,
        place=record.cache_break_place or None,
        vendor_reason=_vendor_reason(desk.break_details(record.id)) if record.cache_break else None,
        lost_usd=format_usd(record.cache_break_cost),
    )
