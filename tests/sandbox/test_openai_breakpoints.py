"""OpenAI from gpt-5.6 on: what can be read is what was marked, exactly there."""

from typing import Any

import pytest

MARK = {"mode": "explicit"}


def part(words: str, mark: Any = None) -> dict[str, Any]:
    return {"type": "text", "text": words, **({"prompt_cache_breakpoint": mark} if mark else {})}


def chat(*messages: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "gpt-6-sol", "messages": [{"role": role, "content": content} for role, content in messages], **more}


def counts(response: Any) -> tuple[int, int]:
    assert response.status == 200, response.body
    details = response.json["usage"]["prompt_tokens_details"]
    return details["cached_tokens"], details["cache_write_tokens"]


async def test_first_request_writes_to_the_end_and_appending_reads_it(call, text):
    history = [("developer", text(1200)), ("user", "one")]
    first = await call.openai(chat(*history))
    total = first.json["usage"]["prompt_tokens"]
    assert counts(first) == (0, total)
    answer = first.json["choices"][0]["message"]["content"]
    second = await call.openai(chat(*history, ("assistant", answer), ("user", "two")))
    assert counts(second) == (total, second.json["usage"]["prompt_tokens"] - total)


async def test_common_start_without_a_mark_is_not_reusable(call, text):
    await call.openai(chat(("developer", text(1200)), ("user", "one")))
    read, _ = counts(await call.openai(chat(("developer", text(1200)), ("user", "two"))))
    assert read == 0


async def test_explicit_mark_shares_a_developer_block_between_conversations(call, text):
    developer = ("developer", [part(text(1200), MARK)])
    await call.openai(chat(developer, ("user", "one")))
    assert counts(await call.openai(chat(developer, ("user", "two"))))[0] == 1204


async def test_growing_a_marked_message_loses_the_entry(call, text):
    await call.openai(chat(("developer", [part(text(1200), MARK)]), ("user", "one")))
    assert counts(await call.openai(chat(("developer", [part(text(1200) + " more", MARK)]), ("user", "one"))))[0] == 0


async def test_moving_from_implicit_to_explicit_loses_the_entry(call, text):
    await call.openai(chat(("user", text(1200))))
    assert counts(await call.openai(chat(("user", text(1200)))))[0] > 0
    body = chat(("user", [part(text(1200), MARK)]), prompt_cache_options={"mode": "explicit"})
    assert counts(await call.openai(body))[0] == 0


async def test_explicit_mode_without_marks_switches_caching_off(call, text):
    body = chat(("user", text(1200)), prompt_cache_options={"mode": "explicit"})
    assert counts(await call.openai(body)) == (0, 0)
    assert counts(await call.openai(body)) == (0, 0)


async def test_below_1024_tokens_nothing_is_written(call, text):
    assert counts(await call.openai(chat(("user", text(1019))))) == (0, 0)
    assert counts(await call.openai(chat(("user", text(1020))))) == (0, 1024)


async def test_only_the_last_three_explicit_marks_are_written_next_to_the_implicit_one(call, text):
    parts = [part(text(1100, tag), MARK) for tag in "abcde"]
    await call.openai(chat(("user", parts), ("assistant", "ok"), ("user", "go")))
    # marks a and b were too many: a prompt that ends after b has nothing to read
    assert counts(await call.openai(chat(("user", parts[:2]), ("assistant", "no"), ("user", "x"))))[0] == 0
    assert counts(await call.openai(chat(("user", parts[:3]), ("assistant", "no"), ("user", "x"))))[0] == 3304


async def test_explicit_mode_writes_the_last_four(call, text):
    parts = [part(text(1100, tag), MARK) for tag in "abcde"]
    options = {"mode": "explicit"}
    await call.openai(chat(("user", parts), prompt_cache_options=options))
    assert counts(await call.openai(chat(("user", parts[:1]), prompt_cache_options=options)))[0] == 0
    assert counts(await call.openai(chat(("user", parts[:2]), prompt_cache_options=options)))[0] == 2204


async def test_implicit_mode_looks_back_over_twenty_message_ends(call, text):
    head = ("user", text(1100))

    def turns(count: int) -> list[tuple[str, str]]:
        return [turn for number in range(count) for turn in (("assistant", f"a{number}"), ("user", f"u{number}"))]

    await call.openai(chat(head))
    assert counts(await call.openai(chat(head, *turns(20))))[0] == 1104
    await call.openai(chat(("user", text(1100, "z"))))
    # beyond twenty ends the opening of the conversation is out of sight: it has no developer block
    assert counts(await call.openai(chat(("user", text(1100, "z")), *turns(21))))[0] == 0


