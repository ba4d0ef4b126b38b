"""Databases for tests of what must be the same over both: opened as often as wanted, on the same data."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tokenrouter.clock import ManualClock
from tokenrouter.errors import Unavailable
from tokenrouter.storage.database import Database, Params, Row, Step
from tokenrouter.storage.directory import Directory
from tokenrouter.storage.keyring import KeyRing
from tokenrouter.storage.postgres import Postgres
from tokenrouter.storage.sqlite_database import SqliteDatabase

STATEMENTS = ("directory_queries.sql", "ledger_queries.sql")
SECRET = bytes(range(32))
Opened = Callable[[], Database]
Known = Callable[..., Directory]


@pytest.fixture(params=["sqlite", "postgres"])
async def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    """Opens the database of this test once more."""
    opened: list[Database] = []
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""

    def again() -> Database:
        opened.append(Postgres(url, *STATEMENTS) if url else SqliteDatabase(tmp_path / "state.db", *STATEMENTS))
        return opened[-1]

    yield again
    for database in opened:
        await database.aclose()


@pytest.fixture
def database(open_again: Opened) -> Database:
    return open_again()


@pytest.fixture
def another(open_again: Opened, clock: ManualClock) -> Known:
    """One more process's directory over the same database."""

    def make(ring: KeyRing | None = None, **more: object) -> Directory:
        return Directory(open_again(), ring or KeyRing(SECRET), clock, **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
async def directory(another: Known) -> Directory:
    made = another()
    assert await made.refresh()
    return made


class Watched:
    """A database that counts what it is asked, and that can be made to go away."""

    def __init__(self, behind: Database) -> None:
        self.behind, self.away = behind, False
        self.asked: list[str] = []

    @property
    def inline(self) -> bool:
        return self.behind.inline

    @property
    def problem(self) -> str:
        return "gone fishing" if self.away else self.behind.problem

    async def rows(self, name: str, params: Params = {}, *, slow: bool = False) -> list[Row]:  # noqa: B006
        self.asked.append(name)
        if self.away:
            raise Unavailable("away")
        return await self.behind.rows(name, params, slow=slow)

    async def change(self, steps: tuple[Step, ...]) -> list[int]:
        self.asked += [step.name for step in steps]
        if self.away:
            raise Unavailable("away")
        return await self.behind.change(steps)

    async def aclose(self) -> None:
        await self.behind.aclose()


class Shelf:
    """A mirror in a dict."""

    def __init__(self) -> None:
        self.copies: dict[str, bytes] = {}
        self.away = False

    async def get(self, key: str) -> bytes | None:
        if self.away:
            raise Unavailable("no shelf")
        return self.copies.get(key)

    async def put(self, key: str, document: bytes) -> None:
        if self.away:
            raise Unavailable("no shelf")
        if document:
            self.copies[key] = document
        else:
            self.copies.pop(key, None)
