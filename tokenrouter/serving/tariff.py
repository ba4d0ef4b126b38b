"""What a call may be billed at: known before it is sent, by the tier of service that it asks for; and after it, by the tier that answered."""

import msgspec

from tokenrouter.adapters.base import Dialect
from tokenrouter.errors import UnsupportedField
from tokenrouter.model.catalog import Target
from tokenrouter.model.usage import Usage
from tokenrouter.money import NanoUSD, Price, PriceSchedule, UnknownPrice, cost, most_output, worst_case
from tokenrouter.serving.services import Services

_ACCOUNT_DECIDES = frozenset(("", "auto"))
_STANDARD = frozenset(("default", "standard", "on_demand"))
"""Words for the tier that a price without a tier is about, as requests and answers have them."""


class Tariff(msgspec.Struct, frozen=True):
    """Prices of one call.

    price     in the tier that it asks for
    others    in tiers that may answer instead: vendors serve at the standard tier what the one asked for has no room for
    schedule  where the price of a tier that answered unexpectedly is looked up
    """

    price: Price
    others: tuple[Price, ...]
    schedule: PriceSchedule
    time_ns: int

    def worst(self, input_tokens: int, output_tokens: int) -> NanoUSD:
        """What so many tokens can cost at most, in whichever tier. See `worst_case`."""
        dearest = worst_case(input_tokens, output_tokens, self.price)
        for other in self.others:
            dearest = max(dearest, worst_case(input_tokens, output_tokens, other))
        return dearest

    def most_output(self, input_tokens: int, amount: NanoUSD) -> int:
        """How many output tokens `amount` covers, in whichever tier. See `money.most_output`."""
        return min(most_output(input_tokens, amount, price) for price in (self.price, *self.others))

    def billed(self, usage: Usage) -> Price:
        """The price of what was answered: in the tier that the vendor says; where it does not say, the dearest that it may have been.

        A tier without a known price is booked likewise, and marked in the version ("0.2.3?priority").
        """
        tier = usage.service_tier
        if tier in _STANDARD:
            return self.schedule.at(self.time_ns)
        known = self.schedule.in_tier(tier, self.time_ns) if tier else None
        if known is not None:
            return known
        dearest = max((self.price, *self.others), key=lambda price: cost(usage, price)) if self.others else self.price
        return msgspec.structs.replace(dearest, version=f"{dearest.version}?{tier}") if tier else dearest


def tariff_of(services: Services, target: Target, service_tier: str, dialect: Dialect) -> Tariff:
    """The prices of a call.

    Raises:
        UnknownPrice, UnsupportedField: the model has no known price, or not in the tier that is asked for.
    """
    model, now = target.model, services.clock.time_ns()
    schedule = services.prices.schedule(model.vendor, model.name, vectors=dialect.operation == "embed")
    if schedule is None:
        raise UnknownPrice.of(model.vendor, model.name)
    standard = schedule.at(now)
    if service_tier in _ACCOUNT_DECIDES:
        by_account = {deployment.auto_tier for deployment in target.deployments if deployment.auto_tier}
        others = [price for tier in sorted(by_account) if (price := schedule.in_tier(tier, now)) is not None]
        return Tariff(standard, tuple(others), schedule, now)
    if service_tier in _STANDARD:
        return Tariff(standard, (), schedule, now)
    price = schedule.in_tier(service_tier, now)
    if price is None:
        name = dialect.field_names.get(f"service_tier:{service_tier}") or dialect.field_names.get("service_tier", "service_tier")
        shown, key = service_tier[:40], f"{model.vendor}/{model.name}"[:200]
        raise UnsupportedField(
            f"{name} {shown!r} has a price of its own, which is not known here for {key!r}: leave it out, "
            f'or add service_tiers.{shown} to [prices."{key}"]',
            param=name,
        )
    return Tariff(price, (standard,), schedule, now)
