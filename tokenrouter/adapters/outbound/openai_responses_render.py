"""Requests of any dialect as OpenAI Responses. Nothing is stored at the vendor; reasoning travels encrypted, with the client.

A field without a counterpart is refused where the answer depends on it, else dropped and reported.
Sources: OpenAI's API reference and guides on reasoning, prompt caching and function calling; openai-python 3.52.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.effort_words import EFFORTS, nearest_word, word_of_budget
from tokenrouter.adapters.outbound.openai_responses_turns import Rendered, render_items
from tokenrouter.adapters.wire.openai_responses_request import (
    AllowedTools,
    CacheBreakpoint,
    Custom,
    CustomChoice,
    Function,
    FunctionChoice,
    GrammarFormat,
    InputPart,
    ObjectFormat,
    ReasoningOptions,
    Request,
    SchemaFormat,
    TextOptions,
    Tool,
)
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.conversation import Conversation, Text, ToolSpec, Turn
from tokenrouter.model.edits import MARKS_PLAN

RESPONSES_PATH = "/responses"
HEADERS = (("content-type", "application/json"),)

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')
_ENCRYPTED = "reasoning.encrypted_content"
_SCHEMA_NAME = "response"
_KEY_FIELD = "prompt_cache_key"
_LEAST_OUTPUT = 16
"""Tokens; the API refuses a smaller limit."""

_MOST_KEY = 64
"""Characters of a key or an identifier of a user."""

_LONG_S = 43_200
_TIERS: Final = frozenset(("auto", "default", "flex", "scale", "priority", "fast"))
_REFUSED: Mapping[str, str] = {
    "logprobs": "log probabilities can not be told in this API's answers",
    "top_logprobs": "log probabilities can not be told in this API's answers",
    "logit_bias": "this API has no bias of tokens",
    "modalities": "this model is asked for text only",
    "audio": "this model is asked for text only",
    "web_search_options": "this model's web search can not be asked for in this dialect",
    "moderation": "moderation of requests can not be asked for in this dialect",
}
"""Without these the answer would lack what the client needs. All other leftovers are hints."""


def render(conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
    """See `TranslatedWire.translate`."""
    dropped = dict.fromkeys(conversation.leftover)
    _refuse(conversation)
    marked = bool(deployment.mark_field) and model.cache.style in ("marks", "breakpoints")
    rendered = render_items(conversation.turns, parts=marked and model.cache.parts_alike, dropped=dropped)
    if not rendered.items:
        raise InvalidRequest("messages is empty; a model needs at least one", param="messages")
    request = Request(
        model=model.name,
        store=False,
        stream=conversation.stream,
        text=_text(conversation, model, dropped),
        tool_choice=_tool_choice(conversation),
        tools=[_tool(spec, f"tools[{number}]") for number, spec in enumerate(conversation.tools)] or None,
        input=rendered.items,
    )
    _think(request, conversation, model, dropped)
    _sample(request, conversation, model, dropped)
    _hints(request, conversation, dropped)
    ours = _mark(plan.breakpoints, rendered) if marked else False
    if deployment.affinity_field == _KEY_FIELD and (key := conversation.affinity or plan.affinity):
        request.prompt_cache_key = _short(key)
        ours = ours or not conversation.affinity
    if plan.writing and marked and deployment.mark_field == "prompt_cache_breakpoint":
        request.prompt_cache_options, ours = {"mode": plan.writing}, True
    edits = (MARKS_PLAN,) if ours else ()
    return Outgoing(path=RESPONSES_PATH, headers=HEADERS, body=_encode(request), edits=edits, dropped=tuple(dropped))


def _refuse(conversation: Conversation) -> None:
    if conversation.choices != 1:
        raise UnsupportedField("n: this API gives one answer at a time", param="n")
    if conversation.stop:
        raise UnsupportedField("stop: this API has no stop strings", param="stop")
    for name in conversation.leftover:
        if name in _REFUSED:
            raise UnsupportedField(f"{name}: {_REFUSED[name]}", param=name)


def _tool(spec: ToolSpec, path: str) -> Tool:
    if spec.custom:
        return Custom(spec.name, spec.description, _grammar(spec.grammar, f"{path}.custom.format"))
    return Function(spec.name, spec.description, _NO_PARAMETERS if spec.parameters is None else spec.parameters, bool(spec.strict))


def _grammar(grammar: msgspec.Raw | None, at: str) -> GrammarFormat | None:
    """The grammar in this wire's form: Chat writes its members one level deeper. Both strings keep their spelling."""
    if grammar is None:
        return None
    try:
        members = _members.decode(grammar)
        if bytes(members.get("type", msgspec.Raw(b'"grammar"'))) == b'"text"':
            return None
        inner = _members.decode(members["grammar"]) if "grammar" in members else members
        return GrammarFormat(inner["syntax"], inner["definition"])
    except (ValueError, KeyError, RecursionError) as error:
        raise InvalidRequest(f"{at} must hold a grammar with its syntax and definition", param=at) from error


def _tool_choice(conversation: Conversation) -> str | FunctionChoice | CustomChoice | AllowedTools | None:
    """Without tools nothing need be said about them, and `auto` or `none` change nothing."""
    choice, tools = conversation.tool_choice, conversation.tools
    if choice is None:
        return None
    if not tools:
        if choice.mode in ("required", "named") or choice.required:
            raise InvalidRequest("tool_choice asks for a call, but there are no tools", param="tool_choice")
        return None
    if choice.mode == "named":
        return _chosen(choice.name or "", tools)
    if choice.mode != "subset":
        return choice.mode
    mode: Literal["auto", "required"] = "required" if choice.required else "auto"
    return AllowedTools(mode, [_chosen(name, tools) for name in choice.names])


