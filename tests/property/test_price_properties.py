"""Laws of what calls are held and booked at, for any price in any tier of service, and of lists that anybody may send."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from test_money_properties import prices, rate, usages

from tokenrouter.catalog.price_list import read_list
from tokenrouter.catalog.price_overrides import parse_override
from tokenrouter.errors import InvalidRequest, UpstreamFailed
from tokenrouter.model.usage import Usage
from tokenrouter.money import Price, PriceSchedule, PriceWindow, Rates, Tier, cost, times, worst_case
from tokenrouter.serving.tariff import Tariff

TIERS = ("flex", "priority", "fast", "surprise")


@st.composite
def schedules(draw: st.DrawFn) -> PriceSchedule:
    tiers = {name: (PriceWindow(price=draw(prices())),) for name in draw(st.sets(st.sampled_from(TIERS)))}
    return PriceSchedule(windows=(PriceWindow(price=draw(prices())),), service_tiers=tiers)


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    """Of a call that asks for a tier, or for none at an account that may answer in one."""
    schedule = draw(schedules())
    standard = schedule.at(0)
    asked = draw(st.sampled_from([None, *schedule.service_tiers]))
    price = None if asked is None else schedule.in_tier(asked, 0)
    if price is None:
        by_account = draw(st.sets(st.sampled_from([*schedule.service_tiers]))) if schedule.service_tiers else set()
        return Tariff(standard, tuple(found for name in sorted(by_account) if (found := schedule.in_tier(name, 0))), schedule, 0)
    return Tariff(price, (standard,), schedule, 0)


@given(tariffs(), usages, st.sampled_from(["", "default", "standard", "unheard-of"]))
def test_what_is_held_covers_what_is_booked_whoever_of_the_expected_answers(tariff: Tariff, usage: Usage, word: str):
    held = tariff.worst(usage.input_total, usage.output)
    tiers = [word] if tariff.schedule.at(0) in (tariff.price, *tariff.others) else [""]
    for name, windows in tariff.schedule.service_tiers.items():
        if windows[0].price in (tariff.price, *tariff.others):
            tiers.append(name)
    for tier in tiers:
        answered = Usage(**{bucket: getattr(usage, bucket) for bucket in Rates.__struct_fields__}, service_tier=tier)
        assert cost(answered, tariff.billed(answered)) <= held


@given(tariffs(), usages)
def test_a_tier_that_is_not_told_or_not_known_is_booked_at_the_dearest(tariff: Tariff, usage: Usage):
    dearest = max(cost(usage, price) for price in (tariff.price, *tariff.others))
    assert cost(usage, tariff.billed(usage)) == dearest
    unknown = Usage(**{bucket: getattr(usage, bucket) for bucket in Rates.__struct_fields__}, service_tier="unheard-of")
    billed = tariff.billed(unknown)
    assert (cost(unknown, billed), billed.version.endswith("?unheard-of")) == (dearest, True)


@given(prices(), st.integers(1, 100 * 10**9), usages)
def test_a_multiple_of_a_price_is_never_less_than_exact_and_less_than_a_nano_dollar_a_million_above(price: Price, factor: int, usage: Usage):
    more = times(price, factor, source="", version="")
    for tier, before in zip(more.tiers, price.tiers, strict=True):
        for name in tier.rates.__struct_fields__:
            exact = getattr(before.rates, name) * factor
            assert 0 <= getattr(tier.rates, name) * 10**9 - exact < 10**9
    assert worst_case(usage.input_total, usage.output, more) >= cost(usage, more)


@given(prices(), usages)
def test_input_costs_between_its_cheapest_and_its_dearest_way(price: Price, usage: Usage):
    rates = price.rates_for(usage.input_total)
    low, high = (pick(rates.fresh_input, rates.cache_read, rates.cache_write, rates.cache_write_1h) for pick in (min, max))
    output = usage.output * rates.output
    assert (usage.input_total * low + output) // 10**6 <= cost(usage, price) <= -(-(usage.input_total * high + output) // 10**6)


amounts = st.one_of(
    st.integers(0, 10**12).map(lambda value: f"{Decimal(value).scaleb(-15):f}"),
    st.sampled_from(["-1", "NaN", "", "1e-7", "0", "0.0", "1", "1e400", "Infinity", "٣"]),
    st.floats(),
    st.none() | st.booleans() | st.integers(-5, 5),
)
pricings = st.dictionaries(
    st.sampled_from(
        ["prompt", "completion", "input_cache_read", "input_cache_write", "input_cache_write_1h", "internal_reasoning", "request", "overrides"]
    ),
    amounts | st.lists(st.dictionaries(st.sampled_from(["min_prompt_tokens", "utc_start", "prompt", "completion", "x"]), amounts), max_size=3),
)
rows = st.fixed_dictionaries({}, optional={"id": st.sampled_from(["a/b", "a/c", "d", "a/b:free", ""]) | st.integers(), "pricing": pricings | amounts})


@given(st.lists(rows | amounts, max_size=5), st.booleans(), rate)
def test_whatever_a_list_says_nothing_becomes_free_and_everything_that_is_not_taken_is_named(listed: list[Any], force: bool, known: int):
    body = json.dumps({"data": listed}).encode()
    rates = Rates(fresh_input=known, cache_read=known, cache_write=known, cache_write_1h=known, output=known)
    standing = Price(tiers=(Tier(above_input_tokens=0, rates=rates),), source="", version="")
    try:
        found = read_list(body, url="https://list.test", vendor="v", fetched_ns=0, now=lambda _: standing, force=force)
    except UpstreamFailed:
        return
    assert len(found.left_out) + len(found.table.prices) == len(listed)
    for key, price in found.table.prices.items():
        free = not price.tiers[0].rates.fresh_input and not price.tiers[0].rates.output
        assert key.endswith(":free") or not free
        if not force:
            assert all(rate <= 10 * known for tier in price.tiers for rate in (tier.rates.fresh_input, tier.rates.output))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.sampled_from(["1", "0.5", "-1", "x", "NaN", "0"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["input", "output", "tiers", "above_input_tokens", "flex"]), inner),
    max_leaves=5,
)
overrides = st.dictionaries(st.sampled_from(["input", "output", "cache_read", "tiers", "service_tiers", "times", "source", "x"]), values)


@given(overrides)
def test_any_table_is_a_price_or_refused_with_words(table: Mapping[str, Any]):
    try:
        override = parse_override(table)
    except InvalidRequest:
        return
    if override.times is None:
        assert override.schedule().at(0).tiers
