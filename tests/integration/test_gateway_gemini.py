"""Gemini's clients before the whole gateway, and Gemini behind it; asked by the official client wherever it can ask."""

import base64
import json
from functools import partial

import httpx
import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel
from rig import Rig, call

from tokenrouter.adapters.wire.gemini import SKIP_SIGNATURE, GeminiEventDecoder
from tokenrouter.clock import ManualClock
from tokenrouter.model.answer import fold
from tokenrouter.sandbox.answers import Scripted, ToolCall
from tokenrouter.sandbox.faults import Fault

OLD, NEW = "gemini-2.5-pro", "gemini-3.6-flash"
NATIVE = [OLD, NEW]
ANYWHERE = [*NATIVE, "gpt-4.1", "claude-haiku-4-5", "anthropic/claude-opus-4-8", "deepseek-chat"]
HI = {"contents": [{"role": "user", "parts": [{"text": "Say hello in 30 words."}]}]}
COLD = {**HI, "generationConfig": {"temperature": 0}}
FORMS = [("generateContent", ""), ("streamGenerateContent", "?alt=sse"), ("streamGenerateContent", "")]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(200, 256))).decode()
LOOK = {
    "name": "look",
    "description": "Looks.",
    "parametersJsonSchema": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
}


@pytest.fixture
def clock() -> ManualClock:
    """Noon in UTC: DeepSeek's lower prices at night are not simulated."""
    return ManualClock(1_700_049_600_000_000_000)


@pytest.fixture
async def client(rig: Rig):
    http = httpx.AsyncClient(transport=httpx.ASGITransport(rig.app))
    yield genai.Client(api_key=rig.key, http_options=types.HttpOptions(base_url="http://gateway", httpx_async_client=http)).aio
    await http.aclose()


async def ask(rig: Rig, model: str, body, method: str = "generateContent", query: str = "", *, key=None, **more):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"x-goog-api-key": key or rig.key, **more.pop("headers", {})}
    return await call(rig.app, "POST", f"/v1beta/models/{model}:{method}{query}", raw, headers, **more)


def sent(rig: Rig) -> dict:
    return json.loads(rig.sandbox.requests.items[-1].body)


def path(rig: Rig) -> str:
    return rig.sandbox.requests.items[-1].path


def said(answer, method: str, query: str):
    """The answer, whatever its form."""
    framing = "array" if method.startswith("stream") and not query else ""
    if not method.startswith("stream"):
        decoder, data = GeminiEventDecoder(), b"data: " + answer.body + b"\r\n\r\n"
    else:
        decoder, data = GeminiEventDecoder(framing), answer.body
    folded = fold([*decoder.feed(data), *decoder.finish()])
    (choice,) = folded.choices
    return choice.text, [(one.name, json.loads(one.arguments)) for one in choice.tool_calls], choice.stop, folded.usage


def text_of(chunks) -> str:
    return "".join(chunk.text or "" for chunk in chunks)


# the official client


@pytest.mark.parametrize("model", ANYWHERE)
async def test_the_client_chats_whole_and_streamed_and_says_the_same(client, rig: Rig, model: str):
    config = types.GenerateContentConfig(system_instruction="Be brief.", temperature=0.5, top_p=1.0, max_output_tokens=200)
    whole = await client.models.generate_content(model=model, contents="Say hello in 30 words.", config=config)
    assert whole.text
    assert whole.candidates[0].finish_reason == types.FinishReason.STOP
    usage = whole.usage_metadata
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count + (usage.thoughts_token_count or 0)
    chunks = [chunk async for chunk in await client.models.generate_content_stream(model=model, contents="Say hello in 30 words.", config=config)]
    assert text_of(chunks) == whole.text
    assert chunks[-1].usage_metadata.candidates_token_count == usage.candidates_token_count
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert rig.spent() == rig.sandbox.bill.nano_usd


@pytest.mark.parametrize("model", ANYWHERE)
async def test_a_chat_of_several_turns_grows_by_what_was_said(client, rig: Rig, model: str):
    chat = client.chats.create(model=model, config=types.GenerateContentConfig(system_instruction="Be brief."))
    for turn in range(3):
        if turn == 1:
            answer = text_of([chunk async for chunk in await chat.send_message_stream(f"question {turn}")])
        else:
            answer = (await chat.send_message(f"question {turn}")).text
        assert answer
    assert len(chat.get_history(curated=True)) == 6 or len({content.role for content in chat.get_history()}) == 2
    assert rig.spent() == rig.sandbox.bill.nano_usd


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ANYWHERE)
async def test_functions_are_called_by_the_client_itself_until_the_answer_is_there(client, rig: Rig, model: str, stream: bool):
    seen: list[str] = []

    def look(at: str) -> str:
        """Looks at something.

        Args:
            at: what to look at
        """
        seen.append(at)
        return f"saw {at}"

    chat = client.chats.create(model=model, config=types.GenerateContentConfig(tools=[look]))
    if stream:
        answer = text_of([chunk async for chunk in await chat.send_message_stream("Please call look.")])
    else:
        answer = (await chat.send_message("Please call look.")).text
    assert answer
    assert seen
    assert len(rig.sandbox.requests.items) >= 2
    assert rig.spent() == rig.sandbox.bill.nano_usd


