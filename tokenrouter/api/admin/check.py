"""Would a request pass, and what binds it: every limit and cap with its counter at this moment. Nothing is taken or held."""

from fractions import Fraction
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from msgspec.structs import replace
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import Desk, TheDesk, key_of, known_key, known_tenant
from tokenrouter.api.admin.keys import InPath
from tokenrouter.api.admin.rules import ScopeView, scope_view
from tokenrouter.api.admin.values import STRICT, Plain, Usd, said_moment
from tokenrouter.errors import Forbidden, GatewayError, InvalidRequest, ModelNotFound, Unauthenticated
from tokenrouter.model.admission import Bound, CapLook, LimitLook, Look, Refusal, Worst
from tokenrouter.model.directory import Customer, StoredKey
from tokenrouter.model.principal import Principal
from tokenrouter.model.rules import Cap, Limit, Rules, Scope
from tokenrouter.money import UnknownPrice, format_usd
from tokenrouter.quota.refusals import refused

router = APIRouter(prefix="/admin", tags=["check"])

_LEAST = 1
_MS = 1_000_000
_SHARE = "What is left of the whole, in percent, rounded down."


class Check(BaseModel):
    """A request that nobody sends."""

    model_config = STRICT

    key_id: Plain | None = Field(default=None, description="Whose request; either this or `tenant`.")
    tenant: Plain | None = Field(default=None, description="A request of no key in particular: rules for single keys are left out.")
    customer: Plain | None = None
    model: Plain | None = Field(default=None, description="As a client writes it. Left out: rules for single models are left out.")
    usd: Usd | None = Field(default=None, description="What it could come to at most; left out: as little as can be.")
    tokens: int | None = Field(default=None, ge=0, le=1 << 50, description="How many tokens it could come to at most, input and output.")
    sandbox: bool | None = Field(default=None, description="Look at simulated money; left out: where the model is served from, else real money.")


class LimitStanding(BaseModel):
    """A limit that binds, and what is left of it."""

    id: str
    scope: ScopeView
    metric: Literal["requests", "tokens", "concurrency"]
    kind: Literal["bucket", "sliding"] | None
    window: Literal["minute", "hour", "day"] | None
    counter: str = Field(description="What is counted together: rules for each key, customer or model have a counter for each.")
    amount: int
    left: int = Field(description="Below 0 where more was used than there was.")
    percent_left: int = Field(description=_SHARE)
    whole_at: str | None = Field(description="When all of it is there again if nobody uses any; null: nobody can say.")


class CapStanding(BaseModel):
    """A cap that binds, and what is left of it: decimal USD, or tokens, as `unit` says."""

    id: str
    scope: ScopeView
    unit: Literal["usd", "tokens"]
    period: Literal["total", "day", "week", "month", "request"]
    action: Literal["block", "fit", "downgrade", "warn"]
    downgrade_to: str | None
    counter: str | None
    amount: str | int
    spent: str | int
    held: str | int = Field(description="By calls under way.")
    presumed: str | int = Field(description="By calls of which nobody knows what became: counted as spent.")
    left: str | int
    percent_left: int = Field(description=_SHARE)
    resets_at: str | None = Field(description="When its period ends; null: never.")


class Verdict(BaseModel):
    """Why it would be refused, in the words that the caller would read."""

    rule: str | None = Field(description="The limit or cap that refuses it; null where another thing stands against it.")
    status: int
    code: str
    message: str


class Checked(BaseModel):
    """What became of it."""

    passes: bool
    refusal: Verdict | None
    warnings: list[str] = Field(description="Caps that are reached and only warn.")
    tenant: str
    key_id: str | None
    customer: str | None
    model: str | None
    sandbox: bool = Field(description="Whether the caps show simulated money.")
    unlimited: bool = Field(description="No cap that refuses anything binds: what the tenant's caps say counts, too.")
    tightest: str | None = Field(description="The limit or cap of which the smallest share is left: it binds first.")
    at: str
    limits: list[LimitStanding]
    caps: list[CapStanding]


