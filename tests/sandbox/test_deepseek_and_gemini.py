"""DeepSeek's whole units, Gemini's implicit cache and signatures."""

from typing import Any

import pytest


def chat(*contents: str, **more: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"model": "deepseek-chat", "messages": [{"role": roles[index % 2], "content": words} for index, words in enumerate(contents)], **more}


def hit(response: Any) -> int:
    assert response.status == 200, response.body
    usage = response.json["usage"]
    assert usage["prompt_cache_hit_tokens"] + usage["prompt_cache_miss_tokens"] == usage["prompt_tokens"]
    assert usage["prompt_cache_hit_tokens"] % 64 == 0
    return usage["prompt_cache_hit_tokens"]


def shared(text: Any, tail: str) -> dict[str, Any]:
    return {"model": "deepseek-chat", "messages": [{"role": "system", "content": text(1000)}, {"role": "user", "content": tail}]}


async def test_a_shared_head_hits_only_from_the_third_request_on(call, text):
    assert hit(await call.deepseek(shared(text, "B"))) == 0
    assert hit(await call.deepseek(shared(text, "C"))) == 0
    assert hit(await call.deepseek(shared(text, "D"))) == 960


async def test_appending_to_a_finished_turn_hits_its_output_too(call, text):
    first = await call.deepseek(chat(text(1000)))
    answer = first.json["choices"][0]["message"]["content"]
    turn = first.json["usage"]
    second = hit(await call.deepseek(chat(text(1000), answer, "next")))
    assert second == (turn["prompt_tokens"] + 4 + turn["completion_tokens"]) // 64 * 64
    assert hit(await call.deepseek(chat(text(1000), answer + " edited", "next"))) == 960


async def test_repeated_prompt_hits_whole_steps(call, text):
    await call.deepseek(chat(text(1000)))
    assert hit(await call.deepseek(chat(text(1000)))) == 960


async def test_user_id_and_account_partition(call, text):
    await call.deepseek(chat(text(1000), user_id="a"))
    assert hit(await call.deepseek(chat(text(1000), user_id="b"))) == 0
    assert hit(await call.deepseek(chat(text(1000), user_id="a"), key="other")) == 0
    assert hit(await call.deepseek(chat(text(1000), user_id="a"))) > 0


async def test_deepseek_sends_usage_on_the_final_chunk_unasked_and_both_paths_work(call):
    response = await call.post("/deepseek/v1/chat/completions", chat("hi", model="deepseek-reasoner", stream=True))
    *_, last, done = response.events
    assert done == "[DONE]"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["prompt_cache_miss_tokens"] > 0
    assert any("reasoning_content" in event["choices"][0]["delta"] for event in response.events[:-1])


def ask(words: str = "hi", **more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": words}]}], **more}


def system(words: str) -> dict[str, Any]:
    return {"systemInstruction": {"parts": [{"text": words}]}}


@pytest.mark.parametrize(("model", "minimum"), [("gemini-2.5-flash", 2048), ("gemini-3.6-flash", 4096), ("gemini-4-argon", 4096)])
async def test_gemini_minimum_by_generation(call, text, model, minimum):
    await call.gemini(model, ask(**system(text(minimum - 200))))
    short = await call.gemini(model, ask("other", **system(text(minimum - 200))))
    assert "cachedContentTokenCount" not in short.json["usageMetadata"]
    await call.gemini(model, ask(**system(text(minimum + 100, "z"))))
    usage = (await call.gemini(model, ask("other", **system(text(minimum + 100, "z"))))).json["usageMetadata"]
    assert usage["cachedContentTokenCount"] >= minimum
    assert usage["promptTokenCount"] + usage["candidatesTokenCount"] + usage["thoughtsTokenCount"] == usage["totalTokenCount"]


async def test_gemini_openai_endpoint_shares_the_cache(call, text):
    await call.gemini("gemini-2.5-flash", ask(**system(text(3000))))
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "system", "content": text(3000)}, {"role": "user", "content": "other"}]}
    response = await call.post("/gemini/v1beta/openai/chat/completions", body)
    assert response.json["usage"]["prompt_tokens_details"]["cached_tokens"] > 2048


