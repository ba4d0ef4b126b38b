"""The compiled price list against the data set's own calculator, and the operator's overrides."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal

import genai_prices
import msgspec
import pytest
from genai_prices.data import providers as genai_providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.types import Tier as GenaiTier

from tokenrouter.catalog import price_snapshot
from tokenrouter.catalog.price_snapshot import REMEMBERED_NAMES, compile_schedule
from tokenrouter.catalog.prices import PriceBook, PriceOverride
from tokenrouter.errors import ConfigError
from tokenrouter.model.usage import Usage
from tokenrouter.money import Rates, cost, parse_usd

BIG_FOUR = ("anthropic", "deepseek", "google", "openai")

USAGES = (
    Usage(),
    Usage(fresh_input=1),
    Usage(cache_read=1),
    Usage(cache_write=1, output=1),
    Usage(fresh_input=3, cache_write=12_304, output=550),
    Usage(fresh_input=5_000, cache_read=80_000, cache_write=10_000, cache_write_1h=5_000, output=1_000),
    Usage(fresh_input=7, cache_read=99_993, output=12_345),
    Usage(fresh_input=8, cache_read=99_993, output=12_345),
    Usage(fresh_input=1, cache_read=127_999),
    Usage(fresh_input=2, cache_read=127_999),
    Usage(cache_write_1h=200_000, output=3),
    Usage(cache_write_1h=200_001, output=3),
    Usage(fresh_input=271_997, cache_write=1, cache_write_1h=1, cache_read=1, output=7),
    Usage(fresh_input=271_998, cache_write=1, cache_write_1h=1, cache_read=1, output=7),
    Usage(fresh_input=999_999, output=64_000),
)
MOMENTS = (
    datetime(2025, 1, 1, 20, tzinfo=UTC),
    datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC),
    datetime(2025, 6, 10, 0, 0, tzinfo=UTC),
    datetime(2026, 3, 13, 0, 29, 59, tzinfo=UTC),
    datetime(2026, 8, 21, 0, 30, tzinfo=UTC),
    datetime(2026, 9, 10, 3, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 11, 21, 6, 0, tzinfo=UTC),
    datetime(2026, 11, 21, 16, 30, tzinfo=UTC),
    datetime(2027, 1, 1, tzinfo=UTC),
)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.load()


def ns(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


def inclusive(usage: Usage) -> genai_prices.Usage:
    """Ours are disjoint; the data set's `input_tokens` contains all the others and `cache_write_tokens` contains the one-hour ones."""
    return genai_prices.Usage(
        input_tokens=usage.input_total,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write + usage.cache_write_1h,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
    )


def nano(usd: Decimal) -> Decimal:
    return usd * 10**9


def token_priced(wanted: tuple[str, ...]) -> Iterator[tuple[Provider, ModelInfo]]:
    for provider in genai_providers:
        if provider.id in wanted:
            for model in provider.models:
                prices = [model.prices] if isinstance(model.prices, ModelPrice) else [conditional.prices for conditional in model.prices]
                if prices and all(price.input_mtok is not None and price.output_mtok is not None for price in prices):
                    yield provider, model


@pytest.mark.parametrize("provider_id", BIG_FOUR)
def test_costs_equal_those_of_the_data_set_for_every_model_usage_and_moment(provider_id: str) -> None:
    compared = 0
    for provider, model in token_priced((provider_id,)):
        schedule = compile_schedule(model, "test")
        assert schedule is not None, model.id
        for moment in MOMENTS:
            price = schedule.at(ns(moment))
            for usage in USAGES:
                theirs = model.calc_price(inclusive(usage), provider, genai_request_timestamp=moment).total_price
                expected = int(nano(theirs).to_integral_value(ROUND_HALF_EVEN))
                assert cost(usage, price) == expected, (model.id, moment, usage)
                compared += 1
    assert compared >= 6 * len(MOMENTS) * len(USAGES)


def test_costs_of_all_other_providers_are_within_a_nano_dollar_of_the_data_set() -> None:
    """Some rows carry binary noise (0.18000000000000002), which is rounded; fees per request are not ours to add."""
    moment, usages = MOMENTS[6], (USAGES[5], USAGES[13])
    compared = 0
    for provider, model in token_priced(tuple(provider.id for provider in genai_providers if provider.id not in BIG_FOUR)):
        schedule = compile_schedule(model, "test")
        assert schedule is not None, model.id
        fee = model.get_prices(moment).requests_kcount or Decimal(0)
        assert isinstance(fee, Decimal)
        for usage in usages:
            theirs = model.calc_price(inclusive(usage), provider, genai_request_timestamp=moment).total_price - fee / 1_000
            assert abs(cost(usage, schedule.at(ns(moment))) - nano(theirs)) <= 1, (provider.id, model.id, usage)
            compared += 1
    assert compared > 2_000


