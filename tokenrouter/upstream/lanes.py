"""The two ways through the gateway. Native: the client's own bytes up, the vendor's own bytes down, a tap reading figures.
Translation: both sides through the model, for a client and a vendor that speak differently.
"""

from collections.abc import Mapping
from typing import Protocol, cast

import msgspec

from tokenrouter.adapters.base import (
    Aftermath,
    CountDialect,
    CountWire,
    Dialect,
    EmbedDialect,
    EmbedWire,
    EventDecoder,
    EventEncoder,
    GuestWire,
    InboundAdapter,
    KeepingWire,
    NativeWire,
    OutboundAdapter,
    Outgoing,
    RecallingDialect,
    StreamTap,
    ThinningWire,
    TranslatedWire,
    Wanted,
)
from tokenrouter.errors import InvalidRequest, UnsupportedField, UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import Answer, Event, Failed, Finished, ReasoningDelta, Started, UsageSeen, fold
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Endpoint, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.edits import CHUNKS_EMPTY, COUNT_ESTIMATE, THOUGHTS_ATTACH, TOOLS_ORDER, USAGE_ASK, VOLATILE_KNOWN
from tokenrouter.model.envelope import Envelope, Params
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.model.volatile import Volatile
from tokenrouter.upstream.known_lines import drop_lines

_NOTHING_LEFT = Aftermath()
_GOOD_ENDS = frozenset(("stop", "tool_calls"))


class TurnThoughts(Protocol):
    """Reasoning of earlier turns that the client's dialect could not carry."""

    def attach(self, conversation: Conversation) -> tuple[Conversation, bool]:
        """The conversation with reasoning put back; whether there was any."""
        ...

    def keep(self, answer: Answer) -> None:
        """Remember an answer's reasoning, should its turn come back without it."""
        ...


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request on the point of being sent to one deployment.

    thoughts  None where nothing is to be put back
    volatile  the known per-request lines that `volatile.known` may drop
    """

    envelope: Envelope
    canonical: Canonical
    params: Params
    model: Model
    deployment: Deployment
    plan: CachePlan
    edits: frozenset[str]
    thoughts: TurnThoughts | None = None
    volatile: tuple[Volatile, ...] = ()


class Whole(msgspec.Struct, frozen=True):
    """A whole answer: the body for the client, what it cost in tokens, and whether it is complete enough to be given again."""

    body: bytes
    usage: Usage
    reusable: bool


class Lane(Protocol):
    """One request's way up, and its answer's way down.

    endpoint     where it goes; None where nobody has to be asked, and `whole(b"")` has the answer
    stream_type  content type of a stream to the client; None: as the vendor says
    keep_alive   what may stand between a stream's frames when nothing comes for long; empty: nothing
    native       the client speaks the vendor's words
    """

    endpoint: Endpoint | None
    outgoing: Outgoing
    stream_type: bytes | None
    keep_alive: bytes
    native: bool

    def whole(self, body: bytes) -> Whole:
        """Read an answer that does not stream. Raises UpstreamFailed for a 200 that is none."""
        ...

    def stream(self) -> StreamTap:
        """Read one that does."""
        ...

    def error_message(self, body: bytes) -> str | None:
        """The vendor's own words in an error body; None where it is none."""
        ...

    def own_error(self, body: bytes) -> bool:
        """Whether an error body is one in the client's dialect, and passes as it is."""
        ...

    def aftermath(self, last: bytes) -> Aftermath:
        """What the vendor keeps or charges for beside the answer. `last`: see `KeepingWire.aftermath`."""
        ...


def is_native(deployment: Deployment, dialect: Dialect, wires: Mapping[str, OutboundAdapter]) -> bool:
    """Whether requests of `dialect` pass to `deployment` as they are."""
    return _native(deployment, dialect, wires) is not None


def _native(deployment: Deployment, dialect: Dialect, wires: Mapping[str, OutboundAdapter]) -> tuple[Endpoint, OutboundAdapter, NativeWire] | None:
    for endpoint in deployment.endpoints:
        wire = wires[endpoint.wire]
        if wire.native is not None and wire.native.dialect == dialect.dialect:
            return endpoint, wire, wire.native
    return None


