"""Converse: whatever is rendered is taken by the service's own checks, grows as a prefix, and what comes back is the same in both forms."""

import json
from functools import cache

import msgspec
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from chat_requests import plain_requests, requests
from hypothesis import given
from hypothesis import strategies as st
from support import render

from tokenrouter.adapters.aws_eventstream import EventStreamReader
from tokenrouter.adapters.wire.bedrock import ConverseEventDecoder, decode_answer
from tokenrouter.errors import InvalidRequest, UpstreamFailed
from tokenrouter.model.answer import fold
from tokenrouter.sandbox.bedrock_eventstream import event
from tokenrouter.sandbox.bedrock_models import find
from tokenrouter.sandbox.bedrock_request import Converse, read_converse

CLAUDE, OLDER, NOVA, LLAMA = (
    "us.anthropic.claude-opus-4-8-v1:0",
    "global.anthropic.claude-haiku-4-5-20251001-v1:0",
    "us.amazon.nova-pro-v1:0",
    "meta.llama3-3-70b-instruct-v1:0",
)
MODELS = (CLAUDE, OLDER, NOVA, LLAMA)
FILLER = "word " * 6_000


@cache
def shape():
    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime").operation_model("Converse").input_shape


def with_tools(request):
    """Tools by name, each once, and at least one: calls of earlier turns need them."""
    functions = {tool["function"]["name"]: tool["function"] for tool in request.get("tools", ())} or {"f": {"name": "f", "parameters": {}}}
    tools = [
        {"type": "function", "function": {**function, "parameters": {"type": "object", "properties": {"p": function["parameters"]}}}}
        for function in functions.values()
    ]
    return {**request, "tools": tools}


def accepted(body: bytes, model: str) -> Converse:
    """By botocore's validator, and by the simulator with its rules for turns and marks."""
    fields = json.loads(body)
    report = ParamValidator().validate({**fields, "modelId": model}, shape())
    assert not report.has_errors(), report.generate_report()
    name, hosted = find(model)
    return read_converse(fields, name, hosted)


@given(plain_requests(), st.sampled_from(MODELS), st.booleans())
def test_what_is_rendered_is_what_the_service_takes(request, model, long):
    if long:
        request["messages"][0]["content"] = FILLER
    assert accepted(render(with_tools(request), f"bedrock/{model}").body, model).fields["messages"]


@given(requests(), st.sampled_from(MODELS))
def test_what_can_not_be_carried_is_refused_or_named(request, model):
    try:
        sent = render({**request, "zebra": 1}, f"bedrock/{model}")
    except InvalidRequest:
        return
    assert "zebra" in sent.dropped
    fields = json.loads(sent.body)
    assert all(name in sent.dropped for name in ("seed", "logit_bias") if request.get(name))
    texts = [text for message in request["messages"] for text in texts_of(message["content"])]
    said = json.dumps(fields, ensure_ascii=False)
    assert all(json.dumps(text, ensure_ascii=False) in said for text in texts if text.strip())
    assert set(fields) <= {
        *("messages", "system", "inferenceConfig", "toolConfig", "outputConfig", "serviceTier", "requestMetadata"),
        *("additionalModelRequestFields", "additionalModelResponseFieldPaths"),
    }


