"""Per-request text in prompts, found by evidence: two requests that should share a piece differ in a short span and are one again behind it.

    slots.learn(past, now, found, context)      after `diagnose(past, now, context)`; it returns at once where the earlier request is repeated
    slots.report(tenant)                        what was found, the dearest first

Siblings are the requests that the diagnosis compares: the one before in a conversation, and the nearest root (with its first message) of
the same app for a new one. A span counts where the texts close again within 64 characters and then agree for at least 1,024 tokens, or up
to their end. The scanners say what it is; what they do not know is reported once it was seen with several values.
Report only: nothing is changed here. `relocation` makes the edit of an approved slot.
"""

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tokenrouter.model.breaks import Break, Kind, Section
from tokenrouter.model.chunk import Reading
from tokenrouter.model.volatile import Template
from tokenrouter.prefixes.diagnosis import Context, price_of
from tokenrouter.prefixes.differences import prompted
from tokenrouter.prefixes.relocation import fault, settled
from tokenrouter.prefixes.scanners import kind_of, outline
from tokenrouter.prefixes.sessions import Past
from tokenrouter.prefixes.snapshots import Clip, Snapshot
from tokenrouter.prefixes.texts import Span, align, line_of, whole_tokens

_AGAIN: Final = 4_096  # characters: 1,024 tokens
_BYTES_PER_TOKEN = 4
_SLOTS = 256
_TENANTS = 1_024
_VALUES = 64
_UNKNOWN_FROM = 3
_MOST_TEXTS = 16
_ANCHOR = 48
_CONTEXT = 600


