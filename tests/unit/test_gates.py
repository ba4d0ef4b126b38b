"""How many may be under way at a time: in one process exactly, in several by leased slots within the bounds that are stated."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.clock import ManualClock
from tokenrouter.errors import ConfigError, RateLimited, Unavailable
from tokenrouter.model.shares import Slots
from tokenrouter.quota.gates import LEASE_MS, GateLimits, Gates, Pass, Way
from tokenrouter.quota.shares import ProcessShares


class Timers:
    """Timers that go off when a test says so."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], object]]] = []

    def later(self, seconds: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        self.set.append((seconds, call))
        return asyncio.get_running_loop().call_later(3600, lambda: None)

    def go_off(self) -> None:
        for _, call in self.set:
            call()


class Link:
    """The way to where slots are leased: it takes its turns, and may break before or after the other end has heard."""

    def __init__(self, slots: ProcessShares) -> None:
        self.slots, self.turns, self.breaks, self.exchanges = slots, 0, "", 0

    async def take_slots(self, name: str, limit: int, worker: str, wanted: int, ttl_ms: int) -> Slots:
        turns, breaks = self.turns, self.breaks
        self.exchanges += 1
        for _ in range(turns):
            await asyncio.sleep(0)
        if breaks == "before":
            raise Unavailable("no connection")
        granted = await self.slots.take_slots(name, limit, worker, wanted, ttl_ms)
        for _ in range(turns):
            await asyncio.sleep(0)
        if breaks == "after":
            raise Unavailable("no reply")
        return granted


def used(*gates: Gates, name: str = "global") -> int:
    return sum(int(each.under_way()[(name,)]) for each in gates)


def passed(gates: Gates, way: Way) -> Pass:
    found = gates.try_enter(way)
    assert found is not None
    return found


async def soon(what: asyncio.Task[Pass]) -> None:
    for _ in range(8):
        await asyncio.sleep(0)
    assert what.done()


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


# -- one process -----------------------------------------------------------------------------------------------------------------------


async def test_without_limits_everybody_passes_and_nothing_is_counted():
    gates = Gates(GateLimits())
    for way in (gates.caller(stream=True), gates.caller(stream=False), gates.call("openai")):
        for _ in range(100):
            passed(gates, way).leave()
    assert gates.under_way() == {}


async def test_a_gate_lets_in_its_limit_and_the_next_one_when_somebody_leaves():
    gates = Gates(GateLimits(total=3))
    inside = [passed(gates, gates.caller(stream=bool(number % 2))) for number in range(3)]
    assert gates.try_enter(gates.caller(stream=True)) is None
    with pytest.raises(RateLimited) as refused:
        await gates.enter(gates.caller(stream=False))
    assert "as many requests are under way as GLOBAL_CONCURRENT_LIMIT lets in" in refused.value.message
    assert "3" not in refused.value.message
    assert dict(refused.value.headers) == {"retry-after": "1", "retry-after-ms": "1000"}
    inside[0].leave()
    inside[0].leave()
    passed(gates, gates.caller(stream=True))
    assert gates.try_enter(gates.caller(stream=True)) is None
    assert used(gates) == 3


async def test_who_finds_one_gate_shut_has_taken_nothing_of_the_others():
    gates = Gates(GateLimits(total=5, streams=1, wholes=2))
    passed(gates, gates.caller(stream=True))
    for _ in range(10):
        assert gates.try_enter(gates.caller(stream=True)) is None
        with pytest.raises(RateLimited, match=r"as many streams .* STREAM_CONCURRENT_LIMIT"):
            await gates.enter(gates.caller(stream=True))
    assert used(gates) == 1
    passed(gates, gates.caller(stream=False))
    passed(gates, gates.caller(stream=False))
    with pytest.raises(RateLimited, match="NON_STREAM_CONCURRENT_LIMIT"):
        await gates.enter(gates.caller(stream=False))
    assert gates.under_way() == {("global",): 3.0, ("stream",): 1.0, ("non_stream",): 2.0}


async def test_each_vendor_has_a_gate_of_its_own():
    gates = Gates(GateLimits(providers={"": 2, "openai": 1, "ollama": 0}))
    passed(gates, gates.call("openai"))
    assert gates.try_enter(gates.call("openai")) is None
    for vendor in ("anthropic", "google"):
        passed(gates, gates.call(vendor))
        last = passed(gates, gates.call(vendor))
        assert gates.try_enter(gates.call(vendor)) is None
        last.leave()
        passed(gates, gates.call(vendor))
    assert all(gates.try_enter(gates.call("ollama")) for _ in range(50))
    with pytest.raises(RateLimited, match="as many calls to anthropic are under way as PROVIDER_CONCURRENT_LIMIT"):
        await gates.enter(gates.call("anthropic"))


def test_a_limit_for_a_vendor_that_nobody_knows_is_a_mistake():
    limits = GateLimits(providers={"": 1, "opnai": 2})
    with pytest.raises(ConfigError, match="'opnai'"):
        limits.check({"openai"})
    limits.check({"opnai"})


# -- the queue -------------------------------------------------------------------------------------------------------------------------


def queueing(limits: GateLimits, size: int = 10, wait_s: float = 5) -> tuple[Gates, Timers]:
    timers = Timers()
    return Gates(limits, queue=size, wait_s=wait_s, later=timers.later), timers


async def lined_up(gates: Gates, *ways: Way) -> list[asyncio.Task[Pass]]:
    tasks = [asyncio.create_task(gates.enter(way)) for way in ways]
    await settle()
    return tasks


async def test_who_waits_goes_in_in_the_order_of_arrival():
    gates, timers = queueing(GateLimits(total=1))
    way = gates.caller(stream=True)
    inside = passed(gates, way)
    tasks = await lined_up(gates, *[way] * 5)
    assert gates.queued == 5
    assert {seconds for seconds, _ in timers.set} == {5}
    for number, task in enumerate(tasks):
        assert [each.done() for each in tasks] == [True] * number + [False] * (5 - number)
        inside.leave()
        assert gates.try_enter(way) is None, "a newcomer overtook the queue"
        await soon(task)
        inside = task.result()
    assert (gates.queued, used(gates)) == (0, 1)


async def test_a_full_queue_refuses():
    gates, _ = queueing(GateLimits(total=1), size=2)
    way = gates.caller(stream=False)
    inside = passed(gates, way)
    tasks = await lined_up(gates, way, way)
    with pytest.raises(RateLimited, match="GLOBAL"):
        await gates.enter(way)
    inside.leave()
    await soon(tasks[0])
    more = await lined_up(gates, way)
    for task in (*tasks, *more):
        task.cancel()
    await asyncio.gather(*tasks, *more, return_exceptions=True)


async def test_who_waited_long_enough_is_refused_and_leaves_no_trace():
    gates, timers = queueing(GateLimits(total=2, streams=1))
    passed(gates, gates.caller(stream=True))
    tasks = await lined_up(gates, *[gates.caller(stream=True)] * 3)
    timers.go_off()
    for task in tasks:
        with pytest.raises(RateLimited, match="STREAM_CONCURRENT_LIMIT"):
            await task
    assert (gates.queued, used(gates), used(gates, name="stream")) == (0, 1, 1)


async def test_leaving_the_queue_loses_no_place():
    gates, timers = queueing(GateLimits(total=1))
    way = gates.caller(stream=True)
    inside = passed(gates, way)
    first, second, third = await lined_up(gates, way, way, way)
    first.cancel()
    await settle()
    assert gates.queued == 2
    inside.leave()  # the second is let in, and gone before it knows
    second.cancel()
    await settle()
    assert second.cancelled()
    assert third.done()
    timers.go_off()
    third.result().leave()
    assert (gates.queued, used(gates)) == (0, 0)
    passed(gates, way)


async def test_nobody_waits_behind_someone_who_needs_another_gate():
    gates, _ = queueing(GateLimits(total=3, streams=1, wholes=2))
    streaming = passed(gates, gates.caller(stream=True))
    (waiting,) = await lined_up(gates, gates.caller(stream=True))
    whole = passed(gates, gates.caller(stream=False))
    passed(gates, gates.caller(stream=False))
    (other,) = await lined_up(gates, gates.caller(stream=False))
    whole.leave()
    await soon(other)
    assert not waiting.done()
    streaming.leave()
    await soon(waiting)


async def test_of_several_who_could_go_in_the_one_who_came_first_does():
    gates, _ = queueing(GateLimits(total=1, streams=1, wholes=1))
    inside = passed(gates, gates.caller(stream=True))
    order = [gates.caller(stream=False), gates.caller(stream=True), gates.caller(stream=False), gates.caller(stream=True)]
    tasks = await lined_up(gates, *order)
    for task in tasks:
        inside.leave()
        await soon(task)
        inside = task.result()


# -- several processes -----------------------------------------------------------------------------------------------------------------


def workers(count: int, limits: GateLimits, link: Link, **more) -> list[Gates]:
    return [Gates(limits, leaser=link, worker=f"w{number}", workers=count, **more) for number in range(count)]


async def filled(gates: Gates, way: Way) -> list[Pass]:
    """Enter until somebody is refused."""
    inside = []
    while True:
        try:
            inside.append(await gates.enter(way))
        except RateLimited:
            return inside


@pytest.mark.parametrize(("count", "limit"), [(1, 1), (2, 1), (2, 64), (3, 10), (4, 1000), (8, 7)])
async def test_together_they_let_in_the_limit_and_no_more(count: int, limit: int):
    link = Link(ProcessShares(ManualClock()))
    several = workers(count, GateLimits(total=limit), link)
    inside = []
    for gates in several:
        inside += await filled(gates, gates.caller(stream=True))
        assert used(*several) <= limit
        assert used(*several) == len(inside)
    assert used(*several) == limit  # slots that a worker leased and did not use: none, as each filled up until it was refused


async def test_what_one_worker_is_refused_while_others_hold_unused_slots_is_bounded():
    link, limit, count = Link(ProcessShares(ManualClock())), 800, 4
    several = workers(count, GateLimits(total=limit), link)
    for gates in several:
        (await gates.enter(gates.caller(stream=True))).leave()
        await gates.tick()
    first = several[0]
    inside = await filled(first, first.caller(stream=True))
    slice_ = limit // (8 * count)
    assert limit - (count - 1) * slice_ <= len(inside) < limit
    for gates in several:
        await gates.tick()
        await gates.tick()
    assert len(inside) + len(await filled(first, first.caller(stream=True))) == limit - (count - 1) * slice_


async def test_slices_become_smaller_as_more_workers_are_met():
    link = Link(ProcessShares(ManualClock()))
    several = [Gates(GateLimits(total=800), leaser=link, worker=f"w{number}") for number in range(4)]
    for gates in several * 3:
        (await gates.enter(gates.caller(stream=True))).leave()
        await gates.tick()
    assert (await link.slots.take_slots("global", 800, "x", 800, 1)).granted == 800 - 4 * (800 // (8 * 4))


async def test_where_slots_are_few_an_idle_worker_keeps_none():
    link = Link(ProcessShares(ManualClock()))
    one, two = workers(2, GateLimits(total=3), link)
    (await one.enter(one.caller(stream=True))).leave()
    assert len(await filled(two, two.caller(stream=True))) < 3
    await one.tick()
    await one.tick()
    await filled(two, two.caller(stream=True))
    assert used(one, two) == used(two) == 3


async def test_what_a_dead_worker_held_is_free_when_its_lease_has_run_out():
    clock = ManualClock()
    dead, alive = workers(2, GateLimits(total=4), Link(ProcessShares(clock)))
    assert len(await filled(dead, dead.caller(stream=True))) == 4
    clock.advance(LEASE_MS / 1000 - 0.001)
    assert not await filled(alive, alive.caller(stream=True))
    clock.advance(0.001)
    assert len(await filled(alive, alive.caller(stream=True))) == 4


async def test_a_worker_that_renews_keeps_its_slots():
    clock = ManualClock()
    one, two = workers(2, GateLimits(total=4), Link(ProcessShares(clock)))
    await filled(one, one.caller(stream=True))
    for _ in range(5):
        clock.advance(20)
        await one.tick()
    assert not await filled(two, two.caller(stream=True))


async def test_while_the_others_cannot_be_reached_a_worker_goes_on_with_what_it_holds():
    link = Link(ProcessShares(ManualClock()))
    one, two = workers(2, GateLimits(total=80), link)
    inside = [await one.enter(one.caller(stream=True)) for _ in range(3)]
    link.breaks = "before"
    await one.tick()
    for each in inside:
        each.leave()
    inside = await filled(one, one.caller(stream=True))
    assert 3 <= len(inside) <= 3 + 80 // (8 * 2)
    with pytest.raises(Unavailable, match="GLOBAL_CONCURRENT_LIMIT") as away:
        await two.enter(two.caller(stream=True))
    assert dict(away.value.headers)["retry-after"] == "1"
    link.breaks = ""
    assert len(await filled(two, two.caller(stream=True))) == 80 - len(inside)


@pytest.mark.parametrize("turns", range(8))
async def test_nobody_enters_on_slots_that_are_being_given_back(turns: int):
    link = Link(ProcessShares(ManualClock()))
    one, two = workers(2, GateLimits(total=40), link)
    way = one.caller(stream=True)
    inside = await filled(one, way)
    for each in inside:
        each.leave()
    link.turns = 3
    ticking = asyncio.create_task(one.tick())
    for _ in range(turns):
        await asyncio.sleep(0)
    while one.try_enter(way) is not None:
        pass
    await ticking
    link.turns = 0
    await filled(two, two.caller(stream=True))
    assert used(one, two) <= 40


async def test_callers_who_come_together_share_an_exchange():
    link = Link(ProcessShares(ManualClock()))
    link.turns = 2
    (gates,) = workers(1, GateLimits(total=100), link)
    way = gates.caller(stream=True)
    await asyncio.gather(*[gates.enter(way) for _ in range(60)])
    assert used(gates) == 60
    assert link.exchanges <= 2


async def test_who_waits_gets_what_another_worker_gives_back():
    link, timers = Link(ProcessShares(ManualClock())), Timers()
    one, two = workers(2, GateLimits(total=2), link, queue=5, wait_s=5, later=timers.later)
    inside = [await one.enter(one.caller(stream=True)) for _ in range(2)]
    (waiting,) = await lined_up(two, two.caller(stream=False))
    assert not waiting.done()
    inside[0].leave()
    inside[1].leave()
    await one.tick()
    await one.tick()
    await two.tick()
    await soon(waiting)


async def test_whoever_ends_gives_everything_back():
    slots = ProcessShares(ManualClock())
    never = asyncio.Event()
    one, two = workers(2, GateLimits(total=30, providers={"": 5}), Link(slots), sleep=lambda _: never.wait())
    one.begin()
    await settle()
    (await one.enter(one.caller(stream=True))).leave()
    (await one.enter(one.call("openai"))).leave()
    await one.aclose()
    assert one.try_enter(one.caller(stream=True)) is None
    assert (await slots.take_slots("global", 30, "x", 30, 1)).granted == 30
    assert (await slots.take_slots("provider:openai", 5, "x", 5, 1)).granted == 5
    await two.aclose()


async def test_ticks_come_at_their_time():
    link, waits = Link(ProcessShares(ManualClock())), []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            await asyncio.Event().wait()

    (gates,) = workers(1, GateLimits(total=16), link, sleep=sleep)
    gates.begin()
    for _ in range(30):
        await asyncio.sleep(0)
    assert (waits, link.exchanges) == ([2.0, 2.0, 2.0], 3)
    await gates.aclose()


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["enter", "enter", "enter", "leave", "leave", "tick", "run", "break", "mend", "cancel"]))
)


