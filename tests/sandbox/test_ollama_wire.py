"""The simulated Ollama server, read by the official client; bytes where the client hides what matters."""

import base64
import json
import math
from typing import Any

import httpx
import ollama
import pytest

from tokenrouter.sandbox import Scripted, ToolCall
from tokenrouter.sandbox.ollama_models import MODELS
from tokenrouter.sandbox.prices import PRICES

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}, "k": {"type": "string", "enum": ["a<b"]}}, "required": ["n", "k"]},
    },
}
FIND = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
PICTURE = base64.b64encode(b"picture").decode()


def user(content: str = "hi", **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content, **more}]


@pytest.fixture
async def client(app):
    async with ollama.AsyncClient("http://sandbox/ollama", transport=httpx.ASGITransport(app)) as made:
        yield made


@pytest.fixture
def lines(call):
    """`lines(body)`: every line of a streamed chat, parsed."""

    async def get(body: Any, path: str = "/ollama/api/chat") -> list[Any]:
        response = await call.post(path, body)
        assert (response.status, response.headers["content-type"]) == (200, "application/x-ndjson")
        assert response.body.endswith(b"}\n")
        return [json.loads(line) for line in response.body.splitlines()]

    return get


# chat


async def test_a_chat_is_answered_whole_or_in_pieces_alike(client):
    whole = await client.chat("llama3.2", user())
    parts = [part async for part in await client.chat("llama3.2", user(), stream=True)]
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert (whole.model, whole.message.role, whole.done, whole.done_reason) == ("llama3.2", "assistant", True, "stop")
    last = parts[-1]
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (last.message.content, last.done_reason) == ("", "stop")
    assert (last.prompt_eval_count, last.eval_count) == (whole.prompt_eval_count, whole.eval_count)
    assert last.total_duration == last.load_duration + last.prompt_eval_duration + last.eval_duration
    assert all(part.done_reason is None and part.eval_count is None for part in parts[:-1])


async def test_a_stream_is_the_default_and_has_lines_with_nothing_but_a_role(lines):
    found = await lines({"model": "llama3.2", "messages": user("in 60 words")})
    empty = [number for number, line in enumerate(found) if line["message"] == {"role": "assistant", "content": ""} and not line["done"]]
    assert empty[0] == 0
    assert len(empty) > 2
    assert list(found[0]) == ["model", "created_at", "message", "done"]
    assert len({line["created_at"] for line in found}) == len(found)


async def test_an_answer_without_stream_is_one_json_object(call):
    response = await call.post("/ollama/api/chat", {"model": "llama3.2", "messages": user(), "stream": False})
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json["done"] is True


async def test_no_credential_is_needed(app, call):
    body = json.dumps({"model": "llama3.2", "messages": user(), "stream": False}).encode()
    assert (await call.request("POST", "/ollama/api/chat", body)).status == 200
    assert app.bill.lines[-1].account == app.account("local")
    refused = await call.post("/ollama/api/chat", body, key="invalid-key")
    assert (refused.status, set(refused.json)) == (401, {"error"})


async def test_everything_is_free_but_counted(app, client):
    answer = await client.chat("gemma3:4b", user())
    line = app.bill.lines[-1]
    assert (line.vendor, line.model, line.nano_usd) == ("ollama", "gemma3:4b", 0)
    assert (line.tokens.input, line.tokens.output) == (answer.prompt_eval_count, answer.eval_count)
    again = await client.chat("gemma3:4b", user())
    assert again.prompt_eval_count == answer.prompt_eval_count
    assert PRICES.keys() >= MODELS.keys()


async def test_think_is_on_by_default_where_a_model_can_and_comes_apart_from_the_text(client):
    parts = [part async for part in await client.chat("qwen3:8b", user(), stream=True)]
    thinking, content = ("".join(getattr(part.message, name) or "" for part in parts) for name in ("thinking", "content"))
    assert thinking
    assert content
    assert not any(part.message.thinking and part.message.content for part in parts)
    for think in (True, "low"):
        whole = await client.chat("qwen3:8b", user(), think=think)
        assert (whole.message.thinking, whole.message.content) == (thinking, content)
    silent = await client.chat("qwen3:8b", user(), think=False)
    assert silent.message.thinking is None
    assert silent.eval_count < whole.eval_count


