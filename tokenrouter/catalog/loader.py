"""The catalog: which model name means which vendor, and where that vendor is reached. Compiled once from the data files."""

import re
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib import resources
from typing import cast, get_args
from urllib.parse import urlsplit

import msgspec

from tokenrouter.catalog.discovery import Discovered
from tokenrouter.errors import ConfigError, ModelNotFound
from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.catalog import AuthStyle, Deployment, Endpoint, Found, Model, Secret, Target
from tokenrouter.model.volatile import Volatile
from tokenrouter.settings import ProviderSettings, Settings

_RESOLVED_MAX = 4096
_PLACE = re.compile(r"\{([A-Z_|]+)\}")
_WIRES = (
    *("openai-chat", "openai-responses", "openai-embeddings"),
    *("anthropic-messages", "anthropic-count"),
    *("gemini-generate", "gemini-count", "gemini-embed", "vertex-count", "vertex-embed"),
    *("ollama-chat", "ollama-generate", "ollama-embed", "bedrock-converse"),
    *("vertex-anthropic", "vertex-anthropic-count"),
)

_QUIRKS = frozenset(
    (
        *("openai", "files", "file_urls", "top_k", "reasoning_details", "reasoning_content", "thought_signatures", "thinking_switch"),
        *("strings", "text_only", "max_tokens", "random_seed", "short_ids", "empty_chunks"),
        *("no_stream_options", "no_json_schema", "no_n", "no_seed", "no_user", "no_names", "no_parallel", "no_penalties"),
        "no_user_after_results",
    )
)
"""What they mean stands at the head of vendors.toml."""


class _VendorRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    wire: str
    also: Mapping[str, str] = {}
    native_only: frozenset[str] = frozenset()
    auth: AuthStyle = "bearer"
    base_url: str = ""
    key_env: str = ""
    or_env: tuple[str, ...] = ()
    with_env: tuple[str, ...] = ()
    url_swaps: Mapping[str, str] = {}
    key_optional: bool = False
    url_env: str = ""
    like: str = ""
    prices: str = ""
    prefixes: tuple[str, ...] = ()
    sandbox: str = ""
    sandbox_only: bool = False
    affinity_field: str = ""
    affinity_header: str = ""
    mark_field: str = ""
    keeps_volatile: tuple[str, ...] = ()
    diagnoses: bool = False
    quirks: frozenset[str] = frozenset()
    account_headers: tuple[str, ...] = ()
    auto_tier: str = ""
    demo: str = ""


class _ModelRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    listed: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    image_tokens: int = 6_000
    max_output: int = 32_768
    reasoning: str = "none"
    efforts: tuple[str, ...] = ("low", "medium", "high")
    mid_system: bool = True
    sampling: bool = True
    bound_reasoning: bool = False
    cache: PromptCacheLimits = PromptCacheLimits()


