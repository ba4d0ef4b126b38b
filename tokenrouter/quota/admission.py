"""Admission: the limits of one key, and the money it may spend, all or nothing.

A hold is the worst case that a call can cost; it is taken before anything is sent and replaced by the truth afterwards. Spent plus
held never exceeds the quota. Money that flows in the sandbox is counted apart from real money.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import QuotaExhausted, RateLimited
from tokenrouter.model.principal import Principal
from tokenrouter.money import NanoUSD, format_usd

_MINUTE_NS = 60_000_000_000


class Hold:
    """Money set aside for one call. Settled once; settling again changes nothing."""

    __slots__ = ("amount", "key_id", "sandbox", "settled")

    def __init__(self, key_id: str, amount: NanoUSD, *, sandbox: bool) -> None:
        self.key_id = key_id
        self.amount = amount
        self.sandbox = sandbox
        self.settled = False


class Balance(msgspec.Struct):
    """What a key has spent and set aside, in nano-USD."""

    spent: NanoUSD = 0
    held: NanoUSD = 0


class Admission(Protocol):
    """Lets requests in."""

    async def enter(self, principal: Principal) -> None:
        """Take one from the request bucket: for every caller, whoever pays. Raises RateLimited, having taken nothing."""
        ...

    async def hold(self, principal: Principal, amount: NanoUSD, *, sandbox: bool) -> Hold:
        """Set the worst case aside. Raises QuotaExhausted, having taken nothing."""
        ...

    def settle(self, hold: Hold, cost: NanoUSD) -> None:
        """Book the truth and let the rest go. Never refused: what was spent is spent."""
        ...

    def balance(self, key_id: str, *, sandbox: bool) -> Balance:
        """Where a key stands."""
        ...


class ProcessAdmission:
    """`Admission` in this process. `spent`: what the ledger says at start, by (key id, sandbox)."""

    def __init__(self, clock: Clock, spent: Mapping[tuple[str, bool], NanoUSD], *, rate_limits: bool = True, default_rpm: int = 0) -> None:
        self._clock = clock
        self._rate_limits = rate_limits
        self._default_rpm = default_rpm
        self._balances = {key: Balance(spent=amount) for key, amount in spent.items()}
        self._arrivals: dict[str, int] = {}

    async def enter(self, principal: Principal) -> None:
        """See `Admission`.

        A token bucket of `rpm` requests that refills evenly over a minute, kept as one number per key: the time at which it would
        be full again (the generic cell rate algorithm, ITU-T I.371). Integers only.
        """
        rpm = principal.rpm or self._default_rpm
        if not rpm or not self._rate_limits:
            return
        now, step = self._clock.monotonic_ns(), _MINUTE_NS // rpm
        full_at = max(self._arrivals.get(principal.key_id, now), now) + step
        if full_at - now > _MINUTE_NS:
            wait_ms = -(-(full_at - now - _MINUTE_NS) // 1_000_000)
            raise RateLimited(
                f"the key {principal.key_id} may make {rpm} requests per minute; next one in {wait_ms} ms",
                headers=(("retry-after", str(-(-wait_ms // 1000))), ("retry-after-ms", str(wait_ms))),
            )
        self._arrivals[principal.key_id] = full_at

    async def hold(self, principal: Principal, amount: NanoUSD, *, sandbox: bool) -> Hold:
        """See `Admission`."""
        balance = self.balance(principal.key_id, sandbox=sandbox)
        if principal.quota is not None and balance.spent + balance.held + amount > principal.quota:
            left = max(0, principal.quota - balance.spent - balance.held)
            advice = "" if left == 0 else "; a smaller max_completion_tokens makes the worst case smaller"
            raise QuotaExhausted(
                f"the key {principal.key_id} has {format_usd(left)} USD left of {format_usd(principal.quota)}, "
                f"and this request could cost up to {format_usd(amount)}{advice}",
                headers=(("x-should-retry", "false"),),
            )
        balance.held += amount
        return Hold(principal.key_id, amount, sandbox=sandbox)

    def settle(self, hold: Hold, cost: NanoUSD) -> None:
        """See `Admission`."""
        if hold.settled:
            return
        hold.settled = True
        balance = self.balance(hold.key_id, sandbox=hold.sandbox)
        balance.held -= hold.amount
        balance.spent += cost

    def balance(self, key_id: str, *, sandbox: bool) -> Balance:
        """See `Admission`."""
        return self._balances.setdefault((key_id, sandbox), Balance())
