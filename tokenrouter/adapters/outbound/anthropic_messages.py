"""Requests to Anthropic's Messages API, and its answers.

Source: Anthropic's API reference and its documentation of prompt caching, extended and adaptive thinking, effort, tool use, structured
outputs and stop sequences; anthropic-python 2.11.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Self

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.anthropic_diagnostics import AnthropicDiagnostics
from tokenrouter.adapters.outbound.anthropic_native import MESSAGES_PATH, VERSION, AnthropicNative
from tokenrouter.adapters.outbound.anthropic_turns import Rendered, render_turns
from tokenrouter.adapters.outbound.claude_thinking import claude_thinking
from tokenrouter.adapters.wire.anthropic import MessageEventDecoder, decode_answer, error_message, usage_of
from tokenrouter.adapters.wire.anthropic_request import (
    CacheControl,
    Choice,
    JSONFormat,
    MarkableBlock,
    Metadata,
    OutputConfig,
    RedactedThinkingBlock,
    Request,
    ThinkingBlock,
    Tool,
    ToolUseBlock,
)
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Answer
from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.conversation import Conversation, ToolSpec
from tokenrouter.model.envelope import Operation
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Volatile

_encode = msgspec.json.Encoder().encode

_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')

_REFUSED: Mapping[str, str] = {
    "logprobs": "this model tells no log probabilities",
    "top_logprobs": "this model tells no log probabilities",
    "modalities": "this model answers in text only",
    "audio": "this model answers in text only",
    "web_search_options": "this model's web search can not be asked for in this dialect",
    "moderation": "this provider has no moderation of requests",
}
"""Without these the answer would lack what the client needs. All other fields without a counterpart are hints: dropped, and reported."""

_TIERS: Final[dict[str, Literal["auto", "standard_only"]]] = {"auto": "auto", "default": "standard_only"}


class AnthropicMessages(AnthropicDiagnostics):
    """The wire of `POST /v1/messages`; see `OutboundAdapter`."""

    wire = "anthropic-messages"
    operation: Operation = "generate"

    def __init__(self, volatile: tuple[Volatile, ...] = ()) -> None:
        """`volatile`: the known per-request lines that `volatile.known` may drop."""
        self._native = AnthropicNative(volatile)

    @property
    def native(self) -> AnthropicNative:
        """See `OutboundAdapter`."""
        return self._native

    @property
    def translated(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `OutboundAdapter`. Fields without a counterpart are refused where the answer depends on them, else dropped and reported."""
        dropped = dict.fromkeys(conversation.leftover)
        _refuse(conversation)
        rendered = render_turns(conversation.turns, mid_system=model.mid_system, dropped=dropped)
        tools = [_tool(spec) for spec in conversation.tools]
        marked = _mark(plan.breakpoints, tools, rendered)
        request = Request(
            model=model.name,
            max_tokens=model.max_output if conversation.max_output is None else conversation.max_output,
            stream=conversation.stream,
            stop_sequences=_stops(conversation, dropped),
            tool_choice=_tool_choice(conversation),
            output_config=_output(conversation, dropped),
            metadata=Metadata(conversation.user) if conversation.user else None,
            service_tier=_tier(conversation, dropped),
            tools=tools or None,
            system=rendered.system or None,
            messages=rendered.messages,
        )
        _think(request, conversation, model, dropped)
        _sample(request, conversation, model, dropped)
        for name in ("seed", "frequency_penalty", "presence_penalty", "verbosity"):
            if getattr(conversation, name) is not None:
                dropped[name] = None
        headers = (("anthropic-version", VERSION), ("content-type", "application/json"))
        edits = ("marks.plan",) if marked else ()
        return Outgoing(path=MESSAGES_PATH, headers=headers, body=_encode(request), edits=edits, dropped=tuple(dropped))

    def decode_answer(self, body: bytes) -> Answer:
        """See `OutboundAdapter`."""
        return decode_answer(body)

    def decoder(self) -> MessageEventDecoder:
        """See `OutboundAdapter`."""
        return MessageEventDecoder()

    def usage(self, body: bytes) -> Usage:
        """See `OutboundAdapter`."""
        return usage_of(body)

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


def _tool(spec: ToolSpec) -> Tool:
    """A schema without any member says what an absent one says; the vendor wants at least the type."""
    if spec.custom:
        raise UnsupportedField(f"tools: {spec.name[:64]!r} takes free text; this model's tools take JSON arguments", param="tools")
    empty = spec.parameters is None or not bytes(spec.parameters).strip(b"{} \t\r\n")
    return Tool(spec.name, _NO_PARAMETERS if spec.parameters is None or empty else spec.parameters, spec.description, bool(spec.strict))


