"""Gemini on Vertex AI behind the whole gateway, and clients that were made for Vertex AI before it; asked by the official client."""

import json

import httpx
import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials
from msgspec import structs
from rig import Rig, call
from test_gateway_gemini import FORMS, HI, LOOK, NEW, OLD, ask, sent

from tokenrouter.model.catalog import Secret
from tokenrouter.sandbox.faults import Fault
from tokenrouter.upstream.renewed import Fetched

PLACE = "/v1/projects/sandbox/locations/global/publishers/google/models"
EMBEDDER = "gemini-embedding-001"
LONG = {"systemInstruction": {"parts": [{"text": "words " * 6000}]}}


def http(rig: Rig) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(rig.app))


@pytest.fixture
async def client(rig: Rig):
    """A client of the Gemini API, which asks for models at Vertex by their full names."""
    async with http(rig) as inner:
        yield genai.Client(api_key=rig.key, http_options=types.HttpOptions(base_url="http://gateway", httpx_async_client=inner)).aio


@pytest.fixture(params=["token", "key"])
async def clouded(rig: Rig, request):
    """A client of Vertex AI: with the gateway's key in the place of an access token, or of an API key."""
    shown = (
        {"project": "p", "location": "europe-west4", "credentials": Credentials(token=rig.key)} if request.param == "token" else {"api_key": rig.key}
    )
    async with http(rig) as inner:
        options = types.HttpOptions(base_url="http://gateway", httpx_async_client=inner)
        yield genai.Client(vertexai=True, http_options=options, **shown).aio


def arrived(rig: Rig) -> list[tuple[str, str]]:
    return [(item.vendor, item.path) for item in rig.sandbox.requests.items]


@pytest.mark.parametrize("model", [OLD, NEW])
async def test_the_client_chats_whole_and_streamed_with_models_at_vertex(client, rig: Rig, model: str):
    ask_for = {"model": f"vertex/{model}", "contents": "Say hello in 30 words.", "config": {"system_instruction": "Be brief."}}
    whole = await client.models.generate_content(**ask_for)
    chunks = [chunk async for chunk in await client.models.generate_content_stream(**ask_for)]
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text != ""
    assert arrived(rig) == [("vertex", f"{PLACE}/{model}:generateContent"), ("vertex", f"{PLACE}/{model}:streamGenerateContent")]
    assert [item.headers["authorization"] for item in rig.sandbox.requests.items] == ["Bearer sandbox"] * 2
    assert rig.spent() == rig.sandbox.bill.nano_usd > 0


async def test_functions_are_called_until_the_answer_is_there_and_their_signatures_return(client, rig: Rig):
    seen: list[str] = []

    def look(at: str) -> str:
        """Looks at something.

        Args:
            at: what to look at
        """
        seen.append(at)
        return f"saw {at}"

    chat = client.chats.create(model=f"vertex/{NEW}", config=types.GenerateContentConfig(tools=[look]))
    assert (await chat.send_message("Please call look.")).text
    assert seen
    (signed,) = [part for content in sent(rig)["contents"] for part in content["parts"] if "functionCall" in part]
    assert signed["thoughtSignature"]
    assert {vendor for vendor, _ in arrived(rig)} == {"vertex"}
    assert rig.spent() == rig.sandbox.bill.nano_usd


@pytest.mark.parametrize(("method", "query"), FORMS)
async def test_with_edits_off_bytes_pass_untouched_both_ways(rig: Rig, method: str, query: str):
    body = b' { "contents" : [ {"role":"user","parts":{"text" : "Say \\u00e9 in 30 words"}} ],\n "generation_config" : {"top_p" : 1.00} } '
    answer = await ask(rig, f"vertex/{OLD}", body, method, query, headers={"x-edits-off": "all"})
    assert answer.status == 200
    item = rig.sandbox.requests.items[-1]
    assert (item.vendor, item.path, item.query) == ("vertex", f"{PLACE}/{OLD}:{method}", query.removeprefix("?"))
    assert item.body == body
    direct = await call(rig.sandbox, "POST", f"/vertex{item.path}{query}", body, {"authorization": "Bearer sandbox"})
    without_ids = [b"".join(part for part in data.body.split(b'"') if not part.startswith(b"sandbox-")) for data in (answer, direct)]
    assert without_ids[0] == without_ids[1]


