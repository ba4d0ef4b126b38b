"""What the expected-value policy chooses, and that vendors accept it."""

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bench_policies import bills, ratio, run
from benchmarks.policies import FIXED, Ours
from benchmarks.vendor_cache import ANTHROPIC, GPT56, Ask, Rules, Vendor, bound
from benchmarks.workloads import agents, ask, chat, next_day, rag, twice, unique
from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.prefix import CacheScope, Sight
from tokenrouter.model.usage import Usage
from tokenrouter.money import Rates
from tokenrouter.prefixes.expected_value import Decision, decide
from tokenrouter.prefixes.premiums import Allowance, Book
from tokenrouter.prefixes.tree import Tree

SECOND = 1_000_000_000
RATES = Rates(fresh_input=1000, cache_read=100, cache_write=1250, cache_write_1h=2000, output=5000)
SCOPE = CacheScope("acme", "account", "vendor/model")


def captured(asks: list[Ask], rules: Rules) -> float:
    cost, never = run(asks, rules, "ours")
    return (never - cost) / (never - bound(asks, rules))


def test_agents_get_nearly_all_that_a_clairvoyant_would() -> None:
    assert captured(agents(7), ANTHROPIC) >= 0.98
    assert captured(agents(7), GPT56) >= 0.98


def test_one_shots_are_left_alone() -> None:
    for rules in (ANTHROPIC, GPT56):
        cost, never = run(unique(7), rules, "ours")
        assert cost <= never * 1.005


def test_slow_chat_gets_long_lifetimes() -> None:
    cost, never = run(chat(7), ANTHROPIC, "ours")
    assert cost <= never * 0.50


def test_shared_instructions_are_marked_in_front_of_what_differs() -> None:
    cost, never = run(rag(7), ANTHROPIC, "ours")
    assert cost <= never * 0.80


def test_a_return_that_comes_too_late_is_not_paid_for() -> None:
    cost, never = run(twice(7), ANTHROPIC, "ours")
    assert cost <= never * 1.03
    cost, never = run(twice(7), GPT56, "ours")
    assert cost <= never * 0.80, "half an hour is enough"


def toolless_loops(seed: int, sessions: int = 24) -> list[Ask]:
    """Loops of an agent that speaks in text, each with instructions of its own, over and done within minutes."""
    chance = random.Random(seed)
    asks = []
    for number in range(sessions):
        pieces, at = [(f"{seed}.{number}.system", 1700), (f"{seed}.{number}.task", 500)], number * 60.0
        for turn in range(chance.randint(5, 9)):
            asks.append(ask(at, pieces, opening=1))
            pieces = [*pieces, (f"{seed}.{number}.say{turn}", 90), (f"{seed}.{number}.result{turn}", 250)]
            at += 3.0 + chance.lognormvariate(2.2, 0.8)
    return sorted(asks, key=lambda one: one.at_s)


def test_many_returns_within_minutes_are_no_reason_to_pay_for_an_hour() -> None:
    asks = toolless_loops(7)
    found = bills(asks, ANTHROPIC, "ours")
    first = [bill.long for one, bill in zip(asks, found, strict=True) if len(one.links) == 2]
    assert len(first) == 24
    assert not any(first)


CLAUDE_KINDS = [toolless_loops, rag, *[pytest.param(make, marks=pytest.mark.slow) for make in (agents, chat, unique, twice)]]
GPT56_KINDS = [twice, *[pytest.param(make, marks=pytest.mark.slow) for make in (agents, rag, chat, unique, toolless_loops)]]


@pytest.mark.parametrize("make", CLAUDE_KINDS)
def test_on_the_second_day_no_fixed_marking_is_better(make: Callable[[int], list[Ask]]) -> None:
    _second_day(make, ANTHROPIC, FIXED["anthropic"])


@pytest.mark.parametrize("make", GPT56_KINDS)
def test_on_the_second_day_no_fixed_marking_is_better_where_the_vendor_writes_by_itself(make: Callable[[int], list[Ask]]) -> None:
    _second_day(make, GPT56, FIXED["gpt56"])


def _second_day(make: Callable[[int], list[Ask]], rules: Rules, fixed: tuple[str, ...]) -> None:
    asks = make(7)
    both = [*asks, *next_day(asks)]
    ours, *others = [ratio(bills(both, rules, policy)[len(asks) :], rules.prices) for policy in ("ours", *fixed)]
    assert ours <= min(others) * 1.02


