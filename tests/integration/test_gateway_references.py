"""Clients of Responses that refer to earlier items instead of sending them, where another vendor answered."""

import json
from typing import Any

import pytest
from rig import Rig, call

PATH = "/v1/responses"
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}}
MODELS = ["claude-opus-4-8", "gemini-3.6-flash", "deepseek-reasoner"]


async def respond(rig: Rig, body: dict[str, Any], *, key: str | None = None) -> Any:
    answer = await call(rig.app, "POST", PATH, json.dumps(body).encode(), {"authorization": f"Bearer {key or rig.key}"})
    if answer.status == 200 and body.get("stream"):
        return answer.events[-1]["response"], answer
    return answer.json, answer


def referring(output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items as AI SDK sends them: references, but for the calls themselves."""
    return [item if item["type"] == "function_call" else {"type": "item_reference", "id": item["id"]} for item in output]


def sent(rig: Rig) -> bytes:
    return rig.sandbox.requests.items[-1].body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
async def test_references_stand_for_what_was_said(rig: Rig, model: str, stream: bool):
    body: dict[str, Any] = {"model": model, "tools": [LOOK], "reasoning": {"effort": "low"}, "stream": stream}
    asked = [{"role": "user", "content": "please call look"}]
    first, _ = await respond(rig, {**body, "input": asked})
    (called,) = [item for item in first["output"] if item["type"] == "function_call"]
    result = {"type": "function_call_output", "call_id": called["call_id"], "output": "42"}
    whole, _ = await respond(rig, {**body, "input": [*asked, *first["output"], result]})
    as_items = sent(rig)
    second, answer = await respond(rig, {**body, "input": [*asked, *referring(first["output"]), result]})
    assert answer.status == 200, answer.body
    assert sent(rig) == as_items
    assert [item["type"] for item in second["output"]] == [item["type"] for item in whole["output"]]
    assert ("items.recalled" in answer.headers["x-tokenrouter-edits"]) == (referring(first["output"]) != first["output"])
    _, answer = await respond(rig, {**body, "input": [*asked, *referring(first["output"]), result, *referring(second["output"]), *asked]})
    assert answer.status == 200, answer.body
    text = next(part["text"] for item in second["output"] if item["type"] == "message" for part in item["content"])
    assert json.dumps(text)[1:-1].encode() in sent(rig)


async def test_what_is_not_kept_is_refused_by_its_place(rig: Rig):
    asked = {"role": "user", "content": "hi"}
    first, _ = await respond(rig, {"model": "claude-haiku-4-5", "input": [asked], "store": False})
    (message,) = first["output"]
    for name in (message["id"], "msg_of_nobody"):
        _, answer = await respond(rig, {"model": "claude-haiku-4-5", "input": [asked, {"type": "item_reference", "id": name}, asked]})
        assert (answer.status, answer.error["param"]) == (400, "input[1].type")
    assert rig.sandbox.requests.seen == 1


async def test_items_are_their_tenants_alone(rig: Rig):
    asked = {"role": "user", "content": "hi"}
    first, _ = await respond(rig, {"model": "claude-haiku-4-5", "input": [asked]})
    again = {"model": "claude-haiku-4-5", "input": [asked, *referring(first["output"]), asked]}
    _, answer = await respond(rig, again)
    assert answer.status == 200
    _, answer = await respond(rig, again, key=rig.new_key("evil"))
    assert (answer.status, answer.error["param"]) == (400, "input[1].type")
    assert first["output"][0]["content"][0]["text"] not in answer.body.decode()


async def test_a_conversation_moves_to_the_vendor_itself_with_its_items_written_out(rig: Rig):
    asked = {"role": "user", "content": "hi"}
    first, _ = await respond(rig, {"model": "claude-haiku-4-5", "input": [asked]})
    _, answer = await respond(rig, {"model": "gpt-4.1", "input": [asked, *referring(first["output"]), asked]})
    assert answer.status == 200, answer.body
    assert first["output"][0]["content"][0]["text"] in sent(rig).decode()
