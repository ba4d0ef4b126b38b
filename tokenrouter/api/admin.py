"""The admin API: keys. Behind the admin key; its calls are never budgeted."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tokenrouter.api.auth import is_admin
from tokenrouter.api.public import gateway_of, plain_headers
from tokenrouter.errors import InvalidRequest, NotFound, Unauthenticated
from tokenrouter.model.directory import KeyOptions, StoredKey
from tokenrouter.model.edits import SWITCHABLE
from tokenrouter.model.rules import MOST_CAP
from tokenrouter.money import format_usd, parse_usd
from tokenrouter.wiring import Gateway


def admin_gateway(request: Request) -> Gateway:
    """The gateway, for an administrator. Raises Unauthenticated."""
    gateway = gateway_of(request)
    if not is_admin(plain_headers(request.headers), gateway.keys, gateway.settings.admin_api_key.reveal()):
        raise Unauthenticated("the admin API wants the admin key: `Authorization: Bearer …`")
    return gateway


Admin = Annotated[Gateway, Depends(admin_gateway)]
router = APIRouter(prefix="/admin", tags=["admin"])


class NewKey(BaseModel):
    """What a new key is to be. Money as a decimal string, so that no binary fraction slips in; a plain number is read as written."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=200)
    tenant: str = Field("default", min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")
    quota_usd: str | None = Field(None, description='What the key may spend in all, e.g. "12.50"; null: unlimited.')
    requests_per_minute: int = Field(0, ge=0, le=1_000_000)
    models: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(default_factory=list, max_length=500)
    dedup_mode: Literal["auto", "all", "off"] | None = None
    cache_mode: Literal["auto", "all", "off"] | None = None
    edits_off: list[str] = Field(default_factory=list)

    @field_validator("quota_usd", mode="before")
    @classmethod
    def _spelled(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class KeyView(BaseModel):
    """A key as it can be shown. `key` is there once, when it was just made."""

    id: str
    key: str | None = None
    name: str
    tenant: str
    quota_usd: str | None
    spent_usd: str
    held_usd: str
    sandbox_spent_usd: str
    requests_per_minute: int
    models: list[str]
    dedup_mode: str | None
    cache_mode: str | None
    edits_off: list[str]
    created_ns: int
    revoked: bool


@router.post("/api-keys", status_code=201)
async def create_key(gateway: Admin, new: NewKey) -> KeyView:
    """Mint a key. It is shown in this answer and never again."""
    if unknown := set(new.edits_off) - SWITCHABLE:
        raise InvalidRequest(f"unknown edit {min(unknown)!r}; one of {', '.join(sorted(SWITCHABLE))}", param="edits_off")
    try:
        quota = None if new.quota_usd is None else parse_usd(new.quota_usd)
    except ValueError as error:
        raise InvalidRequest(f"quota_usd: {error}", param="quota_usd") from error
    if quota is not None and quota > MOST_CAP:
        raise InvalidRequest("quota_usd: more than a ledger can hold", param="quota_usd")
    options = KeyOptions(tuple(new.models), new.dedup_mode, new.cache_mode, tuple(new.edits_off))
    try:
        key, stored = await gateway.keys.create(
            tenant=new.tenant, name=new.name, quota=quota, rpm=new.requests_per_minute, options=options, actor="admin"
        )
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    return _view(gateway, stored, key)


@router.get("/api-keys")
async def list_keys(gateway: Admin) -> dict[str, list[KeyView]]:
    """Every key, revoked ones included, oldest first."""
    return {"data": [_view(gateway, stored) for stored in await gateway.keys.all()]}


@router.get("/api-keys/{key_id}")
async def show_key(gateway: Admin, key_id: str) -> KeyView:
    """One key."""
    stored = await gateway.keys.get(key_id)
    if stored is None:
        raise NotFound(f"no key {key_id[:64]!r}")
    return _view(gateway, stored)


@router.delete("/api-keys/{key_id}")
async def revoke_key(gateway: Admin, key_id: str) -> KeyView:
    """Revoke a key for good; calls under way with it are finished. Its spending stays on the books."""
    if not await gateway.keys.revoke(key_id, actor="admin") and await gateway.keys.get(key_id) is None:
        raise NotFound(f"no key {key_id[:64]!r}")
    return await show_key(gateway, key_id)


def _view(gateway: Gateway, stored: StoredKey, key: str | None = None) -> KeyView:
    principal = stored.principal
    gateway.stores.ledger.writer.flush()  # type: ignore[attr-defined]
    real = gateway.stores.ledger.spent().get((principal.key_id, False), 0)  # type: ignore[attr-defined]
    simulated = gateway.stores.ledger.spent().get((principal.key_id, True), 0)  # type: ignore[attr-defined]
    return KeyView(
        id=principal.key_id,
        key=key,
        name=principal.name,
        tenant=principal.tenant,
        quota_usd=None if principal.quota is None else format_usd(principal.quota),
        spent_usd=format_usd(real),
        held_usd=format_usd(0),
        sandbox_spent_usd=format_usd(simulated),
        requests_per_minute=principal.rpm,
        models=list(principal.models),
        dedup_mode=principal.dedup_mode,
        cache_mode=principal.cache_mode,
        edits_off=list(principal.edits_off),
        created_ns=stored.created_ns,
        revoked=stored.revoked_ns is not None,
    )
