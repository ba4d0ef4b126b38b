"""OpenAI up to gpt-5.5: automatic prefix caching."""

import json
from typing import Any

import pytest

TOOL_A = {
    "type": "function",
    "function": {
        "name": "alpha",
        "description": "first",
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "integer"}}},
    },
}
TOOL_B = {"type": "function", "function": {"name": "beta", "description": "second", "parameters": {"type": "object"}}}


def chat(system: str, user: str = "hi", model: str = "gpt-4.1", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}], **more}


def cached(response: Any) -> int:
    assert response.status == 200, response.body
    return response.json["usage"]["prompt_tokens_details"]["cached_tokens"]


async def test_second_request_reads_the_common_start_in_steps_of_128(call, text):
    assert cached(await call.openai(chat(text(1500)))) == 0
    assert cached(await call.openai(chat(text(1500), "something else"))) == 1408


@pytest.mark.parametrize(("tokens", "expected"), [(900, 0), (1015, 0), (1016, 1024), (1143, 1024), (1144, 1152)])
async def test_nothing_is_cached_below_1024_tokens_and_then_in_whole_steps(call, text, tokens, expected):
    # two message headers, worth 4 tokens each, belong to what both requests share
    await call.openai(chat(text(tokens)))
    assert cached(await call.openai(chat(text(tokens), "other words"))) == expected


async def test_a_repeated_prompt_is_never_served_from_the_cache_as_a_whole(call, text):
    body = chat(text(1536 - 8 - 1), "four")
    assert (await call.openai(body)).json["usage"]["prompt_tokens"] == 1536
    assert cached(await call.openai(body)) == 1408


async def test_gpt_5_5_counts_in_steps_of_2048(call, text):
    await call.openai(chat(text(5000), model="gpt-5.5"))
    assert cached(await call.openai(chat(text(5000), "other", model="gpt-5.5"))) == 4096
    await call.openai(chat(text(1800, "z"), model="gpt-5.5"))
    assert cached(await call.openai(chat(text(1800, "z"), "other", model="gpt-5.5"))) == 0


async def test_accounts_models_and_keys_do_not_share(call, text):
    await call.openai(chat(text(1500), prompt_cache_key="one"))
    assert cached(await call.openai(chat(text(1500), prompt_cache_key="one"))) > 0
    assert cached(await call.openai(chat(text(1500), prompt_cache_key="one"), key="other")) == 0
    assert cached(await call.openai(chat(text(1500), model="gpt-4o", prompt_cache_key="one"))) == 0
    assert cached(await call.openai(chat(text(1500), prompt_cache_key="two"))) == 0


async def test_shuffled_tools_miss(call, text):
    await call.openai(chat(text(1500), tools=[TOOL_A, TOOL_B]))
    assert cached(await call.openai(chat(text(1500), tools=[TOOL_B, TOOL_A]))) == 0
    assert cached(await call.openai(chat(text(1500), tools=[TOOL_A, TOOL_B]))) > 0


async def test_shuffled_schema_keys_miss(call, text):
    parameters = TOOL_A["function"]["parameters"]
    other = json.loads(json.dumps(TOOL_A))
    other["function"]["parameters"]["properties"] = dict(reversed(parameters["properties"].items()))
    await call.openai(chat(text(1500), tools=[TOOL_A]))
    assert cached(await call.openai(chat(text(1500), tools=[other]))) == 0


async def test_whitespace_escapes_and_envelope_order_do_not_miss(call, text):
    body = chat("é/" + text(1500), tools=[TOOL_A])
    await call.openai(json.dumps(body, ensure_ascii=True, indent=3).encode())
    spelled = json.dumps({key: body[key] for key in reversed(body)}, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
    assert cached(await call.openai(spelled.encode())) > 0


async def test_number_spelling_counts_after_parsing(call, text):
    def body(number: str) -> bytes:
        return json.dumps(chat(text(1500), tools=[TOOL_A])).replace('"integer"', f'"integer", "minimum": {number}').encode()

    await call.openai(body("1e2"))
    assert cached(await call.openai(body("100.0"))) > 0
    assert cached(await call.openai(body("100"))) == 0


async def test_text_part_and_string_are_the_same_prompt(call, text):
    await call.openai(chat(text(1500)))
    parts = chat(text(1500))
    parts["messages"][0]["content"] = [{"type": "text", "text": text(1500)}]
    assert cached(await call.openai(parts)) > 0


async def test_response_schema_is_part_of_the_prefix(call, text):
    def body(name: str) -> Any:
        return chat(text(1500), response_format={"type": "json_schema", "json_schema": {"name": name, "schema": {"type": "object"}}})

    await call.openai(body("one"))
    assert cached(await call.openai(body("two"))) == 0


async def test_entries_die_after_a_day_and_in_memory_after_ten_idle_minutes(call, clock, text):
    await call.openai(chat(text(1500)))
    await call.openai(chat(text(1500, "m"), prompt_cache_retention="in_memory"))
    clock.advance(9 * 60)
    assert cached(await call.openai(chat(text(1500, "m"), prompt_cache_retention="in_memory"))) > 0
    clock.advance(9 * 60)
    assert cached(await call.openai(chat(text(1500, "m"), prompt_cache_retention="in_memory"))) > 0
    clock.advance(11 * 60)
    assert cached(await call.openai(chat(text(1500, "m"), prompt_cache_retention="in_memory"))) == 0
    assert cached(await call.openai(chat(text(1500)))) > 0
    clock.advance(24 * 3600 + 1)
    assert cached(await call.openai(chat(text(1500)))) == 0


async def test_identical_prompts_get_identical_answers(call):
    first = await call.openai(chat("be brief"))
    second = await call.openai(chat("be brief"), key="other")
    assert first.json["choices"] == second.json["choices"]
    assert first.json["choices"] != (await call.openai(chat("be long"))).json["choices"]
