"""The bill: one line per request that reached a simulated vendor. It is what an accounting test compares the gateway's books with.

complete    the answer was sent to its end: all of it is charged
cancelled   the client hung up: the input and what had been produced are charged
failed      refused or broken by the vendor: charged only for what was produced before a stream broke
"""

from collections import deque
from typing import Literal

import msgspec

from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.tiers import priced

_MOST_ACCOUNTS = 100_000
Status = Literal["complete", "cancelled", "failed"]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one request costs. `http_status` is 0 when no answer had begun."""

    vendor: str
    account: str
    model: str
    tier: str
    request_id: str
    status: Status
    http_status: int
    tokens: Tokens
    nano_usd: int
    started_ns: int


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of an account's lines."""

    requests: int = 0
    tokens: Tokens = Tokens()
    nano_usd: int = 0


class Bill:
    """Lines, the newest `max_lines` of them, and totals over all that ever were."""

    __slots__ = ("_lines", "_totals")

    def __init__(self, max_lines: int = 100_000) -> None:
        self._lines: deque[Line] = deque(maxlen=max_lines)
        self._totals: dict[str, Total] = {}

    @property
    def lines(self) -> tuple[Line, ...]:
        """Oldest first."""
        return tuple(self._lines)

    @property
    def nano_usd(self) -> int:
        """All accounts together."""
        return sum(total.nano_usd for total in self._totals.values())

    @property
    def totals(self) -> dict[str, Total]:
        """Per account."""
        return dict(self._totals)

    def total(self, account: str) -> Total:
        """The sum of one account, zero if it never called."""
        return self._totals.get(account, Total())

    def charge(
        self,
        *,
        vendor: str,
        account: str,
        model: str,
        request_id: str,
        status: Status,
        http_status: int,
        tokens: Tokens,
        started_ns: int,
        tier: str = "",
    ) -> Line:
        """Write one line. Tokens of a model without a price are an error: nothing is free by accident."""
        nano_usd = priced(model, tier).cost(tokens) if tokens != Tokens() else 0
        line = Line(
            vendor=vendor,
            account=account,
            model=model,
            tier=tier,
            request_id=request_id,
            status=status,
            http_status=http_status,
            tokens=tokens,
            nano_usd=nano_usd,
            started_ns=started_ns,
        )
        self._lines.append(line)
        old = self._totals.get(account, Total())
        if not old.requests and len(self._totals) >= _MOST_ACCOUNTS:
            del self._totals[next(iter(self._totals))]
        self._totals[account] = Total(requests=old.requests + 1, tokens=_sum(old.tokens, tokens), nano_usd=old.nano_usd + nano_usd)
        return line

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self._totals.clear()


def _sum(a: Tokens, b: Tokens) -> Tokens:
    return Tokens(
        input=a.input + b.input,
        cache_read=a.cache_read + b.cache_read,
        cache_write_5m=a.cache_write_5m + b.cache_write_5m,
        cache_write_30m=a.cache_write_30m + b.cache_write_30m,
        cache_write_1h=a.cache_write_1h + b.cache_write_1h,
        output=a.output + b.output,
    )
