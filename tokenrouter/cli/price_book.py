"""The prices that the deployment of this machine uses, for commands: those set through the admin API are in its database."""

import asyncio
import sys

from tokenrouter.catalog.loader import Catalog
from tokenrouter.catalog.prices import PriceBook, Prices
from tokenrouter.clock import SystemClock
from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.settings import Settings
from tokenrouter.storage.admin_records import AdminRecords
from tokenrouter.upstream.own_prices import OwnPrices
from tokenrouter.wiring import load_prices
from tokenrouter.wiring.stores import open_database


def book_in_force(settings: Settings, catalog: Catalog) -> PriceBook:
    """The price book. Where the database can not be asked, that is said on standard error, and the book is what is known without it.

    Raises ConfigError naming a table of tokenrouter.toml.
    """
    prices = Prices(load_prices(settings, catalog))
    if settings.database_url or (settings.data_dir / "state.db").exists():
        try:
            asyncio.run(_add_own(settings, prices))
        except ConfigError as error:
            print(f"without prices that were set through the admin API: {error}", file=sys.stderr)
    return prices.book


async def _add_own(settings: Settings, prices: Prices) -> None:
    """Raises ConfigError."""
    clock = SystemClock()
    database = open_database(settings, clock, "directory_queries.sql")
    try:
        await OwnPrices(prices, AdminRecords(database, clock)).refresh()
    except Unavailable as error:
        raise ConfigError(f"{error.message} ({database.problem})") from error
    finally:
        await database.aclose()
