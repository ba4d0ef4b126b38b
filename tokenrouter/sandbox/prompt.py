"""A rendered prompt and its fingerprints.

A vendor renders a request into one long text, in its own order, and its cache compares texts. Here the text is a row of pieces, and a
fingerprint of its first n bytes stands for "this prefix". JSON is parsed before it is rendered: whitespace and escapes of the request
body leave no trace, while order and spelling of what the model sees (tools, schemas, call arguments) do.

Tokens: one per four bytes of a piece, rounded up. A prefix of the pieces therefore has a prefix of the tokens.
"""

import msgspec
import xxhash

BYTES_PER_TOKEN = 4
HEADER_TOKENS = 4
IMAGE_TOKENS = 1024
_END_OF_PIECE = b"\xff"
_HEADER = b"\xfe"
_END_OF_MESSAGE = b"\xfd"
"""Bytes that UTF-8 never contains: no text can imitate the structure around it."""


class Piece(msgspec.Struct, frozen=True):
    """A part of the prompt that is rendered in one go. `atomic`: `data` only identifies it (an image), its tokens have no inside."""

    data: bytes
    tokens: int
    atomic: bool = False


def text_tokens(text: str | bytes) -> int:
    """The sandbox's token count of a text."""
    size = len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode())
    return (size + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN


def text_piece(text: str) -> Piece:
    """Text as the model reads it."""
    data = text.encode()
    return Piece(data, (len(data) + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN)


def json_piece(value: object) -> Piece:
    """Parsed JSON in the order it came in, with one spelling."""
    data = msgspec.json.encode(value)
    return Piece(data, (len(data) + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN)


def header_piece(name: str) -> Piece:
    """The start of a message or section."""
    return Piece(_HEADER + name.encode(), HEADER_TOKENS, atomic=True)


def media_piece(kind: str, value: object, tokens: int = IMAGE_TOKENS) -> Piece:
    """An image or file: known by its content, worth a fixed number of tokens."""
    digest = xxhash.xxh3_128_digest(msgspec.json.encode(value))
    return Piece(_HEADER + kind.encode() + digest, tokens, atomic=True)


END_OF_MESSAGE = Piece(_END_OF_MESSAGE, 0, atomic=True)


class Point(msgspec.Struct, frozen=True):
    """A place in a prompt: so many tokens lie before it, and this is their fingerprint."""

    tokens: int
    digest: bytes


class Chain(msgspec.Struct, frozen=True):
    """Fingerprints of a prompt: at the end of every piece, and at every multiple of `step` tokens when one was asked for."""

    ends: tuple[Point, ...]
    steps: tuple[Point, ...]
    total: int


def fingerprint(scope: bytes, pieces: list[Piece]) -> int:
    """64 bits of a whole prompt."""
    hasher = xxhash.xxh3_64(scope)
    for piece in pieces:
        hasher.update(piece.data)
        hasher.update(_END_OF_PIECE)
    return hasher.intdigest()


def chain(scope: bytes, pieces: list[Piece], step: int = 0) -> Chain:
    """Fingerprint every prefix. Two prompts share a point exactly if `scope` and all bytes before it are equal."""
    hasher = xxhash.xxh3_128(scope)
    ends: list[Point] = []
    steps: list[Point] = []
    total = 0
    for piece in pieces:
        after = total + piece.tokens
        fed = 0
        if step:
            for boundary in range(total - total % step + step, after + 1, step):
                if not piece.atomic:
                    cut = min((boundary - total) * BYTES_PER_TOKEN, len(piece.data))
                    hasher.update(piece.data[fed:cut])
                    fed = cut
                elif fed == 0:
                    hasher.update(piece.data)
                    fed = len(piece.data)
                steps.append(Point(boundary, hasher.digest()))
        hasher.update(piece.data[fed:] + _END_OF_PIECE)
        total = after
        ends.append(Point(total, hasher.digest()))
    return Chain(tuple(ends), tuple(steps), total)
