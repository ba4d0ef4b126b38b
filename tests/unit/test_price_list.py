"""A host's list of models with prices: exact where it says something, named where it says nothing that can be taken, never zero."""

import json
from typing import Any

import msgspec
import pytest

from tokenrouter.catalog.price_list import MOST_MODELS, PriceTable, Reading, read_list
from tokenrouter.errors import UpstreamFailed
from tokenrouter.money import Price, Rates, Tier

NANO = 10**15
"""Nano-USD per million tokens in one USD per token."""


def entry(name: str = "acme/m", **pricing: Any) -> dict[str, Any]:
    return {"id": name, "pricing": {"prompt": "0.000001", "completion": "0.000002", **pricing}}


def reading(*rows: Any, known: dict[str, Price] | None = None, **more: Any) -> Reading:
    body = more.pop("body", None) or json.dumps({"data": list(rows)}).encode()
    wanted = {"url": "https://list.test", "vendor": "openrouter", "fetched_ns": 5, "now": (known or {}).get, **more}
    return read_list(body, **wanted)


def rates(row: Any) -> list[tuple[int, Rates]]:
    found = reading(row)
    assert found.left_out == ()
    (listed,) = found.table.prices.values()
    return [(tier.above_input_tokens, tier.rates) for tier in listed.tiers]


def whole(*, prompt: int, read: int, write: int, hour: int, output: int) -> Rates:
    return Rates(fresh_input=prompt, cache_read=read, cache_write=write, cache_write_1h=hour, output=output)


def test_strings_of_usd_per_token_are_exact():
    row = entry(
        prompt="0.00000125",
        completion="1e-5",
        input_cache_read="0.000000125",
        input_cache_write="0.0000015625",
        input_cache_write_1h="0.0000025",
        discount=0,
    )
    assert rates(row) == [(0, whole(prompt=1_250_000_000, read=125_000_000, write=1_562_500_000, hour=2_500_000_000, output=10_000_000_000))]


def test_amounts_that_are_too_fine_are_rounded_up():
    assert rates(entry(prompt="0.0000000000000001"))[0][1].fresh_input == 1
    assert rates(entry(prompt="0.00000012345678901234"))[0][1].fresh_input == 123_456_790