def limits_of(style: str, minimum: int, lookback: int, long: bool) -> PromptCacheLimits:
    lifetimes = ((300, 3600) if long else (300,)) if style == "marks" else (1800,)
    return PromptCacheLimits(style=style, max_marks=4, min_tokens=minimum, lookback=lookback, lifetimes_s=lifetimes, on_tools=True)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 1 << 30), st.sampled_from(["marks", "breakpoints"]), st.sampled_from([512, 1024, 4096]), st.sampled_from([3, 20]), st.booleans()
)
def test_decisions_always_fit_the_vendor(seed: int, style: str, minimum: int, lookback: int, long: bool) -> None:
    chance = random.Random(seed)
    limits = limits_of(style, minimum, lookback, long)
    memory, book, allowance = Tree(SCOPE, limits), Book(), Allowance(tokens=10_000_000)
    now, path = SECOND, []
    for _ in range(25):
        if chance.random() < 0.2:
            path = path[: chance.randint(0, len(path))]
        path += [chance.randbytes(16) for _ in range(chance.randint(1, 5))]
        count = len(path)
        markable = tuple([chance.random() < 0.8 for _ in path])
        free = [index for index in range(count) if markable[index]]
        marks = tuple([(index, 0) for index in sorted(chance.sample(free, min(len(free), chance.choice((0, 0, 0, 1, 3)))))])
        opening = min(2, count)
        sight = Sight(
            scope=SCOPE, links=tuple(path), tokens=tuple([chance.randint(0, 4000) for _ in path]), blocks=tuple([chance.randint(1, 9) for _ in path]),
            markable=markable, tools=0, opening=opening, query=count - 1, marks=marks, auto_end=style == "breakpoints" and not marks,
        )  # fmt: skip
        look = memory.look(sight, now)
        decision = decide(look, RATES, book, allowance)
        check(decision, look.limits, sight, look.tokens)
        both = (*sight.marks, *decision.breakpoints)
        usage = some_usage(look.total, [look.tokens_at(mark) for mark, _ in both], chance)
        memory.learn(look, both, usage, now, now + SECOND)
        now += int(chance.expovariate(1 / 60) * SECOND) + 2 * SECOND


def some_usage(total: int, marked: list[int], chance: random.Random) -> Usage:
    last = max(marked, default=0)
    read = chance.choice([0, *marked])
    return Usage(cache_read=read, cache_write=last - read, fresh_input=total - last)


def check(decision: Decision, limits: PromptCacheLimits, sight: Sight, tokens: tuple[int, ...]) -> None:
    places = [boundary for boundary, _ in decision.breakpoints]
    assert len(set(places) | {boundary for boundary, _ in sight.marks}) <= limits.max_marks
    assert places == sorted(set(places))
    assert not set(places) & {boundary for boundary, _ in sight.marks}
    assert all(sight.markable[place] and tokens[place] >= limits.min_tokens for place in places)
    both = sorted([*sight.marks, *decision.breakpoints])
    lifetimes = [lifetime_s or limits.lifetimes_s[0] for _, lifetime_s in both]
    if limits.style == "marks":
        assert lifetimes == sorted(lifetimes, reverse=True), both
    assert set(lifetimes) <= set(limits.lifetimes_s)
    assert decision.mode in ("", "implicit", "explicit", "off")
    assert (decision.mode == "off") <= (not decision.breakpoints)
    assert decision.worst >= 0


def one_sight(tokens: int = 5000, **given_: object) -> Sight:
    shape = {"links": (b"1" * 16, b"2" * 16), "tokens": (tokens, tokens), "blocks": (1, 1), "markable": (True, True), "opening": 1, "query": 1}
    return Sight(scope=SCOPE, tools=0, **{**shape, **given_})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("style", "tokens", "marks", "why", "mode"),
    [
        ("automatic", 5000, (), "vendor", ""),
        ("none", 5000, (), "vendor", ""),
        ("marks", 10, (), "small", ""),
        ("breakpoints", 10, (), "small", "off"),
        ("breakpoints", 5000, (), "nothing", "off"),
        ("marks", 5000, (), "nothing", ""),
    ],
)
def test_why_says_why(style: str, tokens: int, marks: tuple[tuple[int, int], ...], why: str, mode: str) -> None:
    limits = limits_for(style)
    opening = 0 if why == "nothing" else 1  # an opening text is worth a mark at first sight
    look = Tree(SCOPE, limits).look(one_sight(tokens, marks=marks, auto_end=style == "breakpoints", opening=opening, query=opening), SECOND)
    decision = decide(look, RATES)
    assert (decision.why, decision.mode, decision.breakpoints) == (why, mode, ())


def limits_for(style: str) -> PromptCacheLimits:
    return PromptCacheLimits(style=style, max_marks=4, min_tokens=1024, lookback=20, lifetimes_s=(300, 3600))  # type: ignore[arg-type]


