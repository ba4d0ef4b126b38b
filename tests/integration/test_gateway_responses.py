"""The Responses API through the whole gateway, by the official client: native and translated, stored and not, whole and cut short."""

import asyncio
import json
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from msgspec.structs import replace
from rig import Response, Rig, call, until

from tokenrouter.adapters.outbound.openai_responses_relay import ResponsesRelay
from tokenrouter.adapters.wire.foreign_reasoning import PREFIX
from tokenrouter.model.catalog import Endpoint, Secret
from tokenrouter.sandbox import Fault, Scripted, ToolCall
from tokenrouter.storage.owned_log import left_in
from tokenrouter.storage.sqlite import Writer

PATH = "/v1/responses"
RESPONSE = pydantic.TypeAdapter(openai.types.responses.Response)
EVENT = pydantic.TypeAdapter(openai.types.responses.ResponseStreamEvent)
LOOK: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"], "additionalProperties": False},
    "strict": True,
}
OUTPUTS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
REASONERS = ["gpt-5", "gpt-6-sol"]
EVERYBODY = ["gpt-4.1", "gpt-5", "gpt-6-sol", "claude-opus-4-8", "claude-sonnet-4-5", "deepseek-chat"]
OFF = {"x-edits-off": "all"}


def client(rig: Rig, key: str | None = None) -> openai.AsyncOpenAI:
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app))
    return openai.AsyncOpenAI(api_key=key or rig.key, base_url="http://gateway/v1", http_client=http, max_retries=0)


@pytest.fixture
def sdk(rig: Rig) -> openai.AsyncOpenAI:
    return client(rig)


def valid(response: Any) -> Any:
    """Every required field is there, and of its type: the SDK itself would not mind."""
    RESPONSE.validate_json(response.to_json())
    return response


async def streamed(sdk: openai.AsyncOpenAI, **body: Any) -> Any:
    """The final response of a stream that the SDK's strict accumulator read; every event is checked."""
    async for event in await sdk.responses.create(stream=True, **body):
        EVENT.validate_json(event.to_json())
    numbers = []
    async with sdk.responses.stream(**body) as stream:
        async for event in stream:
            numbers.append(event.sequence_number)
        final = await stream.get_final_response()
    assert numbers == list(range(len(numbers)))
    return final


def echoed(response: Any) -> list[Any]:
    """Output items as a client sends them back."""
    items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]
    for item in items:
        for part in item.get("content") or []:
            part.pop("parsed", None)
    return items


def results(response: Any) -> list[Any]:
    return [{"type": OUTPUTS[item.type], "call_id": item.call_id, "output": "42"} for item in response.output if item.type in OUTPUTS]


async def post(rig: Rig, body: Any, *, key: str | None = None, headers: dict[str, str] | None = None) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await call(rig.app, "POST", PATH, raw, {"authorization": f"Bearer {key or rig.key}", **(headers or {})})


def received(rig: Rig) -> Any:
    """The body that the simulated provider was sent last."""
    return json.loads(rig.sandbox.requests.items[-1].body)


# answers


@pytest.mark.parametrize("model", EVERYBODY)
async def test_whole_and_streamed_answers_say_the_same(sdk, model):
    body: Any = {"model": model, "instructions": "Be brief.", "input": "Hello there", "store": False}
    whole = valid(await sdk.responses.create(**body))
    final = await streamed(sdk, **body)
    assert whole.output_text
    assert (final.output_text, final.status) == (whole.output_text, whole.status)
    assert [item.type for item in final.output] == [item.type for item in whole.output]
    assert (final.usage.input_tokens, final.usage.output_tokens) == (whole.usage.input_tokens, whole.usage.output_tokens)
    assert (whole.instructions, whole.metadata) == ("Be brief.", {})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", EVERYBODY)
async def test_tool_loops_with_reasoning_that_travels_come_to_their_end(sdk, rig, model, stream):
    items: list[Any] = [{"role": "user", "content": "please call look"}]
    thinking = {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    body: Any = {"model": model, "tools": [LOOK], "store": False, **(thinking if model not in ("gpt-4.1", "deepseek-chat") else {})}
    for turn in range(2):
        said = await streamed(sdk, input=items, **body) if stream else valid(await sdk.responses.create(input=items, **body))
        calls = [item for item in said.output if item.type == "function_call"]
        if turn:
            break
        assert len(calls) == 1
        assert json.loads(calls[0].arguments)
        items += [*echoed(said), *results(said)]
    assert not calls
    assert said.output_text
    await rig.landed()
    assert all("dropped" not in json.loads(row["record"]) for row in rig.billed_rows())


@pytest.mark.parametrize("model", REASONERS)
async def test_damaged_reasoning_is_the_providers_own_error(sdk, model):
    first = await sdk.responses.create(model=model, input="hi", store=False)
    items: Any = [{"role": "user", "content": "hi"}, *echoed(first), {"role": "user", "content": "go on"}]
    items[1]["encrypted_content"] = items[1]["encrypted_content"][:-8] + "AAAAAAAA"
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model=model, input=items, store=False)
    assert caught.value.code == "invalid_encrypted_content"


