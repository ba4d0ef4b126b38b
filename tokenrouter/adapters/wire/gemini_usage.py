"""`usageMetadata` of generateContent as disjoint buckets, and the way back.

`promptTokenCount` counts cached tokens too; what tools that the vendor runs put into the prompt stands beside it
(`toolUsePromptTokenCount`). Reasoning (`thoughtsTokenCount`) stands beside `candidatesTokenCount`, not in it. Counts of zero are left out
on this wire, so that an absent `cachedContentTokenCount` is a miss.
Source: google-genai 3.4 `types.py` (GenerateContentResponseUsageMetadata); https://ai.google.dev/api/generate-content#UsageMetadata.

Figures are somebody else's and may be nonsense: see `openai_chat_usage` for how such are taken.
"""

from tokenrouter.adapters.wire.reading import count, members, served_tier
from tokenrouter.model.usage import NO_USAGE, Usage


def usage_from_wire(value: object) -> Usage:
    """The buckets in a decoded `usageMetadata`. `NO_USAGE` where it is no object or does not tell the prompt's size."""
    usage = members(value)
    prompt = count(usage.get("promptTokenCount"))
    if prompt is None:
        return NO_USAGE
    prompt += count(usage.get("toolUsePromptTokenCount")) or 0
    thoughts = count(usage.get("thoughtsTokenCount")) or 0
    said, total = count(usage.get("candidatesTokenCount")), count(usage.get("totalTokenCount"))
    if said is None:
        said = max(0, total - prompt - thoughts) if total is not None and "candidatesTokenCount" not in usage else 0
    output = said + thoughts
    if thoughts and total == prompt + said and said >= thoughts:
        output = said  # some hosts count reasoning among the candidates; the total tells
    read = min(count(usage.get("cachedContentTokenCount")) or 0, prompt)
    tier = served_tier(usage.get("serviceTier"))
    return Usage(fresh_input=prompt - read, cache_read=read, output=output, reasoning=min(thoughts, output), service_tier=tier)


def usage_to_wire(usage: Usage) -> dict[str, object] | None:
    """The vendor's shape. Tokens written to a cache have no name of their own here and stand in the prompt. None where nothing was reported."""
    if not usage.reported:
        return None
    wire: dict[str, object] = {"promptTokenCount": usage.input_total, "candidatesTokenCount": usage.output - usage.reasoning}
    if usage.cache_reported:
        wire["cachedContentTokenCount"] = usage.cache_read
    if usage.reasoning:
        wire["thoughtsTokenCount"] = usage.reasoning
    return wire | {"totalTokenCount": usage.input_total + usage.output}
