"""Ollama's own wires: chats (native and translated), generations (native), vectors (native and translated)."""

from typing import Self

import msgspec

from tokenrouter.adapters.base import Outgoing, StreamTap
from tokenrouter.adapters.outbound.ollama_relay import OllamaRelay
from tokenrouter.adapters.outbound.ollama_render import JSON, render_chat, render_inputs
from tokenrouter.adapters.outbound.splice import as_array, assemble, text
from tokenrouter.adapters.wire.ollama import (
    OllamaEventDecoder,
    came_to_a_natural_end,
    decode_answer,
    decode_vectors,
    error_message,
    read_whole,
    usage_of,
    vectors_verdict,
)
from tokenrouter.errors import UnsupportedField
from tokenrouter.model.answer import Answer
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.edits import CHUNKS_EMPTY, EXTENSIONS, MODEL_NAME, TOOLS_ORDER
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.envelope import Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage


class _Native:
    """What all native lanes of Ollama have in common; see `NativeWire`."""

    wire: str
    dialect: str
    operation: Operation = "generate"
    path: str

    @property
    def native(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """See `NativeWire`. Cache marks have no place on this wire."""
        replaced: dict[str, bytes] = {}
        applied: list[str] = []
        if text(envelope.fields["model"]) != model.name:
            replaced["model"] = msgspec.json.encode(model.name)
            applied.append(MODEL_NAME)
        if canonical.tool_order is not None:
            replaced["tools"] = as_array([bytes(envelope.tools[index]) for index in canonical.tool_order])
            applied.append(TOOLS_ORDER)
        if envelope.extensions:
            applied.append(EXTENSIONS)
        streams = self.operation == "generate" and envelope.fields.get("stream") != _FALSE
        if streams and CHUNKS_EMPTY in edits:
            applied.append(CHUNKS_EMPTY)
        return Outgoing(path=self.path, headers=JSON, body=assemble(envelope, replaced), edits=tuple(applied))

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        whole = read_whole(body)
        return usage_of(whole), came_to_a_natural_end(whole)

    def relay(self, params: ParamWords, *, hide_usage: bool, drop_empty: bool = False) -> StreamTap:
        """See `ThinningWire`."""
        return OllamaRelay(drop_empty=drop_empty)

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return error_message(body)


_FALSE = msgspec.Raw(b"false")


class OllamaChatWire(_Native):
    """`POST /api/chat`; see `OutboundAdapter`, `NativeWire` and `TranslatedWire`."""

    wire = dialect = "ollama-chat"
    path = "/api/chat"

    @property
    def translated(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `TranslatedWire`."""
        return render_chat(conversation, model)

    def decode_answer(self, body: bytes) -> Answer:
        """See `TranslatedWire`."""
        return decode_answer(body)

    def decoder(self) -> OllamaEventDecoder:
        """See `TranslatedWire`."""
        return OllamaEventDecoder()


class OllamaGenerateWire(_Native):
    """`POST /api/generate`; see `OutboundAdapter` and `NativeWire`."""

    wire = dialect = "ollama-generate"
    path = "/api/generate"
    translated = None


class OllamaEmbedWire(_Native):
    """`POST /api/embed`; see `OutboundAdapter`, `NativeWire` and `EmbedWire`."""

    wire = dialect = "ollama-embed"
    operation: Operation = "embed"
    path = "/api/embed"

    @property
    def translated(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        return vectors_verdict(body), True

    def relay(self, params: ParamWords, *, hide_usage: bool, drop_empty: bool = False) -> StreamTap:
        """See `NativeWire`. Nothing streams here."""
        raise UnsupportedField("embeddings do not stream", param="stream")

    def translate_inputs(self, request: EmbedRequest, model: Model, deployment: Deployment) -> Outgoing:
        """See `EmbedWire`."""
        return render_inputs(request, model)

    def decode_vectors(self, body: bytes) -> Embeddings:
        """See `EmbedWire`."""
        return decode_vectors(body)