async def test_a_signature_survives_a_client_that_only_speaks_responses(sdk, rig):
    items: list[Any] = [{"role": "user", "content": "please call look"}]
    body: Any = {"model": "claude-sonnet-4-5", "tools": [LOOK], "reasoning": {"effort": "low"}, "store": False}
    first = await sdk.responses.create(input=items, **body)
    assert first.output[0].type == "reasoning"
    assert first.output[0].encrypted_content.startswith(PREFIX)
    items += [*echoed(first), *results(first)]
    second = await sdk.responses.with_raw_response.create(input=items, **body)
    assert second.headers.get("x-tokenrouter-dropped") is None
    thinking = received(rig)["messages"][1]["content"][0]
    assert thinking["type"] == "thinking"
    assert thinking["signature"]
    damaged = [items[0], {**items[1], "summary": [{"type": "summary_text", "text": "Something else."}]}, *items[2:]]
    with pytest.raises(openai.BadRequestError, match="signature"):
        await sdk.responses.create(input=damaged, **body)


@pytest.mark.parametrize("stream", [False, True])
async def test_googles_signatures_travel_sealed_and_reach_their_calls_and_texts_again(sdk, rig, stream):
    items: list[Any] = [{"role": "user", "content": "please call look"}]
    body: Any = {"model": "gemini-3.6-flash", "tools": [LOOK], "reasoning": {"effort": "low"}, "store": False}
    for _ in range(3):
        said = await streamed(sdk, input=items, **body) if stream else valid(await sdk.responses.create(input=items, **body))
        assert all(item.encrypted_content.startswith(PREFIX) for item in said.output if item.type == "reasoning")
        items += [*echoed(said), *(results(said) or [{"role": "user", "content": "go on"}])]
    turns = received(rig)["contents"]
    assert [turn["role"] for turn in turns] == ["user", "model", "user", "model", "user"]
    call_part, text_parts = turns[1]["parts"][-1], turns[3]["parts"]
    assert call_part["functionCall"]["name"] == "look"
    assert call_part["thoughtSignature"]
    assert "".join(part["text"] for part in text_parts)
    assert text_parts[-1]["thoughtSignature"]  # of a stream it comes last, on a part without words


async def test_parallel_results_with_pictures_reach_another_vendor_in_their_order(sdk, rig):
    for _ in range(2):  # every stream is asked for twice
        rig.sandbox.script(Scripted(vendor="anthropic", calls=(ToolCall("look", '{"at":"a"}'), ToolCall("look", '{"at":"b"}'))))
    items: list[Any] = [{"role": "user", "content": "look twice"}]
    body: Any = {"model": "claude-sonnet-4-5", "tools": [LOOK], "store": False}
    first = await streamed(sdk, input=items, **body)
    made = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(item.arguments)["at"] for item in made] == ["a", "b"]
    dot = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    shown = [
        [{"type": "input_text", "text": f"this is {item.call_id}"}, {"type": "input_image", "image_url": dot, "detail": "auto"}] for item in made
    ]
    outputs = [{"type": "function_call_output", "call_id": item.call_id, "output": output} for item, output in zip(made, shown, strict=True)]
    second = valid(await sdk.responses.create(input=[*items, *echoed(first), *outputs], **body))
    assert second.output_text
    *_, turn = received(rig)["messages"]
    assert [block["tool_use_id"] for block in turn["content"]] == [item.call_id for item in made]
    for block in turn["content"]:
        assert [part["type"] for part in block["content"]] == ["text", "image"]
        assert block["content"][0]["text"] == f"this is {block['tool_use_id']}"


async def test_reasoning_of_one_vendor_stays_out_of_anothers_prompt(sdk):
    body: Any = {"tools": [LOOK], "store": False}
    items: list[Any] = [{"role": "user", "content": "please call look"}]
    claude = await sdk.responses.create(model="claude-sonnet-4-5", reasoning={"effort": "low"}, input=items, **body)
    to_openai = await sdk.responses.with_raw_response.create(model="gpt-5", input=[*items, *echoed(claude), *results(claude)], **body)
    assert to_openai.headers["x-tokenrouter-dropped"] == "input.reasoning"
    gpt = await sdk.responses.create(model="gpt-5", input=items, **body)
    to_claude = await sdk.responses.with_raw_response.create(model="claude-sonnet-4-5", input=[*items, *echoed(gpt), *results(gpt)], **body)
    assert to_claude.headers["x-tokenrouter-dropped"] == "input.reasoning"


