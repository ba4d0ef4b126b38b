"""Settings: read once, from the environment over `tokenrouter.toml` over the defaults. Every mistake names its place.

The table `SETTINGS` is the only list: `Settings` is filled from it, `docs/settings.md` and `.env.example` are made from it.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, cast

import msgspec

from tokenrouter import setting_texts as texts
from tokenrouter.errors import ConfigError
from tokenrouter.model.catalog import Secret
from tokenrouter.model.edits import CONTENT_PARTS, DEFAULT_EDITS, MARKS_PLAN, TOOLS_ORDER

ShareMode = Literal["auto", "all", "off"]
CONFIG_FILE = "tokenrouter.toml"
RECORD_KEY = "TOKENROUTER_RECORD_KEY"
"""Variable by which the main process tells its workers the key of scrambled words, in hex. Nobody sets it."""

_CLOUDS = frozenset(
    (
        *("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"),
        *("AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        *("VERTEX_ACCESS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "VERTEX_PROJECT", "VERTEX_LOCATION"),
    )
)
"""Variables of hosts whose credential is more than one key, by the names that their own tools read."""


class ProviderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[providers.NAME]` table: a host of the user's own, or changes to a known one."""

    base_url: str = ""
    key_env: str | None = None
    wire: str = "openai-chat"
    also: dict[str, str] | None = None
    auth: str = ""
    prices: str | None = None
    auto_tier: str = ""
    prefixes: tuple[str, ...] = ()
    affinity_field: str = ""
    affinity_header: str = ""
    mark_field: str = ""
    quirks: frozenset[str] | None = None
    models: tuple[str, ...] = ()
    max_output: int = 32_768


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, typed. What each means stands in `SETTINGS`."""

    host: str
    port: int
    workers: int
    log_level: Literal["debug", "info", "warning", "error"]
    data_dir: Path
    database_url: Secret
    db_max_open_conns: int
    db_max_idle_conns: int
    db_conn_max_lifetime: int
    redis_url: Secret
    redis_timeout_ms: int
    db_timeout_ms: int
    ledger_retention_days: int
    admin_api_key: Secret
    auth_cache_ttl: int
    sandbox: bool
    virtual_time: bool
    record_file: Path | None
    record_text: Literal["keep", "scramble"]
    record_max_mb: int
    metrics_public: bool
    body_limit_mb: int
    cache_inject_enabled: bool
    tool_sort_enabled: bool
    edits_off: tuple[str, ...]
    edits_on: tuple[str, ...]
    dedup_enabled: bool
    dedup_mode: ShareMode
    dedup_ttl: int
    cache_mode: ShareMode
    cache_ttl_seconds: int
    cache_max_mb: int
    prompt_cache_mode: Literal["off", "observe", "on"]
    prompt_cache_text: bool
    rate_limit_enabled: bool
    rate_limit_rpm: int
    global_concurrent_limit: int
    stream_concurrent_limit: int
    non_stream_concurrent_limit: int
    provider_concurrent_limit: Mapping[str, int]
    concurrent_queue_size: int
    concurrent_queue_wait_s: int
    global_monthly_usd_budget: int
    global_monthly_token_budget: int
    alert_webhook_url: Secret
    alert_webhook_secret: Secret
    upstream_connect_timeout_s: int
    upstream_first_byte_timeout_s: int
    upstream_idle_timeout_s: int
    upstream_connections: int
    ollama_url: str
    default_model: str
    prices_refresh_url: str
    prices_refresh_vendor: str
    prices_refresh_interval: int
    providers: Mapping[str, ProviderSettings] = {}
    prices: Mapping[str, Mapping[str, object]] = {}
    environment: Mapping[str, Secret] = {}
    record_key: Secret = Secret("")

    @property
    def edits(self) -> frozenset[str]:
        """Ids of the edits that are on globally."""
        off = set(self.edits_off)
        if not self.tool_sort_enabled:
            off.add(TOOLS_ORDER)
        if not self.cache_inject_enabled:
            off |= {MARKS_PLAN, CONTENT_PARTS}
        return (DEFAULT_EDITS | set(self.edits_on)) - off

    @property
    def loopback(self) -> bool:
        """Only this machine can reach the gateway."""
        return self.host in ("127.0.0.1", "::1", "localhost")


class Setting(msgspec.Struct, frozen=True):
    """One row of the settings table. `read` turns the text into the value or raises ValueError saying what is right.

    `hidden`: it may hold a password, so no message repeats it.
    """

    env: str
    default: str
    read: Callable[[str], object]
    what: str
    hidden: bool = False

    @property
    def key(self) -> str:
        """Its name in `tokenrouter.toml` and in `Settings`."""
        return self.env.lower()


SETTINGS: tuple[Setting, ...] = (
    Setting("HOST", "127.0.0.1", str, "Address to listen on."),
    Setting("PORT", "8080", texts.whole(0, 65_535), "Port to listen on."),
    Setting("WORKERS", "1", texts.whole(1, 64), "Worker processes. The embedded stores belong to one."),
    Setting("LOG_LEVEL", "info", texts.one_word("debug", "info", "warning", "error"), "`debug` adds a line per request."),
    Setting("DATA_DIR", ".tokenrouter", Path, "Where the embedded stores and the deployment's secret live."),
    Setting(
        "DATABASE_URL", "", texts.database, "Postgres of the shared mode: keys and ledger; needs REDIS_URL. Empty: SQLite in DATA_DIR.", hidden=True
    ),
    Setting("DB_MAX_OPEN_CONNS", "20", texts.whole(1, 1_000), "Connections to Postgres, of each worker."),
    Setting("DB_MAX_IDLE_CONNS", "5", texts.whole(0, 1_000), "Connections to Postgres that are kept while nobody uses them."),
    Setting("DB_CONN_MAX_LIFETIME", "30m", texts.seconds, "Age at which a connection to Postgres is replaced; 0: never."),
    Setting(
        "REDIS_URL",
        "",
        texts.redis,
        "Redis or Valkey of the shared mode: limits, caps and kept answers; needs DATABASE_URL. `redis+cluster://` for a cluster. "
        "Empty: in the process.",
        hidden=True,
    ),
    Setting(
        "REDIS_TIMEOUT_MS",
        "100",
        texts.whole(1, 60_000),
        "Longest wait for an answer of Redis; three in a row without one, and it is taken for away.",
    ),
    Setting("DB_TIMEOUT_MS", "2000", texts.whole(1, 60_000), "The same for Postgres, for a connection and an answer together."),
    Setting(
        "LEDGER_RETENTION_DAYS",
        "0",
        texts.retention,
        "Days after which rows of the ledger are summed up by day and deleted; 0: never. At least 35, so that every month can be counted again.",
    ),
    Setting("ADMIN_API_KEY", "", Secret, "Credential of the admin API. Empty: one is minted on first start and kept as a hash."),
    Setting("AUTH_CACHE_TTL", "60s", texts.seconds, "How long a key that was looked up is believed; changes are noticed within 5 s all the same."),
    Setting("SANDBOX", "false", texts.flag, "Answer from the simulated providers even though provider keys are set."),
    Setting(
        "VIRTUAL_TIME",
        "false",
        texts.flag,
        "Take the time from the header `x-tokenrouter-now` of each request; refused beside real providers, see docs/prompt-cache.md.",
    ),
    Setting(
        "RECORD_FILE",
        "",
        texts.file_path,
        "Append model requests to this file, for `tokenrouter replay`. It holds what people wrote. Empty: nowhere.",
    ),
    Setting(
        "RECORD_TEXT",
        "keep",
        texts.one_word("keep", "scramble"),
        "`scramble`: with pseudo-words of the same lengths in the place of everything that people and programs wrote.",
    ),
    Setting("RECORD_MAX_MB", "1024", texts.whole(1, 1_048_576), "Size of that file at which recording ends."),
    Setting("METRICS_PUBLIC", "false", texts.flag, "Serve `/metrics` without the admin key even when HOST is not a loopback address."),
    Setting("BODY_LIMIT_MB", "32", texts.whole(1, 512), "Largest request body."),
    Setting("CACHE_INJECT_ENABLED", "true", texts.flag, "Place prompt-cache marks (edits `marks.plan`, `content.parts`)."),
    Setting("TOOL_SORT_ENABLED", "true", texts.flag, "Sort tool definitions by name (edit `tools.order`)."),
    Setting("EDITS_ON", "", texts.opt_in, "Edits to switch on that are off by default, by id, separated by commas; see docs/canonical-form.md."),
    Setting("EDITS_OFF", "", texts.edits, "Edits to switch off, by id, separated by commas; see docs/canonical-form.md."),
    Setting("DEDUP_ENABLED", "true", texts.flag, "Let identical requests in flight share one upstream call."),
    Setting("DEDUP_MODE", "auto", texts.one_word("auto", "all", "off"), "Which requests may share: `auto` (deterministic ones), `all`, `off`."),
    Setting("DEDUP_TTL", "2m", texts.seconds, "Longest age at which a call in flight may still be joined."),
    Setting(
        "CACHE_MODE", "auto", texts.one_word("auto", "all", "off"), "Which answers are kept and reused: `auto` (deterministic ones), `all`, `off`."
    ),
    Setting("CACHE_TTL_SECONDS", "3600", texts.whole(0, 31_536_000), "How long an answer may be reused."),
    Setting("CACHE_MAX_MB", "256", texts.whole(0, 1_048_576), "Memory for kept answers; four times as much on disk."),
    Setting(
        "PROMPT_CACHE_MODE",
        "on",
        texts.one_word("off", "observe", "on"),
        "Who decides where prompts are marked for the providers' caches: `on`, the gateway; `observe`: it only records what it would do; `off`.",
    ),
    Setting("PROMPT_CACHE_TEXT", "true", texts.flag, "Keep the last prompts of conversations in memory, to show where a prefix broke."),
    Setting("RATE_LIMIT_ENABLED", "true", texts.flag, "Enforce requests per minute, for keys that have such a limit."),
    Setting("RATE_LIMIT_RPM", "0", texts.whole(0, 1_000_000), "Requests per minute of a key without a limit of its own; 0: unlimited."),
    Setting(
        "GLOBAL_CONCURRENT_LIMIT", "0", texts.whole(0, 1_000_000), "Requests at a time that a model has to answer, of all workers; 0: any number."
    ),
    Setting("STREAM_CONCURRENT_LIMIT", "0", texts.whole(0, 1_000_000), "The same for those that stream."),
    Setting("NON_STREAM_CONCURRENT_LIMIT", "0", texts.whole(0, 1_000_000), "The same for those that do not."),
    Setting(
        "PROVIDER_CONCURRENT_LIMIT", "", texts.by_provider, "Calls at a time to each provider: `50`, or `openai=50,anthropic=20`, or `30,openai=50`."
    ),
    Setting("CONCURRENT_QUEUE_SIZE", "0", texts.whole(0, 100_000), "How many, in each worker, may wait for a place; 0: they are refused at once."),
    Setting("CONCURRENT_QUEUE_WAIT_S", "10", texts.whole(0, 600), "Longest wait for a place."),
    Setting(
        "GLOBAL_MONTHLY_USD_BUDGET",
        "",
        texts.usd,
        "Dollars that all tenants together may spend in a month (UTC), like `500` or `12.50`. Empty: any number.",
    ),
    Setting("GLOBAL_MONTHLY_TOKEN_BUDGET", "0", texts.whole(0, 999_999_999_999), "The same in tokens, input and output; 0: any number."),
    Setting("ALERT_WEBHOOK_URL", "", texts.secret_web_url, "Where it is told that a cap's share was reached. Empty: nowhere.", hidden=True),
    Setting("ALERT_WEBHOOK_SECRET", "", Secret, "Signs what is told there (HMAC-SHA256). Empty: nothing is signed.", hidden=True),
    Setting("UPSTREAM_CONNECT_TIMEOUT_S", "10", texts.whole(1, 600), "Longest wait for a connection to a provider."),
    Setting("UPSTREAM_FIRST_BYTE_TIMEOUT_S", "600", texts.whole(1, 3600), "Longest wait for a provider's response to begin."),
    Setting("UPSTREAM_IDLE_TIMEOUT_S", "120", texts.whole(1, 3600), "Longest silence of a provider in the middle of a response."),
    Setting("UPSTREAM_CONNECTIONS", "1024", texts.whole(1, 100_000), "Connections to providers, all together."),
    Setting(
        "OLLAMA_URL", "", texts.web_url, "Address of an Ollama server, e.g. `http://localhost:11434`; its models are `ollama/NAME`, free of charge."
    ),
    Setting("PRICES_REFRESH_URL", "", texts.web_url, "List of models with prices, like `https://openrouter.ai/api/v1/models`. Empty: none."),
    Setting("PRICES_REFRESH_VENDOR", "openrouter", texts.vendor, "Whose models it lists; `*`: its ids are `vendor/model` by the names used here."),
    Setting("PRICES_REFRESH_INTERVAL", "1d", texts.seconds, "How often it is fetched; 0: only by `tokenrouter prices refresh`."),
    Setting("DEFAULT_MODEL", "", texts.model, "The model of requests to `/v1/chat` that name none. Empty: they must name one."),
)


def load_settings(environ: Mapping[str, str], *, config: Path | None = None) -> Settings:
    """Read everything.

    `config`: the file to read; None reads `tokenrouter.toml` in the working folder where there is one (TOKENROUTER_CONFIG names
    another).

    Raises:
        ConfigError: one line per mistake.
    """
    path = config or Path(environ.get("TOKENROUTER_CONFIG") or CONFIG_FILE)
    text = _read_file(path, required=config is not None or "TOKENROUTER_CONFIG" in environ)
    table = _parse(text, path)
    mistakes: list[str] = []
    values: dict[str, object] = {}
    known = {setting.key for setting in SETTINGS} | {"providers", "prices"}
    mistakes += [f"{path}:{_line(text, key)}: unknown key {key!r}{_nearest(key, known)}" for key in table if key not in known]
    for setting in SETTINGS:
        if setting.env in environ:
            source, said = setting.env, environ[setting.env]
        elif setting.key in table:
            source, said = f"{path}:{_line(text, setting.key)}: {setting.key}", _as_text(table[setting.key])
        else:
            source, said = setting.env, setting.default
        try:
            values[setting.key] = setting.read(said)
        except ValueError as error:
            mistakes.append(f"{source}: must be {error}" if setting.hidden else f"{source}={texts.without_credentials(said)!r}: must be {error}")
    for one, other in (("DATABASE_URL", "REDIS_URL"), ("REDIS_URL", "DATABASE_URL")):
        if values.get(one.lower()) and other.lower() in values and not values[other.lower()]:
            mistakes.append(f"{one} is set and {other} is not: the shared mode needs both; with neither, everything is in DATA_DIR")
    providers = _providers(table.get("providers", {}), text, path, mistakes)
    prices = table.get("prices", {})
    if not isinstance(prices, dict) or not all(isinstance(row, dict) for row in prices.values()):
        mistakes.append(f'{path}:{_line(text, "prices")}: prices are tables like [prices."vendor/model"]')
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    named = {provider.key_env for provider in providers.values()}
    named |= _CLOUDS
    secrets = {
        name: Secret(value.strip())
        for name, value in environ.items()
        if value and (name.endswith(("_API_KEY", "_URL", "_ENDPOINT")) or name in named)
    }
    values |= {"providers": providers, "prices": prices, "environment": secrets, "record_key": Secret(environ.get(RECORD_KEY, ""))}
    return msgspec.convert(values, Settings, dec_hook=lambda _, value: value)


def _read_file(path: Path, *, required: bool) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: no such file") from None
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _parse(text: str, path: Path) -> dict[str, object]:
    try:
        return cast("dict[str, object]", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error


def _line(text: str, key: str) -> int:
    pattern = re.compile(rf'^\s*(?:\[+\s*"?{re.escape(key)}\b|"?{re.escape(key)}"?\s*[=.])')
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _nearest(key: str, known: set[str]) -> str:
    import difflib  # only on the way to an error

    found = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _providers(table: object, text: str, path: Path, mistakes: list[str]) -> dict[str, ProviderSettings]:
    found: dict[str, ProviderSettings] = {}
    if not isinstance(table, dict):
        mistakes.append(f"{path}:{_line(text, 'providers')}: providers are tables like [providers.NAME]")
        return found
    for name, row in table.items():
        try:
            found[name] = msgspec.convert(row, ProviderSettings)
        except msgspec.ValidationError as error:
            mistakes.append(f"{path}:{_line(text, f'providers.{name}')}: providers.{name}: {error}")
    return found
