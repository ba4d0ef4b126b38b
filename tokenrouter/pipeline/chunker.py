"""Chunker: cuts a request into System, Tool, History and Query, each piece with what is known about it."""

import msgspec
import xxhash

from tokenrouter.errors import InvalidJSON, InvalidRequest
from tokenrouter.model.chunk import Chunks, Reading
from tokenrouter.model.envelope import Envelope, Params
from tokenrouter.model.volatile import Volatile
from tokenrouter.pipeline.canonicalizer import Memo, read_params, read_piece

_OPENING_ROLES = frozenset(("system", "developer"))

# One memo holds three kinds of entries; the seed keeps equal bytes of different kinds apart.
_MESSAGE, _TOOL, _PARAMS = 0, 1, 2


def chunk(envelope: Envelope, memo: Memo, known_volatile: tuple[Volatile, ...] = ()) -> tuple[Chunks, Params]:
    """Cut up a request. Slices seen before cost one hash and one look-up.

    The System block is the opening run of system messages; the Query is what came after the model's last turn.

    Raises:
        InvalidRequest: with `param` naming the piece.
    """
    messages = _readings(envelope, envelope.messages, memo, known_volatile, tool=False)
    tools = _readings(envelope, envelope.tools, memo, known_volatile, tool=True) if envelope.tools else ()
    total = len(messages)
    opening = 0
    while opening < total and messages[opening].role in _OPENING_ROLES:
        opening += 1
    query = total
    while query > opening and messages[query - 1].role != "assistant":
        query -= 1
    stateful = True in [reading.stateful for reading in messages] or True in [reading.stateful for reading in tools]
    chunks = Chunks(tools=tools, messages=messages, opening=opening, query=query, stateful=stateful)
    return chunks, _params(envelope, memo)


def _readings(
    envelope: Envelope, slices: tuple[msgspec.Raw, ...], memo: Memo, known_volatile: tuple[Volatile, ...], *, tool: bool
) -> tuple[Reading, ...]:
    digest, seed, get = xxhash.xxh3_128_digest, memo.seed + (_TOOL if tool else _MESSAGE), memo.get
    found: list[Reading] = []
    for index, raw in enumerate(slices):
        key = digest(raw, seed)
        reading = get(key)
        if reading is None:
            try:
                reading = read_piece(raw, "tool" if tool else "message", envelope.grammar, known_volatile)
            except InvalidRequest as error:
                raise _at(error, f"{'tools' if tool else 'messages'}[{index}]") from error
            memo.put(key, reading)
        found.append(reading)  # type: ignore[arg-type]  # the seed keeps readings and params apart
    return tuple(found)


def _params(envelope: Envelope, memo: Memo) -> Params:
    fields, names = envelope.fields, envelope.rest
    hasher = xxhash.xxh3_128(seed=memo.seed + _PARAMS)
    for name in names:
        spelled, value = name.encode("utf-8", "surrogatepass"), fields[name]
        hasher.update(b"%d:%b%d:" % (len(spelled), spelled, memoryview(value).nbytes))  # or a name could hold its neighbour
        hasher.update(value)
    key = hasher.digest()
    params = memo.get(key)
    if params is None:
        params = read_params(fields, names, envelope.grammar)
        memo.put(key, params)
    return params  # type: ignore[return-value]


def _at(error: InvalidRequest, place: str) -> InvalidRequest:
    param = f"{place}.{error.param}" if error.param else place
    prefix = f"{place}: " if isinstance(error, InvalidJSON) else ""
    return type(error)(prefix + error.message, param=param)
