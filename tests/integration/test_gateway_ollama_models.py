"""What Ollama's clients ask beside inference, and models that were pulled: by the official client, as it is and in its blocking form."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import ollama
import pytest
from pydantic import BaseModel
from rig import Rig, call, question
from test_gateway_bad_input import BROKEN

from tokenrouter.sandbox.answers import Scripted, ToolCall
from tokenrouter.sandbox.faults import Fault

PULLED = ["llama3.2:latest", "qwen3:8b", "gpt-oss:20b", "gemma3:4b", "qwen3-vl:8b", "qwen2.5-coder:1.5b", "nomic-embed-text:latest"]
HI = [{"role": "user", "content": "Say hello in 30 words."}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32)).decode()
GENERATING = ("/api/chat", "/api/generate")
EMBEDDING = ("/api/embed", "/api/embeddings")


def client_of(rig: Rig, key: str | None = None) -> ollama.AsyncClient:
    return ollama.AsyncClient(host="http://gateway", headers={"authorization": f"Bearer {key or rig.key}"}, transport=httpx.ASGITransport(rig.app))


@pytest.fixture
async def client(rig: Rig):
    return client_of(rig)


class Across(httpx.BaseTransport):
    """From the thread of a blocking client into the gateway's loop."""

    def __init__(self, rig: Rig, loop: asyncio.AbstractEventLoop) -> None:
        self._rig, self._loop = rig, loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = [(name, value) for name, value in request.headers.raw]
        asked = call(self._rig.app, request.method, request.url.raw_path.decode(), request.read(), headers)
        answer = asyncio.run_coroutine_threadsafe(asked, self._loop).result(60)
        return httpx.Response(answer.status, headers=answer.raw_headers, content=answer.body)


@pytest.fixture
async def blocking(rig: Rig):
    """Runs a function of a blocking client."""
    transport = Across(rig, asyncio.get_running_loop())

    async def run(use: Callable[[ollama.Client], Any], key: str | None = None) -> Any:
        client = ollama.Client(host="http://gateway", headers={"authorization": f"Bearer {key or rig.key}"}, transport=transport)
        return await asyncio.to_thread(use, client)

    return run


async def ask(rig: Rig, path: str, body: object = None, *, method: str = "POST", key: str | None = None, **headers: str):
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return await call(rig.app, method, path, raw, {"authorization": f"Bearer {rig.key if key is None else key}", **headers})


# lists


async def test_the_list_holds_what_was_pulled_and_what_others_serve(client):
    listed = {row.model: row for row in (await client.list()).models}
    assert {*PULLED, "gpt-4.1", "claude-haiku-4-5", "gemini-2.5-flash", "deepseek-chat"} <= set(listed)
    assert (listed["llama3.2:latest"].size, listed["llama3.2:latest"].details.family) == (2_019_393_189, "llama")
    assert listed["gpt-4.1"].details.family == "openai"
    assert all(len(row.digest) == 64 for row in listed.values())
    for name in ("gpt-4.1", "llama3.2:latest", "gpt-oss:20b"):
        assert (await client.chat(model=name, messages=HI)).message.content


async def test_every_name_in_the_list_means_the_model_that_is_listed(rig: Rig, client):
    for row in (await client.list()).models:
        if row.model in PULLED:
            assert rig.services.catalog.resolve(row.model).model.vendor == "ollama"
        else:
            assert rig.services.catalog.resolve(row.model).model.vendor == row.details.family


async def test_a_key_sees_only_what_it_may_use(rig: Rig):
    key = rig.new_key(models=("ollama/llama3.2", "gpt-oss:20b", "gpt-4.1"))
    narrow = client_of(rig, key)
    await narrow.chat(model="llama3.2", messages=HI)
    names = [row.model for row in (await narrow.list()).models]
    assert sorted(names) == ["gpt-4.1", "gpt-oss:20b", "llama3.2"]
    for name in names:
        await narrow.chat(model=name, messages=HI)
        assert (await narrow.show(name)).capabilities
    assert {row.model for row in (await narrow.ps()).models} == {"gpt-oss:20b", "llama3.2"}
    for name in ("qwen3:8b", "claude-haiku-4-5"):
        with pytest.raises(ollama.ResponseError, match="may not use it") as refused:
            await narrow.show(name)
        assert refused.value.status_code == 404
    assert [row.model for row in (await client_of(rig, rig.new_key(models=("gpt-4.1",))).ps()).models] == []


