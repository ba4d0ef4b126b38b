"""API keys: made, shown once, changed, rotated, revoked."""

from contextlib import suppress
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import Actor, Desk, TheDesk, known_key
from tokenrouter.api.admin.pages import Cursor, Page, PageSize, page_behind, place_of
from tokenrouter.api.admin.problems import refusing
from tokenrouter.api.admin.tenants import TenantName
from tokenrouter.api.admin.values import STRICT, Moment, Name, Plain, Usd, said_moment
from tokenrouter.errors import Conflict, InvalidRequest, Unavailable
from tokenrouter.model.admission import Bound, CountedCap
from tokenrouter.model.directory import KeyOptions, StoredKey
from tokenrouter.model.edits import SWITCHABLE
from tokenrouter.model.rules import Cap
from tokenrouter.money import format_usd
from tokenrouter.storage.register import KeyChange
from tokenrouter.storage.usage import Filter, usage

router = APIRouter(prefix="/admin/api-keys", tags=["keys"])

_MOST_OVERLAP_S = 30 * 86_400
Mode = Literal["auto", "all", "off"]
InPath = Annotated[str, Path(max_length=20_000, description="The key's public id: what stands between `sk-tr-` and the next dash.")]
_QUOTA = 'What the key may spend in all, e.g. "12.50"; null: it has no quota of its own, and its tenant\'s caps bind it all the same.'
_MODELS = "Models that it may use, as `vendor/model` or the bare name; empty: all."
_EXPIRES = "Not valid from then on; null: it never expires."


class NewKey(BaseModel):
    """What a new key is to be. Money as a decimal string, so that no binary fraction slips in; a plain number is read as written."""

    model_config = STRICT

    name: Name = Field("", max_length=200)
    tenant: TenantName = "default"
    quota_usd: Usd | None = Field(None, description=_QUOTA)
    requests_per_minute: int = Field(0, ge=0, le=1_000_000, description="0: no limit of its own.")
    models: list[Plain] = Field(default_factory=list, max_length=500, description=_MODELS)
    dedup_mode: Mode | None = None
    cache_mode: Mode | None = None
    edits_off: list[str] = Field(default_factory=list, max_length=100)
    expires_at: Moment | None = Field(None, description=_EXPIRES)


class ChangedKey(BaseModel):
    """What is to be different; what is left out stays as it is."""

    model_config = STRICT

    name: Name = Field("", max_length=200)
    quota_usd: Usd | None = Field(None, description=_QUOTA)
    requests_per_minute: int = Field(0, ge=0, le=1_000_000)
    models: list[Plain] = Field(default_factory=list, max_length=500, description=_MODELS)
    dedup_mode: Mode | None = None
    cache_mode: Mode | None = None
    edits_off: list[str] = Field(default_factory=list, max_length=100)
    expires_at: Moment | None = Field(None, description=_EXPIRES)
    disabled: bool = Field(False, description="Not valid for the time being.")


class Rotation(BaseModel):
    """How a key gets a new secret."""

    model_config = STRICT

    overlap_seconds: int = Field(0, ge=0, le=_MOST_OVERLAP_S, description="How long the secret before it goes on being valid.")


class KeyView(BaseModel):
    """A key as it can be shown."""

    id: str
    key: str | None = Field(None, description="The key in clear: in the answer to the call that made or rotated it, and never again.")
    name: str
    tenant: str
    state: Literal["valid", "disabled", "expired", "revoked"] = Field(description="`disabled`: it is, or its tenant is.")
    unlimited: bool = Field(description="No cap that refuses anything binds it: no quota of its own, and none of its tenant's.")
    quota_usd: str | None = Field(description=_QUOTA)
    spent_usd: str | None = Field(
        description="What counts against its quota, presumed spending included; null where it has none (see /admin/usage), or nobody can say."
    )
    held_usd: str | None = Field(description="What calls under way hold of its quota; null where it has none.")
    sandbox_spent_usd: str | None = Field(description="The same of money that was only simulated.")
    requests_per_minute: int
    models: list[str]
    dedup_mode: Mode | None
    cache_mode: Mode | None
    edits_off: list[str]
    created_at: str
    created_ns: int
    expires_at: str | None
    revoked_at: str | None
    revoked: bool
    old_secret_until: str | None = Field(description="The secret before the last rotation is good until then.")