def test_gaps_are_filled_with_plain_input():
    assert rates(entry())[0][1] == whole(prompt=NANO // 10**6, read=NANO // 10**6, write=NANO // 10**6, hour=NANO // 10**6, output=2 * NANO // 10**6)


def test_a_write_below_plain_input_is_what_keeping_it_costs():
    assert rates(entry(input_cache_write="0.0000000833"))[0][1].cache_write == 1_083_300_000
    assert rates(entry(input_cache_write="0"))[0][1].cache_write == 1_000_000_000


def test_thresholds_become_tiers_and_begin_where_the_list_says():
    above = {"min_prompt_tokens": 200_000, "prompt": "0.000004"}
    more = {"min_prompt_tokens": 300_000, "completion": "0.000009"}
    assert [(start, found.fresh_input // 10**9, found.output // 10**9) for start, found in rates(entry(overrides=[above, more]))] == [
        (0, 1, 2),
        (199_999, 4, 2),
        (299_999, 4, 9),
    ]


def test_no_condition_lowers_a_price():
    cheaper = [{"min_prompt_tokens": 2, "prompt": "0.0000001"}, {"min_prompt_tokens": 0, "region": "somewhere", "completion": "0"}]
    assert {found.fresh_input // 10**9 for _, found in rates(entry(overrides=cheaper))} == {1}
    assert {found.output // 10**9 for _, found in rates(entry(overrides=cheaper))} == {2}


def test_hours_of_the_day_are_taken_at_their_dearest():
    peak = {"utc_start": "01:00", "utc_end": "04:00", "prompt": "0.000003", "completion": "0.000001"}
    assert [(found.fresh_input // 10**9, found.output // 10**9) for _, found in rates(entry(overrides=[peak]))] == [(3, 2)]


def test_dearer_reasoning_prices_all_output_and_the_rest_is_named():
    row = entry(internal_reasoning="0.000005", request="0.01", image="0", web_search="0.01")
    (listed,) = reading(row).table.prices.values()
    assert (listed.tiers[0].rates.output, listed.also_billed) == (5_000_000_000, ("request", "web_search"))


@pytest.mark.parametrize(
    ("row", "key", "why"),
    [
        (5, "entry 1", "no id"),
        ({"pricing": {}}, "entry 1", "no id"),
        ({"id": "", "pricing": {}}, "entry 1", "no id"),
        ({"id": "x" * 201, "pricing": {}}, "entry 1", "no id"),
        ({"id": "acme/x"}, "openrouter/acme/x", "no pricing"),
        ({"id": "acme/x", "pricing": "free"}, "openrouter/acme/x", "no pricing"),
        ({"id": "acme/x", "pricing": {"prompt": "1e-6"}}, "openrouter/acme/x", "no price of completion"),
        (entry("acme/x", prompt=None), "openrouter/acme/x", "no price of prompt"),
        (entry("acme/x", prompt=0.000001), "openrouter/acme/x", "prompt is 1e-06, not a string"),
        (entry("acme/x", prompt="-1"), "openrouter/acme/x", "prompt is '-1'"),
        (entry("acme/x", prompt="NaN"), "openrouter/acme/x", "'NaN'"),
        (entry("acme/x", prompt="Infinity"), "openrouter/acme/x", "'Infinity'"),
        (entry("acme/x", prompt=""), "openrouter/acme/x", "''"),
        (entry("acme/x", prompt="1e99"), "openrouter/acme/x", "'1e99'|more than"),
        (entry("acme/x", prompt="1"), "openrouter/acme/x", "more than USD 100000"),
        (entry("acme/x", completion=[]), "openrouter/acme/x", "completion is"),
        (entry("acme/x", input_cache_read=True), "openrouter/acme/x", "input_cache_read is True"),
        (entry("acme/x", prompt="0", completion="0"), "openrouter/acme/x", "costs nothing"),
        (entry("acme/x", overrides={}), "openrouter/acme/x", ""),
        (entry("acme/x", overrides="x"), "openrouter/acme/x", "no list of objects"),
        (entry("acme/x", overrides=[{"prompt": "1e-6"}]), "openrouter/acme/x", "no condition"),
        (entry("acme/x", overrides=[{"min_prompt_tokens": "1", "prompt": "1e-6"}]), "openrouter/acme/x", "no number of tokens"),
        (entry("acme/x", overrides=[{"min_prompt_tokens": 5, "prompt": -1}]), "openrouter/acme/x", "overrides.prompt is -1"),
        (entry("acme/m"), "openrouter/acme/m", "twice"),
    ],
)
def test_what_is_no_price_is_named_and_the_others_are_taken(row, key, why):
    found = reading(entry("acme/m"), row)
    if why:
        ((told, said),) = found.left_out
        assert told == key
        assert any(part in said for part in why.split("|")), said
    assert "openrouter/acme/m" in found.table.prices
    assert all(tier.rates.fresh_input for listed in found.table.prices.values() for tier in listed.tiers)


def test_models_that_are_named_free_may_cost_nothing():
    assert rates(entry("acme/m:free", prompt="0", completion="0"))[0][1] == whole(prompt=0, read=0, write=0, hour=0, output=0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"data":5}',
        b'{"data":[]}',
        b'{"data":[NaN]}',
        b"<html>",
        b"\xff",
        b"[" * 5000,
        b'{"data":[{"id":"a/b","pricing":{"prompt":"-1","completion":"1"}}]}',
        json.dumps({"data": [entry()] * (MOST_MODELS + 1)}).encode(),
    ],
)
def test_what_is_no_list_of_prices_is_an_error_that_says_where_it_came_from(body):
    with pytest.raises(UpstreamFailed, match=r"^https://list\.test"):
        reading(body=body)


def test_ids_may_be_vendor_and_model_of_ours():
    assert list(reading(entry("openai/gpt-5"), vendor="*").table.prices) == ["openai/gpt-5"]
    assert reading(entry("openai/gpt-5"), entry("gpt-5"), vendor="*").left_out == (("entry 1", 'has no id of the form "vendor/model"'),)


def price(usd: str, output: str = "0.000002", **tiers: str) -> Price:
    (listed,) = reading(entry(prompt=usd, completion=output)).table.prices.values()
    return Price(tiers=listed.tiers, source="s", version="v")


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({"prompt": "0.00001"}, True),
        ({"prompt": "0.0000101", "input_cache_read": "0.000001", "input_cache_write": "0.0000101"}, False),
        ({"prompt": "0.0000001"}, True),
        ({"prompt": "0.000000099"}, False),
        ({"completion": "0.0000200001"}, False),
        ({"completion": "0"}, False),
        ({"input_cache_read": "0"}, False),
        ({"overrides": [{"min_prompt_tokens": 2, "prompt": "0.000000001"}]}, True),
        ({"overrides": [{"min_prompt_tokens": 2, "prompt": "0.000005"}]}, True),
        ({"overrides": [{"min_prompt_tokens": 9, "prompt": "0.0000101"}]}, False),
    ],
)
def test_a_price_that_moves_by_more_than_ten_times_needs_force(fields, taken):
    known = {"openrouter/acme/m": price("0.000001")}
    found = reading(entry(), known=known)
    assert found.moved == ()
    rows = (entry(**fields), entry("acme/other"))
    found = reading(*rows, known=known)
    assert ("openrouter/acme/m" in found.table.prices) is taken
    if not taken:
        assert "more than 10 times; --force takes it" in found.left_out[0][1]
    forced = reading(*rows, known=known, force=True)
    assert forced.left_out == ()
    assert "openrouter/acme/m" in forced.table.prices


def test_a_price_that_was_nothing_and_becomes_something_needs_force():
    known = {
        "openrouter/acme/m": Price(
            tiers=(Tier(above_input_tokens=0, rates=whole(prompt=0, read=0, write=0, hour=0, output=0)),), source="", version=""
        )
    }
    with pytest.raises(UpstreamFailed, match="moves from 0"):
        reading(entry(), known=known)


def test_what_is_not_taken_keeps_the_price_of_the_list_before_and_what_is_gone_is_gone():
    old = reading(entry("acme/a"), entry("acme/b"), entry("acme/c")).table
    found = reading(entry("acme/a", prompt="0.000003"), entry("acme/b", prompt="-1"), old=old)
    assert {key: listed.tiers[0].rates.fresh_input // 10**9 for key, listed in found.table.prices.items()} == {
        "openrouter/acme/a": 3,
        "openrouter/acme/b": 1,
    }


def test_the_version_names_the_numbers_and_the_table_survives_being_kept():
    one, same, other = reading(entry()), reading(entry(), fetched_ns=9), reading(entry(prompt="0.0000011"))
    assert one.table.version == same.table.version != other.table.version
    assert msgspec.json.decode(msgspec.json.encode(one.table), type=PriceTable) == one.table
