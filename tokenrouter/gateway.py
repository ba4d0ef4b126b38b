"""The request on one page: the same steps, in the same order, as docs/life-of-a-request.md."""

import msgspec

from tokenrouter.model.call import Call
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.record import RequestRecord
from tokenrouter.recall.flights import Flight
from tokenrouter.serving.lead import fly
from tokenrouter.serving.question import Question, understand, worst_cost
from tokenrouter.serving.services import Services


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """How a question is answered: from `kept`, or by reading `flight`, which the reader must leave in the end."""

    question: Question
    kept: KeptAnswer | None = None
    flight: Flight | None = None


async def handle(call: Call, services: Services, record: RequestRecord) -> Served:
    """Answer one authenticated call.

    Raises GatewayError; `record` then holds what was found out before.
    """
    question = understand(call, services, record)  # parse, chunk, arrange, canonicalize, hash
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
        return Served(question=question, flight=flight)
    if leading:
        flight.abdicate()
    flight.leave()
    record.cache = "hit"
    return Served(question=question, kept=kept)


async def _recall(question: Question, services: Services) -> KeptAnswer | None:
    """A kept answer that will do."""
    if not question.reads_kept or question.identity is None:
        return None
    tenant, limit = question.call.principal.tenant, question.wishes.max_age_s
    kept = services.answers.get(tenant, question.identity) or await services.answers.fetch(tenant, question.identity)
    if kept is None or (limit is not None and services.clock.time_ns() - kept.kept_ns > limit * 1_000_000_000):
        return None
    return kept if kept.sandbox == question.deployment.sandbox else None  # what a simulator said is no model's answer
