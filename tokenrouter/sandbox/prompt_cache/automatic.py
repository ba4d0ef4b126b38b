"""Automatic prefix caching: nothing to ask for, the longest common start counts, in steps of a fixed size.

Sources: https://developers.openai.com/api/docs/guides/prompt-caching (models before gpt-5.6) and
https://ai.google.dev/gemini-api/docs/caching (implicit caching).
"""

from tokenrouter.sandbox.prompt import Chain
from tokenrouter.sandbox.prompt_cache.entries import Entries


class AutomaticCache:
    """Prefixes in steps. The chain handed in says how long a step is and what it is scoped to."""

    __slots__ = ("_entries",)

    def __init__(self, capacity: int = 400_000) -> None:
        self._entries = Entries(capacity)

    def read(self, prompt: Chain, *, minimum: int, now_ns: int) -> int:
        """Tokens served from the cache, a multiple of the step: 0 below `minimum`, and never the whole prompt."""
        hit = 0
        for point in reversed(prompt.steps):
            if hit == 0 and minimum <= point.tokens < prompt.total and self._entries.alive(point.digest, now_ns):
                hit = point.tokens
            if hit and self._entries.alive(point.digest, now_ns):
                self._entries.touch(point.digest, now_ns)
        return hit

    def write(self, prompt: Chain, *, now_ns: int, ttl_ns: int, longest_ns: int | None = None) -> None:
        """Keep every step of a prompt that was processed."""
        for point in prompt.steps:
            self._entries.put(point.digest, now_ns, ttl_ns, longest_ns)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
