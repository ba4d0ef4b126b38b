"""A request, understood: from bytes to identities. Nothing here waits."""

import msgspec

from tokenrouter.adapters.base import Dialect
from tokenrouter.adapters.inbound.respelling import without_affinity
from tokenrouter.adapters.inbound.wishes import read_wishes
from tokenrouter.errors import Forbidden, UnsupportedField
from tokenrouter.model.admission import Worst
from tokenrouter.model.call import Call, Wishes
from tokenrouter.model.catalog import Deployment, Model, Target
from tokenrouter.model.chunk import Canonical, Chunks
from tokenrouter.model.edits import (
    AFFINITY_REPLACE,
    CALLS_SPELLING,
    DIAGNOSTICS_ASK,
    MARKS_PLAN,
    SYSTEM_SPLIT,
    TOOLS_ORDER,
    TOOLS_SPELLING,
    VOLATILE_KNOWN,
)
from tokenrouter.model.envelope import Envelope, Params
from tokenrouter.model.kept import AnswerForm
from tokenrouter.model.principal import Principal, ShareMode
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.volatile import Behind
from tokenrouter.money import NanoUSD
from tokenrouter.pipeline.arranger import arrange
from tokenrouter.pipeline.canonicalizer import canonicalize
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.pipeline.hasher import answer_identity
from tokenrouter.recall.flights import FlightKey
from tokenrouter.serving.pinning import bound_form
from tokenrouter.serving.relocating import asked_form, puts_back, relocated
from tokenrouter.serving.respelling import Form, Pinning, Respelling, SplitText, remembered_form
from tokenrouter.serving.services import Services
from tokenrouter.serving.state import check_hosted, pinned
from tokenrouter.serving.tariff import Tariff, tariff_of

_ALTERING = frozenset((VOLATILE_KNOWN,))
_ASKED_FOR = {False: frozenset[str](), True: frozenset((DIAGNOSTICS_ASK,))}
_REMEMBERING = frozenset((TOOLS_ORDER, TOOLS_SPELLING, CALLS_SPELLING, SYSTEM_SPLIT))
SPARE_TOKENS = 1_024
"""What vendors put around a prompt themselves (tool-use instructions, templates): above the published figures of 2026-11."""

ASSUMED_USES = 16
"""Uses of a tool with a fee that are held for where the request sets no limit. More are booked all the same."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the bytes of a request alone decide (for one key, under one configuration): enough to find and give a kept answer.

    identity    of the question; None where its answer must be neither shared nor kept
    form        in which the answer is wanted
    reads_kept  a kept answer would do
    """

    dialect: Dialect
    params: Params
    target: Target
    wishes: Wishes
    identity: bytes | None
    form: AnswerForm
    reads_kept: bool


class Question(Known, frozen=True, kw_only=True):
    """A request, understood: what everything after the pipeline works with.

    deployment  who will be asked
    state_tokens  what stored answers that it builds on may bring into the prompt
    recalled      it referred to items that were written out
    sent_chunks   the pieces as the client sent them, where edits have changed some; None: they are those of `canonical`
    spoken_link   behind which the answer's calls will stand (`calls.spelling`); b"": they are not remembered
    split         a system text that goes up in two parts (`system.split`)
    pin           its form, to be kept before anything is sent
    behind        what is said behind the prompt (`volatile.relocate`); it is no part of `canonical`
    places        prefix chain under which reasoning of its turns is kept; (): that of `canonical`
    instead       the model that is asked in the place of the one that was asked for, as a cap wants it; "": that one itself
    fitted        the output limit that a cap has set; 0: none
    flight_key  under which a call in flight may be joined; None: flies alone
    keeps       its answer may be kept
    """

    call: Call
    envelope: Envelope
    canonical: Canonical
    deployment: Deployment
    state_tokens: int = 0
    recalled: bool = False
    sent_chunks: Chunks | None = None
    spoken_link: bytes = b""
    split: SplitText | None = None
    pin: Pinning | None = None
    behind: Behind | None = None
    places: tuple[bytes, ...] = ()
    instead: str = ""
    fitted: int = 0
    tariff: Tariff
    edits: frozenset[str]
    flight_key: FlightKey | None
    keeps: bool
    record: RequestRecord

    @property
    def model(self) -> Model:
        """The model that was asked for."""
        return self.target.model


