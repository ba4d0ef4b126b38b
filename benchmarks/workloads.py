"""Traffic to judge policies on: seeded generators that ship, and readers of public traces that do not."""

import dataclasses
import gzip
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.vendor_cache import Ask

Pieces = list[tuple[str, int]]


def ask(at_s: float, pieces: Pieces, *, tools: int = 0, opening: int = 0, done_s: float = 4.0) -> Ask:
    """`pieces`: a name that stands for the content, and its tokens."""
    link = b""
    links = []
    for name, tokens in pieces:
        link = hashlib.blake2b(link + f"{name}\x00{tokens}".encode(), digest_size=16).digest()
        links.append(link)
    return Ask(at_s, tuple(links), tuple([tokens for _, tokens in pieces]), tools, opening, done_s=done_s)


def _sessions(chance: random.Random, count: int, every_s: float, session: Callable[[int, float], Iterator[Ask]]) -> list[Ask]:
    asks: list[Ask] = []
    at = 0.0
    for number in range(count):
        asks += session(number, at)
        at += chance.expovariate(1 / every_s)
    return sorted(asks, key=lambda one: one.at_s)


def agents(seed: int, sessions: int = 40, apps: int = 3, turns: tuple[int, int] = (10, 40), every_s: float = 60.0, start_s: float = 0.0) -> list[Ask]:
    """Agent loops of a few apps that share tools and system text between sessions."""
    chance = random.Random(seed)
    shapes = [[(f"{seed}.app{app}.tool{i}", chance.randint(120, 500)) for i in range(chance.randint(8, 16))] for app in range(apps)]
    systems = [(f"{seed}.app{app}.system", chance.randint(900, 4000)) for app in range(apps)]

    def session(number: int, at: float) -> Iterator[Ask]:
        app = chance.randrange(apps)
        pieces = [*shapes[app], systems[app], (f"{seed}.s{number}.task", chance.randint(60, 900))]
        for turn in range(chance.randint(*turns)):
            yield ask(start_s + at, pieces, tools=len(shapes[app]), opening=1)
            pieces.append((f"{seed}.s{number}.say{turn}", chance.randint(60, 400)))
            pieces.append((f"{seed}.s{number}.result{turn}", int(chance.lognormvariate(6.2, 0.9)) + 20))
            at += 3.0 + chance.lognormvariate(2.2, 0.9)

    return _sessions(chance, sessions, every_s, session)


def rag(seed: int, requests: int = 600, apps: int = 60, every_s: float = 4.0) -> list[Ask]:
    """One-shot questions of many apps, a few of them popular: the instructions repeat, documents and questions do not."""
    chance = random.Random(seed)
    sizes = [chance.randint(1500, 6000) for _ in range(apps)]
    weights = [1 / (rank + 1) for rank in range(apps)]
    at, asks = 0.0, []
    for number in range(requests):
        app = chance.choices(range(apps), weights)[0]
        pieces = [(f"{seed}.app{app}", sizes[app]), (f"{seed}.q{number}", chance.randint(600, 2500))]
        asks.append(ask(at, pieces, opening=1))
        at += chance.expovariate(1 / every_s)
    return asks


def chat(seed: int, sessions: int = 60, every_s: float = 90.0) -> list[Ask]:
    """People who think and go away between turns."""
    chance = random.Random(seed)
    system = (f"{seed}.system", 1800)

    def session(number: int, at: float) -> Iterator[Ask]:
        pieces = [system, (f"{seed}.s{number}.hello", chance.randint(40, 600))]
        for turn in range(chance.randint(4, 24)):
            yield ask(at, pieces, opening=1)
            pieces.append((f"{seed}.s{number}.answer{turn}", chance.randint(150, 900)))
            pieces.append((f"{seed}.s{number}.more{turn}", chance.randint(20, 300)))
            at += 10 + chance.lognormvariate(5.6, 1.0)

    return _sessions(chance, sessions, every_s, session)


def unique(seed: int, requests: int = 500, every_s: float = 3.0, start_s: float = 0.0) -> list[Ask]:
    """Nothing ever comes again."""
    chance = random.Random(seed)
    at, asks = start_s, []
    for number in range(requests):
        pieces = [(f"{seed}.{number}.system", chance.randint(500, 3000)), (f"{seed}.{number}.ask", chance.randint(1000, 6000))]
        asks.append(ask(at, pieces, opening=1))
        at += chance.expovariate(1 / every_s)
    return asks


def twice(seed: int, prompts: int = 300, apart_s: float = 330.0) -> list[Ask]:
    """Every prompt exactly twice, just too late for five minutes."""
    chance = random.Random(seed)
    asks, at = [], 0.0
    for number in range(prompts):
        pieces = [(f"{seed}.{number}", chance.randint(2000, 8000))]
        asks += [ask(at, pieces), ask(at + apart_s, pieces)]
        at += chance.expovariate(1 / 5.0)
    return sorted(asks, key=lambda one: one.at_s)


