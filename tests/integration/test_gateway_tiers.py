"""Tiers of service: what is asked for is held for, what answered is booked, and the books equal the vendor's bill."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import msgspec
import openai
import pytest
from rig import Rig, question, running

from tokenrouter.catalog.price_overrides import PriceOverride
from tokenrouter.clock import ManualClock
from tokenrouter.errors import UpstreamTruncated

NOW_NS = 1_795_000_000_000_000_000
"""2026-11-18: tiers of service have prices from 2026-10-12 on."""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path / "data", clock=ManualClock(NOW_NS)) as started:
        yield started


@pytest.fixture
def sdk(rig: Rig) -> openai.AsyncOpenAI:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(rig.app), base_url="http://gateway")
    return openai.AsyncOpenAI(api_key=rig.key, base_url="http://gateway/v1", http_client=http, max_retries=0)


async def booked(rig: Rig) -> dict[str, Any]:
    """The last row, which must cost what the vendor charged."""
    await rig.landed()
    row = rig.billed_rows()[-1]
    line = rig.sandbox.bill.lines[-1]
    assert (row["settled"], row["cost"]) == ("exact", line.nano_usd)
    return {**row, "served": line.tier}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "tier", "served"),
    [
        ("gpt-5", "flex", "flex"),
        ("gpt-5", "priority", "priority"),
        ("gpt-5", "fast", "priority"),
        ("gpt-5", "default", ""),
        ("gpt-5", "auto", ""),
        ("gpt-4.1", "priority", "priority"),
        ("gpt-4o", "priority", ""),  # the simulated vendor has no room for it there
    ],
)
async def test_chat_is_booked_at_the_tier_that_answered(rig: Rig, sdk, model: str, tier: str, served: str, stream: bool):
    asked: Any = {"model": model, "messages": [{"role": "user", "content": "hello"}], "service_tier": tier}
    if stream:
        chunks = [chunk async for chunk in await sdk.chat.completions.create(**asked, stream=True)]
        assert chunks[0].service_tier == (served or "default")
    else:
        assert (await sdk.chat.completions.create(**asked)).service_tier == (served or "default")
    row = await booked(rig)
    assert row["served"] == served
    assert row["price_version"].partition(":")[2] == served


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("tier", "served"), [("flex", "flex"), ("priority", "priority"), ("default", "")])
async def test_responses_are_booked_at_the_tier_that_answered(rig: Rig, sdk, tier: str, served: str, stream: bool):
    if stream:
        events = [event async for event in await sdk.responses.create(model="gpt-5", input="hi", service_tier=tier, store=False, stream=True)]
        assert events[-1].response.service_tier == (served or "default")
    else:
        assert (await sdk.responses.create(model="gpt-5", input="hi", service_tier=tier, store=False)).service_tier == (served or "default")
    row = await booked(rig)
    assert (row["served"], row["price_version"].partition(":")[2]) == (served, served)


@pytest.mark.parametrize("stream", [False, True])
async def test_fast_mode_of_anthropic_is_booked_at_its_price(rig: Rig, stream: bool):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app), base_url="http://gateway")
    client = anthropic.AsyncAnthropic(api_key=rig.key, base_url="http://gateway", http_client=http, max_retries=0)
    asked: Any = {"max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
    # The simulated vendor has no room for the last one's fast mode.
    for model, speed, served in (("claude-opus-5-5", "fast", "fast"), ("claude-opus-5-5", "standard", ""), ("claude-opus-4-8", "fast", "")):
        if stream:
            async with client.messages.stream(model=model, **asked, extra_body={"speed": speed}) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(model=model, **asked, extra_body={"speed": speed})
        assert answer.usage.speed == (served or None)
        row = await booked(rig)
        assert (row["served"], row["price_version"].partition(":")[2]) == (served, served)


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse"])
@pytest.mark.parametrize(("tier", "served"), [("flex", "flex"), ("SERVICE_TIER_PRIORITY", "priority"), ("standard", "")])
async def test_gemini_is_booked_at_the_tier_that_answered(rig: Rig, method: str, tier: str, served: str):
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "serviceTier": tier}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(rig.app), base_url="http://gateway") as http:
        answer = await http.post(f"/v1beta/models/gemini-4-argon:{method}", json=body, headers={"x-goog-api-key": rig.key})
    assert answer.status_code == 200, answer.text
    row = await booked(rig)
    assert (row["served"], row["price_version"].partition(":")[2]) == (served, served)


@pytest.mark.parametrize(("model", "served"), [("gemini-4-argon", "flex"), ("claude-opus-5-5", "")])
async def test_a_tier_travels_to_another_vendor_or_is_told_to_be_dropped(rig: Rig, model: str, served: str):
    tier = "flex" if served else "fast"
    answer = await rig.chat(question(model=model, service_tier=tier, temperature=None))
    assert answer.status == 200, answer.body
    row = await booked(rig)
    assert row["served"] == served
    assert ("service_tier" in answer.headers.get("x-tokenrouter-dropped", "")) is not served.startswith("flex")


async def test_a_tier_without_a_known_price_is_refused_by_name_and_nothing_is_sent(rig: Rig):
    for model, tier in (("gpt-4.1", "flex"), ("gpt-5", "ultrafast"), ("gpt-5", "scale"), ("deepseek-v4-flash", "priority")):
        answer = await rig.chat(question(model=model, service_tier=tier))
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unsupported_parameter", "service_tier")
        assert f"service_tiers.{tier}" in answer.error["message"]
    assert rig.sandbox.requests.seen == rig.held() == rig.spent() == 0


async def test_the_dearer_of_the_tier_and_the_standard_one_is_held(rig: Rig):
    amounts = {}
    for tier in ("flex", "default", "priority"):
        seen: list[int] = []
        real = rig.services.books
        rig.set(books=_Seeing(real, seen))
        await rig.chat(question(f"to {tier}", model="gpt-5", service_tier=tier, temperature=None, max_completion_tokens=500))
        rig.set(books=real)
        (amounts[tier],) = seen
    assert 0.99 * amounts["default"] < amounts["flex"] < 1.01 * amounts["default"]
    assert 1.99 * amounts["default"] < amounts["priority"] < 2.01 * amounts["default"]


class _Seeing:
    """The real books; what is asked for is written down."""

    def __init__(self, real: Any, seen: list[int]) -> None:
        self._real, self._seen = real, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def admit(self, bound: Any, ask: Any) -> Any:
        if ask.worst is not None:
            self._seen.append(ask.worst.usd)
        return await self._real.admit(bound, ask)


class _Answering:
    """A transport whose answers say that another tier of service answered."""

    def __init__(self, inner: Any, tier: str) -> None:
        self._inner, self._tier = inner, tier

    async def send(self, url: str, headers: Any, body: bytes, method: str = "POST") -> Any:
        response = await self._inner.send(url, headers, body, method)
        read = response.read

        async def told() -> bytes:
            return msgspec.json.encode({**json.loads(await read()), "service_tier": self._tier})

        response.read = told
        return response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize(
    ("asked", "told", "version", "times"),
    [
        (None, "priority", "0.2.3:priority", 2),  # the account's default tier is another one
        ("priority", "default", "0.2.3", 1),  # there was no room
        ("priority", "on_demand", "0.2.3", 1),
        ("flex", "unheard-of", "0.2.3?unheard-of", 1),
        ("priority", "", "0.2.3:priority", 2),
    ],
)
async def test_the_vendors_word_decides_whatever_was_asked_for(rig: Rig, asked: str | None, told: str, version: str, times: int):
    await rig.chat(question(model="gpt-5", temperature=None))
    plain = (await booked(rig))["cost"]
    rig.set(sandbox_transport=_Answering(rig.services.sandbox_transport, told))
    await rig.chat(question(model="gpt-5", temperature=None, service_tier=asked))
    await rig.landed()
    row = rig.billed_rows()[-1]
    assert (row["price_version"], row["cost"]) == (version, plain * times)


class _Breaking:
    """A transport whose streams tell of a search, and break."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def send(self, url: str, headers: Any, body: bytes, method: str = "POST") -> Any:
        response = await self._inner.send(url, headers, body, method)
        search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
        event = {"type": "response.output_item.done", "output_index": 0, "item": search}

        async def chunks() -> AsyncIterator[bytes]:
            yield b"event: response.output_item.done\ndata: " + json.dumps(event).encode() + b"\n\n"
            raise UpstreamTruncated("the connection broke")

        response.chunks = chunks
        return response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_a_search_of_a_stream_that_broke_is_booked(rig: Rig, sdk):
    rig.set(sandbox_transport=_Breaking(rig.services.sandbox_transport))
    with pytest.raises(openai.APIError):
        [event async for event in await sdk.responses.create(model="gpt-5", input="hi", tools=[{"type": "web_search"}], store=False, stream=True)]
    await rig.landed()
    (row,) = rig.billed_rows()
    assert row["settled"] == "estimated"
    assert 10_000_000 < row["cost"] < 11_000_000


