"""Worked examples: lines of billing consoles, thresholds, windows, decimals."""

import ast
import doctest
from pathlib import Path

import pytest

from tokenrouter import money
from tokenrouter.errors import NotFound
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.money import (
    Price,
    PriceSchedule,
    PriceWindow,
    Rates,
    Tier,
    UnknownPrice,
    always,
    cost,
    format_usd,
    parse_usd,
    prompt_cache_saving,
    worst_case,
)

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS


def flat(fresh: int, read: int, write: int, write_1h: int, output: int) -> Price:
    return Price(tiers=(tier(0, fresh, read, write, write_1h, output),), source="test", version="1")


def tier(above: int, fresh: int, read: int, write: int, write_1h: int, output: int) -> Tier:
    return Tier(
        above_input_tokens=above,
        rates=Rates(fresh_input=fresh, cache_read=read, cache_write=write, cache_write_1h=write_1h, output=output),
    )


SONNET = flat(3_000_000_000, 300_000_000, 3_750_000_000, 6_000_000_000, 15_000_000_000)
TIERED = Price(
    tiers=(
        tier(0, 3_000_000_000, 300_000_000, 3_750_000_000, 6_000_000_000, 15_000_000_000),
        tier(200_000, 6_000_000_000, 600_000_000, 7_500_000_000, 12_000_000_000, 22_500_000_000),
    ),
    source="test",
    version="1",
)


def test_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(money).failed == 0


def test_money_is_computed_without_floating_point() -> None:
    tree = ast.parse(Path(money.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, (float, complex))), ast.unparse(node)
        assert not isinstance(node, ast.Div), "true division makes a float"
        assert not (isinstance(node, ast.Name) and node.id in {"float", "round", "Decimal", "math"}), node.id
        assert not isinstance(node, ast.Pow), "a negative exponent makes a float"