async def test_implicit_caching_is_read_and_booked(rig: Rig):
    await ask(rig, f"vertex/{NEW}", {**LONG, **HI})
    answer = await ask(rig, f"vertex/{NEW}", {**LONG, "contents": [{"role": "user", "parts": [{"text": "another"}]}]})
    assert answer.json["usageMetadata"]["cachedContentTokenCount"] > 4096
    assert rig.spent() == rig.sandbox.bill.nano_usd
    assert rig.billed_rows()[-1]["saved_prompt_cache"] > 0


async def test_tokens_are_counted_by_vertex_itself(client, rig: Rig):
    total = (await client.models.count_tokens(model=f"vertex/{OLD}", contents="hello " * 100)).total_tokens
    assert total > 50
    assert arrived(rig) == [("vertex", f"{PLACE}/{OLD}:countTokens")]
    assert rig.spent() == 0


@pytest.mark.parametrize("spelling", ["generateContentRequest", "generate_content_request"])
async def test_a_whole_request_to_be_counted_is_unpacked_as_vertex_takes_none(rig: Rig, spelling: str):
    whole = {**HI, "model": f"models/{OLD}", "tools": [{"functionDeclarations": [LOOK]}], "safetySettings": [], "generation_config": {"topK": 1}}
    answer = await ask(rig, f"vertex/{OLD}", {spelling: whole}, "countTokens")
    assert answer.json["totalTokens"] > 0
    assert sent(rig) == {name: whole[name] for name in ("contents", "tools", "generation_config")}
    assert answer.headers["x-tokenrouter-dropped"] == "generateContentRequest.safetySettings"
    more = await ask(rig, f"vertex/{OLD}", {spelling: {**whole, "systemInstruction": {"parts": [{"text": "Be brief."}]}}}, "countTokens")
    assert more.json["totalTokens"] > answer.json["totalTokens"]


