"""The admin API of a running gateway: its services as a desk, and its admin key at the gate."""

from collections.abc import Mapping

from tokenrouter.api.admin.desk import Desk, Health
from tokenrouter.api.auth import is_admin
from tokenrouter.errors import Unauthenticated, Unavailable
from tokenrouter.quota.rules import Binder
from tokenrouter.wiring import Gateway

_FROM_ENVIRONMENT, _MINTED = "ADMIN_API_KEY", "minted admin key"


def who_asks(headers: Mapping[str, str], gateway: Gateway | None) -> str:
    """The name of the admin credential that was presented. `gateway`: None while it is starting. Raises Unauthenticated, Unavailable."""
    if gateway is None:
        raise Unavailable("starting")
    configured = gateway.settings.admin_api_key.reveal()
    if not is_admin(headers, gateway.keys, configured):
        raise Unauthenticated("the admin API wants the admin key: `Authorization: Bearer …`")
    return _FROM_ENVIRONMENT if configured else _MINTED


def desk_of(gateway: Gateway) -> Desk:
    """What the admin API works with here."""
    services, settings = gateway.services, gateway.settings

    def health() -> Health:
        return Health(
            mode="shared" if settings.database_url else "embedded",
            draining=gateway.draining,
            off=tuple(gateway.problems),
            stores=gateway.stores.states,
            waiting={name.removeprefix("tokenrouter_"): int(read()) for name, (_, read) in gateway.stores.gauges().items()},
            flights=services.flights.under_way,
            gates={name: int(used) for (name,), used in services.gates.under_way().items()},
            queued=services.gates.queued,
            budgets=services.budgets.looks(),
            rebuilding=gateway.stores.rebuilding,
        )

    return Desk(
        clock=services.clock,
        directory=gateway.keys,
        records=gateway.records,
        books=services.books,
        binder=Binder(rate_limits=settings.rate_limit_enabled, default_rpm=settings.rate_limit_rpm),
        catalog=services.catalog,
        prices=services.prices,
        own_prices=gateway.own_prices,
        ledger=gateway.stores.database,
        written=gateway.stores.written,
        answers=services.answers,
        slots=services.prompts.slots_of,
        break_details=services.prompts.break_details,
        health=health,
    )
