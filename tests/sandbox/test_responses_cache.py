"""The prompt caches as the Responses wire sees them: both rule sets, marks, and what separates one entry from another."""

from typing import Any

import pytest

PATH = "/openai/v1/responses"
MARK = {"mode": "explicit"}
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


def ask(*messages: tuple[str, Any], model: str = "gpt-6-sol", **more: Any) -> dict[str, Any]:
    return {"model": model, "input": [{"role": role, "content": content} for role, content in messages], **more}


def part(words: str, mark: Any = MARK) -> dict[str, Any]:
    return {"type": "input_text", "text": words, **({"prompt_cache_breakpoint": mark} if mark else {})}


def counts(response: Any) -> tuple[int, int]:
    assert response.status == 200, response.body
    details = response.json["usage"]["input_tokens_details"]
    return details["cached_tokens"], details["cache_write_tokens"]


async def test_up_to_5_5_common_starts_are_read_in_steps(call, text):
    assert counts(await call.post(PATH, ask(("user", "a"), model="gpt-4.1", instructions=text(1500)))) == (0, 0)
    assert counts(await call.post(PATH, ask(("user", "b"), model="gpt-4.1", instructions=text(1500)))) == (1408, 0)
    assert counts(await call.post(PATH, ask(("user", "b"), model="gpt-4.1", instructions=text(1500), prompt_cache_key="z")))[0] == 0
    await call.post(PATH, ask(("user", "a"), model="gpt-5.5", instructions=text(5000)))
    assert counts(await call.post(PATH, ask(("user", "b"), model="gpt-5.5", instructions=text(5000)))) == (4096, 0)


async def test_from_5_6_on_what_was_marked_is_read(call, text):
    first = await call.post(PATH, ask(("user", "one"), instructions=text(1200)))
    total = first.json["usage"]["input_tokens"]
    assert counts(first) == (0, total)
    assert first.json["usage"]["input_tokens_details"]["cache_write_tokens_details"] == {"ttl_30m_tokens": total, "ttl_12h_tokens": 0}
    second = await call.post(PATH, ask(("user", "one"), ("assistant", "x"), ("user", "two"), instructions=text(1200)))
    assert counts(second) == (total, second.json["usage"]["input_tokens"] - total)


async def test_instructions_alone_are_not_an_entry_unless_something_marked_them(call, text):
    await call.post(PATH, ask(("user", "one"), instructions=text(1200)))
    assert counts(await call.post(PATH, ask(("user", "two"), instructions=text(1200))))[0] == 0
    developer = ("developer", [part(text(1200, "d"))])
    await call.post(PATH, ask(developer, ("user", "one")))
    assert counts(await call.post(PATH, ask(developer, ("user", "two"))))[0] == 1204


async def test_marks_on_results_of_tools(call, text):
    called = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": [part(text(1200))]}

    def body(*rest: Any) -> dict[str, Any]:
        return {"model": "gpt-6-sol", "input": [{"role": "user", "content": "hi"}, called, result, *rest], "prompt_cache_options": MARK}

    wrote = counts(await call.post(PATH, body()))[1]
    assert wrote > 1200
    assert counts(await call.post(PATH, body({"role": "user", "content": "more"})))[0] == wrote


async def test_twelve_hours_for_the_request_or_for_a_part(app, call, clock, text):
    whole = ask(("user", text(1100)), prompt_cache_options={"ttl": "12h"})
    await call.post(PATH, whole)
    assert (app.bill.lines[-1].tokens.cache_write_1h, app.bill.lines[-1].tokens.cache_write_30m) == (1104, 0)
    some = ask(("developer", [part(text(1100, "p"), {"mode": "explicit", "ttl": "12h"})]), ("user", "hi"))
    reported = (await call.post(PATH, some)).json["usage"]["input_tokens_details"]
    details = reported["cache_write_tokens_details"]
    assert reported["cache_write_tokens"] == sum(details.values())
    assert details["ttl_12h_tokens"] == 1104
    assert details["ttl_30m_tokens"] > 0
    clock.advance(11 * 3600)
    assert counts(await call.post(PATH, whole))[0] == 1104
    assert counts(await call.post(PATH, some))[0] == 1104


