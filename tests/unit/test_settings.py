from pathlib import Path

import pytest

from tokenrouter.errors import ConfigError
from tokenrouter.model.edits import DEFAULT_EDITS
from tokenrouter.settings import SETTINGS, load_settings


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "tokenrouter.toml"
        path.write_text(text)
        return path

    return write


def test_defaults_are_complete_and_every_edit_is_on(file):
    settings = load_settings({}, config=file(""))
    assert (settings.host, settings.port, settings.dedup_ttl, settings.sandbox) == ("127.0.0.1", 8080, 120, False)
    assert settings.edits == DEFAULT_EDITS
    assert {setting.key for setting in SETTINGS} < set(settings.__struct_fields__)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(file):
    path = file('port = 9000\nhost = "0.0.0.0"\n')
    assert load_settings({"PORT": "9001"}, config=path).port == 9001
    assert load_settings({}, config=path).port == 9000
    assert load_settings({"PORT": "9001"}, config=path).host == "0.0.0.0"


@pytest.mark.parametrize(("said", "seconds"), [("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600), ("1 d", 86_400), ("0", 0)])
def test_durations_have_units(said, seconds, file):
    assert load_settings({"DEDUP_TTL": said}, config=file("")).dedup_ttl == seconds


BAD = [
    ("DEDUP_TTL", "1.5h", "duration"),
    ("DEDUP_TTL", "soon", "duration"),
    ("DEDUP_TTL", "-1", "duration"),
    ("PORT", "70000", "whole number from 0 to 65535"),
    ("PORT", "80 80", "whole number"),
    ("PORT", "", "whole number"),
    ("WORKERS", "0", "from 1"),
    ("SANDBOX", "perhaps", "true or false"),
    ("DEDUP_MODE", "some", "one of auto, all, off"),
    ("LOG_LEVEL", "loud", "one of debug"),
    ("EDITS_OFF", "tools.ordre", "not 'tools.ordre'"),
    ("EDITS_OFF", "model.name", "not 'model.name'"),
    ("OLLAMA_URL", "localhost:11434", "http"),
    ("REDIS_URL", "localhost:6379", "redis+cluster://"),
    ("REDIS_URL", "redis://a:1,b:2", "redis+cluster://host:6379,host:6379"),
    ("DATABASE_URL", "mysql://x/y", "postgresql://"),
    ("DB_MAX_OPEN_CONNS", "0", "from 1"),
    ("BODY_LIMIT_MB", "1e3", "whole"),
    ("PROVIDER_CONCURRENT_LIMIT", "openai:5", "name=number"),
    ("PROVIDER_CONCURRENT_LIMIT", "=5", "name=number"),
    ("PROVIDER_CONCURRENT_LIMIT", "5,6", "name=number"),
    ("PROVIDER_CONCURRENT_LIMIT", "openai=5,openai=6", "name=number"),
    ("GLOBAL_MONTHLY_USD_BUDGET", "$5", "plain decimal"),
    ("GLOBAL_MONTHLY_USD_BUDGET", "9999999999", "at most 9007199.254740991 USD"),
    ("GLOBAL_MONTHLY_TOKEN_BUDGET", "1.5", "whole number"),
]


@pytest.mark.parametrize(("name", "value", "says"), BAD)
def test_a_bad_value_names_its_variable_and_what_is_right(name, value, says, file):
    with pytest.raises(ConfigError, match=name) as refused:
        load_settings({name: value}, config=file(""))
    assert says in str(refused.value)


@pytest.mark.parametrize(("name", "value", "says"), [row for row in BAD if row[1]])
def test_a_bad_value_in_the_file_names_its_line(name, value, says, file):
    path = file(f'# a comment\n\n{name.lower()} = "{value}"\n')
    with pytest.raises(ConfigError) as refused:
        load_settings({}, config=path)
    assert f"{path}:3: {name.lower()}" in str(refused.value)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("said", "limits"),
    [("", {}), ("50", {"": 50}), (" 30 , openai = 50,anthropic=0", {"": 30, "openai": 50, "anthropic": 0}), ("my-host=1", {"my-host": 1})],
)
def test_calls_to_providers_are_limited_for_all_of_them_or_by_name(said, limits, file):
    assert load_settings({"PROVIDER_CONCURRENT_LIMIT": said}, config=file("")).provider_concurrent_limit == limits


def test_limits_may_be_numbers_in_the_file(file):
    settings = load_settings({}, config=file("provider_concurrent_limit = 7\nglobal_monthly_usd_budget = 12.5\n"))
    assert (settings.provider_concurrent_limit, settings.global_monthly_usd_budget) == ({"": 7}, 12_500_000_000)


@pytest.mark.parametrize(("said", "nano"), [("", 0), ("0", 0), ("500", 500_000_000_000), ("12.50", 12_500_000_000), ("0.000000001", 1)])
def test_a_budget_is_exact_to_the_nano_dollar(said, nano, file):
    assert load_settings({"GLOBAL_MONTHLY_USD_BUDGET": said}, config=file("")).global_monthly_usd_budget == nano


def test_a_webhooks_address_is_a_secret_and_no_message_repeats_it(file):
    settings = load_settings({"ALERT_WEBHOOK_URL": "https://hooks.example.com/T0/s3cret"}, config=file(""))
    assert settings.alert_webhook_url.reveal().endswith("s3cret")
    assert "s3cret" not in repr(settings)
    with pytest.raises(ConfigError) as refused:
        load_settings({"ALERT_WEBHOOK_URL": "hooks.example.com/T0/s3cret"}, config=file(""))
    assert "ALERT_WEBHOOK_URL: must be a URL" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_all_mistakes_are_told_at_once(file):
    path = file('prot = 1\nport = "x"\n\n[providers.mine]\nbase_urll = "http://x"\n')
    with pytest.raises(ConfigError) as refused:
        load_settings({"SANDBOX": "hm"}, config=path)
    lines = str(refused.value).splitlines()
    assert len(lines) == 4
    assert f"{path}:1: unknown key 'prot'; did you mean 'port'?" in lines
    assert any(line.startswith(f"{path}:2: port") for line in lines)
    assert any(line.startswith("SANDBOX") for line in lines)
    assert any(f"{path}:4: providers.mine:" in line and "base_urll" in line for line in lines)


@pytest.mark.parametrize("text", ["providers = 5", 'providers = ["a"]', "[providers]\nmine = 3", "prices = 1", "[prices]\nx = 1"])
def test_tables_that_are_none_are_refused(text, file):
    with pytest.raises(ConfigError, match=r"provider|price"):
        load_settings({}, config=file(text))


def test_a_file_that_is_no_toml_or_is_missing_is_refused_by_name(file, tmp_path):
    with pytest.raises(ConfigError, match=r"tokenrouter\.toml"):
        load_settings({}, config=file("port = "))
    with pytest.raises(ConfigError, match=r"gone\.toml: no such file"):
        load_settings({}, config=tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        load_settings({"TOKENROUTER_CONFIG": str(tmp_path / "gone.toml")})
    (tmp_path / "latin.toml").write_bytes(b'host = "\xff"')
    with pytest.raises(ConfigError, match=r"latin\.toml"):
        load_settings({}, config=tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("environ", "off"),
    [
        ({"EDITS_OFF": "usage.ask, volatile.known"}, {"usage.ask", "volatile.known"}),
        ({"TOOL_SORT_ENABLED": "0"}, {"tools.order"}),
        ({"CACHE_INJECT_ENABLED": "no"}, {"marks.plan", "content.parts"}),
        ({"EDITS_OFF": ""}, set()),
    ],
)
def test_edits_are_switched_off_by_id_or_by_their_own_switch(environ, off, file):
    assert load_settings(environ, config=file("")).edits == DEFAULT_EDITS - off


def test_a_list_in_the_file_is_a_list(file):
    assert load_settings({}, config=file('edits_off = ["tools.order", "usage.ask"]')).edits == DEFAULT_EDITS - {"tools.order", "usage.ask"}


def test_secrets_do_not_print_themselves(file):
    settings = load_settings({"OPENAI_API_KEY": "sk-123", "ADMIN_API_KEY": "adm-456"}, config=file(""))
    assert "sk-123" not in repr(settings)
    assert "adm-456" not in repr(settings)
    assert settings.environment["OPENAI_API_KEY"].reveal() == "sk-123"


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_a_password_in_an_address_is_in_no_message_and_no_repr(name, file):
    with pytest.raises(ConfigError) as refused:
        load_settings({name: "sqlserver://user:hunter2@host/x"}, config=file(""))
    assert name in str(refused.value)
    assert "hunter2" not in str(refused.value)
    both = {"DATABASE_URL": "postgresql://user:hunter2@host/x", "REDIS_URL": "rediss+cluster://:hunter2@a:1,b:2/0"}
    settings = load_settings(both, config=file(""))
    assert "hunter2" not in repr(settings)
    assert settings.redis_url.reveal() == "rediss+cluster://:hunter2@a:1,b:2/0"


@pytest.mark.parametrize(
    ("name", "url", "other"), [("DATABASE_URL", "postgres://h/d", "REDIS_URL"), ("REDIS_URL", "unix:///run/r.sock", "DATABASE_URL")]
)
def test_the_shared_mode_needs_both_stores(name, url, other, file):
    with pytest.raises(ConfigError) as refused:
        load_settings({name: url}, config=file(""))
    assert str(refused.value).startswith(f"{name} is set and {other} is not")
