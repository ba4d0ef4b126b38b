"""The official client against the gateway, over the network on both sides."""

import json
from typing import Literal

import httpx
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel
from served import ADMIN_KEY, PROVIDER_KEY, Gateway, Sandbox, fetch, lines, wait_for

MODELS = ["gpt-4.1", "claude-sonnet-4-5"]
HI = [{"role": "user", "content": "Say hello in 30 words."}]


def tool(name: str, **properties: object) -> dict:
    schema = {"type": "object", "properties": properties or {"at": {"type": "string"}}, "required": list(properties or ["at"])}
    return {"type": "function", "function": {"name": name, "description": f"Does {name}.", "parameters": schema}}


@pytest.mark.parametrize("model", MODELS)
def test_chat(client: OpenAI, model: str):
    answer = client.chat.completions.create(model=model, messages=HI)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_streams_say_what_whole_answers_say(client: OpenAI, model: str):
    whole = client.chat.completions.create(model=model, messages=HI).choices[0].message.content
    with client.chat.completions.create(model=model, messages=HI, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage.completion_tokens > 0
    with client.chat.completions.stream(model=model, messages=HI) as events:
        final = events.get_final_completion()
    assert final.choices[0].message.content == whole
    assert final.usage is None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_tools_are_called_and_their_results_are_read(client: OpenAI, model: str, stream: bool):
    tools = [tool("look"), tool("count", n={"type": "integer"}), tool("rest")]
    messages = [{"role": "user", "content": "Please call look and count."}]
    for turn in range(2):
        if stream:
            with client.chat.completions.stream(model=model, messages=messages, tools=tools) as events:
                message = events.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message
        if turn:
            break
        assert [call.function.name for call in message.tool_calls] == ["look", "count"]
        assert isinstance(json.loads(message.tool_calls[1].function.arguments)["n"], int)
        messages.append(message.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "42"} for call in message.tool_calls]
    assert message.content
    assert not message.tool_calls


class Step(BaseModel):
    what: str
    kind: Literal["look", "act"]


class Plan(BaseModel):
    title: str
    steps: list[Step]


@pytest.mark.parametrize("model", MODELS)
def test_structured_output_is_parsed(client: OpenAI, model: str):
    parsed = client.chat.completions.parse(model=model, messages=HI, response_format=Plan).choices[0].message.parsed
    assert isinstance(parsed, Plan)


def test_errors_are_the_ones_that_the_client_knows(client: OpenAI, gateway: Gateway, sandbox: Sandbox):
    def create(**more: object):
        return client.chat.completions.create(**{"model": "gpt-4.1", "messages": HI, **more})

    with pytest.raises(openai.AuthenticationError) as wrong, OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-tr-no", max_retries=0) as stranger:
        stranger.chat.completions.create(model="gpt-4.1", messages=HI)
    assert wrong.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as unknown:
        create(model="nobody-knows")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad:
        create(messages=[{"role": "wizard", "content": "x"}])
    assert bad.value.param == "messages[0].role"
    with pytest.raises(openai.BadRequestError) as theirs:
        create(temperature=3)
    assert theirs.value.type == "invalid_request_error"
    for stream in (False, True):
        sandbox.control("faults", {"kind": "status", "status": 429, "retry_after": "3"})
        with pytest.raises(openai.RateLimitError) as slow:
            create(stream=stream)
        assert slow.value.response.headers["retry-after"] == "3"
        sandbox.control("faults", {"kind": "status", "status": 401, "message": f"Incorrect API key: {PROVIDER_KEY}"})
        with pytest.raises(openai.InternalServerError) as ours:
            create(stream=stream)
        assert ours.value.status_code == 502
        assert PROVIDER_KEY not in str(ours.value.body)
    poor = gateway.post("/admin/api-keys", {"quota_usd": "0.000001"}, ADMIN_KEY)[1]["key"]
    with pytest.raises(openai.RateLimitError) as spent, OpenAI(base_url=f"{gateway.url}/v1", api_key=poor, max_retries=2) as small:
        small.chat.completions.create(model="gpt-4.1", messages=HI)
    assert spent.value.code == "insufficient_quota"
    assert spent.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "truncate", "after": 4}, "upstream_truncated"),
        ({"kind": "stall", "after": 4}, "upstream_timeout"),
        ({"kind": "error_event", "after": 4}, None),
    ],
)
def test_a_stream_that_breaks_raises_and_never_ends_cleanly(client: OpenAI, sandbox: Sandbox, model: str, fault: dict, code: str | None):
    sandbox.control("faults", fault)
    stream = client.chat.completions.create(model=model, messages=HI, stream=True)
    with pytest.raises(openai.APIError) as broken:
        for _ in stream:
            pass
    assert code is None or broken.value.code == code
    sandbox.control("release")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["truncate", "html", "empty", "error_body"])
