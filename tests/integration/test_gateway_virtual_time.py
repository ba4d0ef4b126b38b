"""`VIRTUAL_TIME`: every decision, lifetime and limit goes by the header of the request, latencies by the machine."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web
from rig import ADMIN_KEY, CHAT, Response, Rig, call, question, running

from tokenrouter.api.app import App
from tokenrouter.catalog.loader import load_catalog
from tokenrouter.clock import ManualClock, VirtualClock
from tokenrouter.errors import ConfigError
from tokenrouter.model.rules import Cap, Scope
from tokenrouter.money import parse_usd
from tokenrouter.sandbox.app import create_virtual_app
from tokenrouter.settings import Settings, load_settings
from tokenrouter.storage.database import at_once
from tokenrouter.wiring import check_virtual_time

SECOND = 10**9
NOW = "x-tokenrouter-now"
SHOWN = "x-tokenrouter-virtual-time"
LONG = "You weigh every matter from all of its sides before you speak. " * 400
NOVEMBER = int(datetime(2025, 11, 30, 23, 59, tzinfo=UTC).timestamp())


@pytest.fixture
async def virtual(tmp_path: Path):
    async with running(tmp_path, clock=VirtualClock(), VIRTUAL_TIME="1") as rig:
        yield rig


async def at(rig: Rig, now: float | str, body: Any = None, *, key: str | None = None, **headers: str) -> Response:
    return await rig.chat(body, key=key, headers={NOW: str(now), **headers})


async def messages(rig: Rig, now: float, last: str = "Go on.", ttl: str = "5m") -> dict[str, int]:
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": ttl}}]
    body = {"model": "claude-sonnet-4-5", "max_tokens": 50, "system": system, "messages": [{"role": "user", "content": last}]}
    answer = await call(rig.app, "POST", "/v1/messages", json.dumps(body).encode(), {"x-api-key": rig.key, NOW: str(now)})
    assert answer.status == 200, answer.body
    return answer.json["usage"]


async def test_a_prompt_cache_lives_for_300_s_of_virtual_time(virtual: Rig):
    first, second, third = [await messages(virtual, now, f"Question {now}.") for now in (0, 299, 299 + 301)]
    assert first["cache_creation_input_tokens"] > 1024
    assert second["cache_read_input_tokens"] > 0.95 * first["cache_creation_input_tokens"]
    assert third["cache_read_input_tokens"] == 0
    assert third["cache_creation_input_tokens"] > 0.95 * first["cache_creation_input_tokens"]


async def test_the_gateway_knows_that_the_entry_is_gone_and_says_so(virtual: Rig):
    for now in (0, 100, 200, 501):
        await messages(virtual, now, f"Question {now}.")
    breaks = await call(virtual.app, "GET", "/admin/prompt-cache/breaks", b"", {"authorization": f"Bearer {ADMIN_KEY}", NOW: "502"})
    assert [row["cause"] for row in breaks.json["data"]] == ["expired"], breaks.body


async def test_a_limit_per_minute_refuses_at_59_s_and_admits_at_61(virtual: Rig):
    key = virtual.new_key(rpm=1)
    assert [(await at(virtual, now, question(f"at {now}"), key=key)).status for now in (0, 59, 61)] == [200, 429, 200]


async def test_without_the_header_time_stands_still(virtual: Rig):
    key = virtual.new_key(rpm=1)
    assert (await at(virtual, 10, question("one"), key=key)).status == 200
    told = [await virtual.chat(question(f"again {number}"), key=key) for number in range(2)]
    assert [(answer.status, answer.headers[SHOWN]) for answer in told] == [(429, told[0].headers[SHOWN])] * 2


async def test_kept_answers_end_with_their_lifetime_and_tell_their_age(tmp_path: Path):
    async with running(tmp_path, clock=VirtualClock(), VIRTUAL_TIME="1", CACHE_TTL_SECONDS="600") as rig:
        told = [await at(rig, now) for now in (0, 599, 601)]
        assert [answer.cache for answer in told] == ["miss", "hit", "miss"]
        assert told[1].headers["age"] == "599"


async def test_a_flight_that_is_too_old_is_not_joined(virtual: Rig):
    virtual.sandbox.hold()
    asked = [asyncio.create_task(at(virtual, now)) for now in (0, 119, 121)]
    await virtual.sandbox.waiting(2)
    virtual.sandbox.release()
    assert [answer.cache for answer in await asyncio.gather(*asked)] == ["miss", "coalesced", "miss"]


async def test_a_monthly_cap_begins_anew_with_the_month(virtual: Rig):
    key = virtual.new_key()
    virtual.bind(Cap(id="month", scope=Scope(key=virtual.key_id(key)), amount=parse_usd("0.004"), period="month", action="refuse", alerts=()))
    ask = {"temperature": None, "max_tokens": 200}
    said = "Answer in 100 words."
    told = [
        await at(virtual, NOVEMBER + later, question(said, **ask), key=key, **{"x-edits-off": "limits.fit"})  # its own limit, or none at all
        for later in (0, 30, 61)
    ]
    assert [answer.status for answer in told] == [200, 429, 200], told[0].body
    times = [row["time_ns"] for row in virtual.billed_rows()]
    assert times == [NOVEMBER * SECOND, (NOVEMBER + 61) * SECOND]


async def test_a_key_is_valid_until_it_expires_and_what_comes_later_finds_it_expired(virtual: Rig):
    start_s = virtual.clock.time_ns() // SECOND
    key, _ = at_once(virtual.gateway.keys.create(tenant="default", expires_ns=(start_s + 100) * SECOND))
    assert [(await at(virtual, now, question(f"at {now}"), key=key)).status for now in (0, 99, 101)] == [200, 200, 401]


async def test_keys_made_at_start_are_good_when_the_first_request_is_from_years_ago(virtual: Rig):
    answer = await at(virtual, "1500000000.5")
    assert (answer.status, answer.headers[SHOWN]) == (200, "1500000000.5")
    assert virtual.rows()[-1]["time_ns"] == 1_500_000_000_500_000_000


async def test_an_earlier_time_is_answered_at_the_time_that_was_reached(virtual: Rig):
    await at(virtual, 1_600_000_100)
    answer = await at(virtual, 1_600_000_000)
    assert (answer.cache, answer.headers[SHOWN], answer.headers["age"]) == ("hit", "1600000100", "0")


@pytest.mark.parametrize("said", ["soon", "-1", "nan", ""])
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1beta/models/gemini-2.5-flash:generateContent", "/v1/models", "/admin/usage"])
async def test_what_is_no_time_is_refused_in_the_dialect_s_words(virtual: Rig, path: str, said: str):
    method = "GET" if path in ("/v1/models", "/admin/usage") else "POST"
    key = ADMIN_KEY if path.startswith("/admin") else virtual.key
    refused = await call(virtual.app, method, path, b"{}", {"authorization": f"Bearer {key}", NOW: said})
    assert refused.status == 400
    assert NOW in refused.body.decode()
    if path == "/v1/messages":
        assert refused.json["type"] == "error"
    elif path.startswith("/v1beta"):
        assert refused.error["status"] == "INVALID_ARGUMENT"


async def test_two_times_are_refused_and_move_nothing(virtual: Rig):
    headers = [(b"authorization", f"Bearer {virtual.key}".encode()), (NOW.encode(), b"1600000000"), (NOW.encode(), b"1600000500")]
    refused = await call(virtual.app, "POST", CHAT, json.dumps(question()).encode(), headers)
    assert (refused.status, refused.error["param"]) == (400, NOW)
    assert not refused.headers[SHOWN].startswith("16000")


async def test_only_who_has_a_key_moves_time(virtual: Rig):
    before = virtual.clock.time_ns()
    for path, method in ((CHAT, "POST"), ("/v1/models", "GET"), ("/admin/usage", "GET")):
        refused = await call(virtual.app, method, path, b"{}", {"authorization": "Bearer sk-tr-nobody", NOW: "3600"})
        assert refused.status == 401
    for path in ("/metrics", "/livez", "/readyz"):
        assert (await call(virtual.app, "GET", path, b"", {"authorization": f"Bearer {virtual.key}", NOW: "3600"})).status == 200
    assert virtual.clock.time_ns() == before


async def test_admin_calls_ask_at_a_time_of_their_own(virtual: Rig):
    await at(virtual, 1_600_000_000)
    month = 31 * 86_400
    for now, requests in ((1_600_000_060, 1), (1_600_000_000 + month, 0)):
        told = await call(virtual.app, "GET", "/admin/usage", b"", {"authorization": f"Bearer {ADMIN_KEY}", NOW: str(now)})
        assert (told.status, told.headers[SHOWN]) == (200, str(now))
        assert sum(row["requests"] for row in told.json["data"]) == requests, told.body


async def test_durations_are_the_machine_s(virtual: Rig):
    virtual.sandbox.hold()
    slow = asyncio.create_task(at(virtual, 0, question("slow", temperature=None)))
    await virtual.sandbox.waiting(1)
    quick = asyncio.create_task(at(virtual, 3_600, question("quick", temperature=None)))
    await virtual.sandbox.waiting(2)
    virtual.sandbox.release()
    for answer in (await slow, await quick):
        record = virtual.services.recorder.find(answer.headers["x-tokenrouter-request-id"], "default")
        assert record is not None
        assert 0 < record.upstream_ns < record.duration_ns < 60 * SECOND
        assert 0 < record.first_byte_ns < 60 * SECOND
        assert all(0 <= room < 60 * SECOND for room in record.rooms_ns)


class Upstream:
    """A provider of Chat Completions on a port of this machine, that remembers what it was sent."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        message = {"role": "assistant", "content": "Yes."}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4.1", "choices": [choice], "usage": usage})


