"""Bedrock: what is refused, in Amazon's shape; reasoning moves between Bedrock and Anthropic; the binary framing to the byte."""

import asyncio
import base64
import copy
import json
import random
import struct
import zlib
from typing import Any

import pytest
from test_nothing_crashes import JUNK, SCHEMA, places

from tokenrouter.sandbox import PRICES, Fault
from tokenrouter.sandbox.bedrock_eventstream import message
from tokenrouter.sandbox.bedrock_models import find, price_names

CLAUDE = "us.anthropic.claude-opus-4-8-v1%3A0"
MARK = {"cachePoint": {"type": "default"}}
LONG = {"cachePoint": {"type": "default", "ttl": "1h"}}
SPEC = {"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": SCHEMA}}}
TOOLS = {"tools": [SPEC]}
CALL = {"toolUse": {"toolUseId": "t.1:a", "name": "f", "input": {"a": 1}}}
RESULT = {"toolResult": {"toolUseId": "t.1:a", "content": [{"text": "r"}]}}
PNG = base64.b64encode(b"png").decode()
IMAGE = {"image": {"format": "png", "source": {"bytes": PNG}}}
PDF = {"document": {"format": "pdf", "name": "My file (1)", "source": {"bytes": PNG}, "citations": {"enabled": False}}}


def user(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": [{"text": block} if isinstance(block, str) else block for block in blocks]}


def said(*blocks: Any) -> dict[str, Any]:
    return user(*blocks, role="assistant")


def ask(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages) or [user("hi")], **more}


async def converse(call: Any, body: Any, model: str = CLAUDE, action: str = "converse", **more: Any) -> Any:
    return await call.post(f"/bedrock/model/{model}/{action}", body, **more)


