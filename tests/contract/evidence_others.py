"""Features on the wires of Gemini and Ollama."""

import json
from collections.abc import Mapping

from features import (
    ARGUMENTS,
    BUDGET,
    DOCUMENT_BASE64,
    FREQUENCY,
    IMAGE_URL,
    LATE_SYSTEM,
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
    UNKNOWN,
    USER,
    WAV,
)
from sent import Found, Sent, same_turns, texts, told
from speaking import Json, words

GEMINI: Mapping[str, Found] = {
    "system": lambda sent: words(sent.at("systemInstruction")) == SYSTEM,
    "turns": lambda sent: same_turns(sent, sent.at("contents"), "parts", "model"),
    "temperature": lambda sent: sent.at("generationConfig.temperature") == TEMPERATURE,
    "top_p": lambda sent: sent.at("generationConfig.topP") == TOP_P,
    "top_k": lambda sent: sent.at("generationConfig.topK") == TOP_K,
    "seed": lambda sent: sent.at("generationConfig.seed") == SEED,
    "stop": lambda sent: sent.at("generationConfig.stopSequences") == [STOP],
    "limit": lambda sent: sent.at("generationConfig.maxOutputTokens") == LIMIT,
    "n": lambda sent: sent.at("generationConfig.candidateCount") == 2,
    "frequency_penalty": lambda sent: sent.at("generationConfig.frequencyPenalty") == FREQUENCY,
    "presence_penalty": lambda sent: sent.at("generationConfig.presencePenalty") == PRESENCE,
    "logprobs": lambda sent: sent.at("generationConfig.responseLogprobs") is True and sent.at("generationConfig.logprobs") == 2,
    "tool": lambda sent: [(t["name"], t["description"]) for t in declarations(sent)] == [(TOOL, TOOL_TEXT)] and SCHEMA in sent.raw,
    "choice_none": lambda sent: sent.at("toolConfig.functionCallingConfig.mode") == "NONE" and bool(declarations(sent)),
    "choice_required": lambda sent: sent.at("toolConfig.functionCallingConfig.mode") == "ANY",
    "choice_named": lambda sent: sent.at("toolConfig.functionCallingConfig.allowedFunctionNames") == [TOOL] and len(declarations(sent)) == 2,
    "loop": lambda sent: part_results(sent, (ARGUMENTS, RESULT)),
    "results_two": lambda sent: part_results(sent, (ARGUMENTS, RESULT), (OTHER_ARGUMENTS, OTHER_RESULT)),
    "result_failed": lambda sent: any("error" in o.get("response", {}) for o in sent.all("functionResponse")),
    "result_image": lambda sent: any(PNG in json.dumps(o.get("parts")) for o in sent.all("functionResponse")),
    "result_pdf": lambda sent: any(PDF in json.dumps(o.get("parts")) for o in sent.all("functionResponse")),
    "server_tool": lambda sent: {} in sent.all("googleSearch"),
    "image": lambda sent: PNG in sent.all("data") and "image/png" in sent.all("mimeType"),
    "image_url": lambda sent: IMAGE_URL in sent.all("fileUri"),
    "pdf": lambda sent: PDF in sent.all("data") and "application/pdf" in sent.all("mimeType"),
    "text_document": lambda sent: DOCUMENT_BASE64 in sent.all("data") and "text/plain" in sent.all("mimeType"),
    "audio": lambda sent: WAV in sent.all("data") and "audio/wav" in sent.all("mimeType"),
    "schema": lambda sent: sent.at("generationConfig.responseMimeType") == "application/json" and STRICT_SCHEMA in sent.raw,
    "json_mode": lambda sent: sent.at("generationConfig.responseMimeType") == "application/json",
    "effort": lambda sent: str(sent.at("generationConfig.thinkingConfig.thinkingLevel")).lower() == "high",
    "budget": lambda sent: sent.at("generationConfig.thinkingConfig.thinkingBudget") == BUDGET,
    "user": lambda sent: USER in sent.all("user"),
    "unknown": lambda sent: UNKNOWN in sent.json,
}


