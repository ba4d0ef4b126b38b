"""Pinned forms of one process, in pins.db: memory over disk. A write is one commit that does not wait for the disk: it survives the process."""

import hashlib
import sqlite3
from collections import OrderedDict
from pathlib import Path

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.pin import KEPT_NS, RENEW_NS, PinnedForm, unpacked
from tokenrouter.sql import read_queries
from tokenrouter.storage.sqlite import open_sqlite

_IN_MEMORY = 4_096
_SWEEP_EVERY = 10_000


class EmbeddedPins:
    """`prefixes.pins.Pins` that survive a restart."""

    def __init__(self, folder: Path, clock: Clock, *, in_memory: int = _IN_MEMORY, sweep_every: int = _SWEEP_EVERY) -> None:
        """`in_memory`: conversations for which the disk is not asked. `sweep_every`: writes between two looks for what is over.

        Raises ConfigError.
        """
        self._clock, self._in_memory, self._sweep_every = clock, in_memory, sweep_every
        self._sql = read_queries("pins_queries.sql")
        self._connection = open_sqlite(folder / "pins.db", "pins_schema.sql", synchronous="NORMAL")
        self._known: OrderedDict[tuple[str, bytes], tuple[PinnedForm, int]] = OrderedDict()
        self._writes = 0

    def find(self, tenant: str, key: bytes) -> PinnedForm | None:
        """See `Pins`. What can not be read is not known."""
        now, known = self._clock.time_ns(), self._known.get((tenant, key))
        if known is not None and known[1] > now + RENEW_NS:
            self._known.move_to_end((tenant, key))
            return known[0]
        try:
            row = self._connection.execute(self._sql["get_pin"], {"tenant": tenant, "key": key, "now": now}).fetchone()
            if row is None:
                return None
            form, expires = unpacked(row[0]), row[1]
            if expires < now + RENEW_NS:
                expires = now + KEPT_NS
                self._change("renew_pin", tenant, key, row[0], expires)
        except sqlite3.Error:
            return None
        self._remember(tenant, key, form, expires)
        return form

    async def write(self, tenant: str, key: bytes, form: PinnedForm, *, replace: bool = False) -> PinnedForm:
        """See `Pins`."""
        try:
            self._change("replace_pin" if replace else "put_pin", tenant, key, form.packed(), self._clock.time_ns() + KEPT_NS)
        except sqlite3.Error as error:
            raise Unavailable("the form of this conversation can not be written down; try again") from error
        self._known.pop((tenant, key), None)
        return self.find(tenant, key) or form

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _change(self, statement: str, tenant: str, key: bytes, body: bytes, expires: int) -> None:
        now, run = self._clock.time_ns(), self._connection.execute
        digest = hashlib.sha256(body).digest()
        run("BEGIN IMMEDIATE")
        try:
            run(self._sql["put_pinned_form"], {"tenant": tenant, "digest": digest, "body": body, "expires": expires})
            run(self._sql[statement], {"tenant": tenant, "key": key, "digest": digest, "expires": expires, "now": now})
            self._writes += 1
            if self._writes % self._sweep_every == 0:
                run(self._sql["drop_expired_pins"], {"now": now})
                run(self._sql["drop_expired_pinned_forms"], {"now": now})
            run("COMMIT")
        finally:
            if self._connection.in_transaction:
                run("ROLLBACK")

    def _remember(self, tenant: str, key: bytes, form: PinnedForm, expires: int) -> None:
        self._known[tenant, key] = (form, expires)
        self._known.move_to_end((tenant, key))
        while len(self._known) > self._in_memory:
            self._known.popitem(last=False)
