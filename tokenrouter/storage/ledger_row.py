"""A request's record as a row of the ledger: what people search for and sum up, beside the whole record. The same for SQLite and Postgres."""

import msgspec

from tokenrouter.model.record import RequestRecord

_LONGEST = 512  # of a text that is searched for: an index of Postgres takes 2,700 bytes; the record has it whole
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RequestRecord)


class LedgerRow(msgspec.Struct, frozen=True):
    """The ledger's columns, by their names and in their order (sql/)."""

    id: str
    time_ns: int
    admitted_ns: int
    key_id: str
    tenant: str
    customer: str
    dialect: str
    model_asked: str
    vendor: str
    model: str
    sandbox: int
    status: int
    error: str
    cache: str
    similarity: int
    settled: str
    late: int
    fresh_input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    tokens: int
    cost: int
    saved_prompt_cache: int
    saved_by_client: int
    saved_by_gateway: int
    saved_exact: int
    saved_dedup: int
    held: int
    price_version: str
    duration_ns: int
    first_byte_ns: int
    session: str
    cache_break: str
    cache_break_cost: int
    unreported_input: int
    read_across_sessions: int
    read_across_users: int
    labels: dict[str, str]
    record: str


def row_of(record: RequestRecord, encoded: bytes, held: int = 0) -> LedgerRow:
    """The row of a record. `encoded`: the record as JSON. `held`: nano-USD that were set aside for it."""
    usage = record.usage
    return LedgerRow(
        id=record.id,
        time_ns=record.time_ns,
        admitted_ns=record.booked_ns,
        key_id=_text(record.key_id),
        tenant=record.tenant,
        customer=_text(record.customer),
        dialect=record.dialect,
        model_asked=_text(record.model_asked),
        vendor=_text(record.vendor),
        model=_text(record.model),
        sandbox=int(record.sandbox),
        status=record.status,
        error=_text(record.error),
        cache=record.cache,
        similarity=record.similarity,
        settled=record.settled,
        late=int(record.late),
        fresh_input=usage.fresh_input,
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        cache_write_1h=usage.cache_write_1h,
        output=usage.output,
        tokens=record.tokens,
        cost=record.cost,
        saved_prompt_cache=record.saved_prompt_cache,
        saved_by_client=record.saved_by_client,
        saved_by_gateway=record.saved_by_gateway,
        saved_exact=record.saved_exact,
        saved_dedup=record.saved_dedup,
        held=held,
        price_version=record.price_version,
        duration_ns=record.duration_ns,
        first_byte_ns=record.first_byte_ns,
        session=record.session,
        cache_break=record.cache_break,
        cache_break_cost=record.cache_break_cost,
        unreported_input=0 if record.settled == "free" or (usage.reported and usage.cache_reported) else usage.input_total,
        read_across_sessions=record.read_across_sessions,
        read_across_users=record.read_across_users,
        labels={_text(name): _text(value) for name, value in reversed(record.labels)},  # the first of a name counts
        record=encoded.decode(),
    )


def sqlite_values(row: LedgerRow) -> tuple[object, ...]:
    """The row as SQLite takes it: labels as JSON text."""
    return (*msgspec.structs.astuple(row)[:-2], _encoder.encode(row.labels).decode(), row.record)


def presumed(record: RequestRecord, held: int, held_tokens: int, error: str) -> RequestRecord:
    """What an intent comes to when nobody tells its end: everything that was set aside counts as spent. Changes the record."""
    record.settled, record.cost, record.error = "presumed", held, error
    record.held_tokens = held_tokens or record.held_tokens
    return record


def read_record(encoded: bytes | str, settled: str, *, late: bool, cost: int) -> RequestRecord:
    """A row's record; the columns that may have changed once say how it was booked."""
    record = _decoder.decode(encoded)
    record.settled, record.late, record.cost = settled, late, cost  # type: ignore[assignment]  # written from the same words
    return record


def _text(value: str) -> str:
    """Clients write some of it: Postgres takes no NUL in a text."""
    return value[:_LONGEST].replace("\0", "\ufffd")