def test_money_imports_nothing_but_the_vocabulary() -> None:
    tree = ast.parse(Path(money.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules == {"collections.abc", "re", "typing", "msgspec", "tokenrouter.errors", "tokenrouter.model.usage"}


def test_a_written_token_is_billed_once() -> None:
    assert cost(Usage(fresh_input=3, cache_write=12_304, output=550), SONNET) == parse_usd("0.054399")


def test_the_long_lifetime_has_its_own_price() -> None:
    mixed = Usage(cache_read=80_000, cache_write=10_000, cache_write_1h=5_000, fresh_input=5_000, output=1_000)
    assert cost(mixed, SONNET) == parse_usd("0.1215")
    short = Usage(cache_read=80_000, cache_write=15_000, fresh_input=5_000, output=1_000)
    assert cost(short, SONNET) == parse_usd("0.11025")


def test_no_tokens_cost_nothing() -> None:
    assert cost(Usage(), TIERED) == 0
    assert cost(NO_USAGE, TIERED) == 0


def test_one_cached_token_is_not_rounded_away() -> None:
    assert cost(Usage(cache_read=1), flat(250_000_000, 25_000_000, 0, 0, 0)) == 25


def test_reasoning_is_a_remark_and_not_a_bucket() -> None:
    assert cost(Usage(output=100, reasoning=90), SONNET) == cost(Usage(output=100), SONNET)


def test_halves_of_a_nano_dollar_go_to_the_even_one() -> None:
    price = flat(500_000, 0, 0, 0, 0)
    assert [cost(Usage(fresh_input=n), price) for n in range(6)] == [0, 0, 1, 2, 2, 2]


def test_a_threshold_is_passed_by_one_token_more_and_not_by_reaching_it() -> None:
    assert TIERED.rates_for(200_000) is TIERED.tiers[0].rates
    assert TIERED.rates_for(200_001) is TIERED.tiers[1].rates
    assert TIERED.rates_for(0) is TIERED.tiers[0].rates


def test_cached_tokens_count_towards_the_threshold_and_the_tier_prices_everything() -> None:
    usage = Usage(fresh_input=1_000, cache_read=199_001, output=1_000)
    assert cost(usage, TIERED) == parse_usd("0.006") + parse_usd("0.1194006") + parse_usd("0.0225")
    assert cost(Usage(fresh_input=250_000, output=1_000), TIERED) == parse_usd("1.5225")


def test_worst_case_takes_the_dearest_way_to_bill_input() -> None:
    assert worst_case(1_000_000, 0, SONNET) == parse_usd("6")
    assert worst_case(0, 1_000_000, SONNET) == parse_usd("15")
    assert worst_case(1, 0, flat(1, 2, 1, 1, 1)) == 1, "rounded up"
    assert worst_case(0, 0, SONNET) == 0


def test_worst_case_looks_into_every_tier_that_can_be_reached() -> None:
    assert worst_case(200_000, 1_000, TIERED) == parse_usd("1.215")
    assert worst_case(200_001, 1_000, TIERED) == parse_usd("2.422512")
    cheaper_above = Price(tiers=(tier(0, 9, 9, 9, 9, 9), tier(10, 1, 1, 1, 1, 1)), source="test", version="1")
    assert worst_case(1_000_000, 1_000_000, cheaper_above) == 18


def test_savings_are_what_plain_input_would_have_cost_more() -> None:
    assert prompt_cache_saving(Usage(cache_read=1_000_000, fresh_input=5, output=7), SONNET) == parse_usd("2.7")


def test_a_write_that_nobody_read_saves_less_than_nothing() -> None:
    assert prompt_cache_saving(Usage(cache_write=1_000_000), SONNET) == -parse_usd("0.75")
    assert prompt_cache_saving(Usage(cache_write_1h=1_000_000), SONNET) == -parse_usd("3")


def test_a_second_read_pays_the_hour_write_back() -> None:
    write = prompt_cache_saving(Usage(cache_write_1h=10_000), SONNET)
    read = prompt_cache_saving(Usage(cache_read=10_000), SONNET)
    assert write + read < 0 < write + 2 * read


def test_unreported_usage_saves_nothing() -> None:
    assert prompt_cache_saving(NO_USAGE, SONNET) == 0
    assert prompt_cache_saving(Usage(fresh_input=5_000, output=9, cache_reported=False), SONNET) == 0


@pytest.mark.parametrize("tiers", [(), (tier(5, 1, 1, 1, 1, 1),), (tier(0, 1, 1, 1, 1, 1), tier(9, 1, 1, 1, 1, 1), tier(8, 1, 1, 1, 1, 1))])
def test_tiers_that_leave_a_gap_or_run_backwards_are_refused(tiers: tuple[Tier, ...]) -> None:
    with pytest.raises(ValueError, match="start at 0"):
        Price(tiers=tiers, source="test", version="1")


def test_a_negative_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        flat(1, 1, 1, 1, -1)


def test_a_price_that_never_changes_holds_at_any_time() -> None:
    assert always(SONNET).at(-1) is always(SONNET).at(10**19) is SONNET


def test_a_schedule_needs_a_window() -> None:
    with pytest.raises(ValueError, match="at least one"):
        PriceSchedule(windows=())


def test_a_new_price_begins_at_its_moment() -> None:
    schedule = PriceSchedule(windows=(PriceWindow(price=SONNET), PriceWindow(price=TIERED, starts_ns=5 * DAY_NS)))
    assert schedule.at(5 * DAY_NS - 1) is SONNET
    assert schedule.at(5 * DAY_NS) is TIERED


def test_daily_hours_include_their_start_and_exclude_their_end() -> None:
    schedule = PriceSchedule(windows=(PriceWindow(price=SONNET), PriceWindow(price=TIERED, daily_ns=(HOUR_NS, 4 * HOUR_NS))))
    day = 20_000 * DAY_NS
    assert [schedule.at(day + t) is TIERED for t in (HOUR_NS - 1, HOUR_NS, 4 * HOUR_NS - 1, 4 * HOUR_NS)] == [False, True, True, False]


def test_daily_hours_may_reach_over_midnight() -> None:
    schedule = PriceSchedule(windows=(PriceWindow(price=SONNET), PriceWindow(price=TIERED, daily_ns=(22 * HOUR_NS, 2 * HOUR_NS))))
    assert [schedule.at(hour * HOUR_NS) is TIERED for hour in (21, 22, 23, 24, 25, 26)] == [False, True, True, True, True, False]


def test_the_last_active_window_wins_and_hours_may_have_a_first_day() -> None:
    late = PriceWindow(price=TIERED, starts_ns=2 * DAY_NS, daily_ns=(0, HOUR_NS))
    schedule = PriceSchedule(windows=(PriceWindow(price=SONNET), late))
    assert schedule.at(DAY_NS) is SONNET
    assert schedule.at(2 * DAY_NS) is TIERED
    assert schedule.at(2 * DAY_NS + HOUR_NS) is SONNET


def test_the_first_price_holds_where_no_window_is_active() -> None:
    schedule = PriceSchedule(windows=(PriceWindow(price=SONNET, starts_ns=9 * DAY_NS), PriceWindow(price=TIERED, starts_ns=10 * DAY_NS)))
    assert schedule.at(0) is SONNET


@pytest.mark.parametrize(
    ("text", "nano"),
    [("0", 0), ("12.5", 12_500_000_000), ("0.000000001", 1), ("3", 3_000_000_000), ("3.00", 3_000_000_000), ("0.0028", 2_800_000)],
)
def test_decimal_strings_are_read_exactly(text: str, nano: int) -> None:
    assert parse_usd(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1e3",
        "1E-6",
        "-1",
        "+1",
        "NaN",
        "inf",
        ".5",
        "5.",
        "0.0000000001",
        "1,000",
        "1_000",
        " 1",
        "1\n",
        "$1",
        "0x10",
        "１２",
        "9" * 16,
        "9" * 9_999,
    ],
)
def test_anything_but_a_plain_decimal_is_refused_and_told_what_is_right(text: str) -> None:
    with pytest.raises(ValueError, match=r'such as "12\.5"'):
        parse_usd(text)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (-123_000, "-0.000123"),
        (12_500_000_000, "12.50"),
        (3_000_000_000, "3.00"),
        (10**24, "1000000000000000.00"),
        (-1_000_000_000, "-1.00"),
    ],
)
def test_amounts_are_written_exactly(nano: int, text: str) -> None:
    assert format_usd(nano) == text


def test_an_unpriced_model_is_a_refusal_that_says_how_to_price_it() -> None:
    refusal = UnknownPrice.of("openai", "gpt-x")
    assert isinstance(refusal, NotFound)
    assert (refusal.status, refusal.code, refusal.param, refusal.retryable) == (404, "model_not_priced", "model", False)
    assert '[prices."openai/gpt-x"]' in refusal.message


def test_fees_are_neither_saved_nor_lost() -> None:
    rates = Rates(fresh_input=3_000_000_000, cache_read=300_000_000, cache_write=3_000_000_000, cache_write_1h=3_000_000_000, output=0)
    price = Price(tiers=(Tier(above_input_tokens=0, rates=rates),), source="list", version="1")
    plain, searched = Usage(cache_read=1_000), Usage(cache_read=1_000, fees=10_000_000)
    assert cost(searched, price) == cost(plain, price) + 10_000_000
    assert prompt_cache_saving(searched, price) == prompt_cache_saving(plain, price) == 2_700_000
