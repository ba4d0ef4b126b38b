"""What is known of prices beyond the installed data: `prices.toml`, laid over it."""

import tomllib
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from importlib import resources

import msgspec

from tokenrouter.catalog.price_overrides import PriceOverride, TierTable, check_service_tiers, digest, factor, in_tier
from tokenrouter.money import Price, PriceSchedule, PriceWindow, Tier

STALE_DAYS = 120
"""Prices that nobody has looked at for longer are named by `tokenrouter prices check`."""

_BILLION = 1_000_000_000


class Correction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry; the head of prices.toml says what its members mean."""

    models: tuple[str, ...]
    source: str
    read: date
    price: PriceOverride | None = None
    service_tiers: Mapping[str, str | TierTable] = {}
    long_write_times: str | None = None
    write_is_storage: bool = False
    assumed: bool = False

    def __post_init__(self) -> None:
        check_service_tiers(self.service_tiers)
        if self.long_write_times is not None:
            factor("long_write_times", self.long_write_times)
        if not self.source.startswith("https://"):
            raise ValueError("source: an address")

    def about(self, vendor: str, model: str) -> bool:
        """Whether it is about a model."""
        name = f"{vendor}/{model}"
        return any(fnmatchcase(name, pattern) for pattern in self.models)

    @property
    def version(self) -> str:
        """Names the numbers."""
        return f"correction-{digest(msgspec.structs.replace(self, models=()))}"


class Corrections(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. `tiered`: vendors whose tiers of service are those of their rows in the price data."""

    tiered: frozenset[str] = frozenset()
    corrections: tuple[Correction, ...] = ()

    def over(self, vendor: str, model: str, below: PriceSchedule | None) -> PriceSchedule | None:
        """The price data's schedule, corrected. `model`: by the data's name where it has one."""
        if below is not None and below.service_tiers and vendor not in self.tiered:
            below = PriceSchedule(windows=below.windows)
        for correction in self.corrections:
            if correction.about(vendor, model):
                below = _corrected(correction, below)
        return below

    def stale(self, today: date) -> list[Correction]:
        """Those that were read too long ago to be trusted unseen."""
        return [correction for correction in self.corrections if (today - correction.read).days > STALE_DAYS]


def load_corrections() -> Corrections:
    """The corrections that come with the package."""
    text = resources.files("tokenrouter.catalog").joinpath("prices.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), Corrections)


def _corrected(correction: Correction, below: PriceSchedule | None) -> PriceSchedule | None:
    if correction.price is not None:
        below = correction.price.schedule()
    if below is None:
        return None
    windows = tuple(_window(correction, window) for window in below.windows)
    tiers = {name: tuple(_window(correction, window) for window in found) for name, found in below.service_tiers.items()}
    for name, said in correction.service_tiers.items():
        tiers[name] = tuple(msgspec.structs.replace(window, price=in_tier(name, said, window.price)) for window in windows)
    return PriceSchedule(windows=windows, service_tiers=tiers)


def _window(correction: Correction, window: PriceWindow) -> PriceWindow:
    price = window.price
    tiers = price.tiers
    if correction.write_is_storage:
        tiers = tuple(map(_with_whole_writes, tiers))
    if correction.long_write_times is not None:
        by = factor("long_write_times", correction.long_write_times)
        tiers = tuple(_with_long_writes(tier, by) for tier in tiers)
    how = "assumed after" if correction.assumed else "corrected by"
    source = f"{price.source}, {how} {correction.source} ({correction.read})"
    return msgspec.structs.replace(
        window, price=Price(tiers=tiers, source=source, version=_marked(price.version, correction.version), also_billed=price.also_billed)
    )


def _with_whole_writes(tier: Tier) -> Tier:
    rates = tier.rates
    short, long = (rates.fresh_input + kept if kept < rates.fresh_input else kept for kept in (rates.cache_write, rates.cache_write_1h))
    return msgspec.structs.replace(tier, rates=msgspec.structs.replace(rates, cache_write=short, cache_write_1h=long))


def _with_long_writes(tier: Tier, by: int) -> Tier:
    rates = tier.rates
    return Tier(
        above_input_tokens=tier.above_input_tokens,
        rates=msgspec.structs.replace(rates, cache_write_1h=-(-rates.cache_write * by // _BILLION)),
    )


def _marked(version: str, mark: str) -> str:
    """Of a version with a tier of service, the tier stays last."""
    base, colon, tier = version.partition(":")
    return f"{base}+{mark}{colon}{tier}"
