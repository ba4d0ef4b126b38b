"""Anthropic says why a prompt could not be reused, to those who ask: https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics."""

import copy

import pytest

TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
FIRST = {"role": "user", "content": "hi"}
ASKED = {
    "model": "claude-opus-4-8",
    "max_tokens": 100,
    "system": "Be brief. " * 40,
    "tools": [TOOL],
    "messages": [FIRST],
    "diagnostics": {"previous_message_id": None},
}


async def reason(call, first, second):
    """What is said of the second request, compared with the first."""
    before = await call.claude(first)
    assert before.status == 200, before.body
    assert before.json.get("diagnostics") is None
    after = await call.claude({**second, "diagnostics": {"previous_message_id": before.json["id"]}})
    said = after.json.get("diagnostics")
    return said and said["cache_miss_reason"]


def changed(**members):
    return {**copy.deepcopy(ASKED), **members}


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (changed(model="claude-opus-4-7"), "model_changed"),
        (changed(tools=[{**TOOL, "description": "Looks far."}]), "tools_changed"),
        (changed(system="Be verbose."), "system_changed"),
        (changed(messages=[{"role": "user", "content": "hello"}]), "messages_changed"),
        (changed(tool_choice={"type": "none"}), "unavailable"),
        (changed(tools=[], system="x"), "tools_changed"),
    ],
)
async def test_the_first_level_that_differs_is_named(call, second, kind):
    said = await reason(call, ASKED, second)
    assert said["type"] == kind
    assert kind == "unavailable" or said["cache_missed_input_tokens"] >= 0
    assert kind not in ("model_changed", "system_changed") or said["cache_missed_input_tokens"] > 100


async def test_a_prompt_that_goes_on_is_not_explained(call):
    more = [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]
    system = [{"type": "text", "text": ASKED["system"], "cache_control": {"type": "ephemeral"}}]
    more += [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "and now?"}]
    assert await reason(call, ASKED, changed(messages=more, system=system)) is None


async def test_only_requests_that_asked_are_remembered(call):
    silent = {name: value for name, value in ASKED.items() if name != "diagnostics"}
    assert await reason(call, silent, changed(system="x")) == {"type": "previous_message_not_found"}


async def test_a_stream_says_it_in_its_first_event(call):
    before = await call.claude(ASKED)
    body = changed(system="x", stream=True, diagnostics={"previous_message_id": before.json["id"]})
    events = (await call.claude(body)).events
    assert events[0]["message"]["diagnostics"]["cache_miss_reason"]["type"] == "system_changed"
    assert not any("diagnostics" in str(event) for event in events[1:])


@pytest.mark.parametrize("wrong", ["yes", {"previous_message_id": 3}, {"previous": "msg_1"}])
async def test_a_malformed_question_is_refused(call, wrong):
    assert (await call.claude(changed(diagnostics=wrong))).status == 400