FULL = {
    "system": [{"text": "s"}, LONG, {"guardContent": {"text": {"text": "g", "qualifiers": ["query"]}}}],
    "toolConfig": {"tools": [SPEC, LONG], "toolChoice": {"auto": {}}},
    "inferenceConfig": {"maxTokens": 3000, "temperature": 1, "topP": 0.9, "stopSequences": ["q"]},
    "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "anthropic_beta": ["b"]},
    "additionalModelResponseFieldPaths": ["/stop_sequence"],
    "outputConfig": {"effort": "low", "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA)}}}},
    "requestMetadata": {"a": "b"},
    "performanceConfig": {"latency": "optimized"},
    "serviceTier": {"type": "priority"},
    "messages": [
        user("use f", IMAGE, PDF, MARK, {"searchResult": {"source": "u", "title": "t", "content": [{"text": "c"}], "citations": {"enabled": False}}}),
        said({"citationsContent": {"content": [{"text": "so"}], "citations": [{"title": "t"}]}}, CALL),
        user({"toolResult": {"toolUseId": "t.1:a", "content": [{"json": {"x": [1]}}, {"text": "r"}, IMAGE], "status": "error"}}, MARK),
        {"role": "system", "content": [{"text": "now"}]},
    ],
}


async def test_everything_at_once_is_fine(call):
    response = await converse(call, FULL)
    assert response.status == 200, response.body
    assert (await converse(call, FULL, action="converse-stream")).headers["content-type"] == "application/vnd.amazon.eventstream"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (ask(foo=1), "extraneous key [foo]"),
        (ask(user({"text": "x", "image": IMAGE["image"]})), "only one of the following keys"),
        (ask(user({})), "must set one of the following keys"),
        (ask({"role": "robot", "content": [{"text": "x"}]}), "enum value set: [user, assistant, system]"),
        ({}, "Value at 'messages'"),
        ({"messages": []}, "must start with a user message"),
        (ask(said("x")), "must start with a user message"),
        (ask(user("a"), user("b")), "must alternate between user and assistant roles"),
        (ask(user("a"), said("b"), said("c")), "must alternate between user and assistant roles"),
        (ask(user(" ")), "is blank"),
        (ask(user("")), "is blank"),
        (ask({"role": "user", "content": []}), "is empty"),
        (ask(system=[{"text": ""}]), "greater than or equal to 1"),
        (ask(user("x"), said(CALL)), "toolConfig field must be defined"),
        (ask(user("x"), said(CALL), toolConfig=TOOLS), "Expected toolResult blocks at messages.2.content for the following Ids: t.1:a"),
        (ask(user("x"), said(CALL), user("so"), toolConfig=TOOLS), "Expected toolResult blocks at messages.2.content"),
        (ask(user(RESULT), toolConfig=TOOLS), "exceeds the number of toolUse blocks"),
        (ask(user("x"), said(CALL), user(RESULT, RESULT), toolConfig=TOOLS), "exceeds the number of toolUse blocks"),
        (ask(user("x"), said(CALL, CALL), user(RESULT), toolConfig=TOOLS), "duplicate Ids"),
        (ask(user("x"), said(CALL), user("text first", RESULT), toolConfig=TOOLS), "The model returned the following errors"),
        (ask(user("x"), said({"toolUse": {**CALL["toolUse"], "toolUseId": "a b"}}), toolConfig=TOOLS), "regular expression pattern"),
        (ask(user("x"), said({"toolUse": {**CALL["toolUse"], "toolUseId": "a" * 65}}), toolConfig=TOOLS), "less than or equal to 64"),
        (ask(user("x"), said({"toolUse": {**CALL["toolUse"], "name": "a.b"}}), toolConfig=TOOLS), "regular expression pattern"),
        (ask(toolConfig={"tools": []}), "greater than or equal to 1"),
        (ask(toolConfig={"tools": [MARK]}), "must follow the content"),
        (ask(toolConfig={"tools": [SPEC, SPEC]}), "Tool names must be unique"),
        (ask(toolConfig={**TOOLS, "toolChoice": {"tool": {"name": "g"}}}), "is not one of the tools"),
        (ask(toolConfig={**TOOLS, "toolChoice": {"none": {}}}), "extraneous key [none]"),
        (ask(toolConfig={"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}]}), "inputSchema.json.type must be one of"),
        (ask(user(RESULT, "x")), "toolConfig field must be defined"),
        (ask(user(MARK)), "must follow the content"),
        (ask(user("x", MARK, MARK)), "must follow the content"),
        (ask(user("x", {"cachePoint": {"type": "default", "ttl": "2h"}})), "enum value set: [5m, 1h]"),
        (ask(user("x", {"cachePoint": {}})), "Value at 'messages.0.content.1.cachePoint.type'"),
        (ask(user("a", MARK, "b", MARK, "c", MARK), system=[{"text": "s"}, MARK, {"text": "t"}, MARK]), "A maximum of 4 blocks"),
        (ask(user("a", LONG), system=[{"text": "s"}, MARK]), "ttl='1h'"),
        (ask(user(PDF)), "needs a text block"),
        (ask(user("x", {"document": {**PDF["document"], "name": "a  b"}})), "file name"),
        (ask(user("x", {"document": {**PDF["document"], "name": "a.pdf"}})), "file name"),
        (ask(user("x"), said(IMAGE)), "not allowed in a message of the role assistant"),
        (ask(user({"image": {"format": "bmp", "source": {"bytes": PNG}}})), "enum value set"),
        (ask(user({"image": {"format": "png", "source": {"bytes": "***"}}})), "base64"),
        (ask(user("x", {"video": {"format": "mp4", "source": {"bytes": PNG}}})), "doesn't support the video"),
        (ask(inferenceConfig={"maxTokens": 0}), "greater than or equal to 1"),
        (ask(inferenceConfig={"maxTokens": 10**6}), "exceeds the model limit"),
        (ask(inferenceConfig={"temperature": 2}), "less than or equal to 1"),
        (ask(inferenceConfig={"topK": 2}), "extraneous key [topK]"),
        (ask(additionalModelRequestFields={"foo": 1}), "foo: Extra inputs are not permitted"),
        (ask(additionalModelRequestFields={"max_tokens": 1}), "conflicts with an existing field"),
        (ask(additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 5}}), "budget_tokens"),
        (ask(toolConfig=TOOLS, additionalModelRequestFields={"tool_choice": {"type": "none"}}), "Input tag 'none'"),
        (ask(toolConfig=TOOLS, additionalModelRequestFields={"tool_choice": {"disable_parallel_tool_use": True}}), "tool_choice"),
        (
            ask(toolConfig={**TOOLS, "toolChoice": {"any": {}}}, additionalModelRequestFields={"tool_choice": {"type": "auto"}}),
            "The additional field tool_choice/type conflicts with the existing field toolConfig.toolChoice.any",
        ),
        (ask(additionalModelRequestFields={"tool_choice": {"type": "auto"}}), "tool_choice"),
        (ask(outputConfig={"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{"}}}}), "valid JSON"),
        (ask(outputConfig={"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": {}}}}}), "converted to a String"),
        (ask(outputConfig={"effort": "huge"}), "effort"),
        (ask(user("x"), said({"reasoningContent": {"reasoningText": {"text": "t"}}}), user("y")), "signature: Field required"),
        (ask(user("x"), said({"reasoningContent": {"reasoningText": {"text": "t", "signature": "eA=="}}}), user("y")), "Invalid `signature`"),
        (ask(guardrailConfig={"guardrailIdentifier": "abc", "guardrailVersion": "1"}), "does not exist"),
        (b'{"messages":1,"messages":2}', "same key twice"),
        (b"[]", "must be an object"),
    ],
)
async def test_invalid_requests_are_refused_in_amazons_shape(call, app, body, words):
    for action in ("converse", "converse-stream"):
        response = await converse(call, body, action=action)
        assert response.status == 400, response.body
        assert list(response.json) == ["message"]
        assert words in response.json["message"]
        assert response.headers["x-amzn-errortype"].partition(":")[0] in ("ValidationException", "SerializationException")
    assert app.bill.nano_usd == 0


