"""OpenAI Embeddings: unit vectors that depend on the text alone, near each other for texts that share words.

A text's hash gives every dimension a little, each of its words adds much to a few. A shorter vector is the start of the long one, made a
unit vector again, as the service does it. Values are rounded to 32 bits, so that both encodings say the same.

Sources: https://developers.openai.com/api/reference/resources/embeddings, https://developers.openai.com/api/docs/guides/embeddings and the
published `openai` SDK 3.52.0, types/embedding_create_params.py.
"""

import base64
import hashlib
import math
import sys
from array import array
from typing import TypeAlias

import msgspec
import xxhash

from tokenrouter.sandbox.chat_request import invalid, wrong_type
from tokenrouter.sandbox.openai_models import find
from tokenrouter.sandbox.openai_shapes import choice, text, whole
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import text_tokens
from tokenrouter.sandbox.wire import Call, Frame, JsonObject, JsonValue, Prepared, Refusal, encode, parse_object

PATH = "/v1/embeddings"
MOST_INPUTS = 2048
MOST_TOKENS = 8192
MOST_TOKENS_TOGETHER = 300_000
_PLACES_PER_WORD = 8
_FIRST_PLACES = 32
"""The start of a vector says most: a word's first place is among so many, each further one among twice as many."""
_NOISE = 0.02
_FIELDS = ("input", "model", "dimensions", "encoding_format", "user")
Words: TypeAlias = tuple[str, ...]


class EmbeddingModel(msgspec.Struct, frozen=True):
    """How long a vector is, and whether a shorter one may be asked for."""

    dimensions: int
    shortens: bool = True


MODELS = {
    "text-embedding-3-small": EmbeddingModel(1536),
    "text-embedding-3-large": EmbeddingModel(3072),
    "text-embedding-ada-002": EmbeddingModel(1536, shortens=False),
}


class Input(msgspec.Struct, frozen=True):
    """One thing to embed: its words, and what they cost."""

    words: Words
    tokens: int


def prepare(call: Call) -> Prepared:
    """Answer one embeddings request."""
    fields = parse_object(call.body)
    name, model = _model(fields)
    for field in fields:
        if field not in _FIELDS:
            raise invalid(f"Unrecognized request argument supplied: {field}")
    if fields.get("user") is not None:
        text()(fields["user"], "user")
    encoding = fields.get("encoding_format", "float")
    choice("float", "base64")(encoding, "encoding_format")
    dimensions = _dimensions(fields, model)
    inputs = _inputs(fields)
    tokens = sum(item.tokens for item in inputs)
    data: list[JsonValue] = []
    for index, item in enumerate(inputs):
        vector = embed(name, item.words, model.dimensions, dimensions)
        numbers: list[JsonValue] = [*vector]
        data.append({"object": "embedding", "index": index, "embedding": _packed(vector) if encoding == "base64" else numbers})
    answer: JsonObject = {"object": "list", "data": data, "model": name}
    if not call.omit_usage:
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Prepared(frames=(Frame(encode(answer)),), model=name, charge=Tokens(input=tokens))


def _model(fields: JsonObject) -> tuple[str, EmbeddingModel]:
    name = fields.get("model")
    if name is None:
        raise invalid("you must provide a model parameter")
    text()(name, "model")
    model = MODELS.get(str(name))
    if model is not None:
        return str(name), model
    if find(str(name)) is not None:
        raise Refusal(403, "You are not allowed to generate embeddings from this model")
    raise Refusal(404, f"The model `{name}` does not exist or you do not have access to it.", code="model_not_found")


def _dimensions(fields: JsonObject, model: EmbeddingModel) -> int:
    wanted = fields.get("dimensions")
    if wanted is None:
        return model.dimensions
    if not model.shortens:
        raise invalid("This model does not support specifying dimensions.", "dimensions")
    whole(1, model.dimensions)(wanted, "dimensions")
    return wanted if isinstance(wanted, int) else model.dimensions


def _inputs(fields: JsonObject) -> list[Input]:
    value = fields.get("input")
    if value is None:
        raise invalid("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if not isinstance(value, str | list):
        raise wrong_type("input", "one of a string or array", value)
    single = isinstance(value, str) or bool(value and all(isinstance(item, int) for item in value))
    listed: list[JsonValue] = value if isinstance(value, list) and not single else [value]
    if len(listed) > MOST_INPUTS:
        wanted = f"Expected an array with maximum length {MOST_INPUTS}, but got an array with length {len(listed)} instead."
        raise invalid(f"Invalid 'input': array too long. {wanted}", "input", "array_above_max_length")
    inputs = [_one(item) for item in listed]
    if not inputs or len({isinstance(item, str) for item in listed}) > 1:
        raise _bad_input()
    together = sum(item.tokens for item in inputs)
    if together > MOST_TOKENS_TOGETHER:
        raise Refusal(
            400,
            f"Requested {together} tokens, max {MOST_TOKENS_TOGETHER} tokens per request",
            code="max_tokens_per_request",
            kind="max_tokens_per_request",
        )
    return inputs


def _one(value: JsonValue) -> Input:
    """A string, or an array of tokens; neither may be empty."""
    if isinstance(value, str) and value:
        item = Input(tuple(value.lower().split()), text_tokens(value))
    elif isinstance(value, list) and value and all(isinstance(token, int) and not isinstance(token, bool) and token >= 0 for token in value):
        item = Input(tuple(str(token) for token in value), len(value))
    else:
        raise _bad_input()
    if item.tokens > MOST_TOKENS:
        raise invalid(
            f"This model's maximum context length is {MOST_TOKENS} tokens, however you requested {item.tokens} tokens "
            f"({item.tokens} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
        )
    return item


def _bad_input() -> Refusal:
    return invalid("'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.")


def embed(name: str, words: Words, length: int, wanted: int) -> "array[float]":
    """The first `wanted` dimensions of the text's vector of `length`, as a unit vector.

    >>> round(sum(value * value for value in embed("text-embedding-3-small", ("a", "b"), 1536, 256)), 5)
    1.0
    """
    whole_text = f"{name}\x00{' '.join(words)}".encode()
    noise = array("h", hashlib.shake_128(whole_text).digest(length * 2))
    values = [value * _NOISE / 32768 for value in noise]
    for word in words:
        for place in range(_PLACES_PER_WORD):
            bits = xxhash.xxh3_64_intdigest(f"{name}/{word}/{place}".encode())
            values[bits % min(length, _FIRST_PLACES << place)] += 1.0 if bits >> 63 else -1.0
    start = values[:wanted]
    norm = math.sqrt(sum(value * value for value in start)) or 1.0
    return array("f", (value / norm for value in start))


def _packed(vector: "array[float]") -> str:
    """Little-endian 32-bit floats in base64."""
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()
