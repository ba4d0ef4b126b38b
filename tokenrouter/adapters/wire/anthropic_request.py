"""Anthropic Messages as it is asked: the request body, member by member in the order in which the vendor renders a prompt.

Not frozen, unlike other Structs here: marks and thinking are set when all else is in place, and nothing of it outlives one rendering.
Source: anthropic-python 2.11 `types/message_create_params.py` and the `*_param.py` beside it.
"""

from typing import Literal

import msgspec


class CacheControl(msgspec.Struct, omit_defaults=True, tag_field="type", tag="ephemeral"):
    """A cache mark. Without `ttl` an entry lives five minutes."""

    ttl: Literal["1h"] | None = None


class Base64Source(msgspec.Struct, tag_field="type", tag="base64"):
    """Bytes of an image or a PDF, as base64 text."""

    media_type: str
    data: str


class UrlSource(msgspec.Struct, tag_field="type", tag="url"):
    """An address that the vendor fetches."""

    url: str


class PlainTextSource(msgspec.Struct, tag_field="type", tag="text"):
    """The text of a document."""

    media_type: str
    data: str


class TextBlock(msgspec.Struct, omit_defaults=True, tag_field="type", tag="text"):
    """Text that is not empty."""

    text: str
    cache_control: CacheControl | None = None


class ImageBlock(msgspec.Struct, omit_defaults=True, tag_field="type", tag="image"):
    """A picture."""

    source: Base64Source | UrlSource
    cache_control: CacheControl | None = None


class DocumentBlock(msgspec.Struct, omit_defaults=True, tag_field="type", tag="document"):
    """A PDF or plain text."""

    source: Base64Source | PlainTextSource | UrlSource
    title: str | None = None
    cache_control: CacheControl | None = None


class ToolUseBlock(msgspec.Struct, omit_defaults=True, tag_field="type", tag="tool_use"):
    """A call of an earlier turn; `input` in the spelling in which it came."""

    id: str
    name: str
    input: msgspec.Raw
    cache_control: CacheControl | None = None


class ToolResultBlock(msgspec.Struct, omit_defaults=True, tag_field="type", tag="tool_result"):
    """What a tool answered; `content` is left out where it said nothing."""

    tool_use_id: str
    content: list[TextBlock | ImageBlock | DocumentBlock] | None = None
    is_error: bool = False
    cache_control: CacheControl | None = None


class ThinkingBlock(msgspec.Struct, tag_field="type", tag="thinking"):
    """Reasoning of an earlier turn with its signature. It takes no mark."""

    thinking: str
    signature: str


class RedactedThinkingBlock(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    """Reasoning of an earlier turn that only the vendor can read. It takes no mark."""

    data: str


MarkableBlock = TextBlock | ImageBlock | DocumentBlock | ToolUseBlock | ToolResultBlock
ContentBlock = MarkableBlock | ThinkingBlock | RedactedThinkingBlock


class Message(msgspec.Struct):
    """One turn. Content is always a list: its form never flips between turns."""

    role: Literal["user", "assistant", "system"]
    content: list[ContentBlock]


class Tool(msgspec.Struct, omit_defaults=True):
    """A function; `input_schema` in the client's spelling."""

    name: str
    input_schema: msgspec.Raw
    description: str | None = None
    strict: bool = False
    cache_control: CacheControl | None = None


class Choice(msgspec.Struct, omit_defaults=True):
    """Which tool may be called."""

    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Thinking(msgspec.Struct, omit_defaults=True):
    """How the model may think, and what of it is shown; without `display` the model's own default decides that."""

    type: Literal["adaptive", "enabled"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class JSONFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    """The schema that the answer must follow, in the client's spelling."""

    schema: msgspec.Raw


class OutputConfig(msgspec.Struct, omit_defaults=True):
    """Effort and form of the answer."""

    effort: str | None = None
    format: JSONFormat | None = None


class Metadata(msgspec.Struct):
    """Who the end user is, in the client's opaque words."""

    user_id: str


class Request(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of `POST /v1/messages`: small members first, then what is cached, in rendering order."""

    model: str
    max_tokens: int
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    tool_choice: Choice | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    tools: list[Tool] | None = None
    system: list[TextBlock] | None = None
    messages: list[Message]