async def test_thought_signatures_come_and_go_untouched(client, rig: Rig):
    tools = [types.Tool(function_declarations=[types.FunctionDeclaration(name="look", parameters_json_schema=LOOK["parametersJsonSchema"])])]
    config = types.GenerateContentConfig(tools=tools, automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))
    contents = [types.Content(role="user", parts=[types.Part(text="Please call look.")])]
    answer = await client.models.generate_content(model=NEW, contents=contents, config=config)
    (function_call,) = answer.function_calls
    part = answer.candidates[0].content.parts[0]
    assert part.thought_signature
    back = types.Part(function_response=types.FunctionResponse(id=function_call.id, name="look", response={"output": "a door"}))
    contents += [answer.candidates[0].content, types.Content(role="user", parts=[back])]
    assert (await client.models.generate_content(model=NEW, contents=contents, config=config)).text
    assert base64.urlsafe_b64decode(sent(rig)["contents"][1]["parts"][0]["thoughtSignature"]) == part.thought_signature
    part.thought_signature = None
    with pytest.raises(errors.ClientError, match="thought_signature"):
        await client.models.generate_content(model=NEW, contents=contents, config=config)


class Person(BaseModel):
    name: str
    age: int


@pytest.mark.parametrize("model", [*NATIVE, "gpt-4.1", "claude-opus-4-8"])
async def test_structured_output_is_parsed(client, model: str):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Person)
    answer = await client.models.generate_content(model=model, contents="Ada is 36", config=config)
    assert isinstance(answer.parsed, Person)


@pytest.mark.parametrize("model", [*NATIVE, "gpt-4o", "claude-haiku-4-5"])
async def test_pictures_of_the_client_arrive(client, rig: Rig, model: str):
    """The client writes base64 in the alphabet for URLs, which other vendors refuse."""
    picture = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
    assert (await client.models.generate_content(model=model, contents=["look", picture])).text
    body = rig.sandbox.requests.items[-1].body.decode()
    assert (PNG in body) == (model not in NATIVE)
    assert (PNG.replace("+", "-").replace("/", "_") in body) == (model in NATIVE)


@pytest.mark.parametrize("model", ANYWHERE)
async def test_tokens_are_counted_for_nothing(client, rig: Rig, model: str):
    totals = {(await client.models.count_tokens(model=model, contents="hello " * 100)).total_tokens for _ in range(2)}
    assert len(totals) == 1
    assert min(totals) > 50
    assert len(rig.sandbox.requests.items) <= 1, "the same prompt is counted once"
    assert rig.spent() == 0


@pytest.mark.parametrize("model", ["gemini-embedding-001", "openai/text-embedding-3-small"])
async def test_vectors_are_made_and_booked(client, rig: Rig, model: str):
    one = await client.models.embed_content(model=model, contents="hi", config={"output_dimensionality": 8})
    two = await client.models.embed_content(model=model, contents=["hi", "ho"], config={"output_dimensionality": 8})
    assert len(one.embeddings[0].values) == 8
    assert two.embeddings[0].values == one.embeddings[0].values != two.embeddings[1].values
    assert rig.spent() == rig.sandbox.bill.nano_usd > 0


@pytest.mark.parametrize("method", ["embedContent", "batchEmbedContents"])
async def test_vectors_without_usage_are_booked_by_an_estimate(rig: Rig, method: str):
    one = {"content": {"parts": [{"text": "some words to embed"}]}}
    rig.sandbox.fault(Fault(kind="no_usage"))
    answer = await ask(rig, "gemini-embedding-001", one if method == "embedContent" else {"requests": [one]}, method)
    assert "usageMetadata" not in answer.json
    (row,) = rig.billed_rows()
    assert row["settled"] == "estimated"
    assert row["cost"] >= rig.sandbox.bill.nano_usd > 0


async def test_the_same_text_is_embedded_once(rig: Rig):
    body = {"content": {"parts": [{"text": "some words"}]}}
    answers = [await ask(rig, "gemini-embedding-001", body, "embedContent") for _ in range(2)]
    batch = await ask(rig, "gemini-embedding-001", {"requests": [body]}, "batchEmbedContents")
    assert [one.cache for one in (*answers, batch)] == ["miss", "hit", "miss"]
    assert answers[0].body == answers[1].body