@given(steps=STEPS, limit=st.integers(1, 60), turns=st.integers(0, 3), breaks=st.sampled_from(["before", "after"]), queue=st.integers(0, 3))
def test_whatever_happens_no_more_than_the_limit_are_inside(steps: list, limit: int, turns: int, breaks: str, queue: int):
    async def run() -> None:
        link, timers = Link(ProcessShares(ManualClock())), Timers()
        link.turns = turns
        several = workers(3, GateLimits(total=limit, streams=max(1, limit // 2)), link, queue=queue, wait_s=1, later=timers.later)
        tasks: list[list[asyncio.Task[Pass]]] = [[], [], []]
        ticks: list[asyncio.Task[None]] = []
        for number, (worker, step) in enumerate(steps):
            gates = several[worker]
            if step == "enter":
                tasks[worker].append(asyncio.create_task(gates.enter(gates.caller(stream=bool(number % 2)))))
            elif step == "leave" and tasks[worker]:
                task = tasks[worker].pop(0)
                if task.done() and not task.cancelled() and task.exception() is None:
                    task.result().leave()
                elif not task.done():
                    tasks[worker].append(task)
            elif step == "cancel" and tasks[worker]:
                tasks[worker][-1].cancel()
            elif step == "tick":
                ticks.append(asyncio.create_task(gates.tick()))
            elif step in ("break", "mend"):
                link.breaks = breaks if step == "break" else ""
            await asyncio.sleep(0)
            assert used(*several) <= limit
            assert used(*several, name="stream") <= max(1, limit // 2)
        link.breaks = ""
        await asyncio.gather(*ticks)
        timers.go_off()
        await asyncio.gather(*[task for theirs in tasks for task in theirs], return_exceptions=True)
        for gates, theirs in zip(several, tasks, strict=True):
            inside = [task.result() for task in theirs if not task.cancelled() and task.exception() is None]
            assert used(gates) == len(inside)
            for each in inside:
                each.leave()
            timers.go_off()
            await settle()
            assert (used(gates), used(gates, name="stream"), gates.queued) == (0, 0, 0)
            await gates.aclose()
        assert (await link.slots.take_slots("global", limit, "x", limit, 1)).granted == limit

    asyncio.run(run())
