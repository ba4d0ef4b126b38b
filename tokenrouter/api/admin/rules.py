"""Rules of a tenant: limits (what may come in) and caps (what may be spent), for any mix of key, customer and model."""

from typing import Annotated, Literal, Self, TypeVar

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, model_validator

from tokenrouter.api.admin.desk import Actor, Desk, TheDesk, key_of, known_tenant, nothing_like
from tokenrouter.api.admin.pages import Cursor, Page, PageSize, page, place_of
from tokenrouter.api.admin.problems import refusing
from tokenrouter.api.admin.tenants import InPath
from tokenrouter.api.admin.values import STRICT, Plain, Usd, said_moment
from tokenrouter.errors import InvalidRequest, ModelNotFound
from tokenrouter.model.rules import EACH, MOST_CAP, MOST_LIMIT, Cap, CapAction, Limit, LimitKind, Metric, Scope, Window, mistake
from tokenrouter.money import UnknownPrice, format_usd
from tokenrouter.storage.directory_rows import Rule
from tokenrouter.storage.register import new_rule_id

router = APIRouter(prefix="/admin/tenants/{tenant}")
R = TypeVar("R", Limit, Cap)

RuleId = Annotated[str, Path(max_length=300, description="The rule's id.")]
_ANYONE = "left out: everybody together; `*`: each with a counter of its own"


class ScopeFields(BaseModel):
    """Whom a rule binds, inside its tenant. Empty: all of the tenant together."""

    model_config = STRICT

    key: Plain | None = Field(default=None, description=f"A key's public id ({_ANYONE}).")
    customer: Plain | None = Field(default=None, description=f"A customer's id ({_ANYONE}).")
    model: Plain | None = Field(default=None, description=f"A model, as `vendor/model` or the bare name ({_ANYONE}).")


class LimitFields(BaseModel):
    """How much may come in."""

    model_config = STRICT

    scope: ScopeFields = ScopeFields()
    metric: Metric
    amount: int = Field(
        ge=1,
        le=MOST_LIMIT,
        description="Requests or tokens: of a bucket its capacity, which is also the burst; of a sliding window the most in any stretch of that "
        "length; of concurrency how many at a time.",
    )
    window: Window = Field("minute", description="Means nothing for concurrency.")
    kind: LimitKind = "bucket"
    refill: int = Field(0, ge=0, le=MOST_LIMIT, description="Of a bucket: how much comes back, evenly, in one window; 0: `amount`.")


class CapFields(BaseModel):
    """How much may be spent: USD, or tokens (all input and output, cached ones included)."""

    model_config = STRICT

    scope: ScopeFields = ScopeFields()
    amount_usd: Usd | None = Field(None, description="Either this or `amount_tokens`.")
    amount_tokens: int | None = Field(None, ge=0, le=MOST_CAP)
    period: Literal["total", "day", "week", "month", "request"] = Field(
        "month", description="In the tenant's time zone. `total`: from its creation on, for ever; `request`: no single request may cost more."
    )
    action: CapAction = Field(
        "block", description="On reaching it: refuse, fit the request's output limit into what is left, use a cheaper model, warn."
    )
    downgrade_to: Plain | None = Field(None, description="The cheaper model, for the action `downgrade`.")
    alerts: list[int] = Field([80, 95], max_length=10, description="Shares in percent at which to tell somebody.")

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.amount_usd is None) == (self.amount_tokens is None):
            raise ValueError("amount_usd or amount_tokens: one of them")
        return self


class ScopeView(BaseModel):
    """Whom a rule binds; null: everybody together, `*`: each apart."""

    key: str | None
    customer: str | None
    model: str | None


class LimitView(BaseModel):
    """A limit."""

    id: str
    tenant: str
    scope: ScopeView
    metric: Metric
    amount: int
    window: Window | None
    kind: LimitKind | None
    refill: int | None = Field(description="How much comes back in one window.")


class CapView(BaseModel):
    """A cap."""

    id: str
    tenant: str
    scope: ScopeView
    amount_usd: str | None
    amount_tokens: int | None
    period: Literal["total", "day", "week", "month", "request"]
    action: CapAction
    downgrade_to: str | None
    alerts: list[int]
    counts_from: str = Field(description="Nothing before this moment counts.")


def scope_view(scope: Scope) -> ScopeView:
    """A scope as it is shown."""
    return ScopeView(key=scope.key or None, customer=scope.customer or None, model=scope.model or None)