def declarations(sent: Sent) -> list[Json]:
    return [item for found in sent.all("functionDeclarations") for item in found]


def part_results(sent: Sent, *pairs: tuple[bytes, str]) -> bool:
    """The same with parts: results are bound by name and order, and by id where there is one."""
    calls, results = sent.all("functionCall"), sent.all("functionResponse")
    return (
        all(arguments in sent.raw for arguments, _ in pairs)
        and [o["args"] for o in calls] == [json.loads(a) for a, _ in pairs]
        and [RESULT if RESULT in json.dumps(o) else OTHER_RESULT if OTHER_RESULT in json.dumps(o) else "" for o in results] == [r for _, r in pairs]
        and [(o.get("id"), o["name"]) for o in calls] == [(o.get("id"), o["name"]) for o in results]
        and [o["name"] for o in calls] == [TOOL, OTHER_TOOL][: len(pairs)]
    )


OLLAMA: Mapping[str, Found] = {
    "system": lambda sent: SYSTEM in texts(sent, sent.at("messages"), ("system",)),
    "turns": lambda sent: same_turns(sent, sent.at("messages")),
    "mid_system": lambda sent: LATE_SYSTEM in texts(sent, sent.at("messages")[3:], ("system",)),
    "temperature": lambda sent: sent.at("options.temperature") == TEMPERATURE,
    "top_p": lambda sent: sent.at("options.top_p") == TOP_P,
    "top_k": lambda sent: sent.at("options.top_k") == TOP_K,
    "seed": lambda sent: sent.at("options.seed") == SEED,
    "stop": lambda sent: sent.at("options.stop") in (STOP, [STOP]),
    "limit": lambda sent: sent.at("options.num_predict") == LIMIT,
    "frequency_penalty": lambda sent: sent.at("options.frequency_penalty") == FREQUENCY,
    "presence_penalty": lambda sent: sent.at("options.presence_penalty") == PRESENCE,
    "logprobs": lambda sent: sent.at("logprobs") is True and sent.at("top_logprobs") == 2,
    "tool": lambda sent: (
        [(t["function"]["name"], t["function"]["description"]) for t in sent.at("tools")] == [(TOOL, TOOL_TEXT)] and SCHEMA in sent.raw
    ),
    "loop": lambda sent: ollama_results(sent, (ARGUMENTS, RESULT)),
    "results_two": lambda sent: ollama_results(sent, (ARGUMENTS, RESULT), (OTHER_ARGUMENTS, OTHER_RESULT)),
    "image": lambda sent: [PNG] in sent.all("images"),
    "result_image": lambda sent: any(PNG in (m.get("images") or ()) for m in sent.at("messages") if m["role"] == "tool"),
    "schema": lambda sent: isinstance(sent.at("format"), dict) and STRICT_SCHEMA in sent.raw,
    "json_mode": lambda sent: sent.at("format") == "json",
    "effort": lambda sent: sent.at("think") == "high",
    "unknown": lambda sent: UNKNOWN in sent.json,
}


OLLAMA_GENERATE: Mapping[str, Found] = {
    **{name: OLLAMA[name] for name in ("temperature", "top_p", "top_k", "seed", "stop", "limit", "frequency_penalty", "presence_penalty")},
    **{name: OLLAMA[name] for name in ("logprobs", "schema", "json_mode", "effort", "unknown")},
    "system": lambda sent: sent.at("system") == SYSTEM,
    "image": lambda sent: sent.at("images") == [PNG],
}


def ollama_results(sent: Sent, *pairs: tuple[bytes, str]) -> bool:
    """The same where calls have no ids on the wire: bound by the tool's name and by order."""
    calls = [c["function"] for found in sent.all("tool_calls") for c in found]
    results = [m for m in sent.at("messages") if m["role"] == "tool"]
    return (
        all(arguments in sent.raw for arguments, _ in pairs)
        and [c["arguments"] for c in calls] == [json.loads(a) for a, _ in pairs]
        and told([m["content"] for m in results], pairs)
        and [m.get("tool_name") for m in results] == [c["name"] for c in calls]
    )
