"""Clients that shuffle, before the whole gateway: with the edits that remember, a vendor's cache takes them for one that does not."""

import json

from rig import Rig
from shufflers import MODEL, Shuffler, cost, totals


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
