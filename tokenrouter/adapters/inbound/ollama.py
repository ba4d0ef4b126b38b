"""Ollama's own API, spoken by a client: chats, generations and vectors. Streams are the default here, one JSON object a line.

Source: https://docs.ollama.com/api; https://github.com/ollama/ollama `api/types.go`; ollama-python 0.6.
"""

from collections.abc import Mapping

import msgspec

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.ollama_grammar import OllamaEmbedGrammar, OllamaGenerateGrammar, OllamaGrammar
from tokenrouter.adapters.inbound.ollama_open import ChatTurns, open_request, prompt_turns
from tokenrouter.adapters.inbound.openai_chat import MAX_MESSAGES
from tokenrouter.adapters.inbound.openai_embeddings import MAX_INPUTS
from tokenrouter.adapters.json_body import read_extension, read_fields, read_list
from tokenrouter.adapters.wire.ollama import OllamaEventDecoder, decode_answer
from tokenrouter.adapters.wire.ollama_writer import Endpoint, OllamaEventEncoder, encode_answer, encode_vector, encode_vectors
from tokenrouter.errors import GatewayError, InvalidRequest
from tokenrouter.model.answer import Answer
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.envelope import NOTHING, Envelope, Operation

_NO_EXTENSIONS: Mapping[str, object] = {}
_EMPTY = (b"null", b'""', b"[]")
_EMBED_FIELDS = frozenset(("model", "input", "prompt", "truncate", "dimensions", "keep_alive", "options"))

_FIELD_NAMES = {
    "max_completion_tokens": "options.num_predict",
    "max_tokens": "options.num_predict",
    "reasoning_effort": "think",
    "thinking_budget": "think",
    "messages.reasoning_details": "messages.thinking",
    "messages.reasoning": "messages.thinking",
    "response_format": "format",
    "response_format.type": "format",
    "response_format.json_schema": "format",
    "response_format.json_schema.schema": "format",
    **{name: f"options.{name}" for name in ("temperature", "top_p", "top_k", "seed", "stop", "frequency_penalty", "presence_penalty")},
}


