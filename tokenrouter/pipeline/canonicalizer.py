"""The canonical form: what two spellings of the same piece have in common. Described, rule by rule, in docs/canonical-form.md.

It is a form of our own, not RFC 8785: numbers keep their spelling, and only protocol objects have their keys sorted, because
a provider prints the keys of payload objects (tool schemas above all) in the order in which they came.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import accumulate
from typing import Literal

import msgspec
import xxhash

from tokenrouter.errors import InvalidJSON, InvalidRequest
from tokenrouter.model.chunk import Arranged, CallSeen, Canonical, PartEnd, Reading, Shape
from tokenrouter.model.envelope import CallSaid, Grammar, Params, ParamWords
from tokenrouter.model.volatile import Volatile

DEPTH_LIMIT = 64
"""Deepest nesting of arrays and objects in a request, the body itself counted as the first level."""

_BYTES_PER_TOKEN = 4
_LEAST_PART = 256  # bytes of parts that are worth a boundary of their own
_MOST_PARTS = 4
_PIECE_DEPTH = 2  # a message or tool sits inside the body's object and one array

_decoder = msgspec.json.Decoder(float_hook=lambda spelled: msgspec.Raw(spelled.encode()))
_encoder = msgspec.json.Encoder()
_unordered = msgspec.json.Encoder(order="deterministic")


def parse_strict(raw: bytes | msgspec.Raw, *, depth: int = 0) -> object:
    """Decode a piece of JSON on which all parsers agree; numbers with a fraction or exponent stay as they were spelled.

    `depth`: how many levels the piece already sits below the body's outside.

    Raises:
        InvalidJSON: syntax, invalid UTF-8, lone surrogates, duplicate keys, more than `DEPTH_LIMIT` levels, integers of
            thousands of digits.
    """
    data = bytes(raw)
    try:
        value = _decoder.decode(data)
    except RecursionError as error:
        raise InvalidJSON(f"nested deeper than {DEPTH_LIMIT} levels") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJSON(_why_not(data, error)) from error
    if data.count(b"{") + data.count(b"[") > DEPTH_LIMIT - depth and _depth(value) > DEPTH_LIMIT - depth:
        raise InvalidJSON(f"nested deeper than {DEPTH_LIMIT} levels")
    if _encoder.encode(value) != data:  # equal bytes prove that no member was lost to a duplicate key
        _refuse_duplicates(data)
    return value


def _why_not(data: bytes, error: Exception) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as bad:
        return f"invalid UTF-8 at byte {bad.start} of this value"
    if "\\ud" in text.lower():
        return "a lone surrogate escape (\\ud800 to \\udfff without its partner) is not a character"
    return str(error).removeprefix("JSON is malformed: ")


def _depth(value: object) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
    return deepest if isinstance(value, dict | list) else 0


def _refuse_duplicates(data: bytes) -> None:
    def once(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidJSON(f"the key {json.dumps(key)} stands twice in one object")
            seen.add(key)

    # Numbers are not looked at here: msgspec has read them, and int() would refuse more than 4,300 digits.
    json.loads(data, object_pairs_hook=once, parse_int=str, parse_float=str)


def canonical_value(value: object, shape: Shape) -> object:
    """Sort the keys of protocol objects, drop cache directives, leave payload objects as they are."""
    if isinstance(value, list):
        return [canonical_value(item, shape) for item in value]
    if not isinstance(value, dict):
        return value
    children, directives = shape.children, shape.directives
    return {key: canonical_value(value[key], children[key]) if key in children else value[key] for key in sorted(value) if key not in directives}


def canonical_bytes(value: object, shape: Shape) -> bytes:
    """The canonical bytes of a decoded piece: compact, escapes resolved, numbers as spelled."""
    return _encoder.encode(canonical_value(value, shape))


class Memo:
    """Readings of slices seen before, for one tenant; bounded, so the oldest are forgotten first.

    Keys are xxh3_128 with a secret per-process seed: a crafted collision needs the seed, and would harm its author only.
    Two generations instead of a list of uses: a hit costs one look-up, and a slice in use is never the one forgotten.
    """

    __slots__ = ("_capacity", "_old", "_young", "seed")

    def __init__(self, seed: int, capacity: int = 16_384) -> None:
        self.seed = seed
        self._capacity = max(1, capacity // 2)
        self._young: dict[bytes, Reading | Params] = {}
        self._old: dict[bytes, Reading | Params] = {}

    def get(self, key: bytes) -> Reading | Params | None:
        """What was remembered under `key`."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: bytes, value: Reading | Params) -> None:
        """Remember `value`."""
        if len(self._young) >= self._capacity:
            self._old, self._young = self._young, {}
        self._young[key] = value


PieceKind = Literal["system", "message", "tool"]