def limit_view(tenant: str, limit: Limit) -> LimitView:
    """A limit as it is shown."""
    metered = limit.metric != "concurrency"
    return LimitView(
        id=limit.id,
        tenant=tenant,
        scope=scope_view(limit.scope),
        metric=limit.metric,
        amount=limit.amount,
        window=limit.window if metered else None,
        kind=limit.kind if metered else None,
        refill=limit.per_window if metered and limit.kind == "bucket" else None,
    )


def cap_view(tenant: str, cap: Cap) -> CapView:
    """A cap as it is shown."""
    return CapView(
        id=cap.id,
        tenant=tenant,
        scope=scope_view(cap.scope),
        amount_usd=format_usd(cap.amount) if cap.unit == "usd" else None,
        amount_tokens=cap.amount if cap.unit == "tokens" else None,
        period=cap.period,
        action=cap.action,
        downgrade_to=cap.downgrade_to or None,
        alerts=list(cap.alerts),
        counts_from=said_moment(cap.starts_ns),
    )


@router.post("/limits", status_code=201, tags=["limits"])
async def create_limit(desk: TheDesk, actor: Actor, tenant: InPath, new: LimitFields) -> LimitView:
    """Add a limit. It counts from this moment on."""
    await known_tenant(desk, tenant)
    return limit_view(tenant, await _put(desk, tenant, await _limit(desk, tenant, new_rule_id(), new), actor, Limit))


@router.get("/limits", tags=["limits"])
async def list_limits(desk: TheDesk, tenant: InPath, size: PageSize = 100, cursor: Cursor = "") -> Page[LimitView]:
    """A tenant's limits, by id. `requests_per_minute` of each key is a part of the key, not among these."""
    found = await _found(desk, tenant, Limit, size, cursor)
    return page([limit_view(tenant, each) for each in found], [(each.id,) for each in found], size)


@router.get("/limits/{rule_id}", tags=["limits"])
async def show_limit(desk: TheDesk, tenant: InPath, rule_id: RuleId) -> LimitView:
    """One limit."""
    return limit_view(tenant, await _known(desk, tenant, rule_id, Limit))


@router.put("/limits/{rule_id}", tags=["limits"])
async def replace_limit(desk: TheDesk, actor: Actor, tenant: InPath, rule_id: RuleId, fields: LimitFields) -> LimitView:
    """Make a limit this one. What it has counted stays, if its kind and window stay."""
    await _known(desk, tenant, rule_id, Limit)
    return limit_view(tenant, await _put(desk, tenant, await _limit(desk, tenant, rule_id, fields), actor, Limit))


@router.delete("/limits/{rule_id}", tags=["limits"])
async def delete_limit(desk: TheDesk, actor: Actor, tenant: InPath, rule_id: RuleId) -> LimitView:
    """Take a limit away."""
    known = await _known(desk, tenant, rule_id, Limit)
    await desk.directory.delete_rule(tenant, rule_id, actor=actor)
    return limit_view(tenant, known)


@router.post("/caps", status_code=201, tags=["caps"])
async def create_cap(desk: TheDesk, actor: Actor, tenant: InPath, new: CapFields) -> CapView:
    """Add a cap. Nothing that was spent before counts."""
    await known_tenant(desk, tenant)
    return cap_view(tenant, await _put(desk, tenant, await _cap(desk, tenant, new_rule_id(), new), actor, Cap))


@router.get("/caps", tags=["caps"])
async def list_caps(desk: TheDesk, tenant: InPath, size: PageSize = 100, cursor: Cursor = "") -> Page[CapView]:
    """A tenant's caps, by id. The quota of each key is a part of the key, not among these."""
    found = await _found(desk, tenant, Cap, size, cursor)
    return page([cap_view(tenant, each) for each in found], [(each.id,) for each in found], size)


@router.get("/caps/{rule_id}", tags=["caps"])
async def show_cap(desk: TheDesk, tenant: InPath, rule_id: RuleId) -> CapView:
    """One cap. What it has counted so far: POST /admin/check."""
    return cap_view(tenant, await _known(desk, tenant, rule_id, Cap))


