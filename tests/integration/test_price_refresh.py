"""A list of prices fetched from a server that may send anything, kept, and used."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rig import question, running

from tokenrouter.catalog.prices import PriceBook, Prices
from tokenrouter.clock import ManualClock
from tokenrouter.errors import UpstreamFailed, UpstreamTimedOut
from tokenrouter.storage.price_file import PriceFile
from tokenrouter.upstream import price_refresh
from tokenrouter.upstream.price_refresh import MOST_BYTES, PriceRefresh, fetch, kept_table, said, shown

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HOUR_S = 3_600


class Server:
    """A server on this machine whose answer a test chooses."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answer: Handler = self.list
        self.rows: list[Any] = [row("acme/m")]
        self.url = ""
        self.over = asyncio.Event()

    async def slow(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"data":[')
        await self.over.wait()
        return response

    async def mute(self, request: web.Request) -> web.StreamResponse:
        await self.over.wait()
        return web.Response()

    async def list(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": self.rows})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return await self.answer(request)


def row(name: str, prompt: str = "0.000001") -> dict[str, Any]:
    return {"id": name, "pricing": {"prompt": prompt, "completion": "0.000002"}}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/models"  # type: ignore[union-attr]
    yield made
    made.over.set()
    await runner.cleanup()


class Rig:
    def __init__(self, folder: Path, url: str, **more: Any) -> None:
        self.clock, self.store = ManualClock(), PriceFile(folder)
        self.prices = Prices(PriceBook.load())
        self.refresh = PriceRefresh(self.prices, self.store, self.clock, **{"url": url, "vendor": "openrouter", "interval_s": 3600, **more})

    def usd(self, model: str = "acme/m") -> float | None:
        schedule = self.prices.schedule("openrouter", model)
        return None if schedule is None else schedule.at(self.clock.time_ns()).tiers[0].rates.fresh_input / 10**9


@pytest.fixture
def rig(tmp_path: Path, server: Server) -> Rig:
    return Rig(tmp_path, server.url)


def saying(**fields: Any) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(**fields)

    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1_000):
        await response.write(b" " * (1 << 16))
    return response


async def test_a_list_is_fetched_used_and_kept_for_the_next_start(rig: Rig, server: Server, tmp_path: Path):
    assert rig.usd() is None
    reading = await rig.refresh.refresh()
    assert (rig.usd(), reading.left_out, len(server.asked)) == (1.0, (), 1)
    kept = kept_table(PriceFile(tmp_path), server.url)
    assert kept == reading.table
    price = rig.prices.book.with_table(kept).schedule("openrouter", "acme/m").at(0)  # type: ignore[union-attr]
    assert price.version == reading.table.version
    assert server.url in price.source


async def test_what_is_kept_of_another_address_or_broken_is_not_used(rig: Rig, server: Server, tmp_path: Path):
    await rig.refresh.refresh()
    assert kept_table(PriceFile(tmp_path), "https://elsewhere.test/models") is None
    assert kept_table(PriceFile(tmp_path), "") is None
    for broken in (b"", b"{}", b"\xff", b'{"url":5}'):
        PriceFile(tmp_path).save(broken)
        assert kept_table(PriceFile(tmp_path), server.url) is None


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (saying(status=500, text="no"), "answered 500"),
        (saying(status=404), "answered 404"),
        (saying(status=204), "answered 204"),
        (saying(text="<html>"), "no list of models"),
        (saying(text=""), "no list of models"),
        (saying(body=gzip.compress(json.dumps({"data": [row("acme/m")]}).encode()), headers={"content-encoding": "gzip"}), "no list of models"),
        (saying(text='{"data":[{"id":"acme/m","pricing":{"prompt":"NaN","completion":"-1"}}]}'), "no price that can be taken"),
        (saying(text='{"data":{}}'), "without a list"),
        (saying(text="[" * 100_000), "no list of models"),
        (endless, f"more than {MOST_BYTES >> 20} MB"),
    ],
)
async def test_whatever_the_server_sends_prices_stay_as_they_were(rig: Rig, server: Server, answer: Handler, says: str):
    await rig.refresh.refresh()
    kept = rig.store.load()
    server.answer = answer
    with pytest.raises(UpstreamFailed, match=says):
        await rig.refresh.refresh()
    assert (rig.usd(), rig.store.load()) == (1.0, kept)


async def test_a_redirect_is_never_followed(rig: Rig, server: Server):
    server.answer = saying(status=302, headers={"location": "/elsewhere"})
    with pytest.raises(UpstreamFailed, match=r"redirect \(302\), which is not followed"):
        await rig.refresh.refresh()
    assert [request.path for request in server.asked] == ["/models"]


@pytest.mark.parametrize("how", ["slow", "mute"])
async def test_a_slow_server_is_not_waited_for(server: Server, how: str):
    server.answer = getattr(server, how)
    with pytest.raises(UpstreamTimedOut, match=r"within 0\.2 s"):
        await fetch(server.url, deadline_s=0.2)


