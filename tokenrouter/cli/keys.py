"""`tokenrouter keys`: makes, shows and changes API keys. A running gateway sees the change within five seconds."""

import argparse
import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tokenrouter.cli.admin import Admin, Json, Missing, change, fetch, fetch_all, in_path, with_admin
from tokenrouter.errors import ConfigError

_KEYS = "/admin/api-keys"
NONE = "none"
"""On the command line: take it away."""


def keys(arguments: argparse.Namespace) -> int:
    """Run one command. Raises ConfigError."""
    commands = {
        "create": _create,
        "list": _list,
        "show": _show,
        "update": _update,
        "rotate": _rotate,
        "revoke": _revoke,
        "disable": _disable,
        "enable": _enable,
    }
    return with_admin(arguments, lambda admin: commands[arguments.what](admin, arguments))


async def _create(admin: Admin, arguments: argparse.Namespace) -> int:
    new: dict[str, object] = {"tenant": arguments.tenant, "name": arguments.name, "requests_per_minute": arguments.rpm, "models": arguments.model}
    made = await change(admin, "POST", _KEYS, {**new, "quota_usd": arguments.quota_usd, "expires_at": arguments.expires})
    print(json.dumps(made) if arguments.json else made["key"])
    return 0


async def _list(admin: Admin, arguments: argparse.Namespace) -> int:
    rows = await fetch_all(admin, _KEYS, tenant=arguments.tenant)
    if arguments.json:
        print(json.dumps(rows))
        return 0
    table = Table("id", "name", "tenant", "quota", "spent", "requests/min", "state")
    for row in rows:
        quota = row["quota_usd"] or ("unlimited" if row["unlimited"] else "by tenant")
        rate = str(row["requests_per_minute"] or "-")
        table.add_row(*(escape(each) for each in (row["id"], row["name"], row["tenant"], quota, row["spent_usd"] or "?", rate, row["state"])))
    Console().print(table)
    return 0


async def _show(admin: Admin, arguments: argparse.Namespace) -> int:
    _print(await fetch(admin, f"{_KEYS}/{in_path(arguments.key_id)}"), arguments)
    return 0


async def _update(admin: Admin, arguments: argparse.Namespace) -> int:
    said = {"name": arguments.name, "quota_usd": arguments.quota_usd, "requests_per_minute": arguments.rpm, "expires_at": arguments.expires}
    wanted: dict[str, object] = {name: None if value == NONE and name != "name" else value for name, value in said.items() if value is not None}
    if arguments.model:
        wanted["models"] = [] if arguments.model == [NONE] else arguments.model
    if not wanted:
        raise ConfigError("say what is to be different: --name, --quota-usd, --rpm, --model or --expires")
    _print(await change(admin, "PATCH", f"{_KEYS}/{in_path(arguments.key_id)}", wanted), arguments)
    return 0


async def _rotate(admin: Admin, arguments: argparse.Namespace) -> int:
    rotated = await change(admin, "POST", f"{_KEYS}/{in_path(arguments.key_id)}/rotate", {"overlap_seconds": arguments.overlap})
    print(json.dumps(rotated) if arguments.json else rotated["key"])
    return 0


async def _revoke(admin: Admin, arguments: argparse.Namespace) -> int:
    path = f"{_KEYS}/{in_path(arguments.key_id)}"
    try:
        known = await fetch(admin, path)
    except Missing:
        known = None
    if known is None or known["revoked"]:
        raise ConfigError(f"there is no valid key {arguments.key_id!r}; `tokenrouter keys list` shows all")
    revoked = await change(admin, "DELETE", path)
    print(json.dumps(revoked) if arguments.json else f"revoked {arguments.key_id}")
    return 0


async def _disable(admin: Admin, arguments: argparse.Namespace) -> int:
    return await _switch(admin, arguments, disabled=True)


async def _enable(admin: Admin, arguments: argparse.Namespace) -> int:
    return await _switch(admin, arguments, disabled=False)


async def _switch(admin: Admin, arguments: argparse.Namespace, *, disabled: bool) -> int:
    changed = await change(admin, "PATCH", f"{_KEYS}/{in_path(arguments.key_id)}", {"disabled": disabled})
    print(json.dumps(changed) if arguments.json else f"{arguments.key_id} is {changed['state']}")
    return 0


def _print(view: Json, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(view))
        return
    table = Table(show_header=False)
    for name, value in view.items():
        if name != "key":
            table.add_row(name, escape(", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)))
    Console().print(table)
