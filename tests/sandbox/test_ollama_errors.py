"""What Ollama refuses and in which words, what its faults look like, and that nothing crashes it."""

import copy
import json
import random
from typing import Any

import httpx
import ollama
import pytest

from tokenrouter.sandbox import ConnectionCut, Fault
from tokenrouter.sandbox.ollama_models import MODELS

USER = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}
CHAT = "/ollama/api/chat"
GENERATE = "/ollama/api/generate"
COMPATIBLE = "/ollama/v1/chat/completions"


@pytest.fixture
async def client(app):
    async with ollama.AsyncClient("http://sandbox/ollama", transport=httpx.ASGITransport(app)) as made:
        yield made


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "llama3.2", "messages": USER, **more}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (CHAT, chat(model="nope"), 404, "model 'nope' not found"),
        (CHAT, chat(model="qwen3"), 404, "model 'qwen3' not found"),
        (CHAT, {"messages": USER}, 400, "model is required"),
        (CHAT, chat(model=3), 400, "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"),
        (CHAT, b"", 400, "missing request body"),
        (CHAT, b"{", 400, "could not parse"),
        (CHAT, chat(messages="hi"), 400, "cannot unmarshal string into Go struct field ChatRequest.messages"),
        (CHAT, chat(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}]), 400, "cannot unmarshal array"),
        (CHAT, chat(stream="yes"), 400, "cannot unmarshal string into Go struct field ChatRequest.stream of type bool"),
        (
            CHAT,
            chat(messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]),
            400,
            "cannot unmarshal string",
        ),
        (CHAT, chat(tools={}), 400, "cannot unmarshal object into Go struct field ChatRequest.tools"),
        (CHAT, chat(think="very"), 400, 'invalid think value: "very"'),
        (CHAT, chat(think=1), 400, "think must be a boolean or string"),
        (CHAT, chat(think=True), 400, '"llama3.2" does not support thinking'),
        (CHAT, chat(keep_alive="soon"), 400, 'time: invalid duration "soon"'),
        (CHAT, chat(format="xml"), 500, "invalid format"),
        (CHAT, chat(options={"num_predict": "3"}), 500, 'option "num_predict" must be of type integer'),
        (CHAT, chat(options={"stop": "x"}), 500, 'option "stop" must be of type array'),
        (CHAT, chat(model="gemma3:4b", tools=[TOOL]), 400, "registry.ollama.ai/library/gemma3:4b does not support tools"),
        (CHAT, chat(model="nomic-embed-text"), 400, '"nomic-embed-text" does not support chat'),
        (GENERATE, {"model": "nomic-embed-text", "prompt": "hi"}, 400, '"nomic-embed-text" does not support generate'),
        (GENERATE, {"prompt": "hi"}, 404, "model '' not found"),
        (GENERATE, {"model": "llama3.2", "prompt": "hi", "context": ["a"]}, 400, "cannot unmarshal string"),
        ("/ollama/api/show", {}, 400, "model is required"),
        ("/ollama/api/embed", {"model": "nope", "input": "x"}, 404, "model 'nope' not found"),
    ],
)
async def test_errors_are_one_sentence(call, path, body, status, words):
    response = await call.post(path, body)
    assert (response.status, set(response.json)) == (status, {"error"})
    assert words in response.json["error"]


async def test_the_client_raises_what_it_reads(client):
    with pytest.raises(ollama.ResponseError) as error:
        await client.chat("nope", USER)
    assert (error.value.status_code, error.value.error) == (404, "model 'nope' not found")
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        [part async for part in await client.chat("llama3.2", USER, stream=True, think=True)]


async def test_an_error_in_the_middle_of_a_stream_is_a_line(app, call, client):
    app.fault(Fault(kind="error_event", vendor="ollama", after=3))
    parts = await client.chat("llama3.2", USER, stream=True)
    assert [(await anext(parts)).done for _ in range(3)] == [False] * 3
    with pytest.raises(ollama.ResponseError, match="unexpected EOF"):
        await anext(parts)
    assert (app.bill.lines[-1].status, app.bill.lines[-1].tokens.output > 0) == ("failed", True)
    app.fault(Fault(kind="error_event", vendor="ollama", after=2))
    last = (await call.post(GENERATE, {"model": "llama3.2", "prompt": "hi"})).body.splitlines()[-1]
    assert set(json.loads(last)) == {"error"}


