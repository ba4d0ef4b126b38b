"""Requests of any dialect as Chat Completions, for OpenAI and the many hosts that speak its wire.

What a host takes beyond or short of the common ground is catalog data (`quirks` in vendors.toml), so a new host takes no code. A field
without a counterpart is refused where the answer depends on it, else dropped and reported.
Sources: OpenAI's API reference and guides on reasoning, prompt caching and function calling; openai-python 3.52; for other hosts the
sources named in vendors.toml.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.effort_words import EFFORTS, nearest_word, word_of_budget
from tokenrouter.adapters.outbound.openai_chat_thoughts import Thinker
from tokenrouter.adapters.outbound.openai_chat_turns import Rendered, Takes, render_turns
from tokenrouter.adapters.wire.openai_chat_request import (
    AllowedChoice,
    AllowedTools,
    CacheBreakpoint,
    CacheControl,
    Custom,
    CustomChoice,
    CustomTool,
    Function,
    FunctionChoice,
    FunctionTool,
    Grammar,
    GrammarFormat,
    JSONSchema,
    Named,
    ObjectFormat,
    Part,
    Request,
    SchemaFormat,
    StreamOptions,
    ThinkingSwitch,
    Tool,
)
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.conversation import Conversation, ToolChoice, ToolSpec
from tokenrouter.model.edits import MARKS_PLAN

CHAT_PATH = "/chat/completions"
HEADERS = (("content-type", "application/json"),)

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')
_SCHEMA_NAME = "response"
_MOST_STOPS = 4
_LONG_S = 43_200
_HOUR_S = 3_600

_REFUSED: Mapping[str, str] = {
    "logprobs": "log probabilities can not be told in this API's answers",
    "top_logprobs": "log probabilities can not be told in this API's answers",
    "modalities": "this model is asked for text only",
    "audio": "this model is asked for text only",
    "web_search_options": "this model's web search can not be asked for in this dialect",
    "moderation": "moderation of requests can not be asked for in this dialect",
}
"""Without these the answer would lack what the client needs. All other leftovers are hints."""

_TIERS: Final = frozenset(("auto", "default", "flex", "scale", "priority", "fast"))


def render(conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
    """See `TranslatedWire.translate`."""
    quirks = deployment.quirks
    dropped = dict.fromkeys(conversation.leftover)
    _refuse(conversation, quirks)
    marked = bool(deployment.mark_field) and model.cache.style in ("marks", "breakpoints")
    takes = Takes(quirks, marked, Thinker(quirks, model.name))
    rendered = render_turns(conversation.turns, takes, dropped)
    if not rendered.messages:
        raise InvalidRequest("messages is empty; a model needs at least one", param="messages")
    request = Request(
        model=model.name,
        stream=conversation.stream,
        stream_options=StreamOptions(True) if conversation.stream and "no_stream_options" not in quirks else None,
        stop=list(conversation.stop) or None,
        n=conversation.choices if conversation.choices != 1 else None,
        tool_choice=_tool_choice(conversation, quirks),
        response_format=_output(conversation, quirks),
        tools=[_tool(spec, f"tools[{number}]", quirks) for number, spec in enumerate(conversation.tools)] or None,
        messages=rendered.messages,
    )
    _limit(request, conversation, quirks)
    _think(request, conversation, model, quirks, dropped)
    _sample(request, conversation, model, quirks, dropped)
    _hints(request, conversation, model, quirks, dropped)
    ours = _mark(plan.breakpoints, rendered, deployment.mark_field) if marked else False
    body, headers, keyed = _keyed(_encode(request), conversation, deployment, plan)
    if plan.writing and marked and deployment.mark_field == "prompt_cache_breakpoint":
        body, ours = body[:-1] + b',"prompt_cache_options":' + _encode({"mode": plan.writing}) + b"}", True
    edits = (MARKS_PLAN,) if ours or keyed else ()
    return Outgoing(path=CHAT_PATH, headers=headers, body=body, edits=edits, dropped=tuple(dropped))


def _refuse(conversation: Conversation, quirks: frozenset[str]) -> None:
    if conversation.choices != 1 and "no_n" in quirks:
        raise UnsupportedField("n: this provider gives one answer at a time", param="n")
    if len(conversation.stop) > _MOST_STOPS and "openai" in quirks:
        raise UnsupportedField(f"stop: this provider takes {_MOST_STOPS} stop strings, not {len(conversation.stop)}", param="stop")
    for name in conversation.leftover:
        if name in _REFUSED:
            raise UnsupportedField(f"{name}: {_REFUSED[name]}", param=name)


def _tool(spec: ToolSpec, path: str, quirks: frozenset[str]) -> Tool:
    """OpenAI defines a function without parameters by leaving them out; others demand a schema."""
    if spec.custom:
        if "openai" not in quirks:
            raise UnsupportedField(f"{path} is a custom tool; this provider takes functions only", param=f"{path}.type")
        return CustomTool(Custom(spec.name, spec.description, _grammar(spec.grammar, path)))
    parameters = spec.parameters
    if parameters is None and "openai" not in quirks:
        parameters = _NO_PARAMETERS
    return FunctionTool(Function(spec.name, spec.description, parameters, spec.strict))


def _grammar(grammar: msgspec.Raw | None, path: str) -> GrammarFormat | None:
    """The grammar in this wire's form: Responses writes its members flat, Chat one level deeper. Both strings keep their spelling."""
    if grammar is None:
        return None
    at = f"{path}.custom.format"
    try:
        members = _members.decode(grammar)
        if bytes(members.get("type", msgspec.Raw(b'"grammar"'))) == b'"text"':
            return None
        inner = _members.decode(members["grammar"]) if "grammar" in members else members
        return GrammarFormat(Grammar(inner["syntax"], inner["definition"]))
    except (ValueError, KeyError, RecursionError) as error:
        raise InvalidRequest(f"{at} must hold a grammar with its syntax and definition", param=at) from error


