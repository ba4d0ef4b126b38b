"""Keys in Redis, for tenants and counters of any name: one slot for each tenant, none shared by two."""

import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from tokenrouter.lua import read_script
from tokenrouter.model.admission import Ask, Bound, Worst
from tokenrouter.model.principal import Principal
from tokenrouter.model.rules import EACH, Cap, Limit, Rules, Scope
from tokenrouter.quota.rules import Binder
from tokenrouter.storage import redis_keys
from tokenrouter.storage.redis_plans import Plan, asked, asserting, growing, looking, settling

text = st.text(st.characters(codec="utf-8"), max_size=20)
odd = st.one_of(text, st.sampled_from(["", "{", "}", "{}", "}{", "%7D", "a}b{c", "global", "{acme}", "tr:{acme}:", "\0"]))
NOW_MS = 1_700_000_000_000


def plan(tenant: str, key: str, customer: str, model: str) -> Plan:
    scopes = (Scope(), Scope(key=EACH), Scope(customer=EACH, model=EACH))
    limits = [
        Limit(id=f"{metric}{number}{kind}", scope=scope, metric=metric, amount=5, kind=kind)
        for number, scope in enumerate(scopes)
        for metric in ("requests", "tokens", "concurrency")
        for kind in ("bucket", "sliding")
    ]
    caps = [Cap(id=f"{period}{number}", scope=scope, amount=5, period=period) for number, scope in enumerate(scopes) for period in PERIODS]
    principal = Principal(key_id=key, tenant=tenant, rules=Rules(limits=tuple(limits), caps=tuple(caps)))
    bound: Bound = Binder().bind(principal, customer, model)
    return Plan(bound)


PERIODS = ("total", "day", "week", "month", "request")


@given(odd, odd, odd, odd, st.binary(max_size=8), st.booleans())
def test_whatever_a_script_names_is_in_its_tenants_slot(tenant: str, key: str, customer: str, model: str, identity: bytes, sandbox: bool) -> None:
    planned = plan(tenant, key, customer, model)
    ask = Ask(id="r", lease=True, worst=Worst(1, 1, sandbox=sandbox))
    answer = redis_keys.answer(tenant, identity)
    asking = asked(planned, ask, "r.1", NOW_MS, lease_ms=1, hold_ms=1, requests=True, answer=answer)
    hold = asking.hold(ask, ask.worst, NOW_MS, (0,) * planned.tokens.count)
    scripts = [
        asking.keys,
        settling(hold, "s", 1, 1, b"", done_ms=1)[0],
        growing(hold, 1, 1)[0],
        asserting(hold, 1)[0],
        looking(planned, planned.charged(NOW_MS, sandbox=sandbox))[0],
        (redis_keys.ledger(tenant),),
    ]
    assert {key_slot(name) for names in scripts for name in names} == {key_slot(redis_keys.prefix(tenant))}
    assert len(set(asking.keys)) == len(asking.keys), "no two counters share a key"
    assert answer in asking.keys


@given(odd, odd, odd, odd)
def test_two_tenants_share_no_key(one: str, other: str, left: str, right: str) -> None:
    if one != other:
        assert redis_keys.prefix(one) != redis_keys.prefix(other)
        assert redis_keys.counter(one, left) != redis_keys.counter(other, right)


@given(odd, odd)
def test_what_spans_tenants_is_no_tenants(tenant: str, name: str) -> None:
    own = {redis_keys.prefix(tenant) + part for part in (b"epoch", b"holds", b"hold", b"done", b"index", b"presumed", b"ledger")}
    counters = {redis_keys.counter(tenant, f"{kind}:{name}") for kind in ("l", "w:l", "p:l", "c", "sc", "a")}
    spanning = {redis_keys.TENANTS, redis_keys.GLOBAL + b"budgets"}
    spanning |= {redis_keys.GLOBAL + kind + b":" + name.encode() for kind in (b"slots", b"places", b"budget", b"shares", b"slices")}
    assert not (own | counters) & spanning


SCRIPTS = sorted(file.name.removesuffix(".lua") for file in resources.files("tokenrouter.lua").iterdir() if file.name.endswith(".lua"))
COMMANDS_OF_6_2 = {
    *("DEL", "EXISTS", "GET", "PEXPIRE", "SET", "TIME"),
    *("HDEL", "HEXISTS", "HGET", "HGETALL", "HINCRBY", "HLEN", "HMGET", "HSET"),
    *("XACK", "XADD", "XDEL", "XGROUP", "XINFO", "XLEN"),
    *("ZADD", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREM", "ZREMRANGEBYSCORE", "ZREVRANGE", "ZREVRANGEBYSCORE", "ZSCORE"),
}


@pytest.mark.parametrize("name", [name for name in SCRIPTS if not name.startswith("part_")])
def test_a_script_says_what_it_does_and_uses_what_redis_6_2_has(name: str) -> None:
    script = read_script(name)
    said = script.text.decode()
    assert set(re.findall(r"redis\.p?call\('([A-Z]+)'", said)) <= COMMANDS_OF_6_2
    assert len(re.findall(r"redis\.p?call\(", said)) == len(re.findall(r"redis\.p?call\('[A-Z]+'", said)), "every command is written out"
    assert "math.random" not in said
    assert "text(-" not in said, "minus zero would be '-0', which Redis does not take for a number"


def test_every_file_is_a_script_or_a_part_that_some_script_uses() -> None:
    texts = [read_script(name).text.decode() for name in SCRIPTS if not name.startswith("part_")]
    for name in SCRIPTS:
        if name.startswith("part_"):
            assert any(f"-- {name}: " in each for each in texts), name