def open_lane(asked: Asked, dialect: Dialect, wires: Mapping[str, OutboundAdapter], created_s: int) -> Lane:
    """Choose the lane and render the request.

    A host that speaks several wires is asked on the one that drops least, the first of these; what none carries is refused in the words
    of the first. Raises InvalidRequest, UnsupportedField.
    """
    found = _native(asked.deployment, dialect, wires)
    if found is not None:
        return _NativeLane(asked, *found)
    refused: InvalidRequest | None = None
    lanes: list[Lane] = []
    for endpoint in asked.deployment.endpoints:
        wire = wires[endpoint.wire]
        if wire.translated is None or wire.operation != dialect.operation or endpoint.native_only:
            continue
        try:
            lanes.append(_translation(asked, dialect, endpoint, wire, created_s))
            if not lanes[-1].outgoing.dropped:
                break
        except UnsupportedField as error:
            refused = refused or error
        except InvalidRequest as error:
            raise _renamed(error, dialect.field_names) from error
    if lanes:
        return min(lanes, key=lambda lane: len(lane.outgoing.dropped))
    if refused is not None:
        raise _renamed(refused, dialect.field_names) from refused
    if dialect.operation == "count":
        return _EstimateLane(asked, cast("CountDialect", dialect))
    what = "answers" if dialect.operation == "generate" else "embeddings"
    raise UnsupportedField(f"{asked.deployment.vendor} gives no {what} to this API's clients", param="model")


def _translation(asked: Asked, dialect: Dialect, endpoint: Endpoint, wire: OutboundAdapter, created_s: int) -> Lane:
    match dialect.operation:
        case "generate":
            return _TranslationLane(asked, cast("InboundAdapter", dialect), endpoint, wire, created_s)
        case "count":
            return _CountLane(asked, cast("CountDialect", dialect), endpoint, wire)
        case "embed":
            return _EmbedLane(asked, cast("EmbedDialect", dialect), endpoint, wire)


def _renamed(error: InvalidRequest, names: Mapping[str, str]) -> InvalidRequest:
    """An error about a field, in the words of the client's dialect."""
    said = _client_name(error.param or "", names)
    if not error.param or said == error.param:
        return error
    return type(error)(error.message.replace(error.param, said, 1), param=said, headers=error.headers)


def _client_name(name: str, names: Mapping[str, str]) -> str:
    head, dot, rest = name.partition(".")
    return names[name] if name in names else names[head] + dot + rest if head in names else name


class _NativeLane:
    native = True
    stream_type: bytes | None = None
    keep_alive = b""

    def __init__(self, asked: Asked, endpoint: Endpoint, wire: OutboundAdapter, native: NativeWire) -> None:
        self.endpoint: Endpoint | None = endpoint
        self._wire, self._native, self._params = wire, native, asked.params
        self.outgoing = native.native_request(asked.envelope, asked.canonical, asked.model, asked.deployment, asked.plan, asked.edits)
        self._hide = asked.params.stream and USAGE_ASK in self.outgoing.edits

    def whole(self, body: bytes) -> Whole:
        usage, reusable = self._native.verdict(body)
        return Whole(body, usage, reusable)

    def stream(self) -> StreamTap:
        if CHUNKS_EMPTY in self.outgoing.edits:
            return cast("ThinningWire", self._native).relay(self._params, hide_usage=self._hide, drop_empty=True)
        return self._native.relay(self._params, hide_usage=self._hide)

    def error_message(self, body: bytes) -> str | None:
        return self._wire.error_message(body)

    def own_error(self, body: bytes) -> bool:
        return self.error_message(body) is not None and (not isinstance(self._native, GuestWire) or self._native.own_error(body))

    def aftermath(self, last: bytes) -> Aftermath:
        return self._native.aftermath(last) if isinstance(self._native, KeepingWire) else _NOTHING_LEFT


