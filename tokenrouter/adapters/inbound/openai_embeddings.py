"""OpenAI Embeddings, spoken by a client. Each input is a piece of its own, so that a corpus embedded again is read once.

Source: openai-python 3.52 `types/embedding_create_params.py`; the API reference on embeddings.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.openai_chat import error_fields
from tokenrouter.adapters.json_body import read_extension, read_fields, read_list
from tokenrouter.adapters.wire.embeddings import encode_vectors
from tokenrouter.errors import GatewayError, InvalidRequest
from tokenrouter.model.chunk import Shape
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.envelope import NOTHING, Envelope, Operation, ParamFacts, PieceFacts
from tokenrouter.model.volatile import Volatile

MAX_INPUTS = 10_000
"""More would keep the event loop for longer than other callers should wait. OpenAI itself takes 2,048."""

_KNOWN = frozenset(("model", "input", "dimensions", "encoding_format", "user"))
_ENCODINGS = ("float", "base64")
_NULL = msgspec.Raw(b"null")
_NO_EXTENSIONS: Mapping[str, object] = {}


class OpenAIEmbeddingsGrammar:
    """What an embeddings request means; see `Grammar`. Its messages are the inputs: texts, or lists of token ids."""

    places = ("input", "input", "tools")
    argument_text = False
    system_shape = message_shape = tool_shape = params_shape = Shape()

    def read_message(self, value: object) -> PieceFacts:
        """See `Grammar`."""
        if not isinstance(value, str) and not _are_tokens(value):
            raise InvalidRequest("an input must be a text or a list of token ids")
        return PieceFacts(role="user", answer_value=value, markable=False)

    def read_system(self, value: object) -> PieceFacts:
        """See `Grammar`. There is no system prompt."""
        return self.read_message(value)

    def read_tool(self, value: object) -> PieceFacts:
        """See `Grammar`. There are no tools."""
        raise InvalidRequest("embeddings take no tools")

    def without_lines(self, value: object, lines: Sequence[Volatile]) -> object:
        """See `Grammar`. Nothing here is a client's own line."""
        return value

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`. The same text has the same vector, so every request is deterministic."""
        model, encoding, user = fields.get("model"), fields.get("encoding_format"), fields.get("user")
        if not isinstance(model, str) or not 0 < len(model) <= 256:
            raise InvalidRequest("model must be a string of 1 to 256 characters", param="model")
        if not isinstance(user, str | None):
            raise InvalidRequest("user must be a string", param="user")
        return ParamFacts(
            model=model,
            stream=False,
            include_usage=False,
            max_output=None,
            choices=1,
            deterministic=True,
            stateful=False,
            own_affinity=False,
            service_tier=str(fields.get("service_tier") or ""),
            unserved="",
            user=user or "",
            prompt_value={},
            answer_value={
                name: value
                for name, value in fields.items()
                if name not in ("model", "user") and value is not None and not (name == "encoding_format" and encoding == "float")
            },
            side_value={},
        )


def _are_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int and token >= 0 for token in value)


class OpenAIEmbeddings:
    """The dialect of `POST /v1/embeddings`; see `EmbedDialect`."""

    dialect = "openai-embeddings"
    operation: Operation = "embed"
    headers: frozenset[str] = frozenset()
    field_names: Mapping[str, str] = {}
    grammar = OpenAIEmbeddingsGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `Dialect`. One text, and one list of token ids, is one input."""
        fields = read_fields(body)
        extensions = {name: fields.pop(name) for name in [name for name in fields if name.startswith("x-")]}
        if "input" not in fields:
            raise InvalidRequest("input is missing", param="input")
        return Envelope(
            dialect=self.dialect,
            grammar=self.grammar,
            body=body,
            fields=fields,
            messages=_inputs(fields["input"]),
            tools=(),
            rest=tuple([name for name in fields if name != "input"]),
            extensions={name: read_extension(name, raw) for name, raw in extensions.items()} if extensions else _NO_EXTENSIONS,
            outside=outside,
        )

    def open_inputs(self, envelope: Envelope) -> EmbedRequest:
        """See `EmbedDialect`."""
        fields = envelope.fields
        inputs = [msgspec.json.decode(raw) for raw in envelope.messages]
        dimensions, encoding, user = [_value(fields, name) for name in ("dimensions", "encoding_format", "user")]
        if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
            raise InvalidRequest("dimensions must be a whole number above 0", param="dimensions")
        if encoding is not None and encoding not in _ENCODINGS:
            raise InvalidRequest(f"encoding_format must be one of {', '.join(_ENCODINGS)}", param="encoding_format")
        return EmbedRequest(
            inputs=tuple([given if isinstance(given, str) else tuple(given) for given in inputs]),
            dimensions=dimensions,
            base64=encoding == "base64",
            user=user if isinstance(user, str) else None,
            leftover=tuple([name for name in fields if name not in _KNOWN and fields[name] != _NULL]),
        )

    def encode_vectors(self, embeddings: Embeddings, wanted: Wanted) -> bytes:
        """See `EmbedDialect`."""
        fields = wanted.asked.fields if wanted.asked is not None else {}
        return encode_vectors(embeddings, base64_wanted=_value(fields, "encoding_format") == "base64")

    def stream_type(self, framing: str = "") -> bytes:
        """See `Dialect`. Nothing streams here."""
        return b"application/json"

    def keep_alive(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b""

    def encode_error(self, error: GatewayError, request_id: str = "") -> bytes:
        """See `Dialect`."""
        return msgspec.json.encode({"error": error_fields(error)})

    def encode_stream_error(self, error: GatewayError, framing: str = "") -> bytes:
        """See `Dialect`. Nothing streams here."""
        return self.encode_error(error)


def _value(fields: Mapping[str, msgspec.Raw], name: str) -> object:
    return msgspec.json.decode(fields[name]) if name in fields else None


def _inputs(raw: msgspec.Raw) -> tuple[msgspec.Raw, ...]:
    if not bytes(raw).startswith(b"["):
        return (raw,)
    inputs = read_list(raw, "input")
    if inputs and not bytes(inputs[0]).startswith((b'"', b"[")):
        return (raw,)
    if not 0 < len(inputs) <= MAX_INPUTS:
        raise InvalidRequest(f"input must hold 1 to {MAX_INPUTS} inputs, not {len(inputs)}", param="input")
    return inputs
