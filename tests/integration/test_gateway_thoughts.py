"""Reasoning that the client's dialect loses comes back to the vendor who signed it."""

import json

import pytest
from rig import Rig, call

from tokenrouter.sandbox.answers import Scripted, ToolCall

TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "d", "parameters": {"type": "object", "properties": {"x": {"type": "number"}}}},
}
HI = {"role": "user", "content": "please look"}
MODEL = "claude-opus-4-8"


def asked(*messages, **more):
    return {"model": MODEL, "messages": list(messages), "tools": [TOOL], "reasoning_effort": "high", "max_tokens": 20_000, **more}


def sent(rig: Rig):
    """The body of the newest request that the simulated vendor received."""
    return json.loads(rig.sandbox.requests.items[-1].body)


def result(call):
    return {"role": "tool", "tool_call_id": call["id"], "content": "42"}


def plain(message):
    """What a client keeps that knows nothing of reasoning."""
    return {"role": "assistant", "content": message["content"], "tool_calls": message.get("tool_calls")}


async def first_turn(rig: Rig, *, stream: bool = False, **more):
    rig.sandbox.script(Scripted(vendor="anthropic", thinking="I must look", text="Looking.", calls=(ToolCall("look", '{"x": 1}'),)))
    response = await rig.chat(asked(HI, stream=stream, **more))
    assert response.status == 200, response.body
    if not stream:
        return plain(response.json["choices"][0]["message"])
    calls = {}
    for event in response.events:
        for choice in event.get("choices", ()) if isinstance(event, dict) else ():
            for piece in choice["delta"].get("tool_calls", ()):
                call = calls.setdefault(piece["index"], {"id": piece.get("id"), "type": "function", "function": {"name": "", "arguments": ""}})
                call["function"]["name"] += piece["function"].get("name") or ""
                call["function"]["arguments"] += piece["function"].get("arguments") or ""
    return {"role": "assistant", "content": response.text, "tool_calls": list(calls.values())}


def thoughts(message):
    return [block for block in message["content"] if block["type"] == "thinking"]


@pytest.mark.parametrize("stream", [False, True])
async def test_signed_thinking_returns_in_front_of_the_turn_it_led_to(rig: Rig, stream):
    turn = await first_turn(rig, stream=stream)
    response = await rig.chat(asked(HI, turn, result(turn["tool_calls"][0])))
    assert response.status == 200, response.body
    assistant = sent(rig)["messages"][1]
    assert [block["type"] for block in assistant["content"]] == ["thinking", "text", "tool_use"]
    assert assistant["content"][0]["thinking"] == "I must look"
    assert assistant["content"][0]["signature"]
    assert "thoughts.attach" in response.headers["x-tokenrouter-edits"]


async def test_thinking_is_not_put_back_for_another_tenant(rig: Rig):
    turn = await first_turn(rig)
    other = rig.new_key("other")
    await rig.chat(asked(HI, turn, result(turn["tool_calls"][0])), key=other)
    assert not thoughts(sent(rig)["messages"][1])


async def test_thinking_is_not_put_back_where_the_edit_is_off(rig: Rig):
    turn = await first_turn(rig)
    response = await rig.chat(asked(HI, turn, result(turn["tool_calls"][0])), headers={"x-edits-off": "thoughts.attach"})
    assert not thoughts(sent(rig)["messages"][1])
    assert "thoughts.attach" not in response.headers["x-tokenrouter-edits"]


async def test_a_turn_of_text_alone_gets_its_thinking_back_behind_the_very_same_prompt_only(rig: Rig):
    rig.sandbox.script(Scripted(vendor="anthropic", thinking="easy", text="OK"))
    assert (await rig.chat(asked(HI))).status == 200
    said, more = {"role": "assistant", "content": "OK"}, {"role": "user", "content": "and now?"}
    assert (await rig.chat(asked(HI, said, more))).status == 200
    assert [block["thinking"] for block in thoughts(sent(rig)["messages"][1])] == ["easy"]
    assert (await rig.chat(asked({"role": "user", "content": "something else"}, said, more))).status == 200
    assert not thoughts(sent(rig)["messages"][1])


async def test_a_client_that_returns_its_reasoning_itself_is_left_alone(rig: Rig):
    rig.sandbox.script(Scripted(vendor="anthropic", thinking="I must look", calls=(ToolCall("look", '{"x": 1}'),)))
    message = (await rig.chat(asked(HI))).json["choices"][0]["message"]
    response = await rig.chat(asked(HI, message, result(message["tool_calls"][0])))
    assert len(thoughts(sent(rig)["messages"][1])) == 1
    assert "thoughts.attach" not in response.headers["x-tokenrouter-edits"]


async def test_arguments_that_the_client_spelled_anew_are_still_the_same_call(rig: Rig):
    turn = await first_turn(rig)
    made = turn["tool_calls"][0]
    made["function"]["arguments"] = json.dumps(json.loads(made["function"]["arguments"]), indent=2)
    await rig.chat(asked(HI, turn, result(made)))
    assert len(thoughts(sent(rig)["messages"][1])) == 1


async def test_readable_thinking_without_its_signature_gives_way_to_what_was_kept(rig: Rig):
    """Ollama's clients echo the text of the thinking, which is all that their dialect has."""

    def ask(*messages):
        fields = {"model": f"anthropic/{MODEL}", "messages": list(messages), "tools": [TOOL], "think": True, "stream": False}
        return call(rig.app, "POST", "/api/chat", json.dumps(fields).encode(), {"authorization": f"Bearer {rig.key}"})

    rig.sandbox.script(Scripted(vendor="anthropic", thinking="I must look", calls=(ToolCall("look", '{"x": 1}'),)))
    message = (await ask(HI)).json["message"]
    assert message["thinking"] == "I must look"
    response = await ask(HI, message, {"role": "tool", "tool_name": "look", "content": "42"})
    assert response.status == 200, response.body
    (thought,) = thoughts(sent(rig)["messages"][1])
    assert thought["signature"]
    assert "thoughts.attach" in response.headers["x-tokenrouter-edits"]