async def test_nobody_there_is_said_without_what_is_secret_in_the_address():
    with pytest.raises(UpstreamFailed) as failed:
        await fetch("http://user:canary@127.0.0.1:9/models?key=canary")
    assert "http://127.0.0.1:9/models" in failed.value.message
    assert "canary" not in failed.value.message
    assert shown("https://u:p@x.test/y?z=1#f") == "https://x.test/y"


async def test_a_secret_in_the_address_is_not_kept(server: Server, tmp_path: Path):
    rig = Rig(tmp_path, f"{server.url}?key=canary")
    await rig.refresh.refresh()
    assert server.asked[0].query["key"] == "canary"
    assert b"canary" not in (rig.store.load() or b"")
    assert kept_table(rig.store, f"{server.url}?key=canary") is not None


async def test_what_is_not_taken_is_named_and_a_far_move_needs_force(rig: Rig, server: Server, caplog: pytest.LogCaptureFixture):
    await rig.refresh.refresh()
    server.rows = [row("acme/m", "0.00002"), row("acme/n"), row("acme/x", "-1")]
    reading = await rig.refresh.refresh()
    assert [key for key, _ in reading.left_out] == ["openrouter/acme/m", "openrouter/acme/x"]
    assert (rig.usd(), rig.usd("acme/n"), rig.usd("acme/x")) == (1.0, 1.0, None)
    caplog.set_level("INFO", "tokenrouter")
    said(reading)
    assert "2 entries of" in caplog.text
    assert "openrouter/acme/x: prompt is '-1'" in caplog.text
    await rig.refresh.refresh(force=True)
    assert rig.usd() == 20.0


async def test_what_another_process_fetched_is_adopted_and_nothing_older(rig: Rig, server: Server, tmp_path: Path):
    other = Rig(tmp_path, server.url)
    assert not await rig.refresh.adopt()
    await other.refresh.refresh()
    assert await rig.refresh.adopt()
    assert rig.usd() == 1.0
    assert not await rig.refresh.adopt()
    rig.clock.advance(HOUR_S)
    server.rows = [row("acme/m", "0.000003")]
    await rig.refresh.refresh()
    PriceFile(tmp_path).save(b"")
    other.store.save(json.dumps({"url": server.url, "version": "v", "fetched_ns": 1, "prices": {}}).encode())
    assert not await rig.refresh.adopt()
    assert rig.usd() == 3.0


async def test_it_is_due_once_it_is_older_than_the_interval(rig: Rig, tmp_path: Path, server: Server):
    assert rig.refresh.due
    await rig.refresh.refresh()
    rig.clock.advance(HOUR_S - 1)
    assert not rig.refresh.due
    rig.clock.advance(1)
    assert rig.refresh.due
    assert not Rig(tmp_path, server.url, interval_s=0).refresh.due


async def test_it_goes_on_by_itself_and_survives_a_bad_answer(rig: Rig, server: Server, monkeypatch: pytest.MonkeyPatch):
    looked = asyncio.Queue[None]()

    async def at_once(_seconds: float) -> None:
        looked.put_nowait(None)
        rig.clock.advance(HOUR_S)
        await real(0)

    real = asyncio.sleep
    monkeypatch.setattr(price_refresh.asyncio, "sleep", at_once)
    server.answer = saying(status=500)
    rig.refresh.begin()
    await looked.get()
    assert rig.usd() is None
    server.answer = server.list
    while rig.usd() is None:
        await looked.get()
    await rig.refresh.aclose()
    assert len(server.asked) >= 2


async def test_nothing_is_fetched_where_no_address_is_set(tmp_path: Path):
    rig = Rig(tmp_path, "")
    rig.refresh.begin()
    await rig.refresh.aclose()
    assert rig.store.load() is None


async def test_a_gateway_books_at_the_list_and_names_its_version_in_the_ledger(tmp_path: Path, server: Server):
    server.rows = [{"id": "openai/gpt-4.1", "pricing": {"prompt": "0.000004", "completion": "0.000016", "input_cache_read": "0.000001"}}]
    environ = {"PRICES_REFRESH_URL": server.url, "PRICES_REFRESH_VENDOR": "*", "PRICES_REFRESH_INTERVAL": "0", "SANDBOX": "1"}
    async with running(tmp_path, **environ) as rig:
        before = await rig.chat(question("a", cache_mode=None), headers={"cache-control": "no-store"})
        assert before.status == 200
        store = Rig(tmp_path, server.url, vendor="*")
        reading = await store.refresh.refresh()
        assert await rig.gateway.price_refresh.adopt()
        await rig.chat(question("b"), headers={"cache-control": "no-store"})
        await rig.landed()
        first, second = rig.billed_rows()
        assert (first["price_version"], second["price_version"]) == ("0.2.3", reading.table.version)
        assert second["cost"] == 2 * rig.sandbox.bill.lines[-1].nano_usd
    async with running(tmp_path, **environ) as rig:
        await rig.chat(question("c"), headers={"cache-control": "no-store"})
        await rig.landed()
        assert rig.billed_rows()[-1]["price_version"] == reading.table.version, "it was kept"
