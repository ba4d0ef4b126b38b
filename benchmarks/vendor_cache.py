"""Simulated vendors' prompt caches on the boundaries of a request, apart from the gateway's own memory and apart from its sandbox.

Three kinds: marks (Claude: written at marks, found by looking back over blocks), breakpoints (gpt-5.6 and later: found right at marks only;
in implicit mode the newest end is written and recent ends are found), automatic (anything goes, free of charge). Entries can be read from
the writer's first byte on; a read prolongs them for free; a mark inside what was read makes no entry. Early eviction and jitter of lifetimes
are drawn per entry. `bound` is what a clairvoyant would pay who marks every piece by itself.
"""

import random
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True)
class Prices:
    """Multiples of plain input."""

    read: float = 0.1
    short: float = 1.25
    long: float = 2.0


@dataclass(frozen=True)
class Rules:
    style: str = "marks"
    minimum: int = 1024
    lookback: int = 20
    lifetimes_s: tuple[int, ...] = (300, 3600)
    prices: Prices = Prices()
    max_marks: int = 4
    evict: float = 0.0
    jitter: float = 0.0


ANTHROPIC = Rules()
GPT56 = Rules(style="breakpoints", lookback=0, lifetimes_s=(1800,))


@dataclass(frozen=True)
class Ask:
    """One request. `tokens` are the vendor's own counts per piece; times in seconds."""

    at_s: float
    links: tuple[bytes, ...]
    tokens: tuple[int, ...]
    tools: int = 0
    opening: int = 0
    blocks: tuple[int, ...] = ()
    markable: tuple[bool, ...] = ()
    first_byte_s: float = 1.5
    done_s: float = 4.0

    @property
    def ends(self) -> tuple[int, ...]:
        total, sums = 0, []
        for count in self.tokens:
            total += count
            sums.append(total)
        return tuple(sums)


@dataclass
class Bill:
    fresh: int = 0
    read: int = 0
    short: int = 0
    long: int = 0

    def cost(self, prices: Prices) -> float:
        return self.fresh + self.read * prices.read + self.short * prices.short + self.long * prices.long

    @property
    def total(self) -> int:
        return self.fresh + self.read + self.short + self.long


@dataclass
class Vendor:
    rules: Rules
    seed: int = 0
    entries: dict[bytes, list[float]] = field(default_factory=dict)
    """Link to [readable from, dies, lifetime drawn]."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def ask(self, ask: Ask, marks: tuple[tuple[int, int], ...], *, implicit: bool = False) -> Bill:
        """`marks`: (boundary, lifetime in seconds), ascending."""
        rules, ends, now = self.rules, ask.ends, ask.at_s
        last = len(ends) - 1
        assert len(marks) + implicit <= rules.max_marks, marks
        assert all(a[0] < b[0] and a[1] >= b[1] for a, b in pairwise(marks)), f"order of {marks}"
        wanted = dict(marks)
        if implicit:
            wanted.setdefault(last, rules.lifetimes_s[0])
        places = [(mark, life) for mark, life in sorted(wanted.items()) if ends[mark] >= rules.minimum]
        blocks = [0]
        for count in ask.blocks or (1,) * len(ends):
            blocks.append(blocks[-1] + count)
        deepest = -1
        for mark, _ in places:
            for index in range(mark, -1, -1):
                if (rules.style == "marks" and blocks[mark + 1] - blocks[index + 1] >= rules.lookback) or (rules.style != "marks" and index < mark):
                    break
                if self.hit(ask.links[index], now):
                    deepest = max(deepest, index)
                    break
        if implicit:
            for index in range(last, max(last - 40, -1), -1):
                if ends[index] >= rules.minimum and self.hit(ask.links[index], now):
                    deepest = max(deepest, index)
                    break
        bill = Bill(read=ends[deepest] if deepest >= 0 else 0)
        done = bill.read
        for mark, life in places:
            if ends[mark] > done:
                if life == rules.lifetimes_s[0]:
                    bill.short += ends[mark] - done
                else:
                    bill.long += ends[mark] - done
                done = ends[mark]
                self.put(ask.links[mark], now, now + ask.first_byte_s, life)
        bill.fresh = ends[-1] - done
        return bill

    def hit(self, link: bytes, now: float) -> bool:
        entry = self.entries.get(link)
        if entry is None or not entry[0] <= now < entry[1]:
            return False
        entry[1] = max(entry[1], now + entry[2])
        return True

    def put(self, link: bytes, now: float, readable: float, life: float) -> None:
        rules = self.rules
        if rules.jitter:
            life *= self.chance.uniform(1 - rules.jitter, 1 + rules.jitter)
        if rules.evict and self.chance.random() < rules.evict:
            life = self.chance.uniform(0, life)
        old = self.entries.get(link)
        if old is not None and old[1] > now:
            old[1], old[2] = max(old[1], now + life), max(old[2], life)
            return
        self.entries[link] = [readable, now + life, life]


def bound(asks: list[Ask], rules: Rules, *, minimum: int = 0) -> float:
    """Cost of a clairvoyant who treats every piece by itself, at any lifetime and without limits.

    minimum  where it is not 0, requests that share fewer tokens than this with all earlier ones read nothing, as at a vendor that makes no
             shorter entries (what they do not read still lives on, so this is a bound, too)
    """
    prices = rules.prices
    options = [(rules.lifetimes_s[0], prices.short)] + ([(rules.lifetimes_s[1], prices.long)] if len(rules.lifetimes_s) > 1 else [])
    states: dict[bytes, tuple[float, list[float]]] = {}
    weight: dict[bytes, int] = {}
    final = 0.0
    for ask in asks:
        shared = sum(tokens for link, tokens in zip(ask.links, ask.tokens, strict=True) if link in states)
        again = prices.read if shared >= minimum else 1.0
        for link, tokens in zip(ask.links, ask.tokens, strict=True):
            weight[link] = tokens
            before = states.get(link)
            if before is None:
                states[link] = (ask.at_s, [1.0, *[price for _, price in options]])
                continue
            last, costs = before
            best = min(costs)
            fresh = [best + 1.0]
            for index, (life, price) in enumerate(options):
                alive = costs[index + 1] + again if ask.at_s - last <= life else float("inf")
                fresh.append(min(best + price, alive))
            states[link] = (ask.at_s, fresh)
    for link, (_, costs) in states.items():
        final += min(costs) * weight[link]
    return final
