"""Who is who: tenants, their keys, and their customers, as they are stored."""

import msgspec

from tokenrouter.model.principal import Principal, PromptCacheOptions, ShareMode
from tokenrouter.model.rules import Rules


class Tenant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A project: the isolation boundary, and the owner of keys, customers and rules.

    zone            its time zone: where its days, weeks and months begin
    customer_field  the dialect's own user field names the customer where the header does not
    disabled        none of its keys may be used
    prompt_cache    how its prompts are treated
    """

    name: str
    zone: str = "UTC"
    customer_field: bool = False
    disabled: bool = False
    created_ns: int = 0
    prompt_cache: PromptCacheOptions = PromptCacheOptions()


class KeyOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a key may and how it is treated; see `Principal`."""

    models: tuple[str, ...] = ()
    dedup_mode: ShareMode | None = None
    cache_mode: ShareMode | None = None
    edits_off: tuple[str, ...] = ()


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept; the secret itself is not.

    principal   with the tenant's rules that can bind this key
    digest      keyed BLAKE2b of the whole key, 32 bytes
    old_digest  of the secret before the last rotation, good until `old_until_ns`; b"": there is none
    expires_ns  not valid from then on; None: never expires
    disabled    not valid for the time being, or its tenant is not
    """

    principal: Principal
    digest: bytes
    old_digest: bytes = b""
    old_until_ns: int = 0
    created_ns: int
    expires_ns: int | None = None
    disabled: bool = False
    revoked_ns: int | None = None

    def valid(self, now_ns: int) -> bool:
        """Whether it may be used at this moment."""
        return self.revoked_ns is None and not self.disabled and (self.expires_ns is None or now_ns < self.expires_ns)

    def __repr__(self) -> str:
        return f"StoredKey({self.principal.key_id!r}, tenant={self.principal.tenant!r})"


class Customer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom a tenant serves, under the tenant's own id for them. One that nobody registered has the tenant's rules for each customer only.

    rules  of this customer alone
    """

    tenant: str
    id: str
    name: str = ""
    disabled: bool = False
    rules: Rules = Rules()
    created_ns: int = 0
