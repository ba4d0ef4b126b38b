"""One request in the eyes of those who remember prompts: looked at before it is sent, learned from when it was answered.

    watch = watch_for(question, services)       # on the miss path, the account known; None: nothing to remember
    plan  = ...                                 # `watch.decision` says where marks would pay, `watch.wishes` what to ask for
    watch.planned(plan, edits), watch.sent(), watch.began()  # what was decided; on its way; its answer begins
    learned_from(watch, record, ...)            # the answer is there: beliefs, books, credit, and what broke

Nothing here waits, and nothing here may fail a request.
"""

import logging
from collections.abc import Sequence

import msgspec
import xxhash

from tokenrouter.adapters.base import Heard
from tokenrouter.adapters.inbound.client_sessions import header_session
from tokenrouter.adapters.inbound.respelling import affinity_of
from tokenrouter.model.breaks import Break
from tokenrouter.model.cache_plan import Breakpoint, CachePlan, PromptCacheLimits, Writing
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.edits import CALLS_SPELLING, MARKS_PLAN, SYSTEM_SPLIT, TOOLS_ORDER, TOOLS_SPELLING, VOLATILE_KNOWN, VOLATILE_RELOCATE
from tokenrouter.model.prefix import CacheScope, Sight
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.usage import Usage
from tokenrouter.model.volatile import Behind
from tokenrouter.money import Rates
from tokenrouter.pipeline.cache_injector import client_marks
from tokenrouter.pipeline.hasher import prefix_chain
from tokenrouter.prefixes.attribution import Unaided, automatic_read, vendors_own
from tokenrouter.prefixes.diagnosis import Context, diagnose
from tokenrouter.prefixes.expected_value import Decision, decide
from tokenrouter.prefixes.looks import Look, Mark
from tokenrouter.prefixes.memory import PromptMemory
from tokenrouter.prefixes.premiums import Book, Ticket
from tokenrouter.prefixes.sessions import Past, session_key
from tokenrouter.prefixes.snapshots import Snapshot, take
from tokenrouter.prefixes.tree import Tree
from tokenrouter.serving.question import Question
from tokenrouter.serving.respelling import SplitText
from tokenrouter.serving.services import Services
from tokenrouter.upstream.diagnosing import Diagnosis

log = logging.getLogger("tokenrouter")

_OFF = Decision(why="off")


class Watch(msgspec.Struct, kw_only=True):
    """A request under watch.

    decision  what the policy would do, or has done
    applied   it is done; False: it is recorded only
    touched   the gateway changed something that prompt caches see
    implicit  the vendor writes the newest message by itself, and looks for earlier ends
    diagnosis what the vendor says about the prompt, where it is asked
    leading   prefixes that it writes while others may wait (`cold_starts`)
    marks     every breakpoint that was sent, the client's and the vendor's own included
    """

    memory: PromptMemory
    sight: Sight
    tree: Tree
    look: Look
    book: Book
    rates: Rates
    unaided: Unaided
    snapshot: Snapshot
    decision: Decision
    applied: bool
    started_ns: int
    marks: tuple[Mark, ...] = ()
    touched: bool = False
    implicit: bool = False
    ticket: Ticket | None = None
    leading: list[tuple[CacheScope, bytes]] = msgspec.field(default_factory=list)
    ready_ns: int = 0
    diagnosis: Diagnosis | None = None

    @property
    def wishes(self) -> tuple[Breakpoint, ...]:
        """What to ask `plan_cache` for."""
        return self.decision.wishes(self.sight) if self.applied else ()

    @property
    def writing(self) -> Writing:
        """Whether the vendor writes the newest message by itself, where that is ours to say."""
        return writing_of(self.decision, self.sight) if self.applied else ""

    def previous_answer(self) -> str:
        """The vendor's id of the answer to the conversation's request before this one, by the same account and model; "": not known."""
        past = self.memory.sessions.before(self.snapshot)
        if past is None or past.relation != "conversation":
            return ""
        shot = past.head.shot
        return past.head.answer_id if (shot.account, shot.model) == (self.snapshot.account, self.snapshot.model) else ""

    def planned(self, plan: CachePlan, edits: Sequence[str]) -> None:
        """Take down the plan that it goes up with, and the edits. From here on its premium is in flight: others decide before it is sent."""
        marks = (*self.sight.marks, *sent_marks(self.sight, plan))  # the client's own stay, whoever places others
        own = vendors_own(self.sight, self.look.limits) if plan.writing != "explicit" else ()
        marks, self.implicit = (*marks, *own), bool(own)
        ours = any(mark.origin == "gateway" for mark in plan.breakpoints)
        self.marks = tuple(dict(marks).items())
        self.touched = ours or bool(plan.writing) or bool(plan.affinity) or not _CHANGING.isdisjoint(edits)
        self.ticket = self.book.open(self.decision.worst_exact if self.applied else 0, own=not self.sight.marks)

    def sent(self, now_ns: int) -> None:
        """It is on its way."""
        self.started_ns = now_ns
        self.tree.note(self.look, now_ns)

    def refused(self, now_ns: int) -> None:
        """The vendor did not take it: nothing was written, and nothing billed."""
        self.tree.answered(self.look, now_ns)
        if self.ticket is not None:
            self.book.close(self.ticket, Usage(), self.rates)

    def began(self, now_ns: int) -> None:
        """Its answer begins: what it wrote can be read."""
        self.ready_ns = now_ns
        self.tree.began(self.look, self.marks, self.started_ns, now_ns, implicit=self.implicit)


