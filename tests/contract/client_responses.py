"""OpenAI Responses by hand: openai-python 3.52 `types/responses/`."""

import json
from collections.abc import Mapping

from features import (
    AFFINITY,
    ARGUMENTS,
    CALL_ID,
    CUSTOM_TOOL,
    DOCUMENT_BASE64,
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
    STRICT_SCHEMA,
    SYSTEM,
    TEMPERATURE,
    TOOL,
    TOOL_TEXT,
    TOP_P,
    TURNS,
    UNKNOWN,
    UNKNOWN_VALUE,
    USER,
)
from msgspec import Raw
from speaking import PADDING, Client, Json, Seen, events, say

HELLO = {"role": "user", "content": "hello"}
MARK = {"prompt_cache_breakpoint": {"mode": "explicit"}}
LONG_MARK = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}


def tool(name: str = TOOL, **more: Json) -> Json:
    return {"type": "function", "name": name, "description": TOOL_TEXT, "parameters": Raw(SCHEMA), "strict": False, **more}


def call(call_id: str = CALL_ID, name: str = TOOL, arguments: bytes = ARGUMENTS) -> Json:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments.decode()}


def result(call_id: str = CALL_ID, output: Json = RESULT) -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def user(*parts: Json) -> Json:
    return [{"role": "user", "content": [{"type": "input_text", "text": "look"}, *parts]}]


def data_file(kind: str, data: str, name: str) -> Json:
    return {"type": "input_file", "filename": name, "file_data": f"data:{kind};base64,{data}"}


IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
ONE_TOOL = {"tools": [tool()]}
SAYS = {
    "system": say(instructions=SYSTEM),
    "turns": say("input", input=[{"role": role, "content": text} for role, text in TURNS]),
    "mid_system": say(
        "input",
        input=[HELLO, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "go on"}, {"role": "developer", "content": LATE_SYSTEM}],
    ),
    "temperature": say(temperature=TEMPERATURE),
    "top_p": say(top_p=TOP_P),
    "limit": say(max_output_tokens=LIMIT),
    "logprobs": say("top_logprobs", "include", top_logprobs=2, include=["message.output_text.logprobs"]),
    "tool": say("tools", **ONE_TOOL),
    "choice_none": say("tool_choice", **ONE_TOOL, tool_choice="none"),
    "choice_required": say("tool_choice", **ONE_TOOL, tool_choice="required"),
    "choice_named": say("tool_choice", tools=[tool(OTHER_TOOL), tool()], tool_choice={"type": "function", "name": TOOL}),
    "one_call": say("parallel_tool_calls", **ONE_TOOL, parallel_tool_calls=False),
    "custom_tool": say("tools", tools=[{"type": "custom", "name": CUSTOM_TOOL, "description": "takes words"}]),
    "loop": say("input", **ONE_TOOL, input=[HELLO, call(), result()]),
    "results_two": say(
        "input",
        tools=[tool(), tool(OTHER_TOOL)],
        input=[HELLO, call(), call(OTHER_CALL_ID, OTHER_TOOL, OTHER_ARGUMENTS), result(), result(OTHER_CALL_ID, OTHER_RESULT)],
    ),
    "result_image": say("output", "input[2]", **ONE_TOOL, input=[HELLO, call(), result(output=[{"type": "input_text", "text": RESULT}, IMAGE])]),
    "result_pdf": say(
        "output",
        "input[2]",
        **ONE_TOOL,
        input=[HELLO, call(), result(output=[{"type": "input_text", "text": RESULT}, data_file("application/pdf", PDF, "sentinel.pdf")])],
    ),
    "image": say("image_url", "content[1]", input=user(IMAGE)),
    "image_url": say("image_url", "content[1]", input=user({"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"})),
    "pdf": say("file_data", "content[1]", input=user(data_file("application/pdf", PDF, "sentinel.pdf"))),
    "text_document": say("file_data", "content[1]", input=user(data_file("text/plain", DOCUMENT_BASE64, "sentinel.txt"))),
    "schema": say("text", text={"format": {"type": "json_schema", "name": "out", "strict": True, "schema": Raw(STRICT_SCHEMA)}}),
    "json_mode": say("text", text={"format": {"type": "json_object"}}, input=[{"role": "user", "content": "answer in JSON"}]),
    "effort": say("reasoning", reasoning={"effort": "high"}),
    "mark_system": say(
        "prompt_cache_breakpoint", input=[{"role": "developer", "content": [{"type": "input_text", "text": SYSTEM + PADDING, **MARK}]}, HELLO]
    ),
    "mark_part": say(
        "prompt_cache_breakpoint",
        input=[
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "MARKED " + PADDING, **MARK}, {"type": "input_text", "text": "and now?"}],
            }
        ],
    ),
    "mark_result": say(
        "prompt_cache_breakpoint",
        **ONE_TOOL,
        instructions=PADDING,
        input=[HELLO, call(), result(output=[{"type": "input_text", "text": RESULT, **MARK}])],
    ),
    "mark_long": say(
        "prompt_cache_breakpoint",
        input=[{"role": "developer", "content": [{"type": "input_text", "text": SYSTEM + PADDING, **LONG_MARK}]}, HELLO],
    ),
    "cache_options": say(prompt_cache_options={"ttl": "30m"}),
    "server_tool": say("tools", "web_search", tools=[{"type": "web_search"}]),
    "affinity": say(prompt_cache_key=AFFINITY),
    "user": say("safety_identifier", "user", safety_identifier=USER),
    "unknown": say(UNKNOWN, **{UNKNOWN: UNKNOWN_VALUE}),
}


