"""`tokenrouter prices` as people and scripts call it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tokenrouter.catalog.price_list import Listed, PriceTable
from tokenrouter.cli import main
from tokenrouter.money import Rates, Tier
from tokenrouter.storage.price_file import PriceFile
from tokenrouter.upstream import price_refresh

USD = 1_000_000_000


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`run("show", "gpt-5", toml="...")`: status, lines of the output, errors."""
    for name in ("OPENAI_API_KEY", "TOKENROUTER_CONFIG", "PRICES_REFRESH_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SANDBOX", "1")

    def call(*arguments: str, toml: str = "") -> tuple[int, str, str]:
        config = tmp_path / "tokenrouter.toml"
        config.write_text(toml)
        status = main(["prices", *arguments, "--config", str(config)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def shown(run: Any, model: str, **more: Any) -> dict[str, Any]:
    status, out, _ = run("show", model, "--json", **more)
    assert status == 0
    return json.loads(out)


def test_a_price_is_shown_with_its_tiers_its_source_and_what_a_request_costs(run):
    status, out, _ = run("show", "gpt-5.4")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "openai/gpt-5.4: USD per million tokens"
    assert "  from genai-prices 0.2.3; version 0.2.3" in lines
    assert "  all requests: fresh_input 2.50, cache_read 0.25, cache_write 2.50, cache_write_1h 2.50, output 15.00" in lines
    assert "  above 272000 input tokens: fresh_input 5.00, cache_read 0.50, cache_write 5.00, cache_write_1h 5.00, output 22.50" in lines
    assert "  10000 input tokens, 8000 of them from the cache, and 500 output: USD 0.0145" in lines
    assert "  300000 input tokens, 240000 of them from the cache, and 500 output: USD 0.43125" in lines
    assert {"service tier flex", "service tier priority", "service tier fast"} <= set(lines)
    assert "billed beside tokens, and not in these amounts: storage_searches_kcount, web_searches_kcount" in lines


def test_the_same_for_machines(run):
    found = shown(run, "gpt-5")
    assert (found["model"], found["version"], found["tiers"][0]["output"]) == ("openai/gpt-5", "0.2.3", "10.00")
    assert found["service_tiers"]["flex"]["tiers"][0]["fresh_input"] == "0.625"
    assert found["service_tiers"]["flex"]["version"] == "0.2.3:flex"
    assert found["examples"][0]["usd"] == "0.0085"
    assert found["layers"] == [{"layer": "data", **{name: found[name] for name in ("source", "version", "tiers", "also_billed", "examples")}}]


def test_each_layer_that_knows_a_model_is_shown_the_one_in_use_first(run):
    toml = '[prices."openai/gpt-5"]\ninput = "7"\noutput = "8"\nsource = "our contract"\nservice_tiers = { scale = "0.5" }\n'
    found = shown(run, "gpt-5", toml=toml)
    assert [(layer["layer"], layer["source"]) for layer in found["layers"]] == [("file", "our contract"), ("data", "genai-prices 0.2.3")]
    assert (found["source"], list(found["service_tiers"])) == ("our contract", ["scale"])
    _, out, _ = run("show", "gpt-5", toml=toml)
    assert "  file: our contract; version override-" in out


def test_prices_by_the_hour_are_shown(run):
    found = shown(run, "deepseek-v4-pro")
    assert any(line.startswith("01:00 to 04:00 UTC: all requests: fresh_input 1.32") for line in found["times"])


def test_a_price_that_is_not_known_is_an_error_that_says_what_to_add(run):
    status, out, err = run("show", "openai/gpt-none")
    assert (status, out) == (1, "")
    assert '[prices."openai/gpt-none"]' in err


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[prices."openai/x"]\ninput = 5\noutput = "1"', '[prices."openai/x"]: input must be a quoted decimal'),
        ('[prices."openai/x"]\ninput = "-5"\noutput = "1"', '[prices."openai/x"]: input: an amount in USD must be a plain decimal'),
        ('[prices.x]\ninput = "5"\noutput = "1"', '[prices."x"]: "x" must be "vendor/model"'),
    ],
)
def test_a_table_that_is_no_price_is_an_error_that_names_it(run, toml, says):
    for what in (("check",), ("show", "gpt-5")):
        status, _, err = run(*what, toml=toml)
        assert status == 1
        assert says in err


def test_check_is_content_with_what_comes_with_the_package(run):
    status, out, _ = run("check")
    assert (status, out.splitlines()[-1]) == (0, "0 listed models without a price")
    assert "odd:" not in out
    assert "assumed: openai/gpt-6-sol: " in out


