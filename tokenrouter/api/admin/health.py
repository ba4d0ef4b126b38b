"""Health: how the stores do, what waits, and what does not work at the moment."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import TheDesk
from tokenrouter.api.admin.values import said_moment
from tokenrouter.model.rules import Unit
from tokenrouter.model.shares import BudgetLook
from tokenrouter.money import format_usd
from tokenrouter.quota.budgets import SETTINGS

router = APIRouter(prefix="/admin/health", tags=["health"])


class StoreView(BaseModel):
    """One store."""

    name: str
    ok: bool
    problem: str | None


class BudgetView(BaseModel):
    """A budget of the whole deployment in this month: decimal USD, or tokens, as `unit` says."""

    setting: str = Field(description="The setting that says its limit.")
    unit: Unit
    month: str = Field(description="Months are those of UTC.")
    sandbox: bool = Field(description="Money of the sandbox is counted apart, against the same limit.")
    limit: str | int
    spent: str | int | None = Field(description="By all workers, as this one heard within the last seconds; null: it has heard nothing yet.")
    leased: str | int | None = Field(description="Set aside: for calls under way, and in the shared mode as slices that workers have at hand.")
    left: str | int | None
    resets_at: str


class HealthView(BaseModel):
    """How this process does. Others answer for themselves."""

    status: Literal["ok", "degraded"]
    mode: str = Field(description="embedded, shared, or `stores alone` where no gateway runs behind this API.")
    draining: bool
    off: list[str] = Field(description="What does not work at the moment, and what happens instead.")
    stores: list[StoreView]
    waiting: dict[str, int] = Field(description="Rows and entries that wait to be written; in the shared mode also how many workers there are.")
    flights: int = Field(description="Calls to providers under way.")
    gates: dict[str, int] = Field(description="Requests behind each gate.")
    queued: int = Field(description="Requests that wait before a gate.")
    budgets: list[BudgetView] = Field(description="GLOBAL_MONTHLY_USD_BUDGET and GLOBAL_MONTHLY_TOKEN_BUDGET, where they are set.")
    rebuilding: list[str] = Field(
        description="Tenants whose counters are made again from the ledger: their keys with caps wait some seconds, or get 503."
    )


@router.get("")
async def show_health(desk: TheDesk) -> HealthView:
    """How this process and its stores do. 200 as long as somebody can say; /readyz is for load balancers."""
    found = desk.health()
    return HealthView(
        status="degraded" if found.off else "ok",
        mode=found.mode,
        draining=found.draining,
        off=list(found.off),
        stores=[StoreView(name=name, ok=not problem, problem=problem or None) for name, problem in found.stores.items()],
        waiting=dict(found.waiting),
        flights=found.flights,
        gates=dict(found.gates),
        queued=found.queued,
        budgets=[_budget(each) for each in found.budgets],
        rebuilding=list(found.rebuilding),
    )


def _budget(look: BudgetLook) -> BudgetView:
    def said(amount: int) -> str | int:
        return format_usd(amount) if look.unit == "usd" else amount

    known = None if look.spent is None or look.leased is None else (look.spent, look.leased)
    return BudgetView(
        setting=SETTINGS[look.unit],
        unit=look.unit,
        month=look.month,
        sandbox=look.sandbox,
        limit=said(look.limit),
        spent=None if known is None else said(known[0]),
        leased=None if known is None else said(known[1]),
        left=None if known is None else said(look.limit - sum(known)),
        resets_at=said_moment(look.ends_ms * 1_000_000),
    )
