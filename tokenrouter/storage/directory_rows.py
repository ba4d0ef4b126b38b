"""Rows of the directory as values, and what the audit shows of them: everything but secrets."""

import re
from typing import cast

import msgspec

from tokenrouter.model.directory import Customer, KeyOptions, StoredKey, Tenant
from tokenrouter.model.principal import Principal, PromptCacheOptions
from tokenrouter.model.rules import MOST_CAP, NO_RULES, Cap, Limit, Rules, Scope, is_plain
from tokenrouter.storage.database import Row, Value

Rule = Limit | Cap

_TENANT = re.compile(r"[A-Za-z0-9._-]{1,100}")
_MOST_RPM = 1_000_000

_options = msgspec.json.Decoder(KeyOptions)
_limit = msgspec.json.Decoder(Limit)
_prompt_cache = msgspec.json.Decoder(PromptCacheOptions)
_cap = msgspec.json.Decoder(Cap)


class KeyRow(msgspec.Struct, frozen=True):
    """A row of `api_keys` with its tenant's. `version` counts its changes."""

    key_id: str
    digest: bytes
    old_digest: bytes | None
    old_until_ns: int
    tenant: str
    name: str
    quota: int | None
    rpm: int
    options: KeyOptions
    created_ns: int
    expires_ns: int | None
    disabled: bool
    revoked_ns: int | None
    version: int
    zone: str
    customer_field: bool
    tenant_disabled: bool
    prompt_cache: PromptCacheOptions

    def __repr__(self) -> str:
        return f"KeyRow({self.key_id!r}, version={self.version})"

    @property
    def columns(self) -> dict[str, Value]:
        """For statements that write it."""
        return {
            "key_id": self.key_id,
            "digest": self.digest,
            "old_digest": self.old_digest,
            "old_until_ns": self.old_until_ns,
            "tenant": self.tenant,
            "name": self.name,
            "quota": self.quota,
            "rpm": self.rpm,
            "options": as_text(self.options),
            "created_ns": self.created_ns,
            "expires_ns": self.expires_ns,
            "disabled": int(self.disabled),
            "revoked_ns": self.revoked_ns,
            "version": self.version,
        }

    @property
    def shown(self) -> str:
        """For the audit."""
        hidden = ("digest", "old_digest", "options", "version")
        fields: dict[str, object] = {name: value for name, value in self.columns.items() if name not in hidden}
        return as_text({**fields, "options": self.options})


class Audited(msgspec.Struct, frozen=True):
    """One change: who did what to what, and how it was before and after (JSON; None: it was not, or is no more, there)."""

    id: int
    time_ns: int
    actor: str
    action: str
    target: str
    before: str | None
    after: str | None


class AdminReply(msgspec.Struct, frozen=True):
    """What an admin call with an idempotency key was answered. `status` 0: the first one is under way."""

    body_hash: bytes
    status: int
    reply: bytes
    time_ns: int


class PriceRow(msgspec.Struct, frozen=True):
    """A price that somebody set: the model it is of, and the price as JSON."""

    name: str
    body: str
    updated_ns: int


def as_text(value: object) -> str:
    """A document as it is written to a row."""
    return msgspec.json.encode(value).decode()


def key_row(row: Row) -> KeyRow:
    """A row of `find_key` or `list_keys`."""
    values = list(row)
    values[17] = _prompt_cache.decode(cast("str", row[17]))
    values[8] = _options.decode(cast("str", row[8]))
    for place in (11, 15, 16):
        values[place] = bool(row[place])
    return KeyRow(*values)  # type: ignore[arg-type]  # in the order of the statement's columns


def tenant_row(row: Row) -> tuple[Tenant, int]:
    """A tenant, and its version."""
    name, zone, customer_field, disabled, created_ns, prompt_cache, version = row
    tenant = Tenant(
        name=cast("str", name),
        zone=cast("str", zone),
        customer_field=bool(customer_field),
        disabled=bool(disabled),
        created_ns=cast("int", created_ns),
        prompt_cache=_prompt_cache.decode(cast("str", prompt_cache)),
    )
    return tenant, cast("int", version)


