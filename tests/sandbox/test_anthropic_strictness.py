"""Anthropic: what is refused, thinking blocks, and tools."""

from typing import Any

import pytest

TOOL = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}}, "required": ["city", "unit"]},
}
USER = {"role": "user", "content": "hi"}
CALL = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "x"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "21 C"}
MARK = {"type": "ephemeral"}
DROP = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
BETA = "thinking-binding-controls-2026-08-01"


def ask(messages: Any = None, model: str = "claude-opus-4-8", **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 300, "messages": messages or [USER], **more}


def said(*blocks: Any, role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": "claude-opus-5", "messages": [USER]}, "max_tokens: Field required"),
        (ask(foo=1), "foo: Extra inputs are not permitted"),
        (ask([{"role": "robot", "content": "x"}]), "messages.0.role"),
        (ask([said({"type": "text", "text": "x"})]), "first message must use"),
        (ask([said({"type": "text", "text": ""}, role="user")]), "text content blocks must be non-empty"),
        (ask([{"role": "user", "content": ""}]), "non-empty content"),
        (ask([said({"type": "text", "text": "", "cache_control": MARK}, role="user")]), "cache_control cannot be set for empty text blocks"),
        (ask([USER, said({"type": "thinking", "thinking": "x", "signature": "y", "cache_control": MARK}), USER]), "Extra inputs are not permitted"),
        (ask([USER, said({"type": "thinking", "thinking": "x", "signature": "c29tZW9uZQ=="}), USER]), "Invalid `signature`"),
        (ask([said({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "2h"}}, role="user")]), "ttl"),
        (ask([said(RESULT, role="user")]), "unexpected `tool_use_id`"),
        (ask([USER, said(CALL), USER], tools=[TOOL]), "without `tool_result` blocks immediately after: t1"),
        (ask([USER, said(CALL), said({"type": "text", "text": "so"}, RESULT, role="user")], tools=[TOOL]), "without `tool_result`"),
        (ask(tools=[TOOL, TOOL]), "Tool names must be unique"),
        (ask(tools=[{"name": "bad name", "input_schema": {"type": "object"}}]), "should match pattern"),
        (ask(tool_choice={"type": "any"}), "only be specified while providing tools"),
        (ask([USER, {"role": "assistant", "content": "trailing "}]), "trailing whitespace"),
        (ask([USER, {"role": "assistant", "content": "The answer is ("}], model="claude-opus-5-5"), "prefill"),
        (ask(model="claude-opus-5-5", temperature=0), "default value"),
        (ask(model="claude-opus-5-5", tools=[TOOL], tool_choice={"type": "any"}), "not supported"),
        (ask(model="claude-opus-5-5", thinking={"type": "disabled"}), "not supported"),
        (ask(model="claude-sonnet-5", messages=[USER, {"role": "system", "content": "x"}]), "system messages"),
        (ask(thinking={"type": "adaptive", "block_binding": {}}), "block_binding: Extra inputs"),
        (b'{"model":"claude-opus-5","max_tokens":1,"max_tokens":2,"messages":[]}', "same key twice"),
        (b'{"model":', "could not parse"),
    ],
)
async def test_invalid_requests_are_refused_in_anthropics_shape(call, body, words):
    response = await call.claude(body)
    assert response.status == 400
    assert response.json["type"] == "error"
    assert response.json["error"]["type"] == "invalid_request_error"
    assert words in response.message
    assert response.json["request_id"] == response.headers["request-id"]


async def test_version_header_key_and_model_are_checked(call):
    assert (await call.post("/anthropic/v1/messages", ask())).status == 400
    assert (await call.claude(ask(), key="invalid-key")).json["error"]["type"] == "authentication_error"
    assert (await call.claude(ask(), key="")).status == 401
    missing = await call.claude(ask(model="claude-nope"))
    assert (missing.status, missing.json["error"]["type"]) == (404, "not_found_error")
    assert (await call.claude(ask(temperature=1), version="2026-10-21")).status == 400


async def test_neighbours_of_one_role_are_merged(call, text):
    together = said({"type": "text", "text": text(1500)}, {"type": "text", "text": "b", "cache_control": MARK}, role="user")
    await call.claude(ask([together]))
    apart = [{"role": "user", "content": text(1500)}, said({"type": "text", "text": "b", "cache_control": MARK}, role="user")]
    assert (await call.claude(ask(apart))).json["usage"]["cache_read_input_tokens"] > 1500


async def test_system_messages_in_the_middle_follow_a_user_turn(call):
    late = {"role": "system", "content": "be brief"}
    assert (await call.claude(ask([USER, late]))).status == 200
    assert (await call.claude(ask([USER, {"role": "assistant", "content": "a"}, late]))).status == 400


