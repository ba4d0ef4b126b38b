"""A request as it came: opened once at the outside, every inner piece still the client's own bytes."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from tokenrouter.model.chunk import Mark, Shape
from tokenrouter.model.volatile import Volatile

Operation = Literal["generate", "count", "embed"]
"""What is asked for: an answer of a model, the size of a prompt, or vectors."""

NOTHING: Mapping[str, str] = {}


class CallSaid(msgspec.Struct, frozen=True):
    """A call of the model's as a dialect reads it. `arguments`: JSON text (free text where `custom`) as the client wrote it; `sealed`: as in
    `CallSeen`.
    """

    id: str
    name: str
    arguments: str
    custom: bool = False
    sealed: bool = False


class PieceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialect reads out of one decoded message or tool; the members mean what they mean in `Reading`.

    answer_value  the same piece with the documented equivalences for the answer identity applied
    prompt_value  what of it a provider puts into the prompt, where that is less than all; None: all of it
    opaque_bytes  bytes of media in it, left out of text estimates
    texts         the prompt text in it, to look for known volatile lines (system messages only)
    calls         the model's calls in it
    answers       ids of the calls whose results it brings
    bare          the same piece with the ids of `answers` left out; None: there are none
    signed        as in `Reading`
    part_ends     of a message in several parts: those at whose ends a mark may sit, the last one left out
    """

    role: str
    answer_value: object
    name: str = ""
    blocks: int = 1
    images: int = 0
    opaque_bytes: int = 0
    marks: tuple[Mark, ...] = ()
    markable: bool = True
    stateful: bool = False
    object_id: bool = False
    state: str = ""
    fee: int = 0
    texts: tuple[str, ...] = ()
    calls: tuple[CallSaid, ...] = ()
    answers: tuple[str, ...] = ()
    bare: object = None
    signed: bool = False
    prompt_value: object = None
    part_ends: tuple[int, ...] = ()


class Grammar(Protocol):
    """What a dialect knows about the insides of its messages and tools; stateless.

    places         how the dialect calls its lists, for messages about them: system pieces, messages, tools
    argument_text  calls carry their arguments as text, whose white space is prompt text; else as an object
    """

    places: tuple[str, str, str]
    argument_text: bool
    system_shape: Shape
    message_shape: Shape
    tool_shape: Shape
    params_shape: Shape

    def read_system(self, value: object) -> PieceFacts:
        """The same as `read_message` about one decoded piece of a system prompt that stands apart from the messages."""
        ...

    def read_message(self, value: object) -> PieceFacts:
        """What the pipeline must know about one decoded message. Raises InvalidRequest, its `param` relative to the message."""
        ...

    def read_tool(self, value: object) -> PieceFacts:
        """The same about one decoded tool definition."""
        ...

    def without_lines(self, value: object, lines: Sequence[Volatile]) -> object:
        """A decoded message without known per-request lines at the head of its texts; a part that held nothing else goes with them."""
        ...

    def read_params(self, fields: Mapping[str, object]) -> "ParamFacts":
        """The same about the decoded top-level fields that are neither system, messages nor tools, nor extensions; and about what stands
        outside the body (`Call.outside`), under the names it has there.

        Numbers with a fraction or exponent come as `msgspec.Raw`, spelled as the client did.
        """
        ...


class ParamWords(msgspec.Struct, frozen=True, kw_only=True):
    """What the top-level fields that are neither messages nor tools say about a request.

    choices        how many answers are wanted
    deterministic  temperature 0 or a seed: the same question has the same answer
    stateful       refers to something that only the provider holds
    own_affinity   the client set an affinity key of its own
    service_tier   as asked for; "" where it was not
    unserved       the first field whose cost or owner could not be answered for; "" where there is none
    framing        how a stream is to be framed, where the dialect has more than one way; "" is its usual one
    auto_mark_s    the client asked for a cache mark at the end of its prompt, wherever that is: its lifetime (0: the provider's default)
    state          an object of the provider's that the request builds on (an earlier response); "" where there is none
    stores         the provider is to keep the answer under an id of its own
    most_uses      how often tools that the provider runs may be used at most; None where nothing was said
    user           whom the client says it asks for; "" where it does not say
    cache_writing  "explicit": the vendor is to write its prompt cache at marks only; "implicit": at the newest message too; "": not said
    labels         what the request wants to be found under in the ledger: (name, value)
    session        what the client calls the conversation, in fields of its own; "" where it does not say
    """

    model: str
    stream: bool
    include_usage: bool
    max_output: int | None
    choices: int
    deterministic: bool
    stateful: bool
    own_affinity: bool
    service_tier: str
    unserved: str
    framing: str = ""
    auto_mark_s: int | None = None
    state: str = ""
    stores: bool = False
    most_uses: int | None = None
    user: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    cache_writing: Literal["", "implicit", "explicit"] = ""
    session: str = ""


class ParamFacts(ParamWords, frozen=True, kw_only=True):
    """The same as a dialect reads it, with the values that identities are made of.

    prompt_value   the fields that a provider may render in front of the prompt, or that invalidate its prompt cache
    answer_value   every field that can change the answer, equivalences applied, model left out
    side_value     fields that change no answer but that a provider may refuse: whoever differs there does not share a call
    """

    prompt_value: object
    answer_value: object
    side_value: object


class Params(ParamWords, frozen=True, kw_only=True):
    """The same as the pipeline keeps it: the values in their canonical bytes."""

    prompt_bytes: bytes
    answer_bytes: bytes
    side_bytes: bytes


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    body        the bytes as they came
    fields      top-level members in the client's order, values as raw slices of `body`; our own extension fields are taken out
    messages    raw slices; tools likewise, and system: pieces of a system prompt that stands apart from the messages
    rest        the names in `fields` that are neither system, messages nor tools
    extensions  our own extension fields (`x-...`), decoded
    outside     as in `Call`
    edited      ids of the edits that were made to `fields`, `messages` and `tools`; `body` is as it came
    tools_at    where the tools stand, if it is not the list that the grammar names: `tools[0].functionDeclarations`
    """

    dialect: str
    grammar: Grammar
    body: bytes
    fields: Mapping[str, msgspec.Raw]
    messages: tuple[msgspec.Raw, ...]
    tools: tuple[msgspec.Raw, ...]
    rest: tuple[str, ...]
    extensions: Mapping[str, object]
    system: tuple[msgspec.Raw, ...] = ()
    outside: Mapping[str, str] = NOTHING
    edited: tuple[str, ...] = ()
    tools_at: str = ""
