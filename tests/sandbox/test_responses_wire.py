"""OpenAI Responses as the official SDK reads it: items, events and their order, loops with tools, stored answers."""

import json
from typing import Any

import pytest

from tokenrouter.sandbox import Fault, Scripted, ToolCall, create_app

openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")
transport = pytest.importorskip("httpx2")

RESPONSE = pydantic.TypeAdapter(openai.types.responses.Response)
EVENT = pydantic.TypeAdapter(openai.types.responses.ResponseStreamEvent)
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 5, "maximum": 6}, "k": {"enum": ["a", "b"]}},
    "required": ["n", "k"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "name": "look", "parameters": SCHEMA, "strict": True},
    {"type": "function", "name": "find", "parameters": SCHEMA, "strict": True},
    {"type": "custom", "name": "shell", "description": "free text"},
    {"type": "web_search"},
    {"type": "mcp", "server_label": "docs", "server_url": "https://example.com/mcp", "require_approval": "never"},
]
OUTPUTS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def client(app: Any, key: str = "k") -> Any:
    http = transport.AsyncClient(transport=transport.ASGITransport(app))
    return openai.AsyncOpenAI(api_key=key, base_url="http://sandbox/openai/v1", http_client=http, max_retries=0)


@pytest.fixture
def sdk(app):
    return client(app)


def valid(response: Any) -> Any:
    """Every required field is there, and of its type: the SDK itself would not mind."""
    RESPONSE.validate_json(response.to_json())
    return response


async def events(sdk: Any, **body: Any) -> list[Any]:
    seen = [event async for event in await sdk.responses.create(stream=True, **body)]
    for number, event in enumerate(seen):
        EVENT.validate_json(event.to_json())
        assert event.sequence_number == number
    return seen


def results(response: Any) -> list[Any]:
    return [{"type": OUTPUTS[item.type], "call_id": item.call_id, "output": "42"} for item in response.output if item.type in OUTPUTS]


async def test_plain_answer(sdk, app):
    response = valid(await sdk.responses.create(model="gpt-4.1", input="hi", metadata={"a": "b"}))
    assert [item.type for item in response.output] == ["message"]
    assert (response.status, response.error, response.incomplete_details, response.metadata) == ("completed", None, None, {"a": "b"})
    assert response.output_text
    usage, tokens = response.usage, app.bill.lines[-1].tokens
    assert (usage.input_tokens, usage.output_tokens) == (tokens.prompt, tokens.output)
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert app.bill.lines[-1].nano_usd > 0


async def test_same_prompt_same_items_and_text_is_one_user_message(sdk, app):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    second = await sdk.responses.create(model="gpt-5", input=[{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}])
    assert first.id != second.id
    assert first.output == second.output
    third = await client(app, "other").responses.create(model="gpt-5", input="hi")
    assert [item.id for item in third.output] == [item.id for item in first.output]


async def test_a_thought_is_shown_as_far_as_asked_for(sdk):
    plain = valid(await sdk.responses.create(model="gpt-6-sol", input="hi", store=False))
    thought, message = plain.output
    assert (thought.type, thought.summary, message.type, message.phase) == ("reasoning", [], "message", "final_answer")
    assert thought.id.startswith("rs_")
    assert thought.encrypted_content
    assert 0 < plain.usage.output_tokens_details.reasoning_tokens < plain.usage.output_tokens
    brief = await sdk.responses.create(model="gpt-6-sol", input="hi", reasoning={"summary": "auto"})
    full = await sdk.responses.create(model="gpt-6-sol", input="hi", reasoning={"summary": "detailed"})
    assert len(brief.output[0].summary) == 1 < len(full.output[0].summary)
    none = await sdk.responses.create(model="gpt-6-sol", input="hi", reasoning={"effort": "none"})
    assert [item.type for item in none.output] == ["message"]
    assert none.usage.output_tokens_details.reasoning_tokens == 0


