"""Amazon Bedrock behind the whole gateway: asked by official clients of other APIs, every request signed and the signature checked."""

import asyncio
import base64
import json
import threading
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from rig import CHAT, Response, Rig, call

from tokenrouter.sandbox import create_app
from tokenrouter.sandbox.answers import Scripted, ToolCall
from tokenrouter.sandbox.anthropic_engine import REDACTED
from tokenrouter.sandbox.bedrock_sigv4 import SECRET
from tokenrouter.sandbox.faults import Fault
from tokenrouter.upstream.asgi_transport import AsgiTransport
from tokenrouter.upstream.renewed import Fetched
from tokenrouter.upstream.transport import Timeouts

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
OPUS, HAIKU, NOVA, LLAMA = (
    "bedrock/us.anthropic.claude-opus-4-8",
    "bedrock/global.anthropic.claude-haiku-4-5-20251001-v1:0",
    "bedrock/amazon.nova-pro-v1:0",
    "bedrock/meta.llama3-3-70b-instruct-v1:0",
)
MODELS = (OPUS, HAIKU, NOVA, LLAMA)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIASANDBOX", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
HI = {"role": "user", "content": "Say hello in 30 words."}
LONG = "You are careful. " * 2_500
MARK = {"type": "ephemeral"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
TOOLS = [{"name": name, "description": f"Does {name}.", "input_schema": SCHEMA} for name in ("look", "count")]
CHAT_TOOLS = [{"type": "function", "function": {"name": tool["name"], "description": "d", "parameters": SCHEMA}} for tool in TOOLS]
RESPONSES_TOOLS = [{"type": "function", "name": tool["name"], "parameters": SCHEMA} for tool in TOOLS]


def behind(made: Rig, clock: Any) -> Rig:
    """Put the simulator where Amazon would be, reached as Amazon is: nothing in the gateway knows that it is one."""
    made.sandbox = create_app(clock)
    made.set(transport=AsgiTransport(made.sandbox, Timeouts(1, 30, 30)))
    return made


@pytest.fixture
async def rig(start, clock):
    async with start(BEDROCK_BASE_URL="http://sandbox/bedrock", **KEYS) as made:
        yield behind(made, clock)


@pytest.fixture
async def claude(rig: Rig):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app))
    async with anthropic.AsyncAnthropic(api_key=rig.key, base_url="http://gateway", http_client=http, max_retries=0) as made:
        yield made


@pytest.fixture
async def chat(rig: Rig):
    http = httpx.AsyncClient(transport=httpx.ASGITransport(rig.app))
    async with openai.AsyncOpenAI(api_key=rig.key, base_url="http://gateway/v1", http_client=http, max_retries=0) as made:
        yield made


async def post(rig: Rig, path: str, body: Any, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await call(rig.app, "POST", path, raw, {"authorization": f"Bearer {rig.key}", **headers})


def plain(path: str, model: str = OPUS, **more: Any) -> dict[str, Any]:
    """The same question in three dialects."""
    asked = {"input": [HI]} if path == RESPONSES else {"messages": [HI]}
    return {"model": model, **asked, **({"max_tokens": 400} if path == MESSAGES else {}), **more}


def sent(rig: Rig, back: int = 1) -> dict[str, Any]:
    return json.loads(rig.sandbox.requests.items[-back].body)


def blocks(rig: Rig, kind: str) -> list[Any]:
    return [block[kind] for message in sent(rig)["messages"] for block in message["content"] if kind in block]


def exact(rig: Rig) -> None:
    """What was booked is what the simulator billed."""
    assert rig.spent(sandbox=False) == rig.sandbox.bill.nano_usd > 0
    assert rig.held(sandbox=False) == 0
    assert {row["settled"] for row in rig.billed_rows()} == {"exact"}


# -- answers ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_the_anthropic_client_reads_the_same_whole_and_streamed(rig: Rig, claude, model):
    body = {"model": model, "max_tokens": 400, "system": "Be brief.", "messages": [HI], "stop_sequences": ["xyzzy"]}
    whole = await claude.messages.create(**body)
    async with claude.messages.stream(**body) as stream:
        final = await stream.get_final_message()
    assert [block.text for block in whole.content] == [block.text for block in final.content] != []
    assert (whole.stop_reason, final.stop_reason) == ("end_turn", "end_turn")
    assert (final.usage.input_tokens, final.usage.output_tokens) == (whole.usage.input_tokens, whole.usage.output_tokens)
    assert whole.usage.input_tokens > 0 < whole.usage.output_tokens
    paths = [received.path for received in rig.sandbox.requests.items]
    assert paths == [f"/model/{model.removeprefix('bedrock/')}/{action}" for action in ("converse", "converse-stream")]
    exact(rig)


@pytest.mark.parametrize("model", MODELS)
async def test_the_chat_client_reads_the_same_whole_and_streamed(rig: Rig, chat, model):
    body = {"model": model, "messages": [{"role": "system", "content": "Be brief."}, HI]}
    whole = await chat.chat.completions.create(**body)
    said, usage, ends = "", None, []
    async for chunk in await chat.chat.completions.create(**body, stream=True, stream_options={"include_usage": True}):
        said += "".join(choice.delta.content or "" for choice in chunk.choices)
        ends += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
        usage = chunk.usage or usage
    assert (said, ends) == (whole.choices[0].message.content, ["stop"])
    assert (usage.prompt_tokens, usage.completion_tokens) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)
    exact(rig)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [MESSAGES, CHAT, RESPONSES])
