"""What one worker holds in Redis, by tenant: it renews it, and tells the server of it again should that be lost."""

from tokenrouter.storage.redis_plans import RedisHold, RedisTicket

_REGISTERED_S = 60
_MOST_REGISTERED = 100_000


class Holdings:
    """Of one tenant. `epoch`: of its counters, as it was seen last."""

    __slots__ = ("epoch", "holds", "tickets")

    def __init__(self) -> None:
        self.holds: dict[str, RedisHold] = {}
        self.tickets: dict[str, RedisTicket] = {}
        self.epoch = ""


class AllHoldings:
    """Of all tenants; one of whom nothing is held is not remembered."""

    def __init__(self) -> None:
        self.known: dict[str, Holdings] = {}
        self._registered: dict[str, float] = {}

    def add(self, tenant: str, hold: RedisHold | None, ticket: RedisTicket | None = None) -> bool:
        """Whether it is the first that is held of this tenant."""
        known = self.known.get(tenant)
        first = known is None
        if known is None:
            known = self.known[tenant] = Holdings()
        if ticket is not None:
            known.tickets[ticket.name] = ticket
        if hold is not None:
            known.holds[hold.name] = hold
        return first

    def drop_hold(self, tenant: str, name: str) -> None:
        """It is settled."""
        known = self.known.get(tenant)
        if known is not None and known.holds.pop(name, None) is not None:
            self._forget(tenant, known)

    def drop_ticket(self, tenant: str, name: str) -> None:
        """Its caller has left."""
        known = self.known.get(tenant)
        if known is not None and known.tickets.pop(name, None) is not None:
            self._forget(tenant, known)

    def see_epoch(self, tenant: str, epoch: str) -> bool:
        """Whether what is held of this tenant was lost: its counters are others than before."""
        known = self.known.get(tenant)
        if known is None or known.epoch == epoch:
            return False
        before, known.epoch = known.epoch, epoch
        return before != ""

    def is_unregistered(self, tenant: str, now_s: float) -> bool:
        """Whether the server should be told that this tenant uses the counters; then it is taken to be told."""
        if now_s < self._registered.get(tenant, 0):
            return False
        if len(self._registered) > _MOST_REGISTERED:
            self._registered.clear()
        self._registered[tenant] = now_s + _REGISTERED_S
        return True

    def _forget(self, tenant: str, known: Holdings) -> None:
        if not known.holds and not known.tickets:
            del self.known[tenant]
