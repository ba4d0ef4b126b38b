"""The register: tenants, keys, customers and rules, read and changed for people. Every change leaves an audit row in its transaction.

A change also moves on a revision in `meta`, by which every process learns that what it remembers may have changed.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.directory import Customer, KeyOptions, StoredKey, Tenant
from tokenrouter.model.period import is_zone
from tokenrouter.model.principal import PromptCacheOptions
from tokenrouter.model.rules import NO_RULES, Limit, is_plain, mistake
from tokenrouter.money import NanoUSD
from tokenrouter.storage.database import Database, Step, Taken, Unmet, Value
from tokenrouter.storage.directory_rows import (
    KeyRow,
    Rule,
    as_text,
    check_customer,
    check_key,
    check_tenant,
    customer_row,
    key_row,
    rule_columns,
    rule_of,
    rules_of,
    stored_key,
    tenant_row,
)
from tokenrouter.storage.keyring import KeyRing

KEYS_REVISION, CUSTOMERS_REVISION = "keys_revision", "customers_revision"
ADMIN_DIGEST = "admin_key_digest"

_PAGE = 500
_TRIES = 5
_FIRST = (-1, "")

T = TypeVar("T")


class KeyChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be different about a key; what is left out stays as it is."""

    name: str | UnsetType = UNSET
    quota: NanoUSD | UnsetType | None = UNSET
    rpm: int | UnsetType = UNSET
    options: KeyOptions | UnsetType = UNSET
    expires_ns: int | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET


def new_rule_id() -> str:
    """An id for a new rule. It is a part of the names of its counters, so it is never used again."""
    return secrets.token_hex(8)


