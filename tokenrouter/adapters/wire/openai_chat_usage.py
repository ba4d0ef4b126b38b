"""The `usage` object of Chat Completions and of those who speak it, as disjoint buckets; and the way back.

`prompt_tokens` counts all input, cached or not. Where reads are told differs (vendor documentation, as of 2026-11):
    prompt_tokens_details.cached_tokens                              OpenAI, OpenRouter, Groq, Mistral, xAI, DashScope
    prompt_cache_hit_tokens, prompt_cache_miss_tokens                DeepSeek
    cached_tokens, num_cached_tokens                                 Moonshot, older Mistral
and writes: prompt_tokens_details.cache_write_tokens (OpenAI, OpenRouter) or .cache_creation_input_tokens (DashScope).

Figures are somebody else's and may be nonsense. A total that is no count makes the usage `reported=False`; a detail that is no count
is absent; a detail larger than its total is clamped to it. So buckets are never negative and never sum to more than the vendor's total.
"""

import msgspec

from tokenrouter.adapters.wire.reading import count, members, served_tier
from tokenrouter.model.usage import NO_USAGE, Usage


def usage_from_wire(value: object, service_tier: object = None) -> Usage:
    """The buckets in a decoded `usage` object. `NO_USAGE` where it is no object or its totals say nothing.

    `service_tier`: what stands beside it in the body.
    """
    usage = members(value)
    details = members(usage.get("prompt_tokens_details"))
    prompt = count(usage.get("prompt_tokens"))
    hit, miss = count(usage.get("prompt_cache_hit_tokens")), count(usage.get("prompt_cache_miss_tokens"))
    if prompt is None and hit is not None and miss is not None:
        prompt = hit + miss
    total = count(usage.get("total_tokens"))
    output = count(usage.get("completion_tokens"))
    if output is None and usage.get("completion_tokens") is None and prompt is not None and total is not None and total >= prompt:
        output = total - prompt
    if prompt is None or output is None:
        return NO_USAGE
    reasoning = count(members(usage.get("completion_tokens_details")).get("reasoning_tokens")) or 0
    if reasoning and total == prompt + output + reasoning:
        output += reasoning  # xAI leaves reasoning out of completion_tokens; its total tells

    told_read = _first(count(details.get("cached_tokens")), hit, count(usage.get("cached_tokens")), count(usage.get("num_cached_tokens")))
    told_write = _first(count(details.get("cache_write_tokens")), count(details.get("cache_creation_input_tokens")))
    read = min(told_read or 0, prompt)
    written = min(told_write or 0, prompt - read)
    # Our own bodies say how long a write lives in Anthropic's words; nobody else's Chat body does.
    long = min(count(members(usage.get("cache_creation")).get("ephemeral_1h_input_tokens")) or 0, written)
    return Usage(
        fresh_input=prompt - read - written,
        cache_read=read,
        cache_write=written - long,
        cache_write_1h=long,
        output=output,
        reasoning=min(reasoning, output),
        service_tier=served_tier(service_tier),
        cache_reported=told_read is not None or told_write is not None,
    )


def _first(*figures: int | None) -> int | None:
    return next((figure for figure in figures if figure is not None), None)


class _UsageOnly(msgspec.Struct):
    usage: object = None
    service_tier: object = None
    x_groq: object = None


_usage_only = msgspec.json.Decoder(_UsageOnly)


def usage_of(body: bytes) -> Usage:
    """Only the usage of a whole answer; all else is skipped, not built. `NO_USAGE` where `body` is no JSON or says nothing."""
    try:
        found = _usage_only.decode(body)
    except (ValueError, RecursionError):
        return NO_USAGE
    return usage_from_wire(found.usage if found.usage is not None else members(found.x_groq).get("usage"), found.service_tier)


def usage_to_wire(usage: Usage) -> dict[str, object] | None:
    """OpenAI's shape, whose totals include the cached part, with Anthropic's names for cached tokens beside it.

    Both names stand there because tools look for one or the other. None where the vendor reported nothing.
    """
    if not usage.reported:
        return None
    wire: dict[str, object] = {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output,
        "total_tokens": usage.input_total + usage.output,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    if usage.cache_reported:
        written = usage.cache_write + usage.cache_write_1h
        wire["prompt_tokens_details"] = {"cached_tokens": usage.cache_read, "cache_write_tokens": written}
        wire["cache_read_input_tokens"] = usage.cache_read
        wire["cache_creation_input_tokens"] = written
        if usage.cache_write_1h:
            wire["cache_creation"] = {
                "ephemeral_5m_input_tokens": usage.cache_write,
                "ephemeral_1h_input_tokens": usage.cache_write_1h,
            }
    return wire
