"""Embeddings: unit vectors that depend on nothing but the model and the text.

Source: https://docs.ollama.com/api/embed; https://github.com/ollama/ollama `server/routes.go`, EmbedHandler (read 2026-11-21).
"""

import math
import random

import msgspec
import xxhash

from tokenrouter.sandbox.ollama_fields import flag, keep_alive_s, options, text, whole_number
from tokenrouter.sandbox.ollama_models import Model
from tokenrouter.sandbox.prompt import BYTES_PER_TOKEN, text_tokens
from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal

_DECIMALS = 8


class EmbedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `/api/embed` is asked for. `dimensions` of 0: as many as the model has."""

    model: str
    inputs: tuple[str, ...]
    truncate: bool
    dimensions: int
    keep_alive_s: float
    context: int


class Embedded(msgspec.Struct, frozen=True):
    """Vectors in the order of the inputs, and the tokens that were read for them."""

    vectors: tuple[tuple[float, ...], ...]
    tokens: int


def read_embed(fields: JsonObject) -> EmbedRequest:
    """Read the body of `/api/embed`.

    Raises:
        Refusal: 400 for an input that is neither text nor a list of texts.
    """
    owner = "EmbedRequest"
    return EmbedRequest(
        model=text(fields, "model", owner),
        inputs=_inputs(fields.get("input")),
        truncate=flag(fields, "truncate", owner, default=True),
        dimensions=whole_number(fields, "dimensions", owner),
        keep_alive_s=keep_alive_s(fields),
        context=options(fields, owner).context,
    )


def _inputs(value: JsonValue) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list):
        raise Refusal(400, "invalid input type")
    texts = tuple(item for item in given if isinstance(item, str))
    if len(texts) < len(given):
        raise Refusal(400, "invalid input type")
    return texts


def embed(request: EmbedRequest, model: Model, seed: int) -> Embedded:
    """Embed every input.

    Raises:
        Refusal: 400 for an input that is longer than the context, if it must not be cut.
    """
    longest = min(request.context, model.context)
    vectors: list[tuple[float, ...]] = []
    tokens = 0
    for given in request.inputs:
        if text_tokens(given) > longest and not request.truncate:
            raise Refusal(400, "the input length exceeds the context length")
        kept = given.encode()[: longest * BYTES_PER_TOKEN]
        tokens += text_tokens(kept)
        vectors.append(vector(model, kept, seed, request.dimensions))
    return Embedded(tuple(vectors), tokens)


def vector(model: Model, data: bytes, seed: int, dimensions: int = 0) -> tuple[float, ...]:
    """The unit vector of a text; fewer dimensions are the first ones of all, brought back to length one."""
    rng = random.Random(xxhash.xxh3_64_intdigest(f"{seed}\x00{model.name}\x00".encode() + data))
    width = min(dimensions, model.dimensions) if dimensions > 0 else model.dimensions
    values = [rng.gauss(0.0, 1.0) for _ in range(width)]
    length = math.sqrt(sum(value * value for value in values))
    return tuple(round(value / length, _DECIMALS) for value in values)
