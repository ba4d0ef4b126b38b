"""OpenAI Responses, spoken by a client: reading requests from outside, answers and errors in its words.

Source: openai-python 3.52 `types/responses/`; the API reference on errors.
"""

from collections.abc import Callable, Mapping

import msgspec

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.openai_chat import error_fields
from tokenrouter.adapters.inbound.openai_responses_echo import echo_of, in_namespaces
from tokenrouter.adapters.inbound.openai_responses_grammar import ResponsesGrammar
from tokenrouter.adapters.inbound.openai_responses_open import open_responses
from tokenrouter.adapters.inbound.openai_responses_recall import items_of, recall
from tokenrouter.adapters.json_body import read_extension, read_fields, read_list
from tokenrouter.adapters.wire.openai_responses import ResponsesEventDecoder, decode_answer
from tokenrouter.adapters.wire.openai_responses_writer import ResponsesEventEncoder, encode_answer, error_event
from tokenrouter.errors import GatewayError, InvalidRequest
from tokenrouter.model.answer import Answer
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import NOTHING, Envelope, Operation

MAX_ITEMS = 10_000
"""More would keep the event loop for longer than other callers should wait."""

_NULL = msgspec.Raw(b"null")
_NO_EXTENSIONS: Mapping[str, object] = {}
_APART = ("input", "instructions", "tools")
_INSTEAD_OF_INPUT = ("previous_response_id", "conversation", "prompt")

_FIELD_NAMES: Mapping[str, str] = {
    "messages": "input",
    "messages.reasoning_details": "input.reasoning",
    "messages.tool_calls": "input.function_call",
    "response_format": "text.format",
    "response_format.json_schema": "text.format",
    "response_format.json_schema.name": "text.format.name",
    "response_format.json_schema.schema": "text.format.schema",
    "response_format.json_schema.strict": "text.format.strict",
    "response_format.json_schema.description": "text.format.description",
    "response_format.type": "text.format.type",
    "reasoning_effort": "reasoning.effort",
    "show_reasoning": "reasoning.summary",
    "verbosity": "text.verbosity",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "logprobs": "top_logprobs",
    "tool_choice.allowed_tools": "tool_choice",
    "user": "safety_identifier",
}


class OpenAIResponses:
    """The dialect of `POST /v1/responses`; see `InboundAdapter`."""

    dialect = "openai-responses"
    operation: Operation = "generate"
    headers: frozenset[str] = frozenset()
    field_names = _FIELD_NAMES
    grammar = ResponsesGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `InboundAdapter`. A text as input is one piece."""
        fields = read_fields(body)
        extensions = {name: fields.pop(name) for name in [name for name in fields if name.startswith("x-")]}
        tools, instructions = fields.get("tools", _NULL), fields.get("instructions", _NULL)
        return Envelope(
            dialect=self.dialect,
            grammar=self.grammar,
            body=body,
            fields=fields,
            system=() if instructions == _NULL else (instructions,),
            messages=_items(fields),
            tools=() if tools == _NULL else read_list(tools, "tools"),
            rest=tuple([name for name in fields if name not in _APART]),
            extensions={name: read_extension(name, raw) for name, raw in extensions.items()} if extensions else _NO_EXTENSIONS,
            outside=outside,
        )

    def recall(self, envelope: Envelope, find: Callable[[str], bytes | None]) -> Envelope:
        """See `RecallingDialect`."""
        return recall(envelope, find, self.parse)

    def items(self, said: bytes) -> tuple[tuple[str, bytes], ...]:
        """See `RecallingDialect`."""
        return items_of(said)

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """See `InboundAdapter`."""
        return open_responses(envelope, tool_order)

    def decode_answer(self, body: bytes) -> Answer:
        """See `InboundAdapter`."""
        return decode_answer(body)

    def decoder(self, framing: str = "") -> ResponsesEventDecoder:
        """See `InboundAdapter`."""
        return ResponsesEventDecoder()

    def encode_answer(self, answer: Answer, wanted: Wanted) -> bytes:
        """See `InboundAdapter`."""
        return encode_answer(answer, echo_of(wanted.asked), in_namespaces(wanted.asked))

    def encoder(self, wanted: Wanted) -> ResponsesEventEncoder:
        """See `InboundAdapter`."""
        return ResponsesEventEncoder(echo=echo_of(wanted.asked), spaces=in_namespaces(wanted.asked), created_s=wanted.created_s)

    def stream_type(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b"text/event-stream; charset=utf-8"

    def keep_alive(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b": keep-alive\n\n"

    def encode_error(self, error: GatewayError, request_id: str = "") -> bytes:
        """See `Dialect`."""
        return msgspec.json.encode({"error": error_fields(error)})

    def encode_stream_error(self, error: GatewayError, framing: str = "") -> bytes:
        """See `Dialect`. How many events went before is not known here; clients read the number of deltas only."""
        return error_event(error_fields(error), 0)


def _items(fields: Mapping[str, msgspec.Raw]) -> tuple[msgspec.Raw, ...]:
    value = fields.get("input", _NULL)
    if value == _NULL:
        if all(fields.get(name, _NULL) == _NULL for name in _INSTEAD_OF_INPUT):
            raise InvalidRequest("input is missing", param="input")
        return ()
    if bytes(value)[:1] == b'"':
        return (value,)
    if bytes(value)[:1] != b"[":
        raise InvalidRequest("input must be a string or an array of items", param="input")
    items = read_list(value, "input")
    if not 0 < len(items) <= MAX_ITEMS:
        raise InvalidRequest(f"input must hold 1 to {MAX_ITEMS} items, not {len(items)}", param="input")
    return items
