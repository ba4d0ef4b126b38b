"""Headers that tell where a caller stands, as tools and official clients read them."""

import doctest
import re

import httpx2
import pytest
from anthropic import Anthropic
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI

from tokenrouter.adapters import limit_headers as module
from tokenrouter.adapters.known import known_dialects
from tokenrouter.adapters.limit_headers import duration, is_limit_header, limit_headers
from tokenrouter.model.admission import Standing

NOW_MS = 1_700_000_000_000
REQUESTS, TOKENS = Standing(60, 12, 48_500), Standing(200_000, 0, 3_661_000)
OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "12",
    "x-ratelimit-reset-requests": "48.5s",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "1h1m1s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "60",
    "anthropic-ratelimit-requests-remaining": "12",
    "anthropic-ratelimit-requests-reset": "2023-11-14T22:14:09Z",
    "anthropic-ratelimit-tokens-limit": "200000",
    "anthropic-ratelimit-tokens-remaining": "0",
    "anthropic-ratelimit-tokens-reset": "2023-11-14T23:14:21Z",
}


def headers(dialect: str, requests: Standing | None = REQUESTS, tokens: Standing | None = TOKENS) -> dict[str, str]:
    found = limit_headers(dialect, requests, tokens, NOW_MS)
    assert len(dict(found)) == len(found)
    return {name.decode(): value.decode() for name, value in found}


@pytest.mark.parametrize("dialect", sorted(known_dialects("")))
def test_every_dialect_has_the_common_family_and_anthropics_have_their_own_beside_it(dialect: str):
    assert headers(dialect) == (OPENAI | ANTHROPIC if dialect.startswith("anthropic-") else OPENAI)


def test_what_is_not_limited_is_not_spoken_of():
    assert headers("anthropic-messages", None, None) == {}
    assert set(headers("openai-chat", REQUESTS, None)) == {name for name in OPENAI if name.endswith("requests")}
    assert set(headers("anthropic-count", None, TOKENS)) == {name for name in OPENAI | ANTHROPIC if "tokens" in name}


def test_a_limit_that_was_overdrawn_has_nothing_left():
    assert headers("openai-chat", None, Standing(10, -7, 1))["x-ratelimit-remaining-tokens"] == "0"


def test_durations_are_spelled_as_the_examples_say():
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted >= 2


@given(st.integers(0, 200 * 3_600_000))
def test_a_duration_can_be_read_back_to_the_millisecond(ms: int):
    said = duration(ms).decode()
    if said.endswith("ms"):
        assert int(said[:-2]) == ms < 1000
        return
    found = re.fullmatch(r"(?:(?:(\d+)h)?(\d+)m)?(\d+)(?:\.(\d{1,3}))?s", said)
    assert found is not None
    hours, minutes, seconds, part = found.groups()
    assert int(hours or 0) * 3_600_000 + int(minutes or 0) * 60_000 + int(seconds) * 1000 + int((part or "").ljust(3, "0")) == ms
    assert int(minutes or 0) < 60
    assert int(seconds) < 60


@pytest.mark.parametrize(
    "name",
    [
        *OPENAI,
        *ANTHROPIC,
        *("anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-unified-status", "anthropic-priority-output-tokens-reset"),
        *("anthropic-fast-input-tokens-limit", "x-ratelimit-limit-tokens_usage_based", "x-ratelimit-limit-requests-day", "x-tokenlimit-limit"),
        *("x-ratelimitbysize-limit-minute", "ratelimitbysize-limit", "ratelimit", "ratelimit-policy", "ratelimit-limit"),
    ],
)
def test_what_vendors_say_of_the_shared_account_is_recognised(name: str):
    assert is_limit_header(name)


@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "request-id", "anthropic-version"])
def test_what_is_about_the_request_is_not(name: str):
    assert not is_limit_header(name)


def _served(dialect: str) -> httpx2.Client:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={}, headers=limit_headers(dialect, REQUESTS, TOKENS, NOW_MS), request=request)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def test_official_clients_show_them_in_their_raw_responses():
    client = OpenAI(api_key="k", base_url="http://x", http_client=_served("openai-chat"))
    raw = client.chat.completions.with_raw_response.create(model="m", messages=[])
    assert (raw.headers["x-ratelimit-remaining-requests"], raw.headers["x-ratelimit-reset-tokens"]) == ("12", "1h1m1s")
    theirs = Anthropic(api_key="k", base_url="http://x", http_client=_served("anthropic-messages"))
    message = theirs.messages.with_raw_response.create(model="m", max_tokens=1, messages=[])
    assert {name: message.headers[name] for name in ANTHROPIC} == ANTHROPIC
