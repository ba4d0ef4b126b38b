"""Which price holds where several are known, what the installed data says of tiers of service, and what is corrected in it."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import genai_prices
import pytest
from genai_prices.data import providers as genai_providers
from genai_prices.types import ClauseEquals, ConditionalPrice, ModelInfo, ModelPrice, PriceVariant, StartDateConstraint, TimeOfDateConstraint

from tokenrouter.catalog.price_corrections import STALE_DAYS, load_corrections
from tokenrouter.catalog.price_list import Listed, PriceTable
from tokenrouter.catalog.price_overrides import PriceOverride
from tokenrouter.catalog.price_snapshot import compile_schedule
from tokenrouter.catalog.prices import Layers, PriceBook, Prices
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.usage import Usage
from tokenrouter.money import Rates, Tier, cost, format_usd

USD = 1_000_000_000
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * USD
USAGES = (
    Usage(fresh_input=1_000_000),
    Usage(fresh_input=3, cache_read=5, cache_write=7, output=11),
    Usage(cache_read=271_999, fresh_input=1, output=5),
    Usage(cache_read=272_000, fresh_input=1, output=5),
    Usage(cache_write=300_000, cache_write_1h=4, output=50_000),
)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.load(provider_ids={"gemini": "google", "azure": "openai", "vertex-anthropic": "google"})


def rate(book: PriceBook, vendor: str, model: str, tier: str = "") -> str | None:
    """USD per million tokens of plain input."""
    schedule = book.schedule(vendor, model)
    price = None if schedule is None else schedule.in_tier(tier, NOW_NS) if tier else schedule.at(NOW_NS)
    return None if price is None else format_usd(price.tiers[0].rates.fresh_input)


def inclusive(usage: Usage) -> genai_prices.Usage:
    return genai_prices.Usage(
        input_tokens=usage.input_total,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write + usage.cache_write_1h,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
    )


def test_costs_in_every_tier_of_service_equal_those_of_the_data_set():
    compared = 0
    for provider in genai_providers:
        for model in provider.models if provider.id in ("openai", "anthropic", "google") else ():
            schedule = compile_schedule(model, "test")
            for variant in model.price_variants or ():
                ((key, name),) = variant.when.items()
                if schedule is None or name not in schedule.service_tiers:
                    assert key == "processing" or name == "default" or schedule is None, (model.id, variant.when)
                    continue
                for moment in (NOW, datetime(2027, 1, 1, tzinfo=UTC)):
                    price = schedule.in_tier(name, int(moment.timestamp()) * USD)
                    assert price is not None
                    assert price.version == f"test:{name}"
                    for usage in USAGES:
                        theirs = model.calc_price(inclusive(usage), provider, genai_request_timestamp=moment, price_context={key: name}).total_price
                        assert cost(usage, price) == int((theirs * USD).to_integral_value(ROUND_HALF_EVEN)), (model.id, name, moment, usage)
                        compared += 1
    assert compared > 500


def test_before_a_tier_had_a_price_it_has_none(book: PriceBook):
    schedule = book.schedule("openai", "gpt-5")
    assert schedule is not None
    assert schedule.in_tier("flex", int(datetime(2026, 10, 11, 23, 59, 59, tzinfo=UTC).timestamp()) * USD) is None
    assert schedule.in_tier("flex", int(datetime(2026, 10, 12, tzinfo=UTC).timestamp()) * USD) is not None


def test_variants_replace_key_by_key_and_the_foremost_that_is_active_wins():
    def at(**usd: int) -> ModelPrice:
        return ModelPrice(**{f"{key}_mtok": Decimal(value) for key, value in usd.items()})

    model = ModelInfo(
        id="m",
        match=ClauseEquals(equals="m"),
        prices=[
            ConditionalPrice(prices=at(input=10, output=20)),
            ConditionalPrice(StartDateConstraint(datetime(2026, 6, 1, tzinfo=UTC).date()), prices=at(input=30, output=40)),
        ],
        price_variants=[
            PriceVariant({"service_tier": "flex"}, at(output=4), StartDateConstraint(datetime(2026, 9, 1, tzinfo=UTC).date())),
            PriceVariant({"service_tier": "flex"}, at(input=1, output=2), StartDateConstraint(datetime(2026, 3, 1, tzinfo=UTC).date())),
        ],
    )
    schedule = compile_schedule(model, "v")
    assert schedule is not None
    for months in range(1, 13):
        moment = datetime(2026, months, 15, tzinfo=UTC)
        price = schedule.in_tier("flex", int(moment.timestamp()) * USD)
        theirs = model.get_prices(moment, {"service_tier": "flex"})
        if months < 3:
            assert price is None, "before that, no tier is known"
        else:
            assert price is not None
            assert [price.tiers[0].rates.fresh_input, price.tiers[0].rates.output] == [theirs.input_mtok * USD, theirs.output_mtok * USD]


def test_a_tier_whose_hours_cannot_be_said_has_no_price():
    def hours(start: int) -> TimeOfDateConstraint:
        moment = datetime(2026, 1, 1, start, tzinfo=UTC)
        return TimeOfDateConstraint(moment.timetz(), (moment + timedelta(hours=3)).timetz())

    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
    prices = [ConditionalPrice(prices=price), ConditionalPrice(hours(1), prices=price)]
    variants = [PriceVariant({"service_tier": "flex"}, price, hours(2))]
    schedule = compile_schedule(ModelInfo(id="m", match=ClauseEquals(equals="m"), prices=prices, price_variants=variants), "v")
    assert schedule is not None
    assert schedule.service_tiers == {}


def test_tiers_of_service_are_known_at_the_vendor_itself_and_not_at_hosts_that_borrow_its_rows(book: PriceBook):
    assert rate(book, "openai", "gpt-5", "priority") == "2.50"
    assert rate(book, "azure", "gpt-5") == "1.25"
    assert rate(book, "azure", "gpt-5", "priority") is None
    assert rate(book, "anthropic", "claude-opus-5-5", "fast") == "8.00"
    assert rate(book, "vertex-anthropic", "claude-opus-5-5", "fast") is None


def test_what_the_data_lacks_is_corrected_and_says_so(book: PriceBook):
    schedule = book.schedule("openai", "gpt-6.1-terra")
    assert schedule is not None
    price = schedule.at(NOW_NS)
    assert [(tier.rates.cache_write, tier.rates.cache_write_1h) for tier in price.tiers] == [(1.25 * USD, 2.5 * USD), (2.5 * USD, 5 * USD)]
    assert "corrected by https://developers.openai.com/" in price.source
    flex = schedule.in_tier("flex", NOW_NS)
    assert flex is not None
    assert (flex.tiers[0].rates.cache_write_1h, flex.version.endswith(":flex")) == (1.25 * USD, True)
    sol = book.schedule("openai", "gpt-6-sol")
    assert sol is not None
    assert "assumed after" in sol.at(NOW_NS).source
    assert rate(book, "gemini", "gemini-4-argon", "flex") == "1.00"
    assert rate(book, "gemini", "gemini-4-argon", "priority") == "3.60"
    assert rate(book, "gemini", "gemini-3.6-flash", "priority") is None
    assert rate(book, "google", "gemini-4-argon", "flex") is None, "Vertex AI has prices of its own"


def test_a_write_that_is_only_storage_in_the_data_is_input_besides(book: PriceBook):
    schedule = book.schedule("openrouter", "google/gemini-2.5-pro")
    assert schedule is not None
    assert schedule.at(NOW_NS).tiers[0].rates.cache_write == 1_625_000_000
    claude = book.schedule("openrouter", "anthropic/claude-sonnet-4.5")
    assert claude is not None
    assert claude.at(NOW_NS).tiers[0].rates.cache_write == 3_750_000_000


def test_a_correction_of_one_model_leaves_the_versions_of_others_alone(book: PriceBook):
    schedule = book.schedule("openai", "gpt-5")
    assert schedule is not None
    assert schedule.at(NOW_NS).version == genai_prices.__version__


def test_every_correction_is_about_a_model_that_the_data_has():
    known = {provider.id: [model.id for model in provider.models] for provider in genai_providers}
    ids = {"gemini": "google", "azure": "openai"}
    for correction in load_corrections().corrections:
        for pattern in correction.models:
            vendor = pattern.partition("/")[0]
            assert any(correction.about(vendor, model) for model in known[ids.get(vendor, vendor)]), pattern


def test_corrections_that_nobody_has_looked_at_for_long_are_stale():
    corrections = load_corrections()
    read = min(correction.read for correction in corrections.corrections)
    assert corrections.stale(read + timedelta(days=STALE_DAYS)) == []
    assert len(corrections.stale(read + timedelta(days=STALE_DAYS + 400))) == len(corrections.corrections)


def table(**prices: int) -> PriceTable:
    rates = {
        key.replace("__", "/"): Rates(fresh_input=usd * USD, cache_read=usd * USD, cache_write=usd * USD, cache_write_1h=usd * USD, output=usd * USD)
        for key, usd in prices.items()
    }
    listed = {key: Listed(tiers=(Tier(above_input_tokens=0, rates=found),)) for key, found in rates.items()}
    return PriceTable(url="https://list.test/models", version="list-1", fetched_ns=NOW_NS, prices=listed)


def flat(usd: str) -> PriceOverride:
    return PriceOverride(input=usd, output=usd)


def test_the_file_wins_over_the_admin_api_that_over_the_list_that_over_the_data_and_free_comes_last():
    layers = Layers(
        file={"openai/a": flat("1"), "own/*": flat("1")},
        admin={"openai/a": flat("2"), "openai/b": flat("2"), "own/b": flat("2"), "local/b": flat("2")},
        table=table(openai__a=3, openai__b=3, openai__c=3),
        free=frozenset(("local", "openai")),
        corrections=load_corrections(),
    )
    book = PriceBook.made_of(layers)
    assert [rate(book, "openai", model) for model in ("a", "b", "c", "gpt-5", "unknown")] == ["1.00", "2.00", "3.00", "1.25", "0.00"]
    assert [rate(book, vendor, "b") for vendor in ("own", "local", "nobody")] == ["1.00", "2.00", None]
    assert [(name, found.at(NOW_NS).tiers[0].rates.output // USD) for name, found in book.stack("openai", "a")] == [
        ("file", 1),
        ("admin", 2),
        ("list", 3),
        ("free", 0),
    ]
    assert [name for name, _ in book.stack("openai", "gpt-5")] == ["data", "free"]


def test_a_premium_is_on_whatever_is_below_it():
    book = PriceBook.made_of(
        Layers(file={"openai/*": PriceOverride(times="2")}, admin={"openai/b": flat("5")}, corrections=load_corrections(), free=frozenset())
    )
    assert [rate(book, "openai", model) for model in ("gpt-5", "b", "unknown")] == ["2.50", "10.00", None]
    assert rate(book, "openai", "gpt-5", "flex") == "1.25"


def test_other_overrides_make_another_book_and_leave_the_first_as_it_was():
    first = PriceBook.load({"openai/a": flat("1")})
    prices = Prices(first)
    prices.replace(first.with_overrides({"openai/a": flat("9"), "openai/b": flat("2")}))
    second = prices.book
    assert (rate(first, "openai", "b"), rate(second, "openai", "b"), rate(second, "openai", "a")) == (None, "2.00", "1.00")
    assert prices.schedule("openai", "b") is second.schedule("openai", "b")
    assert rate(second.with_overrides({}), "openai", "b") is None
    assert second.with_overrides({}).schedule("openai", "gpt-5") == first.schedule("openai", "gpt-5")
    for key in ("gpt-5", "openai/", "/x", ""):
        with pytest.raises(InvalidRequest, match='"vendor/model"'):
            first.with_overrides({key: flat("1")})


def test_a_list_keeps_what_it_cannot_tell_and_never_at_a_lower_rate():
    book = PriceBook.load()
    listed = book.with_table(table(**{"openai__gpt-5.4": 2}))
    schedule = listed.schedule("openai", "gpt-5.4")
    assert schedule is not None
    price = schedule.at(NOW_NS)
    assert [(tier.above_input_tokens, tier.rates.fresh_input / USD, tier.rates.output / USD) for tier in price.tiers] == [
        (0, 2, 2),
        (272_000, 5, 22.5),
    ]
    assert price.version == "list-1"
    assert schedule.in_tier("flex", NOW_NS) is None, "what a tier costs is not known where the price is another one"
    terra = book.with_table(table(**{"openai__gpt-6.1-terra": 2})).schedule("openai", "gpt-6.1-terra")
    assert terra is not None
    assert terra.at(NOW_NS).tiers[0].rates.cache_write_1h == 2.5 * USD


def test_a_list_that_agrees_keeps_the_tiers_of_service():
    book = PriceBook.load()
    below = book.schedule("openai", "gpt-5")
    assert below is not None
    agreeing = PriceTable(url="u", version="list-2", fetched_ns=NOW_NS, prices={"openai/gpt-5": Listed(tiers=below.at(NOW_NS).tiers)})
    schedule = book.with_table(agreeing).schedule("openai", "gpt-5")
    assert schedule is not None
    assert (schedule.at(NOW_NS).version, rate(book.with_table(agreeing), "openai", "gpt-5", "flex")) == ("list-2", "0.625")


def test_where_prices_change_by_the_hour_a_list_is_not_believed():
    book = PriceBook.load().with_table(table(**{"deepseek__deepseek-v4-pro": 1}))
    schedule = book.schedule("deepseek", "deepseek-v4-pro")
    assert schedule is not None
    assert len(schedule.windows) > 1
