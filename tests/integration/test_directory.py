"""Who is who, over both databases: what a key may, who learns of a change, and what is written down of it."""

import asyncio
import hmac
import json
from base64 import b64encode
from typing import Any

import pytest
from directories import SECRET, Known, Opened, Watched

from tokenrouter.clock import ManualClock
from tokenrouter.errors import Unavailable
from tokenrouter.model.directory import Customer, KeyOptions, Tenant
from tokenrouter.model.rules import MOST_CAP, Cap, Limit, Scope
from tokenrouter.quota.rules import Binder
from tokenrouter.storage.admin_records import AdminRecords
from tokenrouter.storage.directory import UNKNOWN, Directory
from tokenrouter.storage.keyring import KeyRing
from tokenrouter.storage.register import KeyChange


async def known(directory: Directory, key: str) -> Any:
    """Who presents it, as a request would find out."""
    found = directory.at_hand(key)
    return await directory.look_up(key) if found is UNKNOWN else found


async def test_a_key_opens_with_its_secret_only(directory: Directory):
    key, stored = await directory.create(tenant="acme", name="one", options=KeyOptions(models=("gpt-4.1",), dedup_mode="off"))
    other, _ = await directory.create(tenant="acme")
    found = await known(directory, key)
    assert (found.key_id, found.tenant, found.name, found.models, found.dedup_mode) == (key.split("-")[2], "acme", "one", ("gpt-4.1",), "off")
    assert found == stored.principal
    swapped = "-".join((*key.split("-")[:3], *other.split("-")[3:]))
    for wrong in (
        key[:-1],
        key + "x",
        key.upper(),
        swapped,
        f" {key}",
        key.replace("sk-tr-", "sk-"),
        "",
        "sk-tr-",
        "sk-tr---",
        "\ud800",
        "sk-tr-\ud800-x",
    ):
        assert await known(directory, wrong) is None, wrong


async def test_the_second_look_asks_nobody_and_gives_the_same_object(open_again: Opened, clock: ManualClock):
    database = Watched(open_again())
    directory = Directory(database, KeyRing(SECRET), clock)
    await directory.refresh()
    key, _ = await directory.create(tenant="acme", rpm=5)
    first = await known(directory, key)
    database.asked.clear()
    assert directory.at_hand(key) is first
    assert directory.at_hand(key[:-1]) is None
    assert database.asked == []


async def test_a_principal_is_the_same_object_until_something_about_it_changes(directory: Directory, another: Known, clock: ManualClock):
    key, _ = await directory.create(tenant="acme")
    first = await known(directory, key)
    await directory.create(tenant="acme")
    await directory.refresh()
    assert directory.at_hand(key) is UNKNOWN
    assert await known(directory, key) is first
    clock.advance(61)
    assert directory.at_hand(key) is UNKNOWN
    assert await known(directory, key) is first
    await another().put_rule("acme", Limit(id="l", metric="requests", amount=3))
    await directory.refresh()
    changed = await known(directory, key)
    assert changed is not first
    assert changed.rules.limits == (Limit(id="l", metric="requests", amount=3),)


@pytest.mark.parametrize("what", ["revoke", "disable", "tenant", "rotate", "expire"])
async def test_what_one_process_does_to_a_key_another_knows_after_its_next_look(directory: Directory, another: Known, what: str, clock: ManualClock):
    elsewhere = another()
    await elsewhere.refresh()
    key, stored = await directory.create(tenant="acme")
    key_id = stored.principal.key_id
    assert await known(elsewhere, key) is not None
    if what == "revoke":
        assert await directory.revoke(key_id)
    elif what == "disable":
        await directory.update(key_id, KeyChange(disabled=True))
    elif what == "tenant":
        await directory.put_tenant(Tenant(name="acme", disabled=True))
    elif what == "rotate":
        await directory.rotate(key_id)
    else:
        await directory.update(key_id, KeyChange(expires_ns=clock.time_ns()))
    await directory.refresh()
    assert await known(directory, key) is None
    assert await elsewhere.refresh()
    assert await known(elsewhere, key) is None


async def test_a_key_that_rests_can_be_used_again_and_a_revoked_one_never(directory: Directory):
    key, stored = await directory.create(tenant="acme")
    key_id = stored.principal.key_id
    await directory.update(key_id, KeyChange(disabled=True))
    assert await known(directory, key) is None
    await directory.update(key_id, KeyChange(disabled=False))
    assert await known(directory, key) is not None
    assert await directory.revoke(key_id)
    assert not await directory.revoke(key_id)
    assert await directory.update(key_id, KeyChange(disabled=False)) is None
    assert await directory.rotate(key_id) is None
    assert await known(directory, key) is None


