"""The wire of Gemini's embeddings: native lane, and texts of any dialect as one batch.

Older versions of the API report no usage: then the books have an estimate.
Source: https://ai.google.dev/api/embeddings; google-genai 3.4 `types.py` (EmbedContentResponse).
"""

from typing import Self

import msgspec

from tokenrouter.adapters.base import Outgoing, StreamTap
from tokenrouter.adapters.outbound.gemini_native import JSON, address
from tokenrouter.adapters.outbound.splice import assemble, is_text, items, members, text
from tokenrouter.adapters.wire.gemini import error_message
from tokenrouter.adapters.wire.gemini_layout import spelled
from tokenrouter.adapters.wire.gemini_usage import usage_from_wire
from tokenrouter.adapters.wire.reading import members as members_of
from tokenrouter.adapters.wire.reading import unreadable, words
from tokenrouter.errors import UnsupportedField, UpstreamFailed
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.edits import EXTENSIONS, MODEL_NAME
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.envelope import Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage

_encode = msgspec.json.Encoder().encode
_BATCH = "batchEmbedContents"
TASKS = frozenset(
    (
        *("RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING"),
        *("QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY"),
    )
)


class GeminiEmbedWire:
    """See `OutboundAdapter`, `NativeWire` and `EmbedWire`."""

    wire = "gemini-embed"
    operation: Operation = "embed"
    dialect = "gemini-embed"

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
        """See `NativeWire`. Only the model's name and our own fields are ever changed. The requests of a batch name the model again."""
        method = envelope.outside.get(":method", _BATCH)
        renamed = envelope.outside.get(":model", model.name) != model.name
        replaced = _renamed(envelope, model) if renamed else {}
        applied = (*((MODEL_NAME,) if renamed else ()), *((EXTENSIONS,) if envelope.extensions else ()))
        path = address(model, method, envelope.outside.get(":query", ""))
        return Outgoing(path=path, headers=JSON, body=assemble(envelope, replaced), edits=applied)

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """See `NativeWire`."""
        return self.decode_vectors(body).usage, True

    def relay(self, params: ParamWords, *, hide_usage: bool) -> StreamTap:
        """See `NativeWire`. Nothing streams here."""
        raise UnsupportedField("embeddings do not stream", param="stream")

    def translate_inputs(self, request: EmbedRequest, model: Model, deployment: Deployment) -> Outgoing:
        """See `EmbedWire`."""
        dropped = list(request.leftover)
        task = (request.task or "").upper()
        if request.task is not None and task not in TASKS:
            dropped.append("task")
        dropped += [name for name, said in (("truncate", request.truncate), ("user", request.user)) if said is not None]
        one: dict[str, object] = {"model": f"models/{model.name}"}
        if task in TASKS:
            one["taskType"] = task
        if request.dimensions is not None:
            one["outputDimensionality"] = request.dimensions
        requests = []
        for given in request.inputs:
            if not isinstance(given, str):
                raise UnsupportedField("input: token ids mean nothing to this model; send text", param="input")
            requests.append({**one, "content": {"parts": [{"text": given}]}})
        return Outgoing(path=address(model, _BATCH), headers=JSON, body=_encode({"requests": requests}), dropped=tuple(dropped))

    def decode_vectors(self, body: bytes) -> Embeddings:
        """See `EmbedWire`."""
        try:
            seen = _answer.decode(body)
        except (ValueError, RecursionError) as error:
            raise unreadable(body, "embeddings", error) from error
        if seen.error is not None:
            raise UpstreamFailed(words(seen.error) or "the provider answered with an error")
        vectors = seen.embeddings if seen.embeddings is not None else [seen.embedding] if seen.embedding is not None else None
        if vectors is None:
            raise unreadable(body, "embeddings")
        usage = usage_from_wire({**members_of(seen.usageMetadata), "candidatesTokenCount": 0})
        return Embeddings("", tuple([vector.values for vector in vectors]), usage)

    def error_message(self, body: bytes) -> str | None:
        """See `OutboundAdapter`."""
        return error_message(body)


class _Vector(msgspec.Struct):
    values: tuple[float, ...]


class _Answer(msgspec.Struct):
    embeddings: list[_Vector] | None = None
    embedding: _Vector | None = None
    usageMetadata: object = None  # noqa: N815  # the wire's own name
    error: object = None


_answer = msgspec.json.Decoder(_Answer)


def _renamed(envelope: Envelope, model: Model) -> dict[str, bytes]:
    """The members whose `model` follows the path."""
    name = msgspec.json.encode(f"models/{model.name}")
    names = spelled(envelope.fields)
    replaced = {"model": name} if "model" in envelope.fields else {}
    if "requests" in names and bytes(envelope.fields["requests"])[:1] == b"[":
        replaced["requests"] = b"[" + b",".join([_named(request, name) for request in items(envelope.fields["requests"])]) + b"]"
    return replaced


def _named(request: bytes, name: bytes) -> bytes:
    fields = members(request)
    said = fields.get("model")
    if said is None or not is_text(said) or text(said).encode() == name[1:-1]:
        return request
    return _encode({**fields, "model": msgspec.Raw(name)})