async def test_a_client_without_a_library_is_answered_in_its_own_words(rig: Rig, path, stream):
    answer = await post(rig, path, plain(path, stream=stream))
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
    assert b"contentBlock" not in answer.body
    ends = {MESSAGES: b"message_stop", CHAT: b"[DONE]", RESPONSES: b"response.completed"}
    assert (ends[path] in answer.body) == stream
    exact(rig)


@pytest.mark.parametrize("model", [OPUS, NOVA])
async def test_a_kept_answer_is_given_to_the_same_question_in_the_other_form(rig: Rig, model):
    answers = [await post(rig, CHAT, plain(CHAT, model, temperature=0, stream=stream)) for stream in (False, True)]
    assert [answer.cache for answer in answers] == ["miss", "hit"]
    assert answers[0].text == answers[1].text
    assert rig.sandbox.requests.seen == 1


async def test_pictures_and_documents_arrive(rig: Rig, claude):
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    pdf = {"type": "document", "title": "Report, final.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
    notes = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "The sky is blue."}}
    question = {"role": "user", "content": [picture, pdf, notes, {"type": "text", "text": "What is it?"}]}
    assert (await claude.messages.create(model=OPUS, max_tokens=200, messages=[question])).content
    assert blocks(rig, "image") == [{"format": "png", "source": {"bytes": PNG}}]
    assert [(one["format"], one["name"]) for one in blocks(rig, "document")] == [("pdf", "Report final"), ("txt", "document")]
    exact(rig)


async def test_structured_output_is_what_was_asked_for(rig: Rig, chat):
    form = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": {**SCHEMA, "additionalProperties": False}}}
    answer = await chat.chat.completions.create(model=OPUS, messages=[HI], response_format=form)
    assert set(json.loads(answer.choices[0].message.content)) == {"at"}
    assert sent(rig)["outputConfig"]["textFormat"]["type"] == "json_schema"


# -- who asks --------------------------------------------------------------------------------------------------------------------------


async def test_every_request_is_signed_with_the_operators_keys(rig: Rig, claude):
    await claude.messages.create(model=HAIKU, max_tokens=20, messages=[HI])
    headers = rig.sandbox.requests.items[-1].headers
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIASANDBOX/")
    assert rig.sandbox.bill.lines[-1].account == rig.sandbox.account("AKIASANDBOX")
    assert rig.key not in str(headers)


async def test_a_session_token_is_part_of_the_signature(start, clock):
    async with start(BEDROCK_BASE_URL="http://sandbox/bedrock", AWS_SESSION_TOKEN="of-this-session", **KEYS) as made:
        rig = behind(made, clock)
        assert (await post(rig, CHAT, plain(CHAT))).status == 200
        assert rig.sandbox.requests.items[-1].headers["x-amz-security-token"] == "of-this-session"