async def test_custom_tools_are_called_natively(sdk):
    tools: Any = [{"type": "custom", "name": "shell", "description": "free text"}]
    first = await streamed(sdk, model="gpt-5", input="please call shell", tools=tools, store=False)
    item = first.output[-1]
    assert (item.type, item.name) == ("custom_tool_call", "shell")


async def test_structured_output_is_parsed_by_the_sdk_from_every_vendor_that_has_it(sdk):
    class Person(pydantic.BaseModel):
        name: str
        age: int

    for model in ("gpt-4.1", "claude-sonnet-4-5"):
        parsed = await sdk.responses.parse(model=model, input="Ada is 36", text_format=Person, store=False)
        assert isinstance(parsed.output_parsed, Person)


async def test_a_limit_makes_an_incomplete_response_in_both_forms(sdk):
    for model in ("gpt-4.1", "claude-sonnet-4-5"):
        whole = valid(await sdk.responses.create(model=model, input="tell me a long story", max_output_tokens=16, store=False))
        assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        events = [
            event
            async for event in await sdk.responses.create(model=model, input="tell me a long story", max_output_tokens=16, store=False, stream=True)
        ]
        assert events[-1].type == "response.incomplete"
        assert events[-1].response.output_text == whole.output_text


async def test_money_is_booked_by_the_usage_of_the_last_event(sdk, rig):
    await sdk.responses.create(model="gpt-5", input="hi", store=False)
    await streamed(sdk, model="gpt-5", input="ho", store=False)
    bill = [line.nano_usd for line in rig.sandbox.bill.lines]
    await rig.landed()
    assert [row["cost"] for row in rig.billed_rows()] == bill
    assert {row["settled"] for row in rig.billed_rows()} == {"exact"}
    assert rig.spent() == sum(bill)
    assert rig.held() == 0


async def test_cache_reads_and_writes_reach_the_client_in_its_own_words(sdk):
    body: Any = {"model": "gpt-6-sol", "store": False}
    items: Any = [{"role": "developer", "content": "word " * 3_000}, {"role": "user", "content": "one"}]
    first = await sdk.responses.create(input=items, **body)
    again = await sdk.responses.create(input=[items[0], {"role": "user", "content": "two"}], **body)
    assert first.usage.input_tokens_details.cache_write_tokens > 2_000
    assert again.usage.input_tokens_details.cached_tokens > 2_000
    claude = await sdk.responses.create(model="claude-sonnet-4-5", input=items, store=False)
    once_more = await sdk.responses.create(model="claude-sonnet-4-5", input=[items[0], {"role": "user", "content": "two"}], store=False)
    assert claude.usage.input_tokens_details.cache_write_tokens > 2_000
    assert once_more.usage.input_tokens_details.cached_tokens > 2_000


async def test_a_deterministic_answer_is_kept_and_given_again_in_both_forms(rig, sdk):
    body: Any = {"model": "gpt-4.1", "input": "hi", "temperature": 0}
    first = await post(rig, body)
    again = await post(rig, body)
    assert (first.cache, again.cache) == ("miss", "hit")
    assert again.body == first.body
    stream = await post(rig, {**body, "stream": True})
    assert stream.cache == "hit"
    final = await streamed(sdk, **body)
    assert json.loads(final.to_json())["output"][0]["content"][0]["text"] == first.json["output"][0]["content"][0]["text"]
    assert len(rig.sandbox.bill.lines) == 1


async def test_the_gateways_own_figures_stand_before_the_last_event(rig):
    stream = await post(rig, {"model": "gpt-5", "input": "hi", "stream": True}, headers={"x-metadata": "true"})
    names = [event["type"] for event in stream.events]
    assert names[-2:] == ["x_tokenrouter", "response.completed"]
    assert stream.events[-2]["x_tokenrouter"]["provider"] == "openai"
    whole = await post(rig, {"model": "gpt-5", "input": "hi"}, headers={"x-metadata": "true"})
    assert whole.json["x_tokenrouter"]["settled"] == "exact"


# the native lane


