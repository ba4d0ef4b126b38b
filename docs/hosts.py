"""docs/hosts.md out of the catalog's vendors.toml."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_DATA = _ROOT / "tokenrouter" / "catalog" / "vendors.toml"
PAGE = Path(__file__).with_name("hosts.md")

_INTRODUCTION = """# Hosts: who can answer

A host is switched on by its variables (first table) and is a row of `tokenrouter/catalog/vendors.toml`; a host more takes a table there, or in
your `tokenrouter.toml`, and no code:

```toml
[providers.lab]                       # models are then called lab/NAME
base_url = "http://gpu-1:8000/v1"     # wire = "openai-chat" unless said otherwise
key_env = "LAB_API_KEY"               # "" where none is needed
models = ["qwen3-32b"]                # shown by GET /v1/models, and found by their bare names
prefixes = ["qwen3-"]                 # bare names that begin so come here too
quirks = ["top_k"]                    # last table
prices = "free"                       # or a provider of the price snapshot, or [prices."lab/qwen3-32b"]
```

The same table under the name of a known host changes that host. `<HOST>_BASE_URL` replaces its address.

**Which host.** `vendor/model` names it. A bare name means the host that lists the model, then the one whose prefix fits.
**Several accounts.** `OPENAI_API_KEY=key1,key2` are two accounts; conversations that share tools and system text stay on one of them
([why](decisions/0008-accounts.md)).
**Wires.** The client's own wire comes first, where the host has it; otherwise the first wire that can carry the request
([how](decisions/0006-lanes.md)). What each carries: [the matrix](matrix.md).
**Bedrock and Vertex** need their credentials' libraries: `pip install 'tokenrouter-gateway[bedrock]'`, `[vertex]`.

"""

_CACHES = """
## Prompt caches

| host | marks on content | affinity |
| --- | --- | --- |
"""

_QUIRKS = """
## Quirks of hosts of the Chat wire

What a host takes beyond the common ground, or short of it. A request that needs what a host lacks is refused by name, or the hint is listed in
`x-tokenrouter-dropped`.

| quirk | means |
| --- | --- |
"""


def page() -> str:
    """The whole page."""
    text = _DATA.read_text("utf-8")
    tables = tomllib.loads(text)
    tables.pop("volatile")
    head = "| host | variables | address | wires | bare names | prices | simulated |\n| --- | --- | --- | --- | --- | --- | --- |\n"
    rows = "\n".join(_row(name, table) for name, table in tables.items() if not table.get("sandbox_only"))
    caches = "\n".join(_cache(name, table) for name, table in tables.items() if not table.get("sandbox_only"))
    quirks = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in _meanings(text))
    users = "\n".join(f"| {name} | {_codes(sorted(table['quirks']))} |" for name, table in tables.items() if table.get("quirks"))
    return f"{_INTRODUCTION}{head}{rows}\n{_CACHES}{caches}\n{_QUIRKS}{quirks}\n\n| host | quirks |\n| --- | --- |\n{users}\n"


def _row(name: str, table: Mapping[str, object]) -> str:
    wires = [table["wire"], *[f"{wire} (its own clients only)" if wire in table.get("native_only", ()) else wire for wire in table.get("also", ())]]
    cells = (
        f"`{name}/…`",
        _variables(table),
        f"`{table['base_url']}`" if table.get("base_url") else "",
        ", ".join(wires),
        _codes(f"{prefix}…" for prefix in table.get("prefixes", ())),
        table.get("prices") or "your own",
        "yes" if table.get("sandbox") else "",
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _variables(table: Mapping[str, object]) -> str:
    keys = [name for name in (table["key_env"], *table.get("or_env", ())) if name]
    key = " or ".join(f"`{name}`" for name in keys)
    if table.get("key_optional"):
        key = f"({key})"
    others = [f"`{name}`" for name in (table.get("url_env"), *table.get("with_env", ())) if name]
    return ", ".join([key, *others])


def _cache(name: str, table: Mapping[str, object]) -> str:
    native = {"anthropic-messages": "cache_control", "bedrock-converse": "cachePoint", "vertex-anthropic": "cache_control"}
    mark = table.get("mark_field") or native.get(table["wire"], "")
    affinity = table.get("affinity_field") or table.get("affinity_header")
    where = "header" if table.get("affinity_header") else "field"
    return f"| {name} | {f'`{mark}`' if mark else 'none: it caches by itself, or not at all'} | {f'{where} `{affinity}`' if affinity else ''} |"


def _meanings(text: str) -> list[tuple[str, str]]:
    listed = re.search(r"^#   quirks .*?\n((?:#       .*\n)+)", text, re.MULTILINE)
    if listed is None:
        raise SystemExit("vendors.toml does not explain its quirks at its head")
    found = []
    for line in listed[1].splitlines():
        said = line.removeprefix("#").strip()
        names, _, meaning = said.partition(": ") if said.startswith("no_") and ": " in said else re.split(r"(\s{2,})", said, maxsplit=1)
        found.append((names.replace(", ", "`, `"), meaning.strip()))
    return found


def _codes(names) -> str:
    return ", ".join(f"`{name}`" for name in names)
