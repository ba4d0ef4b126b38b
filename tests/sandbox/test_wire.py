"""Order of streams, errors, tools and structured output of the OpenAI wire; the official SDKs parse it all."""

import json
from typing import Any

import pytest

from tokenrouter.sandbox import Scripted


def chat(user: str = "hi", model: str = "gpt-4.1", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": user}], **more}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"n": {"type": "integer", "minimum": 5, "maximum": 6}, "k": {"enum": ["a", "b"]}},
                "required": ["n", "k"],
            },
        },
    }
    for name in ("look", "find")
]


async def test_chat_stream_order(call):
    response = await call.openai(chat(stream=True, stream_options={"include_usage": True}))
    first, *deltas, finish, usage, done = response.events
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert all(set(event["choices"][0]["delta"]) == {"content"} and event["usage"] is None for event in deltas)
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"], finish["usage"]) == ({}, "stop", None)
    assert (usage["choices"], done) == ([], "[DONE]")
    whole = await call.openai(chat())
    assert "".join(event["choices"][0]["delta"]["content"] for event in deltas) == whole.json["choices"][0]["message"]["content"]
    assert usage["usage"]["completion_tokens"] == whole.json["usage"]["completion_tokens"]
    assert response.headers["content-type"].startswith("text/event-stream")


async def test_chat_stream_says_nothing_about_usage_unless_asked(call):
    response = await call.openai(chat(stream=True))
    assert not any("usage" in event for event in response.events[:-1])


async def test_parallel_calls_stream_by_index_with_id_and_name_first(call):
    response = await call.openai(chat("use look and find", stream=True, tools=TOOLS))
    fragments = [call_ for event in response.events[:-1] for call_ in event["choices"][0]["delta"].get("tool_calls", [])]
    for index, name in enumerate(("look", "find")):
        head, *rest = [fragment for fragment in fragments if fragment["index"] == index]
        assert (head["function"], head["type"]) == ({"name": name, "arguments": ""}, "function")
        assert all(set(fragment) == {"index", "function"} for fragment in rest)
        arguments = json.loads("".join(fragment["function"]["arguments"] for fragment in rest))
        assert list(arguments) == ["n", "k"]
        assert arguments["n"] in (5, 6)
    assert response.events[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_tool_choice_decides(call):
    async def names(**more: Any) -> list[str]:
        message = (await call.openai(chat(tools=TOOLS, **more))).json["choices"][0]["message"]
        return [item["function"]["name"] for item in message.get("tool_calls", [])]

    assert await names() == []
    assert await names(tool_choice="required") == ["look"]
    assert await names(tool_choice={"type": "function", "function": {"name": "find"}}) == ["find"]
    assert await names(user="call look and find", tool_choice="none") == []
    assert await names(user="call look and find", parallel_tool_calls=False) == ["look"]


async def test_after_tool_results_the_answer_is_text(call):
    asked = (await call.openai(chat("call look", tools=TOOLS))).json["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": asked["tool_calls"][0]["id"], "content": "42"}
    body = {"model": "gpt-4.1", "tools": TOOLS, "messages": [{"role": "user", "content": "call look"}, asked, result]}
    answer = await call.openai(body)
    assert answer.json["choices"][0]["finish_reason"] == "stop"
    body["messages"].pop()
    assert (await call.openai(body)).status == 400


async def test_structured_output_follows_the_schema_in_its_order(call):
    schema = {
        "type": "object",
        "properties": {
            "why": {"type": "string"},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2},
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        },
        "$defs": {"tag": {"enum": ["x", "y"]}},
        "required": ["why", "score", "tags", "next"],
    }
    response = await call.openai(chat(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}))
    value = json.loads(response.json["choices"][0]["message"]["content"])
    assert list(value) == ["why", "score", "tags", "next"]
    assert 0 <= value["score"] <= 1
    assert len(value["tags"]) == 2
    assert set(value["tags"]) <= {"x", "y"}
    assert isinstance(json.loads((await call.openai(chat(response_format={"type": "json_object"}))).json["choices"][0]["message"]["content"]), dict)


async def test_limit_stop_and_several_choices(call):
    short = (await call.openai(chat(max_tokens=3))).json
    assert (short["choices"][0]["finish_reason"], short["usage"]["completion_tokens"]) == ("length", 3)
    full = (await call.openai(chat())).json["choices"][0]["message"]["content"]
    stop = full.split()[3]
    stopped = (await call.openai(chat(stop=stop))).json["choices"][0]
    assert stopped["message"]["content"] == full[: full.index(stop)]
    several = (await call.openai(chat(n=3))).json
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in several["choices"]}) == 3
    words = (await call.openai(chat("write 300 words"))).json["choices"][0]["message"]["content"]
    assert len(words.split()) == 300


