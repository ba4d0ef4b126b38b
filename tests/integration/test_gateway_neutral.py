"""The small API before the whole gateway: asked by plain HTTP, as those do who have no SDK."""

import json

import pytest
from rig import Rig, call
from test_gateway_bad_input import BROKEN

from tokenrouter.sandbox.answers import Scripted, ToolCall
from tokenrouter.sandbox.faults import Fault

PATH = "/v1/chat"
HI = [{"role": "user", "content": "Say hello in 30 words."}]
MODELS = ["gpt-4.1", "claude-haiku-4-5", "gemini-2.5-flash", "deepseek-chat", "ollama/llama3.2"]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}} for name in ("look", "count")]


async def ask(rig: Rig, body: object, *, key: str | None = None, path: str = PATH, **headers: str):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await call(rig.app, "POST", path, raw, {"authorization": f"Bearer {key or rig.key}", **headers})


@pytest.mark.parametrize("model", MODELS)
async def test_a_small_answer_says_what_came_and_what_it_took(rig: Rig, model: str):
    answer = (await ask(rig, {"model": model, "messages": HI, "temperature": 0})).json
    assert set(answer) == {"id", "created", "model", "message", "finish_reason", "usage", "x_tokenrouter"}
    assert (answer["message"]["role"], answer["finish_reason"]) == ("assistant", "stop")
    assert answer["message"]["content"]
    line = rig.sandbox.bill.lines[-1].tokens
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (line.prompt, line.output)
    (row,) = rig.billed_rows()
    assert row["settled"] == "exact"
    assert (float(answer["x_tokenrouter"]["cost_usd"]) > 0) == (row["cost"] > 0) == (not model.startswith("ollama"))


@pytest.mark.parametrize("model", MODELS)
async def test_a_stream_says_what_a_whole_answer_says(rig: Rig, model: str):
    asked = {"model": model, "messages": HI, "temperature": 0}
    whole = (await ask(rig, asked, **{"x-cache": "off"})).json
    stream = await ask(rig, {**asked, "stream": True}, **{"x-cache": "off"})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text == whole["message"]["content"]
    assert stream.events[-1] == "[DONE]"
    (usage,) = [event["usage"] for event in stream.events[:-1] if event.get("usage")]
    assert usage == whole["usage"]
    (figures,) = [event["x_tokenrouter"] for event in stream.events[:-1] if "x_tokenrouter" in event]
    assert figures["settled"] == "exact"


async def test_cached_tokens_are_told(rig: Rig):
    asked = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "word " * 3000}]}
    await ask(rig, asked)
    again = (await ask(rig, asked)).json
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == again["x_tokenrouter"]["usage"]["cache_read"] > 0


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-haiku-4-5", "gemini-2.5-flash"])
async def test_a_message_goes_back_as_it_came_in_a_tool_loop(rig: Rig, model: str):
    messages: list[object] = [{"role": "user", "content": "Please call look and count."}]
    first = (await ask(rig, {"model": model, "messages": messages, "tools": TOOLS})).json
    assert first["finish_reason"] == "tool_calls"
    calls = first["message"]["tool_calls"]
    assert sorted(one["function"]["name"] for one in calls) == ["count", "look"]
    messages += [first["message"], *({"role": "tool", "tool_call_id": one["id"], "content": "42"} for one in calls)]
    second = (await ask(rig, {"model": model, "messages": messages, "tools": TOOLS})).json
    assert (second["finish_reason"], bool(second["message"]["content"])) == ("stop", True)


async def test_a_default_model_answers_where_none_is_named(start):
    async with start(DEFAULT_MODEL="claude-haiku-4-5") as rig:
        answer = await ask(rig, {"messages": HI})
        assert (answer.status, answer.headers["x-tokenrouter-provider"]) == (200, "anthropic")
        assert (await ask(rig, {"messages": HI, "model": "gpt-4.1"})).headers["x-tokenrouter-provider"] == "openai"


async def test_without_a_default_model_the_error_says_what_to_do(rig: Rig):
    answer = await ask(rig, {"messages": HI})
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert "DEFAULT_MODEL" in answer.error["message"]
    assert rig.sandbox.requests.seen == 0


async def test_labels_are_no_identity_and_give_nobody_rights(rig: Rig):
    asked = {"model": "gpt-4.1", "messages": HI, "temperature": 0}
    first = await ask(rig, {**asked, "user_id": "ann", "tenant_id": "one"})
    again = await ask(rig, {**asked, "user_id": "bob", "tenant_id": "two"})
    assert (first.cache, again.cache) == ("miss", "hit")
    other = rig.new_key("two")  # the tenant is the key's, whatever a request says
    theirs = await ask(rig, {**asked, "tenant_id": "default"}, key=other)
    assert theirs.cache == "miss"
    assert {row["tenant"] for row in rig.rows()} == {"default", "two"}
    assert not any(b"ann" in one.body or b"tenant" in one.body for one in rig.sandbox.requests.items)
    narrow = rig.new_key("three", models=("gpt-4.1-mini",))
    assert (await ask(rig, {**asked, "user_id": "admin", "tenant_id": "default"}, key=narrow)).status == 403