@pytest.mark.parametrize("stream", [False, True])
async def test_with_all_edits_off_both_bodies_pass_to_the_byte(rig, stream):
    body = (
        b'{ "input" : [ {"role":"user","content":"h\\u00e9 \\ud83d\\ude00"} ],\n"model":"gpt-5", "store":false, "temperature":1.0, "stream":%s }'
        % (b"true" if stream else b"false")
    )
    answer = await post(rig, body, headers=OFF)
    assert rig.sandbox.requests.items[-1].body == body
    direct = await call(rig.sandbox, "POST", "/openai/v1/responses", body, {"authorization": "Bearer sandbox"})
    assert answer.headers["x-tokenrouter-edits"] == "none"
    assert b"".join(without_ids(answer.body)) == b"".join(without_ids(direct.body))
    assert answer.headers["content-type"] == direct.headers["content-type"]


def without_ids(body: bytes) -> list[bytes]:
    """Two requests are two answers: their ids count up."""
    return body.split(b'"resp_')[:1] + [part[32:] for part in body.split(b'"resp_')[1:]]


async def test_the_providers_errors_pass_as_they_are(rig):
    answer = await post(rig, {"model": "gpt-5", "input": "hi", "top_p": 7})
    direct = await call(rig.sandbox, "POST", "/openai/v1/responses", b'{"model":"gpt-5","input":"hi","top_p":7}', {"authorization": "Bearer sandbox"})
    assert (answer.status, answer.json) == (400, direct.json)


@pytest.mark.parametrize("kind", ["error_event", "truncate", "truncate_bytes"])
async def test_a_stream_that_breaks_never_ends_well(rig, sdk, kind):
    rig.sandbox.fault(Fault(kind=kind, vendor="openai", after=3 if kind != "truncate_bytes" else 2_000))
    stream = await post(rig, {"model": "gpt-5", "input": "hi", "stream": True, "store": False})
    assert [event["type"] for event in stream.events if event["type"] in ("response.completed", "response.incomplete")] == []
    assert stream.events[-1]["type"] in ("error", "response.failed")
    await rig.landed()
    row = rig.billed_rows()[-1]
    assert row["settled"] == "estimated"
    assert json.loads(row["record"])["error"]


async def test_the_providers_own_failure_is_the_last_that_the_client_sees(rig):
    rig.sandbox.fault(Fault(kind="error_event", vendor="openai", after=3))
    stream = await post(rig, {"model": "gpt-5", "input": "hi", "stream": True, "store": False})
    rig.sandbox.fault(Fault(kind="error_event", vendor="openai", after=3))
    body = b'{"model":"gpt-5","input":"hi","stream":true,"store":false}'
    direct = await call(rig.sandbox, "POST", "/openai/v1/responses", body, {"authorization": "Bearer sandbox"})
    assert [event["type"] for event in stream.events] == [event["type"] for event in direct.events]
    assert stream.events[-1]["response"]["error"] == direct.events[-1]["response"]["error"]


@pytest.mark.parametrize("model", ["gpt-5", "claude-sonnet-4-5"])
async def test_the_sdk_raises_on_a_stream_that_was_cut(rig, sdk, model):
    rig.sandbox.fault(Fault(kind="truncate", vendor="*", after=3))
    with pytest.raises(openai.APIError):
        async for _ in await sdk.responses.create(model=model, input="hi", stream=True, store=False):
            pass


# stored state


async def test_a_stored_answer_goes_on_for_its_creator_whole_and_streamed(sdk, rig):
    first = await sdk.responses.create(model="gpt-5", input="my name is Ada")
    second = await sdk.responses.create(model="gpt-5", input="go on", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens
    async with sdk.responses.stream(model="gpt-5", input="and on", previous_response_id=second.id) as stream:
        third = await stream.get_final_response()
    fourth = await sdk.responses.create(model="gpt-5", input="once more", previous_response_id=third.id)
    assert fourth.usage.input_tokens > second.usage.input_tokens
    assert rig.billed_rows()[-1]["cache"] == "bypass"


async def test_items_that_stand_for_stored_ones_are_the_creators_alone(sdk, rig):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    thought, message = first.output
    items: Any = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": thought.id, "summary": []},
        {"type": "item_reference", "id": message.id},
        {"role": "user", "content": "go on"},
    ]
    assert (await sdk.responses.create(model="gpt-5", input=items)).output_text
    stranger = client(rig, rig.new_key("somebody-else"))
    with pytest.raises(openai.NotFoundError) as caught:
        await stranger.responses.create(model="gpt-5", input=items)
    assert caught.value.param == "input[1]"
    assert len(rig.sandbox.requests) == 2


