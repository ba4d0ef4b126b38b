"""OpenAI Chat Completions by hand: openai-python 3.52 `types/chat/`."""

import json
from collections.abc import Mapping

from features import (
    AFFINITY,
    ARGUMENTS,
    CALL_ID,
    CUSTOM_TOOL,
    DOCUMENT_BASE64,
    FREQUENCY,
    IMAGE_URL,
    LATE_SYSTEM,
    LIMIT,
    OTHER_ARGUMENTS,
    OTHER_CALL_ID,
    OTHER_RESULT,
    OTHER_TOOL,
    PDF,
    PNG,
    PRESENCE,
    RESULT,
    SCHEMA,
    SEED,
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
    WAV,
)
from msgspec import Raw
from speaking import PADDING, Client, Json, Seen, events, say

HELLO = {"role": "user", "content": "hello"}
MARK = {"cache_control": {"type": "ephemeral"}}
LONG_MARK = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def tool(name: str = TOOL, **more: Json) -> Json:
    return {"type": "function", "function": {"name": name, "description": TOOL_TEXT, "parameters": Raw(SCHEMA)}, **more}


def call(call_id: str = CALL_ID, name: str = TOOL, arguments: bytes = ARGUMENTS) -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments.decode()}}


def result(call_id: str = CALL_ID, content: Json = RESULT) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def user(*parts: Json) -> Json:
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, *parts]}]


def image(url: str = f"data:image/png;base64,{PNG}") -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


def data_file(kind: str, data: str, name: str) -> Json:
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,{data}"}}


ONE_TOOL = {"tools": [tool()]}
LOOP = [HELLO, {"role": "assistant", "content": None, "tool_calls": [call()]}, result()]
SAYS = {
    "system": say("messages", messages=[{"role": "system", "content": SYSTEM}, HELLO]),
    "turns": say("messages", messages=[{"role": role, "content": text} for role, text in TURNS]),
    "mid_system": say(
        "messages",
        messages=[HELLO, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "go on"}, {"role": "system", "content": LATE_SYSTEM}],
    ),
    "temperature": say(temperature=TEMPERATURE),
    "top_p": say(top_p=TOP_P),
    "top_k": say(top_k=TOP_K),
    "seed": say(seed=SEED),
    "stop": say(stop=[STOP]),
    "limit": say(max_completion_tokens=LIMIT),
    "n": say(n=2),
    "frequency_penalty": say(frequency_penalty=FREQUENCY),
    "presence_penalty": say(presence_penalty=PRESENCE),
    "logprobs": say("logprobs", logprobs=True, top_logprobs=2),
    "tool": say("tools", **ONE_TOOL),
    "choice_none": say("tool_choice", **ONE_TOOL, tool_choice="none"),
    "choice_required": say("tool_choice", **ONE_TOOL, tool_choice="required"),
    "choice_named": say("tool_choice", tools=[tool(OTHER_TOOL), tool()], tool_choice={"type": "function", "function": {"name": TOOL}}),
    "one_call": say("parallel_tool_calls", **ONE_TOOL, parallel_tool_calls=False),
    "custom_tool": say("tools", tools=[{"type": "custom", "custom": {"name": CUSTOM_TOOL, "description": "takes words"}}]),
    "loop": say("messages", **ONE_TOOL, messages=LOOP),
    "results_two": say(
        "messages",
        tools=[tool(), tool(OTHER_TOOL)],
        messages=[
            HELLO,
            {"role": "assistant", "content": None, "tool_calls": [call(), call(OTHER_CALL_ID, OTHER_TOOL, OTHER_ARGUMENTS)]},
            result(),
            result(OTHER_CALL_ID, OTHER_RESULT),
        ],
    ),
    "image": say("image_url", "content[1]", messages=user(image())),
    "image_url": say("image_url", "content[1]", messages=user(image(IMAGE_URL))),
    "pdf": say("file", "content[1]", messages=user(data_file("application/pdf", PDF, "sentinel.pdf"))),
    "text_document": say("file", "content[1]", messages=user(data_file("text/plain", DOCUMENT_BASE64, "sentinel.txt"))),
    "audio": say("input_audio", "content[1]", messages=user({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}})),
    "schema": say(
        "response_format",
        response_format={"type": "json_schema", "json_schema": {"name": "out", "strict": True, "schema": Raw(STRICT_SCHEMA)}},
    ),
    "json_mode": say("response_format", response_format={"type": "json_object"}, messages=[{"role": "user", "content": "answer in JSON"}]),
    "effort": say("reasoning_effort", reasoning_effort="high", max_completion_tokens=20_000),
    "mark_system": say("cache_control", messages=[{"role": "system", "content": [{"type": "text", "text": SYSTEM + PADDING, **MARK}]}, HELLO]),
    "mark_tool": say("cache_control", tools=[tool(**MARK)], messages=[{"role": "system", "content": PADDING}, HELLO]),
    "mark_part": say(
        "cache_control",
        messages=[{"role": "user", "content": [{"type": "text", "text": "MARKED " + PADDING, **MARK}, {"type": "text", "text": "and now?"}]}],
    ),
    "mark_message": say(
        "cache_control",
        messages=[
            {"role": "user", "content": "MARKED " + PADDING, **MARK},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "And?"},
        ],
    ),
    "mark_result": say(
        "cache_control",
        **ONE_TOOL,
        messages=[{"role": "system", "content": PADDING}, *LOOP[:2], result(content=[{"type": "text", "text": RESULT, **MARK}])],
    ),
    "mark_long": say(
        "prompt_cache_breakpoint", messages=[{"role": "system", "content": [{"type": "text", "text": SYSTEM + PADDING, **LONG_MARK}]}, HELLO]
    ),
    "cache_options": say(prompt_cache_options={"ttl": "30m"}),
    "server_tool": say("web_search_options", web_search_options={}),
    "mark_hour": say("cache_control", messages=[{"role": "system", "content": [{"type": "text", "text": SYSTEM + PADDING, **HOUR}]}, HELLO]),
    "affinity": say(prompt_cache_key=AFFINITY),
    "user": say("user", "safety_identifier", safety_identifier=USER),
    "unknown": say(UNKNOWN, **{UNKNOWN: UNKNOWN_VALUE}),
}


