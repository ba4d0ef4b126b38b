"""Prices that somebody writes by hand: what is taken, and what is refused by the name of its field."""

import pytest

from tokenrouter.catalog.price_overrides import MOST_USD, PriceOverride, multiplied, parse_override
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.usage import Usage
from tokenrouter.money import cost, format_usd

PLAIN = {"input": "2", "output": "10"}


def usd(usage: Usage, table: dict, tier: str = "") -> str:
    schedule = parse_override(table).schedule()
    price = schedule.in_tier(tier, 0) if tier else schedule.at(0)
    assert price is not None
    return format_usd(cost(usage, price))


def test_the_highest_threshold_that_is_exceeded_prices_the_whole_request():
    table = {
        **PLAIN,
        "tiers": [{"above_input_tokens": 100, "input": "4", "output": "20"}, {"above_input_tokens": 200, "input": "6", "output": "30"}],
    }
    assert usd(Usage(fresh_input=100, output=1_000_000), table) == "10.0002"
    assert usd(Usage(fresh_input=101, output=1_000_000), table) == "20.000404"
    assert usd(Usage(cache_read=201, output=1_000_000), table) == "30.001206", "gaps are filled from the same row: reads at its input"


def test_a_tier_of_service_is_a_multiple_or_a_table_with_thresholds_of_its_own():
    step = {"above_input_tokens": 10, "input": "7", "output": "8"}
    table = {**PLAIN, "cache_read": "0.2", "service_tiers": {"flex": "0.5", "priority": {"input": "5", "output": "6", "tiers": [step]}}}
    spent = Usage(fresh_input=1_000_000, cache_read=1_000_000, output=1_000_000)
    assert usd(spent, table) == "12.20"
    assert usd(spent, table, "flex") == "6.10"
    assert usd(Usage(fresh_input=10, output=1_000_000), table, "priority") == "6.00005"
    assert usd(spent, table, "priority") == "22.00"


def test_thresholds_hold_in_a_tier_that_is_a_multiple():
    table = {**PLAIN, "tiers": [{"above_input_tokens": 10, "input": "4", "output": "20"}], "service_tiers": {"flex": "0.5"}}
    assert usd(Usage(output=1_000_000, fresh_input=11), table, "flex") == "10.000022"


def test_a_multiple_is_never_less_than_exact():
    table = {"input": "0.000000001", "output": "0.000000001", "service_tiers": {"flex": "0.5"}}
    price = parse_override(table).schedule().in_tier("flex", 0)
    assert price is not None
    assert price.tiers[0].rates.fresh_input == 1


def test_versions_name_the_numbers_and_the_tier():
    one, other = (parse_override({**PLAIN, "service_tiers": {"flex": said}}).schedule() for said in ("0.5", "0.6"))
    assert one.at(0).version.startswith("override-")
    assert one.at(0).version != other.at(0).version
    flex = one.in_tier("flex", 0)
    assert flex is not None
    assert flex.version == f"{one.at(0).version}:flex"
    assert one.in_tier("priority", 0) is None


def test_a_premium_multiplies_every_tier_of_what_is_below():
    below = parse_override({**PLAIN, "service_tiers": {"flex": "0.5"}, "tiers": [{"above_input_tokens": 9, "input": "4", "output": "4"}]}).schedule()
    raised = multiplied(below, PriceOverride(times="1.1", source="EU region"))
    assert [tier.rates.fresh_input for tier in raised.at(0).tiers] == [2_200_000_000, 4_400_000_000]
    flex = raised.in_tier("flex", 0)
    assert flex is not None
    assert flex.tiers[0].rates.output == 5_500_000_000
    assert raised.at(0).version.startswith(f"{below.at(0).version}+override-")
    assert "EU region" in raised.at(0).source


@pytest.mark.parametrize(
    ("table", "param", "says"),
    [
        ({"input": "1"}, "output", "missing required field `output`"),
        ({"input": 3.5, "output": "1"}, "input", "quoted decimal"),
        ({"input": [], "output": "1"}, "input", "got `array`"),
        ({**PLAIN, "cache_read": "-1"}, "cache_read", "plain decimal"),
        ({**PLAIN, "output": "NaN"}, "output", "plain decimal"),
        ({**PLAIN, "output": str(MOST_USD + 1)}, "output", "meant per token"),
        ({**PLAIN, "cached": "1"}, "cached", "unknown field"),
        ({**PLAIN, "tiers": 5}, "tiers", "got `int`"),
        ({**PLAIN, "tiers": [{**PLAIN, "above_input_tokens": 5}, {**PLAIN, "above_input_tokens": 5}]}, "tiers", "must ascend"),
        ({**PLAIN, "tiers": [{**PLAIN, "above_input_tokens": 0}]}, "tiers[0].above_input_tokens", "above 0"),
        ({**PLAIN, "tiers": [{**PLAIN, "above_input_tokens": 5}, {"above_input_tokens": 6, "input": "x", "output": "1"}]}, "tiers[1].input", "plain"),
        ({**PLAIN, "tiers": [{"above_input_tokens": 6, "input": "1"}]}, "tiers[0].output", "missing required"),
        ({**PLAIN, "service_tiers": {"flex": 0.5}}, "service_tiers.flex", "quoted decimal"),
        ({**PLAIN, "service_tiers": {"flex": "0"}}, "service_tiers.flex", "0 times the price"),
        ({**PLAIN, "service_tiers": {"flex": "101"}}, "service_tiers.flex", "up to 100"),
        ({**PLAIN, "service_tiers": {"flex": "half"}}, "service_tiers.flex", "not 'half'"),
        ({**PLAIN, "service_tiers": {"flex": {"input": "1"}}}, "service_tiers.flex.output", "missing required"),
        ({**PLAIN, "service_tiers": {"fine": PLAIN, "flex": {**PLAIN, "output": "x"}}}, "service_tiers.flex.output", "plain decimal"),
        ({**PLAIN, "service_tiers": {"default": "1"}}, "service_tiers", "'default' is not the vendor's word"),
        ({**PLAIN, "service_tiers": {"a:b": "1"}}, "service_tiers", "'a:b'"),
        ({"times": "1.1", "input": "1"}, "times", "leave the other rates out"),
        ({"times": "0"}, "times", "0 times the price"),
        ({"times": 1.1}, "times", "quoted decimal"),
    ],
)
def test_what_is_no_price_is_refused_by_the_name_of_its_field(table, param, says):
    with pytest.raises(InvalidRequest, match=says) as refused:
        parse_override(table)
    assert refused.value.param == param
