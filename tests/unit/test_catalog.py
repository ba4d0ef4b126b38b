import re
import tomllib
from importlib import resources

import pytest
from support import settings

from tokenrouter.catalog import loader
from tokenrouter.catalog.loader import load_catalog
from tokenrouter.errors import ConfigError, ModelNotFound
from tokenrouter.settings import load_settings


def catalog(**environ):
    return load_catalog(settings(**environ))


@pytest.fixture
def with_file(tmp_path):
    def load(text, **environ):
        (tmp_path / "c.toml").write_text(text)
        return load_catalog(load_settings(environ, config=tmp_path / "c.toml"))

    return load


@pytest.mark.parametrize(
    ("asked", "vendor", "name", "style"),
    [
        ("gpt-4.1", "openai", "gpt-4.1", "automatic"),
        ("gpt-5.5", "openai", "gpt-5.5", "automatic"),
        ("gpt-5.6-sol", "openai", "gpt-5.6-sol", "breakpoints"),
        ("gpt-5.6", "openai", "gpt-5.6", "breakpoints"),
        ("gpt-7-codex", "openai", "gpt-7-codex", "breakpoints"),
        ("gpt-5.1-codex", "openai", "gpt-5.1-codex", "automatic"),
        ("gpt-6-sol", "openai", "gpt-6-sol", "breakpoints"),
        ("gpt-6.1-terra-2026-11-01", "openai", "gpt-6.1-terra-2026-11-01", "breakpoints"),
        ("ft:gpt-4.1:org::id", "openai", "ft:gpt-4.1:org::id", "automatic"),
        ("o3-pro", "openai", "o3-pro", "automatic"),
        ("claude-opus-4-8", "anthropic", "claude-opus-4-8", "marks"),
        ("claude-opus-4-8-20260901", "anthropic", "claude-opus-4-8-20260901", "marks"),
        ("claude-new-1", "anthropic", "claude-new-1", "marks"),
        ("deepseek-chat", "deepseek", "deepseek-chat", "automatic"),
        ("openai/gpt-4.1", "openai", "gpt-4.1", "automatic"),
        ("openai/whatever", "openai", "whatever", "none"),
        ("echo", "echo", "echo", "none"),
    ],
)
def test_a_name_resolves_to_its_vendor_and_what_its_prompt_cache_takes(asked, vendor, name, style):
    target = catalog(SANDBOX="1").resolve(asked)
    assert (target.asked, target.model.vendor, target.model.name, target.model.cache.style) == (asked, vendor, name, style)
    assert target.deployments[0].sandbox


@pytest.mark.parametrize(
    ("name", "minimum"),
    [
        ("claude-haiku-4-5", 4096),
        ("claude-opus-4-5", 4096),
        ("claude-opus-4-8", 1024),
        ("claude-opus-5", 512),
        ("claude-opus-4-1", 1024),
        ("claude-sonnet-4-5", 1024),
        ("claude-sonnet-4-6", 1024),
        ("claude-opus-4-7", 2048),
        ("claude-later-9", 4096),
    ],
)
def test_the_most_special_row_wins(name, minimum):
    assert catalog(SANDBOX="1").model("anthropic", name).cache.min_tokens == minimum


@pytest.mark.parametrize(
    ("asked", "variable"),
    [
        ("claude-opus-4-8", "ANTHROPIC_API_KEY"),
        ("openai/gpt-4.1", "OPENAI_API_KEY"),
        ("groq/llama-9", "GROQ_API_KEY"),
        ("ollama/llama", "OLLAMA_URL"),
        ("gemini-2.5-pro", "GEMINI_API_KEY"),
    ],
)
def test_a_vendor_that_is_not_set_up_is_a_404_that_names_the_variable(asked, variable):
    with pytest.raises(ModelNotFound, match=f"{variable} is missing") as refused:
        catalog(DEEPSEEK_API_KEY="k").resolve(asked)
    assert refused.value.param == "model"


