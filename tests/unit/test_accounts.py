"""Several accounts at one host: prompt caches belong to accounts, so one root always meets the same one."""

import json

import msgspec
from support import catalog, see, settings

from tokenrouter.catalog.loader import load_catalog
from tokenrouter.serving.planning import Planner

PLANNER = Planner(prefix_seed=7, affinity_secret=b"secret")


def target(keys):
    return load_catalog(settings(OPENAI_API_KEY=keys)).resolve("gpt-4.1")


def request(system, *more):
    return {"model": "gpt-4.1", "messages": [{"role": "system", "content": system}, {"role": "user", "content": "hi"}, *more]}


def account(body, found, tenant="a"):
    return PLANNER.account(found, see(body).canonical, tenant=tenant).name


def test_a_comma_separates_accounts_and_each_has_its_own_credential():
    found = target("k1, k2,,k3").deployments
    assert [(one.name, one.api_key.reveal()) for one in found] == [("openai", "k1"), ("openai#2", "k2"), ("openai#3", "k3")]
    assert {one.vendor for one in found} == {"openai"}


def test_one_root_meets_one_account_however_the_conversation_grows():
    found = target("k1,k2,k3")
    grown = [{"role": "assistant", "content": "so"}, {"role": "user", "content": "go on"}]
    for number in range(20):
        assert account(request(f"app {number}"), found) == account(request(f"app {number}", *grown), found)


def test_roots_and_tenants_spread_over_all_accounts():
    found = target("k1,k2,k3")
    assert {account(request(f"app {number}"), found) for number in range(60)} == {"openai", "openai#2", "openai#3"}
    assert len({account(request("app"), found, tenant=f"t{number}") for number in range(60)}) == 3


def test_a_further_account_moves_only_the_roots_that_it_takes():
    two, three = target("k1,k2"), target("k1,k2,k3")
    before = {number: account(request(f"app {number}"), two) for number in range(90)}
    after = {number: account(request(f"app {number}"), three) for number in range(90)}
    moved = {number for number in before if before[number] != after[number]}
    assert all(after[number] == "openai#3" for number in moved)
    assert 10 < len(moved) < 60


def test_a_single_account_is_simply_asked():
    assert account(json.loads(msgspec.json.encode(request("app"))), catalog().resolve("gpt-4.1")) == "openai"