def _tool_choice(conversation: Conversation) -> Choice | None:
    """Without tools nothing may be said about them, and `auto` or `none` change nothing."""
    choice = conversation.tool_choice
    mode = choice.mode if choice else None
    if mode == "subset":
        param = "tool_choice.allowed_tools"
        raise UnsupportedField(f"{param}: this model can not be held to some of its tools; send only those", param=param)
    if not conversation.tools:
        if mode in ("required", "named"):
            raise InvalidRequest("tool_choice asks for a call, but there are no tools", param="tool_choice")
        return None
    one_at_a_time = conversation.parallel_calls is False
    match mode:
        case None:
            return Choice("auto", disable_parallel_tool_use=True) if one_at_a_time else None
        case "none":
            return Choice("none")
        case "auto":
            return Choice("auto", disable_parallel_tool_use=one_at_a_time)
        case "required":
            return Choice("any", disable_parallel_tool_use=one_at_a_time)
        case "named":
            return Choice("tool", name=choice.name if choice else None, disable_parallel_tool_use=one_at_a_time)


def _output(conversation: Conversation, dropped: dict[str, None]) -> OutputConfig | None:
    output = conversation.output
    if output.kind != "json_schema" or output.schema is None:
        return None
    if output.name:
        dropped["response_format.json_schema.name"] = None
    return OutputConfig(format=JSONFormat(output.schema))


def _stops(conversation: Conversation, dropped: dict[str, None]) -> list[str] | None:
    """The vendor refuses stop strings of white space only."""
    taken = [stop for stop in conversation.stop if stop.strip()]
    if len(taken) != len(conversation.stop):
        dropped["stop"] = None
    return taken or None


def _tier(conversation: Conversation, dropped: dict[str, None]) -> Literal["auto", "standard_only"] | None:
    if conversation.service_tier is None:
        return None
    tier = _TIERS.get(conversation.service_tier)
    if tier is None:
        dropped["service_tier"] = None
    return tier


def _think(request: Request, conversation: Conversation, model: Model, dropped: dict[str, None]) -> None:
    forced = request.tool_choice is not None and request.tool_choice.type in ("any", "tool")
    unthought = _inside_tool_loop(request)
    asked = claude_thinking(conversation, model, max_tokens=request.max_tokens, forced=forced, unthought=unthought)
    dropped |= dict.fromkeys(asked.dropped)
    request.thinking = asked.thinking
    if asked.effort is not None:
        request.output_config = request.output_config or OutputConfig()
        request.output_config.effort = asked.effort


def _inside_tool_loop(request: Request) -> bool:
    """The model waits for tool results, and its turn came back without its thinking: then thinking with a budget is a 400.

    Clients of the Chat dialect often echo no reasoning.
    """
    last = next((message for message in reversed(request.messages) if message.role == "assistant"), None)
    if last is None or not any(isinstance(block, ToolUseBlock) for block in last.content):
        return False
    return not isinstance(last.content[0], ThinkingBlock | RedactedThinkingBlock)


def _sample(request: Request, conversation: Conversation, model: Model, dropped: dict[str, None]) -> None:
    """Sampling, where model and thinking allow it. The default of 1 is the same as nothing and needs no report."""
    wanted: tuple[tuple[Literal["temperature", "top_p"], float | None], ...] = (
        ("temperature", conversation.temperature),
        ("top_p", conversation.top_p),
    )
    for name, value in wanted:
        if value is None:
            continue
        if not model.sampling or request.thinking is not None:
            if value != 1:
                dropped[name] = None
        elif value > 1 or value < 0:
            raise UnsupportedField(f"{name}: this model takes 0 to 1, not {value:g}", param=name)
        else:
            setattr(request, name, value)
    if conversation.top_k is not None:
        if not model.sampling or request.thinking is not None:
            dropped["top_k"] = None
        else:
            request.top_k = conversation.top_k


def _mark(breakpoints: Sequence[Breakpoint], tools: list[Tool], rendered: Rendered) -> bool:
    """Write the plan's marks; True where one of the gateway's own was written. A place with two marks keeps the longer lifetime."""
    ours = False
    for point in breakpoints:
        block = _place(point, tools, rendered)
        if block is None:
            continue
        if block.cache_control is None:
            ours = ours or point.origin == "gateway"
            block.cache_control = CacheControl()
        if point.lifetime_s == 3600:
            block.cache_control.ttl = "1h"
    return ours


def _place(point: Breakpoint, tools: list[Tool], rendered: Rendered) -> Tool | MarkableBlock | None:
    """Where a mark goes: the tool, or the block made of the part; where that vanished, the nearest earlier block of the same message.

    A tool message is one block whatever its parts, and carries the mark as a whole: the vendor marks no block inside another.
    """
    if point.section == "a_tools":
        return tools[point.index] if 0 <= point.index < len(tools) else None
    places = rendered.places.get(point.index, [])
    if point.part < 0:
        return places[-1][1] if places else None
    return next((block for part, block in reversed(places) if part <= point.part), None)
