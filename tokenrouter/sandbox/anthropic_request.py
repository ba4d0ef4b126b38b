"""Reading a Messages request: field types, roles, marks. What depends on the order of turns is in `anthropic_turns`.

Source: https://platform.claude.com/docs/en/api/messages and the published `anthropic` SDK 2.11.0.
"""

import msgspec

from tokenrouter.sandbox.anthropic_models import Model
from tokenrouter.sandbox.anthropic_tools import read_tools
from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal

FIELDS = frozenset(
    (
        "max_tokens",
        "messages",
        "model",
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        "user_profile_id",
    )
)
BETA_FIELDS = frozenset(
    {"billing_policy", "compaction", "context_management", "fallback_credit_token", "fallbacks", "mcp_servers", "thread"},
)
"""Fields that a request may have once it names any beta."""
BINDING_BETA = "thinking-binding-controls-2026-08-01"
NEW_VERSION = "2026-10-21"
VERSIONS = ("2023-06-01", NEW_VERSION)
EFFORTS = ("low", "medium", "high", "xhigh", "max")


class Thinking(msgspec.Struct, frozen=True):
    """The thinking config.

    drops   blocks bound to another conversation are removed instead of refused
    shown   the answer has the thinking itself, not its signature alone
    """

    kind: str
    drops: bool = False
    shown: bool = True


class MessagesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a validated request asks for."""

    fields: JsonObject
    model: str
    max_tokens: int
    stream: bool
    system: list[JsonObject]
    tools: list[JsonObject]
    messages: list[JsonObject]
    thinking: Thinking
    stops: tuple[str, ...]
    choice: str
    """auto, none, any, or the name of a tool."""
    parallel: bool
    effort: str
    schema: JsonValue
    automatic_ttl: str | None


def bad(message: str) -> Refusal:
    """A 400."""
    return Refusal(400, message)


def read_fields(fields: JsonObject, name: str, model: Model, *, version: str, betas: frozenset[str]) -> MessagesRequest:
    """Check everything that can be said about the fields alone."""
    for field in fields:
        if field not in FIELDS and not (betas and field in BETA_FIELDS):
            raise bad(f"{field}: Extra inputs are not permitted")
    max_tokens = fields.get("max_tokens")
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool):
        raise bad("max_tokens: Field required" if max_tokens is None else "max_tokens: Input should be a valid integer")
    if max_tokens < 0:
        raise bad("max_tokens: Input should be greater than or equal to 0")
    if max_tokens > model.most_output:
        raise bad(f"max_tokens: {max_tokens} > {model.most_output}, which is the maximum allowed number of output tokens for {name}")
    stream = fields.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise bad("stream: Input should be a valid boolean")
    tools = read_tools(fields.get("tools"))
    thinking = _thinking(fields, model, max_tokens, betas)
    choice, parallel = _choice(fields.get("tool_choice"), tools, model, thinking)
    _sampling(fields, model, version, thinking)
    effort, schema = _output_config(fields.get("output_config"))
    request = MessagesRequest(
        fields=fields,
        model=name,
        max_tokens=max_tokens,
        stream=stream is True,
        system=_system(fields.get("system")),
        tools=tools,
        messages=_messages(fields.get("messages")),
        thinking=thinking,
        stops=_stops(fields.get("stop_sequences")),
        choice=choice,
        parallel=parallel,
        effort=effort,
        schema=schema,
        automatic_ttl=mark_ttl(fields, "cache_control"),
    )
    if max_tokens == 0:
        _prewarm(request)
    return request


def mark_ttl(holder: JsonObject, at: str) -> str | None:
    """The lifetime of a mark, None without one."""
    mark = holder.get("cache_control")
    if mark is None:
        return None
    if not isinstance(mark, dict) or mark.get("type") != "ephemeral":
        raise bad(f"{at}: Input tag found using 'type' does not match any of the expected tags: 'ephemeral'")
    ttl = mark.get("ttl")
    if ttl is not None and ttl not in ("5m", "1h"):
        raise bad(f"{at}.ttl: Input should be '5m' or '1h'")
    for key in mark:
        if key not in ("type", "ttl"):
            raise bad(f"{at}.{key}: Extra inputs are not permitted")
    return ttl if isinstance(ttl, str) else "5m"


def _prewarm(request: MessagesRequest) -> None:
    """`max_tokens` of 0 only fills the cache."""
    if request.stream or request.thinking.kind != "disabled" or request.schema is not None or request.choice not in ("auto", "none"):
        raise bad("max_tokens: 0 can not be combined with stream, thinking, an output format or a forced tool")


def _system(value: JsonValue) -> list[JsonObject]:
    if value is None:
        return []
    if isinstance(value, str):
        return [{"type": "text", "text": value}] if value else []
    if not isinstance(value, list):
        raise bad("system: Input should be a valid string or list")
    blocks: list[JsonObject] = []
    for index, block in enumerate(value):
        if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise bad(f"system.{index}: Input should be a text block")
        if not block["text"]:
            raise bad(
                f"system.{index}: cache_control cannot be set for empty text blocks"
                if "cache_control" in block
                else "system: text content blocks must be non-empty"
            )
        blocks.append(block)
    return blocks


def _thinking(fields: JsonObject, model: Model, max_tokens: int, betas: frozenset[str]) -> Thinking:
    value = fields.get("thinking")
    if value is None:
        return Thinking("adaptive" if model.bound and max_tokens else "disabled")
    if not isinstance(value, dict) or value.get("type") not in ("enabled", "disabled", "adaptive", "between_tools"):
        raise bad(
            "thinking: Input tag found using 'type' does not match any of the expected tags: 'enabled', 'disabled', 'adaptive', 'between_tools'"
        )
    kind = str(value["type"])
    binding = value.get("block_binding")
    if binding is not None and BINDING_BETA not in betas:
        raise bad("thinking.block_binding: Extra inputs are not permitted")
    if kind == "enabled":
        budget = value.get("budget_tokens")
        if model.bound:
            raise bad(f"thinking.type: 'enabled' is not supported by {fields.get('model')}. Use 'adaptive'.")
        if not isinstance(budget, int) or budget < 1024:
            raise bad("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if budget >= max_tokens:
            raise bad("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if kind == "disabled" and model.bound:
        raise bad(f"thinking.type: 'disabled' is not supported by {fields.get('model')}.")
    if (kind == "adaptive" and not model.adaptive) or (kind == "between_tools" and not model.between_tools):
        raise bad(f"thinking.type: '{kind}' is not supported by {fields.get('model')}.")
    behavior = binding.get("prefix_mismatch_behavior") if isinstance(binding, dict) else None
    if behavior not in (None, "error", "drop_block"):
        raise bad("thinking.block_binding.prefix_mismatch_behavior: Input should be 'error' or 'drop_block'")
    display = value.get("display")
    if display not in (None, "summarized", "omitted"):
        raise bad(f"thinking.{kind}.display: Input should be 'summarized' or 'omitted'")
    return Thinking(kind, behavior == "drop_block", display != "omitted")


def _choice(value: JsonValue, tools: list[JsonObject], model: Model, thinking: Thinking) -> tuple[str, bool]:
    if value is None:
        return "auto", True
    if not isinstance(value, dict) or value.get("type") not in ("auto", "any", "tool", "none"):
        raise bad("tool_choice: Input tag found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool', 'none'")
    if not tools:
        raise bad("tool_choice: tool_choice may only be specified while providing tools.")
    kind = str(value["type"])
    parallel = value.get("disable_parallel_tool_use") is not True
    if kind in ("any", "tool"):
        if model.bound:
            raise bad(f"tool_choice.type: '{kind}' is not supported by this model.")
        if thinking.kind != "disabled":
            raise bad("Thinking may not be enabled when tool_choice forces tool use.")
    if kind == "tool":
        name = value.get("name")
        if name not in [tool.get("name") for tool in tools]:
            raise bad(f"Tool '{name}' not found in provided tools")
        return str(name), parallel
    return kind, parallel


def _sampling(fields: JsonObject, model: Model, version: str, thinking: Thinking) -> None:
    for name, most in (("temperature", 1), ("top_p", 1), ("top_k", 500)):
        value = fields.get(name)
        if value is None:
            continue
        if version == NEW_VERSION:
            raise bad(f"{name}: Extra inputs are not permitted")
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise bad(f"{name}: Input should be a valid number")
        if not 0 <= value <= most:
            raise bad(f"{name}: range: 0..{most}")
        if model.bound and (value != 1 or name == "top_k"):
            raise bad(f"{name}: this model only supports the default value.")
        if thinking.kind == "enabled" and name == "temperature" and value != 1:
            raise bad("`temperature` may only be set to 1 when thinking is enabled.")


def _output_config(value: JsonValue) -> tuple[str, JsonValue]:
    if value is None:
        return "high", None
    if not isinstance(value, dict):
        raise bad("output_config: Input should be a valid dictionary")
    effort = value.get("effort")
    if effort is not None and effort not in EFFORTS:
        raise bad(f"output_config.effort: Input should be one of {', '.join(repr(item) for item in EFFORTS)}")
    wanted = value.get("format")
    if wanted is None:
        return str(effort or "high"), None
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema" or not isinstance(wanted.get("schema"), dict):
        raise bad("output_config.format: Input should be a json_schema with a schema")
    return str(effort or "high"), wanted["schema"]


def _stops(value: JsonValue) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise bad("stop_sequences: Input should be a valid list of strings")
    if any(isinstance(item, str) and not item.strip() for item in value):
        raise bad("stop_sequences: each stop sequence must contain non-whitespace")
    return tuple(item for item in value if isinstance(item, str))


def _messages(value: JsonValue) -> list[JsonObject]:
    if not isinstance(value, list):
        raise bad("messages: Field required" if value is None else "messages: Input should be a valid list")
    if not value:
        raise bad("messages: at least one message is required")
    messages: list[JsonObject] = []
    for index, message in enumerate(value):
        if not isinstance(message, dict):
            raise bad(f"messages.{index}: Input should be a valid dictionary")
        for key in message:
            if key not in ("role", "content"):
                raise bad(f"messages.{index}.{key}: Extra inputs are not permitted")
        if message.get("role") not in ("user", "assistant", "system"):
            raise bad(f"messages.{index}.role: Input should be 'user', 'assistant' or 'system'")
        messages.append(message)
    return messages