@router.put("/caps/{rule_id}", tags=["caps"])
async def replace_cap(desk: TheDesk, actor: Actor, tenant: InPath, rule_id: RuleId, fields: CapFields) -> CapView:
    """Make a cap this one. What it has counted stays, so its unit and its scope stay too: for others, make another cap."""
    known = await _known(desk, tenant, rule_id, Cap)
    wanted = await _cap(desk, tenant, rule_id, fields)
    if wanted.unit != known.unit:
        raise InvalidRequest(f"amount_{wanted.unit}: this cap counts {known.unit}; make another one and delete this", param=f"amount_{wanted.unit}")
    if wanted.scope != known.scope:
        raise InvalidRequest("scope: what a cap has counted is of its scope; make another one and delete this", param="scope")
    return cap_view(tenant, await _put(desk, tenant, wanted, actor, Cap))


@router.delete("/caps/{rule_id}", tags=["caps"])
async def delete_cap(desk: TheDesk, actor: Actor, tenant: InPath, rule_id: RuleId) -> CapView:
    """Take a cap away."""
    known = await _known(desk, tenant, rule_id, Cap)
    await desk.directory.delete_rule(tenant, rule_id, actor=actor)
    return cap_view(tenant, known)


async def _limit(desk: Desk, tenant: str, rule_id: str, said: LimitFields) -> Limit:
    made = Limit(
        id=rule_id,
        scope=await scope_of(desk, tenant, said.scope),
        metric=said.metric,
        amount=said.amount,
        window=said.window,
        kind=said.kind,
        refill=said.refill,
    )
    with refusing():
        return _checked(made)


async def _cap(desk: Desk, tenant: str, rule_id: str, said: CapFields) -> Cap:
    made = Cap(
        id=rule_id,
        scope=await scope_of(desk, tenant, said.scope),
        unit="tokens" if said.amount_usd is None else "usd",
        amount=(said.amount_tokens or 0) if said.amount_usd is None else said.amount_usd,
        period=said.period,
        action=said.action,
        downgrade_to=model_name(desk, said.downgrade_to, "downgrade_to") if said.downgrade_to else "",
        alerts=tuple(sorted(set(said.alerts))),
    )
    with refusing():
        return _checked(made)


def _checked(rule: R) -> R:
    if wrong := mistake(rule):
        raise ValueError(wrong)
    return rule


async def scope_of(desk: Desk, tenant: str, said: ScopeFields) -> Scope:
    """A scope that can bind somebody: its key is the tenant's, its model can be called. Raises InvalidRequest."""
    if said.key not in (None, EACH):
        await key_of(desk, tenant, str(said.key), "scope.key")
    model = said.model or ""
    if model not in ("", EACH):
        model = model_name(desk, model, "scope.model")
    return Scope(key=said.key or "", customer=said.customer or "", model=model)


def model_name(desk: Desk, asked: str, param: str) -> str:
    """A model as rules name it, `vendor/model`. Raises InvalidRequest for one that could not be called: unknown, not set up, or without a price."""
    try:
        model = desk.catalog.resolve(asked).model
    except ModelNotFound as error:
        raise InvalidRequest(f"{param}: {error.message}", param=param) from error
    if desk.prices.schedule(model.vendor, model.name, vectors=True) is None:
        raise InvalidRequest(f"{param}: {UnknownPrice.of(model.vendor, model.name).message}", param=param)
    return f"{model.vendor}/{model.name}"


async def _put(desk: Desk, tenant: str, rule: R, actor: str, kind: type[R]) -> R:
    with refusing():
        made = await desk.directory.put_rule(tenant, rule, actor=actor)
    assert isinstance(made, kind)  # noqa: S101  # a limit stays a limit, and a cap a cap
    return made


async def _known(desk: Desk, tenant: str, rule_id: str, kind: type[R]) -> R:
    found = await desk.directory.rule(tenant, rule_id)
    if not isinstance(found, kind):
        raise nothing_like(kind.__name__.lower(), rule_id)
    return found


async def _found(desk: Desk, tenant: str, kind: type[R], size: int, cursor: str) -> list[R]:
    """One more than `size` rules of a kind, behind the cursor."""
    await known_tenant(desk, tenant)
    place = place_of(cursor, str)
    found: list[R] = []
    after, read = str(place[0]) if place else "", size + 1
    while len(found) <= size and read == size + 1:
        rules: list[Rule] = await desk.directory.rules(tenant, after, size + 1)
        read = len(rules)
        found += [rule for rule in rules if isinstance(rule, kind)]
        after = rules[-1].id if rules else after
    return found[: size + 1]