@router.post("/check")
async def check(desk: TheDesk, asked: Check) -> Checked:
    """Would it pass? A dry run: nothing is taken, held or written. Not looked at: how many requests the whole process may have under way."""
    if (asked.key_id is None) == (asked.tenant is None):
        if asked.key_id is None or asked.tenant is None:
            raise InvalidRequest("key_id or tenant: say who asks", param="key_id")
        await key_of(desk, asked.tenant, asked.key_id, "key_id")
    stored = None if asked.key_id is None else await known_key(desk, asked.key_id)
    principal = stored.principal if stored is not None else await _anybody(desk, str(asked.tenant))
    return await _checked(desk, asked, principal, stored)


@router.get("/api-keys/{key_id}/limits", tags=["keys"])
async def limits_of_key(
    desk: TheDesk,
    key_id: InPath,
    customer: Annotated[str | None, Query(max_length=256, description="On whose behalf.")] = None,
    model: Annotated[str | None, Query(max_length=256, description="For which model.")] = None,
) -> Checked:
    """Everything that binds a key, with its counters at this moment; see POST /admin/check."""
    stored = await known_key(desk, key_id)
    asked = Check(key_id=key_id, customer=customer or None, model=model or None)
    return await _checked(desk, asked, stored.principal, stored)


async def _anybody(desk: Desk, name: str) -> Principal:
    """A tenant without a key."""
    tenant = await known_tenant(desk, name)
    limits: list[Limit] = []
    caps: list[Cap] = []
    after, more = "", True
    while more:
        rules = await desk.directory.rules(name, after)
        limits += [rule for rule in rules if isinstance(rule, Limit)]
        caps += [rule for rule in rules if isinstance(rule, Cap)]
        after, more = (rules[-1].id, True) if rules else ("", False)
    # Rules of single customers come with the customer.
    rules_of_all = Rules(
        limits=tuple(each for each in limits if each.scope.customer in ("", "*")),
        caps=tuple(each for each in caps if each.scope.customer in ("", "*")),
        zone=tenant.zone,
    )
    return Principal(key_id="", tenant=name, rules=rules_of_all)


async def _checked(desk: Desk, asked: Check, principal: Principal, stored: StoredKey | None) -> Checked:
    registered = await desk.directory.get_customer(principal.tenant, asked.customer) if asked.customer else None
    model, simulated, stops = _model(desk, asked, principal)
    sandbox = simulated if asked.sandbox is None else asked.sandbox
    bound = desk.binder.bind(principal, asked.customer or "", model, registered)
    if not principal.key_id:
        bound = replace(bound, requests=tuple(each for each in bound.requests if each.limit.id != ".default"))
    look = await desk.books.look(bound, sandbox=sandbox)
    worst = Worst(usd=_LEAST if asked.usd is None else asked.usd, tokens=_LEAST if asked.tokens is None else asked.tokens, sandbox=sandbox)
    caller = Scope(key=principal.key_id, customer=asked.customer or "", model=model)
    stops = _stopped(desk, stored, registered, stops) or _refusal(look, bound, worst, caller)
    return Checked(
        passes=stops is None,
        refusal=stops,
        warnings=[each.cap.id for each in look.caps if each.cap.action == "warn" and _over(each, worst)],
        tenant=principal.tenant,
        key_id=principal.key_id or None,
        customer=asked.customer,
        model=model or asked.model,
        sandbox=sandbox,
        unlimited=all(each.cap.action == "warn" for each in look.caps),
        tightest=_tightest(look),
        at=said_moment(look.now_ms * _MS),
        limits=[_limit(each, look.now_ms) for each in look.limits],
        caps=[_cap(each) for each in look.caps],
    )


def _model(desk: Desk, asked: Check, principal: Principal) -> tuple[str, bool, Verdict | None]:
    """The model that it would be served by (`vendor/model`), whether that is a simulated one, and what stands against it."""
    if asked.model is None:
        return "", False, None
    try:
        target = desk.catalog.resolve(asked.model)
    except ModelNotFound as error:
        return "", False, _verdict(error)
    model, sandbox = target.model, target.deployments[0].sandbox
    name = f"{model.vendor}/{model.name}"
    if principal.models and not {model.name, name, asked.model} & set(principal.models):
        return name, sandbox, _verdict(Forbidden(f"this key may not use {asked.model[:80]!r}"))
    if desk.prices.schedule(model.vendor, model.name, vectors=True) is None:
        return name, sandbox, _verdict(UnknownPrice.of(model.vendor, model.name))
    return name, sandbox, None


