"""What goes back: a kept answer or a flight's, in the form that was asked for, with our own headers beside the vendor's."""

from collections.abc import AsyncIterator, Mapping
from typing import cast
from urllib.parse import quote

import msgspec

from tokenrouter.adapters.base import Dialect, InboundAdapter, Wanted
from tokenrouter.errors import GatewayError
from tokenrouter.model.answer import Answer, fold, unfold
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.record import RequestRecord
from tokenrouter.money import format_usd
from tokenrouter.recall.flights import Flight
from tokenrouter.serving.question import Known, Question

Header = tuple[bytes, bytes]
_JSON: Header = (b"content-type", b"application/json")
_NAMES_MOST, _NAME_MOST = 32, 64


class Reply(msgspec.Struct, frozen=True):
    """A response whose head is known. Either `body`, or `frames` that come one by one."""

    status: int
    headers: list[Header]
    body: bytes = b""
    frames: AsyncIterator[bytes] | None = None


def replay(known: Known, kept: KeptAnswer, record: RequestRecord, now_ns: int, limits: list[Header]) -> Reply:
    """Give a kept answer again: byte for byte in the form in which it was kept, rendered anew in another."""
    streams, metadata = known.params.stream, known.wishes.metadata
    record.status, record.usage, record.saved_exact = 200, kept.usage, kept.cost
    record.shared_from = kept.request_id
    body, end = kept.body, kept.end
    if kept.form != known.form:
        body, end = _rendered(known, kept)
    kind: Header = (b"content-type", known.dialect.stream_type(known.params.framing)) if streams else _JSON
    headers = [kind, *own_headers(record, whole=not streams), *limits]
    headers.append((b"age", b"%d" % max(0, (now_ns - kept.kept_ns) // 1_000_000_000)))
    if streams:
        return Reply(200, headers, body + (_metadata_frame(known, record) if metadata else b"") + end)
    return Reply(200, headers, _with_metadata(body, record) if metadata else body)


def _rendered(known: Known, kept: KeptAnswer) -> tuple[bytes, bytes]:
    dialect = generating(known.dialect)
    answer = _parsed(dialect, kept)
    wanted = Wanted(include_usage=known.params.include_usage, framing=known.params.framing, created_s=answer.created_s)
    if not known.params.stream:
        return dialect.encode_answer(answer, wanted), b""
    encoder = dialect.encoder(wanted)
    return b"".join(map(encoder.encode, unfold(answer))), encoder.close()


def generating(dialect: Dialect) -> InboundAdapter:
    """The dialect of a question that asks a model for an answer; only those have several forms."""
    return cast("InboundAdapter", dialect)


def _parsed(dialect: InboundAdapter, kept: KeptAnswer) -> Answer:
    """Read a kept answer back. Its usage is the one that was booked: a stream kept without its usage frame does not hold it."""
    if kept.form == "whole":
        answer = dialect.decode_answer(kept.body)
    else:
        decoder = dialect.decoder(kept.form.partition(":")[2])
        answer = fold([*decoder.feed(kept.body + kept.end), *decoder.finish()])
    return msgspec.structs.replace(answer, usage=kept.usage)


async def follow(question: Question, flight: Flight, keep_alive_s: float, limits: list[Header]) -> Reply:
    """Read a flight. Raises what the call failed with, where nothing of the answer has come yet. `keep_alive_s`: see `Switches`; `limits`:
    the headers that tell where the caller stands.
    """
    head = await flight.begun()
    if head is None:
        raise flight.error or GatewayError()
    record = question.record
    if head.streams:
        headers = [*head.headers, *own_headers(share(question, flight), whole=False), *limits]
        return Reply(head.status, headers, frames=_frames(question, flight, keep_alive_s))
    body = await flight.whole()
    if flight.error is not None:
        raise flight.error
    share(question, flight)
    record.status = head.status
    if question.wishes.metadata and head.status == 200:
        body = _with_metadata(body, record)
    return Reply(head.status, [*head.headers, *own_headers(record, whole=True), *limits], body)


def share(question: Question, flight: Flight) -> RequestRecord:
    """Take over what the leader's record knows, for one who did not lead: the answer is the same, the money was the leader's."""
    record, leader = question.record, flight.record
    if leader is not None and leader is not record:
        record.edits, record.dropped, record.shared_from = leader.edits, leader.dropped, leader.id
        record.usage, record.upstream_ns = leader.usage, leader.upstream_ns
        record.saved_dedup = leader.cost if flight.error is None else 0
        record.status = flight.head.status if flight.head is not None else leader.status  # the leader's own may say that it left
    return record


async def _frames(question: Question, flight: Flight, keep_alive_s: float) -> AsyncIterator[bytes]:
    """The frames of a stream; what went wrong after its head becomes its last frame, and nothing closes it then."""
    sign = flight.head.keep_alive if flight.head is not None else b""
    async for data in flight.read(keep_alive_s if sign else None):
        yield data or sign
    record = share(question, flight)
    if flight.error is not None:
        record.error, record.status = flight.error.code, flight.error.status
        yield question.dialect.encode_stream_error(flight.error, question.params.framing)
        return
    yield (_metadata_frame(question, record) if question.wishes.metadata else b"") + flight.end


def own_headers(record: RequestRecord, *, whole: bool) -> list[Header]:
    """`x-tokenrouter-*`. Money and tokens only where they are known: not before a stream."""
    headers = [
        (b"x-tokenrouter-request-id", record.id.encode()),
        (b"x-tokenrouter-provider", (record.vendor or "none").encode()),
        (b"x-tokenrouter-cache", record.cache.encode()),
        (b"x-tokenrouter-edits", ",".join(record.edits).encode() or b"none"),
    ]
    if record.sandbox:
        headers.append((b"x-tokenrouter-sandbox", b"true"))
    if record.downgraded_from:
        headers.append((b"x-tokenrouter-downgraded-from", _listed((record.downgraded_from,))))
    if record.output_limit:
        headers.append((b"x-tokenrouter-output-limit", b"%d" % record.output_limit))
    if record.warnings:
        headers.append((b"x-tokenrouter-warning", _listed(record.warnings)))
    if record.dropped:
        headers.append((b"x-tokenrouter-dropped", _listed(record.dropped)))
    if whole and record.status < 400:
        headers += [
            (b"x-tokenrouter-cost-usd", format_usd(record.cost).encode()),
            (b"x-tokenrouter-saved-usd", format_usd(record.saved).encode()),
            (b"x-tokenrouter-cached-tokens", b"%d" % (record.usage.cache_read if record.cache in ("miss", "bypass") else 0)),
        ]
        if record.cache_break:
            headers.append((b"x-tokenrouter-cache-break", _listed((record.cache_break, record.cache_break_place))))
    return headers


def _listed(names: tuple[str, ...]) -> bytes:
    """Names that a client made up, as a header value: escaped like a URL, so that none can end the header, and not endless."""
    shown = [quote(name[:_NAME_MOST], safe="[]._-") for name in names[:_NAMES_MOST]]
    return ",".join(shown if len(names) <= _NAMES_MOST else [*shown, "..."]).encode()


def figures(record: RequestRecord) -> dict[str, object]:
    """The gateway's own figures of one request, for those who asked for them in the body."""
    usage = record.usage
    return {
        "request_id": record.id,
        "provider": record.vendor,
        "model": record.model,
        "cache": record.cache,
        "edits": list(record.edits),
        "dropped": list(record.dropped),
        "sandbox": record.sandbox,
        "settled": record.settled,
        "cost_usd": format_usd(record.cost),
        "saved_usd": format_usd(record.saved),
        "saved_by_usd": {
            "prompt_cache": format_usd(record.saved_prompt_cache),
            "exact": format_usd(record.saved_exact),
            "dedup": format_usd(record.saved_dedup),
        },
        "prompt_cache": {
            "saved_by_client_usd": format_usd(record.saved_by_client),
            "saved_by_gateway_usd": format_usd(record.saved_by_gateway),
            "session": record.session,
            "break": record.cache_break or None,
            "break_place": record.cache_break_place or None,
            "lost_tokens": record.cache_break_tokens,
            "lost_usd": format_usd(record.cache_break_cost),
        },
        "usage": {
            "fresh_input": usage.fresh_input,
            "cache_read": usage.cache_read,
            "cache_write": usage.cache_write,
            "cache_write_1h": usage.cache_write_1h,
            "output": usage.output,
            "reasoning": usage.reasoning,
            "reported": usage.reported,
        },
    }


def _metadata_frame(known: Known, record: RequestRecord) -> bytes:
    wanted = Wanted(framing=known.params.framing, created_s=record.time_ns // 1_000_000_000)
    encoder = generating(known.dialect).encoder(wanted)
    return encoder.metadata(figures(record))


def _with_metadata(body: bytes, record: RequestRecord) -> bytes:
    at = body.rstrip().rfind(b"}")
    fields: Mapping[str, object] = figures(record)
    return body[:at] + b',"x_tokenrouter":' + msgspec.json.encode(fields) + b"}"
