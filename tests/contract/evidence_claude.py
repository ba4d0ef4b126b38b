"""Features on the wires that Claude is asked on: Messages and Bedrock Converse."""

import json
from collections.abc import Mapping

from features import (
    ARGUMENTS,
    BUDGET,
    DOCUMENT,
    DOCUMENT_BASE64,
    IMAGE_URL,
    LATE_SYSTEM,
    LIMIT,
    OTHER_ARGUMENTS,
    OTHER_RESULT,
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
    UNKNOWN,
    USER,
)
from sent import Found, Sent, marked, points, same_turns, texts, told
from speaking import words

MESSAGES: Mapping[str, Found] = {
    "system": lambda sent: words(sent.at("system")) == SYSTEM,
    "turns": lambda sent: same_turns(sent, sent.at("messages")),
    "mid_system": lambda sent: LATE_SYSTEM in texts(sent, sent.at("messages")[3:], ("system",)),
    "temperature": lambda sent: sent.at("temperature") == TEMPERATURE,
    "top_p": lambda sent: sent.at("top_p") == TOP_P,
    "top_k": lambda sent: sent.at("top_k") == TOP_K,
    "stop": lambda sent: sent.at("stop_sequences") == [STOP],
    "limit": lambda sent: sent.at("max_tokens") == LIMIT,
    "tool": lambda sent: [(t["name"], t["description"]) for t in sent.at("tools")] == [(TOOL, TOOL_TEXT)] and SCHEMA in sent.raw,
    "choice_none": lambda sent: sent.at("tool_choice.type") == "none" and bool(sent.at("tools")),
    "choice_required": lambda sent: sent.at("tool_choice.type") == "any",
    "choice_named": lambda sent: sent.at("tool_choice") == {"type": "tool", "name": TOOL} and len(sent.at("tools")) == 2,
    "one_call": lambda sent: sent.at("tool_choice.disable_parallel_tool_use") is True,
    "loop": lambda sent: block_results(sent, (ARGUMENTS, RESULT)),
    "results_two": lambda sent: block_results(sent, (ARGUMENTS, RESULT), (OTHER_ARGUMENTS, OTHER_RESULT)),
    "result_failed": lambda sent: any(o.get("type") == "tool_result" and o.get("is_error") is True for o in sent.objects),
    "result_image": lambda sent: any(PNG in json.dumps(o) for o in sent.objects if o.get("type") == "tool_result"),
    "result_pdf": lambda sent: any(PDF in json.dumps(o) for o in sent.objects if o.get("type") == "tool_result"),
    "image": lambda sent: {"type": "base64", "media_type": "image/png", "data": PNG} in sent.all("source"),
    "image_url": lambda sent: {"type": "url", "url": IMAGE_URL} in sent.all("source"),
    "pdf": lambda sent: {"type": "base64", "media_type": "application/pdf", "data": PDF} in sent.all("source"),
    "text_document": lambda sent: {"type": "text", "media_type": "text/plain", "data": DOCUMENT} in sent.all("source"),
    "schema": lambda sent: sent.at("output_config.format.type") == "json_schema" and STRICT_SCHEMA in sent.raw,
    "effort": lambda sent: sent.at("output_config.effort") == "high",
    "budget": lambda sent: sent.at("thinking.budget_tokens") == BUDGET,
    "mark_system": lambda sent: marked(sent, ("cache_control",), SYSTEM),
    "mark_tool": lambda sent: any(t.get("cache_control") for t in sent.at("tools")),
    "mark_part": lambda sent: marked(sent, ("cache_control",), "MARKED"),
    "mark_message": lambda sent: marked(sent, ("cache_control",), "MARKED"),
    "mark_result": lambda sent: any("cache_control" in json.dumps(o) for o in sent.objects if o.get("type") == "tool_result"),
    "mark_auto": lambda sent: sent.at("cache_control") == {"type": "ephemeral"},
    "mark_hour": lambda sent: marked(sent, ("cache_control",), SYSTEM, "1h"),
    "server_tool": lambda sent: any(t.get("type", "").startswith("web_search_") for t in sent.at("tools") or ()),
    "citations": lambda sent: {"enabled": True} in sent.all("citations") and DOCUMENT in sent.all("data"),
    "user": lambda sent: sent.at("metadata.user_id") == USER,
    "unknown": lambda sent: UNKNOWN in sent.json,
}