async def test_gemini_streams_as_events_and_as_an_array(call):
    events = await call.gemini("gemini-3.6-flash", ask(), "streamGenerateContent?alt=sse")
    assert events.headers["content-type"].startswith("text/event-stream")
    assert [event["candidates"][0].get("finishReason") for event in events.events][-2:] == [None, "STOP"]
    assert "thoughtSignature" in events.events[-1]["candidates"][0]["content"]["parts"][0]
    array = await call.gemini("gemini-3.6-flash", ask(), "streamGenerateContent")
    assert [item["candidates"] for item in array.json] == [event["candidates"] for event in events.events]
    whole = (await call.gemini("gemini-3.6-flash", ask())).json["candidates"][0]["content"]["parts"]
    assert whole[0]["text"] == "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in events.events)


FUNCTIONS = [
    {"functionDeclarations": [{"name": "look", "parameters": {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]}}]}
]


async def test_gemini_3_wants_its_signature_back(call):
    question = {"role": "user", "parts": [{"text": "use look"}]}
    response = await call.gemini("gemini-3.6-flash", {"contents": [question], "tools": FUNCTIONS})
    part = response.json["candidates"][0]["content"]["parts"][0]
    assert isinstance(part["functionCall"]["args"]["n"], int)
    result = {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"ok": True}}}]}

    async def replay(changed: dict[str, Any]) -> int:
        contents = [question, {"role": "model", "parts": [changed]}, result]
        return (await call.gemini("gemini-3.6-flash", {"contents": contents, "tools": FUNCTIONS})).status

    assert await replay(part) == 200
    assert await replay({"functionCall": part["functionCall"]}) == 400
    assert await replay({**part, "thoughtSignature": "c29tZW9uZSBlbHNl"}) == 400
    assert await replay({**part, "thoughtSignature": "skip_thought_signature_validator"}) == 200
    older = [question, {"role": "model", "parts": [{"functionCall": part["functionCall"]}]}, result]
    assert (await call.gemini("gemini-2.5-pro", {"contents": older, "tools": FUNCTIONS})).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contents": []},
        {"contents": [{"role": "robot", "parts": [{"text": "x"}]}]},
        {"contents": [{"parts": []}]},
        {"contents": [{"parts": [{"text": "x", "inlineData": {}}]}]},
        {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
        {"contents": [{"parts": [{"text": "x"}]}], "foo": 1},
        b'{"contents":1,"contents":2}',
        b"[]",
    ],
)
async def test_gemini_refuses_in_googles_shape(call, body):
    response = await call.gemini("gemini-2.5-flash", body)
    assert (response.status, response.json["error"]["status"], response.json["error"]["code"]) == (400, "INVALID_ARGUMENT", 400)


async def test_gemini_takes_its_key_in_three_places(app, call):
    path = "/gemini/v1beta/models/gemini-2.5-flash:generateContent"
    raw = b'{"contents":[{"parts":[{"text":"x"}]}]}'
    for suffix, headers in (("?key=g", {}), ("", {"x-goog-api-key": "g"}), ("", {"authorization": "Bearer g"})):
        assert (await call.request("POST", path + suffix, raw, headers)).status == 200
    assert app.bill.total(app.account("g")).requests == 3
    missing = await call.request("POST", path, raw)
    assert (missing.status, missing.json["error"]["status"]) == (403, "PERMISSION_DENIED")
    wrong = await call.request("POST", path, raw, {"x-goog-api-key": "invalid"})
    assert (wrong.status, wrong.json["error"]["details"][0]["reason"]) == (400, "API_KEY_INVALID")
    assert (await call.gemini("gemini-1", {"contents": []})).status in (400, 404)
