"""`tokenrouter config`: is the configuration right, and the pages that are made from its table."""

import argparse
import os

from tokenrouter.catalog.loader import known_variables, load_catalog
from tokenrouter.cli.serve import check_stores, check_workers
from tokenrouter.setting_texts import without_credentials
from tokenrouter.settings import SETTINGS, load_settings
from tokenrouter.wiring import check_virtual_time, gate_limits, unpriced

_HEAD = """# Settings

Read once at start: the environment wins over `tokenrouter.toml` (keys in lower case), which wins over the default. Unknown keys and
bad values are errors that name their line; `tokenrouter config check` looks without starting anything.
This page is made by `tokenrouter config docs`.

| environment | default | meaning |
| --- | --- | --- |
"""
_PROVIDERS = """
## Providers

A provider is reached when its variables are set: [hosts.md](hosts.md) has them, host by host. `<VENDOR>_BASE_URL` points it elsewhere;
commas separate the keys of several accounts. With no key at all the simulated providers answer. More hosts, and prices for models that the
built-in table does not know, go into `tokenrouter.toml`:

```toml
[providers.myhost]                  # anything that speaks the OpenAI Chat wire
base_url = "https://llm.example.com/v1"
key_env = "MYHOST_API_KEY"
models = ["my-model"]               # called as myhost/my-model, or my-model

[prices."myhost/my-model"]          # USD per million tokens, quoted
input = "0.50"
cache_read = "0.05"
output = "1.50"
```
"""


def settings_page() -> str:
    """docs/settings.md."""
    rows = [f"| `{row.env}` | {f'`{row.default}`' if row.default else ''} | {row.what} |" for row in SETTINGS]
    return _HEAD + "\n".join(rows) + "\n" + _PROVIDERS


def env_example() -> str:
    """.env.example."""
    rows = [f"# {row.what}\n#{row.env}={row.default}\n" for row in SETTINGS]
    keys = "\n".join(f"#{variable}=" for variable in known_variables())
    return "# Every setting with its default. `set -a; . ./.env; set +a` exports them.\n\n" + "\n".join(rows) + f"\n# Providers\n{keys}\n"


def config(arguments: argparse.Namespace) -> int:
    """Check, or print a page. Raises ConfigError."""
    if arguments.what == "docs":
        print(settings_page(), end="")
        return 0
    if arguments.what == "env":
        print(env_example(), end="")
        return 0
    settings = load_settings(os.environ, config=arguments.config)
    check_workers(settings)
    if settings.database_url:
        check_stores(settings)
    catalog = load_catalog(settings)
    gate_limits(settings).check(catalog.vendors)
    check_virtual_time(settings, catalog)
    for vendor, deployments in catalog.deployments.items():
        where = "simulated" if deployments[0].sandbox else without_credentials(deployments[0].base_url)
        print(f"{vendor:12} {where}")
    missing = unpriced(settings)
    for model in missing:
        print(f"no price: {model} (requests for it are refused)")
    print("the configuration is right" if not missing else f"the configuration is right, but {len(missing)} listed models have no price")
    return 0