async def test_stream_order_and_its_end_is_the_whole_answer(sdk):
    body = {"model": "gpt-6-sol", "input": "call look and shell", "tools": TOOLS, "reasoning": {"summary": "auto"}, "store": False}
    seen = await events(sdk, **body)
    kinds = [event.type.removeprefix("response.") for event in seen]
    runs = [kind for index, kind in enumerate(kinds) if index == 0 or kinds[index - 1] != kind]
    assert runs == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    assert (seen[0].response.status, seen[0].response.output, seen[0].response.usage) == ("in_progress", [], None)
    whole = valid(await sdk.responses.create(**body))
    last = seen[-1].response
    assert last.output == whole.output == [event.item for event in seen if event.type == "response.output_item.done"]
    assert (last.usage.output_tokens, last.usage.input_tokens) == (whole.usage.output_tokens, whole.usage.input_tokens)
    announced = next(event.item for event in seen if event.type == "response.output_item.added")
    assert announced.encrypted_content != last.output[0].encrypted_content


async def test_deltas_add_up_and_are_padded_unless_told_not_to(sdk, call):
    seen = await events(sdk, model="gpt-4.1", input="write 80 words")
    deltas = [event for event in seen if event.type == "response.output_text.delta"]
    assert "".join(event.delta for event in deltas) == seen[-1].response.output_text
    assert {(len(event.delta) + len(event.obfuscation)) % 16 for event in deltas} == {0}
    kinds = [event.type.removeprefix("response.") for event in seen if event not in deltas]
    assert kinds[2:4] == ["output_item.added", "content_part.added"]
    assert kinds[4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    bare = await call.post(
        "/openai/v1/responses", {"model": "gpt-4.1", "input": "hi", "stream": True, "stream_options": {"include_obfuscation": False}}
    )
    assert b"obfuscation" not in bare.body
    assert b"[DONE]" not in bare.body
    assert bare.body.startswith(b"event: response.created\ndata: ")


async def test_the_sdk_accumulates_the_stream(sdk):
    async with sdk.responses.stream(model="gpt-5", input="call look", tools=TOOLS[:1]) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_response()
    assert [item.type for item in final.output] == ["reasoning", "function_call"]
    assert final.output[1].parsed_arguments["n"] in (5, 6)


@pytest.mark.parametrize("streams", [False, True])
async def test_the_loop_with_encrypted_reasoning_and_nothing_stored(sdk, app, text, streams):
    base = {
        "model": "gpt-6-sol",
        "instructions": text(1200),
        "tools": TOOLS,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "parallel_tool_calls": True,
    }

    async def ask(history: list[Any]) -> Any:
        if streams:
            return (await events(sdk, input=history, **base))[-1].response
        return valid(await sdk.responses.create(input=history, **base))

    history: list[Any] = [{"role": "user", "content": "call look and shell"}]
    first = await ask(history)
    assert [item.type for item in first.output] == ["reasoning", "function_call", "custom_tool_call"]
    assert first.usage.input_tokens_details.cached_tokens == 0
    assert first.usage.input_tokens_details.cache_write_tokens == first.usage.input_tokens
    history += [*first.output, *results(first)]
    second = await ask(history)
    assert [item.type for item in second.output] == ["reasoning", "message"]
    assert second.usage.input_tokens_details.cached_tokens == first.usage.input_tokens
    history += [*second.output, {"role": "user", "content": "thanks"}]
    third = await ask(history)
    assert third.usage.input_tokens_details.cached_tokens == second.usage.input_tokens
    assert getattr(third, "input_transformations", None) is None
    assert third.usage.input_tokens > second.usage.input_tokens + second.usage.output_tokens_details.reasoning_tokens
    assert [line.status for line in app.bill.lines] == ["complete"] * 3
    assert len(app.requests) == 3


async def test_a_chain_is_the_same_prompt_as_the_whole_conversation(sdk, app, text):
    body = {"model": "gpt-6-sol", "tools": TOOLS[:2]}
    first = await sdk.responses.create(input=[{"role": "developer", "content": text(1200)}, {"role": "user", "content": "call look"}], **body)
    second = valid(await sdk.responses.create(input=results(first), previous_response_id=first.id, **body))
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens_details.cached_tokens == first.usage.input_tokens
    third = await sdk.responses.create(input="and now?", previous_response_id=second.id, **body)
    assert third.usage.input_tokens_details.cached_tokens == second.usage.input_tokens
    history = [{"role": "developer", "content": text(1200)}, {"role": "user", "content": "call look"}]
    history += [*first.output, *results(first), *second.output, {"role": "user", "content": "and now?"}]
    again = await sdk.responses.create(input=history, **body)
    assert again.output == third.output
    assert again.usage.input_tokens == third.usage.input_tokens
    assert again.usage.input_tokens_details.cached_tokens == third.usage.input_tokens


async def test_instructions_are_not_carried_over(sdk):
    first = await sdk.responses.create(model="gpt-4.1", instructions="be brief " * 100, input="hi")
    second = await sdk.responses.create(model="gpt-4.1", previous_response_id=first.id, input="hi")
    assert second.usage.input_tokens < first.usage.input_tokens
    assert second.instructions is None


async def test_stored_answers_can_be_read_listed_and_deleted(sdk, app):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    second = await sdk.responses.create(model="gpt-5", input="more", previous_response_id=first.id)
    lines = len(app.bill.lines)
    read = valid(await sdk.responses.retrieve(second.id))
    assert (read.id, read.output_text, read.usage) == (second.id, second.output_text, second.usage)
    assert read.output[0].encrypted_content is None
    full = await sdk.responses.retrieve(second.id, include=["reasoning.encrypted_content"])
    assert full.output == second.output
    page = await sdk.responses.input_items.list(second.id, limit=2, order="asc")
    assert [item.type for item in page.data] == ["message", "reasoning"]
    assert page.has_more
    listed = [item.type async for item in sdk.responses.input_items.list(second.id, limit=1)]
    assert listed == ["message", "message", "reasoning", "message"]
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        await sdk.responses.cancel(second.id)
    with pytest.raises(openai.NotFoundError):
        await client(app, "other").responses.retrieve(second.id)
    await sdk.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(second.id)
    assert not any(line.nano_usd for line in app.bill.lines[lines:])


async def test_items_can_be_named_instead_of_sent(sdk):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    named = [{"type": "item_reference", "id": item.id} for item in first.output]
    asked, more = {"role": "user", "content": "hi"}, {"role": "user", "content": "more"}
    by_name = await sdk.responses.create(model="gpt-5", input=[asked, *named, more])
    assert by_name.output == (await sdk.responses.create(model="gpt-5", input=[asked, *first.output, more])).output
    bare = [{"type": "reasoning", "id": first.output[0].id, "summary": []}, first.output[1]]
    assert (await sdk.responses.create(model="gpt-5", input=[asked, *bare, more])).output == by_name.output


async def test_tool_choice_decides(sdk):
    async def names(asked: str = "hi", **more: Any) -> list[str]:
        output = (await sdk.responses.create(model="gpt-4.1", input=asked, tools=TOOLS, **more)).output
        return [item.name for item in output if item.type in OUTPUTS]

    assert await names() == []
    assert await names(tool_choice="required") == ["look"]
    assert await names(tool_choice={"type": "function", "name": "find"}) == ["find"]
    assert await names(tool_choice={"type": "custom", "name": "shell"}) == ["shell"]
    assert await names(tool_choice={"type": "mcp", "server_label": "docs"}) == []
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "find"}, {"type": "web_search"}]}
    assert await names(tool_choice=allowed) == ["find"]
    assert await names("call look and find") == ["look", "find"]
    assert await names("call look and find", tool_choice="none") == []
    assert await names("call look and find", parallel_tool_calls=False) == ["look"]


