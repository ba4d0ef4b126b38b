"""Ollama's clients before the whole gateway, and Ollama behind it; asked by the official clients wherever one can ask."""

import base64
import json
import re
from datetime import datetime

import anthropic
import httpx
import httpx2
import ollama
import openai
import pytest
from rig import Rig, call, question

from tokenrouter.sandbox.answers import Scripted, ToolCall
from tokenrouter.sandbox.faults import Fault

LOCAL, THINKER, SEER, EMBEDDER = "ollama/llama3.2", "ollama/gpt-oss:20b", "ollama/gemma3:4b", "ollama/nomic-embed-text"
ANYWHERE = [LOCAL, "gpt-4.1", "claude-haiku-4-5", "anthropic/claude-sonnet-4-5", "deepseek-chat"]
HI = [{"role": "user", "content": "Say hello in 30 words."}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32)).decode()
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}


@pytest.fixture
async def client(rig: Rig):
    transport = httpx.ASGITransport(rig.app)
    return ollama.AsyncClient(host="http://gateway", headers={"authorization": f"Bearer {rig.key}"}, transport=transport)


@pytest.fixture
async def sdk(rig: Rig):
    http = httpx.AsyncClient(transport=httpx.ASGITransport(rig.app), base_url="http://gateway")
    async with openai.AsyncOpenAI(api_key=rig.key, base_url="http://gateway/v1", http_client=http, max_retries=0) as made:
        yield made


async def ask(rig: Rig, path: str, body, *, key=None, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await call(rig.app, "POST", path, raw, {"authorization": f"Bearer {key or rig.key}", **headers})


def sent(rig: Rig) -> dict:
    return json.loads(rig.sandbox.requests.items[-1].body)


def lines(answer) -> list[dict]:
    return [json.loads(one) for one in answer.body.splitlines()]


def said(parts) -> str:
    return "".join(part.message.content or "" for part in parts)


# Ollama's clients


@pytest.mark.parametrize("model", ANYWHERE)
async def test_a_stream_says_what_a_whole_answer_says(client, model):
    whole = await client.chat(model=model, messages=HI, options={"temperature": 0})
    parts = [part async for part in await client.chat(model=model, messages=HI, options={"temperature": 0}, stream=True)]
    assert said(parts) == whole.message.content != ""
    assert (whole.done, whole.done_reason, whole.message.role) == (True, "stop", "assistant")
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].prompt_eval_count) == ("stop", whole.prompt_eval_count)
    assert parts[-1].eval_count == whole.eval_count > 0
    assert datetime.fromisoformat(whole.created_at).year >= 2023


@pytest.mark.parametrize("model", [LOCAL, "claude-haiku-4-5"])
async def test_streams_are_the_default_and_lines_of_json(rig, model):
    answer = await ask(rig, "/api/chat", {"model": model, "messages": HI})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(lines(answer)) > 2
    assert all(set(one) <= {"model", "created_at", "message", "done", "done_reason", *_COUNTS} for one in lines(answer))
    whole = await ask(rig, "/api/chat", {"model": model, "messages": HI, "stream": False})
    assert whole.headers["content-type"].startswith("application/json")
    assert whole.json["done"] is True


