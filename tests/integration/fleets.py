"""Several gateways of this process over one Redis and one Postgres, which tests stop, pause and kill; and what the books then say."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
from redis_servers import RedisServer
from rig import Rig, question, running

from tokenrouter.clock import SystemClock
from tokenrouter.errors import Unavailable
from tokenrouter.model.admission import CapState
from tokenrouter.quota.rules import Binder
from tokenrouter.storage.redis_keeper import BEATS

PATIENCE_S = 60
"""How long anything may take that is expected to happen: this machine may be busy."""
COLUMNS = ("id", "tenant", "key_id", "settled", "late", "cost", "tokens", "held", "error")


def plain(text: str = "hello", **more: Any) -> dict[str, Any]:
    """A question that nobody shares, and that can not cost much."""
    return question(text, temperature=None, **{"max_tokens": 20, **more})


async def eventually(true: Callable[[], Any], what: str = "it", *, within_s: float = PATIENCE_S) -> Any:
    """Look again and again until something is true; gives what it was. It may have to be awaited."""
    deadline = time.monotonic() + within_s
    while True:
        found = true()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {within_s} s"
        await asyncio.sleep(0.02)


class Fleet:
    """Gateways over the same two servers, without rules but those that their register has."""

    def __init__(self, folder: Path, postgres_url: str, redis: RedisServer, **environ: str) -> None:
        self.folder, self.postgres_url, self.redis = folder, postgres_url, redis
        self.environ = {"DATABASE_URL": postgres_url, "REDIS_URL": redis.url, **environ}
        self.rigs: list[Rig] = []
        self._stack = AsyncExitStack()

    async def start(self, *, folder: str = "", **environ: str) -> Rig:
        """One more gateway, over a folder of its own unless told otherwise."""
        where = self.folder / (folder or str(len(self.rigs)))
        entered = running(where, clock=SystemClock(), make_key=False, **{**self.environ, **environ})
        rig = await self._stack.enter_async_context(entered)
        rig.set(binder=Binder())
        self.rigs.append(rig)
        return rig

    async def aclose(self) -> None:
        for rig in self.rigs:
            rig.sandbox.release()
        await self._stack.aclose()

    @property
    def first(self) -> Rig:
        return self.rigs[0]

    async def new_key(self, **more: Any) -> str:
        """A key that every gateway has met."""
        key = (await self.first.gateway.keys.create(tenant=more.pop("tenant", "default"), **more))[0]
        for rig in self.rigs:
            assert await rig.gateway.keys.look_up(key) is not None
        return key

    def hold(self) -> None:
        for rig in self.rigs:
            rig.sandbox.hold()

    def release(self) -> None:
        for rig in self.rigs:
            rig.sandbox.release()

    def freeze(self, number: int) -> None:
        """A worker stands still, as far as the others can tell: it renews nothing and carries nothing."""
        stores = self.rigs[number].gateway.stores
        for part in (stores.books, stores.books.keeper, stores._carrier, stores._spool, stores._fleet):
            assert part._task is not None
            part._task.cancel()

    def thaw(self, number: int) -> None:
        """It goes on."""
        stores = self.rigs[number].gateway.stores
        stores.books.keeper._task = None
        for part in (stores.books, stores._carrier, stores._spool, stores._fleet):
            part.begin()

    def look_after_others(self, number: int) -> None:
        """The next time that a worker presumes spent what others did not renew has come."""
        self.rigs[number].services.books.keeper._rounds = BEATS - 1

    def lapse(self, number: int) -> int:
        """A minute passes for what a worker holds: it has lapsed, unless it is renewed. How much that is."""
        live = self.rigs[number].services.books._counters._holdings.known
        names = [(tenant, name) for tenant, each in live.items() for name in each.holds]
        with self.redis.admin as admin:
            return sum(admin.zadd(f"tr:{{{tenant}}}:holds", {name: 1}, xx=True, ch=True) for tenant, name in names)

    @property
    def under_way(self) -> int:
        """Calls that wait at the providers' barriers."""
        return sum(rig.sandbox.barrier.waiting_now for rig in self.rigs)

    @property
    def sent(self) -> int:
        return sum(rig.sandbox.requests.seen for rig in self.rigs)

    @property
    def billed(self) -> int:
        return sum(rig.sandbox.bill.nano_usd for rig in self.rigs)

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask Postgres, as somebody else."""
        with psycopg.connect(self.postgres_url) as connection:
            return connection.execute(statement.encode()).fetchall()

    def rows(self, where: str = "settled <> 'free'") -> list[dict[str, Any]]:
        """The ledger, oldest first."""
        found = self.select(f"SELECT {', '.join(COLUMNS)} FROM ledger WHERE {where} ORDER BY time_ns, id")
        return [dict(zip(COLUMNS, row, strict=True)) for row in found]

    def intents(self) -> set[str]:
        """Calls whose end is not in Postgres."""
        return {row[0] for row in self.select("SELECT id FROM intents")}

    async def counter(self, key: str) -> tuple[str, str]:
        """A key's tenant, and the name of its quota's counter."""
        stored = await self.first.gateway.keys.get(key.split("-")[2])
        assert stored is not None
        bound = self.first.services.binder.bind(stored.principal, "", "")
        return bound.tenant, "s" + bound.caps[0].counter

    async def state(self, key: str, rig: Rig | None = None) -> CapState:
        """What the shared counters say of a key's quota."""
        tenant, counter = await self.counter(key)
        return await (rig or self.first).services.books.cap_state(tenant, counter)

    def booked(self, key: str) -> CapState:
        """What the ledger says of it."""
        spent, presumed = self.select(
            "SELECT COALESCE(SUM(cost) FILTER (WHERE settled <> 'presumed'), 0), COALESCE(SUM(cost) FILTER (WHERE settled = 'presumed'), 0)"
            f" FROM ledger WHERE key_id = '{key.split('-')[2]}'"
        )[0]
        return CapState(int(spent), 0, int(presumed))

    async def settled(self, *, rows: int, keys: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Wait until every call has its row, nothing waits anywhere, and counters and ledger agree. Gives the rows."""

        async def agree() -> bool:
            with suppress(Unavailable):
                return all([await self.state(key) == self.booked(key) for key in keys])
            return False

        await eventually(lambda: len(self.rows()) >= rows, f"{rows} rows")
        await eventually(lambda: not self.intents(), "the end of every intent")
        await eventually(agree, "agreement of counters and ledger")
        found = self.rows()
        assert len(found) == rows
        return found