def test_a_sandbox_model_says_how_it_is_started():
    with pytest.raises(ModelNotFound, match="SANDBOX=1"):
        catalog(OPENAI_API_KEY="k").resolve("echo")


@pytest.mark.parametrize("asked", ["llama-9", "nobody/gpt-4.1", "", "/", "openai/", "/gpt-4.1", "x" * 256])
def test_a_name_that_nobody_knows_is_a_404_with_a_way_out(asked):
    with pytest.raises(ModelNotFound, match="no provider is known") as refused:
        catalog(OPENAI_API_KEY="k").resolve(asked)
    assert "GET /v1/models" in refused.value.message
    assert len(refused.value.message) < 400


def test_the_sandbox_answers_only_when_no_key_is_set_or_it_is_asked_for():
    assert all(row[0].sandbox for row in catalog().deployments.values())
    assert not any(row[0].sandbox for row in catalog(OPENAI_API_KEY="k").deployments.values())
    assert all(row[0].sandbox for row in catalog(OPENAI_API_KEY="k", SANDBOX="1").deployments.values())
    assert catalog(OPENAI_API_KEY="k").vendors == ("openai",)


def test_an_address_is_overridden_by_its_variable_and_loses_its_slash():
    assert catalog(OPENAI_API_KEY="k", OPENAI_BASE_URL="http://proxy/v1/").resolve("gpt-4.1").deployments[0].base_url == "http://proxy/v1"
    assert catalog(OLLAMA_URL="http://box:11434/").resolve("ollama/llama").deployments[0].base_url == "http://box:11434"


def test_an_address_holds_a_password_only_where_no_key_is_shown():
    with pytest.raises(ConfigError, match="the address of openai holds a user or a password") as failed:
        catalog(OPENAI_API_KEY="k", OPENAI_BASE_URL="http://me:hidden@proxy/v1")
    assert "hidden" not in str(failed.value)
    assert catalog(OLLAMA_URL="http://me:pw@box").resolve("ollama/llama").deployments[0].base_url == "http://me:pw@box"


def test_a_key_that_is_optional_is_shown_where_it_is_there():
    def found(**environ):
        return catalog(OLLAMA_URL="http://box:11434", **environ).resolve("ollama/llama").deployments[0].api_key.reveal()

    assert found() == ""
    assert found(OLLAMA_API_KEY="k") == "k"
    with pytest.raises(ModelNotFound, match="OLLAMA_URL is missing"):
        catalog(OLLAMA_API_KEY="k", OPENAI_API_KEY="k").resolve("ollama/llama")


def test_a_server_of_several_wires_is_reached_at_the_address_of_each():
    wires = {endpoint.wire: endpoint.base_url for endpoint in catalog(OLLAMA_URL="http://box:11434").resolve("ollama/llama").deployments[0].endpoints}
    assert wires["ollama-chat"] == wires["ollama-generate"] == wires["ollama-embed"] == "http://box:11434"
    assert wires["openai-chat"] == wires["openai-embeddings"] == "http://box:11434/v1"


def test_a_host_of_the_users_own_takes_a_table_and_no_code(with_file):
    text = '[providers.lab]\nbase_url = "http://lab:8000/v1/"\nkey_env = "LAB_TOKEN"\nprefixes = ["lab-"]\nmodels = ["lab-1"]\nmax_output = 99\n'
    found = with_file(text, LAB_TOKEN="t").resolve("lab-1")
    assert (found.model.vendor, found.model.name, found.model.max_output) == ("lab", "lab-1", 99)
    assert (found.deployments[0].base_url, found.deployments[0].api_key.reveal()) == ("http://lab:8000/v1", "t")
    assert with_file(text, LAB_TOKEN="t").resolve("lab-7").model.vendor == "lab"
    assert with_file(text, LAB_TOKEN="t").listed() == [("lab", "lab-1")]
    with pytest.raises(ModelNotFound, match="LAB_TOKEN is missing"):
        with_file(text, OPENAI_API_KEY="k").resolve("lab/lab-1")


