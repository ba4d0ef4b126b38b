"""Requests of any dialect as Ollama's own.

Ollama drops the start of a prompt that is longer than its context, in silence; here it is told not to, so that the client hears of it. Its
default context is small, though, whatever the model was made for: a longer prompt asks for room in steps of powers of two, because another
size makes the server load the model anew.
Source: https://docs.ollama.com/api/chat; https://github.com/ollama/ollama `api/types.go`, `server/routes.go`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.ollama_turns import render_turns
from tokenrouter.adapters.wire.ollama_request import Chat, Embed, Function, Message, Options, Tool
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.catalog import Model
from tokenrouter.model.conversation import Conversation, ToolSpec
from tokenrouter.model.embedding import EmbedRequest

JSON: Final = (("content-type", "application/json"),)
_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")
_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')
_LEAST_OF_MEDIUM, _LEAST_OF_HIGH = 4_096, 16_384
"""Thinking tokens from which a budget counts as medium, or high, effort."""

_DEFAULT_CONTEXT, _MOST_CONTEXT = 4_096, 1 << 20
"""Tokens: the smallest default that servers have (docs.ollama.com/context-length), and more than models were made for; servers cut it to that."""
_DEFAULT_OUTPUT = 2_048
_BYTES_PER_TOKEN, _TOKENS_PER_PICTURE = 3, 1_500
"""Estimates on the safe side."""

_REFUSED: Mapping[str, str] = {
    "logprobs": "log probabilities can not be told in this API's answers",
    "top_logprobs": "log probabilities can not be told in this API's answers",
    "modalities": "this model answers in text only",
    "audio": "this model answers in text only",
    "web_search_options": "this provider has no web search",
    "moderation": "this provider has no moderation of requests",
}
"""Without these the answer would lack what the client needs. All other fields without a counterpart are hints: dropped, and reported."""

_LEVELS: Mapping[str, str] = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def render_chat(conversation: Conversation, model: Model) -> Outgoing:
    """See `TranslatedWire.translate`."""
    dropped = dict.fromkeys(conversation.leftover)
    _refuse(conversation)
    messages, tools = render_turns(conversation.turns, dropped), _tools(conversation, dropped)
    options = Options(
        num_ctx=_room(messages, tools, conversation.max_output),
        num_predict=conversation.max_output,
        temperature=conversation.temperature,
        top_p=conversation.top_p,
        top_k=conversation.top_k,
        seed=conversation.seed,
        stop=list(conversation.stop) or None,
        frequency_penalty=conversation.frequency_penalty,
        presence_penalty=conversation.presence_penalty,
    )
    chat = Chat(
        model=model.name,
        messages=messages,
        stream=conversation.stream,
        tools=tools,
        options=options if options != Options() else None,
        format=_format(conversation, dropped),
        think=_think(conversation, model, dropped),
    )
    hints = {
        "parallel_tool_calls": conversation.parallel_calls is False,
        "verbosity": conversation.verbosity not in (None, "medium"),
        "user": conversation.user is not None,
        "service_tier": conversation.service_tier not in (None, "auto", "default"),
    }
    dropped |= {name: None for name, said in hints.items() if said}
    return Outgoing(path="/api/chat", headers=JSON, body=_encode(chat.members()), dropped=tuple(dropped))


def _room(messages: Sequence[Message], tools: Sequence[Tool] | None, max_output: int | None) -> int | None:
    """Tokens of context for a prompt and its answer; None where the server's default holds them."""
    pictures = sum(len(message.images) for message in messages)
    texts = [msgspec.structs.replace(message, images=[]) for message in messages]
    tokens = len(_encode((texts, tools))) // _BYTES_PER_TOKEN + pictures * _TOKENS_PER_PICTURE + (max_output or _DEFAULT_OUTPUT)
    return None if tokens <= _DEFAULT_CONTEXT else 1 << min(tokens - 1, _MOST_CONTEXT - 1).bit_length()


def _refuse(conversation: Conversation) -> None:
    if conversation.choices != 1:
        raise UnsupportedField("n: this provider gives one answer at a time", param="n")
    for name in conversation.leftover:
        if name in _REFUSED:
            raise UnsupportedField(f"{name}: {_REFUSED[name]}", param=name)


def _tools(conversation: Conversation, dropped: dict[str, None]) -> list[Tool] | None:
    """The tools that may be called. There is no way to say that one must be."""
    choice, specs = conversation.tool_choice, conversation.tools
    if choice is not None and (choice.mode in ("required", "named") or choice.required):
        if not specs:
            raise InvalidRequest("tool_choice asks for a call, but there are no tools", param="tool_choice")
        raise UnsupportedField("tool_choice: this provider can not make a model call a tool", param="tool_choice")
    if choice is not None and choice.mode == "none":
        return None
    if choice is not None and choice.mode == "subset":
        specs = tuple([spec for spec in specs if spec.name in choice.names])
    return [_tool(spec, f"tools[{number}]", dropped) for number, spec in enumerate(specs)] or None


def _tool(spec: ToolSpec, path: str, dropped: dict[str, None]) -> Tool:
    if spec.custom:
        raise UnsupportedField(f"{path} is a custom tool; this provider takes functions only", param=f"{path}.type")
    if spec.strict:
        dropped["tools.function.strict"] = None
    return Tool(Function(spec.name, spec.parameters or _NO_PARAMETERS, spec.description))


def _format(conversation: Conversation, dropped: dict[str, None]) -> msgspec.Raw:
    """Ollama holds the model to a schema by a grammar, so `strict` is what it does anyway."""
    output = conversation.output
    if output.kind == "text":
        return _NULL
    if output.kind == "json_object":
        return msgspec.Raw(b'"json"')
    if output.schema is None:
        param = "response_format.json_schema.schema"
        raise UnsupportedField(f"{param}: this model needs the schema", param=param)
    if output.name:
        dropped["response_format.json_schema.name"] = None
    return output.schema


def _think(conversation: Conversation, model: Model, dropped: dict[str, None]) -> bool | str | None:
    """Models that can not think refuse to be asked; any may be told not to."""
    effort, budget = conversation.effort, conversation.thinking_budget
    if effort == "none" or (effort is None and budget == 0):
        return False
    if effort is None and budget is None:
        return None
    if effort is not None and effort not in _LEVELS:
        param = "reasoning_effort"
        raise UnsupportedField(f"{param}: {effort[:40]!r} is none of none, {', '.join(_LEVELS)}", param=param)
    field = "reasoning_effort" if effort is not None else "thinking_budget"
    if model.reasoning == "none":
        dropped[field] = None
        return None
    if effort is None:
        dropped[field] = None
        return _level(budget)
    if _LEVELS[effort] != effort:
        dropped[field] = None
    return _LEVELS[effort]


def _level(budget: int | None) -> str:
    if budget is None or budget < 0:
        return "medium"
    return "low" if budget < _LEAST_OF_MEDIUM else "medium" if budget < _LEAST_OF_HIGH else "high"


def render_inputs(request: EmbedRequest, model: Model) -> Outgoing:
    """See `EmbedWire.translate_inputs`. Token ids are of another model's making."""
    inputs: list[str] = []
    for given in request.inputs:
        if not isinstance(given, str):
            raise UnsupportedField("input: this model has a tokenizer of its own; send the text", param="input")
        inputs.append(given)
    hints = (("task", request.task), ("user", request.user))
    dropped = (*request.leftover, *[name for name, said in hints if said is not None])
    body = _encode(Embed(model.name, tuple(inputs), request.dimensions, request.truncate))
    return Outgoing(path="/api/embed", headers=JSON, body=body, dropped=dropped)
