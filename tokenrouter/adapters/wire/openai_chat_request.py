"""OpenAI Chat Completions as it is asked, for OpenAI and the many who speak its wire: small members first, then what is cached.

Not frozen, unlike other Structs here: marks are set when all else is in place, and nothing of it outlives one rendering.
Source: openai-python 3.52 `types/chat/completion_create_params.py` and the `*_param.py` beside it; for members that OpenAI does not have:
openrouter 1.3.84 (`reasoning_details`, `top_k`, `cache_control`), mistralai 3.7 (`random_seed`), DeepSeek's thinking-mode guide
(`thinking`, `reasoning_content`), Google's guide on thought signatures (`extra_content`).
"""

from typing import Literal

import msgspec


class CacheControl(msgspec.Struct, omit_defaults=True, tag_field="type", tag="ephemeral"):
    """A cache mark in Anthropic's spelling. Without `ttl` an entry lives five minutes."""

    ttl: Literal["1h"] | None = None


class CacheBreakpoint(msgspec.Struct, omit_defaults=True):
    """A cache mark in OpenAI's spelling. Without `ttl` an entry lives thirty minutes at least."""

    mode: Literal["explicit"]
    ttl: Literal["12h"] | None = None


class _Markable(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What can carry a mark, in one spelling or the other."""

    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class TextPart(_Markable, tag_field="type", tag="text"):
    """Text."""

    text: str


class ImageURL(msgspec.Struct, omit_defaults=True):
    """An address, or a data URL."""

    url: str
    detail: str | None = None


class ImagePart(_Markable, tag_field="type", tag="image_url"):
    """A picture."""

    image_url: ImageURL


class InputAudio(msgspec.Struct):
    """Sound as base64 text."""

    data: str
    format: str


class AudioPart(_Markable, tag_field="type", tag="input_audio"):
    """Sound."""

    input_audio: InputAudio


class FileData(msgspec.Struct):
    """A file: a data URL, and the name that the vendor asks for."""

    file_data: str
    filename: str


class FilePart(_Markable, tag_field="type", tag="file"):
    """A PDF or another document."""

    file: FileData


Part = TextPart | ImagePart | AudioPart | FilePart


class Named(msgspec.Struct):
    """Something by its name."""

    name: str


class CalledFunction(msgspec.Struct):
    """`arguments` is JSON text, to the byte as the model wrote it."""

    name: str
    arguments: str


class FunctionCall(msgspec.Struct, omit_defaults=True, tag_field="type", tag="function"):
    """A call of an earlier turn. `extra_content` holds Google's signature over it."""

    id: str
    function: CalledFunction
    extra_content: dict[str, dict[str, str]] | None = None


class CalledCustom(msgspec.Struct):
    """`input` is free text."""

    name: str
    input: str


class CustomCall(msgspec.Struct, tag_field="type", tag="custom"):
    """A call of a tool that takes free text."""

    id: str
    custom: CalledCustom


class ReasoningDetail(msgspec.Struct, omit_defaults=True):
    """One entry of OpenRouter's `reasoning_details`."""

    type: Literal["reasoning.text", "reasoning.summary", "reasoning.encrypted"]
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None


class SystemMessage(msgspec.Struct, omit_defaults=True, tag_field="role", tag="system"):
    """Instructions."""

    content: str | list[Part]
    name: str | None = None


class UserMessage(msgspec.Struct, omit_defaults=True, tag_field="role", tag="user"):
    """A user's turn."""

    content: str | list[Part]
    name: str | None = None


class AssistantMessage(msgspec.Struct, omit_defaults=True, tag_field="role", tag="assistant"):
    """A turn of the model's. `content` is always there: some servers want it, if only as null."""

    content: str | list[Part] | None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[FunctionCall | CustomCall] | None = None
    name: str | None = None


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    """What a tool answered: text only."""

    tool_call_id: str
    content: str | list[Part]


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage


class Function(msgspec.Struct, omit_defaults=True):
    """`parameters` in the client's spelling."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw | None = None
    strict: bool | None = None


class FunctionTool(msgspec.Struct, tag_field="type", tag="function"):
    """A function that the model may call."""

    function: Function


class Grammar(msgspec.Struct):
    """What the text of a custom tool must follow; both members in the client's spelling."""

    syntax: msgspec.Raw
    definition: msgspec.Raw


class GrammarFormat(msgspec.Struct, tag_field="type", tag="grammar"):
    """Text after a grammar."""

    grammar: Grammar


class Custom(msgspec.Struct, omit_defaults=True):
    """Without `format` any text will do."""

    name: str
    description: str | None = None
    format: GrammarFormat | None = None


class CustomTool(msgspec.Struct, tag_field="type", tag="custom"):
    """A tool that takes free text."""

    custom: Custom


Tool = FunctionTool | CustomTool


class FunctionChoice(msgspec.Struct, tag_field="type", tag="function"):
    """The function that must be called."""

    function: Named


class CustomChoice(msgspec.Struct, tag_field="type", tag="custom"):
    """The custom tool that must be called."""

    custom: Named


class AllowedTools(msgspec.Struct):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[FunctionChoice | CustomChoice]


class AllowedChoice(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """Only these may be called."""

    allowed_tools: AllowedTools


class JSONSchema(msgspec.Struct, omit_defaults=True):
    """`schema` in the client's spelling."""

    name: str
    schema: msgspec.Raw | None = None
    strict: bool | None = None


class SchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    """JSON after a schema."""

    json_schema: JSONSchema


class ObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""


class StreamOptions(msgspec.Struct):
    """Usage is wanted at the end of a stream."""

    include_usage: bool


class ThinkingSwitch(msgspec.Struct):
    """DeepSeek's and Moonshot's switch; thinking is on unless it is switched off."""

    type: Literal["disabled"]


class Request(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of `POST /chat/completions`."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: list[str] | None = None
    seed: int | None = None
    random_seed: int | None = None
    n: int | None = None
    reasoning_effort: str | None = None
    thinking: ThinkingSwitch | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    tool_choice: str | FunctionChoice | CustomChoice | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: SchemaFormat | ObjectFormat | None = None
    tools: list[Tool] | None = None
    messages: list[Message]