def blocks_of(body: bytes) -> list[bytes]:
    """Tools, system and all blocks of all messages, each with its role: cache points removed, otherwise as they were sent."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    config = msgspec.json.decode(fields["toolConfig"], type=dict[str, msgspec.Raw])
    found = [b"tool " + bytes(raw) for raw in msgspec.json.decode(config["tools"], type=list[msgspec.Raw])]
    found += [b"system " + bytes(raw) for raw in msgspec.json.decode(fields.get("system", b"[]"), type=list[msgspec.Raw])]
    for message in msgspec.json.decode(fields["messages"], type=list[dict[str, msgspec.Raw]]):
        found += [bytes(message["role"]) + b" " + bytes(raw) for raw in msgspec.json.decode(message["content"], type=list[msgspec.Raw])]
    return [block for block in found if b'{"cachePoint":' not in block[:30]]


@pytest.mark.parametrize("model", MODELS)
@given(plain_requests(), st.booleans())
def test_a_conversation_that_grows_sends_its_earlier_blocks_again_as_they_were(model, request, long):
    request = with_tools(request)
    if long:
        request["messages"][0]["content"] = FILLER
    messages = request["messages"]
    ends = [place + 1 for place, message in enumerate(messages) if message["role"] == "user" or
            (message["role"] == "tool" and (place + 1 == len(messages) or messages[place + 1]["role"] != "tool"))]  # fmt: skip
    before: list[bytes] = []
    for end in ends:
        sent = blocks_of(render({**request, "messages": messages[:end]}, f"bedrock/{model}").body)
        assert sent[: len(before)] == before, "an earlier block changed its bytes or its place"
        before = sent


@given(plain_requests(), st.sampled_from((CLAUDE, NOVA)), st.booleans())
def test_a_long_prompt_gets_points_never_more_than_four_and_none_on_novas_tools(request, model, long):
    request["messages"][0]["content"] = FILLER if long else "x"
    body = render(with_tools(request), f"bedrock/{model}").body
    assert body.count(b'"cachePoint"') <= 4
    assert (b'"cachePoint"' in body) is long
    assert model == CLAUDE or "cachePoint" not in str(json.loads(body)["toolConfig"])


def texts_of(content):
    return [content] if isinstance(content, str) else [part["text"] for part in content or () if "text" in part]


# --- answers

solid = st.text(min_size=1, max_size=12)
inputs = st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=4), max_size=3).map(lambda value: json.dumps(value))
said = st.lists(
    st.one_of(
        st.tuples(st.just("text"), solid),
        st.tuples(st.just("thought"), solid, solid),
        st.tuples(st.just("redacted"), st.binary(min_size=1, max_size=9)),
        st.tuples(st.just("call"), st.text(st.sampled_from("abc"), min_size=1), inputs),
    ),
    max_size=5,
)


def pieces(data, text):
    """A text, or bytes, cut in a few places."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def blob(raw):
    return msgspec.json.decode(msgspec.json.encode(raw))


def as_whole(blocks):
    content = []
    for block in blocks:
        match block:
            case ("text", shown):
                content.append({"text": shown})
            case ("thought", shown, signature):
                content.append({"reasoningContent": {"reasoningText": {"text": shown, "signature": signature}}})
            case ("redacted", raw):
                content.append({"reasoningContent": {"redactedContent": blob(raw)}})
            case ("call", name, arguments):
                content.append({"toolUse": {"toolUseId": f"t{len(content)}", "name": name, "input": msgspec.Raw(arguments.encode())}})
    return content


def as_stream(blocks, data):
    frames = [event("messageStart", {"role": "assistant"})]
    for index, block in enumerate(blocks):
        deltas: list[dict[str, object]] = []
        match block:
            case ("text", shown):
                deltas = [{"text": piece} for piece in pieces(data, shown)]
            case ("thought", shown, signature):
                deltas = [{"reasoningContent": {"text": piece}} for piece in pieces(data, shown)]
                deltas += [{"reasoningContent": {"signature": piece}} for piece in pieces(data, signature)]
            case ("redacted", raw):
                deltas = [{"reasoningContent": {"redactedContent": blob(piece)}} for piece in pieces(data, raw)]
            case ("call", name, arguments):
                start = {"toolUse": {"toolUseId": f"t{index}", "name": name}}
                frames.append(event("contentBlockStart", {"start": start, "contentBlockIndex": index}))
                deltas = [{"toolUse": {"input": piece}} for piece in pieces(data, arguments)]
        frames += [event("contentBlockDelta", {"delta": delta, "contentBlockIndex": index}) for delta in deltas]
        frames.append(event("contentBlockStop", {"contentBlockIndex": index}))
    return b"".join(frames)


@given(said, st.data())
def test_a_stream_cut_anywhere_says_what_the_whole_answer_says(blocks, data):
    usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3, "cacheReadInputTokens": 4}
    body = msgspec.json.encode({"output": {"message": {"role": "assistant", "content": as_whole(blocks)}}, "stopReason": "end_turn", "usage": usage})
    wire = as_stream(blocks, data) + event("messageStop", {"stopReason": "end_turn"}) + event("metadata", {"usage": usage})
    decoder = ConverseEventDecoder()
    found = [one for piece in pieces(data, wire) for one in decoder.feed(piece)]
    whole, streamed = decode_answer(body), fold([*found, *decoder.finish()])
    assert streamed.choices == whole.choices
    assert streamed.usage == whole.usage


@given(st.binary(max_size=200), st.data())
def test_no_bytes_break_the_reader_in_another_way_than_by_saying_so(junk, data):
    frame = event("contentBlockDelta", {"delta": {"text": "x"}, "contentBlockIndex": 0})
    at = data.draw(st.integers(0, len(frame)))
    wire = frame[:at] + junk + frame[at:]
    for read in (EventStreamReader().feed, ConverseEventDecoder().feed):
        try:
            found = read(wire)
        except UpstreamFailed:
            continue
        assert len(found) <= 1, "there is one event in it, if it can be read at all"