@pytest.mark.parametrize(
    ("vendor", "model", "usage", "moment", "usd"),
    [
        ("anthropic", "claude-sonnet-4-5", USAGES[5], MOMENTS[6], "0.1215"),
        ("anthropic", "claude-sonnet-4-5", Usage(fresh_input=250_000, output=1_000), MOMENTS[0], "1.5225"),
        ("openai", "gpt-5", Usage(fresh_input=20_000, cache_read=80_000, output=1_000), MOMENTS[6], "0.045"),
        ("openai", "gpt-4o", Usage(fresh_input=20_000, cache_read=80_000, output=1_000), MOMENTS[6], "0.16"),
        ("deepseek", "deepseek-chat", Usage(fresh_input=20_000, cache_read=80_000, output=1_000), datetime(2026, 1, 1, 4, tzinfo=UTC), "0.0121"),
        ("deepseek", "deepseek-chat", Usage(fresh_input=20_000, cache_read=80_000, output=1_000), datetime(2026, 1, 1, 20, tzinfo=UTC), "0.00605"),
        ("google", "gemini-2.5-pro", Usage(fresh_input=20_000, cache_read=80_000, output=1_000), MOMENTS[6], "0.045"),
        ("google", "gemini-2.5-pro", Usage(fresh_input=170_000, cache_read=80_000, output=1_000), MOMENTS[6], "0.460"),
        ("anthropic", "claude-opus-5-5", Usage(fresh_input=2_000, cache_read=6_000, cache_write=500, cache_write_1h=1_500), MOMENTS[6], "0.0237"),
        ("anthropic", "claude-haiku-5-5", Usage(fresh_input=110_000), MOMENTS[6], "0.055"),
        ("anthropic", "claude-haiku-5-5", Usage(fresh_input=5_000, cache_read=105_000), MOMENTS[6], "0.00775"),
        ("anthropic", "claude-haiku-5-5", Usage(fresh_input=90_000), MOMENTS[6], "0.009"),
    ],
)
def test_worked_examples(book: PriceBook, vendor: str, model: str, usage: Usage, moment: datetime, usd: str) -> None:
    schedule = book.schedule(vendor, model)
    assert schedule is not None
    assert cost(usage, schedule.at(ns(moment))) == parse_usd(usd)


def test_a_price_names_its_source_and_version(book: PriceBook) -> None:
    schedule = book.schedule("openai", "gpt-5")
    assert schedule is not None
    price = schedule.at(0)
    assert (price.source, price.version) == (f"genai-prices {genai_prices.__version__}", genai_prices.__version__)
    assert book.version == genai_prices.__version__


def test_dated_and_differently_spelled_names_are_the_same_model(book: PriceBook) -> None:
    assert book.schedule("openai", "gpt-5-2025-08-07") is book.schedule("openai", "GPT-5") is book.schedule("openai", "gpt-5") is not None


@pytest.mark.parametrize(
    ("vendor", "model"),
    [
        ("openai", "gpt-9-made-up"),
        ("openai", "claude-sonnet-4-5"),
        ("azure", "claude-sonnet-4-5"),
        ("nobody", "gpt-5"),
        ("my-openai-proxy", "gpt-5"),
        ("openai", ""),
        ("openai", "gpt-5" * 100),
        ("openai", "text-embedding-3-small"),
        ("openai", "whisper-1"),
        ("google", "gemma-3"),
    ],
)
def test_what_has_no_token_price_is_unknown_and_never_free(book: PriceBook, vendor: str, model: str) -> None:
    assert book.schedule(vendor, model) is None


def test_models_without_a_price_are_listed(book: PriceBook) -> None:
    assert book.unpriced([("openai", "gpt-5"), ("openai", "gpt-x"), ("nobody", "m")]) == [("openai", "gpt-x"), ("nobody", "m")]


def test_our_names_of_vendors_are_translated_to_those_of_the_data_set() -> None:
    book = PriceBook.load({"gemini/mine": PriceOverride(input="1", output="2")}, {"gemini": "google"})
    assert book.schedule("gemini", "gemini-2.5-pro") is book.schedule("google", "gemini-2.5-pro") is not None
    assert book.schedule("gemini", "mine") is not None
    assert book.schedule("google", "mine") is None


def test_random_names_do_not_grow_memory() -> None:
    book = PriceBook.load()
    for number in range(10_000):
        book.schedule("deepseek", f"nothing-{number}")
        book.schedule("deepseek", f"deepseek-chat-{number}")
    assert max(book._find.cache_info().currsize, book._snapshot.find.cache_info().currsize) <= REMEMBERED_NAMES
    assert max(len(book._corrected), book._snapshot.compiled) <= sum(len(provider.models) for provider in genai_providers)
    assert book.schedule("deepseek", "deepseek-chat-1") is book.schedule("deepseek", "deepseek-chat")