def body(model: str, stream: bool) -> dict[str, Json]:
    plain: dict[str, Json] = {"model": model, "messages": [HELLO]}
    return {**plain, "stream": True, "stream_options": {"include_usage": True}} if stream else plain


def asks(reasoning: bool) -> Mapping[str, Json]:
    more = {"reasoning_effort": "high", "max_completion_tokens": 20_000} if reasoning else {}
    return {"tools": [tool(), tool(OTHER_TOOL)], **more}


def grow(fields: Mapping[str, Json], answer: bytes, results: Mapping[str, tuple[str, str]]) -> Mapping[str, Json]:
    message = json.loads(answer)["choices"][0]["message"]
    back = [result(call_id, text) for call_id, (_, text) in results.items()] or [{"role": "user", "content": "and now?"}]
    return {**fields, "messages": [*fields.get("messages", [HELLO]), message, *back]}


def usage(seen: Seen, said: Json) -> None:
    if said:
        details = said.get("prompt_tokens_details") or {}
        seen.prompt, seen.output = said["prompt_tokens"], said["completion_tokens"]
        seen.cached, seen.written = details.get("cached_tokens"), details.get("cache_write_tokens")
        seen.reasoned = (said.get("completion_tokens_details") or {}).get("reasoning_tokens")
        assert said["total_tokens"] == seen.prompt + seen.output


def whole(raw: bytes) -> Seen:
    said = json.loads(raw)
    assert said["object"] == "chat.completion"
    choice = said["choices"][0]
    message = choice["message"]
    seen = Seen(
        message.get("content") or "",
        message.get("reasoning_content") or message.get("reasoning") or "",
        message.get("refusal") or "",
        choices=len(said["choices"]),
    )
    seen.calls = [(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls") or ()]
    seen.end, seen.closed = choice["finish_reason"], True
    usage(seen, said.get("usage"))
    return seen


def stream(raw: bytes) -> Seen:
    seen, calls, choices = Seen(), {}, set()
    for event in events(raw):
        assert not seen.closed, "something after [DONE]"
        if event == "[DONE]":
            seen.closed = True
            continue
        if "error" in event:
            seen.failed = event["error"]["message"]
            continue
        assert event["object"] == "chat.completion.chunk"
        usage(seen, event.get("usage"))
        for choice in event["choices"]:
            choices.add(choice["index"])
            if choice["index"]:
                continue
            delta = choice["delta"]
            seen.text += delta.get("content") or ""
            seen.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
            seen.refusal += delta.get("refusal") or ""
            for piece in delta.get("tool_calls") or ():
                made = calls.setdefault(piece["index"], ["", "", ""])
                made[0] += piece.get("id") or ""
                made[1] += (piece.get("function") or {}).get("name") or ""
                made[2] += (piece.get("function") or {}).get("arguments") or ""
            seen.end = choice["finish_reason"] or seen.end
    assert list(calls) == list(range(len(calls))), "calls out of order"
    seen.calls, seen.choices = [tuple(made) for made in calls.values()], len(choices)
    return seen


def put_together(raw: bytes) -> bytes:
    said: dict[str, Json] = {"role": "assistant", "content": None}
    calls: dict[int, Json] = {}
    details: dict[int, Json] = {}
    for event in events(raw):
        for choice in event["choices"] if event != "[DONE]" else ():
            delta = choice["delta"]
            for name in ("content", "reasoning_content", "reasoning"):
                if delta.get(name):
                    said[name] = (said.get(name) or "") + delta[name]
            for piece in delta.get("tool_calls") or ():
                made = calls.setdefault(piece["index"], {**piece, "function": {"name": "", "arguments": ""}})
                made["function"] = {name: made["function"][name] + (piece["function"].get(name) or "") for name in ("name", "arguments")}
            for piece in delta.get("reasoning_details") or ():  # OpenRouter's: pieces of one index are one block
                block = details.setdefault(piece.get("index", len(details)), {})
                for name, value in piece.items():
                    grows = name in ("text", "summary", "signature", "data") and isinstance(block.get(name), str)
                    block[name] = block[name] + value if grows else value
    for made in calls.values():
        del made["index"]
    said |= {"tool_calls": list(calls.values())} if calls else {}
    said |= {"reasoning_details": list(details.values())} if details else {}
    return json.dumps({"choices": [{"message": said}]}).encode()


def error(raw: bytes) -> tuple[str, str]:
    said = json.loads(raw)
    assert set(said) == {"error"}
    assert {"message", "type", "param", "code"} == set(said["error"])
    return said["error"]["message"], said["error"]["param"] or ""


TELLS = frozenset(("refusal", "cached", "written", "reasoned"))
CLIENT = Client("openai-chat", lambda model, stream: "/v1/chat/completions", body, SAYS, asks, grow, whole, stream, put_together, error, TELLS)