class Catalog:
    """Resolves model names. Immutable but for what hosts said they have, and a bounded memo of what was resolved before."""

    def __init__(
        self,
        vendors: Mapping[str, _VendorRow],
        models: Mapping[str, tuple[_ModelRow, ...]],
        deployments: Mapping[str, tuple[Deployment, ...]],
        volatile: tuple[Volatile, ...],
    ) -> None:
        self._vendors = vendors
        self._models = models
        self._deployments = deployments
        self.volatile = volatile
        self._account_headers = frozenset(header for row in vendors.values() for header in row.account_headers)
        self._resolved: dict[str, Target] = {}
        self._discovered = Discovered()

    def resolve(self, asked: str) -> Target:
        """The model and its deployments for a name as a client writes it: `vendor/model`, or the model alone.

        Raises:
            ModelNotFound: saying which variable is missing, or which names would work.
        """
        found = self._resolved.get(asked)
        if found is None:
            vendor, name = self._split(asked)
            deployments = self._deployments.get(vendor)
            if deployments is None:
                raise ModelNotFound(self._why_off(asked, vendor), param="model")
            found = Target(asked=asked, model=self.model(vendor, name), deployments=deployments)
            if len(self._resolved) >= _RESOLVED_MAX:
                self._resolved.clear()
            self._resolved[asked] = found
        return found

    def model(self, vendor: str, name: str) -> Model:
        """What is known about one model; an unknown one is left alone. Some hosts put a version behind a name, after an "@"."""
        plain = name.rpartition("@")[0] or name
        for row in self._models.get(vendor, ()):
            if plain in row.listed or any(fnmatchcase(plain, pattern) for pattern in row.match):
                fields = {field: getattr(row, field) for field in row.__struct_fields__ if field not in ("listed", "match")}
                return self._discovered.told(Model(name=name, vendor=vendor, **fields))
        return self._discovered.told(Model(name=name, vendor=vendor))

    def discover(self, vendor: str, models: tuple[Found, ...]) -> None:
        """A vendor's hosts were asked which models they have: from now on these are listed, and known by their bare names."""
        self._discovered.put(vendor, models)
        self._resolved.clear()

    def discovered(self, vendor: str) -> tuple[Found, ...]:
        """What was found there last."""
        return self._discovered.of(vendor)

    def price_source(self, vendor: str) -> str:
        """Provider id in the price snapshot; "free" where nothing is ever billed, "" where only overrides can tell."""
        row = self._vendors.get(vendor)
        return row.prices if row else ""

    @property
    def account_headers(self) -> frozenset[str]:
        """Response headers that tell whose account a vendor sees; no business of clients."""
        return self._account_headers

    @property
    def demo_model(self) -> str:
        """A model for a first try that can be called now."""
        demos = [self._vendors[vendor].demo for vendor in self._deployments if self._vendors[vendor].demo]
        names = demos + [name for _, name in self.listed()]
        return names[0] if names else "vendor/model"

    def listed(self) -> list[tuple[str, str]]:
        """(vendor, model) of every model that can be shown and called now."""
        names: dict[tuple[str, str], None] = {}
        for vendor in self._deployments:
            names |= {(vendor, name): None for row in self._models.get(vendor, ()) for name in row.listed}
            names |= {(vendor, found.name): None for found in self._discovered.of(vendor)}
        return list(names)

    @property
    def vendors(self) -> tuple[str, ...]:
        """Vendors that can be reached now."""
        return tuple(self._deployments)

    @property
    def deployments(self) -> Mapping[str, tuple[Deployment, ...]]:
        """Deployments by vendor, best first."""
        return self._deployments

    def _split(self, asked: str) -> tuple[str, str]:
        vendor, slash, name = asked.partition("/")
        if slash and name and vendor in self._vendors:
            return vendor, name
        for vendor in self._deployments:
            if any(asked in row.listed for row in self._models.get(vendor, ())):
                return vendor, asked
        for vendor in self._deployments:
            if self._discovered.find(vendor, asked) is not None:
                return vendor, asked
        for vendor, row in self._vendors.items():
            if row.prefixes and asked.startswith(row.prefixes):
                return vendor, asked
        raise ModelNotFound(
            f"no provider is known for the model {asked[:80]!r}; GET /v1/models lists what can be called, "
            f"and vendor/model names one outright (vendors here: {', '.join(self._deployments) or 'none'})",
            param="model",
        )

    def _why_off(self, asked: str, vendor: str) -> str:
        row = self._vendors[vendor]
        if row.sandbox_only:
            return f"{asked!r} exists in the sandbox only; start with SANDBOX=1"
        wanted = [] if row.key_optional and not row.url_env else [row.url_env or " or ".join((row.key_env, *row.or_env))]
        wanted += [place.replace("|", " or ") for place in dict.fromkeys(_PLACE.findall(row.base_url))]
        if any(deployment.sandbox for found in self._deployments.values() for deployment in found):
            return f"{asked!r} is served by {vendor}, which the sandbox does not simulate; set {' and '.join(wanted)} and no SANDBOX"
        missing = f"{' and '.join(wanted)} {'is' if len(wanted) == 1 else 'are'} missing from the gateway's environment"
        return f"{asked!r} is served by {vendor}, which is not set up: {missing}"


