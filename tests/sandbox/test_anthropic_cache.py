"""Anthropic: what is marked is written, and found again from a mark, looking back over twenty blocks."""

import asyncio
import json
from typing import Any

import pytest

SHORT = {"type": "ephemeral"}
LONG = {"type": "ephemeral", "ttl": "1h"}


def block(words: str, mark: Any = None) -> dict[str, Any]:
    return {"type": "text", "text": words, **({"cache_control": mark} if mark else {})}


def ask(system: Any = None, messages: Any = None, model: str = "claude-opus-4-8", **more: Any) -> dict[str, Any]:
    body = {"model": model, "max_tokens": 100, "messages": messages or [{"role": "user", "content": "hi"}], **more}
    return body if system is None else {**body, "system": system}


def counts(response: Any) -> tuple[int, int, int]:
    """Read, written, plain."""
    assert response.status == 200, response.body
    usage = response.json["usage"]
    return usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"], usage["input_tokens"]


async def test_without_a_mark_nothing_is_cached(call, text):
    assert counts(await call.claude(ask(text(3000)))) == counts(await call.claude(ask(text(3000)))) == (0, 0, 3009)


async def test_marked_system_is_written_once_and_then_read(call, text):
    body = ask([block(text(2000), SHORT)])
    assert counts(await call.claude(body)) == (0, 2004, 5)
    assert counts(await call.claude(ask([block(text(2000), SHORT)], [{"role": "user", "content": "another"}]))) == (2004, 0, 6)


@pytest.mark.parametrize(
    ("model", "minimum"),
    [
        ("claude-opus-5-5", 512),
        ("claude-opus-5", 512),
        ("claude-opus-4-8", 1024),
        ("claude-sonnet-4-5", 1024),
        ("claude-opus-4-7", 2048),
        ("claude-haiku-4-5", 4096),
    ],
)
async def test_minimum_is_silent(call, text, model, minimum):
    assert counts(await call.claude(ask([block(text(minimum - 5), SHORT)], model=model)))[:2] == (0, 0)
    assert counts(await call.claude(ask([block(text(minimum - 4), SHORT)], model=model)))[:2] == (0, minimum)


async def test_usage_names_both_lifetimes_and_the_longer_comes_first(call, app, text):
    response = await call.claude(ask([block(text(2000), LONG), block(text(1000, "b"), SHORT)]))
    assert response.json["usage"]["cache_creation"] == {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2004}
    line = app.bill.lines[-1]
    # 5 plain at 5000 n$, 1000 at 6250, 2004 at 10000 and the output at 25000
    assert line.nano_usd == 5 * 5000 + 1000 * 6250 + 2004 * 10_000 + line.tokens.output * 25_000
    wrong = await call.claude(ask([block("x", SHORT), block("y", LONG)]))
    assert wrong.status == 400
    assert "a ttl='1h' cache_control block must not come after a ttl='5m'" in wrong.message


async def test_five_marks_are_refused(call):
    system = [block(str(number), SHORT) for number in range(5)]
    response = await call.claude(ask(system))
    assert (response.status, response.message) == (400, "A maximum of 4 blocks with cache_control may be provided. Found 5.")
    assert (await call.claude(ask(system[:4]))).status == 200
    assert (await call.claude(ask(system[:4], cache_control=SHORT))).status == 400


async def test_lookback_reaches_twenty_blocks_and_no_further(call, text):
    def conversation(extra: int) -> Any:
        blocks = [block(text(1200)), *[block(f"b{number}") for number in range(extra)]]
        blocks[-1] = block(blocks[-1]["text"], SHORT)
        return ask(messages=[{"role": "user", "content": blocks}])

    await call.claude(conversation(0))
    assert counts(await call.claude(conversation(19)))[0] == 1204
    await call.claude(ask(messages=[{"role": "user", "content": [block(text(1200, "z"), SHORT)]}]))
    far = [block(text(1200, "z")), *[block(f"c{number}") for number in range(19)], block("end", SHORT)]
    assert counts(await call.claude(ask(messages=[{"role": "user", "content": far}])))[0] == 0


async def test_automatic_mark_follows_the_conversation(call, text):
    messages = [{"role": "user", "content": text(1500)}]
    first = await call.claude(ask(messages=messages, cache_control=SHORT))
    assert counts(first) == (0, 1504, 0)
    messages += [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "go on"}]
    assert counts(await call.claude(ask(messages=messages, cache_control=SHORT)))[0] == 1504


async def test_five_minutes_count_from_the_start_of_the_request(app, call, clock, text):
    body = ask([block(text(2000), SHORT)])
    app.hold()
    slow = asyncio.create_task(call.claude(body))
    await app.waiting(1)
    clock.advance(240)
    app.release()
    await slow
    clock.advance(61)
    assert counts(await call.claude(body))[0] == 0


async def test_a_read_prolongs_the_life_and_five_minutes_end_it(call, clock, text):
    body = ask([block(text(2000), SHORT)])
    await call.claude(body)
    for _ in range(3):
        clock.advance(299)
        assert counts(await call.claude(body))[0] == 2004
    clock.advance(300)
    assert counts(await call.claude(body))[0] == 0


