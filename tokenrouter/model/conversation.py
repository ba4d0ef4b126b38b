"""A request opened up to its last block. Only the translation lane needs it: there both sides go through this model.

Nothing here is vendor's or dialect's: an inbound adapter makes it, an outbound adapter renders it.
"""

from typing import Literal

import msgspec

from tokenrouter.model.answer import Reasoning, ToolCall


class Text(msgspec.Struct, frozen=True, tag=True):
    """Plain text."""

    text: str


class Image(msgspec.Struct, frozen=True, tag=True):
    """A picture: either `url`, or `data` (base64 text, never decoded) with its `media_type`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None


class Document(msgspec.Struct, frozen=True, tag=True):
    """A file: base64 `data` with its `media_type`, plain `text`, an address to fetch it from, or a `file_id` that only its vendor knows."""

    data: str | None = None
    media_type: str | None = None
    filename: str | None = None
    file_id: str | None = None
    text: str | None = None
    url: str | None = None


class Audio(msgspec.Struct, frozen=True, tag=True):
    """Sound as base64 `data` in `format` (wav, mp3), or the `audio_id` of an earlier answer."""

    data: str | None = None
    format: str | None = None
    audio_id: str | None = None


class Video(msgspec.Struct, frozen=True, tag=True):
    """Moving pictures: base64 `data` with its `media_type`, or a `url`."""

    data: str | None = None
    media_type: str | None = None
    url: str | None = None


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """The model's own words when it declined."""

    text: str


class Call(msgspec.Struct, frozen=True, tag=True):
    """The assistant asked for a tool."""

    call: ToolCall


class Result(msgspec.Struct, frozen=True, tag=True):
    """What a tool answered to the call `call_id`. `name`: of the tool, where the client says it; `failed`: the tool reported an error."""

    call_id: str
    content: tuple["Text | Image | Document", ...]
    name: str = ""
    failed: bool = False


class Thought(msgspec.Struct, frozen=True, tag=True):
    """Reasoning of an earlier turn that the client sent back."""

    reasoning: Reasoning


Block = Text | Image | Document | Audio | Video | Refusal | Call | Result | Thought


class Turn(msgspec.Struct, frozen=True):
    """One message of the client, in the client's order.

    blocks  one block per content part, in the client's order (cache plans count these, thoughts left out), then refusal, audio and calls
    source  index of the message in the request, system pieces counted first: cache plans point at it
    path    where the client wrote it, as its dialect says that: "messages[3]"; "" is `messages[source]`
    """

    role: Literal["system", "user", "assistant", "tool"]
    blocks: tuple[Block, ...]
    source: int
    name: str | None = None
    path: str = ""

    @property
    def place(self) -> str:
        """For messages about it."""
        return self.path or f"messages[{self.source}]"


class ToolSpec(msgspec.Struct, frozen=True):
    """A function that the model may call. `parameters` is the client's own spelling of the schema (None: takes nothing).

    custom  takes free text instead of arguments; `grammar` is what that text must follow, in the client's spelling
    """

    name: str
    description: str | None = None
    parameters: msgspec.Raw | None = None
    strict: bool | None = None
    custom: bool = False
    grammar: msgspec.Raw | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """`named` goes with `name`; `subset` with `names` and whether one of them must be called."""

    mode: Literal["auto", "none", "required", "named", "subset"]
    name: str | None = None
    names: tuple[str, ...] = ()
    required: bool = False


class OutputFormat(msgspec.Struct, frozen=True):
    """The form of the answer: free text, any JSON object, or JSON after a schema (in the client's own spelling)."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: msgspec.Raw | None = None
    strict: bool | None = None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a client asked for, opened.

    Renderers name fields in the words of Chat Completions; the lane puts them into the client's own (`Dialect.field_names`).

    tools            in the order in which they are sent (after `tools.order`)
    effort           reasoning effort: none, minimal, low, medium, high, xhigh, max; None where nothing was said
    thinking_budget  tokens, where the client gave a number instead of a word (0: no reasoning)
    show_reasoning   whether readable reasoning is wanted in the answer; None where nothing was said
    verbosity        low, medium, high
    affinity         the client's own key that keeps requests with one prefix together, where its dialect has one
    leftover         names of fields (dotted paths) that this model has no place for: a renderer refuses them or reports them as dropped
    """

    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_calls: bool | None = None
    output: OutputFormat = OutputFormat("text")
    stream: bool = False
    max_output: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    choices: int = 1
    effort: str | None = None
    thinking_budget: int | None = None
    show_reasoning: bool | None = None
    verbosity: str | None = None
    user: str | None = None
    service_tier: str | None = None
    affinity: str | None = None
    leftover: tuple[str, ...] = ()
