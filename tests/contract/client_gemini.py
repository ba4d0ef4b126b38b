"""Gemini's generateContent by hand: google-genai 3.4 `types.py`, ai.google.dev/api/generate-content."""

import json
from collections.abc import Mapping

from features import (
    ARGUMENTS,
    BUDGET,
    DOCUMENT_BASE64,
    FREQUENCY,
    IMAGE_URL,
    LIMIT,
    OTHER_ARGUMENTS,
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
    WAV,
)
from msgspec import Raw
from speaking import PADDING, Client, Json, Say, Seen, events, say

HELLO = {"role": "user", "parts": [{"text": "hello"}]}
MARK = {"cacheControl": {"type": "ephemeral"}}  # no word of this API: the gateway's own, for those who want marks at providers that take them


def declared(*names: str) -> Json:
    return [{"functionDeclarations": [{"name": name, "description": TOOL_TEXT, "parametersJsonSchema": Raw(SCHEMA)} for name in names]}]


def call(name: str = TOOL, arguments: bytes = ARGUMENTS) -> Json:
    return {"functionCall": {"name": name, "args": Raw(arguments)}}


def result(name: str = TOOL, response: Json = None, **more: Json) -> Json:
    return {"functionResponse": {"name": name, "response": response or {"output": RESULT}, **more}}


def loop(*results: Json) -> Json:
    return [HELLO, {"role": "model", "parts": [call()]}, {"role": "user", "parts": [*results]}]


def user(*parts: Json) -> Json:
    return [{"role": "user", "parts": [{"text": "look"}, *parts]}]


def inline(kind: str, data: str) -> Json:
    return {"inlineData": {"mimeType": kind, "data": data}}


def config(*names: str, **fields: Json) -> Say:
    return say(*(names or tuple(fields)), generationConfig=fields)


def choosing(**calling: Json) -> Json:
    return {"toolConfig": {"functionCallingConfig": calling}}


ONE_TOOL = {"tools": declared(TOOL)}
CHOICE = ("toolConfig", "functionCallingConfig")
SAYS = {
    "system": say("systemInstruction", systemInstruction={"parts": [{"text": SYSTEM}]}),
    "turns": say("contents", contents=[{"role": "model" if role == "assistant" else role, "parts": [{"text": text}]} for role, text in TURNS]),
    "temperature": config(temperature=TEMPERATURE),
    "top_p": config(topP=TOP_P),
    "top_k": config(topK=TOP_K),
    "seed": config(seed=SEED),
    "stop": config(stopSequences=[STOP]),
    "limit": config(maxOutputTokens=LIMIT),
    "n": config(candidateCount=2),
    "frequency_penalty": config(frequencyPenalty=FREQUENCY),
    "presence_penalty": config(presencePenalty=PRESENCE),
    "logprobs": config("responseLogprobs", "logprobs", responseLogprobs=True, logprobs=2),
    "tool": say("tools", **ONE_TOOL),
    "choice_none": say(*CHOICE, **ONE_TOOL, **choosing(mode="NONE")),
    "choice_required": say(*CHOICE, **ONE_TOOL, **choosing(mode="ANY")),
    "choice_named": say(*CHOICE, tools=declared(OTHER_TOOL, TOOL), **choosing(mode="ANY", allowedFunctionNames=[TOOL])),
    "loop": say("contents", **ONE_TOOL, contents=loop(result())),
    "results_two": say(
        "contents",
        tools=declared(TOOL, OTHER_TOOL),
        contents=[
            HELLO,
            {"role": "model", "parts": [call(), call(OTHER_TOOL, OTHER_ARGUMENTS)]},
            {"role": "user", "parts": [result(), result(OTHER_TOOL, {"output": OTHER_RESULT})]},
        ],
    ),
    "result_failed": say("functionResponse", "contents[2]", **ONE_TOOL, contents=loop(result(response={"error": RESULT}))),
    "result_image": say("functionResponse", "contents[2]", **ONE_TOOL, contents=loop(result(parts=[inline("image/png", PNG)]))),
    "result_pdf": say("functionResponse", "contents[2]", **ONE_TOOL, contents=loop(result(parts=[inline("application/pdf", PDF)]))),
    "server_tool": say("tools", "googleSearch", tools=[{"googleSearch": {}}]),
    "mark_system": say("cache_control", "cacheControl", systemInstruction={"parts": [{"text": SYSTEM + PADDING, **MARK}]}),
    "mark_part": say(
        "cache_control", "cacheControl", contents=[{"role": "user", "parts": [{"text": "MARKED " + PADDING, **MARK}, {"text": "and?"}]}]
    ),
    "image": say("inlineData", "contents[0]", contents=user(inline("image/png", PNG))),
    "image_url": say("fileData", "contents[0]", contents=user({"fileData": {"mimeType": "image/png", "fileUri": IMAGE_URL}})),
    "pdf": say("inlineData", "contents[0]", contents=user(inline("application/pdf", PDF))),
    "text_document": say("inlineData", "contents[0]", contents=user(inline("text/plain", DOCUMENT_BASE64))),
    "audio": say("inlineData", "contents[0]", contents=user(inline("audio/wav", WAV))),
    "schema": config(
        "responseJsonSchema", "responseSchema", "responseMimeType", responseMimeType="application/json", responseJsonSchema=Raw(STRICT_SCHEMA)
    ),
    "json_mode": config(responseMimeType="application/json"),
    "effort": config("thinkingConfig", thinkingConfig={"thinkingLevel": "HIGH"}),
    "budget": config("thinkingConfig", thinkingConfig={"thinkingBudget": BUDGET}, maxOutputTokens=20_000),
    "unknown": say(UNKNOWN, "unknownSentinel", **{UNKNOWN: UNKNOWN_VALUE}),
}


