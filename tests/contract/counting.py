"""Places that count, as the contract suite sees them: counters, a clock to move, and what was reported. One line per place in `PLACES`."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from counting_shared import shared_counters

from tokenrouter.clock import ManualClock
from tokenrouter.model.admission import Admitted, Ask, Bound, CapState, Crossing, Hold, Refusal, Ticket, Worst
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.principal import Principal
from tokenrouter.model.rules import Cap, Limit, Rules
from tokenrouter.model.usage import Usage
from tokenrouter.quota.books import Counters, Refused
from tokenrouter.quota.process_counters import ProcessCounters
from tokenrouter.quota.rules import Binder

MODEL = "openai/gpt-4.1"
USD = 1_000_000_000
_names = itertools.count()

Keep = Callable[[str, bytes, KeptAnswer], Awaitable[None]]


async def _nothing() -> None:
    """Where nothing has to be waited for."""


@dataclass
class Place:
    """Where things are counted. `keep`: put an answer where admission finds it; `crossings`: what was told."""

    counters: Counters
    clock: ManualClock
    keep: Keep
    applied: Callable[[], Awaitable[None]]
    crossings: list[Crossing] = field(default_factory=list)
    ids: Iterable[int] = field(default_factory=itertools.count)
    alive: Callable[[], Awaitable[None]] = _nothing

    def tenant(self) -> str:
        """A tenant that nobody has used."""
        return f"tenant-{next(_names)}"

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @property
    def now_ms(self) -> int:
        return self.clock.time_ns() // 1_000_000

    async def settled(self) -> None:
        """Until everything that was settled, grown or left is applied."""
        await self.applied()

    async def renewed(self) -> None:
        """Until everybody who holds something has said that they are alive: then nothing lapses within 50 s."""
        await self.alive()

    async def ask(
        self,
        bound: Bound,
        *,
        requests: bool = True,
        lease: bool = False,
        usd: int | None = None,
        tokens: int = 0,
        sandbox: bool = False,
        answer: bytes | None = None,
    ) -> Admitted | Refusal:
        """Ask for admission: what was given, or why not. Nothing is held unless `usd` or `tokens` says how much."""
        worst = None if usd is None and not tokens else Worst(usd or 0, tokens, sandbox)
        ask = Ask(id=f"r{next(iter(self.ids))}", requests=requests, lease=lease, worst=worst, answer=answer)
        try:
            return await self.counters.admit(bound, ask)
        except Refused as refused:
            return refused.refusal

    async def hold(self, bound: Bound, usd: int, tokens: int = 0, *, sandbox: bool = False) -> Hold:
        """A hold that must be given."""
        given = await self.ask(bound, usd=usd, tokens=tokens, sandbox=sandbox)
        assert isinstance(given, Admitted), given
        assert given.hold is not None
        return given.hold

    async def lease(self, bound: Bound) -> Ticket:
        """A ticket that must be given."""
        given = await self.ask(bound, lease=True)
        assert isinstance(given, Admitted), given
        assert given.ticket is not None
        return given.ticket

    async def state(self, bound: Bound, counter: str) -> CapState:
        await self.settled()
        return await self.counters.cap_state(bound.tenant, counter)

    async def standings(self, bound: Bound) -> dict[str, int]:
        """What every limit of a caller has left."""
        await self.settled()
        look = await self.counters.look(bound, sandbox=False)
        return {each.counter: each.left for each in look.limits}

    async def places(self, bound: Bound) -> int:
        """How many more may come in at a time."""
        tickets = []
        while isinstance(given := await self.ask(bound, requests=False, lease=True), Admitted):
            assert given.ticket is not None
            tickets.append(given.ticket)
        for ticket in tickets:
            self.counters.leave(ticket)
        await self.settled()
        return len(tickets)


@asynccontextmanager
async def _process() -> AsyncIterator[Place]:
    clock, answers, crossings = ManualClock(), {}, []

    async def keep(tenant: str, identity: bytes, answer: KeptAnswer) -> None:
        answers[tenant, identity] = answer

    counters = ProcessCounters(clock, answers=lambda tenant, identity: answers.get((tenant, identity)), crossed=crossings.append)
    yield Place(counters, clock, keep, _nothing, crossings)


@asynccontextmanager
async def _shared(url: str) -> AsyncIterator[Place]:
    clock, crossings = ManualClock(), []
    async with shared_counters(url, clock=clock, crossed=crossings.append) as counters:

        async def applied() -> None:
            assert await counters.drain(30)

        yield Place(counters, clock, counters.keep, applied, crossings, alive=counters.beat)


PLACES = ("process", "redis", "cluster")


def address(name: str, request: pytest.FixtureRequest) -> str:
    """Where the servers of a place are, started and empty; "" for this process."""
    return "" if name == "process" else str(request.getfixturevalue(f"{name}_url"))


def opened(url: str) -> AbstractAsyncContextManager[Place]:
    """`async with opened(address(name, request)) as place`."""
    return _shared(url) if url else _process()


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Every place, one after the other."""
    async with opened(address(request.param, request)) as counted:
        yield counted


def bind(tenant: str, *rules: Limit | Cap, key: str = "k1", customer: str = "", model: str = MODEL, zone: str = "UTC") -> Bound:
    """What binds a caller of a tenant that has these rules."""
    made = Rules(
        limits=tuple(rule for rule in rules if isinstance(rule, Limit)), caps=tuple(rule for rule in rules if isinstance(rule, Cap)), zone=zone
    )
    return Binder().bind(Principal(key_id=key, tenant=tenant, rules=made), customer, model)


def answer(place: Place) -> KeptAnswer:
    """An answer that was kept just now."""
    now = place.clock.time_ns()
    return KeptAnswer(
        dialect="openai-chat",
        form="whole",
        body=b"{}",
        end=b"",
        usage=Usage(),
        cost=7,
        vendor="openai",
        model="gpt-4.1",
        sandbox=False,
        request_id="r",
        kept_ns=now,
        expires_ns=now + 3600 * USD,
    )


async def race(runners: list[Awaitable[object]], seed: int) -> list[object]:
    """All at once, in an order that the seed decides."""
    order = list(runners)
    random.Random(seed).shuffle(order)
    return await asyncio.gather(*order)
