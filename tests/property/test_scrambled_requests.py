"""Scrambled requests of every dialect: no string's size, no name, number or place of anything is another, and what was one prefix still is."""

import json

import anthropic_requests
import chat_requests
import gemini_requests
import pytest
import responses_requests
from hypothesis import given, settings
from hypothesis import strategies as st
from support import see

from tokenrouter.adapters.inbound.anthropic import AnthropicMessagesDialect
from tokenrouter.adapters.inbound.gemini import GeminiGenerate
from tokenrouter.adapters.inbound.openai_chat import OpenAIChat
from tokenrouter.adapters.inbound.openai_responses import OpenAIResponses
from tokenrouter.errors import InvalidRequest
from tokenrouter.observe.scramble import Scrambler

KEY = b"k" * 32
DIALECTS = {
    "chat": (OpenAIChat(), chat_requests.requests()),
    "messages": (AnthropicMessagesDialect(), anthropic_requests.requests()),
    "responses": (OpenAIResponses(), responses_requests.requests()),
    "gemini": (GeminiGenerate(), gemini_requests.requests()),
}


def shape(value: object) -> object:
    """Everything but the words: of a string, its size."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return [shape(item) for item in value]
    return [(name, shape(item)) for name, item in value.items()] if isinstance(value, dict) else value


def seen(dialect, body: bytes):
    try:
        return see(body, dialect=dialect)
    except InvalidRequest:
        return None


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=20)
@given(data=st.data())
def test_a_request_stays_the_request_that_it_was(name: str, data: st.DataObject):
    dialect, requests = DIALECTS[name]
    request = data.draw(requests)
    raw = request if isinstance(request, bytes) else json.dumps(request, ensure_ascii=data.draw(st.booleans())).encode()
    made = Scrambler(KEY).body(raw)
    assert shape(json.loads(made)) == shape(json.loads(raw))
    before, after = seen(dialect, raw), seen(dialect, made)
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert [len(part) for part in (after.canonical.tools, after.canonical.messages)] == [
            len(part) for part in (before.canonical.tools, before.canonical.messages)
        ]
        assert after.params.model == before.params.model


@settings(max_examples=20)
@given(request=anthropic_requests.requests(), data=st.data())
def test_two_requests_share_as_many_links_as_before(request, data: st.DataObject):
    where = data.draw(st.integers(0, len(request["messages"]) - 1))
    other = {**request, "messages": [*request["messages"][:where], {"role": "user", "content": data.draw(chat_requests.texts)}]}
    scrambler, dialect = Scrambler(KEY), DIALECTS["messages"][0]

    def shared(*bodies: bytes) -> int | None:
        chains = [found.chain() for body in bodies if (found := seen(dialect, body)) is not None]
        return sum(a == b for a, b in zip(*chains, strict=False)) if len(chains) == 2 else None

    raw = [json.dumps(each).encode() for each in (request, other)]
    assert shared(*map(scrambler.body, raw)) == shared(*raw)
