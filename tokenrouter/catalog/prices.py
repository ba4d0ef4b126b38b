"""What models cost, from the genai-prices data set and the operator's overrides, compiled to the integers of `tokenrouter.money`.

The only module that imports genai_prices, and only inside functions: the import costs 0.18 s. Nothing is fetched: the data is in the wheel.

What the data says and how it is read:
    tokens    `input_mtok` and `output_mtok` must both be there, at all times that a model's prices cover; without them it has no price.
              Vectors are not billed by output tokens: for them `input_mtok` is enough
    reads     `cache_read_mtok`, else plain input
    writes    `cache_write_5m_mtok`, else `cache_write_mtok`, else plain input
    1h        `cache_write_1h_mtok`, else `cache_write_mtok`, else plain input. OpenAI's 12-hour writes cost more than its 30-minute ones by a
              factor that the data lacks: set `cache_write_1h` in an override where it matters
    tiers     each key may have its own thresholds; their union becomes our tiers
    time      start dates are midnight UTC, daily windows are UTC. There are no weekdays: DeepSeek's peak prices are an upper bound on weekends
    fees      what is billed beside tokens (per request, search, hour, page) is not in our prices, only named in `Price.also_billed`
    kinds     audio, image and reasoning tokens with a price of their own are named there too, and billed here as plain input or output
    variants  service tiers, batch and fast modes are left out: the standard price is taken
Rates finer than nano-USD per million tokens (0.18000000000000002) are rounded half-even.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Self, assert_never

import msgspec

from tokenrouter.errors import ConfigError
from tokenrouter.money import Price, PriceSchedule, PriceWindow, Rates, Tier, always, parse_usd

if TYPE_CHECKING:
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider, TieredPrices

_PACKAGE = "genai-prices"
_COMPILED_KEYS = frozenset({"input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok", "output_mtok"})
_EPOCH = date(1970, 1, 1)
_SECOND_NS = 1_000_000_000
_NANO = 1_000_000_000
_REMEMBERED_NAMES = 2_048
_LONGEST_NAME = 200


class PriceOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operator's own price of a model, as in the table `[prices."openai/my-model"]`.

    input, output   USD per million tokens as quoted decimals ("3.00"). A model that costs nothing says so: "0"
    cache_read      of tokens served from the prompt cache; missing: as `input`
    cache_write     of tokens written to it; missing: as `input`
    cache_write_1h  of tokens written at the long lifetime; missing: as `cache_write`
    source          where the numbers come from, for people

    Numbers without quotes are taken only to be refused with a word: a binary fraction is not the price that was written.
    Raises TypeError for them and ValueError for all that `parse_usd` refuses; msgspec turns both into its ValidationError with the place.
    """

    input: str | float
    output: str | float
    cache_read: str | float | None = None
    cache_write: str | float | None = None
    cache_write_1h: str | float | None = None
    source: str = "override"

    def __post_init__(self) -> None:
        self.rates()

    def rates(self) -> Rates:
        """The override with its gaps filled."""
        fresh = _rate("input", self.input)
        write = fresh if self.cache_write is None else _rate("cache_write", self.cache_write)
        return Rates(
            fresh_input=fresh,
            cache_read=fresh if self.cache_read is None else _rate("cache_read", self.cache_read),
            cache_write=write,
            cache_write_1h=write if self.cache_write_1h is None else _rate("cache_write_1h", self.cache_write_1h),
            output=_rate("output", self.output),
        )


