"""Embeddings of the Gemini wire: vectors made from a hash of the text, the same for the same text, of length one.

Equal texts are equal vectors and different ones are nearly at right angles, so nearness means nothing but sameness here.
Sources: https://ai.google.dev/api/embeddings, https://ai.google.dev/gemini-api/docs/embeddings.
"""

import math
import random

import xxhash

from tokenrouter.sandbox.gemini_fields import camel, known, listed
from tokenrouter.sandbox.gemini_request import bad, read_parts
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import text_tokens
from tokenrouter.sandbox.wire import Frame, JsonObject, JsonValue, Prepared, Refusal, encode

EMBEDDERS = ("gemini-embedding-001",)
SIZE = 3072
MOST_REQUESTS = 100
_FIELDS = frozenset({"model", "content", "taskType", "title", "outputDimensionality", "embedContentConfig"})


def embed(fields: JsonObject, model: str, *, usage: bool = True) -> Prepared:
    """One text."""
    values, tokens = _one(fields, model, "EmbedContentRequest")
    return _answer({"embedding": {"values": values}, **_told(tokens, usage)}, tokens, model)


def embed_batch(fields: JsonObject, model: str, *, usage: bool = True) -> Prepared:
    """Several texts in one request; each names the model again."""
    fields = known(fields, frozenset({"requests"}), "")
    requests = listed(fields.get("requests"))
    if not requests or len(requests) > MOST_REQUESTS:
        raise bad(f"* BatchEmbedContentsRequest.requests: at least 1 and at most {MOST_REQUESTS} requests can be in one batch")
    vectors: list[JsonValue] = []
    total = 0
    for index, request in enumerate(requests):
        at = f"BatchEmbedContentsRequest.requests[{index}]"
        if not isinstance(request, dict):
            raise bad(f"* {at}: expected an object")
        if not str(request.get("model", f"models/{model}")).endswith(f"models/{model}"):
            raise bad(f"* {at}.model: the model must be the one of the request's address, models/{model}")
        values, tokens = _one(request, model, at)
        vectors.append({"values": values})
        total += tokens
    return _answer({"embeddings": vectors, **_told(total, usage)}, total, model)


def predict(fields: JsonObject, model: str) -> Prepared:
    """Vertex AI's older form of the same."""
    instances = listed(fields.get("instances"))
    size = camel(_object(fields.get("parameters"))).get("outputDimensionality")
    predictions: list[JsonValue] = []
    total = 0
    for instance in instances:
        text = _object(instance).get("content")
        if not isinstance(text, str) or not text:
            raise bad("The text content is empty.")
        values, tokens = _vector(text, model, size)
        predictions.append({"embeddings": {"values": values, "statistics": {"token_count": tokens, "truncated": False}}})
        total += tokens
    if not predictions:
        raise bad("Invalid instances: at least one is needed.")
    return _answer({"predictions": predictions, "metadata": {"billableCharacterCount": total * 4}}, total, model)


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _one(fields: JsonObject, model: str, at: str) -> tuple[list[JsonValue], int]:
    fields = known(fields, _FIELDS, at)
    content = fields.get("content")
    if not isinstance(content, dict):
        raise bad(f"* {at}.content: contents is not specified")
    config = camel(_object(fields.get("embedContentConfig")))
    parts = read_parts(content.get("parts"), f"{at}.content")
    text = "\n".join(str(part.get("text", "")) for part in parts)
    if not text:
        raise bad(f"* {at}.content: the text content is empty")
    return _vector(text, model, fields.get("outputDimensionality", config.get("outputDimensionality")))


def _vector(text: str, model: str, size: JsonValue) -> tuple[list[JsonValue], int]:
    if model not in EMBEDDERS:
        raise Refusal(404, f"models/{model} is not found for API version v1beta, or is not supported for embedContent.")
    length = SIZE if size is None else size
    if not isinstance(length, int) or isinstance(length, bool) or not 1 <= length <= SIZE:
        raise bad(f"Unable to submit request because it has an outputDimensionality of {size}. It must be from 1 to {SIZE}.")
    rng = random.Random(xxhash.xxh3_64_intdigest(f"{model}\x00{text}".encode()))
    values = [rng.gauss(0, 1) for _ in range(length)]
    norm = math.sqrt(sum(value * value for value in values))
    return [round(value / norm, 8) for value in values], text_tokens(text)


def _told(tokens: int, usage: bool) -> JsonObject:
    return {"usageMetadata": {"promptTokenCount": tokens}} if usage else {}


def _answer(document: JsonObject, tokens: int, model: str) -> Prepared:
    return Prepared(frames=(Frame(encode(document)),), model=model, charge=Tokens(input=tokens))
