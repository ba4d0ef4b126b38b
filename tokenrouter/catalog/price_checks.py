"""What is wrong, or odd, with the prices in force: for people who look before they are billed."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from tokenrouter.catalog.prices import PriceBook
from tokenrouter.money import Price, PriceSchedule, Rates, format_usd

DEAR_USD = 1_000
"""USD per million tokens. The dearest models of 2026-11 cost USD 600."""

_LIST_STALE_DAYS = 14


class Findings(msgspec.Struct, frozen=True):
    """What `check` found.

    unpriced  models that are refused for want of a price
    odd       (model, what is odd about its price)
    stale     sources that nobody has looked at for long
    assumed   models some of whose rates are not their vendor's word but the nearest relative's
    strangers keys of overrides that name no vendor that can be reached
    """

    unpriced: tuple[str, ...]
    odd: tuple[tuple[str, str], ...]
    stale: tuple[str, ...]
    assumed: tuple[str, ...]
    strangers: tuple[str, ...]

    @property
    def bad(self) -> bool:
        """Whether somebody has to do something."""
        return bool(self.unpriced or self.odd)


def check(book: PriceBook, models: Iterable[tuple[str, str]], vendors: Iterable[str], time_ns: int) -> Findings:
    """Look at the prices of `models`, each (vendor, model), and at those that somebody wrote by hand."""
    layers, today = book.layers, datetime.fromtimestamp(time_ns / 1e9, UTC)
    models = list(dict.fromkeys(models))
    written = [key.partition("/") for key in (*layers.file, *layers.admin) if not key.endswith("/*")]
    known = [*models, *((vendor, model) for vendor, _, model in written)]
    odd: dict[tuple[str, str], None] = {}
    assumed: dict[str, None] = {}
    for vendor, model in known:
        schedule = book.schedule(vendor, model, vectors=True)
        if schedule is None:
            continue
        odd |= {(f"{vendor}/{model}", why): None for why in oddities(schedule, free=vendor in layers.free)}
        if "assumed after" in schedule.at(time_ns).source:
            assumed[f"{vendor}/{model}"] = None
    stale = [f"{', '.join(row.models)}: {row.source}, read {row.read}" for row in layers.corrections.stale(today.date())]
    table = layers.table
    if table is not None and (time_ns - table.fetched_ns) / 86_400e9 > _LIST_STALE_DAYS:
        stale.append(f"{table.url}, fetched {datetime.fromtimestamp(table.fetched_ns / 1e9, UTC):%Y-%m-%d}")
    reachable = set(vendors)
    return Findings(
        unpriced=tuple(f"{vendor}/{model}" for vendor, model in book.unpriced(models)),
        odd=tuple(odd),
        stale=tuple(stale),
        assumed=tuple(assumed),
        strangers=tuple(key for key in (*layers.file, *layers.admin) if key.partition("/")[0] not in reachable),
    )


def oddities(schedule: PriceSchedule, *, free: bool = False) -> list[str]:
    """What no vendor would ask for. `free`: it is said of the vendor that it bills nothing."""
    windows = [("", window.price) for window in schedule.windows]
    windows += [(f"{name}: ", window.price) for name, found in schedule.service_tiers.items() for window in found]
    return list(dict.fromkeys(f"{where}{why}" for where, price in windows for why in _odd(price, free=free)))


def _odd(price: Price, *, free: bool) -> list[str]:
    written_free = price.version.startswith("override-") and not any(_all(tier.rates) for tier in price.tiers)
    found = []
    for tier in price.tiers:
        rates = tier.rates
        if not rates.fresh_input and not free and not written_free:
            found.append("input costs nothing")
        if max(_all(rates), default=0) > DEAR_USD * 1_000_000_000:
            found.append(f"USD {format_usd(max(_all(rates)))} per million tokens; is it meant per token, or in another currency?")
        if rates.cache_read > rates.fresh_input:
            found.append("reading from the prompt cache costs more than plain input")
        if rates.cache_write_1h < rates.cache_write:
            found.append("writing to the prompt cache costs less at the long lifetime than at the short one")
    lowest, *higher = price.tiers
    if any(tier.rates.fresh_input < lowest.rates.fresh_input for tier in higher):
        found.append("longer requests cost less per token than short ones")
    return found


def _all(rates: Rates) -> list[int]:
    return [rate for rate in (getattr(rates, name) for name in rates.__struct_fields__) if rate]
