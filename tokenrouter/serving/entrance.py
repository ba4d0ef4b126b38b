"""The way in: who is asked for, what binds the caller, what it is given, and how all of it is given back."""

import msgspec

from tokenrouter.adapters.limit_headers import limit_headers
from tokenrouter.errors import Forbidden, GatewayError, Unavailable
from tokenrouter.model.admission import Admitted, Ask, Bound, Hold, Refusal, Refused, Ticket, Worst
from tokenrouter.model.call import Call
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.principal import Principal
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.rules import Scope
from tokenrouter.quota.books import Books
from tokenrouter.quota.budgets import BudgetHold
from tokenrouter.quota.gates import Pass
from tokenrouter.quota.refusals import Thrift, refused, standings
from tokenrouter.serving.question import Known, Question, fees_of, most_tokens, worst_of
from tokenrouter.serving.services import Services
from tokenrouter.storage.directory import Unknown

_SECOND_NS = 1_000_000_000
_intent = msgspec.json.Encoder()


class NotAdmitted(Exception):
    """Nothing was given. `caller`: who asked, and for which model."""

    def __init__(self, refusal: Refusal, bound: Bound, caller: Scope) -> None:
        super().__init__(refusal)
        self.refusal, self.bound, self.caller = refusal, bound, caller


class Stake:
    """What one upstream call has set aside. Settled or released once; again, and nothing happens."""

    __slots__ = ("_budget", "_done", "_place", "_services", "hold")

    def __init__(self, hold: Hold, budget: BudgetHold, services: Services) -> None:
        self.hold, self._budget, self._services = hold, budget, services
        self._place: Pass | None = None
        self._done = False

    def take_place(self, place: Pass) -> None:
        """A place behind the gate of the vendor that is called."""
        self._place = place

    def intend(self, record: RequestRecord) -> None:
        """The provider is about to hear of it. Raises Unavailable."""
        self._services.books.intend(self.hold, record)

    def grow(self, usd: int, tokens: int) -> None:
        """It has come to more than was set aside."""
        self._services.books.grow(self.hold, usd, tokens)
        self._services.budgets.grow(self._budget, usd, tokens)

    def settle(self, record: RequestRecord) -> None:
        """Book the truth."""
        if not self._done:
            self._done = True
            record.admitted_ns = self.hold.admitted_ns
            record.held_tokens = self.hold.tokens if record.settled == "presumed" else 0
            self._services.books.settle(self.hold, record)
            self._leave(record.cost, record.tokens)

    def release(self) -> None:
        """There was no call."""
        if not self._done:
            self._done = True
            self._services.books.release(self.hold)
            self._leave(0, 0)

    def _leave(self, usd: int, tokens: int) -> None:
        self._services.budgets.settle(self._budget, usd, tokens)
        if self._place is not None:
            self._place.leave()


class Entrance:
    """What one caller was given. Left once; `stake` is the call's and goes its own way."""

    __slots__ = ("_books", "_passed", "_ticket", "admitted", "bound", "caller", "stake")

    def __init__(self, bound: Bound, caller: Scope, admitted: Admitted, books: Books, passed: Pass, stake: Stake | None) -> None:
        self.bound, self.caller, self.admitted, self._books, self._passed, self.stake = bound, caller, admitted, books, passed, stake
        self._ticket: Ticket | None = admitted.ticket

    @property
    def has_place(self) -> bool:
        """Whether it holds a place in the concurrency limits that bind it."""
        return self._ticket is not None

    def take_place(self, ticket: Ticket | None) -> None:
        """A place that was given later."""
        if ticket is not None:
            self._ticket = ticket

    def leave(self) -> None:
        """Give the caller's places back."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._books.leave(ticket)
        self._passed.leave()

    def step_back(self) -> None:
        """Give everything back: there is nothing to wait for."""
        if self.stake is not None:
            self.stake.release()
        self.leave()


async def enter(call: Call, known: Known, services: Services, record: RequestRecord, ask: Ask) -> Entrance:
    """Let one caller in.

    Raises Forbidden, RateLimited, NotAdmitted, Unavailable: nothing was taken.
    """
    bound = await _bind(call, known, services, record)
    way = services.gates.caller(stream=known.params.stream)
    try:
        passed = services.gates.try_enter(way) or await services.gates.enter(way)
    except GatewayError:
        kept = await _kept_behind(bound, ask, services)
        if kept is None:
            raise
        return Entrance(bound, _caller(call, known, record), kept, services.books, services.gates.open, None)
    try:
        admitted, stake = await _admit(bound, ask, services)
    except Refused as refusal:
        passed.leave()
        raise NotAdmitted(refusal.refusal, bound, _caller(call, known, record)) from None
    except BaseException:
        passed.leave()
        raise
    if admitted.warnings:
        record.warnings = tuple(cap.id for cap in admitted.warnings)
    return Entrance(bound, _caller(call, known, record), admitted, services.books, passed, stake)


async def _kept_behind(bound: Bound, ask: Ask, services: Services) -> Admitted | None:
    """A kept answer needs no place behind a gate that is shut. Nothing is taken where there is none."""
    if ask.answer is None or (await services.books.admit(bound, Ask(id=ask.id, requests=False, answer=ask.answer))).kept is None:
        return None
    admitted = await services.books.admit(bound, Ask(id=ask.id, requests=ask.requests, answer=ask.answer))
    return admitted if admitted.kept is not None else None


async def ask_again(call: Call, known: Known, services: Services, record: RequestRecord) -> Admitted:
    """Ask for the answer to a body that was answered before. It passes no gate, as it is answered at once or not at all.

    Raises GatewayError.
    """
    bound = await _bind(call, known, services, record)
    try:
        return await services.books.admit(bound, Ask(id=call.id, answer=known.identity))
    except Refused as refusal:
        raise in_words(NotAdmitted(refusal.refusal, bound, _caller(call, known, record)), services) from None


def _caller(call: Call, known: Known, record: RequestRecord) -> Scope:
    model = known.target.model
    return Scope(key=call.principal.key_id, customer=record.customer, model=f"{model.vendor}/{model.name}")


async def _bind(call: Call, known: Known, services: Services, record: RequestRecord) -> Bound:
    """What binds a caller. Waits only for a customer that is not remembered. Raises Forbidden, Unavailable."""
    principal, model = call.principal, known.target.model
    name = f"{model.vendor}/{model.name}"
    customer = call.customer or (known.params.user if principal.customer_field else "")
    if not customer:
        return services.binder.bind(principal, "", name)
    record.customer = customer
    registered = services.directory.customer(principal.tenant, customer)
    if isinstance(registered, Unknown):
        registered = await services.directory.look_up_customer(principal.tenant, customer)
    if registered is not None and registered.disabled:
        raise Forbidden(f"the customer {customer!r} is disabled", param="x-customer-id")
    return services.binder.bind(principal, customer, name, registered)


async def _admit(bound: Bound, ask: Ask, services: Services) -> tuple[Admitted, Stake | None]:
    """Ask the deployment's own budgets, which are at hand, then everything that binds the caller. Raises Refused, BudgetExhausted, Unavailable."""
    if ask.worst is None:
        return await services.books.admit(bound, ask), None
    budget = services.budgets.hold(ask.worst) or await services.budgets.enter(ask.worst)
    stake: Stake | None = None
    try:
        admitted = await services.books.admit(bound, ask)
        if admitted.hold is not None:
            stake = Stake(admitted.hold, budget, services)
    finally:
        if stake is None:
            services.budgets.settle(budget, 0, 0)
    return admitted, stake