def path(model: str, stream: bool) -> str:
    return f"/v1beta/models/{model}:streamGenerateContent?alt=sse" if stream else f"/v1beta/models/{model}:generateContent"


def body(model: str, stream: bool) -> dict[str, Json]:
    return {"contents": [HELLO]}


def asks(reasoning: bool) -> Mapping[str, Json]:
    more = {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}} if reasoning else {}
    return {"tools": declared(TOOL, OTHER_TOOL), **more}


def grow(fields: Mapping[str, Json], answer: bytes, results: Mapping[str, tuple[str, str]]) -> Mapping[str, Json]:
    said = json.loads(answer)["candidates"][0]["content"]
    made = [part["functionCall"] for part in said["parts"] if "functionCall" in part]
    back = [
        result(name, {"output": text}, **({"id": one["id"]} if "id" in one else {})) for one, (name, text) in zip(made, results.values(), strict=True)
    ] or [{"text": "and now?"}]
    return {**fields, "contents": [*fields.get("contents", [HELLO]), said, {"role": "user", "parts": back}]}


ENDS = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}


def chunk(seen: Seen, said: Json) -> None:
    """Take in one GenerateContentResponse."""
    for candidate in said.get("candidates") or ():
        if candidate.get("index", 0):
            seen.choices = max(seen.choices, candidate["index"] + 1)
            continue
        for part in (candidate.get("content") or {}).get("parts") or ():
            if "functionCall" in part:
                made = part["functionCall"]
                seen.calls.append((made.get("id") or f"{len(seen.calls)}", made["name"], json.dumps(made.get("args") or {})))
            elif part.get("thought"):
                seen.reasoning += part.get("text", "")
            else:
                seen.text += part.get("text", "")
        if candidate.get("finishReason"):
            seen.end = ENDS[candidate["finishReason"]]
    if seen.end == "stop" and seen.calls:
        seen.end = "tool_calls"
    usage = said.get("usageMetadata")
    if usage and "promptTokenCount" in usage:
        seen.prompt, seen.cached = usage["promptTokenCount"], usage.get("cachedContentTokenCount")
        seen.output = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
        seen.reasoned = usage.get("thoughtsTokenCount")


def whole(raw: bytes) -> Seen:
    seen = Seen(closed=True)
    chunk(seen, json.loads(raw))
    return seen


def stream(raw: bytes) -> Seen:
    seen = Seen()
    for event in events(raw):
        if "error" in event:
            seen.failed = event["error"]["message"]
            assert set(event["error"]) >= {"code", "message", "status"}
            continue
        assert seen.end is None or not event.get("candidates"), "something after the finish reason"
        chunk(seen, event)
    seen.closed = seen.end is not None and seen.failed is None
    return seen


def put_together(raw: bytes) -> bytes:
    parts = [
        part for event in events(raw) for candidate in event.get("candidates") or () for part in (candidate.get("content") or {}).get("parts") or ()
    ]
    return json.dumps({"candidates": [{"content": {"role": "model", "parts": parts}}]}).encode()


def error(raw: bytes) -> tuple[str, str]:
    said = json.loads(raw)["error"]
    assert isinstance(said["code"], int)
    assert said["status"].isupper()
    return said["message"], ""


CLIENT = Client("gemini-generate", path, body, SAYS, asks, grow, whole, stream, put_together, error, frozenset(("cached", "reasoned")))