async def test_explicit_mode_without_marks_switches_caching_off(call, text):
    body = ask(("user", text(1200)), prompt_cache_options=MARK)
    assert counts(await call.post(PATH, body)) == counts(await call.post(PATH, body)) == (0, 0)


async def test_below_1024_tokens_nothing_is_written(call, text):
    assert counts(await call.post(PATH, ask(("user", text(1019))))) == (0, 0)
    assert counts(await call.post(PATH, ask(("user", text(1020))))) == (0, 1024)


async def test_prewarming_writes_and_says_nothing(app, call, text):
    body = ask(("user", text(1100)))
    warm = await call.post(PATH, {**body, "prompt_cache_options": {"prewarm": True}})
    assert (warm.json["output"], warm.json["usage"]["output_tokens"], counts(warm)) == ([], 0, (0, 1104))
    assert app.bill.lines[-1].tokens.output == 0
    assert counts(await call.post(PATH, body))[0] == 1104


@pytest.mark.parametrize(
    "change",
    [
        {"parallel_tool_calls": False},
        {"reasoning": {"effort": "high"}},
        {"text": {"verbosity": "low"}},
        {"text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}}},
        {"service_tier": "flex"},
        {"prompt_cache_key": "z"},
        {"model": "gpt-6.1-sol"},
        {"tools": [{**TOOL, "description": "d"}]},
    ],
)
async def test_changed_parameters_break_the_cache(call, text, change):
    body = ask(("user", text(1100)), tools=[TOOL])
    await call.post(PATH, body)
    assert counts(await call.post(PATH, {**body, **change}))[0] == 0


async def test_what_the_model_does_not_see_does_not_break_the_cache(call, text):
    body = ask(("user", text(1100)), tools=[TOOL])
    await call.post(PATH, body)
    for change in ({"tool_choice": "none"}, {"temperature": 1}, {"store": False}, {"metadata": {"a": "b"}}, {"reasoning": {"effort": "medium"}}):
        assert counts(await call.post(PATH, {**body, **change}))[0] > 0
    assert counts(await call.post(PATH, body, key="stranger"))[0] == 0


async def test_ids_of_items_leave_no_trace_and_phases_do(call, text):
    def body(**more: Any) -> dict[str, Any]:
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": []}], **more}
        return {"model": "gpt-6-sol", "input": [{"role": "user", "content": text(1100)}, said, {"role": "user", "content": "y"}]}

    total = (await call.post(PATH, body())).json["usage"]["input_tokens"]
    assert counts(await call.post(PATH, body(id="msg_1", status="completed"))) == (total, 0)
    assert counts(await call.post(PATH, body(phase="final_answer")))[0] == 0


async def test_chat_and_responses_keep_caches_of_their_own(call, text):
    await call.openai({"model": "gpt-6-sol", "messages": [{"role": "user", "content": text(1100)}]})
    assert counts(await call.post(PATH, ask(("user", text(1100)))))[0] == 0


async def test_comparing_with_an_earlier_answer(call, text):
    body = ask(("user", text(1100)))
    first = (await call.post(PATH, body)).json

    async def diagnosis(name: str, **more: Any) -> str:
        options = {"prompt_cache_options": {"comparison_response_id": name}}
        return (await call.post(PATH, {**body, **options, **more})).json["prompt_cache_diagnostics"]["type"]

    assert "prompt_cache_diagnostics" not in first
    assert await diagnosis(first["id"]) == "cache_hit"
    assert await diagnosis("resp_nope") == "comparison_response_not_found"
    assert await diagnosis(first["id"], prompt_cache_key="z") == "unavailable"
