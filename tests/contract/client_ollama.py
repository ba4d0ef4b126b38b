"""Ollama's `/api/chat` by hand: docs.ollama.com/api/chat, ollama-python 0.6.3 `_types.py`."""

import json
from collections.abc import Mapping

from features import (
    ARGUMENTS,
    FREQUENCY,
    LATE_SYSTEM,
    LIMIT,
    OTHER_ARGUMENTS,
    OTHER_RESULT,
    OTHER_TOOL,
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
)
from msgspec import Raw
from speaking import Client, Json, Say, Seen, say

HELLO = {"role": "user", "content": "hello"}


def tool(name: str = TOOL) -> Json:
    return {"type": "function", "function": {"name": name, "description": TOOL_TEXT, "parameters": Raw(SCHEMA)}}


def call(name: str = TOOL, arguments: bytes = ARGUMENTS) -> Json:
    return {"function": {"name": name, "arguments": Raw(arguments)}}


def result(name: str = TOOL, content: str = RESULT, **more: Json) -> Json:
    return {"role": "tool", "tool_name": name, "content": content, **more}


def option(**fields: Json) -> Say:
    return say(*fields, options=fields)


ONE_TOOL = {"tools": [tool()]}
LOOP = [HELLO, {"role": "assistant", "content": "", "tool_calls": [call()]}]
SAYS = {
    "system": say("messages", messages=[{"role": "system", "content": SYSTEM}, HELLO]),
    "turns": say("messages", messages=[{"role": role, "content": text} for role, text in TURNS]),
    "mid_system": say(
        "messages",
        messages=[HELLO, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "go on"}, {"role": "system", "content": LATE_SYSTEM}],
    ),
    "temperature": option(temperature=TEMPERATURE),
    "top_p": option(top_p=TOP_P),
    "top_k": option(top_k=TOP_K),
    "seed": option(seed=SEED),
    "stop": option(stop=[STOP]),
    "limit": option(num_predict=LIMIT),
    "frequency_penalty": option(frequency_penalty=FREQUENCY),
    "presence_penalty": option(presence_penalty=PRESENCE),
    "logprobs": say("logprobs", "top_logprobs", logprobs=True, top_logprobs=2),
    "tool": say("tools", **ONE_TOOL),
    "loop": say("messages", **ONE_TOOL, messages=[*LOOP, result()]),
    "results_two": say(
        "messages",
        tools=[tool(), tool(OTHER_TOOL)],
        messages=[
            HELLO,
            {"role": "assistant", "content": "", "tool_calls": [call(), call(OTHER_TOOL, OTHER_ARGUMENTS)]},
            result(),
            result(OTHER_TOOL, OTHER_RESULT),
        ],
    ),
    "result_image": say("images", "messages[2].content[0]", **ONE_TOOL, messages=[*LOOP, result(images=[PNG])]),
    "image": say("images", "messages[0].content[0]", messages=[{"role": "user", "content": "look", "images": [PNG]}]),
    "schema": say(format=Raw(STRICT_SCHEMA)),
    "json_mode": say(format="json"),
    "effort": say(think="high"),
    "unknown": say(UNKNOWN, **{UNKNOWN: UNKNOWN_VALUE}),
}


def body(model: str, stream: bool) -> dict[str, Json]:
    plain: dict[str, Json] = {"model": model, "messages": [HELLO]}
    return plain if stream else {**plain, "stream": False}


def asks(reasoning: bool) -> Mapping[str, Json]:
    return {"tools": [tool(), tool(OTHER_TOOL)], **({"think": True} if reasoning else {})}


def grow(fields: Mapping[str, Json], answer: bytes, results: Mapping[str, tuple[str, str]]) -> Mapping[str, Json]:
    said = json.loads(answer)["message"]
    back = [result(name, text) for name, text in results.values()] or [{"role": "user", "content": "and now?"}]
    return {**fields, "messages": [*fields.get("messages", [HELLO]), said, *back]}


def chunk(seen: Seen, said: Json) -> None:
    """Take in one object."""
    assert isinstance(said["created_at"], str)
    message = said["message"]
    assert message["role"] == "assistant"
    seen.text += message.get("content") or ""
    seen.reasoning += message.get("thinking") or ""
    for one in message.get("tool_calls") or ():
        made = one["function"]
        assert isinstance(made["arguments"], dict)
        seen.calls.append((one.get("id") or f"{len(seen.calls)}", made["name"], json.dumps(made["arguments"])))
    assert isinstance(said["done"], bool)
    if said["done"]:
        seen.closed = True
        seen.end = "tool_calls" if said["done_reason"] == "stop" and seen.calls else said["done_reason"]
        seen.prompt, seen.output = said.get("prompt_eval_count"), said.get("eval_count")


def whole(raw: bytes) -> Seen:
    seen = Seen()
    chunk(seen, json.loads(raw))
    return seen


def stream(raw: bytes) -> Seen:
    seen = Seen()
    for line in raw.split(b"\n"):
        if not line:
            continue
        assert not seen.closed, "something after done"
        said = json.loads(line)
        if "error" in said:
            seen.failed = said["error"]
            assert isinstance(seen.failed, str)
        else:
            chunk(seen, said)
    return seen


def put_together(raw: bytes) -> bytes:
    said: dict[str, Json] = {"role": "assistant", "content": ""}
    for line in filter(None, raw.split(b"\n")):
        piece = json.loads(line)["message"]
        said |= {name: said.get(name, "") + piece[name] for name in ("content", "thinking") if piece.get(name)}
        said |= {"tool_calls": said.get("tool_calls", []) + piece["tool_calls"]} if piece.get("tool_calls") else {}
    return json.dumps({"message": said}).encode()


def error(raw: bytes) -> tuple[str, str]:
    said = json.loads(raw)
    assert isinstance(said["error"], str)
    return said["error"], ""


CLIENT = Client(
    "ollama-chat",
    lambda model, stream: "/api/chat",
    body,
    SAYS,
    asks,
    grow,
    whole,
    stream,
    put_together,
    error,
    frozenset(),
    content_type="application/x-ndjson",
)