def _stopped(desk: Desk, stored: StoredKey | None, registered: Customer | None, otherwise: Verdict | None) -> Verdict | None:
    """What refuses it before anything is counted."""
    if stored is not None and not stored.valid(desk.clock.time_ns()):
        return _verdict(Unauthenticated("the key is revoked, expired or disabled, or its tenant is disabled"))
    if registered is not None and registered.disabled:
        return _verdict(Forbidden(f"the customer {registered.id!r} is disabled"))
    return otherwise


def _refusal(look: Look, bound: Bound, worst: Worst, caller: Scope) -> Verdict | None:
    """What refuses it first, in the order of admission."""
    for limit in look.limits:
        wanted = worst.tokens if limit.limit.metric == "tokens" else 1
        if limit.left < wanted:
            return _verdict(refused(Refusal(limit=limit.limit, left=limit.left), bound, worst, look.now_ms, caller=caller), limit)
    for cap in look.caps:
        if cap.cap.action != "warn" and _over(cap, worst):
            refusal = Refusal(cap=cap.cap, left=max(0, cap.left), held=cap.state.held, resets_ms=cap.ends_ms)
            return _verdict(refused(refusal, bound, worst, look.now_ms, caller=caller), cap)
    return None


def _over(look: CapLook, worst: Worst) -> bool:
    return look.left < (worst.usd if look.cap.unit == "usd" else worst.tokens)


def _verdict(error: GatewayError, rule: LimitLook | CapLook | None = None) -> Verdict:
    name = None if rule is None else rule.limit.id if isinstance(rule, LimitLook) else rule.cap.id
    return Verdict(rule=name, status=error.status, code=error.code, message=error.message)


def _tightest(look: Look) -> str | None:
    """Of which the smallest share is left, caps that only warn and caps of single requests left out; the first of several."""
    shares = [(_share(each.left, each.most), each.limit.id) for each in look.limits]
    counted = [each for each in look.caps if each.cap.action != "warn" and each.cap.period != "request"]
    shares += [(_share(each.left, each.cap.amount), each.cap.id) for each in counted]
    return min(shares, key=lambda share: share[0])[1] if shares else None


def _limit(look: LimitLook, now_ms: int) -> LimitStanding:
    limit, metered = look.limit, look.limit.metric != "concurrency"
    return LimitStanding(
        id=limit.id,
        scope=scope_view(limit.scope),
        metric=limit.metric,
        kind=limit.kind if metered else None,
        window=limit.window if metered else None,
        counter=look.counter,
        amount=look.most,
        left=look.left,
        percent_left=_percent(look.left, look.most),
        whole_at=said_moment((now_ms + look.whole_ms) * _MS) if look.whole_ms >= 0 else None,
    )


def _cap(look: CapLook) -> CapStanding:
    cap = look.cap

    def said(amount: int) -> str | int:
        return format_usd(amount) if cap.unit == "usd" else amount

    return CapStanding(
        id=cap.id,
        scope=scope_view(cap.scope),
        unit=cap.unit,
        period=cap.period,
        action=cap.action,
        downgrade_to=cap.downgrade_to or None,
        counter=look.counter or None,
        amount=said(cap.amount),
        spent=said(look.state.spent),
        held=said(look.state.held),
        presumed=said(look.state.presumed),
        left=said(look.left),
        percent_left=_percent(look.left, cap.amount),
        resets_at=said_moment(look.ends_ms * _MS) if look.ends_ms else None,
    )


def _share(left: int, most: int) -> Fraction:
    return Fraction(max(0, left), most) if most else Fraction(0)


def _percent(left: int, most: int) -> int:
    return int(_share(left, most) * 100)