def _tool_choice(conversation: Conversation, quirks: frozenset[str]) -> str | FunctionChoice | CustomChoice | AllowedChoice | None:
    """Without tools nothing may be said about them, and `auto` or `none` change nothing."""
    choice = conversation.tool_choice
    if choice is None:
        return None
    if not conversation.tools:
        if choice.mode in ("required", "named") or choice.required:
            raise InvalidRequest("tool_choice asks for a call, but there are no tools", param="tool_choice")
        return None
    if choice.mode == "named":
        return _chosen(choice.name or "", conversation.tools)
    if choice.mode != "subset":
        return choice.mode
    return _subset(choice, conversation.tools, quirks)


def _subset(choice: ToolChoice, tools: Sequence[ToolSpec], quirks: frozenset[str]) -> str | FunctionChoice | CustomChoice | AllowedChoice:
    """Some of the tools: where the host can not be told, only what comes to the same."""
    mode: Literal["auto", "required"] = "required" if choice.required else "auto"
    if set(choice.names) >= {spec.name for spec in tools}:
        return mode
    if "openai" in quirks:
        return AllowedChoice(AllowedTools(mode, [_chosen(name, tools) for name in choice.names]))
    if len(choice.names) == 1 and choice.required:
        return _chosen(choice.names[0], tools)
    param = "tool_choice.allowed_tools"
    raise UnsupportedField(f"{param}: this provider can not be held to some of its tools; send only those", param=param)


def _chosen(name: str, tools: Sequence[ToolSpec]) -> FunctionChoice | CustomChoice:
    custom = any(spec.custom for spec in tools if spec.name == name)
    return CustomChoice(Named(name)) if custom else FunctionChoice(Named(name))


def _output(conversation: Conversation, quirks: frozenset[str]) -> SchemaFormat | ObjectFormat | None:
    """The form of the answer. The vendor demands a name for a schema; the client's dialect may have none."""
    output = conversation.output
    if output.kind == "text":
        return None
    if output.kind == "json_object":
        return ObjectFormat()
    if "no_json_schema" in quirks:
        param = "response_format.type"
        raise UnsupportedField(f"{param}: this provider has no json_schema mode; use json_object, with the schema in the prompt", param=param)
    return SchemaFormat(JSONSchema(output.name or _SCHEMA_NAME, output.schema, output.strict))


def _limit(request: Request, conversation: Conversation, quirks: frozenset[str]) -> None:
    if "max_tokens" in quirks:
        request.max_tokens = conversation.max_output
    else:
        request.max_completion_tokens = conversation.max_output


def _think(request: Request, conversation: Conversation, model: Model, quirks: frozenset[str], dropped: dict[str, None]) -> None:
    """Reasoning effort in the nearest word that the model has; a word of the client's that had to be changed is reported."""
    word, budget = conversation.effort, conversation.thinking_budget
    if word is not None and word not in EFFORTS:
        param = "reasoning_effort"
        raise UnsupportedField(f"{param}: {word[:40]!r} is none of {', '.join(EFFORTS)}", param=param)
    if word is None and (budget is None or budget < 0):  # a negative budget leaves it to the model
        return
    off = word == "none" or (word is None and budget == 0)
    if model.reasoning == "none":
        if not off:
            dropped["reasoning_effort" if word else "thinking_budget"] = None
        return
    if off and "none" not in model.efforts and "thinking_switch" in quirks:
        request.thinking = ThinkingSwitch("disabled")
        return
    wanted = word or ("none" if off else "")
    request.reasoning_effort = nearest_word(wanted, model.efforts) if wanted else word_of_budget(budget or 0, model.efforts)
    if wanted and request.reasoning_effort != wanted:
        dropped["reasoning_effort"] = None


