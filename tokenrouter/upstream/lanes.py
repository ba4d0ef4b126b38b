"""The two ways through the gateway. Native: the client's own bytes up, the vendor's own bytes down, a tap reading figures.
Translation: both sides through the model, for a client and a vendor that speak differently.
"""

from typing import Protocol

import msgspec

from tokenrouter.adapters.base import (
    EventDecoder,
    EventEncoder,
    InboundAdapter,
    NativeWire,
    OutboundAdapter,
    Outgoing,
    StreamTap,
    TranslatedWire,
)
from tokenrouter.errors import GatewayError, UpstreamTruncated
from tokenrouter.model.answer import Event, Failed, Finished, UsageSeen
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.edits import TOOLS_ORDER, USAGE_ASK
from tokenrouter.model.envelope import Envelope, Params
from tokenrouter.model.usage import NO_USAGE, Usage

_GOOD_ENDS = frozenset(("stop", "tool_calls"))


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request on the point of being sent to one deployment."""

    envelope: Envelope
    canonical: Canonical
    params: Params
    model: Model
    deployment: Deployment
    plan: CachePlan
    edits: frozenset[str]


class Whole(msgspec.Struct, frozen=True):
    """A whole answer: the body for the client, what it cost in tokens, and whether it is complete enough to be given again."""

    body: bytes
    usage: Usage
    reusable: bool


class Lane(Protocol):
    """One request's way up, and its answer's way down."""

    outgoing: Outgoing

    def whole(self, body: bytes) -> Whole:
        """Read an answer that does not stream. Raises UpstreamFailed for a 200 that is none."""
        ...

    def stream(self) -> StreamTap:
        """Read one that does."""
        ...


def open_lane(asked: Asked, dialect: InboundAdapter, wire: OutboundAdapter, created_s: int) -> Lane:
    """Choose the lane and render the request. Raises InvalidRequest, UnsupportedField."""
    if wire.native is not None and wire.native.dialect == dialect.dialect:
        return _NativeLane(asked, wire.native)
    if wire.translated is not None:
        return _TranslationLane(asked, dialect, wire.translated, created_s)
    raise GatewayError(f"nothing leads from {dialect.dialect} to {wire.wire}")


class _NativeLane:
    def __init__(self, asked: Asked, wire: NativeWire) -> None:
        self._wire, self._params = wire, asked.params
        self.outgoing = wire.native_request(asked.envelope, asked.canonical, asked.model, asked.deployment, asked.plan, asked.edits)
        self._hide = asked.params.stream and USAGE_ASK in self.outgoing.edits

    def whole(self, body: bytes) -> Whole:
        usage, reusable = self._wire.verdict(body)
        return Whole(body, usage, reusable)

    def stream(self) -> StreamTap:
        return self._wire.relay(hide_usage=self._hide, choices=self._params.choices)


class _TranslationLane:
    def __init__(self, asked: Asked, dialect: InboundAdapter, wire: TranslatedWire, created_s: int) -> None:
        self._dialect, self._wire, self._created_s = dialect, wire, created_s
        self._include_usage = asked.params.include_usage
        order = asked.canonical.tool_order
        outgoing = wire.translate(dialect.open(asked.envelope, order), asked.model, asked.deployment, asked.plan)
        if order is not None:
            outgoing = msgspec.structs.replace(outgoing, edits=(TOOLS_ORDER, *outgoing.edits))
        self.outgoing = outgoing

    def whole(self, body: bytes) -> Whole:
        answer = self._wire.decode_answer(body)
        if not answer.created_s:
            answer = msgspec.structs.replace(answer, created_s=self._created_s)
        good = answer.complete and all(choice.stop in _GOOD_ENDS for choice in answer.choices)
        return Whole(self._dialect.encode_answer(answer), answer.usage, good)

    def stream(self) -> StreamTap:
        return _TranslatedStream(self._wire.decoder(), self._dialect.encoder(include_usage=self._include_usage, created_s=self._created_s))


class _TranslatedStream:
    """A `StreamTap` that decodes one wire and encodes another dialect."""

    def __init__(self, decoder: EventDecoder, encoder: EventEncoder) -> None:
        self._decoder, self._encoder = decoder, encoder
        self._ends: list[str] = []
        self.usage = NO_USAGE
        self.finished = False
        self.reusable = False
        self.failure: str | None = None
        self.end = b""

    def feed(self, data: bytes) -> bytes:
        return self._encode(self._decoder.feed(data))

    def close(self) -> bytes:
        try:
            out = self._encode(self._decoder.finish())
        except UpstreamTruncated:
            return b""  # `finished` stays False: the caller tells the client
        if self.failure is None:
            self.finished = True
            self.reusable = bool(self._ends) and all(end in _GOOD_ENDS for end in self._ends)
            self.end = self._encoder.close()
        return out

    def _encode(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if isinstance(event, Failed):
                self.failure = event.message
                break
            if isinstance(event, UsageSeen):
                self.usage = event.usage
            elif isinstance(event, Finished):
                self._ends.append(event.reason)
            out.append(self._encoder.encode(event))
        return b"".join(out)
