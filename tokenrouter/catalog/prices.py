"""What requests are held and booked at: layers of prices, of which the first that knows a model decides.

    file        the operator's own, `[prices."vendor/model"]` in tokenrouter.toml
    admin       the operator's own, through the admin API
    list        what a host's list of models said when it was last fetched (`price_list`)
    data        the installed data set (`price_snapshot`) under our corrections of it (`price_corrections`)
    free        hosts that never bill anything
A model that no layer knows has no price, which never means that it is free.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Self

import msgspec

from tokenrouter.catalog.price_corrections import Corrections, load_corrections
from tokenrouter.catalog.price_list import PriceTable
from tokenrouter.catalog.price_overrides import PriceOverride, check_key, multiplied, parse_override
from tokenrouter.catalog.price_snapshot import REMEMBERED_NAMES, Snapshot
from tokenrouter.errors import ConfigError, InvalidRequest
from tokenrouter.money import Price, PriceSchedule

__all__ = ("Layers", "PriceBook", "PriceOverride", "Prices", "parse_override")

_FREE = PriceOverride(input="0", output="0", source="free of charge")


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """What a book is made of. Overrides are keyed "vendor/model" or "vendor/*".

    provider_ids  what the data set calls a vendor of ours, where that is another name ({"gemini": "google"}); "" is none. A vendor that it
                  does not know has overrides only
    free          vendors that bill nothing
    """

    file: Mapping[str, PriceOverride] = {}
    admin: Mapping[str, PriceOverride] = {}
    table: PriceTable | None = None
    corrections: Corrections = Corrections()
    provider_ids: Mapping[str, str] = {}
    free: frozenset[str] = frozenset()


class PriceBook:
    """Every price the gateway knows. Never changes: other prices make another book, which shares what was compiled.

    Models are matched as the data set does (dated and differently spelled names included), but never through another vendor's rows, unless
    the catalog says so: nobody is priced as OpenAI behind anybody's back.

    Memory is bounded whatever names come in.
    """

    def __init__(self, snapshot: Snapshot, layers: Layers) -> None:
        self._snapshot, self._layers = snapshot, layers
        self._corrected: dict[tuple[str, str, bool], PriceSchedule | None] = {}
        self._find = lru_cache(maxsize=REMEMBERED_NAMES)(self._look_up)

    @classmethod
    def load(cls, overrides: Mapping[str, PriceOverride] | None = None, provider_ids: Mapping[str, str] | None = None) -> Self:
        """The installed data set and its corrections, under `overrides`. Raises ConfigError. Takes 0.2 s: not for the event loop."""
        return cls.made_of(Layers(file=overrides or {}, provider_ids=provider_ids or {}, corrections=load_corrections()))

    @classmethod
    def made_of(cls, layers: Layers) -> Self:
        """The installed data set and these layers over it.

        Raises ConfigError for a key of another form than "vendor/model". Takes 0.2 s: not for the event loop.
        """
        for key in layers.file:
            try:
                check_key(key)
            except InvalidRequest as error:
                raise ConfigError(f'[prices."{key[:80]}"]: {error.message}') from error
        return cls(Snapshot.installed(), layers)

    def with_overrides(self, admin: Mapping[str, PriceOverride]) -> "PriceBook":
        """The same prices under other overrides of the admin API. Raises InvalidRequest for a key that is not "vendor/model" or "vendor/*"."""
        for key in admin:
            check_key(key)
        return PriceBook(self._snapshot, msgspec.structs.replace(self._layers, admin=dict(admin)))

    def with_table(self, table: PriceTable | None) -> "PriceBook":
        """The same prices with another list of a host's."""
        return PriceBook(self._snapshot, msgspec.structs.replace(self._layers, table=table))

    @property
    def version(self) -> str:
        """Of the data set, and of the list where there is one."""
        table = self._layers.table
        return self._snapshot.version if table is None else f"{self._snapshot.version}+{table.version}"

    @property
    def layers(self) -> Layers:
        """What it is made of."""
        return self._layers

    def schedule(self, vendor: str, model: str, *, vectors: bool = False) -> PriceSchedule | None:
        """The prices of `model` at `vendor`; None where they are not known, which never means free.

        `vectors`: it is asked for embeddings, so that a price of input is enough.

        Less than 1 µs when asked before, about 1 ms at the first time.
        """
        return self._find(vendor, model, vectors)

    def stack(self, vendor: str, model: str) -> list[tuple[str, PriceSchedule]]:
        """The price of each layer that knows a model, the one that is used first: (layer, prices)."""
        found: dict[int, tuple[str, PriceSchedule]] = {}
        for depth, name in enumerate(("file", "admin", "list", "data", "free")):
            schedule = self._from(depth, vendor, model, vectors=True)
            below = self._from(depth + 1, vendor, model, vectors=True)
            if schedule is not None and schedule != below:
                found[depth] = (name, schedule)
        return list(found.values())

    def unpriced(self, models: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of `models`, each (vendor, model), that have no price: to be refused at start-up, not met at settlement."""
        return [(vendor, model) for vendor, model in models if self.schedule(vendor, model, vectors=True) is None]

    def listed(self, key: str, time_ns: int) -> Price | None:
        """The price of "vendor/model" at a time, without anybody's overrides: what a fresh list is compared with."""
        vendor, _, model = key.partition("/")
        schedule = self._from(2, vendor, model, vectors=True)
        return None if schedule is None else schedule.at(time_ns)

    def _look_up(self, vendor: str, model: str, vectors: bool) -> PriceSchedule | None:
        return self._from(0, vendor, model, vectors=vectors)

    def _from(self, depth: int, vendor: str, model: str, *, vectors: bool) -> PriceSchedule | None:
        """What the layers from `depth` down know."""
        layers = self._layers
        if depth < 2:
            overrides = (layers.file, layers.admin)[depth]
            found = overrides.get(f"{vendor}/{model}") or overrides.get(f"{vendor}/*")
            if found is None:
                return self._from(depth + 1, vendor, model, vectors=vectors)
            if found.times is None:
                return found.schedule()
            below = self._from(depth + 1, vendor, model, vectors=vectors)
            return None if below is None else multiplied(below, found)
        if depth == 2:
            below = self._from(3, vendor, model, vectors=vectors)
            told = None if layers.table is None else layers.table.schedule(f"{vendor}/{model}", below)
            return below if told is None else told
        if depth == 3:
            known = self._of_data(vendor, model, vectors=vectors)
            return self._from(4, vendor, model, vectors=vectors) if known is None else known
        return _FREE.schedule() if depth == 4 and vendor in layers.free else None

    def _of_data(self, vendor: str, model: str, *, vectors: bool) -> PriceSchedule | None:
        layers = self._layers
        name, found = self._snapshot.schedule(layers.provider_ids.get(vendor, vendor), model, vectors=vectors)
        if found is None:
            return layers.corrections.over(vendor, name or model, None)
        key = (vendor, name, vectors)
        if key not in self._corrected:
            self._corrected[key] = layers.corrections.over(vendor, name, found)
        return self._corrected[key]


class Prices:
    """The book in force. It may be replaced while requests are served: each request goes by the one that it found."""

    def __init__(self, book: PriceBook) -> None:
        self.book = book

    def replace(self, book: PriceBook) -> None:
        """From now on, these prices. Whoever changes one layer makes the new book of `self.book`, without awaiting in between."""
        self.book = book

    def schedule(self, vendor: str, model: str, *, vectors: bool = False) -> PriceSchedule | None:
        """See `PriceBook.schedule`."""
        return self.book.schedule(vendor, model, vectors=vectors)
