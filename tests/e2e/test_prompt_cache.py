"""What the gateway is for: conversations whose prompts are read from the provider's cache, whatever their client does to them."""

import json
import random

import pytest
from openai import OpenAI
from served import Gateway, Sandbox

SYSTEM = "You are a careful assistant with many rules. " + " ".join(f"Rule {n}: weigh the matter from side {n} before you speak." for n in range(700))
NAMES = ["search", "read", "write", "list", "move", "copy", "test", "build"]


def tools(rng: random.Random | None) -> list[dict]:
    schema = {"type": "object", "properties": {"path": {"type": "string"}, "depth": {"type": "integer"}}, "required": ["path"]}
    found = [{"type": "function", "function": {"name": name, "description": f"{name} " * 30, "parameters": schema}} for name in NAMES]
    if rng is not None:
        rng.shuffle(found)
    return found


def converse(client: OpenAI, model: str, turns: int, *, shuffle: bool = False, edits_off: str = "", stream: bool = False) -> list[tuple[int, int]]:
    """An agent's conversation of so many calls: (prompt tokens, cached tokens) of each."""
    rng = random.Random(1) if shuffle else None
    messages: list[dict] = [{"role": "system", "content": SYSTEM}]
    used = []
    for turn in range(turns):
        if turn % 2 == 0:
            messages.append(
                {"role": "user", "content": f"Step {turn}: please call {NAMES[turn % 8]} and {NAMES[(turn + 3) % 8]}. " + f"Context {turn}. " * 60}
            )
        headers = {"x-edits-off": edits_off} if edits_off else {}
        fields = {"model": model, "messages": messages, "tools": tools(rng), "extra_headers": headers}
        if stream:
            with client.chat.completions.stream(**fields, stream_options={"include_usage": True}) as events:
                answer = events.get_final_completion()
        else:
            answer = client.chat.completions.create(**fields)
        message = answer.choices[0].message
        used.append((answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens if answer.usage.prompt_tokens_details else 0))
        messages.append(json.loads(message.model_dump_json(exclude_none=True, exclude={"parsed": True})))
        for call in message.tool_calls or ():
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"Result of {call.function.name}: " + "line of output. " * 40})
    return used


def cached(used: list[tuple[int, int]]) -> list[int]:
    return [count for _, count in used]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-8", "claude-haiku-4-5"])
def test_each_turn_of_an_agent_reads_more_from_claudes_cache(client: OpenAI, model: str, stream: bool):
    used = converse(client, model, 10, stream=stream)
    first, *rest = cached(used)
    assert first == 0
    assert all(later > earlier for earlier, later in zip([0, *rest], rest, strict=False))
    assert all(count > 0.8 * prompt for prompt, count in used[1:])


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gpt-4.1", "gpt-5.4", "gpt-6-sol"])
def test_shuffled_tools_hit_as_often_as_sorted_ones_and_not_without_the_edits(client: OpenAI, sandbox: Sandbox, model: str):
    clean = converse(client, model, 8)
    sandbox.control("reset")
    shuffled = converse(client, model, 8, shuffle=True)
    assert shuffled == clean
    assert all(count > 0.5 * prompt for prompt, count in clean[1:])
    sandbox.control("reset")
    untouched = converse(client, model, 8, shuffle=True, edits_off="all")
    assert sum(cached(untouched)) < 0.2 * sum(cached(clean))


def test_without_the_gateways_marks_claude_caches_nothing(client: OpenAI):
    assert sum(cached(converse(client, "claude-sonnet-4-5", 4, edits_off="marks.plan"))) == 0


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-5.4", "gpt-6-sol"])
def test_conversations_hit_on_openai(client: OpenAI, model: str):
    used = converse(client, model, 10)
    assert all(count > 0.7 * prompt for prompt, count in used[2:])
    assert cached(used)[-1] > cached(used)[2]


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gpt-6-sol"])
def test_conversations_of_one_app_share_what_they_have_in_common(client: OpenAI, model: str):
    shared = [{"role": "system", "content": f"Nobody has ever asked {model} like this. {SYSTEM}"}]
    counts = []
    for number in range(4):
        messages = [*shared, {"role": "user", "content": f"An unrelated question number {number}. " * 30}]
        answer = client.chat.completions.create(model=model, messages=messages, tools=tools(None))
        counts.append(answer.usage.prompt_tokens_details.cached_tokens)
    assert counts[0] == 0
    assert min(counts[1:]) > 0.8 * len(SYSTEM) / 4


def test_the_books_agree_with_the_vendors_bill(client: OpenAI, gateway: Gateway, sandbox: Sandbox):
    before = gateway.get("/admin/api-keys", "admin-of-these-tests")[1]["data"][0]["spent_usd"]
    converse(client, "claude-sonnet-4-5", 6, stream=True)
    converse(client, "gpt-6-sol", 6)
    after = gateway.get("/admin/api-keys", "admin-of-these-tests")[1]["data"][0]["spent_usd"]
    nano = round((float(after) - float(before)) * 1e9)
    assert nano == sandbox.control("bill")["nano_usd"] > 0
