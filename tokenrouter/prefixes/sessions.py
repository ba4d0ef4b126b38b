"""Conversations: which one a request belongs to, and what the requests before it looked like. Bounded; in this process only.

    key = session_key(secret, tenant, named, canonical)       named: header_session(call.headers) or params.session
    now = take(...)                                           on the miss path (`prefixes/snapshots.py`)
    ... the answer comes ...
    past = sessions.before(now)                               whom to compare with; None: nothing like it was seen
    found = diagnose(past, now, context)                      `prefixes/diagnosis.py`
    sessions.keep(now, ready_ns=..., cached=...)              only of requests that were answered

A conversation is found by its key; where that leads nowhere (no name, a name that changes, a root that changed), by its newest messages,
which the next request repeats; and the first request of a new one is compared with the nearest earlier root of the same app.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from tokenrouter.model.chunk import Canonical, Reading
from tokenrouter.prefixes.snapshots import Clip, Snapshot, clip_of, likeness, reduced_parameters, sketch

_HEADS: Final = 8
_SESSIONS: Final = 4_096
_TENANTS: Final = 1_024
_ROOTS: Final = 64
_TAILS: Final = 16_384
_TAIL: Final = 4
_PER_PIECE: Final = 72
_PER_HEAD: Final = 768
_PER_TAIL: Final = 192
_LIKE: Final = 0.4
_MOST_PARAMETERS: Final = 16 << 10
_MOSTLY: Final = 0.4
_SMALL_TALK: Final = 200
_LONGEST_ID: Final = 128

Relation = Literal["conversation", "app"]
"""How an earlier request relates to a later one: the same conversation, or another one of the same app."""


def session_key(secret: bytes, tenant: str, named: str, canonical: Canonical) -> bytes:
    """Which conversation: 16 bytes that say nothing to outsiders.

    named  what the client calls it; "": the tools, the opening system text and the first message stand for it
    """
    hasher = hashlib.blake2b(key=secret[:64], digest_size=16)
    owner = tenant.encode()
    hasher.update(b"%d:%b" % (len(owner), owner))
    if named:
        hasher.update(b"named " + named.encode("utf-8", "surrogatepass"))
        return hasher.digest()
    hasher.update(b"unnamed root %d %d " % (len(canonical.tools), canonical.opening))
    for reading in (*canonical.tools, *canonical.messages[: canonical.opening + 1]):
        hasher.update(reading.answer_digest)
    return hasher.digest()


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The last request of one line of a conversation.

    shot      without slices
    clips     text of each piece; None where none is kept
    ready_ns  when its answer began: its prefix could be read from then on
    cached    tokens of its prompt that were in the provider's cache from then on (read and written); -1: not known
    total     input tokens that the provider counted; 0: not known
    reduced   of the parameters, only digests are kept
    answer_id what its vendor calls the answer; "" where that is not known
    """

    shot: Snapshot
    clips: tuple[Clip | None, ...]
    ready_ns: int
    cached: int
    total: int
    reduced: bool = False
    answer_id: str = ""


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a request is compared with. Of relation "app", only the root and the first message are to be compared."""

    head: Head
    relation: Relation


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of memory at most: of one head's text, of one tenant, of all. `keep_text` off: digests and places only."""

    head: int = 4 << 20
    tenant: int = 24 << 20
    process: int = 96 << 20
    keep_text: bool = True


class _Root(msgspec.Struct, frozen=True):
    head: Head
    names: frozenset[str]
    marks: frozenset[int]


class _Tenant:
    """What is known of one tenant. Texts are shared by all heads that hold the same piece."""

    __slots__ = ("held", "roots", "sessions", "tails", "texts")

    def __init__(self) -> None:
        self.sessions: OrderedDict[bytes, list[Head]] = OrderedDict()
        self.tails: OrderedDict[bytes, bytes] = OrderedDict()
        self.roots: OrderedDict[bytes, _Root] = OrderedDict()
        self.texts: dict[bytes, tuple[Clip, list[int]]] = {}
        self.held = 0