_CHANGING = frozenset((TOOLS_ORDER, TOOLS_SPELLING, CALLS_SPELLING, SYSTEM_SPLIT, VOLATILE_KNOWN, VOLATILE_RELOCATE))
"""Edits after which the vendor's prompt cache sees another prefix than the client's."""


def watch_for(question: Question, services: Services) -> Watch | None:
    """Look a request up. None: it is none that a prompt cache would see, or it refers to a prompt that is not here."""
    model, limits = question.model, question.model.cache
    if question.dialect.operation != "generate" or limits.style == "none" or question.params.state:
        return None
    now_ns, call, deployment = services.clock.time_ns(), question.call, question.deployment
    memory, canonical, tenant, seed = services.prompts, question.canonical, call.principal.tenant, services.planner.prefix_seed
    name = f"{model.vendor}/{model.name}"
    chain = prefix_chain(canonical, tenant=tenant, model=name, seed=seed)
    if not chain:
        return None
    session = session_key(services.planner.affinity_secret, tenant, header_session(call.headers) or question.params.session, canonical)
    scope = CacheScope(tenant, deployment.name, name)
    behind = question.behind
    writing = question.params.cache_writing if behind is None else "explicit"  # what is said behind is never written
    sight = sight_of(canonical, limits, chain, scope, split=question.split, writing=writing, session=session, behind=behind)
    rates = question.tariff.price.rates_for(sum(sight.tokens))
    tree, book = memory.forest.of(sight.scope, limits), memory.books.of(tenant, name)
    look = tree.look(sight, now_ns, patient=call.principal.prompt_cache.hold_ms > 0)
    mode = call.principal.prompt_cache.mode or services.switches.prompt_cache_mode
    decision = decide(look, rates, book, memory.allowance) if mode != "off" else _OFF
    return Watch(
        memory=memory,
        sight=sight,
        tree=tree,
        look=look,
        book=book,
        rates=rates,
        unaided=memory.attribution.before(as_sent(question, sight, seed), limits, now_ns),
        snapshot=take(
            question.envelope,
            canonical,
            chain,
            request_id=call.id,
            tenant=tenant,
            account=deployment.name,
            model=name,
            session=session,
            at_ns=now_ns,
            affinity=affinity_of(question.envelope),
        ),
        decision=decision,
        applied=mode == "on" and MARKS_PLAN in question.edits,
        started_ns=now_ns,
    )


