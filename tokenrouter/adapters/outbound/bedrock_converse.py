"""Requests to Amazon Bedrock's Converse and ConverseStream, and their answers.

Source: botocore 1.44 `data/bedrock-runtime/2023-09-30/service-2.json`; Bedrock's user guide on Converse, prompt caching, structured output
and Claude's parameters. That Claude's own `tool_choice` may stand among the additional fields where `toolConfig` names none:
BerriAI/litellm#34347 and #36536; that it may not be `none`: boto/botocore#3458.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Self
from urllib.parse import quote

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.bedrock_turns import Family, Place, Rendered, family_of, render_turns
from tokenrouter.adapters.outbound.claude_thinking import claude_thinking
from tokenrouter.adapters.wire import bedrock_request as wire
from tokenrouter.adapters.wire.bedrock import ConverseEventDecoder, decode_answer, error_message
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Answer
from tokenrouter.model.cache_plan import Breakpoint, CachePlan, PromptCacheLimits
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.conversation import Conversation, ToolSpec
from tokenrouter.model.edits import MARKS_PLAN, TOOLS_RECALLED
from tokenrouter.model.envelope import Operation

_encode = msgspec.json.Encoder().encode

_NOT_OFFERED = "This tool is no longer available. Do not call it."
_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")
_TIERS: Final = frozenset(("default", "flex", "priority"))
_FORCED: Final = frozenset(("required", "named"))

_REFUSED: Mapping[str, str] = {
    "logprobs": "this model tells no log probabilities",
    "top_logprobs": "this model tells no log probabilities",
    "modalities": "this model answers in text only",
    "audio": "this model answers in text only",
    "web_search_options": "this provider searches no web",
    "moderation": "this provider has no moderation of requests in this form",
}
"""Without these the answer would lack what the client needs. All other fields without a counterpart are hints: dropped, and reported."""


class BedrockConverse:
    """The wire of `POST /model/{id}/converse` and `/converse-stream`; see `OutboundAdapter`."""

    wire = "bedrock-converse"
    operation: Operation = "generate"
    native = None

    @property
    def translated(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `OutboundAdapter`. Fields without a counterpart are refused where the answer depends on them, else dropped and reported."""
        dropped = dict.fromkeys(conversation.leftover)
        _refuse(conversation)
        family = family_of(model.name)
        rendered = render_turns(conversation.turns, family, mid_system=model.mid_system, dropped=dropped)
        tools = [_tool(spec) for spec in conversation.tools]
        recalled = [] if tools else _recalled(rendered)
        request = wire.Request(
            inference_config=wire.InferenceConfig(max_tokens=_max_tokens(conversation, model, family)),
            output_config=_output(conversation),
            request_metadata=_metadata(conversation, dropped),
            service_tier=_tier(conversation, dropped),
            messages=rendered.messages,
        )
        extra: dict[str, object] = {}
        request.tool_config = _tool_config(conversation, tools, rendered, family, extra, dropped)
        if recalled and request.tool_config is None:
            request.tool_config = wire.ToolConfig(recalled)
        _think(request, conversation, model, family, extra, dropped)
        _sample(request, conversation, model, family, extra, dropped)
        _stop_at(request, conversation, family, dropped)
        marked = _mark(plan.breakpoints, model.cache, tools if request.tool_config else [], rendered)
        request.system = rendered.system or None
        request.additional_model_request_fields = extra or None
        if request.inference_config == wire.InferenceConfig():
            request.inference_config = None
        for name in ("seed", "frequency_penalty", "presence_penalty", "verbosity"):
            if getattr(conversation, name):
                dropped[name] = None
        action = "converse-stream" if conversation.stream else "converse"
        return Outgoing(
            path=f"/model/{quote(model.name, safe='')}/{action}",
            headers=(("content-type", "application/json"),),
            body=_encode(request),
            edits=((TOOLS_RECALLED,) if recalled else ()) + ((MARKS_PLAN,) if marked else ()),
            dropped=tuple(dropped),
        )

    def decode_answer(self, body: bytes) -> Answer:
        """See `TranslatedWire`."""
        return decode_answer(body)

    def decoder(self) -> ConverseEventDecoder:
        """See `TranslatedWire`."""
        return ConverseEventDecoder()

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return error_message(body)


def _refuse(conversation: Conversation) -> None:
    if conversation.choices != 1:
        raise UnsupportedField("n: this model gives one answer at a time", param="n")
    for name in conversation.leftover:
        if name in _REFUSED:
            raise UnsupportedField(f"{name}: {_REFUSED[name]}", param=name)
    if conversation.output.kind == "json_object":
        param = "response_format.type"
        raise UnsupportedField(f"{param}: this model has no json_object mode; use json_schema with a schema", param=param)
    if conversation.output.kind == "json_schema" and conversation.output.schema is None:
        param = "response_format.json_schema.schema"
        raise UnsupportedField(f"{param}: this model needs the schema", param=param)