class Sessions:
    """The memory of all tenants of this process; nothing of one is visible to another."""

    __slots__ = ("_held", "_limits", "_tenants")

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes in use, as they are counted."""
        return self._held

    def heads(self, tenant: str, session: bytes) -> tuple[Head, ...]:
        """The last requests of a conversation's lines, the newest last; () where it is not known."""
        known = self._tenants.get(tenant)
        return tuple(known.sessions.get(session, ())) if known is not None else ()

    def before(self, now: Snapshot) -> Past | None:
        """Whom to compare `now` with. Requests that were under way at the same time do not count."""
        known = self._tenants.get(now.tenant)
        if known is None:
            return None
        heads = [head for head in known.sessions.get(now.session, ()) if head.ready_ns <= now.at_ns]
        if (extended := _extended(heads, now)) is not None:
            return Past(head=extended, relation="conversation")
        others = self._by_tail(known, now)
        if (extended := _extended(others, now)) is not None:
            return Past(head=extended, relation="conversation")
        nearest = _nearest([*others, *heads], now)
        if nearest is not None:
            return Past(head=nearest, relation="conversation")
        root = _nearest_root(known.roots, now)
        return None if root is None else Past(head=root, relation="app")

    def keep(self, now: Snapshot, *, ready_ns: int, cached: int = -1, total: int = 0, answer_id: str = "") -> None:
        """Remember an answered request in the place of those that it goes on from. Its text is copied here, not before."""
        known = self._tenants.get(now.tenant)
        if known is None:
            known = self._tenants[now.tenant] = _Tenant()
        self._tenants.move_to_end(now.tenant)
        self._held -= known.held
        head = msgspec.structs.replace(self._head(known, now, ready_ns, cached, total), answer_id=answer_id[:_LONGEST_ID])
        heads = known.sessions.setdefault(now.session, [])
        known.sessions.move_to_end(now.session)
        superseded = [old for old in heads if _goes_on(old, now)]
        kept = [old for old in heads if not _goes_on(old, now)]
        superseded += kept[: max(0, len(kept) + 1 - _HEADS)]
        known.sessions[now.session] = [*kept[max(0, len(kept) + 1 - _HEADS) :], head]
        self._remember_root(known, head, now)
        for old in superseded:
            _release(known, old)
        for mark in _tail_marks(now):
            known.held += 0 if mark in known.tails else _PER_TAIL
            known.tails[mark] = now.session
            known.tails.move_to_end(mark)
        while len(known.tails) > _TAILS:
            _forget_tail(known)
        self._shrink(known)

    def _head(self, known: _Tenant, now: Snapshot, ready_ns: int, cached: int, total: int) -> Head:
        """With the text of each piece: what is there already is shared."""
        count = len(now.pieces)
        clips: list[Clip | None] = [None] * count
        if self._limits.keep_text and len(now.slices) == count:
            room, texts = self._limits.head, known.texts
            for index, reading in enumerate(now.pieces):
                key = _text_key(reading)
                entry = texts.get(key)
                if entry is None:
                    clip = clip_of(now.slices[index], room)
                    if clip is None:
                        continue
                    entry = texts[key] = (clip, [0])
                    known.held += clip.cost
                    room -= clip.cost
                entry[1][0] += 1
                clips[index] = entry[0]
        reduced = not self._limits.keep_text or len(now.parameters) > _MOST_PARAMETERS
        bare = msgspec.structs.replace(now, slices=(), parameters=reduced_parameters(now.parameters) if reduced else now.parameters)
        head = Head(shot=bare, reduced=reduced, clips=tuple(clips), ready_ns=ready_ns, cached=cached, total=total)
        known.held += _bare_cost(head)
        return head

    def _remember_root(self, known: _Tenant, head: Head, now: Snapshot) -> None:
        """The root and one message more: what new conversations of the same app are compared with."""
        end = min(now.root + 1, len(now.pieces))
        if not now.root:
            return
        key = hashlib.blake2b(now.links[now.root - 1] + now.account.encode(), digest_size=16).digest()
        seen = known.roots.get(key)
        if seen is not None:
            shot = msgspec.structs.replace(seen.head.shot, at_ns=now.at_ns)
            fresh = msgspec.structs.replace(seen.head, shot=shot, ready_ns=head.ready_ns, cached=max(seen.head.cached, head.cached))
            known.roots[key] = _Root(fresh, seen.names, seen.marks)
            known.roots.move_to_end(key)
            return
        shot = msgspec.structs.replace(head.shot, pieces=now.pieces[:end], links=now.links[:end], query=min(now.query, end))
        short = msgspec.structs.replace(head, shot=shot, clips=head.clips[:end])
        known.held += _bare_cost(short)
        for reading, clip in zip(shot.pieces, short.clips, strict=True):
            if clip is not None:
                known.texts[_text_key(reading)][1][0] += 1
        known.roots[key] = _Root(short, _names(now), _sketch_of(now))
        if len(known.roots) > _ROOTS:
            _release(known, known.roots.popitem(last=False)[1].head)

    def _by_tail(self, known: _Tenant, now: Snapshot) -> list[Head]:
        """Lines of other conversations with the same model that end in messages which stand in this request."""
        found: dict[bytes, None] = {}
        for reading in reversed(now.pieces[now.root :]):
            session = known.tails.get(reading.answer_digest[:8])
            if session is not None and session != now.session:
                found[session] = None
                if len(found) >= 3:
                    break
        heads = [head for session in found for head in known.sessions.get(session, ()) if head.shot.model == now.model]
        return [head for head in heads if head.ready_ns <= now.at_ns]

    def _shrink(self, known: _Tenant) -> None:
        """Forget the oldest conversations, of this tenant and then of the tenant that was heard of least recently."""
        while len(known.sessions) > _SESSIONS or (known.held > self._limits.tenant and len(known.sessions) > 1):
            _forget_oldest(known)
            if len(known.roots) > len(known.sessions):
                _release(known, known.roots.popitem(last=False)[1].head)
        if known.held > self._limits.tenant:
            _forget_all(known)
        self._held += known.held
        while self._held > self._limits.process or len(self._tenants) > _TENANTS:
            oldest = next(iter(self._tenants.values()))
            self._held -= oldest.held
            if oldest.sessions and len(self._tenants) <= _TENANTS:
                _forget_oldest(oldest)
                self._held += oldest.held
            else:
                self._tenants.popitem(last=False)


