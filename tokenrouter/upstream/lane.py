"""What a lane is asked, and what it is: one request's way to one deployment, and its answer's way back."""

from typing import Protocol

import msgspec

from tokenrouter.adapters.base import Aftermath, Outgoing, StreamTap
from tokenrouter.model.answer import Answer
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Deployment, Endpoint, Model
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.conversation import Conversation
from tokenrouter.model.envelope import Envelope, Params
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Behind, Volatile

NOTHING_LEFT = Aftermath()


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
    behind    what is said behind the prompt; None: nothing is
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
    behind: Behind | None = None


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
