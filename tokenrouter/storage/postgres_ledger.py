"""The shared ledger in Postgres: entries are carried into it in batches, rows are found and summed up.

Everything that is written may be written again: an id has one row, and only a presumption ever gives way, to the truth.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import cast

import msgspec
import psycopg

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.rules import Cap
from tokenrouter.storage.database import Params, Row, Step
from tokenrouter.storage.ledger_entries import EXPIRED, Batch, Entry, Rejected, fold, presumed_row
from tokenrouter.storage.ledger_row import LedgerRow, read_record
from tokenrouter.storage.postgres import Postgres
from tokenrouter.storage.postgres_pool import Connection
from tokenrouter.storage.sums import CapSum, cap_sums

FILES = ("ledger_queries.sql", "postgres/ledger_queries.sql")
"""Files of statements that the database must know."""

_NOTHING: Params = {}
_CARRY_S = 15.0
_AT_ONCE = 500
_LATE_NS = 86_400_000_000_000  # as long as Redis remembers what is presumed spent (`redis_alive.PRESUMED_MS`)
_MOST_LATE = 10_000
_encode = msgspec.json.Encoder().encode
_record = msgspec.json.Decoder(RequestRecord)


class Account(msgspec.Struct, frozen=True):
    """What the ledger says of one tenant at one moment.

    presumed  calls of the last day whose end nobody has told, and that count as spent: they may yet be settled
    settled   those of the calls asked for that have ended for certain
    """

    sums: tuple[CapSum, ...]
    presumed: tuple[str, ...]
    settled: tuple[str, ...]


class _Moment:
    """The database inside one transaction."""

    inline = False

    def __init__(self, database: Postgres, connection: Connection) -> None:
        self._database, self._connection = database, connection

    async def rows(self, name: str, params: Params = _NOTHING, *, slow: bool = False) -> list[Row]:  # noqa: ARG002  # all of it may be slow
        """See `Database`."""
        return await (await self._database.execute(self._connection, name, params)).fetchall()


class PostgresLedger:
    """The ledger of all workers. Every call raises Unavailable where Postgres can not be asked: nothing is known then of what it did."""

    def __init__(self, database: Postgres, clock: Clock) -> None:
        """`database`: one that knows the statements of `FILES`."""
        self._db, self._clock = database, clock

    @property
    def problem(self) -> str:
        """Why the last call was not answered; "" while all is well."""
        return self._db.problem

    async def find(self, request_id: str, tenant: str) -> RequestRecord | None:
        """One request of a tenant. What is still in the stream is not found here."""
        rows = await self._db.rows("find_ledger_row", {"id": request_id, "tenant": tenant})
        if not rows:
            return None
        record, settled, late, cost = rows[0]
        return read_record(cast("str", record), cast("str", settled), late=bool(late), cost=cast("int", cost))

    async def write(self, tenant: str, entries: Sequence[Entry], *, timeout_s: float = _CARRY_S) -> Batch:
        """Write entries of one tenant, all or none; what they came to. `timeout_s`: longest wait.

        An entry that Postgres refuses is set aside in `ledger_rejected`, and the others are written.
        """
        batch = fold(tenant, entries)
        try:
            await self._db.run(partial(self._write, batch), transaction=True, timeout_s=timeout_s)
        except (psycopg.DataError, psycopg.IntegrityError, ValueError) as error:  # what no column can hold is a ValueError
            if len(entries) > 1:
                return merged(tenant, [await self.write(tenant, each, timeout_s=timeout_s) for each in _by_request(entries)])
            one = entries[0]
            batch = Batch(tenant, (), (), (), (), (), (Rejected(one.place or one.id, str(error).partition("\n")[0], _encode(one)),))
            await self._db.run(partial(self._write, batch), transaction=True, timeout_s=timeout_s)
        return batch

    async def set_aside(self, tenant: str, rejected: Sequence[Rejected]) -> None:
        """Keep what can not become a row where people find it."""
        await self._db.run(partial(self._reject, tenant, rejected), transaction=True)

    async def _write(self, batch: Batch, connection: Connection) -> None:
        run, tenant = partial(self._db.execute, connection), batch.tenant
        await run("lock_tenant", {"tenant": tenant})
        rows = list(batch.rows)
        if batch.expired:
            rows += await self._presumptions(tenant, {entry.id: entry for entry in batch.expired}, connection)
        if rows:
            await run("put_ledger", {"rows": _encode(rows).decode()})
        if batch.voided:
            await run("void_presumed", {"tenant": tenant, "ids": [each.id for each in batch.voided]})  # type: ignore[dict-item]  # psycopg takes lists
            await run("put_called_off", {"voided": _encode(batch.voided).decode()})
        if batch.ended:
            await run("drop_intents", {"tenant": tenant, "ids": list(batch.ended)})  # type: ignore[dict-item]
        if batch.intents:
            await run("put_intents", {"intents": _encode(batch.intents).decode()})
        if batch.rejected:
            await self._reject(tenant, batch.rejected, connection)

    async def _presumptions(self, tenant: str, entries: dict[str, Entry], connection: Connection) -> list[LedgerRow]:
        """Rows of intents that nobody will settle; the intents are gone with them."""
        found = await self._db.execute(connection, "take_intents", {"tenant": tenant, "ids": list(entries)})  # type: ignore[dict-item]
        rows = []
        for name, time_ns, held, held_tokens, encoded in cast("list[tuple[str, int, int, int, str]]", await found.fetchall()):
            said = entries[name]
            known = Entry("p", name, b"", said.held or held, said.held_tokens or held_tokens, time_ns)
            rows.append(presumed_row(_record.decode(encoded), known, EXPIRED))
        return rows

    async def _reject(self, tenant: str, rejected: Iterable[Rejected], connection: Connection) -> None:
        now_ns = self._clock.time_ns()
        for each in rejected:
            reason = each.reason.replace("\0", "\ufffd")[:2000]
            params: Params = {"tenant": tenant, "entry": each.place, "time_ns": now_ns, "reason": reason, "fields": each.fields}
            await self._db.execute(connection, "put_rejected", params)

    async def open_intents(self, tenant: str, before_ns: int, most: int = 10_000) -> list[str]:
        """Calls that were admitted before a moment and whose end nobody has told, oldest first."""
        return [cast("str", row[0]) for row in await self._db.rows("open_intents", {"tenant": tenant, "before": before_ns, "most": most})]

    async def unended(self, before_ns: int) -> list[str]:
        """Tenants of calls that were admitted before a moment and whose end nobody has told."""
        return [cast("str", row[0]) for row in await self._db.rows("tenants_of_open_intents", {"before": before_ns})]

    async def forget_voided(self, before_ns: int) -> None:
        """What was called off before a moment is over everywhere by now."""
        await self._db.change((Step("drop_called_off", {"before": before_ns}),))

    async def presume(self, tenant: str, ids: Sequence[str]) -> int:
        """Nobody will tell the end of these calls: what was set aside for them counts as spent. How many were open."""
        for first in range(0, len(ids), _AT_ONCE):
            await self.write(tenant, [Entry("p", name) for name in ids[first : first + _AT_ONCE]])
        return len(ids)

    async def known(self, tenant: str, settled: Sequence[str], intended: Sequence[str] = ()) -> set[str]:
        """Which of these are written: rows of `settled` and `intended`, and intents of `intended`."""
        params = {"tenant": tenant, "ids": [*settled, *intended], "intents": list(intended)}
        return {cast("str", row[0]) for row in await self._db.rows("known_ids", params)}  # type: ignore[arg-type]

    async def account(self, tenant: str, caps: Iterable[Cap], zone: str, now_ns: int, *, held: Sequence[str]) -> Account:
        """Where a tenant's caps stand, all of it at one moment. `held`: ids of calls of which to say whether they are settled."""
        work = partial(self._account, tenant, caps, zone, now_ns, list(held))
        return await self._db.run(work, transaction=True, timeout_s=_CARRY_S)

    async def _account(self, tenant: str, caps: Iterable[Cap], zone: str, now_ns: int, held: list[str], connection: Connection) -> Account:
        await self._db.execute(connection, "snapshot")
        moment = _Moment(self._db, connection)
        late = await moment.rows("presumed_ids", {"tenant": tenant, "since": now_ns - _LATE_NS, "most": _MOST_LATE})
        settled = await moment.rows("settled_ids", {"tenant": tenant, "ids": held})  # type: ignore[dict-item]  # psycopg takes lists
        sums = await cap_sums(moment, tenant, caps, zone, now_ns)
        return Account(tuple(sums), tuple(cast("str", row[0]) for row in late), tuple(cast("str", row[0]) for row in settled))

    async def was_counted(self, tenant: str) -> bool:
        """Whether the tenant's counters have ever been in Redis."""
        return bool(await self._db.rows("get_counted_tenant", {"tenant": tenant}))

    async def count(self, tenant: str) -> None:
        """Remember that the tenant's counters are in Redis from here on."""
        await self._db.run(partial(self._count, tenant))

    async def _count(self, tenant: str, connection: Connection) -> None:
        await self._db.execute(connection, "put_counted_tenant", {"tenant": tenant, "now": self._clock.time_ns()})

    async def counted(self) -> list[str]:
        """Every tenant whose counters have been in Redis: those that may have a stream."""
        return [cast("str", row[0]) for row in await self._db.rows("counted_tenants")]

    async def reachable(self) -> bool:
        """Whether it answers."""
        try:
            await self._db.rows("get_counted_tenant", {"tenant": ""})
        except Unavailable:
            return False
        return True


def _by_request(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries about one request stay together, unless they are all there is: then each goes alone, and only the bad one is set aside."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.id, []).append(entry)
    return list(groups.values()) if len(groups) > 1 else [[entry] for entry in entries]


def merged(tenant: str, batches: Sequence[Batch]) -> Batch:
    """What several batches of a tenant came to."""
    return Batch(
        tenant,
        tuple(row for batch in batches for row in batch.rows),
        tuple(name for batch in batches for name in batch.ended),
        tuple(each for batch in batches for each in batch.voided),
        tuple(entry for batch in batches for entry in batch.expired),
        tuple(intent for batch in batches for intent in batch.intents),
        tuple(each for batch in batches for each in batch.rejected),
    )
