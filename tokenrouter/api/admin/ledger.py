"""The ledger: single requests, what each cost and how it was booked. No prompt and no answer is in it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import TheDesk, nothing_like
from tokenrouter.api.admin.filters import TheAsked
from tokenrouter.api.admin.pages import Cursor, Page, PageSize, page_behind, place_of
from tokenrouter.api.admin.values import said_moment
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.rules import is_plain
from tokenrouter.money import format_usd
from tokenrouter.storage.usage import find, search

router = APIRouter(prefix="/admin/ledger", tags=["ledger"])
_MS = 1e6


class Tokens(BaseModel):
    """Tokens as they are billed: the buckets do not overlap."""

    fresh_input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    reported: bool = Field(description="Whether the provider said so.")


class RequestView(BaseModel):
    """One request."""

    id: str
    at: str = Field(description="The moment whose period it is booked in.")
    tenant: str
    key: str
    customer: str | None
    labels: dict[str, str]
    dialect: str
    model_asked: str
    model: str | None = Field(description="`vendor/model` that answered.")
    downgraded_from: str | None
    chain: list[str] = Field(description="Accounts that were tried, in order.")
    stream: bool
    sandbox: bool = Field(description="Simulated: no real money.")
    status: int
    error: str | None
    cache: Literal["hit", "coalesced", "miss", "bypass"]
    shared_from: str | None = Field(description="The request whose answer it was given.")
    similarity: float | None = Field(description="How alike the question was whose answer it was given; null: not judged.")
    settled: Literal["free", "exact", "estimated", "presumed", "void"]
    late: bool = Field(description="The truth came after it had been presumed.")
    tokens: Tokens
    booked_tokens: int = Field(description="What counted against caps of tokens.")
    cost_usd: str
    session: str | None = Field(description="The conversation, for /admin/prompt-cache/sessions.")
    saved_prompt_cache_usd: str
    saved_by_client_usd: str = Field(description="How much of it would have been saved without the gateway.")
    saved_by_gateway_usd: str
    saved_exact_usd: str
    saved_dedup_usd: str
    cache_break: str | None = Field(description="Why its prefix was not read from the prompt cache; null: nothing broke.")
    cache_break_place: str | None
    cache_break_cost_usd: str
    price_version: str
    edits: list[str]
    dropped: list[str]
    duration_ms: float
    first_byte_ms: float
    upstream_ms: float


@router.get("")
async def search_ledger(
    desk: TheDesk,
    asked: TheAsked,
    settled: Annotated[Literal["", "free", "exact", "estimated", "presumed", "void"], Query(description="How it was booked.")] = "",
    status_from: Annotated[int, Query(ge=0, le=999)] = 0,
    status_to: Annotated[int, Query(ge=0, le=999)] = 999,
    size: PageSize = 100,
    cursor: Cursor = "",
) -> Page[RequestView]:
    """Requests, the latest first."""
    place = place_of(cursor, str)
    try:
        found = await search(
            desk.ledger, asked.which, settled=settled, statuses=(status_from, status_to), after=str(place[0]) if place else "", most=size
        )
    except ValueError as error:
        raise InvalidRequest("cursor: take `next_cursor` of the page before as it is", param="cursor") from error
    return page_behind([_view(each) for each in found.records], (found.next,) if found.next else None)


@router.get("/{request_id}")
async def show_request(
    desk: TheDesk, request_id: Annotated[str, Path(max_length=300, description="As in the header x-tokenrouter-request-id.")]
) -> RequestView:
    """One request. In the shared mode it is here a moment after it has ended."""
    await desk.written()
    record = await find(desk.ledger, request_id) if is_plain(request_id) else None
    if record is None:
        raise nothing_like("request", request_id)
    return _view(record)


def _view(record: RequestRecord) -> RequestView:
    usage = record.usage
    return RequestView(
        id=record.id,
        at=said_moment(record.booked_ns),
        tenant=record.tenant,
        key=record.key_id,
        customer=record.customer or None,
        labels=dict(record.labels),
        dialect=record.dialect,
        model_asked=record.model_asked,
        model=f"{record.vendor}/{record.model}" if record.model else None,
        downgraded_from=record.downgraded_from or None,
        chain=list(record.chain),
        stream=record.stream,
        sandbox=record.sandbox,
        status=record.status,
        error=record.error or None,
        cache=record.cache,
        shared_from=record.shared_from or None,
        similarity=record.similarity / 1e6 if record.similarity else None,
        settled=record.settled,
        late=record.late,
        tokens=Tokens(
            fresh_input=usage.fresh_input,
            cache_read=usage.cache_read,
            cache_write=usage.cache_write,
            cache_write_1h=usage.cache_write_1h,
            output=usage.output,
            reported=usage.reported,
        ),
        booked_tokens=record.tokens,
        cost_usd=format_usd(record.cost),
        session=record.session or None,
        saved_prompt_cache_usd=format_usd(record.saved_prompt_cache),
        saved_by_client_usd=format_usd(record.saved_by_client),
        saved_by_gateway_usd=format_usd(record.saved_by_gateway),
        saved_exact_usd=format_usd(record.saved_exact),
        saved_dedup_usd=format_usd(record.saved_dedup),
        cache_break=record.cache_break or None,
        cache_break_place=record.cache_break_place or None,
        cache_break_cost_usd=format_usd(record.cache_break_cost),
        price_version=record.price_version,
        edits=list(record.edits),
        dropped=list(record.dropped),
        duration_ms=record.duration_ns / _MS,
        first_byte_ms=record.first_byte_ns / _MS,
        upstream_ms=record.upstream_ns / _MS,
    )