async def test_the_compatible_stream_swallows_an_error(app, call):
    app.fault(Fault(kind="error_event", vendor="ollama", after=3))
    response = await call.post(COMPATIBLE, chat(stream=True))
    assert len(response.events) == 4
    assert response.events[-1]["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]


@pytest.mark.parametrize(
    ("path", "shape"),
    [(CHAT, "words"), (COMPATIBLE, {"message": "words", "type": "api_error", "param": None, "code": None})],
)
async def test_status_faults_and_error_bodies_speak_the_wire_of_the_path(app, call, path, shape):
    app.fault(Fault(kind="status", vendor="ollama", status=503, message="words", retry_after="2"))
    response = await call.post(path, chat())
    assert (response.status, response.json, response.headers["retry-after"]) == (503, {"error": shape}, "2")
    app.fault(Fault(kind="error_body", vendor="ollama", message="words"))
    response = await call.post(path, chat())
    assert (response.status, response.json) == (200, {"error": shape})
    assert (app.bill.lines[-1].status, app.bill.nano_usd) == ("failed", 0)


@pytest.mark.parametrize("path", [CHAT, GENERATE, COMPATIBLE, "/ollama/api/embed"])
async def test_counts_may_be_missing(app, call, path):
    app.fault(Fault(kind="no_usage", vendor="ollama"))
    response = await call.post(path, chat(prompt="hi", input="hi", stream=False))
    assert response.status == 200
    assert not {"usage", "prompt_eval_count", "eval_count"} & set(response.json)
    assert app.bill.lines[-1].tokens.input > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_connections_break(app, call, stream):
    for fault in (Fault(kind="truncate", after=2), Fault(kind="truncate_bytes", after=150)):
        app.fault(fault)
        with pytest.raises(ConnectionCut):
            await call.post(CHAT, chat(stream=stream))
        assert app.bill.lines[-1].status == "failed"


async def test_garbage_between_lines(app, client):
    for kind in ("bad_json", "bad_utf8"):
        app.fault(Fault(kind=kind, after=2))
        with pytest.raises(ValueError, match="Expecting value"):
            [part async for part in await client.chat("llama3.2", USER, stream=True)]


async def test_hanging_up_ends_the_work(app, call):
    await call.post(CHAT, chat())
    full = app.bill.lines[-1]
    await call.post(CHAT, chat(), hang_up_after=6)
    line = app.bill.lines[-1]
    assert (line.status, line.tokens.prompt) == ("cancelled", full.tokens.prompt)
    assert 0 < line.tokens.output < full.tokens.output


async def test_requests_wait_at_the_barrier_and_are_logged(app, call):
    app.hold("anthropic")
    assert (await call.post(CHAT, chat())).status == 200
    app.release()
    received = app.requests.items[-1]
    assert (received.vendor, received.path, json.loads(received.body)) == ("ollama", "/api/chat", chat())
    await call.post(COMPATIBLE, chat())
    assert (app.requests.items[-1].vendor, app.requests.items[-1].path) == ("ollama", "/v1/chat/completions")
    assert app.vendors.count("ollama") == 1
    assert (await call.request("GET", "/ollama/api/ps")).json["models"]
    app.reset()
    assert (await call.request("GET", "/ollama/api/ps")).json["models"] == []


JUNK: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", "x", [], [[]], {}, {"type": "text"}, ["a"], [{"role": "user"}]]
CALL = {"function": {"name": "f", "arguments": {"a": "b"}}}
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {
        "model": "qwen3:8b",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "call f"},
            {"role": "assistant", "content": "", "thinking": "t", "tool_calls": [CALL]},
            {"role": "tool", "tool_name": "f", "content": "r"},
        ],
        "tools": [TOOL],
        "format": {"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}}}},
        "options": {"num_predict": 50, "stop": ["q"], "num_ctx": 100, "seed": 1, "temperature": 0.1},
        "think": "low",
        "keep_alive": "5m",
        "stream": True,
    },
    GENERATE: {
        "model": "gemma3:4b",
        "prompt": "p",
        "system": "s",
        "images": ["AAAA"],
        "context": [1, 2],
        "raw": False,
        "stream": True,
        "keep_alive": 3,
    },
    "/ollama/api/embed": {"model": "nomic-embed-text", "input": ["a", "b"], "truncate": True, "dimensions": 4, "options": {"num_ctx": 5}},
    "/ollama/api/embeddings": {"model": "nomic-embed-text", "prompt": "p", "keep_alive": 1.5},
    "/ollama/api/show": {"model": "llama3.2", "verbose": True},
    COMPATIBLE: {
        "model": "qwen3:8b",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "call f"}], "name": "n"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
        "tools": [TOOL],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
        "stream_options": {"include_usage": True},
        "stream": True,
        "stop": ["a"],
        "max_tokens": 50,
        "reasoning": {"effort": "low"},
    },
    "/ollama/v1/embeddings": {"model": "nomic-embed-text", "input": ["a"], "encoding_format": "base64", "dimensions": 3},
}


def places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += [(value, key), *places(inner)]
    return found


@pytest.mark.parametrize("path", BODIES)
async def test_mutants_of_a_request_are_answered_or_refused(call, path):
    base = await call.post(path, BODIES[path])
    assert base.status == 200, base.body
    rng = random.Random(path)
    for _ in range(400):
        mutant = copy.deepcopy(BODIES[path])
        for _ in range(rng.randint(1, 2)):
            holder, key = rng.choice(places(mutant))
            if rng.random() < 0.3:
                del holder[key]
            else:
                holder[key] = copy.deepcopy(rng.choice(JUNK))
            if not places(mutant):
                break
        response = await call.post(path, mutant)
        assert response.status in (200, 400, 404, 500), (mutant, response.body)
        if response.status != 200:
            error = response.json["error"]
            assert error["message"] if "/v1/" in path else isinstance(error, str), mutant


def test_names_of_models_are_their_keys():
    assert all(name == model.name and ":" in name for name, model in MODELS.items())