def read_piece(raw: msgspec.Raw, kind: PieceKind, grammar: Grammar, known_volatile: tuple[Volatile, ...]) -> Reading:
    """Read one system piece, message or tool for the first time.

    Raises:
        InvalidRequest: what the grammar or `parse_strict` refuses; `param` is relative to the piece.
    """
    value = parse_strict(raw, depth=_PIECE_DEPTH)
    if kind == "tool":
        facts, shape = grammar.read_tool(value), grammar.tool_shape
    elif kind == "system":
        facts, shape = grammar.read_system(value), grammar.system_shape
    else:
        facts, shape = grammar.read_message(value), grammar.message_shape
    canonical = canonical_bytes(value, shape)
    answer = canonical if facts.answer_value is value else canonical_bytes(facts.answer_value, shape)
    volatile = [line for line in known_volatile if any(text.startswith(line.prefix) for text in facts.texts)]
    prompt = value if facts.prompt_value is None else facts.prompt_value
    if volatile:
        prompt = grammar.without_lines(prompt, volatile)
    prefix = canonical if prompt is value else canonical_bytes(prompt, shape)
    text_bytes = max(0, len(canonical) - facts.opaque_bytes)
    return Reading(
        role=facts.role,
        name=facts.name,
        prefix_digest=xxhash.xxh3_128_digest(prefix),
        answer_digest=hashlib.sha256(answer).digest(),
        tokens=-(-text_bytes // _BYTES_PER_TOKEN),
        text_bytes=text_bytes,
        images=facts.images,
        blocks=facts.blocks,
        marks=facts.marks,
        markable=facts.markable,
        stateful=facts.stateful,
        object_id=facts.object_id,
        state=facts.state,
        fee=facts.fee,
        volatile=tuple([line.id for line in volatile]),
        kin=hashlib.sha256(_unordered.encode(canonical_value(value, shape))).digest() if kind == "tool" else b"",
        calls=tuple([read_call(call, as_text=grammar.argument_text) for call in facts.calls]),
        answers=facts.answers,
        bare=b"" if facts.bare is None else xxhash.xxh3_128_digest(canonical_bytes(facts.bare, shape)),
        signed=facts.signed,
        part_ends=_part_ends(prompt, facts.part_ends, shape) if facts.part_ends and not volatile else (),
    )


def _part_ends(value: object, ends: tuple[int, ...], shape: Shape) -> tuple[PartEnd, ...]:
    """Of the parts at `ends`: the first that is worth it, and the last ones; short ones go with their neighbors."""
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(content, list):
        return ()
    sizes = list(accumulate(len(_encoder.encode(part)) for part in content))
    worth: list[int] = []
    for part in ends:
        if sizes[part] - (sizes[worth[-1]] if worth else 0) >= _LEAST_PART:
            worth.append(part)
    found = []
    for part in dict.fromkeys((*worth[:1], *worth[1 - _MOST_PARTS :])):
        begun = canonical_bytes({**value, "content": content[: part + 1]}, shape)
        found.append(PartEnd(part, xxhash.xxh3_128_digest(begun), len(begun) // _BYTES_PER_TOKEN))
    return tuple(found)


def read_call(said: CallSaid, *, as_text: bool) -> CallSeen:
    """A call as it is compared. `as_text`: the white space of its arguments is prompt text.

    Arguments that parsers disagree on, or that are no JSON, are equal to the same text only.
    """
    spelling, value = said.arguments, None
    if not said.custom:
        try:
            value = parse_strict((said.arguments or "{}").encode())
        except (InvalidJSON, UnicodeEncodeError):
            value = None
    if value is not None and not as_text:
        spelling = _encoder.encode(value).decode()
    said_by_value = b"text" + said.arguments.encode("utf-8", "surrogatepass") if value is None else b"json" + _unordered.encode(value)
    name = said.name.encode("utf-8", "surrogatepass")
    return CallSeen(said.id, hashlib.sha256(b"%d:%b" % (len(name), name) + said_by_value).digest(), spelling, said.sealed)


def read_params(fields: Mapping[str, msgspec.Raw], names: tuple[str, ...], outside: Mapping[str, str], grammar: Grammar) -> Params:
    """Read the top-level fields `names`, and what stands outside the body, for the first time. Raises InvalidRequest."""
    values: dict[str, object] = {**outside}
    for name in names:
        try:
            values[name] = parse_strict(fields[name], depth=1)
        except InvalidJSON as error:
            raise InvalidJSON(f"{name}: {error.message}", param=name) from error
    for name in outside:
        if name in names:  # a member that is spelled like a header would stand in its place
            raise InvalidRequest(f"{name} is no field of the body", param=name)
    facts, shape = grammar.read_params(values), grammar.params_shape
    return Params(
        **{name: getattr(facts, name) for name in ParamWords.__struct_fields__},
        prompt_bytes=canonical_bytes(facts.prompt_value, shape),
        answer_bytes=canonical_bytes(facts.answer_value, shape),
        side_bytes=canonical_bytes(facts.side_value, shape),
    )


def canonicalize(arranged: Arranged, params: Params, altering: frozenset[str]) -> Canonical:
    """Bring an arranged request to its canonical form.

    `altering`: ids of enabled edits that change what a model reads (and are not visible in the arrangement).
    """
    chunks, order = arranged.chunks, arranged.tool_order
    found = {line for reading in chunks.messages[: chunks.opening] for line in reading.volatile}
    return Canonical(
        tools=chunks.tools if order is None else tuple([chunks.tools[i] for i in order]),
        tool_order=order,
        messages=chunks.messages,
        opening=chunks.opening,
        query=chunks.query,
        prompt_bytes=params.prompt_bytes,
        answer_bytes=params.answer_bytes,
        auto_mark_s=params.auto_mark_s,
        altered=tuple(sorted(altering)) if found else (),
    )