class Slot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A place in a prompt that says something else in every request.

    id        stable: the same place of the same text has the same id in every process
    section, path, line   where it was seen last, in the client's words
    kind      what it holds; "" where that is not known
    left, right  the text around it, up to the next slot or other text that may change: what it is found again by
    count     how often it differed between siblings
    distinct  how many values were seen (64 means 64 or more)
    tokens    that had to be processed again because of it
    nano_usd  what they cost more than reading them
    behind    tokens of the same text that stand behind it
    first_ns, last_ns  when it was seen
    edit      that would help; "" where only the client can
    advice    what the client's owner can do
    """

    id: str
    section: Section
    path: str
    line: int
    kind: Kind
    left: str
    right: str
    count: int = 0
    distinct: int = 0
    tokens: int = 0
    nano_usd: int = 0
    behind: int = 0
    first_ns: int = 0
    last_ns: int = 0
    edit: str = ""
    advice: str = ""

    @property
    def template(self) -> str:
        """The text around it, with the value taken out."""
        return f"{self.left}<{self.kind or 'text'}>{self.right}"


def template_of(slot: Slot) -> Template | None:
    """What would be approved for `volatile.relocate`; None where it can not be moved."""
    found = Template(id=slot.id, kind=slot.kind, left=slot.left, right=slot.right)
    return found if slot.edit == "volatile.relocate" and not fault(found) else None


class _Known:
    __slots__ = ("slot", "values")

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.values: set[bytes] = set()


class Slots:
    """What was found, per tenant; bounded, the least recently seen goes first."""

    __slots__ = ("_tenants",)

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[str, _Known]] = OrderedDict()

    def learn(self, past: Past | None, now: Snapshot, found: Break | None, context: Context) -> None:
        """Look at the texts in which `now` differs from its sibling. `found` names what it cost."""
        if past is None or not now.slices:
            return
        shot = past.head.shot
        length = len(shot.links)
        if length <= len(now.links) and shot.links[-1:] == now.links[length - 1 : length]:
            return
        blamed = found if found is not None and found.cause == "volatile" else None
        for boundary, clip in _differing(past, now):
            if past.relation == "app" and boundary >= now.root and len(now.slices[boundary]) < _AGAIN:
                continue  # another question: nothing behind it that is worth sharing
            seen = list(_texts_of(clip, now, boundary, same_grammar=shot.grammar is now.grammar))
            for path, old, new in seen[:_MOST_TEXTS]:
                blamed = self._learn_text(now, boundary, path, old, new, blamed, context)

    def report(self, tenant: str) -> tuple[Slot, ...]:
        """The slots of a tenant, the dearest first."""
        kept = self._tenants.get(tenant) or OrderedDict()
        told = [known.slot for known in kept.values() if known.slot.kind or known.slot.distinct >= _UNKNOWN_FROM]
        return tuple(sorted(told, key=lambda slot: (-slot.nano_usd, -slot.tokens, slot.id)))

    def _learn_text(self, now: Snapshot, boundary: int, path: str, old: str, new: str, blamed: Break | None, context: Context) -> Break | None:
        """The slots of one text. Whoever stands first is charged with the break; the others with what stands behind them."""
        aligned = align(old, new)
        spans = whole_tokens(old, new, aligned.spans)
        if 2 * aligned.equal < len(new):
            return blamed  # another text
        for index, span in enumerate(spans):
            behind = _equal_behind(spans, index, new)
            closes = span.b_to < len(old) or span.a_to < len(new) or aligned.whole
            if not closes or not (behind >= _AGAIN or aligned.whole) or max(span.b_to - span.b_from, span.a_to - span.a_from) > _CONTEXT:
                continue
            before = spans[index - 1].a_to if index else 0
            after = spans[index + 1].a_from if index + 1 < len(spans) else len(new)
            slot = _slot(now, boundary, path, old, new, span, before, after, behind)
            tokens, nano = (blamed.tokens, blamed.nano_usd) if blamed is not None else (slot.behind, price_of(slot.behind, context))
            blamed = None
            self._count(now, slot, new[span.a_from : span.a_to], old[span.b_from : span.b_to], tokens, nano)
        return blamed

    def _count(self, now: Snapshot, slot: Slot, value: str, other: str, tokens: int, nano: int) -> None:
        kept = self._tenants.setdefault(now.tenant, OrderedDict())
        self._tenants.move_to_end(now.tenant)
        known = kept.get(slot.id)
        if known is None:
            known = kept[slot.id] = _Known(slot)
        kept.move_to_end(slot.id)
        for said in (value, other):
            if len(known.values) < _VALUES:
                known.values.add(hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        was = known.slot
        known.slot = msgspec.structs.replace(
            slot,
            kind=slot.kind or was.kind,
            count=was.count + 1,
            distinct=len(known.values),
            tokens=was.tokens + tokens,
            nano_usd=was.nano_usd + nano,
            first_ns=was.first_ns or now.at_ns,
            last_ns=now.at_ns,
        )
        if len(kept) > _SLOTS:
            kept.popitem(last=False)
        if len(self._tenants) > _TENANTS:
            self._tenants.popitem(last=False)


def _differing(past: Past, now: Snapshot) -> Iterator[tuple[int, Clip]]:
    """Pieces that stand at the same place of both and differ: of the root, and of a new conversation the first message; else the first one."""
    shot, clips = past.head.shot, past.head.clips
    if shot.tools == now.tools and shot.opening == now.opening:
        end = min(now.root + 1, len(shot.pieces), len(now.pieces))
        found = False
        for at in range(end):
            clip = clips[at]
            if at < now.tools and shot.pieces[at].name != now.pieces[at].name:
                continue  # another tool in its place: what two tools say otherwise is no change of either
            if _differ(shot.pieces[at], now.pieces[at]) and clip is not None:
                found = True
                yield at, clip
        if found or past.relation == "app":
            return
    elif shot.opening == now.opening:
        for step in range(now.opening):
            clip = clips[shot.tools + step]
            if clip is not None and _differ(shot.pieces[shot.tools + step], now.pieces[now.tools + step]):
                yield now.tools + step, clip
        return
    for step in range(min(len(shot.pieces) - shot.root, len(now.pieces) - now.root - 1)):
        clip = clips[shot.root + step]
        if _differ(shot.pieces[shot.root + step], now.pieces[now.root + step]):
            if clip is not None and shot.pieces[shot.root + step].role == now.pieces[now.root + step].role:
                yield now.root + step, clip
            return


def _differ(old: Reading, new: Reading) -> bool:
    """Another text, to its reader and to a prompt cache. Known lines make a difference: not every upstream leaves them out."""
    return old.answer_digest != new.answer_digest and (old.prefix_digest != new.prefix_digest or bool(new.volatile))


def _texts_of(clip: Clip, now: Snapshot, boundary: int, *, same_grammar: bool) -> Iterator[tuple[str, str, str]]:
    """Path, earlier and later text of every text at one place of both, as far as they are prompt."""
    said = clip.whole()
    if said is None:
        return
    before, after = msgspec.json.decode(said), msgspec.json.decode(now.slices[boundary])
    if same_grammar and boundary >= now.tools + now.system and isinstance(before, dict):
        before, after = prompted(before, now.grammar.read_message), prompted(after, now.grammar.read_message)
    level: deque[tuple[str, object, object]] = deque([("", before, after)])
    while level:
        path, old, new = level.popleft()
        if isinstance(old, str) and isinstance(new, str):
            if old != new:
                yield path, old, new
        elif isinstance(old, dict) and isinstance(new, dict):
            level += [(f"{path}.{key}", value, new[key]) for key, value in old.items() if key in new]
        elif isinstance(old, list) and isinstance(new, list):
            level += [(f"{path}[{at}]", one, other) for at, (one, other) in enumerate(zip(old, new, strict=False))]


def _equal_behind(spans: Sequence[Span], index: int, new: str) -> int:
    """Characters behind a span that the sibling has too."""
    ends = [*(span.a_from for span in spans[index + 1 :]), len(new)]
    starts = [span.a_to for span in spans[index:]]
    return sum([end - start for start, end in zip(starts, ends, strict=True)])


def _slot(now: Snapshot, boundary: int, path: str, old: str, new: str, span: Span, before: int, after: int, behind: int) -> Slot:
    """`before`, `after`: where the neighbouring slots end and begin."""
    section: Section = "tools" if boundary < now.tools else "system" if boundary < now.root else "messages"
    wide = new[max(0, span.a_from - _CONTEXT) : span.a_from]
    kind = kind_of(old[span.b_from : span.b_to], new[span.a_from : span.a_to], wide, new[span.a_to : span.a_to + _ANCHOR])
    low, start, end, high = settled(new, span.a_from, span.a_to, kind if section == "system" else "", before, after)
    left, right = new[low:start], new[end:high]
    # The first line of either side, times and ids taken out: neighbours that are slots themselves must not change the name.
    name = f"{section} {path} {outline(left)[-24:]} {outline(right)[:24]}"
    return Slot(
        id=hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest(),
        section=section,
        path=now.place(boundary) + path,
        line=line_of(new, span.a_from),
        kind=kind,
        left=left,
        right=right,
        behind=behind // _BYTES_PER_TOKEN,
        first_ns=now.at_ns,
        last_ns=now.at_ns,
        edit="volatile.relocate" if section == "system" else "",
        advice="say it in the newest user message, and keep this text the same in every request",
    )
