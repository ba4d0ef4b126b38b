"""A request through the rooms of the pipeline, as the gateway takes it there, without a gateway: pure, no network, no clock."""

import json
import os
from functools import cache
from pathlib import Path

import msgspec
from fixed_marks import FixedPolicy, Policy

from tokenrouter.adapters.base import InboundAdapter, Outgoing
from tokenrouter.adapters.inbound.openai_chat import OpenAIChat
from tokenrouter.adapters.known import known_wires
from tokenrouter.catalog.loader import Catalog, load_catalog
from tokenrouter.model.cache_plan import CachePlan
from tokenrouter.model.catalog import Target
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.edits import DEFAULT_EDITS, TOOLS_ORDER, VOLATILE_KNOWN
from tokenrouter.model.envelope import Envelope, Params
from tokenrouter.pipeline.arranger import arrange
from tokenrouter.pipeline.canonicalizer import Memo, canonicalize
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.pipeline.hasher import answer_identity, prefix_chain, root_link
from tokenrouter.serving.planning import Planner
from tokenrouter.settings import Settings, load_settings
from tokenrouter.upstream.lane import Asked, Lane
from tokenrouter.upstream.lanes import is_native, open_lane

TENANT = "tenant-a"
SEED = 0x5EED
NO_EDITS: frozenset[str] = frozenset()
DIALECT = OpenAIChat()

# One model per way of rendering: automatic and breakpoints on the native lane, marks and automatic clones, both minimums translated.
GPT, SOL, OPUS, HAIKU, DEEPSEEK = "gpt-4.1", "gpt-6-sol", "claude-opus-4-8", "claude-haiku-4-5", "deepseek-chat"
MODELS = (GPT, SOL, OPUS, HAIKU, DEEPSEEK)


def settings(**environ: str) -> Settings:
    """Settings of an environment alone: no file is read."""
    return load_settings(environ, config=Path(os.devnull))


@cache
def catalog() -> Catalog:
    """The catalog as it is shipped, sandbox on."""
    return load_catalog(settings(SANDBOX="1"))


@cache
def routed() -> Catalog:
    """The catalog with a host that takes marks on a Chat wire, which the sandbox has none of."""
    return load_catalog(settings(OPENROUTER_API_KEY="k", DASHSCOPE_API_KEY="k"))


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One request, understood."""

    envelope: Envelope
    params: Params
    canonical: Canonical
    edits: frozenset[str]

    def answer(self, *, tenant: str = TENANT, model: str = "openai/gpt-4.1", scope: bytes = b"") -> bytes:
        return answer_identity(self.canonical, tenant=tenant, model=model, dialect=self.envelope.dialect, scope=scope)

    def chain(self, *, tenant: str = TENANT, model: str = "openai/gpt-4.1", seed: int = SEED) -> tuple[bytes, ...]:
        return prefix_chain(self.canonical, tenant=tenant, model=model, seed=seed)

    def root(self, *, tenant: str = TENANT, model: str = "openai/gpt-4.1", seed: int = SEED) -> bytes:
        return root_link(self.canonical, tenant=tenant, model=model, seed=seed)


def as_body(request: object) -> bytes:
    """A request as most clients spell it: compact, UTF-8, in the order in which it was built."""
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()


def see(request: bytes | dict, *, edits: frozenset[str] = DEFAULT_EDITS, memo: Memo | None = None, dialect: InboundAdapter = DIALECT) -> Seen:
    """Parse, chunk, arrange, canonicalize. Raises InvalidRequest."""
    body = request if isinstance(request, bytes) else as_body(request)
    envelope = dialect.parse(body)
    chunks, params = chunk(envelope, memo or Memo(seed=SEED), catalog().volatile)
    arranged = arrange(chunks, sort_tools=TOOLS_ORDER in edits)
    return Seen(envelope=envelope, params=params, canonical=canonicalize(arranged, params, edits & {VOLATILE_KNOWN}), edits=edits)


def resolve(model: str) -> Target:
    """A target; `vendor/model` of hosts without a simulator too."""
    return (routed() if model.startswith(("openrouter/", "dashscope/")) else catalog()).resolve(model)


def plan(seen: Seen, target: Target, policy: Policy | None = None, dialect: InboundAdapter = DIALECT) -> CachePlan:
    """The plan that the gateway would make of a policy's wishes, of the fixed one unless told otherwise. Raises InvalidRequest."""
    planner = Planner(prefix_seed=SEED, affinity_secret=b"secret")
    wishes = (policy or FixedPolicy()).wishes(seen.canonical, target.model.cache)
    own, deployment = seen.params.own_affinity, target.deployments[0]
    native = is_native(deployment, dialect, known_wires(catalog().volatile))
    return planner.plan(seen.canonical, target.model, deployment, seen.edits, tenant=TENANT, own_affinity=own, wishes=wishes, native=native)


def lane(seen: Seen, model: str, policy: Policy | None = None, dialect: InboundAdapter = DIALECT) -> Lane:
    """The lane that the gateway would open toward `model`. Raises InvalidRequest, UnsupportedField."""
    target = resolve(model)
    deployment = target.deployments[0]
    asked = Asked(
        envelope=seen.envelope,
        canonical=seen.canonical,
        params=seen.params,
        model=target.model,
        deployment=deployment,
        plan=plan(seen, target, policy, dialect),
        edits=seen.edits,
        volatile=catalog().volatile,
    )
    return open_lane(asked, dialect, known_wires(catalog().volatile), created_s=1_700_000_000)


def render(
    request: bytes | dict | Seen,
    model: str,
    *,
    edits: frozenset[str] = DEFAULT_EDITS,
    policy: Policy | None = None,
    dialect: InboundAdapter = DIALECT,
) -> Outgoing:
    """What would be sent. Raises InvalidRequest, UnsupportedField."""
    seen = request if isinstance(request, Seen) else see(request, edits=edits, dialect=dialect)
    return lane(seen, model, policy, dialect).outgoing


def marks_in(value: object) -> list[tuple[dict, object]]:
    """Every object that carries a cache mark, with the mark; schemas and arguments are not looked into."""
    found: list[tuple[dict, object]] = []
    if isinstance(value, dict):
        for name in ("cache_control", "prompt_cache_breakpoint"):
            if name in value:
                found.append((value, value[name]))
        for key, inner in value.items():
            if key not in ("input_schema", "parameters", "schema", "input"):
                found += marks_in(inner)
    elif isinstance(value, list):
        for item in value:
            found += marks_in(item)
    return found
