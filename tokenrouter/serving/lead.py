"""The upstream call of one flight: planned, rendered, sent, relayed, settled. Runs once, whoever reads it."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from tokenrouter.adapters.base import Aftermath
from tokenrouter.adapters.limit_headers import is_limit_header
from tokenrouter.clock import Clock
from tokenrouter.errors import GatewayError, UpstreamFailed, UpstreamRefused, UpstreamTimedOut, UpstreamTruncated
from tokenrouter.model.edits import USAGE_ASK
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.owned import Owned
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.money import cost, prompt_cache_saving
from tokenrouter.recall.flights import Flight, Head
from tokenrouter.recall.ownership import KEPT_NS
from tokenrouter.serving.bound import as_it_came, pin_down
from tokenrouter.serving.entrance import Stake
from tokenrouter.serving.heard import hear_calls, said_tokens
from tokenrouter.serving.question import Question, estimated_input, most_tokens
from tokenrouter.serving.reply import generating
from tokenrouter.serving.sending import addressed, lane_of, transport_of
from tokenrouter.serving.services import Services
from tokenrouter.serving.sighting import Watch, learned_from, watch_for
from tokenrouter.upstream.lane import Lane
from tokenrouter.upstream.transport import MAX_BODY, NeverSent, UpstreamResponse

log = logging.getLogger("tokenrouter")

# Headers that belong to one hop, to one origin, or that we set ourselves.
_NOT_RELAYED = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "content-encoding", "set-cookie", "server", "date", "alt-svc", "strict-transport-security"),
    )
)
_JSON = (b"content-type", b"application/json")
_Headers = tuple[tuple[bytes, bytes], ...]
_CREDENTIAL_STATUSES = (401, 403, 407)


class _Outcome(msgspec.Struct):
    """What is known of the call so far. `sent`: something may be billed; `ended`: the provider came to its own end;
    `left`: nobody waited for it any more. `watch`: what those who remember prompts see of it.
    """

    sent: bool = False
    refused: bool = False
    ended: bool = False
    left: bool = False
    usage: Usage = NO_USAGE
    reusable: bool = False
    aftermath: Aftermath = Aftermath()
    watch: Watch | None = None


async def fly(flight: Flight, question: Question, stake: Stake, services: Services) -> None:
    """Make the call and land the flight, whatever happens. Settles the stake exactly once, without awaiting anything."""
    record, outcome = question.record, _Outcome()
    flight.record, flight.drains = record, not question.params.stream
    landed = services.flights.track(flight)
    error: GatewayError | None = None
    end = b""
    try:
        end = await _call(flight, question, stake, services, outcome)
    except GatewayError as failure:
        error = failure
    except asyncio.CancelledError:
        error, outcome.left = UpstreamFailed("everyone who waited for this answer has gone"), True
        raise
    except Exception:
        log.exception("request %s failed inside the gateway", record.id)
        error = GatewayError()
    finally:
        if outcome.watch is not None:
            services.cold_starts.release(outcome.watch)
        try:
            _settle(flight, question, stake, outcome, error, services.clock)
            _remember(flight, question, services, outcome, end, whole=error is None)
        except Exception:
            log.exception("request %s could not be booked or remembered", record.id)
        finally:  # whoever waits is told, whatever happens
            landed()
            flight.land(error=error, end=end)


def _remember(flight: Flight, question: Question, services: Services, outcome: _Outcome, end: bytes, *, whole: bool) -> None:
    """What is of use to later requests. `whole`: the answer came as it was to come."""
    if whole and outcome.ended and question.spoken_link:
        hear_calls(question, b"".join(flight.frames) + end, services)
    if whole and outcome.reusable and question.keeps:
        _keep(flight, question, services, end)
    _own(question, services, outcome.aftermath)


async def _call(flight: Flight, question: Question, stake: Stake, services: Services, outcome: _Outcome) -> bytes:
    """Send and relay. Returns the dialect's closing frame of a stream."""
    clock, record = services.clock, question.record
    before = clock.stopwatch_ns()
    question = await pin_down(question, services)
    watch = watch_for(question, services)
    hold_ms = question.call.principal.prompt_cache.hold_ms
    if watch is not None and hold_ms and await services.cold_starts.wait(watch, hold_ms):
        watch = watch_for(question, services)  # what somebody else wrote meanwhile can be read
    outcome.watch = watch
    lane = _planned(question, services, watch)
    if lane.endpoint is None:
        _local(flight, lane, outcome, record)
        return b""
    url, headers = await addressed(lane, lane.endpoint, question, services)
    stake.intend(record)
    sent_at = clock.stopwatch_ns()
    record.rooms_ns = (*record.rooms_ns, sent_at - before)
    response = await _send(url, headers, lane, question, services, outcome)
    try:
        refusal = await response.read() if response.status >= 300 else b""
        outcome.refused = response.status >= 300
        plain = await as_it_came(question, services, lane, refusal) if response.status == 400 else None
        if plain is not None:
            outcome.sent = outcome.refused = False  # the first one cost nothing; the second is still to be sent
            await response.aclose()
            if watch is not None:
                watch.refused(services.clock.time_ns())
                services.cold_starts.release(watch)
            watch = outcome.watch = watch_for(plain, services)
            question, lane, record.unbound = plain, _planned(plain, services, watch), True
            url, headers = await addressed(lane, lane.endpoint, question, services)
            response = await _send(url, headers, lane, question, services, outcome)
            refusal = await response.read() if response.status >= 300 else b""
            outcome.refused = response.status >= 300
            if not refusal:
                await pin_down(plain, services)
        record.first_byte_ns = clock.stopwatch_ns() - sent_at
        record.status = response.status
        if watch is not None and response.status < 300:
            watch.began(clock.time_ns())
            services.cold_starts.release(watch)
        relayed = _relayed(response, services.catalog.account_headers)
        if response.status >= 300:
            _refused(flight, response.status, refusal, relayed, lane, question)
            return b""
        if not question.params.stream:
            await _whole(flight, response, relayed, lane, outcome)
            return b""
        return await _stream(
            flight,
            response,
            relayed,
            lane,
            outcome,
            lambda begun: _own(question, services, begun),
            lambda usage: _grow(question, stake, usage),
        )
    finally:
        record.upstream_ns = clock.stopwatch_ns() - sent_at
        await response.aclose()