@router.post("", status_code=201)
async def create_key(desk: TheDesk, actor: Actor, new: NewKey) -> KeyView:
    """Mint a key. It is shown in this answer and never again, also not to a repeated call with the same Idempotency-Key."""
    _check_edits(new.edits_off)
    with refusing():
        key, stored = await desk.directory.create(
            tenant=new.tenant,
            name=new.name,
            quota=new.quota_usd,
            rpm=new.requests_per_minute,
            options=KeyOptions(tuple(new.models), new.dedup_mode, new.cache_mode, tuple(new.edits_off)),
            expires_ns=new.expires_at,
            actor=actor,
        )
    return await _shown(desk, stored, key=key)


@router.get("")
async def list_keys(
    desk: TheDesk,
    tenant: Annotated[str, Query(max_length=100, description="Of this tenant only.")] = "",
    spent: Annotated[bool, Query(description="false: leave out what was spent, which saves looking through the ledger.")] = True,
    size: PageSize = 100,
    cursor: Cursor = "",
) -> Page[KeyView]:
    """Keys, revoked ones included, oldest first."""
    place, after = place_of(cursor, str), None
    if place is not None:
        after = await desk.directory.get(str(place[0]))
        if after is None:
            raise InvalidRequest("cursor: take `next_cursor` of the page before as it is", param="cursor")
    found = await desk.directory.keys(tenant, after, size + 1)
    shown = found[:size]
    capped = {name: await _caps_of(desk, name) for name in sorted({each.principal.tenant for each in shown})}
    spending = await _spending(desk, shown) if spent else {}
    views = [_view(desk, each, spending.get(each.principal.key_id), capped[each.principal.tenant]) for each in shown]
    return page_behind(views, (shown[-1].principal.key_id,) if len(found) > size else None)


@router.get("/{key_id}")
async def show_key(desk: TheDesk, key_id: InPath) -> KeyView:
    """One key."""
    return await _shown(desk, await known_key(desk, key_id))


@router.patch("/{key_id}")
async def change_key(desk: TheDesk, actor: Actor, key_id: InPath, change: ChangedKey) -> KeyView:
    """Change a key. A changed quota counts what was spent before it was changed."""
    wanted = change.model_fields_set
    _check_edits(change.edits_off)
    fields: dict[str, object] = {name: getattr(change, name) for name in ("name", "disabled") if name in wanted}
    for name, column in (("quota_usd", "quota"), ("requests_per_minute", "rpm"), ("expires_at", "expires_ns")):
        if name in wanted:
            fields[column] = getattr(change, name)
    options = {name: getattr(change, name) for name in ("models", "dedup_mode", "cache_mode", "edits_off") if name in wanted}
    if options:
        known = (await known_key(desk, key_id)).principal
        before = KeyOptions(known.models, known.dedup_mode, known.cache_mode, known.edits_off)
        fields["options"] = msgspec.structs.replace(
            before, **{name: tuple(said) if isinstance(said, list) else said for name, said in options.items()}
        )
    with refusing():
        stored = await desk.directory.update(key_id, KeyChange(**fields), actor=actor)  # type: ignore[arg-type]  # checked one by one above
    return await _shown(desk, stored or await _revoked(desk, key_id))


@router.post("/{key_id}/rotate")
async def rotate_key(desk: TheDesk, actor: Actor, key_id: InPath, rotation: Rotation | None = None) -> KeyView:
    """Give a key a new secret, shown in this answer and never again. The one before it goes on for `overlap_seconds`, an older one does not."""
    with refusing():
        rotated = await desk.directory.rotate(key_id, overlap_s=rotation.overlap_seconds if rotation else 0, actor=actor)
    if rotated is None:
        return await _shown(desk, await _revoked(desk, key_id))
    return await _shown(desk, rotated[1], key=rotated[0])


@router.delete("/{key_id}")
async def revoke_key(desk: TheDesk, actor: Actor, key_id: InPath) -> KeyView:
    """Revoke a key for good; calls under way with it are finished. Its spending stays on the books."""
    await desk.directory.revoke(key_id, actor=actor)
    return await _shown(desk, await known_key(desk, key_id))


def _check_edits(edits: list[str]) -> None:
    if unknown := set(edits) - SWITCHABLE:
        raise InvalidRequest(f"edits_off: unknown edit {min(unknown)[:80]!r}; one of {', '.join(sorted(SWITCHABLE))}", param="edits_off")


async def _revoked(desk: Desk, key_id: str) -> StoredKey:
    """Why a key could not be changed. Raises NotFound, Conflict."""
    stored = await known_key(desk, key_id)
    if stored.revoked_ns is not None:
        raise Conflict(f"the key {key_id!r} was revoked, which is for good; make another")
    return stored