def load_catalog(settings: Settings) -> Catalog:
    """Compile the data files and the user's own providers.

    With no provider key set (or `SANDBOX=1`) the simulated providers answer, and only they.

    Raises:
        ConfigError: a table that makes no sense.
    """
    tables = _read("vendors.toml")
    volatile = msgspec.convert(tables.pop("volatile", []), tuple[Volatile, ...])
    vendors = msgspec.convert(tables, dict[str, _VendorRow])
    models = msgspec.convert(_read("models.toml"), dict[str, tuple[_ModelRow, ...]])
    for name, row in vendors.items():
        if row.like:
            models[name] = (*models.get(name, ()), *[_unlisted(model) for model in models.get(row.like, ())])
    for name, own in settings.providers.items():
        vendors[name] = _merged(name, vendors.get(name), own)
        models[name] = (*((_ModelRow(listed=own.models, max_output=own.max_output),) if own.models else ()), *models.get(name, ()))
    real = {name: found for name, row in vendors.items() if (found := _deployments(name, row, settings))}
    if settings.sandbox or not real:
        real = {name: (_simulated(name, row),) for name, row in vendors.items() if row.sandbox}
    return Catalog(vendors, models, real, volatile)


def known_variables() -> list[str]:
    """Every variable that a host which comes with the package reads its credential from."""
    tables = _read("vendors.toml")
    tables.pop("volatile", None)
    rows = msgspec.convert(tables, dict[str, _VendorRow]).values()
    return list(dict.fromkeys(variable for row in rows for variable in (row.key_env, *row.or_env, *row.with_env) if variable))


def known_hosts() -> list[tuple[str, str, str]]:
    """(name, variable with its credential, path in the sandbox) of every host that comes with the package; "" where there is none."""
    tables = _read("vendors.toml")
    tables.pop("volatile", None)
    rows = msgspec.convert(tables, dict[str, _VendorRow])
    return [(name, row.key_env, row.sandbox) for name, row in rows.items()]


def _read(name: str) -> dict[str, object]:
    return tomllib.loads(resources.files("tokenrouter.catalog").joinpath(name).read_text("utf-8"))


def _unlisted(row: _ModelRow) -> _ModelRow:
    """What is known of another host's models, for those of the same names; nobody knows that they are there."""
    return msgspec.structs.replace(row, listed=(), match=(*row.listed, *row.match))


def _merged(name: str, known: _VendorRow | None, own: ProviderSettings) -> _VendorRow:
    if unknown := {own.wire, *(own.also or ())} - set(_WIRES):
        raise ConfigError(f"providers.{name}: unknown wire {min(unknown)!r}; one of {', '.join(_WIRES)}")
    if own.auth and own.auth not in get_args(AuthStyle):
        raise ConfigError(f"providers.{name}: unknown auth {own.auth!r}; one of {', '.join(get_args(AuthStyle))}")
    if strange := (own.quirks or frozenset()) - _QUIRKS:
        raise ConfigError(f"providers.{name}: unknown quirk {min(strange)!r}; one of {', '.join(sorted(_QUIRKS))}")
    base = known or _VendorRow(wire=own.wire)
    if known is None and not own.base_url:
        raise ConfigError(f"providers.{name}: base_url is missing")
    return msgspec.structs.replace(
        base,
        base_url=own.base_url.rstrip("/") or base.base_url,
        key_env=base.key_env if own.key_env is None else own.key_env,
        prices=base.prices if own.prices is None else own.prices,
        auto_tier=own.auto_tier or base.auto_tier,
        prefixes=own.prefixes or base.prefixes,
        affinity_field=own.affinity_field or base.affinity_field,
        affinity_header=own.affinity_header or base.affinity_header,
        mark_field=own.mark_field or base.mark_field,
        also=own.also if own.also is not None else base.also,
        quirks=base.quirks if own.quirks is None else own.quirks,
        auth=cast("AuthStyle", own.auth or base.auth),
    )


