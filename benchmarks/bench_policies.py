"""What do marks cost and save? Policies on traffic against simulated vendors: input cost relative to never marking (1.0), and to a clairvoyant.

python -m benchmarks.bench_policies [--data DIR] [--vendor anthropic|gpt56] [--evict 0.05] [--jitter 0.2] [--seed 1] [--only agents,chat]

"warm" leaves out the first tenth, "second day" is the same traffic once more with other words; "best" is the best fixed policy of each.
"bound" knows the future and has no limits; "reachable" reads nothing where fewer tokens than the vendor's minimum are shared.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.expert_bank import Banked
from benchmarks.policies import FIXED, Ours, fixed, rates_of
from benchmarks.vendor_cache import ANTHROPIC, GPT56, Ask, Bill, Prices, Rules, Vendor, bound
from benchmarks.workloads import GENERATED, next_day, recorded


def held(asks: list[Ask]) -> list[Ask]:
    """Holding of cold starts: a request that shares most of its prompt with one that has no first byte yet waits for it (2 s at most)."""
    out: list[Ask] = []
    open_until: dict[bytes, float] = {}
    for ask in asks:
        wait = 0.0
        ends = ask.ends
        for index in range(len(ask.links) - 1, -1, -1):
            until = open_until.get(ask.links[index], 0.0)
            if until > ask.at_s and ends[index] * 2 > ends[-1]:
                wait = min(until - ask.at_s, 2.0) + 0.001
                break
        if not wait:
            for link in ask.links:
                if open_until.get(link, 0.0) <= ask.at_s - 60:
                    open_until[link] = ask.at_s + ask.first_byte_s
        out.append(dataclasses.replace(ask, at_s=ask.at_s + wait))
    return sorted(out, key=lambda one: one.at_s)


@dataclasses.dataclass(frozen=True)
class Change:
    """Prices from the middle of the traffic on. `known`: the gateway's price table changes with them."""

    prices: Prices
    known: bool = True


def bills(asks: list[Ask], rules: Rules, policy: str, *, seed: int = 0, allowance: int = 500_000, change: Change | None = None) -> list[Bill]:
    """What the vendor bills for every request."""
    vendor = Vendor(rules, seed)
    ours = Ours(rules, gate=policy != "ours-ungated", allowance=allowance, seed=seed) if policy.startswith("ours") else None
    found = []
    for index, ask in enumerate(asks):
        if ours is not None:
            if change is not None and change.known and index == len(asks) // 2:
                ours.rates = rates_of(change.prices)
            found.append(ours.ask(ask, vendor))
        else:
            marks, implicit = fixed(policy, ask, rules)
            found.append(vendor.ask(ask, marks, implicit=implicit))
    return found


def ratio(found: Sequence[Bill], prices: Prices) -> float:
    """Cost, never marking is 1."""
    return sum(bill.cost(prices) for bill in found) / sum(bill.total for bill in found)


def run(asks: list[Ask], rules: Rules, policy: str, *, seed: int = 0, allowance: int = 500_000) -> tuple[float, float]:
    """(cost, cost of never marking)."""
    found = bills(asks, rules, policy, seed=seed, allowance=allowance)
    return sum(bill.cost(rules.prices) for bill in found), sum(bill.total for bill in found)


def figures(asks: list[Ask], rules: Rules, policy: str, *, seed: int, allowance: int, change: Change | None) -> tuple[float, float, float]:
    """Costs: of all, of all but the first tenth, and of a second day of the same kind (other prompts, nothing of the first day in any cache)."""
    found = bills([*asks, *next_day(asks)], rules, policy, seed=seed, allowance=allowance)
    first, second = found[: len(asks)], found[len(asks) :]
    warm, later = ratio(first[len(first) // 10 :], rules.prices), ratio(second, rules.prices)
    if change is None:
        return ratio(first, rules.prices), warm, later
    first = bills(asks, rules, policy, seed=seed, allowance=allowance, change=change)
    half = len(first) // 2
    cost = sum(bill.cost(rules.prices if index < half else change.prices) for index, bill in enumerate(first))
    return cost / sum(bill.total for bill in first), warm, later


def measure(asks: list[Ask], arguments: argparse.Namespace, rules: Rules, change: Change | None) -> dict[str, float]:
    """One row of the table."""
    names = FIXED[arguments.vendor]
    found = {name: figures(asks, rules, name, seed=arguments.seed, allowance=0, change=change) for name in names}
    ours = figures(asks, rules, "ours", seed=arguments.seed, allowance=arguments.allowance, change=change)
    row = {name: each[0] for name, each in found.items()}
    row |= {"ours": ours[0], "warm": ours[1], "best warm": min(each[1] for each in found.values())}
    row |= {"second day": ours[2], "best second": min(each[2] for each in found.values())}
    if arguments.bank:
        for fades_after in (300_000, 3_000_000):
            bank, vendor = Banked(rules, names, fades_after=fades_after, seed=arguments.seed), Vendor(rules, arguments.seed)
            row[f"bank {fades_after // 1000}k"] = ratio([bank.ask(ask, vendor) for ask in asks], rules.prices)
    tokens = sum(sum(ask.tokens) for ask in asks)
    for name, minimum in (("bound", 0), ("reachable", rules.minimum)):
        row[name] = bound(asks, rules, minimum=minimum) / tokens
        saving = 1 - row[name]
        row[f"of {name}"] = (1 - row["ours"]) / saving if saving > 1e-9 else float("nan")
    return row


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--vendor", choices=tuple(FIXED), default="anthropic")
    parser.add_argument("--evict", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--allowance", type=int, default=500_000)
    parser.add_argument("--minimum", type=int, default=1024)
    parser.add_argument("--read", type=float, default=0.1, help="price of a read; plain input is 1")
    parser.add_argument("--reprice", type=float, default=0.0, help="price of a read from the middle of the traffic on")
    parser.add_argument("--stale", action="store_true", help="the gateway does not know of the new price")
    parser.add_argument("--bank", action="store_true", help="a bank of experts, too (benchmarks/expert_bank.py)")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rules = dataclasses.replace(
        ANTHROPIC if arguments.vendor == "anthropic" else GPT56, evict=arguments.evict, jitter=arguments.jitter, minimum=arguments.minimum
    )
    rules = dataclasses.replace(rules, prices=dataclasses.replace(rules.prices, read=arguments.read))
    change = Change(dataclasses.replace(rules.prices, read=arguments.reprice), not arguments.stale) if arguments.reprice else None
    work = {name: make(arguments.seed) for name, make in GENERATED.items()}
    work["fan-out+hold"] = held(work["fan-out"])
    if arguments.data:
        work |= recorded(arguments.data, arguments.seed)
    rows = []
    for name, asks in work.items():
        if arguments.only and name not in arguments.only.split(","):
            continue
        row = measure(asks, arguments, rules, change)
        if not rows:
            print(f"{'workload':24}{'asks':>6} " + "".join(f"{column:>14}" for column in row))
        rows.append({"workload": name, **row})
        print(f"{name:24}{len(asks):>6} " + "".join(f"{figure:>14.3f}" for figure in row.values()), flush=True)
    if arguments.json:
        print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
