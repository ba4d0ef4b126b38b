"""Features on the wires of OpenAI: Chat Completions and Responses."""

import json
from collections.abc import Mapping

from features import (
    AFFINITY,
    ARGUMENTS,
    CUSTOM_TOOL,
    DOCUMENT_BASE64,
    FREQUENCY,
    IMAGE_URL,
    LATE_SYSTEM,
    LIMIT,
    OTHER_ARGUMENTS,
    OTHER_RESULT,
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
from sent import Found, Sent, marked, same_turns, texts, told
from speaking import words

CHAT: Mapping[str, Found] = {
    "system": lambda sent: SYSTEM in texts(sent, sent.at("messages"), ("system", "developer")),
    "turns": lambda sent: same_turns(sent, sent.at("messages")),
    "mid_system": lambda sent: LATE_SYSTEM in texts(sent, sent.at("messages")[3:], ("system", "developer")),
    "temperature": lambda sent: sent.at("temperature") == TEMPERATURE,
    "top_p": lambda sent: sent.at("top_p") == TOP_P,
    "top_k": lambda sent: sent.at("top_k") == TOP_K,
    "seed": lambda sent: sent.at("seed") == SEED,
    "stop": lambda sent: sent.at("stop") in (STOP, [STOP]),
    "limit": lambda sent: sent.at("max_completion_tokens" if sent.received.vendor in ("openai", "gemini") else "max_tokens") == LIMIT,
    "n": lambda sent: sent.at("n") == 2,
    "frequency_penalty": lambda sent: sent.at("frequency_penalty") == FREQUENCY,
    "presence_penalty": lambda sent: sent.at("presence_penalty") == PRESENCE,
    "logprobs": lambda sent: sent.at("logprobs") is True and sent.at("top_logprobs") == 2,
    "tool": lambda sent: (
        [(t["function"]["name"], t["function"]["description"]) for t in sent.at("tools")] == [(TOOL, TOOL_TEXT)] and SCHEMA in sent.raw
    ),
    "choice_none": lambda sent: sent.at("tool_choice") == "none" and bool(sent.at("tools")),
    "choice_required": lambda sent: sent.at("tool_choice") == "required",
    "choice_named": lambda sent: sent.at("tool_choice.function.name") == TOOL and len(sent.at("tools")) == 2,
    "one_call": lambda sent: sent.at("parallel_tool_calls") is False,
    "custom_tool": lambda sent: any(t.get("type") == "custom" and t["custom"]["name"] == CUSTOM_TOOL for t in sent.at("tools")),
    "loop": lambda sent: chat_results(sent, (ARGUMENTS, RESULT)),
    "results_two": lambda sent: chat_results(sent, (ARGUMENTS, RESULT), (OTHER_ARGUMENTS, OTHER_RESULT)),
    "image": lambda sent: f"data:image/png;base64,{PNG}" in sent.all("url") and sent.at("messages")[-1]["role"] == "user",
    "image_url": lambda sent: IMAGE_URL in sent.all("url"),
    "pdf": lambda sent: f"data:application/pdf;base64,{PDF}" in sent.all("file_data"),
    "text_document": lambda sent: f"data:text/plain;base64,{DOCUMENT_BASE64}" in sent.all("file_data"),
    "audio": lambda sent: {"data": WAV, "format": "wav"} in sent.all("input_audio"),
    "schema": lambda sent: sent.at("response_format.type") == "json_schema" and STRICT_SCHEMA in sent.raw,
    "json_mode": lambda sent: sent.at("response_format.type") == "json_object",
    "effort": lambda sent: sent.at("reasoning_effort") == "high",
    "mark_system": lambda sent: marked(sent, ("prompt_cache_breakpoint", "cache_control"), SYSTEM),
    "mark_part": lambda sent: marked(sent, ("prompt_cache_breakpoint", "cache_control"), "MARKED"),
    "mark_message": lambda sent: marked(sent, ("prompt_cache_breakpoint", "cache_control"), "MARKED"),
    "mark_result": lambda sent: marked(sent, ("prompt_cache_breakpoint", "cache_control"), RESULT),
    "mark_hour": lambda sent: marked(sent, ("cache_control",), SYSTEM, "1h"),
    "mark_long": lambda sent: marked(sent, ("prompt_cache_breakpoint",), SYSTEM, "12h"),
    "cache_options": lambda sent: sent.at("prompt_cache_options") == {"ttl": "30m"},
    "server_tool": lambda sent: sent.at("web_search_options") == {},
    "affinity": lambda sent: sent.at("prompt_cache_key") == AFFINITY,
    "user": lambda sent: USER in (sent.at("user"), sent.at("safety_identifier")),
    "unknown": lambda sent: UNKNOWN in sent.json,
}


def chat_results(sent: Sent, *pairs: tuple[bytes, str]) -> bool:
    """Calls with their arguments to the byte, each answered under its id, in order."""
    calls = [(c["id"], c["function"]["arguments"]) for found in sent.all("tool_calls") for c in found]
    results = [(m["tool_call_id"], words(m["content"])) for m in sent.at("messages") if m["role"] == "tool"]
    return (
        [a for _, a in calls] == [a.decode() for a, _ in pairs]
        and told([r for _, r in results], pairs)
        and [i for i, _ in calls] == [i for i, _ in results]
    )


RESPONSES: Mapping[str, Found] = {
    "system": lambda sent: words(sent.at("instructions")) == SYSTEM or SYSTEM in texts(sent, sent.at("input"), ("system", "developer")),
    "turns": lambda sent: same_turns(sent, sent.at("input")),
    "mid_system": lambda sent: LATE_SYSTEM in texts(sent, sent.at("input")[3:], ("system", "developer")),
    "temperature": lambda sent: sent.at("temperature") == TEMPERATURE,
    "top_p": lambda sent: sent.at("top_p") == TOP_P,
    "limit": lambda sent: sent.at("max_output_tokens") == LIMIT,
    "logprobs": lambda sent: sent.at("top_logprobs") == 2 and "message.output_text.logprobs" in (sent.at("include") or ()),
    "tool": lambda sent: [(t["name"], t["description"]) for t in sent.at("tools")] == [(TOOL, TOOL_TEXT)] and SCHEMA in sent.raw,
    "choice_none": lambda sent: sent.at("tool_choice") == "none" and bool(sent.at("tools")),
    "choice_required": lambda sent: sent.at("tool_choice") == "required",
    "choice_named": lambda sent: sent.at("tool_choice") == {"type": "function", "name": TOOL} and len(sent.at("tools")) == 2,
    "one_call": lambda sent: sent.at("parallel_tool_calls") is False,
    "custom_tool": lambda sent: any(t.get("type") == "custom" and t["name"] == CUSTOM_TOOL for t in sent.at("tools")),
    "loop": lambda sent: item_results(sent, (ARGUMENTS, RESULT)),
    "results_two": lambda sent: item_results(sent, (ARGUMENTS, RESULT), (OTHER_ARGUMENTS, OTHER_RESULT)),
    "result_image": lambda sent: any(PNG in json.dumps(o.get("output")) for o in sent.objects if o.get("type") == "function_call_output"),
    "result_pdf": lambda sent: any(PDF in json.dumps(o.get("output")) for o in sent.objects if o.get("type") == "function_call_output"),
    "image": lambda sent: f"data:image/png;base64,{PNG}" in sent.all("image_url"),
    "image_url": lambda sent: IMAGE_URL in sent.all("image_url"),
    "pdf": lambda sent: f"data:application/pdf;base64,{PDF}" in sent.all("file_data"),
    "text_document": lambda sent: f"data:text/plain;base64,{DOCUMENT_BASE64}" in sent.all("file_data"),
    "audio": lambda sent: WAV in sent.all("data"),
    "schema": lambda sent: sent.at("text.format.type") == "json_schema" and STRICT_SCHEMA in sent.raw,
    "json_mode": lambda sent: sent.at("text.format.type") == "json_object",
    "effort": lambda sent: sent.at("reasoning.effort") == "high",
    "mark_system": lambda sent: marked(sent, ("prompt_cache_breakpoint",), SYSTEM),
    "mark_part": lambda sent: marked(sent, ("prompt_cache_breakpoint",), "MARKED"),
    "mark_message": lambda sent: marked(sent, ("prompt_cache_breakpoint",), "MARKED"),
    "mark_result": lambda sent: marked(sent, ("prompt_cache_breakpoint",), RESULT),
    "mark_long": lambda sent: marked(sent, ("prompt_cache_breakpoint",), SYSTEM, "12h"),
    "cache_options": lambda sent: sent.at("prompt_cache_options") == {"ttl": "30m"},
    "server_tool": lambda sent: {"type": "web_search"} in (sent.at("tools") or ()),
    "affinity": lambda sent: sent.at("prompt_cache_key") == AFFINITY,
    "user": lambda sent: USER in (sent.at("user"), sent.at("safety_identifier")),
    "unknown": lambda sent: UNKNOWN in sent.json,
}


def item_results(sent: Sent, *pairs: tuple[bytes, str]) -> bool:
    """The same with items."""
    calls = [o for o in sent.objects if o.get("type") == "function_call"]
    results = [o for o in sent.objects if o.get("type") == "function_call_output"]
    return (
        [o["arguments"] for o in calls] == [a.decode() for a, _ in pairs]
        and told([words(o["output"]) for o in results], pairs)
        and [o["call_id"] for o in calls] == [o["call_id"] for o in results]
    )
