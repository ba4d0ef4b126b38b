"""Reading a Responses request: every field by name and type, then what the model at hand does not take.

Source: the published `openai` SDK 3.52.0, types/responses/response_create_params.py;
https://developers.openai.com/api/reference/resources/responses.
"""

import msgspec

from tokenrouter.sandbox.chat_request import invalid
from tokenrouter.sandbox.openai_models import Model
from tokenrouter.sandbox.openai_shapes import (
    Checks,
    anything,
    boolean,
    by_type,
    choice,
    maybe,
    number,
    record,
    rows,
    table,
    text,
    unknown,
    whole,
    words_or,
)
from tokenrouter.sandbox.responses_items import EFFORT, check_items, with_type
from tokenrouter.sandbox.responses_tools import Choice, check_choice, check_tools, choose
from tokenrouter.sandbox.strict_schema import check_strict
from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal

LEAST_OUTPUT = 16
_INCLUDABLE = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
_SUMMARY = maybe(choice("auto", "concise", "detailed"))
_REASONING: Checks = {
    "context": maybe(choice("auto", "current_turn", "all_turns")),
    "effort": maybe(EFFORT),
    "generate_summary": _SUMMARY,
    "mode": text(),
    "summary": _SUMMARY,
}
_FORMAT = by_type(
    {
        "text": record({}, {}),
        "json_schema": record(
            {"name": text(most=64, pattern="[a-zA-Z0-9_-]+"), "schema": table(anything)}, {"description": text(), "strict": maybe(boolean)}
        ),
        "json_object": record({}, {}),
    }
)
_CACHING: Checks = {
    "comparison_response_id": maybe(text()),
    "mode": choice("implicit", "explicit"),
    "prewarm": boolean,
    "ttl": choice("30m", "12h"),
}
_FIELDS = record(
    {"model": text()},
    {
        "access_programs": record({}, {"cyber": choice("standard", "daybreak_blue", "daybreak_red")}),
        "background": maybe(boolean),
        "client_metadata": maybe(table(text())),  # undocumented; Codex sends it and is served
        "context_management": maybe(rows(record({"type": text()}, {"compact_threshold": maybe(whole())}))),
        "conversation": maybe(words_or(record({"id": text()}, {}), "one of a string or object")),
        "image": record({}, {"context_compression": choice("auto", "enabled", "disabled")}),
        "include": maybe(rows(choice(*_INCLUDABLE))),
        "input": words_or(check_items, "one of a string or array of input items"),
        "instructions": maybe(text()),
        "max_output_tokens": maybe(whole(LEAST_OUTPUT)),
        "max_tool_calls": maybe(whole(1)),
        "metadata": maybe(table(text(most=512), most=16, key_length=64)),
        "moderation": maybe(record({"model": text()}, {"policy": maybe(table(anything))})),
        "parallel_tool_calls": maybe(boolean),
        "previous_response_id": maybe(text()),
        "prompt": maybe(record({"id": text()}, {"variables": maybe(table(anything)), "version": maybe(text())})),
        "prompt_cache_key": maybe(text(most=64)),
        "prompt_cache_options": record({}, _CACHING),
        "prompt_cache_retention": maybe(choice("in_memory", "24h")),
        "reasoning": maybe(record({}, _REASONING)),
        "safety_identifier": maybe(text(most=64)),
        "service_tier": maybe(choice("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")),
        "store": maybe(boolean),
        "stream": maybe(boolean),
        "stream_options": maybe(record({}, {"include_obfuscation": boolean})),
        "temperature": maybe(number(0, 2)),
        "text": record({}, {"format": _FORMAT, "verbosity": maybe(choice("low", "medium", "high"))}),
        "tool_choice": check_choice,
        "tools": check_tools,
        "top_logprobs": maybe(whole(0, 20)),
        "top_p": maybe(number(0, 1)),
        "truncation": maybe(choice("auto", "disabled")),
        "user": text(),
    },
)


class ResponsesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a validated request asks for.

    items     the request's own input, each item with its kind; an `input` of text is one user message
    reasoning, text, caching  the objects of these names, empty when they are not there
    """

    fields: JsonObject
    model: str
    items: tuple[JsonObject, ...]
    tools: list[JsonObject]
    choice: Choice
    reasoning: JsonObject
    text: JsonObject
    caching: JsonObject
    stream: bool
    store: bool
    previous: str | None

    @property
    def limit(self) -> int | None:
        """Output tokens, thinking included."""
        value = self.fields.get("max_output_tokens")
        return value if isinstance(value, int) else None

    @property
    def format(self) -> JsonObject:
        """The wanted form of the text."""
        return inner(self.text, "format") or {"type": "text"}

    @property
    def summary(self) -> JsonValue:
        """How much of the thinking is to be shown, if any."""
        return self.reasoning.get("summary") or self.reasoning.get("generate_summary")

    def word(self, name: str, default: str) -> str:
        """A field that holds a word."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else default


