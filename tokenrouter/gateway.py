"""The request on one page: the same steps, in the same order, as docs/life-of-a-request.md."""

import msgspec

from tokenrouter.errors import ModelNotFound
from tokenrouter.model.call import Call
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.record import RequestRecord
from tokenrouter.money import UnknownPrice
from tokenrouter.recall.flights import Flight
from tokenrouter.serving.lead import fly
from tokenrouter.serving.question import Known, Question, understand, worst_cost
from tokenrouter.serving.services import Services


class Kept(msgspec.Struct, frozen=True):
    """A question that a kept answer answers."""

    known: Known
    answer: KeptAnswer


class Flying(msgspec.Struct, frozen=True):
    """A question that is answered by reading `flight`; the reader must leave it in the end."""

    question: Question
    flight: Flight


async def handle(call: Call, services: Services, record: RequestRecord) -> Kept | Flying:
    """Answer one authenticated call.

    Raises GatewayError; `record` then holds what was found out before.
    """
    known = services.recognition.recognise(call)  # a repetition to the byte needs no parsing
    answer = None if known is None else _at_hand(known, call, services)
    if known is not None and answer is not None:
        await services.admission.enter(call.principal)
        return _hit(known, answer, record)
    question = await _understood(call, services, record)  # parse, chunk, arrange, canonicalize, hash
    flight, role = services.flights.claim(question.flight_key)  # synchronous: join or lead
    leading = role == "lead"
    try:
        await services.admission.enter(call.principal)  # every caller for itself, whoever pays
        kept = await _recall(question, services)
        if kept is None and not leading:
            leading = await flight.boarded()  # True: whoever led was refused, and the lead has come to us
        if kept is None and leading:
            hold = await services.admission.hold(call.principal, worst_cost(question), sandbox=question.deployment.sandbox)
            flight.start(fly(flight, question, hold, services))  # the flight owns the upstream call from here on
            leading = False
            record.cache = "bypass" if question.identity is None else "miss"
        elif kept is None:
            record.cache = "coalesced"
    except BaseException:
        if leading:
            flight.abdicate()
        flight.leave()
        raise
    if kept is None:
        return Flying(question, flight)
    if leading:
        flight.abdicate()
    flight.leave()
    services.recognition.remember(call, question)
    return _hit(question, kept, record)


async def _understood(call: Call, services: Services, record: RequestRecord) -> Question:
    """A name that nobody lists may be that of a model which a host has had for a moment only."""
    try:
        return understand(call, services, record)
    except (ModelNotFound, UnknownPrice):
        outright = record.model_asked == f"{record.vendor}/{record.model}"
        if outright or not await services.discovery.refresh():
            raise
    return understand(call, services, record)


def _hit(known: Known, answer: KeptAnswer, record: RequestRecord) -> Kept:
    record.cache = "hit"
    record.stream, record.model_asked = known.params.stream, known.params.model
    record.vendor, record.model, record.sandbox = answer.vendor, answer.model, answer.sandbox
    return Kept(known, answer)


def _at_hand(known: Known, call: Call, services: Services) -> KeptAnswer | None:
    """A kept answer in memory."""
    if known.identity is None or not known.reads_kept:
        return None
    kept = services.answers.get(call.principal.tenant, known.identity)
    return kept if kept is not None and kept.sandbox == known.target.deployments[0].sandbox else None


async def _recall(question: Question, services: Services) -> KeptAnswer | None:
    """A kept answer that will do."""
    if not question.reads_kept or question.identity is None:
        return None
    tenant, limit = question.call.principal.tenant, question.wishes.max_age_s
    kept = services.answers.get(tenant, question.identity) or await services.answers.fetch(tenant, question.identity)
    if kept is None or (limit is not None and services.clock.time_ns() - kept.kept_ns > limit * 1_000_000_000):
        return None
    return kept if kept.sandbox == question.deployment.sandbox else None  # what a simulator said is no model's answer
