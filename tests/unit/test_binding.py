"""What binds a caller: scopes, counters' names, and the memory of both."""

import itertools

import pytest

from tokenrouter.model.admission import Bound
from tokenrouter.model.directory import Customer
from tokenrouter.model.principal import Principal
from tokenrouter.model.rules import EACH, Cap, Limit, Rules, Scope
from tokenrouter.quota.rules import Binder

MODEL = "openai/gpt-4.1"


def caller(*rules: Limit | Cap, key: str = "k1", zone: str = "UTC", rpm: int = 0) -> Principal:
    limits = tuple(rule for rule in rules if isinstance(rule, Limit))
    caps = tuple(rule for rule in rules if isinstance(rule, Cap))
    return Principal(key_id=key, tenant="acme", rpm=rpm, rules=Rules(limits=limits, caps=caps, zone=zone))


def counters(bound: Bound) -> list[str]:
    return [each.counter for each in (*bound.requests, *bound.concurrency, *bound.tokens, *bound.caps)]


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        (Scope(), ""),
        (Scope(key="k1"), ""),
        (Scope(key="k2"), None),
        (Scope(key=EACH), ":k=k1"),
        (Scope(customer="c1"), ""),
        (Scope(customer="c2"), None),
        (Scope(customer=EACH), ":c=c1"),
        (Scope(model=MODEL), ""),
        (Scope(model="openai/gpt-4o"), None),
        (Scope(model=EACH), f":m={MODEL}"),
        (Scope(key=EACH, customer=EACH, model=EACH), f":k=k1:c=c1:m={MODEL}"),
        (Scope(key=EACH, customer="c2", model=EACH), None),
        (Scope(key="k1", model=EACH), f":m={MODEL}"),
    ],
)
def test_a_scope_names_its_counters(scope: Scope, name: str | None):
    assert scope.counter("k1", "c1", MODEL) == name


def test_each_customer_is_nobody_who_names_none():
    assert Scope(customer=EACH).counter("k1", "", MODEL) is None
    assert Scope(customer="").counter("k1", "", MODEL) == ""


def test_names_from_outside_cannot_collide():
    """A customer's id is anything that a client sends."""
    scope = Scope(key=EACH, customer=EACH, model=EACH)
    parts = ["a", "b", ":", "%", "%3A", ":c=", "a:c=b", ":k=a", "*", "é", "%25"]
    names = {scope.counter(*three): three for three in itertools.product(parts, repeat=3)}
    assert len(names) == len(parts) ** 3
    for customer in parts:
        assert scope.counter("k", customer, "m").count(":") == 3


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        (Scope(), "the tenant"),
        (Scope(key="k1"), "key k1"),
        (Scope(customer=EACH), "customer (each)"),
        (Scope(key=EACH, model=MODEL), f"key (each), model {MODEL}"),
    ],
)
def test_a_scope_is_said_in_words(scope: Scope, said: str):
    assert str(scope) == said


def test_rules_are_sorted_by_what_they_measure():
    rules = [
        Cap(id="cap", amount=1),
        Limit(id="tpm", metric="tokens", amount=1),
        Limit(id="places", metric="concurrency", amount=1),
        Limit(id="rpm", metric="requests", amount=1),
        Limit(id="rph", metric="requests", amount=1, window="hour", scope=Scope(key=EACH)),
        Limit(id="other", metric="requests", amount=1, scope=Scope(key="k2")),
    ]
    bound = Binder().bind(caller(*rules, zone="Asia/Kathmandu"), "c1", MODEL)
    assert counters(bound) == ["l:rpm", "l:rph:k=k1", "l:places", "l:tpm", "c:cap"]
    assert (bound.tenant, bound.zone) == ("acme", "Asia/Kathmandu")


def test_rules_of_a_customer_bind_beside_those_of_the_tenant():
    own = Rules(limits=(Limit(id="own", metric="tokens", amount=5),), caps=(Cap(id="own", amount=7),))
    binder, principal = Binder(), caller(Limit(id="all", metric="tokens", amount=9), Cap(id="all", amount=9))
    bound = binder.bind(principal, "c1", MODEL, Customer(tenant="acme", id="c1", rules=own))
    assert counters(bound) == ["l:all", "l:own", "c:all", "c:own"]
    assert counters(binder.bind(principal, "c2", MODEL)) == ["l:all", "c:all"]


def test_a_key_without_a_limit_of_its_own_gets_the_default():
    bound = Binder(default_rpm=30).bind(caller(), "", MODEL)
    assert [(each.limit.amount, each.limit.window, each.limit.kind) for each in bound.requests] == [(30, "minute", "bucket")]
    assert Binder(default_rpm=30).bind(caller(key="k2"), "", MODEL).requests[0].counter != bound.requests[0].counter
    assert Binder(default_rpm=30).bind(caller(rpm=5), "", MODEL).requests == ()
    assert Binder().bind(caller(), "", MODEL).requests == ()


def test_limits_can_be_switched_off_but_caps_cannot():
    rules = [Limit(id=metric, metric=metric, amount=1) for metric in ("requests", "tokens", "concurrency")]
    assert counters(Binder(rate_limits=False, default_rpm=3).bind(caller(*rules, Cap(id="cap", amount=1)), "", MODEL)) == ["c:cap"]


def test_what_binds_is_remembered_until_the_rules_change():
    binder, principal = Binder(), caller(Limit(id="rpm", metric="requests", amount=1))
    bound = binder.bind(principal, "c1", MODEL)
    assert binder.bind(principal, "c1", MODEL) is bound
    assert binder.bind(principal, "c2", MODEL) is not bound
    changed = caller(Limit(id="rpm", metric="requests", amount=2))
    assert binder.bind(changed, "c1", MODEL).requests[0].limit.amount == 2
    registered = Customer(tenant="acme", id="c1", rules=Rules(caps=(Cap(id="own", amount=7),)))
    assert counters(binder.bind(changed, "c1", MODEL, registered)) == ["l:rpm", "c:own"]
    assert counters(binder.bind(changed, "c1", MODEL)) == ["l:rpm"]


def test_the_memory_is_bounded():
    binder, principal = Binder(), caller()
    for number in range(20_000):
        binder.bind(principal, f"c{number}", MODEL)
    assert len(binder._known) <= 16_384