async def test_an_expiry_counts_to_the_nanosecond_without_asking(directory: Directory, clock: ManualClock):
    key, _ = await directory.create(tenant="acme", expires_ns=clock.time_ns() + 10**9)
    assert await known(directory, key) is not None
    clock.advance(0.999999999)
    assert directory.at_hand(key) is not None
    clock.advance(0.000000001)
    assert directory.at_hand(key) is None


async def test_a_rotated_key_is_good_until_the_overlap_ends_and_the_one_before_it_is_not(directory: Directory, clock: ManualClock):
    first, stored = await directory.create(tenant="acme")
    key_id = stored.principal.key_id
    second, _ = await directory.rotate(key_id, overlap_s=100) or pytest.fail("not rotated")
    assert second.split("-")[2] == first.split("-")[2] == key_id
    assert await known(directory, first) is await known(directory, second) is not None
    clock.advance(50)
    third, _ = await directory.rotate(key_id, overlap_s=100) or pytest.fail("not rotated")
    assert [await known(directory, key) is not None for key in (first, second, third)] == [False, True, True]
    clock.advance(100)
    assert [await known(directory, key) is not None for key in (first, second, third)] == [False, False, True]
    fourth, _ = await directory.rotate(key_id) or pytest.fail("not rotated")
    assert [await known(directory, key) is not None for key in (third, fourth)] == [False, True]


async def test_invented_ids_are_refused_without_a_question_and_with_the_same_work_as_wrong_secrets(open_again: Opened, clock, monkeypatch):
    database = Watched(open_again())
    directory = Directory(database, KeyRing(SECRET), clock)
    await directory.refresh()
    key, _ = await directory.create(tenant="acme")
    await known(directory, key)
    database.asked.clear()
    work: list[str] = []
    real = hmac.compare_digest

    def compared(one: bytes, other: bytes) -> bool:
        work.append(f"compare {len(one)} {len(other)}")
        return real(one, other)

    def watched(name: str) -> None:
        method = getattr(KeyRing, name)
        monkeypatch.setattr(KeyRing, name, lambda ring, *given: (work.append(name), method(ring, *given))[1])

    monkeypatch.setattr(hmac, "compare_digest", compared)
    for name in ("digest", "_check", "public_id", "matches"):
        watched(name)
    done = {}
    secret = key.split("-", 3)[3]
    for presented in (
        key,
        key[:-1] + "x",
        f"sk-tr-{'00' * 10}-{secret}",
        "sk-tr-no-hex-at-all",
        f"sk-tr-{'00' * 6}-{secret}",
        "sk-ant-something",
        "x",
    ):
        work.clear()
        assert (directory.at_hand(presented) is not None) == (presented == key)
        done[presented] = list(work)
    assert len({tuple(steps) for steps in done.values()}) == 1, done
    assert database.asked == []


async def test_a_key_that_is_not_there_is_asked_for_once(open_again: Opened, clock: ManualClock):
    database = Watched(open_again())
    directory = Directory(database, KeyRing(SECRET), clock)
    await directory.refresh()
    _, gone, _ = KeyRing(SECRET).mint()
    database.asked.clear()
    assert await known(directory, gone) is None
    assert database.asked == ["find_key"]
    assert directory.at_hand(gone) is None
    assert await known(directory, gone + "x") is None
    assert database.asked == ["find_key"]


async def test_many_who_ask_for_one_key_share_one_look(open_again: Opened, clock: ManualClock):
    database = Watched(open_again())
    if database.inline:
        pytest.skip("every look is over before anybody else can ask")
    directory = Directory(database, KeyRing(SECRET), clock)
    await directory.refresh()
    key, _ = await directory.create(tenant="acme")
    database.asked.clear()
    tasks = [asyncio.ensure_future(directory.look_up(key)) for _ in range(50)]
    await asyncio.sleep(0)
    tasks[0].cancel()  # who started it may leave
    found = await asyncio.gather(*tasks[1:])
    assert len({id(each) for each in found}) == 1
    assert found[0] is not None
    assert database.asked == ["find_key", "rules_for_key"]
    assert directory._keys.under_way == {}