async def test_models_are_listed_as_the_client_knows_them(client, rig: Rig):
    listed = [model async for model in await client.models.list()]
    assert {"models/gpt-4.1", f"models/{NEW}"} <= {model.name for model in listed}
    one = await client.models.get(model=NEW)
    assert (one.name, one.output_token_limit) == (f"models/{NEW}", 65536)
    assert "generateContent" in one.supported_actions
    with pytest.raises(errors.ClientError) as caught:
        await client.models.get(model="nobody")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


async def test_models_come_in_pages_where_pages_are_asked_for(client, rig: Rig):
    every = [model.name async for model in await client.models.list()]
    paged = [model.name async for model in await client.models.list(config={"page_size": 3})]
    assert paged == every
    assert len(every) > 9
    page = (await call(rig.app, "GET", "/v1beta/models?pageSize=3&pageToken=3", b"", {"x-goog-api-key": rig.key})).json
    assert [model["name"] for model in page["models"]] == every[3:6]
    for query in ("pageSize=x", "pageSize=-1", "pageToken=9999999999"):
        answer = await call(rig.app, "GET", f"/v1beta/models?{query}", b"", {"x-goog-api-key": rig.key})
        assert (answer.status, answer.error["status"]) == (400, "INVALID_ARGUMENT")
    assert (await call(rig.app, "GET", "/v1beta/models?pageToken=9999", b"", {"x-goog-api-key": rig.key})).json == {"models": []}


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
async def test_the_key_in_the_query_lists_models_too(rig: Rig, version: str):
    for path in (f"/{version}/models", f"/{version}/models/{NEW}"):
        answer = await call(rig.app, "GET", f"{path}?key={rig.key}")
        assert answer.status == 200, answer.body
        assert "models" in answer.json or answer.json["name"] == f"models/{NEW}"


async def test_a_model_that_is_not_listed_is_shown_where_it_can_be_called(client, rig: Rig):
    for name in ("gemini-2.5-flash-preview-09-2025", "vertex/gemini-2.5-flash", "openai/gpt-4.1-2025-04-14"):
        found = await client.models.get(model=name)
        assert found.name == f"models/{name.rpartition('/')[2]}"
    assert (await client.models.get(model="gemini-embedding-001")).supported_actions == ["embedContent", "batchEmbedContents"]
    for name in ("nobody/x", "openai/gpt-unpriced-42"):
        with pytest.raises(errors.ClientError) as caught:
            await client.models.get(model=name)
        assert caught.value.code == 404


async def test_a_key_sees_the_models_that_it_may_use(rig: Rig):
    key = rig.new_key("narrow", models=(NEW,))
    for headers, names in (
        ({"x-goog-api-key": key}, [f"models/{NEW}"]),
        ({"authorization": f"Bearer {key}"}, [NEW]),
        ({"x-api-key": key, "anthropic-version": "2023-06-01"}, [NEW]),
    ):
        listed = (await call(rig.app, "GET", "/v1/models", b"", headers)).json
        assert [model.get("name", model.get("id")) for model in listed.get("models", listed.get("data"))] == names
        one = (await call(rig.app, "GET", f"/v1/models/{NEW}", b"", headers)).json
        assert one.get("name", one.get("id")) == names[0]
        assert (await call(rig.app, "GET", f"/v1/models/{OLD}", b"", headers)).status == 404


async def test_errors_are_the_ones_that_the_client_knows(rig: Rig, client):
    nobodys = types.Content(role="system", parts=[types.Part(text="x")])
    for model, contents, status, word in (("nobody-1", "x", 404, "NOT_FOUND"), (NEW, [nobodys], 400, "INVALID_ARGUMENT")):
        with pytest.raises(errors.ClientError) as caught:
            await client.models.generate_content(model=model, contents=contents)
        assert (caught.value.code, caught.value.status) == (status, word)
    for model in (NEW, "gpt-4.1"):
        rig.sandbox.fault(Fault(kind="status", status=503, message="too busy"))
        with pytest.raises(errors.ServerError, match="too busy") as failed:
            await client.models.generate_content(model=model, contents="x")
        assert (failed.value.code, failed.value.status) == (503, "UNAVAILABLE")


async def gather_stream(client, model: str, seen: list) -> None:
    async for chunk in await client.models.generate_content_stream(model=model, contents="Say hello in 30 words."):
        seen.append(chunk)


