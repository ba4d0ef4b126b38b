"""The admin API for commands: over HTTP where an address is given, else the same code over the stores of this machine, without a server."""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote, urlencode

import aiohttp
import msgspec

from tokenrouter.api.admin.app import create_admin
from tokenrouter.api.admin.desk import Desk, Health, Looks
from tokenrouter.api.asgi import Message
from tokenrouter.catalog.loader import load_catalog
from tokenrouter.catalog.prices import Prices
from tokenrouter.clock import SystemClock
from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.model.admission import Bound, Look
from tokenrouter.quota.process_counters import ProcessCounters
from tokenrouter.quota.rules import Binder
from tokenrouter.setting_texts import without_credentials
from tokenrouter.settings import Settings, load_settings
from tokenrouter.storage.admin_records import AdminRecords
from tokenrouter.storage.directory import Directory
from tokenrouter.storage.sums import seed
from tokenrouter.upstream.own_prices import OwnPrices
from tokenrouter.wiring import load_prices, open_directory

T = TypeVar("T")
Json = Any  # what an API answers
_TIMEOUT_S = 60
_ACTOR = "command line"


class Missing(ConfigError):
    """What was asked for is not there."""


class Admin(Protocol):
    """The admin API."""

    async def ask(self, method: str, path: str, body: object = None, *, query: Mapping[str, object] = ..., accept: str = ...) -> bytes:
        """What it answers. `query`: what is None or "" is left out, a list is said several times. Raises ConfigError with its words for a refusal."""
        ...


def with_admin(arguments: argparse.Namespace, work: Callable[[Admin], Awaitable[T]]) -> T:
    """Do something with the admin API of `--url` or TOKENROUTER_URL, or with the stores of this machine. Raises ConfigError."""

    async def run() -> T:
        url = arguments.url or os.environ.get("TOKENROUTER_URL", "")
        async with _remote(url) if url else _local(load_settings(os.environ, config=arguments.config)) as admin:
            return await work(admin)

    return asyncio.run(run())


async def fetch(admin: Admin, path: str, **query: object) -> Json:
    """Something as JSON. Raises ConfigError."""
    return msgspec.json.decode(await admin.ask("GET", path, query=query))


async def fetch_all(admin: Admin, path: str, **query: object) -> list[Json]:
    """All items of a list. Raises ConfigError."""
    found: list[Json] = []
    cursor = ""
    while True:
        page = await fetch(admin, path, **query, limit=500, cursor=cursor)
        found += page["data"]
        cursor = page["next_cursor"]
        if not cursor:
            return found


async def change(admin: Admin, method: str, path: str, body: object = None) -> Json:
    """Change something; what became of it. Raises ConfigError."""
    return msgspec.json.decode(await admin.ask(method, path, body))


def in_path(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def _asked(path: str, query: Mapping[str, object]) -> str:
    pairs = [(name, each) for name, value in query.items() for each in (value if isinstance(value, list) else [value])]
    said = urlencode([(name, str(value)) for name, value in pairs if value not in (None, "")])
    return f"{path}?{said}" if said else path


def _refused(status: int, body: bytes, where: str = "") -> ConfigError:
    try:
        detail = str(msgspec.json.decode(body, type=dict[str, object])["detail"])
    except (msgspec.MsgspecError, KeyError):
        detail = f"the gateway answered {status}"
    kind = Missing if status == 404 else ConfigError
    return kind(f"{detail} ({where})" if where else detail)


class _Remote:
    """A gateway somewhere."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session, self._url, self._key = session, url.rstrip("/"), key

    async def ask(self, method: str, path: str, body: object = None, *, query: Mapping[str, object] = {}, accept: str = "application/json") -> bytes:
        """See `Admin`."""
        headers = {"Authorization": f"Bearer {self._key}", "Accept": accept, "Content-Type": "application/json"}
        data = None if body is None else msgspec.json.encode(body)
        try:
            url = f"{self._url}{_asked(path, query)}"
            async with self._session.request(method, url, data=data, headers=headers, allow_redirects=False) as answer:
                said = await answer.read()
                if not 200 <= answer.status < 300:
                    raise _refused(answer.status, said)
                return said
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise ConfigError(
                f"{without_credentials(self._url)} can not be reached: {without_credentials(str(error)) or type(error).__name__}"
            ) from error


@asynccontextmanager
async def _remote(url: str) -> AsyncIterator[Admin]:
    key = os.environ.get("ADMIN_API_KEY", "")
    if not key:
        raise ConfigError(f"ADMIN_API_KEY is not set: {without_credentials(url)} wants the admin key")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield _Remote(session, url, key)


class _Local:
    """The admin API in this process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._app = create_admin(lambda: desk, self._who, desk.clock)

    async def _who(self, _: Mapping[str, str]) -> str:
        return _ACTOR  # whoever can read the stores may use them

    async def ask(self, method: str, path: str, body: object = None, *, query: Mapping[str, object] = {}, accept: str = "application/json") -> bytes:
        """See `Admin`."""
        plain, _, said = _asked(path, query).partition("?")
        sent, got = b"" if body is None else msgspec.json.encode(body), bytearray()
        status = 0

        async def receive() -> Message:
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            got.extend(message.get("body", b""))

        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(plain),
            "raw_path": plain.encode(),
            "query_string": said.encode(),
            "root_path": "",
            "headers": [(b"accept", accept.encode()), (b"content-type", b"application/json")],
            "client": None,
            "server": None,
        }
        await self._app(scope, receive, send)
        if not 200 <= status < 300:
            raise _refused(status, bytes(got), self._desk.directory.problem)
        return bytes(got)


class _Nobody:
    """Counters that can not be asked from here."""

    async def look(self, bound: Bound, *, sandbox: bool) -> Look:
        """See `Looks`."""
        raise Unavailable(f"the counters of {bound.tenant} are in Redis: ask a running gateway (--url or TOKENROUTER_URL), sandbox={sandbox}")


@asynccontextmanager
async def _local(settings: Settings) -> AsyncIterator[Admin]:
    clock = SystemClock()
    directory = await open_directory(settings, clock)
    try:
        yield _Local(await _desk(settings, directory, clock))
    finally:
        await directory.aclose()


async def _desk(settings: Settings, directory: Directory, clock: SystemClock) -> Desk:
    """What is known without a running gateway: everything but calls under way and kept answers."""
    database = directory.database
    catalog = load_catalog(settings)
    prices, records = Prices(load_prices(settings, catalog)), AdminRecords(database, clock)
    own_prices = OwnPrices(prices, records)
    books: Looks = ProcessCounters(clock, seed=partial(seed, database)) if database.inline else _Nobody()
    try:
        await own_prices.refresh()
    except Unavailable as error:
        raise ConfigError(f"{error.message} ({directory.problem})") from error
    return Desk(
        clock=clock,
        directory=directory,
        records=records,
        books=books,
        binder=Binder(rate_limits=settings.rate_limit_enabled, default_rpm=settings.rate_limit_rpm),
        catalog=catalog,
        prices=prices,
        own_prices=own_prices,
        ledger=database,
        written=_as_it_is,
        answers=None,
        health=partial(Health, mode="stores alone"),
    )


async def _as_it_is() -> None:
    """The ledger is read as it is: what a running gateway still has to write comes a moment later."""
