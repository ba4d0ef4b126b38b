"""Requests without their words: what is said is gone, and everything that a prompt cache goes by is there."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.observe.pseudonyms import Words
from tokenrouter.observe.scramble import Scrambler

KEY = b"k" * 32
TOOL = {
    "name": "get_weather",
    "description": "Ask about weather in Zürich",
    "input_schema": {
        "type": "object",
        "properties": {"type": {"type": "string", "description": "secret kind", "enum": ["celsius"], "pattern": "^[a-z]+$"}},
        "required": ["type"],
    },
}
CHAT_CALL = {"id": "call_9xAb", "type": "function", "function": {"name": "f", "arguments": '{"path": "src\\nsecret", "n": 5}'}}
BODY = {
    "model": "claude-opus-4-8",
    "max_tokens": 10,
    "system": [{"type": "text", "text": "x-anthropic-billing-header: v=1;\nBe kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "tools": [TOOL],
    "tool_choice": {"type": "tool", "name": "get_weather"},
    "metadata": {"user_id": json.dumps({"device_id": "secret", "session_id": "6f0c0000-1111-4222-8333-abcdefabcdef"})},
    "messages": [
        {"role": "user", "name": "bob", "content": 'Say "auto" of bob@example.com\n\t1 é'},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01Ab", "name": "get_weather", "input": {"type": "rain", "model": "m"}}]},
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD" * 100 + "QQ=="}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "high"}}]},
        {"role": "assistant", "tool_calls": [CHAT_CALL]},
    ],
}


def scrambled(body: object, **more) -> dict:
    return json.loads(Scrambler(KEY, known=("x-anthropic-billing-header:",)).body(json.dumps(body, **more).encode()))


def test_what_makes_it_a_request_stays():
    made = scrambled(BODY)
    for name in ("model", "max_tokens", "tool_choice"):
        assert made[name] == BODY[name]
    assert made["system"][0]["cache_control"] == BODY["system"][0]["cache_control"]
    schema, before = made["tools"][0]["input_schema"], TOOL["input_schema"]
    assert (schema["type"], schema["required"], list(schema["properties"])) == ("object", ["type"], ["type"])
    assert schema["properties"]["type"]["type"] == "string"
    assert schema["properties"]["type"]["pattern"] == before["properties"]["type"]["pattern"]
    user, assistant, picture, link, calls = made["messages"]
    assert [message["role"] for message in made["messages"]] == [message["role"] for message in BODY["messages"]]
    assert (assistant["content"][0]["type"], assistant["content"][0]["name"]) == ("tool_use", "get_weather")
    assert assistant["content"][0]["id"].startswith("toolu_")
    assert picture["content"][0]["source"]["media_type"] == "image/png"
    assert re.fullmatch("[A-Za-z0-9]{402}==", picture["content"][0]["source"]["data"])
    assert link["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert link["content"][0]["image_url"]["detail"] == "high"
    assert list(json.loads(calls["tool_calls"][0]["function"]["arguments"])) == ["path", "n"]
    assert list(json.loads(made["metadata"]["user_id"])) == ["device_id", "session_id"]
    assert made["system"][0]["text"].startswith("x-anthropic-billing-header: ")
    assert user["name"] != "bob"


def test_what_was_said_is_gone():
    told = json.dumps(scrambled(BODY), ensure_ascii=False)
    for word in ("secret", "celsius", "rain", "bob", "example", "weather in", "Zürich", "kind.", "QUJD", "01Ab", "9xAb", "6f0c0000", '"auto'):
        assert word not in told, word


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": {"id": "pmpt_1", "variables": {"name": "secret", "status": "secret", "type": "secret"}}},
        {"input": [{"type": "file_search_call", "results": [{"attributes": {"name": "secret", "category": "secret"}}]}]},
        {"input": [{"type": "local_shell_call", "action": {"type": "exec", "env": {"name": "secret", "mode": "secret"}}}]},
        {"tools": [{"type": "mcp", "headers": {"name": "secret", "mode": "secret"}}]},
        {"chat_template_kwargs": {"name": "secret", "mode": "secret"}},
    ],
)
def test_what_clients_name_as_they_like_is_no_part_of_the_request(body):
    assert "secret" not in json.dumps(scrambled(body))


def test_what_a_text_becomes_does_not_hang_on_where_the_same_was_seen_before():
    text = json.dumps({"path": "a folder", "and": "more, until the text is long enough to be remembered"})
    call, said = {"arguments": text}, {"content": text}
    assert scrambled([said, call]) == [scrambled(said), scrambled(call)]
    assert scrambled([call, said]) == [scrambled(call), scrambled(said)]


@pytest.mark.parametrize("more", [{}, {"separators": (",", ":")}, {"indent": 2}, {"ensure_ascii": False}])
def test_every_byte_that_is_no_word_stays_where_it_is(more):
    raw = json.dumps(BODY, **more).encode()
    made = Scrambler(KEY).body(raw)
    assert len(made) == len(raw) or "\\u" in raw.decode()
    shape = re.compile(r"[^\W_]+|\\u[0-9a-f]{4}")
    assert shape.sub("w", made.decode()) == shape.sub("w", raw.decode())


@pytest.mark.parametrize(
    "said",
    [
        "2026-11-21T10:05:33.123Z",
        "Friday, 21 November 2026",
        "Nov 3rd, 2026",
        "10:05 PM",
        "1763719533",
        "12/31/2026",
        "Current session id: ",
        "git status",
    ],
)
def test_dates_times_and_the_names_of_what_changes_stay(said):
    assert Words(KEY).text(f"({said})") == f"({said})"


def test_ids_stay_ids_of_their_kind():
    made = Words(KEY).text("6f0c0000-1111-4222-8333-abcdefabcdef a1b2c3d4 Ab12Cd34Ef")
    assert re.fullmatch(
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12} [0-9a-f]{8} [A-Z][a-z][0-9]{2}[A-Z][a-z][0-9]{2}[A-Z][a-z]", made
    )
    assert "6f0c0000" not in made


def test_another_key_gives_other_words():
    assert Words().text("a secret word") != Words().text("a secret word")


def test_headers_that_name_somebody_lose_it_and_queries_what_nobody_knows():
    scrambler = Scrambler(KEY)
    made = scrambler.headers({"x-customer-id": "acme", "anthropic-beta": "context-1m"}, ("x-customer-id",))
    assert made["x-customer-id"] != "acme"
    assert made["anthropic-beta"] == "context-1m"
    assert scrambler.query("alt=sse&who=acme") == "alt=sse"


def test_it_is_linear_in_whatever_comes():
    assert len(Scrambler(KEY).body(b'{"input":"' + b"\\\\" * 100_000 + b'"}')) == 200_012
    assert Scrambler(KEY).body(b"[" * 50_000 + b"]" * 50_000) == b"[" * 50_000 + b"]" * 50_000


words = st.text(st.characters(categories=("L", "N", "P", "Z")), min_size=1, max_size=40)


@given(words, words)
def test_texts_differ_from_the_same_place_on_as_before_and_have_the_same_sizes(one: str, other: str):
    kept = Words(KEY)
    made, also = kept.text(one), kept.text(other)
    assert len(made.encode()) == len(one.encode())
    assert (one == other) == (made == also)
    assert kept.text(one) == made


@given(st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True), st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True))
def test_words_that_begin_alike_do_so_still(one: str, other: str):
    def alike(a: str, b: str) -> int:
        return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))

    words = Words(KEY)
    made = words._mapped(one, _LETTERS), words._mapped(other, _LETTERS)
    assert alike(*made) == alike(one, other)


_LETTERS = {"a": "abcdefghijklmnopqrstuvwxyz", "0": "0123456789"}


def test_a_letter_does_not_always_become_the_same_one():
    assert len(set(Words(KEY).text("a" * 40))) > 8
    assert len({Words(KEY).text(f"{first}b")[1:] for first in "acegikmoqs"}) > 1
