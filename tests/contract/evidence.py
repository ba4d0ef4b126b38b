"""Where a feature is to be found in what a vendor received, wire by wire. Written from the vendors' references, not from the adapters.

`FOUND`: it stands where the wire has it. `OTHERWISE`: another form of it, with one line that says which; its evidence is looked for too.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from features import (
    AFFINITY,
    ARGUMENTS,
    BUDGET,
    CUSTOM_TOOL,
    DOCUMENT,
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
    TURNS,
    UNKNOWN,
    USER,
    WAV,
)
from speaking import Json, at, objects, walk, words

from tokenrouter.sandbox.requests import Received


@dataclass(frozen=True)
class Sent:
    """What a simulated vendor received."""

    received: Received

    @property
    def raw(self) -> bytes:
        return self.received.body

    @cached_property
    def json(self) -> Json:
        return json.loads(self.raw)

    def at(self, path: str) -> Json:
        """The value at a dotted path."""
        return at(self.json, path)

    def all(self, key: str) -> list[Json]:
        """Every value under `key`."""
        return list(walk(self.json, key))

    @property
    def objects(self) -> list[dict[str, Json]]:
        return list(objects(self.json))

    @property
    def wire(self) -> str:
        """Which wire this was sent on, by its path."""
        path = self.received.path
        for end, wire in WIRES.items():
            if end in path:
                return wire
        raise AssertionError(f"no wire known for {path}")


WIRES = {
    "/chat/completions": "openai-chat",
    "/responses": "openai-responses",
    "/v1/messages": "anthropic-messages",
    "rawPredict": "anthropic-messages",
    "enerateContent": "gemini-generate",
    "/converse": "bedrock-converse",
    "/api/chat": "ollama-chat",
}
Found = Callable[[Sent], bool]


def texts(sent: Sent, items: Json, roles: tuple[str, ...], content: str = "content") -> list[str]:
    return [words(item.get(content)) for item in items or () if isinstance(item, dict) and item.get("role") in roles]


def same_turns(sent: Sent, items: Json, content: str = "content", model: str = "assistant") -> bool:
    said = [(item.get("role"), words(item.get(content))) for item in items or () if item.get("role") != "system"]
    return said == [(model if role == "assistant" else role, text) for role, text in TURNS]


def marked(sent: Sent, fields: tuple[str, ...], text: str, ttl: str | None = None) -> bool:
    """A mark stands on an object that begins with `text`."""
    for one in sent.objects:
        for field in fields:
            mark = one.get(field)
            if isinstance(mark, dict) and text in json.dumps(one)[:400] and (ttl is None or mark.get("ttl") == ttl):
                return True
    return False


def points(items: Json, holds: Callable[[Json], bool], ttl: str | None = None) -> bool:
    """A cachePoint stands right behind an element that `holds`."""
    for before, point in zip(items or (), (items or ())[1:], strict=False):
        if "cachePoint" in point and holds(before) and (ttl is None or point["cachePoint"].get("ttl") == ttl):
            return True
    return False


def told(said: list[str], pairs: tuple[tuple[bytes, str], ...]) -> bool:
    """Results in their order: the text itself, or the object that a client of a dialect with objects for results sent."""
    wanted = [result for _, result in pairs]
    return said == wanted or [text.replace(" ", "") for text in said] == [json.dumps({"output": one}).replace(" ", "") for one in wanted]


CHAT: Mapping[str, Found] = {
    "system": lambda sent: SYSTEM in texts(sent, sent.at("messages"), ("system", "developer")),
    "turns": lambda sent: same_turns(sent, sent.at("messages")),
    "mid_system": lambda sent: LATE_SYSTEM in texts(sent, sent.at("messages")[3:], ("system", "developer")),
    "temperature": lambda sent: sent.at("temperature") == TEMPERATURE,
    "top_p": lambda sent: sent.at("top_p") == TOP_P,
    "top_k": lambda sent: sent.at("top_k") == TOP_K,
    "seed": lambda sent: sent.at("seed") == SEED,
    "stop": lambda sent: sent.at("stop") in (STOP, [STOP]),
    "limit": lambda sent: LIMIT in (sent.at("max_completion_tokens"), sent.at("max_tokens")),
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
    "mark_hour": lambda sent: marked(sent, ("cache_control",), SYSTEM, "1h"),
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
    "mark_hour": lambda sent: marked(sent, ("cache_control",), SYSTEM, "1h"),
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


FOUND: Mapping[str, Mapping[str, Found]] = {
    "openai-chat": CHAT,
    "openai-responses": RESPONSES,
    "anthropic-messages": MESSAGES,
    "gemini-generate": GEMINI,
    "bedrock-converse": CONVERSE,
    "ollama-chat": OLLAMA,
}


def unmarked(sent: Sent) -> bool:
    """No mark of any spelling is left."""
    return not any(field.encode() in sent.raw for field in ('"cache_control"', '"prompt_cache_breakpoint"', '"cachePoint"'))


ANY_MARK = ("cache_control", "prompt_cache_breakpoint")
_ITSELF = "the provider caches by itself and takes no marks; the mark is taken out"
_NEAR = "marks stand on texts only here: the gateway marks the end of the system text instead"
_ITS_DEFAULT = "the provider has no such lifetime; the mark stands for its own default, so that nothing costs more than asked for"
_ROOT = "the provider has no such key; requests with one root go to one account by themselves"

_AS_ERROR = "the provider has no flag for it: the result's text begins with `Error: `"
_ATTACHED = "the provider takes text alone there: the image follows in a message of the user that names the call"
_AS_TEXT = "as text, with its title in front where it has one"
_IN_TEXT = "as text of the message"
_LEFT_OUT = "the provider has no tool choice: the tools are left out, so that none is called"
_AS_WORD = "the number becomes the next word of effort"


def attached(sent: Sent) -> bool:
    """The image stands in a message of the user right behind the results, which names the call."""
    *_, result, last = sent.at("messages")
    return PNG in json.dumps(last) and last["role"] == "user" and result["tool_call_id"] in words(last["content"])


OTHERWISE: Mapping[str, Mapping[str, tuple[tuple[Found, str], ...]]] = {
    "openai-chat": {
        "result_failed": ((lambda sent: f"Error: {RESULT}" in texts(sent, sent.at("messages"), ("tool",)), _AS_ERROR),),
        "result_image": ((attached, _ATTACHED),),
        "text_document": ((lambda sent: DOCUMENT in words(sent.at("messages")[-1]["content"]), _AS_TEXT),),
        "budget": ((lambda sent: sent.at("reasoning_effort") == "low", _AS_WORD),),
        "mark_system": ((unmarked, _ITSELF),),
        "mark_part": ((unmarked, _ITSELF),),
        "mark_hour": ((lambda sent: marked(sent, ANY_MARK, SYSTEM), _ITS_DEFAULT), (unmarked, _ITSELF)),
        "mark_tool": ((lambda sent: marked(sent, ANY_MARK, "words to make"), _NEAR), (unmarked, _ITSELF)),
        "affinity": ((lambda sent: True, _ROOT),),
    },
    "openai-responses": {},
    "anthropic-messages": {"affinity": ((lambda sent: True, _ROOT),)},
    "gemini-generate": {
        "affinity": ((lambda sent: True, _ROOT),),
        "text_document": ((lambda sent: DOCUMENT in words(sent.at("contents")[-1]), _AS_TEXT),),
        "mark_system": ((unmarked, _ITSELF),),
        "mark_part": ((unmarked, _ITSELF),),
        "mark_hour": ((unmarked, _ITSELF),),
        "mark_tool": ((unmarked, _ITSELF),),
    },
    "bedrock-converse": {"affinity": ((lambda sent: True, _ROOT),)},
    "ollama-chat": {
        "affinity": ((lambda sent: True, _ROOT),),
        "choice_none": ((lambda sent: not sent.at("tools"), _LEFT_OUT),),
        "result_failed": ((lambda sent: f"Error: {RESULT}" in texts(sent, sent.at("messages"), ("tool",)), _AS_ERROR),),
        "text_document": ((lambda sent: DOCUMENT in sent.at("messages")[-1]["content"], _IN_TEXT),),
        "mark_system": ((unmarked, _ITSELF),),
        "mark_part": ((unmarked, _ITSELF),),
        "mark_hour": ((unmarked, _ITSELF),),
        "mark_tool": ((unmarked, _ITSELF),),
    },
}