async def test_other_lists_of_models_hold_what_was_pulled_too(rig: Rig):
    rows = (await rig.get("/v1/models")).json["data"]
    assert [row["id"] for row in rows if row["owned_by"] == "ollama"] == PULLED
    assert (await rig.get("/v1/models/llama3.2")).json["owned_by"] == "ollama"


async def test_a_pulled_model_is_described_by_its_server(client):
    shown = await client.show("llama3.2")
    assert (shown.capabilities, shown.modelinfo["llama.context_length"]) == (["completion", "tools"], 131_072)
    assert shown == await client.show("ollama/llama3.2:latest")
    with pytest.raises(ollama.ResponseError, match="model 'never' not found") as refused:
        await client.show("ollama/never")
    assert refused.value.status_code == 404


@pytest.mark.parametrize(
    ("model", "capabilities"),
    [
        ("gpt-4.1", ["completion", "tools", "vision"]),
        ("claude-opus-4-8", ["completion", "tools", "vision", "thinking"]),
        ("deepseek-chat", ["completion", "tools"]),
        ("text-embedding-3-small", ["embedding"]),
    ],
)
async def test_others_are_described_as_far_as_they_are_known(client, model: str, capabilities: list[str]):
    assert (await client.show(model)).capabilities == capabilities


async def test_what_is_in_memory_is_what_the_server_says(rig: Rig, client):
    assert (await client.ps()).models == []
    await client.generate(model="qwen3:8b", keep_alive="10m")
    (row,) = (await client.ps()).models
    assert (row.model, row.context_length) == ("qwen3:8b", 4096)


async def test_a_server_that_is_away_is_an_error_where_it_alone_knows_and_no_obstacle_elsewhere(start):
    async with start(OLLAMA_URL="http://127.0.0.1:1", OPENAI_API_KEY="k") as rig:
        for path, body in (("/api/ps", None), ("/api/show", {"model": "ollama/x"})):
            answer = await ask(rig, path, body, method="POST" if body else "GET")
            assert (answer.status, list(answer.json)) == (502, ["error"])
        listed = await ask(rig, "/api/tags", method="GET")
        assert "gpt-4.1" in [row["model"] for row in listed.json["models"]]
        assert (await ask(rig, "/api/chat", {"model": "nobody", "messages": HI})).status == 404


async def test_a_server_in_trouble_is_an_error_in_words(rig: Rig):
    for body in (b"<html>", b"{}"):
        rig.sandbox.fault(Fault(kind="html" if body == b"<html>" else "empty", vendor="ollama"))
        answer = await ask(rig, "/api/ps", method="GET")
        assert (answer.status, list(answer.json)) == (502, ["error"])


async def test_the_version_is_one_that_clients_accept(rig: Rig):
    major, minor, *_ = map(int, (await ask(rig, "/api/version", method="GET")).json["version"].split("."))
    assert (major, minor) >= (0, 13)


async def test_the_command_line_finds_somebody_there_and_strangers_learn_nothing(rig: Rig):
    alive = await call(rig.app, "HEAD", "/", b"", {})
    assert (alive.status, alive.body) == (200, b"")
    assert (await call(rig.app, "GET", "/", b"", {})).status == 404


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/tags"), ("GET", "/api/ps"), ("GET", "/api/version"), ("POST", "/api/show"), ("POST", "/api/pull")]
)
async def test_nothing_is_told_without_a_key(rig: Rig, method: str, path: str):
    for key in ("", "sk-tr-nobody"):
        answer = await ask(rig, path, {"model": "gpt-4.1"}, method=method, key=key)
        assert (answer.status, list(answer.json)) == (401, ["error"])
    assert rig.sandbox.requests.seen == 0


