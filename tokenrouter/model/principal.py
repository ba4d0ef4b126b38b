"""Who calls: a key, and the tenant it belongs to."""

from typing import Literal

import msgspec

from tokenrouter.model.rules import NO_RULES, Rules
from tokenrouter.model.volatile import Template

ShareMode = Literal["auto", "all", "off"]


PromptCacheMode = Literal["", "off", "observe", "on"]


class PromptCacheOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a tenant's prompts are treated.

    mode     whether the gateway decides where to mark: "on"; "observe": it decides and records, and changes nothing; "off": neither. "" is as
             the deployment's setting says
    hold_ms  how long a request may wait for the first byte of another one that writes the same cold prefix; 0: it does not
    movable  volatile texts that may be moved behind the stable part (`volatile.relocate`)
    diagnostics  vendors are asked why a prompt could not be reused (`diagnostics.ask`)
    """

    mode: PromptCacheMode = ""
    hold_ms: int = 0
    movable: tuple[Template, ...] = ()
    diagnostics: bool = False


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """One API key as the request path sees it.

    key_id        public part of the key
    tenant        isolation boundary: nothing is ever shared beyond it
    quota         nano-USD that this key may spend in all; None: unlimited
    rpm           requests per minute; 0: unlimited
    models        models that it may use (`vendor/model` or the bare name); empty: all
    edits_off     edits that are off for it
    rules         what binds it: rules of its tenant, its own quota and request limit among them
    prompt_cache  as its tenant wants it
    customer_field  the dialect's own user field names the customer where the header does not
    """

    key_id: str
    tenant: str
    name: str = ""
    quota: int | None = None
    rpm: int = 0
    models: tuple[str, ...] = ()
    dedup_mode: ShareMode | None = None
    cache_mode: ShareMode | None = None
    edits_off: tuple[str, ...] = ()
    rules: Rules = NO_RULES
    prompt_cache: PromptCacheOptions = PromptCacheOptions()
    customer_field: bool = False