def test_a_host_that_needs_no_key_needs_none(with_file):
    found = with_file('[providers.lab]\nbase_url = "http://lab/v1"\n').resolve("lab/any")
    assert not found.deployments[0].api_key
    assert not found.deployments[0].sandbox


def test_a_host_without_an_address_is_refused_at_the_start(with_file):
    with pytest.raises(ConfigError, match=r"providers\.lab: base_url is missing"):
        with_file('[providers.lab]\nkey_env = "X"\n')


def test_what_is_remembered_of_names_is_bounded():
    found = catalog(SANDBOX="1")
    for number in range(5_000):
        found.resolve(f"openai/m{number}")
    assert len(found._resolved) <= 4_096
    assert found.resolve("gpt-4.1") is found.resolve("gpt-4.1")


# --- hosts

KEYS = {
    "DEEPSEEK_API_KEY": ("deepseek", "https://api.deepseek.com"),
    "GROQ_API_KEY": ("groq", "https://api.groq.com/openai/v1"),
    "TOGETHER_API_KEY": ("together", "https://api.together.xyz/v1"),
    "FIREWORKS_API_KEY": ("fireworks", "https://api.fireworks.ai/inference/v1"),
    "OPENROUTER_API_KEY": ("openrouter", "https://openrouter.ai/api/v1"),
    "MISTRAL_API_KEY": ("mistral", "https://api.mistral.ai/v1"),
    "XAI_API_KEY": ("xai", "https://api.x.ai/v1"),
    "MOONSHOT_API_KEY": ("moonshot", "https://api.moonshot.ai/v1"),
    "DASHSCOPE_API_KEY": ("dashscope", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
}


@pytest.mark.parametrize("variable", KEYS)
def test_a_hosts_key_is_all_that_it_takes(variable):
    vendor, address = KEYS[variable]
    deployment = catalog(**{variable: "k"}).resolve(f"{vendor}/any").deployments[0]
    assert (deployment.wire, deployment.base_url, deployment.auth) == ("openai-chat", address, "bearer")
    assert deployment.api_key.reveal() == "k"


@pytest.mark.parametrize(
    ("asked", "vendor"),
    [
        ("deepseek-v9", "deepseek"),
        ("grok-5", "xai"),
        ("kimi-k3", "moonshot"),
        ("mistral-large-9", "mistral"),
        ("devstral-2", "mistral"),
        ("qwen9-max", "dashscope"),
        ("accounts/fireworks/models/x", "fireworks"),
        ("openrouter/openai/gpt-x", "openrouter"),
        ("groq/openai/gpt-oss-120b", "groq"),
    ],
)
def test_a_bare_name_means_the_vendor_of_its_prefix(asked, vendor):
    found = catalog(**dict.fromkeys(KEYS, "k")).resolve(asked)
    assert (found.model.vendor, found.model.name) == (vendor, asked.removeprefix(f"{vendor}/"))


def test_azure_is_reached_at_the_resources_own_address_and_knows_openais_models():
    found = catalog(AZURE_OPENAI_API_KEY="k", AZURE_OPENAI_ENDPOINT="https://r.openai.azure.com/")
    target = found.resolve("azure/gpt-5.6-sol")
    assert [endpoint.base_url for endpoint in target.deployments[0].endpoints] == ["https://r.openai.azure.com/openai/v1"] * 3
    assert target.deployments[0].auth == "api-key"
    assert (target.model.vendor, target.model.cache.style, target.model.efforts[-1]) == ("azure", "breakpoints", "max")
    assert found.listed() == []
    assert found.price_source("azure") == "openai"
    with pytest.raises(ModelNotFound, match="AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT are missing"):
        catalog(OPENAI_API_KEY="k").resolve("azure/gpt-5.6-sol")
    with pytest.raises(ModelNotFound):
        catalog(AZURE_OPENAI_API_KEY="k", OPENAI_API_KEY="k").resolve("azure/gpt-5.6-sol")


@pytest.mark.parametrize(("vendor", "variable"), [("vllm", "VLLM_URL"), ("sglang", "SGLANG_URL"), ("llamacpp", "LLAMACPP_URL")])
def test_a_server_of_ones_own_takes_an_address_and_no_key(vendor, variable):
    found = catalog(**{variable: "http://box:8000/"})
    deployment = found.resolve(f"{vendor}/any").deployments[0]
    assert (deployment.base_url, bool(deployment.api_key), found.price_source(vendor)) == ("http://box:8000/v1", False, "free")
    keyed = catalog(**{variable: "http://a, http://b", f"{vendor.upper()}_API_KEY": "k"}).resolve(f"{vendor}/any").deployments
    assert [(one.base_url, one.api_key.reveal()) for one in keyed] == [("http://a/v1", "k"), ("http://b/v1", "k")]
    with pytest.raises(ModelNotFound, match=f"{variable} is missing"):
        catalog(OPENAI_API_KEY="k").resolve(f"{vendor}/any")
    with pytest.raises(ModelNotFound, match=f"set {variable} and no SANDBOX"):
        catalog(SANDBOX="1").resolve(f"{vendor}/any")


def test_every_host_says_how_requests_that_belong_together_are_kept_together():
    found = {row[0].vendor: row[0] for row in catalog(**dict.fromkeys(KEYS, "k"), OPENAI_API_KEY="k").deployments.values()}
    fields = {vendor: deployment.affinity_field or deployment.affinity_header for vendor, deployment in found.items()}
    assert fields == {
        "openai": "prompt_cache_key",
        "deepseek": "",
        "groq": "",
        "together": "",
        "fireworks": "prompt_cache_key",
        "openrouter": "session_id",
        "mistral": "prompt_cache_key",
        "xai": "x-grok-conv-id",
        "moonshot": "prompt_cache_key",
        "dashscope": "",
    }
    marks = {vendor: deployment.mark_field for vendor, deployment in found.items() if deployment.mark_field}
    assert marks == {"openai": "prompt_cache_breakpoint", "openrouter": "cache_control", "dashscope": "cache_control"}


@pytest.mark.parametrize(
    ("name", "efforts", "sampling"),
    [
        ("gpt-6-sol", ("none", "low", "medium", "high", "xhigh", "max"), True),
        ("gpt-5.5", ("none", "low", "medium", "high", "xhigh"), True),
        ("gpt-5.1-codex", ("none", "low", "medium", "high"), True),
        ("gpt-5-mini", ("minimal", "low", "medium", "high"), False),
        ("o3", ("low", "medium", "high"), False),
    ],
)
def test_what_a_model_takes_of_effort_and_sampling_is_known(name, efforts, sampling):
    model = catalog(SANDBOX="1").model("openai", name)
    assert (model.reasoning, model.efforts, model.sampling) == ("effort", efforts, sampling)


def test_a_host_of_the_users_own_names_its_quirks(with_file):
    text = '[providers.lab]\nbase_url = "http://lab/v1"\nquirks = ["max_tokens"]\naffinity_header = "x-lab"\n'
    deployment = with_file(text).resolve("lab/any").deployments[0]
    assert (deployment.quirks, deployment.affinity_header) == ({"max_tokens"}, "x-lab")
    with pytest.raises(ConfigError, match=r"providers\.lab: unknown quirk 'max_tokes'; one of .*max_tokens"):
        with_file(text.replace('"max_tokens"', '"max_tokes"'))
    known = with_file('[providers.mistral]\naffinity_field = "x"\n', MISTRAL_API_KEY="k").resolve("mistral/any").deployments[0]
    assert "short_ids" in known.quirks


def test_every_quirk_of_a_known_host_is_one_that_is_explained():
    text = resources.files("tokenrouter.catalog").joinpath("vendors.toml").read_text("utf-8")
    explained = set(re.findall(r"[a-z_]+", "".join(line for line in text.splitlines(True) if line.startswith("#       "))))
    rows = [row for row in tomllib.loads(text).values() if isinstance(row, dict)]
    used = {quirk for row in rows for quirk in row.get("quirks", ())}
    assert used <= loader._QUIRKS
    assert explained >= loader._QUIRKS
