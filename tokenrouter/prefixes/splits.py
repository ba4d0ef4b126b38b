"""`system.split`: where a system text is cut in two, so that a breakpoint can stand in front of what changes in it.

A clock or a working directory at the tail of a system text makes each text a prefix of its own. What a text has in common with an earlier
one behind the same tools (and the same system texts before it) is worth a breakpoint. The cut stands in front of the first line that
differs; it is decided at the first sight of a text and stays, so that no form flips within a conversation. Where there is nothing to compare
with yet, it stands in front of what looks like something that changes (`guess`): a mark there costs nothing, as what is behind it is written anyway.
"""

import re
from collections.abc import Sequence
from typing import Protocol

import msgspec

from tokenrouter.prefixes.remembered import Remembered
from tokenrouter.prefixes.scanners import first_likely

_ROOM = 8 << 20
_PROCESS_ROOM = 64 << 20
_LONGEST = 512 << 10
_TEXTS = 4
_WORTH = 0.8  # of what could be shared at most: then an earlier cut is taken again, since something may be cached there
_SENTENCE = re.compile(r"[.!?;:] ")


class SplitSeen(msgspec.Struct, frozen=True, tag=True):
    """What was decided about a system text.

    parent   digest of model, tools and the system texts before it
    digest   of the text
    text     the text itself
    chars    characters of it that the first part holds; 0: it is sent whole
    seen_ns  when, Unix nanoseconds: of two workers' decisions the earlier one counts
    """

    tenant: str
    parent: bytes
    digest: bytes
    text: str
    chars: int
    seen_ns: int


class Splitter(Protocol):
    """Decisions about system texts."""

    def find(self, tenant: str, parent: bytes, digest: bytes) -> SplitSeen | None:
        """What was decided about a text; None at its first sight."""
        ...

    def earlier(self, tenant: str, parent: bytes) -> tuple[SplitSeen, ...]:
        """The newest texts behind the same parent."""
        ...

    def remember(self, split: SplitSeen) -> bool:
        """Keep a decision, unless an earlier one is known. Whether it was kept."""
        ...


class Splits:
    """`Splitter` of one process, bounded for each tenant."""

    def __init__(self, room: int = _ROOM, process_room: int = _PROCESS_ROOM) -> None:
        """`room`: bytes for a tenant; `process_room`: for all of them."""
        self._decided: Remembered[tuple[bytes, bytes], tuple[int, int]] = Remembered(lambda _: 192, room=room // 4, process_room=process_room // 4)
        self._texts: Remembered[bytes, tuple[SplitSeen, ...]] = Remembered(
            lambda several: sum(2 * len(one.text) + 256 for one in several), room=room, process_room=process_room
        )

    def find(self, tenant: str, parent: bytes, digest: bytes) -> SplitSeen | None:
        """See `Splitter`. Its text is not remembered for long."""
        found = self._decided.get(tenant, (parent, digest))
        return None if found is None else SplitSeen(tenant, parent, digest, "", *found)

    def earlier(self, tenant: str, parent: bytes) -> tuple[SplitSeen, ...]:
        """See `Splitter`."""
        return self._texts.get(tenant, parent) or ()

    def remember(self, split: SplitSeen) -> bool:
        """See `Splitter`."""
        known = self.find(split.tenant, split.parent, split.digest)
        if known is not None and (known.seen_ns, known.chars) <= (split.seen_ns, split.chars):
            return False
        self._decided.put(split.tenant, (split.parent, split.digest), (split.chars, split.seen_ns))
        if len(split.text) <= _LONGEST:
            others = [one for one in self.earlier(split.tenant, split.parent) if one.digest != split.digest]
            self._texts.put(split.tenant, split.parent, (*others, split)[-_TEXTS:])
        return True


def cut(text: str, earlier: Sequence[SplitSeen], least: int) -> int:
    """How many characters of `text` its first part holds, `least` at least; 0 where nothing is worth a cut."""
    common = max((_common(text, one.text) for one in earlier if one.text != text), default=0)
    place = _boundary(text, common)
    again = [one.chars for one in earlier if one.chars <= common and text[: one.chars] == one.text[: one.chars]]
    best = max(again, default=0)
    place = best if best >= max(least, 1) and best >= _WORTH * place else place
    return place if place >= least and _parts(text, place) else 0


def guess(text: str, least: int) -> int:
    """As `cut`, of a text that is like none before: in front of the first line, or sentence, that says a time, an id, or somebody's folder."""
    at = first_likely(text, max(least, 0))
    place = _boundary(text, at) if at > 0 else 0
    return place if place >= least and _parts(text, place) else 0


def _parts(text: str, place: int) -> bool:
    """Whether both parts say something: providers refuse texts of white space alone."""
    return not (text[:place].isspace() or text[place:].isspace()) and 0 < place < len(text)


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _boundary(text: str, common: int) -> int:
    """The last line end, or else the end of the last sentence, in what is common."""
    line = text.rfind("\n", 0, common) + 1
    if line:
        return line
    ends = [match.end() for match in _SENTENCE.finditer(text, 0, common)]
    return ends[-1] if ends else 0