def _max_tokens(conversation: Conversation, model: Model, family: Family) -> int | None:
    """The limit that was asked for. Claude is told the catalog's where there is none, since a thinking budget has to fit below it."""
    return model.max_output if conversation.max_output is None and family.claude else conversation.max_output


def _tool(spec: ToolSpec) -> wire.Block:
    """A schema without any member says what an absent one says; the service wants at least the type."""
    if spec.custom:
        raise UnsupportedField(f"tools: {spec.name[:64]!r} takes free text; this model's tools take JSON arguments", param="tools")
    empty = spec.parameters is None or not bytes(spec.parameters).strip(b"{} \t\r\n")
    schema = wire.InputSchema(_NO_PARAMETERS if spec.parameters is None or empty else spec.parameters)
    return wire.Block(tool_spec=wire.ToolSpec(spec.name, schema, spec.description or None, bool(spec.strict)))


def _tool_config(
    conversation: Conversation, tools: list[wire.Block], rendered: Rendered, family: Family, extra: dict[str, object], dropped: dict[str, None]
) -> wire.ToolConfig | None:
    """Tools with what was said about choosing among them.

    Converse has neither `none` nor a switch for parallel calls. `none` is refused here even in Claude's own words, so a model is not
    shown tools that it may not call; unless earlier turns hold calls: the service demands the tools then. Claude is held to one call at
    a time by a `tool_choice` of its own, which then replaces `toolChoice`: a member that is in both is a 400.
    """
    choice = conversation.tool_choice
    mode = choice.mode if choice else "auto"
    if mode == "subset":
        param = "tool_choice.allowed_tools"
        raise UnsupportedField(f"{param}: this model can not be held to some of its tools; send only those", param=param)
    if not tools:
        if mode in _FORCED:
            raise InvalidRequest("tool_choice asks for a call, but there are no tools", param="tool_choice")
        return None
    name = choice.name or "" if choice else ""
    if mode == "none":
        if _has_calls(rendered):
            raise UnsupportedField("tool_choice: none can not be said to this provider once there were calls; leave it out", param="tool_choice")
        dropped["tools"] = None
        return None
    one_at_a_time = conversation.parallel_calls is False
    if family.claude and one_at_a_time:
        said: dict[str, object] = {"type": {"required": "any", "named": "tool"}.get(mode, mode)}
        said |= {"name": name} if mode == "named" else {}
        extra["tool_choice"] = said | {"disable_parallel_tool_use": True}
        return wire.ToolConfig(tools)
    if one_at_a_time:
        raise UnsupportedField("parallel_tool_calls: this model can not be held to one call at a time", param="parallel_tool_calls")
    if mode == "required":
        return wire.ToolConfig(tools, {"any": {}})
    if mode == "named":
        return wire.ToolConfig(tools, {"tool": {"name": name}})
    return wire.ToolConfig(tools, {"auto": {}} if choice else None)


def _recalled(rendered: Rendered) -> list[wire.Block]:
    """Definitions by name alone of the tools that earlier turns called: the service refuses calls of tools that nobody defines, and clients
    leave them out where they want a last word.
    """
    names = dict.fromkeys(block.tool_use.name for message in rendered.messages for block in message.content if block.tool_use)
    return [wire.Block(tool_spec=wire.ToolSpec(name, wire.InputSchema(_NO_PARAMETERS), _NOT_OFFERED)) for name in names]


def _has_calls(rendered: Rendered) -> bool:
    return any(block.tool_use or block.tool_result for message in rendered.messages for block in message.content)


def _output(conversation: Conversation) -> wire.OutputConfig | None:
    """The schema goes as a string: the client's own spelling of it."""
    output = conversation.output
    if output.kind != "json_schema" or output.schema is None:
        return None
    schema = wire.JSONSchema(bytes(output.schema).decode(), output.name or None)
    return wire.OutputConfig(text_format={"type": "json_schema", "structure": {"jsonSchema": schema}})


def _metadata(conversation: Conversation, dropped: dict[str, None]) -> Mapping[str, str] | None:
    """Whose request it is goes into the account's own logs; the model never sees it."""
    if not conversation.user:
        return None
    if _METADATA.fullmatch(conversation.user):
        return {"user": conversation.user}
    dropped["user"] = None
    return None