async def test_models_are_managed_elsewhere_and_the_error_says_so(client):
    for manage in (client.pull("llama3.2"), client.push("llama3.2"), client.delete("llama3.2"), client.copy("llama3.2", "b"), client.create("b")):
        with pytest.raises(ollama.ResponseError, match="at the Ollama server itself") as refused:
            await manage
        assert refused.value.status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"{", b"{}", b'{"model":1}', b'{"model":""}', b'{"model":null,"name":[]}', b'{"model":"\xff"}'),
        *(b'{"model":"a","model":"b"}', b'{"model":"gpt-4.1","verbose":"yes"}', b'{"model":"\\ud800"}'),
        b'{"model":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
async def test_a_model_that_is_asked_for_in_a_wrong_way_is_a_clear_error(rig: Rig, body: bytes):
    answer = await ask(rig, "/api/show", body)
    assert (answer.status, list(answer.json)) == (400, ["error"])
    assert isinstance(answer.json["error"], str)


async def test_a_description_that_is_too_long_to_ask_for_is_refused(rig: Rig):
    answer = await ask(rig, "/api/show", b'{"model":"' + b"x" * (2 << 20) + b'"}')
    assert (answer.status, list(answer.json)) == (413, ["error"])


# discovery


async def test_a_bare_name_goes_to_the_server_that_has_the_model(rig: Rig, client):
    assert (await client.chat(model="llama3.2", messages=HI)).message.content
    assert (await client.embed(model="nomic-embed-text", input="a")).embeddings
    asked = rig.sandbox.requests.items[-1]
    assert (asked.path, json.loads(asked.body)["model"]) == ("/api/embed", "nomic-embed-text")
    assert {row["cost"] for row in rig.billed_rows()} == {0}
    assert {row["settled"] for row in rig.billed_rows()} == {"exact"}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/chat"])
async def test_clients_of_other_apis_find_it_too(rig: Rig, path: str):
    answer = await ask(rig, path, question(model="qwen3:8b"))
    assert (answer.status, answer.headers["x-tokenrouter-provider"]) == (200, "ollama")


async def test_a_name_that_looks_like_anothers_goes_where_the_model_is(rig: Rig, client):
    assert (await client.chat(model="gpt-oss:20b", messages=HI, think="low")).message.thinking
    assert rig.sandbox.requests.items[-1].vendor == "ollama"


async def test_a_model_that_nobody_knows_is_looked_for_once_in_a_while(rig: Rig):
    for _ in range(5):
        assert (await ask(rig, "/api/chat", {"model": "nobody", "messages": HI})).status == 404
    assert sum(one.path == "/api/tags" for one in rig.sandbox.requests.items) == 1
    rig.clock.advance(11)
    await ask(rig, "/api/chat", {"model": "nobody", "messages": HI})
    assert sum(one.path == "/api/tags" for one in rig.sandbox.requests.items) == 2


async def test_metrics_know_a_pulled_model_by_its_name(rig: Rig, client):
    await client.chat(model="qwen3:8b", messages=HI)
    text = (await rig.get("/metrics")).body.decode()
    assert 'model="qwen3:8b"' in text
    assert 'vendor="ollama"' in text


# the blocking client


class Hello(BaseModel):
    n: int


@pytest.mark.parametrize("model", ["llama3.2", "gpt-4.1", "claude-haiku-4-5"])
async def test_a_blocking_client_does_all_that_it_can(blocking, model: str):
    def use(client: ollama.Client) -> None:
        whole = client.chat(model=model, messages=HI, options={"temperature": 0})
        parts = list(client.chat(model=model, messages=HI, options={"temperature": 0}, stream=True))
        assert "".join(part.message.content for part in parts) == whole.message.content != ""
        assert [part.done for part in parts][-2:] == [False, True]
        said = client.generate(model=model, prompt="Say hello.", options={"temperature": 0})
        pieces = list(client.generate(model=model, prompt="Say hello.", options={"temperature": 0}, stream=True))
        assert "".join(piece.response for piece in pieces) == said.response != ""
        made = client.chat(model=model, messages=HI, format=Hello.model_json_schema() | {"additionalProperties": False})
        assert Hello.model_validate_json(made.message.content)
        assert "completion" in client.show(model).capabilities
        assert model.partition(":")[0] in " ".join(row.model for row in client.list().models)
        client.ps()

    await blocking(use)


def look(at: str) -> str:
    """Looks.

    Args:
      at: what to look at
    """
    return at


