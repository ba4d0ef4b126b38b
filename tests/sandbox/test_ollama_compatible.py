"""The OpenAI-compatible endpoint of the simulated Ollama server, read by the official OpenAI client and byte by byte."""

import base64
import json
from typing import Any

import httpx2
import openai
import pytest

USER = [{"role": "user", "content": "hi"}]
LOOK = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
}
FIND = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"picture").decode()}}
PATH = "/ollama/v1/chat/completions"


@pytest.fixture
async def client(app):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app))
    async with openai.AsyncOpenAI(api_key="k", base_url="http://sandbox/ollama/v1", http_client=http, max_retries=0) as made:
        yield made


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "llama3.2", "messages": USER, **more}


async def test_whole_and_streamed_answers_are_alike(client):
    whole = await client.chat.completions.create(**chat())
    chunks = [chunk async for chunk in await client.chat.completions.create(**chat(stream=True, stream_options={"include_usage": True}))]
    assert "".join(chunk.choices[0].delta.content for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert (whole.choices[0].finish_reason, whole.system_fingerprint, whole.usage) == ("stop", "fp_ollama", chunks[-1].usage)
    assert chunks[-1].choices == []
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]


async def test_every_chunk_has_a_role_and_some_have_nothing_else(call):
    events = (await call.post(PATH, chat(stream=True))).events
    assert events[-1] == "[DONE]"
    deltas = [event["choices"][0]["delta"] for event in events[:-1]]
    assert all(set(delta) == {"role", "content"} for delta in deltas)
    empty = [number for number, delta in enumerate(deltas) if delta["content"] == ""]
    assert (empty[0], empty[-1]) == (0, len(deltas) - 1)
    assert len(empty) > 2
    assert not any("usage" in event for event in events[:-1])


async def test_usage_is_what_the_native_endpoint_counts(call):
    native = (await call.post("/ollama/api/chat", chat(stream=False))).json
    usage = (await call.post(PATH, chat())).json["usage"]
    prompt, output = native["prompt_eval_count"], native["eval_count"]
    assert usage == {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


async def test_tool_calls_come_whole_with_index_and_id(call, client):
    body = chat(messages=[{"role": "user", "content": "call look and find"}], tools=[LOOK, FIND])
    events = (await call.post(PATH, {**body, "stream": True})).events
    calls = [item for event in events[:-1] for item in event["choices"][0]["delta"].get("tool_calls", [])]
    assert [(item["index"], item["function"]["name"]) for item in calls] == [(0, "look"), (1, "find")]
    assert isinstance(json.loads(calls[0]["function"]["arguments"])["n"], int)
    assert len({item["id"] for item in calls}) == 2
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    answer = await client.chat.completions.create(**body)
    message = answer.choices[0].message
    assert (answer.choices[0].finish_reason, message.content) == ("tool_calls", "")
    assert [item.id for item in message.tool_calls] == [item["id"] for item in calls]
    results = [{"role": "tool", "tool_call_id": item["id"], "content": "1"} for item in calls]
    body["messages"] = [*body["messages"], message.model_dump(exclude_none=True), *results]
    assert (await client.chat.completions.create(**body)).choices[0].finish_reason == "stop"


async def test_thinking_is_called_reasoning(call):
    message = (await call.post(PATH, chat(model="qwen3:8b"))).json["choices"][0]["message"]
    assert message["reasoning"]
    events = (await call.post(PATH, chat(model="qwen3:8b", stream=True))).events
    assert "".join(event["choices"][0]["delta"].get("reasoning", "") for event in events[:-1]) == message["reasoning"]
    silent = (await call.post(PATH, chat(model="qwen3:8b", reasoning_effort="none"))).json["choices"][0]["message"]
    assert "reasoning" not in silent


async def test_what_is_read_and_what_is_ignored(call):
    short = (await call.post(PATH, chat(max_tokens=3))).json
    assert (short["choices"][0]["finish_reason"], short["usage"]["completion_tokens"]) == ("length", 3)
    ignored = chat(max_completion_tokens=3, n=2, tool_choice="required", tools=[LOOK], logit_bias={}, user="me", unheard_of=1)
    answer = (await call.post(PATH, ignored)).json
    assert (len(answer["choices"]), answer["choices"][0]["finish_reason"]) == (1, "stop")
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}}
    assert isinstance(json.loads((await call.post(PATH, chat(response_format=schema))).json["choices"][0]["message"]["content"])["a"], int)
    assert json.loads((await call.post(PATH, chat(response_format={"type": "json_object"}))).json["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        (chat(model="nope"), 404, "not_found_error", "model 'nope' not found"),
        (chat(messages=[]), 400, "invalid_request_error", "[] is too short - 'messages'"),
        (chat(messages=[{"role": "user", "content": None}]), 400, "invalid_request_error", "invalid message content type"),
        (chat(messages=[{"role": "user", "content": [{"type": "file"}]}]), 400, "invalid_request_error", "invalid message format"),
        (chat(reasoning_effort="minimal"), 400, "invalid_request_error", "invalid reasoning value: 'minimal'"),
        (chat(model="gemma3:4b", tools=[LOOK]), 400, "invalid_request_error", "gemma3:4b does not support tools"),
        (
            chat(model="gemma3:4b", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]),
            400,
            "invalid_request_error",
            "invalid image input",
        ),
        (chat(stop=3, temperature="hot"), 500, "api_error", "must be of type float32"),
    ],
)
async def test_errors_have_openais_shape(call, body, status, kind, words):
    response = await call.post(PATH, body)
    error = response.json["error"]
    assert (response.status, error["type"], error["param"], error["code"]) == (status, kind, None, None)
    assert words in error["message"]


async def test_pictures_come_as_data_urls(client):
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}, PICTURE]}]
    seen = await client.chat.completions.create(**chat(model="gemma3:4b", messages=messages))
    assert seen.usage.prompt_tokens > 256


async def test_models_and_embeddings(client):
    assert "llama3.2:latest" in [model.id async for model in client.models.list()]
    assert (await client.models.retrieve("qwen3:8b")).owned_by == "library"
    packed = await client.embeddings.create(model="nomic-embed-text", input=["one", "two"], dimensions=8)
    plain = await client.embeddings.create(model="nomic-embed-text", input=["one", "two"], dimensions=8, encoding_format="float")
    assert [pytest.approx(item.embedding) for item in packed.data] == [item.embedding for item in plain.data]
    assert (packed.usage.prompt_tokens, packed.usage.total_tokens) == (2, 2)
    with pytest.raises(openai.BadRequestError, match="invalid input"):
        await client.embeddings.create(model="nomic-embed-text", input=[])
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model="nope", input="x")
