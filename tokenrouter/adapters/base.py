"""What an adapter is: inbound ones speak a client's dialect, outbound ones a vendor's wire. They meet in `model` only."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import msgspec

from tokenrouter.errors import GatewayError
from tokenrouter.model.answer import Answer, Event
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import AuthStyle, Deployment, Found, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.envelope import NOTHING, Envelope, Operation, ParamWords
from tokenrouter.model.usage import Usage


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A request ready to be sent; its credential is added on the way (`upstream/credentials.py`).

    path     below the endpoint's base URL, query included
    edits    ids of what was changed
    dropped  fields that could not be carried
    auth     how this request shows the host's credential, where that is another way than the host's usual one
    """

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    edits: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    auth: AuthStyle | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How a client wants its answer written.

    include_usage  a stream tells its usage (dialects that always tell it do not look here)
    framing        as in `ParamWords`
    created_s      Unix seconds, for dialects that name a time where the vendor did not
    asked          the request, for dialects that repeat parts of it in the answer; None where it is no longer at hand
    """

    include_usage: bool = False
    framing: str = ""
    created_s: int = 0
    asked: Envelope | None = None


class EventEncoder(Protocol):
    """Writes one stream in a client's dialect."""

    def encode(self, event: Event) -> bytes:
        """The frames for one event; may be empty, may hold several frames."""
        ...

    def metadata(self, fields: Mapping[str, object]) -> bytes:
        """The opt-in trailing frame with the gateway's own figures."""
        ...

    def close(self) -> bytes:
        """What ends a stream that ended well. After `Failed` nothing is closed."""
        ...


class EventDecoder(Protocol):
    """Reads one vendor stream, cut anywhere."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises UpstreamFailed on bytes that are not this wire."""
        ...

    def finish(self) -> list[Event]:
        """The stream's bytes are at their end. Raises UpstreamTruncated where the vendor's own end is missing."""
        ...


class Dialect(Protocol):
    """One thing that a client may ask for in one API's words. Which of the protocols below it is, `operation` tells.

    headers      request headers that belong to the question (feature flags): part of `Call.outside`, and passed on by the native lane
    field_names  what renderers call a field (they speak of fields in the words of Chat Completions) in the dialect's own words
    """

    dialect: str
    operation: Operation
    headers: frozenset[str]
    field_names: Mapping[str, str]

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """Read a request's outside. Raises InvalidRequest."""
        ...

    def stream_type(self, framing: str = "") -> bytes:
        """The content type of a stream."""
        ...

    def keep_alive(self, framing: str = "") -> bytes:
        """What tells a client, and the proxies before it, that a silent stream lives; empty where the dialect has no such thing."""
        ...

    def encode_error(self, error: GatewayError, request_id: str = "") -> bytes:
        """An error body."""
        ...

    def encode_stream_error(self, error: GatewayError, framing: str = "") -> bytes:
        """The frame that ends a stream which went wrong; strict clients must not take it for a clean end."""
        ...


class InboundAdapter(Dialect, Protocol):
    """`generate`: answers of a model."""

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """Read a request to its last block. `tool_order` as the Arranger found it (None: as it came). Raises InvalidRequest."""
        ...

    def decode_answer(self, body: bytes) -> Answer:
        """The way back from a body of this dialect: kept answers are read again when another form is wanted."""
        ...

    def decoder(self, framing: str = "") -> EventDecoder:
        """The same for a stream of this dialect."""
        ...

    def encode_answer(self, answer: Answer, wanted: Wanted) -> bytes:
        """A whole answer as the dialect's body."""
        ...

    def encoder(self, wanted: Wanted) -> EventEncoder:
        """A new stream in this dialect."""
        ...


class CountDialect(Dialect, Protocol):
    """`count`: how many tokens a prompt takes."""

    def open(self, envelope: Envelope, tool_order: tuple[int, ...] | None) -> Conversation:
        """See `InboundAdapter`."""
        ...

    def encode_count(self, tokens: int) -> bytes:
        """The dialect's body."""
        ...


class EmbedDialect(Dialect, Protocol):
    """`embed`: vectors."""

    def open_inputs(self, envelope: Envelope) -> EmbedRequest:
        """Read the request. Raises InvalidRequest."""
        ...

    def encode_vectors(self, embeddings: Embeddings, wanted: Wanted) -> bytes:
        """The dialect's body."""
        ...


class OutboundAdapter(Protocol):
    """One vendor wire: one operation of one API.

    native      how requests of the wire's own dialect pass as they are; None where no client speaks it
    translated  how requests of any dialect are translated to it, by `operation`; None where none are
    """

    wire: str
    operation: Operation

    @property
    def native(self) -> "NativeWire | None":
        """See above."""
        ...

    @property
    def translated(self) -> "TranslatedWire | CountWire | EmbedWire | None":
        """See above."""
        ...

    def error_message(self, body: bytes) -> str | None:
        """The vendor's own words in an error body; None where `body` is no error body of this wire."""
        ...


class TranslatedWire(Protocol):
    """A wire that requests and answers of any dialect are translated to and from."""

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """The translation lane. Raises UnsupportedField for what can not be carried."""
        ...

    def decode_answer(self, body: bytes) -> Answer:
        """A whole answer. Raises UpstreamFailed where it is none."""
        ...

    def decoder(self) -> EventDecoder:
        """A new stream."""
        ...


class CountWire(Protocol):
    """A wire that counts the tokens of any dialect's prompts."""

    def translate(self, conversation: Conversation, model: Model, deployment: Deployment, plan: CachePlan) -> Outgoing:
        """See `TranslatedWire`."""
        ...

    def decode_count(self, body: bytes) -> int:
        """Tokens. Raises UpstreamFailed where it is no count."""
        ...


