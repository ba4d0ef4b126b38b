"""Hosts that are asked for their models: what is found is known, nobody waits long, and a host that is away changes nothing."""

import asyncio
import json
import logging

import pytest
from support import settings

from tokenrouter.adapters.known import known_listers
from tokenrouter.catalog.loader import Catalog, load_catalog
from tokenrouter.clock import ManualClock
from tokenrouter.errors import ModelNotFound
from tokenrouter.settings import load_settings
from tokenrouter.upstream import discovery as module
from tokenrouter.upstream.credentials import Credentials
from tokenrouter.upstream.discovery import Discovery
from tokenrouter.upstream.transport import NeverSent


class Answered:
    headers = ()

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self._body = status, body

    async def read(self) -> bytes:
        return self._body

    async def aclose(self) -> None:
        pass


class Host:
    """A server with pulled models, in place of a network."""

    def __init__(self, **models: list[str]) -> None:
        self.models = models
        self.digests = dict.fromkeys(models, "one")
        self.asked: list[tuple[str, str]] = []
        self.keys: set[str] = set()
        self.away = False
        self.broken: bytes | None = None
        self.mute: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, url: str, headers: tuple[tuple[str, str], ...], body: bytes, method: str = "POST") -> Answered:
        path = url.partition(":11434")[2]
        self.asked.append((method, path))
        self.keys.update(value for name, value in headers if name == "authorization")
        await self.gate.wait()
        if self.away:
            raise NeverSent("no connection to box: refused")
        if self.broken is not None:
            return Answered(200, self.broken)
        if path == "/api/tags":
            rows = [{"name": name, "model": name, "digest": self.digests[name], "size": 5} for name in self.models]
            return Answered(200, json.dumps({"models": rows}).encode())
        name = json.loads(body)["model"]
        if name in self.mute:
            return Answered(500, b'{"error":"no"}')
        return Answered(200, json.dumps({"capabilities": self.models[name], "model_info": {"llama.context_length": 4096}}).encode())

    async def aclose(self) -> None:
        pass

    def count(self, path: str) -> int:
        return sum(asked == path for _, asked in self.asked)


class Rig:
    def __init__(self, host: Host, **environ: str) -> None:
        self.host, self.clock = host, ManualClock()
        self.catalog: Catalog = load_catalog(settings(**(environ or {"OLLAMA_URL": "http://box:11434", "OPENAI_API_KEY": "k"})))
        self.told: list[tuple[str, str]] = []
        self.discovery = Discovery(
            self.catalog, known_listers(), Credentials(self.clock), lambda deployment: host, self.clock, lambda found: self.told.extend(found)
        )

    def vendor(self, name: str) -> str:
        return self.catalog.resolve(name).model.vendor


@pytest.fixture
async def rig():
    made = Rig(Host(**{"llama3.2:latest": ["completion", "tools"], "gpt-oss:20b": ["completion", "thinking"], "phi": []}))
    yield made
    made.host.gate.set()
    await made.discovery.aclose()


async def test_a_pulled_model_is_known_by_its_bare_name_and_listed(rig: Rig):
    with pytest.raises(ModelNotFound):
        rig.catalog.resolve("llama3.2")
    assert rig.vendor("gpt-oss:20b") == "openai"  # by the look of its name alone
    assert await rig.discovery.refresh()
    for name in ("llama3.2", "llama3.2:latest", "gpt-oss:20b", "phi"):
        assert rig.vendor(name) == "ollama"
    assert [name for vendor, name in rig.catalog.listed() if vendor == "ollama"] == ["llama3.2:latest", "gpt-oss:20b", "phi"]
    assert rig.vendor("gpt-4.1") == "openai"
    assert rig.vendor("openai/gpt-oss:20b") == "openai"
    assert ("ollama", "phi") in rig.told


async def test_what_a_host_says_of_a_model_counts_more_than_its_name(rig: Rig):
    assert rig.catalog.resolve("ollama/deepseek-r1").model.reasoning == "effort"
    rig.host.models = {"deepseek-r1:latest": ["completion"], "newcomer:1b": ["completion", "thinking"], "qwen3": []}
    rig.host.digests = dict.fromkeys(rig.host.models, "one")
    await rig.discovery.refresh()
    reasoning = [rig.catalog.resolve(f"ollama/{name}").model.reasoning for name in ("deepseek-r1", "newcomer:1b", "qwen3", "never-pulled")]
    assert reasoning == ["none", "effort", "effort", "none"]
    assert [found.context for found in rig.catalog.discovered("ollama")] == [4096, 4096, 4096]


async def test_start_waits_for_no_host(rig: Rig):
    rig.host.gate.clear()
    rig.discovery.begin()
    for _ in range(20):
        await asyncio.sleep(0)
    assert rig.host.asked == [("GET", "/api/tags")]
    assert rig.catalog.discovered("ollama") == ()
    rig.host.gate.set()
    assert await rig.discovery.refresh()  # joins the round of the start
    assert rig.host.count("/api/tags") == 1
    assert rig.vendor("phi") == "ollama"