_COUNTS = {"total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ANYWHERE)
async def test_tools_are_called_and_their_results_are_read(client, model, stream):
    other = {**LOOK, "function": {**LOOK["function"], "name": "count"}}
    messages = [{"role": "user", "content": "Please call look and count."}]
    for _ in range(2):
        if stream:
            parts = [part async for part in await client.chat(model=model, messages=messages, tools=[other, LOOK], stream=True)]
            message = {"role": "assistant", "content": said(parts), "tool_calls": [c for p in parts for c in p.message.tool_calls or ()]}
        else:
            message = (await client.chat(model=model, messages=messages, tools=[other, LOOK])).message
        calls = message.get("tool_calls") or []
        if not calls:
            break
        assert [one.function.name for one in calls] == ["look", "count"]
        assert all(isinstance(one.function.arguments["at"], str) for one in calls)
        messages.append(message)
        messages += [{"role": "tool", "tool_name": one.function.name, "content": "42"} for one in calls]
    assert len(messages) == 4
    assert message["content"]


@pytest.mark.parametrize("model", [THINKER, "claude-opus-4-8", "claude-haiku-4-5"])
async def test_thinking_is_shown_apart_from_what_is_said(client, model):
    whole = await client.chat(model=model, messages=HI, think="low")
    parts = [part async for part in await client.chat(model=model, messages=HI, think="low", stream=True)]
    thought = "".join(part.message.thinking or "" for part in parts)
    assert thought
    assert whole.message.thinking
    assert whole.message.content


@pytest.mark.parametrize("model", [LOCAL, "gpt-4.1", "claude-sonnet-4-5"])
async def test_an_answer_after_a_schema_is_json(client, model):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
    whole = await client.chat(model=model, messages=HI, format=schema)
    assert isinstance(json.loads(whole.message.content)["n"], int)


@pytest.mark.parametrize("model", [LOCAL, "gpt-4.1", "claude-haiku-4-5"])
async def test_generations(client, model):
    whole = await client.generate(model=model, prompt="Say hello.", system="Be brief.", options={"temperature": 0, "num_predict": 40})
    parts = [
        part
        async for part in await client.generate(
            model=model, prompt="Say hello.", system="Be brief.", options={"temperature": 0, "num_predict": 40}, stream=True
        )
    ]
    assert "".join(part.response for part in parts) == whole.response != ""
    assert parts[-1].done


@pytest.mark.parametrize("model", [SEER, "gpt-4.1", "claude-haiku-4-5"])
async def test_pictures_reach_models_that_see(client, model):
    assert (await client.chat(model=model, messages=[{"role": "user", "content": "What is this?", "images": [PNG]}])).message.content
    assert (await client.generate(model=model, prompt="What is this?", images=[PNG])).response


@pytest.mark.parametrize(("model", "width"), [(EMBEDDER, 768), ("text-embedding-3-small", 1536)])
async def test_vectors(client, model, width):
    found = await client.embed(model=model, input=["a", "b"])
    assert [len(row) for row in found.embeddings] == [width, width]
    assert found.prompt_eval_count > 0
    old = await client.embeddings(model=model, prompt="a")
    assert old.embedding == found.embeddings[0]


async def test_the_token_limit_is_told(client):
    for model in (LOCAL, "claude-haiku-4-5"):
        whole = await client.chat(model=model, messages=HI, options={"num_predict": 5})
        assert whole.done_reason == "length"


async def test_a_call_that_the_limit_cut_off_is_no_call(rig, client):
    rig.sandbox.script(Scripted(vendor="openai", calls=(ToolCall(name="look", arguments='{"at":"he'),), cut=True))
    whole = await client.chat(model="gpt-4.1", messages=HI, tools=[LOOK], stream=False)
    assert (whole.message.tool_calls, whole.done_reason) == (None, "length")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_is_no_object_is_an_error_and_never_lost(rig, stream):
    rig.sandbox.script(Scripted(vendor="openai", calls=(ToolCall(name="look", arguments="[1]"),)))
    answer = await ask(rig, "/api/chat", {"model": "gpt-4.1", "messages": HI, "tools": [LOOK], "stream": stream})
    assert "no JSON object" in (lines(answer)[-1] if stream else answer.json)["error"]
    assert answer.status == 502
    # A whole answer that can not be written is one that nothing is known of; a stream's usage was seen.
    assert rig.billed_rows()[-1]["settled"] == ("estimated" if stream else "presumed")


# sharing, money, edits


async def test_a_repeated_question_is_answered_from_memory_in_either_form(rig):
    asked = {"model": LOCAL, "messages": HI, "options": {"seed": 4}}
    first = await ask(rig, "/api/chat", asked)
    again = await ask(rig, "/api/chat", {**asked, "keep_alive": "10m", "options": {"seed": 4, "stop": None}})
    whole = await ask(rig, "/api/chat", {**asked, "stream": False})
    assert (first.cache, again.cache, whole.cache) == ("miss", "hit", "hit")
    assert again.body == first.body
    assert whole.json["message"]["content"] == "".join(one["message"]["content"] for one in lines(first))
    assert whole.json["created_at"][:19] == lines(first)[0]["created_at"][:19]
    assert (whole.json["done_reason"], whole.json["eval_count"]) == ("stop", lines(first)[-1]["eval_count"])
    assert len(rig.sandbox.requests) == 1


@pytest.mark.parametrize(
    "other", [{"think": False}, {"format": "json"}, {"options": {"seed": 5}}, {"options": {"seed": 4, "num_ctx": 9000}}, {"truncate": False}]
)
async def test_another_question_is_asked_anew(rig, other):
    asked = {"model": LOCAL, "messages": HI, "options": {"seed": 4}}
    await ask(rig, "/api/chat", asked)
    assert (await ask(rig, "/api/chat", {**asked, **other})).cache == "miss"


async def test_loading_a_model_passes_and_is_never_kept(rig):
    for _ in range(2):
        answer = await ask(rig, "/api/chat", {"model": LOCAL, "options": {"seed": 1}}, **{"x-cache": "all"})
        assert (answer.status, answer.cache, answer.json["done_reason"]) == (200, "miss", "load")
    assert (await ask(rig, "/api/generate", {"model": LOCAL, "keep_alive": 0})).json["done_reason"] == "unload"
    refused = await ask(rig, "/api/chat", {"model": "gpt-4.1"})
    assert (refused.status, "only Ollama" in refused.json["error"]) == (400, True)


async def test_what_a_local_model_says_is_booked_at_no_cost(rig):
    await ask(rig, "/api/chat", {"model": LOCAL, "messages": HI})
    (row,) = rig.billed_rows()
    assert (row["settled"], row["cost"], row["cache_read"]) == ("exact", 0, 0)
    assert row["output"] > 0
    assert row["fresh_input"] > 0


async def test_what_a_dear_model_says_is_booked(rig):
    await ask(rig, "/api/chat", {"model": "claude-haiku-4-5", "messages": HI})
    (row,) = rig.billed_rows()
    assert (row["settled"], row["cost"] > 0) == ("exact", True)


async def test_a_body_passes_as_it_came_and_empty_lines_are_kept_from_the_client(rig):
    body = b'{ "model":"ollama/llama3.2", "messages":[{"content":"h\\u0069","role":"user"}] }'
    answer = await ask(rig, "/api/chat", body)
    assert rig.sandbox.requests.items[-1].body == b'{"model":"llama3.2","messages":[{"content":"h\\u0069","role":"user"}]}'
    assert answer.headers["x-tokenrouter-edits"] == "model.name,chunks.empty"
    assert not any(one["message"] == {"role": "assistant", "content": ""} for one in lines(answer)[:-1])
    untouched = await ask(rig, "/api/chat", body, **{"x-edits-off": "all"})
    assert untouched.headers["x-tokenrouter-edits"] == "model.name"
    empty = [one for one in lines(untouched)[:-1] if one["message"] == {"role": "assistant", "content": ""}]
    assert empty
    rest = [one["message"] for one in lines(untouched) if one not in empty]
    assert rest == [one["message"] for one in lines(answer)]


async def test_tools_are_sorted_by_name_in_their_own_spelling(rig):
    tools = '[{"type":"function","function":{"name":"b"}},{ "type":"function","function":{"name":"a" , "description":"x"}}]'
    body = '{"model":"ollama/llama3.2","messages":[{"role":"user","content":"hi"}],"tools":' + tools + "}"
    answer = await ask(rig, "/api/chat", body.encode())
    assert rig.sandbox.requests.items[-1].body.endswith(
        b'"tools":[{ "type":"function","function":{"name":"a" , "description":"x"}},{"type":"function","function":{"name":"b"}}]}'
    )
    assert "tools.order" in answer.headers["x-tokenrouter-edits"]


async def test_figures_come_as_a_line_of_their_own_before_the_last(rig):
    for model in (LOCAL, "gpt-4.1"):
        answer = await ask(rig, "/api/chat", {"model": model, "messages": HI, "x-metadata": True})
        *_, figures, last = lines(answer)
        assert figures["x_tokenrouter"]["provider"] == model.partition("/")[0].replace("gpt-4.1", "openai")
        assert (figures["done"], last["done"]) == (False, True)


# trouble


@pytest.mark.parametrize("model", [LOCAL, "gpt-4.1"])
@pytest.mark.parametrize("kind", ["truncate", "error_event", "bad_json", "long_line"])
async def test_a_stream_that_breaks_never_ends_as_if_it_were_whole(rig, client, model, kind):
    rig.sandbox.fault(Fault(kind=kind, after=3))
    answer = await ask(rig, "/api/chat", {"model": model, "messages": HI, "options": {"seed": 1}})
    *before, last = lines(answer)
    assert set(last) == {"error"}
    assert not any(one["done"] or "error" in one for one in before)
    again = await ask(rig, "/api/chat", {"model": model, "messages": HI, "options": {"seed": 1}})
    assert (again.cache, lines(again)[-1]["done"]) == ("miss", True)
    rig.sandbox.fault(Fault(kind=kind, after=3))
    with pytest.raises(ollama.ResponseError):
        async for _ in await client.chat(model=model, messages=HI, stream=True):
            pass


@pytest.mark.parametrize("kind", ["html", "empty", "error_body", "bad_json"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_200_that_is_no_answer_is_a_clear_error(rig, kind, stream):
    rig.sandbox.fault(Fault(kind=kind, after=0))
    answer = await ask(rig, "/api/chat", {"model": LOCAL, "messages": HI, "stream": stream})
    assert answer.status == 502 or (stream and set(lines(answer)[-1]) == {"error"})


async def test_a_model_that_was_never_pulled_is_the_servers_own_404(rig, client):
    with pytest.raises(ollama.ResponseError, match="model 'nobody' not found") as refused:
        await client.chat(model="ollama/nobody", messages=HI)
    assert refused.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="no provider is known") as unknown:
        await client.chat(model="nobody", messages=HI)
    assert unknown.value.status_code == 404


async def test_a_wrong_key_is_a_401_in_this_apis_shape(rig):
    answer = await ask(rig, "/api/chat", {"model": LOCAL, "messages": HI}, key="sk-tr-wrong")
    assert (answer.status, list(answer.json)) == (401, ["error"])
    assert isinstance(answer.json["error"], str)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed", "/api/embeddings"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}x",
        b'{"model":1}',
        b'{"model":"gpt-4.1","model":"gpt-4.1"}',
        b'{"model":"gpt-4.1","options":[]}',
        b"\xff",
        b'{"x":NaN}',
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(rig, path, body):
    answer = await ask(rig, path, body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert isinstance(answer.json["error"], str)
    assert len(rig.sandbox.requests) == 0


@pytest.mark.parametrize(
    ("path", "more", "place"),
    [
        ("/api/chat", {"messages": {}}, "messages"),
        ("/api/chat", {"messages": ["x"]}, "messages[0]"),
        ("/api/chat", {"messages": [{"content": "x"}]}, "messages[0].role"),
        ("/api/chat", {"messages": [HI[0], {"role": "user", "content": [1]}]}, "messages[1].content"),
        ("/api/chat", {"messages": [{"role": "user", "images": "x"}]}, "messages[0].images"),
        ("/api/chat", {"messages": [{"role": "assistant", "tool_calls": ["x"]}]}, "messages[0].tool_calls"),
        ("/api/chat", {"messages": HI, "tools": [{}]}, "tools[0].function.name"),
        ("/api/chat", {"messages": HI, "stream": "yes"}, "stream"),
        ("/api/chat", {"messages": HI, "options": {"num_predict": "many"}}, "options.num_predict"),
        ("/api/generate", {"prompt": 1}, "prompt"),
        ("/api/generate", {"prompt": "x", "system": []}, "system"),
        ("/api/generate", {"prompt": "x", "images": [1]}, "images"),
        ("/api/embed", {"input": [1]}, "input[0]"),
        ("/api/embed", {"input": {}}, "input"),
        ("/api/embeddings", {}, "prompt"),
    ],
)
async def test_an_error_says_where(rig, path, more, place):
    answer = await ask(rig, path, {"model": "gpt-4.1", **more})
    assert answer.status == 400
    assert place in answer.json["error"]


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"options": {"temperature": 1.5}}, "options.temperature"),
        ({"format": "json"}, "format"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": [{"role": "user", "content": "x", "images": ["AAAA"]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "tool", "tool_name": "look", "content": "x"}]}, "messages[0].tool_name"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "messages[0].role"),
    ],
)
async def test_what_can_not_be_carried_is_refused_in_the_words_of_this_api(rig, more, place):
    answer = await ask(rig, "/api/chat", {"model": "claude-haiku-4-5", "messages": HI, **more})
    assert answer.status == 400
    assert place in answer.json["error"]
    assert len(rig.sandbox.requests) == 0


