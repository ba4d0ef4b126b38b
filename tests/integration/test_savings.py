"""What the gateway saves: small forms of the workloads of `benchmarks/bench_savings.py`, against simulated vendors on a clock that is moved."""

import asyncio

import pytest

from benchmarks import prompts, workloads
from benchmarks.bench_savings import VENDORS, Workload, bursts, captured, cost_of
from tokenrouter.replay.read import Captured
from tokenrouter.replay.run import AS_IT_CAME, WITH_GATEWAY


def agents() -> Workload:
    return Workload(workloads.agents(5, sessions=6, turns=(8, 16), apps=2))


def ratio(workload: Workload, vendor: str = "claude", *, client: str = "") -> float:
    """What the gateway costs, relative to the client itself (with a fixed marking of its own)."""
    requests = captured(workload, VENDORS[vendor], client, 5)
    direct = asyncio.run(cost_of(requests, AS_IT_CAME))
    return asyncio.run(cost_of(requests, WITH_GATEWAY, workload)).cost / direct.cost


def test_agents_that_shuffle_everything_cost_what_orderly_ones_do():
    orderly = ratio(agents())
    restless = ratio(Workload(agents().asks, prompts.restless))
    assert orderly < 0.30
    assert restless == pytest.approx(orderly, rel=0.03)


def test_fixed_markings_make_agents_dearer_that_shuffle_everything():
    requests = Workload(agents().asks[:40], prompts.restless)
    never, marked = (asyncio.run(cost_of(captured(requests, VENDORS["claude"], policy, 5), AS_IT_CAME)).cost for policy in ("", "layout"))
    assert marked > 1.1 * never


def test_one_shots_cost_no_more_than_they_do_without_the_gateway():
    asks = workloads.unique(5, requests=250)  # the first dozen teaches what they are, and costs a little
    assert ratio(Workload(asks)) <= 1.005
    assert ratio(Workload(asks), "gpt-5.6") <= 0.81, "a vendor that would write by itself is told not to"


def test_a_clock_at_the_tail_of_the_system_text_costs_only_what_is_behind_it():
    asks = workloads.agents(5, sessions=20, turns=(2, 4), apps=2, every_s=20.0)
    assert ratio(Workload(asks, prompts.clock_at_tail)) < 0.40


def test_a_fan_out_that_may_wait_is_written_once_and_one_that_may_not_is_left_alone():
    asks = workloads.fan_out(5, groups=16)
    assert ratio(Workload(asks)) <= 1.005
    assert ratio(Workload(asks, hold_ms=5000)) < 0.60
    assert ratio(Workload(asks, prompts.one_message, hold_ms=5000)) < 0.60, "document and question are parts of one message"


def test_new_conversations_read_what_earlier_ones_wrote_where_vendors_read_at_breakpoints_only():
    asks = workloads.agents(5, sessions=20, turns=(2, 4), apps=2, every_s=20.0)
    assert ratio(Workload(asks), "gpt-5.6") < 0.68


def test_a_client_that_marks_well_is_not_made_dearer():
    assert ratio(agents(), client="layout") <= 1.005


def test_requests_that_arrive_within_a_second_overlap():
    requests = [Captured(at_s=at_s, path="/", body=b"") for at_s in (0.0, 0.9, 1.1, 1.5, 2.2)]
    assert [[request.at_s for request in burst] for burst in bursts(requests)] == [[0.0, 0.9], [1.1, 1.5], [2.2]]
