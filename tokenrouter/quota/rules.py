"""Which rules bind a caller, made once for each (key, customer, model) and remembered."""

from collections import OrderedDict

from tokenrouter.model.admission import Bound, CountedCap, CountedLimit
from tokenrouter.model.directory import Customer
from tokenrouter.model.principal import Principal
from tokenrouter.model.rules import NO_RULES, Cap, Limit, Rules, Scope

_MOST = 16_384
_Key = tuple[str, str, str]


class Binder:
    """Finds what binds a caller. `default_rpm`: requests per minute of a key that has no such limit of its own; 0: none."""

    def __init__(self, *, rate_limits: bool = True, default_rpm: int = 0) -> None:
        self._rate_limits, self._default_rpm = rate_limits, default_rpm
        self._known: OrderedDict[_Key, tuple[Principal, Customer | None, Bound]] = OrderedDict()

    def bind(self, principal: Principal, customer: str, model: str, registered: Customer | None = None) -> Bound:
        """What binds this caller who asks for `model` (`vendor/model`) on behalf of `customer` ("": nobody).

        `registered`: what is known of that customer.
        """
        key = (principal.key_id, customer, model)
        known = self._known.get(key)
        if known is not None and known[0] is principal and known[1] is registered:
            return known[2]
        bound = self._bound(principal, customer, model, NO_RULES if registered is None else registered.rules)
        self._known[key] = (principal, registered, bound)
        self._known.move_to_end(key)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return bound

    def _bound(self, principal: Principal, customer: str, model: str, own: Rules) -> Bound:
        limits: list[Limit] = [*principal.rules.limits, *own.limits] if self._rate_limits else []
        if self._rate_limits and self._default_rpm and not principal.rpm:
            limits.append(Limit(id=f"{principal.key_id}.default", scope=Scope(key=principal.key_id), metric="requests", amount=self._default_rpm))
        caps: list[Cap] = [*principal.rules.caps, *own.caps]
        counted = [
            CountedLimit(limit, f"l:{limit.id}{name}")
            for limit in limits
            if (name := limit.scope.counter(principal.key_id, customer, model)) is not None
        ]
        return Bound(
            tenant=principal.tenant,
            requests=tuple(each for each in counted if each.limit.metric == "requests"),
            tokens=tuple(each for each in counted if each.limit.metric == "tokens"),
            concurrency=tuple(each for each in counted if each.limit.metric == "concurrency"),
            caps=tuple(
                CountedCap(cap, f"c:{cap.id}{name}") for cap in caps if (name := cap.scope.counter(principal.key_id, customer, model)) is not None
            ),
            zone=principal.rules.zone,
        )