async def test_an_api_key_of_bedrocks_own_needs_no_signature(start, clock):
    async with start(BEDROCK_BASE_URL="http://sandbox/bedrock", AWS_BEARER_TOKEN_BEDROCK="bedrock-key", AWS_REGION="us-east-1") as made:
        rig = behind(made, clock)
        assert (await post(rig, MESSAGES, plain(MESSAGES))).status == 200
        assert rig.sandbox.requests.items[-1].headers["authorization"] == "Bearer bedrock-key"


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
async def test_a_wrong_secret_is_not_the_clients_fault_and_costs_nothing(start, clock, path):
    async with start(BEDROCK_BASE_URL="http://sandbox/bedrock", **KEYS | {"AWS_SECRET_ACCESS_KEY": "of-somebody-else"}) as made:
        rig = behind(made, clock)
        answer = await post(rig, path, plain(path))
        assert (answer.status, "refused the gateway's credential" in answer.error["message"]) == (502, True)
        assert b"somebody" not in answer.body
        assert (rig.spent(sandbox=False), rig.held(sandbox=False)) == (0, 0)


async def test_keys_that_are_not_whole_are_said_to_be_so_before_anything_is_sent(start, clock):
    half = {name: value for name, value in KEYS.items() if name != "AWS_SECRET_ACCESS_KEY"}
    async with start(BEDROCK_BASE_URL="http://sandbox/bedrock", **half) as made:
        rig = behind(made, clock)
        for path in (MESSAGES, CHAT):
            answer = await post(rig, path, plain(path))
            assert (answer.status, "AWS_SECRET_ACCESS_KEY is missing" in answer.error["message"]) == (503, True)
        assert rig.sandbox.requests.seen == 0
        assert (rig.spent(sandbox=False), rig.held(sandbox=False)) == (0, 0)