async def test_a_host_that_hangs_keeps_nobody_waiting_for_long(rig: Rig, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    rig.host.gate.clear()
    assert await rig.discovery.refresh()
    assert rig.catalog.discovered("ollama") == ()
    assert await rig.discovery.refresh()
    assert rig.host.count("/api/tags") == 1


async def test_a_round_that_takes_too_long_is_given_up(rig: Rig, monkeypatch, caplog):
    monkeypatch.setattr(module, "_ROUND_S", 0.01)
    rig.host.gate.clear()
    await rig.discovery.refresh()
    assert "what is known so far stays" in caplog.text
    assert not await rig.discovery.refresh()


async def test_many_who_ask_at_once_share_a_round(rig: Rig):
    assert await asyncio.gather(*[rig.discovery.refresh() for _ in range(50)]) == [True] * 50
    assert rig.host.count("/api/tags") == 1


@pytest.mark.parametrize(("away", "wait_s"), [(False, 10), (True, 30)])
async def test_a_host_is_not_asked_again_at_once(rig: Rig, away: bool, wait_s: int):
    rig.host.away = away
    await rig.discovery.refresh()
    rig.clock.advance(wait_s - 1)
    assert not await rig.discovery.refresh()
    assert rig.host.count("/api/tags") == 1
    rig.clock.advance(1)
    assert await rig.discovery.refresh()
    assert rig.host.count("/api/tags") == 2


async def test_a_model_is_described_once_while_it_stays_the_same(rig: Rig):
    await rig.discovery.refresh()
    assert rig.host.count("/api/show") == 3
    rig.clock.advance(10)
    rig.host.digests["phi"] = "two"
    await rig.discovery.refresh()
    assert rig.host.count("/api/show") == 4
    assert rig.catalog.resolve("ollama/gpt-oss:20b").model.reasoning == "effort"


async def test_a_description_that_did_not_come_is_asked_for_again(rig: Rig):
    rig.host.models["mist:7b"], rig.host.digests["mist:7b"] = ["completion", "thinking"], "one"
    rig.host.mute = {"mist:7b"}
    await rig.discovery.refresh()
    assert rig.vendor("mist:7b") == "ollama"
    assert rig.catalog.resolve("mist:7b").model.reasoning == "none"
    rig.host.mute = set()
    rig.clock.advance(10)
    await rig.discovery.refresh()
    assert rig.catalog.resolve("mist:7b").model.reasoning == "effort"


async def test_a_model_that_was_removed_is_unknown_again(rig: Rig):
    await rig.discovery.refresh()
    assert rig.vendor("phi") == "ollama"
    del rig.host.models["phi"]
    rig.clock.advance(10)
    await rig.discovery.refresh()
    with pytest.raises(ModelNotFound):
        rig.catalog.resolve("phi")


@pytest.mark.parametrize("broken", [None, b"", b"<html>", b"[]", b"{}", b'{"models":{}}', b'{"models":[1]}', b'{"models":' + b"[" * 5000])
async def test_a_host_in_trouble_keeps_what_it_was_known_to_have_and_is_reported_once(rig: Rig, caplog, broken: bytes | None):
    await rig.discovery.refresh()
    rig.host.away, rig.host.broken = broken is None, broken
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            rig.clock.advance(60)
            assert await rig.discovery.refresh()
    assert rig.vendor("phi") == "ollama"
    assert len(caplog.records) == 1
    assert "ollama could not be asked for its models" in caplog.text


async def test_a_host_without_models_has_none(rig: Rig):
    rig.host.broken = b'{"models":null}'
    await rig.discovery.refresh()
    assert rig.catalog.discovered("ollama") == ()


async def test_hosts_of_ones_own_that_speak_the_wire_are_asked_with_their_key(tmp_path):
    (tmp_path / "c.toml").write_text('[providers.box]\nwire = "ollama-chat"\nbase_url = "http://10.0.0.5:11434"\nkey_env = "BOX_API_KEY"\n')
    rig = Rig(Host(phi=["completion"]), OLLAMA_URL="http://x:11434")
    rig.catalog = load_catalog(load_settings({"BOX_API_KEY": "s3"}, config=tmp_path / "c.toml"))
    rig.discovery = Discovery(rig.catalog, known_listers(), Credentials(rig.clock), lambda deployment: rig.host, rig.clock)
    await rig.discovery.refresh()
    assert rig.vendor("phi") == "box"
    assert rig.host.keys == {"Bearer s3"}


async def test_where_no_host_can_be_asked_nobody_waits():
    rig = Rig(Host(), OPENAI_API_KEY="k")
    rig.discovery.begin()
    assert not await rig.discovery.refresh()
    await rig.discovery.aclose()
    assert rig.host.asked == []


async def test_simulated_hosts_are_asked_when_somebody_wants_to_know():
    rig = Rig(Host(phi=["completion"]), SANDBOX="1")
    rig.discovery.begin()
    for _ in range(20):
        await asyncio.sleep(0)
    assert rig.host.asked == []
    assert await rig.discovery.refresh()
    assert len(rig.host.asked) > 0


async def test_closing_lets_a_round_go(rig: Rig):
    rig.host.gate.clear()
    rig.discovery.begin()
    await asyncio.sleep(0)
    await rig.discovery.aclose()
    assert rig.discovery._task is None