async def test_without_a_lifetime_everything_is_asked_every_time(another: Known):
    directory = another(ttl_s=0)
    key, _ = await directory.create(tenant="acme")
    assert await known(directory, key) is not None
    assert directory.at_hand(key) is UNKNOWN


async def test_memory_is_bounded(directory: Directory):
    directory._customers._most = 10
    for number in range(25):
        assert await directory.look_up_customer("acme", f"c{number}") is None
    assert list(directory._customers.entries) == [f"acme/c{number}" for number in range(15, 25)]


async def test_own_quota_and_limit_of_a_key_are_rules_of_it(directory: Directory, clock: ManualClock):
    key, stored = await directory.create(tenant="acme", quota=5_000_000_000, rpm=7)
    key_id = stored.principal.key_id
    only = Scope(key=key_id)
    rules = (await known(directory, key)).rules
    assert rules.limits == (Limit(id=f"{key_id}.rpm", scope=only, metric="requests", amount=7, window="minute", kind="bucket"),)
    assert rules.caps == (Cap(id=f"{key_id}.quota", scope=only, unit="usd", amount=5_000_000_000, period="total", starts_ns=clock.time_ns()),)
    await directory.update(key_id, KeyChange(quota=None, rpm=0))
    rules = (await known(directory, key)).rules
    assert (rules.limits, rules.caps) == ((), ())


async def test_each_caller_is_given_the_rules_that_can_bind_it_and_no_others(directory: Directory):
    key, stored = await directory.create(tenant="acme")
    stranger, _ = await directory.create(tenant="evil")
    key_id = stored.principal.key_id
    scopes = {
        "all": Scope(),
        "each-key": Scope(key="*"),
        "mine": Scope(key=key_id),
        "other-key": Scope(key="other"),
        "each-customer": Scope(customer="*"),
        "model": Scope(model="openai/gpt-4.1"),
        "bob": Scope(customer="bob"),
        "bob-mine": Scope(customer="bob", key=key_id),
    }
    for name, scope in scopes.items():
        await directory.put_rule("acme", Limit(id=name, scope=scope, metric="tokens", amount=1))
    await directory.put_tenant(Tenant(name="acme", zone="Asia/Kolkata", customer_field=True))
    principal = await known(directory, key)
    assert sorted(each.id for each in principal.rules.limits) == ["all", "each-customer", "each-key", "mine", "model"]
    assert (principal.rules.zone, principal.customer_field) == ("Asia/Kolkata", True)
    bob = await directory.look_up_customer("acme", "bob")
    assert bob is not None
    assert sorted(each.id for each in bob.rules.limits) == ["bob", "bob-mine"]
    bound = Binder().bind(principal, "bob", "openai/gpt-4.1", bob)
    assert sorted(each.limit.id for each in bound.tokens) == ["all", "bob", "bob-mine", "each-customer", "each-key", "mine", "model"]
    assert (await known(directory, stranger)).rules.limits == ()
    assert await directory.look_up_customer("evil", "bob") is None


async def test_a_tenant_with_many_customers_does_not_make_its_keys_heavy(directory: Directory):
    key, _ = await directory.create(tenant="acme")
    for number in range(30):
        await directory.put_rule("acme", Cap(id=f"c{number}", scope=Scope(customer=f"customer-{number}"), amount=number))
    assert (await known(directory, key)).rules.caps == ()
    found = await directory.look_up_customer("acme", "customer-7")
    assert found is not None
    assert [each.amount for each in found.rules.caps] == [7]


async def test_customers_are_remembered_and_changes_are_seen_elsewhere(directory: Directory, another: Known):
    elsewhere = another()
    await elsewhere.refresh()
    assert elsewhere.customer("acme", "bob") is UNKNOWN
    assert await elsewhere.look_up_customer("acme", "bob") is None
    assert elsewhere.customer("acme", "bob") is None
    await directory.put_customer(Customer(tenant="acme", id="bob", name="Bob", disabled=True))
    assert elsewhere.customer("acme", "bob") is None
    await elsewhere.refresh()
    assert elsewhere.customer("acme", "bob") is UNKNOWN
    bob = await elsewhere.look_up_customer("acme", "bob")
    assert bob is not None
    assert (bob.name, bob.disabled) == ("Bob", True)
    await directory.put_customer(Customer(tenant="acme", id="eve"))
    await elsewhere.refresh()
    assert await elsewhere.look_up_customer("acme", "bob") is bob
    assert await directory.delete_customer("acme", "bob")
    assert not await directory.delete_customer("acme", "bob")
    await elsewhere.refresh()
    assert await elsewhere.look_up_customer("acme", "bob") is None


