"""Laws that money obeys for any price and any usage."""

from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.model.usage import Usage
from tokenrouter.money import Price, Rates, Tier, cost, format_usd, parse_usd, prompt_cache_saving, worst_case

BUCKETS = ("fresh_input", "cache_read", "cache_write", "cache_write_1h", "output")

tokens = st.one_of(st.integers(0, 10**15), st.integers(0, 2_000))
rate = st.one_of(st.integers(0, 10**12), st.integers(0, 3_000_000))
rates = st.builds(Rates, **dict.fromkeys(BUCKETS, rate))
usages = st.builds(Usage, **dict.fromkeys(BUCKETS, tokens))


@st.composite
def prices(draw: st.DrawFn) -> Price:
    thresholds = [0, *sorted(draw(st.sets(st.one_of(st.integers(1, 10**6), st.integers(1, 3_000)), max_size=3)))]
    return Price(tiers=tuple(Tier(above_input_tokens=above, rates=draw(rates)) for above in thresholds), source="test", version="1")


flat_prices = rates.map(lambda drawn: Price(tiers=(Tier(above_input_tokens=0, rates=drawn),), source="test", version="1"))


def exact(usage: Usage, price: Price) -> Fraction:
    """Nano-USD without rounding, by the definition."""
    tier = [t for t in price.tiers if usage.input_total > t.above_input_tokens] or [price.tiers[0]]
    return sum((Fraction(getattr(usage, bucket)) * getattr(tier[-1].rates, bucket) for bucket in BUCKETS), Fraction()) / 1_000_000


@given(usages, prices())
def test_cost_is_the_exact_amount_rounded_half_even(usage: Usage, price: Price) -> None:
    assert cost(usage, price) == round(exact(usage, price))
    assert cost(usage, price) >= 0


@given(usages, flat_prices)
def test_buckets_add_linearly(usage: Usage, price: Price) -> None:
    parts = [cost(Usage(**{bucket: getattr(usage, bucket)}), price) for bucket in BUCKETS]
    assert abs(sum(parts) - cost(usage, price)) <= len(BUCKETS) // 2 + 1, "each part is off by half a nano-dollar at most"


@given(usages, usages, flat_prices)
def test_rounding_happens_once(left: Usage, right: Usage, price: Price) -> None:
    both = Usage(**{bucket: getattr(left, bucket) + getattr(right, bucket) for bucket in BUCKETS})
    assert abs(cost(left, price) + cost(right, price) - cost(both, price)) <= 1


@given(usages, prices())
def test_cost_and_saving_add_up_to_the_cost_without_a_cache(usage: Usage, price: Price) -> None:
    plain = Usage(fresh_input=usage.input_total, output=usage.output)
    assert cost(usage, price) + prompt_cache_saving(usage, price) == cost(plain, price)


@given(usages, prices(), tokens, tokens)
def test_no_split_within_the_bounds_costs_more_than_the_worst_case(usage: Usage, price: Price, spare_input: int, spare_output: int) -> None:
    hold = worst_case(usage.input_total + spare_input, usage.output + spare_output, price)
    assert cost(usage, price) <= hold


@given(tokens, tokens, flat_prices)
def test_the_worst_case_can_happen(input_tokens: int, output_tokens: int, price: Price) -> None:
    dearest = max(BUCKETS[:-1], key=lambda bucket: int(getattr(price.tiers[0].rates, bucket)))
    happened = cost(msgspec.structs.replace(Usage(output=output_tokens), **{dearest: input_tokens}), price)
    assert 0 <= worst_case(input_tokens, output_tokens, price) - happened <= 1


@given(st.integers(0, 10**24 - 1))
def test_what_was_written_reads_back_the_same(nano: int) -> None:
    assert parse_usd(format_usd(nano)) == nano


@given(st.integers(-(10**30), 10**30))
def test_written_amounts_are_plain_decimals(nano: int) -> None:
    text = format_usd(nano)
    whole, decimals = text.removeprefix("-").split(".")
    assert 2 <= len(decimals) <= 9
    assert Fraction(text) * 10**9 == nano
    assert text.startswith("-") == (nano < 0)
    assert whole == str(int(whole))


@given(st.text(max_size=20))
def test_reading_an_amount_gives_its_exact_value_or_a_value_error(text: str) -> None:
    try:
        nano = parse_usd(text)
    except ValueError:
        return
    assert Fraction(nano, 10**9) == Fraction(text)
