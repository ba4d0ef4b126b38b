"""`calls.spelling`: a model's call that comes back in another spelling is sent as it was first written.

Clients write the arguments of a call anew (white space, order of keys), and some make up a new id for it in every request. A call is known
again by its place: what was said before it in the conversation, ids left out, calls by value, the model's own texts and reasoning left out
(clients drop or join those). Whoever stands in the same place with an equal call may take its spelling and its id: they name nothing
but the pair of call and result. A client that brings an id back which a model gave in this very place knows what it says: two conversations
may say the same, each with ids of its own, and reasoning may hang on them. Nor is an id changed where it would be ambiguous: two equal calls
in one turn, an id that names two calls, an id that is another call's already.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
import xxhash

from tokenrouter.model.chunk import CallSeen, Reading
from tokenrouter.prefixes.remembered import Remembered

_ROOM = 16 << 20
_PROCESS_ROOM = 128 << 20
_MOST = 1 << 20


class CallSpoken(msgspec.Struct, frozen=True, tag=True):
    """A call as it was first written.

    host     vendor and dialect: ids and spellings of one mean nothing in another
    place    what was said before it, and what it says
    id       as its client knows it
    spelling as `CallSeen.spelling`
    seen_ns  when, Unix nanoseconds: of two workers' first sights the earlier one counts
    """

    tenant: str
    host: str
    place: bytes
    id: str
    spelling: str
    seen_ns: int


class Spoken(Protocol):
    """Calls as they were first written."""

    def find(self, tenant: str, host: str, place: bytes, call_id: str) -> CallSpoken | None:
        """The call in a place: the one with this id, else the first; None at its first sight."""
        ...

    def remember(self, call: CallSpoken) -> bool:
        """Keep it by its id, and as the first one, unless an earlier one is known. Whether there was anything new in it."""
        ...


class CallSpellings:
    """`Spoken` of one process, bounded for each tenant."""

    def __init__(self, room: int = _ROOM, process_room: int = _PROCESS_ROOM) -> None:
        """`room`: bytes for a tenant; `process_room`: for all of them."""
        self._kept: Remembered[tuple[str, bytes], CallSpoken] = Remembered(
            lambda call: len(call.spelling) + len(call.id) + 320, room=room, process_room=process_room
        )

    def find(self, tenant: str, host: str, place: bytes, call_id: str) -> CallSpoken | None:
        """See `Spoken`."""
        return self._kept.get(tenant, (host, place + call_id.encode())) or self._kept.get(tenant, (host, place))

    def remember(self, call: CallSpoken) -> bool:
        """See `Spoken`. A very long one is not kept: it would drive out everything else."""
        if len(call.spelling) > _MOST:
            return False
        news = False
        for key in dict.fromkeys((call.place, call.place + call.id.encode())):
            known = self._kept.get(call.tenant, (call.host, key))
            if known is None or (known.seen_ns, known.id, known.spelling) > (call.seen_ns, call.id, call.spelling):
                self._kept.put(call.tenant, (call.host, key), call)
                news = True
        return news


class Site(msgspec.Struct, frozen=True):
    """A call in a request.

    message  which message, `at` which of its calls
    turn     calls of one turn of the model's have the same number
    place    as in `CallSpoken`
    """

    call: CallSeen
    message: int
    at: int
    turn: int
    place: bytes


def sites(messages: Sequence[Reading], seed: int) -> tuple[tuple[Site, ...], bytes]:
    """The calls in a conversation (its opening system text left out), and the link at its end, behind which its answer's calls stand.

    `seed`: the deployment's secret, so that nobody can make up two conversations that look alike here.
    """
    found: list[Site] = []
    numbers: dict[str, int] = {}
    digest, link, turn, spoke = xxhash.xxh3_128_digest, b"", 0, False
    for index, reading in enumerate(messages):
        if reading.role == "assistant":
            turn += not spoke
            spoke = True
            for at, call in enumerate(reading.calls):
                link = digest(link + call.kin, seed)
                numbers[call.id] = len(found)
                found.append(Site(call, index, at, turn, link))
            continue
        spoke = False
        answered = b"".join([b"%d," % numbers.get(name, -1) for name in reading.answers])
        link = digest(link + (reading.bare or reading.prefix_digest) + answered, seed)
    return tuple(found), link


def places_behind(link: bytes, kins: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """The places of an answer's calls."""
    for kin in kins:
        link = xxhash.xxh3_128_digest(link + kin, seed)
        yield link


class Respelled(msgspec.Struct, frozen=True):
    """What to write anew.

    calls    (which message, which of its calls) -> (id, spelling), None where the client's stays
    answers  ids of calls, as the client's results name them -> what they are called instead
    """

    calls: dict[tuple[int, int], tuple[str | None, str | None]]
    answers: dict[str, str]


def respellings(found: Sequence[Site], known: Sequence[CallSpoken | None]) -> Respelled:
    """Which calls to write anew. `known[i]`: what is remembered of `found[i]`."""
    ids = Counter(site.call.id for site in found)
    alike = Counter((site.turn, site.call.kin) for site in found)
    taken = set(ids)
    calls: dict[tuple[int, int], tuple[str | None, str | None]] = {}
    answers: dict[str, str] = {}
    for site, first in zip(found, known, strict=True):
        call = site.call
        if first is None or call.sealed:
            continue
        renames = bool(first.id and call.id) and first.id != call.id
        if renames and (ids[call.id] > 1 or alike[site.turn, call.kin] > 1 or first.id in taken):
            continue
        if renames:
            taken.add(first.id)
            answers[call.id] = first.id
        spelling = first.spelling if first.spelling != call.spelling else None
        if renames or spelling is not None:
            calls[site.message, site.at] = (first.id if renames else None, spelling)
    return Respelled(calls, answers)