async def test_unknown_and_foreign_ids_are_refused_in_the_same_words_and_nothing_is_sent(sdk, rig):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    unstored = await sdk.responses.create(model="gpt-5", input="hi", store=False)
    stranger = client(rig, rig.new_key("somebody-else"))
    sent = len(rig.sandbox.requests)
    said = []
    for who, name in ((stranger, first.id), (sdk, "resp_unknown"), (sdk, unstored.id)):
        with pytest.raises(openai.BadRequestError) as caught:
            await who.responses.create(model="gpt-5", input="go on", previous_response_id=name)
        assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")
        said.append(caught.value.body["message"].replace(name, "X"))
    assert set(said) == {"Previous response with id 'X' not found."}
    assert len(rig.sandbox.requests) == sent


async def test_another_key_of_the_same_tenant_may_go_on(sdk, rig):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    colleague = client(rig, rig.new_key("default"))
    assert (await colleague.responses.create(model="gpt-5", input="go on", previous_response_id=first.id)).output_text


async def test_a_refused_or_unstored_answer_is_nobodys(rig):
    await post(rig, {"model": "gpt-5", "input": "hi", "top_p": 7})
    stream = await post(rig, {"model": "gpt-5", "input": "hi", "stream": True, "store": False})
    await rig.landed()
    assert rig.services.owned.find("default", stream.events[0]["response"]["id"]) is None


@pytest.mark.parametrize("kind", ["truncate", "error_event", "truncate_bytes"])
async def test_what_a_broken_stream_had_begun_is_its_creators_at_the_most_it_can_cost(rig, sdk, kind):
    rig.sandbox.fault(Fault(kind=kind, vendor="openai", after=3 if kind != "truncate_bytes" else 3_000))
    stream = await post(rig, {"model": "gpt-5", "input": "hi", "stream": True, "max_output_tokens": 500})
    name = stream.events[0]["response"]["id"]
    await rig.landed()
    assert rig.services.owned.find("default", name).tokens >= 500
    assert rig.services.owned.find("somebody-else", name) is None
    stranger = client(rig, rig.new_key("somebody-else"))
    with pytest.raises(openai.NotFoundError, match=f"Response with id '{name}' not found"):
        await stranger.responses.delete(name)
    await sdk.responses.delete(name)


async def test_items_that_a_cut_stream_had_finished_are_its_creators_too(rig):
    whole = await post(rig, {"model": "gpt-5", "input": "hi", "stream": True})
    at = next(place for place, event in enumerate(whole.events) if event["type"] == "response.output_item.done")
    rig.sandbox.fault(Fault(kind="truncate", vendor="openai", after=at + 1))
    rig.set(sandbox_transport=Dripping(rig.services.sandbox_transport))
    cut = await post(rig, {"model": "gpt-5", "input": "something else", "stream": True})
    done = [event["item"]["id"] for event in cut.events if event["type"] == "response.output_item.done"]
    await rig.landed()
    assert len(done) == 1
    assert rig.services.owned.find("default", done[0]) is not None


async def test_a_stored_answer_is_its_creators_from_its_first_event_and_when_the_client_hangs_up(rig):
    rig.sandbox.fault(Fault(kind="stall", vendor="openai", after=4))
    gone, stream = asyncio.Event(), Response()
    raw, key = json.dumps({"model": "gpt-5", "input": "hi", "stream": True}).encode(), {"authorization": f"Bearer {rig.key}"}
    asking = asyncio.create_task(call(rig.app, "POST", PATH, raw, key, gone=gone, into=stream))
    await until(lambda: bool(stream.events))
    name = stream.events[0]["response"]["id"]
    assert rig.services.owned.find("default", name) is not None
    (line,) = [line for _, lines in left_in(rig.folder) for line in lines]
    assert (line.tenant, line.object_ids, line.deployment) == ("default", (name,), "openai")
    gone.set()
    await asking
    await rig.landed()
    assert rig.services.owned.find("default", name) is not None
    assert rig.services.owned.find("somebody-else", name) is None


async def test_an_answer_is_in_the_log_before_its_client_reads_the_last_byte(rig, sdk, monkeypatch):
    monkeypatch.setattr(Writer, "_commit", lambda *_: False)
    for stream in (False, True):
        answer = await post(rig, {"model": "gpt-5", "input": "hi", "stream": stream})
        document = answer.events[-1]["response"] if stream else answer.json
        names = {name for _, lines in left_in(rig.folder) for line in lines for name in line.object_ids}
        assert {document["id"], *(item["id"] for item in document["output"])} <= names
    monkeypatch.undo()