async def test_tools_may_come_late(sdk):
    late = {"type": "additional_tools", "role": "developer", "tools": [TOOLS[0]]}
    response = await sdk.responses.create(model="gpt-6-sol", input=[{"role": "user", "content": "call look"}, late])
    assert [item.type for item in response.output] == ["reasoning", "function_call"]


async def test_structured_output(sdk):
    schema = {**SCHEMA, "properties": {"why": {"type": "string"}, **SCHEMA["properties"]}, "required": ["why", "n", "k"]}
    response = await sdk.responses.create(
        model="gpt-4.1", input="hi", text={"format": {"type": "json_schema", "name": "s", "schema": schema, "strict": True}}
    )
    value = json.loads(response.output_text)
    assert list(value) == ["why", "n", "k"]
    assert value["n"] in (5, 6)
    free = await sdk.responses.create(model="gpt-4.1", input="as json", text={"format": {"type": "json_object"}})
    assert isinstance(json.loads(free.output_text), dict)


@pytest.mark.parametrize("streams", [False, True])
async def test_the_limit_makes_an_answer_incomplete(sdk, streams):
    async def ask(limit: int, **more: Any) -> Any:
        body = {"model": "gpt-6-sol", "max_output_tokens": limit, **more}
        if not streams:
            return valid(await sdk.responses.create(**body))
        last = (await events(sdk, **body))[-1]
        assert last.type == "response.incomplete"
        return last.response

    text = await ask(50, input="write 200 words")
    assert (text.status, text.incomplete_details.reason, text.usage.output_tokens) == ("incomplete", "max_output_tokens", 50)
    assert [item.type for item in text.output] == ["reasoning", "message"]
    assert text.output[-1].status == "incomplete"
    thought = await ask(16, input="write 200 words")
    assert [item.type for item in thought.output] == ["reasoning"]
    assert thought.usage.output_tokens_details.reasoning_tokens == 16


