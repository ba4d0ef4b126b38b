"""Writing a Responses answer: its output items, and the response object around them.

Source: the published `openai` SDK 3.52.0, types/responses/{response,response_output_item,response_usage}.py.
"""

from collections.abc import Callable

import msgspec
import xxhash

from tokenrouter.sandbox.answers import Answer, ToolCall
from tokenrouter.sandbox.openai_models import Model
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.responses_request import ResponsesRequest
from tokenrouter.sandbox.wire import JsonObject, JsonValue

Seal = Callable[[str, str, str, str], str]
"""From a thought's id and text, and the id and call id of the item after it, to its `encrypted_content`."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An answer on its way to items.

    seed     the prompt's fingerprint: the same prompt and words get the same ids
    custom   names of tools that take free text
    summary  how much of the thinking is shown: None, auto, concise or detailed
    phases   the model labels its messages
    """

    answer: Answer
    seed: int
    custom: frozenset[str]
    summary: JsonValue
    phases: bool
    seal: Seal


def output_items(draft: Draft) -> tuple[JsonObject, ...]:
    """The items of an answer: its thought, its message, its calls. The last one is incomplete if the answer was cut."""
    answer = draft.answer
    items: list[JsonObject] = []
    if answer.text or answer.refusal or not (answer.calls or answer.finish == "length"):
        items.append(_message(draft))
    items.extend(_call(draft, number, call) for number, call in enumerate(answer.calls))
    if answer.finish == "length" and items and "status" in items[-1]:
        items[-1]["status"] = "incomplete"
    if answer.thinking:
        items.insert(0, _reasoning(draft, items[0] if items else {}))
    return tuple(items)


def _identity(draft: Draft, prefix: str, *words: str) -> str:
    return f"{prefix}_{xxhash.xxh3_128_hexdigest('/'.join((str(draft.seed), prefix, *words)).encode())}"


def _message(draft: Draft) -> JsonObject:
    answer = draft.answer
    content: list[JsonValue] = []
    if answer.text or not answer.refusal:
        content.append({"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []})
    if answer.refusal:
        content.append({"type": "refusal", "refusal": answer.refusal})
    name = _identity(draft, "msg", answer.text, answer.refusal)
    item: JsonObject = {"id": name, "type": "message", "status": "completed", "role": "assistant", "content": content}
    if draft.phases:
        item["phase"] = "commentary" if answer.calls else "final_answer"
    return item


def _call(draft: Draft, number: int, call: ToolCall) -> JsonObject:
    named: JsonObject = {"call_id": _identity(draft, "call", str(number))[:29], "name": call.name}
    if call.name in draft.custom:
        return {"id": _identity(draft, "ctc", str(number), call.name, call.arguments), "type": "custom_tool_call", **named, "input": call.arguments}
    name = _identity(draft, "fc", str(number), call.name, call.arguments)
    return {"id": name, "type": "function_call", "status": "completed", **named, "arguments": call.arguments}


def _reasoning(draft: Draft, follower: JsonObject) -> JsonObject:
    thinking = draft.answer.thinking
    name = _identity(draft, "rs", thinking, str(follower.get("id")))
    shown = summary_parts(thinking, draft.summary)
    return {
        "id": name,
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": part} for part in shown],
        "encrypted_content": draft.seal(name, thinking, str(follower.get("id", "")), str(follower.get("call_id", ""))),
    }


def summary_parts(thinking: str, wanted: JsonValue) -> list[str]:
    """What is shown of a thought: its first sentence, or each sentence as a part of its own."""
    if wanted is None:
        return []
    sentences = [f"{sentence.rstrip('.')}." for sentence in thinking.split(". ")]
    return sentences if wanted == "detailed" else sentences[:1]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What surrounds the items."""

    response_id: str
    created: int
    request: ResponsesRequest
    model: Model
    removed: list[JsonValue]
    tier: str = ""
    diagnostics: JsonObject | None = None


def document(envelope: Envelope, status: str, output: tuple[JsonObject, ...] = (), usage: JsonObject | None = None) -> JsonObject:
    """The response object, as it stands while its status is `status`."""
    request, fields = envelope.request, envelope.request.fields
    result: JsonObject = {
        "id": envelope.response_id,
        "object": "response",
        "created_at": envelope.created,
        "status": status,
        "background": False,
        "completed_at": envelope.created if status == "completed" else None,
        "error": {"code": "server_error", "message": "The server had an error while processing your request."} if status == "failed" else None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": fields.get("instructions"),
        "max_output_tokens": request.limit,
        "max_tool_calls": fields.get("max_tool_calls"),
        "model": request.model,
        "output": list(output),
        "parallel_tool_calls": fields.get("parallel_tool_calls") is not False,
        "previous_response_id": request.previous,
        "prompt_cache_key": fields.get("prompt_cache_key"),
        "reasoning": _reasoning_echo(envelope),
        "safety_identifier": fields.get("safety_identifier"),
        "service_tier": envelope.tier or "default",
        "store": request.store,
        "temperature": fields.get("temperature", 1.0),
        "text": {"format": request.format, "verbosity": request.text.get("verbosity") or "medium"},
        "tool_choice": fields.get("tool_choice", "auto"),
        "tools": [_tool_echo(tool) for tool in request.tools],
        "top_logprobs": fields.get("top_logprobs") or 0,
        "top_p": fields.get("top_p", 1.0),
        "truncation": request.word("truncation", "disabled"),
        "usage": usage,
        "user": fields.get("user"),
        "metadata": fields.get("metadata") or {},
    }
    if envelope.model.breakpoints:
        result["prompt_cache_options"] = {"mode": request.caching.get("mode") or "implicit", "ttl": request.caching.get("ttl") or "30m"}
    if fields.get("prompt_cache_retention") is not None:
        result["prompt_cache_retention"] = fields["prompt_cache_retention"]
    if envelope.removed:
        result["input_transformations"] = envelope.removed
    if envelope.diagnostics is not None and status != "in_progress":
        result["prompt_cache_diagnostics"] = envelope.diagnostics
    return result


def _reasoning_echo(envelope: Envelope) -> JsonObject:
    if not envelope.model.reasons:
        return {"effort": None, "summary": None}
    asked = envelope.request.reasoning
    return {
        "effort": asked.get("effort") or "medium",
        "summary": envelope.request.summary,
        "context": reasoning_context(envelope.request, envelope.model),
    }


def reasoning_context(request: ResponsesRequest, model: Model) -> str:
    """Which thoughts the model is shown: all of them from gpt-5.6 on, else those of the current turn, unless the request says otherwise."""
    asked = request.reasoning.get("context")
    if asked in ("current_turn", "all_turns"):
        return str(asked)
    return "all_turns" if model.breakpoints else "current_turn"


def _tool_echo(tool: JsonObject) -> JsonObject:
    """Functions come back with their defaults: strict unless told otherwise."""
    if tool["type"] != "function":
        return tool
    return {"description": None, "parameters": None, **tool, "strict": tool.get("strict") is not False}


def usage_of(charge: Tokens, answer: Answer, model: Model) -> JsonObject:
    """Tokens as this wire reports them: the input total includes what was read from and written to the cache."""
    details: JsonObject = {"cached_tokens": charge.cache_read, "cache_write_tokens": charge.cache_write_30m + charge.cache_write_1h}
    if model.breakpoints:
        details["cache_write_tokens_details"] = {"ttl_30m_tokens": charge.cache_write_30m, "ttl_12h_tokens": charge.cache_write_1h}
    return {
        "input_tokens": charge.prompt,
        "input_tokens_details": details,
        "output_tokens": charge.output,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": charge.prompt + charge.output,
    }
