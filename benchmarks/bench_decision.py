"""What does a decision cost? CPU of look, decision and learning per request, on the traffic of the workloads, each request once.

python -m benchmarks.bench_decision [--data DIR] [--seed 3]

Microseconds where a fixed loop (a thousand multiplications, run between requests) takes 55, so that busy machines can be compared.
"""

import argparse
import time
from pathlib import Path

from benchmarks.policies import Ours
from benchmarks.vendor_cache import ANTHROPIC, GPT56, Ask, Rules, Vendor
from benchmarks.workloads import agents, chat, rag, recorded
from tokenrouter.model.usage import Usage
from tokenrouter.prefixes.expected_value import decide

_YARDSTICK_US = 55.0


def _yardstick() -> int:
    total = 0
    for number in range(1000):
        total += number * number
    return total


def measure(asks: list[Ask], rules: Rules) -> tuple[float, float, float]:
    """Look, decision, and all that is learned of one request."""
    ours, vendor = Ours(rules, seed=1), Vendor(rules, 0)
    clock = time.process_time_ns
    looking = deciding = learning = yardstick = 0
    for ask in asks:
        sight, now_ns, done_ns = ours.sight(ask), int(ask.at_s * 1e9), int((ask.at_s + ask.done_s) * 1e9)
        begun = clock()
        look = ours.tree.look(sight, now_ns)
        seen = clock()
        decision = decide(look, ours.rates, ours.book, ours.allowance)
        decided = clock()
        implicit = decision.mode == "implicit"
        marks = tuple([(boundary, look.lifetime(lifetime_s)) for boundary, lifetime_s in decision.breakpoints])
        bill = vendor.ask(ask, marks, implicit=implicit)
        marks = (*marks, (len(ask.links) - 1, rules.lifetimes_s[0])) if implicit else marks
        usage = Usage(fresh_input=bill.fresh, cache_read=bill.read, cache_write=bill.short, cache_write_1h=bill.long)
        sent = clock()
        ours.tree.note(look, now_ns)
        ours.tree.began(look, marks, now_ns, now_ns + 1, implicit=implicit)
        ours.tree.learn(look, marks, usage, now_ns, done_ns, implicit=implicit)
        learned = clock()
        _yardstick()
        yardstick += clock() - learned
        looking, deciding, learning = looking + seen - begun, deciding + decided - seen, learning + learned - sent
    scale = _YARDSTICK_US / yardstick
    return looking * scale, deciding * scale, learning * scale


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    work = {"agents": agents(arguments.seed), "rag": rag(arguments.seed), "chat": chat(arguments.seed)}
    if arguments.data:
        work |= recorded(arguments.data, arguments.seed)
    print(f"{'workload':24}{'boundaries':>11} " + "".join(f"{name:>10}" for name in ("look", "decide", "both", "learn", "gpt-5.6")))
    for name, asks in work.items():
        look, decision, learning = measure(asks, ANTHROPIC)
        other = sum(measure(asks, GPT56)[:2])
        boundaries = sum(len(ask.links) for ask in asks) / len(asks)
        figures = (look, decision, look + decision, learning, other)
        print(f"{name:24}{boundaries:>11.1f} " + "".join(f"{figure:>10.0f}" for figure in figures), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
