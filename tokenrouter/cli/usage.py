"""`tokenrouter usage` and `tokenrouter limits check`: what was used, and what binds a caller at this moment."""

import argparse
import json
from decimal import Decimal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tokenrouter.cli.admin import Admin, Json, change, fetch, with_admin

_AMOUNTS = ("requests", "errors", "fresh_input", "cache_read", "output", "cost_usd", "presumed_cost_usd", "saved_usd")


def usage(arguments: argparse.Namespace) -> int:
    """Totals as a table, as JSON or as CSV. Raises ConfigError."""
    return with_admin(arguments, lambda admin: _usage(admin, arguments))


async def _usage(admin: Admin, arguments: argparse.Namespace) -> int:
    names = ("to", "zone", "tenant", "key", "customer", "model", "cache", "label", "limit")
    query: dict[str, object] = {"by": arguments.by, "from": arguments.since, **{name: getattr(arguments, name) for name in names}}
    if arguments.csv:
        print((await admin.ask("GET", "/admin/usage", query={**query, "format": "csv"}, accept="text/csv")).decode(), end="")
        return 0
    view = await fetch(admin, "/admin/usage", **query)
    if arguments.json:
        print(json.dumps(view))
        return 0
    _print(view)
    return 0


def _print(view: Json) -> None:
    names = [name for name in ("at", "tenant", "key", "customer", "model", "cache", "label") if any(line[name] is not None for line in view["data"])]
    table = Table(*names, *_AMOUNTS, title=f"{view['from']} to {view['to']}, days in {view['zone']}")
    several = any(line["sandbox"] for line in view["data"])
    for line in view["data"]:
        table.add_row(*(escape(str(line[name])) for name in names), *_figures(line), style="dim" if line["sandbox"] else None)
    Console().print(table)
    for name, sums in (("real", view["total"]["real"]), ("simulated", view["total"]["sandbox"])):
        if sums["requests"]:
            print(f"{name}: {sums['requests']} requests, {sums['cost_usd']} USD, {_saved(sums)} USD saved")
    hidden = sum(view["residue"][name]["requests"] for name in ("real", "sandbox"))
    if hidden:
        print(f"not in the table: {hidden} requests (--limit shows more lines)")
    if several:
        print("dim lines are simulated: no model, no money")


def _figures(line: Json) -> list[str]:
    shown = {**line, "saved_usd": _saved(line)}
    return [str(shown[name]) for name in _AMOUNTS]


def _saved(line: Json) -> str:
    """All that was saved, added up exactly."""
    return str(sum((Decimal(line[name]) for name in ("saved_prompt_cache_usd", "saved_exact_usd", "saved_dedup_usd")), Decimal(0)))


def limits(arguments: argparse.Namespace) -> int:
    """Would a request pass, and what binds it. Exit status 0: it would; 3: it would not. Raises ConfigError."""
    return with_admin(arguments, lambda admin: _check(admin, arguments))


async def _check(admin: Admin, arguments: argparse.Namespace) -> int:
    names = {"key_id": "key", "tenant": "tenant", "customer": "customer", "model": "model", "usd": "usd", "tokens": "tokens"}
    asked = {name: getattr(arguments, option) for name, option in names.items() if getattr(arguments, option) is not None}
    said = await change(admin, "POST", "/admin/check", asked)
    if arguments.json:
        print(json.dumps(said))
    else:
        _show(said)
    return 0 if said["passes"] else 3


def _show(said: Json) -> None:
    table = Table("rule", "for", "limit", "used or spent", "held", "left", "%", "whole or reset at")
    for limit in said["limits"]:
        what = f"{limit['amount']} {limit['metric']}" + (f" per {limit['window']}" if limit["window"] else " at a time")
        table.add_row(
            limit["id"],
            _scope(limit),
            what,
            str(limit["amount"] - limit["left"]),
            "-",
            str(limit["left"]),
            str(limit["percent_left"]),
            limit["whole_at"],
        )
    for cap in said["caps"]:
        unit = " USD" if cap["unit"] == "usd" else " tokens"
        spent = cap["spent"] if str(cap["presumed"]) in ("0", "0.00") else f"{cap['spent']} + {cap['presumed']} presumed"
        what = f"{cap['amount']}{unit} ({cap['period']}, {cap['action']})"
        table.add_row(
            cap["id"], _scope(cap), what, str(spent), str(cap["held"]), str(cap["left"]), str(cap["percent_left"]), cap["resets_at"] or "never"
        )
    Console().print(table)
    print(f"tightest: {said['tightest'] or 'nothing binds'}")
    print("it would pass" if said["passes"] else f"it would be refused ({said['refusal']['status']}): {said['refusal']['message']}")


def _scope(rule: Json) -> str:
    parts = [f"{name} {'(each)' if value == '*' else value}" for name, value in rule["scope"].items() if value]
    return escape(", ".join(parts) or "the tenant")