async def _caps_of(desk: Desk, tenant: str) -> list[Cap]:
    """All caps of a tenant that are not of one customer only."""
    found: list[Cap] = []
    after, more = "", True
    while more:
        rules = await desk.directory.rules(tenant, after)
        found += [rule for rule in rules if isinstance(rule, Cap) and rule.scope.customer in ("", "*")]
        more, after = len(rules) > 0, rules[-1].id if rules else ""
    return found


class _Spending(msgspec.Struct, frozen=True):
    """What was spent, in nano-USD. `held`: None where nothing is set aside by name."""

    real: int
    simulated: int
    held: int | None = None


async def _spending(desk: Desk, keys: list[StoredKey]) -> dict[str, _Spending]:
    """What keys have spent: of a quota's counter, or where there is none of the ledger. One that nobody can tell of is not in it."""
    found: dict[str, _Spending] = {}
    tenants: set[str] = set()
    for stored in keys:
        quota = quota_of(stored)
        if quota is None:
            tenants.add(stored.principal.tenant)
            continue
        counted = CountedCap(quota, f"c:{quota.id}")
        bound = Bound(tenant=stored.principal.tenant, caps=(counted,), zone=stored.principal.rules.zone)
        with suppress(Unavailable):  # keys can be managed while their counters are away
            real, simulated = [(await desk.books.look(bound, sandbox=sandbox)).caps[0].state for sandbox in (False, True)]
            found[stored.principal.key_id] = _Spending(real.spent + real.presumed, simulated.spent + simulated.presumed, real.held)
    only = keys[0].principal.key_id if len(keys) == 1 else ""
    for tenant in sorted(tenants):
        await desk.written()
        sums = [
            {line.key: line.cost for line in await usage(desk.ledger, Filter(tenant=tenant, key=only, sandbox=sandbox), by=("key",))}
            for sandbox in (False, True)
        ]
        without = [stored.principal.key_id for stored in keys if stored.principal.tenant == tenant and quota_of(stored) is None]
        found |= {key_id: _Spending(sums[0].get(key_id, 0), sums[1].get(key_id, 0)) for key_id in without}
    return found


def quota_of(stored: StoredKey) -> Cap | None:
    """A key's own quota."""
    return next((cap for cap in stored.principal.rules.caps if cap.id == f"{stored.principal.key_id}.quota"), None)


async def _shown(desk: Desk, stored: StoredKey, *, key: str | None = None) -> KeyView:
    return _view(desk, stored, (await _spending(desk, [stored])).get(stored.principal.key_id), key=key)


def _view(desk: Desk, stored: StoredKey, spent: _Spending | None, caps: list[Cap] | None = None, *, key: str | None = None) -> KeyView:
    """`caps`: of its tenant, where `stored` comes from a list, which has its own rules only."""
    principal, quota = stored.principal, quota_of(stored)
    binding = [cap for cap in (*principal.rules.caps, *(caps or ())) if cap.action != "warn" and cap.scope.key in ("", "*", principal.key_id)]
    return KeyView(
        id=principal.key_id,
        key=key,
        name=principal.name,
        tenant=principal.tenant,
        state=_state(stored, desk.clock.time_ns()),
        unlimited=not binding,
        quota_usd=None if quota is None else format_usd(quota.amount),
        spent_usd=None if spent is None else format_usd(spent.real),
        held_usd=None if spent is None or spent.held is None else format_usd(spent.held),
        sandbox_spent_usd=None if spent is None else format_usd(spent.simulated),
        requests_per_minute=principal.rpm,
        models=list(principal.models),
        dedup_mode=principal.dedup_mode,
        cache_mode=principal.cache_mode,
        edits_off=list(principal.edits_off),
        created_at=said_moment(stored.created_ns),
        created_ns=stored.created_ns,
        expires_at=None if stored.expires_ns is None else said_moment(stored.expires_ns),
        revoked_at=None if stored.revoked_ns is None else said_moment(stored.revoked_ns),
        revoked=stored.revoked_ns is not None,
        old_secret_until=said_moment(stored.old_until_ns) if stored.old_until_ns > desk.clock.time_ns() else None,
    )


def _state(stored: StoredKey, now_ns: int) -> Literal["valid", "disabled", "expired", "revoked"]:
    if stored.revoked_ns is not None:
        return "revoked"
    if stored.disabled:
        return "disabled"
    return "valid" if stored.valid(now_ns) else "expired"
