"""What leaves the ledger by age: summed up by day in the same transaction, so that rows and days together always say the same."""

from collections.abc import Iterable, Mapping
from typing import Final, cast

from tokenrouter.storage.database import Database, Params, Step

DAY_NS: Final = 86_400_000_000_000
LEAST_DAYS: Final = 35
"""No row leaves that a calendar month, in any time zone, may still ask for."""

_AT_ONCE: Final = 1_000


async def retire(database: Database, now_ns: int, *, days: int, cuts: Mapping[str, Iterable[int]], most: int = _AT_ONCE) -> int:
    """Let rows go that are older than `days` (`LEAST_DAYS` at least; 0: never), whole days in UTC. How many went.

    cuts  by tenant: moments from which on some cap counts (`storage.sums.cuts`), at which sums of days are divided
    most  rows in one transaction; others write in between

    Raises Unavailable; what went until then is summed up.
    """
    if not days:
        return 0
    before_ns = (now_ns // DAY_NS - max(days, LEAST_DAYS)) * DAY_NS
    moments = [(tenant, at_ns) for tenant, several in cuts.items() for at_ns in several if at_ns < before_ns]
    if moments:
        await database.change([Step("put_cut", {"tenant": tenant, "at_ns": at_ns}) for tenant, at_ns in moments])
    gone = 0
    while last := await database.rows("last_to_retire", {"before": before_ns, "most": most}, slow=True):
        where: Params = {"at_ns": cast("int", last[0][0]), "id": cast("str", last[0][1])}
        names = ("fold_ledger", "drop_ledger") if database.inline else ("retire_ledger",)  # what is written between two statements stays out
        await database.change([Step(name, where) for name in names])
        gone += cast("int", last[0][2])
    return gone
