"""Clients that shuffle, before the whole gateway: with the edits that remember, a vendor's cache takes them for one that does not."""

import json

import msgspec
import pytest
from rig import Rig, call, question
from shufflers import MODEL, Shuffler, cost, totals

from tokenrouter.adapters.inbound.anthropic import AnthropicMessagesDialect
from tokenrouter.pipeline.canonicalizer import read_piece
from tokenrouter.prefixes.spellings import ToolSpelled
from tokenrouter.sandbox.answers import Scripted, ToolCall


async def test_a_conversation_with_shuffled_tools_keys_and_ids_reads_back_its_whole_history(rig: Rig):
    client = Shuffler(rig, 1)
    await client.run(10)
    for before, after in zip(client.usage, client.usage[1:], strict=False):
        assert after["cache_read_input_tokens"] == before["cache_read_input_tokens"] + before["cache_creation_input_tokens"]
        assert after["cache_read_input_tokens"] >= 0.99 * totals(before)
    assert {"tools.order", "tools.spelling", "calls.spelling"} <= set(client.edits[-1].split(","))


async def test_two_users_of_one_such_client_converge_and_cost_a_sixth_of_asking_without_a_cache(rig: Rig):
    first, second = Shuffler(rig, 1), Shuffler(rig, 2)
    await first.run(10)
    await second.run(10)
    shared = second.usage[0]["cache_read_input_tokens"]
    assert shared > 0.95 * totals(second.usage[0])  # tools and system text, written by the other
    assert cost(first.usage + second.usage) <= 0.17


async def test_without_the_edits_such_clients_miss(rig: Rig):
    off = {"x-edits-off": "tools.spelling,calls.spelling"}
    first, second = Shuffler(rig, 1, **off), Shuffler(rig, 2, **off)
    await first.run(4)
    await second.run(1)
    assert all(usage["cache_read_input_tokens"] == 0 for usage in first.usage + second.usage)
    assert cost(first.usage) > 1.1


async def test_without_the_spelling_of_calls_only_what_stands_before_the_first_call_is_read(rig: Rig):
    client = Shuffler(rig, 1, **{"x-edits-off": "calls.spelling"})
    await client.run(4)
    assert len({usage["cache_read_input_tokens"] for usage in client.usage[1:]}) == 1


async def test_tenants_teach_each_other_nothing(rig: Rig):
    first, second = Shuffler(rig, 1), Shuffler(rig, 2, key=rig.new_key("other"))
    await first.run(1)
    await second.run(1)
    assert second.usage[0]["cache_read_input_tokens"] == 0
    assert "tools.spelling" not in second.edits[0]


async def test_what_goes_up_says_the_same_in_the_first_spelling(rig: Rig):
    client = Shuffler(rig, 1)
    await client.run(3)
    bodies = [json.loads(request.body) for request in rig.sandbox.requests.items]
    texts = [json.dumps(body["tools"]) for body in bodies]
    marks = ', "cache_control": {"type": "ephemeral"}'
    assert len({text.replace(marks, "") for text in texts}) == 1
    assert {one["name"] for one in bodies[0]["tools"]} == {one["name"] for one in client.tools}
    said = {one["name"]: one for one in client.tools}
    for one in bodies[-1]["tools"]:
        assert {name: value for name, value in one.items() if name != "cache_control"} == said[one["name"]]
    emitted = [block for role, turn in client.turns if role == "assistant" for block in turn if block["type"] == "tool_use"]
    sent = [block for message in bodies[-1]["messages"] for block in message["content"] if block["type"] == "tool_use"]
    assert [json.dumps(block["input"]) for block in sent] == [json.dumps(block["input"]) for block in emitted[: len(sent)]]
    assert [block["id"] for block in sent] == [block["id"] for block in emitted[: len(sent)]]
    results = [block["tool_use_id"] for message in bodies[-1]["messages"] for block in message["content"] if block["type"] == "tool_result"]
    assert results == [block["id"] for block in sent]
    assert bodies[-1]["model"] == MODEL


FUNCTION = {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}, "n": {"type": "integer"}}}}
SAID = '{"at":"x","n":1}'


def newest(rig: Rig) -> dict:
    return json.loads(rig.sandbox.requests.items[-1].body)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-5", "gemini-2.5-flash"])