async def test_scripts_drive_this_wire_too(sdk, app):
    calls = (ToolCall("look", '{"n":5,"k":"a"}'), ToolCall("find", "{}"), ToolCall("shell", "ls"))
    app.script(Scripted(vendor="openai", thinking="Hm. So.", text="Let me look.", calls=calls))
    response = valid(await sdk.responses.create(model="gpt-6-sol", input="hi", tools=TOOLS, reasoning={"summary": "detailed"}))
    thought, message, look, find, shell = response.output
    assert [part.text for part in thought.summary] == ["Hm.", "So."]
    assert (message.content[0].text, message.phase) == ("Let me look.", "commentary")
    assert (look.arguments, find.arguments, shell.input) == ('{"n":5,"k":"a"}', "{}", "ls")
    assert len({look.call_id, find.call_id, shell.call_id}) == 3
    app.script(*[Scripted(refusal="I will not.")] * 2, Scripted(text="half a", cut=True))
    refused = valid(await sdk.responses.create(model="gpt-4.1", input="hi"))
    assert [(part.type, part.refusal) for part in refused.output[0].content] == [("refusal", "I will not.")]
    kinds = [event.type for event in await events(sdk, model="gpt-4.1", input="hi")]
    assert kinds[3:-3] == ["response.content_part.added", *["response.refusal.delta"] * 2, "response.refusal.done"]
    cut = await sdk.responses.create(model="gpt-4.1", input="hi")
    assert (cut.status, cut.output_text, cut.output[0].status) == ("incomplete", "half a", "incomplete")


async def test_a_stream_may_fail(sdk, app):
    app.fault(Fault(kind="error_event", after=5))
    seen = [event async for event in await sdk.responses.create(model="gpt-4.1", input="hi", stream=True)]
    last = seen[-1]
    EVENT.validate_json(last.to_json())
    assert (last.type, last.response.status, last.response.error.code) == ("response.failed", "failed", "server_error")
    assert last.sequence_number > seen[-2].sequence_number
    assert app.bill.lines[-1].status == "failed"


async def test_faults_barrier_and_hanging_up_work_here_too(sdk, app, call):
    app.fault(Fault(kind="status", status=429, retry_after="7"))
    with pytest.raises(openai.RateLimitError):
        await sdk.responses.create(model="gpt-4.1", input="hi")
    app.fault(Fault(kind="no_usage"))
    assert (await sdk.responses.create(model="gpt-4.1", input="hi")).usage is None
    body = {"model": "gpt-6-sol", "input": "write 200 words", "stream": True}
    await call.post("/openai/v1/responses", body)
    full = app.bill.lines[-1].tokens
    left = await call.post("/openai/v1/responses", body, hang_up_after=12)
    line = app.bill.lines[-1]
    assert (line.status, len(left.frames)) == ("cancelled", 12)
    assert 0 < line.tokens.output < full.output


async def test_reset_forgets_stored_answers_and_another_seed_cannot_read_old_thoughts(sdk, app, clock):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    app.reset()
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError, match="could not be verified"):
        await client(create_app(clock, seed=1)).responses.create(model="gpt-5", input=[{"role": "user", "content": "hi"}, *first.output])
