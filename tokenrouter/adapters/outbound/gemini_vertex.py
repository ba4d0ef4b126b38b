"""Where Vertex AI's methods differ from those of the Gemini API: counting tokens and embeddings.

A count's request stands bare in the body, never inside a `generateContentRequest`. What vectors are for stands in `embedContentConfig`; models
that are not Gemini's are asked by the older `:predict`.
Source: google-genai 3.4 `models.py` (`_CountTokensParameters_to_vertex`, `_EmbedContentParametersPrivate_to_vertex`, `embed_content`);
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models,
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api.
"""

from collections.abc import Mapping

import msgspec

from tokenrouter.adapters.base import Outgoing
from tokenrouter.adapters.outbound.gemini_count import WHOLE, GeminiCountWire
from tokenrouter.adapters.outbound.gemini_embed import TASKS, GeminiEmbedWire
from tokenrouter.adapters.outbound.gemini_native import JSON, address
from tokenrouter.adapters.outbound.gemini_render import render
from tokenrouter.adapters.outbound.splice import as_object, members
from tokenrouter.adapters.wire.gemini_layout import camel
from tokenrouter.adapters.wire.reading import count, unreadable
from tokenrouter.errors import UnsupportedField
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.envelope import Envelope
from tokenrouter.model.usage import NO_USAGE, Usage

_encode = msgspec.json.Encoder().encode
_COUNTED = frozenset(("contents", "systemInstruction", "tools", "generationConfig"))
_SAID_BY_PATH = "model"


class VertexCountWire(GeminiCountWire):
    """See `GeminiCountWire`."""

    wire = "vertex-count"

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """See `NativeWire`. The members of a whole request inside become the body; those that a count does not take are reported."""
        made = super().native_request(envelope, canonical, model, deployment, plan, edits)
        outer = members(made.body)
        inside = next((name for name in outer if camel(name) == WHOLE), None)
        if inside is None or not bytes(outer[inside]).startswith(b"{"):
            return made
        kept: dict[str, msgspec.Raw] = {}
        dropped: list[str] = []
        for name, value in members(outer[inside]).items():
            if camel(name) in _COUNTED:
                kept[name] = value
            elif name != _SAID_BY_PATH:
                dropped.append(f"{WHOLE}.{camel(name)[:60]}")
        return msgspec.structs.replace(made, body=as_object(kept), dropped=(*made.dropped, *dropped))

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `CountWire`."""
        dropped: dict[str, None] = {}
        request = render(conversation, model, dropped)
        if request.tool_config is not None:
            request.tool_config, dropped["tool_choice"] = None, None
        return Outgoing(path=address(model, "countTokens"), headers=JSON, body=_encode(request), dropped=tuple(dropped))


class VertexEmbedWire(GeminiEmbedWire):
    """See `GeminiEmbedWire`."""

    wire = "vertex-embed"

    def translate_inputs(self, request: EmbedRequest, model: Model, deployment: Deployment) -> Outgoing:
        """See `EmbedWire`."""
        dropped = list(request.leftover)
        task = (request.task or "").upper()
        if request.task is not None and task not in TASKS:
            dropped.append("task")
        if request.user is not None:
            dropped.append("user")
        texts = [_text(given) for given in request.inputs]
        how = {"outputDimensionality": request.dimensions, "autoTruncate": request.truncate}
        options = {name: value for name, value in how.items() if value is not None}
        wanted = task if task in TASKS else ""
        method, body = _batch(texts, wanted, options) if "gemini" in model.name else _predict(texts, wanted, options)
        return Outgoing(path=address(model, method), headers=JSON, body=_encode(body), dropped=tuple(dropped))

    def decode_vectors(self, body: bytes) -> Embeddings:
        """See `EmbedWire`."""
        try:
            seen = _predicted.decode(body)
        except (ValueError, RecursionError) as error:
            raise unreadable(body, "embeddings", error) from error
        if seen.predictions is None:
            return super().decode_vectors(body)
        told = [count(one.embeddings.statistics.token_count) for one in seen.predictions]
        known = [tokens for tokens in told if tokens is not None]
        usage = Usage(fresh_input=sum(known)) if len(known) == len(told) else NO_USAGE
        return Embeddings("", tuple([one.embeddings.values for one in seen.predictions]), usage)


class _Statistics(msgspec.Struct):
    token_count: object = None


class _Vector(msgspec.Struct):
    values: tuple[float, ...]
    statistics: _Statistics = msgspec.field(default_factory=_Statistics)


class _Prediction(msgspec.Struct):
    embeddings: _Vector


class _Predicted(msgspec.Struct):
    predictions: list[_Prediction] | None = None


_predicted = msgspec.json.Decoder(_Predicted)


def _text(given: str | tuple[int, ...]) -> str:
    if not isinstance(given, str):
        raise UnsupportedField("input: token ids mean nothing to this model; send text", param="input")
    return given


def _batch(texts: list[str], task: str, options: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    config = {**({"taskType": task} if task else {}), **options}
    more = {"embedContentConfig": config} if config else {}
    return "batchEmbedContents", {"requests": [{"content": {"role": "user", "parts": [{"text": text}]}, **more} for text in texts]}


def _predict(texts: list[str], task: str, options: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    more = {"task_type": task} if task else {}
    body: dict[str, object] = {"instances": [{"content": text, **more} for text in texts]}
    return "predict", {**body, "parameters": options} if options else body