async def test_addresses_models_and_credentials(call):
    assert (await converse(call, ask(), model="anthropic.claude-nope-v1:0")).json["message"] == "The provided model identifier is invalid."
    assert (await converse(call, ask(), model="meta.claude-opus-5")).status == 400
    assert (await converse(call, ask(), action="conserve")).status == 404
    assert (await call.request("GET", f"/bedrock/model/{CLAUDE}/converse", b"", {"authorization": "Bearer k"})).status == 404
    nobody = await call.request("POST", f"/bedrock/model/{CLAUDE}/converse", b"{}")
    assert (nobody.status, nobody.json["message"]) == (403, "Missing Authentication Token")
    assert (await converse(call, ask(), key="my-invalid-key")).status == 403
    basic = await call.request("POST", f"/bedrock/model/{CLAUDE}/converse", b"{}", {"authorization": "Basic abc"})
    assert basic.headers["x-amzn-errortype"].startswith("IncompleteSignatureException")


def test_names_of_the_price_list():
    assert set(price_names()) <= PRICES.keys()
    for model_id, name in (
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock/claude-sonnet-4-5"),
        ("eu.anthropic.claude-opus-4-6-v1", "bedrock/claude-opus-4-6"),
        ("global.anthropic.claude-opus-5-5", "bedrock/global.claude-opus-5-5"),
        ("us.amazon.nova-lite-v1:0", "bedrock/nova-lite"),
        ("meta.llama4-maverick-17b-instruct-v1:0", "bedrock/llama4-maverick-17b-instruct"),
    ):
        found = find(model_id)
        assert found is not None
        assert found[0] == name
    assert find("claude-opus-5") is None


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-opus-5"])
async def test_reasoning_moves_between_bedrock_and_anthropic(call, model):
    thinking = {"type": "adaptive"}
    native = {"model": model, "max_tokens": 300, "system": "be kind", "thinking": thinking, "messages": [{"role": "user", "content": "hi"}]}
    first = (await call.claude(native)).json["content"]
    assert first[0]["type"] == "thinking"
    moved = [{"reasoningContent": {"reasoningText": {"text": first[0]["thinking"], "signature": first[0]["signature"]}}}, {"text": first[1]["text"]}]
    body = ask(user("hi"), said(*moved), user("more"), system=[{"text": "be kind"}], additionalModelRequestFields={"thinking": thinking})
    profile = f"us.anthropic.{model}"
    response = await converse(call, body, model=profile)
    assert response.status == 200, response.body
    reasoning = response.json["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"]
    answered = [
        {"type": "thinking", "thinking": reasoning["text"], "signature": reasoning["signature"]},
        {"type": "text", "text": response.json["output"]["message"]["content"][1]["text"]},
    ]
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "more"},
        {"role": "assistant", "content": answered},
        {"role": "user", "content": "and more"},
    ]
    assert (await call.claude({**native, "messages": history})).status == 200
    other = {**body, "system": [{"text": "be cruel"}]}
    refused = await converse(call, other, model=profile)
    assert refused.status == (400 if model == "claude-opus-5-5" else 200)


