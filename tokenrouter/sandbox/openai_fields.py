"""Which fields OpenAI accepts, for which models. Unknown ones are refused by name, as are cache directives in the wrong place."""

from tokenrouter.sandbox.chat_request import MARKABLE_PARTS, ChatRequest, check_number, invalid, wrong_type
from tokenrouter.sandbox.openai_models import Model
from tokenrouter.sandbox.wire import JsonObject, JsonValue

FIELDS = frozenset(
    (
        "messages",
        "model",
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    )
)
_BOOLEANS = ("logprobs", "parallel_tool_calls", "store")
_STRINGS = ("prompt_cache_key", "safety_identifier", "user")
_OBJECTS = ("logit_bias", "metadata", "prompt_cache_options", "audio", "prediction")
_CHOICES = {
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "verbosity": ("low", "medium", "high"),
    "service_tier": ("auto", "default", "flex", "scale", "priority", "fast"),
    "prompt_cache_retention": ("in_memory", "24h"),
}


def check_fields(request: ChatRequest, model: Model) -> None:
    """Refuse what this model does not take."""
    fields = request.fields
    for name in fields:
        if name not in FIELDS:
            raise invalid(f"Unrecognized request argument supplied: {name}")
    _check_types(fields)
    check_number(fields, "temperature", 0, 2)
    check_number(fields, "top_p", 0, 1)
    check_number(fields, "frequency_penalty", -2, 2)
    check_number(fields, "presence_penalty", -2, 2)
    _check_combinations(request, model)
    _check_caching(request, model)


def _check_types(fields: JsonObject) -> None:
    for names, wanted, kind in ((_BOOLEANS, "a boolean", bool), (_STRINGS, "a string", str), (_OBJECTS, "an object", dict)):
        for name in names:
            value = fields.get(name)
            if value is not None and not isinstance(value, kind):
                raise wrong_type(name, wanted, value)
    for name, choices in _CHOICES.items():
        value = fields.get(name)
        if value is not None and value not in choices:
            raise invalid(f"Invalid value: '{value}'. Supported values are: {', '.join(repr(choice) for choice in choices)}.", name, "invalid_value")
    seed = fields.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise wrong_type("seed", "an integer", seed)


def _check_combinations(request: ChatRequest, model: Model) -> None:
    fields = request.fields
    for name in ("tool_choice", "parallel_tool_calls"):
        if fields.get(name) is not None and not request.tools and fields.get(name) != "none":
            raise invalid(f"'{name}' is only allowed when 'tools' are specified.", name)
    if model.reasons and fields.get("max_tokens") is not None:
        raise invalid(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    if not model.reasons and fields.get("reasoning_effort") is not None:
        raise invalid("Unrecognized request argument supplied: reasoning_effort")
    if not model.stops and fields.get("stop") is not None:
        raise invalid("Unsupported parameter: 'stop' is not supported with this model.", "stop", "unsupported_parameter")
    if model.only_24h and fields.get("prompt_cache_retention") == "in_memory":
        raise invalid("prompt_cache_retention='in_memory' is not supported with this model.", "prompt_cache_retention", "invalid_value")


def _check_caching(request: ChatRequest, model: Model) -> None:
    options = request.fields.get("prompt_cache_options")
    if options is not None:
        if not model.breakpoints:
            raise invalid(
                "Unsupported parameter: 'prompt_cache_options' is not supported with this model.", "prompt_cache_options", "unsupported_parameter"
            )
        if isinstance(options, dict):
            _check_options(options)
    _find_directives(request.fields.get("tools"), "tools", model)
    _find_directives(request.fields.get("messages"), "messages", model)


def _check_options(options: JsonObject) -> None:
    for name, value in options.items():
        if name not in ("mode", "ttl"):
            raise invalid(f"Unknown parameter: 'prompt_cache_options.{name}'.", f"prompt_cache_options.{name}", "unknown_parameter")
        allowed = ("implicit", "explicit") if name == "mode" else ("30m",)
        if value is not None and value not in allowed:
            raise invalid(
                f"Invalid value: '{value}'. Supported values are: {', '.join(repr(item) for item in allowed)}.",
                f"prompt_cache_options.{name}",
                "invalid_value",
            )


def _find_directives(value: JsonValue, at: str, model: Model) -> None:
    """Walk messages and tools: a cache directive is allowed on some content parts of some models, and nowhere else."""
    items = value if isinstance(value, list) else []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        where = f"{at}[{index}]"
        markable = at.endswith(".content") and str(item.get("type")) in MARKABLE_PARTS and model.breakpoints
        if "cache_control" in item:
            raise _unknown(f"{where}.cache_control")
        if "prompt_cache_breakpoint" in item:
            if not markable:
                raise _unknown(f"{where}.prompt_cache_breakpoint")
            _check_mark(item["prompt_cache_breakpoint"], f"{where}.prompt_cache_breakpoint")
        function = item.get("function")
        if isinstance(function, dict):
            for name in ("cache_control", "prompt_cache_breakpoint"):
                if name in function:
                    raise _unknown(f"{where}.function.{name}")
        _find_directives(item.get("content"), f"{where}.content", model)
        _find_directives(item.get("tool_calls"), f"{where}.tool_calls", model)


def _check_mark(mark: JsonValue, at: str) -> None:
    if not isinstance(mark, dict):
        raise wrong_type(at, "an object", mark)
    if mark.get("mode") != "explicit":
        raise invalid(f"Invalid value: '{mark.get('mode')}'. Supported values are: 'explicit'.", f"{at}.mode", "invalid_value")
    if "ttl" in mark and mark["ttl"] not in ("30m", "12h"):
        raise invalid(f"Invalid value: '{mark['ttl']}'. Supported values are: '30m' and '12h'.", f"{at}.ttl", "invalid_value")
    for name in mark:
        if name not in ("mode", "ttl"):
            raise _unknown(f"{at}.{name}")


def _unknown(param: str) -> Exception:
    return invalid(f"Unknown parameter: '{param}'.", param, "unknown_parameter")


def request_ttl(fields: JsonObject) -> str:
    """The lifetime that marks inherit."""
    options = fields.get("prompt_cache_options")
    ttl = options.get("ttl") if isinstance(options, dict) else None
    return ttl if isinstance(ttl, str) else "30m"