async def test_names_that_nobody_can_have_are_nobody_without_a_question(open_again: Opened, clock: ManualClock):
    database = Watched(open_again())
    directory = Directory(database, KeyRing(SECRET), clock)
    for name in ("", "a\x00b", "\ud800", "x" * 257, "a\nb"):
        assert directory.customer("acme", name) is None
        assert await directory.look_up_customer("acme", name) is None
        assert await directory.get(name) is None
        assert await directory.rule("acme", name) is None
        assert not await directory.delete_customer("acme", name)
    assert database.asked == []


async def test_customers_with_odd_names_do_not_meet(directory: Directory):
    await directory.put_customer(Customer(tenant="a", id="b/c"))
    await directory.put_customer(Customer(tenant="a", id="👨‍👩‍👧 & co: 100%", name="family"))
    assert await directory.look_up_customer("a/b", "c") is None
    found = await directory.look_up_customer("a", "👨‍👩‍👧 & co: 100%")
    assert found is not None
    assert found.name == "family"


async def test_a_rule_keeps_its_beginning_when_it_is_changed_and_is_gone_when_it_is_deleted(directory: Directory, clock: ManualClock):
    made = clock.time_ns()
    assert await directory.put_rule("acme", Cap(id="cap", amount=1)) == Cap(id="cap", amount=1, starts_ns=made)
    clock.advance(10)
    changed = Cap(id="cap", amount=2, action="warn")
    await directory.put_rule("acme", changed)
    assert await directory.rule("acme", "cap") == Cap(id="cap", amount=2, action="warn", starts_ns=made)
    await directory.put_rule("evil", Cap(id="cap", amount=9))
    assert await directory.delete_rule("acme", "cap")
    assert not await directory.delete_rule("acme", "cap")
    assert await directory.rules("acme") == []
    assert [each.amount for each in await directory.rules("evil")] == [9]
    with pytest.raises(ValueError, match="stays"):
        await directory.put_rule("evil", Limit(id="cap", metric="requests", amount=1))


async def test_a_rule_that_moves_to_another_customer_leaves_the_first(directory: Directory):
    await directory.put_rule("acme", Cap(id="cap", scope=Scope(customer="bob"), amount=1))
    assert await directory.look_up_customer("acme", "bob") is not None
    await directory.put_rule("acme", Cap(id="cap", scope=Scope(customer="eve"), amount=1))
    assert directory.customer("acme", "bob") is UNKNOWN
    assert await directory.look_up_customer("acme", "bob") is None
    assert await directory.look_up_customer("acme", "eve") is not None


WRONG = [
    (lambda d: d.create(tenant="a b"), "tenant"),
    (lambda d: d.create(tenant=""), "tenant"),
    (lambda d: d.create(tenant="a", rpm=-1), "requests per minute"),
    (lambda d: d.create(tenant="a", rpm=1_000_001), "requests per minute"),
    (lambda d: d.create(tenant="a", quota=-1), "quota"),
    (lambda d: d.create(tenant="a", quota=MOST_CAP + 1), "quota"),
    (lambda d: d.create(tenant="a", name="x" * 257), "name"),
    (lambda d: d.create(tenant="a", name="a\x00"), "name"),
    (lambda d: d.create(tenant="a", expires_ns=0), "expiry"),
    (lambda d: d.put_tenant(Tenant(name="a", zone="Mars/Olympus")), "time zone"),
    (lambda d: d.put_tenant(Tenant(name="a", zone="../etc/passwd")), "time zone"),
    (lambda d: d.put_customer(Customer(tenant="a", id="*")), "customer"),
    (lambda d: d.put_customer(Customer(tenant="a", id="")), "customer"),
    (lambda d: d.put_customer(Customer(tenant="a", id="x", name="a\x00")), "customer"),
    (lambda d: d.put_rule("a", Limit(id="a b", metric="requests", amount=1)), "id"),
    (lambda d: d.put_rule("a", Limit(id="a", metric="requests", amount=0)), "amount"),
    (lambda d: d.put_rule("a", Limit(id="a", metric="requests", amount=1, kind="sliding", refill=1)), "refill"),
    (lambda d: d.put_rule("a", Limit(id="a", metric="requests", amount=1, scope=Scope(customer="x\x00"))), "scope"),
    (lambda d: d.put_rule("a", Cap(id="a", amount=MOST_CAP + 1)), "amount"),
    (lambda d: d.put_rule("a", Cap(id="a", amount=1, action="downgrade")), "downgrade_to"),
    (lambda d: d.put_rule("a", Cap(id="a", amount=1, downgrade_to="x/y")), "downgrade_to"),
    (lambda d: d.put_rule("a", Cap(id="a", amount=1, alerts=(0,))), "alerts"),
    (lambda d: d.rotate("k", overlap_s=-1), "overlap"),
]