async def test_tool_calls_come_whole_in_a_line_with_an_object_and_no_id(lines):
    found = await lines({"model": "llama3.2", "messages": user("call look and find"), "tools": [TOOL, FIND]})
    calls = [line["message"]["tool_calls"] for line in found if "tool_calls" in line["message"]]
    assert [len(group) for group in calls] == [1, 1]
    assert [group[0]["function"]["name"] for group in calls] == ["look", "find"]
    assert calls[0][0]["function"]["arguments"].keys() == {"n", "k"}
    assert set(calls[0][0]) == {"function"}
    assert (found[-1]["done_reason"], found[-1]["message"]) == ("stop", {"role": "assistant", "content": ""})


async def test_newer_models_give_their_calls_an_id_and_an_index(call):
    body = {"model": "gpt-oss:20b", "messages": user("call look and find"), "tools": [TOOL, FIND], "stream": False}
    calls = (await call.post("/ollama/api/chat", body)).json["message"]["tool_calls"]
    assert [item["function"]["index"] for item in calls] == [0, 1]
    assert len({item["id"] for item in calls}) == 2


async def test_strings_are_escaped_as_go_does_it(call):
    response = await call.post("/ollama/api/chat", {"model": "llama3.2", "messages": user("call look"), "tools": [TOOL], "stream": False})
    assert b'"a\\u003cb"' in response.body


@pytest.mark.parametrize("stream", [False, True])
async def test_the_tool_loop_ends_with_text(client, stream):
    async def ask(messages: list[Any]) -> ollama.Message:
        if not stream:
            return (await client.chat("qwen3:8b", messages, tools=[TOOL])).message
        parts = [part.message async for part in await client.chat("qwen3:8b", messages, tools=[TOOL], stream=True)]
        calls = [call for part in parts for call in part.tool_calls or ()]
        return ollama.Message(role="assistant", content="".join(part.content or "" for part in parts), tool_calls=calls or None)

    messages: list[Any] = user("use look")
    asked = await ask(messages)
    assert [call.function.name for call in asked.tool_calls or ()] == ["look"]
    assert isinstance(asked.tool_calls[0].function.arguments["n"], int)
    messages += [asked, {"role": "tool", "tool_name": "look", "content": "42"}]
    answer = await ask(messages)
    assert answer.content
    assert not answer.tool_calls


async def test_python_functions_become_tools(client):
    def add(a: int, b: int) -> int:
        """
        Adds.

        Args:
            a: one
            b: other

        Returns:
            int: the sum
        """
        return a + b

    call = (await client.chat("llama3.2", user("call add"), tools=[add])).message.tool_calls[0]
    assert isinstance(add(**call.function.arguments), int)


async def test_format_is_json_or_follows_a_schema(client):
    number = {"type": "integer", "minimum": 3, "maximum": 4}
    schema = {"type": "object", "properties": {"why": {"type": "string"}, "n": number}, "required": ["why", "n"]}
    value = json.loads((await client.chat("qwen3:8b", user(), format=schema)).message.content)
    assert list(value) == ["why", "n"]
    assert value["n"] in (3, 4)
    assert isinstance(json.loads((await client.chat("llama3.2", user(), format="json")).message.content), dict)
    assert (await client.chat("llama3.2", user(), format="")).message.content


async def test_options(client, call):
    short = await client.chat("llama3.2", user(), options={"num_predict": 3})
    assert (short.done_reason, short.eval_count) == ("length", 3)
    full = (await client.chat("llama3.2", user(), options={"num_predict": -1, "temperature": 0.3, "unheard_of": []})).message.content
    stop = full.split()[3]
    stopped = await client.chat("llama3.2", user(), options={"stop": [stop]})
    assert (stopped.message.content, stopped.done_reason) == (full[: full.index(stop)], "stop")
    assert (await client.chat("llama3.2", user(), options={"seed": 7})).message.content != full
    assert (await client.chat("llama3.2", user(), options={"seed": 0})).message.content == full
    late = await client.chat("llama3.2", user("call look"), tools=[TOOL], options={"num_predict": 2})
    assert (late.message.tool_calls, late.done_reason) == (None, "length")