def inner(fields: JsonObject, name: str) -> JsonObject:
    """The object under a name, or an empty one."""
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def read_responses(fields: JsonObject) -> ResponsesRequest:
    """Check everything that does not depend on the model or on what is stored."""
    _FIELDS(fields, "")
    if all(fields.get(name) is None for name in ("input", "previous_response_id", "prompt", "conversation")):
        raise invalid(
            "Missing required parameter: one of 'input', 'previous_response_id', 'prompt' or 'conversation' must be provided.",
            "input",
            "missing_required_parameter",
        )
    _check_elsewhere(fields)
    items = _items(fields.get("input"))
    listed = fields.get("tools")
    tools = [tool for tool in listed if isinstance(tool, dict)] if isinstance(listed, list) else []
    late = [tool for item in items if item["type"] == "additional_tools" for tool in _listed(item) if isinstance(tool, dict)]
    previous = fields.get("previous_response_id")
    form = inner(inner(fields, "text"), "format")
    if form.get("strict") is True:
        check_strict(form["schema"], f"response_format '{form['name']}'", "text.format.schema", "invalid_json_schema")
    return ResponsesRequest(
        fields=fields,
        model=str(fields["model"]),
        items=items,
        tools=tools,
        choice=choose(fields.get("tool_choice"), [*tools, *late]),
        reasoning=inner(fields, "reasoning"),
        text=inner(fields, "text"),
        caching=inner(fields, "prompt_cache_options"),
        stream=fields.get("stream") is True,
        store=fields.get("store") is not False,
        previous=previous if isinstance(previous, str) else None,
    )


def _listed(item: JsonObject) -> list[JsonValue]:
    value = item.get("tools")
    return value if isinstance(value, list) else []


def _items(value: JsonValue) -> tuple[JsonObject, ...]:
    if isinstance(value, str):
        return ({"type": "message", "role": "user", "content": value},)
    typed = [with_type(item) for item in value] if isinstance(value, list) else []
    return tuple(item for item in typed if isinstance(item, dict))


def _check_elsewhere(fields: JsonObject) -> None:
    """What lives outside of the sandbox: it knows no conversations, no stored prompts, and no work in the background."""
    prompt, conversation = inner(fields, "prompt"), fields.get("conversation")
    if prompt:
        raise Refusal(404, f"Prompt with id '{prompt['id']}' not found.", param="prompt")
    if conversation is not None:
        if fields.get("previous_response_id") is not None:
            raise invalid("Only one of 'conversation' and 'previous_response_id' may be provided.", "conversation", "mutually_exclusive_parameters")
        name = conversation.get("id") if isinstance(conversation, dict) else conversation
        raise Refusal(404, f"Conversation with id '{name}' not found.", param="conversation")
    if fields.get("background") is True:
        raise invalid("Unsupported parameter: 'background' is not supported with this model.", "background", "unsupported_parameter")
    if fields.get("stream_options") is not None and fields.get("stream") is not True:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")


def check_model(request: ResponsesRequest, model: Model) -> None:
    """Refuse what this model does not take."""
    fields = request.fields
    if not model.reasons:
        for name, value in request.reasoning.items():
            if value is not None:
                raise _not_with(f"reasoning.{name}")
        if "reasoning.encrypted_content" in _included(fields):
            raise invalid("Encrypted content is not supported with this model.", "include")
    if not model.breakpoints and "prompt_cache_options" in fields:
        raise _not_with("prompt_cache_options")
    if model.only_24h and fields.get("prompt_cache_retention") == "in_memory":
        raise invalid("prompt_cache_retention='in_memory' is not supported with this model.", "prompt_cache_retention", "invalid_value")
    if not model.breakpoints:
        for index, item in enumerate(request.items):
            _refuse_marks(item, f"input[{index}]")


def _not_with(param: str) -> Refusal:
    return invalid(f"Unsupported parameter: '{param}' is not supported with this model.", param, "unsupported_parameter")


def _refuse_marks(item: JsonObject, at: str) -> None:
    for name in ("content", "output"):
        parts = item.get(name)
        for index, part in enumerate(parts if isinstance(parts, list) else [parts]):
            if isinstance(part, dict) and part.get("prompt_cache_breakpoint") is not None:
                place = f"{at}.{name}[{index}]" if isinstance(parts, list) else f"{at}.{name}"
                raise unknown(f"{place}.prompt_cache_breakpoint")


def _included(fields: JsonObject) -> list[JsonValue]:
    value = fields.get("include")
    return value if isinstance(value, list) else []