def _goes_on(old: Head, now: Snapshot) -> bool:
    """`now` repeats all of `old`, for the same model and account."""
    links = old.shot.links
    return 0 < len(links) <= len(now.links) and now.links[len(links) - 1] == links[-1] and old.shot.account == now.account


def _extended(heads: list[Head], now: Snapshot) -> Head | None:
    """The longest line that `now` goes on from."""
    found: Head | None = None
    for head in reversed(heads):
        if _goes_on(head, now) and (found is None or len(head.shot.links) > len(found.shot.links)):
            found = head
    return found


def _nearest(heads: list[Head], now: Snapshot) -> Head | None:
    """The line with which `now` has most of its messages in common; one of the same model and account goes before others.

    Where the root differs, most of the history has to be the same: "Hello" stands in conversations of many apps.
    """
    mine: dict[bytes, int] = {reading.answer_digest: reading.tokens for reading in now.pieces[now.root :]}
    history = sum([reading.tokens for reading in now.pieces[now.root : now.query]])
    best, most = None, 0
    for head in heads:
        shot = head.shot
        common = {reading.answer_digest for reading in shot.pieces[shot.root :]} & mine.keys()
        shared = sum([mine[digest] for digest in common])
        if not _same_root(shot, now):
            enough = history * _MOSTLY if shot.session == now.session else max(history * _MOSTLY, _SMALL_TALK)
            if not history or shared < enough:
                continue
        if shared and shot.model == now.model and shot.account == now.account:
            shared *= 2
        if shared and shared >= most:
            best, most = head, shared
    return best