@pytest.mark.parametrize("model", ["llama3.2", "gpt-4.1", "claude-haiku-4-5"])
async def test_a_blocking_client_works_a_tool_loop_with_a_python_function(blocking, model: str):
    def use(client: ollama.Client) -> None:
        messages: list[Any] = [{"role": "user", "content": "Please call look."}]
        first = client.chat(model=model, messages=messages, tools=[look])
        (made,) = first.message.tool_calls
        assert made.function.name == "look"
        messages += [first.message, {"role": "tool", "tool_name": "look", "content": look(**made.function.arguments)}]
        last = client.chat(model=model, messages=messages, tools=[look])
        assert (last.message.tool_calls, bool(last.message.content)) == (None, True)

    await blocking(use)


@pytest.mark.parametrize(("thinker", "seer"), [("qwen3-vl:8b", "qwen3-vl:8b"), ("claude-opus-4-8", "gpt-4.1")])
async def test_a_blocking_client_sees_thinking_and_shows_pictures(blocking, thinker: str, seer: str):
    def use(client: ollama.Client) -> None:
        parts = list(client.chat(model=thinker, messages=HI, think="high", stream=True))
        assert "".join(part.message.thinking or "" for part in parts)
        assert client.generate(model=thinker, prompt="Say hello.", think="high").thinking
        assert client.chat(model=seer, messages=[{"role": "user", "content": "What is this?", "images": [PNG]}]).message.content

    await blocking(use)


@pytest.mark.parametrize(("model", "width"), [("nomic-embed-text", 768), ("text-embedding-3-small", 1536)])
async def test_a_blocking_client_gets_vectors(blocking, model: str, width: int):
    found = await blocking(lambda client: client.embed(model=model, input=["a", "b"]))
    assert [len(row) for row in found.embeddings] == [width, width]
    cut = await blocking(lambda client: client.embed(model=model, input="a", dimensions=16))
    assert [len(row) for row in cut.embeddings] == [16]


async def test_a_blocking_client_reads_errors(rig: Rig, blocking):
    for use, status, words in [
        (lambda client: client.chat(model="nobody", messages=HI), 404, "no provider is known"),
        (lambda client: client.chat(model="ollama/nobody", messages=HI), 404, "not found"),
        (lambda client: list(client.chat(model="nobody", messages=HI, stream=True)), 404, "no provider is known"),
        (lambda client: client.chat(model="gpt-4.1", messages=[{"role": "user", "content": "x"}], options={"num_predict": "x"}), 400, "num_predict"),
        (lambda client: client.chat(model="llama3.2", messages=HI, think=True), 400, "does not support thinking"),
        (lambda client: client.embed(model="claude-haiku-4-5", input="a"), 400, "embed"),
    ]:
        with pytest.raises(ollama.ResponseError, match=words) as refused:
            await blocking(use)
        assert refused.value.status_code == status
    with pytest.raises(ollama.ResponseError) as refused:
        await blocking(lambda client: client.list(), key="sk-tr-nobody")
    assert refused.value.status_code == 401
    rig.sandbox.fault(Fault(kind="truncate", after=3))
    with pytest.raises(ollama.ResponseError, match="in the middle of its answer"):
        await blocking(lambda client: list(client.chat(model="llama3.2", messages=HI, stream=True)))


# streams that are cut, and bad input


@pytest.mark.parametrize("path", GENERATING)
async def test_a_stream_cut_at_any_byte_never_ends_cleanly(rig: Rig, path: str):
    calls = (ToolCall(name="look", arguments='{"a":1}'),) if path == "/api/chat" else ()
    script = Scripted(thinking="Hm.", text="Two words. é", calls=calls)
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}
    asked = {"model": "ollama/qwen3:8b", **({"messages": HI, "tools": [tool]} if calls else {"prompt": "hi"})}
    rig.sandbox.script(script)
    full = [json.loads(one) for one in (await ask(rig, path, asked)).body.splitlines()]
    assert full[-1]["done"]
    cut = 0
    while True:
        rig.sandbox.script(script)
        rig.sandbox.fault(Fault(kind="truncate_bytes", after=cut))
        answer = await ask(rig, path, asked)
        lines = [json.loads(one) for one in answer.body.splitlines()]
        if answer.status == 200 and "error" not in lines[-1]:
            break
        assert "error" in lines[-1], cut
        assert not any(one.get("done") for one in lines), cut
        assert [said(one) for one in lines[:-1]] == [said(one) for one in full[: len(lines) - 1]], cut
        cut += 1
    assert [said(one) for one in lines] == [said(one) for one in full]  # only its last line end is missing
    assert cut > 500


