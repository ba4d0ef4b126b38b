"""`tokenrouter prices`: what requests are booked at."""

import argparse
import os
import time

from tokenrouter.catalog.loader import load_catalog
from tokenrouter.money import UnknownPrice, format_usd
from tokenrouter.settings import load_settings
from tokenrouter.wiring import load_prices, unpriced


def prices(arguments: argparse.Namespace) -> int:
    """Check all listed models, or show one. Raises ConfigError, ModelNotFound, UnknownPrice."""
    settings = load_settings(os.environ, config=arguments.config)
    if arguments.what == "check":
        missing = unpriced(settings)
        for model in missing:
            print(f"no price: {model}")
        print(f"{len(missing)} listed models without a price")
        return 1 if missing else 0
    catalog = load_catalog(settings)
    target = catalog.resolve(arguments.model)
    schedule = load_prices(settings, catalog).schedule(target.model.vendor, target.model.name)
    if schedule is None:
        raise UnknownPrice.of(target.model.vendor, target.model.name)
    price = schedule.at(time.time_ns())
    print(f"{target.model.vendor}/{target.model.name}: USD per million tokens, {price.source}")
    for tier in price.tiers:
        head = f"above {tier.above_input_tokens} input tokens" if tier.above_input_tokens else "all requests"
        rates = ", ".join(f"{name} {format_usd(getattr(tier.rates, name))}" for name in tier.rates.__struct_fields__)
        print(f"  {head}: {rates}")
    if price.also_billed:
        print(f"  not included: {', '.join(price.also_billed)}")
    return 0
