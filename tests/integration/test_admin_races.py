"""The admin API while somebody else changes the same thing, in this process or another: nothing that was said is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from admin_desk import Office
from directories import *  # noqa: F403  # fixtures
from directories import Opened, Watched

from tokenrouter.clock import ManualClock
from tokenrouter.storage.database import Params, Row

T = "/admin/tenants"
ACME = f"{T}/acme"


class Racing(Watched):
    """A database behind which somebody is faster: what `meanwhile` says happens right after a statement was answered, once."""

    meanwhile: dict[str, Callable[[], Awaitable[object]]]

    async def rows(self, name: str, params: Params = {}, *, slow: bool = False) -> list[Row]:  # noqa: B006
        found = await super().rows(name, params, slow=slow)
        if (then := self.meanwhile.pop(name, None)) is not None:
            await then()
        return found


@pytest.fixture
def offices(open_again: Opened, clock: ManualClock) -> tuple[Office, Office]:
    """Two, over one database; of the first one somebody can be faster."""
    slow = Racing(open_again())
    slow.meanwhile = {}
    return Office(slow, clock), Office(Watched(open_again()), clock)


def interrupted(office: Office, by: Callable[[], Awaitable[object]], after: str = "find_tenant") -> None:
    assert isinstance(office.database, Racing)
    office.database.meanwhile[after] = by


def whole(shown: dict[str, object]) -> dict[str, object]:
    """A tenant in the audit, where what is as usual may be left out."""
    return {"zone": "UTC", "disabled": False, "customer_field": False, **shown}


async def test_two_who_change_different_things_of_a_tenant_both_have_their_way(offices: tuple[Office, Office]):
    slow, fast = offices
    await fast.made(T, {"name": "acme"})
    interrupted(slow, lambda: fast.ask("PATCH", ACME, {"disabled": True}))
    assert (await slow.ask("PATCH", ACME, {"zone": "Europe/Berlin"})).status == 200
    tenant = (await fast.ask("GET", ACME)).json
    assert (tenant["zone"], tenant["disabled"]) == ("Europe/Berlin", True)
    shown = [[whole(row[when])["disabled"] for when in ("before", "after")] for row in (await fast.all("/admin/audit"))[:2]]
    assert shown == [[True, True], [False, True]], "and the audit says what each of them changed"


async def test_a_tenant_is_made_once(offices: tuple[Office, Office]):
    slow, fast = offices
    interrupted(slow, lambda: fast.made(T, {"name": "acme", "zone": "Europe/Berlin"}))
    late = await slow.ask("POST", T, {"name": "acme", "zone": "Asia/Tokyo"})
    assert late.status == 409
    assert (await fast.ask("GET", ACME)).json["zone"] == "Europe/Berlin"
    assert len([row for row in await fast.audited() if row[2] == "tenant:acme"]) == 1


async def test_two_who_change_different_things_of_a_customer_both_have_their_way(offices: tuple[Office, Office]):
    slow, fast = offices
    await fast.made(T, {"name": "acme"})
    await fast.made(f"{ACME}/customers", {"id": "bob"})
    interrupted(slow, lambda: fast.ask("PATCH", f"{ACME}/customers/bob", {"disabled": True}), after="find_customer")
    assert (await slow.ask("PATCH", f"{ACME}/customers/bob", {"name": "Bob"})).status == 200
    customer = (await fast.ask("GET", f"{ACME}/customers/bob")).json
    assert (customer["name"], customer["disabled"]) == ("Bob", True)


async def test_a_customer_is_registered_once(offices: tuple[Office, Office]):
    slow, fast = offices
    await fast.made(T, {"name": "acme"})
    interrupted(slow, lambda: fast.made(f"{ACME}/customers", {"id": "bob", "name": "first"}), after="find_customer")
    assert (await slow.ask("POST", f"{ACME}/customers", {"id": "bob", "name": "second", "daily_usd": "1"})).status == 409
    customer = (await fast.ask("GET", f"{ACME}/customers/bob")).json
    assert (customer["name"], customer["daily_usd"]) == ("first", None)


async def test_a_customer_that_is_forgotten_meanwhile_does_not_come_back(offices: tuple[Office, Office]):
    slow, fast = offices
    await fast.made(T, {"name": "acme"})
    await fast.made(f"{ACME}/customers", {"id": "bob"})
    interrupted(slow, lambda: fast.ask("DELETE", f"{ACME}/customers/bob"), after="find_customer")
    assert (await slow.ask("PATCH", f"{ACME}/customers/bob", {"name": "Bob"})).status == 404
    assert (await fast.ask("GET", f"{ACME}/customers/bob")).status == 404


async def test_many_who_change_one_tenant_at_a_time(offices: tuple[Office, Office]):
    """Each change that was answered with 200 is in the audit, and was made to what the one before it had left."""
    one, other = offices
    await one.made(T, {"name": "acme"})
    changes = [{"disabled": bool(number % 2)} if number % 3 else {"zone": "Asia/Tokyo", "customer_field": True} for number in range(10)]
    answers = await asyncio.gather(*((one, other)[number % 2].ask("PATCH", ACME, said) for number, said in enumerate(changes)))
    assert {answer.status for answer in answers} <= {200, 503}
    audit = [row for row in await one.all("/admin/audit") if row["target"] == "tenant:acme"]
    assert len(audit) == 1 + sum(answer.status == 200 for answer in answers)
    for later, earlier in pairwise(audit):
        assert whole(later["before"]) == whole(earlier["after"])
