"""What only clients of Anthropic's API say: documents, citations, tools of the vendor's, marks in all places, feature flags, pings.

On the native lane it passes untouched, in both directions; toward other vendors it is carried, or refused by name.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import httpx2
import pytest
from msgspec.structs import replace
from rig import Response, Rig, call, until

from tokenrouter.sandbox.answers import Scripted, ToolCall
from tokenrouter.sandbox.anthropic_engine import REDACTED
from tokenrouter.sandbox.faults import Fault
from tokenrouter.upstream.asgi_transport import AsgiTransport
from tokenrouter.upstream.transport import Timeouts

PATH, COUNT = "/v1/messages", "/v1/messages/count_tokens"
OPUS, GPT, SOL, GEMINI = "claude-opus-4-8", "gpt-4.1", "gpt-6-sol", "gemini-2.5-flash"
BEDROCK = "bedrock/us.anthropic.claude-opus-4-8"
HI = {"role": "user", "content": "Say hello in 30 words."}
LONG = "You are careful. " * 2_500
MARK = {"type": "ephemeral"}
PDF = base64.b64encode(b"%PDF-1.4\n" + bytes(range(256))).decode()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(200, 256))).decode()
SKY = "The sky is blue. The grass is green. The sea is deep."
NOTES = {"type": "document", "title": "notes", "source": {"type": "text", "media_type": "text/plain", "data": SKY}}
LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}
FETCH = {"type": "web_fetch_20260209", "name": "web_fetch", "max_uses": 3}


class Ear:
    """An ASGI app around the simulated vendors: hears the bytes of their newest answer, and may say something else."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app, self.body, self.status, self.instead = app, b"", 0, b""
        self.headers: dict[bytes, bytes] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.body, said = b"", self.instead

        async def heard(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status, self.headers = message["status"], dict(message["headers"])
                message = {**message, "headers": [*message["headers"], (b"x-from-the-vendor", b"yes")]}
            else:
                self.body += message.get("body", b"")
                if said:
                    message = {**message, "body": b"" if message.get("more_body") else said}
            await send(message)

        await self.app(scope, receive, heard)
        self.body = said or self.body


@pytest.fixture
def ear(rig: Rig) -> Ear:
    made = Ear(rig.sandbox)
    rig.set(sandbox_transport=AsgiTransport(made, Timeouts(1, 30, 30)))
    return made


@pytest.fixture
async def client(rig: Rig):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app))
    async with anthropic.AsyncAnthropic(api_key=rig.key, base_url="http://gateway", http_client=http, max_retries=0) as made:
        yield made


def ask(*messages: Any, model: str = OPUS, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 4_000, "messages": list(messages or [HI]), **more}


async def post(rig: Rig, body: Any = None, path: str = PATH, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(ask() if body is None else body).encode()
    return await call(rig.app, "POST", path, raw, {"x-api-key": rig.key, "anthropic-version": "2023-06-01", **headers})


def sent(rig: Rig) -> dict[str, Any]:
    return json.loads(rig.sandbox.requests.items[-1].body)


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*blocks, {"type": "text", "text": "What is it?"}]}


def refused(answer: Response, place: str) -> None:
    assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (400, "error", "invalid_request_error"), answer.body
    assert place in answer.json["error"]["message"]


# -- to the byte -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_the_vendors_passes_to_the_byte(rig: Rig, ear: Ear, stream, version):
    answer = await post(rig, ask(tools=[LOOK], thinking={"type": "adaptive"}, stream=stream), **{"anthropic-version": version})
    assert answer.status == 200
    assert answer.body == ear.body
    assert answer.headers["x-from-the-vendor"] == "yes"
    assert answer.headers["request-id"] == ear.headers[b"request-id"].decode()
    assert "anthropic-organization-id" not in answer.headers
    assert b"event: ping" in answer.body or not stream


