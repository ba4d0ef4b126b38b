"""Kept answers: how many there are, what they saved, and throwing them away."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import Actor, Desk, TheDesk, key_of, known_key, known_tenant
from tokenrouter.api.admin.rules import model_name
from tokenrouter.api.admin.values import STRICT, Plain
from tokenrouter.errors import InvalidRequest, Unavailable
from tokenrouter.recall.exact import AnswerStore

router = APIRouter(prefix="/admin/cache", tags=["cache"])


class CacheView(BaseModel):
    """What is kept. How often it was given again, and what that saved: /admin/usage?by=cache."""

    tenant: str | None = Field(description="null: of all tenants.")
    answers: int
    bytes: int


class Purge(BaseModel):
    """Which answers to throw away: those that match everything that is said."""

    model_config = STRICT

    tenant: Plain | None = None
    key_id: Plain | None = Field(None, description="Whose requests brought them.")
    model: Plain | None = Field(None, description="Whose answers they are: `vendor/model`, or the bare name.")
    all: bool = Field(False, description="All of them, of all tenants. Has to be said.")


class Purged(BaseModel):
    """What became of it."""

    thrown_away: int


def _answers(desk: Desk) -> AnswerStore:
    if desk.answers is None:
        raise Unavailable("no gateway runs here, so nobody can say what is kept; give its address (TOKENROUTER_URL)")
    return desk.answers


@router.get("")
async def show_cache(desk: TheDesk, tenant: Annotated[str, Query(max_length=100, description="Of this tenant only.")] = "") -> CacheView:
    """How many answers are kept, and how many bytes they take."""
    if tenant:
        await known_tenant(desk, tenant)
    totals = await _answers(desk).totals(tenant)
    return CacheView(tenant=tenant or None, answers=totals.answers, bytes=totals.size)


@router.post("/purge")
async def purge_cache(desk: TheDesk, actor: Actor, which: Purge) -> Purged:
    """Throw kept answers away. Nobody is given one of them from here on.

    Calls that are under way may keep their answers again, and in the shared mode answers that another worker is just writing may stay:
    where that matters, purge again a few seconds later.
    """
    said = bool(which.tenant or which.key_id or which.model)
    if said == which.all:
        raise InvalidRequest("say tenant, key_id or model, or all: true", param="all")
    if which.tenant:
        await known_tenant(desk, which.tenant)
    if which.key_id and which.tenant:
        await key_of(desk, which.tenant, which.key_id, "key_id")
    vendor, _, model = (model_name(desk, which.model, "model") if which.model else "").partition("/")
    gone = 0
    for tenant in await _tenants(desk, which):
        gone += await _answers(desk).purge(tenant, vendor=vendor, model=model, key_id=which.key_id or "")
    said_of = {name: value for name, value in (("tenant", which.tenant), ("key_id", which.key_id), ("model", which.model)) if value}
    after = msgspec.json.encode({**said_of, "thrown_away": gone}).decode()
    await desk.records.note(actor, "purge cache", "cache", None, after)
    return Purged(thrown_away=gone)


async def _tenants(desk: Desk, which: Purge) -> list[str]:
    """Whose answers are looked through."""
    if which.tenant:
        return [which.tenant]
    if which.key_id:
        return [(await known_key(desk, which.key_id)).principal.tenant]
    found, page = [], await desk.directory.tenants()
    while page:
        found += [each.name for each in page]
        page = await desk.directory.tenants(found[-1])
    return found