def _planned(question: Question, services: Services, watch: Watch | None) -> Lane:
    """Plan and render; where cold starts may be waited for, say what is going to be written. Raises InvalidRequest, UnsupportedField."""
    lane = lane_of(question, services, watch)
    if watch is not None and question.call.principal.prompt_cache.hold_ms:
        services.cold_starts.lead(watch)
    return lane


async def _send(
    url: str, headers: tuple[tuple[str, str], ...], lane: Lane, question: Question, services: Services, outcome: _Outcome
) -> UpstreamResponse:
    outcome.sent = True
    if outcome.watch is not None:
        outcome.watch.sent(services.clock.time_ns())
    try:
        return await transport_of(question.deployment.sandbox, services).send(url, headers, lane.outgoing.body)
    except NeverSent:
        outcome.sent = False
        raise


def _local(flight: Flight, lane: Lane, outcome: _Outcome, record: RequestRecord) -> None:
    """Nobody has to be asked."""
    whole = lane.whole(b"")
    outcome.sent = outcome.ended = True
    outcome.usage, record.status = whole.usage, 200
    flight.begin(Head(status=200, headers=(_JSON,), streams=False))
    flight.publish(whole.body)


def _refused(flight: Flight, status: int, body: bytes, headers: _Headers, lane: Lane, question: Question) -> None:
    """The provider said no. Its words go to the client as they are, where the client speaks its dialect."""
    message = lane.error_message(body)
    if status in _CREDENTIAL_STATUSES:
        # The client's key is fine; the body may echo a part of ours.
        right = ", or its right to this model" if status == 403 else ""
        raise UpstreamFailed(f"{question.deployment.name} refused the gateway's credential{right} ({status})")
    if status < 400:
        raise UpstreamFailed(f"{question.deployment.name} answered with a redirect ({status}), which is never followed")
    if lane.own_error(body):
        flight.begin(Head(status=status, headers=headers, streams=False))
        flight.publish(body)
        return
    said = f"{question.deployment.name} answered {status}: {(message or 'nothing that explains it')[:2000]}"
    error = UpstreamRefused(said, status=status)
    kept = (_JSON, *(h for h in headers if h[0].startswith((b"retry-after", b"x-should"))))
    flight.begin(Head(status=status, headers=kept, streams=False))
    flight.publish(question.dialect.encode_error(error, question.record.id))


