"""DeepSeek's disk cache: prefixes are stored as whole units, and only whole units are found again.

A unit ends at the end of a request's input, at the end of its output, at fixed intervals, and where the service notices a prefix that
several requests share. So A+B followed by A+C is a miss, and only a third A+D hits A; appending to a finished turn hits at once.
Hits are counted in steps of 64 tokens. The length of the fixed interval is not published: it is long here, so that nothing rests on it.

Source: https://api-docs.deepseek.com/guides/kv_cache/ and https://api-docs.deepseek.com/news/news0802.
"""

from tokenrouter.sandbox.prompt import Chain
from tokenrouter.sandbox.prompt_cache.entries import Entries

STEP = 64
INTERVAL = 16_384
TTL_NS = 24 * 3600 * 1_000_000_000


class UnitCache:
    """Units of all accounts; chains are fingerprinted in steps of `STEP`."""

    __slots__ = ("_seen", "_units")

    def __init__(self, capacity: int = 100_000) -> None:
        self._units = Entries(capacity)
        self._seen = Entries(capacity * 4)

    def look_up(self, prompt: Chain, now_ns: int) -> int:
        """Tokens served from the cache: the longest stored unit, in whole steps, never the whole prompt."""
        best = 0
        for point in (*prompt.ends, *prompt.steps):
            if point.tokens > best and self._units.alive(point.digest, now_ns):
                self._units.touch(point.digest, now_ns)
                best = point.tokens
        return min(best, prompt.total - 1) // STEP * STEP

    def write_input(self, prompt: Chain, hit: int, now_ns: int) -> None:
        """Store the units of an input."""
        for point in reversed(prompt.steps):
            if point.tokens <= hit:
                break
            if self._seen.alive(point.digest, now_ns):
                self._units.put(point.digest, now_ns, TTL_NS)
                break
        for point in prompt.steps:
            if point.tokens % INTERVAL == 0:
                self._units.put(point.digest, now_ns, TTL_NS)
            self._seen.put(point.digest, now_ns, TTL_NS)
        self._units.put(prompt.ends[-1].digest, now_ns, TTL_NS)

    def write_output(self, prompt_and_answer: Chain, now_ns: int) -> None:
        """Store the unit that ends with an answer."""
        self._units.put(prompt_and_answer.ends[-1].digest, now_ns, TTL_NS)

    def clear(self) -> None:
        """Forget everything."""
        self._units.clear()
        self._seen.clear()