async def test_state_is_known_again_after_a_restart(start):
    async with start() as rig:
        first = await client(rig).responses.create(model="gpt-5", input="hi")
        sandbox = rig.sandbox
    async with start() as rig:
        rig.services.sandbox_transport.app = sandbox
        second = await client(rig).responses.create(model="gpt-5", input="go on", previous_response_id=first.id)
        assert second.output_text
        with pytest.raises(openai.BadRequestError):
            await client(rig, rig.new_key("b")).responses.create(model="gpt-5", input="go on", previous_response_id=first.id)


async def test_a_conversation_stays_at_the_account_that_holds_it(rig, sdk):
    catalog = rig.services.catalog
    account = catalog.deployments["openai"][0]
    accounts = tuple(replace(account, name=f"openai#{number}", api_key=Secret(f"account-{number}")) for number in range(4))
    catalog._deployments["openai"] = accounts
    catalog._resolved.clear()
    homes = set()
    for number in range(8):
        first = await sdk.responses.create(model="gpt-5", instructions=f"app {number}", input="hi")
        homes.add(rig.sandbox.bill.lines[-1].account)
        for _ in range(2):
            first = await sdk.responses.create(model="gpt-5", instructions=f"other {number}", input="go on", previous_response_id=first.id)
            assert rig.sandbox.bill.lines[-1].account == rig.sandbox.bill.lines[-2].account
        assert (await sdk.responses.retrieve(first.id)).id == first.id  # no other account has it
    assert len(homes) > 1


async def test_what_a_stored_conversation_may_cost_is_held_for(rig, sdk):
    first = await sdk.responses.create(model="gpt-5", input="word " * 20_000, max_output_tokens=16)
    used = first.usage.input_tokens
    poor = rig.new_key("default", quota=used * 1_250 // 2)
    with pytest.raises(openai.RateLimitError) as caught:
        await client(rig, poor).responses.create(model="gpt-5", input="go on", previous_response_id=first.id, max_output_tokens=16)
    assert caught.value.code == "insufficient_quota"
    assert (await client(rig, poor).responses.create(model="gpt-5", input="hi", max_output_tokens=16)).id


async def test_toward_other_vendors_stored_state_is_refused_by_its_name_and_storing_is_reported(sdk):
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="claude-sonnet-4-5", input="hi", previous_response_id="resp_1")
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "previous_response_id")
    said = await sdk.responses.with_raw_response.create(model="claude-sonnet-4-5", input="hi", store=True)
    assert said.headers["x-tokenrouter-dropped"] == "store"
    assert said.parse().store is False
    unsaid = await sdk.responses.with_raw_response.create(model="claude-sonnet-4-5", input="hi")
    assert "x-tokenrouter-dropped" not in unsaid.headers


async def test_stored_answers_are_read_and_deleted_by_their_creator_alone(sdk, rig):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    stranger = client(rig, rig.new_key("somebody-else"))
    for act in (stranger.responses.retrieve, stranger.responses.delete, stranger.responses.input_items.list):
        with pytest.raises(openai.NotFoundError, match=f"Response with id '{first.id}' not found"):
            await act(first.id)
    with pytest.raises(openai.NotFoundError, match="Response with id 'resp_unknown' not found"):
        await sdk.responses.retrieve("resp_unknown")
    kept = valid(await sdk.responses.retrieve(first.id))
    assert kept.output_text == first.output_text
    assert "encrypted_content" not in kept.output[0].to_dict()
    with_content = await sdk.responses.retrieve(first.id, include=["reasoning.encrypted_content"])
    assert with_content.output[0].encrypted_content
    listed = await sdk.responses.input_items.list(first.id)
    assert listed.data[0].role == "user"
    await sdk.responses.delete(first.id)
    sent = len(rig.sandbox.requests)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="gpt-5", input="go on", previous_response_id=first.id)
    assert caught.value.code == "previous_response_not_found"
    assert len(rig.sandbox.requests) == sent


@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")])
async def test_stored_answers_want_a_key(rig, sdk, method, rest):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    for headers in ({}, {"authorization": "Bearer sk-tr-nobody"}):
        answer = await call(rig.app, method, f"{PATH}/{first.id}{rest}", b"", headers)
        assert answer.status == 401
    assert len(rig.sandbox.requests) == 1


async def test_an_answer_that_ran_in_the_foreground_can_not_be_cancelled_and_strangers_learn_nothing(sdk, rig):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        await sdk.responses.cancel(first.id)
    sent = len(rig.sandbox.requests)
    said = []
    for who, name in ((client(rig, rig.new_key("somebody-else")), first.id), (sdk, "resp_unknown")):
        with pytest.raises(openai.NotFoundError) as caught:
            await who.responses.cancel(name)
        said.append(json.dumps(caught.value.body).replace(name, "X"))
    assert said[0] == said[1]
    assert len(rig.sandbox.requests) == sent


