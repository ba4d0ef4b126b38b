"""What providers bill: tokens in disjoint buckets, so that nothing can be counted twice, and uses of their tools."""

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer is billed for: tokens per bucket. Buckets are disjoint; their sum is what the model processed.

    fresh_input     input at the plain price
    cache_read      input served from the provider's prompt cache
    cache_write     input written to the prompt cache at the provider's short lifetime (5 or 30 minutes, or unnamed)
    cache_write_1h  input written at the long lifetime (1 hour, or 12)
    output          everything generated, reasoning included
    reasoning       how much of `output` was reasoning: a remark, not a bucket
    fees            nano-USD that the provider bills beside tokens, by its own count: uses of tools that it ran
    service_tier    tier of service that the provider says it answered in, in its own word; "" where it did not say
    reported        False where the provider said nothing; zero tokens reported is True
    cache_reported  False where the provider does not tell reads from plain input: then 0 is "not known", not "missed"
    """

    fresh_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    fees: int = 0
    service_tier: str = ""
    reported: bool = True
    cache_reported: bool = True

    @property
    def input_total(self) -> int:
        """All input tokens, cached or not."""
        return self.fresh_input + self.cache_read + self.cache_write + self.cache_write_1h


NO_USAGE = Usage(reported=False, cache_reported=False)