def test_a_known_name_is_compiled_once(book: PriceBook, monkeypatch: pytest.MonkeyPatch) -> None:
    first = book.schedule("anthropic", "claude-opus-4-5")
    monkeypatch.setattr(price_snapshot, "compile_schedule", None)
    assert book.schedule("anthropic", "claude-opus-4-5") is first


def test_fees_beside_tokens_are_named_and_left_out(book: PriceBook) -> None:
    schedule = book.schedule("perplexity", "sonar")
    assert schedule is not None
    assert schedule.at(0).also_billed == ("requests_kcount",)
    assert cost(Usage(), schedule.at(0)) == 0


def info(prices: ModelPrice | list[ConditionalPrice]) -> ModelInfo:
    return ModelInfo(id="m", match=ClauseEquals(equals="m"), prices=prices)


def test_each_key_may_have_its_own_thresholds() -> None:
    tiered_input = TieredPrices(base=Decimal(1), tiers=[GenaiTier(start=100, price=Decimal(2)), GenaiTier(start=300, price=Decimal(4))])
    tiered_read = TieredPrices(base=Decimal("0.1"), tiers=[GenaiTier(start=200, price=Decimal("0.3"))])
    schedule = compile_schedule(info(ModelPrice(input_mtok=tiered_input, cache_read_mtok=tiered_read, output_mtok=Decimal(5))), "v")
    assert schedule is not None
    found = [(t.above_input_tokens, t.rates.fresh_input, t.rates.cache_read, t.rates.cache_write, t.rates.output) for t in schedule.at(0).tiers]
    usd = 1_000_000_000
    assert found == [
        (0, usd, usd // 10, usd, 5 * usd),
        (100, 2 * usd, usd // 10, 2 * usd, 5 * usd),
        (200, 2 * usd, 3 * usd // 10, 2 * usd, 5 * usd),
        (300, 4 * usd, 3 * usd // 10, 4 * usd, 5 * usd),
    ]


def test_tiers_of_cheaper_reads_alone_equal_the_data_set_at_every_threshold() -> None:
    model = info(
        ModelPrice(
            input_mtok=Decimal(3),
            cache_read_mtok=TieredPrices(
                base=Decimal("0.3"), tiers=[GenaiTier(start=0, price=Decimal("0.2")), GenaiTier(start=50, price=Decimal(1))]
            ),
            output_mtok=TieredPrices(base=Decimal(1), tiers=[GenaiTier(start=50, price=Decimal(2))]),
        )
    )
    provider = Provider(id="p", name="p", api_pattern="", models=[model])
    schedule = compile_schedule(model, "v")
    assert schedule is not None
    for read in (0, 1, 49, 50, 51):
        usage = Usage(cache_read=read, output=9)
        assert cost(usage, schedule.at(0)) == nano(model.calc_price(inclusive(usage), provider).total_price)


def test_a_missing_write_price_means_plain_input_and_a_zero_price_means_zero() -> None:
    free_writes = compile_schedule(info(ModelPrice(input_mtok=Decimal(3), cache_write_mtok=Decimal(0), output_mtok=Decimal(0))), "v")
    no_writes = compile_schedule(info(ModelPrice(input_mtok=Decimal(3), output_mtok=Decimal(9))), "v")
    assert free_writes is not None
    assert no_writes is not None
    assert free_writes.at(0).tiers[0].rates == Rates(fresh_input=3_000_000_000, cache_read=3_000_000_000, cache_write=0, cache_write_1h=0, output=0)
    assert no_writes.at(0).tiers[0].rates.cache_write_1h == 3_000_000_000


def test_a_price_for_five_minute_writes_is_the_price_of_the_short_lifetime() -> None:
    prices = ModelPrice(input_mtok=Decimal(1), cache_write_mtok=Decimal(2), cache_write_5m_mtok=Decimal(3), output_mtok=Decimal(9))
    schedule = compile_schedule(info(prices), "v")
    assert schedule is not None
    assert schedule.at(0).tiers[0].rates.cache_write == 3_000_000_000
    assert schedule.at(0).tiers[0].rates.cache_write_1h == 2_000_000_000


def test_a_model_that_is_unpriced_for_some_time_is_unpriced() -> None:
    priced = ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1)))
    later = ConditionalPrice(StartDateConstraint(start_date=date(2026, 1, 1)), prices=ModelPrice(input_mtok=Decimal(1)))
    assert compile_schedule(info([priced, later]), "v") is None
    assert compile_schedule(info([]), "v") is None


def test_daily_hours_in_another_zone_are_moved_to_utc() -> None:
    def at(usd: int) -> ModelPrice:
        return ModelPrice(input_mtok=Decimal(usd), output_mtok=Decimal(usd))

    shanghai = timezone(timedelta(hours=8))
    model = info(
        [
            ConditionalPrice(prices=at(1)),
            ConditionalPrice(TimeOfDateConstraint(time(4, 30, tzinfo=shanghai), time(9, tzinfo=shanghai)), prices=at(2)),
            ConditionalPrice(TimeOfDateConstraint(time(12), time(13)), prices=at(3)),
            ConditionalPrice(StartDateConstraint(start_date=date(2027, 1, 1)), prices=at(4)),
        ]
    )
    schedule = compile_schedule(model, "v")
    assert schedule is not None
    for start in (datetime(2026, 5, 4, tzinfo=UTC), datetime(2026, 12, 31, 12, tzinfo=UTC)):
        for minutes in range(0, 2 * 1440, 15):
            moment = start + timedelta(minutes=minutes)
            theirs = model.get_prices(moment).input_mtok
            assert isinstance(theirs, Decimal)
            assert schedule.at(ns(moment)).tiers[0].rates.fresh_input == nano(theirs), moment


def override(table: str) -> PriceOverride:
    loaded = msgspec.convert(tomllib.loads(f'[prices."openai/my-model"]\n{table}'), dict[str, dict[str, PriceOverride]])
    return loaded["prices"]["openai/my-model"]


def test_an_override_is_read_from_quoted_decimals_and_its_gaps_are_filled() -> None:
    assert override('input = "3.00"\noutput = "15.00"').rates() == Rates(
        fresh_input=3_000_000_000, cache_read=3_000_000_000, cache_write=3_000_000_000, cache_write_1h=3_000_000_000, output=15_000_000_000
    )
    assert override('input = "3"\noutput = "15"\ncache_read = "0.3"\ncache_write = "3.75"').rates() == Rates(
        fresh_input=3_000_000_000, cache_read=300_000_000, cache_write=3_750_000_000, cache_write_1h=3_750_000_000, output=15_000_000_000
    )


def test_a_price_of_zero_is_allowed_where_it_is_written() -> None:
    book = PriceBook.load({"local/*": override('input = "0"\noutput = "0"')})
    schedule = book.schedule("local", "anything")
    assert schedule is not None
    assert cost(Usage(fresh_input=10**9, output=10**9), schedule.at(0)) == 0


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('input = 3.5\noutput = "15"', r'input = "3\.5"'),
        ('input = "3"\noutput = 15', "output must be a quoted decimal"),
        ('input = "3"\noutput = "15"\ncache_write = 3.75', "cache_write must be a quoted decimal"),
        ('input = "3e0"\noutput = "15"', "input: an amount in USD must be a plain decimal"),
        ('input = "-3"\noutput = "15"', "plain decimal"),
        ('input = "3"', "missing required field `output`"),
        ('input = "3"\noutput = "1"\ncached = "1"', "unknown field `cached`"),
    ],
)
def test_a_table_that_is_not_a_price_is_refused_with_what_is_right(table: str, says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        override(table)


@pytest.mark.parametrize("key", ["gpt-5", "/gpt-5", "openai/", ""])
def test_an_override_without_vendor_and_model_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match='"vendor/model"'):
        PriceBook.load({key: PriceOverride(input="1", output="1")})