async def test_tools_are_called_when_asked_for_or_forced_and_answered_with_text(call):
    asked = await call.claude(ask([{"role": "user", "content": "please use get_weather for me"}], tools=[TOOL]))
    block = asked.json["content"][-1]
    assert (asked.json["stop_reason"], block["name"], set(block["input"])) == ("tool_use", "get_weather", {"city", "unit"})
    assert block["input"]["unit"] in ("C", "F")
    forced = await call.claude(ask(tools=[TOOL], tool_choice={"type": "tool", "name": "get_weather"}))
    assert forced.json["stop_reason"] == "tool_use"
    assert (await call.claude(ask(tools=[TOOL]))).json["stop_reason"] == "end_turn"
    history = [{"role": "user", "content": "use get_weather"}, said(CALL), said(RESULT, role="user")]
    assert (await call.claude(ask(history, tools=[TOOL]))).json["stop_reason"] == "end_turn"


async def test_structured_output_has_required_keys_first(call):
    schema = {
        "type": "object",
        "properties": {"note": {"type": "string"}, "score": {"type": "integer"}, "name": {"type": "string"}},
        "required": ["name", "score"],
    }
    response = await call.claude(ask(output_config={"format": {"type": "json_schema", "schema": schema}}))
    text = response.json["content"][0]["text"]
    assert [part.split('"')[1] for part in text.strip("{}").split(",")] == ["score", "name", "note"]


async def turn_one(call: Any, model: str = "claude-opus-5-5", **more: Any) -> list[dict[str, Any]]:
    response = await call.claude(ask(model=model, system="be kind", **more))
    assert [item["type"] for item in response.json["content"]] == ["thinking", "text"]
    return [USER, {"role": "assistant", "content": response.json["content"]}, {"role": "user", "content": "more"}]


async def test_bound_thinking_is_valid_in_its_own_conversation(call):
    history = await turn_one(call)
    assert (await call.claude(ask(history, model="claude-opus-5-5", system="be kind"))).status == 200
    marked = [{"type": "text", "text": "be kind", "cache_control": MARK}]
    assert (await call.claude(ask(history, model="claude-opus-5-5", system=marked, max_tokens=99))).status == 200


@pytest.mark.parametrize("change", ["system", "tools", "message", "split"])
async def test_bound_thinking_in_another_conversation_is_refused_or_dropped(call, change):
    history = await turn_one(call)
    body = ask(history, model="claude-opus-5-5", system="be kind")
    match change:
        case "system":
            body["system"] = "be kind!"
        case "tools":
            body["tools"] = [TOOL]
        case "message":
            body["messages"] = [{"role": "user", "content": "hello"}, *history[1:]]
        case _:
            body["system"] = [{"type": "text", "text": "be "}, {"type": "text", "text": "kind"}]
    refused = await call.claude(body)
    assert refused.status == 400
    assert "bound to a different conversation" in refused.message
    dropped = await call.claude({**body, "thinking": DROP}, beta=BETA)
    assert dropped.json["input_transformations"] == [
        {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "prefix_binding_mismatch"}
    ]
    without = [history[0], {"role": "assistant", "content": history[1]["content"][1:]}, history[2]]
    if change != "message":
        assert sum_input(dropped) == sum_input(await call.claude({**body, "messages": without}))


def sum_input(response: Any) -> int:
    return response.json["usage"]["input_tokens"]


async def test_leading_thinking_may_go_and_middle_thinking_may_not(call):
    history = await turn_one(call)
    for _ in range(2):
        answer = await call.claude(ask(history, model="claude-opus-5-5", system="be kind"))
        history = [*history, {"role": "assistant", "content": answer.json["content"]}, {"role": "user", "content": "more"}]

    def without(index: int) -> Any:
        messages = [dict(message) for message in history]
        messages[index]["content"] = messages[index]["content"][1:]
        return ask(messages, model="claude-opus-5-5", system="be kind")

    assert (await call.claude(without(1))).status == 200
    assert (await call.claude(without(3))).status == 400


async def test_only_sonnet_5_5_binds_thinking_to_the_account(call):
    for model, status in (("claude-opus-5-5", 200), ("claude-sonnet-5-5", 400)):
        history = await turn_one(call, model)
        assert (await call.claude(ask(history, model=model, system="be kind"), key="other")).status == status


async def test_older_models_check_the_signature_only(call):
    history = await turn_one(call, "claude-opus-5", thinking={"type": "adaptive"})
    assert (await call.claude(ask(history, model="claude-opus-5", system="other"))).status == 200
    history[1]["content"][0]["thinking"] += "!"
    assert (await call.claude(ask(history, model="claude-opus-5"))).status == 400


async def test_older_models_forget_thinking_before_the_last_question(call):
    config = {"type": "enabled", "budget_tokens": 1024}
    history = await turn_one(call, "claude-sonnet-4-5", thinking=config, max_tokens=2000)
    with_it = await call.claude(ask(history, model="claude-sonnet-4-5", system="be kind"))
    history[1]["content"] = history[1]["content"][1:]
    assert sum_input(with_it) == sum_input(await call.claude(ask(history, model="claude-sonnet-4-5", system="be kind")))
