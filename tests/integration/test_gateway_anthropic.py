"""Clients of Anthropic's Messages API before the whole gateway: the official SDK, on the native lane and translated."""

import json
from typing import Any

import anthropic
import httpx2
import pytest
from rig import Rig, call, until

from tokenrouter.sandbox.answers import Scripted, ToolCall
from tokenrouter.sandbox.faults import Fault

PATH, COUNT = "/v1/messages", "/v1/messages/count_tokens"
HAIKU, OPUS, BOUND, GPT = "claude-haiku-4-5", "claude-opus-4-8", "claude-opus-5-5", "gpt-4.1"
EVERYWHERE = [OPUS, GPT, "gemini-2.5-flash"]
HI = {"role": "user", "content": "Say hello in 30 words."}
LONG = "You are careful. " * 1_500
MARK = {"type": "ephemeral"}
TOOLS = [
    {"name": name, "description": f"Does {name}.", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}}
    for name in ("look", "count", "rest")
]


@pytest.fixture
async def client(rig: Rig):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app))
    async with anthropic.AsyncAnthropic(api_key=rig.key, base_url="http://gateway", http_client=http, max_retries=0) as made:
        yield made


def ask(*messages: Any, model: str = OPUS, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 4_000, "messages": list(messages or [HI]), **more}


async def post(rig: Rig, body: Any = None, path: str = PATH, *, key: str | None = None, **headers: str):
    raw = body if isinstance(body, bytes) else json.dumps(ask() if body is None else body).encode()
    return await call(rig.app, "POST", path, raw, {"x-api-key": key or rig.key, "anthropic-version": "2023-06-01", **headers})


def sent(rig: Rig) -> dict[str, Any]:
    """The body of the newest request that a simulated vendor received."""
    return json.loads(rig.sandbox.requests.items[-1].body)


