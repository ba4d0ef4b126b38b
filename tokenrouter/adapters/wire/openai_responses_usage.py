"""The `usage` object of OpenAI's Responses, as disjoint buckets; and the way back.

`input_tokens` counts all input, cached or not. Source: openai-python 3.52 `types/responses/response_usage.py`.
Figures are somebody else's and may be nonsense: they are treated as in `openai_chat_usage`.
"""

from tokenrouter.adapters.wire.reading import count, members, served_tier
from tokenrouter.model.usage import NO_USAGE, Usage


def usage_from_wire(value: object, service_tier: object = None) -> Usage:
    """The buckets in a decoded `usage` object. `NO_USAGE` where it is no object or its totals say nothing.

    `service_tier`: what stands beside it in the response.
    """
    usage = members(value)
    total, output = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if total is None or output is None:
        return NO_USAGE
    details = members(usage.get("input_tokens_details"))
    told_read, told_write = count(details.get("cached_tokens")), count(details.get("cache_write_tokens"))
    read = min(told_read or 0, total)
    written = min(told_write or 0, total - read)
    long = min(count(members(details.get("cache_write_tokens_details")).get("ttl_12h_tokens")) or 0, written)
    reasoning = count(members(usage.get("output_tokens_details")).get("reasoning_tokens")) or 0
    return Usage(
        fresh_input=total - read - written,
        cache_read=read,
        cache_write=written - long,
        cache_write_1h=long,
        output=output,
        reasoning=min(reasoning, output),
        service_tier=served_tier(service_tier),
        cache_reported=told_read is not None or told_write is not None,
    )


def usage_to_wire(usage: Usage) -> dict[str, object] | None:
    """OpenAI's shape, whose types demand every detail: what the vendor did not tell is 0 there. None where nothing was reported."""
    if not usage.reported:
        return None
    details: dict[str, object] = {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write + usage.cache_write_1h}
    if usage.cache_write_1h:
        details["cache_write_tokens_details"] = {"ttl_30m_tokens": usage.cache_write, "ttl_12h_tokens": usage.cache_write_1h}
    return {
        "input_tokens": usage.input_total,
        "input_tokens_details": details,
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input_total + usage.output,
    }