def _tier(conversation: Conversation, dropped: dict[str, None]) -> wire.ServiceTier | None:
    if conversation.service_tier in _TIERS:
        return wire.ServiceTier(str(conversation.service_tier))
    if conversation.service_tier not in (None, "auto"):
        dropped["service_tier"] = None
    return None


def _think(
    request: wire.Request, conversation: Conversation, model: Model, family: Family, extra: dict[str, object], dropped: dict[str, None]
) -> None:
    """Claude thinks by its own field, and takes effort where all models do."""
    choice = conversation.tool_choice
    forced = choice is not None and choice.mode in _FORCED
    limit = conversation.max_output or model.max_output
    asked = claude_thinking(conversation, model, max_tokens=limit, forced=forced, unthought=_inside_tool_loop(request))
    dropped |= dict.fromkeys(asked.dropped)
    if asked.thinking is not None and family.claude:
        extra["thinking"] = asked.thinking
    if asked.effort is not None:
        request.output_config = request.output_config or wire.OutputConfig()
        request.output_config.effort = asked.effort


def _inside_tool_loop(request: wire.Request) -> bool:
    """The model waits for tool results, and its turn came back without its thinking. Clients of the Chat dialect often echo no reasoning."""
    last = next((message for message in reversed(request.messages) if message.role == "assistant"), None)
    if last is None or not any(block.tool_use for block in last.content):
        return False
    return last.content[0].reasoning_content is None


def _sample(
    request: wire.Request, conversation: Conversation, model: Model, family: Family, extra: dict[str, object], dropped: dict[str, None]
) -> None:
    """Sampling, where model and thinking allow it. The default of 1 is the same as nothing and needs no report."""
    config = request.inference_config or wire.InferenceConfig()
    free = model.sampling and "thinking" not in extra
    for name in ("temperature", "top_p"):
        value: float | None = getattr(conversation, name)
        if value is None:
            continue
        if not free:
            if value != 1:
                dropped[name] = None
        elif value > 1 or value < 0:
            raise UnsupportedField(f"{name}: this model takes 0 to 1, not {value:g}", param=name)
        else:
            setattr(config, name, value)
    if conversation.top_k is None:
        return
    if not family.top_k or not free:
        dropped["top_k"] = None
        return
    nested: object = conversation.top_k
    for key in reversed(family.top_k):
        nested = {key: nested}
    extra |= nested if isinstance(nested, dict) else {}


def _stop_at(request: wire.Request, conversation: Conversation, family: Family, dropped: dict[str, None]) -> None:
    """Stop strings of white space only are refused. Claude tells which one it met, if asked to."""
    taken = [stop for stop in conversation.stop if stop.strip()]
    if len(taken) != len(conversation.stop):
        dropped["stop"] = None
    if taken and request.inference_config is not None:
        request.inference_config.stop_sequences = taken
        if family.claude:
            request.additional_model_response_field_paths = ["/stop_sequence"]


def _mark(breakpoints: Sequence[Breakpoint], limits: PromptCacheLimits, tools: list[wire.Block], rendered: Rendered) -> bool:
    """Put a cache point behind every block that the plan marks; True where one of the gateway's own was put. Of two at one place the
    longer lifetime stays. A model that caches nothing answers a cache point with a 403.
    """
    ours = False
    chosen: dict[int, tuple[Place, wire.CachePoint]] = {}
    for point in breakpoints if limits.style == "marks" else ():
        place = _place(point, limits, tools, rendered)
        if place is None:
            continue
        if id(place[1]) not in chosen:
            chosen[id(place[1])] = place, wire.CachePoint("default")
            ours = ours or point.origin == "gateway"
        if point.lifetime_s == 3600:
            chosen[id(place[1])][1].ttl = "1h"
    for (content, marked), made in chosen.values():
        at = next(number for number, one in enumerate(content) if one is marked)
        content.insert(at + 1, wire.Block(cache_point=made))
    return ours


def _place(point: Breakpoint, limits: PromptCacheLimits, tools: list[wire.Block], rendered: Rendered) -> Place | None:
    """The tool, or the block made of the part; where that vanished, the nearest earlier block of the same message.

    A tool message is one block whatever its parts, and is marked as a whole. Models that take no cache point beside tool results get it
    behind the message before, which is the model's own.
    """
    if point.section == "a_tools":
        return (tools, tools[point.index]) if 0 <= point.index < len(tools) else None
    places = rendered.places.get(point.index, [])
    found = next((place for part, place in reversed(places) if point.part < 0 or part <= point.part), None)
    if found is None or limits.on_results or not any(block.tool_result for block in found[0]):
        return found
    number = next(number for number, message in enumerate(rendered.messages) if message.content is found[0])
    before = rendered.messages[number - 1].content if number else []
    return (before, before[-1]) if before else None
