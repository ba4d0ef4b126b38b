"""Prices: what requests are booked at, where each comes from, and the operator's own."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query
from pydantic import BaseModel, Field

from tokenrouter.api.admin.desk import Actor, Desk, TheDesk, nothing_like
from tokenrouter.api.admin.pages import Cursor, Page, PageSize, page, place_of
from tokenrouter.catalog.price_overrides import check_key
from tokenrouter.money import Price, PriceSchedule, format_usd

router = APIRouter(prefix="/admin/prices", tags=["prices"])

ModelName = Annotated[str, Path(max_length=600, description="`vendor/model`; the operator's own may also be of `vendor/*`.")]
_PER_MILLION = "USD per million tokens."


class TierView(BaseModel):
    """Rates of requests with more than `above_input_tokens` input tokens, cached ones included; USD per million tokens."""

    above_input_tokens: int
    input: str
    cache_read: str
    cache_write: str
    cache_write_1h: str
    output: str


class RatesView(BaseModel):
    """The price of a model at this moment."""

    source: str = Field(description="Where the numbers come from.")
    version: str = Field(description="Stored with each ledger row that was booked at it.")
    tiers: list[TierView] = Field(description=_PER_MILLION)
    service_tiers: dict[str, list[TierView]] = Field(description="By the vendor's word for a tier of service beside its standard one.")
    also_billed: list[str] = Field(description="What the vendor bills beside these tokens, and no amount here includes.")


class PriceView(BaseModel):
    """A model's price."""

    model: str
    layer: str | None = Field(
        description="Which layer decides: file, admin, list, data, free; null: it has no price, and requests for it are refused."
    )
    price: RatesView | None
    own: dict[str, object] | None = Field(None, description="What was set through this API, as it was written.")


class LayerView(BaseModel):
    """What one layer says."""

    layer: str
    price: RatesView


class PriceShown(PriceView):
    """A model's price, and what every layer says of it."""

    layers: list[LayerView] = Field(description="The one that decides comes first.")


@router.get("")
async def list_prices(
    desk: TheDesk, vendor: Annotated[str, Query(max_length=100, description="Of this vendor only.")] = "", size: PageSize = 100, cursor: Cursor = ""
) -> Page[PriceView]:
    """Prices of the models that can be called, and the operator's own, by name."""
    place = place_of(cursor, str)
    after = str(place[0]) if place else ""
    names = {f"{maker}/{model}" for maker, model in desk.catalog.listed()} | set(desk.prices.book.layers.admin)
    wanted = sorted(name for name in names if name > after and (not vendor or name.startswith(f"{vendor}/")))[: size + 1]
    own = await _own(desk)
    return page([_view(desk, name, own) for name in wanted], [(name,) for name in wanted], size)


@router.get("/{model:path}")
async def show_price(desk: TheDesk, model: ModelName) -> PriceShown:
    """One model's price, with what every layer says of it."""
    vendor, name = check_key(model)
    own = await _own(desk)
    now, found = desk.clock.time_ns(), desk.prices.book.stack(vendor, name)
    if not found and model not in own:
        raise nothing_like("price of a model", model)
    layers = [LayerView(layer=layer, price=_rates(schedule, now)) for layer, schedule in found]
    view = _view(desk, model, own)
    return PriceShown(model=model, layer=view.layer, price=view.price, own=view.own, layers=layers)


@router.put("/{model:path}")
async def put_price(
    desk: TheDesk,
    actor: Actor,
    model: ModelName,
    override: Annotated[
        dict[str, object],
        Body(
            description='A price as in tokenrouter.toml: {"input": "3.00", "output": "15.00"}, in USD per million tokens; also `cache_read`, '
            "`cache_write`, `cache_write_1h`, `tiers`, `service_tiers`, `source`; or `times` alone, which multiplies the price below it.",
            examples=[{"input": "3.00", "output": "15.00", "cache_read": "0.30", "source": "contract 17"}],
        ),
    ],
) -> PriceShown:
    """Set the price of a model: in force here at once, in other processes within seconds. What tokenrouter.toml says of the model wins."""
    await desk.own_prices.put(model, {name: _written(value) for name, value in override.items()}, actor=actor)
    return await show_price(desk, model)


@router.delete("/{model:path}")
async def delete_price(desk: TheDesk, actor: Actor, model: ModelName) -> PriceView:
    """Go back to the price that is known without the operator's own."""
    check_key(model)
    if not await desk.own_prices.delete(model, actor=actor):
        raise nothing_like("price of your own for", model)
    return _view(desk, model, await _own(desk))


def _written(value: object) -> object:
    """Numbers as they were written: prices are quoted decimals, but for thresholds."""
    if isinstance(value, dict):
        return {name: each if name == "above_input_tokens" else _written(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_written(each) for each in value]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


async def _own(desk: Desk) -> dict[str, dict[str, object]]:
    return await desk.own_prices.written()


def _view(desk: Desk, name: str, own: dict[str, dict[str, object]]) -> PriceView:
    vendor, model = check_key(name)
    found = desk.prices.book.stack(vendor, model)
    layer, schedule = found[0] if found else (None, None)
    return PriceView(model=name, layer=layer, price=None if schedule is None else _rates(schedule, desk.clock.time_ns()), own=own.get(name))


def _rates(schedule: PriceSchedule, now_ns: int) -> RatesView:
    price = schedule.at(now_ns)
    known = {name: found for name in schedule.service_tiers if (found := schedule.in_tier(name, now_ns)) is not None}
    return RatesView(
        source=price.source,
        version=price.version,
        tiers=_tiers(price),
        service_tiers={name: _tiers(each) for name, each in known.items()},
        also_billed=list(price.also_billed),
    )


def _tiers(price: Price) -> list[TierView]:
    return [
        TierView(
            above_input_tokens=tier.above_input_tokens,
            input=format_usd(tier.rates.fresh_input),
            cache_read=format_usd(tier.rates.cache_read),
            cache_write=format_usd(tier.rates.cache_write),
            cache_write_1h=format_usd(tier.rates.cache_write_1h),
            output=format_usd(tier.rates.output),
        )
        for tier in price.tiers
    ]