async def test_the_window_is_the_first_two_and_newest_fifty_explicit_marks(call, text):
    head = [part(text(1100, tag), MARK) for tag in "abc"]
    options = {"mode": "explicit"}
    tail = [part(f"p{number}", MARK) for number in range(50)]
    await call.openai(chat(("user", head), prompt_cache_options=options))
    assert counts(await call.openai(chat(("user", head + tail), prompt_cache_options=options)))[0] == 2204


async def test_entries_live_thirty_minutes_from_the_last_use(call, clock, text):
    body = chat(("user", text(1100)))
    await call.openai(body)
    clock.advance(29 * 60)
    assert counts(await call.openai(body))[0] == 1104
    clock.advance(29 * 60)
    assert counts(await call.openai(body))[0] == 1104
    clock.advance(30 * 60)
    assert counts(await call.openai(body))[0] == 0


async def test_a_part_may_ask_for_twelve_hours(app, call, clock, text):
    body = chat(("developer", [part(text(1100), {"mode": "explicit", "ttl": "12h"})]), ("user", "hi"))
    await call.openai(body)
    tokens = app.bill.lines[-1].tokens
    assert tokens.cache_write_1h == 1104
    assert tokens.cache_write_30m > 0
    clock.advance(11 * 3600)
    assert counts(await call.openai(body))[0] == 1104


async def test_a_mark_inside_what_was_read_makes_no_entry(call, text):
    developer, marked = part(text(1200)), part(text(1200), MARK)
    await call.openai(chat(("developer", [developer]), ("user", "one")))
    assert counts(await call.openai(chat(("developer", [marked]), ("user", "one"))))[1] == 0
    assert counts(await call.openai(chat(("developer", [marked]), ("user", "two"))))[0] == 0
    assert counts(await call.openai(chat(("developer", [marked]), ("user", "three"))))[0] == 1204


@pytest.mark.parametrize(
    "change",
    [
        {"parallel_tool_calls": False},
        {"reasoning_effort": "high"},
        {"verbosity": "low"},
        {"service_tier": "flex"},
        {"prompt_cache_key": "z"},
        {"model": "gpt-6.1-sol"},
    ],
)
async def test_changed_parameters_break_the_cache(call, text, change):
    tools = [{"type": "function", "function": {"name": "f"}}]
    await call.openai(chat(("user", text(1100)), tools=tools))
    assert counts(await call.openai({**chat(("user", text(1100)), tools=tools), **change}))[0] == 0


async def test_tool_choice_and_spelled_out_defaults_do_not_break_the_cache(call, text):
    tools = [{"type": "function", "function": {"name": "f"}}]
    await call.openai(chat(("user", text(1100)), tools=tools))
    for change in ({"tool_choice": "none"}, {"tool_choice": "required"}, {"parallel_tool_calls": True}, {"temperature": 1}):
        assert counts(await call.openai(chat(("user", text(1100)), tools=tools, **change)))[0] > 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (chat(("user", [part("x", {"mode": "explicit", "ttl": "1h"})])), "messages[0].content[0].prompt_cache_breakpoint.ttl"),
        (chat(("user", [part("x", {"mode": "implicit"})])), "messages[0].content[0].prompt_cache_breakpoint.mode"),
        (chat(("user", "x"), prompt_cache_options={"ttl": "12h"}), "prompt_cache_options.ttl"),
        (
            chat(("user", "x"), tools=[{"type": "function", "function": {"name": "f"}, "prompt_cache_breakpoint": MARK}]),
            "tools[0].prompt_cache_breakpoint",
        ),
        (
            {**chat(("user", "x")), "messages": [{"role": "user", "content": "x", "prompt_cache_breakpoint": MARK}]},
            "messages[0].prompt_cache_breakpoint",
        ),
        (chat(("user", "x"), model="gpt-5.5", prompt_cache_options={"mode": "implicit"}), "prompt_cache_options"),
        (chat(("user", [part("x", MARK)]), model="gpt-4.1"), "messages[0].content[0].prompt_cache_breakpoint"),
        (chat(("user", [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}])), "messages[0].content[0].cache_control"),
    ],
)
async def test_misplaced_directives_are_refused_by_name(call, body, param):
    response = await call.openai(body)
    assert (response.status, response.json["error"]["param"]) == (400, param)
