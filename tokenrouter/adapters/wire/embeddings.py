"""OpenAI Embeddings as it is read and written; many hosts speak the same words.

A vector comes as numbers or as base64 of little-endian 32-bit floats; numbers keep the spelling that they were sent in.
Source: openai-python 3.52 `types/create_embedding_response.py`, `types/embedding_create_params.py`.
"""

import base64
import binascii
import struct
from typing import Final

import msgspec

from tokenrouter.adapters.wire.openai_chat_usage import usage_from_wire, usage_of
from tokenrouter.adapters.wire.reading import text, unreadable, words
from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.embedding import Embeddings
from tokenrouter.model.usage import Usage

_EXPECTED: Final = "embeddings"
_NULL = msgspec.Raw(b"null")  # as a default: a union of Raw and None takes nothing but null


class _Row(msgspec.Struct):
    embedding: str | list[float]
    index: int | None = None


class _Body(msgspec.Struct):
    """A whole answer. What is cosmetic is typed loosely: a good answer must not fail on it."""

    data: list[_Row] | None = None
    model: object = None
    usage: object = None
    error: object = None


class _Seen(msgspec.Struct):
    """As much of an answer as tells that it is one; the vectors are not built."""

    data: list[msgspec.Raw] | None = None
    error: msgspec.Raw = _NULL


_body = msgspec.json.Decoder(_Body)
_seen = msgspec.json.Decoder(_Seen)
_encode = msgspec.json.Encoder().encode


def verdict(body: bytes) -> Usage:
    """Usage of a whole answer that passes as it is.

    Raises:
        UpstreamFailed: a 200 with an error inside, without any vector, or with something that is no such answer.
    """
    try:
        seen = _seen.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, _EXPECTED, error) from error
    if seen.error != _NULL:
        raise UpstreamFailed(f"the provider answered 200 with an error: {words(msgspec.json.decode(seen.error)) or 'it says nothing else'}")
    if not seen.data:
        raise UpstreamFailed("the provider answered 200 without any embedding")
    return usage_of(body)


def decode_vectors(body: bytes) -> Embeddings:
    """A whole answer, vectors in the order of the inputs.

    Raises:
        UpstreamFailed: `body` is no such answer, or an error that came with a good status.
    """
    try:
        whole = _body.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, _EXPECTED, error) from error
    if whole.error is not None:
        raise UpstreamFailed(words(whole.error) or "the provider answered with an error")
    if not whole.data:
        raise unreadable(body, _EXPECTED)
    rows = sorted(enumerate(whole.data), key=lambda numbered: numbered[0] if numbered[1].index is None else numbered[1].index)
    return Embeddings(text(whole.model), tuple([_vector(row.embedding) for _, row in rows]), usage_from_wire(whole.usage))


def _vector(spelled: str | list[float]) -> tuple[float, ...]:
    return unpacked(spelled) if isinstance(spelled, str) else tuple(spelled)


def unpacked(packed: str) -> tuple[float, ...]:
    """The numbers in base64 of little-endian 32-bit floats. Raises UpstreamFailed for anything else."""
    try:
        data = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UpstreamFailed("the provider sent an embedding that is no base64") from error
    if len(data) % 4:
        raise UpstreamFailed("the provider sent an embedding that is not made of 32-bit floats")
    return struct.unpack(f"<{len(data) // 4}f", data)


def packed(vector: tuple[float, ...]) -> str:
    """Base64 of the vector as little-endian 32-bit floats.

    >>> packed((1.0, -0.5))
    'AACAPwAAAL8='

    Raises:
        UpstreamFailed: a number that 32 bits can not hold.
    """
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (OverflowError, struct.error) as error:
        raise UpstreamFailed("the provider sent an embedding with a number that 32 bits can not hold") from error


def encode_vectors(embeddings: Embeddings, *, base64_wanted: bool) -> bytes:
    """The body for a client. Usage that the vendor did not report is left out."""
    data = [
        {"object": "embedding", "index": index, "embedding": packed(vector) if base64_wanted else vector}
        for index, vector in enumerate(embeddings.vectors)
    ]
    body: dict[str, object] = {"object": "list", "data": data, "model": embeddings.model}
    usage = embeddings.usage
    if usage.reported:
        body["usage"] = {"prompt_tokens": usage.input_total, "total_tokens": usage.input_total}
    return _encode(body)