def understand(
    call: Call, services: Services, record: RequestRecord, *, instead: str = "", fitted: int = 0, promised: bytes | None = None, plain: bool = False
) -> Question:
    """Parse, chunk, resolve, arrange, canonicalize, hash. Fills `record` as far as it gets.

    instead, fitted  see `Question`
    promised         identity under which an idempotency key's answer is kept, where a cap has another question asked in its place
    plain            tools and system text stay as they came, on models whose reasoning is bound to them

    Raises:
        InvalidRequest, ModelNotFound, Forbidden, UnknownPrice, IdempotencyMismatch.
    """
    now = services.clock.stopwatch_ns
    started = now()
    dialect = services.inbound[call.dialect]
    sent = dialect.parse(call.body, call.outside)
    envelope = services.items.written_out(call.principal.tenant, sent)
    recalled = envelope is not sent
    wishes = read_wishes(call.headers, envelope.extensions)
    parsed = now()
    principal, switches = call.principal, services.switches
    chunks, params = chunk(envelope, services.memos.of(principal.tenant), services.catalog.volatile)
    record.stream, record.model_asked = params.stream, params.model
    record.labels = (*call.labels, *params.labels)
    target = services.catalog.resolve(instead or params.model)
    model = target.model
    record.vendor, record.model, record.sandbox = model.vendor, model.name, target.deployments[0].sandbox
    _check_allowed(principal, target)
    tariff = tariff_of(services, target, params.service_tier, dialect)
    _check_served(envelope, chunks, params)
    chunked = now()
    edits = (switches.edits | wishes.edits_on | _ASKED_FOR[principal.prompt_cache.diagnostics]) - wishes.edits_off
    edits = edits.difference(principal.edits_off) if principal.edits_off else edits
    found = relocated(envelope, chunks, params, target, edits, services, dialect, principal)
    moved = None if found is None or puts_back(found, target, edits, services, dialect, principal.tenant) else found
    form_of = (envelope, chunks) if moved is None else (moved.envelope, moved.chunks)
    made = _form(*form_of, target, edits, services, dialect, tenant=principal.tenant, plain=plain)
    as_sent, envelope, chunks = chunks, made.envelope, made.chunks
    canonical = canonicalize(arrange(chunks, sort_tools=made.sorts, known=made.order), params, edits & _ALTERING)
    if wishes.idempotency:
        asked = canonicalize(arrange(as_sent, sort_tools=TOOLS_ORDER in edits), params, edits & _ALTERING)
    else:
        asked = canonical if moved is None else asked_form(canonical, as_sent)
    pin = pinned(envelope, chunks, params, target, services, tenant=principal.tenant)
    deployment = pin.deployment if pin is not None else services.planner.account(target, canonical, tenant=principal.tenant, split=made.split)
    check_hosted(envelope, chunks, deployment, dialect, services)
    if AFFINITY_REPLACE in edits and params.own_affinity and services.planner.has_key(canonical, deployment, edits):
        envelope, params = without_affinity(envelope, AFFINITY_REPLACE), msgspec.structs.replace(params, own_affinity=False)
    canonicalized = now()
    stateful = chunks.stateful or params.stateful
    identity, sharing, keeping = _identity(call, wishes, params, asked, target, services, stateful=stateful, promised=promised)
    form: AnswerForm = "whole" if not params.stream else "stream+usage" if params.include_usage else "stream"
    form = f"{form}:{params.framing}" if params.framing else form
    record.rooms_ns = (parsed - started, chunked - parsed, canonicalized - chunked, now() - canonicalized)
    return Question(
        call=call,
        dialect=dialect,
        envelope=envelope,
        params=params,
        canonical=canonical,
        target=target,
        deployment=deployment,
        state_tokens=pin.tokens if pin is not None else 0,
        recalled=recalled,
        sent_chunks=None if chunks is as_sent else as_sent,
        spoken_link=made.link,
        split=made.split,
        pin=made.pin,
        behind=None if moved is None else moved.behind,
        places=() if found is None else found.places,
        instead=instead,
        fitted=fitted,
        tariff=tariff,
        wishes=wishes,
        edits=edits,
        identity=identity,
        flight_key=(identity, form, params.side_bytes) if sharing and identity is not None else None,
        reads_kept=keeping and wishes.max_age_s != 0,
        keeps=keeping and wishes.store,
        form=form,
        record=record,
    )


def _form(
    envelope: Envelope, chunks: Chunks, target: Target, edits: frozenset[str], services: Services, dialect: Dialect, *, tenant: str, plain: bool
) -> Form:
    """See `remembered_form`, and `bound_form` for models whose reasoning is bound to the very prompt. Counts change with no form.

    Raises InvalidRequest, NotAtHand, Unavailable.
    """
    if dialect.operation != "generate" or (not target.model.bound_reasoning and edits.isdisjoint(_REMEMBERING)):
        return Form(envelope=envelope, chunks=chunks, sorts=TOOLS_ORDER in edits)
    respelling = Respelling(
        memory=services.prompts.edits,
        memo=services.memos.of(tenant),
        volatile=services.catalog.volatile,
        tenant=tenant,
        host=target.model.vendor,
        seed=services.planner.prefix_seed,
        now_ns=services.clock.time_ns(),
    )
    wanted = edits if MARKS_PLAN in edits else edits - {SYSTEM_SPLIT}
    if target.model.bound_reasoning:
        return bound_form(envelope, chunks, wanted, target.model, respelling, services.pins, plain=plain)
    return remembered_form(envelope, chunks, wanted, target.model, respelling)


