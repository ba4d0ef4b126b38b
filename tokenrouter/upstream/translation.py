"""Translation lanes: both sides through the model, for a client and a vendor that speak differently."""

from collections.abc import Mapping
from functools import cache
from typing import cast

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
    InboundAdapter,
    OutboundAdapter,
    Outgoing,
    RecallingDialect,
    StreamTap,
    TranslatedWire,
    Wanted,
)
from tokenrouter.errors import UnsupportedField, UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import Event, Failed, Finished, ReasoningDelta, Started, UsageSeen, fold
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Endpoint
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.edits import COUNT_ESTIMATE, THOUGHTS_ATTACH, TOOLS_ORDER, VOLATILE_KNOWN
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.upstream.behind import say_behind
from tokenrouter.upstream.known_lines import drop_lines
from tokenrouter.upstream.lane import NOTHING_LEFT, Asked, Lane, TurnThoughts, Whole

_GOOD_ENDS = frozenset(("stop", "tool_calls"))


def translation(asked: Asked, dialect: Dialect, endpoint: Endpoint, wire: OutboundAdapter, created_s: int) -> Lane:
    """The lane through one wire of another dialect. Raises InvalidRequest, UnsupportedField."""
    match dialect.operation:
        case "generate":
            return _TranslationLane(asked, cast("InboundAdapter", dialect), endpoint, wire, created_s)
        case "count":
            return _CountLane(asked, cast("CountDialect", dialect), endpoint, wire)
        case "embed":
            return _EmbedLane(asked, cast("EmbedDialect", dialect), endpoint, wire)


def estimate(asked: Asked, dialect: CountDialect) -> Lane:
    """The lane of a count that nobody can be asked for."""
    return _EstimateLane(asked, dialect)


def client_name(name: str, names: Mapping[str, str]) -> str:
    """A field, or a place below one, as the client's dialect calls it."""
    head, dot, rest = name.partition(".")
    return names[name] if name in names else names[head] + dot + rest if head in names else name


@cache
def _recalls(kind: type) -> bool:
    """`isinstance` of a protocol is slow."""
    return issubclass(kind, RecallingDialect)


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
        dropped = tuple([client_name(name, self._names) for name in outgoing.dropped])
        edits = outgoing.edits if order is None else (TOOLS_ORDER, *outgoing.edits)
        return msgspec.structs.replace(outgoing, dropped=dropped, edits=edits)

    def stream(self) -> StreamTap:
        raise UnsupportedField("this does not stream", param="stream")

    def error_message(self, body: bytes) -> str | None:
        return self._adapter.error_message(body)

    def own_error(self, body: bytes) -> bool:  # noqa: ARG002
        return False

    def aftermath(self, last: bytes) -> Aftermath:  # noqa: ARG002  # vendors store no translated answers, and are sent no tools of their own
        return NOTHING_LEFT


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
        if asked.behind is not None:
            conversation, plan = say_behind(conversation, plan, asked.behind)
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
        if self._stores and _recalls(type(self._dialect)):
            return Aftermath(items=cast("RecallingDialect", self._dialect).items(self._said or last))
        return NOTHING_LEFT

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
        return NOTHING_LEFT


class _EmbedLane(_Translation):
    def __init__(self, asked: Asked, dialect: EmbedDialect, endpoint: Endpoint, wire: OutboundAdapter) -> None:
        super().__init__(asked, dialect, endpoint, wire)
        self._dialect, self._wire = dialect, cast("EmbedWire", wire.translated)
        request = dialect.open_inputs(asked.envelope)
        self._inputs, self._model = len(request.inputs), asked.model.name
        self.outgoing = self._named(self._wire.translate_inputs(request, asked.model, asked.deployment))

    def whole(self, body: bytes) -> Whole:
        embeddings = self._wire.decode_vectors(body)
        if len(embeddings.vectors) != self._inputs:  # nobody could tell which vector is whose
            raise UpstreamFailed(f"the provider answered {len(embeddings.vectors)} embeddings to {self._inputs} inputs")
        named = msgspec.structs.replace(embeddings, model=embeddings.model or self._model)
        return Whole(self._dialect.encode_vectors(named, self._wanted), embeddings.usage, True)


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
