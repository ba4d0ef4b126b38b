"""The first difference between two spellings of one piece (a tool, a system text, a message), with its place in the client's words."""

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from tokenrouter.model.breaks import NO_EXCERPT, Excerpt, Kind
from tokenrouter.model.chunk import Shape
from tokenrouter.model.envelope import PieceFacts
from tokenrouter.prefixes.scanners import kind_of
from tokenrouter.prefixes.texts import align, line_of, whole_tokens

Manner = Literal["changed", "added", "removed", "order", "form", "spelling"]
"""How two pieces differ: in what they say; by a member that only one has; in the order of keys; as a string and as a part; as the same
JSON, spelled in another way.
"""

Reader = Callable[[object], PieceFacts]
"""As `Grammar.read_message`."""

_LEFT: Final = 600  # enough for a label a few lines above
_SHOWN: Final = 80
_LONGEST: Final = 400
_BOUNDARY = 24

_decoder = msgspec.json.Decoder(float_hook=lambda spelled: msgspec.Raw(spelled.encode()))
_plain = msgspec.json.Decoder()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how two pieces differ first.

    path     below the piece: `.input_schema.properties.x`; "" is the piece itself
    line     of the text at `path`, from 1; 0 where it is no text
    offset   characters of that text in front of the difference
    share    how much of the later piece is equal, from 0 to 1
    near     how much of the later text is equal, from 0 to 1; 0 where it is no text
    equal    characters of that
    whole    the two are equal again at their ends, or differ in no text at all
    spans    how many places of the text differ
    """

    manner: Manner
    path: str
    line: int = 0
    offset: int = 0
    kind: Kind = ""
    excerpt: Excerpt = NO_EXCERPT
    share: float = 0.0
    near: float = 0.0
    equal: int = 0
    whole: bool = True
    spans: int = 1


def first_difference(before: bytes, after: bytes, shape: Shape, read: Reader | None = None) -> Difference | None:
    """The first difference between two pieces, in the order in which the later one spells its members; None where they say the same.

    Cache directives and the order of protocol keys are no difference (`shape` knows both), nor is what a provider does not put into the
    prompt (`read` does: the dialect's reader of such pieces).
    """
    old, new = _decoder.decode(before), _decoder.decode(after)
    if read is not None:
        old, new = prompted(old, read), prompted(new, read)
    found = _walk(_bare(old, shape), _bare(new, shape), "")
    if found is not None and found.path and found.manner == "changed":  # what a text shares says little where it is a small part of the piece
        return msgspec.structs.replace(found, share=max(found.share, align_bytes(before, after)))
    if found is None or found.share:
        return found
    return msgspec.structs.replace(found, share=align_bytes(before, after))


def prompted(value: object, read: Reader) -> object:
    """A decoded piece as far as its provider puts it into the prompt."""
    seen = read(value).prompt_value
    return value if seen is None else seen


def common_bytes(before: bytes, after: bytes) -> float:
    """How much of `after` is equal at its beginning: from 0 to 1."""
    return _equal_bytes(before, after, min(len(before), len(after))) / max(1, len(after))


def align_bytes(before: bytes, after: bytes) -> float:
    """How much of `after` stands in `before` as well, at its two ends: from 0 to 1."""
    most = min(len(before), len(after))
    head, tail = _equal_bytes(before, after, most), _equal_bytes(before[::-1], after[::-1], most)
    return min(most, head + tail) / max(1, len(after))


def _equal_bytes(before: bytes, after: bytes, most: int) -> int:
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        if before[:middle] == after[:middle]:
            low = middle
        else:
            high = middle
    return low


def _bare(value: object, shape: Shape) -> object:
    """Without directives, protocol keys sorted: what `canonical_value` of the pipeline makes of it."""
    if isinstance(value, list):
        return [_bare(item, shape) for item in value]
    if not isinstance(value, dict):
        return value
    children = shape.children
    return {key: _bare(value[key], children[key]) if key in children else value[key] for key in sorted(value) if key not in shape.directives}


def _walk(old: object, new: object, path: str) -> Difference | None:
    if type(old) is type(new):
        if isinstance(old, dict) and isinstance(new, dict):
            return _walk_members(old, new, path)
        if isinstance(old, list) and isinstance(new, list):
            return _walk_items(old, new, path)
        if isinstance(old, str) and isinstance(new, str):
            return None if old == new else _texts(old, new, path)
    if _alike(old, new):
        return None
    if _is_number(old) and _is_number(new):
        return _scalars(old, new, path)
    said, says = _text_of(old), _text_of(new)
    if said is not None and says is not None:
        if said == says:
            return Difference(manner="form", path=path)
        found = _texts(said, says, path)
        return found and msgspec.structs.replace(found, path=path)
    return Difference(manner="changed", path=path, excerpt=Excerpt(before=_short(_spelled(old)), after=_short(_spelled(new))))


def _walk_members(old: dict[str, object], new: dict[str, object], path: str) -> Difference | None:
    order: Difference | None = None
    for key, value in new.items():
        if key not in old:
            if value is None or value in ("", []):
                return Difference(manner="form", path=f"{path}.{key}")
            return Difference(manner="added", path=f"{path}.{key}", excerpt=Excerpt(after=_short(_spelled(value))))
        found = _walk(old[key], value, f"{path}.{key}")
        if found is not None and found.manner != "order":
            return found
        order = order or found
    for key, value in old.items():
        if key not in new:
            if value is None or value in ("", []):
                return Difference(manner="form", path=f"{path}.{key}")
            return Difference(manner="removed", path=f"{path}.{key}", excerpt=Excerpt(before=_short(_spelled(value))))
    if order is None and list(old) != list(new):
        names = Excerpt(before=_short(", ".join(old)), after=_short(", ".join(new)))
        return Difference(manner="order", path=path, excerpt=names)
    return order


def _walk_items(old: list[object], new: list[object], path: str) -> Difference | None:
    order: Difference | None = None
    for index, (one, other) in enumerate(zip(old, new, strict=False)):
        found = _walk(one, other, f"{path}[{index}]")
        if found is not None and found.manner != "order":
            return found
        order = order or found
    if len(old) < len(new):
        return Difference(manner="added", path=f"{path}[{len(old)}]", excerpt=Excerpt(after=_short(_spelled(new[len(old)]))))
    if len(old) > len(new):
        return Difference(manner="removed", path=f"{path}[{len(new)}]", excerpt=Excerpt(before=_short(_spelled(old[len(new)]))))
    return order


def text_difference(old: str, new: str, path: str = "") -> Difference:
    """The first place where two texts that differ do so. Public for texts that stand alone."""
    aligned = align(old, new)
    span = whole_tokens(old, new, aligned.spans)[0]
    before, after = old[span.b_from : span.b_to], new[span.a_from : span.a_to]
    label = path.rpartition(".")[2] + ": "
    left, right = new[max(0, span.a_from - _LEFT) : span.a_from], new[span.a_to : span.a_to + _LEFT]
    return Difference(
        manner="changed",
        path=path,
        line=line_of(new, span.a_from),
        offset=span.a_from,
        kind=kind_of(before, after, left or label, right) or _id_kind(before, after, label),
        excerpt=Excerpt(left=left[-_SHOWN:], before=_short(before), after=_short(after), right=right[:_SHOWN]),
        share=min(1.0, aligned.equal / max(1, len(new))),
        near=min(1.0, aligned.equal / max(1, len(new))),
        equal=aligned.equal,
        whole=aligned.whole,
        spans=len(aligned.spans),
    )


def _id_kind(before: str, after: str, label: str) -> Kind:
    """The value of a member that is called an id is one, whatever it looks like."""
    named = label.lower().endswith(("id: ", "_id: ")) and not any(map(str.isspace, before + after))
    return "id" if named and before and after else ""


def _texts(old: str, new: str, path: str) -> Difference | None:
    if _same_json(old, new):
        return Difference(manner="spelling", path=path, excerpt=Excerpt(before=_short(old), after=_short(new)))
    return text_difference(old, new, path)


def _scalars(old: object, new: object, path: str) -> Difference:
    before, after = _spelled(old), _spelled(new)
    label = path.rpartition(".")[2] + ": "
    return Difference(
        manner="spelling" if float(before) == float(after) else "changed",
        path=path,
        kind=kind_of(before, after, label),
        excerpt=Excerpt(left=label, before=before[:_LONGEST], after=after[:_LONGEST]),
    )


def _same_json(old: str, new: str) -> bool:
    """Arguments and schemas travel as strings: the same value in another spelling is the same to their reader, and not to a cache."""
    if old[:1] not in ("{", "[") or new[:1] not in ("{", "["):
        return False
    try:
        return bool(_plain.decode(old) == _plain.decode(new))
    except (msgspec.DecodeError, RecursionError):
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, msgspec.Raw | int | float) and not isinstance(value, bool)


def _alike(old: object, new: object) -> bool:
    if isinstance(old, msgspec.Raw) or isinstance(new, msgspec.Raw):
        return isinstance(old, msgspec.Raw) and isinstance(new, msgspec.Raw) and bytes(old) == bytes(new)
    return type(old) is type(new) and old == new


def _text_of(value: object) -> str | None:
    """The text that a string says, or an array of one text part, or such a part; None where there is more to it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "" if not value else _text_of(value[0]) if len(value) == 1 else None
    if isinstance(value, dict) and set(value) <= {"type", "text"} and isinstance(text := value.get("text"), str):
        return text
    return None


def _spelled(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
