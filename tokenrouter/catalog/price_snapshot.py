"""What models cost by the genai-prices data set, compiled to the integers of `tokenrouter.money`.

The only module that imports genai_prices, and only inside functions: the import costs 0.18 s. Nothing is fetched: the data is in the wheel.

What the data says and how it is read:
    tokens    `input_mtok` and `output_mtok` must both be there, at all times that a model's prices cover; without them it has no price.
              Vectors are not billed by output tokens: for them `input_mtok` is enough
    reads     `cache_read_mtok`, else plain input
    writes    `cache_write_5m_mtok`, else `cache_write_mtok`, else plain input
    1h        `cache_write_1h_mtok`, else `cache_write_mtok`, else plain input. OpenAI's 12-hour writes are not in the data: prices.toml
    tiers     each key may have its own thresholds; their union becomes our tiers
    service   variants of `service_tier` and of Anthropic's `speed` replace the keys that they name; other variants (batch) are left out
    time      start dates are midnight UTC, daily windows are UTC. There are no weekdays: DeepSeek's peak prices are an upper bound on weekends
    fees      what is billed beside tokens (per request, search, hour, page) is not in our prices, only named in `Price.also_billed`
    kinds     audio, image and reasoning tokens with a price of their own are named there too, and billed here as plain input or output
Rates finer than nano-USD per million tokens (0.18000000000000002) are rounded half-even.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from importlib.metadata import version as installed_version
from itertools import product
from typing import TYPE_CHECKING, Self, assert_never

from tokenrouter.money import Price, PriceSchedule, PriceWindow, Rates, Tier

if TYPE_CHECKING:
    from genai_prices.types import (
        ConditionalPrice,
        ModelInfo,
        ModelPrice,
        PriceVariant,
        Provider,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

_PACKAGE = "genai-prices"
_COMPILED_KEYS = frozenset({"input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok", "output_mtok"})
_TIER_KEYS = ("service_tier", "speed")
_EPOCH = date(1970, 1, 1)
_SECOND_NS = 1_000_000_000
_NANO = 1_000_000_000
REMEMBERED_NAMES = 2_048
_LONGEST_NAME = 200


class Snapshot:
    """The data set. Memory is bounded whatever names come in: compiled schedules by the data, looked-up names by `REMEMBERED_NAMES`."""

    def __init__(self, providers: Iterable["Provider"], version: str) -> None:
        self.version = version
        self._providers = {provider.id: provider for provider in providers}
        self._compiled: dict[tuple[str, str, bool], PriceSchedule | None] = {}
        self.find = lru_cache(maxsize=REMEMBERED_NAMES)(self._look_up)

    @classmethod
    def installed(cls) -> Self:
        """The installed data set. Takes 0.2 s: not for the event loop."""
        from genai_prices.data import providers

        return cls(providers, installed_version(_PACKAGE))

    def schedule(self, provider_id: str, model: str, *, vectors: bool) -> tuple[str, PriceSchedule | None]:
        """The data set's own name of a model and its prices; ("", None) where it does not know the model.

        Models are matched as the data set does (dated and differently spelled names included).
        """
        if len(model) > _LONGEST_NAME or provider_id not in self._providers:
            return "", None
        return self.find(provider_id, model, vectors)

    @property
    def compiled(self) -> int:
        """How many schedules are kept."""
        return len(self._compiled)

    def _look_up(self, provider_id: str, model: str, vectors: bool) -> tuple[str, PriceSchedule | None]:
        info = self._providers[provider_id].find_model(model)
        if info is None:
            return "", None
        key = (provider_id, info.id, vectors)
        if key not in self._compiled:
            self._compiled[key] = compile_schedule(info, self.version, vectors=vectors)
        return info.id, self._compiled[key]


def compile_schedule(info: "ModelInfo", version: str, *, vectors: bool = False) -> PriceSchedule | None:
    """A model of the data set in integers; None where it lacks an input or output price at any of the times it covers.

    `vectors`: one without an output price costs nothing for output.
    """
    standard = _standard(info)
    windows = _windows([(conditional.prices, _when(conditional.constraint)) for conditional in standard], version, vectors)
    if not windows:
        return None
    tiers = {}
    for name in dict.fromkeys(name for variant in info.price_variants or () for name in [_tier_name(variant)] if name):
        variants = [variant for variant in info.price_variants or () if _tier_name(variant) == name]
        found = _windows(_in_tier(standard, variants), f"{version}:{name}", vectors)
        if found:
            tiers[name] = found
    return PriceSchedule(windows=windows, service_tiers=tiers)


def _standard(info: "ModelInfo") -> "list[ConditionalPrice]":
    from genai_prices.types import ConditionalPrice, ModelPrice

    return [ConditionalPrice(prices=info.prices)] if isinstance(info.prices, ModelPrice) else info.prices


def _tier_name(variant: "PriceVariant") -> str:
    """The tier of service that a variant is about; "" where it is about something else, about more than that, or says what is standard."""
    if len(variant.when) != 1:
        return ""
    ((key, value),) = variant.when.items()
    priced = any(price is not None for price in vars(variant.prices).values())
    return value if key in _TIER_KEYS and value not in ("default", "standard") and priced else ""


_When = tuple[int | None, tuple[int, int] | None]
"""From when on, and in which daily hours; see `PriceWindow`."""


def _in_tier(standard: "list[ConditionalPrice]", variants: "list[PriceVariant]") -> "list[tuple[ModelPrice, _When]]":
    """Prices of a tier of service with the times at which they hold.

    The data set replaces, key by key, what stands in the first variant that is active. So each set of variants has its own price, which
    holds where all of them do: ordered so that the largest set with the foremost variants comes last, and of the standard prices, the last.
    A time that two daily windows make together cannot be said by one: such a tier has no price.
    """
    found = []
    for conditional, chosen in product(standard, product((False, True), repeat=len(variants))):
        active = [variant for variant, taken in zip(variants, chosen, strict=True) if taken]
        when: _When | None = _when(conditional.constraint)
        for variant in active:
            when = _both(when, _when(variant.constraint)) if when is not None else None
        if when is None:
            return []
        if active:
            found.append((_replaced(conditional.prices, active), when))
    return found


def _replaced(standard: "ModelPrice", variants: "list[PriceVariant]") -> "ModelPrice":
    from genai_prices.types import ModelPrice

    keys = {key: price for key, price in vars(standard).items() if price is not None}
    for variant in reversed(variants):
        keys |= {key: price for key, price in vars(variant.prices).items() if price is not None}
    return ModelPrice(**keys)


def _both(one: _When, other: _When) -> _When | None:
    (start, daily), (later, hours) = one, other
    if daily is not None and hours is not None and daily != hours:
        return None
    return max((moment for moment in (start, later) if moment is not None), default=None), daily or hours


def _windows(prices: "Iterable[tuple[ModelPrice, _When]]", version: str, vectors: bool) -> tuple[PriceWindow, ...]:
    """One window for each price; none at all where one of them is incomplete."""
    windows: list[PriceWindow] = []
    for price, (starts_ns, daily_ns) in prices:
        compiled = _compile_price(price, version, vectors)
        if compiled is None:
            return ()
        windows.append(PriceWindow(price=compiled, starts_ns=starts_ns, daily_ns=daily_ns))
    return tuple(windows)


def _when(constraint: "StartDateConstraint | TimeOfDateConstraint | None") -> _When:
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

    match constraint:
        case None:
            return None, None
        case StartDateConstraint(start_date=start):
            return (start - _EPOCH).days * 86_400 * _SECOND_NS, None
        case TimeOfDateConstraint(start_time=start, end_time=end):
            return None, (_since_midnight_ns(start), _since_midnight_ns(end))
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
        source=f"{_PACKAGE} {version.partition(':')[0]}",
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