def _check_allowed(principal: Principal, target: Target) -> None:
    allowed = principal.models
    if allowed and target.model.name not in allowed and f"{target.model.vendor}/{target.model.name}" not in allowed:
        raise Forbidden(f"the key {principal.key_id} may not use {target.asked!r}; it may use {', '.join(allowed)}", param="model")


def _check_served(envelope: Envelope, chunks: Chunks, params: Params) -> None:
    """Refuse what could not be priced, and objects whose owner is not known: all tenants may share one account at the provider."""
    if params.unserved:
        raise UnsupportedField(
            f"{params.unserved} is not served here yet: its price, or whose object it names, is not known to the gateway", param=params.unserved
        )
    if chunks.stateful:
        system, (at_system, at_messages, _) = len(envelope.system), envelope.grammar.places
        for index, reading in enumerate(chunks.messages):
            if reading.object_id:
                raise UnsupportedField(
                    "an object id (file_id, audio.id) names something in the provider's account, which tenants share; send the content itself",
                    param=f"{at_system}[{index}]" if index < system else f"{at_messages}[{index - system}]",
                )


def _identity(
    call: Call,
    wishes: Wishes,
    params: Params,
    canonical: Canonical,
    target: Target,
    services: Services,
    *,
    stateful: bool,
    promised: bytes | None,
) -> tuple[bytes | None, bool, bool]:
    """The answer identity, and whether it may be used to share calls and to keep answers.

    By default only deterministic requests are; a caller may ask for more, but never for requests that depend on what only the
    provider holds. Without any use for it, it is not computed.
    """
    if stateful:
        return None, False, False
    principal, switches = call.principal, services.switches
    asked_for = params.deterministic or bool(wishes.idempotency)
    sharing = _may(wishes.dedup_mode or principal.dedup_mode or switches.dedup_mode, asked_for) and switches.dedup_mode != "off"
    keeping = _may(wishes.cache_mode or principal.cache_mode or switches.cache_mode, asked_for) and switches.cache_mode != "off"
    if not (sharing or keeping or wishes.idempotency):
        return None, False, False
    if promised is not None:
        return promised, sharing, keeping
    tenant, name = principal.tenant, f"{target.model.vendor}/{target.model.name}"
    question = answer_identity(canonical, tenant=tenant, model=name, dialect=call.dialect)
    if not wishes.idempotency:
        return question, sharing, keeping
    services.idempotency.check(principal.key_id, wishes.idempotency, question)
    scope = f"{principal.key_id}\0{wishes.idempotency}".encode()
    return answer_identity(canonical, tenant=tenant, model=name, dialect=call.dialect, scope=scope), sharing, keeping


def _may(mode: ShareMode, asked_for: bool) -> bool:
    return mode == "all" or (mode == "auto" and asked_for)


def worst_cost(question: Question) -> NanoUSD:
    """What this call can cost at most: every byte of text a token, every picture the dearest, all output used.

    No tokenizer makes more tokens than bytes, so a truthful provider can not bill more than this; but for searches beyond those held for.
    """
    if question.dialect.operation == "count":
        return 0
    return question.tariff.worst(*most_tokens(question)) + fees_of(question)


def worst_of(question: Question) -> Worst:
    """The same with its tokens: what admission is asked to set aside."""
    counts = question.dialect.operation == "count"
    return Worst(worst_cost(question), 0 if counts else sum(most_tokens(question)), question.deployment.sandbox)


def fees_of(question: Question) -> NanoUSD:
    """What the tools that the provider runs may cost beside tokens."""
    canonical = question.canonical
    fees = max((reading.fee for reading in (*canonical.tools, *canonical.messages)), default=0)
    return max(0, fees) * (question.params.most_uses or ASSUMED_USES)


def most_tokens(question: Question) -> tuple[int, int]:
    """Input and output tokens that the call can come to at most."""
    canonical, params = question.canonical, question.params
    text = images = 0
    for reading in (*canonical.tools, *canonical.messages):
        text += reading.text_bytes
        images += reading.images
    text += 0 if question.behind is None else len(question.behind.text.encode("utf-8", "surrogatepass"))
    inputs = text + len(canonical.prompt_bytes) + images * question.model.image_tokens + SPARE_TOKENS + question.state_tokens
    outputs = 0 if question.dialect.operation == "embed" else (params.max_output or question.model.max_output) * params.choices
    return inputs, outputs


def estimated_input(question: Question) -> int:
    """Input tokens to book where the provider never said: a third of the bytes, above what text and code come to."""
    canonical = question.canonical
    readings = (*canonical.tools, *canonical.messages)
    text, images = sum(reading.text_bytes for reading in readings), sum(reading.images for reading in readings)
    return -(-text // 3) + images * question.model.image_tokens + question.state_tokens
