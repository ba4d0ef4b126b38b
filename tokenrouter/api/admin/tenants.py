"""Tenants: the projects that own keys, customers and rules."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from msgspec.structs import replace
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import Actor, TheDesk, known_tenant, nothing_like
from tokenrouter.api.admin.pages import Cursor, Page, PageSize, page, place_of
from tokenrouter.api.admin.problems import refusing
from tokenrouter.api.admin.slots import Said, SlotTemplate, resolved, shown
from tokenrouter.api.admin.values import STRICT, said_moment
from tokenrouter.errors import Conflict
from tokenrouter.model.directory import Tenant
from tokenrouter.model.principal import PromptCacheOptions

router = APIRouter(prefix="/admin/tenants", tags=["tenants"])

TENANT_NAME = r"^[A-Za-z0-9._-]+$"
TenantName = Annotated[str, Field(min_length=1, max_length=100, pattern=TENANT_NAME)]
InPath = Annotated[str, Path(max_length=100, description="The tenant's name.")]
_ZONE = "Where its days, weeks and months begin, like Europe/Berlin."
_FIELD = "The dialect's own user field names the customer where X-Customer-ID does not."
_DISABLED = "None of its keys may be used."


class PromptCache(BaseModel):
    """How a tenant's prompts are treated."""

    model_config = STRICT

    mode: Literal["", "off", "observe", "on"] = Field(
        "",
        description="`on`: the gateway decides where to mark; `observe`: it records what it would do; `off`; empty: as PROMPT_CACHE_MODE says.",
    )
    hold_ms: int = Field(0, ge=0, le=10_000, description="How long a request may wait for another that writes the same cold prefix; 0: not at all.")
    slots: Said = Field(
        [],
        description="Volatile texts that may be moved behind the stable part: ids of `GET /admin/prompt-cache/volatile`, or whole templates. All of "
        "them: what is left out is no longer approved.",
    )
    diagnostics: bool = Field(False, description="Vendors that say why a prompt could not be reused are asked (`diagnostics.ask`).")


class PromptCacheView(BaseModel):
    """How a tenant's prompts are treated, as it is kept."""

    mode: Literal["", "off", "observe", "on"]
    hold_ms: int
    slots: list[SlotTemplate] = Field(description="Volatile texts that are moved behind the stable part, with the text around them.")
    diagnostics: bool = Field(description="Vendors that say why a prompt could not be reused are asked (`diagnostics.ask`).")


class NewTenant(BaseModel):
    """What a new tenant is to be."""

    model_config = STRICT

    name: TenantName
    zone: str = Field("UTC", max_length=100, description=_ZONE)
    customer_field: bool = Field(False, description=_FIELD)
    disabled: bool = Field(False, description=_DISABLED)
    prompt_cache: PromptCache = Field(default_factory=lambda: PromptCache.model_validate({}))


class TenantChange(BaseModel):
    """What is to be different; what is left out stays as it is."""

    model_config = STRICT

    zone: str = Field("UTC", max_length=100, description=_ZONE)
    customer_field: bool = Field(False, description=_FIELD)
    disabled: bool = Field(False, description=_DISABLED)
    prompt_cache: PromptCache = Field(default_factory=lambda: PromptCache.model_validate({}))


class TenantView(BaseModel):
    """A tenant."""

    name: str
    zone: str
    customer_field: bool
    disabled: bool
    prompt_cache: PromptCacheView
    created_at: str


def _options(said: PromptCache, found: Sequence[dict[str, object]], known: PromptCacheOptions | None = None) -> PromptCacheOptions:
    """What was said of it, over what is known. `found`: slots that this process has found. Raises SlotRefused."""
    known = known or PromptCacheOptions()
    changed = said.model_dump(exclude_unset=True)
    if "slots" in changed:
        del changed["slots"]
        changed["movable"] = resolved(said.slots, found, known.movable)
    return replace(known, **changed)


def _view(tenant: Tenant) -> TenantView:
    options = tenant.prompt_cache
    return TenantView(
        name=tenant.name,
        zone=tenant.zone,
        customer_field=tenant.customer_field,
        disabled=tenant.disabled,
        prompt_cache=PromptCacheView(mode=options.mode, hold_ms=options.hold_ms, slots=shown(options.movable), diagnostics=options.diagnostics),
        created_at=said_moment(tenant.created_ns),
    )


@router.post("", status_code=201)
async def create_tenant(desk: TheDesk, actor: Actor, new: NewTenant) -> TenantView:
    """Make a tenant. One that is not made beforehand is made with its first key, in UTC."""

    def make(known: Tenant | None) -> Tenant:
        if known is not None:
            raise Conflict(f"there is a tenant {new.name!r} already; PATCH /admin/tenants/{new.name} changes it", param="name")
        options = _options(new.prompt_cache, desk.slots(new.name))
        return Tenant(name=new.name, zone=new.zone, customer_field=new.customer_field, disabled=new.disabled, prompt_cache=options)

    with refusing():
        return _view(await desk.directory.change_tenant(new.name, make, actor=actor))


@router.get("")
async def list_tenants(desk: TheDesk, size: PageSize = 100, cursor: Cursor = "") -> Page[TenantView]:
    """All tenants, by name."""
    place = place_of(cursor, str)
    found = await desk.directory.tenants(str(place[0]) if place else "", size + 1)
    return page([_view(each) for each in found], [(each.name,) for each in found], size)


@router.get("/{tenant}")
async def show_tenant(desk: TheDesk, tenant: InPath) -> TenantView:
    """One tenant."""
    return _view(await known_tenant(desk, tenant))


@router.patch("/{tenant}")
async def change_tenant(desk: TheDesk, actor: Actor, tenant: InPath, change: TenantChange) -> TenantView:
    """Change a tenant. Periods that have begun in another time zone end where the new one says; what was counted under their names stays."""
    await known_tenant(desk, tenant)  # whatever its name is

    def make(known: Tenant | None) -> Tenant:
        if known is None:
            raise nothing_like("tenant", tenant)
        changed = change.model_dump(exclude_unset=True)
        if "prompt_cache" in changed:
            changed["prompt_cache"] = _options(change.prompt_cache, desk.slots(tenant), known.prompt_cache)
        return replace(known, **changed)

    with refusing():
        return _view(await desk.directory.change_tenant(tenant, make, actor=actor))
