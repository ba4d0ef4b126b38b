"""Hasher: the two identities of a request. docs/hashing.md says what each is made of; a change of either is a new `HASH_VERSION`.

Prefix identity: a chain of xxh3_128, one link per chunk boundary, in the order in which providers render a prompt (tools,
system, messages). It recognises a prefix again; nothing is answered from it.
Answer identity: SHA-256, because whoever finds a collision there is handed another request's answer.
"""

import hashlib

import xxhash

from tokenrouter.model.chunk import Canonical, Reading

HASH_VERSION = 2
"""Part of every identity. Snapshot tests fail when identities change without it."""


def answer_identity(canonical: Canonical, *, tenant: str, model: str, dialect: str, scope: bytes = b"") -> bytes:
    """The question, in 32 bytes: equal only for requests whose answers may stand for each other.

    `tenant`: two tenants never share an identity. `model`: `vendor/name` as resolved. `dialect`: the same bytes may mean something
    else in another one. `scope`: narrows it further (an idempotency key and its owner). Every part is preceded by its length, so
    parts can not run into each other.
    """
    who, what, altered, sampling = tenant.encode(), model.encode(), ",".join(canonical.altered).encode(), canonical.answer_bytes
    said = dialect.encode()
    head = b"tokenrouter answer %d %d:%b %d:%b %d:%b %d:%b %d:%b %d:%b %d %d:" % (
        HASH_VERSION,
        *(len(said), said),
        *(len(who), who, len(what), what, len(scope), scope, len(sampling), sampling, len(altered), altered),
        len(canonical.tools),
        canonical.opening,
    )
    digests = [reading.answer_digest for reading in canonical.tools]
    digests += [reading.answer_digest for reading in canonical.messages]
    return hashlib.sha256(head + b"".join(digests)).digest()


def prefix_chain(canonical: Canonical, *, tenant: str, model: str, seed: int) -> tuple[bytes, ...]:
    """One 16-byte link per boundary: after each tool, each system message, each message. Link i depends on everything before it.

    `seed`: the deployment's secret (64 bits), so that links say nothing to outsiders.
    """
    link = _seed_link(canonical, tenant, model, seed)
    chain: list[bytes] = []
    digest = xxhash.xxh3_128_digest
    for reading in (*canonical.tools, *canonical.messages):
        link = digest(link + reading.prefix_digest, seed)
        chain.append(link)
    return tuple(chain)


def root_link(canonical: Canonical, *, tenant: str, model: str, seed: int) -> bytes:
    """The link after tools and system: what all conversations of one app have in common. Equals the chain's link there."""
    link = _seed_link(canonical, tenant, model, seed)
    root: tuple[Reading, ...] = (*canonical.tools, *canonical.messages[: canonical.opening])
    for reading in root:
        link = xxhash.xxh3_128_digest(link + reading.prefix_digest, seed)
    return link


def _seed_link(canonical: Canonical, tenant: str, model: str, seed: int) -> bytes:
    who, what, prompt = tenant.encode(), model.encode(), canonical.prompt_bytes
    head = b"tokenrouter prefix %d %d:%b %d:%b %d:%b" % (HASH_VERSION, len(who), who, len(what), what, len(prompt), prompt)
    return xxhash.xxh3_128_digest(head, seed)
