"""What the admin API keeps beside the directory: the audit, to be read; answers to repeated calls; prices that were set by hand."""

from typing import cast

from tokenrouter.clock import Clock
from tokenrouter.storage.database import Database, Step, Value
from tokenrouter.storage.directory_rows import AdminReply, Audited, PriceRow

PRICES_REVISION = "prices_revision"

_PAGE = 100
_NEWEST = (1 << 63) - 1


class AdminRecords:
    """Every method raises Unavailable where the database can not be asked."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def audit(self, target: str = "", below: int = _NEWEST, most: int = _PAGE) -> list[Audited]:
        """A page of changes, the latest first, older than the one of id `below`; `target`: of this thing only, e.g. "key:abc"."""
        params: dict[str, Value] = {"below": below, "most": most}
        if target:
            rows = await self._database.rows("list_audit_of_target", {**params, "target": target})
        else:
            rows = await self._database.rows("list_audit", params)
        return [Audited(*row) for row in rows]  # type: ignore[arg-type]  # in the order of the statement's columns

    async def note(self, actor: str, action: str, target: str, before: str | None = None, after: str | None = None) -> None:
        """Write down a change that was made elsewhere (kept answers that were thrown away). `before`, `after`: JSON without secrets."""
        await self._database.change((self._audited(actor, action, target, before, after),))

    async def claim(self, key: str, body_hash: bytes) -> AdminReply | None:
        """Begin a call under an idempotency key. None: it is ours to do, and `finish` or `release` must follow.

        Else what is known of the one before, with status 0 while that one is under way.
        """
        params: dict[str, Value] = {"key": key, "body_hash": body_hash, "reply": b"", "time_ns": self._clock.time_ns()}
        claimed = await self._database.change((Step("claim_admin_call", params),))
        if claimed == [1]:
            return None
        rows = await self._database.rows("find_admin_reply", {"key": key})
        return AdminReply(*rows[0]) if rows else await self.claim(key, body_hash)  # type: ignore[arg-type]  # released in between: ours

    async def finish(self, key: str, status: int, reply: bytes) -> None:
        """Keep the answer for who repeats the call. `reply` must hold no secret: what is shown once is not kept."""
        await self._database.change((Step("finish_admin_call", {"key": key, "status": status, "reply": reply}),))

    async def release(self, key: str) -> None:
        """The call came to nothing, and may be made again."""
        await self._database.change((Step("release_admin_call", {"key": key}),))

    async def forget_replies(self, before_ns: int) -> int:
        """Delete answers older than this moment; how many."""
        return (await self._database.change((Step("forget_admin_replies", {"before_ns": before_ns}),)))[0]

    async def prices(self) -> list[PriceRow]:
        """Prices that were set by hand, by model."""
        return [PriceRow(*row) for row in await self._database.rows("list_price_overrides")]  # type: ignore[arg-type]

    async def prices_revision(self) -> str:
        """Moves on whenever one of them is changed."""
        rows = await self._database.rows("read_meta", {"name": PRICES_REVISION})
        return cast("str", rows[0][0]) if rows else ""

    async def put_price(self, name: str, body: str, *, actor: str = "") -> None:
        """Set the price of a model (`vendor/model`); `body`: JSON."""
        before = await self._price(name)
        step = Step("write_price_override", {"name": name, "body": body, "now_ns": self._clock.time_ns()}, wants=1)
        await self._change_price(step, actor, "put price", name, before, body)

    async def delete_price(self, name: str, *, actor: str = "") -> bool:
        """Go back to the price that is known without us. False: none was set."""
        before = await self._price(name)
        if before is None:
            return False
        await self._change_price(Step("delete_price_override", {"name": name}), actor, "delete price", name, before, None)
        return True

    async def _price(self, name: str) -> str | None:
        rows = await self._database.rows("find_price_override", {"name": name})
        return cast("str", rows[0][1]) if rows else None

    async def _change_price(self, step: Step, actor: str, action: str, name: str, before: str | None, after: str | None) -> None:
        audited = self._audited(actor, action, f"price:{name}", before, after)
        await self._database.change((step, audited, Step("bump_revision", {"name": PRICES_REVISION})))

    def _audited(self, actor: str, action: str, target: str, before: str | None, after: str | None) -> Step:
        fields: dict[str, Value] = {"actor": actor, "action": action, "target": target, "before": before, "after": after}
        return Step("insert_audit", {**fields, "time_ns": self._clock.time_ns()})