async def test_an_account_whose_default_tier_is_dearer_is_held_for(tmp_path: Path):
    config = tmp_path / "tokenrouter.toml"
    config.write_text('[providers.openai]\nauto_tier = "priority"\n')
    async with running(tmp_path / "data", clock=ManualClock(NOW_NS), TOKENROUTER_CONFIG=str(config), SANDBOX="1") as rig:
        amounts: list[int] = []
        rig.set(books=_Seeing(rig.services.books, amounts))
        for tier in (None, "auto", "default"):
            answer = await rig.chat(question(f"{tier}", model="gpt-5", service_tier=tier, temperature=None, max_completion_tokens=500))
            assert answer.status == 200, answer.body
        unset, auto, default = amounts
        assert unset > 1.9 * default
        assert auto > 1.9 * default


async def test_prices_of_the_admin_api_hold_from_the_next_request_on(rig: Rig):
    await rig.chat(question(model="gpt-5", temperature=None))
    before = (await booked(rig))["cost"]
    override = PriceOverride(input="12.5", output="100", cache_read="1.25", service_tiers={"scale": "0.5"}, source="contract")
    rig.services.prices.replace(rig.services.prices.book.with_overrides({"openai/gpt-5": override}))
    for tier, times in ((None, 10), ("scale", 10)):
        answer = await rig.chat(question(model="gpt-5", temperature=None, service_tier=tier))
        assert answer.status == 200, answer.body
        await rig.landed()
        row = rig.billed_rows()[-1]
        assert row["cost"] == before * times
        assert row["price_version"].startswith("override-")
    rig.services.prices.replace(rig.services.prices.book.with_overrides({}))
    await rig.chat(question(model="gpt-5", temperature=None))
    assert (await booked(rig))["cost"] == before


async def test_a_model_without_a_price_is_a_404_that_names_the_table_to_add(rig: Rig):
    answer = await rig.chat(question(model="openai/gpt-none"))
    assert (answer.status, answer.error["code"]) == (404, "model_not_priced")
    assert '[prices."openai/gpt-none"]' in answer.error["message"]