async def test_what_does_not_fit_into_the_context_is_dropped_in_silence(client, call, text):
    assert (await client.chat("llama3.2", user(text(9000)))).prompt_eval_count == 4096
    assert (await client.chat("llama3.2", user(text(9000)), options={"num_ctx": 20_000})).prompt_eval_count > 9000
    kept = await call.post("/ollama/api/chat", {"model": "llama3.2", "messages": user(text(9000)), "truncate": False})
    assert (kept.status, kept.json) == (400, {"error": "the input length exceeds the context length"})


async def test_pictures_count_for_models_that_see(client, call):
    seen = await client.chat("gemma3:4b", user(images=[PICTURE]))
    assert seen.prompt_eval_count - (await client.chat("gemma3:4b", user())).prompt_eval_count == 256
    with pytest.raises(ollama.ResponseError, match="missing data required for image input") as error:
        await client.chat("llama3.2", user(images=[PICTURE]))
    assert error.value.status_code == 500
    response = await call.post("/ollama/api/chat", {"model": "gemma3:4b", "messages": user(images=["no base64!"])})
    assert (response.status, response.json["error"]) == (400, "illegal base64 data at input byte 0")


async def test_unknown_fields_roles_and_nulls_are_ignored(call):
    message = {"role": "Oracle", "content": "hi", "images": None, "tool_calls": None, "name": "x", "tool_call_id": 3}
    body = {"model": "llama3.2", "messages": [message], "stream": False, "tools": None, "format": None, "options": None, "think": None, "n": "many"}
    assert (await call.post("/ollama/api/chat", body)).status == 200


# generate


async def test_generate_whole_and_in_pieces(client):
    whole = await client.generate("qwen3:8b", "hi", system="be brief")
    parts = [part async for part in await client.generate("qwen3:8b", "hi", system="be brief", stream=True)]
    assert "".join(part.response for part in parts) == whole.response
    assert "".join(part.thinking or "" for part in parts) == whole.thinking
    assert (parts[0].response, parts[0].thinking, parts[-1].done_reason) == ("", None, "stop")
    assert parts[-1].context == whole.context
    assert whole.eval_count == parts[-1].eval_count
    plain = await client.generate("qwen3:8b", "hi", think=False)
    assert plain.thinking is None
    assert plain.prompt_eval_count < whole.prompt_eval_count


async def test_generate_goes_on_from_a_context(client):
    first = await client.generate("llama3.2", "hi")
    second = await client.generate("llama3.2", "and then?", context=first.context)
    alone = await client.generate("llama3.2", "and then?")
    assert second.prompt_eval_count == alone.prompt_eval_count + len(first.context)
    assert second.context[: len(first.context)] == first.context
    assert second.response != alone.response


async def test_generate_raw_suffix_and_format(client):
    raw = await client.generate("llama3.2", "hi", raw=True)
    assert raw.context is None
    assert raw.prompt_eval_count == 1
    with pytest.raises(ollama.ResponseError, match="raw mode does not support template, system, or context"):
        await client.generate("llama3.2", "hi", raw=True, system="x")
    assert (await client.generate("qwen2.5-coder:1.5b", "def f(", suffix="return 1")).response
    with pytest.raises(ollama.ResponseError, match=r"llama3\.2:latest does not support insert"):
        await client.generate("llama3.2", "def f(", suffix="return 1")
    assert isinstance(json.loads((await client.generate("llama3.2", "hi", format="json")).response), dict)


# models


async def test_lists(client, call):
    assert [model.model for model in (await client.list()).models] == list(MODELS)
    shown = await client.show("LLAMA3.2")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo["llama.context_length"] == 131_072
    assert shown.details.parameter_size == "3.2B"
    version = await call.request("GET", "/ollama/api/version")
    assert version.json["version"].count(".") == 2
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found"):
        await client.show("nope")


async def test_the_root_says_that_it_runs(call):
    for path in ("/ollama", "/ollama/"):
        response = await call.request("GET", path)
        assert (response.status, response.body) == (200, b"Ollama is running")
        head = await call.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
    lost = await call.request("GET", "/ollama/api/nowhere")
    assert (lost.status, lost.body) == (404, b"404 page not found")
    assert (await call.request("GET", "/ollama/api/chat")).status == 405