async def test_what_the_provider_has_let_go_of_after_thirty_days_is_not_known_here_either(sdk, rig):
    first = await sdk.responses.create(model="gpt-5", input="hi")
    rig.clock.advance(30 * 86_400 - 1)
    assert (await sdk.responses.retrieve(first.id)).id == first.id
    rig.clock.advance(1)
    with pytest.raises(openai.NotFoundError, match=f"Response with id '{first.id}' not found"):
        await sdk.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="gpt-5", input="go on", previous_response_id=first.id)
    assert caught.value.code == "previous_response_not_found"


@pytest.mark.parametrize("path", ["resp_1%2F..%2F..%2Fmodels", "..%2Fmodels", "resp_1%3Fx=1"])
async def test_an_id_is_never_a_path(rig, path):
    answer = await rig.get(f"{PATH}/{path}")
    assert answer.status == 404
    assert not rig.sandbox.requests


# tools that the provider runs


async def test_a_search_is_booked_with_its_fee_and_held_for(rig, sdk):
    rig.set(sandbox_transport=Searching(rig.services.sandbox_transport))
    await sdk.responses.create(model="gpt-5", input="hi", tools=[{"type": "web_search"}], store=False)
    await rig.landed()
    tokens = rig.sandbox.bill.lines[-1].nano_usd
    assert rig.billed_rows()[-1]["cost"] == tokens + 2 * 10_000_000
    poor = client(rig, rig.new_key(quota=150_000_000 + 2_000_000_000))
    assert (await poor.responses.create(model="gpt-5", input="hi", tools=[{"type": "web_search"}], max_output_tokens=16)).id
    poorer = client(rig, rig.new_key(quota=150_000_000))
    with pytest.raises(openai.RateLimitError):
        await poorer.responses.create(model="gpt-5", input="hi", tools=[{"type": "web_search"}], max_output_tokens=16)
    assert (await poorer.responses.create(model="gpt-5", input="hi", tools=[{"type": "web_search"}], max_tool_calls=2, max_output_tokens=16)).id


class Dripping:
    """A transport whose streams come frame by frame."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def send(self, url: str, headers: Any, body: bytes, method: str = "POST") -> Any:
        response = await self._inner.send(url, headers, body, method)
        together = response.chunks

        async def chunks() -> Any:
            async for data in together():
                for frame in data.split(b"\n\n"):
                    yield frame + b"\n\n" if frame else b""

        response.chunks = chunks
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class Searching:
    """A transport whose answers tell of two searches."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.app = inner.app

    async def send(self, url: str, headers: Any, body: bytes, method: str = "POST") -> Any:
        response = await self._inner.send(url, headers, body, method)
        whole = json.loads(await response.read())
        search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x", "queries": ["x"]}}
        whole["output"] = [search, search, {**search, "action": {"type": "open_page", "url": "https://x"}}, *whole["output"]]
        response.read = lambda: _later(json.dumps(whole).encode())
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _later(body: bytes) -> bytes:
    return body


@pytest.mark.parametrize("kind", ["file_search", "code_interpreter", "image_generation", "computer", "mcp", "brand_new"])
async def test_tools_without_a_known_price_are_refused_by_name(rig, kind):
    answer = await post(rig, {"model": "gpt-5", "input": "hi", "tools": [LOOK, {"type": kind}]})
    assert (answer.status, answer.error["param"]) == (400, "tools[1].type")
    assert kind in answer.error["message"]
    assert not rig.sandbox.requests


@pytest.mark.parametrize(("field", "value"), [("background", True), ("conversation", "conv_1"), ("prompt", {"id": "p"})])
async def test_fields_whose_owner_or_price_is_not_known_are_refused_by_name(rig, field, value):
    answer = await post(rig, {"model": "gpt-5", "input": "hi", field: value})
    assert (answer.status, answer.error["param"]) == (400, field)