async def test_what_can_not_be_is_refused_in_words_and_leaves_nothing(directory: Directory, database):
    for make, says in WRONG:
        with pytest.raises(ValueError, match=says):
            await make(directory)
    assert await directory.all() == []
    assert await directory.tenants() == []
    assert await AdminRecords(database, directory._clock).audit() == []


async def test_pages_go_through_everything_once(directory: Directory, clock: ManualClock, monkeypatch):
    monkeypatch.setattr("tokenrouter.storage.register._PAGE", 3)
    made = []
    for number in range(8):
        made.append((await directory.create(tenant="ab"[number % 2]))[1].principal.key_id)
        clock.advance(number % 3)  # some have the same moment
    assert sorted(each.principal.key_id for each in await directory.all()) == sorted(made)
    assert sorted(each.principal.key_id for each in await directory.all("a")) == sorted(made[::2])
    first = await directory.keys(most=5)
    rest = await directory.keys(after=first[-1], most=5)
    assert [len(first), len(rest)] == [5, 3]
    assert [each.created_ns for each in first + rest] == sorted(each.created_ns for each in first + rest)
    for number in range(5):
        await directory.put_customer(Customer(tenant="a", id=f"c{number}"))
    assert [each.id for each in await directory.customers("a", after="c1", most=2)] == ["c2", "c3"]
    assert [each.name for each in await directory.tenants(after="a")] == ["b"]


async def test_changes_of_one_thing_at_the_same_time_are_all_made(directory: Directory, another: Known):
    _, stored = await directory.create(tenant="acme")
    key_id = stored.principal.key_id
    others = [another() for _ in range(3)]
    changes = [KeyChange(name="n"), KeyChange(rpm=9), KeyChange(quota=5)]
    await asyncio.gather(*(other.update(key_id, change) for other, change in zip(others, changes, strict=True)))
    found = await directory.get(key_id)
    assert found is not None
    assert (found.principal.name, found.principal.rpm, found.principal.quota) == ("n", 9, 5)


async def test_every_change_leaves_one_audit_row_with_before_and_after_and_no_secret(directory: Directory, database, clock: ManualClock):
    key, stored = await directory.create(tenant="acme", quota=5, actor="ann")
    key_id = stored.principal.key_id
    rotated = await directory.rotate(key_id, overlap_s=9, actor="ann")
    await directory.update(key_id, KeyChange(quota=7, options=KeyOptions(models=("m",))), actor="bea")
    await directory.revoke(key_id, actor="ann")
    await directory.put_tenant(Tenant(name="acme", zone="Europe/Berlin"), actor="ann")
    await directory.put_customer(Customer(tenant="acme", id="bob"), actor="ann")
    await directory.delete_customer("acme", "bob", actor="ann")
    await directory.put_rule("acme", Cap(id="cap", amount=1), actor="ann")
    await directory.delete_rule("acme", "cap", actor="cyd")
    admin = await directory.mint_admin()
    records = AdminRecords(database, clock)
    await records.put_price("openai/gpt-4.1", '{"input":"1"}', actor="ann")
    await records.delete_price("openai/gpt-4.1", actor="ann")
    rows = (await records.audit())[::-1]
    assert [(row.actor, row.action, row.target) for row in rows] == [
        ("ann", "create key", f"key:{key_id}"),
        ("ann", "rotate key", f"key:{key_id}"),
        ("bea", "update key", f"key:{key_id}"),
        ("ann", "revoke key", f"key:{key_id}"),
        ("ann", "put tenant", "tenant:acme"),
        ("ann", "put customer", "customer:acme/bob"),
        ("ann", "delete customer", "customer:acme/bob"),
        ("ann", "put rule", "rule:acme/cap"),
        ("cyd", "delete rule", "rule:acme/cap"),
        ("", "mint admin key", "admin key"),
        ("ann", "put price", "price:openai/gpt-4.1"),
        ("ann", "delete price", "price:openai/gpt-4.1"),
    ]
    before, after = json.loads(rows[2].before or ""), json.loads(rows[2].after or "")
    assert (before["quota"], after["quota"], after["options"]) == (5, 7, {"models": ["m"]})
    assert [(row.before is None, row.after is None) for row in rows[5:9]] == [(True, False), (False, True), (True, False), (False, True)]
    assert [row.id for row in await records.audit(f"key:{key_id}", most=2)] == [rows[3].id, rows[2].id]
    assert [row.id for row in await records.audit(below=rows[2].id)] == [rows[1].id, rows[0].id]
    assert rotated is not None
    said = repr(rows) + repr(stored) + repr(rotated[1]) + repr(directory)
    for secret in (key, rotated[0], admin):
        assert secret is not None
        digest = KeyRing(SECRET).digest(secret)
        for form in (secret, secret.split("-", 3)[3], digest.hex(), repr(digest)[2:-1], b64encode(digest).decode()):
            assert form not in said