FORWARDED = {NOW: "7.50", "x-sim-delay": "3", "X-Sim-Label": "a b", "x-simulated": "no", "x-other": "no"}


async def test_the_time_and_the_headers_for_simulators_go_on_as_they_came(tmp_path: Path):
    async with (
        Upstream() as upstream,
        running(tmp_path, clock=VirtualClock(), VIRTUAL_TIME="1", OPENAI_API_KEY="k", OPENAI_BASE_URL=upstream.url) as rig,
    ):
        headers = [(b"authorization", f"Bearer {rig.key}".encode()), *((name.lower().encode(), value.encode()) for name, value in FORWARDED.items())]
        answer = await call(rig.app, "POST", CHAT, json.dumps(question()).encode(), headers)
        assert answer.status == 200
        assert "x-tokenrouter-sandbox" not in answer.headers
        (seen,) = upstream.seen
        assert {name: seen.get(name) for name in (NOW, "x-sim-delay", "x-sim-label")} == {NOW: "7.50", "x-sim-delay": "3", "x-sim-label": "a b"}
        assert not {"x-simulated", "x-other"} & seen.keys()
        assert seen["authorization"] == "Bearer k"


async def test_on_the_machine_s_time_the_headers_mean_nothing_and_stay_here(tmp_path: Path):
    async with Upstream() as upstream, running(tmp_path, OPENAI_API_KEY="k", OPENAI_BASE_URL=upstream.url) as rig:
        before = rig.clock.time_ns()
        answer = await rig.chat(headers={**FORWARDED, NOW: "soon"})
        assert (answer.status, rig.clock.time_ns()) == (200, before)
        assert SHOWN not in answer.headers
        assert not {NOW, "x-sim-delay", "x-sim-label"} & upstream.seen[0].keys()


