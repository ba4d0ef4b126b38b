"""Gemini and Vertex AI through google-genai, and Claude on Vertex through anthropic: in process, over the sandbox's own wire."""

import asyncio
import json
from typing import Any

import pytest

from tokenrouter.sandbox import PRICES, ConnectionCut, Fault, Scripted, ToolCall

genai = pytest.importorskip("google.genai")
types = pytest.importorskip("google.genai.types")
errors = pytest.importorskip("google.genai.errors")
transport = pytest.importorskip("httpx2")
oauth = pytest.importorskip("google.oauth2.credentials")

FLASH = "gemini-3.6-flash"
LOOK = {"name": "look", "parameters_json_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}
TOOLS = [{"function_declarations": [LOOK]}]


def http(app: Any) -> Any:
    return transport.AsyncClient(transport=transport.ASGITransport(app))


@pytest.fixture
def studio(app: Any) -> Any:
    options = types.HttpOptions(base_url="http://sandbox/gemini", httpx_async_client=http(app))
    return genai.Client(api_key="k", http_options=options).aio.models


@pytest.fixture
def vertex(app: Any) -> Any:
    options = types.HttpOptions(base_url="http://sandbox/vertex", api_version="v1", httpx_async_client=http(app))
    credentials = oauth.Credentials(token="ya29.token")
    return genai.Client(vertexai=True, project="p", location="us-central1", credentials=credentials, http_options=options).aio.models


@pytest.fixture(params=["studio", "vertex"])
def models(request: Any) -> Any:
    return request.getfixturevalue(request.param)


async def streamed(models: Any, **ask: Any) -> list[Any]:
    return [chunk async for chunk in await models.generate_content_stream(**ask)]


async def test_stream_and_whole_say_the_same(models, app):
    ask = {"model": FLASH, "contents": "hi", "config": {"system_instruction": "be kind", "thinking_config": {"include_thoughts": True}}}
    whole = await models.generate_content(**ask)
    chunks = await streamed(models, **ask)
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert whole.candidates[0].content.parts[0].thought is True
    usage = chunks[-1].usage_metadata
    assert usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count == usage.total_token_count
    assert whole.usage_metadata == usage
    line = app.bill.lines[-1]
    assert (line.tokens.prompt, line.tokens.output) == (usage.prompt_token_count, usage.candidates_token_count + usage.thoughts_token_count)
    assert line.nano_usd == PRICES[FLASH].cost(line.tokens) > 0


async def test_a_round_of_calls_with_signatures(models):
    question = types.Content(role="user", parts=[types.Part(text="call look")])
    answer = await models.generate_content(model=FLASH, contents=[question], config={"tools": TOOLS})
    content = answer.candidates[0].content
    call = content.parts[0]
    assert call.thought_signature
    assert call.function_call.id
    assert isinstance(call.function_call.args["n"], int)
    result = types.Part(function_response=types.FunctionResponse(id=call.function_call.id, name="look", response={"ok": True}))
    history = [question, content, types.Content(role="user", parts=[result])]
    assert (await models.generate_content(model=FLASH, contents=history, config={"tools": TOOLS})).text
    (chunk,) = [chunk for chunk in await streamed(models, model=FLASH, contents=[question], config={"tools": TOOLS}) if chunk.function_calls]
    assert chunk.candidates[0].content.parts[0] == call
    call.thought_signature = None
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        await models.generate_content(model=FLASH, contents=history, config={"tools": TOOLS})
    call.thought_signature = b"other"
    with pytest.raises(errors.ClientError, match="Corrupted thought signature"):
        await models.generate_content(model=FLASH, contents=history, config={"tools": TOOLS})


async def test_the_cache_is_reported_and_billed(models, app, text):
    ask = {"model": FLASH, "contents": "hi", "config": {"system_instruction": text(5000)}}
    assert (await models.generate_content(**ask)).usage_metadata.cached_content_token_count is None
    usage = (await models.generate_content(**ask)).usage_metadata
    assert 4096 <= usage.cached_content_token_count == app.bill.lines[-1].tokens.cache_read < usage.prompt_token_count
    assert usage.cache_tokens_details[0].token_count == usage.cached_content_token_count


async def test_tokens_are_counted_as_they_are_billed(models, app, text):
    await models.generate_content(model=FLASH, contents=text(300))
    assert (await models.count_tokens(model=FLASH, contents=text(300))).total_tokens == app.bill.lines[-1].tokens.prompt
    assert len(app.bill.lines) == 1


async def test_embeddings_of_equal_texts_are_equal(studio, vertex, app):
    for models in (studio, vertex):
        both = await models.embed_content(model="gemini-embedding-001", contents=["one", "two"], config={"output_dimensionality": 8})
        one = await models.embed_content(model="gemini-embedding-001", contents="one", config={"output_dimensionality": 8})
        assert [len(item.values) for item in both.embeddings] == [8, 8]
        assert both.embeddings[0].values == one.embeddings[0].values != both.embeddings[1].values
        assert sum(value * value for value in one.embeddings[0].values) == pytest.approx(1, abs=1e-5)
    assert app.bill.lines[0].nano_usd == 2 * 150
    with pytest.raises(errors.ClientError, match="not found"):
        await studio.embed_content(model=FLASH, contents="x")


async def test_models_are_listed_in_pages(studio):
    names = [model.name async for model in await studio.list(config={"page_size": 3})]
    assert len(names) == len(set(names)) > 6
    assert "models/gemini-embedding-001" in names
    model = await studio.get(model=FLASH)
    assert (model.name, model.input_token_limit) == (f"models/{FLASH}", 1_048_576)
    assert "countTokens" in model.supported_actions
    with pytest.raises(errors.ClientError):
        await studio.get(model="gemini-nope")


async def test_structured_output_and_forced_calls(models):
    schema = {"type": "OBJECT", "properties": {"b": {"type": "STRING"}, "a": {"type": "INTEGER"}}, "required": ["a"]}
    answer = await models.generate_content(model=FLASH, contents="hi", config={"response_mime_type": "application/json", "response_schema": schema})
    assert set(json.loads(answer.text)) == {"a", "b"}
    forced = {"tools": TOOLS, "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["look"]}}}
    assert (await models.generate_content(model=FLASH, contents="hi", config=forced)).function_calls[0].name == "look"


async def test_faults_scripts_and_the_barrier(models, app):
    vendor = "vertex" if models._api_client.vertexai else "gemini"
    app.fault(Fault(kind="status", vendor=vendor, status=429))
    with pytest.raises(errors.ClientError) as caught:
        await models.generate_content(model=FLASH, contents="hi")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    app.fault(Fault(kind="truncate", vendor=vendor, after=2))
    with pytest.raises(ConnectionCut):
        await streamed(models, model=FLASH, contents="hi")
    app.script(Scripted(vendor=vendor, text="exactly this", calls=(ToolCall("look", '{"n": 1}'),)))
    answer = await models.generate_content(model=FLASH, contents="hi", config={"tools": TOOLS})
    assert (answer.candidates[0].content.parts[0].text, answer.function_calls[0].args) == ("exactly this", {"n": 1})
    app.hold(vendor)
    task = asyncio.create_task(models.generate_content(model=FLASH, contents="hi"))
    await app.waiting(1)
    app.release()
    assert (await task).text
    assert app.requests.items[-1].vendor == vendor


async def test_vertex_wants_a_token_and_an_address(call, app):
    path = "/vertex/v1/projects/p/locations/l/publishers/google/models"
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    for address, status in ((f"{path}/{FLASH}:generateContent", 200), (f"{path}/{FLASH}:nope", 404), (f"{path}/{FLASH}", 404), ("/vertex/v1", 404)):
        assert (await call.post(address, body)).status == status
    nobody = await call.request("POST", f"{path}/{FLASH}:generateContent", json.dumps(body).encode(), {"x-goog-api-key": "k"})
    assert (nobody.status, nobody.json["error"]["status"]) == (401, "UNAUTHENTICATED")
    old = await call.post(f"{path}/gemini-embedding-001:predict", {"instances": [{"content": "x"}], "parameters": {"outputDimensionality": 4}})
    assert len(old.json["predictions"][0]["embeddings"]["values"]) == 4


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"generationConfig": {"temprature": 1}}, "Unknown name \"temprature\" at 'generation_config'"),
        ({"generation_config": {"thinking_config": {"thinking_budget": 5, "thinkingLevel": "LOW"}}}, "only set only one"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOTS"}}}, "thinking_level"),
        ({"generationConfig": {"temperature": 3}}, "temperature"),
        ({"generationConfig": {"candidateCount": 2}}, "Multiple candidates"),
        ({"generationConfig": {"responseSchema": {"type": "OBJECT"}}}, "response_mime_type"),
        ({"tools": [{"functions": []}]}, 'Unknown name "functions"'),
        ({"tools": [{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]}, "Duplicate function declaration"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}}}, "not among the function declarations"),
        ({"contents": [{"role": "user", "parts": [{"text": "x", "txt": 1}]}]}, 'Unknown name "txt"'),
        ({"contents": [{"role": "user", "parts": [{"inlineData": {"mime": "x"}}]}]}, 'Unknown name "mime"'),
        ({"cachedContent": "cachedContents/x"}, "CachedContent not found"),
    ],
)
async def test_gemini_refuses_what_it_does_not_know(call, body, words):
    response = await call.gemini(FLASH, {"contents": [{"role": "user", "parts": [{"text": "x"}]}], **body})
    assert 400 <= response.status < 404
    assert words in response.message