async def test_a_kept_answer_is_given_in_either_form(rig: Rig):
    asked = {"model": "claude-haiku-4-5", "messages": HI, "temperature": 0}
    whole = await ask(rig, asked)
    stream = await ask(rig, {**asked, "stream": True})
    again = await ask(rig, asked)
    assert [one.cache for one in (whole, stream, again)] == ["miss", "hit", "hit"]
    assert stream.text == whole.json["message"]["content"] == again.json["message"]["content"]
    assert stream.events[0]["id"] == whole.json["id"]
    assert again.json["x_tokenrouter"]["cost_usd"] == "0.00"
    other = {**asked, "messages": [{"role": "user", "content": "another"}]}
    streamed = await ask(rig, {**other, "stream": True})
    whole = await ask(rig, other)
    assert (whole.cache, whole.json["message"]["content"], whole.json["finish_reason"]) == ("hit", streamed.text, "stop")
    assert len(rig.sandbox.requests) == 2


async def test_figures_can_be_switched_off(rig: Rig):
    asked = {"model": "gpt-4.1", "messages": HI}
    assert "x_tokenrouter" not in (await ask(rig, {**asked, "x-metadata": False})).json
    assert "x_tokenrouter" not in (await ask(rig, asked, **{"x-metadata": "false"})).json
    assert "x_tokenrouter" not in (await ask(rig, {**asked, "stream": True, "x-metadata": False})).body.decode()


@pytest.mark.parametrize("kind", ["truncate", "error_event", "bad_json"])
async def test_a_stream_that_breaks_ends_with_an_error(rig: Rig, kind: str):
    rig.sandbox.fault(Fault(kind=kind, after=3))
    answer = await ask(rig, {"model": "claude-haiku-4-5", "messages": HI, "stream": True})
    assert list(answer.events[-1]) == ["error"]
    assert "[DONE]" not in answer.events


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
async def test_a_stream_cut_at_any_byte_never_ends_cleanly(rig: Rig, step: int):
    script = Scripted(text="Two words. é", calls=(ToolCall(name="look", arguments='{"a":1}'),))
    asked = {"model": "ollama/llama3.2", "messages": HI, "tools": TOOLS, "stream": True}
    rig.sandbox.script(script)
    full = await ask(rig, asked)
    assert full.events[-1] == "[DONE]"
    whole, cuts = False, 0
    while not whole:
        rig.sandbox.script(script)
        rig.sandbox.fault(Fault(kind="truncate_bytes", after=cuts))
        answer = await ask(rig, asked)
        whole = answer.status == 200 and answer.text == full.text and answer.events[-1] == "[DONE]"
        if not whole and answer.status == 200:
            assert list(answer.events[-1]) == ["error"], cuts
            assert "[DONE]" not in answer.events
            assert full.text.startswith(answer.text)
        cuts += step
    assert cuts > 300  # only what is missing its last line end is whole


# Fields that this API does not take are refused by their name.
OTHERS = ("metadata", "max_completion_tokens", "n", "stream_options")


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_body_gets_an_error_that_names_the_place(rig: Rig, name: str):
    raw, where = BROKEN[name]
    answer = await ask(rig, raw)
    assert 400 <= answer.status < 500
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.error["type"] == "invalid_request_error"
    named = next((field for field in OTHERS if f'"{field}"'.encode() in raw), None)
    if "1e400" not in name:  # the vendor refuses that one
        assert answer.error["param"] in (where, named)
    assert rig.spent() == rig.held() == 0


async def test_trouble_has_the_same_shape(rig: Rig):
    for answer, status in [
        (await ask(rig, {"model": "gpt-4.1", "messages": HI}, key="sk-tr-nobody"), 401),
        (await ask(rig, {"model": "nobody-knows", "messages": HI}), 404),
        (await call(rig.app, "GET", PATH, b"", {"authorization": f"Bearer {rig.key}"}), 405),
        (await ask(rig, b"x" * (33 << 20)), 413),
        (await ask(rig, {"messages": HI}, **{"content-encoding": "br"}), 415),
    ]:
        assert answer.status == status
        assert set(answer.error) == {"message", "type", "param", "code"}
    rig.sandbox.fault(Fault(kind="status", status=429, vendor="anthropic"))
    answer = await ask(rig, {"model": "claude-haiku-4-5", "messages": HI})
    assert (answer.status, set(answer.error)) == (429, {"message", "type", "param", "code"})