class _Translation:
    """What all translations have in common."""

    native = False
    stream_type: bytes | None = None
    keep_alive = b""

    def __init__(self, asked: Asked, dialect: Dialect, endpoint: Endpoint, wire: OutboundAdapter) -> None:
        self.endpoint: Endpoint | None = endpoint
        self._adapter, self._names = wire, dialect.field_names
        self._wanted = Wanted(include_usage=asked.params.include_usage, framing=asked.params.framing, asked=asked.envelope)

    def _without_lines(self, asked: Asked, conversation: Conversation) -> tuple[Conversation, CachePlan, tuple[str, ...]]:
        """The conversation and its plan without known per-request lines, where this upstream would read them as prompt; and the edit."""
        canonical, kept = asked.canonical, asked.deployment.keeps_volatile
        lines = [[line for line in asked.volatile if line.id in reading.volatile] for reading in canonical.messages[: canonical.opening]]
        wanted = [[line for line in known if line.id not in kept] for known in lines]
        found = drop_lines(conversation, asked.plan, wanted) if VOLATILE_KNOWN in asked.edits and any(wanted) else None
        return (conversation, asked.plan, ()) if found is None else (*found, (VOLATILE_KNOWN,))

    def _named(self, outgoing: Outgoing, order: tuple[int, ...] | None = None) -> Outgoing:
        """Dropped fields as the client calls them; the sorted tools among the edits."""
        dropped = tuple([_client_name(name, self._names) for name in outgoing.dropped])
        edits = outgoing.edits if order is None else (TOOLS_ORDER, *outgoing.edits)
        return msgspec.structs.replace(outgoing, dropped=dropped, edits=edits)

    def stream(self) -> StreamTap:
        raise UnsupportedField("this does not stream", param="stream")

    def error_message(self, body: bytes) -> str | None:
        return self._adapter.error_message(body)

    def own_error(self, body: bytes) -> bool:  # noqa: ARG002
        return False

    def aftermath(self, last: bytes) -> Aftermath:  # noqa: ARG002  # vendors store no translated answers, and are sent no tools of their own
        return _NOTHING_LEFT


class _TranslationLane(_Translation):
    def __init__(self, asked: Asked, dialect: InboundAdapter, endpoint: Endpoint, wire: OutboundAdapter, created_s: int) -> None:
        super().__init__(asked, dialect, endpoint, wire)
        self._dialect, self._wire = dialect, cast("TranslatedWire", wire.translated)
        self._wanted = msgspec.structs.replace(self._wanted, created_s=created_s)
        self.stream_type = dialect.stream_type(asked.params.framing)
        self.keep_alive = dialect.keep_alive(asked.params.framing)
        order = asked.canonical.tool_order
        conversation, attached = dialect.open(asked.envelope, order), False
        self._thoughts, self._model = asked.thoughts, asked.model.name
        self._stores, self._said = asked.params.stores, b""
        if self._thoughts is not None:
            conversation, attached = self._thoughts.attach(conversation)
        conversation, plan, edits = self._without_lines(asked, conversation)
        outgoing = self._wire.translate(conversation, asked.model, asked.deployment, plan)
        edits = (*outgoing.edits, *edits, *((THOUGHTS_ATTACH,) if attached else ()))
        outgoing = msgspec.structs.replace(outgoing, edits=edits)
        self.outgoing = self._named(outgoing, order)

    def whole(self, body: bytes) -> Whole:
        answer = self._wire.decode_answer(body)
        if self._thoughts is not None:
            self._thoughts.keep(answer)
        named = {"created_s": answer.created_s or self._wanted.created_s, "model": answer.model or self._model}
        answer = msgspec.structs.replace(answer, **named)
        good = answer.complete and all(choice.stop in _GOOD_ENDS for choice in answer.choices)
        self._said = self._dialect.encode_answer(answer, self._wanted)
        return Whole(self._said, answer.usage, good)

    def aftermath(self, last: bytes) -> Aftermath:
        """Items that the client may refer to later. What it was told at once is remembered from there; a stream's `last` frames tell."""
        if self._stores and isinstance(self._dialect, RecallingDialect):
            return Aftermath(items=self._dialect.items(self._said or last))
        return _NOTHING_LEFT

    def stream(self) -> StreamTap:
        return _TranslatedStream(self._wire.decoder(), self._dialect.encoder(self._wanted), self._thoughts, self._model)


