"""A lane that also asks its vendor why a prompt could not be reused (`diagnostics.ask`), and keeps the answer to that from the client."""

from typing import Final

import msgspec

from tokenrouter.adapters.base import Aftermath, DiagnosingWire, Heard, StreamTap
from tokenrouter.model.edits import DIAGNOSTICS_ASK
from tokenrouter.upstream.lane import Lane, Whole

_LONGEST: Final = 1 << 20
"""Bytes of a stream's beginning that are held back at most."""


class Diagnosis:
    """What the vendor said; filled in when the answer comes."""

    __slots__ = ("heard",)

    def __init__(self) -> None:
        self.heard = Heard()


class DiagnosingLane:
    """Another lane, with the question in its request. A client that asks itself is heard, and nothing is hidden from it."""

    def __init__(self, lane: Lane, wire: DiagnosingWire, previous: str) -> None:
        """`previous`: the vendor's id of the answer to compare with; "" where there is none."""
        self._lane, self._wire = lane, wire
        self.diagnosis = Diagnosis()
        self.endpoint, self.native = lane.endpoint, lane.native
        self.stream_type, self.keep_alive, self.outgoing = lane.stream_type, lane.keep_alive, lane.outgoing
        asking = wire.ask_why(lane.outgoing.body, previous)
        self._hides = asking is not None
        if asking is not None:
            self.outgoing = msgspec.structs.replace(lane.outgoing, body=asking, edits=(*lane.outgoing.edits, DIAGNOSTICS_ASK))

    def whole(self, body: bytes) -> Whole:
        """See `Lane`."""
        self.diagnosis.heard, said = self._wire.hear_whole(body, hide=self._hides)
        return self._lane.whole(said)

    def stream(self) -> StreamTap:
        """See `Lane`."""
        return _Tap(self._lane.stream(), self._wire, self.diagnosis, hides=self._hides)

    def error_message(self, body: bytes) -> str | None:
        """See `Lane`."""
        return self._lane.error_message(body)

    def own_error(self, body: bytes) -> bool:
        """See `Lane`."""
        return self._lane.own_error(body)

    def aftermath(self, last: bytes) -> Aftermath:
        """See `Lane`."""
        return self._lane.aftermath(last)


class _Tap:
    """Holds a stream back until its first event is whole; behind that, bytes pass to the lane's own tap, whose facts these are."""

    def __init__(self, tap: StreamTap, wire: DiagnosingWire, diagnosis: Diagnosis, *, hides: bool) -> None:
        self._tap, self._wire, self._diagnosis, self._hides = tap, wire, diagnosis, hides
        self._begun = False
        self._head = b""
        self._look()

    def feed(self, data: bytes) -> bytes:
        if not self._begun:
            self._head += data
            found = self._wire.hear_beginning(self._head, hide=self._hides)
            if found is None and len(self._head) <= _LONGEST:
                return b""
            self._begun, data, self._head = True, self._head, b""
            if found is not None:
                self._diagnosis.heard, data = found
        try:
            return self._tap.feed(data)
        finally:
            self._look()

    def close(self) -> bytes:
        head, self._head = self._head, b""
        try:
            return (self._tap.feed(head) if head else b"") + self._tap.close()
        finally:
            self._look()

    def _look(self) -> None:
        tap = self._tap
        self.usage, self.finished, self.reusable = tap.usage, tap.finished, tap.reusable
        self.failure, self.end = tap.failure, tap.end
