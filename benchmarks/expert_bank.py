"""A bank of experts: fixed markings and ours side by side, each with the bill it would have got; whoever paid least lately decides (`--bank`).

An experiment, not a part of the gateway: docs/decisions/0011 has what came of it. Every expert has a vendor of its own that forgets nothing
early, so its bill is known without asking. Old costs fade by half whenever so many tokens have gone by. The leader changes only when
another one is ahead by a share of what never marking would have cost. Premiums go through the same gate as ours.
"""

import dataclasses
from collections.abc import Sequence

from benchmarks.policies import Marks, Ours, fixed
from benchmarks.vendor_cache import Ask, Bill, Rules, Vendor
from tokenrouter.prefixes.expected_value import Decision, decide
from tokenrouter.prefixes.looks import Look
from tokenrouter.prefixes.premiums import worst_premium

OURS = "ours"


class Banked(Ours):
    """Follows the leader."""

    def __init__(self, rules: Rules, experts: Sequence[str], *, fades_after: int = 3_000_000, margin: float = 0.02, seed: int = 0) -> None:
        """`fades_after`: tokens; `margin`: of the cost of never marking."""
        super().__init__(rules, seed=seed)
        calm = dataclasses.replace(rules, evict=0.0, jitter=0.0)
        self.vendors = {name: Vendor(calm, 0) for name in (OURS, *experts)}
        self.costs = dict.fromkeys(self.vendors, 0.0)
        self.never = 0.0
        self.leader = OURS
        self.fades_after, self.margin = fades_after, margin

    def ask(self, ask: Ask, vendor: Vendor) -> Bill:
        """One request."""
        self.catch_up(ask.at_s)
        now_ns = int(ask.at_s * 1e9)
        look = self.tree.look(self.sight(ask), now_ns)
        decision = decide(look, self.rates, self.book, self.allowance)
        own = tuple([(boundary, look.lifetime(lifetime_s)) for boundary, lifetime_s in decision.breakpoints])
        said = {name: (own, decision.mode == "implicit") if name == OURS else fixed(name, ask, self.rules) for name in self.vendors}
        name, worst = self._choose(ask, look, said, decision)
        for each, shadow in self.vendors.items():
            self.costs[each] += shadow.ask(ask, said[each][0], implicit=said[each][1]).cost(self.rules.prices)
        self.never += sum(ask.tokens)
        if self.never > self.fades_after:
            self.never *= 0.5
            self.costs = {each: cost * 0.5 for each, cost in self.costs.items()}
        marks, implicit = said[name]
        ticket = self.book.open(worst) if self.book else None
        bill = vendor.ask(ask, marks, implicit=implicit)
        sent = tuple([mark for mark in marks if look.tokens_at(mark[0]) >= look.least])
        sent = (*sent, (len(ask.links) - 1, self.limits.lifetimes_s[0])) if implicit else sent
        done = Decision(breakpoints=sent, mode="implicit" if implicit else "")
        begun_s = ask.at_s + ask.first_byte_s
        self.tree.note(look, now_ns)
        self.later(begun_s, lambda: self.tree.began(look, sent, now_ns, int(begun_s * 1e9), implicit=implicit))
        self.later(ask.at_s + ask.done_s, lambda: self.learn(look, done, sent, bill, now_ns, ask, ticket))
        return bill

    def _choose(self, ask: Ask, look: Look, said: dict[str, tuple[Marks, bool]], decision: Decision) -> tuple[str, int]:
        """Who decides, and the worst premium of it, in tokens times rates."""
        best = min(self.costs, key=lambda name: self.costs[name])
        if self.costs[best] < self.costs[self.leader] - self.margin * max(self.never, 1.0):
            self.leader = best
        if self.leader == OURS or self.book is None:
            return OURS, decision.worst_exact
        marks, implicit = said[self.leader]
        stretches = [(look.tokens_at(boundary) * 6 // 5, lifetime_s >= 3600) for boundary, lifetime_s in marks]
        stretches += [(look.total * 6 // 5, False)] * implicit
        worst = worst_premium(stretches, self.rates)
        if worst > self.book.room(self.rates, self.allowance):
            return OURS, decision.worst_exact
        return self.leader, worst
