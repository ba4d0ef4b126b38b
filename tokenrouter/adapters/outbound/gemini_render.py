"""Requests of any dialect as generateContent.

A field without a counterpart is refused where the answer depends on it, else dropped and reported.
Source: https://ai.google.dev/api/generate-content; https://ai.google.dev/gemini-api/docs/thinking (levels and budgets),
.../docs/openai (what a word of effort means in tokens), .../docs/structured-output; google-genai 3.4 `types.py`.
"""

from collections.abc import Mapping
from typing import Final

from tokenrouter.adapters.outbound.gemini_turns import render_turns
from tokenrouter.adapters.wire.gemini_request import (
    Calling,
    Content,
    Function,
    GenerationConfig,
    Request,
    ThinkingConfig,
    Tool,
    ToolConfig,
)
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.catalog import Model
from tokenrouter.model.conversation import Conversation, ToolSpec

_REFUSED: Mapping[str, str] = {
    "logprobs": "log probabilities can not be told in this API's answers",
    "top_logprobs": "log probabilities can not be told in this API's answers",
    "modalities": "this model is asked for text only",
    "audio": "this model is asked for text only",
    "web_search_options": "this model's web search can not be asked for in this dialect",
    "moderation": "this provider has no moderation of requests",
}
"""Without these the answer would lack what the client needs. All other fields without a counterpart are hints: dropped, and reported."""