async def test_reasoning_models_report_reasoning_tokens(call):
    usage = (await call.openai(chat(model="o3"))).json["usage"]
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (chat(foo=1), 400, "Unrecognized request argument supplied: foo"),
        (chat(model="gpt-nope"), 404, "does not exist"),
        ({"messages": []}, 400, "you must provide a model parameter"),
        ({"model": "gpt-4.1"}, 400, "Missing required parameter: 'messages'"),
        ({"model": "gpt-4.1", "messages": []}, 400, "empty array"),
        ({"model": "gpt-4.1", "messages": [{"role": "robot", "content": "x"}]}, 400, "Invalid value: 'robot'"),
        ({"model": "gpt-4.1", "messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}, 400, "must be a response to"),
        ({"model": "gpt-4.1", "messages": [{"role": "user"}]}, 400, "got null"),
        (chat(temperature=3), 400, "above maximum"),
        (chat(stream="yes"), 400, "expected a boolean"),
        (chat(stream_options={"include_usage": True}), 400, "only allowed when 'stream' is enabled"),
        (chat(tool_choice="auto"), 400, "only allowed when 'tools'"),
        (chat(model="gpt-5", max_tokens=5), 400, "Use 'max_completion_tokens'"),
        (chat(cache_control={"type": "ephemeral"}), 400, "cache_control"),
        (chat("x" * 600_000, model="gpt-4o"), 400, "maximum context length"),
        (b'{"model":"gpt-4.1","model":"gpt-4o","messages":[]}', 400, "same key twice"),
        (b'{"model":"gpt-4.1","messages":[{"role":"user","content":"\\ud800"}]}', 400, "could not parse"),
        (b'{"model":NaN}', 400, "could not parse"),
        (b"[" * 100_000, 400, "could not parse"),
        (b"\xff\xfe", 400, "could not parse"),
    ],
)
async def test_openai_refuses_in_its_own_shape(call, body, status, words):
    response = await call.openai(body)
    assert response.status == status
    assert set(response.json["error"]) == {"message", "type", "param", "code"}
    assert words in response.message


async def test_credentials(call):
    for path in ("/openai/v1/chat/completions", "/deepseek/chat/completions", "/echo/v1/chat/completions"):
        assert (await call.request("POST", path, b"{}")).status == 401
        assert (await call.post(path, chat(), key="my-invalid-key")).json["error"]["message"]


async def test_too_large_bodies_get_413_in_the_vendors_shape(call):
    response = await call.claude(b" " * (32 * 1024 * 1024 + 1))
    assert (response.status, response.json["error"]["type"]) == (413, "request_too_large")


async def test_echo_repeats_the_last_user_message(call):
    body = {
        "model": "echo",
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "x"},
            {"role": "user", "content": [{"type": "text", "text": "two"}]},
        ],
    }
    plain = await call.post("/echo/v1/chat/completions", body)
    assert plain.json["choices"][0]["message"]["content"] == "two"
    assert plain.json["usage"]["total_tokens"] > 0
    streamed = await call.post("/echo/v1/chat/completions", {**body, "stream": True})
    assert streamed.events[1]["choices"][0]["delta"] == {"content": "two"}


async def test_official_openai_sdk_reads_answers_and_streams(app):
    openai, transport = pytest.importorskip("openai"), pytest.importorskip("httpx2")
    client = openai.AsyncOpenAI(
        api_key="k", base_url="http://sandbox/openai/v1", http_client=transport.AsyncClient(transport=transport.ASGITransport(app)), max_retries=0
    )
    answer = await client.chat.completions.create(**chat("call look", tools=TOOLS))
    assert answer.choices[0].message.tool_calls[0].function.name == "look"
    chunks = [chunk async for chunk in await client.chat.completions.create(**chat(stream=True, stream_options={"include_usage": True}))]
    assert chunks[-1].usage.total_tokens > 0
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(**chat(model="gpt-nope"))
    assert "gpt-4.1" in [model.id async for model in client.models.list()]


async def test_official_anthropic_sdk_reads_answers_and_streams(app):
    anthropic, transport = pytest.importorskip("anthropic"), pytest.importorskip("httpx2")
    client = anthropic.AsyncAnthropic(
        api_key="k", base_url="http://sandbox/anthropic", http_client=transport.AsyncClient(transport=transport.ASGITransport(app)), max_retries=0
    )
    tools = [{"name": "look", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}]
    ask = {"model": "claude-opus-5-5", "max_tokens": 500, "messages": [{"role": "user", "content": "use look"}], "tools": tools}
    answer = await client.messages.create(**ask)
    async with client.messages.stream(**ask) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert final.content == answer.content
    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


async def test_anthropic_stream_order(call):
    response = await call.claude({"model": "claude-opus-4-8", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}], "stream": True})
    kinds = [event["type"] for event in response.events]
    assert kinds[:4] == ["message_start", "content_block_start", "ping", "content_block_delta"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert response.events[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert response.events[-2]["usage"]["output_tokens"] == 20
    assert response.body.startswith(b"event: message_start\ndata: ")


async def test_scripted_refusals_and_cuts(app, call):
    app.script(*[Scripted(refusal="I will not say that.")] * 2, Scripted(text="half a", cut=True))
    message = (await call.openai(chat())).json["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "I will not say that.")
    streamed = await call.openai(chat(stream=True))
    assert "".join(event["choices"][0]["delta"].get("refusal") or "" for event in streamed.events[:-1]) == "I will not say that."
    cut = (await call.openai(chat())).json["choices"][0]
    assert (cut["message"]["content"], cut["finish_reason"]) == ("half a", "length")
    app.script(Scripted(refusal="No."))
    assert (await call.deepseek(chat(model="deepseek-chat"))).json["choices"][0]["message"]["content"] == "No."
