"""`tokenrouter keys`: works on the local stores; a running gateway sees the change within two seconds."""

import argparse
import json
import os

from rich.console import Console
from rich.table import Table

from tokenrouter.clock import SystemClock
from tokenrouter.errors import ConfigError
from tokenrouter.money import format_usd, parse_usd
from tokenrouter.settings import load_settings
from tokenrouter.storage.embedded import open_folder
from tokenrouter.storage.embedded_keys import EmbeddedKeys, KeyOptions, StoredKey
from tokenrouter.wiring import derived


def keys(arguments: argparse.Namespace) -> int:
    """Create, list or revoke. Raises ConfigError."""
    settings = load_settings(os.environ, config=arguments.config)
    store = EmbeddedKeys(settings.data_dir, derived(open_folder(settings.data_dir), "api keys"), SystemClock())
    try:
        if arguments.what == "create":
            return _create(store, arguments)
        if arguments.what == "revoke":
            if not store.revoke(arguments.key_id):
                raise ConfigError(f"there is no valid key {arguments.key_id!r}; `tokenrouter keys list` shows all")
            print(json.dumps({"revoked": arguments.key_id}) if arguments.json else f"revoked {arguments.key_id}")
            return 0
        return _list(store, arguments)
    finally:
        store.close()


def _create(store: EmbeddedKeys, arguments: argparse.Namespace) -> int:
    try:
        quota = None if arguments.quota_usd is None else parse_usd(arguments.quota_usd)
    except ValueError as error:
        raise ConfigError(f"--quota-usd: {error}") from error
    options = KeyOptions(models=tuple(arguments.model))
    try:
        key, stored = store.create(tenant=arguments.tenant, name=arguments.name, quota=quota, rpm=arguments.rpm, options=options)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    print(json.dumps({"key": key, **_fields(stored)}) if arguments.json else key)
    return 0


def _list(store: EmbeddedKeys, arguments: argparse.Namespace) -> int:
    rows = [_fields(stored) for stored in store.all()]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    table = Table("id", "name", "tenant", "quota", "requests/min", "state")
    for row in rows:
        limit = str(row["requests_per_minute"] or "-")
        table.add_row(
            str(row["id"]), str(row["name"]), str(row["tenant"]), str(row["quota_usd"] or "-"), limit, "revoked" if row["revoked"] else "valid"
        )
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
    }