async def test_arguments_that_a_framework_wrote_anew_go_up_as_the_model_wrote_them(rig: Rig, model: str, streams: bool):
    rig.sandbox.script(Scripted(calls=(ToolCall("look", SAID),)))
    tools = [{"type": "function", "function": FUNCTION}]
    messages = [{"role": "user", "content": "go"}]
    first = await rig.chat({"model": model, "messages": messages, "tools": tools, "stream": streams})
    if streams:
        deltas = [event["choices"][0]["delta"] for event in first.events if event != "[DONE]" and event["choices"]]
        call_id = next(delta["tool_calls"][0]["id"] for delta in deltas if delta.get("tool_calls"))
    else:
        call_id = first.json["choices"][0]["message"]["tool_calls"][0]["id"]
    again = {"id": "call_made_up", "type": "function", "function": {"name": "look", "arguments": '{"n": 1, "at": "x"}'}}
    messages += [{"role": "assistant", "content": None, "tool_calls": [again]}, {"role": "tool", "tool_call_id": "call_made_up", "content": "42"}]
    response = await rig.chat({"model": model, "messages": messages, "tools": tools})
    assert response.status == 200, response.body
    assert "calls.spelling" in response.headers["x-tokenrouter-edits"]
    body = json.dumps(newest(rig))
    assert "call_made_up" not in body
    if model == "gpt-4.1":
        sent = newest(rig)["messages"][1]["tool_calls"][0]
        assert (sent["id"], sent["function"]["arguments"]) == (call_id, SAID)
        assert newest(rig)["messages"][2]["tool_call_id"] == call_id
    else:
        assert '{"at": "x", "n": 1}' in body


async def test_items_of_the_responses_api_are_sent_as_the_model_wrote_them(rig: Rig):
    rig.sandbox.script(Scripted(calls=(ToolCall("look", SAID),)))
    body = {"model": "gpt-4.1", "store": False, "tools": [{"type": "function", **FUNCTION}], "input": [{"role": "user", "content": "go"}]}
    headers = {"authorization": f"Bearer {rig.key}"}
    first = await call(rig.app, "POST", "/v1/responses", json.dumps(body).encode(), headers)
    (said,) = [item for item in first.json["output"] if item["type"] == "function_call"]
    again = {"type": "function_call", "call_id": "mine", "name": "look", "arguments": '{"n": 1, "at": "x"}'}
    body["input"] += [again, {"type": "function_call_output", "call_id": "mine", "output": "42"}]
    response = await call(rig.app, "POST", "/v1/responses", json.dumps(body).encode(), headers)
    assert response.status == 200, response.body
    sent = newest(rig)["input"]
    assert (sent[1]["call_id"], sent[1]["arguments"], sent[2]["call_id"]) == (said["call_id"], SAID, said["call_id"])


async def test_a_repeated_idempotency_key_is_no_mismatch_when_a_spelling_was_learned_in_between(rig: Rig):
    def body(schema: dict) -> dict:
        return question(tools=[{"type": "function", "function": {"name": "look", "parameters": schema}}], temperature=None)

    one, other = {"type": "object", "title": "t"}, {"title": "t", "type": "object"}
    first = await rig.chat(body(one), headers={"idempotency-key": "k1"})
    rig.services.prompts.edits.tools._kept._tenants.clear()
    await rig.chat(body(other))
    again = await rig.chat(body(one), headers={"idempotency-key": "k1"})
    assert (again.status, again.cache, again.text) == (200, "hit", first.text)


async def test_a_request_that_is_only_respelled_goes_up_respelled(rig: Rig):
    def body(call_id: str) -> dict:
        said = {"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}"}}
        result = {"role": "tool", "tool_call_id": call_id, "content": "42"}
        return {
            "model": "gpt-4.1",
            "messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": None, "tool_calls": [said]}, result],
        }

    await rig.chat(body("call_a"))
    response = await rig.chat(body("call_b"))
    assert response.headers["x-tokenrouter-edits"] == "calls.spelling"
    assert newest(rig)["messages"] == body("call_a")["messages"]


@pytest.mark.parametrize("spelling", [b'{"name":"look","description":"Deletes.","input_schema":{"type":"object"}}', b'{"name":', b"[]"])
@pytest.mark.parametrize("marks", [{}, {"cache_control": {"type": "ephemeral"}}])
async def test_a_spelling_that_says_another_thing_is_not_used(rig: Rig, spelling: bytes, marks: dict[str, object]):
    tool = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}, **marks}
    asked = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "Hello."}], "tools": [tool]}
    await call(rig.app, "POST", "/v1/messages", json.dumps(asked).encode(), {"x-api-key": rig.key})
    kin = read_piece(msgspec.Raw(json.dumps(tool).encode()), "tool", AnthropicMessagesDialect().grammar, ()).kin
    told = ToolSpelled("default", "anthropic", kin, b"another".ljust(16), spelling, 0)
    rig.services.prompts.hear(msgspec.msgpack.encode(told))
    answer = await call(rig.app, "POST", "/v1/messages", json.dumps(asked).encode(), {"x-api-key": rig.key})
    assert answer.status == 200, answer.body
    (sent,) = json.loads(rig.sandbox.requests.items[-1].body)["tools"]
    assert sent["description"] == "Looks."
    assert "tools.spelling" not in answer.headers["x-tokenrouter-edits"]
