"""`:countTokens`, spoken by a client: bare contents, or a whole generateContent request inside `generateContentRequest`.

Source: https://ai.google.dev/api/tokens; google-genai 3.4 `models.py` (count_tokens).
"""

from collections.abc import Mapping

import msgspec

from tokenrouter.adapters.inbound.gemini import FIELD_NAMES, read_envelope
from tokenrouter.adapters.inbound.gemini_errors import encode_error
from tokenrouter.adapters.inbound.gemini_grammar import GeminiGrammar
from tokenrouter.adapters.inbound.gemini_open import open_generate
from tokenrouter.errors import GatewayError
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import NOTHING, Envelope, Operation, ParamFacts

WHOLE = "generateContentRequest"


class GeminiCountGrammar(GeminiGrammar):
    """See `Grammar`. The same prompt has the same size, so every request is deterministic."""

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`."""
        return msgspec.structs.replace(super().read_params(fields), deterministic=True, stream=False, framing="")


class GeminiCount:
    """The dialect of `POST /v1beta/models/{model}:countTokens`; see `CountDialect`."""

    dialect = "gemini-count"
    operation: Operation = "count"
    headers: frozenset[str] = frozenset((":query",))
    field_names = FIELD_NAMES
    grammar = GeminiCountGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `Dialect`. The members of an envelope are those of the request that is to be counted."""
        return read_envelope(self.dialect, self.grammar, body, outside, inside=WHOLE)

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """See `CountDialect`."""
        return open_generate(envelope, tool_order)

    def encode_count(self, tokens: int) -> bytes:
        """See `CountDialect`."""
        return msgspec.json.encode({"totalTokens": tokens})

    def stream_type(self, framing: str = "") -> bytes:
        """See `Dialect`. Nothing streams here."""
        return b"application/json; charset=UTF-8"

    def keep_alive(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b""

    def encode_error(self, error: GatewayError, request_id: str = "") -> bytes:
        """See `Dialect`."""
        return encode_error(error)

    def encode_stream_error(self, error: GatewayError, framing: str = "") -> bytes:
        """See `Dialect`. Nothing streams here."""
        return encode_error(error)
