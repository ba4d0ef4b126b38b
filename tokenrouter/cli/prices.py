"""`tokenrouter prices`: what requests are booked at, where it comes from, and whether it can be true."""

import argparse
import asyncio
import os
import time
from datetime import UTC, datetime

import msgspec

from tokenrouter.catalog.loader import Catalog, load_catalog
from tokenrouter.catalog.price_checks import Findings, check
from tokenrouter.catalog.prices import PriceBook, Prices
from tokenrouter.cli.price_book import book_in_force
from tokenrouter.clock import SystemClock
from tokenrouter.errors import ConfigError
from tokenrouter.model.usage import Usage
from tokenrouter.money import Price, PriceSchedule, PriceWindow, UnknownPrice, cost, format_usd
from tokenrouter.settings import Settings, load_settings
from tokenrouter.wiring import price_refresh

EXAMPLE = Usage(fresh_input=2_000, cache_read=8_000, output=500)
LONG_EXAMPLE = Usage(fresh_input=60_000, cache_read=240_000, output=500)


def prices(arguments: argparse.Namespace) -> int:
    """Check all listed models, show one, or fetch the list anew. Raises ConfigError, ModelNotFound, UnknownPrice, UpstreamFailed."""
    settings = load_settings(os.environ, config=arguments.config)
    catalog = load_catalog(settings)
    book = book_in_force(settings, catalog)
    if arguments.what == "check":
        return _check(book, catalog, as_json=arguments.json)
    if arguments.what == "refresh":
        return _refresh(settings, book, force=arguments.force, as_json=arguments.json)
    return _show(book, catalog, arguments.model, as_json=arguments.json)


def _check(book: PriceBook, catalog: Catalog, *, as_json: bool) -> int:
    findings = check(book, catalog.listed(), catalog.vendors, time.time_ns())
    if as_json:
        _print_json({"version": book.version, **msgspec.to_builtins(findings)})
    else:
        _print_findings(findings)
    return 1 if findings.bad else 0


def _print_findings(findings: Findings) -> None:
    for model in findings.unpriced:
        print(f"no price: {model}")
    for model, why in findings.odd:
        print(f"odd: {model}: {why}")
    for key in findings.strangers:
        print(f'not used: [prices."{key}"]: no such provider can be reached')
    for source in findings.stale:
        print(f"stale: {source}")
    for model in findings.assumed:
        print(f"assumed: {model}: not all of its rates are its vendor's word; see `tokenrouter prices show {model}`")
    print(f"{len(findings.unpriced)} listed models without a price")


def _refresh(settings: Settings, book: PriceBook, *, force: bool, as_json: bool) -> int:
    if not settings.prices_refresh_url:
        raise ConfigError("PRICES_REFRESH_URL is empty: set the address of a list of models with prices, like https://openrouter.ai/api/v1/models")
    refresh = price_refresh(settings, Prices(book), SystemClock())
    try:
        reading = asyncio.run(refresh.refresh(force=force))
    except OSError as error:
        raise ConfigError(f"the list can not be kept in {settings.data_dir}: {error}") from error
    table = reading.table
    if as_json:
        found = {"url": table.url, "version": table.version, "prices": len(table.prices), "changed": reading.moved, "left_out": reading.left_out}
        _print_json(found)
    else:
        for key, why in reading.left_out:
            print(f"not taken: {key}: {why}")
        print(f"{len(table.prices)} prices from {table.url} ({table.version}), {len(reading.moved)} of them changed")
    return 0


def _show(book: PriceBook, catalog: Catalog, asked: str, *, as_json: bool) -> int:
    model, now = catalog.resolve(asked).model, time.time_ns()
    schedule = book.schedule(model.vendor, model.name, vectors=True)
    if schedule is None:
        raise UnknownPrice.of(model.vendor, model.name)
    name = f"{model.vendor}/{model.name}"
    stack = book.stack(model.vendor, model.name)
    if as_json:
        tiers = {tier: _as_json(price) for tier in schedule.service_tiers if (price := schedule.in_tier(tier, now)) is not None}
        layers = [{"layer": layer, **_as_json(found.at(now))} for layer, found in stack]
        _print_json({"model": name, **_as_json(schedule.at(now)), "service_tiers": tiers, "times": _times(schedule), "layers": layers})
        return 0
    print(f"{name}: USD per million tokens")
    _print_price(schedule.at(now))
    for tier in schedule.service_tiers:
        if (price := schedule.in_tier(tier, now)) is not None:
            print(f"service tier {tier}")
            _print_price(price)
    if schedule.at(now).also_billed:
        print(f"billed beside tokens, and not in these amounts: {', '.join(schedule.at(now).also_billed)}")
    for line in _times(schedule):
        print(f"by time: {line}")
    print("taken from the first that knows it:")
    for layer, found in stack:
        price = found.at(now)
        print(f"  {layer}: {price.source}; version {price.version}: {_rates(price)[0]}")
    return 0


def _print_price(price: Price) -> None:
    print(f"  from {price.source}; version {price.version}")
    for line in _rates(price):
        print(f"  {line}")
    for words, usd in _examples(price):
        print(f"  {words}: USD {usd}")


def _rates(price: Price) -> list[str]:
    lines = []
    for tier in price.tiers:
        head = f"above {tier.above_input_tokens} input tokens" if tier.above_input_tokens else "all requests"
        lines.append(f"{head}: {', '.join(f'{name} {usd}' for name, usd in _named(price, tier.above_input_tokens).items())}")
    return lines


def _named(price: Price, above: int) -> dict[str, str]:
    rates = price.rates_for(above + 1)
    return {name: format_usd(getattr(rates, name)) for name in rates.__struct_fields__}


def _examples(price: Price) -> list[tuple[str, str]]:
    """What a request costs: a short one, and one above the thresholds where there are some."""
    usages = [EXAMPLE] if len(price.tiers) == 1 else [EXAMPLE, LONG_EXAMPLE]
    return [
        (f"{usage.input_total} input tokens, {usage.cache_read} of them from the cache, and {usage.output} output", format_usd(cost(usage, price)))
        for usage in usages
    ]


def _times(schedule: PriceSchedule) -> list[str]:
    """Windows of time with a price of their own."""
    return [f"{_when(window)}: {_rates(window.price)[0]}" for window in schedule.windows if len(schedule.windows) > 1]


def _when(window: PriceWindow) -> str:
    words = []
    if window.starts_ns is not None:
        words.append(f"from {datetime.fromtimestamp(window.starts_ns / 1e9, UTC):%Y-%m-%d} on")
    if window.daily_ns is not None:
        words.append("{} to {} UTC".format(*(f"{moment // 3_600_000_000_000:02d}:{moment // 60_000_000_000 % 60:02d}" for moment in window.daily_ns)))
    return ", ".join(words) or "otherwise"


def _as_json(price: Price) -> dict[str, object]:
    tiers = [{"above_input_tokens": tier.above_input_tokens, **_named(price, tier.above_input_tokens)} for tier in price.tiers]
    examples = [{"request": words, "usd": usd} for words, usd in _examples(price)]
    return {"source": price.source, "version": price.version, "tiers": tiers, "also_billed": price.also_billed, "examples": examples}


def _print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())
