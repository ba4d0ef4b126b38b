"""On the way up: one question planned, rendered and addressed."""

import msgspec

from tokenrouter.adapters.base import DiagnosingWire
from tokenrouter.model.catalog import Endpoint
from tokenrouter.model.edits import DIAGNOSTICS_ASK, ITEMS_RECALLED, LIMITS_FIT, THOUGHTS_ATTACH
from tokenrouter.pipeline.hasher import prefix_chain
from tokenrouter.recall.thoughts import Thoughts
from tokenrouter.serving.question import Question
from tokenrouter.serving.relocating import thoughts_of
from tokenrouter.serving.services import Services
from tokenrouter.serving.sighting import Watch
from tokenrouter.upstream.diagnosing import DiagnosingLane
from tokenrouter.upstream.lane import Asked, Lane
from tokenrouter.upstream.lanes import is_native, open_lane
from tokenrouter.upstream.transport import Transport


def lane_of(question: Question, services: Services, watch: Watch | None) -> Lane:
    """Plan and render. Raises InvalidRequest, UnsupportedField."""
    record, deployment = question.record, question.deployment
    plan = services.planner.plan(
        question.canonical,
        question.model,
        deployment,
        question.edits,
        tenant=question.call.principal.tenant,
        own_affinity=question.params.own_affinity,
        wishes=watch.wishes if watch is not None else (),
        writing="explicit" if question.behind is not None else watch.writing if watch is not None else "",
        native=is_native(deployment, question.dialect, services.outbound),
        split=question.split,
        session=watch.sight.session if watch is not None else b"",
        now_ns=services.clock.time_ns(),
    )
    asked = Asked(
        envelope=question.envelope,
        canonical=question.canonical,
        params=question.params,
        model=question.model,
        deployment=deployment,
        plan=plan,
        edits=question.edits,
        thoughts=_thoughts(question, services),
        volatile=services.catalog.volatile,
        behind=question.behind,
    )
    lane = open_lane(asked, question.dialect, services.outbound, services.clock.time_ns() // 1_000_000_000)
    if watch is not None and DIAGNOSTICS_ASK in question.edits:
        lane = _asking_why(lane, question, services, watch)
    before_lane = (*((ITEMS_RECALLED,) if question.recalled else ()), *((LIMITS_FIT,) if question.fitted else ()), *question.envelope.edited)
    record.edits, record.dropped = (*before_lane, *lane.outgoing.edits), lane.outgoing.dropped
    if watch is not None:
        watch.planned(plan, record.edits)
    return lane


def _asking_why(lane: Lane, question: Question, services: Services, watch: Watch) -> Lane:
    """The same lane, asking the vendor why a prompt could not be reused, where it can be asked."""
    if lane.endpoint is None or not question.deployment.diagnoses:
        return lane
    wire = services.outbound[lane.endpoint.wire]
    if not isinstance(wire, DiagnosingWire):
        return lane
    asking = DiagnosingLane(lane, wire, watch.previous_answer())
    watch.diagnosis = asking.diagnosis
    return asking


async def addressed(lane: Lane, endpoint: Endpoint | None, question: Question, services: Services) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Where it goes, and with which headers."""
    deployment, outgoing = question.deployment, lane.outgoing
    url = (endpoint.base_url if endpoint is not None else "") + outgoing.path
    shown = deployment if outgoing.auth is None else msgspec.structs.replace(deployment, auth=outgoing.auth)
    headers = await services.credentials.headers(shown, url, outgoing.headers, outgoing.body)
    return url, (*headers, *question.call.onward)


def transport_of(sandbox: bool, services: Services) -> Transport:
    """Whom requests to a deployment go through."""
    if sandbox and services.sandbox_transport is not None:
        return services.sandbox_transport
    return services.transport


def _thoughts(question: Question, services: Services) -> Thoughts | None:
    """The side store in this request's eyes; None where the client's own words go up, or nothing is to be put back."""
    native = is_native(question.deployment, question.dialect, services.outbound)
    if native or question.dialect.operation != "generate" or THOUGHTS_ATTACH not in question.edits:
        return None
    canonical, model, tenant = question.canonical, question.model, question.call.principal.tenant
    chain = question.places or prefix_chain(canonical, tenant=tenant, model=f"{model.vendor}/{model.name}", seed=services.planner.prefix_seed)
    return thoughts_of(services, model, tenant, chain, len(canonical.messages))
