"""What changed between two requests of one conversation, or between the roots of two: the first change that ends the common prefix."""

from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from tokenrouter.model.breaks import NO_EXCERPT, Cause, Excerpt, Kind, Section
from tokenrouter.model.chunk import Reading, Shape
from tokenrouter.prefixes.differences import Difference, align_bytes, common_bytes, first_difference
from tokenrouter.prefixes.sessions import Head, Past
from tokenrouter.prefixes.snapshots import Snapshot, first_line, tokens_of

_NEAR = 0.5
_EDITION = 48  # characters: two short sentences that look alike are not one
_MOST_PAIRS = 32
_ONE_MESSAGE = 256
_MOST_PLACES = 8  # of one message, where it is said again and again
_FORMS = frozenset(("form", "spelling", "order"))


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of what was sent.

    boundary  which piece of the later request
    common    estimated tokens in front of it
    retained  estimated tokens behind it that the earlier request had too: what a cache would have given
    manner    as in `Difference`; "" where no text was compared
    """

    cause: Cause
    section: Section
    boundary: int
    path: str
    common: int
    retained: int
    kind: Kind = ""
    line: int = 0
    offset: int = 0
    manner: str = ""
    excerpt: Excerpt = NO_EXCERPT
    also: tuple[str, ...] = ()


def compare(past: Past, now: Snapshot) -> Change | None:
    """The first change of tools, system text or messages; None where the earlier request is repeated as far as it goes, or a turn is taken again.

    Another conversation of the same app is compared up to its opening system text only.
    """
    head = past.head
    return _tools(head, now) or _system(head, now) or (_messages(head, now) if past.relation == "conversation" else None)


def common_tokens(past: Past, now: Snapshot) -> int:
    """Estimated tokens of the pieces that both begin with."""
    equal = _equal(past.head.shot.pieces, now.pieces)
    return tokens_of(now.pieces, 0, equal)


def _equal(before: Sequence[Reading], after: Sequence[Reading]) -> int:
    """How many pieces are equal at the beginning. Known lines that differ make a difference: not every upstream leaves them out."""
    for index, (one, other) in enumerate(zip(before, after, strict=False)):
        if one is not other and (one.prefix_digest != other.prefix_digest or (one.volatile and one.answer_digest != other.answer_digest)):
            return index
    return min(len(before), len(after))


def _tools(head: Head, now: Snapshot) -> Change | None:
    shot = head.shot
    before, after = shot.pieces[: shot.tools], now.pieces[: now.tools]
    at = _equal(before, after)
    if at == len(before) == len(after):
        return None
    old_names, new_names = [reading.name for reading in before], [reading.name for reading in after]
    also = _named_changes(before, after)
    retained = _retained(head, now, at)
    common = tokens_of(after, 0, at)
    if at < len(before) and at < len(after) and old_names[at] == new_names[at]:
        found = _difference(head, at, now, at, now.grammar.tool_shape)
        change = _changed("tools.changed", "tools", at, found, now, common, retained, also)
        return msgspec.structs.replace(change, retained=retained + round((found.share if found else 0) * after[at].tokens))
    cause: Cause
    if at >= len(before) or (at < len(after) and new_names[at] not in old_names):
        cause, path, excerpt = "tools.added", now.place(at), Excerpt(after=new_names[at])
        retained -= after[at].tokens if after[at].answer_digest in {reading.answer_digest for reading in shot.pieces} else 0
    elif at >= len(after) or old_names[at] not in new_names:
        cause, path, excerpt = "tools.removed", shot.place(at), Excerpt(before=old_names[at])
    else:
        cause, path, excerpt = "tools.reordered", now.place(at), Excerpt(before=old_names[at], after=new_names[at])
    return Change(
        cause=cause, section="tools", boundary=min(at, len(now.pieces) - 1), path=path, common=common, retained=retained, excerpt=excerpt, also=also
    )


def _named_changes(before: Sequence[Reading], after: Sequence[Reading]) -> tuple[str, ...]:
    """Which tools came, went and changed, by name."""
    old, new = {reading.name: reading for reading in before}, {reading.name: reading for reading in after}
    came, gone = [name for name in new if name not in old], [name for name in old if name not in new]
    other = [name for name in new if name in old and new[name].prefix_digest != old[name].prefix_digest]
    said = (("added", came), ("removed", gone), ("changed", other))
    return tuple([f"{what}: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" for what, names in said if names])


def _system(head: Head, now: Snapshot) -> Change | None:
    shot = head.shot
    before, after = shot.pieces[shot.tools : shot.root], now.pieces[now.tools : now.root]
    at = _equal(before, after)
    if at == len(before) == len(after):
        return None
    boundary = now.tools + at
    common, retained = tokens_of(now.pieces, 0, boundary), _retained(head, now, boundary)
    old = [reading.answer_digest for reading in before]
    new = [reading.answer_digest for reading in after]
    shape = now.grammar.system_shape if at < now.system else now.grammar.message_shape
    if at >= len(old) or at >= len(new) or new[at] in old[at + 1 :] or old[at] in new[at + 1 :]:
        also = (f"{len(after)} system pieces, before: {len(before)}",)
        place = now.place(boundary) if at < len(new) else shot.place(shot.tools + at)
        return Change(
            cause="system.changed",
            section="system",
            boundary=min(boundary, len(now.pieces) - 1),
            path=place,
            common=common,
            retained=retained,
            also=also,
        )
    if new[at] == old[at]:
        return _flipped("system", boundary, now, common, retained)
    found = _difference(head, shot.tools + at, now, boundary, shape)
    if after[at].volatile and before[at].prefix_digest == after[at].prefix_digest and found is not None:
        found = msgspec.structs.replace(found, kind="attribution", whole=True)
    retained += round((found.share if found else 0) * after[at].tokens) + _edited_behind(head, now, at)
    return _changed("system.changed", "system", boundary, found, now, common, retained, ())


def _edited_behind(head: Head, now: Snapshot, at: int) -> int:
    """Estimated tokens up to the next change in the system text: a cache would have given them, had the first change not been."""
    shot = head.shot
    for old, new in zip(range(shot.tools + at + 1, shot.root), range(now.tools + at + 1, now.root), strict=False):
        if shot.pieces[old].prefix_digest == now.pieces[new].prefix_digest:
            continue  # counted already
        clip = head.clips[old]
        said = clip.whole() if clip is not None else None
        if said is None or not now.slices:
            return 0
        return round(common_bytes(said, bytes(now.slices[new])) * now.pieces[new].tokens)
    return 0


def _messages(head: Head, now: Snapshot) -> Change | None:
    shot = head.shot
    before, after = shot.pieces[shot.root :], now.pieces[now.root :]
    at = _equal(before, after)
    if at == len(before) or at == len(after):
        return None
    boundary = now.root + at
    common = tokens_of(now.pieces, 0, boundary)
    if before[at].answer_digest == after[at].answer_digest:
        return _flipped("messages", boundary, now, common, _retained(head, now, boundary))
    rest, fresh = before[at:], after[at:]
    again = _in_order(rest, fresh)
    gone, come = again[0] if again else (0, 0)
    change: Change | None
    if again and 2 * len(again) >= len(rest) - gone:  # by number: one long text may well be said in two branches
        change = _resumed(head, now, at, gone, come, common, sum([rest[old].tokens for old, _ in again]))
    else:
        change = _edited_in_place(head, now, at, common)
    return None if change is not None and len(after) == len(before) and _another_run(change) else change


def _another_run(change: Change) -> bool:
    """Of a request with as many messages as before: the same task again, for another user or with the model's calls under other ids, rather
    than a conversation that goes on. A clock or a path in an earlier message is an edit all the same.
    """
    return change.cause in ("message.edited", "volatile") and change.kind in ("", "id") and change.manner == "changed"


def _in_order(before: Sequence[Reading], after: Sequence[Reading]) -> list[tuple[int, int]]:
    """The most messages that stand in both in the same order, as pairs of indexes. A message that is said twice ("Let me look.") does not
    pull the rest out of place: this is a longest increasing sequence over all places of each.
    """
    where: dict[bytes, list[int]] = {}
    for index in range(len(after) - 1, -1, -1):
        places = where.setdefault(after[index].answer_digest, [])
        if len(places) < _MOST_PLACES:
            places.append(index)
    ends: list[int] = []  # of the best sequence of each length: the lowest index of `after` that it can end at
    last: list[int] = []  # and which pair that is
    pairs: list[tuple[int, int, int]] = []  # indexes, and the pair in front
    for old, reading in enumerate(before):
        for new in where.get(reading.answer_digest, ()):
            length = bisect_left(ends, new)
            pairs.append((old, new, last[length - 1] if length else -1))
            if length == len(ends):
                ends.append(new)
                last.append(len(pairs) - 1)
            else:
                ends[length], last[length] = new, len(pairs) - 1
    found: list[tuple[int, int]] = []
    at = last[-1] if last else -1
    while at >= 0:
        found.append(pairs[at][:2])
        at = pairs[at][2]
    return found[::-1]


def _resumed(head: Head, now: Snapshot, at: int, gone: int, come: int, common: int, retained: int) -> Change:
    """`gone` messages of before are no longer there, `come` stand in their place, and behind them it goes on as before."""
    shot = head.shot
    boundary, place = now.root + at, now.place(now.root + at)
    counts: tuple[str, ...] = (f"{gone} messages of before are gone, {come} stand in their place",)
    cause: Cause
    if gone == come:
        found = _difference(head, shot.root + at, now, boundary, now.grammar.message_shape)
        retained += round((found.share if found else 0) * now.pieces[boundary].tokens)
        return _changed("message.edited", "messages", boundary, found, now, common, retained, counts if gone > 1 else ())
    if not gone and now.root + at + 1 <= len(shot.pieces) and shot.root + at == len(shot.pieces) - 1 and now.pieces[boundary].role == "assistant":
        cause, counts = "message.dropped", ("the newest message of before stands further behind: it moves along with the end",)
    elif not gone:
        cause = "message.inserted"
    elif not come:
        cause = "message.dropped"
        counts = (*counts, "a sliding window") if at <= 1 else counts
        place = shot.place(shot.root + at)
    else:
        cause = "history.compacted" if gone > come else "message.edited"
    return Change(cause=cause, section="messages", boundary=boundary, path=place, common=common, retained=retained, also=counts)


def _edited_in_place(head: Head, now: Snapshot, at: int, common: int) -> Change | None:
    """No later message is the same; yet they may all be editions of those of before. Otherwise the conversation took another way."""
    shot = head.shot
    boundary, before = now.root + at, shot.pieces[shot.root + at]
    if boundary == len(now.pieces) - 1 or before.role != now.pieces[boundary].role:
        return None  # the newest turn, asked in another way
    found = _difference(head, shot.root + at, now, boundary, now.grammar.message_shape)
    if found is None or not (found.manner in _FORMS or (found.whole and (found.kind or (found.near >= _NEAR and found.equal >= _EDITION)))):
        return None
    retained = round(found.share * now.pieces[boundary].tokens)
    newest = shot.root + at == len(shot.pieces) - 1
    if newest and found.manner not in _FORMS and not found.kind and retained < _ONE_MESSAGE:
        return None  # a sibling whose question was put in other words, rather than a client that rewrites its last message
    for step in range(1, min(_MOST_PAIRS, len(shot.pieces) - shot.root - at, len(now.pieces) - boundary)):
        clip, reading = head.clips[shot.root + at + step], now.pieces[boundary + step]
        said = clip.whole() if clip is not None else None
        if said is None or shot.pieces[shot.root + at + step].role != reading.role:
            break
        share = align_bytes(said, bytes(now.slices[boundary + step]))
        if share < _NEAR:
            break
        retained += round(share * reading.tokens)
    return _changed("message.edited", "messages", boundary, found, now, common, retained, ())


def _retained(head: Head, now: Snapshot, boundary: int) -> int:
    """Estimated tokens behind a change that stood in the earlier request too. Of another conversation only the root is known."""
    known = {digest for reading in head.shot.pieces for digest in (reading.answer_digest, reading.prefix_digest)}
    return sum([reading.tokens for reading in now.pieces[boundary:] if reading.answer_digest in known or reading.prefix_digest in known])


def _difference(head: Head, index: int, now: Snapshot, boundary: int, shape: Shape) -> Difference | None:
    """What a piece says otherwise than piece `index` of before; None where no text was kept."""
    clip, shot = head.clips[index], head.shot
    if clip is None or not now.slices:
        return None
    data, whole = bytes(now.slices[boundary]), clip.whole()
    if whole is not None:
        messages = shot.grammar is now.grammar and index >= shot.tools + shot.system and boundary >= now.tools + now.system
        return first_difference(whole, data, shape, now.grammar.read_message if messages else None)
    line = first_line(clip, data)
    first, last = clip.head(), clip.tail()
    share = (len(first) if data.startswith(first) else 0) + (len(last) if data.endswith(last) else 0)
    return Difference(manner="changed", path="", line=line, share=min(1.0, share / max(1, len(data))), whole=data.endswith(last))


def _flipped(section: Section, boundary: int, now: Snapshot, common: int, retained: int) -> Change:
    return Change(cause="form.flipped", section=section, boundary=boundary, path=now.place(boundary), common=common, retained=retained, manner="form")


def _changed(
    cause: Cause, section: Section, boundary: int, found: Difference | None, now: Snapshot, common: int, retained: int, also: tuple[str, ...]
) -> Change:
    """A change of one piece, called by what differs in it."""
    if found is None:
        return Change(cause=cause, section=section, boundary=boundary, path=now.place(boundary), common=common, retained=retained, also=also)
    kind: Kind = found.kind if found.whole else ""
    if kind:
        cause = "volatile"
    elif found.manner in _FORMS and section != "tools":
        cause = "form.flipped"
    if found.spans > 1:
        also = (*also, f"{found.spans} places of this text differ")
    return Change(
        cause=cause,
        section=section,
        boundary=boundary,
        path=now.place(boundary) + found.path,
        common=common,
        retained=retained,
        kind=kind,
        line=found.line,
        offset=found.offset,
        manner=found.manner,
        excerpt=found.excerpt,
        also=also,
    )
