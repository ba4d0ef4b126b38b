"""Entries of a tenant's stream on their way into the ledger, and how several of them about one request come to one row. Pure.

A stream is `tr:{tenant}:ledger`; an entry has the fields

    k   "i" intent, "s" settlement, "p" presumption (nobody told the end in time), "v" void (there was no call after all)
    id  of the request
    h   nano-USD that were set aside; t: tokens
    a   when it was admitted, Unix milliseconds by the clock of who counts
    l   "1": the settlement came after the hold had expired
    r   the RequestRecord, as JSON; of a presumption that of the intent, or nothing: then the intent is looked up
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from tokenrouter.model.record import RequestRecord
from tokenrouter.storage.ledger_row import LedgerRow, presumed, row_of

Kind = Literal["i", "s", "p", "v"]
_MS = 1_000_000
EXPIRED = "hold_expired"
"""`error` of a call whose owner told nothing in time."""

_record = msgspec.json.Decoder(RequestRecord)
_encode = msgspec.json.Encoder().encode


class Entry(msgspec.Struct, frozen=True):
    """One entry. `place`: its id in the stream, "" outside of one. `admitted_ns`: 0 where nobody says."""

    kind: Kind
    id: str
    record: bytes = b""
    held: int = 0
    held_tokens: int = 0
    admitted_ns: int = 0
    place: str = ""
    late: bool = False


class Voided(msgspec.Struct, frozen=True):
    """A call that was called off. `time_ns`: what was admitted later is another attempt."""

    id: str
    time_ns: int


class Intent(msgspec.Struct, frozen=True):
    """A row of `intents`."""

    id: str
    tenant: str
    time_ns: int
    held: int
    held_tokens: int
    record: str


class Rejected(msgspec.Struct, frozen=True):
    """An entry that can not become a row, and why. `fields`: all of it, for people."""

    place: str
    reason: str
    fields: bytes


class Batch(msgspec.Struct, frozen=True):
    """What several entries of one tenant come to.

    rows     for the ledger; one of an id at most
    ended    ids whose intents are over
    voided   of which there was no call after all
    expired  presumptions without a record: their intents have it
    intents  calls whose end is not among the entries
    """

    tenant: str
    rows: tuple[LedgerRow, ...]
    ended: tuple[str, ...]
    voided: tuple[Voided, ...]
    expired: tuple[Entry, ...]
    intents: tuple[Intent, ...]
    rejected: tuple[Rejected, ...] = ()


class Malformed(Exception):
    """An entry that means nothing; the message says why."""


def read_entry(place: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """An entry as Redis gives it. Raises Malformed."""
    try:
        kind, name = fields[b"k"].decode(), fields[b"id"].decode()
        held, tokens, admitted_ms = (int(fields.get(key) or 0) for key in (b"h", b"t", b"a"))
        at_ms = admitted_ms or (int(place.partition(b"-")[0]) if kind == "i" else 0)
    except (KeyError, ValueError) as error:
        raise Malformed(f"no entry of the ledger: {error!r}") from error
    if kind not in ("i", "s", "p", "v") or not name:
        raise Malformed(f"an entry of the unknown kind {kind[:20]!r}")
    return Entry(kind, name, fields.get(b"r", b""), held, tokens, at_ms * _MS, place.decode(), fields.get(b"l") == b"1")  # type: ignore[arg-type]  # checked above


def fold(tenant: str, entries: Iterable[Entry]) -> Batch:
    """Bring entries together, in their order: an id's settlement beats a presumption of it, whichever stands first; the first one counts.

    What was presumed and is settled in the same breath is marked late; what the settlement does not say of its hold the entry says.
    Entries whose record can not be read, or is another tenant's, are among `rejected`.
    """
    told: dict[str, dict[str, Entry]] = {}
    rejected: list[Rejected] = []
    for entry in entries:
        told.setdefault(entry.id, {}).setdefault(entry.kind, entry)
    rows: list[LedgerRow] = []
    ended: list[str] = []
    voided: list[Voided] = []
    expired: list[Entry] = []
    intents: list[Intent] = []
    for name, kinds in told.items():
        entry = kinds.get("s") or kinds.get("v") or kinds.get("p") or kinds["i"]
        if entry.kind != "i":
            ended.append(name)
        try:
            if entry.kind == "v":
                voided.append(Voided(name, max(each.admitted_ns for each in kinds.values())))
            elif entry.kind == "p" and not entry.record and "i" not in kinds:
                expired.append(entry)
            elif entry.kind == "i":
                intents.append(_intent(tenant, entry))
            else:
                rows.append(_row(tenant, entry, kinds))
        except (Malformed, msgspec.MsgspecError) as error:
            ended.remove(name) if entry.kind != "i" else None
            rejected += [Rejected(one.place, str(error), _encode(one)) for one in kinds.values()]
    return Batch(tenant, tuple(rows), tuple(ended), tuple(voided), tuple(expired), tuple(intents), tuple(rejected))


def _intent(tenant: str, entry: Entry) -> Intent:
    record = _read(tenant, entry, entry.record)
    return Intent(entry.id, tenant, entry.admitted_ns or record.booked_ns, entry.held, entry.held_tokens, entry.record.decode())


def _row(tenant: str, entry: Entry, kinds: Mapping[str, Entry]) -> LedgerRow:
    encoded = entry.record or (kinds["i"].record if entry.kind == "p" else b"")
    record = _read(tenant, entry, encoded)
    if entry.kind == "p":
        return presumed_row(record, entry)
    late = (entry.late or "p" in kinds) and record.settled != "presumed" and not record.late
    if late or (entry.admitted_ns and not record.admitted_ns) or (record.settled == "presumed" and not record.held_tokens):
        record.late = record.late or late
        record.admitted_ns = record.admitted_ns or entry.admitted_ns
        record.held_tokens = entry.held_tokens if record.settled == "presumed" else 0
        encoded = _encode(record)
    return row_of(record, encoded, entry.held or _held(kinds))


def presumed_row(record: RequestRecord, entry: Entry, error: str = EXPIRED) -> LedgerRow:
    """The row of an intent that nobody will settle. `entry`: what was set aside, and when. Changes the record."""
    record.admitted_ns = record.admitted_ns or entry.admitted_ns
    presumed(record, entry.held, entry.held_tokens, error)
    return row_of(record, _encode(record), entry.held)


def _held(kinds: Mapping[str, Entry]) -> int:
    return max(each.held for each in kinds.values())


def _read(tenant: str, entry: Entry, encoded: bytes) -> RequestRecord:
    record = _record.decode(encoded)
    if record.id != entry.id or record.tenant != tenant:
        raise Malformed(f"the record of {record.id[:80]!r} of {record.tenant[:80]!r} stands in the stream of {tenant!r} as {entry.id[:80]!r}")
    return record
