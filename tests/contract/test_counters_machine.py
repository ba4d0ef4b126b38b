"""Any sequence of events, in every place that counts: it says at every step what a reference of a few lines says."""

import asyncio

import pytest
from counting import MODEL, PLACES, address, bind, opened
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from reference_counters import Reference

from tokenrouter.model.admission import Admitted, CapState, Ticket
from tokenrouter.model.rules import EACH, Cap, Limit, Scope

RULES = (
    Limit(id="burst", metric="requests", amount=6, refill=40),
    Limit(id="hourly", metric="requests", amount=40, window="hour", kind="sliding"),
    Limit(id="places", metric="concurrency", amount=3),
    Limit(id="tpm", metric="tokens", amount=500),
    Limit(id="window", metric="tokens", amount=900, kind="sliding"),
    Cap(id="all", amount=20_000, period="total", action="block"),
    Cap(id="daily", amount=4_000, period="day"),
    Cap(id="warned", amount=100, period="month", action="warn"),
    Cap(id="tokens", unit="tokens", amount=3_000, period="day", scope=Scope(model=EACH)),
    Cap(id="largest", amount=900, period="request"),
)
USD, TOKENS = st.integers(0, 1000), st.integers(0, 300)


class Machine(RuleBasedStateMachine):
    """One caller of one tenant; `url` says where it is counted."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.opened = opened(self.url)
        self.place = self.runner.run(self.opened.__aenter__())
        self.bound = bind(self.place.tenant(), *RULES)
        limits = {f"l:{x.id}": (x.metric, x.kind, x.window, x.amount, x.refill) for x in RULES if isinstance(x, Limit)}
        caps = {f"c:{x.id}" + (f":m={MODEL}" if x.scope.model else ""): (x.unit, x.period, x.action, x.amount) for x in RULES if isinstance(x, Cap)}
        limits["l:places"] = ("concurrency", "places", "minute", 3, 0)
        self.reference = Reference(limits, caps, self.place.now_ms)
        self.holds, self.tickets = [], list[Ticket]()

    def teardown(self) -> None:
        self.runner.run(self.opened.__aexit__(None, None, None))
        self.runner.close()

    @rule(requests=st.booleans(), lease=st.booleans(), usd=st.none() | USD, tokens=TOKENS, sandbox=st.sampled_from([False, False, True]))
    def asks(self, requests: bool, lease: bool, usd: int | None, tokens: int, sandbox: bool) -> None:
        tokens = 0 if usd is None else tokens
        got = self.runner.run(self.place.ask(self.bound, requests=requests, lease=lease, usd=usd, tokens=tokens, sandbox=sandbox))
        request = len(self.holds)
        expected = self.reference.admit(request, requests, lease, usd, tokens, sandbox)
        self.holds.append(got.hold if isinstance(got, Admitted) else None)
        if isinstance(got, Admitted):
            assert expected is None
            self.tickets.append((request, got.ticket))
            assert [cap.id for cap in got.warnings] == (["warned"] if self.warned(request) else [])
        else:
            said = f"l:{got.limit.id}" if got.limit else f"c:{got.cap.id}" + (f":m={MODEL}" if got.cap.scope.model else "")
            assert (said, got.left, got.resets_ms) == expected

    def warned(self, request: int) -> bool:
        hold = self.reference.holds.get(request)
        return hold is not None and any(name == "c:warned" and sum(self.reference.books[counter]) > 100 for name, counter, _ in hold["caps"])

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), usd=USD, tokens=TOKENS, presumed=st.sampled_from([False, False, False, True]))
    def settles(self, data: st.DataObject, usd: int, tokens: int, presumed: bool) -> None:
        request = data.draw(st.integers(0, len(self.holds) - 1))
        if (hold := self.holds[request]) is not None:
            self.place.counters.settle(hold, usd, tokens, presumed=presumed)
            self.reference.settle(request, usd, tokens, presumed)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), usd=USD, tokens=TOKENS)
    def grows(self, data: st.DataObject, usd: int, tokens: int) -> None:
        request = data.draw(st.integers(0, len(self.holds) - 1))
        if (hold := self.holds[request]) is not None:
            self.place.counters.grow(hold, usd, tokens)
            self.reference.grow(request, usd, tokens)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        request, ticket = data.draw(st.sampled_from(self.tickets))
        if ticket is not None:
            self.place.counters.leave(ticket)
            self.reference.leave(request)

    @rule(ms=st.one_of(st.integers(0, 500), st.integers(0, 20_000), st.sampled_from([59_999, 60_000, 3_600_000, 86_400_000])))
    def time_passes(self, ms: int) -> None:
        if ms > 20_000:  # nobody keeps a place for so long without saying so
            for request, ticket in self.tickets:
                if ticket is not None:
                    self.place.counters.leave(ticket)
                    self.reference.leave(request)
            self.tickets.clear()
        self.runner.run(self.place.settled())
        self.runner.run(self.place.renewed())
        self.place.advance(ms / 1000)
        self.reference.now = self.place.now_ms

    @invariant()
    def everything_stands_as_the_reference_says(self) -> None:
        self.runner.run(self.compare())

    async def compare(self) -> None:
        await self.place.settled()
        looks = [await self.place.counters.look(self.bound, sandbox=sandbox) for sandbox in (False, True)]
        assert looks[0].limits == looks[1].limits
        assert {each.counter: each.left for each in looks[0].limits} == {name: self.reference.room(name) for name in self.reference.limits}
        shown = {each.counter: each.state for look in looks for each in look.caps}
        for counter, book in self.reference.books.items():
            assert min(book) >= 0
            if counter not in shown and self.reference.under_way(counter):  # what is over and settled may be forgotten
                shown[counter] = await self.place.counters.cap_state(self.bound.tenant, counter)
            assert shown.get(counter, CapState(*book)) == CapState(*book), counter


@pytest.mark.parametrize("name", PLACES)
def test_any_sequence_of_events_is_counted_as_the_reference_counts_it(name: str, request: pytest.FixtureRequest):
    machine = type("Machine", (Machine,), {"url": address(name, request)})
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=60, suppress_health_check=list(HealthCheck)))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100))
@pytest.mark.parametrize("name", PLACES)
def test_any_long_sequence_of_events_is_counted_as_the_reference_counts_it(name: str, number: int, request: pytest.FixtureRequest):
    machine = seed(number)(type("Machine", (Machine,), {"url": address(name, request)}))
    long = settings(max_examples=10, stateful_step_count=100, derandomize=False, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=long)
