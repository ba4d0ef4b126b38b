"""Records, entries and databases for tests of the ledger."""

from typing import Any

import msgspec
import psycopg

from tokenrouter.clock import Clock, SystemClock
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.usage import Usage
from tokenrouter.storage.ledger_entries import Entry
from tokenrouter.storage.postgres import Postgres
from tokenrouter.storage.postgres_ledger import FILES

NOW_NS = 1_700_000_000_000_000_000
TENANT = "acme"
encode = msgspec.json.encode


def record(name: str = "req_1", *, tenant: str = TENANT, cost: int = 7, settled: str = "exact", **more: Any) -> RequestRecord:
    fields = {"time_ns": NOW_NS, "key_id": "k1", "dialect": "openai-chat", "model_asked": "gpt-4.1", "vendor": "openai", "model": "gpt-4.1"}
    usage = Usage(fresh_input=100, cache_read=20, output=3)
    return RequestRecord(**{"id": name, "tenant": tenant, "cost": cost, "settled": settled, "usage": usage, "status": 200, **fields, **more})


def intended(name: str = "req_1", *, held: int = 50, tokens: int = 900, place: str = "", tenant: str = TENANT, **more: Any) -> Entry:
    said = record(name, tenant=tenant, cost=0, settled="free", usage=Usage(reported=False), status=0, **more)
    return Entry("i", name, encode(said), held, tokens, NOW_NS + 1, place)


def settlement(name: str = "req_1", *, place: str = "", held: int = 0, **more: Any) -> Entry:
    return Entry("s", name, encode(record(name, **more)), held, 0, 0, place)


def presumption(name: str = "req_1", *, held: int = 50, tokens: int = 900, bare: bool = False, **more: Any) -> Entry:
    return msgspec.structs.replace(intended(name, held=held, tokens=tokens, **more), kind="p", **({"record": b"", "held": 0} if bare else {}))


def fields_of(entry: Entry) -> dict[str, bytes | str | int]:
    """The entry as it stands in a stream."""
    return {"k": entry.kind, "id": entry.id, "h": entry.held, "t": entry.held_tokens, "a": entry.admitted_ns // 1_000_000, "r": entry.record}


def database(url: str, *files: str, clock: Clock | None = None, timeout_s: float = 10) -> Postgres:
    return Postgres(url, *(files or FILES), clock=clock or SystemClock(), timeout_s=timeout_s)


def rows(url: str, table: str, *columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    """A table, read by somebody else."""
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT {', '.join(columns) or '*'} FROM {table} WHERE {where} ORDER BY 1".encode()).fetchall()


def empty(url: str) -> None:
    """Leave nothing in the ledger."""
    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE ledger, intents, ledger_days, ledger_cuts, ledger_rejected")
