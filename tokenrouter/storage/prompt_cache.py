"""What the ledger says about the providers' prompt caches: broken prefixes by cause and one by one, and conversations request by request.

Totals of tokens and savings are those of `storage.usage`.
"""

from typing import cast

import msgspec

from tokenrouter.storage.database import Database, Params
from tokenrouter.storage.usage import MOST_RECORDS, Filter, Found, filter_params, read_place, read_row


class BreakLine(msgspec.Struct, frozen=True):
    """Broken prefixes of one cause. `cost`: nano-USD that were billed again."""

    cause: str
    sandbox: bool
    requests: int
    cost: int


async def causes(database: Database, which: Filter) -> list[BreakLine]:
    """Broken prefixes by cause, the dearest first. Raises Unavailable."""
    rows = await database.rows("prompt_cache_breaks", filter_params(which), slow=True)
    return [BreakLine(cause, bool(sandbox), count, cost) for cause, sandbox, count, cost in cast("list[tuple[str, int, int, int]]", rows)]


async def breaks(database: Database, which: Filter, *, cause: str = "", after: str = "", most: int = 100) -> Found:
    """Requests whose prefix was broken, the latest first. `after`: the `next` of the page before.

    Raises Unavailable, ValueError for an `after` that is none.
    """
    until_ns, before = read_place(after) if after else (which.until_ns, "")
    most = min(most, MOST_RECORDS)
    params = {**filter_params(which), "until": min(until_ns, which.until_ns), "before": before, "cause": cause, "most": most + 1}
    rows = await database.rows("search_breaks", params, slow=True)
    return Found(tuple(read_row(row) for row in rows[:most]), f"{rows[most - 1][0]}.{rows[most - 1][1]}" if len(rows) > most else "")


async def conversation(database: Database, session: str, *, tenant: str = "", after: str = "", most: int = 100) -> Found:
    """Requests of one conversation, the earliest first. Raises Unavailable, ValueError for an `after` that is none."""
    since_ns, behind = read_place(after) if after else (0, "")
    most = min(most, MOST_RECORDS)
    params: Params = {"session": session, "tenant": tenant, "since": since_ns, "behind": behind, "most": most + 1}
    rows = await database.rows("session_rows", params, slow=True)
    return Found(tuple(read_row(row) for row in rows[:most]), f"{rows[most - 1][0]}.{rows[most - 1][1]}" if len(rows) > most else "")
