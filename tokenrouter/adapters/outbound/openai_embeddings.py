"""The OpenAI Embeddings wire, toward OpenAI and every host that speaks it."""

from typing import Self

import msgspec

from tokenrouter.adapters.base import Outgoing, StreamTap
from tokenrouter.adapters.wire.embeddings import decode_vectors, verdict
from tokenrouter.adapters.wire.openai_chat import error_message
from tokenrouter.errors import UnsupportedField
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.edits import EXTENSIONS, MODEL_NAME
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.envelope import Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage

_PATH = "/embeddings"
_JSON = (("content-type", "application/json"),)
_string = msgspec.json.Decoder(str)


class _Request(msgspec.Struct, omit_defaults=True):
    model: str
    input: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    user: str | None = None


class OpenAIEmbeddingsWire:
    """See `OutboundAdapter`, `NativeWire` and `EmbedWire`."""

    wire = "openai-embeddings"
    operation: Operation = "embed"
    dialect = "openai-embeddings"

    @property
    def native(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    @property
    def translated(self) -> Self:
        """See `OutboundAdapter`."""
        return self

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """See `NativeWire`. Only the model's name and our own fields are ever changed."""
        renamed = _string.decode(envelope.fields["model"]) != model.name
        applied = (*((MODEL_NAME,) if renamed else ()), *((EXTENSIONS,) if envelope.extensions else ()))
        if not applied:
            return Outgoing(path=_PATH, headers=_JSON, body=envelope.body)
        fields = {**envelope.fields, "model": msgspec.Raw(msgspec.json.encode(model.name))} if renamed else envelope.fields
        return Outgoing(path=_PATH, headers=_JSON, body=msgspec.json.encode(fields), edits=applied)

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        return verdict(body), True

    def relay(self, params: ParamWords, *, hide_usage: bool) -> StreamTap:
        """See `NativeWire`. Nothing streams here."""
        raise UnsupportedField("embeddings do not stream", param="stream")

    def translate_inputs(self, request: EmbedRequest, model: Model, deployment: Deployment) -> Outgoing:
        """See `EmbedWire`. What the vectors are for, and how long inputs are cut, can not be said here: hints, dropped and reported."""
        dropped = [*request.leftover]
        dropped += [name for name, said in (("task", request.task), ("truncate", request.truncate)) if said is not None]
        body = msgspec.json.encode(_Request(model.name, request.inputs, request.dimensions, request.user))
        return Outgoing(path=_PATH, headers=_JSON, body=body, dropped=tuple(dropped))

    def decode_vectors(self, body: bytes) -> Embeddings:
        """See `EmbedWire`."""
        return decode_vectors(body)

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return error_message(body)
