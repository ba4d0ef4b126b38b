"""A host that speaks several wires is asked on the one that loses least of what the client said."""

import base64
import json
from typing import Any

import anthropic
import httpx2
import pytest
from rig import Rig, call

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 64).decode()
LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}}
RESPONSES, CHAT = "/openai/v1/responses", "/openai/v1/chat/completions"


@pytest.fixture
async def claude_client(rig: Rig):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app))
    async with anthropic.AsyncAnthropic(api_key=rig.key, base_url="http://gateway", http_client=http, max_retries=0) as made:
        yield made


async def post(rig: Rig, path: str, body: dict[str, Any]) -> Any:
    answer = await call(rig.app, "POST", path, json.dumps(body).encode(), {"authorization": f"Bearer {rig.key}"})
    assert answer.status == 200, answer.body
    return answer


def where(rig: Rig) -> str:
    path = rig.sandbox.requests.items[-1].path
    return next(known for known in (RESPONSES, CHAT) if known.endswith(path.removeprefix("/v1")))


def received(rig: Rig) -> Any:
    return json.loads(rig.sandbox.requests.items[-1].body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-5", "gpt-5.4"])
async def test_a_claude_clients_tool_loop_keeps_the_reasoning_of_openais_models(rig, claude_client, model, stream):
    messages: list[Any] = [{"role": "user", "content": "Please call look."}]
    body: Any = {"model": model, "max_tokens": 8_000, "tools": [LOOK], "thinking": {"type": "enabled", "budget_tokens": 4_000}}
    for _ in range(2):
        if stream:
            async with claude_client.messages.stream(messages=messages, **body) as events:
                answer = await events.get_final_message()
        else:
            answer = await claude_client.messages.create(messages=messages, **body)
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            break
        picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
        result = {"type": "tool_result", "tool_use_id": calls[0].id, "content": [{"type": "text", "text": "a dot"}, picture]}
        messages += [{"role": "assistant", "content": [block.to_dict() for block in answer.content]}, {"role": "user", "content": [result]}]
    assert answer.stop_reason == "end_turn"
    assert where(rig) == RESPONSES
    kinds = [item["type"] for item in received(rig)["input"]]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output"]
    _, thought, made, output = received(rig)["input"]
    assert thought["id"].startswith("rs_")
    assert thought["encrypted_content"]
    assert made["call_id"] == output["call_id"]
    assert [part["type"] for part in output["output"]] == ["input_text", "input_image"]
    await rig.landed()
    assert all("dropped" not in json.loads(row["record"]) for row in rig.billed_rows())


async def test_a_stop_string_goes_where_there_are_some(rig, claude_client):
    body: Any = {"model": "gpt-4.1", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
    await claude_client.messages.create(**body)
    assert where(rig) == RESPONSES
    await claude_client.messages.create(**body, stop_sequences=["END"])
    assert where(rig) == CHAT
    assert received(rig)["stop"] == ["END"]


@pytest.mark.parametrize(
    ("options", "expected"), [({}, RESPONSES), ({"temperature": 0.5}, RESPONSES), ({"seed": 7}, CHAT), ({"presence_penalty": 0.5}, CHAT)]
)
async def test_sampling_goes_where_it_is_carried(rig, options, expected):
    answer = await post(rig, "/api/chat", {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}], "options": options, "stream": False})
    assert where(rig) == expected
    assert "x-tokenrouter-dropped" not in answer.headers
    assert all(received(rig)[name] == value for name, value in options.items())


@pytest.mark.parametrize(("words", "expected"), [("answer in JSON", RESPONSES), ("hi", CHAT)])
async def test_json_mode_goes_where_it_needs_no_word_for_it(rig, words, expected):
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": words}], "format": "json", "stream": False}
    answer = await post(rig, "/api/chat", body)
    assert where(rig) == expected
    assert json.loads(json.loads(answer.body)["message"]["content"]) is not None


async def test_one_conversation_stays_on_one_wire(rig):
    messages: list[Any] = []
    for turn in range(4):
        messages.append({"role": "user", "content": f"question {turn}"})
        answer = await post(rig, "/api/chat", {"model": "gpt-5", "messages": messages, "stream": False})
        messages.append(json.loads(answer.body)["message"])
        assert where(rig) == RESPONSES