class Register:
    """Reads and changes what is stored. Every method raises Unavailable where the database can not be asked, ValueError for what can not be."""

    def __init__(self, database: Database, ring: KeyRing, clock: Clock) -> None:
        self._database, self._ring, self._clock = database, ring, clock

    @property
    def database(self) -> Database:
        """Where all of it is kept."""
        return self._database

    async def tenant(self, name: str) -> Tenant | None:
        """One tenant."""
        found = await self._database.rows("find_tenant", {"name": name})
        return tenant_row(found[0])[0] if found else None

    async def tenants(self, after: str = "", most: int = _PAGE) -> list[Tenant]:
        """A page of tenants, by name, behind the one named `after`."""
        return [tenant_row(row)[0] for row in await self._database.rows("list_tenants", {"after": after, "most": most})]

    async def put_tenant(self, tenant: Tenant, *, actor: str = "") -> Tenant:
        """Make it, or make it this; `created_ns` is not taken from here."""
        return await self.change_tenant(tenant.name, lambda _: tenant, actor=actor)

    async def change_tenant(self, name: str, make: Callable[[Tenant | None], Tenant], *, actor: str = "") -> Tenant:
        """Make it what `make` says, which is given what it is (None: nothing yet), again where somebody else was faster, and may raise."""
        check_tenant(name)

        async def attempt() -> Tenant:
            found = await self._database.rows("find_tenant", {"name": name})
            before, version = tenant_row(found[0]) if found else (None, 0)
            tenant = make(before)
            if not is_zone(tenant.zone):
                raise ValueError(f"zone: {tenant.zone!r} is not a time zone like Europe/Berlin")
            now = replace(tenant, name=name, created_ns=before.created_ns if before else self._clock.time_ns())
            fields: dict[str, Value] = {**asdict(now), "version": version}
            fields |= {"customer_field": int(now.customer_field), "disabled": int(now.disabled), "prompt_cache": as_text(now.prompt_cache)}
            step = Step("update_tenant" if before else "insert_tenant", fields, wants=1)
            await self._write(step, actor, "put tenant", f"tenant:{name}", None if before is None else as_text(before), as_text(now))
            return now

        return await self._repeated(attempt)

    async def create(
        self,
        *,
        tenant: str,
        name: str = "",
        quota: NanoUSD | None = None,
        rpm: int = 0,
        options: KeyOptions | None = None,
        expires_ns: int | None = None,
        actor: str = "",
    ) -> tuple[str, StoredKey]:
        """Mint a key: returned once, in clear, beside what is kept of it. A tenant that is not known yet is made."""
        check_tenant(tenant)
        key_id, key, digest = self._ring.mint()
        now = self._clock.time_ns()
        row = KeyRow(
            *(key_id, digest, None, 0, tenant, name, quota, rpm, options or KeyOptions()),
            created_ns=now,
            expires_ns=expires_ns,
            disabled=False,
            revoked_ns=None,
            version=1,
            zone="UTC",
            customer_field=False,
            tenant_disabled=False,
            prompt_cache=PromptCacheOptions(),
        )
        check_key(row)
        steps = (
            Step("ensure_tenant", {"name": tenant, "now_ns": now}),
            Step("insert_key", row.columns, wants=1),
            self._audit(actor, "create key", f"key:{key_id}", None, row.shown),
            Step("bump_revision", {"name": KEYS_REVISION}),
        )
        await self._database.change(steps)
        await self._key_changed(key_id)
        stored = await self.get(key_id)
        if stored is None:
            raise Unavailable("the key that was made is not there")
        return key, stored

    async def get(self, key_id: str) -> StoredKey | None:
        """One key by its public id, with everything that binds it."""
        found = await self._database.rows("find_key", {"key_id": key_id}) if is_plain(key_id) else []
        if not found:
            return None
        row = key_row(found[0])
        rules = await self._database.rows("rules_for_key", {"tenant": row.tenant, "key_id": key_id})
        return stored_key(row, rules_of(rules))

    async def keys(self, tenant: str = "", after: StoredKey | None = None, most: int = _PAGE) -> list[StoredKey]:
        """A page of keys, revoked ones included, oldest first, of one tenant or of all; with their own quota and limit, without other rules."""
        after_ns, after_id = (after.created_ns, after.principal.key_id) if after else _FIRST
        params: dict[str, Value] = {"after_ns": after_ns, "after_id": after_id, "most": most}
        if tenant:
            rows = await self._database.rows("list_keys_of_tenant", {**params, "tenant": tenant})
        else:
            rows = await self._database.rows("list_keys", params)
        return [stored_key(key_row(row), NO_RULES) for row in rows]

    async def all(self, tenant: str = "") -> list[StoredKey]:
        """Every key; see `keys`."""
        found = page = await self.keys(tenant)
        while len(page) == _PAGE:
            page = await self.keys(tenant, page[-1])
            found = found + page
        return found

    async def update(self, key_id: str, change: KeyChange, *, actor: str = "") -> StoredKey | None:
        """Change a key. None: there is no such key that is not revoked."""
        fields = {name: value for name, value in asdict(change).items() if value is not UNSET}
        return await self._change_key(key_id, lambda row: replace(row, **fields), actor, "update key")

    async def rotate(self, key_id: str, *, overlap_s: int = 0, actor: str = "") -> tuple[str, StoredKey] | None:
        """Give a key a new secret: returned once, in clear. The one before it goes on being valid for `overlap_s` seconds, an older one does not.

        None: there is no such key that is not revoked.
        """
        if overlap_s < 0:
            raise ValueError("overlap: seconds, not less than 0")
        _, key, digest = self._ring.mint(key_id)
        until = self._clock.time_ns() + overlap_s * 1_000_000_000

        def rotated(row: KeyRow) -> KeyRow:
            return replace(row, digest=digest, old_digest=row.digest if overlap_s else None, old_until_ns=until if overlap_s else 0)

        stored = await self._change_key(key_id, rotated, actor, "rotate key")
        return None if stored is None else (key, stored)

    async def revoke(self, key_id: str, *, actor: str = "") -> bool:
        """Make a key invalid for good. False: there is no such key that is not revoked."""
        now = self._clock.time_ns()
        return await self._change_key(key_id, lambda row: replace(row, revoked_ns=now), actor, "revoke key") is not None

    async def _change_key(self, key_id: str, make: Callable[[KeyRow], KeyRow], actor: str, action: str) -> StoredKey | None:
        async def attempt() -> StoredKey | None:
            found = await self._database.rows("find_key", {"key_id": key_id}) if is_plain(key_id) else []
            row = key_row(found[0]) if found else None
            if row is None or row.revoked_ns is not None:
                return None
            new = make(row)
            check_key(new)
            await self._write(Step("update_key", new.columns, wants=1), actor, action, f"key:{key_id}", row.shown, new.shown)
            await self._key_changed(key_id)
            return await self.get(key_id)

        return await self._repeated(attempt)

    async def mint_admin(self) -> str | None:
        """Mint the admin key on first use; None where there is one already."""
        key, digest = self._ring.mint_admin()
        step = Step("write_meta_once", {"name": ADMIN_DIGEST, "value": digest.hex()}, wants=1)
        try:
            await self._write(step, "", "mint admin key", "admin key", None, None)
        except Unmet:
            return None
        await self._admin_changed()
        return key

    async def get_customer(self, tenant: str, customer: str) -> Customer | None:
        """What is known of a customer, with the rules of this one alone; None where there is nothing, and for names that none can have."""
        if not is_plain(customer):
            return None
        found = await self._database.rows("find_customer", {"tenant": tenant, "id": customer})
        rules = rules_of(await self._database.rows("rules_for_customer", {"tenant": tenant, "customer": customer}))
        if found:
            return customer_row(found[0], rules)[0]
        return Customer(tenant=tenant, id=customer, rules=rules) if rules != NO_RULES else None

    async def customers(self, tenant: str, after: str = "", most: int = _PAGE) -> list[Customer]:
        """A page of a tenant's registered customers, by id, without their rules."""
        rows = await self._database.rows("list_customers", {"tenant": tenant, "after": after, "most": most})
        return [customer_row(row)[0] for row in rows]

    async def put_customer(self, customer: Customer, *, actor: str = "") -> Customer:
        """Register it, or make it this; its rules and `created_ns` are not taken from here."""
        return await self.change_customer(customer.tenant, customer.id, lambda _: customer, actor=actor)

    async def change_customer(self, tenant: str, customer: str, make: Callable[[Customer | None], Customer], *, actor: str = "") -> Customer:
        """See `change_tenant`; None: it is not registered."""
        check_tenant(tenant)

        async def attempt() -> Customer:
            now_ns = self._clock.time_ns()
            found = await self._database.rows("find_customer", {"tenant": tenant, "id": customer})
            before, version = customer_row(found[0]) if found else (None, 0)
            now = replace(make(before), tenant=tenant, id=customer, rules=NO_RULES, created_ns=before.created_ns if before else now_ns)
            check_customer(now)
            fields: dict[str, Value] = {"tenant": now.tenant, "id": now.id, "name": now.name, "disabled": int(now.disabled)}
            fields |= {"created_ns": now.created_ns, "version": version}
            step = Step("update_customer" if before else "insert_customer", fields, wants=1)
            target = f"customer:{now.tenant}/{now.id}"
            first = () if before else (Step("ensure_tenant", {"name": now.tenant, "now_ns": now_ns}),)
            await self._write(
                step,
                actor,
                "put customer",
                target,
                None if before is None else as_text(before),
                as_text(now),
                first=first,
                revisions=(CUSTOMERS_REVISION,),
            )
            await self._customer_changed(now.tenant, now.id)
            return now

        return await self._repeated(attempt)

    async def delete_customer(self, tenant: str, customer: str, *, actor: str = "") -> bool:
        """Forget a registered customer; rules of it stay. False: there is none."""

        async def attempt() -> bool:
            found = await self._database.rows("find_customer", {"tenant": tenant, "id": customer}) if is_plain(customer) else []
            if not found:
                return False
            before, version = customer_row(found[0])
            step = Step("delete_customer", {"tenant": tenant, "id": customer, "version": version}, wants=1)
            target = f"customer:{tenant}/{customer}"
            await self._write(step, actor, "delete customer", target, as_text(before), None, revisions=(CUSTOMERS_REVISION,))
            await self._customer_changed(tenant, customer)
            return True

        return await self._repeated(attempt)

    async def rules(self, tenant: str, after: str = "", most: int = _PAGE) -> list[Rule]:
        """A page of a tenant's rules, by id. The quota and request limit of each key are a part of the key, not among these."""
        return [rule_of(row) for row in await self._database.rows("list_rules", {"tenant": tenant, "after": after, "most": most})]

    async def rule(self, tenant: str, rule_id: str) -> Rule | None:
        """One rule."""
        found = await self._database.rows("find_rule", {"tenant": tenant, "id": rule_id}) if is_plain(rule_id) else []
        return rule_of(found[0]) if found else None

    async def put_rule(self, tenant: str, rule: Rule, *, actor: str = "") -> Rule:
        """Add a rule, or make the one with this id this one: what it has counted so far stays. A new cap counts from this moment on.

        Raises ValueError if it makes no sense.
        """
        check_tenant(tenant)
        if wrong := mistake(rule):
            raise ValueError(wrong)

        async def attempt() -> Rule:
            now_ns = self._clock.time_ns()
            found = await self._database.rows("find_rule", {"tenant": tenant, "id": rule.id})
            before = rule_of(found[0]) if found else None
            if before is not None and type(before) is not type(rule):
                raise ValueError(f"{rule.id}: a limit stays a limit, and a cap a cap")
            new = rule
            if not isinstance(rule, Limit) and not rule.starts_ns:
                new = replace(rule, starts_ns=now_ns if before is None or isinstance(before, Limit) else before.starts_ns)
            extra: dict[str, Value] = {"version": found[0][4]} if found else {"created_ns": now_ns}  # type: ignore[dict-item]
            step = Step("update_rule" if found else "insert_rule", {**rule_columns(tenant, new), **extra}, wants=1)
            first = (Step("ensure_tenant", {"name": tenant, "now_ns": now_ns}),)
            await self._write_rule(tenant, step, actor, "put rule", before, new, first)
            return new

        return await self._repeated(attempt)

    async def delete_rule(self, tenant: str, rule_id: str, *, actor: str = "") -> bool:
        """Take a rule away. False: there is none."""

        async def attempt() -> bool:
            found = await self._database.rows("find_rule", {"tenant": tenant, "id": rule_id}) if is_plain(rule_id) else []
            if not found:
                return False
            step = Step("delete_rule", {"tenant": tenant, "id": rule_id, "version": found[0][4]}, wants=1)  # type: ignore[dict-item]
            await self._write_rule(tenant, step, actor, "delete rule", rule_of(found[0]), None, ())
            return True

        return await self._repeated(attempt)

    async def _write_rule(
        self, tenant: str, step: Step, actor: str, action: str, before: Rule | None, after: Rule | None, first: tuple[Step, ...]
    ) -> None:
        rule = after or before
        target = f"rule:{tenant}/{rule.id if rule else ''}"
        shown = (None if before is None else as_text(before), None if after is None else as_text(after))
        await self._write(step, actor, action, target, *shown, first=first, revisions=(KEYS_REVISION, CUSTOMERS_REVISION))
        for each in (before, after):
            if each is not None and each.scope.customer not in ("", "*"):
                await self._customer_changed(tenant, each.scope.customer)

    async def _write(
        self,
        step: Step,
        actor: str,
        action: str,
        target: str,
        before: str | None,
        after: str | None,
        *,
        first: tuple[Step, ...] = (),
        revisions: tuple[str, ...] = (KEYS_REVISION,),
    ) -> None:
        """One change, with its audit row and the revisions that tell of it."""
        bumps = (Step("bump_revision", {"name": name}) for name in revisions)
        await self._database.change((*first, step, self._audit(actor, action, target, before, after), *bumps))

    def _audit(self, actor: str, action: str, target: str, before: str | None, after: str | None) -> Step:
        fields: dict[str, Value] = {"actor": actor, "action": action, "target": target, "before": before, "after": after}
        return Step("insert_audit", {**fields, "time_ns": self._clock.time_ns()})

    async def _repeated(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Read and change again if somebody else changed the same thing in between."""
        for _ in range(_TRIES):
            try:
                return await attempt()
            except (Unmet, Taken):
                continue
        raise Unavailable("somebody else changes the same thing, or its id is taken; try again")

    async def _key_changed(self, key_id: str) -> None:
        """For who remembers keys."""

    async def _customer_changed(self, tenant: str, customer: str) -> None:
        """For who remembers customers."""

    async def _admin_changed(self) -> None:
        """For who remembers the admin key."""