async def test_prompts_of_other_dialects_are_counted_there_too(rig: Rig):
    tools = [{"name": "look", "input_schema": LOOK["parametersJsonSchema"]}]
    body = {"model": f"vertex/{OLD}", "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
    forced = {**body, "tool_choice": {"type": "any"}}
    headers = {"x-api-key": rig.key, "anthropic-version": "2023-06-01"}
    for asked, dropped in ((body, None), (forced, "tool_choice")):
        answer = await call(rig.app, "POST", "/v1/messages/count_tokens", json.dumps(asked).encode(), headers)
        assert answer.json["input_tokens"] > 0
        assert answer.headers.get("x-tokenrouter-dropped") == dropped
        assert set(sent(rig)) == {"systemInstruction", "tools", "contents"}
    assert arrived(rig)[-1] == ("vertex", f"{PLACE}/{OLD}:countTokens")


async def test_vectors_are_made_at_vertex_and_booked(client, rig: Rig):
    options = {"output_dimensionality": 8}
    one = await client.models.embed_content(model=f"vertex/{EMBEDDER}", contents="hi", config=options)
    two = await client.models.embed_content(model=f"vertex/{EMBEDDER}", contents=["hi", "ho"], config=options)
    assert [len(vector.values) for vector in two.embeddings] == [8, 8]
    assert two.embeddings[0].values == one.embeddings[0].values != two.embeddings[1].values
    assert {vendor for vendor, _ in arrived(rig)} == {"vertex"}
    assert rig.spent() == rig.sandbox.bill.nano_usd > 0


async def test_vectors_for_clients_of_other_dialects_say_what_they_are_for_where_vertex_reads_it(rig: Rig):
    body = {"model": f"vertex/{EMBEDDER}", "input": ["hi", "ho"], "dimensions": 8, "user": "u"}
    answer = await call(rig.app, "POST", "/v1/embeddings", json.dumps(body).encode(), {"authorization": f"Bearer {rig.key}"})
    assert [len(row["embedding"]) for row in answer.json["data"]] == [8, 8]
    assert arrived(rig) == [("vertex", f"{PLACE}/{EMBEDDER}:batchEmbedContents")]
    assert [one["embedContentConfig"] for one in sent(rig)["requests"]] == [{"outputDimensionality": 8}] * 2
    assert answer.headers["x-tokenrouter-dropped"] == "user"
    assert rig.spent() == rig.sandbox.bill.nano_usd > 0


@pytest.mark.parametrize("model", [OLD, NEW])
async def test_clients_of_vertex_are_at_home_here(clouded, rig: Rig, model: str):
    config = types.GenerateContentConfig(system_instruction="Be brief.", labels={"team": "x"})
    whole = await clouded.models.generate_content(model=model, contents="Say hello in 30 words.", config=config)
    chunks = [chunk async for chunk in await clouded.models.generate_content_stream(model=model, contents="Say hello in 30 words.", config=config)]
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text != ""
    counted = await clouded.models.count_tokens(model=model, contents="hello " * 100, config={"system_instruction": "Be brief."})
    assert counted.total_tokens > 50
    for contents in ("hi", ["hi", "ho"]):
        made = await clouded.models.embed_content(model=EMBEDDER, contents=contents, config={"output_dimensionality": 8})
        assert {len(vector.values) for vector in made.embeddings} == {8}
    with pytest.raises(errors.ClientError) as caught:
        await clouded.models.generate_content(model="nobody-1", contents="x")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    assert rig.spent() == rig.sandbox.bill.nano_usd


async def test_clients_of_vertex_reach_other_vendors(clouded, rig: Rig):
    for model in ("gpt-4.1", "claude-haiku-4-5"):
        assert (await clouded.models.generate_content(model=model, contents="Say hello in 30 words.")).text
    assert [vendor for vendor, _ in arrived(rig)] == ["openai", "anthropic"]


async def test_errors_of_vertex_pass_as_they_are_and_its_refused_token_does_not(client, rig: Rig):
    rig.sandbox.fault(Fault(kind="status", status=429, message="quota", vendor="vertex"))
    with pytest.raises(errors.ClientError, match="quota") as caught:
        await client.models.generate_content(model=f"vertex/{OLD}", contents="x")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    rig.sandbox.fault(Fault(kind="status", status=401, vendor="vertex"))
    answer = await ask(rig, f"vertex/{OLD}", HI)
    assert (answer.status, answer.error["status"]) == (502, "UNAVAILABLE")
    assert rig.billed_rows()[-1]["settled"] == "void"


async def test_a_token_is_fetched_once_and_shown_as_a_bearer(rig: Rig, monkeypatch):
    """With a key file instead of a token: `google-auth` fetches one."""
    fetched: list[str] = []

    def source(deployment, clock):
        fetched.append(deployment.credential["GOOGLE_APPLICATION_CREDENTIALS"].reveal())
        return lambda: Fetched("ya29.fetched", 300.0, 330.0)

    monkeypatch.setattr("tokenrouter.upstream.credentials.access_token", source)
    catalog = rig.services.catalog
    (deployment,) = catalog.resolve(f"vertex/{OLD}").deployments
    with_file = structs.replace(deployment, api_key=Secret(""), credential={"GOOGLE_APPLICATION_CREDENTIALS": Secret("/keys/own.json")})
    monkeypatch.setitem(catalog._deployments, "vertex", (with_file,))
    catalog._resolved.clear()
    for method in ("generateContent", "countTokens"):
        assert (await ask(rig, f"vertex/{OLD}", HI, method)).status == 200
    assert {item.headers["authorization"] for item in rig.sandbox.requests.items} == {"Bearer ya29.fetched"}
    assert fetched == ["/keys/own.json"]