def test_check_names_what_cannot_be_true_and_what_nobody_can_use(run):
    toml = """
[providers.mine]
base_url = "http://127.0.0.1:1"
key_env = ""
models = ["unpriced"]
[prices."openai/gpt-5"]
input = "5"
output = "1"
cache_read = "6"
[prices."openai/gpt-5-mini"]
input = "5000"
output = "1"
service_tiers = { flex = "0.5" }
[prices."opnai/gpt-5"]
input = "1"
output = "1"
[prices."openai/given-away"]
input = "0"
output = "1"
[prices."openai/free-and-meant-so"]
input = "0"
output = "0"
[prices."openai/upside-down"]
input = "3"
output = "1"
tiers = [{ above_input_tokens = 10, input = "2", output = "1" }]
"""
    status, out, _ = run("check", "--json", toml=toml.replace("[providers.mine]", "[providers.echo]"))
    found = json.loads(out)
    assert status == 1
    assert dict(found["odd"]) == {
        "openai/gpt-5": "reading from the prompt cache costs more than plain input",
        "openai/gpt-5-mini": "flex: USD 2500.00 per million tokens; is it meant per token, or in another currency?",
        "openai/given-away": "input costs nothing",
        "openai/upside-down": "longer requests cost less per token than short ones",
    }
    assert ["openai/gpt-5-mini", "USD 5000.00 per million tokens; is it meant per token, or in another currency?"] in found["odd"]
    assert found["strangers"] == ["opnai/gpt-5"]


def test_check_names_listed_models_without_a_price(run, monkeypatch):
    monkeypatch.delenv("SANDBOX")
    status, out, _ = run("check", toml='[providers.mine]\nbase_url = "http://127.0.0.1:1"\nkey_env = ""\nmodels = ["m"]\n')
    assert (status, out) == (1, "no price: mine/m\n1 listed models without a price\n")


def test_check_names_lists_that_are_old(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PRICES_REFRESH_URL", "https://list.test/models")
    rates = Rates(fresh_input=USD, cache_read=USD, cache_write=USD, cache_write_1h=USD, output=USD)
    listed = {"openai/gpt-5": Listed(tiers=(Tier(above_input_tokens=0, rates=rates),))}
    for days, stale in ((13, False), (15, True)):
        fetched = time.time_ns() - days * 86_400 * USD
        table = PriceTable(url="https://list.test/models", version="list-x", fetched_ns=fetched, prices=listed)
        PriceFile(tmp_path).save(price_refresh.msgspec.json.encode(table))
        _, out, _ = run("check")
        assert ("stale: https://list.test/models, fetched" in out) is stale
        assert [layer["layer"] for layer in shown(run, "gpt-5")["layers"]] == ["list", "data"]


def test_refresh_takes_what_it_can_and_names_the_rest(run, monkeypatch, tmp_path):
    async def fetched(url: str) -> bytes:
        assert url == "https://list.test/models"
        rows = [("openai/gpt-5", "0.000001"), ("openai/gpt-5-mini", "0.2"), ("openai/new", "0.00001")]
        return json.dumps({"data": [{"id": name, "pricing": {"prompt": usd, "completion": "0.00001"}} for name, usd in rows]}).encode()

    monkeypatch.setattr(price_refresh, "fetch", fetched)
    assert run("refresh")[0] == 1
    assert "PRICES_REFRESH_URL is empty" in run("refresh")[2]
    monkeypatch.setenv("PRICES_REFRESH_URL", "https://list.test/models")
    monkeypatch.setenv("PRICES_REFRESH_VENDOR", "*")
    status, out, _ = run("refresh")
    assert status == 0
    assert "not taken: openai/gpt-5-mini: prompt is 0.2: more than USD 100000 per million tokens" in out
    assert "2 prices from https://list.test/models (list-" in out
    found = json.loads(run("refresh", "--json")[1])
    assert (found["prices"], [key for key, _ in found["left_out"]]) == (2, ["openai/gpt-5-mini"])
    assert shown(run, "gpt-5")["layers"][0]["layer"] == "list"
    assert shown(run, "gpt-5")["tiers"][0]["fresh_input"] == "1.00"


def test_refresh_takes_far_moves_only_by_force(run, monkeypatch):
    async def fetched(_url: str) -> bytes:
        return json.dumps({"data": [{"id": "gpt-5", "pricing": {"prompt": "0.00002", "completion": "0.00001"}}]}).encode()

    monkeypatch.setattr(price_refresh, "fetch", fetched)
    monkeypatch.setenv("PRICES_REFRESH_URL", "https://list.test/models")
    monkeypatch.setenv("PRICES_REFRESH_VENDOR", "openai")
    status, _, err = run("refresh")
    assert status == 1
    assert "more than 10 times; --force takes it" in err
    assert run("refresh", "--force")[0] == 0
    assert shown(run, "gpt-5")["tiers"][0]["fresh_input"] == "20.00"