def _deployments(name: str, row: _VendorRow, settings: Settings) -> tuple[Deployment, ...]:
    """The real deployments of a vendor, where its variables are set: one per credential, which a comma separates."""
    if row.sandbox_only:
        return ()
    environment = settings.environment
    base_url = settings.ollama_url if row.url_env and settings.ollama_url else row.base_url
    override = environment.get(f"{name.upper().replace('-', '_')}_BASE_URL")
    address = override.reveal().rstrip("/") if override and base_url else base_url
    keys = (row.key_env, *row.or_env)
    given = {variable: _parts(environment[variable]) for variable in (*keys, *row.with_env) if variable in environment}
    needs_key = bool(row.key_env) and not row.key_optional
    if (needs_key and not any(given.get(variable) for variable in keys)) or not address:
        return ()
    accounts = max(map(len, given.values()), default=1)
    for variable, parts in given.items():
        if len(parts) not in (1, accounts):
            raise ConfigError(f"{variable} holds {len(parts)} values for {accounts} accounts of {name}: it needs as many, or one for all")
    made = []
    for number in range(accounts):
        mine = {variable: parts[number if len(parts) > 1 else 0] for variable, parts in given.items()}
        url = _filled(address, mine, row.url_swaps)
        if not url:
            return ()
        if mine.keys() & {*keys} and "@" in urlsplit(url).netloc:
            raise ConfigError(f"the address of {name} holds a user or a password, but {name} is shown a key of its own: leave them out")
        made.append(_make(f"{name}#{number + 1}" if number else name, name, row, url, mine, sandbox=False))
    return tuple(made)


def _parts(value: Secret) -> list[str]:
    return [part.strip() for part in value.reveal().split(",") if part.strip()]


def _filled(address: str, values: Mapping[str, str], swaps: Mapping[str, str]) -> str:
    """An address with its `{VARIABLE}` or `{ONE|OTHER}` filled in; "" where one is missing."""
    for place in set(_PLACE.findall(address)):
        found = next((values[variable] for variable in place.split("|") if variable in values), None)
        if found is None:
            return ""
        address = address.replace(f"{{{place}}}", found.rstrip("/"))
    for before, after in swaps.items():
        address = address.replace(before, after)
    return address


def _simulated(name: str, row: _VendorRow) -> Deployment:
    return _make(name, name, row, f"http://sandbox{row.sandbox}", {row.key_env: "sandbox"}, sandbox=True)


def _make(name: str, vendor: str, row: _VendorRow, base_url: str, given: Mapping[str, str], *, sandbox: bool) -> Deployment:
    """`given`: variables of its credential.

    `also` names further wires: at a path below the same address ("" is the address itself), or at an address of their own.
    """
    where = {row.wire: base_url} | {wire: path if path.startswith("http") else base_url + path for wire, path in row.also.items()}
    endpoints = [Endpoint(wire, address, wire in row.native_only) for wire, address in where.items()]
    return Deployment(
        name=name,
        vendor=vendor,
        endpoints=tuple(endpoints),
        auth=row.auth,
        api_key=Secret(given.get(row.key_env, "")),
        credential={variable: Secret(value) for variable, value in given.items() if variable != row.key_env},
        affinity_field=row.affinity_field,
        affinity_header=row.affinity_header,
        mark_field=row.mark_field,
        keeps_volatile=row.keeps_volatile,
        diagnoses=row.diagnoses,
        quirks=row.quirks,
        auto_tier=row.auto_tier,
        sandbox=sandbox,
    )
