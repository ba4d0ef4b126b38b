"""The audit: who changed what, when, and how it was before. Rows are written with the change, or neither is."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import TheDesk
from tokenrouter.api.admin.pages import Cursor, Page, PageSize, page, place_of
from tokenrouter.api.admin.values import said_moment
from tokenrouter.storage.directory_rows import Audited

router = APIRouter(prefix="/admin/audit", tags=["audit"])
_NEWEST = (1 << 63) - 1


class AuditView(BaseModel):
    """One change. Secrets and their hashes are in none."""

    id: int
    at: str
    actor: str = Field(description="The credential's name, and in parentheses what X-Admin-Actor said.")
    action: str
    target: str
    before: dict[str, object] | None = Field(description="null: it was not there.")
    after: dict[str, object] | None = Field(description="null: it is gone.")


@router.get("")
async def list_audit(
    desk: TheDesk,
    target: Annotated[str, Query(max_length=600, description='Of this thing only, like "key:abc", "tenant:acme", "cap:acme/1f…".')] = "",
    size: PageSize = 100,
    cursor: Cursor = "",
) -> Page[AuditView]:
    """Changes, the latest first."""
    place = place_of(cursor, int)
    found = await desk.records.audit(target, int(place[0]) if place else _NEWEST, size + 1)
    return page([_view(each) for each in found], [(each.id,) for each in found], size)


def _view(row: Audited) -> AuditView:
    return AuditView(
        id=row.id,
        at=said_moment(row.time_ns),
        actor=row.actor,
        action=row.action,
        target=row.target,
        before=_document(row.before),
        after=_document(row.after),
    )


def _document(text: str | None) -> dict[str, object] | None:
    return None if text is None else msgspec.json.decode(text, type=dict[str, object])