async def test_one_hour_entries_live_an_hour(call, clock, text):
    body = ask([block(text(2000), LONG)])
    await call.claude(body)
    clock.advance(3599)
    assert counts(await call.claude(body))[0] == 2004
    clock.advance(3600)
    assert counts(await call.claude(body))[0] == 0


async def test_concurrent_cold_requests_each_pay_the_write(app, call, text):
    body = ask([block(text(2000), SHORT)])
    app.hold("anthropic")
    tasks = [asyncio.create_task(call.claude(body)) for _ in range(3)]
    await app.waiting(3)
    app.release()
    assert [counts(response)[:2] for response in await asyncio.gather(*tasks)] == [(0, 2004)] * 3
    assert counts(await call.claude(body))[:2] == (2004, 0)


async def test_entry_is_readable_as_soon_as_the_writers_answer_has_begun(app, call, text):
    from tokenrouter.sandbox import Fault

    body = ask([block(text(2000), SHORT)])
    app.fault(Fault(kind="stall", after=1))
    slow = asyncio.create_task(call.claude({**body, "stream": True}))
    await app.stalling(1)
    assert counts(await call.claude(body))[0] == 2004
    app.release()
    await slow


async def test_accounts_models_and_betas_do_not_share(call, text):
    body = ask([block(text(2000), SHORT)])
    await call.claude(body)
    assert counts(await call.claude(body, key="other"))[0] == 0
    assert counts(await call.claude({**body, "model": "claude-opus-5"}))[0] == 0
    assert counts(await call.claude(body, beta="some-beta"))[0] == 0


TOOLS = [
    {"name": name, "input_schema": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}} for name in ("one", "two")
]


async def test_shuffled_tools_and_schema_keys_miss_and_spelling_does_not(call, text):
    def body(tools: Any) -> Any:
        return ask([block(text(2000), SHORT)], tools=tools)

    await call.claude(body(TOOLS))
    assert counts(await call.claude(body(TOOLS[::-1])))[0] == 0
    swapped = json.loads(json.dumps(TOOLS))
    swapped[0]["input_schema"]["properties"] = dict(reversed(swapped[0]["input_schema"]["properties"].items()))
    assert counts(await call.claude(body(swapped)))[0] == 0
    assert counts(await call.claude(json.dumps(body(TOOLS), indent=2).encode()))[0] > 0
    marked = [TOOLS[0], {**TOOLS[1], "cache_control": SHORT}]
    assert counts(await call.claude(body(marked)))[0] > 0


@pytest.mark.parametrize(
    ("change", "system_survives", "messages_survive"),
    [
        ({}, True, True),
        ({"tool_choice": {"type": "auto"}}, True, True),
        ({"thinking": {"type": "disabled"}}, True, True),
        ({"output_config": {"effort": "high"}}, True, True),
        ({"temperature": 0.5, "max_tokens": 77, "metadata": {"user_id": "u"}}, True, True),
        ({"tool_choice": {"type": "none"}}, True, False),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, True, False),
        ({"thinking": {"type": "adaptive"}}, True, False),
        ({"output_config": {"effort": "low"}}, True, False),
        ({"speed": "fast"}, False, False),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, False, False),
        ({"tools": TOOLS[:1]}, False, False),
    ],
)
async def test_what_invalidates_which_level(call, text, change, system_survives, messages_survive):
    body = ask([block(text(2000), SHORT)], [{"role": "user", "content": [block(text(1000, "q"), SHORT)]}], tools=TOOLS)
    _, written, _ = counts(await call.claude(body))
    read, _, _ = counts(await call.claude({**body, **change}))
    system = written - 1004
    assert read == (written if messages_survive else system if system_survives else 0)


async def test_first_image_breaks_messages_only(call, text):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    history = [{"role": "user", "content": [block(text(1000, "q"), SHORT)]}, {"role": "assistant", "content": "ok"}]
    await call.claude(ask([block(text(2000), SHORT)], [*history, {"role": "user", "content": "go"}]))
    read, _, _ = counts(await call.claude(ask([block(text(2000), SHORT)], [*history, {"role": "user", "content": [image]}])))
    assert read == 2004


async def test_key_order_of_replayed_call_input_counts(call, text):
    def body(arguments: dict[str, Any]) -> Any:
        return ask(
            messages=[
                {"role": "user", "content": text(1500)},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "one", "input": arguments}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]},
            ],
            tools=TOOLS,
            cache_control=SHORT,
        )

    await call.claude(body({"a": "1", "b": "2"}))
    assert counts(await call.claude(body({"b": "2", "a": "1"})))[0] == 0
    assert counts(await call.claude(body({"a": "1", "b": "2"})))[0] > 1500


async def test_prewarming_writes_without_generating(call, app, text):
    response = await call.claude({**ask([block(text(2000), SHORT)]), "max_tokens": 0})
    assert response.json["content"] == []
    assert app.bill.lines[-1].tokens.output == 0
    assert counts(await call.claude(ask([block(text(2000), SHORT)])))[0] == 2004