async def test_a_sandbox_of_its_own_follows_the_header(tmp_path: Path):
    sandbox = create_virtual_app()
    shown = []
    for now in ("100", "50", "160"):
        await call(sandbox, "POST", "/echo/v1/chat/completions", b"{}", {"authorization": "Bearer k", NOW: now})
        shown.append(sandbox.clock.time_ns())
    assert [at_ns - shown[0] for at_ns in shown] == [0, 0, 60 * SECOND]
    assert (await call(sandbox, "POST", "/echo/v1/chat/completions", b"{}", {NOW: "soon"})).status == 400


REFUSED = [
    ({"OPENAI_API_KEY": "sk-real"}, "openai has a credential"),
    ({"OPENAI_API_KEY": "sk-real", "OPENAI_BASE_URL": "http://127.0.0.1.example.com/v1"}, "openai has a credential"),
    ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "ANTHROPIC_API_KEY": "sk-real"}, "anthropic has a credential"),
    ({"AWS_BEARER_TOKEN_BEDROCK": "t", "AWS_REGION": "us-east-1"}, "bedrock has a credential"),
    ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}, "bedrock has a credential"),
    ({"VERTEX_ACCESS_TOKEN": "t", "VERTEX_PROJECT": "p", "VERTEX_LOCATION": "global"}, "vertex"),
    ({"WORKERS": "2"}, "WORKERS=2"),
    ({"DATABASE_URL": "postgresql://u@localhost/d", "REDIS_URL": "redis://localhost"}, "unset REDIS_URL"),
]


def settings_with(folder: Path, environ: dict[str, str]) -> Settings:
    return load_settings({"DATA_DIR": str(folder), "TOKENROUTER_CONFIG": "/dev/null", "VIRTUAL_TIME": "1", **environ})


@pytest.mark.parametrize(("environ", "says"), REFUSED, ids=lambda value: "-".join(value) if isinstance(value, dict) else None)
def test_it_is_refused_beside_whoever_is_real(tmp_path: Path, environ: dict[str, str], says: str):
    settings = settings_with(tmp_path, environ)
    with pytest.raises(ConfigError, match="virtual time") as refused:
        check_virtual_time(settings, load_catalog(settings))
    assert says in str(refused.value)
    assert "sk-real" not in str(refused.value)


async def test_whoever_builds_a_gateway_is_refused_before_anything_is_there(tmp_path: Path):
    app = App(settings_with(tmp_path / "data", {"OPENAI_API_KEY": "sk-real"}))
    with pytest.raises(ConfigError, match="openai has a credential"):
        async with app.lifespan():
            pass
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"},
        {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://[::1]:9/v1"},
        {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://localhost:9/v1"},
        {"OPENAI_API_KEY": "sk-real", "SANDBOX": "1"},
        {"OLLAMA_URL": "http://192.0.2.1:11434"},
    ],
    ids="-".join,
)
def test_it_is_fine_before_simulators(tmp_path: Path, environ: dict[str, str]):
    settings = settings_with(tmp_path, environ)
    check_virtual_time(settings, load_catalog(settings))


async def test_the_setting_alone_makes_time_virtual(tmp_path: Path):
    app = App(settings_with(tmp_path, {}))
    async with app.lifespan():
        assert app.gateway is not None
        assert isinstance(app.gateway.services.clock, VirtualClock)


async def test_a_clock_that_is_handed_in_is_the_one(tmp_path: Path):
    clock = ManualClock()
    async with running(tmp_path, clock=clock) as rig:
        assert rig.services.clock is clock