def said(line: dict[str, Any]) -> tuple[Any, ...]:
    message = line.get("message", line)
    return message.get("content"), message.get("response"), message.get("thinking"), message.get("tool_calls"), line["done"]


WORDS = (
    *("empty", "blank", "null", "array", "string", "number", "trailing", "two", "comment", "single", "byte", "UTF-16", "overlong", "lone"),
    *("swapped", "control", "NaN", "Infinity", "leading", "hexadecimal", "duplicate"),
)
SYNTAX = [name for name in BROKEN if name.split(",")[0].split()[0] in WORDS]
"""Bodies that are no JSON, or JSON on which parsers disagree."""
MEMBERS = {"/api/chat": b"", "/api/generate": b'"prompt":"hi",', "/api/embed": b'"input":"hi",', "/api/embeddings": b'"prompt":"hi",'}


@pytest.mark.parametrize("path", MEMBERS)
@pytest.mark.parametrize("local", [False, True])
async def test_bad_input_is_an_error_in_this_apis_shape_or_means_nothing_here(rig: Rig, path: str, local: bool):
    """Bodies that Chat Completions refuses, as they are and with what this path needs beside them."""
    model = ("ollama/nomic-embed-text" if local else "text-embedding-3-small") if path in EMBEDDING else "ollama/llama3.2" if local else "gpt-4.1"
    refused = set()
    for name, (body, _) in BROKEN.items():
        raw = body.replace(b'"gpt-4.1"', f'"{model}"'.encode())
        for more in {b"", MEMBERS[path]}:
            answer = await ask(rig, path, b"{" + more + raw[1:] if raw.startswith(b"{") else raw)
            assert answer.status < 500, (name, answer.body[:300])
            if answer.status >= 400:
                refused.add(name)
                assert answer.headers["content-type"].startswith("application/json"), name
                assert list(answer.json) == ["error"], name
                assert 0 < len(answer.json["error"]) < 3000, name
                assert "Traceback" not in answer.json["error"], name
    assert rig.held() == 0
    assert {*SYNTAX, "no model", "model null", "model unknown", "unknown cache mode"} <= refused


@pytest.mark.parametrize("name", SYNTAX)
async def test_what_is_not_json_is_refused_on_every_path(rig: Rig, name: str):
    raw, where = BROKEN[name]
    answer = await ask(rig, "/api/chat", raw.replace(b'"gpt-4.1"', b'"ollama/llama3.2"'))
    assert (answer.status, list(answer.json)) == (400, ["error"])
    if where is not None:
        assert where in answer.json["error"]
    assert rig.sandbox.requests.seen == 0


@pytest.mark.parametrize("path", [*GENERATING, *EMBEDDING])
async def test_trouble_around_the_body_has_the_same_shape(rig: Rig, path: str):
    body = {"model": "gpt-4.1", "messages": HI, "prompt": "x", "input": "x"}
    for answer, status in [
        (await ask(rig, path, b"x" * (33 << 20)), 413),
        (await ask(rig, path, body, **{"content-encoding": "br"}), 415),
        (await ask(rig, path, body, key=""), 401),
        (await ask(rig, path, body, key="k" * 100_000), 401),
        (await ask(rig, path, b"", method="GET"), 405),
        (await ask(rig, path, b"", method="DELETE"), 405),
        (await ask(rig, path + "/", body), 404),
        (await ask(rig, path, {**body, "x-cache": "sometimes"}), 400),
        (await ask(rig, path, body, **{"x-dedup": "maybe"}), 400),
        (await ask(rig, path, {**body, "model": "openai/gpt-unpriced-42"}), 404),
    ]:
        assert (answer.status, list(answer.json)) == (status, ["error"])
        assert isinstance(answer.json["error"], str)
