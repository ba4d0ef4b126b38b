"""`tokenrouter keys`: works on the stores; a running gateway sees the change within five seconds."""

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from tokenrouter.clock import SystemClock
from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.model.directory import KeyOptions, StoredKey
from tokenrouter.money import format_usd, parse_usd
from tokenrouter.settings import Settings, load_settings
from tokenrouter.storage.database import at_once
from tokenrouter.storage.directory import Directory
from tokenrouter.wiring import open_directory

T = TypeVar("T")
_ACTOR = "command line"


def with_directory(settings: Settings, work: Callable[[Directory], Awaitable[T]]) -> T:
    """Open the directory, do something with it, and close it. Raises ConfigError, also where the database can not be asked."""

    async def run() -> T:
        directory = await open_directory(settings, SystemClock())
        try:
            return await work(directory)
        except Unavailable as error:
            raise ConfigError(f"{error.message} ({directory.problem})") from error
        finally:
            await directory.aclose()

    return asyncio.run(run()) if settings.database_url else at_once(run())


def keys(arguments: argparse.Namespace) -> int:
    """Create, list or revoke. Raises ConfigError."""
    settings = load_settings(os.environ, config=arguments.config)
    commands = {"create": _create, "revoke": _revoke, "list": _list}
    return with_directory(settings, lambda directory: commands[arguments.what](directory, arguments))


async def _create(directory: Directory, arguments: argparse.Namespace) -> int:
    try:
        quota = None if arguments.quota_usd is None else parse_usd(arguments.quota_usd)
    except ValueError as error:
        raise ConfigError(f"--quota-usd: {error}") from error
    options = KeyOptions(models=tuple(arguments.model))
    try:
        key, stored = await directory.create(
            tenant=arguments.tenant, name=arguments.name, quota=quota, rpm=arguments.rpm, options=options, actor=_ACTOR
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    print(json.dumps({"key": key, **_fields(stored)}) if arguments.json else key)
    return 0


async def _revoke(directory: Directory, arguments: argparse.Namespace) -> int:
    if not await directory.revoke(arguments.key_id, actor=_ACTOR):
        raise ConfigError(f"there is no valid key {arguments.key_id!r}; `tokenrouter keys list` shows all")
    print(json.dumps({"revoked": arguments.key_id}) if arguments.json else f"revoked {arguments.key_id}")
    return 0


async def _list(directory: Directory, arguments: argparse.Namespace) -> int:
    rows = [_fields(stored) for stored in await directory.all()]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    table = Table("id", "name", "tenant", "quota", "requests/min", "state")
    for row in rows:
        limit = str(row["requests_per_minute"] or "-")
        table.add_row(str(row["id"]), str(row["name"]), str(row["tenant"]), str(row["quota_usd"] or "-"), limit, str(row["state"]))
    Console().print(table)
    return 0


def _fields(stored: StoredKey) -> dict[str, object]:
    principal = stored.principal
    return {
        "id": principal.key_id,
        "name": principal.name,
        "tenant": principal.tenant,
        "quota_usd": None if principal.quota is None else format_usd(principal.quota),
        "requests_per_minute": principal.rpm,
        "models": list(principal.models),
        "revoked": stored.revoked_ns is not None,
        "state": _state(stored),
    }


def _state(stored: StoredKey) -> str:
    if stored.revoked_ns is not None:
        return "revoked"
    if stored.disabled:
        return "disabled"
    return "valid" if stored.valid(SystemClock().time_ns()) else "expired"