def block_results(sent: Sent, *pairs: tuple[bytes, str]) -> bool:
    """The same with blocks: arguments are slices of the body."""
    uses = [o for o in sent.objects if o.get("type") == "tool_use"]
    results = [o for o in sent.objects if o.get("type") == "tool_result"]
    return (
        all(arguments in sent.raw for arguments, _ in pairs)
        and [o["input"] for o in uses] == [json.loads(a) for a, _ in pairs]
        and told([words(o["content"]) for o in results], pairs)
        and [o["id"] for o in uses] == [o["tool_use_id"] for o in results]
    )


CONVERSE: Mapping[str, Found] = {
    "system": lambda sent: words(sent.at("system")) == SYSTEM,
    "turns": lambda sent: same_turns(sent, sent.at("messages")),
    "mid_system": lambda sent: LATE_SYSTEM in texts(sent, sent.at("messages")[3:], ("system",)),
    "temperature": lambda sent: sent.at("inferenceConfig.temperature") == TEMPERATURE,
    "top_p": lambda sent: sent.at("inferenceConfig.topP") == TOP_P,
    "top_k": lambda sent: sent.at("additionalModelRequestFields.top_k") == TOP_K,
    "stop": lambda sent: sent.at("inferenceConfig.stopSequences") == [STOP],
    "limit": lambda sent: sent.at("inferenceConfig.maxTokens") == LIMIT,
    "tool": lambda sent: [(t["name"], t["description"]) for t in sent.all("toolSpec")] == [(TOOL, TOOL_TEXT)] and SCHEMA in sent.raw,
    "choice_required": lambda sent: "any" in (sent.at("toolConfig.toolChoice") or ()),
    "choice_named": lambda sent: sent.at("toolConfig.toolChoice.tool.name") == TOOL and len(sent.all("toolSpec")) == 2,
    "one_call": lambda sent: True in sent.all("disable_parallel_tool_use"),
    "loop": lambda sent: converse_results(sent, (ARGUMENTS, RESULT)),
    "results_two": lambda sent: converse_results(sent, (ARGUMENTS, RESULT), (OTHER_ARGUMENTS, OTHER_RESULT)),
    "result_failed": lambda sent: "error" in [o.get("status") for o in sent.all("toolResult")],
    "result_image": lambda sent: any(PNG in json.dumps(o) for o in sent.all("toolResult")),
    "result_pdf": lambda sent: any(PDF in json.dumps(o) for o in sent.all("toolResult")),
    "image": lambda sent: {"format": "png", "source": {"bytes": PNG}} in sent.all("image"),
    "pdf": lambda sent: any(o["format"] == "pdf" and o["source"] == {"bytes": PDF} for o in sent.all("document")),
    "text_document": lambda sent: any(
        o["format"] == "txt" and o["source"] in ({"bytes": DOCUMENT_BASE64}, {"text": DOCUMENT}) for o in sent.all("document")
    ),
    "schema": lambda sent: STRICT_SCHEMA.decode() in sent.all("schema"),
    "effort": lambda sent: "high" in sent.all("effort"),
    "budget": lambda sent: BUDGET in sent.all("budget_tokens"),
    "mark_system": lambda sent: points(sent.at("system"), lambda block: SYSTEM in block.get("text", "")),
    "mark_tool": lambda sent: points(sent.at("toolConfig.tools"), lambda block: "toolSpec" in block),
    "mark_part": lambda sent: any(points(m["content"], lambda block: "MARKED" in block.get("text", "")) for m in sent.at("messages")),
    "mark_message": lambda sent: any(points(m["content"], lambda block: "MARKED" in block.get("text", "")) for m in sent.at("messages")),
    "mark_result": lambda sent: any(points(m["content"], lambda block: "toolResult" in block) for m in sent.at("messages")),
    "mark_auto": lambda sent: "cachePoint" in sent.at("messages")[-1]["content"][-1],
    "citations": lambda sent: {"enabled": True} in sent.all("citations"),
    "mark_hour": lambda sent: points(sent.at("system"), lambda block: SYSTEM in block.get("text", ""), "1h"),
    "user": lambda sent: USER in list((sent.at("requestMetadata") and sent.at("requestMetadata").values()) or ()),
}


def converse_results(sent: Sent, *pairs: tuple[bytes, str]) -> bool:
    """The same with Converse's blocks."""
    uses, results = sent.all("toolUse"), sent.all("toolResult")
    return (
        all(arguments in sent.raw for arguments, _ in pairs)
        and [o["input"] for o in uses] == [json.loads(a) for a, _ in pairs]
        and told([words(o["content"]) for o in results], pairs)
        and [o["toolUseId"] for o in uses] == [o["toolUseId"] for o in results]
    )