_MOST_STOPS = 5
_LEAST_BUDGET, _MOST_BUDGET = 512, 24_576
_BUDGETS: Final = {"minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
"""Tokens per word of effort, as the vendor's own compatible endpoint translates them; within what every 2.5 model takes."""

_TIERS: Final = frozenset(("flex", "priority"))
_LEVELS: Final = ("minimal", "low", "medium", "high", "xhigh")
_NEAREST: Final = {"minimal": ("low",), "low": (), "medium": ("high", "low"), "high": (), "xhigh": ("high",), "max": ("xhigh", "high")}
"""Which levels stand in for one that a model does not take, nearest first."""


def render(conversation: Conversation, model: Model, dropped: dict[str, None]) -> Request:
    """The request. `dropped` collects what could not be carried. Raises UnsupportedField, InvalidRequest."""
    dropped.update(dict.fromkeys(conversation.leftover))
    _refuse(conversation)
    turns = render_turns(conversation.turns, signs=model.reasoning == "effort", dropped=dropped)
    tools = [_function(spec, dropped) for spec in conversation.tools]
    for name, value in (("user", conversation.user), ("verbosity", conversation.verbosity)):
        if value is not None:
            dropped[name] = None
    if conversation.parallel_calls is False and tools:
        dropped["parallel_tool_calls"] = None
    if conversation.service_tier not in (None, "auto", "default", *_TIERS):
        dropped["service_tier"] = None
    return Request(
        generation_config=_config(conversation, model, dropped),
        tool_config=_tool_config(conversation),
        service_tier=conversation.service_tier if conversation.service_tier in _TIERS else None,
        system_instruction=Content(turns.system) if turns.system else None,
        tools=[Tool(tools)] if tools else None,
        contents=turns.contents,
    )


def _refuse(conversation: Conversation) -> None:
    if conversation.choices != 1:
        raise UnsupportedField("n: this model gives one answer at a time", param="n")
    for name in conversation.leftover:
        if name in _REFUSED:
            raise UnsupportedField(f"{name}: {_REFUSED[name]}", param=name)
    if len(conversation.stop) > _MOST_STOPS:
        raise UnsupportedField(f"stop: this model takes {_MOST_STOPS} stop strings, not {len(conversation.stop)}", param="stop")


def _function(spec: ToolSpec, dropped: dict[str, None]) -> Function:
    if spec.custom:
        raise UnsupportedField(f"tools: {spec.name[:64]!r} takes free text; this model knows only functions with arguments", param="tools")
    if spec.strict:
        dropped["tools.function.strict"] = None
    return Function(spec.name, spec.description, spec.parameters)


def _tool_config(conversation: Conversation) -> ToolConfig | None:
    """Without tools nothing may be said about them."""
    choice = conversation.tool_choice
    if choice is None or choice.mode == "auto":
        return None
    if not conversation.tools:
        if choice.mode == "none":
            return None
        raise InvalidRequest("tool_choice asks for a call, but there are no tools", param="tool_choice")
    match choice.mode:
        case "none":
            return ToolConfig(Calling("NONE"))
        case "required":
            return ToolConfig(Calling("ANY"))
        case "named":
            return ToolConfig(Calling("ANY", [choice.name or ""]))
        case "subset":
            return ToolConfig(Calling("ANY" if choice.required else "VALIDATED", list(choice.names)))


def _config(conversation: Conversation, model: Model, dropped: dict[str, None]) -> GenerationConfig | None:
    output = conversation.output
    if output.name:
        dropped["response_format.json_schema.name"] = None
    if conversation.temperature is not None and not 0 <= conversation.temperature <= 2:
        raise UnsupportedField(f"temperature: this model takes 0 to 2, not {conversation.temperature:g}", param="temperature")
    config = GenerationConfig(
        max_output_tokens=conversation.max_output,
        temperature=conversation.temperature,
        top_p=conversation.top_p,
        top_k=conversation.top_k,
        seed=conversation.seed,
        presence_penalty=conversation.presence_penalty,
        frequency_penalty=conversation.frequency_penalty,
        stop_sequences=list(conversation.stop) or None,
        response_mime_type=None if output.kind == "text" else "application/json",
        response_json_schema=output.schema if output.kind == "json_schema" else None,
        thinking_config=_thinking(conversation, model, dropped),
    )
    return config if config != GenerationConfig() else None


def _thinking(conversation: Conversation, model: Model, dropped: dict[str, None]) -> ThinkingConfig | None:
    """The wish for reasoning, by what the model knows: a word, a number of tokens, or nothing."""
    effort, tokens = conversation.effort, conversation.thinking_budget
    if effort is not None and effort != "none" and effort not in _BUDGETS:
        param = "reasoning_effort"
        raise UnsupportedField(f"{param}: {effort[:40]!r} is none of none, {', '.join(_BUDGETS)}", param=param)
    said = "reasoning_effort" if effort is not None else "thinking_budget"
    level: str | None = None
    budget: int | None = None
    if effort is not None or tokens is not None:
        match model.reasoning:
            case "effort" | "adaptive":
                level = _level(effort or _word(tokens), model)
                if level is None or effort is None:
                    dropped[said] = None  # these models can not be kept from thinking, and do not count in tokens
            case "budget":
                budget = _budget(effort, tokens, model)
                if budget is None:
                    dropped[said] = None
            case "none":
                dropped[said] = None
    if model.reasoning == "none":
        return None
    shown = conversation.show_reasoning
    if shown is None and (level is not None or budget):
        shown = True  # asked to think: other vendors show it unasked, and it costs nothing more
    return ThinkingConfig(level, budget, shown) if (level, budget, shown) != (None, None, None) else None


def _level(word: str | None, model: Model) -> str | None:
    """The nearest level that the model takes; None for the word that asks for no reasoning at all."""
    if word is None or word == "none":
        return None
    taken = [level for level in (word, *_NEAREST.get(word, ())) if level in model.efforts and level in _LEVELS]
    return (taken[0] if taken else "high").upper()


def _word(tokens: int | None) -> str | None:
    """The least effort whose usual budget covers a number of tokens; below zero the model decides."""
    if tokens is None or tokens < 0:
        return None
    if tokens == 0:
        return "none"
    return next((word for word, budget in _BUDGETS.items() if word != "minimal" and tokens <= budget), "high")


def _budget(effort: str | None, tokens: int | None, model: Model) -> int | None:
    """A budget within what the model takes. The largest model of its generation can not be kept from thinking."""
    wanted = tokens if tokens is not None else 0 if effort == "none" else _BUDGETS[effort or "medium"]
    if wanted == 0:
        return None if model.name.endswith("-pro") or "-pro-" in model.name else 0
    return -1 if wanted < 0 else min(max(wanted, _LEAST_BUDGET), _MOST_BUDGET)