def sight_of(
    canonical: Canonical,
    limits: PromptCacheLimits,
    chain: tuple[bytes, ...],
    scope: CacheScope,
    *,
    split: SplitText | None = None,
    writing: Writing = "",
    session: bytes = b"",
    behind: Behind | None = None,
) -> Sight:
    """A request as the memory of prefixes sees it, in the form in which it goes up.

    chain    its prefix identity
    writing  what the client says about it, as in `ParamWords.cache_writing`
    behind   what is said behind it: in no boundary
    """
    cut = _cut(canonical, chain, limits)
    stable = -1
    if split is not None:
        stable = next((b for b, message, part in cut.inner if (message, part) == (split.mark.index, split.mark.part)), -1)
        if split.mark.part < 0:
            stable = cut.ends[split.mark.index]
    return Sight(
        scope=scope,
        links=tuple(cut.links),
        tokens=tuple(cut.tokens),
        blocks=tuple(cut.blocks),
        markable=tuple(cut.markable),
        tools=len(canonical.tools),
        opening=cut.before(canonical.opening) - len(canonical.tools),
        query=cut.before(canonical.query),
        stable=stable,
        marks=cut.marks(canonical, limits),
        auto_end=limits.style == "breakpoints" and writing != "explicit",
        inner=tuple(cut.inner),
        session=session,
        behind=0 if behind is None else len(behind.text) // 4,
    )


class _Cut:
    """The boundaries of a request, gathered. `ends`: the boundary at the end of each message."""

    __slots__ = ("blocks", "ends", "inner", "links", "markable", "tokens", "tools")

    def __init__(self, canonical: Canonical, limits: PromptCacheLimits) -> None:
        self.tools = len(canonical.tools)
        self.links: list[bytes] = []
        self.tokens = [reading.tokens for reading in canonical.tools]
        self.blocks = [1] * self.tools
        self.markable = [limits.on_tools and reading.markable for reading in canonical.tools]
        self.inner: list[tuple[int, int, int]] = []
        self.ends: list[int] = []

    def before(self, message: int) -> int:
        """How many boundaries stand in front of the end of a message and its parts."""
        return self.ends[message - 1] + 1 if message else self.tools

    def marks(self, canonical: Canonical, limits: PromptCacheLimits) -> tuple[Mark, ...]:
        """The client's own breakpoints at boundaries; one that stands elsewhere inside a message is none."""
        if limits.style not in ("marks", "breakpoints"):
            return ()
        found: dict[int, int] = {}
        inner = {(message, part): boundary for boundary, message, part in self.inner}
        for mark in client_marks(canonical, limits):
            if mark.section == "a_tools":
                found[mark.index] = mark.lifetime_s
            elif mark.part in (-1, canonical.messages[mark.index].blocks - 1):
                found[self.ends[mark.index]] = mark.lifetime_s
            elif (mark.index, mark.part) in inner:
                found[inner[mark.index, mark.part]] = mark.lifetime_s
        return tuple(sorted(found.items()))


def _cut(canonical: Canonical, chain: tuple[bytes, ...], limits: PromptCacheLimits) -> _Cut:
    """`chain`: as `prefix_chain` made it of `canonical`. Parts are told apart only for vendors that take marks."""
    cut, marked = _Cut(canonical, limits), limits.style in ("marks", "breakpoints")
    tools = cut.tools
    cut.links += chain[:tools]
    for index, reading in enumerate(canonical.messages):
        tokens, blocks = reading.tokens, max(1, reading.blocks)
        if reading.part_ends and marked:
            link = chain[tools + index - 1] if tools + index else canonical.prompt_bytes
            told = parts = 0
            for end in reading.part_ends:
                cut.inner.append((len(cut.links), index, end.part))
                cut.links.append(xxhash.xxh3_128_digest(b"part" + link + end.digest))
                cut.tokens.append(max(0, end.tokens - told))
                cut.blocks.append(end.part + 1 - parts)
                cut.markable.append(True)
                told, parts = max(told, end.tokens), end.part + 1
            tokens, blocks = max(0, tokens - told), max(1, blocks - parts)
        cut.ends.append(len(cut.links))
        cut.links.append(chain[tools + index])
        cut.tokens.append(tokens)
        cut.blocks.append(blocks)
        cut.markable.append(reading.markable)
    return cut


def as_sent(question: Question, sight: Sight, seed: int) -> Sight:
    """The same as its client sent it; the very same where nothing about the prefix was changed."""
    chunks, canonical = question.sent_chunks, question.canonical
    if chunks is None and canonical.tool_order is None:
        return sight
    tools, messages = (canonical.tools, canonical.messages) if chunks is None else (chunks.tools, chunks.messages)
    if chunks is None and canonical.tool_order is not None:
        order = {client: sent for sent, client in enumerate(canonical.tool_order)}
        tools = tuple([canonical.tools[order[index]] for index in range(len(order))])
    plain = msgspec.structs.replace(canonical, tools=tools, messages=messages, tool_order=None)
    chain = prefix_chain(plain, tenant=sight.scope.tenant, model=sight.scope.model, seed=seed)
    return sight_of(plain, question.model.cache, chain, sight.scope, writing=question.params.cache_writing, session=sight.session)