def _relayed(response: UpstreamResponse, private: frozenset[str]) -> _Headers:
    relayed = []
    for name, value in response.headers:
        lower = name.lower()
        if lower not in _NOT_RELAYED and lower not in private and not lower.startswith("x-tokenrouter-") and not is_limit_header(lower):
            relayed.append((lower.encode("latin-1"), value.encode("latin-1", "replace")))
    return tuple(relayed)


async def _whole(flight: Flight, response: UpstreamResponse, headers: _Headers, lane: Lane, outcome: _Outcome) -> None:
    body = await response.read()
    whole = lane.whole(body)
    outcome.ended, outcome.usage, outcome.reusable = True, whole.usage, whole.reusable
    outcome.aftermath = lane.aftermath(body)
    if whole.body is not body:
        headers = (*(header for header in headers if header[0] != b"content-type"), _JSON)
    flight.begin(Head(status=response.status, headers=headers, streams=False))
    flight.publish(whole.body)


async def _stream(
    flight: Flight,
    response: UpstreamResponse,
    headers: _Headers,
    lane: Lane,
    outcome: _Outcome,
    begun: Callable[[Aftermath], None],
    reported: Callable[[Usage], None],
) -> bytes:
    """Relay. `begun` hears what the answer's first frames tell, before anybody reads them; `reported`: usage that the provider has told so far."""
    tap = lane.stream()
    if lane.stream_type is not None:
        headers = (*(header for header in headers if header[0] != b"content-type"), (b"content-type", lane.stream_type))
    head = Head(status=response.status, headers=headers, streams=True, keep_alive=lane.keep_alive)
    size = 0
    try:
        async for data in response.chunks():
            frames = tap.feed(data)
            size += len(frames)
            if size > MAX_BODY:
                raise UpstreamFailed(f"the provider's stream is larger than {MAX_BODY >> 20} MB")
            if frames:
                if flight.head is None:
                    begun(lane.aftermath(frames))
                    flight.begin(head)
                flight.publish(frames)
            if tap.usage is not outcome.usage:
                outcome.usage = tap.usage
                reported(tap.usage)
            if tap.failure is not None and not tap.finished:
                raise UpstreamFailed(tap.failure)
        last = tap.close()
    except (UpstreamFailed, UpstreamTimedOut):
        if not tap.finished or not tap.end:  # a connection that breaks after the vendor's own last frame has broken nothing
            raise
        last = b""
    finally:
        outcome.usage = tap.usage
        outcome.aftermath = lane.aftermath(tap.end if tap.finished and tap.failure is None else b"".join((*flight.frames, tap.end)))
    if tap.failure is not None and not tap.finished:
        raise UpstreamFailed(tap.failure)
    if not tap.finished:
        raise UpstreamTruncated("the provider's stream stopped before its end")
    if tap.failure is not None and flight.record is not None:
        flight.record.error = UpstreamFailed.code  # the client reads it in the provider's own last frame
    if flight.head is None:
        flight.begin(head)
    if last:
        flight.publish(last)
    outcome.ended, outcome.reusable = True, tap.reusable
    return tap.end


def _grow(question: Question, stake: Stake, usage: Usage) -> None:
    """A stream that has come to more than was set aside: nobody else may spend it."""
    spent, tokens = cost(usage, question.tariff.billed(usage)), usage.input_total + usage.output
    if spent > stake.hold.usd or tokens > stake.hold.tokens:
        stake.grow(max(spent, stake.hold.usd), max(tokens, stake.hold.tokens))