async def test_both_spellings_are_one_prompt(call, text):
    image = "AAAA" * 100
    camel = {
        "systemInstruction": {"parts": [{"text": text(5000)}]},
        "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": image}}, {"text": "x"}]}],
        "generationConfig": {"maxOutputTokens": 9},
    }
    snake = {
        "system_instruction": {"parts": [{"text": text(5000)}]},
        "contents": [{"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": image}}, {"text": "x"}]}],
        "generation_config": {"max_output_tokens": 9},
    }
    first, second = await call.gemini(FLASH, camel), await call.gemini(FLASH, snake)
    assert first.json["candidates"] == second.json["candidates"]
    assert second.json["usageMetadata"]["cachedContentTokenCount"] > 5000


async def test_an_error_in_the_middle_fits_the_form_of_the_stream(app, call):
    for action, parse in (
        ("streamGenerateContent", lambda response: response.json),
        ("streamGenerateContent?alt=sse", lambda response: response.events),
    ):
        app.fault(Fault(kind="error_event", after=2))
        response = await call.gemini(FLASH, {"contents": [{"parts": [{"text": "x"}]}]}, action)
        *parts, last = parse(response)
        assert (len(parts), last["error"]["status"]) == (2, "UNAVAILABLE")


async def test_claude_on_vertex(app, call):
    anthropic = pytest.importorskip("anthropic")
    client = anthropic.AsyncAnthropicVertex(
        region="us-east5", project_id="p", access_token="ya29", base_url="http://sandbox/vertex/v1", http_client=http(app), max_retries=0
    )
    ask = {"model": "claude-sonnet-4-5@20250929", "max_tokens": 60, "messages": [{"role": "user", "content": "hi"}]}
    answer = await client.messages.create(**ask, cache_control={"type": "ephemeral"})
    async with client.messages.stream(**ask) as stream:
        final = await stream.get_final_message()
    assert final.content[0].text == answer.content[0].text
    assert app.bill.lines[-1].model == "claude-sonnet-4-5"
    assert (await client.messages.count_tokens(model=ask["model"], messages=ask["messages"])).input_tokens == final.usage.input_tokens
    with pytest.raises(anthropic.BadRequestError) as caught:
        await client.messages.create(**{**ask, "messages": []})
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.create(**{**ask, "model": "claude-nope"})
    path = "/vertex/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-5:rawPredict"
    assert (await call.post(path, {"max_tokens": 5, "messages": ask["messages"]})).status == 400
