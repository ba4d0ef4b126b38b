"""Gemini's generateContent as it is asked: the request body, member by member.

Not frozen, unlike other Structs here: nothing of it outlives one rendering.
Source: google-genai 3.4 `types.py` and `models.py`; https://ai.google.dev/api/generate-content.
"""

from typing import Literal

import msgspec


class Blob(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Bytes of a picture, a sound, a film or a file, as base64 text."""

    mime_type: str
    data: str
    display_name: str | None = None


class FileData(msgspec.Struct, omit_defaults=True, rename="camel"):
    """An address that the vendor fetches."""

    file_uri: str
    mime_type: str | None = None


class FunctionCall(msgspec.Struct, omit_defaults=True):
    """A call of an earlier turn; `args` in the spelling in which they came."""

    name: str
    args: msgspec.Raw
    id: str | None = None


class ResponsePart(msgspec.Struct, rename="camel"):
    """A picture or a file in what a function answered."""

    inline_data: Blob


class FunctionResponse(msgspec.Struct, omit_defaults=True):
    """What a function answered: its `output`, or its `error`."""

    name: str
    response: dict[str, str]
    id: str | None = None
    parts: list[ResponsePart] | None = None


class Part(msgspec.Struct, omit_defaults=True, rename="camel"):
    """One part of a content; exactly one of the kinds is set."""

    text: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    thought: bool | None = None
    thought_signature: str | None = None


class Content(msgspec.Struct, omit_defaults=True):
    """One turn."""

    parts: list[Part]
    role: Literal["user", "model"] | None = None


class Function(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A function; its schema in the client's spelling."""

    name: str
    description: str | None = None
    parameters_json_schema: msgspec.Raw | None = None


class Tool(msgspec.Struct, rename="camel"):
    """All functions in one entry."""

    function_declarations: list[Function]


class Calling(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Which functions may be called."""

    mode: Literal["AUTO", "ANY", "NONE", "VALIDATED"]
    allowed_function_names: list[str] | None = None


class ToolConfig(msgspec.Struct, rename="camel"):
    """What stands around it."""

    function_calling_config: Calling


class ThinkingConfig(msgspec.Struct, omit_defaults=True, rename="camel"):
    """How the model may think: a word for newer models, a budget for those before them, never both."""

    thinking_level: str | None = None
    thinking_budget: int | None = None
    include_thoughts: bool | None = None


class GenerationConfig(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Limits, sampling, and the form of the answer."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop_sequences: list[str] | None = None
    response_mime_type: str | None = None
    response_json_schema: msgspec.Raw | None = None
    thinking_config: ThinkingConfig | None = None


class Request(msgspec.Struct, omit_defaults=True, rename="camel", kw_only=True):
    """The body of `:generateContent`: small members first, then what is cached, in rendering order. `model` only inside another request."""

    model: str | None = None
    generation_config: GenerationConfig | None = None
    tool_config: ToolConfig | None = None
    service_tier: str | None = None
    system_instruction: Content | None = None
    tools: list[Tool] | None = None
    contents: list[Content]


class CountRequest(msgspec.Struct, rename="camel"):
    """The body of `:countTokens` for more than bare contents."""

    generate_content_request: Request
