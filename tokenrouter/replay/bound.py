"""What a clairvoyant would pay for the input: who knows every later request, and may keep every piece of a prompt by itself, for any lifetime.

Pieces are what prompts are made of (tools, messages). The bound is below what any policy can reach: no limit on marks, no search window, entries
readable at once. Prompts below the vendor's minimum are paid in full. Sizes of pieces are estimates, made to sum up to the vendor's count.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import msgspec


class Terms(msgspec.Struct, frozen=True):
    """Nano-USD per million tokens at one request. `writes`: (lifetime in seconds, price of writing), and none where nothing can be kept."""

    fresh: int
    read: int
    writes: tuple[tuple[int, int], ...] = ()


class _State(msgspec.Struct):
    """Of one piece: when it was passed last, and the least that all its passes cost if it is then kept for (nothing, lifetime 1, ...)."""

    last_s: float
    costs: list[float]


class Clairvoyant:
    """Takes requests in the order of time. See the module."""

    __slots__ = ("_paid", "_states")

    def __init__(self) -> None:
        self._states: dict[tuple[str, bytes], _State] = {}
        self._paid: defaultdict[str, float] = defaultdict(float)

    def add(self, model: str, at_s: float, links: Sequence[bytes], tokens: Sequence[float], terms: Terms) -> None:
        """One request. `links`: identity of the prompt up to the end of each piece; `tokens`: of each piece."""
        if not terms.writes:
            self._paid[model] += sum(tokens) * terms.fresh
            return
        for link, weight in zip(links, tokens, strict=True):
            state = self._states.get((model, link))
            if state is None:
                costs = [weight * terms.fresh, *[weight * price for _, price in terms.writes]]
                self._states[model, link] = _State(at_s, costs)
                continue
            best, gap = min(state.costs), at_s - state.last_s
            kept = [held + weight * terms.read if gap <= life else math.inf for (life, _), held in zip(terms.writes, state.costs[1:], strict=True)]
            # What is alive may be read and then left to itself, too; that is never dearer to follow than letting it live on for free.
            written = [best + weight * price for _, price in terms.writes]
            state.costs = [best + weight * terms.fresh, *[min(pair) for pair in zip(kept, written, strict=True)]]
            state.last_s = at_s

    def pay(self, model: str, nano_usd: int) -> None:
        """A request of which nobody knows the pieces: it costs what it cost."""
        self._paid[model] += nano_usd * 1_000_000

    def nano_usd(self) -> dict[str, int]:
        """The bound of each model."""
        found = defaultdict(float, self._paid)
        for (model, _), state in self._states.items():
            found[model] += min(state.costs)
        return {model: round(nano / 1_000_000) for model, nano in found.items()}