def _settle(flight: Flight, question: Question, stake: Stake, outcome: _Outcome, error: GatewayError | None, clock: Clock) -> None:
    """Book the truth as far as it is known."""
    record, usage = question.record, outcome.usage
    price = question.tariff.billed(usage)
    if not outcome.sent or outcome.refused:
        record.settled, record.cost = "void", 0
    elif outcome.ended and usage.reported:
        record.settled, record.usage = "exact", usage
    elif usage.reported or _can_estimate(flight, question, outcome):
        known = usage
        if not usage.reported:
            known = Usage(fresh_input=estimated_input(question), fees=usage.fees, service_tier=usage.service_tier, cache_reported=False)
        record.settled = "estimated"
        record.usage = msgspec.structs.replace(known, output=max(known.output, said_tokens(question, b"".join(flight.frames))), reported=False)
    else:
        record.settled, record.cost = "presumed", stake.hold.usd  # sent, and never heard of again: it may all have been billed
    if record.settled in ("exact", "estimated"):
        price = question.tariff.billed(record.usage)
        record.cost = cost(record.usage, price)
        record.saved_prompt_cache = prompt_cache_saving(record.usage, price)
    record.price_version = price.version
    if error is not None and not record.error:
        record.error = error.code
    if error is not None:
        record.status = record.status if record.status >= 400 else error.status
    if outcome.watch is not None:
        learned_from(outcome.watch, record, clock.time_ns())
    stake.settle(record)


def _can_estimate(flight: Flight, question: Question, outcome: _Outcome) -> bool:
    """Whether what is known says enough. Not where the caller kept us from asking for usage, and not where nothing ever came back."""
    params = question.params
    if params.stream and not params.include_usage and USAGE_ASK not in question.edits:
        return False
    return outcome.ended or flight.head is not None or (outcome.left and params.stream)


def _sound(question: Question, body: bytes) -> bool:
    """Whether every byte can be read again: a relayed stream passes frames that nobody has looked into."""
    try:
        body.decode()
        if question.dialect.operation != "generate":
            msgspec.json.decode(body)
        elif question.form == "whole":
            generating(question.dialect).decode_answer(body)
        else:
            decoder = generating(question.dialect).decoder(question.params.framing)
            decoder.feed(body)
            decoder.finish()
    except (ValueError, UpstreamFailed):
        return False
    return True


def _own(question: Question, services: Services, aftermath: Aftermath) -> None:
    """Remember whose answer the provider keeps before its client reads the id: when it begins, and once more when it is known whole.

    All of it may come back as prompt; of its items, no more than it said. Of a call that was cut, what that can be at most.
    """
    objects = aftermath.objects
    if not question.params.stores:
        return
    services.items.keep(question.call.principal.tenant, aftermath.items)
    if not objects:
        return
    record, tenant = question.record, question.call.principal.tenant
    inputs, outputs = (record.usage.input_total, record.usage.output) if record.settled == "exact" else most_tokens(question)
    expires_ns = services.clock.time_ns() + KEPT_NS
    name = question.deployment.name
    services.owned.record(tenant, objects[:1], Owned(name, inputs + outputs, expires_ns))
    services.owned.record(tenant, objects[1:], Owned(name, outputs, expires_ns))


def _keep(flight: Flight, question: Question, services: Services, end: bytes) -> None:
    now, record = services.clock.time_ns(), question.record
    if question.identity is None or flight.head is None or flight.head.status != 200:
        return
    body = b"".join(flight.frames)
    if not _sound(question, body + end):
        return
    services.answers.put(
        question.call.principal.tenant,
        question.identity,
        KeptAnswer(
            dialect=question.dialect.dialect,
            form=question.form,
            body=body,
            end=end,
            usage=record.usage,
            cost=record.cost,
            vendor=record.vendor,
            model=record.model,
            sandbox=record.sandbox,
            request_id=record.id,
            kept_ns=now,
            expires_ns=now + services.switches.cache_ttl_s * 1_000_000_000,
            key_id=record.key_id,
        ),
    )