class EmbedWire(Protocol):
    """A wire that makes vectors for any dialect."""

    def translate_inputs(self, request: EmbedRequest, model: Model, deployment: Deployment) -> Outgoing:
        """Raises UnsupportedField."""
        ...

    def decode_vectors(self, body: bytes) -> Embeddings:
        """Raises UpstreamFailed where it is no such answer."""
        ...


class StreamTap(Protocol):
    """Stands between a vendor's stream and a client's.

    usage      the last that the vendor reported
    finished   the vendor said that this is the end
    reusable   and it is an end that another caller would want too
    failure    the vendor's words where it reported an error inside the stream
    end        the client's closing frame, held back so that something may be put before it
    """

    usage: Usage
    finished: bool
    reusable: bool
    failure: str | None
    end: bytes

    def feed(self, data: bytes) -> bytes:
        """What to pass on for `data`: whole frames only. Raises UpstreamFailed on bytes that are not this wire."""
        ...

    def close(self) -> bytes:
        """The vendor's bytes are at their end; the last frames to pass on."""
        ...


class NativeWire(Protocol):
    """A wire whose vendor speaks a client's dialect: requests and answers can pass as they are."""

    @property
    def dialect(self) -> str:
        """The dialect."""
        ...

    def native_request(
        self, envelope: Envelope, canonical: Canonical, model: Model, deployment: Deployment, plan: CachePlan, edits: frozenset[str]
    ) -> Outgoing:
        """Splice the edits that are on into the client's own bytes. With none to make, the body is the very body that came."""
        ...

    def verdict(self, body: bytes) -> tuple[Usage, bool]:
        """Usage of a whole answer, and whether it may be given again. Raises UpstreamFailed for a 200 that is no answer."""
        ...

    def relay(self, params: ParamWords, *, hide_usage: bool) -> StreamTap:
        """A new tap for a stream that passes as it is. `hide_usage`: usage was asked for by us, not by the client."""
        ...


class Aftermath(msgspec.Struct, frozen=True):
    """What an answer leaves behind beside its tokens.

    objects  ids under which the vendor keeps it, and parts of it
    items    (id, JSON) of what was said, where nobody but the gateway can keep it for clients that refer to it
    """

    objects: tuple[str, ...] = ()
    items: tuple[tuple[str, bytes], ...] = ()


class Heard(msgspec.Struct, frozen=True):
    """What an answer says about the prompt that it answers.

    id      of the answer, as its vendor calls it
    reason  why the prompt could not be reused, in the vendor's word; "": it does not say
    missed  tokens that were not read because of that, by the vendor's estimate
    """

    id: str = ""
    reason: str = ""
    missed: int = 0


@runtime_checkable
class DiagnosingWire(Protocol):
    """A wire whose vendor says why a prompt could not be reused, where it is asked."""

    def ask_why(self, body: bytes, previous: str) -> bytes | None:
        """A request with the question in it; None where its client has asked. `previous`: id of the answer to compare with; "": none."""
        ...

    def hear_whole(self, body: bytes, *, hide: bool) -> tuple[Heard, bytes]:
        """What a whole answer says. `hide`: and the same answer without it."""
        ...

    def hear_beginning(self, data: bytes, *, hide: bool) -> tuple[Heard, bytes] | None:
        """The same of a stream's first bytes; None: they are too few to tell."""
        ...


class ModelLister(Protocol):
    """How a host that speaks `wire` is asked which models it has.

    list_path  of a GET request
    show_path  of a POST request that tells more about one model
    """

    wire: str
    list_path: str
    show_path: str

    def read_list(self, body: bytes) -> tuple[Found, ...]:
        """The models. Raises UpstreamFailed where `body` is no such list."""
        ...

    def show_request(self, name: str) -> bytes:
        """The body that asks for more about one."""
        ...

    def with_facts(self, found: Found, body: bytes) -> Found:
        """What was found, with what the host told about it. Raises UpstreamFailed."""
        ...


@runtime_checkable
class RecallingDialect(Protocol):
    """A dialect whose clients may refer to items of earlier answers."""

    def recall(self, envelope: Envelope, find: Callable[[str], bytes | None]) -> Envelope:
        """The request with references written out, as far as `find` knows their ids; the same one where it knows none."""
        ...

    def items(self, said: bytes) -> tuple[tuple[str, bytes], ...]:
        """(id, JSON) of every item of an answer in this dialect, out of a whole body or the last frames of a stream; () if it is not complete."""
        ...


@runtime_checkable
class KeepingWire(Protocol):
    """A native wire whose vendor keeps answers, or runs tools for a fee."""

    def aftermath(self, last: bytes) -> Aftermath:
        """Read it off a whole answer's body, a stream's closing frame, or everything that came of a stream that was cut."""
        ...


@runtime_checkable
class GuestWire(Protocol):
    """A native wire of one vendor at the door of another: an error may be in the words of either."""

    def own_error(self, body: bytes) -> bool:
        """Whether an error body is in the words of the dialect; the host's own have to be said anew."""
        ...


class ThinningWire(NativeWire, Protocol):
    """One whose vendor sends pieces of a stream that say nothing: what names `chunks.empty` among its edits must be one."""

    def relay(self, params: ParamWords, *, hide_usage: bool, drop_empty: bool = False) -> StreamTap:
        """See `NativeWire`. `drop_empty`: such pieces are kept from the client."""
        ...
