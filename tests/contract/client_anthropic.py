"""Anthropic Messages by hand: anthropic-python 2.11 `types/`."""

import json
from collections.abc import Mapping

from features import (
    ARGUMENTS,
    BUDGET,
    CALL_ID,
    DOCUMENT,
    IMAGE_URL,
    LATE_SYSTEM,
    LIMIT,
    OTHER_ARGUMENTS,
    OTHER_CALL_ID,
    OTHER_RESULT,
    OTHER_TOOL,
    PDF,
    PNG,
    RESULT,
    SCHEMA,
    STOP,
    STRICT_SCHEMA,
    SYSTEM,
    TEMPERATURE,
    TOOL,
    TOOL_TEXT,
    TOP_K,
    TOP_P,
    TURNS,
    UNKNOWN,
    UNKNOWN_VALUE,
    USER,
)
from msgspec import Raw
from speaking import PADDING, Client, Json, Seen, events, say

HELLO = {"role": "user", "content": "hello"}
MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def tool(name: str = TOOL, **more: Json) -> Json:
    return {"name": name, "description": TOOL_TEXT, "input_schema": Raw(SCHEMA), **more}


def use(call_id: str = CALL_ID, name: str = TOOL, arguments: bytes = ARGUMENTS) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": Raw(arguments)}


def result(call_id: str = CALL_ID, content: Json = RESULT, **more: Json) -> Json:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def user(*parts: Json) -> Json:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "look"}]}]


def loop(*results: Json) -> Json:
    return [HELLO, {"role": "assistant", "content": [use()]}, {"role": "user", "content": [*results]}]


def source(kind: str, data: str) -> Json:
    return {"type": "base64", "media_type": kind, "data": data}