@pytest.mark.parametrize("model", ANYWHERE)
async def test_a_stream_that_breaks_raises_in_the_client(rig: Rig, client, model: str):
    for kind in ("truncate", "error_event", "bad_json"):
        rig.sandbox.fault(Fault(kind=kind, after=3))
        seen = []
        with pytest.raises(errors.APIError):
            await gather_stream(client, model, seen)
        assert all(chunk.candidates[0].finish_reason is None for chunk in seen)


# the native lane


@pytest.mark.parametrize(("method", "query"), FORMS)
@pytest.mark.parametrize("model", NATIVE)
async def test_with_edits_off_bytes_pass_untouched_both_ways(rig: Rig, model: str, method: str, query: str):
    body = b' { "contents" : [ {"parts":{"text" : "Say \\u00e9 in 30 words"}} ],\n "generation_config" : {"top_p" : 1.00} } '
    answer = await ask(rig, model, body, method, query, headers={"x-edits-off": "all"})
    assert answer.status == 200
    item = rig.sandbox.requests.items[-1]
    assert item.body == body
    assert (item.vendor, item.path, item.query) == ("gemini", f"/v1beta/models/{model}:{method}", query.removeprefix("?"))
    assert (answer.headers["x-tokenrouter-edits"], "x-tokenrouter-dropped" in answer.headers) == ("none", False)
    direct = await call(rig.sandbox, "POST", f"/gemini{item.path}{query}", body, {"x-goog-api-key": "sandbox"})
    strip = lambda data: b"".join(part for part in data.split(b'"') if not part.startswith(b"sandbox-"))  # noqa: E731  # ids count requests
    assert strip(answer.body) == strip(direct.body)
    assert answer.headers["content-type"].split(";")[0] == direct.headers["content-type"].split(";")[0]


@pytest.mark.parametrize(("method", "query"), FORMS)
async def test_unknown_fields_go_up_and_the_vendors_own_words_on_them_come_back_to_the_byte(rig: Rig, method: str, query: str):
    body = b'{"contents":[{"parts":[{"text":"hi"}]}], "fieldToCome" : {"a":[1.0, null]}}'
    answer = await ask(rig, OLD, body, method, query)
    item = rig.sandbox.requests.items[-1]
    direct = await call(rig.sandbox, "POST", f"/gemini{item.path}{query}", body, {"x-goog-api-key": "sandbox"})
    assert item.body == body
    assert (answer.status, answer.body) == (400, direct.body)
    assert b"fieldToCome" in answer.body
    assert rig.billed_rows()[-1]["settled"] == "void"


async def test_the_key_may_stand_in_the_query_and_never_goes_up(rig: Rig):
    raw = json.dumps(HI).encode()
    more = "access_token=ya29.x&oauth_token=ya29.y&prettyPrint=false"
    answer = await call(rig.app, "POST", f"/v1beta/models/{OLD}:streamGenerateContent?alt=sse&key={rig.key}&{more}", raw)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    item = rig.sandbox.requests.items[-1]
    assert rig.key not in json.dumps([item.path, item.headers, item.body.decode()])
    assert item.query == "alt=sse&prettyPrint=false"
    assert (await call(rig.app, "POST", f"/v1beta/models/{OLD}:generateContent", raw)).error["status"] == "UNAUTHENTICATED"


async def test_a_vendor_in_the_path_is_resolved_and_a_body_that_repeats_the_name_follows(rig: Rig):
    answer = await ask(rig, f"gemini/{OLD}", {**HI, "model": f"models/{OLD}"})
    assert answer.headers["x-tokenrouter-edits"] == "model.name"
    assert path(rig).endswith(f"/models/{OLD}:generateContent")
    assert (await ask(rig, OLD, {**HI, "model": "models/another"})).error["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "tools", [[{"functionDeclarations": [{"name": "b"}, {"name": "a"}]}], {"function_declarations": [{"name": "b"}, {"name": "a"}]}]
)
async def test_functions_are_sorted_in_their_place(rig: Rig, tools):
    answer = await ask(rig, OLD, {**HI, "tools": tools})
    assert answer.headers["x-tokenrouter-edits"] == "tools.order"
    (entry,) = sent(rig)["tools"]
    (functions,) = entry.values()
    assert [function["name"] for function in functions] == ["a", "b"]
    assert list(entry) == list(tools[0] if isinstance(tools, list) else tools)


async def test_functions_in_several_entries_are_one_list_in_one_order(rig: Rig):
    answer = await ask(rig, OLD, {**HI, "tools": [{"functionDeclarations": [{"name": "b"}]}, {"function_declarations": [{"name": "a"}]}]})
    assert answer.headers["x-tokenrouter-edits"] == "tools.order"
    assert sent(rig)["tools"] == [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]
    beside_code = [{"functionDeclarations": [{"name": "b"}, {"name": "a"}]}, {"codeExecution": {}}]
    await ask(rig, OLD, {**HI, "tools": beside_code})
    assert sorted(sent(rig)["tools"], key=str) == sorted(beside_code, key=str)


