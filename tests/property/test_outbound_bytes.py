"""What is sent: nothing but the published edits, and the same bytes again when a conversation grows."""

import json

import msgspec
import pytest
from chat_requests import Respelled, deep_copy, plain_requests, requests
from hypothesis import given
from hypothesis import strategies as st
from support import DEEPSEEK, GPT, HAIKU, NO_EDITS, OPUS, SOL, as_body, render, see

from tokenrouter.errors import InvalidRequest
from tokenrouter.model.edits import DEFAULT_EDITS, EDITS

ROUTER, QWEN = "openrouter/anthropic/claude-x", "dashscope/qwen-max"
NATIVE = [GPT, SOL, DEEPSEEK, ROUTER, QWEN]
FILLER = "word " * 3_500


@given(requests(), st.sampled_from([GPT, SOL, DEEPSEEK]), st.randoms(use_true_random=False), st.booleans())
def test_with_all_edits_off_the_native_body_is_the_very_body_that_came(request, model, random, stream):
    body = Respelled(random).write({**request, "model": model, **({"stream": True} if stream else {})}).encode()
    sent = render(body, model, edits=NO_EDITS)
    assert sent.body is body
    assert (sent.edits, sent.dropped) == ((), ())


@given(requests(), st.sampled_from(NATIVE), st.randoms(use_true_random=False), st.booleans())
def test_a_native_request_loses_no_member_and_no_spelling(request, model, random, stream):
    """With marks, parts, affinity and usage taken out again, the members are the client's own bytes."""
    body = Respelled(random).write({**request, **({"stream": True} if stream else {}), "x-ours": 1}).encode()
    edits = DEFAULT_EDITS - {"tools.order"}
    came, sent = (msgspec.json.decode(data, type=dict[str, msgspec.Raw]) for data in (body, render(body, model, edits=edits).body))
    assert list(sent)[: len(came) - 1] == [name for name in came if name != "x-ours"]
    assert set(sent) - set(came) <= {"prompt_cache_key", "session_id", "stream_options"}
    for name, raw in came.items():
        if name not in ("model", "messages", "stream_options", "x-ours"):
            assert bytes(sent[name]) == bytes(raw)
    before, after = (msgspec.json.decode(fields["messages"], type=list[dict[str, msgspec.Raw]]) for fields in (came, sent))
    for one, other in zip(before, after, strict=True):
        assert list(one) == list(other)
        for name, raw in one.items():
            if name == "content" and bytes(raw)[:1] == b'"':
                assert bytes(raw) in bytes(other[name])
            elif name != "content":
                assert bytes(raw) == bytes(other[name])


@given(requests(), st.sampled_from([edit.id for edit in EDITS if edit.switchable]), st.sampled_from(NATIVE))
def test_an_edit_that_is_off_is_never_applied(request, edit, model):
    sent = render({**request, "stream": True}, model, edits=DEFAULT_EDITS - {edit})
    assert edit not in sent.edits


@given(plain_requests(), st.sampled_from([*NATIVE, OPUS, HAIKU]))
def test_a_changed_body_names_its_edits_and_an_unchanged_one_names_none(request, model):
    body = as_body(request)
    sent = render(body, model)
    if model not in (OPUS, HAIKU):
        assert bool(sent.edits) == (sent.body != body)
    assert set(sent.edits) <= {edit.id for edit in EDITS}
    assert len(set(sent.edits)) == len(sent.edits)


