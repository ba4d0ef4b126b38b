"""Gemini's generateContent, spoken by a client: reading requests from outside, and errors in Google's words.

Model, method and framing stand in the path and the query. Names come in two spellings, as clients mix them.
Source: google-genai 3.4 `types.py` and `models.py` (what is sent to the Gemini API); https://ai.google.dev/api/generate-content.
"""

from collections.abc import Mapping

import msgspec

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.gemini_errors import encode_error, google_error
from tokenrouter.adapters.inbound.gemini_grammar import GeminiGrammar
from tokenrouter.adapters.inbound.gemini_open import open_generate
from tokenrouter.adapters.json_body import read_extension, read_fields
from tokenrouter.adapters.wire.gemini import GeminiEventDecoder, decode_answer
from tokenrouter.adapters.wire.gemini_layout import NULL, no_pseudo_names, raw_items, spelled, system_pieces, tool_pieces
from tokenrouter.adapters.wire.gemini_writer import GeminiEventEncoder, encode_answer
from tokenrouter.errors import GatewayError, InvalidRequest
from tokenrouter.model.answer import Answer
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import NOTHING, Envelope, Operation

MAX_CONTENTS = 10_000
"""More would keep the event loop for longer than other callers should wait."""

_NO_EXTENSIONS: Mapping[str, object] = {}
_PIECES = frozenset(("systemInstruction", "contents", "tools"))

FIELD_NAMES: Mapping[str, str] = {
    "messages": "contents",
    "messages.reasoning": "contents.parts.thoughtSignature",
    "messages.reasoning_details": "contents.parts.thoughtSignature",
    "tools.function": "tools.functionDeclarations",
    "tool_choice": "toolConfig.functionCallingConfig",
    "tool_choice.allowed_tools": "toolConfig.functionCallingConfig.allowedFunctionNames",
    "response_format": "generationConfig.responseMimeType",
    "response_format.type": "generationConfig.responseMimeType",
    "response_format.json_schema": "generationConfig.responseJsonSchema",
    "response_format.json_schema.schema": "generationConfig.responseJsonSchema",
    "reasoning_effort": "generationConfig.thinkingConfig.thinkingLevel",
    "thinking_budget": "generationConfig.thinkingConfig.thinkingBudget",
    "max_completion_tokens": "generationConfig.maxOutputTokens",
    "max_tokens": "generationConfig.maxOutputTokens",
    "temperature": "generationConfig.temperature",
    "top_p": "generationConfig.topP",
    "top_k": "generationConfig.topK",
    "frequency_penalty": "generationConfig.frequencyPenalty",
    "presence_penalty": "generationConfig.presencePenalty",
    "stop": "generationConfig.stopSequences",
    "seed": "generationConfig.seed",
    "n": "generationConfig.candidateCount",
    "logprobs": "generationConfig.responseLogprobs",
    "top_logprobs": "generationConfig.logprobs",
    "service_tier": "serviceTier",
}
"""What renderers call a field, in this dialect."""


class GeminiGenerate:
    """The dialect of `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`; see `InboundAdapter`."""

    dialect = "gemini-generate"
    operation: Operation = "generate"
    headers: frozenset[str] = frozenset((":query",))
    field_names = FIELD_NAMES
    grammar = GeminiGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `InboundAdapter`."""
        return read_envelope(self.dialect, self.grammar, body, outside)

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """See `InboundAdapter`."""
        return open_generate(envelope, tool_order)

    def decode_answer(self, body: bytes) -> Answer:
        """See `InboundAdapter`."""
        return decode_answer(body)

    def decoder(self, framing: str = "") -> GeminiEventDecoder:
        """See `InboundAdapter`."""
        return GeminiEventDecoder(framing)

    def encode_answer(self, answer: Answer, wanted: Wanted) -> bytes:
        """See `InboundAdapter`."""
        return encode_answer(answer)

    def encoder(self, wanted: Wanted) -> GeminiEventEncoder:
        """See `InboundAdapter`."""
        return GeminiEventEncoder(wanted.framing)

    def stream_type(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b"application/json; charset=UTF-8" if framing else b"text/event-stream"

    def keep_alive(self, framing: str = "") -> bytes:
        """See `Dialect`. Google's own clients take a comment among events for broken JSON; an array may hold white space anywhere."""
        return b"\n" if framing else b""

    def encode_error(self, error: GatewayError, request_id: str = "") -> bytes:
        """See `Dialect`."""
        return encode_error(error)

    def encode_stream_error(self, error: GatewayError, framing: str = "") -> bytes:
        """See `Dialect`. An array is left open behind its error: no parser takes it for a whole one."""
        data = msgspec.json.encode(google_error(error))
        return b",\r\n" + data if framing else b"data: " + data + b"\r\n\r\n"


def read_envelope(dialect: str, grammar: GeminiGrammar, body: bytes, outside: Mapping[str, str], inside: str = "") -> Envelope:
    """Read a body's outside. `inside`: the member whose members are the request's, where it stands there instead; see `gemini_count`.

    Raises InvalidRequest.
    """
    fields = read_fields(body)
    extensions = {name: fields.pop(name) for name in [name for name in fields if name.startswith("x-")]}
    names = spelled(fields)
    within = fields
    if inside and fields.get(names.get(inside, ""), NULL) != NULL:
        within = read_fields(bytes(fields[names[inside]]))
        if "contents" in names:
            raise InvalidRequest(f"contents and {inside} exclude each other", param="contents")
        names = spelled(within)
    no_pseudo_names(within)
    if within.get("contents", NULL) == NULL:
        raise InvalidRequest("contents is missing", param="contents")
    messages = raw_items(within["contents"], "contents")
    if not 0 < len(messages) <= MAX_CONTENTS:
        raise InvalidRequest(f"contents must hold 1 to {MAX_CONTENTS} contents, not {len(messages)}", param="contents")
    system, tools = names.get("systemInstruction"), names.get("tools")
    taken = {names[name] for name in _PIECES if name in names}
    rest = [name for name in within if name not in taken]
    pieces, tools_at = ((), "") if tools is None else tool_pieces(within[tools])
    return Envelope(
        dialect=dialect,
        grammar=grammar,
        body=body,
        fields=fields if within is fields else within,
        messages=messages,
        tools=pieces,
        rest=tuple(rest),
        extensions={name: read_extension(name, raw) for name, raw in extensions.items()} if extensions else _NO_EXTENSIONS,
        system=() if system is None else system_pieces(within[system]),
        outside=outside,
        tools_at=tools_at,
    )