async def test_models_stay_in_memory_as_long_as_they_are_kept_alive(client, clock):
    async def running() -> list[str]:
        return [model.model for model in (await client.ps()).models]

    cold = await client.chat("llama3.2", user())
    warm = await client.chat("llama3.2", user(), keep_alive="1h30m")
    assert cold.load_duration > warm.load_duration
    await client.chat("gemma3:4b", user())
    assert await running() == ["llama3.2:latest", "gemma3:4b"]
    clock.advance(301)
    assert await running() == ["llama3.2:latest"]
    clock.advance(3600 * 2)
    assert await running() == []
    for forever in (-1, "-1m"):
        await client.chat("llama3.2", user(), keep_alive=forever)
        clock.advance(1e6)
        assert await running() == ["llama3.2:latest"]
    await client.chat("llama3.2", user(), keep_alive="0")
    assert await running() == []


async def test_requests_without_a_prompt_load_and_unload(client):
    loaded = await client.generate("llama3.2")
    assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
    assert [model.context_length for model in (await client.ps()).models] == [4096]
    gone = await client.chat("llama3.2", [], keep_alive=0)
    assert (gone.done_reason, (await client.ps()).models) == ("unload", [])


# embeddings


async def test_embeddings_are_unit_vectors_of_their_own_for_every_text(client, app):
    several = await client.embed("nomic-embed-text", ["one", "two", "one"])
    single = await client.embed("nomic-embed-text", "one")
    assert several.embeddings[0] == several.embeddings[2] == single.embeddings[0]
    assert several.embeddings[0] != several.embeddings[1]
    assert all(len(vector) == 768 and math.isclose(sum(x * x for x in vector), 1.0, rel_tol=1e-5) for vector in several.embeddings)
    assert several.prompt_eval_count == 3 * single.prompt_eval_count
    line = app.bill.lines[-1]
    assert (line.model, line.tokens.input, line.nano_usd) == ("nomic-embed-text:latest", 1, 0)
    short = (await client.embed("nomic-embed-text", "one", dimensions=8)).embeddings[0]
    assert len(short) == 8
    scale = short[0] / single.embeddings[0][0]
    assert all(math.isclose(x, y * scale, rel_tol=1e-3) for x, y in zip(short, single.embeddings[0], strict=False))
    assert math.isclose(sum(x * x for x in short), 1.0, rel_tol=1e-5)
    assert (await client.embeddings("nomic-embed-text", "one")).embedding == single.embeddings[0]


async def test_embeddings_of_nothing_and_of_too_much(client, call, text):
    for nothing in ("", []):
        assert (await client.embed("nomic-embed-text", nothing)).embeddings == []
    assert (await client.embed("nomic-embed-text", text(5000))).prompt_eval_count == 2048
    with pytest.raises(ollama.ResponseError, match="exceeds the context length"):
        await client.embed("nomic-embed-text", text(5000), truncate=False)
    for wrong in (3, [1], {"a": "b"}):
        response = await call.post("/ollama/api/embed", {"model": "nomic-embed-text", "input": wrong})
        assert (response.status, response.json) == (400, {"error": "invalid input type"})


# scripts


@pytest.mark.parametrize("path", ["/ollama/api/chat", "/ollama/v1/chat/completions"])
async def test_scripted_answers_are_given_word_for_word(app, call, path):
    app.script(Scripted(vendor="ollama", thinking="hm", text="so", calls=(ToolCall("f", '{"a": 1.0}'), ToolCall("f", '{"a": 1.0}'))))
    response = await call.post(path, {"model": "llama3.2", "messages": user(), "stream": False})
    message = response.json["message"] if "message" in response.json else response.json["choices"][0]["message"]
    assert (message.get("thinking", message.get("reasoning")), message["content"], len(message["tool_calls"])) == ("hm", "so", 2)
    ids = [item.get("id") for item in message["tool_calls"]]
    assert ids == [None, None] if "api" in path else len(set(ids)) == 2