async def test_events_and_members_that_nobody_knows_pass_to_the_byte(rig: Rig, ear: Ear):
    start = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1, "new": {}}}
    ear.instead = b"".join(
        (
            b"event: message_start\r\ndata: " + json.dumps({"type": "message_start", "message": start}).encode() + b"\r\n\r\n",
            b"event: brand_new\ndata: {\"type\":\"brand_new\", \"x\" : [1e3]}\n\n: a comment\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n",
            b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","new":1},"usage":{"output_tokens":7}}\n\n',
            b'event: message_stop\ndata: {"type":"message_stop","and":"more"}\n\n',
        )
    )  # fmt: skip
    answer = await post(rig, ask(stream=True))
    assert answer.body == ear.instead
    await rig.landed()
    (row,) = rig.billed_rows()
    assert (row["fresh_input"], row["output"], row["settled"]) == (3, 7, "exact")
    ear.instead = json.dumps({**start, "stop_reason": "end_turn", "brand_new": [{}]}, indent=1).encode()
    assert (await post(rig, ask())).body == ear.instead


@pytest.mark.parametrize("path", [PATH, COUNT])
@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 529])
async def test_a_refusal_of_the_vendors_passes_to_the_byte(rig: Rig, ear: Ear, status, path):
    rig.sandbox.fault(Fault(kind="status", vendor="anthropic", status=status, message="caf\u00e9 \u2014 no", retry_after="7"))
    answer = await post(rig, ask() if path == PATH else {"model": OPUS, "messages": [HI]}, path)
    assert (answer.status, answer.body) == (status, ear.body)
    assert (answer.headers["retry-after"], answer.headers["x-from-the-vendor"]) == ("7", "yes")


async def test_what_the_vendor_finds_wrong_it_says_itself(rig: Rig, ear: Ear):
    for wrong in (
        ask(temperature=9),
        ask({"role": "user", "content": [{"type": "text", "text": ""}]}),
        ask(tools=[{"name": "x y", "input_schema": {}}]),
    ):
        answer = await post(rig, wrong)
        assert (answer.status, answer.body) == (400, ear.body)
    assert rig.spent() == rig.held() == 0


# -- who asks --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, COUNT])
async def test_a_key_comes_as_an_api_key_or_as_a_bearer_and_never_goes_up(rig: Rig, path):
    body = json.dumps(ask() if path == PATH else {"model": OPUS, "messages": [HI]}).encode()
    for headers in ({"x-api-key": rig.key}, {"authorization": f"Bearer {rig.key}"}):
        answer = await call(rig.app, "POST", path, body, {"anthropic-version": "2023-06-01", **headers})
        assert answer.status == 200
        assert rig.key not in str(rig.sandbox.requests.items[-1].headers)
    for headers in ({}, {"x-api-key": "sk-ant-nobodys"}, {"authorization": "Bearer sk-ant-oat-nobodys"}):
        answer = await call(rig.app, "POST", path, body, {"anthropic-version": "2023-06-01", **headers})
        assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (401, "error", "authentication_error")


async def test_the_official_client_may_show_its_key_either_way(rig: Rig):
    for key in ({"api_key": rig.key}, {"auth_token": rig.key}):
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app))
        async with anthropic.AsyncAnthropic(base_url="http://gateway", http_client=http, max_retries=0, **key) as client:
            assert (await client.messages.create(**ask())).content
            assert (await client.messages.count_tokens(model=OPUS, messages=[HI])).input_tokens > 0


# -- feature flags ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [OPUS, GPT])
@pytest.mark.parametrize("path", [PATH, COUNT])
async def test_flags_are_part_of_the_question(rig: Rig, path, model):
    body = {"model": model, "messages": [HI]} if path == COUNT else ask(model=model, temperature=0)
    flags = ({}, {"anthropic-beta": "a-2026-01-01"}, {"anthropic-beta": "b-2026-01-01"})
    first = [(await post(rig, body, path, **flag)).cache for flag in flags]
    again = [(await post(rig, body, path, **flag)).cache for flag in flags]
    kept = "hit" if (path, model) != (COUNT, GPT) else first[0]  # what is estimated costs nothing and needs no keeping
    assert (set(first), set(again)) == ({first[0]}, {kept})
    if model == OPUS:
        assert [one.headers.get("anthropic-beta") for one in rig.sandbox.requests.items] == [None, "a-2026-01-01", "b-2026-01-01"]