def writing_of(decision: Decision, sight: Sight) -> Writing:
    """What a decision says about the newest message; "" where the client has said it, or the vendor does so by itself."""
    return "explicit" if sight.auto_end and decision.mode in ("explicit", "off") else ""


def sent_marks(sight: Sight, plan: CachePlan) -> tuple[Mark, ...]:
    """The breakpoints of a plan as boundaries. Those inside a message are not boundaries, and are left out."""
    places = {(point.section, point.index, point.part): boundary for boundary, point in _points(sight)}
    found = []
    for mark in plan.breakpoints:
        boundary = places.get((mark.section, mark.index, mark.part))
        if boundary is not None:
            found.append((boundary, mark.lifetime_s))
    return tuple(found)


def _points(sight: Sight) -> list[tuple[int, Breakpoint]]:
    return [(boundary, sight.breakpoint(boundary)) for boundary in range(len(sight.links))]


def learned_from(watch: Watch, record: RequestRecord, now_ns: int) -> None:
    """Take in what was reported, and write on the record who saved what and what broke. Never fails."""
    try:
        _learn(watch, record, now_ns)
    except Exception:
        log.exception("nothing was learned from the prompt of request %s", record.id)


def _learn(watch: Watch, record: RequestRecord, now_ns: int) -> None:
    memory, usage, sight = watch.memory, record.usage, watch.sight
    free = record.settled in ("free", "void")
    if free:
        watch.refused(now_ns)
    elif watch.ticket is not None:
        watch.book.close(watch.ticket, usage, watch.rates)
    past = memory.sessions.before(watch.snapshot)
    session = past.head.shot.session if past is not None and past.relation == "conversation" else sight.session
    record.session = session.hex()[:16]  # that of the first request, whatever changed since in what it is recognized by
    if free or record.settled == "presumed":
        return
    automatic = automatic_read(watch.look)
    learned = watch.tree.learn(watch.look, watch.marks, usage, watch.started_ns, watch.ready_ns or now_ns, implicit=watch.implicit)
    if watch.tree.lesson is not None:
        memory.teach(watch.tree.lesson)
    credit = memory.attribution.after(
        watch.unaided, usage, watch.rates, record.saved_prompt_cache, touched=watch.touched, started_ns=watch.started_ns, now_ns=now_ns
    )
    record.saved_by_client, record.saved_by_gateway = credit.by_client, credit.by_gateway
    across = memory.attribution.writers(sight, record.key_id, learned.boundary, usage.cache_read)
    record.read_across_sessions, record.read_across_users = across
    found = _diagnosed(watch, past, record, max(learned.expected, automatic))
    if found is not None:
        memory.keep_break(found)
        record.cache_break, record.cache_break_place = found.cause, found.path
        record.cache_break_tokens, record.cache_break_cost = found.tokens, found.nano_usd
    cached = usage.input_total if watch.look.limits.style == "automatic" else usage.cache_read + usage.cache_write + usage.cache_write_1h
    cached = cached if usage.cache_reported else -1
    shot = msgspec.structs.replace(watch.snapshot, session=session)
    answer_id = watch.diagnosis.heard.id if watch.diagnosis is not None else ""
    memory.sessions.keep(shot, ready_ns=watch.ready_ns or now_ns, cached=cached, total=usage.input_total, answer_id=answer_id)


def _diagnosed(watch: Watch, past: Past | None, record: RequestRecord, expected: int) -> Break | None:
    limits = watch.look.limits
    lifetimes = [watch.look.lifetime(lifetime_s) for _, lifetime_s in watch.marks] or [300]
    heard = watch.diagnosis.heard if watch.diagnosis is not None else Heard()
    context = Context(
        usage=record.usage,
        rates=watch.rates,
        expected=expected,
        lifetime_s=max(lifetimes),
        minimum=max(limits.min_tokens, watch.look.least),
        said=heard.reason,
        said_missed=heard.missed,
    )
    found = diagnose(past, watch.snapshot, context)
    watch.memory.slots.learn(past, watch.snapshot, found, context)
    return found if found is not None and found.alarming else None