class _Ollama:
    """What all of them have in common; see `Dialect`."""

    dialect: str
    operation: Operation
    headers: frozenset[str] = frozenset()
    field_names: Mapping[str, str] = _FIELD_NAMES

    def stream_type(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b"application/x-ndjson"

    def keep_alive(self, framing: str = "") -> bytes:
        """See `Dialect`. Clients read every line as JSON, an empty one too."""
        return b""

    def encode_error(self, error: GatewayError, request_id: str = "") -> bytes:
        """See `Dialect`. There is one sentence for everything, so it says the place, too."""
        said = error.message if not error.param or error.param in error.message else f"{error.param}: {error.message}"
        return msgspec.json.encode({"error": said})

    def encode_stream_error(self, error: GatewayError, framing: str = "") -> bytes:
        """See `Dialect`. The client raises on such a line."""
        return self.encode_error(error) + b"\n"


class _Generating(_Ollama):
    """Both ways to ask a model for text; see `InboundAdapter`."""

    operation: Operation = "generate"
    endpoint: Endpoint

    def decode_answer(self, body: bytes) -> Answer:
        """See `InboundAdapter`."""
        return decode_answer(body)

    def decoder(self, framing: str = "") -> OllamaEventDecoder:
        """See `InboundAdapter`."""
        return OllamaEventDecoder()

    def encode_answer(self, answer: Answer, wanted: Wanted) -> bytes:
        """See `InboundAdapter`."""
        return encode_answer(answer, self.endpoint)

    def encoder(self, wanted: Wanted) -> OllamaEventEncoder:
        """See `InboundAdapter`."""
        return OllamaEventEncoder(self.endpoint, wanted.created_s)


class OllamaChat(_Generating):
    """The dialect of `POST /api/chat`."""

    dialect = "ollama-chat"
    endpoint: Endpoint = "chat"
    grammar = OllamaGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `Dialect`. No messages are allowed: that loads a model."""
        fields, extensions = _outside(body)
        messages = _listed(fields, "messages")
        if len(messages) > MAX_MESSAGES:
            raise InvalidRequest(f"messages must hold {MAX_MESSAGES} messages at most, not {len(messages)}", param="messages")
        return Envelope(
            dialect=self.dialect,
            grammar=self.grammar,
            body=body,
            fields=fields,
            messages=messages,
            tools=_listed(fields, "tools"),
            rest=tuple([name for name in fields if name not in ("messages", "tools")]),
            extensions=extensions,
            outside=outside,
        )

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """See `InboundAdapter`."""
        reader = ChatTurns()
        turns = reader.read(envelope.messages)
        return open_request(envelope, tool_order, turns, reader.noted)


class OllamaGenerate(_Generating):
    """The dialect of `POST /api/generate`."""

    dialect = "ollama-generate"
    endpoint: Endpoint = "generate"
    grammar = OllamaGenerateGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `Dialect`. No prompt is allowed: that loads a model."""
        fields, extensions = _outside(body)
        for name, start, kind in (("prompt", b'"', "a string"), ("system", b'"', "a string"), ("images", b"[", "an array")):
            if name in fields and not bytes(fields[name]).startswith((start, b"n")):
                raise InvalidRequest(f"{name} must be {kind}", param=name)
        pieces = {name: fields[name] for name in ("system", "images", "prompt") if name in fields and bytes(fields[name]) not in _EMPTY}
        return Envelope(
            dialect=self.dialect,
            grammar=self.grammar,
            body=body,
            fields=fields,
            messages=tuple([raw for name, raw in pieces.items() if name != "system"]),
            tools=(),
            rest=tuple([name for name in fields if name not in pieces]),
            extensions=extensions,
            system=(pieces["system"],) if "system" in pieces else (),
            outside=outside,
        )

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """See `InboundAdapter`."""
        return open_request(envelope, None, prompt_turns(envelope), {})


class OllamaEmbed(_Ollama):
    """The dialect of `POST /api/embed`; see `EmbedDialect`."""

    dialect = "ollama-embed"
    operation: Operation = "embed"
    grammar = OllamaEmbedGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `Dialect`. No input is allowed: that loads a model."""
        fields, extensions = _outside(body)
        given = fields.get("input", msgspec.Raw(b"null"))
        messages = (given,) if bytes(given).startswith(b'"') else _listed(fields, "input")
        if len(messages) > MAX_INPUTS:
            raise InvalidRequest(f"input must hold {MAX_INPUTS} inputs at most, not {len(messages)}", param="input")
        return _embedding(self.dialect, self.grammar, body, fields, messages, extensions, outside)

    def open_inputs(self, envelope: Envelope) -> EmbedRequest:
        """See `EmbedDialect`."""
        return _inputs(envelope, "input")

    def encode_vectors(self, embeddings: Embeddings, wanted: Wanted) -> bytes:
        """See `EmbedDialect`."""
        return encode_vectors(embeddings)


class OllamaEmbeddings(_Ollama):
    """The dialect of `POST /api/embeddings`, which `/api/embed` replaced: one text, one vector; see `EmbedDialect`."""

    dialect = "ollama-embeddings"
    operation: Operation = "embed"
    grammar = OllamaEmbedGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `Dialect`."""
        fields, extensions = _outside(body)
        if bytes(fields.get("prompt", b"null")) in _EMPTY:
            raise InvalidRequest("prompt is missing", param="prompt")
        return _embedding(self.dialect, self.grammar, body, fields, (fields["prompt"],), extensions, outside)

    def open_inputs(self, envelope: Envelope) -> EmbedRequest:
        """See `EmbedDialect`."""
        return _inputs(envelope, "prompt")

    def encode_vectors(self, embeddings: Embeddings, wanted: Wanted) -> bytes:
        """See `EmbedDialect`."""
        return encode_vector(embeddings)


def _outside(body: bytes) -> tuple[dict[str, msgspec.Raw], Mapping[str, object]]:
    """The members of a body, and our own extension fields."""
    fields = read_fields(body)
    extensions = {name: fields.pop(name) for name in [name for name in fields if name.startswith("x-")]}
    return fields, {name: read_extension(name, raw) for name, raw in extensions.items()} if extensions else _NO_EXTENSIONS


def _listed(fields: Mapping[str, msgspec.Raw], name: str) -> tuple[msgspec.Raw, ...]:
    return () if name not in fields or bytes(fields[name]) == b"null" else read_list(fields[name], name)


def _embedding(
    dialect: str,
    grammar: OllamaEmbedGrammar,
    body: bytes,
    fields: dict[str, msgspec.Raw],
    messages: tuple[msgspec.Raw, ...],
    extensions: Mapping[str, object],
    outside: Mapping[str, str],
) -> Envelope:
    return Envelope(
        dialect=dialect,
        grammar=grammar,
        body=body,
        fields=fields,
        messages=messages,
        tools=(),
        rest=tuple([name for name in fields if name not in ("input", "prompt")]),
        extensions=extensions,
        outside=outside,
    )


def _inputs(envelope: Envelope, field: str) -> EmbedRequest:
    fields = envelope.fields
    if not envelope.messages:
        raise InvalidRequest(f"{field} is empty: only Ollama has a model to load", param=field)
    values = {name: msgspec.json.decode(fields[name]) for name in ("dimensions", "truncate", "options") if name in fields}
    dimensions, truncate = values.get("dimensions"), values.get("truncate")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 0):
        raise InvalidRequest("dimensions must be a whole number", param="dimensions")
    if not isinstance(truncate, bool | None):
        raise InvalidRequest("truncate must be true or false", param="truncate")
    options = [f"options.{name}" for name, value in (values.get("options") or {}).items() if value is not None]
    unknown = [name for name, raw in fields.items() if name not in _EMBED_FIELDS and bytes(raw) != b"null"]
    return EmbedRequest(
        inputs=tuple([msgspec.json.decode(raw, type=str) for raw in envelope.messages]),
        dimensions=dimensions or None,
        truncate=truncate,
        leftover=(*options, *unknown),
    )