def customer_row(row: Row, rules: Rules = NO_RULES) -> tuple[Customer, int]:
    """A customer, and its version."""
    tenant, customer, name, disabled, created_ns, version = row
    found = Customer(
        tenant=cast("str", tenant),
        id=cast("str", customer),
        name=cast("str", name),
        disabled=bool(disabled),
        rules=rules,
        created_ns=cast("int", created_ns),
    )
    return found, cast("int", version)


def rule_of(row: Row) -> Rule:
    """A rule of a row that begins with `kind` and `body`."""
    body = cast("str", row[1])
    return _limit.decode(body) if row[0] == "limit" else _cap.decode(body)


def rules_of(rows: list[Row]) -> Rules:
    """Rules without a zone."""
    found = [rule_of(row) for row in rows]
    return Rules(
        limits=tuple(each for each in found if isinstance(each, Limit)),
        caps=tuple(each for each in found if isinstance(each, Cap)),
    )


def rule_columns(tenant: str, rule: Rule) -> dict[str, Value]:
    """For statements that write a rule."""
    return {
        "id": rule.id,
        "tenant": tenant,
        "kind": "limit" if isinstance(rule, Limit) else "cap",
        "key_id": rule.scope.key,
        "customer": rule.scope.customer,
        "model": rule.scope.model,
        "body": as_text(rule),
    }


def stored_key(row: KeyRow, rules: Rules) -> StoredKey:
    """A key with everything that binds it: `rules` of its tenant, and its own quota and request limit."""
    only = Scope(key=row.key_id)
    limits = (Limit(id=f"{row.key_id}.rpm", scope=only, metric="requests", amount=row.rpm),) if row.rpm else ()
    caps = () if row.quota is None else (Cap(id=f"{row.key_id}.quota", scope=only, amount=row.quota, period="total", starts_ns=row.created_ns),)
    principal = Principal(
        key_id=row.key_id,
        tenant=row.tenant,
        name=row.name,
        quota=row.quota,
        rpm=row.rpm,
        models=row.options.models,
        dedup_mode=row.options.dedup_mode,
        cache_mode=row.options.cache_mode,
        edits_off=row.options.edits_off,
        rules=Rules(limits=limits + rules.limits, caps=caps + rules.caps, zone=row.zone),
        customer_field=row.customer_field,
        prompt_cache=row.prompt_cache,
    )
    return StoredKey(
        principal=principal,
        digest=row.digest,
        old_digest=row.old_digest or b"",
        old_until_ns=row.old_until_ns,
        created_ns=row.created_ns,
        expires_ns=row.expires_ns,
        disabled=row.disabled or row.tenant_disabled,
        revoked_ns=row.revoked_ns,
    )


def check_tenant(name: str) -> None:
    """Raises ValueError for what can not name a tenant."""
    if not _TENANT.fullmatch(name):
        raise ValueError("a tenant is 1 to 100 letters, digits, dots, dashes and underscores")


def check_customer(customer: Customer) -> None:
    """Raises ValueError for what a customer can not be."""
    if not is_plain(customer.id) or customer.id == "*" or (customer.name and not is_plain(customer.name)):
        raise ValueError("a customer's id, and its name, are at most 256 characters without control characters; the id is not *")


def check_key(row: KeyRow) -> None:
    """Raises ValueError for what a key can not be."""
    if not 0 <= row.rpm <= _MOST_RPM:
        raise ValueError(f"requests per minute: a whole number from 0 to {_MOST_RPM}")
    if row.quota is not None and not 0 <= row.quota <= MOST_CAP:
        raise ValueError("the quota is more than a ledger can hold")
    if row.name and not is_plain(row.name):
        raise ValueError("a name is at most 256 characters, without control characters")
    if row.expires_ns is not None and not 0 < row.expires_ns < 1 << 63:
        raise ValueError("the expiry is not a moment in nanoseconds since 1970")