async def test_marks_on_functions_reach_a_vendor_that_takes_them_at_the_same_function(rig: Rig):
    mark = {"cache_control": {"type": "ephemeral"}}
    long = {"description": "words " * 3000, "parametersJsonSchema": LOOK["parametersJsonSchema"]}
    tools = [{"functionDeclarations": [{"name": "a", **long}, {"name": "b", **long, **mark}]}, {"functionDeclarations": [{"name": "c", **long}]}]
    answer = await ask(rig, "claude-opus-4-8", {**HI, "tools": tools}, headers={"x-edits-off": "marks.plan"})
    assert answer.status == 200, answer.body
    assert {tool["name"]: "cache_control" in tool for tool in sent(rig)["tools"]} == {"a": False, "b": True, "c": False}


MARK = {"cache_control": {"type": "ephemeral"}}
MARKED = {"functionDeclarations": [{**LOOK, **MARK}]}


@pytest.mark.parametrize("tools", [[MARKED], [{"codeExecution": {}}, {**MARKED, **MARK}]])
async def test_marks_of_other_vendors_and_our_own_fields_are_taken_out(rig: Rig, tools):
    mark = MARK
    body = {
        "systemInstruction": {"parts": [{"text": "Be brief.", **mark}]},
        "contents": [{"role": "user", "parts": [{"text": "hi", **mark}]}],
        "tools": tools,
        "x-metadata": True,
    }
    answer = await ask(rig, OLD, body)
    assert answer.status == 200
    assert answer.headers["x-tokenrouter-edits"] == "marks.plan,extensions.strip"
    assert b"cache_control" not in rig.sandbox.requests.items[-1].body
    assert answer.json["x_tokenrouter"]["settled"] == "exact"
    assert sent(rig)["systemInstruction"] == {"parts": [{"text": "Be brief."}]}


@pytest.mark.parametrize("form", ["parts", "text"])
async def test_known_lines_of_clients_do_not_reach_this_vendor(rig: Rig, form: str):
    line = "x-anthropic-billing-header: cc_version=1;\n"
    system = {"parts": [{"text": line}, {"text": f"{line}Be brief."}]}
    answer = await ask(rig, OLD, {**HI, "system_instruction": system})
    assert answer.headers["x-tokenrouter-edits"] == "volatile.known"
    assert sent(rig)["system_instruction"] == {"parts": [{"text": "Be brief."}]}


@pytest.mark.parametrize(("method", "query"), FORMS)
async def test_implicit_caching_is_read_and_booked(rig: Rig, method: str, query: str):
    body = {"systemInstruction": {"parts": [{"text": "words " * 6000}]}, **HI}
    await ask(rig, NEW, body, method, query)
    answer = await ask(rig, NEW, {**body, "contents": [{"parts": [{"text": "another"}]}]}, method, query)
    assert said(answer, method, query)[3].cache_read > 4096
    assert rig.spent() == rig.sandbox.bill.nano_usd
    assert rig.billed_rows()[-1]["saved_prompt_cache"] > 0


@pytest.mark.parametrize(("method", "query"), FORMS)
@pytest.mark.parametrize("model", ANYWHERE)
async def test_own_figures_come_in_every_form(rig: Rig, model: str, method: str, query: str):
    answer = await ask(rig, model, HI, method, query, headers={"x-metadata": "true"})
    documents = answer.events if query else answer.json if method.startswith("stream") else [answer.json]
    (figures,) = [document["x_tokenrouter"] for document in documents if "x_tokenrouter" in document]
    assert figures["settled"] == "exact"


# every form of every model


@pytest.mark.parametrize("model", ANYWHERE)
async def test_all_forms_say_the_same(rig: Rig, model: str):
    tools = {"tools": [{"functionDeclarations": [LOOK]}], "contents": [{"role": "user", "parts": [{"text": "call look"}]}]}
    for body in (HI, {**HI, **tools}):
        answers = [said(await ask(rig, model, body, method, query), method, query) for method, query in FORMS]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][0] or answers[0][1]
    assert rig.spent() == rig.sandbox.bill.nano_usd


@pytest.mark.parametrize("kept", FORMS)
@pytest.mark.parametrize("model", [NEW, "claude-sonnet-4-5"])
async def test_a_kept_answer_is_given_in_every_form(rig: Rig, model: str, kept):
    first = await ask(rig, model, COLD, *kept)
    for method, query in FORMS:
        second = await ask(rig, model, COLD, method, query)
        assert second.cache == "hit"
        assert said(second, method, query)[:3] == said(first, *kept)[:3]
        assert (second.body == first.body) == ((method, query) == kept)
    assert rig.sandbox.requests.seen == 1


