"""Texts to vectors: the question and the answer, whoever is asked."""

import msgspec

from tokenrouter.model.usage import NO_USAGE, Usage


class EmbedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be turned into vectors.

    inputs      texts, or token ids of the vendor's own tokenizer
    dimensions  length of a vector; None is the model's own
    base64      the client wants vectors as base64 of little-endian 32-bit floats (only its own dialect cares)
    task        what the vectors are for, in the client's word; None where it said nothing
    truncate    whether over-long inputs may be cut; None where nothing was said
    leftover    names of fields that there is no place for here
    """

    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    base64: bool = False
    task: str | None = None
    truncate: bool | None = None
    user: str | None = None
    leftover: tuple[str, ...] = ()


class Embeddings(msgspec.Struct, frozen=True):
    """One vector per input, in their order. `model` as the vendor names it."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = NO_USAGE
