"""Chunker: cuts a request into System, Tool, History and Query, each piece with what is known about it."""

from collections.abc import Iterable

import msgspec
import xxhash

from tokenrouter.errors import InvalidJSON, InvalidRequest
from tokenrouter.model.chunk import Chunks, Reading
from tokenrouter.model.envelope import Envelope, Params
from tokenrouter.model.volatile import Volatile
from tokenrouter.pipeline.canonicalizer import Memo, PieceKind, read_params, read_piece

_OPENING_ROLES = frozenset(("system", "developer"))
_MASK = (1 << 64) - 1

# One memo holds several kinds of entries of several dialects; the seed keeps equal bytes apart. Names of lists: see `Grammar.places`.
_MESSAGE, _TOOL, _PARAMS, _SYSTEM = 0, 1, 2, 3
_KINDS: dict[int, tuple[PieceKind, int]] = {_MESSAGE: ("message", 1), _TOOL: ("tool", 2), _SYSTEM: ("system", 0)}


def chunk(envelope: Envelope, memo: Memo, known_volatile: tuple[Volatile, ...] = ()) -> tuple[Chunks, Params]:
    """Cut up a request. Slices seen before cost one hash and one look-up.

    The System block is what stands apart as system prompt, and the opening run of system messages; the Query is what came after the
    model's last turn.

    Raises:
        InvalidRequest: with `param` naming the piece.
    """
    seed = memo.seed ^ xxhash.xxh64_intdigest(envelope.dialect.encode())
    messages = _readings(envelope, envelope.messages, memo, seed, known_volatile, _MESSAGE)
    if envelope.system:
        messages = (*_readings(envelope, envelope.system, memo, seed, known_volatile, _SYSTEM), *messages)
    tools = _readings(envelope, envelope.tools, memo, seed, known_volatile, _TOOL) if envelope.tools else ()
    total = len(messages)
    opening = len(envelope.system)
    while opening < total and messages[opening].role in _OPENING_ROLES:
        opening += 1
    query = total
    while query > opening and messages[query - 1].role != "assistant":
        query -= 1
    stateful = True in [reading.stateful for reading in messages] or True in [reading.stateful for reading in tools]
    params = _params(envelope, memo, seed)
    chunks = Chunks(tools=tools, messages=messages, opening=opening, query=query, stateful=stateful)
    return chunks, params


def rechunk(
    envelope: Envelope, chunks: Chunks, memo: Memo, known_volatile: tuple[Volatile, ...], *, tools: Iterable[int], messages: Iterable[int]
) -> Chunks:
    """The chunks of a request of which some pieces were respelled: those tools, and those messages (counted without system pieces).

    Raises InvalidRequest.
    """
    seed = memo.seed ^ xxhash.xxh64_intdigest(envelope.dialect.encode())
    new_tools, new_messages, before = list(chunks.tools), list(chunks.messages), len(envelope.system)
    for index in tools:
        new_tools[index] = _readings(envelope, (envelope.tools[index],), memo, seed, known_volatile, _TOOL)[0]
    for index in messages:
        new_messages[before + index] = _readings(envelope, (envelope.messages[index],), memo, seed, known_volatile, _MESSAGE)[0]
    return msgspec.structs.replace(chunks, tools=tuple(new_tools), messages=tuple(new_messages))


def _readings(
    envelope: Envelope, slices: tuple[msgspec.Raw, ...], memo: Memo, seed: int, known_volatile: tuple[Volatile, ...], kind: int
) -> tuple[Reading, ...]:
    digest, seed, get = xxhash.xxh3_128_digest, (seed + kind) & _MASK, memo.get
    found: list[Reading] = []
    for index, raw in enumerate(slices):
        key = digest(raw, seed)
        reading = get(key)
        if reading is None:
            name, place = _KINDS[kind]
            try:
                reading = read_piece(raw, name, envelope.grammar, known_volatile)
            except InvalidRequest as error:
                raise _at(error, f"{envelope.grammar.places[place]}[{index}]") from error
            memo.put(key, reading)
        found.append(reading)  # type: ignore[arg-type]  # the seed keeps readings and params apart
    return tuple(found)


def _params(envelope: Envelope, memo: Memo, seed: int) -> Params:
    fields, names, outside = envelope.fields, envelope.rest, envelope.outside
    hasher = xxhash.xxh3_128(seed=(seed + _PARAMS) & _MASK)
    for name in names:
        spelled, value = name.encode("utf-8", "surrogatepass"), fields[name]
        hasher.update(b"%d:%b%d:" % (len(spelled), spelled, memoryview(value).nbytes))  # or a name could hold its neighbour
        hasher.update(value)
    for name, said in outside.items():
        spelled, words = name.encode(), said.encode()
        hasher.update(b"outside %d:%b%d:%b" % (len(spelled), spelled, len(words), words))
    key = hasher.digest()
    params = memo.get(key)
    if params is None:
        params = read_params(fields, names, outside, envelope.grammar)
        memo.put(key, params)
    return params  # type: ignore[return-value]


def _at(error: InvalidRequest, place: str) -> InvalidRequest:
    param = f"{place}.{error.param}" if error.param else place
    prefix = f"{place}: " if isinstance(error, InvalidJSON) else ""
    return type(error)(prefix + error.message, param=param)