def text(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


async def both(client: Any, **body: Any) -> Any:
    """The same question whole and streamed, put together by the SDK: the same answer."""
    whole = await client.messages.create(**body)
    async with client.messages.stream(**body) as stream:
        final = await stream.get_final_message()
    blocks = [[{key: value for key, value in block.to_dict().items() if key != "parsed_output"} for block in one.content] for one in (whole, final)]
    assert blocks[0] == blocks[1]
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    return whole


@pytest.mark.parametrize("model", EVERYWHERE)
async def test_answers_whole_and_streamed_are_the_same(client, model):
    answer = await both(client, **ask(model=model))
    assert (answer.type, answer.role, answer.stop_reason, answer.stop_sequence) == ("message", "assistant", "end_turn", None)
    assert answer.id.startswith("msg_")
    assert text(answer)
    assert answer.usage.input_tokens > 0 < answer.usage.output_tokens


@pytest.mark.parametrize("model", EVERYWHERE)
async def test_a_stream_tells_its_real_input_in_the_end(client, model):
    whole = await client.messages.create(**ask(model=model, system="Be short."))
    async with client.messages.stream(**ask(model=model, system="Be short.")) as stream:
        final = await stream.get_final_message()
    assert final.usage.input_tokens == whole.usage.input_tokens > 0


@pytest.mark.parametrize(
    ("model", "thinking"), [(HAIKU, {"type": "enabled", "budget_tokens": 2_000}), (OPUS, {"type": "adaptive"}), (BOUND, {"type": "adaptive"})]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_with_thinking_returns_signatures_unharmed(rig: Rig, client, model, thinking, stream):
    messages: list[Any] = [{"role": "user", "content": "Please call look and count."}]
    body = ask(model=model, tools=TOOLS, thinking=thinking, system=LONG)
    for turn in range(2):
        body["messages"] = messages
        if stream:
            async with client.messages.stream(**body) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(**body)
        if turn:
            break
        kinds = [block.type for block in answer.content]
        assert (kinds[0], kinds[-2:], answer.stop_reason) == ("thinking", ["tool_use", "tool_use"], "tool_use")
        assert answer.content[0].signature
        messages.append({"role": "assistant", "content": answer.content})
        calls = [block for block in answer.content if block.type == "tool_use"]
        messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": one.id, "content": "42"} for one in calls]})
    assert answer.stop_reason == "end_turn"
    assert text(answer)
    assert sent(rig)["messages"][1]["content"][0]["signature"]


@pytest.mark.parametrize("model", [GPT, "gpt-5.4", "gemini-2.5-flash", "deepseek-chat"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_runs_with_models_of_other_vendors(client, model, stream):
    messages: list[Any] = [{"role": "user", "content": "Please call look and count."}]
    for _ in range(2):
        body = ask(*messages, model=model, tools=TOOLS)
        if stream:
            async with client.messages.stream(**body) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(**body)
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            break
        assert ([one.name for one in calls], answer.stop_reason) == (["look", "count"], "tool_use")
        assert all(isinstance(one.input["at"], str) for one in calls)
        messages.append({"role": "assistant", "content": [block.to_dict() for block in answer.content]})
        results = [{"type": "tool_result", "tool_use_id": one.id, "content": [{"type": "text", "text": "42"}]} for one in calls]
        messages.append({"role": "user", "content": [*results, {"type": "text", "text": "Go on."}]})
    assert len(messages) == 3
    assert answer.stop_reason == "end_turn"


async def test_the_second_turn_reads_what_the_first_one_wrote(rig: Rig, client):
    messages: list[Any] = [HI]
    usages = []
    for _ in range(2):
        answer = await client.messages.create(**ask(*messages, system=LONG, tools=TOOLS))
        usages.append(answer.usage)
        messages += [{"role": "assistant", "content": text(answer)}, {"role": "user", "content": "Go on."}]
    assert (usages[0].cache_read_input_tokens, usages[0].cache_creation_input_tokens > 1_024) == (0, True)
    assert usages[1].cache_read_input_tokens == usages[0].cache_creation_input_tokens
    rows = rig.billed_rows()
    assert [row["cache_read"] for row in rows] == [usage.cache_read_input_tokens for usage in usages]
    assert [row["settled"] for row in rows] == ["exact"] * 2


async def test_the_clients_own_marks_stay_and_the_automatic_one_is_counted(rig: Rig, client):
    system = [{"type": "text", "text": LONG, "cache_control": MARK}, {"type": "text", "text": "b", "cache_control": MARK}]
    user = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": MARK}]}
    for body in (
        ask(user, system=system),
        ask(user, system=system[:1], cache_control=MARK),
        ask(HI, system=LONG, cache_control={"type": "ephemeral", "ttl": "1h"}),
        ask(HI, system=system, tools=[{**TOOLS[0], "cache_control": MARK}], cache_control=MARK),
    ):
        answer = await client.messages.create(**body)
        assert answer.usage.cache_creation_input_tokens + answer.usage.cache_read_input_tokens > 1_024
        assert sent(rig).get("cache_control") == body.get("cache_control")
        assert json.dumps(sent(rig)).count('"cache_control"') <= 4


async def test_marks_inside_results_take_a_slot_each(rig: Rig):
    inner = [{"type": "text", "text": "a", "cache_control": MARK}, {"type": "text", "text": "b", "cache_control": MARK}]
    messages = [
        HI,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": inner, "cache_control": MARK}]},
    ]
    answer = await post(rig, ask(*messages, system=LONG, tools=TOOLS))
    assert answer.status == 200, answer.body
    assert json.dumps(sent(rig)).count('"cache_control"') == 4


async def test_tokens_are_counted_where_the_vendor_counts_and_estimated_elsewhere(rig: Rig, client):
    counted = await client.messages.count_tokens(model=OPUS, messages=[HI], system=LONG, tools=TOOLS)
    answered = await client.messages.create(**ask(HI, system=LONG, tools=TOOLS))
    usage = answered.usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
    before = rig.spent()
    for model in (OPUS, "gemini-2.5-flash", GPT):
        assert (await client.messages.count_tokens(model=model, messages=[HI], system=LONG)).input_tokens > 1_000
    assert (rig.spent(), rig.held()) == (before, 0)
    estimated = await post(rig, {"model": GPT, "messages": [HI]}, COUNT)
    assert estimated.headers["x-tokenrouter-edits"] == "count.estimate"


async def test_flags_version_and_query_go_up_and_tell_questions_apart(rig: Rig, client):
    await client.beta.messages.create(**ask(), betas=["context-management-2025-06-27", "mcp-client-2025-11-20"])
    headers = rig.sandbox.requests.items[-1].headers
    assert headers["anthropic-beta"] == "context-management-2025-06-27,mcp-client-2025-11-20"
    seen = rig.sandbox.requests.seen
    again = [await post(rig, ask(temperature=0), f"{PATH}?beta=true", **{"anthropic-beta": beta}) for beta in ("a", "a", "b")]
    assert [one.cache for one in again] == ["miss", "hit", "miss"]
    assert rig.sandbox.requests.seen == seen + 2


async def test_what_the_client_sent_is_what_the_vendor_gets(rig: Rig):
    body = b'{ "max_tokens" : 50 ,"model":"claude-opus-4-8","messages":[ {"role":"user","content":"caf\\u00e9 \\/ "} ],"metadata":{"user_id":null}}'
    answer = await post(rig, body, **{"x-edits-off": "all"})
    assert answer.status == 200, answer.body
    assert rig.sandbox.requests.items[-1].body == body
    assert answer.headers["x-tokenrouter-edits"] == "none"
    renamed = await post(rig, body.replace(b"claude-opus", b"anthropic/claude-opus").replace(b'{ "max', b'{"x-cache":"off","max'))
    assert renamed.headers["x-tokenrouter-edits"] == "model.name,extensions.strip"


@pytest.mark.parametrize(("version", "shown"), [("2023-06-01", "x-api-key"), ("2026-10-21", "authorization")])
async def test_the_vendor_is_shown_our_key_as_clients_of_that_version_show_theirs(rig: Rig, version, shown):
    assert (await post(rig, **{"anthropic-version": version})).status == 200
    headers = rig.sandbox.requests.items[-1].headers
    assert ([name for name in ("x-api-key", "authorization") if name in headers], headers["anthropic-version"]) == ([shown], version)
    assert rig.key not in headers[shown]


@pytest.mark.parametrize("asked_first", [False, True])
async def test_a_kept_answer_is_given_again_in_the_other_form(client, rig: Rig, asked_first):
    body = ask(model=BOUND if asked_first else OPUS, **({} if asked_first else {"extra_body": {"temperature": 0}}))
    headers = {"x-cache": "all"} if asked_first else {"anthropic-version": "2023-06-01"}
    whole = await client.messages.create(**body, extra_headers=headers)
    seen = rig.sandbox.requests.seen
    async with client.messages.stream(**body, extra_headers=headers) as stream:
        final = await stream.get_final_message()
    assert rig.sandbox.requests.seen == seen
    assert [block.to_dict() for block in whole.content] == [
        {key: value for key, value in block.to_dict().items() if key != "parsed_output"} for block in final.content
    ]
    assert final.usage.output_tokens == whole.usage.output_tokens
    again = await client.messages.create(**body, extra_headers=headers)
    assert again.to_dict() == whole.to_dict()


async def test_reasoning_of_one_vendor_survives_a_client_of_another(rig: Rig, client):
    rig.sandbox.script(Scripted(vendor="gemini", thinking="I must look.", calls=(ToolCall("look", '{"at": "x"}'),)))
    body = ask({"role": "user", "content": "look"}, model="gemini-2.5-flash", tools=TOOLS, thinking={"type": "enabled", "budget_tokens": 2_000})
    answer = await client.messages.create(**body)
    enveloped = [block for block in answer.content if block.type == "thinking" and block.signature.startswith("tr1.")]
    (tool_use,) = [block for block in answer.content if block.type == "tool_use"]
    results = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": tool_use.id, "content": "42"}]}
    history = [body["messages"][0], {"role": "assistant", "content": [block.to_dict() for block in answer.content]}, results]
    assert (await client.messages.create(**{**body, "messages": history})).stop_reason == "end_turn"
    other = await post(rig, ask(*history, tools=TOOLS))
    assert other.status == 200, other.body
    assert b"tr1." not in rig.sandbox.requests.items[-1].body
    if enveloped:
        assert other.headers["x-tokenrouter-dropped"] == "messages.content.thinking"


async def test_figures_come_on_request_and_strict_clients_pass_over_them(rig: Rig, client):
    async with client.messages.stream(**ask(), extra_headers={"x-metadata": "true"}) as stream:
        assert text(await stream.get_final_message())
    for model in (OPUS, GPT):
        raw = await post(rig, ask(model=model, stream=True), **{"x-metadata": "true"})
        events = raw.events
        (at,) = [number for number, event in enumerate(events) if "x_tokenrouter" in event]
        assert events[at]["type"] == "ping"
        assert events[at]["x_tokenrouter"]["usage"]["output"] > 0
        assert [event["type"] for event in events[at + 1 :]] == (["message_stop"] if model == OPUS else ["message_delta", "message_stop"])


async def test_the_models_are_listed_in_this_apis_shape(rig: Rig, client):
    page = await client.models.list()
    assert {OPUS, GPT} <= {model.id for model in page.data}
    assert [model.id async for model in client.models.list()] == [model.id for model in page.data]
    assert (await rig.get("/v1/models")).json["object"] == "list"
    refused = await call(rig.app, "GET", "/v1/models", b"", {"x-api-key": "nobodys", "anthropic-version": "2023-06-01"})
    assert (refused.status, refused.json["error"]["type"]) == (401, "authentication_error")


async def test_a_claude_model_is_reached_from_the_chat_dialect_as_before(rig: Rig):
    answer = await rig.chat({"model": OPUS, "messages": [{"role": "system", "content": LONG}, HI], "temperature": 0})
    assert answer.json["choices"][0]["message"]["content"]
    assert sent(rig)["system"][0]["cache_control"] == MARK
    again = await rig.chat({"model": OPUS, "messages": [{"role": "system", "content": LONG}, HI], "temperature": 0, "stream": True})
    assert again.text == answer.text


# -- refusals and trouble --------------------------------------------------------------------------------------------------------------


def wrong(answer: Any) -> dict[str, Any]:
    """The error, after checking its shape."""
    assert 400 <= answer.status < 600, (answer.status, answer.body[:300])
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json["type"] == "error"
    assert set(answer.json) <= {"type", "error", "request_id"}
    assert set(answer.json["error"]) >= {"type", "message"}
    assert answer.json["error"]["message"]
    return answer.json["error"]


def raw(messages: str = '[{"role":"user","content":"hi"}]', **more: str) -> bytes:
    fields = {"model": f'"{OPUS}"', "max_tokens": "9", "messages": messages, **more}
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items() if value) + "}").encode()


def user(content: str) -> str:
    return f'[{{"role":"user","content":{content}}}]'


BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "no json": (b"{", "not valid JSON"),
    "a list": (b"[]", "must be a JSON object"),
    "a byte order mark": (b"\xef\xbb\xbf" + raw(), "byte order mark"),
    "invalid UTF-8": (raw().replace(b"hi", b"\xff"), "UTF-8"),
    "a lone surrogate": (raw(user('"\\ud800"')), "surrogate"),
    "a key twice": (raw().replace(b'{"model"', b'{"model":"x","model"'), "twice"),
    "a key twice in a message": (raw('[{"role":"user","role":"user","content":"x"}]'), "messages[0]"),
    "a key twice in a system block": (raw(system='[{"type":"text","text":"a","text":"b"}]'), "system[0]"),
    "too deep": (raw(user("[" * 70 + "]" * 70)), "64 levels"),
    "no messages": (raw(""), "messages"),
    "messages empty": (raw("[]"), "messages"),
    "messages an object": (raw("{}"), "messages"),
    "a message that is a string": (raw('["hi"]'), "messages[0]"),
    "no role": (raw('[{"content":"hi"}]'), "messages[0].role"),
    "unknown role": (raw('[{"role":"wizard","content":"hi"}]'), "messages[0].role"),
    "role a list": (raw('[{"role":["user"],"content":"hi"}]'), "messages[0].role"),
    "huge role": (raw(f'[{{"role":"{"w" * 100_000}","content":"hi"}}]'), "messages[0].role"),
    "no content": (raw('[{"role":"user"}]'), "messages[0].content"),
    "content a number": (raw(user("1")), "messages[0].content"),
    "content of strings": (raw(user('["hi"]')), "messages[0].content[0]"),
    "a block without a type": (raw(user('[{"text":"hi"}]')), "messages[0].content[0]"),
    "a mark that is a string": (raw(user('[{"type":"text","text":"x","cache_control":"yes"}]')), "messages[0].content[0].cache_control"),
    "a mark with a lifetime of its own": (
        raw(user('[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"9d"}}]')), "messages[0].content[0].cache_control.ttl",
    ),
    "the automatic mark a string": (raw(cache_control='"yes"'), "cache_control"),
    "system a number": (raw(system="7"), "system"),
    "a system block without a type": (raw(system='[{"text":"x"}]'), "system[0]"),
    "tools an object": (raw(tools="{}"), "tools"),
    "a tool that is null": (raw(tools="[null]"), "tools[0]"),
    "a tool without a name": (raw(tools='[{"input_schema":{}}]'), "tools[0].name"),
    "a tool whose type is a list": (raw(tools='[{"type":["custom"]}]'), "tools[0].type"),
    "code to run": (raw(tools='[{"type":"code_execution_20260521","name":"code_execution"}]'), "tools[0].type"),
    "no model": (raw(model=""), "model"),
    "model a number": (raw(model="4"), "model"),
    "model of 1 MB": (raw(model='"' + "m" * (1 << 20) + '"'), "model"),
    "stream a string": (raw(stream='"true"'), "stream"),
    "temperature a string": (raw(temperature='"0"'), "temperature"),
    "max tokens negative": (raw(max_tokens="-1"), "max_tokens"),
    "max tokens 2^63": (raw(max_tokens=str(1 << 63)), "max_tokens"),
    "max tokens of 5,000 digits": (raw(max_tokens="9" * 5000), "max_tokens"),
    "a container": (raw(container='"c"'), "container"),
    "fast, where no price of it is known": (raw(model='"claude-haiku-4-5"', speed='"fast"'), "speed"),
    "a speed that is not known": (raw(speed='"faster"'), "speed"),
    "another region": (raw(inference_geo='"us"'), "inference_geo"),
    "another tier": (raw(service_tier='"priority"'), "service_tier"),
    "a file": (raw(user('[{"type":"image","source":{"type":"file","file_id":"f"}}]'), system='"s"'), "messages[0]"),
    "a key that is spelled like a header": (raw(**{"anthropic-version": '"1"'}), "anthropic-version"),
    "unknown cache mode": (raw(**{"x-cache": '"sometimes"'}), "x-cache"),
    "unknown edit": (raw(**{"x-edits-off": '"everything"'}), "x-edits-off"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("path", [PATH, COUNT])
async def test_a_broken_body_gets_an_error_that_names_the_place(rig: Rig, name: str, path: str):
    body, words = BROKEN[name]
    if path == COUNT and name == "stream a string":
        return  # a count never streams, whatever it says: the vendor judges that
    answer = await post(rig, body, path)
    error = wrong(answer)
    assert error["type"] in ("invalid_request_error", "not_found_error")
    assert answer.json["request_id"] == answer.headers["x-tokenrouter-request-id"]
    assert words in error["message"]
    assert rig.spent() == rig.held() == 0
    assert rig.sandbox.requests.seen == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (raw(system="[" + ",".join(['{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}'] * 5) + "]"), "maximum of 4"),
        (
            raw(
                user(
                    '[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}},'
                    '{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]'
                )
            ),
            "ttl",
        ),
    ],
    ids=["five marks", "a long lifetime behind a short one"],
)
async def test_the_clients_own_marks_are_judged_by_the_vendor(rig: Rig, body: bytes, words: str):
    answer = await post(rig, body, PATH)
    assert words in wrong(answer)["message"]
    (sent,) = rig.sandbox.requests.items
    assert sent.body.count(b"cache_control") == body.count(b"cache_control")
    await rig.landed()
    assert rig.spent() == rig.held() == 0


async def test_the_sdk_raises_what_it_knows(rig: Rig, client):
    cases: list[tuple[type[Exception], dict[str, Any]]] = [
        (anthropic.NotFoundError, ask(model="nobody-knows-this")),
        (anthropic.BadRequestError, ask(messages_are="wrong")),
        (anthropic.BadRequestError, ask(stop_sequences=[" "])),
    ]
    for kind, body in cases:
        extra = {name: body.pop(name) for name in list(body) if name == "messages_are"}
        with pytest.raises(kind) as refused:
            await client.messages.create(**body, extra_body=extra)
        assert refused.value.body["type"] == "error"
    with pytest.raises(anthropic.AuthenticationError):
        await client.with_options(api_key="sk-ant-nobodys").messages.create(**ask())
    with pytest.raises(anthropic.RateLimitError) as spent:
        await client.with_options(api_key=rig.new_key(quota=1)).messages.create(**ask())
    assert spent.value.body["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 529])
async def test_refusals_of_the_vendor_pass_as_they_are(rig: Rig, status: int):
    rig.sandbox.fault(Fault(kind="status", vendor="anthropic", status=status, message="The vendor's own words", retry_after="7"))
    answer = await post(rig)
    error = wrong(answer)
    assert (answer.status, error["message"]) == (status, "The vendor's own words")
    assert answer.headers["request-id"] == answer.json["request_id"]
    assert rig.held() == rig.spent() == 0


async def test_a_refusal_of_another_vendor_is_said_in_this_shape(rig: Rig):
    rig.sandbox.fault(Fault(kind="status", vendor="openai", status=429, message="slow down", retry_after="7"))
    answer = await post(rig, ask(model=GPT))
    error = wrong(answer)
    assert (answer.status, error["type"], answer.headers["retry-after"]) == (429, "rate_limit_error", "7")
    assert "slow down" in error["message"]


@pytest.mark.parametrize(("model", "kind"), [(OPUS, "error_event"), (OPUS, "truncate"), (GPT, "truncate"), (GPT, "bad_json")])
async def test_a_stream_that_breaks_ends_with_an_error_and_is_billed_for_what_it_said(rig: Rig, client, model, kind):
    rig.sandbox.fault(Fault(kind=kind, after=4))
    raw = await post(rig, ask(model=model, stream=True))
    *before, last = raw.events
    assert last["type"] == "error"
    assert "message_stop" not in [event["type"] for event in before]
    await rig.landed()
    (row,) = rig.billed_rows()
    assert row["settled"] == "estimated"
    rig.sandbox.fault(Fault(kind=kind, after=4))
    with pytest.raises(anthropic.APIError):
        async with client.messages.stream(**ask(model=model)) as stream:
            await stream.get_final_message()


async def test_an_overloaded_vendor_is_called_overloaded_inside_a_stream_too(rig: Rig):
    rig.sandbox.fault(Fault(kind="error_event", vendor="anthropic", after=3, message="Overloaded"))
    error = (await post(rig, ask(stream=True))).events[-1]["error"]
    assert error["type"] != "invalid_request_error"
    assert error["message"] == "Overloaded"


async def test_a_client_that_leaves_in_a_stream_cancels_its_call(rig: Rig):
    rig.sandbox.fault(Fault(kind="stall", vendor="anthropic", after=3))
    answer = await call(
        rig.app, "POST", PATH, json.dumps(ask(stream=True)).encode(), {"x-api-key": rig.key, "anthropic-version": "2023-06-01"}, hang_up_after=1
    )
    assert not answer.finished
    await rig.landed()
    await until(lambda: rig.held() == 0)
    assert rig.spent() > 0
