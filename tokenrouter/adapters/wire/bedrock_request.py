"""Bedrock's Converse as it is asked: the request body, member by member. Unions are objects with one member.

Not frozen, unlike other Structs here: thinking is set when all else is in place, and nothing of it outlives one rendering.
Source: botocore 1.44 `data/bedrock-runtime/2023-09-30/service-2.json`.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec


class CachePoint(msgspec.Struct, omit_defaults=True):
    """A cache mark: an element of its own behind what it marks. Without `ttl` an entry lives five minutes."""

    type: Literal["default"]
    ttl: Literal["1h"] | None = None


class Source(msgspec.Struct):
    """Bytes as base64 text."""

    bytes: str


class Image(msgspec.Struct):
    """A picture; `format` is png, jpeg, gif or webp."""

    format: str
    source: Source


class Document(msgspec.Struct):
    """A file; its name is unique in a request, and the model reads it."""

    format: str
    name: str
    source: Source


class ToolUse(msgspec.Struct, rename="camel"):
    """A call of an earlier turn; `input` in the spelling in which it came."""

    tool_use_id: str
    name: str
    input: msgspec.Raw


class ResultBlock(msgspec.Struct, omit_defaults=True):
    """One of these."""

    text: str | None = None
    image: Image | None = None
    document: Document | None = None


class ToolResult(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a tool answered; `content` must be there and may be empty."""

    tool_use_id: str
    content: list[ResultBlock]
    status: Literal["error"] | None = None


class ReasoningText(msgspec.Struct):
    """Readable reasoning and its signature."""

    text: str
    signature: str


class Reasoning(msgspec.Struct, rename="camel", omit_defaults=True):
    """One of these; redacted content is bytes as base64 text."""

    reasoning_text: ReasoningText | None = None
    redacted_content: str | None = None


class InputSchema(msgspec.Struct):
    """A schema in the client's spelling."""

    json: msgspec.Raw


class ToolSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A function."""

    name: str
    input_schema: InputSchema
    description: str | None = None
    strict: bool = False


class Block(msgspec.Struct, rename="camel", omit_defaults=True):
    """One of these: an element of a message, of the system prompt, or of the list of tools."""

    text: str | None = None
    tool_spec: ToolSpec | None = None
    image: Image | None = None
    document: Document | None = None
    tool_use: ToolUse | None = None
    tool_result: ToolResult | None = None
    reasoning_content: Reasoning | None = None
    cache_point: CachePoint | None = None


class Message(msgspec.Struct):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: list[Block]


class ToolConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    """Tools, and which of them may be called: `{"auto":{}}`, `{"any":{}}` or `{"tool":{"name":…}}`."""

    tools: list[Block]
    tool_choice: Mapping[str, Mapping[str, str]] | None = None


class InferenceConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    """What all models understand."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None


class JSONSchema(msgspec.Struct, omit_defaults=True):
    """A schema as a string of JSON, in the client's spelling."""

    schema: str
    name: str | None = None


class OutputConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    """Effort and form of the answer."""

    effort: str | None = None
    text_format: Mapping[str, object] | None = None


class ServiceTier(msgspec.Struct):
    """Which tier serves the request."""

    type: str


class Request(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The body of `POST /model/{id}/converse`: small members first, then what is cached, in rendering order.

    additional_model_request_fields  go to the model as they are
    additional_model_response_field_paths  members of the model's own answer that are wanted, as JSON pointers
    """

    inference_config: InferenceConfig | None = None
    additional_model_request_fields: dict[str, object] | None = None
    additional_model_response_field_paths: list[str] | None = None
    output_config: OutputConfig | None = None
    request_metadata: Mapping[str, str] | None = None
    service_tier: ServiceTier | None = None
    tool_config: ToolConfig | None = None
    system: list[Block] | None = None
    messages: list[Message]
