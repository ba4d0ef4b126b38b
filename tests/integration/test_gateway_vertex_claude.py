"""Claude on Vertex AI before the whole gateway: the official clients, on the native lane and translated."""

import json
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from rig import CHAT, Rig, call

from tokenrouter.sandbox import create_app
from tokenrouter.sandbox.anthropic_engine import REDACTED
from tokenrouter.sandbox.faults import Fault
from tokenrouter.upstream.asgi_transport import AsgiTransport
from tokenrouter.upstream.renewed import Fetched
from tokenrouter.upstream.transport import Timeouts

PATH, COUNT = "/v1/messages", "/v1/messages/count_tokens"
OPUS, HAIKU = "vertex-anthropic/claude-opus-4-8", "vertex-anthropic/claude-haiku-4-5@20251001"
PLACE = "/v1/projects/sandbox/locations/global/publishers/anthropic/models"
HI = {"role": "user", "content": "Say hello in 30 words."}
LONG = "You are careful. " * 2_500
TOOLS = [{"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}}]


@pytest.fixture
async def client(rig: Rig):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app))
    async with anthropic.AsyncAnthropic(api_key=rig.key, base_url="http://gateway", http_client=http, max_retries=0) as made:
        yield made


def ask(*messages: Any, model: str = OPUS, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 4_000, "messages": list(messages or [HI]), **more}


async def post(rig: Rig, body: Any = None, path: str = PATH, **headers: str):
    raw = body if isinstance(body, bytes) else json.dumps(ask() if body is None else body).encode()
    return await call(rig.app, "POST", path, raw, {"x-api-key": rig.key, "anthropic-version": "2023-06-01", **headers})


def sent(rig: Rig) -> dict[str, Any]:
    return json.loads(rig.sandbox.requests.items[-1].body)


@pytest.mark.parametrize("model", [OPUS, HAIKU])
async def test_the_official_client_reads_the_same_whole_and_streamed(rig: Rig, client, model):
    whole = await client.messages.create(**ask(model=model, system="Be brief."))
    async with client.messages.stream(**ask(model=model, system="Be brief.")) as stream:
        final = await stream.get_final_message()
    assert [block.text for block in whole.content] == [block.text for block in final.content] != []
    assert final.usage.output_tokens == whole.usage.output_tokens
    name = model.partition("/")[2]
    paths = [received.path for received in rig.sandbox.requests.items]
    assert paths == [f"{PLACE}/{name}:rawPredict", f"{PLACE}/{name}:streamRawPredict"]
    assert "model" not in sent(rig)
    assert rig.sandbox.requests.items[-1].headers["authorization"] == "Bearer sandbox"
    assert rig.spent() == rig.sandbox.bill.nano_usd > 0


@pytest.mark.parametrize(("version", "goes"), [("2023-06-01", "vertex-2023-10-16"), ("2026-10-21", "2026-10-21")])
async def test_what_the_client_sent_is_what_claude_gets(rig: Rig, version, goes):
    body = b'{ "max_tokens" : 50 ,"model":"vertex-anthropic/claude-opus-4-8","messages":[ {"role":"user","content":"caf\\u00e9 \\/ "} ]}'
    answer = await post(rig, body, **{"anthropic-version": version, "anthropic-beta": "a,b", "x-edits-off": "all"})
    assert answer.status == 200, answer.body
    received = rig.sandbox.requests.items[-1]
    assert received.body == (
        f'{{"anthropic_version":"{goes}",'.encode() + b'"max_tokens":50,"messages":[ {"role":"user","content":"caf\\u00e9 \\/ "} ]}'
    )
    assert received.headers["anthropic-beta"] == "a,b"
    assert "anthropic-version" not in received.headers
    assert rig.key not in str(received.headers)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_with_thinking_and_marks_of_ours(rig: Rig, client, stream):
    messages: list[Any] = [{"role": "user", "content": "Please call look."}]
    usages = []
    for turn in range(2):
        body = ask(*messages, system=LONG, tools=TOOLS, thinking={"type": "adaptive"})
        if stream:
            async with client.messages.stream(**body) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(**body)
        usages.append(answer.usage)
        if turn:
            break
        assert [block.type for block in answer.content] == ["thinking", "tool_use"]
        result = {"type": "tool_result", "tool_use_id": answer.content[1].id, "content": "42"}
        messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert answer.stop_reason == "end_turn"
    assert usages[1].cache_read_input_tokens == usages[0].cache_creation_input_tokens > 1_024
    assert rig.spent() == rig.sandbox.bill.nano_usd


async def test_signatures_are_good_at_anthropic_and_the_other_way_round(rig: Rig, client):
    turns: list[Any] = [{"role": "user", "content": f"{REDACTED} Hello."}]
    for model in (OPUS, "anthropic/claude-opus-4-8", "bedrock/us.anthropic.claude-opus-4-8", OPUS):
        answer = await client.messages.create(**ask(*turns, model=model, thinking={"type": "adaptive"}))
        assert answer.content[0].type in ("thinking", "redacted_thinking")
        turns += [{"role": "assistant", "content": [block.to_dict() for block in answer.content]}, {"role": "user", "content": "Go on."}]
    thoughts = [block for turn in sent(rig)["messages"] if turn["role"] == "assistant" for block in turn["content"] if "thinking" in block["type"]]
    assert [block["type"] for block in thoughts] == ["redacted_thinking", "thinking", "thinking"]