def test_a_whole_answer_that_breaks_is_a_502(client: OpenAI, sandbox: Sandbox, model: str, kind: str):
    sandbox.control("faults", {"kind": kind})
    with pytest.raises(openai.InternalServerError) as broken:
        client.chat.completions.create(model=model, messages=HI)
    assert broken.value.status_code == 502


def test_models_are_listed(client: OpenAI):
    listed = {model.id: model.owned_by for model in client.models.list()}
    assert listed["gpt-4.1"] == "openai"
    assert listed["claude-sonnet-4-5"] == "anthropic"
    assert "echo" not in listed, "the sandbox alone has it"


def test_repeats_hit_and_cost_nothing(client: OpenAI, sandbox: Sandbox):
    ask = client.chat.completions.with_raw_response.create
    first, second = (ask(model="gpt-4.1", messages=[{"role": "user", "content": "a repeat"}], temperature=0) for _ in range(2))
    assert (first.headers["x-tokenrouter-cache"], second.headers["x-tokenrouter-cache"]) == ("miss", "hit")
    assert first.text == second.text
    assert second.headers["x-tokenrouter-cost-usd"] == "0.00"
    assert "x-tokenrouter-sandbox" not in first.headers
    assert len(sandbox.bill) == 1


def test_leaving_a_stream_cancels_it_at_the_provider(gateway: Gateway, sandbox: Sandbox):
    sandbox.control("faults", {"kind": "stall", "after": 5})
    reading = lines(f"{gateway.url}/v1/chat/completions", {"model": "gpt-4.1", "messages": HI, "stream": True}, gateway.key)
    assert next(reading).startswith(b"data:")
    wait_for(lambda: sandbox.control("faults")["stalled"] == 1)
    reading.close()
    (line,) = wait_for(lambda: sandbox.bill, within_s=5, what="the vendor's bill")
    assert line["status"] == "cancelled"
    sandbox.control("release")


def test_a_body_that_is_too_large_gets_its_answer(gateway: Gateway):
    status, said = gateway.post("/v1/chat/completions", b" " * (33 << 20))
    assert (status, said["error"]["code"]) == (413, "request_too_large")
    with httpx.Client() as http:
        answer = http.post(
            f"{gateway.url}/v1/chat/completions", content=(b" " * (1 << 20) for _ in range(40)), headers={"authorization": f"Bearer {gateway.key}"}
        )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_odd_requests_over_the_wire_are_refused_and_the_gateway_goes_on(gateway: Gateway):
    for headers in ({"X_Edits_Off": "\xff"}, {"Authorization": "Bearer " + "k" * 60_000}, {"Idempotency_Key": "k" * 300}):
        status, said = gateway.post("/v1/chat/completions", {"model": "gpt-4.1", "messages": HI}, "", **headers)
        assert 400 <= status < 500, said
    for path in ("/v1/chat/completions/../../admin/api-keys", "/%00", "//", "/v1/models?x=" + "y" * 5000):
        assert 400 <= fetch(gateway.url + path)[0] < 500
    assert gateway.get("/readyz")[0] == 200


def test_an_attribute_with_a_line_end_in_its_name_breaks_no_header(client: OpenAI):
    odd = {"bad\r\nset-cookie: a=b": 1, "\u2028": 2}
    raw = client.chat.completions.with_raw_response.create(model="claude-sonnet-4-5", messages=HI, extra_body=odd)
    assert "set-cookie" not in raw.headers
    assert "bad" in raw.headers["x-tokenrouter-dropped"]