class _CountLane(_Translation):
    def __init__(self, asked: Asked, dialect: CountDialect, endpoint: Endpoint, wire: OutboundAdapter) -> None:
        super().__init__(asked, dialect, endpoint, wire)
        self._dialect, self._wire = dialect, cast("CountWire", wire.translated)
        order = asked.canonical.tool_order
        conversation, plan, edits = self._without_lines(asked, dialect.open(asked.envelope, order))
        outgoing = self._wire.translate(conversation, asked.model, asked.deployment, plan)
        self.outgoing = self._named(msgspec.structs.replace(outgoing, edits=(*outgoing.edits, *edits)), order)

    def whole(self, body: bytes) -> Whole:
        return Whole(self._dialect.encode_count(self._wire.decode_count(body)), Usage(), True)


class _EstimateLane:
    """Nobody can be asked for a count: it is estimated, and the answer says so."""

    native = False
    stream_type: bytes | None = None
    keep_alive = b""
    endpoint: Endpoint | None = None

    def __init__(self, asked: Asked, dialect: CountDialect) -> None:
        self._asked, self._dialect = asked, dialect
        self.outgoing = Outgoing(path="", headers=(), body=b"", edits=(COUNT_ESTIMATE,))

    def whole(self, body: bytes) -> Whole:  # noqa: ARG002  # there is none
        canonical = self._asked.canonical
        readings = (*canonical.tools, *canonical.messages)
        tokens = sum(reading.tokens for reading in readings) + sum(reading.images for reading in readings) * self._asked.model.image_tokens
        return Whole(self._dialect.encode_count(tokens), Usage(), True)

    def stream(self) -> StreamTap:
        raise UnsupportedField("this does not stream", param="stream")

    def error_message(self, body: bytes) -> str | None:  # noqa: ARG002
        return None

    def own_error(self, body: bytes) -> bool:  # noqa: ARG002
        return False

    def aftermath(self, last: bytes) -> Aftermath:  # noqa: ARG002
        return _NOTHING_LEFT


class _EmbedLane(_Translation):
    def __init__(self, asked: Asked, dialect: EmbedDialect, endpoint: Endpoint, wire: OutboundAdapter) -> None:
        super().__init__(asked, dialect, endpoint, wire)
        self._dialect, self._wire = dialect, cast("EmbedWire", wire.translated)
        request = dialect.open_inputs(asked.envelope)
        self._inputs = len(request.inputs)
        self.outgoing = self._named(self._wire.translate_inputs(request, asked.model, asked.deployment))

    def whole(self, body: bytes) -> Whole:
        embeddings = self._wire.decode_vectors(body)
        if len(embeddings.vectors) != self._inputs:  # nobody could tell which vector is whose
            raise UpstreamFailed(f"the provider answered {len(embeddings.vectors)} embeddings to {self._inputs} inputs")
        return Whole(self._dialect.encode_vectors(embeddings, self._wanted), embeddings.usage, True)


class _TranslatedStream:
    """A `StreamTap` that decodes one wire and encodes another dialect. `model`: what was asked, for vendors that do not repeat it."""

    def __init__(self, decoder: EventDecoder, encoder: EventEncoder, thoughts: TurnThoughts | None, model: str) -> None:
        self._decoder, self._encoder, self._thoughts, self._model = decoder, encoder, thoughts, model
        self._seen: list[Event] = []
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
            if self._thoughts is not None and any(isinstance(event, ReasoningDelta) for event in self._seen):
                self._thoughts.keep(fold(self._seen))
        return out

    def _encode(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        if self._thoughts is not None:
            self._seen += events
        for event in events:
            if isinstance(event, Failed):
                self.failure = event.message
                break
            if isinstance(event, UsageSeen):
                self.usage = event.usage
            elif isinstance(event, Finished):
                self._ends.append(event.reason)
            elif isinstance(event, Started) and not event.model:
                event = msgspec.structs.replace(event, model=self._model)
            out.append(self._encoder.encode(event))
        return b"".join(out)