def _chosen(name: str, tools: Sequence[ToolSpec]) -> FunctionChoice | CustomChoice:
    custom = any(spec.custom for spec in tools if spec.name == name)
    return CustomChoice(name) if custom else FunctionChoice(name)


def _text(conversation: Conversation, model: Model, dropped: dict[str, None]) -> TextOptions | None:
    """The form of the answer. The vendor demands a name for a schema; the client's dialect may have none."""
    output, verbosity = conversation.output, conversation.verbosity
    if verbosity is not None and model.reasoning == "none":
        dropped["verbosity"] = None
        verbosity = None
    if output.kind == "text":
        return TextOptions(verbosity=verbosity) if verbosity else None
    if output.kind == "json_object":
        if not any(_says_json(turn) for turn in conversation.turns):
            raise UnsupportedField("response_format: this API makes JSON only where a message says the word JSON", param="response_format")
        return TextOptions(ObjectFormat(), verbosity)
    if output.schema is None:
        param = "response_format.json_schema.schema"
        raise UnsupportedField(f"{param}: this API needs the schema", param=param)
    return TextOptions(SchemaFormat(output.name or _SCHEMA_NAME, output.schema, output.strict), verbosity)


def _says_json(turn: Turn) -> bool:
    return any(isinstance(block, Text) and "json" in block.text.lower() for block in turn.blocks)


def _think(request: Request, conversation: Conversation, model: Model, dropped: dict[str, None]) -> None:
    """Effort in the nearest word that the model has; a word of the client's that had to be changed is reported."""
    word, budget, shown = conversation.effort, conversation.thinking_budget, conversation.show_reasoning
    if word is not None and word not in EFFORTS:
        param = "reasoning_effort"
        raise UnsupportedField(f"{param}: {word[:40]!r} is none of {', '.join(EFFORTS)}", param=param)
    if budget is not None and budget < 0:  # leaves it to the model
        budget = None
    off = word == "none" or (word is None and budget == 0)
    if model.reasoning == "none":
        if not off and (word is not None or budget is not None):
            dropped["reasoning_effort" if word is not None else "thinking_budget"] = None
        return
    request.include = [_ENCRYPTED]
    options = ReasoningOptions(summary="auto" if shown else None)
    wanted = word or ("none" if off else None)
    if wanted is not None:
        options.effort = nearest_word(wanted, model.efforts)
        if options.effort != wanted:
            dropped["reasoning_effort" if word is not None else "thinking_budget"] = None
    elif budget is not None:
        options.effort = word_of_budget(budget, model.efforts)
    if options.effort is not None or options.summary is not None:
        request.reasoning = options


def _sample(request: Request, conversation: Conversation, model: Model, dropped: dict[str, None]) -> None:
    """Sampling, where the model allows it: none does while it reasons ("Using GPT-5.2"). A 1 is the same as nothing."""
    effort = request.reasoning.effort if request.reasoning is not None else None
    takes = model.sampling and (model.reasoning == "none" or effort == "none")
    for name, value in (("temperature", conversation.temperature), ("top_p", conversation.top_p)):
        if value is not None and takes:
            setattr(request, name, value)
        elif value not in (None, 1):
            dropped[name] = None
    for name, given in (
        ("frequency_penalty", conversation.frequency_penalty),
        ("presence_penalty", conversation.presence_penalty),
        ("top_k", conversation.top_k),
    ):
        if given:
            dropped[name] = None
    if conversation.seed is not None:
        dropped["seed"] = None


def _hints(request: Request, conversation: Conversation, dropped: dict[str, None]) -> None:
    """What the answer does not depend on. A limit below the API's own least becomes that, and is reported."""
    if conversation.max_output is not None:
        request.max_output_tokens = max(_LEAST_OUTPUT, conversation.max_output)
        if conversation.max_output < _LEAST_OUTPUT:
            dropped["max_completion_tokens"] = None
    if conversation.tools:
        request.parallel_tool_calls = conversation.parallel_calls
    if conversation.user:
        request.safety_identifier = _short(conversation.user)
    if conversation.service_tier is not None:
        if conversation.service_tier in _TIERS:
            request.service_tier = conversation.service_tier
        else:
            dropped["service_tier"] = None


def _short(identifier: str) -> str:
    """An identifier as it is, or its hash where it is too long: it only has to be the same every time."""
    if len(identifier) <= _MOST_KEY:
        return identifier
    return blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=24).hexdigest()


def _mark(breakpoints: Sequence[Breakpoint], rendered: Rendered) -> bool:
    """Write the plan's marks; True where one of the gateway's own was written. A place with two marks keeps the longer lifetime."""
    ours = False
    for point in breakpoints:
        part = _place(point, rendered)
        if part is None:
            continue
        if part.prompt_cache_breakpoint is None:
            ours = ours or point.origin == "gateway"
            part.prompt_cache_breakpoint = CacheBreakpoint("explicit")
        if point.lifetime_s == _LONG_S:
            part.prompt_cache_breakpoint.ttl = "12h"
    return ours


def _place(point: Breakpoint, rendered: Rendered) -> InputPart | None:
    """Where a mark goes: the part made of the client's part; where that takes none, the nearest earlier one of the same message.

    Tools and the model's own words take no marks: the mark at the end of the opening instructions covers the tools.
    """
    if point.section == "a_tools":
        return None
    places = rendered.places.get(point.index, [])
    return next((part for number, part in reversed(places) if point.part < 0 or number <= point.part), None)