async def test_tokens_are_counted_there_for_every_dialect(rig: Rig, client):
    counted = await client.messages.count_tokens(model=HAIKU, messages=[HI], system="Be brief.", tools=TOOLS)
    assert rig.sandbox.requests.items[-1].path == f"{PLACE}/count-tokens:rawPredict"
    assert sent(rig)["model"] == HAIKU.partition("/")[2]
    used = (await client.messages.create(**ask(model=HAIKU, system="Be brief.", tools=TOOLS))).usage
    assert counted.input_tokens == used.input_tokens
    spent = rig.spent()
    body = json.dumps({"contents": [{"parts": [{"text": HI["content"]}]}]}).encode()
    gemini = await call(rig.app, "POST", f"/v1beta/models/{OPUS}:countTokens", body, {"x-goog-api-key": rig.key})
    assert gemini.json["totalTokens"] > 0
    assert rig.sandbox.requests.items[-1].path == f"{PLACE}/count-tokens:rawPredict"
    assert rig.spent() == spent


@pytest.mark.parametrize("stream", [False, True])
async def test_clients_of_chat_are_translated(rig: Rig, stream):
    http = httpx.AsyncClient(transport=httpx.ASGITransport(rig.app))
    async with openai.AsyncOpenAI(api_key=rig.key, base_url="http://gateway/v1", http_client=http, max_retries=0) as chat:
        asked = {"model": OPUS, "messages": [{"role": "system", "content": "Be brief."}, HI], "stop": ["xyzzy"]}
        if stream:
            chunks = [chunk async for chunk in await chat.chat.completions.create(**asked, stream=True)]
            assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        else:
            assert (await chat.chat.completions.create(**asked)).choices[0].message.content
    assert sent(rig)["anthropic_version"] == "vertex-2023-10-16"
    assert sent(rig)["stop_sequences"] == ["xyzzy"]
    assert "model" not in sent(rig)
    assert rig.sandbox.requests.items[-1].path.endswith(":streamRawPredict" if stream else ":rawPredict")


async def test_a_refusal_of_claudes_passes_as_it_is_and_one_of_googles_is_said_in_this_shape(rig: Rig, client):
    claudes = await post(rig, ask(stop_sequences=[" "]))
    assert (claudes.status, claudes.json["error"]["type"]) == (400, "invalid_request_error")
    assert claudes.json["request_id"].startswith("req_vrtx_")
    for status, kind in ((404, "not_found_error"), (429, "rate_limit_error"), (500, "api_error")):
        for path in (PATH, COUNT):
            rig.sandbox.fault(Fault(kind="status", vendor="vertex", status=status, message="Google's own words", retry_after="7"))
            googles = await post(rig, ask() if path == PATH else {"model": OPUS, "messages": [HI]}, path)
            assert (googles.status, googles.json["type"], googles.json["error"]["type"]) == (status, "error", kind)
            assert "Google's own words" in googles.json["error"]["message"]
            assert googles.headers["retry-after"] == "7"
    rig.sandbox.fault(Fault(kind="status", vendor="vertex", status=429, message="Google's own words"))
    with pytest.raises(anthropic.RateLimitError, match="Google's own words"):
        await client.messages.create(**ask())
    assert rig.spent() == rig.held() == 0


@pytest.mark.parametrize(("path", "kind"), [(PATH, "truncate"), (PATH, "error_event"), (CHAT, "truncate"), (CHAT, "error_event"), (CHAT, "bad_json")])
async def test_a_stream_that_breaks_never_ends_cleanly(rig: Rig, path, kind):
    rig.sandbox.fault(Fault(kind=kind, after=4))
    answer = await post(rig, ask(stream=True), path, authorization=f"Bearer {rig.key}")
    assert "error" in answer.events[-1]
    assert b"message_stop" not in answer.body
    assert b"[DONE]" not in answer.body
    await rig.landed()
    assert rig.billed_rows()[-1]["settled"] == "estimated"


async def test_the_token_is_renewed_and_goes_into_the_header(start, clock, monkeypatch):
    given = iter(range(1, 99))
    monkeypatch.setattr("tokenrouter.upstream.credentials.access_token", lambda *_: lambda: Fetched(f"ya29-{next(given)}", 3_300, 3_570))
    place = {"VERTEX_PROJECT": "p", "VERTEX_LOCATION": "europe-west1", "GOOGLE_APPLICATION_CREDENTIALS": "default"}
    async with start(VERTEX_ANTHROPIC_BASE_URL=f"http://sandbox/vertex{PLACE.removesuffix('/models')}", **place) as rig:
        rig.sandbox = create_app(clock)
        rig.set(transport=AsgiTransport(rig.sandbox, Timeouts(1, 30, 30)))
        shown = []
        for seconds in (0, 3_000, 600):
            clock.advance(seconds)
            assert (await post(rig)).status == 200
            shown.append(rig.sandbox.requests.items[-1].headers["authorization"])
        assert shown == ["Bearer ya29-1", "Bearer ya29-1", "Bearer ya29-2"]


async def test_a_credential_that_google_refuses_is_not_the_clients_fault(rig: Rig):
    rig.sandbox.fault(Fault(kind="status", vendor="vertex", status=401))
    answer = await post(rig)
    assert (answer.status, answer.json["type"]) == (502, "error")
    assert "refused the gateway's credential" in answer.json["error"]["message"]