def _same_root(shot: Snapshot, now: Snapshot) -> bool:
    """Of whatever model: by the pieces, not by the chain."""
    return shot.root == now.root and all(
        one.answer_digest == other.answer_digest for one, other in zip(shot.pieces[: shot.root], now.pieces[: now.root], strict=True)
    )


def _nearest_root(roots: OrderedDict[bytes, _Root], now: Snapshot) -> Head | None:
    """The root of the same app: of the same model and account, its system text an edition of this one, its tools mostly the same."""
    ready = [root for root in reversed(roots.values()) if root.head.ready_ns <= now.at_ns and root.head.shot.model == now.model]
    ready = [root for root in ready if root.head.shot.account == now.account]
    if not now.root:
        return None
    same = next((root for root in ready if root.head.shot.root == now.root and root.head.shot.links[now.root - 1] == now.links[now.root - 1]), None)
    if same is not None:
        return same.head
    mine, names = {reading.answer_digest: reading.tokens for reading in now.pieces[: now.root]}, _names(now)
    opening = [reading.answer_digest for reading in now.pieces[now.tools : now.root]]
    marks: frozenset[int] | None = None
    best, most = None, 0.0
    for root in ready:
        shot = root.head.shot
        theirs = [reading.answer_digest for reading in shot.pieces[shot.tools : shot.root]]
        alike = 1.0
        if theirs != opening:
            marks = _sketch_of(now) if marks is None else marks
            alike = likeness(marks, root.marks)
        kin = len(names & root.names) / len(names | root.names) if names or root.names else 1.0
        if (alike if opening or theirs else kin) < _LIKE or kin < _LIKE:
            continue
        shared = sum([mine.get(reading.answer_digest, 0) for reading in shot.pieces[: shot.root]])
        score = 1.0 + shared + alike * sum([reading.tokens for reading in now.pieces[now.tools : now.root]])
        asked = reduced_parameters(now.parameters) if root.head.reduced else now.parameters
        score *= 2 if shot.parameters == asked else 1
        if score > most:
            best, most = root.head, score
    return best


def _names(shot: Snapshot) -> frozenset[str]:
    return frozenset([reading.name for reading in shot.pieces[: shot.tools]])


def _sketch_of(now: Snapshot) -> frozenset[int]:
    return sketch([bytes(raw) for raw in now.slices[now.tools : now.root]])


def _tail_marks(now: Snapshot) -> Iterator[bytes]:
    for reading in now.pieces[now.root :][-_TAIL:]:
        yield reading.answer_digest[:8]


def _text_key(reading: Reading) -> bytes:
    return reading.prefix_digest + reading.answer_digest[:8]


def _bare_cost(head: Head) -> int:
    """Bytes of memory, texts left out: these are shared."""
    return _PER_HEAD + len(head.shot.affinity) + len(head.shot.parameters) + len(head.shot.pieces) * _PER_PIECE


def _release(known: _Tenant, head: Head) -> None:
    known.held -= _bare_cost(head)
    for reading, clip in zip(head.shot.pieces, head.clips, strict=True):
        if clip is None:
            continue
        key = _text_key(reading)
        entry = known.texts[key]
        entry[1][0] -= 1
        if not entry[1][0]:
            del known.texts[key]
            known.held -= clip.cost


def _forget_oldest(known: _Tenant) -> None:
    for head in known.sessions.popitem(last=False)[1]:
        _release(known, head)
    while known.tails and next(iter(known.tails.values())) not in known.sessions:
        _forget_tail(known)
    if not known.sessions:
        _forget_all(known)


def _forget_tail(known: _Tenant) -> None:
    known.tails.popitem(last=False)
    known.held -= _PER_TAIL


def _forget_all(known: _Tenant) -> None:
    known.sessions.clear()
    known.tails.clear()
    known.roots.clear()
    known.texts.clear()
    known.held = 0
