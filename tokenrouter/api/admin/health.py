"""Health: how the stores do, what waits, and what does not work at the moment."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import TheDesk

router = APIRouter(prefix="/admin/health", tags=["health"])


class StoreView(BaseModel):
    """One store."""

    name: str
    ok: bool
    problem: str | None


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
    )
