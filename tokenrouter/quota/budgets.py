"""The deployment's own budgets for a month: `GLOBAL_MONTHLY_USD_BUDGET` and `GLOBAL_MONTHLY_TOKEN_BUDGET`. Months are those of UTC.

A call holds its worst case before it is sent, and settles the truth. Money of the sandbox has books of its own.

In one process the books are exact. Several processes lease slices from each other, so that most calls ask nobody:

    a slice is a hundredth of what nobody has leased, at most USD 1 or a million tokens; or what a call needs, if that much is left
    overshoot    only by calls that came to more than was held for them: never by workers that do not know of each other
    undershoot   a call may be refused while other workers have leased what would cover it: at most (workers - 1) slices, and what their calls
                 under way hold. As less is left, slices become smaller, within `TICK_S`
    a crash      takes its worker's slice, and what its calls held, with it: presumed spent until the month is over
    cut off      a worker that cannot reach the others spends its slice, then refuses with 503; its slice is presumed spent until it is back
    lost         where the shared books were lost they begin again at what the ledger says of the month; what was settled but had not come to
                 the ledger by then is missing from them

A month's books are the name of the month: nothing is reset. A call belongs to the month in which it was let in, by this worker's clock.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from tokenrouter.clock import Clock
from tokenrouter.errors import BudgetExhausted, GatewayError, Unavailable, retry_after
from tokenrouter.model.admission import NeedsRebuild, Worst
from tokenrouter.model.period import Span, span
from tokenrouter.model.rules import Unit
from tokenrouter.model.shares import BudgetLook, Slice
from tokenrouter.quota.refusals import NEVER, SOON_MS, waiting
from tokenrouter.quota.shares import SliceLeaser

log = logging.getLogger("tokenrouter")

TICK_S: Final = 2.0
SLICE_MS: Final = 60_000
MOST_SLICE: Final[Mapping[Unit, int]] = {"usd": 1_000_000_000, "tokens": 1_000_000}
SETTINGS: Final[Mapping[Unit, str]] = {"usd": "GLOBAL_MONTHLY_USD_BUDGET", "tokens": "GLOBAL_MONTHLY_TOKEN_BUDGET"}
_MS: Final = 1_000_000

Spent = tuple[int, int]
"""Nano-USD and tokens."""

Seed = Callable[[Span, bool], Spent]
Base = Callable[[Span, bool], Awaitable[Spent]]
"""What the ledger says was spent in a month (of money of the sandbox, or real). Raises Unavailable."""


class Book:
    """One budget in one month, as this process sees it: `spent` and `held` here, and how much both may come to (`allowed`).

    asked  what callers wait for; `total`, `left`: what the last exchange said of all workers together
    known  whether an exchange has said anything yet
    stale  the others do not know yet what was spent here
    """

    __slots__ = (
        "allowed",
        "asked",
        "failing",
        "growing",
        "held",
        "known",
        "left",
        "limit",
        "name",
        "sandbox",
        "span",
        "spent",
        "stale",
        "total",
        "unit",
    )

    def __init__(self, unit: Unit, during: Span, limit: int, *, sandbox: bool) -> None:
        self.unit, self.span, self.limit, self.sandbox = unit, during, limit, sandbox
        self.name = f"{'s' if sandbox else ''}{unit}:{during.name}"
        self.spent = self.held = self.allowed = self.total = 0
        self.left = limit
        self.asked: list[int] = []
        self.known = self.stale = self.failing = False
        self.growing: asyncio.Task[None] | None = None

    @property
    def room(self) -> int:
        """What may still be held; negative where calls came to more than was there."""
        return self.allowed - self.spent - self.held

    @property
    def slice(self) -> int:
        """How much to have in hand."""
        return min(max(0, self.left) // 100, MOST_SLICE[self.unit])


class BudgetHold:
    """The worst case of one call, set aside: amounts by book. Settled once; settling again changes nothing."""

    __slots__ = ("amounts", "settled")

    def __init__(self, amounts: list[tuple[Book, int]]) -> None:
        self.amounts, self.settled = amounts, False


class Budgets:
    """The books of one process. `begin` and `aclose` where slices are leased.

    let in    `budgets.hold(worst) or await budgets.enter(worst)`
    then      `grow` where a call comes to more than is held, and `settle` once, with (0, 0) where nothing was sent
    """

    def __init__(
        self,
        clock: Clock,
        *,
        usd: int = 0,
        tokens: int = 0,
        seed: Seed = lambda *_: (0, 0),
        leaser: SliceLeaser | None = None,
        base: Base | None = None,
        worker: str = "",
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """All books are closed until they are needed.

        usd     nano-USD in a month; `tokens`: input and output in a month; 0: no such budget
        seed    in one process: read when a month's books are opened
        leaser  where slices are leased; None: this process has everything
        base    with a leaser: read when a month's shared books are begun
        worker  a name that no other worker has or had
        """
        self._clock, self._seed, self._leaser, self._base, self._worker, self._sleep = clock, seed, leaser, base, worker, sleep
        limits: tuple[tuple[Unit, int], ...] = (("usd", usd), ("tokens", tokens))
        self._limits = tuple((unit, limit) for unit, limit in limits if limit)
        self._month = Span("", 0, -1)  # over before it began
        self._current: dict[bool, tuple[Book, ...]] = {}
        self._earlier: list[Book] = []
        self._task: asyncio.Task[None] | None = None

    def hold(self, worst: Worst) -> BudgetHold | None:
        """Set the worst case aside, of all budgets or of none. None: what this process has in hand is too little; see `enter`."""
        amounts = [(book, worst.usd if book.unit == "usd" else worst.tokens) for book in self._books(worst.sandbox)]
        for book, amount in amounts:
            if amount > book.room:
                return None
        for book, amount in amounts:
            book.held += amount
        return BudgetHold(amounts)

    async def enter(self, worst: Worst) -> BudgetHold:
        """Set the worst case aside, if need be after leasing more.

        Raises BudgetExhausted naming the budget, but no amounts, which are no business of clients; Unavailable where nobody can tell.
        """
        held = self.hold(worst)
        if held is None and self._leaser is not None:
            for _ in range(2):  # an exchange under way may have been asked for before this caller came
                await self._grow(worst, self._leaser)
                held = self.hold(worst)
                if held is not None:
                    break
        if held is None:
            raise self._refusal(worst)
        return held

    def grow(self, hold: BudgetHold, usd: int, tokens: int) -> None:
        """A call under way has come to more than is held: hold that. Never refused; the next one to ask will see it."""
        if hold.settled:
            return
        for index, (book, amount) in enumerate(hold.amounts):
            more = max(0, (usd if book.unit == "usd" else tokens) - amount)
            book.held += more
            hold.amounts[index] = (book, amount + more)

    def settle(self, hold: BudgetHold, usd: int, tokens: int) -> None:
        """Book the truth in the month of the hold. More than was held is booked all the same."""
        if hold.settled:
            return
        hold.settled = True
        for book, amount in hold.amounts:
            actual = usd if book.unit == "usd" else tokens
            book.held -= amount
            book.spent += actual
            book.stale = book.stale or actual > 0

    def used(self) -> dict[tuple[str, ...], float]:
        """For metrics: the share of each of this month's budgets that is spent, by (unit,), as far as is known here. Real money only."""
        return {(book.unit,): max(book.total, book.spent) / book.limit for book in self._books(sandbox=False)}

    def looks(self) -> tuple[BudgetLook, ...]:
        """Where this month's budgets stand: real money, and that of the sandbox where any was asked for."""
        books = (*self._books(sandbox=False), *self._current.get(True, ()))
        return tuple(self._look(book) for book in books)

    def _look(self, book: Book) -> BudgetLook:
        spent, leased = (book.spent, book.held) if self._leaser is None else (book.total, max(0, book.limit - book.total - book.left))
        known = self._leaser is None or book.known
        month, ends_ms = book.span.name, book.span.ends_ms
        return BudgetLook(book.unit, month, book.sandbox, book.limit, spent if known else None, leased if known else None, ends_ms)

    def begin(self) -> None:
        """Report, lease and give back from here on; in one process there is nothing to do. Inside a running loop."""
        if self._leaser is not None and self._limits:
            self._task = asyncio.create_task(self._keep())

    async def tick(self) -> None:
        """Tell the others what was spent, and have a slice in hand: no less, no more."""
        if self._leaser is None:
            return
        books = [book for theirs in self._current.values() for book in theirs]
        exchanges = [self._exchanged(book, self._leaser) for book in (*books, *self._earlier)]
        if exchanges:
            await asyncio.wait(exchanges)
        self._earlier = [book for book in self._earlier if book.held or book.stale or book.room]

    async def aclose(self) -> None:
        """Report everything, and give back what no call under way holds."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        under_way = [book.growing for books in self._current.values() for book in books if book.growing is not None]
        if under_way:
            await asyncio.wait(under_way)
        self._close_months()
        await self.tick()

    def _books(self, sandbox: bool) -> tuple[Book, ...]:
        """The books of this month."""
        if not self._limits:
            return ()
        now_ns = self._clock.time_ns()
        if not self._month.holds(now_ns // _MS):
            self._close_months()
            self._month = span("month", "UTC", now_ns)
        books = self._current.get(sandbox)
        if books is None:
            books = self._current[sandbox] = tuple(Book(unit, self._month, limit, sandbox=sandbox) for unit, limit in self._limits)
            if self._leaser is None:
                seeded = self._seed(self._month, sandbox)
                for book in books:
                    book.spent, book.allowed = seeded[book.unit == "tokens"], book.limit
        return books

    def _close_months(self) -> None:
        """What is in hand goes back with the next tick; calls under way settle where they were let in."""
        if self._leaser is not None:
            self._earlier += [book for books in self._current.values() for book in books]
        self._current.clear()

    def _refusal(self, worst: Worst) -> GatewayError:
        now_ms = self._clock.time_ns() // _MS
        for book in self._books(worst.sandbox):
            amount = worst.usd if book.unit == "usd" else worst.tokens
            if amount <= book.room:
                continue
            what = f"the gateway's budget for this month ({SETTINGS[book.unit]})"
            if book.failing:
                return Unavailable(f"nobody can tell what is left of {what}; try again", headers=retry_after(SOON_MS))
            if amount > book.limit:
                return BudgetExhausted(f"{what} could never cover this request", headers=waiting(NEVER))
            if max(book.total, book.spent) + amount <= book.limit:
                said = f"{what} is held by calls under way; try again when some have ended"
                return BudgetExhausted(said, headers=waiting(SOON_MS, retried=False))
            return BudgetExhausted(f"{what} does not cover this request any more", headers=waiting(book.span.ends_ms - now_ms, retried=False))
        return Unavailable(headers=retry_after(SOON_MS))  # there is room by now: the month has turned, or a call has ended

    # -- slices

    async def _keep(self) -> None:
        while True:
            await self.tick()
            await self._sleep(TICK_S)

    async def _grow(self, worst: Worst, leaser: SliceLeaser) -> None:
        """Lease what a caller lacks."""
        short = []
        for book in self._books(worst.sandbox):
            amount = worst.usd if book.unit == "usd" else worst.tokens
            if amount > book.room:
                short.append((book, amount))
                book.asked.append(amount)
        try:
            if short:
                await asyncio.wait([self._exchanged(book, leaser) for book, _ in short])
        finally:
            for book, amount in short:
                book.asked.remove(amount)

    def _exchanged(self, book: Book, leaser: SliceLeaser) -> asyncio.Task[None]:
        """One exchange of a book at a time: who asks in the meantime waits for the same one."""
        if book.growing is None:
            book.growing = asyncio.create_task(self._exchange(book, leaser))
        return book.growing

    async def _exchange(self, book: Book, leaser: SliceLeaser) -> None:
        try:
            enough = book.held + min(book.asked, default=0)
            granted = await self._report(book, leaser, sum(book.asked))
            if granted < enough:
                await self._report(book, leaser, 0)  # what is of no use here may be of use to others
            book.failing = False
        except Unavailable as error:
            if not book.failing:
                log.warning("%s can not be shared (%s); going on with what is in hand", SETTINGS[book.unit], error)
            book.failing = True
        except Exception:
            log.exception("%s can not be shared", SETTINGS[book.unit])
            book.failing = True
        finally:
            book.growing = None

    async def _report(self, book: Book, leaser: SliceLeaser, more: int) -> int:
        """Tell what was spent, and lease what is held, a slice, and `more`. Says how much was leased."""
        spent, wanted = book.spent, book.held + more + (0 if book in self._earlier else book.slice)
        book.allowed = min(book.allowed, spent + wanted)  # at once: nobody here may hold what is about to be another's
        try:
            found = await leaser.take_slice(book.name, book.limit, self._worker, spent, wanted, SLICE_MS)
        except NeedsRebuild:
            found = await self._begun(book, leaser, spent, wanted)
        book.allowed, book.total = spent + found.granted, found.spent + found.presumed
        book.left = book.limit - book.total - found.others - found.granted
        book.stale, book.known = book.spent != spent, True
        return found.granted

    async def _begun(self, book: Book, leaser: SliceLeaser, spent: int, wanted: int) -> Slice:
        """Begin a month's shared books at what the ledger says, unless somebody was faster."""
        base = (await self._base(book.span, book.sandbox)) if self._base is not None else (0, 0)
        await leaser.seed_slice(book.name, base[book.unit == "tokens"], 0, book.span.ends_ms)
        return await leaser.take_slice(book.name, book.limit, self._worker, spent, wanted, SLICE_MS)