async def test_two_spellings_are_one_question(rig: Rig):
    camel = {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [{"role": "user", "parts": [{"text": "x"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]}],
        "generationConfig": {"temperature": 0, "maxOutputTokens": 5000},
    }
    snake = {
        "generation_config": {"max_output_tokens": 5000, "temperature": 0.0},
        "contents": [{"parts": [{"text": "x"}, {"inline_data": {"data": PNG, "mime_type": "image/png"}}], "role": "user"}],
        "system_instruction": {"role": "system", "parts": [{"text": "s"}]},
    }
    assert [(await ask(rig, OLD, body)).cache for body in (camel, snake)] == ["miss", "hit"]


@pytest.mark.parametrize(
    "change",
    [
        {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]},
        {"generationConfig": {"temperature": 0, "topK": 2}},
        {"generationConfig": {"temperature": 0, "thinkingConfig": {"includeThoughts": True}}},
        {"systemInstruction": {"parts": [{"text": "Say hello in 30 words."}]}},
        {"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}},
        {"tools": [{"functionDeclarations": [{"name": "a"}]}]},
        {"contents": [{"parts": [{"text": "Say hello in 30 words."}]}]},
    ],
)
async def test_what_may_change_the_answer_is_another_question(rig: Rig, change):
    assert (await ask(rig, OLD, COLD)).cache == "miss"
    assert (await ask(rig, OLD, {**COLD, **change})).cache in ("miss", "bypass")


async def test_only_deterministic_questions_are_kept(rig: Rig):
    for config in ({}, {"generationConfig": {"temperature": 0.1}}):
        assert [(await ask(rig, OLD, {**HI, **config})).cache for _ in range(2)] == ["bypass", "bypass"]
    seeded = {**HI, "generationConfig": {"seed": 7}}
    assert [(await ask(rig, OLD, seeded)).cache for _ in range(2)] == ["miss", "hit"]


# translation both ways


@pytest.mark.parametrize("model", ["claude-opus-4-8", "claude-haiku-4-5"])
async def test_another_vendors_signed_thoughts_survive_a_gemini_client(rig: Rig, client, model: str):
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(thinking_budget=2048, include_thoughts=True), max_output_tokens=8000)
    for stream in (False, True):
        chat = client.chats.create(model=model, config=config)
        for turn in range(2):
            if stream:
                answer = [chunk async for chunk in await chat.send_message_stream(f"think about {turn}")]
                parts = [part for chunk in answer for part in chunk.candidates[0].content.parts]
            else:
                parts = (await chat.send_message(f"think about {turn}")).candidates[0].content.parts
        assert any(part.thought for part in parts)
        assert all(part.text is not None for part in parts if part.thought)
        replayed = [block for message in sent(rig)["messages"] if message["role"] == "assistant" for block in message["content"]]
        assert replayed[0]["type"] == "thinking"
        assert replayed[0]["signature"]


