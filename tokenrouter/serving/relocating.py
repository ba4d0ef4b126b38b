"""`volatile.relocate`, before a request gets its form: the values of approved slots leave the system text, and stand ready to be said behind it.

The request goes on with notes in the place of the values, and everybody sees it so: `system.split`, the order of tools, accounts, the prefix
chain, the tree, the cache plan. What is said behind is no part of that form. The lane puts it behind everything, marks included, when the
body is ready (`Asked.behind`): the next request of the conversation comes without it, so no breakpoint and no boundary may cover it.
The answer identity is made of the client's own request all the same (see `asked_form`).
"""

from typing import cast

import msgspec

from tokenrouter.adapters.base import Dialect, InboundAdapter
from tokenrouter.adapters.inbound.relocating import rewrites, says_writing, with_texts
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.catalog import Model, Target
from tokenrouter.model.chunk import Canonical, Chunks
from tokenrouter.model.edits import MARKS_PLAN, THOUGHTS_ATTACH, VOLATILE_RELOCATE
from tokenrouter.model.envelope import Envelope, Params
from tokenrouter.model.principal import Principal
from tokenrouter.model.volatile import Behind
from tokenrouter.pipeline.arranger import arrange
from tokenrouter.pipeline.canonicalizer import canonicalize
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.pipeline.hasher import prefix_chain
from tokenrouter.prefixes.relocation import relocate_texts, said
from tokenrouter.recall.thoughts import Thoughts
from tokenrouter.serving.services import Services
from tokenrouter.upstream.lanes import is_native, says_behind

_ASKING = frozenset(("user", "tool", "function"))


class Relocated(msgspec.Struct, frozen=True):
    """A request with notes in the place of values, and these.

    places  its prefix chain: under which reasoning of its turns is kept, whether it goes up in this form or not
    """

    envelope: Envelope
    chunks: Chunks
    behind: Behind
    places: tuple[bytes, ...]


def relocated(
    envelope: Envelope,
    chunks: Chunks,
    params: Params,
    target: Target,
    edits: frozenset[str],
    services: Services,
    dialect: Dialect,
    principal: Principal,
) -> Relocated | None:
    """The request with what its tenant has approved moved; None where there is nothing to move, or it must not be touched.

    Raises InvalidRequest.
    """
    approved = principal.prompt_cache.movable
    if not approved or VOLATILE_RELOCATE not in edits or dialect.operation != "generate" or not rewrites(dialect.dialect):
        return None
    if not _may_change(chunks, target) or not _stays_out(envelope, chunks, params, target, edits, services, dialect, principal):
        return None
    texts: list[str] = []

    def look(text: str) -> str:
        texts.append(text)
        return text

    with_texts(envelope, VOLATILE_RELOCATE, chunks.opening, look)
    now, moved = relocate_texts(texts, approved)
    written = dict(zip(texts, now, strict=True))  # equal texts stay equal: what stands in both of them is not moved
    made = with_texts(envelope, VOLATILE_RELOCATE, chunks.opening, lambda text: written[text]) if moved else None
    if made is None:
        return None
    new, _ = chunk(made, services.memos.of(principal.tenant), services.catalog.volatile)
    model, canonical = target.model, canonicalize(arrange(new, sort_tools=True), params, frozenset())
    places = prefix_chain(canonical, tenant=principal.tenant, model=f"{model.vendor}/{model.name}", seed=services.planner.prefix_seed)
    return Relocated(made, new, Behind(said(moved), as_system=model.mid_system), places)


def puts_back(found: Relocated, target: Target, edits: frozenset[str], services: Services, dialect: Dialect, tenant: str) -> bool:
    """Whether signed reasoning that the client's dialect could not carry will be put back into this conversation: then it is a signed one."""
    if THOUGHTS_ATTACH not in edits or is_native(target.deployments[0], dialect, services.outbound):
        return False
    if all(reading.role != "assistant" for reading in found.chunks.messages):
        return False
    try:
        conversation = cast("InboundAdapter", dialect).open(found.envelope, None)
    except InvalidRequest:
        return False  # the lane opens it again, and refuses it in the words of its client
    return thoughts_of(services, target.model, tenant, found.places, len(found.chunks.messages)).attach(conversation)[1]


def thoughts_of(services: Services, model: Model, tenant: str, chain: tuple[bytes, ...], messages: int) -> Thoughts:
    """The side store of reasoning in the eyes of one request. `messages`: how many it has; the links in front of theirs are of tools."""
    return Thoughts(store=services.thoughts, scope=f"{tenant}\0{model.vendor}".encode(), chain=chain, tools=len(chain) - messages)


def asked_form(canonical: Canonical, chunks: Chunks) -> Canonical:
    """A relocated request for its answer identity: with the system text and the messages that its client sent (`chunks`).

    The values have left the canonical form, and two requests that differ in a value are two questions: one must never be given the answer
    to the other. So the client's words count, value and all; and who wants the text left as it is does not share the answer either.
    """
    altered = (*canonical.altered, VOLATILE_RELOCATE)
    return msgspec.structs.replace(canonical, messages=chunks.messages, opening=chunks.opening, query=chunks.query, altered=altered)


def _may_change(chunks: Chunks, target: Target) -> bool:
    """Not where reasoning is bound to the prompt or signed, and only where the newest turn is one that a model answers."""
    if target.model.bound_reasoning or not chunks.messages or chunks.messages[-1].role not in _ASKING:
        return False
    return chunks.opening > 0 and not any(reading.signed for reading in chunks.messages)


def _stays_out(
    envelope: Envelope,
    chunks: Chunks,
    params: Params,
    target: Target,
    edits: frozenset[str],
    services: Services,
    dialect: Dialect,
    principal: Principal,
) -> bool:
    """Whether what is said behind stays outside of prompt caches, and of what the vendor keeps of the conversation."""
    newest, cache = chunks.messages[-1], target.model.cache
    if cache.style == "none" or params.state:
        return False
    native = is_native(target.deployments[0], dialect, services.outbound)
    if native and params.stores and envelope.system:
        return False  # who goes on from the stored answer says the system text anew, and would have old values in the history
    if not says_behind(target.deployments[0], dialect, services.outbound, results=newest.role != "user" or bool(newest.answers)):
        return False
    if native and params.auto_mark_s is not None and (not newest.markable or newest.marks):
        return False
    if cache.style == "breakpoints" and params.cache_writing != "explicit":
        # The vendor writes the newest message by itself, and that would be what is said behind: it has to be told not to.
        mode = principal.prompt_cache.mode or services.switches.prompt_cache_mode
        return mode == "on" and MARKS_PLAN in edits and not says_writing(envelope)
    return True