@pytest.mark.parametrize("said", [{}, {"toolChoice": {"any": {}}}])
async def test_claude_is_held_to_one_call_in_its_own_words(call, said):
    own = {"disable_parallel_tool_use": True} | ({} if said else {"type": "auto"})
    tools = {"tools": [*TOOLS["tools"], {"toolSpec": {**SPEC["toolSpec"], "name": "g"}}], **said}
    counts = []
    for fields in ({}, {"additionalModelRequestFields": {"tool_choice": own}}):
        response = await converse(call, ask(user("Please call f and g."), toolConfig=tools, **fields))
        assert response.status == 200, response.body
        counts.append(sum("toolUse" in block for block in response.json["output"]["message"]["content"]))
    assert counts[0] > counts[1] == 1


async def test_hanging_up_and_the_barrier(app, call):
    whole = await converse(call, ask(), action="converse-stream")
    full = app.bill.lines[-1]
    left = await converse(call, ask(), action="converse-stream", hang_up_after=4)
    line = app.bill.lines[-1]
    assert (line.status, len(left.frames)) == ("cancelled", 4)
    assert line.tokens.prompt == full.tokens.prompt
    assert 0 < line.tokens.output < full.tokens.output
    assert len(whole.frames) > 6
    app.hold("bedrock")
    task = asyncio.create_task(converse(call, ask()))
    await app.waiting(1)
    app.release()
    assert (await task).status == 200
    app.fault(Fault(kind="status", vendor="bedrock", status=429, retry_after="3"))
    assert (await converse(call, ask())).headers["retry-after"] == "3"


def test_framing_to_the_byte():
    data = message({":message-type": "event"}, b"{}")
    block = b"\x0d:message-type\x07\x00\x05event"
    total, header, prelude_crc = struct.unpack("!III", data[:12])
    assert (total, header, prelude_crc) == (len(data), len(block), zlib.crc32(data[:8]))
    assert data[12 : 12 + header] == block
    assert data[12 + header : -4] == b"{}"
    assert struct.unpack("!I", data[-4:])[0] == zlib.crc32(data[:-4])


@pytest.mark.parametrize("model", [CLAUDE, "amazon.nova-pro-v1%3A0"])
async def test_mutants_do_not_crash(call, model):
    rng = random.Random(model)
    for number in range(500):
        mutant = copy.deepcopy(FULL)
        for _ in range(rng.randint(1, 2)):
            holder, key = rng.choice(places(mutant))
            if rng.random() < 0.3:
                del holder[key]
            else:
                holder[key] = copy.deepcopy(rng.choice(JUNK))
            if not places(mutant):
                break
        body = {"input": {"converse": mutant}} if number % 5 == 0 else mutant
        response = await converse(call, body, model=model, action="count-tokens" if number % 5 == 0 else "converse")
        assert response.status == 200 or 400 <= response.status < 500, (mutant, response.body)
        if response.status != 200:
            assert response.json["message"]