async def test_a_conversation_moves_from_claude_to_gemini_and_back(rig: Rig):
    """Sealed thoughts stay at home, and calls that nobody signed are said to be such."""
    tools = [{"functionDeclarations": [LOOK]}]
    config = {"thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": True}, "maxOutputTokens": 8000}
    contents = [{"role": "user", "parts": [{"text": "Please call look."}]}]
    answer = (await ask(rig, "claude-opus-4-8", {"contents": contents, "tools": tools, "generationConfig": config})).json
    turn = answer["candidates"][0]["content"]
    (function_call,) = [part for part in turn["parts"] if "functionCall" in part]
    assert function_call["thoughtSignature"] == SKIP_SIGNATURE
    back = {"functionResponse": {"id": function_call["functionCall"]["id"], "name": "look", "response": {"output": "a door"}}}
    contents += [turn, {"role": "user", "parts": [back]}]
    moved = await ask(rig, NEW, {"contents": contents, "tools": tools})
    assert moved.status == 200, moved.body
    assert [set(part) for part in sent(rig)["contents"][1]["parts"] if "functionCall" not in part] == []
    assert moved.headers["x-tokenrouter-dropped"] == "contents.parts.thoughtSignature"
    contents += [moved.json["candidates"][0]["content"], {"role": "user", "parts": [{"text": "and now?"}]}]
    again = await ask(rig, "claude-opus-4-8", {"contents": contents, "tools": tools, "generationConfig": config})
    assert again.status == 200, again.body
    blocks = [block["type"] for message in sent(rig)["messages"] if message["role"] == "assistant" for block in message["content"]]
    assert blocks[:2] == ["thinking", "tool_use"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_client_that_drops_signatures_runs_a_tool_loop(rig: Rig, stream: bool):
    tool = {"type": "function", "function": {"name": "look", "parameters": LOOK["parametersJsonSchema"]}}
    messages = [{"role": "user", "content": "Please call look."}]
    answer = await rig.chat({"model": "gemini-3.6-flash", "messages": messages, "tools": [tool], "stream": stream})
    assert path(rig).startswith("/v1beta/models/")
    if stream:
        deltas = [choice["delta"] for event in answer.events if event != "[DONE]" for choice in event["choices"]]
        pieces = [call for delta in deltas for call in delta.get("tool_calls", ())]
        function = {"name": "look", "arguments": "".join(piece["function"].get("arguments", "") for piece in pieces)}
        calls = [{"id": pieces[0]["id"], "type": "function", "function": function}]
    else:
        calls = [{name: call[name] for name in ("id", "type", "function")} for call in answer.json["choices"][0]["message"]["tool_calls"]]
    messages += [{"role": "assistant", "content": None, "tool_calls": calls}]
    messages += [{"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in calls]
    answer = await rig.chat({"model": "gemini-3.6-flash", "messages": messages, "tools": [tool], "stream": stream})
    assert answer.status == 200, answer.body
    assert b"thoughtSignature" in rig.sandbox.requests.items[-1].body
    assert b"skip_thought_signature_validator" not in rig.sandbox.requests.items[-1].body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", NATIVE)
async def test_a_messages_client_runs_a_tool_loop_against_gemini(rig: Rig, model: str, stream: bool):
    tools = [{"name": "look", "input_schema": LOOK["parametersJsonSchema"]}]
    messages = [{"role": "user", "content": "Please call look."}]
    headers = {"x-api-key": rig.key, "anthropic-version": "2023-06-01"}
    for turn in range(2):
        body = {"model": f"gemini/{model}", "max_tokens": 500, "system": "Be brief.", "tools": tools, "messages": messages, "stream": stream}
        answer = await call(rig.app, "POST", "/v1/messages", json.dumps(body).encode(), headers)
        assert answer.status == 200, answer.body
        if turn:
            break
        assert path(rig).endswith("streamGenerateContent" if stream else "generateContent")
        if stream:
            starts = [event["content_block"] for event in answer.events if event["type"] == "content_block_start"]
            deltas = "".join(event["delta"].get("partial_json", "") for event in answer.events if event["type"] == "content_block_delta")
            content = [{**block, "input": json.loads(deltas)} if block["type"] == "tool_use" else block for block in starts]
            content = [block for block in content if block["type"] in ("tool_use", "thinking", "redacted_thinking")]
            for block in content:
                signatures = [e["delta"]["signature"] for e in answer.events if e.get("delta", {}).get("type") == "signature_delta"]
                if block["type"] == "thinking":
                    block["signature"] = "".join(signatures)
        else:
            content = answer.json["content"]
        (used,) = [block for block in content if block["type"] == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": used["id"], "content": "a door"}
        messages += [{"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    replayed = sent(rig)["contents"]
    assert [content["role"] for content in replayed] == ["user", "model", "user"]
    signature = next(part for part in replayed[1]["parts"] if "functionCall" in part).get("thoughtSignature")
    assert (signature is not None and signature != SKIP_SIGNATURE) == (model == NEW)
    assert replayed[2]["parts"][0]["functionResponse"]["response"] == {"output": "a door"}
    assert rig.spent() == rig.sandbox.bill.nano_usd


TOOL_CHAT = {"type": "function", "function": {"name": "look", "parameters": LOOK["parametersJsonSchema"]}}
ASKED = {"role": "user", "content": "Please call look."}


async def through_chat(rig: Rig, model: str, *, bare: bool) -> None:
    path = "/v1/chat/completions"
    message = (await post(rig, path, {"model": model, "tools": [TOOL_CHAT], "messages": [ASKED]}))["choices"][0]["message"]
    if bare:  # what most clients keep
        calls = [{name: one[name] for name in ("id", "type", "function")} for one in message["tool_calls"]]
        message = {"role": "assistant", "content": message["content"], "tool_calls": calls}
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "a door"}
    await post(rig, path, {"model": model, "tools": [TOOL_CHAT], "messages": [ASKED, message, result]})


async def through_ollama(rig: Rig, model: str) -> None:
    fields = {"model": model, "tools": [TOOL_CHAT], "stream": False}
    message = (await post(rig, "/api/chat", {**fields, "messages": [ASKED]}))["message"]
    await post(rig, "/api/chat", {**fields, "messages": [ASKED, message, {"role": "tool", "tool_name": "look", "content": "a door"}]})


async def through_responses(rig: Rig, model: str) -> None:
    fields = {"model": model, "tools": [{"type": "function", **TOOL_CHAT["function"]}], "store": False, "include": ["reasoning.encrypted_content"]}
    output = (await post(rig, "/v1/responses", {**fields, "input": [ASKED]}))["output"]
    (made,) = [item for item in output if item["type"] == "function_call"]
    result = {"type": "function_call_output", "call_id": made["call_id"], "output": "a door"}
    await post(rig, "/v1/responses", {**fields, "input": [ASKED, *output, result]})


async def post(rig: Rig, path: str, fields: dict):
    answer = await call(rig.app, "POST", path, json.dumps(fields).encode(), {"authorization": f"Bearer {rig.key}"})
    assert answer.status == 200, answer.body
    return answer.json


THROUGH = {
    "chat": partial(through_chat, bare=False),
    "chat, as most clients keep it": partial(through_chat, bare=True),
    "ollama": through_ollama,
    "responses": through_responses,
}


@pytest.mark.parametrize("way", THROUGH)
@pytest.mark.parametrize("vendor", ["gemini", "vertex"])
async def test_a_signature_returns_to_its_call_through_every_other_dialect(rig: Rig, vendor: str, way: str):
    await THROUGH[way](rig, f"{vendor}/{NEW}")
    asked, replayed = rig.sandbox.requests.items
    (part,) = [part for content in json.loads(replayed.body)["contents"] for part in content["parts"] if "functionCall" in part]
    signature = part["thoughtSignature"]
    again = await call(rig.sandbox, "POST", f"/{vendor}{asked.path}", asked.body, {"authorization": "Bearer sandbox"})
    assert signature
    assert f'"{signature}"'.encode() in again.body, "the very one that the vendor made"


async def test_a_signature_that_a_client_hid_in_the_id_of_its_call_is_found(rig: Rig):
    await THROUGH["chat"](rig, f"vertex/{NEW}")
    (part,) = [part for content in sent(rig)["contents"] for part in content["parts"] if "functionCall" in part]
    made = {"id": f"call_1__thought__{part['thoughtSignature']}", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
    result = {"role": "tool", "tool_call_id": made["id"], "content": "a door"}
    messages = [ASKED, {"role": "assistant", "content": None, "tool_calls": [made]}, result]
    await post(rig, "/v1/chat/completions", {"model": f"vertex/{NEW}", "tools": [TOOL_CHAT], "messages": messages})
    replayed = [part for content in sent(rig)["contents"] for part in content["parts"]]
    assert replayed[1] == {"functionCall": {"name": "look", "args": {"at": "x"}, "id": "call_1"}, "thoughtSignature": part["thoughtSignature"]}
    assert replayed[2]["functionResponse"]["id"] == "call_1"


# what goes wrong on the way


async def test_the_gateways_own_credential_is_not_the_clients_fault(rig: Rig):
    for status in (400, 401, 403):
        rig.sandbox.fault(Fault(kind="status", status=401 if status == 400 else status, message="no"))
        answer = await ask(rig, NEW, HI)
        assert (answer.status, answer.error["status"]) == (502, "UNAVAILABLE")
        assert rig.billed_rows()[-1]["settled"] == "void"


@pytest.mark.parametrize(("method", "query"), FORMS[1:])
@pytest.mark.parametrize("model", ANYWHERE)
async def test_a_broken_stream_ends_in_an_error_and_never_clean(rig: Rig, model: str, method: str, query: str):
    for kind in ("truncate", "error_event", "bad_json", "truncate_bytes"):
        rig.sandbox.fault(Fault(kind=kind, after=700 if kind == "truncate_bytes" else 4))
        answer = await ask(rig, model, HI, method, query)
        if answer.status != 200:
            continue
        if query:
            assert list(answer.events[-1]) == ["error"]
            documents = answer.events[:-1]
        else:
            with pytest.raises(ValueError, match="Expecting"):
                json.loads(answer.body)
            documents = json.loads(answer.body + b"]")
            assert list(documents.pop()) == ["error"]
        assert not any("finishReason" in one for document in documents for one in document["candidates"])
    await rig.landed()
    assert all(row["settled"] != "exact" for row in rig.billed_rows())


async def test_an_answer_that_the_vendor_could_not_use_is_an_error_elsewhere_and_passes_here(rig: Rig):
    rig.sandbox.script(Scripted(calls=(ToolCall("look", '{"at":'),)))
    answer = await ask(rig, "gpt-4.1", {**HI, "tools": [{"functionDeclarations": [LOOK]}]})
    (one,) = answer.json["candidates"]
    assert (one["finishReason"], one["finishMessage"]) == ("MALFORMED_FUNCTION_CALL", 'Malformed function call: look({"at":)')