async def test_a_change_that_fails_leaves_no_audit_row_and_moves_no_revision(directory: Directory, database, another: Known):
    await directory.create(tenant="acme")
    revision = await database.rows("read_meta", {"name": "keys_revision"})
    audit = await AdminRecords(database, directory._clock).audit()
    assert not await directory.revoke("nobody")
    assert await directory.update("nobody", KeyChange(rpm=1)) is None
    assert not await directory.delete_rule("acme", "none")
    assert await database.rows("read_meta", {"name": "keys_revision"}) == revision
    assert await AdminRecords(database, directory._clock).audit() == audit


async def test_the_admin_key_is_minted_once_whoever_asks_first(directory: Directory, another: Known):
    others = [another() for _ in range(4)]
    minted = [key for key in await asyncio.gather(*(other.mint_admin() for other in others)) if key]
    assert len(minted) == 1
    assert await directory.mint_admin() is None
    assert not directory.is_admin(minted[0])
    await directory.refresh()
    assert directory.is_admin(minted[0])
    key, _ = await directory.create(tenant="acme")
    for wrong in (minted[0][:-1], minted[0].upper(), key, "", "sk-tr-admin-"):
        assert not directory.is_admin(wrong)
    assert await known(directory, minted[0]) is None


async def test_who_can_not_be_checked_is_not_refused(another: Known):
    with pytest.raises(Unavailable):
        another().is_admin("sk-tr-admin-x")


async def test_a_repeated_admin_call_is_told_what_the_first_one_was_told(database, clock: ManualClock):
    records = AdminRecords(database, clock)
    assert await records.claim("k", b"h") is None
    under_way = await records.claim("k", b"h2")
    assert under_way is not None
    assert (under_way.status, under_way.body_hash) == (0, b"h")
    await records.finish("k", 201, b'{"id":1}')
    await records.release("k")
    done = await records.claim("k", b"h")
    assert done is not None
    assert (done.status, done.reply) == (201, b'{"id":1}')
    assert await records.claim("other", b"h") is None
    await records.release("other")
    assert await records.claim("other", b"h") is None
    clock.advance(10)
    assert await records.forget_replies(clock.time_ns()) == 2
    assert await records.claim("k", b"h") is None


async def test_of_many_that_begin_the_same_admin_call_one_does_it(open_again: Opened, clock: ManualClock):
    found = await asyncio.gather(*(AdminRecords(open_again(), clock).claim("k", b"h") for _ in range(6)))
    assert [reply is None for reply in found].count(True) == 1


async def test_prices_by_hand_are_kept_and_their_revision_moves(database, clock: ManualClock):
    records = AdminRecords(database, clock)
    assert await records.prices_revision() == ""
    await records.put_price("a/b", "{}")
    await records.put_price("a/b", '{"input":"2"}')
    assert [(row.name, row.body) for row in await records.prices()] == [("a/b", '{"input":"2"}')]
    assert await records.prices_revision() == "2"
    assert await records.delete_price("a/b")
    assert not await records.delete_price("a/b")
    assert await records.prices_revision() == "3"
    await records.note("ann", "drop answers", "answers:acme", None, '{"count":3}')
    assert (await records.audit(most=1))[0].after == '{"count":3}'