def _sample(request: Request, conversation: Conversation, model: Model, quirks: frozenset[str], dropped: dict[str, None]) -> None:
    """Sampling, where the model allows it. The default of 1 is the same as nothing and needs no report.

    OpenAI's models refuse temperature and top_p while they reason ("Using GPT-5.2").
    """
    reasons = "openai" in quirks and request.reasoning_effort not in (None, "none")
    for name, value in (("temperature", conversation.temperature), ("top_p", conversation.top_p)):
        if value is None:
            continue
        if model.sampling and not reasons:
            setattr(request, name, value)
        elif value != 1:
            dropped[name] = None
    for name, value in (("frequency_penalty", conversation.frequency_penalty), ("presence_penalty", conversation.presence_penalty)):
        if value and "no_penalties" in quirks:
            dropped[name] = None
        elif value is not None and "no_penalties" not in quirks:
            setattr(request, name, value)
    if conversation.top_k is not None:
        if "top_k" in quirks:
            request.top_k = conversation.top_k
        else:
            dropped["top_k"] = None


def _hints(request: Request, conversation: Conversation, model: Model, quirks: frozenset[str], dropped: dict[str, None]) -> None:
    """What the answer does not depend on, under the names that the host has for it."""
    if conversation.tools and conversation.parallel_calls is not None:
        if "no_parallel" not in quirks:
            request.parallel_tool_calls = conversation.parallel_calls
        elif not conversation.parallel_calls:
            dropped["parallel_tool_calls"] = None
    if conversation.seed is not None:
        if "random_seed" in quirks:
            request.random_seed = conversation.seed
        elif "no_seed" in quirks:
            dropped["seed"] = None
        else:
            request.seed = conversation.seed
    if conversation.user:
        if "openai" in quirks:
            request.safety_identifier = conversation.user
        elif "no_user" in quirks:
            dropped["user"] = None
        else:
            request.user = conversation.user
    if conversation.verbosity is not None:
        if "openai" in quirks and model.reasoning != "none":
            request.verbosity = conversation.verbosity
        else:
            dropped["verbosity"] = None
    if conversation.service_tier is not None:
        if "openai" in quirks and conversation.service_tier in _TIERS:
            request.service_tier = conversation.service_tier
        else:
            dropped["service_tier"] = None
    if conversation.show_reasoning and "openai" in quirks:
        dropped["show_reasoning"] = None  # others show what their models think, unasked


def _mark(breakpoints: Sequence[Breakpoint], rendered: Rendered, field: str) -> bool:
    """Write the plan's marks; True where one of the gateway's own was written. A place with two marks keeps the longer lifetime.

    An hour is no twelve hours: OpenAI's long lifetime has a price of its own, and is only asked for by its own length.
    """
    ours = False
    for point in breakpoints:
        part = _place(point, rendered)
        if part is None:
            continue
        if part.cache_control is None and part.prompt_cache_breakpoint is None:
            ours = ours or point.origin == "gateway"
        if field == "cache_control":
            part.cache_control = part.cache_control or CacheControl()
            if point.lifetime_s == _HOUR_S:
                part.cache_control.ttl = "1h"
        else:
            part.prompt_cache_breakpoint = part.prompt_cache_breakpoint or CacheBreakpoint("explicit")
            if point.lifetime_s == _LONG_S:
                part.prompt_cache_breakpoint.ttl = "12h"
    return ours


def _place(point: Breakpoint, rendered: Rendered) -> Part | None:
    """Where a mark goes: the part made of the client's part; where that takes none, the nearest earlier one of the same message.

    Tools take no marks on this wire: the mark at the end of the opening instructions covers them.
    """
    if point.section == "a_tools":
        return None
    places = sorted(rendered.places.get(point.index, []), key=lambda place: place[0])
    return next((part for number, part in reversed(places) if point.part < 0 or number <= point.part), None)


def _keyed(body: bytes, conversation: Conversation, deployment: Deployment, plan: CachePlan) -> tuple[bytes, tuple[tuple[str, str], ...], bool]:
    """The key that keeps requests with one prefix together, as the host wants it: the client's own, else the plan's (then True)."""
    key = conversation.affinity or plan.affinity
    if not key or not (deployment.affinity_field or deployment.affinity_header):
        return body, HEADERS, False
    ours = not conversation.affinity
    if deployment.affinity_header:
        if not (key.isascii() and key.isprintable()):  # a header holds no more; what a key says does not matter
            key = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return body, (*HEADERS, (deployment.affinity_header, key)), ours
    return body[:-1] + b"," + _encode(deployment.affinity_field) + b":" + _encode(key) + b"}", HEADERS, ours