async def test_files_of_the_account_are_refused_where_they_stand(rig):
    item = {"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}
    answer = await post(rig, {"model": "gpt-5", "instructions": "x", "input": ["hi", item]})
    assert (answer.status, answer.error["param"]) == (400, "input[1]")


@pytest.mark.parametrize(
    ("item", "status", "param"),
    [
        ({"type": "image_generation_call", "id": "ig_1", "result": None, "status": "completed"}, 404, "input[1]"),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ""}, 404, "input[1]"),
        ({"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}, 404, "input[1]"),
        ({"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "file_id": "file_1"}}, 400, "input[1]"),
        ({"type": "additional_tools", "role": "developer", "tools": [{"type": "code_interpreter"}]}, 400, "input[1].tools"),
        ({"type": "additional_tools", "role": "developer", "tools": [{"type": "file_search", "vector_store_ids": ["vs"]}]}, 400, "input[1].tools"),
    ],
)
async def test_items_that_name_what_others_may_have_made_or_bring_tools_without_a_price_are_refused(rig, item, status, param):
    answer = await post(rig, {"model": "gpt-5", "input": ["hi", item]})
    assert (answer.status, answer.error["param"]) == (status, param)
    assert not rig.sandbox.requests


async def test_offers_of_hosted_tools_are_left_out_toward_others_and_named(sdk, rig):
    tools: Any = [LOOK, {"type": "web_search"}, {"type": "namespace", "name": "agents", "description": "d", "tools": [{**LOOK, "name": "spawn"}]}]
    said = await sdk.responses.with_raw_response.create(model="claude-sonnet-4-5", input="please call agents__spawn", tools=tools)
    assert set(said.headers["x-tokenrouter-dropped"].split(",")) == {"tools.web_search", "tools.namespace.description"}
    assert [tool["name"] for tool in received(rig)["tools"]] == ["agents__spawn", "look"]
    item = said.parse().output[-1]
    assert (item.name, item.namespace) == ("spawn", "agents")


# translation to this wire


def only_responses(rig: Rig) -> None:
    """OpenAI is reached by Responses alone, so that every other dialect is translated to it."""
    catalog = rig.services.catalog
    account = catalog.deployments["openai"][0]
    catalog._deployments["openai"] = (replace(account, endpoints=(Endpoint("openai-responses", account.base_url),)),)
    catalog._resolved.clear()


CHAT_TOOL: Any = {"type": "function", "function": {"name": "look", "parameters": LOOK["parameters"]}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-5", "gpt-6-sol"])
async def test_a_chat_client_gets_its_tool_loop_over_this_wire(rig, sdk, model, stream):
    only_responses(rig)
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "please call look"}]
    for turn in range(2):
        if stream:
            async with sdk.chat.completions.stream(model=model, messages=messages, tools=[CHAT_TOOL]) as events:
                async for _ in events:
                    pass
                message = (await events.get_final_completion()).choices[0].message
        else:
            message = (await sdk.chat.completions.create(model=model, messages=messages, tools=[CHAT_TOOL])).choices[0].message
        if turn:
            break
        assert json.loads(message.tool_calls[0].function.arguments)
        messages.append(message.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": one.id, "content": "42"} for one in message.tool_calls]
    assert message.content
    sent = received(rig)
    assert sent["store"] is False
    assert all(tool["strict"] is False for tool in sent["tools"])


async def test_a_refusal_and_a_limit_reach_a_chat_client(rig, sdk):
    only_responses(rig)
    rig.sandbox.script(Scripted(refusal="I can not do that."))
    refused = (await sdk.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "x"}])).choices[0]
    assert (refused.message.refusal, refused.finish_reason) == ("I can not do that.", "stop")
    cut = await sdk.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "a long story"}], max_tokens=16)
    assert cut.choices[0].finish_reason == "length"


async def test_parallel_calls_come_back_in_order(rig, sdk):
    only_responses(rig)
    rig.sandbox.script(Scripted(text="so", calls=(ToolCall("look", '{"at":"a"}'), ToolCall("look", '{"at":"b"}'))))
    message = (await sdk.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "x"}], tools=[CHAT_TOOL])).choices[0].message
    assert [json.loads(one.function.arguments)["at"] for one in message.tool_calls] == ["a", "b"]
    assert message.content == "so"


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
async def test_the_tap_reads_the_same_wherever_a_real_stream_is_cut(rig, step):
    stream = await post(rig, {"model": "gpt-5", "input": "hi", "stream": True, "store": False, "reasoning": {"summary": "auto"}}, headers=OFF)
    data = stream.body

    def run(*pieces: bytes) -> Any:
        tap = ResponsesRelay()
        out = b"".join([tap.feed(piece) for piece in pieces]) + tap.close()
        return out, tap.end, tap.usage, tap.finished, tap.reusable, tap.failure

    whole = run(data)
    assert whole[0] + whole[1] == data
    assert whole[3:] == (True, True, None)
    assert whole[2].reported
    for cut in range(0, len(data) + 1, step):
        assert run(data[:cut], data[cut:]) == whole
    last = data.rindex(b"event: response.completed")
    for cut in range(0, last, 11):
        tap = ResponsesRelay()
        tap.feed(data[:cut])
        tap.close()
        assert not tap.finished
