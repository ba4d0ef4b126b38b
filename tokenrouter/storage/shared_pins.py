"""Pinned forms of several workers: memory over Postgres."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Final, cast

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.at_hand import NotAtHand
from tokenrouter.model.pin import KEPT_NS, RENEW_NS, PinnedForm, unpacked
from tokenrouter.storage.database import Database, Params, Step

FILES: Final = ("pins_queries.sql",)
"""Files of statements that the database must know."""

_IN_MEMORY: Final = 16_384
_UNKNOWN_NS: Final = 1_000_000_000
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "put_pin": ("tenant", "key", "digest", "expires", "now"),
    "replace_pin": ("tenant", "key", "digest", "expires"),
    "renew_pin": ("tenant", "key", "expires"),
}


class SharedPins:
    """`prefixes.pins.Pins` of one of several workers. For one event loop.

    `find` raises NotAtHand for what is not in this worker's memory, whose `fetch` brings it there; and Unavailable for a moment after the
    database could not be asked.
    """

    def __init__(self, database: Database, clock: Clock, *, in_memory: int = _IN_MEMORY) -> None:
        """`database`: one that knows the statements of `FILES`. `in_memory`: conversations for which it is not asked."""
        self._db, self._clock, self._in_memory = database, clock, in_memory
        self._away_until = 0
        self._known: OrderedDict[tuple[str, bytes], tuple[PinnedForm | None, int]] = OrderedDict()

    def find(self, tenant: str, key: bytes) -> PinnedForm | None:
        """See `Pins`. Raises NotAtHand, Unavailable."""
        known, now = self._known.get((tenant, key)), self._clock.monotonic_ns()
        if known is None or known[1] <= now:
            if self._away_until > now:
                raise Unavailable("the form of this conversation can not be looked up at the moment; try again")
            raise NotAtHand(partial(self._look, tenant, key))
        self._known.move_to_end((tenant, key))
        return known[0]

    async def write(self, tenant: str, key: bytes, form: PinnedForm, *, replace: bool = False) -> PinnedForm:
        """See `Pins`."""
        await self._change("replace_pin" if replace else "put_pin", tenant, key, form.packed())
        return await self._fetch(tenant, key) or form

    async def drop_expired(self) -> int:
        """Delete what is over; how many. Raises Unavailable."""
        now = {"now": self._clock.time_ns()}
        return sum(await self._db.change([Step("drop_expired_pins", now), Step("drop_expired_pinned_forms", now)]))

    async def _look(self, tenant: str, key: bytes) -> None:
        try:
            await self._fetch(tenant, key)
        except Unavailable:
            self._away_until = self._clock.monotonic_ns() + _UNKNOWN_NS

    async def _fetch(self, tenant: str, key: bytes) -> PinnedForm | None:
        now = self._clock.time_ns()
        rows = cast("list[tuple[bytes, int]]", await self._db.rows("get_pin", {"tenant": tenant, "key": key, "now": now}))
        form = unpacked(bytes(rows[0][0])) if rows else None
        if form is not None and rows[0][1] < now + RENEW_NS:
            await self._change("renew_pin", tenant, key, bytes(rows[0][0]))
        self._known[tenant, key] = (form, self._clock.monotonic_ns() + (_UNKNOWN_NS if form is None else RENEW_NS))
        self._known.move_to_end((tenant, key))
        while len(self._known) > self._in_memory:
            self._known.popitem(last=False)
        return form

    async def _change(self, statement: str, tenant: str, key: bytes, body: bytes) -> None:
        now = self._clock.time_ns()
        digest = hashlib.sha256(body).digest()
        pin: Params = {"tenant": tenant, "key": key, "digest": digest, "expires": now + KEPT_NS, "now": now}
        put = Step("put_pinned_form", {"tenant": tenant, "digest": digest, "body": body, "expires": now + KEPT_NS})
        await self._db.change([put, Step(statement, {name: pin[name] for name in _NEEDS[statement]})])
