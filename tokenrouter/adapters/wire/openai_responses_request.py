"""OpenAI Responses as it is asked: small members first, then what is cached.

Not frozen, unlike other Structs here: marks are set when all else is in place, and nothing of it outlives one rendering.
Source: openai-python 3.52 `types/responses/response_create_params.py` and the `*_param.py` beside it.
"""

from typing import Literal

import msgspec


class CacheBreakpoint(msgspec.Struct, omit_defaults=True):
    """A cache mark. Without `ttl` an entry lives thirty minutes at least."""

    mode: Literal["explicit"]
    ttl: Literal["12h"] | None = None


class _Markable(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What can carry a mark."""

    prompt_cache_breakpoint: CacheBreakpoint | None = None


class InputText(_Markable, tag_field="type", tag="input_text"):
    """Text that the model reads."""

    text: str


class InputImage(_Markable, tag_field="type", tag="input_image"):
    """A picture: an address, or a data URL."""

    image_url: str
    detail: str | None = None


class InputFile(_Markable, tag_field="type", tag="input_file"):
    """A file: a data URL with its name, or an address."""

    filename: str | None = None
    file_data: str | None = None
    file_url: str | None = None


InputPart = InputText | InputImage | InputFile


class OutputText(msgspec.Struct, tag_field="type", tag="output_text"):
    """Text that the model said."""

    text: str


class OutputRefusal(msgspec.Struct, tag_field="type", tag="refusal"):
    """Words of refusal."""

    refusal: str


class Asking(msgspec.Struct, tag_field="type", tag="message"):
    """A message to the model."""

    role: Literal["user", "system"]
    content: list[InputPart]


class Answering(msgspec.Struct, tag_field="type", tag="message"):
    """A message of the model. Without an id, like everything that no vendor stores."""

    role: Literal["assistant"]
    content: list[OutputText | OutputRefusal]


class SummaryText(msgspec.Struct, tag_field="type", tag="summary_text"):
    """What is shown of a thought."""

    text: str


class Thinking(msgspec.Struct, omit_defaults=True, tag_field="type", tag="reasoning"):
    """A thought of an earlier turn. `encrypted_content` is bound to `id`."""

    summary: list[SummaryText]
    encrypted_content: str
    id: str | None = None


class FunctionCall(msgspec.Struct, tag_field="type", tag="function_call"):
    """A call; `arguments` is JSON text, to the byte as the model wrote it."""

    call_id: str
    name: str
    arguments: str


class FunctionOutput(msgspec.Struct, tag_field="type", tag="function_call_output"):
    """What a function answered."""

    call_id: str
    output: str | list[InputPart]


class CustomCall(msgspec.Struct, tag_field="type", tag="custom_tool_call"):
    """A call of a tool that takes free text."""

    call_id: str
    name: str
    input: str


class CustomOutput(msgspec.Struct, tag_field="type", tag="custom_tool_call_output"):
    """What such a tool answered."""

    call_id: str
    output: str | list[InputPart]


Item = Asking | Answering | Thinking | FunctionCall | FunctionOutput | CustomCall | CustomOutput


class Function(msgspec.Struct, tag_field="type", tag="function"):
    """A function that the model may call. `strict` is always said: this wire takes its absence for true."""

    name: str
    description: str | None
    parameters: msgspec.Raw
    strict: bool


class GrammarFormat(msgspec.Struct, tag_field="type", tag="grammar"):
    """Text after a grammar; both members in the client's spelling."""

    syntax: msgspec.Raw
    definition: msgspec.Raw


class Custom(msgspec.Struct, omit_defaults=True, tag_field="type", tag="custom"):
    """A tool that takes free text. Without `format` any text will do."""

    name: str
    description: str | None = None
    format: GrammarFormat | None = None


Tool = Function | Custom


class FunctionChoice(msgspec.Struct, tag_field="type", tag="function"):
    """A function that must be called."""

    name: str


class CustomChoice(msgspec.Struct, tag_field="type", tag="custom"):
    """A custom tool that must be called."""

    name: str


class AllowedTools(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """Only these may be called."""

    mode: Literal["auto", "required"]
    tools: list[FunctionChoice | CustomChoice]


class SchemaFormat(msgspec.Struct, omit_defaults=True, tag_field="type", tag="json_schema"):
    """JSON after a schema, in the client's spelling."""

    name: str
    schema: msgspec.Raw
    strict: bool | None = None


class ObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""


class TextOptions(msgspec.Struct, omit_defaults=True):
    """The form of the answer, and how much of it."""

    format: SchemaFormat | ObjectFormat | None = None
    verbosity: str | None = None


class ReasoningOptions(msgspec.Struct, omit_defaults=True):
    """How hard to think, and how much of it to show."""

    effort: str | None = None
    summary: Literal["auto"] | None = None


class Request(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of `POST /responses`. `store` has no default here: it is always sent."""

    model: str
    store: bool
    stream: bool = False
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    include: list[str] | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, str] | None = None
    tool_choice: str | FunctionChoice | CustomChoice | AllowedTools | None = None
    parallel_tool_calls: bool | None = None
    tools: list[Tool] | None = None
    input: list[Item]