def test_exact_overrides_win_over_the_vendors_and_those_over_the_data_set() -> None:
    book = PriceBook.load({"openai/*": PriceOverride(input="1", output="1"), "openai/gpt-5": PriceOverride(input="2", output="2", source="contract")})
    exact, wild, listed = book.schedule("openai", "gpt-5"), book.schedule("openai", "gpt-4o"), book.schedule("anthropic", "claude-opus-4-5")
    assert exact is not None
    assert wild is not None
    assert listed is not None
    assert (exact.at(0).tiers[0].rates.fresh_input, exact.at(0).source) == (2_000_000_000, "contract")
    assert (wild.at(0).tiers[0].rates.fresh_input, wild.at(0).source) == (1_000_000_000, "override")
    assert listed.at(0).source.startswith("genai-prices")


def test_a_changed_override_is_another_version() -> None:
    def version(usd: str) -> str:
        schedule = PriceBook.load({"v/m": PriceOverride(input=usd, output="1")}).schedule("v", "m")
        assert schedule is not None
        return schedule.at(0).version

    assert version("1") == version("1") != version("2")
    assert version("1").startswith("override-")


def test_models_with_slashes_in_their_names_can_be_overridden() -> None:
    book = PriceBook.load({"openrouter/acme/model": PriceOverride(input="1", output="1")})
    assert book.schedule("openrouter", "acme/model") is not None


def test_importing_the_module_does_not_import_the_price_data() -> None:
    script = "import sys, tokenrouter.catalog.prices; sys.exit(any(name.startswith('genai_prices') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
