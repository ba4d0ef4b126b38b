"""`tokenrouter migrate`: brings the schema of the stores up to date."""

import argparse
import asyncio
import json
import os
from pathlib import Path

from tokenrouter.settings import Settings, load_settings
from tokenrouter.storage.embedded import open_folder
from tokenrouter.storage.sqlite import migrate_sqlite, open_bare


def migrate(arguments: argparse.Namespace) -> int:
    """Apply what is missing, and say what that was. Raises ConfigError, Unavailable."""
    settings = load_settings(os.environ, config=arguments.config)
    store = "Postgres" if settings.database_url else str(settings.data_dir / "state.db")
    applied = _shared(settings, post=not arguments.pre) if settings.database_url else _embedded(settings.data_dir)
    if arguments.json:
        print(json.dumps({"store": store, "applied": applied}))
    elif applied:
        print("\n".join([f"{store}: applied", *(f"  {name}" for name in applied)]))
    else:
        print(f"{store}: nothing to do")
    return 0


def _embedded(folder: Path) -> list[str]:
    open_folder(folder)
    connection = open_bare(folder / "state.db")
    try:
        return migrate_sqlite(connection)
    finally:
        connection.close()


def _shared(settings: Settings, *, post: bool) -> list[str]:
    from tokenrouter.storage.postgres_migrations import migrate as migrate_postgres  # psycopg is there in the shared mode only

    return asyncio.run(migrate_postgres(settings.database_url.reveal(), post=post))