IMAGE = {"type": "image", "source": source("image/png", PNG)}
ONE_TOOL = {"tools": [tool()]}
SAYS = {
    "system": say(system=SYSTEM),
    "turns": say("messages", messages=[{"role": role, "content": text} for role, text in TURNS]),
    "mid_system": say(
        "messages",
        messages=[HELLO, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "go on"}, {"role": "system", "content": LATE_SYSTEM}],
    ),
    "temperature": say(temperature=TEMPERATURE),
    "top_p": say(top_p=TOP_P),
    "top_k": say(top_k=TOP_K),
    "stop": say(stop_sequences=[STOP]),
    "limit": say(max_tokens=LIMIT),
    "tool": say("tools", **ONE_TOOL),
    "choice_none": say("tool_choice", **ONE_TOOL, tool_choice={"type": "none"}),
    "choice_required": say("tool_choice", **ONE_TOOL, tool_choice={"type": "any"}),
    "choice_named": say("tool_choice", tools=[tool(OTHER_TOOL), tool()], tool_choice={"type": "tool", "name": TOOL}),
    "one_call": say("tool_choice", **ONE_TOOL, tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
    "loop": say("messages", **ONE_TOOL, messages=loop(result())),
    "results_two": say(
        "messages",
        tools=[tool(), tool(OTHER_TOOL)],
        messages=[
            HELLO,
            {"role": "assistant", "content": [use(), use(OTHER_CALL_ID, OTHER_TOOL, OTHER_ARGUMENTS)]},
            {"role": "user", "content": [result(), result(OTHER_CALL_ID, OTHER_RESULT)]},
        ],
    ),
    "result_failed": say("is_error", **ONE_TOOL, messages=loop(result(is_error=True))),
    "result_image": say("content", **ONE_TOOL, messages=loop(result(content=[{"type": "text", "text": RESULT}, IMAGE]))),
    "result_pdf": say(
        "content",
        **ONE_TOOL,
        messages=loop(result(content=[{"type": "text", "text": RESULT}, {"type": "document", "source": source("application/pdf", PDF)}])),
    ),
    "image": say("source", "content", messages=user(IMAGE)),
    "image_url": say("source", "content", messages=user({"type": "image", "source": {"type": "url", "url": IMAGE_URL}})),
    "pdf": say("source", "content", messages=user({"type": "document", "source": source("application/pdf", PDF), "title": "sentinel.pdf"})),
    "text_document": say(
        "source",
        "content",
        messages=user({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": DOCUMENT}, "title": "sentinel.txt"}),
    ),
    "schema": say("output_config", output_config={"format": {"type": "json_schema", "schema": Raw(STRICT_SCHEMA)}}),
    "effort": say("output_config", output_config={"effort": "high"}, max_tokens=20_000),
    "budget": say("thinking", thinking={"type": "enabled", "budget_tokens": BUDGET}, max_tokens=20_000),
    "mark_system": say("cache_control", system=[{"type": "text", "text": SYSTEM + PADDING, **MARK}]),
    "mark_tool": say("cache_control", tools=[tool(**MARK)], system=PADDING),
    "mark_part": say(
        "cache_control",
        messages=[{"role": "user", "content": [{"type": "text", "text": "MARKED " + PADDING, **MARK}, {"type": "text", "text": "and now?"}]}],
    ),
    "mark_result": say("cache_control", **ONE_TOOL, system=PADDING, messages=loop(result(**MARK))),
    "mark_auto": say("cache_control", cache_control={"type": "ephemeral"}),
    "server_tool": say("tools", "type", tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]),
    "citations": say(
        "citations",
        messages=user({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": DOCUMENT}, "citations": {"enabled": True}}),
    ),
    "mark_hour": say("cache_control", system=[{"type": "text", "text": SYSTEM + PADDING, **HOUR}]),
    "user": say("metadata", metadata={"user_id": USER}),
    "unknown": say(UNKNOWN, **{UNKNOWN: UNKNOWN_VALUE}),
}


def body(model: str, stream: bool) -> dict[str, Json]:
    plain: dict[str, Json] = {"model": model, "max_tokens": 4000, "messages": [HELLO]}
    return {**plain, "stream": True} if stream else plain


def asks(reasoning: bool) -> Mapping[str, Json]:
    more = {"thinking": {"type": "adaptive", "display": "summarized"}, "max_tokens": 20_000} if reasoning else {}
    return {"tools": [tool(), tool(OTHER_TOOL)], **more}


def grow(fields: Mapping[str, Json], answer: bytes, results: Mapping[str, tuple[str, str]]) -> Mapping[str, Json]:
    said = {"role": "assistant", "content": json.loads(answer)["content"]}
    back = [result(call_id, text) for call_id, (_, text) in results.items()] or "and now?"
    return {**fields, "messages": [*fields.get("messages", [HELLO]), said, {"role": "user", "content": back}]}


ENDS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter"}


def usage(seen: Seen, said: Json) -> None:
    if said.get("input_tokens") is not None:
        seen.cached, seen.written = said.get("cache_read_input_tokens"), said.get("cache_creation_input_tokens")
        seen.prompt = said["input_tokens"] + (seen.cached or 0) + (seen.written or 0)
    if said.get("output_tokens") is not None:
        seen.output = said["output_tokens"]
        seen.reasoned = (said.get("output_tokens_details") or {}).get("thinking_tokens")


def block(seen: Seen, said: Json) -> None:
    match said["type"]:
        case "text":
            seen.text += said["text"]
        case "thinking":
            seen.reasoning += said["thinking"]
        case "tool_use":
            seen.calls.append((said["id"], said["name"], json.dumps(said["input"])))


def whole(raw: bytes) -> Seen:
    said = json.loads(raw)
    assert said["type"] == "message"
    assert said["role"] == "assistant"
    seen = Seen(closed=True)
    for one in said["content"]:
        block(seen, one)
    seen.end, seen.met = ENDS[said["stop_reason"]], said["stop_sequence"]
    usage(seen, said["usage"])
    return seen


def stream(raw: bytes) -> Seen:
    seen, index, inputs = Seen(), -1, {}
    for event in events(raw):
        assert not seen.closed, "something after message_stop"
        match event["type"]:
            case "message_start":
                assert event["message"]["type"] == "message"
                usage(seen, event["message"]["usage"])
            case "content_block_start":
                index += 1
                assert event["index"] == index
                said = event["content_block"]
                if said["type"] == "tool_use":
                    assert said["input"] == {}
                    inputs[index] = [said["id"], said["name"], ""]
                else:
                    block(seen, said)
            case "content_block_delta":
                assert event["index"] == index
                delta = event["delta"]
                seen.text += delta.get("text", "")
                seen.reasoning += delta.get("thinking", "")
                if "partial_json" in delta:
                    inputs[index][2] += delta["partial_json"]
            case "content_block_stop":
                assert event["index"] == index
            case "message_delta":
                seen.end, seen.met = ENDS[event["delta"]["stop_reason"]], event["delta"].get("stop_sequence")
                usage(seen, event["usage"])
            case "message_stop":
                seen.closed = True
            case "error":
                seen.failed = event["error"]["message"]
            case other:
                assert other == "ping", other
    seen.calls = [(call_id, name, said or "{}") for call_id, name, said in inputs.values()]
    return seen


def put_together(raw: bytes) -> bytes:
    blocks: list[Json] = []
    for event in events(raw):
        if event["type"] == "content_block_start":
            blocks.append({**event["content_block"]})
        elif event["type"] == "content_block_delta":
            delta, made = event["delta"], blocks[-1]
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    made[name] = made.get(name, "") + delta[name]
            if "partial_json" in delta:
                made["said"] = made.get("said", "") + delta["partial_json"]
    for made in blocks:
        if made["type"] == "tool_use":
            made["input"] = json.loads(made.pop("said", "") or "{}")
    return json.dumps({"content": blocks}).encode()


def error(raw: bytes) -> tuple[str, str]:
    said = json.loads(raw)
    assert said["type"] == "error"
    assert isinstance(said["error"]["type"], str)
    return said["error"]["message"], ""


TELLS = frozenset(("cached", "written", "reasoned", "met"))
CLIENT = Client("anthropic-messages", lambda model, stream: "/v1/messages", body, SAYS, asks, grow, whole, stream, put_together, error, TELLS)