@pytest.mark.parametrize("field", [{"raw": True}, {"template": "x"}, {"suffix": "x"}, {"context": [1]}, {"width": 10}])
async def test_what_only_ollama_does_is_refused_elsewhere_and_passes_there(rig, field):
    refused = await ask(rig, "/api/generate", {"model": "gpt-4.1", "prompt": "x", **field})
    assert (refused.status, next(iter(field)) in refused.json["error"]) == (400, True)
    model = "ollama/qwen2.5-coder:1.5b"
    passed = await ask(rig, "/api/generate", {"model": model, "prompt": "x", "options": {"seed": 1}, **field})
    assert passed.status == 200
    if "context" in field:
        assert passed.cache == "bypass"


async def test_hints_without_a_counterpart_are_dropped_and_reported(rig):
    more = {"options": {"num_ctx": 9, "mirostat": 1, "seed": 3}, "truncate": True, "keep_alive": "5m"}
    answer = await ask(rig, "/api/chat", {"model": "claude-haiku-4-5", "messages": HI, **more})
    assert sorted(answer.headers["x-tokenrouter-dropped"].split(",")) == ["options.mirostat", "options.num_ctx", "options.seed", "truncate"]


# everybody's clients, Ollama behind


@pytest.mark.parametrize("stream", [False, True])
async def test_the_openai_client_passes_to_the_compatible_endpoint(rig, sdk, stream):
    asked = {"model": LOCAL, "messages": HI, "max_completion_tokens": 12}
    if not stream:
        found = await sdk.chat.completions.create(**asked)
        assert found.choices[0].finish_reason == "length"
    else:
        chunks = [chunk async for chunk in await sdk.chat.completions.create(**asked, stream=True)]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-1].choices[0].finish_reason == "length"
    assert rig.sandbox.requests.items[-1].path == "/v1/chat/completions"