class PriceBook:
    """Every price the gateway knows. Built once, at start-up.

    Overrides win, "vendor/model" before "vendor/*"; the rest comes from the data set. Models are matched as the data set does (dated and
    differently spelled names included), but never through another vendor's rows: Azure is not priced as OpenAI behind anybody's back.

    Memory is bounded whatever names come in: compiled schedules by the data, looked-up names by `_REMEMBERED_NAMES`.
    """

    def __init__(
        self, providers: Iterable["Provider"], version: str, overrides: Mapping[str, PriceOverride], provider_ids: Mapping[str, str]
    ) -> None:
        self.version = version
        self._providers = {provider.id: provider for provider in providers}
        self._provider_ids = dict(provider_ids)
        self._overrides = {key: _override_schedule(override) for key, override in overrides.items()}
        self._compiled: dict[tuple[str, str, bool], PriceSchedule | None] = {}
        self._find = lru_cache(maxsize=_REMEMBERED_NAMES)(self._look_up)

    @classmethod
    def load(cls, overrides: Mapping[str, PriceOverride] | None = None, provider_ids: Mapping[str, str] | None = None) -> Self:
        """The installed data set under `overrides`, which are keyed "vendor/model" or "vendor/*".

        `provider_ids`: what the data set calls a vendor of ours, where that is another name ({"gemini": "google"}). A vendor that the data
        set does not know has overrides only.

        Raises ConfigError for a key of another form. Takes 0.2 s: not for the event loop.
        """
        from genai_prices.data import providers

        checked = dict(overrides or {})
        for key in checked:
            vendor, _, model = key.partition("/")
            if not vendor or not model:
                raise ConfigError(f'[prices."{key}"]: the key must be "vendor/model", such as "openai/gpt-5", or "vendor/*"')
        return cls(providers, installed_version(_PACKAGE), checked, provider_ids or {})

    def schedule(self, vendor: str, model: str, *, vectors: bool = False) -> PriceSchedule | None:
        """The prices of `model` at `vendor`; None where they are not known, which never means free.

        `vectors`: it is asked for embeddings, so that a price of input is enough.

        Less than 1 µs when asked before, about 1 ms at the first time.
        """
        if self._overrides:
            exact = self._overrides.get(f"{vendor}/{model}")
            found = self._overrides.get(f"{vendor}/*") if exact is None else exact
            if found is not None:
                return found
        provider_id = self._provider_ids.get(vendor, vendor)
        if len(model) > _LONGEST_NAME or provider_id not in self._providers:
            return None
        return self._find(provider_id, model, vectors)

    def unpriced(self, models: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of `models`, each (vendor, model), that have no price: to be refused at start-up, not met at settlement."""
        return [(vendor, model) for vendor, model in models if self.schedule(vendor, model, vectors=True) is None]

    def _look_up(self, provider_id: str, model: str, vectors: bool) -> PriceSchedule | None:
        info = self._providers[provider_id].find_model(model)
        if info is None:
            return None
        key = (provider_id, info.id, vectors)
        if key not in self._compiled:
            self._compiled[key] = compile_schedule(info, self.version, vectors=vectors)
        return self._compiled[key]


def compile_schedule(info: "ModelInfo", version: str, *, vectors: bool = False) -> PriceSchedule | None:
    """A model of the data set in integers; None where it lacks an input or output price at any of the times it covers.

    `vectors`: one without an output price costs nothing for output.
    """
    from genai_prices.types import ModelPrice

    if isinstance(info.prices, ModelPrice):
        price = _compile_price(info.prices, version, vectors)
        return None if price is None else always(price)
    windows: list[PriceWindow] = []
    for conditional in info.prices:
        price = _compile_price(conditional.prices, version, vectors)
        if price is None:
            return None
        windows.append(_compile_window(conditional, price))
    return PriceSchedule(windows=tuple(windows)) if windows else None


def _compile_window(conditional: "ConditionalPrice", price: Price) -> PriceWindow:
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

    match conditional.constraint:
        case None:
            return PriceWindow(price=price)
        case StartDateConstraint(start_date=start):
            return PriceWindow(price=price, starts_ns=(start - _EPOCH).days * 86_400 * _SECOND_NS)
        case TimeOfDateConstraint(start_time=start, end_time=end):
            return PriceWindow(price=price, daily_ns=(_since_midnight_ns(start), _since_midnight_ns(end)))
        case unknown:
            assert_never(unknown)


def _compile_price(prices: "ModelPrice", version: str, vectors: bool) -> Price | None:
    from genai_prices.types import TieredPrices

    fresh, output = prices.input_mtok, prices.output_mtok
    if output is None and vectors:
        output = Decimal(0)
    if fresh is None or output is None:
        return None
    write = _first(prices.cache_write_mtok, fresh)
    by_bucket = {
        "fresh_input": fresh,
        "cache_read": _first(prices.cache_read_mtok, fresh),
        "cache_write": _first(prices.cache_write_5m_mtok, write),
        "cache_write_1h": _first(prices.cache_write_1h_mtok, write),
        "output": output,
    }
    starts = {tier.start for price in by_bucket.values() if isinstance(price, TieredPrices) for tier in price.tiers}
    thresholds: list[int | None] = [None, *sorted(starts)]
    return Price(
        tiers=tuple(
            Tier(above_input_tokens=start or 0, rates=Rates(**{bucket: _rate_above(price, start) for bucket, price in by_bucket.items()}))
            for start in thresholds
        ),
        source=f"{_PACKAGE} {version}",
        version=version,
        also_billed=tuple(sorted(key for key, value in vars(prices).items() if value is not None and key not in _COMPILED_KEYS)),
    )


def _first(price: "Decimal | TieredPrices | None", fallback: "Decimal | TieredPrices") -> "Decimal | TieredPrices":
    """`price` where there is one; a price of zero is one."""
    return fallback if price is None else price


def _rate_above(price: "Decimal | TieredPrices", start: int | None) -> int:
    """Nano-USD per million tokens where the total input is just above `start`; None: where it reaches no threshold."""
    if isinstance(price, Decimal):
        usd = price
    else:
        reached = [tier.price for tier in price.tiers if start is not None and tier.start <= start]
        usd = reached[-1] if reached else price.base
    return int((usd * _NANO).to_integral_value(ROUND_HALF_EVEN))


def _since_midnight_ns(moment: time) -> int:
    """Nanoseconds since midnight UTC; a time without a zone is UTC."""
    aware = datetime.combine(_EPOCH, moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    return ((aware.hour * 60 + aware.minute) * 60 + aware.second) * _SECOND_NS + aware.microsecond * 1_000


def _override_schedule(override: PriceOverride) -> PriceSchedule:
    """The version names the numbers themselves, so that a changed override is another version in the ledger."""
    digest = hashlib.sha256(msgspec.json.encode(override)).hexdigest()[:12]
    tier = Tier(above_input_tokens=0, rates=override.rates())
    return always(Price(tiers=(tier,), source=override.source, version=f"override-{digest}"))


def _rate(name: str, usd: str | float) -> int:
    if not isinstance(usd, str):
        raise TypeError(f'{name} must be a quoted decimal of USD per million tokens: {name} = "{usd}"')
    try:
        return parse_usd(usd)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