async def count(principal: Principal, services: Services) -> None:
    """Count one request that asks no model, in its key's and tenant's request limits. Raises RateLimited."""
    bound = services.binder.bind(principal, "", "")
    try:
        await services.books.admit(bound, Ask(id=""))
    except Refused as refusal:
        raise in_words(NotAdmitted(refusal.refusal, bound, Scope(key=principal.key_id)), services) from None


def first_ask(question: Question, *, leading: bool, counted: bool) -> Ask:
    """What one caller asks for: a place, an answer that was given before, and if it leads, what the call may come to.

    `counted`: the request limits have counted it.
    """
    worst = worst_of(question) if leading else None
    return Ask(
        id=question.call.id,
        requests=not counted,
        lease=True,
        worst=worst,
        answer=question.identity if question.reads_kept else None,
        intent=_intent.encode(question.record) if worst is not None else b"",
    )


async def lead(entrance: Entrance, question: Question, services: Services) -> Stake:
    """What the call has set aside: at admission, or now where the caller has come to lead later; and a place behind its vendor's gate.

    Raises NotAdmitted, RateLimited, Unavailable: nothing is set aside.
    """
    stake = entrance.stake or await _set_aside(entrance, question, services)
    entrance.stake = stake
    way = services.gates.call(question.deployment.vendor)
    stake.take_place(services.gates.try_enter(way) or await services.gates.enter(way))
    entrance.stake = None  # the flight's from here on
    return stake


async def _set_aside(entrance: Entrance, question: Question, services: Services) -> Stake:
    ask = Ask(id=question.call.id, requests=False, lease=not entrance.has_place, worst=worst_of(question), intent=_intent.encode(question.record))
    try:
        admitted, stake = await _admit(entrance.bound, ask, services)
    except Refused as refusal:
        raise NotAdmitted(refusal.refusal, entrance.bound, entrance.caller) from None
    if stake is None:
        raise Unavailable
    entrance.take_place(admitted.ticket)
    return stake


def usable(kept: KeptAnswer | None, known: Known, now_ns: int, *, sandbox: bool) -> KeptAnswer | None:
    """A kept answer, if it will do: not too old for this caller, and not a simulator's for a model's."""
    if kept is None or kept.sandbox != sandbox or kept.expires_ns <= now_ns:
        return None
    limit = known.wishes.max_age_s
    return kept if limit is None or now_ns - kept.kept_ns <= limit * _SECOND_NS else None


def in_words(refusal: NotAdmitted, services: Services, question: Question | None = None) -> GatewayError:
    """A refusal as its caller reads it. `question`: None where only its arrival was refused."""
    error = _in_words(refusal, services, question)
    dialect = "" if question is None else question.dialect.dialect
    told = limit_headers(dialect, *standings(refusal.refusal), services.clock.time_ns() // 1_000_000)
    error.headers += tuple((name.decode(), value.decode()) for name, value in told)
    return error


def _in_words(refusal: NotAdmitted, services: Services, question: Question | None) -> GatewayError:
    now_ms = services.clock.time_ns() // 1_000_000
    if question is None:
        return refused(refusal.refusal, refusal.bound, None, now_ms, caller=refusal.caller)
    worst, (inputs, outputs) = worst_of(question), most_tokens(question)
    floor = Worst(question.tariff.worst(inputs, 0) + fees_of(question), inputs, worst.sandbox)
    words = "max_completion_tokens"
    thrift = Thrift(floor=floor, output=outputs // question.params.choices, field=question.dialect.field_names.get(words, words))
    return refused(refusal.refusal, refusal.bound, worst, now_ms, caller=refusal.caller, thrift=thrift)
