"""Anthropic Messages, spoken by a client: requests for answers and for counts of tokens, and errors in its words.

What stands outside the body belongs to the question: the version of the API, its feature flags, and the query (`?beta=true`).
Source: anthropic-python 2.11 `types/`, `_exceptions.py`; Anthropic's documentation of errors and streaming.
"""

from collections.abc import Mapping

import msgspec

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.anthropic_grammar import AnthropicCountGrammar, AnthropicGrammar
from tokenrouter.adapters.inbound.anthropic_open import open_messages
from tokenrouter.adapters.inbound.openai_chat import MAX_MESSAGES
from tokenrouter.adapters.json_body import read_extension, read_fields, read_list
from tokenrouter.adapters.sse import frame
from tokenrouter.adapters.wire.anthropic import MessageEventDecoder, decode_answer
from tokenrouter.adapters.wire.anthropic_writer import PING, MessageEventEncoder, encode_answer
from tokenrouter.errors import BudgetExhausted, GatewayError, InvalidRequest, QuotaExhausted, RateLimited, UpstreamFailed
from tokenrouter.model.answer import Answer
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import NOTHING, Envelope, Operation

_NULL = msgspec.Raw(b"null")
_NO_EXTENSIONS: Mapping[str, object] = {}

_KINDS: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_LIMITS = (RateLimited, QuotaExhausted, BudgetExhausted)
_KNOWN_KINDS = frozenset((*_KINDS.values(), "invalid_request_error", "api_error", "conflict_error"))

_FIELD_NAMES: Mapping[str, str] = {
    "max_completion_tokens": "max_tokens",
    "messages.name": "messages.name",
    "messages.reasoning": "messages.content.thinking",
    "messages.reasoning_details": "messages.content.thinking",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "response_format.json_schema.schema": "output_config.format.schema",
    "response_format.json_schema.strict": "output_config.format",
    "service_tier:fast": "speed",
    "show_reasoning": "thinking.display",
    "stop": "stop_sequences",
    "thinking_budget": "thinking.budget_tokens",
    "tools.function.parameters": "tools.input_schema",
    "user": "metadata.user_id",
}


class _Anthropic:
    """What both have in common."""

    dialect: str
    headers = frozenset(("anthropic-beta", "anthropic-version", ":query"))
    field_names = _FIELD_NAMES
    grammar: AnthropicGrammar

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `Dialect`."""
        fields = read_fields(body)
        extensions = {name: fields.pop(name) for name in [name for name in fields if name.startswith("x-")]}
        if "messages" not in fields:
            raise InvalidRequest("messages is missing", param="messages")
        messages = read_list(fields["messages"], "messages")
        if not 0 < len(messages) <= MAX_MESSAGES:
            raise InvalidRequest(f"messages must hold 1 to {MAX_MESSAGES} messages, not {len(messages)}", param="messages")
        tools = fields.get("tools")
        return Envelope(
            dialect=self.dialect,
            grammar=self.grammar,
            body=body,
            fields=fields,
            messages=messages,
            tools=() if tools is None or tools == _NULL else read_list(tools, "tools"),
            rest=tuple([name for name in fields if name not in ("messages", "tools", "system")]),
            extensions={name: read_extension(name, raw) for name, raw in extensions.items()} if extensions else _NO_EXTENSIONS,
            system=_system(fields.get("system")),
            outside=outside,
        )

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """See `InboundAdapter`."""
        tools = envelope.tools if tool_order is None else [envelope.tools[i] for i in tool_order]
        return open_messages(envelope, tools)

    def stream_type(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b"text/event-stream; charset=utf-8"

    def keep_alive(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return PING

    def encode_error(self, error: GatewayError, request_id: str = "") -> bytes:
        """See `Dialect`."""
        return msgspec.json.encode({**_error(error), **({"request_id": request_id} if request_id else {})})

    def encode_stream_error(self, error: GatewayError, framing: str = "") -> bytes:
        """See `Dialect`."""
        return frame(msgspec.json.encode(_error(error)), "error")


class AnthropicMessagesDialect(_Anthropic):
    """The dialect of `POST /v1/messages`; see `InboundAdapter`."""

    dialect = "anthropic-messages"
    operation: Operation = "generate"
    grammar = AnthropicGrammar()

    def decode_answer(self, body: bytes) -> Answer:
        """See `InboundAdapter`."""
        return decode_answer(body)

    def decoder(self, framing: str = "") -> MessageEventDecoder:
        """See `InboundAdapter`."""
        return MessageEventDecoder()

    def encode_answer(self, answer: Answer, wanted: Wanted) -> bytes:
        """See `InboundAdapter`."""
        return encode_answer(answer)

    def encoder(self, wanted: Wanted) -> MessageEventEncoder:
        """See `InboundAdapter`."""
        return MessageEventEncoder()


class AnthropicCountDialect(_Anthropic):
    """The dialect of `POST /v1/messages/count_tokens`; see `CountDialect`."""

    dialect = "anthropic-count"
    operation: Operation = "count"
    grammar = AnthropicCountGrammar()

    def encode_count(self, tokens: int) -> bytes:
        """See `CountDialect`."""
        return msgspec.json.encode({"input_tokens": tokens})


def _system(raw: msgspec.Raw | None) -> tuple[msgspec.Raw, ...]:
    """The pieces of a system prompt: its blocks; a string is one piece."""
    if raw is None or raw == _NULL:
        return ()
    if bytes(raw)[:1] == b'"':
        return (raw,)
    if bytes(raw)[:1] != b"[":
        raise InvalidRequest("system must be a string or an array of text blocks", param="system")
    return read_list(raw, "system")


def _error(error: GatewayError) -> dict[str, object]:
    """An error in this shape, which has no member for its place: the message says it.

    Limits and caps share a kind, so these name their cause where this API's clients look for one (`error_code` of its exceptions).

    What a provider reported inside its stream comes with its own kind in front (`anthropic_relay.failure`): clients act on it.
    """
    kind = _KINDS.get(error.status) or ("invalid_request_error" if error.status < 500 else "api_error")
    message = error.message
    head, colon, rest = message.partition(": ")
    if isinstance(error, UpstreamFailed) and colon and head in _KNOWN_KINDS:
        kind, message = head, rest
    elif error.param and error.param not in message:
        message = f"{error.param}: {message}"
    told: dict[str, object] = {"type": kind, "message": message}
    if isinstance(error, _LIMITS):
        told["details"] = {"error_code": error.code}
    return {"type": "error", "error": told}