def body(model: str, stream: bool) -> dict[str, Json]:
    plain: dict[str, Json] = {"model": model, "input": [HELLO]}
    return {**plain, "stream": True} if stream else plain


def asks(reasoning: bool) -> Mapping[str, Json]:
    more = {"reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"], "store": False} if reasoning else {}
    return {"tools": [tool(), tool(OTHER_TOOL)], **more}


def grow(fields: Mapping[str, Json], answer: bytes, results: Mapping[str, tuple[str, str]]) -> Mapping[str, Json]:
    said = json.loads(answer)["output"]
    back = [result(call_id, text) for call_id, (_, text) in results.items()] or [{"role": "user", "content": "and now?"}]
    return {**fields, "input": [*fields.get("input", [HELLO]), *said, *back]}


def read(said: Json, *, stream: bool = False) -> Seen:
    """A response object."""
    assert said["object"] == "response"
    seen = Seen(closed=True)
    for item in said["output"]:
        match item["type"]:
            case "message":
                assert item["role"] == "assistant"
                for part in item["content"]:
                    seen.text += part["text"] if part["type"] == "output_text" else ""
                    seen.refusal += part["refusal"] if part["type"] == "refusal" else ""
            case "reasoning":
                seen.reasoning += "".join(part["text"] for part in [*item["summary"], *(item.get("content") or ())])
            case "function_call":
                seen.calls.append((item["call_id"], item["name"], item["arguments"]))
    match said["status"], (said.get("incomplete_details") or {}).get("reason"):
        case "completed", _:
            seen.end = "tool_calls" if seen.calls else "stop"
        case "incomplete", reason:
            seen.end = {"max_output_tokens": "length"}.get(reason, reason)
        case "failed", _:
            seen.failed, seen.closed = said["error"]["message"], False
    usage = said.get("usage")
    if usage:
        details = usage["input_tokens_details"]
        seen.prompt, seen.output = usage["input_tokens"], usage["output_tokens"]
        seen.cached, seen.written = details.get("cached_tokens"), details.get("cache_write_tokens")
        seen.reasoned = usage["output_tokens_details"]["reasoning_tokens"]
        assert usage["total_tokens"] == seen.prompt + seen.output
    return seen


def whole(raw: bytes) -> Seen:
    return read(json.loads(raw))


def stream(raw: bytes) -> Seen:
    seen, number, pieces = Seen(), -1, Seen()
    for event in events(raw):
        assert not seen.closed, "something after the last event"
        if event == "[DONE]":
            continue
        assert event["type"] == "error" or event["sequence_number"] == number + 1, (event["sequence_number"], number)
        number += 1
        match event["type"]:
            case "response.output_text.delta":
                pieces.text += event["delta"]
            case "response.refusal.delta":
                pieces.refusal += event["delta"]
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                pieces.reasoning += event["delta"]
            case "response.completed" | "response.incomplete" | "response.failed":
                seen = read(event["response"])
                same = (seen.text, seen.refusal, seen.reasoning) == (pieces.text, pieces.refusal, pieces.reasoning)
                assert same or seen.failed is not None, "the pieces are not the whole"
            case "error":
                seen.failed = event["message"]
    return seen


def put_together(raw: bytes) -> bytes:
    """The last event holds all."""
    return json.dumps(next(event["response"] for event in events(raw) if event["type"] == "response.completed")).encode()


def error(raw: bytes) -> tuple[str, str]:
    said = json.loads(raw)
    assert set(said) == {"error"}
    assert {"message", "type", "param", "code"} == set(said["error"])
    return said["error"]["message"], said["error"]["param"] or ""


TELLS = frozenset(("refusal", "cached", "written", "reasoned"))
CLIENT = Client("openai-responses", lambda model, stream: "/v1/responses", body, SAYS, asks, grow, whole, stream, put_together, error, TELLS)
