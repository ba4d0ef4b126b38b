"""Policies on a simulated vendor: fixed markings, and the gateway's memory, decision and gate as the serving path uses them."""

import heapq
import random
from collections.abc import Callable

from benchmarks.vendor_cache import Ask, Bill, Prices, Rules, Vendor
from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.prefix import CacheScope, Sight
from tokenrouter.model.usage import Usage
from tokenrouter.money import Rates
from tokenrouter.prefixes.expected_value import Decision, decide
from tokenrouter.prefixes.forest import Forest
from tokenrouter.prefixes.looks import Look
from tokenrouter.prefixes.premiums import Allowance, Book, Ticket

_PRICE = 3_000_000_000
Marks = tuple[tuple[int, int], ...]
FIXED = {"anthropic": ("end-5m", "end-1h", "spread-4", "layout"), "gpt56": ("implicit", "implicit+root", "spread-4")}


def fixed(name: str, ask: Ask, rules: Rules) -> tuple[Marks, bool]:
    """Marks of a policy without memory, and whether the vendor writes the end by itself."""
    last = len(ask.links) - 1
    while ask.markable and last > 0 and not ask.markable[last]:
        last -= 1
    short = rules.lifetimes_s[0]
    root = ask.tools + ask.opening - 1
    if name == "end-5m":
        return ((last, short),), False
    if name == "end-1h":
        return ((last, rules.lifetimes_s[-1]),), False
    if name == "spread-4":
        places = sorted({last, last * 3 // 4, last // 2, last // 4})
        return tuple([(place, short) for place in places]), False
    if name == "layout":
        places = sorted({place for place in (last, last - 2, root, ask.tools - 1) if place >= 0})
        return tuple([(place, short) for place in places]), False
    if name == "implicit":
        return (), True
    if name == "implicit+root":
        return ((root, short),) if root >= 0 and root != last else (), True
    return (), False


def rates_of(prices: Prices) -> Rates:
    """A price table as the gateway has it."""
    read, short, long = int(_PRICE * prices.read), int(_PRICE * prices.short), int(_PRICE * prices.long)
    return Rates(fresh_input=_PRICE, cache_read=read, cache_write=short, cache_write_1h=long, output=0)


class Ours:
    """The gateway's memory, policy and gate, as the serving path uses them."""

    def __init__(self, rules: Rules, *, gate: bool = True, noise: float = 0.1, allowance: int = 500_000, seed: int = 0) -> None:
        self.rules = rules
        self.limits = PromptCacheLimits(
            style="marks" if rules.style == "marks" else "breakpoints",
            max_marks=rules.max_marks,
            min_tokens=rules.minimum,
            lookback=rules.lookback,
            lifetimes_s=rules.lifetimes_s,
            on_tools=True,
        )
        self.rates = rates_of(rules.prices)
        self.scope = CacheScope("bench", "account", "vendor/model")
        self.tree = Forest().of(self.scope, self.limits)
        self.book = Book() if gate else None
        self.allowance = Allowance(tokens=allowance)
        self.chance = random.Random(seed)
        self.noise = noise
        self.guesses: dict[bytes, int] = {}
        self.due: list[tuple[float, int, Callable[[], object]]] = []
        self.serial = 0

    def sight(self, ask: Ask) -> Sight:
        guesses = []
        for link, tokens in zip(ask.links, ask.tokens, strict=True):
            if link not in self.guesses:
                self.guesses[link] = max(1, int(tokens * 0.9 * self.chance.uniform(1 - self.noise, 1 + self.noise)))
            guesses.append(self.guesses[link])
        return Sight(
            scope=self.scope,
            links=ask.links,
            tokens=tuple(guesses),
            blocks=ask.blocks or (1,) * len(ask.links),
            markable=ask.markable or (True,) * len(ask.links),
            tools=ask.tools,
            opening=ask.opening,
            query=len(ask.links) - 1,
            auto_end=self.limits.style == "breakpoints",
        )

    def later(self, at_s: float, what: Callable[[], object]) -> None:
        self.serial += 1
        heapq.heappush(self.due, (at_s, self.serial, what))

    def catch_up(self, now_s: float) -> None:
        while self.due and self.due[0][0] <= now_s:
            heapq.heappop(self.due)[2]()

    def ask(self, ask: Ask, vendor: Vendor) -> Bill:
        self.catch_up(ask.at_s)
        now_ns = int(ask.at_s * 1e9)
        look = self.tree.look(self.sight(ask), now_ns)
        decision = decide(look, self.rates, self.book, self.allowance)
        ticket = self.book.open(decision.worst_exact) if self.book else None
        marks = tuple([(boundary, look.lifetime(lifetime_s)) for boundary, lifetime_s in decision.breakpoints])
        implicit = decision.mode == "implicit"
        bill = vendor.ask(ask, marks, implicit=implicit)
        marks = (*marks, (len(ask.links) - 1, self.limits.lifetimes_s[0])) if implicit else marks
        self.tree.note(look, now_ns)
        self.later(
            ask.at_s + ask.first_byte_s, lambda: self.tree.began(look, marks, now_ns, int((ask.at_s + ask.first_byte_s) * 1e9), implicit=implicit)
        )
        self.later(ask.at_s + ask.done_s, lambda: self.learn(look, decision, marks, bill, now_ns, ask, ticket))
        return bill

    def learn(self, look: Look, decision: Decision, marks: Marks, bill: Bill, now_ns: int, ask: Ask, ticket: Ticket | None) -> None:
        usage = Usage(fresh_input=bill.fresh, cache_read=bill.read, cache_write=bill.short, cache_write_1h=bill.long)
        self.tree.learn(look, marks, usage, now_ns, int((ask.at_s + ask.done_s) * 1e9), implicit=decision.mode == "implicit")
        if self.book is not None and ticket is not None:
            self.book.close(ticket, usage, self.rates)