def test_a_client_that_sets_breakpoints_keeps_its_mode_and_its_room() -> None:
    memory = Tree(SCOPE, limits_for("breakpoints"))
    for count, why in ((4, "client"), (3, "client"), (1, "nothing")):
        links = tuple([bytes([number]) * 16 for number in range(6)])
        sight = Sight(
            scope=SCOPE, links=links, tokens=(2000,) * 6, blocks=(1,) * 6, markable=(True,) * 6, tools=0, opening=1, query=5,
            marks=tuple([(number, 0) for number in range(count)]), auto_end=True,
        )  # fmt: skip
        decision = decide(memory.look(sight, SECOND), RATES)
        assert decision.mode == ""
        assert len(decision.breakpoints) <= 3 - min(count, 3)
        assert (decision.why == "client") is (why == "client")


def test_without_room_in_the_ledger_what_would_pay_is_gated() -> None:
    asks = [ask(float(turn * 20), [("root", 3000), *[(f"{i}", 800) for i in range(turn)]], opening=1) for turn in range(12)]
    ours, vendor = Ours(ANTHROPIC, allowance=0), Vendor(ANTHROPIC)
    bills = [ours.ask(one, vendor) for one in asks]
    assert sum(bill.short + bill.long for bill in bills) == 0
    free = Ours(ANTHROPIC, allowance=500_000)
    bills = [free.ask(one, Vendor(ANTHROPIC)) for one in asks]
    assert sum(bill.short + bill.long for bill in bills) > 0


def test_free_writes_and_dear_reads() -> None:
    """Where writing costs nothing every place may be marked; where reading saves nothing none is."""
    limits = limits_for("marks")
    for rates, marked in ((rates_of(1000, 100, 1000), True), (rates_of(1000, 1000, 1250), False)):
        look = Tree(SCOPE, limits).look(one_sight(), SECOND)
        assert bool(decide(look, rates).breakpoints) is marked


def rates_of(fresh: int, read: int, write: int) -> Rates:
    return Rates(fresh_input=fresh, cache_read=read, cache_write=write, cache_write_1h=write, output=0)


def fastest(*works: Callable[[], object], rounds: int = 200) -> list[int]:
    """The shortest time of each, taken in turns, so that a busy machine slows all of them."""
    times: list[list[int]] = [[] for _ in works]
    for _ in range(rounds):
        for taken, work in zip(times, works, strict=True):
            begun = time.perf_counter_ns()
            work()
            taken.append(time.perf_counter_ns() - begun)
    return [min(taken) for taken in times]


def arithmetic() -> int:
    """About 55 microseconds on the machine on which a decision may take 200."""
    total = 0
    for number in range(1000):
        total += number * number
    return total


def test_a_decision_about_two_hundred_boundaries_is_cheap() -> None:
    ours, vendor, at_s = Ours(ANTHROPIC), Vendor(ANTHROPIC), 0.0
    pieces = [*[(f"tool{i}", 300) for i in range(12)], ("system", 3000), ("task", 200)]
    while len(pieces) < 200:
        ours.ask(ask(at_s, pieces, tools=12, opening=1), vendor)
        pieces += [(f"say{len(pieces)}", 100), (f"result{len(pieces)}", 300)]
        at_s += 10.0
    sight, now_ns = ours.sight(ask(at_s, pieces, tools=12, opening=1)), int(at_s * SECOND)
    ours.catch_up(at_s)
    assert len(ours.tree.look(sight, now_ns).live) > 20
    decision, yardstick = fastest(lambda: decide(ours.tree.look(sight, now_ns), ours.rates, ours.book, ours.allowance), arithmetic)
    assert decision < 6 * yardstick


def test_a_vendor_that_writes_the_newest_message_by_itself_does_so_where_that_pays() -> None:
    """Its mode does not change within a conversation, and tool results go up without marks."""
    ours = Ours(GPT56)
    pieces = [("tool", 800), ("developer", 900), ("more instructions", 700), ("task", 300)]
    for turn in range(6):
        look = ours.tree.look(ours.sight(ask(turn * 20.0, pieces, tools=1, opening=2)), int(turn * 20e9))
        decision = decide(look, ours.rates, ours.book, ours.allowance)
        assert (decision.mode, [boundary for boundary, _ in decision.breakpoints]) == ("implicit", [1, 2])
        newest = (len(pieces) - 1, GPT56.lifetimes_s[0])
        usage = Usage(cache_write=sum(tokens for _, tokens in pieces))
        ours.tree.learn(look, (*decision.breakpoints, newest), usage, look.now_ns, look.now_ns + SECOND, implicit=True)
        pieces += [(f"call {turn}", 60), (f"result {turn}", 400)]


def test_a_question_alone_is_not_written_by_a_vendor_that_would_by_itself() -> None:
    ours = Ours(GPT56)
    decision = decide(ours.tree.look(ours.sight(ask(0.0, [("question", 4000)])), 0), ours.rates, ours.book, ours.allowance)
    assert (decision.mode, decision.breakpoints) == ("off", ())