async def test_empty_chunks_of_the_compatible_endpoint_are_dropped_but_for_the_first(rig):
    answer = await rig.chat(question(model=LOCAL, stream=True))
    deltas = [event["choices"][0]["delta"] for event in answer.events[:-1]]
    empty = [number for number, delta in enumerate(deltas) if delta == {"role": "assistant", "content": ""}]
    assert empty == [0, len(deltas) - 1]  # the role comes first, and the last one has the finish reason
    untouched = await rig.chat(question(model=LOCAL, stream=True), headers={"x-edits-off": "all", "x-cache": "off", "x-dedup": "off"})
    more = [event["choices"][0]["delta"] for event in untouched.events[:-1]]
    assert len(more) > len(deltas)
    assert [delta for delta in more if delta["content"]] == [delta for delta in deltas if delta["content"]]


async def test_an_error_that_the_compatible_endpoint_loses_counts_as_a_cut_stream(rig):
    rig.sandbox.fault(Fault(kind="error_event", vendor="ollama", after=3))
    answer = await rig.chat(question(model=LOCAL, stream=True))
    assert answer.events[-1]["error"]["code"] == "upstream_truncated"


async def test_the_openai_client_gets_vectors_of_a_local_model(rig, sdk):
    found = await sdk.embeddings.create(model=EMBEDDER, input=["a", "b"], dimensions=8)
    assert [len(row.embedding) for row in found.data] == [8, 8]
    assert rig.sandbox.requests.items[-1].path == "/v1/embeddings"


