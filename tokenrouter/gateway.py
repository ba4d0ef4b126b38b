"""The request on one page: the same steps, in the same order, as docs/life-of-a-request.md."""

import msgspec

from tokenrouter.errors import ModelNotFound, Unavailable
from tokenrouter.model.admission import Admitted
from tokenrouter.model.at_hand import NotAtHand
from tokenrouter.model.call import Call
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.record import RequestRecord
from tokenrouter.money import UnknownPrice
from tokenrouter.recall.flights import Flight
from tokenrouter.serving.caps import Another, another_way
from tokenrouter.serving.entrance import Entrance, NotAdmitted, ask_again, enter, first_ask, in_words, lead, usable
from tokenrouter.serving.lead import fly
from tokenrouter.serving.question import Known, Question, understand
from tokenrouter.serving.services import Services

_FETCHES = 6  # items, stored answers, an idempotency key, a list of models, and what was let go in between
_ATTEMPTS = 3  # a downgrade, and a limit fitted into what is left of the cheaper model's cap


class Kept(msgspec.Struct, frozen=True):
    """A question that a kept answer answers."""

    known: Known
    answer: KeptAnswer
    admitted: Admitted


class Flying(msgspec.Struct, frozen=True):
    """A question that is answered by reading `flight`; its reader leaves both in the end."""

    question: Question
    flight: Flight
    entrance: Entrance


async def handle(call: Call, services: Services, record: RequestRecord) -> Kept | Flying:
    """Answer one authenticated call.

    Raises GatewayError; `record` then holds what was found out before.
    """
    known = services.recognition.recognise(call)  # a repetition to the byte needs no parsing
    counted = False
    if known is not None and known.reads_kept and known.identity is not None:
        admitted = await ask_again(call, known, services, record)
        answer = usable(admitted.kept, known, services.clock.time_ns(), sandbox=known.target.deployments[0].sandbox)
        if answer is not None:
            return _hit(known, answer, admitted, record)
        counted = True
    question = await _understood(call, services, record)  # parse, chunk, arrange, canonicalize, hash
    for _ in range(_ATTEMPTS):
        try:
            return await _answered(question, services, counted=counted)
        except NotAdmitted as refusal:  # a cap may want another question asked: a cheaper model, a shorter answer
            another = another_way(question, refusal, services)
            question = await _understood(another.call, services, record, another)
    try:
        return await _answered(question, services, counted=counted)
    except NotAdmitted as refusal:
        raise in_words(refusal, services, question) from None


async def _answered(question: Question, services: Services, *, counted: bool) -> Kept | Flying:
    call, record = question.call, question.record
    flight, role = services.flights.claim(question.flight_key)  # synchronous: join or lead
    leading = role == "lead"
    entrance: Entrance | None = None
    try:
        ask = first_ask(question, leading=leading, counted=counted)
        entrance = await enter(call, question, services, record, ask)  # every caller for itself, whoever pays
        kept = await _recall(question, entrance, services)
        if kept is None and not leading:
            leading = await flight.boarded()  # True: whoever led was refused, and the lead has come to us
        if kept is None and leading:
            stake = await lead(entrance, question, services)
            flight.start(fly(flight, question, stake, services))  # the flight owns the upstream call from here on
            leading = False
            record.cache = "bypass" if question.identity is None else "miss"
        elif kept is None:
            record.cache = "coalesced"
    except BaseException:
        if leading:
            flight.abdicate()
        flight.leave()
        if entrance is not None:
            entrance.step_back()
        raise
    if kept is None:
        return Flying(question, flight, entrance)
    if leading:
        flight.abdicate()
    flight.leave()
    entrance.step_back()
    if not (question.instead or question.fitted):
        services.recognition.remember(call, question)  # what a cap has changed is not what these bytes ask
    return _hit(question, kept, entrance.admitted, record)


async def _recall(question: Question, entrance: Entrance, services: Services) -> KeptAnswer | None:
    """A kept answer that will do: the one that admission found, else what takes a moment to get."""
    if not question.reads_kept or question.identity is None:
        return None
    sandbox, now_ns = question.deployment.sandbox, services.clock.time_ns()
    found = entrance.admitted.kept or await services.answers.fetch(question.call.principal.tenant, question.identity)
    return usable(found, question, now_ns, sandbox=sandbox)


async def _understood(call: Call, services: Services, record: RequestRecord, another: Another | None = None) -> Question:
    """A name that nobody lists may be that of a model which a host has had for a moment only.

    What the request refers to may be known to another worker: it is fetched, one kind after the other.
    """
    refreshed = False
    for _ in range(_FETCHES):
        try:
            if another is None:
                return understand(call, services, record)
            return understand(call, services, record, instead=another.instead, fitted=another.fitted, promised=another.promised)
        except NotAtHand as missing:
            await missing.fetch()
        except (ModelNotFound, UnknownPrice):
            outright = record.model_asked == f"{record.vendor}/{record.model}"
            if outright or refreshed or not await services.discovery.refresh():
                raise
            refreshed = True
    raise Unavailable("what this request refers to can not be looked up at the moment; try again")


def _hit(known: Known, answer: KeptAnswer, admitted: Admitted, record: RequestRecord) -> Kept:
    record.cache = "hit"
    record.stream, record.model_asked = known.params.stream, known.params.model
    record.vendor, record.model, record.sandbox = answer.vendor, answer.model, answer.sandbox
    return Kept(known, answer, admitted)
