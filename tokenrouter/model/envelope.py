"""A request as it came: opened once at the outside, every inner piece still the client's own bytes."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from tokenrouter.model.chunk import Mark, Shape


class Grammar(Protocol):
    """What a dialect knows about the insides of its messages and tools; stateless."""

    message_shape: Shape
    tool_shape: Shape

    def read_message(self, value: object) -> "PieceFacts":
        """What the pipeline must know about one decoded message. Raises InvalidRequest with a path relative to it."""
        ...

    def read_tool(self, value: object) -> "PieceFacts":
        """The same about one decoded tool definition."""
        ...


class PieceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialect reads out of one message or tool.

    role      of a message; "tool definition" for tools
    name      of a tool, to sort by
    blocks    how many content blocks it becomes on a wire that counts them
    images    pictures in it, whose bytes say nothing about their tokens
    opaque_bytes  bytes of media in it, to leave out of text estimates
    marks     the client's own cache marks
    markable  a cache mark could sit on its end
    stateful  refers to something that only the provider holds, or to a URL: its answer must not be reused
    answer_value  the same piece with the documented equivalences for the answer identity applied
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


class Params(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at the top level that is neither message nor tool, read once per spelling.

    prompt_bytes    canonical bytes of the fields that a provider may render in front of the prompt
    answer_bytes    canonical bytes of every field that can change the answer, model left out
    deterministic   temperature 0 or a seed: the same question has the same answer
    stateful        refers to something that only the provider holds
    """

    model: str
    stream: bool
    include_usage: bool
    max_output: int | None
    choices: int
    deterministic: bool
    stateful: bool
    prompt_bytes: bytes
    answer_bytes: bytes


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    body        the bytes as they came
    fields      top-level members in the client's order, values as raw slices of `body`; our own extension fields are in `extensions`
    messages    raw slices; tools likewise
    """

    dialect: str
    grammar: Grammar
    body: bytes
    fields: Mapping[str, msgspec.Raw]
    messages: tuple[msgspec.Raw, ...]
    tools: tuple[msgspec.Raw, ...]
    params: Params
    extensions: Mapping[str, object]
