"""Customers: whom a tenant serves, under the tenant's own ids for them, and the caps that most of them get.

Nobody has to be registered to be served. Whoever is can be disabled, and has caps of its own: `daily_usd`, `monthly_usd`,
`per_request_usd`. These are rules like any others (see /caps), made and changed here under ids of their own.
"""

import secrets
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from msgspec.structs import replace
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import Actor, Desk, TheDesk, known_tenant, nothing_like
from tokenrouter.api.admin.pages import Cursor, Page, PageSize, page, place_of
from tokenrouter.api.admin.problems import refusing
from tokenrouter.api.admin.tenants import InPath
from tokenrouter.api.admin.values import STRICT, Name, Plain, Usd, said_moment
from tokenrouter.errors import Conflict, InvalidRequest
from tokenrouter.model.directory import Customer
from tokenrouter.model.rules import EACH, Cap, Scope
from tokenrouter.money import format_usd

router = APIRouter(prefix="/admin/tenants/{tenant}/customers", tags=["customers"])

_PERIODS: dict[str, Literal["day", "month", "request"]] = {"daily_usd": "day", "monthly_usd": "month", "per_request_usd": "request"}
CustomerId = Annotated[str, Path(max_length=2_000, description="The customer's id; what stands between slashes in it belongs to it.")]
_DISABLED = "Requests in its name are refused."
_CAP = "A cap of this customer alone; null: none."


class NewCustomer(BaseModel):
    """A customer to register."""

    model_config = STRICT

    id: Plain = Field(description="As requests name them in X-Customer-ID.")
    name: Name = ""
    disabled: bool = Field(False, description=_DISABLED)
    daily_usd: Usd | None = Field(None, description=_CAP)
    monthly_usd: Usd | None = Field(None, description=_CAP)
    per_request_usd: Usd | None = Field(None, description=_CAP)


class CustomerChange(BaseModel):
    """What is to be different; what is left out stays as it is."""

    model_config = STRICT

    name: Name = ""
    disabled: bool = Field(False, description=_DISABLED)
    daily_usd: Usd | None = Field(None, description=_CAP)
    monthly_usd: Usd | None = Field(None, description=_CAP)
    per_request_usd: Usd | None = Field(None, description=_CAP)


class CustomerView(BaseModel):
    """A customer. `caps`: ids of all rules that are of this customer alone, those of the three fields among them."""

    id: str
    tenant: str
    name: str
    disabled: bool
    daily_usd: str | None
    monthly_usd: str | None
    per_request_usd: str | None
    rules: list[str] = Field(description="Ids of all limits and caps that are of this customer alone.")
    created_at: str


@router.post("", status_code=201)
async def register_customer(desk: TheDesk, actor: Actor, tenant: InPath, new: NewCustomer) -> CustomerView:
    """Register a customer."""
    await known_tenant(desk, tenant)

    def make(known: Customer | None) -> Customer:
        if known is not None:
            raise Conflict(f"the customer {new.id!r} is registered already; PATCH changes it", param="id")
        return Customer(tenant=tenant, id=new.id, name=new.name, disabled=new.disabled)

    with refusing():
        await desk.directory.change_customer(tenant, new.id, make, actor=actor)
    wanted = {field: getattr(new, field) for field in _PERIODS if getattr(new, field) is not None}
    await _set_caps(desk, await _known(desk, tenant, new.id), wanted, actor)
    return _view(await _known(desk, tenant, new.id))


@router.get("")
async def list_customers(desk: TheDesk, tenant: InPath, size: PageSize = 100, cursor: Cursor = "") -> Page[CustomerView]:
    """A tenant's registered customers, by id."""
    await known_tenant(desk, tenant)
    place = place_of(cursor, str)
    found = await desk.directory.customers(tenant, str(place[0]) if place else "", size + 1)
    whole = [await desk.directory.get_customer(tenant, each.id) or each for each in found]  # with their rules
    return page([_view(each) for each in whole], [(each.id,) for each in found], size)


@router.get("/{customer:path}")
async def show_customer(desk: TheDesk, tenant: InPath, customer: CustomerId) -> CustomerView:
    """One customer."""
    return _view(await _known(desk, tenant, customer))


@router.patch("/{customer:path}")
async def change_customer(desk: TheDesk, actor: Actor, tenant: InPath, customer: CustomerId, change: CustomerChange) -> CustomerView:
    """Change a customer. A cap whose amount is changed goes on from what it has counted."""
    known = await _known(desk, tenant, customer)
    wanted = change.model_fields_set
    named = {field: getattr(change, field) for field in ("name", "disabled") if field in wanted}

    def make(now: Customer | None) -> Customer:
        if now is None:
            raise nothing_like("customer", customer)
        return replace(now, **named)

    if named:
        with refusing():
            await desk.directory.change_customer(tenant, customer, make, actor=actor)
    await _set_caps(desk, known, {field: getattr(change, field) for field in _PERIODS if field in wanted}, actor)
    return _view(await _known(desk, tenant, customer))


@router.delete("/{customer:path}")
async def delete_customer(desk: TheDesk, actor: Actor, tenant: InPath, customer: CustomerId) -> CustomerView:
    """Forget a customer, with the caps of the three fields. Other rules that name it stay, and it may still be served: disable it to prevent that."""
    known = await _known(desk, tenant, customer)
    await _set_caps(desk, known, dict.fromkeys(_PERIODS), actor)
    await desk.directory.delete_customer(tenant, customer, actor=actor)
    return _view(known)


async def _known(desk: Desk, tenant: str, customer: str) -> Customer:
    found = await desk.directory.get_customer(tenant, customer)
    if found is None or not found.created_ns:
        raise nothing_like("customer", customer)
    return found


async def _set_caps(desk: Desk, known: Customer, wanted: dict[str, int | None], actor: str) -> None:
    """Make the caps of the three fields these; None: take it away."""
    if known.id == EACH:
        raise InvalidRequest("id: * stands for every customer", param="id")
    own = {field: cap for field in _PERIODS if (cap := _own_cap(known, field)) is not None}
    for field, amount in wanted.items():
        before = own.get(field)
        if amount is None and before is not None:
            await desk.directory.delete_rule(known.tenant, before.id, actor=actor)
        elif amount is not None and (before is None or before.amount != amount):
            made = before or Cap(id=f"{_mark(field)}{secrets.token_hex(8)}", scope=Scope(customer=known.id), period=_PERIODS[field], amount=amount)
            with refusing():
                await desk.directory.put_rule(known.tenant, replace(made, amount=amount), actor=actor)


def _mark(field: str) -> str:
    """What the ids of the caps that a field makes begin with. An id is never used twice: what it has counted is bound to it."""
    return f"customer-{_PERIODS[field]}-"


def _own_cap(customer: Customer, field: str) -> Cap | None:
    return next((cap for cap in customer.rules.caps if cap.id.startswith(_mark(field)) and cap.scope == Scope(customer=customer.id)), None)


def _view(customer: Customer) -> CustomerView:
    said = {field: format_usd(cap.amount) for field in _PERIODS if (cap := _own_cap(customer, field)) is not None}
    return CustomerView(
        id=customer.id,
        tenant=customer.tenant,
        name=customer.name,
        disabled=customer.disabled,
        daily_usd=said.get("daily_usd"),
        monthly_usd=said.get("monthly_usd"),
        per_request_usd=said.get("per_request_usd"),
        rules=[*(limit.id for limit in customer.rules.limits), *(cap.id for cap in customer.rules.caps)],
        created_at=said_moment(customer.created_ns),
    )