def messages_of(body: bytes) -> list[bytes]:
    """System parts and messages of a body, directives removed, otherwise as they were sent."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    pieces = msgspec.json.decode(fields["system"], type=list[msgspec.Raw]) if "system" in fields else []
    pieces += msgspec.json.decode(fields["messages"], type=list[msgspec.Raw])
    return [json.dumps(without_marks(json.loads(bytes(piece))), ensure_ascii=False).encode() for piece in pieces]


def without_marks(value):
    if isinstance(value, dict):
        return {name: without_marks(inner) for name, inner in value.items() if name not in ("cache_control", "prompt_cache_breakpoint")}
    return [without_marks(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("model", [*NATIVE, OPUS, HAIKU])
@given(plain_requests(), st.booleans(), st.integers(1, 3))
def test_a_conversation_that_grows_sends_its_earlier_messages_again_as_they_were(model, request, long, steps):
    if long:
        first = request["messages"][0]
        first["content"] = FILLER + "é" if isinstance(first["content"], str) else [*first["content"], {"type": "text", "text": FILLER}]
    messages = request["messages"]
    ends = [place + 1 for place, message in enumerate(messages) if message["role"] == "user" or
            (message["role"] == "tool" and (place + 1 == len(messages) or messages[place + 1]["role"] != "tool"))]  # fmt: skip
    before: list[bytes] = []
    for end in ends:
        sent = messages_of(render({**request, "messages": messages[:end]}, model).body)
        assert sent[: len(before)] == before, "an earlier message changed its bytes or its form"
        before = sent


@given(plain_requests(), st.randoms(use_true_random=False), st.sampled_from([*NATIVE, OPUS]))
def test_shuffled_tools_are_sent_as_one_prefix(request, random, model):
    tools = {tool["function"]["name"]: tool for tool in request.get("tools", [])}
    request["tools"] = list(tools.values())
    shuffled = deep_copy(request)
    random.shuffle(shuffled["tools"])
    if tools:
        assert json.loads(render(request, model).body)["tools"] == json.loads(render(shuffled, model).body)["tools"]
        assert see(request).root() == see(shuffled).root()


@given(requests(), st.sampled_from([OPUS, HAIKU]))
def test_what_can_not_be_carried_to_another_wire_is_refused_or_named(request, model):
    try:
        sent = render({**request, "zebra": 1}, model)
    except InvalidRequest:
        return
    assert "zebra" in sent.dropped
    texts = [text for message in request["messages"] for text in texts_of(message["content"])]
    said = json.dumps(json.loads(sent.body), ensure_ascii=False)
    for text in texts:
        assert json.dumps(text, ensure_ascii=False) in said or not text.strip()


def texts_of(content):
    return [content] if isinstance(content, str) else [part["text"] for part in content or () if "text" in part]


LINE = "x-anthropic-billing-header: cch=%s;"
CACHED = {"type": "ephemeral"}


@pytest.mark.parametrize("model", NATIVE)
@pytest.mark.parametrize("form", ["string", "part", "part of its own"])
def test_a_known_volatile_line_never_reaches_those_who_read_it_and_moves_no_mark(model, form):
    def sent(line):
        parts = [{"type": "text", "text": FILLER, "cache_control": CACHED}, {"type": "text", "text": "Also."}]
        if form == "string":
            content = f"{line}\n{FILLER}"
        elif form == "part":
            content = [{**parts[0], "text": f"{line}\n{FILLER}"}, parts[1]]
        else:
            content = [{"type": "text", "text": line}, *parts]
        body = render({"model": "m", "messages": [{"role": "system", "content": content}, {"role": "user", "content": "Go"}]}, model).body
        return msgspec.json.decode(body)["messages"]

    first, second = sent(LINE % "1"), sent(LINE % "2")
    assert first == second
    assert b"billing" not in msgspec.json.encode(first)
    content = first[0]["content"]
    if form != "string":
        assert [part["text"] for part in content] == [FILLER, "Also."]
        if model in (SOL, ROUTER, QWEN):
            assert set(content[0]) & {"cache_control", "prompt_cache_breakpoint"}, "the client's mark moved to another part"


@pytest.mark.parametrize("model", [GPT, SOL, ROUTER])
def test_a_known_volatile_line_does_not_change_the_affinity_key(model):
    def key(line):
        content = f"{line}\n{FILLER}"
        body = json.loads(render({"model": "m", "messages": [{"role": "system", "content": content}, {"role": "user", "content": "Go"}]}, model).body)
        return body.get("prompt_cache_key") or body["session_id"]

    assert key(LINE % "1") == key(LINE % "2")