def regimes(seed: int) -> list[Ask]:
    """Twenty minutes of agents, twenty of one-shots, and again."""
    asks: list[Ask] = []
    for part in range(6):
        start = part * 1200.0
        if part % 2 == 0:
            some = agents(seed * 31, sessions=16, apps=2, turns=(10, 25), every_s=40.0)
            renamed = [ask_again(one, f"{part}", start) for one in some if one.at_s < 1200.0]
            asks += renamed
        else:
            asks += unique(seed * 37 + part, requests=400, every_s=3.0, start_s=start)
    return sorted(asks, key=lambda one: one.at_s)


def ask_again(one: Ask, name: str, later_s: float) -> Ask:
    """The same request later, behind the same root: its conversation is another one."""
    root = one.tools + one.opening
    links = one.links[:root] + tuple([hashlib.blake2b(link + name.encode(), digest_size=16).digest() for link in one.links[root:]])
    return dataclasses.replace(one, at_s=one.at_s + later_s, links=links)


def next_day(asks: list[Ask], name: str = "next") -> list[Ask]:
    """The same traffic with other words: nothing of it was ever seen, and everything that was learned about its kind holds."""

    def renamed(one: Ask) -> Ask:
        links = tuple([hashlib.blake2b(link + name.encode(), digest_size=16).digest() for link in one.links])
        return dataclasses.replace(one, at_s=one.at_s + later_s, links=links)

    later_s = asks[-1].at_s + 4000.0
    return [renamed(one) for one in asks]


def fan_out(seed: int, groups: int = 60, size: int = 8, every_s: float = 45.0) -> list[Ask]:
    """Eight questions about one new document, all at once."""
    chance = random.Random(seed)
    asks, at = [], 0.0
    for group in range(groups):
        head = [(f"{seed}.system", 700), (f"{seed}.doc{group}", chance.randint(4000, 12000))]
        asks += [ask(at + chance.random() * 0.5, [*head, (f"{seed}.doc{group}.q{i}", chance.randint(30, 400))], opening=1) for i in range(size)]
        at += chance.expovariate(1 / every_s)
    return sorted(asks, key=lambda one: one.at_s)


GENERATED: dict[str, Callable[[int], list[Ask]]] = {
    "agents": agents,
    "rag": rag,
    "chat": chat,
    "unique": unique,
    "twice": twice,
    "regimes": regimes,
    "fan-out": fan_out,
}


def mooncake(path: Path) -> list[Ask]:
    """A trace of hashed blocks of 512 tokens; the first block is taken for the system text."""
    asks = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            blocks = row["hash_ids"]
            last = row["input_length"] - 512 * (len(blocks) - 1)
            tokens = (512,) * (len(blocks) - 1) + (max(1, last),)
            links = tuple([int(block).to_bytes(16, "big") for block in blocks])
            done = 1.5 + row["output_length"] / 60
            whole = (True,) * (len(blocks) - 1) + (False,)  # the last one is a part of a block, which a longer prompt does not repeat
            asks.append(Ask(row["timestamp"] / 1000, links, tokens, 0, 1 if len(blocks) > 1 else 0, markable=whole, done_s=done))
    return sorted(asks, key=lambda one: one.at_s)


def conversations(path: Path, seed: int, every_s: float = 45.0, most: int = 120) -> list[Ask]:
    """Real tool-agent conversations: each prefix that ends before an assistant turn is a request. Times are drawn."""
    chance = random.Random(seed)
    asks: list[Ask] = []
    start = 0.0
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines][:most]
    chance.shuffle(rows)
    for row in rows:
        tools = [(json.dumps(tool, sort_keys=True), len(json.dumps(tool)) // 4 + 1) for tool in sorted(row.get("tools") or [], key=str)]
        messages = [(json.dumps(message, sort_keys=True), len(json.dumps(message)) // 4 + 4) for message in row["messages"]]
        opening = 1 if row["messages"][0]["role"] == "system" else 0
        at = start
        for index, message in enumerate(row["messages"]):
            if message["role"] == "assistant" and index > opening:
                asks.append(ask(at, [*tools, *messages[:index]], tools=len(tools), opening=opening))
                at += 3.0 + chance.lognormvariate(2.2, 0.8)
        start += chance.expovariate(1 / every_s)
    return sorted(asks, key=lambda one: one.at_s)


def recorded(folder: Path, seed: int) -> dict[str, list[Ask]]:
    """What is there of the public data."""
    found: dict[str, list[Ask]] = {}
    for path in sorted(folder.glob("trace_*.jsonl.gz")):
        found[path.name.removesuffix(".jsonl.gz").removeprefix("trace_")] = mooncake(path)
    for name in ("agent_tau_airline", "agent_sweagent", "agent_toolbench"):
        path = folder / f"{name}.jsonl.gz"
        if path.exists():
            found[name] = conversations(path, seed)
    return found