async def test_flags_that_mean_nothing_elsewhere_are_reported(rig: Rig):
    answer = await post(rig, ask(model=GPT), **{"anthropic-beta": "a-2026-01-01"})
    assert answer.headers["x-tokenrouter-dropped"] == "anthropic-beta"
    assert "anthropic-beta" not in rig.sandbox.requests.items[-1].headers


async def test_fields_of_a_beta_pass_with_it_and_are_the_vendors_to_refuse_without(rig: Rig, client):
    editing = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    await client.beta.messages.create(**ask(), context_management=editing, betas=["context-management-2025-06-27"])
    assert sent(rig)["context_management"] == editing
    refused(await post(rig, ask(context_management=editing)), "context_management")
    elsewhere = await post(rig, ask(model=GPT, context_management=editing))
    assert (elsewhere.status, elsewhere.headers["x-tokenrouter-dropped"]) == (200, "context_management")


# -- documents and citations -----------------------------------------------------------------------------------------------------------

DOCUMENTS = {
    "pdf": {"type": "document", "title": "r.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
    "text": NOTES,
    "content": {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": SKY}]}},
    "url": {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
    "context": {**NOTES, "context": "of last summer"},
    "search result": {"type": "search_result", "source": "https://example.com", "title": "t", "content": [{"type": "text", "text": SKY}]},
}


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_documents_pass_as_they_are(rig: Rig, name):
    body = json.dumps(ask(user(DOCUMENTS[name]))).encode()
    answer = await post(rig, body, **{"x-edits-off": "all"})
    assert answer.status == 200, answer.body
    assert rig.sandbox.requests.items[-1].body == body


@pytest.mark.parametrize(
    ("model", "name", "place"),
    [
        (GPT, "pdf", ""),
        (GPT, "text", ""),
        (GPT, "content", "messages[0].content[0].source"),
        (GPT, "context", "messages[0].content[0].context"),
        (GPT, "search result", "messages[0].content[0].type"),
        (GEMINI, "pdf", ""),
        (GEMINI, "text", ""),
        (BEDROCK, "pdf", ""),
        (BEDROCK, "text", ""),
        (BEDROCK, "url", "messages[0].content[0]"),
        ("deepseek-chat", "pdf", "messages[0].content[0]"),
    ],
)
async def test_documents_are_carried_to_other_vendors_or_refused_by_their_place(rig: Rig, model, name, place):
    answer = await post(rig, ask(user(DOCUMENTS[name]), model=model))
    if place:
        refused(answer, place)
        assert rig.sandbox.requests.seen == 0
        return
    assert answer.status == 200, answer.body
    said = rig.sandbox.requests.items[-1].body.decode()
    carried = {"pdf": (PDF, PDF.replace("+", "-").replace("/", "_")), "text": (SKY, base64.b64encode(SKY.encode()).decode())}[name]
    assert any(form in said for form in carried)


@pytest.mark.parametrize("stream", [False, True])
async def test_citations_point_into_the_clients_own_document(rig: Rig, client, stream):
    body = ask(user({**NOTES, "citations": {"enabled": True}}))
    if stream:
        async with client.messages.stream(**body) as events:
            answer = await events.get_final_message()
    else:
        answer = await client.messages.create(**body)
    (citation,) = answer.content[0].citations
    assert SKY[citation.start_char_index : citation.end_char_index] == citation.cited_text
    history = ask(*body["messages"], {"role": "assistant", "content": [block.to_dict() for block in answer.content]}, HI)
    assert (await client.messages.create(**history)).stop_reason == "end_turn"
    assert sent(rig)["messages"][1]["content"][0]["citations"] == [citation.to_dict()]


@pytest.mark.parametrize("model", [GPT, GEMINI, BEDROCK])
async def test_citations_are_refused_where_nobody_can_give_them(rig: Rig, model):
    refused(await post(rig, ask(user({**NOTES, "citations": {"enabled": True}}), model=model)), "messages[0].content[0].citations")
    assert (await post(rig, ask(user({**NOTES, "citations": {"enabled": False}}), model=model))).status == 200


# -- tools that the vendor runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_that_the_vendor_runs_is_used_and_its_results_go_back(rig: Rig, client, stream):
    rig.sandbox.script(Scripted(vendor="anthropic", text="found it", calls=(ToolCall("web_fetch", '{"url":"https://example.com"}'),)))
    body = ask({"role": "user", "content": "use web_fetch"}, tools=[FETCH, LOOK])
    if stream:
        async with client.messages.stream(**body) as events:
            answer = await events.get_final_message()
    else:
        answer = await client.messages.create(**body)
    assert [block.type for block in answer.content] == ["server_tool_use", "web_fetch_tool_result", "text"]
    turn = {"role": "assistant", "content": [{k: v for k, v in block.to_dict().items() if k != "parsed_output"} for block in answer.content]}
    assert (await client.messages.create(**ask(*body["messages"], turn, HI, tools=[FETCH, LOOK]))).stop_reason == "end_turn"
    assert sent(rig)["messages"][1]["content"][:2] == turn["content"][:2]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_search_is_held_for_and_booked_with_its_fee(rig: Rig, client, stream):
    search: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    searches = (ToolCall("web_search", '{"query":"x"}'), ToolCall("web_search", '{"query":"y"}'))
    rig.sandbox.script(Scripted(vendor="anthropic", text="found it", calls=searches))
    body = ask({"role": "user", "content": "search"}, tools=[search])
    if stream:
        async with client.messages.stream(**body) as events:
            answer = await events.get_final_message()
    else:
        answer = await client.messages.create(**body)
    assert answer.usage.server_tool_use.web_search_requests == 2
    await rig.landed()
    (row,) = rig.billed_rows()
    tokens = rig.sandbox.bill.nano_usd
    assert (row["settled"], row["cost"]) == ("exact", tokens + 2 * 10_000_000)
    poor = rig.new_key(quota=100_000_000)
    assert (await post(rig, body, **{"x-api-key": poor})).status == 429, "sixteen searches are held for"


async def test_what_a_vendors_tool_finds_is_never_given_again(rig: Rig):
    body = ask(tools=[FETCH], temperature=0)
    assert [(await post(rig, body)).cache for _ in range(2)] == ["bypass"] * 2


@pytest.mark.parametrize(
    ("tool", "at_home"),
    [
        (FETCH, True),
        ({"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}, True),
        ({"type": "bash_20250124", "name": "bash"}, True),
        ({"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}, True),
        ({"type": "web_search_20260209", "name": "web_search"}, True),
        ({"type": "code_execution_20260521", "name": "code_execution"}, False),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
async def test_tools_of_the_vendors_are_served_where_their_price_is_known_and_refused_elsewhere(rig: Rig, tool, at_home):
    here = await post(rig, ask(tools=[tool]))
    assert here.status == (200 if at_home else 400), here.body
    for answer in ([] if at_home else [here]) + [await post(rig, ask(model=model, tools=[tool])) for model in (GPT, GEMINI, BEDROCK)]:
        refused(answer, "tools[0]")


@pytest.mark.parametrize("model", [GPT, GEMINI, BEDROCK])
async def test_what_such_a_tool_found_can_not_be_carried_elsewhere_and_it_is_said(rig: Rig, model):
    used = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_fetch", "input": {}}
    refused(await post(rig, ask(HI, {"role": "assistant", "content": [used]}, HI, model=model)), "messages[1].content[0].type")


# -- marks -----------------------------------------------------------------------------------------------------------------------------

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}}


def result(**more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "42"}], **more}


def marked(place: str, mark: dict[str, Any]) -> dict[str, Any]:
    """A long conversation with a single mark in that place."""

    def at(name: str, block: dict[str, Any]) -> dict[str, Any]:
        return {**block, "cache_control": mark} if name == place else block

    inner = [at("inside a result", {"type": "text", "text": "42"})]
    body = ask(
        {"role": "user", "content": [at("image", IMAGE), at("document", NOTES), at("text", {"type": "text", "text": "Please look."})]},
        {"role": "assistant", "content": [{"type": "text", "text": "I will."}, at("tool use", USE)]},
        {"role": "user", "content": [at("result", result(content=inner)), {"type": "text", "text": "And?"}]},
        system=[at("system", {"type": "text", "text": LONG}), {"type": "text", "text": "Be brief."}],
        tools=[at("tool", {**LOOK, "description": "Looks. " + "word " * 5_000})],
        max_tokens=50,
    )  # fmt: skip
    return {**body, "cache_control": mark} if place == "outside" else body


PLACES = ("tool", "system", "text", "image", "document", "tool use", "result", "inside a result", "outside")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mark", [MARK, {"type": "ephemeral", "ttl": "1h"}], ids=["5m", "1h"])
async def test_a_mark_in_any_place_passes_and_caches(rig: Rig, client, place, mark):
    body = marked(place, mark)
    off = {"x-edits-off": "marks.plan,tools.order"}
    first, second = [(await client.messages.create(**body, extra_headers=off)).usage for _ in range(2)]
    assert sent(rig) == body
    written = first.cache_creation.ephemeral_1h_input_tokens if mark is not MARK else first.cache_creation.ephemeral_5m_input_tokens
    assert second.cache_read_input_tokens == written > 1_024
    with_ours = await client.messages.create(**body)
    assert with_ours.usage.cache_read_input_tokens >= written
    assert json.dumps(sent(rig)).count('"cache_control"') <= 4


@pytest.mark.parametrize("place", PLACES)
async def test_a_mark_in_any_place_becomes_a_cache_point_on_bedrock(rig: Rig, place):
    answer = await post(rig, marked(place, {"type": "ephemeral", "ttl": "1h"}) | {"model": BEDROCK}, **{"x-edits-off": "marks.plan"})
    assert answer.status == 200, answer.body
    (before,) = [block for block, point in behind(sent(rig)) if point == {"type": "default", "ttl": "1h"}]
    kinds = {"tool": "toolSpec", "system": "text", "text": "text", "image": "image", "document": "document", "tool use": "toolUse"}
    assert kinds.get(place, "text" if place == "outside" else "toolResult") in before
    assert answer.json["usage"]["cache_creation"]["ephemeral_1h_input_tokens"] > 1_024
    assert "x-tokenrouter-dropped" not in answer.headers


def behind(body: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Cache points, each with the block in front of it."""
    lists = [body["toolConfig"]["tools"], body["system"], *(message["content"] for message in body["messages"])]
    return [(one[at - 1], block["cachePoint"]) for one in lists for at, block in enumerate(one) if "cachePoint" in block]


async def test_a_mark_becomes_a_breakpoint_of_openais(rig: Rig):
    assert (await post(rig, marked("system", MARK) | {"model": SOL}, **{"x-edits-off": "marks.plan"})).status == 200
    assert json.dumps(sent(rig)).count("prompt_cache_breakpoint") == 1
    assert b"cache_control" not in rig.sandbox.requests.items[-1].body
    assert (await post(rig, marked("system", MARK) | {"model": GPT})).status == 200
    assert b"breakpoint" not in rig.sandbox.requests.items[-1].body
    assert b"cache_control" not in rig.sandbox.requests.items[-1].body


# -- thinking --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_that_is_hidden_or_encrypted_comes_back_unharmed(rig: Rig, client, stream):
    turns: list[Any] = []
    for text, display in ((f"{REDACTED} Hello.", "summarized"), ("Go on.", "omitted"), ("And now?", "summarized")):
        turns.append({"role": "user", "content": text})
        body = ask(*turns, thinking={"type": "adaptive", "display": display})
        if stream:
            async with client.messages.stream(**body) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(**body)
        turns.append(
            {"role": "assistant", "content": [{k: v for k, v in block.to_dict().items() if k != "parsed_output"} for block in answer.content]}
        )
    kinds = [turn["content"][0]["type"] for turn in turns[1::2]]
    assert kinds == ["redacted_thinking", "thinking", "thinking"]
    assert turns[3]["content"][0]["thinking"] == ""
    assert turns[3]["content"][0]["signature"]
    assert [turn["content"][0] for turn in sent(rig)["messages"][1::2]] == [turn["content"][0] for turn in turns[1:4:2]]


async def test_a_signature_that_was_changed_is_refused_in_the_vendors_words(rig: Rig, client):
    answer = await client.messages.create(**ask(thinking={"type": "adaptive"}))
    content = [block.to_dict() for block in answer.content]
    content[0]["signature"] = "A" + content[0]["signature"][1:]
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        await client.messages.create(**ask(HI, {"role": "assistant", "content": content}, HI, thinking={"type": "adaptive"}))


# -- a stream that pauses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "told"), [(GPT, True), (GEMINI, True), (OPUS, False)])
async def test_a_translated_stream_that_pauses_pings_and_the_vendors_own_is_left_alone(rig: Rig, client, model, told):
    rig.set(switches=replace(rig.services.switches, keep_alive_s=0.01))
    rig.sandbox.fault(Fault(kind="stall", after=4))
    answer = Response()
    raw = json.dumps(ask(model=model, stream=True)).encode()
    asked = asyncio.create_task(call(rig.app, "POST", PATH, raw, {"x-api-key": rig.key, "anthropic-version": "2023-06-01"}, into=answer))
    await rig.sandbox.stalling(1)
    if told:
        await until(lambda: answer.body.count(b"event: ping") > 3)
    rig.sandbox.release()
    await asked
    kinds = [event["type"] for event in answer.events]
    assert (kinds.count("ping") > 3, kinds[0], kinds[-1]) == (told, "message_start", "message_stop")
    rig.sandbox.fault(Fault(kind="stall", after=4))
    reading = asyncio.create_task(client.messages.create(**ask({"role": "user", "content": "Another."}, model=model), stream=True))
    await rig.sandbox.stalling(1)
    rig.sandbox.release()
    async with await reading as events:
        assert [event.type async for event in events][-1] == "message_stop"


# -- counts ----------------------------------------------------------------------------------------------------------------------------


async def test_counts_are_refused_in_the_same_shape(rig: Rig):
    body = {"model": OPUS, "messages": [HI]}
    cases = [
        (await post(rig, {**body, "model": "nobody-knows-this"}, COUNT), 404, "not_found_error"),
        (await post(rig, b"x" * (33 << 20), COUNT), 413, "request_too_large"),
        (await post(rig, json.dumps(body).encode(), COUNT, **{"content-encoding": "br"}), 415, "invalid_request_error"),
        (await call(rig.app, "GET", COUNT, b"", {"x-api-key": rig.key, "anthropic-version": "2023-06-01"}), 405, "invalid_request_error"),
        (await post(rig, {**body, "tools": "x"}, COUNT), 400, "invalid_request_error"),
        (await post(rig, {**body, "system": [{"type": "text"}]}, COUNT), 400, "invalid_request_error"),  # the vendor's own refusal
    ]
    for answer, status, kind in cases:
        assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (status, "error", kind), answer.body
    assert rig.spent() == rig.held() == 0


async def test_a_count_is_kept_and_costs_nothing(rig: Rig):
    body = {"model": OPUS, "messages": [HI], "system": "Be brief."}
    first, second = [await post(rig, body, COUNT) for _ in range(2)]
    assert (first.cache, second.cache, first.json) == ("miss", "hit", second.json)
    assert (rig.spent(), rig.sandbox.requests.seen) == (0, 1)