async def test_without_credentials_the_error_names_the_variables(start):
    async with start(OPENAI_API_KEY="sk-x") as rig:
        answer = await post(rig, MESSAGES, plain(MESSAGES))
        assert (answer.status, answer.json["error"]["type"]) == (404, "not_found_error")
        for variable in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_REGION"):
            assert variable in answer.json["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_where_credentials_come_from_may_hang_and_the_client_does_not(rig: Rig, monkeypatch, stream):
    stuck = threading.Event()
    monkeypatch.setattr("tokenrouter.upstream.renewed.LONGEST_FETCH_S", 0.05)
    monkeypatch.setattr("tokenrouter.upstream.credentials.signer", lambda _: lambda: Fetched(stuck.wait(60), 1, 1))
    try:
        answer = await asyncio.wait_for(post(rig, MESSAGES, plain(MESSAGES, stream=stream)), 10)
    finally:
        stuck.set()
    assert (answer.status, answer.json["type"]) == (503, "error")
    assert "credential could not be fetched" in answer.json["error"]["message"]
    assert rig.sandbox.requests.seen == 0
    assert (rig.spent(sandbox=False), rig.held(sandbox=False)) == (0, 0)


# -- the prompt cache ------------------------------------------------------------------------------------------------------------------


def points(content: list[Any]) -> list[int]:
    """Where cache points stand."""
    return [place for place, block in enumerate(content) if "cachePoint" in block]


async def test_what_the_first_turn_wrote_the_second_reads_for_clients_of_anthropic(rig: Rig, claude):
    messages: list[Any] = [HI]
    usages = []
    for _ in range(2):
        answer = await claude.messages.create(model=OPUS, max_tokens=200, system=LONG, tools=TOOLS, messages=messages)
        usages.append(answer.usage)
        messages += [{"role": "assistant", "content": answer.content[0].text}, {"role": "user", "content": "Go on."}]
    assert usages[0].cache_read_input_tokens == 0 < usages[0].cache_creation_input_tokens
    assert usages[1].cache_read_input_tokens == usages[0].cache_creation_input_tokens
    assert points(sent(rig)["system"]) == [1]
    assert points(sent(rig)["messages"][-1]["content"]) == [1]
    assert [row["cache_read"] for row in rig.billed_rows()] == [usage.cache_read_input_tokens for usage in usages]
    exact(rig)


@pytest.mark.parametrize(("model", "marks"), [(OPUS, True), (NOVA, True), (LLAMA, False)])
async def test_clients_of_chat_are_told_what_was_read(rig: Rig, chat, model, marks):
    messages: list[Any] = [{"role": "system", "content": LONG}, HI]
    usages = []
    for _ in range(2):
        answer = await chat.chat.completions.create(model=model, messages=messages, tools=CHAT_TOOLS)
        usages.append(answer.usage)
        messages += [{"role": "assistant", "content": answer.choices[0].message.content}, {"role": "user", "content": "Go on."}]
    read = (usages[1].prompt_tokens_details and usages[1].prompt_tokens_details.cached_tokens) or 0
    assert (read > 1_024) == marks == (b"cachePoint" in rig.sandbox.requests.items[-1].body)
    assert usages[1].prompt_tokens >= usages[0].prompt_tokens >= read or not marks
    assert points(sent(rig)["toolConfig"]["tools"]) == []
    exact(rig)


async def test_a_clients_own_marks_become_cache_points_with_their_lifetimes(rig: Rig, claude):
    hour = {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": LONG, "cache_control": hour}, {"type": "text", "text": "b"}]
    user = {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": MARK}, {"type": "text", "text": "b"}]}
    answer = await claude.messages.create(
        model=OPUS, max_tokens=50, system=system, messages=[user], tools=[TOOLS[0], {**TOOLS[1], "cache_control": hour}]
    )
    assert answer.usage.cache_creation.ephemeral_1h_input_tokens > 1_024
    body = sent(rig)
    point = {"type": "default", "ttl": "1h"}
    assert [block.get("cachePoint") for block in body["system"]] == [None, point, None]
    assert body["toolConfig"]["tools"][2]["cachePoint"] == point
    assert body["messages"][0]["content"][1]["cachePoint"] == {"type": "default"}
    exact(rig)


async def test_the_automatic_mark_becomes_a_point_at_the_end(rig: Rig, claude):
    body = {"model": OPUS, "max_tokens": 50, "system": LONG, "messages": [HI], "cache_control": MARK}
    written = (await claude.messages.create(**body)).usage.cache_creation_input_tokens
    assert written > 1_024
    assert points(sent(rig)["messages"][0]["content"]) == [1]
    assert (await claude.messages.create(**body)).usage.cache_read_input_tokens == written


# -- tools and thinking ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "thinking"), [(OPUS, {"type": "adaptive"}), (HAIKU, {"type": "enabled", "budget_tokens": 2_000})])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_with_thinking_returns_signatures_unharmed(rig: Rig, claude, model, thinking, stream):
    messages: list[Any] = [{"role": "user", "content": "Please call look and count."}]
    for turn in range(2):
        body = {"model": model, "max_tokens": 4_000, "tools": TOOLS, "thinking": thinking, "messages": messages}
        if stream:
            async with claude.messages.stream(**body) as events:
                answer = await events.get_final_message()
        else:
            answer = await claude.messages.create(**body)
        if turn:
            break
        kinds = [block.type for block in answer.content]
        assert (kinds, answer.stop_reason) == (["thinking", "tool_use", "tool_use"], "tool_use")
        messages.append({"role": "assistant", "content": [block.to_dict() for block in answer.content]})
        calls = [block for block in answer.content if block.type == "tool_use"]
        messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": one.id, "content": "42"} for one in calls]})
    assert answer.stop_reason == "end_turn"
    (thought,) = blocks(rig, "reasoningContent")
    first = messages[1]["content"]
    assert thought == {"reasoningText": {"text": first[0]["thinking"], "signature": first[0]["signature"]}}
    assert [one["toolUseId"] for one in blocks(rig, "toolUse")] == [one["id"] for one in first[1:]]
    assert [one["toolUseId"] for one in blocks(rig, "toolResult")] == [one["id"] for one in first[1:]]
    exact(rig)


async def test_a_signature_that_was_changed_is_noticed_by_the_vendor(rig: Rig, claude):
    body = {"model": OPUS, "max_tokens": 4_000, "tools": TOOLS, "thinking": {"type": "adaptive"}}
    ask = {"role": "user", "content": "Please call look."}
    answer = await claude.messages.create(**body, messages=[ask])
    content = [block.to_dict() for block in answer.content]
    content[0]["thinking"] += "!"
    back = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": content[1]["id"], "content": "42"}]}
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        await claude.messages.create(**body, messages=[ask, {"role": "assistant", "content": content}, back])


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_that_nobody_may_read_comes_and_goes(rig: Rig, claude, stream):
    body = {"model": OPUS, "max_tokens": 4_000, "thinking": {"type": "adaptive"}}
    ask = {"role": "user", "content": f"{REDACTED} Hello."}
    if stream:
        async with claude.messages.stream(**body, messages=[ask]) as events:
            answer = await events.get_final_message()
    else:
        answer = await claude.messages.create(**body, messages=[ask])
    hidden, *_ = answer.content
    assert hidden.type == "redacted_thinking"
    history = [ask, {"role": "assistant", "content": [block.to_dict() for block in answer.content]}, {"role": "user", "content": "Go on."}]
    assert (await claude.messages.create(**body, messages=history)).stop_reason == "end_turn"
    (thought,) = blocks(rig, "reasoningContent")
    assert base64.b64decode(thought["redactedContent"]).decode() == hidden.data


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_of_a_chat_clients_turn_is_put_back_in_front_of_its_calls(rig: Rig, chat, stream):
    messages: list[Any] = [{"role": "user", "content": "Please call look."}]
    body = {"model": OPUS, "tools": CHAT_TOOLS, "reasoning_effort": "high", "max_tokens": 4_000}
    if stream:
        calls: dict[int, Any] = {}
        async for chunk in await chat.chat.completions.create(**body, messages=messages, stream=True):
            for piece in [piece for choice in chunk.choices for piece in choice.delta.tool_calls or ()]:
                made = calls.setdefault(piece.index, {"id": piece.id, "type": "function", "function": {"name": piece.function.name, "arguments": ""}})
                made["function"]["arguments"] += piece.function.arguments or ""
        turn = {"role": "assistant", "content": None, "tool_calls": list(calls.values())}
    else:
        message = (await chat.chat.completions.create(**body, messages=messages)).choices[0].message
        turn = {"role": "assistant", "content": message.content, "tool_calls": [one.model_dump() for one in message.tool_calls]}
    messages += [turn, {"role": "tool", "tool_call_id": turn["tool_calls"][0]["id"], "content": "42"}]
    assert (await chat.chat.completions.create(**body, messages=messages)).choices[0].finish_reason == "stop"
    assistant = sent(rig)["messages"][1]["content"]
    assert [next(iter(block)) for block in assistant if "cachePoint" not in block] == ["reasoningContent", "toolUse"]
    assert assistant[0]["reasoningContent"]["reasoningText"]["signature"]


@pytest.mark.parametrize("model", [NOVA, LLAMA])
async def test_tool_loops_run_with_models_of_other_makers(rig: Rig, chat, model):
    messages: list[Any] = [{"role": "user", "content": "Please call look."}]
    answer = await chat.chat.completions.create(model=model, messages=messages, tools=CHAT_TOOLS)
    (made,) = answer.choices[0].message.tool_calls
    messages += [answer.choices[0].message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": made.id, "content": "42"}]
    final = await chat.chat.completions.create(model=model, messages=messages, tools=CHAT_TOOLS)
    assert final.choices[0].finish_reason == "stop"
    exact(rig)


NOT_CALLED = [
    (CHAT, {"tools": CHAT_TOOLS, "tool_choice": "none"}),
    (RESPONSES, {"tools": RESPONSES_TOOLS, "tool_choice": "none"}),
    (MESSAGES, {"tools": TOOLS, "tool_choice": {"type": "none"}}),
]


@pytest.mark.parametrize(("path", "more"), NOT_CALLED, ids=["chat", "responses", "messages"])
@pytest.mark.parametrize("model", MODELS)
async def test_no_tools_are_shown_where_none_may_be_called(rig: Rig, path, more, model):
    ask = {"role": "user", "content": "Please call look."}
    body = plain(path, model, **more, **({"input": [ask]} if path == RESPONSES else {"messages": [ask]}))
    answer = await post(rig, path, body)
    assert answer.status == 200, answer.body
    assert answer.headers["x-tokenrouter-dropped"] == "tools"
    assert b"tool" not in rig.sandbox.requests.items[-1].body.replace(b'"text":"Please call look."', b"")


@pytest.mark.parametrize("model", MODELS)
async def test_once_there_were_calls_none_is_refused_by_name(rig: Rig, model):
    one = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
    talk = [HI, {"role": "assistant", "tool_calls": [one]}, {"role": "tool", "tool_call_id": "c1", "content": "42"}]
    answer = await post(rig, CHAT, {"model": model, "messages": talk, "tools": CHAT_TOOLS, "tool_choice": "none"})
    assert (answer.status, answer.error["param"]) == (400, "tool_choice")
    assert rig.sandbox.requests.seen == 0


@pytest.mark.parametrize("choice", [None, "auto", "required", {"type": "function", "function": {"name": "look"}}])
@pytest.mark.parametrize("model", [OPUS, HAIKU])
async def test_claude_makes_one_call_at_a_time_where_that_was_asked(rig: Rig, chat, model, choice):
    more = {} if choice is None else {"tool_choice": choice}
    ask = {"role": "user", "content": "Please call look and count."}
    answer = await chat.chat.completions.create(model=model, messages=[ask], tools=CHAT_TOOLS, parallel_tool_calls=False, **more)
    assert len(answer.choices[0].message.tool_calls) == 1
    both = await chat.chat.completions.create(model=model, messages=[ask], tools=CHAT_TOOLS)
    assert len(both.choices[0].message.tool_calls) == 2


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_other_models_can_not_be_held_to_that_and_it_is_said(rig: Rig, path):
    tools = CHAT_TOOLS if path == CHAT else RESPONSES_TOOLS
    answer = await post(rig, path, plain(path, NOVA, tools=tools, parallel_tool_calls=False))
    assert (answer.status, answer.error["param"]) == (400, "parallel_tool_calls")
    assert rig.sandbox.requests.seen == 0


# -- trouble ---------------------------------------------------------------------------------------------------------------------------


def failed(path: str, answer: Response) -> dict[str, Any]:
    """The error that ends a stream, after checking that nothing says it ended well."""
    *before, last = answer.events
    if path == CHAT:
        assert "[DONE]" not in before
        assert last != "[DONE]"
        assert not any(choice.get("finish_reason") for event in before for choice in event.get("choices", ())) or "error" in last
        return last["error"]
    if path == RESPONSES:
        assert "response.completed" not in [event["type"] for event in before]
        assert last["type"] in ("error", "response.failed")
        return last.get("error") or last["response"]["error"]
    assert last["type"] == "error"
    assert "message_stop" not in [event["type"] for event in before]
    return last["error"]


SMALL = Scripted(vendor="bedrock", thinking="Hm.", text="Two words. é", calls=(ToolCall("look", '{"at":"x"}'),))


def asking(path: str) -> dict[str, Any]:
    if path == MESSAGES:
        return plain(path, tools=TOOLS, stream=True, max_tokens=4_000, thinking={"type": "adaptive"})
    if path == CHAT:
        return plain(path, tools=CHAT_TOOLS, stream=True, reasoning_effort="low")
    return plain(path, tools=RESPONSES_TOOLS, stream=True, reasoning={"effort": "low"})


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", [MESSAGES, CHAT, RESPONSES])
async def test_a_stream_that_is_cut_at_any_byte_never_ends_cleanly(rig: Rig, path, step):
    heard: list[bytes] = []
    inner = rig.services.transport

    class Cut:
        """Lets `most` bytes of an answer through, and ends it there as if that were all."""

        most = 1 << 30

        async def send(self, *args: Any, **more: Any) -> Any:
            response = await inner.send(*args, **more)
            whole = b"".join([data async for data in response.chunks()])
            heard[:] = [whole]

            async def chunks():
                yield whole[: self.most]

            response.chunks = chunks
            return response

        async def aclose(self) -> None:
            await inner.aclose()

    cut = Cut()
    rig.set(transport=cut)
    rig.sandbox.script(SMALL)
    full = await post(rig, path, asking(path))
    assert full.status == 200
    size = len(heard[0])
    assert size > 1_000
    for most in range(0, size, step):
        cut.most = most
        rig.sandbox.script(SMALL)
        answer = await post(rig, path, asking(path))
        if answer.status != 200:
            assert (answer.status, "error" in answer.json) == (502, True)
            continue
        assert failed(path, answer)["message"]
    await rig.landed()
    assert rig.held(sandbox=False) == 0
    assert [row["settled"] for row in rig.billed_rows()].count("exact") == 1


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
async def test_a_stream_that_was_damaged_on_its_way_is_noticed(rig: Rig, path):
    for kind in ("truncate", "error_event", "bad_json"):
        rig.sandbox.fault(Fault(kind=kind, after=5))
        error = failed(path, await post(rig, path, plain(path, stream=True)))
        assert error["message"]
        if kind == "error_event":
            assert "The model stream was interrupted." in error["message"]
    await rig.landed()
    assert {row["settled"] for row in rig.billed_rows()} == {"estimated"}


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (400, {MESSAGES: "invalid_request_error", CHAT: "invalid_request_error"}),
        (404, {MESSAGES: "not_found_error", CHAT: "invalid_request_error"}),
        (429, {MESSAGES: "rate_limit_error", CHAT: "rate_limit_error"}),
        (424, {}),
        (500, {MESSAGES: "api_error", CHAT: "api_error"}),
        (503, {}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [MESSAGES, CHAT, RESPONSES])
async def test_what_amazon_refuses_is_said_in_the_clients_own_shape(rig: Rig, path, status, kinds, stream):
    rig.sandbox.fault(Fault(kind="status", status=status, message="Amazon's own words", retry_after="7"))
    answer = await post(rig, path, plain(path, stream=stream))
    assert answer.status == status
    assert "Amazon's own words" in answer.error["message"]
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["retry-after"] == "7"
    assert ("type" in answer.json) == (path == MESSAGES)
    if path in kinds:
        assert answer.error["type"] == kinds[path]
    assert (rig.spent(sandbox=False), rig.held(sandbox=False)) == (0, 0)


async def test_the_official_clients_raise_what_they_know(rig: Rig, claude, chat):
    rig.sandbox.fault(Fault(kind="status", status=429, message="Too many requests"))
    with pytest.raises(anthropic.RateLimitError, match="Too many requests"):
        await claude.messages.create(**plain(MESSAGES))
    rig.sandbox.fault(Fault(kind="status", status=429, message="Too many requests"))
    with pytest.raises(openai.RateLimitError, match="Too many requests"):
        await chat.chat.completions.create(**plain(CHAT))
    with pytest.raises(anthropic.BadRequestError, match="maximum tokens"):
        await claude.messages.create(model=NOVA, max_tokens=15_000, messages=[HI])
    rig.sandbox.fault(Fault(kind="error_event", after=4))
    with pytest.raises(anthropic.APIError, match="interrupted"):
        async with claude.messages.stream(**plain(MESSAGES)) as stream:
            await stream.get_final_message()


@pytest.mark.parametrize("kind", ["html", "empty", "error_body"])
async def test_a_good_status_without_an_answer_is_the_providers_failure(rig: Rig, kind):
    rig.sandbox.fault(Fault(kind=kind))
    answer = await post(rig, MESSAGES, plain(MESSAGES))
    assert (answer.status, answer.json["type"]) == (502, "error")


async def test_a_model_that_bedrock_does_not_have_is_refused_in_its_words(rig: Rig, claude):
    with pytest.raises(anthropic.APIStatusError) as caught:
        await claude.messages.create(model="bedrock/anthropic.claude-opus-9", max_tokens=5, messages=[HI])
    assert caught.value.status_code in (400, 404)
    assert caught.value.body["type"] == "error"
