"""Writing a generateContent answer: one document, server-sent events, or one JSON array that grows."""

import msgspec

from tokenrouter.sandbox.answers import Answer, pieces
from tokenrouter.sandbox.gemini_engine import Read
from tokenrouter.sandbox.gemini_request import GenerateRequest
from tokenrouter.sandbox.openai import call_ids
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import text_tokens
from tokenrouter.sandbox.tiers import served
from tokenrouter.sandbox.wire import JSON_HEADERS, SSE_HEADERS, Call, Frame, JsonObject, JsonValue, Prepared, encode, sse

_OVERLOADED: JsonObject = {"error": {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}}

_FINISH = {"stop": "STOP", "stop_sequence": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


def reply(call: Call, request: GenerateRequest, read: Read, answer: Answer, *, signature: str | None, form: str) -> Prepared:
    """The answer. `form`: whole, sse or array; `signature` of None: this model signs nothing."""
    tokens = msgspec.structs.replace(read.tokens, output=answer.output_tokens)
    shows = request.thinking.get("includeThoughts") is True
    steps = _steps(answer, call_ids(read.seed, (answer,))[0], signature, shows=shows)
    tier = served(read.model, request.tier)
    head: JsonObject = {"modelVersion": read.model, "responseId": f"sandbox-{call.number:016x}"}
    if form == "whole":
        parts: list[JsonValue] = [*_joined([part for part, _ in steps])]
        usage = None if call.omit_usage else _usage(tokens, tokens.output, answer, tier)
        frames: tuple[Frame, ...] = (Frame(encode(_document(head, parts, _FINISH[answer.finish], usage)), tokens.output),)
    else:
        frames = _stream(head, steps, answer, tokens, tier, omit_usage=call.omit_usage, as_sse=form == "sse")
    return Prepared(
        frames=frames,
        streams=form != "whole",
        model=read.model,
        charge=tokens,
        tier=tier,
        headers=SSE_HEADERS if form == "sse" else JSON_HEADERS,
        on_start=read.store,
        broken=sse(_OVERLOADED) if form == "sse" else b",\r\n" + encode(_OVERLOADED) + b"]",
        framed=_event if form == "sse" else _element,
    )


def _event(garbage: bytes) -> bytes:
    return b"data: " + garbage + b"\r\n\r\n"


def _element(garbage: bytes) -> bytes:
    return b",\r\n" + garbage + b"\n"


def _steps(answer: Answer, ids: tuple[str, ...], signature: str | None, *, shows: bool) -> list[tuple[JsonObject, int]]:
    """The parts of an answer as a stream delivers them, each with the tokens produced up to it."""
    steps: list[tuple[JsonObject, int]] = []
    base = answer.reasoning_tokens
    if shows and answer.thinking:
        steps.append(({"text": answer.thinking, "thought": True}, base))
    said = ""
    for piece in pieces(answer.text):
        said += piece
        steps.append(({"text": piece}, base + text_tokens(said)))
    for number, call in enumerate(answer.calls):
        part: JsonObject = {"functionCall": {"name": call.name, "args": _arguments(call.arguments)}}
        if signature is not None:
            part = {"functionCall": {"id": ids[number], "name": call.name, "args": _arguments(call.arguments)}}
            if number == 0:
                part["thoughtSignature"] = signature
        steps.append((part, answer.output_tokens))
    if signature is not None and not answer.calls and answer.thinking:
        steps.append(({"text": "", "thoughtSignature": signature}, answer.output_tokens))
    return steps


def _arguments(text: str) -> JsonValue:
    try:
        value: JsonValue = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return value


def _joined(parts: list[JsonObject]) -> list[JsonObject]:
    """Neighbouring text parts as one, as a plain answer has them."""
    joined: list[JsonObject] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last is not None and part.keys() - {"thoughtSignature"} == {"text"} and last.keys() == {"text"}:
            joined[-1] = {**last, **part, "text": f"{last['text']}{part['text']}"}
        else:
            joined.append(part)
    return joined


def _document(head: JsonObject, parts: list[JsonValue], finish: str | None, usage: JsonObject | None) -> JsonObject:
    candidate: JsonObject = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    document: JsonObject = {"candidates": [candidate]}
    if usage is not None:
        document["usageMetadata"] = usage
    return {**document, **head}


def _usage(tokens: Tokens, produced: int, answer: Answer, tier: str) -> JsonObject:
    thoughts = min(answer.reasoning_tokens, produced)
    usage: JsonObject = {
        "promptTokenCount": tokens.prompt,
        "candidatesTokenCount": produced - thoughts,
        "totalTokenCount": tokens.prompt + produced,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens.prompt}],
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if tokens.cache_read:
        usage["cachedContentTokenCount"] = tokens.cache_read
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens.cache_read}]
    if tier:
        usage["serviceTier"] = tier
    return usage


def _stream(
    head: JsonObject, steps: list[tuple[JsonObject, int]], answer: Answer, tokens: Tokens, tier: str, *, omit_usage: bool, as_sse: bool
) -> tuple[Frame, ...]:
    steps = steps or [({"text": ""}, tokens.output)]
    frames: list[Frame] = []
    for number, (part, produced) in enumerate(steps):
        last = number == len(steps) - 1
        produced = tokens.output if last else produced
        usage = None if omit_usage else _usage(tokens, produced, answer, tier)
        data = encode(_document(head, [part], _FINISH[answer.finish] if last else None, usage))
        data = b"data: " + data + b"\r\n\r\n" if as_sse else (b"[" if number == 0 else b",\r\n") + data + (b"]" if last else b"\n")
        frames.append(Frame(data, produced))
    return tuple(frames)
