"""The deployment's own budgets: exact in one process, within the bounds that are stated over leased slices."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.clock import ManualClock
from tokenrouter.errors import BudgetExhausted, GatewayError, Unavailable
from tokenrouter.model.admission import Worst
from tokenrouter.model.period import Span
from tokenrouter.model.shares import BudgetLook, Slice
from tokenrouter.money import parse_usd
from tokenrouter.quota.budgets import BudgetHold, Budgets
from tokenrouter.quota.shares import ProcessShares

MONTH_ENDS_S = int(datetime(2023, 12, 1, tzinfo=UTC).timestamp())
NOBODY = ManualClock()


def usd(text: str) -> int:
    return parse_usd(text)


def worst(dollars: str = "0", tokens: int = 0, *, sandbox: bool = False) -> Worst:
    return Worst(usd(dollars), tokens, sandbox)


def held(budgets: Budgets, asked: Worst) -> BudgetHold:
    found = budgets.hold(asked)
    assert found is not None
    return found


async def refused(budgets: Budgets, asked: Worst) -> GatewayError:
    with pytest.raises((BudgetExhausted, Unavailable)) as error:
        await budgets.enter(asked)
    return error.value


def until_the_end(clock: ManualClock) -> int:
    return MONTH_ENDS_S - clock.time_ns() // 1_000_000_000


# -- one process -----------------------------------------------------------------------------------------------------------------------


async def test_without_budgets_everything_passes():
    budgets = Budgets(NOBODY)
    budgets.settle(held(budgets, worst("9000000", 10**15)), 10**15, 10**15)
    held(budgets, worst("9000000", 10**15))
    assert budgets.used() == {}


async def test_a_budget_covers_what_is_spent_and_held_and_not_one_nano_more():
    budgets = Budgets(NOBODY, usd=usd("5"))
    holds = [held(budgets, worst("0.1")) for _ in range(50)]
    assert budgets.hold(Worst(1, 0, sandbox=False)) is None
    budgets.settle(holds[0], usd("0.04"), 0)
    assert budgets.hold(worst("0.060000001")) is None
    held(budgets, worst("0.06"))
    assert budgets.used() == {("usd",): 0.008}


async def test_both_budgets_are_held_or_none():
    budgets = Budgets(NOBODY, usd=usd("1"), tokens=100)
    for _ in range(20):
        assert budgets.hold(worst("0.5", 101)) is None
        assert budgets.hold(worst("1.5", 100)) is None
    held(budgets, worst("1", 100))
    assert "GLOBAL_MONTHLY_USD_BUDGET" in (await refused(budgets, worst("0.5", 0))).message
    assert "GLOBAL_MONTHLY_TOKEN_BUDGET" in (await refused(budgets, worst("0", 1))).message


async def test_settling_twice_books_once_and_more_than_was_held_is_booked():
    budgets = Budgets(NOBODY, usd=usd("1"))
    hold = held(budgets, worst("0.5"))
    budgets.settle(hold, usd("0.9"), 0)
    budgets.settle(hold, usd("0.9"), 0)
    assert budgets.hold(worst("0.100000001")) is None
    budgets.settle(held(budgets, worst("0.1")), usd("7"), 0)
    assert budgets.hold(Worst(1, 0, sandbox=False)) is None
    assert budgets.used() == {("usd",): 7.9}


async def test_a_call_that_was_never_made_costs_nothing():
    budgets = Budgets(NOBODY, usd=usd("1"), tokens=5)
    budgets.settle(held(budgets, worst("1", 5)), 0, 0)
    held(budgets, worst("1", 5))


async def test_a_hold_that_grows_leaves_less_for_the_next_one():
    budgets = Budgets(NOBODY, usd=usd("1"), tokens=100)
    hold = held(budgets, worst("0.2", 10))
    budgets.grow(hold, usd("0.7"), 5)
    assert budgets.hold(worst("0.300000001")) is None
    budgets.grow(hold, usd("0.5"), 95)
    assert budgets.hold(worst("0", 6)) is None
    held(budgets, worst("0.3", 5))
    budgets.settle(hold, usd("0.6"), 20)
    budgets.grow(hold, usd("1"), 100)
    held(budgets, worst("0.1", 75))
    assert budgets.hold(Worst(1, 0, sandbox=False)) is None
    assert budgets.hold(Worst(0, 1, sandbox=False)) is None


async def test_a_month_ends_at_midnight_in_utc_and_a_call_belongs_to_where_it_was_let_in():
    clock = ManualClock()
    budgets = Budgets(clock, usd=usd("1"))
    late = held(budgets, worst("1"))
    clock.advance(until_the_end(clock) - 0.001)
    assert budgets.hold(worst("1")) is None
    clock.advance(0.001)
    hold = held(budgets, worst("0.6"))
    budgets.settle(late, usd("1"), 0)
    budgets.settle(hold, usd("0.5"), 0)
    held(budgets, worst("0.5"))
    assert budgets.hold(Worst(1, 0, sandbox=False)) is None


async def test_books_begin_where_the_ledger_stands_and_the_sandbox_has_its_own():
    asked = []

    def seed(month: Span, sandbox: bool) -> tuple[int, int]:
        asked.append((month.name, sandbox))
        return (0, 0) if sandbox else (usd("4"), 90)

    budgets = Budgets(NOBODY, usd=usd("5"), tokens=100, seed=seed)
    assert budgets.hold(worst("1.000000001", 10)) is None
    held(budgets, worst("1", 10))
    held(budgets, worst("5", 100, sandbox=True))
    assert asked == [("2023-11", False), ("2023-11", True)]


async def test_a_refusal_names_the_budget_but_no_amounts_and_says_truly_when_to_come_again():
    clock = ManualClock()
    budgets = Budgets(clock, usd=usd("5"))
    budgets.settle(held(budgets, worst("4")), usd("4"), 0)
    error = await refused(budgets, worst("1.5"))
    assert (type(error), error.status, error.code) == (BudgetExhausted, 402, "budget_exceeded")
    assert error.message == "the gateway's budget for this month (GLOBAL_MONTHLY_USD_BUDGET) does not cover this request any more"
    assert dict(error.headers) == {
        "retry-after": str(until_the_end(clock)),
        "retry-after-ms": str(until_the_end(clock) * 1000),
        "x-should-retry": "false",
    }
    held(budgets, worst("0.7"))
    soon = await refused(budgets, worst("0.9"))
    assert "held by calls under way" in soon.message
    assert dict(soon.headers) == {"retry-after": "1", "retry-after-ms": "1000", "x-should-retry": "true"}
    never = await refused(budgets, worst("5.1"))
    assert never.headers == (("x-should-retry", "false"),)
    assert not any(digit.isdigit() for each in (error, soon, never) for digit in each.message)


# -- several processes -----------------------------------------------------------------------------------------------------------------


class Link:
    """The way to the shared books: it takes its turns, and may break before or after the other end has heard."""

    def __init__(self) -> None:
        self.books, self.turns, self.breaks, self.exchanges = ProcessShares(NOBODY), 0, "", 0

    async def take_slice(self, name: str, budget: int, worker: str, spent: int, wanted: int, ttl_ms: int) -> Slice:
        breaks, turns = self.breaks, self.turns
        self.exchanges += 1
        for _ in range(turns):
            await asyncio.sleep(0)
        if breaks == "before":
            raise Unavailable("no connection")
        found = await self.books.take_slice(name, budget, worker, spent, wanted, ttl_ms)
        for _ in range(turns):
            await asyncio.sleep(0)
        if breaks == "after":
            raise Unavailable("no reply")
        return found

    async def seed_slice(self, name: str, spent: int, presumed: int, ends_ms: int = 0) -> bool:
        assert ends_ms == MONTH_ENDS_S * 1000 or name.endswith("12")
        return await self.books.seed_slice(name, spent, presumed, ends_ms)

    async def stands(self, name: str, limit: int) -> tuple[int, int]:
        """Spent by all workers, and left to lease."""
        found = await self.books.take_slice(name, limit, "nobody", 0, 0, 1)
        return found.spent, limit - found.spent - found.presumed - found.others


def workers(count: int, link: Link, clock: ManualClock = NOBODY, **more) -> list[Budgets]:
    return [Budgets(clock, leaser=link, worker=f"w{number}", **more) for number in range(count)]


async def entered(budgets: Budgets, asked: Worst) -> list[BudgetHold]:
    """Hold until somebody is refused."""
    holds = []
    while True:
        try:
            holds.append(await budgets.enter(asked))
        except BudgetExhausted:
            return holds


async def test_a_thousand_racers_at_several_workers_are_let_in_as_long_as_the_budget_lasts():
    link = Link()
    link.turns = 2
    several = workers(4, link, usd=usd("5"))
    found = await asyncio.gather(*[several[number % 4].enter(worst("0.1")) for number in range(1000)], return_exceptions=True)
    assert sum(isinstance(each, BudgetHold) for each in found) == 50
    assert {type(each) for each in found} == {BudgetHold, BudgetExhausted}


async def test_most_calls_ask_nobody():
    link = Link()
    (budgets,) = workers(1, link, usd=usd("100"))
    for _ in range(1000):
        hold = budgets.hold(worst("0.001")) or await budgets.enter(worst("0.001"))
        budgets.settle(hold, usd("0.001"), 0)
    assert link.exchanges <= 4
    await budgets.tick()
    assert (await link.stands("usd:2023-11", usd("100")))[0] == usd("1")


async def test_a_slice_is_a_hundredth_of_what_nobody_has_and_at_most_a_dollar_or_a_million_tokens():
    for limit, tokens, slice_usd, slice_tokens in ((usd("50"), 10**6, usd("0.5"), 10**4), (usd("900"), 10**10, usd("1"), 10**6)):
        link = Link()
        (budgets,) = workers(1, link, usd=limit, tokens=tokens)
        held(budgets, Worst(0, 0, sandbox=False))
        await budgets.tick()
        assert (await link.stands("usd:2023-11", limit))[1] == limit - slice_usd
        assert (await link.stands("tokens:2023-11", tokens))[1] == tokens - slice_tokens


async def test_what_is_refused_while_others_have_it_in_hand_is_bounded():
    link, limit = Link(), usd("40")
    several = workers(4, link, usd=limit)
    for budgets in several:
        budgets.settle(await budgets.enter(worst("0.01")), 0, 0)
        await budgets.tick()
    holds = await entered(several[0], worst("0.01"))
    assert usd("40") - 3 * usd("0.4") <= len(holds) * usd("0.01") < usd("40")
    for _ in range(3):
        for budgets in several:
            await budgets.tick()
    holds += await entered(several[0], worst("0.01"))
    assert len(holds) * usd("0.01") >= usd("40") - 3 * usd("0.01")


async def test_a_call_that_is_larger_than_a_slice_is_let_in_if_as_much_is_left():
    link = Link()
    one, two = workers(2, link, usd=usd("10"))
    await one.enter(worst("9.5"))
    assert isinstance(await refused(two, worst("0.6")), BudgetExhausted)
    await two.enter(worst("0.3"))


@pytest.mark.parametrize("turns", range(9))
@pytest.mark.parametrize("settles", [False, True])
async def test_what_happens_during_an_exchange_is_not_lost_and_not_lent_twice(turns: int, settles: bool):
    link = Link()
    one, two = workers(2, link, usd=usd("10"))
    holds = await entered(one, worst("0.1"))
    for hold in holds[:50]:
        one.settle(hold, 0, 0)
    link.turns = 3
    ticking = asyncio.create_task(one.tick())
    for _ in range(turns):
        await asyncio.sleep(0)
    more = []
    while (found := one.hold(worst("0.1"))) is not None:
        more.append(found)
    spent = 0
    if settles:
        for hold in holds[50:]:
            one.settle(hold, usd("0.1"), 0)
            spent += usd("0.1")
    await ticking
    while (found := one.hold(worst("0.1"))) is not None:
        more.append(found)
    link.turns = 0
    more += await entered(two, worst("0.1"))
    still = 0 if settles else 50 * usd("0.1")
    assert spent + still + len(more) * usd("0.1") <= usd("10")
    for budgets in (one, two):
        await budgets.aclose()
    assert (await link.stands("usd:2023-11", usd("10")))[0] == spent


@pytest.mark.parametrize("turns", range(9))
async def test_what_is_settled_while_an_old_month_is_told_of_is_told_too(turns: int):
    link, clock = Link(), ManualClock()
    (budgets,) = workers(1, link, clock, usd=usd("10"))
    late = await budgets.enter(worst("2"))
    clock.advance(until_the_end(clock))
    budgets.hold(worst("0"))
    link.turns = 3
    ticking = asyncio.create_task(budgets.tick())
    for _ in range(turns):
        await asyncio.sleep(0)
    budgets.settle(late, usd("2"), 0)
    await ticking
    await budgets.tick()
    assert await link.stands("usd:2023-11", usd("10")) == (usd("2"), usd("8"))


async def test_who_cannot_have_enough_takes_nothing_from_others():
    link = Link()
    one, two, three = workers(3, link, usd=usd("10"))
    one.settle(await one.enter(worst("9")), usd("9"), 0)
    await one.tick()
    await refused(two, worst("5"))
    assert len(await entered(three, worst("0.1"))) >= 9


async def test_what_a_dead_worker_had_in_hand_is_presumed_spent():
    link = Link()
    dead, alive = workers(2, link, usd=usd("10"))
    hold = await dead.enter(worst("1"))
    dead.settle(hold, usd("0.2"), 0)
    await dead.enter(worst("3"))
    await dead.tick()
    left = 1000 - 20 - 300  # spent and held, in cents; a slice is a hundredth of the rest
    assert left - 10 <= len(await entered(alive, worst("0.01"))) < left
    await alive.aclose()


@pytest.mark.parametrize("dies", [False, True])
async def test_what_others_spent_or_took_with_them_comes_back_with_the_month_only(dies: bool):
    link, clock = Link(), ManualClock()
    link.books = ProcessShares(clock)
    other, refused_one = workers(2, link, clock, usd=usd("10"))
    hold = await other.enter(worst("9.5"))
    soon = await refused(refused_one, worst("1"))
    assert dict(soon.headers)["retry-after"] == "1"
    if dies:
        clock.advance(60)
    else:
        other.settle(hold, usd("9.5"), 0)
        await other.tick()
    late = await refused(refused_one, worst("1"))
    assert dict(late.headers)["retry-after"] == str(until_the_end(clock))


async def test_who_cannot_reach_the_others_spends_what_is_in_hand_and_then_nothing():
    link = Link()
    one, two = workers(2, link, usd=usd("100"))
    await one.enter(worst("0.5"))
    await one.tick()
    link.breaks = "before"
    in_hand = 0
    while (hold := one.hold(worst("0.01"))) is not None:
        in_hand += 1
        one.settle(hold, usd("0.01"), 0)
    assert 90 <= in_hand <= 100
    for budgets in (one, two):
        away = await refused(budgets, worst("0.01"))
        assert isinstance(away, Unavailable)
        assert "GLOBAL_MONTHLY_USD_BUDGET" in away.message
    await one.tick()
    link.breaks = ""
    await one.tick()
    assert (await link.stands("usd:2023-11", usd("100")))[0] == in_hand * usd("0.01")
    await one.enter(worst("0.01"))


async def test_whoever_ends_tells_what_was_spent_and_gives_the_rest_back():
    link = Link()
    never = asyncio.Event()
    (budgets,) = workers(1, link, usd=usd("100"), tokens=1000, sleep=lambda _: never.wait())
    budgets.begin()
    budgets.settle(await budgets.enter(worst("0.5", 10)), usd("0.3"), 7)
    await budgets.aclose()
    assert await link.stands("usd:2023-11", usd("100")) == (usd("0.3"), usd("99.7"))
    assert await link.stands("tokens:2023-11", 1000) == (7, 993)


async def test_slices_go_back_when_the_month_ends_and_calls_under_way_are_booked_where_they_began():
    link, clock = Link(), ManualClock()
    (budgets,) = workers(1, link, clock, usd=usd("100"))
    late = await budgets.enter(worst("2"))
    await budgets.tick()
    clock.advance(until_the_end(clock))
    new = await budgets.enter(worst("3"))
    await budgets.tick()
    assert await link.stands("usd:2023-11", usd("100")) == (0, usd("98"))
    budgets.settle(late, usd("1.5"), 0)
    budgets.settle(new, usd("2.5"), 0)
    await budgets.tick()
    assert await link.stands("usd:2023-11", usd("100")) == (usd("1.5"), usd("98.5"))
    assert (await link.stands("usd:2023-12", usd("100")))[0] == usd("2.5")
    exchanges = link.exchanges
    await budgets.tick()
    assert link.exchanges == exchanges + 1  # the month that is over is not asked about any more


async def test_shared_books_that_were_lost_begin_again_at_what_the_ledger_says():
    link, told = Link(), []
    spent = [usd("7")]

    async def base(month: Span, sandbox: bool) -> tuple[int, int]:
        told.append((month.name, sandbox))
        return spent[0], 0

    one, two = workers(2, link, usd=usd("10"), base=base)
    for budgets in (one, two):
        budgets.settle(await budgets.enter(worst("0.5")), usd("0.5"), 0)
        await budgets.tick()
    assert (await link.stands("usd:2023-11", usd("10")))[0] == usd("8")
    hold = await two.enter(worst("0.25"))
    link.books = ProcessShares(NOBODY)
    spent[0] = usd("8")
    await one.tick()
    await two.tick()
    assert (await link.stands("usd:2023-11", usd("10")))[0] == usd("8")
    two.settle(hold, usd("0.25"), 0)
    await two.tick()
    assert (await link.stands("usd:2023-11", usd("10")))[0] == usd("8.25")
    assert told == [("2023-11", False)] * 2


async def test_the_sandboxs_money_has_books_of_its_own():
    link = Link()
    (budgets,) = workers(1, link, usd=usd("1"))
    await budgets.enter(worst("1"))
    await budgets.enter(worst("1", sandbox=True))
    assert await link.stands("susd:2023-11", usd("1")) == (0, 0)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["enter", "enter", "enter", "settle", "settle", "tick", "break", "mend", "cancel"]), st.integers(1, 40)
    )
)


@given(steps=STEPS, limit=st.integers(1, 400), turns=st.integers(0, 3), breaks=st.sampled_from(["before", "after"]))
def test_whatever_happens_no_more_than_the_budget_is_spent_and_held(steps: list, limit: int, turns: int, breaks: str):
    async def run() -> None:
        link = Link()
        link.turns = turns
        several = workers(3, link, tokens=limit)
        tasks: list[list[tuple[asyncio.Task[BudgetHold], int]]] = [[], [], []]
        ticks, settled = [], [0, 0, 0]
        for worker, step, size in steps:
            budgets = several[worker]
            if step == "enter":
                tasks[worker].append((asyncio.create_task(budgets.enter(worst(tokens=size))), size))
            elif step == "settle" and tasks[worker]:
                task, most = tasks[worker].pop(0)
                if task.done() and not task.cancelled() and task.exception() is None:
                    budgets.settle(task.result(), 0, min(size, most))
                    settled[worker] += min(size, most)
                elif not task.done():
                    tasks[worker].append((task, most))
            elif step == "cancel" and tasks[worker]:
                tasks[worker][-1][0].cancel()
            elif step == "tick":
                ticks.append(asyncio.create_task(budgets.tick()))
            elif step in ("break", "mend"):
                link.breaks = breaks if step == "break" else ""
            await asyncio.sleep(0)
            assert sum(settled) + sum(amount for worker in range(3) for amount in open_holds(tasks[worker])) <= limit
        link.breaks = ""
        await asyncio.gather(*ticks)
        await asyncio.gather(*[task for theirs in tasks for task, _ in theirs], return_exceptions=True)
        for worker, budgets in enumerate(several):
            for task, _ in tasks[worker]:
                if not task.cancelled() and task.exception() is None:
                    budgets.settle(task.result(), 0, 0)
            await budgets.aclose()
        if steps:
            await link.books.seed_slice("tokens:2023-11", 0, 0)
            assert await link.stands("tokens:2023-11", limit) == (sum(settled), limit - sum(settled))

    asyncio.run(run())


def open_holds(tasks: list[tuple[asyncio.Task[BudgetHold], int]]) -> list[int]:
    return [most for task, most in tasks if task.done() and not task.cancelled() and task.exception() is None]


# -- for people


async def test_one_process_says_what_is_spent_held_and_left_of_each_budget():
    clock = ManualClock()
    budgets = Budgets(clock, usd=usd("5"), tokens=1000, seed=lambda _, sandbox: (0, 0) if sandbox else (usd("1"), 7))
    hold = held(budgets, worst("0.5", 100))
    ends_ms = MONTH_ENDS_S * 1000
    assert budgets.looks() == (
        BudgetLook("usd", "2023-11", False, usd("5"), usd("1"), usd("0.5"), ends_ms),
        BudgetLook("tokens", "2023-11", False, 1000, 7, 100, ends_ms),
    )
    budgets.settle(hold, usd("0.2"), 50)
    held(budgets, worst("2", 10, sandbox=True))
    assert [(each.sandbox, each.spent, each.leased) for each in budgets.looks()] == [
        *((False, usd("1.2"), 0), (False, 57, 0)),
        *((True, 0, usd("2")), (True, 0, 10)),
    ]
    assert Budgets(clock).looks() == ()


async def test_of_several_workers_each_says_what_all_have_spent_and_leased():
    clock = ManualClock()
    shares = ProcessShares(clock)
    one, other = (Budgets(clock, usd=usd("100"), leaser=shares, worker=name) for name in ("one", "other"))
    assert [(each.spent, each.leased) for each in one.looks()] == [(None, None)], "nobody was asked yet"
    budget = await one.enter(worst("10"))
    one.settle(budget, usd("4"), 0)
    await other.enter(worst("20"))
    for worker in (one, other, one):
        await worker.tick()
    (look,), (same,) = one.looks(), other.looks()
    assert look.spent == same.spent == usd("4")
    assert look.limit - look.spent - look.leased == shares_left(shares, usd("100"))
    assert look.leased >= usd("20")


def shares_left(shares: ProcessShares, limit: int) -> int:
    """What nobody has leased."""
    (budget,) = shares._budgets.values()
    return limit - budget.spent - budget.presumed - sum(at_hand for at_hand, _ in budget.slices.values())
