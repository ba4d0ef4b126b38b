"""Prices that the operator set through the admin API: kept in the database, put over the book in force, in every process within seconds."""

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from tokenrouter.catalog.price_overrides import PriceOverride, check_key, parse_override
from tokenrouter.catalog.prices import Prices
from tokenrouter.errors import InvalidRequest
from tokenrouter.storage.admin_records import AdminRecords

log = logging.getLogger("tokenrouter")


class OwnPrices:
    """See the module. Every method raises Unavailable where the database can not be asked; the prices in force stay then."""

    def __init__(self, prices: Prices, records: AdminRecords) -> None:
        self._prices, self._records = prices, records
        self._revision = ""
        self._turn = asyncio.Lock()

    async def refresh(self) -> bool:
        """Use what is there now, if anybody has changed it; whether anybody has."""
        async with self._turn:  # else an answer that was late could undo a newer one
            return await self._refresh()

    async def written(self) -> dict[str, dict[str, object]]:
        """What was set, as it was written, by "vendor/model"."""
        return {row.name: msgspec.json.decode(row.body, type=dict[str, object]) for row in await self._records.prices()}

    async def _refresh(self) -> bool:
        revision = await self._records.prices_revision()
        if revision == self._revision:
            return False
        found: dict[str, PriceOverride] = {}
        for row in await self._records.prices():
            try:
                check_key(row.name)
                found[row.name] = parse_override(msgspec.json.decode(row.body, type=dict[str, object]))
            except (InvalidRequest, msgspec.DecodeError) as error:
                log.warning("the price of %s that was set through the admin API can not be read and is not used: %s", row.name[:200], error)
        self._prices.replace(self._prices.book.with_overrides(found))
        self._revision = revision
        return True

    async def put(self, key: str, table: Mapping[str, object], *, actor: str) -> PriceOverride:
        """Set the price of "vendor/model" or "vendor/*", here at once. Raises InvalidRequest."""
        check_key(key)
        override = parse_override(table)
        await self._records.put_price(key, msgspec.json.encode(table).decode(), actor=actor)
        await self.refresh()
        return override

    async def delete(self, key: str, *, actor: str) -> bool:
        """Go back to the price that is known without it. False: none was set."""
        gone = await self._records.delete_price(key, actor=actor)
        await self.refresh()
        return gone