async def test_times_are_written_as_ollama_writes_them(rig):
    answer = await ask(rig, "/api/chat", {"model": "gpt-4.1", "messages": HI})
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["created_at"]) for one in lines(answer))


@pytest.fixture
async def claude(rig: Rig):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app), base_url="http://gateway")
    async with anthropic.AsyncAnthropic(api_key=rig.key, base_url="http://gateway", http_client=http, max_retries=0) as made:
        yield made


CLAUDE_LOOK = {"name": "look", "description": "Looks.", "input_schema": LOOK["function"]["parameters"]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [LOCAL, THINKER])
async def test_the_anthropic_client_works_a_tool_loop_with_a_local_model(rig, claude, model, stream):
    messages = [{"role": "user", "content": "Please call look and count."}]
    tools = [CLAUDE_LOOK, {**CLAUDE_LOOK, "name": "count"}]
    for turn in range(2):
        asked = {"model": model, "max_tokens": 400, "messages": messages, "tools": tools}
        if stream:
            async with claude.messages.stream(**asked) as events:
                answer = await events.get_final_message()
        else:
            answer = await claude.messages.create(**asked)
        assert answer.usage.output_tokens > 0
        calls = [block for block in answer.content if block.type == "tool_use"]
        assert len({block.id for block in calls}) == len(calls) == (0 if turn else 2)
        assert answer.stop_reason == ("end_turn" if turn else "tool_use")
        messages.append({"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]})
        # The other way round: what was sent stands in the order of the calls again.
        messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": one.id, "content": one.name} for one in reversed(calls)]})
    called = [call["function"]["name"] for call in sent(rig)["messages"][1]["tool_calls"]]
    assert [(message["tool_name"], message["content"]) for message in sent(rig)["messages"][2:]] == [(name, name) for name in called]
    assert sent(rig)["truncate"] is False


async def test_a_prompt_that_does_not_fit_is_an_error_and_never_cut_in_silence(rig, claude):
    with pytest.raises(anthropic.BadRequestError, match="exceeds the context length"):
        await claude.messages.create(model=LOCAL, max_tokens=10, messages=[{"role": "user", "content": "word " * 120_000}])


async def test_a_prompt_longer_than_the_default_context_gets_room(rig, claude):
    answer = await claude.messages.create(model=LOCAL, max_tokens=10, messages=[{"role": "user", "content": "word " * 20_000}])
    assert answer.usage.input_tokens > 20_000
    assert sent(rig)["options"]["num_ctx"] == 65_536


async def test_what_a_local_model_can_not_do_is_refused_before_it_is_asked(rig, claude):
    with pytest.raises(anthropic.BadRequestError, match="can not make a model call a tool"):
        await claude.messages.create(model=LOCAL, max_tokens=10, messages=HI, tools=[CLAUDE_LOOK], tool_choice={"type": "tool", "name": "look"})
    assert len(rig.sandbox.requests) == 0
