"""The price book of a deployment, and what fetches prices anew."""

from tokenrouter.catalog.loader import Catalog, load_catalog
from tokenrouter.catalog.price_corrections import load_corrections
from tokenrouter.catalog.prices import Layers, PriceBook, PriceOverride, Prices, parse_override
from tokenrouter.clock import Clock
from tokenrouter.errors import ConfigError, InvalidRequest
from tokenrouter.settings import Settings
from tokenrouter.storage.price_file import PriceFile
from tokenrouter.upstream.price_refresh import PriceRefresh, kept_table


def price_refresh(settings: Settings, prices: Prices, clock: Clock) -> PriceRefresh:
    """What fetches prices anew. It does nothing where no address is set."""
    return PriceRefresh(
        prices,
        PriceFile(settings.data_dir),
        clock,
        url=settings.prices_refresh_url,
        vendor=settings.prices_refresh_vendor,
        interval_s=settings.prices_refresh_interval,
    )


def load_prices(settings: Settings, catalog: Catalog) -> PriceBook:
    """The price book: the operator's own prices, the list that was fetched last, our corrections, the installed data.

    Raises ConfigError naming the table.
    """
    overrides: dict[str, PriceOverride] = {}
    for key, table in settings.prices.items():
        try:
            overrides[key] = parse_override(table)
        except InvalidRequest as error:
            raise ConfigError(f'[prices."{key}"]: {error.message}') from error
    sources = {vendor: catalog.price_source(vendor) for vendor in catalog.vendors}
    layers = Layers(
        file=overrides,
        table=kept_table(PriceFile(settings.data_dir), settings.prices_refresh_url),
        corrections=load_corrections(),
        provider_ids={vendor: source for vendor, source in sources.items() if source not in ("", "free")},
        free=frozenset(vendor for vendor, source in sources.items() if source == "free"),
    )
    return PriceBook.made_of(layers)


def unpriced(settings: Settings) -> list[str]:
    """Listed models without a price, as `vendor/model`: they will be refused. Raises ConfigError."""
    catalog = load_catalog(settings)
    return [f"{vendor}/{model}" for vendor, model in load_prices(settings, catalog).unpriced(catalog.listed())]
